"""jabber_invite: which room is meant, what is asked of it, and what the dialplan is told."""

from __future__ import annotations

import asyncio

import pytest

from agi_xmpp.errors import NotConnected, Refused, UsageError
from agi_xmpp.features.conference.invitations.answers import Answer, How
from agi_xmpp.features.invite import MAX_WAIT
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Extras, Jid, RoomInvitation
from tests.unit.features.fakes import FakeChannel, FakeSession, dispatcher

JULIET = "juliet@x.org"


class Convener:
    """The conferences of ``conference.x.org``; gives the answer that it was told to."""

    def __init__(self, answer: Answer | Exception | None = None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, str, float]] = []
        self.waiting = asyncio.Event()

    def place(self, named: str, uniqueid: str) -> Jid:
        if not named:
            assert uniqueid == "1700000000.42"
            return parse("6001@conference.x.org")
        if named == "9":
            raise UsageError("room=9: conference 9 is no room")
        return parse(named if "@" in named else f"{named}@conference.x.org")

    def invites(self, room: Jid, invitee: Jid) -> bool:
        return room.domain == "conference.x.org" or (self.is_phone(invitee) and str(room) == "garden@rooms.x.org")

    def is_phone(self, invitee: Jid) -> bool:
        return invitee.domain == "phone.x.org"

    async def invite(self, address: Jid, invitee: Jid, reason: str = "", wait: float = 0.0) -> Answer:
        self.asked.append((str(address), str(invitee), reason, wait))
        if self.answer is None:
            self.waiting.set()
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


def serve(channel: FakeChannel, convener: Convener | None, session: FakeSession):
    serving = dispatcher(session)
    serving.convener = convener  # type: ignore[assignment]
    return serving(channel)  # type: ignore[arg-type]


async def invite(*args: str, convener: Convener | None = None, session: FakeSession | None = None, **query: str):
    channel = FakeChannel("jabber_invite", ("pbx", *args), query)
    await serve(channel, convener, session or FakeSession())
    return channel.variables


SENT = Answer(How.SENT, JULIET)


async def test_an_invitation_into_a_room_of_ours():
    convener, session = Convener(SENT), FakeSession()
    variables = await invite(f"{JULIET}/pc", "come over, now", convener=convener, session=session, room="6000")
    assert variables == {"JABBER_INVITE_STATUS": "SENT", "JABBER_INVITE_REASON": "", "JABBER_ERROR": ""}
    assert convener.asked == [("6000@conference.x.org", JULIET, "come over, now", 0.0)]
    assert session.calls == []


async def test_without_a_room_it_is_the_one_that_the_caller_is_in():
    convener = Convener(SENT)
    await invite(JULIET, convener=convener)
    assert convener.asked == [("6001@conference.x.org", JULIET, "", 0.0)]


async def test_a_phone_into_a_conference_whose_room_is_on_another_service():
    convener, session = Convener(SENT), FakeSession()
    await invite("103@phone.x.org", convener=convener, session=session, room="garden@rooms.x.org")
    assert convener.asked == [("garden@rooms.x.org", "103@phone.x.org", "", 0.0)]
    assert session.calls == []


async def test_a_reason_that_is_encoded():
    convener = Convener(SENT)
    await invite(JULIET, "come%2C%20now", convener=convener, enc="uri")
    assert convener.asked[0][2] == "come, now"


@pytest.mark.parametrize("reason", ["come, over", ""])
async def test_a_reason_in_a_variable(reason):
    convener = Convener(SENT)
    channel = FakeChannel("jabber_invite", ("pbx", JULIET), {"var": "reason"})
    channel.variables["reason"] = reason
    await serve(channel, convener, FakeSession())
    assert convener.asked[0][2] == reason


@pytest.mark.parametrize(
    ("args", "says"),
    [((), "got 1 arguments"), ((JULIET, "come"), "not both"), ((JULIET,), "no variable of that name")],
)
async def test_mistakes_with_a_variable(args, says):
    channel = FakeChannel("jabber_invite", ("pbx", *args), {"var": "reason"})
    if len(args) > 1:
        channel.variables["reason"] = "come"
    await serve(channel, Convener(SENT), FakeSession())
    assert channel.variables["JABBER_INVITE_STATUS"] == "ERROR"
    assert says in channel.variables["JABBER_ERROR"]


@pytest.mark.parametrize(
    ("answer", "status", "reason", "error"),
    [
        (Answer(How.JOINED, "Carol C"), "JOINED", "", ""),
        (Answer(How.DECLINED, "Carol C", "User busy (SIP 486)"), "DECLINED", "User busy (SIP 486)", ""),
        (SENT, "TIMEOUT", "", ""),
        (Answer(How.FAILED, JULIET, "Unknown.", "item-not-found"), "FAILED", "Unknown.", "Unknown."),
        (Refused("juliet is banned.", "forbidden"), "FAILED", "juliet is banned.", "juliet is banned."),
    ],
)
async def test_what_comes_of_it(answer, status, reason, error):
    convener = Convener(answer)
    variables = await invite(JULIET, convener=convener, wait="30")
    assert convener.asked[0][3] == 30.0
    assert variables == {
        "JABBER_INVITE_STATUS": status,
        "JABBER_INVITE_REASON": reason,
        "JABBER_ERROR": error,
    }


async def test_the_wait_ends_with_the_call():
    convener = Convener()
    channel = FakeChannel("jabber_invite", ("pbx", JULIET), {"wait": "30"})
    task = asyncio.ensure_future(serve(channel, convener, FakeSession()))
    await convener.waiting.wait()
    channel.hang_up()
    await task
    assert channel.variables["JABBER_INVITE_STATUS"] == "HANGUP"


async def test_without_a_wait_the_end_of_the_call_does_not_matter():
    convener = Convener(SENT)
    channel = FakeChannel("jabber_invite", ("pbx", JULIET))
    channel.hang_up()
    await serve(channel, convener, FakeSession())
    assert channel.variables["JABBER_INVITE_STATUS"] == "SENT"


@pytest.mark.parametrize("convener", [None, Convener(SENT)])
@pytest.mark.parametrize(("reason", "text"), [("come", ": come"), ("", ".")])
async def test_a_room_elsewhere_is_the_accounts_affair(convener, reason, text):
    session = FakeSession()
    given = (JULIET, reason) if reason else (JULIET,)
    variables = await invite(*given, convener=convener, session=session, room="team@rooms.y.org", wait="5")
    assert variables["JABBER_INVITE_STATUS"] == "SENT"
    extras = Extras(expects_answer=False, invitation=RoomInvitation(parse("team@rooms.y.org"), reason))
    assert session.calls == [
        (
            "send_message",
            (JULIET, f"You are invited to team@rooms.y.org{text}"),
            {"extras": extras, "timeout": 5.0},
        )
    ]


async def test_a_room_elsewhere_when_the_account_is_offline():
    session = FakeSession(send_message=NotConnected("account pbx is not connected"))
    variables = await invite(JULIET, session=session, room="team@rooms.y.org")
    assert variables["JABBER_INVITE_STATUS"] == "FAILED"
    assert variables["JABBER_ERROR"] == "account pbx is not connected"


@pytest.mark.parametrize(
    ("args", "query", "says"),
    [
        ((), {"room": "6000"}, "jabber_invite"),
        (("no@such@address",), {"room": "6000"}, "no@such@address"),
        ((JULIET,), {"room": "9"}, "conference 9 is no room"),
        ((JULIET,), {"room": "6000", "wait": f"{MAX_WAIT + 1:g}"}, "at most 3600 seconds"),
        ((JULIET,), {"room": "6000", "wait": "soon"}, "must be a number of seconds"),
        (("103@phone.x.org",), {"room": "team@rooms.y.org"}, "phones come into those only"),
    ],
)
async def test_mistakes(args, query, says):
    variables = await invite(*args, convener=Convener(SENT), **query)
    assert variables["JABBER_INVITE_STATUS"] == "ERROR"
    assert says in variables["JABBER_ERROR"]


@pytest.mark.parametrize("room", ["6000", ""])
async def test_conferences_are_needed_for_their_numbers(room):
    variables = await invite(JULIET, room=room)
    assert variables["JABBER_INVITE_STATUS"] == "ERROR"
    assert "there are no conferences here" in variables["JABBER_ERROR"]


async def test_the_longest_wait_is_allowed():
    assert (await invite(JULIET, convener=Convener(SENT), wait=f"{MAX_WAIT:g}"))["JABBER_INVITE_STATUS"] == "TIMEOUT"
