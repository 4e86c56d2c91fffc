# SPDX-License-Identifier: Apache-2.0
"""The Python side of a container's monitor: its exit record, its pids, its attach socket. See docs/monitor.md."""

from __future__ import annotations

import fcntl
import os
import struct

from boxship.errors import Conflict, KernelError
from boxship.plan.wire import FRAME, FRAMES
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STDIN, STDOUT, STDERR, RESIZE, CLOSE, EXIT, SIGNAL = (
    FRAMES[n] for n in ("STDIN", "STDOUT", "STDERR", "RESIZE", "CLOSE", "EXIT", "SIGNAL")
)
_INTEGERS = (
    "pid",
    "code",
    "signal",
    "core",
    "oom",
    "timeout",
    "stopped",
    "started_ns",
    "finished_ns",
    "utime_us",
    "stime_us",
    "maxrss_kib",
    "restarts",
    "error_step",
    "error_errno",
)


class Exit(Record):
    """How a container ended. Times of day in ns, processor times in µs, memory in KiB."""

    pid: int = 0
    code: int = 0
    signal: int = 0
    core: int = 0
    oom: int = 0
    timeout: int = 0
    stopped: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    utime_us: int = 0
    stime_us: int = 0
    maxrss_kib: int = 0
    restarts: int = 0
    error_step: int = 0
    error_errno: int = 0
    error_call: str = ""
    error_path: str = ""


def read_exit(directory: str) -> Exit | None:
    """The exit record; None while the container has not ended once."""
    try:
        with open(f"{directory}/exit", encoding="utf-8", errors="surrogateescape") as file:
            pairs = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    except FileNotFoundError:
        return None
    values: dict[str, Any] = {k: int(v) if k in _INTEGERS else v for k, v in pairs.items() if k in Exit.__fields__}
    return Exit(**values)


#: struct flock of 64-bit Linux: type, whence, start, length, pid
_FLOCK = struct.Struct("hhqqi4x")


def has_begun(directory: str) -> bool:
    """Whether a monitor has ever taken the container over."""
    return os.path.exists(f"{directory}/monitor")


def monitor_pid(directory: str) -> int:
    """The monitor's pid, from the kernel: it holds a record lock as long as it lives (fcntl(2), F_GETLK)."""
    try:
        fd = os.open(f"{directory}/monitor", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        kind, *_, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0)))
    finally:
        os.close(fd)
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def read_pids(directory: str) -> tuple[int, int]:
    """Pids of the monitor and of the container's first process; zeros when the monitor has gone."""
    living = monitor_pid(directory)
    try:
        with open(f"{directory}/pid", encoding="ascii") as file:
            _, child = file.read().split()
    except FileNotFoundError:  # not yet, or not any more
        return living, 0
    return living, int(child) if living else 0


class Client:
    """A connection to a monitor. It may be closed at any time: the container does not notice."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._data = b""

    @classmethod
    def connect(cls, directory: str) -> Client:
        """Attach to a running container."""
        import _socket

        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        at = os.open(directory, os.O_PATH | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{at}/attach")  # the path itself may be longer than a socket's address
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            raise Conflict(f"{os.path.basename(directory)}: the container is not running") from None
        except OSError as error:
            sock.close()
            raise KernelError.from_os("connect", error, path=f"{directory}/attach") from None
        finally:
            os.close(at)
        return cls(sock.detach())

    def send(self, kind: int, data: bytes = b"") -> None:
        """One frame; a monitor that has gone is not an error, its EXIT frame has told all."""
        view = memoryview(FRAME.pack(kind, len(data)) + data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except (BrokenPipeError, ConnectionResetError):
            return

    def resize(self, rows: int, columns: int) -> None:
        """Tell the container's terminal its size."""
        self.send(RESIZE, rows.to_bytes(2, "little") + columns.to_bytes(2, "little"))

    def receive(self) -> list[tuple[int, bytes]] | None:
        """Frames that have come; waits for some. None at the end of the connection."""
        part = os.read(self.fd, 65536)
        if not part:
            return None
        self._data += part
        found = []
        while len(self._data) >= FRAME.size:
            kind, length = FRAME.unpack_from(self._data)
            if len(self._data) < FRAME.size + length:
                break
            found.append((kind, self._data[FRAME.size : FRAME.size + length]))
            self._data = self._data[FRAME.size + length :]
        return found

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """All frames to the end."""
        while (some := self.receive()) is not None:
            yield from some

    def close(self) -> None:
        """Detach."""
        os.close(self.fd)


def exit_of(data: bytes) -> tuple[int, int]:
    """Code and signal of an EXIT frame."""
    return int.from_bytes(data[:4], "little", signed=True), int.from_bytes(data[4:8], "little", signed=True)
