"""Other settings for a session that goes on: what changes, and what a new login is needed for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from agi_xmpp.config import AccountSettings
from agi_xmpp.config.account import RoomSettings
from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp import session as session_module
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import SessionState, Show
from agi_xmpp.xmpp.session import BaseSession
from tests.unit.xmpp import test_component as component
from tests.unit.xmpp.fake import CLIENT, FakeServer
from tests.unit.xmpp.sessions import BOTH, online, presence, running, say
from tests.unit.xmpp.test_session_rooms import ROOM, in_room

pytestmark = pytest.mark.usefixtures("nothing_left_behind", "quick_pace")

BOB, EVE = "bob@fake.test", "eve@fake.test"


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SETTLE_TIME", 0.0)


def change(session: BaseSession, **changes: Any) -> None:
    """Put other settings in force, as a reload does."""
    apply = session.change_to(session._settings.model_copy(update=changes))
    assert apply is not None
    apply()


async def show_of(session: BaseSession, who: str) -> Show:
    return (await session.presence(who)).show


async def subscriptions(server: FakeServer) -> list[tuple[str, str]]:
    """Return whom we have asked what since the last time; our own presence is no such request."""
    asked = [(one.get("type", ""), one.get("to", "")) for one in server.unheard("presence")]
    return [one for one in asked if one[0]]


async def settled(server: FakeServer, session: BaseSession) -> None:
    """Wait until the login is complete, and all that we sent has come to the server."""
    await asyncio.gather(*session._background._tasks)
    await session.send_message(BOB, "mark")


# Which settings

#: A value that differs from those of the tests, for each setting that needs a new login.
_OTHERS: dict[str, Any] = {
    "type": "component",
    "jid": "other@fake.test",
    "password": SecretStr("another-one"),
    "room": {ROOM: RoomSettings()},
}


@pytest.mark.parametrize("key", sorted(AccountSettings.model_fields))
async def test_what_needs_a_new_login(key: str) -> None:
    session = make_session("main", AccountSettings(jid="agi@fake.test", password="x", buddies=[BOB]))  # type: ignore[arg-type]
    before = session._settings
    value = [EVE] if key == "buddies" else _OTHERS.get(key, "another")
    apply = session.change_to(before.model_copy(update={key: value}))
    in_place = {"buddies", "subscribe", "subscriptions", "show", "status", "priority", "stop_notice"}
    assert (apply is not None) == (key in in_place)
    assert session._settings is before


async def test_a_buddy_that_is_none_changes_nothing(server: FakeServer) -> None:
    async with online(server) as session:
        before = session._settings
        with pytest.raises(BadJid):
            session.change_to(before.model_copy(update={"buddies": [EVE, 'a"b@fake.test']}))
        assert session._settings is before
        assert await show_of(session, BOB) is Show.OFFLINE
        assert await show_of(session, EVE) is Show.NOT_IN_ROSTER


# Buddies


async def test_a_new_buddy_is_asked_and_seen_and_an_old_one_forgotten(server: FakeServer) -> None:
    async with online(server, subscribe=True) as session:
        await settled(server, session)
        assert await subscriptions(server) == [("subscribe", BOB)]
        server.conversation.send(presence("phone") + say("mark"))
        await session.receive_message(BOB, 5)
        assert await show_of(session, BOB) is Show.ONLINE
        change(session, buddies=[EVE])
        assert [await show_of(session, who) for who in (BOB, EVE)] == [Show.NOT_IN_ROSTER, Show.OFFLINE]
        await settled(server, session)
        assert await subscriptions(server) == [("subscribe", EVE)]
        server.conversation.send(presence("x", sender=EVE) + presence("phone") + say("mark"))
        await session.receive_message(BOB, 5)
        assert [await show_of(session, who) for who in (BOB, EVE)] == [Show.NOT_IN_ROSTER, Show.ONLINE]
        assert (session.info().connects, server.accepted) == (1, 1)


async def test_who_is_in_the_server_s_roster_stays_known(server: FakeServer) -> None:
    """As after a login without this buddy: the roster is the account's, not the file's."""
    server.does.roster = f"<item jid='{BOB}' subscription='both'/><item jid='{EVE}' subscription='to'/>"
    async with online(server, subscribe=True) as session:
        await settled(server, session)
        server.conversation.send(presence("phone") + say("mark"))
        await session.receive_message(BOB, 5)
        change(session, buddies=[EVE])
        assert await show_of(session, BOB) is Show.ONLINE
        await settled(server, session)
        assert await subscriptions(server) == []


async def test_nobody_is_asked_where_only_our_own_presence_changes(server: FakeServer) -> None:
    async with online(server, subscribe=True) as session:
        await settled(server, session)
        server.unheard("presence")
        change(session, status="other words", stop_notice="until tomorrow")
        await settled(server, session)
        assert [one.get("type") for one in server.unheard("presence")] == [None]


@pytest.mark.parametrize(("subscribe", "asked"), [(True, [("subscribe", BOB)]), (False, [])])
async def test_whether_buddies_are_asked_changes(server: FakeServer, subscribe: bool, asked: list[Any]) -> None:
    async with online(server, subscribe=not subscribe) as session:
        await settled(server, session)
        server.unheard("presence")
        change(session, subscribe=subscribe)
        await settled(server, session)
        assert await subscriptions(server) == asked


async def test_who_may_see_us_changes(server: FakeServer) -> None:
    async with online(server) as session:
        await settled(server, session)
        server.unheard("presence")
        change(session, subscriptions="deny")
        server.conversation.send(presence("", kind="subscribe"))
        assert (await server.hears("presence")).get("type") == "unsubscribed"
        change(session, subscriptions="buddies", buddies=[EVE])
        for who, answer in ((BOB, "unsubscribed"), (EVE, "subscribed")):
            server.conversation.send(presence("", kind="subscribe", sender=who))
            assert (await server.hears("presence")).get("type") == answer


async def test_a_change_while_the_connection_is_broken_comes_with_it(server: FakeServer) -> None:
    async with online(server, subscribe=True) as session:
        await settled(server, session)
        server.unheard("presence")
        await server.refuse()
        server.conversation.fin()
        while session.info().state is not SessionState.SUSPENDED:
            await session._link.next_change()
        change(session, buddies=[EVE], show="dnd")
        await server.listen()
        asked = await server.hears("presence")
        assert (asked.get("type"), asked.get("to")) == ("subscribe", EVE)
        shown = await server.hears("presence")
        assert (shown.get("type"), shown.findtext(f"{CLIENT}show")) == (None, "dnd")
        assert server.resumed.is_set()


@BOTH
async def test_a_change_before_the_login_is_told_once_at_the_login(server: FakeServer) -> None:
    await server.refuse()
    async with running(server, subscribe=True) as session:
        change(session, buddies=[EVE], show="dnd")
        await server.listen()
        await session.ready(10)
        await settled(server, session)
        told = [(one.get("type", ""), one.get("to", "")) for one in server.unheard("presence")]
        assert told == ([("", EVE), ("probe", EVE)] if server.does.component else [("", "")]) + [("subscribe", EVE)]


async def test_a_change_between_two_sessions_is_told_once(server: FakeServer) -> None:
    server.does.resume = False
    async with online(server, subscribe=True) as session:
        await settled(server, session)
        server.unheard("presence")
        await server.refuse()
        server.conversation.fin()
        while session._signed_in:
            await session._link.next_change()
        change(session, buddies=[EVE])
        await server.listen()
        await session.ready(10)
        await settled(server, session)
        assert await subscriptions(server) == [("subscribe", EVE)]
        assert session.info().connects == 2


async def test_a_change_while_the_roster_is_on_its_way(server: FakeServer) -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def wait(conversation: Any, iq: Any) -> None:
        asked.set()
        await go_on.wait()
        conversation.send(f"<iq type='result' id='{iq.get('id')}'><query xmlns='jabber:iq:roster'/></iq>")

    server.answers["{jabber:iq:roster}query"] = wait
    async with online(server, subscribe=True) as session:
        await asked.wait()
        change(session, buddies=[EVE])
        go_on.set()
        await settled(server, session)
        assert await subscriptions(server) == [("subscribe", EVE)]


# Our own presence


async def test_our_presence_changes(server: FakeServer) -> None:
    async with online(server) as session:
        await settled(server, session)
        server.unheard("presence")
        change(session, show="dnd", status="In calls", priority=-5)
        shown = await server.hears("presence")
        said = [shown.findtext(f"{CLIENT}{name}") for name in ("show", "status", "priority")]
        assert said == ["dnd", "In calls", "-5"]


async def test_our_presence_changes_in_rooms(server: FakeServer) -> None:
    async with in_room(server) as session:
        server.unheard("presence")
        change(session, status="only in the roster")
        change(session, show="away")
        shown = await server.hears("presence")
        while shown.get("to") is None:  # to those in the roster
            shown = await server.hears("presence")
        assert (shown.get("to"), shown.findtext(f"{CLIENT}show")) == (f"{ROOM}/agi", "away")
        assert shown.find("{http://jabber.org/protocol/muc}x") is None  # that would be to enter anew
        await settled(server, session)
        assert [one for one in server.unheard("presence") if one.get("to")] == []


# A component, which keeps its roster itself


@pytest.fixture
async def domain(server: FakeServer) -> FakeServer:
    server.does.component = True
    return server


async def sent(server: FakeServer, session: BaseSession) -> list[tuple[str, str]]:
    """Return type and addressee of the presences that we have sent."""
    await session.send_message("mark@fake.test", "mark")
    return [(one.get("type", ""), one.get("to", "")) for one in server.unheard("presence")]


async def test_a_component_s_buddies_change(domain: FakeServer) -> None:
    async with component.online(domain) as session:
        domain.conversation.send(component.presence(BOB, "subscribed") + component.presence(f"{BOB}/phone"))
        domain.conversation.send(component.message(component.OURS))
        await session.receive_message(BOB, 5)
        assert await show_of(session, BOB) is Show.ONLINE
        await sent(domain, session)
        change(session, buddies=[EVE])
        assert [await show_of(session, who) for who in (BOB, EVE)] == [Show.NOT_IN_ROSTER, Show.OFFLINE]
        assert await sent(domain, session) == [("unavailable", BOB), ("", EVE), ("probe", EVE), ("subscribe", EVE)]
        domain.conversation.send(component.presence(EVE, "subscribed") + component.presence(f"{EVE}/phone"))
        domain.conversation.send(component.presence(f"{BOB}/phone") + component.message(component.OURS))
        await session.receive_message(BOB, 5)
        assert [await show_of(session, who) for who in (BOB, EVE)] == [Show.NOT_IN_ROSTER, Show.ONLINE]
        assert not session._presence.may_see_us(parse(BOB))
        change(session, buddies=[EVE, BOB])
        assert await sent(domain, session) == [("", BOB), ("probe", BOB), ("subscribe", BOB)]
        assert (session.info().connects, domain.accepted) == (1, 1)


async def test_who_may_see_a_component_changes(domain: FakeServer) -> None:
    async with component.online(domain, subscriptions="accept", subscribe=False) as session:
        domain.conversation.send(component.presence(EVE, "subscribe", "phone.fake.test"))
        domain.conversation.send(component.message(component.OURS))
        await session.receive_message(BOB, 5)
        await sent(domain, session)
        change(session, subscriptions="buddies")
        assert await sent(domain, session) == [("unavailable", EVE)]
        change(session, subscriptions="deny")
        assert await sent(domain, session) == [("unavailable", BOB)]
        assert not session._watchers
        change(session, subscriptions="accept")
        assert await sent(domain, session) == [("", BOB)]


async def test_a_component_s_presence_changes(domain: FakeServer) -> None:
    async with component.online(domain) as session:
        await sent(domain, session)
        change(session, show="dnd", status="In calls")
        shown = await domain.hears("presence")
        assert (shown.get("from"), shown.get("to")) == (component.FULL, BOB)
        assert [shown.findtext(f"{CLIENT}{name}") for name in ("show", "status")] == ["dnd", "In calls"]
        assert await sent(domain, session) == []


async def test_who_may_see_a_component_no_more_does_not_see_what_it_shows_then(domain: FakeServer) -> None:
    async with component.online(domain) as session:
        await sent(domain, session)
        change(session, buddies=[EVE], status="Not for Bob")
        told = await sent(domain, session)
        assert [kind for kind, who in told if who == BOB] == ["unavailable"]
        assert ("", EVE) in told


async def test_a_buddy_who_is_gone_is_told_so_when_the_connection_is_back(domain: FakeServer) -> None:
    async with component.online(domain) as session:
        await sent(domain, session)
        await domain.refuse()
        domain.conversation.fin()
        while session.info().state is SessionState.ONLINE:
            await session._link.next_change()
        change(session, buddies=[EVE])
        await domain.listen()
        await session.ready(10)
        assert await sent(domain, session) == [("unavailable", BOB), ("", EVE), ("probe", EVE), ("subscribe", EVE)]


async def test_presence_for_a_moment_does_not_end_for_who_became_a_buddy(domain: FakeServer) -> None:
    async with component.online(domain, decloak_answer=[EVE]) as session:
        asks = "<decloak xmlns='urn:xmpp:decloak:0' reason='media'/>"
        domain.conversation.send(component.presence(f"{EVE}/x", more=asks) + component.message(component.OURS))
        await session.receive_message(BOB, 5)
        assert ("", f"{EVE}/x") in await sent(domain, session)
        change(session, buddies=[EVE])
        assert session._answers.session_ended() == []


async def test_presence_for_a_moment_does_not_end_for_who_is_granted_a_subscription(domain: FakeServer) -> None:
    async with component.online(domain, decloak_answer=[EVE], subscriptions="accept") as session:
        asks = "<decloak xmlns='urn:xmpp:decloak:0' reason='media'/>"
        domain.conversation.send(component.presence(f"{EVE}/x", more=asks) + component.message(component.OURS))
        await session.receive_message(BOB, 5)
        domain.conversation.send(component.presence(EVE, "subscribe") + component.message(component.OURS))
        await session.receive_message(BOB, 5)
        assert session._answers.session_ended() == []
