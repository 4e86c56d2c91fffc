# SPDX-License-Identifier: Apache-2.0
"""Facts of the host and of the caller, read from the kernel: the input of every plan.

See proc(5), capabilities(7), user_namespaces(7).
"""

from __future__ import annotations

import os

from boxship.plan.facts import Facts, Hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxship.kernel.cgroup import Group

_CAP_SYS_ADMIN = 21


_version: tuple[int, int] | None = None
_privileged: tuple[int, bool] | None = None


def kernel_version() -> tuple[int, int]:
    """(6, 18) on Linux 6.18.x."""
    global _version
    if _version is None:
        _version = _read_version()
    return _version


def _read_version() -> tuple[int, int]:
    major, _, rest = os.uname().release.partition(".")
    minor = "".join(c for c in rest.partition(".")[0] if c.isdecimal())
    return int(major), int(minor or 0)


def privileged() -> bool:
    """Whether this process has CAP_SYS_ADMIN over the initial user namespace; asked again when its user id has changed."""
    global _privileged
    if _privileged is None or _privileged[0] != os.geteuid():
        _privileged = (os.geteuid(), _is_privileged())
    return _privileged[1]


def _is_privileged() -> bool:
    with open("/proc/self/status", "rb") as file:
        effective = int(file.read().partition(b"CapEff:")[2].split(None, 1)[0], 16)
    if not effective & (1 << _CAP_SYS_ADMIN):
        return False
    with open("/proc/self/uid_map", "rb") as file:
        return file.read().split() == [b"0", b"0", b"4294967295"]


def facts(group: Group | None) -> Facts:
    """What a plan needs, with the container's place in each cgroup hierarchy."""
    return Facts(
        kernel=kernel_version(),
        privileged=privileged(),
        uid=os.geteuid(),
        gid=os.getegid(),
        hierarchies=hierarchies(group),
    )


def hierarchies(group: Group | None, *, planned: bool = False) -> list[Hierarchy]:
    """The hierarchies in which the group exists, or will when it is only ``planned``."""
    if group is None:
        return []
    layout, found = group.layout, []
    there = set(group.directories)
    for mount in layout.hierarchies:
        own = [c for c in layout.controllers.values() if c.mount == mount]
        version = 2 if mount == layout.unified else own[0].version
        directory = f"{mount}{group.path}"
        if planned or directory in there:
            found.append(Hierarchy(mount, version, [c.name for c in own], directory))
    return found


#: file systems on disks; what else is mounted (proc, tmpfs, network …) is not part of the machine's userland
_DISKS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "jfs", "reiserfs", "erofs", "squashfs")
_NOT_BELOW = ("/proc", "/sys", "/dev", "/run", "/boot")


def disks() -> list[str]:
    """Mount points of other disks below the root, outermost first; bind mounts of files are left out."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return disks_of(file.read(), os.path.isdir)


def disks_of(mountinfo: str, is_directory: Callable[[str], bool]) -> list[str]:
    """The same from the text of mountinfo."""
    found: list[str] = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        path, fstype = left.split(" ")[4].replace("\\040", " "), right.partition(" ")[0]
        if path == "/" or fstype not in _DISKS or path in found:
            continue
        if not any(path == top or path.startswith(f"{top}/") for top in _NOT_BELOW) and is_directory(path):
            found.append(path)
    return sorted(found)
