# SPDX-License-Identifier: Apache-2.0
"""Work directories that nobody has to clean up, and children that do not outlive this process.

A work directory is called ``@template.RANDOM`` and is locked by flock(2) for as long as it is used. The
descriptor is inherited by the children, so that the lock outlives a killed parent until they are gone too.
Whoever makes one removes first those of the same owner that nobody holds a lock on.
"""

from __future__ import annotations

import fcntl
import os
import stat

from boxship.errors import BoxshipError, KernelError
from boxship.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import IO, Self

PREFIX = "@template."
#: of a child's output, kept for the error
LAST_LINES = 20
#: seconds between asking a child to end and ending it
GRACE = 5.0


class TemplateError(BoxshipError):
    """A template could not be made; ``output`` is the end of what the command said."""

    def __init__(self, message: str, *, hint: str = "", output: list[str] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.output = output or []

    def render(self) -> str:
        """The message, the last lines of output, and the hint."""
        said = "".join(f"\n  | {line}" for line in self.output)
        return f"{self.message}{said}" + (f"\nhint: {self.hint}" if self.hint else "")


class Work:
    """A locked work directory below ``directory``; removed with all that is in it when the block is left."""

    def __init__(self, directory: str, mode: int = 0o700) -> None:
        self.directory = directory
        self.mode = mode
        self.path = ""
        self.fd = -1

    def __enter__(self) -> Self:
        sweep(self.directory)
        while True:
            path = os.path.join(self.directory, PREFIX + os.urandom(6).hex())
            try:
                os.mkdir(path, self.mode)
                os.chmod(path, self.mode)
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                raise KernelError.from_os("mkdir", error, path=path, hint="templates are made there") from None
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Between mkdir and flock another process may have taken it for one that was left behind.
            if _is_at(fd, path):
                self.path, self.fd = path, fd
                return self
            os.close(fd)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with Undo() as undo:
            undo.push(os.close, self.fd)
            undo.push(_remove, self.path)
            if error is None:
                return
            for failed in undo.run():
                error.add_note(f"while cleaning up: {failed}")


def _is_at(fd: int, path: str) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def sweep(directory: str) -> list[str]:
    """Remove what killed processes of this user have left in a directory; returns the paths."""
    removed = []
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if not name.startswith(PREFIX):
            continue
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # gone meanwhile, or somebody else's: O_NOFOLLOW of a link gives ENOTDIR here
        try:
            if os.fstat(fd).st_uid == os.geteuid() and _lock_now(fd) and _is_at(fd, path):
                _remove(path)
                removed.append(path)
        finally:
            os.close(fd)
    return removed


def _lock_now(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: str) -> None:
    """Remove a tree. Without privileges, what belongs to subordinate ids is removed in a user namespace of them."""
    import shutil

    try:
        shutil.rmtree(path)
    except PermissionError:
        if os.geteuid() == 0:
            raise
        inside = ["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", "--", path]
        run(inside, os.environ | {"LC_ALL": "C.UTF-8"}, what=f"removing {path}")
    except FileNotFoundError:
        if os.path.lexists(path):
            raise


def run(
    argv: list[str],
    env: dict[str, str],
    *,
    what: str,
    log: Callable[[str], None] | None = None,
    stdout: int | None = None,
    keep: tuple[int, ...] = (),
    hint: str = "",
) -> list[str]:
    """Run a command to its end; every line that it says goes to ``log``. Returns the last of them.

    ``stdout`` is a descriptor for its output, else that counts as said; ``keep`` are descriptors it inherits.
    """
    import subprocess

    try:
        child = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.STDOUT if stdout is None else subprocess.PIPE,
            pass_fds=keep,
            process_group=0,
        )
    except OSError as error:
        raise KernelError.from_os("execve", error, path=argv[0], hint=hint) from None
    try:
        stream = child.stdout if stdout is None else child.stderr
        lines = _said(stream, log) if stream else []
        code = child.wait()
    except BaseException:
        _end(child)
        raise
    if code:
        how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        raise TemplateError(f"{what}: {argv_name(argv)}: {how}", hint=hint, output=lines)
    return lines


def argv_name(argv: list[str]) -> str:
    """The program that a line of ``command.alone`` is about."""
    marks = [n for n, word in enumerate(argv) if word == "--"]
    wrapped = argv[0] == "setpriv" and marks
    at = marks[1 if argv[marks[0] + 1] == "unshare" else 0] + 1 if wrapped else 0
    return argv[at]


def _said(stream: IO[bytes], log: Callable[[str], None] | None) -> list[str]:
    """Read lines to the end; a carriage return, with which progress is drawn, ends one too."""
    lines: list[str] = []
    with stream:
        for raw in stream:
            text = raw.decode(errors="replace").rstrip().rpartition("\r")[2]
            line = "".join(letter if letter.isprintable() else " " for letter in text)
            if not line.strip():
                continue
            lines = [*lines[1 - LAST_LINES :], line]
            if log:
                log(line)
    return lines


def _end(child: object) -> None:
    """End a child that we are leaving: with its group, kindly first."""
    import signal
    import subprocess

    assert isinstance(child, subprocess.Popen)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        os.killpg(child.pid, number)
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue


def open_locked(path: str, *, wait: bool = True) -> int:
    """A lock file that is ours until its descriptor is closed; without ``wait``, -1 when another has it.

    Its holder may unlink it: then the others make a new one.
    """
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KernelError.from_os("open", error, path=path) from None
        if wait:
            fcntl.flock(fd, fcntl.LOCK_EX)
        elif not _lock_now(fd):
            os.close(fd)
            return -1
        if _is_at(fd, path):
            return fd
        os.close(fd)


def is_regular(path: str) -> bool:
    """Whether there is a file of that name, and no link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False
