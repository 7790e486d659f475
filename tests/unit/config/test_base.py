"""What all sections share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from agi_xmpp.config import is_loopback
from agi_xmpp.config.base import Section, demand_one_trust, written


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LocalHost"])
def test_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", [None, "", "10.0.0.1", "::2", "localhost.evil.example", "127.0.0.1.example"])
def test_another_machine(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("length", [79, 80])
def test_a_complaint_repeats_a_text_of_a_line(length):
    with pytest.raises(ValidationError, match=f"'{'a' * length}' is no b"):
        TypeAdapter(Annotated[str, written("b", "is no b")]).validate_python("a" * length)


def test_a_complaint_cuts_what_is_longer():
    with pytest.raises(ValidationError, match=f"'{'a' * 79}…' is no b"):
        TypeAdapter(Annotated[str, written("b", "is no b")]).validate_python("a" * 81)


def test_the_whole_text_counts():
    with pytest.raises(ValidationError, match="is no b"):
        TypeAdapter(Annotated[str, written("b", "is no b")]).validate_python("b\n")


@pytest.mark.parametrize(("ca_file", "any_certificate"), [(None, False), (None, True), (Path("/x"), False)])
def test_trust_that_has_an_effect(ca_file, any_certificate):
    demand_one_trust(ca_file, any_certificate)


def test_trust_that_has_none():
    with pytest.raises(ValueError, match="ca_file has no effect"):
        demand_one_trust(Path("/x"), True)


def test_a_section_does_not_change():
    class Sample(Section):
        key: int = 1

    with pytest.raises(ValidationError, match="frozen"):
        Sample().key = 2
