# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with registries, in one line, and what a registry's own words about it are made of.

BoxshipError
├── RegistryError       502   the registry's answer cannot be used
│   ├── TooLarge        413   it takes no body of this size
│   └── Passing         502   … or there was none: the same may go well the next time
│       └── RateLimited 429   … after a while
├── PermissionDenied    403   401 and 403
├── NotFound            404   404
└── Unsupported         501   405 and 501
"""

from __future__ import annotations

from boxship import fastjson
from boxship.errors import BoxshipError, NotFound, PermissionDenied, SpecError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

#: statuses after which the same request is sent again; 500 too, which some storages behind registries say when busy
TRY_AGAIN = (429, 500, 502, 503, 504)
_MOST_SHOWN = 400


class RegistryError(BoxshipError):
    """A registry that cannot be used as it should."""

    http_status = 502


class TooLarge(RegistryError):
    """The registry, or a proxy before it, takes no body of this size."""

    http_status = 413


class Passing(RegistryError):
    """A failure that may not last; ``wait`` are the seconds that the registry asks for, if it does."""

    def __init__(self, message: str, *, hint: str = "", wait: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait

    def after(self, tries: int) -> Self:
        """The same, saying how often it was tried."""
        if tries > 1:
            self.message = f"{self.message} (tried {tries} times)"
            self.args = (self.message,)
        return self


class RateLimited(Passing):
    """Too many requests; ``limits`` are the registry's headers about that, names in small letters."""

    http_status = 429
    limits: Mapping[str, str] = {}


def harmless(text: str, most: int = _MOST_SHOWN) -> str:
    """What a stranger wrote, on one line and without control characters, cut to a length that can be shown."""
    shown = "".join(c if c.isprintable() else " " for c in text[: most * 2])
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def own_words(body: bytes) -> str:
    """The errors of distribution-spec's JSON: ``code: message (detail); …``; nothing when it is something else."""
    try:
        value = fastjson.loads(body)
    except SpecError:
        return ""
    if not isinstance(value, dict):
        return ""
    errors = value.get("errors")
    if not isinstance(errors, list):  # token servers: RFC 6749; Docker Hub: {"details": …}, {"message": …}
        words = [value.get(key) for key in ("error", "error_description", "details", "message")]
        return harmless(": ".join(word for word in words if isinstance(word, str) and word))
    return harmless("; ".join(_one(error) for error in errors if isinstance(error, dict)))


def _one(error: dict[object, object]) -> str:
    code, message, detail = (error.get(key) for key in ("code", "message", "detail"))
    said = ": ".join(word for word in (code, message) if isinstance(word, str) and word)
    if not detail:
        return said
    return f"{said} ({detail if isinstance(detail, str) else fastjson.dumps(detail)})"


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, what: str, where: str, login: str) -> BoxshipError:
    """The exception for an answer that is no success. ``what`` was wanted from ``where``; ``login`` is for the hint."""
    words = own_words(body)
    said = f": {words}" if words else f": status {status}"
    message = f"{what}: {where} says{said}" if words else f"{what}: {where} answers{said}"
    if status in (401, 403):
        return PermissionDenied(
            message, hint=f"box login {login}; or the image does not exist and the registry does not say so"
        )
    if status == 404:
        return NotFound(message, hint="names and tags are case-sensitive; box search finds names")
    if status in (405, 501):
        return Unsupported(message, hint="this registry does not offer that, or it is switched off there")
    if status == 413:
        return TooLarge(message, hint="the registry, or a proxy before it, limits the size of a request")
    if status == 429:
        return _limited(message, headers)
    if status in TRY_AGAIN:
        return Passing(message, hint="the registry has trouble of its own: try again later", wait=retry_after(headers))
    return RegistryError(message, hint="the registry's log may say more")


def _limited(message: str, headers: Mapping[str, str]) -> RateLimited:
    limits = {key.lower(): harmless(value, 80) for key, value in headers.items() if "ratelimit" in key.lower()}
    shown = ", ".join(f"{key} {value}" for key, value in limits.items())
    error = RateLimited(
        f"{message} [{shown}]" if shown else message,
        hint="wait, or box login: accounts may pull more than strangers",
        wait=retry_after(headers),
    )
    error.limits = limits
    return error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a Retry-After of either form (RFC 9110, 10.2.3); None without one, or for words without sense."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
