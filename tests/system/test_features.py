# SPDX-License-Identifier: Apache-2.0
"""Mechanisms that need a partner: idmapped mounts, network devices, seccomp listeners, AppArmor, newuidmap, console sockets."""

from __future__ import annotations

import array
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess

import pytest

from support import run

pytestmark = pytest.mark.usefixtures("nothing_left")


def can_be_idmapped(path: pathlib.Path) -> bool:
    from boxship.kernel import idmap
    from boxship.runtime import host

    return idmap.can_be_idmapped(str(path), host.kernel_version())


def test_idmapped_bind_mount(bundle, tmp_path):
    """Files of id 5000 on the host belong to id 0 inside; what root makes inside belongs to 5000 outside."""
    if not can_be_idmapped(tmp_path):
        pytest.skip("this file system cannot be idmapped")
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("x")
    for path in (source, source / "file"):
        os.chown(path, 5000, 5000)
    maps = [{"containerID": 5000, "hostID": 0, "size": 1}]
    bundle.config["mounts"].append({"destination": "/mnt", "type": "bind", "source": str(source), "options": ["bind", "idmap"],
                                    "uidMappings": maps, "gidMappings": maps})  # fmt: skip
    done = bundle.run("/bin/sh", "-c", "stat -c %u:%g /mnt/file; touch /mnt/new")
    assert done.out == "0:0\n", done
    assert (source / "new").stat().st_uid == 5000


def test_idmapped_for_the_containers_own_user_namespace(bundle, tmp_path):
    if not can_be_idmapped(tmp_path):
        pytest.skip("this file system cannot be idmapped")
    ids = [{"containerID": 0, "hostID": 300000, "size": 1000}]
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    bundle.config["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    os.chmod(bundle.path, 0o755)
    subprocess.run(["chown", "-R", "300000:300000", bundle.path / "rootfs"], check=True)
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("x")
    bundle.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": str(source), "options": ["bind", "idmap"]}
    )
    assert bundle.run("/bin/stat", "-c", "%u:%g", "/mnt/file").out == "0:0\n"


@pytest.fixture
def device():
    """One end of a veth pair, if this kernel has veth."""
    name = f"bx{os.getpid() % 100000}"
    made = run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p")
    if made.code:
        pytest.skip(f"no veth here: {made.err.strip()}")
    yield name
    run("ip", "link", "del", f"{name}p")


def test_network_device_moves_in(bundle, device):
    bundle.config["linux"]["netDevices"] = {device: {"name": "eth7"}}
    done = bundle.run("/bin/probe", "report")
    assert done.code == 0, done
    assert {line.split()[0].rstrip(":") for line in done.values("netdev")[2:]} == {"lo", "eth7"}
    bundle.config["linux"]["netDevices"] = {"nonesuch9": {}}
    bundle.id += "b"
    missing = bundle.run("/bin/true")
    assert missing.code == 125
    assert "nonesuch9: no such network device" in missing.err


def receive(listener: socket.socket) -> tuple[bytes, int]:
    """A message with a descriptor."""
    listener.settimeout(20)
    client, _ = listener.accept()
    with client:
        data, ancillary, _, _ = client.recvmsg(65536, socket.CMSG_SPACE(4))
        fds = array.array("i")
        fds.frombytes(ancillary[0][2][:4])
        return data, fds[0]


def test_seccomp_listener_gets_the_descriptor_and_the_state(bundle, tmp_path):
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()
        bundle.config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(path),
            "listenerMetadata": "hello",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        }
        done = bundle.create("/bin/true")
        assert done.code == 0, done
        data, fd = receive(agent)
        try:
            state = json.loads(data)
            assert state["fds"] == ["seccompFd"]
            assert state["metadata"] == "hello"
            assert state["pid"] == bundle.state()["pid"]
            assert state["state"]["id"] == bundle.id
            assert "seccomp" in os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)


def test_console_socket(bundle, tmp_path):
    bundle.config["process"] |= {"terminal": True, "args": ["/bin/sh", "-c", "echo on a terminal; sleep 0.1"]}
    bundle.write()
    path = tmp_path / "console.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        done = bundle.boxc("create", "--console-socket", path, "--bundle", bundle.path, bundle.id)
        assert done.code == 0, done
        _, master = receive(listener)
        assert bundle.boxc("start", bundle.id).code == 0
        assert b"on a terminal" in os.read(master, 100)
        os.close(master)


def test_terminal_needs_a_socket_when_nobody_stays(bundle):
    bundle.config["process"]["terminal"] = True
    done = bundle.create("/bin/true")
    assert done.code == 125
    assert "--console-socket" in done.err


@pytest.mark.skipif(not os.path.exists("/sys/module/apparmor/parameters/enabled"), reason="AppArmor is not active here")
def test_apparmor_profile_is_taken_on(bundle):
    profile = "abi <abi/3.0>,\nprofile boxship-test flags=(attach_disconnected) {\n  file,\n  deny /etc/passwd r,\n  capability,\n}\n"
    loaded = subprocess.run(
        ["apparmor_parser", "--replace", "--skip-cache"], input=profile, text=True, capture_output=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr
    bundle.config["process"]["apparmorProfile"] = "boxship-test"
    done = bundle.run("/bin/sh", "-c", "cat /proc/self/attr/current; cat /etc/passwd")
    assert "boxship-test (enforce)" in done.out, done
    assert "root:x" not in done.out


def test_many_ids_without_privilege(bundle, tmp_path):
    """An ordinary user with a range in /etc/subuid: newuidmap and newgidmap write the maps."""
    import boxship

    home = tmp_path / "user"
    shutil.copytree(pathlib.Path(boxship.__file__).parent, home / "lib" / "boxship")
    subprocess.run(["cp", "-a", tmp_path / "rootfs", home / "rootfs"], check=True)
    config = json.loads(json.dumps(bundle.config))
    config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "user")]
    both = [{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 500000, "size": 1000}]
    config["linux"] |= {"uidMappings": both, "gidMappings": both, "resources": None}
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/sys")]
    config["process"] |= {"user": {"uid": 7, "gid": 8}}
    (home / "config.json").write_text(json.dumps(config))
    (home / "boxc").write_text(f"""#!/bin/sh
exec /usr/bin/python3 -c 'import sys; sys.path.insert(0, "{home}/lib"); from boxship.runtime.oci_cli import main; sys.exit(main())' "$@"
""")
    (home / "boxc").chmod(0o755)
    (home / "run").mkdir()
    (tmp_path / "subid").write_text("#1000:500000:1000\n1000:500000:1000\n")
    subprocess.run(["chown", "-R", "1000:1000", home], check=True)
    # The range is given in a mount namespace of the test's own: the host's files stay as they are.
    passwd = tmp_path / "passwd"
    passwd.write_text(pathlib.Path("/etc/passwd").read_text() + "boxtest:x:1000:1000::/:/bin/sh\n")
    binds = "".join(f"mount --bind {source} {target} && " for source, target in
                    ((tmp_path / "subid", "/etc/subuid"), (tmp_path / "subid", "/etc/subgid"), (passwd, "/etc/passwd")))  # fmt: skip
    inner = f"cd {home} && export HOME={home} XDG_RUNTIME_DIR={home}/run && exec ./boxc run {bundle.id}"
    done = run(
        "unshare", "-m", "sh", "-c", f'{binds} exec setpriv --reuid 1000 --regid 1000 --clear-groups sh -c "{inner}"'
    )
    assert done.code == 0, done
    assert [line.split() for line in done.values("uid_map")] == [["0", "1000", "1"], ["1", "500000", "1000"]]
    assert (done.value("uid"), done.value("gid")) == ("7", "8")


def test_delegation_to_a_user(tmp_path):
    """A group that belongs to a user: he makes groups below it."""
    from boxship.kernel.cgroup import Group, locate

    group = Group(locate(), f"/boxship-test-{os.getpid()}")
    group.create()
    try:
        group.delegate(1000, 1000)
        directory = group.directory("pids")
        assert (
            run("setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "mkdir", f"{directory}/own").code
            == 0
        )
        assert os.stat(f"{directory}/own").st_uid == 1000
    finally:
        group.kill()
        group.remove()
    assert not group.directories


def test_group_kills_what_forks():
    """A group that keeps forking is ended all the same."""
    from boxship.kernel.cgroup import Group, locate

    group = Group(locate(), f"/boxship-test-{os.getpid()}")
    group.create()
    # It begins to fork when it is in all hierarchies: a child that is born halfway would be in some of them only.
    loop = "read go; while :; do (sleep 5) & sleep 0.001; done"
    bomb = subprocess.Popen(["sh", "-c", loop], start_new_session=True, stdin=subprocess.PIPE)
    try:
        group.join(bomb.pid)
        bomb.stdin.write(b"go\n")
        bomb.stdin.close()
        while len(group.pids()) < 5:
            os.sched_yield()
        group.freeze()
        assert group.frozen
        group.thaw()
        assert not group.frozen
        group.kill()
        bomb.wait(timeout=20)
        assert group.pids() == []
    finally:
        bomb.kill()
        group.remove()
    assert not group.directories


def test_device_program_on_cgroup2(tmp_path):
    """The eBPF program is asked on every open, also where the devices controller of v1 is in charge too."""
    from boxship.kernel import devices
    from boxship.kernel.cgroup import Group, locate

    layout = locate()
    assert layout.unified, "no cgroup2 here"
    group = Group(layout, f"/boxship-test-{os.getpid()}")
    group.create()
    try:
        directory = f"{layout.unified}{group.path}"
        script = f"echo 0 > {directory}/cgroup.procs; head -c 1 /dev/zero | wc -c; head -c 1 /dev/full | wc -c"
        devices.attach(
            directory, devices.program([{"allow": False, "type": "a", "access": "rwm"}, *devices.DEFAULT_RULES])
        )
        assert run("sh", "-c", script).out.split() == ["1", "1"]
        rules = [
            {"allow": True, "type": "a", "access": "rwm"},
            {"allow": False, "type": "c", "major": 1, "minor": 5, "access": "r"},
        ]
        devices.attach(directory, devices.program(rules))
        done = run("sh", "-c", script)
        assert done.out.split() == ["0", "1"], done
        assert "Operation not permitted" in done.err
    finally:
        group.kill()
        group.remove()


def test_sealed_file_cannot_be_written(tmp_path):
    from boxship.kernel import seal

    path = tmp_path / "program"
    path.write_text("#!/bin/sh\n")
    fd = seal.read_only(str(path))
    assert fd >= 0
    try:
        with pytest.raises(OSError, match="Read-only file system"):
            os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
    finally:
        os.close(fd)


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_kill_all(bundle, signal):
    bundle.create("/bin/sh", "-c", "sleep 1000 & sleep 1000 & wait")
    bundle.boxc("start", bundle.id)
    assert bundle.boxc("kill", "--all", bundle.id, signal).code == 0
    assert bundle.boxc("delete", "--force", bundle.id).code == 0


def test_out_of_memory_is_an_event(bundle):
    bundle.config["linux"]["resources"]["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    bundle.create("/bin/sh", "-c", "probe alloc 200; sleep 1000")
    watcher = subprocess.Popen(
        [bundle.boxc_path, "--root", bundle.state_root, "events", "--interval", "1h", bundle.id],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert json.loads(watcher.stdout.readline())["type"] == "stats"
        assert bundle.boxc("start", bundle.id).code == 0
        assert select.select([watcher.stdout], [], [], 30)[0], "no event came"
        assert json.loads(watcher.stdout.readline())["type"] == "oom"
        bundle.boxc("kill", bundle.id, "KILL")
        assert watcher.wait(timeout=20) == 0, "the watch ends with the container"
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()
