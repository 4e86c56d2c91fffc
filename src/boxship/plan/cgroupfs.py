# SPDX-License-Identifier: Apache-2.0
"""Mounts of type ``cgroup``: what a container sees below /sys/fs/cgroup, on every kind of host.

cgroup2 alone: one mount. Otherwise, as hosts themselves have it: a tmpfs with a directory for each
hierarchy. With a cgroup namespace each hierarchy is mounted anew and begins at the container's group;
without one, the container's own directory of the host is bound. See cgroup_namespaces(7).
"""

from __future__ import annotations

from boxship.plan import steps as s
from boxship.plan import words as w

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.draft import Draft
    from boxship.plan.facts import Hierarchy
    from boxship.plan.mounts import Options


def mount_cgroup(d: Draft, target: str, options: Options) -> None:
    """The steps for one mount of type ``cgroup`` at ``target``."""
    hierarchies = d.facts.hierarchies
    attrs = options.set | w.ATTR_NOSUID | w.ATTR_NODEV | w.ATTR_NOEXEC
    if len(hierarchies) == 1 and hierarchies[0].version == 2:
        _one(d, hierarchies[0], target, attrs)
        return
    top = d.slot()
    d.child(s.FsMount(top, "tmpfs", ["source=cgroup", "mode=0755"], attrs & ~w.ATTR_RDONLY))
    d.child(s.Attach(top, target, s.ATTACH_NOFOLLOW))
    for hierarchy in hierarchies:
        _one(d, hierarchy, f"{target}/{_name(hierarchy)}", attrs)
    for hierarchy in hierarchies:
        if len(hierarchy.controllers) > 1:
            for controller in hierarchy.controllers:
                d.child(s.SymLink(_name(hierarchy), f"{target}/{controller}"))
    made = d.slot()
    d.child(s.OpenIn(made, target, w.O_PATH))
    d.child(s.SetAttr(made, attrs, 0, 0, 0))
    d.child(s.Close(made))


def _name(hierarchy: Hierarchy) -> str:
    return hierarchy.mount.rpartition("/")[2]


def _one(d: Draft, hierarchy: Hierarchy, target: str, attrs: int) -> None:
    slot = d.slot()
    if not d.namespaces.made(w.CLONE_NEWCGROUP):
        d.child(s.OpenTree(slot, hierarchy.directory, 0))
        d.child(s.SetAttr(slot, attrs, 0, w.MS_SLAVE, 0))
    elif hierarchy.version == 2:
        d.child(s.FsMount(slot, "cgroup2", ["source=cgroup"], attrs))
    else:
        d.child(s.FsMount(slot, "cgroup", ["source=cgroup", *hierarchy.controllers], attrs))
    d.child(s.Attach(slot, target, 0))
