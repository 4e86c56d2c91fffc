# SPDX-License-Identifier: Apache-2.0
"""``box system check``: what a kill -9 or a power loss has left behind, and its removal.

Everything that Boxship acquires is recorded before it is acquired, so a directory below the run directories
names all that may be left: a cgroup, processes in it, files. A cgroup without a directory is left over too.
"""

from __future__ import annotations

import os

from boxship.engine import containers
from boxship.engine.host import store
from boxship.errors import NotFound, SpecError
from boxship.kernel.cgroup import locate
from boxship.paths import runtime_root
from boxship.runtime import groups, lifecycle
from boxship.runtime.state import State, Store, alive, remove_tree


def check(*, repair: bool) -> list[str]:
    """Lines that say what was found; with ``repair`` it has been removed."""
    found = _containers(repair)
    found += _bundles(repair)
    for known in (store(), Store(runtime_root("boxc"))):
        found += _leftovers(known, repair)
    return found + _cgroups(repair)


def _load(known: Store, name: str, repair: bool, lines: list[str]) -> State | None:
    """The record; None when the container has just been removed, or when its record cannot be read."""
    try:
        return known.load(name)
    except NotFound:
        return None
    except SpecError as error:
        lines.append(f"container {name}: its record cannot be read: {error.message}")
        if repair:
            known.remove(name)
        return None


def _leftovers(known: Store, repair: bool) -> list[str]:
    """Directories that never became containers, and names whose containers are gone."""
    lines = []
    for path in known.leftovers():
        lines.append(f"left by a command that was killed: {path}")
        if repair:
            os.unlink(path) if os.path.islink(path) else remove_tree(path)
    return lines


def _containers(repair: bool) -> list[str]:
    """Containers of ``box`` whose monitor is gone and which nobody keeps on purpose."""
    known, lines = store(), list[str]()
    for name in known.names():
        state = _load(known, name, repair, lines)
        if state is None or known.busy(name) or containers.pids(state)[0]:
            continue
        ended = os.path.exists(f"{known.directory(name)}/exit")
        if ended and not state.remove:
            continue  # kept on purpose, until `box rm`
        lines.append(f"container {name}: " + ("ended and not removed" if ended else "its monitor is gone"))
        if repair:
            containers.remove(name, force=True)
    return lines


def _bundles(repair: bool) -> list[str]:
    """Containers of ``boxc`` that never came to have a process."""
    known, lines = Store(runtime_root("boxc")), list[str]()
    for name in known.names():
        state = _load(known, name, repair, lines)
        if state is None or known.busy(name):
            continue
        if state.pid and (alive(state) or os.path.isdir(state.bundle)):
            continue  # running, or stopped and its engine will delete it
        lines.append(f"bundle container {name}: create was killed")
        if repair:
            lifecycle.delete(known, name, force=True)
    return lines


def _cgroups(repair: bool) -> list[str]:
    """Groups below the parent of ``box``'s own containers that belong to none of them."""
    known = set(store().names())
    names: set[str] = set()
    for mount in locate().hierarchies:
        try:
            names |= {entry.name for entry in os.scandir(f"{mount}{groups.DEFAULT_PARENT}") if entry.is_dir()}
        except FileNotFoundError:
            continue
    lines = []
    for name in sorted(names - known):
        lines.append(f"cgroup {groups.DEFAULT_PARENT}/{name}")
        if repair:
            group = groups.of_path(f"{groups.DEFAULT_PARENT}/{name}")
            group.kill()
            group.remove()
    return lines
