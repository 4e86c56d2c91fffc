# SPDX-License-Identifier: Apache-2.0
"""libseccomp(3) by ctypes: only what compiling a profile needs. Loaded when the cache of filters misses."""

from __future__ import annotations

import ctypes
import errno
import os

from boxship.errors import KernelError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_NR_SCMP_ERROR = -1
_OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class Library:
    """The shared library, once per process."""

    _one: Library | None = None

    def __init__(self) -> None:
        try:
            self.lib = ctypes.CDLL("libseccomp.so.2")
        except OSError:
            raise Unsupported(
                "libseccomp.so.2 is missing: seccomp profiles cannot be compiled",
                hint="apt-get install libseccomp2, or run with --security-opt seccomp=unconfined",
            ) from None
        self.lib.seccomp_init.restype = ctypes.c_void_p
        self.lib.seccomp_rule_add_array.argtypes = (
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(_Comparison),
        )
        self.api = int(self.lib.seccomp_api_get())

    @classmethod
    def get(cls) -> Library:
        """The library, loaded."""
        if cls._one is None:
            cls._one = cls()
        return cls._one

    def number(self, name: str) -> int | None:
        """The number of a system call; None for one that this version does not know."""
        found = int(self.lib.seccomp_syscall_resolve_name(name.encode()))
        return None if found == _NR_SCMP_ERROR else found

    def context(self, default: int) -> Context:
        """A new filter with this default action."""
        return Context(self.lib, default)


class Context:
    """A filter under construction; a context manager that releases it."""

    def __init__(self, lib: ctypes.CDLL, default: int) -> None:
        self.lib = lib
        self.handle = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(default)))
        if not self.handle:
            raise KernelError("seccomp_init", f"{default:#x}", errno.EINVAL)
        # A binary tree over the numbers: loading runs the filter once for each system call, a millisecond with a chain.
        # Versions before 2.5 do not have it, and answer -EINVAL.
        lib.seccomp_attr_set(self.handle, _OPTIMIZE, ctypes.c_uint32(2))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lib.seccomp_release(self.handle)

    def add_architecture(self, name: str) -> None:
        """Let the filter hold for one more architecture; a word this library does not know is refused."""
        token = self.lib.seccomp_arch_resolve_name(name.encode())
        if not token:
            raise Unsupported(f"seccomp architecture {name} is unknown to this libseccomp")
        code = self.lib.seccomp_arch_add(self.handle, ctypes.c_uint32(token))
        if code and code != -errno.EEXIST:
            raise KernelError("seccomp_arch_add", name, -code)

    def add_rule(self, action: int, number: int, arguments: list[tuple[int, int, int, int]], name: str) -> None:
        """One rule: all comparisons must hold."""
        array = (_Comparison * max(1, len(arguments)))(*(_Comparison(*one) for one in arguments))
        code = self.lib.seccomp_rule_add_array(self.handle, action, number, len(arguments), array)
        if code and code != -errno.EEXIST:
            raise KernelError("seccomp_rule_add", name, -code)

    def export(self) -> bytes:
        """The BPF program."""
        fd = os.memfd_create("bpf", os.MFD_CLOEXEC)
        try:
            code = self.lib.seccomp_export_bpf(self.handle, fd)
            if code:
                raise KernelError("seccomp_export_bpf", "", -code)
            os.lseek(fd, 0, os.SEEK_SET)
            with open(fd, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(fd)
