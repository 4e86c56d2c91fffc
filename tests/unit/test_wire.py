# SPDX-License-Identifier: Apache-2.0
"""The launch protocol: encoding, the generated header, reports."""

from __future__ import annotations

import pathlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import boxship
from boxship.plan import steps as s
from boxship.plan import wire

NATIVE = pathlib.Path(__file__).parents[2] / "src" / "boxship" / "native"


def test_header_is_up_to_date():
    assert (NATIVE / "plan.h").read_text() == wire.header(), (
        "run: python -m boxship.plan.wire > src/boxship/native/plan.h"
    )


def test_codes_are_unique_and_without_gaps():
    assert [step.code for step in s.STEPS] == list(range(1, len(s.STEPS) + 1))


def test_every_step_is_in_the_interpreter():
    source = (NATIVE / "launch.c").read_text()
    for step in s.STEPS:
        assert f"[OP_{step.name().upper()}] = op_{step.name()}" in source


def sample(step: type[s.Step], text: str = "x", number: int = 7) -> s.Step:
    kinds = {"u": number, "s": text, "b": text.encode(), "a": [text, text]}
    return step(*(kinds[kind] for kind in wire.signature(step)))


@pytest.mark.parametrize("step", s.STEPS, ids=lambda step: step.name())
def test_describe_is_one_line(step):
    number = {"Call": 1, "Pivot": 1}.get(step.__name__, 7)
    line = sample(step, number=number).describe()
    assert line
    assert "\n" not in line


def decode(data: bytes) -> list[tuple[int, int, bool, list[object]]]:
    """An independent reader of the format, after the table in wire.py."""
    fixed = struct.Struct("<QIIiiII")
    _magic, size, count, _report, _trace, _flags, slots = fixed.unpack_from(data)
    assert size == len(data)
    at, out = fixed.size + 8 * slots, []
    for _ in range(count):
        length, code, side, optional = struct.unpack_from("<IHBB", data, at)
        fields, kinds = [], wire.signature(s.STEPS[code - 1])
        for n in range(len(kinds)):
            value, size_, kind = struct.unpack_from("<QII", data, at + 8 + 16 * n)
            fields.append(_field(chr(kind), value, size_, data[at : at + length]))
        out.append((code, side, bool(optional), fields))
        at += length
    assert at == len(data)
    return out


def _field(kind: str, value: int, size: int, step: bytes) -> object:
    if kind == "u":
        return value
    if kind == "a":
        offsets = struct.unpack_from(f"<{size + 1}Q", step, value)
        assert offsets[-1] == 0
        return [step[o : step.index(b"\0", o)].decode("utf-8", "surrogateescape") for o in offsets[:-1]]
    raw = step[value : value + size]
    assert step[value + size] == 0
    return raw if kind == "b" else raw.decode("utf-8", "surrogateescape")


text = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30)


@given(st.lists(st.sampled_from(s.STEPS), max_size=8), text, st.integers(0, 2**64 - 1))
def test_what_is_encoded_can_be_decoded(steps, word, number):
    plan = [wire.Planned(n % 2, sample(step, word, number), n % 3 == 0) for n, step in enumerate(steps)]
    found = decode(wire.encode(plan, slots={3: 9}))
    for line, (code, side, optional, fields) in zip(plan, found, strict=True):
        assert (code, side, optional) == (line.step.code, line.side, line.optional)
        assert fields == [getattr(line.step, name) for name in line.step.__fields__]


def test_nul_is_refused():
    with pytest.raises(ValueError, match="NUL"):
        wire.encode([wire.Planned(0, s.Open(1, "a\0b", 0))])
    with pytest.raises(ValueError, match="NUL"):
        wire.encode([wire.Planned(0, s.Exec(["a\0"], []))])


def test_size_limit():
    with pytest.raises(ValueError, match="limits"):
        wire.encode([wire.Planned(0, s.Exec(["a" * (wire.MAX_PLAN + 1)], []))])


def test_reports():
    body = b"openat2\0/etc\0detail\0x"
    raw = wire.REPORT.pack(wire.READY, 3, 0, 42, 0) + wire.REPORT.pack(wire.FAILED, 7, 2, 42, len(body)) + body
    ready, failed = wire.decode_reports(raw)
    assert (ready.kind, ready.pid) == (wire.READY, 42)
    assert (failed.call, failed.path, failed.detail, failed.errno, failed.step) == (
        "openat2",
        "/etc",
        b"detail\0x",
        2,
        7,
    )


@given(st.binary(max_size=200))
def test_reports_never_crash(data):
    try:
        wire.decode_reports(data)
    except ValueError as error:
        assert str(error)


def test_version_is_the_same_everywhere():
    top = pathlib.Path(__file__).parents[2]
    assert f'version = "{boxship.__version__}"' in (top / "pyproject.toml").read_text()
    assert boxship.__version__ in (top / "CHANGELOG.md").read_text()
