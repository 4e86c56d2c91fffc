# SPDX-License-Identifier: Apache-2.0
"""Requests to one registry: TLS or not, who we are, redirects, tries.

What is kept to:

* https comes first; plain http only where the endpoint is insecure, or is this machine without an authority in certs.d.
* ``Authorization`` goes to the registry's own scheme, host and port, never to where a redirect leads, and not to the
  registry either once a redirect has led away from it.
* An answer's body is read to a limit, as it comes over the wire: no encoding is asked for and none is undone.
* Every failure is a BoxshipError; one of class Passing is tried again, at most MOST_TRIES times in all, with waits that
  double and are shortened at random, or as long as the registry asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl

import httpx

from boxship import __version__
from boxship.errors import BoxshipError, NotFound, PermissionDenied
from boxship.image.reference import DEFAULT_HOST
from boxship.image.registry.auth import Authorizer, TokenRequest
from boxship.image.registry.certificates import certificates, on_loopback, tls_context
from boxship.image.registry.errors import Passing, RegistryError, harmless, refusal
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeVar

    from boxship.image.registry.auth import Finder
    from boxship.image.registry.settings import Endpoint

    Value = TypeVar("Value")
    Body = bytes | AsyncIterator[bytes]

MOST_TRIES = 5
#: the first wait between two tries; a registry that asks for more than the longest is not waited for
BACKOFF_S, LONGEST_WAIT_S = 0.5, 60.0
#: error documents and token answers beyond it are not read
MOST_ANSWER = 1 << 20
_MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
#: Docker Hub's registry is not where its images' names say
_HUB = "registry-1.docker.io"
_TIMEOUT = httpx.Timeout(30.0, connect=15.0, read=60.0, write=60.0, pool=None)
_HEADERS = {"User-Agent": f"boxship/{__version__}", "Accept-Encoding": "identity"}
_BROKEN = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError)


class Ask(Record):
    """One request, as often as it takes. ``url`` begins with ``/`` for the registry, or is a whole one that it gave."""

    method: str
    url: str
    #: what it is about, for messages: ``image quay.io/x/y:1``
    what: str
    scopes: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    #: makes the body, anew for every sending
    body: Callable[[], Body] | None = None
    ok: tuple[int, ...] = (200,)
    #: it is nobody's business who we are
    anonymous: bool = False


class Transport:
    """The connections to an endpoint; an async context manager."""

    def __init__(self, endpoint: Endpoint, finder: Finder, *, backoff: float = BACKOFF_S, api_host: str = "") -> None:
        self.endpoint = endpoint
        self.host = api_host or (_HUB if endpoint.host == DEFAULT_HOST else endpoint.host)
        self.authorizer = Authorizer(endpoint.name, finder, self._token)
        self._backoff = backoff
        self._certificates = certificates(endpoint.host)
        # Docker takes loopback for insecure, authorities or not; who gives an authority wants it to be checked.
        self.insecure = endpoint.insecure or (on_loopback(self.host) and not self._certificates.authorities)
        self._netlocs = [httpx.URL(f"{scheme}://{self.host}/").netloc for scheme in ("https", "http")]
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._base: httpx.URL | None = None
        self._finding = asyncio.Lock()

    async def close(self) -> None:
        """Hang up."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def tried(self, action: Callable[[], Awaitable[Value]]) -> Value:
        """Do it, and again after failures that may pass."""
        tries = Tries(self._backoff)
        while True:
            try:
                return await action()
            except Passing as error:
                await tries.pause(error)

    def tries(self) -> Tries:
        """A count of tries, for who begins again on its own."""
        return Tries(self._backoff)

    @contextlib.asynccontextmanager
    async def once(self, ask: Ask) -> AsyncIterator[httpx.Response]:
        """One try: the answer, with a status among ``ask.ok`` and its body unread; BoxshipError for any other."""
        try:
            response = await self._authorized(ask)
            try:
                if response.status_code not in ask.ok:
                    raise await self._refused(ask, response)
                yield response
            finally:
                await response.aclose()
        except _BROKEN as error:
            raise self._broken(ask, error) from error

    async def document(self, ask: Ask, most: int = MOST_ANSWER) -> tuple[httpx.Response, bytes]:
        """The answer and all of its body, with tries; RegistryError for more than ``most`` bytes."""

        async def whole() -> tuple[httpx.Response, bytes]:
            async with self.once(ask) as response:
                return response, await read(response, most, ask.what)

        return await self.tried(whole)

    async def base(self) -> httpx.URL:
        """``https://HOST/``, or ``http://HOST/`` where that may be and nobody speaks https. One try, then kept."""
        async with self._finding:
            if self._base is None:
                self._base = await self._find_base()
            return self._base

    async def _find_base(self) -> httpx.URL:
        ask = Ask("GET", "/v2/", f"registry {self.endpoint.host}")
        schemes = ("https", "http") if self.insecure else ("https",)
        failed: list[BoxshipError] = []
        for scheme in schemes:
            url = httpx.URL(f"{scheme}://{self.host}/")
            try:
                response = await self._follow(ask, url, url.join("/v2/"), "")
                await response.aclose()
            except _BROKEN as error:
                failed.append(self._broken(ask, error))
                continue
            if response.status_code == 401:
                self.authorizer.learn(response.headers.get_list("www-authenticate"))
            return url
        raise next((error for error in failed if isinstance(error, Passing)), failed[0])

    async def _authorized(self, ask: Ask) -> httpx.Response:
        """Send it with what the registry is known to want; when it wants something else, once more with that."""
        base = await self.base()
        url = base.join(ask.url)
        self._check_target(base, url)
        header = "" if ask.anonymous else await self.authorizer.header(ask.scopes)
        response = await self._follow(ask, base, url, header)
        if response.status_code != 401 or ask.anonymous or not _same(response.url, base):
            return response
        try:
            more = self.authorizer.learn(response.headers.get_list("www-authenticate"))
            self.authorizer.forget(header)
            again = await self.authorizer.header(tuple(dict.fromkeys((*ask.scopes, *more))))
        except BaseException:
            await response.aclose()
            raise
        if not again or again == header:
            return response
        await response.aclose()
        return await self._follow(ask, base, url, again)

    async def _follow(self, ask: Ask, base: httpx.URL, url: httpx.URL, authorization: str) -> httpx.Response:
        """Send, and go where redirects lead: GET and HEAD always, the others when they keep method and body."""
        ours = True
        for _ in range(_MOST_REDIRECTS):
            ours = ours and _same(url, base)
            client = await self._client(url)
            headers = ask.headers | ({"Authorization": authorization} if authorization and ours else {})
            content = ask.body() if ask.body else None
            request = client.build_request(ask.method, url, headers=headers, content=content)
            response = await client.send(request, stream=True, follow_redirects=False)
            location = response.headers.get("location", "")
            if response.status_code not in _REDIRECTS or not location:
                return response
            following = url.join(location)
            kept = ask.method in ("GET", "HEAD") or response.status_code in (307, 308)
            if not kept or (ask.method == "POST" and not _same(following, base)):  # a form may hold an identity token
                return response
            await response.aclose()
            self._check_target(base, following)
            url = following
        raise RegistryError(
            f"{ask.what}: {self.host}: more than {_MOST_REDIRECTS} redirects", hint="it may redirect in circles"
        )

    def _check_target(self, base: httpx.URL, url: httpx.URL) -> None:
        """Where a registry sends us: https stays https."""
        if url.scheme not in ("http", "https") or not url.host:
            raise RegistryError(f"registry {self.host}: leads to {harmless(str(url), 120)}, which is not of http")
        if url.scheme == "http" and base.scheme == "https" and not self.insecure:
            raise RegistryError(
                f"registry {self.host}: leads from https to plain http, {_place(url)}",
                hint="a proxy before the registry may have to send X-Forwarded-Proto; or mark the registry insecure",
            )

    async def _client(self, url: httpx.URL) -> httpx.AsyncClient:
        place = url.netloc.decode("ascii")
        if place not in self._clients:
            loopback = on_loopback(place)  # and a name that may be part of a path
            found = self._certificates if url.netloc in self._netlocs else certificates(place)
            # Loading the system's authorities takes 20 ms and longer, of which the event loop need not know.
            context = await asyncio.to_thread(tls_context, found, verify=not self.insecure)
            if place not in self._clients:
                self._clients[place] = httpx.AsyncClient(
                    verify=context, timeout=_TIMEOUT, headers=_HEADERS, trust_env=not loopback
                )
        return self._clients[place]

    async def _token(self, question: TokenRequest) -> bytes:
        """Ask a token server; credentials go there in clear text only where the registry itself may be spoken to so."""
        try:
            url = httpx.URL(question.url).copy_merge_params(question.query)
        except httpx.InvalidURL as error:
            raise RegistryError(
                f"registry {self.host}: wants tokens from {harmless(question.url, 120)}: {error}"
            ) from None
        if url.scheme not in ("http", "https") or not url.host or (url.scheme == "http" and not self.insecure):
            raise PermissionDenied(
                f"registry {self.host}: wants tokens from {harmless(question.url, 120)}, which is not https",
                hint="mark the registry insecure in registries.conf if passwords may be read on the way",
            )
        form = str(httpx.QueryParams(question.form)).encode() if question.form else None
        ask = Ask(
            "POST" if form else "GET",
            question.url,
            f"registry {self.endpoint.host}: login at {url.host}",
            headers={"Content-Type": "application/x-www-form-urlencoded"} if form else {},
            body=(lambda: form) if form else None,
        )
        try:
            response = await self._follow(ask, url, url, question.authorization)
            try:
                if response.status_code == 200:
                    return await read(response, MOST_ANSWER, ask.what)
                raise await self._refused(ask, response)
            finally:
                await response.aclose()
        except _BROKEN as error:
            raise self._broken(ask, error) from error

    async def _refused(self, ask: Ask, response: httpx.Response) -> BoxshipError:
        body = await read(response, MOST_ANSWER, ask.what) if ask.method != "HEAD" else b""
        where = self.endpoint.host if response.url.netloc in self._netlocs else _place(response.url)
        login = self.endpoint.host
        return refusal(response.status_code, response.headers, body, what=ask.what, where=where, login=login)

    def _broken(self, ask: Ask, error: Exception) -> BoxshipError:
        """What a failed connection means: most may pass, untrusted certificates and unknown names do not."""
        place = self.host
        if request := getattr(error, "_request", None):  # httpx's .request raises when there was none yet
            place = _place(request.url)
        chain = list(_chain(error))
        for cause in chain:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return RegistryError(
                    f"{ask.what}: {place}: its certificate is not trusted: {cause.verify_message}",
                    hint=f"put the authority's certificate into /etc/containers/certs.d/{self.endpoint.host}/ca.crt",
                )
            if isinstance(cause, socket.gaierror) and cause.errno in (
                socket.EAI_NONAME,
                getattr(socket, "EAI_NODATA", -5),
            ):
                return NotFound(
                    f"{ask.what}: no host has the name {place}",
                    hint="look at the name, and at the resolver: /etc/resolv.conf",
                )
        said = next((str(e) for e in (error, *chain) if str(e)), "") or type(error).__name__
        message = f"{ask.what}: {place}: {harmless(said)}"
        if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError)):
            return RegistryError(message, hint="the registry leads to somewhere that is no address")
        if isinstance(error, httpx.TimeoutException):
            message = f"{ask.what}: {place}: no answer in time ({type(error).__name__})"
        hint = "is the registry there, and is a proxy needed ($HTTPS_PROXY)?"
        if any(isinstance(cause, ssl.SSLError) for cause in chain):
            hint = "a registry without TLS must be marked insecure in registries.conf"
        return Passing(message, hint=hint)


class Tries:
    """How often one thing has been tried."""

    def __init__(self, backoff: float) -> None:
        self._backoff = backoff
        self.count = 0

    def progress(self) -> None:
        """Something came through: count anew."""
        self.count = 0

    async def pause(self, error: Passing) -> None:
        """Wait before the next try; raises ``error`` after the last, or when the wait would be too long."""
        self.count += 1
        wait = self._backoff * 2 ** (self.count - 1) * random.uniform(0.5, 1.0)
        if (error.wait or 0.0) > LONGEST_WAIT_S:
            error.hint = f"it asks to be left alone for {error.wait:.0f} s; {error.hint}"
            raise error.after(self.count) from error.__cause__
        if self.count >= MOST_TRIES:
            raise error.after(self.count) from error.__cause__
        await asyncio.sleep(wait if error.wait is None else error.wait)


async def read(response: httpx.Response, most: int, what: str) -> bytes:
    """A body of at most ``most`` bytes; RegistryError for more."""
    data = bytearray()
    async for part in response.aiter_raw():
        data += part
        if len(data) > most:
            raise RegistryError(
                f"{what}: {_place(response.url)} answers with more than {most} bytes", hint="no document is that large"
            )
    return bytes(data)


def _same(url: httpx.URL, base: httpx.URL) -> bool:
    """Whether two URLs have one origin."""
    return (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)


def _place(url: httpx.URL) -> str:
    return harmless(url.netloc.decode("ascii", "replace"), 120)


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
