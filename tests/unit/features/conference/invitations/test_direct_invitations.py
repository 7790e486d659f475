from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.features.conference.invitations.answers import Answer, How
from agi_xmpp.features.conference.invitations.direct_invitations import DirectInvitations
from agi_xmpp.features.conference.invitations.invitation_stanzas import read_decline, read_mediated_decline
from agi_xmpp.features.conference.model import Affiliation, Invitation
from agi_xmpp.features.conference.stanzas import MUC_USER
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.garden import GARDEN, Scene
from tests.unit.features.conference.hall import ADDRESS, Hall, condition, jid

OWNER, ROMEO, CAROL = "owner@example.org/desk", "romeo@example.org/orchard", "103@phone.example.org"


class Stage(Hall):
    """The balcony with Romeo in it, and what was invited into it."""

    def __init__(self, **config: Any) -> None:
        super().__init__({"owner@example.org": Affiliation.OWNER, CAROL: Affiliation.OUTCAST}, **config)
        self.join(OWNER, "Owner")
        self.sent: list = []
        self.invited: list = []
        self.garden = Scene()
        self.garden.began()
        self.garden.muc.shows_addresses = True
        self.by_room: list = []
        self.direct = DirectInvitations(
            self.sent.append,
            self.by_room.append,
            lambda address: self.room if address == ADDRESS else None,
            lambda address: self.garden.room if address == GARDEN else None,
            lambda who, room: who.domain == "example.org" and room == GARDEN,
            lambda room, invitation, tell: self.invited.append((room, invitation, tell)),
        )

    def write(self, sender=ROMEO, to="102@phone.example.org", room=str(ADDRESS), *, kind="normal", inside=None):
        x = f"<x xmlns='jabber:x:conference' jid='{room}' reason='come over'/>" if inside is None else inside
        return self.direct.stanza_came(
            stanza(f"<message from='{sender}' to='{to}' type='{kind}' id='m1'>{x}</message>")
        )


@pytest.fixture
def stage():
    stage = Stage()
    stage.join(ROMEO, "Romeo")
    return stage


@pytest.mark.parametrize("kind", ["normal", "chat"])
def test_somebody_in_the_room_invites_a_phone(stage, kind):
    assert stage.write(kind=kind)
    [(room, invitation, tell)] = stage.invited
    assert room is stage.room
    assert invitation == Invitation(jid(ROMEO), jid("102@phone.example.org"), "come over", "Romeo")
    tell(Answer(How.DECLINED, "Bob B", "User busy (SIP 486)"))
    [refusal] = stage.by_room
    assert (refusal.get("from"), refusal.get("to"), refusal.get("id")) == (str(ADDRESS), ROMEO, "m1")
    assert read_mediated_decline(refusal) == (jid("102@phone.example.org"), "User busy (SIP 486)")
    assert stage.sent == []


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"sender": "paris@example.org/x"}, ("cancel", "not-acceptable")),
        ({"sender": "romeo@example.org/other"}, ("cancel", "not-acceptable")),
        ({"room": "garden@conference.example.org"}, ("cancel", "not-acceptable")),
        ({"room": "team@rooms.example.net"}, ("cancel", "not-acceptable")),
        ({"to": "phone.example.org"}, ("cancel", "item-not-found")),
        ({"room": ""}, ("modify", "jid-malformed")),
        ({"room": "conference.example.org"}, ("modify", "jid-malformed")),
        ({"to": "a@b@c"}, ("modify", "jid-malformed")),
    ],
)
def test_who_is_not_invited(stage, given, answer):
    assert stage.write(**given)
    assert [condition(one) for one in stage.sent] == [answer]
    assert (stage.invited, stage.by_room) == ([], [])


def test_who_is_banned_is_not_invited(stage):
    assert stage.write(to=CAROL)
    assert [read_mediated_decline(one) for one in stage.by_room] == [(jid(CAROL), f"{CAROL} is banned from this room.")]
    assert (stage.sent, stage.invited) == ([], [])


def test_into_a_room_of_another_service_somebody_invites_who_is_seen_there(stage):
    stage.garden.enter("Romeo")
    stage.garden.join()
    assert stage.write("romeo@example.org/anywhere", room=str(GARDEN))
    [(room, invitation, tell)] = stage.invited
    assert room is stage.garden.room
    assert invitation == Invitation(jid("romeo@example.org/anywhere"), jid("102@phone.example.org"), "come over")
    tell(Answer(How.DECLINED, "Bob B", "User busy (SIP 486)"))
    [refusal] = stage.sent
    assert (refusal.get("from"), refusal.get("to")) == ("102@phone.example.org", str(GARDEN))
    assert read_decline(refusal) == "User busy (SIP 486)"
    assert [one.get("to") for one in refusal.iter(f"{{{MUC_USER}}}decline")] == ["romeo@example.org/anywhere"]


@pytest.mark.parametrize("missing", ["they are not in", "no phone is in", "no addresses", "not allowed"])
def test_into_a_room_of_another_service_nobody_else_invites(stage, missing):
    stage.garden.muc.shows_addresses = missing != "no addresses"
    sender = "paris@example.net/villa" if missing == "not allowed" else ROMEO
    if missing != "they are not in":
        stage.garden.muc.enter(jid(sender), "Somebody")
    if missing != "no phone is in":
        stage.garden.join()
    assert stage.write(sender, room=str(GARDEN))
    assert [condition(one) for one in stage.sent] == [("cancel", "not-acceptable")]
    assert stage.invited == []


def test_into_a_room_for_members_only_moderators_invite():
    stage = Stage(members_only=True)
    assert stage.write()
    assert stage.write(OWNER)
    assert [condition(one) for one in stage.sent] == [("cancel", "not-acceptable")]
    assert stage.by_room == []
    assert [invitation.inviter for _, invitation, _ in stage.invited] == [jid(OWNER)]


@pytest.mark.parametrize(
    "given",
    [{"inside": "<body>hi</body>"}, {"kind": "error"}, {"kind": "groupchat"}],
)
def test_what_is_no_invitation_is_left(stage, given):
    assert not stage.write(**given)
    assert not stage.direct.stanza_came(stanza("<presence/>"))
    assert (stage.sent, stage.invited) == ([], [])


def test_nobody_who_gives_no_address_gets_an_answer(stage):
    assert stage.direct.stanza_came(
        stanza("<message to='a@phone.example.org'><x xmlns='jabber:x:conference' jid=''/></message>")
    )
    assert stage.sent == []


def test_the_stream_does_not_matter(stage):
    stage.direct.stream_began()
    stage.direct.stream_ended()
