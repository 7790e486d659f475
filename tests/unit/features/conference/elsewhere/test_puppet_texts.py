"""What becomes of a phone's text in a room elsewhere, and what its writer is told."""

from __future__ import annotations

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.puppet import State
from agi_xmpp.features.conference.elsewhere.puppet_queue import WAITING_LIMIT
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.garden import Scene

ALICE, BOB = "PJSIP/101-00000001", "PJSIP/102-00000001"


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.began()
    scene.join()
    return scene


def told(scene: Scene) -> list[tuple[str, str]]:
    return [(channel, one.text) for channel, one in scene.outside.whispered]


@pytest.mark.parametrize("condition", ["forbidden", "policy-violation", "resource-constraint", "remote-server-timeout"])
def test_what_the_room_does_not_take_is_told_and_not_sent_again(scene, condition):
    scene.muc.take = lambda element: scene.muc.out.append(stanzas.error(element, condition))
    scene.room.phone_said("Alice A", "hi")
    scene.deliver()
    ((channel, words),) = told(scene)
    assert channel == ALICE
    assert words.startswith("The chat has not got your text: ")
    assert condition in words
    assert scene.room.phones[ALICE].state is State.IN


def test_too_many_are_not_taken(scene):
    scene.ended()
    for count in range(WAITING_LIMIT + 1):
        scene.room.phone_said("Alice A", str(count))
    assert told(scene) == [(ALICE, "Too many texts are waiting for the chat: it has not got yours.")]
    scene.began()
    assert len(scene.muc.heard) == WAITING_LIMIT


def test_a_text_without_anything_in_it_is_none(scene):
    scene.room.phone_said("Alice A", " \x07\r\n")
    assert scene.muc.heard == []


def test_the_text_of_one_who_has_gone_is_told_by_another(scene):
    bob = phone("Bob B", "102")
    scene.room.phone_joined(bob)
    scene.room.phone_said("Bob B", "bye")
    scene.room.phone_left(bob.channel)
    scene.deliver()
    assert scene.muc.heard == [("Alice A", "<Bob B> bye")]


def test_the_first_who_may_write_speaks_for_others(scene):
    scene.join("Bob B", "102")
    scene.muc.give_voice("Alice A", False)
    scene.deliver()
    scene.room.phone_said("Mallory", "hi")
    assert scene.muc.heard == [("Bob B", "<Mallory> hi")]


def test_nobody_speaks_for_others_if_none_may_write(scene):
    scene.muc.give_voice("Alice A", False)
    scene.deliver()
    scene.room.phone_said("Mallory", "hi")
    scene.room.announce("hear ye")
    assert scene.muc.heard == []


def test_while_somebody_withholds_their_name_no_name_is_told(scene):
    nobody = phone("", "102")
    scene.room.phone_joined(nobody.__class__(**{**as_dict(nobody), "withheld": True}))
    scene.deliver()
    scene.room.phone_said("Bob B", "hi")
    ((_, body),) = scene.muc.heard
    assert "Bob" not in body


def as_dict(participant) -> dict:
    return {name: getattr(participant, name) for name in participant.__dataclass_fields__}
