# SPDX-License-Identifier: Apache-2.0
"""linux.resources → writes, for v1, v2 and mixtures; cgroups located in every arrangement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxship.errors import BoxshipError, SpecError, Unsupported
from boxship.kernel.cgroup import parse
from boxship.plan import limits

ALL = (
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "rdma",
    "misc",
    "io",
)
V1 = {name: 1 for name in ALL if name != "io"}
V2 = {name: 2 for name in ALL if name not in ("blkio", "devices", "freezer", "net_cls", "net_prio")}


def writes(resources: dict, versions: dict) -> list[tuple[str, str]]:
    return [(one.file, one.value) for one in limits.settings(resources, versions)]


@pytest.mark.parametrize(
    ("resources", "v1", "v2"),
    [
        ({"memory": {"limit": 100}}, [("memory.limit_in_bytes", "100")], [("memory.max", "100")]),
        ({"memory": {"limit": 100, "swap": 150}}, [("memory.limit_in_bytes", "100"), ("memory.memsw.limit_in_bytes", "150")],
         [("memory.swap.max", "50"), ("memory.max", "100")]),
        ({"memory": {"limit": -1}}, [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")],
         [("memory.swap.max", "max"), ("memory.max", "max")]),
        ({"memory": {"limit": 0}}, [], []),
        ({"memory": {"reservation": 7}}, [("memory.soft_limit_in_bytes", "7")], [("memory.low", "7")]),
        ({"cpu": {"shares": 1024}}, [("cpu.shares", "1024")], [("cpu.weight", "100")]),
        ({"cpu": {"shares": 2}}, [("cpu.shares", "2")], [("cpu.weight", "1")]),
        ({"cpu": {"shares": 262144}}, [("cpu.shares", "262144")], [("cpu.weight", "10000")]),
        ({"cpu": {"quota": 50000, "period": 100000}}, [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")], [("cpu.max", "50000 100000")]),
        ({"cpu": {"quota": -1}}, [("cpu.cfs_quota_us", "-1")], [("cpu.max", "max 100000")]),
        ({"cpu": {"cpus": "0-1", "mems": "0"}}, [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")], [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
        ({"pids": {"limit": 5}}, [("pids.max", "5")], [("pids.max", "5")]),
        ({"pids": {"limit": -1}}, [("pids.max", "max")], [("pids.max", "max")]),
        ({"blockIO": {"weight": 10}}, [("blkio.weight", "10")], [("io.weight", "default 1")]),
        ({"blockIO": {"weight": 1000}}, [("blkio.weight", "1000")], [("io.weight", "default 10000")]),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 99}]}}, [("blkio.throttle.read_bps_device", "8:0 99")], [("io.max", "8:0 rbps=99")]),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 4}]}, [("hugetlb.2MB.limit_in_bytes", "4"), ("hugetlb.2MB.rsvd.limit_in_bytes", "4")],
         [("hugetlb.2MB.max", "4"), ("hugetlb.2MB.rsvd.max", "4")]),
        ({"rdma": {"mlx5": {"hcaHandles": 3, "hcaObjects": 9}}}, [("rdma.max", "mlx5 hca_handle=3 hca_object=9")], [("rdma.max", "mlx5 hca_handle=3 hca_object=9")]),
        ({"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "access": "r"}]},
         [("devices.deny", "a"), ("devices.allow", "c 1:* r")], []),
    ],
    ids=lambda v: str(v)[:50] if isinstance(v, dict) else None,
)  # fmt: skip
def test_both_versions(resources, v1, v2):
    assert writes(resources, V1) == v1
    assert writes(resources, V2) == v2


def test_each_controller_on_its_own():
    mixed = {"memory": 1, "pids": 1, "hugetlb": 2}
    assert writes({"memory": {"limit": 9}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4}]}, mixed) == [
        ("memory.limit_in_bytes", "9"), ("hugetlb.2MB.max", "4"), ("hugetlb.2MB.rsvd.max", "4")]  # fmt: skip


@pytest.mark.parametrize(
    ("resources", "versions", "word"),
    [
        ({"memory": {"limit": 1}}, {}, "no memory cgroup controller"),
        ({"memory": {"limit": 5, "swap": 4}}, V1, "less than the memory limit"),
        ({"memory": {"limit": 1, "disableOOMKiller": True}}, V2, "OOM killer"),
        ({"memory": {"swap": 5}}, V2, "needs memory.limit"),
        ({"memory": {"limit": 5, "swappiness": 101}}, V1, "0 … 100"),
        ({"cpu": {"realtimeRuntime": 5}}, V2, "real-time"),
        ({"network": {"classID": 5}}, V2, "net_cls"),
        ({"unified": {"memory.high": "1"}}, V1, "not on cgroup v2"),
        ({"unified": {"../x": "1"}}, V2, "not the name"),
    ],
)
def test_what_a_version_cannot_do_is_said(resources, versions, word):
    with pytest.raises((Unsupported, SpecError), match=word):
        limits.settings(resources, versions)


@given(st.integers(2, 262144), st.integers(2, 262144))
def test_weights_keep_the_order_of_shares(a, b):
    low, high = sorted((a, b))
    assert 1 <= limits.weight_of_shares(low) <= limits.weight_of_shares(high) <= 10000


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 40), st.integers(1, 1 << 40), st.integers(0, 1 << 40))
def test_live_memory_is_written_in_an_order_that_the_kernel_takes(limit, more, now_limit, now_more):
    """At no moment may the limit be above memory + swap."""
    wanted = limits.settings({"memory": {"limit": limit, "swap": limit + more}}, V1)
    state = {"memory.limit_in_bytes": now_limit, "memory.memsw.limit_in_bytes": now_limit + now_more}
    for one in limits.ordered_memory(wanted, now_limit, now_limit + now_more):
        state[one.file] = int(one.value)
        assert state["memory.limit_in_bytes"] <= state["memory.memsw.limit_in_bytes"]


@given(
    st.dictionaries(
        st.sampled_from([*limits._SECTIONS, "other"]),
        st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
        max_size=4,
    )
)
def test_nothing_but_named_errors(resources):
    for section in ("devices", "hugepageLimits", "rdma", "unified"):
        resources.pop(section, None)  # their shapes are checked before, in spec/check_resources.py
    try:
        limits.settings(resources, V2)
    except BoxshipError as error:
        assert str(error)


LINE = "{n} 1 0:{n} {root} {mount} rw,relatime shared:1 - {type} {type} {options}\n"


def info(*mounts: tuple[str, str, str], root: str = "/") -> str:
    return "22 1 8:1 / / rw - ext4 /dev/root rw\n" + "".join(
        LINE.format(n=30 + n, root=root, mount=mount, type=kind, options=options)
        for n, (mount, kind, options) in enumerate(mounts)
    )


NAMES = {"cpu", "cpuacct", "cpuset", "memory", "hugetlb", "pids"}


def test_pure_v2():
    found = parse(info(("/sys/fs/cgroup", "cgroup2", "rw")), NAMES, lambda _: ["cpu", "memory"])
    assert found.versions == {"cpu": 2, "memory": 2}
    assert found.hierarchies == ["/sys/fs/cgroup"]


def test_pure_v1_with_controllers_together_and_named_hierarchy():
    text = info(
        ("/c/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
        ("/c/memory", "cgroup", "rw,memory"),
        ("/c/systemd", "cgroup", "rw,xattr,name=systemd"),
    )
    found = parse(text, NAMES, lambda _: [])
    assert found.versions == {"cpu": 1, "cpuacct": 1, "memory": 1}
    assert found.hierarchies == ["/c/cpu,cpuacct", "/c/memory"]


def test_hugetlb_alone_on_v2():
    text = info(("/c/memory", "cgroup", "rw,memory"), ("/c/unified", "cgroup2", "rw"))
    found = parse(text, NAMES, lambda mount: ["hugetlb"] if mount == "/c/unified" else [])
    assert found.versions == {"memory": 1, "hugetlb": 2}
    assert found.hierarchies == ["/c/memory", "/c/unified"]


def test_no_cgroups_and_odd_names():
    assert parse(info(), NAMES, lambda _: []).hierarchies == []
    assert parse(info(("/a\\040b", "cgroup", "rw,memory")), NAMES, lambda _: []).controllers["memory"].mount == "/a b"


def test_the_first_mount_counts():
    text = info(("/one", "cgroup", "rw,memory"), ("/two", "cgroup", "rw,memory"))
    assert parse(text, NAMES, lambda _: []).controllers["memory"].mount == "/one"
