"""Numbers: what people type, and what patterns of the dialplan take."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.errors import Refused
from agi_xmpp.features.phone.numbers import MAX_NUMBER, MAX_TYPED, allowed, clean, matches

NUMBERS = """
    101 21 91 11 30 45 55 5-5 5 512 1 a1 A1 d1 12 -2 2 22 a-b ab alice ALICE
    1x2 0 9 n x X +491 +49 1_ 123 124 14 132
"""
#: Which of `NUMBERS` each pattern takes, as Asterisk 22.10 answered by DIALPLAN_EXISTS().
PATTERNS = {
    "_101": "101",
    "101": "101",
    "_N1": "21 91",
    "_[1-35]X": "21 11 30 55 5-5 12 22 14",
    "_[]5": "5",
    "_5-5": "55 5-5",
    "_X.": "101 21 91 11 30 45 55 5-5 512 12 22 1x2 1_ 123 124 14 132",
    "_X!": "101 21 91 11 30 45 55 5-5 5 512 1 12 -2 2 22 1x2 0 9 1_ 123 124 14 132",
    "_5.": "55 5-5 512",
    "_5!": "55 5-5 5 512",
    "_.": NUMBERS,
    "_!": NUMBERS,
    "_[a-c]x": "a1",
    "_[1-]2": "12",
    "_Z": "5 1 -2 2 9",
    "_n": "5 -2 2 9",
    "_a-b": "a-b ab",
    "a-b": "a-b ab",
    "ALICE": "ALICE",
    "_ALICE": "ALICE",
    "_1.2": "101 11 12 1x2 1_ 123 124 14 132",
    "_[5-1]": "",
    "_[-2]": "-2 2",
    "_[X]": "X",
    "_+49X.": "",
    "5-5": "55 5-5",
    "_12!4": "12 123 124",
    "_1!2": "101 11 1 12 1x2 1_ 123 124 14 132",
}


@pytest.mark.parametrize(("pattern", "taken"), PATTERNS.items())
def test_a_pattern_takes_what_it_takes_in_asterisk(pattern, taken):
    assert [number for number in NUMBERS.split() if matches(pattern, number)] == taken.split()


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("601", "601"),
        (" 601\n", "601"),
        ("+1 (555) 010-0199", "+15550100199"),
        ("555.0100", "5550100"),
        ("030/1234-5", "03012345"),
        ("+49 (0)30 123", "+4930123"),
        ("(0)30 123", "030123"),
        ("tel:+1-555-0100", "+15550100"),
        ("*97#", "*97#"),
        ("\u202a+49\u00a030 1234\u202c", "+49301234"),  # as address books copy it: marks of direction, fixed blanks
        ("030\u20111234", "0301234"),  # the hyphen of word processors
        ("\uff16\uff10\uff11", "601"),  # full width
        ("front-desk", "front-desk"),
        ("alice.smith", "alice.smith"),
        ("1-800-FLOWERS", "1-800-FLOWERS"),
    ],
)
def test_what_people_type_becomes_a_number(typed, number):
    assert clean(typed) == number


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "()",
        "601\r\nVariable: X=1",
        "601\0",
        "601,1",
        "601&PJSIP/102",
        "601;x",
        "${SHELL(x)}",
        "601@internal",
        "PJSIP/102",
        "ann smith",
        "_X.",
        "_",
        "601|2",
        "\u0661\u0662",  # Arabic digits: Asterisk does not know them
        "h",
        "i",
        "t",
        "sip:601",
        "601\u2028602",
    ],
)
def test_what_is_no_number_is_refused_in_one_line(typed):
    with pytest.raises(Refused) as caught:
        clean(typed)
    assert caught.value.condition == "bad-request"
    assert str(caught.value).isprintable()


def test_the_length_is_limited():
    assert clean("1" * MAX_NUMBER) == "1" * MAX_NUMBER
    with pytest.raises(Refused, match="longer than 64"):
        clean("1" * (MAX_NUMBER + 1))
    assert clean("1" + " " * (MAX_TYPED - 1)) == "1"
    with pytest.raises(Refused, match="it has 201 characters"):
        clean("1" + " " * MAX_TYPED)


@given(st.text(max_size=MAX_TYPED + 10))
def test_nothing_but_numbers_comes_out(typed):
    try:
        number = clean(typed)
    except Refused as error:
        sentence = str(error)
    else:
        sentence = ""
        assert re.fullmatch(r"[0-9A-Za-z*#+._-]{1,64}", number)
        assert clean(number) == number
    assert sentence == "" or (sentence.isprintable() and len(sentence) < 200)


@given(st.text(alphabet="0123456789()-./ +", max_size=30))
def test_no_digit_is_lost_but_the_trunk_zero(typed):
    try:
        number = clean(typed)
    except Refused:
        assert not re.search(r"[0-9+]", typed)
    else:
        expected = re.sub(r"(\+[0-9 ]+)\(0\)", r"\1", typed.strip())
        assert re.sub(r"[^0-9+]", "", expected) == number


def test_allowed_is_what_others_have_and_what_a_pattern_takes():
    assert allowed("101", {"101", "102"}, [])
    assert not allowed("103", {"101", "102"}, [])
    assert allowed("0301234", {"101"}, ["_1XX", "_0X."])
    assert not allowed("00301234", {"101"}, ["_1XX", "_0[1-9]X."])
    assert not allowed("601", set(), [])


@pytest.mark.parametrize("text", ["h", "-h", "h-", "t--", "-i-"])
def test_extensions_that_asterisk_enters_by_itself_are_nobodys_however_they_are_written(text):
    with pytest.raises(Refused, match="enters that extension by itself"):
        clean(text)
