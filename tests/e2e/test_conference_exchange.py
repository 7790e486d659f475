"""What conference chat rests on, shown on a real Asterisk: how texts go through a conference, and who can be known."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence

import pytest

from tests.testbed.conference import INVITED_CONTEXT, OWN_LEG, ConferenceExchange, Softphones, device
from tests.testbed.errors import TestbedError
from tests.testbed.ports import free_port
from tests.testbed.rootfs import Rootfs
from tests.testbed.softphone import SoftCall, Softphone

#: How many texts come at once in a burst.
BURST = 300


async def enter(exchange: ConferenceExchange, number: str, phones: Sequence[Softphone]) -> list[SoftCall]:
    """Let phones dial into a conference, one after the other; return their calls."""
    return [(await exchange.enters(phone, number))[0] for phone in phones]


class TestTexts:
    async def test_a_text_goes_to_all_others_under_the_caller_s_name(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        phones = alice, bob, carol = await softphones("101", "102", "103")
        calls = await enter(conference_exchange, "6000", phones)
        assert await calls[0].send("hello\nphones ✓") == 202
        for phone in (bob, carol):
            text = await phone.hears("hello\nphones ✓")
            assert (text.display, text.sender) == ("Alice A", "sip:6000@127.0.0.1")
        assert await calls[1].send("hello alice") == 202
        # Asterisk keeps the order on a leg: an echo of her own text would stand before Bob's.
        assert (await alice.hears_nothing_until("hello alice")).display == "Bob B"

    @pytest.mark.parametrize("display", ["Mallory", "Alice A", 'a "quoted" \\ name', "Jörg ✓"])
    async def test_a_phone_shows_the_name_that_it_likes(
        self, conference_exchange: ConferenceExchange, softphones: Softphones, display: str
    ) -> None:
        phones = alice, _ = await softphones("101", "102")
        calls = await enter(conference_exchange, "6001", phones)
        assert await calls[1].send("guess who", display=display) == 202
        text = await alice.hears("guess who")
        assert text.display == display
        # Nothing else in the request tells who it was: all of it is Asterisk's, or about the call of the receiver.
        wire = text.request.serialize()
        assert "Bob" not in wire
        assert "sip:102@" not in wire
        assert {"p-asserted-identity", "remote-party-id"}.isdisjoint(
            name.lower() for name, _ in text.request.headers.items()
        )

    @pytest.mark.parametrize(
        ("content_type", "arrives"),
        [
            ("text/html", "text/html"),
            ("application/json", "application/json"),
            ("text/plain;charset=UTF-8", "text/plain"),
        ],
    )
    async def test_text_of_other_types_arrives_without_its_parameters(
        self, conference_exchange: ConferenceExchange, softphones: Softphones, content_type: str, arrives: str
    ) -> None:
        phones = _, bob = await softphones("101", "102")
        calls = await enter(conference_exchange, "6002", phones)
        assert await calls[0].send("{}", content_type=content_type) == 202
        assert (await bob.hears("{}")).content_type == arrives

    async def test_long_text(self, conference_exchange: ConferenceExchange, softphones: Softphones) -> None:
        phones = _, bob = await softphones("101", "102")
        calls = await enter(conference_exchange, "6003", phones)
        long = "äöü€" * 433
        assert len(long.encode()) == 3897
        assert await calls[0].send(long) == 202
        await bob.hears(long)

    async def test_none_of_a_burst_is_lost_or_out_of_order(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        phones = _, *others = await softphones("101", "102", "103")
        calls = await enter(conference_exchange, "6004", phones)
        texts = [f"text {number}" for number in range(BURST)]
        assert set(await asyncio.gather(*(calls[0].send(text) for text in texts))) == {202}
        for phone in others:
            assert [(await phone.hears()).body for _ in texts] == texts

    async def test_two_conferences_hear_nothing_of_each_other(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        alice, bob, carol, dave = await softphones("101", "102", "103", "104")
        here = await enter(conference_exchange, "6005", [alice, bob])
        there = await enter(conference_exchange, "verona", [carol, dave])
        await there[0].send("in verona")
        await dave.hears("in verona")
        await here[0].send("in 6005")
        await bob.hears_nothing_until("in 6005")

    async def test_our_own_leg_is_let_in_by_its_password_and_is_muted(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        (alice,) = await softphones("101")
        calls = await enter(conference_exchange, "6006", [alice])
        async with Softphone(
            conference_exchange, OWN_LEG, conference_exchange.passwords[OWN_LEG], registers=False
        ) as leg:
            call, channel = await conference_exchange.enters(leg, "6006")
            assert (await conference_exchange.participants("6006"))[channel]["Muted"] == "Yes"
            assert await call.send("from chat", display="Romeo") == 202
            assert (await alice.hears("from chat")).display == "Romeo"
            assert await calls[0].send("to chat") == 202
            assert (await leg.hears("to chat")).display == "Alice A"
        async with Softphone(conference_exchange, OWN_LEG, "wrong", registers=False) as leg:
            with pytest.raises(AssertionError, match="401 Unauthorized"):
                await leg.call("6006")

    async def test_a_wrong_password_is_told(self, conference_exchange: ConferenceExchange) -> None:
        with pytest.raises(TestbedError, match="phone 103 cannot register: 401 Unauthorized"):
            async with Softphone(conference_exchange, "103", "wrong"):
                pass


class TestWhatAsteriskHasNot:
    async def test_no_proof_of_who_sends_a_text_in_a_call(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        """Asterisk asks for no password in a call and looks at no address: who knows the tags can write."""
        phones = alice, _ = await softphones("101", "103")
        calls = await enter(conference_exchange, "6011", phones)
        request = calls[1].dialog.create_request("MESSAGE", via_host="127.0.0.1", via_port=free_port())
        request.set_header("From", f"<sip:nobody@127.0.0.1>;tag={calls[1].dialog.local_tag}")
        request.set_header("Content-Type", "text/plain")
        request.text = "from a stranger"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(bytes(request), ("127.0.0.1", conference_exchange.sip_port))
        assert (await alice.hears("from a stranger")).display == "Carol C"

    async def test_a_text_outside_of_a_call_is_refused(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        phones = [alice] = await softphones("101")
        await enter(conference_exchange, "6012", phones)
        refused = await alice.request("MESSAGE", "6012", headers={"Content-Type": "text/plain"}, body="hello")
        assert refused.status_code == 404

    async def test_no_conference_package_and_no_invitation_by_refer(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        phones = [alice] = await softphones("101")
        await enter(conference_exchange, "6010", phones)
        subscribed = await alice.request("SUBSCRIBE", "6010", headers={"Event": "conference", "Expires": "60"})
        assert subscribed.status_code == 489
        referred = await alice.request("REFER", "6010", headers={"Refer-To": "<sip:102@127.0.0.1>"})
        assert referred.status_code == 501


class TestWhoIsIn:
    async def test_muting_by_keys_is_seen(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        (alice,) = await softphones("101")
        ami = await conference_exchange.ami()
        events = ami.subscribe(lambda event: event.get("Conference") == "6020")
        call, channel = await conference_exchange.enters(alice, "6020")
        await call.press("*1")
        await events.get(lambda event: event["Event"] == "ConfbridgeMute" and event["Channel"] == channel, 10)
        # Not by the same keys at once: the conference takes none while it says that they are muted.
        await ami.action("ConfbridgeUnmute", Conference="6020", Channel=channel)
        await events.get(lambda event: event["Event"] == "ConfbridgeUnmute" and event["Channel"] == channel, 10)

    async def test_a_phone_that_is_kicked_gets_bye(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        (alice,) = await softphones("101")
        call, channel = await conference_exchange.enters(alice, "6021")
        ami = await conference_exchange.ami()
        await ami.action("ConfbridgeKick", Conference="6021", Channel=channel)
        assert await call.ended() == "BYE"
        assert await conference_exchange.participants("6021") == {}

    async def test_an_invited_phone_comes_in_under_its_own_name(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        (dave,) = await softphones("104")
        ami = await conference_exchange.ami()
        events = ami.subscribe(lambda event: event.get("Event") in ("ConfbridgeJoin", "OriginateResponse"))
        await _invite(conference_exchange, "104", "6022", "invitation-1")
        call = await dave.rings()
        assert call.caller == "Balcony"
        assert call.header("Referred-By") == "<sip:romeo@example.org>"
        await call.answer()
        joined = await events.get(lambda event: event.get("Conference") == "6022", 10)
        assert (joined["Uniqueid"], joined["CallerIDName"], joined["CallerIDNum"]) == ("invitation-1", "Dave D", "104")
        answer = await events.get(lambda event: event.get("Uniqueid") == "invitation-1", 10)
        assert (answer["Event"], answer["Response"]) == ("OriginateResponse", "Success")

    @pytest.mark.parametrize(("code", "cause"), [(486, "17"), (603, "21")])
    async def test_an_invited_phone_that_refuses(
        self, conference_exchange: ConferenceExchange, softphones: Softphones, code: int, cause: str
    ) -> None:
        (bob,) = await softphones("102")
        ami = await conference_exchange.ami()
        mine = f"invitation-{code}"
        events = ami.subscribe(lambda event: event.get("Uniqueid") == mine)
        await _invite(conference_exchange, "102", "6023", mine)
        await (await bob.rings()).refuse(code)
        hangup = await events.get(lambda event: event["Event"] == "Hangup", 10)
        assert (hangup["Cause"], hangup["TechCause"]) == (cause, str(code))
        response = await events.get(lambda event: event["Event"] == "OriginateResponse", 10)
        assert response["Response"] == "Failure"

    async def test_an_invited_phone_that_nobody_answers(
        self, conference_exchange: ConferenceExchange, softphones: Softphones
    ) -> None:
        (bob,) = await softphones("102")
        ami = await conference_exchange.ami()
        events = ami.subscribe(lambda event: event.get("Uniqueid") == "invitation-3")
        await _invite(conference_exchange, "102", "6024", "invitation-3", seconds=1)
        call = await bob.rings()
        assert await call.ended() == "CANCEL"
        response = await events.get(lambda event: event["Event"] == "OriginateResponse", 10)
        assert (response["Response"], response["Reason"]) == ("Failure", "3")


class TestTrueSender:
    """The name in a text proves nothing. Two ways to do something about it."""

    async def test_a_copy_of_the_sip_packets_tells_the_channel(self, rootfs: Rootfs) -> None:
        """res_hep_pjsip sends each SIP packet to a collector; the Call-ID is that of the sender's channel."""
        port = free_port()
        packets: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        collector, _ = await loop.create_datagram_endpoint(lambda: _Collector(packets), local_addr=("127.0.0.1", port))
        hep = f"[general]\nenabled = yes\ncapture_address = 127.0.0.1:{port}\ncapture_id = 1\nuuid_type = call-id\n"
        async with (
            ConferenceExchange(rootfs, modules=("res_hep", "res_hep_pjsip"), files={"hep.conf": hep}) as exchange,
            Softphones(exchange) as softphones,
        ):
            phones = alice, _ = await softphones("101", "102")
            calls = await enter(exchange, "6030", phones)
            await calls[1].send("I am alice", display="Alice A")
            assert (await alice.hears("I am alice")).display == "Alice A"
            seen: list[tuple[str, str]] = []
            while not any("I am alice" in packet for _, packet in seen):
                seen.append(await asyncio.wait_for(packets.get(), 10))
            call_id, packet = seen[-1]
            assert packet.startswith(f"MESSAGE sip:127.0.0.1:{exchange.sip_port} "), packet
            ami = await exchange.ami()
            channels = {
                (await ami.action("Getvar", Channel=channel, Variable="CHANNEL(pjsip,call-id)"))["Value"]: channel
                for channel in await exchange.participants("6030")
            }
            assert device(channels[call_id]) == "102"
        collector.close()

    async def test_the_dialplan_can_take_texts_from_a_phone(self, rootfs: Rootfs) -> None:
        """FRAME_DROP(RX)=TEXT_DATA before ConfBridge(): the phone reads, and what it writes goes nowhere."""
        async with (
            ConferenceExchange(rootfs, modules=("func_frame_drop",)) as exchange,
            Softphones(exchange) as softphones,
        ):
            await exchange.dialplan(
                """
[internal]
exten => _6XXX,1,Answer()
 same => n,ExecIf($["${CHANNEL(endpoint)}"="102"]?Set(FRAME_DROP(RX)=TEXT_DATA))
 same => n,ConfBridge(${EXTEN},conference,conference-phone,conference-menu)
"""
            )
            phones = alice, bob, _ = await softphones("101", "102", "103")
            calls = await enter(exchange, "6031", phones)
            assert await calls[1].send("nobody reads this") == 202
            await calls[2].send("hello")
            await alice.hears_nothing_until("hello")
            await bob.hears("hello")


async def _invite(exchange: ConferenceExchange, phone: str, number: str, channel_id: str, seconds: float = 10) -> None:
    ami = await exchange.ami()
    await ami.action(
        "Originate",
        {"ROOM": number, "PJSIP_HEADER(add,Referred-By)": "<sip:romeo@example.org>"},
        Channel=f"PJSIP/{phone}",
        ChannelId=channel_id,
        Context=INVITED_CONTEXT,
        Exten="s",
        Priority="1",
        CallerID=f'"Balcony" <{number}>',
        Timeout=str(round(seconds * 1000)),
        Async="true",
    )


class _Collector(asyncio.DatagramProtocol):
    """Reads HEPv3: after six bytes, chunks of vendor, type, length (with these six bytes) and value."""

    def __init__(self, packets: asyncio.Queue[tuple[str, str]]) -> None:
        self._packets = packets

    def datagram_received(self, data: bytes, _address: tuple[str, int]) -> None:
        chunks, position = {}, 6
        while position < len(data):
            _, kind, size = struct.unpack_from("!HHH", data, position)
            chunks[kind] = data[position + 6 : position + size].decode(errors="replace")
            position += size
        self._packets.put_nowait((chunks.get(0x11, ""), chunks.get(0x0F, "")))
