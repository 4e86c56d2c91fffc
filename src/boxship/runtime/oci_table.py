# SPDX-License-Identifier: Apache-2.0
"""``boxc`` as a table: the words and flags of runc and crun, so that engines can use it in their place."""

from __future__ import annotations

from boxship.args import Command, Flag

_CLI = "boxship.runtime.oci_cli"
_EXEC = "boxship.runtime.oci_exec"

_BUNDLE = Flag("bundle", "Directory with config.json and the root file system", short="b", metavar="DIR", default=".")
_CONFIG = Flag("config", "Name of the configuration in the bundle", short="f", metavar="FILE", default="config.json")
_CONSOLE = Flag("console-socket", "Unix socket that takes the pty's master", metavar="PATH", default="")
_PID_FILE = Flag("pid-file", "Write the process's pid to this file", metavar="PATH", default="")
_PRESERVE = Flag("preserve-fds", "Pass this many descriptors from 3 on", "int", metavar="N", default=0)
_CREATE = [
    _BUNDLE,
    _CONFIG,
    _CONSOLE,
    _PID_FILE,
    _PRESERVE,
    Flag("no-pivot", "Use MS_MOVE and chroot in place of pivot_root", "bool"),
    Flag("no-new-keyring", "Keep the caller's session keyring", "bool"),
    Flag("no-subreaper", "Accepted: boxc needs no subreaper", "bool"),
    Flag("explain", "Print the launch plan and stop", "bool"),
    Flag("trace", "Print the launch plan with the time of each step", "bool"),
    Flag("format", "Form of --explain and --trace", metavar="FORM", choices=["text", "json"], default="text"),
]
_ID = "CONTAINER"

_GLOBAL = [
    Flag("root", "Directory of the containers' states", metavar="DIR", default=""),
    Flag("log", "Write errors to this file too", metavar="FILE", default=""),
    Flag("log-format", "Form of the log", metavar="FORM", choices=["text", "json"], default="text"),
    Flag("log-level", "Accepted for crun's sake", metavar="LEVEL", default="error"),
    Flag("debug", "Show the traceback of an error", "bool"),
    Flag("systemd-cgroup", "Let systemd make the cgroups", "bool", short="s"),
    Flag(
        "cgroup-manager",
        "cgroupfs, systemd or disabled",
        metavar="MANAGER",
        choices=["cgroupfs", "systemd", "disabled"],
        default="cgroupfs",
    ),
    Flag("rootless", "Accepted: found out by itself", metavar="auto|true|false", default="auto"),
    Flag("version", "Show the version and exit", "bool", short="v"),
]

_UPDATE = [
    Flag(
        "resources", "Read linux.resources from this file, - for standard input", short="r", metavar="FILE", default=""
    ),
    Flag("blkio-weight", "Block I/O weight, 10 … 1000", "int", metavar="N"),
    Flag("cpu-period", "CPU period in µs", "int", metavar="US"),
    Flag("cpu-quota", "CPU time per period in µs", "int", metavar="US"),
    Flag("cpu-burst", "CPU burst in µs", "int", metavar="US"),
    Flag("cpu-share", "CPU shares", "int", metavar="N"),
    Flag("cpu-shares", "CPU shares", "int", metavar="N", key="cpu-share"),
    Flag("cpu-rt-period", "Real-time period in µs", "int", metavar="US"),
    Flag("cpu-rt-runtime", "Real-time budget in µs", "int", metavar="US"),
    Flag("cpu-idle", "1: run only when nobody else does", "int", metavar="0|1"),
    Flag("cpuset-cpus", "Processors", metavar="LIST"),
    Flag("cpuset-mems", "Memory nodes", metavar="LIST"),
    Flag("memory", "Memory limit", "size", metavar="SIZE"),
    Flag("memory-reservation", "Soft memory limit", "size", metavar="SIZE"),
    Flag("memory-swap", "Limit of memory and swap together", "size", metavar="SIZE"),
    Flag("kernel-memory", "Ignored, as by current kernels", "size", metavar="SIZE"),
    Flag("kernel-memory-tcp", "Limit of TCP buffers", "size", metavar="SIZE"),
    Flag("pids-limit", "Most processes", "int", metavar="N"),
    Flag("l3-cache-schema", "Unsupported: no resctrl", metavar="SCHEMA"),
    Flag("mem-bw-schema", "Unsupported: no resctrl", metavar="SCHEMA"),
]

_EXEC_FLAGS = [
    Flag("process", "Read the process from this JSON file", short="p", metavar="FILE", default=""),
    Flag("tty", "Give it a terminal", "bool", short="t"),
    Flag("user", "Run as UID[:GID]", short="u", metavar="USER", default=""),
    Flag("additional-gids", "Supplementary groups", "list", short="g", metavar="GID"),
    Flag("detach", "Do not wait for it", "bool", short="d"),
    Flag("cwd", "Working directory", metavar="DIR", default=""),
    Flag("env", "Environment, NAME=VALUE", "list", short="e", metavar="NAME=VALUE"),
    _CONSOLE,
    _PID_FILE,
    _PRESERVE,
    Flag("process-label", "SELinux label", metavar="LABEL", default=""),
    Flag("apparmor", "AppArmor profile", metavar="NAME", default=""),
    Flag("no-new-privs", "Set no_new_privs", "bool"),
    Flag("cap", "Add a capability", "list", short="c", metavar="CAP"),
    Flag("cgroup", "Run in this sub-group of the container's cgroup", "list", metavar="PATH"),
    Flag("ignore-paused", "Accepted: an exec into a paused container waits in its cgroup", "bool"),
    Flag("no-subreaper", "Accepted: boxc needs no subreaper", "bool"),
]


def _command(
    name: str, summary: str, *flags: Flag, operands: str = _ID, least: int = 1, most: int = 1, **more: object
) -> Command:
    module = _EXEC if name in ("exec", "update", "events", "ps") else _CLI
    function = f"{name}_" if name in ("list", "exec") else name
    return Command(name, summary, f"{module}:{function}", operands, list(flags), least=least, most=most, **more)  # type: ignore[arg-type]


BOXC = Command(
    "boxc",
    "OCI container runtime: start processes from bundles, in milliseconds",
    flags=_GLOBAL,
    details="boxc takes the command line of runc and crun; containerd, Docker and Podman can use it in their place.",
    commands=[
        _command("create", "Create a container, up to the point where its program would start", *_CREATE),
        _command("start", "Start a created container"),
        _command(
            "run",
            "Create and start a container",
            *_CREATE,
            Flag("detach", "Do not wait for it", "bool", short="d"),
            Flag("keep", "Do not delete the container when it has ended", "bool"),
        ),
        _command("state", "Show a container's state as JSON"),
        _command(
            "kill",
            "Send a signal to a container (default TERM)",
            Flag("all", "To every process in its cgroup", "bool", short="a"),
            operands="CONTAINER [SIGNAL]",
            most=2,
        ),
        _command(
            "delete",
            "Delete a stopped container",
            Flag("force", "Kill it first; one that does not exist is fine", "bool", short="f"),
            Flag("regex", "CONTAINER is a regular expression", "bool", short="r"),
            operands="CONTAINER…",
            most=1 << 30,
        ),
        _command(
            "exec",
            "Start one more process in a running container",
            *_EXEC_FLAGS,
            operands="CONTAINER [COMMAND [ARG…]]",
            most=1 << 30,
            strict=True,
        ),
        _command(
            "list",
            "List containers",
            Flag("format", "Form of the list", short="f", metavar="FORM", choices=["table", "json"], default="table"),
            Flag("quiet", "Ids only", "bool", short="q"),
            operands="",
            least=0,
            most=0,
        ),
        _command(
            "ps",
            "List a container's processes",
            Flag("format", "Form of the list", short="f", metavar="FORM", choices=["table", "json"], default="table"),
            operands="CONTAINER [PS-OPTION…]",
            most=1 << 30,
            strict=True,
        ),
        _command("pause", "Freeze a container"),
        _command("resume", "Thaw a container"),
        _command("update", "Change a container's limits", *_UPDATE),
        _command(
            "events",
            "Show OOM events and statistics",
            Flag("interval", "Time between statistics", "duration", metavar="TIME", default=5.0),
            Flag("stats", "Show the statistics once and stop", "bool"),
        ),
        _command("features", "Show what this runtime can do, as JSON", operands="", least=0, most=0),
        _command(
            "spec",
            "Write an example config.json",
            Flag("bundle", "Directory to write to", short="b", metavar="DIR", default="."),
            Flag("rootless", "For an ordinary user", "bool"),
            operands="",
            least=0,
            most=0,
        ),
    ],
)
