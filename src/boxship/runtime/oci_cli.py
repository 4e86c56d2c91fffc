# SPDX-License-Identifier: Apache-2.0
"""``boxc``: the OCI runtime's command line. Parse → runtime → print; no logic of its own.

Engines read what it writes: errors go to standard error and, as JSON lines, to ``--log``.
"""

from __future__ import annotations

import os
import sys

from boxship import args, console, errors, fastjson
from boxship.paths import runtime_root
from boxship.runtime import lifecycle
from boxship.runtime.oci_table import BOXC
from boxship.runtime.state import State, Store, alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Parsed
    from boxship.runtime.create import Created
    from boxship.runtime.options import Options

SPEC_VERSION = "1.2.1"


def main(argv: list[str] | None = None) -> int:
    """Entry of the console script; returns the exit code."""
    values: dict[str, object] = {}
    try:
        console.standard_streams()
        parsed = args.parse(BOXC, sys.argv[1:] if argv is None else argv)
        values = parsed.values
        if parsed.values["version"]:
            return version()
        if parsed.help:
            sys.stdout.write(args.help_text(parsed.words, parsed.command))
            return 0
        _check_log(str(values["log"]))
        code = args.call(parsed)
        console.flush()
        return code
    except errors.BoxshipError as error:
        return _tell(error, values)
    except BrokenPipeError:
        console.drop_output()
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("BOXSHIP_DEBUG"):
            raise
        return _tell(
            errors.BoxshipError(
                f"internal error: {type(error).__name__}: {error}", hint="BOXSHIP_DEBUG=1 shows the traceback"
            ),
            values,
        )


def _check_log(path: str) -> None:
    """A log that cannot be written is told before anything has happened that it should hold."""
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8"):
            return
    except OSError as error:
        raise errors.KernelError.from_os(
            "open", error, path=path, hint="--log names a file that can be written"
        ) from None


def _tell(error: errors.BoxshipError, values: dict[str, object]) -> int:
    if values.get("debug") or os.environ.get("BOXSHIP_DEBUG"):
        import traceback

        traceback.print_exc()
    sys.stderr.write(f"boxc: {error.render()}\n")
    for note in getattr(error, "__notes__", ()):
        sys.stderr.write(f"boxc: {note}\n")
    log(values, "error", error.message)
    return error.exit_code


def log(values: dict[str, object], level: str, message: str) -> None:
    """One line to --log, in the form that engines parse."""
    path = str(values.get("log") or "")
    if not path:
        return
    from boxship.runtime.create import timestamp

    if values.get("log_format") == "json":
        line = fastjson.dumps({"level": level, "msg": message, "time": timestamp()})
    else:
        line = f"time={timestamp()} level={level} msg={fastjson.dumps(message)}"
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        sys.stderr.write(f"boxc: --log {path}: {error.strerror}\n")


def warn(parsed: Parsed, warnings: list[str]) -> None:
    """Warnings go to the log; to standard error only when there is no log."""
    for line in warnings:
        if parsed.values["log"]:
            log(parsed.values, "warning", line)
        else:
            sys.stderr.write(f"boxc: warning: {line}\n")


def version() -> int:
    """As runc and crun say it: engines cut this text up."""
    from boxship import __version__

    sys.stdout.write(
        f"boxc version {__version__}\ncommit: v{__version__}\nspec: {SPEC_VERSION}\n"
        "+SECCOMP +EBPF +CAP +CGROUPV1 +CGROUPV2 +IDMAP\n"
    )
    return 0


def store(parsed: Parsed) -> Store:
    """The containers below --root."""
    return Store(parsed.values["root"] or runtime_root("boxc"))


def preserved(count: int) -> list[int]:
    """Descriptors 3 … 3+count-1, as far as they are open."""
    found = [fd for fd in range(3, 3 + min(count, 4096)) if os.path.exists(f"/proc/self/fd/{fd}")] if count > 0 else []
    if len(found) > 100:
        raise errors.InvalidRequest(f"--preserve-fds {count}: {len(found)} open descriptors are more than 100")
    return found


def options(parsed: Parsed, *, barrier: bool) -> Options:
    """What create and run were asked for."""
    from boxship.runtime.options import Options

    v = parsed.values
    return Options(
        bundle=os.path.realpath(v["bundle"]),
        config=v["config"],
        console_socket=v["console_socket"],
        pid_file=v["pid_file"],
        preserve=preserved(v["preserve_fds"]),
        no_pivot=v["no_pivot"],
        no_new_keyring=v["no_new_keyring"],
        systemd_cgroup=v["systemd_cgroup"] or v["cgroup_manager"] == "systemd",
        no_cgroup=v["cgroup_manager"] == "disabled",
        barrier=barrier,
        trace=v["trace"],
    )


def explained(parsed: Parsed) -> bool:
    """--explain: print the plan and change nothing."""
    if not parsed.values["explain"]:
        return False
    from boxship.runtime.create import explain

    sys.stdout.write(
        explain(parsed.operands[0], options(parsed, barrier=parsed.command.name == "create"), parsed.values["format"])
    )
    return True


def create(parsed: Parsed) -> int:
    """boxc create."""
    if explained(parsed):
        return 0
    from boxship.runtime import create as creating

    made = creating.create(store(parsed), parsed.operands[0], options(parsed, barrier=True))
    warn(parsed, made.warnings)
    _trace(parsed, made)
    return 0


def _trace(parsed: Parsed, made: Created) -> None:
    if parsed.values["trace"]:
        from boxship.plan import explain

        form = explain.json if parsed.values["format"] == "json" else explain.text
        sys.stderr.write(form(made.plan, made.before, made.launched.times))


def start(parsed: Parsed) -> int:
    """boxc start."""
    warn(parsed, lifecycle.start(store(parsed), parsed.operands[0]))
    return 0


def run(parsed: Parsed) -> int:
    """boxc run: create and start at once; in the foreground until it ends."""
    if explained(parsed):
        return 0
    from boxship.runtime import create as creating
    from boxship.runtime import foreground, terminal

    found, name = store(parsed), parsed.operands[0]
    wanted = options(parsed, barrier=False)
    attached = not parsed.values["detach"]
    pair = terminal.Pair() if attached and not wanted.console_socket else None
    try:
        made = creating.create(found, name, wanted.replace(console=pair) if pair else wanted)
        warn(parsed, made.warnings)
        _trace(parsed, made)
        spec = made.spec
        lifecycle.poststart(found, made.state, spec)
        if not attached:
            return 0
        has_terminal = bool(spec.process and spec.process.terminal)
        try:
            code = foreground.wait(made.state.pid, pair if has_terminal else None)
        except BaseException:  # nobody is there to read it any more: it does not go on without us
            lifecycle.delete(found, name, force=True)
            raise
    finally:
        if pair:
            pair.close()
    if not parsed.values["keep"]:
        warn(parsed, lifecycle.delete(found, name, force=True))
    return code


def state(parsed: Parsed) -> int:
    """boxc state."""
    found = store(parsed)
    sys.stdout.write(fastjson.dumps(document(found, found.load(parsed.operands[0])), indent=2) + "\n")
    return 0


def document(found: Store, record: State) -> dict[str, object]:
    """The state as runc shows it: the specification's members and some more."""
    word = lifecycle.status(found, record)
    base = lifecycle.document_of(record, word)
    annotations = base.pop("annotations")
    return {
        **base,
        "pid": record.pid if alive(record) else 0,
        "rootfs": record.rootfs,
        "created": record.created,
        "owner": str(record.owner),
        "annotations": annotations,
    }


def kill(parsed: Parsed) -> int:
    """boxc kill."""
    from boxship.runtime.signals import signal_number

    word = parsed.operands[1] if len(parsed.operands) > 1 else "TERM"
    if word == "0":  # asks only whether it is there: kill(2)
        found = store(parsed)
        lifecycle.require(found, found.load(parsed.operands[0]), lifecycle.CREATED, lifecycle.RUNNING, lifecycle.PAUSED)
        return 0
    lifecycle.kill(store(parsed), parsed.operands[0], signal_number(word), everyone=parsed.values["all"])
    return 0


def delete(parsed: Parsed) -> int:
    """boxc delete."""
    found = store(parsed)
    names = parsed.operands
    if parsed.values["regex"]:
        import re

        names = [name for name in found.names() if any(re.fullmatch(word, name) for word in parsed.operands)]
    for name in names:
        warn(parsed, lifecycle.delete(found, name, force=parsed.values["force"]))
    return 0


def pause(parsed: Parsed) -> int:
    """boxc pause."""
    lifecycle.pause(store(parsed), parsed.operands[0])
    return 0


def resume(parsed: Parsed) -> int:
    """boxc resume."""
    lifecycle.resume(store(parsed), parsed.operands[0])
    return 0


def list_(parsed: Parsed) -> int:
    """boxc list."""
    found = store(parsed)
    records = [record for name in found.names() if (record := _load(found, name))]
    if parsed.values["quiet"]:
        sys.stdout.write("".join(f"{record.id}\n" for record in records))
    elif parsed.values["format"] == "json":
        sys.stdout.write(fastjson.dumps([document(found, record) for record in records]) + "\n")
    else:
        rows: list[tuple[object, ...]] = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        rows += [
            (d["id"], d["pid"], d["status"], d["bundle"], d["created"], f"#{d['owner']}")
            for d in (document(found, record) for record in records)
        ]
        sys.stdout.write(table(rows))
    return 0


def _load(found: Store, name: str) -> State | None:
    """A container that is being made or deleted meanwhile is not there."""
    try:
        return found.load(name)
    except errors.NotFound:
        return None


def table(rows: list[tuple[object, ...]]) -> str:
    """Columns, padded with blanks."""
    widths = [max(len(str(row[n])) for row in rows) for n in range(len(rows[0]))]
    return "".join("  ".join(f"{cell!s:{widths[n]}}" for n, cell in enumerate(row)).rstrip() + "\n" for row in rows)


def features(parsed: Parsed) -> int:
    """boxc features."""
    from boxship.runtime.features import features as found

    sys.stdout.write(fastjson.dumps(found(), indent=2) + "\n")
    return 0


def spec(parsed: Parsed) -> int:
    """boxc spec."""
    from boxship.spec.template import default_spec

    path = os.path.join(parsed.values["bundle"], "config.json")
    text = fastjson.dumps(
        default_spec(rootless=parsed.values["rootless"], uid=os.geteuid(), gid=os.getegid()), indent=4
    )
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise errors.KernelError.from_os(
            "open", error, hint="remove it first, or name another directory with --bundle"
        ) from None
    return 0
