# SPDX-License-Identifier: Apache-2.0
"""Templates for real: Debian from its mirror, busybox, tar files from a server on this machine, and being killed."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import lzma
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import threading
import time

import pytest

from boxship.errors import InvalidRequest
from boxship.image.template import fetch, recipe
from boxship.image.template.cache import get
from boxship.image.template.make import make
from boxship.image.template.work import PREFIX, TemplateError
from support import ROOT_ONLY, ended, run

root = pytest.mark.skipif(not ROOT_ONLY, reason="needs root")
EPOCH = "1790000000"
CALL = """
import sys
from boxship.image.template.cache import get
from boxship.image.template import work
print(get(sys.argv[1], sys.argv[2], log=lambda line: print(line, flush=True)).path, flush=True)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Recipes of our own, and a day that does not end meanwhile."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    (tmp_path / "config" / "scratch").mkdir(parents=True)
    for parent in (tmp_path, *list(tmp_path.parents)[:2]):
        parent.chmod(parent.stat().st_mode | 0o011)  # apt's own user goes there
    monkeypatch.setenv("TMPDIR", str(tmp_path / "config" / "scratch"))
    directory = tmp_path / "config" / "boxship" / "templates"
    directory.mkdir(parents=True)

    def write(name: str, text: str) -> None:
        (directory / f"{name}.toml").write_text(text)

    return write


@pytest.fixture(autouse=True)
def no_mounts(tmp_path):
    before = pathlib.Path("/proc/self/mountinfo").read_text().count("\n")
    yield
    after = pathlib.Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in after and after.count("\n") <= before


def members(path: str) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path, "r:") as tar:
        return {entry.name.removeprefix("./"): entry for entry in tar}


def text(path: str, name: str) -> str:
    with tarfile.open(path, "r:") as tar:
        data = tar.extractfile(name)
        assert data
        return data.read().decode()


def begin(name: str, store: pathlib.Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CALL, name, str(store)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


def until(child: subprocess.Popen, words: str) -> list[str]:
    """Read lines until one has the words."""
    lines: list[str] = []
    assert child.stdout
    for line in child.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"it never said {words!r}:\n{''.join(lines)}")


def look_like_debian(path: str) -> None:
    found = members(path)
    assert {"usr/bin/bash", "usr/bin/apt", "dev", "proc", "sys", "etc/debian_version"} <= set(found)
    assert not [name for name in found if name.startswith(("dev/", "proc/", "sys/", "run/systemd"))]
    for gone in (
        "etc/hostname",
        "etc/resolv.conf",
        "etc/apt/apt.conf.d/99boxship",
        "var/log/dpkg.log",
        "var/log/bootstrap.log",
    ):
        assert gone not in found, gone
    assert not [name for name in found if name.startswith("var/cache/apt/archives/") and name.endswith(".deb")]
    assert not [name for name in found if name.startswith("var/lib/apt/lists/") and "_" in name]
    assert found["etc/shadow"].gid == 42 and found["tmp"].mode == 0o1777
    assert max(entry.mtime for entry in found.values()) <= int(EPOCH)
    assert text(path, "./usr/sbin/policy-rc.d") == "#!/bin/sh\nexit 101\n"
    assert found["usr/sbin/policy-rc.d"].mode == 0o755
    assert "bookworm-security main" in text(path, "./etc/apt/sources.list")


# --- Debian


@root
@pytest.mark.slow
def test_debian_by_mmdebstrap_is_the_same_each_time(mine, tmp_path):
    said: list[str] = []
    found = recipe.find("debian/12")
    made = [make(found.recipe, found.release, str(tmp_path / f"{n}.tar"), log=said.append) for n in range(2)]
    assert made[0].sha256 == made[1].sha256, "the same bytes, unless the mirror has changed in between"
    assert any(one.startswith("apt=2.") for one in made[0].packages) and len(made[0].packages) > 60
    assert any("mmdebstrap" in line for line in said) and "I: done" in said
    assert not [line for line in said if "unsandboxed" in line]
    look_like_debian(made[0].path)
    assert sorted(os.listdir(tmp_path)) == ["0.tar", "1.tar", "config"]


@root
@pytest.mark.slow
def test_debian_by_debootstrap(mine, tmp_path):
    mine("debian", 'base = "debian"\ntool = "debootstrap"\n')
    said: list[str] = []
    found = recipe.find("debian/12")
    made = make(found.recipe, found.release, str(tmp_path / "out.tar"), log=said.append)
    assert any(one.startswith("apt=2.") for one in made.packages)
    assert any("debootstrap, without updates" in line for line in said)
    look_like_debian(made.path)
    assert sorted(os.listdir(tmp_path)) == ["config", "out.tar"]


@root
def test_the_end_of_what_it_said(mine, tmp_path):
    mine("debian", 'base = "debian"\nmirror = "http://127.0.0.1:9/debian"\n')
    found = recipe.find("debian/12")
    with pytest.raises(TemplateError, match="template debian: mmdebstrap: exit status") as caught:
        make(found.recipe, found.release, str(tmp_path / "out.tar"))
    assert 0 < len(caught.value.output) <= 20
    assert "127.0.0.1:9" in caught.value.render()
    assert os.listdir(tmp_path) == ["config"]


@root
@pytest.mark.slow
@pytest.mark.parametrize("tool, words", [("mmdebstrap", "installing essential"), ("debootstrap", "Extracting")])
def test_killed_in_the_middle(mine, tmp_path, tool, words):
    mine("debian", f'base = "debian"\ntool = "{tool}"\n')
    store = tmp_path / "store"
    child = begin("debian/12", store)
    until(child, words)
    tree = descendants(child.pid)
    assert len(tree) >= 3
    child.send_signal(signal.SIGKILL)
    child.wait()
    for pid in tree:
        ended(pid)
    left = os.listdir(store)
    assert not [name for name in left if name.endswith(".tar")]
    assert len([name for name in left if name.startswith(PREFIX)]) == 1
    scratch = os.environ["TMPDIR"]
    assert len(os.listdir(scratch)) == (tool == "mmdebstrap")
    get("busybox", str(store))
    assert not [name for name in os.listdir(store) if name.startswith("@")]
    assert os.listdir(scratch) == []


def descendants(pid: int) -> list[int]:
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in children for found in (int(child), *descendants(int(child)))]


# --- scripts


SCRIPT = (
    'kind = "script"\nscript = """mkdir "$1/bin"; echo "$2 $3" >"$1/bin/it"; echo x >>%s; echo begun; sleep %s"""\n'
)


def test_two_that_want_the_same_make_it_once(mine, tmp_path):
    mine("slow", SCRIPT % (tmp_path / "count", 1))
    children = [begin("slow/7", tmp_path / "store") for _ in range(4)]
    outputs = [child.communicate(timeout=60)[0] for child in children]
    assert (tmp_path / "count").read_text() == "x\n"
    paths = {out.split("\n")[-2] for out in outputs}
    assert len(paths) == 1
    assert text(paths.pop(), "./bin/it").startswith("7 ")
    assert len(os.listdir(tmp_path / "store")) == 1


def test_refresh(mine, tmp_path):
    mine("slow", SCRIPT % (tmp_path / "count", 0))
    first = get("slow/7", str(tmp_path / "store"))
    time.sleep(0.02)
    assert get("slow/7", str(tmp_path / "store")) == first
    second = get("slow/7", str(tmp_path / "store"), refresh=True)
    assert second.path == first.path and second.made_ns > first.made_ns
    assert (tmp_path / "count").read_text() == "x\nx\n"


def test_a_killed_script_is_cleaned_up(mine, tmp_path):
    mine("slow", SCRIPT % (tmp_path / "count", 600))
    store = tmp_path / "store"
    child = begin("slow/7", store)
    until(child, "begun")
    waiting = begin("slow/7", store)
    tree = descendants(child.pid)
    child.send_signal(signal.SIGKILL)
    child.wait()
    for pid in tree:
        ended(pid)
    # The other has waited, sees that nothing was made, removes what was left and begins itself.
    until(waiting, "begun")
    assert len([name for name in os.listdir(store) if name.startswith(PREFIX)]) == 1
    waiting.send_signal(signal.SIGINT)
    waiting.wait(30)
    assert not [name for name in os.listdir(store) if name.startswith("@")], "an interrupt cleans up itself"


def test_a_script_that_fails(mine, tmp_path):
    mine("bad", 'kind = "script"\nscript = "echo first; false; echo second"\npost = ["true"]\n')
    with pytest.raises(TemplateError, match="sh: exit status 1") as caught:
        get("bad", str(tmp_path / "store"))
    assert caught.value.output == ["first"]
    assert os.listdir(tmp_path / "store") == []


def test_children_see_nothing_of_ours(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    mine("env", 'kind = "script"\nscript = "env; cat; ls -l /proc/self/fd"\n')
    said: list[str] = []
    get("env", str(tmp_path / "store"), log=said.append)
    out = "\n".join(said)
    assert "SECRET" not in out and f"SOURCE_DATE_EPOCH={EPOCH}" in out and "0 -> /dev/null" in out


# --- busybox


def test_busybox(mine, tmp_path):
    made = get("busybox", str(tmp_path / "store"))
    make(made.recipe, "", str(tmp_path / "again.tar"))
    assert pathlib.Path(made.path).read_bytes() == (tmp_path / "again.tar").read_bytes()
    found = members(made.path)
    assert {"bin/sh", "bin/busybox", "etc/passwd", "dev", "proc", "tmp"} <= set(found)
    assert (found["bin/sh"].linkname, found["tmp"].mode, found["etc/shadow"].mode) == ("/bin/busybox", 0o1777, 0o640)
    assert {entry.uid for entry in found.values()} == {0}


@root
def test_busybox_runs(mine, tmp_path):
    made = get("busybox", str(tmp_path / "store"))
    (tmp_path / "root").mkdir()
    assert run("tar", "-xf", made.path, "-C", tmp_path / "root").code == 0
    done = run("chroot", tmp_path / "root", "/bin/sh", "-c", "id -un; ls /etc | wc -l")
    assert (done.code, done.out.split()) == (0, ["root", "5"])


# --- downloads


class Server:
    """Files over http on this machine; ``breaks`` is how many answers end after 100,000 bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks = 0
        self.ranges = True
        self.asked: list[str] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.headers.get("Range", ""))
                data = server.files.get(self.path)
                if data is None:
                    self.send_error(404)
                    return
                start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if server.ranges else 0
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                part = data[start:]
                if server.breaks:
                    server.breaks -= 1
                    part = part[:100_000]
                self.wfile.write(part)

            def log_message(self, *_args: object) -> None:
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.01)
    made = Server()
    yield made
    made.httpd.shutdown()
    made.httpd.server_close()


@pytest.fixture(scope="module")
def plain() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("bin/random")
        entry.size = 300_000
        tar.addfile(entry, io.BytesIO(os.urandom(entry.size)))
    return out.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_right_checksum(mine, tmp_path, server, plain, pack):
    server.files["/a"] = data = pack(plain)
    got = get(f"tarball/{server.url}/a#sha256={digest(data)}", str(tmp_path / "store"))
    assert pathlib.Path(got.path).read_bytes() == plain
    get(f"tarball/{server.url}/a#sha256={digest(data)}", str(tmp_path / "store"))
    assert len(server.asked) == 1


def test_wrong_checksum(mine, tmp_path, server, plain):
    server.files["/a"] = plain
    with pytest.raises(TemplateError, match="sha256 is") as caught:
        get(f"tarball/{server.url}/a#sha256={'0' * 64}", str(tmp_path / "store"))
    assert "has not been used" in caught.value.hint
    with pytest.raises(InvalidRequest, match="no checksum"):
        get(f"tarball/{server.url}/a", str(tmp_path / "store"))
    assert os.listdir(tmp_path / "store") == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks(mine, tmp_path, server, plain, ranges):
    server.files["/a"], server.breaks, server.ranges = plain, 2, ranges
    said: list[str] = []
    get(f"tarball/{server.url}/a#sha256={digest(plain)}", str(tmp_path / "store"), log=said.append)
    assert server.asked[:3] == ["", "bytes=100000-", "bytes=200000-" if ranges else "bytes=100000-"]
    assert "at byte 100000; going on from there" in "\n".join(said)


def test_given_up(mine, tmp_path, server, plain):
    server.files["/a"], server.breaks, server.ranges = plain, 1 << 30, False
    with pytest.raises(TemplateError, match="5 times at byte 100000"):
        get(f"tarball/{server.url}/a#sha256={digest(plain)}", str(tmp_path / "store"))
    with pytest.raises(TemplateError, match="HTTP 404"):
        get(f"tarball/{server.url}/b#sha256={digest(plain)}", str(tmp_path / "store"))
    assert os.listdir(tmp_path / "store") == []


def test_index_and_list_of_checksums(mine, tmp_path, server, plain):
    server.files["/v1/amd64/list"] = f"-\n  flavor: mini\n  file: mini.tar\n  sha256: {digest(plain)}\n".encode()
    server.files["/v1/amd64/mini.tar"] = plain
    server.files["/v1/amd64/mini.tar.sha256"] = f"{digest(plain)}  mini.tar\n".encode()
    where = f'kind = "tarball"\nmirror = "{server.url}"\ndefault = "1"\nversions = {{ 1 = "v1" }}\n'
    mine(
        "one",
        where + 'index = "{mirror}/{release}/{arch}/list"\nflavor = "mini"\nurl = "{mirror}/{release}/{arch}/{file}"\n',
    )
    mine(
        "two",
        where + 'url = "{mirror}/{release}/{arch}/mini.tar"\nsha256 = "{mirror}/{release}/{arch}/mini.tar.sha256"\n',
    )
    for name in ("one", "two"):
        got = get(name, str(tmp_path / "store"), architecture="amd64")
        assert pathlib.Path(got.path).read_bytes() == plain
