# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the commands, a probe binary, root file systems, bundles, and a look at what is left behind."""

from __future__ import annotations

import copy
import os
import pathlib
import subprocess

import pytest

from support import BIN, HERE, Bundle, make_rootfs, run, traces


@pytest.fixture(scope="session")
def boxc_path() -> str:
    return str(BIN / "boxc")


@pytest.fixture(scope="session")
def boxc(boxc_path: str):
    """Run ``boxc``."""
    return lambda *argv, **more: run(boxc_path, *argv, **more)


@pytest.fixture(scope="session")
def box():
    """Run ``box``."""
    return lambda *argv, **more: run(BIN / "box", *argv, **more)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The probe, static."""
    built = os.environ.get("BOXSHIP_PROBE")
    if built:
        return pathlib.Path(built)
    path = tmp_path_factory.mktemp("probe") / "probe"
    subprocess.run(
        ["gcc", "-O1", "-static", "-Wall", "-Wextra", "-Werror", "-o", path, HERE / "probe" / "probe.c"], check=True
    )
    return path


@pytest.fixture
def rootfs(tmp_path: pathlib.Path, probe: pathlib.Path) -> pathlib.Path:
    """A small root file system."""
    path = make_rootfs(tmp_path / "rootfs", probe)
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        if parent.stat().st_uid == os.geteuid() and str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return path


@pytest.fixture
def config() -> dict:
    """A plain configuration: what ``boxc spec`` writes, without terminal, with a writable root."""
    from boxship.spec.template import default_spec

    found = copy.deepcopy(default_spec())
    found["process"]["terminal"] = False
    found["root"]["readonly"] = False
    found["process"]["args"] = ["/bin/probe", "report"]
    return found


@pytest.fixture
def bundle(tmp_path: pathlib.Path, rootfs: pathlib.Path, config: dict, boxc_path: str):
    """A bundle with the small root file system; its container is deleted afterwards."""
    made = Bundle(tmp_path, config, boxc_path)
    yield made
    made.boxc("delete", "--force", made.id)


@pytest.fixture
def nothing_left():
    """Fail when the test leaves a mount, cgroup, link, directory or process behind."""
    before = traces()
    yield
    after = traces()
    left = {kind: sorted(after[kind] - before[kind]) for kind in after if after[kind] - before[kind]}
    assert not left, f"left behind: {left}"
