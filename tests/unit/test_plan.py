# SPDX-License-Identifier: Apache-2.0
"""Plans are pure: a truth table for namespaces, golden files for whole plans, the documented order."""

from __future__ import annotations

import itertools
import json
import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxship.errors import SpecError
from boxship.plan import build, explain, facts, links, mounts, namespaces
from boxship.plan import exec as joining
from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.spec import oci
from boxship.spec.template import default_spec

HERE = pathlib.Path(__file__).parent
TOP = HERE.parents[1]
KINDS = list(w.NAMESPACES)


@pytest.mark.parametrize("privileged", [True, False])
@pytest.mark.parametrize("states", list(itertools.product(("absent", "new", "path"), repeat=3)))
def test_truth_table_of_namespaces(privileged, states):
    """user, cgroup and network stand for the three kinds of treatment."""
    wanted = dict(zip(("user", "cgroup", "network"), states, strict=True))
    given_ = [
        oci.Namespace(kind, f"/ns/{kind}" if state == "path" else "")
        for kind, state in wanted.items()
        if state != "absent"
    ]
    found = namespaces.decide(given_, privileged=privileged)
    for kind, state in wanted.items():
        flag = w.NAMESPACES[kind]
        assert found.has(flag) == (state != "absent")
        assert found.made(flag) == (state == "new")
        assert (flag in [join.flag for join in found.joins]) == (state == "path")
    assert bool(found.late & w.CLONE_NEWCGROUP) == (wanted["cgroup"] == "new"), (
        "the cgroup namespace begins in the cgroup"
    )
    flags = [join.flag for join in found.joins]
    if w.CLONE_NEWUSER in flags and len(flags) > 1:
        assert flags.index(w.CLONE_NEWUSER) == (len(flags) - 1 if privileged else 0)


def hybrid() -> list[facts.Hierarchy]:
    return [
        facts.Hierarchy("/sys/fs/cgroup/cpu,cpuacct", 1, ["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct/boxship/x"),
        facts.Hierarchy("/sys/fs/cgroup/memory", 1, ["memory"], "/sys/fs/cgroup/memory/boxship/x"),
        facts.Hierarchy("/sys/fs/cgroup/unified", 2, ["hugetlb"], "/sys/fs/cgroup/unified/boxship/x"),
    ]


def pure_v2() -> list[facts.Hierarchy]:
    return [facts.Hierarchy("/sys/fs/cgroup", 2, ["cpu", "memory"], "/sys/fs/cgroup/boxship/x")]


def spec(**changes: object) -> oci.Spec:
    config = default_spec()
    config["process"]["terminal"] = False
    return oci.load(json.dumps(config)).replace(**changes)


COMPILED = facts.Compiled(
    bounding=0x20000420, effective=0x20000420, permitted=0x20000420, rlimits=[(7, 1024, 1024)], seccomp=bytes(64)
)


def plans() -> dict[str, list]:
    """The plans that golden files hold."""
    base, maps = spec(), [oci.IDMapping(0, 100000, 65536)]
    linux = base.linux.replace(
        namespaces=[*base.linux.namespaces, oci.Namespace("user")], uid_mappings=maps, gid_mappings=maps
    )
    terminal = base.replace(process=base.process.replace(terminal=True))
    hooks = oci.Hooks(prestart=[oci.Hook("/bin/a", ["a", "b"])], create_container=[oci.Hook("/bin/c", timeout=3)],
                      start_container=[oci.Hook("/bin/d")])  # fmt: skip
    supervise = s.Supervise(
        "/run/boxship/x", log_size=1 << 20, log_files=3, timeout_ms=5000, oom_file="/sys/fs/cgroup/memory/x"
    )
    bundle = facts.Launch("x", "/bundle")
    return {
        "bundle-v1": build.container(base, facts.Facts(hierarchies=hybrid()), COMPILED, bundle.replace(barrier=True)),
        "bundle-v2": build.container(base, facts.Facts(hierarchies=pure_v2()), COMPILED, bundle),
        "userns": build.container(base.replace(linux=linux), facts.Facts(hierarchies=pure_v2()), COMPILED, bundle),
        "rootless": build.container(base.replace(linux=linux), facts.Facts(privileged=False, uid=1000, gid=1000),
                                    COMPILED.replace(uidmap_helper="/usr/bin/newuidmap", gidmap_helper="/usr/bin/newgidmap"), bundle),
        "hooks-and-console": build.container(terminal.replace(hooks=hooks), facts.Facts(hierarchies=hybrid()), COMPILED, bundle),
        "host": build.container(base.replace(root=oci.Root("/"), linux=linux), facts.Facts(kernel=(6, 18), hierarchies=hybrid()), COMPILED,
                                bundle.replace(supervise=supervise, stdio="pipe", overlay=facts.Overlay(["/"]))),
        "exec": joining.process(base.process, w.CLONE_NEWNS | w.CLONE_NEWUSER | w.CLONE_NEWPID, facts.Facts(hierarchies=pure_v2()),
                                COMPILED, bundle),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(plans()))
def test_golden(name):
    """python tests/unit/test_plan.py writes them anew."""
    found = explain.text(plans()[name])
    assert found == (HERE / "golden" / f"{name}.txt").read_text()


def test_plans_are_pure():
    assert plans() == plans()


def test_order_is_the_documented_one():
    documented = re.findall(r"^\| \d+ \| `(\w+)`", (TOP / "docs" / "start-order.md").read_text(), re.M)
    assert documented == [part.__name__ for part in build.ORDER]
    assert len(build.ORDER) <= 25


def test_json_form():
    found = json.loads(explain.json(plans()["exec"], before=["mkdir(x)"], times=[5] * 99))
    assert found[0] == {"side": "engine", "does": "mkdir(x)"}
    assert {"number", "side", "step", "does", "optional", "fields", "monotonic_ns"} == set(found[1])


@pytest.mark.parametrize("plan", plans().values(), ids=plans())
def test_rules_that_every_plan_keeps(plan):
    child = [line.step for line in plan if line.side == s.CHILD]
    monitor = [line.step for line in plan if line.side == s.MONITOR]
    assert isinstance(child[0], s.Wait)
    assert isinstance(child[-1], s.Exec)
    assert sum(isinstance(step, s.Clone) for step in monitor) == 1
    names = [type(step) for step in child]
    assert names.index(s.Lookup) < names.index(s.Exec)
    dumpable = [n for n, step in enumerate(child) if isinstance(step, s.Call) and step.a == w.PR_SET_DUMPABLE]
    ids = [n for n, step in enumerate(child) if isinstance(step, s.Call) and w.CALLS[step.which] == "setresuid"]
    assert max(dumpable) > max(ids), "changing ids makes a process dumpable again"
    if s.Pivot in names:
        assert max(n for n, kind in enumerate(names) if kind is s.Attach) < names.index(s.Pivot)
        assert max(n for n, kind in enumerate(names) if kind in (s.Mask, s.ReadOnly)) < names.index(s.Pivot)


def test_mount_options():
    found = mounts.parse(
        ["rbind", "ro", "nosuid", "rprivate", "relatime", "rnoexec", "size=1m", "x-foo", "defaults", "rw"]
    )
    assert (found.bind, found.recursive_bind) == (True, True)
    assert found.set == w.ATTR_NOSUID
    assert found.clear & w.ATTR_RDONLY, "the last word wins"
    assert found.recursive_set == w.ATTR_NOEXEC
    assert (found.propagation, found.recursive_propagation) == (w.MS_PRIVATE, True)
    assert found.data == ["size=1m"]
    with pytest.raises(SpecError):
        mounts.parse(["a\0b"])


@given(st.lists(st.sampled_from([*mounts.known(), "size=1", "mode=0755"]), max_size=12))
def test_mount_options_never_contradict_themselves(words):
    found = mounts.parse(words)
    assert not found.set & found.clear & ~w.ATTR_ATIME_MASK
    assert not found.recursive_set & found.recursive_clear & ~w.ATTR_ATIME_MASK


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/a/../b", "/b"), ("a//b/.", "/a/b"), ("/../../x", "/x"), ("", "/"), ("/a/b/../../..", "/")],
)
def test_clean_paths(path, clean):
    from boxship.plan.rootfs import clean as function

    assert function(path) == clean


def test_proc_files_that_may_be_covered():
    assert mounts.may_cover("/proc/meminfo")
    assert mounts.may_cover("/proc/net/dev")
    for path in ("/proc", "/proc/self/attr", "/proc/sys/kernel", "/etc/passwd"):
        assert not mounts.may_cover(path)


def test_netlink_messages():
    up = links.loopback().messages
    assert len(up) == 32
    assert up[4:6] == (16).to_bytes(2, "little")
    moved = links.move(7, "eth9")
    assert moved.messages[moved.pid_at : moved.pid_at + 4] == bytes(4)
    assert moved.pid_at + 4 == len(moved.messages)
    assert b"eth9\0" in moved.messages


def test_hook_state_has_room_for_the_pid():
    from boxship.plan import hooks

    data, at = hooks.state(spec(annotations={"a": "ü"}), facts.Launch("id", "/b"), "creating")
    assert data[at : at + 10] == b"         0"
    filled = data[:at] + b"%10d" % 4711 + data[at + 10 :]
    assert json.loads(filled) == {
        "ociVersion": "1.2.1",
        "id": "id",
        "status": "creating",
        "pid": 4711,
        "bundle": "/b",
        "annotations": {"a": "ü"},
    }


if __name__ == "__main__":
    for name_, plan_ in plans().items():
        (HERE / "golden" / f"{name_}.txt").write_text(explain.text(plan_))
