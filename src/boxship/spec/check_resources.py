# SPDX-License-Identifier: Apache-2.0
"""The rules of ``linux.resources``, which stays plain JSON: types and ranges, by JSON path."""

from __future__ import annotations

from boxship.spec.decode import INTEGERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxship.spec.validate import Problems

_AT = "$.linux.resources"
_INTS: dict[str, dict[str, str]] = {
    "memory": {
        "limit": "int64",
        "reservation": "int64",
        "swap": "int64",
        "kernel": "int64",
        "kernelTCP": "int64",
        "swappiness": "uint64",
    },
    "cpu": {
        "shares": "uint64",
        "quota": "int64",
        "burst": "uint64",
        "period": "uint64",
        "realtimeRuntime": "int64",
        "realtimePeriod": "uint64",
        "idle": "int64",
    },
    "pids": {"limit": "int64"},
    "network": {"classID": "uint32"},
    "blockIO": {"weight": "uint16", "leafWeight": "uint16"},
}
_BOOLS = {"memory": ("disableOOMKiller", "useHierarchy", "checkBeforeUpdate")}
_STRINGS = {"cpu": ("cpus", "mems")}
_OBJECTS = ("memory", "cpu", "pids", "network", "blockIO", "rdma", "unified", "vTPMs")
_BLKIO_LISTS = (
    "weightDevice",
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
)


def check(resources: Any, p: Problems) -> None:
    """Add the problems of ``linux.resources`` to ``p``."""
    if resources is None:
        return
    if not isinstance(resources, dict):
        p.say(_AT, "expected an object")
        return
    for key in _OBJECTS:
        section = resources.get(key)
        if section is not None and not isinstance(section, dict):
            p.say(f"{_AT}.{key}", "expected an object")
        elif section and key in ("memory", "cpu", "pids", "network", "blockIO"):
            _section(key, section, p)
    if not p.found:
        _details(resources, p)


def _section(key: str, section: dict[str, Any], p: Problems) -> None:
    for name, kind in _INTS.get(key, {}).items():
        _integer(section.get(name), kind, f"{_AT}.{key}.{name}", p)
    for name in _BOOLS.get(key, ()):
        p.require(section.get(name) in (None, True, False), f"{_AT}.{key}.{name}", "expected true or false")
    for name in _STRINGS.get(key, ()):
        value = section.get(name)
        p.require(value is None or isinstance(value, str), f"{_AT}.{key}.{name}", "expected a string")


def _integer(value: Any, kind: str, where: str, p: Problems) -> None:
    if value is None:
        return
    low, high = INTEGERS[kind]
    if isinstance(value, bool) or not isinstance(value, int):
        p.say(where, f"expected a whole number, got {value!r}")
    else:
        p.require(low <= value <= high, where, f"{value} is out of range: {low} … {high}")


def _details(resources: dict[str, Any], p: Problems) -> None:
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    for key in ("limit", "swap", "reservation"):
        p.require(
            (memory.get(key) or 0) >= -1,
            f"{_AT}.memory.{key}",
            f"{memory.get(key)} is less than -1, which means unlimited",
        )
    period = cpu.get("period")
    p.require(
        not period or 1000 <= period <= 1_000_000, f"{_AT}.cpu.period", f"{period} µs is out of range: 1000 … 1000000"
    )
    quota = cpu.get("quota")
    p.require(
        not quota or quota < 0 or quota >= 1000, f"{_AT}.cpu.quota", f"{quota} µs is less than 1000, the kernel's least"
    )
    weight = (resources.get("blockIO") or {}).get("weight")
    p.require(not weight or 10 <= weight <= 1000, f"{_AT}.blockIO.weight", f"{weight} is out of range: 10 … 1000")
    _devices(resources.get("devices"), p)
    _lists(resources, p)
    for file, value in (resources.get("unified") or {}).items():
        p.require(isinstance(value, str), f"{_AT}.unified.{file}", "expected a string")
        p.require("/" not in file, f"{_AT}.unified.{file}", "is not the name of a cgroup file")


def _devices(rules: Any, p: Problems) -> None:
    if rules is not None and not isinstance(rules, list):
        p.say(f"{_AT}.devices", "expected an array")
        return
    for n, rule in enumerate(rules or []):
        where = f"{_AT}.devices[{n}]"
        if not isinstance(rule, dict):
            p.say(where, "expected an object")
            continue
        p.require(isinstance(rule.get("allow"), bool), f"{where}.allow", "expected true or false")
        p.require(
            rule.get("type") in (None, "", "a", "b", "c", "u"),
            f"{where}.type",
            f"{rule.get('type')!r} is none of a, b, c, u",
        )
        access = rule.get("access") or ""
        p.require(
            isinstance(access, str) and set(access) <= set("rwm"),
            f"{where}.access",
            f"{access!r} is not made of r, w, m",
        )
        for key in ("major", "minor"):
            _integer(rule.get(key), "int64", f"{where}.{key}", p)


def _lists(resources: dict[str, Any], p: Problems) -> None:
    for n, one in enumerate(_array(resources.get("hugepageLimits"), f"{_AT}.hugepageLimits", p)):
        size = one.get("pageSize") if isinstance(one, dict) else None
        good = (
            isinstance(size, str)
            and size[-2:] in ("KB", "MB", "GB")
            and size[:-2].isdecimal()
            and not size.startswith("0")
        )
        p.require(good, f"{_AT}.hugepageLimits[{n}].pageSize", f"{size!r} is not a size like 2MB")
        if isinstance(one, dict):
            _integer(one.get("limit", 0), "uint64", f"{_AT}.hugepageLimits[{n}].limit", p)
    block = resources.get("blockIO") or {}
    for key in _BLKIO_LISTS:
        for n, one in enumerate(_array(block.get(key), f"{_AT}.blockIO.{key}", p)):
            if not isinstance(one, dict):
                p.say(f"{_AT}.blockIO.{key}[{n}]", "expected an object")
                continue
            for name in ("major", "minor", "rate" if key.startswith("throttle") else "weight"):
                p.require(isinstance(one.get(name), int), f"{_AT}.blockIO.{key}[{n}].{name}", "expected a whole number")
    for n, one in enumerate(_array((resources.get("network") or {}).get("priorities"), f"{_AT}.network.priorities", p)):
        good = isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("priority"), int)
        p.require(good, f"{_AT}.network.priorities[{n}]", "needs name and priority")
    for name, one in (resources.get("rdma") or {}).items():
        p.require(isinstance(one, dict), f"{_AT}.rdma.{name}", "expected an object")


def _array(value: Any, where: str, p: Problems) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        p.say(where, "expected an array")
        return []
    return value
