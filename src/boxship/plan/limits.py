# SPDX-License-Identifier: Apache-2.0
"""``linux.resources`` → what is written to which cgroup file, for v1, v2 or any mixture.

Pure. Each controller's version decides the words: ``memory.limit_in_bytes`` or ``memory.max``. What a version
cannot express gives one clear line, never a silent no-op. See the kernel's admin-guide/cgroup-v1 and
cgroup-v2, and runtime-spec, 'Control Groups'.
"""

from __future__ import annotations

from boxship.errors import SpecError, Unsupported
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

UNLIMITED = -1
_PATH = "$.linux.resources"
_MEMORY_V1_TOP = 1 << 62


class Setting(Record):
    """One write. ``optional``: a refusal is a warning (the kernel may have dropped the file)."""

    controller: str
    file: str
    value: str
    optional: bool = False

    def describe(self) -> str:
        """As a shell would do it."""
        return f"write({self.controller}:{self.file}, {self.value})"


def settings(resources: Mapping[str, Any] | None, versions: Mapping[str, int]) -> list[Setting]:
    """All writes for these resources, in an order that a new group accepts."""
    found: list[Setting] = []
    for key, section in (resources or {}).items():
        builder = _SECTIONS.get(key)
        if builder and section not in (None, {}, []):
            found += builder(section, versions)
    return found


def _version(controller: str, versions: Mapping[str, int], where: str) -> int:
    version = versions.get(controller)
    if not version:
        raise Unsupported(
            f"{_PATH}.{where}: this host has no {controller} cgroup controller",
            hint=f"remove the limit, or enable the {controller} controller",
        )
    return version


def _given(section: Mapping[str, Any], key: str) -> Any:
    """The value, or None for what is absent or zero, which means 'nothing said' in Go's JSON."""
    value = section.get(key)
    return value if value else None


def _memory(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Setting]:
    if (
        not any(
            _given(section, k) is not None for k in ("limit", "reservation", "swap", "kernelTCP", "disableOOMKiller")
        )
        and section.get("swappiness") is None
    ):
        return []
    version = _version("memory", versions, "memory")
    limit, swap = _given(section, "limit"), _given(section, "swap")
    if swap is not None and swap > 0 and limit is not None and limit > swap:
        raise SpecError(
            f"{_PATH}.memory.swap",
            f"{swap} is less than the memory limit {limit}: it counts memory and swap together",
            hint="give memory + swap, or -1 for unlimited swap",
        )
    if version == 2:
        return _memory_v2(section, limit, swap)
    return _memory_v1(section, limit, swap)


def _memory_v1(section: Mapping[str, Any], limit: int | None, swap: int | None) -> list[Setting]:
    out = []
    # memsw may never be below limit: a group that has limits already is widened first, see ``ordered_memory``.
    if limit is not None:
        out.append(Setting("memory", "memory.limit_in_bytes", str(limit)))
    if limit == UNLIMITED and swap is None:
        swap = UNLIMITED
    if swap is not None:
        # Without swap accounting the file is missing: the limit on memory still holds.
        out.append(Setting("memory", "memory.memsw.limit_in_bytes", str(swap), optional=True))
    if _given(section, "reservation") is not None:
        out.append(Setting("memory", "memory.soft_limit_in_bytes", str(section["reservation"])))
    if _given(section, "kernelTCP") is not None:
        out.append(Setting("memory", "memory.kmem.tcp.limit_in_bytes", str(section["kernelTCP"]), optional=True))
    if section.get("swappiness") is not None:
        value = section["swappiness"]
        if not 0 <= value <= 100:
            raise SpecError(f"{_PATH}.memory.swappiness", f"{value} is out of range: 0 … 100")
        out.append(Setting("memory", "memory.swappiness", str(value)))
    if section.get("disableOOMKiller"):
        out.append(Setting("memory", "memory.oom_control", "1"))
    return out


def _memory_v2(section: Mapping[str, Any], limit: int | None, swap: int | None) -> list[Setting]:
    if section.get("disableOOMKiller"):
        raise Unsupported(
            f"{_PATH}.memory.disableOOMKiller: cgroup v2 cannot switch the OOM killer off", hint="remove it"
        )
    out = []
    if swap is not None:
        # v2 counts swap alone.
        if swap == UNLIMITED or limit == UNLIMITED:
            value = "max"
        elif limit is None:
            raise SpecError(
                f"{_PATH}.memory.swap", "a limit on memory and swap together needs memory.limit on cgroup v2"
            )
        else:
            value = str(swap - limit)
        out.append(Setting("memory", "memory.swap.max", value, optional=True))
    elif limit == UNLIMITED:
        out.append(Setting("memory", "memory.swap.max", "max", optional=True))
    if limit is not None:
        out.append(Setting("memory", "memory.max", _max(limit)))
    if _given(section, "reservation") is not None:
        out.append(Setting("memory", "memory.low", _max(section["reservation"])))
    return out


def _max(value: int) -> str:
    return "max" if value == UNLIMITED else str(value)


def weight_of_shares(shares: int) -> int:
    """cpu.shares 2 … 262144 → cpu.weight 1 … 10000, so that 1024, the default, becomes 100, the default.

    The curve is a power law through the three points, the one that runtimes agreed on in 2025.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    import math

    log = math.log2(shares)
    exponent = (log * log + 125 * log) / 612.0 - 7.0 / 34.0
    return math.ceil(math.pow(10, exponent))


def _cpu(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Setting]:
    out = []
    shares, quota, period, burst = (_given(section, k) for k in ("shares", "quota", "period", "burst"))
    real = any(_given(section, k) for k in ("realtimeRuntime", "realtimePeriod"))
    if any(v is not None for v in (shares, quota, period, burst)) or real or section.get("idle") is not None:
        version = _version("cpu", versions, "cpu")
        out += (
            _cpu_v2(section, shares, quota, period, burst, real=real)
            if version == 2
            else _cpu_v1(section, shares, quota, period, burst)
        )
    for key in ("cpus", "mems"):
        if section.get(key):
            _version("cpuset", versions, f"cpu.{key}")
            out.append(Setting("cpuset", f"cpuset.{key}", section[key]))
    return out


def _cpu_v1(
    section: Mapping[str, Any], shares: int | None, quota: int | None, period: int | None, burst: int | None
) -> list[Setting]:
    words = (
        ("cpu.shares", shares),
        ("cpu.cfs_period_us", period),
        ("cpu.cfs_quota_us", quota),
        ("cpu.cfs_burst_us", burst),
        ("cpu.rt_period_us", _given(section, "realtimePeriod")),
        ("cpu.rt_runtime_us", _given(section, "realtimeRuntime")),
        ("cpu.idle", section.get("idle")),
    )
    return [Setting("cpu", name, str(value)) for name, value in words if value is not None]


def _cpu_v2(
    section: Mapping[str, Any],
    shares: int | None,
    quota: int | None,
    period: int | None,
    burst: int | None,
    *,
    real: bool,
) -> list[Setting]:
    if real:
        raise Unsupported(
            f"{_PATH}.cpu.realtimeRuntime: cgroup v2 has no real-time budget",
            hint="remove realtimeRuntime and realtimePeriod",
        )
    out = []
    if section.get("idle") is not None:
        out.append(Setting("cpu", "cpu.idle", str(section["idle"])))
    if shares is not None:
        out.append(Setting("cpu", "cpu.weight", str(weight_of_shares(shares))))
    if quota is not None or period is not None:
        out.append(Setting("cpu", "cpu.max", f"{'max' if quota is None or quota < 0 else quota} {period or 100000}"))
    if burst is not None:
        out.append(Setting("cpu", "cpu.max.burst", str(burst)))
    return out


def _pids(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Setting]:
    limit = section.get("limit")
    if limit is None or limit == 0:
        return []
    _version("pids", versions, "pids")
    return [Setting("pids", "pids.max", "max" if limit < 0 else str(limit))]


_THROTTLE = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


def _block_io(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Setting]:
    if not any(section.values()):
        return []
    controller = "blkio" if versions.get("blkio") else "io"
    version = _version(controller, versions, "blockIO")
    out: list[Setting] = []
    weight = _given(section, "weight")
    if weight is not None:
        # io.weight is 1 … 10000 where blkio.weight is 10 … 1000; BFQ kept the old scale for its own file.
        out += (
            [Setting("blkio", "blkio.weight", str(weight), optional=True)]
            if version == 1
            else [Setting("io", "io.weight", f"default {1 + (weight - 10) * 9999 // 990}", optional=True)]
        )
    for device in section.get("weightDevice") or []:
        number = f"{device['major']}:{device['minor']}"
        if device.get("weight"):
            out.append(
                Setting("blkio", "blkio.weight_device", f"{number} {device['weight']}", optional=True)
                if version == 1
                else Setting("io", "io.weight", f"{number} {1 + (device['weight'] - 10) * 9999 // 990}", optional=True)
            )
    for key, v1_file, v2_key in _THROTTLE:
        for device in section.get(key) or []:
            number, rate = f"{device['major']}:{device['minor']}", device["rate"]
            out.append(
                Setting("blkio", v1_file, f"{number} {rate}")
                if version == 1
                else Setting("io", "io.max", f"{number} {v2_key}={rate or 'max'}")
            )
    return out


def _hugepages(section: list[Mapping[str, Any]], versions: Mapping[str, int]) -> list[Setting]:
    version = _version("hugetlb", versions, "hugepageLimits")
    out = []
    for one in section:
        name = f"hugetlb.{one['pageSize']}"
        files = (
            (f"{name}.limit_in_bytes", f"{name}.rsvd.limit_in_bytes")
            if version == 1
            else (f"{name}.max", f"{name}.rsvd.max")
        )
        out.append(Setting("hugetlb", files[0], str(one["limit"])))
        out.append(Setting("hugetlb", files[1], str(one["limit"]), optional=True))
    return out


def _network(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Setting]:
    out = []
    if _given(section, "classID") is not None:
        _version("net_cls", versions, "network.classID")
        out.append(Setting("net_cls", "net_cls.classid", str(section["classID"])))
    for one in section.get("priorities") or []:
        _version("net_prio", versions, "network.priorities")
        out.append(Setting("net_prio", "net_prio.ifpriomap", f"{one['name']} {one['priority']}"))
    return out


def _rdma(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Setting]:
    _version("rdma", versions, "rdma")
    out = []
    for device, limits in section.items():
        words = [
            f"{key}={'max' if limits[name] is None else limits[name]}"
            for key, name in (("hca_handle", "hcaHandles"), ("hca_object", "hcaObjects"))
            if name in limits
        ]
        out.append(Setting("rdma", "rdma.max", " ".join([device, *words])))
    return out


def _devices(section: list[Mapping[str, Any]], versions: Mapping[str, int]) -> list[Setting]:
    """Rules of the v1 controller; on v2 ``runtime/groups.py`` attaches a program instead."""
    if versions.get("devices") != 1:
        return []
    out = []
    for rule in section:
        kind = rule.get("type") or "a"
        if kind == "a":
            text = "a"
        else:
            major, minor = (("*" if rule.get(k) is None or rule[k] < 0 else rule[k]) for k in ("major", "minor"))
            text = f"{'c' if kind == 'u' else kind} {major}:{minor} {rule.get('access') or 'rwm'}"
        out.append(Setting("devices", "devices.allow" if rule.get("allow") else "devices.deny", text))
    return out


def _unified(section: Mapping[str, str], versions: Mapping[str, int]) -> list[Setting]:
    out = []
    for file, value in section.items():
        controller = file.partition(".")[0]
        if "/" in file or not file:
            raise SpecError(f"{_PATH}.unified", f"{file!r} is not the name of a cgroup file")
        if controller != "cgroup" and versions.get(controller) != 2:
            raise Unsupported(
                f"{_PATH}.unified.{file}: the {controller} controller is not on cgroup v2 here",
                hint="use the fields of linux.resources, which hold on both versions",
            )
        out.append(Setting(controller, file, value))
    return out


_SECTIONS: dict[str, Any] = {
    "devices": _devices,
    "memory": _memory,
    "cpu": _cpu,
    "pids": _pids,
    "blockIO": _block_io,
    "hugepageLimits": _hugepages,
    "network": _network,
    "rdma": _rdma,
    "unified": _unified,
}


def ordered_memory(wanted: list[Setting], now_limit: int, now_swap: int) -> list[Setting]:
    """For a live v1 group: write limit and memsw in the order in which neither is ever above the other.

    ``now_*`` are the values in force, in bytes.
    """
    by_file = {one.file: one for one in wanted}
    limit, swap = by_file.get("memory.limit_in_bytes"), by_file.get("memory.memsw.limit_in_bytes")
    rest = [one for one in wanted if one not in (limit, swap)]
    if not limit or not swap:
        return wanted
    new_limit = _MEMORY_V1_TOP if limit.value == "-1" else int(limit.value)
    return [swap, limit, *rest] if new_limit > now_swap or new_limit > now_limit else [limit, swap, *rest]
