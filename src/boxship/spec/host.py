# SPDX-License-Identifier: Apache-2.0
"""A ``Request`` for the machine's own userland → an OCI specification.

Pure: what has to be looked up (the user's name, terminal size) is looked up by the caller. Secure unless the
request says otherwise: few capabilities, no_new_privs, the default seccomp profile, masked paths, a user
namespace.
"""

from __future__ import annotations

from boxship.errors import InvalidRequest
from boxship.spec import oci
from boxship.spec.request import ID_BASE, ID_COUNT, Request, Resources
from boxship.spec.template import MASKED_PATHS, READONLY_PATHS

#: Docker's default set.
CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
]
DEFAULT_PIDS = 4096
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CPU_PERIOD_US = 100_000


def specification(
    request: Request,
    *,
    uid: int,
    gid: int,
    groups: list[int],
    home: str,
    name: str,
    all_capabilities: list[str],
    own_userns: bool,
    idmap: list[str] | None = None,
    files: dict[str, str] | None = None,
) -> oci.Spec:
    """The specification of a container whose root is the host's or an image's, copy on write.

    ``idmap`` names the sources of bind mounts whose owners are to look as they do on the host; ``files`` are Boxship's own
    below /etc, target and source. Without them the root is the host's, whose /run is hidden.
    """
    capabilities = _capabilities(request, all_capabilities)
    process = oci.Process(
        terminal=request.tty,
        args=list(request.args),
        env=_environment(request, home, name),
        cwd=request.workdir or "/",
        console_size=oci.Box(height=request.rows, width=request.columns) if request.rows else None,
        user=oci.User(uid=uid, gid=gid, additional_gids=groups),
        capabilities=_five_sets(capabilities, uid),
        no_new_privileges=request.no_new_privileges and not request.privileged,
        rlimits=[oci.Rlimit(type=f"RLIMIT_{k.upper()}", soft=s, hard=h) for k, (s, h) in request.ulimits.items()],
        oom_score_adj=request.oom_score_adj,
        apparmor_profile=request.apparmor,
    )
    return oci.Spec(
        oci_version="1.2.1",
        process=process,
        root=oci.Root(path="/", readonly=request.read_only),
        hostname="" if request.share.get("uts") else request.hostname or name,
        mounts=_mounts(request, idmap=idmap, files=files),
        linux=_linux(request, own_userns=own_userns),
    )


def _environment(request: Request, home: str, name: str) -> list[str]:
    base = {"PATH": PATH, "HOME": home, "HOSTNAME": request.hostname or name}
    if request.tty:
        base["TERM"] = "xterm"
    for word in request.env:
        key, _, value = word.partition("=")
        base[key] = value
    return [f"{key}={value}" for key, value in base.items()]


def _capabilities(request: Request, everything: list[str]) -> list[str]:
    if request.privileged:
        return list(everything)
    added, dropped = _names(request.cap_add), _names(request.cap_drop)
    unknown = [cap for cap in added + dropped if cap != "ALL" and cap not in everything]
    if unknown:
        raise InvalidRequest(
            f"unknown or unavailable capabilities: {', '.join(unknown)}", hint="see capabilities(7) for the names"
        )
    chosen = list(everything) if "ALL" in added else [] if "ALL" in dropped else list(CAPABILITIES)
    chosen += [cap for cap in added if cap != "ALL" and cap not in chosen]
    return [cap for cap in chosen if cap not in dropped and cap in everything]


def _names(words: list[str]) -> list[str]:
    upper = [word.upper() for word in words]
    return [word if word == "ALL" or word.startswith("CAP_") else f"CAP_{word}" for word in upper]


def _five_sets(chosen: list[str], uid: int) -> oci.Capabilities:
    """An ordinary user gets none into force; the bounding set still says what a setuid program could reach."""
    held = chosen if uid == 0 else []
    return oci.Capabilities(bounding=chosen, effective=held, permitted=held, inheritable=[], ambient=[])


def _mounts(request: Request, *, idmap: list[str] | None, files: dict[str, str] | None) -> list[oci.Mount]:
    sys_options = ["nosuid", "noexec", "nodev", *([] if request.privileged else ["ro"])]
    host_network = request.network == "host"
    mounts = [
        oci.Mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
        oci.Mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        oci.Mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        oci.Mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", f"size={request.shm_size}"]),
        oci.Mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
        # sysfs belongs to the network namespace: with the host's, only its own mount may be shown.
        oci.Mount("/sys", "bind", "/sys", ["rbind", "rro" if not request.privileged else "rw"])
        if host_network
        else oci.Mount("/sys", "sysfs", "sysfs", sys_options),
    ]
    if files is None:
        mounts.append(oci.Mount("/run", "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=755", "size=65536k"]))
    mapped = ["idmap"] if idmap is not None else []
    for target, source in (files or {}).items():
        mounts.append(oci.Mount(target, "bind", source, ["bind", "rprivate", *mapped]))
    if not host_network:
        mounts.append(oci.Mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]))
    for volume in request.volumes:
        mapped = ["idmap"] if volume.kind == "bind" and volume.source in (idmap or ()) else []
        mounts.append(oci.Mount(volume.target, volume.kind, volume.source, [*volume.options, *mapped]))
    return mounts


def _linux(request: Request, *, own_userns: bool) -> oci.Linux:
    kinds = ["mount", "pid", "ipc", "uts", "cgroup", *(["network"] if request.network == "none" else [])]
    namespaces = [oci.Namespace(kind) for kind in kinds if request.share.get(kind) != "host"]
    maps = []
    if own_userns:
        namespaces.append(oci.Namespace("user"))
        maps = [oci.IDMapping(container_id=0, host_id=ID_BASE, size=ID_COUNT)]
    masked, read_only = ([], []) if request.privileged else (list(MASKED_PATHS), list(READONLY_PATHS))
    return oci.Linux(
        namespaces=namespaces,
        uid_mappings=maps,
        gid_mappings=maps,
        sysctl=dict(request.sysctls),
        resources=resources(request.resources, request),
        masked_paths=masked,
        readonly_paths=read_only,
    )


def resources(limits: Resources, request: Request | None = None) -> dict[str, object]:
    """``linux.resources`` of the specification: limits, and the device rules of an ordinary container."""
    found: dict[str, object] = {}
    memory = {"limit": limits.memory, "swap": _swap(limits), "reservation": limits.memory_reservation}
    cpu = {"shares": limits.cpu_shares, "cpus": limits.cpuset_cpus or None}
    if limits.cpus:
        cpu |= {"quota": int(limits.cpus * _CPU_PERIOD_US), "period": _CPU_PERIOD_US}
    for key, values in (("memory", memory), ("cpu", cpu)):
        said = {name: value for name, value in values.items() if value is not None}
        if said:
            found[key] = said
    pids = limits.pids if limits.pids is not None else (DEFAULT_PIDS if request else None)
    if pids is not None:
        found["pids"] = {"limit": pids}
    if request:
        found["devices"] = [{"allow": request.privileged, "access": "rwm"}]
    return found


def _swap(limits: Resources) -> int | None:
    """As Docker: with a memory limit and no word on swap, as much swap as memory."""
    if limits.memory_swap is not None:
        return limits.memory_swap
    return limits.memory * 2 if limits.memory else None
