# SPDX-License-Identifier: Apache-2.0
"""Compressed streams: gzip by isal, zstd by zstandard, plain; read through a thread so that both processors work.

Memory is bounded: a few chunks of a megabyte, whatever the stream holds.
"""

from __future__ import annotations

import os

from boxship.errors import InvalidRequest
from boxship.image.media import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

CHUNK = 1 << 20
_AHEAD = 6
#: expansions that no real layer has: gzip's own limit is 1032
MOST_RATIO, ALWAYS_ALLOWED = 400, 256 << 20


def compression_of(head: bytes) -> str:
    """``gzip``, ``zstd``, ``xz``, ``bzip2`` or nothing, from the first bytes of a stream."""
    for magic, name in ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2")):
        if head.startswith(magic):
            return name
    # zstd's skippable frames come first in seekable and chunked files.
    return "zstd" if len(head) >= 4 and 0x184D2A50 <= int.from_bytes(head[:4], "little") <= 0x184D2A5F else ""


def plain(parts: Iterator[bytes], compression: str) -> Iterator[bytes]:
    """The uncompressed stream; ImageError when it is damaged, cut, or a bomb."""
    if not compression:
        yield from parts
        return
    decode = _DECODERS.get(compression)
    if decode is None:
        raise InvalidRequest(f"compression {compression!r} is not known", hint="gzip, zstd, xz, bzip2 or none")
    source, given = _Source(parts), 0
    for out in decode(source):
        given += len(out)
        if given > ALWAYS_ALLOWED and given > source.taken * MOST_RATIO:
            raise ImageError(
                f"layer: expands to more than {MOST_RATIO} times its size: a decompression bomb",
                hint="do not use this image",
            )
        yield out


class _Source:
    """The compressed parts as a file, which counts what has been taken."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self.taken = parts, 0
        self._rest = b""

    def read(self, most: int = CHUNK) -> bytes:
        """At most that many bytes; empty at the end."""
        part = self._rest or next(self._parts, b"")
        self._rest = part[most:]
        self.taken += min(len(part), most)
        return part[:most]


def _members(source: _Source, make: Callable[[], Any], errors: tuple[Any, ...]) -> Iterator[bytes]:
    """Members one after the other, each an object as ``bz2.BZ2Decompressor``; never more than a chunk at once."""
    member: Any = None
    data, began = source.read(), False
    while data or (member is not None and not member.needs_input):
        if member is None:
            data = data.lstrip(b"\0") if began else data  # padding after a member
            if not data:
                data = source.read()
                continue
            member, began = make(), True
        try:
            out = member.decompress(data, CHUNK)
        except errors as error:
            raise ImageError(f"layer: damaged: {error}") from None
        if out:
            yield out
        data = b""
        if member.eof:
            data, member = member.unused_data, None
        data = data or (source.read() if member is None or member.needs_input else b"")
    if member is not None or not began:
        raise ImageError("layer: the compressed stream ends too early")


def _gzip(source: _Source) -> Iterator[bytes]:
    from isal import igzip_lib

    return _members(
        source, lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), (igzip_lib.error, EOFError)
    )


def _zstd(source: _Source) -> Iterator[bytes]:
    """A cut stream gives less: what it held then misses its digest."""
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(source, read_across_frames=True)  # type: ignore[arg-type]
    try:
        while out := reader.read(CHUNK):
            yield out
    except zstandard.ZstdError as error:
        raise ImageError(f"layer: damaged: {error}") from None


def _xz(source: _Source) -> Iterator[bytes]:
    import lzma

    return _members(source, lambda: lzma.LZMADecompressor(memlimit=128 << 20), (lzma.LZMAError, EOFError))


def _bzip2(source: _Source) -> Iterator[bytes]:
    import bz2

    return _members(source, bz2.BZ2Decompressor, (OSError, EOFError))


_DECODERS = {"gzip": _gzip, "zstd": _zstd, "xz": _xz, "bzip2": _bzip2}


def file_parts(fd: int, size: int = CHUNK) -> Iterator[bytes]:
    """A descriptor's bytes from where it stands."""
    while part := os.read(fd, size):
        yield part


class Ahead:
    """Parts of an iterator, made by a thread of their own; what it raises is raised here."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        import queue
        import threading

        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, args=(parts,), daemon=True)
        self._thread.start()
        self._buffer, self._at = b"", 0

    def _run(self, parts: Iterator[bytes]) -> None:
        try:
            for part in parts:
                self._queue.put(part)
                if self._stopped:
                    return
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 - handed over to the reader
            self._queue.put(error)

    def read(self, count: int) -> bytes:
        """``count`` bytes, fewer at the end only."""
        end = self._at + count
        if end <= len(self._buffer):
            found = self._buffer[self._at : end]
            self._at = end
            return found
        parts, have = [self._buffer[self._at :]], len(self._buffer) - self._at
        self._buffer, self._at = b"", 0
        while have < count and (part := self._part()) is not None:
            parts.append(part)
            have += len(part)
        joined = b"".join(parts)
        self._buffer, self._at = joined, min(count, have)
        return joined[:count]

    def _part(self) -> bytes | None:
        if self._queue is None:
            return None
        found = self._queue.get()
        if found is None or isinstance(found, BaseException):
            self._queue.put(None)  # whoever asks again gets the end
            if found is not None:
                raise found
        return found

    def rest(self) -> None:
        """Read to the end: a digest covers what comes after the archive too."""
        self._buffer, self._at = b"", 0
        while self._part() is not None:
            pass
