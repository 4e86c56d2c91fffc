# SPDX-License-Identifier: Apache-2.0
"""Reading a container's log: binary-safe records, rotated files, following. The format is in docs/monitor.md."""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = struct.Struct("<IBB2xQ")
LOST = 255
_MAX_RECORD = 1 << 20


def files(directory: str) -> list[str]:
    """The log's files, oldest first."""
    numbered = sorted(
        (int(name[4:]) for name in os.listdir(directory) if name.startswith("log.") and name[4:].isdecimal()),
        reverse=True,
    )
    paths = [f"{directory}/log.{n}" for n in numbered] + [f"{directory}/log"]
    return [path for path in paths if os.path.exists(path)]


def records(path: str) -> Iterator[tuple[int, int, bytes]]:
    """(time in ns, stream, bytes) of one file; a record that is not complete yet ends it."""
    with open(path, "rb") as file:
        while len(head := file.read(HEAD.size)) == HEAD.size:
            length, stream, _version, when = HEAD.unpack(head)
            if length > _MAX_RECORD:
                return
            data = file.read(length)
            if len(data) < length:
                return
            yield when, stream, data


def read(directory: str) -> Iterator[tuple[int, int, bytes]]:
    """All that the log holds now."""
    for path in files(directory):
        yield from records(path)


def last_lines(directory: str, count: int) -> list[tuple[int, bytes]]:
    """The last ``count`` lines as (stream, line); records are joined before they are cut into lines."""
    streams: dict[int, bytes] = {}
    lines: list[tuple[int, bytes]] = []
    for _, stream, data in read(directory):
        if stream == LOST:
            lines.append((stream, b"[" + data + b" bytes could not be logged]\n"))
            continue
        *whole, rest = (streams.get(stream, b"") + data).split(b"\n")
        streams[stream] = rest
        lines += [(stream, line + b"\n") for line in whole]
        lines = lines[-count:] if count else []
    lines += [(stream, rest) for stream, rest in streams.items() if rest]
    return lines[-count:] if count else []
