"""Phones that write and read outside of calls, on a real Asterisk: nobody misses a text, and nobody sees one twice."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import AmiSettings, ConferenceSettings
from agi_xmpp.diagnose import check_asterisk
from tests.e2e.garden import open_garden
from tests.testbed.conference import CONFERENCE_CONTEXT, OWN_LEG, ConferenceExchange, device
from tests.testbed.hall import Hall, open_hall
from tests.testbed.messenger import Messenger
from tests.testbed.muc import Attendee
from tests.testbed.rootfs import Rootfs
from tests.testbed.softphone import SoftCall, Softphone, Text
from tests.testbed.xmpp import XmppServer

#: How many texts each way.
BURST = 100
#: Whose phones read outside of calls: Bob's, and Carol's, which has a password. Alice's and Dave's read within.
OUTSIDE = ("102", "103")

pytestmark = pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)


@pytest.fixture
async def hall(rootfs: Rootfs, xmpp_server: XmppServer, tmp_path: Path) -> AsyncIterator[Hall]:
    """A hall where two phones read outside of calls, and two within."""
    async with ConferenceExchange(rootfs, outside_calls=OUTSIDE) as exchange:
        keys = {"texts_outside_calls": list(OUTSIDE)}
        async with open_hall(exchange, xmpp_server, tmp_path, conference=keys, phone=PHONE) as hall:
            yield hall


PHONE: dict[str, Any] = {
    "context": "internal",
    "user": {
        "bob@example.org": {"devices": ["PJSIP/102"], "extension": "102", "name": "Bob B"},
        "dave@example.org": {"devices": ["PJSIP/104"], "extension": "104", "name": "Dave D"},
    },
}


def some_number() -> str:
    """Return a conference's number; nothing of an earlier test is in it."""
    return f"6{secrets.randbelow(800) + 100}"


async def write(phone: Softphone, number: str, text: str, sender: str = "", **more: str) -> int:
    """Let a phone write outside of any call, as another one if there is a ``sender``, and return Asterisk's answer."""
    headers = {"Content-Type": "text/plain;charset=UTF-8", **more}
    if sender:
        headers["From"] = f"<{phone.uri(sender)}>;tag={secrets.token_hex(8)}"
    return (await phone.request("MESSAGE", number, headers=headers, body=text)).status_code


def is_outside(text: Text) -> bool:
    """Tell whether a text came outside of a call: there is no tag of ours in To (RFC 3261 section 12)."""
    to = text.request.to_addr
    return to is not None and not to.tag


async def texts_flow(attendee: Attendee, *phones: Softphone) -> None:
    """Wait until texts of chat are told to phones."""
    attendee.say("mark")
    await attendee.hears("mark")
    for phone in phones:
        await phone.hears(of_romeo("mark", phone))


def of_romeo(text: str, phone: Softphone) -> str:
    """Return how a phone reads what Romeo says: outside of calls, his name is in the text."""
    return f"<Romeo> {text}" if phone.number in OUTSIDE else text


async def everybody(hall: Hall, number: str) -> tuple[Attendee, list[Softphone], SoftCall]:
    """Let Romeo enter a room whose conference Alice, Bob and Carol have dialled; texts flow. The call is Alice's."""
    alice, bob, carol = phones = await hall.phones("101", "102", "103")
    call = await hall.dial(alice, number)
    for phone in (bob, carol):
        await hall.dial(phone, number)
    romeo = await hall.enter("romeo", number)
    for name in ("Alice A", "Bob B", "Carol C"):
        await romeo.sees(name)
    await texts_flow(romeo, *phones)
    return romeo, phones, call


async def test_all_directions(hall: Hall) -> None:
    number = some_number()
    romeo, (alice, bob, carol), call = await everybody(hall, number)
    # From chat: the writer's name, and an address to which an answer goes.
    romeo.say("good evening")
    assert not is_outside(await alice.hears("good evening", display="Romeo"))
    for phone in (bob, carol):
        heard = await phone.hears("<Romeo> good evening", display="Romeo")
        assert is_outside(heard)
        assert heard.sender.startswith(f"sip:{number}@127.0.0.1")
    await romeo.hears("good evening")
    # From a phone outside of calls: to chat, to the phone within its call, and to the other one outside.
    assert await write(carol, number, "hello from carol") == 202
    await romeo.hears("hello from carol", nick="Carol C")
    assert not is_outside(await alice.hears("hello from carol", display="Carol C"))
    assert is_outside(await bob.hears("<Carol C> hello from carol", display="Carol C"))
    # From the phone within its call.
    await call.send("hello from alice")
    await romeo.hears("hello from alice", nick="Alice A")
    for phone in (bob, carol):
        assert is_outside(await phone.hears("<Alice A> hello from alice", display="Alice A"))
    # And nothing comes twice, nor back to who wrote it.
    romeo.say("end")
    await romeo.hears_nothing_until("end")
    for phone in (alice, bob, carol):
        await phone.hears_nothing_until(of_romeo("end", phone))


async def test_phones_alone_read_each_other(hall: Hall) -> None:
    number = some_number()
    alice, bob = await hall.phones("101", "102")
    ami = await hall.exchange.ami()
    joins = ami.subscribe(lambda event: event.get("Event") == "ConfbridgeJoin")
    call = await hall.dial(alice, number)
    await hall.dial(bob, number)
    await joins.get(lambda event: device(event["Channel"]) == OWN_LEG, timeout=10)
    joins.close()
    assert await write(bob, number, "nobody is in chat") == 202
    await alice.hears("nobody is in chat", display="Bob B")
    await call.send("so it is")
    await bob.hears("<Alice A> so it is", display="Alice A")
    await call.hang_up()


async def test_whatever_is_written_arrives_as_it_is(hall: Hall) -> None:
    number = some_number()
    (carol,) = await hall.phones("103")
    await hall.dial(carol, number)
    romeo = await hall.enter("romeo", number)
    await romeo.sees("Carol C")
    await texts_flow(romeo, carol)
    for text in (
        "great :) note: bring it",
        "x):0:3",
        "${EXTEN} $[1+1] %41 \\n",
        'a "quoted" text, with; signs | (and',
        "two\nlines\nNumber: 6000",
        "😀 ü €",
        ":" * 1023,
        "%" * 1023,
        "é" * 511,
    ):
        assert await write(carol, number, text) == 202
        await romeo.hears(text, nick="Carol C")
        romeo.say(text)
        await romeo.hears(text)
        text = f"<Romeo> {text}"
        if len(text.encode()) <= 756:
            await carol.hears(text, display="Romeo")
        else:
            parts = [(await carol.hears(lambda heard: heard.body.startswith("("))).body for _ in range(2)]
            assert [part[:6] for part in parts] == ["(1/2) ", "(2/2) "]
            assert "".join(part[6:] for part in parts) == text


async def test_a_text_that_is_too_long_comes_back_to_its_writer(hall: Hall) -> None:
    number = some_number()
    (carol,) = await hall.phones("103")
    await hall.dial(carol, number)
    romeo = await hall.enter("romeo", number)
    await romeo.sees("Carol C")
    assert await write(carol, number, "x" * 1023) == 202
    await romeo.hears("x" * 1023, nick="Carol C")
    assert await write(carol, number, "x" * 1024) == 202
    assert "too long" in (await carol.hears()).body
    assert await write(carol, number, "shorter") == 202
    assert (await romeo.hears()).body == "shorter"


async def test_who_is_not_in_writes_to_nobody(hall: Hall) -> None:
    number, other = "6040", "6050"
    alice, bob, carol = await hall.phones("101", "102", "103")
    await hall.dial(bob, number)
    await hall.dial(carol, other)
    romeo = await hall.enter("romeo", number)
    await romeo.sees("Bob B")
    await texts_flow(romeo, bob)
    assert await write(carol, number, "from another conference") == 202
    assert await write(alice, number, "from outside") == 202
    assert await write(alice, number, "as carol", sender="103") == 401  # she has a password
    assert await write(alice, number, "as nobody", sender="999") == 401
    assert await write(alice, "700", "to no conference") == 404
    # Without a password anybody is believed who says that they are Bob: the documents say so.
    assert await write(alice, number, "as bob", sender="102") == 202
    await romeo.hears("as bob", nick="Bob B")
    romeo.say("end")
    await romeo.hears_nothing_until("end")
    await bob.hears_nothing_until(of_romeo("end", bob))


async def test_who_is_seen_by_something_else_than_from_does_not_write_as_another(
    rootfs: Rootfs, xmpp_server: XmppServer, tmp_path: Path
) -> None:
    identify = """
[global]
type = global
endpoint_identifier_order = header,ip,username
[alice-anywhere]
type = identify
endpoint = 101
match_header = Trunk: alice
"""
    modules = ("res_pjsip_endpoint_identifier_ip",)
    keys = {"texts_outside_calls": list(OUTSIDE)}
    async with (
        ConferenceExchange(rootfs, modules=modules, pjsip=identify, outside_calls=OUTSIDE) as exchange,
        open_hall(exchange, xmpp_server, tmp_path, conference=keys) as hall,
    ):
        alice, carol = await hall.phones("101", "103")
        await hall.dial(carol, "6040")
        romeo = await hall.enter("romeo", "6040")
        await romeo.sees("Carol C")
        # Asterisk takes it for Alice's, and asks for no password.
        assert await write(alice, "6040", "I am carol", sender="103", Trunk="alice") == 202
        assert await write(carol, "6040", "it is me") == 202
        assert (await romeo.hears()).body == "it is me"
        await hall.service.log_says("conference '6040': a text of '103', who is not in, was dropped")


async def test_private_texts_and_words(hall: Hall) -> None:
    number = some_number()
    bob, carol, dave = await hall.phones("102", "103", "104")
    await hall.dial(carol, number)
    await hall.dial(bob, number)
    romeo = await hall.enter("romeo", number)
    for name in ("Bob B", "Carol C"):
        await romeo.sees(name)
    await texts_flow(romeo, bob, carol)
    romeo.whisper("Carol C", "only\nyou")
    heard = await carol.hears("[private] <Romeo> only\nyou")
    assert is_outside(heard)
    assert await write(carol, number, "/who") == 202
    assert "in chat Romeo; on the phone Bob B, Carol C" in (await carol.hears()).body
    assert await write(carol, number, "/invite 104") == 202
    ringing = await dave.rings()
    await ringing.answer()
    await romeo.sees("Dave D")
    assert "Dave" in (await carol.hears()).body
    romeo.say("end")
    # Words are for us: nobody else has read them.
    await romeo.hears_nothing_until("end")
    await bob.hears_nothing_until(of_romeo("end", bob))


async def test_a_phone_that_was_invited(hall: Hall) -> None:
    number = some_number()
    alice, bob, carol = await hall.phones("101", "102", "103")
    await hall.dial(alice, number)
    await hall.dial(carol, number)
    romeo = await hall.enter("romeo", number)
    await romeo.sees("Carol C")
    assert await write(carol, number, "/invite 102") == 202
    await (await bob.rings()).answer()
    await romeo.sees("Bob B")
    await texts_flow(romeo, alice, bob)
    romeo.say("welcome")
    heard = await bob.hears("<Romeo> welcome", display="Romeo")
    assert is_outside(heard)
    assert heard.sender.startswith(f"sip:{number}@127.0.0.1")
    assert await write(bob, number, "thank you") == 202
    await alice.hears("thank you", display="Bob B")
    romeo.say("end")
    await bob.hears_nothing_until(of_romeo("end", bob))


async def test_bursts_are_whole_and_in_order(hall: Hall) -> None:
    number = some_number()
    romeo, (alice, bob, carol), call = await everybody(hall, number)

    async def carol_writes() -> None:
        for count in range(BURST):  # each when the one before was answered: Asterisk changes the order of others
            assert await write(carol, number, f"carol {count}") == 202

    async def alice_writes() -> None:
        for count in range(BURST):
            assert await call.send(f"alice {count}") == 202

    for count in range(BURST):
        romeo.say(f"romeo {count}")
    await asyncio.gather(carol_writes(), alice_writes())
    said = {name: [f"{name} {count}" for count in range(BURST)] for name in ("alice", "carol", "romeo")}
    bodies = [(await bob.hears(timeout=60)).body for _ in range(3 * BURST)]
    assert _by_name(bodies) == said
    assert _by_name([(await carol.hears(timeout=60)).body for _ in range(2 * BURST)]) == said | {"carol": []}
    assert _by_name([(await alice.hears(timeout=60)).body for _ in range(2 * BURST)]) == said | {"alice": []}
    assert _by_name([(await romeo.hears(timeout=60)).body for _ in range(3 * BURST)]) == said
    romeo.say("end")
    await romeo.hears_nothing_until("end")
    for phone in (alice, bob, carol):
        await phone.hears_nothing_until(of_romeo("end", phone))


async def test_a_real_softphone_writes_and_reads(hall: Hall) -> None:
    number = some_number()
    (alice,) = await hall.phones("101")
    async with Messenger(hall.exchange, "102", number) as bob:
        await hall.dial(alice, number)
        await bob.call(number)
        await bob.connected()
        romeo = await hall.enter("romeo", number)
        for name in ("Alice A", "Bob B"):
            await romeo.sees(name)
        await texts_flow(romeo, alice)
        await bob.hears("<Romeo> mark")
        await bob.write("bob :) in: baresip ü")
        await romeo.hears("bob :) in: baresip ü", nick="Bob B")
        await alice.hears("bob :) in: baresip ü", display="Bob B")
        for count in range(BURST):
            romeo.say(f"romeo {count}")
        for count in range(BURST):  # of texts that come at once, Asterisk changes the order
            await bob.write(f"bob {count}")
            await romeo.hears(f"bob {count}", nick="Bob B")
        said = {name: [f"{name} {count}" for count in range(BURST)] for name in ("bob", "romeo")}
        assert [(await romeo.hears(timeout=60)).body for _ in range(BURST)] == said["romeo"]
        assert _by_name([(await alice.hears(timeout=60)).body for _ in range(2 * BURST)], "romeo", "bob") == said
        await bob.hears(f"<Romeo> romeo {BURST - 1}")
        await bob.write("/who")
        await bob.hears(f"[private] {number}: in chat Romeo; on the phone Alice A, Bob B.")
        assert bob.texts[1:-1] == [f"<Romeo> {text}" for text in said["romeo"]]
        romeo.say("end")
        await romeo.hears_nothing_until("end")


async def test_all_devices_of_an_endpoint_read_though_one_is_gone(hall: Hall) -> None:
    number = some_number()
    desk, lost = await hall.phones("102", "102")
    await hall.dial(desk, number)
    romeo = await hall.enter("romeo", number)
    await romeo.sees("Bob B")
    await texts_flow(romeo, desk, lost)
    await lost.lose_power()
    romeo.say("one")
    romeo.say("two")
    await desk.hears_nothing_until(of_romeo("one", desk))
    await desk.hears_nothing_until(of_romeo("two", desk))


async def test_a_room_of_another_service(rootfs: Rootfs, xmpp_server: XmppServer, tmp_path: Path) -> None:
    keys = {"texts_outside_calls": list(OUTSIDE)}
    async with (
        ConferenceExchange(rootfs, outside_calls=OUTSIDE) as exchange,
        open_garden(exchange, xmpp_server, tmp_path, conference=keys) as garden,
    ):
        romeo = await garden.opened()
        alice, call = await garden.dial("101")
        carol, _ = await garden.dial("103")
        for name in ("Alice A", "Carol C"):
            await romeo.sees(name)
        await texts_flow(romeo, alice, carol)
        romeo.say("from the garden")
        await alice.hears("from the garden", display="Romeo")
        assert is_outside(await carol.hears("<Romeo> from the garden", display="Romeo"))
        assert await write(carol, garden.number, "from carol") == 202
        await romeo.hears("from carol", nick="Carol C")
        await alice.hears("from carol", display="Carol C")
        await call.send("from alice")
        await romeo.hears("from alice", nick="Alice A")
        await carol.hears("<Alice A> from alice", display="Alice A")
        romeo.whisper("Carol C", "only you")
        await carol.hears("[private] <Romeo> only you")
        romeo.say("end")
        for phone in (alice, carol):
            await phone.hears_nothing_until(of_romeo("end", phone))


async def test_a_reload_takes_other_phones_in_place(hall: Hall) -> None:
    number = some_number()
    (carol,) = await hall.phones("103")
    await hall.dial(carol, number)
    romeo = await hall.enter("romeo", number)
    await romeo.sees("Carol C")
    await texts_flow(romeo, carol)
    await take_up(hall, "102")
    romeo.say("she reads within her call now, and her profile has no texts")
    await romeo.hears("she reads within her call now, and her profile has no texts")
    await take_up(hall, *OUTSIDE)
    romeo.say("again")
    await carol.hears_nothing_until(of_romeo("again", carol))
    assert await romeo.is_in()


async def take_up(hall: Hall, *phones: str) -> None:
    """Let agi-xmpp take other phones for those that read outside of calls."""
    sections = hall.service.sections
    sections["conference"] = {**sections["conference"], "texts_outside_calls": phones}
    await hall.service.reload()


async def test_what_check_says(hall: Hall) -> None:
    assert await checked(hall) == (
        True,
        f"conferences: Asterisk has the context {CONFERENCE_CONTEXT}, and takes texts from {OWN_LEG}",
    )
    assert await checked(hall, phones=["102", "999"]) == (
        False,
        "conferences: FAILED: Asterisk has no endpoint 999 (conference.texts_outside_calls), or func_pjsip_endpoint is"
        " not loaded",
    )
    well, line = await checked(hall, read="call")
    assert not well
    assert "add user to the manager user's line read = in manager.conf" in line
    well, line = await checked(hall, write="call,originate,reporting")
    assert not well
    assert line.startswith("ami: FAILED: [agi-xmpp] lacks a right: add message to the manager user's line write =")
    contexts = ("[conferences]", "exten => _6XXX,1,Answer()", "[conference-invited]", "exten => s,1,NoOp()")
    await hall.exchange.dialplan("\n".join(contexts) + "\n")
    well, line = await checked(hall)
    assert not well
    assert "the context conferences-texts, a message_context in pjsip.conf, does not hand texts on" in line


async def checked(
    hall: Hall,
    *,
    phones: Sequence[str] = OUTSIDE,
    read: str = "call,user",
    write: str = "call,originate,reporting,message",
) -> tuple[bool, str]:
    """Return whether `agi-xmpp check --online` finds all well, and its first failure, or else its last line.

    Args:
        hall: whose Asterisk is asked.
        phones: ``conference.texts_outside_calls``.
        read, write: rights of the manager user.
    """
    exchange = hall.exchange
    await exchange.grants(read, write)
    sip = {"port": exchange.sip_port, "endpoint": OWN_LEG, "password": exchange.passwords[OWN_LEG]}
    keys = {"account": "conference", "context": CONFERENCE_CONTEXT, "sip": sip, "texts_outside_calls": list(phones)}
    ami = {"port": exchange.ami_port, "username": exchange.manager_user, "password": exchange.manager_secret}
    lines: list[str] = []
    well = await check_asterisk(
        AmiSettings.model_validate(ami), None, ConferenceSettings.model_validate(keys), lines.append
    )
    return well, next((line for line in lines if "FAILED" in line), lines[-1])


def _by_name(bodies: list[str], *names: str) -> dict[str, list[str]]:
    names = names or ("alice", "carol", "romeo")
    texts = [re.sub("^<[^>]*> ", "", body) for body in bodies]
    return {name: [text for text in texts if text.startswith(name)] for name in names}
