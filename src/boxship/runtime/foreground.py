# SPDX-License-Identifier: Apache-2.0
"""Containers and execs in the foreground of ``boxc``: signals go in, the exit status comes out.

The process is a child of this one (CLONE_PARENT), so waitpid(2) tells how it ended. With a terminal, this
process stands between the user's and the container's, see ``terminal.py``.
"""

from __future__ import annotations

import os

from boxship.runtime.signals import forward_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.runtime.terminal import Pair


def wait(pid: int, pair: Pair | None) -> int:
    """Until the process ends: forward signals, pump the terminal; returns the exit code, 128 + N for signal N."""
    forward_to(pid)
    if pair:
        ended = os.pidfd_open(pid)
        try:
            pair.pump(ended)
        finally:
            os.close(ended)
    while True:
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            return 128 + os.WTERMSIG(status)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
