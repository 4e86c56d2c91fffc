# SPDX-License-Identifier: Apache-2.0
"""Between the user's streams and a monitor: output, input, signals, window size, detach keys."""

from __future__ import annotations

import _signal
import os

from boxship.errors import InvalidRequest
from boxship.runtime import monitor as m
from boxship.runtime.terminal import SIGWINCH, Raw, window_size, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.runtime.monitor import Client

_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` as bytes; empty for none."""
    found = b""
    for word in text.split(",") if text else []:
        if len(word) == 1:
            found += word.encode()
        elif word.startswith("ctrl-") and len(word) == 6 and (word[5].isalpha() or word[5] in "@[\\]^_"):
            found += bytes([ord(word[5].upper()) - 64])
        else:
            raise InvalidRequest(f"--detach-keys {text}: {word!r} is neither a character nor ctrl-X")
    return found


class Streams:
    """One attached session; ``run`` returns the container's exit code, or None when the user has detached."""

    def __init__(self, client: Client, *, tty: bool, stdin: bool, detach_keys: str) -> None:
        self.client, self.tty, self.stdin = client, tty, stdin
        self.keys, self.typed = (keys(detach_keys) if tty else b""), b""

    def run(self) -> int | None:
        """Pump until the container ends or the user detaches."""
        for name in _FORWARDED:
            _signal.signal(getattr(_signal, name), self._forward)
        if self.tty:
            _signal.signal(SIGWINCH, self._resize)
            self._resize()
        with Raw(0 if self.tty and self.stdin else -1):
            return self._pump()

    def _forward(self, number: int, _frame: object) -> None:
        self.client.send(m.SIGNAL, number.to_bytes(4, "little"))

    def _resize(self, *_: object) -> None:
        rows, columns = window_size(0)
        if rows:
            self.client.resize(rows, columns)

    def _pump(self) -> int | None:
        import select

        poller = select.poll()
        poller.register(self.client.fd, select.POLLIN)
        if self.stdin:
            poller.register(0, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd == self.client.fd:
                    code = self._output()
                    if code is not None:
                        return code
                elif not self._input():
                    poller.unregister(0)
                    if self.typed == self.keys and self.keys:
                        return None

    def _output(self) -> int | None:
        frames = self.client.receive()
        if frames is None:
            return 137  # the monitor has been killed, and its container with it
        for kind, data in frames:
            if kind == m.EXIT:
                return m.exit_of(data)[0]
            write_all(2 if kind == m.STDERR else 1, data)
        return None

    def _input(self) -> bool:
        """Pass input on; False at its end, or when the detach keys have been typed."""
        data = os.read(0, 4096)
        if not data:
            self.client.send(m.CLOSE)
            return False
        if self.keys and self._detaches(data):
            return False
        self.client.send(m.STDIN, data)
        return True

    def _detaches(self, data: bytes) -> bool:
        for byte in data:
            self.typed = (self.typed + bytes([byte]))[-len(self.keys) :]
            if self.typed == self.keys:
                return True
        return False
