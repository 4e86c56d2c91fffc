# SPDX-License-Identifier: Apache-2.0
"""Searching: the v1 API that Docker Hub answers, and for registries without it their catalogue of repositories."""

from __future__ import annotations

from boxship import fastjson
from boxship.errors import NotFound, PermissionDenied, SpecError, Unsupported
from boxship.image.reference import DEFAULT_HOST
from boxship.image.registry.credentials import Given
from boxship.image.registry.errors import Passing, RegistryError, harmless
from boxship.image.registry.settings import Endpoint
from boxship.image.registry.transport import Ask, Transport
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    Pages = Callable[[Ask], AsyncIterator[dict[str, Any]]]

_HUB_INDEX = "index.docker.io"
_MOST = 100
_PAGE = 1000


class Found(Record):
    """A repository; what a catalogue does not say is empty."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False


class Searcher:
    """One search at one registry."""

    def __init__(self, transport: Transport, pages: Pages) -> None:
        self._transport, self._pages = transport, pages
        self._what = f"search at {transport.endpoint.host}"

    async def run(self, term: str, limit: int) -> list[Found]:
        """At most ``limit`` repositories, 100 at the most."""
        import urllib.parse

        limit = max(1, min(limit, _MOST))
        ask = Ask("GET", f"/v1/search?q={urllib.parse.quote(term, safe='')}&n={limit}", self._what)
        if self._transport.endpoint.host == DEFAULT_HOST:
            # Another host than the images', and nobody has to be logged in there.
            index = Transport(Endpoint(_HUB_INDEX, ""), Given(None), api_host=_HUB_INDEX)
            try:
                return await self._by_index(index, ask.replace(anonymous=True), limit)
            finally:
                await index.close()
        try:
            return await self._by_index(self._transport, ask, limit)
        except Passing:
            raise
        except (
            NotFound,
            PermissionDenied,
            Unsupported,
            RegistryError,
        ):  # no such API: the catalogue says what is wrong
            return await self._by_catalogue(term.lower(), limit)

    async def _by_index(self, transport: Transport, ask: Ask, limit: int) -> list[Found]:
        _, data = await transport.document(ask)
        try:
            value = fastjson.loads(data)
        except SpecError:
            value = None
        results = value.get("results") if isinstance(value, dict) else None
        if not isinstance(results, list):
            raise RegistryError(f"{self._what}: the answer is not one of a search")
        return [found for entry in results if (found := _found(entry))][:limit]

    async def _by_catalogue(self, term: str, limit: int) -> list[Found]:
        ask = Ask("GET", f"/v2/_catalog?n={_PAGE}", self._what, ("registry:catalog:*",))
        found: list[Found] = []
        async for page in self._pages(ask):
            names = page.get("repositories") or []
            if not isinstance(names, list):
                raise RegistryError(f"{self._what}: the catalogue is not a list")
            found += [Found(harmless(name)) for name in names if isinstance(name, str) and term in name]
            if len(found) >= limit:
                break
        return found[:limit]


def _found(entry: object) -> Found | None:
    """One result; registries disagree about which keys are there."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return None
    said, stars = entry.get("description"), entry.get("star_count")
    return Found(
        harmless(entry["name"]),
        harmless(said) if isinstance(said, str) else "",
        stars if isinstance(stars, int) else 0,
        entry.get("is_official") is True,
    )
