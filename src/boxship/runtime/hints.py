# SPDX-License-Identifier: Apache-2.0
"""From a failed step to words: what the errno means here, and what to do about it.

boxmon sends the call, the path, errno and up to 256 bytes of detail; the kernel's own message where the
mount API gives one, the head of a program that exec refuses, the output of a hook that failed.
"""

from __future__ import annotations

import errno
import os

from boxship import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.wire import Planned, Report

_MACHINES = {
    3: "i386",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
    22: "s390x",
    21: "ppc64",
    258: "loongarch",
    8: "mips",
}


def hint_for(report: Report, line: Planned | None) -> str:
    """One line of advice for a failed step, or nothing where there is nothing better than the message."""
    kernel = report.detail.decode("utf-8", "replace").strip().partition("\n")[0]
    said = f"the kernel says: {kernel[2:] if kernel[1:2] == ' ' else kernel}" if kernel else ""
    step = line.step.name() if line else ""
    advice = _ADVICE.get((step, report.errno)) or _ADVICE.get((report.call, report.errno)) or ""
    return "; ".join(word for word in (said, advice) if word)


_ADVICE = {
    ("clone", errno.EINVAL): "this kernel lacks one of the namespaces",
    ("clone", errno.EPERM): "creating namespaces needs root, or a user namespace and user.max_user_namespaces > 0",
    ("clone", errno.ENOSPC): "a limit in /proc/sys/user/max_*_namespaces has been reached",
    ("clone", errno.EAGAIN): "the limit of processes (ulimit -u, pids cgroup) has been reached",
    ("clone", errno.EBUSY): "the cgroup has sub-groups with controllers: processes may be only in its leaves",
    ("setns", errno.EINVAL): "the file is not a namespace of that kind, or it is the caller's own user namespace",
    ("setns", errno.EPERM): "joining it needs CAP_SYS_ADMIN in the user namespace that owns it",
    (
        "write_proc",
        errno.EPERM,
    ): "the id map asks for ids that the caller does not own; see /etc/subuid and /etc/subgid",
    ("write_proc", errno.EINVAL): "the ranges of the id map overlap, or are not mapped in the parent user namespace",
    ("open_tree", errno.ENOENT): "there is no such directory or file on the host",
    (
        "open_tree",
        errno.EACCES,
    ): "a directory on the way is not open to the container's user; make it searchable (chmod o+x)",
    (
        "open_tree",
        errno.EINVAL,
    ): "the path lies on an unbindable mount, or below mounts that this user namespace may not reveal",
    ("idmap", errno.EINVAL): "the file system there cannot be idmapped; run with --userns host",
    ("idmap", errno.EPERM): "idmapping a mount needs root on the host",
    ("attach", errno.EPERM): "mounts inside /proc are allowed on a few harmless files only",
    ("attach", errno.ELOOP): "a symbolic link lies on the way to this target, which must be a real directory",
    ("attach", errno.ENOTDIR): "source and target must both be directories, or both be files",
    ("attach", errno.EROFS): "the root file system is read-only and lacks this directory; create it in the image",
    (
        "fs_mount",
        errno.EPERM,
    ): "this file system may not be mounted here: it needs a pid or network namespace of the container's own,"
    " or a fully visible /proc and /sys outside",
    ("fs_mount", errno.ENODEV): "the kernel does not know this file system (a module may be missing)",
    ("fs_mount", errno.EINVAL): "the file system refuses one of its options",
    ("pivot", errno.EINVAL): "the root lies on an initramfs, which pivot_root refuses; use --no-pivot",
    (
        "mk_nod",
        errno.EPERM,
    ): "device nodes need CAP_MKNOD, and no node of that path and number exists on the host to bind",
    ("console", errno.ENOENT): "the container needs a devpts on /dev/pts to have a terminal",
    ("write", errno.EROFS): "the host's /proc is read-only here",
    ("write", errno.ENOENT): "this kernel has no such setting, or not in this namespace",
    ("write", errno.EINVAL): "the kernel refuses this value",
    ("prlimit64", errno.EPERM): "raising a hard limit needs CAP_SYS_RESOURCE",
    ("capset", errno.EPERM): "a capability was asked for that the caller does not have",
    ("seccomp", errno.EINVAL): "the kernel refuses the filter: a flag or an action that it does not know",
    ("ch_dir", errno.ENOTDIR): "the working directory is not a directory",
    ("ch_dir", errno.ENOENT): "the working directory does not exist in the container",
    ("ch_dir", errno.ELOOP): "the working directory must not lead through /proc/self/fd or the like",
    ("mk_nod", errno.ELOOP): "/dev of the root file system is a symbolic link; it must be a real directory",
    ("sched_setattr", errno.EPERM): "real-time scheduling needs CAP_SYS_NICE and a real-time budget in the cpu cgroup",
}


def exec_error(report: Report) -> errors.BoxshipError:
    """Not found, no interpreter, wrong architecture, not executable, noexec: told apart."""
    why, head = report.detail[:1], report.detail[1:]
    path = report.path
    if report.errno == errno.ENOENT and why == b"f":
        return errors.CommandNotFound(*_interpreter(path, head))
    if report.errno in (errno.ENOENT, errno.ENOTDIR):
        where = "no such file or directory" if "/" in path else "executable file not found in $PATH"
        return errors.CommandNotFound(
            f'exec: "{path}": {where}: there is no such program in the container',
            hint="check the name, the PATH in the container's environment, and the root file system",
        )
    if why == b"x":
        return errors.CommandNotExecutable(
            f"exec: {path}: permission denied: it lies on a file system that is mounted noexec",
            hint="mount it with exec, or call it through its interpreter",
        )
    if why == b"d":
        return errors.CommandNotExecutable(
            f"exec: {path}: permission denied: it is a directory", hint="name the program in it"
        )
    if why == b"p":
        return errors.CommandNotExecutable(
            f"exec: {path}: permission denied: the file has no execute permission", hint=f"chmod +x {path} in the image"
        )
    if report.errno == errno.ENOEXEC:
        return errors.CommandNotExecutable(*_format(path, head))
    return errors.CommandNotExecutable(f"exec: {path}: {errors.errno_name(report.errno)}: {os.strerror(report.errno)}")


def _interpreter(path: str, head: bytes) -> tuple[str]:
    if head[:2] == b"#!":
        line = head[2:].partition(b"\n")[0].strip(b" \t").decode("utf-8", "replace")
        name = line.replace("\t", " ").split(" ")[0]
        more = (
            " (the line ends with a carriage return: a DOS text file)"
            if name.endswith("\r") or line.endswith("\r")
            else ""
        )
        return (
            f"exec: {path}: no such file or directory: its interpreter {name.strip()!r} is not in the container{more}",
        )
    return (
        f"exec: {path}: no such file or directory: its dynamic loader is not in the container; it was built for another C library",
    )


def _format(path: str, head: bytes) -> tuple[str]:
    if head[:4] == b"\x7fELF" and len(head) >= 20:
        order = "little" if head[5] == 1 else "big"
        machine = int.from_bytes(head[18:20], "little" if order == "little" else "big")
        found = _MACHINES.get(machine, f"machine {machine}")
        return (f"exec: {path}: exec format error: it is built for {found}, this machine is {os.uname().machine}",)
    if not head:
        return (f"exec: {path}: exec format error: the file is empty",)
    return (f"exec: {path}: exec format error: neither an ELF program nor a script with a #! line",)


def run_error(report: Report) -> errors.BoxshipError:
    """A hook or a helper that failed: its status and the end of its output."""
    status = int.from_bytes(report.detail[:4], "little", signed=True)
    output = report.detail[4:].decode("utf-8", "replace").strip().replace("\n", "; ")
    if report.errno == errno.ETIMEDOUT:
        what = "timed out and was killed"
    elif report.errno != errno.ECANCELED:
        what = f"{errors.errno_name(report.errno)}: {os.strerror(report.errno)}"
    elif os.WIFSIGNALED(status):
        what = f"was killed by signal {os.WTERMSIG(status)}"
    else:
        what = f"exit status {os.WEXITSTATUS(status)}"
    return errors.BoxshipError(f"{report.call} {report.path}: {what}" + (f": {output}" if output else ""))
