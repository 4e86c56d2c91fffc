# SPDX-License-Identifier: Apache-2.0
"""``box run host`` and ``box limit``: the main job, and the monitor behind it."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import re
import select
import subprocess
import time

import pytest

from support import BIN

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_the_hosts_files_copy_on_write(box, tmp_path):
    done = box(
        "run",
        "host",
        "--",
        "sh",
        "-c",
        "id -u; cat /etc/hostname; echo changed > /etc/hostname; cat /etc/hostname; ls /usr/bin | wc -l",
    )
    lines = done.out.split()
    assert lines[0] == "0"
    assert lines[-2] == "changed"
    assert pathlib.Path("/etc/hostname").read_text().strip() == lines[1]
    assert int(lines[-1]) == len(os.listdir("/usr/bin"))


def test_secure_unless_told_otherwise(box, probe):
    done = box("run", "-v", f"{probe}:/probe:ro", "host", "--", "/probe", "report")
    assert done.code == 0, done
    status = dict(line.split(":\t") for line in done.values("status") if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"].strip() == "2"
    assert int(status["CapEff"], 16) & (1 << 21 | 1 << 12 | 1 << 19) == 0
    assert {line.split()[0].rstrip(":") for line in done.values("netdev")[2:]} == {"lo"}
    if "cannot be idmapped" not in done.err:
        assert done.value("uid_map").split()[1] != "0", "root in there is nobody out here"
    assert [line.split(" ")[0] for line in done.values("fd")] == ["0", "1", "2"]


def test_limits(box, probe):
    volume = f"{probe}:/probe:ro"
    done = box(
        "run", "-v", volume, "-m", "64m", "--pids-limit", "10", "--cpus", "0.5", "host", "--", "/probe", "fork", "100"
    )
    assert done.value("forked") == "9"
    done = box("run", "-v", volume, "-m", "32m", "host", "--", "/probe", "alloc", "200")
    assert done.code == 137
    before = time.monotonic()
    assert box("run", "--timeout", "300ms", "host", "--", "sleep", "100").code == 137
    assert time.monotonic() - before < 20


def test_flags(box, tmp_path):
    (tmp_path / "env").write_text("# comment\nFROM_FILE=1\n")
    done = box(
        "run", "-e", "A=b c", "--env-file", tmp_path / "env", "-w", "/usr", "-u", "nobody", "-h", "myhost", "--tmpfs", "/opt:size=1m",
        "-v", f"{tmp_path}:/mnt/here:ro", "--ulimit", "nofile=77", "--shm-size", "3m", "host", "--",
        "sh", "-c", "pwd; id -un; hostname; echo $A $FROM_FILE; touch /mnt/here/x || echo ro; ulimit -n; df -k /dev/shm /opt | tail -2",
    )  # fmt: skip
    lines = done.out.splitlines()
    assert lines[:6] == ["/usr", "nobody", "myhost", "b c 1", "ro", "77"]
    assert [line.split()[1] for line in lines[6:8]] == ["3072", "1024"]


def test_read_only_and_keep(box, tmp_path):
    assert "Read-only file system" in box("run", "--read-only", "host", "--", "touch", "/etc/x").err
    os.chmod(tmp_path, 0o755)
    keep = tmp_path / "keep"
    keep.mkdir()
    assert box("run", "--keep", keep, "host", "--", "sh", "-c", "echo kept > /etc/boxship-kept").code == 0
    assert (keep / "upper" / "etc" / "boxship-kept").read_text() == "kept\n"
    assert box("run", "--keep", keep, "host", "--", "cat", "/etc/boxship-kept").out == "kept\n"
    assert not os.path.exists("/etc/boxship-kept")


def test_streams_and_exit_code(box):
    done = box("run", "-i", "host", "--", "sh", "-c", "cat; echo err >&2; exit 5", stdin="some input\n")
    assert (done.code, done.out, done.err.splitlines()[-1]) == (5, "some input\n", "err")
    assert box("run", "host", "--", "cat", stdin="not passed on").out == ""
    assert box("run", "--init", "host", "--", "sh", "-c", "kill -TERM $$").code == 143


def test_network(box):
    own = sorted(os.listdir("/sys/class/net"))
    seen = box("run", "--network", "host", "host", "--", "cat", "/proc/net/dev").out
    assert all(f"{name}:" in seen for name in own)


def test_privileged_and_capabilities(box, probe):
    volume = f"{probe}:/probe:ro"
    assert (
        box("run", "-v", volume, "--cap-add", "SYS_ADMIN", "host", "--", "/probe", "mount", "tmpfs", "/mnt").out
        == "mount: ok\n"
    )
    assert box("run", "-v", volume, "host", "--", "/probe", "mount", "tmpfs", "/mnt").out == "mount: EPERM\n"
    assert (
        box("run", "-v", volume, "--privileged", "host", "--", "/probe", "mount", "tmpfs", "/mnt").out == "mount: ok\n"
    )
    done = box("run", "-v", volume, "--cap-drop", "ALL", "host", "--", "/probe", "report")
    assert int(dict(line.split(":\t") for line in done.values("status") if line.startswith("Cap"))["CapBnd"], 16) == 0


def test_explain_changes_nothing_and_trace_tells_times(box):
    done = box("run", "--explain", "host", "--", "true")
    assert re.search(r"^ +\d+ +monitor +clone3\(", done.out, re.M)
    assert done.out.rstrip().splitlines()[-1].endswith(tuple("0123456789abcdef"))
    steps = json.loads(box("run", "--explain", "--format", "json", "host", "--", "true").out)
    assert {step["side"] for step in steps} == {"engine", "monitor", "child"}
    traced = box("run", "--trace", "host", "--", "true")
    assert traced.code == 0
    assert len(re.findall(r"\d+\.\d µs", traced.err)) > 50


def test_detached_life(box):
    full = box("run", "-d", "host", "--", "sh", "-c", "echo first; echo second >&2; read line; echo never").out.strip()
    short = full[:12]
    try:
        rows = json.loads(box("ps", "--format", "json").out)
        assert [row["status"] for row in rows if row["id"] == short] == ["exited"], "standard input is closed"
        logs = box("logs", short)
        assert (logs.out, logs.err) == ("first\nnever\n", "second\n")
        assert box("logs", "--tail", "1", short).out + box("logs", "--tail", "1", short).err
        assert box("wait", short).out == "0\n"
        assert "exited with code 0" in box("why", short).out
    finally:
        assert box("rm", "--force", short).code == 0


def test_stop_kill_exec(box):
    short = box("run", "-d", "--init", "host", "--", "sleep", "1000").out.strip()[:12]
    try:
        assert box("exec", short, "--", "sh", "-c", "cat /proc/1/comm").out == "boxmon\n"
        assert "is running" in box("rm", short).err
        before = time.monotonic()
        assert box("stop", "-t", "20", short).code == 0
        assert time.monotonic() - before < 15, "init passes the stop signal on"
        assert box("wait", short).out == "143\n"
    finally:
        box("rm", "--force", short)


def test_init_reaps(box, probe):
    done = box(
        "run",
        "--init",
        "-v",
        f"{probe}:/probe:ro",
        "host",
        "--",
        "sh",
        "-c",
        "/probe orphans 5; sleep 0.2; /probe orphans 0",
    )
    assert done.values("zombies")[-1] == "0"


def test_restart_policy(box, tmp_path):
    os.chmod(tmp_path, 0o777)
    short = box(
        "run",
        "-d",
        "--restart",
        "on-failure:2",
        "-v",
        f"{tmp_path}:/count",
        "host",
        "--",
        "sh",
        "-c",
        "echo x >> /count/runs; exit 3",
    )
    short = short.out.strip()[:12]
    try:
        assert box("wait", short).out == "3\n"
        assert (tmp_path / "runs").read_text() == "x\nx\nx\n"
    finally:
        box("rm", "--force", short)


def test_oom_is_told(box, probe):
    short = box(
        "run", "-d", "-m", "32m", "-v", f"{probe}:/probe:ro", "host", "--", "/probe", "alloc", "200"
    ).out.strip()[:12]
    try:
        assert box("wait", short).out == "137\n"
        assert "memory limit was reached" in box("why", short).out
    finally:
        box("rm", "--force", short)


def test_much_output_through_the_monitor(probe):
    """Nothing is lost and nothing piles up."""
    amount = 256 << 20
    master, slave = pty.openpty()  # a terminal on one stream makes box use pipes
    done = subprocess.Popen(
        [BIN / "box", "run", "-v", f"{probe}:/probe:ro", "host", "--", "/probe", "output", str(amount)],
        stdin=slave, stdout=subprocess.PIPE,
    )  # fmt: skip
    import hashlib

    seen, size = hashlib.sha256(), 0
    while part := done.stdout.read(1 << 20):
        seen.update(part)
        size += len(part)
    assert done.wait() == 0
    os.close(master)
    os.close(slave)
    block = (b"0123456789abcdefghijklmnopqrstuvwxyz\n" * 1772)[:65536]
    wanted = hashlib.sha256()
    for _ in range(amount // 65536):
        wanted.update(block)
    assert (size, seen.hexdigest()) == (amount, wanted.hexdigest())


def drive(argv: list[str], script: list[tuple[str, bytes]], timeout: float = 30) -> tuple[str, int]:
    """Run a command on a terminal: wait for a text, type something."""
    master, slave = pty.openpty()
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    text, end = "", time.monotonic() + timeout
    try:
        while time.monotonic() < end:
            if script and script[0][0] in text:
                os.write(master, script.pop(0)[1])
            if not select.select([master], [], [], 1)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            text += part.decode(errors="replace")
        return text, process.wait(timeout=10)
    finally:
        os.close(master)
        if process.poll() is None:
            process.kill()


def test_terminal_and_detach(box):
    text, code = drive([str(BIN / "box"), "run", "-it", "--name", "boxship-term", "host", "--", "sh"],
                       [("#", b"tty; stty size; echo done-$((1+1))\n"), ("done-2", b"\x10\x11")])  # fmt: skip
    assert "/dev/pts/0" in text or "/dev/console" in text
    assert "detached" in text
    assert code == 0
    try:
        text, code = drive(
            [str(BIN / "box"), "attach", "boxship-term"], [("", b"echo again-$((2+3))\n"), ("again-5", b"exit 4\n")]
        )
        assert code == 4, text
    finally:
        box("rm", "--force", "boxship-term")


def test_monitor_is_small_and_idle(box):
    ids = [box("run", "-d", "host", "--", "sleep", "1000").out.strip()[:12] for _ in range(2)]
    try:
        pids = [int(pathlib.Path(f"/run/boxship/{one}/pid").read_text().split()[0]) for one in ids]
        for pid in pids:
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            private = sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", rollup, re.M))
            assert private <= 150, rollup
        time.sleep(0.5)  # let the start settle
        switches = [voluntary(pid) for pid in pids]
        time.sleep(1)  # that nothing happens can only be seen by waiting
        assert switches == [voluntary(pid) for pid in pids]
    finally:
        for one in ids:
            box("rm", "--force", one)


def voluntary(pid: int) -> str:
    return re.search(r"^voluntary_ctxt_switches:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1]


def test_limit(box, probe):
    done = box("limit", "-m", "32m", "--", probe, "alloc", "200")
    assert done.code == 137
    assert "memory limit was reached" in done.err
    assert box("limit", "--pids-limit", "12", "--", probe, "fork", "100").value("forked") == "11"
    assert box("limit", "--timeout", "200ms", "--", "sleep", "100").code == 137
    assert box("limit", "--", "sh", "-c", "exit 8").code == 8
    assert box("limit", "--", "pwd", cwd="/usr/bin").out == "/usr/bin\n"


def test_check_finds_and_repairs(box):
    short = box("run", "-d", "host", "--", "sleep", "1000").out.strip()[:12]
    monitor = int(pathlib.Path(f"/run/boxship/{short}/pid").read_text().split()[0])
    fd = os.pidfd_open(monitor)
    os.kill(monitor, 9)
    select.select([fd], [], [], 10)
    os.close(fd)
    found = box("system", "check")
    assert found.code == 1
    assert "its monitor is gone" in found.out
    assert box("system", "check", "--repair").code == 0
    assert box("system", "check").out == "nothing is left behind\n"


def test_what_is_kept_on_purpose_is_not_left_over(box):
    short = box("run", "-d", "host", "--", "true").out.strip()[:12]
    try:
        assert box("wait", short).out == "0\n"
        assert box("system", "check").out == "nothing is left behind\n"
    finally:
        box("rm", "--force", short)


def test_other_disks_are_there_copy_on_write(tmp_path):
    """A second file system, mounted below / in a mount namespace of the test's own."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", image], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    script = f"""
        mount -o loop {image} /srv || exit 77
        echo from the disk > /srv/file
        {BIN}/box run host -- sh -c 'cat /srv/file; echo changed > /srv/file; cat /srv/file'
        cat /srv/file
        umount /srv
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode == 77:
        pytest.skip(f"no loop devices here: {done.stderr.strip()}")
    assert done.stdout == "from the disk\nchanged\nfrom the disk\n", done.stderr
