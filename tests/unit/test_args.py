# SPDX-License-Identifier: Apache-2.0
"""The command line: parsing, what is wrong with it, and output that nobody takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxship import args
from boxship.cli import completion
from boxship.cli.tables import BOX
from boxship.errors import InvalidRequest
from boxship.runtime.oci_table import BOXC


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


def test_help_words():
    parsed = args.parse(BOX, ["help", "system", "check"])
    assert (parsed.help, parsed.words) == (True, ["box", "system", "check"])
    assert args.parse(BOX, ["help"]).words == ["box"]
    parsed = args.parse(BOXC, ["--root", "/x", "help", "run"])
    assert (parsed.help, parsed.command.name, parsed.values["version"]) == (True, "run", False)
    with pytest.raises(InvalidRequest, match="unknown command 'rnu'"):
        args.parse(BOX, ["help", "rnu"])


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["run", "--memroy", "1g", "host"], "--memory?"),
        (["run", "--mem", "1g", "host"], "--memory?"),
        (["run", "--net", "none", "host"], "--network?"),
        (["runn"], "run?"),
        (["system", "chek"], "check?"),
    ],
)
def test_suggestions(argv, meant):
    with pytest.raises(InvalidRequest, match="did you mean") as error:
        args.parse(BOX, argv)
    assert f"did you mean {meant}" in str(error.value)


def test_no_suggestion_for_what_is_nothing_like_it():
    assert args.suggest("zzzzzz", [flag.long for flag in args.parse(BOX, ["run", "host"]).command.flags]) == ""
    assert args.suggest("m" * 1_000_000, ["memory"]) == ""


def test_messages_are_one_line():
    for argv in (["--a\nb"], ["run", "-\x1b"], ["ps", "a\nb"], ["run", "--memory=\n", "host"], ["\n"]):
        with pytest.raises(InvalidRequest) as error:
            args.parse(BOX, argv)
        assert error.value.message.isprintable()


def test_a_choice_that_is_nothing_is_not_offered():
    with pytest.raises(InvalidRequest, match=r"--pid 'x': not one of host$"):
        values("run", "--pid", "x", "host")


def test_everything_wrong_is_named_at_once():
    with pytest.raises(InvalidRequest) as error:
        values("run", "--memory", "much", "--pids-limit", "x", "--nonsense", "--network", "bridge", "host")
    for word in ("--memory 'much'", "--pids-limit 'x'", "--nonsense", "not one of none, host"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("512m", 512 << 20),
        ("1.5g", 3 << 29),
        ("64KiB", 65536),
        ("7", 7),
        ("7b", 7),
        ("2T", 2 << 40),
        ("-1", -1),
        (".5k", 512),
        ("9223372036854775807", (1 << 63) - 1),
        ("9007199254740993", (1 << 53) + 1),
    ],
)
def test_sizes(text, number):
    assert args.size(text) == number


@pytest.mark.parametrize(
    "text", ["", "m", ".", "1x", "1..5m", "-2", "1e5", "nan", "5mm", "5i", "5ib", "5bb", "1_0", "٣m", "9" * 50]
)
def test_bad_sizes(text):
    with pytest.raises(ValueError, match="not a size"):
        args.size(text)


def test_numbers_stay_in_range():
    with pytest.raises(ValueError, match="out of range: the most is 8191p"):
        args.size("8192p")
    with pytest.raises(ValueError, match="out of range"):
        args.duration("9" * 400)
    for number in (1 << 63, -(1 << 63) - 1):
        with pytest.raises(InvalidRequest, match=r"--pids-limit .* out of range"):
            values("run", "--pids-limit", str(number), "host")


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("-1", -1), ("+3", 3), ("0x10", 16), ("-0b11", -3)])
def test_whole_numbers(text, number):
    assert values("run", f"--pids-limit={text}", "host")["pids_limit"] == number


@pytest.mark.parametrize("text", ["", "-", "1_0", " 1", "1.0", "٣", "0x", "--1", "9" * 5000])
def test_bad_whole_numbers(text):
    with pytest.raises(InvalidRequest, match="not a whole number"):
        values("run", f"--pids-limit={text}", "host")


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1_0", "٣", "1e999", "."])
def test_bad_numbers(text):
    with pytest.raises(InvalidRequest, match="not a number"):
        values("run", f"--cpus={text}", "host")


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("1h2m3s", 3723), ("250ms", 0.25), ("1.5s", 1.5), ("1d", 86400)]
)
def test_durations(text, seconds):
    assert args.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", " ", "s", ".", "1x", "1..2s", "-1", "1h2q", "1_0s", "٣s", "inf", "1e3"])
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


_ODD = [
    "",
    "-",
    "=",
    "0",
    "-1",
    "nan",
    "٣",
    "9" * 400,
    "1e9",
    "512m",
    "10s",
    "true",
    "host",
    "json",
    "\udcff",
    "\n",
    "\0",
]


@st.composite
def nearly_sensible(draw):
    """A line of the table's own words, with values that are right or odd."""
    top = draw(st.sampled_from([BOX, BOXC]))
    path, command = draw(st.sampled_from(completion.paths(top)))
    flags = [*command.flags, args.HELP]
    names = st.sampled_from([word for flag in flags for word in completion.spellings(flag)])
    value = st.sampled_from(_ODD) | st.text(max_size=6)
    word = (
        names | value | st.builds("{}={}".format, names, value) | st.builds("{}{}".format, names, value) | st.just("--")
    )
    return top, [*path[1:], *draw(st.lists(word, max_size=8))]


@settings(max_examples=300, deadline=None)
@given(nearly_sensible())
def test_any_nearly_sensible_line_is_understood_or_refused(line):
    top, argv = line
    try:
        parsed = args.parse(top, argv)
    except InvalidRequest as error:
        assert error.message.isprintable()
    else:
        assert all(type(word) is str for word in parsed.operands)


@pytest.mark.parametrize("top", [BOX, BOXC], ids=["box", "boxc"])
def test_tables_are_sane(top):
    for path, command in completion.paths(top):
        longs, shorts = [f.long for f in command.flags], [f.short for f in command.flags if f.short]
        assert len(set(longs)) == len(longs), path
        assert len(set(shorts)) == len(shorts), path
        assert bool(command.run) != bool(command.commands), path
        for flag in command.flags:
            assert flag.kind in ("bool", "str", "int", "float", "size", "duration", "list"), (path, flag.long)


@pytest.mark.parametrize("top", [BOX, BOXC], ids=["box", "boxc"])
def test_functions_exist(top):
    import importlib

    for path, command in completion.paths(top):
        if command.run:
            module, _, name = command.run.partition(":")
            assert callable(getattr(importlib.import_module(module), name)), path


@pytest.mark.parametrize("top", [BOX, BOXC], ids=["box", "boxc"])
def test_no_flag_hides_another_flag(top):
    """The values of a line are one dictionary: a command's flag must not have the name of one of the program's.

    runc has two called ``rootless``; boxc finds out by itself what the program's would say.
    """
    names = {flag.name for flag in top.flags} - {"rootless"}
    for path, command in completion.paths(top)[1:]:
        assert not names & {flag.name for flag in command.flags}, path


def box(arguments: str, redirections: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``box`` in a shell, with output buffered as a user has it."""
    own = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"} | environment
    line = f"{sys.executable} -m boxship {arguments} {redirections}"
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=own, check=False)


@pytest.mark.parametrize("arguments", ["version", "run --help"])
def test_output_that_nobody_takes(arguments):
    done = box(arguments, "| { exec <&-; cat /dev/null; }")
    assert (done.returncode, done.stderr) in ((141, ""), (0, "")), "quiet, whether the reader went before or after"
    done = box(arguments, "> /dev/full")
    assert (done.returncode, done.stderr) == (125, "box: write(standard output): ENOSPC: No space left on device\n")


def test_closed_standard_streams():
    assert box("version", ">&-").returncode == 0
    assert box("version", "<&- 2>&-").stdout.startswith("box version ")
    assert box("nonsense", "<&- >&-").stderr.startswith("box: unknown command")


def test_a_locale_without_our_characters():
    done = box("run --help", "", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ARG\\u2026" in done.stdout
