# SPDX-License-Identifier: Apache-2.0
"""A Dockerfile, read: ``parse`` makes one frozen record of it, or says in which line what is wrong.

Text → ``lexer`` (logical lines) → here (typed records of ``instructions``). Nothing is expanded and nothing is looked
up: the same text gives the same record anywhere. What Docker takes is taken; a few things it takes and then fails at,
or that mean nothing (``RUN`` without a command, triggers that cannot be read), are errors here already.
"""

from __future__ import annotations

from boxship.args import suggest
from boxship.image.build import instructions as of
from boxship.image.build.expand import ExpansionError, shown
from boxship.image.build.instructions import Arg, Dockerfile, From, Instruction, Stage
from boxship.image.build.lexer import Heredoc, Line, heredoc_mark, lex
from boxship.image.build.mounts import parse_mount
from boxship.image.build.syntax import (
    SPACE,
    DockerfileError,
    Flags,
    Mistake,
    Notice,
    array,
    blank_words,
    nanoseconds,
    pairs,
    partition,
    split,
    words,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NETWORKS = ("default", "none", "host")
SECURITY = ("sandbox", "insecure")
#: stage names that mean something else to COPY --from and FROM
RESERVED = ("scratch", "context")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TRANSFER = {"chown": "str", "chmod": "str", "link": "bool", "exclude": "list"}
_COPY = {"from": "str", "parents": "bool", **_TRANSFER}
_ADD = {"checksum": "str", "keep-git-dir": "bool", "unpack": "bool", **_TRANSFER}
_RUN = {"mount": "list", "network": "str", "security": "str"}
_HEALTH = {"interval": "str", "timeout": "str", "start-period": "str", "start-interval": "str", "retries": "str"}


class _Part:
    """One line on its way to an instruction: ``rest`` is what follows keyword and flags."""

    def __init__(self, at: Line, escape: str, notices: list[Notice]) -> None:
        self.at = at
        self.escape = escape
        self.notices = notices
        keyword, self.given, self.rest = split(at.text, escape)
        self.keyword = keyword.upper()

    def flags(self, known: Mapping[str, str] | None = None) -> Flags:
        """Those given, if they are among those known."""
        return Flags(self.given, known or {})

    def warn(self, text: str) -> None:
        """Something that works, but is hardly meant."""
        self.notices.append(Notice(self.at.first, f"{self.keyword}: {text}"))

    def whole(self, what: str) -> str:
        """The rest as one argument, no flags; Mistake when there is nothing."""
        self.flags()
        if not self.rest:
            raise Mistake(f"needs {what}", hint=f"write {self.keyword} {what.upper()}")
        return self.rest


def parse(source: str | bytes, file: str = "Dockerfile") -> Dockerfile:
    """Read a whole Dockerfile; DockerfileError. ``file`` is its name in messages."""
    lexed = lex(source, file)
    notices = list(lexed.warnings)
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for line in lexed.lines:
        one = _placed(line, lexed.escape, notices, file)
        if isinstance(one, From):
            stages.append((one, []))
        elif stages:
            stages[-1][1].append(one)
        elif isinstance(one, Arg):
            arguments.append(one)
        else:
            problem = "stands before the first FROM"
            raise DockerfileError(file, line.first, _title(line.keyword), problem, hint="only ARG may")
    if not stages:
        line = lexed.lines[-1]
        raise DockerfileError(file, line.last, "FROM", "there is no FROM", hint="write FROM IMAGE, or FROM scratch")
    made = tuple(Stage(index, start, tuple(body)) for index, (start, body) in enumerate(stages))
    notices += _doubtful(made)
    notices.sort(key=lambda notice: notice.line)
    return Dockerfile(tuple(arguments), made, tuple(notices), lexed.escape, lexed.syntax, lexed.check, file)


def parse_trigger(text: str, file: str = "ONBUILD") -> Instruction:
    """The instruction that an image keeps as a trigger; DockerfileError, with the line in ``text``."""
    lines = lex(text, file).lines
    if len(lines) > 1:
        hint = "a trigger is one: the base image is at fault"
        raise DockerfileError(file, lines[1].first, _title(lines[1].keyword), "a second instruction", hint=hint)
    return _placed(lines[0].replace(text=f"ONBUILD {lines[0].text}"), "\\", [], file, trigger=True)


def _placed(line: Line, escape: str, notices: list[Notice], file: str, *, trigger: bool = False) -> Instruction:
    """The instruction of a line; mistakes get their place."""
    try:
        found = _read(_Part(line, escape, notices))
    except (Mistake, ExpansionError) as error:
        title = _title(line.keyword)
        raise DockerfileError(file, line.first, title, error.message, hint=error.hint) from None
    return found.instruction if trigger and isinstance(found, of.OnBuild) else found


def _title(keyword: str) -> str:
    """An instruction's name in a message, whatever it is."""
    return keyword if keyword.isprintable() and len(keyword) <= 24 else shown(keyword, 24)


def _read(part: _Part) -> Instruction:
    reader = _READERS.get(part.keyword)
    if reader is None:
        hint = f"instructions are {' '.join(_READERS)}"
        raise Mistake(f"unknown instruction{suggest(part.keyword, list(_READERS))}", hint=hint)
    return reader(part)


def _doubtful(stages: tuple[Stage, ...]) -> list[Notice]:
    """What can only be seen across instructions."""
    found: list[Notice] = []
    names: dict[str, int] = {}
    for stage in stages:
        if stage.name in RESERVED:
            found.append(Notice(stage.line, f"FROM: {stage.name} means something else, and is a stage's name now"))
        if stage.name and stage.name in names:
            found.append(Notice(stage.line, f"FROM: line {names[stage.name]} has a stage {stage.name} already"))
        names[stage.name] = stage.line
        seen: dict[str, int] = {}
        for one in stage.instructions:
            if one.keyword in ("CMD", "ENTRYPOINT", "HEALTHCHECK"):
                if one.keyword in seen:
                    found.append(Notice(one.line, f"{one.keyword}: takes the place of line {seen[one.keyword]}"))
                seen[one.keyword] = one.line
    return found


def _from(part: _Part) -> Instruction:
    platform = part.flags({"platform": "str"}).text("platform")
    given = blank_words(part.rest)
    if len(given) == 1:
        return From(part.at, given[0], platform)
    if len(given) != 3 or given[1].lower() != "as":
        raise Mistake("needs an image, or an image AS a name", hint="write FROM IMAGE AS NAME")
    name = given[2].lower()
    if name[0] not in _LETTERS or name.strip(_LETTERS + "0123456789-_."):
        raise Mistake(f"{shown(given[2])} cannot name a stage", hint="a letter, then letters, digits, '-', '_' and '.'")
    return From(part.at, given[0], platform, name)


def _arg(part: _Part) -> Instruction:
    part.flags()
    found: list[tuple[str, str | None]] = []
    for word in words(part.rest, part.escape):
        name, equals, value = word.partition("=")
        if not name:
            raise Mistake(f"{shown(word)} has no name", hint="write NAME or NAME=DEFAULT")
        found.append((name, value if equals else None))
    if not found:
        raise Mistake("needs at least one name", hint="write NAME or NAME=DEFAULT")
    return Arg(part.at, tuple(found))


def _pairs(part: _Part) -> tuple[tuple[str, str], ...]:
    part.flags()
    found, old = pairs(part.rest, part.escape)
    if old:
        part.warn("NAME VALUE is an old form: write NAME=VALUE")
    return found


def _maintainer(part: _Part) -> Instruction:
    name = part.whole("a name")
    part.warn("is deprecated: write LABEL maintainer=…")
    return of.Label(part.at, (("maintainer", name),), literal=True)


def _command(part: _Part, rest: str) -> tuple[tuple[str, ...], bool]:
    """Words of a JSON array, or what else there is as one word for the shell (True)."""
    found = array(rest)
    if found is not None:
        return found, False
    if not rest:
        none = f", or {part.keyword} [] for none" if part.keyword in ("CMD", "ENTRYPOINT") else ""
        raise Mistake("needs a command", hint=f"write {part.keyword} COMMAND{none}")
    if rest[0] == "[" and rest[-1] == "]" and ("," in rest or rest[1:2] in ("'", '"')):
        part.warn("looks like a JSON array and is none: the shell gets it")
    return (rest,), True


def _run(part: _Part) -> Instruction:
    flags = part.flags(_RUN)
    mounts = tuple(parse_mount(one, part.escape) for one in flags.many("mount"))
    network = _choice("network", flags.text("network", "default"), NETWORKS)
    security = _choice("security", flags.text("security", "sandbox"), SECURITY)
    command, shell = _command(part, part.rest)
    if not command:
        raise Mistake("an empty command", hint='write RUN ["program", "argument"]')
    script = ""
    documents = part.at.heredocs
    if documents and _mark(command[0]):
        script = documents[0].text
        if not script.startswith("#!"):
            command, script = (script,), ""
        else:
            command, shell = (), False
    elif documents:
        command = ("\n".join([command[0], *(one.content + one.name for one in documents)]),)
    return of.Run(part.at, command, shell, mounts, network, security, script)


def _choice(flag: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        problem = f"--{flag}={shown(value)} is not known{suggest(value, list(known))}"
        raise Mistake(problem, hint=f"known are {' '.join(known)}")
    return value


def _mark(word: str) -> Heredoc | None:
    try:
        return heredoc_mark(word)
    except ExpansionError:
        return None


def _transfer(part: _Part) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Sources, documents, destination."""
    found = array(part.rest)
    given = blank_words(part.rest) if found is None else list(found)
    if len(given) < 2:
        raise Mistake("needs a source and a destination", hint=f"write {part.keyword} SOURCE DESTINATION")
    if not part.at.heredocs:
        return tuple(given[:-1]), (), given[-1]
    if _mark(given[-1]):
        raise Mistake("a heredoc cannot be the destination", hint=f"write {part.keyword} <<NAME DESTINATION")
    sources = tuple(word for word in given[:-1] if not _mark(word))
    if len(given) - 1 - len(sources) != len(part.at.heredocs):
        raise Mistake("a heredoc with blanks in its name, or before it", hint="write <<NAME without blanks")
    return sources, part.at.heredocs, given[-1]


def _copy(part: _Part) -> Instruction:
    flags = part.flags(_COPY)
    source = flags.text("from")
    if "$" in source[:-1]:
        hint = "name a stage: FROM $IMAGE AS NAME, and --from=NAME"
        raise Mistake(f"--from={shown(source)}: variables are not possible here", hint=hint)
    return of.Copy(
        part.at,
        *_transfer(part),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.truth("link"),
        exclude=flags.many("exclude"),
        source=source,
        parents=flags.truth("parents"),
    )


def _add(part: _Part) -> Instruction:
    flags = part.flags(_ADD)
    return of.Add(
        part.at,
        *_transfer(part),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.truth("link"),
        exclude=flags.many("exclude"),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.maybe("keep-git-dir"),
        unpack=flags.maybe("unpack"),
    )


def _plain_command(part: _Part) -> Instruction:
    part.flags()
    kind = of.Cmd if part.keyword == "CMD" else of.Entrypoint
    return kind(part.at, *_command(part, part.rest))


def _shell(part: _Part) -> Instruction:
    found = array(part.whole("a JSON array"))
    if not found:
        raise Mistake("needs a JSON array with a program", hint='write SHELL ["/bin/sh", "-c"]')
    return of.Shell(part.at, found)


def _expose(part: _Part) -> Instruction:
    return of.Expose(part.at, tuple(blank_words(part.whole("a port"))))


def _volume(part: _Part) -> Instruction:
    found = array(part.whole("a path"))
    paths = tuple(path.strip(SPACE) for path in (blank_words(part.rest) if found is None else found))
    if not paths or "" in paths:
        raise Mistake("an empty path", hint="write VOLUME /path")
    return of.Volume(part.at, paths)


def _health(part: _Part) -> Instruction:
    flags = part.flags(_HEALTH)
    kind, rest = partition(part.rest)
    if kind.upper() == "NONE":
        if rest:
            raise Mistake("NONE has nothing behind it", hint="write HEALTHCHECK NONE")
        return of.HealthCheck(part.at, (), none=True)
    if kind.upper() != "CMD":
        problem = f"{shown(kind)} is not CMD or NONE" if kind else "needs CMD or NONE"
        raise Mistake(problem, hint="write HEALTHCHECK CMD COMMAND")
    command, shell = _command(part, rest)
    if not command:
        raise Mistake("an empty command", hint='write HEALTHCHECK CMD ["program", "argument"]')
    retries = flags.text("retries") or "0"
    if retries.strip("0123456789") or len(retries) > 9:
        raise Mistake(f"--retries={shown(retries)} is not a number of times", hint="write --retries=3")
    return of.HealthCheck(
        part.at,
        command,
        shell,
        interval=nanoseconds("interval", flags.text("interval")),
        timeout=nanoseconds("timeout", flags.text("timeout")),
        start_period=nanoseconds("start-period", flags.text("start-period")),
        start_interval=nanoseconds("start-interval", flags.text("start-interval")),
        retries=int(retries),
    )


def _onbuild(part: _Part) -> Instruction:
    rest = part.whole("an instruction")
    inner = _Part(part.at.replace(text=rest), part.escape, part.notices)
    if inner.keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise Mistake(f"{inner.keyword} cannot be a trigger", hint="any other instruction can")
    text = "".join([rest, *(f"\n{one.content}{one.name}" for one in part.at.heredocs)])
    return of.OnBuild(part.at, _read(inner), text)


_READERS: dict[str, Callable[[_Part], Instruction]] = {
    "FROM": _from,
    "ARG": _arg,
    "ENV": lambda part: of.Env(part.at, _pairs(part)),
    "RUN": _run,
    "COPY": _copy,
    "ADD": _add,
    "CMD": _plain_command,
    "ENTRYPOINT": _plain_command,
    "SHELL": _shell,
    "LABEL": lambda part: of.Label(part.at, _pairs(part)),
    "EXPOSE": _expose,
    "VOLUME": _volume,
    "USER": lambda part: of.User(part.at, part.whole("a user")),
    "WORKDIR": lambda part: of.Workdir(part.at, part.whole("a path")),
    "STOPSIGNAL": lambda part: of.StopSignal(part.at, part.whole("a signal")),
    "HEALTHCHECK": _health,
    "ONBUILD": _onbuild,
    "MAINTAINER": _maintainer,
}
