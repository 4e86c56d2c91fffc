# SPDX-License-Identifier: Apache-2.0
"""``box limit``: a command under limits; no namespaces, no root of its own."""

from __future__ import annotations

import sys

from boxship.cli.request import resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Parsed


def limit(parsed: Parsed) -> int:
    """Run it; its exit code is ours."""
    from boxship.engine import limit as engine

    ended, warnings = engine.run(parsed.operands, resources(parsed.values), timeout=parsed.values["timeout"])
    for line in warnings:
        sys.stderr.write(f"box: warning: {line}\n")
    if ended.oom:
        sys.stderr.write("box: the command was killed because its memory limit was reached\n")
    elif ended.timeout:
        sys.stderr.write("box: the command was killed because its time limit was reached\n")
    return ended.code
