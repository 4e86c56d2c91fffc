# SPDX-License-Identifier: Apache-2.0
"""Device rules on cgroup v2: an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE; see bpf(2).

``program`` is a pure assembler: the last rule that matches wins, as on the v1 devices controller. ``attach``
loads it and puts it on the cgroup in the place of the one that was there.
"""

from __future__ import annotations

import struct

from boxship.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Rules that every container gets, before its own: mknod of anything, the default devices, ptys.
DEFAULT_RULES: list[dict[str, Any]] = [
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 8, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 0, "access": "rwm"},
    {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
]

_INSN = struct.Struct("<BBhi")
_LDX_W, _AND32_K, _RSH32_K, _MOV64_X, _MOV32_K, _MOV32_X = 0x61, 0x54, 0x74, 0xBF, 0xB4, 0xBC
_JNE_K, _JNE_X, _EXIT = 0x55, 0x5D, 0x95
_ACCESS = {"m": 1, "r": 2, "w": 4}
_TYPES = {"b": 1, "c": 2, "u": 2}
_BPF_PROG_LOAD, _BPF_PROG_ATTACH, _BPF_PROG_DETACH, _BPF_PROG_GET_FD_BY_ID, _BPF_PROG_QUERY = 5, 8, 9, 13, 16
_CGROUP_DEVICE_PROG, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI = 15, 6, 2
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}


def _insn(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return _INSN.pack(code, dst | src << 4, offset, value - (1 << 32) if value >= 1 << 31 else value)


def program(rules: list[dict[str, Any]]) -> bytes:
    """The program for OCI rules (allow, type, major, minor, access), in the order in which they are given."""
    # r2 type, r3 access, r4 major, r5 minor: struct bpf_cgroup_dev_ctx
    out = [
        _insn(_LDX_W, 2, 1, 0),
        _insn(_AND32_K, 2, value=0xFFFF),
        _insn(_LDX_W, 3, 1, 0),
        _insn(_RSH32_K, 3, value=16),
        _insn(_LDX_W, 4, 1, 4),
        _insn(_LDX_W, 5, 1, 8),
    ]
    closed = False
    for rule in reversed(rules):
        block = _rule(rule)
        out += block
        if len(block) == 2:  # a rule without conditions ends the list
            closed = True
            break
    if not closed:
        out += [_insn(_MOV32_K, 0, value=0), _insn(_EXIT)]
    return b"".join(out)


def _rule(rule: dict[str, Any]) -> list[bytes]:
    """Conditions that jump over the verdict when they do not hold, then the verdict."""
    wanted = sum(_ACCESS[c] for c in set(rule.get("access") or "rwm"))
    kind = rule.get("type") or "a"
    tests: list[bytes] = []
    if kind in _TYPES:
        tests.append(_insn(_JNE_K, 2, value=_TYPES[kind]))
    if wanted != 7:
        # An allow must cover all that is asked for; a deny is enough for any of it.
        tests += [_insn(_MOV32_X, 1, 3), _insn(_AND32_K, 1, value=wanted)]
        tests.append(_insn(_JNE_X, 1, 3) if rule.get("allow") else _insn(0x15, 1, value=0))
    for register, key in ((4, "major"), (5, "minor")):
        if rule.get(key) is not None and rule[key] >= 0:
            tests.append(_insn(_JNE_K, register, value=rule[key]))
    verdict = [_insn(_MOV32_K, 0, value=int(bool(rule.get("allow")))), _insn(_EXIT)]
    return [_aim(test, len(tests) - at - 1 + len(verdict)) for at, test in enumerate(tests)] + verdict


def _aim(insn: bytes, distance: int) -> bytes:
    """Fill in the distance of a jump; other instructions stay as they are."""
    code, registers, _, value = _INSN.unpack(insn)
    return insn if code & 7 != 5 else _INSN.pack(code, registers, distance, value)


def attach(cgroup: str, code: bytes) -> None:
    """Load the program and put it on the cgroup directory, replacing what Boxship had there."""
    import ctypes
    import os

    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = _attached(ctypes, fd)
        new = _load(ctypes, code)
        try:
            _bpf(ctypes, _BPF_PROG_ATTACH, struct.pack("<IIII", fd, new, _CGROUP_DEVICE_ATTACH, _ALLOW_MULTI), cgroup)
            for number in old:
                _detach(ctypes, os, fd, number, cgroup)
        finally:
            os.close(new)
    finally:
        os.close(fd)


def _load(ctypes: Any, code: bytes) -> int:
    insns, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"Apache-2.0")
    attr = struct.pack(
        "<IIQQIIQI", _CGROUP_DEVICE_PROG, len(code) // 8, ctypes.addressof(insns), ctypes.addressof(licence), 0, 0, 0, 0
    )
    return _bpf(ctypes, _BPF_PROG_LOAD, attr, "device program")


def _attached(ctypes: Any, fd: int) -> list[int]:
    ids = (ctypes.c_uint32 * 64)()
    attr = struct.pack("<IIIIQI", fd, _CGROUP_DEVICE_ATTACH, 0, 0, ctypes.addressof(ids), 64)
    buffer = ctypes.create_string_buffer(attr, 64)
    _bpf(ctypes, _BPF_PROG_QUERY, buffer, "device programs")
    return list(ids[: int.from_bytes(buffer.raw[24:28], "little")])


def _detach(ctypes: Any, os: Any, cgroup: int, number: int, path: str) -> None:
    old = _bpf(ctypes, _BPF_PROG_GET_FD_BY_ID, struct.pack("<III", number, 0, 0), path)
    try:
        _bpf(ctypes, _BPF_PROG_DETACH, struct.pack("<III", cgroup, old, _CGROUP_DEVICE_ATTACH), path)
    finally:
        os.close(old)


def _bpf(ctypes: Any, command: int, attr: Any, path: str) -> int:
    import os

    buffer = ctypes.create_string_buffer(attr, 120) if isinstance(attr, bytes) else attr
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SYS_BPF[os.uname().machine]
    result = int(libc.syscall(number, command, ctypes.byref(buffer), ctypes.sizeof(buffer)))
    if result < 0:
        raise KernelError("bpf", path, ctypes.get_errno(), hint="device rules on cgroup v2 need CAP_BPF or root")
    return result
