# SPDX-License-Identifier: Apache-2.0
"""Races, hangs and leaks that a reviewer has once found; each was real."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import threading
import time

import pytest

from support import BIN, Bundle, ended, run

pytestmark = pytest.mark.usefixtures("nothing_left")
BOX = str(BIN / "box")


def on_a_terminal(argv: list[str], typed: bytes = b"", timeout: float = 30) -> tuple[int, bytes]:
    """Run a command on a pty of its own; its exit code and output."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(argv[0], argv)
    os.write(master, typed)
    out, end = b"", time.monotonic() + timeout
    while select.select([master], [], [], max(0, end - time.monotonic()))[0]:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        out += part
    os.close(master)
    fd = os.pidfd_open(pid)
    alive = not select.select([fd], [], [], max(1, end - time.monotonic()))[0]
    os.close(fd)
    if alive:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert not alive, f"still running: {argv}: {out!r}"
    return os.waitstatus_to_exitcode(status), out


def capable(bundle, *names: str) -> None:
    sets = bundle.config["process"]["capabilities"]
    for kind in ("bounding", "effective", "permitted"):
        sets[kind] = sorted({*sets.get(kind, []), *(f"CAP_{name}" for name in names)})


WATCH = """
trap 'exit 0' TERM
while :; do
  for p in /proc/[0-9]*; do
    n=${p#/proc/}; [ "$n" -le 3 ] && continue
    kill -STOP $n 2>/dev/null
    for f in $p/fd/*; do [ -e "$f/../etc/machine-marker" ] && echo ESCAPED $f; [ -d "$f" ] && ls -d $f/.. >/dev/null; done
    kill -CONT $n 2>/dev/null
  done
done
"""


def test_exec_holds_nothing_of_the_host(bundle):
    """A container with CAP_SYS_PTRACE stops every new process and climbs up from its descriptors."""
    marker = pathlib.Path("/etc/machine-marker")
    marker.write_text("host\n")
    try:
        capable(bundle, "SYS_PTRACE", "KILL", "DAC_OVERRIDE")
        bundle.create("/bin/sh", "-c", WATCH)
        assert bundle.boxc("start", bundle.id).code == 0
        for _ in range(15):
            done = bundle.boxc("exec", bundle.id, "/bin/ls", "-l", "/proc/self/fd")
            assert done.code == 0, done
        assert "ESCAPED" not in bundle.output
    finally:
        marker.unlink()


def test_a_pod_member_at_its_barrier_holds_nothing_of_the_host(bundle, tmp_path, rootfs, config, boxc_path):
    capable(bundle, "SYS_PTRACE", "KILL")
    bundle.create("/bin/sleep", "1000")
    assert bundle.boxc("start", bundle.id).code == 0
    second_path = tmp_path / "second"
    second_path.mkdir()
    shutil.copytree(rootfs, second_path / "rootfs", symlinks=True)
    second = Bundle(second_path, config, boxc_path)
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] == "pid":
            namespace["path"] = f"/proc/{bundle.state()['pid']}/ns/pid"
    try:
        made = second.create("/bin/sleep", "1000")
        assert made.code == 0, made
        pid = second.state()["pid"]
        held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        outside = [path for path in held if path.startswith(("/proc", "/sys", "/dev/null")) and path != "/dev/null"]
        assert not outside, held
        assert second.boxc("start", second.id).code == 0
        seen = bundle.boxc("exec", bundle.id, "/bin/ps").out
        assert seen.count("sleep 1000") == 2, seen
        # The last of a shared pid namespace is not ended by the kernel: kill and delete do it.
        with open(tmp_path / "exec", "w") as out:  # the process keeps its streams
            words = [boxc_path, "--root", second.state_root, "exec", "--detach", second.id, "/bin/sleep", "2000"]
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True, timeout=60)
        assert second.boxc("kill", second.id, "KILL").code == 0
        ended(pid)
        assert second.boxc("delete", second.id).code == 0
        assert "sleep 2000" not in bundle.boxc("exec", bundle.id, "/bin/ps").out
    finally:
        second.boxc("delete", "--force", second.id)


def test_exec_into_a_container_that_has_just_ended(bundle):
    from boxship.errors import Conflict
    from boxship.runtime import join
    from boxship.runtime.state import Store

    bundle.create("/bin/sleep", "1000")
    bundle.boxc("start", bundle.id)
    state = Store(str(bundle.state_root)).load(bundle.id)
    assert join.differing_namespaces(state)
    bundle.boxc("kill", bundle.id, "KILL")
    ended(state.pid)
    with pytest.raises(Conflict):
        join.differing_namespaces(state)


def test_two_creates_of_one_id(bundle):
    """Delete and create again while the first create runs a hook: the second container is not the first one's to undo."""
    hook = bundle.path / "hook"
    hook.write_text("#!/bin/sh\nsleep 1\nexit 1\n")
    hook.chmod(0o755)
    bundle.config["hooks"] = {"createRuntime": [{"path": str(hook)}]}
    bundle.config["process"]["args"] = ["/bin/sleep", "1000"]
    bundle.write()
    first = threading.Thread(target=lambda: bundle.boxc("create", "--bundle", bundle.path, bundle.id))
    first.start()
    while not (bundle.state_root / bundle.id).exists():
        os.sched_yield()
    bundle.boxc("delete", "--force", bundle.id)  # waits for its turn
    del bundle.config["hooks"]
    assert bundle.create("/bin/sleep", "1000").code == 0
    first.join()
    assert bundle.state()["status"] == "created"


def test_a_record_on_a_full_disk(bundle, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", small)
    try:
        bundle.state_root = small / "state"
        bundle.config["annotations"] = {"big": "x" * 16000}
        done = bundle.run("/bin/true")
        assert done.code == 125 and "ENOSPC" in done.err, done
        assert bundle.boxc("list").code == 0
        assert not list((small / "state").iterdir())
    finally:
        run("umount", small)


def test_a_cgroup_that_another_container_has_now(bundle, tmp_path, rootfs, config, boxc_path):
    bundle.config["linux"]["cgroupsPath"] = f"/boxship-test-shared-{os.getpid()}"
    bundle.create("/bin/sleep", "1000")
    pid = bundle.state()["pid"]
    bundle.boxc("kill", bundle.id, "KILL")
    ended(pid)
    other = Bundle(bundle.path, bundle.config, boxc_path)
    other.state_root = bundle.state_root
    try:
        assert other.create("/bin/sleep", "1000").code == 0
        assert bundle.boxc("delete", "--force", bundle.id).code == 0
        assert other.state()["status"] == "created", "it lives"
    finally:
        other.boxc("delete", "--force", other.id)


def test_words_that_containerd_knows(bundle):
    bundle.create("/bin/sleep", "1000")
    pid = bundle.state()["pid"]
    bundle.boxc("kill", bundle.id, "KILL")
    ended(pid)
    assert "container not running" in bundle.boxc("kill", bundle.id, "TERM").err


def test_a_fifo_is_no_program(bundle, rootfs):
    os.mkfifo(rootfs / "bin" / "fifo", 0o755)
    done = bundle.run("/bin/fifo", timeout=20)
    assert done.code == 126, done


def test_input_that_nobody_reads_blocks_nobody(bundle):
    """More input than a pty holds, echoed by a program that writes as much: both directions must move."""
    bundle.config["process"]["terminal"] = True
    bundle.config["process"]["args"] = ["/bin/sh", "-c", "stty raw -echo; echo begin; exec head -c 300000"]
    bundle.write()
    words = [bundle.boxc_path, "--root", bundle.state_root, "run", "--bundle", bundle.path, bundle.id]
    client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert (
        b"begin" in client.stdout.readline()
    )  # before that the line discipline would drop what is too much for a line
    out, _ = client.communicate(b"x" * 300000, timeout=60)
    assert client.returncode == 0 and out.count(b"x") == 300000, (client.returncode, len(out))


def test_a_reader_that_leaves(bundle):
    bundle.config["process"]["terminal"] = True
    bundle.config["process"]["args"] = ["/bin/sh", "-c", "while :; do echo y; done"]
    bundle.write()
    line = f"{bundle.boxc_path} --root {bundle.state_root} run --bundle {bundle.path} {bundle.id} | head -n 1"
    assert run("sh", "-c", line, timeout=30).out.strip() == "y"
    assert json.loads(bundle.boxc("list", "--format", "json").out) == []


def test_init_on_a_terminal():
    code, out = on_a_terminal([BOX, "run", "-it", "--init", "host", "--", "sh", "-c", "echo fine; exit 3"])
    assert code == 3 and b"fine" in out


def test_exec_on_a_terminal_that_a_background_job_keeps():
    name = f"bg-{os.getpid()}"
    assert run(BOX, "run", "-d", "--name", name, "host", "--", "sleep", "1000").code == 0
    try:
        code, out = on_a_terminal(
            [BOX, "exec", "-t", name, "sh", "-c", 'trap "" HUP; sleep 500 & echo started; exit 4']
        )
        assert code == 4 and b"started" in out
    finally:
        run(BOX, "rm", "-f", name)


def test_a_terminal_that_nobody_reads_does_not_hold_stop():
    name = f"susp-{os.getpid()}"
    pid, master = pty.fork()
    if pid == 0:
        os.execv(BOX, [BOX, "run", "-t", "--name", name, "host", "--", "sh", "-c", "seq 1 1000000; sleep 1000"])
    try:
        while run(BOX, "exec", name, "true").code:
            os.sched_yield()
        os.kill(pid, signal.SIGSTOP)
        assert run(BOX, "stop", "-t", "0", name, timeout=20).code == 0
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)
        run(BOX, "rm", "-f", name)


def test_a_monitor_with_input_that_nobody_takes_sleeps():
    name = f"idle-{os.getpid()}"
    client = subprocess.Popen(
        [BOX, "run", "-i", "--name", name, "host", "--", "sleep", "1000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        os.set_blocking(client.stdin.fileno(), False)
        while run(BOX, "exec", name, "true").code:
            os.sched_yield()
        taken = 0
        while taken < 180_000 and select.select([], [client.stdin], [], 1)[1]:
            taken += os.write(client.stdin.fileno(), b"x" * 4096)
        client.kill()
        client.wait()
        pid = next(row["pid"] for row in json.loads(run(BOX, "ps", "--format", "json").out) if row["name"] == name)
        monitor = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

        def ticks() -> int:
            fields = pathlib.Path(f"/proc/{monitor}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        before = ticks()
        select.select([], [], [], 1.0)
        assert ticks() - before < 20, "it polls in circles"
    finally:
        client.kill()
        client.wait()
        run(BOX, "rm", "-f", name)


def test_names_are_unique_and_found(tmp_path):
    name = f"dup-{os.getpid()}"
    try:
        first = run(BOX, "run", "-d", "--name", name, "host", "--", "sleep", "1000").out.strip()
        again = run(BOX, "run", "-d", "--name", name, "host", "--", "sleep", "1000")
        assert again.code == 125 and f"the name {name} is in use by container {first[:12]}" in again.err, again
        for word in (name, first, first[:12], first[:6]):
            assert run(BOX, "exec", word, "true").code == 0, word
        assert run(BOX, "rm", "-f", name).code == 0
        assert run(BOX, "run", "--name", name, "host", "--", "true").code == 0, "the name is free again"
        assert run(BOX, "run", "--name", "a/b", "host", "--", "true").code == 125
    finally:
        run(BOX, "rm", "-f", name)


def test_detached_with_rm():
    name = f"gone-{os.getpid()}"
    started = run(BOX, "run", "-d", "--rm", "--name", name, "host", "--", "sh", "-c", "exit 3")
    assert started.code == 0, started
    directory = pathlib.Path("/run/boxship") / started.out.strip()[:12]
    end = time.monotonic() + 20
    while directory.exists() and time.monotonic() < end:
        os.sched_yield()
    assert not directory.exists()
    assert (
        run(BOX, "run", "-d", "--rm", "--name", name, "host", "--", "sh", "-c", "read x <&-; sleep 2; exit 3").code == 0
    )
    assert run(BOX, "wait", name).out.strip() == "3", "its record is gone by then, its code is not"
    # What removes it at its end, and rm --force, must not wait for each other.
    assert run(BOX, "run", "-d", "--rm", "--name", name, "host", "--", "sleep", "1000").code == 0
    done = run(BOX, "rm", "-f", name, timeout=30)
    assert done.code == 0 and done.out.strip() == name, done
    assert name not in run(BOX, "ps").out
    assert run(BOX, "run", "-d", "--rm", "--restart", "always", "host", "--", "true").code == 125


def test_rm_force_of_a_foreground_container():
    for at in range(5):
        name = f"fg-{os.getpid()}-{at}"
        client = subprocess.Popen([BOX, "run", "--name", name, "host", "--", "sleep", "1000"], stderr=subprocess.PIPE)
        while run(BOX, "exec", name, "true").code:
            os.sched_yield()
        removed = run(BOX, "rm", "-f", name)
        _, err = client.communicate(timeout=20)
        assert removed.code == 0 and removed.out.strip() == name, removed
        said = [line for line in err.splitlines() if not line.startswith(b"box: warning")]
        assert client.returncode == 137 and not said, (client.returncode, err)


def test_caller_killed_while_it_launches():
    """The monitor's own lock says that it lives, whatever the record lacks."""
    name = f"orphan-{os.getpid()}"
    for delay_ms in (20, 30, 40, 50):
        client = subprocess.Popen(
            [BOX, "run", "--name", name, "host", "--", "sleep", "1000"], stderr=subprocess.DEVNULL
        )
        select.select([], [], [], delay_ms / 1000)
        client.kill()
        client.wait()
        done = run(BOX, "rm", "-f", name)
        assert done.code == 0 or "no such container" in done.err, done
        assert run(BOX, "system", "check", "--repair").code in (0, 1)


def test_a_name_with_a_newline_in_the_exit_record(tmp_path):
    program = tmp_path / "a\nb=oom"
    program.write_text('#!/bin/sh\nrm "$0"\nexit 1\n')
    program.chmod(0o755)
    name = f"nl-{os.getpid()}"
    args = ["--restart", "on-failure:2", "--userns", "host", "-v", f"{tmp_path}:{tmp_path}"]
    assert run(BOX, "run", "-d", "--name", name, *args, "host", "--", program).code == 0
    try:
        run(BOX, "wait", name, timeout=30)
        assert run(BOX, "ps").code == 0
        assert "a?b=oom" in run(BOX, "why", name).out
    finally:
        run(BOX, "rm", "-f", name)
