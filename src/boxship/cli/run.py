# SPDX-License-Identifier: Apache-2.0
"""``box run``."""

from __future__ import annotations

import os
import sys

from boxship.cli.request import request
from boxship.errors import InvalidRequest, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Parsed
    from boxship.engine.host import Drawn, Started
    from boxship.spec.request import Request


def run(parsed: Parsed) -> int:
    """Run a command in a new container; its exit code is ours."""
    from boxship.engine import host

    image, *argv = parsed.operands
    argv = argv[1:] if argv[:1] == ["--"] else argv
    wanted = request(parsed, argv, image)
    if image == "host" and not wanted.workdir:  # the host's files are there, so the caller's directory is too
        wanted = wanted.replace(workdir=os.getcwd())
    if wanted.tty:
        from boxship.runtime.terminal import window_size

        rows, columns = window_size(0)
        wanted = wanted.replace(rows=rows, columns=columns)
    drawn = _draw(wanted)
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


#: where a value of the specification comes from
_FLAGS = (
    ("$.hostname", "--hostname"),
    ("$.process.rlimits", "--ulimit"),
    ("$.process.oomScoreAdj", "--oom-score-adj"),
    ("$.process.apparmorProfile", "--security-opt apparmor"),
    ("$.linux.sysctl", "--sysctl"),
    ("$.linux.seccomp", "--security-opt seccomp"),
    ("$.linux.resources.memory", "--memory"),
    ("$.linux.resources.cpu", "--cpus"),
    ("$.linux.resources.pids", "--pids-limit"),
)


def _draw(wanted: Request) -> Drawn:
    """The container on paper; what is wrong with it is told by the flag that it came from."""
    from boxship.engine import host

    try:
        return host.draw(wanted)
    except SpecError as error:
        flag = next((flag for path, flag in _FLAGS if error.path.startswith(path)), "")
        if not flag:
            raise
        problem = error.message.partition(": ")[2]
        raise InvalidRequest(f"{flag}: {problem}", hint=error.hint or "see 'box run --help'") from None


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
