from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.features.conference.invitations import free_numbers
from agi_xmpp.features.phone import numbers

PATTERNS = ["_6XXX", "_7ZN", "_8[1-3]X", "_9.", "_5!", "_4-XX", "6000", "_[24]X", "_*6X".replace("*", "")]


def first(choices):
    return choices[0]


@given(st.sampled_from(PATTERNS), st.randoms())
def test_a_number_fits_its_pattern(pattern, chance: random.Random):
    number = free_numbers.some_number(pattern, chance.choice)
    assert number.isdecimal()
    assert numbers.matches(pattern, number)


@pytest.mark.parametrize(
    ("pattern", "number"),
    [
        ("_6XXX", "6000"),
        ("_7ZN", "712"),
        ("_8[3-5]", "83"),
        ("_9.", "90"),
        ("_5!", "5"),
        ("_9.X", "90"),
        ("6000", "6000"),
    ],
)
def test_the_first_of_a_pattern(pattern, number):
    assert free_numbers.some_number(pattern, first) == number


@pytest.mark.parametrize("pattern", ["_[a-z].", "verona", "_[a-z]X", "_6[9-0]", "_#X", "_!"])
def test_patterns_without_numbers(pattern):
    assert free_numbers.some_number(pattern, first) == ""


def test_the_first_free_one_is_found():
    chance = random.Random(1)
    assert free_numbers.find(["_6X"], lambda number: number == "67", chance.choice) == "67"


def test_where_all_are_taken_the_search_ends():
    tried: list[str] = []

    def is_free(number: str) -> bool:
        tried.append(number)
        return False

    assert free_numbers.find(["_6X", "_[a-z]."], is_free, random.choice) is None
    assert len(tried) == free_numbers.TRIES
    assert set(tried) <= {f"6{digit}" for digit in range(10)}


def test_where_nothing_has_numbers_there_is_none():
    assert free_numbers.find(["_[a-z]."], lambda _number: True, first) is None
    assert free_numbers.find([], lambda _number: True, first) is None
