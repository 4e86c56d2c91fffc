# SPDX-License-Identifier: Apache-2.0
"""update: change the limits of a live container, all or none, and keep them in its config.json."""

from __future__ import annotations

from boxship import fastjson
from boxship.errors import BoxshipError, Conflict
from boxship.plan import limits
from boxship.runtime import groups, lifecycle
from boxship.runtime.state import Store, write_atomically
from boxship.spec.check_resources import check
from boxship.spec.validate import Problems

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxship.plan.limits import Setting


def update(store: Store, name: str, wanted: dict[str, Any]) -> list[str]:
    """Apply ``linux.resources`` of ``wanted``; returns warnings. A value that the kernel refuses puts back the others."""
    import os

    problems = Problems()
    check(wanted, problems)
    problems.raise_all()
    lock = store.lock(name)
    try:
        state = store.load(name)
        lifecycle.require(store, state, lifecycle.CREATED, lifecycle.RUNNING, lifecycle.PAUSED)
        group = groups.of_path(state.cgroup)
        merged = _merged(store, name, wanted)
        _check_memory(group, wanted)
        settings = _ordered(group, limits.settings(_complete(wanted, merged), group.layout.versions))
        warnings: list[str] = []
        _apply(group, settings, warnings)
        if state.unit:
            from boxship.runtime import systemd

            systemd.change(state.unit, _complete(wanted, merged), group.layout.versions)
        _keep(store, name, merged)
        return warnings
    finally:
        os.close(lock)


def _merged(store: Store, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """The container's resources with the change in."""
    with open(f"{store.directory(name)}/config.json", "rb") as file:
        config: Any = fastjson.loads(file.read())
    old = (config.get("linux") or {}).get("resources") or {}
    return {
        key: {**(old.get(key) or {}), **wanted[key]}
        if isinstance(wanted.get(key), dict)
        else wanted.get(key, old.get(key))
        for key in {**old, **wanted}
    }


def _complete(wanted: dict[str, Any], merged: dict[str, Any]) -> dict[str, Any]:
    """What has to be written: the sections that change, with the values that one file or rule takes together."""
    found = {key: value for key, value in wanted.items() if value}
    cpu, memory = wanted.get("cpu") or {}, wanted.get("memory") or {}
    if "quota" in cpu or "period" in cpu:
        found["cpu"] = {**cpu, **{k: merged["cpu"][k] for k in ("quota", "period") if merged["cpu"].get(k)}}
    if "swap" in memory and "limit" not in memory and merged["memory"].get("limit"):
        found["memory"] = {**memory, "limit": merged["memory"]["limit"]}
    return found


def _check_memory(group: groups.Group, wanted: dict[str, Any]) -> None:
    memory = wanted.get("memory") or {}
    if memory.get("checkBeforeUpdate") and (memory.get("limit") or 0) > 0:
        version = group.layout.versions.get("memory")
        used = int(group.read("memory", "memory.current" if version == 2 else "memory.usage_in_bytes"))
        if used > memory["limit"]:
            raise Conflict(
                f"memory limit {memory['limit']} is below the {used} bytes in use",
                hint="free memory first, or leave checkBeforeUpdate away",
            )


def _ordered(group: groups.Group, settings: list[Setting]) -> list[Setting]:
    if group.layout.versions.get("memory") != 1:
        return settings
    files = [one.file for one in settings]
    if "memory.memsw.limit_in_bytes" not in files or "memory.limit_in_bytes" not in files:
        return settings
    try:
        now_swap = int(group.read("memory", "memory.memsw.limit_in_bytes"))
    except FileNotFoundError:  # no swap accounting: there is only one limit
        return settings
    return limits.ordered_memory(settings, int(group.read("memory", "memory.limit_in_bytes")), now_swap)


def _apply(group: groups.Group, settings: list[Setting], warnings: list[str]) -> None:
    """Write all; on a refusal write back what the others held."""
    done: list[tuple[Setting, str]] = []
    for one in settings:
        before = _current(group, one)
        try:
            groups.apply(group, [one], warnings)
        except BoxshipError:
            for old, value in reversed(done):
                groups.apply(group, [old.replace(value=value, optional=True)], warnings)
            raise
        if before:
            done.append((one, before))


def _current(group: groups.Group, one: Setting) -> str:
    """What one file holds, where it can be written back as it reads."""
    if one.controller == "devices":
        return ""
    try:
        text = group.read(one.controller, one.file).strip()
    except OSError:  # write-only, or not there
        return ""
    return text if "\n" not in text else ""


def _keep(store: Store, name: str, merged: dict[str, Any]) -> None:
    path = f"{store.directory(name)}/config.json"
    with open(path, "rb") as file:
        config: Any = fastjson.loads(file.read())
    config.setdefault("linux", {})["resources"] = merged
    write_atomically(path, fastjson.dumps(config).encode())
