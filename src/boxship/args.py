# SPDX-License-Identifier: Apache-2.0
"""Command lines in Docker's manner, from tables: parser, help, and the source of man pages and completion.

``argparse`` costs 6 ms to import and cannot say everything that is wrong with a line at once. Here a command is
a record; ``parse`` names all bad words together and suggests what may have been meant.
"""

from __future__ import annotations

import sys

from boxship.errors import InvalidRequest
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Flag(Record):
    """``--long``, ``-short``. Kinds: bool, str, int, float, size, duration, list (repeatable)."""

    long: str
    help: str
    kind: str = "str"
    short: str = ""
    metavar: str = "VALUE"
    default: Any = None
    choices: list[str] = []
    #: another flag's name under which the value is kept
    key: str = ""

    @property
    def name(self) -> str:
        """The key of its value: dashes become underscores."""
        return (self.key or self.long).replace("-", "_")


class Command(Record):
    """A word with flags and operands. ``run`` is ``module:function``, imported when it is called."""

    name: str
    summary: str
    run: str = ""
    operands: str = ""
    flags: list[Flag] = []
    details: str = ""
    examples: list[tuple[str, str]] = []
    commands: list[Command] = []
    #: flags end at the first operand
    strict: bool = False
    #: but flags may follow it when ``--`` ends them
    late_flags: bool = False
    #: least and most operands
    least: int = 0
    most: int = 1 << 30


class Parsed(Record):
    """A line understood: the command, its path of words, values by flag name, operands."""

    command: Command
    words: list[str]
    values: dict[str, Any]
    operands: list[str]
    help: bool = False


#: every command has it; ``-h`` is the same where no flag of the command's own is called so
HELP = Flag("help", "Show this help and exit", "bool")


def parse(top: Command, argv: list[str]) -> Parsed:
    """Understand a line. InvalidRequest names everything that is wrong with it."""
    command, words = top, [top.name]
    problems: list[str] = []
    values = _defaults(top)
    rest = list(argv)
    while True:
        operands, asked = _read(command, rest, values, problems)
        if asked:
            return Parsed(command, words, values, operands, help=True)
        if not command.commands or not operands:
            break
        if operands[0] == "help":
            return _help_word(command, words, operands[1:], values)
        following = _find(command, operands[0], problems)
        if following is None:
            break
        command, rest = following, operands[1:]
        words.append(command.name)
        values |= _defaults(command)
    if not problems:
        _count(command, operands, problems)
    if problems:
        raise InvalidRequest("; ".join(problems), hint=f"see '{' '.join(words)} --help'")
    return Parsed(command, words, values, operands, help=bool(command.commands))


def _defaults(command: Command) -> dict[str, Any]:
    return {
        flag.name: False if flag.kind == "bool" and flag.default is None else flag.default for flag in command.flags
    }


def _help_word(command: Command, words: list[str], path: list[str], values: dict[str, Any]) -> Parsed:
    """``help run`` is ``run --help``."""
    problems: list[str] = []
    for word in path:
        following = _find(command, word, problems)
        if following is None:
            raise InvalidRequest(problems[0], hint=f"see '{' '.join(words)} --help'")
        command, words = following, [*words, following.name]
    return Parsed(command, words, values, [], help=True)


def _find(command: Command, word: str, problems: list[str]) -> Command | None:
    for one in command.commands:
        if one.name == word:
            return one
    names = [one.name for one in command.commands]
    problems.append(f"unknown command {word!r}{suggest(word, names)}")
    return None


def _count(command: Command, operands: list[str], problems: list[str]) -> None:
    if len(operands) < command.least:
        problems.append(f"{command.name} needs {command.operands or 'more operands'}")
    elif len(operands) > command.most:
        problems.append(f"{command.name}: too many operands: {_plain(' '.join(operands[command.most :]))}")


def _read(command: Command, argv: list[str], values: dict[str, Any], problems: list[str]) -> tuple[list[str], bool]:
    """Read flags; returns the operands, and whether help was asked for."""
    longs = {flag.long: flag for flag in command.flags}
    shorts = {flag.short: flag for flag in command.flags if flag.short}
    stop = command.strict or bool(command.commands)
    operands: list[str] = []
    at = 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if word == "--":
            return operands + argv[at:], False
        if word in ("--help", "-h") and word.lstrip("-") not in shorts and "help" not in longs:
            return operands, True
        if len(word) < 2 or word[0] != "-":
            if stop and not (command.late_flags and _flags_follow(argv[at:])):
                return operands + argv[at - 1 :], False
            operands.append(word)
        elif word.startswith("--"):
            at = _long(word[2:], longs, argv, at, values, problems)
        else:
            at = _bundle(word[1:], shorts, argv, at, values, problems)
    return operands, False


def _flags_follow(rest: list[str]) -> bool:
    """Flags behind the first operand, closed by ``--``: ``run IMAGE -m 1g -- COMMAND``."""
    return bool(rest) and rest[0] != "--" and rest[0][:1] == "-" and "--" in rest


def _long(
    word: str, longs: dict[str, Flag], argv: list[str], at: int, values: dict[str, Any], problems: list[str]
) -> int:
    name, equals, value = word.partition("=")
    flag = longs.get(name)
    if not flag:
        meant = longs.get(nearest(name, list(longs)))
        problems.append(f"unknown flag --{_plain(name)}{suggest(name, list(longs), '--')}")
        # Its value must not be taken for the first operand: the rest of the line may hold more problems.
        return at + bool(meant and meant.kind != "bool" and not equals and argv[at : at + 1] and argv[at][:1] != "-")
    if flag.kind == "bool":
        _store(flag, value if equals else "true", values, problems)
    elif equals:
        _store(flag, value, values, problems)
    elif at < len(argv):
        _store(flag, argv[at], values, problems)
        at += 1
    else:
        problems.append(f"--{name} needs a value")
    return at


def _bundle(
    word: str, shorts: dict[str, Flag], argv: list[str], at: int, values: dict[str, Any], problems: list[str]
) -> int:
    while word:
        flag, word = shorts.get(word[0]), word[1:] if word[0] in shorts else word
        if not flag:
            problems.append(f"unknown flag -{_plain(word[0])}")
            return at
        if flag.kind == "bool":
            if word[:1] == "=":
                _store(flag, word[1:], values, problems)
                return at
            _store(flag, "true", values, problems)
            continue
        if word:
            _store(flag, word.removeprefix("="), values, problems)
        elif at < len(argv):
            _store(flag, argv[at], values, problems)
            at += 1
        else:
            problems.append(f"-{flag.short} needs a value")
        return at
    return at


def _plain(word: str) -> str:
    """A user's word inside a one-line message: nothing in it moves the cursor or begins a line."""
    return word if word.isprintable() else repr(word)[1:-1]


def _store(flag: Flag, text: str, values: dict[str, Any], problems: list[str]) -> None:
    try:
        value = convert(flag, text)
    except ValueError as error:
        problems.append(f"--{flag.long} {text!r}: {error}")
        return
    if flag.kind == "list":
        values[flag.name] = [*(values[flag.name] or []), value]
    else:
        values[flag.name] = value


def convert(flag: Flag, text: str) -> Any:
    """The value of a flag; ValueError says what is accepted."""
    if flag.choices and text not in flag.choices:
        raise ValueError(f"not one of {', '.join(word for word in flag.choices if word)}")
    return _CONVERTERS.get(flag.kind, str)(text)


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "t", "yes"):
        return True
    if text.lower() in ("false", "0", "f", "no"):
        return False
    raise ValueError("not true or false")


#: int() and float() also take blanks, underscores and the digits of every script
_DIGITS = "0123456789"
_BASES = {"0x": 16, "0o": 8, "0b": 2}


def _integer(text: str) -> int:
    word = text[1:] if text[:1] in ("-", "+") else text
    try:
        number = int(text if word.isascii() and word.isalnum() else "", _BASES.get(word[:2].lower(), 10))
    except ValueError:
        raise ValueError("not a whole number") from None
    if not -1 << 63 <= number < 1 << 63:
        raise ValueError("out of range: more than 63 bits")
    return number


def _real(text: str) -> float:
    try:
        value = float("" if text.strip(_DIGITS + "+-.eE") else text)
    except ValueError:
        raise ValueError("not a number") from None
    if value in (float("inf"), -float("inf")):
        raise ValueError("not a number")
    return value


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def size(text: str) -> int:
    """Bytes of ``512m``, ``1.5g``, ``64KiB``; ``-1`` is unlimited. Units are powers of 1024, as Docker has them."""
    word = text.strip().lower()
    if word == "-1":
        return -1
    digits = word.rstrip("bkmgtpi")
    unit = word[len(digits) :].removesuffix("b")
    unit = unit[:1] if unit[1:] == "i" else unit
    whole, _, fraction = digits.partition(".")
    if unit not in _UNITS or not 0 < len(whole + fraction) <= 40 or (whole + fraction).strip(_DIGITS):
        raise ValueError("not a size like 512m or 1.5g")
    # Whole numbers all the way: a float would lose the last digits of a limit near 2^63.
    number: int = int(whole + fraction) * _UNITS[unit] // 10 ** len(fraction)
    if number >= 1 << 63:
        raise ValueError("out of range: the most is 8191p")
    return number


_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
#: the kernel counts nanoseconds in 63 bits: 292 years
_LONGEST = 100_000 * 86400.0


def duration(text: str) -> float:
    """Seconds of ``1h2m3s``, ``250ms`` or a plain number."""
    total, rest = 0.0, text.strip().lower()
    wrong = ValueError("not a time like 10s, 1m30s or 250ms")
    while rest or not text.strip():
        after = rest.lstrip(_DIGITS + ".")
        number, rest = rest[: len(rest) - len(after)], after
        cut = next((n for n, c in enumerate(rest) if c in _DIGITS + "."), len(rest))
        unit, rest = rest[:cut] or "s", rest[cut:]
        if not number.replace(".", "", 1).isdecimal() or unit not in _SECONDS:
            raise wrong
        total += float(number) * _SECONDS[unit]
    if total > _LONGEST:
        raise ValueError("out of range: the most is 100000d")
    return total


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "bool": _boolean,
    "int": _integer,
    "float": _real,
    "size": size,
    "duration": duration,
}


def nearest(word: str, known: list[str]) -> str:
    """The known word that was probably meant, begun or misspelled, or nothing."""
    begun = [name for name in known if len(word) > 1 and name.startswith(word)]
    if begun:
        return min(begun, key=len)
    # Lengths first: the distance of a word that somebody pasted takes its time.
    near = [(distance(word, name), name) for name in known if abs(len(word) - len(name)) <= 1 + len(name) // 3]
    best, name = min(near, default=(1, ""))
    return name if best <= max(1, len(name) // 3) else ""


def suggest(word: str, known: list[str], prefix: str = "") -> str:
    """``(did you mean …?)`` for a near miss, or nothing."""
    near = nearest(word, known)
    return f" (did you mean {prefix}{near}?)" if near else ""


def distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def usage(words: list[str], command: Command) -> str:
    """The line that says how the command is called."""
    parts = [*words, *(["[flags]"] if command.flags else [])]
    parts += ["COMMAND"] if command.commands else [command.operands] if command.operands else []
    return "usage: " + " ".join(parts)


def flag_words(flag: Flag) -> str:
    """``-m, --memory SIZE``."""
    word = f"--{flag.long}" if flag.kind == "bool" else f"--{flag.long} {flag.metavar}"
    return f"-{flag.short}, {word}" if flag.short else f"    {word}"


def help_text(words: list[str], command: Command) -> str:
    """What ``--help`` prints."""
    out = [usage(words, command), "", command.summary]
    if command.details:
        out += ["", command.details]
    if command.commands:
        width = max(len(one.name) for one in command.commands)
        out += ["", "commands:", *(f"  {one.name:{width}}  {one.summary}" for one in command.commands)]
    flags = [*command.flags, HELP]
    width = max(len(flag_words(flag)) for flag in flags)
    out += ["", "flags:", *(f"  {flag_words(flag):{width}}  {_flag_help(flag)}" for flag in flags)]
    if command.examples:
        out += ["", "examples:", *(f"  {line}\n      {what}" for line, what in command.examples)]
    return "\n".join(out) + "\n"


def _flag_help(flag: Flag) -> str:
    choices, default = "|".join(word for word in flag.choices if word), default_text(flag)
    return flag.help + (f" ({choices})" if choices else "") + (f" (default {default})" if default else "")


def default_text(flag: Flag) -> str:
    """The default as a user would write it; nothing where it says nothing."""
    value = flag.default
    if value in (None, False, "", []):
        return ""
    if value is True:
        return "true"
    if flag.kind == "size":
        unit = next(unit for unit in reversed(_UNITS) if value % _UNITS[unit] == 0)
        return f"{value // _UNITS[unit]}{unit}"
    return f"{value:g}s" if flag.kind == "duration" else str(value)


def call(parsed: Parsed) -> int:
    """Import the command's function and call it with what was parsed; its result is the exit code."""
    module, _, function = parsed.command.run.partition(":")
    __import__(module)
    result: int = getattr(sys.modules[module], function)(parsed)
    return result
