# SPDX-License-Identifier: Apache-2.0
"""A Dockerfile's text becomes logical lines: one per instruction, with the heredocs that belong to it.

The order of things is BuildKit's: directives at the very top (``# escape=`` and the like, until anything else comes),
comments, lines that the escape character continues, and behind a RUN, COPY or ADD that says ``<<NAME`` everything up
to a line that is NAME. Inside a continued line, comments and empty lines are dropped. A heredoc's text is kept as it is,
carriage returns too.
"""

from __future__ import annotations

from boxship.image.build.expand import ExpansionError, shown, source_words, unquoted
from boxship.image.build.syntax import SPACE, DockerfileError, Mistake, Notice, array, partition, split
from boxship.record import Record

DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC_KEYWORDS = ("RUN", "COPY", "ADD")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Heredoc(Record):
    """``<<NAME`` and its text, each line with its end. ``line`` is the number of the first."""

    name: str
    content: str
    #: NAME was not quoted: variables in the text are meant
    expand: bool = True
    #: ``<<-NAME``: tabs at the beginnings of lines are not part of the text
    chomp: bool = False
    line: int = 0

    @property
    def text(self) -> str:
        """The content without the tabs that ``<<-`` takes away."""
        if not self.chomp:
            return self.content
        return "\n".join(line.lstrip("\t") for line in self.content.split("\n"))


class Line(Record):
    """One logical line. ``first`` and ``last`` count from 1 and include heredocs; ``original`` is all of that text."""

    text: str
    first: int
    last: int
    original: str
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def keyword(self) -> str:
        """The instruction's name in capitals; for a trigger, ONBUILD and the name."""
        first, rest = partition(self.text)
        name = first.upper()
        return f"ONBUILD {partition(rest)[0].upper()}".rstrip() if name == "ONBUILD" else name


class Lexed(Record):
    """All lines, the values of the directives, warnings."""

    lines: tuple[Line, ...]
    escape: str = "\\"
    syntax: str = ""
    check: str = ""
    warnings: tuple[Notice, ...] = ()


def lex(source: str | bytes, file: str = "Dockerfile") -> Lexed:
    """Split a text into logical lines; DockerfileError. ``file`` is its name in messages."""
    text = source if isinstance(source, str) else source.decode("utf-8", "surrogateescape")
    reader = _Reader(text.removeprefix("\ufeff"), file)
    reader.directives()
    lines = []
    while reader.at < len(reader.rows):
        line = reader.line()
        if line is not None:
            lines.append(line)
    if not lines:
        raise DockerfileError(file, 1, "FROM", "the file has no instructions", hint="begin with FROM IMAGE")
    found = reader.found
    return Lexed(tuple(lines), reader.escape, found.get("syntax", ""), found.get("check", ""), tuple(reader.warnings))


class _Reader:
    """Goes through the physical lines once."""

    def __init__(self, text: str, file: str) -> None:
        #: only a line feed ends a line, whatever str.splitlines thinks
        self.rows = [row + "\n" for row in text.split("\n")]
        self.rows[-1] = self.rows[-1][:-1]
        if not self.rows[-1]:
            self.rows.pop()
        self.file = file
        self.at = 0
        self.escape = "\\"
        self.found: dict[str, str] = {}
        self.warnings: list[Notice] = []
        for number, row in enumerate(self.rows, 1):
            if "\0" in row:
                raise DockerfileError(file, number, "text", "a NUL byte", hint="is this a text file?")

    def directives(self) -> None:
        """Read those at the top; what they were is a comment to everything else."""
        for number, row in enumerate(self.rows, 1):
            name, value = _directive(row)
            if not name:
                return
            if name in self.found:
                problem = f"# {name}= is given twice"
                raise DockerfileError(self.file, number, f"# {name}", problem, hint="give it once, at the top")
            if name == "escape" and value not in ("\\", "`"):
                problem = f"{shown(value)} cannot be the escape character"
                raise DockerfileError(self.file, number, "# escape", problem, hint="write # escape=` or # escape=\\")
            self.found[name] = value
            self.escape = value if name == "escape" else self.escape

    def line(self) -> Line | None:
        """The next logical line; None for what says nothing."""
        start = self.at
        self.at += 1
        row = self.rows[start].rstrip("\r\n").lstrip(SPACE)
        if row.startswith("#"):
            return None
        text, continued = self._continued(row)
        empty = 0
        while continued and self.at < len(self.rows):
            row = self.rows[self.at].rstrip("\r\n")
            self.at += 1
            bare = row.lstrip(SPACE)
            if bare.startswith("#"):
                continue
            if not bare:
                empty = empty or self.at
                continue
            row, continued = self._continued(row)
            text += row
        if not text.strip(SPACE):
            return None
        if empty:
            self.warnings.append(Notice(empty, "an empty line inside a continued instruction"))
        line = Line(text.strip(SPACE), start + 1, self.at, "")
        heredocs = self._heredocs(line)
        return line.replace(last=self.at, original="".join(self.rows[start : self.at]), heredocs=heredocs)

    def _continued(self, row: str) -> tuple[str, bool]:
        """A line without the escape character at its end, and whether it had one; two of them are none."""
        bare = row.rstrip(" \t")
        if not bare.endswith(self.escape) or bare[-2:-1] == self.escape:
            return row, False
        return bare[:-1], True

    def _heredocs(self, line: Line) -> tuple[Heredoc, ...]:
        if "<<" not in line.text:
            return ()
        found = []
        try:
            if _may_have_heredocs(line.text, self.escape):
                for word in _source_words(line.text):
                    mark = heredoc_mark(word)
                    if mark:
                        found.append(self._heredoc(mark, line))
        except (Mistake, ExpansionError) as error:
            raise DockerfileError(self.file, line.first, line.keyword, error.message, hint=error.hint) from None
        return tuple(found)

    def _heredoc(self, mark: Heredoc, line: Line) -> Heredoc:
        start = self.at
        for number in range(start, len(self.rows)):
            row = self.rows[number].rstrip("\r\n")
            if (row.lstrip("\t") if mark.chomp else row) == mark.name:
                self.at = number + 1
                return mark.replace(content="".join(self.rows[start:number]), line=start + 1)
        problem = f"the heredoc {shown(mark.name)} does not end"
        hint = "end it with a line that is only its name; << that is no heredoc is quoted, or written without blanks"
        raise DockerfileError(self.file, line.first, line.keyword, problem, hint=hint)


def _directive(row: str) -> tuple[str, str]:
    """``# name = value``; empty when the line is something else."""
    bare = row.rstrip("\r\n").lstrip(SPACE)
    name, equals, value = bare[1:].partition("=")
    name, value = name.strip(SPACE), value.strip(SPACE)
    known = bare.startswith("#") and equals and value and not name.strip(_LETTERS) and name.lower() in DIRECTIVES
    return (name.lower(), value) if known else ("", "")


def _may_have_heredocs(text: str, escape: str) -> bool:
    """RUN, COPY, ADD, also behind ONBUILD, but not with a JSON array."""
    keyword, _, rest = split(text, escape)
    if keyword.upper() == "ONBUILD":
        keyword, _, rest = split(rest, escape)
    return keyword.upper() in _HEREDOC_KEYWORDS and array(rest) is None


def _source_words(text: str) -> list[str]:
    try:
        return source_words(text)
    except ExpansionError:  # the shell may understand what is no words to us
        return []


def heredoc_mark(word: str) -> Heredoc | None:
    """``<<NAME``, ``3<<-'NAME'``: a heredoc without its text; None for any other word. ExpansionError."""
    rest = word.lstrip("0123456789")
    if not rest.startswith("<<"):
        return None
    rest = rest[2:]
    chomp = rest.startswith("-")
    name = (rest[1:] if chomp else rest).lstrip(SPACE)
    if not name or "<" in name:
        return None
    found, quoted = unquoted(name)
    return Heredoc(found[0], "", expand=not quoted, chomp=chomp) if len(found) == 1 else None
