# SPDX-License-Identifier: Apache-2.0
"""What a user asks for, parsed once at the border and frozen: the first station of request → spec → plan.

The command line, the library and later the Docker API all make a ``Request``; ``spec/host.py`` turns it into an OCI
specification. Sizes are bytes, times seconds unless a field says otherwise.
"""

from __future__ import annotations

from boxship.record import Record


class Volume(Record):
    """A bind mount or tmpfs of the user's: ``-v``, ``--mount``, ``--tmpfs``."""

    kind: str
    target: str
    source: str = ""
    options: list[str] = []


class Resources(Record):
    """Limits; None means that nothing is said about it."""

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    cpuset_cpus: str = ""
    pids: int | None = None


class Request(Record):
    """One container, as it was asked for."""

    args: list[str]
    image: str = "host"
    #: None: the image's own
    entrypoint: list[str] | None = None
    #: missing, always, never
    pull: str = "missing"
    platform: str = ""
    name: str = ""
    env: list[str] = []
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    remove: bool = True
    keep: str = ""
    read_only: bool = False
    network: str = "none"
    volumes: list[Volume] = []
    resources: Resources = Resources()
    cap_add: list[str] = []
    cap_drop: list[str] = []
    privileged: bool = False
    no_new_privileges: bool = True
    seccomp: str = ""
    apparmor: str = ""
    ulimits: dict[str, tuple[int, int]] = {}
    sysctls: dict[str, str] = {}
    devices: list[str] = []
    shm_size: int = 64 << 20
    tmpfs_size: str = ""
    init: bool = False
    timeout: float = 0.0
    stop_signal: str = ""
    oom_score_adj: int | None = None
    userns: str = "auto"
    share: dict[str, str] = {}
    cgroup_parent: str = ""
    restart: str = "no"
    restart_max: int = 0
    log_size: int = 0
    log_files: int = 1
    rows: int = 0
    columns: int = 0


#: Ids of a container with a user namespace of its own. One range until the engine hands them out.
ID_BASE, ID_COUNT = 1 << 20, 65536
