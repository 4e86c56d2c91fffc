# SPDX-License-Identifier: Apache-2.0
"""What the monitor does around clone3: namespaces to join, id maps, cgroups, and its own later life.

See setns(2), user_namespaces(7), clone(2).
"""

from __future__ import annotations

from boxship.plan import stdio
from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.plan.wire import Planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.draft import Draft

HELPER_TIMEOUT_MS = 10_000


def prepare(d: Draft) -> None:
    """Descriptors of the host that later steps start from, and the namespaces that exist already."""
    d.early(s.Open(s.HOST_PROC, "/proc", w.O_PATH))
    for hierarchy in d.facts.hierarchies:
        slot = d.cgroups[hierarchy.mount] = d.slot()
        if _born_in(d):
            d.early(s.Open(slot, hierarchy.directory, w.O_PATH))
        else:
            d.early(s.Open(slot, f"{hierarchy.directory}/cgroup.procs", w.O_WRONLY))
    opened = [(d.slot(), join) for join in d.namespaces.joins]
    for slot, join in opened:
        d.early(s.Open(slot, join.path, w.O_RDONLY))
    for slot, join in opened:
        d.early(s.Setns(slot, join.flag, join.path))


def _born_in(d: Draft) -> bool:
    """On cgroup2 alone the child is born in its cgroup: no migration, no lock (CLONE_INTO_CGROUP, Linux 5.7)."""
    found = d.facts.hierarchies
    return len(found) == 1 and found[0].version == 2


def cgroups(d: Draft) -> None:
    """The child moves itself, by descriptors that the monitor opened with its own rights."""
    for hierarchy in d.facts.hierarchies:
        if not _born_in(d):
            path = f"{hierarchy.directory}/cgroup.procs"
            d.child(s.WriteSlot(d.cgroups[hierarchy.mount], b"0", path))


def clone(d: Draft) -> None:
    """clone3, and in order: maps, what the builders asked for, the meeting points, ready, supervision."""
    into = d.cgroups[d.facts.hierarchies[0].mount] if _born_in(d) else s.NONE
    stdio.pipes(d)
    d.early(s.Clone(d.namespaces.new | (0 if d.launch.supervise else w.CLONE_PARENT), into))
    d.after[:0] = [Planned(s.MONITOR, step) for step in _maps(d)]
    d.late(s.Wake())
    d.after += d.meetings
    stdio.monitor_ends(d)
    d.late(s.Ready())
    if d.launch.supervise:
        d.late(d.launch.supervise)


def _maps(d: Draft) -> list[s.Step]:
    if not d.namespaces.made(w.CLONE_NEWUSER):
        return []
    steps: list[s.Step] = []
    if not d.facts.privileged and not d.compiled.gidmap_helper:
        # Without privilege a gid map may be written only once setgroups(2) is denied.
        steps.append(s.WriteProc("setgroups", b"deny"))
    for name, helper, maps in (
        ("uid_map", d.compiled.uidmap_helper, d.spec.linux.uid_mappings),
        ("gid_map", d.compiled.gidmap_helper, d.spec.linux.gid_mappings),
    ):
        if helper:
            words = [str(n) for m in maps for n in (m.container_id, m.host_id, m.size)]
            argv = [helper, helper.rpartition("/")[2], "{pid}", *words]
            steps.append(s.Run(argv, [], b"", 0, HELPER_TIMEOUT_MS, argv[1]))
        else:
            text = "".join(f"{m.container_id} {m.host_id} {m.size}\n" for m in maps)
            steps.append(s.WriteProc(name, text.encode()))
    return steps
