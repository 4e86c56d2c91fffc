# SPDX-License-Identifier: Apache-2.0
"""``box bench footprint``: memory per idle container, for a growing number of them.

Two figures: how much less memory is available, and what the monitors' own pages are (proportional set size and
private pages, from smaps_rollup). See proc(5).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.engine.host import Started

STEP = 10


def run(count: int) -> list[dict[str, object]]:
    """Start ``count`` idle containers, in steps; returns a row for each step."""
    from boxship.engine import containers, host
    from boxship.spec.request import Request

    started: list[Started] = []
    rows: list[dict[str, object]] = []
    try:
        host.run(Request(["true"]))  # what is loaded once must not be counted
        before = _available()
        while len(started) < count:
            for _ in range(min(STEP, count - len(started))):
                started.append(host.start(host.draw(Request(["sleep", "1000000"], detach=True))))
            rows.append(_row(before, [one.launched.boxmon for one in started]))
    finally:
        for one in started:
            os.close(one.client)
            containers.remove(one.drawn.launch.id, force=True)
            one.reap()
    return rows


def _row(before: int, monitors: list[int]) -> dict[str, object]:
    sizes = [_rollup(pid) for pid in monitors]
    number = len(monitors)
    return {
        "containers": number,
        "available_kib_each": (before - _available()) / number,
        "monitor_pss_kib": sum(one["Pss"] for one in sizes) / number,
        "monitor_private_kib": sum(one["Private_Clean"] + one["Private_Dirty"] for one in sizes) / number,
    }


def _available() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))


def _rollup(pid: int) -> dict[str, int]:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        next(file)
        return {line.split(":")[0]: int(line.split()[1]) for line in file}


def text(rows: list[dict[str, object]]) -> str:
    """The rows as a table."""
    from boxship.bench.table import table

    head = ("idle containers", "KiB less available, each", "monitor PSS KiB", "monitor private KiB")
    cells = [
        (r["containers"], *(f"{r[k]:.0f}" for k in ("available_kib_each", "monitor_pss_kib", "monitor_private_kib")))
        for r in rows
    ]
    return table(head, cells)
