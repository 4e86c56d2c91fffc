# SPDX-License-Identifier: Apache-2.0
"""Published breakouts of container runtimes, tried against boxc. Each must fail, and leave the host as it was."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import threading
import uuid

import pytest

import boxship.runtime.launch
from support import run

pytestmark = pytest.mark.usefixtures("nothing_left")
BOXMON = pathlib.Path(boxship.runtime.launch.BOXMON)


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def running(bundle):
    """A container that sleeps, as root without a user namespace and with every capability: the worst case."""
    every = sorted(
        {
            f"CAP_{name}"
            for name in [
                "CHOWN",
                "DAC_OVERRIDE",
                "FOWNER",
                "KILL",
                "SETGID",
                "SETUID",
                "SYS_PTRACE",
                "MKNOD",
                "SYS_CHROOT",
                "DAC_READ_SEARCH",
            ]
        }
    )
    bundle.config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), every)
    bundle.create("/bin/sleep", "1000")
    bundle.boxc("start", bundle.id)
    return bundle


def test_cve_2019_5736_the_runtimes_binary_cannot_be_overwritten(bundle, rootfs):
    """An image whose program is /proc/self/exe makes the runtime run itself in the container; another process there opens that file."""
    before = digest(BOXMON)
    (rootfs / "bin" / "again").symlink_to("/proc/self/exe")
    done = bundle.run("/bin/again")
    assert done.code in (125, 126, 127), done
    writer = "for n in 1 2 3; do for p in /proc/[0-9]*; do echo pwned > $p/exe; done; done 2>&1 | sort | uniq -c | head; cat /proc/1/comm"
    bundle.id += "b"
    bundle.run("/bin/sh", "-c", writer)
    assert digest(BOXMON) == before


def test_cve_2019_5736_during_exec(running):
    """While exec joins the container, boxmon is visible there for a moment: its binary is on a read-only mount of its own."""
    before = digest(BOXMON)
    attack = "i=0; while [ $i -lt 300 ]; do for p in /proc/[1-9]*; do [ -e $p/exe ] && echo x > $p/exe; done 2>/dev/null; i=$((i+1)); done"
    attacker = subprocess.Popen([running.boxc_path, "--root", running.state_root, "exec", running.id, "/bin/sh", "-c", attack],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    for _ in range(10):
        assert running.boxc("exec", running.id, "/bin/true").code == 0
    attacker.wait(timeout=60)
    assert digest(BOXMON) == before


def test_boxmon_seals_itself(bundle):
    """What waits at the barrier inside the container runs from a mount that nobody can write through."""
    bundle.create("/bin/true")
    exe = f"/proc/{bundle.state()['pid']}/exe"
    with pytest.raises(OSError, match=r"Read-only file system|Text file busy"):
        os.open(exe, os.O_WRONLY)
    assert os.statvfs(exe).f_flag & os.ST_RDONLY


@pytest.mark.parametrize("target", ["/proc", "/proc/sys/kernel", "/proc/self/attr"])
def test_cve_2019_16884_nothing_is_mounted_over_proc(bundle, rootfs, tmp_path, target):
    """A volume on /proc would make the runtime write labels and sysctls into files of the image's choice."""
    fake = tmp_path / "fake"
    (fake / "self" / "attr").mkdir(parents=True)
    bundle.config["mounts"].append({"destination": target, "type": "bind", "source": str(fake), "options": ["rbind"]})
    done = bundle.run("/bin/true")
    assert done.code == 125
    assert "EPERM" in done.err or "ENOTDIR" in done.err, done


def test_cve_2023_27561_proc_behind_a_symlink(bundle, rootfs, tmp_path):
    """/proc as a symlink to another directory would put procfs, and its masks, elsewhere."""
    os.rmdir(rootfs / "proc")
    (rootfs / "elsewhere").mkdir()
    (rootfs / "proc").symlink_to("elsewhere")
    done = bundle.run("/bin/true")
    assert done.code == 125
    assert "ELOOP" in done.err
    assert "real directory" in done.err


def test_cve_2021_30465_exchange_of_directory_and_symlink(bundle, rootfs, tmp_path):
    """While mounts are made, a volume's directory and a symlink to / are exchanged again and again (renameat2)."""
    volume = tmp_path / "volume"
    (volume / "dir" / "deep").mkdir(parents=True)
    (volume / "link").symlink_to("/")
    source = tmp_path / "source"
    source.mkdir()
    (source / "marker").touch()
    bundle.config["mounts"] += [
        {"destination": "/vol", "type": "bind", "source": str(volume), "options": ["rbind"]},
        {"destination": "/vol/dir/deep", "type": "bind", "source": str(source), "options": ["rbind"]},
    ]
    stop = threading.Event()

    def exchange() -> None:
        import ctypes

        libc = ctypes.CDLL(None)
        a, b = str(volume / "dir").encode(), str(volume / "link").encode()
        while not stop.is_set():
            libc.renameat2(-100, a, -100, b, 2)

    racer = threading.Thread(target=exchange)
    racer.start()
    try:
        for _ in range(25):
            bundle.id = f"boxship-test-{uuid.uuid4().hex[:10]}"
            done = bundle.run("/bin/sh", "-c", "cat /proc/self/mountinfo")
            bundle.boxc("delete", "--force", bundle.id)
            # It may fail; when it succeeds, every mount lies inside the container's root.
            assert done.code in (0, 125), done
    finally:
        stop.set()
        racer.join()
    assert "/deep" not in {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}
    assert not os.path.exists("/deep")


def test_cve_2022_29162_no_inheritable_capabilities(bundle):
    """Capabilities in the inheritable set make programs with file capabilities stronger than meant: none by default, exec neither."""
    done = bundle.run("/bin/probe", "report")
    sets = dict(line.split(":\t") for line in done.values("status") if line.startswith("Cap"))
    assert int(sets["CapInh"], 16) == 0


def test_cve_2022_29162_exec(running):
    done = running.boxc("exec", "--cap", "NET_ADMIN", running.id, "/bin/probe", "report")
    sets = dict(line.split(":\t") for line in done.values("status") if line.startswith("Cap"))
    assert int(sets["CapInh"], 16) == 0
    assert int(sets["CapEff"], 16) & 1 << 12


@pytest.mark.parametrize("fd", range(3, 30, 2))
def test_cve_2024_21626_working_directory_on_a_leaked_descriptor(bundle, fd):
    """/proc/self/fd/N as working directory leads out when a host directory is open there."""
    bundle.config["process"]["cwd"] = f"/proc/self/fd/{fd}"
    done = bundle.run("/bin/sh", "-c", "ls ../../../../../../../../etc/shadow; pwd")
    assert done.code == 125, done


def test_cve_2024_21626_exec(running):
    for fd in range(3, 12):
        done = running.boxc(
            "exec", "--cwd", f"/proc/self/fd/{fd}", running.id, "/bin/cat", "/proc/self/cwd/etc/hostname"
        )
        assert done.code != 0, done
    done = running.boxc("exec", running.id, "/bin/probe", "report")
    assert [line.split(" ")[0] for line in done.values("fd")] == ["0", "1", "2"]


def test_symlinked_working_directory(bundle, rootfs):
    (rootfs / "home" / "link").symlink_to("/proc/self/fd/3")
    bundle.config["process"]["cwd"] = "/home/link"
    assert bundle.run("/bin/true").code == 125


def test_cve_2024_45310_no_directory_is_made_on_the_host(bundle, rootfs, tmp_path):
    """A missing mount target behind a symlink is made inside the root, not where the link points to on the host."""
    name = f"boxship-escape-{uuid.uuid4().hex[:8]}"
    (rootfs / "out").symlink_to(f"/../../../../../../tmp/{name}")
    (rootfs / "up").symlink_to("../../../../../../../../../..")
    source = tmp_path / "source"
    source.mkdir()
    bundle.config["mounts"] += [
        {"destination": "/out/made", "type": "bind", "source": str(source), "options": ["bind"]},
        {"destination": f"/up/tmp/{name}", "type": "bind", "source": str(source), "options": ["bind"]},
    ]
    done = bundle.run("/bin/true")
    assert not os.path.exists(f"/tmp/{name}")
    assert done.code in (0, 125)
    assert (rootfs / "tmp" / name).exists()


def test_cve_2025_31133_masks_do_not_trust_the_containers_dev_null(bundle, rootfs, tmp_path):
    """When /dev is the container's own directory, its null may be a link to what the image wants to see."""
    bundle.config["mounts"] = [
        m for m in bundle.config["mounts"] if m["destination"] not in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    ]
    (rootfs / "dev" / "null").symlink_to("/proc/sysrq-trigger")
    bundle.config["linux"]["maskedPaths"] = ["/proc/keys", "/proc/timer_list"]
    done = bundle.run("/bin/sh", "-c", "stat -c '%F %t:%T' /proc/keys /proc/timer_list")
    # Making the default device over the link is refused; if it were not, the masks would still be the host's /dev/null.
    assert done.code == 125 or set(done.out.splitlines()) == {"character special file 1:3"}, done


def test_cve_2025_31133_race(bundle, rootfs):
    """/dev/null of the image is exchanged while the container starts."""
    bundle.config["linux"]["maskedPaths"] = ["/proc/keys"]
    for _ in range(5):
        bundle.id = f"boxship-test-{uuid.uuid4().hex[:10]}"
        done = bundle.run("/bin/stat", "-c", "%t:%T", "/proc/keys")
        assert done.out == "1:3\n", done


def test_cve_2025_52565_console_is_the_containers_own_pty(bundle, rootfs):
    """/dev/console as a symlink must not take the terminal's mount elsewhere (into /proc, say)."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/dev"]
    bundle.config["process"] |= {"terminal": True, "args": ["/bin/sh", "-c", "cat /proc/self/mountinfo"]}
    (rootfs / "dev" / "console").symlink_to("/proc/sysrq-trigger")
    bundle.write()
    done = bundle.boxc("run", "--bundle", bundle.path, bundle.id)
    assert (
        "sysrq-trigger" not in [line.split()[4] for line in done.out.splitlines() if len(line.split()) > 9]
        or done.code == 125
    )


def test_cve_2025_52881_labels_and_sysctls_go_to_the_real_proc(bundle, rootfs, tmp_path):
    """A tmpfs in the place of /proc would swallow the security label: it is written to the host's procfs, by descriptor."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/proc"]
    bundle.config["mounts"].append({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"})
    bundle.config["linux"] |= {"sysctl": {"net.ipv4.ip_default_ttl": "77"}, "maskedPaths": [], "readonlyPaths": []}
    done = bundle.run(
        "/bin/sh", "-c", "busybox mkdir /real; busybox ls /proc | wc -l; cat /proc/sys/net/ipv4/ip_default_ttl"
    )
    assert "77" not in done.out
    assert done.out.split()[:1] == ["0"], "nothing was written into the fake"


def test_host_devices_stay_out(bundle):
    done = bundle.run(
        "/bin/sh", "-c", "probe mknod /tmp/disk c 7 0; mknod /tmp/b b 7 0 2>/dev/null; probe open /tmp/b r"
    )
    assert "open: ok" not in done.out


def test_ptrace_of_boxmon(running):
    """A process of the container, with CAP_SYS_PTRACE, attacks the exec that is on its way in."""
    each = "n=${p#/proc/}; [ $n -gt 2 ] && probe open $p/mem rw"
    attack = f"i=0; while [ $i -lt 200 ]; do for p in /proc/[1-9]*; do {each}; done; i=$((i+1)); done"
    attacker = subprocess.Popen([running.boxc_path, "--root", running.state_root, "exec", running.id, "/bin/sh", "-c", attack],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    for _ in range(5):
        done = running.boxc("exec", running.id, "/bin/probe", "report")
        assert done.code == 0
    attacker.kill()
    attacker.wait()


def test_environment_and_arguments_of_the_host_do_not_leak(bundle, boxc_path):
    done = run(
        boxc_path,
        "--root",
        bundle.write().state_root,
        "run",
        "--bundle",
        bundle.path,
        bundle.id,
        env={**os.environ, "SECRET": "x"},
    )
    assert not [line for line in done.values("env") if line.startswith("SECRET")]
