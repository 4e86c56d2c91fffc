# SPDX-License-Identifier: Apache-2.0
"""Writing layers: a directory tree, or the upper directory of an overlay, as a tar stream in PAX form.

The same tree gives the same bytes. Overlayfs's marks become whiteouts; names are bytes; hard links, sparse files,
extended attributes, devices and nanoseconds are kept. Nothing is followed: a container may have made links of anything.
"""

from __future__ import annotations

import os
import stat

from boxship.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK, _CHUNK = 512, 1 << 20
_KINDS = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
_OVERLAY_MARKS = ("user.overlay.", "trusted.overlay.")
_OCTAL_7, _OCTAL_11 = 8**7 - 1, 8**11 - 1


class Packer:
    """One archive, written by ``write``; ``upper`` turns overlayfs's marks into whiteouts.

    ``latest`` clamps times, as SOURCE_DATE_EPOCH asks (in seconds). ``owner`` maps the ids that are on the disk.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        upper: bool = False,
        latest: int | None = None,
        owner: Callable[[int, int], tuple[int, int]] | None = None,
    ) -> None:
        self._write, self._upper, self._owner = write, upper, owner
        self._latest = None if latest is None else latest * 1_000_000_000
        self._links: dict[tuple[int, int], bytes] = {}

    def tree(self, root: str, *, skip: Callable[[bytes], bool] | None = None) -> None:
        """All of the tree, the root first, names in order; ``skip`` says what is left out, with all below it."""
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._entry(os.fstat(top), b"", top, b".")
            self._directory(top, b"", skip)
        finally:
            os.close(top)

    def end(self) -> None:
        """Two empty blocks."""
        self._write(bytes(2 * BLOCK))

    def _directory(self, fd: int, path: bytes, skip: Callable[[bytes], bool] | None) -> None:
        for name in sorted(os.fsencode(entry) for entry in os.listdir(fd)):
            below = path + b"/" + name if path else name
            if skip and skip(below):
                continue
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISSOCK(found.st_mode):  # means nothing without its process
                continue
            if self._upper and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                self._empty(path + b"/.wh." + name if path else b".wh." + name)
                continue
            self._entry(found, below, fd, name)
            if stat.S_ISDIR(found.st_mode):
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    if self._upper and _is_opaque(inner):
                        self._empty(below + b"/.wh..wh..opq")
                    self._directory(inner, below, skip)
                finally:
                    os.close(inner)

    def _empty(self, path: bytes) -> None:
        self._header(path, b"0", 0, 0, 0, 0, 0, b"", 0, {})

    def _entry(self, found: os.stat_result, path: bytes, directory: int, name: bytes) -> None:
        kind = _KINDS[stat.S_IFMT(found.st_mode)]
        link, size, first = b"", 0, self._links.get((found.st_dev, found.st_ino))
        uid, gid = self._owner(found.st_uid, found.st_gid) if self._owner else (found.st_uid, found.st_gid)
        shown = (path or b".") + b"/" if kind == b"5" else path
        if kind != b"5" and found.st_nlink > 1:
            if first is not None:
                self._header(path, b"1", found.st_mode, uid, gid, 0, found.st_mtime_ns, first, 0, {})
                return
            self._links[found.st_dev, found.st_ino] = path
        if kind == b"2":
            link = os.readlink(name, dir_fd=directory)
        if kind != b"0":
            attributes = _attributes(directory, name, found)
            self._header(shown, kind, found.st_mode, uid, gid, size, found.st_mtime_ns, link, found.st_rdev, attributes)
            return
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            self._file(fd, shown, os.fstat(fd), uid, gid)
        finally:
            os.close(fd)

    def _file(self, fd: int, path: bytes, found: os.stat_result, uid: int, gid: int) -> None:
        extents = _extents(fd, found)
        pax = _fd_attributes(fd)
        map_ = b""
        if extents is not None:
            map_ = b"".join(b"%d\n" % n for n in (len(extents), *(m for extent in extents for m in extent)))
            map_ += bytes(-len(map_) % BLOCK)
            pax |= {
                "GNU.sparse.major": b"1",
                "GNU.sparse.minor": b"0",
                "GNU.sparse.name": path,
                "GNU.sparse.realsize": b"%d" % found.st_size,
            }
            shown = os.path.dirname(path) + b"/GNUSparseFile.0/" + os.path.basename(path)
        size = len(map_) + (found.st_size if extents is None else sum(length for _, length in extents))
        self._header(shown if map_ else path, b"0", found.st_mode, uid, gid, size, found.st_mtime_ns, b"", 0, pax)
        if map_:
            self._write(map_)
        for offset, length in extents if extents is not None else [(0, found.st_size)]:
            self._copy(fd, offset, length)
        self._write(bytes(-size % BLOCK))

    def _copy(self, fd: int, offset: int, length: int) -> None:
        """Exactly that many bytes: a file that has shrunk meanwhile is filled up, as tar does."""
        while length:
            part = os.pread(fd, min(length, _CHUNK), offset) or bytes(min(length, _CHUNK))
            self._write(part)
            offset, length = offset + len(part), length - len(part)

    def _header(
        self, path: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes, device: int,
        pax: dict[str, bytes],
    ) -> None:  # fmt: skip
        if self._latest is not None:
            mtime = min(mtime, self._latest)
        seconds, rest = divmod(mtime, 1_000_000_000)
        for key, raw, most in (("path", path, 100), ("linkpath", link, 100)):
            if len(raw) > most or not raw.isascii():
                pax = {**pax, key: raw}
        for key, number, largest in (("uid", uid, _OCTAL_7), ("gid", gid, _OCTAL_7), ("size", size, _OCTAL_11)):
            if number > largest:
                pax = {**pax, key: b"%d" % number}
        if rest or not 0 <= seconds <= _OCTAL_11:
            text = b"%d.%09d" % (seconds, rest) if seconds >= 0 else b"-%d.%09d" % divmod(-mtime, 1_000_000_000)
            pax = {**pax, "mtime": text.rstrip(b"0").rstrip(b".") if b"." in text else text}
        if pax:
            records = b"".join(_record(key, pax[key]) for key in sorted(pax))
            self._block(b"PaxHeaders/" + path[-80:], b"x", 0o644, 0, 0, len(records), 0, b"", 0)
            self._write(records + bytes(-len(records) % BLOCK))
        self._block(path, kind, mode, uid, gid, size, seconds, link, device)

    def _block(
        self, path: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, seconds: int, link: bytes, device: int
    ) -> None:
        device = device if kind in (b"3", b"4") else 0
        block = b"".join(
            (
                path[:100].ljust(100, b"\0"),
                b"%07o\0" % (mode & 0o7777),
                b"%07o\0" % min(uid, _OCTAL_7),
                b"%07o\0" % min(gid, _OCTAL_7),
                b"%011o\0" % min(size, _OCTAL_11),
                b"%011o\0" % max(0, min(seconds, _OCTAL_11)),
                b" " * 8,
                kind,
                link[:100].ljust(100, b"\0"),
                b"ustar\00000",
                bytes(64),
                b"%07o\0%07o\0" % (os.major(device), os.minor(device)),
                bytes(167),
            )
        )
        self._write(block[:148] + b"%06o\0 " % sum(block) + block[156:])


def _record(key: str, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE\\n``, where the length counts itself."""
    body = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    length = len(body) + len(str(length))
    return b"%d" % length + body


def _is_opaque(fd: int) -> bool:
    for name in ("user.overlay.opaque", "trusted.overlay.opaque"):
        try:
            if os.getxattr(fd, name) == b"y":
                return True
        except OSError:
            continue
    return False


def _fd_attributes(fd: int) -> dict[str, bytes]:
    return {
        f"SCHILY.xattr.{name}": os.getxattr(fd, name)
        for name in os.listxattr(fd)
        if not name.startswith(_OVERLAY_MARKS)
    }


def _attributes(directory: int, name: bytes, found: os.stat_result) -> dict[str, bytes]:
    """Of anything but a file; read through /proc, so that no path is walked again."""
    if stat.S_ISDIR(found.st_mode):
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            return _fd_attributes(fd)
        finally:
            os.close(fd)
    path = os.fsencode(f"/proc/self/fd/{directory}/") + name
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # the file system has none for this kind
        return {}
    return {
        f"SCHILY.xattr.{key}": os.getxattr(path, key, follow_symlinks=False)
        for key in names
        if not key.startswith(_OVERLAY_MARKS)
    }


def _extents(fd: int, found: os.stat_result) -> list[tuple[int, int]] | None:
    """Where a sparse file has data; None for a file without holes worth keeping."""
    if found.st_blocks * 512 >= found.st_size or found.st_size < 64 * 1024:
        return None
    extents, at = list[tuple[int, int]](), 0
    try:
        while at < found.st_size:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            extents.append((begin, at - begin))
    except OSError as error:
        if error.errno != 6:  # ENXIO: no more data
            raise KernelError.from_os("lseek", error, path="SEEK_DATA") from None
    if extents == [(0, found.st_size)]:
        return None
    # An extent of nothing at the end tells readers where the file ends.
    return [*extents, (found.st_size, 0)] if not extents or sum(extents[-1]) < found.st_size else extents


def compressed(
    write: Callable[[bytes], object], compression: str
) -> tuple[Callable[[bytes], None], Callable[[], None]]:
    """A writer that compresses, and what ends it. The result depends on nothing but the bytes."""
    if compression == "gzip":
        from isal import isal_zlib

        crc, length = 0, 0
        stream = isal_zlib.compressobj(level=2, wbits=-15)
        write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")

        def more(data: bytes) -> None:
            nonlocal crc, length
            crc, length = isal_zlib.crc32(data, crc), length + len(data)
            if out := stream.compress(data):
                write(out)

        def end() -> None:
            write(stream.flush())
            write(crc.to_bytes(4, "little") + (length & 0xFFFF_FFFF).to_bytes(4, "little"))

        return more, end
    if compression == "zstd":
        import zstandard

        encoder = zstandard.ZstdCompressor(level=3, write_content_size=False).compressobj()
        return (lambda data: _pass(write, encoder.compress(data))), (lambda: _pass(write, encoder.flush()))
    return (lambda data: _pass(write, data)), (lambda: None)


def _pass(write: Callable[[bytes], object], data: bytes) -> None:
    if data:
        write(data)
