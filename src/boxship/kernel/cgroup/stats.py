# SPDX-License-Identifier: Apache-2.0
"""What a group uses: processor, memory, processes, I/O, pressure; the same keys on v1 and v2.

Times are nanoseconds, sizes bytes. The shape is that of ``runc events --stats``, which tools read.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxship.kernel.cgroup.group import Group

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def read(group: Group) -> dict[str, Any]:
    """All statistics that this host's controllers give."""
    versions = group.layout.versions
    found: dict[str, Any] = {
        "cpu": _cpu(group, versions),
        "memory": _memory(group, versions),
        "pids": _pids(group, versions),
        "blkio": _blkio(group, versions),
        "hugetlb": _hugetlb(group, versions),
    }
    pressure = _pressure(group)
    if pressure:
        found["psi"] = pressure
    return found


def _text(group: Group, controller: str, file: str) -> str:
    try:
        return group.read(controller, file)
    except OSError:  # this kernel does not have the file
        return ""


def _number(group: Group, controller: str, file: str) -> int:
    word = _text(group, controller, file).strip()
    if word == "max":
        return (1 << 64) - 1
    return int(word) if word.lstrip("-").isdecimal() else 0


def _pairs(text: str) -> dict[str, int]:
    words = [line.split() for line in text.splitlines()]
    return {w[0]: int(w[1]) for w in words if len(w) == 2 and w[1].isdecimal()}


def _cpu(group: Group, versions: dict[str, int]) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    stat = _pairs(_text(group, "cpu", "cpu.stat")) if "cpu" in versions else {}
    if versions.get("cpuacct") == 1:
        ticks = _pairs(_text(group, "cpuacct", "cpuacct.stat"))
        usage = {
            "total": _number(group, "cpuacct", "cpuacct.usage"),
            "kernel": ticks.get("system", 0) * _NS_PER_TICK,
            "user": ticks.get("user", 0) * _NS_PER_TICK,
            "percpu": [int(word) for word in _text(group, "cpuacct", "cpuacct.usage_percpu").split()],
        }
    elif versions.get("cpu") == 2:
        usage = {
            "total": stat.get("usage_usec", 0) * 1000,
            "kernel": stat.get("system_usec", 0) * 1000,
            "user": stat.get("user_usec", 0) * 1000,
        }
    throttled = stat.get("throttled_time", stat.get("throttled_usec", 0) * 1000)
    return {
        "usage": usage,
        "throttling": {
            "periods": stat.get("nr_periods", 0),
            "throttledPeriods": stat.get("nr_throttled", 0),
            "throttledTime": throttled,
        },
    }


def _memory(group: Group, versions: dict[str, int]) -> dict[str, Any]:
    version = versions.get("memory")
    if not version:
        return {}
    raw = _pairs(_text(group, "memory", "memory.stat"))
    if version == 1:
        usage = {
            "limit": _number(group, "memory", "memory.limit_in_bytes"),
            "usage": _number(group, "memory", "memory.usage_in_bytes"),
            "max": _number(group, "memory", "memory.max_usage_in_bytes"),
            "failcnt": _number(group, "memory", "memory.failcnt"),
        }
        swap = {
            "limit": _number(group, "memory", "memory.memsw.limit_in_bytes"),
            "usage": _number(group, "memory", "memory.memsw.usage_in_bytes"),
            "failcnt": _number(group, "memory", "memory.memsw.failcnt"),
        }
        return {
            "usage": usage,
            "swap": swap,
            "cache": raw.get("cache", 0),
            "raw": raw,
            "kernel": {"usage": _number(group, "memory", "memory.kmem.usage_in_bytes")},
        }
    events = _pairs(_text(group, "memory", "memory.events"))
    usage = {
        "limit": _number(group, "memory", "memory.max"),
        "usage": _number(group, "memory", "memory.current"),
        "max": _number(group, "memory", "memory.peak"),
        "failcnt": events.get("max", 0),
    }
    swap = {
        "limit": _number(group, "memory", "memory.swap.max"),
        "usage": _number(group, "memory", "memory.swap.current"),
    }
    return {
        "usage": usage,
        "swap": swap,
        "cache": raw.get("file", 0),
        "raw": raw,
        "kernel": {"usage": raw.get("kernel", 0)},
    }


def _pids(group: Group, versions: dict[str, int]) -> dict[str, Any]:
    if "pids" not in versions:
        return {}
    limit = _number(group, "pids", "pids.max")
    return {"current": _number(group, "pids", "pids.current"), "limit": 0 if limit == (1 << 64) - 1 else limit}


def _blkio(group: Group, versions: dict[str, int]) -> dict[str, Any]:
    if versions.get("blkio") == 1:
        return {
            "ioServiceBytesRecursive": _v1_io(group, "blkio.throttle.io_service_bytes_recursive"),
            "ioServicedRecursive": _v1_io(group, "blkio.throttle.io_serviced_recursive"),
        }
    if versions.get("io") != 2:
        return {}
    sizes, counts = [], []
    for line in _text(group, "io", "io.stat").splitlines():
        device, *words = line.split()
        major, _, minor = device.partition(":")
        values = dict(word.split("=") for word in words)
        for op, byte_key, count_key in (("Read", "rbytes", "rios"), ("Write", "wbytes", "wios")):
            where = {"major": int(major), "minor": int(minor), "op": op}
            sizes.append({**where, "value": int(values.get(byte_key, 0))})
            counts.append({**where, "value": int(values.get(count_key, 0))})
    return {"ioServiceBytesRecursive": sizes, "ioServicedRecursive": counts}


def _v1_io(group: Group, file: str) -> list[dict[str, Any]]:
    found = []
    for line in _text(group, "blkio", file).splitlines():
        words = line.split()
        if len(words) == 3:
            major, _, minor = words[0].partition(":")
            found.append({"major": int(major), "minor": int(minor), "op": words[1], "value": int(words[2])})
    return found


def _hugetlb(group: Group, versions: dict[str, int]) -> dict[str, Any]:
    version = versions.get("hugetlb")
    if not version:
        return {}
    suffix, found = (".usage_in_bytes", {}) if version == 1 else (".current", {})
    directory = group.directory("hugetlb")
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        if name.startswith("hugetlb.") and name.endswith(suffix) and ".rsvd" not in name:
            found[name[8 : -len(suffix)]] = {"usage": _number(group, "hugetlb", name)}
    return found


def _pressure(group: Group) -> dict[str, Any]:
    """PSI of the cgroup2 directory, which the group has even where its controllers are on v1."""
    found: dict[str, Any] = {}
    for kind in ("cpu", "memory", "io"):
        path = f"{group.layout.unified}{group.path}/{kind}.pressure"
        if not group.layout.unified or not os.path.exists(path):
            continue
        with open(path, encoding="ascii") as file:
            lines = [line.split() for line in file]
        found[kind] = {
            words[0]: {key: float(value) for key, value in (w.split("=") for w in words[1:])} for words in lines
        }
    return found
