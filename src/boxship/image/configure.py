# SPDX-License-Identifier: Apache-2.0
"""Dockerfile instructions that change an image's configuration: for build, commit --change and import --change.

Words have been expanded by the caller. See image-spec, 'Image Configuration', and Docker's Dockerfile reference.
"""

from __future__ import annotations

import posixpath

from boxship.errors import InvalidRequest
from boxship.image.build import dockerfile
from boxship.image.build import instructions as i

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_SHELL = ["/bin/sh", "-c"]


def changes(settings: dict[str, Any], lines: list[str]) -> dict[str, Any]:
    """The configuration after these instructions, each as a line of a Dockerfile."""
    for line in lines:
        instruction = dockerfile.parse_trigger(line, file="--change")
        if not apply(settings, instruction):
            raise InvalidRequest(
                f"--change {line!r}: {instruction.keyword} changes no configuration",
                hint="CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR do",
            )
    return settings


def apply(settings: dict[str, Any], instruction: i.Instruction) -> bool:
    """Change ``settings`` in place; False for an instruction that does something else."""
    act = _ACTIONS.get(type(instruction))
    if act:
        act(settings, instruction)
    return act is not None


def shell_of(settings: dict[str, Any]) -> list[str]:
    """The shell of shell forms."""
    return list(settings.get("Shell") or _SHELL)


def command_line(settings: dict[str, Any], words: Iterable[str], *, shell: bool) -> list[str]:
    """Words in exec form, or a shell's one line."""
    return [*shell_of(settings), *words] if shell else list(words)


def _cmd(settings: dict[str, Any], one: i.Cmd) -> None:
    settings["Cmd"] = command_line(settings, one.words, shell=one.shell)


def _entrypoint(settings: dict[str, Any], one: i.Entrypoint) -> None:
    settings["Entrypoint"] = command_line(settings, one.words, shell=one.shell)
    settings.pop("Cmd", None)  # it was the arguments of another program


def _env(settings: dict[str, Any], one: i.Env) -> None:
    found = {word.partition("=")[0]: word for word in settings.get("Env") or []}
    found |= {name: f"{name}={value}" for name, value in one.pairs}
    settings["Env"] = list(found.values())


def _label(settings: dict[str, Any], one: i.Label) -> None:
    settings["Labels"] = {**(settings.get("Labels") or {}), **dict(one.pairs)}


def _expose(settings: dict[str, Any], one: i.Expose) -> None:
    ports = dict(settings.get("ExposedPorts") or {})
    for word in one.ports:
        number, _, protocol = word.partition("/")
        first, _, last = number.partition("-")
        if (
            not first.isdecimal()
            or not (last or first).isdecimal()
            or not 0 < int(first) <= int(last or first) <= 65535
        ):
            raise InvalidRequest(f"EXPOSE {word}: not a port or a range of ports, 1 … 65535")
        if (protocol or "tcp") not in ("tcp", "udp", "sctp"):
            raise InvalidRequest(f"EXPOSE {word}: the protocol is tcp, udp or sctp")
        ports |= {f"{port}/{protocol or 'tcp'}": {} for port in range(int(first), int(last or first) + 1)}
    settings["ExposedPorts"] = ports


def _volume(settings: dict[str, Any], one: i.Volume) -> None:
    settings["Volumes"] = {**(settings.get("Volumes") or {}), **{path: {} for path in one.paths}}


def _user(settings: dict[str, Any], one: i.User) -> None:
    settings["User"] = one.user


def _workdir(settings: dict[str, Any], one: i.Workdir) -> None:
    settings["WorkingDir"] = posixpath.normpath(posixpath.join(settings.get("WorkingDir") or "/", one.path)).replace(
        "//", "/", 1
    )


def _stop_signal(settings: dict[str, Any], one: i.StopSignal) -> None:
    settings["StopSignal"] = one.signal


def _shell(settings: dict[str, Any], one: i.Shell) -> None:
    settings["Shell"] = list(one.words)


def _health_check(settings: dict[str, Any], one: i.HealthCheck) -> None:
    test = ["NONE"] if one.none else ["CMD-SHELL", *one.words] if one.shell else ["CMD", *one.words]
    numbers = {
        "Interval": one.interval,
        "Timeout": one.timeout,
        "StartPeriod": one.start_period,
        "StartInterval": one.start_interval,
        "Retries": one.retries,
    }
    settings["Healthcheck"] = {"Test": test} | {key: value for key, value in numbers.items() if value}


def _on_build(settings: dict[str, Any], one: i.OnBuild) -> None:
    settings["OnBuild"] = [*(settings.get("OnBuild") or []), one.text]


_ACTIONS: dict[type, Any] = {
    i.Cmd: _cmd,
    i.Entrypoint: _entrypoint,
    i.Env: _env,
    i.Label: _label,
    i.Expose: _expose,
    i.Volume: _volume,
    i.User: _user,
    i.Workdir: _workdir,
    i.StopSignal: _stop_signal,
    i.Shell: _shell,
    i.HealthCheck: _health_check,
    i.OnBuild: _on_build,
}
