"""The socket: with Asterisk and nobody else."""

from __future__ import annotations

import asyncio
import socket

import pytest

from agi_xmpp.errors import SipNotReached
from agi_xmpp.sip.transport import open_udp
from agi_xmpp.sip.wire import Place


class Heard:
    """What a socket tells."""

    def __init__(self) -> None:
        self.all: list[bytes | str] = []
        self._changed = asyncio.Event()

    def datagram(self, data: bytes) -> None:
        self.all.append(data)
        self._changed.set()

    def refused(self) -> None:
        self.all.append("refused")
        self._changed.set()

    async def until(self, what: bytes | str) -> None:
        async with asyncio.timeout(10):
            while what not in self.all:
                self._changed.clear()
                await self._changed.wait()


def bound() -> socket.socket:
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.bind(("127.0.0.1", 0))
    return other


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_datagrams_of_asterisk_only():
    heard = Heard()
    with bound() as asterisk, bound() as stranger:
        port = asterisk.getsockname()[1]
        udp = await open_udp("127.0.0.1", port, "", heard.datagram, heard.refused)
        here, there = udp.places
        assert there == Place("127.0.0.1", port)
        udp.send(b"hello")
        assert asterisk.recvfrom(100) == (b"hello", (here.host, here.port))
        stranger.sendto(b"evil", (here.host, here.port))
        asterisk.sendto(b"good", (here.host, here.port))
        await heard.until(b"good")
        udp.close()
    assert heard.all == [b"good"]


async def test_nobody_listens():
    heard = Heard()
    with bound() as gone:
        port = gone.getsockname()[1]
    udp = await open_udp("127.0.0.1", port, "", heard.datagram, heard.refused)
    udp.send(b"hello")
    assert heard.all == []  # never from within
    await heard.until("refused")
    udp.close()


async def test_our_own_address_can_be_chosen():
    udp = await open_udp("127.0.0.1", 9, "127.0.0.2", lambda data: None, lambda: None)
    assert udp.places[0].host == "127.0.0.2"
    udp.close()


async def test_after_the_end_nothing_is_sent_and_nothing_told():
    heard = Heard()
    with bound() as asterisk:
        udp = await open_udp("127.0.0.1", asterisk.getsockname()[1], "", heard.datagram, heard.refused)
        asterisk.sendto(b"late", (udp.places[0].host, udp.places[0].port))
        udp.close()
        udp.close()
        udp.send(b"late")
        udp.read()
        asterisk.setblocking(False)
        with pytest.raises(BlockingIOError):
            asterisk.recv(100)
    assert heard.all == []


async def test_what_is_refused_as_it_ends_is_not_told():
    heard = Heard()
    with bound() as gone:
        port = gone.getsockname()[1]
    udp = await open_udp("127.0.0.1", port, "", heard.datagram, heard.refused)
    udp.send(b"hello")
    udp.read()
    udp.close()
    await asyncio.sleep(0)
    assert heard.all == []


async def test_all_that_has_come_is_read_at_once():
    heard = Heard()
    with bound() as asterisk:
        udp = await open_udp("127.0.0.1", asterisk.getsockname()[1], "", heard.datagram, heard.refused)
        texts = [f"{number}".encode() for number in range(100)]
        for text in texts:
            asterisk.sendto(text, (udp.places[0].host, udp.places[0].port))
        udp.read()
        assert heard.all == texts
        udp.close()


async def test_who_closes_over_a_datagram_gets_no_other():
    heard = Heard()
    with bound() as asterisk:

        def take(data: bytes) -> None:
            heard.datagram(data)
            udp.close()

        udp = await open_udp("127.0.0.1", asterisk.getsockname()[1], "", take, heard.refused)
        for text in (b"last", b"late"):
            asterisk.sendto(text, (udp.places[0].host, udp.places[0].port))
        await heard.until(b"last")
    assert heard.all == [b"last"]


async def test_what_the_network_does_not_take_is_dropped(caplog):
    with bound() as asterisk, caplog.at_level("DEBUG", "agi_xmpp.sip"):
        udp = await open_udp("127.0.0.1", asterisk.getsockname()[1], "", lambda data: None, lambda: None)
        udp.send(b"x" * 70_000)
        udp.send(b"sent")
        assert asterisk.recv(100) == b"sent"
        udp.close()
    assert "did not take a datagram" in caplog.text


@pytest.mark.parametrize(("host", "address"), [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
async def test_of_several_addresses_the_one_that_asterisk_has(host, address):
    if ":" in address and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    udp = await open_udp(host, 9, "", lambda data: None, lambda: None)
    assert udp.places[1] == Place(address, 9)
    udp.close()


async def test_a_name_that_is_not_known():
    with pytest.raises(SipNotReached, match=r"the host nosuch\.invalid of \[conference\.sip\] is not known"):
        await open_udp("nosuch.invalid", 5060, "", lambda data: None, lambda: None)


async def test_an_address_of_ours_that_is_not_ours():
    with pytest.raises(SipNotReached, match=r"no way to 127\.0\.0\.1:5060"):
        await open_udp("127.0.0.1", 5060, "192.0.2.1", lambda data: None, lambda: None)
