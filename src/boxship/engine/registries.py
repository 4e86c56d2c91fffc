# SPDX-License-Identifier: Apache-2.0
"""Registries as users see them: pull, push, search, login, logout. Each has an asyncio twin, whose name begins with ``a``."""

from __future__ import annotations

from boxship.engine.images import store
from boxship.errors import BoxshipError, InvalidRequest, NotFound, PermissionDenied
from boxship.image import documents, reference
from boxship.image.registry import settings as reading
from boxship.image.registry.client import Client
from boxship.image.registry.credentials import Credential, Credentials, Given
from boxship.image.registry.errors import RegistryError
from boxship.image.registry.settings import Endpoint
from boxship.image.transfer import Pull, Push, silent
from boxship.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

    from boxship.image.media import Descriptor
    from boxship.image.reference import Reference
    from boxship.image.registry.search import Found
    from boxship.image.transfer import Progress

    _T = TypeVar("_T")


async def apull(
    word: str, *, platform: str = "", tell: Callable[[Progress], None] = silent
) -> tuple[Reference, Descriptor]:
    """Fetch an image; the full name that was meant, and what came."""
    settings, kept = reading.load(), store()
    wanted = documents.parse_platform(platform) if platform else None
    tried: list[BoxshipError] = []
    with Undo() as held:
        kept.hold(held)
        for name in settings.resolve(word):
            try:
                return name, await Pull(kept, settings, Credentials(settings.helpers), tell).run(name, wanted)
            except (NotFound, PermissionDenied, RegistryError) as error:  # the next of the search list may have it
                tried.append(error)
    raise _with_template(word, tried[0])


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    import asyncio

    return asyncio.run(work)


def pull(word: str, *, platform: str = "", tell: Callable[[Progress], None] = silent) -> tuple[Reference, Descriptor]:
    """Fetch an image; the full name that was meant, and what came."""
    return _run(apull(word, platform=platform, tell=tell))


def _with_template(word: str, error: BoxshipError) -> BoxshipError:
    """Where no registry answers, a template may make the same thing from a distribution's mirror."""
    from boxship.engine.templates import named_like

    template = named_like(word)
    if template and not isinstance(error, InvalidRequest):
        error.hint = (
            error.hint + "; or " if error.hint else ""
        ) + f"box run {template} makes it from the distribution's mirror"
    return error


async def apush(word: str, *, tell: Callable[[Progress], None] = silent) -> tuple[Reference, str]:
    """Send an image to where its name says; the name, and the digest that is there now."""
    settings, kept, name = reading.load(), store(), reference.parse(word)
    row = kept.named_as(word)
    if not row:
        raise NotFound(f"image {word!r}: not in the store", hint="box tag gives an image the name of a registry")
    return name, await Push(kept, settings, Credentials(settings.helpers), tell).run(name, row.descriptor)


def push(word: str, *, tell: Callable[[Progress], None] = silent) -> tuple[Reference, str]:
    """Send an image to where its name says; the name, and the digest that is there now."""
    return _run(apush(word, tell=tell))


async def asearch(term: str, limit: int = 25) -> list[Found]:
    """Repositories with that word, on the registry that the word begins with, or on the first search registry."""
    settings = reading.load()
    host, slash, rest = term.partition("/")
    if not slash or reference.is_short(term):
        host, rest = (settings.search or (reference.DEFAULT_HOST,))[0], term
    async with Client(Endpoint(host, "", settings.insecure(host)), Credentials(settings.helpers)) as client:
        return await client.search(rest, limit)


def search(term: str, limit: int = 25) -> list[Found]:
    """Repositories with that word, on the registry that the word begins with, or on the first search registry."""
    return _run(asearch(term, limit))


async def alogin(host: str, username: str, secret: str) -> str:
    """Try credentials, and keep them when the registry takes them; where they are kept."""
    settings, credential = reading.load(), Credential(username, secret)
    async with Client(Endpoint(host, "", settings.insecure(host)), Given(credential)) as client:
        await client.ping()
    return Credentials(settings.helpers).store(host, credential)


def login(host: str, username: str, secret: str) -> str:
    """Try credentials, and keep them when the registry takes them; where they are kept."""
    return _run(alogin(host, username, secret))


def logout(host: str) -> str:
    """Forget credentials; where they were."""
    return Credentials(reading.load().helpers).remove(host)
