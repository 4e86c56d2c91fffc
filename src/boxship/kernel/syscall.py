# SPDX-License-Identifier: Apache-2.0
"""System calls that ``os`` does not have, through libc's syscall(2) and a few functions of libc.

Imported only where needed: ctypes costs about 2 ms.
"""

from __future__ import annotations

import ctypes
import os

from boxship.errors import KernelError

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
PR_SET_CHILD_SUBREAPER = 36


def check(result: int, call: str, path: str = "", hint: str = "") -> int:
    """``result``, or KernelError with libc's errno when it is negative."""
    if result < 0:
        raise KernelError(call, path, ctypes.get_errno(), hint=hint)
    return result


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(_libc.unshare(flags), "unshare", f"{flags:#x}")


def setns(fd: int, flags: int, path: str = "") -> None:
    """setns(2)."""
    check(_libc.setns(fd, flags), "setns", path)


def prctl(option: int, value: int) -> None:
    """prctl(2) with one number."""
    check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl", str(option))


def be_subreaper() -> None:
    """PR_SET_CHILD_SUBREAPER: orphans of this process's descendants become its children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    check(
        _libc.mount(source.encode(), os.fsencode(target), fstype.encode(), ctypes.c_ulong(flags), data.encode()),
        "mount",
        target,
    )


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    check(_libc.umount2(os.fsencode(target), flags), "umount2", target)
