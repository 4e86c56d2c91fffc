# SPDX-License-Identifier: Apache-2.0
"""The launch protocol: what Python and boxmon say to each other, in one table.

| message   | direction          | payload                                | descriptor               |
|-----------|--------------------|----------------------------------------|--------------------------|
| PLAN      | Python → boxmon    | header, steps (below)                  | argv[1], a memfd         |
| READY     | boxmon → Python    | the child's pid                        | report pipe              |
| ENTERED   | boxmon → Python    | pid of a child that another replaces   | report pipe              |
| CREATED   | child → Python     | –, it now waits for the start fifo     | report pipe              |
| WARNING   | either → Python    | step, errno, call, path                | report pipe              |
| FAILED    | either → Python    | step, errno, call, path, detail        | report pipe, status fifo |
| (end)     | exec → Python      | end of file: the program is running    | report pipe, status fifo |
| start     | ``start`` → child  | one byte                               | start fifo               |
| wake      | boxmon → child     | one byte; end of file: monitor failed  | sync socket (slot SYNC)  |
| pty       | child → boxmon     | one byte with the pty master           | any socket slot          |
| trace     | both → Python      | ns of CLOCK_MONOTONIC, one u64 a step  | header.trace, a memfd    |

End of file on the report pipe before READY is a failure. All numbers are little-endian, as on every
architecture that Boxship runs on.

A plan is a header and ``count`` steps. A step is an 8-byte head and one 16-byte cell for each field, then
the bytes that the cells point to (offsets from the start of the step):

    head  u32 size | u16 code | u8 side | u8 optional
    cell  u64 value or offset | u32 length | u32 kind ('u', 's', 'b', 'a')

Strings and bytes end with a NUL that ``length`` does not count. A list (``a``) points to ``length`` + 1
offsets, the last one 0. boxmon checks every cell once, turns offsets into pointers in place, and from then
on neither parses nor allocates.

``python -m boxship.plan.wire`` prints native/plan.h; a test compares the two.
"""

from __future__ import annotations

import struct

from boxship.plan import steps as s
from boxship.plan.words import CALLS
from boxship.record import Record

MAGIC = 0x314E_4C50_584F_42  # "BOXPLN1\0"
MAX_PLAN = 16 << 20
MAX_STEPS = 4096
MAX_SLOTS = 256

#: Header after the magic: name, struct code, meaning.
HEADER = (
    ("size", "I", "of the whole plan in bytes"),
    ("count", "I", "of steps"),
    ("report", "i", "descriptor of the report pipe"),
    ("trace", "i", "descriptor of the trace memfd, or -1"),
    ("flags", "I", "reserved, 0"),
    ("slots", "I", "number of (slot, descriptor) pairs that follow the header"),
)

READY, CREATED, WARNING, FAILED, ENTERED = 1, 2, 3, 4, 5
REPORTS = {"READY": READY, "CREATED": CREATED, "WARNING": WARNING, "FAILED": FAILED, "ENTERED": ENTERED}
REPORT = struct.Struct("<IIiII")
MAX_REPORT = 1024

#: Frames on a container's attach socket: kind, length, then the bytes. See docs/monitor.md.
FRAMES = {"STDIN": 0, "STDOUT": 1, "STDERR": 2, "RESIZE": 3, "CLOSE": 4, "EXIT": 5, "SIGNAL": 6}
FRAME = struct.Struct("<II")

#: Slots that the C side knows by name.
_C_SLOTS = (
    "NONE",
    "HOST_PROC",
    "DEV_NULL",
    "ROOT",
    "SYNC",
    "PTY",
    "CLIENT",
    "STDIN_MONITOR",
    "STDOUT_MONITOR",
    "STDERR_MONITOR",
)

_U64, _U = 0xFFFF_FFFF_FFFF_FFFF, ord("u")
_FIXED = struct.Struct("<Q" + "".join(code for _, code, _ in HEADER))
_PAIR = struct.Struct("<ii")
_KINDS = {"int": "u", "str": "s", "bytes": "b", "list[str]": "a"}


class Planned(Record):
    """A step with its side: one line of a plan."""

    side: int
    step: s.Step
    optional: bool = False


def signature(step: type[s.Step]) -> str:
    """The kinds of a step's fields, ``'uss'``."""
    return "".join(_KINDS[step.__annotations__[name]] for name in step.__fields__)


def encode(
    plan: list[Planned], *, report: int = -1, trace: int = -1, flags: int = 0, slots: dict[int, int] | None = None
) -> bytes:
    """The bytes that boxmon reads. ``slots`` maps slot numbers to descriptors that boxmon inherits."""
    body = b"".join(_encode_step(line) for line in plan)
    pairs = b"".join(_PAIR.pack(slot, fd) for slot, fd in (slots or {}).items())
    size = _FIXED.size + len(pairs) + len(body)
    if size > MAX_PLAN or len(plan) > MAX_STEPS:
        raise ValueError(f"plan of {size} bytes and {len(plan)} steps is over the protocol's limits")
    fixed = _FIXED.pack(MAGIC, size, len(plan), report, trace, flags, len(slots or {}))
    return fixed + pairs + body


def _encode_step(line: Planned) -> bytes:
    step = line.step
    kinds, packer = _layouts[type(step)]
    numbers: list[int] = []
    data, at = b"", packer.size
    for kind, name in zip(kinds, step.__fields__):
        value = getattr(step, name)
        if kind == "u":
            numbers += (value & _U64, 0, _U)
            continue
        raw, length = _encode_value(kind, value, at)
        numbers += (at, length, ord(kind))
        data += raw
        at += len(raw)
    return packer.pack(at, step.code, line.side, line.optional, *numbers) + data


def _encode_value(kind: str, value: object, at: int) -> tuple[bytes, int]:
    if kind == "a":
        return _encode_list(value, at)  # type: ignore[arg-type]
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    if kind == "s" and b"\0" in raw:
        raise ValueError(f"NUL in {value!r}")
    return _pad(raw + b"\0"), len(raw)


def _encode_list(values: list[str], at: int) -> tuple[bytes, int]:
    raw = [value.encode("utf-8", "surrogateescape") + b"\0" for value in values]
    position = at + 8 * (len(raw) + 1)
    offsets = []
    for item in raw:
        offsets.append(position)
        position += len(item)
    if any(b"\0" in item[:-1] for item in raw):
        raise ValueError("NUL in a list of strings")
    return _pad(struct.pack(f"<{len(raw) + 1}Q", *offsets, 0) + b"".join(raw)), len(raw)


def _pad(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 8)


class Report(Record):
    """One message from boxmon or from the child."""

    kind: int
    step: int
    errno: int
    pid: int
    call: str
    path: str
    detail: bytes


def decode_reports(data: bytes) -> list[Report]:
    """Cut what came through the report pipe into messages; raises ValueError when one is incomplete."""
    found, at = [], 0
    while at < len(data):
        if len(data) - at < REPORT.size:
            raise ValueError("a report ends within its head")
        kind, step, code, pid, length = REPORT.unpack_from(data, at)
        at += REPORT.size
        body = data[at : at + length]
        if length > MAX_REPORT or len(body) < length:
            raise ValueError("a report ends within its body")
        at += length
        call, _, rest = body.partition(b"\0")
        path, _, detail = rest.partition(b"\0")
        found.append(Report(kind, step, code, pid, call.decode(), path.decode("utf-8", "surrogateescape"), detail))
    return found


def header() -> str:
    """The text of native/plan.h."""
    out = [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        "/* Generated from plan/wire.py and plan/steps.py by `python -m boxship.plan.wire`; do not edit. */",
        "#pragma once",
        "#include <stdint.h>",
        "",
        f"#define PLAN_MAGIC {MAGIC:#x}ull",
        f"#define MAX_PLAN {MAX_PLAN}u",
        f"#define MAX_STEPS {MAX_STEPS}u",
        f"#define MAX_SLOTS {MAX_SLOTS}u",
        f"#define MAX_REPORT {MAX_REPORT}u",
        "",
    ]
    out += _enum("side", {f"SIDE_{name.upper()}": n for n, name in enumerate(s.SIDES)})
    out += _enum("slot", {f"SLOT_{n}": getattr(s, n) for n in _C_SLOTS})
    out += _enum("report_kind", {f"REPORT_{name}": n for name, n in REPORTS.items()})
    out += _enum("frame_kind", {f"FRAME_{name}": n for name, n in FRAMES.items()})
    out += _enum(
        "word",
        {
            n: getattr(s, n)
            for n in (
                "ATTACH_NOFOLLOW",
                "ATTACH_PROC",
                "PIVOT",
                "PIVOT_MOVE",
                "PIVOT_CHROOT",
                "RESTART_NO",
                "RESTART_ON_FAILURE",
                "RESTART_ALWAYS",
            )
        },
    )
    out += _enum(
        "op", {f"OP_{step.name().upper()}": step.code for step in s.STEPS} | {"OP_COUNT": s.STEPS[-1].code + 1}
    )
    for step in s.STEPS:
        names = {f"{step.name().upper()}_{field.upper()}": i for i, field in enumerate(step.__fields__)}
        out += _enum("", names) if names else []
    out += ["struct plan_header {", "    uint64_t magic;"]
    out += [f"    {'uint32_t' if code == 'I' else 'int32_t'} {name}; /* {text} */" for name, code, text in HEADER]
    out += ["};", "", "#define PLAN_SIGNATURES { \\"]
    out += [f'    [OP_{step.name().upper()}] = "{signature(step)}", \\' for step in s.STEPS]
    out += ["}", "#define PLAN_NAMES { \\"]
    out += [f'    [OP_{step.name().upper()}] = "{step.name()}", \\' for step in s.STEPS]
    out += [
        "}",
        f"#define CALL_COUNT {len(CALLS)}",
        "#define CALL_NUMBERS { " + ", ".join(f"SYS_{c}" for c in CALLS) + " }",
        "#define CALL_NAMES { " + ", ".join(f'"{c}"' for c in CALLS) + " }",
        "",
    ]
    return "\n".join(out)


def _enum(name: str, members: dict[str, int]) -> list[str]:
    inside = ", ".join(f"{member} = {number}" for member, number in members.items())
    return [f"enum {name} {{ {inside} }};".replace("enum  {", "enum {"), ""]


#: step → its signature, and its head and cells as one struct
_layouts = {step: (signature(step), struct.Struct("<IHBB" + "QII" * len(step.__fields__))) for step in s.STEPS}

if __name__ == "__main__":
    import sys

    sys.stdout.write(header())
