# SPDX-License-Identifier: Apache-2.0
"""Which files of a context stay at home: patterns, exceptions, and which directories a walk may leave out."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxship.errors import InvalidRequest
from boxship.image.build.ignore import Ignore, IgnoreError, ignore_of, parse_ignore


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        # plain names are anchored
        ("notes.txt", "notes.txt", True),
        ("notes.txt", "doc/notes.txt", False),
        ("notes.txt", "notesxtxt", False),
        ("doc", "doc/deep/file", True),
        ("doc", "docs/file", False),
        ("doc/deep", "doc/deep/file", True),
        ("doc/deep", "doc/other", False),
        # slashes that say nothing
        ("/doc", "doc/x", True),
        ("doc/", "doc", True),
        ("/doc/", "doc/x", True),
        ("./doc", "doc", True),
        ("doc//deep", "doc/deep", True),
        ("doc/../src", "src/a.c", True),
        ("../other", "other", False),
        # one level
        ("*", "anything", True),
        ("*", "any/thing", True),
        ("*.log", "a.log", True),
        ("*.log", "sub/a.log", False),
        ("*/*.log", "sub/a.log", True),
        ("*/*.log", "sub/sub/a.log", False),
        ("*.log", "a.log/below", True),
        ("?.c", "a.c", True),
        ("?.c", "ab.c", False),
        ("a?c", "a/c", False),
        ("a*c", "a/c", False),
        ("*", ".hidden", True),
        # brackets
        ("v[0-9]", "v7", True),
        ("v[0-9]", "vx", False),
        ("v[^0-9]", "vx", True),
        ("v[^0-9]", "v7", False),
        ("v[!0]", "v!", True),
        ("v[abc].txt", "vb.txt", True),
        (r"v[\]]", "v]", True),
        (r"v[\-x]", "v-", True),
        ("v[a-cx-z]", "vy", True),
        ("[ä-ü]x", "öx", True),
        # escapes
        (r"\*", "*", True),
        (r"\*", "a", False),
        (r"a\?b", "a?b", True),
        (r"\!bang", "!bang", True),
        (r"\#hash", "#hash", True),
        ("a+(b)|c$", "a+(b)|c$", True),
        ("a{1,2}", "a{1,2}", True),
        ("a^b", "a^b", True),
        # any number of directories
        ("**", "a/b/c", True),
        ("**/*.o", "x.o", True),
        ("**/*.o", "a/b/x.o", True),
        ("**/*.o", "a/b/x.c", False),
        ("**/build", "build/x", True),
        ("**/build", "a/build/x", True),
        ("**/build", "a/rebuild", False),
        ("src/**", "src/a/b", True),
        ("src/**", "src", False),
        ("src/**/test", "src/test", True),
        ("src/**/test", "src/a/b/test/x", True),
        ("src/**/test", "src/a/btest", False),
        ("**/**/x", "x", True),
        ("**/a/**", "q/a/b", True),
        ("a**", "abc/d", True),
        ("**tail", "dir/longtail", True),
        ("**.py", "pkg/mod.py", True),
        ("**\n", "a", True),
        ("new\tline*", "new\tline\nname", True),
    ],
)
def test_one_pattern(pattern, path, ignored):
    assert parse_ignore(pattern).matches(path) is ignored


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        # the last one that matches decides
        ("*.md\n!README.md", "README.md", False),
        ("*.md\n!README.md", "NEWS.md", True),
        ("!README.md\n*.md", "README.md", True),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("*.md\n!README*.md\nREADME-secret.md", "README-open.md", False),
        # exceptions below an ignored directory
        ("doc\n!doc/index.html", "doc/index.html", False),
        ("doc\n!doc/index.html", "doc/other.html", True),
        ("doc\n!doc/api", "doc/api/a/b", False),
        ("doc\n!doc/api\ndoc/api/private", "doc/api/private/x", True),
        ("*\n!src", "src/main.c", False),
        ("*\n!src\n!Makefile", "Makefile", False),
        ("**\n!**/*.go", "a/b/x.go", False),
        ("**\n!**/*.go", "a/b/x.c", True),
        ("*\n!/src/", "src/x", False),
        # an exception that undoes nothing is not remembered: files below are ignored one by one
        ("**/*.key\n!config", "config/tls.key", True),
        ("**/*.key\n!config/**", "config/tls.key", False),
        # what is not a pattern
        ("# *\nb", "a", False),
        (" # not a comment", "# not a comment", True),
        ("a # b", "a", False),
        ("\n\n  \nb\n", "b", True),
        ("  padded  ", "padded", True),
        ("! padded", "padded", False),
        ("padded\n!  padded ", "padded", False),
        ("\ufeffa", "a", True),
        ("a\r\nb\r\n", "a", True),
        (".", "a", False),
        ("/", "a", False),
        ("*\n!.", "a", True),
        ("", "a", False),
    ],
)
def test_files(text, path, ignored):
    assert parse_ignore(text).matches(path) is ignored
    assert parse_ignore(text.encode()).matches(path) is ignored


@pytest.mark.parametrize("path", ["./doc/a", "doc//a", "doc/a/", "/doc/a", "doc/b/../a"])
def test_paths_are_cleaned(path):
    assert parse_ignore("doc/a").matches(path)


def test_the_context_itself_stays():
    for pattern in ("*", "**", ".", "/"):
        assert not parse_ignore(pattern).matches(".")
        assert not parse_ignore(pattern).may_skip(".")
        assert not parse_ignore(pattern).matches("")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("ok\n!\n", 2, "an exception of nothing"),
        ("a[", 1, "a bracket is not closed"),
        ("\n\nx[a-", 3, "a bracket is not closed"),
        ("x[]", 1, "a stray ]"),
        ("x[]a]", 1, "a stray ]"),
        ("x[^", 1, "a bracket is not closed"),
        ("x[-a]", 1, "a stray -"),
        ("x[a-]", 1, "a stray ]"),
        ("x[z-a]", 1, "the range 'z-a' is empty"),
        ("x\\", 1, "a backslash at the end"),
        ("x[\\", 1, "a backslash at the end"),
        ("a\0b", 1, "NUL"),
    ],
)
def test_errors_name_the_line(text, line, problem):
    with pytest.raises(IgnoreError) as caught:
        parse_ignore(text)
    assert caught.value.message.startswith(f".dockerignore:{line}: ")
    assert problem in caught.value.message and caught.value.hint


def test_other_names_in_messages():
    with pytest.raises(IgnoreError, match=r"^\.containerignore:1: "):
        parse_ignore("[", ".containerignore")
    with pytest.raises(IgnoreError, match=r"^--exclude: "):
        ignore_of(["*.txt", "["])


def test_patterns_that_stand_alone():
    found = ignore_of(["*.txt", "", "!keep.txt"])
    assert [found.matches(path) for path in ("a.txt", "keep.txt", "a.md")] == [True, False, False]
    assert found and not Ignore() and not Ignore().matches("a")


@pytest.mark.parametrize(
    ("text", "directory", "skip"),
    [
        ("node_modules", "node_modules", True),
        ("node_modules", "node_modules/deep", True),
        ("node_modules", "src", False),
        ("**/node_modules", "a/b/node_modules", True),
        ("*\n!src", "doc", True),
        ("*\n!src", "src", False),
        ("*\n!src/lib/*.py", "src", False),
        ("*\n!src/lib/*.py", "src/lib", False),
        ("*\n!src/lib/*.py", "src/lib/deep", True),
        ("*\n!src/lib/*.py", "src/other", True),
        ("*\n!*/README", "a", False),
        ("*\n!*/README", "a/b", True),
        ("*\n!src/**", "src/a", False),
        ("*\n!src/**", "lib", True),
        ("*\n!**/keep", "any/where", False),
        ("!a/keep\na", "a", True),
        ("a\n!a/keep\na/keep", "a", False),
        ("*\n!s[r]c/x", "src", False),
        ("*\n!s[r]c/x", "lib", True),
        ("*.d", "etc", False),
    ],
)
def test_what_a_walk_leaves_out(text, directory, skip):
    assert parse_ignore(text).may_skip(directory) is skip


def test_long_paths_and_many_stars():
    path = "/".join(["a"] * 3000)
    assert parse_ignore("a/a").matches(path)
    assert not parse_ignore("**/" * 40 + "b").matches(path[:400])


NAMES = st.text(alphabet="ab.c", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PIECES = st.sampled_from(["a", "b", "c", ".", "*", "**", "?", "/", "[ab]", "[^a]", "/**", "**/"])
PATTERNS = st.lists(PIECES, min_size=1, max_size=5).map("".join)
LINES = st.lists(st.tuples(st.sampled_from(["", "", "!"]), PATTERNS).map("".join), max_size=4)


@settings(deadline=None)
@given(LINES, st.lists(PATHS, max_size=4))
def test_what_is_left_out_has_nothing_to_keep(lines, paths):
    found = ignore_of(lines)
    for path in paths:
        steps = path.split("/")
        for at in range(1, len(steps)):
            if found.may_skip("/".join(steps[:at])):
                assert found.matches(path)


@settings(deadline=None)
@given(LINES, st.lists(PATHS, max_size=4))
def test_the_order_of_questions_does_not_matter(lines, paths):
    found = ignore_of(lines)
    assert [found.matches(path) for path in paths] == [ignore_of(lines).matches(path) for path in paths]
    assert [found.matches(path) for path in reversed(paths)] == [ignore_of(lines).matches(p) for p in reversed(paths)]


@settings(deadline=None)
@given(PATTERNS, PATHS)
def test_without_exceptions_parents_decide(pattern, path):
    found = ignore_of([pattern])
    if os.path.dirname(path) and found.matches(os.path.dirname(path)):
        assert found.matches(path)


@settings(deadline=None)
@given(st.text() | st.lists(st.sampled_from([*"[]^-!*?\\/#ab\n .", "**"])).map("".join), st.text())
def test_nothing_else_is_raised(text, path):
    try:
        found = parse_ignore(text)
        found.matches(path)
        found.may_skip(path)
    except InvalidRequest as error:
        assert error.message.isprintable() and error.hint


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_bytes_of_any_kind(data):
    try:
        parse_ignore(data).matches("a/b")
    except InvalidRequest:
        pass
