"""Asterisk's rules for arguments, variables and expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.migrate.calls import application, arguments, pieces, split, unquoted
from agi_xmpp.migrate.model import Unclear

SYNTAX = st.text(alphabet='ab,|()[]{}$"\\:?;\n ', max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("plain $ $x {y}", [("text", "plain $ $x {y}")]),
        ("${A}", [("variable", "A")]),
        (
            "a${B${C}{}}d$[1 + ${E}]",
            [("text", "a"), ("variable", "B${C}{}"), ("text", "d"), ("expression", "1 + ${E}")],
        ),
        ("$[ [x] ]", [("expression", " [x] ")]),
        ("${A]}", [("variable", "A]")]),
    ],
)
def test_pieces(text, expected):
    assert [(piece.kind, piece.text) for piece in pieces(text)] == expected


@given(SYNTAX)
def test_pieces_are_the_whole_text(text):
    try:
        assert "".join(map(str, pieces(text))) == text
    except Unclear:
        assert "${" in text or "$[" in text


@pytest.mark.parametrize("text", ["${A", "x$[1 + ${A}", "${A${B}"])
def test_what_is_never_closed(text):
    with pytest.raises(Unclear, match="not closed"):
        list(pieces(text))


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("a,b,c", 3, ["a", "b", "c"]),
        ("a,b,c", 2, ["a", "b,c"]),
        ("a,", 3, ["a", ""]),
        ("f(x,y),[1,2],z", 9, ["f(x,y)", "[1,2]", "z"]),
        ('"a,b",c', 9, ['"a,b"', "c"]),
        (r"a\,b,c\"d,e", 9, [r"a\,b", r"c\"d", "e"]),
        ("${A,B},$[1,2],c", 9, ["${A,B}", "$[1,2]", "c"]),
        (":(,b", 9, [":(,b"]),
        ("a),b", 9, ["a)", "b"]),
        ("(${X,)},y),z", 9, ["(${X,)},y)", "z"]),
    ],
)
def test_split_as_asterisk_splits(text, limit, expected):
    assert split(text, ",", limit)[0] == expected


@given(SYNTAX, st.integers(1, 5))
def test_split_loses_nothing(text, limit):
    try:
        parts, found = split(text, ",|", limit)
    except Unclear:
        return
    assert len(parts) == len(found) + 1 <= limit
    assert "".join(part + delimiter for part, delimiter in zip(parts, [*found, ""], strict=True)) == text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", []),
        ("pbx,bob,a|b, c", ["pbx", "bob", "a|b, c"]),
        ("pbx|bob|a, b|c", ["pbx", "bob", "a, b|c"]),
        ("one", ["one"]),
        ("${A|B},c", ["${A|B}", "c"]),
    ],
)
def test_the_first_delimiter_is_that_of_all(data, expected):
    assert arguments(data, 3) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ('say "hi"', "say hi"),
        (r"\"x\" \\ \,", r'"x" \ ,'),
        ('"a ${B("c")} d"', 'a ${B("c")} d'),
        ("end\\", "end"),
    ],
)
def test_unquoted(argument, expected):
    assert unquoted(argument) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NoOp", ("NoOp", "", "")),
        ("Dial(a,b)", ("Dial", "a,b", "")),
        ("Dial(a(b),c)", ("Dial", "a(b),c", "")),
        ("Dial(a) x", ("Dial", "a", " x")),
        ("Dial,a|b(c)", ("Dial", "a|b(c)", "")),
    ],
)
def test_application(text, expected):
    call = application(text)
    assert (call.name, call.data, call.rest) == expected


def test_application_that_is_not_closed():
    with pytest.raises(Unclear, match="not closed"):
        application("Dial(a")
