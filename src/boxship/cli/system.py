# SPDX-License-Identifier: Apache-2.0
"""``box system`` and ``box version``."""

from __future__ import annotations

import sys

from boxship import __version__, fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Parsed


def version(parsed: Parsed) -> int:
    """Show the version."""
    sys.stdout.write(f"box version {__version__}\n")
    return 0


def check(parsed: Parsed) -> int:
    """What a crash has left behind; exit code 1 when there is something that was not repaired."""
    from boxship.engine import check as engine

    repair = parsed.values["repair"]
    found = engine.check(repair=repair)
    for line in found:
        sys.stdout.write(f"{'removed' if repair else 'found'}: {line}\n")
    if not found:
        sys.stdout.write("nothing is left behind\n")
    return 1 if found and not repair else 0


def info(parsed: Parsed) -> int:
    """What this host can do."""
    from boxship.engine.info import info as found

    facts = found()
    if parsed.values["format"] == "json":
        sys.stdout.write(fastjson.dumps(facts, indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{key}: {value}\n" for key, value in facts.items()))
    return 0
