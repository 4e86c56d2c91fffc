# SPDX-License-Identifier: Apache-2.0
"""The plan of a process that joins a running container.

The namespaces are those of the container's first process, joined by its pidfd (setns(2), Linux 5.8): they
cannot be another process's, whatever happens to the number. A privileged caller joins the user namespace
last, see ``namespaces.py``.
"""

from __future__ import annotations

from boxship.plan import identity, joins, stdio
from boxship.plan import rootfs as paths
from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.plan.build import search_path
from boxship.plan.draft import Draft
from boxship.spec.oci import Linux, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.facts import Compiled, Facts, Launch
    from boxship.plan.wire import Planned
    from boxship.spec.oci import Process


_WHOSE = "the container's first process"


def process(process: Process, flags: int, facts: Facts, compiled: Compiled, launch: Launch) -> list[Planned]:
    """The plan; ``flags`` are the CLONE_ bits of the namespaces in which the container differs from the caller."""
    d = Draft(Spec(process=process, linux=Linux()), facts, compiled, launch)
    joins.prepare(d)
    late = w.CLONE_NEWPID if flags & w.CLONE_NEWPID and not flags & w.CLONE_NEWUSER else 0
    _join(d, flags & ~late)
    if late:
        d.child(s.Setns(s.PIDFD, late, _WHOSE))
    d.child(s.Wait())
    if flags & w.CLONE_NEWUSER:
        d.call("setresgid", 0, 0, 0)
        d.call("setresuid", 0, 0, 0)
    identity.guard(d)
    identity.initial_affinity(d)
    joins.cgroups(d)
    identity.session(d)
    identity.own_files(d, process)
    joins.enter(d, fork=bool(late))
    d.child(s.Open(s.ROOT, "/", w.O_PATH))
    stdio.terminal(d, process, mount=False)
    identity.limits(d, process)
    d.child(s.ChDir(paths.clean(process.cwd)))
    stdio.own(d)
    identity.filter_early(d, process)
    identity.ids(d, process)
    d.child(s.Lookup(process.args[0], search_path(process.env)))
    stdio.redirect(d)
    identity.filter_late(d, process)
    d.child(s.Exec(process.args, process.env))
    joins.clone(d)
    return d.lines()


def _join(d: Draft, flags: int) -> None:
    others, user = flags & ~w.CLONE_NEWUSER, flags & w.CLONE_NEWUSER
    order = (others, user) if d.facts.privileged else (user | others, 0)
    for bits in order:
        if bits:
            d.early(s.Setns(s.PIDFD, bits, _WHOSE))
