# SPDX-License-Identifier: Apache-2.0
"""What planning has to know of the host and of the caller, gathered beforehand by ``runtime/host.py``.

With these records a plan is a pure function, and the golden files in the tests hold on every machine.
"""

from __future__ import annotations

from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.steps import Supervise


class Hierarchy(Record):
    """A cgroup mount of the host: where, which version, which controllers, and the container's place in it."""

    mount: str
    version: int
    controllers: list[str]
    directory: str


class Facts(Record):
    """The host and the caller."""

    kernel: tuple[int, int] = (6, 1)
    privileged: bool = True
    uid: int = 0
    gid: int = 0
    hierarchies: list[Hierarchy] = []


class Compiled(Record):
    """Parts of a specification, turned into the numbers and bytes that the kernel takes."""

    bounding: int | None = None
    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    ambient: int = 0
    last_cap: int = 40
    rlimits: list[tuple[int, int, int]] = []
    raised_rlimits: list[tuple[int, int, int]] = []
    seccomp: bytes = b""
    seccomp_flags: int = 0
    seccomp_notify: bool = False
    exec_label: tuple[str, str] | None = None
    io_priority: int | None = None
    scheduler: bytes = b""
    memory_policy: tuple[int, bytes] | None = None
    personality: int | None = None
    affinity: tuple[bytes, bytes] = (b"", b"")
    #: newuidmap(1) and newgidmap(1), where the caller may not write the maps itself
    uidmap_helper: str = ""
    gidmap_helper: str = ""


class Overlay(Record):
    """Layers of the root, uppermost first, and the writable one; see overlayfs in the kernel's documentation."""

    lower: list[str]
    #: other disks' mount points below the root, which get overlays of their own
    mounts: list[str] = []
    #: a host directory that keeps the changes; without it they live on a tmpfs of the container's own
    upper: str = ""
    #: size of that tmpfs as tmpfs(5) takes it; it also carries the mount points
    tmpfs: str = ""


class Device(Record):
    """A network device of the host that the container takes over: its index there, its name inside."""

    index: int
    name: str


class Launch(Record):
    """How the container is to be started, beyond what its specification says."""

    id: str
    bundle: str = "/"
    #: 'inherit' the caller's streams, 'null', or 'pipe' them to the monitor; a terminal goes before all
    stdio: str = "inherit"
    interactive: bool = False
    #: with inherited streams: standard input reads /dev/null all the same
    null_stdin: bool = False
    #: inherited streams that are pipes or sockets and may be given to the container's user
    chown: list[int] = []
    #: stop before exec until `start` writes to the fifo
    barrier: bool = False
    #: descriptors of the caller that the program inherits under the same numbers
    preserve: list[int] = []
    pivot: int = 0
    #: environment of hooks that name none of their own
    environment: list[str] = []
    keyring: bool = True
    init: bool = False
    supervise: Supervise | None = None
    #: seccomp listener's socket: what is sent along with the descriptor
    listener_state: bytes = b""
    listener_pid_at: int = 0
    #: user namespaces of idmapped mounts: index of the mount → slot
    userns_slots: dict[int, int] = {}
    overlay: Overlay | None = None
    devices: list[Device] = []
