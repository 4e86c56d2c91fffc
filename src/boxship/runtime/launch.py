# SPDX-License-Identifier: Apache-2.0
"""Hand a plan to boxmon and hear how it went.

The protocol is the table at the top of ``plan/wire.py``. boxmon is started with posix_spawn(3), which does
not copy this process's memory; it gets the plan as a memfd and one end of a pipe. Everything that Python
knows better than C is added here: paths, hints, exit codes.
"""

from __future__ import annotations

import os

from boxship import errors
from boxship.plan import wire
from boxship.plan.steps import SIDES
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.wire import Planned, Report

BOXMON = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "native", "boxmon")
_TRACE_BYTES = wire.MAX_STEPS * 8


class Launched(Record):
    """A container's process that runs (or waits at its barrier), and boxmon beside or behind it."""

    pid: int
    boxmon: int
    warnings: list[str]
    times: list[int]


class Launcher:
    """One launch: descriptors by slot, then ``run``."""

    def __init__(
        self, plan: list[Planned], slots: dict[int, int], *, trace: bool = False, monitor: bool = False
    ) -> None:
        self.plan, self.slots, self.monitor = plan, slots, monitor
        self.trace = os.memfd_create("trace", os.MFD_CLOEXEC) if trace else -1

    def run(self) -> Launched:
        """Start boxmon, wait until the program runs or is known not to; raises what the first failure says."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            boxmon = self._spawn(writer)
            os.close(writer)
            writer = -1
            reports = _read(reader)
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)
        if not self.monitor:
            os.waitpid(boxmon, 0)
        try:
            return self._judge(reports, boxmon)
        finally:
            if self.trace >= 0:
                os.close(self.trace)

    def _spawn(self, writer: int) -> int:
        fds = {*self.slots.values(), writer}
        if self.trace >= 0:
            os.ftruncate(self.trace, _TRACE_BYTES)
            fds.add(self.trace)
        data = wire.encode(self.plan, report=writer, trace=self.trace, slots=self.slots)
        memfd = os.memfd_create("plan", os.MFD_CLOEXEC)
        try:
            os.write(memfd, data)
            fds.add(memfd)
            # dup2 of a descriptor onto itself is posix_spawn's way to clear close-on-exec.
            actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds]
            return os.posix_spawn(_program(), ["boxmon", str(memfd)], {}, file_actions=actions)
        except OSError as error:
            raise errors.KernelError.from_os(
                "posix_spawn", error, path=BOXMON, hint="the installation is incomplete; install the package again"
            ) from None
        finally:
            os.close(memfd)

    def _judge(self, data: bytes, boxmon: int) -> Launched:
        try:
            reports = wire.decode_reports(data)
        except ValueError as error:
            raise errors.Protocol(f"boxmon: {error}", hint="see its standard error for the reason") from None
        failed = [r for r in reports if r.kind == wire.FAILED]
        for left in (r.pid for r in reports if r.kind == wire.ENTERED and not self.monitor):
            _reap(left)  # it has only made the process that goes on
        pid = next((r.pid for r in reports if r.pid and r.kind != wire.ENTERED), 0)
        if failed or not any(r.kind == wire.READY for r in reports):
            self._bury(pid, boxmon)
            if failed:
                raise failure(self.plan, failed[0])
            raise errors.Protocol("boxmon ended before it said 'ready'", hint="see its standard error for the reason")
        warnings = [_warning(self.plan, r) for r in reports if r.kind == wire.WARNING]
        return Launched(pid, boxmon, warnings, self._times())

    def _bury(self, pid: int, boxmon: int) -> None:
        """Reap what a failed launch has left: the child is ours where it was cloned with CLONE_PARENT."""
        if self.monitor:
            _reap(boxmon)
        elif pid:
            _reap(pid)

    def _times(self) -> list[int]:
        if self.trace < 0:
            return []
        raw = os.pread(self.trace, 8 * len(self.plan), 0)
        return [int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8)]


_launches = 0
_sealed = -1


def _program() -> str:
    """boxmon's file. From the second launch on it is one that is sealed already: ctypes pays for itself by then."""
    global _launches, _sealed
    _launches += 1
    if _launches == 2:
        from boxship.kernel import seal

        _sealed = seal.read_only(BOXMON)
    return f"/proc/self/fd/{_sealed}" if _sealed >= 0 else BOXMON


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # someone else's child: a subreaper above us has it
        return


def _read(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 65536):
        parts.append(part)
    return b"".join(parts)


def failure_at_start(report: Report) -> errors.BoxshipError:
    """The exception for a report that came after the barrier, where the plan is not at hand any more."""
    return failure([], report)


def failure(plan: list[Planned], report: Report) -> errors.BoxshipError:
    """The exception that a FAILED report stands for."""
    from boxship.runtime.hints import exec_error, hint_for, run_error

    line = plan[report.step] if report.step < len(plan) else None
    name = line.step.name() if line else ""
    if report.call == "execve":
        return exec_error(report)
    if name == "run" or report.call.endswith(" hook"):
        return run_error(report)
    side = SIDES[line.side] if line else "boxmon"
    path = report.path or (line.step.describe().removeprefix(f"{report.call}(").removesuffix(")") if line else "")
    if not line:
        return errors.KernelError(report.call, path, report.errno, note=f"step {report.step + 1}, after start")
    return errors.StepError(
        report.call, path, report.errno, step=report.step + 1, steps=len(plan), side=side, hint=hint_for(report, line)
    )


def _warning(plan: list[Planned], report: Report) -> str:
    what = plan[report.step].step.describe() if report.step < len(plan) else report.call
    return f"{what}: {errors.errno_name(report.errno)}, ignored"
