"""The words of the protocol, as they stand in stanzas."""

from __future__ import annotations

from agi_xmpp.features.conference.model import Affiliation, Outside, Role
from agi_xmpp.features.conference.room.room import Room
from tests.unit.features.conference.fakes import FakeOutside
from tests.unit.features.conference.hall import Hall


def test_affiliations_and_roles_are_those_of_the_protocol():
    """XEP-0045 sections 5.1 and 5.2."""
    assert {role.value for role in Role} == {"moderator", "participant", "visitor", "none"}
    assert {one.value for one in Affiliation} == {"owner", "admin", "member", "none", "outcast"}


def test_a_room_has_all_that_the_phones_side_asks_for():
    room = Hall().room
    wanted = {name for name in dir(Outside) if not name.startswith("_")}
    assert wanted <= set(dir(FakeOutside))
    assert isinstance(room, Room)
    for name in ("number", "title", "address", "has_listeners", "phone_joined", "phone_left", "phone_said", "announce"):
        assert hasattr(room, name), name
