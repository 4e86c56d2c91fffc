# SPDX-License-Identifier: Apache-2.0
"""Containers and execs in the foreground of ``boxc``: signals go in, the exit status comes out.

The process is a child of this one (CLONE_PARENT), so waitpid(2) tells how it ended. With a terminal, this
process stands between the user's and the container's, see ``terminal.py``.
"""

from __future__ import annotations

import _signal
import os

from boxship.runtime import lifecycle, terminal
from boxship.runtime.oci_cli import _trace, options, store, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Parsed

_KEPT = {
    _signal.SIGKILL,
    _signal.SIGSTOP,
    _signal.SIGCHLD,
    _signal.SIGURG,
    _signal.SIGPIPE,
    _signal.SIGWINCH,
    _signal.SIGTTIN,
    _signal.SIGTTOU,
    _signal.SIGTSTP,
    _signal.SIGCONT,
    _signal.SIGSEGV,
    _signal.SIGBUS,
    _signal.SIGFPE,
    _signal.SIGILL,
    _signal.SIGABRT,
    _signal.SIGTRAP,
    _signal.SIGSYS,
}


def run(parsed: Parsed) -> int:
    """boxc run."""
    from boxship.runtime import create as creating

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
        code = wait(made.state.pid, pair if has_terminal else None)
    finally:
        if pair:
            pair.close()
    if not parsed.values["keep"]:
        warn(parsed, lifecycle.delete(found, name, force=True))
    return code


def wait(pid: int, pair: terminal.Pair | None) -> int:
    """Until the process ends: forward signals, pump the terminal; returns the exit code, 128 + N for signal N."""

    def forward(number: int, _frame: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return

    for number in range(1, 32):
        if number not in _KEPT:
            _signal.signal(number, forward)
    if pair:
        pair.pump()
    while True:
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            return 128 + os.WTERMSIG(status)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
