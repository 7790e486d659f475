"""Rooms on real servers: what a session gets of them, and what a dialplan makes of that."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import Bounced, NotConfirmed, NotInRoom
from agi_xmpp.xmpp.session import ClientSession
from tests.testbed.client import Buddy
from tests.testbed.proxy import Proxy
from tests.testbed.room import RoomOf
from tests.testbed.rootfs import Rootfs
from tests.testbed.xmpp import Accounts, Ejabberd, Login, Options, Prosody, XmppServer

NASTY = {
    "quotes": "say \"hi\" and 'bye' \\ <&>",
    "lines": "one\ntwo\n\nthree",
    "emoji": "grüße 😀 👩‍👩‍👧",
    "long": "0123456789" * 2000,
}


def settings(server: XmppServer, login: Login, **more: Any) -> AccountSettings:
    return AccountSettings(
        jid=f"{login.jid}/pbx",
        password=login.password,  # type: ignore[arg-type]
        server="127.0.0.1",
        port=more.pop("port", server.port),
        ca_file=server.ca_file,
        **more,
    )


@contextlib.asynccontextmanager
async def logged_in(server: XmppServer, login: Login, **more: Any) -> AsyncIterator[ClientSession]:
    session = ClientSession("pbx", settings(server, login, **more))
    await session.start()
    try:
        await session.ready(15)
        yield session
    finally:
        await session.stop()


@pytest.fixture
async def bob(xmpp_server: XmppServer, accounts: Accounts) -> AsyncIterator[Buddy]:
    login = await accounts("bob")
    async with Buddy.online(xmpp_server, login.jid, login.password) as buddy:
        yield buddy


@pytest.fixture
async def login(accounts: Accounts) -> Login:
    return await accounts("pbx")


@pytest.fixture
async def session(xmpp_server: XmppServer, login: Login) -> AsyncIterator[ClientSession]:
    async with logged_in(xmpp_server, login) as session:
        yield session


@pytest.fixture
def address(xmpp_server: XmppServer) -> str:
    return f"team-{secrets.token_hex(4)}@{xmpp_server.muc_domain}"


OpenRoom = Callable[..., Awaitable[RoomOf]]


@pytest.fixture
def open_room(address: str, bob: Buddy) -> OpenRoom:
    """Let bob make the room of the test."""

    async def make(**options: str) -> RoomOf:
        return await RoomOf.opened(address, bob, **options)

    return make


class TestJoin:
    async def test_the_others_see_us_and_we_know_how_many_they_are(
        self, session: ClientSession, open_room: OpenRoom
    ) -> None:
        room = await open_room()
        entry = await session.join_room(room.jid, "PBX")
        assert (entry.nick, entry.occupants, entry.note) == ("PBX", 2, "")
        await room.sees_in("PBX")

    async def test_the_default_nick_is_ours(self, session: ClientSession, open_room: OpenRoom, login: Login) -> None:
        room = await open_room()
        entry = await session.join_room(room.jid)
        assert entry.nick == login.jid.partition("@")[0]

    async def test_a_nick_that_is_taken_gets_a_number(self, session: ClientSession, open_room: OpenRoom) -> None:
        room = await open_room(nick="PBX")
        entry = await session.join_room(room.jid, "PBX")
        assert entry.nick == "PBX2"
        await room.sees_in("PBX2")

    async def test_a_new_room_is_open_to_others(self, session: ClientSession, bob: Buddy, address: str) -> None:
        entry = await session.join_room(address, "PBX")
        assert entry.occupants == 1
        await RoomOf(address, bob, "bob").enter(bob, "bob")

    @pytest.mark.parametrize("password", ["", "wrong"])
    async def test_a_password_is_needed(self, session: ClientSession, open_room: OpenRoom, password: str) -> None:
        room = await open_room(passwordprotectedroom="1", roomsecret="s3cret & <more>")
        with pytest.raises(Bounced, match="needs a password, and ours is missing or wrong") as error:
            await session.join_room(room.jid, password=password)
        assert "s3cret" not in str(error.value)
        assert session.info().rooms == ()

    async def test_the_password_of_the_call(self, session: ClientSession, open_room: OpenRoom) -> None:
        room = await open_room(passwordprotectedroom="1", roomsecret="s3cret & <more>")
        await session.join_room(room.jid, "PBX", password="s3cret & <more>")
        await room.sees_in("PBX")

    async def test_configured_rooms_are_entered_at_login(
        self, xmpp_server: XmppServer, open_room: OpenRoom, login: Login
    ) -> None:
        room = await open_room(passwordprotectedroom="1", roomsecret="s3cret")
        configured = {room.jid: {"nick": "PBX", "password": "s3cret"}}
        async with logged_in(xmpp_server, login, room=configured):
            await room.sees_in("PBX")

    async def test_members_only(self, session: ClientSession, open_room: OpenRoom, login: Login) -> None:
        room = await open_room(membersonly="1")
        with pytest.raises(Bounced, match="for members only"):
            await session.join_room(room.jid)
        await room.give_affiliation(login.jid, "member")
        await session.join_room(room.jid)

    async def test_banned(self, session: ClientSession, open_room: OpenRoom, login: Login) -> None:
        room = await open_room()
        await room.give_affiliation(login.jid, "outcast")
        with pytest.raises(Bounced, match="we are banned from it"):
            await session.join_room(room.jid)

    async def test_no_such_service(self, session: ClientSession, xmpp_server: XmppServer) -> None:
        # Prosody: not-allowed (the testbed has no connections to other servers); ejabberd: remote-server-not-found.
        with pytest.raises(Bounced, match=r"not speak to that service at all|there is no service of that name"):
            await session.join_room(f"room@nowhere.{xmpp_server.domain}")

    async def test_somebody_who_is_no_room(self, session: ClientSession, bob: Buddy) -> None:
        with pytest.raises(NotConfirmed, match="is it a room"):
            await session.join_room(bob.jid, timeout=0.5)
        assert session.info().rooms == ()

    async def test_two_calls_share_one_membership(self, session: ClientSession, open_room: OpenRoom) -> None:
        room = await open_room()
        first, second = await asyncio.gather(session.join_room(room.jid, "PBX"), session.join_room(room.jid, "PBX"))
        assert first == second
        third = await session.join_room(room.jid, "Other")
        assert third.nick == "PBX"
        assert third.note == f"in {room.jid} as PBX already"
        assert len(session.info().rooms) == 1


class TestSpeak:
    @pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
    async def test_it_is_heard_whole(self, session: ClientSession, open_room: OpenRoom, text: str) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        message_id = await session.send_to_room(room.jid, text)
        heard = await room.hears(nick="PBX")
        assert heard.body == text
        assert heard.id == message_id

    async def test_not_in_the_room(self, session: ClientSession, open_room: OpenRoom) -> None:
        room = await open_room()
        with pytest.raises(NotInRoom, match="jabber_join enters it"):
            await session.send_to_room(room.jid, "hi")

    async def test_a_visitor_may_not_speak(self, session: ClientSession, open_room: OpenRoom) -> None:
        room = await open_room(moderatedroom="1")
        await session.join_room(room.jid, "PBX")
        await room.sees_in("PBX")
        await room.give_role("PBX", "visitor")
        with pytest.raises(Bounced, match="we are a visitor who may not speak"):
            await session.send_to_room(room.jid, "hi")

    async def test_many_at_once_arrive_once_each(self, session: ClientSession, open_room: OpenRoom) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        texts = [f"line {number}" for number in range(30)]
        await asyncio.gather(*(session.send_to_room(room.jid, text) for text in texts))
        assert [(await room.hears(nick="PBX")).body for _ in texts] == texts

    async def test_what_is_said_in_a_room_is_no_answer(
        self, session: ClientSession, open_room: OpenRoom, bob: Buddy
    ) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        waiters = [
            asyncio.create_task(session.receive_message(address, 20, max_age=0))
            for address in (room.jid, room.of("bob"))
        ]
        room.say("groupchat")
        await room.hears("groupchat")
        bob.say(room.of("PBX"), "private")
        private = await waiters[1]
        assert (private.body, str(private.sender), private.occupant) == ("private", room.of("bob"), True)
        # The bare JID of a room stands for none of its occupants.
        bob.say(room.of("PBX"), "again")
        assert (await session.receive_message(room.of("bob"), 10)).body == "again"
        assert not waiters[0].done()
        waiters[0].cancel()


class TestBeThrownOut:
    async def test_a_kick_is_final_and_told_to_the_next_speaker(
        self, session: ClientSession, open_room: OpenRoom
    ) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.give_role("PBX", "none", "too loud")
        await room.sees_out("PBX")
        with pytest.raises(NotInRoom, match=r"kicked out of .*too loud"):
            await session.send_to_room(room.jid, "hi")
        assert session.info().rooms == ()
        assert (await session.join_room(room.jid, "PBX")).nick == "PBX"

    async def test_a_ban(self, session: ClientSession, open_room: OpenRoom, login: Login) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.give_affiliation(login.jid, "outcast", "for ever")
        await room.sees_out("PBX")
        with pytest.raises(NotInRoom, match=r"banned from .*for ever"):
            await session.send_to_room(room.jid, "hi")

    async def test_the_end_of_the_room(self, session: ClientSession, open_room: OpenRoom, bob: Buddy) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.destroy("moved")
        bob.say((await session_jid(session)), "after")
        await session.receive_message(bob.jid, 10)
        with pytest.raises(NotInRoom, match=r"was destroyed.*moved"):
            await session.send_to_room(room.jid, "hi")


class TestLeave:
    async def test_the_others_see_us_go(self, session: ClientSession, open_room: OpenRoom) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.sees_in("PBX")
        assert await session.leave_room(room.jid)
        await room.sees_out("PBX")
        assert session.info().rooms == ()
        with pytest.raises(NotInRoom, match="we have left"):
            await session.send_to_room(room.jid, "hi")

    async def test_where_we_are_not(self, session: ClientSession, address: str) -> None:
        assert not await session.leave_room(address)


@pytest.fixture(params=[Prosody, Ejabberd], ids=["prosody", "ejabberd"])
async def own_server(request: pytest.FixtureRequest, rootfs: Rootfs) -> AsyncIterator[XmppServer]:
    """A server that a test may break."""
    async with request.param(rootfs) as server:
        yield server


@pytest.fixture
async def fragile(own_server: XmppServer) -> AsyncIterator[tuple[ClientSession, RoomOf, Proxy, Login]]:
    """A session in a persistent room of bob, over a network that can be cut."""
    accounts = Accounts(own_server)
    pbx, login = await accounts("pbx"), await accounts("bob")
    address = f"team@{own_server.muc_domain}"
    async with (
        Proxy(own_server.port) as proxy,
        Buddy.online(own_server, login.jid, login.password) as bob,
        logged_in(own_server, pbx, port=proxy.port) as session,
    ):
        room = await RoomOf.opened(address, bob, persistentroom="1")
        await session.join_room(address, "PBX")
        await room.sees_in("PBX")
        yield session, room, proxy, login


Fragile = tuple[ClientSession, RoomOf, Proxy, Login]


class TestBreak:
    async def test_after_a_resumption_we_are_still_in(self, fragile: Fragile) -> None:
        session, room, proxy, _ = fragile
        proxy.cut()
        await session.send_to_room(room.jid, "still here", timeout=15)
        await room.hears("still here", nick="PBX")
        assert session.info().connects == 1
        assert [seen.type for seen in room.owner.seen if seen.sender == room.of("PBX")] == [""]

    async def test_a_message_in_mid_cut_arrives_once(self, fragile: Fragile) -> None:
        session, room, proxy, _ = fragile
        await proxy.refuse()
        proxy.cut()
        sending = asyncio.create_task(session.send_to_room(room.jid, "from the dark", timeout=15))
        await proxy.accept()
        await sending
        room.say("after")
        await room.hears("from the dark", nick="PBX")
        await room.hears("after")
        assert [heard.body for heard in room.owner.heard].count("from the dark") == 1

    @pytest.mark.parametrize(
        "own_server",
        [functools.partial(Prosody, options=Options(resume=0)), functools.partial(Ejabberd, options=Options(resume=0))],
        indirect=True,
        ids=["prosody", "ejabberd"],
    )
    async def test_after_a_lost_session_we_come_back(self, fragile: Fragile) -> None:
        session, room, proxy, _ = fragile
        proxy.cut()
        await room.sees_out("PBX")
        await room.sees_in("PBX")
        await session.send_to_room(room.jid, "back again", timeout=15)
        await room.hears("back again", nick="PBX")
        assert session.info().connects == 2

    async def test_after_a_restart_of_the_server_we_come_back(self, fragile: Fragile, own_server: XmppServer) -> None:
        session, room, _, login = fragile
        await own_server.restart()
        await session.ready(20)
        async with Buddy.online(own_server, login.jid, login.password) as bob:
            back = RoomOf(room.jid, bob, "bob")
            await back.enter(bob, "bob")
            await session.send_to_room(room.jid, "after the restart", timeout=20)
            await back.hears("after the restart", nick="PBX")

    @pytest.mark.parametrize("own_server", [Ejabberd], indirect=True, ids=["ejabberd"])
    async def test_after_a_restart_of_the_room_service_alone_we_come_back(
        self, fragile: Fragile, own_server: Ejabberd
    ) -> None:
        session, room, _, _ = fragile
        await own_server.restart_rooms()
        assert 'code="332"' in (await room.sees_out("bob")).xml  # each occupant hears it of himself only
        await room.enter(room.owner, "bob")
        await session.send_to_room(room.jid, "after the restart", timeout=20)
        await room.hears("after the restart", nick="PBX")
        assert session.info().connects == 1


async def session_jid(session: ClientSession) -> str:
    return session.info().jid
