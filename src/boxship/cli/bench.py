# SPDX-License-Identifier: Apache-2.0
"""``box bench``."""

from __future__ import annotations

import sys

from boxship import fastjson
from boxship.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Parsed


def bench(parsed: Parsed) -> int:
    """Measure, print a table, keep the figures."""
    name, runs = parsed.operands[0], parsed.values["runs"]
    if runs < 1:
        raise InvalidRequest(f"--runs {runs}: at least 1")
    if name == "startup":
        from boxship.bench import measure, startup

        rows = startup.run(runs)
        shown = measure.text("start, run `true`, clean up", rows, startup.BASE)
    elif name == "footprint":
        from boxship.bench import footprint

        rows = footprint.run(runs)
        shown = footprint.text(rows)
    else:
        raise InvalidRequest(f"unknown benchmark {name!r}", hint="there are startup and footprint")
    sys.stdout.write(shown)
    if parsed.values["output"]:
        with open(parsed.values["output"], "w", encoding="utf-8") as file:
            file.write(fastjson.dumps(rows, indent=2) + "\n")
    return 0
