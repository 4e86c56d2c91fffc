# SPDX-License-Identifier: Apache-2.0
"""Reading specifications: JSON as the json module reads it, exact errors, round trips, and nothing but SpecError on rubbish."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxship import fastjson
from boxship.errors import SpecError
from boxship.spec import oci
from boxship.spec.template import default_spec
from boxship.spec.validate import validate

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


@given(plain)
def test_json_round_trip(value):
    assert fastjson.loads(json.dumps(value)) == value
    assert json.loads(fastjson.dumps(value)) == value
    assert json.loads(fastjson.dumps(value, indent=2)) == value


@given(st.text(max_size=60))
def test_json_refuses_what_json_refuses(text):
    try:
        wanted = json.loads(text)
    except ValueError:
        with pytest.raises(SpecError, match="malformed JSON"):
            fastjson.loads(text)
    else:
        if wanted == wanted and "Infinity" not in text and "NaN" not in text:
            assert fastjson.loads(text) == wanted


@pytest.mark.parametrize(
    ("text", "word"),
    [(b"", "line 1 column 1"), (b"{", "line 1 column 2"), (b'{"a":1}x', "line 1 column 8"), (b"[1,\n2,,]", "line 2 column 3"), (b"\xff", "not UTF-8"),
     (b"[" * 100000, "nested too deeply"), (b'{"a": NaN}', "NaN")],
)  # fmt: skip
def test_json_errors(text, word):
    with pytest.raises(SpecError, match=word):
        fastjson.loads(text)


def test_file_names_that_are_not_utf8():
    assert json.loads(fastjson.dumps({"path": "a\udcff"})) == {"path": "a\udcff"}


def config() -> dict:
    return copy.deepcopy(default_spec())


def test_round_trip_of_a_specification():
    spec = oci.load(json.dumps(config()))
    assert validate(spec) == []
    assert oci.load(json.dumps(oci.encode(spec))) == spec


def test_null_is_absent_and_unknown_is_allowed():
    found = config()
    found["process"]["rlimits"] = None
    found["linux"]["unheard"] = {"of": 1}
    assert oci.load(json.dumps(found)).process.rlimits == []


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("process.env", ["A", 1], "$.process.env[1]"),
        ("process.user.gid", 1 << 32, "$.process.user.gid"),
        ("process.noNewPrivileges", "yes", "$.process.noNewPrivileges"),
        ("process.args", ["a\0b"], "$.process.args[0]"),
        ("linux.namespaces", {}, "$.linux.namespaces"),
        ("mounts", [{}], "$.mounts[0].destination"),
        ("root", {}, "$.root.path"),
        ("linux.timeOffsets", {"monotonic": {"secs": 1.5}}, "$.linux.timeOffsets.monotonic.secs"),
        ("hooks", {"poststop": [{"path": "/x", "timeout": 0}]}, "$.hooks.poststop[0].timeout"),
        ("hostname", "x" * 65, "$.hostname"),
        ("linux.rootfsPropagation", "sideways", "$.linux.rootfsPropagation"),
        ("linux.cgroupsPath", "/a/../b", "$.linux.cgroupsPath"),
        ("linux.netDevices", {"eth0": {"name": "x" * 16}}, "$.linux.netDevices.eth0"),
        ("linux.resources.cpu", {"period": 1}, "$.linux.resources.cpu.period"),
        ("linux.resources.devices", [{"allow": 1}], "$.linux.resources.devices[0].allow"),
        (
            "linux.resources.hugepageLimits",
            [{"pageSize": "2", "limit": 1}],
            "$.linux.resources.hugepageLimits[0].pageSize",
        ),
        (
            "linux.seccomp",
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "x"}]},
            "$.linux.seccomp.syscalls[0].names",
        ),
        ("linux.sysctl", {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1", "../x": "1"}, "$.linux.sysctl.../x"),
    ],
)
def test_errors_name_the_place(path, value, where):
    found = config()
    at = found
    *keys, last = path.split(".")
    for key in keys:
        at = at[key]
    at[last] = copy.deepcopy(value)
    with pytest.raises(SpecError) as error:
        validate(oci.load(json.dumps(found)))
    assert where in str(error.value)


def places(value: object, path: tuple = ()) -> list[tuple]:
    found = [path]
    if isinstance(value, dict):
        found += [p for key, item in value.items() for p in places(item, (*path, key))]
    elif isinstance(value, list):
        found += [p for at, item in enumerate(value) for p in places(item, (*path, at))]
    return found


PLACES = [place for place in places(default_spec()) if place]
RUBBISH = [
    None,
    True,
    0,
    -1,
    1 << 70,
    1.5,
    "",
    "\0",
    "x" * 5000,
    "\udcff",
    [],
    {},
    [[]],
    {"a": {}},
    [None],
    "../..",
    "/proc/self/fd/3",
]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(RUBBISH)), min_size=1, max_size=3))
def test_rubbish_gives_a_specification_or_a_spec_error(changes):
    found = config()
    for place, value in changes:
        at = found
        try:
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue
    try:
        spec = oci.load(json.dumps(found))
        validate(spec)
    except SpecError as error:
        assert error.path.startswith("$")
        assert "\n" not in error.message
