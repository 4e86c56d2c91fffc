# SPDX-License-Identifier: Apache-2.0
"""Interleaved measurement: every round runs each contender once, in an order drawn anew.

The machine's speed drifts; what is compared has run within the same second. A ratio's interval is a bootstrap of
the rounds: 95 % of resampled medians lie in it.
"""

from __future__ import annotations

import random
import statistics
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    #: does the thing once; returns how long it took in seconds, or None to let the harness time the call
    Contender = Callable[[], float | None]

_RESAMPLES = 1000


def interleave(contenders: dict[str, Contender], rounds: int, *, seed: int = 1) -> dict[str, list[float]]:
    """Seconds of each round, by contender; one round more is run first and thrown away."""
    dice = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        names = list(contenders)
        dice.shuffle(names)
        for name in names:
            begin = time.perf_counter()
            own = contenders[name]()
            took = time.perf_counter() - begin if own is None else own
            if number:
                times[name].append(took)
        _progress(number, rounds)
    return times


def _progress(number: int, rounds: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{number}/{rounds} " + ("\n" if number == rounds else ""))


def ratio(times: dict[str, list[float]], name: str, base: str, *, seed: int = 2) -> tuple[float, float, float]:
    """Median of ``name`` over median of ``base``, and the 95 % interval."""
    dice = random.Random(seed)
    pairs = list(zip(times[name], times[base], strict=True))
    resampled = sorted(_of_medians([dice.choice(pairs) for _ in pairs]) for _ in range(_RESAMPLES))
    return _of_medians(pairs), resampled[_RESAMPLES // 40], resampled[-_RESAMPLES // 40]


def _of_medians(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs)


def rows(times: dict[str, list[float]], base: str) -> list[dict[str, object]]:
    """One row a contender: median, p99 and the ratio to the base with its interval."""
    found: list[dict[str, object]] = []
    for name, values in times.items():
        middle, low, high = ratio(times, name, base)
        ordered = sorted(values)
        found.append({"name": name, "median_ms": statistics.median(values) * 1000, "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
                      "ratio": middle, "low": low, "high": high, "runs": len(values)})  # fmt: skip
    return found


def text(title: str, found: list[dict[str, object]], base: str) -> str:
    """The rows as a table."""
    from boxship.bench.table import table

    head = ("what", "median ms", "p99 ms", f"÷ {base}", "95 %", "runs")
    cells = [
        (
            r["name"],
            f"{r['median_ms']:.2f}",
            f"{r['p99_ms']:.2f}",
            f"{r['ratio']:.2f}",
            f"{r['low']:.2f}–{r['high']:.2f}",
            r["runs"],
        )
        for r in found
    ]
    return f"{title}\n{table(head, cells)}"
