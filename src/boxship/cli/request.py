# SPDX-License-Identifier: Apache-2.0
"""From the values of ``box run`` to a ``Request``: everything that is wrong with them is named at once."""

from __future__ import annotations

import os

from boxship import args
from boxship.errors import InvalidRequest
from boxship.spec.request import Request, Resources, Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boxship.args import Parsed

_VOLUME_WORDS = (
    "ro",
    "rw",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "z",
    "Z",
    "nosuid",
    "nodev",
    "noexec",
)
_MIB = 1 << 20


class Words:
    """The values, and what has been found wrong with them."""

    def __init__(self, parsed: Parsed) -> None:
        self.v = parsed.values
        self.problems: list[str] = []

    def say(self, problem: str) -> None:
        """One thing that is wrong."""
        self.problems.append(problem)


def resources(v: dict[str, Any]) -> Resources:
    """The limits alone, for ``box limit``; InvalidRequest names all problems together."""
    problems: list[str] = []
    found = _resources(v, problems)
    if problems:
        raise InvalidRequest("; ".join(problems))
    return found


def _resources(v: dict[str, Any], problems: list[str]) -> Resources:
    found = Resources(
        None if v["memory"] == -1 else v["memory"] or None,
        v["memory_swap"],
        v["memory_reservation"],
        v["cpus"],
        v["cpu_shares"],
        v["cpuset_cpus"],
        v["pids_limit"],
    )
    if found.memory is not None and found.memory > 0 and found.memory < 6 * _MIB:
        problems.append("--memory: the least is 6m; 0 and -1 stand for no limit")
    if found.memory_reservation and found.memory and found.memory_reservation > found.memory > 0:
        problems.append("--memory-reservation is more than --memory: the soft limit is the lower one")
    if found.memory_swap is not None and found.memory is None and found.memory_swap >= 0:
        problems.append("--memory-swap needs --memory: it limits memory and swap together")
    if found.memory and found.memory_swap is not None and 0 <= found.memory_swap < found.memory:
        problems.append("--memory-swap is less than --memory: it limits memory and swap together")
    if found.cpus is not None and not 0.01 <= found.cpus <= (os.cpu_count() or 1):
        problems.append(f"--cpus {found.cpus:g}: out of range: 0.01 … {os.cpu_count()}")
    wrong = _processors(found.cpuset_cpus)
    if wrong:
        problems.append(f"--cpuset-cpus {found.cpuset_cpus}: {wrong}")
    if found.cpu_shares is not None and not 2 <= found.cpu_shares <= 262144:
        problems.append("--cpu-shares: out of range: 2 … 262144")
    return found


def _processors(text: str) -> str:
    """What is wrong with a list of processors, as 0-3,8."""
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
        online = file.read().strip()
    if not text:
        return ""
    here = _numbers(online)
    try:
        wanted = _numbers(text)
    except ValueError:
        return "not a list of processors, as 0-3,8"
    return "" if wanted <= here else f"this machine has the processors {online}"


def _numbers(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), min(int(last or first), 8191) + 1))
    return found


def request(parsed: Parsed, argv: list[str], image: str) -> Request:
    """The request; InvalidRequest names all problems together."""
    words, v = Words(parsed), parsed.values
    policy, most = _restart(words)
    security = _security(words)
    share = {kind: "host" for kind in ("pid", "ipc", "uts") if v[kind] == "host"}
    _consistent(words, policy)
    found = Request(
        argv,
        image=image,
        entrypoint=None if v["entrypoint"] is None else [v["entrypoint"]] if v["entrypoint"] else [],
        pull=v["pull"],
        platform=v["platform"],
        name=v["name"],
        env=_environment(words),
        workdir=_workdir(words),
        user=v["user"],
        hostname=v["hostname"],
        interactive=v["interactive"],
        tty=v["tty"],
        detach=v["detach"],
        remove=not v["detach"] if v["rm"] == "" else v["rm"],
        keep=os.path.realpath(v["keep"]) if v["keep"] else "",
        read_only=v["read_only"],
        network=v["network"],
        volumes=_volumes(words),
        resources=_resources(v, words.problems),
        cap_add=v["cap_add"] or [],
        cap_drop=v["cap_drop"] or [],
        privileged=v["privileged"],
        ulimits=_ulimits(words),
        sysctls=_pairs(words, "sysctl"),
        shm_size=v["shm_size"],
        init=v["init"],
        timeout=v["timeout"],
        stop_signal=v["stop_signal"],
        oom_score_adj=v["oom_score_adj"],
        userns=v["userns"],
        share=share,
        cgroup_parent=v["cgroup_parent"],
        restart=policy,
        restart_max=most,
        log_size=10 * _MIB if v["detach"] else 0,
        log_files=3,
        **security,
    )
    if words.problems:
        raise InvalidRequest("; ".join(words.problems), hint="see 'box run --help'")
    return found


def _consistent(words: Words, policy: str) -> None:
    """Values that cannot go together, or on this machine."""
    v = words.v
    if v["keep"] and not os.path.isdir(v["keep"]):
        there = os.path.lexists(v["keep"])
        words.say(f"--keep {v['keep']}: " + ("not a directory" if there else "no such directory; mkdir it first"))
    if v["hostname"] and not (
        v["hostname"].isascii() and v["hostname"].replace("-", "").replace(".", "").replace("_", "").isalnum()
    ):
        words.say(f"--hostname {v['hostname']}: not a host name: letters, digits, '.', '-' and '_'")
    for kind in ("pid", "ipc"):
        if v[kind] == "host" and v["userns"] != "host" and not v["privileged"]:
            words.say(f"--{kind} host needs --userns host: the host's {kind} namespace belongs to the host's users")
    if v["detach"] and v["rm"] is True and policy != "no":
        words.say("--rm and --restart: a container that is removed when it ends is not started again")
    if v["interactive"] and v["tty"] and not v["explain"] and not os.isatty(0):
        words.say("--tty: the input device is not a terminal (leave -t away)")
    if v["shm_size"] <= 0:
        words.say("--shm-size: must be more than zero")


def _restart(words: Words) -> tuple[str, int]:
    name, _, most = words.v["restart"].partition(":")
    if name not in ("no", "on-failure", "always", "unless-stopped") or (
        most and (name != "on-failure" or not most.isdecimal())
    ):
        words.say(f"--restart {words.v['restart']}: not one of no, on-failure[:N], always")
    return {"unless-stopped": "always"}.get(name, name), int(most) if most.isdecimal() else 0


def _security(words: Words) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option in words.v["security_opt"] or []:
        key, _, value = option.replace(":", "=", 1).partition("=")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            found["no_new_privileges"] = value != "false"
        elif key in ("seccomp", "apparmor") and value:
            found[key] = value
        elif option != "label=disable":
            words.say(f"--security-opt {option}: not one of seccomp=…, apparmor=…, no-new-privileges")
    return found


def _workdir(words: Words) -> str:
    path: str = words.v["workdir"]
    if path and not path.startswith("/"):
        words.say(f"--workdir {path}: not an absolute path")
    return path


def _environment(words: Words) -> list[str]:
    found = []
    for path in words.v["env_file"] or []:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                for number, line in enumerate(file, 1):
                    word = line.strip()
                    if word.startswith("="):
                        words.say(f"--env-file {path}, line {number}: no name before '='")
                    elif word and not word.startswith("#"):
                        found.append(word)
        except OSError as error:
            words.say(f"--env-file {path}: {error.strerror}")
    found += words.v["env"] or []
    bad = [word for word in found if not word.partition("=")[0] or "\0" in word]
    if bad:
        words.say(f"--env {bad[0]!r}: no name before '='")
    return [
        word if "=" in word else f"{word}={os.environ[word]}" for word in found if "=" in word or word in os.environ
    ]


def _volumes(words: Words) -> list[Volume]:
    found = [_volume(words, text) for text in words.v["volume"] or []]
    found += [_mount(words, text) for text in words.v["mount"] or []]
    for text in words.v["tmpfs"] or []:
        target, _, options = text.partition(":")
        found.append(
            _checked(words, f"--tmpfs {text}", Volume("tmpfs", target, "tmpfs", ["nosuid", "nodev", *_split(options)]))
        )
    return [volume for volume in found if volume]


def _split(options: str) -> list[str]:
    return [word for word in options.split(",") if word]


def _volume(words: Words, text: str) -> Volume | None:
    parts = text.split(":")
    flag = f"--volume {text}"
    if len(parts) not in (2, 3) or not parts[0]:
        words.say(f"{flag}: not SOURCE:TARGET[:OPTIONS]")
        return None
    options = _split(parts[2]) if len(parts) == 3 else []
    unknown = [word for word in options if word not in _VOLUME_WORDS]
    if unknown:
        words.say(f"{flag}: unknown option {unknown[0]!r}")
    return _checked(words, flag, _bind(parts[0], parts[1], [o for o in options if o not in ("z", "Z")]))


def _bind(source: str, target: str, options: list[str]) -> Volume:
    extra = ["rro"] if "ro" in options else []
    kept = [word for word in options if word != "ro"]
    propagation = [] if any(word.lstrip("r") in ("private", "shared", "slave") for word in kept) else ["rprivate"]
    return Volume("bind", target, os.path.realpath(source), ["rbind", *propagation, *kept, *extra])


def _checked(words: Words, flag: str, volume: Volume) -> Volume:
    if not volume.target.startswith("/"):
        words.say(f"{flag}: the target {volume.target!r} is not an absolute path")
    if volume.kind == "bind" and not os.path.exists(volume.source):
        words.say(f"{flag}: {volume.source} does not exist; make it first (volumes with names are not there yet)")
    return volume


def _mount(words: Words, text: str) -> Volume | None:
    flag = f"--mount {text}"
    values = {word.partition("=")[0]: word.partition("=")[2] for word in text.split(",")}
    kind = values.get("type", "volume")
    target = values.get("target") or values.get("dst") or values.get("destination") or ""
    source = values.get("source") or values.get("src") or ""
    read_only = "readonly" in values or "ro" in values
    if kind == "tmpfs" and target:
        try:
            options = [f"size={args.size(values['tmpfs-size'])}"] if values.get("tmpfs-size") else []
        except ValueError as error:
            words.say(f"{flag}: tmpfs-size: {error}")
            return None
        options += [f"mode={values['tmpfs-mode']}"] if values.get("tmpfs-mode") else []
        return _checked(words, flag, Volume("tmpfs", target, "tmpfs", ["nosuid", "nodev", *options]))
    if kind == "bind" and target and source:
        options = (["ro"] if read_only else []) + (
            [values["bind-propagation"]] if values.get("bind-propagation") else []
        )
        return _checked(words, flag, _bind(source, target, options))
    words.say(f"{flag}: needs type=bind,source=…,target=… or type=tmpfs,target=…")
    return None


def _ulimits(words: Words) -> dict[str, tuple[int, int]]:
    found = {}
    for text in words.v["ulimit"] or []:
        name, _, value = text.partition("=")
        soft, _, hard = value.partition(":")
        try:
            pair = tuple((1 << 64) - 1 if one in ("-1", "unlimited") else int(one) for one in (soft, hard or soft))
        except ValueError:
            words.say(f"--ulimit {text}: not NAME=SOFT[:HARD]")
            continue
        found[name] = (pair[0], pair[1])
    return found


def _pairs(words: Words, key: str) -> dict[str, str]:
    found = {}
    for text in words.v[key] or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            words.say(f"--{key} {text}: not NAME=VALUE")
        found[name] = value
    return found
