"""Invitations on their way: who is called, who is written to, and who is told what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agi_xmpp.ami.invitations import Joined, NoAnswer, Outcome, Place, Unreachable
from agi_xmpp.ami.invitations import Refused as RefusedByPhone
from agi_xmpp.errors import AmiForbidden, AmiNotConnected, AmiUnknown, Refused
from agi_xmpp.features.conference.invitations import inviting as module
from agi_xmpp.features.conference.invitations.answers import Answer, How
from agi_xmpp.features.conference.invitations.invitees import Invitees
from agi_xmpp.features.conference.invitations.inviting import MAX_INVITATIONS, OPEN_TIME, PERIOD, Inviting
from agi_xmpp.features.conference.model import Invitation
from agi_xmpp.features.phone.people import People
from tests.unit.clock import Clock
from tests.unit.features.conference.fakes import phone, stanza
from tests.unit.features.conference.garden import GARDEN, Scene, address_of
from tests.unit.features.conference.hall import ADDRESS, Hall, jid, the
from tests.unit.features.conference.invitations.test_invitees import SETTINGS

ROMEO, JULIET = "romeo@example.org/orchard", "juliet@example.org/balcony"
CAROL = jid("carol@phone.example.org")


class Phones:
    """Asterisk's phones: each call waits until the test says what becomes of it."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[str, asyncio.Future[Outcome]]] = asyncio.Queue()
        self.given: list[tuple[str, Place, str, float]] = []

    async def invite(self, destination: str, place: Place, *, referred_by: str = "", ring_time: float = 30.0):
        self.given.append((destination, place, referred_by, ring_time))
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.calls.put_nowait((destination, outcome))
        return await outcome

    async def becomes(self, outcome: Outcome | Exception) -> str:
        """Let the next call end like that; return whom it called."""
        destination, future = await self.calls.get()
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        return destination


class Stage(Hall):
    """The balcony with Romeo in it, and phones that can be invited."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.clock = Clock()
        self.phones = Phones()
        self.participants: list[object] = []
        self.allowed = True
        self.inviting = Inviting(
            self.outside,
            self.phones,  # type: ignore[arg-type]
            Invitees(SETTINGS, People(SETTINGS)),
            phones_domain="phone.example.org",
            context="conference-invited",
            ring_time=25.0,
            participants=lambda _number: self.participants,  # type: ignore[arg-type,return-value]
            allows=lambda _jid, _room: self.allowed,
            clock=self.clock,
        )
        self.join(ROMEO, "Romeo")
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()

    def invite(self, whom: str, inviter: str | None = ROMEO, reason: str = "") -> None:
        invitation = Invitation(jid(inviter) if inviter else None, jid(whom), reason)
        self.inviting.invite(self.room, invitation, self.answers.put_nowait)

    def take(self) -> list[tuple[How, str, str]]:
        """Return the answers until now."""
        found = []
        while not self.answers.empty():
            answer = self.answers.get_nowait()
            found.append((answer.how, answer.whom, answer.reason or answer.condition))
        return found

    def message_to_room(self, sender: str, inside: str = "", *, kind: str = "normal", message_id: str = "m9") -> bool:
        return self.inviting.message_came(
            stanza(f"<message type='{kind}' id='{message_id}' from='{sender}' to='{ADDRESS}'>{inside}</message>")
        )


DECLINE = (
    "<x xmlns='http://jabber.org/protocol/muc#user'><decline to='balcony@conference.example.org'>"
    "<reason>no time</reason></decline></x>"
)
ERROR = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.inviting.stop()


class TestPhones:
    async def test_a_phone_is_called_into_the_conference(self, stage):
        stage.invite(str(CAROL))
        assert stage.take() == [(How.SENT, "Carol C", "")]
        assert await stage.phones.becomes(Joined("PJSIP/103-1")) == "PJSIP/103"
        assert (await stage.answers.get()).how is How.JOINED
        place = Place("conference-invited", "6000", "Balcony")
        assert stage.phones.given == [("PJSIP/103", place, "xmpp:romeo@example.org", 25.0)]
        assert stage.outside.notes[-1] == (
            "room balcony@conference.example.org: romeo@example.org invites Carol C (103): joined"
        )

    @pytest.mark.parametrize(
        ("outcome", "reason"),
        [
            (RefusedByPhone("User busy (SIP 486)", 17), "User busy (SIP 486)"),
            (NoAnswer(), "No answer"),
        ],
    )
    async def test_why_nobody_comes(self, stage, outcome, reason):
        stage.invite(str(CAROL))
        await stage.phones.becomes(outcome)
        await stage.answers.get()
        assert await stage.answers.get() == Answer(How.DECLINED, "Carol C", reason)

    async def test_the_next_phone_of_somebody_is_called_if_one_is_out_of_reach(self, stage):
        stage.invite(str(CAROL))
        assert await stage.phones.becomes(Unreachable("not registered")) == "PJSIP/103"
        assert await stage.phones.becomes(Unreachable("gone")) == "PJSIP/203"
        await stage.answers.get()
        assert await stage.answers.get() == Answer(How.DECLINED, "Carol C", "Cannot be reached: gone")
        stage.invite(str(CAROL))
        await stage.phones.becomes(RefusedByPhone("User busy", 17))
        await stage.answers.get()
        assert (await stage.answers.get()).reason == "User busy"
        assert stage.phones.calls.empty(), "who is busy is not called on another phone"

    @pytest.mark.parametrize(
        ("error", "condition", "says"),
        [
            (AmiNotConnected("no"), "remote-server-timeout", "out of reach"),
            (AmiUnknown("no"), "remote-server-timeout", "may ring still"),
            (AmiForbidden("secret"), "internal-server-error", "its log says more"),
        ],
    )
    async def test_asterisk_does_not_do_it(self, stage, error, condition, says, caplog):
        stage.invite(str(CAROL))
        await stage.phones.becomes(error)
        await stage.answers.get()
        answer = await stage.answers.get()
        assert (answer.how, answer.condition) == (How.FAILED, condition)
        assert says in answer.reason
        assert "Carol C was not invited" in caplog.text
        stage.invite(str(CAROL))
        assert stage.take()[0][0] is How.SENT, "the place is free again"

    async def test_a_phone_rings_for_one_invitation(self, stage):
        stage.invite(str(CAROL))
        stage.invite("103@phone.example.org", JULIET)
        assert stage.take() == [
            (How.SENT, "Carol C", ""),
            (How.FAILED, "103@phone.example.org", "The phone of Carol C rings for this conference already."),
        ]
        await stage.phones.becomes(NoAnswer())
        await stage.answers.get()
        stage.invite("103@phone.example.org", JULIET)
        assert stage.take() == [(How.SENT, "Carol C", "")]

    async def test_who_is_in_is_not_called(self, stage):
        stage.participants = [phone("Carol", "555", channel="PJSIP/203-00000001")]
        stage.invite(str(CAROL))
        assert stage.take() == [(How.JOINED, "Carol C", "")]
        assert stage.outside.notes[-1].endswith("invites Carol C: is in already")

    async def test_who_withholds_their_number_is_not_found_by_inviting(self, stage):
        withheld = phone("", "103", channel="PJSIP/103-00000001")
        stage.participants = [type(withheld)(withheld.channel, "1", "", "103", "PJSIP/103", withheld=True)]
        stage.invite(str(CAROL))
        assert stage.take() == [(How.SENT, "Carol C", "")]

    @pytest.mark.parametrize(("whom", "condition"), [("zoe", "item-not-found"), ("0301234", "forbidden")])
    async def test_who_must_not_be_called(self, stage, whom, condition):
        stage.invite(f"{whom}@phone.example.org")
        answer = stage.answers.get_nowait()
        assert (answer.how, answer.whom, answer.condition) == (How.FAILED, f"{whom}@phone.example.org", condition)
        assert stage.phones.given == []

    async def test_a_number_is_called_for_who_may_dial_it(self, stage):
        stage.invite("0800555@phone.example.org", "carol@example.org/x")
        assert await stage.phones.becomes(NoAnswer()) == "Local/0800555@internal/n"

    async def test_the_conference_is_not_called_into_itself(self, stage, monkeypatch):
        stage.room._state.number = "0800"
        stage.invite("0800@phone.example.org", None)
        answer = stage.answers.get_nowait()
        assert (answer.how, answer.condition) == (How.FAILED, "forbidden")  # "_0800." wants one digit more
        stage.room._state.number = "0800555"
        stage.invite("0800555@phone.example.org", None)
        assert stage.answers.get_nowait().reason == "That is this conference itself."

    async def test_so_many_phones_ring_for_one_person_and_for_all(self, stage, monkeypatch):
        monkeypatch.setattr(module, "MAX_RINGING", 2)
        monkeypatch.setattr(module, "MAX_RINGING_OF_ALL", 3)
        for number in ("08001", "08002", "08003"):
            stage.invite(f"{number}@phone.example.org", "carol@example.org/x")
        assert [how for how, _, _ in stage.take()] == [How.SENT, How.SENT, How.FAILED]
        for number in ("08004", "08005"):
            stage.invite(f"{number}@phone.example.org", None)
        assert [how for how, _, _ in stage.take()] == [How.SENT, How.FAILED]
        await stage.phones.becomes(NoAnswer())
        await stage.answers.get()
        stage.invite("08003@phone.example.org", None)
        assert stage.take()[0][0] is How.SENT

    async def test_one_person_invites_so_often_in_a_minute(self, stage):
        for number in range(MAX_INVITATIONS):
            stage.invite(f"p{number}@example.org")
        assert {how for how, _, _ in stage.take()} == {How.SENT}
        stage.invite("more@example.org", "romeo@example.org/elsewhere")
        stage.invite(str(CAROL))
        assert [reason for _, _, reason in stage.take()] == ["Those were too many invitations: wait a minute."] * 2
        stage.invite("more@example.org", JULIET)
        stage.invite("more@example.org", None)
        assert [how for how, _, _ in stage.take()] == [How.SENT, How.SENT]
        stage.clock.now += PERIOD
        stage.invite("more@example.org")
        assert stage.take()[0][0] is How.SENT


class TestChat:
    async def test_somebody_gets_a_message_from_the_room(self):
        stage = Stage(password="poison")
        stage.outside.take()
        stage.invite("juliet@example.org", reason="come over")
        (message,) = stage.outside.take()
        assert (message.get("from"), message.get("to")) == (str(ADDRESS), "juliet@example.org")
        assert the(message, ".//{jabber:x:conference}x").attrib == {
            "jid": str(ADDRESS),
            "reason": "come over",
            "password": "poison",
        }
        assert stage.take() == [(How.SENT, "juliet@example.org", "")]
        assert "poison" not in "".join(stage.outside.notes)

    async def test_who_is_in_gets_nothing(self, stage):
        stage.outside.take()
        stage.invite("romeo@example.org", JULIET)
        assert stage.outside.take() == []
        assert stage.take() == [(How.JOINED, "romeo@example.org", "")]

    async def test_who_could_not_come_in_is_not_written_to(self, stage):
        stage.allowed = False
        stage.outside.take()
        stage.invite("paris@example.net")
        assert stage.outside.take() == []
        answer = stage.answers.get_nowait()
        assert (answer.how, answer.condition) == (How.FAILED, "forbidden")

    async def test_who_comes_is_told_of(self, stage):
        stage.invite("juliet@example.org")
        stage.invite("nurse@example.org")
        stage.take()
        stage.join(JULIET, "Juliet")
        stage.inviting.occupancy_changed(stage.room)
        stage.inviting.occupancy_changed(stage.room)
        assert stage.take() == [(How.JOINED, "juliet@example.org", "")]

    async def test_a_refusal_is_told_to_who_is_not_in_the_room(self, stage):
        stage.invite("juliet@example.org", None)
        stage.take()
        assert not stage.message_to_room(JULIET, DECLINE), "the room sees it, too"
        assert stage.take() == [(How.DECLINED, "juliet@example.org", "no time")]
        stage.message_to_room(JULIET, DECLINE)
        assert stage.take() == []

    async def test_a_refusal_to_an_occupant_is_told_by_the_room_alone(self, stage):
        stage.invite("juliet@example.org")
        stage.take()
        assert not stage.message_to_room(JULIET, DECLINE)
        assert stage.take() == []

    async def test_nobody_declines_for_others(self, stage):
        stage.invite("juliet@example.org", None)
        stage.take()
        stage.message_to_room("paris@example.org/x", DECLINE)
        assert stage.take() == []

    async def test_an_invitation_that_comes_back(self, stage):
        stage.outside.take()
        stage.invite("juliet@example.org")
        (message,) = stage.outside.take()
        stage.take()
        assert not stage.message_to_room("juliet@example.org", ERROR, kind="error", message_id="another")
        assert not stage.message_to_room("paris@example.org", ERROR, kind="error", message_id=message.get("id"))
        assert stage.take() == []
        assert stage.message_to_room("juliet@example.org", ERROR, kind="error", message_id=message.get("id"))
        answer = stage.answers.get_nowait()
        assert (answer.how, answer.condition) == (How.FAILED, "item-not-found")
        assert answer.reason == "juliet@example.org cannot be reached (item-not-found)."

    @pytest.mark.parametrize("attribute", ["from", "to"])
    async def test_addresses_that_are_none_are_not_ours_to_judge(self, stage, attribute):
        stage.invite("juliet@example.org")
        message = stanza(f"<message from='{JULIET}' to='{ADDRESS}'>{DECLINE}</message>")
        message.set(attribute, "no@such@address")
        assert not stage.inviting.message_came(message)

    async def test_what_is_said_to_all_is_no_answer(self, stage):
        stage.invite("juliet@example.org", None)
        stage.take()
        assert not stage.message_to_room(JULIET, DECLINE, kind="groupchat")
        assert stage.take() == []

    async def test_nobody_is_waited_for_for_ever(self, stage):
        stage.invite("juliet@example.org", None)
        stage.take()
        stage.clock.now += OPEN_TIME
        stage.message_to_room(JULIET, DECLINE)
        assert stage.take() == []

    async def test_without_open_invitations_nothing_is_looked_at(self, stage):
        assert not stage.inviting.message_came(stanza("<message/>"))
        stage.inviting.occupancy_changed(stage.room)


class TestChatElsewhere:
    """In a room of another service: that room is asked to invite."""

    @pytest.fixture
    def garden(self, stage):
        scene = Scene()
        scene.began()
        scene.join()
        return scene

    def invite(self, stage, garden, whom: str) -> None:
        invitation = Invitation(address_of(phone()), jid(whom), "come")
        stage.inviting.invite(garden.room, invitation, stage.answers.put_nowait)
        garden.deliver()

    async def test_the_room_is_asked(self, stage, garden):
        self.invite(stage, garden, "juliet@example.org")
        assert [(whom, reason) for _, whom, reason in garden.muc.invited] == [("juliet@example.org", "come")]
        assert stage.take() == [(How.SENT, "juliet@example.org", "")]
        assert stage.outside.notes[-1].endswith(
            "101@phone.example.org invites juliet@example.org: the room is asked to"
        )

    async def test_who_is_hidden_by_the_room_has_a_nick_in_the_log(self, stage, garden):
        hidden = Invitation(jid(f"{GARDEN}/Romeo"), CAROL)
        stage.inviting.refuse(garden.room, hidden, "Carol C", Refused("No.", "forbidden"), stage.answers.put_nowait)
        assert stage.outside.notes[-1] == f"room {GARDEN}: {GARDEN}/Romeo invites Carol C: refused: No."

    async def test_what_it_refuses_is_told(self, stage, garden):
        garden.muc.refuses_invitations = "forbidden"
        self.invite(stage, garden, "juliet@example.org")
        assert [how for how, _, _ in stage.take()] == [How.SENT, How.FAILED]

    async def test_who_is_not_in_is_refused(self, stage, garden):
        garden.ended()
        self.invite(stage, garden, "juliet@example.org")
        assert stage.take() == [(How.FAILED, "juliet@example.org", "You are not in the chat.")]

    async def test_one_phone_invites_so_often_in_a_minute(self, stage, garden):
        for number in range(MAX_INVITATIONS + 1):
            self.invite(stage, garden, f"p{number}@example.org")
        assert len(garden.muc.invited) == MAX_INVITATIONS
        assert stage.take()[-1] == (
            How.FAILED,
            f"p{MAX_INVITATIONS}@example.org",
            "Those were too many invitations: wait a minute.",
        )
