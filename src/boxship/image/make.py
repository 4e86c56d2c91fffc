# SPDX-License-Identifier: Apache-2.0
"""New images: a layer of ours on top of another image's, or of nothing, with the documents that go with it."""

from __future__ import annotations

import time

from boxship.image import codec, documents, media
from boxship.image.documents import Manifest
from boxship.image.media import Descriptor
from boxship.image.pack import Packer, compressed
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from boxship.image.store import Image, Store

_KEEPS = {"gzip": "+gzip", "zstd": "+zstd"}


class Layer(Record):
    """A compressed layer in the store, and the digest of what is in it."""

    descriptor: Descriptor
    diff_id: str


def layer_from_tree(
    store: Store,
    root: str,
    *,
    upper: bool = False,
    latest: int | None = None,
    owner: Callable[[int, int], tuple[int, int]] | None = None,
    skip: Callable[[bytes], bool] | None = None,
    compression: str = "gzip",
) -> Layer:
    """Pack a tree, or an overlay's upper directory, into a layer."""
    import hashlib

    digest = hashlib.sha256()
    with store.blobs.new() as part:
        write, end = compressed(part.write, compression)

        def both(data: bytes) -> None:
            digest.update(data)
            write(data)

        gathered = Gathered(both)
        packer = Packer(gathered, upper=upper, latest=latest, owner=owner)
        packer.tree(root, skip=skip)
        packer.end()
        gathered.flush()
        end()
        size = part.have
        found = part.commit()
    return Layer(Descriptor(media.LAYER + _KEEPS.get(compression, ""), found, size), f"sha256:{digest.hexdigest()}")


class Gathered:
    """Many small writes as a few large ones: hashing and compressing a header at a time would cost more than the data."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write, self._parts, self._size = write, list[bytes](), 0

    def __call__(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size >= 1 << 18:
            self.flush()

    def flush(self) -> None:
        """Pass on what is held."""
        if self._parts:
            self._write(b"".join(self._parts))
            self._parts, self._size = [], 0


def layer_from_stream(store: Store, parts: Iterator[bytes]) -> Layer:
    """Keep a tar stream as a layer: as it is when it is gzip or zstd, else compressed with gzip."""
    import hashlib

    digest = hashlib.sha256()
    head = next(parts, b"")
    compression = codec.compression_of(head)
    with store.blobs.new() as part:
        if compression in _KEEPS:

            def kept() -> Iterator[bytes]:
                for data in _again(head, parts):
                    part.write(data)
                    yield data

            for data in codec.plain(kept(), compression):
                digest.update(data)
        else:
            write, end = compressed(part.write, "gzip")
            for data in codec.plain(_again(head, parts), compression):
                digest.update(data)
                write(data)
            end()
            compression = "gzip"
        size = part.have
        found = part.commit()
    return Layer(Descriptor(media.LAYER + _KEEPS[compression], found, size), f"sha256:{digest.hexdigest()}")


def _again(head: bytes, parts: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from parts


def timestamp(ns: int | None = None) -> str:
    """RFC 3339 in UTC, with nanoseconds."""
    now = time.time_ns() if ns is None else ns
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000)) + f".{now % 1_000_000_000:09}Z"


def image(
    store: Store,
    base: Image | None,
    layer: Layer | None,
    settings: dict[str, Any],
    *,
    created_by: str,
    comment: str = "",
    author: str = "",
    created_ns: int | None = None,
    annotations: dict[str, str] | None = None,
) -> Descriptor:
    """Write configuration and manifest of a new image; its descriptor."""
    platform = base.config.platform if base else documents.this_platform()
    when = timestamp(created_ns)
    entry: dict[str, Any] = {"created": when, "created_by": created_by}
    entry |= {key: value for key, value in (("author", author), ("comment", comment)) if value}
    if not layer:
        entry["empty_layer"] = True
    raw: dict[str, Any] = {
        key: value
        for key, value in (base.config.raw if base else {}).items()
        if key not in ("container", "container_config", "id", "parent")
    }
    raw |= {"created": when, "architecture": platform.architecture, "os": platform.os, "config": settings}
    if platform.variant:
        raw["variant"] = platform.variant
    if author:
        raw["author"] = author
    raw["rootfs"] = {
        "type": "layers",
        "diff_ids": [*(base.config.diff_ids if base else []), *([layer.diff_id] if layer else [])],
    }
    raw["history"] = [*(base.config.history if base else []), entry]
    config = store.blobs.add(documents.dumps(raw), media.CONFIG)
    below = [one.replace(media_type=media.as_oci(one.media_type)) for one in base.manifest.layers] if base else []
    manifest = Manifest(config, [*below, *([layer.descriptor] if layer else [])], annotations=annotations or {})
    return store.blobs.add(documents.dumps(manifest.as_json()), media.MANIFEST)
