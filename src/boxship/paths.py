# SPDX-License-Identifier: Apache-2.0
"""Every path that Boxship keeps things at, for root and for ordinary users.

| what                         | root              | user                              |
|------------------------------|-------------------|-----------------------------------|
| running containers (``box``) | /run/boxship      | $XDG_RUNTIME_DIR/boxship          |
| running containers (``boxc``)| /run/boxc         | $XDG_RUNTIME_DIR/boxc             |
| images, writable layers      | /var/lib/boxship  | $XDG_DATA_HOME/boxship            |
| caches                       | /var/cache/boxship| $XDG_CACHE_HOME/boxship           |

BOXSHIP_DATA names another directory for the second line.

Where a user has no XDG_RUNTIME_DIR (no login session), /tmp/boxship-UID is used: made 0700, and refused
when somebody else owns it.
"""

from __future__ import annotations

import os
import stat

from boxship.errors import KernelError, PermissionDenied


def runtime_root(name: str) -> str:
    """The directory of running containers: ``boxship`` or ``boxc``. It is not made here."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if _is_root() or (os.geteuid() == 0 and not base):
        return f"/run/{name}"
    return f"{base}/{name}" if base else f"/tmp/{name}-{os.geteuid()}"


def cache_root() -> str:
    """Where what can be computed again is kept."""
    if _is_root():
        return "/var/cache/boxship"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/"), ".cache")
    return f"{base}/boxship"


def data_root() -> str:
    """Where images and the writable layers of containers are."""
    named = os.environ.get("BOXSHIP_DATA")
    if named:
        return os.path.abspath(named)
    if _is_root():
        return "/var/lib/boxship"
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.environ.get("HOME", "/"), ".local/share")
    return f"{base}/boxship"


def _is_root() -> bool:
    """Root of the host: root of a user namespace, as rootless engines start their runtimes, is somebody's else."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", "rb") as file:
        return file.read().split() == [b"0", b"0", b"4294967295"]


def private_directory(path: str) -> str:
    """Make ``path`` and its parents, 0700, and make sure that it is ours and nobody else may write it."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.lstat(path)
    except OSError as error:
        raise KernelError.from_os(
            "mkdir",
            error,
            path=path,
            hint="name another state directory with --root, on a file system that can be written",
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionDenied(
            f"{path}: owned by uid {found.st_uid}, mode {found.st_mode & 0o7777:#o}: not ours alone",
            hint="remove it, or name another directory with --root",
        )
    return path
