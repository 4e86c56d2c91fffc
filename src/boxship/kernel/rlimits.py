# SPDX-License-Identifier: Apache-2.0
"""getrlimit(2): names, numbers, and clamping to what the caller may set."""

from __future__ import annotations

from boxship.record import Record

NUMBERS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
INFINITY = (1 << 64) - 1
CAP_SYS_RESOURCE = 24


class Limit(Record):
    """One limit as prlimit(2) takes it; ``raises``: its hard value is above the caller's own."""

    number: int
    soft: int
    hard: int
    raises: bool


def clamp(name: str, soft: int, hard: int, *, may_raise: bool) -> tuple[Limit, str]:
    """The limit that the kernel will accept, and a warning where it is less than what was asked for.

    Without CAP_SYS_RESOURCE a hard limit can only be lowered: the request is cut to the caller's own.
    """
    import resource

    number = NUMBERS[name]
    own = resource.getrlimit(number)[1]
    own = INFINITY if own == resource.RLIM_INFINITY else own
    if hard <= own or may_raise:
        return Limit(number, soft, hard, hard > own), ""
    shown = "unlimited" if hard == INFINITY else str(hard)
    return (
        Limit(number, min(soft, own), own, False),
        f"{name}: {shown} is above the caller's hard limit and CAP_SYS_RESOURCE is missing: set to {own}",
    )
