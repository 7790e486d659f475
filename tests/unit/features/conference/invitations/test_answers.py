from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference.invitations import answers, invitation_stanzas
from agi_xmpp.features.conference.invitations.answers import Answer, How
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.hall import ADDRESS, condition, jid

ROMEO, CAROL = jid("romeo@example.org/orchard"), jid("carol@phone.example.org")
SENT, JOINED = Answer(How.SENT, "Carol C"), Answer(How.JOINED, "Carol C")
DECLINED = Answer(How.DECLINED, "Carol C", "User busy (SIP 486)")
FAILURE = Refused("You may not call 0190.", "forbidden")
FAILED = Answer.failed("Carol C", FAILURE)


def asked(to: str):
    return stanza(f"<message from='{ROMEO}' to='{to}' id='m1'/>")


@pytest.mark.parametrize(
    ("problem", "answers_of_it"),
    [(FAILURE, [("auth", "forbidden")]), (BadJid("no address"), [("modify", "jid-malformed")]), (None, [])],
)
def test_what_is_no_invitation_that_could_be_taken_is_an_error(problem, answers_of_it):
    def take(problem: Exception | None) -> None:
        if problem is not None:
            raise problem

    sent: list[Element] = []
    with answers.by_error(sent.append, asked(str(CAROL))):
        take(problem)
    assert [condition(one) for one in sent] == answers_of_it
    with answers.by_error(sent.append, stanza("<message/>")):
        take(BadJid("nobody to tell"))
    assert len(sent) == len(answers_of_it)


def test_by_the_room_refusals_and_errors_are_told_and_nothing_else():
    sent: list[Element] = []
    tell = answers.by_room(sent.append, ADDRESS, ROMEO, CAROL, asked(str(ADDRESS)))
    tell(SENT)
    tell(JOINED)
    assert sent == []
    tell(DECLINED)
    tell(FAILED)
    declined, failed = sent
    assert (declined.get("from"), declined.get("to"), declined.get("id")) == (str(ADDRESS), str(ROMEO), "m1")
    assert invitation_stanzas.read_decline(declined) == "User busy (SIP 486)"
    assert (failed.get("from"), failed.get("to"), failed.get("id")) == (str(ADDRESS), str(ROMEO), "m1")
    assert condition(failed) == ("auth", "forbidden")


def test_who_invites_directly_from_a_room_of_ours_gets_its_refusals():
    """Gajim shows them, and no errors."""
    sent: list[Element] = []
    tell = answers.by_refusal(sent.append, ADDRESS, ROMEO, CAROL, asked(str(CAROL)))
    tell(SENT)
    tell(JOINED)
    assert sent == []
    tell(DECLINED)
    tell(FAILED)
    assert {(one.get("from"), one.get("to"), one.get("id")) for one in sent} == {(str(ADDRESS), str(ROMEO), "m1")}
    assert [invitation_stanzas.read_decline(one) for one in sent] == ["User busy (SIP 486)", "You may not call 0190."]


def test_in_words_who_comes_is_told_only_if_they_were_in():
    said: list[str] = []
    tell = answers.in_words(said.append)
    tell(SENT)
    tell(JOINED)
    assert said == ["Invited Carol C."]
    tell = answers.in_words(said.append)
    tell(JOINED)
    assert said[1:] == ["Carol C is in already."]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (SENT, "Invited Carol C."),
        (DECLINED, "Carol C does not come: User busy (SIP 486)."),
        (Answer(How.DECLINED, "Carol C"), "Carol C does not come."),
        (FAILED, "Carol C was not invited: You may not call 0190."),
        (Answer(How.SENT, "Ca\nrol\u202e"), "Invited Ca rol."),
    ],
)
def test_sentences(answer, text):
    assert answers.sentence(answer) == text


def test_nobody_can_be_told():
    answers.nobody(DECLINED)
