"""The testbed's telephone that can write, against another one instead of Asterisk."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiosipua import Dialog, SipMessage, SipRequest

from tests.testbed.softphone import SoftCall, Softphone


@pytest.fixture
async def phones() -> AsyncIterator[tuple[Softphone, Softphone]]:
    """Two phones that call each other directly: what one takes for Asterisk's port is that of the other."""
    ports: list[Any] = [types.SimpleNamespace(sip_port=0), types.SimpleNamespace(sip_port=0)]
    alice = Softphone(ports[0], "101", registers=False)
    bob = Softphone(ports[1], "102", registers=False)
    ports[0].sip_port, ports[1].sip_port = bob.port, alice.port
    async with alice, bob:
        yield alice, bob


async def talk(alice: Softphone, bob: Softphone) -> tuple[SoftCall, SoftCall]:
    async with asyncio.TaskGroup() as group:
        dialled = group.create_task(alice.call("102"))
        incoming = await bob.rings()
        await incoming.answer()
    return await dialled, incoming


async def test_texts_go_both_ways(phones: tuple[Softphone, Softphone]) -> None:
    alice, bob = phones
    hers, his = await talk(alice, bob)
    assert his.number == "101"
    assert await hers.send("hello\nBob", display='Alice "A" \\') == 200
    text = await bob.hears("hello\nBob")
    assert (text.display, text.content_type) == ('Alice "A" \\', "text/plain;charset=UTF-8")
    assert text.sender.startswith("sip:101@")
    assert await his.send("hello Alice") == 200
    await alice.hears_nothing_until("hello Alice")


async def test_hanging_up_is_seen(phones: tuple[Softphone, Softphone]) -> None:
    alice, bob = phones
    hers, his = await talk(alice, bob)
    await his.hang_up()
    assert await hers.ended() == "BYE"
    assert await hers.send("are you there?") == 481


@pytest.mark.parametrize(("code", "reason"), [(486, "Busy Here"), (603, "Decline")])
async def test_a_call_is_refused(phones: tuple[Softphone, Softphone], code: int, reason: str) -> None:
    alice, bob = phones

    async def refuse() -> None:
        await (await bob.rings()).refuse(code)

    async with asyncio.TaskGroup() as group:
        group.create_task(refuse())
        with pytest.raises(AssertionError, match=f"refused by 102: {code} {reason}"):
            await alice.call("102")


async def test_a_text_that_comes_twice_is_heard_once_and_answered_twice(phones: tuple[Softphone, Softphone]) -> None:
    alice, bob = phones
    _, his = await talk(alice, bob)
    async with _wire() as wire:
        request = his.dialog.create_request("MESSAGE", via_host="127.0.0.1", via_port=wire.port)
        request.text = "hello"
        for _ in range(2):
            wire.send(bytes(request), alice.port)
            assert (await wire.comes()).startswith(b"SIP/2.0 200 OK\r\n")
    assert await his.send("end") == 200
    await alice.hears("hello")
    await alice.hears_nothing_until("end")


async def test_a_request_is_sent_again_until_it_is_answered() -> None:
    async with _wire() as wire:
        exchange: Any = types.SimpleNamespace(sip_port=wire.port)
        async with Softphone(exchange, "101", registers=False) as phone, asyncio.TaskGroup() as group:
            answer = group.create_task(phone.request("OPTIONS", "6000"))
            first, second = await wire.comes(), await wire.comes()
            assert first == second
            request = SipMessage.parse(first)
            assert isinstance(request, SipRequest)
            wire.send(bytes(Dialog(call_id=request.call_id or "").create_response(request, 200)), phone.port)
        assert answer.result().status_code == 200


async def test_what_is_not_heard_is_told(phones: tuple[Softphone, Softphone]) -> None:
    alice, bob = phones
    hers, _ = await talk(alice, bob)
    await hers.send("something else")
    with pytest.raises(AssertionError, match=r"does not hear 'hello'.*something else"):
        await bob.hears("hello", timeout=0.05)


class _Wire(asyncio.DatagramProtocol):
    """A socket without a phone behind it."""

    def __init__(self) -> None:
        self._datagrams: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, _address: object) -> None:
        self._datagrams.put_nowait(data)

    @property
    def port(self) -> int:
        return int(self._transport.get_extra_info("sockname")[1])

    def send(self, data: bytes, port: int) -> None:
        self._transport.sendto(data, ("127.0.0.1", port))

    async def comes(self) -> bytes:
        return await asyncio.wait_for(self._datagrams.get(), 5)


@contextlib.asynccontextmanager
async def _wire() -> AsyncIterator[_Wire]:
    loop = asyncio.get_running_loop()
    transport, wire = await loop.create_datagram_endpoint(_Wire, local_addr=("127.0.0.1", 0))
    try:
        yield wire
    finally:
        transport.close()
