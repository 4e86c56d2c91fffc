# SPDX-License-Identifier: Apache-2.0
"""The steps that make the process what it has to be: session, limits, labels, ids, capabilities, filter.

See credentials(7), capabilities(7), seccomp(2). The order matters and is explained line by line in
docs/start-order.md.
"""

from __future__ import annotations

import struct

from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.plan.draft import Draft, call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.spec.oci import Process

SIGKILL = 9
_RLIMIT = struct.Struct("<QQ")
_CAP_HEADER = struct.pack("<Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
KEYRING = "_ses."


def become_root(d: Draft) -> None:
    """Be id 0 of the new user namespace, so that what is made belongs to the container's root."""
    if d.namespaces.has(w.CLONE_NEWUSER):
        d.call("setresgid", 0, 0, 0)
        d.call("setresuid", 0, 0, 0)


def guard(d: Draft) -> None:
    """Out of reach of ptrace and of /proc/PID/exe from now on; dies with its monitor."""
    d.call("prctl", w.PR_SET_DUMPABLE, 0)
    if d.launch.supervise:
        d.call("prctl", w.PR_SET_PDEATHSIG, SIGKILL)


def session(d: Draft) -> None:
    """A session of its own, and a session keyring."""
    d.call("setsid", optional=False)
    if d.launch.keyring:
        label = d.spec.process.selinux_label if d.spec.process else ""
        if label:
            d.child(s.Write(s.HOST_PROC, "thread-self/attr/keycreate", w.raw_bytes(label)), optional=True)
        # A kernel without key quota or with keyctl filtered away can do without: as optional as in runc.
        name = f"{KEYRING}{d.launch.id}".encode() + b"\0"
        d.call("keyctl", w.KEYCTL_JOIN_SESSION_KEYRING, at=1, data=name, optional=True)


def limits(d: Draft, process: Process) -> None:
    """Resource limits and scheduling: while the process may still raise them."""
    for number, soft, hard in d.compiled.raised_rlimits:
        d.late(call("prlimit64", 0, number, at=2, data=_RLIMIT.pack(soft, hard)))
    for number, soft, hard in d.compiled.rlimits:
        d.call("prlimit64", 0, number, at=2, data=_RLIMIT.pack(soft, hard))
    compiled = d.compiled
    if compiled.personality is not None:
        d.call("personality", compiled.personality)
    if compiled.io_priority is not None:
        d.call("ioprio_set", 1, 0, compiled.io_priority)
    if compiled.memory_policy is not None:
        mode, nodes = compiled.memory_policy
        d.call("set_mempolicy", mode, 0, len(nodes) * 8 if nodes else 0, at=1 if nodes else s.NONE, data=nodes)
    if compiled.scheduler:
        d.call("sched_setattr", 0, 0, 0, at=1, data=compiled.scheduler)
    _affinity(d, 1)


def _affinity(d: Draft, which: int) -> None:
    mask = d.compiled.affinity[which]
    if mask:
        d.call("sched_setaffinity", 0, len(mask), at=2, data=mask)


def initial_affinity(d: Draft) -> None:
    """execCPUAffinity.initial: before the process joins its cgroup."""
    _affinity(d, 0)


def own_files(d: Draft, process: Process) -> None:
    """What the process says of itself in the host's own procfs: OOM score, and the label that the next exec takes on."""
    if process.oom_score_adj is not None:
        value = str(process.oom_score_adj).encode()
        if d.facts.privileged and d.namespaces.has(w.CLONE_NEWUSER):
            d.late(s.WriteProc("oom_score_adj", value), optional=True)
        else:
            d.child(s.Write(s.HOST_PROC, "self/oom_score_adj", value), optional=True)
    if d.compiled.exec_label:
        path, text = d.compiled.exec_label
        d.child(s.Write(s.HOST_PROC, path, w.raw_bytes(text)))


def filter_early(d: Draft, process: Process) -> None:
    """Without no_new_privs only CAP_SYS_ADMIN may load a filter: load it while the process has that."""
    if not process.no_new_privileges and not _keeps_admin(d):
        seccomp(d)


def _keeps_admin(d: Draft) -> bool:
    return d.compiled.bounding is None or bool(d.compiled.effective & d.compiled.permitted & (1 << 21))


def filter_late(d: Draft, process: Process) -> None:
    """With no_new_privs, or with CAP_SYS_ADMIN kept, the filter is the last thing before exec."""
    if process.no_new_privileges or _keeps_admin(d):
        seccomp(d)


def seccomp(d: Draft) -> None:
    """Load the compiled filter; its listener goes to the monitor."""
    if not d.compiled.seccomp:
        return
    notify = d.compiled.seccomp_notify
    d.child(s.Seccomp(d.compiled.seccomp, d.compiled.seccomp_flags, int(notify)))
    if notify:
        d.meet(s.Notify(s.LISTENER, d.launch.listener_state, d.launch.listener_pid_at))


def ids(d: Draft, process: Process) -> None:
    """Bounding set, groups, ids, capabilities, ambient set, no_new_privs: in the order of capabilities(7)."""
    compiled, user = d.compiled, process.user
    if compiled.bounding is not None:
        d.child(s.Bound(compiled.bounding, compiled.last_cap))
        d.call("prctl", w.PR_SET_KEEPCAPS, 1)
    if _may_set_groups(d):
        groups = struct.pack(f"<{len(user.additional_gids)}I", *user.additional_gids)
        d.call("setgroups", len(user.additional_gids), at=1, data=groups or b"\0")
    d.call("setresgid", user.gid, user.gid, user.gid)
    d.call("setresuid", user.uid, user.uid, user.uid)
    if compiled.bounding is not None:
        d.call("prctl", w.PR_SET_KEEPCAPS, 0)
        _set_capabilities(d)
    d.call("umask", 0o022 if user.umask is None else user.umask)
    if process.no_new_privileges:
        d.call("prctl", w.PR_SET_NO_NEW_PRIVS, 1)
    # Changing ids clears both; whoever shares the container's ids must still not reach boxmon.
    d.call("prctl", w.PR_SET_DUMPABLE, 0)
    if d.launch.supervise:
        d.call("prctl", w.PR_SET_PDEATHSIG, SIGKILL)


def _may_set_groups(d: Draft) -> bool:
    # A map of one id, written without privilege, has setgroups(2) denied for good: user_namespaces(7).
    if d.facts.privileged or not d.namespaces.made(w.CLONE_NEWUSER):
        return True
    return bool(d.compiled.gidmap_helper)


def _set_capabilities(d: Draft) -> None:
    c = d.compiled
    low, high = 0xFFFF_FFFF, 32
    data = struct.pack(
        "<6I",
        c.effective & low,
        c.permitted & low,
        c.inheritable & low,
        c.effective >> high,
        c.permitted >> high,
        c.inheritable >> high,
    )
    d.child(s.SetCaps(_CAP_HEADER, data))
    d.call("prctl", w.PR_CAP_AMBIENT, w.PR_CAP_AMBIENT_CLEAR_ALL)
    for cap in range(c.last_cap + 1):
        if c.ambient & (1 << cap):
            d.call("prctl", w.PR_CAP_AMBIENT, w.PR_CAP_AMBIENT_RAISE, cap)
