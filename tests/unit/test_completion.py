# SPDX-License-Identifier: Apache-2.0
"""Completion scripts, run by the shells that they are for."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from boxship import args
from boxship.cli import completion
from boxship.cli.main import main
from boxship.cli.tables import BOX

CASES = [
    (["box", "ru"], ["run"]),
    (["box", "run", "--mem"], ["--memory", "--memory-swap", "--memory-reservation"]),
    (["box", "run", "-it", "-m", "1g", "--rea"], ["--read-only"]),
    (["box", "system", ""], ["check", "info", "--help"]),
    (["box", "system", "check", "--r"], ["--repair"]),
    # the values of a flag, with a blank, and with '=' as bash splits it
    (["box", "run", "--network", ""], ["none", "host"]),
    (["box", "run", "--network", "="], ["none", "host"]),
    (["box", "run", "--network", "=", "h"], ["host"]),
    (["box", "run", "--pid", ""], ["host"]),
    # a value that cannot be known is a file name, not a flag
    (["box", "run", "--env-file", ""], []),
    (["box", "run", "--env-file", "--r"], []),
    # an operand that the table lists
    (["box", "completion", "z"], ["zsh"]),
    (["box", "bench", "s"], ["startup"]),
    # flags end at '--' and at the command; behind the image they may go on
    (["box", "run", "host", "--", "ls", "--mem"], []),
    (["box", "run", "host", "--cpuset"], ["--cpuset-cpus"]),
    (["box", "run", "host", "ls", "--cpuset"], []),
    (["box", "run", "--rm", "=", "false", "host", "--cpuset"], ["--cpuset-cpus"]),
    (["box", "limit", "make", "--mem"], []),
    # operands and values that look like commands
    (["box", "kill", "run", "--s"], ["--signal"]),
    (["box", "run", "--name", "ps", "--cpuset"], ["--cpuset-cpus"]),
    (["box", "rm", "box", "--f"], ["--force"]),
    (["box", "ps", "", "--q"], ["--quiet"]),
    (["box", "help", "vers"], ["version"]),
]


@pytest.mark.parametrize(("words", "found"), CASES, ids=" ".join)
def test_bash(words, found):
    line = " ".join(f"'{word}'" for word in words)
    code = f"{completion.bash(BOX)}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _box; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-u", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (found, "")


def test_bash_leaves_no_variables():
    code = f"""{completion.bash(BOX)}
before="" after="" COMP_WORDS=(box run --network "") COMP_CWORD=3
before=$(compgen -v); _box; after=$(compgen -v)
diff <(echo "$before") <(echo "$after") | grep "^[<>]"
"""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["> COMPREPLY", ""]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_scripts_have_no_syntax_errors(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    # bash where there is no zsh: the script is bash's but for one line, which is a command to both
    done = subprocess.run(
        [shutil.which(shell) or "bash", "-n"], input=script, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell(capsys):
    assert main(["completion", "tcsh"]) == 125
    assert capsys.readouterr().err.startswith("box: unknown shell 'tcsh'\nhint: ")


def test_names_are_none_of_zsh():
    """In zsh these have a meaning; a function that makes them local breaks there, and so does an offset without $(())."""
    script = completion.zsh(BOX)
    names = set(re.findall(r"(\w+)=", script)) | set(re.findall(r"local (.*)", script)[0].split())
    assert not names & {"path", "words", "commands", "options", "status", "argv", "prefix"}
    assert ":1:COMP_CWORD" not in script


def test_fish_describes_every_word():
    lines = completion.fish(BOX).splitlines()
    for path, command in completion.paths(BOX):
        for flag in [*command.flags, args.HELP]:
            seen = f"__fish_seen_subcommand_from {path[-1]}'" if len(path) > 1 else "__fish_use_subcommand'"
            assert any(f"{seen} -l {flag.long} " in line for line in lines), (path, flag.long)
    assert any("-l network -x -a 'none host'" in line for line in lines)
