"""Names and texts on their way into a SIP message, and out of one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sipmessage import Address

from agi_xmpp.sip.text import MAX_BODY, MAX_NAME, display_name, heard_name, numbered, plain_text, split_text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Romeo", "Romeo"),
        ("Juliet ✓", "Juliet ✓"),
        ('Ro"meo\\', "Ro meo"),
        ("<sip:x@y>;tag=1", "sip:x@y ;tag=1"),
        ("a\r\nVia: evil", "a Via: evil"),
        ("\u202egnp", "gnp"),
        ("\ud800x", "x"),
        ('"\\<>', ""),
        ("", ""),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_a_name_cannot_leave_its_quotes(name, shown):
    assert display_name(name) == shown


@pytest.mark.parametrize(
    ("length", "kept"), [(MAX_NAME - 1, MAX_NAME - 1), (MAX_NAME, MAX_NAME), (MAX_NAME + 1, MAX_NAME)]
)
def test_a_name_has_its_longest(length, kept):
    assert len(display_name("n" * length)) == kept


@given(st.text())
def test_any_name_comes_out_as_it_went_in(name):
    shown = display_name(name)
    assert not any(unicodedata.category(char) == "Cc" for char in shown)
    header = str(Address.parse(f'"{shown}" <sip:gw@127.0.0.1>;tag=x'))
    assert "\r" not in header
    assert Address.parse(header).name == shown
    assert Address.parse(header).parameters == {"tag": "x"}
    assert display_name(shown) == shown


@pytest.mark.parametrize(
    ("name", "heard"), [("Alice A", "Alice A"), (' J "x" <y>\n', 'J "x" <y>'), ("x" * 500, "x" * 2 * MAX_NAME)]
)
def test_a_name_that_is_heard_stays_itself(name, heard):
    assert heard_name(name) == heard


@given(st.text(), st.integers(16, 64))
def test_the_parts_are_the_text(text, limit):
    parts = split_text(text, limit)
    assert "".join(parts) == text
    assert all(0 < len(part.encode("utf-8", "replace")) <= limit for part in parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("0123456789abcdef", ["0123456789abcdef"]),
        ("0123456789abcdefg", ["0123456789abcdef", "g"]),
        ("01234567 9abcdefg", ["01234567 ", "9abcdefg"]),
        ("0123456\n89 bcdefgh", ["0123456\n89 ", "bcdefgh"]),
        ("01234567\n9 bcdefgh", ["01234567\n", "9 bcdefgh"]),
        ("0 23456789abcdefg", ["0 23456789abcdef", "g"]),
        ("ü" * 9, ["ü" * 8, "ü"]),
        ("0123456789abcde\u0301f", ["0123456789abcd", "e\u0301f"]),
        ("0123456👩\u200d🚀", ["0123456", "👩\u200d🚀"]),
        ("👍🏽👍🏽👍🏽", ["👍🏽👍🏽", "👍🏽"]),
    ],
)
def test_where_it_is_cut(text, parts):
    assert split_text(text, 16) == parts


@pytest.mark.parametrize(("length", "count"), [(MAX_BODY - 1, 1), (MAX_BODY, 1), (MAX_BODY + 1, 2)])
def test_parts_have_their_numbers(length, count):
    bodies = numbered("x" * length)
    assert len(bodies) == count
    assert all(len(body) <= MAX_BODY for body in bodies)
    if count == 2:
        assert [body[:6] for body in bodies] == ["(1/2) ", "(2/2) "]


def test_a_huge_text_is_cut_in_time():
    assert sum(len(part) for part in split_text("👍" * 200_000)) == 200_000


CPIM = b"From: <im:a@b>\r\nTo: <im:c@d>\r\n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nh\xc3\xa9 you\r\n\r\nall"


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"hi", "text/plain", "hi"),
        (b"hi\r\nyou\r\n", "text/plain;charset=UTF-8", "hi\nyou"),
        ("hé".encode(), "", "hé"),
        ("hé".encode("latin-1"), "text/plain; charset=ISO-8859-1", "hé"),
        ("hé".encode("latin-1"), "text/plain", "h\ufffd"),
        ("hé".encode(), "text/plain; charset=klingon", "hé"),
        (b"x\x9c", "text/plain; charset=zlib", "x\ufffd"),
        (b"# hi", "text/markdown", "# hi"),
        (
            b"<html><head><title>t</title><style>x{}</style></head><b>hi</b> &lt;you&gt;<br>all<p>\n of  us",
            "text/html",
            "hi <you>\nall\nof us",
        ),
        (b"<<<<", "TEXT/HTML", "<<<<"),
        (CPIM, "message/cpim", "hé you\n\nall"),
        (b"junk", "message/cpim", ""),
        (b"From: a\n\nContent-Type: image/gif\n\nGIF", "message/cpim", "[image/gif]"),
        (b"\x89PNG", "image/png", "[image/png]"),
        (b"{}", "application/x-asterisk-confbridge-event+json", ""),
        (b"x", "text/plain; charset*=klingon'%%'x", "x"),
        (b"x", "nonsense", "x"),
    ],
)
def test_what_people_read_of_a_body(body, content_type, text):
    assert plain_text(body, content_type) == text


@given(st.binary(max_size=300), st.text(max_size=40))
def test_any_body_of_any_type_is_read(body, content_type):
    plain_text(body, content_type)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        "<a b='",
        '<a x="',
        "<a =",
        "<!",
        "<!--",
        "<!--x-",
        "</",
        "<",
        "<?",
        "<a",
        "a",
        "<script>",
        "&#",
        "<![CDATA[",
        "<a x",
    ],
)
def test_html_of_the_worst_kind_holds_nothing_up(piece):
    """The parser of the standard library needs up to 45 seconds for one of these."""
    assert len(plain_text((piece * 60_000)[:60_000].encode(), "text/html")) <= 60_000


def test_a_character_whose_number_has_no_end_is_left_as_it_is():
    body = f"<b>&#{'1' * 5000};</b>"
    assert plain_text(body.encode(), "text/html") == body[3:-4]


@given(st.binary(max_size=300), st.sampled_from(["text/html", "message/cpim", "text/plain;charset=utf-16"]))
def test_any_body_of_a_known_type_is_read(body, content_type):
    plain_text(body, content_type)
