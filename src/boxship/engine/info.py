# SPDX-License-Identifier: Apache-2.0
"""What this host can do, as Boxship sees it."""

from __future__ import annotations

import os

from boxship import __version__
from boxship.kernel import capabilities, idmap, lsm
from boxship.kernel.cgroup import locate
from boxship.plan.words import NAMESPACES, NS_FILES
from boxship.runtime import host


def info() -> dict[str, str]:
    """Facts by name, as text."""
    layout = locate()
    bounding = capabilities.own_bounding()
    missing = [n for n in capabilities.NAMES[: capabilities.last_cap() + 1] if n not in capabilities.names(bounding)]
    return {
        "version": __version__,
        "kernel": os.uname().release,
        "architecture": os.uname().machine,
        "privileged": str(host.privileged()).lower(),
        "namespaces": " ".join(kind for kind in NAMESPACES if os.path.exists(f"/proc/self/ns/{NS_FILES[kind]}")),
        "cgroup controllers": " ".join(f"{c.name}=v{c.version}" for c in layout.controllers.values()) or "none",
        "capabilities missing": " ".join(missing) or "none",
        "apparmor": "active" if lsm.apparmor_active() else "not active",
        "selinux": "active" if lsm.selinux_active() else "not active",
        "root can be idmapped": str(idmap.can_be_idmapped("/", host.kernel_version())).lower(),
    }
