from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.features.conference.model import Affiliation, Occupant, PhoneOccupant, Role
from agi_xmpp.features.conference.room.occupants import Occupants
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import jid

ROMEO, DESK, MOBILE = jid("romeo@example.org"), jid("romeo@example.org/desk"), jid("romeo@example.org/mobile")


@pytest.fixture
def occupants():
    return Occupants()


@pytest.fixture
def romeo(occupants):
    occupant = Occupant("Romeo", ROMEO, Affiliation.NONE, Role.PARTICIPANT)
    occupants.enter(occupant)
    occupants.show(occupant, DESK, Element("first"))
    return occupant


def test_somebody_is_found_by_nick_client_and_person(occupants, romeo):
    assert occupants.named("Romeo") is romeo
    assert occupants.named("romeo") is None
    assert occupants.alike("romeo") is romeo
    assert occupants.of_session(DESK) is romeo
    assert occupants.of_person(ROMEO) == [romeo]
    assert occupants.sessions() == [(DESK, romeo)]
    assert list(occupants) == [romeo]


def test_the_presence_that_came_last_is_the_last(occupants, romeo):
    occupants.show(romeo, MOBILE, Element("second"))
    occupants.show(romeo, DESK, Element("third"))
    assert [presence.tag for presence in romeo.sessions.values()] == ["second", "third"]
    occupants.hide(romeo, DESK)
    assert occupants.of_session(DESK) is None
    assert occupants.of_session(MOBILE) is romeo


def test_who_has_left_is_found_no_more(occupants, romeo):
    occupants.leave(romeo)
    assert occupants.sessions() == []
    assert not occupants.is_taken("Romeo")
    assert list(occupants) == []


def test_another_name_takes_the_place_of_the_old_one(occupants, romeo):
    occupants.rename(romeo, "ROMEO")
    assert occupants.named("ROMEO") is romeo
    occupants.rename(romeo, "Montague")
    assert not occupants.is_taken("Romeo")
    assert list(occupants.chat) == ["Montague"]


def test_phones_and_people_share_their_names(occupants, romeo):
    alice = PhoneOccupant("Alice", phone())
    occupants.phone_entered(alice)
    assert occupants.named("Alice") is alice
    assert list(occupants.phones) == [alice.participant.channel]
    assert set(occupants.chat) == {"Romeo"}
    occupants.rename(alice, "Alice (2)")
    assert occupants.named("Alice (2)") is alice
    occupants.clear_chat()
    assert list(occupants) == [alice]
    occupants.clear_phones()
    assert list(occupants) == []
    assert not occupants.is_taken("Alice (2)")
