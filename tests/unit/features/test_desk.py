"""Which card an answer belongs to."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.features.desk import (
    CLOSED_LIMIT,
    CLOSED_TTL,
    CROSSING,
    MAX_HINTS,
    MAX_NUMBER,
    QUESTIONS,
    Card,
    Chosen,
    Declined,
    Desk,
    Nothing,
    Told,
)
from agi_xmpp.features.menu import CALL_NAME, parse
from agi_xmpp.xmpp.model import Command, Form, IncomingMessage, Jid
from tests.unit.clock import Clock

BOB, CAROL = Jid("bob", "x.org"), Jid("carol", "x.org")
PHONE = Jid("bob", "x.org", "phone")
ANN = parse(("Call from Ann", "1=Cell", "2=Desk", "x=Reject"))
BEN = parse(("Call from Ben\nhe is in a hurry", "1=Cell phone", "3=Voicemail"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(clock: Clock) -> Desk:
    keys = (f"k{n}" for n in itertools.count(1))
    return Desk(clock, lambda: next(keys))


@pytest.fixture
def ann(desk: Desk) -> Card:
    card = desk.open(BOB, ANN, "call-ann")
    card.ids.append("m-ann")
    return card


@pytest.fixture
def ben(desk: Desk, ann: Card) -> Card:
    card = desk.open(BOB, BEN, "call-ben")
    card.ids.append("m-ben")
    return card


def message(body: str = "", *, sender: Jid = PHONE, **changes: Any) -> IncomingMessage:
    return dataclasses.replace(IncomingMessage(sender, body, "chat", "b1", "", 1000.0, 1000.0), **changes)


def route(desk: Desk, body: str = "", *, kept: bool = False, awaited: bool = False, **changes: Any) -> Any:
    return desk.route(message(body, **changes), kept=kept, awaited=awaited)


class TestOneCard:
    @pytest.mark.parametrize("body", ["1", "cell", " Cell. ", "ce", "1️⃣", "#1 1", "#1: cell"])
    def test_a_bare_answer(self, desk, ann, body):
        assert route(desk, body) == Chosen(ann, ANN.choices[0])

    @pytest.mark.parametrize(
        "bound",
        [
            {"body": "2", "reply_to": "m-ann"},
            {"body": "2", "thread": "call-ann"},
            {"reacts_to": "m-ann", "reactions": ("2️⃣",)},
            {"reacts_to": "m-ann", "reactions": ("👀", "2️⃣")},
            {"action": "answer/k1/2"},
        ],
    )
    def test_an_answer_that_names_it(self, desk, ann, ben, bound):
        assert route(desk, **bound) == Chosen(ann, ANN.choices[1])

    def test_declining(self, desk, ann):
        assert route(desk, "no") == Declined(ann)

    def test_a_wrong_answer_is_told_what_is_possible(self, desk, ann):
        verdict = route(desk, "4")
        assert verdict == Told("“4” is not among the answers. Possible: 1 (Cell), 2 (Desk), x (Reject).", ann)

    @pytest.mark.parametrize("emoji", [("👍",), ("1️⃣", "2️⃣")])
    def test_a_reaction_that_is_no_choice_or_two(self, desk, ann, emoji):
        assert "not among the answers" in route(desk, reacts_to="m-ann", reactions=emoji).text

    def test_a_reaction_that_is_taken_back(self, desk, ann):
        assert route(desk, reacts_to="m-ann") == Nothing()

    def test_its_number_alone(self, desk, ann):
        assert route(desk, "#1") == Told("And the answer for #1? Possible: 1 (Cell), 2 (Desk), x (Reject).", ann)

    def test_hints_come_to_an_end_and_right_answers_count_on(self, desk, ann):
        verdicts = [route(desk, "what?") for _ in range(MAX_HINTS + 1)]
        assert [isinstance(verdict, Told) for verdict in verdicts] == [True] * MAX_HINTS + [False]
        assert verdicts[-1] == Nothing()
        assert isinstance(route(desk, "1"), Chosen)

    def test_a_read_mark(self, desk, ann):
        assert desk.shown(message(displayed="m-ann")) == [ann]
        assert route(desk, displayed="m-ann") is None  # it is no answer

    @pytest.mark.parametrize(
        "changes",
        [
            {"displayed": ""},
            {"displayed": "other"},
            {"displayed": "m-ann", "sender": CAROL},
            {"displayed": "m-ann", "sender": Jid("bob", "x.org.evil", "pc")},
            {"displayed": "m-ann", "sender": PHONE, "occupant": True},
            {"displayed": "m-ann", "sent_at": 999.0},
        ],
    )
    def test_a_read_mark_of_something_or_somebody_else(self, desk, ann, changes):
        assert desk.shown(message(**changes)) == []


class TestWhoAndWhat:
    @pytest.mark.parametrize(
        "sender",
        [
            Jid("bob", "x.org.evil", "phone"),
            Jid("bob2", "x.org", "phone"),
            Jid("", "x.org", "bob"),
            Jid("x", "bob"),
            CAROL,
        ],
    )
    def test_only_who_was_asked(self, desk, ann, sender):
        assert route(desk, "1", sender=sender, thread="call-ann", reply_to="m-ann") is None
        assert route(desk, sender=sender, action="answer/k1/1") is None
        assert route(desk, sender=sender, reacts_to="m-ann", reactions=("1️⃣",)) is None
        assert desk.execute(sender, "answer/k1/1") is None
        assert desk.commands(sender) == []
        assert desk.fill_in(sender, "k1", "1") is None

    def test_one_resource_only_if_one_was_asked(self, desk):
        card = desk.open(PHONE, ANN, "t")
        assert route(desk, "1", sender=Jid("bob", "x.org", "phone2")) is None
        assert route(desk, "1") == Chosen(card, ANN.choices[0])

    def test_an_occupant_of_a_room_is_not_the_room(self, desk):
        room, nick = Jid("lobby", "rooms.x.org"), Jid("lobby", "rooms.x.org", "bob")
        desk.open(room, ANN, "t")
        assert route(desk, "1", sender=nick, occupant=True) is None
        asked = desk.open(nick, ANN, "t")
        assert route(desk, "1", sender=nick, occupant=True) == Chosen(asked, ANN.choices[0])

    @pytest.mark.parametrize("kind", ["error", "headline", "groupchat"])
    def test_other_types_never_count(self, desk, ann, kind):
        assert route(desk, "1", type=kind, thread="call-ann") is None
        assert route(desk, type=kind, reacts_to="m-ann", reactions=("1️⃣",)) is None

    def test_what_is_older_than_the_question_never_counts(self, desk, clock):
        clock.now = 1010.0
        desk.open(BOB, ANN, "t")
        assert route(desk, "1", sent_at=1009.9, thread="t") is None
        assert isinstance(route(desk, "1", sent_at=1010.0), Chosen)

    def test_nothing_is_open(self, desk):
        assert route(desk, "1") is None


class TestSeveralCards:
    def test_a_bare_answer_is_asked_back_and_the_number_is_enough(self, desk, ann, ben):
        assert route(desk, "1") == Told(
            "You are asked about 2 calls. Which one is “1” for?\n"
            "#1: Call from Ann\n#2: Call from Ben\nAnswer for example #1"
        )
        assert route(desk, "#2") == Chosen(ben, BEN.choices[0])

    def test_even_what_fits_one_of_them_only(self, desk, ann, ben):
        assert isinstance(route(desk, "Voicemail"), Told)
        assert isinstance(route(desk, "no"), Told)

    def test_number_and_answer(self, desk, ann, ben):
        assert route(desk, "#2 voicemail") == Chosen(ben, BEN.choices[1])
        assert route(desk, "#1 no") == Declined(ann)

    def test_the_number_after_an_answer_that_this_call_does_not_have(self, desk, ann, ben):
        route(desk, "x")
        assert "“x” is not among the answers" in route(desk, "#2").text

    def test_a_number_of_nobody(self, desk, ann, ben):
        assert isinstance(route(desk, "#3 1"), Told)

    def test_asking_back_comes_to_an_end(self, desk, ann, ben):
        verdicts = [route(desk, "1") for _ in range(MAX_HINTS + 1)]
        assert isinstance(verdicts[-2], Told)
        assert verdicts[-1] == Nothing()
        assert isinstance(route(desk, "#1"), Chosen)

    def test_a_card_of_another_person_is_not_among_them(self, desk, ann):
        desk.open(CAROL, BEN, "call-ben")
        assert route(desk, "1") == Chosen(ann, ANN.choices[0])

    def test_an_answer_that_crosses_the_end_of_another_call_is_asked_back(self, desk, ann, ben, clock):
        desk.close(ann, "The caller hung up.")
        assert route(desk, "1") == Told(
            "Another call was closed just now. Is “1” for this one?\n#2: Call from Ben\nAnswer for example #2"
        )
        assert route(desk, "#2") == Chosen(ben, BEN.choices[0])
        assert isinstance(route(desk, "3"), Chosen)  # ann's had no 3
        clock.now += CROSSING
        assert isinstance(route(desk, "1"), Chosen)

    def test_not_if_the_other_was_answered(self, desk, ann, ben):
        desk.close(ann, "You chose 1.", answered=True)
        assert route(desk, "1") == Chosen(ben, BEN.choices[0])

    def test_the_question_of_the_second_says_how_to_name_it(self, desk, ann):
        assert desk.text(ann) == ANN.text
        ben = desk.open(BOB, BEN, "call-ben")
        assert desk.text(ben) == (
            f"{BEN.text}\nYou are asked about another call, too: for this one, answer for example #2 1"
        )


class TestBesideReceive:
    def test_a_message_in_the_thread_of_another_question_is_left_to_it(self, desk, ann):
        assert route(desk, "1", thread="call-z", kept=True, awaited=True) is None

    def test_a_message_in_the_cards_thread_is_for_the_card(self, desk, ann):
        assert isinstance(route(desk, "1", thread="call-ann", kept=True, awaited=True), Chosen)

    @pytest.mark.parametrize("body", ["1", "cell", "REJECT"])
    def test_a_bare_choice_is_for_the_card(self, desk, ann, body):
        assert isinstance(route(desk, body, awaited=True), Chosen)

    @pytest.mark.parametrize("body", ["ce", "no", "4", "I call back", "#9"])
    def test_any_other_text_is_left_to_who_waits(self, desk, ann, body):
        assert route(desk, body, awaited=True) is None

    def test_what_was_an_answer_is_left_to_who_waits_in_the_same_call(self, desk, ann):
        desk.close(ann, "You chose 1.", answered=True)
        assert route(desk, "1", thread="call-ann", kept=True, awaited=True) is None


class TestLate:
    @pytest.fixture(autouse=True)
    def closed(self, desk: Desk, ann: Card) -> None:
        ann.ids.append("hint-1")
        desk.close(ann, "Closed: the caller hung up.")

    TEXT = "This question is closed: Call from Ann\nClosed: the caller hung up."

    @pytest.mark.parametrize(
        "bound",
        [
            {"body": "1", "reply_to": "m-ann"},
            {"body": "hello?", "reply_to": "hint-1"},
            {"body": "1", "thread": "call-ann"},
            {"body": "#1 1"},
            {"reacts_to": "m-ann", "reactions": ("1️⃣",)},
            {"action": "answer/k1/1"},
        ],
    )
    def test_it_is_told_how_it_ended(self, desk, ann, bound):
        assert route(desk, **bound) == Told(self.TEXT, ann)

    @pytest.mark.parametrize("bound", [{"body": "1"}, {"body": "what else?", "thread": "call-ann"}])
    def test_what_does_not_name_it_is_not_ours(self, desk, bound):
        assert route(desk, **bound) is None

    def test_a_tap(self, desk, ann):
        assert desk.execute(PHONE, "answer/k1/1") == Told(self.TEXT, ann)
        assert desk.execute(PHONE, "answer/k1/9") is None
        assert desk.execute(CAROL, "answer/k1/1") is None
        assert desk.fill_in(PHONE, "k1", "1") == Told(self.TEXT, ann)

    def test_that_comes_to_an_end_too(self, desk, ann):
        verdicts = [route(desk, "1", reply_to="m-ann") for _ in range(MAX_HINTS + 1)]
        assert [isinstance(verdict, Told) for verdict in verdicts] == [True] * MAX_HINTS + [False]

    @pytest.mark.parametrize(("age", "known"), [(CLOSED_TTL, True), (CLOSED_TTL + 1, False)])
    def test_it_is_forgotten_by_age(self, desk, clock, age, known):
        clock.now += age
        assert (desk.execute(PHONE, "answer/k1/1") is not None) is known

    @pytest.mark.parametrize(("others", "known"), [(CLOSED_LIMIT - 1, True), (CLOSED_LIMIT, False)])
    def test_it_is_forgotten_by_count(self, desk, others, known):
        for _ in range(others):
            desk.close(desk.open(CAROL, ANN, "t"), "over")
        assert (desk.execute(PHONE, "answer/k1/1") is not None) is known


class TestCommands:
    def test_a_tap(self, desk, ann, ben):
        assert [button.node for button in ben.buttons] == ["answer/k2/1", "answer/k2/3"]
        assert desk.execute(PHONE, "answer/k2/3") == Chosen(ben, BEN.choices[1])
        assert desk.execute(PHONE, "answer/k2/2") is None

    def test_the_list_and_its_form(self, desk, ann, ben):
        assert desk.commands(PHONE) == [Command(QUESTIONS, "Calls that wait for your answer (2)")]
        form: Form = desk.form(PHONE)
        assert [(field.var, field.label) for field in form.fields] == [
            ("k1", "#1 Call from Ann"),
            ("k2", "#2 Call from Ben"),
        ]
        assert form.fields[1].options == (("1", "Cell phone"), ("3", "Voicemail"))
        assert desk.fill_in(PHONE, "k2", "3") == Chosen(ben, BEN.choices[1])
        assert desk.fill_in(PHONE, "k2", "9") is None
        assert desk.fill_in(PHONE, "FORM_TYPE", "x") is None


def test_a_long_question_is_short_in_a_list(desk):
    assert desk.open(BOB, parse(("q" * 100, "1=a")), "t").title == "q" * 59 + "…"
    assert desk.open(BOB, parse(("q" * 60, "1=a")), "t").title == "q" * 60


def test_a_card_is_found_by_its_question_only(desk, ann, ben):
    ann.ids.append("hint")
    assert desk.find("m-ann") is ann
    assert desk.find("hint") is None
    assert len(desk) == 2
    desk.close(ann, "over")
    assert desk.find("m-ann") is None
    assert len(desk) == 1


def test_numbers_begin_again_and_skip_those_in_use(desk, ann):
    for _ in range(MAX_NUMBER - 1):
        desk.close(desk.open(CAROL, ANN, "t"), "over")
    assert desk.open(BOB, ANN, "t").number == 2
    assert desk.open(CAROL, ANN, "t").number == 3


def test_keys_cannot_be_guessed(clock):
    desk = Desk(clock)
    keys = {desk.open(BOB, ANN, "t").key for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 16 for key in keys)  # 12 random bytes in base64


@given(st.text(max_size=30), st.booleans(), st.booleans())
def test_a_bare_text_never_chooses_among_two(body, kept, awaited):
    desk = Desk(Clock())
    desk.open(BOB, ANN, "a")
    desk.open(BOB, BEN, "b")
    verdict = route(desk, body, kept=kept, awaited=awaited)
    assert not isinstance(verdict, (Chosen, Declined)) or CALL_NAME.match(body)


class TestMatches:
    """What other features leave to the desk."""

    @pytest.mark.parametrize("text", ["1", "cell", "2.", "#1 1", "#1 601", "no", "CELL"])
    def test_an_answer(self, desk, ann, text):
        assert desk.matches(message(text))

    @pytest.mark.parametrize("text", ["call 601", "transfer #2 103", "help", "#2 1", "dnd on"])
    def test_something_else(self, desk, ann, text):
        assert not desk.matches(message(text))

    def test_a_beginning_that_fits_several(self, desk):
        desk.open(BOB, parse(("What now?", "1=Call back", "2=Call a colleague")), "c")
        assert desk.matches(message("call"))
        assert not desk.matches(message("call 601"))

    def test_a_reply_names_a_card_whatever_it_says(self, desk, ann):
        assert desk.matches(message("call 601", reply_to="m-ann"))
        assert not desk.matches(message("call 601", reply_to="m-other"))

    def test_only_of_who_was_asked_and_while_it_is_open(self, desk, ann):
        assert not desk.matches(message("1", sender=Jid("carol", "x.org", "pc")))
        assert desk.is_open_for(PHONE)
        assert not desk.is_open_for(CAROL)
        desk.close(ann, "over")
        assert not desk.matches(message("1"))
        assert not desk.is_open_for(PHONE)

    def test_older_than_the_question(self, desk, ann, clock):
        assert not desk.matches(message("1", sent_at=clock.now - 0.001))

    def test_nothing_changes(self, desk, ann):
        desk.matches(message("nonsense"))
        desk.matches(message("1"))
        assert (ann.hints, ann.pending, len(desk)) == (0, "", 1)
