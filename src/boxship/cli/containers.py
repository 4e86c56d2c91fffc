# SPDX-License-Identifier: Apache-2.0
"""Verbs on containers that exist: ps exec attach logs stop kill wait why rm."""

from __future__ import annotations

import os
import sys

from boxship import fastjson
from boxship.engine import containers as engine
from boxship.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from boxship.args import Parsed


def ps(parsed: Parsed) -> int:
    """List containers."""
    rows = engine.list_all()
    if parsed.values["quiet"]:
        sys.stdout.write("".join(f"{row.id}\n" for row in rows))
    elif parsed.values["format"] == "json":
        sys.stdout.write(fastjson.dumps([row.as_dict() for row in rows], indent=2) + "\n")
    else:
        from boxship.cli.format import table

        cells = [(row.id, row.command[:40], row.status, row.pid or "", row.name) for row in rows]
        sys.stdout.write(table(("CONTAINER ID", "COMMAND", "STATUS", "PID", "NAME"), cells))
    return 0


def exec_(parsed: Parsed) -> int:
    """Run one more command."""
    from boxship.runtime import foreground, terminal

    name, *argv = parsed.operands
    argv = argv[1:] if argv[:1] == ["--"] else argv
    v = parsed.values
    if v["tty"] and (v["detach"] or (v["interactive"] and not os.isatty(0))):
        raise InvalidRequest(
            "--tty: needs a terminal in front of it", hint="leave -t away, or -d" if v["detach"] else "leave -t away"
        )
    pair = terminal.Pair() if v["tty"] else None
    try:
        launched, warnings = engine.execute(
            name,
            argv,
            env=v["env"] or [],
            workdir=v["workdir"],
            user=v["user"],
            console=pair,
            stdin=v["interactive"],
            detached=v["detach"],
        )
        for line in warnings:
            sys.stderr.write(f"box: warning: {line}\n")
        if v["detach"]:
            return 0
        return foreground.wait(launched.pid, pair)
    finally:
        if pair:
            pair.close()


def attach(parsed: Parsed) -> int:
    """Attach to the streams of a container."""
    from boxship.cli.streams import Streams
    from boxship.runtime.monitor import Client

    directory = engine.directory(parsed.operands[0])
    tty = os.isatty(0)
    code = Streams(Client.connect(directory), tty=tty, stdin=True, detach_keys=parsed.values["detach_keys"]).run()
    return 0 if code is None else code


def logs(parsed: Parsed) -> int:
    """Show the log."""
    from boxship.runtime import logfile, monitor

    directory = engine.directory(parsed.operands[0])
    tail, stamps = parsed.values["tail"], parsed.values["timestamps"]
    found: Iterable[tuple[int, int, bytes]] = logfile.read(directory)
    if stamps or tail is not None:
        found = logfile.last_lines(directory, tail if tail is not None and tail >= 0 else sys.maxsize)
    for when, stream, data in found:
        _write(stream, _stamp(when) + data if stamps else data)
    if parsed.values["follow"] and monitor.read_pids(directory)[0]:
        for kind, data in monitor.Client.connect(directory).frames():
            if kind in (monitor.STDOUT, monitor.STDERR):
                _write(kind, data)
    return 0


def _stamp(when: int) -> bytes:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when // 1_000_000_000)).encode() + b".%09dZ " % (
        when % 1_000_000_000
    )


def _write(stream: int, data: bytes) -> None:
    from boxship.runtime import monitor

    out = sys.stderr if stream == monitor.STDERR else sys.stdout
    out.buffer.write(data)
    out.buffer.flush()


def stop(parsed: Parsed) -> int:
    """Stop containers."""
    for name in parsed.operands:
        engine.stop(name, parsed.values["time"])
        sys.stdout.write(f"{name}\n")
    return 0


def kill(parsed: Parsed) -> int:
    """Signal containers."""
    from boxship.runtime.signals import signal_number

    number = signal_number(parsed.values["signal"])
    for name in parsed.operands:
        engine.kill(name, number)
        sys.stdout.write(f"{name}\n")
    return 0


def wait(parsed: Parsed) -> int:
    """Wait for containers and print their exit codes."""
    for name in parsed.operands:
        sys.stdout.write(f"{engine.wait(name).code}\n")
    return 0


def why(parsed: Parsed) -> int:
    """Show how a container has ended."""
    sys.stdout.write(engine.why(parsed.operands[0]) + "\n")
    return 0


def rm(parsed: Parsed) -> int:
    """Remove containers."""
    for name in parsed.operands:
        engine.remove(name, force=parsed.values["force"])
        sys.stdout.write(f"{name}\n")
    return 0
