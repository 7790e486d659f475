from __future__ import annotations

import aioxmpp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp.jid import MAX_LENGTH, inward, outward, parse
from agi_xmpp.xmpp.model import Jid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bob@example.org", Jid("bob", "example.org")),
        ("Bob@Example.ORG", Jid("bob", "example.org")),
        ("bob@example.org/Home", Jid("bob", "example.org", "Home")),  # resources keep their case
        ("bob@example.org/a/b@c", Jid("bob", "example.org", "a/b@c")),
        ("bob@example.org.", Jid("bob", "example.org")),
        ("ｂｏｂ@example.org", Jid("bob", "example.org")),  # NFKC
        ("STRASSE@example.org", Jid("strasse", "example.org")),
        ("bob@xn--mnchen-3ya.de", Jid("bob", "münchen.de")),
        ("bob@MÜNCHEN.de", Jid("bob", "münchen.de")),
        ("example.org", Jid("", "example.org")),
        ("bob@127.0.0.1", Jid("bob", "127.0.0.1")),
        ("bob@[::1]", Jid("bob", "[::1]")),
        ("bob@example.org/📱", Jid("bob", "example.org", "📱")),
    ],
)
def test_an_address_is_prepared(text: str, expected: Jid) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("@example.org", "nothing before the @"),
        ("bob@", "no domain behind the @"),
        ("bob@.", "no domain behind the @"),
        ("bob@..", "'.' is not a domain"),
        ("bob@a..b", "'a..b' is not a domain"),
        ("bob@\u00af", "is not a domain"),  # prepared, it begins with a blank
        ("bob@\uff58n--a", "is not a domain"),  # prepared, it is punycode
        ("bob@example.org/", "no resource behind the /"),
        ("/home", "no domain"),
        ("bob smith@example.org", "U+0020"),
        ('b"ob@example.org', "the character '\"' (U+0022) is not allowed"),
        ("a@b@example.org", "U+0040"),
        ("bob@example org", "'example org' is not a domain"),
        ("bob@example.org\n", "is not a domain"),
        ("bob@example.org\r\nSET VARIABLE x y", "is not a domain"),
        ("bob@exam<ple.org", "is not a domain"),
        ("bob@example.org/\x00", "U+0000"),
        ("bob@xn--a.de", "not a valid internationalised name"),
        ("\ud800@example.org", "U+D800"),
        ("b" * 1024 + "@example.org", "the part before the @ too long"),
        ("bob@example.org/" + "r" * 1024, "resource too long"),
        ("bob@" + "d" * 1024, "domain too long"),
        ("b" * (MAX_LENGTH + 1), "too long"),
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(text: str, reason: str) -> None:
    with pytest.raises(BadJid) as caught:
        parse(text)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_part_may_have_1023_bytes() -> None:
    jid = parse("b" * 1023 + "@" + "d" * 1023 + "/" + "r" * 1023)
    assert (len(jid.local), len(jid.domain), len(jid.resource)) == (1023, 1023, 1023)


def test_two_spellings_of_one_address_are_equal_and_two_addresses_are_not() -> None:
    assert parse("BOB@example.org/x") == parse("bob@EXAMPLE.org./x")
    assert parse("bob@example.org") != parse("bob@example.org.evil")
    assert parse("bob@example.org/home") != parse("bob@example.org/home2")


def test_the_library_s_addresses_come_through_unchanged() -> None:
    for text in ("bob@example.org", "bob@example.org/home", "example.org"):
        assert str(outward(inward(aioxmpp.JID.fromstr(text)))) == text


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_bad_one(text: str) -> None:
    try:
        jid = parse(text)
    except BadJid:
        return
    # Preparing twice changes nothing, and the library sees the same address.
    assert parse(str(jid)) == jid
    assert inward(outward(jid)) == jid
