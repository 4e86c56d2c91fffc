# SPDX-License-Identifier: Apache-2.0
"""``boxc`` verbs on a running container: exec, ps, update, events."""

from __future__ import annotations

import os
import sys

from boxship import errors, fastjson
from boxship.kernel.capabilities import NUMBERS
from boxship.runtime import groups, lifecycle
from boxship.runtime.home import with_home
from boxship.runtime.oci_cli import preserved, store, table, warn
from boxship.runtime.state import start_time, write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxship.args import Parsed
    from boxship.spec.oci import Process, Spec


def exec_(parsed: Parsed) -> int:
    """boxc exec."""
    from boxship.runtime import foreground, join, terminal
    from boxship.runtime.options import JoinOptions

    found = store(parsed)
    state = found.load(parsed.operands[0])
    lifecycle.require(found, state, lifecycle.CREATED, lifecycle.RUNNING, lifecycle.PAUSED)
    spec = lifecycle.specification(found, state)
    process = with_home(requested(parsed, spec), f"/proc/{state.pid}/root")
    v = parsed.values
    pair = terminal.Pair() if process.terminal and not v["console_socket"] else None
    if pair and v["detach"]:
        pair.close()
        raise errors.InvalidRequest("--tty with --detach needs --console-socket")
    try:
        launched, warnings = join.join(
            state,
            spec,
            process,
            JoinOptions(
                console_socket=v["console_socket"],
                console=pair,
                preserve=preserved(v["preserve_fds"]),
                sub_group=(v["cgroup"] or [""])[-1],
            ),
        )
        warn(parsed, warnings)
        if v["pid_file"]:
            write_atomically(os.path.abspath(v["pid_file"]), str(launched.pid).encode())
        return 0 if v["detach"] else foreground.wait(launched.pid, pair)
    finally:
        if pair:
            pair.close()


def requested(parsed: Parsed, spec: Spec) -> Process:
    """The process: from --process, or from the words, with the container's own as the default."""
    from boxship.spec import oci
    from boxship.spec.validate import Problems
    from boxship.spec.validate import process as check

    v = parsed.values
    if v["process"]:
        try:
            with open(v["process"], "rb") as file:
                found = oci.load_process(file.read())
        except OSError as error:
            raise errors.KernelError.from_os("open", error) from None
    else:
        found = _from_words(parsed, spec.process or oci.Process())
    problems = Problems()
    check(found, problems, "$" if v["process"] else "exec")
    problems.raise_all()
    return found


def _from_words(parsed: Parsed, base: Process) -> Process:
    from boxship.spec import oci

    v, argv = parsed.values, parsed.operands[1:]
    argv = argv[1:] if argv[:1] == ["--"] else argv
    changes: dict[str, Any] = {"args": argv, "terminal": v["tty"], "env": merged(base.env, v["env"] or [])}
    if v["cwd"]:
        changes["cwd"] = v["cwd"]
    if v["user"] or v["additional_gids"]:
        changes["user"] = _user(v["user"], v["additional_gids"] or [], base.user)
    if v["process_label"]:
        changes["selinux_label"] = v["process_label"]
    if v["apparmor"]:
        changes["apparmor_profile"] = v["apparmor"]
    if v["no_new_privs"]:
        changes["no_new_privileges"] = True
    if v["cap"]:
        sets = (base.capabilities or oci.Capabilities()).as_dict()
        more = [word if word.startswith("CAP_") else f"CAP_{word}" for word in (w.upper() for w in v["cap"])]
        unknown = [word for word in more if word not in NUMBERS]
        if unknown:
            raise errors.InvalidRequest(
                f"--cap: unknown capability {unknown[0]}", hint="see capabilities(7) for the names"
            )
        for name in ("bounding", "effective", "permitted"):
            sets[name] = [*sets[name], *more]
        changes["capabilities"] = oci.Capabilities(**sets)
    return base.replace(**changes)


def merged(base: list[str], more: list[str]) -> list[str]:
    """One environment: a name that is given again takes the place of the first."""
    found = {word.partition("=")[0]: word for word in [*base, *more]}
    return list(found.values())


def _user(word: str, groups_: list[str], base: Any) -> Any:
    uid, _, gid = word.partition(":")
    numbers = [uid or str(base.uid), gid or str(base.gid), *groups_]
    bad = [n for n in numbers if not n.isdecimal() or int(n) >= 1 << 32]
    if bad:
        raise errors.InvalidRequest(
            f"--user {word!r}: {', '.join(bad)} is not an id", hint="give numbers: UID or UID:GID"
        )
    return base.replace(
        uid=int(numbers[0]), gid=int(numbers[1]), additional_gids=[int(n) for n in numbers[2:]] or base.additional_gids
    )


def ps(parsed: Parsed) -> int:
    """boxc ps."""
    found = store(parsed)
    state = found.load(parsed.operands[0])
    lifecycle.require(found, state, lifecycle.CREATED, lifecycle.RUNNING, lifecycle.PAUSED)
    pids = groups.of_path(state.cgroup).pids()
    if parsed.values["format"] == "json":
        sys.stdout.write(fastjson.dumps(pids) + "\n")
        return 0
    rows: list[tuple[object, ...]] = [("UID", "PID", "PPID", "STIME", "COMMAND")]
    rows += [row for pid in pids if (row := _process_row(pid))]
    sys.stdout.write(table(rows))
    return 0


def _process_row(pid: int) -> tuple[object, ...] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ppid = file.read().rpartition(b")")[2].split()[1].decode()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        uid = os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return None
    return uid, pid, ppid, _clock(start_time(pid)), command or "[boxmon]"


def _clock(ticks: int) -> str:
    """Time of day of a moment in clock ticks since boot, as ps(1) shows STIME."""
    import time

    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    return time.strftime("%H:%M" if time.time() - began < 86400 else "%b%d", time.localtime(began))


def update(parsed: Parsed) -> int:
    """boxc update."""
    from boxship.runtime.update import update as change

    found = store(parsed)
    warn(parsed, change(found, parsed.operands[0], resources(parsed)))
    return 0


def resources(parsed: Parsed) -> dict[str, Any]:
    """linux.resources from a file or from flags."""
    v = parsed.values
    if v["l3_cache_schema"] or v["mem_bw_schema"]:
        raise errors.Unsupported("--l3-cache-schema, --mem-bw-schema: this processor or kernel has no resctrl")
    if v["resources"]:
        try:
            with open(0 if v["resources"] == "-" else v["resources"], "rb", closefd=v["resources"] != "-") as file:
                found = fastjson.loads(file.read())
        except OSError as error:
            raise errors.KernelError.from_os("open", error) from None
        if not isinstance(found, dict):
            raise errors.SpecError("$", "expected an object")
        return found
    sections = {
        "memory": {
            "limit": v["memory"],
            "reservation": v["memory_reservation"],
            "swap": v["memory_swap"],
            "kernelTCP": v["kernel_memory_tcp"],
        },
        "cpu": {
            "shares": v["cpu_share"],
            "quota": v["cpu_quota"],
            "period": v["cpu_period"],
            "burst": v["cpu_burst"],
            "realtimePeriod": v["cpu_rt_period"],
            "realtimeRuntime": v["cpu_rt_runtime"],
            "idle": v["cpu_idle"],
            "cpus": v["cpuset_cpus"],
            "mems": v["cpuset_mems"],
        },
        "pids": {"limit": v["pids_limit"]},
        "blockIO": {"weight": v["blkio_weight"]},
    }
    said = {name: {k: n for k, n in section.items() if n is not None} for name, section in sections.items()}
    return {name: section for name, section in said.items() if section}


def events(parsed: Parsed) -> int:
    """boxc events."""
    from boxship.runtime.events import events as watch

    found = store(parsed)
    name = parsed.operands[0]
    state = found.load(name)
    lifecycle.require(found, state, lifecycle.CREATED, lifecycle.RUNNING, lifecycle.PAUSED)
    if parsed.values["interval"] <= 0:
        raise errors.InvalidRequest("--interval: must be more than 0")
    for event in watch(state, once=parsed.values["stats"], interval=parsed.values["interval"]):
        sys.stdout.write(fastjson.dumps(event) + "\n")
        sys.stdout.flush()
    return 0
