# SPDX-License-Identifier: Apache-2.0
"""From a specification to the ordered list of steps of a container's first process.

``ORDER`` is the start order of docs/start-order.md; a test compares the two. Pure: the same specification,
facts and launch record give the same plan on every machine.
"""

from __future__ import annotations

from boxship.plan import hooks, identity, joins, rootfs, stdio
from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.plan.draft import Draft
from boxship.plan.links import loopback, move, up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.facts import Compiled, Facts, Launch
    from boxship.plan.wire import Planned
    from boxship.spec.oci import Spec


def container(spec: Spec, facts: Facts, compiled: Compiled, launch: Launch) -> list[Planned]:
    """The plan of a container: every step, in order, with its side."""
    d = Draft(spec, facts, compiled, launch)
    joins.prepare(d)
    for part in ORDER:
        part(d)
    joins.clone(d)
    return d.lines()


def begin(d: Draft) -> None:
    """Wait for the id maps, be root in the user namespace, out of reach of others."""
    d.child(s.Wait())
    identity.become_root(d)
    identity.guard(d)
    identity.initial_affinity(d)


def cgroups(d: Draft) -> None:
    """Into the cgroups before anything is charged; then the namespaces that begin there."""
    joins.cgroups(d)
    if d.namespaces.late:
        d.call("unshare", d.namespaces.late)
    if d.spec.linux.time_offsets:
        lines = [f"{name} {at.secs or 0} {at.nanosecs or 0}" for name, at in d.spec.linux.time_offsets.items()]
        d.child(s.Write(s.HOST_PROC, "self/timens_offsets", "\n".join(lines).encode()))


def network(d: Draft) -> None:
    """Loopback of a new network namespace; the devices that the specification moves in."""
    if d.namespaces.made(w.CLONE_NEWNET):
        d.child(loopback())
    for device in d.launch.devices:
        d.late(move(device.index, device.name))


def session(d: Draft) -> None:
    """Session and session keyring."""
    identity.session(d)


def root(d: Draft) -> None:
    """The root, its mounts and devices; in the host's own mount namespace only a chroot."""
    if d.namespaces.has(w.CLONE_NEWNS):
        rootfs.root(d)
        rootfs.mounts(d)
        rootfs.devices(d)
        if d.spec.process:
            d.child(s.MkDir(rootfs.clean(d.spec.process.cwd), 0o755))
    else:
        d.child(s.Open(s.ROOT, rootfs.path(d), w.O_PATH))


def created(d: Draft) -> None:
    """The hooks before pivot_root: the monitor's while the child waits, then those in the container."""
    wanted = d.spec.hooks
    if not wanted:
        return
    data, pid_at = hooks.state(d.spec, d.launch, "creating")
    outside = [("prestart", h) for h in wanted.prestart] + [("createRuntime", h) for h in wanted.create_runtime]
    if outside:
        d.child(s.Wake())
        d.meet(s.Wait())
        for kind, hook in outside:
            d.meet(hooks.run(hook, kind, data, pid_at, d.launch.environment))
        d.meet(s.Wake())
        d.child(s.Wait())
    for hook in wanted.create_container:
        d.child(hooks.run(hook, "createContainer", data, pid_at, d.launch.environment))


def hide(d: Draft) -> None:
    """sysctls, then read-only and masked paths, which would cover them. Before pivot_root: /dev/null is still the host's."""
    for key, value in d.spec.linux.sysctl.items():
        path = key if "/" in key else key.replace(".", "/")
        d.child(s.Write(s.HOST_PROC, f"sys/{path}", w.raw_bytes(value)))
    if d.namespaces.has(w.CLONE_NEWNS):
        rootfs.hide(d)


def change_root(d: Draft) -> None:
    """pivot_root, the last use of the host's files; the terminal, which lives in the container's devpts."""
    for device in d.launch.devices:
        d.child(up(device.name))
    rootfs.pivot(d)
    if d.spec.process:
        identity.own_files(d, d.spec.process)
    joins.enter(d, fork=any(joins.late_pid(d.namespaces, join.flag) for join in d.namespaces.joins))
    if d.spec.process:
        stdio.terminal(d, d.spec.process)


def names(d: Draft) -> None:
    """Host name and domain name."""
    for call, name in (("sethostname", d.spec.hostname), ("setdomainname", d.spec.domainname)):
        if name:
            raw = w.raw_bytes(name)
            d.call(call, 0, len(raw), at=0, data=raw)


def privileges(d: Draft) -> None:
    """Limits, working directory, filter (where only root may load it), ids and capabilities."""
    if d.spec.process:
        identity.limits(d, d.spec.process)
        d.child(s.ChDir(rootfs.clean(d.spec.process.cwd)))
        stdio.own(d)
        identity.filter_early(d, d.spec.process)
        identity.ids(d, d.spec.process)


def program(d: Draft) -> None:
    """Find the program, wait for start, run the start hooks, load the filter, exec."""
    process = d.spec.process
    if not process:
        d.child(s.Barrier(s.START, s.STATUS))
        return
    d.child(s.Lookup(process.args[0], search_path(process.env)))
    if d.compiled.seccomp_notify:
        identity.filter_late(d, process)
    if d.launch.barrier:
        d.child(s.Barrier(s.START, s.STATUS))
    if d.spec.hooks:
        data, pid_at = hooks.state(d.spec, d.launch, "created")
        for hook in d.spec.hooks.start_container:
            d.child(hooks.run(hook, "startContainer", data, pid_at, d.launch.environment))
    stdio.redirect(d)
    if not d.compiled.seccomp_notify:
        identity.filter_late(d, process)
    if d.launch.init:
        d.child(s.Init())
    d.child(s.Exec(process.args, process.env))


#: The start order. Why no line can move is said in docs/start-order.md.
ORDER = (begin, cgroups, network, session, root, created, hide, change_root, names, privileges, program)


def search_path(env: list[str]) -> str:
    """The container's PATH, or the one that execvp(3) would use."""
    found = [word[5:] for word in env if word.startswith("PATH=")]
    return found[-1] if found else "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
