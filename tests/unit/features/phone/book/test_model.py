from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.features.phone.book.model import MAX_LINK, MAX_TEXT, Entry, SourceError, clean_link, clean_text, entry


def test_an_entry_has_what_the_source_says():
    assert entry(
        name="Ann", company="Ltd", link="https://example.org/a", avatar="http://example.org/a.png", source="file x.csv"
    ) == Entry("Ann", "Ltd", "https://example.org/a", "http://example.org/a.png", "file x.csv")


def test_a_company_stands_for_a_person_without_name():
    assert entry(name=" ", company="Ltd") == Entry("Ltd")
    assert entry(name="", company="\n", link="https://example.org") is None


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  Ann\r\n\tLee ", "Ann Lee"),
        ("Ann\x00\x1b[31mLee", "Ann [31mLee"),
        ("Ann\u202egnp.exe", "Ann gnp.exe"),
        ("Ann\u2028Lee", "Ann Lee"),
        ("\ud800Ann\uffff", "Ann"),
        ("Zoë 李 \U0001f469\u200d\U0001f4bb", "Zoë 李 \U0001f469\u200d\U0001f4bb"),  # a joiner belongs to its picture
    ],
)
def test_a_text_is_one_clean_line(text, clean):
    assert clean_text(text) == clean


def test_the_length_of_a_text_is_limited():
    for length in (MAX_TEXT - 1, MAX_TEXT):
        assert clean_text("x" * length) == "x" * length
    assert clean_text("x" * (MAX_TEXT + 1)) == "x" * (MAX_TEXT - 1) + "…"


@pytest.mark.parametrize(
    "link",
    [
        "https://example.org",
        "HTTP://example.org:8080/a?b=c&d=e#f",
        "https://[2001:db8::1]/",
        "https://müller.example/ü",
    ],
)
def test_links_that_are_shown(link):
    assert clean_link(f" {link}\n") == link


@pytest.mark.parametrize(
    "link",
    [
        "",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "xmpp:ann@example.org",
        "data:text/html,x",
        "//example.org",
        "example.org",
        "https://",
        "https:///path",
        "https://user:password@example.org/",
        "https://bank.example@evil.example/",
        "https://example.org/a b",
        "https://example.org/\nX",
        "https://example.org/\x00",
        "https://example.org/\u202egnp",
        'https://example.org/"><script>',
        "https://[::1",
    ],
)
def test_links_that_are_not(link):
    assert clean_link(link) == ""


def test_the_length_of_a_link_is_limited():
    head = "https://example.org/"
    for length in (MAX_LINK - 1, MAX_LINK):
        assert clean_link(head.ljust(length, "x")) == head.ljust(length, "x")
    assert clean_link(head.ljust(MAX_LINK + 1, "x")) == ""


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_a_source_says_an_entry_can_be_shown(text, link):
    found = entry(name=text, company=text, link=link, avatar=f"https://example.org/{link}")
    if found is not None:
        shown = found.name + found.company + found.link + found.avatar
        assert found.name
        shown.encode()
        assert not any(ord(character) < 32 for character in shown)


def test_an_error_may_bring_an_older_answer():
    assert SourceError("broken").found is None
    assert SourceError("broken", Entry("Ann")).found == Entry("Ann")
