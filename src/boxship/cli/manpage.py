# SPDX-License-Identifier: Apache-2.0
"""Man pages from the tables of words: ``python -m boxship.cli.manpage docs/man``. See man-pages(7), groff_man(7)."""

from __future__ import annotations

from boxship import __version__
from boxship.args import HELP, default_text, flag_words
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
        f"\\fB{_escape(' '.join(words))}\\fR {_synopsis(command)}".rstrip(),
        ".SH DESCRIPTION",
        _escape(command.details or f"{command.summary}."),
        ".SH OPTIONS",
        *_flags([*command.flags, HELP]),
    ]
    if command.commands:
        out += [".SH COMMANDS", *(line for one in command.commands for line in _command(one, deep=deep))]
    if command.examples:
        out.append(".SH EXAMPLES")
        out += [line for text, what in command.examples for line in _item(text, what)]
    out += [".SH EXIT STATUS", *_exit(words), ".SH ENVIRONMENT", *_item("BOXSHIP_DEBUG", _DEBUG)]
    return "\n".join([*out, ".SH SEE ALSO", _see(words), ""])


_DEBUG = "When set, an error shows its Python traceback too."


def _exit(words: list[str]) -> list[str]:
    """The codes of this page's commands: those that run a program pass its code on."""
    if words[-1] in ("box", "boxc", "run", "exec", "limit", "attach"):
        return [
            "The exit status of the container's program; 128 + N when signal N has ended it; 125 when Boxship itself fails,",
            "126 when the program cannot be executed, 127 when it is not found.",
        ]
    found = ["0 on success, 125 when Boxship fails or the words make no sense."]
    return (
        [*found, "\\fBcheck\\fR gives 1 when it has found something and left it."] if words[-1] == "system" else found
    )


def _synopsis(command: Command) -> str:
    parts = ["[\\fIflags\\fR]"] if command.flags else []
    parts += ["\\fICOMMAND\\fR …"] if command.commands else [_escape(command.operands)] if command.operands else []
    return " ".join(parts)


def _command(command: Command, *, deep: bool) -> list[str]:
    head = [
        ".TP",
        f"\\fB{_escape(command.name)}\\fR {_escape(command.operands)}".rstrip(),
        _escape(command.summary) + ".",
    ]
    below = [line for one in command.commands for line in _command(one, deep=True)]
    inner = [*_flags(command.flags), *below] if deep else []
    return [*head, *([".RS", *inner, ".RE"] if inner else [])]


def _flags(flags: list[Flag]) -> list[str]:
    return [line for flag in flags for line in _item(flag_words(flag).strip(), _help(flag), raw=True)]


def _item(term: str, text: str, *, raw: bool = False) -> list[str]:
    """A tagged paragraph; ``raw`` text is roff already."""
    return [".TP", f"\\fB{_escape(term)}\\fR", text if raw else _escape(text)]


def _help(flag: Flag) -> str:
    choices = ", ".join(f"\\fB{_escape(word)}\\fR" for word in flag.choices if word)
    default = _escape(default_text(flag))
    # No full stop behind a default, which may itself be one.
    more = (f" One of {choices}." if choices else "") + (f" Default: \\fB{default}\\fR" if default else "")
    return _escape(f"{flag.help}.") + more


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
