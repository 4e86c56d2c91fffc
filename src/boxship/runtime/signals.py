# SPDX-License-Identifier: Apache-2.0
"""signal(7): names and numbers, without the ``signal`` module and its enums."""

from __future__ import annotations

import _signal
import os

from boxship.errors import InvalidRequest

SIGRTMIN, SIGRTMAX = 34, 64
NUMBERS = {
    name[3:]: int(getattr(_signal, name))
    for name in dir(_signal)
    if name.startswith("SIG") and name[3:].isalnum() and name[3:].isupper() and name not in ("SIGRTMIN", "SIGRTMAX")
}
NAMES = {number: name for name, number in sorted(NUMBERS.items(), reverse=True) if name not in ("CLD", "POLL", "IOT")}


def signal_number(word: str) -> int:
    """``TERM``, ``SIGTERM``, ``15``, ``RTMIN+3`` → the number."""
    text = word.upper().removeprefix("SIG")
    if text.isdecimal() and 0 < int(text) <= SIGRTMAX:
        return int(text)
    if text in NUMBERS:
        return NUMBERS[text]
    base, sign, offset = text.partition("+") if "+" in text else text.partition("-")
    if base in ("RTMIN", "RTMAX") and (not sign or offset.isdecimal()):
        number = (SIGRTMIN if base == "RTMIN" else SIGRTMAX) + int(f"{sign}{offset}" if sign else "0")
        if SIGRTMIN <= number <= SIGRTMAX:
            return number
    raise InvalidRequest(
        f"unknown signal {word!r}", hint="signals are named as in signal(7): TERM, KILL, RTMIN+3, or by number"
    )


def signal_name(number: int) -> str:
    """``SIGTERM`` of 15."""
    if number >= SIGRTMIN:
        return f"SIGRTMIN+{number - SIGRTMIN}"
    return f"SIG{NAMES.get(number, number)}"


#: what a process in the foreground keeps for itself: its own faults, its terminal's business, its children
_KEPT = {
    "KILL",
    "STOP",
    "CHLD",
    "URG",
    "PIPE",
    "WINCH",
    "TTIN",
    "TTOU",
    "TSTP",
    "CONT",
    "SEGV",
    "BUS",
    "FPE",
    "ILL",
    "ABRT",
    "TRAP",
    "SYS",
}


def forward_to(pid: int) -> None:
    """Pass every other signal that comes to this process on to ``pid``."""

    def forward(number: int, _frame: object) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:  # it has just ended
            return

    for name, number in NUMBERS.items():
        if name not in _KEPT and number < SIGRTMIN and NAMES.get(number) not in _KEPT:
            _signal.signal(number, forward)
