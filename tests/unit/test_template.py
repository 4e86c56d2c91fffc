# SPDX-License-Identifier: Apache-2.0
"""Templates without making one of a distribution: recipes, names, command lines, mirrors, checksums."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pathlib
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxship.errors import BoxshipError, InvalidRequest, NotFound, PermissionDenied, Unsupported
from boxship.image.template import busybox, cache, command, fetch, hostapt, make, recipe, work
from boxship.image.template.parse import RecipeError, parse

BUILT_IN = pathlib.Path(recipe.__file__).parent / "recipes"
TOP = pathlib.Path(__file__).parents[2]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write recipes of the user's own."""
    monkeypatch.setattr(recipe, "directories", lambda: [str(BUILT_IN), str(tmp_path / "etc"), str(tmp_path / "home")])

    def write(name: str, text: str, where: str = "home") -> pathlib.Path:
        path = tmp_path / where / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        return path

    return write


# --- names


@pytest.mark.parametrize(
    "name, release, variant",
    [
        ("debian", "trixie", "minbase"),
        ("debian/11", "bullseye", "minbase"),
        ("debian/12", "bookworm", "minbase"),
        ("debian/bookworm", "bookworm", "minbase"),
        ("debian/sid/standard", "sid", "standard"),
        ("ubuntu", "noble", "minbase"),
        ("ubuntu/22.04", "jammy", "minbase"),
        ("alpine/3.22", "v3.22", "minbase"),
        ("busybox", "", "minbase"),
        ("tarball//srv/a.tar", "/srv/a.tar", "minbase"),
        ("tarball/https://h/a.tar#sha256=00", "https://h/a.tar#sha256=00", "minbase"),
    ],
)
def test_names(mine, name, release, variant):
    found = recipe.find(name)
    assert (found.release, found.recipe.variant) == (release, variant)


@pytest.mark.parametrize(
    "name, kind, words",
    [
        ("debain", NotFound, "did you mean debian?"),
        ("debian/bokworm", NotFound, "did you mean bookworm?"),
        ("debian/12/standart", NotFound, "did you mean standard?"),
        ("alpine/3.22/standard", InvalidRequest, "no variants"),
        ("busybox/1.36", InvalidRequest, "no versions"),
        ("tarball", InvalidRequest, "which one?"),
        ("tarball/a\nb", InvalidRequest, "not a version"),
        ("../../etc/passwd", NotFound, "no template"),
        ("", NotFound, "no template"),
    ],
)
def test_names_that_are_none(mine, name, kind, words):
    with pytest.raises(kind) as caught:
        recipe.find(name)
    assert words in str(caught.value)
    assert caught.value.hint or "unprintable" in words or "not a version" in words


def test_built_in_recipes_are_sound(mine):
    found = recipe.list_templates()
    assert [one.name for one in found] == ["alpine", "busybox", "debian", "tarball", "ubuntu"]
    for one in found:
        assert one.recipe and not one.error and one.recipe.summary
        for release in {*one.recipe.versions.values()} or {"/x"}:
            for architecture in one.recipe.architectures or {"amd64": ""}:
                chosen = recipe.resolve(one.recipe, release, architecture)
                text = " ".join([*chosen.sources, chosen.url.replace("{file}", ""), chosen.index, chosen.mirror])
                assert "{" not in text, (one.name, release, architecture)
        text = pathlib.Path(one.path).read_text()
        assert "SPDX-License-Identifier: Apache-2.0" in text.split("\n")[0]


def test_only_for_one_release_or_architecture(mine):
    debian, ubuntu = recipe.load("debian"), recipe.load("ubuntu")
    assert len(recipe.resolve(debian, "bookworm", "amd64").sources) == 3
    assert recipe.resolve(debian, "sid", "amd64").sources == ["deb http://deb.debian.org/debian sid main"]
    assert recipe.resolve(debian, "sid", "arm").architectures == {"arm": "armhf"}
    arm = recipe.resolve(ubuntu, "noble", "arm64")
    assert arm.sources[1] == "deb http://ports.ubuntu.com/ubuntu-ports noble-updates main universe"
    with pytest.raises(NotFound, match="did you mean arm64"):
        recipe.resolve(ubuntu, "noble", "arm6")


def test_every_key_is_documented():
    from boxship.image.template.parse import _CHECKS, CONFIG

    text = (TOP / "docs" / "templates.md").read_text()
    for key in [*_CHECKS, *CONFIG, "name", "only"]:
        assert f"`{key}`" in text, key


# --- overrides


def test_the_users_own_come_last(mine):
    mine("debian", 'kind = "tarball"\nurl = "/etc.tar"\n', "etc")
    assert recipe.load("debian").url == "/etc.tar"
    mine("debian", 'kind = "tarball"\nurl = "/home.tar"\n')
    assert recipe.load("debian").url == "/home.tar"


def test_base_is_what_is_overridden(mine):
    mine(
        "debian",
        'base = "debian"\nmirror = "http://etc/debian"\n[config]\nCmd = ["sh"]\n[only.sid]\nvariant = "buildd"\n',
        "etc",
    )
    mine("debian", 'base = "debian"\npackages = ["vim"]\n')
    mine("other", 'base = "debian"\ndefault = "sid"\nsummary = "mine"\n')
    found = recipe.load("debian")
    assert (found.mirror, found.packages, found.default) == ("http://etc/debian", ["vim"], "13")
    assert found.config["Cmd"] == ["sh"] and found.config["Env"]
    assert set(found.only["sid"]) == {"sources", "variant"}
    other = recipe.find("other")
    assert (other.release, other.recipe.mirror, other.recipe.summary) == ("sid", "http://etc/debian", "mine")


def test_bases_in_a_circle(mine):
    mine("a", 'base = "b"\n')
    mine("b", 'base = "a"\n')
    mine("c", 'base = "c"\n')
    with pytest.raises(RecipeError, match="circle"):
        recipe.load("a")
    with pytest.raises(RecipeError, match="no recipe 'c'"):
        recipe.load("c")


def test_a_broken_recipe_spoils_its_own_name_only(mine):
    path = mine("broken", "kind = \n")
    assert recipe.find("debian").release
    (one,) = [one for one in recipe.list_templates() if one.name == "broken"]
    assert one.recipe is None and f"{path}:1: " in one.error
    assert len(recipe.list_templates()) == 6


def test_who_may_have_written_it(mine):
    path = mine("open", 'kind = "busybox"\n')
    path.chmod(0o666)
    with pytest.raises(PermissionDenied, match="anybody may write"):
        recipe.load("open")
    if os.geteuid() == 0:
        path.chmod(0o644)
        os.chown(path, 4711, 0)
        with pytest.raises(PermissionDenied, match="uid 4711"):
            recipe.load("open")


# --- bad recipes

BAD = {
    "kind = [": (1, "not TOML"),
    'kind = "debootstrap\n': (1, "not TOML"),
    'summary = "x"\n': (0, "kind: missing"),
    'summary = "x"\nkind = "deboostrap"\n': (2, "'deboostrap' does not fit"),
    'kind = "busybox"\n\npakages = ["a"]\n': (3, "did you mean packages?"),
    'kind = "busybox"\npackages = ["a"]\n': (0, "packages: only recipes of kind 'debootstrap'"),
    'kind = "tarball"\n': (0, "url: missing"),
    'kind = "tarball"\nurl = "/{relase}.tar"\n': (2, "url"),
    'kind = "tarball"\nurl = "/a.tar"\nsha256 = "12"\n': (3, "sha256"),
    'kind = "tarball"\nurl = "/a.tar"\npost = ["true"]\n': (0, "post"),
    'kind = "script"\n': (0, "script: missing"),
    'kind = "script"\nscript = "a\\u0000b"\n': (2, "script"),
    'kind = "script"\nscript = "true"\n[config]\nENV = ["A=1"]\n': (3, "config"),
    'kind = "script"\nscript = "true"\n[config]\nEnv = ["A"]\n': (3, "config"),
    'kind = "script"\nscript = "true"\nname = "other"\n': (3, "is not the file's name"),
    'kind = "debootstrap"\nsources = ["deb http://h/d {release} main"]\n': (0, "versions: missing"),
    'kind = "debootstrap"\n[versions]\n1 = "one"\n': (0, "sources: missing"),
    'kind = "debootstrap"\nsources = ["deb http://h/d"]\n': (2, "sources"),
    'kind = "debootstrap"\nsources = ["deb http://h/d a main\\ndeb http://evil/ a main"]\n': (2, "sources"),
    'kind = "debootstrap"\nsources = ["deb http://h/d a main"]\ndefault = "2"\n[versions]\n1 = "one"\n': (
        0,
        "default: '2'",
    ),
    'kind = "debootstrap"\npackages = ["--yes"]\n': (2, "packages"),
    'kind = "debootstrap"\npackages = ["a,b c"]\n': (2, "packages"),
    'kind = "debootstrap"\nversions = "13"\n': (2, "versions"),
    'kind = "debootstrap"\n[versions]\n1 = "--one"\n': (2, "versions"),
    'kind = "busybox"\n[only.amd6]\n': (0, "did you mean amd64?"),
    'kind = "busybox"\n[only.amd64]\nkind = "script"\n': (3, "only.amd64.kind: unknown key here"),
    'kind = "busybox"\nonly = 3\n': (2, "only"),
    "a = " + "[" * 5000: (0, "not TOML"),
}


@pytest.mark.parametrize("text", BAD, ids=lambda t: t[:40])
def test_bad_recipes(mine, text):
    line, words = BAD[text]
    path = mine("bad", text)
    with pytest.raises(RecipeError) as caught:
        recipe.load("bad")
    error = caught.value
    assert str(error).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert error.line == line and words in str(error)
    assert error.hint


def test_not_text(mine, tmp_path):
    mine("bad", "").write_bytes(b'kind = "busybox"\n# \xff\n')
    with pytest.raises(RecipeError, match=":2: not UTF-8"):
        recipe.load("bad")


_KEYS = st.sampled_from(
    ["kind", "versions", "sources", "packages", "config", "post", "only", "url", "sha256", "variant"]
)
_VALUES = st.recursive(
    st.text(max_size=20) | st.integers(-9, 9) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-", min_size=1), inner, max_size=3),
    max_leaves=8,
)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" if not 0xD800 <= ord(c) < 0xE000 else "?" for c in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return repr(value) if isinstance(value, int) else f"{value:.3f}"


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_any_value_is_taken_or_named(values):
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())
    try:
        found = parse(text, "/x.toml", "x")
    except RecipeError as error:
        assert str(error).startswith("/x.toml") and error.hint
        assert str(error).isprintable()
    else:
        assert set(found) == {*values, "only"}
        assert all(isinstance(one, str) and "\0" not in one for one in found.get("packages", []))


@given(st.text(max_size=200))
def test_any_text_is_taken_or_named(text):
    try:
        parse(text, "/x.toml", "x")
    except RecipeError as error:
        assert str(error).startswith("/x.toml")


@given(st.text(max_size=40))
def test_any_name_is_found_or_not(name):
    try:
        recipe.find(name)
    except BoxshipError as error:
        assert "\n" not in str(error)


# --- command lines

LINES = [
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
]
NO_SERVICES = (
    '--extract-hook=set -eu; printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; '
    'chmod 755 "$1/usr/sbin/policy-rc.d"'
)
CLEAN = (
    'set -eu; rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/apt/apt.conf.d/99boxship" "$1/usr/sbin/policy-rc.d"'
)


def debian(**changes):
    return recipe.resolve(recipe.load("debian").replace(**changes), "bookworm", "arm64")


def test_mmdebstrap_for_root(mine):
    plain = debian(post=["copy-in /a /b"], packages=["vim", "less"])
    assert command.mmdebstrap(plain, "bookworm", LINES, root=True, settings=True) == [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=tar",
        "--architectures=arm64",
        "--components=main",
        "--skip=output/dev",
        "--skip=chroot/policy-rc.d",
        NO_SERVICES,
        "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
        '--setup-hook=set -eu; umask 077; printf "%s\\n" "$BOXSHIP_APT_CONF" >"$1/etc/apt/apt.conf.d/99boxship"',
        "--include=vim,less",
        f"--customize-hook={CLEAN}",
        "--customize-hook=set -eu; copy-in /a /b",
        "bookworm",
        "-",
        *LINES,
    ]


def test_mmdebstrap_for_a_user(mine):
    plain = debian(post=[], variant="standard", keyring="", components=["main", "contrib"])
    assert command.mmdebstrap(plain, "bookworm", LINES[:1], root=False, settings=False) == [
        "mmdebstrap",
        "--mode=unshare",
        "--variant=important",
        "--format=tar",
        "--architectures=arm64",
        "--components=main,contrib",
        "--skip=output/dev",
        "--skip=chroot/policy-rc.d",
        NO_SERVICES,
        f"--customize-hook={CLEAN}",
        "bookworm",
        "-",
        LINES[0],
    ]


def test_debootstrap(mine):
    assert command.debootstrap(debian(), "bookworm", LINES, "/w/root") == [
        "debootstrap",
        "--arch=arm64",
        "--components=main",
        "--variant=minbase",
        "--keyring=/usr/share/keyrings/debian-archive-keyring.gpg",
        "bookworm",
        "/w/root",
        "http://deb.debian.org/debian",
    ]
    assert "--variant" not in " ".join(command.debootstrap(debian(variant="standard"), "bookworm", LINES, "/w/root"))


def test_tar():
    assert command.tar("/w/root", 7, own=False) == [
        "tar",
        "--create",
        "--file=-",
        "--format=posix",
        "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
        "--sort=name",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--mtime=@7",
        "--clamp-mtime",
        "--one-file-system",
        "--anchored",
        "--exclude=./dev/*",
        "--owner=0",
        "--group=0",
        "--directory=/w/root",
        ".",
    ]
    assert "--owner=0" not in command.tar("/w/root", 7, own=True)


def test_children_die_with_us():
    asked = ["setpriv", "--pdeathsig", "TERM", "--"]
    assert command.alone(["x", "--", "y"], root=False) == [*asked, "x", "--", "y"]
    dying = ["setpriv", "--pdeathsig", "KILL", "--"]
    inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"]
    assert command.alone(["x"], root=True) == [*dying, *inside, "x"]
    assert work.argv_name(command.alone(["x"], root=True)) == work.argv_name(command.alone(["x"], root=False)) == "x"
    assert work.argv_name(["y", "--", "z"]) == "y"


def test_environment_is_clean(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/evil.so")
    assert command.environment("/w", 5, {"http_proxy": "http://p:1", "no_proxy": ""}) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/",
        "DEBIAN_FRONTEND": "noninteractive",
        "TMPDIR": "/w",
        "SOURCE_DATE_EPOCH": "5",
        "http_proxy": "http://p:1",
    }


# --- the host's apt


def test_mirrors():
    known = hostapt.archives(
        "Debian\tbookworm\thttp://near/debian/\n"
        "Debian\tbookworm\thttp://second/debian/\n"
        "Debian\tbookworm-security\thttps://near/security\n"
        "Debian\tforky\tmirror+file:/etc/mirrors\n"
        "Debian\tbuster\thttp://me:secret@near/debian\n"
        "Docker\ttrixie\thttps://docker/\n"
        "\n"
    )
    assert set(known) == {("Debian", "bookworm"), ("Debian", "bookworm-security"), ("Docker", "trixie")}
    lines = [f"deb http://d/debian trixie{s} main" for s in ("", "-updates")] + [
        "deb [arch=amd64] http://d/sec trixie-security main"
    ]
    releases = ["bookworm", "trixie"]
    assert hostapt.source_lines(lines, "", "Debian", "trixie", releases, known) == [
        "deb http://near/debian trixie main",
        "deb http://d/debian trixie-updates main",
        "deb [arch=amd64] https://near/security trixie-security main",
    ]
    assert hostapt.source_lines(lines, "", "Ubuntu", "trixie", releases, known) == lines
    assert hostapt.source_lines(lines, "http://m/debian/", "Debian", "trixie", releases, known) == [
        "deb http://m/debian trixie main",
        "deb http://m/debian trixie-updates main",
        "deb [arch=amd64] http://d/sec trixie-security main",
    ]


def test_proxies_and_checks():
    dumped = 'Acquire::http::Proxy "http://p:3142";\nAcquire::https::Proxy "DIRECT";\nAcquire::Check-Date "false";\n'
    assert hostapt.proxies(dumped) == {"http": "http://p:3142"}
    said: list[str] = []
    lines = dumped.splitlines()
    assert hostapt.needed(lines, own_mirror=False, log=said.append) == lines and len(said) == 1
    assert hostapt.needed(lines, own_mirror=True, log=said.append) == lines[:2] and len(said) == 1


# --- checksums and indices

HEX = "ab" * 32
INDEX = f"""---
-
  title: "Standard"
  flavor: alpine-standard
  file: alpine-standard-3.22.1-x86_64.iso
  sha256: {"00" * 32}
-
  title: "Mini root filesystem"
  desc: |
    Minimal.
  flavor: alpine-minirootfs
  file: alpine-minirootfs-3.22.1-x86_64.tar.gz
  sha256: {HEX}
"""


def test_index():
    entry = fetch.parse_index(INDEX, "alpine-minirootfs", "https://i")
    assert (entry["file"], entry["sha256"]) == ("alpine-minirootfs-3.22.1-x86_64.tar.gz", HEX)
    with pytest.raises(work.TemplateError, match="no entry") as caught:
        fetch.parse_index(INDEX, "alpine-virt", "https://i")
    assert "alpine-minirootfs, alpine-standard" in caught.value.hint
    with pytest.raises(work.TemplateError):
        fetch.parse_index(
            INDEX.replace("alpine-minirootfs-3", "../alpine-minirootfs-3"), "alpine-minirootfs", "https://i"
        )


def test_sums():
    assert fetch.parse_sums(f"{HEX}\n", "a.tar", "u") == HEX
    assert fetch.parse_sums(f"{'00' * 32}  b.tar\n{HEX.upper()} *./a.tar\n", "a.tar", "u") == HEX
    for text in ("", f"{HEX}\n{HEX}\n", f"{HEX}  b.tar\n", "<html>\n"):
        with pytest.raises(work.TemplateError, match="no checksum of"):
            fetch.parse_sums(text, "a.tar", "u")


@given(st.text(max_size=300))
def test_any_index(text):
    for read in (fetch.parse_index, fetch.parse_sums):
        with pytest.raises(work.TemplateError):
            read(text, "flavor", "where")


def test_what_needs_a_checksum():
    assert fetch.locate("/a.tar", "", "", "") == fetch.Source("/a.tar")
    assert fetch.locate("file:///a%20b.tar", "", "", "").path == "/a b.tar"
    assert fetch.locate(f"http://h/a.tar#sha256={HEX}", "", "", "") == fetch.Source("http://h/a.tar", HEX)
    for url, sha256 in [("https://h/a.tar", ""), ("https://h/a.tar", "zz" * 32), ("http://h/a.tar#sha256=12", "")]:
        with pytest.raises(InvalidRequest):
            fetch.locate(url, sha256, "", "")
    with pytest.raises(InvalidRequest, match="must not come by http"):
        fetch.locate("http://h/a.tar", "http://h/a.tar.sha256", "", "")
    with pytest.raises(InvalidRequest, match="not an http"):
        fetch._open("ftp://h/a.tar", 0)


# --- made without privileges


def _tar(path: pathlib.Path, names: dict[str, str]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, text in names.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))


def test_tarball_from_here(mine, tmp_path):
    _tar(
        tmp_path / "a.tar", {"./var/lib/dpkg/status": "Package: b\nStatus: x\nVersion: 2\n\nPackage: a\nVersion: 1-1\n"}
    )
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data))
    found = recipe.find(f"tarball/{tmp_path}/a.tar.gz")
    done = make.make(found.recipe, found.release, str(tmp_path / "out.tar"))
    assert (tmp_path / "out.tar").read_bytes() == data
    assert done == make.Made(str(tmp_path / "out.tar"), hashlib.sha256(data).hexdigest(), ["a=1-1", "b=2"])
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "a.tar.gz", "out.tar"]


@pytest.mark.parametrize("cut", [20, -10, 0])
def test_broken_tarballs(mine, tmp_path, cut):
    _tar(tmp_path / "a.tar", {"a": "text" * 9999})
    data = gzip.compress((tmp_path / "a.tar").read_bytes())
    (tmp_path / "b.tar.gz").write_bytes(data[:cut] if cut else b"<html>not found</html>" * 100)
    found = recipe.find(f"tarball/{tmp_path}/b.tar.gz")
    with pytest.raises(work.TemplateError, match=r"broken gzip|not a tar"):
        make.make(found.recipe, found.release, str(tmp_path / "out.tar"))
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "b.tar.gz"]


def test_the_keyring_must_be_there(mine, tmp_path):
    mine("debian", f'base = "debian"\nkeyring = "{tmp_path}/none.gpg"\n')
    found = recipe.find("debian/12")
    with pytest.raises(Unsupported, match="could not be verified") as caught:
        make.make(found.recipe, found.release, str(tmp_path / "out.tar"), architecture="amd64")
    assert "install debian-archive-keyring" in caught.value.hint


def test_what_to_install(mine, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *a, **k: None)
    mine("debian", 'base = "debian"\nkeyring = ""\n')
    mine("old", 'base = "debian"\ntool = "debootstrap"\nkeyring = "/"\n')
    with pytest.raises(Unsupported, match="mmdebstrap and debootstrap: not found") as caught:
        make.make(
            recipe.load("debian").replace(keyring=""), "bookworm", str(tmp_path / "out.tar"), architecture="amd64"
        )
    assert caught.value.hint == "install mmdebstrap"
    with pytest.raises(Unsupported) as caught:
        make.make(recipe.load("old"), "bookworm", str(tmp_path / "out.tar"), architecture="amd64")
    assert caught.value.hint == "install debootstrap"


@pytest.mark.parametrize("word", ["", "x", "-1", "1.5", "٣", "9" * 12])
def test_source_date_epoch(monkeypatch, word):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", word)
    with pytest.raises(InvalidRequest):
        make._epoch()


def test_the_last_lines_are_in_the_error(tmp_path):
    with pytest.raises(work.TemplateError, match="t: sh: exit status 3") as caught:
        work.run(["sh", "-c", "seq 1 50; printf 'a\\rb\\033[1m\\n' >&2; exit 3"], {"PATH": "/bin:/usr/bin"}, what="t")
    assert caught.value.output == [*(str(n) for n in range(32, 51)), "b [1m"]
    assert "  | 50\n" in caught.value.render()
    with pytest.raises(BoxshipError, match="ENOENT"):
        work.run(["/nope/nope"], {}, what="t")


def test_work_directories(tmp_path):
    with work.Work(str(tmp_path)) as first:
        (pathlib.Path(first.path) / "file").write_text("x")
        left = tmp_path / f"{work.PREFIX}left"
        left.mkdir()
        (left / "file").write_text("x")
        (tmp_path / "@other").mkdir()
        (tmp_path / f"{work.PREFIX}link").symlink_to("/etc")
        with work.Work(str(tmp_path)) as second:
            assert second.path != first.path
            assert not left.exists() and os.path.exists(first.path)
    assert sorted(os.listdir(tmp_path)) == ["@other", f"{work.PREFIX}link"]


def test_keys_of_the_cache(mine):
    def key(one, release="bookworm", architecture="amd64"):
        return cache.key(recipe.resolve(one, release, architecture), release, architecture)

    one = recipe.load("debian")
    same = one.replace(summary="x", path="/y", config={})
    assert key(one) == key(same)
    others = [one.replace(packages=["vim"]), one.replace(mirror="http://m/"), one.replace(variant="buildd")]
    assert len({key(one), key(one, "sid"), key(one, architecture="arm64"), *map(key, others)}) == 6


def test_prune(mine, tmp_path):
    _tar(tmp_path / "a.tar", {"a": "x"})
    store = str(tmp_path / "store")
    first = cache.get(f"tarball/{tmp_path}/a.tar", store)
    assert cache.get(f"tarball/{tmp_path}/a.tar", store).made_ns == first.made_ns
    os.utime(tmp_path / "a.tar", (1, 1))
    second = cache.get(f"tarball/{tmp_path}/a.tar", store)
    assert second.path != first.path, "the file has changed"
    lock = work.open_locked(second.path.removesuffix(".tar") + ".lock")
    assert cache.prune(store, second.made_ns + 1) == [first.path], "the other is being made"
    os.close(lock)
    assert cache.prune(store, second.made_ns) == []
    assert cache.prune(store, second.made_ns + 1) == [second.path]
    assert os.listdir(store) == [] and cache.prune(str(tmp_path / "none"), 1) == []


def test_static_programs(tmp_path):
    assert not busybox.is_static("/bin/ls")
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert not busybox.is_static(str(tmp_path / "script"))
