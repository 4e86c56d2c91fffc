# SPDX-License-Identifier: Apache-2.0
"""Between registries and the store: pull and push of whole images.

Blobs come four at a time, each once however many processes want it, and go on where an earlier try stopped; a layer is
unpacked as soon as it is there, while others still come. The name is given last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from boxship.errors import BoxshipError, NotFound
from boxship.image import documents, media
from boxship.image.documents import Manifest
from boxship.image.media import Descriptor, ImageError, Platform
from boxship.image.registry.client import Client, Fetched
from boxship.image.registry.errors import Passing
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import BinaryIO

    from boxship.image.blobs import Ingest
    from boxship.image.reference import Reference
    from boxship.image.registry.auth import Finder
    from boxship.image.registry.settings import Settings
    from boxship.image.store import Store

_AT_ONCE = 4
_GATHER = 1 << 20


class Progress(Record):
    """What has happened to one blob: ``phase`` is waiting, downloading, uploading, there, unpacking, done, mounted."""

    digest: str
    phase: str
    done: int = 0
    size: int = 0


def silent(_: Progress) -> None:
    """Nobody looks."""


class Pull:
    """One pull into a store. ``tell`` hears of progress, from several threads."""

    def __init__(
        self, store: Store, settings: Settings, finder: Finder, tell: Callable[[Progress], None] = silent
    ) -> None:
        self.store, self.settings, self.finder, self.tell = store, settings, finder, tell
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._workers = asyncio.Semaphore(os.cpu_count() or 1)

    async def run(self, name: Reference, platform: Platform | None = None, *, unpack: bool = True) -> Descriptor:
        """Fetch the image from the first place that has it, and give it its name; what it is."""
        tried: list[BoxshipError] = []
        for endpoint in self.settings.endpoints(name):
            async with Client(endpoint, self.finder) as client:
                try:
                    top = await client.manifest(name.wanted)
                except BoxshipError as error:
                    # A mirror is no more than a shortcut: whatever ails it, the registry itself is asked.
                    if not endpoint.mirror and not isinstance(error, (NotFound, Passing)):
                        raise
                    tried.append(error)
                    continue
                found = await self._fetch(client, top, platform, unpack=unpack)
                self.store.tag(name, found)
                return found
        raise tried[-1]

    async def _fetch(self, client: Client, top: Fetched, platform: Platform | None, *, unpack: bool) -> Descriptor:
        target = Descriptor(top.media_type, top.digest, len(top.data))
        manifest, data = top, top.data
        repository = client.endpoint.name
        if top.media_type in media.INDEXES:
            index = documents.index(top.data, repository, top.media_type)
            wanted = platform or documents.this_platform()
            chosen = documents.choose(index.manifests, wanted)
            if not chosen:
                known = ", ".join(sorted({str(one.platform) for one in index.manifests if one.platform}))
                raise NotFound(
                    f"image {repository}: has nothing for {wanted}", hint=f"it has {known or 'no platforms'}"
                )
            manifest = await client.manifest(chosen.digest)
            data = manifest.data
        parsed = documents.manifest(data, repository, manifest.media_type)
        await self._parts(client, parsed, unpack=unpack)
        self.store.blobs.add(data, manifest.media_type)
        self.store.blobs.add(top.data, top.media_type)
        digests = [parsed.config.digest, *(layer.digest for layer in parsed.layers)]
        self.store.remember_source(digests, repository)
        return target

    async def _parts(self, client: Client, manifest: Manifest, *, unpack: bool) -> None:
        """Configuration first, which names what the layers must be; then the layers."""
        await self._blob(client, manifest.config)
        diff_ids: list[str] = []
        if unpack and media.as_oci(manifest.config.media_type) == media.CONFIG:
            raw = self.store.blobs.read(manifest.config.digest, media.MOST_DOCUMENT)
            diff_ids = documents.config(raw, f"{client.endpoint.name}: configuration").diff_ids
            if len(diff_ids) != len(manifest.layers):
                raise ImageError(f"{client.endpoint.name}: {len(diff_ids)} diff_ids for {len(manifest.layers)} layers")
        once = {
            layer.digest: (layer, diff) for layer, diff in zip(manifest.layers, diff_ids or [""] * len(manifest.layers))
        }
        await together([self._layer(client, layer, diff) for layer, diff in once.values()])

    async def _layer(self, client: Client, layer: Descriptor, diff_id: str) -> None:
        async with self._slots:
            await self._blob(client, layer)
        if not diff_id:
            return
        async with self._workers:
            self.tell(Progress(layer.digest, "unpacking", layer.size, layer.size))
            path, compression = self.store.blobs.path(layer.digest), media.compression(layer.media_type)
            await asyncio.to_thread(self.store.layers.unpack, path, compression, diff_id)
        self.tell(Progress(layer.digest, "done", layer.size, layer.size))

    async def _blob(self, client: Client, wanted: Descriptor) -> None:
        have = self.store.blobs.size(wanted.digest)
        if have >= 0:
            if have != wanted.size:
                raise ImageError(f"blob {wanted.digest}: has {have} bytes, and the manifest says {wanted.size}")
            self.tell(Progress(wanted.digest, "there", have, have))
            return
        from boxship.image.blobs import Ingest

        part = Ingest(self.store.blobs, wanted.digest, wanted.size)
        await asyncio.to_thread(part.__enter__)  # may wait for another process that fetches the same
        try:
            if not part.done:
                await self._download(client, wanted, part)
        finally:
            part.__exit__(None, None, None)

    async def _download(self, client: Client, wanted: Descriptor, part: Ingest) -> None:
        gathered, size = list[bytes](), 0
        async with contextlib.aclosing(client.blob(wanted.digest, part.have, wanted.size)) as stream:  # type: ignore[type-var]
            async for data in stream:
                gathered.append(data)
                size += len(data)
                if size >= _GATHER:
                    await asyncio.to_thread(part.write, b"".join(gathered))
                    gathered, size = [], 0
                    self.tell(Progress(wanted.digest, "downloading", part.have, wanted.size))
        await asyncio.to_thread(part.write, b"".join(gathered))
        await asyncio.to_thread(part.commit)
        self.tell(Progress(wanted.digest, "there", wanted.size, wanted.size))


class Push:
    """One push from a store."""

    def __init__(
        self, store: Store, settings: Settings, finder: Finder, tell: Callable[[Progress], None] = silent
    ) -> None:
        self.store, self.settings, self.finder, self.tell = store, settings, finder, tell
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self, name: Reference, target: Descriptor) -> str:
        """Send an image, with all of an index's manifests that are there; the digest that the registry has now."""
        endpoint = self.settings.endpoints(name, push=True)[0]
        async with Client(endpoint, self.finder) as client:
            if target.media_type in media.INDEXES:
                below = self.store.index(target).manifests
                if all(self.store.blobs.size(one.digest) >= 0 for one in below):
                    for one in below:
                        await self._image(client, one, one.digest)
                    return await self._document(client, target, name.wanted)
                target = self.store.manifest_of(target)
            return await self._image(client, target, name.wanted)

    async def _image(self, client: Client, target: Descriptor, reference: str) -> str:
        manifest = self.store.manifest(target)
        once = {part.digest: part for part in (manifest.config, *manifest.layers)}
        await together([self._blob(client, part) for part in once.values()])
        self.store.remember_source(list(once), client.endpoint.name)
        return await self._document(client, target, reference)

    async def _document(self, client: Client, target: Descriptor, reference: str) -> str:
        data = self.store.blobs.read(target.digest, media.MOST_DOCUMENT)
        return await client.put_manifest(reference, data, target.media_type)

    async def _blob(self, client: Client, part: Descriptor) -> None:
        async with self._slots:
            if await client.has_blob(part.digest):
                self.tell(Progress(part.digest, "there", part.size, part.size))
                return
            if await self._mounted(client, part):
                self.tell(Progress(part.digest, "mounted", part.size, part.size))
                return
            if self.store.blobs.size(part.digest) != part.size:
                raise NotFound(f"blob {part.digest}: not in the store", hint="pull the image again, then push it")
            path = self.store.blobs.path(part.digest)

            def open_at(offset: int) -> BinaryIO:
                self.tell(Progress(part.digest, "uploading", offset, part.size))
                file = open(path, "rb")  # noqa: SIM115 - the upload closes it
                file.seek(offset)
                return file

            await client.upload(part, open_at)
            self.tell(Progress(part.digest, "done", part.size, part.size))

    async def _mounted(self, client: Client, part: Descriptor) -> bool:
        """The registry may have it in another repository that we know of."""
        for source in self.store.sources(part.digest, client.endpoint.host):
            repository = source.partition("/")[2]
            if repository != client.endpoint.path and await client.mount(part.digest, repository):
                return True
        return False


async def together(jobs: list[Awaitable[None]]) -> None:
    """All at once; the first failure ends the others, and is what the caller hears."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(_as_task(job))
    except BaseExceptionGroup as failed:
        raise _first(failed) from None


async def _as_task(job: Awaitable[None]) -> None:
    await job


def _first(failed: BaseException) -> BaseException:
    while isinstance(failed, BaseExceptionGroup):
        failed = failed.exceptions[0]
    return failed
