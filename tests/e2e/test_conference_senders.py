"""True senders: a phone cannot write under the name of another phone, on a real Asterisk with res_hep_pjsip."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import AmiSettings, ConferenceSettings
from agi_xmpp.diagnose import check_asterisk
from tests.testbed.conference import CONFERENCE_CONTEXT, OWN_LEG, ConferenceExchange, documented
from tests.testbed.hall import Hall, open_hall
from tests.testbed.muc import Attendee
from tests.testbed.ports import free_port
from tests.testbed.rootfs import Rootfs
from tests.testbed.xmpp import XmppServer

#: How many texts each of two phones sends at once.
BURST = 300
#: Bytes that Linux lets a socket keep until it is read, and how many the documents advise.
ROOM_OF_SOCKETS, ENOUGH_ROOM = Path("/proc/sys/net/core/rmem_max"), 4_194_304

pytestmark = pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)


@pytest.fixture
def hep() -> str:
    """Where Asterisk sends copies of its SIP packets."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
async def hall(rootfs: Rootfs, xmpp_server: XmppServer, hep: str, tmp_path: Path) -> AsyncIterator[Hall]:
    """A hall where agi-xmpp gets copies of SIP packets, by the hep.conf of the documents."""
    sample = documented("hep.conf").replace("127.0.0.1:9060", hep)
    assert hep in sample
    exchange = ConferenceExchange(rootfs, modules=("res_hep", "res_hep_pjsip"), files={"hep.conf": sample})
    async with exchange:
        sip = _sip(exchange, hep)
        async with open_hall(exchange, xmpp_server, tmp_path, conference={"sip": sip}) as hall:
            yield hall


def _sip(exchange: ConferenceExchange, hep: str) -> dict[str, Any]:
    return {"port": exchange.sip_port, "endpoint": OWN_LEG, "password": exchange.passwords[OWN_LEG], "hep": hep}


def some_number() -> str:
    """Return a conference's number; nothing of an earlier test is in it."""
    return f"6{secrets.randbelow(800) + 100}"


async def test_who_writes_under_the_name_of_another_is_found_out(hall: Hall) -> None:
    number = some_number()
    alice, bob = await hall.phones("101", "102")
    calls = await hall.dial(alice, number), await hall.dial(bob, number)
    romeo = await hall.enter("romeo", number)
    await texts_flow(romeo, "Alice A", "Bob B")
    await calls[0].send("I am bob", display="Bob B")
    await romeo.hears("I am bob", nick="Alice A")
    await calls[0].send("I am romeo", display="Romeo")
    await romeo.hears("I am romeo", nick="Alice A")
    await calls[1].send("it is me", display="Bob B")
    await romeo.hears("it is me", nick="Bob B")


async def test_copies_are_listened_for_and_not_by_a_reload(hall: Hall, hep: str) -> None:
    number = some_number()
    alice, bob = await hall.phones("101", "102")
    calls = await hall.dial(alice, number), await hall.dial(bob, number)
    romeo = await hall.enter("romeo", number)
    await texts_flow(romeo, "Alice A", "Bob B")
    for settings, nick in ((_sip(hall.exchange, ""), "Bob B"), (_sip(hall.exchange, hep), "Alice A")):
        hall.service.sections["conference"] = {**hall.service.sections["conference"], "sip": settings}
        since = hall.service.log_size()
        await hall.service.reload()
        await hall.service.log_says(lambda line: "reload: done" in line, since=since)
        romeo.say(f"who is {nick}?")
        await alice.hears(f"who is {nick}?")  # our call is there again
        await calls[0].send(f"I am {nick}", display="Bob B")
        await romeo.hears(f"I am {nick}", nick=nick)


async def test_a_name_that_several_have_and_none_at_all(hall: Hall) -> None:
    number = some_number()
    await hall.exchange.dialplan(
        """
[internal]
exten => _6XXX,1,ExecIf($["${CALLERID(num)}"="102"]?Set(CALLERID(name)=Alice A))
 same => n,ExecIf($["${CALLERID(num)}"="103"]?Set(CALLERID(name)=))
 same => n,Answer()
 same => n,ConfBridge(${EXTEN},conference,conference-phone,conference-menu)
[conferences-chat]
exten => _6XXX,1,Answer()
 same => n,ConfBridge(${EXTEN},conference,conference-chat)
"""
    )
    alice, bob, carol = await hall.phones("101", "102", "103")
    calls = [await hall.dial(phone, number) for phone in (alice, bob, carol)]
    romeo = await hall.enter("romeo", number)
    await texts_flow(romeo, "Alice A", "Alice A (2)", "103")
    for call in calls:
        await call.send("who is this?")
    assert {(await romeo.hears("who is this?")).sender for _ in calls} == {
        romeo.of(nick) for nick in ("Alice A", "Alice A (2)", "103")
    }
    for call, nick in zip(calls, ("Alice A", "Alice A (2)", "103"), strict=True):
        await call.send(f"I am {nick}")
        await romeo.hears(f"I am {nick}", nick=nick)


async def test_who_withholds_their_name_is_still_nobody_by_name(hall: Hall) -> None:
    number = some_number()
    await hall.exchange.dialplan(
        """
[internal]
exten => _6XXX,1,Set(CALLERID(pres)=prohib)
 same => n,Answer()
 same => n,ConfBridge(${EXTEN},conference,conference-phone,conference-menu)
[conferences-chat]
exten => _6XXX,1,Answer()
 same => n,ConfBridge(${EXTEN},conference,conference-chat)
"""
    )
    (carol,) = await hall.phones("103")
    call = await hall.dial(carol, number)
    romeo = await hall.enter("romeo", number)
    await texts_flow(romeo, "phone")
    for display in ("", "Carol C", "Romeo"):
        await call.send(f"as {display!r}", display=display)
        await romeo.hears(f"as {display!r}", nick="phone")


async def test_bursts_of_two_phones_are_told_apart(hall: Hall) -> None:
    number = some_number()
    alice, bob = await hall.phones("101", "102")
    calls = await hall.dial(alice, number), await hall.dial(bob, number)
    romeo = await hall.enter("romeo", number)
    await texts_flow(romeo, "Alice A", "Bob B")
    said = {
        "Alice A": [f"text {count}" for count in range(BURST)],
        "Bob B": [f"word {count}" for count in range(BURST)],
    }
    # Both under one name: only the copies tell them apart.
    answers = await asyncio.gather(
        *(
            calls[which].send(text, display="Bob B")
            for count in range(BURST)
            for which, text in enumerate((said["Alice A"][count], said["Bob B"][count]))
        )
    )
    assert set(answers) == {202}
    heard: dict[str, list[str]] = {"": [], "Alice A": [], "Bob B": []}
    for _ in range(2 * BURST):
        text = await romeo.hears(timeout=60)
        heard[text.sender.partition("/")[2]].append(text.body)
    lost = (await hall.service.status())["conference"]["senders"]["lost"]
    if int(ROOM_OF_SOCKETS.read_text()) >= ENOUGH_ROOM:
        assert lost == 0
    if lost == 0:
        assert heard == {"": [], **said}
    # Where sockets have little room, copies are lost. Then texts are nobody's; never another phone's, and never lost.
    nobody = [text.removeprefix("<Bob B> ") for text in heard[""]]
    for phone, texts in said.items():
        assert heard[phone] == [text for text in texts if text not in nobody]
    assert sorted([*nobody, *heard["Alice A"], *heard["Bob B"]]) == sorted([*said["Alice A"], *said["Bob B"]])
    romeo.say("end")
    await romeo.hears_nothing_until("end")


async def test_without_copies_a_text_is_nobody_s(hall: Hall) -> None:
    number = some_number()
    alice, bob = await hall.phones("101", "102")
    calls = await hall.dial(alice, number), await hall.dial(bob, number)
    romeo = await hall.enter("romeo", number)
    await texts_flow(romeo, "Alice A", "Bob B")
    await calls[0].send("before")
    await romeo.hears("before", nick="Alice A")
    ami = await hall.exchange.ami()
    await ami.action("ModuleLoad", Module="res_hep_pjsip.so", LoadType="unload")
    await calls[0].send("meanwhile", display="Bob B")
    heard = await romeo.hears("<Bob B> meanwhile")
    assert heard.sender == romeo.room
    await calls[0].send("meanwhile, without a name")
    await romeo.hears("<Alice A> meanwhile, without a name")
    await ami.action("ModuleLoad", Module="res_hep_pjsip.so", LoadType="load")
    await calls[0].send("after", display="Bob B")
    await romeo.hears("after", nick="Alice A")


async def test_phones_that_are_in_before_agi_xmpp(hall: Hall) -> None:
    number = some_number()
    (alice,) = await hall.phones("101")
    call = await hall.dial(alice, number)
    await hall.service.stop()
    await hall.service.start()
    await hall.service.online()
    romeo = await hall.enter("romeo", number)
    await texts_flow(romeo, "Alice A")
    await call.send("still me", display="Romeo")
    await romeo.hears("still me", nick="Alice A")
    status = (await hall.service.status())["conference"]
    assert status["senders"]["copies"] > 0
    assert status["problems"] == []


async def test_what_check_says(hall: Hall, hep: str) -> None:
    free = f"127.0.0.1:{free_port()}"
    assert "is in use. If agi-xmpp runs, that is right" in (await _checked(hall, hep))[0]
    await hall.service.stop()
    try:
        assert await _checked(hall, hep) == [f"conferences: copies of SIP packets come to {hep}"]
        (problem,) = await _checked(hall, free)
        assert problem.startswith(f"conferences: FAILED: no copy of a SIP packet has come to {free}")
    finally:
        await hall.service.start()
        await hall.service.online()


async def test_while_another_program_has_the_port_texts_are_nobody_s(
    rootfs: Rootfs, xmpp_server: XmppServer, hep: str, tmp_path: Path
) -> None:
    host, _, port = hep.rpartition(":")
    sample = documented("hep.conf").replace("127.0.0.1:9060", hep)
    exchange = ConferenceExchange(rootfs, modules=("res_hep", "res_hep_pjsip"), files={"hep.conf": sample})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((host, int(port)))
        async with (
            exchange,
            open_hall(exchange, xmpp_server, tmp_path, conference={"sip": _sip(exchange, hep)}) as hall,
        ):
            number = some_number()
            alice, bob = await hall.phones("101", "102")
            call, _ = await hall.dial(alice, number), await hall.dial(bob, number)
            romeo = await hall.enter("romeo", number)
            await texts_flow(romeo, "Alice A", "Bob B")
            await call.send("I am bob", display="Bob B")
            await romeo.hears("<Bob B> I am bob", nick="")
            code, shown = await hall.service.command("status")
            assert (code, f"conference.sip.hep: cannot listen at {hep}: Address already in use" in shown) == (0, True)
            taken.close()
            await hall.service.reload()
            await hall.service.log_says(f"we listen at {hep} now")
            await call.send("I am bob again", display="Bob B")
            await romeo.hears("I am bob again", nick="Alice A")


async def _checked(hall: Hall, hep: str) -> list[str]:
    """Return what `agi-xmpp check --online` says of copies."""
    exchange = hall.exchange
    keys = {"account": "conference", "context": CONFERENCE_CONTEXT, "sip": _sip(exchange, hep)}
    conference = ConferenceSettings.model_validate(keys)
    ami = AmiSettings.model_validate(
        {"port": exchange.ami_port, "username": exchange.manager_user, "password": exchange.manager_secret}
    )
    lines: list[str] = []
    await check_asterisk(ami, None, conference, lines.append)
    return [line for line in lines if hep in line]


async def texts_flow(attendee: Attendee, *phones: str) -> None:
    """Wait until phones are in, and what is said in chat is told to them: it takes half a second at first."""
    for phone in phones:
        await attendee.sees(phone)
    attendee.say("mark")
    await attendee.hears("mark")
