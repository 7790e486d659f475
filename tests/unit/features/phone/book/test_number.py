from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.features.phone.book.number import MAX_E164, MAX_TEXT, MIN_NATIONAL, Number, clean, read, tail


@pytest.mark.parametrize(
    "text",
    [
        "+49 30 1234567",
        "+49 (0)30 1234567",
        "0049 (0)30 1234567",
        "0049301234567",
        "49301234567",
        "030/123 45-67",
        "(030) 123.45.67",
        "\u202a+49 30 1234567\u202c",
        "+49\u00a030\u20111234567",
        "301234567",
    ],
)
def test_all_ways_to_write_a_number_are_one(text):
    number = read(text, "DE")
    assert number is not None
    assert number.e164 == number.best == "+49301234567"
    assert number.national == "0301234567"


@pytest.mark.parametrize(
    ("text", "country", "e164", "national"),
    [
        ("(202) 555-0123", "US", "+12025550123", "2025550123"),
        ("1 202 555 0123", "US", "+12025550123", "2025550123"),
        ("011 49 30 1234567", "US", "+49301234567", "0301234567"),
        ("06 12345678", "IT", "+390612345678", "0612345678"),
        ("8 495 123-45-67", "RU", "+74951234567", "84951234567"),
        ("912 345 678", "ES", "+34912345678", "912345678"),
    ],
)
def test_each_country_has_its_own_way(text, country, e164, national):
    number = read(text, country)
    assert number is not None
    assert (number.e164, number.national) == (e164, national)


@pytest.mark.parametrize("text", ["101", "110", "116117", "*21", "*21#101", "#9", "10000000000000*"])
@pytest.mark.parametrize("country", ["", "DE", "US"])
def test_extensions_and_short_codes_stay_as_they_are(text, country):
    assert read(text, country) == Number(text, national=text)


def test_the_length_of_a_national_number_decides():
    below, at = "2" * (MIN_NATIONAL - 1), "2" * MIN_NATIONAL
    assert read(below, "DE") == Number(below, national=below)
    assert read(at, "DE") == Number(at, f"+49{at}", f"0{at}")


def test_without_a_country_only_the_international_form_is_known():
    assert read("030 1234567") == Number("0301234567", national="0301234567")
    assert read("+49 30 1234567") == Number("+49301234567", "+49301234567", "0301234567")


def test_a_number_with_plus_that_the_tables_do_not_know_is_taken_as_it_is():
    number = read("+49 999 999 999 999")
    assert number is not None
    assert number.e164 == "+49999999999999"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "anonymous",
        "Anonymous",
        "unknown",
        "+",
        "*",
        "#",
        "()",
        "alice",
        "1-800-FLOWERS",
        "101;x",
        "1\0",
        "++49",
    ],
)
def test_what_is_no_number_is_none(text):
    assert read(text, "DE") is None


def test_the_length_of_a_text_is_limited():
    assert read("1" * MAX_TEXT) == Number("1" * MAX_TEXT, national="1" * MAX_TEXT)
    assert read("1" * (MAX_TEXT + 1)) is None
    assert read("1" + " " * (MAX_TEXT - 1)) == Number("1", national="1")
    assert read("1" + " " * MAX_TEXT) is None


def test_no_e164_number_is_longer_than_the_standard_allows():
    at = "+49" + "3" * (MAX_E164 - 2)
    number = read(at)
    assert number is not None
    assert number.e164 == at
    above = at + "3"
    assert read(above) == Number(above, national=above)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+49301234567", "030 1234567", True),
        ("101", "101", True),
        ("101", "+49301234101", False),
        ("0301234567", "+41301234567", False),
        ("999999999999999999", "+999999999999999999", True),
    ],
)
def test_two_numbers_are_the_same_if_they_share_a_key(one, other, same):
    first, second = read(one, "DE"), read(other, "DE")
    assert first is not None
    assert second is not None
    assert bool(set(first.keys) & set(second.keys)) is same


@given(st.text(max_size=80), st.sampled_from(["", "DE", "US", "ZZ"]))
def test_whatever_comes_the_best_form_is_harmless(text, country):
    number = read(text, country)
    if number is not None:
        assert set(number.best) <= set("+0123456789*#")
        assert not number.best.startswith("-")
        again = read(number.best, country)
        assert again is not None
        assert again.best == number.best
        assert set(number.keys) & set(again.keys)


def test_the_forms_of_a_number_are_one_in_every_country():
    """By the tables' own example of a fixed and of a mobile number of each country."""
    tried = 0
    for country in phonenumbers.SUPPORTED_REGIONS:
        for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
            example = phonenumbers.example_number_for_type(country, kind)
            if example is None:
                continue
            e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
            if len(clean(national)) < MIN_NATIONAL:  # in small countries: as short as an extension
                continue
            tried += 1
            numbers = [read(text, country) for text in (e164, national, e164[1:])]
            for one in numbers:
                for other in numbers:
                    assert one is not None
                    assert other is not None
                    assert not set(one.keys).isdisjoint(other.keys), (one, other)
                    assert tail(one.dialled) in other.tails, (one, other)
    assert tried > 400
