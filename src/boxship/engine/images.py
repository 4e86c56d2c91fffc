# SPDX-License-Identifier: Apache-2.0
"""Images as users see them: names in, images out. The store is ``image/store.py``."""

from __future__ import annotations

import os

from boxship.errors import Conflict, InvalidRequest, NotFound
from boxship.image import archive, codec, collect, configure, documents, make, media, reference
from boxship.image.media import Descriptor
from boxship.image.store import SHORT, Image, Store
from boxship.paths import data_root
from boxship.record import Record
from boxship.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from boxship.image.media import Platform
    from boxship.image.reference import Reference

UNTAGGED = "localhost/boxship-untagged"


class Row(Record):
    """One line of ``box images``: sizes in bytes, times in ns since 1970."""

    repository: str
    tag: str
    digest: str
    id: str
    created: str
    size: int


def store() -> Store:
    """The user's store of images."""
    return Store(f"{data_root()}/images")


def obtain(kept: Store, word: str, *, pull: str = "missing", platform: str = "") -> Image:
    """The image that a user names: from the store, or from where its name says, fetched now."""
    wanted = documents.parse_platform(platform) if platform else None
    source = word.partition(":")[0]
    if source in SOURCES and ":" in word:
        return _from_source(kept, source, word.partition(":")[2], wanted, anew=pull == "always")
    if pull != "always":
        try:
            return kept.find(word, wanted)
        except NotFound:
            if pull == "never":
                raise
    from boxship.engine import registries

    registries.pull(word, platform=platform)
    return kept.find(word, wanted)


def _from_source(kept: Store, source: str, rest: str, wanted: Platform | None, *, anew: bool) -> Image:
    with Undo() as held:
        kept.hold(held)
        if source == "template" and anew:
            from boxship.engine import templates

            return templates.obtain(kept, rest, refresh=True)
        return SOURCES[source](kept, rest, wanted)


def _from_directory(kept: Store, path: str, _platform: Platform | None) -> Image:
    """``dir:PATH``: a root file system as it lies there, packed into a layer."""
    if not os.path.isdir(path):
        raise NotFound(f"dir:{path}: no such directory")
    layer = make.layer_from_tree(kept, path)
    target = make.image(kept, None, layer, {}, created_by="", comment=f"dir:{path}")
    keep(kept, target, [])
    return kept.image(target)


def _from_tar(kept: Store, path: str, _platform: Platform | None) -> Image:
    """``tar:PATH``: a root file system in an archive."""
    return kept.find(import_file(path))


def _from_archive(kept: Store, path: str, wanted: Platform | None) -> Image:
    """``oci:PATH``, ``docker-archive:PATH``: the only image of a layout or an archive."""
    found = archive.load(kept, path)
    if len(found) != 1:
        raise InvalidRequest(f"{path}: {len(found)} images are in it", hint="box load reads all of them, then name one")
    keep(kept, found[0].descriptor, archive.names_of(found[0]))
    return kept.image(found[0].descriptor, wanted)


def _from_template(kept: Store, name: str, _platform: Platform | None) -> Image:
    """``template:NAME/RELEASE``: made here, from a distribution's mirror."""
    from boxship.engine import templates

    return templates.obtain(kept, name)


SOURCES: dict[str, Callable[[Store, str, Platform | None], Image]] = {
    "template": _from_template,
    "dir": _from_directory,
    "tar": _from_tar,
    "oci": _from_archive,
    "docker-archive": _from_archive,
    "oci-archive": _from_archive,
}


def rows() -> list[Row]:
    """All images that have a name, newest first."""
    found, kept = [], store()
    for named in kept.named():
        name = reference.parse(named.name)
        image = _readable(kept, named.descriptor)
        if not image:
            continue
        hidden = name.name == UNTAGGED
        found.append(
            Row(
                "<none>" if hidden else name.familiar_name,
                "<none>" if hidden else name.tag or "<none>",
                named.descriptor.digest,
                image.id,
                str(image.config.raw.get("created") or ""),
                image.size,
            )
        )
    return found


def _readable(kept: Store, target: Descriptor) -> Image | None:
    """An index whose entry for this machine has never been pulled is shown by the first that is there."""
    try:
        return kept.image(target)
    except NotFound:
        return next(
            (
                kept.image(one)
                for one in (kept.index(target).manifests if target.media_type in media.INDEXES else [])
                if kept.blobs.size(one.digest) >= 0
            ),
            None,
        )


def tag(word: str, new: str) -> Reference:
    """Give an image one more name."""
    kept, name = store(), reference.parse(new)
    if name.digest:
        raise InvalidRequest(f"{new}: a new name is made with a tag, not with a digest")
    found = kept.named_as(word)
    if not found:
        raise _missing(word)
    kept.tag(name, found.descriptor)
    if found.name.startswith(UNTAGGED):
        kept.untag(found.name)
    return name


def _missing(word: str) -> NotFound:
    return NotFound(f"image {word!r}: not in the store", hint="box images lists them, box pull fetches one")


def keep(kept: Store, target: Descriptor, names: list[Reference]) -> None:
    """Give what has just been made its names; without any it keeps one that nobody sees."""
    for name in names or [_untagged(target)]:
        kept.tag(name, target)


def _untagged(target: Descriptor) -> Reference:
    return reference.Reference("localhost", UNTAGGED.partition("/")[2], target.digest.partition(":")[2][:SHORT])


def remove(word: str, *, force: bool = False, in_use: Callable[[str], list[str]] | None = None) -> list[str]:
    """Take a name away, and the image when it was the last; lines that say what was done, as Docker's."""
    kept = store()
    found = kept.named_as(word)
    if not found:
        raise _missing(word)
    same = [row for row in kept.named() if row.descriptor.digest == found.descriptor.digest]
    by_name = bool(kept.by_name(word))
    going = [found] if by_name else same
    if not by_name and len(same) > 1 and not force:
        raise Conflict(f"image {word}: has {len(same)} names", hint="name one of them, or take them all with --force")
    last = len(going) == len(same)
    image = _readable(kept, found.descriptor)
    users = in_use(image.id) if image and in_use and last else []
    if users and not force:
        raise Conflict(f"image {word}: container {users[0]} uses it", hint=f"box rm {users[0]} first, or --force")
    lines = []
    for row in going:
        kept.untag(row.name)
        lines.append(f"Untagged: {reference.parse(row.name).familiar}")
    if last:
        lines.append(f"Deleted: {image.id if image else found.descriptor.digest}")
        collect.collect(kept, _layers_in_use(), grace_s=0.0)
    return lines


def _layers_in_use() -> set[str]:
    from boxship.engine import containers

    return {diff_id for state in containers.states() for diff_id in state.layers}


def users_of(image: str) -> list[str]:
    """Containers that stand on this image's layers."""
    from boxship.engine import containers

    kept = store()
    layers = kept.find(image).config.diff_ids
    return [state.id for state in containers.states() if state.layers and state.layers[: len(layers)] == layers]


def prune(*, everything: bool = False, dry_run: bool = False) -> collect.Collected:
    """Take away images without a name, or with ``everything`` all that no container uses, and what nobody needs."""
    kept = store()
    used = _layers_in_use()
    for row in kept.named():
        image = _readable(kept, row.descriptor)
        unused = image is None or not set(image.config.diff_ids) <= used
        if (row.name.startswith(UNTAGGED) or everything) and unused and not dry_run:
            kept.untag(row.name)
    return collect.collect(kept, used, grace_s=0.0, dry_run=dry_run)


def load(path: str) -> list[str]:
    """Read images from a layout or an archive; their names, or ids where they have none."""
    kept, said = store(), list[str]()
    with Undo() as held:
        kept.hold(held)
        for loaded in archive.load(kept, path):
            names = archive.names_of(loaded)
            image = kept.image(loaded.descriptor)
            keep(kept, loaded.descriptor, names)
            said += [f"Loaded image: {name.familiar}" for name in names] or [f"Loaded image ID: {image.id}"]
    return said


def save(words: list[str], write: Callable[[bytes], object]) -> None:
    """Write images as one archive."""
    archive.save(store(), _chosen(words), write)


def save_layout(words: list[str], directory: str) -> None:
    """Write images as an OCI layout's directory."""
    archive.save_layout(store(), _chosen(words), directory)


def _chosen(words: list[str]) -> list[tuple[Descriptor, list[Reference]]]:
    """Images by what they were called: a name is kept as the image's, an id gives none."""
    kept = store()
    found: dict[str, tuple[Descriptor, list[Reference]]] = {}
    for word in words:
        row = kept.named_as(word)
        if not row:
            raise _missing(word)
        _, names = found.setdefault(row.descriptor.digest, (row.descriptor, []))
        if kept.by_name(word) and not row.name.startswith(UNTAGGED):
            names.append(reference.parse(row.name))
    return list(found.values())


def import_tar(
    parts: Iterator[bytes],
    name: str = "",
    *,
    changes: list[str] | None = None,
    message: str = "",
) -> str:
    """A root file system as a tar stream becomes an image of one layer; its id."""
    kept = store()
    names = [reference.parse(name)] if name else []
    settings = configure.changes({}, changes or [])
    comment = message or "imported from a tar archive"
    with Undo() as held:
        kept.hold(held)
        target = make.image(kept, None, make.layer_from_stream(kept, parts), settings, created_by="", comment=comment)
        keep(kept, target, names)
    return kept.image(target).id


def import_file(path: str, name: str = "", **more: Any) -> str:
    """The same from a file; ``-`` is standard input."""
    if path == "-":
        return import_tar(codec.file_parts(0), name, **more)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None
    try:
        return import_tar(codec.file_parts(fd), name, **more)
    finally:
        os.close(fd)


def inspect(word: str, platform: Platform | None = None) -> dict[str, Any]:
    """An image as ``docker image inspect`` shows it."""
    kept = store()
    image = kept.find(word, platform)
    row = kept.named_as(word)
    same = [reference.parse(one.name) for one in kept.named() if row and one.descriptor.digest == row.descriptor.digest]
    shown = [name for name in same if name.name != UNTAGGED]
    raw = image.config.raw
    return {
        "Id": image.id,
        "RepoTags": [name.familiar for name in shown if name.tag],
        "RepoDigests": sorted({f"{name.familiar_name}@{row.descriptor.digest}" for name in shown}) if row else [],
        "Parent": "",
        "Comment": (image.config.history or [{}])[-1].get("comment", ""),
        "Created": raw.get("created", ""),
        "Author": raw.get("author", ""),
        "Config": image.config.settings,
        "Architecture": image.config.platform.architecture,
        "Variant": image.config.platform.variant,
        "Os": image.config.platform.os,
        "Size": image.size,
        "RootFS": {"Type": "layers", "Layers": image.config.diff_ids},
        "Descriptor": (row.descriptor if row else image.descriptor).as_json(),
    }


def history(word: str) -> list[dict[str, Any]]:
    """How an image was made, newest first: created, created_by, size in bytes, comment."""
    image = store().find(word)
    sizes = iter([layer.size for layer in image.manifest.layers])
    found = [
        {
            "created": str(one.get("created") or ""),
            "created_by": str(one.get("created_by") or ""),
            "size": 0 if one.get("empty_layer") else next(sizes, 0),
            "comment": str(one.get("comment") or ""),
        }
        for one in image.config.history
    ]
    return list(reversed(found))
