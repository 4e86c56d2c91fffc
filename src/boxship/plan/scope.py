# SPDX-License-Identifier: Apache-2.0
"""A container's systemd scope: its names, and ``linux.resources`` in systemd's words.

Pure. systemd writes what it knows of a unit again at every daemon-reload: every limit that has a property is told to
it, and the rest is written to the group's files as without systemd. See systemd.resource-control(5) and
org.freedesktop.systemd1(5).
"""

from __future__ import annotations

from boxship.errors import SpecError
from boxship.plan.limits import weight_of_shares
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    #: name, and the value as D-Bus has it: (signature, value)
    Property = tuple[str, tuple[str, Any]]

INFINITY = (1 << 64) - 1
_ANNOTATION = "org.systemd.property."
_WHERE = "$.linux.cgroupsPath"


class Scope(Record):
    """Where the container lies in systemd's tree."""

    slice: str
    unit: str

    @property
    def path(self) -> str:
        """Its cgroup, from the manager's own: ``a-b.slice`` lies in ``a.slice``."""
        return f"{slice_path(self.slice)}/{self.unit}"


def parse(cgroups_path: str, name: str, *, user: bool) -> Scope:
    """``SLICE:PREFIX:NAME``, as engines write it; each part may be empty."""
    parts = cgroups_path.split(":") if cgroups_path else ["", "", ""]
    if len(parts) != 3 or any("/" in part for part in parts):
        raise SpecError(_WHERE, f"{cgroups_path!r} is not SLICE:PREFIX:NAME, which the systemd driver needs")
    above = parts[0] or ("user.slice" if user else "system.slice")
    if not above.endswith(".slice") or "--" in above or (above != "-.slice" and above[:1] == "-"):
        raise SpecError(_WHERE, f"{above!r} is not the name of a slice", hint="for example system.slice")
    prefix, last = parts[1], parts[2] or name
    unit = last if last.endswith(".slice") else f"{prefix or 'boxc'}-{last}.scope"
    return Scope(above, unit)


def slice_path(name: str) -> str:
    """``a-b.slice`` → ``/a.slice/a-b.slice``; ``-.slice`` is the root."""
    words = name.removesuffix(".slice").split("-")
    if words == ["", ""]:
        return ""
    return "".join(f"/{'-'.join(words[: n + 1])}.slice" for n in range(len(words)))


def properties(resources: Mapping[str, Any], versions: Mapping[str, int]) -> list[Property]:
    """The limits as unit properties; what systemd has no word for is left to the group's files."""
    found: list[Property] = []
    for key, builder in (("memory", _memory), ("cpu", _cpu), ("pids", _pids), ("blockIO", _block_io)):
        if resources.get(key):
            found += builder(resources[key], versions)
    for file, value in (resources.get("unified") or {}).items():
        if file in _UNIFIED:
            found.append((_UNIFIED[file], ("t", INFINITY if value == "max" else int(value))))
    if versions.get("devices") == 1 and resources.get("devices"):
        found += _devices(resources["devices"])
    return found


_UNIFIED = {
    "memory.min": "MemoryMin",
    "memory.low": "MemoryLow",
    "memory.high": "MemoryHigh",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}


def _most(value: int) -> tuple[str, int]:
    return ("t", INFINITY if value < 0 else value)


def _memory(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Property]:
    limit, swap, soft = (section.get(key) or 0 for key in ("limit", "swap", "reservation"))
    if versions.get("memory") != 2:
        return [("MemoryLimit", _most(limit))] if limit else []
    found: list[Property] = []
    if limit:
        found.append(("MemoryMax", _most(limit)))
    if soft:
        found.append(("MemoryLow", _most(soft)))
    if swap and (limit > 0 or swap < 0):
        found.append(("MemorySwapMax", _most(swap - limit if swap > 0 else -1)))
    return found


def _cpu(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Property]:
    found: list[Property] = []
    shares, quota, period = section.get("shares"), section.get("quota"), section.get("period") or 100_000
    if shares:
        v2 = versions.get("cpu") == 2
        found.append(("CPUWeight", ("t", weight_of_shares(shares))) if v2 else ("CPUShares", ("t", shares)))
    if quota:
        # systemd keeps whole per cents of a processor: rounded up, so that it never takes more than was asked for.
        per_second = -(-quota * 1_000_000 // (period * 10_000)) * 10_000 if quota > 0 else INFINITY
        found.append(("CPUQuotaPerSecUSec", ("t", per_second)))
        found.append(("CPUQuotaPeriodUSec", ("t", period)))
    if versions.get("cpuset") == 2:
        for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
            if section.get(key):
                found.append((name, ("ay", bitmap(section[key]))))
    return found


def bitmap(numbers: str) -> bytes:
    """``0-2,8`` → one bit each, least first, as systemd has it."""
    bits = 0
    for part in numbers.split(","):
        first, _, last = part.strip().partition("-")
        for number in range(int(first), int(last or first) + 1):
            bits |= 1 << number
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _pids(section: Mapping[str, Any], _versions: Mapping[str, int]) -> list[Property]:
    limit = section.get("limit")
    return [("TasksMax", _most(limit))] if limit else []


def _block_io(section: Mapping[str, Any], versions: Mapping[str, int]) -> list[Property]:
    weight = section.get("weight")
    if not weight:
        return []
    if versions.get("io") == 2:
        return [("IOWeight", ("t", 1 + (weight - 10) * 9999 // 990))]
    return [("BlockIOWeight", ("t", weight))]


def _devices(rules: list[Mapping[str, Any]]) -> list[Property]:
    """Rules of v1, where systemd writes devices.list itself; a rule that it cannot say stays in the group's files."""
    last_for_all = max((n for n, rule in enumerate(rules) if (rule.get("type") or "a") == "a"), default=-1)
    if last_for_all >= 0 and rules[last_for_all].get("allow"):
        return [("DevicePolicy", ("s", "auto")), ("DeviceAllow", ("a(ss)", []))]
    allowed = []
    for rule in rules[last_for_all + 1 :]:
        major, minor = rule.get("major"), rule.get("minor")
        if rule.get("allow") and major is not None and major >= 0 and minor is not None and minor >= 0:
            kind = "block" if rule.get("type") == "b" else "char"
            allowed.append((f"/dev/{kind}/{major}:{minor}", rule.get("access") or "rwm"))
        elif rule.get("allow") and (major is None or major < 0):
            allowed.append((f"{'block' if rule.get('type') == 'b' else 'char'}-*", rule.get("access") or "rwm"))
    return [("DevicePolicy", ("s", "strict")), ("DeviceAllow", ("a(ss)", allowed))]


def from_annotations(annotations: Mapping[str, str]) -> list[Property]:
    """``org.systemd.property.NAME``: a value in GVariant's text form, as other runtimes read it."""
    found = []
    for key, text in annotations.items():
        name = key.removeprefix(_ANNOTATION)
        if name == key:
            continue
        if name.endswith("Sec"):  # seconds for people; the bus counts microseconds
            name, text = f"{name[:-3]}USec", _microseconds(key, text)
        found.append((name, variant(key, text)))
    return found


def _microseconds(key: str, text: str) -> str:
    _, number = variant(key, text)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise SpecError(f"$.annotations.{key}", f"{text!r} is not a number of seconds")
    return f"uint64 {int(number * 1_000_000)}"


_NUMBERS = {"byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t"}


def variant(key: str, text: str) -> tuple[str, Any]:
    """``'text'``, ``true``, ``12``, ``1.5``, ``uint64 12``, ``['a', 'b']`` → (signature, value)."""
    word = text.strip()
    try:
        if word in ("true", "false"):
            return "b", word == "true"
        if word[:1] in "'\"" and len(word) > 1 and word[-1] == word[0]:
            return "s", word[1:-1]
        if word[:1] == "[" and word[-1:] == "]":
            return "as", [variant(key, part)[1] for part in word[1:-1].split(",") if part.strip()]
        kind, _, number = word.partition(" ")
        if kind in _NUMBERS:
            return _NUMBERS[kind], int(number, 0)
        return ("d", float(word)) if "." in word else ("i", int(word))
    except ValueError:
        raise SpecError(f"$.annotations.{key}", f"{text!r} is not a value in GVariant's text form") from None
