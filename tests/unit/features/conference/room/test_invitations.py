from __future__ import annotations

import pytest

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Invitation
from agi_xmpp.features.conference.room import invitations
from agi_xmpp.features.conference.room.invitations import MAX_INVITED, MAX_REASON
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import ADDRESS, Hall, condition, jid, the

OWNER, ROMEO, CAROL = "owner@example.org/desk", "romeo@example.org/orchard", "carol@example.org/x"


def x(children: str) -> str:
    return f"<x xmlns='http://jabber.org/protocol/muc#user'>{children}</x>"


def invite(*people: str, reason: str = "") -> str:
    inner = f"<reason>{reason}</reason>" if reason else ""
    return x("".join(f"<invite to='{person}'>{inner}</invite>" for person in people))


def decline(inviter: str, reason: str = "") -> str:
    inner = f"<reason>{reason}</reason>" if reason else ""
    return x(f"<decline to='{inviter}'>{inner}</decline>")


@pytest.fixture
def hall():
    hall = Hall({"owner@example.org": Affiliation.OWNER, "bad@example.org": Affiliation.OUTCAST})
    hall.join(OWNER, "Owner")
    hall.join(ROMEO, "Romeo")
    return hall


@pytest.mark.parametrize("kind", ["normal", "chat"])
def test_an_occupant_invites(hall, kind):
    assert hall.message(ROMEO, invite("Carol@example.org/x", reason="come over"), kind=kind) == []
    invitation, stanza = hall.outside.invited[0]
    assert invitation == Invitation(jid(ROMEO), jid("carol@example.org"), "come over", "Romeo")
    assert stanza.get("id") == "m1"
    assert jid("carol@example.org") not in hall.room.affiliations


def test_several_are_invited_at_once_but_not_a_whole_town(hall):
    people = [f"p{number}@example.org" for number in range(MAX_INVITED)]
    hall.message(ROMEO, invite(*people), kind="normal")
    assert [str(invitation.invitee) for invitation, _ in hall.outside.invited] == people
    sent = hall.message(ROMEO, invite(*people, "more@example.org"), kind="normal")
    assert [condition(one) for one in sent] == [("modify", "policy-violation")]
    assert len(hall.outside.invited) == MAX_INVITED


def test_a_reason_is_cut(hall):
    hall.message(ROMEO, invite("carol@example.org", reason="r" * (MAX_REASON + 1)), kind="normal")
    assert hall.outside.invited[0][0].reason == "r" * MAX_REASON


@pytest.mark.parametrize(
    ("who", "whom", "answer"),
    [
        ("nurse@example.org/x", "carol@example.org", ("cancel", "not-acceptable")),
        (ROMEO, "bad@example.org", ("auth", "forbidden")),
        (ROMEO, "no@such@address", ("modify", "jid-malformed")),
        (ROMEO, "", ("modify", "jid-malformed")),
    ],
)
def test_invitations_that_are_not_made(hall, who, whom, answer):
    assert [condition(one) for one in hall.message(who, invite(whom), kind="normal")] == [answer]
    assert hall.outside.invited == []


def test_moderators_make_members_of_whom_they_invite_to_a_members_only_room(hall, monkeypatch):
    hall = Hall({"owner@example.org": Affiliation.OWNER, "romeo@example.org": Affiliation.MEMBER}, members_only=True)
    hall.join(OWNER, "Owner")
    hall.join(ROMEO, "Romeo")
    assert [condition(one) for one in hall.message(ROMEO, invite("carol@example.org"), kind="normal")] == [
        ("auth", "forbidden")
    ]
    hall.message(OWNER, invite("carol@example.org"), kind="normal")
    assert hall.room.affiliation_of(jid("carol@example.org")) is Affiliation.MEMBER
    assert hall.changes == 1
    # who has a standing already keeps it
    hall.message(OWNER, invite("owner@example.org"), kind="normal")
    assert hall.room.affiliation_of(jid(OWNER)) is Affiliation.OWNER
    monkeypatch.setattr(invitations, "MAX_AFFILIATIONS", 4)
    hall.message(OWNER, invite("d@example.org"), kind="normal")
    assert len(hall.outside.invited) == 3
    sent = hall.message(OWNER, invite("e@example.org"), kind="normal")
    assert [condition(one) for one in sent] == [("wait", "resource-constraint")]
    assert len(hall.room.affiliations) == 4


@pytest.mark.parametrize("inviter", [ROMEO, "romeo@example.org"])
def test_who_invited_is_told_of_a_refusal(hall, inviter):
    sent = hall.message(CAROL, decline(inviter, "no time"), kind="normal")
    assert [(one.get("from"), one.get("to")) for one in sent] == [(str(ADDRESS), inviter)]
    declined = the(sent[0], f"{{{stanzas.MUC_USER}}}x/{{{stanzas.MUC_USER}}}decline")
    assert declined.get("from") == "carol@example.org"
    assert declined.findtext(f"{{{stanzas.MUC_USER}}}reason") == "no time"


def test_a_refusal_needs_no_reason(hall):
    sent = hall.message(CAROL, decline(ROMEO), kind="normal")
    assert len(sent[0].find(f".//{{{stanzas.MUC_USER}}}decline")) == 0


def test_a_phone_that_invited_is_told_of_a_refusal(hall):
    hall.phone_joins(phone())
    assert hall.message(CAROL, decline("101@phone.example.org", "no time"), kind="normal") == []
    hall.message(CAROL, decline("101@phone.example.org"), kind="normal")
    assert [(channel, said.speaker, said.text, said.stanza) for channel, said in hall.outside.whispered] == [
        ("PJSIP/101-00000001", "", "carol@example.org does not come: no time", None),
        ("PJSIP/101-00000001", "", "carol@example.org does not come.", None),
    ]


@pytest.mark.parametrize("whom", ["stranger@example.org", "romeo@example.org/elsewhere", "999@phone.example.org"])
def test_strangers_get_nothing_from_strangers_by_the_room(hall, whom):
    hall.phone_joins(phone())
    assert hall.message(CAROL, decline(whom, "buy this"), kind="normal") == []
    assert hall.outside.whispered == []


def test_who_is_banned_says_nothing_by_refusing(hall):
    hall.phone_joins(phone())
    hall.room.set_affiliation(jid("carol@example.org"), Affiliation.OUTCAST, None)
    for whom in (ROMEO, "101@phone.example.org"):
        sent = hall.message(CAROL, decline(whom, "buy this"), kind="normal")
        assert [condition(one) for one in sent] == [("auth", "forbidden")]
    assert hall.outside.whispered == []


def test_refusals_are_no_flood(hall):
    hall.phone_joins(phone())
    sent = [hall.message(CAROL, decline("101@phone.example.org", "buy this"), kind="normal") for _ in range(600)]
    assert [condition(one) for one in sent[-1]] == [("wait", "resource-constraint")]
    assert len(hall.outside.whispered) == 500


def test_a_refusal_to_no_address(hall):
    assert [condition(one) for one in hall.message(CAROL, decline("no@such@address"), kind="normal")] == [
        ("modify", "jid-malformed")
    ]


def test_other_messages_to_the_room_are_no_invitations(hall):
    assert [condition(one) for one in hall.message(ROMEO, x(""), kind="normal")] == [("modify", "bad-request")]


class TestForOthersWhoInvite:
    """`Room.invitation`: what the room says to invitations that do not come as messages to it."""

    def test_an_occupant(self, hall):
        invitation = hall.room.invitation(jid(ROMEO), jid("carol@example.org"), "r" * (MAX_REASON + 1))
        assert invitation == Invitation(jid(ROMEO), jid("carol@example.org"), "r" * MAX_REASON, "Romeo")

    def test_the_dialplan(self):
        hall = Hall(members_only=True)
        assert hall.room.invitation(None, jid("carol@example.org")) == Invitation(None, jid("carol@example.org"))
        assert hall.room.affiliation_of(jid("carol@example.org")) is Affiliation.MEMBER

    @pytest.mark.parametrize(
        ("who", "whom", "condition"),
        [
            (CAROL, "juliet@example.org", "not-acceptable"),
            (ROMEO, "bad@example.org", "forbidden"),
            (None, "bad@example.org", "forbidden"),
        ],
    )
    def test_who_may_not(self, hall, who, whom, condition):
        with pytest.raises(Refused) as caught:
            hall.room.invitation(jid(who) if who else None, jid(whom))
        assert caught.value.condition == condition


def test_whom_a_phone_may_invite(hall):
    hall.room.check_invitee(jid("carol@example.org"))
    with pytest.raises(Refused, match=r"bad@example\.org is banned from this room"):
        hall.room.check_invitee(jid("bad@example.org"))
    closed = Hall({"nurse@example.org": Affiliation.MEMBER}, members_only=True)
    closed.room.check_invitee(jid("nurse@example.org"))
    with pytest.raises(Refused, match="Only moderators may invite"):
        closed.room.check_invitee(jid("carol@example.org"))
    assert jid("carol@example.org") not in closed.room.affiliations
