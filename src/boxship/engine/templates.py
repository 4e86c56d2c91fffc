# SPDX-License-Identifier: Apache-2.0
"""``template:debian/12``: images made on this machine from a distribution's mirror, kept, and made anew when asked."""

from __future__ import annotations

import os

from boxship.errors import BoxshipError
from boxship.image import codec, make, media, reference
from boxship.image.template import cache, recipe
from boxship.paths import cache_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxship.image.reference import Reference
    from boxship.image.store import Image, Store

_ANNOTATION = "org.boxship.template"
_REPOSITORY = "template"


def obtain(kept: Store, name: str, *, refresh: bool = False, log: Callable[[str], None] | None = None) -> Image:
    """The image of a template: as it was imported, made first where need be."""
    found = cache.get(name, f"{cache_root()}/templates", refresh=refresh, log=log)
    stamp = f"{os.path.basename(found.path)}@{found.made_ns}"
    called = _called(name)
    row = kept.named_as(str(called))
    if (
        row
        and row.descriptor.media_type == media.MANIFEST
        and kept.manifest(row.descriptor).annotations.get(_ANNOTATION) == stamp
    ):
        return kept.image(row.descriptor, name=str(called))
    fd = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        layer = make.layer_from_stream(kept, codec.file_parts(fd))
    finally:
        os.close(fd)
    target = make.image(
        kept,
        None,
        layer,
        dict(found.recipe.config),
        created_by=f"template:{name}",
        created_ns=found.made_ns,
        annotations={_ANNOTATION: stamp},
    )
    kept.tag(called, target)
    return kept.image(target, name=str(called))


def _called(name: str) -> Reference:
    """``debian/12`` → ``localhost/template/debian:12``; without a release, its default's."""
    found = recipe.find(name)
    return reference.parse(f"localhost/{_REPOSITORY}/{found.recipe.name}:{found.release or reference.DEFAULT_TAG}")


def named_like(word: str) -> str:
    """The template that makes what an image's name promises, or an empty string: ``debian:12`` → ``template:debian/12``."""
    try:
        name = reference.parse(word, default_tag="")
    except BoxshipError:
        return ""
    if name.name not in (f"docker.io/library/{name.familiar_name}",):
        return ""
    wanted = name.familiar_name + (f"/{name.tag}" if name.tag and name.tag != "latest" else "")
    try:
        found = recipe.find(wanted)
    except BoxshipError:
        return ""
    return f"template:{found.recipe.name}" + (f"/{found.release}" if found.release else "")
