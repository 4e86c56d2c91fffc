# SPDX-License-Identifier: Apache-2.0
"""Media types and descriptors of OCI image-spec, and those of Docker's schema 2 that stand for the same things."""

from __future__ import annotations

from boxship.errors import BoxshipError
from boxship.image.reference import check_digest
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_INDEX)
#: what a registry is asked for: both kinds of both families
ACCEPT = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)

_AS_OCI = {
    DOCKER_MANIFEST: MANIFEST,
    DOCKER_INDEX: INDEX,
    DOCKER_CONFIG: CONFIG,
    DOCKER_LAYER: LAYER,
    f"{DOCKER_LAYER}.gzip": f"{LAYER}+gzip",
    f"{DOCKER_LAYER}.zstd": f"{LAYER}+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
}
_COMPRESSIONS = {"gzip": "gzip", "zstd": "zstd", "": ""}
#: one blob; above it a manifest, an index or a configuration is refused
MOST_DOCUMENT = 4 << 20


class ImageError(BoxshipError):
    """An image, a manifest or a layer that is not what it says it is."""

    http_status = 422


class Platform(Record):
    """``linux/amd64``, ``linux/arm/v7``."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")


class Descriptor(Record):
    """What a blob is, and the digest and size that it must have."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}
    platform: Platform | None = None

    def as_json(self) -> dict[str, Any]:
        """The form of image-spec."""
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            found["annotations"] = self.annotations
        if self.platform:
            found["platform"] = {"os": self.platform.os, "architecture": self.platform.architecture} | (
                {"variant": self.platform.variant} if self.platform.variant else {}
            )
        return found


def as_oci(media_type: str) -> str:
    """The OCI type that a Docker type stands for; any other as it is."""
    return _AS_OCI.get(media_type, media_type)


def compression(media_type: str) -> str:
    """``gzip``, ``zstd`` or nothing, of a layer's type; ImageError for what is no layer."""
    plain = as_oci(media_type)
    base, _, suffix = plain.partition("+")
    if not base.startswith("application/vnd.oci.image.layer.") or suffix not in _COMPRESSIONS:
        raise ImageError(
            f"{media_type}: not a layer that can be unpacked", hint="artifacts are kept, but they cannot be run"
        )
    return _COMPRESSIONS[suffix]


def descriptor(value: object, where: str) -> Descriptor:
    """Read one; ImageError says where in the document what is wrong."""
    if not isinstance(value, dict):
        raise ImageError(f"{where}: not a descriptor")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if (
        not isinstance(media_type, str)
        or not isinstance(digest, str)
        or not isinstance(size, int)
        or isinstance(size, bool)
        or size < 0
    ):
        raise ImageError(f"{where}: mediaType, digest and size must be there")
    annotations = value.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(v, str) for v in annotations.values()):
        raise ImageError(f"{where}.annotations: not strings")
    return Descriptor(media_type, check_digest(digest), size, annotations, _platform(value.get("platform"), where))


def _platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ImageError(f"{where}.platform: not an object")
    words = [value.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(word, str) for word in words):
        raise ImageError(f"{where}.platform: not strings")
    return Platform(*words)
