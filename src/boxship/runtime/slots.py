# SPDX-License-Identifier: Apache-2.0
"""Descriptors that Python opens for a launch: fifos, sockets, user namespaces of idmapped mounts.

Each function pushes the closing onto the undo stack that it is given; boxmon has its own copies by then.
"""

from __future__ import annotations

import os
import stat

from boxship.errors import InvalidRequest, KernelError
from boxship.plan import hooks
from boxship.plan import steps as s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.facts import Launch
    from boxship.runtime.options import JoinOptions, Options
    from boxship.spec.oci import Spec
    from boxship.undo import Undo


def barrier(directory: str, undo: Undo) -> dict[int, int]:
    """The two fifos of a created container. Opened for reading and writing, neither ever blocks here."""
    found = {}
    for slot, name in ((s.START, "start"), (s.STATUS, "status")):
        path = f"{directory}/{name}"
        os.mkfifo(path, 0o600)
        found[slot] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        undo.push(os.close, found[slot])
    return found


def _connect(path: str, what: str, undo: Undo) -> int:
    import _socket

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    undo.push(sock.close)
    try:
        sock.connect(path)
    except OSError as error:
        raise KernelError.from_os("connect", error, path=path, hint=f"nobody listens on the {what}") from None
    return sock.fileno()


def console(options: Options | JoinOptions, undo: Undo) -> int:
    """The socket that takes the pty master: the caller's own end, or the one that --console-socket names."""
    if options.console:
        return options.console.open()
    if not options.console_socket:
        raise InvalidRequest(
            "$.process.terminal: a terminal for a detached container needs --console-socket",
            hint="pass --console-socket PATH, or set process.terminal to false",
        )
    return _connect(options.console_socket, "console socket", undo)


def listener(spec: Spec, undo: Undo) -> int:
    """The socket of the agent that answers seccomp notifications."""
    path = str((spec.linux.seccomp or {}).get("listenerPath") or "")
    if not path:
        raise InvalidRequest(
            "$.linux.seccomp.listenerPath: missing, but an action is SCMP_ACT_NOTIFY",
            hint="name the agent's socket, or use another action",
        )
    return _connect(path, "seccomp agent's socket", undo)


def listener_state(spec: Spec, launch: Launch) -> tuple[bytes, int]:
    """ContainerProcessState of runtime-spec, sent with the listener; the pid's place is after ``"pid":``."""
    from boxship import fastjson

    state, _ = hooks.state(spec, launch, "creating")
    head = f'{{"ociVersion":{fastjson.dumps(spec.oci_version)},"fds":["seccompFd"],"pid":'.encode()
    metadata = (spec.linux.seccomp or {}).get("listenerMetadata") or ""
    tail = f',"metadata":{fastjson.dumps(metadata)},"state":'.encode()
    # Both pids are the container's first process; boxmon fills in one, the inner state may say 0 while creating.
    return head + b"         0" + tail + state + b"}", len(head)


def pipes_among_streams() -> list[int]:
    """Which of 0, 1, 2 are pipes or sockets: those may be given to the container's user, files may not."""
    found = []
    for fd in range(3):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:  # closed by the caller, which it may
            continue
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            found.append(fd)
    return found


def _idmapped(spec: Spec) -> list[int]:
    """Mounts with id mappings of their own, other than those of the container."""
    linux = spec.linux
    return [
        n
        for n, m in enumerate(spec.mounts)
        if m.uid_mappings and (m.uid_mappings, m.gid_mappings) != (linux.uid_mappings, linux.gid_mappings)
    ]


def userns_numbers(spec: Spec) -> dict[int, int]:
    """The slot of each such mount's user namespace: above the slots of preserved descriptors."""
    return {index: s.LAST_FREE + at for at, index in enumerate(_idmapped(spec)[:48])}


def userns(spec: Spec, undo: Undo) -> dict[int, int]:
    """Make the user namespaces that those mounts are mapped by."""
    found = {}
    for index, slot in userns_numbers(spec).items():
        from boxship.kernel import idmap

        mount = spec.mounts[index]
        found[slot] = idmap.namespace(
            [(m.container_id, m.host_id, m.size) for m in mount.uid_mappings],
            [(m.container_id, m.host_id, m.size) for m in mount.gid_mappings],
        )
        undo.push(os.close, found[slot])
    return found
