# SPDX-License-Identifier: Apache-2.0
"""Content-addressed blobs, in the directories of an OCI image layout.

    <root>/blobs/sha256/<hex>      complete and verified; nothing else is ever there
    <root>/ingest/<hex>            what has come of a blob so far; whoever fetches it holds a lock on it

A download that was killed goes on where it stopped: what is there is hashed again first, and only a blob whose digest and
size are right appears under its name.
"""

from __future__ import annotations

import fcntl
import os

from boxship.errors import KernelError, NotFound
from boxship.image.media import Descriptor, ImageError
from boxship.image.reference import check_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

_CHUNK = 1 << 20


class Blobs:
    """The blobs below a store's root."""

    def __init__(self, root: str) -> None:
        self.root, self.ingest = f"{root}/blobs", f"{root}/ingest"

    def path(self, digest: str) -> str:
        """Where the blob is, when it is there."""
        algorithm, _, value = check_digest(digest).partition(":")
        return f"{self.root}/{algorithm}/{value}"

    def size(self, digest: str) -> int:
        """Its size in bytes; -1 when it is not there."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            return -1

    def read(self, digest: str, most: int) -> bytes:
        """A small blob: a document."""
        try:
            with open(self.path(digest), "rb") as file:
                found = file.read(most + 1)
        except FileNotFoundError:
            raise NotFound(f"blob {digest}: not in the store", hint="pull the image again") from None
        if len(found) > most:
            raise ImageError(f"blob {digest}: more than {most} bytes")
        return found

    def add(self, data: bytes, media_type: str) -> Descriptor:
        """Put a document into the store."""
        import hashlib

        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if self.size(digest) < 0:
            with Ingest(self, digest, len(data)) as part:
                if not part.done:
                    part.restart()
                    part.write(data)
                    part.commit()
        return Descriptor(media_type, digest, len(data))

    def new(self) -> Ingest:
        """A blob whose digest is not known before it is written."""
        return Ingest(self, "", -1)

    def remove(self, digest: str) -> int:
        """Remove a blob; how many bytes that gave back."""
        size = max(0, self.size(digest))
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return 0
        return size

    def all(self) -> Iterator[str]:
        """The digests of all blobs."""
        try:
            algorithms = os.listdir(self.root)
        except FileNotFoundError:
            return
        for algorithm in algorithms:
            for value in os.listdir(f"{self.root}/{algorithm}"):
                yield f"{algorithm}:{value}"


class Ingest:
    """A blob on its way in, as a context manager. ``done``: somebody else has brought it meanwhile."""

    def __init__(self, blobs: Blobs, digest: str, size: int) -> None:
        import hashlib

        self.blobs, self.digest, self.wanted = blobs, digest, size
        self.have, self.fd, self.done = 0, -1, False
        algorithm = digest.partition(":")[0] or "sha256"
        self._new: Any = lambda: hashlib.new(algorithm)
        self._hash: Any = self._new()
        name = digest.replace(":", "-") if digest else f"new-{os.getpid()}-{id(self)}"
        self.path = f"{blobs.ingest}/{name}"

    def __enter__(self) -> Ingest:
        try:
            os.makedirs(self.blobs.ingest, mode=0o700, exist_ok=True)
            while not self._arrived():
                self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                fcntl.flock(self.fd, fcntl.LOCK_EX)
                if self._still_there():
                    self._take_up()
                    return self
                self._close()
        except OSError as error:
            raise KernelError.from_os("open", error, path=self.path) from None
        self.done = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.fd >= 0 and not self.digest:  # nobody could ask for it again
            os.unlink(self.path)
        self._close()

    def _arrived(self) -> bool:
        return bool(self.digest) and self.blobs.size(self.digest) >= 0

    def _still_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(self.path)) and not self._arrived()
        except FileNotFoundError:
            return False

    def _take_up(self) -> None:
        """Hash what an earlier try has left."""
        while part := os.read(self.fd, _CHUNK):
            self._hash.update(part)
            self.have += len(part)
        if self.wanted >= 0 and self.have > self.wanted:
            self.restart()

    def restart(self) -> None:
        """Begin again from nothing."""
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        self._hash, self.have = self._new(), 0

    def write(self, data: bytes) -> None:
        """The next bytes; more than the blob may have is refused at once."""
        self.have += len(data)
        if 0 <= self.wanted < self.have:
            self.restart()
            raise ImageError(f"blob {self.digest}: more than the {self.wanted} bytes that the manifest says")
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise KernelError.from_os(
                "write", error, path=self.path, hint="the disk may be full: box image prune gives space back"
            ) from None

    def commit(self) -> str:
        """Verify, and give it its name; returns the digest. A blob that lies is thrown away."""
        found = f"{self._hash.name}:{self._hash.hexdigest()}"
        if (self.digest and found != self.digest) or 0 <= self.wanted != self.have:
            have, self.have = self.have, 0
            self.restart()
            raise ImageError(
                f"blob {self.digest}: what came is {found} with {have} bytes",
                hint="it was damaged on the way, or the registry lies; try again",
            )
        os.fsync(self.fd)
        path = self.blobs.path(found)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.rename(self.path, path)
        self._close()
        self.digest = found
        return found

    def _close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
