# SPDX-License-Identifier: Apache-2.0
"""``RUN --mount=type=…,…``: what can be told when it is read, and the rest once its variables have values.

Which key goes with which type is BuildKit's opinion; the order of the keys does not matter here.
"""

from __future__ import annotations

from boxship.args import size as size_of
from boxship.args import suggest
from boxship.image.build.expand import shown
from boxship.image.build.syntax import Mistake
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_SYNONYMS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_KEYS = [
    *("type", "from", "source", "target", "readonly", "readwrite", "required"),
    *("size", "id", "sharing", "mode", "uid", "gid", "env"),
]
#: keys that only some types have
_ONLY = {
    "size": ("tmpfs",),
    "required": ("secret", "ssh"),
    "sharing": ("cache",),
    "mode": ("cache", "secret", "ssh"),
    "uid": ("cache", "secret", "ssh"),
    "gid": ("cache", "secret", "ssh"),
    "from": ("bind", "cache", "tmpfs", "ssh"),
}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


class Mount(Record):
    """One ``--mount``. While it is ``pending``, only ``source_stage`` and ``words`` are to be relied on."""

    #: key and value as they are written; keys in their long form
    words: tuple[tuple[str, str], ...]
    #: there are variables, quotes or escapes in it: see ``settled``
    pending: bool = False
    type: str = "bind"
    #: ``from``: a stage or an image; never expanded
    source_stage: str = ""
    source: str = ""
    #: empty: the work directory, or for secrets /run/secrets/ID unless ``env`` is given
    target: str = ""
    readonly: bool = True
    #: fail when the secret or the agent is not there
    required: bool = False
    #: bytes; 0 is the kernel's default
    size: int = 0
    id: str = ""
    #: empty is shared
    sharing: str = ""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    #: name of the environment variable that holds the secret; None: there is none
    env: str | None = None

    def settled(self, expand: Callable[[str], str]) -> Mount:
        """The mount with all its values expanded and checked; Mistake, or what ``expand`` raises."""
        words = tuple((key, value if key == "from" else expand(value)) for key, value in self.words)
        return _build(words)


def parse_mount(text: str, escape: str = "\\") -> Mount:
    """The value of a ``--mount``; Mistake."""
    words = []
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = _SYNONYMS.get(key.lower(), key.lower())
        if key not in _KEYS:
            problem = f"--mount: unknown key {shown(key)}{suggest(key, _KEYS)}"
            raise Mistake(problem, hint=f"keys are {' '.join(_KEYS)}")
        if not equals and key not in ("readonly", "readwrite", "required"):
            raise Mistake(f"--mount: {key} needs a value", hint=f"write {key}=VALUE")
        if key == "from" and "$" in value[:-1]:
            problem = f"--mount: from={shown(value)}: variables are not possible here"
            raise Mistake(problem, hint="name a stage: FROM $IMAGE AS NAME, and from=NAME")
        words.append((key, value if equals else "true"))
    pending = any(char in value for key, value in words if key != "from" for char in ("$", "'", '"', escape))
    if not pending:
        return _build(tuple(words))
    return Mount(tuple(words), pending=True, source_stage=dict(words).get("from", ""))


def _fields(text: str) -> list[str]:
    """Fields between commas; one that begins with a double quote ends with one, and has ``""`` for a quote."""
    found, at = [], 0
    while True:
        if text[at : at + 1] == '"':
            field, at = _quoted(text, at + 1)
        else:
            end = text.find(",", at)
            end = len(text) if end < 0 else end
            field, at = text[at:end], end
        found.append(field)
        if at == len(text):
            return found
        if text[at] != ",":
            raise Mistake(f"--mount: text behind a quote: {shown(text[at:])}", hint='write "key=value",…')
        at += 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    out = []
    while True:
        end = text.find('"', at)
        if end < 0:
            raise Mistake(f"--mount: a quote that is not closed: {shown(text[at:])}", hint='write "key=value",…')
        out.append(text[at:end])
        if text[end + 1 : end + 2] != '"':
            return "".join(out), end + 1
        out.append('"')
        at = end + 2


def _build(words: tuple[tuple[str, str], ...]) -> Mount:
    """The typed mount of literal words."""
    values = dict(words)
    kind = _choice("type", values.get("type", "bind"), TYPES)
    for key in values:
        if kind not in _ONLY.get(key, TYPES):
            raise Mistake(f"--mount: {key} is not for type {kind}", hint=f"it is for {' '.join(_ONLY[key])}")
    writable = kind in ("cache", "tmpfs")
    for key, value in words:
        if key in ("readonly", "readwrite"):
            writable = _boolean(key, value) == (key == "readwrite")
    if kind == "secret":
        _check_secret(values)
    return Mount(
        words,
        type=kind,
        source_stage=values.get("from", ""),
        source=values.get("source", ""),
        target=values.get("target", ""),
        readonly=not writable,
        required=_boolean("required", values.get("required", "0")),
        size=_size(values.get("size", "0")),
        id=values.get("id", ""),
        sharing=_choice("sharing", values["sharing"], SHARING) if "sharing" in values else "",
        mode=_number("mode", values.get("mode"), 8, 0o7777),
        uid=_number("uid", values.get("uid"), 10, (1 << 32) - 1),
        gid=_number("gid", values.get("gid"), 10, (1 << 32) - 1),
        env=values.get("env"),
    )


def _check_secret(values: dict[str, str]) -> None:
    if not any(values.get(key) for key in ("id", "source", "target")):
        raise Mistake("--mount: a secret without id and target", hint="write type=secret,id=NAME")
    if values.get("id") and values.get("source"):
        raise Mistake("--mount: a secret with both id and source", hint="source is an old word for id: give one")


def _choice(key: str, value: str, known: tuple[str, ...]) -> str:
    if value.lower() not in known:
        problem = f"--mount: {key}={shown(value)} is not known{suggest(value.lower(), list(known))}"
        raise Mistake(problem, hint=f"known are {' '.join(known)}")
    return value.lower()


def _boolean(key: str, value: str) -> bool:
    if value not in _TRUE + _FALSE:
        raise Mistake(f"--mount: {key}={shown(value)} is not true or false", hint=f"write {key}, or {key}=false")
    return value in _TRUE


def _size(value: str) -> int:
    try:
        size = size_of(value)
    except ValueError as error:
        raise Mistake(f"--mount: size={shown(value)}: {error}", hint="write size=64m") from None
    if size < 0:
        raise Mistake(f"--mount: size={shown(value)} is negative", hint="leave it out for no limit")
    return size


def _number(key: str, value: str | None, base: int, most: int) -> int | None:
    """Digits of that base only: int() would take more."""
    if value is None:
        return None
    digits = "01234567" if base == 8 else "0123456789"
    if not 0 < len(value) <= 20 or value.strip(digits) or int(value, base) > most:
        hint = "write octal digits: mode=0644" if base == 8 else f"write a number: {key}=1000"
        raise Mistake(f"--mount: {key}={shown(value)} is not possible", hint=hint)
    return int(value, base)
