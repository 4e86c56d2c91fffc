# SPDX-License-Identifier: Apache-2.0
"""Engines that nobody here wrote, with boxc as their runtime: started for the tests, gone afterwards."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import time

import pytest

from support import BIN, Done, make_rootfs, run


@pytest.fixture(scope="session")
def image_tar(tmp_path_factory: pytest.TempPathFactory, probe: pathlib.Path) -> pathlib.Path:
    """A root file system as a tar archive, for `import`. The dynamic busybox is not needed here."""
    base = tmp_path_factory.mktemp("image")
    rootfs = make_rootfs(base / "rootfs", probe)
    path = base / "rootfs.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(rootfs, arcname=".", filter=lambda member: member.replace(uid=0, gid=0, deep=False))
    return path


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory, image_tar: pathlib.Path):
    """podman with storage of its own and boxc as its runtime."""
    base = tmp_path_factory.mktemp("podman")
    # podman 4.3 raises nofile to a million unless told otherwise; without CAP_SYS_RESOURCE that cannot be.
    (base / "containers.conf").write_text('[containers]\ndefault_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]\n')
    environment = dict(os.environ, CONTAINERS_CONF=str(base / "containers.conf"))
    common = ["podman", "--root", base / "root", "--runroot", base / "run", "--tmpdir", base / "tmp", "--runtime", BIN / "boxc",
              "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--log-level", "error"]  # fmt: skip

    def call(*argv: object, **more: object) -> Done:
        return run(*common, *argv, env=environment, **more)

    done = call("import", image_tar, "localhost/probe")
    assert done.code == 0, done
    yield call
    call("rm", "--all", "--force", "--time", "0")
    call("rmi", "--all", "--force")
    for mount in reversed([line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]):
        if mount.startswith(str(base)):
            subprocess.run(["umount", "-l", mount], check=False)
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory, image_tar: pathlib.Path):
    """A dockerd of the tests' own, with boxc as a runtime; its network, cgroups and files are its own too."""
    base = tmp_path_factory.mktemp("docker")
    socket = f"unix://{base}/docker.sock"
    log = (base / "log").open("wb")
    daemon = subprocess.Popen(
        ["dockerd", "--data-root", base / "root", "--exec-root", base / "exec", "--pidfile", base / "pid", "-H", socket,
         "--add-runtime", f"boxc={BIN / 'boxc'}", "--bridge", "none", "--iptables=false", "--storage-driver", "overlay2",
         "--exec-opt", "native.cgroupdriver=cgroupfs"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip

    def call(*argv: object, **more: object) -> Done:
        return run("docker", "-H", socket, *argv, **more)

    try:
        for _ in range(300):
            if call("version").code == 0:
                break
            assert daemon.poll() is None, (base / "log").read_text()[-2000:]
            time.sleep(0.1)  # dockerd gives no other sign than its socket's answer
        done = call("import", image_tar, "probe")
        assert done.code == 0, done
        yield call
    finally:
        ids = call("ps", "-aq").out.split()
        if ids:
            call("rm", "--force", *ids)
        os.killpg(daemon.pid, signal.SIGTERM)
        try:
            daemon.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()
        for mount in reversed([line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]):
            if mount.startswith(str(base)):
                subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(base, ignore_errors=True)
