# SPDX-License-Identifier: Apache-2.0
"""events: statistics at intervals and OOM kills as they happen, in the form of ``runc events``."""

from __future__ import annotations

import os

from boxship.kernel.cgroup.stats import read as read_stats
from boxship.runtime import groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from boxship.runtime.state import State


def statistics(state: State) -> dict[str, Any]:
    """One ``stats`` event."""
    return {"type": "stats", "id": state.id, "data": read_stats(groups.of_path(state.cgroup))}


def events(state: State, *, once: bool, interval: float) -> Iterator[dict[str, Any]]:
    """Statistics now and every ``interval`` seconds, and OOM events, until the container's first process ends."""
    yield statistics(state)
    if once:
        return
    group = groups.of_path(state.cgroup)
    pidfd = os.pidfd_open(state.pid)
    oom, wanted = group.watch_oom()
    try:
        yield from _watch(state, group, pidfd, oom, wanted, interval)
    finally:
        os.close(oom)
        os.close(pidfd)


def _watch(
    state: State, group: groups.Group, pidfd: int, oom: int, wanted: int, interval: float
) -> Iterator[dict[str, Any]]:
    import select

    seen, poller = group.oom_kills(), select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(oom, wanted)
    ended = False
    while not ended:
        fds = [fd for fd, _ in poller.poll(interval * 1000)]
        ended = pidfd in fds
        if oom in fds and wanted == select.POLLIN:
            # v1 notifies before it kills: the notification is the event, the counter comes later.
            os.eventfd_read(oom)
            yield {"type": "oom", "id": state.id}
        elif wanted == select.POLLPRI:
            os.pread(oom, 4096, 0)  # takes the notification back
            now = group.oom_kills()
            if now > seen:
                yield {"type": "oom", "id": state.id}
            seen = now
        if not fds:
            yield statistics(state)
