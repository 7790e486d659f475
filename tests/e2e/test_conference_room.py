"""A room over real servers, with clients that believe only what they are told in the right order. Without Asterisk:
what it would say of phones is said by the tests."""

from __future__ import annotations

import asyncio
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.features.conference.model import Role
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.rooms.service import MucService
from tests.e2e.test_muc_service import Scene, scene
from tests.testbed.muc import Attendee, Refused
from tests.testbed.profanity import Profanity
from tests.testbed.xmpp import Accounts
from tests.unit.features.conference.fakes import phone

__all__ = ["scene"]


class Deaf:
    """Stands before the service, and loses stanzas while it shall.

    Attributes:
        deaf: what comes is lost.
        missed: something was.
    """

    def __init__(self, service: MucService) -> None:
        self._service = service
        self.deaf = False
        self.missed = asyncio.Event()

    def stanza_came(self, stanza: Element) -> bool:
        if self.deaf:
            self.missed.set()
            return True
        return self._service.stanza_came(stanza)


@pytest.fixture
def room(scene: Scene) -> Room:
    """The room of the settings, with Alice on the phone."""
    room = scene.service.room_for_number("6000")
    assert isinstance(room, Room)
    scene.outside.room = room
    room.phone_joined(phone("Alice A"))
    return room


async def test_who_comes_in_is_told_all_and_in_order(scene: Scene, room: Room) -> None:
    romeo = await Attendee.enter(scene.romeo, str(room.address), "Romeo")
    assert romeo.members["Alice A"].role == "participant"
    assert romeo.codes == {110}
    romeo.say("hello phones")
    await romeo.hears("hello phones", nick="Romeo")
    assert [said.text for said in scene.outside.said] == ["hello phones"]
    room.phone_said("Alice A", "hi romeo, alice here")
    await romeo.hears("hi romeo, alice here", nick="Alice A")
    room.phone_said("Romeo", "pretending")
    await romeo.hears("<Romeo> pretending", nick="")

    juliet = await Attendee.enter(scene.juliet, str(room.address), "Juliet")
    assert [(one.sender.partition("/")[2], one.body) for one in juliet.history] == [
        ("Romeo", "hello phones"),
        ("Alice A", "hi romeo, alice here"),
        ("", "<Romeo> pretending"),
    ]
    assert set(juliet.members) == {"Alice A", "Romeo", "Juliet"}
    assert juliet.members["Romeo"].jid == ""


async def test_names_are_taken_and_changed(scene: Scene, room: Room) -> None:
    romeo = await Attendee.enter(scene.romeo, str(room.address), "Romeo")
    for nick in ("Romeo", "romeo", "Alice A"):
        with pytest.raises(Refused) as refused:
            await Attendee.enter(scene.juliet, str(room.address), nick)
        assert (refused.value.type, refused.value.condition) == ("cancel", "conflict")
        assert refused.value.sender == f"{room.address}/{nick}"
    juliet = await Attendee.enter(scene.juliet, str(room.address), "Juliet")
    await romeo.rename("Romeo M")
    assert (await juliet.sees_gone("Romeo")).new_nick == "Romeo M"
    await juliet.sees("Romeo M")
    assert romeo.nick == "Romeo M"


async def test_phones_are_muted_and_thrown_out(scene: Scene, room: Room) -> None:
    romeo = await Attendee.enter(scene.romeo, str(room.address), "Romeo")
    room.phone_changed(phone("Alice A", muted=True))
    await romeo.sees("Alice A", role="visitor", show="away", status="muted")
    room.set_role("Alice A", Role.NONE, room.occupants["Romeo"], "bye")
    room.phone_left("PJSIP/101-00000001")
    gone = await romeo.sees_gone("Alice A")
    assert (set(gone.codes), gone.actor, gone.reason) == ({307}, "Romeo", "bye")


async def test_a_client_that_only_disappears_leaves_the_room(scene: Scene, room: Room) -> None:
    romeo = await Attendee.enter(scene.romeo, str(room.address), "Romeo")
    juliet = await Attendee.enter(scene.juliet, str(room.address), "Juliet")
    assert juliet.nick == "Juliet"
    room.verify()  # whoever is there says nothing to that
    romeo.whisper("Juliet", "still there?")
    await juliet.hears_whisper("Romeo")
    await scene.juliet.drop()
    await romeo.sees_gone("Juliet")
    assert set(room.occupants) == {"Romeo"}


async def test_a_client_that_went_unseen_is_found(scene: Scene, room: Room) -> None:
    romeo = await Attendee.enter(scene.romeo, str(room.address), "Romeo")
    await Attendee.enter(scene.juliet, str(room.address), "Juliet")
    ears = Deaf(scene.service)
    scene.outside.service = ears  # type: ignore[assignment]
    ears.deaf = True  # as if our connection were gone
    await scene.juliet.disconnect()
    await ears.missed.wait()
    ears.deaf = False
    assert set(room.occupants) == {"Romeo", "Juliet"}
    room.verify()
    await romeo.sees_gone("Juliet")
    assert set(room.occupants) == {"Romeo"}


async def test_a_moderator_sets_the_subject_and_whispers_to_a_phone(scene: Scene, room: Room) -> None:
    romeo = await Attendee.enter(scene.romeo, str(room.address), "Romeo")
    room.set_role("Romeo", Role.MODERATOR, None)
    await romeo.sees("Romeo", role="moderator")
    romeo.set_subject("Love")
    assert await romeo.sees_subject("Love") == "Romeo"
    assert [said.text for said in scene.outside.said] == ["Romeo set the subject: Love"]
    juliet = await Attendee.enter(scene.juliet, str(room.address), "Juliet")
    assert juliet.subject == "Love"
    sent = juliet.whisper("Alice A", "psst")
    await scene.juliet.ping(f"{room.address}/Juliet")  # stanzas stay in order: the whisper is there
    channel, whispered = scene.outside.whispered[0]
    assert (channel, whispered.speaker, whispered.text) == ("PJSIP/101-00000001", "Juliet", "psst")
    room.not_spoken(whispered, "The phone is gone.")
    assert "The phone is gone." in (await juliet.bounced(sent)).xml


async def test_profanity_sees_who_is_in_and_each_text_once(scene: Scene, room: Room, accounts: Accounts) -> None:
    nurse = await accounts("nurse")
    romeo = await Attendee.enter(scene.romeo, str(room.address), "Romeo")
    async with Profanity(accounts.server, nurse.jid, nurse.password) as client:
        screen = await client.join(str(room.address), "Nurse")
        assert "role: participant, affiliation: none" in screen
        for nick in ("Alice A", "Nurse", "Romeo"):
            assert nick in screen
        client.type("good evening from profanity")
        await romeo.hears("good evening from profanity", nick="Nurse")
        room.phone_said("Alice A", "good evening from the phone")
        screen = await client.shows("good evening from the phone")
        assert screen.count("good evening from profanity") == 1
        room.set_role("Nurse", Role.NONE, None, "night shift")
        await client.shows("night shift")
        client.type(f"/join {room.address} nick Romeo")
        await client.shows("reason: conflict")
