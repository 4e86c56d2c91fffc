# SPDX-License-Identifier: Apache-2.0
"""User namespaces as id maps: user_namespaces(7), and the file systems whose mounts can be idmapped.

A namespace lives as long as its descriptor: the process that made it is gone when ``namespace`` returns.
"""

from __future__ import annotations

import os

from boxship.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CLONE_NEWUSER = 0x10000000
#: statfs(2) f_type of file systems with FS_ALLOW_IDMAP, and the kernel since which they have it
_IDMAPPABLE = {
    0xEF53: (5, 12),
    0x4D44: (5, 12),
    0x58465342: (5, 12),
    0x9123683E: (5, 15),
    0xF2F52010: (5, 18),
    0xE0F5E1E2: (5, 19),
    0x01021994: (6, 3),
    0x73717368: (6, 2),
    0x7366746E: (5, 15),
}


def namespace(uids: list[tuple[int, int, int]], gids: list[tuple[int, int, int]]) -> int:
    """A user namespace with these maps (inside, outside, count), as a descriptor that the caller closes."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    ready, wake = os.pipe2(os.O_CLOEXEC)
    done, ended = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _hold(libc, ctypes, wake, done, ended)
    os.close(wake)
    os.close(done)
    try:
        said = os.read(ready, 4)
        if said:
            raise KernelError(
                "unshare", "CLONE_NEWUSER", int.from_bytes(said, "little"), hint="see user.max_user_namespaces"
            )
        _write(child, "uid_map", uids)
        _write(child, "gid_map", gids)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.close(ended)
        os.waitpid(child, 0)


def _hold(libc: Any, ctypes: Any, wake: int, done: int, ended: int) -> None:
    """In the child: make the namespace, say so by closing the pipe, wait until the parent closes its own."""
    os.close(ended)
    if libc.unshare(_CLONE_NEWUSER):
        os.write(wake, int(ctypes.get_errno()).to_bytes(4, "little"))
        os._exit(1)
    os.close(wake)
    os.read(done, 1)
    os._exit(0)


def _write(pid: int, name: str, ranges: list[tuple[int, int, int]]) -> None:
    path = f"/proc/{pid}/{name}"
    text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError.from_os(
            "write", error, path=path, hint="the ranges overlap, or ask for ids that the caller does not own"
        ) from None


_types: dict[str, int] = {}


def can_be_idmapped(path: str, kernel: tuple[int, int]) -> bool:
    """Whether mounts of the file system at ``path`` take MOUNT_ATTR_IDMAP, by its type; asked once per path and process."""
    if path not in _types:
        _types[path] = filesystem_type(path)
    since = _IDMAPPABLE.get(_types[path])
    return since is not None and kernel >= since


def filesystem_type(path: str) -> int:
    """f_type of statfs(2), which ``os.statvfs`` does not tell."""
    import ctypes

    buffer = (ctypes.c_long * 32)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(path), buffer):
        raise KernelError("statfs", path, ctypes.get_errno())
    return int(buffer[0]) & 0xFFFF_FFFF
