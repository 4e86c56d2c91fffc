# SPDX-License-Identifier: Apache-2.0
"""Names of images, as Docker reads them: ``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``.

The grammar is that of distribution's reference; the defaults are Docker's: ``debian`` is
``docker.io/library/debian:latest``. Short names that registries.conf gives another meaning are resolved before, by the
caller.
"""

from __future__ import annotations

from boxship.errors import InvalidRequest
from boxship.record import Record

DEFAULT_HOST, DEFAULT_TAG = "docker.io", "latest"
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_WORD = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_HEX = frozenset("0123456789abcdef")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_MOST_NAME, _MOST_TAG = 255, 128


class Reference(Record):
    """An image's full name. Without a digest there is always a tag."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """``docker.io/library/debian``, without tag and digest."""
        return f"{self.host}/{self.path}"

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest, which cannot lie, before the tag."""
        return self.digest or self.tag

    @property
    def familiar_name(self) -> str:
        """The short form that Docker shows: ``debian``, ``you/app``, ``quay.io/x/y``."""
        if self.host != DEFAULT_HOST:
            return self.name
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def familiar(self) -> str:
        """The same with tag and digest."""
        return self.familiar_name + self._ending()

    def _ending(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._ending()


def parse(text: str, *, default_host: str = DEFAULT_HOST, default_tag: str = DEFAULT_TAG) -> Reference:
    """The full name that a user's words stand for; InvalidRequest says which part is wrong."""
    rest, at, digest = text.partition("@")
    if at:
        check_digest(digest, text)
    slash, colon = rest.rfind("/"), rest.rfind(":")
    name, tag = (rest[:colon], rest[colon + 1 :]) if colon > slash else (rest, "")
    if colon > slash and not _is_tag(tag):
        raise _wrong(text, f"{tag!r} is not a tag: at most 128 letters, digits, '_', '.' and '-'")
    host, path = _split(name, default_host)
    _check_host(host, text)
    _check_path(path, text)
    if len(host) + 1 + len(path) > _MOST_NAME:
        raise _wrong(text, f"the name is longer than {_MOST_NAME} characters")
    return Reference(host, path, tag or ("" if digest else default_tag), digest)


def is_short(text: str) -> bool:
    """Whether the words name no registry, so that aliases and search registries apply."""
    first, slash, _ = text.partition("/")
    return not slash or not _is_host(first)


def check_digest(digest: str, text: str = "") -> str:
    """``sha256:`` and 64 hexadecimal digits, or a longer kin of it."""
    algorithm, _, value = digest.partition(":")
    if len(value) != _DIGEST_LENGTHS.get(algorithm) or not set(value) <= _HEX:
        raise _wrong(text or digest, f"{digest!r} is not a digest like sha256:0123…")
    return digest


def _split(name: str, default_host: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    host, path = (first, rest) if slash and _is_host(first) else (default_host, name)
    if host == "index.docker.io":
        host = DEFAULT_HOST
    if host == DEFAULT_HOST and "/" not in path:
        path = f"library/{path}"
    return host, path


def _is_host(word: str) -> bool:
    """A first component is a registry when it cannot be the name of a user on Docker Hub."""
    return "." in word or ":" in word or word == "localhost" or word != word.lower()


def _check_host(host: str, text: str) -> None:
    """Labels of letters, digits and dashes between dots, or an address in brackets; and a port."""
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    name, port = (name, port) if colon else (host, "")
    if name[:1] == "[" and name[-1:] == "]":
        good = set(name[1:-1]) <= _HEX | set("ABCDEF:.") and len(name) > 3
    else:
        good = all(
            label and set(label) <= (_WORD - {"_"}) | {"-"} and label[0] != "-" and label[-1] != "-"
            for label in name.split(".")
        )
    if not good or (colon and not (port.isascii() and port.isdecimal() and len(port) <= 5)):
        raise _wrong(text, f"{host!r} is not the name of a registry")


def _is_tag(tag: str) -> bool:
    return 0 < len(tag) <= _MOST_TAG and tag[0] in _WORD and set(tag) <= _WORD | {".", "-"}


def _check_path(path: str, text: str) -> None:
    if set(path.removeprefix("library/")) <= _HEX and len(path.removeprefix("library/")) == 64:
        raise _wrong(text, "64 hexadecimal digits are an id, not a name")
    for component in path.split("/"):
        if not _is_component(component):
            if component != component.lower():
                raise _wrong(text, f"{component!r}: the name of a repository is written in small letters")
            raise _wrong(
                text,
                f"{component!r} is not part of an image's name: small letters, digits, and one of . _ __ - between them",
            )


def _is_component(word: str) -> bool:
    """Letters and digits; between them one ``.``, one or two ``_``, or any number of ``-``."""
    if not word or word[0] not in _LOWER or word[-1] not in _LOWER:
        return False
    separator = ""
    for char in word:
        if char in _LOWER:
            if separator and separator not in (".", "_", "__") and set(separator) != {"-"}:
                return False
            separator = ""
        elif char in "._-":
            separator += char
        else:
            return False
    return True


def _wrong(text: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        f"image {text!r}: {what}", hint="names look like debian, debian:12, quay.io/you/app:1.0, or NAME@sha256:…"
    )
