"""Cards are sent, answered, and closed in every case."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from agi_xmpp.errors import BadText, Bounced, NotConfirmed, NotConnected, Refused
from agi_xmpp.features.asking import HUNG_UP, OVER, TIMED_OUT, Asking, Outcome
from agi_xmpp.features.menu import parse
from agi_xmpp.xmpp.model import IncomingMessage, Jid, SessionState
from tests.unit.features.fakes import FOREVER, FakeSession

BOB, CAROL = Jid("bob", "x.org"), Jid("carol", "x.org")
PHONE = Jid("bob", "x.org", "phone")
MENU = parse(("Call from Ann", "1=Cell", "2=Desk"))


class Stage:
    """An `Asking` on a session that does what it was told to, and what was sent over it."""

    def __init__(self, **results: Any) -> None:
        self.session = FakeSession(**results)
        self.asking = Asking(self.session, lambda: 1000.0)
        self.cancelled = OVER
        self.saw: list[Jid] = []

    async def ask(self, *people: Jid, seconds: float = 20.0, seen_extends: float = 0.0) -> asyncio.Task[Outcome]:
        """Begin to ask; the questions have been sent when this returns."""
        work = self.asking.ask(
            people or (BOB,),
            MENU,
            thread="call-1",
            seconds=seconds,
            send_timeout=5.0,
            why_cancelled=lambda: self.cancelled,
            saw=self.saw.append,
            seen_extends=seen_extends,
        )
        before = len(self.sent("send_message"))
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(5):
            while len(self.sent("send_message")) < before + len(people or (BOB,)) and not task.done():
                await asyncio.sleep(0)
        return task

    def sent(self, how: str) -> list[tuple[str, str, dict[str, Any]]]:
        return [(args[0], args[1], kwargs) for name, args, kwargs in self.session.calls if name == how]

    @property
    def said(self) -> list[tuple[str, str]]:
        """What was told to whom, corrections included."""
        return [(to, text) for to, text, _ in self.sent("queue_message")]

    def question_id(self, person: Jid = BOB) -> str:
        return next(str(kwargs["message_id"]) for to, _, kwargs in self.sent("send_message") if to == str(person))

    def hear(self, body: str, sender: Jid = PHONE, *, awaited: bool = False, **changes: Any) -> bool:
        message = IncomingMessage(sender, body, "chat", "b1", "", 1000.0, 1000.0, **changes)
        return self.asking.message_came(message, kept=False, awaited=awaited)


async def test_the_question_carries_buttons_and_expects_no_receiver():
    stage = Stage()
    task = await stage.ask()
    (to, text, kwargs) = stage.sent("send_message")[0]
    assert (to, text, kwargs["thread"], kwargs["timeout"]) == ("bob@x.org", MENU.text, "call-1", 5.0)
    extras = kwargs["extras"]
    assert [(button.value, button.label) for button in extras.buttons] == [("1", "Cell"), ("2", "Desk")]
    assert not extras.expects_answer
    task.cancel()


async def test_the_choice_is_returned_and_the_card_is_corrected():
    stage = Stage()
    task = await stage.ask()
    assert stage.hear("2")
    assert await task == Outcome(MENU.choices[1], PHONE)
    ((to, text, kwargs),) = stage.sent("queue_message")
    assert (to, text) == ("bob@x.org", "Call from Ann\nYou chose 2: Desk")
    assert kwargs["extras"].replaces == stage.question_id()
    assert kwargs["thread"] == "call-1"
    assert not kwargs["extras"].expects_answer


async def test_the_first_of_several_wins_and_the_others_are_told_who():
    stage = Stage()
    task = await stage.ask(BOB, CAROL)
    stage.hear("1")
    stage.hear("2", Jid("carol", "x.org", "pc"))
    assert await task == Outcome(MENU.choices[0], PHONE)
    assert stage.said == [
        ("bob@x.org", "Call from Ann\nYou chose 1: Cell"),
        ("carol@x.org", "Call from Ann\nbob@x.org chose 1: Cell"),
    ]


async def test_one_declines_and_the_other_chooses():
    stage = Stage()
    task = await stage.ask(BOB, CAROL)
    stage.hear("no")
    stage.hear("2", CAROL)
    assert await task == Outcome(MENU.choices[1], CAROL)
    assert stage.said[0] == ("bob@x.org", "Call from Ann\nYou declined.")


async def test_all_decline():
    stage = Stage()
    task = await stage.ask(BOB, CAROL)
    stage.hear("no", CAROL)
    assert not task.done()
    stage.hear("no")
    assert await task == Outcome(None, PHONE)


async def test_nobody_answers():
    stage = Stage()
    task = await stage.ask(seconds=0.01)
    with pytest.raises(TimeoutError, match=r"^$"):
        await task
    assert stage.said == [("bob@x.org", f"Call from Ann\n{TIMED_OUT}")]


async def test_the_log_tells_who_has_seen_it(caplog):
    caplog.set_level(logging.INFO)
    stage = Stage()
    task = await stage.ask(BOB, CAROL, seconds=0.01)
    stage.hear("", displayed=stage.question_id())
    with pytest.raises(TimeoutError):
        await task
    assert "bob@x.org has seen it, carol@x.org has not" in caplog.text


async def test_who_has_seen_it_is_told_once_each():
    stage = Stage()
    task = await stage.ask(BOB, CAROL)
    for sender in (Jid("eve", "x.org", "pc"), CAROL):
        stage.hear("", sender, displayed=stage.question_id())
    assert stage.saw == []
    for resource in ("phone", "desk"):
        stage.hear("", Jid("bob", "x.org", resource), displayed=stage.question_id())
    assert stage.saw == [BOB]
    stage.hear("2", CAROL)
    await task
    assert stage.saw == [BOB, CAROL]


@pytest.mark.parametrize("words", ["1", "no", "9"])
async def test_who_answers_has_seen_it(words):
    stage = Stage()
    task = await stage.ask()
    stage.hear(words)
    assert stage.saw == [BOB]
    stage.hear("1")
    await task
    stage.hear("", displayed=stage.question_id())  # too late to matter
    assert stage.saw == [BOB]


async def test_somebody_who_looks_at_it_gets_more_time_once(caplog):
    caplog.set_level(logging.INFO)
    stage = Stage()
    task = await stage.ask(seconds=0.01, seen_extends=20.0)
    stage.hear("", displayed=stage.question_id())
    async with asyncio.timeout(5):
        while "20 s more for the answer: bob@x.org has seen it" not in caplog.text:
            await asyncio.sleep(0)
    stage.hear("2")
    assert (await task).choice == MENU.choices[1]


async def test_the_time_is_over_after_that(caplog):
    caplog.set_level(logging.INFO)
    stage = Stage()
    task = await stage.ask(seconds=0.01, seen_extends=0.01)
    stage.hear("", displayed=stage.question_id())
    with pytest.raises(TimeoutError):
        await task
    assert caplog.text.count("s more for the answer") == 1


@pytest.mark.parametrize("who", [None, CAROL])
async def test_no_more_time_if_nobody_who_may_still_answer_looks(who, caplog):
    """Nobody at all, or only somebody who has declined."""
    caplog.set_level(logging.INFO)
    stage = Stage()
    task = await stage.ask(BOB, CAROL, seconds=0.01, seen_extends=3600.0)
    if who:
        stage.hear("", who, displayed=stage.question_id(who))
        stage.hear("no", who)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 5)
    assert task.done()
    assert "s more for the answer" not in caplog.text


@pytest.mark.parametrize("ending", [HUNG_UP, OVER])
async def test_the_caller_hangs_up_or_the_service_stops(ending):
    stage = Stage()
    task = await stage.ask(BOB, CAROL)
    stage.cancelled = ending
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.said == [("bob@x.org", f"Call from Ann\n{ending}"), ("carol@x.org", f"Call from Ann\n{ending}")]


async def test_the_account_stops():
    stage = Stage()
    task = await stage.ask(BOB, CAROL)
    stage.asking.session_stops()
    assert [to for to, _ in stage.said] == ["bob@x.org", "carol@x.org"]
    with pytest.raises(NotConnected, match="being stopped"):
        await task
    assert len(stage.said) == 2


async def test_a_wrong_answer_is_corrected_and_its_correction_can_be_replied_to():
    stage = Stage(queue_message="hint-1")
    task = await stage.ask()
    assert stage.hear("9")
    ((to, text, kwargs),) = stage.sent("queue_message")
    assert (to, text) == ("bob@x.org", "“9” is not among the answers. Possible: 1 (Cell), 2 (Desk).")
    assert kwargs["thread"] == "call-1"
    stage.hear("", reacts_to="hint-1", reactions=("1️⃣",))
    assert (await task).choice == MENU.choices[0]


async def test_what_is_for_somebody_else_is_left_to_them():
    stage = Stage()
    task = await stage.ask()
    assert not stage.hear("1", Jid("mallory", "x.org", "pc"))
    assert not stage.hear("call you back", awaited=True)
    assert not task.done()
    task.cancel()


class TestBounces:
    @pytest.mark.parametrize("error", [Bounced("bob@x.org: gone", "gone"), NotConnected("no session")])
    async def test_at_once(self, error):
        stage = Stage(send_message=error)
        task = await stage.ask()
        with pytest.raises(type(error), match=str(error)):
            await task
        assert stage.said == []  # there is nothing to correct

    async def test_later(self):
        stage = Stage()
        task = await stage.ask()
        stage.asking.message_bounced("of somebody else", Bounced("x", "gone"))
        assert not task.done()
        stage.asking.message_bounced(stage.question_id(), Bounced("bob@x.org: came back", "gone"))
        with pytest.raises(Bounced, match="came back"):
            await task
        assert stage.said == []

    async def test_one_of_two(self):
        stage = Stage()
        task = await stage.ask(BOB, CAROL)
        stage.asking.message_bounced(stage.question_id(BOB), Bounced("x", "gone"))
        stage.hear("1", CAROL)
        assert (await task).sender == CAROL

    async def test_one_of_two_and_silence(self):
        stage = Stage()
        task = await stage.ask(BOB, CAROL, seconds=0.01)
        stage.asking.message_bounced(stage.question_id(BOB), Bounced("bob@x.org: gone", "gone"))
        with pytest.raises(TimeoutError, match=r"bob@x\.org: gone"):
            await task

    async def test_one_bounces_and_the_other_declines(self):
        stage = Stage()
        task = await stage.ask(BOB, CAROL)
        stage.hear("no", CAROL)
        stage.asking.message_bounced(stage.question_id(BOB), Bounced("x", "gone"))
        assert await task == Outcome(None, CAROL)

    async def test_not_confirmed_may_be_answered(self):
        stage = Stage(send_message=NotConfirmed("broke"))
        task = await stage.ask()
        stage.hear("1")
        assert (await task).choice == MENU.choices[0]

    @pytest.mark.parametrize("error", [BadText("too long"), ZeroDivisionError("ours")])
    async def test_what_cannot_be_sent_ends_the_ask(self, error):
        stage = Stage(send_message=error)
        with pytest.raises(type(error)):
            await (await stage.ask(BOB, CAROL))


class TestUnsent:
    """A question that waits for a session."""

    @pytest.mark.parametrize(("state", "corrected"), [(SessionState.ONLINE, True), (SessionState.CONNECTING, False)])
    async def test_is_corrected_only_if_it_may_have_left(self, state, corrected):
        stage = Stage(send_message=FOREVER)
        stage.session.state = state
        task = await stage.ask()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bool(stage.said) is corrected

    async def test_may_be_answered_all_the_same(self):
        stage = Stage(send_message=FOREVER)
        stage.session.state = SessionState.SUSPENDED
        task = await stage.ask()
        stage.hear("1")
        assert (await task).choice == MENU.choices[0]
        assert len(stage.said) == 1


async def test_a_correction_that_cannot_be_queued_does_not_change_the_result(caplog):
    stage = Stage(queue_message=NotConnected("the queue is full"))
    task = await stage.ask()
    stage.hear("9")
    stage.hear("1")
    assert (await task).choice == MENU.choices[0]
    assert "stays open on the screen: bob@x.org" not in caplog.text
    assert "the question to bob@x.org stays open on the screen: the queue is full" in caplog.text
    assert "bob@x.org could not be told: the queue is full" in caplog.text


class TestCommands:
    async def tap(self, stage: Stage, node: str, who: Jid = PHONE) -> Any:
        return await stage.asking.execute(who, node, None)

    def nodes(self, stage: Stage) -> Sequence[str]:
        return [button.node for button in stage.sent("send_message")[0][2]["extras"].buttons]

    async def test_a_tap(self):
        stage = Stage()
        task = await stage.ask()
        result = await self.tap(stage, self.nodes(stage)[0])
        assert (result.note, result.form) == ("You chose 1: Cell", None)
        assert await task == Outcome(MENU.choices[0], PHONE)

    async def test_a_late_tap_is_refused_and_told(self):
        stage = Stage()
        task = await stage.ask()
        stage.hear("2")
        await task
        with pytest.raises(Refused, match="closed") as refused:
            await self.tap(stage, self.nodes(stage)[0])
        assert refused.value.condition == "item-not-found"
        assert stage.said[-1] == ("bob@x.org", "This question is closed: Call from Ann\nYou chose 2: Desk")

    async def test_a_node_of_nobody_is_none_of_ours(self):
        assert await self.tap(Stage(), "answer/x/1") is None

    async def test_a_node_of_another_person_is_none_of_theirs(self):
        stage = Stage()
        task = await stage.ask()
        assert await self.tap(stage, self.nodes(stage)[0], CAROL) is None
        assert not task.done()
        task.cancel()

    async def test_the_form(self):
        stage = Stage()
        first, second = await stage.ask(), await stage.ask()
        form = await stage.asking.execute(PHONE, "questions", None)
        assert form is not None
        assert form.form is not None
        one, two = (field.var for field in form.form.fields)
        done = await stage.asking.execute(PHONE, "questions", {"FORM_TYPE": ["x"], one: ["2"], two: ["1"], "junk": []})
        assert done is not None
        assert done.note == "#1: You chose 2: Desk\n#2: You chose 1: Cell"
        assert [(await task).choice for task in (first, second)] == [MENU.choices[1], MENU.choices[0]]
        late = await stage.asking.execute(PHONE, "questions", {one: ["1"]})
        assert late is not None
        assert late.note.startswith("This question is closed")

    @pytest.mark.parametrize("values", [{}, {"k": []}, {"k": [""]}, {"k": ["1"]}])
    async def test_a_form_that_chooses_nothing(self, values):
        with pytest.raises(Refused) as refused:
            await Stage().asking.execute(PHONE, "questions", values)
        assert refused.value.condition == "bad-request"

    async def test_the_list_is_for_who_is_asked_only(self):
        stage = Stage()
        task = await stage.ask()
        assert [command.node for command in stage.asking.commands(PHONE)] == ["questions"]
        assert stage.asking.commands(CAROL) == []
        with pytest.raises(Refused) as refused:
            await stage.asking.execute(CAROL, "questions", None)
        assert refused.value.condition == "forbidden"
        task.cancel()


async def test_others_can_see_what_is_an_answer():
    stage = Stage()
    task = await stage.ask()
    answer = IncomingMessage(PHONE, "2", "chat", "b1", "", 1000.0, 1000.0)
    assert stage.asking.matches(answer)
    assert stage.asking.is_asked(PHONE)
    assert not stage.asking.is_asked(CAROL)
    stage.hear("2")
    await task
    assert not stage.asking.matches(answer)
    assert not stage.asking.is_asked(PHONE)
