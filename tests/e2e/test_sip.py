"""The SIP leg on a real Asterisk, with phones that share no code with it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.config import SipSettings
from agi_xmpp.errors import SipNotReached, SipRefused
from agi_xmpp.sip.agent import Leg, SipAgent
from agi_xmpp.sip.call import REFRESH
from agi_xmpp.sip.text import MAX_BODY
from tests.testbed.conference import OWN_LEG, ConferenceExchange, Softphones, device
from tests.testbed.ports import free_port
from tests.testbed.rootfs import Rootfs

#: How many texts come at once in a burst.
BURST = 300


class Listener:
    """Keeps what a leg tells."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.reason = ""
        self._changed = asyncio.Event()

    def text_came(self, display: str, text: str) -> None:
        self.texts.append((display, text))
        self._changed.set()

    def ended(self, reason: str) -> None:
        self.reason = reason
        self._changed.set()

    async def hears(self, text: str) -> str:
        """Wait for a text, and return who said it."""
        async with asyncio.timeout(20):
            while True:
                for display, heard in self.texts:
                    if heard == text:
                        return display
                await self._next()

    async def sees_the_end(self, timeout: float = 20) -> str:
        async with asyncio.timeout(timeout):
            while not self.reason:
                await self._next()
        return self.reason

    async def _next(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def settings(exchange: ConferenceExchange, **changes: object) -> SipSettings:
    values: dict[str, object] = {
        "port": exchange.sip_port,
        "endpoint": OWN_LEG,
        "password": exchange.passwords[OWN_LEG],
    }
    return SipSettings.model_validate(values | changes)


@contextlib.asynccontextmanager
async def running(settings: SipSettings) -> AsyncIterator[SipAgent]:
    agent = SipAgent(settings)
    await agent.start()
    try:
        yield agent
    finally:
        await agent.stop()


@pytest.fixture
async def agent(conference_exchange: ConferenceExchange) -> AsyncIterator[SipAgent]:
    async with running(settings(conference_exchange)) as agent:
        yield agent


async def enters(exchange: ConferenceExchange, agent: SipAgent, number: str, listener: Listener) -> Leg:
    """Call a conference, and wait until the leg is in: before that, Asterisk takes texts and loses them."""
    ami = await exchange.ami()
    joins = ami.subscribe(lambda event: event.get("Event") == "ConfbridgeJoin" and event["Conference"] == number)
    try:
        leg = await agent.call(number, listener, display="Chat")
        await joins.get(lambda event: device(event["Channel"]) == OWN_LEG, timeout=10.0)
    finally:
        ami.unsubscribe(joins)
    return leg


class TestTexts:
    async def test_both_ways_with_their_speakers(
        self, conference_exchange: ConferenceExchange, softphones: Softphones, agent: SipAgent
    ) -> None:
        alice, bob = await softphones("101", "102")
        listener = Listener()
        leg = await enters(conference_exchange, agent, "6500", listener)
        calls = [(await conference_exchange.enters(phone, "6500"))[0] for phone in (alice, bob)]
        await leg.send_text("good evening\nall ✓", "Romeo ✓")
        await leg.send_text("hi", 'Ju"liet <x>\r\nVia: evil')
        for phone in (alice, bob):
            assert (await phone.hears("good evening\nall ✓")).display == "Romeo ✓"
            assert (await phone.hears("hi")).display == "Ju liet x Via: evil"
        assert await calls[0].send("hé\nyou") == 202
        assert await listener.hears("hé\nyou") == "Alice A"
        assert await calls[1].send("guess", display='J "x" \\ ü') == 202
        assert await listener.hears("guess") == 'J "x" \\ ü'
        assert await calls[1].send("<b>bold</b> &amp;<br>new", content_type="text/html") == 202
        assert await listener.hears("bold &\nnew") == "Bob B"
        assert await calls[1].send('{"x":1}', content_type="application/json") == 202
        assert await calls[1].send("last") == 202
        assert await listener.hears("last") == "Bob B"
        assert len(listener.texts) == 4  # neither an echo of ours, nor what programs tell each other

    async def test_the_longest_text_of_one_message_and_one_of_two(
        self, conference_exchange: ConferenceExchange, softphones: Softphones, agent: SipAgent
    ) -> None:
        (alice,) = await softphones("101")
        listener = Listener()
        leg = await enters(conference_exchange, agent, "6501", listener)
        call, _channel = await conference_exchange.enters(alice, "6501")
        whole = "ü" * (MAX_BODY // 2)
        await leg.send_text(whole, "Romeo")
        await alice.hears(whole)
        await leg.send_text(whole + "x", "Romeo")
        first = await alice.hears("(1/2) " + whole[: (MAX_BODY - 16) // 2])
        await alice.hears("(2/2) " + whole[(MAX_BODY - 16) // 2 :] + "x")
        assert first.display == "Romeo"
        assert await call.send("y" * 3900) == 202
        await listener.hears("y" * 3900)

    async def test_a_burst_each_way(
        self, conference_exchange: ConferenceExchange, softphones: Softphones, agent: SipAgent
    ) -> None:
        (alice,) = await softphones("101")
        listener = Listener()
        leg = await enters(conference_exchange, agent, "6502", listener)
        call, _channel = await conference_exchange.enters(alice, "6502")
        await asyncio.gather(*(leg.send_text(f"down {number}", "Romeo") for number in range(BURST)))
        await alice.hears(f"down {BURST - 1}")
        assert [text.body for text in alice.texts] == [f"down {number}" for number in range(BURST)]
        for number in range(BURST):
            assert await call.send(f"up {number}") == 202
        await listener.hears(f"up {BURST - 1}")
        assert [text for _display, text in listener.texts] == [f"up {number}" for number in range(BURST)]

    async def test_two_legs_write_to_each_other(self, conference_exchange: ConferenceExchange, agent: SipAgent) -> None:
        async with running(settings(conference_exchange)) as other:
            listeners = Listener(), Listener()
            first = await enters(conference_exchange, agent, "6503", listeners[0])
            second = await enters(conference_exchange, other, "6503", listeners[1])
            await first.send_text("from the first", "Romeo")
            await second.send_text("from the second", "Juliet")
            assert await listeners[1].hears("from the first") == "Romeo"
            assert await listeners[0].hears("from the second") == "Juliet"


class TestTheCall:
    async def test_it_has_no_voice(
        self, conference_exchange: ConferenceExchange, softphones: Softphones, agent: SipAgent
    ) -> None:
        (alice,) = await softphones("101")
        listener = Listener()
        leg = await enters(conference_exchange, agent, "6504", listener)
        await conference_exchange.enters(alice, "6504")
        await conference_exchange.cli("rtp set debug on")
        try:
            since = conference_exchange.log_size()
            call, _channel = await conference_exchange.enters((await softphones("102"))[0], "6504")
            await leg.send_text("still here", "Romeo")
            await alice.hears("still here")
            # Asterisk sends sound to the phones meanwhile, and says to which port; ours would be 9 (discard).
            await conference_exchange.log_says(lambda line: "Sent RTP packet to" in line, since=since)
            log = conference_exchange.log[since:]
        finally:
            await conference_exchange.cli("rtp set debug off")
        ports = set(re.findall(r"Sent RTP packet to +127\.0\.0\.1:(\d+)", log))
        assert ports
        assert "9" not in ports
        assert await call.send("bye") == 202

    async def test_we_hang_up(self, conference_exchange: ConferenceExchange, agent: SipAgent) -> None:
        listener = Listener()
        leg = await enters(conference_exchange, agent, "6505", listener)
        assert OWN_LEG in {device(channel) for channel in await conference_exchange.participants("6505")}
        ami = await conference_exchange.ami()
        leaves = ami.subscribe(lambda event: event.get("Event") == "ConfbridgeLeave" and event["Conference"] == "6505")
        await leg.hang_up()
        await leaves.get(lambda event: device(event["Channel"]) == OWN_LEG, timeout=10.0)
        ami.unsubscribe(leaves)
        assert not listener.reason

    async def test_asterisk_hangs_up(self, conference_exchange: ConferenceExchange, agent: SipAgent) -> None:
        listener = Listener()
        leg = await enters(conference_exchange, agent, "6506", listener)
        (channel,) = await conference_exchange.participants("6506")
        await (await conference_exchange.ami()).action("ConfbridgeKick", Conference="6506", Channel=channel)
        assert await listener.sees_the_end() == "Asterisk has hung up"
        with pytest.raises(SipNotReached):
            await leg.send_text("late", "Romeo")

    async def test_our_session_timer_is_agreed_on(
        self, conference_exchange: ConferenceExchange, agent: SipAgent
    ) -> None:
        await conference_exchange.cli("pjsip set logger on")
        try:
            since = conference_exchange.log_size()
            await enters(conference_exchange, agent, "6507", Listener())
            await conference_exchange.log_says(lambda line: line.startswith("Require: timer"), since=since)
            assert conference_exchange.log[since:].count("Session-Expires: 90;refresher=uac") >= 2
        finally:
            await conference_exchange.cli("pjsip set logger off")


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "number", "words"),
        [
            ({"password": "wrong"}, "6000", "the password is not that of its auth"),
            ({"password": None}, "6000", "it has auth="),
            ({"endpoint": "nobody"}, "6000", "there is no endpoint nobody"),
            ({}, "5999", "has no extension 5999"),
        ],
    )
    async def test_what_is_wrong_is_said(
        self, conference_exchange: ConferenceExchange, changes: dict[str, object], number: str, words: str
    ) -> None:
        async with running(settings(conference_exchange, **changes)) as agent:
            with pytest.raises(SipRefused, match=words):
                await agent.options(number)
            with pytest.raises(SipRefused, match=words):
                await agent.call(number, Listener())

    async def test_all_is_well(self, agent: SipAgent) -> None:
        await agent.options()
        await agent.options("6000")

    async def test_nobody_listens(self) -> None:
        async with running(SipSettings(port=free_port(), endpoint=OWN_LEG)) as agent:
            with pytest.raises(SipNotReached, match="nobody listens"):
                await agent.options()
            with pytest.raises(SipNotReached, match="nobody listens"):
                await agent.call("6000", Listener())


async def test_a_restart_of_asterisk_is_noticed_and_got_over(rootfs: Rootfs) -> None:
    async with ConferenceExchange(rootfs) as exchange, running(settings(exchange)) as agent:
        listener = Listener()
        await enters(exchange, agent, "6000", listener)
        await (await exchange.ami()).close()  # a broken one would be reported as left open
        began = time.monotonic()
        await exchange.kill()
        await exchange.start()
        reason = await listener.sees_the_end(REFRESH + 10)
        assert "restarted" in reason or "nobody listens" in reason
        assert time.monotonic() - began < REFRESH + 10
        await enters(exchange, agent, "6000", Listener())
