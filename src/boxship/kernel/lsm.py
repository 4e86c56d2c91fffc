# SPDX-License-Identifier: Apache-2.0
"""AppArmor and SELinux: whether they are there, and what to write so that the next exec gets a label.

See the kernel's Documentation/admin-guide/LSM and proc(5), /proc/PID/attr. The file is opened below the
host's own procfs by the launch plan, never through the container's.
"""

from __future__ import annotations

import os

from boxship.errors import NotFound, Unsupported

_PROFILES = "/sys/kernel/security/apparmor/profiles"


def apparmor_active() -> bool:
    """Whether AppArmor is compiled in and on."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", "rb") as file:
            return file.read(1) == b"Y"
    except FileNotFoundError:
        return False


def selinux_active() -> bool:
    """Whether SELinux is on: its file system is mounted."""
    return os.path.exists("/sys/fs/selinux/enforce")


def exec_label(apparmor: str, selinux: str) -> tuple[str, str] | None:
    """(path below /proc, text) for the label that the process is to have; None when none is asked for.

    ``unconfined`` without AppArmor is what is the case anyhow.
    """
    if selinux:
        if not selinux_active():
            raise Unsupported("$.process.selinuxLabel: SELinux is not active on this host", hint="remove the label")
        return "thread-self/attr/exec", selinux
    if not apparmor or (apparmor == "unconfined" and not apparmor_active()):
        return None
    if not apparmor_active():
        raise Unsupported(
            f"$.process.apparmorProfile: {apparmor}: AppArmor is not active on this host", hint="remove the profile"
        )
    _require_profile(apparmor)
    own = "/proc/thread-self/attr/apparmor/exec"
    path = "thread-self/attr/apparmor/exec" if os.path.exists(own) else "thread-self/attr/exec"
    return path, f"exec {apparmor}"


def _require_profile(name: str) -> None:
    if name == "unconfined":
        return
    try:
        with open(_PROFILES) as file:
            loaded = {line.rpartition(" (")[0] for line in file}
    except OSError:  # securityfs is not mounted here, or not ours to read: the kernel will judge at exec
        return
    if name not in loaded:
        raise NotFound(
            f"$.process.apparmorProfile: {name}: no such profile is loaded", hint="load it with apparmor_parser"
        )
