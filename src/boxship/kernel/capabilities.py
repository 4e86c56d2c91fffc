# SPDX-License-Identifier: Apache-2.0
"""capabilities(7): names, numbers, and the five sets as bit masks clamped to what the caller has."""

from __future__ import annotations

from boxship.record import Record

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}


class Masks(Record):
    """The five sets, bit N for capability N, and what had to be left out."""

    bounding: int
    effective: int
    permitted: int
    inheritable: int
    ambient: int
    warnings: list[str] = []


def mask(names: list[str]) -> int:
    """Bits of the names that are known."""
    bits = 0
    for name in names:
        number = NUMBERS.get(name)
        if number is not None:
            bits |= 1 << number
    return bits


def names(bits: int) -> list[str]:
    """Names of the bits that are set."""
    return [name for name, number in NUMBERS.items() if bits & (1 << number)]


_last: int | None = None


def last_cap() -> int:
    """The highest capability that this kernel knows."""
    global _last
    if _last is None:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
            _last = int(file.read())
    return _last


def own_bounding() -> int:
    """The caller's bounding set: no child of it can have more."""
    with open("/proc/self/status", "rb") as file:
        return int(file.read().partition(b"CapBnd:")[2].split(None, 1)[0], 16)


def masks(sets: dict[str, list[str]], *, available: int) -> Masks:
    """The five sets as masks. What the caller cannot give, or nobody knows, is left out with a warning."""
    wanted = {
        name: mask(sets.get(name, [])) for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }
    unknown = sorted({n for part in sets.values() for n in part if n not in NUMBERS})
    missing = names((wanted["bounding"] | wanted["permitted"] | wanted["effective"]) & ~available)
    warnings = [f"capability {name} is unknown here, ignored" for name in unknown]
    if missing:
        warnings.append(f"capabilities that the caller does not have itself are left out: {', '.join(missing)}")
    clamped = {name: bits & available for name, bits in wanted.items()}
    # Ambient capabilities must be permitted and inheritable (prctl(2), PR_CAP_AMBIENT).
    clamped["ambient"] &= clamped["permitted"] & clamped["inheritable"]
    return Masks(**clamped, warnings=warnings)
