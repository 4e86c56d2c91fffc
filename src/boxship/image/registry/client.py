# SPDX-License-Identifier: Apache-2.0
"""The verbs of a registry: OCI distribution-spec 1.1, which is Docker's registry v2 and referrers.

    async with Client(endpoint, Credentials()) as client:
        fetched = await client.manifest("latest")

One client for each endpoint. Nothing that a registry says is believed: digests are computed, sizes are counted,
documents have limits. All methods raise BoxshipErrors only, see ``errors``.
"""

from __future__ import annotations

import contextlib
import hashlib

from boxship import fastjson
from boxship.errors import InvalidRequest, NotFound, SpecError, Unsupported
from boxship.image import media
from boxship.image.media import Descriptor, ImageError
from boxship.image.reference import check_digest, parse
from boxship.image.registry.credentials import Credentials
from boxship.image.registry.errors import Passing, RegistryError, harmless
from boxship.image.registry.search import Found, Searcher
from boxship.image.registry.transport import BACKOFF_S, Ask, Transport
from boxship.image.registry.upload import Upload
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType
    from typing import Any, BinaryIO, Self

    import httpx

    from boxship.image.registry.auth import Finder
    from boxship.image.registry.settings import Endpoint
    from boxship.image.registry.upload import Blob

_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_ACCEPT = ", ".join(media.ACCEPT)
_MOST_PAGES = 1000
_PAGE = 1000


class Fetched(Record):
    """A manifest or an index, byte by byte as it came, and the digest of these bytes."""

    data: bytes
    media_type: str
    digest: str


class Referrer(Record):
    """A manifest that has another one as its subject: a signature, a bill of materials."""

    descriptor: Descriptor
    artifact_type: str = ""


class Client:
    """A repository at a registry; an async context manager. ``finder`` says who we are there; None: auth.json."""

    def __init__(self, endpoint: Endpoint, finder: Finder | None = None, *, backoff: float = BACKOFF_S) -> None:
        self.endpoint = endpoint
        self.transport = Transport(endpoint, finder or Credentials(), backoff=backoff)
        self._pull = (f"repository:{endpoint.path}:pull",)
        self._push = (f"repository:{endpoint.path}:pull,push",)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.close()

    async def ping(self) -> None:
        """The registry is there, speaks v2, and takes our credentials; PermissionDenied when it does not."""
        await self.transport.document(Ask("GET", "/v2/", f"registry {self.endpoint.host}"))

    async def manifest(self, reference: str) -> Fetched:
        """The manifest or index of a tag or digest. ImageError for one that is not what it should be."""
        ask = self._ask("GET", f"manifests/{reference}", self._image(reference), accept=_ACCEPT)
        response, data = await self.transport.document(ask, media.MOST_DOCUMENT)
        claimed = response.headers.get("docker-content-digest", "")
        digest = digest_of(data, reference if ":" in reference else claimed)
        for wanted, who in (
            (reference if ":" in reference else "", "was asked for"),
            (claimed, "is what the registry says"),
        ):
            if wanted and wanted.partition(":")[0] == digest.partition(":")[0] and wanted != digest:
                raise ImageError(
                    f"{ask.what}: came as {digest}, but {harmless(wanted, 140)} {who}",
                    hint="the registry or a proxy changes content",
                )
        return Fetched(data, _media_type(response, data, ask.what), digest)

    async def head(self, reference: str) -> Descriptor:
        """What the registry says a tag is; unproven: good for seeing whether anything is new, and for nothing else."""
        ask = self._ask("HEAD", f"manifests/{reference}", self._image(reference), accept=_ACCEPT)
        response, _ = await self.transport.document(ask)
        digest, size = response.headers.get("docker-content-digest", ""), response.headers.get("content-length", "")
        if not digest or not (size.isascii() and size.isdigit() and len(size) < 19):
            found = await self.manifest(reference)
            return Descriptor(found.media_type, found.digest, len(found.data))
        try:
            return Descriptor(_content_type(response), check_digest(digest), int(size))
        except InvalidRequest as error:
            raise RegistryError(f"{ask.what}: {self.endpoint.host}: {harmless(error.message)}") from None

    async def has_blob(self, digest: str) -> bool:
        """Whether the repository has it."""
        try:
            await self.transport.document(self._ask("HEAD", f"blobs/{check_digest(digest)}", self._blob(digest)))
        except NotFound:
            return False
        return True

    async def blob(self, digest: str, offset: int = 0, size: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of a blob from ``offset`` on, begun again where a connection broke off. The digest is not checked.

        With ``size``, the whole blob's, an answer that ends early is asked for the rest, and one that is longer is an
        ImageError. Who leaves the iterator early closes it (contextlib.aclosing).
        """
        ask = self._ask("GET", f"blobs/{check_digest(digest)}", self._blob(digest), ok=(200, 206, 416))
        tries, at = self.transport.tries(), offset
        while size is None or at < size:
            asked = ask.replace(headers=ask.headers | ({"Range": f"bytes={at}-"} if at else {}))
            try:
                async with self.transport.once(asked) as response:
                    async for part in _from(response, at, ask.what):
                        at += len(part)
                        tries.progress()
                        if size is not None and at > size:
                            raise ImageError(f"{ask.what}: larger than {size} bytes, which it must have")
                        yield part
                if size is None or at == size:
                    return
                raise Passing(
                    f"{ask.what}: {self.endpoint.host} sends {at} bytes of {size}",
                    hint="the registry may have lost a part",
                )
            except Passing as error:
                await tries.pause(error)

    async def mount(self, digest: str, from_repository: str) -> bool:
        """Take over a blob from another repository of this registry; False when it has to be sent after all."""
        parse(f"{self.endpoint.host}/{from_repository}")
        query = f"blobs/uploads/?mount={check_digest(digest)}&from={from_repository}"
        scopes = (*self._push, f"repository:{from_repository}:pull")
        ask = self._ask("POST", query, self._blob(digest), ok=(201, 202)).replace(
            scopes=scopes, headers={"Content-Length": "0"}
        )
        response, _ = await self.transport.document(ask)
        if response.status_code == 201:
            return True
        if location := response.headers.get("location"):  # an upload has been begun, which nobody will use
            with contextlib.suppress(Unsupported, NotFound):  # then the registry forgets it on its own
                cancel = self._ask("DELETE", "", ask.what, ok=(200, 202, 204))
                await self.transport.document(cancel.replace(url=str(response.url.join(location))))
        return False

    async def upload(self, blob: Blob, open_at: Callable[[int], BinaryIO]) -> None:
        """Send a blob of that digest and size; ``open_at(offset)`` opens it there, more than once if need be."""
        ask = self._ask("POST", "blobs/uploads/", self._blob(check_digest(blob.digest)), ok=(202,))
        await Upload(self.transport, ask, blob, open_at, self.has_blob).run()

    async def put_manifest(self, reference: str, data: bytes, media_type: str) -> str:
        """Publish a manifest under a tag or its digest; returns the digest. Blobs have to be there before."""
        digest = digest_of(data, reference)
        if ":" in reference and reference != digest:
            raise InvalidRequest(
                f"{self._image(reference)}: the manifest's digest is {digest}", hint="push to a tag, or to this digest"
            )
        ask = self._ask("PUT", f"manifests/{reference}", self._image(reference), ok=(200, 201, 202, 204))
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        response, _ = await self.transport.document(ask.replace(headers=headers, body=lambda: data))
        said = response.headers.get("docker-content-digest", digest)
        if said != digest and said.partition(":")[0] == digest.partition(":")[0]:
            raise RegistryError(f"{ask.what}: {self.endpoint.host} keeps {harmless(said, 140)} instead of {digest}")
        return digest

    async def delete(self, reference: str) -> None:
        """Take a manifest away: by digest with all of its tags, by tag where the registry can do that."""
        ask = self._ask("DELETE", f"manifests/{reference}", self._image(reference), ok=(200, 202, 204))
        scopes = (f"repository:{self.endpoint.path}:pull,push,delete",)
        try:
            await self.transport.document(ask.replace(scopes=scopes))
        except Unsupported as error:
            error.hint = "the registry does not let anything be deleted, or only by digest"
            raise

    async def tags(self) -> list[str]:
        """All tags, in the registry's order."""
        ask = self._ask("GET", f"tags/list?n={_PAGE}", f"tags of {self.endpoint.name}")
        found: list[str] = []
        async for page in self.pages(ask):
            tags = [] if page.get("tags") is None else page["tags"]
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise RegistryError(f"{ask.what}: {self.endpoint.host} answers with something else")
            found += tags
        return found

    async def referrers(self, digest: str, artifact_type: str = "") -> list[Referrer]:
        """What refers to that manifest; from the tag ``sha256-…`` where the registry is older than the 1.1 API."""
        query = f"?artifactType={_quoted(artifact_type)}" if artifact_type else ""
        ask = self._ask("GET", f"referrers/{check_digest(digest)}{query}", self._image(digest), accept=media.INDEX)
        pages: list[dict[str, Any]] = []
        try:
            pages = [page async for page in self.pages(ask)]
        except (NotFound, Unsupported):
            try:
                pages = [_object((await self.manifest(digest.replace(":", "-", 1))).data, ask.what)]
            except NotFound:
                return []
        found: list[Referrer] = []
        for page in pages:
            entries = [] if page.get("manifests") is None else page["manifests"]
            if not isinstance(entries, list):
                raise ImageError(f"{ask.what}: $.manifests: not a list")
            for number, entry in enumerate(entries):
                what = media.descriptor(entry, f"{ask.what}: $.manifests[{number}]")
                kind = entry.get("artifactType")
                found.append(Referrer(what, kind if isinstance(kind, str) else ""))
        return [each for each in found if not artifact_type or each.artifact_type == artifact_type]

    async def search(self, term: str, limit: int = 25) -> list[Found]:
        """Repositories of the registry with that word: by search API v1 as Docker Hub has it, else in the catalogue."""
        return await Searcher(self.transport, self.pages).run(term, limit)

    async def pages(self, ask: Ask) -> AsyncIterator[dict[str, Any]]:
        """The JSON objects of an answer that comes in pages (RFC 5988 Link headers with rel=next)."""
        base = await self.transport.tried(self.transport.base)
        seen: set[str] = set()
        while len(seen) < _MOST_PAGES and ask.url not in seen:
            seen.add(ask.url)
            response, data = await self.transport.document(ask, media.MOST_DOCUMENT)
            yield _object(data, ask.what)
            link = response.links.get("next", {}).get("url", "")
            if not link:
                return
            following = response.url.join(link)
            if (following.host, following.port) != (base.host, base.port):
                raise RegistryError(f"{ask.what}: the next page is at another host, {harmless(str(following), 120)}")
            ask = ask.replace(url=following.raw_path.decode("ascii"))
        raise RegistryError(f"{ask.what}: {self.endpoint.host} does not come to an end after {len(seen)} pages")

    def _ask(self, method: str, path: str, what: str, *, ok: tuple[int, ...] = (200,), accept: str = "") -> Ask:
        scopes = self._pull if method in ("GET", "HEAD") else self._push
        headers = {"Accept": accept} if accept else {}
        return Ask(method, f"/v2/{self.endpoint.path}/{path}", what, scopes, headers, ok=ok)

    def _image(self, reference: str) -> str:
        """The name for messages; InvalidRequest for what would be another path of the registry."""
        name = f"{self.endpoint.name}{'@' if ':' in reference else ':'}{reference}"
        parse(name)
        return f"image {name}"

    def _blob(self, digest: str) -> str:
        return f"blob {self.endpoint.name}@{digest}"


def digest_of(data: bytes, like: str = "") -> str:
    """The digest of a document, by the algorithm of ``like`` where that is a digest, by sha256 otherwise."""
    algorithm = like.partition(":")[0]
    name = algorithm if algorithm in ("sha384", "sha512") and ":" in like else "sha256"
    return f"{name}:{hashlib.new(name, data).hexdigest()}"


def _content_type(response: httpx.Response) -> str:
    found: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return found


def _media_type(response: httpx.Response, data: bytes, what: str) -> str:
    """What a manifest is: header and document must not contradict each other (CVE-2021-41190)."""
    said, written = _content_type(response), _object(data, what).get("mediaType", "")
    if said in _SCHEMA_1:
        raise Unsupported(
            f"{what}: a manifest of schema 1, which nobody makes since 2017", hint="ask for the image to be pushed anew"
        )
    if not isinstance(written, str):
        raise ImageError(f"{what}: $.mediaType: not a string")
    if said in media.ACCEPT and written and said != written:
        raise ImageError(f"{what}: sent as {said}, but says of itself that it is {harmless(written, 120)}")
    found = said if said in media.ACCEPT else written
    if found not in media.ACCEPT:
        raise ImageError(
            f"{what}: {harmless(written or said, 120) or 'something without a media type'} is no manifest and no index"
        )
    return found


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = fastjson.loads(data)
    except SpecError as error:
        raise ImageError(f"{what}: {harmless(error.message)}") from None
    if not isinstance(value, dict):
        raise ImageError(f"{what}: not a JSON object")
    return value


async def _from(response: httpx.Response, at: int, what: str) -> AsyncIterator[bytes]:
    """The body from byte ``at`` on, whether the registry minds Range or not."""
    begins, length = 0, response.headers.get("content-range", "")
    if response.status_code == 416:
        if at and length == f"bytes */{at}":  # everything is there already
            return
        raise RegistryError(
            f"{what}: there is no byte {at}", hint="what is there of it so far is not of this blob: begin anew"
        )
    if response.status_code == 206:
        first = length.removeprefix("bytes ").partition("-")[0]
        begins = int(first) if first.isascii() and first.isdigit() and len(first) < 19 else -1
        if not 0 <= begins <= at:
            raise RegistryError(
                f"{what}: asked for bytes from {at} on, got {harmless(length, 80) or 'no Content-Range'}"
            )
    skip = at - begins
    async for part in response.aiter_raw():
        if len(part) > skip:
            yield part[skip:] if skip else part
        skip = max(0, skip - len(part))
    if skip:
        raise Passing(f"{what}: ends {skip} bytes before byte {at}", hint="what is there so far may be of another blob")


def _quoted(text: str) -> str:
    import urllib.parse

    return urllib.parse.quote(text, safe="")
