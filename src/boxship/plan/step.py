# SPDX-License-Identifier: Apache-2.0
"""What all steps of a plan have in common, and the slots that every plan uses for the same thing."""

from __future__ import annotations

from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

MONITOR, CHILD = 0, 1
SIDES = ("monitor", "child")

#: Slots that every plan uses for the same thing.
NONE, HOST_PROC, DEV_NULL, ROOT, SYNC, PTY = 255, 1, 2, 3, 4, 5
#: Slots that the caller fills: fifos of the barrier, console socket, seccomp listener, first client, pidfd.
START, STATUS, CONSOLE, LISTENER, CLIENT, PIDFD = 6, 7, 8, 9, 10, 11
#: The monitor's pipes to the standard streams, and /dev/null opened for reading and writing.
STDIN_CHILD, STDIN_MONITOR, STDOUT_MONITOR, STDOUT_CHILD, STDERR_MONITOR, STDERR_CHILD, STDNULL = range(12, 19)
FIRST_FREE, LAST_FREE = 20, 200


class Step(Record):
    """Base of all steps. ``optional``: a refusal by the kernel is a warning, not a failure."""

    code: ClassVar[int] = 0

    def describe(self) -> str:
        """What this step does, as one line; the default is the call as a man page writes it."""
        inside = ", ".join(_short(getattr(self, name)) for name in self.__fields__)
        return f"{self.name()}({inside})"

    @classmethod
    def name(cls) -> str:
        """The operation's name on the wire and in messages: ``OpenTree`` → ``open_tree``."""
        return "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")


def _short(value: object) -> str:
    if isinstance(value, str):
        return value if len(value) <= 60 else value[:57] + "…"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_short(v) for v in value) + "]"
    return str(value)
