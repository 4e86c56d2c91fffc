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
    import select

    group = groups.of_path(state.cgroup)
    seen = group.oom_kills()
    pidfd = os.pidfd_open(state.pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        while not poller.poll(interval * 1000):
            now = group.oom_kills()
            if now > seen:
                seen = now
                yield {"type": "oom", "id": state.id}
            yield statistics(state)
        if group.oom_kills() > seen:
            yield {"type": "oom", "id": state.id}
    finally:
        os.close(pidfd)
