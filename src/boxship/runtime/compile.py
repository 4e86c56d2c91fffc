# SPDX-License-Identifier: Apache-2.0
"""A process's words → the numbers and bytes of a plan: capabilities, limits, seccomp, labels, scheduling.

The only place where ``kernel`` translators and ``plan`` records meet.
"""

from __future__ import annotations

import os

from boxship.kernel import capabilities, lsm
from boxship.paths import cache_root
from boxship.plan.facts import Compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxship.spec.oci import Process, Spec

_CAP_SYS_RESOURCE = 1 << 24
#: In Boxship's own specifications: the default profile for these capabilities, which is built only when it is not compiled yet.
DEFAULT_PROFILE = "x-boxship-default"


def compile_spec(spec: Spec, warnings: list[str]) -> Compiled:
    """Everything of a specification that has to be turned into numbers; adds to ``warnings``."""
    linux = spec.linux
    found: dict[str, Any] = {}
    if linux.personality or linux.memory_policy:
        from boxship.kernel import scheduler

        if linux.personality:
            found["personality"] = scheduler.personality(linux.personality.domain, linux.personality.flags)
        if linux.memory_policy:
            policy = linux.memory_policy
            found["memory_policy"] = scheduler.memory_policy(policy.mode, policy.nodes, policy.flags)
    found |= _maps(spec)
    return compile_process(spec.process, linux.seccomp, warnings).replace(**found)


def compile_process(process: Process | None, seccomp: dict[str, Any] | None, warnings: list[str]) -> Compiled:
    """The same for a process alone, as exec needs it."""
    if process is None:
        return Compiled()
    available = capabilities.own_bounding()
    found: dict[str, Any] = {"last_cap": capabilities.last_cap()}
    if process.capabilities:
        masks = capabilities.masks(process.capabilities.as_dict(), available=available)
        warnings += masks.warnings
        found |= {
            name: getattr(masks, name) for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
        }
    if process.rlimits:
        found |= _rlimits(process, warnings, may_raise=bool(available & _CAP_SYS_RESOURCE))
    if seccomp:
        found |= _seccomp(seccomp, warnings)
    found["exec_label"] = lsm.exec_label(process.apparmor_profile, process.selinux_label)
    return Compiled(**found, **_scheduling(process))


def _rlimits(process: Process, warnings: list[str], *, may_raise: bool) -> dict[str, Any]:
    from boxship.kernel import rlimits

    own: list[tuple[int, int, int]] = []
    raised: list[tuple[int, int, int]] = []
    for limit in process.rlimits:
        found, warning = rlimits.clamp(limit.type, limit.soft, limit.hard, may_raise=may_raise)
        (raised if found.raises else own).append((found.number, found.soft, found.hard))
        if warning:
            warnings.append(warning)
    return {"rlimits": own, "raised_rlimits": raised}


def _seccomp(profile: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    from boxship.kernel import seccomp

    if profile.get("defaultAction") == "SCMP_ACT_ALLOW" and not profile.get("syscalls"):
        return {}
    directory = f"{cache_root()}/seccomp"
    own = profile.get(DEFAULT_PROFILE)
    if own is not None:
        from boxship import __version__

        found = seccomp.cached((__version__, *own), lambda: _default_profile(own), directory)
        return {"seccomp": found.program, "seccomp_flags": found.flags}
    found = seccomp.compile_cached(profile, directory)
    if found.ignored:
        warnings.append(
            f"seccomp: this libseccomp does not know {', '.join(found.ignored[:8])}"
            f"{' …' if len(found.ignored) > 8 else ''}: the default action holds for them"
        )
    return {"seccomp": found.program, "seccomp_flags": found.flags, "seccomp_notify": found.notify}


def _default_profile(capabilities: list[str]) -> dict[str, Any]:
    from boxship.spec.seccomp_default import default_profile

    return default_profile(capabilities)


def _scheduling(process: Process) -> dict[str, Any]:
    if not (process.scheduler or process.io_priority or process.exec_cpu_affinity):
        return {}
    from boxship.kernel import scheduler

    found: dict[str, Any] = {}
    if process.io_priority:
        found["io_priority"] = scheduler.io_priority(process.io_priority.class_, process.io_priority.priority)
    if process.scheduler:
        s = process.scheduler
        found["scheduler"] = scheduler.attributes(
            s.policy,
            nice=s.nice,
            priority=s.priority,
            flags=s.flags,
            runtime=s.runtime,
            deadline=s.deadline,
            period=s.period,
        )
    if process.exec_cpu_affinity:
        a = process.exec_cpu_affinity
        found["affinity"] = (
            scheduler.bitmap(a.initial, "$.process.execCPUAffinity.initial"),
            scheduler.bitmap(a.final, "$.process.execCPUAffinity.final"),
        )
    return found


def _maps(spec: Spec) -> dict[str, Any]:
    """newuidmap and newgidmap, where an ordinary user wants more than his own id."""
    if os.geteuid() == 0 or not spec.linux.uid_mappings:
        return {}
    single = len(spec.linux.uid_mappings) == 1 and spec.linux.uid_mappings[0].size == 1
    if single and len(spec.linux.gid_mappings) == 1 and spec.linux.gid_mappings[0].size == 1:
        return {}
    return {"uidmap_helper": _find("newuidmap"), "gidmap_helper": _find("newgidmap")}


def _find(name: str) -> str:
    from boxship.errors import NotFound

    for directory in ("/usr/bin", "/bin", "/usr/local/bin"):
        if os.access(f"{directory}/{name}", os.X_OK):
            return f"{directory}/{name}"
    raise NotFound(f"{name}: not installed, but the id map needs it", hint="apt-get install uidmap")
