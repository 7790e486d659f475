"""A component's own presence, and what is sent to the other addresses of its domain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from agi_xmpp import pace
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp import component as component_module
from agi_xmpp.xmpp.client import ClientSession
from agi_xmpp.xmpp.component import ComponentSession, make_session
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Guest, IncomingMessage, Show
from tests.unit.xmpp.fake import CLIENT, PASSWORD, FakeServer

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

OURS = "agi@phone.fake.test"
FULL = f"{OURS}/agi-xmpp"
BOB = "bob@fake.test"
EVE = "eve@fake.test"


@pytest.fixture(autouse=True)
def quick_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as fake:
        fake.does.component = True
        yield fake


def settings(server: FakeServer | None, **changes: Any) -> AccountSettings:
    values: dict[str, Any] = {"type": "component", "jid": OURS, "password": PASSWORD, "buddies": [BOB]}
    return AccountSettings(**values | {"port": server.port if server else 1} | changes)


@contextlib.asynccontextmanager
async def online(server: FakeServer, **changes: Any) -> AsyncIterator[ComponentSession]:
    session = ComponentSession("main", settings(server, **changes))
    await session.start()
    try:
        await session.ready(10)
        yield session
    finally:
        await session.stop(0.4)


def presence(sender: str, kind: str = "", to: str = OURS, more: str = "") -> str:
    attribute = f" type='{kind}'" if kind else ""
    return f"<presence from='{sender}' to='{to}'{attribute}>{more}</presence>"


def message(to: str, kind: str = "chat", body: str = "x") -> str:
    return f"<message from='{BOB}/phone' to='{to}' type='{kind}' id='m1'><body>{body}</body></message>"


async def next_presence(server: FakeServer) -> tuple[str, str, str]:
    """Return type, ``from`` and ``to`` of the next presence that we send."""
    heard = await server.hears("presence")
    return heard.get("type", ""), heard.get("from", ""), heard.get("to", "")


async def signed_in(server: FakeServer, *expected: tuple[str, str, str]) -> None:
    """Take what is sent at each login."""
    for one in expected:
        assert await next_presence(server) == one


AVAILABLE = ("", FULL, BOB)
PROBE = ("probe", OURS, BOB)
SUBSCRIBE = ("subscribe", OURS, BOB)


def test_each_type_of_account_has_its_session() -> None:
    assert isinstance(make_session("main", settings(None)), ComponentSession)
    client = AccountSettings(jid="agi@fake.test", password=SecretStr(PASSWORD))
    assert isinstance(make_session("main", client), ClientSession)
    with pytest.raises(BadJid):
        make_session("main", settings(None, jid='a"b@fake.test'))


# Presence


async def test_buddies_are_shown_our_presence_and_asked_for_theirs(server: FakeServer) -> None:
    async with online(server, show="dnd", status="In calls"):
        shown = await server.hears("presence")
        assert (shown.get("from"), shown.get("to")) == (FULL, BOB)
        assert (shown.findtext(f"{CLIENT}show"), shown.findtext(f"{CLIENT}status")) == ("dnd", "In calls")
        await signed_in(server, PROBE, SUBSCRIBE)


async def test_buddies_are_asked_until_they_agree(server: FakeServer) -> None:
    async with online(server) as session:
        await signed_in(server, AVAILABLE, PROBE, SUBSCRIBE)
        server.conversation.fin()
        await signed_in(server, AVAILABLE, PROBE, SUBSCRIBE)
        server.conversation.send(presence(BOB, "subscribed") + presence(f"{BOB}/phone"))
        assert (await session.presence(BOB, timeout=5)).show is Show.ONLINE
        server.conversation.fin()
        await signed_in(server, AVAILABLE, PROBE)
        server.conversation.send(presence(BOB, "unsubscribed") + presence(EVE, "subscribe"))
        assert await next_presence(server) == ("unsubscribed", OURS, EVE)  # marks that the other was taken
        server.conversation.fin()
        await signed_in(server, AVAILABLE, PROBE, SUBSCRIBE)


async def test_buddies_are_not_asked_or_shown_anything_if_the_settings_say_so(server: FakeServer) -> None:
    async with online(server, subscribe=False, subscriptions="deny"):
        await signed_in(server, PROBE)
        server.conversation.send(presence(EVE, "probe"))
        assert await next_presence(server) == ("unsubscribed", OURS, EVE)


@pytest.mark.parametrize(
    ("policy", "who", "granted"),
    [("accept", EVE, True), ("buddies", BOB, True), ("buddies", EVE, False), ("deny", BOB, False)],
)
@pytest.mark.parametrize("address", [OURS, "phone.fake.test"])
async def test_requests_to_see_our_presence(
    server: FakeServer, policy: str, who: str, granted: bool, address: str
) -> None:
    async with online(server, subscriptions=policy, buddies=[]) as session:
        session._buddies = {parse(BOB): None}
        server.conversation.send(presence(who, "subscribe", address))
        assert await next_presence(server) == ("subscribed" if granted else "unsubscribed", address, who)
        if granted:
            assert await next_presence(server) == ("", f"{address}/agi-xmpp", who)


async def test_who_was_granted_it_once_is_told_on_later_sessions_and_at_the_end(server: FakeServer) -> None:
    async with online(server, subscriptions="accept", buddies=[]):
        server.conversation.send(presence(EVE, "subscribe"))
        await signed_in(server, ("subscribed", OURS, EVE), ("", FULL, EVE))
        server.conversation.fin()
        await signed_in(server, ("", FULL, EVE))
    assert await next_presence(server) == ("unavailable", FULL, EVE)


async def test_who_takes_it_back_is_told_no_more(server: FakeServer) -> None:
    async with online(server, subscriptions="accept", buddies=[]) as session:
        server.conversation.send(presence(EVE, "subscribe"))
        await signed_in(server, ("subscribed", OURS, EVE), ("", FULL, EVE))
        assert session._presence.may_see_us(parse(EVE))
        server.conversation.send(presence(EVE, "unsubscribe"))
        await signed_in(server, ("unsubscribed", OURS, EVE), ("unavailable", FULL, EVE))
        assert (await session.presence(EVE)).show is Show.NOT_IN_ROSTER
        server.conversation.fin()
        await server.until_accepted(2)
        await session.ready(10)
        server.conversation.send(presence(BOB, "subscribe"))
        assert await next_presence(server) == ("subscribed", OURS, BOB)  # nothing to eve before


async def test_a_probe_is_answered_for_who_may_know(server: FakeServer) -> None:
    """After a restart of ours the servers of our contacts remember what we have forgotten."""
    async with online(server):
        await signed_in(server, AVAILABLE, PROBE, SUBSCRIBE)
        server.conversation.send(presence(f"{BOB}/desk", "probe") + presence(EVE, "probe"))
        assert await next_presence(server) == AVAILABLE
        assert await next_presence(server) == ("unsubscribed", OURS, EVE)


@pytest.mark.parametrize("limit", [1, 2])
async def test_those_who_see_us_are_limited(server: FakeServer, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(component_module, "WATCHER_LIMIT", limit)
    async with online(server, subscriptions="accept", subscribe=False):
        await signed_in(server, AVAILABLE, PROBE)
        server.conversation.send(presence(EVE, "subscribe"))
        assert (await next_presence(server))[0] == ("unsubscribed" if limit == 1 else "subscribed")
        server.conversation.send(presence(BOB, "probe"))
        while (answer := await next_presence(server)) != AVAILABLE:
            assert answer == ("", FULL, EVE)


async def test_a_stranger_s_consent_that_nobody_asked_for_is_nothing(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(presence(EVE, "subscribed") + presence(f"{EVE}/x"))
        server.conversation.send(message(OURS))
        await session.receive_message(BOB, 5)
        assert (await session.presence(EVE)).show is Show.NOT_IN_ROSTER


async def test_rooms_are_left_at_the_end(server: FakeServer) -> None:
    """A client's server would tell them; for a component nobody does."""
    async with online(server, buddies=[], jid="phone.fake.test") as session:
        task = asyncio.create_task(session.join_room("team@rooms.fake.test"))
        assert await next_presence(server) == ("", "phone.fake.test/agi-xmpp", "team@rooms.fake.test/asterisk")
        muc = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='participant'/><status code='110'/></x>"
        server.conversation.send(presence("team@rooms.fake.test/asterisk", to="phone.fake.test/agi-xmpp", more=muc))
        assert (await task).nick == "asterisk"
    left = await next_presence(server)
    assert left == ("unavailable", "phone.fake.test/agi-xmpp", "team@rooms.fake.test/asterisk")


# Other addresses of our domain


@pytest.mark.parametrize("to", [OURS, f"{OURS}/anything", "phone.fake.test", "phone.fake.test/x"])
async def test_a_message_to_us_names_the_address(server: FakeServer, to: str) -> None:
    async with online(server) as session:
        server.conversation.send(message(to))
        assert str((await session.receive_message(BOB, 5)).recipient) == to


class Host(Guest):
    """Takes what is for 1001."""

    def __init__(self, _session: object) -> None:
        self.taken: list[IncomingMessage] = []

    def message_came(self, message: IncomingMessage, *, kept: bool, awaited: bool) -> bool:
        if message.recipient is None or message.recipient.local != "1001":
            return False
        assert (kept, awaited) == (False, False)
        self.taken.append(message)
        return True


async def test_a_message_to_somebody_else_is_a_guest_s_or_comes_back(server: FakeServer) -> None:
    async with online(server) as session:
        host = session.guest(Host)
        server.conversation.send(message("1001@phone.fake.test", body="for the guest"))
        server.conversation.send(message("1002@phone.fake.test/desk", body="for nobody"))
        back = await server.hears("message")
        assert (back.get("type"), back.get("id"), back.get("to")) == ("error", "m1", f"{BOB}/phone")
        assert back.get("from") == "1002@phone.fake.test/desk"
        assert back.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}service-unavailable") is not None
        assert [taken.body for taken in host.taken] == ["for the guest"]
        assert session.info().unclaimed == 0


@pytest.mark.parametrize("kind", ["headline", "groupchat", "error"])
async def test_other_messages_to_somebody_else_are_not_answered(server: FakeServer, kind: str) -> None:
    async with online(server):
        server.conversation.send(message("1002@phone.fake.test", kind) + message("1003@phone.fake.test"))
        assert (await server.hears("message")).get("from") == "1003@phone.fake.test"


@pytest.mark.parametrize("kind", ["subscribe", "probe", "unsubscribe"])
async def test_nobody_else_can_be_seen(server: FakeServer, kind: str) -> None:
    async with online(server, buddies=[]) as session:
        server.conversation.send(presence(f"{BOB}/x", "", "1001@phone.fake.test"))
        server.conversation.send(presence(f"{BOB}/x", kind, "1001@phone.fake.test/x"))
        assert await next_presence(server) == ("unsubscribed", "1001@phone.fake.test", BOB)
        assert not session._watchers


async def test_presence_for_others_is_not_taken_for_ours(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(presence(f"{BOB}/x", "", "1001@phone.fake.test") + message(OURS))
        await session.receive_message(BOB, 5)
        assert (await session.presence(BOB)).show is Show.OFFLINE
