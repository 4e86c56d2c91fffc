# SPDX-License-Identifier: Apache-2.0
"""Standard streams: a terminal of the container's own, pipes to the monitor, or what the caller has.

See pty(7). With a terminal, the child opens it in the container's devpts and sends the master to whoever
asked for it: the caller's console socket, or the monitor over the sync socket.
"""

from __future__ import annotations

from boxship.plan import steps as s
from boxship.plan import words as w

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.draft import Draft
    from boxship.spec.oci import Process

_STREAMS = (("stdin", 0), ("stdout", 1), ("stderr", 2))


def terminal(d: Draft, process: Process, *, mount: bool = True) -> None:
    """Open the pty and make it the controlling terminal, when the process wants one."""
    if not process.terminal:
        return
    size = process.console_size
    own = d.namespaces.made(w.CLONE_NEWNS)
    to = s.SYNC if d.launch.supervise else s.CONSOLE
    d.child(s.Console(to, int(mount and own), size.height if size else 0, size.width if size else 0, process.user.uid))
    if d.launch.supervise:
        d.meet(s.TakePty(s.SYNC))


def _terminal(d: Draft) -> bool:
    return bool(d.spec.process and d.spec.process.terminal)


def pipes(d: Draft) -> None:
    """The monitor's pipes; a stream that is not piped reads and writes /dev/null."""
    if _terminal(d) or (d.launch.stdio == "inherit" and not d.launch.null_stdin):
        return
    d.early(s.Open(s.STDNULL, "/dev/null", w.O_RDWR))
    if d.launch.stdio == "pipe":
        d.early(s.Pipe(s.STDIN_CHILD, s.STDIN_MONITOR))
        d.early(s.Pipe(s.STDOUT_MONITOR, s.STDOUT_CHILD))
        d.early(s.Pipe(s.STDERR_MONITOR, s.STDERR_CHILD))


def own(d: Draft) -> None:
    """Give inherited pipes to the container's user, so that it can open /dev/stdout; while the process may."""
    if d.spec.process and d.spec.process.user.uid and d.launch.stdio == "inherit":
        user = d.spec.process.user
        for fd in d.launch.chown:
            d.call("fchown", fd, user.uid, user.gid, optional=True)


def redirect(d: Draft) -> None:
    """Put the streams where the program expects them, and keep the descriptors that it is to inherit."""
    # From the last to the first: a number that is still a source must not be overwritten.
    for number, fd in reversed(list(enumerate(d.launch.preserve))):
        d.child(s.Dup(s.FIRST_FREE + number, fd))
    if d.launch.stdio == "inherit" or _terminal(d):
        if d.launch.null_stdin and not _terminal(d):
            d.child(s.Dup(s.STDNULL, 0))
        return
    piped = d.launch.stdio == "pipe"
    slots = ((s.STDIN_CHILD if d.launch.interactive else s.STDNULL), s.STDOUT_CHILD, s.STDERR_CHILD)
    for (_, fd), slot in zip(_STREAMS, slots):
        d.child(s.Dup(slot if piped else s.STDNULL, fd))


def monitor_ends(d: Draft) -> None:
    """The monitor lets go of the child's ends, so that end of file comes through."""
    if d.launch.stdio == "pipe" and not _terminal(d):
        for slot in (s.STDIN_CHILD, s.STDOUT_CHILD, s.STDERR_CHILD):
            d.late(s.Close(slot))
        if not d.launch.interactive:
            d.late(s.Close(s.STDIN_MONITOR))
