# SPDX-License-Identifier: Apache-2.0
"""Images in files: OCI layouts, as directories and as tar archives, and what ``docker save`` writes.

Reading takes any of them, compressed or not, in one pass: every file of the archive becomes a blob by its own digest, and
only names of documents decide what they are. Writing makes archives that are both: an OCI layout with Docker's
``manifest.json`` in it.
"""

from __future__ import annotations

import os
import posixpath

from boxship.errors import InvalidRequest, KernelError
from boxship.image import codec, documents, media, reference
from boxship.image import tarread as t
from boxship.image.documents import Manifest
from boxship.image.media import Descriptor, ImageError
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from boxship.image.reference import Reference
    from boxship.image.store import Store

_NAME = "org.opencontainers.image.ref.name"
_FULL_NAME = "io.containerd.image.name"
_MOST_FILES = 100_000


class Loaded(Record):
    """An image that has been read: its names, if the archive gives it any."""

    descriptor: Descriptor
    names: list[str]


class _Files:
    """What an archive holds: blobs of the store by the archive's own names; links lead to other names."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.blobs: dict[str, Descriptor] = {}
        self.links: dict[str, str] = {}

    def add(self, name: str, parts: Iterator[bytes]) -> None:
        """Keep a file."""
        if len(self.blobs) + len(self.links) > _MOST_FILES:
            raise ImageError(f"archive: more than {_MOST_FILES} files")
        with self.store.blobs.new() as part:
            for data in parts:
                part.write(data)
            size = part.have
            self.blobs[_clean(name)] = Descriptor("", part.commit(), size)

    def find(self, name: str) -> Descriptor | None:
        """The file with this name, through links."""
        name = _clean(name)
        for _ in range(8):
            if name in self.blobs:
                return self.blobs[name]
            if name not in self.links:
                return None
            name = _clean(posixpath.join(posixpath.dirname(name), self.links[name]))
        return None

    def document(self, name: str) -> Any:
        """A JSON file, or None."""
        found = self.find(name)
        if not found:
            return None
        from boxship import fastjson

        return fastjson.loads(self.store.blobs.read(found.digest, media.MOST_DOCUMENT))


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")


def load(store: Store, path: str) -> list[Loaded]:
    """Read a layout's directory, or an archive (``-`` is standard input), into the store. Names are the caller's to give."""
    files = _Files(store)
    if path != "-" and os.path.isdir(path):
        _read_directory(files, path)
    else:
        try:
            fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError.from_os("open", error, path=path) from None
        try:
            _read_archive(files, codec.file_parts(fd))
        finally:
            if fd:
                os.close(fd)
    found = _from_layout(files) if files.find("index.json") else _from_docker(files)
    if not found:
        raise ImageError(f"{path}: there is no image in it", hint="a root file system is read by box import")
    return found


def _read_archive(files: _Files, parts: Iterator[bytes]) -> None:
    head = next(parts, b"")

    def again() -> Iterator[bytes]:
        yield head
        yield from parts

    stream = codec.Ahead(codec.plain(again(), codec.compression_of(head)))
    reader = t.Reader(stream.read)
    for entry in reader:
        name = os.fsdecode(entry.path)
        if entry.kind == t.FILE:
            files.add(name, reader.data(entry))
        elif entry.kind in (t.SYMLINK, t.LINK):
            target = os.fsdecode(entry.link)
            files.links[_clean(name)] = f"/{target}" if entry.kind == t.LINK else target


def _read_directory(files: _Files, path: str) -> None:
    """A layout's directory: its blobs are copied, and nothing beside it is looked at."""
    from boxship.kernel.openat2 import open_in_root

    pending = [""]
    while pending:
        at = pending.pop()
        for entry in sorted(os.listdir(f"{path}/{at}")):
            name = f"{at}/{entry}" if at else entry
            if os.path.isdir(f"{path}/{name}") and not os.path.islink(f"{path}/{name}"):
                pending.append(name)
                continue
            fd = open_in_root(path, f"/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                files.add(name, codec.file_parts(fd))
            finally:
                os.close(fd)


def _from_layout(files: _Files) -> list[Loaded]:
    """What index.json names. In archives of docker, manifest.json has the full names."""
    top = files.document("index.json")
    if not isinstance(top, dict):
        raise ImageError("index.json: not a JSON object")
    names = {}
    for one in files.document("manifest.json") or []:
        config = files.find(str(one.get("Config") or "")) if isinstance(one, dict) else None
        if config:
            names[config.digest] = [str(tag) for tag in one.get("RepoTags") or []]
    found = []
    for n, raw in enumerate(top.get("manifests") or []):
        target = media.descriptor(raw, f"index.json: $.manifests[{n}]")
        _check_whole(files.store, target)
        own = [target.annotations[key] for key in (_FULL_NAME, _NAME) if target.annotations.get(key)]
        tags = [tag for config in _configs(files.store, target) for tag in names.get(config, [])]
        found.append(Loaded(target.replace(annotations={}), list(dict.fromkeys(tags or own[:1]))))
    return found


def _configs(store: Store, target: Descriptor) -> list[str]:
    if target.media_type in media.MANIFESTS:
        return [store.manifest(target).config.digest]
    return []


def _check_whole(store: Store, target: Descriptor) -> None:
    """Everything that a manifest names must have been in the archive; of an index at least one manifest."""
    if target.media_type in media.INDEXES:
        present = [one for one in store.index(target).manifests if store.blobs.size(one.digest) >= 0]
        if not present:
            raise ImageError(f"archive: of the index {target.digest} no manifest is there")
        for one in present:
            _check_whole(store, one)
        return
    manifest = store.manifest(target)
    for part in (manifest.config, *manifest.layers):
        if store.blobs.size(part.digest) != part.size:
            raise ImageError(f"archive: {part.digest} is missing, or of another size than its manifest says")


def _from_docker(files: _Files) -> list[Loaded]:
    """``docker save`` before version 25, podman's docker-archive: plain layers under names of their own."""
    entries = files.document("manifest.json")
    if not isinstance(entries, list):
        return []
    found = []
    for n, entry in enumerate(entries):
        where = f"manifest.json: $[{n}]"
        if not isinstance(entry, dict):
            raise ImageError(f"{where}: not an object")
        config = _named(files, str(entry.get("Config") or ""), where).replace(media_type=media.CONFIG)
        layers = [_typed(files, _named(files, str(name), where)) for name in entry.get("Layers") or []]
        manifest = Manifest(config, layers)
        target = files.store.blobs.add(documents.dumps(manifest.as_json()), media.MANIFEST)
        found.append(Loaded(target, [str(tag) for tag in entry.get("RepoTags") or []]))
    return found


def _named(files: _Files, name: str, where: str) -> Descriptor:
    found = files.find(name)
    if not found:
        raise ImageError(f"{where}: {name!r} is not in the archive")
    return found


def _typed(files: _Files, layer: Descriptor) -> Descriptor:
    with open(files.store.blobs.path(layer.digest), "rb") as file:
        compression = codec.compression_of(file.read(16))
    if compression not in ("", "gzip", "zstd"):
        raise ImageError(f"archive: a layer compressed with {compression}")
    return layer.replace(media_type=media.LAYER + (f"+{compression}" if compression else ""))


# writing


def save(store: Store, images: list[tuple[Descriptor, list[Reference]]], write: Callable[[bytes], object]) -> None:
    """Write images with their names as one archive, which is an OCI layout and a Docker archive at once."""
    import io
    import tarfile

    class _Out(io.RawIOBase):
        def write(self, data: Any) -> int:
            write(bytes(data))
            return len(data)

        def writable(self) -> bool:
            return True

    with tarfile.open(fileobj=_Out(), mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        written = set[str]()

        def file(name: str, size: int, source: Any) -> None:
            if name in written:
                return
            written.add(name)
            info = tarfile.TarInfo(name)
            info.size, info.mode = size, 0o644
            tar.addfile(info, source)

        def blob(one: Descriptor) -> None:
            with open(store.blobs.path(one.digest), "rb") as source:
                file(_blob_name(one.digest), one.size, source)

        entries: list[dict[str, Any]] = []
        old: list[dict[str, Any]] = []
        for target, names in images:
            _save_one(store, target, names, blob, entries, old)
        for name, value in (
            ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
            ("index.json", {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": entries}),
            ("manifest.json", old),
        ):
            data = documents.dumps(value)
            file(name, len(data), io.BytesIO(data))


def _save_one(
    store: Store,
    target: Descriptor,
    names: list[Reference],
    blob: Callable[[Descriptor], None],
    entries: list[dict[str, Any]],
    old: list[dict[str, Any]],
) -> None:
    if target.media_type in media.INDEXES:
        target = store.manifest_of(target)
    manifest = as_oci(store, target)
    target = (
        store.blobs.add(documents.dumps(manifest.as_json()), media.MANIFEST)
        if target.media_type != media.MANIFEST
        else target
    )
    for part in (target, manifest.config, *manifest.layers):
        blob(part)
    notes = [{_NAME: name.tag, _FULL_NAME: str(name)} for name in names] or [{}]
    entries += [target.replace(annotations=note).as_json() for note in notes]
    old.append(
        {
            "Config": _blob_name(manifest.config.digest),
            "RepoTags": [name.familiar for name in names if name.tag],
            "Layers": [_blob_name(layer.digest) for layer in manifest.layers],
        }
    )


def as_oci(store: Store, target: Descriptor) -> Manifest:
    """The manifest in OCI's words, whatever it was written in."""
    manifest = store.manifest(target)
    return manifest.replace(
        media_type=media.MANIFEST,
        config=manifest.config.replace(media_type=media.as_oci(manifest.config.media_type)),
        layers=[layer.replace(media_type=media.as_oci(layer.media_type)) for layer in manifest.layers],
    )


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def save_layout(store: Store, images: list[tuple[Descriptor, list[Reference]]], directory: str) -> None:
    """Write images as an OCI layout's directory, which must be empty or not there."""
    import shutil

    os.makedirs(directory, exist_ok=True)
    if os.listdir(directory):
        raise InvalidRequest(f"{directory}: not empty", hint="name a directory that is not there yet")
    entries: list[dict[str, Any]] = []
    old: list[dict[str, Any]] = []

    def blob(one: Descriptor) -> None:
        path = f"{directory}/{_blob_name(one.digest)}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(store.blobs.path(one.digest), path)

    for target, names in images:
        _save_one(store, target, names, blob, entries, old)
    index = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": entries}
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        with open(f"{directory}/{name}", "wb") as file:
            file.write(documents.dumps(value))


def names_of(loaded: Loaded) -> list[Reference]:
    """The names of a loaded image that are names; a bare tag of a layout is none."""
    found = []
    for name in loaded.names:
        try:
            found.append(reference.parse(name))
        except InvalidRequest:
            continue
    return found
