# SPDX-License-Identifier: Apache-2.0
"""``box completion``: scripts for bash, zsh and fish, made from the table of words. See bash(1), zshcompsys(1), fish(1).

The scripts hold what they need: pressing the tabulator starts no Python. They know commands, flags, the values of
flags that have a fixed set of them, and where the flags end; everything else is a file name, the shell's own affair.
"""

from __future__ import annotations

import sys

from boxship.args import HELP
from boxship.cli.tables import BOX
from boxship.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Command, Flag, Parsed


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
    """What may follow: commands, operands where the table lists them all, and flags."""
    listed = command.operands.split("|") if "|" in command.operands else []
    return [*(one.name for one in command.commands), *listed, *(f"--{flag.long}" for flag in [*command.flags, HELP])]


def spellings(flag: Flag) -> list[str]:
    """``-m`` and ``--memory``."""
    return [f"--{flag.long}", *([f"-{flag.short}"] if flag.short else [])]


def bash(top: Command) -> str:
    """A function for bash's ``complete -F``. COMP_WORDBREAKS has ``=``: ``--flag=value`` comes as three words."""
    name, every = top.name, paths(top)
    tables = "".join(_bash_table(path, command) for path, command in every)
    choices = "".join(_bash_choices(path, flag) for path, command in every for flag in command.flags if flag.choices)
    return f"""# bash completion for {name}: eval "$({name} completion bash)"
_{name}_table() {{
  case "$1" in
{tables}  esac
}}
_{name}() {{
  local line="{name}" word flag="" offered below valued strict current="${{COMP_WORDS[COMP_CWORD]}}"
  COMPREPLY=()
  _{name}_table "$line"
  for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
    if [[ -n $flag ]]; then
      [[ $word == "=" ]] || flag=""
    elif [[ $word == "=" ]]; then
      flag="="
    elif [[ $word == "--" ]]; then
      return
    elif [[ -n $word && $valued == *" $word "* ]]; then
      flag="$word"
    elif [[ -n $word && $below == *" $word "* ]]; then
      line="$line $word"
      _{name}_table "$line"
    elif [[ -n $strict && $word != -* ]]; then
      [[ $strict == "late" ]] || return
      strict="yes"
    fi
  done
  [[ $current != "=" ]] || current=""
  [[ -z $flag ]] || offered=""
  case "$line $flag" in
{choices}  esac
  COMPREPLY=($(compgen -W "$offered" -- "$current"))
}}
complete -o default -F _{name} {name}
"""


def _bash_table(path: tuple[str, ...], command: Command) -> str:
    strict = ("late" if command.late_flags else "yes") if command.strict else ""
    commands = "".join(f" {one.name} " for one in command.commands)
    valued = "".join(f" {word} " for flag in command.flags if flag.kind != "bool" for word in spellings(flag))
    return (
        f'    "{" ".join(path)}") offered="{" ".join(words(command))}" below="{commands}" '
        f'valued="{valued}" strict="{strict}" ;;\n'
    )


def _bash_choices(path: tuple[str, ...], flag: Flag) -> str:
    names = "|".join(f'"{" ".join(path)} {word}"' for word in spellings(flag))
    return f'    {names}) offered="{" ".join(flag.choices).strip()}" ;;\n'


def zsh(top: Command) -> str:
    """zsh can use bash's function, which therefore keeps clear of zsh's own variables: words, path, commands."""
    return f"#compdef {top.name}\nautoload -U +X bashcompinit && bashcompinit\n{bash(top)}"


def fish(top: Command) -> str:
    """One line a word."""
    lines = []
    for path, command in paths(top):
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in path[1:]) or "__fish_use_subcommand"
        start = f"complete -c {top.name} -n '{seen}'"
        lines += [f"{start} -f -a {one.name} -d {_quote(one.summary)}" for one in command.commands]
        lines += [f"{start} {_fish_flag(flag)} -d {_quote(flag.help)}" for flag in [*command.flags, HELP]]
        if "|" in command.operands:
            lines.append(f"{start} -f -a {_quote(command.operands.replace('|', ' '))}")
    return "\n".join(lines) + "\n"


def _fish_flag(flag: Flag) -> str:
    short = f" -s {flag.short}" if flag.short else ""
    if flag.choices:
        return f"-l {flag.long}{short} -x -a {_quote(' '.join(flag.choices).strip())}"
    return f"-l {flag.long}{short}" + ("" if flag.kind == "bool" else " -r")


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
