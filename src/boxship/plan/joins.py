# SPDX-License-Identifier: Apache-2.0
"""What the monitor does around clone3: namespaces to join, id maps, cgroups, and its own later life.

See setns(2), user_namespaces(7), clone(2).
"""

from __future__ import annotations

from boxship.plan import stdio
from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.plan.draft import call
from boxship.plan.wire import Planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxship.plan.draft import Draft
    from boxship.plan.facts import Hierarchy
    from boxship.plan.namespaces import Decision

HELPER_TIMEOUT_MS = 10_000


def prepare(d: Draft) -> None:
    """Descriptors of the host that later steps start from, and the namespaces that exist already."""
    if not d.namespaces.made(w.CLONE_NEWUSER):
        # The child is born out of reach of processes that share its namespaces already. With a user namespace to be
        # made this comes later, in the child: an ordinary user could not write its id maps otherwise.
        d.early(call("prctl", w.PR_SET_DUMPABLE, 0))
    if d.spec.hooks:  # they begin in the bundle
        d.early(call("chdir", at=0, data=w.raw_bytes(d.launch.bundle)))
    d.early(s.Open(s.HOST_PROC, "/proc", w.O_PATH))
    d.cgroups = open_groups(d.facts.hierarchies, d.slot, d.early)
    opened = [(d.slot(), join) for join in d.namespaces.joins]
    for slot, join in opened:
        d.early(s.Open(slot, join.path, w.O_RDONLY))
    for slot, join in opened:
        # Not yet with the child in it: see ``enter``.
        add = d.child if late_pid(d.namespaces, join.flag) else d.early
        add(s.Setns(slot, join.flag, join.path))


def late_pid(namespaces: Decision, flag: int) -> bool:
    """Whether the child joins another's pid namespace itself, for the processes that it forks.

    With a user namespace it may not; there boxmon, which began outside of it, is out of reach of the others.
    """
    return flag == w.CLONE_NEWPID and not namespaces.has(w.CLONE_NEWUSER)


def enter(d: Draft, *, fork: bool) -> None:
    """Let go of the host's directories, then appear in the pid namespace that others are in already.

    Who shares it and has CAP_SYS_PTRACE could otherwise reach the host through /proc/PID/fd.
    """
    for slot in (s.HOST_PROC, s.DEV_NULL, *d.cgroups.values()):
        d.child(s.Close(slot))
    if fork:
        d.child(s.Enter())
        d.meet(s.Adopt())
        d.call("setsid")  # the session's leader has just ended


def open_groups(hierarchies: list[Hierarchy], slot: Callable[[], int], add: Callable[[s.Step], None]) -> dict[str, int]:
    """The monitor opens the container's groups with its own rights; returns the slot of each hierarchy.

    Neither way takes the lock over all processes of the system, which may have to wait many milliseconds for
    an RCU grace period: on v1 a single thread moves itself through ``tasks`` (Linux 5.5), on v2 the child is
    born in its group (CLONE_INTO_CGROUP, Linux 5.7).
    """
    found = {}
    for hierarchy in hierarchies:
        found[hierarchy.mount] = slot()
        if hierarchy.version == 2:
            add(s.Open(found[hierarchy.mount], hierarchy.directory, w.O_PATH))
        else:
            add(s.Open(found[hierarchy.mount], f"{hierarchy.directory}/tasks", w.O_WRONLY))
    return found


def moves(hierarchies: list[Hierarchy], slots: dict[str, int]) -> list[s.Step]:
    """The child moves itself, by descriptors that the monitor has opened."""
    return [s.WriteSlot(slots[h.mount], b"0", f"{h.directory}/tasks") for h in hierarchies if h.version == 1]


def born_in(hierarchies: list[Hierarchy], slots: dict[str, int]) -> int:
    """The slot of the cgroup2 directory for clone3."""
    return next((slots[h.mount] for h in hierarchies if h.version == 2), s.NONE)


def cgroups(d: Draft) -> None:
    """The child joins its cgroups."""
    for step in moves(d.facts.hierarchies, d.cgroups):
        d.child(step)


def clone(d: Draft) -> None:
    """clone3, and in order: maps, what the builders asked for, the meeting points, ready, supervision."""
    into = born_in(d.facts.hierarchies, d.cgroups)
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
