# SPDX-License-Identifier: Apache-2.0
"""What is kept of a container: one directory, readable by its owner only.

    <root>/<id>/state.json    identity, bundle, cgroup, pid and its start time; rewritten atomically
    <root>/<id>/config.json   the specification as it was when the container was created
    <root>/<id>/start         fifo: one byte lets the created process go on to exec
    <root>/<id>/status        fifo: its writer is the created process; end of file means that exec worked

The status is never stored: it is asked of the kernel. A process with the recorded pid and start time lives
or it does not; somebody reads the ``status`` fifo only until exec; the freezer says whether it is paused.
The record is written before anything else is acquired, so that ``delete --force`` can clean up after a
kill -9 at any moment.
"""

from __future__ import annotations

import errno
import os

from boxship import fastjson
from boxship.errors import Conflict, InvalidRequest, KernelError, NotFound
from boxship.kernel import lock as locking
from boxship.paths import private_directory
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from boxship.undo import Undo

#: begins the names of directories that are not containers yet; no id has it
BESIDE = "@"
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")


class State(Record):
    """The record of a container."""

    id: str
    bundle: str
    cgroup: str
    pid: int = 0
    start_time: int = 0
    created: str = ""
    owner: int = 0
    rootfs: str = ""
    oci_version: str = "1.2.1"
    annotations: dict[str, str] = {}
    #: its systemd scope, where systemd made the cgroup
    unit: str = ""
    #: the image that it was made of, and the diff_ids of its layers
    image: str = ""
    layers: list[str] = []
    #: whoever started it wants nothing of it kept
    remove: bool = False


def check_id(name: str) -> str:
    """A container's id: letters, digits and ``_+-.``; not ``.`` or ``..``."""
    if not name or name in (".", "..") or not set(name) <= _ID_CHARACTERS or len(name) > 1024:
        raise InvalidRequest(
            f"container id {name!r}: only letters, digits and _ + - . are allowed", hint="choose another id"
        )
    return name


class Store:
    """The directory of all containers of one ``--root``."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def directory(self, name: str) -> str:
        """The container's own directory, whether it exists or not."""
        return f"{self.root}/{check_id(name)}"

    def create(self, state: State, config: bytes, undo: Undo, held: Undo) -> str:
        """Claim the id, with the record and the configuration in place. ``held`` has the container's lock.

        The directory is made beside and renamed: of many callers one wins, and nobody sees half of it.
        """
        path, beside = self.directory(state.id), f"{self.root}/{BESIDE}{state.id}.{os.getpid()}"
        private_directory(self.root)
        taken = Conflict(
            f"container id {state.id!r} is in use", hint=f"choose another id, or delete it: boxc delete {state.id}"
        )
        if os.path.lexists(path):
            raise taken
        try:
            os.mkdir(beside, 0o700)
            undo.push(remove_tree, beside)
            held.push(os.close, locking.exclusive(beside))
            _write(f"{beside}/state.json", _document(state))
            _write(f"{beside}/config.json", config)
            os.rename(beside, path)  # over a directory that is not empty: refused
        except FileExistsError:
            raise taken from None
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise taken from None
            raise KernelError.from_os(
                "mkdir", error, path=path, hint="name another state directory with --root"
            ) from None
        undo.push(remove_tree, path)
        return path

    def load(self, name: str) -> State:
        """The record; NotFound when there is no such container."""
        try:
            with open(f"{self.directory(name)}/state.json", "rb") as file:
                raw: Any = fastjson.loads(file.read())
        except FileNotFoundError:
            raise NotFound(
                f"container {name!r} does not exist", hint=f"boxc list shows those below {self.root}"
            ) from None
        except OSError as error:
            raise KernelError.from_os("open", error) from None
        return State(**{k: v for k, v in raw.items() if k in State.__fields__})

    def save(self, state: State) -> None:
        """Write the record: complete or not at all."""
        write_atomically(f"{self.directory(state.id)}/state.json", _document(state))

    def names(self) -> list[str]:
        """Ids of all containers, sorted."""
        try:
            return sorted(
                entry.name
                for entry in os.scandir(self.root)
                if entry.name[0] != BESIDE and entry.is_dir(follow_symlinks=False)
            )
        except FileNotFoundError:
            return []

    def lock(self, name: str) -> int:
        """flock(2) on the container's directory until the descriptor is closed; commands on one id take turns."""
        try:
            fd = locking.exclusive(self.directory(name))
        except FileNotFoundError:
            raise NotFound(
                f"container {name!r} does not exist", hint=f"boxc list shows those below {self.root}"
            ) from None
        if not locking.is_at(
            fd, self.directory(name)
        ):  # deleted while we waited; what is there now is another container
            os.close(fd)
            raise NotFound(f"container {name!r} does not exist", hint="it has just been deleted")
        return fd

    def busy(self, name: str) -> bool:
        """Whether a command on this container is under way."""
        return locking.busy(f"{self.root}/{name}")

    def leftovers(self) -> list[str]:
        """Paths of what a killed create has left: directories that never became containers, names of none."""
        try:
            beside = [entry for entry in os.scandir(self.root) if entry.name[0] == BESIDE]
        except FileNotFoundError:
            return []
        dead = [entry.path for entry in beside if entry.is_symlink() and not os.path.exists(entry.path)]
        return dead + [entry.path for entry in beside if not entry.is_symlink() and not self.busy(entry.name)]

    def remove(self, name: str) -> None:
        """Remove the container's directory; one that is gone already is fine."""
        remove_tree(self.directory(name))


def _document(state: State) -> bytes:
    return fastjson.dumps(state.as_dict()).encode()


def remove_tree(path: str) -> None:
    """Remove a directory of plain files and fifos, one level deep, and its sub-directories; links are not followed."""
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove_tree(entry.path)
        else:
            _quietly(os.unlink, entry.path)
    _quietly(os.rmdir, path)


def _quietly(action: Callable[[str], None], path: str) -> None:
    """Remove it, unless somebody else has just done so."""
    try:
        action(path)
    except FileNotFoundError:
        return


def write_atomically(path: str, data: bytes) -> None:
    """Write a file by rename(2): a reader sees the old one or the new one."""
    temporary = f"{path}.{os.getpid()}"
    try:
        _write(temporary, data)
        os.rename(temporary, path)
    except OSError as error:
        _quietly(os.unlink, temporary)
        raise KernelError.from_os("write", error, path=path) from None


def _write(path: str, data: bytes) -> None:
    """A new file, all of it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:  # a disk that fills up takes a part first
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat: with the pid it names one process for ever. 0 when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            rest = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if rest[0] in (b"Z", b"X") else int(rest[19])


def alive(state: State) -> bool:
    """Whether the container's first process still runs."""
    return state.pid > 0 and state.start_time > 0 and start_time(state.pid) == state.start_time


def waits_at_barrier(directory: str) -> bool:
    """Whether the created process has not been started: only it has the status fifo open."""
    try:
        fd = os.open(f"{directory}/status", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    os.close(fd)
    return True
