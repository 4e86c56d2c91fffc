# SPDX-License-Identifier: Apache-2.0
"""The store of images: names in the database, documents and compressed layers as blobs, unpacked layers as trees.

    <root>/blobs, ingest      blobs.py
    <root>/layers, pool       layers.py, pool.py
    <root>/images.db          names, and where registries have which blob

Documents keep the digests that their makers gave them, Docker's too: an image is the same wherever it has been.
"""

from __future__ import annotations

import os
import time

from boxship.database import Database
from boxship.errors import Conflict, InvalidRequest, NotFound
from boxship.image import documents, media, reference
from boxship.image.blobs import Blobs
from boxship.image.documents import Config, Index, Manifest
from boxship.image.layers import Layers, ready
from boxship.image.media import Descriptor, ImageError, Platform
from boxship.image.reference import Reference
from boxship.kernel import lock as locking
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from boxship.undo import Undo

SHORT = 12
_HEX = frozenset("0123456789abcdef")


class Image(Record):
    """One image for one platform, complete: its documents have been read and fit each other."""

    descriptor: Descriptor
    manifest: Manifest
    config: Config
    #: the name that it was found by, if any
    name: str = ""

    @property
    def id(self) -> str:
        """The digest of the configuration, as Docker has it."""
        return self.manifest.config.digest

    @property
    def size(self) -> int:
        """Bytes of its compressed layers."""
        return sum(layer.size for layer in self.manifest.layers)


class Named(Record):
    """A row of the database."""

    name: str
    descriptor: Descriptor
    created_ns: int
    used_ns: int


class Store:
    """All of it, below one directory."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.blobs, self.layers = Blobs(root), Layers(root)
        self.database = Database(f"{root}/images.db")

    def hold(self, held: Undo) -> None:
        """Until ``held`` is left nothing is collected: what is being brought in has no name yet that would keep it."""
        ready(self.root)
        held.push(os.close, locking.shared(self.root))

    # names

    def tag(self, name: Reference, target: Descriptor) -> None:
        """Give an image a name; one that had it loses it."""
        now = time.time_ns()
        with self.database.write() as db:
            db.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, "
                "media_type = excluded.media_type, size = excluded.size, created_ns = excluded.created_ns",
                (str(name), target.digest, target.media_type, target.size, now, now),
            )

    def untag(self, name: str) -> bool:
        """Take a name away; whether it was there."""
        with self.database.write() as db:
            return db.execute("DELETE FROM images WHERE name = ?", (name,)).rowcount > 0

    def named(self) -> list[Named]:
        """All names, newest first."""
        rows = self.database.read(
            "SELECT name, digest, media_type, size, created_ns, used_ns FROM images ORDER BY created_ns DESC"
        )
        return [
            Named(name, Descriptor(kind, digest, size), made, used) for name, digest, kind, size, made, used in rows
        ]

    def used(self, name: str) -> None:
        """A container has been started from it: what is used is not collected by age."""
        with self.database.write() as db:
            db.execute("UPDATE images SET used_ns = ? WHERE name = ?", (time.time_ns(), name))

    def find(self, word: str, platform: Platform | None = None) -> Image:
        """The image with this name, id, or unique beginning of an id; NotFound, or Conflict when several could be meant."""
        found = self.by_name(word) or self._by_digest(word)
        if not found:
            raise NotFound(f"image {word!r}: not in the store", hint="box images lists them, box pull fetches one")
        return self.image(found.descriptor, platform, found.name)

    def named_as(self, word: str) -> Named | None:
        """The row that a name or id stands for."""
        return self.by_name(word) or self._by_digest(word)

    def by_name(self, word: str) -> Named | None:
        """The row of a name, with its digest if the words have one."""
        try:
            wanted = reference.parse(word)
        except InvalidRequest:
            return None
        rows = self._rows("name = ?", str(wanted.replace(digest="") if wanted.tag else wanted))
        rows = [row for row in rows if not wanted.digest or row.descriptor.digest == wanted.digest]
        if not rows and wanted.digest:
            rows = [
                row for row in self._rows("digest = ?", wanted.digest) if reference.parse(row.name).name == wanted.name
            ]
        return rows[0] if rows else None

    def _rows(self, where: str, *values: object) -> list[Named]:
        rows = self.database.read(
            f"SELECT name, digest, media_type, size, created_ns, used_ns FROM images WHERE {where}", *values
        )
        return [
            Named(name, Descriptor(kind, digest, size), made, used) for name, digest, kind, size, made, used in rows
        ]

    def _by_digest(self, word: str) -> Named | None:
        """By the beginning of the id, which is the configuration's digest, or of the manifest's own."""
        prefix = word.removeprefix("sha256:")
        if not prefix or not set(prefix) <= _HEX:
            return None
        matching: dict[str, Named] = {}
        for row in self.named():
            digests = [row.descriptor.digest, *self._ids(row.descriptor)]
            for digest in digests:
                if digest.partition(":")[2].startswith(prefix):
                    matching.setdefault(row.descriptor.digest, row)
        if len(matching) > 1:
            raise Conflict(f"{word!r} is the beginning of {len(matching)} images' ids", hint="give more of the id")
        return next(iter(matching.values()), None)

    def _ids(self, target: Descriptor) -> list[str]:
        if target.media_type in media.MANIFESTS:
            return [self.manifest(target).config.digest]
        return [
            self.manifest(one).config.digest
            for one in self.index(target).manifests
            if one.media_type in media.MANIFESTS and self.blobs.size(one.digest) >= 0
        ]

    # documents

    def manifest(self, target: Descriptor) -> Manifest:
        """Read a manifest from the store."""
        return documents.manifest(self.blobs.read(target.digest, media.MOST_DOCUMENT), target.digest, target.media_type)

    def index(self, target: Descriptor) -> Index:
        """Read an index from the store."""
        return documents.index(self.blobs.read(target.digest, media.MOST_DOCUMENT), target.digest, target.media_type)

    def image(self, target: Descriptor, platform: Platform | None = None, name: str = "") -> Image:
        """The image of a manifest, or of an index's entry for the platform (this machine's when none is named)."""
        found = self.manifest_of(target, platform)
        manifest = self.manifest(found)
        where = f"{found.digest}: configuration"
        config = documents.config(self.blobs.read(manifest.config.digest, media.MOST_DOCUMENT), where)
        layers = [
            one for one in manifest.layers if media.as_oci(one.media_type).startswith(media.LAYER.removesuffix(".tar"))
        ]
        if len(layers) != len(config.diff_ids):
            raise ImageError(f"{where}: {len(config.diff_ids)} diff_ids for {len(layers)} layers")
        return Image(found, manifest, config, name)

    def manifest_of(self, target: Descriptor, platform: Platform | None = None) -> Descriptor:
        """Down through indexes to a manifest."""
        for _ in range(4):  # an index in an index is allowed; more of them is a trick
            if target.media_type not in media.INDEXES:
                return target
            wanted = platform or documents.this_platform()
            found = documents.choose(self.index(target).manifests, wanted)
            if not found:
                known = sorted({str(one.platform) for one in self.index(target).manifests if one.platform})
                raise NotFound(
                    f"the image has nothing for {wanted}",
                    hint=f"it has {', '.join(known) or 'no platforms'}: see --platform",
                )
            target = found
        raise ImageError(f"{target.digest}: an index in an index in an index")

    # layers

    def lower_directories(self, image: Image, progress: Callable[[str], None] | None = None) -> list[str]:
        """The unpacked layers, uppermost first, as overlayfs takes them; what is missing is unpacked now."""
        pairs = list(zip(image.config.diff_ids, image.manifest.layers))
        missing = [(diff_id, layer) for diff_id, layer in pairs if not self.layers.has(diff_id)]
        if missing:
            self._unpack(missing, progress)
        paths = [self.layers.path(diff_id) for diff_id, layer in pairs]
        return list(dict.fromkeys(reversed(paths)))

    def _unpack(self, wanted: list[tuple[str, Descriptor]], progress: Callable[[str], None] | None) -> None:
        """Layers are independent: as many at a time as there are processors."""
        from concurrent.futures import ThreadPoolExecutor

        def one(pair: tuple[str, Descriptor]) -> None:
            diff_id, layer = pair
            self.layers.unpack(self.blobs.path(layer.digest), media.compression(layer.media_type), diff_id)
            if progress:
                progress(diff_id)

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            for _ in pool.map(one, dict(wanted).items()):
                pass

    # where registries have blobs

    def remember_source(self, digests: list[str], repository: str) -> None:
        """A registry has these blobs in this repository: a push to the same registry can mount them from there."""
        with self.database.write() as db:
            db.executemany("INSERT OR IGNORE INTO sources VALUES (?, ?)", [(digest, repository) for digest in digests])

    def sources(self, digest: str, host: str) -> list[str]:
        """Repositories of the registry that have the blob."""
        rows = self.database.read(
            "SELECT repository FROM sources WHERE digest = ? AND repository LIKE ? LIMIT 3", digest, f"{host}/%"
        )
        return [row[0] for row in rows]

    # what is needed

    def reachable(self) -> tuple[set[str], set[str]]:
        """Digests of all blobs that names lead to, and the diff_ids of their layers."""
        blobs, layers = set[str](), set[str]()
        for row in self.named():
            for target in self._documents(row.descriptor):
                blobs.add(target.digest)
                if target.media_type not in media.MANIFESTS or self.blobs.size(target.digest) < 0:
                    continue
                manifest = self.manifest(target)
                blobs |= {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
                if (
                    self.blobs.size(manifest.config.digest) >= 0
                    and media.as_oci(manifest.config.media_type) == media.CONFIG
                ):
                    data = self.blobs.read(manifest.config.digest, media.MOST_DOCUMENT)
                    layers |= set(documents.config(data, manifest.config.digest).diff_ids)
        return blobs, layers

    def _documents(self, target: Descriptor, depth: int = 0) -> Iterator[Descriptor]:
        yield target
        if target.media_type in media.INDEXES and depth < 4 and self.blobs.size(target.digest) >= 0:
            for one in self.index(target).manifests:
                yield from self._documents(one, depth + 1)
