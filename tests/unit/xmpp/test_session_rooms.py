"""Rooms in a session: what of them reaches the verbs that are about people."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.errors import BadText, Bounced, NotAcknowledged
from agi_xmpp.xmpp.session import BaseSession
from tests.unit.xmpp.fake import CLIENT, FakeServer
from tests.unit.xmpp.sessions import online, say

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

ROOM = "team@rooms.fake.test"
EVE = f"{ROOM}/eve"
BOB = f"{ROOM}/bob"
USER = "http://jabber.org/protocol/muc#user"


def show(server: FakeServer, who: str, kind: str = "", status: int | None = None) -> None:
    code = f"<status code='{status}'/>" if status else ""
    server.conversation.send(
        f"<presence from='{who}' to='agi@fake.test/pbx' {kind}><x xmlns='{USER}'><item role='participant'/>{code}</x>"
        "</presence>"
    )


@contextlib.asynccontextmanager
async def in_room(server: FakeServer) -> AsyncIterator[BaseSession]:
    """A session that is in the room, with bob and eve."""
    async with online(server) as session:
        joining = asyncio.create_task(session.join_room(ROOM))
        while (await server.hears("presence")).get("to") != f"{ROOM}/agi":
            pass
        show(server, BOB)
        show(server, EVE)
        show(server, f"{ROOM}/agi", status=110)
        assert (await joining).occupants == 3
        yield session


async def test_a_private_message_is_of_its_occupant_only(server: FakeServer) -> None:
    async with in_room(server) as session:
        waiters = [asyncio.create_task(session.receive_message(who, 10)) for who in (ROOM, BOB)]
        server.conversation.send(say("public", sender=BOB, kind="groupchat"))
        server.conversation.send(say("eve", sender=EVE))
        server.conversation.send(say("bob", sender=BOB, more=f"<x xmlns='{USER}'/>"))
        assert (await waiters[1]).body == "bob"
        assert (await session.receive_message(EVE, 10)).body == "eve"
        assert not waiters[0].done()
        waiters[0].cancel()


async def test_a_private_message_in_a_room_that_another_client_of_ours_is_in(server: FakeServer) -> None:
    async with online(server) as session:
        waiter = asyncio.create_task(session.receive_message(ROOM, 10))
        server.conversation.send(say("eve", sender=EVE, more=f"<x xmlns='{USER}'/>"))
        assert (await session.receive_message(EVE, 10)).body == "eve"
        waiter.cancel()


async def test_an_invitation_is_no_answer(server: FakeServer) -> None:
    async with online(server) as session:
        invitation = f"<x xmlns='{USER}'><invite from='eve@fake.test'/></x>"
        server.conversation.send(say("eve invites you", sender=ROOM, kind="normal", more=invitation))
        server.conversation.send(say("after", sender=EVE))
        assert (await session.receive_message(EVE, 10)).body == "after"
        assert session.info().unclaimed == 0


async def test_an_occupant_confirms_for_nobody_else(server: FakeServer) -> None:
    async with in_room(server) as session:
        message_id = await session.send_message(BOB, "x", receipt=True)
        receipt = f"<received xmlns='urn:xmpp:receipts' id='{message_id}'/>"
        server.conversation.send(f"<message from='{EVE}'>{receipt}</message>")
        with pytest.raises(NotAcknowledged):
            await session.delivered(message_id, 0.05)
        server.conversation.send(f"<message from='{BOB}'>{receipt}</message>")
        await session.delivered(message_id, 5)


async def test_a_reply_of_an_occupant_counts_for_that_one_only(server: FakeServer) -> None:
    async with in_room(server) as session:
        message_id = await session.send_message(BOB, "x", thread="call-1")
        waiter = asyncio.create_task(session.receive_message(BOB, 10, thread="call-1"))
        reply = f"<reply xmlns='urn:xmpp:reply:0' id='{message_id}'/>"
        server.conversation.send(say("eve", sender=EVE, more=reply))
        assert (await session.receive_message(EVE, 10)).thread == ""
        server.conversation.send(say("bob", sender=BOB, more=reply))
        assert (await waiter).thread == "call-1"


async def test_who_waits_for_an_occupant_who_leaves_is_told(server: FakeServer) -> None:
    async with in_room(server) as session:
        waiter = asyncio.create_task(session.receive_message(BOB, 10))
        show(server, EVE, "type='unavailable'")
        show(server, BOB, "type='unavailable'")
        with pytest.raises(Bounced, match="has left the room"):
            await waiter


async def test_a_message_to_the_room(server: FakeServer) -> None:
    async with in_room(server) as session:
        before = session.info().sent
        sending = asyncio.create_task(session.send_to_room(ROOM, "one\r\ntwo", message_id="m1"))
        heard = await server.hears("message")
        assert (heard.get("id"), heard.get("to"), heard.get("type")) == ("m1", ROOM, "groupchat")
        assert heard.findtext(f"{CLIENT}body") == "one\ntwo"
        server.conversation.send(f"<message from='{ROOM}/agi' type='groupchat' id='m1'><body>one\ntwo</body></message>")
        assert await sending == "m1"
        assert session.info().sent == before + 1


async def test_the_password_of_a_room_is_in_no_log(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="agi_xmpp")
    passwords = ["hunter2 & more", "hunter2" * 1000]
    async with online(server) as session:
        for password in passwords:
            joining = asyncio.create_task(session.join_room(ROOM, password=password))
            while (asked := await server.hears("presence")).get("to") != f"{ROOM}/agi":
                pass
            muc = "{http://jabber.org/protocol/muc}"
            assert asked.findtext(f"{muc}x/{muc}password") == password
            show(server, f"{ROOM}/agi", status=110)
            await joining
            leaving = asyncio.create_task(session.leave_room(ROOM))
            await server.hears("presence")
            show(server, f"{ROOM}/agi", "type='unavailable'", 110)
            await leaving
    assert "(hidden)" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_text_that_no_message_can_carry(server: FakeServer) -> None:
    async with in_room(server) as session:
        with pytest.raises(BadText):
            await session.send_to_room(ROOM, "\x00")


async def test_leaving(server: FakeServer) -> None:
    async with in_room(server) as session:
        leaving = asyncio.create_task(session.leave_room(ROOM))
        asked = await server.hears("presence")
        assert (asked.get("to"), asked.get("type")) == (f"{ROOM}/agi", "unavailable")
        show(server, f"{ROOM}/agi", "type='unavailable'", 110)
        assert await leaving
        assert session.info().rooms == ()


async def test_a_lost_session_brings_us_back(server: FakeServer) -> None:
    server.does.resume = False
    async with in_room(server) as session:
        server.conversation.reset()
        while (await server.hears("presence")).get("to") != f"{ROOM}/agi":
            pass
        show(server, f"{ROOM}/agi", status=110)
        assert (await session.join_room(ROOM)).nick == "agi"
