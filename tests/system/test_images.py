# SPDX-License-Identifier: Apache-2.0
"""Images for real: templates, the registry, archives, other tools, hostile layers, garbage, kill -9."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import tarfile
import time
import uuid

import pytest

from support import BIN, run

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
BOX = str(BIN / "box")


@pytest.fixture
def box(tmp_path):
    """``box`` with a store of its own."""
    environment = dict(os.environ, BOXSHIP_DATA=str(tmp_path / "data"))
    return lambda *argv, **more: run(BOX, *argv, env=environment, **more)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Debian's docker-registry on loopback; its address."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    top = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(top / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "log": {"level": "error"},
    }
    (top / "config.yml").write_text(json.dumps(config))
    with open(top / "log", "wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", top / "config.yml"], stdout=log, stderr=log)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        select.select([], [], [], 0.02)
    yield f"127.0.0.1:{port}"
    server.terminate()
    server.wait(timeout=30)


def tree(tmp_path: pathlib.Path) -> bytes:
    """A small root file system with what is hard to keep, as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more: object) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime, info.mode = kind, len(data), 1_600_000_000.5, 0o755
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))

        for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "srv"):
            add(name, tarfile.DIRTYPE)
        add("bin/busybox", data=pathlib.Path("/bin/busybox").read_bytes())
        for applet in ("sh", "cat", "ls", "stat", "id", "touch", "rm", "true", "sleep", "mkdir"):
            add(f"bin/{applet}", tarfile.SYMTYPE, linkname="busybox")
        add("etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nwww:x:33:33::/srv:/bin/sh\n", mode=0o644)
        add("srv/owned", data=b"content", uid=33, gid=33, mode=0o4711)
        add("srv/hard", tarfile.LNKTYPE, linkname="srv/owned")
        add("srv/attribute", data=b"x", pax_headers={"SCHILY.xattr.user.color": "blue"})
        add("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    return out.getvalue()


@pytest.fixture
def image(box, tmp_path):
    """That root file system as an image ``small:1``."""
    (tmp_path / "root.tar").write_bytes(tree(tmp_path))
    done = box(
        "import",
        "-c",
        'CMD ["cat", "/srv/owned"]',
        "-c",
        "ENV A=b",
        "-c",
        "WORKDIR /srv",
        tmp_path / "root.tar",
        "small:1",
    )
    assert done.code == 0, done
    return "small:1"


def test_import_run_inspect(box, image):
    done = box("run", image)
    assert (done.code, done.out) == (0, "content"), done
    shown = json.loads(box("inspect", image).out)[0]
    assert shown["Config"]["WorkingDir"] == "/srv" and shown["RepoTags"] == ["small:1"]
    done = box("run", image, "sh", "-c", "echo $A; pwd; stat -c '%u:%g %a %h' owned; stat -c %F /dev/null; id -u")
    assert done.out.split()[:4] == ["b", "/srv", "33:33", "4711"], done
    assert "character" in done.out and done.out.split()[-1] == "0", done
    assert box("run", "-u", "www", image, "id", "-u").out.strip() == "33"
    assert "passwd" in box("run", "--entrypoint", "/bin/ls", image, "/etc").out.split()
    assert box("run", image, "nothing").code == 127
    assert "CREATED BY" in box("history", image).out
    assert box("images", "-q").out.strip() == shown["Id"].partition(":")[2][:12]


def test_changes_are_the_containers_own(box, image):
    assert box("run", image, "sh", "-c", "touch /new; rm /srv/owned; ls /").code == 0
    assert box("run", image).out == "content"


def test_push_remove_pull(box, image, registry):
    name = f"{registry}/test/{uuid.uuid4().hex[:8]}:1"
    assert box("tag", image, name).code == 0
    before = json.loads(box("inspect", image).out)[0]
    done = box("push", name)
    assert done.code == 0 and "digest: sha256:" in done.out, done
    assert box("rmi", image, name).code == 0
    assert box("images", "-q").out == ""
    done = box("pull", name)
    assert done.code == 0, done
    after = json.loads(box("inspect", name).out)[0]
    assert after["Id"] == before["Id"] and after["RootFS"] == before["RootFS"]
    assert box("run", name).out == "content"
    again = box("push", name.replace(":1", "b:1")) if box("tag", name, name.replace(":1", "b:1")).code == 0 else None
    assert again and again.code == 0 and "Mounted" in again.err, again
    assert box("pull", f"{registry}/no/such:1").code == 125


@pytest.mark.skipif(not shutil.which("podman") or not shutil.which("skopeo"), reason="needs podman and skopeo")
def test_other_tools(box, image, registry, tmp_path):
    ours = tmp_path / "ours.tar"
    assert box("save", "-o", ours, image).code == 0
    root = ("--root", tmp_path / "podman", "--runroot", f"/tmp/bp{os.getpid()}", "--storage-driver", "vfs")
    loaded = run("podman", *root, "load", "-i", ours, timeout=120)
    assert loaded.code == 0 and "small:1" in loaded.out, loaded
    for form in ("oci-archive", "docker-archive"):
        theirs = tmp_path / f"theirs-{form}"
        assert (
            run("podman", *root, "save", "--format", form, "-o", theirs, "docker.io/library/small:1", timeout=120).code
            == 0
        )
        done = box("load", "-i", theirs)
        assert done.code == 0 and "Loaded image" in done.out, done
        assert box("run", image).out == "content"
    name = f"{registry}/skopeo/{uuid.uuid4().hex[:8]}:1"
    copied = run("skopeo", "copy", "--dest-tls-verify=false", f"oci-archive:{ours}:1", f"docker://{name}", timeout=120)
    assert copied.code == 0, copied
    assert box("run", name).out == "content"
    assert box("save", "--format", "oci-dir", "-o", tmp_path / "layout", image).code == 0
    assert run("skopeo", "inspect", f"oci:{tmp_path / 'layout'}", timeout=60).code == 0
    assert box("run", f"oci:{tmp_path / 'layout'}").out == "content"


def layer(*members: tuple[str, bytes, str, bytes]) -> bytes:
    """A root file system of (name, type, link, content)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, link, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("../../etc/boxship-escape", tarfile.REGTYPE, "", b"x")], "leads out of the root"),
        (
            [("a", tarfile.SYMTYPE, "../../../../../../etc", b""), ("a/boxship-escape", tarfile.REGTYPE, "", b"x")],
            "not a directory",
        ),
        ([("a", tarfile.SYMTYPE, "/etc", b""), ("a/boxship-escape", tarfile.REGTYPE, "", b"x")], "not a directory"),
        ([("a", tarfile.LNKTYPE, "../../../../etc/passwd", b"")], "leads out of the root"),
        ([("a", tarfile.LNKTYPE, "/etc/passwd", b"")], "not in this layer"),
        (
            [
                ("a", tarfile.DIRTYPE, "", b""),
                ("a", tarfile.SYMTYPE, "/etc", b""),
                ("a/boxship-escape", tarfile.REGTYPE, "", b"x"),
            ],
            "not a directory",
        ),
        ([(".wh...", tarfile.REGTYPE, "", b"")], "whiteout of nothing"),
    ],
)
def test_layers_that_would_leave_their_root(box, tmp_path, members, words):
    """Each is refused, or stays below its own root; the host has nothing of it."""
    (tmp_path / "evil.tar").write_bytes(layer(*members))
    assert box("import", tmp_path / "evil.tar", "evil").code == 0, "a tar is only unpacked when it is used"
    done = box("run", "evil", "true")
    assert not os.path.exists("/etc/boxship-escape")
    assert words in done.err and done.code == 125, done
    assert not [p for p in (tmp_path / "data/images/layers").iterdir() if p.name.startswith("@")]


def test_a_layer_that_is_not_what_the_configuration_says(box, image, tmp_path):
    assert box("save", "--format", "oci-dir", "-o", tmp_path / "layout", image).code == 0
    blobs = tmp_path / "layout/blobs/sha256"
    for blob in blobs.iterdir():
        raw = blob.read_bytes()
        if b'"diff_ids"' not in raw:
            continue
        config = json.loads(raw)
        config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
        changed = json.dumps(config).encode()
        replaced = {blob.name: hashlib.sha256(changed).hexdigest()}
        (blobs / replaced[blob.name]).write_bytes(changed)
        break
    for blob in list(blobs.iterdir()):
        raw = blob.read_bytes()
        if b'"layers"' in raw and b'"schemaVersion"' in raw:
            manifest = json.loads(raw)
            manifest["config"] |= {
                "digest": f"sha256:{next(iter(replaced.values()))}",
                "size": len(changed),
            }
            raw = json.dumps(manifest).encode()
            digest = hashlib.sha256(raw).hexdigest()
            (blobs / digest).write_bytes(raw)
            index = json.loads((tmp_path / "layout/index.json").read_text())
            index["manifests"][0] |= {"digest": f"sha256:{digest}", "size": len(raw)}
            (tmp_path / "layout/index.json").write_text(json.dumps(index))
    done = box("run", f"oci:{tmp_path / 'layout'}")
    assert done.code == 125 and "what was unpacked is" in done.err, done


def test_shared_files_and_garbage(box, image, tmp_path):
    assert box("run", image).code == 0
    raw = tree(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(raw)) as old:
        other = io.BytesIO()
        with tarfile.open(fileobj=other, mode="w", format=tarfile.PAX_FORMAT) as new:
            for member in old:
                new.addfile(member, old.extractfile(member) if member.isfile() else None)
            info = tarfile.TarInfo("more")
            new.addfile(info, io.BytesIO())
    (tmp_path / "other.tar").write_bytes(other.getvalue())
    assert box("import", tmp_path / "other.tar", "other").code == 0
    assert box("run", "other", "/bin/true").code == 0
    trees = list((tmp_path / "data/images/layers").iterdir())
    assert len(trees) == 2
    assert len({(t / "bin/busybox").stat().st_ino for t in trees}) == 1, "the same file is on the disk once"
    assert box("rmi", image, "other").code == 0
    assert not list((tmp_path / "data/images/layers").iterdir())
    assert not [p for p in (tmp_path / "data/images/pool").rglob("*") if p.is_file()]
    assert not [p for p in (tmp_path / "data/images/blobs").rglob("*") if p.is_file()]


def test_an_image_in_use_stays(box, image):
    started = box("run", "-d", image, "sleep", "1000")
    try:
        done = box("rmi", image)
        assert done.code == 125 and "uses it" in done.err, done
    finally:
        box("rm", "-f", started.out.strip()[:12])
    assert box("rmi", image).code == 0


def test_nothing_is_collected_while_an_image_comes_in(box, image, tmp_path):
    """What has come so far has no name yet: rmi of another image must leave it."""
    from boxship.image.store import Store
    from boxship.undo import Undo

    kept = Store(str(tmp_path / "data/images"))
    with Undo() as held:
        kept.hold(held)
        coming = kept.blobs.add(b"{}", "application/json")
        assert box("rmi", image).code == 0
        assert "nothing was looked at" in box("image", "prune").err
        assert kept.blobs.size(coming.digest) == 2
    assert box("image", "prune").code == 0
    assert kept.blobs.size(coming.digest) == -1


def test_a_name_with_another_ones_digest(box, image):
    assert box("tag", image, "smallXother:1").code == 125, "names are written in small letters"
    assert box("tag", image, "small_x:1").code == 0 and box("tag", image, "small-x:1").code == 0
    digest = json.loads(box("inspect", image).out)[0]["Descriptor"]["digest"]
    assert box("rmi", f"small_x@{digest}").out.splitlines()[0] == "Untagged: small_x:1"
    assert box("inspect", "small-x:1").code == 0


def test_kill_minus_nine_of_pull(box, image, registry, tmp_path):
    """Whatever moment a pull dies at: the next one goes on, and what is there is whole."""
    name = f"{registry}/killed/{uuid.uuid4().hex[:8]}:1"
    assert box("tag", image, name).code == 0 and box("push", name).code == 0
    environment = dict(os.environ, BOXSHIP_DATA=str(tmp_path / "other"))
    for delay_ms in (50, 100, 150, 200, 250, 300, 400):
        client = subprocess.Popen(
            [BOX, "pull", "-q", name], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        select.select([], [], [], delay_ms / 1000)
        client.kill()
        client.wait()
    done = run(BOX, "run", name, env=environment)
    assert (done.code, done.out) == (0, "content"), done
    layers = tmp_path / "other/images/layers"
    assert len([p for p in layers.iterdir() if len(p.name) == 64]) == 1
    assert run(BOX, "image", "prune", env=environment).code == 0
    assert not [p for p in layers.iterdir() if p.name.startswith("@")]
    for blob in (tmp_path / "other/images/blobs/sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_templates(box):
    done = box("run", "template:busybox", "sh", "-c", "echo from $(id -u)")
    assert done.out.strip() == "from 0", done
    refused = box("run", "--pull", "never", "debian:12", "true")
    assert refused.code == 125 and "not in the store" in refused.err
