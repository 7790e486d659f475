from __future__ import annotations

from dataclasses import replace

import pytest

from agi_xmpp.features.conference.model import Affiliation, Occupant, PhoneOccupant, Role
from tests.unit.features.conference.fakes import phone, stanza
from tests.unit.features.conference.hall import ADDRESS, Hall, condition, jid


def state(**config):
    affiliations = {
        "owner@example.org": Affiliation.OWNER,
        "spam.example": Affiliation.OUTCAST,
        "good@spam.example": Affiliation.MEMBER,
    }
    return Hall(affiliations, **config).room._state


@pytest.mark.parametrize(
    ("who", "what"),
    [
        ("owner@example.org/desk", Affiliation.OWNER),
        ("nobody@example.org", Affiliation.NONE),
        ("bad@spam.example/x", Affiliation.OUTCAST),
        ("good@spam.example", Affiliation.MEMBER),
    ],
)
def test_a_domain_stands_for_its_users_but_each_ones_own_standing_counts_first(who, what):
    assert state().affiliation_of(jid(who)) is what


@pytest.mark.parametrize(
    ("affiliation", "open_room", "moderated"),
    [
        (Affiliation.OWNER, Role.MODERATOR, Role.MODERATOR),
        (Affiliation.ADMIN, Role.MODERATOR, Role.MODERATOR),
        (Affiliation.MEMBER, Role.PARTICIPANT, Role.PARTICIPANT),
        (Affiliation.NONE, Role.PARTICIPANT, Role.VISITOR),
    ],
)
def test_the_role_that_comes_with_an_affiliation(affiliation, open_room, moderated):
    assert state().role_of(affiliation) is open_room
    assert state(moderated=True).role_of(affiliation) is moderated


def test_an_occupant_id_is_that_of_the_person_whatever_their_nick_and_client():
    room = state()
    one = Occupant("Romeo", jid("romeo@example.org"), Affiliation.NONE, Role.PARTICIPANT)
    two = Occupant("Montague", jid("romeo@example.org"), Affiliation.ADMIN, Role.MODERATOR)
    assert room.occupant_id(one) == room.occupant_id(two) == room.id_of(jid("romeo@example.org/orchard"))
    assert room.id_of(jid("juliet@example.org")) != room.occupant_id(one)
    assert "romeo" not in room.occupant_id(one)


def test_an_occupant_id_differs_by_room_and_key():
    ids = {
        replace(state(), **change).id_of(jid("romeo@example.org"))
        for change in ({}, {"key": b"another"}, {"address": jid("garden@conference.example.org")})
    }
    assert len(ids) == 3


def test_a_phone_is_known_again_by_its_occupant_id_unless_it_withholds_its_number():
    room = state()
    first, second = phone(channel="PJSIP/101-1"), replace(phone(channel="PJSIP/101-2"), uniqueid="2")
    assert room.occupant_id(PhoneOccupant("a", first)) == room.occupant_id(PhoneOccupant("b", second))
    hidden = [PhoneOccupant("a", replace(one, withheld=True)) for one in (first, second)]
    assert len({room.occupant_id(one) for one in (*hidden, PhoneOccupant("a", first))}) == 3


def test_an_error_is_never_answered():
    hall = Hall()
    hall.room._state.refuse(stanza("<message type='error'/>"), "forbidden", "No.")
    assert hall.outside.sent == []
    hall.room._state.refuse(stanza("<message/>"), "forbidden", "No.")
    assert condition(hall.outside.sent[0]) == ("auth", "forbidden")


def test_addresses_in_the_room():
    assert str(state().at("Romeo")) == f"{ADDRESS}/Romeo"
    assert state().at("") == ADDRESS
