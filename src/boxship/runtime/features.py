# SPDX-License-Identifier: Apache-2.0
"""``boxc features``: what this runtime can do, in the form of runtime-spec, 'Features Structure'."""

from __future__ import annotations

from boxship.kernel.capabilities import NAMES
from boxship.plan.words import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


def features() -> dict[str, Any]:
    """The document."""
    from boxship.kernel import lsm, seccomp
    from boxship.kernel.scheduler import MODE_FLAGS, MODES
    from boxship.plan import mounts

    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.3.0",
        "hooks": _HOOKS,
        "mountOptions": mounts.known(),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(NAMES),
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": True,
                "systemdUser": True,
                "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": list(seccomp.ACTIONS),
                "operators": list(seccomp.OPERATORS),
                "archs": list(seccomp.ARCHITECTURES),
                "knownFlags": list(seccomp.FLAGS),
                "supportedFlags": list(seccomp.FLAGS),
            },
            "apparmor": {"enabled": lsm.apparmor_active()},
            "selinux": {"enabled": lsm.selinux_active()},
            "intelRdt": {"enabled": False},
            "netDevices": {"enabled": True},
            "memoryPolicy": {"modes": list(MODES), "flags": list(MODE_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
    }
