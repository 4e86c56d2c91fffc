# SPDX-License-Identifier: Apache-2.0
"""The plan of a command that only has limits: join the cgroups, exec. ``box limit`` uses it."""

from __future__ import annotations

from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.plan.build import search_path
from boxship.plan.wire import Planned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.facts import Hierarchy


def command(
    argv: list[str], env: list[str], cwd: str, hierarchies: list[Hierarchy], supervise: s.Supervise
) -> list[Planned]:
    """Everything is the caller's own but the cgroups."""
    before: list[s.Step] = []
    inside: list[s.Step] = []
    for number, hierarchy in enumerate(hierarchies):
        path = f"{hierarchy.directory}/cgroup.procs"
        before.append(s.Open(s.FIRST_FREE + number, path, w.O_WRONLY))
        inside.append(s.WriteSlot(s.FIRST_FREE + number, b"0", path))
    inside += [s.Open(s.ROOT, "/", w.O_PATH), s.ChDir(cwd), s.Lookup(argv[0], search_path(env)), s.Exec(argv, env)]
    after: list[s.Step] = [s.Ready(), supervise]
    return [
        *(Planned(s.MONITOR, step) for step in [*before, s.Clone(0, s.NONE)]),
        *(Planned(s.CHILD, step) for step in inside),
        *(Planned(s.MONITOR, step) for step in after),
    ]
