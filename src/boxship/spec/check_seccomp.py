# SPDX-License-Identifier: Apache-2.0
"""The rules of ``linux.seccomp``, which stays plain JSON; words are checked where they are compiled."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxship.spec.validate import Problems

_AT = "$.linux.seccomp"


def check(profile: Any, p: Problems) -> None:
    """Add the problems of ``linux.seccomp`` to ``p``."""
    if profile is None:
        return
    if not isinstance(profile, dict):
        p.say(_AT, "expected an object")
        return
    p.require(isinstance(profile.get("defaultAction"), str), f"{_AT}.defaultAction", "missing")
    _number(profile.get("defaultErrnoRet"), f"{_AT}.defaultErrnoRet", p)
    for key in ("architectures", "flags"):
        _strings(profile.get(key), f"{_AT}.{key}", p)
    for key in ("listenerPath", "listenerMetadata"):
        p.require(isinstance(profile.get(key) or "", str), f"{_AT}.{key}", "expected a string")
    rules = profile.get("syscalls")
    if rules is not None and not isinstance(rules, list):
        p.say(f"{_AT}.syscalls", "expected an array")
        return
    for n, rule in enumerate(rules or []):
        _rule(rule, f"{_AT}.syscalls[{n}]", p)


def _rule(rule: Any, where: str, p: Problems) -> None:
    if not isinstance(rule, dict):
        p.say(where, "expected an object")
        return
    _strings(rule.get("names"), f"{where}.names", p)
    p.require(rule.get("names"), f"{where}.names", "names no system call")
    p.require(isinstance(rule.get("action"), str), f"{where}.action", "missing")
    _number(rule.get("errnoRet"), f"{where}.errnoRet", p)
    args = rule.get("args")
    if args is not None and not isinstance(args, list):
        p.say(f"{where}.args", "expected an array")
        return
    for n, arg in enumerate(args or []):
        if not isinstance(arg, dict):
            p.say(f"{where}.args[{n}]", "expected an object")
            continue
        for key in ("index", "value", "valueTwo"):
            _number(arg.get(key), f"{where}.args[{n}].{key}", p)


def _number(value: Any, where: str, p: Problems) -> None:
    good = value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64)
    p.require(good, where, f"expected a whole number from 0 up, got {value!r}")


def _strings(value: Any, where: str, p: Problems) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        p.say(where, "expected an array")
        return
    for n, one in enumerate(value):
        p.require(isinstance(one, str), f"{where}[{n}]", f"expected a string, got {one!r}")
