# SPDX-License-Identifier: Apache-2.0
"""Mount options in the words of mount(8) and of the OCI specification, sorted by what applies them.

Some belong to the mount (mount_setattr(2)), some to the super block (fsconfig(2)), some to the whole tree
(the ``r…`` words), some to propagation, and some are Boxship's own business (bind, tmpcopyup, idmap).
"""

from __future__ import annotations

from boxship.errors import SpecError
from boxship.plan import words as w
from boxship.record import Record

_ATTRS = {
    "ro": (w.ATTR_RDONLY, 0),
    "nosuid": (w.ATTR_NOSUID, 0),
    "nodev": (w.ATTR_NODEV, 0),
    "noexec": (w.ATTR_NOEXEC, 0),
    "nodiratime": (w.ATTR_NODIRATIME, 0),
    "nosymfollow": (w.ATTR_NOSYMFOLLOW, 0),
    "rw": (0, w.ATTR_RDONLY),
    "suid": (0, w.ATTR_NOSUID),
    "dev": (0, w.ATTR_NODEV),
    "exec": (0, w.ATTR_NOEXEC),
    "diratime": (0, w.ATTR_NODIRATIME),
    "symfollow": (0, w.ATTR_NOSYMFOLLOW),
    # The access-time words are one field: setting any of them clears the others.
    "relatime": (0, w.ATTR_ATIME_MASK),
    "norelatime": (w.ATTR_STRICTATIME, w.ATTR_ATIME_MASK),
    "noatime": (w.ATTR_NOATIME, w.ATTR_ATIME_MASK),
    "atime": (0, w.ATTR_ATIME_MASK),
    "strictatime": (w.ATTR_STRICTATIME, w.ATTR_ATIME_MASK),
    "nostrictatime": (0, w.ATTR_ATIME_MASK),
}
_PROPAGATION = {"private": w.MS_PRIVATE, "shared": w.MS_SHARED, "slave": w.MS_SLAVE, "unbindable": w.MS_UNBINDABLE}
#: Words of the super block; fsconfig(2) takes them as flags.
_SUPER = ("sync", "dirsync", "lazytime", "mand", "iversion", "silent")
#: Words that say what is the case anyhow.
_IGNORED = (
    "defaults",
    "async",
    "nolazytime",
    "nomand",
    "noiversion",
    "loud",
    "nofail",
    "auto",
    "noauto",
    "user",
    "nouser",
    "_netdev",
)


class Options(Record):
    """A mount's options, sorted."""

    bind: bool = False
    recursive_bind: bool = False
    remount: bool = False
    copy_up: bool = False
    idmap: bool = False
    recursive_idmap: bool = False
    set: int = 0
    clear: int = 0
    recursive_set: int = 0
    recursive_clear: int = 0
    propagation: int = 0
    recursive_propagation: bool = False
    data: list[str] = []


def parse(options: list[str], where: str = "$.mounts") -> Options:
    """Sort ``options``; the last word on a subject wins, as in mount(8)."""
    found = Options().as_dict()
    for option in options:
        _take(option, found, where)
    return Options(**found)


def _take(option: str, found: dict[str, object], where: str) -> None:
    plain = option[1:] if option[:1] == "r" and option[1:] in _ATTRS and option not in _ATTRS else ""
    if option in _ATTRS:
        _merge(found, "set", "clear", _ATTRS[option])
    elif plain:
        _merge(found, "recursive_set", "recursive_clear", _ATTRS[plain])
    elif option in _PROPAGATION or (option[:1] == "r" and option[1:] in _PROPAGATION):
        found["recursive_propagation"] = option not in _PROPAGATION
        found["propagation"] = _PROPAGATION.get(option) or _PROPAGATION[option[1:]]
    elif option in ("bind", "rbind"):
        found["bind"], found["recursive_bind"] = True, option == "rbind"
    elif option in ("idmap", "ridmap"):
        found["idmap"], found["recursive_idmap"] = True, option == "ridmap"
    elif option in ("remount", "tmpcopyup"):
        found["copy_up" if option == "tmpcopyup" else option] = True
    elif option in _IGNORED or option.startswith("x-") or not option:
        return
    elif "\0" in option:
        raise SpecError(where, f"mount option {option!r} holds a NUL")
    else:
        found["data"] = [*found["data"], option]  # type: ignore[misc]


def _merge(found: dict[str, object], set_key: str, clear_key: str, bits: tuple[int, int]) -> None:
    on, off = bits
    found[set_key] = (int(found[set_key]) & ~off) | on  # type: ignore[call-overload]
    found[clear_key] = (int(found[clear_key]) & ~on) | off  # type: ignore[call-overload]


def known() -> list[str]:
    """Every word that is understood, for ``boxc features``."""
    words = [
        *_ATTRS,
        *(f"r{name}" for name in _ATTRS),
        *_PROPAGATION,
        *(f"r{name}" for name in _PROPAGATION),
        *_SUPER,
        *_IGNORED,
    ]
    return sorted({*words, "bind", "rbind", "idmap", "ridmap", "remount", "tmpcopyup"})


#: Files of procfs that another file may cover without changing where a write to /proc goes; lxcfs needs them.
PROC_FILES = (
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "net/dev",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
    "pressure/cpu",
    "pressure/io",
    "pressure/memory",
)


def may_cover(destination: str) -> bool:
    """Whether a mount on this path inside procfs is harmless."""
    return destination.startswith("/proc/") and destination[6:].strip("/") in PROC_FILES
