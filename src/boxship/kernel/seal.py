# SPDX-License-Identifier: Apache-2.0
"""A program's file on a read-only mount that no namespace holds: open_tree(2), mount_setattr(2).

Whoever reaches such a file through /proc/PID/exe cannot open it for writing (CVE-2019-5736). boxmon makes one for
itself when it is not started from one; a process that starts many saves that second exec.
"""

from __future__ import annotations

import ctypes
import os

_AT_FDCWD, _AT_EMPTY_PATH, _OPEN_TREE_CLONE, _MOUNT_ATTR_RDONLY = -100, 0x1000, 1, 1
_SYS_OPEN_TREE, _SYS_MOUNT_SETATTR = 428, 442  # the same on every architecture


def read_only(path: str) -> int:
    """A descriptor of the file on such a mount; -1 where the kernel or the caller's rights do not allow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | os.O_CLOEXEC))
    if fd < 0:
        return -1
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    if libc.syscall(_SYS_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, attributes, ctypes.sizeof(attributes)):
        os.close(fd)
        return -1
    return fd
