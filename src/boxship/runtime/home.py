# SPDX-License-Identifier: Apache-2.0
"""HOME for a process whose environment has none: from the container's own passwd(5), or ``/``.

The file belongs to the image: no symbolic link is followed to it, and no more than a megabyte is read.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.spec.oci import Process

_MOST = 1 << 20


def with_home(process: Process, root: str) -> Process:
    """The process with HOME in its environment; ``root`` is the container's root as the host sees it."""
    if any(word.startswith("HOME=") for word in process.env):
        return process
    return process.replace(env=[*process.env, f"HOME={_lookup(root, process.user.uid)}"])


def _lookup(root: str, uid: int) -> str:
    for line in _read(root).splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/"


def _read(root: str) -> str:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        etc = os.open(f"{root}/etc", flags | os.O_DIRECTORY)
    except OSError:  # an image without /etc has no users
        return ""
    try:
        fd = os.open("passwd", flags, dir_fd=etc)
    except OSError:
        return ""
    finally:
        os.close(etc)
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_MOST)
