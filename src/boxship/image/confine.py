# SPDX-License-Identifier: Apache-2.0
"""The process that unpacks a layer: shut into one directory, before it reads the first byte of what somebody else made.

It changes its root to the directory, has a network and IPC namespace of its own, keeps the five capabilities that writing
files takes, can gain no others, and loses the system calls that programs, sockets, signals and mounts need. The decompressors
are C code that others wrote: whatever a layer makes of them can fill this directory, and nothing else.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

from boxship.errors import BoxshipError, KernelError
from boxship.image import unpack
from boxship.image.codec import file_parts
from boxship.image.pool import Pool
from boxship.kernel import capabilities, seccomp
from boxship.paths import cache_root

_KEPT = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP")
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWNET = 0x00020000, 0x08000000, 0x40000000
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 4, 24, 38, 22
# fmt: off
_DENIED = [
    "accept", "accept4", "acct", "add_key", "bind", "bpf", "chroot",
    "clock_settime", "connect", "delete_module", "execve", "execveat", "finit_module", "fsconfig",
    "fsmount", "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "kexec_file_load", "kexec_load", "keyctl", "kill", "listen", "mount", "mount_setattr",
    "move_mount", "name_to_handle_at", "open_by_handle_at", "open_tree", "perf_event_open", "personality", "pidfd_getfd",
    "pidfd_open", "pidfd_send_signal", "pivot_root", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    "quotactl", "reboot", "request_key", "sendmsg", "sendto", "setdomainname", "sethostname",
    "setns", "settimeofday", "socket", "socketpair", "swapoff", "swapon", "syslog",
    "tkill", "umount2", "unshare", "userfaultfd", "vhangup",
]
# fmt: on


def main(argv: list[str]) -> None:
    """``BLOB-FD DIRECTORY-FD POOL-FD COMPRESSION``: the outcome, or the error, goes to standard output as JSON."""
    blob, directory, pool, compression = int(argv[0]), int(argv[1]), int(argv[2]), argv[3]
    try:
        shut_in(directory)
        outcome = unpack.layer(file_parts(blob), compression, Pool(pool) if pool >= 0 else None)
    except BoxshipError as error:
        outcome = {"error": error.message, "hint": error.hint}
    except OSError as error:
        where = os.fsdecode(error.filename) if error.filename else "layer"
        outcome = {"error": f"unpacking {where!r}: {error.strerror}", "errno": error.errno or 0}
    os.write(1, json.dumps(outcome).encode())
    os._exit(0)


def shut_in(directory: int) -> None:
    """No way back: see the head of this file."""
    libc = ctypes.CDLL(None, use_errno=True)
    # What later steps read of the host, and what Python imports late, is read now.
    rules = [{"names": _DENIED, "action": "SCMP_ACT_ERRNO"}]
    program = seccomp.compile_cached(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}, f"{cache_root()}/seccomp"
    ).program
    last, kept = capabilities.last_cap(), {capabilities.NUMBERS[name] for name in _KEPT}
    _warm()
    _check(libc.unshare(_CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWNET), "unshare")
    os.fchdir(directory)
    os.chroot(".")
    os.chdir("/")
    os.setgroups([])
    for number in range(last + 1):
        if number not in kept:
            _check(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl(PR_CAPBSET_DROP)")
    _keep(libc, sum(1 << number for number in kept))
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    _check(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
    _filter(libc, program)


def _warm() -> None:
    """Import what is imported where it is used: there are no files to import from later on."""
    import bz2  # noqa: F401
    import encodings.idna  # noqa: F401
    import hashlib  # noqa: F401
    import lzma  # noqa: F401
    import queue  # noqa: F401
    import threading  # noqa: F401

    import zstandard  # noqa: F401
    from isal import igzip_lib  # noqa: F401


def _check(code: int, what: str) -> None:
    if code:
        raise KernelError(what, "", ctypes.get_errno())


def _keep(libc: ctypes.CDLL, mask: int) -> None:
    low, high = mask & 0xFFFF_FFFF, mask >> 32
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(libc.capset(head, data), "capset")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter(libc: ctypes.CDLL, program: bytes) -> None:
    record = _Program(len(program) // 8, program)
    _check(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(record), 0, 0), "prctl(PR_SET_SECCOMP)")


if __name__ == "__main__":
    main(sys.argv[1:])
