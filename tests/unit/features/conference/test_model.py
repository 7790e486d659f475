from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from agi_xmpp.features.conference.model import Affiliation, Occupant, Outside, Role, RoomConfig, Utterance
from tests.unit.features.conference.fakes import FakeOutside
from tests.unit.features.conference.hall import jid


def test_affiliations_and_roles_are_called_as_in_xep_0045():
    assert {one.value for one in Affiliation} == {"owner", "admin", "member", "none", "outcast"}
    assert {one.value for one in Role} == {"moderator", "participant", "visitor", "none"}


def test_each_occupant_has_clients_of_their_own():
    one, two = (Occupant(nick, jid("romeo@example.org"), Affiliation.NONE, Role.PARTICIPANT) for nick in "ab")
    assert one.sessions is not two.sessions


def test_a_room_is_open_to_all_unless_somebody_says_otherwise():
    config = RoomConfig("Balcony")
    assert not (config.password or config.members_only or config.moderated or config.subject_by_all)
    assert config.public
    assert config != RoomConfig("Balcony", password="secret")


def test_an_utterance_stays_as_it_was_said():
    utterance = Utterance("Romeo", "hello")
    assert (utterance.stanza, utterance.sender, utterance.nick) == (None, None, "")
    with pytest.raises(FrozenInstanceError):
        utterance.text = "something else"  # type: ignore[misc]


def test_what_tests_use_for_the_world_gives_each_thing_an_id_of_its_own():
    def two(outside: Outside) -> set[str]:
        return {outside.new_id(), outside.new_id()}

    assert len(two(FakeOutside())) == 2
