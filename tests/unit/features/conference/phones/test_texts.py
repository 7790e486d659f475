"""The leg of a conference: when it is there, and what becomes of texts meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.errors import SipNotReached, SipRefused, SipUnknown
from agi_xmpp.features.conference.model import ConferenceRoom, Utterance
from agi_xmpp.features.conference.phones import texts as module
from agi_xmpp.features.conference.phones.texts import WAITING_LIMIT, PhoneTexts
from agi_xmpp.pace import Pace


class Room:
    """What the room hears of its texts."""

    number = "6000"
    title = "Balcony"

    def __init__(self) -> None:
        self.results: asyncio.Queue[str] = asyncio.Queue()
        self.announced: list[str] = []

    def spoken(self, utterance: Utterance) -> None:
        self.results.put_nowait(f"spoken {utterance.text}")

    def not_spoken(self, utterance: Utterance, reason: str) -> None:
        self.results.put_nowait(f"not spoken {utterance.text}: {reason}")

    def announce(self, text: str) -> None:
        self.announced.append(text)

    async def next(self, count: int) -> list[str]:
        async with asyncio.timeout(5):
            return [await self.results.get() for _ in range(count)]


class Leg:
    """A call to the conference that was answered."""

    call_id = "1@test"
    number = "6000"

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.hung_up = asyncio.Event()

    async def send_text(self, text: str, display: str) -> None:
        await self._agent.open.wait()
        if self._agent.failures:
            raise self._agent.failures.pop(0)
        self._agent.said.append((display, text))

    async def hang_up(self) -> None:
        self.hung_up.set()


class Agent:
    """Asterisk, as our leg meets it."""

    def __init__(self) -> None:
        self.legs: asyncio.Queue[Leg] = asyncio.Queue()
        self.calls = 0
        self.refusals: list[Exception] = []
        self.failures: list[Exception] = []
        self.said: list[tuple[str, str]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def call(self, number: str, listener: object, *, display: str = "") -> Leg:
        assert (number, display) == ("6000", "Balcony")
        self.calls += 1
        if self.refusals:
            raise self.refusals.pop(0)
        leg = Leg(self)
        self.legs.put_nowait(leg)
        return leg

    async def answered(self) -> Leg:
        async with asyncio.timeout(5):
            return await self.legs.get()


class House:
    def __init__(self) -> None:
        self.room = Room()
        self.agent = Agent()
        self.heard: list[tuple[str, str]] = []
        pace = Pace(0.01, lambda: 0.0, lambda: 0.0)  # whoever calls again does so at once
        self.texts = PhoneTexts(
            cast(ConferenceRoom, self.room), self.agent, pace, lambda *said: self.heard.append(said)
        )

    def say(self, *words: str) -> None:
        for word in words:
            self.texts.say(Utterance("Romeo", word, Element("message")))

    async def in_conference(self) -> Leg:
        self.texts.want(True)
        leg = await self.agent.answered()
        self.texts.entered()
        return leg


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.texts.stop()


async def test_where_no_phone_is_the_room_need_not_wait(house):
    house.say("a")
    assert await house.room.next(1) == ["spoken a"]
    assert house.agent.calls == 0


async def test_texts_reach_the_phones_in_order_with_their_speaker(house):
    await house.in_conference()
    house.say("a", "b", "c")
    assert await house.room.next(3) == ["spoken a", "spoken b", "spoken c"]
    assert house.agent.said == [("Romeo", "a"), ("Romeo", "b"), ("Romeo", "c")]


async def test_what_is_said_while_the_leg_is_being_made_waits_for_it(house):
    house.texts.want(True)
    house.say("a")
    leg = await house.agent.answered()
    assert house.agent.said == []
    house.texts.entered()
    assert await house.room.next(1) == ["spoken a"]
    assert house.agent.said == [("Romeo", "a")]
    assert not leg.hung_up.is_set()


async def test_without_a_word_from_asterisk_it_speaks_after_a_moment(house, monkeypatch):
    monkeypatch.setattr(module, "ENTRY_TIME", 0.01)
    house.texts.want(True)
    house.say("a")
    assert await house.room.next(1) == ["spoken a"]


async def test_phones_are_heard(house):
    await house.in_conference()
    house.texts.text_came("Alice A", "hello")
    assert house.heard == [("Alice A", "hello")]


async def test_the_leg_goes_when_it_is_not_needed_and_comes_back(house):
    leg = await house.in_conference()
    house.texts.want(False)
    async with asyncio.timeout(5):
        await leg.hung_up.wait()
    house.say("a")
    assert await house.room.next(1) == ["spoken a"]
    assert house.agent.said == []
    await house.in_conference()
    house.say("b")
    assert await house.room.next(1) == ["spoken b"]
    assert house.agent.said == [("Romeo", "b")]


async def test_what_waits_when_the_last_phone_goes_is_said_to_the_room_once(house):
    house.agent.open.clear()
    leg = await house.in_conference()
    house.say("a", "b")
    house.texts.want(False)
    assert await house.room.next(2) == ["spoken a", "spoken b"]
    house.agent.open.set()
    async with asyncio.timeout(5):
        await leg.hung_up.wait()
    assert house.room.results.empty()


async def test_a_leg_that_ends_is_made_anew_and_nothing_is_lost(house):
    await house.in_conference()
    house.texts.ended("BYE")
    house.say("a")
    await house.agent.answered()
    house.texts.entered()
    assert await house.room.next(1) == ["spoken a"]
    assert house.agent.calls == 2


async def test_if_asterisk_ends_each_call_at_once_the_room_goes_on_and_is_told_once(house, caplog):
    """As it does where the conference is full or locked."""
    house.texts.want(True)
    house.say("a")
    await house.agent.answered()
    house.texts.ended("BYE")
    assert await house.room.next(1) == ["spoken a"]
    await house.agent.answered()
    house.say("b")
    house.texts.ended("BYE")
    assert await house.room.next(1) == ["spoken b"]
    assert house.room.announced == ["The phones in this conference cannot read what is written here at the moment."]
    assert "ended our call before it was in the conference" in caplog.text
    assert house.agent.said == []
    await house.agent.answered()
    house.texts.entered()
    house.say("c")
    assert await house.room.next(1) == ["spoken c"]
    assert house.agent.said == [("Romeo", "c")]


async def test_a_call_that_fails_by_settings_that_are_over_is_no_failure(house, monkeypatch):
    begun, failing = asyncio.Event(), asyncio.Event()

    async def call(*_arguments: object, **_keywords: object) -> Leg:
        begun.set()
        await failing.wait()
        raise SipNotReached("nobody listens at 127.0.0.1:5060")

    with monkeypatch.context() as patch:
        patch.setattr(house.agent, "call", call)
        house.texts.want(True)
        house.say("a")
        await begun.wait()
    house.texts.expect_other_settings()
    failing.set()
    await house.agent.answered()
    house.texts.entered()
    assert await house.room.next(1) == ["spoken a"]
    assert house.agent.said == [("Romeo", "a")]
    house.texts.ended("BYE")
    await house.agent.answered()
    house.texts.ended("BYE")
    await house.agent.answered()
    assert house.room.announced == ["The phones in this conference cannot read what is written here at the moment."]


async def test_if_asterisk_cannot_be_reached_the_room_goes_on_and_is_told_once(house, caplog):
    house.agent.refusals = [SipNotReached("nobody listens at 127.0.0.1:5060")] * 3
    house.say("before")
    assert not house.texts.fails
    house.texts.want(True)
    house.say("a")
    assert await house.room.next(2) == ["spoken before", "spoken a"]
    assert house.texts.fails
    house.say("b")
    assert await house.room.next(1) == ["spoken b"]
    await house.agent.answered()
    house.texts.entered()
    house.say("c")
    assert await house.room.next(1) == ["spoken c"]
    assert house.room.announced == [
        "The phones in this conference cannot read what is written here at the moment.",
        "The phones in this conference can read again what is written here.",
    ]
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert "nobody listens at 127.0.0.1:5060" in caplog.text
    assert house.agent.calls == 4
    assert not house.texts.fails


async def test_what_nobody_needs_does_not_fail(house):
    house.agent.refusals = [SipNotReached("nobody listens at 127.0.0.1:5060")]
    house.texts.want(True)
    house.say("a")
    assert await house.room.next(1) == ["spoken a"]
    house.texts.want(False)
    assert not house.texts.fails


async def test_a_text_that_asterisk_refuses_comes_back_and_the_next_one_goes(house):
    await house.in_conference()
    house.agent.failures = [SipRefused("Asterisk refused it (SIP 415)", 415)]
    house.say("a", "b")
    assert await house.room.next(2) == ["not spoken a: Asterisk refused it (SIP 415)", "spoken b"]
    assert house.agent.calls == 1


async def test_a_text_without_an_answer_comes_back_and_the_leg_is_made_anew(house):
    leg = await house.in_conference()
    house.agent.failures = [SipUnknown("no answer")]
    house.say("a")
    assert await house.room.next(1) == ["not spoken a: no answer"]
    async with asyncio.timeout(5):
        await leg.hung_up.wait()
    await house.agent.answered()
    house.texts.entered()
    house.say("b")
    assert await house.room.next(1) == ["spoken b"]


async def test_a_text_that_a_dead_leg_cannot_take_goes_by_the_next_one(house):
    dead = await house.in_conference()
    house.agent.failures = [SipNotReached("Asterisk knows no call to 6000 any more")]
    house.say("a", "b")
    async with asyncio.timeout(5):
        await dead.hung_up.wait()
    await house.agent.answered()
    house.texts.entered()
    assert await house.room.next(2) == ["spoken a", "spoken b"]
    assert house.agent.said == [("Romeo", "a"), ("Romeo", "b")]
    assert house.room.announced == []


async def test_a_text_that_a_dead_leg_cannot_take_is_for_the_room_alone_if_there_is_no_other_leg(house):
    await house.in_conference()
    house.agent.failures = [SipNotReached("nobody listens at 127.0.0.1:5060")]
    house.agent.refusals = [SipNotReached("nobody listens at 127.0.0.1:5060")]
    house.say("a", "b")
    assert await house.room.next(2) == ["spoken a", "spoken b"]
    assert house.agent.said == []
    assert house.room.announced == ["The phones in this conference cannot read what is written here at the moment."]


async def test_a_text_that_two_legs_cannot_take_comes_back(house):
    await house.in_conference()
    house.agent.failures = [SipNotReached("no such call")] * 2
    house.say("a")
    await house.agent.answered()
    house.texts.entered()
    assert await house.room.next(1) == ["not spoken a: no such call"]
    await house.agent.answered()
    house.texts.entered()
    house.say("b")
    assert await house.room.next(1) == ["spoken b"]


@pytest.mark.parametrize(("count", "lost"), [(WAITING_LIMIT - 1, 0), (WAITING_LIMIT, 0), (WAITING_LIMIT + 1, 1)])
async def test_too_many_texts_that_wait_come_back(house, count, lost):
    house.texts.want(True)
    house.say(*["a"] * count)
    await house.agent.answered()
    house.texts.entered()
    results = await house.room.next(count)
    assert len([result for result in results if result.startswith("not spoken")]) == lost
    assert len(house.agent.said) == count - lost


async def test_an_internal_error_is_logged_and_the_room_goes_on(house, caplog):
    await house.in_conference()
    house.agent.failures = [RuntimeError("broken")]
    house.say("a")
    assert await house.room.next(1) == ["spoken a"]
    assert "internal error" in caplog.text
    house.say("b")
    assert await house.room.next(1) == ["spoken b"]
    await house.in_conference()
    house.say("c")
    assert await house.room.next(1) == ["spoken c"]


async def test_a_leg_that_asterisk_does_not_list_is_made_anew(house):
    leg = await house.in_conference()
    house.texts.left()
    async with asyncio.timeout(5):
        await leg.hung_up.wait()
    await house.agent.answered()
    house.texts.left()  # it is about to come in
    house.texts.entered()
    house.say("a")
    assert await house.room.next(1) == ["spoken a"]
    assert house.agent.calls == 2


async def test_it_has_a_leg_from_the_call_to_the_end(house):
    assert not house.texts.has_leg
    house.agent.refusals = [SipRefused("forbidden", 403)]
    await house.in_conference()
    assert house.texts.has_leg
    assert house.texts.wanted
    await house.texts.stop()
    assert not house.texts.has_leg
    assert not house.texts.wanted


async def test_stop_hangs_up(house):
    leg = await house.in_conference()
    with contextlib.suppress(asyncio.CancelledError):
        await house.texts.stop()
    assert leg.hung_up.is_set()


async def test_the_room_is_told_that_phones_read_again_also_where_they_were_gone_meanwhile(house):
    house.agent.refusals = [SipNotReached("nobody listens")]
    house.texts.want(True)
    house.say("a")
    assert await house.room.next(1) == ["spoken a"]
    house.texts.want(False)
    await house.in_conference()
    house.say("b")
    assert await house.room.next(1) == ["spoken b"]
    assert [text.partition("conference ")[2] for text in house.room.announced] == [
        "cannot read what is written here at the moment.",
        "can read again what is written here.",
    ]
