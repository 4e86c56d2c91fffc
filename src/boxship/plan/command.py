# SPDX-License-Identifier: Apache-2.0
"""The plan of a command that only has limits: join the cgroups, exec. ``box limit`` uses it."""

from __future__ import annotations

from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.plan.build import search_path
from boxship.plan.joins import born_in, moves, open_groups
from boxship.plan.wire import Planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.facts import Hierarchy


def command(
    argv: list[str], env: list[str], cwd: str, hierarchies: list[Hierarchy], supervise: s.Supervise
) -> list[Planned]:
    """Everything is the caller's own but the cgroups."""
    before: list[s.Step] = []
    numbers = iter(range(s.FIRST_FREE, s.LAST_FREE))
    slots = open_groups(hierarchies, lambda: next(numbers), before.append)
    inside = moves(hierarchies, slots)
    inside += [s.Open(s.ROOT, "/", w.O_PATH), s.ChDir(cwd), s.Lookup(argv[0], search_path(env)), s.Exec(argv, env)]
    before.append(s.Clone(0, born_in(hierarchies, slots)))
    sides = ((s.MONITOR, before), (s.CHILD, inside), (s.MONITOR, [s.Ready(), supervise]))
    return [Planned(side, step) for side, steps in sides for step in steps]
