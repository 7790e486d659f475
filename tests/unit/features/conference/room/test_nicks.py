from __future__ import annotations

from dataclasses import replace

import pytest

from agi_xmpp.features.conference.room import nicks
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import ADDRESS


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("Romeo", "Romeo"),
        ("Romeo  M", "Romeo M"),
        (" Romeo ", "Romeo"),
        ("Ro/meo@x", "Ro/meo@x"),
        ("<Romeo>", "<Romeo>"),
        ("Юлия 🎈", "Юлия 🎈"),
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
        ("  ", None),
        ("", None),
    ],
)
def test_the_nick_that_somebody_in_chat_gets(asked, given):
    assert nicks.of_chat(ADDRESS, asked) == given


@pytest.mark.parametrize(
    ("name", "nick"),
    [
        ("Alice A", "Alice A"),
        ('Al"ice <101>', "Al ice 101"),
        ("a/b@c\\d", "a b c d"),
        ("line\r\nbreak\x00", "line break"),
        ("\u202eecilA", "ecilA"),
        ("y" * 80, "y" * 64),
        ("", "101"),
        ("<>", "101"),
        ("bad\uffff", "101"),
    ],
)
def test_the_nick_of_a_phone_is_the_callers_name(name, nick):
    assert nicks.of_caller(ADDRESS, phone(name)) == nick


def test_a_phone_without_name_and_number_is_called_as_in_the_exchange():
    assert nicks.of_caller(ADDRESS, replace(phone(""), number="", device="PJSIP/alice")) == "alice"
    assert nicks.of_caller(ADDRESS, replace(phone(""), number="", device="")) == nicks.UNKNOWN


def test_who_withholds_their_number_is_not_given_away_by_the_phones_name():
    hidden = replace(phone(""), number="", device="PJSIP/alice", withheld=True)
    assert nicks.of_caller(ADDRESS, hidden) == nicks.UNKNOWN
    assert nicks.caller_name(hidden) == ""


def test_a_name_that_is_taken_gets_a_number():
    taken = {"Alice", "Alice (2)"}
    assert nicks.unique("Alice", taken.__contains__) == "Alice (3)"
    assert nicks.unique("Bob", taken.__contains__) == "Bob"


@pytest.mark.parametrize(
    "other", ["alice a", "ALICE  A", "Ａlice A", "Alice\u200b A", " Alice A", '"Alice A"', "Alice@A", "Alice A＞"]
)
def test_names_that_look_alike(other):
    assert nicks.folded(other) == nicks.folded("Alice A")


def test_names_that_do_not_look_alike():
    assert nicks.folded("Alice B") != nicks.folded("Alice A")
