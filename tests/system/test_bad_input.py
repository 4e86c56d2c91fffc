# SPDX-License-Identifier: Apache-2.0
"""Bad input: one clear line with what, where and what to do; Docker's exit codes; nothing changed."""

from __future__ import annotations

import os
import pathlib
import struct
import subprocess

import pytest

pytestmark = pytest.mark.usefixtures("nothing_left")


def one_line(done, *words: str, code: int = 125) -> None:
    """The error is one line, and perhaps a hint; all of these words are in it."""
    assert done.code == code, done
    lines = [line for line in done.err.splitlines() if not line.startswith(("boxc: warning", "box: warning"))]
    assert lines[0].startswith(("boxc: ", "box: ")), done
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: ")), done
    for word in words:
        assert word in done.err, done


def test_malformed_json(bundle):
    bundle.write()
    (bundle.path / "config.json").write_text('{"ociVersion": "1.0.0",\n "process": {]}')
    one_line(bundle.boxc("run", "--bundle", bundle.path, bundle.id), "$: malformed JSON at line 2 column 14")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["process", "args"], ["ok", 3], ["$.process.args[1]", "expected a string, got 3"]),
        (["process", "args"], [], ["$.process.args", "names no program"]),
        (["process", "cwd"], "tmp", ["$.process.cwd", "not an absolute path"]),
        (["process", "user", "uid"], -1, ["$.process.user.uid", "out of range"]),
        (["process", "oomScoreAdj"], 2000, ["$.process.oomScoreAdj", "-1000 … 1000"]),
        (
            ["process", "rlimits"],
            [{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}],
            ["$.process.rlimits[0].type", "RLIMIT_FOO"],
        ),
        (["ociVersion"], "2.0.0", ["$.ociVersion", "1.x is"]),
        (["linux", "namespaces"], [{"type": "mount"}, {"type": "galaxy"}], ["$.linux.namespaces[1].type", "galaxy"]),
        (["linux", "resources", "memory"], {"limit": "lots"}, ["$.linux.resources.memory.limit", "whole number"]),
        (["linux", "resources", "pids"], {"limit": 1 << 70}, ["$.linux.resources.pids.limit", "out of range"]),
        (["linux", "sysctl"], {"vm.swappiness": "1"}, ["$.linux.sysctl.vm.swappiness", "would change the host"]),
        (["linux", "devices"], [{"type": "x", "path": "/dev/x"}], ["$.linux.devices[0].type", "none of c, b, u, p"]),
        (
            ["linux", "uidMappings"],
            [{"containerID": 0, "hostID": 0, "size": 1}],
            ["$.linux.uidMappings", "needs a user namespace"],
        ),
        (
            ["linux", "seccomp"],
            {"defaultAction": "SCMP_ACT_MAYBE"},
            ["$.linux.seccomp.defaultAction", "SCMP_ACT_MAYBE"],
        ),
        (["hooks"], {"prestart": [{"path": "bin/x"}]}, ["$.hooks.prestart[0].path", "not an absolute path"]),
        (["root", "path"], "no-such-dir", ["no such root file system", "root.path"]),
        (["mounts"], [{"destination": "/a", "type": "bind"}], ["$.mounts[0].source", "bind mount needs one"]),
    ],
    ids=lambda v: ".".join(map(str, v)) if isinstance(v, list) and v and isinstance(v[0], str) else None,
)
def test_configuration_is_named_by_path(bundle, path, value, words):
    at = bundle.config
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    one_line(bundle.run(), *words)


def test_unknown_syscalls_are_named(bundle):
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "frobnicate"], "action": "SCMP_ACT_ERRNO"}],
    }
    done = bundle.run("/bin/probe", "exit", "0")
    assert done.code == 0
    assert "frobnicate" in done.err


def test_several_problems_at_once(bundle):
    bundle.config["process"]["cwd"] = "x"
    bundle.config["linux"]["maskedPaths"] = ["y"]
    one_line(bundle.run(), "$.process.cwd", "$.linux.maskedPaths[0]")


def test_no_such_program(bundle):
    one_line(bundle.run("nonesuch"), "executable file not found", code=127)
    one_line(bundle.run("/bin/nonesuch"), "/bin/nonesuch", "no such file or directory", code=127)


def test_why_exec_is_refused(bundle, rootfs, tmp_path):
    def program(name: str, data: bytes, mode: int = 0o755) -> str:
        path = rootfs / "bin" / name
        path.write_bytes(data)
        path.chmod(mode)
        return f"/bin/{name}"

    arm = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 183, 1) + bytes(100)
    one_line(bundle.run(program("plain", b"#!/bin/sh\n", 0o644)), "has no execute permission", code=126)
    one_line(bundle.run(program("shebang", b"#!/usr/bin/perl6\n")), "interpreter '/usr/bin/perl6'", code=127)
    one_line(bundle.run(program("dos", b"#!/bin/sh\r\necho\r\n")), "carriage return", code=127)
    one_line(bundle.run(program("arm", arm)), "exec format error", "aarch64", code=126)
    one_line(
        bundle.run(program("text", b"hello\n")), "exec format error", "neither an ELF program nor a script", code=126
    )
    one_line(bundle.run("/bin"), "it is a directory", code=126)
    bundle.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": str(rootfs / "bin"), "options": ["bind", "noexec"]}
    )
    one_line(bundle.run("/mnt/true"), "mounted noexec", code=126)


def test_dynamic_program_without_its_loader(bundle, rootfs):
    (rootfs / "bin" / "ls-host").write_bytes(pathlib.Path("/bin/ls").read_bytes())
    (rootfs / "bin" / "ls-host").chmod(0o755)
    one_line(bundle.run("/bin/ls-host"), "dynamic loader is not in the container", code=127)


def test_used_id(bundle):
    assert bundle.create("/bin/sleep", "100").code == 0
    one_line(bundle.boxc("create", "--bundle", bundle.path, bundle.id), f"container id '{bundle.id}' is in use")


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".", "ä", "a b"])
def test_bad_ids(bundle, name):
    bundle.write()
    one_line(bundle.boxc("run", "--bundle", bundle.path, "--", name), "container id", "only letters")


def test_namespace_paths(bundle, tmp_path):
    namespaces = {n["type"]: n for n in bundle.config["linux"]["namespaces"]}
    namespaces["network"]["path"] = "/proc/self/ns/gone"
    one_line(bundle.run(), "open(/proc/self/ns/gone)", "ENOENT")
    namespaces["network"]["path"] = "/proc/self/ns/uts"
    one_line(bundle.run(), "setns(/proc/self/ns/uts)", "EINVAL", "not a namespace of that kind")


def test_refused_id_map(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 4294967295, "size": 1}]
    bundle.config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 1}]
    one_line(bundle.run(), "uid_map", "EINVAL")


def test_missing_controller(bundle):
    bundle.config["linux"]["resources"]["network"] = {"classID": 1}
    one_line(bundle.run(), "network.classID", "no net_cls cgroup controller")


def test_missing_bundle_and_config(boxc, tmp_path):
    one_line(boxc("--root", tmp_path / "s", "run", "--bundle", tmp_path, "x"), "config.json: no such file")
    one_line(boxc("--root", tmp_path / "s", "state", "x"), "container 'x' does not exist")


def test_state_directory(boxc, bundle, tmp_path):
    bundle.write()
    file = tmp_path / "file"
    file.touch()
    one_line(boxc("--root", file / "x", "run", "--bundle", bundle.path, bundle.id), "mkdir", "ENOTDIR", "--root")
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    one_line(boxc("--root", loose, "run", "--bundle", bundle.path, bundle.id), "not ours alone")


def test_read_only_state_directory(bundle, tmp_path, boxc_path):
    bundle.write()
    state = tmp_path / "state"
    state.mkdir()
    run_there = f"exec {boxc_path} --root {state}/x run --bundle {bundle.path} {bundle.id}"
    command = f"mount -t tmpfs -o ro tmpfs {state} && {run_there}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 125
    assert "EROFS" in done.stderr
    assert "--root" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_words_of_the_command_line(boxc, box):
    one_line(boxc("crate", "x"), "unknown command 'crate'", "did you mean create")
    one_line(boxc("run", "--bundel", "x"), "--bundel", "did you mean --bundle")
    one_line(
        box("run", "--memroy", "1g", "--cpus", "many", "host", "true"),
        "did you mean --memory",
        "--cpus 'many': not a number",
    )
    one_line(
        box("run", "-v", "nowhere", "-w", "rel", "--cpus", "9999", "host", "true"),
        "--volume nowhere",
        "--workdir rel",
        "--cpus 9999",
    )
    one_line(box("run", "--pull", "never", "debian", "true"), "image 'debian'")
    one_line(box("run", "--cap-add", "CAP_MAGIC", "host", "true"), "CAP_MAGIC")
    one_line(box("run", "--user", "nobody-here", "host", "true"), "no such user")
    one_line(box("stop", "nonesuch"), "no such container")


def test_missing_bind_source(bundle):
    bundle.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": "/no/such/thing", "options": ["bind"]}
    )
    one_line(bundle.run(), "open_tree(/no/such/thing)", "ENOENT", "there is no such directory or file on the host")


def test_file_over_directory(bundle, tmp_path):
    (tmp_path / "file").touch()
    bundle.config["mounts"].append(
        {"destination": "/etc", "type": "bind", "source": str(tmp_path / "file"), "options": ["bind"]}
    )
    one_line(bundle.run(), "ENOTDIR", "must both be")


def test_unknown_file_system(bundle):
    bundle.config["mounts"].append({"destination": "/mnt", "type": "nosuchfs", "source": "x"})
    one_line(bundle.run(), "fsopen(nosuchfs)", "ENODEV", "does not know this file system")
    bundle.config["mounts"][-1] = {"destination": "/mnt", "type": "tmpfs", "source": "x", "options": ["nonsense=1"]}
    one_line(bundle.run(), "fsconfig(nonsense=1)", "EINVAL", "the kernel says")


@pytest.mark.skipif(os.path.exists("/sys/module/apparmor/parameters/enabled"), reason="AppArmor is active here")
def test_profile_without_apparmor(bundle):
    bundle.config["process"]["apparmorProfile"] = "docker-default"
    one_line(bundle.run(), "$.process.apparmorProfile", "AppArmor is not active")


@pytest.mark.skipif(not os.path.exists("/sys/module/apparmor/parameters/enabled"), reason="needs AppArmor")
def test_profile_that_is_not_loaded(bundle):
    bundle.config["process"]["apparmorProfile"] = "no-such-profile"
    one_line(bundle.run(), "no-such-profile", "no such profile is loaded")


def test_cgroups_that_belong_to_others(bundle):
    bundle.config["linux"]["cgroupsPath"] = "/"
    one_line(bundle.run("/bin/true"), "$.linux.cgroupsPath", "root of the hierarchy")
    bundle.config["linux"]["cgroupsPath"] = f"/boxship-test-{os.getpid()}"
    first = bundle.create("/bin/sleep", "100")
    assert first.code == 0, first
    one_line(bundle.boxc("create", "--bundle", bundle.path, bundle.id + "b"), "1 processes are in this cgroup already")
    assert bundle.state()["status"] == "created", "the first one is as it was"


def test_without_cgroups(bundle):
    del bundle.config["linux"]["resources"]
    bundle.write()
    done = bundle.boxc("--cgroup-manager", "disabled", "run", "--bundle", bundle.path, bundle.id)
    assert done.code == 0, done
    assert not [line for line in done.values("cgroup") if bundle.id in line]
