# SPDX-License-Identifier: Apache-2.0
"""The words of ``box``: parser, help, man pages and completion all come from here."""

from __future__ import annotations

from boxship.args import Command, Flag

LIMITS = [
    Flag("memory", "Memory limit, as 512m or 1.5g; 0 for no limit", "size", "m", "SIZE"),
    Flag("memory-swap", "Limit of memory and swap together, -1 for no limit", "size", metavar="SIZE"),
    Flag("memory-reservation", "Soft memory limit", "size", metavar="SIZE"),
    Flag("cpus", "Number of processors, 0.5 for half of one", "float", metavar="N"),
    Flag("cpu-shares", "Weight against other containers, 1024 is usual", "int", "c", "N"),
    Flag("cpuset-cpus", "Processors it may use, 0-3,8", metavar="LIST", default=""),
    Flag("pids-limit", "Most processes; 0 or -1 for no limit", "int", metavar="N"),
    Flag(
        "timeout",
        "Kill it after this time, in seconds or as 1m30s; 0 for never",
        "duration",
        metavar="TIME",
        default=0.0,
    ),
]

RUN = [
    *LIMITS,
    Flag(
        "network",
        "none: a network of its own with loopback only; host: the host's",
        metavar="MODE",
        default="none",
        choices=["none", "host"],
    ),
    Flag(
        "volume",
        "Bind mount, SOURCE:TARGET[:OPTIONS], as ro or rslave; owners look as they are on the host",
        "list",
        "v",
        "SPEC",
    ),
    Flag("mount", "Mount, type=bind|tmpfs,source=…,target=…", "list", metavar="SPEC"),
    Flag("tmpfs", "Mount a tmpfs, TARGET[:OPTIONS]", "list", metavar="SPEC"),
    Flag("env", "Environment, NAME=VALUE, or NAME for the caller's own", "list", "e", "NAME=VALUE"),
    Flag("env-file", "Read environment from a file", "list", metavar="FILE"),
    Flag("workdir", "Working directory; the caller's when it is not given", short="w", metavar="DIR", default=""),
    Flag("user", "Run as USER[:GROUP], by name or number", short="u", metavar="USER", default=""),
    Flag("hostname", "Host name", short="h", metavar="NAME", default=""),
    Flag("name", "Name of the container", metavar="NAME", default=""),
    Flag("interactive", "Keep standard input open", "bool", "i"),
    Flag("tty", "Give it a terminal", "bool", "t"),
    Flag("detach", "Do not wait for it; print its id", "bool", "d"),
    Flag("detach-keys", "Keys that detach from its terminal", metavar="KEYS", default="ctrl-p,ctrl-q"),
    Flag("rm", "Remove it when it has ended; the default, unless it is detached", "bool", default=""),
    Flag("keep", "Keep its changes in this directory", metavar="DIR", default=""),
    Flag("read-only", "Make the root read-only", "bool"),
    Flag("cap-add", "Add a capability, or ALL", "list", metavar="CAP"),
    Flag("cap-drop", "Drop a capability, or ALL", "list", metavar="CAP"),
    Flag("privileged", "All capabilities, no seccomp, no masks, the host's user namespace", "bool"),
    Flag(
        "security-opt", "seccomp=FILE|unconfined, apparmor=PROFILE, no-new-privileges=true|false", "list", metavar="OPT"
    ),
    Flag("ulimit", "Limit of a resource, NAME=SOFT[:HARD], as nofile=1024", "list", metavar="SPEC"),
    Flag("sysctl", "Kernel parameter of its own namespaces, NAME=VALUE", "list", metavar="SPEC"),
    Flag("shm-size", "Size of /dev/shm", "size", metavar="SIZE", default=64 << 20),
    Flag("init", "Run a small init as PID 1", "bool"),
    Flag("stop-signal", "Signal that stops it; TERM, unless the image has another", metavar="SIGNAL", default=""),
    Flag("entrypoint", "Program in place of the image's", metavar="PROGRAM"),
    Flag("pull", "When to fetch the image", metavar="WHEN", default="missing", choices=["missing", "always", "never"]),
    Flag("platform", "Platform of the image, linux/arm64", metavar="OS/ARCH", default=""),
    Flag("oom-score-adj", "How soon it is killed when memory runs out, -1000 … 1000", "int", metavar="N"),
    Flag(
        "userns",
        "auto: a user namespace of its own; host: none",
        metavar="MODE",
        default="auto",
        choices=["auto", "host"],
    ),
    Flag("pid", "host: see the host's processes", metavar="MODE", default="", choices=["", "host"]),
    Flag("ipc", "host: share the host's IPC", metavar="MODE", default="", choices=["", "host"]),
    Flag("uts", "host: share the host's name", metavar="MODE", default="", choices=["", "host"]),
    Flag("cgroup-parent", "Parent cgroup", metavar="PATH", default=""),
    Flag("restart", "When to start it again: no, on-failure[:N], always", metavar="POLICY", default="no"),
    Flag("explain", "Print the launch plan and stop", "bool"),
    Flag("trace", "Print the launch plan with the time of each step", "bool"),
    Flag("format", "Form of --explain and --trace", metavar="FORM", default="text", choices=["text", "json"]),
]

_ID = "CONTAINER"
_IMAGES = "boxship.cli.images"
_QUIET = Flag("quiet", "No progress", "bool", "q")
IMAGES = [
    Command(
        "pull",
        "Fetch images, or make them from a template",
        f"{_IMAGES}:pull",
        "IMAGE…",
        [
            _QUIET,
            Flag("platform", "Platform of the image, linux/arm64", metavar="OS/ARCH", default=""),
            Flag("refresh", "Make a template anew", "bool"),
        ],
        least=1,
        details="IMAGE is a name as Docker reads it, or one of template:NAME/RELEASE, dir:PATH, tar:PATH, oci:PATH, docker-archive:PATH. "
        "Registries are configured by registries.conf(5).",
        examples=[("box pull template:debian/12", "Debian 12, made from the distribution's mirror")],
    ),
    Command("push", "Send an image to where its name says", f"{_IMAGES}:push", "IMAGE", [_QUIET], least=1, most=1),
    Command(
        "images",
        "List images",
        f"{_IMAGES}:images",
        "[IMAGE]",
        [
            Flag("all", "Accepted for Docker's sake: all are listed", "bool", "a"),
            Flag("quiet", "Ids only", "bool", "q"),
            Flag("digests", "Show digests too", "bool"),
            Flag("no-trunc", "Whole ids", "bool"),
            Flag("format", "Form of the list", metavar="FORM", default="table", choices=["table", "json"]),
        ],
        most=1,
    ),
    Command("tag", "Give an image one more name", f"{_IMAGES}:tag", "IMAGE NAME[:TAG]", least=2, most=2),
    Command(
        "rmi",
        "Remove names, and images with their last name",
        f"{_IMAGES}:rmi",
        "IMAGE…",
        [Flag("force", "Though containers use it, or it has several names", "bool", "f")],
        least=1,
    ),
    Command("inspect", "Show images as JSON", f"{_IMAGES}:inspect", "IMAGE…", least=1),
    Command(
        "history",
        "Show how an image was made",
        f"{_IMAGES}:history",
        "IMAGE",
        [
            Flag("no-trunc", "Whole lines", "bool"),
            Flag("format", "Form of the list", metavar="FORM", default="table", choices=["table", "json"]),
        ],
        least=1,
        most=1,
    ),
    Command(
        "save",
        "Write images to an archive",
        f"{_IMAGES}:save",
        "IMAGE…",
        [
            Flag("output", "The file, or the directory; else standard output", short="o", metavar="PATH", default=""),
            Flag(
                "format",
                "oci-archive: an OCI layout that docker load reads too; oci-dir: a layout's directory",
                metavar="FORM",
                default="oci-archive",
                choices=["oci-archive", "docker-archive", "oci-dir"],
            ),
        ],
        least=1,
    ),
    Command(
        "load",
        "Read images from an archive or an OCI layout",
        f"{_IMAGES}:load",
        "",
        [Flag("input", "The file or directory; else standard input", short="i", metavar="PATH", default=""), _QUIET],
        most=0,
    ),
    Command(
        "import",
        "Make an image of a root file system in a tar archive",
        f"{_IMAGES}:import_",
        "FILE|- [NAME[:TAG]]",
        [
            Flag("change", "A Dockerfile's instruction, as 'CMD [\"sh\"]'", "list", "c", "LINE"),
            Flag("message", "What its history says", short="m", metavar="TEXT", default=""),
        ],
        least=1,
        most=2,
    ),
    Command(
        "search",
        "Look for images in a registry",
        f"{_IMAGES}:search",
        "[HOST/]WORD",
        [Flag("limit", "At most so many", "int", metavar="N", default=25)],
        least=1,
        most=1,
    ),
    Command(
        "login",
        "Keep credentials for a registry",
        f"{_IMAGES}:login",
        "[HOST]",
        [
            Flag("username", "The user", short="u", metavar="USER", default=""),
            Flag(
                "password",
                "The password; everybody on the machine can see it here",
                short="p",
                metavar="WORD",
                default="",
            ),
            Flag("password-stdin", "Read the password from standard input", "bool"),
        ],
        most=1,
    ),
    Command("logout", "Forget credentials", f"{_IMAGES}:logout", "[HOST]", most=1),
]

BOX = Command(
    "box",
    "Containers for Linux: start in milliseconds, explain every start",
    commands=[
        Command(
            "run",
            "Run a command in a new container",
            "boxship.cli.run:run",
            "IMAGE [--] COMMAND [ARG…]",
            RUN,
            strict=True,
            late_flags=True,
            least=1,
            details="The image 'host' is the machine's own userland, copy on write: changes are private and vanish with the "
            "container (with --keep they stay in DIR/upper). Other disks of the host are there too, copy on write; /run "
            "is empty, and so are mounts of other kinds, a tmpfs say: bind them with -v. The environment holds PATH, "
            "HOME, HOSTNAME, with a terminal TERM, and what -e adds. The container has a user namespace of its own, 14 "
            "capabilities, a seccomp filter, no_new_privs, masked parts of /proc and /sys, at most 4096 processes and a "
            "network with loopback only, until a flag says otherwise. Options of -v: ro, rw, nosuid, nodev, noexec and "
            "the propagation: private, shared, slave, or with an r before them for all mounts below. A restart waits 100 "
            "ms, then twice as long each time up to a minute, and begins anew after ten good seconds; box stop ends that "
            "too. Without --rm a detached container stays in box ps until box rm.",
            examples=[
                ("box run host -- ls /", "Look at the host's files from a container"),
                (
                    "box run -m 256m --cpus 0.5 --timeout 10s host -- python3 -c 'print(6 * 7)'",
                    "Run something untrusted, with limits",
                ),
                ("box run --explain host -- true", "Show every step that would be taken"),
            ],
        ),
        Command(
            "limit",
            "Run a command under limits, without a container",
            "boxship.cli.limit:limit",
            "[--] COMMAND [ARG…]",
            LIMITS,
            strict=True,
            least=1,
            examples=[
                (
                    "box limit -m 1g --cpus 0.5 -- sh -c 'seq 1 1000000 | sort | tail -n 1'",
                    "Sort with at most 1 GiB and half a processor",
                )
            ],
        ),
        Command(
            "ps",
            "List containers",
            "boxship.cli.containers:ps",
            "",
            [
                Flag("all", "Accepted for Docker's sake: all are listed", "bool", "a"),
                Flag("quiet", "Ids only", "bool", "q"),
                Flag("format", "Form of the list", metavar="FORM", default="table", choices=["table", "json"]),
            ],
            most=0,
        ),
        Command(
            "exec",
            "Run one more command in a container",
            "boxship.cli.containers:exec_",
            "CONTAINER [--] COMMAND [ARG…]",
            [
                Flag("env", "Environment, NAME=VALUE", "list", "e", "NAME=VALUE"),
                Flag("workdir", "Working directory", short="w", metavar="DIR", default=""),
                Flag("user", "Run as USER[:GROUP]", short="u", metavar="USER", default=""),
                Flag("interactive", "Keep standard input open", "bool", "i"),
                Flag("tty", "Give it a terminal", "bool", "t"),
                Flag("detach", "Do not wait for it; its streams are /dev/null", "bool", "d"),
            ],
            strict=True,
            least=2,
        ),
        Command(
            "attach",
            "Attach to a container's streams",
            "boxship.cli.containers:attach",
            _ID,
            [Flag("detach-keys", "Keys that detach", metavar="KEYS", default="ctrl-p,ctrl-q")],
            least=1,
            most=1,
        ),
        Command(
            "logs",
            "Show what a container has written",
            "boxship.cli.containers:logs",
            _ID,
            [
                Flag("tail", "Only the last N lines; -1 for all", "int", "n", "N"),
                Flag("follow", "Go on until it ends", "bool", "f"),
                Flag("timestamps", "Show the time of each line", "bool", "t"),
            ],
            least=1,
            most=1,
        ),
        Command(
            "stop",
            "Stop containers: signal, then kill",
            "boxship.cli.containers:stop",
            f"{_ID}…",
            [Flag("time", "Time before the kill", "duration", "t", "TIME", default=10.0)],
            least=1,
        ),
        Command(
            "kill",
            "Send a signal to containers",
            "boxship.cli.containers:kill",
            f"{_ID}…",
            [Flag("signal", "The signal", short="s", metavar="SIGNAL", default="KILL")],
            least=1,
        ),
        Command(
            "wait", "Wait for containers; print their exit codes", "boxship.cli.containers:wait", f"{_ID}…", least=1
        ),
        Command("why", "Show how a container has ended", "boxship.cli.containers:why", _ID, least=1, most=1),
        Command(
            "rm",
            "Remove containers",
            "boxship.cli.containers:rm",
            f"{_ID}…",
            [Flag("force", "Kill them first", "bool", "f")],
            least=1,
        ),
        *IMAGES,
        Command(
            "image",
            "Images: the same verbs, and what only they have",
            commands=[
                *(one.replace(name={"images": "ls", "rmi": "rm"}.get(one.name, one.name)) for one in IMAGES),
                Command(
                    "prune",
                    "Remove what nobody needs",
                    "boxship.cli.images:prune",
                    "",
                    [
                        Flag("all", "Images with names too, if no container uses them", "bool", "a"),
                        Flag("dry-run", "Show what would go, and change nothing", "bool"),
                    ],
                    most=0,
                ),
            ],
        ),
        Command(
            "system",
            "The host and what Boxship keeps on it",
            commands=[
                Command(
                    "check",
                    "Look for what a crash has left behind",
                    "boxship.cli.system:check",
                    "",
                    [Flag("repair", "Remove it", "bool")],
                    most=0,
                ),
                Command(
                    "info",
                    "Show what this host can do",
                    "boxship.cli.system:info",
                    "",
                    [Flag("format", "Form of the answer", metavar="FORM", default="text", choices=["text", "json"])],
                    most=0,
                ),
            ],
        ),
        Command(
            "bench",
            "Measure, interleaved with the other engines that are installed",
            "boxship.cli.bench:bench",
            "startup|footprint",
            [
                Flag("runs", "Runs of each", "int", "n", "N", default=50),
                Flag("output", "Write the figures as JSON", short="o", metavar="FILE", default=""),
            ],
            least=1,
            most=1,
        ),
        Command("version", "Show the version", "boxship.cli.system:version", most=0),
        Command(
            "completion",
            "Print a completion script",
            "boxship.cli.completion:completion",
            "bash|zsh|fish",
            least=1,
            most=1,
        ),
    ],
)
