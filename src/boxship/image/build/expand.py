# SPDX-License-Identifier: Apache-2.0
"""Variables in the words of a Dockerfile, expanded as BuildKit expands them.

    $NAME ${NAME}              the value; nothing when it is not set
    ${NAME-word} ${NAME:-word} word when it is not set (``:`` … or empty)
    ${NAME+word} ${NAME:+word} word when it is set (``:`` … and not empty), else nothing
    ${NAME?word} ${NAME:?word} an error that says word when it is not set (``:`` … or empty)
    ${NAME#pat} ${NAME##pat}   without the shortest (longest) beginning that matches
    ${NAME%pat} ${NAME%%pat}   without the shortest (longest) end that matches
    ${NAME/pat/new}            the first match replaced; ``//`` every match

Single quotes are literal, double quotes expand, the escape character takes the next one as it is. A pattern has ``*``
and ``?`` only. There are no assignments and no substrings; ``$1``, ``$@`` and their like are never set.
"""

from __future__ import annotations

from boxship.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: ${…} inside ${…}: nobody means more, and each costs stack
DEEPEST = 64
_SPECIAL = "@*#?-$!"
#: tokens of a pattern that are not characters
_ANY, _STAR = "any", "star"


class ExpansionError(InvalidRequest):
    """A word that cannot be expanded; ``text`` is the part of it that is at fault."""

    def __init__(self, text: str, problem: str, *, hint: str) -> None:
        super().__init__(f"{shown(text)}: {problem}", hint=hint)
        self.text = text


def shown(text: str, most: int = 80) -> str:
    """A user's text inside a one-line message: quoted, shortened, nothing in it moves the cursor."""
    short = text if len(text) <= most else text[: most - 1] + "…"
    return f"'{short}'" if short.isprintable() else repr(short)


def expand(word: str, scope: Mapping[str, str], *, escape: str = "\\", missing: set[str] | None = None) -> str:
    """One word: spaces stay, quotes go. ``missing`` collects the names that are not set. ExpansionError."""
    return "".join(piece for piece, _ in _Reader(word, scope, escape, missing).pieces())


def expand_words(
    word: str, scope: Mapping[str, str], *, escape: str = "\\", missing: set[str] | None = None
) -> list[str]:
    """The words that spaces outside of quotes make, also those inside of values; empty ones are dropped."""
    return _split(_Reader(word, scope, escape, missing).pieces())


def expand_text(text: str, scope: Mapping[str, str], *, missing: set[str] | None = None) -> str:
    r"""A heredoc: quotes are text, ``\`` escapes whatever the Dockerfile's escape character is, as Docker has it."""
    reader = _Reader(text, scope, "\\", missing)
    reader.quotes = False
    return "".join(piece for piece, _ in reader.pieces())


def source_words(line: str) -> list[str]:
    """The words of a line as they are written, for whoever looks for ``<<NAME``; ExpansionError."""
    reader = _Reader(line, {}, "\\", None)
    reader.keep = reader.verbatim = True
    return _split(reader.pieces(raw=True))


def unquoted(word: str) -> tuple[list[str], bool]:
    """The words left when quotes and escapes are gone and variables stay; whether there were quotes."""
    reader = _Reader(word, {}, "\\", None)
    reader.keep = True
    found = _split(reader.pieces())
    return found, reader.quoted


def _split(pieces: list[tuple[str, bool]]) -> list[str]:
    """Words of pieces, of which some (True) may be split at spaces."""
    words, current = [], ""
    for text, divisible in pieces:
        if not divisible:
            current += text
            continue
        for char in text:
            if not char.isspace():
                current += char
            elif current:
                words.append(current)
                current = ""
    return [*words, current] if current else words


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str, scope: Mapping[str, str], escape: str, missing: set[str] | None) -> None:
        self.text = text
        self.scope = scope
        self.escape = escape
        self.missing = missing
        self.at = 0
        self.depth = 0
        #: quotes mean something
        self.quotes = True
        #: … and stay in the result
        self.verbatim = False
        #: variables that are not set stay as they are written
        self.keep = False
        #: escape characters stay in the result, for patterns
        self.raw = False
        #: a quote was seen
        self.quoted = False

    def pieces(self, stop: str = "", *, raw: bool = False) -> list[tuple[str, bool]]:
        """The text up to ``stop``, which is passed over, or to the end; False: spaces in it are meant."""
        before, self.raw = self.raw, raw
        found: list[tuple[str, bool]] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == stop:
                self.at += 1
                self.raw = before
                return found
            if char == "$":
                found.append((self._dollar(), True))
            elif char in ("'", '"') and self.quotes:
                self.quoted = True
                found.append((self._single() if char == "'" else self._double(), False))
            elif char == self.escape:
                taken = self.text[self.at + 1 : self.at + 2]
                found.append(((char if raw else "") + taken, False))
                self.at += 2
            elif self.text.startswith("<<", self.at):
                found.append((self._redirection(), False))
            else:
                found.append((char, True))
                self.at += 1
        self.raw = before
        if stop:
            raise EOFError(stop)
        return found

    def _redirection(self) -> str:
        """``<<`` and the blanks behind it: they do not part it from its name."""
        start = self.at
        self.at += 2
        while self.text[self.at : self.at + 1] in ("\t", "\r", " "):
            self.at += 1
        return self.text[start : self.at]

    def _single(self) -> str:
        start = self.at
        end = self.text.find("'", start + 1)
        if end < 0:
            self.at = len(self.text)
            raise self._fault(start, "a single quote that is not closed", "close it, or escape it")
        self.at = end + 1
        return self.text[start : end + 1] if self.verbatim else self.text[start + 1 : end]

    def _double(self) -> str:
        start = self.at
        out = ['"'] if self.verbatim else []
        self.at += 1
        while self.at < len(self.text):
            char, following = self.text[self.at], self.text[self.at + 1 : self.at + 2]
            if char == '"':
                self.at += 1
                return "".join(out) + (char if self.verbatim else "")
            if char == "$":
                out.append(self._dollar())
                continue
            if char == self.escape and following in ('"', "$", self.escape):
                char = (char if self.raw else "") + following
                self.at += 1
            self.at += 1
            out.append(char)
        raise self._fault(start, "a double quote that is not closed", "close it, or escape it")

    def _dollar(self) -> str:
        start = self.at
        self.at += 1
        if self.text[self.at : self.at + 1] != "{":
            name = self._name()
            return self._value(name, start) if name else "$"
        self.at += 1
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._fault(start, f"more than {DEEPEST} variables inside one another", "use ARG for parts of it")
        try:
            value = self._braced(start)
        except EOFError as error:
            problem = "the closing '}' is missing" if error.args == ("}",) else "a second '/' is missing"
            raise self._fault(start, problem, "write ${NAME}, or ${NAME/pattern/new}") from None
        self.depth -= 1
        return value

    def _name(self) -> str:
        start = self.at
        first = self.text[start : start + 1]
        if first and first in _SPECIAL:
            self.at += 1
            return first
        numeric = first.isdecimal()
        while self.at < len(self.text):
            char = self.text[self.at]
            if not (char.isdecimal() or (not numeric and (char.isalpha() or char == "_"))):
                break
            self.at += 1
        return self.text[start : self.at]

    def _lookup(self, name: str) -> str | None:
        value = self.scope.get(name)
        if value is None and self.missing is not None:
            self.missing.add(name)
        return value

    def _value(self, name: str, start: int) -> str:
        value = self._lookup(name)
        return self.text[start : self.at] if value is None and self.keep else value or ""

    def _braced(self, start: int) -> str:
        """What follows ``${``."""
        name = self._name()
        operator = self.text[self.at : self.at + 1]
        self.at += 1
        if not name and operator:
            raise self._fault(start, "a variable without a name", "write ${NAME}")
        if operator == "}":
            return self._value(name, start)
        if operator == "/":
            return self._replaced(name, start)
        strict = operator == ":"
        if strict:
            operator = self.text[self.at : self.at + 1]
            self.at += 1
        if not operator:
            raise EOFError("}")
        if operator not in ("-+?" if strict else "-+?#%"):
            hint = "known are - + ? with or without a colon, and # ## % %% / //"
            raise self._fault(start, f"modifier {shown(':' * strict + operator)} is not known", hint)
        word = self._word("}", raw=operator in "#%")
        value = self._lookup(name)
        if value is None and self.keep:
            return self.text[start : self.at]
        if operator in "#%":
            return self._trimmed(value or "", word, operator, start)
        return self._chosen(name, value, word, ":" * strict + operator, start)

    def _word(self, stop: str, *, raw: bool) -> str:
        return "".join(piece for piece, _ in self.pieces(stop, raw=raw))

    def _chosen(self, name: str, value: str | None, word: str, operator: str, start: int) -> str:
        there = bool(value) if operator[0] == ":" else value is not None
        if operator[-1] == "-":
            return (value or "") if there else word
        if operator[-1] == "+":
            return word if there else ""
        if not there:
            problem = word or f"must be set{' and not empty' if operator[0] == ':' else ''}"
            problem = problem if problem.isprintable() else shown(problem)
            raise self._fault(start, f"{name}: {problem}", f"give --build-arg {name}=VALUE, or set it with ARG or ENV")
        return value or ""

    def _trimmed(self, value: str, word: str, operator: str, start: int) -> str:
        longest = word[:1] == operator
        tokens = self._pattern(word[longest:], start)
        if operator == "%":
            value, tokens = value[::-1], tokens[::-1]
        ends = list(_ends(tokens, value, 0))
        rest = value[ends[-1 if longest else 0] :] if ends else value
        return rest[::-1] if operator == "%" else rest

    def _replaced(self, name: str, start: int) -> str:
        every = self.text[self.at : self.at + 1] == "/"
        self.at += every
        word = self._word("/", raw=True)
        new = self._word("}", raw=True)
        value = self._lookup(name)
        if value is None and self.keep:
            return self.text[start : self.at]
        return _replace(self._pattern(word, start), value or "", new, every)

    def _pattern(self, word: str, start: int) -> list[str]:
        tokens, at = [], 0
        while at < len(word):
            char = word[at]
            at += 1
            if char == "\\":  # not self.escape: as BuildKit
                char = word[at : at + 1]
                at += 1
                if char not in ("*", "?", "\\", "}", "/"):
                    raise self._fault(start, f"{shown(word)}: a stray escape", r"a pattern has \* \? \/ \} and \\ only")
                tokens.append(char)
            else:
                tokens.append({"*": _STAR, "?": _ANY}.get(char, char))
        return tokens

    def _fault(self, start: int, problem: str, hint: str) -> ExpansionError:
        return ExpansionError(self.text[start : max(self.at, start + 1)] or self.text, problem, hint=hint)


def _ends(tokens: list[str], value: str, start: int) -> Iterator[int]:
    """Where the matches that begin at ``start`` end, the nearest first. All states at once: no backtracking."""
    states = _beyond_stars({0}, tokens)
    for at in range(start, len(value) + 1):
        if len(tokens) in states:
            yield at
        if at == len(value) or not states:
            return
        following = set()
        for state in states - {len(tokens)}:
            if tokens[state] == _STAR:
                following.add(state)
            elif tokens[state] in (_ANY, value[at]):
                following.add(state + 1)
        states = _beyond_stars(following, tokens)


def _beyond_stars(states: set[int], tokens: list[str]) -> set[int]:
    reached = set()
    for state in states:
        reached.add(state)
        while state < len(tokens) and tokens[state] == _STAR:
            state += 1
            reached.add(state)
    return reached


def _replace(tokens: list[str], value: str, new: str, every: bool) -> str:
    out, at, behind = [], 0, -1
    while at <= len(value):
        end = max(_ends(tokens, value, at), default=-1)
        if end > at or (end == at and behind != at):  # an empty match right behind another one is none
            out.append(new)
            if not every:
                return "".join(out) + value[end:]
            behind = end
        if end > at:
            at = end
        else:
            out.append(value[at : at + 1])
            at += 1
    return "".join(out)
