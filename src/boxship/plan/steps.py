# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of a launch plan: one frozen record per step.

A plan is a flat list of these. ``wire.py`` turns them into bytes for ``boxmon`` and generates
``native/plan.h`` from the very classes below, so the C side can never know another signature.
A field is an int (u64 on the wire), a str, bytes, or a list of str.

Sides: ``monitor`` steps run in boxmon itself, before and after its ``Clone`` step; ``child`` steps run
in the process which that step makes, in order, up to ``Exec``. Slots are boxmon's table of file
descriptors, by number; the child inherits them.

Pure: nothing here touches the kernel.
"""

from __future__ import annotations

from boxship.plan.mount_steps import (
    Attach,
    ChDir,
    CopyUp,
    FsMount,
    Idmap,
    Mask,
    MkDir,
    MkNod,
    OpenTree,
    Pivot,
    ReadOnly,
    Root,
    SetAttr,
    SymLink,
)
from boxship.plan.process_steps import (
    Barrier,
    Bound,
    Call,
    Console,
    Enter,
    Exec,
    Init,
    Lookup,
    Netlink,
    Notify,
    Run,
    Seccomp,
    SetCaps,
    Supervise,
    TakePty,
)
from boxship.plan.step import (
    CHILD,
    CLIENT,
    CONSOLE,
    DEV_NULL,
    FIRST_FREE,
    HOST_PROC,
    LAST_FREE,
    LISTENER,
    MONITOR,
    NONE,
    PIDFD,
    PTY,
    ROOT,
    SIDES,
    START,
    STATUS,
    STDERR_CHILD,
    STDERR_MONITOR,
    STDIN_CHILD,
    STDIN_MONITOR,
    STDNULL,
    STDOUT_CHILD,
    STDOUT_MONITOR,
    SYNC,
    Step,
)
from boxship.plan.words import clone_text, open_text

__all__ = [
    "ATTACH_NOFOLLOW",
    "ATTACH_PROC",
    "CHILD",
    "CLIENT",
    "CONSOLE",
    "DEV_NULL",
    "FIRST_FREE",
    "HOST_PROC",
    "LAST_FREE",
    "LISTENER",
    "MONITOR",
    "NONE",
    "PIDFD",
    "PIVOT",
    "PIVOT_CHROOT",
    "PIVOT_MOVE",
    "PTY",
    "RESTART_ALWAYS",
    "RESTART_NO",
    "RESTART_ON_FAILURE",
    "ROOT",
    "SIDES",
    "START",
    "STATUS",
    "STDERR_CHILD",
    "STDERR_MONITOR",
    "STDIN_CHILD",
    "STDIN_MONITOR",
    "STDNULL",
    "STDOUT_CHILD",
    "STDOUT_MONITOR",
    "STEPS",
    "SYNC",
    "Adopt",
    "Attach",
    "Barrier",
    "Bound",
    "Call",
    "ChDir",
    "Clone",
    "Close",
    "Console",
    "CopyUp",
    "Dup",
    "Enter",
    "Exec",
    "FsMount",
    "Idmap",
    "Init",
    "Lookup",
    "Mask",
    "MkDir",
    "MkNod",
    "Netlink",
    "Notify",
    "Open",
    "OpenIn",
    "OpenTree",
    "Pipe",
    "Pivot",
    "ReadOnly",
    "Ready",
    "Root",
    "Run",
    "Seccomp",
    "SetAttr",
    "SetCaps",
    "Setns",
    "Step",
    "Supervise",
    "SymLink",
    "TakePty",
    "Wait",
    "Wake",
    "Write",
    "WriteProc",
    "WriteSlot",
]

# Descriptors


class Open(Step):
    """open(2) on the host, close-on-exec, into a slot."""

    code = 1
    slot: int
    path: str
    flags: int

    def describe(self) -> str:
        return f"open({self.path}, {open_text(self.flags)}) → slot {self.slot}"


class OpenIn(Step):
    """openat2(2) RESOLVE_IN_ROOT below the container's root, into a slot."""

    code = 2
    slot: int
    path: str
    flags: int

    def describe(self) -> str:
        return f"openat2(root, {self.path}, {open_text(self.flags)}, RESOLVE_IN_ROOT) → slot {self.slot}"


class Pipe(Step):
    """pipe2(2): one end for the monitor, one for the child."""

    code = 3
    read: int
    write: int

    def describe(self) -> str:
        return f"pipe2() → slots {self.read}, {self.write}"


class Close(Step):
    """close(2) of a slot on this side only."""

    code = 4
    slot: int


class Dup(Step):
    """dup2(2) of a slot to a descriptor number that survives exec."""

    code = 5
    slot: int
    fd: int

    def describe(self) -> str:
        return f"dup2(slot {self.slot}, {self.fd})"


class Write(Step):
    """Write ``data`` to ``path`` below the directory in ``slot`` (NONE: below /)."""

    code = 6
    slot: int
    path: str
    data: bytes

    def describe(self) -> str:
        where = "/proc/" if self.slot == HOST_PROC else ""
        return f"write({where}{self.path}, {self.data[:40]!r})"


class WriteSlot(Step):
    """write(2) to an open slot; ``0`` into cgroup.procs moves the writer."""

    code = 7
    slot: int
    data: bytes
    path: str

    def describe(self) -> str:
        return f"write({self.path}, {self.data[:40]!r})"


class WriteProc(Step):
    """The monitor writes /proc/CHILD/``name``: uid_map, gid_map, setgroups."""

    code = 8
    path: str
    data: bytes

    def describe(self) -> str:
        return f"write(/proc/CHILD/{self.path}, {self.data[:60]!r})"


# Namespaces


class Setns(Step):
    """setns(2) with the namespace file or pidfd in ``slot``."""

    code = 9
    slot: int
    flags: int
    path: str

    def describe(self) -> str:
        return f"setns({self.path}, {clone_text(self.flags)})"


class Clone(Step):
    """clone3(2). ``cgroup``: slot of a cgroup2 directory for CLONE_INTO_CGROUP, or NONE.

    With CLONE_PARENT in ``flags`` the child belongs to boxmon's caller, and boxmon ends after its last step.
    """

    code = 10
    flags: int
    cgroup: int

    def describe(self) -> str:
        into = "" if self.cgroup == NONE else f", into cgroup of slot {self.cgroup}"
        return f"clone3({clone_text(self.flags)}{into})"


class Wait(Step):
    """Wait for the other side's Wake; end of file means that the other side has failed, and has said why."""

    code = 11

    def describe(self) -> str:
        return "wait for the other side"


class Wake(Step):
    """Let the other side go on."""

    code = 12

    def describe(self) -> str:
        return "wake the other side"


class Adopt(Step):
    """Wait for the child's Enter; the process that it has made is the child from now on."""

    code = 43

    def describe(self) -> str:
        return "take over the process in the joined pid namespace"


class Ready(Step):
    """Report the child's pid to the caller; from here on the monitor owns it."""

    code = 13

    def describe(self) -> str:
        return "report 'ready' with the child's pid"


STEPS: tuple[type[Step], ...] = tuple(sorted(Step.__subclasses__(), key=lambda s: s.code))

ATTACH_NOFOLLOW, ATTACH_PROC = 1, 2
PIVOT, PIVOT_MOVE, PIVOT_CHROOT = 0, 1, 2
RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS = 0, 1, 2
