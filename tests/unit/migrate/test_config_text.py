"""Lines of a configuration file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.migrate.config_text import decoded, encoded, lines


@pytest.mark.parametrize(
    ("raw", "code", "is_broken"),
    [
        ("a = b", "a = b", False),
        ("a = b ; c \\; d", "a = b", False),
        ("a = b\\; c;d", "a = b\\; c", False),
        ("; all", "", False),
        ("a ;-- b --; c", "a  c", True),
        ("a ;-- b", "a", True),
        ("a ;--- b", "a", False),
        ("a --; b", "a --", False),
        ("a ;-- b ;-- c --; d --; e ; f", "a  e", True),
    ],
)
def test_code(raw, code, is_broken):
    (line,) = lines(raw)
    assert (line.code, line.is_broken) == (code, is_broken)


def test_a_comment_over_several_lines():
    found = list(lines("a ;--\nb\nc --; d\ne"))
    assert [line.code for line in found] == ["a", "", " d", "e"]
    assert [line.is_broken for line in found] == [True, True, True, False]


@given(st.text(alphabet="a;-\\\n\r\f\u2028 ", max_size=60))
def test_no_byte_is_lost(text):
    found = list(lines(text))
    assert "".join(line.raw for line in found) == text
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    for line in found:
        assert line.end in ("", "\n", "\r\n") or line.end.strip("\r\n") == ""
        if not line.is_broken:
            assert line.code + line.tail == line.raw


@given(st.text(alphabet="a;\\- ", max_size=30))
def test_a_text_is_read_as_it_was_written(text):
    code = encoded("x" + text + "x")
    (line,) = lines(code)
    assert decoded(line.code) == "x" + text + "x"
