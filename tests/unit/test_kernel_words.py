# SPDX-License-Identifier: Apache-2.0
"""Translators from words to numbers and bytes: device programs, seccomp, capabilities, scheduling, signals."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxship.errors import BoxshipError, InvalidRequest, SpecError
from boxship.kernel import capabilities, devices, scheduler, seccomp
from boxship.runtime.signals import NUMBERS, signal_name, signal_number
from boxship.spec.seccomp_default import default_profile


def interpret(program: bytes, kind: int, access: int, major: int, minor: int) -> bool:
    """The few BPF instructions that device programs are made of."""
    registers = [0, 0, 0, 0, 0, 0]
    context = struct.pack("<III", kind | access << 16, major, minor)
    at, steps = 0, 0
    while True:
        code, pair, offset, value = struct.unpack_from("<BBhi", program, at * 8)
        dst, src = pair & 15, pair >> 4
        at, steps = at + 1, steps + 1
        assert steps < 5000
        if code == 0x61:
            registers[dst] = struct.unpack_from("<I", context, offset)[0]
        elif code == 0x54:
            registers[dst] &= value & 0xFFFFFFFF
        elif code == 0x74:
            registers[dst] >>= value
        elif code == 0xB4:
            registers[dst] = value & 0xFFFFFFFF
        elif code == 0xBC:
            registers[dst] = registers[src] & 0xFFFFFFFF
        elif code == 0x55:
            at += offset if registers[dst] != value else 0
        elif code == 0x5D:
            at += offset if registers[dst] != registers[src] else 0
        elif code == 0x15:
            at += offset if registers[dst] == value else 0
        elif code == 0x95:
            return bool(registers[0])
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


def allowed(rules: list[dict], kind: str, access: str, major: int, minor: int) -> bool:
    """The rules, read naively: from the last one back, the first that says something decides."""
    for rule in reversed(rules):
        if rule["type"] not in ("a", kind):
            continue
        if rule.get("major") not in (None, -1, major) or rule.get("minor") not in (None, -1, minor):
            continue
        covered = set(rule["access"])
        if rule["allow"] and set(access) <= covered:
            return True
        if not rule["allow"] and set(access) & covered:
            return False
    return False


number = st.integers(0, 3)
rule = st.fixed_dictionaries({"allow": st.booleans(), "type": st.sampled_from("abc"), "access": st.sampled_from(["r", "w", "m", "rw", "rwm", "wm"]),
                              "major": st.none() | number | st.just(-1), "minor": st.none() | number})  # fmt: skip


@settings(max_examples=300)
@given(st.lists(rule, max_size=8), st.sampled_from("bc"), st.sampled_from(["r", "w", "m", "rw", "rwm"]), number, number)
def test_device_program_decides_as_the_rules_do(rules, kind, access, major, minor):
    bits = sum({"m": 1, "r": 2, "w": 4}[c] for c in access)
    found = interpret(devices.program(rules), {"b": 1, "c": 2}[kind], bits, major, minor)
    assert found == allowed(rules, kind, access, major, minor)


def test_default_devices():
    program = devices.program([{"allow": False, "type": "a", "access": "rwm"}, *devices.DEFAULT_RULES])
    assert interpret(program, 2, 6, 1, 3)
    assert interpret(program, 2, 6, 136, 77)
    assert interpret(program, 2, 1, 200, 200), "mknod alone is harmless"
    assert not interpret(program, 2, 2, 1, 1), "/dev/mem"
    assert not interpret(program, 1, 2, 8, 0), "a disk"


PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["read", "nonesuch"], "action": "SCMP_ACT_ALLOW"}],
}


def test_seccomp_program_and_ignored_names():
    found = seccomp.compile_profile(PROFILE)
    assert len(found.program) % 8 == 0
    assert found.program
    assert found.ignored == ["nonesuch"]
    assert not found.notify


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"defaultAction": "X"}, "$.linux.seccomp.defaultAction"),
        ({"architectures": ["SCMP_ARCH_VAX"]}, "$.linux.seccomp.architectures[0]"),
        ({"flags": ["X"]}, "$.linux.seccomp.flags[0]"),
        ({"syscalls": [{"names": ["read"], "action": "X"}]}, "$.linux.seccomp.syscalls[0].action"),
        (
            {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 5}]},
            "$.linux.seccomp.syscalls[0].action",
        ),
        (
            {
                "syscalls": [
                    {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}
                ]
            },
            "args[0].index",
        ),
        (
            {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "LIKE"}]}]},
            "args[0].op",
        ),
        ({"syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]}, "$.linux.seccomp.syscalls[0].names"),
    ],
)
def test_seccomp_errors_name_the_place(change, path):
    with pytest.raises(SpecError) as error:
        seccomp.compile_profile({**PROFILE, **change})
    assert path in str(error.value)


def test_seccomp_cache(tmp_path):
    directory = str(tmp_path / "cache")
    found = seccomp.compile_cached(PROFILE, directory)
    seccomp._known.clear()
    assert seccomp.compile_cached(PROFILE, directory) == found
    (path,) = (tmp_path / "cache").iterdir()
    good = path.read_bytes()
    for bad in (b"", good[:-1], good[:100] + bytes([good[100] ^ 1]) + good[101:], b"x" + good):
        path.write_bytes(bad)
        seccomp._known.clear()
        assert seccomp.compile_cached(PROFILE, directory) == found, "a damaged cache is compiled again"
        assert path.read_bytes() == good
    path.chmod(0o666)
    seccomp._known.clear()
    path.write_bytes(good.replace(b"\x06", b"\x07"))
    assert seccomp.compile_cached(PROFILE, directory) == found, "one that others can write is not trusted"


def test_default_profile_opens_with_capabilities():
    few, many = default_profile([]), default_profile(list(capabilities.NAMES))
    assert "mount" not in few["syscalls"][0]["names"]
    assert "mount" in many["syscalls"][0]["names"]
    for name in ("keyctl", "io_uring_setup", "userfaultfd", "kexec_load", "swapon", "add_key"):
        assert name not in many["syscalls"][0]["names"]
    assert seccomp.compile_profile(few).program


def test_capability_masks():
    sets = {
        "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"],
        "permitted": ["CAP_CHOWN", "CAP_MAGIC"],
        "ambient": ["CAP_CHOWN"],
    }
    found = capabilities.masks(sets, available=(1 << 41) - 1 & ~(1 << 24))
    assert found.bounding == 1
    assert found.ambient == 0, "not inheritable"
    assert "CAP_SYS_RESOURCE" in " ".join(found.warnings)
    assert "CAP_MAGIC" in " ".join(found.warnings)
    assert capabilities.names(capabilities.mask(list(capabilities.NAMES))) == list(capabilities.NAMES)


def test_scheduling_words():
    assert scheduler.io_priority("IOPRIO_CLASS_IDLE", 3) == 3 << 13 | 3
    assert scheduler.personality("LINUX32", []) == 8
    assert (
        len(
            scheduler.attributes(
                "SCHED_FIFO", nice=0, priority=5, flags=["SCHED_FLAG_RESET_ON_FORK"], runtime=0, deadline=0, period=0
            )
        )
        == 48
    )
    assert scheduler.bitmap("0-1,64", "$") == (3).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert scheduler.memory_policy("MPOL_BIND", "0", ["MPOL_F_STATIC_NODES"])[0] == 2 | 1 << 15
    for call in (lambda: scheduler.bitmap("3-1", "$"), lambda: scheduler.bitmap("x", "$"), lambda: scheduler.io_priority("X", 1),
                 lambda: scheduler.personality("VAX", []), lambda: scheduler.memory_policy("MPOL_X", "", [])):  # fmt: skip
        with pytest.raises(SpecError):
            call()


@given(st.text(max_size=12))
def test_bitmap_gives_bytes_or_an_error(text):
    try:
        assert len(scheduler.bitmap(text, "$")) % 8 == 0
    except BoxshipError as error:
        assert str(error).startswith("$")


@pytest.mark.parametrize(
    ("word", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("9", 9), ("RTMIN", 34), ("RTMIN+3", 37), ("RTMAX-1", 63)],
)
def test_signals(word, number):
    assert signal_number(word) == number


@pytest.mark.parametrize("word", ["", "0", "65", "FOO", "RTMIN+99", "-1", "RTMIN+", "1.5"])
def test_unknown_signals(word):
    with pytest.raises(InvalidRequest, match="unknown signal"):
        signal_number(word)


def test_signal_names_go_both_ways():
    for name, value in NUMBERS.items():
        assert signal_number(signal_name(value)) == value, name
