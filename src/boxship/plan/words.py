# SPDX-License-Identifier: Apache-2.0
"""Kernel numbers and their names, as far as plans use them.

The numbers are those of include/uapi/linux and are the same on every architecture that Boxship knows;
system calls travel by their index in ``CALLS``, since their numbers are not. Pure; used by ``steps`` to
describe itself and by the builders of plans.
"""

from __future__ import annotations

# clone(2), setns(2), unshare(2)
CLONE_NEWTIME, CLONE_NEWNS, CLONE_PARENT = 0x80, 0x20000, 0x8000
CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x02000000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
NAMESPACES = {
    "user": CLONE_NEWUSER,
    "mount": CLONE_NEWNS,
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}
NS_FILES = {
    "user": "user",
    "mount": "mnt",
    "pid": "pid",
    "network": "net",
    "ipc": "ipc",
    "uts": "uts",
    "cgroup": "cgroup",
    "time": "time",
}

# mount_setattr(2), fsmount(2)
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
ATTR_NOATIME, ATTR_STRICTATIME, ATTR_ATIME_MASK = 0x10, 0x20, 0x70
ATTR_NODIRATIME, ATTR_NOSYMFOLLOW = 0x80, 0x200000
_ATTRS = {
    ATTR_RDONLY: "ro",
    ATTR_NOSUID: "nosuid",
    ATTR_NODEV: "nodev",
    ATTR_NOEXEC: "noexec",
    ATTR_NOATIME: "noatime",
    ATTR_STRICTATIME: "strictatime",
    ATTR_NODIRATIME: "nodiratime",
    ATTR_NOSYMFOLLOW: "nosymfollow",
}

# mount(2)
MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x4000, 1 << 17, 1 << 18, 1 << 19, 1 << 20
_PROPAGATION = {MS_UNBINDABLE: "unbindable", MS_PRIVATE: "private", MS_SLAVE: "slave", MS_SHARED: "shared"}

# open(2), the architecture-independent ones
O_RDONLY, O_WRONLY, O_RDWR, O_NONBLOCK = 0, 1, 2, 0o4000
O_PATH = 0o10000000

#: System calls that a ``Call`` step may name. Only ever append: the index travels in saved plans.
CALLS = (
    "sethostname",
    "setdomainname",
    "unshare",
    "setsid",
    "umask",
    "personality",
    "ioprio_set",
    "prctl",
    "prlimit64",
    "setgroups",
    "setresgid",
    "setresuid",
    "capset",
    "sched_setattr",
    "set_mempolicy",
    "close_range",
    "chdir",
    "keyctl",
    "fchown",
    "mount",
    "sched_setaffinity",
)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP = 1, 4, 8, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
_PRCTL = {
    1: "PR_SET_PDEATHSIG",
    4: "PR_SET_DUMPABLE",
    8: "PR_SET_KEEPCAPS",
    24: "PR_CAPBSET_DROP",
    38: "PR_SET_NO_NEW_PRIVS",
    47: "PR_CAP_AMBIENT",
}
KEYCTL_JOIN_SESSION_KEYRING = 1
CLOSE_RANGE_CLOEXEC = 4


def raw_bytes(text: str) -> bytes:
    """Text as the kernel takes it; bytes that were not UTF-8 when Python read them come back as they were."""
    return text.encode("utf-8", "surrogateescape")


def _bits(value: int, names: dict[int, str]) -> list[str]:
    known = [name for bit, name in names.items() if value & bit]
    rest = value & ~sum(bit for bit in names)
    return known + ([f"{rest:#x}"] if rest else [])


def clone_text(flags: int) -> str:
    """``0x20020000`` → ``mount|pid``."""
    names = {bit: name for name, bit in NAMESPACES.items()} | {CLONE_PARENT: "CLONE_PARENT"}
    return "|".join(_bits(flags, names)) or "0"


def mount_attr_text(attrs: int) -> str:
    """MOUNT_ATTR_ bits as mount options."""
    return ",".join(_bits(attrs, _ATTRS)) or "rw"


def open_text(flags: int) -> str:
    """Access mode and the flags that matter, in the words of open(2)."""
    words = ["O_PATH"] if flags & O_PATH else [("O_RDONLY", "O_WRONLY", "O_RDWR", "?")[flags & 3]]
    return "|".join(words + (["O_NONBLOCK"] if flags & O_NONBLOCK else []))


def call_text(kind: str, value: int, numbers: tuple[int, ...] = (), at: int = 255, data: bytes = b"") -> str:
    """Text of a ``Call`` step, or of propagation bits."""
    if kind == "propagation":
        return "|".join(_bits(value, _PROPAGATION))
    name = CALLS[value]
    shown = [_argument(name, i, n) for i, n in enumerate(numbers)]
    if at < len(shown):
        shown[at] = repr(data.rstrip(b"\0").decode()) if _is_text(data) else f"{len(data)} bytes"
    while shown and shown[-1] == "0":
        shown.pop()
    return f"{name}({', '.join(shown)})"


def _argument(name: str, position: int, value: int) -> str:
    if name == "prctl" and position == 0:
        return _PRCTL.get(value, str(value))
    if name == "unshare" and position == 0:
        return clone_text(value)
    if name == "umask":
        return f"{value:#o}"
    return str(value)


def _is_text(data: bytes) -> bool:
    text = data.rstrip(b"\0")
    return bool(text) and all(32 <= byte < 127 for byte in text)
