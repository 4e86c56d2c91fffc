# SPDX-License-Identifier: Apache-2.0
"""The registry client with Debian's docker-registry, and with skopeo at the same registry."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import pathlib
import random
import re
import subprocess
import tarfile
import threading

import pytest

from boxship.errors import BoxshipError, NotFound, PermissionDenied
from boxship.image import media
from boxship.image.media import Descriptor
from boxship.image.reference import parse
from boxship.image.registry.client import Client, digest_of
from boxship.image.registry.credentials import Credential, Credentials, Given
from boxship.image.registry.errors import RegistryError
from boxship.image.registry.settings import Endpoint, Settings
from support import run

LARGE = random.Random(7).randbytes(9 << 20)


class Registry:
    """A docker-registry on a free port of loopback, ended with the test."""

    def __init__(self, folder: pathlib.Path, *, http: dict | None = None, auth: dict | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "version": 0.1,
            "log": {"level": "info", "formatter": "text"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": "127.0.0.1:0", **(http or {})},
        } | ({"auth": auth} if auth else {})
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        self.log: list[str] = []
        self.process = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
        self.port = self._port()
        self.host = f"127.0.0.1:{self.port}"
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stdout), daemon=True)
        self.reader.start()

    def _port(self) -> int:
        for line in self.process.stdout:
            self.log.append(line)
            if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                return int(found[1])
        raise AssertionError("docker-registry ended:\n" + "".join(self.log))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Nobody's credentials but the test's own."""
    for name in ("XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, path in (("HOME", tmp_path / "home"), ("XDG_RUNTIME_DIR", tmp_path / "run")):
        path.mkdir()
        monkeypatch.setenv(name, str(path))


@pytest.fixture
def serve(tmp_path):
    """Start registries; they end with the test."""
    started: list[Registry] = []

    def start(**more) -> Registry:
        started.append(Registry(tmp_path / f"registry{len(started)}", **more))
        return started[-1]

    yield start
    for registry in started:
        registry.stop()


def client(host: str, path: str = "you/app", finder=None) -> Client:
    return Client(Endpoint(host, path), finder or Given(None), backoff=0.01)


def blob(data: bytes, kind: str = f"{media.LAYER}+gzip") -> Descriptor:
    return Descriptor(kind, digest_of(data), len(data))


async def send(to: Client, data: bytes) -> None:
    await to.upload(blob(data), lambda offset: io.BytesIO(data[offset:]))


async def all_of(iterator) -> bytes:
    return b"".join([part async for part in iterator])


def image() -> tuple[bytes, bytes, bytes]:
    """Manifest, configuration and layer of a small image."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"world"))
    layer = gzip.compress(packed.getvalue(), mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(packed.getvalue())]},
        }
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": blob(config, media.CONFIG).as_json(),
        "layers": [blob(layer).as_json()],
    }
    return json.dumps(manifest).encode(), config, layer


async def push(to: Client, tag: str) -> str:
    manifest, config, layer = image()
    for data in (config, layer):
        await send(to, data)
    return await to.put_manifest(tag, manifest, media.MANIFEST)


def test_push_and_pull(serve):
    manifest, config, layer = image()

    async def scenario():
        async with client(serve().host) as c:
            await c.ping()
            assert not await c.has_blob(digest_of(layer))
            for data in (config, layer, LARGE, b""):
                await send(c, data)
                assert await c.has_blob(digest_of(data))
                assert await all_of(c.blob(digest_of(data), 0, len(data))) == data
            assert await all_of(c.blob(digest_of(LARGE), 5 << 20, len(LARGE))) == LARGE[5 << 20 :]
            digest = await c.put_manifest("1.0", manifest, media.MANIFEST)
            assert digest == digest_of(manifest)
            for reference in ("1.0", digest):
                found = await c.manifest(reference)
                assert (found.data, found.digest, found.media_type) == (manifest, digest, media.MANIFEST)
                assert await c.head(reference) == Descriptor(media.MANIFEST, digest, len(manifest))
            with pytest.raises(NotFound, match=r"image 127\.0\.0\.1:\d+/you/app:2: .*MANIFEST_UNKNOWN"):
                await c.manifest("2")
            with pytest.raises(NotFound):
                await all_of(c.blob("sha256:" + "0" * 64))

    asyncio.run(scenario())


def test_mount_tags_delete_search(serve, monkeypatch):
    monkeypatch.setattr("boxship.image.registry.search._PAGE", 1)
    layer = image()[2]

    async def scenario():
        host = serve().host
        async with client(host) as c, client(host, "me/other") as other:
            await send(c, layer)
            assert await other.mount(digest_of(layer), "you/app")
            assert await all_of(other.blob(digest_of(layer))) == layer
            assert not await other.mount("sha256:" + "0" * 64, "you/app")
            with pytest.raises(NotFound):
                await other.tags()
            names = [f"v{n:04}" for n in range(12)]
            digest = await push(c, names[0])
            for name in names[1:]:
                await c.put_manifest(name, image()[0], media.MANIFEST)
            assert sorted(await c.tags()) == names
            assert await c.referrers(digest) == []
            assert [f.name for f in await c.search("app")] == ["you/app"]
            assert [f.name for f in await c.search("o")] == ["me/other", "you/app"]  # in pages of one
            await c.delete(digest)
            with pytest.raises(NotFound):
                await c.manifest(names[0])
            with pytest.raises(BoxshipError):
                await c.delete("by-tag")

    asyncio.run(scenario())


def test_manifest_without_its_blobs(serve):
    async def scenario():
        async with client(serve().host) as c:
            with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
                await c.put_manifest("1", image()[0], media.MANIFEST)

    asyncio.run(scenario())


class Cut:
    """A proxy before a registry that breaks the first ``times`` connections after so many bytes up or down."""

    def __init__(self, port: int, *, up: int = 1 << 40, down: int = 1 << 40, times: int = 1) -> None:
        self.port, self.up, self.down, self.times, self.broken = port, up, down, times, 0
        self.tasks: set[asyncio.Task] = set()

    async def __aenter__(self) -> str:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_) -> None:
        self.server.close()
        await asyncio.gather(*self.tasks)
        await self.server.wait_closed()

    async def serve(self, reader, writer) -> None:
        self.tasks.add(asyncio.current_task())
        away_reader, away_writer = await asyncio.open_connection("127.0.0.1", self.port)
        copies = [
            asyncio.create_task(self.copy(reader, away_writer, self.up)),
            asyncio.create_task(self.copy(away_reader, writer, self.down)),
        ]
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        for task in copies:
            task.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        for each in (writer, away_writer):
            each.close()
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()

    async def copy(self, reader, writer, most: int) -> None:
        passed = 0
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                passed += len(part)
                if passed > most and self.broken < self.times:
                    self.broken += 1
                    return
                writer.write(part)
                await writer.drain()


def test_a_pull_that_is_cut_goes_on(serve):
    async def scenario():
        registry = serve()
        async with client(registry.host) as c:
            await send(c, LARGE)
        proxy = Cut(registry.port, down=2 << 20, times=3)
        async with proxy as host, client(host) as c:
            assert await all_of(c.blob(digest_of(LARGE), 0, len(LARGE))) == LARGE
        assert proxy.broken == 3
        asked = [line for line in registry.log if "GET" in line and "/blobs/" in line and "206" in line]
        assert len(asked) >= 2

    asyncio.run(scenario())


def test_a_push_that_is_cut_arrives(serve):
    async def scenario():
        registry = serve()
        proxy = Cut(registry.port, up=3 << 20, times=2)
        async with proxy as host, client(host) as c:
            await send(c, LARGE)
        assert proxy.broken >= 1
        async with client(registry.host) as c:
            assert await all_of(c.blob(digest_of(LARGE))) == LARGE

    asyncio.run(scenario())


@pytest.fixture
def tls(tmp_path):
    """An authority, and what it has signed for 127.0.0.1."""
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    new = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    for argv in (
        ("req", "-x509", *new, "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt"),
        ("req", *new[:3], "-subj", "/CN=127.0.0.1", "-keyout", "s.key", "-out", "s.csr"),
        ("x509", "-req", "-in", "s.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "s.crt"),
    ):  # fmt: skip
        done = run("openssl", *argv, cwd=folder)
        assert done.code == 0, done
    return folder


def test_tls(serve, tls, tmp_path, monkeypatch):
    registry = serve(http={"tls": {"certificate": str(tls / "s.crt"), "key": str(tls / "s.key")}})
    trusted = tmp_path / "home/.config/containers/certs.d"

    async def scenario():
        async with client(registry.host) as c:  # loopback: not checked, as with Docker
            await push(c, "1")
            assert str(await c.transport.base()).startswith("https://")
        (trusted / registry.host).mkdir(parents=True)
        (trusted / registry.host / "ca.crt").write_bytes((tls / "ca.crt").read_bytes())
        async with client(registry.host) as c:
            assert (await c.manifest("1")).data == image()[0]
            assert not c.transport.insecure
        other = serve()
        (trusted / other.host).mkdir()
        (trusted / other.host / "ca.crt").write_bytes((tls / "ca.crt").read_bytes())
        async with client(other.host) as c:  # who gives an authority wants TLS
            with pytest.raises(RegistryError, match="tried 5 times"):
                await c.ping()
        monkeypatch.setattr("boxship.image.registry.transport.on_loopback", lambda host: False)
        (trusted / registry.host / "ca.crt").unlink()
        async with client(registry.host) as c:
            with pytest.raises(RegistryError, match="certificate is not trusted") as caught:
                await c.ping()
            assert f"certs.d/{registry.host}/ca.crt" in caught.value.hint

    asyncio.run(scenario())


def test_login_and_logout(serve, tmp_path):
    made = run("htpasswd", "-Bbn", "user", "pass:word")
    (tmp_path / "htpasswd").write_text(made.out)
    registry = serve(auth={"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}})
    store, good = Credentials(), Credential("user", "pass:word")

    async def ping(finder) -> None:
        async with client(registry.host, "", finder) as c:
            await c.ping()

    async def scenario():
        for nobody in (Given(None), Given(Credential("user", "wrong")), store):
            with pytest.raises(PermissionDenied, match="UNAUTHORIZED") as caught:
                await ping(nobody)
            assert f"box login {registry.host}" in caught.value.hint
        await ping(Given(good))
        store.store(registry.host, good)
        await ping(store)
        async with client(registry.host, "you/app", store) as c:
            await push(c, "1")
            await send(c, LARGE)
            assert (await c.manifest("1")).data == image()[0]
        skopeo = run(
            "skopeo", "inspect", "--authfile", tmp_path / "run/containers/auth.json", "--tls-verify=false",
            "--raw", f"docker://{registry.host}/you/app:1",
        )  # fmt: skip
        assert skopeo.out.encode() == image()[0], skopeo
        store.remove(registry.host)
        with pytest.raises(PermissionDenied):
            await ping(store)
        auth = tmp_path / "run/containers/auth.json"
        done = run(
            "skopeo", "login", "--authfile", auth, "--tls-verify=false", "-u", "user", "--password-stdin", registry.host,
            stdin="pass:word",
        )  # fmt: skip
        assert done.code == 0, done
        await ping(store)

    asyncio.run(scenario())


def test_skopeo_in_and_out(serve, tmp_path):
    manifest, config, layer = image()
    layout = tmp_path / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)
    for data in (manifest, config, layer):
        (layout / "blobs/sha256" / digest_of(data).partition(":")[2]).write_bytes(data)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    named = blob(manifest, media.MANIFEST).as_json() | {"annotations": {"org.opencontainers.image.ref.name": "1"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    host = serve().host
    quiet = ("skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false")
    done = run(*quiet, f"oci:{layout}:1", f"docker://{host}/sk/app:1", timeout=120)
    assert done.code == 0, done

    async def scenario():
        reference = parse(f"{host}/sk/app:1")
        endpoint = Settings().endpoints(reference)[0]
        async with Client(endpoint, Given(None)) as c:
            found = await c.manifest(reference.wanted)
            assert found.data == manifest
            assert await all_of(c.blob(digest_of(layer), 0, len(layer))) == layer
            assert await c.tags() == ["1"]
        async with client(host, "our/app") as c:
            await push(c, "2")

    asyncio.run(scenario())
    done = run(*quiet, f"docker://{host}/our/app:2", f"oci:{tmp_path}/out:2", timeout=120)
    assert done.code == 0, done
    assert (tmp_path / "out/blobs/sha256" / digest_of(layer).partition(":")[2]).read_bytes() == layer
