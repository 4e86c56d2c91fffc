# SPDX-License-Identifier: Apache-2.0
"""``box bench startup``: from the call to the exit of ``true``, and the clean-up, for every engine that is here.

The floor is ``bare.c``: the same clone3, overlay, mounts, devices, pivot_root and exec, and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile

from boxship.bench import measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.bench.measure import Contender

_TRUE = "int main(void) { return 0; }\n"
BASE = "bare C"


def run(rounds: int) -> list[dict[str, object]]:
    """Measure and return the rows."""
    with tempfile.TemporaryDirectory(prefix="boxship-bench-") as scratch:
        os.chmod(scratch, 0o755)
        program = _compile(scratch)
        contenders = {BASE: _bare(scratch, program), **_library(program), **_commands(scratch, program)}
        times = measure.interleave(contenders, rounds)
    return measure.rows(times, BASE)


def _compile(scratch: str) -> str:
    """The floor, and a static ``true``: what is measured is the start, not a dynamic loader."""
    source = os.path.join(os.path.dirname(__file__), "bare.c")
    subprocess.run(["gcc", "-O2", "-o", f"{scratch}/bare", source], check=True)
    subprocess.run(["gcc", "-O2", "-static", "-x", "c", "-o", f"{scratch}/true", "-"], input=_TRUE.encode(), check=True)
    return f"{scratch}/true"


def _bare(scratch: str, program: str) -> Contender:
    def once() -> float:
        done = subprocess.run([f"{scratch}/bare", "1", scratch, program], check=True, capture_output=True)
        return int(done.stdout) / 1e9

    return once


def _library(program: str) -> dict[str, Contender]:
    """A warm process: own network namespace, all cgroups, overlay; with and without a user namespace of its own."""
    from boxship.engine import host
    from boxship.spec.request import Request

    def once(userns: str) -> None:
        code = host.run(Request([program], userns=userns))
        if code:
            raise RuntimeError(f"the container ended with {code}")

    return {"library, --userns host": lambda: once("host"), "library": lambda: once("auto")}


def _commands(scratch: str, program: str) -> dict[str, Contender]:
    own = os.path.dirname(sys.executable)
    found: dict[str, Contender] = {"box run host": _command([f"{own}/box", "run", "host", "--", program])}
    bundle = _bundle(scratch, program)
    for name, path in (
        ("boxc run", f"{own}/boxc"),
        ("runc run", shutil.which("runc")),
        ("crun run", shutil.which("crun")),
    ):
        if path and _works([path, "run", "--bundle", bundle, f"bench-{os.getpid()}"]):
            found[name] = _command([path, "run", "--bundle", bundle, f"bench-{os.getpid()}"])
    return found


def _command(argv: list[str]) -> Contender:
    def once() -> None:
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return once


def _works(argv: list[str]) -> bool:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _bundle(scratch: str, program: str) -> str:
    """What ``spec`` of any runtime writes, with ``true`` in the root file system."""
    from boxship.spec.template import default_spec

    bundle = f"{scratch}/bundle"
    for name in ("proc", "sys", "dev", "bin"):
        os.makedirs(f"{bundle}/rootfs/{name}")
    shutil.copy(program, f"{bundle}/rootfs/bin/true")
    spec = default_spec()
    spec["process"] |= {"terminal": False, "args": ["/bin/true"]}
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
        json.dump(spec, file)
    return bundle
