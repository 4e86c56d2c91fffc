# SPDX-License-Identifier: Apache-2.0
"""The life of a container after create: state, start, kill, pause, resume, delete.

See runtime-spec, 'Lifecycle'. Commands on the same container take turns by a lock on its directory; the
status is asked of the kernel each time. Called by ``oci_cli.py``.
"""

from __future__ import annotations

import errno
import os

from boxship.errors import BoxshipError, Conflict, KernelError, NotFound, SpecError
from boxship.plan import wire
from boxship.runtime import groups
from boxship.runtime.launch import failure_at_start
from boxship.runtime.state import State, Store, alive, waits_at_barrier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.spec.oci import Spec

CREATED, RUNNING, PAUSED, STOPPED, CREATING = "created", "running", "paused", "stopped", "creating"
SIGKILL = 9


def status(store: Store, state: State) -> str:
    """The container's status in the words of the specification, plus ``paused``."""
    if not state.pid:
        return CREATING
    if not alive(state):
        return STOPPED
    if waits_at_barrier(store.directory(state.id)):
        return CREATED
    return PAUSED if state.cgroup and groups.of_path(state.cgroup).frozen else RUNNING


def specification(store: Store, state: State) -> Spec:
    """The container's config.json, as it was at create."""
    from boxship.spec import oci

    with open(f"{store.directory(state.id)}/config.json", "rb") as file:
        return oci.load(file.read())


def require(store: Store, state: State, *wanted: str) -> str:
    """The status, if it is one of these; Conflict otherwise."""
    found = status(store, state)
    if found not in wanted:
        # containerd knows a container that has ended by the words 'container not running'.
        ended = "container not running: " if found == STOPPED else ""
        raise Conflict(
            f"{ended}container {state.id!r} is {found}, not {' or '.join(wanted)}",
            hint=f"boxc state {state.id} shows it",
        )
    return found


def start(store: Store, name: str) -> list[str]:
    """Let a created container go on to exec; returns warnings. The poststart hooks run here."""
    lock = store.lock(name)
    try:
        state = store.load(name)
        require(store, state, CREATED)
        directory = store.directory(name)
        reader = os.open(f"{directory}/status", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _release(directory, state)
            _await_exec(reader)
        finally:
            os.close(reader)
        poststart(store, state, specification(store, state))
        return []
    finally:
        os.close(lock)


def poststart(store: Store, state: State, spec: Spec) -> None:
    """The poststart hooks; one that fails ends the container, as runtime-spec 1.2.1 demands."""
    failed = run_hooks(state, spec, "poststart", RUNNING)
    if failed:
        _delete(store, state.id, force=True)
        raise BoxshipError(failed[0], hint="the container has been stopped and deleted")


def _release(directory: str, state: State) -> None:
    try:
        fd = os.open(f"{directory}/start", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise Conflict(f"container {state.id!r} has stopped before it was started", hint="delete it") from None
        raise KernelError.from_os("open", error) from None
    try:
        os.write(fd, b"\n")
    finally:
        os.close(fd)


def _await_exec(reader: int) -> None:
    """Until exec closes the status fifo: silence means success, a report is the reason why not."""
    import select

    poller = select.poll()
    poller.register(reader, select.POLLIN)
    data = b""
    while True:
        poller.poll()
        try:
            part = os.read(reader, 4096)
        except BlockingIOError:  # somebody looked at the fifo, and left
            continue
        if not part:
            break
        data += part
    reports = wire.decode_reports(data)
    failed = [report for report in reports if report.kind == wire.FAILED]
    if failed:
        raise failure_at_start(failed[0])


def run_hooks(state: State, spec: Spec, kind: str, status_word: str) -> list[str]:
    """Run the hooks of one kind that Python runs; returns what failed."""
    hooks = getattr(spec.hooks, kind, None) if spec.hooks else None
    if not hooks:
        return []
    from boxship.runtime.posthooks import run_hook

    document = document_of(state, status_word)
    return [line for hook in hooks if (line := run_hook(hook, kind, document))]


def document_of(state: State, status_word: str) -> dict[str, object]:
    """The state as the specification has it; hooks and ``boxc state`` get this."""
    found: dict[str, object] = {
        "ociVersion": state.oci_version,
        "id": state.id,
        "status": status_word,
        "bundle": state.bundle,
        "annotations": state.annotations,
    }
    if status_word != STOPPED:
        found["pid"] = state.pid
    return found


def kill(store: Store, name: str, number: int, *, everyone: bool = False) -> None:
    """Send a signal to the container's first process, or to all of its cgroup."""
    state = store.load(name)
    if everyone:
        groups.of_path(state.cgroup).kill(number)
        return
    if state.pid and not alive(state) and not _own_pid_namespace(store, state) and number == SIGKILL:
        groups.of_path(state.cgroup).kill(number)
        return
    require(store, state, CREATED, RUNNING, PAUSED)
    signal_process(state, number)
    if number == SIGKILL and not _own_pid_namespace(store, state):
        groups.of_path(state.cgroup).kill(number)
    elif number == SIGKILL and groups.of_path(state.cgroup).frozen:
        groups.of_path(state.cgroup).thaw()


def _own_pid_namespace(store: Store, state: State) -> bool:
    """Whether the kernel ends every process of the container with the first."""
    return any(n.type == "pid" and not n.path for n in specification(store, state).linux.namespaces)


def signal_process(state: State, number: int) -> None:
    """By pidfd, and only if it is still the process that was recorded."""
    import _signal

    try:
        fd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise Conflict(f"container not running: {state.id!r}") from None
    try:
        if not alive(state):
            raise Conflict(f"container not running: {state.id!r}")
        _signal.pidfd_send_signal(fd, number)
    except OSError as error:
        raise KernelError.from_os("pidfd_send_signal", error, path=str(state.pid)) from None
    finally:
        os.close(fd)


def pause(store: Store, name: str) -> None:
    """Freeze the container's cgroup."""
    state = store.load(name)
    require(store, state, CREATED, RUNNING)
    groups.of_path(state.cgroup).freeze()


def resume(store: Store, name: str) -> None:
    """Thaw the container's cgroup."""
    state = store.load(name)
    require(store, state, PAUSED)
    groups.of_path(state.cgroup).thaw()


def delete(store: Store, name: str, *, force: bool = False) -> list[str]:
    """Remove a stopped container; with ``force`` end it first. Finishes what a killed create left."""
    try:
        lock = store.lock(name)
    except NotFound:
        if force:
            return []
        raise
    try:
        return _delete(store, name, force=force)
    finally:
        os.close(lock)


def _delete(store: Store, name: str, *, force: bool) -> list[str]:
    try:
        state = store.load(name)
    except SpecError:  # a record that cannot be read: what is known is where the group would be
        if not force:
            raise
        groups.remove(groups.of_path(f"{groups.BUNDLE_PARENT}/{name}"), "")
        store.remove(name)
        return []
    found = status(store, state)
    if found not in (STOPPED, CREATED) and not force:
        raise Conflict(
            f"cannot delete container {name!r} that is {found}",
            hint=f"boxc kill {name} KILL, or boxc delete --force {name}",
        )
    group = groups.of_path(state.cgroup)
    if found != STOPPED or (state.cgroup and not _own_pid_namespace(store, state)):
        group.kill(SIGKILL)
        _end(state)
    # With a pid namespace of its own nothing of a stopped container is left: who is in its group is another's.
    if found != STOPPED or not group.pids():
        groups.remove(group, state.unit)
    warnings = _poststop(store, state)
    store.remove(name)
    return warnings


def _end(state: State) -> None:
    """Kill the first process and wait until it is gone, by its pidfd."""
    try:
        fd = os.pidfd_open(state.pid) if state.pid else -1
    except ProcessLookupError:
        return
    if fd < 0:
        return
    import _signal
    import select

    try:
        if alive(state):
            _signal.pidfd_send_signal(fd, SIGKILL)
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            poller.poll()
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


def _poststop(store: Store, state: State) -> list[str]:
    try:
        with open(f"{store.directory(state.id)}/config.json", "rb") as file:
            if b'"poststop"' not in file.read():  # most have none: reading it all would be for nothing
                return []
    except FileNotFoundError:
        return []
    return run_hooks(state, specification(store, state), "poststop", STOPPED)
