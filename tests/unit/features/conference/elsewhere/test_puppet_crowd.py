"""What the puppets of a room know together: whose text it is, and who of chat is in."""

from __future__ import annotations

import pytest

from agi_xmpp.features.conference.elsewhere import puppet_crowd as module
from agi_xmpp.features.conference.elsewhere.puppet_crowd import PuppetCrowd
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.garden import Scene

ROMEO, JULIET = parse("romeo@example.org"), parse("juliet@example.org")
ALICE, BOB = "PJSIP/101-00000001", "PJSIP/102-00000001"


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.began()
    scene.muc.shows_addresses = True
    return scene


class TestWhoIsIn:
    def test_who_was_there_before_and_who_comes(self, scene):
        scene.enter("Romeo")
        assert not scene.room.sees(ROMEO), "no phone is in that could see them"
        scene.join()
        assert scene.room.sees(ROMEO)
        assert scene.room.sees(parse("romeo@example.org/elsewhere"))
        assert not scene.room.sees(JULIET)
        scene.enter("Juliet")
        assert scene.room.sees(JULIET)

    def test_where_the_room_shows_no_addresses_nobody_is_seen(self, scene):
        scene.muc.shows_addresses = False
        scene.enter("Romeo")
        scene.join()
        assert set(scene.room.people) == {"Romeo"}
        assert not scene.room.sees(ROMEO)

    def test_who_goes_is_not_seen_any_more(self, scene):
        scene.join()
        scene.enter("Romeo")
        scene.muc.leave(scene.muc.of("Romeo"))
        scene.deliver()
        assert not scene.room.sees(ROMEO)

    def test_who_changes_their_name_is_seen(self, scene):
        scene.join()
        scene.enter("Romeo")
        scene.muc.rename(scene.muc.of("Romeo"), "Montague")
        scene.deliver()
        assert scene.room.sees(ROMEO)
        scene.muc.leave(scene.muc.of("Montague"))
        scene.deliver()
        assert not scene.room.sees(ROMEO)

    def test_who_goes_while_no_phone_is_in_is_forgotten(self, scene):
        alice = scene.join()
        scene.enter("Romeo")
        scene.room.phone_left(alice.channel)
        scene.deliver()
        assert not scene.room.sees(ROMEO)
        scene.muc.leave(scene.muc.of("Romeo"))
        scene.join()
        assert not scene.room.sees(ROMEO)

    def test_another_phone_goes_on_seeing(self, scene):
        alice = scene.join()
        scene.join("Bob B", "102")
        scene.enter("Romeo")
        scene.room.phone_left(alice.channel)
        scene.deliver()
        assert scene.room.sees(ROMEO)

    def test_after_a_break_it_counts_who_is_there_then(self, scene):
        scene.join()
        scene.enter("Romeo")
        scene.ended()
        assert not scene.room.sees(ROMEO)
        scene.muc.leave(scene.muc.of("Romeo"))
        scene.began()
        assert not scene.room.sees(ROMEO)

    @pytest.mark.parametrize(("limit", "seen"), [(1, False), (2, True), (3, True)])
    def test_so_many_are_known(self, scene, monkeypatch, limit, seen):
        monkeypatch.setattr(module, "OCCUPANT_LIMIT", limit)
        scene.join()  # sees itself, too
        scene.enter("Romeo")
        assert scene.room.sees(ROMEO) is seen


def test_whose_text_it_is(scene):
    scene.join()
    scene.join("Bob B", "102")
    speaker = scene.room.speaker_of
    assert speaker("Bob B") is scene.room.phones[BOB]
    assert speaker("Bob B", ALICE) is scene.room.phones[ALICE]
    assert speaker("Bob B", "") is None
    assert speaker("Mallory") is None
    scene.join("Bob B", "103")
    assert speaker("Bob B") is None, "two of one name"


def test_without_puppets_nobody_is_in():
    crowd = PuppetCrowd()
    assert (crowd.people(), crowd.has_people(), crowd.sees(ROMEO)) == (set(), False, False)
