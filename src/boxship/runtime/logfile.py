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


def last_lines(directory: str, count: int) -> list[tuple[int, int, bytes]]:
    """The last ``count`` lines as (time in ns, stream, line); records are joined before they are cut into lines."""
    open_lines: dict[int, tuple[int, bytes]] = {}
    lines: list[tuple[int, int, bytes]] = []
    for when, stream, data in read(directory):
        if stream == LOST:
            lines.append((when, stream, b"[" + data + b" bytes could not be logged]\n"))
            continue
        began, rest = open_lines.pop(stream, (when, b""))
        *whole, rest = (rest + data).split(b"\n")
        lines += [(began if n == 0 else when, stream, line + b"\n") for n, line in enumerate(whole)]
        if rest:
            open_lines[stream] = (when if whole else began, rest)
        lines = lines[-count:] if count else []
    lines += [(began, stream, rest) for stream, (began, rest) in open_lines.items()]
    return lines[-count:] if count else []
