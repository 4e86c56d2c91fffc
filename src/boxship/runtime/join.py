# SPDX-License-Identifier: Apache-2.0
"""A process in a running container: facts from the container's first process, plan, launch. See setns(2)."""

from __future__ import annotations

import os

from boxship.errors import Conflict, InvalidRequest
from boxship.plan import exec as planning
from boxship.plan import steps as s
from boxship.plan.facts import Launch
from boxship.plan.words import NAMESPACES, NS_FILES
from boxship.runtime import compile as compiling
from boxship.runtime import groups, host, slots
from boxship.runtime.launch import Launched, Launcher
from boxship.runtime.state import State, alive
from boxship.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.facts import Hierarchy
    from boxship.runtime.options import JoinOptions
    from boxship.spec.oci import Process, Spec


def differing_namespaces(state: State) -> int:
    """CLONE_ bits of the namespaces in which the container's first process is not where this one is.

    A process that has ended is in no namespace at all: Conflict, or its exec would run on the host.
    """
    flags = 0
    for kind, flag in NAMESPACES.items():
        own, other = _identity("self", kind), _identity(str(state.pid), kind)
        if own and not other:
            raise Conflict(f"container {state.id!r} is not running")
        if own != other:
            flags |= flag
    if not alive(state):  # the number may have become another process's
        raise Conflict(f"container {state.id!r} is not running")
    return flags


def _identity(pid: str, kind: str) -> tuple[int, int] | None:
    """What tells one namespace from another; None when the kernel has no such namespace, or no such process."""
    try:
        found = os.stat(f"/proc/{pid}/ns/{NS_FILES[kind]}")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return found.st_dev, found.st_ino


def join(state: State, spec: Spec, process: Process, options: JoinOptions) -> tuple[Launched, list[str]]:
    """Start the process; returns its pid and warnings. Errors are those of ``launch.failure``."""
    warnings: list[str] = []
    seccomp = spec.linux.seccomp
    if seccomp and any(rule.get("action") == "SCMP_ACT_NOTIFY" for rule in seccomp.get("syscalls") or []):
        warnings.append("seccomp notifications of an exec go to a listener of its own")
    compiled = compiling.compile_process(process, seccomp, warnings)
    launch = Launch(
        id=state.id,
        preserve=options.preserve,
        keyring=False,
        chown=slots.pipes_among_streams(),
        null_stdin=options.null_stdin,
        stdio="null" if options.detached else "inherit",
    )
    if compiled.seccomp_notify:
        data, pid_at = slots.listener_state(spec, launch.replace(bundle=state.bundle))
        launch = launch.replace(listener_state=data, listener_pid_at=pid_at)
    with Undo() as opened:
        pidfd = _pidfd(state, opened)
        found = {s.PIDFD: pidfd} | {s.FIRST_FREE + n: fd for n, fd in enumerate(options.preserve)}
        if process.terminal:
            found[s.CONSOLE] = slots.console(options, opened)
        if compiled.seccomp_notify:
            found[s.LISTENER] = slots.listener(spec, opened)
        facts = host.facts(groups.of_path(state.cgroup) if state.cgroup else None)
        facts = facts.replace(hierarchies=_below(facts.hierarchies, options.sub_group))
        plan = planning.process(process, differing_namespaces(state), facts, compiled, launch)
        launched = Launcher(plan, found).run()
    return launched, [*warnings, *launched.warnings]


def _below(hierarchies: list[Hierarchy], sub_group: str) -> list[Hierarchy]:
    """--cgroup: the group below the container's own, in the hierarchies where it exists."""
    if not sub_group:
        return hierarchies
    if ".." in sub_group.split("/"):
        raise InvalidRequest(
            f"--cgroup {sub_group}: `..` components are not allowed", hint="name a group below the container's own"
        )
    name = sub_group.strip("/")
    found = [
        one.replace(directory=f"{one.directory}/{name}") if os.path.isdir(f"{one.directory}/{name}") else one
        for one in hierarchies
    ]
    if found == hierarchies and name:
        raise InvalidRequest(
            f"--cgroup {sub_group}: the container has no such group", hint="mkdir it below the container's cgroup"
        )
    return found


def _pidfd(state: State, undo: Undo) -> int:
    try:
        fd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise Conflict(f"container {state.id!r} is not running") from None
    except OSError as error:
        raise InvalidRequest(f"pid {state.pid} of container {state.id!r}: {error.strerror}") from None
    undo.push(os.close, fd)
    if not alive(state):
        raise Conflict(f"container {state.id!r} is not running")
    return fd
