# SPDX-License-Identifier: Apache-2.0
"""boxc on a small bundle: the lifecycle, seen from inside by the probe and from outside in /proc and /sys."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from support import run

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_what_the_container_sees(bundle):
    bundle.config["hostname"] = "inside"
    done = bundle.run("/bin/probe", "report")
    assert done.code == 0, done
    assert done.value("pid") == "1"
    assert done.value("uid") == "0"
    assert done.value("hostname") == "inside"
    assert done.value("cwd") == "/"
    assert done.value("umask") == "0022"
    assert "NoNewPrivs:\t1" in done.values("status")
    assert "rlimit: nofile 1024 1024" in done.out
    assert [line.split(" ")[0] for line in done.values("fd")] == ["0", "1", "2"], "no other descriptor is passed on"
    assert {line.split()[0].rstrip(":") for line in done.values("netdev")[2:]} == {"lo"}


def test_capabilities_in_five_sets(bundle):
    bundle.config["process"]["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_CHOWN"],
        "ambient": ["CAP_CHOWN"],
    }
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5, 6]}
    done = bundle.run("/bin/probe", "report")
    sets = dict(line.split(":\t") for line in done.values("status") if line.startswith("Cap"))
    assert int(sets["CapBnd"], 16) == 1 << 0 | 1 << 5 | 1 << 7
    assert int(sets["CapAmb"], 16) == int(sets["CapEff"], 16) == int(sets["CapPrm"], 16) == 1 << 0, (
        "exec keeps the ambient set only"
    )
    assert (done.value("uid"), done.value("gid"), done.value("groups")) == ("1000", "1000", "5 6")


def test_namespaces_are_the_containers_own(bundle):
    done = bundle.run("/bin/probe", "report")
    own = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")}
    seen = dict(line.split(" ") for line in done.values("ns"))
    for name, link in own.items():
        assert (seen[name] == link) == (name == "user"), name


def test_mounts_masks_and_read_only_paths(bundle):
    done = bundle.run(
        "/bin/sh",
        "-c",
        "probe mount tmpfs /mnt; for f in /proc/kcore /proc/keys /proc/timer_list; do [ -e $f ] && stat -c '%n %F' $f; done; "
        "ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/printk || echo refused; cat /proc/mounts",
    )
    assert "mount: EPERM" in done.out
    assert "refused" in done.out
    for line in done.out.splitlines():
        if line.startswith(("/proc/kcore", "/proc/keys", "/proc/timer_list")):
            assert line.endswith("character special file"), line
    fields = {line.split()[1]: line.split() for line in done.out.splitlines() if len(line.split()) == 6}
    assert fields["/dev/shm"][2] == "tmpfs"
    assert {"nosuid", "noexec", "nodev"} <= set(fields["/dev/shm"][3].split(","))
    assert "ro" in fields["/sys"][3].split(",")
    assert "/dev/pts" in fields
    host = {line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()}
    assert not {
        m
        for m in fields
        if m in host
        and m not in ("/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys")
        and not m.startswith(("/sys/fs/cgroup", "/proc/"))
    }, "nothing of the host's is mounted"


def test_lifecycle(bundle):
    assert bundle.create("/bin/sh", "-c", "echo started; sleep 1000").code == 0
    state = bundle.state()
    assert state["status"] == "created"
    assert pathlib.Path(f"/proc/{state['pid']}/comm").read_text() == "boxmon\n"
    assert bundle.output == ""
    assert bundle.boxc("start", bundle.id).code == 0
    assert bundle.state()["status"] == "running"
    assert "is running, not created" in bundle.boxc("start", bundle.id).err
    assert "is running" in bundle.boxc("delete", bundle.id).err
    listed = json.loads(bundle.boxc("list", "--format", "json").out)
    assert [one["id"] for one in listed] == [bundle.id]
    assert bundle.boxc("kill", bundle.id, "KILL").code == 0
    wait_for_end(state["pid"])
    assert bundle.state()["status"] == "stopped"
    assert bundle.boxc("delete", bundle.id).code == 0
    assert "does not exist" in bundle.boxc("state", bundle.id).err


def wait_for_end(pid: int) -> None:
    """The process is nobody's child here: its end is seen on its pidfd."""
    import select

    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    assert poller.poll(10_000), f"process {pid} does not end"
    os.close(fd)


def test_created_container_can_be_deleted(bundle):
    assert bundle.create("/bin/sleep", "1000").code == 0
    assert bundle.boxc("delete", bundle.id).code == 0


def test_exit_code_and_signal(bundle):
    assert bundle.run("/bin/probe", "exit", "42").code == 42
    bundle.id += "b"
    assert bundle.run("/bin/sh", "-c", "kill -KILL $$; true").code in (0, 137)


def test_exec(bundle):
    bundle.create("/bin/sleep", "1000")
    bundle.boxc("start", bundle.id)
    done = bundle.boxc("exec", bundle.id, "/bin/probe", "report")
    assert done.code == 0, done
    assert int(done.value("pid")) > 1
    first = os.readlink(f"/proc/{bundle.state()['pid']}/ns/mnt")
    assert dict(line.split(" ") for line in done.values("ns"))["mnt"] == first
    assert done.values("cgroup"), done
    outside = pathlib.Path(f"/proc/{bundle.state()['pid']}/cgroup").read_text()
    assert bundle.id in outside
    other = bundle.boxc(
        "exec", "--user", "1000:1000", "--cwd", "/tmp", "--env", "A=b", bundle.id, "/bin/probe", "report"
    )
    assert (other.value("uid"), other.value("cwd")) == ("1000", "/tmp")
    assert "A=b" in other.values("env")
    assert int(dict(line.split(":\t") for line in other.values("status") if line.startswith("Cap"))["CapEff"], 16) == 0
    assert bundle.boxc("exec", bundle.id, "/bin/probe", "exit", "9").code == 9


def test_exec_process_file(bundle, tmp_path):
    bundle.create("/bin/sleep", "1000")
    bundle.boxc("start", bundle.id)
    file = tmp_path / "process.json"
    file.write_text(
        json.dumps(
            {"args": ["/bin/probe", "report"], "cwd": "/home", "user": {"uid": 7, "gid": 8}, "env": ["PATH=/bin"]}
        )
    )
    done = bundle.boxc("exec", "--process", file, bundle.id)
    assert (done.value("uid"), done.value("gid"), done.value("cwd")) == ("7", "8", "/home")


def test_pause_and_resume(bundle):
    bundle.create("/bin/sh", "-c", "while :; do echo x; sleep 0.01; done")
    bundle.boxc("start", bundle.id)
    assert bundle.boxc("pause", bundle.id).code == 0
    assert bundle.state()["status"] == "paused"
    size = len(bundle.output)
    time.sleep(0.2)  # a frozen container must stay silent: there is no event to wait for
    assert len(bundle.output) == size
    assert bundle.boxc("resume", bundle.id).code == 0
    assert bundle.state()["status"] == "running"
    assert "not paused" in bundle.boxc("resume", bundle.id).err


def cgroup2_only() -> bool:
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def test_update(bundle):
    bundle.create("/bin/sleep", "1000")
    assert (
        bundle.boxc(
            "update",
            "--memory",
            "64m",
            "--memory-swap",
            "128m",
            "--pids-limit",
            "33",
            "--cpu-quota",
            "50000",
            bundle.id,
        ).code
        == 0
    )
    stats = json.loads(bundle.boxc("events", "--stats", bundle.id).out)["data"]
    assert stats["memory"]["usage"]["limit"] == 64 << 20
    assert stats["pids"]["limit"] == 33
    assert bundle.boxc("update", "--memory", "256m", "--memory-swap", "512m", bundle.id).code == 0, (
        "growing needs another order of writes"
    )
    assert bundle.boxc("update", "--memory", "32m", "--memory-swap", "64m", bundle.id).code == 0
    stats = json.loads(bundle.boxc("events", "--stats", bundle.id).out)["data"]
    assert stats["memory"]["usage"]["limit"] == 32 << 20
    # cgroup v2 takes any limit and kills: there, a word that it cannot read is refused.
    refused = {"memory": {"limit": 1}} if not cgroup2_only() else {"unified": {"memory.high": "nonsense"}}
    bad = bundle.boxc("update", "--resources", "-", bundle.id, stdin=json.dumps({"pids": {"limit": 5}, **refused}))
    assert bad.code != 0
    assert json.loads(bundle.boxc("events", "--stats", bundle.id).out)["data"]["pids"]["limit"] == 33, "all or nothing"


def test_pids_limit_stops_a_fork_bomb(bundle):
    bundle.config["linux"]["resources"]["pids"] = {"limit": 20}
    done = bundle.run("/bin/probe", "fork", "1000")
    assert done.value("forked") == "19"


def test_memory_limit_kills(bundle):
    bundle.config["linux"]["resources"]["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    assert bundle.run("/bin/probe", "alloc", "100").code == 137


def test_device_rules(bundle):
    bundle.config["linux"]["devices"] = [
        {"type": "c", "path": "/dev/loop-control", "major": 10, "minor": 237, "fileMode": 0o666}
    ]
    done = bundle.run("/bin/sh", "-c", "probe open /dev/loop-control r; probe open /dev/null w; probe open /dev/zero r")
    assert done.out.split() == ["open:", "EPERM", "open:", "ok", "open:", "ok"]
    bundle.config["linux"]["resources"]["devices"].append(
        {"allow": True, "type": "c", "major": 10, "minor": 237, "access": "r"}
    )
    bundle.id += "b"
    assert "EPERM" not in bundle.run("/bin/probe", "open", "/dev/loop-control", "r").out


def test_binds_and_propagation(bundle, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("from outside")
    bundle.config["mounts"] += [
        {"destination": "/mnt/ro", "type": "bind", "source": str(outside), "options": ["rbind", "ro"]},
        {"destination": "/mnt/rw/deep/er", "type": "bind", "source": str(outside), "options": ["rbind", "rprivate"]},
        {"destination": "/mnt/one", "type": "bind", "source": str(outside / "file"), "options": ["bind"]},
    ]
    done = bundle.run("/bin/sh", "-c", "cat /mnt/one; probe open /mnt/ro/new wc; probe open /mnt/rw/deep/er/new wc")
    assert done.out == "from outsideopen: EROFS\nopen: ok\n"
    assert (outside / "new").exists()


def test_tmpcopyup(bundle, rootfs):
    (rootfs / "data" / "sub").mkdir(parents=True)
    (rootfs / "data" / "sub" / "file").write_text("kept")
    (rootfs / "data" / "link").symlink_to("sub/file")
    bundle.config["mounts"].append(
        {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m"]}
    )
    done = bundle.run("/bin/sh", "-c", "cat /data/link; rm /data/sub/file; ls /data/sub")
    assert done.out == "kept"
    assert (rootfs / "data" / "sub" / "file").exists()


def test_symlinked_target_stays_inside(bundle, rootfs, tmp_path):
    """/etc/resolv.conf of many images points to a file that does not exist yet, and absolutely."""
    (rootfs / "etc" / "resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    (tmp_path / "resolv").write_text("nameserver 127.0.0.1\n")
    bundle.config["mounts"].append(
        {
            "destination": "/etc/resolv.conf",
            "type": "bind",
            "source": str(tmp_path / "resolv"),
            "options": ["bind", "ro"],
        }
    )
    assert bundle.run("/bin/cat", "/etc/resolv.conf").out == "nameserver 127.0.0.1\n"
    assert (rootfs / "run" / "systemd" / "resolve" / "stub-resolv.conf").exists()
    assert not os.path.exists("/run/systemd/resolve/stub-resolv.conf") or os.path.isdir("/run/systemd/system")


def test_readonly_root(bundle):
    bundle.config["root"]["readonly"] = True
    assert (
        bundle.run("/bin/sh", "-c", "probe open /new wc; probe open /dev/shm/new wc").out == "open: EROFS\nopen: ok\n"
    )


def test_user_namespace(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    ids = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    bundle.config["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    os.chmod(bundle.path, 0o755)
    subprocess.run(["chown", "-R", "200000:200000", bundle.path / "rootfs"], check=True)
    done = bundle.run("/bin/probe", "report")
    assert done.code == 0, done
    assert done.value("uid_map").split() == ["0", "200000", "65536"]
    assert done.value("uid") == "0"


def test_hooks_in_order(bundle, tmp_path):
    log = tmp_path / "hooks"
    log.touch()
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    script = tmp_path / "hook.sh"
    script.write_text(f"#!/bin/sh\ncat >/dev/null\necho $1 >>{log}\n")
    script.chmod(0o755)
    inside = tmp_path / "rootfs" / "bin" / "hook"
    inside.write_text("#!/bin/sh\nread line\necho startContainer $line >>/hooks\n")
    inside.chmod(0o755)
    bundle.config["hooks"] = {
        kind: [{"path": str(script), "args": ["hook", kind]}] for kind in kinds if kind != "startContainer"
    }
    bundle.config["hooks"]["startContainer"] = [{"path": "/bin/hook", "args": ["hook"], "env": ["PATH=/bin"]}]
    assert bundle.create("/bin/true").code == 0, bundle.output
    assert log.read_text().split() == ["prestart", "createRuntime", "createContainer"]
    assert bundle.boxc("start", bundle.id).code == 0
    wait_for_end(bundle.state()["pid"] or 1) if bundle.state()["pid"] else None
    bundle.boxc("delete", bundle.id)
    assert log.read_text().split() == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    said = (tmp_path / "rootfs" / "hooks").read_text()
    state = json.loads(said.removeprefix("startContainer "))
    assert state["id"] == bundle.id
    assert state["pid"] == 1, "the hook runs in the container's pid namespace"


def test_failing_hook_stops_create(bundle, tmp_path):
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo too bad >&2; exit 3"]}]}
    done = bundle.create("/bin/true")
    assert done.code == 125
    assert "createRuntime hook /bin/sh: exit status 3: too bad" in done.err
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]}
    bundle.id += "b"
    assert "timed out" in bundle.create("/bin/true").err


def test_seccomp(bundle):
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 75},
            {"names": ["getpriority"], "action": "SCMP_ACT_KILL_PROCESS"},
        ],
    }
    assert bundle.run("/bin/probe", "mkdir", "/x").out == "mkdir: EOVERFLOW\n"
    bundle.id += "b"
    assert bundle.run("/bin/probe", "report").code == 128 + 31
    bundle.id += "c"
    bundle.config["process"]["noNewPrivileges"] = False
    assert bundle.run("/bin/probe", "mkdir", "/x").out == "mkdir: EOVERFLOW\n", "also without no_new_privs"


def test_scheduling_and_limits(bundle):
    bundle.config["process"] |= {
        "oomScoreAdj": 321,
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}, {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
    }
    bundle.config["linux"]["personality"] = {"domain": "LINUX32"}
    done = bundle.run("/bin/probe", "report")
    assert done.value("oom_score_adj") == "321"
    assert done.value("ioprio") == str(2 << 13 | 6)
    assert (done.value("sched"), done.value("nice")) == ("3", "5")
    assert done.value("personality") == "8"
    assert {"core 0 0", "nofile 100 200"} <= set(done.values("rlimit"))


def test_hard_limit_is_clamped_with_a_warning(bundle):
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]
    done = bundle.run("/bin/probe", "report")
    assert done.code == 0
    found = next(line for line in done.values("rlimit") if line.startswith("nofile"))
    if found.split()[2] == str(hard):
        assert "RLIMIT_NOFILE" in done.err
        assert "CAP_SYS_RESOURCE" in done.err
    else:
        assert found == f"nofile {hard + 1} {hard + 1}"


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/time"), reason="this kernel has no time namespaces")
def test_time_offsets(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}}
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert int(bundle.run("/bin/probe", "report").value("boottime")) >= before + 999_990


def test_sysctl(bundle):
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}
    done = bundle.run("/bin/cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shm_rmid_forced")
    assert done.out.split() == ["1", "1"]


def test_joined_namespaces(bundle, tmp_path):
    holder = subprocess.Popen(["unshare", "--net", "--uts", "sleep", "1000"])
    try:
        while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            os.sched_yield()
        links = {kind: os.readlink(f"/proc/{holder.pid}/ns/{kind}") for kind in ("net", "uts")}
        for namespace in bundle.config["linux"]["namespaces"]:
            if namespace["type"] in ("network", "uts"):
                namespace["path"] = f"/proc/{holder.pid}/ns/{ {'network': 'net', 'uts': 'uts'}[namespace['type']] }"
        del bundle.config["hostname"]
        seen = dict(line.split(" ") for line in bundle.run("/bin/probe", "report").values("ns"))
        assert {kind: seen[kind] for kind in links} == links
    finally:
        holder.kill()
        holder.wait()


def test_preserved_descriptors(bundle, tmp_path):
    bundle.config["process"]["args"] = ["/bin/sh", "-c", "cat <&3; probe report"]
    bundle.write()
    file = tmp_path / "passed"
    file.write_text("passed on\n")
    command = f"exec {bundle.boxc_path} --root {bundle.state_root} run --preserve-fds 1 --bundle {bundle.path} {bundle.id} 3<{file}"
    done = run("/bin/sh", "-c", command)
    assert done.out.startswith("passed on\n")
    assert [line.split(" ")[0] for line in done.values("fd")] == ["0", "1", "2", "3"]


def test_pid_file_and_no_pivot(bundle, tmp_path):
    bundle.write()
    done = bundle.boxc("run", "--no-pivot", "--pid-file", tmp_path / "pid", "--bundle", bundle.path, bundle.id)
    assert done.code == 0, done
    assert int((tmp_path / "pid").read_text()) > 1


def test_terminal(bundle):
    bundle.config["process"] |= {
        "terminal": True,
        "args": ["/bin/sh", "-c", "test -t 0 && test -t 1 && stty size; ls -l /dev/console"],
    }
    bundle.config["process"]["consoleSize"] = {"height": 33, "width": 99}
    bundle.write()
    done = bundle.boxc("run", "--bundle", bundle.path, bundle.id)
    assert done.code == 0, done
    assert "33 99" in done.out
    assert "136," in done.out, "/dev/console is the container's own pty"


def test_rootless_needs_nothing_of_root(bundle, tmp_path):
    """An ordinary user with one id, from `boxc spec --rootless`; he gets his own copy of the package, which he may read."""
    import boxship

    home = tmp_path / "user"
    shutil.copytree(pathlib.Path(boxship.__file__).parent, home / "lib" / "boxship")
    subprocess.run(["cp", "-a", tmp_path / "rootfs", home / "rootfs"], check=True)
    subprocess.run(["chown", "-R", "1000:1000", home], check=True)
    (home / "boxc").write_text(f"""#!/bin/sh
exec /usr/bin/python3 -c 'import sys; sys.path.insert(0, "{home}/lib"); from boxship.runtime.oci_cli import main; sys.exit(main())' "$@"
""")
    (home / "boxc").chmod(0o755)
    command = (
        f"cd {home} && export HOME={home} XDG_RUNTIME_DIR={home}/run && mkdir run && ./boxc spec --rootless && "
        """sed -i 's/"terminal": true/"terminal": false/; s#"sh"#"/bin/probe", "report"#' config.json && """
        f"./boxc run {bundle.id}"
    )
    done = run("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "sh", "-c", command)
    assert done.code == 0, done
    assert done.value("uid_map").split() == ["0", "1000", "1"]
    assert done.value("hostname") == "boxc"
