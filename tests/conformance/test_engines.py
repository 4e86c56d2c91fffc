# SPDX-License-Identifier: Apache-2.0
"""A smoke suite for podman and docker with boxc as their runtime: run, -it, exec, kill, pause, update, stats, OOM, --init,
user namespaces, read-only, logs, wait codes, volumes."""

from __future__ import annotations

import json
import os
import pathlib
import time
import uuid

import pytest

pytestmark = pytest.mark.conformance
IMAGES = {"podman": "localhost/probe", "docker": "probe"}


class Engine:
    """One of the two, spoken to in the words that they share."""

    def __init__(self, name: str, call) -> None:
        self.name, self.call, self.image = name, call, IMAGES[name]
        self.runtime = ["--runtime", "boxc"] if name == "docker" else []

    def run(self, *argv: object, **more: object):
        split = argv.index("--")
        return self.call(
            "run", *self.runtime, "--network", "none", *argv[:split], self.image, *argv[split + 1 :], **more
        )

    def start(self, *argv: object) -> str:
        done = self.run("-d", *argv)
        assert done.code == 0, done
        return done.out.strip()


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(request.param, request.getfixturevalue(request.param))


@pytest.fixture
def running(engine: Engine):
    """A container that sleeps."""
    name = engine.start("--", "/bin/sleep", "1000")
    yield name
    engine.call("rm", "--force", name)


def test_run(engine):
    done = engine.run("--rm", "--hostname", "inside", "--", "/bin/probe", "report")
    assert done.code == 0, done
    assert (done.value("pid"), done.value("hostname")) == ("1", "inside")
    assert "Seccomp:\t2" in done.values("status")
    assert [line.split(" ")[0] for line in done.values("fd")] == ["0", "1", "2"]


def test_exit_codes(engine):
    assert engine.run("--rm", "--", "/bin/probe", "exit", "7").code == 7
    missing = engine.run("--rm", "--", "nonesuch")
    assert missing.code == 127, missing
    assert engine.run("--rm", "--", "/etc").code == 126
    assert engine.run("--rm", "--", "/bin/sh", "-c", "kill -9 $$; exit 3").code in (3, 137)


def test_stdin(engine):
    assert engine.run("--rm", "-i", "--", "/bin/cat", stdin="through\n").out == "through\n"


def test_terminal(engine):
    done = engine.run("--rm", "-t", "--", "/bin/sh", "-c", "test -t 0 && test -t 1 && stty size && echo a terminal")
    assert done.code == 0, done
    assert "a terminal" in done.out


def test_exec(engine, running):
    done = engine.call("exec", "--user", "1000:1000", "--workdir", "/tmp", "-e", "A=b", running, "/bin/probe", "report")
    assert done.code == 0, done
    assert (done.value("uid"), done.value("cwd")) == ("1000", "/tmp")
    assert "A=b" in done.values("env")
    assert engine.call("exec", running, "/bin/probe", "exit", "4").code == 4
    assert engine.call("exec", running, "nonesuch").code in (126, 127)
    assert engine.call("exec", "-t", running, "/bin/sh", "-c", "test -t 1 && echo yes").out.strip() == "yes"
    assert engine.call("exec", "-i", running, "/bin/cat", stdin="in\n").out == "in\n"


def test_kill_and_wait(engine, running):
    assert engine.call("kill", "--signal", "KILL", running).code == 0
    assert engine.call("wait", running).out.strip() == "137"


def test_stop_by_signal(engine):
    name = engine.start("--", "/bin/probe", "trap", "15")
    for _ in range(100):
        if "ready" in engine.call("logs", name).out:
            break
        time.sleep(0.05)  # logs have no event
    assert engine.call("stop", name).code == 0
    assert "caught: 15" in engine.call("logs", name).out
    engine.call("rm", "--force", name)


def test_pause(engine, running):
    assert engine.call("pause", running).code == 0
    assert "paused" in engine.call("inspect", "--format", "{{.State.Status}}", running).out
    assert engine.call("unpause", running).code == 0
    assert engine.call("exec", running, "/bin/true").code == 0


def test_update(engine, running):
    if engine.name == "podman":
        assert engine.call("update", "--memory", "64m", "--pids-limit", "44", running).code == 0 or podman_is_old(
            engine
        )
        return
    assert engine.call("update", "--memory", "64m", "--memory-swap", "64m", "--pids-limit", "44", running).code == 0
    pid = engine.call("inspect", "--format", "{{.State.Pid}}", running).out.strip()
    group = next(
        line.split(":")[2]
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().split()
        if ":pids:" in line or line.startswith("0::")
    )
    found = [
        p for p in (f"/sys/fs/cgroup/pids{group}/pids.max", f"/sys/fs/cgroup{group}/pids.max") if os.path.exists(p)
    ]
    assert pathlib.Path(found[0]).read_text().strip() == "44"


def podman_is_old(engine) -> bool:
    """`podman update` came with 4.4 for cgroup v1."""
    return "4.3" in engine.call("--version").out


def test_stats_and_top(engine, running):
    done = engine.call("stats", "--no-stream", "--format", "{{.PIDs}}", running)
    assert done.code == 0, done
    assert done.out.strip().splitlines()[-1] == "1"
    assert "sleep" in engine.call("top", running).out


def test_out_of_memory(engine):
    name = f"boxship-test-{uuid.uuid4().hex[:8]}"
    done = engine.run("--name", name, "--memory", "32m", "--memory-swap", "32m", "--", "/bin/probe", "alloc", "200")
    assert done.code == 137, done
    if engine.name == "docker":  # conmon's own watch on cgroup v1 says false here, with runc as with boxc
        assert engine.call("inspect", "--format", "{{.State.OOMKilled}}", name).out.strip() == "true"
    engine.call("rm", "--force", name)


def test_limits(engine):
    done = engine.run("--rm", "--pids-limit", "20", "--", "/bin/probe", "fork", "100")
    assert int(done.value("forked")) < 20
    done = engine.run("--rm", "--ulimit", "nofile=64:128", "--ulimit", "core=0", "--", "/bin/probe", "report")
    assert {"nofile 64 128", "core 0 0"} <= set(done.values("rlimit"))


def test_init(engine):
    if engine.name == "podman" and not os.path.exists("/usr/libexec/podman/catatonit"):
        assert engine.run("--rm", "--init", "--", "/bin/true").code != 0, "podman brings no init here, and says so"
        return
    done = engine.run(
        "--rm",
        "--init",
        "--",
        "/bin/sh",
        "-c",
        "cat /proc/1/cmdline | head -c 40; echo; probe orphans 3; sleep 0.3; probe orphans 0",
    )
    if "docker-init" in done.err:
        pytest.skip("docker brings no init here")
    assert done.values("zombies")[-1] == "0"


def test_read_only_and_tmpfs(engine):
    done = engine.run(
        "--rm",
        "--read-only",
        "--tmpfs",
        "/scratch",
        "--",
        "/bin/sh",
        "-c",
        "probe open /new wc; probe open /scratch/new wc",
    )
    assert done.out.split() == ["open:", "EROFS", "open:", "ok"]


def test_volume(engine, tmp_path):
    (tmp_path / "file").write_text("shared")
    done = engine.run(
        "--rm", "-v", f"{tmp_path}:/mnt:ro", "--", "/bin/sh", "-c", "cat /mnt/file; probe open /mnt/new wc"
    )
    assert done.out == "sharedopen: EROFS\n"


def test_capabilities(engine):
    done = engine.run("--rm", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--", "/bin/probe", "report")
    sets = dict(line.split(":\t") for line in done.values("status") if line.startswith("Cap"))
    assert int(sets["CapBnd"], 16) == 1 << 12
    assert engine.run("--rm", "--privileged", "--", "/bin/probe", "mount", "tmpfs", "/mnt").out == "mount: ok\n"


def test_user_namespace(engine):
    if engine.name == "docker":
        pytest.skip("dockerd maps users for the whole daemon only: --userns-remap")
    done = engine.run("--rm", "--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536", "--", "/bin/probe", "report")
    assert done.code == 0, done
    assert done.value("uid_map").split() == ["0", "200000", "65536"]


def test_user_sysctl_and_workdir(engine):
    done = engine.run(
        "--rm",
        "--user",
        "1000:1000",
        "--workdir",
        "/new/dir" if engine.name == "docker" else "/home",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--",
        "/bin/probe",
        "report",
    )
    assert (done.value("uid"), done.value("cwd")) == ("1000", "/new/dir" if engine.name == "docker" else "/home")
    assert int(dict(line.split(":\t") for line in done.values("status") if line.startswith("Cap"))["CapEff"], 16) == 0


def test_logs_follow(engine):
    name = engine.start("--", "/bin/sh", "-c", "for i in 1 2 3; do echo line $i; done")
    engine.call("wait", name)
    assert engine.call("logs", name).out == "line 1\nline 2\nline 3\n"
    engine.call("rm", "--force", name)


def test_share_namespaces(engine, running):
    done = engine.call("run", *engine.runtime, "--rm", "--network", f"container:{running}", "--pid", f"container:{running}", engine.image,
                       "/bin/sh", "-c", "ps")  # fmt: skip
    assert done.code == 0, done
    assert "sleep 1000" in done.out


def test_inspect_and_list(engine, running):
    found = json.loads(engine.call("inspect", running).out)[0]
    assert found["State"]["Running"] is True
    assert running[:12] in engine.call("ps", "--quiet").out
