# SPDX-License-Identifier: Apache-2.0
"""Sending one blob: POST for a session, PUT of everything; after a failure, PATCH from where the registry has got to.

| what happens                                   | then                                               |
|------------------------------------------------|----------------------------------------------------|
| the PUT goes through                           | done                                               |
| it breaks off; HEAD says that the blob is there| done: only the answer was lost                     |
| … and GET of the session says ``Range: 0-N``   | PATCH from byte N+1 on in chunks, PUT of nothing   |
| … and the session says nothing, or is gone     | a new session, from the beginning                  |
| 413: a proxy takes no body of that size        | a new session, in chunks                           |

``Range: 0-0`` is no resume: servers say it for no byte as well as for one.
"""

from __future__ import annotations

import asyncio

from boxship.errors import BoxshipError, KernelError, NotFound
from boxship.image.media import ImageError
from boxship.image.registry.errors import Passing, RegistryError, TooLarge
from boxship.image.registry.transport import MOST_ANSWER, Ask, Transport, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import BinaryIO, Protocol

    import httpx

    class Blob(Protocol):
        """What a descriptor says."""

        @property
        def digest(self) -> str: ...
        @property
        def size(self) -> int: ...


#: ghcr.io takes no larger chunk
CHUNK = 4 << 20
_PIECE = 1 << 20


class Upload:
    """One blob on its way."""

    def __init__(
        self,
        transport: Transport,
        begin: Ask,
        blob: Blob,
        open_at: Callable[[int], BinaryIO],
        has_blob: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._transport, self._begin, self._blob, self._open_at, self._has_blob = (
            transport,
            begin,
            blob,
            open_at,
            has_blob,
        )
        self._session = ""
        self._sent = 0
        self._chunk = CHUNK
        self._chunked = False

    async def run(self) -> None:
        """Until it is there."""
        tries, furthest = self._transport.tries(), 0
        while True:
            try:
                await (self._in_chunks() if self._chunked else self._at_once())
                return
            except TooLarge:
                if self._chunked:
                    raise
                await self._cancel()
                self._chunked = True
            except Passing as error:
                await tries.pause(error)
                if await self._arrived():
                    return
                if self._sent > furthest:
                    furthest = self._sent
                    tries.progress()
            except BoxshipError:
                await self._cancel()
                raise

    async def _at_once(self) -> None:
        await self._start()
        await self._send("PUT", self._with_digest(), 0, self._blob.size, (201, 204))

    async def _in_chunks(self) -> None:
        if not self._session:
            await self._start()
        while self._sent < self._blob.size:
            end = min(self._sent + self._chunk, self._blob.size)
            response = await self._send("PATCH", self._session, self._sent, end, (202, 204))
            self._moved_to(response)
            self._sent = end
        await self._send("PUT", self._with_digest(), self._sent, self._sent, (201, 204))

    async def _start(self) -> None:
        """A new session. Sessions that stay behind are the registry's to forget."""
        self._session, self._sent = "", 0
        response = await self._once(self._begin.replace(headers={"Content-Length": "0"}))
        self._moved_to(response)
        least = response.headers.get("oci-chunk-min-length", "")
        if least.isascii() and least.isdigit() and len(least) < 12:
            self._chunk = max(CHUNK, int(least))
        if not self._session:
            raise RegistryError(f"{self._begin.what}: the registry begins an upload and does not say where")

    async def _arrived(self) -> bool:
        """Find out how far a broken upload got, and go on from there next; True when nothing is left to do."""
        if await self._has_blob(self._blob.digest):
            return True
        session, self._session, self._sent = self._session, "", 0
        if not session:
            return False
        ask = self._begin.replace(method="GET", url=session, ok=(200, 202, 204))
        try:
            response = await self._once(ask)
        except (NotFound, RegistryError):  # gone, or not willing to tell: from the beginning, which counts as a try
            return False
        first, _, last = response.headers.get("range", "").removeprefix("bytes=").partition("-")
        if first == "0" and last.isascii() and last.isdigit() and len(last) < 19 and 0 < int(last) < self._blob.size:
            self._session, self._sent, self._chunked = session, int(last) + 1, True
            self._moved_to(response)
        return False

    async def _cancel(self) -> None:
        """Tell the registry that nothing more comes; it forgets a session on its own where this fails."""
        session, self._session = self._session, ""
        if not session:
            return
        try:
            await self._once(self._begin.replace(method="DELETE", url=session, ok=(200, 202, 204, 404, 405)))
        except BoxshipError:
            return

    def _moved_to(self, response: httpx.Response) -> None:
        """Where the session goes on: the newest Location counts."""
        if location := response.headers.get("location"):
            self._session = str(response.url.join(location))

    def _with_digest(self) -> str:
        """The session with the digest added, and not a letter of it changed: it may be signed."""
        return f"{self._session}{'&' if '?' in self._session else '?'}digest={self._blob.digest.replace(':', '%3A')}"

    async def _send(self, method: str, url: str, start: int, end: int, ok: tuple[int, ...]) -> httpx.Response:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(end - start)}
        if method == "PATCH":
            headers["Content-Range"] = f"{start}-{end - 1}"
        ask = self._begin.replace(method=method, url=url, headers=headers, ok=ok, body=lambda: self._bytes(start, end))
        if start == end:
            ask = ask.replace(body=None)
        try:
            return await self._once(ask)
        except RegistryError as error:
            if self._sent and not isinstance(
                error, (Passing, TooLarge)
            ):  # what it has is not what we sent: all of it once more
                await self._cancel()
                raise Passing(error.message, hint=error.hint) from error
            raise
        except NotFound as error:  # the session has run out
            self._session = ""
            raise Passing(error.message, hint=error.hint) from error

    async def _bytes(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The blob's bytes from ``start`` to ``end``, read by a thread."""
        path = self._begin.what
        try:
            file = await asyncio.to_thread(self._open_at, start)
            try:
                left = end - start
                while left:
                    part = await asyncio.to_thread(file.read, min(_PIECE, left))
                    if not part:
                        raise ImageError(
                            f"{path}: our copy ends {left} bytes early",
                            hint="the store is damaged: pull or build it again",
                        )
                    left -= len(part)
                    yield part
            finally:
                file.close()
        except OSError as error:
            raise KernelError.from_os("read", error, path=path) from None

    async def _once(self, ask: Ask) -> httpx.Response:
        async with self._transport.once(ask) as response:
            await read(response, MOST_ANSWER, ask.what)
            return response
