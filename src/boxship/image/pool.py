# SPDX-License-Identifier: Apache-2.0
"""Files that several images have, kept once: hard links into a pool, by content and everything else that an inode holds.

Containers see layers read-only, so one inode may stand in many of them; it is on the disk once, and in the page cache
once. The key takes in the path: two names in one image never become hard links of each other, which programs would see.
An entry with one link is used by no layer any more.
"""

from __future__ import annotations

import errno
import os

#: where a link waits to take a file's place; in the root, and gone before the next entry is read
_BESIDE = b".boxship-shared"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.image.tarread import Entry


class Pool:
    """The directory behind a descriptor; 256 directories below it by the first two digits."""

    def __init__(self, fd: int) -> None:
        import hashlib

        self.fd = fd
        self._sha256 = hashlib.sha256
        self.shared = self.saved = 0

    def digest(self, data: bytes) -> bytes:
        """SHA-256 of a content."""
        return self._sha256(data).digest()

    def key(self, entry: Entry, path: bytes, content: bytes) -> str:
        """The name of an inode with this content, owner, mode, time, attributes and path."""
        words = (entry.mode, entry.uid, entry.gid, entry.mtime, sorted(entry.xattrs.items()), path)
        found = self._sha256(content + repr(words).encode()).hexdigest()
        return f"{found[:2]}/{found[2:]}"

    def take(self, key: str, path: bytes, size: int) -> bool:
        """Link the pool's file at ``path``; False when there is none. FileNotFoundError is the path's own."""
        try:
            os.link(key, path, src_dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            if self._has(key):
                raise
            return False
        except OSError as error:
            if error.errno != errno.EMLINK:  # as many names as an inode may have: this image keeps its own
                raise
            return False
        if os.lstat(path).st_size != size:  # damaged by a power loss
            os.unlink(path)
            self._drop(key)
            return False
        self.shared, self.saved = self.shared + 1, self.saved + size
        return True

    def share(self, key: str, path: bytes) -> None:
        """Put the finished file into the pool; where the pool has it by now, that one takes its place."""
        try:
            self._link_in(key, path)
        except FileExistsError:
            size = os.lstat(path).st_size
            if self.take(key, _BESIDE, size):
                os.rename(_BESIDE, path)
        except OSError as error:
            if error.errno not in (errno.EMLINK, errno.EXDEV):
                raise

    def _link_in(self, key: str, path: bytes) -> None:
        try:
            os.link(path, key, dst_dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            try:
                os.mkdir(key[:2], 0o700, dir_fd=self.fd)
            except FileExistsError:
                pass
            os.link(path, key, dst_dir_fd=self.fd, follow_symlinks=False)

    def _has(self, key: str) -> bool:
        try:
            os.stat(key, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _drop(self, key: str) -> None:
        try:
            os.unlink(key, dir_fd=self.fd)
        except FileNotFoundError:
            return
