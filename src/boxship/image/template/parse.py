# SPDX-License-Identifier: Apache-2.0
"""One recipe file: TOML, read strictly. Every complaint names file, line and key, and says what to write instead."""

from __future__ import annotations

from boxship.args import suggest
from boxship.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KINDS = ("debootstrap", "tarball", "script", "busybox")
#: what kind debootstrap is made with; the first that is installed
TOOLS = ("mmdebstrap", "debootstrap")
VARIANTS = ("minbase", "standard", "buildd")
PLACEHOLDERS = ("release", "architecture", "arch", "mirror", "components", "file")
#: the largest recipe that is read, bytes
MOST = 1 << 20
_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class RecipeError(InvalidRequest):
    """A recipe that cannot be meant; ``path`` and ``line`` (from 1; 0 when not known) say where."""

    def __init__(self, path: str, line: int, message: str, *, hint: str = "") -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}", hint=hint)
        self.path = path
        self.line = line


def is_word(value: str, also: str = "._~+-") -> bool:
    """A name that is safe as an argument and in a file name: letters, digits, ``also``; a letter or digit first."""
    return bool(value) and len(value) <= 128 and value[0] in _ALPHANUMERIC and not value.strip(_ALPHANUMERIC + also)


def parse(text: str, path: str, name: str) -> dict[str, Any]:
    """The values of a recipe file by key; ``name`` is the file's, without ``.toml``."""
    import tomllib

    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # deep nesting ends in the latter
        words = str(error) or "nested too deeply"
        line = text.count("\n") + 1 if "end of document" in words else _number_after(words, "at line ")
        fix = "strings are in quotes, lists in brackets, each key is there once"
        raise RecipeError(path, line, f"not TOML: {words}", hint=fix) from None
    reader = _Reader(text, path)
    given = data.pop("name", name)
    if given != name:
        reader.fail("name", f"{given!r} is not the file's name {name!r}", "rename one of them, or leave the key out")
    if not is_word(name):
        raise RecipeError(path, 0, f"{name!r} cannot name a template", hint="letters, digits and . _ ~ + - only")
    only = data.pop("only", {})
    values = reader.table(data, "", _CHECKS)
    if not isinstance(only, dict) or not all(isinstance(table, dict) for table in only.values()):
        reader.fail("only", "not tables", "write [only.RELEASE] or [only.ARCHITECTURE], then keys")
    inner = {key: check for key, check in _CHECKS.items() if key not in _WHOLE}
    values["only"] = {word: reader.table(table, f"only.{word}", inner) for word, table in only.items()}
    return values


class _Reader:
    """Checks tables key by key, and knows where in the text they are."""

    def __init__(self, text: str, path: str) -> None:
        self.lines = text.split("\n")
        self.path = path

    def fail(self, key: str, message: str, fix: str, table: str = "") -> None:
        """Raise RecipeError for this key."""
        full = f"{table}.{key}" if table else key
        raise RecipeError(self.path, self._line(key, table), f"{full}: {message}", hint=fix)

    def table(self, data: dict[str, Any], table: str, checks: dict[str, Callable[[Any], str]]) -> dict[str, Any]:
        """The table as it is, once every key is known and every value fits."""
        for key, value in data.items():
            if key not in checks:
                where = " here" if key in _CHECKS else ""
                self.fail(
                    key, f"unknown key{where}{suggest(key, list(checks))}", f"known are {', '.join(checks)}", table
                )
            wanted = checks[key](value)
            if wanted:
                self.fail(key, f"{_short(value)} does not fit", f"write {wanted}", table)
        return data

    def _line(self, key: str, table: str) -> int:
        inside = ""
        for number, line in enumerate(self.lines, 1):
            word = line.strip()
            if word.startswith("["):
                inside = word.strip("[] ").replace('"', "").replace("'", "")
                if inside == (f"{table}.{key}" if table else key):
                    return number
            elif "=" in word and inside == table and word.split("=")[0].split(".")[0].strip().strip("\"'") == key:
                return number
        return 0


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number_after(text: str, mark: str) -> int:
    digits = text.partition(mark)[2].partition(",")[0]
    return int(digits) if digits.isdecimal() else 0


def _line_of_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= 4096


def _filled(value: object) -> bool:
    """One line whose placeholders are known."""
    return isinstance(value, str) and _line_of_text(value) and not unknown_placeholder(value)


def unknown_placeholder(value: str) -> str:
    """The first ``{word}`` that stands for nothing, or an empty string."""
    for part in value.split("{")[1:]:
        word, closed, _ = part.partition("}")
        if not closed or word not in PLACEHOLDERS:
            return word
    return ""


def _list_of(value: object, fits: Callable[[str], bool]) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and fits(one) for one in value)


def _map_of(value: object, fits: Callable[[str], bool]) -> bool:
    return isinstance(value, dict) and all(is_word(k) and isinstance(v, str) and fits(v) for k, v in value.items())


def _shell(value: str) -> bool:
    return bool(value.strip()) and "\0" not in value and len(value) <= 65536


def is_source(line: str) -> bool:
    """``deb [options] ADDRESS SUITE COMPONENT …``, as sources.list has it."""
    words = line.partition("]")[2].split() if line.startswith("deb [") else line.split()[1:]
    return line.startswith("deb ") and _filled(line) and len(words) >= 3 and "://" in words[0]


def _checksum(value: str) -> bool:
    lower = value.lower()
    return (len(lower) == 64 and not lower.strip("0123456789abcdef")) or (
        _filled(value) and ("://" in value or "{mirror}" in value)
    )


_MIRRORS = ("http://", "https://", "file:///")
#: what OCI image configurations call the same things
CONFIG: dict[str, Callable[[Any], str]] = {
    "Env": lambda v: "" if _list_of(v, lambda e: e.find("=") > 0 and "\0" not in e) else '["NAME=value", …]',
    "Cmd": lambda v: "" if _list_of(v, lambda e: "\0" not in e) else '["program", "argument", …]',
    "Entrypoint": lambda v: "" if _list_of(v, lambda e: "\0" not in e) else '["program", "argument", …]',
    "WorkingDir": lambda v: "" if _line_of_text(v) and v.startswith("/") else "an absolute path",
    "Labels": lambda v: "" if isinstance(v, dict) and all(isinstance(x, str) for x in v.values()) else 'name = "value"',
    "StopSignal": lambda v: "" if _line_of_text(v) and is_word(v) else 'a signal, "SIGTERM"',
}


def _config(value: object) -> str:
    if not isinstance(value, dict):
        return f"a table with {', '.join(CONFIG)}"
    for key, one in value.items():
        if key not in CONFIG:
            return f"config.{key} differently{suggest(key, list(CONFIG))}; known are {', '.join(CONFIG)}"
        wanted = CONFIG[key](one)
        if wanted:
            return f"config.{key} as {wanted}"
    return ""


#: key → what should have been written, or nothing when the value fits
_CHECKS: dict[str, Callable[[Any], str]] = {
    "base": lambda v: "" if isinstance(v, str) and is_word(v) else "the name of another recipe",
    "summary": lambda v: "" if _line_of_text(v) else "one line of text",
    "kind": lambda v: "" if v in KINDS else " or ".join(f'"{kind}"' for kind in KINDS),
    "versions": lambda v: "" if _map_of(v, is_word) else 'alias = "release", in letters, digits and . _ ~ + -',
    "default": lambda v: "" if _line_of_text(v) else "the alias or release that is meant when none is named",
    "architectures": lambda v: "" if _map_of(v, is_word) else 'the name here = the distribution\'s, arm = "armhf"',
    "origin": lambda v: "" if _line_of_text(v) else "the word behind Origin: in the archive's Release file",
    "mirror": lambda v: "" if _filled(v) and (not v or v.startswith(_MIRRORS)) else "an http, https or file address",
    "sources": lambda v: "" if _list_of(v, is_source) and v else '["deb ADDRESS {release} {components}", …]',
    "components": lambda v: "" if _list_of(v, is_word) and v else '["main", …]',
    "keyring": lambda v: "" if _line_of_text(v) and (not v or v.startswith("/")) else "the absolute path of a keyring",
    "keyring_package": lambda v: "" if _line_of_text(v) else "the package that the keyring comes in",
    "packages": lambda v: "" if _list_of(v, lambda e: is_word(e, ".+-:=~")) else '["ca-certificates", …]',
    "tool": lambda v: "" if v in TOOLS else " or ".join(f'"{one}"' for one in TOOLS),
    "variant": lambda v: "" if v in VARIANTS else " or ".join(f'"{one}"' for one in VARIANTS),
    "url": lambda v: "" if _filled(v) and v else "an http, https or file address, or an absolute path",
    "sha256": lambda v: (
        "" if isinstance(v, str) and _checksum(v) else "64 hexadecimal digits, or the address of a list"
    ),
    "index": lambda v: "" if _filled(v) and ("://" in v or "{mirror}" in v) else "the address of a list of releases",
    "flavor": lambda v: "" if isinstance(v, str) and is_word(v) else "the flavor to look for in the index",
    "script": lambda v: "" if isinstance(v, str) and _shell(v) else "a shell script",
    "config": _config,
    "post": lambda v: "" if _list_of(v, _shell) else '["a shell command", …]',
}
#: keys that make no sense for one release or architecture only
_WHOLE = ("base", "summary", "kind", "versions", "default", "architectures", "config")
