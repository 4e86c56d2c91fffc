# SPDX-License-Identifier: Apache-2.0
"""Registries without one: settings, credentials, challenges, and the client against a server that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import os
import pathlib
import random
import stat
import threading
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from boxship.errors import BoxshipError, InvalidRequest, NotFound, PermissionDenied, Unsupported
from boxship.image import media
from boxship.image.media import Descriptor, ImageError
from boxship.image.reference import parse
from boxship.image.registry import errors as wrong
from boxship.image.registry import settings as conf
from boxship.image.registry import transport as transport_module
from boxship.image.registry.auth import Authorizer, Challenge, actions, parse_challenges
from boxship.image.registry.certificates import Certificates, certificates, on_loopback, split_host, tls_context
from boxship.image.registry.client import Client, digest_of
from boxship.image.registry.credentials import Credential, Credentials, Given, read_paths, written_path
from boxship.image.registry.errors import Passing, RateLimited, RegistryError
from boxship.image.registry.settings import Endpoint, Settings

DIGEST = "sha256:" + "a" * 64
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": media.MANIFEST, "layers": []}).encode()
BLOB = random.Random(1).randbytes(3000)
BLOB_DIGEST = digest_of(BLOB)


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    """Nobody's credentials and settings but the test's own."""
    for name in (
        "XDG_CONFIG_HOME",
        "DOCKER_CONFIG",
        "CONTAINERS_REGISTRIES_CONF",
        "REGISTRY_AUTH_FILE",
        "http_proxy",
        "HTTP_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "home").mkdir()
    (tmp_path / "run").mkdir()


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- settings


def load(tmp_path: pathlib.Path, text: str) -> Settings:
    write(tmp_path / "etc/containers/registries.conf", text)
    return conf.load(str(tmp_path / "etc"))


def names(found) -> list[str]:
    return [str(each) for each in found]


def test_nothing_configured_is_docker_hub(tmp_path):
    settings = conf.load(str(tmp_path / "etc"))
    assert names(settings.resolve("debian")) == ["docker.io/library/debian:latest"]
    assert names(settings.resolve("you/app:1")) == ["docker.io/you/app:1"]
    assert names(settings.resolve("quay.io/you/app")) == ["quay.io/you/app:latest"]
    assert settings.endpoints(parse("debian")) == [Endpoint("docker.io", "library/debian")]
    with pytest.raises(InvalidRequest):
        settings.resolve("No/Such")


def test_short_names(tmp_path):
    settings = load(
        tmp_path,
        'unqualified-search-registries = ["a.example", "docker.io"]\n[aliases]\ntool = "quay.io/you/tool"\n"x/y" = "b.example/z"\n',
    )
    assert names(settings.resolve("app:2")) == ["a.example/app:2", "docker.io/library/app:2"]
    assert names(settings.resolve("tool")) == ["quay.io/you/tool:latest"]
    assert names(settings.resolve("tool:1")) == ["quay.io/you/tool:1"]
    assert names(settings.resolve(f"x/y@{DIGEST}")) == [f"b.example/z@{DIGEST}"]
    assert names(settings.resolve("localhost/tool")) == ["localhost/tool:latest"]


def test_enforcing(tmp_path):
    settings = load(
        tmp_path, 'unqualified-search-registries = ["a.example", "b.example"]\nshort-name-mode = "enforcing"\n'
    )
    with pytest.raises(InvalidRequest, match=r"a\.example/app or b\.example/app"):
        settings.resolve("app")


REGISTRIES = """
[[registry]]
prefix = "example.com/foo"
location = "internal.example/bar"
insecure = true
[[registry.mirror]]
location = "m0.local/foo"
[[registry.mirror]]
location = "m1.local:5000/deep/foo"
insecure = true
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "m2.local/foo"
pull-from-mirror = "tag-only"
[[registry]]
location = "example.com"
[[registry]]
prefix = "example.com/foo/secret"
blocked = true
[[registry]]
prefix = "*.wild.example"
location = "tame.example"
[[registry]]
prefix = "one.wild.example"
insecure = true
"""


def test_endpoints(tmp_path):
    settings = load(tmp_path, REGISTRIES)
    assert settings.endpoints(parse("example.com/foo/img:1")) == [
        Endpoint("m0.local", "foo/img", False, True),
        Endpoint("m2.local", "foo/img", False, True),
        Endpoint("internal.example", "bar/img", True),
    ]
    by_digest = settings.endpoints(parse(f"example.com/foo/img@{DIGEST}"))
    assert [e.name for e in by_digest] == ["m0.local/foo/img", "m1.local:5000/deep/foo/img", "internal.example/bar/img"]
    assert by_digest[1].insecure
    assert settings.endpoints(parse("example.com/foo/img"), push=True) == [Endpoint("example.com", "foo/img", True)]
    assert settings.endpoints(parse("example.com/foobar")) == [Endpoint("example.com", "foobar")]
    assert settings.endpoints(parse("two.wild.example/x")) == [Endpoint("tame.example", "x")]
    assert settings.endpoints(parse("one.wild.example/x")) == [Endpoint("one.wild.example", "x", True)]
    assert settings.endpoints(parse("wild.example/x")) == [Endpoint("wild.example", "x")]
    with pytest.raises(PermissionDenied, match=r"blocks example\.com/foo/secret"):
        settings.endpoints(parse("example.com/foo/secret/x"))
    assert settings.insecure("one.wild.example")
    assert not settings.insecure("example.com")


def test_a_location_that_leaves_nothing(tmp_path):
    settings = load(tmp_path, '[[registry]]\nprefix = "a.example/app"\nlocation = "b.example"\n')
    with pytest.raises(InvalidRequest, match=r"registries\.conf.*leaves nothing of"):
        settings.endpoints(parse("a.example/app"))
    assert settings.endpoints(parse("a.example/app/sub")) == [Endpoint("b.example", "sub")]


def test_which_files(tmp_path, monkeypatch):
    etc, home = tmp_path / "etc", tmp_path / "home/.config/containers"
    write(etc / "containers/registries.conf", 'unqualified-search-registries = ["etc.example"]')
    write(etc / "containers/registries.conf.d/10.conf", '[aliases]\na = "x.example/a"\nb = "x.example/b"')
    write(etc / "containers/registries.conf.d/20.conf", '[aliases]\na = ""\n[[registry]]\nlocation = "r.example"')
    write(etc / "containers/registries.conf.d/README", "not = [toml")
    settings = conf.load(str(etc))
    assert settings.search == ("etc.example",)
    assert settings.aliases == {"b": "x.example/b"}
    write(home / "registries.conf.d/u.conf", '[[registry]]\nlocation = "r.example"\ninsecure = true')
    settings = conf.load(str(etc))
    assert [r.insecure for r in settings.registries] == [True]
    write(home / "registries.conf", 'unqualified-search-registries = ["user.example"]')
    settings = conf.load(str(etc))
    assert settings.search == ("user.example",)
    assert settings.aliases == {}
    write(etc / "boxship/registries.conf", 'unqualified-search-registries = ["box.example"]')
    assert conf.load(str(etc)).search == ("box.example",)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(write(tmp_path / "own.conf", 'credential-helpers = ["x"]')))
    assert conf.load(str(etc)).helpers == ("x",)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "missing"))
    with pytest.raises(BoxshipError, match="missing"):
        conf.load(str(etc))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = !", r"registries\.conf: not TOML: .*line 1"),
        ("[registries.search]\nregistries = ['a']", "version 1"),
        ('unqualified-search-registries = "a"', "unqualified-search-registries: must be a list"),
        (
            '[[registry]]\nlocation = "a.example"\n[[registry]]\nlocation = 3',
            r"registry\[1\]\.location: must be a string",
        ),
        ("[[registry]]\ninsecure = true", r"registry\[0\]\.prefix"),
        ('[[registry]]\nprefix = "https://a.example"', r"registry\[0\]\.prefix.*https://"),
        ('[[registry]]\nlocation = "a.example"\nblocked = "yes"', r"registry\[0\]\.blocked: must be true or false"),
        (
            '[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "b"\npull-from-mirror = "x"',
            r"registry\[0\]\.mirror\[0\]\.pull-from-mirror",
        ),
        ('[[registry]]\nlocation = "a.example"\n[registry.mirror]\nlocation = "b"', r"\[\[registry\.mirror\]\]"),
        ('[registry]\nlocation = "a.example"', r"\[\[registry\]\]"),
        ('[aliases]\nx = "short"', 'aliases."x"'),
        ('[aliases]\n"a.example/x" = "b.example/x"', "short name"),
        ('[aliases]\nx = "b.example/X"', "small letters"),
        ('short-name-mode = "never"', "one of enforcing, permissive, disabled"),
        ('[[registry]]\nprefix = "a.example/x:1"\nlocation = "b.example/x"', "without tag"),
    ],
)
def test_errors_say_where(tmp_path, text, words):
    with pytest.raises(InvalidRequest, match=words):
        load(tmp_path, text)


TOML = st.recursive(
    st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "a.example", "*.b", "x:1", "https://q", "all", "tag-only"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["prefix", "location", "mirror", "insecure", "blocked", "pull-from-mirror", "aliases", "registry", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["registry", "aliases", "unqualified-search-registries", "registries"]), TOML))
def test_any_table_is_read_or_refused(table):
    read = conf._Table("f", "", table)
    with contextlib.suppress(InvalidRequest):
        found = [conf._registry(each) for each in read.tables("registry")]
        settings = Settings(tuple(found), read.texts("unqualified-search-registries", ()), conf._aliases(read))
        with contextlib.suppress(InvalidRequest, PermissionDenied):
            assert settings.endpoints(parse("a.example/x/y:1"))


# --- hosts and certificates


@pytest.mark.parametrize(
    ("host", "found", "loopback"),
    [
        ("quay.io", ("quay.io", None), False),
        ("localhost:5000", ("localhost", 5000), True),
        ("127.0.0.1", ("127.0.0.1", None), True),
        ("127.9.8.7:80", ("127.9.8.7", 80), True),
        ("[::1]:5000", ("::1", 5000), True),
        ("[::2]", ("::2", None), False),
        ("127.0.0.1.example.com", ("127.0.0.1.example.com", None), False),
        ("x.localhost", ("x.localhost", None), True),
    ],
)
def test_hosts(host, found, loopback):
    assert split_host(host) == found
    assert on_loopback(host) is loopback


@pytest.mark.parametrize(
    "host",
    ["", "..", "a..b", "a/b", "a:", "a:b", "a:0", "a:70000", "a@b", "[::1", "[x]:1", "::1", "a b", "a:1:2", "x" * 64],
)
def test_no_hosts(host):
    with pytest.raises(InvalidRequest):
        split_host(host)
    with pytest.raises(InvalidRequest):
        Client(Endpoint(host, "x"))


def test_certs_d(tmp_path):
    etc = tmp_path / "etc"
    assert certificates("r.example:5000", str(etc)) == Certificates()
    docker = etc / "docker/certs.d/r.example:5000"
    write(docker / "ca.crt", "no certificate")
    write(docker / "client.cert", "")
    with pytest.raises(InvalidRequest, match=r"client\.key"):
        certificates("r.example:5000", str(etc))
    write(docker / "client.key", "")
    found = certificates("r.example:5000", str(etc))
    assert found == Certificates((f"{docker}/ca.crt",), (f"{docker}/client.cert", f"{docker}/client.key"))
    with pytest.raises(InvalidRequest, match=r"ca\.crt: not certificates"):
        tls_context(found, verify=True)
    own = tmp_path / "home/.config/containers/certs.d/r.example:5000"
    write(own / "x.crt", "")
    assert certificates("r.example:5000", str(etc)).authorities == (f"{own}/x.crt",)


# --- credentials


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def auths(path: pathlib.Path, **entries: str) -> None:
    write(path, json.dumps({"auths": {key: {"auth": packed(value)} for key, value in entries.items()}}))


def test_most_specific_key(tmp_path):
    auths(
        tmp_path / "run/containers/auth.json",
        **{
            "a.example": "host:1",
            "a.example/you": "you:2",
            "a.example/you/app": "app:3",
            "https://b.example/v2/": "b:4:5",
        },
    )
    find = lambda name: (found := Credentials().find(name)) and (found.username, found.secret)  # noqa: E731
    assert find("a.example/you/app") == ("app", "3")
    assert find("a.example/you/other") == ("you", "2")
    assert find("a.example/me/x/y/z") == ("host", "1")
    assert find("a.example") == ("host", "1")
    assert find("b.example/x") == ("b", "4:5")
    assert find("c.example/x") is None


def test_docker_hub_key_and_order_of_files(tmp_path, monkeypatch):
    auths(tmp_path / "home/.docker/config.json", **{"https://index.docker.io/v1/": "third:x"})
    assert Credentials().find("docker.io/library/debian").username == "third"
    auths(tmp_path / "home/.config/containers/auth.json", **{"docker.io": "second:x"})
    assert Credentials().find("docker.io/library/debian").username == "second"
    auths(tmp_path / "run/containers/auth.json", **{"docker.io/library": "first:x"})
    found = Credentials().find("docker.io/library/debian")
    assert found.username == "first"
    assert found.source == f"{tmp_path}/run/containers/auth.json"
    assert "x" not in repr(found.replace(source=""))
    auths(tmp_path / "own.json", **{"quay.io": "own:x"})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "own.json"))
    assert Credentials().find("docker.io/library/debian") is None
    assert read_paths() == [written_path()] == [str(tmp_path / "own.json")]


def test_docker_config_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "dc"))
    auths(tmp_path / "dc/config.json", **{"r.example": "u:p"})
    assert Credentials().find("r.example").secret == "p"


def test_identity_token_and_empty_entries(tmp_path):
    write(
        tmp_path / "home/.docker/config.json",
        json.dumps(
            {
                "auths": {
                    "a.example": {"auth": packed("u:"), "identitytoken": "tok"},
                    "b.example": {},
                    "c.example": {"username": "x", "password": "y"},
                }
            }
        ),
    )
    assert Credentials().find("a.example").identity_token == "tok"
    assert Credentials().find("b.example") is None
    assert Credentials().find("c.example").secret == "y"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1"),
        ("[]", "not a JSON object"),
        ('{"auths": []}', None),
        ('{"auths": [1]}', "auths: not an object"),
        ('{"auths": {"a.example": 1}}', r"auths\.a\.example: not an object"),
        ('{"auths": {"a.example": {"auth": "!"}}}', r"a\.example\.auth: not USER:PASSWORD"),
        ('{"auths": {"a.example": {"auth": "YQ=="}}}', r"a\.example\.auth: not USER:PASSWORD"),
        ('{"auths": {"a.example": {"auth": 3}}}', "not strings"),
        ('{"credsStore": "../evil"}', "not the name of a credential helper"),
        ("", None),
    ],
)
def test_files_that_are_wrong(tmp_path, text, words):
    path = write(tmp_path / "run/containers/auth.json", text)
    if words is None:
        assert Credentials().find("a.example") is None
        return
    with pytest.raises(InvalidRequest, match=words) as caught:
        Credentials().find("a.example")
    assert str(path) in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["YTpi", "a.example"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["auths", "credHelpers", "a.example", "auth", "username", "password", "identitytoken"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["auths", "x"]), JSON))
def test_any_auth_file_is_read_or_refused(document):
    from boxship.image.registry.credentials import _in_document

    with contextlib.suppress(InvalidRequest):
        _in_document(document, "a.example/x", "f")


def test_store_and_remove(tmp_path):
    path = tmp_path / "run/containers/auth.json"
    store = Credentials()
    assert store.store("r.example", Credential("u", "p:q")) == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store.find("r.example/x").secret == "p:q"
    path.write_text(
        json.dumps(
            {
                "auths": {"https://r.example/v1/": {"auth": packed("old:x")}, "s.example": {"auth": packed("s:s")}},
                "other": [1],
            }
        )
    )
    store.store("r.example", Credential("u2", "p2"))
    kept = json.loads(path.read_text())
    assert set(kept["auths"]) == {"r.example", "s.example"}
    assert kept["other"] == [1]
    store.store("r.example", Credential("u", "", "idtoken"))
    assert store.find("r.example").identity_token == "idtoken"
    assert store.remove("r.example") == str(path)
    assert store.find("r.example") is None
    with pytest.raises(NotFound, match="not logged in"):
        store.remove("r.example")
    auths(tmp_path / "home/.docker/config.json", **{"r.example": "d:d"})
    with pytest.raises(NotFound) as caught:
        store.remove("r.example")
    assert ".docker/config.json" in caught.value.hint
    assert os.listdir(path.parent) == ["auth.json"]
    with pytest.raises(InvalidRequest, match="colon"):
        store.store("r.example", Credential("a:b", "p"))


def test_stores_at_once(tmp_path):
    threads = [
        threading.Thread(target=Credentials().store, args=(f"r{n}.example", Credential("u", str(n)))) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((tmp_path / "run/containers/auth.json").read_text())["auths"]) == 12


HELPER = """#!/bin/sh
file="$STORE/db"
case $1 in
get) read -r server
  [ "$server" = broken.example ] && { echo 'no \\033[31mkeyring'; exit 1; }
  [ "$server" = babble.example ] && { echo 'hello'; exit 0; }
  [ -e "$file" ] && grep -q "$server" "$file" || { echo 'credentials not found in native keychain'; exit 1; }
  cat "$file" ;;
store) cat >"$file" ;;
erase) read -r server; rm "$file" ;;
esac
"""


@pytest.fixture
def helper(tmp_path, monkeypatch):
    path = write(tmp_path / "bin/docker-credential-test", HELPER)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STORE", str(tmp_path))
    return tmp_path / "db"


def test_helpers(tmp_path, helper):
    write(
        tmp_path / "run/containers/auth.json", json.dumps({"credsStore": "test", "credHelpers": {"h.example": "test"}})
    )
    store = Credentials()
    assert store.find("h.example/x") is None
    assert store.store("h.example", Credential("u", "p")) == "docker-credential-test"
    assert json.loads(helper.read_text()) == {"ServerURL": "h.example", "Username": "u", "Secret": "p"}
    assert store.find("h.example/x") == Credential("u", "p", "", "docker-credential-test")
    assert store.remove("h.example") == "docker-credential-test"
    assert not helper.exists()
    store.store("docker.io", Credential("", "", "tok"))
    assert json.loads(helper.read_text()) == {
        "ServerURL": "https://index.docker.io/v1/",
        "Username": "<token>",
        "Secret": "tok",
    }
    assert store.find("docker.io/library/x").identity_token == "tok"
    for host in ("broken.example", "babble.example"):
        with pytest.raises(RegistryError, match="docker-credential-test get") as caught:
            store.find(host)
        assert "\033" not in caught.value.message


def test_helpers_of_registries_conf(helper):
    helper.write_text(json.dumps({"ServerURL": "z.example", "Username": "u", "Secret": "p"}))
    assert Credentials(("containers-auth.json", "test")).find("z.example/x").username == "u"
    assert Credentials(("containers-auth.json",)).find("z.example/x") is None


def test_a_helper_that_is_not_there(tmp_path):
    write(tmp_path / "run/containers/auth.json", '{"credsStore": "nowhere"}')
    with pytest.raises(RegistryError, match=r"docker-credential-nowhere get.*no such command"):
        Credentials().find("a.example")


# --- challenges


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", []),
        ("Basic", [Challenge("basic")]),
        ('Basic realm="a b"', [Challenge("basic", {"realm": "a b"})]),
        (
            'Bearer realm="https://t.example/token",service="r.example",scope="repository:x:pull,push"',
            [
                Challenge(
                    "bearer",
                    {"realm": "https://t.example/token", "service": "r.example", "scope": "repository:x:pull,push"},
                )
            ],
        ),
        ('BEARER Realm = "q\\"u\\\\o" , SERVICE=plain', [Challenge("bearer", {"realm": 'q"u\\o', "service": "plain"})]),
        (
            'Negotiate abc==, Basic realm="x", Bearer realm=y',
            [Challenge("negotiate"), Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y"})],
        ),
        ('Negotiate, Basic realm="x"', [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
    ],
)
def test_challenges(header, found):
    assert parse_challenges(header) == found


@pytest.mark.parametrize("header", ['realm="x"', 'Bearer realm="x', '"', "=", "Bearer realm=\x00,\x1b[31m="])
def test_challenges_that_are_none(header):
    with pytest.raises(RegistryError, match="WWW-Authenticate") as caught:
        parse_challenges(header)
    assert caught.value.message.isprintable()


@given(st.text() | st.text('Bearer Basic realm="\\,= \t/x', max_size=60))
def test_any_header_is_read_or_refused(header):
    try:
        found = parse_challenges(header)
    except RegistryError:
        return
    assert all(c.scheme == c.scheme.lower() and c.scheme for c in found)


VALUES = st.dictionaries(
    st.sampled_from(["realm", "service", "scope", "error"]),
    st.text(st.characters(codec="latin-1"), max_size=20),
    min_size=1,
)


@given(st.lists(st.tuples(st.sampled_from(["bearer", "basic", "digest"]), VALUES), min_size=1, max_size=3))
def test_what_is_quoted_comes_back(challenges):
    quote = lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'  # noqa: E731
    header = ", ".join(
        f"{scheme} " + ",".join(f"{k}={quote(v)}" for k, v in values.items()) for scheme, values in challenges
    )
    assert parse_challenges(header) == [Challenge(scheme, values) for scheme, values in challenges]


def test_actions():
    assert actions(["repository:a/b:pull,push"]) == {("repository:a/b", "pull"), ("repository:a/b", "push")}
    assert actions([]) == frozenset()


def test_tokens_are_kept_until_they_expire(monkeypatch):
    asked, clock = [], [1000.0]

    async def ask(question):
        asked.append(question)
        return json.dumps({"token": f"t{len(asked)}", "expires_in": 100}).encode()

    async def scenario():
        monkeypatch.setattr(
            "boxship.image.registry.auth.time", type("T", (), {"monotonic": staticmethod(lambda: clock[0])})
        )
        authorizer = Authorizer("r.example/x", Given(Credential("u", "p")), ask)
        assert await authorizer.header(("repository:x:pull",)) == ""
        authorizer.learn(['Bearer realm="https://t.example/",service="s"'])
        both = ("repository:x:pull,push",)
        assert await authorizer.header(both) == "Bearer t1"
        assert await authorizer.header(both) == "Bearer t1"
        assert await authorizer.header(("repository:x:pull",)) == "Bearer t1"
        assert await authorizer.header(("repository:y:pull",)) == "Bearer t2"
        clock[0] += 95
        assert await authorizer.header(both) == "Bearer t3"
        authorizer.forget("Bearer t3")
        assert await asyncio.gather(*(authorizer.header(both) for _ in range(5))) == ["Bearer t4"] * 5

    asyncio.run(scenario())
    assert dict(asked[0].query) == {
        "service": "s",
        "scope": "repository:x:pull,push",
        "account": "u",
        "client_id": "boxship",
    }
    assert asked[0].authorization == "Basic " + packed("u:p")


@given(st.binary(max_size=40) | JSON.map(lambda v: json.dumps({"token": v, "expires_in": v}).encode()))
def test_any_token_answer_is_read_or_refused(data):
    authorizer = Authorizer("r.example", Given(None), None)
    with contextlib.suppress(RegistryError):
        token, life = authorizer._answer(data)
        assert token
        assert life >= 60


# --- words of errors


def test_own_words():
    words = wrong.own_words(
        json.dumps(
            {"errors": [{"code": "DENIED", "message": "no\nway \x1b[31m", "detail": {"a": 1}}, {"code": "X"}]}
        ).encode()
    )
    assert words == 'DENIED: no way [31m ({"a":1}); X'
    assert wrong.own_words(b"<html>") == ""
    assert wrong.own_words(b'{"details": "incorrect username or password"}') == "incorrect username or password"
    assert len(wrong.own_words(json.dumps({"errors": [{"message": "x" * 9999}]}).encode())) <= 400


@given(
    st.binary(max_size=60)
    | JSON.map(lambda v: json.dumps({"errors": v}).encode())
    | JSON.map(lambda v: json.dumps({"errors": [v]}).encode())
)
def test_any_error_body_is_harmless(body):
    assert wrong.own_words(body).isprintable()


@given(st.text(max_size=40))
def test_any_retry_after(text):
    found = wrong.retry_after({"retry-after": text})
    assert found is None or found >= 0


def test_retry_after():
    assert wrong.retry_after({"retry-after": "7"}) == 7
    assert wrong.retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert wrong.retry_after({}) is None


# --- the client against a server that misbehaves


class Request:
    """What came in."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ", 2)
        self.path, _, self.query = self.target.partition("?")
        self.headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        self.body = body


def answer(status: int = 200, body: bytes = b"", **headers: object) -> bytes:
    fields = {"Content-Length": len(body)} | {key.replace("_", "-"): value for key, value in headers.items()}
    head = "".join(f"{key}: {value}\r\n" for key, value in fields.items() if value is not None)
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


class Server:
    """Answers with the bytes that ``respond`` gives, then hangs up. None: hangs up at once."""

    def __init__(self, respond) -> None:
        self.respond, self.requests = respond, []
        self.most_body: int | None = None

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        try:
            first = await reader.read(1)
            if first in (b"", b"\x16"):  # a TLS hello: not spoken here
                return
            head = first + await reader.readuntil(b"\r\n\r\n")
            request = Request(head.removesuffix(b"\r\n\r\n"), b"")
            length = int(request.headers.get("content-length", 0))
            most = length if self.most_body is None else min(length, self.most_body)
            self.most_body = None
            request.body = await reader.readexactly(most)
            self.requests.append(request)
            if most < length:
                return
            found = self.respond(request)
            if found is not None:
                writer.write(found)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def play(respond, scenario, *, path="you/app", finder=None, **more):
    """Run a scenario with a client of a misbehaving server; returns the server and what the scenario gives."""

    async def run():
        async with (
            Server(respond) as server,
            Client(Endpoint(server.host, path, **more), finder or Given(None), backoff=0.0005) as client,
        ):
            return server, await scenario(client, server)

    return asyncio.run(asyncio.wait_for(run(), 60))


def ping_or(respond):
    return lambda request: answer() if request.target == "/v2/" else respond(request)


def manifest_answer(data: bytes = MANIFEST, **more: object) -> bytes:
    return answer(200, data, **({"Content_Type": media.MANIFEST} | more))


async def all_of(iterator) -> bytes:
    return b"".join([part async for part in iterator])


def test_manifest():
    server, found = play(ping_or(lambda r: manifest_answer()), lambda c, s: c.manifest("1.0"))
    assert (found.data, found.media_type, found.digest) == (MANIFEST, media.MANIFEST, digest_of(MANIFEST))
    asked = server.requests[-1]
    assert asked.target == "/v2/you/app/manifests/1.0"
    assert set(asked.headers["accept"].split(", ")) == set(media.ACCEPT)
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"].startswith("boxship/")
    assert "authorization" not in asked.headers


@pytest.mark.parametrize(
    ("reply", "reference", "error", "words"),
    [
        (manifest_answer(), DIGEST, ImageError, "was asked for"),
        (manifest_answer(Docker_Content_Digest=DIGEST), "1", ImageError, "is what the registry says"),
        (manifest_answer(b"{"), "1", ImageError, "malformed JSON"),
        (manifest_answer(b"[]"), "1", ImageError, "not a JSON object"),
        (manifest_answer(b"{}", Content_Type="text/html"), "1", ImageError, "text/html is no manifest"),
        (manifest_answer(b"{}", Content_Type=None), "1", ImageError, "something without a media type"),
        (manifest_answer(Content_Type=media.INDEX), "1", ImageError, "says of itself"),
        (manifest_answer(b'{"mediaType": 3}'), "1", ImageError, "mediaType"),
        (manifest_answer(Content_Type="application/vnd.docker.distribution.manifest.v1+prettyjws"), "1", Unsupported, "schema 1"),
        (manifest_answer(b"{}" + b" " * (10 << 20)), "1", RegistryError, "more than 4194304 bytes"),
        (answer(404, json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": {"Tag": "1"}}]}).encode()), "1", NotFound, r"image 127.0.0.1:\d+/you/app:1: .*MANIFEST_UNKNOWN: manifest unknown \(.*Tag"),
        (answer(401), "1", PermissionDenied, "status 401"),
        (answer(403, b'{"errors":[{"code":"DENIED"}]}'), "1", PermissionDenied, "DENIED"),
        (answer(405), "1", Unsupported, "405"),
        (answer(418), "1", RegistryError, "418"),
        (answer(200, MANIFEST, Content_Encoding="gzip", Content_Type=media.MANIFEST, Docker_Content_Digest=DIGEST), "1", ImageError, "registry says"),
    ],
    ids=lambda value: None if isinstance(value, (str, type)) else "",
)  # fmt: skip
def test_manifests_that_are_wrong(reply, reference, error, words):
    async def scenario(client, server):
        with pytest.raises(error, match=words) as caught:
            await client.manifest(reference)
        if error is PermissionDenied:
            assert f"box login {server.host}" in caught.value.hint
        assert caught.value.message.isprintable()
        assert caught.value.hint or error in (ImageError, RegistryError)

    play(ping_or(lambda r: reply), scenario)


@pytest.mark.parametrize("reference", ["../../x", "a b", "", "a/b", "sha256:zz", "a?b", "x" * 129])
def test_references_that_would_be_other_paths(reference):
    async def scenario(client, server):
        for call in (client.manifest, client.head, client.delete):
            with pytest.raises(InvalidRequest):
                await call(reference)
        assert server.requests == []

    play(ping_or(lambda r: manifest_answer()), scenario)


def test_sha512():
    digest = "sha512:" + hashlib.sha512(MANIFEST).hexdigest()
    _, found = play(ping_or(lambda r: manifest_answer()), lambda c, s: c.manifest(digest))
    assert found.digest == digest


def test_cut_at_any_byte():
    """Whatever is missing, the next try gets it; when it is always missing, one error says so."""
    whole = manifest_answer()
    cuts = [0, 1, 8, 9, *range(10, len(whole), 7), len(whole) - 1]

    async def scenario(client, server):
        for cut in cuts:
            state["cut"] = cut
            assert (await client.manifest("1")).data == MANIFEST
        state["always"] = True
        for cut in cuts[::4]:
            state["cut"] = cut
            with pytest.raises(Passing, match=r"tried 5 times"):
                await client.manifest("1")

    state = {"cut": 0, "always": False}

    def respond(request):
        if request.target == "/v2/":
            return answer()
        if state["cut"] is None:
            return whole
        found = whole[: state["cut"]]
        if not state["always"]:
            state["cut"] = None
        return found or None

    play(respond, scenario)


def turns(*replies: bytes):
    left = list(replies)
    return ping_or(lambda r: left.pop(0) if len(left) > 1 else left[0])


def test_busy_then_well():
    replies = [answer(status) for status in (500, 502, 503, 504)]
    server, found = play(turns(*replies, manifest_answer()), lambda c, s: c.manifest("1"))
    assert found.data == MANIFEST
    assert len(server.requests) == 6


def test_always_busy():
    async def scenario(client, server):
        with pytest.raises(Passing, match=r"status 503 \(tried 5 times\)"):
            await client.manifest("1")
        assert len(server.requests) == 6

    play(turns(answer(503)), scenario)


def test_rate_limits(monkeypatch):
    waits = []
    real = asyncio.sleep

    async def sleep(seconds):
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr(transport_module.asyncio, "sleep", sleep)
    limited = answer(
        429,
        b'{"errors":[{"code":"TOOMANYREQUESTS"}]}',
        Retry_After="3",
        RateLimit_Limit="100;w=21600",
        RateLimit_Remaining="0;w=21600",
    )
    _, found = play(turns(limited, manifest_answer()), lambda c, s: c.manifest("1"))
    assert found.data == MANIFEST
    assert waits == [3.0]

    async def scenario(client, server):
        with pytest.raises(RateLimited, match=r"TOOMANYREQUESTS.*ratelimit-limit 100;w=21600") as caught:
            await client.manifest("1")
        assert caught.value.limits == {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}
        assert "box login" in caught.value.hint

    play(turns(limited), scenario)
    waits.clear()
    error = play(turns(answer(429, Retry_After="7200")), lambda c, s: _raises(RateLimited, c.manifest("1")))[1]
    assert waits == []
    assert "7200 s" in error.hint


async def _raises(error, awaitable):
    with pytest.raises(error) as caught:
        await awaitable
    return caught.value


def test_waits_double_and_vary():
    tries, waits = transport_module.Tries(1.0), []

    async def scenario():
        real, transport_module.asyncio.sleep = asyncio.sleep, lambda seconds: waits.append(seconds) or real(0)
        try:
            for _ in range(4):
                await tries.pause(Passing("x"))
            with pytest.raises(Passing, match="tried 5 times"):
                await tries.pause(Passing("x"))
        finally:
            transport_module.asyncio.sleep = real

    asyncio.run(scenario())
    assert all(0.5 * 2**n <= wait <= 2**n for n, wait in enumerate(waits))


def test_nobody_listens():
    async def scenario(client, server):
        server.server.close()
        await server.server.wait_closed()
        error = await _raises(Passing, client.ping())
        assert "tried 5 times" in error.message
        assert server.host in error.message

    play(ping_or(None), scenario)


def test_no_plain_http_elsewhere(monkeypatch):
    """Only insecure endpoints and loopback may do without TLS."""
    monkeypatch.setattr(transport_module, "on_loopback", lambda host: False)
    server, error = play(lambda r: answer(), lambda c, s: _raises(Passing, c.ping()))
    assert server.requests == []
    assert "insecure" in error.hint
    server, _ = play(lambda r: answer(), lambda c, s: c.ping(), insecure=True)
    assert len(server.requests) == 2


def test_a_name_that_does_not_exist():
    async def run():
        async with Client(Endpoint("no-such-host.invalid", "x"), Given(None), backoff=0.001) as client:
            with pytest.raises(BoxshipError, match=r"no-such-host\.invalid"):
                await client.ping()

    asyncio.run(run())


# blobs


def blob_answer(request: Request, data: bytes = BLOB, **more: object) -> bytes:
    wanted = request.headers.get("range", "")
    if not wanted:
        return answer(200, data, **more)
    first = int(wanted.removeprefix("bytes=").removesuffix("-"))
    if first >= len(data):
        return answer(416, b"", Content_Range=f"bytes */{len(data)}")
    return answer(206, data[first:], Content_Range=f"bytes {first}-{len(data) - 1}/{len(data)}", **more)


def test_blob_from_an_offset():
    async def scenario(client, server):
        assert await all_of(client.blob(BLOB_DIGEST)) == BLOB
        assert "range" not in server.requests[-1].headers
        assert await all_of(client.blob(BLOB_DIGEST, 1000, len(BLOB))) == BLOB[1000:]
        assert server.requests[-1].headers["range"] == "bytes=1000-"
        assert await all_of(client.blob(BLOB_DIGEST, len(BLOB))) == b""
        assert await all_of(client.blob(BLOB_DIGEST, len(BLOB), len(BLOB))) == b""
        await _raises(RegistryError, all_of(client.blob(BLOB_DIGEST, len(BLOB) + 1)))
        await _raises(ImageError, all_of(client.blob(BLOB_DIGEST, 0, 2999)))
        await _raises(Passing, all_of(client.blob(BLOB_DIGEST, 0, 3001)))

    play(ping_or(blob_answer), scenario)


def test_blob_where_range_is_ignored():
    async def scenario(client, server):
        assert await all_of(client.blob(BLOB_DIGEST, 1000)) == BLOB[1000:]
        assert "before byte 4000" in (await _raises(Passing, all_of(client.blob(BLOB_DIGEST, 4000)))).message

    play(ping_or(lambda r: answer(200, BLOB)), scenario)


@pytest.mark.parametrize(
    "content_range", [None, "bytes 2000-2999/3000", "bytes -1-2/3", "bytes x", "items 1-2/3", f"bytes {'9' * 40}-"]
)
def test_blob_of_another_range(content_range):
    async def scenario(client, server):
        await _raises(RegistryError, all_of(client.blob(BLOB_DIGEST, 1000)))

    play(ping_or(lambda r: answer(206, BLOB[2000:], Content_Range=content_range)), scenario)


def test_blob_of_an_earlier_range():
    reply = answer(206, BLOB[500:], Content_Range="bytes 500-2999/3000")
    _, found = play(ping_or(lambda r: reply), lambda c, s: all_of(c.blob(BLOB_DIGEST, 1000)))
    assert found == BLOB[1000:]


def test_blob_cut_again_and_again():
    """Each connection gives 100 bytes and breaks: more tries than five, and none of them in vain."""

    def respond(request):
        head, _, body = blob_answer(request).partition(b"\r\n\r\n")
        return head + b"\r\n\r\n" + body[:100]

    server, found = play(ping_or(respond), lambda c, s: all_of(c.blob(BLOB_DIGEST, 0, len(BLOB))))
    assert found == BLOB
    assert len(server.requests) == 31


@pytest.mark.parametrize("length", [0, 1, 1500, 2999])
def test_lying_content_length(length):
    """Too short: the size tells, and the rest is asked for. Too long is a connection that breaks."""

    def respond(request):
        return blob_answer(request, Content_Length=length) if "range" not in request.headers else blob_answer(request)

    if length == 0:
        play(ping_or(respond), lambda c, s: _raises(Passing, all_of(c.blob(BLOB_DIGEST, 0, len(BLOB)))))
        return
    _, found = play(ping_or(respond), lambda c, s: all_of(c.blob(BLOB_DIGEST, 0, len(BLOB))))
    assert found == BLOB


def test_content_length_too_long():
    play(
        ping_or(lambda r: answer(200, BLOB, Content_Length=5000)),
        lambda c, s: _raises(BoxshipError, all_of(c.blob(BLOB_DIGEST, 0, 5000))),
    )


def test_leaving_a_blob_early():
    async def scenario(client, server):
        async with contextlib.aclosing(client.blob(BLOB_DIGEST)) as parts:
            async for part in parts:
                assert part
                break
        assert (await client.manifest("1")).data == MANIFEST

    play(ping_or(lambda r: manifest_answer() if "manifests" in r.path else blob_answer(r)), scenario)


# redirects and tokens


def with_basic(reply):
    """A registry that wants Basic u:p."""

    def respond(request):
        if request.headers.get("authorization") != "Basic " + packed("u:p"):
            return answer(401, WWW_Authenticate='Basic realm="x"')
        return answer() if request.target == "/v2/" else reply(request)

    return respond


def test_redirects_carry_no_credentials():
    async def run():
        async with Server(blob_answer) as storage:
            where = {}

            def reply(request):
                if request.path.startswith("/v2/you/app/blobs/"):
                    return answer(307, Location="/elsewhere/at/home")
                if request.path == "/elsewhere/at/home":
                    return answer(302, Location=f"http://{storage.host}/storage?signed=1")
                return None

            async with Server(with_basic(reply)) as server:
                where["registry"] = server.host
                async with Client(
                    Endpoint(server.host, "you/app"), Given(Credential("u", "p")), backoff=0.001
                ) as client:
                    assert await all_of(client.blob(BLOB_DIGEST, 7)) == BLOB[7:]
            assert "authorization" in server.requests[-1].headers
            assert [r.target for r in storage.requests] == ["/storage?signed=1"]
            assert "authorization" not in storage.requests[0].headers
            assert storage.requests[0].headers["range"] == "bytes=7-"

    asyncio.run(run())


def test_redirected_back_is_still_a_stranger():
    async def run():
        async with Server(lambda r: answer(302, Location=f"http://{places['home']}/v2/secret")) as away:

            def reply(request):
                return (
                    answer(302, Location=f"http://{away.host}/") if "blobs" in request.path else answer(200, b"secret")
                )

            async with Server(with_basic(reply)) as server:
                places["home"] = server.host
                async with Client(
                    Endpoint(server.host, "you/app"), Given(Credential("u", "p")), backoff=0.001
                ) as client:
                    await _raises(PermissionDenied, all_of(client.blob(BLOB_DIGEST)))

    places = {}
    asyncio.run(run())


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/v2/round", "more than 10 redirects"),
        ("ftp://x.example/", "not of http"),
        ("file:///etc/passwd", "not of http"),
        ("http://[::", None),
        ("http://x..y/", None),
        ("http://a b/", None),
        ("//", None),
    ],
)
def test_redirects_to_nowhere(location, words):
    error = play(
        ping_or(lambda r: answer(302, Location=location)), lambda c, s: _raises(BoxshipError, c.manifest("1"))
    )[1]
    assert words is None or words in error.message
    assert error.message.isprintable()


def token_registry(tokens, server_of, *, service="registry.test"):
    """A registry with its token server at /token of the same host; ``tokens`` says what a token request gets."""

    def respond(request):
        if request.path == "/token":
            return tokens(request)
        if request.headers.get("authorization") != "Bearer good":
            realm = f"http://{server_of()}/token"
            return answer(
                401, WWW_Authenticate=f'Bearer realm="{realm}",service="{service}",scope="repository:you/app:pull"'
            )
        return answer() if request.target == "/v2/" else manifest_answer()

    return respond


def play_tokens(tokens, scenario, finder=None):
    hosts = []

    async def outer(client, server):
        hosts.append(server.host)
        return await scenario(client, server)

    return play(token_registry(tokens, lambda: hosts[0]), outer, finder=finder)


def test_token():
    server, found = play_tokens(
        lambda r: answer(200, b'{"token": "good"}'), lambda c, s: c.manifest("1"), Given(Credential("u", "p"))
    )
    assert found.data == MANIFEST
    asked = [r for r in server.requests if r.path == "/token"]
    assert len(asked) == 1
    assert asked[0].headers["authorization"] == "Basic " + packed("u:p")
    assert urllib.parse.parse_qs(asked[0].query) == {
        "service": ["registry.test"],
        "scope": ["repository:you/app:pull"],
        "account": ["u"],
        "client_id": ["boxship"],
    }


def test_token_of_strangers():
    server, _ = play_tokens(lambda r: answer(200, b'{"access_token": "good"}'), lambda c, s: c.manifest("1"))
    assert all("Basic" not in r.headers.get("authorization", "") for r in server.requests)


def test_identity_token():
    server, _ = play_tokens(
        lambda r: answer(200, b'{"access_token": "good"}'),
        lambda c, s: c.manifest("1"),
        Given(Credential("u", "", "id token&")),
    )
    asked = next(r for r in server.requests if r.path == "/token")
    assert asked.method == "POST"
    assert urllib.parse.parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": ["boxship"],
        "refresh_token": ["id token&"],
        "service": ["registry.test"],
        "scope": ["repository:you/app:pull"],
    }
    assert "authorization" not in asked.headers


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(200, b'{"token": "wrong"}'), PermissionDenied),
        (answer(200, b"{}"), RegistryError),
        (answer(200, b"<html>"), RegistryError),
        (answer(200, b'{"token": "a\\r\\nX-Evil: 1"}'), RegistryError),
        (answer(401, b'{"details": "incorrect username or password"}'), PermissionDenied),
        (answer(200, b"x" * (2 << 20)), RegistryError),
        (answer(500), Passing),
        (None, Passing),
        (answer(302, Location="/token"), RegistryError),
    ],
)
def test_wrong_tokens(reply, error):
    server, found = play_tokens(
        lambda r: reply, lambda c, s: _raises(error, c.manifest("1")), Given(Credential("u", "p-secret"))
    )
    assert "p-secret" not in found.message + found.hint
    assert len(server.requests) < 30


def test_a_token_that_runs_out():
    given = []

    def tokens(request):
        given.append(1)
        return answer(200, b'{"token": "bad"}' if len(given) == 1 else b'{"token": "good"}')

    _, found = play_tokens(tokens, lambda c, s: c.manifest("1"))
    assert found.data == MANIFEST


@pytest.mark.parametrize("realm", ["http://auth.example/token", "ftp://x/", "", "http://[", "https://"])
def test_realms_that_get_no_password(realm, monkeypatch):
    """A password never goes to plain http, unless the registry may be spoken to so."""

    async def scenario(client, server):
        await client.transport.base()
        client.transport.insecure = False
        await _raises(BoxshipError, client.manifest("1"))

    respond = lambda r: answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')  # noqa: E731
    play(respond, scenario, finder=Given(Credential("u", "p")))


def test_ping_and_login():
    play(with_basic(lambda r: None), lambda c, s: c.ping(), finder=Given(Credential("u", "p")))
    error = play(
        with_basic(lambda r: None), lambda c, s: _raises(PermissionDenied, c.ping()), finder=Given(Credential("u", "x"))
    )[1]
    assert "box login" in error.hint
    play(lambda r: answer(404), lambda c, s: _raises(NotFound, c.ping()))


# lists


def test_tags_in_pages():
    def respond(request):
        if "last=b" in request.query:
            return answer(200, b'{"tags": ["c"]}')
        return answer(200, b'{"tags": ["a", "b"]}', Link='</v2/you/app/tags/list?last=b&n=2>; rel="next"')

    server, found = play(ping_or(respond), lambda c, s: c.tags())
    assert found == ["a", "b", "c"]
    assert server.requests[-1].target == "/v2/you/app/tags/list?last=b&n=2"
    assert play(ping_or(lambda r: answer(200, b'{"tags": null}')), lambda c, s: c.tags())[1] == []


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, b'{"tags": ["a"]}', Link='</v2/you/app/tags/list?n=1000>; rel="next"'),
        answer(200, b'{"tags": ["a"]}', Link='<http://other.example/v2/>; rel="next"'),
        answer(200, b'{"tags": [1]}'),
        answer(200, b'{"tags": {}, "x": 1}'[:-3] + b'1}'),
        answer(200, b"[]"),
        answer(200, b"{"),
        answer(200, b'{"tags": "abc"}'),
    ],
)  # fmt: skip
def test_tags_that_are_wrong(reply):
    play(ping_or(lambda r: reply), lambda c, s: _raises(BoxshipError, c.tags()))


def test_referrers():
    entry = {"mediaType": media.MANIFEST, "digest": DIGEST, "size": 3, "artifactType": "a/sbom"}
    index = json.dumps({"mediaType": media.INDEX, "manifests": [entry, entry | {"artifactType": "a/sig"}]}).encode()
    server, found = play(ping_or(lambda r: answer(200, index)), lambda c, s: c.referrers(DIGEST, "a/sbom"))
    assert [(r.descriptor.digest, r.artifact_type) for r in found] == [(DIGEST, "a/sbom")]
    assert server.requests[-1].target == f"/v2/you/app/referrers/{DIGEST}?artifactType=a%2Fsbom"

    def older(request):
        if "/referrers/" in request.path:
            return answer(404)
        assert request.path.endswith("/manifests/" + DIGEST.replace(":", "-"))
        return answer(200, index, Content_Type=media.INDEX)

    assert len(play(ping_or(older), lambda c, s: c.referrers(DIGEST))[1]) == 2
    assert play(ping_or(lambda r: answer(404)), lambda c, s: c.referrers(DIGEST))[1] == []
    play(ping_or(lambda r: answer(200, b'{"manifests": [1]}')), lambda c, s: _raises(ImageError, c.referrers(DIGEST)))


def test_search():
    results = [
        {"name": "nginx", "description": "a\x1b[2J b", "star_count": 9, "is_official": True},
        {"x": 1},
        {"name": "you/nginx"},
    ]

    def hub(request):
        assert request.target == "/v1/search?q=ngi%20nx&n=2"
        return answer(200, json.dumps({"results": results}).encode())

    _, found = play(ping_or(hub), lambda c, s: c.search("ngi nx", 2))
    assert [(f.name, f.description, f.stars, f.official) for f in found] == [
        ("nginx", "a [2J b", 9, True),
        ("you/nginx", "", 0, False),
    ]

    def catalogue(request):
        return answer(404) if request.path == "/v1/search" else answer(200, b'{"repositories": ["a/x", "b", "c/x"]}')

    _, found = play(ping_or(catalogue), lambda c, s: c.search("X", 5))
    assert [f.name for f in found] == ["a/x", "c/x"]


def test_search_at_docker_hub(monkeypatch):
    """At another host, and as nobody."""

    def hub(request):
        assert "authorization" not in request.headers
        if request.path == "/v1/search":
            return answer(200, b'{"results": [{"name": "debian", "is_official": true}]}')
        return answer(401, WWW_Authenticate='Bearer realm="https://auth.example/token"')

    async def scenario(client, server):
        monkeypatch.setattr("boxship.image.registry.search._HUB_INDEX", server.host)
        async with Client(Endpoint("docker.io", ""), Given(Credential("u", "p"))) as at_hub:
            assert at_hub.transport.host == "registry-1.docker.io"
            assert [f.name for f in await at_hub.search("debian")] == ["debian"]

    play(hub, scenario)


def test_head():
    head = answer(200, b"", Content_Type=media.MANIFEST, Docker_Content_Digest=DIGEST, Content_Length=77)
    assert play(ping_or(lambda r: head), lambda c, s: c.head("1"))[1] == Descriptor(media.MANIFEST, DIGEST, 77)
    bare = lambda r: manifest_answer() if r.method == "GET" else answer(200, Content_Type=media.MANIFEST)  # noqa: E731
    assert play(ping_or(bare), lambda c, s: c.head("1"))[1] == Descriptor(
        media.MANIFEST, digest_of(MANIFEST), len(MANIFEST)
    )
    lie = answer(200, b"", Docker_Content_Digest="sha256:x", Content_Length=7)
    play(ping_or(lambda r: lie), lambda c, s: _raises(RegistryError, c.head("1")))


# uploads


class Uploads:
    """A registry that takes uploads, and can be told to fail."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.sessions: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.fail = lambda request: None
        self.keep_partial = True

    def __call__(self, request: Request) -> bytes | None:
        if request.target == "/v2/":
            return answer()
        if (found := self.fail(request)) is not None:
            return found
        if request.method == "HEAD":
            return answer(200 if request.path.rpartition("/")[2] in self.blobs else 404)
        if request.method == "POST":
            name = f"s{len(self.sessions)}"
            self.sessions[name] = b""
            return answer(202, Location=f"/v2/you/app/blobs/uploads/{name}?_state=x%2Fy%3D")
        name = request.path.rpartition("/")[2]
        if name not in self.sessions:
            return answer(404)
        return self.session(request, name)

    def session(self, request: Request, name: str) -> bytes | None:
        where = {"Location": f"/v2/you/app/blobs/uploads/{name}?_state=x%2Fy%3D"}
        assert request.query.startswith("_state=x%2Fy%3D")
        if request.method == "GET":
            return answer(204, **where, Range=f"0-{max(0, len(self.sessions[name]) - 1)}")
        if request.method == "DELETE":
            self.deleted.append(name)
            return answer(204)
        if request.method == "PATCH":
            start, _, end = request.headers["content-range"].partition("-")
            if int(start) != len(self.sessions[name]):
                return answer(416)
            assert int(end) - int(start) + 1 == len(request.body)
        self.sessions[name] += request.body
        if request.method == "PATCH":
            return answer(202, **where, Range=f"0-{len(self.sessions[name]) - 1}")
        digest = urllib.parse.parse_qs(request.query)["digest"][0]
        if digest_of(self.sessions[name]) != digest:
            return answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
        self.blobs[digest] = self.sessions[name]
        return answer(201)


class Opener:
    def __init__(self, data: bytes) -> None:
        self.data, self.offsets, self.files = data, [], []

    def __call__(self, offset: int) -> io.BytesIO:
        self.offsets.append(offset)
        self.files.append(io.BytesIO(self.data[offset:]))
        return self.files[-1]


def sending(data: bytes = BLOB):
    opener = Opener(data)
    return opener, lambda c, s: c.upload(Descriptor(media.LAYER, digest_of(data), len(data)), opener)


@pytest.mark.parametrize("data", [BLOB, b"", b"x", BLOB * 1000], ids=["small", "empty", "one", "3 MB"])
def test_upload(data):
    registry, (opener, scenario) = Uploads(), sending(data)
    server, _ = play(registry, scenario)
    assert registry.blobs == {digest_of(data): data}
    assert [r.method for r in server.requests] == ["GET", "POST", "PUT"]
    assert all(file.closed for file in opener.files)


def test_upload_resumed(monkeypatch):
    monkeypatch.setattr("boxship.image.registry.upload.CHUNK", 700)
    registry, (opener, scenario) = Uploads(), sending()

    def fail(request):
        if request.method == "PUT" and request.body and not registry.sessions["s0"]:
            registry.sessions["s0"] = request.body[:1234]
            return answer(503)
        return None

    registry.fail = fail
    server, _ = play(registry, scenario)
    assert registry.blobs == {BLOB_DIGEST: BLOB}
    assert [r.method for r in server.requests] == [
        "GET",
        "POST",
        "PUT",
        "HEAD",
        "GET",
        "PATCH",
        "PATCH",
        "PATCH",
        "PUT",
    ]
    assert opener.offsets == [0, 1234, 1934, 2634]


def test_upload_when_only_the_answer_was_lost():
    registry, (_, scenario) = Uploads(), sending()

    def fail(request):
        if request.method == "PUT":
            registry.blobs[BLOB_DIGEST] = request.body
            return b""
        return None

    registry.fail = fail
    server, _ = play(registry, scenario)
    assert [r.method for r in server.requests] == ["GET", "POST", "PUT", "HEAD"]


@pytest.mark.parametrize("session", ["lost", "silent", "one byte"])
def test_upload_begun_anew(session):
    registry, (_, scenario) = Uploads(), sending()

    def fail(request):
        if request.method == "PUT" and request.path.endswith("s0"):
            return answer(500)
        if request.method == "GET":
            return {"lost": answer(404), "silent": answer(204), "one byte": answer(204, Range="0-0")}[session]
        return None

    registry.fail = fail
    play(registry, scenario)
    assert registry.blobs == {BLOB_DIGEST: BLOB}


def test_upload_that_was_resumed_wrongly():
    """What the registry keeps is not what it was sent: everything once more, and it goes well."""
    registry, (_, scenario) = Uploads(), sending()

    def fail(request):
        if request.method == "PUT" and request.body and not registry.sessions["s0"]:
            registry.sessions["s0"] = b"?" * 1000
            return answer(502)
        return None

    registry.fail = fail
    play(registry, scenario)
    assert registry.blobs == {BLOB_DIGEST: BLOB}
    assert registry.deleted == ["s0"]


def test_upload_too_large_for_a_proxy(monkeypatch):
    monkeypatch.setattr("boxship.image.registry.upload.CHUNK", 1000)
    registry, (_, scenario) = Uploads(), sending()
    registry.fail = lambda r: answer(413) if len(r.body) > 1000 else None
    server, _ = play(registry, scenario)
    assert registry.blobs == {BLOB_DIGEST: BLOB}
    assert registry.deleted == ["s0"]
    assert [r.headers["content-range"] for r in server.requests if r.method == "PATCH"] == [
        "0-999",
        "1000-1999",
        "2000-2999",
    ]
    registry.fail = lambda r: answer(413) if r.body else None
    play(registry, lambda c, s: _raises(wrong.TooLarge, scenario(c, s)))


def test_upload_refused():
    registry, (_, _) = Uploads(), sending()
    wrong_bytes = Opener(b"y" * len(BLOB))
    blob = Descriptor(media.LAYER, BLOB_DIGEST, len(BLOB))
    error = play(registry, lambda c, s: _raises(RegistryError, c.upload(blob, wrong_bytes)))[1]
    assert "DIGEST_INVALID" in error.message
    short = Opener(BLOB[:100])
    error = play(registry, lambda c, s: _raises(ImageError, c.upload(blob, short)))[1]
    assert "2900 bytes early" in error.message

    def broken(offset):
        raise FileNotFoundError(2, "gone", "blobs/x")

    play(registry, lambda c, s: _raises(BoxshipError, c.upload(blob, broken)))
    assert all(file.closed for file in (*wrong_bytes.files, *short.files))
    registry.fail = lambda r: answer(500) if r.method == "PUT" else None
    play(registry, lambda c, s: _raises(Passing, c.upload(blob, Opener(BLOB))))


def test_upload_of_which_the_connection_breaks():
    registry, (_, scenario) = Uploads(), sending(BLOB * 2000)

    async def breaking(client, server):
        await client.ping()
        await client.transport.base()
        original = registry.__call__

        def respond(request):
            if request.method == "POST":
                server.most_body = 1000  # the next request is read that far, then the line goes dead
            return original(request)

        server.respond = respond
        state = {"left": 2}

        def count(request):
            if request.method == "POST":
                state["left"] -= 1
                if state["left"] == 0:
                    server.respond = original
            return respond(request)

        server.respond = count
        await scenario(client, server)

    play(registry, breaking)
    assert registry.blobs == {digest_of(BLOB * 2000): BLOB * 2000}


def test_mount():
    def respond(request):
        if request.method == "DELETE":
            return answer(405)
        assert urllib.parse.parse_qs(request.query) == {"mount": [DIGEST], "from": ["other/app"]}
        return reply

    reply = answer(201)
    assert play(ping_or(respond), lambda c, s: c.mount(DIGEST, "other/app"))[1] is True
    reply = answer(202, Location="/v2/you/app/blobs/uploads/u1")
    server, mounted = play(ping_or(respond), lambda c, s: c.mount(DIGEST, "other/app"))
    assert mounted is False
    assert (server.requests[-1].method, server.requests[-1].target) == ("DELETE", "/v2/you/app/blobs/uploads/u1")
    play(ping_or(respond), lambda c, s: _raises(InvalidRequest, c.mount(DIGEST, "x&mount=y")))


def test_put_manifest():
    digest = digest_of(MANIFEST)
    server, found = play(
        ping_or(lambda r: answer(201, Docker_Content_Digest=digest)),
        lambda c, s: c.put_manifest("1", MANIFEST, media.MANIFEST),
    )
    assert found == digest
    assert (server.requests[-1].method, server.requests[-1].body) == ("PUT", MANIFEST)
    assert server.requests[-1].headers["content-type"] == media.MANIFEST
    play(
        ping_or(lambda r: answer(201, Docker_Content_Digest=DIGEST)),
        lambda c, s: _raises(RegistryError, c.put_manifest("1", MANIFEST, media.MANIFEST)),
    )
    play(
        ping_or(lambda r: answer(201)),
        lambda c, s: _raises(InvalidRequest, c.put_manifest(DIGEST, MANIFEST, media.MANIFEST)),
    )


def test_delete_and_has_blob():
    server, _ = play(ping_or(lambda r: answer(202)), lambda c, s: c.delete(DIGEST))
    assert (server.requests[-1].method, server.requests[-1].target) == ("DELETE", f"/v2/you/app/manifests/{DIGEST}")
    error = play(ping_or(lambda r: answer(405)), lambda c, s: _raises(Unsupported, c.delete("1")))[1]
    assert "deleted" in error.hint
    assert play(ping_or(lambda r: answer(200)), lambda c, s: c.has_blob(DIGEST))[1] is True
    assert play(ping_or(lambda r: answer(404)), lambda c, s: c.has_blob(DIGEST))[1] is False
    play(ping_or(lambda r: answer(403)), lambda c, s: _raises(PermissionDenied, c.has_blob(DIGEST)))


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200) | st.binary(max_size=120).map(lambda b: b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n" + b)
)
def test_any_bytes_are_an_answer_or_an_error(data):
    async def scenario(client, server):
        client.transport._backoff = 0
        with contextlib.suppress(BoxshipError):
            await client.manifest("1")

    play(ping_or(lambda r: data), scenario)
