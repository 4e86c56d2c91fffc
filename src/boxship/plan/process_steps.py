# SPDX-License-Identifier: Apache-2.0
"""Steps on the process itself, and the monitor's last one; see ``steps.py``."""

from __future__ import annotations

from boxship.plan.step import NONE, Step
from boxship.plan.words import call_text


class Call(Step):
    """One system call by its name in ``words.CALLS``, with up to four numbers and one buffer.

    The buffer takes the place of the argument number ``at`` (NONE: there is no buffer).
    """

    code = 27
    which: int
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    at: int = NONE
    data: bytes = b""

    def describe(self) -> str:
        return call_text("call", self.which, (self.a, self.b, self.c, self.d), self.at, self.data)


class Console(Step):
    """Open a pty in the container's devpts, make it the controlling terminal and stdio, send the master to
    ``socket``; with ``mount`` bind it on /dev/console."""

    code = 28
    socket: int
    mount: int
    rows: int
    columns: int
    uid: int

    def describe(self) -> str:
        return f"open a pty, send its master to slot {self.socket}" + (", bind it on /dev/console" * self.mount)


class Seccomp(Step):
    """seccomp(2) SECCOMP_SET_MODE_FILTER. With a listener, the monitor's Notify takes the descriptor over."""

    code = 29
    program: bytes
    flags: int
    notify: int

    def describe(self) -> str:
        return f"seccomp({len(self.program) // 8} instructions" + (", NEW_LISTENER)" if self.notify else ")")


class Notify(Step):
    """The monitor fetches the child's seccomp listener by pidfd_getfd(2) and sends it to ``socket`` with ``state``."""

    code = 30
    socket: int
    state: bytes
    pid_at: int

    def describe(self) -> str:
        return f"send the seccomp listener to slot {self.socket}"


class Netlink(Step):
    """Send rtnetlink messages and wait for the acknowledgement; the child's pid goes in at ``pid_at``."""

    code = 31
    messages: bytes
    pid_at: int
    what: str

    def describe(self) -> str:
        return f"rtnetlink: {self.what}"


class Run(Step):
    """Run a program to its end (a hook, newuidmap): ``{pid}`` in argv and the bytes at ``pid_at`` become the child's."""

    code = 32
    argv: list[str]
    env: list[str]
    stdin: bytes
    pid_at: int
    timeout_ms: int
    what: str

    def describe(self) -> str:
        limit = f", at most {self.timeout_ms} ms" if self.timeout_ms else ""
        return f"run {self.what}: {' '.join(self.argv[:4])}{limit}"


class Lookup(Step):
    """Find the program before the barrier, so that a missing one is told at create."""

    code = 33
    program: str
    path: str

    def describe(self) -> str:
        return f"look for {self.program}"


class Barrier(Step):
    """Report 'created', then wait for a byte on the fifo in ``start``; later reports go to ``status``."""

    code = 34
    start: int
    status: int

    def describe(self) -> str:
        return "report 'created', wait for start"


class Init(Step):
    """Stay as PID 1 which reaps and passes signals on; the rest of the plan runs in a child."""

    code = 35

    def describe(self) -> str:
        return "stay as init, go on in a child"


class Enter(Step):
    """Fork into the pid namespace that was joined before, and end; the monitor's Adopt takes the new process over.

    Until here nobody in that namespace could see the process, nor reach what it held open.
    """

    code = 42

    def describe(self) -> str:
        return "fork into the joined pid namespace"


class Exec(Step):
    """execve(2) of what Lookup found; the close-on-exec end of the report pipe says that it worked."""

    code = 36
    argv: list[str]
    env: list[str]

    def describe(self) -> str:
        return f"execve({' '.join(self.argv[:6])})"


class TakePty(Step):
    """The monitor receives the pty master that Console sent."""

    code = 37
    socket: int

    def describe(self) -> str:
        return "receive the pty master"


class Supervise(Step):
    """Stay as the container's monitor: pump, log, serve clients, record the exit, restart. See docs/monitor.md.

    ``log_size`` 0 keeps no log. ``timeout_ms`` 0 sets no time limit. ``after`` is run once it has ended for good.
    """

    code = 38
    directory: str
    log_size: int = 0
    log_files: int = 1
    restart: int = 0
    restart_max: int = 0
    timeout_ms: int = 0
    stop_signal: int = 15
    oom_file: str = ""
    after: list[str] = []

    def describe(self) -> str:
        return f"supervise in {self.directory}"


class Bound(Step):
    """prctl(2) PR_CAPBSET_DROP of every capability up to ``last`` that is not in ``keep``."""

    code = 41
    keep: int
    last: int

    def describe(self) -> str:
        return f"prctl(PR_CAPBSET_DROP, all but {self.keep:#x})"


class SetCaps(Step):
    """capset(2): effective, permitted and inheritable set."""

    code = 40
    head: bytes
    data: bytes

    def describe(self) -> str:
        low = [int.from_bytes(self.data[i : i + 4], "little") for i in (0, 12)]
        return f"capset(effective {low[0] | low[1] << 32:#x})"
