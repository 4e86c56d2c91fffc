# SPDX-License-Identifier: Apache-2.0
"""The user's terminal in front of a container's pty: raw mode, window size, both directions. See termios(3)."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414
SIGWINCH = 28


class Pair:
    """A socket pair through which the container's pty master arrives, and the pump behind it."""

    def __init__(self) -> None:
        self.own: Any = None
        self.other: Any = None
        self.master = -1

    def open(self) -> int:
        """Make the pair; the descriptor of the container's end."""
        import _socket

        self.own, self.other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        return int(self.other.fileno())

    def receive(self) -> int:
        """The pty master that the container's process has sent."""
        _, ancillary, _, _ = self.own.recvmsg(64, 64)
        raw = ancillary[0][2]
        self.master = int.from_bytes(raw[:4], "little", signed=True)
        os.set_inheritable(self.master, False)
        return self.master

    def pump(self, ended: int) -> None:
        """Copy both ways until the container's side is closed, or the process of the pidfd ``ended`` has ended."""
        pump(self.receive(), 0, 1, ended)

    def close(self) -> None:
        """Close whatever is open."""
        if self.own:
            self.own.close()
            self.other.close()
        if self.master >= 0:
            os.close(self.master)


def window_size(fd: int) -> tuple[int, int]:
    """Rows and columns of a terminal; (0, 0) when it is none."""
    import fcntl

    try:
        raw = fcntl.ioctl(fd, _TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return 0, 0
    return int.from_bytes(raw[0:2], "little"), int.from_bytes(raw[2:4], "little")


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Tell a pty its size."""
    import fcntl

    fcntl.ioctl(fd, _TIOCSWINSZ, rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + b"\0" * 4)


class Raw:
    """A terminal in raw mode for as long as the block lasts; anything else is left alone."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.saved: Any = None

    def __enter__(self) -> Raw:
        if self.fd >= 0 and os.isatty(self.fd):
            import tty
            from termios import TCSANOW, tcgetattr

            self.saved = tcgetattr(self.fd)
            tty.setraw(self.fd, TCSANOW)  # what has been typed already is meant for the container
        return self

    def __exit__(self, *_: object) -> None:
        if self.saved is not None:
            from termios import TCSADRAIN, tcsetattr

            tcsetattr(self.fd, TCSADRAIN, self.saved)


def pump(master: int, stdin: int, stdout: int, ended: int) -> None:
    """Between the user's streams and the pty, with window size, until the pty's other side is closed.

    ``ended`` is a pidfd: a process that has ended is not waited for, though others hold its terminal open.
    """
    import _signal

    def resize(*_: object) -> None:
        rows, columns = window_size(stdin)
        if rows:
            set_window_size(master, rows, columns)

    _signal.signal(SIGWINCH, resize)
    resize()
    os.set_blocking(master, False)
    with Raw(stdin):
        _copy(master, stdin, stdout, ended)


def _copy(master: int, stdin: int, stdout: int, ended: int) -> None:
    """Input waits in ``pending`` until the pty takes it; meanwhile output goes on, or both sides would wait for ever."""
    import select

    poller, pending, open_in = select.poll(), b"", True
    poller.register(ended, select.POLLIN)
    while True:
        poller.register(master, select.POLLIN | (select.POLLOUT if pending else 0))
        if open_in and not pending:
            poller.register(stdin, select.POLLIN)
        found = dict(poller.poll())
        if found.get(master, 0) & ~select.POLLOUT and not _drain(master, stdout):
            return
        if pending and found.get(master, 0) & select.POLLOUT:
            pending = pending[os.write(master, pending) :]
        if stdin in found:
            poller.unregister(stdin)
            pending = os.read(stdin, 4096)
            open_in = bool(pending)
            pending = pending or b"\x04"  # end of file, as the terminal's line discipline knows it
        if ended in found:
            _drain(master, stdout)
            return


def _drain(master: int, stdout: int) -> bool:
    """Pass on what the pty has now; False when its other side is closed."""
    while True:
        try:
            data = os.read(master, 65536)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the last slave has been closed
                raise
            data = b""
        if not data:
            return False
        write_all(stdout, data)


def write_all(fd: int, data: bytes) -> None:
    """write(2) until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
