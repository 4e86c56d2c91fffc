# SPDX-License-Identifier: Apache-2.0
"""Names and properties of systemd scopes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxship.errors import SpecError
from boxship.plan import scope

V2 = {"cpu": 2, "memory": 2, "pids": 2, "io": 2, "cpuset": 2}
V1 = {"cpu": 1, "memory": 1, "pids": 1, "blkio": 1, "cpuset": 1, "devices": 1}


@pytest.mark.parametrize(
    ("text", "user", "slice_", "unit", "path"),
    [
        ("", False, "system.slice", "boxc-c1.scope", "/system.slice/boxc-c1.scope"),
        ("", True, "user.slice", "boxc-c1.scope", "/user.slice/boxc-c1.scope"),
        ("system.slice:docker:abc", False, "system.slice", "docker-abc.scope", "/system.slice/docker-abc.scope"),
        ("a-b-c.slice:p:n", False, "a-b-c.slice", "p-n.scope", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
        ("-.slice:p:n", False, "-.slice", "p-n.scope", "/p-n.scope"),
        ("x.slice::own.slice", False, "x.slice", "own.slice", "/x.slice/own.slice"),
    ],
)
def test_names(text, user, slice_, unit, path):
    found = scope.parse(text, "c1", user=user)
    assert (found.slice, found.unit, found.path) == (slice_, unit, path)


@pytest.mark.parametrize(
    "text", ["/a/b", "a.slice:b", "noslice:a:b", "a--b.slice:p:n", "-a.slice:p:n", "a.slice:p/q:n"]
)
def test_names_that_are_none(text):
    with pytest.raises(SpecError):
        scope.parse(text, "c1", user=False)


def test_limits_on_v2():
    found = dict(
        scope.properties(
            {
                "memory": {"limit": 100, "swap": 150, "reservation": 50},
                "cpu": {"shares": 1024, "quota": 12345, "period": 100000, "cpus": "0-1,9"},
                "pids": {"limit": -1},
                "blockIO": {"weight": 500},
                "unified": {"memory.high": "max", "hugetlb.2MB.max": "1"},
            },
            V2,
        )
    )
    assert found["MemoryMax"] == ("t", 100) and found["MemorySwapMax"] == ("t", 50) and found["MemoryLow"] == ("t", 50)
    assert found["CPUWeight"] == ("t", 100)
    assert found["CPUQuotaPerSecUSec"] == ("t", 130_000), "12.3 % becomes 13 %"
    assert found["AllowedCPUs"] == ("ay", bytes([0b11, 0b10]))
    assert found["TasksMax"] == ("t", scope.INFINITY) == found["MemoryHigh"]
    assert found["IOWeight"][1] == 1 + 490 * 9999 // 990
    assert "hugetlb.2MB.max" not in found


def test_limits_on_v1():
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    found = dict(scope.properties({"memory": {"limit": 100}, "cpu": {"shares": 2}, "devices": rules}, V1))
    assert found["MemoryLimit"] == ("t", 100) and found["CPUShares"] == ("t", 2)
    assert found["DevicePolicy"] == ("s", "strict")
    assert found["DeviceAllow"] == ("a(ss)", [("/dev/char/1:3", "rw")])
    assert dict(scope.properties({"devices": [{"allow": True}]}, V1))["DevicePolicy"] == ("s", "auto")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'inactive-or-failed'", ("s", "inactive-or-failed")),
        ("true", ("b", True)),
        ("uint64 1000", ("t", 1000)),
        ("-3", ("i", -3)),
        ("1.5", ("d", 1.5)),
        ("['a', 'b']", ("as", ["a", "b"])),
    ],
)
def test_annotations(text, value):
    assert scope.from_annotations({"org.systemd.property.X": text, "other": "1"}) == [("X", value)]


def test_seconds_become_microseconds():
    assert scope.from_annotations({"org.systemd.property.TimeoutStopSec": "1.5"}) == [
        ("TimeoutStopUSec", ("t", 1500000))
    ]
    with pytest.raises(SpecError, match="TimeoutStopSec"):
        scope.from_annotations({"org.systemd.property.TimeoutStopSec": "'x'"})


@given(st.text())
def test_any_annotation_is_read_or_refused(text):
    try:
        scope.from_annotations({"org.systemd.property.A": text})
    except SpecError:
        pass


@given(st.sets(st.integers(0, 300), min_size=1))
def test_bitmap(numbers):
    raw = scope.bitmap(",".join(map(str, sorted(numbers))))
    assert {8 * n + bit for n, byte in enumerate(raw) for bit in range(8) if byte >> bit & 1} == numbers
