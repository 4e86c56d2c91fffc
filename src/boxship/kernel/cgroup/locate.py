# SPDX-License-Identifier: Apache-2.0
"""Where each cgroup controller is: on cgroup v2, on a v1 hierarchy of its own, or nowhere.

Every controller is located on its own, so that pure v1, pure v2 and any mixture are the same case: systemd's
hybrid, hugetlb alone on v2, cpu and cpuacct mounted together. See cgroups(7).
"""

from __future__ import annotations

import os

from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Controller(Record):
    """A controller and the mount point of its hierarchy; ``prefix`` is the mount's root in the hierarchy."""

    name: str
    version: int
    mount: str
    prefix: str = "/"


class Layout(Record):
    """All controllers of the host, by name."""

    controllers: dict[str, Controller]
    unified: str = ""

    @property
    def versions(self) -> dict[str, int]:
        """Controller → 1 or 2."""
        return {name: found.version for name, found in self.controllers.items()}

    @property
    def hierarchies(self) -> list[str]:
        """Distinct mount points, v1 first; cgroup2 is among them even without controllers."""
        found = dict.fromkeys(c.mount for c in self.controllers.values() if c.version == 1)
        return [*found, *([self.unified] if self.unified else [])]


def parse(mountinfo: str, v1_names: set[str], v2_controllers: Callable[[str], list[str]]) -> Layout:
    """The layout from the text of /proc/self/mountinfo and what /proc/cgroups and cgroup.controllers say.

    The first mount of a hierarchy counts; named hierarchies without controllers belong to others.
    """
    controllers: dict[str, Controller] = {}
    unified = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if not right.startswith("cgroup"):
            continue
        fstype, _, options = right.split(" ", 2)
        fields = left.split(" ")
        root, mount = _unescape(fields[3]), _unescape(fields[4])
        if fstype == "cgroup2":
            unified = unified or mount
            continue
        for name in options.split(","):
            if name in v1_names and name not in controllers:
                controllers[name] = Controller(name, 1, mount, root)
    for name in v2_controllers(unified) if unified else []:
        controllers.setdefault(name, Controller(name, 2, unified))
    return Layout(controllers, unified)


def _unescape(text: str) -> str:
    """Blanks in mountinfo are octal."""
    if "\\" not in text:
        return text
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


_found: Layout | None = None


def locate(*, again: bool = False) -> Layout:
    """The layout of this host, as this process sees it; read once per process."""
    global _found
    if _found is None or again:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mountinfo = file.read()
        with open("/proc/cgroups", encoding="ascii") as file:
            names = {line.split()[0] for line in file if not line.startswith("#")}
        _found = parse(mountinfo, names, _read_controllers)
    return _found


def _read_controllers(mount: str) -> list[str]:
    with open(os.path.join(mount, "cgroup.controllers"), encoding="ascii") as file:
        return file.read().split()
