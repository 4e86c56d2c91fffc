# SPDX-License-Identifier: Apache-2.0
"""What the command line says about a container or an exec, beyond its specification; in runc's words."""

from __future__ import annotations

from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.runtime.terminal import Pair


class Options(Record):
    """What the command line says about a new container, in runc's words."""

    bundle: str
    config: str = "config.json"
    console_socket: str = ""
    pid_file: str = ""
    preserve: list[int] = []
    no_pivot: bool = False
    no_new_keyring: bool = False
    systemd_cgroup: bool = False
    no_cgroup: bool = False
    barrier: bool = True
    console: Pair | None = None
    trace: bool = False


class JoinOptions(Record):
    """How the process is to be joined to the container."""

    console_socket: str = ""
    console: Pair | None = None
    preserve: list[int] = []
    sub_group: str = ""
    null_stdin: bool = False
    #: all three streams are /dev/null: nobody waits for it
    detached: bool = False
