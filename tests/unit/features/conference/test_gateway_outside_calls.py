"""The gateway leads texts outside of calls to rooms and phones, from every side."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agi_xmpp.errors import AmiForbidden
from tests.unit.ami.test_messages import event
from tests.unit.features.conference.test_gateway import House, ban, left

CAROL = "PJSIP/103-00000001"


class Stage(House):
    """Carol's phone reads outside of calls; the balcony is the conference 6000."""

    async def begin(self) -> None:
        await self.start()
        self.ami.answers["Getvar"] = self._value
        await self.join("103", name="Carol C")

    def _value(self, headers: dict[str, str]) -> dict[str, str]:
        values = {
            "PJSIP_ENDPOINT(103,callerid)": '"Carol C" <103>',
            "PJSIP_ENDPOINT(101,callerid)": '"Alice A" <101>',
            "PJSIP_DIAL_CONTACTS(103)": "PJSIP/103/sip:103@host",
            "PJSIP_DIAL_CONTACTS(101)": "PJSIP/101/sip:101@host",
        }
        return {"Value": values.get(headers["Variable"], "allowed_not_screened")}

    async def writes(self, text: str, endpoint: str = "103", caller: str = "Carol C") -> None:
        """Let a phone write outside of its call."""
        self.gateway.ami_event(event(sender=f"<sip:{endpoint}@pbx>", caller=caller, Text=text))
        await self.settle()

    def told(self) -> list[tuple[str, str]]:
        """Return what phones were told outside of calls: the name, and the text."""
        return [
            (headers["From"].partition(" <")[0], base64.b64decode(headers["Base64Body"]).decode())
            for name, headers, _ in self.ami.actions
            if name == "MessageSend"
        ]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Stage]:
    house = Stage(tmp_path, texts_outside_calls=["103"])
    await house.begin()
    yield house
    await house.gateway.stop()


async def said(house: Stage) -> tuple[str, str]:
    async with asyncio.timeout(5):
        return await house.agent.said.get()


async def test_a_text_goes_to_chat_and_to_phones_within_their_calls(house):
    await house.comes()
    await house.join("101")
    house.gateway.ami_event({**left("agi-xmpp"), "Event": "ConfbridgeJoin"})
    await house.writes("hello")
    assert house.bodies() == [("Carol C", "hello")]
    assert await said(house) == ("Carol C", "hello")
    assert house.told() == []


async def test_chat_and_phones_within_their_calls_are_read_outside_of_them(house):
    await house.comes()
    house.say("from chat")
    await house.settle()
    await house.join("101")
    async with asyncio.timeout(5):
        leg = await house.agent.legs.get()
    leg.listener.text_came("Alice A", "from alice")
    await house.settle()
    assert house.told() == [('"Romeo"', "<Romeo> from chat"), ('"Alice A"', "<Alice A> from alice")]
    assert house.bodies() == [("Romeo", "from chat"), ("Alice A", "from alice")]


async def test_words_are_answered_and_not_passed_on(house):
    await house.comes()
    await house.join("101")
    await house.writes("/who")
    assert house.bodies() == []
    assert house.agent.said.empty()
    answer = "[private] Balcony: in chat Romeo; on the phone Alice A, Carol C."
    assert house.told() == [("<sip:6000@127.0.0.1>", answer)]
    (leg,) = house.agent.made
    leg.listener.text_came("Alice A", "/who")
    await house.settle()
    assert len(house.told()) == 1


async def test_private_texts(house):
    await house.comes()
    house.say("psst", to="balcony@conference.example.org/Carol C", kind="chat")
    await house.settle()
    assert house.told() == [('"Romeo"', "[private] <Romeo> psst")]
    assert [name for name, _, _ in house.ami.actions if name == "SendText"] == []


async def test_who_is_banned_writes_nothing(house):
    await house.comes()
    await house.join("101")
    ban(house)
    house.gateway.ami_event(left())
    house.session.port.take()
    await house.join("101")  # in Asterisk's conference, until it is thrown out
    await house.writes("hello", "101", "Alice A")
    assert house.bodies() == []
    assert house.told() == []


async def test_a_conference_that_is_no_room(house):
    await house.join("101", conference="staff")
    house.gateway.ami_event(event(number="staff", sender="<sip:101@pbx>", caller="Alice A"))
    await house.settle()
    assert house.told() == []


async def test_other_endpoints_at_a_reload(house):
    await house.comes()
    assert await house.apply(texts_outside_calls=["101"])
    async with asyncio.timeout(5):
        await house.agent.legs.get()  # Carol's phone reads within its call now
    await house.join("101")
    house.gateway.ami_event({**left("agi-xmpp"), "Event": "ConfbridgeJoin"})
    house.say("hello")
    assert await said(house) == ("Romeo", "hello")
    await house.settle()
    assert [headers["To"] for name, headers, _ in house.ami.actions if name == "MessageSend"] == [
        "pjsip:101/sip:101@host"
    ]


async def test_missing_rights_are_in_the_status(house):
    house.ami.answers["MessageSend"] = AmiForbidden("Permission denied")
    await house.comes()
    house.say("hello")
    await house.settle()
    (problem,) = house.gateway.status()["problems"]
    assert "add message to the manager user's line write =" in problem
    (room,) = house.gateway.status()["rooms"]
    assert room["texts_fail"]
    house.gateway.ami_event(left("103"))
    await house.settle()
    (room,) = house.gateway.status()["rooms"]
    assert not room["texts_fail"], "nobody is to be told anything"


async def test_until_something_was_handed_on_the_right_to_it_may_be_missing(house):
    assert house.gateway.is_deaf
    await house.writes("hello")
    assert not house.gateway.is_deaf
    house.gateway.ami_connected()
    assert house.gateway.is_deaf
    assert await house.apply(texts_outside_calls=[])
    assert not house.gateway.is_deaf


async def test_who_has_gone_is_told_nothing(house):
    await house.comes()
    house.say("one")
    house.say("two")
    house.gateway.ami_event(left("103"))
    await house.settle()
    assert house.told() == [('"Romeo"', "<Romeo> one")]
