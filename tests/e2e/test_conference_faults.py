"""Bursts in a conference, and what becomes of it when one of its parts fails: all parts real."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from signal import Signals
from typing import Any, Literal

import pytest

from tests.testbed.client import Heard
from tests.testbed.conference import ConferenceExchange
from tests.testbed.hall import Hall, open_hall
from tests.testbed.muc import Attendee, Refused
from tests.testbed.profanity import Profanity
from tests.testbed.program import PROBE_INTERVAL, Program
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.softphone import SoftCall, Softphone
from tests.testbed.xmpp import Ejabberd, Options, Prosody, XmppServer

#: Texts each way in a burst.
BURST = 300
#: Seconds for one text of a burst to come.
PATIENCE = 60.0
#: What the room says where the phones cannot be reached.
UNREACHED = "The phones in this conference cannot read what is written here at the moment."
REACHED = "The phones in this conference can read again what is written here."
ROOMS = {"balcony": {"number": "6000", "title": "Balcony"}}
ON_PROSODY = pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
SERVERS = pytest.mark.parametrize("make", [Prosody, Ejabberd])


@pytest.fixture
async def hall(conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path) -> AsyncIterator[Hall]:
    """A hall with Romeo, who owns each room, Juliet and Tybalt, on each server in turn."""
    people = ("romeo", "juliet", "tybalt")
    async with open_hall(conference_exchange, xmpp_server, tmp_path, people=people, rooms=ROOMS) as hall:
        yield hall


class Gathering:
    """Romeo and Juliet in chat, Alice (101) and Bob (102) by telephone, in one conference; texts flow."""

    def __init__(self, hall: Hall, number: str) -> None:
        self.hall = hall
        self.number = number
        self.attendees: list[Attendee] = []
        self.phones: list[Softphone] = []
        self.calls: list[SoftCall] = []
        self._said = ""

    @classmethod
    async def of(cls, hall: Hall, number: str = "6000") -> Gathering:
        self = cls(hall, number)
        self.phones = await hall.phones("101", "102")
        await self.dial()
        await self.enter()
        await self.is_whole()
        await self.hear_each_other()
        return self

    @property
    def node(self) -> str:
        """Of the room's address."""
        return "balcony" if self.number == "6000" else self.number

    async def dial(self) -> None:
        """Let both phones call."""
        self.calls = [await self.hall.dial(phone, self.number) for phone in self.phones]

    async def enter(self) -> None:
        """Let both clients enter."""
        self.attendees = [await self.hall.enter(name, self.node) for name in ("romeo", "juliet")]

    async def come_back(self) -> None:
        """Let both clients, whose connections are gone, connect again and enter anew."""
        for name in ("romeo", "juliet"):
            await self.hall.comes_back(name)
        await self.hall.service.online()  # until then, the server itself refuses them
        await self.enter()

    async def is_whole(self) -> None:
        """Wait until everybody means the same people: these four."""
        await self.hall.agrees(self.number, self.attendees, ["101", "102"])

    async def hear_each_other(self, *, perhaps_again: bool = False) -> None:
        """Say something on each side, and see that everybody hears it once.

        Args:
            perhaps_again: the last text before a break may come once more.
        """
        up, down = f"up {secrets.token_hex(4)}", f"down {secrets.token_hex(4)}"
        romeo, juliet = self.attendees
        bob = self.phones[1]
        romeo.say(down)
        await asyncio.gather(*(phone.hears(down, display="Romeo") for phone in self.phones))
        await asyncio.gather(*(attendee.hears(down, nick="Romeo") for attendee in self.attendees))
        assert await self.calls[0].send(up) == 202
        await bob.hears(up, display="Alice A")
        for attendee in self.attendees:
            await attendee.hears(up, nick="Alice A")
        before, self._said = self._said, f"end {secrets.token_hex(4)}"
        juliet.say(self._said)
        for attendee in self.attendees:
            heard = await attendee.hears()
            while perhaps_again and heard.body == before:
                heard = await attendee.hears()
            assert heard.body == self._said
        for phone in self.phones:
            await phone.hears_nothing_until(self._said)


class TestBursts:
    @ON_PROSODY
    async def test_three_speak_at_once(self, hall: Hall) -> None:
        one = await Gathering.of(hall)
        romeo, juliet = one.attendees
        alice, bob = one.phones
        down = {name: [f"{name} {count}" for count in range(BURST // 2)] for name in ("Romeo", "Juliet")}
        up = [f"Alice {count}" for count in range(BURST)]
        for first, second in zip(down["Romeo"], down["Juliet"], strict=True):
            romeo.say(first)
            juliet.say(second)
        assert set(await asyncio.gather(*(one.calls[0].send(text) for text in up))) == {202}
        whole = {**down, "Alice A": up}
        for attendee in one.attendees:
            for nick, texts in whole.items():
                assert [(await attendee.hears(nick=nick, timeout=PATIENCE)).body for _ in texts] == texts
        for nick, texts in whole.items():
            assert [(await bob.hears(display=nick, timeout=PATIENCE)).body for _ in texts] == texts
        for nick, texts in down.items():
            assert [(await alice.hears(display=nick, timeout=PATIENCE)).body for _ in texts] == texts
        await one.hear_each_other()  # and nothing comes twice
        kept = await juliet.archive()
        for nick, texts in whole.items():
            said = set(texts)
            assert [heard.body for heard in kept if heard.sender == juliet.of(nick) and heard.body in said] == texts
        await one.is_whole()

    @ON_PROSODY
    async def test_a_phone_comes_and_goes_meanwhile(self, hall: Hall) -> None:
        one = await Gathering.of(hall)
        romeo, juliet = one.attendees
        (carol,) = await hall.phones("103")
        down = [f"down {count}" for count in range(BURST)]
        up = [f"up {count}" for count in range(BURST)]

        async def come_and_go() -> None:
            call = await hall.dial(carol, one.number)
            await juliet.sees("Carol C")
            await carol.hears()
            await call.hang_up()

        async def speak() -> None:
            for first, second in zip(down, up, strict=True):
                romeo.say(first)
                assert await one.calls[0].send(second) == 202

        await asyncio.gather(speak(), come_and_go())
        assert [(await juliet.hears(nick="Romeo", timeout=PATIENCE)).body for _ in down] == down
        assert [(await romeo.hears(nick="Alice A", timeout=PATIENCE)).body for _ in up] == up
        assert [(await one.phones[1].hears(display="Alice A", timeout=PATIENCE)).body for _ in up] == up
        await juliet.sees_gone("Carol C")
        assert [text.body for text in carol.texts if text.display == "Alice A"] == _run_of(up, carol, "Alice A")
        assert [text.body for text in carol.texts if text.display == "Romeo"] == _run_of(down, carol, "Romeo")
        await one.is_whole()


#: Seconds for which a part stands still, and for which agi-xmpp waits for Asterisk where it is longer than that.
STANDSTILL = 2.0


@contextlib.asynccontextmanager
async def standstill(program: Program) -> AsyncIterator[None]:
    """Give a program no processor for `STANDSTILL` seconds, and until the body is done."""
    program.signal(Signals.SIGSTOP)
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(asyncio.sleep(STANDSTILL))
            yield
    finally:
        program.signal(Signals.SIGCONT)


class TestStandstill:
    """A part gets no processor for a while, in the middle of a burst."""

    async def _burst(self, one: Gathering, program: Program, up: Sequence[str]) -> None:
        """Let Romeo and Alice write while a program stands still, and see that all is heard once and in order."""
        romeo = one.attendees[0]
        alice, bob = one.phones
        down = [f"down {count}" for count in range(BURST)]
        for text in down[: BURST // 2]:
            romeo.say(text)
        async with asyncio.TaskGroup() as speaking, standstill(program):
            for text in down[BURST // 2 :]:
                romeo.say(text)
            sending = speaking.create_task(self._write(one.calls[0], up))
            if program is not one.hall.exchange:  # which has to answer
                await sending
        for attendee in one.attendees:
            assert [(await attendee.hears(nick="Romeo", timeout=PATIENCE)).body for _ in down] == down
            assert [(await attendee.hears(nick="Alice A", timeout=PATIENCE)).body for _ in up] == up
        for phone in (alice, bob):
            assert [(await phone.hears(display="Romeo", timeout=PATIENCE)).body for _ in down] == down
        assert [(await bob.hears(display="Alice A", timeout=PATIENCE)).body for _ in up] == up
        await one.is_whole()
        await one.hear_each_other()

    async def _write(self, call: SoftCall, texts: Sequence[str]) -> None:
        for text in texts:
            assert await call.send(text) == 202

    @ON_PROSODY
    async def test_of_agi_xmpp(
        self, conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path
    ) -> None:
        # What Asterisk has answered meanwhile has come in time.
        async with open_hall(
            conference_exchange, xmpp_server, tmp_path, rooms=ROOMS, sip={"timeout": STANDSTILL / 2}
        ) as hall:
            up = [f"up {count}" for count in range(2 * BURST)]  # more than the kernel keeps for us
            await self._burst(await Gathering.of(hall), hall.service, up)

    async def test_of_the_xmpp_server(self, hall: Hall) -> None:
        up = [f"up {count}" for count in range(BURST)]
        await self._burst(await Gathering.of(hall), hall.server, up)

    @ON_PROSODY
    async def test_of_asterisk(self, hall: Hall) -> None:
        up = [f"up {count}" for count in range(BURST)]
        await self._burst(await Gathering.of(hall), hall.exchange, up)


def _run_of(texts: Sequence[str], phone: Softphone, display: str) -> list[str]:
    """Return the part of ``texts`` without gap that a phone heard the ends of."""
    heard = [text.body for text in phone.texts if text.display == display]
    return list(texts[texts.index(heard[0]) : texts.index(heard[-1]) + 1]) if heard else []


def stanza_id(message: Heard) -> str:
    """Return the id that the room gave a message (XEP-0359)."""
    found = ET.fromstring(message.xml).find("{urn:xmpp:sid:0}stanza-id")
    assert found is not None
    return found.get("id", "")


async def _listed(hall: Hall, number: str) -> dict[str, Any] | None:
    """Return what agi-xmpp says of a conference's room; None if there is none."""
    rooms = (await hall.service.status())["conference"]["rooms"]
    return next((room for room in rooms if room["number"] == number), None)


class TestXmppServer:
    @SERVERS
    @pytest.mark.parametrize("how", ["stop", "kill"])
    async def test_it_is_restarted(
        self,
        conference_exchange: ConferenceExchange,
        rootfs: Rootfs,
        tmp_path: Path,
        make: type[XmppServer],
        how: Literal["stop", "kill"],
    ) -> None:
        async with make(rootfs) as server, open_hall(conference_exchange, server, tmp_path, rooms=ROOMS) as hall:
            one = await Gathering.of(hall)
            bob = one.phones[1]
            await (server.stop() if how == "stop" else server.kill())
            assert await one.calls[0].send("nobody there?") == 202
            await bob.hears_nothing_until("nobody there?")
            await server.start()
            await one.come_back()
            for attendee in one.attendees:
                assert [heard.body for heard in attendee.history].count("nobody there?") == 1
            await one.is_whole()
            for attendee in one.attendees:
                # Who is back at the server before agi-xmpp gets what waited for them, and again in the history. The
                # id tells clients that it is the same.
                heard = [heard for heard in attendee.buddy.heard if heard.body == "nobody there?"]
                assert len({stanza_id(each) for each in heard}) == 1
                for each in heard:
                    if not each.delayed:
                        await attendee.hears("nobody there?")
            await one.hear_each_other(perhaps_again=True)

    @SERVERS
    async def test_a_room_that_was_opened_for_the_occasion_outlives_its_kill(
        self, conference_exchange: ConferenceExchange, rootfs: Rootfs, tmp_path: Path, make: type[XmppServer]
    ) -> None:
        async with make(rootfs) as server, open_hall(conference_exchange, server, tmp_path, rooms=ROOMS) as hall:
            juliet = await hall.enter("juliet", "6001")
            juliet.say("remember me")
            await juliet.hears("remember me")
            await server.kill()
            await server.start()
            for name in ("romeo", "juliet"):
                await hall.comes_back(name)
            await hall.service.online()
            room = await _listed(hall, "6001")
            assert room is not None
            juliet = await hall.enter("juliet", "6001")
            assert 201 not in juliet.codes
            assert juliet.members["Juliet"].affiliation == "owner"
            assert [heard.body for heard in juliet.history] == ["remember me"]

    async def test_a_client_that_people_use_comes_back_by_itself(
        self, conference_exchange: ConferenceExchange, rootfs: Rootfs, tmp_path: Path
    ) -> None:
        async with Prosody(rootfs) as server, open_hall(conference_exchange, server, tmp_path, rooms=ROOMS) as hall:
            (alice,) = await hall.phones("101")
            call = await hall.dial(alice, "6000")
            login = await hall.accounts("nurse")
            async with Profanity(server, login.jid, login.password) as client:
                client.type("/reconnect 3")  # by then agi-xmpp is back: profanity enters once, and not again if refused
                await client.join(hall.room("balcony"), "Nurse")
                await client.shows("Alice A")
                await server.kill()
                await server.start()
                await client.shows("Connection re-established.", timeout=30)
                await hall.comes_back("romeo")
                romeo = await hall.enter("romeo", "balcony")
                await romeo.sees("Nurse")
                romeo.say("mark")
                await alice.hears("mark")
                await call.send("are you back?")
                await client.shows("Alice A: are you back?")
                client.type("I am back")
                await alice.hears("I am back", display="Nurse")

    @ON_PROSODY
    @pytest.mark.parametrize("how", ["rst", "fin"])
    async def test_only_agi_xmpp_is_cut_off(
        self,
        conference_exchange: ConferenceExchange,
        xmpp_server: XmppServer,
        tmp_path: Path,
        how: Literal["rst", "fin"],
    ) -> None:
        async with (
            Proxy(xmpp_server.component_port) as proxy,
            open_hall(conference_exchange, xmpp_server, tmp_path, rooms=ROOMS, component_port=proxy.port) as hall,
        ):
            one = await Gathering.of(hall)
            romeo = one.attendees[0]
            for _ in range(2):  # then agi-xmpp knows what the server has: it sends nothing of that again
                assert await romeo.is_in()
            await proxy.refuse()
            proxy.cut(how)
            await hall.service.state("waiting", "conference")
            up = [f"up {count}" for count in range(20)]
            for text in up:
                assert await one.calls[0].send(text) == 202
            refused = romeo.say("lost")
            assert (await romeo.bounced(refused)).error == "remote-server-timeout"
            await proxy.accept()
            for attendee in one.attendees:
                assert [(await attendee.hears()).body for _ in up] == up
                assert await attendee.is_in()
            assert [(await one.phones[1].hears()).body for _ in up] == up
            await one.is_whole()
            await one.hear_each_other()

    async def test_nothing_is_lost_where_the_connection_breaks_in_a_burst(
        self, conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path
    ) -> None:
        async with (
            Proxy(xmpp_server.component_port) as proxy,
            open_hall(conference_exchange, xmpp_server, tmp_path, rooms=ROOMS, component_port=proxy.port) as hall,
        ):
            one = await Gathering.of(hall)
            up = [f"up {count}" for count in range(BURST)]
            for count, text in enumerate(up):
                assert await one.calls[0].send(text) == 202
                if count == BURST // 2:
                    proxy.cut()
            for attendee in one.attendees:
                await attendee.hears(up[-1], timeout=PATIENCE)
                heard = [heard for heard in attendee.buddy.heard if heard.body in up]
                # What was under way may come twice; that it is the same, its id says.
                assert list({stanza_id(each): each.body for each in heard}.values()) == up
            assert [kept.body for kept in await one.attendees[0].archive() if kept.body in up] == up
            await one.is_whole()


async def _written(directory: Path, text: str, file: str = "state") -> None:
    """Wait until a text is on the disk: the state is written beside, and what is killed before loses it."""
    async with asyncio.timeout(PATIENCE):
        while not any(text.encode() in path.read_bytes() for path in directory.glob(f"{file}.sqlite*")):
            await asyncio.sleep(PROBE_INTERVAL)


def _messages(directory: Path, room: str) -> int:
    """Return how many messages of a room are on the disk; agi-xmpp must not be running."""
    with closing(sqlite3.connect(directory / "archive.sqlite")) as archive:
        (count,) = archive.execute("SELECT count(*) FROM message WHERE room = ?", (room,)).fetchone()
    return int(count)


class TestAgiXmpp:
    @ON_PROSODY
    @pytest.mark.parametrize("how", ["stop", "kill", "reload"])
    async def test_a_room_that_was_opened_for_the_occasion_is_there_again(
        self,
        conference_exchange: ConferenceExchange,
        xmpp_server: XmppServer,
        tmp_path: Path,
        how: Literal["stop", "kill", "reload"],
    ) -> None:
        people = ("romeo", "juliet", "tybalt", "nurse")
        async with open_hall(conference_exchange, xmpp_server, tmp_path, people=people) as hall:
            juliet = await hall.enter("juliet", "6001")
            assert 201 in juliet.codes
            await juliet.configure(roomname="Fair Verona", passwordprotectedroom=True, roomsecret="rose")
            await juliet.set_affiliation(hall["tybalt"].jid, "outcast")
            (alice,) = await hall.phones("101")
            call = await hall.dial(alice, "6001")
            await hall.agrees("6001", [juliet], ["101"])
            assert await call.send("remember me") == 202
            await juliet.hears("remember me", nick="Alice A")
            juliet.set_subject("two households")
            await juliet.sees_subject("two households")
            if how == "reload":
                ami = {**hall.service.sections["ami"], "retry_max": 2.0}
                hall.service.sections = {**hall.service.sections, "ami": ami}
                await hall.service.reload()
            elif how == "stop":
                await hall.service.stop()
            else:
                await _written(tmp_path, "two households")
                await _written(tmp_path, "remember me", "archive")
                await hall.service.kill()
            if how != "kill":
                assert {110, 332} <= (await juliet.sees_gone("Juliet")).codes
            if how != "reload":
                await hall.service.start()
            await hall.service.online()

            with pytest.raises(Refused, match="auth forbidden"):
                await hall.enter("tybalt", "6001", password="rose")
            with pytest.raises(Refused, match="auth not-authorized"):
                await hall.enter("nurse", "6001")
            nurse = await hall.enter("nurse", "6001", password="rose")
            assert 201 not in nurse.codes
            assert nurse.members["Nurse"].affiliation == "none"
            juliet = await hall.enter("juliet", "6001", password="rose")
            assert 201 not in juliet.codes
            assert juliet.members["Juliet"].affiliation == "owner"
            assert juliet.subject == "two households"
            assert [(heard.sender, heard.body) for heard in juliet.history] == [(juliet.of("Alice A"), "remember me")]
            assert [heard.body for heard in await juliet.archive()] == ["remember me"]
            assert await juliet.affiliated("outcast") == {hall["tybalt"].jid}
            configuration = await juliet.configuration()
            assert configuration["muc#roomconfig_roomname"] == "Fair Verona"
            assert not configuration["muc#roomconfig_persistentroom"]

            await hall.agrees("6001", [juliet, nurse], ["101"])
            juliet.say("are you there?")
            await alice.hears("are you there?", display="Juliet")
            assert await call.send("as before") == 202
            await nurse.hears("as before", nick="Alice A")
            await juliet.leave()
            await nurse.leave()
            await hall.agrees("6001", [], ["101"])

    @ON_PROSODY
    @pytest.mark.parametrize("how", ["stop", "kill"])
    async def test_a_room_that_nobody_comes_back_to_ends(
        self,
        conference_exchange: ConferenceExchange,
        xmpp_server: XmppServer,
        tmp_path: Path,
        how: Literal["stop", "kill"],
    ) -> None:
        async with (
            Proxy(conference_exchange.ami_port) as proxy,
            open_hall(
                conference_exchange,
                xmpp_server,
                tmp_path,
                conference={"return_time": 1.0},
                manager_port=proxy.port,
            ) as hall,
        ):
            juliet = await hall.enter("juliet", "6001")
            juliet.say("remember me")
            await juliet.hears("remember me")
            if how == "stop":
                await hall.service.stop()
            else:
                await _written(tmp_path, "6001")
                await _written(tmp_path, "remember me", "archive")
                await hall.service.kill()
            assert _messages(tmp_path, hall.room("6001")) == 1
            await proxy.refuse()
            await hall.service.start()
            await hall.service.online()

            # Asterisk has not said yet whether a phone is in: so long the room waits, longer than return_time.
            enough = time.monotonic() + 2.0
            while time.monotonic() < enough:
                waiting = await _listed(hall, "6001")
                assert waiting is not None
                assert waiting["waits"]
                await asyncio.sleep(PROBE_INTERVAL)
            assert hall.room("6001") in await juliet.buddy.items(hall.domain)
            assert not await juliet.is_in()
            await proxy.accept()
            async with asyncio.timeout(PATIENCE):
                while await _listed(hall, "6001") is not None:
                    await asyncio.sleep(PROBE_INTERVAL)
            assert hall.room("6001") not in await juliet.buddy.items(hall.domain)
            await hall.service.stop()
            assert _messages(tmp_path, hall.room("6001")) == 0
            await hall.service.start()
            await hall.service.online()
            assert 201 in (await hall.enter("juliet", "6001")).codes

    @pytest.mark.parametrize("how", ["stop", "kill"])
    async def test_it_is_restarted(self, hall: Hall, tmp_path: Path, how: Literal["stop", "kill"]) -> None:
        one = await Gathering.of(hall)
        romeo, juliet = one.attendees
        romeo.set_subject("love")
        await juliet.sees_subject("love")
        for phone in one.phones:
            await phone.hears("Romeo set the subject: love")
        verona = await hall.enter("juliet", "verona")
        await verona.configure(persistentroom=True, roomname="Fair Verona")
        await verona.set_affiliation(hall["tybalt"].jid, "outcast")
        if how == "stop":
            await hall.service.stop()
            for attendee in one.attendees:
                assert {110, 332} <= (await attendee.sees_gone(attendee.nick)).codes
        else:
            await _written(tmp_path, hall["tybalt"].jid)
            await hall.service.kill()
        await hall.service.start()
        await hall.service.online()
        for attendee in one.attendees:
            assert not await attendee.is_in()
        await one.enter()
        for attendee in one.attendees:
            assert attendee.subject == "love"
            assert any(heard.body.startswith("up ") for heard in attendee.history)
        with pytest.raises(Refused, match="auth forbidden"):
            await hall.enter("tybalt", "verona")
        await hall.enter("juliet", "verona")
        assert "Fair Verona" in await verona.buddy.info(verona.room)
        await one.is_whole()
        await one.hear_each_other()


class TestAsterisk:
    @pytest.mark.parametrize("how", ["restart now", "kill"])
    async def test_it_is_restarted(
        self, rootfs: Rootfs, prosody: Prosody, tmp_path: Path, how: Literal["restart now", "kill"]
    ) -> None:
        async with ConferenceExchange(rootfs) as exchange, open_hall(exchange, prosody, tmp_path, rooms=ROOMS) as hall:
            one = await Gathering.of(hall)
            romeo = one.attendees[0]
            if how == "kill":
                await (await exchange.ami()).close()
                await exchange.kill()
                romeo.say("are you there?")
                for attendee in one.attendees:
                    await attendee.hears(UNREACHED, nick="")
                    await attendee.hears("are you there?", nick="Romeo")
                await exchange.start()
            else:
                await exchange.restart_now()
            for attendee in one.attendees:
                await attendee.sees_gone("Alice A", timeout=30)
                await attendee.sees_gone("Bob B", timeout=30)
            romeo.say("among us")
            for attendee in one.attendees:
                await attendee.hears("among us", nick="Romeo")
            await hall.agrees(one.number, one.attendees, [])
            await one.dial()
            await one.is_whole()
            if how == "kill":
                for attendee in one.attendees:
                    await attendee.hears(REACHED, nick="")
            await one.hear_each_other()

    async def test_a_room_that_was_opened_for_the_occasion_outlives_its_kill(
        self, rootfs: Rootfs, prosody: Prosody, tmp_path: Path
    ) -> None:
        async with ConferenceExchange(rootfs) as exchange, open_hall(exchange, prosody, tmp_path) as hall:
            juliet = await hall.enter("juliet", "6001")
            (alice,) = await hall.phones("101")
            await hall.dial(alice, "6001")
            await juliet.sees("Alice A")
            await juliet.leave()
            await (await exchange.ami()).close()
            await exchange.kill()
            await exchange.start()
            async with asyncio.timeout(PATIENCE):
                while (room := await _listed(hall, "6001")) is not None and not room["waits"]:
                    await asyncio.sleep(PROBE_INTERVAL)
            assert room is not None
            assert room["phones"] == 0
            juliet = await hall.enter("juliet", "6001")
            assert 201 not in juliet.codes
            assert juliet.members["Juliet"].affiliation == "owner"

    @ON_PROSODY
    async def test_only_the_manager_connection_is_cut(
        self, conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path
    ) -> None:
        async with (
            Proxy(conference_exchange.ami_port) as proxy,
            open_hall(conference_exchange, xmpp_server, tmp_path, rooms=ROOMS, manager_port=proxy.port) as hall,
        ):
            one = await Gathering.of(hall)
            romeo, juliet = one.attendees
            await proxy.refuse()
            proxy.cut()
            await proxy.until_open(0)
            await one.hear_each_other()
            await one.calls[1].hang_up()
            (carol,) = await hall.phones("103")
            await hall.dial(carol, one.number)
            assert set(romeo.members) == {"Romeo", "Juliet", "Alice A", "Bob B"}
            await proxy.accept()
            await juliet.sees_gone("Bob B")
            await juliet.sees("Carol C")
            await hall.agrees(one.number, one.attendees, ["101", "103"])


class TestThoseWhoAreIn:
    async def test_a_client_dies(self, rootfs: Rootfs, conference_exchange: ConferenceExchange, tmp_path: Path) -> None:
        # Without resumption the server knows at once that a client is gone.
        async with (
            Prosody(rootfs, Options(resume=0)) as server,
            open_hall(conference_exchange, server, tmp_path, rooms=ROOMS) as hall,
        ):
            one = await Gathering.of(hall)
            romeo, juliet = one.attendees
            await juliet.buddy.drop()
            await romeo.sees_gone("Juliet")
            await hall.agrees(one.number, [romeo], ["101", "102"])
            await hall.comes_back("juliet")
            one.attendees[1] = await hall.enter("juliet", one.node)
            await one.is_whole()
            await one.hear_each_other()

    @ON_PROSODY
    async def test_a_phone_loses_power(self, hall: Hall) -> None:
        one = await Gathering.of(hall)
        romeo, juliet = one.attendees
        alice, bob = one.phones
        channel = next(name for name in await hall.exchange.participants(one.number) if name.startswith("PJSIP/102"))
        await bob.lose_power()
        down = [f"down {count}" for count in range(20)]
        for text in down:
            juliet.say(text)
        assert [(await alice.hears()).body for _ in down] == down
        assert [(await romeo.hears()).body for _ in down] == down
        # Asterisk learns by itself only from a phone's session timer or from the silence (rtp_timeout).
        await (await hall.exchange.ami()).action("Hangup", Channel=channel)
        await romeo.sees_gone("Bob B")
        await hall.agrees(one.number, one.attendees, ["101"])

    @ON_PROSODY
    async def test_the_last_one_leaves_chat(self, hall: Hall) -> None:
        one = await Gathering.of(hall)
        for attendee in one.attendees:
            await attendee.leave()
        await hall.agrees(one.number, [], ["101", "102"])
