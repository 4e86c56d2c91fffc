# SPDX-License-Identifier: Apache-2.0
"""Man pages from the tables of words: ``python -m boxship.cli.manpage docs/man``. See man-pages(7), groff_man(7)."""

from __future__ import annotations

from boxship import __version__
from boxship.args import flag_words
from boxship.cli.tables import BOX
from boxship.runtime.oci_table import BOXC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Command, Flag


def pages() -> dict[str, str]:
    """File name → text of every page: one for each program, one for each command of ``box``."""
    found = {"box.1": page(BOX, ["box"], 1), "boxc.8": page(BOXC, ["boxc"], 8, deep=True)}
    for command in BOX.commands:
        found[f"box-{command.name}.1"] = page(command, ["box", command.name], 1, deep=True)
    return found


def page(command: Command, words: list[str], section: int, *, deep: bool = False) -> str:
    """One page; ``deep`` describes the commands below it too."""
    title = "-".join(words)
    out = [
        f'.TH {title.upper()} {section} "" "Boxship {__version__}" "Boxship manual"',
        ".SH NAME",
        f"{_escape(title)} \\- {_escape(command.summary)}",
        ".SH SYNOPSIS",
        f".B {_escape(' '.join(words))}",
        _synopsis(command),
    ]
    if command.details:
        out += [".SH DESCRIPTION", _escape(command.details)]
    if command.flags:
        out += [".SH OPTIONS", *_flags(command.flags)]
    if command.commands:
        out += [".SH COMMANDS", *(line for one in command.commands for line in _command(one, deep=deep))]
    if command.examples:
        out += [
            ".SH EXAMPLES",
            *(line for text, what in command.examples for line in (".TP", f".B {_escape(text)}", _escape(what))),
        ]
    return "\n".join([*out, ".SH EXIT STATUS", *_EXIT, ".SH SEE ALSO", _see(words), ""])


_EXIT = ["The exit status of the container's program; 128 + N when signal N has ended it; 125 when Boxship itself fails,",
         "126 when the program cannot be executed, 127 when it is not found."]  # fmt: skip


def _synopsis(command: Command) -> str:
    parts = ["[\\fIflags\\fR]"] if command.flags else []
    parts += ["\\fICOMMAND\\fR …"] if command.commands else [_escape(command.operands)] if command.operands else []
    return " ".join(parts) or "\\&"


def _command(command: Command, *, deep: bool) -> list[str]:
    head = [
        ".TP",
        f"\\fB{_escape(command.name)}\\fR {_escape(command.operands)}".rstrip(),
        _escape(command.summary) + ".",
    ]
    if not deep:
        return head
    inner = [
        line
        for flag in command.flags
        for line in (".TP", f"\\fB{_escape(flag_words(flag).strip())}\\fR", _escape(_help(flag)))
    ]
    below = [line for one in command.commands for line in _command(one, deep=True)]
    return [*head, *([".RS", *inner, *below, ".RE"] if inner or below else [])]


def _flags(flags: list[Flag]) -> list[str]:
    return [
        line for flag in flags for line in (".TP", f"\\fB{_escape(flag_words(flag).strip())}\\fR", _escape(_help(flag)))
    ]


def _help(flag: Flag) -> str:
    choices = f" One of {', '.join(word or '(none)' for word in flag.choices)}." if flag.choices else ""
    default = f" Default: {flag.default}." if flag.default not in (None, False, "", []) else ""
    return f"{flag.help}.{choices}{default}"


def _see(words: list[str]) -> str:
    others = [f"box-{one.name}(1)" for one in BOX.commands] if words == ["box"] else []
    return _escape(", ".join(["box(1)", "boxc(8)", *others, "namespaces(7)", "cgroups(7)"]))


def _escape(text: str) -> str:
    """Text as roff takes it: backslashes, dashes, and no line that begins with a control character."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe[:1] in (".", "'") else safe


if __name__ == "__main__":
    import pathlib
    import sys

    for name, text in pages().items():
        pathlib.Path(sys.argv[1], name).write_text(text, encoding="utf-8")
