"""Which messages are taken as commands, who may execute what, and that every one is answered."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

import pytest

from agi_xmpp.ami.calls import Phase
from agi_xmpp.errors import NotConnected, Refused
from agi_xmpp.features.asking import Asking
from agi_xmpp.features.menu import parse
from agi_xmpp.features.phone.command_set import COMMANDS
from agi_xmpp.features.phone.commands import (
    HINTS_TTL,
    MAX_COMMANDS,
    MAX_DELAY,
    MAX_HINTS,
    MAX_TEXT,
    PERIOD,
    PhoneCommands,
)
from agi_xmpp.xmpp.model import IncomingMessage, Jid, Presence, Show
from tests.unit.features.phone.house import ANN, BOB, Board, call, person

PC = Jid("bob", "x.org", "pc")
RINGS = "Your phone PJSIP/102 rings. Pick it up, and 601 is called."


class Stage(Board):
    """The commands of an account, and its open questions."""

    def __init__(self) -> None:
        super().__init__()
        self.asking = Asking(self.session, self.clock)
        self.guest = PhoneCommands(self.session, self.switchboard, self.asking, self.clock)

    def hear(self, body: str, sender: Jid = PC, *, kept: bool = False, awaited: bool = False, **changes: Any) -> bool:
        """Return True if a message is taken."""
        message = IncomingMessage(sender, body, "chat", "b1", "t1", self.clock.now, self.clock.now)
        return self.guest.message_came(dataclasses.replace(message, **changes), kept=kept, awaited=awaited)

    async def done(self) -> None:
        """Let all commands that were begun come to their end."""
        async with asyncio.timeout(5):
            while running := list(self.guest._running):
                await asyncio.wait(running)
                await asyncio.sleep(0)

    async def say(self, body: str, sender: Jid = PC, **changes: Any) -> list[str]:
        """Return what is answered to a message that is taken."""
        before = len(self.said)
        assert self.hear(body, sender, **changes)
        await self.done()
        return [text for _, text in self.said[before:]]

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(args[0], args[1]) for name, args, _ in self.session.calls if name == "queue_message"]


class TestChat:
    @pytest.mark.parametrize("text", ["call 601", "/call 601", " / call  601", "  Call 601 ", "DIAL\t601"])
    async def test_a_command(self, text):
        stage = Stage()
        answers = await stage.say(text)
        assert (stage.acting.done, stage.acting.asked_by) == ([("dial", BOB, "601", "")], PC)
        assert answers == [RINGS]
        ((_, args, kwargs),) = stage.session.calls
        assert args[0] == "bob@x.org"
        assert (kwargs["thread"], kwargs["extras"].expects_answer) == ("t1", False)

    @pytest.mark.parametrize(
        "changes",
        [
            {"type": "groupchat"},
            {"type": "headline"},
            {"type": "error"},
            {"occupant": True},
            {"carbon": True},
            {"body": ""},
            {"body": "call 601\nthank you"},
            {"body": f"call {'6' * MAX_TEXT}"},
            {"sent_at": 1000.0 - MAX_DELAY - 0.1},
            {"kept": True},
            {"awaited": True},
            {"sender": Jid("bob", "evil.example", "pc")},
            {"sender": Jid("zoe", "x.org", "pc")},
            {"sender": Jid("", "x.org")},
        ],
    )
    async def test_what_is_left_alone(self, changes):
        stage = Stage()
        assert not stage.hear(**({"body": "call 601"} | changes))
        await stage.done()
        assert (stage.acting.done, stage.said) == ([], [])

    @pytest.mark.parametrize("changes", [{"type": "normal"}, {"sent_at": 1000.0 - MAX_DELAY}, {"sender": BOB}])
    async def test_what_is_not(self, changes):
        assert await Stage().say(**({"body": "call 601"} | changes)) == [RINGS]

    @pytest.mark.parametrize("text", ["hello", "all good", "I call you", "1", "yes", "tell me more", "hang on", "free"])
    def test_other_texts_are_left_alone(self, text):
        stage = Stage()
        assert not stage.hear(text)
        assert stage.said == []

    async def test_a_refusal_is_a_sentence(self):
        stage = Stage()
        stage.acting.refusal = Refused("you may not dial 601", "forbidden")
        assert await stage.say("call 601") == ["You may not dial 601."]

    async def test_a_fault_of_ours_is_answered_too(self, caplog):
        stage = Stage()
        stage.acting.refusal = ZeroDivisionError("secret")
        (answer,) = await stage.say("call 601")
        assert "fault of the telephone service" in answer
        assert "secret" not in answer
        assert "ZeroDivisionError" in caplog.text

    async def test_an_answer_that_cannot_be_sent(self, caplog):
        stage = Stage()
        stage.session.results["queue_message"] = NotConnected("the queue is full")
        await stage.say("help")
        assert "bob@x.org/pc gets no answer: the queue is full" in caplog.text

    async def test_one_after_the_other(self):
        stage = Stage()
        assert stage.hear("call 601")
        assert stage.hear("dnd on")
        assert stage.hear("call 602")
        assert stage.hear("dnd", Jid("ann", "x.org", "pc"))
        await stage.done()
        mine = [text for to, text in stage.said if to == "bob@x.org"]
        assert mine == [RINGS, "Do not disturb is on now.", RINGS.replace("601", "602")]
        await stage.switchboard.availability.stop()

    async def test_the_thread_of_a_ring_note_names_the_call(self):
        stage = Stage()
        stage.calls["bob@x.org"] = [call(), call(id="c-2", phase=Phase.TALKING)]
        await stage.say("transfer 103", thread="c-2")
        await stage.say("transfer #1 103", thread="c-2")
        assert [done[2] for done in stage.acting.done] == ["c-2", "c-1"]
        (answer,) = await stage.say("transfer 103", thread="c-of-another")
        assert answer.startswith("You have 2 calls.")

    async def test_no_task_is_left(self):
        stage = Stage()
        stage.hear("call 601")
        stage.hear("call 602")
        stage.guest.session_stops()
        await stage.done()
        assert (stage.acting.done, stage.guest._last) == ([], {})
        assert asyncio.all_tasks() == {asyncio.current_task()}


class TestBesideQuestions:
    """A dialplan has asked the person something."""

    @pytest.fixture
    async def stage(self):
        stage = Stage()
        menu = parse(("Call from Ann", "1=Call back", "2=Help", "3=calls"))
        ask = stage.asking.ask(
            [BOB], menu, thread="q", seconds=20, send_timeout=5, why_cancelled=lambda: "The caller hung up."
        )
        task = asyncio.create_task(ask)
        async with asyncio.timeout(5):
            while not stage.asking.is_asked(BOB):
                await asyncio.sleep(0)
        yield stage
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @pytest.mark.parametrize("text", ["1", "help", "calls", "call", "call back"])
    async def test_an_answer_is_no_command(self, stage, text):
        assert not stage.hear(text)

    async def test_a_command_is_no_answer(self, stage):
        assert await stage.say("call 601") == [RINGS]
        assert stage.asking.is_asked(BOB)

    async def test_no_hints_meanwhile(self, stage):
        assert not stage.hear("transfer")
        assert stage.hear("transfer", Jid("ann", "x.org", "pc"))


class TestHints:
    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("call", "I don't understand that. Say for example “call 601”, or “help”."),
            ("call zoe", "Nobody with a phone is called “zoe”. Say for example “call 601”, or “help”."),
            ("call me from home", "Nobody with a phone is called “me”. Say for example “call 601”, or “help”."),
            ("transfer to zoe", "Nobody with a phone is called “zoe”. Say for example “transfer 103”, or “help”."),
            ("transfer #2", "I don't understand that. Say for example “transfer 103”, or “help”."),
            ("Transfer", "I don't understand that. Say for example “transfer 103”, or “help”."),
            ("dnd perhaps", "I don't understand that. Say for example “dnd on”, or “help”."),
            ("cal 601", "Did you mean “call 601”? Or say “help”."),
            ("transfre 103", "Did you mean “transfer 103”? Or say “help”."),
            ("hangpu", "Did you mean “hangup”? Or say “help”."),
        ],
    )
    async def test_a_near_miss(self, text, hint):
        assert await Stage().say(text) == [hint]

    async def test_two_machines_come_to_an_end(self):
        stage = Stage()
        for _ in range(MAX_HINTS):
            assert stage.hear("call me maybe")
        assert not stage.hear("call me maybe")
        assert len(stage.said) == MAX_HINTS
        assert stage.hear("call me maybe", Jid("ann", "x.org", "pc"))
        stage.clock.now += HINTS_TTL - 1
        assert not stage.hear("transfer")
        stage.clock.now += 1
        assert stage.hear("transfer")

    async def test_a_right_command_begins_anew(self):
        stage = Stage()
        for _ in range(MAX_HINTS):
            stage.hear("call")
        await stage.say("help")
        assert stage.hear("call")

    async def test_our_own_answers_are_no_commands(self):
        """Somebody whose client sends back what it gets, or two of us, must not go on for ever."""
        stage = Stage()
        stage.calls["bob@x.org"] = [call()]
        stage.calls["ann@x.org"] = [call(ANN, id="c-2")]
        for command in COMMANDS:
            for text, _ in command.examples:
                for answer in await stage.say(text, Jid("ann", "x.org", "pc")):
                    assert not stage.hear(answer), answer
        await stage.switchboard.availability.stop()


@pytest.mark.parametrize("text", ["Help!", "help?", " /help ", "HELP", "help .", "?"])
async def test_punctuation_and_case_do_not_matter(text):
    (answer,) = await Stage().say(text)
    assert answer.startswith("You can say:")


class TestFlood:
    async def test_who_says_too_much_is_told_so_once(self):
        stage = Stage()
        for _ in range(MAX_COMMANDS):
            await stage.say("dnd")
        assert await stage.say("dnd") == ["That was too much at once, and is not done. Wait a minute."]
        assert await stage.say("dnd") == []
        stage.clock.now += PERIOD
        assert await stage.say("dnd") == ["Do not disturb is off."]
        assert not stage.hear("That was too much at once, and is not done. Wait a minute.")
        for _ in range(MAX_COMMANDS - 1):
            await stage.say("dnd")
        assert await stage.say("dnd") == ["That was too much at once, and is not done. Wait a minute."]

    async def test_commands_beyond_the_limit_do_nothing(self, caplog):
        caplog.set_level(logging.WARNING)
        stage = Stage()
        for _ in range(MAX_COMMANDS):
            assert stage.hear("call 601")
        assert stage.hear("call 601")
        await stage.done()
        assert len(stage.acting.done) == MAX_COMMANDS
        assert "bob@x.org/pc sends too many commands" in caplog.text
        assert await stage.say("call 601", Jid("ann", "x.org", "pc"))

    @pytest.mark.parametrize(("seconds", "more"), [(PERIOD - 0.1, 0), (PERIOD, 1)])
    async def test_after_a_while_they_do(self, seconds, more):
        stage = Stage()
        for _ in range(MAX_COMMANDS):
            stage.hear("call 601")
        stage.clock.now += seconds
        stage.hear("call 601")
        await stage.done()
        assert len(stage.acting.done) == MAX_COMMANDS + more


class TestForms:
    def test_the_list(self):
        guest = Stage().guest
        assert [(command.node, command.name) for command in guest.commands(PC)] == [
            ("dial", "Call somebody"),
            ("calls", "My calls"),
            ("forward", "Forward a call"),
            ("hangup", "Hang up, or reject a call"),
            ("dnd", "Do not disturb"),
            ("devices", "My phones"),
            ("notes", "Chat messages about calls"),
            ("notify", "Tell me when somebody is free"),
            ("conf", "Open a conference"),
        ]

    def test_conferences_are_not_in_the_list_where_there_are_none(self):
        stage = Stage()
        stage.convening = None
        assert "conf" not in [command.node for command in stage.guest.commands(PC)]

    @pytest.mark.parametrize("who", [Jid("bob", "evil.example", "pc"), Jid("zoe", "x.org"), Jid("", "x.org")])
    async def test_strangers(self, who):
        stage = Stage()
        assert stage.guest.commands(who) == ()
        for node in ("dial", "calls", "dial/601"):
            for values in (None, {"target": ["601"]}):
                with pytest.raises(Refused) as caught:
                    await stage.guest.execute(who, node, values)
                assert caught.value.condition == "forbidden"
        assert stage.acting.done == []

    @pytest.mark.parametrize("node", ["questions", "answer/x/1", "help", "dial/", ""])
    async def test_commands_of_others(self, node):
        assert await Stage().guest.execute(PC, node, None) is None

    async def test_a_form_is_filled_in(self):
        stage = Stage()
        asked = await stage.guest.execute(PC, "dial", None)
        assert asked is not None
        assert asked.form is not None
        done = await stage.guest.execute(PC, "dial", {"FORM_TYPE": [], "target": ["601"], "junk": ["x"]})
        assert done is not None
        assert (done.note, done.form) == (RINGS, None)
        assert stage.acting.done == [("dial", BOB, "601", "")]

    @pytest.mark.parametrize("values", [{}, {"target": []}, {"target": [""]}])
    async def test_a_form_that_is_empty(self, values):
        stage = Stage()
        with pytest.raises(Refused, match="Whom"):
            await stage.guest.execute(PC, "dial", values)
        assert stage.acting.done == []

    async def test_what_needs_no_form(self):
        stage = Stage()
        stage.calls["bob@x.org"] = [call()]
        done = await stage.guest.execute(PC, "hangup", None)
        assert done is not None
        assert done.note == "Rejected: Ann Smith, 101."
        assert (stage.acting.done, stage.acting.asked_by) == ([("hangup", BOB, "c-1")], PC)

    async def test_a_button_dials(self):
        stage = Stage()
        done = await stage.guest.execute(PC, "dial/101", None)
        assert done is not None
        assert done.form is None
        assert stage.acting.done == [("dial", BOB, "101", "")]


async def test_presence_goes_to_the_availability():
    stage = Stage()
    stage.guest.presence_changed(BOB, Presence(Show.DND))
    assert stage.switchboard.availability.is_dnd(person(BOB))
    await stage.switchboard.availability.stop()
