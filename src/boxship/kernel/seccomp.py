# SPDX-License-Identifier: Apache-2.0
"""seccomp(2): OCI profiles → BPF programs, by libseccomp, and a cache of what has been compiled.

A profile of 400 system calls takes libseccomp about 10 ms, and loading it with ctypes another 5: the cache
key is the profile, the library, the kernel and the architecture. A cached program carries its own checksum;
anything that is not exactly right is compiled again.

The program itself is loaded by boxmon, as the last thing before exec.
"""

from __future__ import annotations

import errno
import marshal
import os

from boxship.errors import SpecError, Unsupported
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ALLOW = 0x7FFF0000
ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
#: seccomp(2) flags; TSYNC means nothing for a process with one thread, and excludes a listener before Linux 5.7
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
ARCHITECTURES = {
    f"SCMP_ARCH_{name}": name.lower()
    for name in (
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC",
        "PPC64",
        "PPC64LE",
        "S390",
        "S390X",
        "PARISC",
        "PARISC64",
        "RISCV64",
        "LOONGARCH64",
        "M68K",
        "SH",
        "SHEB",
    )
}
_MAGIC = b"boxseccomp2\n"


class Filter(Record):
    """A compiled profile. ``ignored``: system calls that this libseccomp does not know."""

    program: bytes
    flags: int
    notify: bool
    ignored: list[str]


def compile_profile(profile: dict[str, Any]) -> Filter:
    """Compile a profile in OCI form; SpecError names what is wrong with it."""
    from boxship.kernel.libseccomp import Library

    library = Library.get()
    default = _action(
        profile.get("defaultAction"), profile.get("defaultErrnoRet"), "$.linux.seccomp.defaultAction", library
    )
    ignored: list[str] = []
    with library.context(default) as context:
        for at, name in enumerate(profile.get("architectures") or []):
            if name not in ARCHITECTURES:
                raise SpecError(f"$.linux.seccomp.architectures[{at}]", f"unknown: {name!r}")
            context.add_architecture(ARCHITECTURES[name])
        for at, rule in enumerate(profile.get("syscalls") or []):
            _add_rule(context, library, rule, default, f"$.linux.seccomp.syscalls[{at}]", ignored)
        program = context.export()
    notify = any(r.get("action") == "SCMP_ACT_NOTIFY" for r in profile.get("syscalls") or [])
    return Filter(program, flags(profile), notify, ignored)


def flags(profile: dict[str, Any]) -> int:
    """Flags for seccomp(2)."""
    bits = 0
    for at, flag in enumerate(profile.get("flags") or []):
        if flag not in FLAGS:
            raise SpecError(f"$.linux.seccomp.flags[{at}]", f"unknown: {flag!r}", hint="known are " + ", ".join(FLAGS))
        bits |= FLAGS[flag]
    return bits


def _action(name: object, errno_ret: object, path: str, library: Any) -> int:
    if name not in ACTIONS:
        raise SpecError(path, f"unknown action: {name!r}", hint="known are " + ", ".join(ACTIONS))
    if errno_ret is not None and name not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        raise SpecError(path, f"errnoRet means nothing with {name}")
    value = ACTIONS[str(name)]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        value |= (errno.EPERM if errno_ret is None else int(errno_ret)) & 0xFFFF  # type: ignore[call-overload]
    if name == "SCMP_ACT_NOTIFY" and library.api < 5:
        raise Unsupported(f"{path}: user notification needs libseccomp 2.5 and Linux 5.0")
    return value


def _add_rule(context: Any, library: Any, rule: dict[str, Any], default: int, path: str, ignored: list[str]) -> None:
    action = _action(rule.get("action"), rule.get("errnoRet"), f"{path}.action", library)
    if action == default:  # libseccomp refuses a rule that changes nothing
        return
    arguments = [_argument(arg, f"{path}.args[{at}]") for at, arg in enumerate(rule.get("args") or [])]
    repeated = len({index for index, *_ in arguments}) < len(arguments)
    for name in rule.get("names") or []:
        number = library.number(name)
        if number is None:
            ignored.append(name)
            continue
        if name in ("read", "write", "sendmsg") and rule.get("action") == "SCMP_ACT_NOTIFY":
            raise SpecError(
                f"{path}.names", f"{name} cannot be notified: the runtime needs it to hand the listener over"
            )
        # Conditions on the same argument are alternatives, on different ones they go together; libseccomp knows only the latter.
        for group in [[one] for one in arguments] if repeated else [arguments]:
            context.add_rule(action, number, group, name)


def _argument(arg: dict[str, Any], path: str) -> tuple[int, int, int, int]:
    op = arg.get("op")
    if op not in OPERATORS:
        raise SpecError(f"{path}.op", f"unknown operator: {op!r}", hint="known are " + ", ".join(OPERATORS))
    index = arg.get("index", 0)
    if not isinstance(index, int) or not 0 <= index <= 5:
        raise SpecError(f"{path}.index", f"{index} is out of range: 0 … 5")
    return index, OPERATORS[str(op)], int(arg.get("value") or 0), int(arg.get("valueTwo") or 0)


def compile_cached(profile: dict[str, Any], directory: str) -> Filter:
    """As ``compile_profile``, through a directory that only its owner can write."""
    return cached(_canonical(profile), lambda: profile, directory)


def cached(identity: Any, make: Callable[[], dict[str, Any]], directory: str) -> Filter:
    """The filter of the profile that ``identity`` stands for (marshal must know its types); ``make`` builds it on a miss."""
    known = _known.get(identity)
    if known:
        return known
    key = _digest(marshal.dumps((identity, _library_stamp(), os.uname()[2:]), 2))
    path = f"{directory}/{key}"
    found = _read(path)
    if found is None:
        found = compile_profile(make())
        _write(directory, path, found)
    if len(_known) < _MOST_KNOWN:
        _known[identity] = found
    return found


#: filters of this process, so that a warm one does not read files
_known: dict[Any, Filter] = {}
_MOST_KNOWN = 64


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _canonical(value[key])) for key in sorted(value))
    return tuple(_canonical(item) for item in value) if isinstance(value, list) else value


def _digest(data: bytes) -> str:
    from _sha256 import sha256

    return str(sha256(data).hexdigest())


def _library_stamp() -> tuple[str, int, int]:
    """The library's file, its size and change: what tells one version from the next without loading it."""
    for path in (
        "/usr/lib/x86_64-linux-gnu/libseccomp.so.2",
        "/usr/lib/aarch64-linux-gnu/libseccomp.so.2",
        "/usr/lib64/libseccomp.so.2",
        "/usr/lib/libseccomp.so.2",
        "/lib/libseccomp.so.2",
    ):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            continue
        return path, found.st_size, found.st_mtime_ns
    return "", 0, 0


def _read(path: str) -> Filter | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(fd, "rb") as file:
        stat = os.fstat(fd)
        data = file.read(1 << 20)
    if stat.st_uid != os.geteuid() or stat.st_mode & 0o022 or not data.startswith(_MAGIC):
        return None
    head = len(_MAGIC)
    body = data[head + 64 :]
    if data[head : head + 64].decode("ascii", "replace") != _digest(body):
        return None
    program, bits, notify, ignored = marshal.loads(body)
    return Filter(program, bits, notify, list(ignored))


def _write(directory: str, path: str, found: Filter) -> None:
    """Keep it for the next start; a cache that cannot be written is a slower start, nothing else."""
    body = marshal.dumps((found.program, found.flags, found.notify, found.ignored), 2)
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(_MAGIC + _digest(body).encode() + body)
        os.rename(temporary, path)
    except OSError:
        return
