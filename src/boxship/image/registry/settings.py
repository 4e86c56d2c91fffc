# SPDX-License-Identifier: Apache-2.0
"""Which registries are meant: registries.conf of version 2, as podman reads it. See containers-registries.conf(5).

The main file is the first that exists of $CONTAINERS_REGISTRIES_CONF, /etc/boxship/registries.conf,
~/.config/containers/registries.conf and /etc/containers/registries.conf. Files of registries.conf.d come after it and
change it key by key; those of /etc are left out when the main file is the user's own, as podman does. Without any file,
short names are Docker Hub's.
"""

from __future__ import annotations

import os

from boxship.errors import InvalidRequest, KernelError, PermissionDenied
from boxship.image.reference import DEFAULT_HOST, Reference, is_short, parse
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PULLS = ("all", "digest-only", "tag-only")
_MODES = ("enforcing", "permissive", "disabled")


class Endpoint(Record):
    """One place where an image may be: a registry, and the repository there."""

    host: str
    path: str
    #: plain http, and certificates that nobody signed, are fine
    insecure: bool = False
    mirror: bool = False

    @property
    def name(self) -> str:
        """``quay.io/you/app``."""
        return f"{self.host}/{self.path}"


class Mirror(Record):
    """Another place, tried before the registry itself."""

    location: str
    insecure: bool = False
    pull: str = "all"


class Registry(Record):
    """A [[registry]] table: what is true of images whose name begins with ``prefix``."""

    prefix: str
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()
    source: str = ""

    def matches(self, reference: Reference) -> int:
        """How many characters of the name the prefix covers; 0 when it is none of its."""
        if self.prefix.startswith("*."):
            bare = reference.host.partition(":")[0]
            return (
                len(reference.host) if bare.endswith(self.prefix[1:]) or reference.host.endswith(self.prefix[1:]) else 0
            )
        for text in (reference.name, f"{reference.name}:{reference.tag}", f"{reference.name}@{reference.digest}"):
            if text == self.prefix or (text.startswith(self.prefix) and text[len(self.prefix)] in "/:@"):
                return len(self.prefix)
        return 0


class Settings(Record):
    """All files together."""

    registries: tuple[Registry, ...] = ()
    search: tuple[str, ...] = ()
    aliases: dict[str, str] = {}
    mode: str = "permissive"
    #: credential helpers for every registry; ``containers-auth.json`` stands for the files
    helpers: tuple[str, ...] = ()

    def resolve(self, text: str) -> list[Reference]:
        """What a user's words may stand for, the likeliest first; never empty. InvalidRequest for what is no name."""
        plain = parse(text)
        if not is_short(text):
            return [plain]
        name = _bare(text)
        if alias := self.aliases.get(name):
            return [parse(alias + text[len(name) :])]
        found = [parse(f"{host}/{text}") for host in self.search or (DEFAULT_HOST,)]
        if len(found) > 1 and self.mode == "enforcing":
            raise InvalidRequest(
                f"image {text!r}: may be {' or '.join(r.name for r in found)}, and short-name-mode is enforcing",
                hint="name the registry too",
            )
        return found

    def registry(self, reference: Reference) -> Registry | None:
        """The table with the longest prefix of that name; an exact one before one with a ``*``."""
        best = max(self.registries, key=lambda r: (r.matches(reference), r.prefix[:1] != "*"), default=None)
        return best if best and best.matches(reference) else None

    def endpoints(self, reference: Reference, *, push: bool = False) -> list[Endpoint]:
        """Where to look for an image, in order: mirrors, then the registry. Pushes go to where the name says."""
        table = self.registry(reference)
        if table is None:
            return [Endpoint(reference.host, reference.path)]
        if table.blocked:
            raise PermissionDenied(
                f"image {reference}: {table.source} blocks {table.prefix}",
                hint="take another registry, or change that file",
            )
        if push:
            return [Endpoint(reference.host, reference.path, table.insecure)]
        kind = "digest-only" if reference.digest else "tag-only"
        mirrors = [
            Endpoint(*_moved(table, m.location, reference), m.insecure, mirror=True)
            for m in table.mirrors
            if m.pull in ("all", kind)
        ]
        return [*mirrors, Endpoint(*_moved(table, table.location, reference), table.insecure)]

    def insecure(self, host: str) -> bool:
        """Whether a registry as such, ``box login``'s say, may be used without TLS."""
        table = self.registry(Reference(host, "", ""))
        return bool(table and table.insecure)


def _bare(text: str) -> str:
    """The name without tag and digest."""
    name = text.partition("@")[0]
    colon = name.rfind(":")
    return name[:colon] if colon > name.rfind("/") else name


def _moved(table: Registry, location: str, reference: Reference) -> tuple[str, str]:
    """Host and path after the prefix of a name has been replaced."""
    if not location or location == table.prefix:
        return reference.host, reference.path
    rest = reference.name[reference_end(table, reference) :]
    host, _, path = (location + rest).partition("/")
    if not path:
        raise InvalidRequest(
            f"{table.source}: registry {table.prefix!r}: location {location!r} leaves nothing of {reference.name}",
            hint="give a location with as many parts as the prefix has",
        )
    return host, path


def reference_end(table: Registry, reference: Reference) -> int:
    """Where in the name the table's prefix ends: after the host for ``*.example.com``."""
    return len(reference.host) if table.prefix.startswith("*") else len(table.prefix)


def load(etc: str = "/etc") -> Settings:
    """Read what there is. InvalidRequest names the file, and the line or the key that is wrong."""
    user = f"{user_config()}/containers/registries.conf"
    given = os.environ.get("CONTAINERS_REGISTRIES_CONF", "")
    places = [given] if given else [f"{etc}/boxship/registries.conf", user, f"{etc}/containers/registries.conf"]
    main = next((path for path in places if os.path.exists(path)), given)
    folders = [f"{user}.d"] if main == user else [f"{etc}/containers/registries.conf.d", f"{user}.d"]
    settings = Settings()
    for path in [*([main] if main else []), *(file for folder in folders for file in _drop_ins(folder))]:
        settings = _add(settings, path)
    return settings


def user_config() -> str:
    """$XDG_CONFIG_HOME, ~/.config without it."""
    return os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.environ.get("HOME") or "/", ".config")


def _drop_ins(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.endswith(".conf")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise KernelError.from_os("open", error, path=folder) from None


def _add(settings: Settings, path: str) -> Settings:
    """What a file changes: lists are replaced, tables are merged."""
    import tomllib

    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise KernelError.from_os("open", error, path=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{path}: not TOML: {error}", hint="see containers-registries.conf(5)") from None
    if isinstance(table.get("registries"), dict):
        raise InvalidRequest(
            f"{path}: registries: version 1 of the format", hint="write [[registry]] tables: version 2"
        )
    read = _Table(path, "", table)
    own = [_registry(each) for each in read.tables("registry")]
    names = {r.prefix for r in own}
    mode = read.text("short-name-mode", settings.mode) or settings.mode
    if mode not in _MODES:
        raise read.wrong("short-name-mode", f"one of {', '.join(_MODES)}")
    aliases = settings.aliases | _aliases(read)
    return Settings(
        (*(r for r in settings.registries if r.prefix not in names), *own),
        read.texts("unqualified-search-registries", settings.search),
        {name: value for name, value in aliases.items() if value},
        mode,
        read.texts("credential-helpers", settings.helpers),
    )


class _Table:
    """A TOML table that says where it is."""

    def __init__(self, path: str, where: str, values: dict[str, Any]) -> None:
        self.path, self.where, self.values = path, where, values

    def wrong(self, key: str, wanted: str) -> InvalidRequest:
        return InvalidRequest(
            f"{self.path}: {self.where}{key}: must be {wanted}", hint="see containers-registries.conf(5)"
        )

    def text(self, key: str, default: str = "") -> str:
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.values.get(key, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) and v for v in value):
            raise self.wrong(key, "a list of names")
        return tuple(value)

    def tables(self, key: str) -> list[_Table]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise self.wrong(key, f"written as [[{'registry.' if self.where else ''}{key}]]")
        return [_Table(self.path, f"{self.where}{key}[{n}].", v) for n, v in enumerate(value)]


def _registry(table: _Table) -> Registry:
    location = table.text("location").rstrip("/")
    prefix = table.text("prefix").rstrip("/") or location
    if not prefix or "://" in prefix or (prefix.startswith("*") and not prefix.startswith("*.")):
        raise table.wrong("prefix", "a host, a part of a name, or *.example.com, without https://")
    if "://" in location:
        raise table.wrong("location", "a host or a part of a name, without https://")
    if _bare(prefix) != prefix and "/" in prefix and location not in ("", prefix):
        raise table.wrong("prefix", "without tag and digest, where location or mirrors move it elsewhere")
    by_digest = table.flag("mirror-by-digest-only")
    mirrors = tuple(_mirror(each, by_digest) for each in table.tables("mirror"))
    return Registry(prefix, location, table.flag("insecure"), table.flag("blocked"), mirrors, table.path)


def _mirror(table: _Table, by_digest: bool) -> Mirror:
    location = table.text("location").rstrip("/")
    if not location or "://" in location:
        raise table.wrong("location", "a host or a part of a name, without https://")
    pull = table.text("pull-from-mirror") or ("digest-only" if by_digest else "all")
    if pull not in _PULLS:
        raise table.wrong("pull-from-mirror", f"one of {', '.join(_PULLS)}")
    if by_digest and pull != "digest-only":
        raise table.wrong("pull-from-mirror", "digest-only, since mirror-by-digest-only is true")
    return Mirror(location, table.flag("insecure"), pull)


def _aliases(table: _Table) -> dict[str, str]:
    found = table.values.get("aliases", {})
    if not isinstance(found, dict):
        raise table.wrong("aliases", "a table")
    for name, value in found.items():
        where = f'aliases."{name}"'
        if not isinstance(value, str):
            raise table.wrong(where, "a string")
        if not is_short(name) or _bare(name) != name:
            raise table.wrong(where, "named by a short name without a tag")
        if value and (is_short(value) or _bare(value) != value):
            raise table.wrong(where, "a full name with a registry and without a tag")
        if value:
            try:
                parse(value)
            except InvalidRequest as error:
                raise InvalidRequest(f"{table.path}: {where}: {error.message}", hint=error.hint) from None
    return found
