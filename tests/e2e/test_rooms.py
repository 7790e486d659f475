"""Rooms on real servers: what a session gets of them, and what a dialplan makes of that."""

from __future__ import annotations

import asyncio
import base64
import functools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from agi_xmpp.errors import Bounced, NotConfirmed, NotInRoom
from agi_xmpp.xmpp import room_stanzas, stanzas
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.membership import Timing
from agi_xmpp.xmpp.session import BaseSession
from tests.e2e.sessions import online, own_account, settings
from tests.testbed.client import Buddy
from tests.testbed.proxy import Proxy
from tests.testbed.room import RoomOf
from tests.testbed.rootfs import Rootfs
from tests.testbed.scene import Scene
from tests.testbed.xmpp import Accounts, Ejabberd, Login, Options, Prosody, XmppServer

NASTY = {
    "quotes": "say \"hi\" and 'bye' \\ <&>",
    "lines": "one\ntwo\n\nthree",
    "emoji": "grüße 😀 👩‍👩‍👧",
    "long": "0123456789" * 2000,
}


@pytest.fixture
async def bob(xmpp_server: XmppServer, accounts: Accounts) -> AsyncIterator[Buddy]:
    login = await accounts("bob")
    async with Buddy.online(xmpp_server, login.jid, login.password) as buddy:
        yield buddy


@pytest.fixture(params=["client", "component"])
async def login(request: pytest.FixtureRequest, accounts: Accounts) -> Login:
    """Our own account: a client's, and the component."""
    return await own_account(accounts, request.param)


@pytest.fixture
async def session(xmpp_server: XmppServer, login: Login) -> AsyncIterator[BaseSession]:
    async with online(settings(xmpp_server, login), "pbx") as session:
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
        self, session: BaseSession, open_room: OpenRoom
    ) -> None:
        room = await open_room()
        entry = await session.join_room(room.jid, "PBX")
        assert (entry.nick, entry.occupants, entry.note) == ("PBX", 2, "")
        await room.sees_in("PBX")

    async def test_the_default_nick_is_ours(self, session: BaseSession, open_room: OpenRoom, login: Login) -> None:
        room = await open_room()
        entry = await session.join_room(room.jid)
        assert entry.nick == login.jid.partition("@")[0]

    async def test_a_nick_that_is_taken_gets_a_number(self, session: BaseSession, open_room: OpenRoom) -> None:
        room = await open_room(nick="PBX")
        entry = await session.join_room(room.jid, "PBX")
        assert entry.nick == "PBX2"
        await room.sees_in("PBX2")

    async def test_a_new_room_is_open_to_others(self, session: BaseSession, bob: Buddy, address: str) -> None:
        entry = await session.join_room(address, "PBX")
        assert entry.occupants == 1
        await RoomOf(address, bob, "bob").enter(bob, "bob")

    @pytest.mark.parametrize("password", ["", "wrong"])
    async def test_a_password_is_needed(self, session: BaseSession, open_room: OpenRoom, password: str) -> None:
        room = await open_room(passwordprotectedroom="1", roomsecret="s3cret & <more>")
        with pytest.raises(Bounced, match="needs a password, and ours is missing or wrong") as error:
            await session.join_room(room.jid, password=password)
        assert "s3cret" not in str(error.value)
        assert session.info().rooms == ()

    async def test_the_password_of_the_call(self, session: BaseSession, open_room: OpenRoom) -> None:
        room = await open_room(passwordprotectedroom="1", roomsecret="s3cret & <more>")
        await session.join_room(room.jid, "PBX", password="s3cret & <more>")
        await room.sees_in("PBX")

    async def test_configured_rooms_are_entered_at_login(
        self, xmpp_server: XmppServer, open_room: OpenRoom, login: Login
    ) -> None:
        room = await open_room(passwordprotectedroom="1", roomsecret="s3cret")
        configured = {room.jid: {"nick": "PBX", "password": "s3cret"}}
        async with online(settings(xmpp_server, login, room=configured)):
            await room.sees_in("PBX")

    async def test_members_only(self, session: BaseSession, open_room: OpenRoom, login: Login) -> None:
        room = await open_room(membersonly="1")
        with pytest.raises(Bounced, match="for members only"):
            await session.join_room(room.jid)
        await room.give_affiliation(login.jid, "member")
        await session.join_room(room.jid)

    async def test_banned(self, session: BaseSession, open_room: OpenRoom, login: Login) -> None:
        room = await open_room()
        await room.give_affiliation(login.jid, "outcast")
        with pytest.raises(Bounced, match="we are banned from it"):
            await session.join_room(room.jid)

    async def test_no_such_service(self, session: BaseSession, xmpp_server: XmppServer) -> None:
        # Prosody: not-allowed (the testbed has no connections to other servers); ejabberd: remote-server-not-found.
        with pytest.raises(Bounced, match=r"not speak to that service at all|there is no service of that name"):
            await session.join_room(f"room@nowhere.{xmpp_server.domain}")

    async def test_somebody_who_is_no_room(self, session: BaseSession, bob: Buddy) -> None:
        with pytest.raises(NotConfirmed, match="is it a room"):
            await session.join_room(bob.jid, timeout=0.5)
        assert session.info().rooms == ()

    async def test_two_calls_share_one_membership(self, session: BaseSession, open_room: OpenRoom) -> None:
        room = await open_room()
        first, second = await asyncio.gather(session.join_room(room.jid, "PBX"), session.join_room(room.jid, "PBX"))
        assert first == second
        third = await session.join_room(room.jid, "Other")
        assert third.nick == "PBX"
        assert third.note == f"in {room.jid} as PBX already"
        assert len(session.info().rooms) == 1


class TestSpeak:
    @pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
    async def test_it_is_heard_whole(self, session: BaseSession, open_room: OpenRoom, text: str) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        message_id = await session.send_to_room(room.jid, text)
        heard = await room.hears(nick="PBX")
        assert heard.body == text
        assert heard.id == message_id

    async def test_not_in_the_room(self, session: BaseSession, open_room: OpenRoom) -> None:
        room = await open_room()
        with pytest.raises(NotInRoom, match="jabber_join enters it"):
            await session.send_to_room(room.jid, "hi")

    async def test_a_visitor_may_not_speak(self, session: BaseSession, open_room: OpenRoom) -> None:
        room = await open_room(moderatedroom="1")
        await session.join_room(room.jid, "PBX")
        await room.sees_in("PBX")
        await room.give_role("PBX", "visitor")
        with pytest.raises(Bounced, match="we are a visitor who may not speak"):
            await session.send_to_room(room.jid, "hi")

    async def test_many_at_once_arrive_once_each(self, session: BaseSession, open_room: OpenRoom) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        texts = [f"line {number}" for number in range(30)]
        await asyncio.gather(*(session.send_to_room(room.jid, text) for text in texts))
        assert [(await room.hears(nick="PBX")).body for _ in texts] == texts

    async def test_what_is_said_in_a_room_is_no_answer(
        self, session: BaseSession, open_room: OpenRoom, bob: Buddy
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
        self, session: BaseSession, open_room: OpenRoom
    ) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.give_role("PBX", "none", "too loud")
        await room.sees_out("PBX")
        with pytest.raises(NotInRoom, match=r"kicked out of .*too loud"):
            await session.send_to_room(room.jid, "hi")
        assert session.info().rooms == ()
        assert (await session.join_room(room.jid, "PBX")).nick == "PBX"

    async def test_a_ban(self, session: BaseSession, open_room: OpenRoom, login: Login) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.give_affiliation(login.jid, "outcast", "for ever")
        await room.sees_out("PBX")
        with pytest.raises(NotInRoom, match=r"banned from .*for ever"):
            await session.send_to_room(room.jid, "hi")

    async def test_the_end_of_the_room(self, session: BaseSession, open_room: OpenRoom, bob: Buddy) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.destroy("moved")
        bob.say(session.info().jid, "after")
        await session.receive_message(bob.jid, 10)
        with pytest.raises(NotInRoom, match=r"was destroyed.*moved"):
            await session.send_to_room(room.jid, "hi")


class TestLeave:
    async def test_the_others_see_us_go(self, session: BaseSession, open_room: OpenRoom) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.sees_in("PBX")
        assert await session.leave_room(room.jid)
        await room.sees_out("PBX")
        assert session.info().rooms == ()
        with pytest.raises(NotInRoom, match="we have left"):
            await session.send_to_room(room.jid, "hi")

    async def test_where_we_are_not(self, session: BaseSession, address: str) -> None:
        assert not await session.leave_room(address)


@pytest.fixture(params=[Prosody, Ejabberd], ids=["prosody", "ejabberd"])
async def own_server(request: pytest.FixtureRequest, rootfs: Rootfs) -> AsyncIterator[XmppServer]:
    """A server that a test may break."""
    async with request.param(rootfs) as server:
        yield server


@pytest.fixture
async def fragile(own_server: XmppServer) -> AsyncIterator[tuple[BaseSession, RoomOf, Proxy, Login]]:
    """A session in a persistent room of bob, over a network that can be cut."""
    accounts = Accounts(own_server)
    pbx, login = await accounts("pbx"), await accounts("bob")
    address = f"team@{own_server.muc_domain}"
    async with (
        Proxy(own_server.port) as proxy,
        Buddy.online(own_server, login.jid, login.password) as bob,
        online(settings(own_server, pbx, port=proxy.port)) as session,
    ):
        room = await RoomOf.opened(address, bob, persistentroom="1")
        await session.join_room(address, "PBX")
        await room.sees_in("PBX")
        yield session, room, proxy, login


Fragile = tuple[BaseSession, RoomOf, Proxy, Login]


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


async def lose_silently(session: BaseSession, room: RoomOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the room forget us, and let no word of it reach us."""
    with monkeypatch.context() as deaf:
        deaf.setattr(session._rooms, "presence_came", lambda _presence: True)
        session._link.post(room_stanzas.departure(parse(room.of("PBX"))))
        await room.sees_out("PBX")
        await session._link.request(stanzas.ping(session._link.jid.bare))  # what came before its answer was not heard


class TestSilence:
    """XEP-0410, with the servers' real answers."""

    async def test_who_is_in_stays_in(self, session: BaseSession, open_room: OpenRoom) -> None:
        answers: asyncio.Queue[BaseException | None] = asyncio.Queue()
        request = session._link.request

        def noting(iq: Any) -> asyncio.Future[Any]:
            reply = request(iq)
            reply.add_done_callback(lambda done: answers.put_nowait(done.exception()))
            return reply

        session._rooms._timing = Timing(silence=0.1)
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        session._link.request = noting  # type: ignore[method-assign]
        assert [await asyncio.wait_for(answers.get(), 10) for _ in range(3)] == [None] * 3
        assert session.info().rooms[0].state == "joined"

    async def test_who_was_forgotten_comes_back(
        self, session: BaseSession, open_room: OpenRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session._rooms._timing = Timing(silence=0.2)
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.sees_in("PBX")
        await lose_silently(session, room, monkeypatch)
        await room.sees_in("PBX")

    async def test_who_speaks_without_knowing_that_is_heard_all_the_same(
        self, session: BaseSession, open_room: OpenRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = await open_room()
        await session.join_room(room.jid, "PBX")
        await room.sees_in("PBX")
        await lose_silently(session, room, monkeypatch)
        await session.send_to_room(room.jid, "am I here?")
        await room.hears("am I here?", nick="PBX")


SHOWN = (
    *("JABBER_ROOM_STATUS", "JABBER_ROOM_NICK", "JABBER_ROOM_OCCUPANTS"),
    *("JABBER_SEND_STATUS", "JABBER_SEND_ID", "JABBER_ERROR", "AGISTATUS"),
)


@pytest.fixture
async def team(scene: Scene) -> RoomOf:
    """A room of bob, who is in it."""
    return await RoomOf.opened(f"team-{secrets.token_hex(4)}@{scene.server.muc_domain}", scene.bob)


class TestDialplan:
    async def test_join_speak_leave(self, scene: Scene, team: RoomOf) -> None:
        call = await scene.run(
            f"AGI({{agi}}/JabberJoin,pbx,{team.jid},Front desk)",
            f"AGI({{agi}}/JabberSendGroup,pbx,{team.jid},Call from Ann, at last)",
            f"AGI({{agi}}/JabberLeave,pbx,{team.jid},Front desk)",
            show=SHOWN,
        )
        await team.sees_in("Front desk")
        heard = await team.hears(nick="Front desk")
        await team.sees_out("Front desk")
        assert heard.body == "Call from Ann, at last"
        assert await scene.result(call) == {
            "JABBER_ROOM_STATUS": "LEFT",
            "JABBER_ROOM_NICK": "Front desk",
            "JABBER_ROOM_OCCUPANTS": "2",
            "JABBER_SEND_STATUS": "SENT",
            "JABBER_SEND_ID": heard.id,
            "JABBER_ERROR": "",
            "AGISTATUS": "SUCCESS",
        }

    async def test_what_goes_wrong_is_told_and_the_call_goes_on(self, scene: Scene, team: RoomOf) -> None:
        await team.configure(passwordprotectedroom="1", roomsecret="s3cret")
        call = await scene.run(
            f"AGI({{agi}}/jabber_send_group,pbx,{team.jid},hi)",
            "Set(WHY_NOT_SENT=${JABBER_ERROR})",
            f"AGI({{agi}}/jabber_join,pbx,{team.jid})",
            "Set(WHY_NOT_JOINED=${JABBER_ERROR})",
            "Set(STATUS=${JABBER_ROOM_STATUS})",
            "AGI({agi}/jabber_join,pbx,{bob}/phone)",
            show=("JABBER_SEND_STATUS", "WHY_NOT_SENT", "STATUS", "WHY_NOT_JOINED", *SHOWN),
        )
        result = await scene.result(call)
        assert result["JABBER_SEND_STATUS"] == "FAILED"
        assert "jabber_join enters it" in result["WHY_NOT_SENT"]
        assert (result["STATUS"], result["JABBER_ROOM_NICK"]) == ("FAILED", "")
        assert "needs a password" in result["WHY_NOT_JOINED"]
        assert (result["JABBER_ROOM_STATUS"], result["AGISTATUS"]) == ("ERROR", "SUCCESS")
        assert "is an occupant of a room" in result["JABBER_ERROR"]

    async def test_a_password_with_a_nick_that_is_taken(self, scene: Scene, team: RoomOf) -> None:
        await team.configure(passwordprotectedroom="1", roomsecret="s3cret & more")
        call = await scene.run(
            f"AGI({{agi}}/jabber_join?password=${{URIENCODE(s3cret & more)}},pbx,{team.jid},bob)", show=SHOWN
        )
        result = await scene.result(call)
        assert (result["JABBER_ROOM_STATUS"], result["JABBER_ROOM_NICK"]) == ("JOINED", "bob2")
        log = scene.service.log_tail(lines=100_000)
        assert team.jid in log
        assert "s3cret" not in log

    async def test_one_line_does_it_all(self, scene: Scene, team: RoomOf) -> None:
        text = NASTY["lines"] + NASTY["quotes"] + NASTY["emoji"]
        encoded = base64.b64encode(text.encode()).decode()
        call = await scene.run(
            f"Set(T=${{BASE64_DECODE({encoded})}})",
            f"AGI({{agi}}/jabber_send_group?join=yes&var=T,pbx,{team.jid})",
            show=SHOWN,
        )
        assert (await team.hears()).body == text
        assert (await scene.result(call))["JABBER_SEND_STATUS"] == "SENT"

    async def test_20000_characters_from_bob_to_the_room(self, scene: Scene, team: RoomOf) -> None:
        call = await scene.run(
            "AGI({agi}/jabber_receive,pbx,{bob},20)",
            f"AGI({{agi}}/jabber_send_group?join=yes&var=JABBER_RECEIVE&timeout=10,pbx,{team.jid})",
            show=SHOWN,
        )
        await scene.service.account("pbx", lambda account: account["waiting"] == 1)
        scene.bob.say(scene.pbx.jid, NASTY["long"])
        assert (await team.hears()).body == NASTY["long"]
        assert (await scene.result(call))["JABBER_SEND_STATUS"] == "SENT"

    async def test_a_note_of_a_caller_who_is_gone(self, scene: Scene, team: RoomOf) -> None:
        complaints = await scene.asterisk.dialplan(
            "[testbed]\nexten => s,1,Hangup()\n"
            f"exten => h,1,AGI({scene.service.agi_url}/jabber_send_group?join=yes,pbx,{team.jid},Missed: Ann)\n"
        )
        assert not complaints
        await scene.asterisk.call("s")
        await team.hears("Missed: Ann")

    async def test_two_calls_in_one_room(self, scene: Scene, team: RoomOf) -> None:
        await scene.load(
            f"AGI({{agi}}/jabber_join,pbx,{team.jid},PBX)",
            f"AGI({{agi}}/jabber_send_group,pbx,{team.jid},call ${{WHICH}})",
            show=SHOWN,
        )
        calls = [await scene.asterisk.call("s", variables={"WHICH": name}) for name in ("one", "two")]
        results = [await scene.result(call) for call in calls]
        assert [(result["JABBER_ROOM_NICK"], result["JABBER_SEND_STATUS"]) for result in results] == [
            ("PBX", "SENT")
        ] * 2
        assert {(await team.hears(nick="PBX")).body for _ in calls} == {"call one", "call two"}

    async def test_a_reply_by_private_message(self, scene: Scene, team: RoomOf) -> None:
        call = await scene.run(
            f"AGI({{agi}}/jabber_join,pbx,{team.jid},PBX)",
            f"AGI({{agi}}/jabber_send_group,pbx,{team.jid},who takes it?)",
            f"AGI({{agi}}/jabber_receive,pbx,{team.of('bob')},20)",
            show=("JABBER_RECEIVE", "JABBER_RECEIVE_FROM"),
        )
        await team.hears("who takes it?")
        team.say("not this")
        scene.bob.say(team.of("PBX"), "me")
        assert await scene.result(call) == {"JABBER_RECEIVE": "me", "JABBER_RECEIVE_FROM": team.of("bob")}

    async def test_the_administrator_sees_the_rooms(self, scene: Scene, team: RoomOf) -> None:
        call = await scene.run(f"AGI({{agi}}/jabber_join,pbx,{team.jid},PBX)", show=SHOWN)
        await scene.result(call)
        code, output = await scene.service.command("status")
        assert code == 0
        assert f"{team.jid}: joined as PBX, 2 occupants" in output
