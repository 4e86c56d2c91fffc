# SPDX-License-Identifier: Apache-2.0
"""A layer into a directory: whiteouts as overlayfs has them, and files shared with other layers.

Runs in a process that is confined to the directory (``confine.py``): every path here is relative to its root, which is
the layer's own. See image-spec, 'Image Layer Filesystem Changeset', and the kernel's overlayfs documentation.
"""

from __future__ import annotations

import errno
import os
import stat

from boxship.image import tarread as t
from boxship.image.media import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from boxship.image.pool import Pool

WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "user.overlay.opaque"
MOST_ENTRIES, MOST_NODES = 20_000_000, 10_000
_SMALL = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """Writes the entries of one layer below the process's root; ``skipped`` says what could not be made, and why."""

    def __init__(self, pool: Pool | None) -> None:
        self._pool = pool
        self._times: dict[bytes, int] = {}  # of directories: set at the end, when nothing is made in them any more
        self.entries = self.bytes = 0
        self.skipped: list[str] = []
        #: device nodes, for whoever may make them: path, mode, major, minor, uid, gid, mtime
        self.nodes: list[tuple[str, int, int, int, int, int, int]] = []

    def run(self, reader: t.Reader) -> None:
        """All entries, then the directories' times."""
        os.umask(0)
        for entry in reader:
            self.entries += 1
            if self.entries > MOST_ENTRIES:
                raise ImageError(f"layer: more than {MOST_ENTRIES} entries")
            path = clean(entry.path)
            if path:
                self._entry(reader, entry, path)
            elif entry.kind == t.DIRECTORY:
                self._directory_attributes(entry, b".")
        for path, mtime in reversed(self._times.items()):
            try:
                os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
            except FileNotFoundError:  # a later entry took its place
                continue

    def _entry(self, reader: t.Reader, entry: t.Entry, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        if name.startswith(WHITEOUT):
            self._whiteout(parent, name)
            return
        try:
            self._make(reader, entry, path)
        except FileNotFoundError:
            if entry.kind == t.LINK and not os.path.lexists(clean(entry.link) or b"."):
                raise ImageError(
                    f"layer: {t.shown(entry.path)}: a hard link to {t.shown(entry.link)}, which is not in this layer"
                ) from None
            self._parents(parent)
            self._make(reader, entry, path)
        except FileExistsError:
            self._clear(path)
            self._make(reader, entry, path)

    def _make(self, reader: t.Reader, entry: t.Entry, path: bytes) -> None:
        if entry.kind == t.FILE:
            self._file(reader, entry, path)
        elif entry.kind == t.DIRECTORY:
            self._directory(entry, path)
        elif entry.kind == t.LINK:
            target = clean(entry.link)
            if target != path:
                os.link(target, path, follow_symlinks=False)
        elif entry.kind == t.SYMLINK:
            os.symlink(entry.link, path)
            self._attributes(entry, path)
        else:
            self._node(entry, path)

    def _directory(self, entry: t.Entry, path: bytes) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise
        self._directory_attributes(entry, path)

    def _directory_attributes(self, entry: t.Entry, path: bytes) -> None:
        os.chown(path, entry.uid, entry.gid)
        os.chmod(path, entry.mode)
        self._extended(entry, path)
        self._times.pop(path, None)
        self._times[path] = entry.mtime

    def _file(self, reader: t.Reader, entry: t.Entry, path: bytes) -> None:
        self.bytes += entry.size
        if self._pool and entry.extents is None and 0 < entry.size <= _SMALL:
            data = reader.whole(entry)
            entry.size = 0  # taken: a second try after FileNotFoundError must not read again
            self._small(entry, path, data)
            return
        fd = os.open(path, _NEW, 0o600)
        try:
            content = _write(fd, reader, entry, hashed=self._pool is not None)
            self._finish(fd, entry)
        finally:
            os.close(fd)
        if self._pool and content:
            self._pool.share(self._pool.key(entry, path, content), path)

    def _small(self, entry: t.Entry, path: bytes, data: bytes) -> None:
        """A file that fits in memory: where another image has the same one, it is linked and never written."""
        assert self._pool
        key = self._pool.key(entry, path, self._pool.digest(data))
        while True:
            try:
                if self._pool.take(key, path, len(data)):
                    return
                fd = os.open(path, _NEW, 0o600)
                break
            except FileNotFoundError:
                self._parents(path.rpartition(b"/")[0])
            except FileExistsError:
                self._clear(path)
        try:
            _all(fd, data)
            self._finish(fd, entry)
        finally:
            os.close(fd)
        self._pool.share(key, path)

    def _finish(self, fd: int, entry: t.Entry) -> None:
        """Owner first, which takes away set-id bits and capabilities; the time last."""
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._extended(entry, fd)
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _attributes(self, entry: t.Entry, path: bytes) -> None:
        """Of what is no file and no directory; a symbolic link has no mode."""
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.kind != t.SYMLINK:
            os.chmod(path, entry.mode)
        self._extended(entry, path)
        os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)

    def _extended(self, entry: t.Entry, where: bytes | int) -> None:
        for name, value in entry.xattrs.items():
            # overlayfs's own would let a layer lead look-ups elsewhere; trusted.* is the host's business.
            if name.startswith(("user.overlay.", "trusted.")):
                continue
            try:
                if isinstance(where, int):
                    os.setxattr(where, name, value)
                else:
                    os.setxattr(where, name, value, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EACCES):
                    raise
                self._skip(entry.path, f"extended attribute {name}: {error.strerror}")

    def _node(self, entry: t.Entry, path: bytes) -> None:
        if entry.kind == t.FIFO:
            os.mkfifo(path, 0o600)
            self._attributes(entry, path)
        elif entry.kind == t.CHARACTER and (entry.major, entry.minor) == (0, 0):
            self._skip(entry.path, "a whiteout of overlayfs's own kind")
        elif len(self.nodes) < MOST_NODES:  # not this process's to make
            self._parents(path.rpartition(b"/")[0])
            kind = stat.S_IFCHR if entry.kind == t.CHARACTER else stat.S_IFBLK
            self.nodes.append(
                (os.fsdecode(path), kind | entry.mode, entry.major, entry.minor, entry.uid, entry.gid, entry.mtime)
            )
        else:
            raise ImageError(f"layer: more than {MOST_NODES} device nodes")

    def _whiteout(self, parent: bytes, name: bytes) -> None:
        """``.wh.NAME`` hides NAME of the layers below; ``.wh..wh..opq`` hides all that they have in this directory."""
        if name.startswith(b".wh..wh.") and name != OPAQUE:  # AUFS's own book-keeping
            return
        self._parents(parent)
        if name == OPAQUE:
            os.setxattr(parent or b".", _OPAQUE_ATTRIBUTE, b"y")
            return
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise ImageError(f"layer: {t.shown(name)}: a whiteout of nothing")
        path = parent + b"/" + hidden if parent else hidden
        if not os.path.lexists(path):  # what this layer itself has of that name, it keeps
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))

    def _parents(self, path: bytes) -> None:
        """Make what is missing; a file in the way is an error of the layer's."""
        at = b""
        for part in path.split(b"/") if path else ():
            at = at + b"/" + part if at else part
            try:
                os.mkdir(at, 0o755)
            except FileExistsError:
                if _is_whiteout(at):
                    os.unlink(at)
                    os.mkdir(at, 0o755)
                elif not os.path.isdir(at):
                    raise ImageError(
                        f"layer: {t.shown(at)}: not a directory, but the layer has something below it"
                    ) from None

    def _clear(self, path: bytes) -> None:
        """The later entry of one name wins."""
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        for directory, names, files in os.walk(path, topdown=False):
            for name in files:
                os.unlink(os.path.join(directory, name))
            for name in names:
                below = os.path.join(directory, name)
                os.unlink(below) if os.path.islink(below) else os.rmdir(below)
        os.rmdir(path)

    def _skip(self, path: bytes, why: str) -> None:
        if len(self.skipped) < 100:
            self.skipped.append(f"{t.shown(path)}: {why}")


def clean(path: bytes) -> bytes:
    """Relative to the root, without ``.``; empty for the root itself. ``..`` is refused: nobody has a use for it."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise ImageError(f"layer: {t.shown(path)}: leads out of the root")
    return b"/".join(parts)


def _is_whiteout(path: bytes) -> bool:
    found = os.lstat(path)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _write(fd: int, reader: t.Reader, entry: t.Entry, *, hashed: bool) -> bytes:
    """The entry's data into a new file, holes left out; returns the digest of what is in it, when asked for."""
    import hashlib

    digest = hashlib.sha256() if hashed and entry.extents is None else None
    places = iter(entry.extents if entry.extents is not None else [(0, entry.size)])
    offset, room = next(places, (0, 0))
    for part in reader.data(entry):
        if digest:
            digest.update(part)
        while part:
            while not room:
                offset, room = next(places)
            piece = part[:room]
            _all_at(fd, piece, offset)
            offset, room, part = offset + len(piece), room - len(piece), part[len(piece) :]
    if entry.extents is not None:
        os.ftruncate(fd, entry.real_size)
    return digest.digest() if digest else b""


def _all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def _all_at(fd: int, data: bytes, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)


def layer(parts: Iterator[bytes], compression: str, pool: Pool | None) -> dict[str, object]:
    """Unpack a layer's stream; what it was: ``diff_id``, ``entries``, ``bytes``, what was ``skipped``, ``nodes`` to make,
    and how many files the pool had (``shared``), with how many bytes (``saved``)."""
    import hashlib

    from boxship.image import codec

    digest = hashlib.sha256()

    def counted() -> Iterator[bytes]:
        for part in codec.plain(parts, compression):
            digest.update(part)
            yield part

    ahead, unpacker = codec.Ahead(counted()), Unpacker(pool)
    unpacker.run(t.Reader(ahead.read))
    ahead.rest()
    return {
        "diff_id": f"sha256:{digest.hexdigest()}",
        "entries": unpacker.entries,
        "bytes": unpacker.bytes,
        "skipped": unpacker.skipped,
        "nodes": unpacker.nodes,
        "shared": pool.shared if pool else 0,
        "saved": pool.saved if pool else 0,
    }
