# SPDX-License-Identifier: Apache-2.0
"""Tar streams: what we write we read, what others write we read, what is damaged is refused."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boxship.errors import BoxshipError
from boxship.image import codec, documents, tarread
from boxship.image.media import ImageError
from boxship.image.pack import Packer, compressed
from boxship.image.unpack import clean


def entries(data: bytes) -> dict[bytes, tuple[tarread.Entry, bytes]]:
    reader = tarread.Reader(io.BytesIO(data).read)
    return {e.path: (e, b"".join(reader.data(e))) for e in reader}


def packed(root: os.PathLike[str], **more: object) -> bytes:
    out = io.BytesIO()
    packer = Packer(out.write, **more)
    packer.tree(str(root))
    packer.end()
    return out.getvalue()


def test_a_tree_comes_back(tmp_path):
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x" * 1000)
    (tmp_path / "a").write_text("a")
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "link").symlink_to("y" * 200)
    open(os.fsencode(tmp_path) + b"/bad\xff", "w").close()
    os.utime(tmp_path / "a", ns=(0, -1_500_000_001))
    data = packed(tmp_path)
    assert data == packed(tmp_path), "the same tree gives the same bytes"
    found = entries(data)
    assert found[os.fsencode(os.path.relpath(deep / "file", tmp_path))][1] == b"x" * 1000
    assert found[b"b"][0].kind == tarread.LINK and found[b"b"][0].link == b"a"
    assert found[b"link"][0].link == b"y" * 200
    assert found[b"bad\xff"][0].size == 0
    assert found[b"a"][0].mtime == -1_500_000_001
    with tarfile.open(fileobj=io.BytesIO(data)) as other:
        assert {m.name for m in other} >= {"a", "b", "link"}, "and others read it"


def test_sparse_files(tmp_path):
    with open(tmp_path / "s", "wb") as file:
        file.seek(1 << 20)
        file.write(b"data")
        file.truncate(4 << 20)
    data = packed(tmp_path)
    found, held = entries(data)[b"s"]
    assert found.real_size == 4 << 20 and len(held) < 1 << 20 and b"data" in held
    with tarfile.open(fileobj=io.BytesIO(data)) as other:
        assert other.extractfile("s").read()[1 << 20 :][:4] == b"data"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_others_write(form):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, size in (("short", 5), ("dir/" + "n" * 90, 513)):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid = size, 1234567890, 1000
            tar.addfile(info, io.BytesIO(b"z" * size))
        if form != tarfile.USTAR_FORMAT:
            info = tarfile.TarInfo("l" * 300)
            info.type, info.linkname = tarfile.SYMTYPE, "t" * 300
            tar.addfile(info)
    found = entries(out.getvalue())
    assert found[b"short"][1] == b"z" * 5 and found[b"short"][0].uid == 1000
    assert len(found) == (2 if form == tarfile.USTAR_FORMAT else 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_damage_is_refused_or_harmless(data, tmp_path):
    """Any bytes changed, the archive cut anywhere: entries or an ImageError, nothing else."""
    (tmp_path / "f").write_bytes(b"q" * 700)
    raw = bytearray(packed(tmp_path))
    for _ in range(data.draw(st.integers(0, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        entries(bytes(raw))
    except ImageError:
        pass


@given(st.binary(max_size=3000))
def test_any_bytes(raw):
    try:
        entries(raw)
    except ImageError:
        pass


@pytest.mark.parametrize("path", [b"../x", b"a/../../x", b"..", b"/../etc"])
def test_paths_that_lead_out(path):
    with pytest.raises(ImageError, match="leads out"):
        clean(path)


def test_paths():
    assert clean(b"/a/./b//c/") == b"a/b/c" and clean(b"./") == b"" == clean(b"/")


@pytest.mark.parametrize("compression", ["gzip", "zstd", ""])
@given(content=st.binary(max_size=5000))
def test_compression_comes_back(compression, content):
    out = io.BytesIO()
    write, end = compressed(out.write, compression)
    write(content)
    end()
    assert b"".join(codec.plain(iter([out.getvalue()]), compression)) == content
    assert codec.compression_of(out.getvalue()) == compression or not compression


def test_members_and_padding():
    raw = gzip.compress(b"one") + gzip.compress(b"two") + bytes(100)
    for size in (1, 7, 1000):
        parts = (raw[i : i + size] for i in range(0, len(raw), size))
        assert b"".join(codec.plain(parts, "gzip")) == b"onetwo"


def test_cut_and_damaged_streams():
    raw = gzip.compress(os.urandom(10000))
    for bad in (raw[:-1], raw[:100], b"", raw[:500] + b"\xff" * 50 + raw[550:]):
        with pytest.raises(ImageError):
            list(codec.plain(iter([bad] if bad else []), "gzip"))


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(codec, "ALWAYS_ALLOWED", 1 << 20)
    raw = gzip.compress(bytes(64 << 20))
    with pytest.raises(ImageError, match="bomb"):
        for _ in codec.plain(iter([raw]), "gzip"):
            pass


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "config",
                        "layers",
                        "rootfs",
                        "diff_ids",
                        "mediaType",
                        "digest",
                        "size",
                        "manifests",
                        "history",
                        "Env",
                        "type",
                    ]
                ),
                x,
            )
        ),
    )
)
def test_any_document_is_read_or_refused(value):
    raw = documents.dumps(value)
    for read in (documents.manifest, documents.index, documents.config):
        try:
            read(raw, "here")
        except BoxshipError:
            pass


def test_platforms():
    assert str(documents.parse_platform("arm64")) == "linux/arm64"
    assert str(documents.parse_platform("linux/arm/v7")) == "linux/arm/v7"
    with pytest.raises(ImageError):
        documents.parse_platform("a/b/c/d")
