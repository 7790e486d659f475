"""Menus: what an answer means."""

from __future__ import annotations

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.errors import UsageError
from agi_xmpp.features.menu import MAX_KEY, parse
from agi_xmpp.quoting import MAX_CHOICES, MAX_LABEL

MENU = parse(
    ("Call from Ann", " where to?", "1=Forward to cell", "2=Forward to desk", "3=Voicemail", "x=Reject, politely")
)


def test_it_reads_as_lines():
    assert MENU.text == (
        "Call from Ann, where to?\n1: Forward to cell\n2: Forward to desk\n3: Voicemail\nx: Reject, politely"
    )


def test_commas_belong_to_question_and_labels():
    menu = parse(("a", "b", "1=c", "d", "2=e"))
    assert (menu.question, [(c.key, c.label) for c in menu.choices]) == ("a,b", [("1", "c,d"), ("2", "e")])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1", "1"),
        (" 1 ", "1"),
        ("1.", "1"),
        ("1)", "1"),
        ("1!", "1"),
        ("1️⃣", "1"),
        ("\uff11", "1"),  # full-width
        ("X", "x"),
        ("voicemail", "3"),
        ("VOICEMAIL.", "3"),
        ("voi", "3"),
        ("v", "3"),
        ("forward to c", "1"),
        ("Forward  to desk", "2"),
        ("1: Forward to cell", "1"),
        ("1 - forward to cell", "1"),
        ("1: forward", "1"),
        ("reject", "x"),
    ],
)
def test_what_means_a_choice(text, key):
    choice = MENU.match(text).choice
    assert choice is not None
    assert choice.key == key


@pytest.mark.parametrize(
    "text", ["", "  ", "4", "11", "12", "cell", "yes please", "1 2", "1: Voicemail", "forward-", "\ufe0f"]
)
def test_what_means_none(text):
    assert MENU.match(text).choice is None


def test_a_beginning_that_fits_two_is_asked_back():
    answer = MENU.match("forward")
    assert [choice.key for choice in answer.candidates] == ["1", "2"]
    assert MENU.correction("forward") == "“forward” could be 1 (Forward to cell), 2 (Forward to desk). Which one?"


def test_a_wrong_answer_is_told_what_is_possible():
    assert MENU.correction("4\n") == (
        "“4” is not among the answers. Possible:"
        " 1 (Forward to cell), 2 (Forward to desk), 3 (Voicemail), x (Reject, politely)."
    )
    assert len(MENU.correction("z" * 5000)) < 250


@pytest.mark.parametrize("text", ["no", "No.", "decline", "cancel"])
def test_declining(text):
    assert MENU.match(text).declined


def test_no_is_a_choice_where_the_menu_has_it():
    answer = parse(("q", "y=Yes", "n=No")).match("no")
    assert answer.choice is not None
    assert answer.choice.key == "n"
    assert not answer.declined


def test_no_is_not_taken_for_a_beginning():
    answer = parse(("q", "1=North", "2=South")).match("no")
    assert [choice.label for choice in answer.candidates] == ["North"]
    assert parse(("q", "1=North", "2=South")).match("nor").choice is not None


@pytest.mark.parametrize("text", ["1", "1.", " voicemail ", "Voicemail!", "1️⃣"])
def test_what_is_written_out(text):
    assert MENU.exact(text) == MENU.match(text).choice
    assert MENU.exact(text) is not None


@pytest.mark.parametrize("text", ["", "voic", "forward", "1: forward to cell", "no"])
def test_what_is_not_written_out(text):
    assert MENU.exact(text) is None


def test_the_question_may_stand_elsewhere():
    assert parse(("1=a", "b"), question=" 1=2, or not? ").question == "1=2, or not?"
    with pytest.raises(UsageError, match="given twice"):
        parse(("and?", "1=a"), question="q")
    with pytest.raises(UsageError, match="no question"):
        parse(("1=a",), question=" ")


def test_question_and_labels_are_decoded_after_they_were_split():
    menu = parse(("q%2C?", "1=a%3Db%2C", "c"), decode=urllib.parse.unquote)
    assert (menu.question, [(c.key, c.label) for c in menu.choices]) == ("q,?", [("1", "a=b,,c")])


def test_a_label_stays_in_its_line():
    menu = parse(("q\nr", "1=%0A 2: b \t c "), decode=urllib.parse.unquote)
    assert menu.text == "q\nr\n1: 2: b c"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no question"),
        (("1=a",), "no question"),
        (("q",), "no choices"),
        (("q", "1="), "no label"),
        (("q", "1=a", "1=b"), "two choices"),
        (("q", "1=a", "2=A"), "two choices"),
        (("q", "a=x", "b=A"), "two choices"),
        (("q", *(f"{n}=label {n}" for n in range(MAX_CHOICES + 1))), f"at most {MAX_CHOICES}"),
        (("q", f"1={'l' * (MAX_LABEL + 1)}"), "longer than"),
        (("q", f"{'k' * (MAX_KEY + 1)}=a"), "no choices"),
        (("q", "#1=a"), "number of a call"),
        (("q", "1=#12 or so"), "number of a call"),
    ],
)
def test_a_menu_that_makes_no_sense(arguments, words):
    with pytest.raises(UsageError, match=words):
        parse(arguments)


def test_limits_are_allowed():
    parse(("q", *(f"{n}=label {n}" for n in range(MAX_CHOICES))))
    parse(("q", f"{'k' * MAX_KEY}={'l' * MAX_LABEL}"))


@given(st.text(max_size=60))
def test_any_answer_means_at_most_one_thing(text):
    answer = MENU.match(text)
    assert sum((answer.choice is not None, answer.declined, bool(answer.candidates))) <= 1
    MENU.correction(text)


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5), min_size=1, max_size=8))
def test_key_and_label_always_mean_their_choice(words):
    try:
        menu = parse(("q", *(f"k{n}={word}" for n, word in enumerate(words))))
    except UsageError:
        return
    for choice in menu.choices:
        assert menu.match(choice.key).choice == choice
        assert menu.match(choice.label).choice == choice
