# SPDX-License-Identifier: Apache-2.0
"""The systemd cgroup driver, with a real systemd: the host's own, or a user's manager started for these tests.

A user's manager speaks the same interface as the system's; its private socket stands where the system's would be.
"""

from __future__ import annotations

import os
import pathlib
import selectors
import socket
import subprocess

import pytest

from support import ended, run

SYSTEMD = pathlib.Path("/lib/systemd/systemd")
PRIVATE = pathlib.Path("/run/systemd/private")
GROUP = "test-manager"
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not SYSTEMD.exists(), reason="needs root and systemd's program")


def test_no_systemd(bundle, tmp_path):
    if PRIVATE.exists():
        pytest.skip("systemd runs here")
    bundle.write()
    done = bundle.boxc("--systemd-cgroup", "run", "--bundle", bundle.path, bundle.id)
    assert done.code == 125 and "systemd does not answer here" in done.err and "cgroupfs" in done.err, done


def mounts(kind: str) -> list[pathlib.Path]:
    """Where the hierarchies of this type are mounted."""
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return [pathlib.Path(line.split()[4]) for line in lines if line.partition(" - ")[2].startswith(kind + " ")]


def remove_groups(name: str) -> None:
    """The manager's own group; on v1 the slices that it does not look after stay, as those of the host would."""
    for mount in [*mounts("cgroup"), *mounts("cgroup2")]:
        for directory, _, _ in os.walk(mount / name, topdown=False):
            os.rmdir(directory)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What a command needs to reach the manager: ``systemctl --user`` asks the same one."""
    if PRIVATE.exists():
        yield dict(os.environ)
        return
    top = tmp_path_factory.mktemp("systemd")
    for name in ("run", "config"):
        (top / name).mkdir(mode=0o700)
    group = mounts("cgroup2")[0] / GROUP
    group.mkdir()
    booted = pathlib.Path("/run/systemd/system")
    made = not booted.exists()
    booted.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(top),
        "XDG_RUNTIME_DIR": str(top / "run"),
        "XDG_CONFIG_HOME": str(top / "config"),
        "NOTIFY_SOCKET": str(top / "notify"),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(top / "log", "wb") as log:
        notify.bind(str(top / "notify"))
        notify.settimeout(60)
        manager = subprocess.Popen(
            ["/bin/sh", "-c", f"echo $$ >{group}/cgroup.procs && exec {SYSTEMD} --user --unit=basic.target"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            PRIVATE.symlink_to(top / "run" / "systemd" / "private")
            yield {key: value for key, value in environment.items() if key != "NOTIFY_SOCKET"}
        finally:
            PRIVATE.unlink(missing_ok=True)
            manager.terminate()
            manager.wait(timeout=60)
            remove_groups(GROUP)
            if made:
                booted.rmdir()


@pytest.fixture
def systemctl(environment):
    """Ask the manager."""
    words = ["--user"] if "XDG_RUNTIME_DIR" in environment else []
    return lambda *argv: run("systemctl", *words, "--no-pager", *argv, env=environment)


def shown(systemctl, unit: str, name: str) -> str:
    return systemctl("show", "--value", "--property", name, unit).out.strip()


@pytest.fixture
def scoped(bundle, environment):
    """A bundle whose cgroups systemd makes."""
    bundle.config["linux"]["cgroupsPath"] = f"boxship-test.slice:test:{bundle.id}"
    bundle.config["linux"].setdefault("resources", {}).update({"pids": {"limit": 50}, "memory": {"limit": 64 << 20}})
    bundle.scope = f"test-{bundle.id}.scope"
    bundle.write()
    return bundle


def create(bundle) -> None:
    with open(bundle.path / "output", "w") as out:
        done = subprocess.run(
            [
                bundle.boxc_path,
                "--root",
                bundle.state_root,
                "--systemd-cgroup",
                "create",
                "--bundle",
                bundle.path,
                bundle.id,
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, (bundle.path / "output").read_text()


def test_life_of_a_scope(scoped, systemctl, nothing_left):
    scoped.config["process"]["args"] = ["/bin/sleep", "1000"]
    scoped.write()
    create(scoped)
    unit, pid = scoped.scope, scoped.state()["pid"]
    assert shown(systemctl, unit, "ActiveState") == "active"
    assert shown(systemctl, unit, "Slice") == "boxship-test.slice"
    assert shown(systemctl, unit, "Delegate") == "yes"
    assert shown(systemctl, unit, "TasksMax") == "50"
    groups = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    ours = [line for line in groups if line.endswith(f"/boxship.slice/boxship-test.slice/{unit}")]
    assert len(ours) >= len(groups) - 1, f"in every hierarchy but systemd's own: {groups}"
    assert scoped.boxc("start", scoped.id).code == 0
    members = (mounts("cgroup2")[0] / ours[-1].split(":", 2)[2].lstrip("/") / "cgroup.procs").read_text().split()
    assert members == [str(pid)], "the process that held the scope has gone"
    assert scoped.boxc("update", "--pids-limit", "33", scoped.id).code == 0
    assert shown(systemctl, unit, "TasksMax") == "33"
    systemctl("daemon-reload")
    stats = scoped.boxc("events", "--stats", scoped.id).out
    assert '"limit":33' in stats.replace(" ", ""), "a daemon-reload leaves the limits"
    assert scoped.boxc("kill", scoped.id, "KILL").code == 0
    ended(pid)
    assert scoped.boxc("delete", scoped.id).code == 0
    assert shown(systemctl, unit, "LoadState") == "not-found"


def test_run_and_annotations(scoped, systemctl):
    scoped.config["annotations"] = {
        "org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.Documentation": "['man:boxc(8)']",
    }
    scoped.config["process"]["args"] = ["/bin/sleep", "1000"]
    scoped.write()
    create(scoped)
    assert shown(systemctl, scoped.scope, "TimeoutStopUSec") == "7s"
    assert shown(systemctl, scoped.scope, "Documentation").strip('"') == "man:boxc(8)"
    assert scoped.boxc("delete", "--force", scoped.id).code == 0
    scoped.config["process"]["args"] = ["/bin/probe", "report"]
    scoped.write()
    done = scoped.boxc("--systemd-cgroup", "run", "--bundle", scoped.path, scoped.id)
    assert done.code == 0, done
    assert shown(systemctl, scoped.scope, "LoadState") == "not-found"


def test_a_unit_of_that_name(scoped, systemctl, environment):
    user = ["--user"] if "XDG_RUNTIME_DIR" in environment else []
    held = subprocess.Popen(
        ["systemd-run", *user, "--scope", f"--unit={scoped.scope}", "sleep", "1000"],
        env=environment,
        stderr=subprocess.PIPE,
    )
    try:
        assert b"Running scope" in held.stderr.readline()
        done = scoped.boxc("--systemd-cgroup", "run", "--bundle", scoped.path, scoped.id)
        assert done.code != 0 and "already" in done.err, done
        assert held.poll() is None, "the stranger lives"
    finally:
        systemctl("stop", scoped.scope)
        held.wait(timeout=30)


def test_failures_leave_no_unit(scoped, systemctl, nothing_left):
    scoped.config["process"]["args"] = ["/no/such/program"]
    scoped.write()
    done = scoped.boxc("--systemd-cgroup", "run", "--bundle", scoped.path, scoped.id)
    assert done.code == 127, done
    assert shown(systemctl, scoped.scope, "LoadState") == "not-found"
    scoped.config["annotations"] = {"org.systemd.property.NoSuchThing": "'x'"}
    scoped.write()
    done = scoped.boxc("--systemd-cgroup", "run", "--bundle", scoped.path, scoped.id)
    assert done.code == 125 and "NoSuchThing" in done.err, done
    scoped.config["linux"]["cgroupsPath"] = "/not/a/scope"
    scoped.write()
    done = scoped.boxc("--systemd-cgroup", "run", "--bundle", scoped.path, scoped.id)
    assert done.code == 125 and "SLICE:PREFIX:NAME" in done.err, done


def test_kill_minus_nine_of_create(scoped, systemctl, environment):
    """Whatever moment create dies at, delete --force finds what there is."""
    scoped.config["process"]["args"] = ["/bin/sleep", "1000"]
    scoped.write()
    for delay_ms in (5, 15, 25, 35, 45, 55, 65, 80):
        with open(scoped.path / "output", "w") as out:
            child = subprocess.Popen(
                [
                    scoped.boxc_path,
                    "--root",
                    scoped.state_root,
                    "--systemd-cgroup",
                    "create",
                    "--bundle",
                    scoped.path,
                    scoped.id,
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        selectors.DefaultSelector().select(delay_ms / 1000)
        child.kill()
        child.wait()
        done = scoped.boxc("delete", "--force", scoped.id)
        assert done.code == 0, done
        assert shown(systemctl, scoped.scope, "LoadState") == "not-found", delay_ms
