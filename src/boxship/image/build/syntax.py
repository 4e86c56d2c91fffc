# SPDX-License-Identifier: Apache-2.0
"""What the lines of a Dockerfile have in common: keyword, flags, words, pairs, JSON arrays.

Nothing is expanded here: quotes and escapes stay in the words, except in flags. Every problem is a ``Mistake``, to
which whoever knows the line and the instruction adds them.
"""

from __future__ import annotations

from boxship import fastjson
from boxship.args import suggest
from boxship.errors import InvalidRequest, SpecError
from boxship.image.build.expand import shown
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: what parts words
BLANKS = "\t\v\f\r "
#: what is trimmed: the white space of Unicode, without the separators of ASCII that Python adds
SPACE = BLANKS + "\n\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(chr(0x2000 + n) for n in range(11))


class Mistake(InvalidRequest):
    """What is wrong with an instruction, without its place."""


class DockerfileError(InvalidRequest):
    """``Dockerfile:LINE: INSTRUCTION: what is wrong``; lines count from 1."""

    def __init__(self, file: str, line: int, instruction: str, problem: str, *, hint: str) -> None:
        super().__init__(f"{file}:{line}: {instruction}: {problem}", hint=hint)
        self.file = file
        self.line = line
        self.instruction = instruction
        self.problem = problem


class Notice(Record):
    """A warning: the build goes on."""

    line: int
    text: str


def partition(text: str) -> tuple[str, str]:
    """The first word, and what follows the blanks behind it."""
    for at, char in enumerate(text):
        if char in BLANKS:
            return text[:at], text[at:].lstrip(BLANKS)
    return text, ""


def split(text: str, escape: str) -> tuple[str, list[str], str]:
    """Keyword as it is written, flags without quotes, the rest as it is written."""
    keyword, rest = partition(text.strip(SPACE))
    flags, rest = [], rest.lstrip(SPACE)
    while rest.startswith("--"):
        word, rest = _flag(rest, escape)
        rest = rest.lstrip(SPACE)
        if word == "--":
            break
        flags.append(word)
    return keyword, flags, rest.strip(SPACE)


def _flag(text: str, escape: str) -> tuple[str, str]:
    """The first word without its quotes and escapes, and what follows it."""
    out, quote, at = [], "", 0
    while at < len(text):
        char = text[at]
        if not quote and char in SPACE:
            break
        at += 1
        if char == quote:
            quote = ""
        elif not quote and char in ("'", '"'):
            quote = char
        elif char == escape:
            out.append(text[at : at + 1])
            at += 1
        else:
            out.append(char)
    return "".join(out), text[at:]


def words(rest: str, escape: str) -> list[str]:
    """Words that blanks part, unless quoted or escaped; quotes and escapes stay."""
    found, word, quote, at = [], "", "", 0
    while at < len(rest):
        char = rest[at]
        at += 1
        if not quote and char in SPACE:
            found += [word] if word else []
            word = ""
        elif char == escape and quote != "'":
            if at < len(rest):  # at the very end it stands for nothing
                word += char + rest[at]
                at += 1
        else:
            if char == quote:
                quote = ""
            elif not quote and char in ("'", '"'):
                quote = char
            word += char
    return [*found, word] if word else found


def blank_words(rest: str) -> list[str]:
    """Words that blanks part whether they are quoted or not."""
    return [word for word in "".join(" " if char in BLANKS else char for char in rest).split(" ") if word]


def pairs(rest: str, escape: str) -> tuple[tuple[tuple[str, str], ...], bool]:
    """``NAME=VALUE …``, or ``NAME VALUE`` to the end of the line (True)."""
    found = words(rest, escape)
    if not found:
        raise Mistake("needs at least one NAME=VALUE", hint="write NAME=VALUE")
    if "=" not in found[0]:
        name, value = partition(rest)
        if not value:
            raise Mistake(f"{shown(name)} has no value", hint="write NAME=VALUE")
        return ((name, value),), True
    out = []
    for word in found:
        name, equals, value = word.partition("=")
        if not equals:
            raise Mistake(f"{shown(word)} is not NAME=VALUE", hint="quote values with spaces: NAME='a b'")
        if not name:
            raise Mistake(f"{shown(word)} has no name", hint="write NAME=VALUE")
        out.append((name, value))
    return tuple(out), False


def array(rest: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None when it is not JSON (the shell's then), Mistake when not all are strings."""
    rest = rest.lstrip(SPACE)
    if not rest.startswith("["):
        return None
    try:
        value = fastjson.loads(rest)
    except SpecError:
        return None
    if not isinstance(value, list):
        return None
    for item in value:
        if not isinstance(item, str):
            raise Mistake(f"{shown(str(item))} in the array is not a string", hint='write "…" around every item')
        if "\0" in item:
            raise Mistake("a NUL in the array", hint="remove it")
    return tuple(_whole(item) for item in value)


def _whole(text: str) -> str:
    r"""Halves of surrogate pairs (``\ud800``) are replaced; bytes that are not UTF-8 stay what they are."""
    if text.isascii():
        return text
    lone = [c for c in text if "\ud800" <= c <= "\udfff" and not "\udc80" <= c <= "\udcff"]
    return "".join("\ufffd" if c in lone else c for c in text) if lone else text


class Flags:
    """The flags of one instruction, by name and kind: bool, str, list (may be repeated). Mistake names a wrong one."""

    def __init__(self, given: list[str], known: Mapping[str, str]) -> None:
        self._texts: dict[str, str] = {}
        self._lists: dict[str, tuple[str, ...]] = {}
        for word in given:
            name, equals, value = word[2:].partition("=")
            kind = known.get(name)
            if kind is None:
                have = "flags are " + " ".join(f"--{one}" for one in known) if known else "there are no flags here"
                raise Mistake(f"unknown flag {shown('--' + name)}{suggest(name, list(known), '--')}", hint=have)
            if name in self._texts:
                raise Mistake(f"--{name} is given twice", hint="give it once")
            if kind == "bool":
                value = _boolean(name, value if equals else "true")
            elif not equals:
                raise Mistake(f"--{name} needs a value", hint=f"write --{name}=VALUE, without spaces")
            if kind == "list":
                self._lists[name] = (*self.many(name), value)
            else:
                self._texts[name] = value

    def text(self, name: str, default: str = "") -> str:
        """The value, or the default where there is none."""
        return self._texts.get(name, default)

    def truth(self, name: str) -> bool:
        """Given, and not as false."""
        return self._texts.get(name) == "true"

    def maybe(self, name: str) -> bool | None:
        """What was said; None when nothing was."""
        return self.truth(name) if name in self._texts else None

    def many(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be repeated."""
        return self._lists.get(name, ())


def _boolean(name: str, value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise Mistake(f"--{name}: {shown(value)} is not true or false", hint=f"write --{name} or --{name}=false")
    return value.lower()


_TIMES = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def nanoseconds(flag: str, text: str) -> int:
    """``1m30s``, ``250ms``: a whole number of nanoseconds, at least 1 ms; 0 for ``0`` and for nothing; Mistake."""
    rest, total = text.removeprefix("+"), 0
    wrong = Mistake(f"--{flag}: {shown(text)} is not a time", hint="write 30s, 1m30s or 500ms; the least is 1ms")
    if text in ("", "0"):
        return 0
    if not rest:
        raise wrong
    while rest:
        unitless = rest.lstrip("0123456789.")
        number = rest[: len(rest) - len(unitless)]
        rest = unitless.lstrip("nuµμmsh")
        unit = unitless[: len(unitless) - len(rest)]
        whole, _, fraction = number.partition(".")
        if unit not in _TIMES or not 0 < len(whole + fraction) <= 40 or not (whole + fraction).isdecimal():
            raise wrong
        total += int(whole + fraction) * _TIMES[unit] // 10 ** len(fraction)
    if total and not 10**6 <= total < 1 << 63:
        raise wrong
    return total
