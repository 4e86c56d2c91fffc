# SPDX-License-Identifier: Apache-2.0
"""flock(2) on directories: the kernel lets go of a lock when its holder dies, whatever he dies of."""

from __future__ import annotations

import fcntl
import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def exclusive(path: str) -> int:
    """The directory's lock, waited for; it is held until the descriptor is closed. FileNotFoundError: there is none."""
    return _take(path, fcntl.LOCK_EX)


def shared(path: str) -> int:
    """The same beside others who hold it shared."""
    return _take(path, fcntl.LOCK_SH)


def try_exclusive(path: str) -> int:
    """The lock, or -1 when somebody holds it."""
    try:
        return _take(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return -1


def _take(path: str, how: int) -> int:
    fd = os.open(path, _DIRECTORY)
    try:
        fcntl.flock(fd, how)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_at(fd: int, path: str) -> bool:
    """Whether the directory is still the one of that name: it may have been replaced while its lock was waited for."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def busy(path: str) -> bool:
    """Whether somebody holds the directory's lock; nobody does of one that is gone, or is no directory."""
    try:
        fd = try_exclusive(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if fd >= 0:
        os.close(fd)
    return fd < 0
