# SPDX-License-Identifier: Apache-2.0
"""Nothing is left behind: a failure at every step of the plan, and kill -9 at random moments."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import subprocess
import time

import pytest

from boxship.errors import BoxshipError
from boxship.plan import steps as s
from boxship.plan.wire import Planned
from boxship.runtime import create as creating
from boxship.runtime import launch
from boxship.runtime.options import Options
from boxship.runtime.state import Store
from boxship.spec.request import Request
from support import BIN, traces

pytestmark = pytest.mark.usefixtures("nothing_left")

#: a step that the kernel always refuses
BROKEN = s.Open(30, "/nonexistent/injected-failure", 0)


class Broken(launch.Launcher):
    """A launcher that puts a failing step at a given place."""

    at = 0
    length = 0

    def __init__(self, plan, slots, **more):
        type(self).length = len(plan)
        line = plan[self.at] if self.at < len(plan) else plan[-1]
        super().__init__([*plan[: self.at], Planned(line.side, BROKEN), *plan[self.at :]], slots, **more)


@pytest.fixture(autouse=True)
def warm():
    """A process that launches more than once keeps one descriptor of the sealed boxmon: it is no leak."""
    launch._program()
    launch._program()


def open_descriptors() -> set[str]:
    return {
        f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}"
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    }


def test_failure_at_every_step_of_a_bundle(bundle, monkeypatch):
    bundle.config["process"]["args"] = ["/bin/sleep", "1000"]
    bundle.write()
    store = Store(str(bundle.state_root))
    options = Options(bundle=str(bundle.path))
    monkeypatch.setattr(creating, "Launcher", Broken)
    before, descriptors = traces(), open_descriptors()
    at = 0
    while True:
        Broken.at = at
        name = f"{bundle.id}-{at}"
        # After the barrier nothing runs in create: the last steps belong to start.
        with contextlib.suppress(BoxshipError):
            creating.create(store, name, options)
            from boxship.runtime import lifecycle

            lifecycle.delete(store, name, force=True)
        assert store.names() == []
        at += 1
        if at > Broken.length:
            break
    assert at > 60
    after = traces()
    assert {k: after[k] - before[k] for k in after if after[k] - before[k]} == {}
    assert open_descriptors() == descriptors


def test_failure_at_every_step_of_run_host(monkeypatch):
    from boxship.engine import containers, host

    monkeypatch.setattr(host, "Launcher", Broken)
    before, descriptors = traces(), open_descriptors()
    failures, at = 0, 0
    while True:
        Broken.at = at
        drawn = host.draw(Request(["true"], detach=True, remove=False))
        try:
            started = host.start(drawn)
        except BoxshipError as error:
            failures += 1
            assert "injected-failure" in str(error), error
        else:
            os.close(started.client)
            started.reap()
            containers.remove(drawn.launch.id, force=True)
        at += 1
        if at > Broken.length:
            break
    assert failures > 50
    after = traces()
    assert {k: after[k] - before[k] for k in after if after[k] - before[k]} == {}
    assert open_descriptors() == descriptors


def test_kill_of_caller_monitor_and_container_at_random_moments():
    """As many moments as BOXSHIP_KILLS says (the whole run is 200); afterwards `box system check --repair` leaves nothing."""
    seed = int(os.environ.get("BOXSHIP_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    print(f"BOXSHIP_SEED={seed}")
    dice = random.Random(seed)
    for _ in range(int(os.environ.get("BOXSHIP_KILLS", "60"))):
        kill_once(dice)
        # Without any repair the next start must work.
        if dice.random() < 0.2:
            assert (
                subprocess.run(
                    [BIN / "box", "run", "host", "--", "true"], capture_output=True, timeout=60, check=False
                ).returncode
                == 0
            )
    repaired = subprocess.run(
        [BIN / "box", "system", "check", "--repair"], capture_output=True, text=True, timeout=120, check=False
    )
    assert repaired.returncode == 0, repaired
    clean = subprocess.run([BIN / "box", "system", "check"], capture_output=True, text=True, timeout=60, check=False)
    assert clean.stdout == "nothing is left behind\n", clean


def kill_once(dice: random.Random) -> None:
    """Start a container, wait for a random time, kill one of the three."""
    victim = dice.choice(["caller", "boxmon", "container"])
    caller = subprocess.Popen([BIN / "box", "run", "host", "--", "sleep", "0.05"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    time.sleep(dice.uniform(0.0, 0.12))  # the moment is what is being drawn
    pid = caller.pid if victim == "caller" else descendant(caller.pid, victim)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    try:
        caller.wait(timeout=30)
    except subprocess.TimeoutExpired:
        caller.kill()
        raise


def descendant(pid: int, which: str) -> int:
    """boxmon is the caller's child, the container's first process is boxmon's."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
        child = int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return child if which == "boxmon" else descendant(child, "boxmon")
    return 0


def test_boxc_create_killed_at_random_moments(bundle):
    dice = random.Random(7)
    bundle.config["process"]["args"] = ["/bin/sleep", "1000"]
    bundle.write()
    for n in range(20):
        name = f"{bundle.id}-{n}"
        process = subprocess.Popen([bundle.boxc_path, "--root", bundle.state_root, "create", "--bundle", bundle.path, name],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(dice.uniform(0.0, 0.08))
        process.kill()
        process.wait()
        done = bundle.boxc("delete", "--force", name)
        assert done.code == 0, done
