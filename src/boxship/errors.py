# SPDX-License-Identifier: Apache-2.0
"""The exception tree. Each class owns its exit code and its HTTP status.

    BoxshipError                      125  500
    ├── InvalidRequest                125  400   the words given make no sense
    │   └── SpecError                 125  400   … and this JSON path says which
    ├── NotFound                      125  404   no such container, bundle, rootfs
    ├── Conflict                      125  409   the id is taken, the state is wrong
    ├── PermissionDenied              125  403   the kernel or the file system says no
    ├── Unsupported                   125  501   this kernel, this host cannot
    ├── KernelError                   125  500   a system call failed
    │   └── StepError                 125  500   … inside the launcher, at a numbered step
    ├── CommandNotExecutable          126  400   found, but exec refuses it
    ├── CommandNotFound               127  400   not in the container's rootfs
    └── Protocol                      125  500   boxmon said something out of turn

A message is one line: what, where, why. ``hint`` is what to do about it.
Log or raise, never both. Imports nothing: every other module may import this one.
"""

from __future__ import annotations

import errno as _errno
import os


class BoxshipError(Exception):
    """Root of the tree; ``str(error)`` is the one line a user reads."""

    exit_code = 125
    http_status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def render(self) -> str:
        """The message, and the hint on a line of its own when there is one."""
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class InvalidRequest(BoxshipError):
    """Flags or values that cannot be meant; nothing has been changed."""

    http_status = 400


class SpecError(InvalidRequest):
    """A malformed OCI configuration; ``path`` is the JSON path, ``$.process.args[0]``."""

    def __init__(self, path: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{path}: {message}", hint=hint)
        self.path = path


class NotFound(BoxshipError):
    """Something named does not exist."""

    http_status = 404


class Conflict(BoxshipError):
    """The id is in use, or the container is in a state that does not allow this."""

    http_status = 409


class PermissionDenied(BoxshipError):
    """The caller may not do this."""

    http_status = 403


class Unsupported(BoxshipError):
    """This kernel or host cannot do what was asked; never a silent no-op."""

    http_status = 501


class Protocol(BoxshipError):
    """The launcher broke the protocol of ``plan/wire.py`` (EOF before 'ready', say)."""


class CommandNotExecutable(BoxshipError):
    """exec(2) refuses the program: permission, noexec mount, wrong architecture."""

    exit_code = 126
    http_status = 400


class CommandNotFound(BoxshipError):
    """The program, or the interpreter that its first line names, is not in the rootfs."""

    exit_code = 127
    http_status = 400


class KernelError(BoxshipError):
    """A system call failed: ``syscall(path): ERRNO``."""

    def __init__(self, syscall: str, path: str, code: int, *, hint: str = "", note: str = "") -> None:
        self.syscall = syscall
        self.path = path
        self.errno = code
        where = f" ({note})" if note else ""
        super().__init__(f"{syscall}({path}): {errno_name(code)}: {os.strerror(code)}{where}", hint=hint)

    @classmethod
    def from_os(cls, syscall: str, error: OSError, *, path: str = "", hint: str = "") -> KernelError:
        """Wrap an OSError of a call that Python itself makes (mkdir, open, write …)."""
        name = path or (os.fsdecode(error.filename) if error.filename else "")
        return cls(syscall, name, error.errno or 0, hint=hint)


class StepError(KernelError):
    """A step of the launch plan failed inside boxmon."""

    def __init__(self, syscall: str, path: str, code: int, *, step: int, steps: int, side: str, hint: str = "") -> None:
        self.step = step
        self.steps = steps
        self.side = side
        super().__init__(syscall, path, code, hint=hint, note=f"step {step} of {steps}, {side}")


def errno_name(code: int) -> str:
    """``13`` → ``EACCES``; an unknown number is shown as it is."""
    return _errno.errorcode.get(code, f"errno {code}")
