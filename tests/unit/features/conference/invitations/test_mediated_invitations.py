"""A room of another service asks phones to come: whose word counts, who is called, and who is told."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.elsewhere.bridges import Bridges
from agi_xmpp.features.conference.elsewhere.puppets import Bridge, BridgedRoom
from agi_xmpp.features.conference.invitations.answers import Answer, How, Tell
from agi_xmpp.features.conference.invitations.invitees import Invitees, Phone
from agi_xmpp.features.conference.invitations.mediated_invitations import MediatedInvitations
from agi_xmpp.features.conference.model import Invitation
from agi_xmpp.features.phone.people import People
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp.model import Jid
from tests.unit.features.conference.fakes import FakeOutside, stanza
from tests.unit.features.conference.garden import GARDEN, address_of
from tests.unit.features.conference.hall import condition, jid, the
from tests.unit.features.conference.invitations.test_invitees import CAROL, SETTINGS

ROMEO = "romeo@example.org/orchard"
_USER = "{http://jabber.org/protocol/muc#user}"


class Stage:
    """The garden, which is conference 6100, and who was called into it."""

    def __init__(self) -> None:
        self.sent: list[Element] = []
        self.called: list = []
        self.bridges = Bridges(self._make, self.sent.append)
        self.bridges.apply([Bridge("6100", GARDEN, "Garden")])
        self.mediated = MediatedInvitations(
            self.sent.append,
            self.bridges.room_at,
            lambda who, room: who.domain == "example.org" and room == GARDEN,
            Invitees(SETTINGS, People(SETTINGS)),
            self._call,
            self._refuse,
        )

    def _make(self, bridge: Bridge) -> BridgedRoom:
        return BridgedRoom(
            bridge, FakeOutside(), self.sent.append, address_of, lambda: Pace(300, lambda: 0.0), lambda: 0.0
        )

    def _call(self, room: BridgedRoom, invitation: Invitation, phone: Phone, tell: Tell) -> None:
        self.called.append((room.number, invitation, phone))
        self.tell = tell

    def _refuse(self, room: BridgedRoom, _invitation: Invitation, whom: str, problem: Refused, tell: Tell) -> None:
        assert room.number == "6100"
        tell(Answer.failed(whom, problem))

    def invite(
        self,
        to: str = "103@phone.example.org",
        *,
        sender: Jid | str = GARDEN,
        inviter: str = ROMEO,
        kind: str = "normal",
    ) -> bool:
        """Let the room write; return whether it was taken for an invitation."""
        inside = f"<invite from='{inviter}'><reason>come over</reason></invite>"
        direct = f"<x xmlns='jabber:x:conference' jid='{GARDEN}'/>"  # Prosody's and ejabberd's rooms add it
        message = f"<x xmlns='http://jabber.org/protocol/muc#user'>{inside}</x>{direct}"
        return self.mediated.stanza_came(
            stanza(f"<message from='{sender}' to='{to}' type='{kind}' id='m1'>{message}</message>")
        )

    def refusal(self) -> tuple[str, str, str, str]:
        """Return the refusal that was sent: from where, to which room, to whom, and why."""
        [message] = self.sent
        decline = the(message, f"{_USER}x/{_USER}decline")
        reason = decline.findtext(f"{_USER}reason") or ""
        return message.get("from", ""), message.get("to", ""), decline.get("to", ""), reason


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("to", ["103@phone.example.org", "carol@phone.example.org", "103@phone.example.org/17.1"])
def test_a_phone_is_called(stage, to):
    assert stage.invite(to)
    assert stage.called == [("6100", Invitation(jid(ROMEO), jid(to).bare, "come over"), CAROL)]
    assert stage.sent == []


def test_a_room_that_hides_who_invites_names_their_nick(stage):
    assert stage.invite(inviter=f"{GARDEN}/Romeo")
    [(_, invitation, phone)] = stage.called
    assert (invitation.inviter, phone) == (jid(f"{GARDEN}/Romeo"), CAROL)
    stage.tell(Answer(How.DECLINED, "Carol C", "User busy"))
    assert stage.refusal()[2] == f"{GARDEN}/Romeo"


@pytest.mark.parametrize(
    "answer", [Answer(How.DECLINED, "Carol C", "User busy"), Answer(How.FAILED, "Carol C", "User busy", "conflict")]
)
def test_who_does_not_come_refuses_by_the_room(stage, answer):
    stage.invite()
    for other in (Answer(How.SENT, "Carol C"), Answer(How.JOINED, "Carol C")):
        stage.tell(other)
    assert stage.sent == []
    stage.tell(answer)
    assert stage.refusal() == ("103@phone.example.org", str(GARDEN), ROMEO, "User busy")


@pytest.mark.parametrize(
    ("to", "inviter", "says"),
    [
        ("zoe@phone.example.org", ROMEO, "Nobody with a phone is called “zoe”."),
        ("103@phone.example.org", "paris@example.net/x", "Phones are not for users of your domain."),
        # Carol may dial this, but only a room says that it is she.
        ("0800555@phone.example.org", "carol@example.org/x", "You may not call 0800555."),
        # Somebody of another room, whose word it is not.
        ("103@phone.example.org", "team@rooms.example.org/Romeo", "Phones are not for users of your domain."),
    ],
)
def test_who_is_not_called(stage, to, inviter, says):
    assert stage.invite(to, inviter=inviter)
    assert stage.called == []
    assert stage.refusal() == (to, str(GARDEN), inviter, says)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"sender": "team@rooms.example.org"}, ("cancel", "not-acceptable")),
        ({"sender": "romeo@example.org"}, ("cancel", "not-acceptable")),
        ({"to": "phone.example.org"}, ("cancel", "item-not-found")),
        ({"inviter": ""}, ("modify", "jid-malformed")),
        ({"to": "a@b@c"}, ("modify", "jid-malformed")),
    ],
)
def test_what_no_room_of_a_conference_says(stage, given, answer):
    assert stage.invite(**given)
    assert stage.called == []
    assert [condition(one) for one in stage.sent] == [answer]


@pytest.mark.parametrize(
    "given", [{"sender": f"{GARDEN}/Romeo"}, {"sender": ROMEO}, {"kind": "error"}, {"kind": "groupchat"}]
)
def test_what_the_room_does_not_say_itself_is_left(stage, given):
    assert not stage.invite(**given)
    assert (stage.sent, stage.called) == ([], [])


def test_what_is_no_invitation_is_left(stage):
    x = "<x xmlns='http://jabber.org/protocol/muc#user'><decline from='juliet@example.org'/></x>"
    for text in (f"<message from='{GARDEN}' to='103@phone.example.org'>{x}</message>", "<presence/>", "<message/>"):
        assert not stage.mediated.stanza_came(stanza(text))
    assert stage.sent == []


def test_nobody_who_gives_no_address_gets_an_answer(stage):
    assert stage.invite(sender="")
    assert stage.sent == []


def test_the_stream_does_not_matter(stage):
    stage.mediated.stream_began()
    stage.mediated.stream_ended()
