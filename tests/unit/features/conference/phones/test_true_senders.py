"""True senders, joined with a socket for copies and the manager connection."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.config import SipSettings
from agi_xmpp.errors import AmiNotConnected, AmiRefused
from agi_xmpp.features.conference.phones import senders, true_senders
from agi_xmpp.features.conference.phones.true_senders import TrueSenders
from agi_xmpp.sip.copies import Copies
from tests.testbed.ports import free_port
from tests.unit.features.phone.fakes import FakeAmi
from tests.unit.sip.copies import copy, message

CHANNEL = "PJSIP/101-0000002a"
VALUES = {
    "CHANNEL(pjsip,call-id)": "call-1@127.0.0.1",
    "CHANNEL(pjsip,local_tag)": "asterisk-1",
    "CHANNEL(pjsip,remote_tag)": "phone-1",
    "CALLERID(name)": "Alice A",
}


def call_of_alice(headers: dict[str, str]) -> dict[str, str]:
    return {"Value": VALUES[headers["Variable"]]}


class House:
    """Alice may be in the conference 6000; a socket stands for Asterisk."""

    def __init__(self) -> None:
        self.settings = SipSettings(hep=f"127.0.0.1:{free_port()}")
        self.ami = FakeAmi(Getvar=call_of_alice)
        self.told: asyncio.Queue[tuple[str, str, str, str | None]] = asyncio.Queue()
        self.senders = TrueSenders(self.settings, self.ami, lambda *text: self.told.put_nowait(text))

    def sends(self, text: str, sequence: int, display: str = "Bob B") -> None:
        """Send the copy of a text of Alice's phone."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asterisk:
            asterisk.sendto(copy(message(text, display=display, sequence=sequence)), self.settings.hep_place)

    async def tells(self) -> tuple[str, str, str, str | None]:
        return await asyncio.wait_for(self.told.get(), 5)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.senders.start()
    yield house
    await house.senders.stop()


async def test_a_copy_that_has_come_counts_also_where_we_had_no_time_for_it(house, monkeypatch):
    house.senders.phone_is_in("6000", CHANNEL)
    house.sends("first", 1)
    house.senders.heard("6000", "Bob B", "first")
    assert await house.tells() == ("6000", "Bob B", "first", CHANNEL)
    monkeypatch.setattr(senders, "WAIT", 0.0)
    for number in range(2, 100):
        house.sends(str(number), number)
    for number in range(2, 100):
        house.senders.heard("6000", "Bob B", str(number))
        assert house.told.get_nowait() == ("6000", "Bob B", str(number), CHANNEL)


async def test_where_nobody_is_asked_texts_go_through():
    told = []
    ami = FakeAmi(Getvar=call_of_alice)
    senders = TrueSenders(SipSettings(), ami, lambda *text: told.append(text))
    await senders.start()
    senders.phone_is_in("6000", CHANNEL)
    senders.ami_connected()
    senders.heard("6000", "Bob B", "one")
    senders.forget("6000")
    senders.phone_left("6000", CHANNEL)
    assert told == [("6000", "Bob B", "one", None)]
    assert (senders.status(), senders.problem, ami.actions) == (None, "", [])
    await senders.stop()


@pytest.mark.parametrize("copy_first", [True, False])
async def test_a_text_is_that_of_the_phone_that_sent_it(house, copy_first):
    house.senders.phone_is_in("6000", CHANNEL)
    if copy_first:
        house.sends("I am bob", 1)
        while not house.senders.status()["copies"]:
            await asyncio.sleep(0)
    house.senders.heard("6000", "Bob B", "I am bob")
    if not copy_first:
        house.sends("I am bob", 1)
    assert await house.tells() == ("6000", "Bob B", "I am bob", CHANNEL)
    status = house.senders.status()
    assert (status["address"], status["copies"], status["strangers"]) == (house.settings.hep, 1, 0)
    assert 0 <= status["last"] < 5
    assert house.senders.problem == ""


async def test_without_copies_texts_are_nobody_s_and_it_is_said_once(house, caplog):
    assert house.senders.status()["last"] is None
    house.senders.phone_is_in("6000", CHANNEL)
    with caplog.at_level(logging.INFO):
        for text in ("one", "two"):
            house.senders.heard("6000", "Bob B", text)
            assert await house.tells() == ("6000", "Bob B", text, "")
        assert caplog.text.count("no copies of SIP packets come to") == 1
        assert "res_hep_pjsip" in house.senders.problem
        house.senders.heard("6000", "Bob B", "three")
        house.sends("three", 3)
        assert await house.tells() == ("6000", "Bob B", "three", CHANNEL)
        assert house.senders.problem == ""
        assert "copies of SIP packets come again" in caplog.text


async def test_a_single_copy_that_is_missing_is_no_problem(house):
    house.senders.phone_is_in("6000", CHANNEL)
    house.senders.heard("6000", "Bob B", "one")
    house.sends("another", 1)
    assert await house.tells() == ("6000", "Bob B", "one", "")
    assert house.senders.problem == ""


async def test_a_phone_that_gives_no_name_and_gets_another_one(house):
    house.senders.phone_is_in("6000", CHANNEL)
    house.senders.heard("6000", "Alice A", "one")
    house.sends("one", 1, display="")
    assert (await house.tells())[3] == CHANNEL
    house.ami.answers["Getvar"] = lambda headers: {
        "Value": {**VALUES, "CALLERID(name)": "Alice B"}[headers["Variable"]]
    }
    asked = len(house.ami.actions)
    house.senders.phone_is_in("6000", CHANNEL)
    while len(house.ami.actions) < asked + len(VALUES):
        await asyncio.sleep(0)
    house.senders.heard("6000", "Alice B", "two")
    house.sends("two", 2, display="")
    assert (await house.tells())[3] == CHANNEL


async def test_copies_that_are_lost_are_a_problem_and_what_to_do_is_said(house, monkeypatch, caplog):
    house.senders.phone_is_in("6000", CHANNEL)
    for text, lost in (("one", 7), ("two", 7), ("three", 9)):
        monkeypatch.setattr(Copies, "lost", lost)
        house.senders.heard("6000", "Bob B", text)
        house.sends("another", 1)
        assert (await house.tells())[3] == ""
    assert "9 copies of SIP packets were lost since the start" in house.senders.problem
    assert house.senders.status()["lost"] == 9
    assert caplog.text.count("net.core.rmem_max") == 1


async def test_who_has_gone_has_written_nothing(house):
    house.senders.phone_is_in("6000", CHANNEL)
    house.senders.phone_left("6000", CHANNEL)
    house.sends("one", 1)
    house.senders.heard("6000", "Bob B", "one")
    assert (await house.tells())[3] == ""


async def test_a_channel_that_has_no_call_is_asked_for_once(house, caplog):
    house.ami.answers["Getvar"] = AmiRefused("No such channel")
    with caplog.at_level(logging.INFO):
        house.senders.phone_is_in("6000", CHANNEL)
        house.senders.heard("6000", "Bob B", "one")
        assert (await house.tells())[3] == ""
    asked = len(house.ami.actions)
    house.senders.ami_connected()
    assert len(house.ami.actions) == asked
    assert f"who writes on {CHANNEL} cannot be known" in caplog.text


async def test_what_could_not_be_asked_is_asked_again(house):
    house.ami.answers["Getvar"] = AmiNotConnected("gone")
    house.senders.phone_is_in("6000", CHANNEL)
    house.senders.heard("6000", "Bob B", "one")
    assert (await house.tells())[3] == ""
    for _ in range(20):  # with the text it was asked again, and in vain
        await asyncio.sleep(0)
    house.ami.answers["Getvar"] = call_of_alice
    house.senders.ami_connected()
    house.senders.heard("6000", "Bob B", "two")
    house.sends("two", 2)
    assert (await house.tells())[3] == CHANNEL


async def test_texts_that_nobody_wants_any_more(house):
    house.senders.phone_is_in("6000", CHANNEL)
    house.senders.heard("6000", "Bob B", "one")
    house.senders.forget("6000")
    house.senders.heard("6000", "Bob B", "two")
    house.sends("two", 2)
    assert (await house.tells())[2] == "two"


async def test_a_failure_stops_nothing(caplog):
    house = House()

    def fails(_number: str, _display: str, text: str, _channel: str) -> None:
        if text == "one":
            raise RuntimeError("broken")
        house.told.put_nowait(("", "", text, ""))

    house.senders = TrueSenders(house.settings, house.ami, fails)  # type: ignore[arg-type]
    await house.senders.start()
    house.senders.heard("6000", "", "one")
    house.senders.heard("6000", "", "two")
    assert (await house.tells())[2] == "two"
    assert "handling a text of conference 6000 failed" in caplog.text
    await house.senders.stop()


async def test_while_an_address_is_in_use_texts_are_nobody_s_and_it_is_tried_again(house, caplog):
    told: asyncio.Queue[tuple[str, str, str, str | None]] = asyncio.Queue()
    other = TrueSenders(house.settings, house.ami, lambda *text: told.put_nowait(text))
    with caplog.at_level(logging.INFO):
        await other.start()
        other.phone_is_in("6000", CHANNEL)
        for text in ("one", "two"):
            other.heard("6000", "Bob B", text)
            assert await asyncio.wait_for(told.get(), 5) == ("6000", "Bob B", text, "")
        assert other.status() is None
        assert re.match(r"conference.sip.hep: cannot listen at 127.0.0.1:\d+: Address already in use;", other.problem)
        await house.senders.stop()
        other.retry()
        async with asyncio.timeout(5):
            while other.status() is None:
                await asyncio.sleep(0)
    assert other.problem == ""
    assert [record.levelname for record in caplog.records if "conference.sip.hep" in record.message] == [
        "ERROR",
        "INFO",
    ]
    other.heard("6000", "Bob B", "three")
    house.sends("three", 3)
    assert await asyncio.wait_for(told.get(), 5) == ("6000", "Bob B", "three", CHANNEL)
    await other.stop()


async def test_an_address_in_use_is_tried_again_by_itself(house, monkeypatch):
    monkeypatch.setattr(true_senders, "RETRY", 0.0)
    other = TrueSenders(house.settings, house.ami, lambda *_text: None)
    await other.start()
    assert other.problem
    await house.senders.stop()
    async with asyncio.timeout(5):
        while other.status() is None:
            await asyncio.sleep(0)
    assert other.problem == ""
    await other.stop()


async def test_an_end_while_the_address_is_in_use(house):
    other = TrueSenders(house.settings, house.ami, lambda *_text: None)
    await other.start()
    await other.stop()
    assert other.status() is None
