# SPDX-License-Identifier: Apache-2.0
"""One cgroup, on all hierarchies at once: create, write, join, freeze, kill, remove. See cgroups(7).

A group is a path, the same in every hierarchy. Nothing here looks at other groups: the cost of a group does
not grow with their number.
"""

from __future__ import annotations

import errno
import os

from boxship.errors import InvalidRequest, KernelError, Unsupported
from boxship.kernel.cgroup.locate import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SIGKILL = 9
_FREEZE_TRIES, _REMOVE_WAIT_MS, _KILL_ROUNDS = 1000, 2000, 100


class Group:
    """The cgroup at ``path`` (absolute, from the root of each hierarchy)."""

    def __init__(self, layout: Layout, path: str) -> None:
        self.layout, self.path = layout, path.rstrip("/") or "/"
        self.skipped: list[str] = []

    @property
    def directories(self) -> list[str]:
        """Its directory in each hierarchy where it exists."""
        return [d for d in self._all() if os.path.isdir(d)]

    def _all(self) -> list[str]:
        return [f"{mount}{self.path}" for mount in self.layout.hierarchies]

    def directory(self, controller: str) -> str:
        """Its directory for one controller; Unsupported where the host lacks that."""
        found = self.layout.controllers.get(controller)
        if not found:
            raise Unsupported(
                f"cgroup controller {controller!r} is not available on this host",
                hint="mount it, or enable it on the kernel's command line; `box system info` shows what is there",
            )
        return f"{found.mount}{self.path}"

    def create(self) -> list[str]:
        """mkdir in every hierarchy, with parents; returns the directories that were made, outermost first."""
        made: list[str] = []
        for mount in self.layout.hierarchies:
            try:
                made += self._create_in(mount)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or os.geteuid() == 0:
                    for directory in reversed(made):
                        os.rmdir(directory)
                    raise KernelError.from_os("mkdir", error, path=f"{mount}{self.path}") from None
                self.skipped.append(mount)
        return made

    def _create_in(self, mount: str) -> list[str]:
        made, at = [], mount
        parts = self.path.strip("/").split("/")
        for part in parts:
            if mount == self.layout.unified:
                self._enable(at)
            at = f"{at}/{part}"
            try:
                os.mkdir(at, 0o755)
            except FileExistsError:
                continue
            made.append(at)
            if self._is_v1_cpuset(mount):
                _inherit_cpuset(at)
        return made

    def _is_v1_cpuset(self, mount: str) -> bool:
        cpuset = self.layout.controllers.get("cpuset")
        return bool(cpuset and cpuset.version == 1 and cpuset.mount == mount)

    def _enable(self, parent: str) -> None:
        """Let the children of a v2 group use what it has; what cannot be enabled there is told at its use."""
        wanted = {c.name for c in self.layout.controllers.values() if c.version == 2}
        if not wanted:
            return
        enabled = set(_read(f"{parent}/cgroup.subtree_control").split())
        for name in sorted(wanted - enabled):
            try:
                _write(f"{parent}/cgroup.subtree_control", f"+{name}")
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES):
                    raise

    def write(self, controller: str, file: str, value: str) -> None:
        """Write one value; the error names the file and the value."""
        path = f"{self.directory(controller)}/{file}"
        try:
            _write(path, value)
        except OSError as error:
            raise KernelError.from_os(
                "write", error, path=path, hint=f"the kernel refuses {value!r}{_why(error, path)}"
            ) from None

    def read(self, controller: str, file: str) -> str:
        """The text of one file."""
        return _read(f"{self.directory(controller)}/{file}")

    def join(self, pid: int) -> None:
        """Move a process into the group in every hierarchy."""
        for path in self.procs_paths():
            try:
                _write(path, str(pid))
            except OSError as error:
                raise KernelError.from_os("write", error, path=path) from None

    def procs_paths(self) -> list[str]:
        """The cgroup.procs files; a process moves itself by writing 0 to each."""
        return [f"{directory}/cgroup.procs" for directory in self.directories]

    def pids(self) -> list[int]:
        """All processes of the group and of the groups below it."""
        found: set[int] = set()
        for top in self.directories[:1] if self.layout.unified == "" else self._kill_directories():
            for directory in tree(top):
                found.update(int(word) for word in _read(f"{directory}/cgroup.procs").split())
        return sorted(found)

    def _kill_directories(self) -> list[str]:
        """Where to look for processes: every member is in all hierarchies, so one is enough, if it exists."""
        return [d for d in (self._first("pids"), self._first("freezer"), self._first("memory")) if d][
            :1
        ] or self.directories[:1]

    def _first(self, controller: str) -> str:
        found = self.layout.controllers.get(controller)
        directory = f"{found.mount}{self.path}" if found else ""
        return directory if directory and os.path.isdir(directory) else ""

    def _freezer(self) -> tuple[str, int]:
        v1 = self._first("freezer")
        if v1:
            return v1, 1
        v2 = f"{self.layout.unified}{self.path}"
        if self.layout.unified and os.path.exists(f"{v2}/cgroup.freeze"):
            return v2, 2
        raise Unsupported(
            "no freezer is available for this cgroup",
            hint="pause needs the freezer controller or cgroup v2 (Linux 5.2)",
        )

    @property
    def frozen(self) -> bool:
        """Whether the group is frozen, or on its way there."""
        try:
            directory, version = self._freezer()
        except Unsupported:
            return False
        if version == 1:
            return _read(f"{directory}/freezer.state").strip() != "THAWED"
        return _read(f"{directory}/cgroup.freeze").strip() == "1"

    def freeze(self) -> None:
        """Stop all processes of the group; returns when they are."""
        directory, version = self._freezer()
        if version == 2:
            _write(f"{directory}/cgroup.freeze", "1")
            wait_event(f"{directory}/cgroup.events", "frozen", "1")
            return
        # v1 gives no event: a fork under way can escape one round, so the state is written until it holds.
        for _ in range(_FREEZE_TRIES):
            _write(f"{directory}/freezer.state", "FROZEN")
            if _read(f"{directory}/freezer.state").strip() == "FROZEN":
                return
            os.sched_yield()
        _write(f"{directory}/freezer.state", "THAWED")
        raise KernelError("freeze", directory, errno.EBUSY, hint="a process in the kernel does not stop; try again")

    def thaw(self) -> None:
        """Let the processes go on."""
        directory, version = self._freezer()
        if version == 2:
            _write(f"{directory}/cgroup.freeze", "0")
            wait_event(f"{directory}/cgroup.events", "frozen", "0")
        else:
            _write(f"{directory}/freezer.state", "THAWED")

    def _not_the_root(self) -> None:
        if self.path == "/" and self.layout.hierarchies:
            raise InvalidRequest("the root cgroup holds every process of the host: it is nobody's to end")

    def kill(self, number: int = SIGKILL) -> None:
        """Signal every process of the group; with SIGKILL none survives, forking or not."""
        self._not_the_root()
        v2 = f"{self.layout.unified}{self.path}/cgroup.kill"
        if number == SIGKILL and self.layout.unified and os.path.exists(v2):
            _write(v2, "1")
            if not self._first("freezer"):  # every member is here: the last one's end is an event
                _wait_unpopulated(f"{self.layout.unified}{self.path}/cgroup.events")
                return
        for _ in range(_KILL_ROUNDS):
            pids = self.pids()
            if not pids:
                return
            self._signal(pids, number)
            if number != SIGKILL:
                return

    def _signal(self, pids: Iterable[int], number: int) -> None:
        """Frozen processes cannot fork away; they take the signal when they thaw."""
        try:
            self.freeze()
        except (Unsupported, KernelError):
            pass  # a round without it may miss a child, the next one will not
        else:
            pids = self.pids()
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        if self.frozen:
            self.thaw()

    def remove(self) -> None:
        """rmdir the group and those below it, in every hierarchy; processes must be gone or going."""
        self._not_the_root()
        for top in self._all():
            try:
                os.rmdir(top)  # the usual case: empty, nothing below it
            except FileNotFoundError:
                continue
            except OSError:
                for directory in reversed(list(tree(top))):
                    _rmdir(directory)

    def oom_kills(self) -> int:
        """How often the kernel's OOM killer has struck in this group."""
        path = self.oom_file()
        if not path:
            return 0
        words = _read(path).split()
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0

    def oom_file(self) -> str:
        """The file with the ``oom_kill`` line; empty without a memory controller."""
        found = self.layout.controllers.get("memory")
        if not found:
            return ""
        return f"{found.mount}{self.path}/" + ("memory.events" if found.version == 2 else "memory.oom_control")

    def watch_oom(self) -> tuple[int, int]:
        """A descriptor that poll(2) wakes on when the OOM killer strikes, and the event to ask for.

        v2 notifies readers of ``memory.events``; v1 wants an eventfd registered in ``cgroup.event_control``.
        """
        import select

        if self.layout.versions.get("memory") == 2:
            return os.open(self.oom_file(), os.O_RDONLY | os.O_CLOEXEC), select.POLLPRI
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = os.open(self.oom_file(), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.write("memory", "cgroup.event_control", f"{event} {control}")
        except KernelError:
            os.close(event)
            raise
        finally:
            os.close(control)
        return event, select.POLLIN

    def delegate(self, uid: int, gid: int) -> None:
        """Give the group to a user: he may make groups below it and move his processes among them."""
        for directory in self.directories:
            os.chown(directory, uid, gid)
            for name in ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"):
                if os.path.exists(f"{directory}/{name}"):
                    os.chown(f"{directory}/{name}", uid, gid)


def tree(top: str) -> Iterable[str]:
    """The directory and all below it, parents first."""
    yield top
    try:
        below = [entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for path in below:
        yield from tree(path)


def _rmdir(directory: str) -> None:
    try:
        os.rmdir(directory)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise KernelError.from_os("rmdir", error, path=directory) from None
    _wait_empty(directory)
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError.from_os("rmdir", error, path=directory, hint="processes are still in it") from None


def _wait_empty(directory: str) -> None:
    """Until the last process has left: each one's end is an event on its pidfd."""
    import select

    poller = select.poll()
    for word in _read(f"{directory}/cgroup.procs").split():
        try:
            fd = os.pidfd_open(int(word))
        except (ProcessLookupError, OSError):
            continue
        poller.register(fd, select.POLLIN)
        poller.poll(_REMOVE_WAIT_MS)
        poller.unregister(fd)
        os.close(fd)


def wait_event(path: str, key: str, value: str, timeout_ms: int = 10_000) -> None:
    """Until ``key value`` stands in a cgroup.events file; the kernel wakes by POLLPRI at each change."""
    import select

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        while f"{key} {value}\n" not in os.pread(fd, 4096, 0).decode():
            if not poller.poll(timeout_ms):
                raise KernelError("poll", path, errno.ETIMEDOUT, hint=f"the group did not become {key} {value}")
    finally:
        os.close(fd)


def _wait_unpopulated(path: str) -> None:
    """Until nobody is in the group; systemd may take it away at that moment, which says the same."""
    try:
        wait_event(path, "populated", "0")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise


def _inherit_cpuset(directory: str) -> None:
    """A new v1 cpuset is empty, and nobody may enter it: it begins with its parent's."""
    parent = directory.rpartition("/")[0]
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not _read(f"{directory}/{name}").strip():
            _write(f"{directory}/{name}", _read(f"{parent}/{name}").strip())


def _why(error: OSError, path: str) -> str:
    if error.errno == errno.ENOENT:
        return ": this kernel has no such file; is the controller enabled in the parent's cgroup.subtree_control?"
    if error.errno == errno.EBUSY and "memory" in path:
        return ": more memory is in use already than the limit allows"
    if error.errno == errno.EINVAL and "cpu" in path:
        return ": it is outside what the parent group allows"
    return ""


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(fd)


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
