# SPDX-License-Identifier: Apache-2.0
"""Tables and sizes for people."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns three blanks apart, as Docker prints them."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    return "".join("   ".join(cell.ljust(widths[n]) for n, cell in enumerate(row)).rstrip() + "\n" for row in cells)


def size(number: int) -> str:
    """``64MiB`` of 67108864."""
    value, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.4g}{unit}"
