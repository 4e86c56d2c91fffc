# SPDX-License-Identifier: Apache-2.0
"""Names of images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxship.errors import InvalidRequest
from boxship.image import media, reference
from boxship.image.media import ImageError

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("you/app", "docker.io/you/app:latest", "you/app:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("quay.io/x/y/z:v1", "quay.io/x/y/z:v1", "quay.io/x/y/z:v1"),
        ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest"),
        (f"debian@sha256:{HEX}", f"docker.io/library/debian@sha256:{HEX}", f"debian@sha256:{HEX}"),
        (f"debian:12@sha256:{HEX}", f"docker.io/library/debian:12@sha256:{HEX}", f"debian:12@sha256:{HEX}"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest", "a__b/c-d.e:latest"),
    ],
)
def test_names(text, full, familiar):
    found = reference.parse(text)
    assert (str(found), found.familiar) == (full, familiar)
    assert reference.parse(full) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Debian",
        "a//b",
        "/a",
        "a/",
        "a:",
        "a:b c",
        "-a",
        "a-",
        "a..b",
        "a___b",
        HEX,
        "a@sha256:12",
        "a@md5:" + HEX,
        "a:" + "x" * 129,
        "a" * 256,
        "../a",
        "a/../b",
    ],
)
def test_names_that_are_none(text):
    with pytest.raises(InvalidRequest):
        reference.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text):
    try:
        found = reference.parse(text)
    except InvalidRequest:
        return
    assert reference.parse(str(found)) == found
    assert ".." not in found.path.split("/") and not found.path.startswith("/")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_descriptor_is_read_or_refused(value):
    try:
        media.descriptor(value, "here")
    except (ImageError, InvalidRequest):
        pass


def test_compressions():
    assert media.compression("application/vnd.docker.image.rootfs.diff.tar.gzip") == "gzip"
    assert media.compression(media.LAYER) == ""
    with pytest.raises(ImageError):
        media.compression("text/plain")
