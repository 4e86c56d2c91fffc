# SPDX-License-Identifier: Apache-2.0
"""Who we are at a registry: the auth.json files of podman and docker, and the helpers that they name.

| file                                         | read                              | written by ``box login``          |
|----------------------------------------------|-----------------------------------|-----------------------------------|
| $REGISTRY_AUTH_FILE                          | alone, when set                   | when set                          |
| $XDG_RUNTIME_DIR/containers/auth.json,       | first                             | when the directory can be written |
| without it /run/containers/UID/auth.json     |                                   |                                   |
| ~/.config/containers/auth.json               | second                            | otherwise                         |
| $DOCKER_CONFIG/config.json, ~/.docker/…      | third                             | never                             |

In a file a credHelpers entry for the host comes first, then ``auths`` with the most specific key, then credsStore.
See containers-auth.json(5) and docker-credential-helpers. Secrets never appear in messages.
"""

from __future__ import annotations

import base64
import binascii
import os

from boxship import fastjson
from boxship.errors import BoxshipError, InvalidRequest, KernelError, NotFound, SpecError
from boxship.image.reference import DEFAULT_HOST
from boxship.image.registry.errors import RegistryError, harmless
from boxship.image.registry.settings import user_config
from boxship.record import Record
from boxship.runtime.state import write_atomically

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: the name under which Docker keeps the credentials of Docker Hub
HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io")
_FILES = "containers-auth.json"
_HELPER_TIMEOUT_S = 60.0
_TOKEN_USER = "<token>"
_MOST_BYTES = 16 << 20


class Credential(Record):
    """A user and a password, or an identity token of the registry's token server."""

    username: str = ""
    secret: str = ""
    identity_token: str = ""
    #: the file or the helper that it is from
    source: str = ""

    def __repr__(self) -> str:
        return f"Credential({self.username!r}, …, {self.source!r})"


class Given:
    """One credential for whatever is asked, as ``box login`` tries it before it is kept."""

    def __init__(self, credential: Credential | None) -> None:
        self.credential = credential

    def find(self, name: str) -> Credential | None:
        """The credential."""
        return self.credential


class Credentials:
    """The files, as they are when asked. ``helpers`` are those of registries.conf."""

    def __init__(self, helpers: tuple[str, ...] = ()) -> None:
        self.helpers = helpers

    def find(self, name: str) -> Credential | None:
        """For ``HOST`` or ``HOST/PATH``; None for strangers. Files and helpers that cannot be read are errors."""
        host = name.partition("/")[0]
        for helper in self.helpers or (_FILES,):
            found = self._in_files(name) if helper == _FILES else helper_get(helper, host, "registries.conf")
            if found:
                return found
        return None

    def _in_files(self, name: str) -> Credential | None:
        for path in read_paths():
            if (document := read_file(path)) and (found := _in_document(document, name, path)):
                return found
        return None

    def store(self, name: str, credential: Credential) -> str:
        """Keep it for ``HOST`` or ``HOST/PATH``; returns the file or the helper that has it now."""
        path, name = written_path(), _canonical(name)
        with _Locked(path):
            document = read_file(path)
            if helper := _helper_for(document, name, self.helpers):
                helper_store(helper, _server(document, name), credential, path)
                return f"docker-credential-{helper}"
            entry: dict[str, Any] = {"auth": _packed(credential.username, credential.secret)}
            if credential.identity_token:
                entry = {"auth": _packed(credential.username, ""), "identitytoken": credential.identity_token}
            auths = _table(document, "auths", path)
            for key in [key for key in auths if _canonical(key) == name]:
                del auths[key]
            document["auths"] = auths | {name: entry}
            write_atomically(path, f"{fastjson.dumps(document, 2)}\n".encode())
        return path

    def remove(self, name: str) -> str:
        """Forget it; returns where it was. NotFound when it is not known, or known only to files of other tools."""
        path, name = written_path(), _canonical(name)
        with _Locked(path):
            document = read_file(path)
            if helper := _helper_for(document, name, self.helpers):
                helper_erase(helper, _server(document, name), path)
                return f"docker-credential-{helper}"
            auths = _table(document, "auths", path)
            kept = {key: value for key, value in auths.items() if _canonical(key) != name}
            if len(kept) != len(auths):
                document["auths"] = kept
                write_atomically(path, f"{fastjson.dumps(document, 2)}\n".encode())
                return path
        left = self.find(name)
        hint = (
            f"{left.source} has credentials for it: another tool's, which must remove them"
            if left
            else "box login keeps them"
        )
        raise NotFound(f"{name}: not logged in, {path} knows nothing of it", hint=hint)


def read_paths() -> list[str]:
    """Where credentials are looked for, first to last."""
    if given := os.environ.get("REGISTRY_AUTH_FILE"):
        return [given]
    docker = os.environ.get("DOCKER_CONFIG") or os.path.join(os.environ.get("HOME") or "/", ".docker")
    return [_runtime_path(), f"{user_config()}/containers/auth.json", f"{docker}/config.json"]


def written_path() -> str:
    """Where ``box login`` keeps them: as podman does, where they are gone with the session."""
    if given := os.environ.get("REGISTRY_AUTH_FILE"):
        return given
    path = _runtime_path()
    folder = os.path.dirname(path)
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return path if os.access(folder, os.W_OK | os.X_OK) else f"{user_config()}/containers/auth.json"


def _runtime_path() -> str:
    base = os.environ.get("XDG_RUNTIME_DIR")
    return f"{base}/containers/auth.json" if base else f"/run/containers/{os.geteuid()}/auth.json"


class _Locked:
    """The directory of a file, made when it is missing, and nobody else of us writing in it."""

    def __init__(self, path: str) -> None:
        self.folder = os.path.dirname(path) or "."

    def __enter__(self) -> None:
        import fcntl

        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self.fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        except OSError as error:
            raise KernelError.from_os("open", error, path=self.folder) from None

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def read_file(path: str) -> dict[str, Any]:
    """A file's JSON object; empty when there is no file. InvalidRequest names it when it is something else."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KernelError.from_os("open", error, path=path) from None
    try:
        value = fastjson.loads(data) if data.strip() else {}
    except SpecError as error:
        raise InvalidRequest(f"{path}: {error.message}", hint="see containers-auth.json(5)") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{path}: not a JSON object", hint="see containers-auth.json(5)")
    return value


def _table(document: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{path}: {key}: not an object", hint="see containers-auth.json(5)")
    return value


def _canonical(key: str) -> str:
    """A key as podman writes it: ``https://index.docker.io/v1/`` is ``docker.io``; after a scheme the host counts."""
    scheme, found, rest = key.partition("://")
    name = rest.partition("/")[0] if found else scheme.rstrip("/")
    host, slash, path = name.partition("/")
    return (DEFAULT_HOST if host in _HUB_HOSTS else host) + slash + path


def _in_document(document: dict[str, Any], name: str, path: str) -> Credential | None:
    host = name.partition("/")[0]
    for key, helper in _table(document, "credHelpers", path).items():
        if _canonical(key) == host and (found := helper_get(str(helper), key, path)):
            return found
    auths = _table(document, "auths", path)
    keys = sorted(auths, key=lambda key: _canonical(key) != key.rstrip("/"))  # of two for one name the plain one
    wanted = name
    while True:
        for key in keys:
            if _canonical(key) == wanted and (found := _entry(auths[key], f"{path}: auths.{harmless(key, 80)}", path)):
                return found
        if "/" not in wanted:
            break
        wanted = wanted.rpartition("/")[0]
    store = document.get("credsStore")
    return helper_get(str(store), HUB_KEY if host == DEFAULT_HOST else host, path) if store else None


def _entry(entry: object, where: str, path: str) -> Credential | None:
    """What an entry of ``auths`` says; Docker leaves empty ones where a helper knows more."""
    if not isinstance(entry, dict):
        raise InvalidRequest(f"{where}: not an object", hint="see containers-auth.json(5)")
    texts = {key: entry.get(key) or "" for key in ("auth", "username", "password", "identitytoken")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise InvalidRequest(f"{where}: not strings", hint="see containers-auth.json(5)")
    username, secret = texts["username"], texts["password"]
    if texts["auth"]:
        try:
            username, colon, secret = base64.b64decode(texts["auth"], validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            colon = ""
        if not colon:
            raise InvalidRequest(f"{where}.auth: not USER:PASSWORD in base64", hint="box login writes it anew")
        secret = secret.rstrip("\0")
    if not (username and secret) and not texts["identitytoken"]:
        return None
    return Credential(username, secret, texts["identitytoken"], path)


def _packed(username: str, secret: str) -> str:
    if ":" in username:
        raise InvalidRequest(f"user {username!r}: a colon cannot be part of a user's name", hint="RFC 7617")
    return base64.b64encode(f"{username}:{secret}".encode()).decode()


def _helper_for(document: dict[str, Any], name: str, helpers: tuple[str, ...]) -> str:
    """The helper that keeps what is written for a name; none for the file itself."""
    host = name.partition("/")[0]
    for key, helper in (document.get("credHelpers") or {}).items():
        if _canonical(key) == host:
            return str(helper)
    configured = helpers[0] if helpers and helpers[0] != _FILES else ""
    return str(document.get("credsStore") or configured)


def _server(document: dict[str, Any], name: str) -> str:
    """What helpers call that registry: the key of credHelpers, or what Docker calls it."""
    host = name.partition("/")[0]
    keys = [key for key in document.get("credHelpers") or {} if _canonical(key) == host]
    return keys[0] if keys else HUB_KEY if host == DEFAULT_HOST else host


def helper_get(helper: str, server: str, source: str) -> Credential | None:
    """Ask docker-credential-HELPER; None when it knows nothing of that server."""
    code, out = _helper(helper, "get", server, source)
    if code:
        said = out.decode(errors="replace").strip()
        if "not found" in said.lower():
            return None
        raise _helper_failed(helper, "get", said, source)
    try:
        value = fastjson.loads(out)
    except SpecError:
        raise _helper_failed(helper, "get", "its answer is not JSON", source) from None
    user, secret = (value.get(key) for key in ("Username", "Secret")) if isinstance(value, dict) else (None, None)
    if not isinstance(user, str) or not isinstance(secret, str):
        raise _helper_failed(helper, "get", "its answer has no Username and Secret", source)
    if not secret:
        return None
    name = f"docker-credential-{helper}"
    return Credential("", "", secret, name) if user == _TOKEN_USER else Credential(user, secret, "", name)


def helper_store(helper: str, server: str, credential: Credential, source: str) -> None:
    """Let docker-credential-HELPER keep it."""
    user, secret = credential.username, credential.secret
    if credential.identity_token:
        user, secret = _TOKEN_USER, credential.identity_token
    words = fastjson.dumps({"ServerURL": server, "Username": user, "Secret": secret})
    code, out = _helper(helper, "store", words, source)
    if code:
        raise _helper_failed(helper, "store", out.decode(errors="replace"), source)


def helper_erase(helper: str, server: str, source: str) -> None:
    """Let docker-credential-HELPER forget it."""
    code, out = _helper(helper, "erase", server, source)
    if code:
        raise _helper_failed(helper, "erase", out.decode(errors="replace"), source)


def _helper(helper: str, verb: str, words: str, source: str) -> tuple[int, bytes]:
    """Run one; its standard error is the user's, who may be asked something there."""
    import subprocess

    if not helper or "/" in helper or "\0" in helper:
        raise InvalidRequest(
            f"{source}: {helper!r} is not the name of a credential helper", hint="NAME of docker-credential-NAME"
        )
    argv = [f"docker-credential-{helper}", verb]
    try:
        done = subprocess.run(
            argv, input=words.encode(), stdout=subprocess.PIPE, timeout=_HELPER_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise _helper_failed(helper, verb, "there is no such command in $PATH", source) from None
    except OSError as error:
        raise KernelError.from_os("exec", error, path=argv[0]) from None
    except subprocess.TimeoutExpired:
        raise _helper_failed(helper, verb, f"no answer within {_HELPER_TIMEOUT_S:.0f} s", source) from None
    return done.returncode, done.stdout


def _helper_failed(helper: str, verb: str, said: str, source: str) -> BoxshipError:
    return RegistryError(
        f"docker-credential-{helper} {verb}, which {source} asks for: {harmless(said) or 'failed and says nothing'}",
        hint=f"repair it, or take {helper!r} out of {source}",
    )
