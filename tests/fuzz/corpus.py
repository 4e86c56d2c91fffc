# SPDX-License-Identifier: Apache-2.0
"""Write real plans, whole and of single steps, as the fuzzer's first inputs. usage: corpus.py DIRECTORY"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "unit"))

from test_plan import plans

from boxship.plan import steps, wire

directory = pathlib.Path(sys.argv[1])
for name, plan in plans().items():
    (directory / name).write_bytes(wire.encode(plan, slots={3: 4}))
for step in steps.STEPS:
    values = {"u": 1, "s": "/x", "b": b"xy", "a": ["one", "two"]}
    one = step(*(values[kind] for kind in wire.signature(step)))
    (directory / step.name()).write_bytes(wire.encode([wire.Planned(0, one)]))
