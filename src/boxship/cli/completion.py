# SPDX-License-Identifier: Apache-2.0
"""``box completion``: scripts for bash, zsh and fish, made from the table of words."""

from __future__ import annotations

import sys

from boxship.cli.tables import BOX
from boxship.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Command, Parsed


def completion(parsed: Parsed) -> int:
    """Print the script for one shell."""
    makers = {"bash": bash, "zsh": zsh, "fish": fish}
    shell = parsed.operands[0]
    if shell not in makers:
        raise InvalidRequest(f"unknown shell {shell!r}", hint="bash, zsh and fish are known")
    sys.stdout.write(makers[shell](BOX))
    return 0


def paths(command: Command, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Command]]:
    """Every command with the words that lead to it."""
    here = (*prefix, command.name)
    return [(here, command), *(found for one in command.commands for found in paths(one, here))]


def words(command: Command) -> list[str]:
    """What may follow: commands and flags."""
    return [*(one.name for one in command.commands), *(f"--{flag.long}" for flag in command.flags), "--help"]


def bash(top: Command) -> str:
    """A function for bash's ``complete -F``."""
    cases = "".join(f'    "{" ".join(path)}") words="{" ".join(words(command))}" ;;\n' for path, command in paths(top))
    return f"""# bash completion for {top.name}: eval "$({top.name} completion bash)"
_{top.name}() {{
  local path="{top.name}" word words=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case " {" ".join(" ".join(path) for path, _ in paths(top))} " in *" $path $word "*) path="$path $word" ;; esac
  done
  case "$path" in
{cases}  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _{top.name} {top.name}
"""


def zsh(top: Command) -> str:
    """zsh can use bash's function."""
    return f"#compdef {top.name}\nautoload -U +X bashcompinit && bashcompinit\n{bash(top)}"


def fish(top: Command) -> str:
    """One line a word."""
    lines = []
    for path, command in paths(top):
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in path[1:]) or "__fish_use_subcommand"
        lines += [
            f"complete -c {top.name} -n '{seen}' -f -a {one.name} -d {_quote(one.summary)}" for one in command.commands
        ]
        for flag in command.flags:
            short = f" -s {flag.short}" if flag.short else ""
            value = "" if flag.kind == "bool" else " -r"
            lines.append(f"complete -c {top.name} -n '{seen}' -l {flag.long}{short}{value} -d {_quote(flag.help)}")
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
