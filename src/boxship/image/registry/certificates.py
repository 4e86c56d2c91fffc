# SPDX-License-Identifier: Apache-2.0
"""Hosts and their certificates: who is on loopback, and the certs.d directories of podman and docker.

The first directory that exists of ~/.config/containers/certs.d/HOST[:PORT], /etc/containers/certs.d/… and
/etc/docker/certs.d/… counts. In it, ``*.crt`` are authorities besides the system's, ``NAME.cert`` and ``NAME.key`` are
who we are. See containers-certs.d(5).
"""

from __future__ import annotations

import os
import ssl

from boxship.errors import InvalidRequest, KernelError
from boxship.image.registry.settings import user_config
from boxship.record import Record

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
_MOST_PORT = 65535


class Certificates(Record):
    """Files for one host."""

    authorities: tuple[str, ...] = ()
    #: certificate and key
    own: tuple[str, str] | None = None


def split_host(host: str) -> tuple[str, int | None]:
    """``[::1]:5000`` → ``::1`` and 5000; InvalidRequest for what can be no host."""
    name, port = host, ""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        right = bool(bracket) and _is_ipv6(name) and (not rest or rest.startswith(":"))
        port = rest[1:]
    else:
        name, colon, port = host.partition(":")
        right = bool(name) and set(name) <= _NAME and all(0 < len(part) < 64 for part in name.rstrip(".").split("."))
        right = right and (not colon or bool(port))
    if not right or (
        port and not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) <= _MOST_PORT)
    ):
        raise InvalidRequest(
            f"registry {host!r}: not a host, or HOST:PORT", hint="such as quay.io, localhost:5000, [::1]:5000"
        )
    return name, int(port) if port else None


def _is_ipv6(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def on_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine: nobody listens in between."""
    name = split_host(host)[0].rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost") or name == "::1":
        return True
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)


def certificates(host: str, etc: str = "/etc") -> Certificates:
    """The files of certs.d for a host as it is written in image names; InvalidRequest for half a pair."""
    bases = (f"{user_config()}/containers", f"{etc}/containers", f"{etc}/docker")
    for folder in (f"{base}/certs.d/{host}" for base in bases):
        try:
            names = sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise KernelError.from_os("open", error, path=folder) from None
        return _of(folder, names)
    return Certificates()


def _of(folder: str, names: list[str]) -> Certificates:
    own = None
    for name in names:
        stem, _, ending = name.rpartition(".")
        other = {"cert": "key", "key": "cert"}.get(ending)
        if other and f"{stem}.{other}" not in names:
            raise InvalidRequest(
                f"{folder}/{name}: no {stem}.{other} beside it", hint="authorities end in .crt, our own in .cert"
            )
        if ending == "cert" and own is None:  # TLS shows one: the first by name
            own = (f"{folder}/{name}", f"{folder}/{stem}.key")
    return Certificates(tuple(f"{folder}/{n}" for n in names if n.endswith(".crt")), own)


def tls_context(found: Certificates, *, verify: bool) -> ssl.SSLContext:
    """The system's authorities and the host's own; without ``verify`` anybody is believed to be the host."""
    context = ssl.create_default_context() if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if found.authorities:
        # Since Python 3.13 an authority must say that it may sign; Docker and podman do not ask that of private ones.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    path = ""
    try:
        for path in found.authorities:
            context.load_verify_locations(path)
        if found.own:
            path = found.own[0]
            context.load_cert_chain(*found.own, password=_no_password)
    except ssl.SSLError as error:
        raise InvalidRequest(f"{path}: not certificates that can be read: {error.reason or error}") from None
    except OSError as error:
        raise KernelError.from_os("open", error, path=path) from None
    return context


def _no_password() -> str:
    """A key with a password fails to load, instead of asking on the terminal."""
    return ""
