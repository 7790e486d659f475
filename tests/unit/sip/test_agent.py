"""Legs over a real socket, with a scripted Asterisk at the other end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
from sipmessage import Message, Request

from agi_xmpp.config import SipSettings
from agi_xmpp.errors import SipNotReached, SipRefused, SipUnknown
from agi_xmpp.sip import agent as module
from agi_xmpp.sip.agent import SipAgent
from tests.unit.sip.exchange import SDP, respond


class Far(asyncio.DatagramProtocol):
    """Answers requests as ``answers`` says: code by method; 0 is silence."""

    def __init__(self) -> None:
        self.answers = {"INVITE": 200, "MESSAGE": 202, "BYE": 200, "OPTIONS": 200, "UPDATE": 200}
        self.requests: list[Request] = []
        self.clients: list[tuple[str, int]] = []
        self._sequence = 100
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    @property
    def port(self) -> int:
        port: int = self.transport.get_extra_info("sockname")[1]
        return port

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = Message.parse(data)
        if isinstance(message, Request):
            self.requests.append(message)
            if addr not in self.clients:
                self.clients.append(addr)
            self._changed.set()
            if code := self.answers.get(message.method, 0):
                body = SDP if message.method == "INVITE" else b""
                contact = f"Contact: <sip:127.0.0.1:{self.port}>"
                self.transport.sendto(respond(message, code, contact, body=body), addr)

    def text(self, body: str) -> None:
        """Send a text in the dialog of the last INVITE."""
        invite = next(request for request in reversed(self.requests) if request.method == "INVITE")
        self._sequence += 1
        lines = (
            "MESSAGE sip:gw@127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};rport;branch=z9hG4bK{self._sequence}",
            'From: "Alice A" <sip:6000@127.0.0.1>;tag=far',
            f"To: <sip:gw@127.0.0.1>;tag={invite.from_address.parameters['tag']}",
            f"Call-ID: {invite.call_id}",
            f"CSeq: {self._sequence} MESSAGE",
            "Content-Type: text/plain",
        )
        self.transport.sendto("\r\n".join([*lines, "", body]).encode(), self.clients[-1])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def came(self, method: str, number: int = 1) -> None:
        await self.until(lambda: self.methods().count(method) >= number)

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


class Listener:
    """Keeps what a leg tells."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.fails = False

    def text_came(self, display: str, text: str) -> None:
        self.told.put_nowait((display, text))
        if self.fails:
            raise ValueError("listener")

    def ended(self, reason: str) -> None:
        self.told.put_nowait((reason,))
        if self.fails:
            raise ValueError("listener")

    async def next(self) -> tuple[str, ...]:
        async with asyncio.timeout(10):
            return await self.told.get()


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Far, ("127.0.0.1", 0))
    yield protocol
    transport.close()


@pytest.fixture
async def agent(far: Far) -> AsyncIterator[SipAgent]:
    agent = SipAgent(SipSettings(port=far.port, endpoint="gw"))
    await agent.start()
    yield agent
    await agent.stop()


async def test_a_leg(agent, far):
    listener = Listener()
    leg = await agent.call("6000", listener, display="Balcony")
    assert leg.number == "6000"
    assert leg.call_id == far.requests[0].call_id
    await leg.send_text("good evening", "Romeo")
    far.text("hi")
    assert await listener.next() == ("Alice A", "hi")
    await leg.hang_up()
    assert far.methods()[-1] == "BYE"
    with pytest.raises(SipNotReached):
        await leg.send_text("late", "Romeo")
    await leg.hang_up()
    assert listener.told.empty()


async def test_texts_at_once_keep_their_order(agent, far):
    leg = await agent.call("6000", Listener())
    await asyncio.gather(*(leg.send_text(str(number), "Romeo") for number in range(300)))
    bodies = [request.body.decode() for request in far.requests if request.method == "MESSAGE"]
    assert list(dict.fromkeys(bodies)) == [str(number) for number in range(300)]


async def test_legs_share_a_socket_and_a_first_one_opens_a_new_one(agent, far):
    first = await agent.call("6000", Listener())
    second = await agent.call("6001", Listener())
    assert len(far.clients) == 1
    await first.hang_up()
    await second.hang_up()
    await agent.call("6000", Listener())
    assert len(far.clients) == 2


async def test_a_refused_call(agent, far):
    far.answers["INVITE"] = 404
    with pytest.raises(SipRefused, match="has no extension 6000"):
        await agent.call("6000", Listener())


async def test_a_refused_text(agent, far):
    far.answers["MESSAGE"] = 500
    leg = await agent.call("6000", Listener())
    with pytest.raises(SipRefused):
        await leg.send_text("x", "Romeo")


async def test_asterisk_goes(agent, far):
    listener = Listener()
    leg = await agent.call("6000", listener)
    far.transport.close()
    await asyncio.sleep(0)
    with pytest.raises(SipNotReached, match="nobody listens"):
        await leg.send_text("x", "Romeo")
    assert "nobody listens" in (await listener.next())[0]


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_what_came_while_we_had_no_processor_has_come_in_time(library):
    """The loops differ in what they do first: uvloop runs what is due, and then reads."""
    loops = pytest.importorskip(library)

    async def stall() -> None:
        transport, far = await asyncio.get_running_loop().create_datagram_endpoint(Far, ("127.0.0.1", 0))
        settings = SipSettings(port=far.port, endpoint="gw").model_copy(update={"timeout": 0.1})
        agent = SipAgent(settings)
        await agent.start()
        try:
            leg = await agent.call("6000", listener := Listener())
            far.answers["MESSAGE"] = 0
            text = asyncio.create_task(leg.send_text("x", "Romeo"))
            await far.came("MESSAGE")
            for number in range(100):
                far.text(str(number))
            far.transport.sendto(respond(far.requests[-1], 202), far.clients[-1])
            time.sleep(2 * settings.timeout)  # the stall
            await text
            assert [await listener.next() for _ in range(100)] == [("Alice A", str(number)) for number in range(100)]
        finally:
            await agent.stop()
            transport.close()

    with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(stall())


async def test_no_answer_to_a_text(far):
    agent = SipAgent(SipSettings(port=far.port, endpoint="gw", timeout=0.5))
    await agent.start()
    leg = await agent.call("6000", listener := Listener())
    far.answers["MESSAGE"] = 0
    with pytest.raises(SipUnknown):
        await leg.send_text("x", "Romeo")
    assert "did not answer" in (await listener.next())[0]
    await agent.stop()


async def test_a_call_that_nobody_waits_for_is_hung_up(agent, far):
    far.answers["INVITE"] = 180
    task = asyncio.create_task(agent.call("6000", Listener()))
    await far.came("INVITE")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await far.came("CANCEL")


async def test_stop_hangs_up_all(far):
    agent = SipAgent(SipSettings(port=far.port, endpoint="gw"))
    with pytest.raises(SipNotReached, match="not running"):
        await agent.call("6000", Listener())
    await agent.start()
    for number in ("6000", "6001"):
        await agent.call(number, Listener())
    await agent.stop()
    assert far.methods().count("BYE") == 2
    await agent.stop()
    with pytest.raises(SipNotReached, match="not running"):
        await agent.call("6000", Listener())


async def test_stop_does_not_wait_for_ever(far):
    agent = SipAgent(SipSettings(port=far.port, endpoint="gw", timeout=32))
    await agent.start()
    await agent.call("6000", Listener())
    far.answers["BYE"] = 0
    async with asyncio.timeout(5):
        await agent.stop()


async def test_a_listener_that_fails_harms_nobody(agent, far, caplog):
    listener = Listener()
    listener.fails = True
    leg = await agent.call("6000", listener)
    with caplog.at_level(logging.CRITICAL, "agi_xmpp.sip"):
        far.text("hi")
        assert await listener.next() == ("Alice A", "hi")
    await leg.send_text("x", "Romeo")


async def test_options(agent, far):
    await agent.options()
    await agent.options("6000")
    assert [str(request.uri) for request in far.requests] == [
        f"sip:127.0.0.1:{far.port}",
        f"sip:6000@127.0.0.1:{far.port}",
    ]
    far.answers["OPTIONS"] = 404
    with pytest.raises(SipRefused, match="6000"):
        await agent.options("6000")


async def test_a_password_that_cannot_be_had(far, tmp_path):
    agent = SipAgent(SipSettings(port=far.port, endpoint="gw", password_file=tmp_path / "none"))
    await agent.start()
    with pytest.raises(SipNotReached, match="none"):
        await agent.call("6000", Listener())
    with pytest.raises(SipNotReached, match="none"):
        await agent.options()
    await agent.stop()


async def test_only_what_no_leg_needs_is_looked_up_anew(agent, far):
    await agent.call("6000", Listener())
    far.answers["INVITE"] = 486
    with pytest.raises(SipRefused):
        await agent.call("6001", Listener())
    assert len(far.clients) == 1


async def test_other_settings_end_the_legs_when_what_is_under_way_has_arrived(agent, far):
    far.answers["MESSAGE"] = 0
    listener = Listener()
    leg = await agent.call("6000", listener)
    text = asyncio.create_task(leg.send_text("still by the old ones", "Romeo"))
    await far.came("MESSAGE")
    change = asyncio.create_task(agent.apply(SipSettings(port=far.port, endpoint="other")))
    assert await listener.next() == ("[conference.sip] has been changed",)
    far.answers["MESSAGE"] = 202
    await text  # sent again: UDP
    await leg.hang_up()
    await change
    await agent.call("6000", Listener())
    users = [request.from_address.uri.user for request in far.requests if request.method == "INVITE"]
    assert users == ["gw", "other"]
    assert len(far.clients) == 2


async def test_other_settings_wait_for_the_end_of_a_leg_also_if_its_listener_does_not(far):
    agent = SipAgent(SipSettings(port=far.port, endpoint="gw", timeout=32))
    await agent.start()
    listener = Listener()
    leg = await agent.call("6000", listener)
    change = asyncio.create_task(agent.apply(SipSettings(port=far.port, endpoint="other")))
    assert await listener.next() == ("[conference.sip] has been changed",)
    far.answers["BYE"] = 0
    end = asyncio.create_task(leg.hang_up())
    await far.came("BYE")
    end.cancel()
    assert not change.done()
    far.answers["BYE"] = 200
    async with asyncio.timeout(5):  # far less than those who change settings wait for the end
        await change
    await agent.stop()


async def test_other_settings_wait_for_a_call_that_is_being_made(agent, far):
    far.answers["INVITE"] = 180
    listener = Listener()
    call = asyncio.create_task(agent.call("6000", listener))
    await far.came("INVITE")
    change = asyncio.create_task(agent.apply(SipSettings(port=far.port, endpoint="other")))
    invite = far.requests[0]
    far.transport.sendto(respond(invite, 200, f"Contact: <sip:127.0.0.1:{far.port}>", body=SDP), far.clients[0])
    leg = await call
    assert await listener.next() == ("[conference.sip] has been changed",)
    await leg.hang_up()
    await change


@pytest.mark.parametrize("answer", ["refused", "given up"])
async def test_other_settings_do_not_wait_for_a_call_that_comes_to_nothing(agent, far, answer):
    far.answers["INVITE"] = 180
    call = asyncio.create_task(agent.call("6000", Listener()))
    await far.came("INVITE")
    change = asyncio.create_task(agent.apply(SipSettings(port=far.port, endpoint="other")))
    await asyncio.sleep(0)
    if answer == "refused":
        far.transport.sendto(respond(far.requests[0], 404), far.clients[0])
    else:
        call.cancel()
    with pytest.raises((SipRefused, asyncio.CancelledError)):
        await call
    await change


async def test_a_leg_that_nobody_ends_is_left_after_a_while(far, monkeypatch):
    monkeypatch.setattr(module, "STOP_TIME", 0.1)
    agent = SipAgent(SipSettings(port=far.port, endpoint="gw", timeout=0.5))
    await agent.start()
    leg = await agent.call("6000", Listener())
    await agent.apply(SipSettings(port=far.port, endpoint="other"))
    async with asyncio.timeout(5):  # nothing goes over its socket any more
        with pytest.raises(SipNotReached):
            await leg.send_text("hello", "Romeo")
        await leg.hang_up()
    await agent.stop()


async def test_what_is_under_way_on_a_leg_that_is_left_ends(far, monkeypatch):
    agent = SipAgent(SipSettings(port=far.port, endpoint="gw", timeout=32))
    await agent.start()
    far.answers["MESSAGE"] = 0
    leg = await agent.call("6000", Listener())
    text = asyncio.create_task(leg.send_text("hello", "Romeo"))
    await far.came("MESSAGE")
    monkeypatch.setattr(module, "STOP_TIME", -32.0)  # as if we had no processor all that time
    await agent.apply(SipSettings(port=far.port, endpoint="other"))
    async with asyncio.timeout(5):
        with pytest.raises(SipUnknown):
            await text
        await leg.hang_up()
    await agent.stop()
