# SPDX-License-Identifier: Apache-2.0
"""``box run``."""

from __future__ import annotations

import sys

from boxship.cli.request import request
from boxship.errors import InvalidRequest, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Parsed
    from boxship.engine.host import Started


def run(parsed: Parsed) -> int:
    """Run a command in a new container; its exit code is ours."""
    from boxship.engine import host

    image, *argv = parsed.operands
    argv = argv[1:] if argv[:1] == ["--"] else argv
    if image != "host":
        raise NotFound(
            f"image {image!r}: no such image", hint="the image 'host', the machine's own userland, is always there"
        )
    if not argv:
        raise InvalidRequest("no command: box run host -- COMMAND", hint="name the program to run after --")
    wanted = request(parsed, argv)
    if wanted.tty:
        from boxship.runtime.terminal import window_size

        rows, columns = window_size(0)
        wanted = wanted.replace(rows=rows, columns=columns)
    drawn = host.draw(wanted)
    if parsed.values["explain"]:
        from boxship.plan import explain

        form = explain.json if parsed.values["format"] == "json" else explain.text
        sys.stdout.write(form(drawn.plan(host.facts(drawn, planned=True)), drawn.before()))
        return 0
    started = host.start(drawn, trace=parsed.values["trace"])
    for line in [*drawn.warnings, *started.launched.warnings]:
        sys.stderr.write(f"box: warning: {line}\n")
    if parsed.values["trace"]:
        _trace(parsed, started)
    if wanted.detach:
        sys.stdout.write(f"{started.drawn.id}\n")
        return 0
    return _attached(parsed, started)


def _trace(parsed: Parsed, started: Started) -> None:
    from boxship.plan import explain

    form = explain.json if parsed.values["format"] == "json" else explain.text
    sys.stderr.write(form(started.plan, started.drawn.before(), started.launched.times))


def _tell_end(started: Started) -> None:
    """A limit that ended it is worth a line: the exit code alone looks like any kill."""
    from boxship.runtime.monitor import read_exit

    ended = read_exit(started.directory)
    if ended and ended.oom and ended.signal:
        sys.stderr.write("box: killed: its memory limit was reached (out of memory)\n")
    elif ended and ended.timeout:
        sys.stderr.write(f"box: killed: its time limit of {started.drawn.request.timeout:g} s was reached\n")


def _attached(parsed: Parsed, started: Started) -> int:
    from boxship.cli.streams import Streams
    from boxship.engine import host
    from boxship.runtime.monitor import Client

    drawn = started.drawn
    streams = Streams(
        Client(started.client),
        tty=drawn.request.tty,
        stdin=drawn.request.interactive and (drawn.request.tty or drawn.launch.stdio == "pipe"),
        detach_keys=parsed.values["detach_keys"],
    )
    code = streams.run()
    if code is None:
        sys.stderr.write(f"box: detached; box attach {drawn.launch.id} comes back\n")
        return 0
    started.reap()
    _tell_end(started)
    if drawn.request.remove:
        host.remove(drawn.launch.id, drawn.group.path, drawn.name)
    return code
