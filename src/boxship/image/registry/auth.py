# SPDX-License-Identifier: Apache-2.0
"""WWW-Authenticate and what answers it: Basic (RFC 7617), and the Bearer tokens of a token server.

The token protocol is distribution's: GET realm?service=…&scope=… with Basic credentials or none; POST with
grant_type=refresh_token for identity tokens (RFC 6749, 6). Credentials go to the realm that the registry names, over
TLS, unless registry or realm may do without. Tokens are kept in memory by realm, service and scopes until they expire.
"""

from __future__ import annotations

import asyncio
import base64
import time

from boxship import fastjson
from boxship.errors import SpecError
from boxship.image.registry.errors import RegistryError, harmless
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Protocol

    from boxship.image.registry.credentials import Credential

    class Finder(Protocol):
        """Where credentials come from."""

        def find(self, name: str) -> Credential | None: ...


_TOKEN68 = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~/=")
_CLIENT = "boxship"
#: what a token without ``expires_in`` lives, and the least that any does: seconds, as the token protocol has it
_LEAST_LIFE_S, _MOST_LIFE_S = 60.0, 86400.0
_SLACK_S = 10.0


class Challenge(Record):
    """What a registry wants to see: the scheme and its parameters, all names in small letters."""

    scheme: str
    parameters: dict[str, str] = {}


class TokenRequest(Record):
    """One question to a token server; ``form`` makes it a POST."""

    url: str
    query: tuple[tuple[str, str], ...] = ()
    form: dict[str, str] | None = None
    authorization: str = ""


def parse_challenges(header: str, where: str = "registry") -> list[Challenge]:
    """The challenges of a WWW-Authenticate header (RFC 9110, 11.6.1); RegistryError for what is none."""
    reader = _Reader(header, where)
    found: list[Challenge] = []
    while reader.skip(" \t,"):
        word = reader.word()
        if not reader.parameter_follows():
            found.append(Challenge(word.lower()))
            reader.token68()
            continue
        if not found:
            raise reader.wrong("a parameter before any scheme")
        found[-1].parameters.setdefault(word.lower(), reader.value())
    return found


class _Reader:
    """A position in a header."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.at, self.where = text, 0, where

    def wrong(self, what: str) -> RegistryError:
        shown = harmless(self.text, 120)
        return RegistryError(
            f"{self.where}: WWW-Authenticate {shown!r}: {what} at character {self.at + 1}", hint="RFC 9110, 11.6.1"
        )

    def skip(self, chars: str) -> bool:
        """Go on to what is something else; whether there is anything."""
        while self.at < len(self.text) and self.text[self.at] in chars:
            self.at += 1
        return self.at < len(self.text)

    def word(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in _TOKEN68 and self.text[self.at] not in "/=":
            self.at += 1
        if self.at == start:
            raise self.wrong("no word")
        return self.text[start : self.at]

    def parameter_follows(self) -> bool:
        """Whether ``=`` and a value come next, and the word was a parameter's name."""
        start = self.at
        if self.skip(" \t") and self.text[self.at] == "=":
            self.at += 1
            return True
        self.at = start
        return False

    def token68(self) -> None:
        """Skip what Negotiate and its kin put after their name."""
        start = self.at
        if not self.skip(" \t") or self.at == start:
            return
        end = self.at
        while end < len(self.text) and self.text[end] in _TOKEN68:
            end += 1
        rest = self.text[end:].lstrip(" \t")
        if (not rest or rest.startswith(",")) and "=" not in self.text[self.at : end].rstrip("="):
            self.at = end

    def value(self) -> str:
        if not self.skip(" \t"):
            return ""
        if self.text[self.at] != '"':
            start = self.at
            while self.at < len(self.text) and self.text[self.at] not in ' \t,"':
                self.at += 1
            return self.text[start : self.at]
        self.at += 1
        found = []
        while self.at < len(self.text) and self.text[self.at] != '"':
            self.at += self.text[self.at] == "\\"
            found.append(self.text[self.at : self.at + 1])
            self.at += 1
        if self.at >= len(self.text):
            raise self.wrong("a quote that does not end")
        self.at += 1
        return "".join(found)


def basic(username: str, secret: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{username}:{secret}".encode()).decode()


def actions(scopes: Iterable[str]) -> frozenset[tuple[str, str]]:
    """``repository:x:pull,push`` → what it allows, one by one."""
    found: set[tuple[str, str]] = set()
    for scope in scopes:
        resource, _, words = scope.rpartition(":")
        found.update((resource, word) for word in words.split(","))
    return frozenset(found)


class Authorizer:
    """Remembers what a registry wants, and gives the Authorization header for a scope."""

    def __init__(self, name: str, finder: Finder, ask: Callable[[TokenRequest], Awaitable[bytes]]) -> None:
        self._name, self._finder, self._ask = name, finder, ask
        self._challenge: Challenge | None = None
        self._credential: Credential | None = None
        self._looked = False
        self._tokens: list[tuple[str, frozenset[tuple[str, str]], str, float]] = []
        self._lock = asyncio.Lock()

    def learn(self, headers: Iterable[str]) -> tuple[str, ...]:
        """Remember the challenges of an answer; returns the scopes that it names."""
        found = [challenge for header in headers for challenge in parse_challenges(header, self._name)]
        known = [c for scheme in ("bearer", "basic") for c in found if c.scheme == scheme]
        if not known:
            return ()
        self._challenge = known[0]
        return tuple(known[0].parameters.get("scope", "").split())

    def forget(self, header: str) -> None:
        """A header that the registry does not take any more."""
        self._tokens = [token for token in self._tokens if f"Bearer {token[2]}" != header]

    async def header(self, scopes: tuple[str, ...]) -> str:
        """The Authorization header; nothing where nobody asks who we are, or where we are nobody."""
        challenge = self._challenge
        if challenge is None:
            return ""
        async with self._lock:  # many blobs begin at once; one token is enough for all
            if not self._looked:
                self._credential = await asyncio.to_thread(self._finder.find, self._name)
                self._looked = True
            if challenge.scheme == "basic":
                known = self._credential
                return basic(known.username, known.secret) if known and known.secret else ""
            return f"Bearer {await self._token(challenge, scopes)}"

    async def _token(self, challenge: Challenge, scopes: tuple[str, ...]) -> str:
        source = f"{challenge.parameters.get('realm')} {challenge.parameters.get('service')}"
        wanted = actions(scopes)
        now = time.monotonic()
        for where, allowed, token, until in self._tokens:
            if where == source and wanted <= allowed and now < until and (wanted or not allowed):
                return token
        data = await self._ask(self._question(challenge, scopes))
        token, life = self._answer(data)
        self._tokens = [t for t in self._tokens if now < t[3]]
        self._tokens.append((source, wanted, token, now + life - _SLACK_S))
        return token

    def _question(self, challenge: Challenge, scopes: tuple[str, ...]) -> TokenRequest:
        realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
        if not realm:
            raise RegistryError(
                f"{self._name}: asks for a token and does not say from where", hint="its WWW-Authenticate has no realm"
            )
        known = self._credential
        if known and known.identity_token:
            form = {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": known.identity_token}
            return TokenRequest(realm, form=form | {"service": service, "scope": " ".join(scopes)})
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        if not known:
            return TokenRequest(realm, tuple(query))
        query += [("account", known.username), ("client_id", _CLIENT)]
        return TokenRequest(realm, tuple(query), None, basic(known.username, known.secret))

    def _answer(self, data: bytes) -> tuple[str, float]:
        """Token and lifetime in seconds, counted from now: the server's clock may be wrong."""
        try:
            value = fastjson.loads(data)
        except SpecError:
            value = None
        token = (value.get("token") or value.get("access_token")) if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryError(
                f"{self._name}: its token server's answer holds no token", hint="try again; or ask who runs it"
            )
        life = value.get("expires_in")
        seconds = float(life) if isinstance(life, (int, float)) and 0 < life < _MOST_LIFE_S else _LEAST_LIFE_S
        return token, max(seconds, _LEAST_LIFE_S)
