from __future__ import annotations

import xml.sax
from xml.sax.saxutils import escape

import pytest
from aioxmpp.xso import Nmtoken
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.errors import BadText
from agi_xmpp.xmpp.text import BYTES_PER_CHARACTER, clean_body, clean_status, thread_id


class _Reader(xml.sax.ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def characters(self, content: str) -> None:
        self.text += content


def through_xml(body: str) -> str:
    reader = _Reader()
    xml.sax.parseString(f"<body>{escape(body)}</body>".encode(), reader)
    return reader.text


GOOD = [
    "a",
    " a ",
    "line\nline",
    "tab\there",
    "\"quotes\" & <tags> 'too' ${EXTEN}",
    "äöü€",
    "\U0001f3f3\ufe0f\u200d\U0001f308",  # an emoji of four code points
    "\u0085\u2028",
    "\U0001ffff",
    "\ufffd",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_good_text_is_left_alone(text: str) -> None:
    assert clean_body(text, 100) == text
    assert through_xml(text) == text


@pytest.mark.parametrize(("text", "arrives"), [("a\r\nb", "a\nb"), ("a\rb", "a\nb"), ("a\r\r\nb", "a\n\nb")])
def test_line_ends_become_what_xml_would_make_of_them(text: str, arrives: str) -> None:
    assert clean_body(text, 100) == arrives
    reader = _Reader()
    xml.sax.parseString(f"<body>{text}</body>".encode(), reader)
    assert reader.text == arrives


@pytest.mark.parametrize("point", [0x00, 0x01, 0x08, 0x0B, 0x0C, 0x0E, 0x1B, 0x1F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF])
def test_a_character_that_xml_cannot_carry_is_named_with_its_place(point: int) -> None:
    with pytest.raises(BadText, match=rf"character 3 of the text is U\+{point:04X}"):
        clean_body("ab" + chr(point) + "c", 100)


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(BadText, match="empty"):
        clean_body("", 100)


def test_the_limit_counts_characters() -> None:
    assert len(clean_body("x" * 99, 100)) == 99
    assert len(clean_body("x" * 100, 100)) == 100
    with pytest.raises(BadText, match="101 characters; max_body allows 100"):
        clean_body("x" * 101, 100)


def test_a_text_of_emoji_fits_as_long_as_the_limit() -> None:
    assert len(clean_body("📱" * 60_000, 60_000)) == 60_000


def test_the_limit_in_bytes_counts_what_goes_over_the_wire() -> None:
    # "&" becomes "&amp;": five bytes
    limit = 100
    most = limit * BYTES_PER_CHARACTER // 5
    assert clean_body("&" * (most - 1), limit)
    assert clean_body("&" * most, limit)
    with pytest.raises(BadText, match=f"takes {most * 5 + 5} bytes in XML; max_body = 100 allows 400"):
        clean_body("&" * (most + 1), limit)


@given(st.text(st.characters(codec=None, categories=None), max_size=50))
def test_any_text_arrives_whole_or_is_refused(text: str) -> None:
    try:
        body = clean_body(text, 50)
    except BadText:
        return
    assert through_xml(body) == body == text.replace("\r\n", "\n").replace("\r", "\n")


def test_a_status_loses_only_what_xml_cannot_carry() -> None:
    assert clean_status("On\x00line \ufffe📱\n") == "Online 📱\n"


@pytest.mark.parametrize("name", ["", "call-1700000000.12", "pbx:1", "a" * 256])
def test_a_thread_that_the_library_takes_is_used_as_it_is(name: str) -> None:
    assert thread_id(name) == name


@given(st.text(st.characters(codec=None, categories=None), min_size=1))
def test_any_other_thread_becomes_one_that_it_takes(name: str) -> None:
    assert Nmtoken().validate(thread_id(name))
    assert thread_id(name) == thread_id(name)


def test_two_odd_threads_stay_two() -> None:
    assert thread_id("a b") != thread_id("a  b")
    assert len(thread_id("x" * 257)) == 32
