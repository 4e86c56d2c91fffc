# SPDX-License-Identifier: Apache-2.0
"""The machine's own userland as a container: the host's root below, a private writable layer on top.

The way of a request: ``Request`` → ``spec/host.py`` → ``plan/build.py`` → boxmon, which stays as the monitor.
Nothing is mounted in the host's own mount namespace, so nothing can be left mounted there.
"""

from __future__ import annotations

import os

from boxship import fastjson
from boxship.engine import names
from boxship.engine import root as roots
from boxship.engine.names import SHORT, new_id
from boxship.errors import InvalidRequest, KernelError, NotFound, Unsupported
from boxship.kernel import capabilities, idmap
from boxship.kernel.cgroup import Group, locate
from boxship.paths import runtime_root
from boxship.plan import build, limits
from boxship.plan import steps as s
from boxship.plan.facts import Launch
from boxship.record import Record
from boxship.runtime import compile as compiling
from boxship.runtime import groups, host
from boxship.runtime.launch import Launched, Launcher
from boxship.runtime.signals import signal_number
from boxship.runtime.state import State, Store, remove_tree
from boxship.spec import host as building
from boxship.spec import oci
from boxship.spec.request import ID_COUNT
from boxship.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.engine.root import Root
    from boxship.plan.facts import Compiled, Facts
    from boxship.plan.limits import Setting
    from boxship.plan.wire import Planned
    from boxship.spec.request import Request

_RESTART = {"no": s.RESTART_NO, "on-failure": s.RESTART_ON_FAILURE, "always": s.RESTART_ALWAYS}


class Drawn(Record):
    """A container on paper: everything that starting it needs, and nothing done yet."""

    id: str
    name: str
    request: Request
    root: Root
    spec: oci.Spec
    compiled: Compiled
    group: Group
    settings: list[Setting]
    launch: Launch
    warnings: list[str]

    def plan(self, facts: Facts) -> list[Planned]:
        """Its steps."""
        return build.container(self.spec, facts, self.compiled, self.launch)

    def before(self) -> list[str]:
        """What Python does itself before boxmon starts, in words."""
        return [
            f"mkdir({self.launch.bundle}, 0o700)",
            *(f"mkdir({m}{self.group.path}, 0o755)" for m in self.group.layout.hierarchies),
            *(one.describe() for one in self.settings),
        ]


class Started(Record):
    """A container that runs: its first process, its monitor, and the caller's end of the primary client."""

    drawn: Drawn
    launched: Launched
    plan: list[Planned]
    client: int
    directory: str

    def reap(self) -> None:
        """The monitor is a child of the process that started it: take its exit status off the kernel's hands."""
        os.waitpid(self.launched.boxmon, 0)


def store() -> Store:
    """The directory of running containers."""
    return Store(runtime_root("boxship"))


def draw(request: Request) -> Drawn:
    """From the request to the specification and the launch record; nothing of the container exists yet.

    Layers of an image that are not there are fetched and unpacked on the way. Raises what cannot be.
    """
    full, warnings = new_id(), list[str]()
    short = full[:SHORT]
    name = names.check(request.name) if request.name else short
    found = roots.choose(request, short)
    request = found.request
    own_userns = _own_userns(found, warnings)
    if own_userns and max(found.user.uid, found.user.gid, *found.user.groups, 0) >= ID_COUNT:
        raise InvalidRequest(
            f"--user {request.user}: the container's user namespace has the ids 0 … {ID_COUNT - 1}",
            hint="--userns host gives it all ids of the host",
        )
    spec = building.specification(
        request,
        uid=found.user.uid,
        gid=found.user.gid,
        groups=found.user.groups,
        home=found.user.home,
        name=name[:SHORT],
        all_capabilities=capabilities.names(capabilities.own_bounding()),
        own_userns=own_userns,
        idmap=_mappable(request, warnings) if own_userns else None,
        files=_network_files(found, short),
    )
    spec = _with_seccomp(request, spec)
    from boxship.spec.validate import validate

    warnings += validate(spec)
    compiled = compiling.compile_spec(spec, warnings)
    layout = locate()
    group = Group(layout, f"{request.cgroup_parent or groups.DEFAULT_PARENT}/{short}")
    settings = limits.settings(groups.resources_of(spec), layout.versions)
    return Drawn(full, name, request, found, spec, compiled, group, settings, _launch(found, full, group), warnings)


def _network_files(found: Root, short: str) -> dict[str, str] | None:
    if found.image == roots.HOST:
        return None
    return {f"/etc/{file}": f"{store().root}/{short}/{file}" for file in roots.NETWORK_FILES}


def _own_userns(found: Root, warnings: list[str]) -> bool:
    request = found.request
    if request.userns == "host" or request.privileged:
        return False
    if not host.privileged():
        raise Unsupported("box run needs root for now", hint="run it as root; rootless bundles run with boxc")
    if not roots.idmappable(found):
        warnings.append(
            "the root file system cannot be idmapped: no user namespace of its own (--userns host says so too)"
        )
        return False
    return True


def _mappable(request: Request, warnings: list[str]) -> list[str]:
    """Sources of bind mounts on file systems that can be idmapped; of the others a warning tells."""
    found = []
    for volume in request.volumes:
        if volume.kind != "bind":
            continue
        if idmap.can_be_idmapped(volume.source, host.kernel_version()):
            found.append(volume.source)
        else:
            warnings.append(
                f"{volume.source}: this file system cannot be idmapped: its files belong to nobody inside (--userns host shows owners)"
            )
    return found


def _with_seccomp(request: Request, spec: oci.Spec) -> oci.Spec:
    if request.privileged or request.seccomp == "unconfined":
        return spec
    if request.seccomp:
        profile = _read_profile(request.seccomp)
    else:
        held = spec.process.capabilities.bounding if spec.process and spec.process.capabilities else []
        profile = {"defaultAction": "SCMP_ACT_ERRNO", compiling.DEFAULT_PROFILE: list(held)}
    return spec.replace(linux=spec.linux.replace(seccomp=profile))


def _read_profile(path: str) -> object:
    from boxship import fastjson

    try:
        with open(path, "rb") as file:
            return fastjson.loads(file.read())
    except OSError as error:
        raise KernelError.from_os(
            "open", error, hint="--security-opt seccomp=FILE names a profile in OCI form"
        ) from None


def _launch(found: Root, full: str, group: Group) -> Launch:
    request = found.request
    directory = f"{store().root}/{full[:SHORT]}"
    stdio = "pipe" if request.detach or any(os.isatty(fd) for fd in (0, 1, 2)) else "inherit"
    supervise = s.Supervise(
        directory,
        log_size=request.log_size,
        log_files=request.log_files,
        restart=_RESTART[request.restart],
        restart_max=request.restart_max,
        timeout_ms=int(request.timeout * 1000),
        stop_signal=signal_number(request.stop_signal or "TERM"),
        oom_file=group.oom_file(),
        after=_removal(full[:SHORT]) if request.detach and request.remove else [],
    )
    return Launch(
        id=full[:SHORT],
        bundle=directory,
        stdio=stdio,
        interactive=request.interactive,
        null_stdin=not request.interactive,
        init=request.init,
        supervise=supervise,
        overlay=found.overlay,
    )


def _removal(container: str) -> list[str]:
    """What the monitor becomes at its end, when nobody else is there to remove the container."""
    import sys

    return [sys.executable, "-I", "-m", "boxship", "rm", container]


def facts(drawn: Drawn, *, planned: bool = False) -> Facts:
    """The host, with the container's place in the cgroup hierarchies."""
    found = host.facts(None)
    return found.replace(hierarchies=host.hierarchies(drawn.group, planned=planned))


def start(drawn: Drawn, *, trace: bool = False) -> Started:
    """Do it. On any failure nothing is left behind."""
    _keep_directory(drawn.request)
    with Undo() as held, Undo() as undo:
        directory = store().create(_record(drawn), fastjson.dumps(oci.encode(drawn.spec)).encode(), undo, held)
        names.claim(store().root, drawn.name, drawn.launch.id, undo)
        roots.write_network_files(drawn.root, directory, drawn.name)
        upper = roots.prepare(drawn.root, drawn.launch.id)
        if upper:
            undo.push(remove_tree, upper)
        groups.make(drawn.group, drawn.settings, drawn.spec, undo, drawn.warnings)
        own, other = _client(undo)
        plan = drawn.plan(facts(drawn))
        launched = Launcher(plan, {s.CLIENT: other}, trace=trace, monitor=True).run()
        os.close(other)
        undo.forget()
    return Started(drawn, launched, plan, own, directory)


def _record(drawn: Drawn) -> State:
    """What is kept of it. The pids are not in it: the monitor writes them, at every start."""
    return State(
        id=drawn.launch.id,
        bundle=drawn.launch.bundle,
        cgroup=drawn.group.path,
        owner=os.geteuid(),
        rootfs="host",
        image=drawn.root.image,
        layers=drawn.root.layers,
        remove=drawn.request.remove,
        annotations={"name": drawn.name, "command": " ".join(drawn.request.args)[:200]},
    )


def _keep_directory(request: Request) -> None:
    if request.keep and not os.path.isdir(request.keep):
        raise InvalidRequest(
            f"--keep {request.keep}: no such directory", hint="make it first; the container's changes will be in it"
        )


def _client(undo: Undo) -> tuple[int, int]:
    import _socket

    own, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    fds = own.detach(), other.detach()
    for fd in fds:
        undo.push(os.close, fd)
    return fds


def remove(container: str, cgroup: str, name: str) -> None:
    """Remove a container that has ended; it may be that somebody else has just done so."""
    try:
        lock = store().lock(container)
    except NotFound:
        return
    try:
        clear(container, cgroup, name)
    finally:
        os.close(lock)


def clear(container: str, cgroup: str, name: str) -> None:
    """Take away what is left of a container, whose lock the caller holds: its cgroup, its name, its directory."""
    group = groups.of_path(cgroup)
    group.kill()
    group.remove()
    names.release(store().root, name, container)
    upper = roots.writable(container)
    if os.path.isdir(upper):
        remove_tree(upper)
    store().remove(container)


def run(request: Request) -> int:
    """Run a container to its end and remove it; its output goes where the caller's goes. Returns its exit code.

    The container must not need more of this process than that: no terminal, no standard input.
    """
    from boxship.runtime import monitor

    started = start(draw(request.replace(interactive=False, tty=False, detach=False)))
    client, code = monitor.Client(started.client), 137
    try:
        for kind, data in client.frames():
            if kind == monitor.EXIT:
                code = monitor.exit_of(data)[0]
            elif kind in (monitor.STDOUT, monitor.STDERR):
                os.write(2 if kind == monitor.STDERR else 1, data)
    finally:
        client.close()
    started.reap()
    remove(started.drawn.launch.id, started.drawn.group.path, started.drawn.name)
    return code
