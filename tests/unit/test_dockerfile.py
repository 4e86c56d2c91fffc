# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles: logical lines, heredocs, every instruction, what is wrong with them, and which stages are needed."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxship.errors import InvalidRequest
from boxship.image.build import graph
from boxship.image.build import instructions as of
from boxship.image.build.dockerfile import parse, parse_trigger
from boxship.image.build.expand import expand, expand_text
from boxship.image.build.lexer import lex
from boxship.image.build.syntax import DockerfileError, Mistake


def texts(source: str | bytes) -> list[tuple[str, int, int]]:
    return [(line.text, line.first, line.last) for line in lex(source).lines]


def one(instruction: str, more: str = "") -> of.Instruction:
    """The only instruction behind a FROM."""
    found = parse(f"FROM base\n{instruction}\n{more}").stages[0].instructions
    assert len(found) == 1
    return found[0]


# logical lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("FROM a", [("FROM a", 1, 1)]),
        ("FROM a\nRUN b\n", [("FROM a", 1, 1), ("RUN b", 2, 2)]),
        ("\n\n  FROM a  \n\n", [("FROM a", 3, 3)]),
        ("# c\nFROM a\n  # c\nRUN b # kept", [("FROM a", 2, 2), ("RUN b # kept", 4, 4)]),
        # continued
        ("RUN a \\\n  b", [("RUN a   b", 1, 2)]),
        ("RUN a\\\nb", [("RUN ab", 1, 2)]),
        ("RUN a \\ \t\nb", [("RUN a b", 1, 2)]),
        ("RUN a \\\n# c\n  # c\nb\nRUN d", [("RUN a b", 1, 4), ("RUN d", 5, 5)]),
        ("RUN a \\\n\n \nb", [("RUN a b", 1, 4)]),
        ("RUN a \\\nb \\\nc", [("RUN a b c", 1, 3)]),
        ("RUN a \\\\\nRUN b", [("RUN a \\\\", 1, 1), ("RUN b", 2, 2)]),
        ("RUN a \\", [("RUN a", 1, 1)]),
        ("RUN a \\\n# c", [("RUN a", 1, 2)]),
        ("\\\nRUN a", [("RUN a", 1, 2)]),
        ("RUN a # \\\nb", [("RUN a # b", 1, 2)]),
        ("# c \\\nRUN a", [("RUN a", 2, 2)]),
        ("RUN a\\b\\\n", [("RUN a\\b", 1, 1)]),
        # other ways to end a line, and to begin a file
        ("FROM a\r\nRUN b \\\r\nc\r\n", [("FROM a", 1, 1), ("RUN b c", 2, 3)]),
        ("\ufeffFROM a", [("FROM a", 1, 1)]),
        ("\ufeff# escape=`\nRUN a `\nb", [("RUN a b", 2, 3)]),
        ("RUN a\x0cb\x1ec\u2028d", [("RUN a\x0cb\x1ec\u2028d", 1, 1)]),
        # directives
        ("# escape=`\nRUN a `\nb \\\nRUN c", [("RUN a b \\", 2, 3), ("RUN c", 4, 4)]),
        ("#escape = \\ \nRUN a \\\nb", [("RUN a b", 2, 3)]),
        ("# syntax=x\n# ESCAPE=`\nRUN a `\nb", [("RUN a b", 3, 4)]),
        ("# a comment\n# escape=`\nRUN a `\nRUN b", [("RUN a `", 3, 3), ("RUN b", 4, 4)]),
        ("\n# escape=`\nRUN a `", [("RUN a `", 3, 3)]),
        ("# other=x\n# escape=`\nRUN a `", [("RUN a `", 3, 3)]),
        ("# escape=\nRUN a \\\nb", [("RUN a b", 2, 3)]),
    ],
)
def test_logical_lines(source, lines):
    assert texts(source) == lines
    assert texts(source.encode()) == lines


def test_original_text_is_kept():
    source = "# top\nFROM a\n RUN b \\\n# c\n\n c\nCOPY <<X /x\r\nline\r\nX\nCMD d"
    found = lex(source).lines
    assert [line.original for line in found] == [
        "FROM a\n",
        " RUN b \\\n# c\n\n c\n",
        "COPY <<X /x\r\nline\r\nX\n",
        "CMD d",
    ]


def test_directives_are_reported():
    found = parse("# syntax=docker/dockerfile:1\n# check=skip=all;error=true\n# escape=`\nFROM a")
    assert (found.syntax, found.check, found.escape) == ("docker/dockerfile:1", "skip=all;error=true", "`")


def heredocs(source: str) -> list[tuple[str, str, bool, bool, int]]:
    [line] = lex(source).lines
    return [(h.name, h.content, h.expand, h.chomp, h.line) for h in line.heredocs]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("RUN <<E\na\n b\nE", [("E", "a\n b\n", True, False, 2)]),
        ("RUN <<E\nE", [("E", "", True, False, 2)]),
        ("run cat <<E > x\na\nE\n", [("E", "a\n", True, False, 2)]),
        ("COPY <<one <<two /d/\n1\none\n2\ntwo", [("one", "1\n", True, False, 2), ("two", "2\n", True, False, 4)]),
        ("ADD <<E /x\n# no comment\n\\\nE", [("E", "# no comment\n\\\n", True, False, 2)]),
        ("RUN <<-E\n\t\ta\n\tE", [("E", "\t\ta\n", True, True, 2)]),
        ("RUN <<E\n\tE\nE", [("E", "\tE\n", True, False, 2)]),
        ("RUN <<'E'\n$A\nE", [("E", "$A\n", False, False, 2)]),
        ('RUN <<-"a b"\nx\na b', [("a b", "x\n", False, True, 2)]),
        ("RUN <<E'O'F\nx\nEOF", [("EOF", "x\n", False, False, 2)]),
        ("RUN << E\nx\nE", [("E", "x\n", True, False, 2)]),
        ("RUN 3<<E\nx\nE", [("E", "x\n", True, False, 2)]),
        ("RUN a \\\n <<E\nx\nE", [("E", "x\n", True, False, 3)]),
        ("ONBUILD RUN <<E\nx\nE", [("E", "x\n", True, False, 2)]),
        ("RUN --mount=type=tmpfs,target=/t <<E\nx\nE", [("E", "x\n", True, False, 2)]),
        ("RUN <<E\r\nx\r\nE\r\n", [("E", "x\r\n", True, False, 2)]),
        # what only looks like one
        ("RUN cat <<<word", []),
        ("RUN echo '<<E' \"<<E\"", []),
        ("RUN echo $((1<<2))", []),
        ("RUN echo a<<E", []),
        ("RUN echo \\<<E", []),
        ("RUN echo it's <<E", []),
        ("ENV A=<<E", []),
        ('RUN ["cat", "<<E"]', []),
        ("CMD cat <<E", []),
    ],
)
def test_heredocs(source, found):
    assert heredocs(source) == found


def test_tabs_of_heredocs():
    [line] = lex("RUN <<-E\n\t\ta\n \tb\n\t\n\tc\x0b\td\nE").lines
    assert line.heredocs[0].text == "a\n \tb\n\nc\x0b\td\n"
    [line] = lex("RUN <<E\n\ta\nE").lines
    assert line.heredocs[0].text == "\ta\n"


# instructions


@pytest.mark.parametrize(
    ("source", "base", "platform", "name"),
    [
        ("FROM alpine", "alpine", "", ""),
        ("from alpine:3.20 as Build-1", "alpine:3.20", "", "build-1"),
        ("FROM --platform=$BUILDPLATFORM ${IMAGE:-x}\tAS\tb", "${IMAGE:-x}", "$BUILDPLATFORM", "b"),
        ("FROM --platform='linux/arm64' scratch", "scratch", "linux/arm64", ""),
        ("FROM a@sha256:00 AS a_b.c", "a@sha256:00", "", "a_b.c"),
    ],
)
def test_from(source, base, platform, name):
    stage = parse(source).stages[0]
    assert (stage.base, stage.platform, stage.name, stage.line) == (base, platform, name, 1)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("ARG A", (("A", None),)),
        ("ARG A=", (("A", ""),)),
        ("ARG A=1 B C='x y' D=$A", (("A", "1"), ("B", None), ("C", "'x y'"), ("D", "$A"))),
        ('ARG A="b=c"', (("A", '"b=c"'),)),
    ],
)
def test_arg(text, pairs):
    assert one(text).pairs == pairs
    assert parse(f"{text}\nFROM a").arguments[0].pairs == pairs


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("A=1", (("A", "1"),)),
        ("A=1 B=2", (("A", "1"), ("B", "2"))),
        ("A=", (("A", ""),)),
        ("A=b=c", (("A", "b=c"),)),
        ('A="b c" B=d\\ e', (("A", '"b c"'), ("B", "d\\ e"))),
        ("A='it is' B=\"it's\"", (("A", "'it is'"), ("B", '"it\'s"'))),
        ('A="x \\" y" B=z', (("A", '"x \\" y"'), ("B", "z"))),
        ('"A B"=c', (('"A B"', "c"),)),
        ("A=1 \\\n  B=2", (("A", "1"), ("B", "2"))),
        ("A b", (("A", "b"),)),
        ("A   b  c=d ", (("A", "b  c=d"),)),
        ("A 'b", (("A", "'b"),)),
    ],
)
def test_env_and_label(text, pairs):
    env, label = one(f"ENV {text}"), one(f"LABEL {text}")
    assert isinstance(env, of.Env) and env.pairs == pairs
    assert isinstance(label, of.Label) and label.pairs == pairs and not label.literal


@pytest.mark.parametrize("keyword", ["RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK CMD"])
@pytest.mark.parametrize(
    ("text", "words", "shell"),
    [
        ("echo $HOME && ls", ("echo $HOME && ls",), True),
        ('["echo", "$HOME", "a b"]', ("echo", "$HOME", "a b"), False),
        ('  [ "a" ,\t"b" ]  ', ("a", "b"), False),
        ('["caf\\u00e9", "\\\\", ""]', ("café", "\\", ""), False),
        ('["\\ud800x"]', ("\ufffdx",), False),
        ("['a', 'b']", ("['a', 'b']",), True),
        ('["a", "b"', ('["a", "b"',), True),
        ('["a"] b', ('["a"] b',), True),
        ('["a",]', ('["a",]',), True),
        ("[ -f x ] && y", ("[ -f x ] && y",), True),
        ('"a b"', ('"a b"',), True),
        ("a \\\n # c\n b", ("a  b",), True),
    ],
)
def test_commands(keyword, text, words, shell):
    found = one(f"{keyword} {text}")
    assert (found.words, found.shell) == (words, shell)


def test_nothing_to_run():
    assert one("CMD []").words == one("ENTRYPOINT []").words == ()
    assert one("CMD [ ]").shell is False


def test_run_flags():
    found = one(
        "RUN --mount=type=cache,target=/c --network=none --mount=type=bind,from=tools,source=/x,dst=/y --security=insecure make"
    )
    assert (found.words, found.network, found.security) == (("make",), "none", "insecure")
    assert [(mount.type, mount.source_stage, mount.target) for mount in found.mounts] == [
        ("cache", "", "/c"),
        ("bind", "tools", "/y"),
    ]
    plain = one("RUN -- --strange")
    assert (plain.words, plain.mounts, plain.network, plain.security) == (("--strange",), (), "default", "sandbox")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("target=/t", {"type": "bind", "target": "/t", "readonly": True}),
        ("type=bind,src=a,destination=/t,rw", {"source": "a", "target": "/t", "readonly": False}),
        ("type=bind,dst=/t,readwrite=false", {"readonly": True}),
        ("type=bind,dst=/t,ro=0", {"readonly": False}),
        ("type=cache,target=/c", {"type": "cache", "readonly": False, "sharing": ""}),
        (
            "type=cache,id=go,target=/c,sharing=locked,from=base,source=/seed,mode=0750,uid=10,gid=20,ro",
            {
                "id": "go",
                "sharing": "locked",
                "source_stage": "base",
                "mode": 0o750,
                "uid": 10,
                "gid": 20,
                "readonly": True,
            },
        ),
        ("type=tmpfs,target=/t,size=64m", {"type": "tmpfs", "size": 64 << 20, "readonly": False}),
        ("TYPE=Secret,ID=key", {"type": "secret", "id": "key", "required": False, "env": None}),
        (
            "type=secret,id=key,target=/k,required=true,mode=400,uid=0,gid=0,env=KEY",
            {"target": "/k", "required": True, "mode": 0o400, "uid": 0, "env": "KEY"},
        ),
        ("required,id=key,type=secret", {"required": True}),
        ("type=ssh", {"type": "ssh", "id": "", "required": False}),
        ("type=ssh,id=github,required,mode=0600,target=/agent", {"id": "github", "required": True, "mode": 0o600}),
        ('type=bind,\\"source=a,b\\",target=/t', {"source": "a,b"}),
    ],
)
def test_mounts(text, fields):
    [mount] = one(f"RUN --mount={text} x").mounts
    mount = mount.settled(lambda word: expand(word, {}))
    assert {name: getattr(mount, name) for name in fields} == fields


def test_mounts_with_variables_wait():
    [mount] = one("RUN --mount=type=$TYPE,target=/c/${NAME},from=base,uid=$ID x").mounts
    assert mount.pending and mount.source_stage == "base"
    scope = {"TYPE": "cache", "NAME": "n", "ID": "7"}
    settled = mount.settled(lambda word: expand(word, scope))
    assert (settled.type, settled.target, settled.uid, settled.source_stage) == ("cache", "/c/n", 7, "base")
    assert not settled.pending
    with pytest.raises(Mistake, match="uid"):
        mount.settled(lambda word: expand(word, scope | {"ID": "-1"}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "unknown key ''"),
        ("type=bnd", "type='bnd' is not known (did you mean bind?)"),
        ("type=cache,targt=/x", "unknown key 'targt' (did you mean target?)"),
        ("type=cache,target", "target needs a value"),
        ("type=cache,,target=/x", "unknown key ''"),
        ("type=bind,size=1m,target=/x", "size is not for type bind"),
        ("type=bind,sharing=shared,target=/x", "sharing is not for type bind"),
        ("type=bind,mode=0755,target=/x", "mode is not for type bind"),
        ("type=tmpfs,uid=1,target=/x", "uid is not for type tmpfs"),
        ("type=cache,required,target=/x", "required is not for type cache"),
        ("type=cache,sharing=all,target=/x", "sharing='all' is not known"),
        ("type=cache,mode=0899,target=/x", "mode='0899' is not possible"),
        ("type=cache,mode=77777,target=/x", "mode='77777' is not possible"),
        ("type=cache,uid=root,target=/x", "uid='root' is not possible"),
        ("type=cache,uid=4294967296,target=/x", "uid='4294967296' is not possible"),
        ("type=cache,uid=,target=/x", "uid='' is not possible"),
        ("type=tmpfs,size=big,target=/x", "size='big'"),
        ("type=tmpfs,size=-1,target=/x", "size='-1' is negative"),
        ("type=bind,ro=maybe,target=/x", "readonly='maybe' is not true or false"),
        ("type=secret", "a secret without id and target"),
        ("type=secret,id=a,source=b", "a secret with both id and source"),
        ("type=secret,id=a,from=b", "from is not for type secret"),
        ("type=bind,from=$X,target=/x", "from='$X': variables are not possible here"),
        ('\\"type=bind', "a quote that is not closed"),
        ('\\"type=bind\\"x', "text behind a quote"),
    ],
)
def test_wrong_mounts(text, problem):
    with pytest.raises(DockerfileError) as caught:
        one(f"RUN --mount={text} x")
    assert caught.value.message.startswith(f"Dockerfile:2: RUN: --mount: {problem}")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("source", "words", "script"),
    [
        ("RUN <<E\nset -e\nmake\nE", ("set -e\nmake\n",), ""),
        ("RUN <<-E\n\tset -e\n\tE", ("set -e\n",), ""),
        ("RUN <<'E'\necho $A\nE", ("echo $A\n",), ""),
        ("RUN <<E\n#!/usr/bin/env python3\nprint(1)\nE", (), "#!/usr/bin/env python3\nprint(1)\n"),
        ("RUN <<-E\n\t#!/bin/sh\n\tE", (), "#!/bin/sh\n"),
        ("RUN <<E cat > /x\na\nE", ("<<E cat > /x\na\nE",), ""),
        ("RUN cat <<A - <<-B\n1\nA\n\t2\n\tB", ("cat <<A - <<-B\n1\nA\n\t2\nB",), ""),
        ("RUN --network=none <<E\nx\nE", ("x\n",), ""),
    ],
)
def test_heredocs_to_run(source, words, script):
    found = one(source)
    assert (found.words, found.script, found.shell) == (words, script, bool(words))


def test_copy():
    found = one("COPY --from=build --chown=1:2 --chmod=u+x --link --parents --exclude=*.o --exclude=*.a a b/ /c")
    assert isinstance(found, of.Copy)
    assert (found.sources, found.documents, found.destination) == (("a", "b/"), (), "/c")
    assert (found.source, found.chown, found.chmod, found.link, found.parents) == ("build", "1:2", "u+x", True, True)
    assert found.exclude == ("*.o", "*.a")
    plain = one("COPY a b")
    assert (plain.source, plain.chown, plain.link, plain.parents, plain.exclude) == ("", "", False, False, ())
    assert one("COPY --link=false a b").link is False


def test_add():
    found = one("ADD --checksum=sha256:ab --keep-git-dir --unpack=FALSE --chmod=644 --exclude=x https://h/f.tar /d/")
    assert isinstance(found, of.Add)
    assert (found.checksum, found.keep_git_dir, found.unpack, found.chmod) == ("sha256:ab", True, False, "644")
    assert (found.sources, found.destination, found.exclude) == (("https://h/f.tar",), "/d/", ("x",))
    assert (one("ADD a b").keep_git_dir, one("ADD a b").unpack) == (None, None)


@pytest.mark.parametrize(
    ("text", "sources", "destination"),
    [
        ('["a b", "c", "/d e/"]', ("a b", "c"), "/d e/"),
        ("$A \\\n  ${B}/ \\\n  /c", ("$A", "${B}/"), "/c"),
        ('"a b" /c', ('"a', 'b"'), "/c"),
        ("[[]a /c", ("[[]a",), "/c"),
        ('["a", "<<E"]', ("a",), "<<E"),
    ],
)
def test_sources(text, sources, destination):
    for keyword in ("COPY", "ADD"):
        found = one(f"{keyword} {text}")
        assert (found.sources, found.destination) == (sources, destination)


def test_documents():
    found = one("COPY <<a.txt file <<-'b.txt' /d/\n$X\na.txt\n\t$Y\nb.txt")
    assert (found.sources, found.destination) == (("file",), "/d/")
    assert [(one.name, one.text, one.expand) for one in found.documents] == [
        ("a.txt", "$X\n", True),
        ("b.txt", "$Y\n", False),
    ]
    assert expand_text(found.documents[0].text, {"X": "'x'"}) == "'x'\n"


@pytest.mark.parametrize(
    ("source", "kind", "field", "value"),
    [
        ('SHELL ["/bin/bash", "-c"]', of.Shell, "words", ("/bin/bash", "-c")),
        ("EXPOSE 80 443/tcp 53/udp $P", of.Expose, "ports", ("80", "443/tcp", "53/udp", "$P")),
        ("VOLUME /a /b", of.Volume, "paths", ("/a", "/b")),
        ('VOLUME ["/a b", " /c "]', of.Volume, "paths", ("/a b", "/c")),
        ("USER app:staff", of.User, "user", "app:staff"),
        ("USER  two words ", of.User, "user", "two words"),
        ("WORKDIR /a b/$C", of.Workdir, "path", "/a b/$C"),
        ("STOPSIGNAL SIGQUIT", of.StopSignal, "signal", "SIGQUIT"),
        ("stopsignal 9", of.StopSignal, "signal", "9"),
        ("HEALTHCHECK NONE", of.HealthCheck, "none", True),
        ("HEALTHCHECK --interval=5s none", of.HealthCheck, "words", ()),
        ("HEALTHCHECK --interval=1m30s cmd x", of.HealthCheck, "interval", 90 * 10**9),
        ("HEALTHCHECK --timeout=250ms CMD x", of.HealthCheck, "timeout", 250 * 10**6),
        ("HEALTHCHECK --start-period=1.5h CMD x", of.HealthCheck, "start_period", 5400 * 10**9),
        ("HEALTHCHECK --start-interval=2s --retries=7 CMD x", of.HealthCheck, "start_interval", 2 * 10**9),
        ("HEALTHCHECK --retries=7 CMD x", of.HealthCheck, "retries", 7),
        ("HEALTHCHECK --interval=0 --timeout=0s CMD x", of.HealthCheck, "interval", 0),
        ("HEALTHCHECK --interval=1000us CMD x", of.HealthCheck, "interval", 10**6),
        ("MAINTAINER A B <c@d>", of.Label, "pairs", (("maintainer", "A B <c@d>"),)),
        ("MAINTAINER $A", of.Label, "literal", True),
    ],
)
def test_the_others(source, kind, field, value):
    found = one(source)
    assert isinstance(found, kind)
    assert getattr(found, field) == value


def test_triggers():
    found = one("ONBUILD  COPY --from=x  a /b")
    assert isinstance(found, of.OnBuild)
    assert found.text == "COPY --from=x  a /b"
    assert isinstance(found.instruction, of.Copy) and found.instruction.source == "x"
    again = parse_trigger(found.text)
    assert isinstance(again, of.Copy) and again.sources == ("a",)


def test_triggers_with_heredocs():
    found = one("ONBUILD RUN <<-E cat > /x\n\ta\n\tE")
    assert found.text == "RUN <<-E cat > /x\n\ta\nE"
    assert parse_trigger(found.text).words == found.instruction.words
    copied = parse_trigger(one("ONBUILD COPY <<A <<'B' /d/\n1\nA\n2\nB").text)
    assert [(doc.name, doc.content, doc.expand) for doc in copied.documents] == [
        ("A", "1\n", True),
        ("B", "2\n", False),
    ]


@pytest.mark.parametrize("text", ["FROM a", "ONBUILD RUN a", "MAINTAINER a", "RUN a\nRUN b", "", "NOPE x", "COPY a"])
def test_wrong_triggers(text):
    with pytest.raises(DockerfileError, match=r"^ONBUILD:\d+: "):
        parse_trigger(text)


def test_expanded_fields_exist():
    kinds = [kind for kind in vars(of).values() if isinstance(kind, type) and issubclass(kind, of.Instruction)]
    assert len(kinds) > 18
    for kind in kinds:
        assert set(kind.expanded) <= set(kind.__fields__), kind
    assert of.Copy.expanded == ("sources", "documents", "destination", "chown", "chmod")
    assert of.Cmd.expanded == of.Shell.expanded == of.HealthCheck.expanded == ()


def test_records_are_values():
    source = "ARG A=1\nFROM x AS y\nRUN --mount=type=cache,target=/c a\nCOPY <<E /e\nb\nE"
    assert parse(source) == parse(source) and len({parse(source), parse(source)}) == 1


# what is wrong


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "Dockerfile:1: FROM: the file has no instructions"),
        ("# only\n\n", "Dockerfile:1: FROM: the file has no instructions"),
        ("\\\n", "Dockerfile:1: FROM: the file has no instructions"),
        ("ARG A\nARG B", "Dockerfile:2: FROM: there is no FROM"),
        ("\nRUN a\nFROM b", "Dockerfile:2: RUN: stands before the first FROM"),
        ("ONBUILD RUN a", "Dockerfile:1: ONBUILD RUN: stands before the first FROM"),
        ("FRM a", "Dockerfile:1: FRM: unknown instruction (did you mean FROM?)"),
        ("FROM a\nRNU b", "Dockerfile:2: RNU: unknown instruction"),
        ("FROM a\nENTRYPIONT b", "Dockerfile:2: ENTRYPIONT: unknown instruction (did you mean ENTRYPOINT?)"),
        ("FROM a\n\x07 b", "Dockerfile:2: '\\x07': unknown instruction"),
        ("FROM a\nONBUILD CPOY b c", "Dockerfile:2: ONBUILD CPOY: unknown instruction"),
        ("FROM", "Dockerfile:1: FROM: needs an image, or an image AS a name"),
        ("FROM a b", "Dockerfile:1: FROM: needs an image"),
        ("FROM a AS", "Dockerfile:1: FROM: needs an image"),
        ("FROM a IS b", "Dockerfile:1: FROM: needs an image"),
        ("FROM a AS 1b", "Dockerfile:1: FROM: '1b' cannot name a stage"),
        ("FROM a AS b/c", "Dockerfile:1: FROM: 'b/c' cannot name a stage"),
        ("FROM --plattform=x a", "Dockerfile:1: FROM: unknown flag '--plattform' (did you mean --platform?)"),
        ("FROM --platform a", "Dockerfile:1: FROM: --platform needs a value"),
        ("FROM --platform=a --platform=b c", "Dockerfile:1: FROM: --platform is given twice"),
        ("FROM a\nARG", "Dockerfile:2: ARG: needs at least one name"),
        ("FROM a\nARG =b", "Dockerfile:2: ARG: '=b' has no name"),
        ("FROM a\nENV", "Dockerfile:2: ENV: needs at least one NAME=VALUE"),
        ("FROM a\nENV B", "Dockerfile:2: ENV: 'B' has no value"),
        ("FROM a\nENV =b", "Dockerfile:2: ENV: '=b' has no name"),
        ("FROM a\nLABEL b=c d", "Dockerfile:2: LABEL: 'd' is not NAME=VALUE"),
        ("FROM a\n\nRUN", "Dockerfile:3: RUN: needs a command"),
        ("FROM a\nRUN []", "Dockerfile:2: RUN: an empty command"),
        ("FROM a\nRUN --network=bridge x", "Dockerfile:2: RUN: --network='bridge' is not known"),
        (
            "FROM a\nRUN --security=sandbx x",
            "Dockerfile:2: RUN: --security='sandbx' is not known (did you mean sandbox?)",
        ),
        ("FROM a\nRUN --device=gpu x", "Dockerfile:2: RUN: unknown flag '--device'"),
        ('FROM a\nRUN ["a", 1]', "Dockerfile:2: RUN: '1' in the array is not a string"),
        ('FROM a\nCMD ["a", ["b"]]', "Dockerfile:2: CMD: "),
        ('FROM a\nCMD ["a\\u0000b"]', "Dockerfile:2: CMD: a NUL in the array"),
        ("FROM a\nCMD", "Dockerfile:2: CMD: needs a command"),
        ("FROM a\nCMD --x y", "Dockerfile:2: CMD: unknown flag '--x'"),
        ("FROM a\nRUN b \\\n<<E\nc", "Dockerfile:2: RUN: the heredoc 'E' does not end"),
        ("FROM a\nRUN echo $((1 << 2))", "Dockerfile:2: RUN: the heredoc '2))' does not end"),
        ("FROM a\nCOPY b", "Dockerfile:2: COPY: needs a source and a destination"),
        ("FROM a\nCOPY --from=$B c d", "Dockerfile:2: COPY: --from='$B': variables are not possible here"),
        ("FROM a\nADD --from=b c d", "Dockerfile:2: ADD: unknown flag '--from'"),
        ("FROM a\nCOPY --link=maybe b c", "Dockerfile:2: COPY: --link: 'maybe' is not true or false"),
        ("FROM a\nCOPY --link= b c", "Dockerfile:2: COPY: --link: '' is not true or false"),
        ("FROM a\nCOPY b <<E\nE", "Dockerfile:2: COPY: a heredoc cannot be the destination"),
        ("FROM a\nCOPY << E /x\nE", "Dockerfile:2: COPY: a heredoc with blanks in its name, or before it"),
        ("FROM a\nCOPY <<'a b' /x\na b", "Dockerfile:2: COPY: a heredoc with blanks in its name, or before it"),
        ("FROM a\nSHELL /bin/sh -c", "Dockerfile:2: SHELL: needs a JSON array with a program"),
        ("FROM a\nSHELL []", "Dockerfile:2: SHELL: needs a JSON array with a program"),
        ("FROM a\nEXPOSE", "Dockerfile:2: EXPOSE: needs a port"),
        ("FROM a\nVOLUME", "Dockerfile:2: VOLUME: needs a path"),
        ("FROM a\nVOLUME []", "Dockerfile:2: VOLUME: an empty path"),
        ('FROM a\nVOLUME ["/a", " "]', "Dockerfile:2: VOLUME: an empty path"),
        ("FROM a\nUSER", "Dockerfile:2: USER: needs a user"),
        ("FROM a\nWORKDIR", "Dockerfile:2: WORKDIR: needs a path"),
        ("FROM a\nSTOPSIGNAL", "Dockerfile:2: STOPSIGNAL: needs a signal"),
        ("FROM a\nMAINTAINER", "Dockerfile:2: MAINTAINER: needs a name"),
        ("FROM a\nHEALTHCHECK", "Dockerfile:2: HEALTHCHECK: needs CMD or NONE"),
        ("FROM a\nHEALTHCHECK NONE x", "Dockerfile:2: HEALTHCHECK: NONE has nothing behind it"),
        ("FROM a\nHEALTHCHECK curl x", "Dockerfile:2: HEALTHCHECK: 'curl' is not CMD or NONE"),
        ("FROM a\nHEALTHCHECK CMD", "Dockerfile:2: HEALTHCHECK: needs a command"),
        ("FROM a\nHEALTHCHECK CMD []", "Dockerfile:2: HEALTHCHECK: an empty command"),
        ("FROM a\nHEALTHCHECK --interval=5 CMD x", "Dockerfile:2: HEALTHCHECK: --interval: '5' is not a time"),
        ("FROM a\nHEALTHCHECK --interval=-5s CMD x", "Dockerfile:2: HEALTHCHECK: --interval: '-5s' is not a time"),
        ("FROM a\nHEALTHCHECK --timeout=10us CMD x", "Dockerfile:2: HEALTHCHECK: --timeout: '10us' is not a time"),
        ("FROM a\nHEALTHCHECK --timeout=+ CMD x", "Dockerfile:2: HEALTHCHECK: --timeout: '+' is not a time"),
        (
            "FROM a\nHEALTHCHECK --timeout=9999999h CMD x",
            "Dockerfile:2: HEALTHCHECK: --timeout: '9999999h' is not a time",
        ),
        (
            "FROM a\nHEALTHCHECK --retries=-1 CMD x",
            "Dockerfile:2: HEALTHCHECK: --retries='-1' is not a number of times",
        ),
        ("FROM a\nONBUILD", "Dockerfile:2: ONBUILD: needs an instruction"),
        ("FROM a\nONBUILD FROM b", "Dockerfile:2: ONBUILD FROM: FROM cannot be a trigger"),
        ("FROM a\nONBUILD onbuild RUN b", "Dockerfile:2: ONBUILD ONBUILD: ONBUILD cannot be a trigger"),
        ("FROM a\nONBUILD COPY b", "Dockerfile:2: ONBUILD COPY: needs a source and a destination"),
        ("# escape=x\nFROM a", "Dockerfile:1: # escape: 'x' cannot be the escape character"),
        ("# syntax=x\n# syntax=y\nFROM a", "Dockerfile:2: # syntax: # syntax= is given twice"),
        ("FROM a\nRUN b\0", "Dockerfile:2: text: a NUL byte"),
    ],
)
def test_errors(source, message):
    with pytest.raises(DockerfileError) as caught:
        parse(source)
    assert isinstance(caught.value, InvalidRequest)
    assert caught.value.message.startswith(message)
    assert caught.value.hint and caught.value.message.isprintable()
    assert caught.value.line == int(message.split(":")[1])


def test_other_names_in_messages():
    with pytest.raises(DockerfileError, match=r"^dir/Containerfile:1: NOPE: "):
        parse("NOPE", "dir/Containerfile")


@pytest.mark.parametrize(
    ("source", "warnings"),
    [
        ("FROM a\nRUN b", []),
        ("FROM a\nRUN b \\\n\nc", [(3, "an empty line inside")]),
        ("FROM a\nMAINTAINER b", [(2, "MAINTAINER: is deprecated")]),
        ("FROM a\nENV A b\nLABEL c d", [(2, "ENV: NAME VALUE"), (3, "LABEL: NAME VALUE")]),
        ("FROM a\nCMD ['a', 'b']", [(2, "CMD: looks like a JSON array")]),
        ("FROM a\nRUN [ -f x ]", []),
        ("FROM a AS x\nFROM b AS X", [(2, "FROM: line 1 has a stage x already")]),
        ("FROM a\nFROM b", []),
        ("FROM a AS scratch", [(1, "FROM: scratch means something else")]),
        ("FROM a\nCMD b\nCMD c\nFROM d\nCMD e", [(3, "CMD: takes the place of line 2")]),
        ("FROM a\nHEALTHCHECK NONE\nENTRYPOINT b\nHEALTHCHECK NONE", [(4, "HEALTHCHECK: takes the place of line 2")]),
    ],
)
def test_warnings(source, warnings):
    found = parse(source).warnings
    assert [one.line for one in found] == [line for line, _ in warnings]
    assert all(one.text.startswith(text) for one, (_, text) in zip(found, warnings))


# a whole one


def test_a_whole_dockerfile():
    source = textwrap.dedent("""\
        # syntax=docker/dockerfile:1
        ARG VERSION=3.12 \\
            VARIANT

        # builds
        FROM --platform=$BUILDPLATFORM python:${VERSION} AS build
        ARG VARIANT
        ENV LANG=C.UTF-8 HOME=/root
        WORKDIR /src
        COPY pyproject.toml ./
        RUN --mount=type=cache,target=/root/.cache \\
            # what we need
            pip install \\

              build
        RUN <<EOF
        set -e
        python -m build
        EOF

        FROM python:${VERSION}-slim
        COPY --from=build --chown=app /src/dist /dist
        USER app
        HEALTHCHECK --interval=30s CMD ["check"]
        ENTRYPOINT ["app"]
        CMD ["serve", "--port", "80"]
        """)
    found = parse(source)
    assert found.arguments[0].pairs == (("VERSION", "3.12"), ("VARIANT", None))
    assert [(stage.title, stage.line, len(stage.instructions)) for stage in found.stages] == [
        ("build", 6, 6),
        ("1", 21, 5),
    ]
    build, last = found.stages
    assert [one.keyword for one in build.instructions] == ["ARG", "ENV", "WORKDIR", "COPY", "RUN", "RUN"]
    assert [(one.at.first, one.at.last) for one in build.instructions[4:]] == [(11, 15), (16, 19)]
    assert build.instructions[4].words == ("pip install       build",)
    assert build.instructions[5].words == ("set -e\npython -m build\n",)
    assert last.instructions[4].words == ("serve", "--port", "80")
    assert [one.line for one in found.warnings] == [14]
    assert graph.needed(found) == [0, 1]


# which stages are needed

STAGES = """\
ARG BASE=tools
FROM alpine AS tools
FROM ${BASE} AS compiler
RUN --mount=from=0,target=/t make
FROM alpine AS docs
COPY --from=tools /a /a
FROM debian AS Test
COPY --from=1 /a /a
COPY --from=busybox /b /b
FROM scratch AS final
COPY --from=COMPILER /out /
"""


@pytest.mark.parametrize(
    ("target", "indexes"),
    [
        ("", [0, 1, 4]),
        ("final", [0, 1, 4]),
        ("FINAL", [0, 1, 4]),
        ("4", [0, 1, 4]),
        ("test", [0, 1, 3]),
        ("docs", [0, 2]),
        ("tools", [0]),
        ("0", [0]),
    ],
)
def test_needed(target, indexes):
    assert graph.needed(parse(STAGES), target) == indexes


def test_bases_depend_on_arguments():
    found = parse(STAGES)
    scope = graph.global_scope(found, {"BASE": "rust:1"})
    assert scope == {"BASE": "rust:1"}
    assert graph.base_stage(found, 1, scope) is None
    assert graph.base_stage(found, 1, {"BASE": "Tools"}) == 0
    assert graph.dependencies(found, 1, scope) == [0]


def test_global_scope():
    found = parse("ARG A=1\nARG B=$A-$TARGETARCH C D=${C:-none}\nFROM x")
    assert graph.global_scope(found, {}) == {"A": "1", "B": "1-", "D": "none"}
    given = graph.global_scope(found, {"A": "2", "C": "c", "Z": "z"}, {"TARGETARCH": "arm64"})
    assert given == {"TARGETARCH": "arm64", "A": "2", "B": "2-arm64", "C": "c", "D": "c"}
    with pytest.raises(DockerfileError, match=r"^Dockerfile:1: ARG: .*needed"):
        graph.needed(parse("ARG A=${B:?needed}\nFROM x"))


@pytest.mark.parametrize(
    ("source", "indexes"),
    [
        # FROM never looks down, nor at itself
        ("FROM b AS a\nFROM a AS b", [0, 1]),
        ("FROM node AS node\nFROM node", [0, 1]),
        ("FROM x AS a\nFROM y AS b\nFROM b", [1, 2]),
        # of two with one name, the nearer
        ("FROM x AS a\nFROM y AS a\nFROM a", [1, 2]),
        ("FROM x AS a\nFROM a AS a\nFROM a", [0, 1, 2]),
        ("FROM x AS a\nFROM z\nCOPY --from=a b c\nFROM y AS a\nFROM z2\nCOPY --from=1 b c", [0, 1, 3]),
        # triggers of a stage work in those that begin with it
        ("FROM x AS a\nFROM y AS b\nONBUILD COPY --from=a c d\nFROM b", [0, 1, 2]),
        ("FROM x AS a\nFROM y AS b\nONBUILD COPY --from=a c d\nFROM z\nCOPY --from=b c d", [1, 2]),
        # what is not needed may be wrong
        ("FROM x AS a\nCOPY --from=later b c\nFROM y\nFROM z AS later", [2]),
        ("FROM $NONE\nFROM z", [1]),
        ("FROM x AS a\nRUN --mount=type=cache,target=/c,from=a,id=$B y\nFROM z", [1]),
    ],
)
def test_corners(source, indexes):
    found = parse(source)
    assert graph.needed(found, str(max(indexes))) == indexes


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("FROM x AS a\nCOPY --from=a b c", "Dockerfile:2: COPY: stages need one another: a → a"),
        ("FROM x\nCOPY --from=0 b c", "Dockerfile:2: COPY: stages need one another: 0 → 0"),
        ("FROM x\nCOPY --from=7 b c", "Dockerfile:2: COPY: there is no stage '7'"),
        (
            "FROM x AS a\nRUN --mount=from=b,target=/b y\nFROM x AS b",
            "Dockerfile:2: RUN: stage b begins later, in line 3",
        ),
        ("FROM x\nCOPY --from=1 b c\nFROM x", "Dockerfile:2: COPY: stage 1 begins later, in line 3"),
        (
            "FROM x AS a\nCOPY --from=c d e\nFROM x AS b\nCOPY --from=a d e\nFROM b AS c",
            "Dockerfile:2: COPY: stages need one another: a → c → b → a",
        ),
        ("ARG I\nFROM $I AS a", "Dockerfile:2: FROM: '$I' is empty"),
        ("FROM ${I:?which} AS a", "Dockerfile:1: FROM: '${I:?which}': I: which"),
        ("FROM x AS a\nONBUILD COPY --from=b c d\nFROM a AS b", "Dockerfile:2: COPY: stages need one another: b → b"),
    ],
)
def test_stages_that_wait(source, message):
    found = parse(source)
    with pytest.raises(DockerfileError) as caught:
        for stage in found.stages:
            graph.needed(found, stage.title)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("target", "message"),
    [("tool", "no stage 'tool' (did you mean tools?)"), ("9", "no stage '9'"), ("x\ny", "no stage 'x\\ny'")],
)
def test_unknown_targets(target, message):
    with pytest.raises(InvalidRequest) as caught:
        graph.needed(parse(STAGES), target)
    assert message in caught.value.message and "tools" in caught.value.hint
    with pytest.raises(InvalidRequest, match="no stage"):
        graph.needed(parse("FROM a"), target)


# any text

FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *(
                "FROM a\n",
                "FROM a AS b\n",
                "RUN ",
                "COPY ",
                "ADD ",
                "ENV ",
                "ARG ",
                "LABEL ",
                "ONBUILD ",
                "CMD ",
                "HEALTHCHECK ",
            ),
            *(
                "SHELL ",
                "EXPOSE ",
                "VOLUME ",
                "USER ",
                "WORKDIR ",
                "STOPSIGNAL ",
                "ENTRYPOINT ",
                "MAINTAINER ",
                "NONE",
                "CMD",
            ),
            *(
                "\n",
                "\n",
                "\n",
                "\\\n",
                "\r\n",
                " ",
                "\t",
                "# c\n",
                "# escape=`\n",
                "`\n",
                "<<E",
                "<<-'E'",
                "E\n",
                "\tE\n",
            ),
            *(
                "a",
                "b",
                "A=1",
                "$A",
                '"',
                "'",
                "\\",
                "[",
                "]",
                '["a"]',
                '["a", 1]',
                ",",
                "--from=b",
                "--from=0",
                "--link",
            ),
            *(
                "--mount=",
                "type=cache,",
                "target=/x",
                "from=b",
                "uid=1",
                "--interval=1s",
                "--",
                "/x",
                "\0",
                "\x07",
                "\ufeff",
            ),
        ]
    )
    | st.text(max_size=4),
    max_size=24,
).map("".join)


@settings(max_examples=500, deadline=None)
@given(FRAGMENTS | st.text())
def test_nothing_else_is_raised(text):
    try:
        found = parse(text)
        for warning in found.warnings:
            assert 1 <= warning.line <= text.count("\n") + 1
        for stage in found.stages:
            graph.needed(found, stage.title)
    except DockerfileError as error:
        assert error.hint and error.message.isprintable()
        assert 1 <= error.line <= text.count("\n") + 1
        assert error.message.startswith(f"Dockerfile:{error.line}: {error.instruction}: ")


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_bytes_of_any_kind(data):
    for source in (data, b"FROM a\nRUN " + data):
        try:
            parse(source)
        except InvalidRequest:
            pass


@settings(max_examples=300, deadline=None)
@given(FRAGMENTS)
def test_every_line_is_where_it_says(text):
    try:
        found = lex(text).lines
    except InvalidRequest:
        return
    rows = text.removeprefix("\ufeff").split("\n")
    last = 0
    for line in found:
        assert last < line.first <= line.last
        last = line.last
        original = "\n".join(rows[line.first - 1 : line.last])
        assert line.original in (original, original + "\n")
        for heredoc in line.heredocs:
            assert line.first < heredoc.line <= line.last
            assert rows[heredoc.line - 1 :][: heredoc.content.count("\n")] == heredoc.content.split("\n")[:-1]
    skipped = set(range(1, len(rows) + 1)).difference(*(range(line.first, line.last + 1) for line in found))
    for number in skipped:
        row = rows[number - 1].strip()
        assert not row or row[0] in "#\\`"


BLOCKS = st.lists(
    st.sampled_from(["", "# note\n", "\n", "\t# note\n"]).flatmap(
        lambda before: st.sampled_from(
            [
                ("RUN a\n", 1),
                ("RUN a \\\n b\n", 2),
                ("RUN a \\\n# c\n\n b\n", 4),
                ("RUN <<X\nFROM no\nX\n", 3),
                ("ENV A=b\r\n", 1),
            ]
        ).map(lambda block: (before, *block))
    ),
    max_size=8,
)


@settings(deadline=None)
@given(BLOCKS)
def test_lines_are_counted(blocks):
    source, number, expected = "FROM a\n", 1, []
    for before, text, rows in blocks:
        number += before.count("\n")
        expected.append((number + 1, number + rows))
        number += rows
        source += before + text
    found = parse(source).stages[0].instructions
    assert [(one.at.first, one.at.last) for one in found] == expected


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8), min_size=1))
def test_arrays_come_back(words):
    import json

    assert one(f"CMD {json.dumps(words)}").words == tuple(words)
