# SPDX-License-Identifier: Apache-2.0
"""What is written about the command line is what it does: man pages, help, examples, README, and runc's own words."""

from __future__ import annotations

import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from boxship import args
from boxship.cli import completion, manpage
from boxship.cli.tables import BOX
from boxship.runtime.oci_table import BOXC

TOP = pathlib.Path(__file__).parents[2]
MAN = TOP / "docs" / "man"
PROGRAMS = {"box": BOX, "boxc": BOXC}
EVERY = [(top, path, command) for top in PROGRAMS.values() for path, command in completion.paths(top)]


def page_of(path: tuple[str, ...]) -> str:
    """The page that describes a command."""
    if path[0] == "boxc":
        return "boxc.8"
    return f"box-{path[1]}.1" if len(path) > 1 else "box.1"


def test_man_pages_are_up_to_date():
    assert {path.name: path.read_text() for path in MAN.glob("*.[18]")} == manpage.pages(), "run: make man"


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


@pytest.mark.parametrize("page", sorted(manpage.pages()))
def test_man_pages_have_the_usual_sections(page):
    sections = re.findall(r"^\.SH (.*)$", manpage.pages()[page], re.MULTILINE)
    usual = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "EXAMPLES",
        "EXIT STATUS",
        "ENVIRONMENT",
        "SEE ALSO",
    ]
    assert sections == [name for name in usual if name in sections]
    assert {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"} <= set(sections)


def test_roff_takes_every_text():
    odd = args.Flag("odd", ".begins 'with \\ and -", metavar="'X")
    text = manpage.page(args.Command("odd", "'s own", "m:f", flags=[odd], details=".SH not a section"), ["odd"], 1)
    assert "\n\\&.begins 'with \\e and \\-." in text
    assert "\n\\&.SH not a section\n" in text
    assert "\n'" not in text


@pytest.mark.parametrize(("top", "path", "command"), EVERY, ids=lambda x: " ".join(x) if isinstance(x, tuple) else "")
def test_every_flag_is_in_page_help_completion_and_parser(top, path, command):
    page, script = manpage.pages()[page_of(path)], completion.bash(top)
    shown = args.help_text(list(path), command)
    for flag in [*command.flags, args.HELP]:
        for word in completion.spellings(flag):
            assert re.search(rf"\\fB(.*, )?{re.escape(manpage._escape(word))}[ ,\\]", page), word
            assert re.search(rf"^  .*{word}[ ,\n]", shown, re.MULTILINE), word
        assert f"--{flag.long} " in script or f'--{flag.long}"' in script
        parsed = args.parse(
            top, [*path[1:], f"--{flag.long}", *([] if flag.kind == "bool" else [value(flag)]), "--help"]
        )
        assert parsed.help
        assert parsed.words == list(path)


def value(flag: args.Flag) -> str:
    """A value that the flag takes."""
    by_kind = {"int": "1", "float": "0.5", "size": "64m", "duration": "10s"}
    return flag.choices[-1] if flag.choices else by_kind.get(flag.kind, "word")


@pytest.mark.parametrize(("top", "path", "command"), EVERY, ids=lambda x: " ".join(x) if isinstance(x, tuple) else "")
def test_defaults_are_shown_as_a_user_writes_them(top, path, command):
    for flag in command.flags:
        shown = args.default_text(flag)
        if shown:
            assert args.convert(flag, shown) == flag.default, (path, flag.long)


def lines_of(text: str) -> list[str]:
    """Command lines of box and boxc in indented or fenced blocks, comments and continuation of pipelines cut off."""
    blocks = "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    found = re.findall(r"^(?:\$ |# )?((?:box|boxc) .*)$", blocks, re.MULTILINE)
    return [part.strip() for line in found for part in re.sub(r"\s#.*", "", line).split(" ; ")]


DOCUMENTED = sorted(
    {line for path in [TOP / "README.md", *(TOP / "docs").rglob("*.md")] for line in lines_of(path.read_text())}
    | {line for _, _, command in EVERY for line, _ in command.examples}
)


def test_documented_lines_are_found():
    assert "box system check --repair" in DOCUMENTED
    assert len(DOCUMENTED) > 10


@pytest.mark.parametrize("line", DOCUMENTED)
def test_documented_lines_are_understood(line):
    program, *argv = shlex.split(line)
    args.parse(PROGRAMS[program], argv)


#: what runc 1.1–1.3 and crun 1.8–1.28 list in ``CMD --help``, where boxc has it too
RUNC = {
    "": "--debug --log= --log-format=json --log-level=debug --root= --systemd-cgroup --rootless=auto --cgroup-manager=systemd --version -v",
    "create": "--bundle= -b= --config= -f= --console-socket= --pid-file= --no-pivot --no-new-keyring --preserve-fds=1 --no-subreaper",
    "run": "--bundle= -b= --config= -f= --console-socket= --detach -d --keep --pid-file= --no-subreaper --no-pivot "
    "--no-new-keyring --preserve-fds=1",
    "start": "",
    "state": "",
    "pause": "",
    "resume": "",
    "kill": "--all -a",
    "delete": "--force -f --regex -r",
    "exec": "--console-socket= --cwd= --env=A -e=A --tty -t --user= -u= --additional-gids=1 -g=1 --process= -p= --detach -d "
    "--pid-file= --process-label= --apparmor= --no-new-privs --cap= -c= --preserve-fds=1 --cgroup= --ignore-paused",
    "list": "--format=json -f=json --quiet -q",
    "ps": "--format=json -f=json",
    "update": "--resources= -r= --blkio-weight=1 --cpu-period=1 --cpu-quota=1 --cpu-share=1 --cpu-burst=1 --cpu-idle=1 "
    "--cpu-rt-period=1 --cpu-rt-runtime=1 --cpuset-cpus= --cpuset-mems= --memory=1 --memory-reservation=1 --memory-swap=-1 "
    "--kernel-memory=1 --kernel-memory-tcp=1 --pids-limit=1 --l3-cache-schema= --mem-bw-schema=",
    "events": "--interval=5s --stats",
    "features": "",
    "spec": "--bundle= -b= --rootless",
}


@pytest.mark.parametrize("name", RUNC)
def test_boxc_takes_the_words_of_runc_and_crun(name):
    for word in RUNC[name].split():
        args.parse(
            BOXC, [*([name] if name else []), word, *([] if name in ("", "list", "features", "spec") else ["id"])]
        )


#: lines that containerd's shim, conmon and podman send, paths shortened
ENGINES = [
    "--root /r --log /b/log.json --log-format json --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /t/pty.sock id",
    "--root /r --log /b/log.json --log-format json exec --process /t/p.json --detach --pid-file /b/1.pid id",
    "--root /r --log /b/log.json --log-format json kill --all id 9",
    "--root /r --log /b/log.json --log-format json update --resources - id",
    "--root /r --log /b/log.json --log-format json events --stats id",
    "--root /r --log /b/log.json --log-format json ps --format json id",
    "--root /r --log-format=json --log=/b/oci-log create --no-pivot --preserve-fds 2 --bundle /b --pid-file /b/pidfile id",
    "--cgroup-manager cgroupfs kill id 15",
    "delete --force id",
    "--version",
    "features",
]


@pytest.mark.parametrize("line", ENGINES)
def test_boxc_takes_what_engines_send(line):
    parsed = args.parse(BOXC, line.split())
    assert parsed.operands[:1] in ([], ["id"])
