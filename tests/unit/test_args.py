# SPDX-License-Identifier: Apache-2.0
"""The command line: parsing, what is wrong with it, and the pages and completions made from the same tables."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxship import args
from boxship.cli import completion, manpage
from boxship.cli.tables import BOX
from boxship.errors import InvalidRequest
from boxship.runtime.oci_table import BOXC

MAN = pathlib.Path(__file__).parents[2] / "docs" / "man"


def values(*argv: str, top: args.Command = BOX) -> dict:
    return args.parse(top, list(argv)).values


def test_docker_manners():
    parsed = args.parse(
        BOX,
        [
            "run",
            "-it",
            "-eA=1",
            "-e",
            "B=2",
            "--memory=1g",
            "--rm=false",
            "--cpus",
            "1.5",
            "host",
            "--",
            "ls",
            "-l",
            "--memory",
        ],
    )
    assert parsed.operands == ["host", "--", "ls", "-l", "--memory"]
    v = parsed.values
    assert (v["interactive"], v["tty"], v["env"], v["memory"], v["rm"], v["cpus"]) == (
        True,
        True,
        ["A=1", "B=2"],
        1 << 30,
        False,
        1.5,
    )
    assert args.parse(BOX, ["run", "host", "ls", "-l"]).operands == ["host", "ls", "-l"]


def test_flags_behind_the_image():
    parsed = args.parse(BOX, ["run", "host", "-m", "1g", "-i", "--", "ls", "-i"])
    assert (parsed.values["memory"], parsed.values["interactive"], parsed.operands) == (
        1 << 30,
        True,
        ["host", "ls", "-i"],
    )
    parsed = args.parse(BOX, ["run", "host", "ls", "-m", "1g", "--", "x"])
    assert (parsed.values["memory"], parsed.operands) == (None, ["host", "ls", "-m", "1g", "--", "x"])


def test_subcommands_and_global_flags():
    assert args.parse(BOX, ["system", "check", "--repair"]).command.name == "check"
    parsed = args.parse(BOXC, ["--root", "/x", "kill", "--all", "id", "KILL"])
    assert (parsed.values["root"], parsed.values["all"], parsed.operands) == ("/x", True, ["id", "KILL"])
    assert args.parse(BOX, ["run", "--help"]).help
    assert args.parse(BOX, []).help


def test_everything_wrong_is_named_at_once():
    with pytest.raises(InvalidRequest) as error:
        values("run", "--memory", "much", "--pids-limit", "x", "--nonsense", "--network", "bridge", "host")
    for word in ("--memory 'much'", "--pids-limit 'x'", "--nonsense", "not one of none, host"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [("512m", 512 << 20), ("1.5g", 3 << 29), ("64KiB", 65536), ("7", 7), ("7b", 7), ("2T", 2 << 40), ("-1", -1)],
)
def test_sizes(text, number):
    assert args.size(text) == number


@pytest.mark.parametrize("text", ["", "m", "1x", "1..5m", "-2", "1e5000", "nan", "5mm"])
def test_bad_sizes(text):
    with pytest.raises(ValueError, match="not a size"):
        args.size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("1h2m3s", 3723), ("250ms", 0.25), ("1.5s", 1.5), ("1d", 86400)]
)
def test_durations(text, seconds):
    assert args.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "1..2s", "-1", "1h2q"])
def test_bad_durations(text):
    with pytest.raises(ValueError, match="not a time"):
        args.duration(text)


@given(st.lists(st.text(max_size=8) | st.sampled_from(["run", "--memory", "-it", "--", "host", "-e", "--rm=x", "system", "kill"]), max_size=6),
       st.sampled_from([BOX, BOXC]))  # fmt: skip
def test_any_line_is_understood_or_refused(argv, top):
    try:
        args.parse(top, argv)
    except InvalidRequest as error:
        assert "\n" not in error.message


def every(top: args.Command) -> list[tuple[tuple[str, ...], args.Command]]:
    return completion.paths(top)


@pytest.mark.parametrize("top", [BOX, BOXC], ids=["box", "boxc"])
def test_tables_are_sane(top):
    for path, command in every(top):
        longs, shorts = [f.long for f in command.flags], [f.short for f in command.flags if f.short]
        assert len(set(longs)) == len(longs), path
        assert len(set(shorts)) == len(shorts), path
        assert bool(command.run) != bool(command.commands), path
        for flag in command.flags:
            assert flag.kind in ("bool", "str", "int", "float", "size", "duration", "list"), (path, flag.long)


@pytest.mark.parametrize("top", [BOX, BOXC], ids=["box", "boxc"])
def test_functions_exist(top):
    import importlib

    for path, command in every(top):
        if command.run:
            module, _, name = command.run.partition(":")
            assert callable(getattr(importlib.import_module(module), name)), path


def test_man_pages_are_up_to_date():
    wanted = manpage.pages()
    assert {path.name: path.read_text() for path in MAN.glob("*.[18]")} == wanted, "run: make man"


@pytest.mark.parametrize("page", sorted(manpage.pages()))
def test_man_pages_have_no_complaints(page):
    if not shutil.which("man"):
        pytest.fail("man-db is not installed")
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", MAN / page],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_every_flag_is_in_its_page_and_in_the_completion():
    pages, script = manpage.pages(), completion.bash(BOX)
    for path, command in every(BOX):
        page = pages[f"box-{path[1]}.1" if len(path) > 1 else "box.1"]
        for flag in command.flags:
            assert f"\\-\\-{flag.long.replace('-', chr(92) + '-')}" in page, (path, flag.long)
            assert f"--{flag.long}" in script
    for _, command in every(BOXC):
        for flag in command.flags:
            assert f"\\-\\-{flag.long.replace('-', chr(92) + '-')}" in pages["boxc.8"], flag.long


@pytest.mark.parametrize(
    ("words", "found"),
    [(["box", "ru"], ["run"]), (["box", "run", "--mem"], ["--memory", "--memory-swap", "--memory-reservation"]),
     (["box", "system", ""], ["check", "info", "--help"]), (["box", "system", "check", "--r"], ["--repair"])],
)  # fmt: skip
def test_bash_completion(words, found):
    line = " ".join(f"'{word}'" for word in words)
    code = f"{completion.bash(BOX)}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _box; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == found


def test_completion_scripts_parse():
    assert "compdef box" in completion.zsh(BOX)
    assert "complete -c box" in completion.fish(BOX)
