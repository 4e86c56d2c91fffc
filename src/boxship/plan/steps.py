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

from boxship.plan.words import call_text, clone_text, mount_attr_text, open_text
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

MONITOR, CHILD = 0, 1
SIDES = ("monitor", "child")

#: Slots that every plan uses for the same thing.
NONE, HOST_PROC, DEV_NULL, ROOT, SYNC, PTY = 255, 1, 2, 3, 4, 5
#: Slots that the caller fills: fifos of the barrier, console socket, seccomp listener, first client, pidfd.
START, STATUS, CONSOLE, LISTENER, CLIENT, PIDFD = 6, 7, 8, 9, 10, 11
#: The monitor's pipes to the standard streams, and /dev/null opened for reading and writing.
STDIN_CHILD, STDIN_MONITOR, STDOUT_MONITOR, STDOUT_CHILD, STDERR_MONITOR, STDERR_CHILD, STDNULL = range(12, 19)
FIRST_FREE, LAST_FREE = 20, 200


class Step(Record):
    """Base of all steps. ``optional``: a refusal by the kernel is a warning, not a failure."""

    code: ClassVar[int] = 0

    def describe(self) -> str:
        """What this step does, as one line; the default is the call as a man page writes it."""
        inside = ", ".join(_short(getattr(self, name)) for name in self.__fields__)
        return f"{self.name()}({inside})"

    @classmethod
    def name(cls) -> str:
        """The operation's name on the wire and in messages: ``OpenTree`` → ``open_tree``."""
        return "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")


def _short(value: object) -> str:
    if isinstance(value, str):
        return value if len(value) <= 60 else value[:57] + "…"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_short(v) for v in value) + "]"
    return str(value)


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


class Ready(Step):
    """Report the child's pid to the caller; from here on the monitor owns it."""

    code = 13

    def describe(self) -> str:
        return "report 'ready' with the child's pid"


# Mounts


class OpenTree(Step):
    """open_tree(2) OPEN_TREE_CLONE: a detached copy of the mount at a host path."""

    code = 14
    slot: int
    path: str
    recursive: int

    def describe(self) -> str:
        more = ", AT_RECURSIVE" if self.recursive else ""
        return f"open_tree({self.path}, OPEN_TREE_CLONE{more}) → slot {self.slot}"


class FsMount(Step):
    """fsopen(2), fsconfig(2) for each option, fsmount(2): a detached mount of a file system."""

    code = 15
    slot: int
    fstype: str
    options: list[str]
    attrs: int

    def describe(self) -> str:
        inside = f" [{','.join(self.options)}]" if self.options else ""
        return f"fsmount({self.fstype}{inside}, {mount_attr_text(self.attrs)}) → slot {self.slot}"


class SetAttr(Step):
    """mount_setattr(2) on the mount in ``slot``."""

    code = 16
    slot: int
    set: int
    clear: int
    propagation: int
    recursive: int

    def describe(self) -> str:
        words = [f"+{mount_attr_text(self.set)}"] if self.set else []
        words += [f"-{mount_attr_text(self.clear)}"] if self.clear else []
        words += [call_text("propagation", self.propagation)] if self.propagation else []
        words += ["AT_RECURSIVE"] if self.recursive else []
        return f"mount_setattr(slot {self.slot}, {' '.join(words)})"


class Idmap(Step):
    """mount_setattr(2) MOUNT_ATTR_IDMAP with the user namespace in ``userns`` (NONE: the child's)."""

    code = 17
    slot: int
    userns: int
    recursive: int

    def describe(self) -> str:
        whose = "the child's user namespace" if self.userns == NONE else f"slot {self.userns}"
        return f"mount_setattr(slot {self.slot}, MOUNT_ATTR_IDMAP, {whose})"


class Root(Step):
    """Put the detached mount in ``slot`` on top of / and make it the root that later paths start from."""

    code = 18
    slot: int

    def describe(self) -> str:
        return f"move_mount(slot {self.slot} → /): the container's root"


class Attach(Step):
    """move_mount(2) of ``slot`` onto ``target``, resolved in the root and made when it is missing.

    ``flags``: ATTACH_NOFOLLOW refuses symlinks on the way, ATTACH_PROC allows a target inside procfs.
    """

    code = 19
    slot: int
    target: str
    flags: int

    def describe(self) -> str:
        return f"move_mount(slot {self.slot} → {self.target})"


class CopyUp(Step):
    """Copy what ``target`` holds in the root into the detached mount in ``slot`` (tmpcopyup)."""

    code = 20
    slot: int
    target: str

    def describe(self) -> str:
        return f"copy {self.target} into slot {self.slot}"


class Mask(Step):
    """Hide ``target``: /dev/null over a file, an empty read-only tmpfs over a directory."""

    code = 21
    target: str

    def describe(self) -> str:
        return f"mask {self.target}"


class ReadOnly(Step):
    """Make ``target`` and what is mounted below it read-only, when it exists."""

    code = 22
    target: str

    def describe(self) -> str:
        return f"make {self.target} read-only"


class MkDir(Step):
    """mkdirat(2) in the root with its missing parents; an existing directory is left alone."""

    code = 23
    path: str
    mode: int

    def describe(self) -> str:
        return f"mkdir({self.path}, {self.mode:#o})"


class MkNod(Step):
    """mknodat(2) and fchownat(2) in the root; where the kernel refuses, the host's device is bound instead."""

    code = 24
    path: str
    mode: int
    major: int
    minor: int
    uid: int
    gid: int

    def describe(self) -> str:
        return f"mknod({self.path}, {self.mode:#o}, {self.major}:{self.minor})"


class SymLink(Step):
    """symlinkat(2) in the root; an existing name is left alone."""

    code = 25
    target: str
    path: str

    def describe(self) -> str:
        return f"symlink({self.target} ← {self.path})"


class Pivot(Step):
    """Make the root the process's root: 0 pivot_root(2), 1 MS_MOVE and chroot(2), 2 chroot(2) alone."""

    code = 26
    how: int

    def describe(self) -> str:
        return ("pivot_root(., .)", "move_mount(root → /), chroot(.)", "chroot(root)")[self.how]


# The process


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


class ChDir(Step):
    """fchdir(2) to ``path`` below the root, made when missing; no magic link leads out (CVE-2024-21626)."""

    code = 39
    path: str

    def describe(self) -> str:
        return f"chdir({self.path})"


class SetCaps(Step):
    """capset(2): effective, permitted and inheritable set."""

    code = 40
    head: bytes
    data: bytes

    def describe(self) -> str:
        low = [int.from_bytes(self.data[i:i + 4], "little") for i in (0, 12)]
        return f"capset(effective {low[0] | low[1] << 32:#x})"


STEPS: tuple[type[Step], ...] = tuple(sorted(Step.__subclasses__(), key=lambda s: s.code))

ATTACH_NOFOLLOW, ATTACH_PROC = 1, 2
PIVOT, PIVOT_MOVE, PIVOT_CHROOT = 0, 1, 2
RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS = 0, 1, 2
