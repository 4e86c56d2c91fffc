# SPDX-License-Identifier: Apache-2.0
"""config.json of the OCI runtime specification (1.0 … 1.3, Linux), as frozen records.

Names are the specification's, in snake_case. ``load`` decodes, ``validate.validate`` judges, ``encode`` goes back.
Parts that other modules translate as a whole (resources, seccomp) stay plain JSON and are checked in place.
"""

from __future__ import annotations

from boxship import fastjson
from boxship.record import Record
from boxship.spec.decode import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    int32: TypeAlias = int
    int64: TypeAlias = int
    uint16: TypeAlias = int
    uint32: TypeAlias = int
    uint64: TypeAlias = int
    json: TypeAlias = Any

__all__ = [
    "Box",
    "CPUAffinity",
    "Capabilities",
    "Device",
    "Hook",
    "Hooks",
    "IDMapping",
    "IOPriority",
    "Linux",
    "MemoryPolicy",
    "Mount",
    "Namespace",
    "NetDevice",
    "Personality",
    "Process",
    "Rlimit",
    "Root",
    "Scheduler",
    "Spec",
    "TimeOffset",
    "User",
    "encode",
    "load",
]


class Box(Record):
    """consoleSize, in characters."""

    height: uint16 = 0
    width: uint16 = 0


class User(Record):
    """Ids of the process; additionalGids are its supplementary groups."""

    uid: uint32 = 0
    gid: uint32 = 0
    umask: uint32 | None = None
    additional_gids: list[uint32] = []


class Capabilities(Record):
    """The five sets of capabilities(7)."""

    bounding: list[str] = []
    effective: list[str] = []
    permitted: list[str] = []
    inheritable: list[str] = []
    ambient: list[str] = []


class Rlimit(Record):
    """One limit of prlimit(2)."""

    type: str
    soft: uint64
    hard: uint64


class IOPriority(Record):
    """ioprio_set(2)."""

    class_: str
    priority: int64 = 0


class Scheduler(Record):
    """sched_setattr(2); times in nanoseconds."""

    policy: str
    nice: int32 = 0
    priority: int32 = 0
    flags: list[str] = []
    runtime: uint64 = 0
    deadline: uint64 = 0
    period: uint64 = 0


class CPUAffinity(Record):
    """Processors of an exec before and after it joins the cgroup: lists as in cpuset(7)."""

    initial: str = ""
    final: str = ""


class Process(Record):
    """The container's first process."""

    args: list[str] = []
    env: list[str] = []
    cwd: str = "/"
    user: User = User()
    terminal: bool = False
    console_size: Box | None = None
    capabilities: Capabilities | None = None
    rlimits: list[Rlimit] = []
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: int32 | None = None
    io_priority: IOPriority | None = None
    scheduler: Scheduler | None = None
    exec_cpu_affinity: CPUAffinity | None = None


class Root(Record):
    """The root file system; a relative path starts at the bundle."""

    path: str
    readonly: bool = False


class IDMapping(Record):
    """One extent of a user namespace's map."""

    container_id: uint32
    host_id: uint32
    size: uint32


class Mount(Record):
    """One mount; ``type`` is ignored for binds."""

    destination: str
    type: str = ""
    source: str = ""
    options: list[str] = []
    uid_mappings: list[IDMapping] = []
    gid_mappings: list[IDMapping] = []


class Hook(Record):
    """A program that runs at a point of the lifecycle; ``timeout`` in seconds."""

    path: str
    args: list[str] = []
    env: list[str] | None = None
    timeout: int64 | None = None


class Hooks(Record):
    """All six lists."""

    prestart: list[Hook] = []
    create_runtime: list[Hook] = []
    create_container: list[Hook] = []
    start_container: list[Hook] = []
    poststart: list[Hook] = []
    poststop: list[Hook] = []


class Namespace(Record):
    """A namespace to make, or with ``path`` to join."""

    type: str
    path: str = ""


class Device(Record):
    """A device node to make in the container."""

    type: str
    path: str
    major: int64 | None = None
    minor: int64 | None = None
    file_mode: uint32 | None = None
    uid: uint32 | None = None
    gid: uint32 | None = None


class NetDevice(Record):
    """A network device of the host that moves in; its name inside, when it changes."""

    name: str = ""


class TimeOffset(Record):
    """Offset of a clock in a new time namespace."""

    secs: int64 = 0
    nanosecs: uint32 = 0


class Personality(Record):
    """personality(2)."""

    domain: str
    flags: list[str] = []


class MemoryPolicy(Record):
    """set_mempolicy(2)."""

    mode: str
    nodes: str = ""
    flags: list[str] = []


class Linux(Record):
    """The Linux part."""

    namespaces: list[Namespace] = []
    uid_mappings: list[IDMapping] = []
    gid_mappings: list[IDMapping] = []
    sysctl: dict[str, str] = {}
    resources: json = None
    cgroups_path: str = ""
    devices: list[Device] = []
    net_devices: dict[str, NetDevice] = {}
    seccomp: json = None
    rootfs_propagation: str = ""
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    mount_label: str = ""
    intel_rdt: json = None
    personality: Personality | None = None
    time_offsets: dict[str, TimeOffset] = {}
    memory_policy: MemoryPolicy | None = None


class Spec(Record):
    """The whole of config.json."""

    oci_version: str = ""
    process: Process | None = None
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: list[Mount] = []
    hooks: Hooks | None = None
    annotations: dict[str, str] = {}
    linux: Linux = Linux()


def load(data: bytes | str) -> Spec:
    """Decode a config.json; SpecError names the place of what is malformed."""
    spec: Spec = decode(Spec, fastjson.loads(data))
    return spec


def load_process(data: bytes | str) -> Process:
    """Decode a process.json, as ``exec --process`` takes it."""
    process: Process = decode(Process, fastjson.loads(data))
    return process
