# SPDX-License-Identifier: Apache-2.0
"""Reading a tar stream, entry by entry: ustar, GNU and PAX, sparse files, extended attributes. See tar(5), pax(1).

Layers hold what image authors chose to put in: every number is bounded, every name is bytes, and what cannot be meant is
an ImageError with the entry's name. Nothing is written here.
"""

from __future__ import annotations

from boxship.image.media import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
MOST_HEADER, MOST_PATH, MOST_EXTENTS = 1 << 20, 4096, 1 << 20
_MOST_SIZE = 1 << 62
_ZEROS = bytes(BLOCK)
_NS = 1_000_000_000
FILE, LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_KINDS = frozenset((FILE, LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO))


class Entry:
    """One member. ``size`` is what the stream holds of it; ``real_size`` and ``extents`` tell of a sparse file."""

    __slots__ = (
        "extents",
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "path",
        "real_size",
        "size",
        "uid",
        "xattrs",
    )

    def __init__(self) -> None:
        self.path, self.link, self.kind = b"", b"", FILE
        self.mode = self.uid = self.gid = self.size = self.mtime = self.major = self.minor = 0
        self.xattrs: dict[str, bytes] = {}
        self.extents: list[tuple[int, int]] | None = None
        self.real_size = 0


class Reader:
    """The stream behind ``read(n)``, which gives n bytes, fewer at its end only."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = 0  # of the entry that is being read, padding included
        self._global: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry

    def data(self, entry: Entry, most: int = 1 << 20) -> Iterator[bytes]:
        """What the stream holds of the entry, in parts of at most ``most`` bytes."""
        left = entry.size
        while left:
            part = self._read(min(left, most))
            if not part:
                raise _cut(entry.path)
            left -= len(part)
            self._left -= len(part)
            yield part

    def whole(self, entry: Entry) -> bytes:
        """A small entry at once."""
        part = self._read(entry.size)
        if len(part) < entry.size:
            raise _cut(entry.path)
        self._left -= entry.size
        return part

    def _skip(self) -> None:
        while self._left:
            part = self._read(min(self._left, 1 << 20))
            if not part:
                raise ImageError("layer: the archive ends within an entry")
            self._left -= len(part)

    def _header(self) -> bytes | None:
        """The next header block; None at the end of the archive, which need not be marked."""
        block = self._read(BLOCK)
        if not block or block == _ZEROS:
            return None
        if len(block) < BLOCK:
            raise ImageError("layer: the archive ends within a header")
        return block

    def _next(self) -> Entry | None:
        own: dict[str, bytes] = {}
        path = link = b""
        while True:
            self._skip()
            block = self._header()
            if block is None:
                return None
            _check_sum(block)
            kind, size = block[156:157], _number(block, 124, 12, "size")
            self._left = -(-size // BLOCK) * BLOCK
            if kind == b"x":
                own.update(_records(self._meta(size)))
            elif kind == b"g":
                self._global.update(_records(self._meta(size)))
            elif kind == b"L":
                path = self._meta(size).partition(b"\0")[0]
            elif kind == b"K":
                link = self._meta(size).partition(b"\0")[0]
            else:
                return self._entry(block, kind, size, {**self._global, **own}, path, link)

    def _meta(self, size: int) -> bytes:
        if size > MOST_HEADER:
            raise ImageError(f"layer: a header of {size} bytes is more than {MOST_HEADER}")
        data = self._read(size)
        if len(data) < size:
            raise ImageError("layer: the archive ends within a header")
        self._left -= size
        return data

    def _entry(self, block: bytes, kind: bytes, size: int, pax: dict[str, bytes], path: bytes, link: bytes) -> Entry:
        e = Entry()
        e.path = pax.get("path") or path or _name(block)
        e.link = pax.get("linkpath") or link or _text(block, 157, 100)
        e.kind = FILE if kind in (b"\0", b"7", b"S") else kind
        if kind in (b"\0", FILE) and e.path.endswith(b"/"):  # as before POSIX
            e.kind = DIRECTORY
        if e.kind not in _KINDS:
            raise ImageError(f"layer: {shown(e.path)}: an entry of unknown type {kind!r}")
        e.mode = _number(block, 100, 8, "mode") & 0o7777
        e.uid, e.gid = (
            _pax_number(pax, "uid", _number(block, 108, 8, "uid")),
            _pax_number(pax, "gid", _number(block, 116, 8, "gid")),
        )
        e.mtime = _time(pax["mtime"]) if "mtime" in pax else _number(block, 136, 12, "mtime", signed=True) * _NS
        e.size = e.real_size = _pax_number(pax, "size", size)
        if e.kind in (CHARACTER, DEVICE):
            e.major, e.minor = _number(block, 329, 8, "devmajor"), _number(block, 337, 8, "devminor")
        if max(e.uid, e.gid) >= 0xFFFF_FFFF or not 0 <= e.size < _MOST_SIZE:
            raise ImageError(f"layer: {shown(e.path)}: an owner or a size out of range")
        if e.kind != FILE:  # what a link or a directory says of a size, the stream does not hold
            e.size = e.real_size = 0
        self._left = -(-e.size // BLOCK) * BLOCK
        for key, value in pax.items():
            if key.startswith("SCHILY.xattr."):
                e.xattrs[key[13:]] = value
        if kind == b"S":
            self._old_sparse(e, block)
        elif "GNU.sparse.realsize" in pax or "GNU.sparse.size" in pax:
            self._sparse(e, pax)
        if len(e.path) > MOST_PATH or len(e.link) > MOST_PATH or b"\0" in e.path + e.link:
            raise ImageError(f"layer: {shown(e.path[:100])}: a name that no file system takes")
        return e

    def _old_sparse(self, e: Entry, block: bytes) -> None:
        """GNU's own form: four extents in the header, 21 in each block that follows."""
        extents, more = _extents(block, 386, 4), block[482]
        e.real_size = _number(block, 483, 12, "real size")
        while more:
            block = self._read(BLOCK)
            if len(block) < BLOCK or len(extents) > MOST_EXTENTS:
                raise _cut(e.path)
            extents += _extents(block, 0, 21)
            more = block[504]
        e.extents = _checked(e, extents)

    def _sparse(self, e: Entry, pax: dict[str, bytes]) -> None:
        """The PAX forms 0.1 (a map in the header) and 1.0 (a map before the data)."""
        e.real_size = _pax_number(pax, "GNU.sparse.realsize", _pax_number(pax, "GNU.sparse.size", 0))
        e.path = pax.get("GNU.sparse.name") or e.path
        if "GNU.sparse.map" in pax:
            numbers = [_decimal(word, "sparse map") for word in pax["GNU.sparse.map"].split(b",")]
        elif pax.get("GNU.sparse.major") == b"1":
            numbers = self._map_before_data(e)
        else:
            raise ImageError(f"layer: {shown(e.path)}: a sparse file in a form that is not known")
        e.extents = _checked(e, list(zip(numbers[::2], numbers[1::2])))

    def _map_before_data(self, e: Entry) -> list[int]:
        text, numbers = b"", list[int]()
        wanted = -1
        while wanted < 0 or len(numbers) < wanted:
            line, newline, rest = text.partition(b"\n")
            if not newline:
                if e.size < BLOCK or len(text) > MOST_HEADER:
                    raise _cut(e.path)
                text += self._read(BLOCK)
                e.size -= BLOCK
                self._left -= BLOCK
                continue
            text = rest
            if wanted < 0:
                wanted = 2 * _decimal(line, "sparse map")
                if wanted > 2 * MOST_EXTENTS:
                    raise _cut(e.path)
            else:
                numbers.append(_decimal(line, "sparse map"))
        return numbers


def shown(path: bytes) -> str:
    """A name for a message: printable, in one line."""
    text = path[:200].decode("utf-8", "backslashreplace")
    return text if text.isprintable() else repr(text)[1:-1]


def _cut(path: bytes) -> ImageError:
    return ImageError(f"layer: {shown(path)}: the archive ends within it")


def _text(block: bytes, at: int, length: int) -> bytes:
    return block[at : at + length].partition(b"\0")[0]


def _name(block: bytes) -> bytes:
    name = _text(block, 0, 100)
    prefix = _text(block, 345, 155) if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _check_sum(block: bytes) -> None:
    said = _number(block, 148, 8, "checksum")
    # The field itself counts as blanks.
    if said != sum(block) - sum(block[148:156]) + 8 * 32:
        raise ImageError("layer: a header with a wrong checksum: not a tar archive, or a damaged one")


def _number(block: bytes, at: int, length: int, what: str, *, signed: bool = False) -> int:
    """Octal digits, or GNU's base 256 when the first bit is set."""
    raw = block[at : at + length]
    if raw[0] & 0x80:
        value = int.from_bytes(raw[1:], "big")
        if raw[0] == 0xFF:
            value -= 1 << 8 * (length - 1)
        if (value < 0 and not signed) or value >= _MOST_SIZE or raw[0] not in (0x80, 0xFF):
            raise ImageError(f"layer: {what} in a header is out of range")
        return value
    digits = raw.partition(b"\0")[0].strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise ImageError(f"layer: {what} in a header is not a number: {raw!r}") from None


def _decimal(raw: bytes, what: str) -> int:
    if not raw.isdigit() or len(raw) > 19:
        raise ImageError(f"layer: {what}: not a number: {raw[:40]!r}")
    return int(raw)


def _pax_number(pax: dict[str, bytes], key: str, default: int) -> int:
    return _decimal(pax[key], key) if pax.get(key) else default


def _time(raw: bytes) -> int:
    """Seconds with a fraction, as nanoseconds; never through a float, which would lose the last of them."""
    sign, text = (-1, raw[1:]) if raw[:1] == b"-" else (1, raw)
    whole, _, fraction = text.partition(b".")
    return sign * (_decimal(whole or b"0", "mtime") * _NS + _decimal((fraction[:9] or b"0").ljust(9, b"0"), "mtime"))


def _records(data: bytes) -> dict[str, bytes]:
    """``LENGTH KEY=VALUE\\n`` one after the other. The pairs of sparse form 0.0 are gathered into one map."""
    found: dict[str, bytes] = {}
    pairs: list[bytes] = []
    at = 0
    while at < len(data) and data[at] != 0:
        length, blank, _ = data[at : at + 20].partition(b" ")
        end = at + (_decimal(length, "PAX record") if blank else 0)
        key, equals, value = data[at + len(length) + 1 : end - 1].partition(b"=")
        if end > len(data) or not equals or end <= at or data[end - 1 : end] != b"\n":
            raise ImageError("layer: a malformed PAX record")
        name = key.decode("utf-8", "surrogateescape")
        if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            pairs.append(value)
        found[name] = value
        at = end
    if pairs:
        found["GNU.sparse.map"] = b",".join(pairs)
    return found


def _extents(block: bytes, at: int, count: int) -> list[tuple[int, int]]:
    found = []
    for n in range(count):
        offset, length = (_number(block, at + 24 * n + m, 12, "sparse map") for m in (0, 12))
        if not offset and not length:
            break
        found.append((offset, length))
    return found


def _checked(e: Entry, extents: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, within the file, and as long together as the data."""
    end = 0
    for offset, length in extents:
        if offset < end or offset + length > e.real_size:
            raise ImageError(f"layer: {shown(e.path)}: a sparse map that makes no sense")
        end = offset + length
    if sum(length for _, length in extents) != e.size or e.real_size >= _MOST_SIZE:
        raise ImageError(f"layer: {shown(e.path)}: a sparse map that does not fit its data")
    return extents
