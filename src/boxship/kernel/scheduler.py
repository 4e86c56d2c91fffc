# SPDX-License-Identifier: Apache-2.0
"""sched_setattr(2), ioprio_set(2), set_mempolicy(2), personality(2), sched_setaffinity(2): words → numbers, bytes."""

from __future__ import annotations

import struct

from boxship.errors import SpecError

_POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1,
    "SCHED_FLAG_RECLAIM": 2,
    "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}
_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MODE_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}
_DOMAINS = {"LINUX": 0, "LINUX32": 8}
_ATTR = struct.Struct("<IIQiIQQQ")


def _word(table: dict[str, int], word: str, path: str) -> int:
    if word not in table:
        raise SpecError(path, f"unknown: {word!r}", hint="known are " + ", ".join(table))
    return table[word]


def attributes(
    policy: str, *, nice: int, priority: int, flags: list[str], runtime: int, deadline: int, period: int
) -> bytes:
    """struct sched_attr; times in nanoseconds."""
    bits = 0
    for flag in flags:
        bits |= _word(FLAGS, flag, "$.process.scheduler.flags")
    number = _word(_POLICIES, policy, "$.process.scheduler.policy")
    return _ATTR.pack(_ATTR.size, number, bits, nice, priority, runtime, deadline, period)


def io_priority(class_name: str, priority: int) -> int:
    """The number that ioprio_set(2) takes."""
    if not 0 <= priority <= 7:
        raise SpecError("$.process.ioPriority.priority", f"{priority} is out of range: 0 … 7")
    return _word(_CLASSES, class_name, "$.process.ioPriority.class") << 13 | priority


def personality(domain: str, flags: list[str]) -> int:
    """The persona of personality(2); the specification reserves its flags."""
    if flags:
        raise SpecError(
            "$.linux.personality.flags", "no flag is defined by the specification", hint="leave the list empty"
        )
    return _word(_DOMAINS, domain, "$.linux.personality.domain")


def memory_policy(mode: str, nodes: str, flags: list[str]) -> tuple[int, bytes]:
    """Mode with its flags, and the node mask as an array of unsigned long."""
    number = _word(MODES, mode, "$.linux.memoryPolicy.mode")
    for flag in flags:
        number |= _word(MODE_FLAGS, flag, "$.linux.memoryPolicy.flags")
    return number, bitmap(nodes, "$.linux.memoryPolicy.nodes")


def bitmap(text: str, path: str) -> bytes:
    """A list as in cpuset(7), ``0-3,8``, as an array of unsigned long; empty for an empty list."""
    bits = 0
    for part in text.replace("\n", ",").split(","):
        if not part.strip():
            continue
        first, _, last = part.strip().partition("-")
        if (
            not first.isdecimal()
            or (last and not last.isdecimal())
            or int(last or first) > 8191
            or int(last or first) < int(first)
        ):
            raise SpecError(path, f"{part!r} is not a list like 0-3,8")
        for number in range(int(first), int(last or first) + 1):
            bits |= 1 << number
    return bits.to_bytes((bits.bit_length() + 63) // 64 * 8, "little")
