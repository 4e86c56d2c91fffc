# SPDX-License-Identifier: Apache-2.0
"""OCI hooks as ``Run`` steps, and the state that they read from their standard input.

The pid is not known when the plan is made: the state has ten blanks for it, which boxmon fills in. A
restarted container therefore runs its hooks without any Python.
"""

from __future__ import annotations

from boxship import fastjson
from boxship.plan import steps as s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.facts import Launch
    from boxship.spec.oci import Hook, Spec

_PID = '"pid":'
_ROOM = 10


def state(spec: Spec, launch: Launch, status: str) -> tuple[bytes, int]:
    """The state of runtime-spec, 'State', and where in it boxmon writes the pid."""
    head = {"ociVersion": spec.oci_version, "id": launch.id, "status": status}
    tail = {"bundle": launch.bundle, "annotations": dict(spec.annotations)}
    before = fastjson.dumps(head)[:-1] + "," + _PID
    text = before + " " * (_ROOM - 1) + "0," + fastjson.dumps(tail)[1:]
    return text.encode(), len(before.encode())


def run(hook: Hook, kind: str, data: bytes, pid_at: int, environment: list[str]) -> s.Run:
    """One hook; without an environment of its own it has the caller's."""
    argv = list(hook.args) or [hook.path]
    env = environment if hook.env is None else hook.env
    return s.Run([hook.path, *argv], list(env), data, pid_at, (hook.timeout or 0) * 1000, f"{kind} hook")
