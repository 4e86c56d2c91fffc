# SPDX-License-Identifier: Apache-2.0
"""Which namespaces are made, joined or kept, and when: one pure function, one truth table in its test.

See namespaces(7), clone(2), setns(2). The order is the kernel's, not a matter of taste:

- a privileged caller joins the user namespace last, while it still has capabilities over the others;
  an unprivileged caller joins it first, since only there it gets any;
- a new cgroup namespace is unshared by the child once it is in its cgroup, which becomes the root it sees;
- a new time namespace is unshared by the child too: its offsets can be written only while nobody is in it,
  and exec(2) then moves the process there (Linux 6.3; timens_on_fork for children since 5.6).
"""

from __future__ import annotations

from boxship.plan.words import CLONE_NEWCGROUP, CLONE_NEWTIME, CLONE_NEWUSER, NAMESPACES
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from boxship.spec.oci import Namespace


class Join(Record):
    """A namespace that exists: its type's CLONE_ flag and the file that names it."""

    flag: int
    path: str


class Decision(Record):
    """``new``: flags for clone3. ``late``: flags the child unshares. ``joins``: setns calls, in order."""

    new: int
    late: int
    joins: list[Join]

    def has(self, flag: int) -> bool:
        """Whether the container has such a namespace of its own or of another, not the host's."""
        return bool((self.new | self.late) & flag) or any(join.flag == flag for join in self.joins)

    def made(self, flag: int) -> bool:
        """Whether the namespace is made for this container."""
        return bool((self.new | self.late) & flag)


def decide(namespaces: Iterable[Namespace], *, privileged: bool) -> Decision:
    """Sort the namespaces of a specification into made and joined."""
    new, joins = 0, []
    for namespace in namespaces:
        flag = NAMESPACES[namespace.type]
        if namespace.path:
            joins.append(Join(flag, namespace.path))
        else:
            new |= flag
    user_last = 1 if privileged else -1
    joins.sort(key=lambda join: user_last if join.flag == CLONE_NEWUSER else 0)
    late = new & (CLONE_NEWCGROUP | CLONE_NEWTIME)
    return Decision(new & ~late, late, joins)
