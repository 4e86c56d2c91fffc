# SPDX-License-Identifier: Apache-2.0
"""HOME for a process whose environment has none: from the container's own passwd(5), or ``/``.

The file belongs to the image: links are followed within its root only, and no more than a megabyte is read.
"""

from __future__ import annotations

import errno
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
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        etc = os.open(f"{root}/etc", flags | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError:  # an image without /etc has no users
        return ""
    try:
        fd = os.open("passwd", flags | os.O_NOFOLLOW, dir_fd=etc)
    except OSError as error:
        if error.errno != errno.ELOOP:
            return ""
        fd = _through_links(root, flags)
    finally:
        os.close(etc)
    if fd < 0:
        return ""
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read(_MOST)


def _through_links(root: str, flags: int) -> int:
    """Some distributions keep the file elsewhere: the link is followed within the container's root."""
    from boxship.errors import KernelError
    from boxship.kernel.openat2 import open_in_root

    try:
        return open_in_root(root, "/etc/passwd", flags)
    except KernelError:
        return -1
