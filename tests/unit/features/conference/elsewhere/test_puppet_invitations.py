"""Invitations by phones in a room of another service, and what comes of them."""

from __future__ import annotations

import pytest

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.elsewhere import puppet_invitations as module
from agi_xmpp.features.conference.elsewhere.puppet_invitations import OPEN_TIME
from agi_xmpp.features.conference.invitations.answers import Answer, How
from agi_xmpp.features.conference.model import Invitation
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from tests.unit.features.conference.fakes import phone, stanza
from tests.unit.features.conference.garden import GARDEN, Scene, address_of

ALICE = address_of(phone())
JULIET = "juliet@example.org"


class Stage(Scene):
    """The garden with Alice in it on a phone, and what she is told."""

    def __init__(self) -> None:
        super().__init__()
        self.began()
        self.join()
        self.answers: list[Answer] = []

    def invite(self, whom: str = JULIET, reason: str = "", inviter: Jid | None = ALICE) -> None:
        self.room.invite(Invitation(inviter, parse(whom), reason), self.answers.append)
        self.deliver()

    def declined(self, to: Jid, who: str = f"{JULIET}/balcony", reason: str = "no time", sender: str = "") -> bool:
        """Let the room pass a refusal on; return whether it was one for us."""
        inside = f"<decline from='{who}'><reason>{reason}</reason></decline>"
        message = stanza(f"<message><x xmlns='http://jabber.org/protocol/muc#user'>{inside}</x></message>")
        if to.is_bare:
            return self.room.declined(message, to)
        return self.room.stanza_came(message, parse(sender or str(GARDEN)), to)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("reason", ["come over", ""])
def test_the_room_is_asked(stage, reason):
    stage.invite(reason=reason)
    assert stage.muc.invited == [(str(ALICE), JULIET, reason)]
    assert stage.answers == []


@pytest.mark.parametrize("condition", ["forbidden", "not-allowed"])
def test_the_room_does_not_let_phones_invite(stage, condition):
    stage.muc.refuses_invitations = condition
    stage.invite()
    [answer] = stage.answers
    assert (answer.how, answer.whom, answer.condition) == (How.FAILED, JULIET, condition)
    assert answer.reason == f"The room does not let you invite ({condition}: Ask the owner.)."
    assert stage.nicks == ["Alice A"]
    assert len(stage.muc.came) == 2, "it came in, has asked once, and goes no other way"


def test_an_error_to_something_else_is_no_answer(stage):
    stage.join("Bob B", "102")
    stage.invite()
    id_ = stage.muc.came[-1].get("id")
    for other, to in (("another", ALICE), (id_, address_of(phone("Bob B", "102")))):
        assert stage.room.stanza_came(stanza(f"<message type='error' id='{other}' from='{GARDEN}'/>"), GARDEN, to)
    assert stage.answers == []
    stage.room.stanza_came(stanza(f"<message type='error' id='{id_}' from='{GARDEN}'/>"), GARDEN, ALICE)
    assert len(stage.answers) == 1


@pytest.mark.parametrize("to", [ALICE, ALICE.bare])
def test_a_refusal_is_told_once(stage, to):
    stage.invite()
    assert stage.declined(to)
    stage.declined(to)
    assert stage.answers == [Answer(How.DECLINED, JULIET, "no time")]


def test_a_refusal_of_who_was_not_invited_is_not_told(stage):
    stage.invite()
    stage.declined(ALICE, "paris@example.org")
    stage.declined(parse("102@phone.example.org"))
    stage.declined(ALICE, "no@such@address")
    stage.declined(ALICE, sender=f"{GARDEN}/Romeo")  # an occupant in their own name: it is not the room's word
    assert stage.answers == []


def test_an_error_after_a_second_invitation_is_to_the_first(stage):
    stage.invite()
    first = stage.outside._ids
    stage.invite()
    stage.room.stanza_came(stanza(f"<message type='error' id='id-{first}'/>"), GARDEN, ALICE)
    assert stage.answers == []
    stage.declined(ALICE)
    assert len(stage.answers) == 1


def test_who_is_not_in_cannot_ask(stage):
    with pytest.raises(Refused, match="is a room of another service"):
        stage.invite(inviter=parse("romeo@example.org/x"))
    with pytest.raises(Refused, match="is a room of another service"):
        stage.invite(inviter=None)
    stage.muc.refuses = {"": "forbidden"}
    stage.join("Bob B", "102")
    with pytest.raises(Refused, match="You are not in the chat: we are banned from it"):
        stage.invite(inviter=address_of(phone("Bob B", "102")))
    stage.ended()
    with pytest.raises(Refused, match=r"You are not in the chat\."):
        stage.invite()
    assert stage.muc.invited == []


@pytest.mark.parametrize(("seconds", "told"), [(OPEN_TIME - 1, 1), (OPEN_TIME, 0)])
def test_nobody_is_waited_for_for_ever(stage, seconds, told):
    stage.invite()
    stage.time += seconds
    stage.declined(ALICE)
    assert len(stage.answers) == told


def test_so_many_wait_for_an_answer(monkeypatch):
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    stage = Stage()
    for name in ("a", "b", "c"):
        stage.invite(f"{name}@example.org")
    for name in ("a", "b", "c"):
        stage.declined(ALICE, f"{name}@example.org")
    assert [answer.whom for answer in stage.answers] == ["b@example.org", "c@example.org"]
