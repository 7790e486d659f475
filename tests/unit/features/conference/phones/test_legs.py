"""Our legs in all conferences: which there are, and what other settings do to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.ami.conferences import Conferences, Participant
from agi_xmpp.config import SipSettings
from agi_xmpp.errors import AmiNotConnected
from agi_xmpp.features.conference.model import Utterance
from agi_xmpp.features.conference.phones import legs as module
from agi_xmpp.features.conference.phones.legs import Legs, own_device
from tests.testbed.ports import free_port
from tests.unit.features.phone.fakes import FakeAmi


class Room:
    """A room with somebody in chat."""

    number = title = "6000"

    def __init__(self) -> None:
        self.has_listeners = True
        self.spoken_texts: list[str] = []
        self.announced: list[str] = []

    def spoken(self, utterance: Utterance) -> None:
        self.spoken_texts.append(utterance.text)

    def announce(self, text: str) -> None:
        self.announced.append(text)


class Leg:
    def __init__(self, agent: Agent, listener: object) -> None:
        self.agent, self.listener = agent, listener
        self.hung_up = asyncio.Event()

    async def send_text(self, text: str, display: str) -> None:
        self.agent.said.put_nowait((self, text))

    async def hang_up(self) -> None:
        self.hung_up.set()


class Agent:
    """Answers each call."""

    def __init__(self, settings: SipSettings) -> None:
        self.settings = settings
        self.legs: list[Leg] = []
        self.called: asyncio.Queue[Leg] = asyncio.Queue()
        self.said: asyncio.Queue[tuple[Leg, str]] = asyncio.Queue()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def apply(self, settings: SipSettings) -> None:
        self.settings = settings
        for leg in self.legs:
            leg.listener.ended("other settings")  # type: ignore[attr-defined]
            await leg.hung_up.wait()

    async def call(self, number: str, listener: object, *, display: str = "") -> Leg:
        leg = Leg(self, listener)
        self.legs.append(leg)
        self.called.put_nowait(leg)
        return leg


class OutsideCalls:
    """Takes down what is told to phones that read outside of calls: the phone 103."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, str]] = []
        self.problem = ""

    def reads(self, participant: Participant) -> bool:
        return participant.device == "PJSIP/103"

    def tell(self, number: str, title: str, name: str, text: str, *, but: str = "") -> None:
        self.told.append((number, name or title, text, but))


class House:
    """A conference 6000 with a room; phones come and go."""

    def __init__(self, **settings: object) -> None:
        self.ami = FakeAmi(Getvar=AmiNotConnected("away"))
        self.conferences = Conferences()
        self.rooms = {"6000": Room()}
        self.texts: list[tuple[str, str, str, str | None]] = []
        self.agents: list[Agent] = []
        self.outside_calls = OutsideCalls()
        self.legs = Legs(
            SipSettings.model_validate(settings),
            self.ami,
            self.conferences,
            self.rooms.get,  # type: ignore[arg-type]
            lambda *text: self.texts.append(text),
            self.outside_calls,  # type: ignore[arg-type]
            self._make_agent,  # type: ignore[arg-type]
        )
        (self.agent,) = self.agents

    def _make_agent(self, settings: SipSettings) -> Agent:
        self.agents.append(Agent(settings))
        return self.agents[-1]

    @property
    def room(self) -> Room:
        return self.rooms["6000"]

    def join(self, device: str = "101", number: str = "6000") -> None:
        """Let a phone, or our own leg, come into a conference."""
        event = {
            "Event": "ConfbridgeJoin",
            "Conference": number,
            "Channel": f"PJSIP/{device}-00000001",
            "Uniqueid": f"17.{device}",
        }
        self.conferences.event(event)
        for participant in self.conferences.take_questions():
            self.conferences.answer(participant, withheld=False)
        self.legs.ami_event(event)
        self.legs.occupancy_changed(number)

    def leave(self, device: str) -> None:
        """Let a phone, or our own leg, go."""
        event = {"Event": "ConfbridgeLeave", "Conference": "6000", "Channel": f"PJSIP/{device}-00000001"}
        self.conferences.event({**event, "Uniqueid": f"17.{device}"})

    async def call(self) -> Leg:
        async with asyncio.timeout(5):
            return await self.agent.called.get()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.legs.start()
    yield house
    await house.legs.stop()


def utterance(text: str) -> Utterance:
    return Utterance("Romeo", text)


async def test_no_leg_without_phones_or_without_anybody_in_chat(house):
    house.legs.occupancy_changed("6000")
    house.legs.occupancy_changed("7000")
    house.room.has_listeners = False
    house.join()
    await house.settle()
    assert house.agent.called.empty()
    assert house.legs.status("6000") == {"texts": "not needed", "texts_fail": False}
    house.legs.say("6000", utterance("alone"))
    house.legs.say("7000", utterance("nowhere"))
    assert house.room.spoken_texts == ["alone"]


async def test_a_leg_between_phones_that_read_within_calls_and_outside_of_them(house, monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.0)
    house.legs.stream_began()
    house.room.has_listeners = False
    house.join("103")
    await house.settle()
    assert house.agent.called.empty()
    house.join("101")
    leg = await house.call()
    house.join("agi-xmpp")
    event = {"Event": "ConfbridgeLeave", "Conference": "6000", "Channel": "PJSIP/103-00000001", "Uniqueid": "17.103"}
    house.conferences.event(event)
    house.legs.occupancy_changed("6000")
    async with asyncio.timeout(5):
        await leg.hung_up.wait()


async def test_chat_needs_no_leg_to_phones_that_read_outside_of_calls(house):
    house.join("103")
    await house.settle()
    assert house.agent.called.empty()
    house.legs.say("6000", utterance("one"))
    house.legs.say("6000", Utterance("", "two"))
    assert house.room.spoken_texts == ["one", "two"]
    assert house.outside_calls.told == [("6000", "Romeo", "one", ""), ("6000", "6000", "two", "")]


async def test_phones_outside_of_calls_are_told_what_the_others_have(house):
    house.join("101")
    await house.call()
    house.join("103")
    house.legs.say("6000", Utterance("Carol C", "one", device="PJSIP/104"))
    assert house.outside_calls.told == []
    house.join("agi-xmpp")
    async with asyncio.timeout(5):
        await house.agent.said.get()
    await house.settle()
    assert house.outside_calls.told == [("6000", "Carol C", "one", "PJSIP/104")]
    assert house.room.spoken_texts == ["one"]


async def test_who_comes_back_while_we_part_finds_the_leg(house, monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.0)
    house.join()
    leg = await house.call()
    house.join("agi-xmpp")
    house.legs.stream_began()
    house.room.has_listeners = False
    house.legs.occupancy_changed("6000")
    house.room.has_listeners = True
    house.legs.occupancy_changed("6000")
    await house.settle()
    assert not leg.hung_up.is_set()
    house.room.has_listeners = False
    house.legs.occupancy_changed("6000")
    async with asyncio.timeout(5):
        await leg.hung_up.wait()


async def test_other_settings_end_legs_and_lose_no_text(house):
    house.join()
    leg = await house.call()
    house.join("agi-xmpp")
    house.legs.say("6000", utterance("one"))
    async with asyncio.timeout(5):
        assert await house.agent.said.get() == (leg, "one")
    change = asyncio.create_task(house.legs.apply(SipSettings(endpoint="other")))
    house.legs.say("6000", utterance("two"))
    again = await house.call()
    house.join("other")
    async with asyncio.timeout(5):
        assert await house.agent.said.get() == (again, "two")
        await change
    assert leg.hung_up.is_set()
    assert [participant.device for participant in house.conferences.of("6000")] == ["PJSIP/101"]
    assert house.agent.settings.endpoint == "other"
    await house.settle()
    assert house.room.spoken_texts == ["one", "two"]
    house.leave("agi-xmpp")
    house.join("agi-xmpp")  # that is any phone now
    assert [participant.device for participant in house.conferences.of("6000")] == ["PJSIP/101", "PJSIP/agi-xmpp"]


async def test_other_settings_while_our_call_is_not_in_yet_are_no_failure(house):
    house.join()
    leg = await house.call()
    house.legs.say("6000", utterance("one"))
    change = asyncio.create_task(house.legs.apply(SipSettings(endpoint="other")))
    again = await house.call()
    house.join("other")
    async with asyncio.timeout(5):
        assert await house.agent.said.get() == (again, "one")
        await change
    assert leg.hung_up.is_set()
    assert house.room.announced == []


async def test_texts_that_wait_for_their_copy_are_told_when_copies_come_elsewhere():
    house = House(hep=f"127.0.0.1:{free_port()}")
    await house.legs.start()
    house.join()
    leg = await house.call()
    house.join("agi-xmpp")
    leg.listener.text_came("Alice", "hello")  # type: ignore[attr-defined]
    assert house.texts == []
    await house.legs.apply(SipSettings())
    assert house.texts == [("6000", "Alice", "hello", "")]
    await house.legs.stop()


async def test_the_same_settings_change_nothing(house):
    house.join()
    leg = await house.call()
    await house.legs.apply(SipSettings())
    await house.settle()
    assert not leg.hung_up.is_set()


async def test_copies_are_listened_for_in_place_and_known_phones_are_asked_for(house):
    house.join()
    await house.call()
    assert house.legs.senders_status() is None
    place = f"127.0.0.1:{free_port()}"
    await house.legs.apply(SipSettings(hep=place))
    status = house.legs.senders_status()
    assert status is not None
    assert status["address"] == place
    await house.settle()
    assert {headers["Channel"] for name, headers in house.ami.taken() if name == "Getvar"} == {"PJSIP/101-00000001"}
    await house.legs.apply(SipSettings())
    assert house.legs.senders_status() is None
    assert house.legs.problem == ""


def test_our_device():
    assert own_device(SipSettings(endpoint="gw")) == "PJSIP/gw"
