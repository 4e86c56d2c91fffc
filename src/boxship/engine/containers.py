# SPDX-License-Identifier: Apache-2.0
"""Containers that exist: find, list, join, stop, wait, remove. Their directories say what is."""

from __future__ import annotations

import os

from boxship.engine import host, names
from boxship.engine.host import store
from boxship.engine.names import SHORT
from boxship.engine.users import resolve
from boxship.errors import Conflict, NotFound
from boxship.record import Record
from boxship.runtime import groups, monitor
from boxship.runtime.monitor import Exit
from boxship.runtime.state import State, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.runtime.launch import Launched
    from boxship.runtime.state import Store
    from boxship.runtime.terminal import Pair

SIGTERM, SIGKILL = 15, 9
_HEX = frozenset("0123456789abcdef")


class Row(Record):
    """One line of ``box ps``."""

    id: str
    name: str
    command: str
    status: str
    pid: int
    exit_code: int | None


def find(word: str) -> State:
    """The container with this id, unique beginning of an id, or name."""
    found = store()
    if word and set(word) <= _HEX and os.path.isdir(found.directory(word[:SHORT])):
        return found.load(word[:SHORT])
    named = names.owner(found.root, word) if word and "/" not in word else ""
    if named:
        return found.load(named)
    matching = [name for name in found.names() if word and name.startswith(word)]
    if len(matching) > 1:
        raise Conflict(f"{word!r} is the beginning of {len(matching)} containers' ids", hint="give more of the id")
    if not matching:
        raise NotFound(f"no such container: {word}", hint="box ps lists them")
    return found.load(matching[0])


def directory(word: str) -> str:
    """The directory of a container."""
    return store().directory(find(word).id)


def pids(state: State) -> tuple[int, int]:
    """Monitor and first process, if they live; a restart changes the latter."""
    return monitor.read_pids(store().directory(state.id))


def status(state: State) -> str:
    """created, running, paused or exited."""
    if pids(state)[1]:
        return "paused" if groups.of_path(state.cgroup).frozen else "running"
    return "exited" if monitor.has_begun(store().directory(state.id)) else "creating"


def states() -> list[State]:
    """The records of all containers."""
    found, kept = store(), []
    for name in found.names():
        try:
            kept.append(found.load(name))
        except NotFound:  # removed right now
            continue
    return kept


def list_all() -> list[Row]:
    """All containers of this user."""
    found, rows = store(), []
    for state in states():
        ended = monitor.read_exit(found.directory(state.id))
        rows.append(
            Row(
                state.id,
                state.annotations.get("name", ""),
                state.annotations.get("command", ""),
                status(state),
                pids(state)[1],
                ended.code if ended else None,
            )
        )
    return rows


def running(word: str) -> tuple[State, int, int]:
    """The container with its monitor's and its first process's pid; Conflict when it does not run."""
    state = find(word)
    above, first = pids(state)
    if not first:
        raise Conflict(f"container {state.id} is not running", hint=f"box why {state.id} says how it ended")
    return state, above, first


def execute(
    word: str,
    argv: list[str],
    *,
    env: list[str],
    workdir: str,
    user: str,
    console: Pair | None,
    stdin: bool,
    detached: bool = False,
) -> tuple[Launched, list[str]]:
    """Start one more process in a container, as its first process was started: same limits, filter, capabilities."""
    from boxship.runtime import join, lifecycle
    from boxship.runtime.oci_exec import merged
    from boxship.runtime.options import JoinOptions
    from boxship.spec import oci

    state, _, first = running(word)
    spec = lifecycle.specification(store(), state)
    base = spec.process or oci.Process()
    identity = resolve(user) if user else None
    changes: dict[str, object] = {
        "args": argv,
        "env": merged(base.env, env),
        "terminal": console is not None,
        "cwd": workdir or base.cwd,
    }
    if identity:
        changes["user"] = oci.User(uid=identity.uid, gid=identity.gid, additional_gids=identity.groups)
        if identity.uid and base.capabilities:
            changes["capabilities"] = base.capabilities.replace(effective=[], permitted=[], ambient=[])
    state = state.replace(pid=first, start_time=start_time(first))
    return join.join(
        state, spec, base.replace(**changes), JoinOptions(console=console, null_stdin=not stdin, detached=detached)
    )


def kill(word: str, number: int) -> None:
    """Signal a container's first process, through its monitor, which holds its pidfd."""
    state, _, _ = running(word)
    client = monitor.Client.connect(store().directory(state.id))
    try:
        client.send(monitor.SIGNAL, number.to_bytes(4, "little"))
    finally:
        client.close()


def stop(word: str, seconds: float) -> None:
    """The stop signal; after ``seconds`` the kill. Returns when the container has ended, and will not restart."""
    import _signal
    import select

    state = find(word)
    above, _ = pids(state)
    if not above:
        return
    fd = os.pidfd_open(above)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        _signal.pidfd_send_signal(fd, SIGTERM)
        if not poller.poll(max(0, int(seconds * 1000))):
            groups.of_path(state.cgroup).kill(SIGKILL)
            poller.poll()
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


def wait(word: str) -> Exit:
    """Wait until a container has ended; how it did."""
    state = find(word)
    above, _ = pids(state)
    told = _told(state, above) if above else None
    # A container of `-d --rm` has taken its record with it by now: then what its monitor told is all there is.
    return monitor.read_exit(store().directory(state.id)) or told or Exit(code=137)


def _told(state: State, above: int) -> Exit | None:
    """What the monitor tells its clients at its end; None when it could not. Returns when the monitor has gone."""
    import select

    try:
        fd = os.pidfd_open(above)
    except ProcessLookupError:
        return None
    try:
        client = monitor.Client.connect(store().directory(state.id))
        try:
            said = [monitor.exit_of(data) for kind, data in client.frames() if kind == monitor.EXIT]
        finally:
            client.close()
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        poller.poll()
        return Exit(code=said[-1][0], signal=said[-1][1]) if said else None
    except (Conflict, FileNotFoundError):  # it has just ended
        return None
    finally:
        os.close(fd)


def remove(word: str, *, force: bool) -> None:
    """Remove a container that has ended; with ``force`` end it first."""
    found, state = store(), find(word)
    try:
        while not _removed(found, state, force=force):
            stop(state.id, 0)
    except NotFound:  # its own clean-up (-d --rm), or somebody else, was faster
        return


def _removed(found: Store, state: State, *, force: bool) -> bool:
    """Take away what has ended; False when it runs. The lock is not held while it is stopped: its monitor may want it."""
    lock = found.lock(state.id)  # not while it is being started, nor while somebody else removes it
    try:
        if not pids(state)[0]:
            host.clear(state.id, state.cgroup, state.annotations.get("name", ""))
            return True
        if not force:
            raise Conflict(
                f"container {state.id} is running", hint=f"box stop {state.id}, or box rm --force {state.id}"
            )
        return False
    finally:
        os.close(lock)


def why(word: str) -> str:
    """How a container has ended, in one line."""
    from boxship.runtime.signals import signal_name

    state = find(word)
    ended = monitor.read_exit(store().directory(state.id))
    if ended is None:
        return f"{state.id}: {status(state)}" + (
            "" if pids(state)[0] else ": its monitor was killed, and the container with it"
        )
    seconds = (ended.finished_ns - ended.started_ns) / 1e9
    if ended.error_call:
        what = f"did not start: {ended.error_call}({ended.error_path}): {os.strerror(ended.error_errno)} (step {ended.error_step + 1})"
    elif ended.oom:
        what = "was killed because its memory limit was reached (out of memory)"
    elif ended.timeout:
        what = "was killed because its time limit was reached"
    elif ended.signal:
        what = f"was ended by {signal_name(ended.signal)}" + (", core dumped" if ended.core else "")
    else:
        what = f"exited with code {ended.code}"
    used = f"{(ended.utime_us + ended.stime_us) / 1e6:.3f} s of processor, {ended.maxrss_kib} KiB at most"
    return f"{state.id}: {what} after {seconds:.3f} s ({used})"
