# SPDX-License-Identifier: Apache-2.0
"""The systemd cgroup driver: a transient scope for each container, by D-Bus.

Root talks to the system's manager, everybody else to the user's own; over systemd's private socket, as systemctl does,
or over the message bus where only that can be reached. A scope begins with a process: a child of ours that waits, and
leaves when the container is in. See org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import os

from jeepney import DBusAddress, HeaderFields, MatchRule, MessageType, Parser, new_method_call
from jeepney.bus_messages import message_bus

from boxship.errors import BoxshipError, Conflict, KernelError, NotFound, Unsupported
from boxship.plan import scope as naming
from boxship.runtime import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxship.plan.scope import Property, Scope

_TIMEOUT_S = 30.0
_PATH, _BUS_NAME, _MANAGER = "/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager"
_GONE = ("org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.DBus.Error.UnknownObject")


def user_manager() -> bool:
    """Whether the caller has to take the user's manager: everybody but the host's root."""
    return os.geteuid() != 0 or not host.privileged()


class Manager:
    """A connection to systemd."""

    def __init__(self) -> None:
        sockets = _sockets()
        for path in sockets:
            if os.path.exists(path):
                break
        else:
            raise Unsupported(
                f"systemd does not answer here: no {' or '.join(sockets)}",
                hint="leave --systemd-cgroup away (podman: --cgroup-manager cgroupfs): cgroups are then made directly",
            )
        self._socket = _connect(path)
        self._parser, self._serial = Parser(), 0
        self._ended: dict[str, str] = {}
        if not path.endswith("/private"):
            self._ask("Hello", message_bus.Hello())
            rule = MatchRule(type="signal", interface=_MANAGER, member="JobRemoved")
            self._ask("AddMatch", message_bus.AddMatch(rule))
        self.call("Subscribe")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, what: str, message: Any) -> tuple[Any, ...]:
        """Send a call and wait for its answer; jobs that end meanwhile are remembered."""
        self._serial += 1
        try:
            self._socket.sendall(message.serialise(serial=self._serial))
        except OSError as error:
            raise KernelError.from_os("send", error, path="systemd") from None
        while True:
            found = self._receive(what)
            if found.header.fields.get(HeaderFields.reply_serial) == self._serial:
                break
        if found.header.message_type == MessageType.error:
            raise Refused(what, found.header.fields.get(HeaderFields.error_name, ""), found.body)
        body: tuple[Any, ...] = found.body
        return body

    def _receive(self, what: str) -> Any:
        """The next message of any kind."""
        while (found := self._parser.get_next_message()) is None:
            try:
                part = self._socket.recv(65536)
            except OSError as error:
                raise BoxshipError(
                    f"systemd: {what}: no answer: {error}", hint="systemctl status shows how it is"
                ) from None
            if not part:
                raise BoxshipError(f"systemd: {what}: it hung up", hint="systemctl status shows how it is")
            self._parser.add_data(part)
        if found.header.fields.get(HeaderFields.member) == "JobRemoved":
            _, job, _, result = found.body
            self._ended[job] = result
        return found

    def call(self, member: str, signature: str = "", *body: object) -> tuple[Any, ...]:
        """A method of the manager; ``Refused``, with systemd's own words, when it will not."""
        what = f"{member}({body[0]})" if body else member
        return self._ask(
            what, new_method_call(DBusAddress(_PATH, _BUS_NAME, _MANAGER), member, signature or None, body)
        )

    def control_group(self) -> str:
        """The manager's own place in every hierarchy; the system's is at the root."""
        address = DBusAddress(_PATH, _BUS_NAME, "org.freedesktop.DBus.Properties")
        (_, path), *_ = self._ask("ControlGroup", new_method_call(address, "Get", "ss", (_MANAGER, "ControlGroup")))
        return str(path).rstrip("/").removesuffix("/init.scope")

    def start(self, scope: Scope, pid: int, settings: list[Property], described: str) -> None:
        """Start the scope with a process in it; Conflict when a unit of this name is there."""
        wanted: list[Property] = [
            ("Description", ("s", described)),
            ("Slice" if scope.unit.endswith(".scope") else "Wants", _membership(scope)),
            ("Delegate", ("b", True)),
            ("DefaultDependencies", ("b", False)),
            ("PIDs", ("au", [pid])),
            *((f"{kind}Accounting", ("b", True)) for kind in ("Memory", "CPU", "Tasks", "BlockIO")),
            *settings,
        ]
        self._job(
            "StartTransientUnit",
            "ssa(sv)a(sa(sv))",
            scope.unit,
            "fail",
            [(name, value) for name, value in dict(wanted).items()],
            [],
        )

    def stop(self, unit: str) -> None:
        """Stop a unit, and forget its failure; one that is gone is well."""
        try:
            self._job("StopUnit", "ss", unit, "replace")
            self.call("ResetFailedUnit", "s", unit)
        except Refused as refused:
            if refused.name not in _GONE:
                raise

    def change(self, unit: str, settings: list[Property]) -> None:
        """New limits of a unit, until the next boot."""
        self.call("SetUnitProperties", "sba(sv)", unit, True, settings)

    def _job(self, member: str, signature: str, *body: object) -> None:
        """A method that answers with a job: wait until that has ended, and well."""
        (job,) = self.call(member, signature, *body)
        what = f"{member}({body[0]})"
        while job not in self._ended:
            self._receive(what)
        if self._ended[job] != "done":
            raise BoxshipError(
                f"systemd: {what}: the job ended as {self._ended[job]!r}", hint=f"journalctl -u {body[0]} may say why"
            )


class Refused(BoxshipError):
    """systemd said no; ``name`` is the D-Bus error."""

    def __init__(self, what: str, name: str, body: tuple[object, ...]) -> None:
        super().__init__(f"systemd: {what}: {body[0] if body else 'refused'} ({name})")
        self.name = name


def _membership(scope: Scope) -> tuple[str, object]:
    return ("s", scope.slice) if scope.unit.endswith(".scope") else ("as", [scope.slice])


def _sockets() -> list[str]:
    if not user_manager():
        return ["/run/systemd/private", "/run/dbus/system_bus_socket"]
    run = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{_outer_uid()}"
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "").removeprefix("unix:path=").partition(",")[0]
    return [f"{run}/systemd/private", bus if bus.startswith("/") else f"{run}/bus"]


def _outer_uid() -> int:
    """Our user as the host knows him: rootless engines start us as root of their own user namespace."""
    own = os.geteuid()
    with open("/proc/self/uid_map", encoding="ascii") as file:
        for line in file:
            inside, outside, count = map(int, line.split())
            if inside <= own < inside + count:
                return outside + own - inside
    return own


def _connect(path: str) -> Any:
    """A connected and authenticated socket (D-Bus specification, 'Authentication Protocol')."""
    import socket

    bus = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    bus.settimeout(_TIMEOUT_S)
    try:
        bus.connect(path)
        # All at once, as systemd's own programs do: of a BEGIN that comes together with the first call it would not
        # see the call before the next one.
        bus.sendall(b"\0AUTH EXTERNAL " + str(_outer_uid()).encode().hex().encode() + b"\r\nBEGIN\r\n")
        answer = b""
        while not answer.endswith(b"\r\n"):
            part = bus.recv(512)
            if not part:
                break
            answer += part
        if not answer.startswith(b"OK "):
            raise BoxshipError(
                f"{path}: systemd does not let us in: {answer.decode(errors='replace').strip() or 'EOF'}"
            )
    except OSError as error:
        bus.close()
        raise KernelError.from_os("connect", error, path=path) from None
    except BoxshipError:
        bus.close()
        raise
    return bus


class Holder:
    """A child that does nothing but keep a scope from being empty; it ends with us at the latest."""

    def __init__(self) -> None:
        reader, self._writer = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._writer)
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)

    def release(self) -> None:
        """The container is in: the child may go. Calling it again does nothing."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
            os.waitpid(self.pid, 0)


def start(scope: Scope, resources: dict[str, Any], annotations: dict[str, str], versions: dict[str, int]) -> Holder:
    """Make the scope; the holder's process is in it."""
    holder = Holder()
    try:
        with Manager() as manager:
            settings = naming.properties(resources, versions) + naming.from_annotations(annotations)
            try:
                manager.start(scope, holder.pid, settings, f"Boxship container {scope.unit}")
            except Refused as refused:
                if refused.name != "org.freedesktop.systemd1.UnitExists":
                    raise
                raise Conflict(
                    f"systemd has a unit {scope.unit} already", hint=f"systemctl stop {scope.unit}, or another id"
                ) from None
    except BaseException:
        holder.release()
        raise
    return holder


def path_of(scope: Scope) -> str:
    """The scope's cgroup, from the roots of the hierarchies."""
    with Manager() as manager:
        return manager.control_group() + scope.path


def stop(unit: str) -> None:
    """Take the scope away."""
    with Manager() as manager:
        manager.stop(unit)


def change(unit: str, resources: dict[str, Any], versions: dict[str, int]) -> None:
    """Tell systemd of new limits."""
    settings = [one for one in naming.properties(resources, versions) if not one[0].startswith("Device")]
    if not settings:
        return
    with Manager() as manager:
        try:
            manager.change(unit, settings)
        except Refused as refused:
            if refused.name in _GONE:
                raise NotFound(f"systemd has no unit {unit}") from None
            raise
