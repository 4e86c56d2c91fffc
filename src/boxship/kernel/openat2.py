# SPDX-License-Identifier: Apache-2.0
"""openat2(2) with RESOLVE_IN_ROOT: a path that an image controls, resolved as if its root were ours (Linux 5.6)."""

from __future__ import annotations

import ctypes
import os

from boxship.errors import KernelError

_SYS_OPENAT2 = 437  # the same on every architecture
_RESOLVE_IN_ROOT, _RESOLVE_NO_MAGICLINKS = 0x10, 0x02


def open_in_root(root: str, path: str, flags: int) -> int:
    """Open ``path`` below the directory ``root``; no link, however made, leads out of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        fd = int(libc.syscall(_SYS_OPENAT2, top, os.fsencode(path), how, ctypes.sizeof(how)))
    finally:
        os.close(top)
    if fd < 0:
        raise KernelError("openat2", path, ctypes.get_errno())
    return fd
