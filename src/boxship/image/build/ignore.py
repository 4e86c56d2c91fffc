# SPDX-License-Identifier: Apache-2.0
r"""``.dockerignore``: which files of a context stay at home, decided as Docker's walk through the context decides it.

One pattern a line: Go's ``filepath.Match`` (``*``, ``?``, ``[a-z]``, ``[^a-z]``, ``\x``), and ``**`` for any number of
directories; ``!`` makes an exception; ``#`` in the first column is a comment; a leading or trailing ``/`` says nothing.
Paths are relative to the context, with ``/``. The last pattern that matches decides. What matches a directory matches
all below it. An exception counts only for what an earlier pattern ignores: ``!keep`` brings back a directory that was
ignored, but not files below it which ``**/*.log`` ignores one by one.
"""

from __future__ import annotations

from posixpath import normpath

from boxship.errors import InvalidRequest
from boxship.image.build.expand import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable


class IgnoreError(InvalidRequest):
    """``.dockerignore:LINE: what is wrong with the pattern``."""


class Pattern:
    """One of them, compiled: ``regex`` matches whole paths, ``exception`` is ``!``."""

    __slots__ = ("exception", "parts", "prefix", "regex", "text")

    def __init__(self, text: str, exception: bool) -> None:
        self.text = text
        self.exception = exception
        self.regex = _compile(text)
        plain = next((at for at, char in enumerate(text) if char in "*?[\\"), len(text))
        #: what every match begins with
        self.prefix = text[:plain]
        #: one expression per directory level; None where levels cannot be told apart
        self.parts = None
        if not any(word in text for word in ("**", "[", "\\")):
            self.parts = [_compile(part) for part in text.split("/")]

    def reaches_below(self, directory: str) -> bool:
        """Whether it may match something below a directory; in doubt, yes."""
        if self.parts is None:
            below = directory + "/"
            return below.startswith(self.prefix) or self.prefix.startswith(below)
        levels = directory.split("/")
        return len(self.parts) > len(levels) and all(part.fullmatch(level) for part, level in zip(self.parts, levels))


class Ignore:
    """The patterns of one file, and what they say of paths."""

    __slots__ = ("_known", "patterns")

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        self.patterns = tuple(patterns)
        #: directory → which patterns match it
        self._known: dict[str, tuple[bool, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, path: str) -> bool:
        """Whether a file or directory is ignored; the context itself never is."""
        path = _clean(path)
        return path != "." and self._verdict(self._row(path))

    def may_skip(self, directory: str) -> bool:
        """Whether everything below a directory is ignored, whatever it is called: a walk may leave it out."""
        path = _clean(directory)
        if path == ".":
            return False
        row = self._known[path] = self._row(path)
        if not self._verdict(row):
            return False
        # What matched the directory matches all below it: only exceptions behind the last such pattern can undo that.
        last = max(at for at, found in enumerate(row) if found and not self.patterns[at].exception)
        return not any(one.exception and one.reaches_below(path) for one in self.patterns[last + 1 :])

    def _verdict(self, row: tuple[bool, ...]) -> bool:
        ignored = False
        for pattern, found in zip(self.patterns, row):
            if found:
                ignored = not pattern.exception
        return ignored

    def _row(self, path: str) -> tuple[bool, ...]:
        """Which patterns match a path, or a directory above it."""
        parent = path.rpartition("/")[0]
        above = self._known.get(parent) if parent else ()
        if above is None:
            above = ()
            for at, char in enumerate(parent + "/"):
                if char == "/":
                    above = self._known[parent[:at]] = self._ask(parent[:at], above)
        return self._known.get(path) or self._ask(path, above)

    def _ask(self, path: str, above: tuple[bool, ...]) -> tuple[bool, ...]:
        """The row below a row; a pattern that would change nothing is not asked."""
        row, ignored = [], False
        for at, pattern in enumerate(self.patterns):
            found = bool(above) and above[at]
            if not found and pattern.exception == ignored:
                found = pattern.regex.fullmatch(path) is not None
            if found:
                ignored = not pattern.exception
            row.append(found)
        return tuple(row)


def parse_ignore(source: str | bytes, file: str = ".dockerignore") -> Ignore:
    """Read a whole file; IgnoreError names the line."""
    text = source if isinstance(source, str) else source.decode("utf-8", "surrogateescape")
    found = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.startswith("#"):
            found += _pattern(line, f"{file}:{number}")
    return Ignore(found)


def ignore_of(patterns: Iterable[str], where: str = "--exclude") -> Ignore:
    """The same of patterns that stand alone, ``COPY --exclude=PATTERN``; IgnoreError."""
    return Ignore(one for pattern in patterns for one in _pattern(pattern, where))


def _pattern(line: str, where: str) -> list[Pattern]:
    """None or one."""
    word = line.strip()
    exception = word.startswith("!")
    word = word[exception:].strip()
    if not word and not exception:
        return []
    if not word:
        raise IgnoreError(f"{where}: an exception of nothing", hint="write !PATTERN")
    if "\0" in word:
        raise IgnoreError(f"{where}: a NUL byte", hint="is this a text file?")
    text = _clean(word)
    if text == ".":
        return []
    try:
        return [Pattern(text, exception)]
    except ValueError as error:
        raise IgnoreError(f"{where}: {shown(word)}: {error}", hint=r"write \[ for a bracket that is meant") from None


def _clean(path: str) -> str:
    """Without doubled, leading and trailing slashes and without dots; ``.`` is the context."""
    return normpath("/" + path.lstrip("/"))[1:] or "." if path.startswith("/") else normpath(path)


def _compile(pattern: str) -> re.Pattern[str]:
    """An expression for whole paths; ValueError says what is malformed."""
    import re

    out, at = [], 0
    while "**/**/" in pattern:
        pattern = pattern.replace("**/**/", "**/")
    # BuildKit's own: '**' right before plain text to the end is any text, not only directories.
    if pattern.startswith("**") and pattern[2:3] != "/" and not any(char in pattern[2:] for char in "*?[\\"):
        return re.compile(".*" + re.escape(pattern[2:]), re.DOTALL)
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if pattern.startswith("**", at - 1):
            at += 1 + (pattern[at + 1 : at + 2] == "/")
            out.append("(?:.*/)?" if at < len(pattern) else ".*")
        elif char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            piece, at = _class(pattern, at)
            out.append(piece)
        else:
            if char == "\\":
                char, at = _escaped(pattern, at - 1)
            out.append(re.escape(char))
    return re.compile("".join(out), re.DOTALL)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """What follows ``[``: single characters and ranges, at least one."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    out: list[str] = []
    while not out or pattern[at : at + 1] != "]":
        low, at = _member(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _member(pattern, at + 1)
        if high < low:
            raise ValueError(f"the range {shown(low + '-' + high)} is empty")
        out.append(f"{_literal(low)}-{_literal(high)}")
    return f"[{'^' * negated}{''.join(out)}]", at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    char = pattern[at : at + 1]
    if not char:
        raise ValueError("a bracket is not closed")
    if char in "-]":
        raise ValueError(f"a stray {char} in brackets")
    return _escaped(pattern, at) if char == "\\" else (char, at + 1)


def _escaped(pattern: str, at: int) -> tuple[str, int]:
    if at + 1 >= len(pattern):
        raise ValueError("a backslash at the end")
    return pattern[at + 1], at + 2


def _literal(char: str) -> str:
    """A character inside of brackets."""
    return char if char.isalnum() else f"\\{char}" if char.isascii() else char
