# SPDX-License-Identifier: Apache-2.0
"""A plan being written: three lists of steps, and the numbering of slots.

Used by the builders in this package only. ``lines()`` puts the lists in the order in which they run.
"""

from __future__ import annotations

from boxship.errors import InvalidRequest
from boxship.plan import steps as s
from boxship.plan.facts import Compiled, Facts, Launch
from boxship.plan.namespaces import Decision, decide
from boxship.plan.wire import Planned
from boxship.plan.words import CALLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.spec.oci import Spec


class Draft:
    """What the builders add to, and what they may ask: the specification, the facts, the decision."""

    def __init__(self, spec: Spec, facts: Facts, compiled: Compiled, launch: Launch) -> None:
        self.spec, self.facts, self.compiled, self.launch = spec, facts, compiled, launch
        self.namespaces: Decision = decide(spec.linux.namespaces, privileged=facts.privileged)
        self.before: list[Planned] = []
        self.after: list[Planned] = []
        self.inside: list[Planned] = []
        self.meetings: list[Planned] = []
        self.cgroups: dict[str, int] = {}
        self._next = s.FIRST_FREE + len(launch.preserve)

    def slot(self) -> int:
        """A slot that no other step of this plan uses."""
        self._next += 1
        if self._next > s.LAST_FREE:
            raise InvalidRequest(
                "the container needs more than 180 mounts and descriptors at once",
                hint="bind a common parent directory instead of many single files",
            )
        return self._next - 1

    def early(self, step: s.Step, *, optional: bool = False) -> None:
        """The monitor does this before it clones."""
        self.before.append(Planned(s.MONITOR, step, optional))

    def late(self, step: s.Step, *, optional: bool = False) -> None:
        """The monitor does this once the child exists."""
        self.after.append(Planned(s.MONITOR, step, optional))

    def meet(self, step: s.Step) -> None:
        """The monitor does this after it has woken the child, in step with the child's own waits."""
        self.meetings.append(Planned(s.MONITOR, step))

    def child(self, step: s.Step, *, optional: bool = False) -> None:
        """The child does this."""
        self.inside.append(Planned(s.CHILD, step, optional))

    def call(self, name: str, *numbers: int, at: int = s.NONE, data: bytes = b"", optional: bool = False) -> None:
        """The child makes one system call."""
        self.child(call(name, *numbers, at=at, data=data), optional=optional)

    def lines(self) -> list[Planned]:
        """Monitor before the clone, the child, monitor after it: as one list, child steps in the middle."""
        return [*self.before, *self.inside, *self.after]


def call(name: str, *numbers: int, at: int = s.NONE, data: bytes = b"") -> s.Call:
    """A ``Call`` step by name; text buffers get their NUL from the wire."""
    a, b, c, d, *_ = (*numbers, 0, 0, 0, 0)
    return s.Call(CALLS.index(name), a, b, c, d, at, data)
