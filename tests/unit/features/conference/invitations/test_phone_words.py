from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.invitations.answers import Answer, How
from agi_xmpp.features.conference.invitations.invitees import Invitees
from agi_xmpp.features.conference.invitations.phone_words import MAX_LISTED, MAX_WORDS, PERIOD, PhoneWords
from agi_xmpp.features.conference.model import Affiliation, Invitation
from agi_xmpp.features.conference.room.invitations import MAX_REASON
from agi_xmpp.features.phone.people import People
from tests.unit.clock import Clock
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.garden import Scene
from tests.unit.features.conference.hall import ADDRESS, Hall, jid
from tests.unit.features.conference.invitations.test_invitees import CAROL, SETTINGS

ALICE = jid("101@phone.example.org")


class FakeInviting:
    def __init__(self) -> None:
        self.invited: list = []
        self.called: list = []
        self.answer = Answer(How.SENT, "Somebody")

    def invite(self, room, invitation, tell):
        self.invited.append(invitation)
        tell(self.answer)

    def call(self, room, invitation, phone, tell):
        self.called.append((invitation, phone))
        tell(self.answer)


class Stage(Hall):
    """The balcony with Alice on a phone."""

    def __init__(self, affiliations=None, *, domain: str = "phone.example.org", **config: Any) -> None:
        super().__init__(affiliations, **config)
        self.inviting = FakeInviting()
        self.clock = Clock()
        self.whispered: list[str] = []
        self.words = PhoneWords(
            self.inviting,  # type: ignore[arg-type]
            Invitees(SETTINGS, People(SETTINGS)),
            domain,
            self._whisper,
            self.clock,
        )
        self.phone_joins(phone())

    def _whisper(self, number: str, channel: str, text: str) -> None:
        assert (number, channel) == ("6000", "PJSIP/101-00000001")
        self.whispered.append(text)

    def hear(self, text: str, display: str = "Alice A") -> bool:
        return self.words.said(self.room, display, text)


@pytest.fixture
def stage():
    return Stage({"paris@example.org": Affiliation.OUTCAST, "carol@phone.example.org": Affiliation.NONE})


@pytest.mark.parametrize(
    ("text", "whom", "reason"),
    [
        ("/invite juliet@example.org", "juliet@example.org", ""),
        ("/invite juliet@example.org come over", "juliet@example.org", "come over"),
        ("/invite juliet@example.org come\x07 over\x00", "juliet@example.org", "come over"),
        (" /INVITE  Juliet@example.org/pc   come over ", "juliet@example.org", "come over"),
        (f"/invite juliet@example.org {'r' * (MAX_REASON + 1)}", "juliet@example.org", "r" * MAX_REASON),
    ],
)
def test_somebody_in_chat_is_invited(stage, text, whom, reason):
    assert stage.hear(text)
    assert stage.inviting.invited == [Invitation(ALICE, jid(whom), reason, "Alice A")]
    assert stage.whispered == ["Invited Somebody."]


def test_a_phone_asks_what_it_can_ask(stage):
    assert stage.hear("/help")
    assert stage.whispered == [
        "Say “/who” to hear who is in, “/invite 103” or “/invite juliet@example.org come over” to bring somebody in."
    ]


@pytest.mark.parametrize("whom", ["103", "carol", "103@phone.example.org", "carol@PHONE.example.org"])
def test_a_phone_is_invited(stage, whom):
    assert stage.hear(f"/invite {whom} come over")
    assert stage.inviting.called == [(Invitation(ALICE, jid("carol@phone.example.org"), "come over", "Alice A"), CAROL)]


def test_phones_without_addresses_are_invited_by_number():
    stage = Stage(domain="")
    assert stage.hear("/invite 103")
    [(_invitation, called)] = stage.inviting.called
    assert called == CAROL
    assert stage.hear("/invite 103@phone.example.org")
    assert stage.inviting.invited[0].invitee == jid("103@phone.example.org"), "an address as any other"


def test_a_phone_without_an_address_invites_as_an_occupant(stage):
    stage.phone_joins(phone("Nameless", "", channel="PJSIP/7-1"))
    stage.words._whisper = lambda _number, channel, text: stage.whispered.append(f"{channel}: {text}")
    assert stage.hear("/invite 103", "Nameless")
    assert stage.inviting.called[0][0].inviter == jid(f"{ADDRESS}/Nameless")
    assert stage.whispered == ["PJSIP/7-1: Invited Somebody."]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/invite", "Say for example “/invite 103”"),
        ("/invite zoe", "zoe was not invited: Nobody with a phone is called “zoe”."),
        ("/invite 0800555", "0800555 was not invited: Nobody with a phone is called “0800555”."),
        ("/invite 0800555@phone.example.org", "You may not call 0800555."),
        ("/invite a@b@c", "a@b@c was not invited:"),
        ("/invite paris@example.org", "paris@example.org is banned from this room."),
    ],
)
def test_who_is_not_invited(stage, text, says):
    assert stage.hear(text)
    assert (stage.inviting.invited, stage.inviting.called) == ([], [])
    [answer] = stage.whispered
    assert says in answer


def test_a_banned_phone_is_not_invited():
    stage = Stage({"carol@phone.example.org": Affiliation.OUTCAST})
    stage.hear("/invite 103")
    assert stage.whispered == ["103 was not invited: Carol C is banned from this room."]


def test_phones_make_no_members():
    stage = Stage({"nurse@example.org": Affiliation.MEMBER}, members_only=True)
    stage.hear("/invite juliet@example.org")
    stage.hear("/invite nurse@example.org")
    stage.hear("/invite 103")
    assert stage.whispered[0] == "juliet@example.org was not invited: Only moderators may invite to this room."
    assert [str(invitation.invitee) for invitation in stage.inviting.invited] == ["nurse@example.org"]
    assert len(stage.inviting.called) == 1
    assert jid("juliet@example.org") not in stage.room.affiliations


def test_what_becomes_of_it_is_whispered(stage):
    stage.inviting.answer = Answer.failed("Carol C", Refused("The phone of Carol C rings already.", "conflict"))
    stage.hear("/invite 103")
    assert stage.whispered == ["Carol C was not invited: The phone of Carol C rings already."]


def test_who_is_in(stage):
    stage.hear("/who")
    for name in ("Romeo", "juliet"):
        stage.join(f"{name}@example.org/x", name)
    stage.phone_joins(phone("Bob B", "102"))
    stage.hear("/WHO ?")
    assert stage.whispered == [
        "Balcony: nobody in chat; on the phone Alice A.",
        "Balcony: in chat juliet, Romeo; on the phone Alice A, Bob B.",
    ]


@pytest.mark.parametrize("count", [MAX_LISTED, MAX_LISTED + 1])
def test_a_long_list_is_cut(stage, count):
    for number in range(count):
        stage.join(f"p{number}@example.org/x", f"p{number:02}")
    stage.hear("/who")
    assert f"p{MAX_LISTED - 1}" in stage.whispered[0]
    assert ("and 1 more" in stage.whispered[0]) is (count > MAX_LISTED)


@pytest.mark.parametrize("text", ["hello", "invite 103", "/invites 103", "/whoever", "//who", "/ who", "see /who", ""])
def test_other_texts_are_the_rooms(stage, text):
    assert not stage.hear(text)
    assert stage.whispered == []


def test_nobody_knows_who_asks(stage):
    assert not stage.hear("/who", "Mallory")
    stage.phone_joins(phone("Alice A", "555", channel="PJSIP/555-1"))
    assert not stage.hear("/who"), "two of one name"
    assert stage.whispered == []


def test_so_many_words_of_one_phone_are_answered(stage):
    for _ in range(MAX_WORDS):
        assert stage.hear("/who")
    assert len(stage.whispered) == MAX_WORDS
    assert stage.hear("/who"), "it is no text for the others, either"
    assert len(stage.whispered) == MAX_WORDS
    stage.clock.now += PERIOD
    stage.hear("/who")
    assert len(stage.whispered) == MAX_WORDS + 1


class TestInARoomOfAnotherService:
    """Whom phones may invite there is that room's to say."""

    @pytest.fixture
    def scene(self):
        scene = Scene()
        scene.began()
        scene.join()
        return scene

    @pytest.fixture
    def garden(self, stage, scene):
        """What comes of the words is kept there."""
        stage.words._whisper = lambda _number, _channel, text: stage.whispered.append(text)
        stage.room = scene.room
        return stage

    def hear(self, stage: Stage, text: str, display: str = "Alice A", sender: str | None = None) -> bool:
        return stage.words.said(stage.room, display, text, sender)

    def test_somebody_in_chat_is_invited_with_the_address_of_the_occupant(self, garden):
        assert self.hear(garden, "/invite juliet@example.org come over")
        [invitation] = garden.inviting.invited
        assert str(invitation.inviter) == "101@phone.example.org/1795245046.101"
        assert (str(invitation.invitee), invitation.reason) == ("juliet@example.org", "come over")

    def test_a_phone_is_called(self, garden):
        assert self.hear(garden, "/invite carol")
        [(invitation, called)] = garden.inviting.called
        assert (str(invitation.inviter.bare), called) == ("101@phone.example.org", CAROL)

    def test_who_is_in(self, garden, scene):
        scene.enter("Romeo")
        scene.room.phone_joined(phone("Bob B", "102"))
        self.hear(garden, "/who")
        assert garden.whispered == ["Garden: in chat Romeo; on the phone Alice A, Bob B."]

    def test_nobody_knows_who_asks(self, garden):
        assert not self.hear(garden, "/who", "Mallory")
        assert not self.hear(garden, "/who", sender="")
        assert self.hear(garden, "/who", "Mallory", "PJSIP/101-00000001")
        assert len(garden.whispered) == 1
