# SPDX-License-Identifier: Apache-2.0
"""create: from a bundle to a process that waits at its barrier (or, for `run`, runs).

The way of a request: read and validate → facts → compile → cgroup → plan → boxmon → record. Everything that
is acquired on the way is on one undo stack. Called by ``oci_cli.py``.
"""

from __future__ import annotations

import os
import time

from boxship.errors import InvalidRequest, KernelError, NotFound, SpecError, Unsupported
from boxship.kernel import lsm
from boxship.plan import build
from boxship.plan import steps as s
from boxship.plan.facts import Device, Launch
from boxship.record import Record
from boxship.runtime import compile as compiling
from boxship.runtime import groups, host, slots
from boxship.runtime.home import with_home
from boxship.runtime.launch import Launched, Launcher
from boxship.runtime.options import Options
from boxship.runtime.state import State, Store, start_time, write_atomically
from boxship.spec import oci
from boxship.spec.validate import validate
from boxship.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.facts import Compiled, Facts
    from boxship.plan.limits import Setting
    from boxship.plan.wire import Planned


class Created(Record):
    """A container that has been made, with the plan that made it."""

    state: State
    launched: Launched
    warnings: list[str]
    plan: list[Planned]
    before: list[str]
    spec: oci.Spec


def read_bundle(options: Options) -> tuple[oci.Spec, bytes, list[str]]:
    """config.json of the bundle, validated; raises before anything has been changed."""
    path = options.config if options.config.startswith("/") else f"{options.bundle}/{options.config}"
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        raise NotFound(
            f"{path}: no such file",
            hint="a bundle is a directory with config.json and a root file system; `boxc spec` writes an example",
        ) from None
    except OSError as error:
        raise KernelError.from_os("open", error) from None
    try:
        spec = oci.load(raw)
    except SpecError as error:
        raise SpecError(
            error.path, error.message.removeprefix(f"{error.path}: "), hint=error.hint or f"it stands in {path}"
        ) from None
    warnings = validate(spec)
    _check_root(spec, options.bundle)
    if spec.linux.mount_label and not lsm.selinux_active():
        warnings.append("$.linux.mountLabel: SELinux is not active on this host: mounts get no label")
        spec = spec.replace(linux=spec.linux.replace(mount_label=""))
    if spec.process and spec.root:
        spec = spec.replace(process=with_home(spec.process, os.path.join(options.bundle, spec.root.path)))
    return spec, raw, warnings


def _check_root(spec: oci.Spec, bundle: str) -> None:
    if spec.linux.intel_rdt:
        raise Unsupported("$.linux.intelRdt: this processor or kernel has no resctrl", hint="remove linux.intelRdt")
    if spec.root is None:
        raise InvalidRequest(
            "$.root: a container on Linux needs a root file system", hint='add "root": {"path": "rootfs"}'
        )
    path = os.path.join(bundle, spec.root.path)
    if not os.path.isdir(path):
        raise NotFound(
            f"$.root.path: {path}: no such root file system", hint="unpack an image there, or correct root.path"
        )


def create(store: Store, name: str, options: Options) -> Created:
    """Make the container; after it, ``start`` lets it go on. On any failure nothing is left."""
    spec, raw, warnings = read_bundle(options)
    group, settings = groups.plan(spec, name, options)
    compiled = compiling.compile_spec(spec, warnings)
    with Undo() as held, Undo() as undo:
        state = _record(spec, name, options, group)
        directory = store.create(state, raw, undo, held)
        settled = groups.make(group, settings, spec, undo, warnings, groups.scope_of(spec, name, options))
        launched, plan = _launch(spec, name, options, directory, group, compiled)
        undo.push(os.kill, launched.pid, 9)
        settled()
        state = state.replace(pid=launched.pid, start_time=start_time(launched.pid))
        store.save(state)
        if options.pid_file:
            write_atomically(os.path.abspath(options.pid_file), str(launched.pid).encode())
        undo.forget()
    return Created(state, launched, [*warnings, *launched.warnings], plan, describe(group, settings, directory), spec)


def _record(spec: oci.Spec, name: str, options: Options, group: groups.Group) -> State:
    scope = groups.scope_of(spec, name, options)
    return State(
        id=name,
        bundle=options.bundle,
        cgroup=group.path if group.layout.hierarchies else "",
        created=timestamp(),
        owner=os.geteuid(),
        rootfs=os.path.join(options.bundle, spec.root.path if spec.root else ""),
        oci_version=spec.oci_version,
        annotations=dict(spec.annotations),
        unit=scope.unit if scope else "",
    )


def timestamp() -> str:
    """RFC 3339 with nanoseconds, in UTC, as the states of other runtimes have it."""
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000)) + f".{now % 1_000_000_000:09}Z"


def plan_of(spec: oci.Spec, name: str, options: Options, facts: Facts, compiled: Compiled) -> list[Planned]:
    """The container's plan; ``--explain`` prints it and stops here."""
    launch = Launch(
        id=name,
        bundle=options.bundle,
        barrier=options.barrier,
        preserve=options.preserve,
        pivot=s.PIVOT_MOVE if options.no_pivot else s.PIVOT,
        keyring=not options.no_new_keyring,
        environment=[f"{key}={value}" for key, value in os.environ.items()] if spec.hooks else [],
        chown=slots.pipes_among_streams(),
        devices=_devices(spec),
        userns_slots=slots.userns_numbers(spec),
    )
    if compiled.seccomp_notify:
        data, pid_at = slots.listener_state(spec, launch)
        launch = launch.replace(listener_state=data, listener_pid_at=pid_at)
    return build.container(spec, facts, compiled, launch)


def _devices(spec: oci.Spec) -> list[Device]:
    if not spec.linux.net_devices:
        return []
    import _socket

    found = []
    for name, device in spec.linux.net_devices.items():
        try:
            found.append(Device(_socket.if_nametoindex(name), device.name or name))
        except OSError:
            raise NotFound(
                f"$.linux.netDevices.{name}: no such network device", hint="ip link shows the host's devices"
            ) from None
    return found


def _launch(
    spec: oci.Spec, name: str, options: Options, directory: str, group: groups.Group, compiled: Compiled
) -> tuple[Launched, list[Planned]]:
    plan = plan_of(spec, name, options, host.facts(group), compiled)
    with Undo() as opened:
        found = slots.userns(spec, opened)
        if options.barrier or not spec.process:
            found |= slots.barrier(directory, opened)
        if spec.process and spec.process.terminal:
            found[s.CONSOLE] = slots.console(options, opened)
        if compiled.seccomp_notify:
            found[s.LISTENER] = slots.listener(spec, opened)
        found |= {s.FIRST_FREE + n: fd for n, fd in enumerate(options.preserve)}
        return Launcher(plan, found, trace=options.trace).run(), plan


def describe(group: groups.Group, settings: list[Setting], directory: str) -> list[str]:
    """What Python itself does before boxmon starts, in words."""
    return [
        f"mkdir({directory}, 0o700)",
        *(f"mkdir({mount}{group.path}, 0o755)" for mount in group.layout.hierarchies),
        *(one.describe() for one in settings),
    ]


def explain(name: str, options: Options, form: str) -> str:
    """The plan as text or JSON; nothing is changed."""
    from boxship.plan import explain as printing

    spec, _, warnings = read_bundle(options)
    group, settings = groups.plan(spec, name, options)
    facts = host.facts(None).replace(hierarchies=host.hierarchies(group, planned=True))
    plan = plan_of(spec, name, options, facts, compiling.compile_spec(spec, warnings))
    before = describe(group, settings, f"STATE/{name}")
    return (printing.json if form == "json" else printing.text)(plan, before)
