# SPDX-License-Identifier: Apache-2.0
"""signal(7): names and numbers, without the ``signal`` module and its enums."""

from __future__ import annotations

import _signal

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
