"""The socket for copies of SIP packets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.config import SipSettings
from agi_xmpp.sip import copies
from agi_xmpp.sip.copies import Copies, open_copies
from agi_xmpp.sip.hep import SentText
from tests.testbed.ports import free_port
from tests.unit.sip.copies import copy, message


class Collector:
    """Listens, and has what came."""

    def __init__(self, host: str = "127.0.0.1", **others: object) -> None:
        self.settings = SipSettings.model_validate({"host": host, "hep": f"127.0.0.1:{free_port()}", **others})
        self.texts: asyncio.Queue[SentText] = asyncio.Queue()
        self.copies: Copies

    async def open(self) -> None:
        self.copies = await open_copies(self.settings, self.texts.put_nowait)

    def send(self, *datagrams: bytes, source: str = "127.0.0.1") -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((source, 0))
            for datagram in datagrams:
                sender.sendto(datagram, self.settings.hep_place)

    async def hears(self) -> str:
        return (await asyncio.wait_for(self.texts.get(), 5)).text


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    await collector.open()
    yield collector
    collector.copies.close()


async def test_copies_of_asterisk(collector):
    before = collector.copies.last
    collector.send(copy(message("one")), b"no copy", copy(b"OPTIONS ..."), copy(message("two")))
    assert [await collector.hears(), await collector.hears()] == ["one", "two"]
    assert (collector.copies.count, collector.copies.strangers) == (3, 0)
    assert before is None
    assert collector.copies.last is not None
    await collector.copies.wait()


async def test_others_than_asterisk_are_not_heard(collector):
    collector.send(copy(message("forged")), source="127.0.0.2")
    collector.send(copy(message("true")))
    assert await collector.hears() == "true"
    assert (collector.copies.count, collector.copies.strangers) == (1, 1)


async def test_asterisk_elsewhere():
    collector = Collector("127.0.0.3")  # this machine, too: whatever it calls itself
    await collector.open()
    collector.send(copy(message("one")), source="127.0.0.3")
    collector.send(copy(message("two")), source="127.0.0.1")
    assert [await collector.hears(), await collector.hears()] == ["one", "two"]
    collector.copies.close()
    remote = Collector("192.0.2.1", accept_unencrypted=True)
    await remote.open()
    remote.send(copy(message("one")))
    while not remote.copies.strangers:
        await asyncio.sleep(0)
    assert remote.copies.count == 0
    remote.copies.close()


async def test_a_failure_ends_nothing(collector, caplog):
    heard = []

    def fails_once(text: SentText) -> None:
        heard.append(text.text)
        if len(heard) == 1:
            raise RuntimeError("broken")
        collector.texts.put_nowait(text)

    collector.copies.close()
    collector.copies = await open_copies(collector.settings, fails_once)
    with caplog.at_level(logging.ERROR):
        collector.send(copy(message("one")), copy(message("two")))
        assert await collector.hears() == "two"
    assert heard == ["one", "two"]
    assert "handling the copy of a SIP packet failed" in caplog.text


async def test_what_the_kernel_had_no_room_for_is_counted(monkeypatch):
    monkeypatch.setattr(copies, "_RECEIVE_BUFFER", 4096)
    collector = Collector()
    await collector.open()
    assert collector.copies.lost == 0
    collector.send(*(copy(message(str(number))) for number in range(100)))
    async with asyncio.timeout(5):
        while collector.copies.count + collector.copies.lost < 100:
            await asyncio.sleep(0)
    assert collector.copies.lost > 0
    collector.copies.close()
    assert collector.copies.lost == 0


async def test_an_address_in_use(collector):
    with pytest.raises(OSError, match="in use"):
        await open_copies(collector.settings, collector.texts.put_nowait)
    collector.copies.close()
    collector.copies.close()
    again = await open_copies(collector.settings, collector.texts.put_nowait)
    again.close()


async def test_an_address_of_somebody_else():
    with pytest.raises(OSError, match=r"assign|not known|No address"):
        await Collector(hep="192.0.2.1:9060", accept_unencrypted=True).open()
