# SPDX-License-Identifier: Apache-2.0
"""Whether a specification makes sense: every problem is named, with its JSON path, before anything changes.

What ``decode`` has checked already (types, ranges of integers, NULs) is not checked again.
"""

from __future__ import annotations

from boxship.errors import SpecError
from boxship.spec import check_resources, check_seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.spec.oci import IDMapping, Linux, Process, Spec

NAMESPACES = ("user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time")
PROPAGATION = ("", "rslave", "slave", "rprivate", "private", "rshared", "shared", "runbindable", "unbindable")
MAX_EXTENTS = 340
_RLIMITS = (
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
)
#: sysctls that belong to a namespace: prefix → its type
_SYSCTLS = (
    ("net.", "network"),
    ("fs.mqueue.", "ipc"),
    ("kernel.msgmax", "ipc"),
    ("kernel.msgmnb", "ipc"),
    ("kernel.msgmni", "ipc"),
    ("kernel.sem", "ipc"),
    ("kernel.shmall", "ipc"),
    ("kernel.shmmax", "ipc"),
    ("kernel.shmmni", "ipc"),
    ("kernel.shm_rmid_forced", "ipc"),
    ("kernel.auto_msgmni", "ipc"),
    ("kernel.msg_next_id", "ipc"),
    ("kernel.sem_next_id", "ipc"),
    ("kernel.shm_next_id", "ipc"),
    ("kernel.domainname", "uts"),
    ("kernel.hostname", "uts"),
)


class Problems:
    """What has been found so far."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def say(self, path: str, message: str) -> None:
        """One problem."""
        self.found.append((path, message))

    def require(self, holds: object, path: str, message: str) -> None:
        """A problem unless ``holds``."""
        if not holds:
            self.say(path, message)

    def raise_all(self) -> None:
        """One SpecError with everything."""
        if self.found:
            (path, message), *more = self.found
            raise SpecError(path, "; ".join([message, *(f"{p}: {m}" for p, m in more[:9])]))


def validate(spec: Spec) -> list[str]:
    """Warnings; SpecError names all that cannot be meant."""
    p = Problems()
    _version(spec, p)
    if spec.process:
        process(spec.process, p)
    p.require(spec.root is None or spec.root.path, "$.root.path", "empty")
    _namespaces(spec.linux, p)
    _names(spec, p)
    _mounts(spec, p)
    _hooks(spec, p)
    _maps(spec.linux, p)
    _sysctls(spec, p)
    _devices(spec.linux, p)
    _paths(spec.linux, p)
    _time(spec.linux, p)
    check_resources.check(spec.linux.resources, p)
    check_seccomp.check(spec.linux.seccomp, p)
    p.raise_all()
    return p.warnings


def _version(spec: Spec, p: Problems) -> None:
    p.require(spec.oci_version, "$.ociVersion", "missing")
    if spec.oci_version:
        p.require(spec.oci_version.startswith("1."), "$.ociVersion", f"{spec.oci_version!r} is not supported: 1.x is")


def process(found: Process, p: Problems, at: str = "$.process") -> None:
    """The rules of a process, also of one that exec starts."""
    p.require(found.args and found.args[0], f"{at}.args", "names no program")
    p.require(found.cwd.startswith("/"), f"{at}.cwd", f"{found.cwd!r} is not an absolute path")
    p.require(found.user.umask is None or found.user.umask <= 0o777, f"{at}.user.umask", "is more than 0777")
    p.require(
        found.oom_score_adj is None or -1000 <= found.oom_score_adj <= 1000,
        f"{at}.oomScoreAdj",
        f"{found.oom_score_adj} is out of range: -1000 … 1000",
    )
    for n, word in enumerate(found.env):
        if "=" not in word:
            p.warnings.append(f"{at}.env[{n}]: {word!r} has no '='")
    seen = set()
    for n, limit in enumerate(found.rlimits):
        where = f"{at}.rlimits[{n}]"
        p.require(
            limit.type.startswith("RLIMIT_") and limit.type[7:] in _RLIMITS, f"{where}.type", f"unknown: {limit.type!r}"
        )
        p.require(limit.type not in seen, f"{where}.type", f"{limit.type} is set twice")
        p.require(limit.soft <= limit.hard, where, f"soft limit {limit.soft} is above hard limit {limit.hard}")
        seen.add(limit.type)


def _namespaces(linux: Linux, p: Problems) -> None:
    seen = set()
    for n, namespace in enumerate(linux.namespaces):
        where = f"$.linux.namespaces[{n}]"
        p.require(namespace.type in NAMESPACES, f"{where}.type", f"unknown: {namespace.type!r}")
        p.require(namespace.type not in seen, f"{where}.type", f"{namespace.type} is there twice")
        p.require(
            not namespace.path or namespace.path.startswith("/"),
            f"{where}.path",
            f"{namespace.path!r} is not an absolute path",
        )
        seen.add(namespace.type)


def _has(linux: Linux, kind: str) -> bool:
    return any(n.type == kind for n in linux.namespaces)


def _names(spec: Spec, p: Problems) -> None:
    for key, value in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if value:
            p.require(_has(spec.linux, "uts"), f"$.{key}", "needs a uts namespace, or it would rename the host")
            p.require(len(value.encode("utf-8", "surrogateescape")) <= 64, f"$.{key}", "is longer than 64 bytes")


def _mounts(spec: Spec, p: Problems) -> None:
    for n, mount in enumerate(spec.mounts):
        where = f"$.mounts[{n}]"
        p.require(mount.destination, f"{where}.destination", "empty")
        if mount.destination and not mount.destination.startswith("/"):
            p.warnings.append(f"{where}.destination: {mount.destination!r} is relative, taken from /")
        bound = mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options
        p.require(mount.type or bound or "remount" in mount.options, f"{where}.type", "missing")
        p.require(not bound or mount.source, f"{where}.source", "a bind mount needs one")
        idmapped = "idmap" in mount.options or "ridmap" in mount.options
        p.require(
            bound or not (mount.uid_mappings or idmapped), f"{where}.uidMappings", "only bind mounts can be idmapped"
        )
        p.require(
            bool(mount.uid_mappings) == bool(mount.gid_mappings), where, "uidMappings and gidMappings go together"
        )
        p.require(
            not idmapped or mount.uid_mappings or spec.linux.uid_mappings,
            where,
            "idmap needs uidMappings, its own or the container's",
        )


def _hooks(spec: Spec, p: Problems) -> None:
    if not spec.hooks:
        return
    for kind, hooks in spec.hooks.as_dict().items():
        for n, hook in enumerate(hooks):
            where = f"$.hooks.{kind}[{n}]"
            p.require(hook.path.startswith("/"), f"{where}.path", f"{hook.path!r} is not an absolute path")
            p.require(
                hook.timeout is None or hook.timeout > 0, f"{where}.timeout", f"{hook.timeout} is not greater than zero"
            )


def _maps(linux: Linux, p: Problems) -> None:
    for key, maps in (("uidMappings", linux.uid_mappings), ("gidMappings", linux.gid_mappings)):
        where = f"$.linux.{key}"
        p.require(not maps or _has(linux, "user"), where, "needs a user namespace")
        p.require(
            len(maps) <= MAX_EXTENTS, where, f"{len(maps)} ranges are more than the {MAX_EXTENTS} that the kernel takes"
        )
        _overlap(maps, where, p)
    made = any(n.type == "user" and not n.path for n in linux.namespaces)
    p.require(
        not made or (linux.uid_mappings and linux.gid_mappings),
        "$.linux.uidMappings",
        "a new user namespace needs uidMappings and gidMappings",
    )


def _overlap(maps: list[IDMapping], where: str, p: Problems) -> None:
    for n, one in enumerate(maps):
        p.require(one.size > 0, f"{where}[{n}].size", "is zero")
        for m, other in enumerate(maps[:n]):
            inside = (
                one.container_id < other.container_id + other.size and other.container_id < one.container_id + one.size
            )
            outside = one.host_id < other.host_id + other.size and other.host_id < one.host_id + one.size
            p.require(not inside and not outside, f"{where}[{n}]", f"overlaps with range {m}")


def _sysctls(spec: Spec, p: Problems) -> None:
    for key, value in spec.linux.sysctl.items():
        name = key.replace("/", ".")
        where = f"$.linux.sysctl.{key}"
        kind = next(
            (kind for prefix, kind in _SYSCTLS if name == prefix or (prefix.endswith(".") and name.startswith(prefix))),
            None,
        )
        p.require(".." not in key and not key.startswith("/"), where, "is not the name of a sysctl")
        if kind is None:
            p.say(where, "belongs to no namespace: it would change the host")
        elif not _has(spec.linux, kind):
            p.say(where, f"needs a {kind} namespace of the container's own")
        elif value not in (
            "",
            {"kernel.hostname": spec.hostname, "kernel.domainname": spec.domainname}.get(name) or value,
        ):
            p.say(where, f"{name[7:]} is set to something else")


def _devices(linux: Linux, p: Problems) -> None:
    for n, device in enumerate(linux.devices):
        where = f"$.linux.devices[{n}]"
        p.require(device.type in ("c", "b", "u", "p"), f"{where}.type", f"{device.type!r} is none of c, b, u, p")
        p.require(device.path.startswith("/"), f"{where}.path", f"{device.path!r} is not an absolute path")
        p.require(
            device.type == "p" or (device.major is not None and device.minor is not None),
            where,
            "needs major and minor",
        )
    for name, moved in linux.net_devices.items():
        p.require(_has(linux, "network"), f"$.linux.netDevices.{name}", "needs a network namespace")
        for text in (name, moved.name or name):
            p.require(
                0 < len(text.encode("utf-8", "surrogateescape")) < 16 and "/" not in text and text not in (".", ".."),
                f"$.linux.netDevices.{name}",
                f"{text!r} is not the name of a network device",
            )


def _paths(linux: Linux, p: Problems) -> None:
    for key, paths in (("maskedPaths", linux.masked_paths), ("readonlyPaths", linux.readonly_paths)):
        for n, path in enumerate(paths):
            p.require(path.startswith("/"), f"$.linux.{key}[{n}]", f"{path!r} is not an absolute path")
    p.require(
        linux.rootfs_propagation in PROPAGATION, "$.linux.rootfsPropagation", f"unknown: {linux.rootfs_propagation!r}"
    )
    p.require(".." not in linux.cgroups_path.split("/"), "$.linux.cgroupsPath", "holds '..'")


def _time(linux: Linux, p: Problems) -> None:
    made = any(n.type == "time" and not n.path for n in linux.namespaces)
    p.require(not linux.time_offsets or made, "$.linux.timeOffsets", "needs a new time namespace")
    for clock, offset in linux.time_offsets.items():
        p.require(
            clock in ("monotonic", "boottime"),
            f"$.linux.timeOffsets.{clock}",
            "only monotonic and boottime have offsets",
        )
        p.require(offset.nanosecs < 1_000_000_000, f"$.linux.timeOffsets.{clock}.nanosecs", "is a second or more")
