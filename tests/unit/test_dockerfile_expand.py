# SPDX-License-Identifier: Apache-2.0
"""Variables in words: every modifier, quotes, escapes, lists of words, heredocs, and texts that make no sense."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxship.errors import InvalidRequest
from boxship.image.build.expand import (
    DEEPEST,
    ExpansionError,
    expand,
    expand_text,
    expand_words,
    shown,
    source_words,
    unquoted,
)

SCOPE = {
    "GREETING": "moin",
    "EMPTY": "",
    "FILE": "src/lib/core.tar.gz",
    "TWO": "one  two",
    "STAR": "*",
    "_x1": "low",
    "ÄRGER": "umlaut",
    "DOLLAR": "$GREETING",
}


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$GREETING", "moin"),
        ("${GREETING}", "moin"),
        ("$GREETING-$GREETING", "moin-moin"),
        ("${GREETING}s", "moins"),
        ("$GREETINGs", ""),
        ("$UNSET|${UNSET}", "|"),
        ("$_x1.", "low."),
        ("$ÄRGER", "umlaut"),
        ("costs 5$", "costs 5$"),
        ("$.$/", "$.$/"),
        ("$7up", "up"),
        ("$$x", "x"),
        ("${@}${#}${1}", ""),
        # a value is not read again
        ("$DOLLAR", "$GREETING"),
        # defaults
        ("${UNSET-new}", "new"),
        ("${EMPTY-new}", ""),
        ("${EMPTY:-new}", "new"),
        ("${GREETING:-new}", "moin"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a b}", "a b"),
        # alternatives
        ("${GREETING+yes}", "yes"),
        ("${EMPTY+yes}", "yes"),
        ("${EMPTY:+yes}", ""),
        ("${UNSET+yes}", ""),
        # demands
        ("${GREETING?must be}", "moin"),
        ("${GREETING:?must be}", "moin"),
        ("${EMPTY?must be}", ""),
        # nesting
        ("${UNSET:-${GREETING}}", "moin"),
        ("${UNSET:-${NONE:-${EMPTY:-deep}}}", "deep"),
        ("${GREETING:+<${FILE##*/}>}", "<core.tar.gz>"),
        ("${UNSET:-{a}}", "{a}"),
        ('${UNSET:-"}"}', "}"),
        (r"${UNSET:-\}}", "}"),
        # beginnings and ends
        ("${FILE#src/}", "lib/core.tar.gz"),
        ("${FILE#*/}", "lib/core.tar.gz"),
        ("${FILE##*/}", "core.tar.gz"),
        ("${FILE%.gz}", "src/lib/core.tar"),
        ("${FILE%.*}", "src/lib/core.tar"),
        ("${FILE%%.*}", "src/lib/core"),
        ("${FILE%/*}", "src/lib"),
        ("${FILE#nothing}", "src/lib/core.tar.gz"),
        ("${FILE#s?c}", "/lib/core.tar.gz"),
        ("${FILE#}", "src/lib/core.tar.gz"),
        ("${FILE##*}", ""),
        ("${FILE%%*}", ""),
        ("${FILE%*}", "src/lib/core.tar.gz"),
        (r"${STAR#\*}", ""),
        (r"${GREETING#\*}", "moin"),
        ("${GREETING#$STAR}", "moin"),
        ("${GREETING##$STAR}", ""),
        ("${UNSET#x}", ""),
        ('${GREETING#"mo"}', "in"),
        # replacements
        ("${FILE/r/R}", "sRc/lib/core.tar.gz"),
        ("${FILE//r/R}", "sRc/lib/coRe.taR.gz"),
        (r"${FILE//\//-}", "src-lib-core.tar.gz"),
        ("${FILE/lib?/}", "src/core.tar.gz"),
        ("${FILE/c*r/#}", "sr#.gz"),
        ("${FILE/zzz/y}", "src/lib/core.tar.gz"),
        ("${FILE//./$GREETING}", "src/lib/coremointarmoingz"),
        ("${GREETING//?/x}", "xxxx"),
        ("${GREETING//*/x}", "x"),
        ("${GREETING/o/${UNSET:-0}}", "m0in"),
        ("${UNSET/a/b}", ""),
        ("${GREETING///}", "moin"),
        # quotes
        ("'$GREETING'", "$GREETING"),
        ('"$GREETING"', "moin"),
        ('"it\'s $GREETING"', "it's moin"),
        ("'say \"hi\"'", 'say "hi"'),
        ("a'b c'd", "ab cd"),
        ("''", ""),
        (r"'\n\'", r"\n" + "\\"),
        # the escape character
        (r"\$GREETING", "$GREETING"),
        (r"\${GREETING}", "${GREETING}"),
        (r"\\$GREETING", r"\moin"),
        (r"\"x\'", "\"x'"),
        (r"a\b", "ab"),
        ('"a\\b"', "a\\b"),
        (r'"\"\$\\"', '"$\\'),
        ("end\\", "end"),
        (r"two\ words", "two words"),
        ("  spaces  stay ", "  spaces  stay "),
        ("a<<b< <<  c", "a<<b< <<  c"),
    ],
)
def test_one_word(word, result):
    assert expand(word, SCOPE) == result


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("c:\\temp\\$GREETING", "c:\\temp\\moin"),
        ("`$GREETING", "$GREETING"),
        ('"`$`"``"', '$"`'),
        ("``", "`"),
        (r"\$GREETING", r"\moin"),
    ],
)
def test_another_escape_character(word, result):
    assert expand(word, SCOPE, escape="`") == result


@pytest.mark.parametrize(
    ("word", "part", "problem"),
    [
        ("a${", "${", "missing"),
        ("a${GREETING", "${GREETING", "missing"),
        ("a${GREETING:-b", "${GREETING:-b", "missing"),
        ("${GREETING:", "${GREETING:", "missing"),
        ("${}", "${}", "without a name"),
        ("${:-x}", "${:", "without a name"),
        ("${{GREETING}}", "${{", "without a name"),
        ("${.}", "${.", "without a name"),
        ("${GREETING:=x}", "${GREETING:=", "modifier ':=' is not known"),
        ("${GREETING=x}", "${GREETING=", "modifier '=' is not known"),
        ("${GREETING:0:2}", "${GREETING:0", "modifier ':0' is not known"),
        ("${GREETING:#m}", "${GREETING:#", "modifier ':#' is not known"),
        ("${GREETING,,}", "${GREETING,", "modifier ',' is not known"),
        ("${GREETING[0]}", "${GREETING[", "modifier '[' is not known"),
        ("${GREETING/o}", "${GREETING/o}", "second '/'"),
        ("${GREETING/o/0", "${GREETING/o/0", "missing"),
        (r"${GREETING#\m}", r"${GREETING#\m}", "stray escape"),
        ("x'y", "'y", "single quote"),
        ('x"y', '"y', "double quote"),
        ('x"y\\', '"y\\', "double quote"),
        ("${UNSET:-'}", "'}", "single quote"),
        ("${UNSET?}", "${UNSET?}", "UNSET: must be set"),
        ("${EMPTY:?}", "${EMPTY:?}", "EMPTY: must be set and not empty"),
        ("${UNSET?say $GREETING}", "${UNSET?say $GREETING}", "UNSET: say moin"),
        ("${UNSET:-${NONE:?inner}}", "${NONE:?inner}", "NONE: inner"),
    ],
)
def test_errors_name_the_text(word, part, problem):
    with pytest.raises(ExpansionError) as caught:
        expand(word, SCOPE)
    assert caught.value.text == part
    assert caught.value.message.startswith(shown(part))
    assert problem in caught.value.message
    assert caught.value.hint


def test_depth_has_an_end():
    def nested(depth: int) -> str:
        return "${A:-" * depth + "x" + "}" * depth

    assert expand(nested(DEEPEST), {}) == "x"
    with pytest.raises(ExpansionError, match="inside one another"):
        expand(nested(5000), {})


def test_missing_names_are_collected():
    missing: set[str] = set()
    assert expand("$GREETING $A ${B:-x} ${C+y} '$D' ${EMPTY}", SCOPE, missing=missing) == "moin  x  $D "
    assert missing == {"A", "B", "C"}


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("", []),
        ("  a   b ", ["a", "b"]),
        ("$TWO", ["one", "two"]),
        ('"$TWO"', ["one  two"]),
        ("'a b' c", ["a b", "c"]),
        (r"a\ b c", ["a b", "c"]),
        ("80${UNSET:-80} 443", ["8080", "443"]),
        ("x$TWO-y", ["xone", "two-y"]),
        ("$EMPTY '' b", ["b"]),
        ("a\tb\u2003c", ["a", "b", "c"]),
    ],
)
def test_lists_of_words(word, result):
    assert expand_words(word, SCOPE) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("say \"$GREETING\" and '$GREETING'\n", "say \"moin\" and 'moin'\n"),
        ("don't\n", "don't\n"),
        (r"\$GREETING \\ a\nb", "$GREETING \\ anb"),
        ('${UNSET:-"q"}', '"q"'),
        ("\t\tkept\n", "\t\tkept\n"),
    ],
)
def test_texts_keep_their_quotes(text, result):
    assert expand_text(text, SCOPE) == result


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RUN cat <<EOF >x", ["RUN", "cat", "<<EOF", ">x"]),
        ("RUN cat << EOF", ["RUN", "cat", "<< EOF"]),
        ("RUN '<<EOF' \"a b\"", ["RUN", "'<<EOF'", '"a b"']),
        (r"RUN $A ${B:-x y} \$", ["RUN", "$A", "${B:-x", "y}", r"\$"]),
    ],
)
def test_words_as_they_are_written(line, words):
    assert source_words(line) == words


@pytest.mark.parametrize(
    ("word", "result", "quoted"),
    [
        ("EOF", ["EOF"], False),
        ("'E F'", ["E F"], True),
        ('E"O"F', ["EOF"], True),
        (r"E\'F", ["E'F"], False),
        ("$E", ["$E"], False),
    ],
)
def test_unquoted(word, result, quoted):
    assert unquoted(word) == (result, quoted)


def test_messages_stay_on_one_line():
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown("x" * 500)) == 82
    with pytest.raises(ExpansionError) as caught:
        expand("${A?two\nlines}", {})
    assert "\n" not in caught.value.message


FRAGMENTS = st.lists(
    st.sampled_from([*"${}:-+?#%/*'\"\\` <ab1é\n", "${A", "${A:-", "$A", "${A#", "${A//", "<<", "\0", "\ud800"])
    | st.text(max_size=3)
).map("".join)


@settings(deadline=None)
@given(FRAGMENTS, st.dictionaries(st.sampled_from("AB"), st.text(max_size=6)), st.sampled_from("\\`"))
def test_nothing_else_is_raised(text, scope, escape):
    for call in (expand, expand_words):
        try:
            call(text, scope, escape=escape)
        except InvalidRequest as error:
            assert error.hint and error.message.isprintable()
    for other in (expand_text, lambda text, _: source_words(text), lambda text, _: unquoted(text)):
        try:
            other(text, scope)
        except ExpansionError:
            pass


@settings(deadline=None)
@given(st.text())
def test_single_quotes_are_literal(text):
    text = text.replace("'", "")
    assert expand(f"'{text}'", SCOPE) == text


@settings(deadline=None)
@given(st.text())
def test_escaped_text_comes_back(text):
    assert expand("".join("\\" + char for char in text), SCOPE) == text


@settings(deadline=None)
@given(st.text(alphabet="ab/", max_size=12), st.text(alphabet="ab*?", max_size=5))
def test_what_is_cut_off_matches(value, pattern):
    import fnmatch
    import re

    scope = {"V": value, "P": pattern}
    regex = re.compile(fnmatch.translate(pattern))
    starts = [at for at in range(len(value) + 1) if regex.match(value[:at])]
    ends = [at for at in range(len(value) + 1) if regex.match(value[at:])]
    assert expand("${V#$P}", scope) == (value[starts[0] :] if starts and pattern[:1] != "#" else value)
    assert expand("${V%%$P}", scope) == (value[: ends[0]] if ends else value)
    assert expand("${V%$P}", scope) == (value[: ends[-1]] if ends else value)
    assert expand("${V##$P}", scope) == (value[starts[-1] :] if starts else value)
