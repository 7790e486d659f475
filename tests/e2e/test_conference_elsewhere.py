"""A conference whose room is one of the XMPP server's own MUC service: its phones are occupants there."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.features.conference.elsewhere.bridges import Bridges
from agi_xmpp.features.conference.elsewhere.puppets import Bridge, BridgedRoom
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from tests.e2e.garden import Garden, open_garden, texts_flow
from tests.e2e.sessions import component, online, settings
from tests.testbed.client import Buddy
from tests.testbed.conference import ConferenceExchange
from tests.testbed.muc import Attendee
from tests.testbed.rootfs import Rootfs
from tests.testbed.softphone import SoftCall, Softphone
from tests.testbed.xmpp import Accounts, Ejabberd, Prosody, XmppServer
from tests.unit.features.conference.fakes import FakeOutside
from tests.unit.features.conference.fakes import phone as caller

#: How many texts come at once in a burst.
BURST = 100


@pytest.fixture
async def garden(
    conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path
) -> AsyncIterator[Garden]:
    """The garden, on each server in turn."""
    async with open_garden(conference_exchange, xmpp_server, tmp_path) as garden:
        yield garden


class TestPhonesAreOccupants:
    async def test_they_come_speak_and_go(self, garden: Garden) -> None:
        romeo = await garden.opened()
        alice, call = await garden.dial("101")
        member = await romeo.sees("Alice A", role="participant")
        assert member.jid.startswith(f"101@{garden.hall.phones_domain}/"), "the owner sees the phone's own address"
        bob, _ = await garden.dial("102")
        await romeo.sees("Bob B")
        juliet = await garden.enter("juliet")
        assert set(juliet.members) == {"Alice A", "Bob B", "Juliet", "Romeo"}
        await texts_flow(juliet, alice, bob)
        juliet.say("hello from the garden")
        for phone in (alice, bob):
            assert (await phone.hears("hello from the garden")).display == "Juliet"
        await call.send("alice on the phone")
        await juliet.hears("alice on the phone", nick="Alice A")
        await bob.hears("alice on the phone", display="Alice A")
        juliet.say("end")
        await alice.hears_nothing_until("end")
        await bob.hears_nothing_until("end")
        await call.hang_up()
        await juliet.sees_gone("Alice A")

    async def test_a_name_that_is_taken_gets_a_number(self, garden: Garden) -> None:
        await garden.opened()
        juliet = await Attendee.enter(garden.hall["juliet"].buddy, garden.room, "Alice A")
        await garden.dial("101")
        await juliet.sees("Alice A (2)")

    async def test_a_word_to_one_phone(self, garden: Garden) -> None:
        romeo = await garden.opened()
        alice, call = await garden.dial("101")
        bob, _ = await garden.dial("102")
        await romeo.sees("Alice A")
        await texts_flow(romeo, bob)
        romeo.whisper("Alice A", "only you")
        assert (await alice.hears(lambda text: "only you" in text.body)).body == "[private] <Romeo> only you"
        romeo.say("end")
        await bob.hears_nothing_until("end")
        romeo.set_subject("love")
        await bob.hears("Romeo set the subject: love")
        await call.send("still here")
        await romeo.hears("still here", nick="Alice A")

    async def test_what_is_in_the_room_already_is_not_told(self, garden: Garden) -> None:
        romeo = await garden.opened()
        romeo.say("old")
        await romeo.hears("old")
        alice, _ = await garden.dial("101")
        await romeo.sees("Alice A")
        romeo.say("new")
        assert (await alice.hears()).body == "new"

    async def test_another_listens_when_the_first_goes(self, garden: Garden) -> None:
        romeo = await garden.opened()
        _, call = await garden.dial("101")
        bob, _ = await garden.dial("102")
        await romeo.sees("Alice A")
        await texts_flow(romeo, bob)
        said = [f"text {count}" for count in range(BURST)]
        for count, text in enumerate(said):
            romeo.say(text)
            if count == BURST // 2:
                await call.hang_up()
        assert [(await bob.hears(timeout=30)).body for _ in said] == said
        await romeo.sees_gone("Alice A")
        romeo.say("end")
        await bob.hears_nothing_until("end")

    async def test_none_of_a_burst_is_lost_or_doubled(self, garden: Garden) -> None:
        romeo = await garden.opened()
        alice, call = await garden.dial("101")
        bob, _ = await garden.dial("102")
        await romeo.sees("Bob B")
        await texts_flow(romeo, alice, bob)
        down = [f"to phones {count}" for count in range(BURST)]
        for text in down:
            romeo.say(text)
        for phone in (alice, bob):
            assert [(await phone.hears(timeout=60)).body for _ in down] == down
        up = [f"to chat {count}" for count in range(BURST)]
        assert set(await asyncio.gather(*(call.send(text) for text in up))) == {202}
        assert [(await romeo.hears(nick="Alice A", timeout=60)).body for _ in up] == up
        assert [(await bob.hears(timeout=60)).body for _ in up] == up


class TestTheRoomRules:
    async def test_who_is_thrown_out_is_thrown_out_of_the_call(self, garden: Garden) -> None:
        romeo = await garden.opened()
        _, call = await garden.dial("102")
        await romeo.sees("Bob B")
        await romeo.kick("Bob B", "bye bob")
        assert await call.ended() == "BYE"
        assert 307 in (await romeo.sees_gone("Bob B")).codes

    async def test_who_is_banned_is_not_let_in_but_stays_in_the_call(self, garden: Garden) -> None:
        romeo = await garden.opened()
        await romeo.set_affiliation(f"102@{garden.hall.phones_domain}", "outcast")
        since = garden.hall.service.log_size()
        _, call = await garden.dial("102")
        alice, _ = await garden.dial("101")
        await garden.hall.service.log_says("Bob B is not in: we are banned from it", since=since)
        await texts_flow(romeo, alice)
        assert "Bob B" not in romeo.members
        await call.send("let me in")
        await alice.hears("let me in")
        romeo.say("end")
        await romeo.hears_nothing_until("end")

    async def test_who_may_not_write_is_not_heard(self, garden: Garden) -> None:
        romeo = await garden.opened(moderatedroom=True)
        await garden.dial("102")
        await romeo.sees("Bob B")
        await romeo.set_role("Bob B", "visitor")
        await romeo.sees("Bob B", role="visitor", status="muted")
        await romeo.set_role("Bob B", "participant")
        await romeo.sees("Bob B", role="participant", status="")

    async def test_a_room_that_is_not_there_is_not_made(self, garden: Garden) -> None:
        since = garden.hall.service.log_size()
        await garden.dial("101")
        await garden.hall.service.log_says("somebody has to open it", since=since)
        romeo = await garden.opened()
        assert {110, 201} <= romeo.codes
        await romeo.sees("Alice A", timeout=30)


class TestPuppetsAlone:
    """Without Asterisk: what cannot be brought about with it at will."""

    async def test_a_word_that_does_not_arrive_comes_back_and_its_phone_stays_in(self, accounts: Accounts) -> None:
        server = accounts.server
        login = await accounts("romeo")
        room_jid = parse(f"garden{secrets.token_hex(4)}@{server.muc_domain}")
        outside = FakeOutside()

        def address_of(participant: Participant) -> Jid:
            return parse(f"{participant.number}@{server.component_domain}/{participant.uniqueid}")

        def send(stanza: Element) -> None:
            port.send(stanza)

        def make(bridge: Bridge) -> BridgedRoom:
            return BridgedRoom(bridge, outside, send, address_of, lambda: Pace(9, time.monotonic), time.monotonic)

        async with (
            Buddy.online(server, login.jid, login.password) as buddy,
            online(settings(server, component(server))) as session,
        ):
            romeo = await Attendee.enter(buddy, str(room_jid), "Romeo")
            await romeo.configure()
            bridges = Bridges(make, send)
            bridges.apply([Bridge("6001", room_jid, "Garden")])
            port = session.serve_stanzas(bridges)
            (room,) = bridges.rooms
            room.phone_joined(caller())
            await romeo.sees("Alice A")
            message = romeo.whisper("Alice A", "psst")
            async with asyncio.timeout(10):
                while not outside.whispered:
                    await asyncio.sleep(0.01)
            ((_, utterance),) = outside.whispered
            room.not_spoken(utterance, "The phone shows no texts.")
            assert "The phone shows no texts." in (await romeo.bounced(message)).xml
            room.phone_said("Alice A", "still here")
            await romeo.hears("still here", nick="Alice A")
            session.serve_stanzas(None)


class TestBreaks:
    @pytest.mark.parametrize("kind", [Prosody, Ejabberd])
    async def test_the_server_is_killed_and_comes_back(
        self, conference_exchange: ConferenceExchange, rootfs: Rootfs, tmp_path: Path, kind: type[XmppServer]
    ) -> None:
        async with kind(rootfs) as server, open_garden(conference_exchange, server, tmp_path) as garden:
            romeo = await garden.opened()
            alice, call = await garden.talks("101", romeo)
            await server.kill()
            await garden.hall.service.state("waiting")  # what is written before it has noticed may be lost
            await call.send("while it was away")
            await server.start()
            await garden.hall.comes_back("romeo")
            romeo = await garden.enter("romeo")
            await romeo.sees("Alice A", timeout=60)
            if "while it was away" not in [heard.body for heard in romeo.history]:
                await romeo.hears("while it was away", nick="Alice A")
            await self.goes_on(romeo, alice, call)

    async def test_the_room_service_alone_is_restarted(
        self, conference_exchange: ConferenceExchange, rootfs: Rootfs, tmp_path: Path
    ) -> None:
        async with Ejabberd(rootfs) as server, open_garden(conference_exchange, server, tmp_path) as garden:
            romeo = await garden.opened()
            alice, call = await garden.talks("101", romeo)
            await server.restart_rooms()
            assert 332 in (await romeo.sees_gone("Romeo")).codes
            romeo = await garden.enter("romeo")
            await self.goes_on(romeo, alice, call)

    async def goes_on(self, romeo: Attendee, alice: Softphone, call: SoftCall) -> None:
        """Wait until texts go both ways again."""
        await texts_flow(romeo, alice, timeout=30)
        await call.send("after it")
        await romeo.hears("after it", nick="Alice A")

    async def test_we_are_killed_and_a_call_ends_meanwhile(self, garden: Garden) -> None:
        romeo = await garden.opened()
        alice, _ = await garden.dial("101")
        _, call = await garden.dial("102")
        await romeo.sees("Bob B")
        await texts_flow(romeo, alice)
        await garden.hall.service.kill()
        await call.hang_up()
        await garden.hall.service.start()
        await garden.hall.texts_reach_phones(garden.number)  # Alice has been listed all the time
        await texts_flow(romeo, alice)
        await romeo.sees_gone("Bob B")
        romeo.say("end")
        await alice.hears("end")
        assert "Alice A" in romeo.members
        assert "Alice A (2)" not in romeo.members

    async def test_we_stop_and_start(self, garden: Garden) -> None:
        romeo = await garden.opened()
        alice, _ = await garden.talks("101", romeo)
        await garden.hall.service.stop()
        await romeo.sees_gone("Alice A")
        await garden.hall.service.start()
        await texts_flow(romeo, alice, timeout=30)
