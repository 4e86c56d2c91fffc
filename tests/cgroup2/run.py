# SPDX-License-Identifier: Apache-2.0
"""Boot a user-mode Linux with cgroup v2 alone and AppArmor, and run the system tests in it.

Debian's ``user-mode-linux`` is an ordinary program; this machine's root is its root, through hostfs, and nothing is
written there. The exit status is that of pytest inside, which comes out as a line on the console.

    python tests/cgroup2/run.py [pytest arguments]
"""

from __future__ import annotations

import os
import pathlib
import re
import selectors
import shlex
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
LIMIT_S = 900
ENDED = re.compile(r"cgroup2: pytest ended with (\d+)")


def compiled(directory: str, source: str, *flags: str) -> str:
    """A C program of the tests; compiled outside: the compiler is slow in there."""
    path = pathlib.Path(directory, pathlib.Path(source).stem)
    subprocess.run(["gcc", "-O1", *flags, "-o", path, TOP / "tests" / source], check=True)
    return str(path)


def command(script: str, uml_dir: str) -> list[str]:
    """The kernel and its command line."""
    return [
        "linux.uml",
        "mem=1536M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "rw",
        f"init={script}",
        "con0=fd:0,fd:1",
        "con=null",
        "quiet",
        "apparmor=1",
        "security=apparmor",
        f"uml_dir={uml_dir}",
        "umid=boxship",
    ]


def main() -> int:
    """Boot, pass the output through, return pytest's exit status."""
    # Registries and templates know nothing of cgroups, and a distribution is slow to unpack in there.
    apart = [f"--ignore=tests/system/test_{name}.py" for name in ("registry", "template", "images")]
    arguments = sys.argv[1:] or ["tests/system", *apart]
    # Not below /tmp: there the kernel inside has a tmpfs of its own.
    with tempfile.TemporaryDirectory(prefix="boxship-uml-", dir="/var/tmp") as scratch:
        script = pathlib.Path(scratch, "init")
        settings = {
            "BOXSHIP_TOP": TOP,
            "BOXSHIP_PYTHON": sys.executable,
            "BOXSHIP_ARGS": shlex.join(arguments),
            "BOXSHIP_PROBE": compiled(scratch, "probe/probe.c", "-static"),
            "CI": os.environ.get("CI", ""),
        }
        exports = "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in settings.items())
        script.write_text(f"#!/bin/sh\n{exports}exec {TOP / 'tests/cgroup2/init.sh'}\n")
        script.chmod(0o755)
        environment = dict(os.environ, TMPDIR=scratch, HOME=scratch)
        environment["LD_PRELOAD"] = compiled(scratch, "cgroup2/xstate.c", "-shared", "-fPIC")
        kernel = subprocess.Popen(
            command(str(script), scratch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            return follow(kernel)
        finally:
            os.killpg(kernel.pid, 9) if kernel.poll() is None else None
            kernel.wait()


def follow(kernel: subprocess.Popen[bytes]) -> int:
    """Copy the console until the kernel ends; a kernel that takes too long has failed."""
    assert kernel.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(kernel.stdout, selectors.EVENT_READ)
    end, text = time.monotonic() + LIMIT_S, ""
    while time.monotonic() < end:
        if not selector.select(timeout=5):
            continue
        part = os.read(kernel.stdout.fileno(), 65536)
        if not part:
            break
        sys.stdout.write(part.decode(errors="replace").replace("\r", ""))
        sys.stdout.flush()
        text = (text + part.decode(errors="replace"))[-4096:]
    found = ENDED.search(text)
    if not found:
        took_too_long = time.monotonic() >= end
        sys.stdout.write(
            f"cgroup2: {f'no end within {LIMIT_S} s' if took_too_long else 'the kernel ended before pytest did'}\n"
        )
        return 1
    return int(found[1])


if __name__ == "__main__":
    sys.exit(main())
