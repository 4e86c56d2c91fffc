# SPDX-License-Identifier: Apache-2.0
"""Limits without a container: the caller's own files, network and identity, in a cgroup of its own.

The command is a child of boxmon, which keeps the time limit; the caller waits for both.
"""

from __future__ import annotations

import os

from boxship.engine.host import store
from boxship.engine.names import SHORT, new_id
from boxship.errors import KernelError
from boxship.kernel.cgroup import Group, locate
from boxship.plan import limits
from boxship.plan import steps as s
from boxship.plan.command import command
from boxship.runtime import groups, host
from boxship.runtime.launch import Launcher
from boxship.runtime.monitor import Exit, read_exit
from boxship.runtime.signals import forward_to
from boxship.runtime.state import State
from boxship.spec import host as building
from boxship.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.spec.request import Resources


def run(argv: list[str], wanted: Resources, *, timeout: float = 0.0) -> tuple[Exit, list[str]]:
    """Run ``argv`` under these limits; how it ended, and warnings. ``timeout`` in seconds, 0 for none."""
    found, name, warnings = store(), new_id()[:SHORT], list[str]()
    layout = locate()
    group = Group(layout, f"{groups.DEFAULT_PARENT}/{name}")
    settings = limits.settings(building.resources(wanted), layout.versions)
    with Undo() as held, Undo() as undo:
        state = State(
            id=name,
            bundle=found.directory(name),
            cgroup=group.path,
            owner=os.geteuid(),
            rootfs="",
            remove=True,
            annotations={"name": name, "command": " ".join(argv)[:200]},
        )
        directory = found.create(state, b"{}", undo, held)
        undo.push(_remove, group)
        group.create()
        groups.apply(group, settings, warnings)
        plan = command(
            argv,
            [f"{k}={v}" for k, v in os.environ.items()],
            os.getcwd(),
            host.hierarchies(group),
            s.Supervise(directory, timeout_ms=int(timeout * 1000), oom_file=group.oom_file()),
        )
        launched = Launcher(plan, {}, monitor=True).run()
        undo.forget()
    _wait(launched.boxmon, launched.pid)
    ended = read_exit(directory) or Exit(code=137)
    _remove(group)
    found.remove(name)
    return ended, warnings


def _remove(group: Group) -> None:
    group.kill()
    group.remove()


def _wait(monitor: int, pid: int) -> None:
    """Pass signals on until it ends."""
    forward_to(pid)
    try:
        os.waitpid(monitor, 0)
    except OSError as error:
        raise KernelError.from_os("waitpid", error, path=str(monitor)) from None
