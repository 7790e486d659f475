"""Invitations of who is not in the room: which room is meant, who comes, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.ami.conferences import Conferences
from agi_xmpp.errors import Refused, UsageError
from agi_xmpp.features.conference.elsewhere.bridges import Bridges
from agi_xmpp.features.conference.elsewhere.puppets import Bridge
from agi_xmpp.features.conference.invitations import convener as module
from agi_xmpp.features.conference.invitations.answers import Answer, How
from agi_xmpp.features.conference.invitations.convener import MAX_INVITED, Convener
from agi_xmpp.features.conference.invitations.invitees import Invitees
from agi_xmpp.features.conference.model import Affiliation
from agi_xmpp.features.phone.people import People
from tests.unit.features.conference.garden import GARDEN, Scene
from tests.unit.features.conference.hall import jid
from tests.unit.features.conference.house import DOMAIN, JULIET, ROMEO, House
from tests.unit.features.conference.invitations.test_invitees import SETTINGS

CAROL = "carol@example.org/desk"
ROOMS = {
    "balcony": {"number": "6000", "title": "Balcony"},
    "tomb": {"number": "6900", "members_only": True, "owners": ["romeo@example.org"]},
    "crypt": {"number": "6901", "password": "poison"},
    "garden": {"number": "6100", "muc": "garden@rooms.example.org"},
}


class FakeInviting:
    """Takes invitations down; each is answered as the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.tells: list = []
        self.answer = Answer(How.SENT, "Somebody")

    def invite(self, room, invitation, tell):
        self.asked.append((room.number, str(invitation.inviter or ""), str(invitation.invitee)))
        self._answer(tell, Answer(self.answer.how, str(invitation.invitee), self.answer.reason))

    def call(self, room, invitation, phone, tell):
        self.asked.append((room.number, str(invitation.inviter or ""), phone.number))
        self._answer(tell, Answer(self.answer.how, phone.name, self.answer.reason))

    def _answer(self, tell, answer):
        self.tells.append(tell)
        tell(answer)


class Stage(House):
    def __init__(self, **settings) -> None:
        super().__init__(**({"rooms": ["_61XX", "_6XXX", "_[a-z]."], "room": ROOMS} | settings))
        self.conferences = Conferences()
        self.inviting = FakeInviting()
        self.said: list[str] = []
        self.garden = Scene()
        self.bridges = Bridges(lambda _bridge: self.garden.room, self.garden.send)
        self.bridges.apply([Bridge("6100", GARDEN, "Garden")])
        self.convener = Convener(
            self.service,
            self.bridges,
            self.conferences,
            self.inviting,  # type: ignore[arg-type]
            Invitees(SETTINGS, People(SETTINGS)),
            domain=DOMAIN,
            phones_domain="phone.example.org",
            choose=lambda choices: choices[-1],
        )

    def dial(self, number: str, channel: str = "PJSIP/102-1", uniqueid: str = "17.2") -> None:
        """Let a phone be in a conference."""
        self.conferences.event(
            {
                "Event": "ConfbridgeJoin",
                "Conference": number,
                "Channel": channel,
                "Uniqueid": uniqueid,
                "CallerIDNum": "102",
                "CallerIDName": "Bob B",
                "Muted": "No",
                "Admin": "No",
            }
        )
        for participant in self.conferences.take_questions():
            self.conferences.answer(participant, False)

    def convene(self, wanted: str, asker: str = CAROL) -> str:
        return self.convener.convene(jid(asker), wanted, self.said.append)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.convener.stop()


class TestPlaces:
    @pytest.mark.parametrize(
        ("named", "room"),
        [
            ("6000", f"balcony@{DOMAIN}"),
            ("balcony", f"balcony@{DOMAIN}"),
            ("6234", f"6234@{DOMAIN}"),
            ("6100", "garden@rooms.example.org"),
            (f"6234@{DOMAIN}/x", f"6234@{DOMAIN}"),
            ("team@rooms.example.net", "team@rooms.example.net"),
        ],
    )
    def test_what_a_dialplan_names(self, stage, named, room):
        assert str(stage.convener.place(named, "17.1")) == room
        assert stage.convener.invites(jid(room), jid("juliet@example.org")) is (DOMAIN in room)
        phones_too = DOMAIN in room or jid(room) == GARDEN
        assert stage.convener.invites(jid(room), jid("103@phone.example.org")) is phones_too

    @pytest.mark.parametrize("named", ["5000", "a@b@c", "60 00"])
    def test_what_is_no_room(self, stage, named):
        with pytest.raises(UsageError):
            stage.convener.place(named, "17.1")

    def test_the_callers_own_conference(self, stage):
        with pytest.raises(UsageError, match="the caller is in no conference"):
            stage.convener.place("", "17.2")
        stage.dial("6234")
        assert str(stage.convener.place("", "17.2")) == f"6234@{DOMAIN}"
        with pytest.raises(UsageError):
            stage.convener.place("", "17.1")

    def test_phones(self, stage):
        assert stage.convener.is_phone(jid("103@phone.example.org"))
        assert not stage.convener.is_phone(jid("103@example.org"))


class TestForTheDialplan:
    async def test_an_invitation_into_a_room_that_is_opened_for_it(self, stage):
        answer = await stage.convener.invite(jid(f"6234@{DOMAIN}"), jid("juliet@example.org"), "come")
        assert answer.how is How.SENT
        assert stage.inviting.asked == [("6234", "", "juliet@example.org")]
        assert "6234" in stage.names

    async def test_a_room_that_nobody_enters_is_closed(self, stage, monkeypatch):
        monkeypatch.setattr(module, "OPEN_TIME", 0.0)
        await stage.convener.invite(jid(f"6234@{DOMAIN}"), jid("juliet@example.org"))
        await stage.convener.invite(jid(f"6234@{DOMAIN}"), jid("nurse@example.org"))
        closed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, closed.set_result, None)
        await closed
        assert "6234" not in stage.names
        assert "balcony" in stage.names

    async def test_the_wait_ends_with_the_answer(self, stage):
        task = asyncio.create_task(stage.convener.invite(jid(f"balcony@{DOMAIN}"), jid("juliet@example.org"), wait=30))
        while not stage.inviting.tells:
            await asyncio.sleep(0)
        assert not task.done()
        stage.inviting.tells[0](Answer(How.DECLINED, "juliet", "no time"))
        assert await task == Answer(How.DECLINED, "juliet", "no time")

    async def test_nobody_answers_in_time(self, stage):
        answer = await stage.convener.invite(jid(f"balcony@{DOMAIN}"), jid("juliet@example.org"), wait=0.001)
        assert answer.how is How.SENT

    @pytest.mark.parametrize("how", [How.JOINED, How.FAILED])
    async def test_an_answer_that_is_there_is_not_waited_for(self, stage, how):
        stage.inviting.answer = Answer(how, "x")
        assert (await stage.convener.invite(jid(f"balcony@{DOMAIN}"), jid("a@example.org"), wait=30)).how is how

    async def test_members_are_made(self, stage):
        await stage.convener.invite(jid(f"tomb@{DOMAIN}"), jid("juliet@example.org"))
        assert stage.room("tomb").affiliation_of(jid(JULIET)).value == "member"

    async def test_a_phone_into_a_room_of_another_service(self, stage):
        answer = await stage.convener.invite(GARDEN, jid("103@phone.example.org"))
        assert answer.how is How.SENT
        assert stage.inviting.asked == [("6001", "", "103@phone.example.org")]

    async def test_no_such_room(self, stage):
        with pytest.raises(UsageError, match="no such room"):
            await stage.convener.invite(jid(f"5000@{DOMAIN}"), jid("juliet@example.org"))


class TestFromChat:
    async def test_a_free_conference(self, stage):
        text = stage.convene("carol, d\\27artagnan@example.org, juliet@example.org")
        number = "6999"
        assert stage.inviting.asked == [
            (number, "", "carol@example.org"),
            (number, CAROL, "103"),
            (number, CAROL, "44"),
            (number, CAROL, "juliet@example.org"),
        ]
        assert text.splitlines()[0] == f"Conference {number} is the room {number}@{DOMAIN}."
        assert text.splitlines()[1] == "Invited: Carol C, d'artagnan, juliet@example.org."
        assert stage.room(number).affiliation_of(jid(CAROL)).value == "owner"

    async def test_a_number_that_is_in_use_is_not_taken(self, stage):
        first = stage.convene("").split(" ")[1]
        assert first == "6999"
        # Open already, a phone is in, a room, one of another service, and free.
        stage.convener._choose = Choices("6999", "6998", "6900", "6100", "6997")
        stage.dial("6998")
        assert stage.convene("").split(" ")[1] == "6997"

    @pytest.mark.parametrize("wanted", ["6000 44", "balcony 44", f"balcony@{DOMAIN} 44", "6000  44"])
    async def test_a_certain_conference(self, stage, wanted):
        text = stage.convene(wanted)
        assert text.startswith(f"Conference 6000 is the room balcony@{DOMAIN}.")
        assert [whom for _, _, whom in stage.inviting.asked] == ["carol@example.org", "103", "44"]

    async def test_a_certain_conference_with_names_that_have_blanks(self, stage):
        stage.convene("6234 Carol C, d'artagnan")
        assert [whom for _, _, whom in stage.inviting.asked] == ["carol@example.org", "103", "44"]

    async def test_a_person_comes_before_a_room_that_could_be_opened(self, stage):
        assert stage.convene("carol").startswith("Conference 6999 ")
        assert "carol" not in stage.names

    async def test_what_comes_of_it_is_told_at_once_and_later(self, stage):
        stage.inviting.answer = Answer(How.FAILED, "", "It rings already.")
        text = stage.convene("6000 44")
        assert text.splitlines()[1:] == [
            "Carol C was not invited: It rings already.",
            "d'artagnan was not invited: It rings already.",
        ]
        for answer in (Answer(How.JOINED, "Carol C"), Answer(How.DECLINED, "Carol C", "User busy (SIP 486)")):
            stage.inviting.tells[1](answer)
        assert stage.said == ["Carol C does not come: User busy (SIP 486)."]

    async def test_who_has_no_phone_is_invited_in_chat_alone(self, stage):
        stage.convene("", JULIET)
        assert [whom for _, _, whom in stage.inviting.asked] == ["juliet@example.org"]

    async def test_somebody_banned_does_not_keep_the_others_out(self, stage):
        stage.room("balcony").set_affiliation(jid("paris@example.org"), Affiliation.OUTCAST, None)
        text = stage.convene("6000 paris@example.org")
        assert "paris@example.org was not invited: paris@example.org is banned from this room." in text
        assert "paris@example.org" not in [whom for _, _, whom in stage.inviting.asked]

    @pytest.mark.parametrize(
        ("wanted", "asker", "says"),
        [
            ("zoe", CAROL, "Nobody with a phone is called “zoe”"),
            ("6000 zoe", CAROL, "Nobody with a phone is called “zoe”"),
            ("5000 44", CAROL, "Nobody with a phone is called “5000”"),
            ("6000 0301234@phone.example.org", CAROL, "You may not call 0301234."),
            ("6000 a@b@c", CAROL, "a@b@c"),
            ("6000 44", "paris@example.net/x", "not for users of your domain"),
            ("tomb 44", CAROL, f"You may not invite to tomb@{DOMAIN}."),
            ("crypt 44", CAROL, f"You may not invite to crypt@{DOMAIN}."),
            ("6100 44", "paris@example.net/x", "not for users of your domain"),
            (" ".join(["44"] * (MAX_INVITED + 1)), CAROL, f"At most {MAX_INVITED}"),
        ],
    )
    async def test_what_is_not_done(self, stage, wanted, asker, says):
        before = stage.names
        with pytest.raises(Refused) as caught:
            stage.convene(wanted, asker)
        assert says in str(caught.value)
        assert stage.inviting.asked == []
        assert stage.names == before

    @pytest.mark.parametrize("named", ["6100", "garden", str(GARDEN)])
    async def test_a_conference_whose_room_is_on_another_service(self, stage, named):
        text = stage.convene(f"{named} 44")
        assert text.startswith(f"Conference 6001 is the room {GARDEN}.")
        assert stage.inviting.asked == [("6001", CAROL, "103"), ("6001", CAROL, "44")]
        assert stage.convener._closing == {}, "it is not ours to close"

    @pytest.mark.parametrize(("is_in", "answer"), [(False, "You may not invite to"), (True, "Conference 6001 is")])
    async def test_into_one_with_a_password_who_is_in_invites(self, stage, is_in, answer):
        stage.garden = Scene("roses")
        stage.bridges.apply([])
        stage.bridges.apply([Bridge("6100", GARDEN, "Garden", "roses")])
        stage.garden.muc.shows_addresses = True
        stage.garden.began()
        stage.garden.join()
        if is_in:
            stage.garden.muc.enter(jid(CAROL), "Carol")
            stage.garden.deliver()
        try:
            text = stage.convene("6100 44")
        except Refused as problem:
            text = str(problem)
        assert text.startswith(answer)
        assert bool(stage.inviting.asked) is is_in

    async def test_an_address_that_is_no_room_is_somebodys(self, stage):
        assert stage.convene("juliet@example.org").startswith("Conference 6999 ")

    async def test_owners_invite_into_closed_rooms(self, stage):
        stage.convene("tomb 44", ROMEO)
        assert ("6900", ROMEO, "44") in stage.inviting.asked

    async def test_there_is_no_free_number(self):
        stage = Stage(rooms=["_[a-z]."])  # rooms by name alone
        with pytest.raises(Refused, match="no free number"):
            stage.convene("carol")

    async def test_the_most_people(self, stage):
        stage.convene(" ".join(["44"] * MAX_INVITED))
        assert [whom for _, _, whom in stage.inviting.asked] == ["carol@example.org", "103", "44"]


class Choices:
    """Chooses digits so that certain numbers come of the pattern ``_6XXX``, one after the other."""

    def __init__(self, *numbers: str) -> None:
        self.digits = iter("".join(numbers))

    def __call__(self, choices):
        return "_6XXX" if "_6XXX" in choices else next(self.digits)
