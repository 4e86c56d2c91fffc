# SPDX-License-Identifier: Apache-2.0
"""One frozen record per instruction, and what a Dockerfile is made of.

Words are as they are written, quotes and variables included. ``expanded`` names the fields in which variables are
replaced when the instruction is carried out, with the stage's environment at that moment: strings and tuples of
strings word by word (``expand.expand``), pairs in both halves; what differs is said in the record. All other fields
are final.
"""

from __future__ import annotations

from boxship.image.build.lexer import Heredoc, Line
from boxship.image.build.mounts import Mount
from boxship.image.build.syntax import Notice
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class Instruction(Record):
    """Base of all: ``at`` is the logical line with its numbers, its text, its heredocs."""

    keyword: ClassVar[str] = ""
    expanded: ClassVar[tuple[str, ...]] = ()

    at: Line

    @property
    def line(self) -> int:
        """The first line's number."""
        return self.at.first


class From(Instruction):
    """``FROM [--platform=P] BASE [AS NAME]``. Expanded with the global ARGs only. ``name`` is in small letters."""

    keyword: ClassVar[str] = "FROM"
    expanded: ClassVar[tuple[str, ...]] = ("base", "platform")

    base: str
    platform: str = ""
    name: str = ""


class Arg(Instruction):
    """``ARG NAME[=DEFAULT] …``; None: no default. Only defaults are expanded, and only where nobody gives a value."""

    keyword: ClassVar[str] = "ARG"
    expanded: ClassVar[tuple[str, ...]] = ("pairs",)

    pairs: tuple[tuple[str, str | None], ...]


class Env(Instruction):
    """``ENV NAME=VALUE …``, ``ENV NAME VALUE``. All are expanded with the environment before the instruction."""

    keyword: ClassVar[str] = "ENV"
    expanded: ClassVar[tuple[str, ...]] = ("pairs",)

    pairs: tuple[tuple[str, str], ...]


class Label(Instruction):
    """``LABEL NAME=VALUE …``. ``literal``: it was MAINTAINER, nothing is expanded."""

    keyword: ClassVar[str] = "LABEL"
    expanded: ClassVar[tuple[str, ...]] = ("pairs",)

    pairs: tuple[tuple[str, str], ...]
    literal: bool = False


class CommandLine(Instruction):
    """A program and its arguments, or (``shell``) one word for the stage's shell, which expands it."""

    words: tuple[str, ...]
    shell: bool = False


class Run(CommandLine):
    """``RUN [--mount=…] [--network=…] [--security=…] COMMAND``.

    Heredocs are in ``words`` already, the way the shell wants them. With ``script`` there are no words: it is the
    text, with its ``#!``, of a file to be executed. ``mounts`` are expanded by ``Mount.settled``.
    """

    keyword: ClassVar[str] = "RUN"
    expanded: ClassVar[tuple[str, ...]] = ("mounts",)

    mounts: tuple[Mount, ...] = ()
    #: default, none, host
    network: str = "default"
    #: sandbox, insecure
    security: str = "sandbox"
    script: str = ""


class Cmd(CommandLine):
    """``CMD COMMAND``; ``CMD []`` takes back what the base image has."""

    keyword: ClassVar[str] = "CMD"


class Entrypoint(CommandLine):
    """``ENTRYPOINT COMMAND``; ``ENTRYPOINT []`` takes back what the base image has."""

    keyword: ClassVar[str] = "ENTRYPOINT"


class Shell(Instruction):
    """``SHELL ["program", "argument"]``: what carries out words for the shell from here on."""

    keyword: ClassVar[str] = "SHELL"

    words: tuple[str, ...]


class Transfer(Instruction):
    """What COPY and ADD share. A document's text is expanded by ``expand_text``, if its ``expand`` says so."""

    expanded: ClassVar[tuple[str, ...]] = ("sources", "documents", "destination", "chown", "chmod")

    sources: tuple[str, ...]
    #: heredocs: files of that name and text
    documents: tuple[Heredoc, ...]
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    #: patterns as those of .dockerignore
    exclude: tuple[str, ...] = ()


class Copy(Transfer):
    """``COPY [flags] SOURCE … DESTINATION``; ``source`` is ``--from``: a stage's name or number, or an image."""

    keyword: ClassVar[str] = "COPY"

    source: str = ""
    parents: bool = False


class Add(Transfer):
    """``ADD [flags] SOURCE … DESTINATION``; None: unpack archives of the context, keep no .git."""

    keyword: ClassVar[str] = "ADD"
    expanded: ClassVar[tuple[str, ...]] = (*Transfer.expanded, "checksum")

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class Expose(Instruction):
    """``EXPOSE PORT[/PROTOCOL] …``; each word may become several (``expand_words``)."""

    keyword: ClassVar[str] = "EXPOSE"
    expanded: ClassVar[tuple[str, ...]] = ("ports",)

    ports: tuple[str, ...]


class Volume(Instruction):
    """``VOLUME PATH …`` or a JSON array."""

    keyword: ClassVar[str] = "VOLUME"
    expanded: ClassVar[tuple[str, ...]] = ("paths",)

    paths: tuple[str, ...]


class User(Instruction):
    """``USER NAME[:GROUP]``, or numbers."""

    keyword: ClassVar[str] = "USER"
    expanded: ClassVar[tuple[str, ...]] = ("user",)

    user: str


class Workdir(Instruction):
    """``WORKDIR PATH``; a relative one adds to the directory before."""

    keyword: ClassVar[str] = "WORKDIR"
    expanded: ClassVar[tuple[str, ...]] = ("path",)

    path: str


class StopSignal(Instruction):
    """``STOPSIGNAL NAME``, or a number."""

    keyword: ClassVar[str] = "STOPSIGNAL"
    expanded: ClassVar[tuple[str, ...]] = ("signal",)

    signal: str


class HealthCheck(CommandLine):
    """``HEALTHCHECK [flags] CMD COMMAND``; ``none``: the base image's is taken back. Times in ns, 0 is the default."""

    keyword: ClassVar[str] = "HEALTHCHECK"

    none: bool = False
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class OnBuild(Instruction):
    """``ONBUILD INSTRUCTION``; ``text`` is what the image keeps, heredocs included: see ``parse_trigger``."""

    keyword: ClassVar[str] = "ONBUILD"

    instruction: Instruction
    text: str


class Stage(Record):
    """A FROM and what follows it. ``index`` counts from 0."""

    index: int
    start: From
    instructions: tuple[Instruction, ...] = ()

    @property
    def name(self) -> str:
        """What AS calls it, in small letters; empty."""
        return self.start.name

    @property
    def base(self) -> str:
        """An image or an earlier stage, not expanded."""
        return self.start.base

    @property
    def platform(self) -> str:
        """Of the base image, not expanded; empty."""
        return self.start.platform

    @property
    def line(self) -> int:
        """Of its FROM."""
        return self.start.line

    @property
    def title(self) -> str:
        """The name, or the number where it has none."""
        return self.name or str(self.index)


class Dockerfile(Record):
    """A whole one: ARGs before the first FROM, stages, warnings, and what the directives at its top say."""

    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[Notice, ...] = ()
    #: the escape character that ``expand`` needs
    escape: str = "\\"
    syntax: str = ""
    check: str = ""
    #: its name, for messages
    file: str = "Dockerfile"
