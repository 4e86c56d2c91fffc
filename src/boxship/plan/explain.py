# SPDX-License-Identifier: Apache-2.0
"""A plan as a person or a program reads it: ``--explain`` and ``--trace``.

Used by ``box run`` and ``boxc``; the golden files in tests/unit/golden hold this text.
"""

from __future__ import annotations

from boxship import fastjson
from boxship.plan.steps import SIDES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.wire import Planned


def text(plan: list[Planned], before: list[str] | None = None, times: list[int] | None = None) -> str:
    """One line a step: number, time since the first step in µs where it is known, side, what it does.

    ``before`` are the steps that Python takes itself before boxmon starts, already described.
    """
    lines = [f"      engine   {line}" for line in before or []]
    first = min((t for t in times or [] if t), default=0)
    for number, line in enumerate(plan):
        lines.append(
            f"{number + 1:4}  {SIDES[line.side]:8} {_time(times, number, first)}{line.step.describe()}{_optional(line)}"
        )
    return "\n".join(lines) + "\n"


def _time(times: list[int] | None, number: int, first: int) -> str:
    if times is None:
        return ""
    at = times[number] if number < len(times) else 0
    return f"{(at - first) / 1000:9.1f} µs  " if at else "        –      "


def _optional(line: Planned) -> str:
    return "  (may be refused)" if line.optional else ""


def json(plan: list[Planned], before: list[str] | None = None, times: list[int] | None = None) -> str:
    """The same as one JSON document, with every field of every step."""
    steps = [{"side": "engine", "does": line} for line in before or []]
    for number, line in enumerate(plan):
        step: dict[str, object] = {
            "number": number + 1,
            "side": SIDES[line.side],
            "step": line.step.name(),
            "does": line.step.describe(),
            "optional": line.optional,
            "fields": {k: _plain(v) for k, v in line.step.as_dict().items()},
        }
        if times is not None and number < len(times) and times[number]:
            step["monotonic_ns"] = times[number]
        steps.append(step)  # type: ignore[arg-type]
    return fastjson.dumps(steps, indent=2) + "\n"


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value
