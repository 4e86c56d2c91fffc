# SPDX-License-Identifier: Apache-2.0
"""A container's cgroup: where it lies, what is written there, how it goes away.

``plan/limits.py`` decides the values, ``kernel/cgroup`` knows the hierarchies; this module joins the two.
"""

from __future__ import annotations

import os

from boxship.errors import Conflict, SpecError
from boxship.kernel.cgroup import Group, Layout, locate
from boxship.plan import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxship.plan.limits import Setting
    from boxship.plan.scope import Scope
    from boxship.runtime.options import Options
    from boxship.spec.oci import Spec
    from boxship.undo import Undo

__all__ = ["Group", "make", "of_path", "plan"]

#: containers of ``box``; nobody else makes groups there
DEFAULT_PARENT = "/boxship"
#: containers of ``boxc`` whose specification names no cgroup
BUNDLE_PARENT = "/boxc"


def of_path(path: str) -> Group:
    """The group at a path that has been recorded; an empty path is a container without one."""
    return Group(locate() if path else Layout({}, ""), path)


def path_of(spec: Spec, name: str) -> str:
    """cgroupsPath: absolute below every hierarchy's root, relative below boxc's own parent group."""
    wanted = spec.linux.cgroups_path
    if wanted and not wanted.strip("/"):
        raise SpecError("$.linux.cgroupsPath", "is the root of the hierarchy, where every process of the host is")
    if not wanted:
        return f"{BUNDLE_PARENT}/{name}"
    return wanted if wanted.startswith("/") else f"{BUNDLE_PARENT}/{wanted}"


def plan(spec: Spec, name: str, options: Options) -> tuple[Group, list[Setting]]:
    """The container's group and what will be written to it; nothing is changed yet."""
    where = scope_of(spec, name, options)
    if where:
        from boxship.runtime import systemd

        group = of_path(systemd.path_of(where))
    else:
        group = of_path("" if options.no_cgroup else path_of(spec, name))
    return group, limits.settings(resources_of(spec), group.layout.versions)


def scope_of(spec: Spec, name: str, options: Options) -> Scope | None:
    """The container's systemd scope, where systemd is to make the groups."""
    if not options.systemd_cgroup:
        return None
    from boxship.plan import scope
    from boxship.runtime import systemd

    return scope.parse(spec.linux.cgroups_path or "", name, user=systemd.user_manager())


def resources_of(spec: Spec) -> dict[str, object]:
    """The resources, with the device rules that every container gets put before its own denials."""
    found = dict(spec.linux.resources or {})
    rules = list(found.get("devices") or [])
    if rules:
        from boxship.kernel.devices import DEFAULT_RULES

        found["devices"] = [*rules, *DEFAULT_RULES] if not _allows_all(rules) else rules
    return found


def _allows_all(rules: list[dict[str, object]]) -> bool:
    last = rules[-1]
    return bool(last.get("allow")) and last.get("type") in (None, "", "a")


def make(
    group: Group, settings: list[Setting], spec: Spec, undo: Undo, warnings: list[str], scope: Scope | None = None
) -> Callable[[], None]:
    """Create the group and write its settings; what was made is undone with the rest.

    Returns what is to be called once the container's first process is in the group.
    """
    strangers = group.pids() if group.directories else []
    if strangers:  # deleting the container would kill them
        raise Conflict(
            f"$.linux.cgroupsPath: {group.path}: {len(strangers)} processes are in this cgroup already (pid {strangers[0]})",
            hint="name a cgroup of the container's own",
        )
    settled = _start_scope(scope, spec, group, undo) if scope else _nothing
    made = group.create()
    undo.push(_unmake, group, made)
    apply(group, settings, warnings)
    if group.layout.versions.get("devices") != 1 and (spec.linux.resources or {}).get("devices"):
        attach_devices(group, spec)
    return settled


def _nothing() -> None:
    """A group without systemd needs nobody to hold it."""


def _start_scope(scope: Scope, spec: Spec, group: Group, undo: Undo) -> Callable[[], None]:
    from boxship.runtime import systemd

    holder = systemd.start(scope, resources_of(spec), spec.annotations, group.layout.versions)
    undo.push(systemd.stop, scope.unit)
    undo.push(holder.release)
    return holder.release


def remove(group: Group, unit: str) -> None:
    """Take an empty group away, and its scope, which systemd may have ended with the last process."""
    group.remove()
    if unit:
        from boxship.runtime import systemd

        systemd.stop(unit)


def _unmake(group: Group, made: list[str]) -> None:
    group.kill()
    for directory in reversed(made):
        if directory.endswith(group.path):
            os.rmdir(directory)


def apply(group: Group, settings: list[Setting], warnings: list[str]) -> None:
    """Write settings; a refused optional one becomes a warning."""
    from boxship.errors import KernelError

    for one in settings:
        try:
            group.write(one.controller, one.file, one.value)
        except KernelError as error:
            if not one.optional:
                raise
            warnings.append(f"{one.file}: {error.message}, ignored")


def attach_devices(group: Group, spec: Spec) -> None:
    """The device rules as an eBPF program on the v2 group."""
    from boxship.kernel import devices

    if group.layout.unified:
        devices.attach(f"{group.layout.unified}{group.path}", devices.program(resources_of(spec)["devices"]))  # type: ignore[arg-type]
