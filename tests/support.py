# SPDX-License-Identifier: Apache-2.0
"""What the tests share: running commands, root file systems, bundles, and a look at what is left behind."""

from __future__ import annotations

import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import uuid

HERE = pathlib.Path(__file__).parent
BIN = pathlib.Path(sys.executable).parent
ROOT_ONLY = os.geteuid() == 0
APPLETS = (
    "sh",
    "ls",
    "cat",
    "id",
    "sleep",
    "true",
    "false",
    "hostname",
    "mount",
    "ps",
    "echo",
    "kill",
    "touch",
    "rm",
    "mkdir",
    "stat",
    "dd",
    "env",
    "sed",
    "grep",
    "test",
    "ln",
    "wc",
    "head",
    "seq",
    "yes",
    "chmod",
    "umount",
    "ip",
    "sync",
    "readlink",
    "find",
    "stty",
)


class Done:
    """A command that has ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}{self.err}"

    def values(self, name: str) -> list[str]:
        """The values of a line ``name: value`` of the probe's report."""
        return [line.partition(": ")[2] for line in self.out.splitlines() if line.startswith(f"{name}:")]

    def value(self, name: str) -> str:
        found = self.values(name)
        assert found, f"the probe said nothing about {name}:\n{self!r}"
        return found[0]


def run(*argv: object, timeout: float = 60, stdin: str | None = None, **more: object) -> Done:
    """Run a command and wait; never hangs for ever."""
    return Done(
        subprocess.run(
            [str(word) for word in argv],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            **more,
        )
    )  # type: ignore[call-overload]


def make_rootfs(path: pathlib.Path, probe: pathlib.Path) -> pathlib.Path:
    """busybox and the probe."""
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "root", "run", "mnt", "home"):
        (path / name).mkdir(parents=True, exist_ok=True)
    (path / "tmp").chmod(0o1777)
    shutil.copy(probe, path / "bin" / "probe")
    shutil.copy("/bin/busybox", path / "bin" / "busybox")
    for applet in APPLETS:
        (path / "bin" / applet).symlink_to("busybox")
    (path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n")
    (path / "etc" / "group").write_text("root:x:0:\nuser:x:1000:\n")
    return path


def ended(pid: int, timeout: float = 30) -> None:
    """Until that process is gone."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], timeout)[0], f"pid {pid} lives"
    finally:
        os.close(fd)


class Bundle:
    """A bundle and the container that is made of it."""

    def __init__(self, path: pathlib.Path, config: dict, boxc_path: str) -> None:
        self.path, self.config, self.boxc_path = path, config, boxc_path
        self.id = f"boxship-test-{uuid.uuid4().hex[:10]}"
        self.state_root = path / "state"

    def write(self) -> Bundle:
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self

    def boxc(self, *argv: object, **more: object) -> Done:
        return run(self.boxc_path, "--root", self.state_root, *argv, **more)  # type: ignore[arg-type]

    def run(self, *args: str, **more: object) -> Done:
        """boxc run with these arguments as the container's command."""
        if args:
            self.config["process"]["args"] = list(args)
        self.write()
        return self.boxc("run", "--bundle", self.path, self.id, **more)

    def create(self, *args: str) -> Done:
        if args:
            self.config["process"]["args"] = list(args)
        self.write()
        # The container keeps its streams: they must not be pipes that somebody waits on.
        with open(self.path / "output", "w") as out:
            done = subprocess.run(
                [self.boxc_path, "--root", self.state_root, "create", "--bundle", self.path, self.id],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=60,
                check=False,
            )
        return Done(subprocess.CompletedProcess([], done.returncode, "", (self.path / "output").read_text()))

    def state(self) -> dict:
        return json.loads(self.boxc("state", self.id).out)

    @property
    def output(self) -> str:
        return (self.path / "output").read_text()


def traces() -> dict[str, set[str]]:
    """What a container could leave on the host."""
    mounts = {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}
    groups = set()
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup" in line:
            mount = pathlib.Path(line.split()[4])
            groups |= {
                str(p)
                for parent in ("", "boxship", "boxc")
                for p in (mount / parent).glob("*")
                if p.is_dir() and "boxship" in str(p)
            }
    links = set(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else set()
    groups = {g for g in groups if not g.endswith("/boxship")}
    runs = {str(p) for p in pathlib.Path("/run").glob("box*/*")}
    monitors = set()
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(") ")
                if name == "boxmon" and rest[0] != "Z":  # a zombie is its parent's business
                    monitors.add(entry.name)
            except (FileNotFoundError, ProcessLookupError):
                continue
    return {"mounts": mounts, "cgroups": groups, "links": links, "run directories": runs, "boxmon processes": monitors}
