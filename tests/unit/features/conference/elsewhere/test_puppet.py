"""One phone's occupant: what it sends, and when it is time for something."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.puppet import ANSWER, SILENCE, Puppet, State
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.garden import GARDEN, address_of


class Case:
    def __init__(self) -> None:
        self.sent: list[Element] = []
        self.time = 0.0
        alice = phone()
        pace = Pace(300.0, lambda: self.time, lambda: 1.0)
        self.puppet = Puppet(GARDEN, address_of(alice), alice, "", self.sent.append, pace, lambda: self.time)

    def enter(self) -> Puppet:
        self.puppet.enter("Alice A")
        self.puppet.seen.joined = True
        self.puppet.entered()
        self.sent.clear()
        return self.puppet


@pytest.fixture
def case() -> Case:
    return Case()


def test_it_is_due_at_once(case):
    assert case.puppet.is_due
    case.puppet.enter("Alice A")
    assert (case.puppet.state, case.puppet.nick, case.puppet.is_due) == (State.ENTERING, "Alice A", False)


@pytest.mark.parametrize(("passed", "due"), [(0.24, False), (0.25, True), (0.26, True)])
def test_the_second_time_it_waits(case, passed, due):
    case.puppet.retire()
    assert case.puppet.is_due
    case.puppet.retire("full")
    case.time = passed
    assert case.puppet.is_due is due
    assert case.puppet.problem == "full"


@pytest.mark.parametrize(("passed", "overdue"), [(ANSWER - 0.1, False), (ANSWER, True), (ANSWER + 0.1, True)])
@pytest.mark.parametrize("leaves", [False, True])
def test_the_room_has_a_while_to_answer(case, passed, overdue, leaves):
    if leaves:
        case.enter().leave()
    else:
        case.puppet.enter("Alice A")
    case.time = passed
    assert case.puppet.is_overdue is overdue


@pytest.mark.parametrize(("passed", "asked"), [(SILENCE - 0.1, 0), (SILENCE, 1), (SILENCE + 0.1, 1)])
def test_silence_is_asked_about_once(case, passed, asked):
    puppet = case.enter()
    case.time = passed
    puppet.ask_if_silent("a")
    puppet.ask_if_silent("b")
    assert len(case.sent) == asked
    assert puppet.is_answer("a") is bool(asked)
    assert not puppet.is_answer("a"), "it is answered"
    assert not puppet.is_answer("")


def test_whoever_was_heard_is_not_asked(case):
    puppet = case.enter()
    case.time = SILENCE
    puppet.heard()
    puppet.ask_if_silent("a")
    assert case.sent == []


def test_a_question_without_an_answer_is_overdue(case):
    puppet = case.enter()
    case.time = SILENCE
    puppet.ask_if_silent("a")
    assert not puppet.is_overdue
    case.time += ANSWER
    assert puppet.is_overdue


def test_that_the_phone_is_muted_is_shown_once(case):
    puppet = case.enter()
    puppet.participant = replace(puppet.participant, muted=True)
    puppet.show()
    puppet.show()
    (presence,) = case.sent
    assert presence.findtext(f"{{{stanzas.CLIENT}}}status") == "muted"


def test_it_is_shown_to_the_nick_that_is_asked_for(case):
    puppet = case.enter()
    puppet.rename("Alice Adams")
    puppet.participant = replace(puppet.participant, muted=True)
    puppet.show()
    assert [one.get("to") for one in case.sent] == [f"{GARDEN}/Alice Adams"] * 2
    puppet.settled()  # the room has refused that
    puppet.participant = replace(puppet.participant, muted=False)
    puppet.show()
    assert case.sent[-1].get("to") == f"{GARDEN}/Alice A"


def test_another_name_of_the_caller_is_noticed(case):
    puppet = case.enter()
    assert not puppet.has_renamed_phone
    puppet.participant = replace(puppet.participant, name="Alice Adams")
    assert puppet.has_renamed_phone


def test_who_is_thrown_out_stays_out(case):
    puppet = case.enter()
    puppet.expel()
    case.time = 10_000
    assert not puppet.is_due
    assert not puppet.is_overdue


def test_what_it_says_comes_from_its_own_address(case):
    case.enter().say("id-1", "hi")
    (message,) = case.sent
    assert (message.get("from"), message.get("to"), message.get("type"), message.get("id")) == (
        str(address_of(phone())),
        str(GARDEN),
        "groupchat",
        "id-1",
    )
    assert parse(str(address_of(phone()))).resource
