# SPDX-License-Identifier: Apache-2.0
"""Manifests, indexes and configurations: read from JSON that others wrote, checked, and written. See image-spec."""

from __future__ import annotations

from boxship import fastjson
from boxship.errors import SpecError
from boxship.image import media
from boxship.image.media import Descriptor, ImageError, Platform, descriptor
from boxship.image.reference import check_digest
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MOST_LAYERS, MOST_MANIFESTS = 500, 10_000


class Manifest(Record):
    """One image for one platform: its configuration and its layers, lowest first."""

    config: Descriptor
    layers: list[Descriptor]
    media_type: str = media.MANIFEST
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    subject: Descriptor | None = None

    def as_json(self) -> dict[str, Any]:
        """The form of image-spec."""
        found: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        found |= {"config": self.config.as_json(), "layers": [one.as_json() for one in self.layers]}
        if self.subject:
            found["subject"] = self.subject.as_json()
        return found | ({"annotations": self.annotations} if self.annotations else {})


class Index(Record):
    """Images for several platforms."""

    manifests: list[Descriptor]
    media_type: str = media.INDEX
    annotations: dict[str, str] = {}

    def as_json(self) -> dict[str, Any]:
        """The form of image-spec."""
        found: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [one.as_json() for one in self.manifests],
        }
        return found | ({"annotations": self.annotations} if self.annotations else {})


class Config(Record):
    """An image's configuration; ``raw`` is the whole document, with what Boxship does not know."""

    raw: dict[str, Any]
    platform: Platform
    diff_ids: list[str]

    @property
    def settings(self) -> dict[str, Any]:
        """``config``: Env, Cmd, Entrypoint, User, WorkingDir, …"""
        return dict(self.raw.get("config") or {})

    @property
    def history(self) -> list[dict[str, Any]]:
        """How it was made, oldest first."""
        return list(self.raw.get("history") or [])


def dumps(document: Any) -> bytes:
    """The bytes of a document that we make: the same for the same value."""
    return fastjson.dumps(document).encode()


def load(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object of a sane size."""
    if len(data) > media.MOST_DOCUMENT:
        raise ImageError(f"{where}: {len(data)} bytes are more than a document may have")
    try:
        found = fastjson.loads(data)
    except SpecError as error:
        raise ImageError(f"{where}: {error.message.removeprefix('$: ')}") from None
    if not isinstance(found, dict):
        raise ImageError(f"{where}: not a JSON object")
    return found


def kind(value: dict[str, Any], said: str = "") -> str:
    """The media type of a manifest or index: what it says itself, or else what its place says, or its shape."""
    found = value.get("mediaType") or said
    if found in (*media.MANIFESTS, *media.INDEXES):
        return str(found)
    if value.get("schemaVersion") == 1:
        raise ImageError(
            "the image has a manifest of schema 1, which nobody writes since 2017",
            hint="push it anew with a newer docker",
        )
    if not found:
        return media.INDEX if "manifests" in value else media.MANIFEST
    raise ImageError(f"{found}: neither a manifest nor an index")


def manifest(data: bytes, where: str, said: str = "") -> Manifest:
    """Read a manifest."""
    value = load(data, where)
    found = kind(value, said)
    if found not in media.MANIFESTS:
        raise ImageError(f"{where}: {found}: not a manifest")
    layers = _list(value, "layers", where, MOST_LAYERS)
    subject = value.get("subject")
    return Manifest(
        descriptor(value.get("config"), f"{where}: $.config"),
        [descriptor(one, f"{where}: $.layers[{n}]") for n, one in enumerate(layers)],
        found,
        _annotations(value, where),
        str(value.get("artifactType") or ""),
        descriptor(subject, f"{where}: $.subject") if subject else None,
    )


def index(data: bytes, where: str, said: str = "") -> Index:
    """Read an index."""
    value = load(data, where)
    found = kind(value, said)
    if found not in media.INDEXES:
        raise ImageError(f"{where}: {found}: not an index")
    below = _list(value, "manifests", where, MOST_MANIFESTS)
    return Index(
        [descriptor(one, f"{where}: $.manifests[{n}]") for n, one in enumerate(below)],
        found,
        _annotations(value, where),
    )


def config(data: bytes, where: str) -> Config:
    """Read a configuration."""
    value = load(data, where)
    rootfs = value.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise ImageError(f"{where}: $.rootfs: not a list of layers")
    ids = _list(rootfs, "diff_ids", f"{where}: $.rootfs", MOST_LAYERS)
    settings = value.get("config")
    if settings is not None and not isinstance(settings, dict):
        raise ImageError(f"{where}: $.config: not an object")
    _check_settings(settings or {}, where)
    _list(value, "history", where, 10 * MOST_LAYERS)
    words = [value.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(word, str) for word in words):
        raise ImageError(f"{where}: os, architecture and variant: not strings")
    return Config(value, Platform(*words), [check_digest(str(one), where) for one in ids])


#: members of ``config`` and what they must be
_STRINGS = ("User", "WorkingDir", "StopSignal")
_LISTS = ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild")
_MAPS = ("Labels", "Volumes", "ExposedPorts")


def _check_settings(settings: dict[str, Any], where: str) -> None:
    for key in _STRINGS:
        if not isinstance(settings.get(key) or "", str):
            raise ImageError(f"{where}: $.config.{key}: not a string")
    for key in _LISTS:
        value = settings.get(key) or []
        if not isinstance(value, list) or not all(isinstance(one, str) and "\0" not in one for one in value):
            raise ImageError(f"{where}: $.config.{key}: not a list of strings")
    for key in _MAPS:
        if not isinstance(settings.get(key) or {}, dict):
            raise ImageError(f"{where}: $.config.{key}: not an object")


def _list(value: dict[str, Any], key: str, where: str, most: int) -> list[Any]:
    found = value.get(key) or []
    if not isinstance(found, list) or len(found) > most:
        raise ImageError(f"{where}: $.{key}: not a list of at most {most}")
    return found


def _annotations(value: dict[str, Any], where: str) -> dict[str, str]:
    found = value.get("annotations") or {}
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise ImageError(f"{where}: $.annotations: not strings")
    return found


_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
}


def this_platform() -> Platform:
    """The platform of this machine, in Go's words."""
    import os

    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def parse_platform(text: str) -> Platform:
    """``linux/arm64``, ``arm64``, ``linux/arm/v7``."""
    parts = text.lower().split("/")
    if len(parts) == 1:
        parts = ["linux", *parts] if parts[0] != "linux" else ["linux", this_platform().architecture]
    if len(parts) > 3 or not all(parts):
        raise ImageError(f"platform {text!r}: not OS/ARCHITECTURE[/VARIANT], as linux/arm64")
    known = _MACHINES.get(parts[1], (parts[1], ""))
    return Platform(parts[0], known[0], parts[2] if len(parts) == 3 else known[1])


def choose(manifests: Iterable[Descriptor], wanted: Platform) -> Descriptor | None:
    """The entry for a platform: the exact variant, then one without, then an older one of the same processor."""
    usable = [
        one
        for one in manifests
        if one.platform and (one.platform.os, one.platform.architecture) == (wanted.os, wanted.architecture)
    ]
    for variant in (wanted.variant, "", *_older(wanted.variant)):
        for one in usable:
            if one.platform and one.platform.variant == variant:
                return one
    return usable[0] if usable and not wanted.variant else None


def _older(variant: str) -> list[str]:
    number = variant.removeprefix("v")
    return [f"v{n}" for n in range(int(number) - 1, 4, -1)] if number.isdecimal() else []
