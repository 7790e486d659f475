"""A client's login: its presence, its roster, and what its other clients get."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET

import pytest

from agi_xmpp.errors import ConfigError
from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.client import ClientSession
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Show
from tests.unit.xmpp.fake import CARBONS, CLIENT, ROSTER, Conversation, FakeServer
from tests.unit.xmpp.sessions import BOB, lines, online, presence, say, settings

pytestmark = pytest.mark.usefixtures("nothing_left_behind", "quick_pace")


def carbon(kind: str, wrapper_from: str, inner: str) -> str:
    return (
        f"<message from='{wrapper_from}' to='agi@fake.test/pbx'><{kind} xmlns='urn:xmpp:carbons:2'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></{kind}></message>"
    ).replace("<message from='bob", "<message xmlns='jabber:client' from='bob")


async def test_a_copy_of_what_our_other_client_got_counts(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(carbon("received", "agi@fake.test", say("copied")))
        message = await session.receive_message(BOB, 5)
        assert (message.body, message.carbon, str(message.sender)) == ("copied", True, f"{BOB}/phone")


@pytest.mark.parametrize(
    "forger", ["eve@fake.test/x", "eve@fake.test", "agi@fake.test/other", "fake.test", "agi@fake.test.evil", f"{BOB}/x"]
)
async def test_a_forged_copy_does_not(server: FakeServer, forger: str) -> None:
    async with online(server) as session:
        server.conversation.send(carbon("received", forger, say("forged")) + say("real"))
        assert (await session.receive_message(BOB, 5)).body == "real"


async def test_a_copy_of_what_our_other_client_sent_is_not_ours_to_hear(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(carbon("sent", "agi@fake.test", say("sent-by-us")) + say("real"))
        assert (await session.receive_message(BOB, 5)).body == "real"


async def test_carbons_are_asked_for_only_if_they_are_offered(server: FakeServer) -> None:
    async with online(server):
        await server.carbons_enabled.wait()
    server.carbons_enabled.clear()
    server.does.carbons = False
    asked = asyncio.Event()

    async def note(_conversation: Conversation, _iq: ET.Element) -> None:
        asked.set()

    server.answers[CARBONS + "enable"] = note
    async with online(server) as session:
        await asyncio.gather(*session._background._tasks)
        assert not asked.is_set()


async def test_our_presence_is_as_the_settings_say(server: FakeServer) -> None:
    async with online(server, show="dnd", status="In a \x01call", priority=-5):
        shown = await server.hears("presence")
        assert shown.get("type") is None
        assert shown.findtext(f"{CLIENT}show") == "dnd"
        assert shown.findtext(f"{CLIENT}status") == "In a call"
        assert shown.findtext(f"{CLIENT}priority") == "-5"


async def test_who_is_in_the_roster_is_known_as_soon_as_it_comes(server: FakeServer) -> None:
    server.does.roster = "<item jid='dave@fake.test' subscription='both'/>"
    async with online(server) as session:
        assert (await session.presence("carol@fake.test", timeout=20)).show is Show.NOT_IN_ROSTER
        server.conversation.send(presence("x", sender="dave@fake.test"))
        assert (await session.presence("dave@fake.test", timeout=20)).show is Show.ONLINE


async def test_a_server_without_a_roster_is_used_nevertheless(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.does.roster = None
    async with online(server) as session:
        await server.carbons_enabled.wait()
        server.conversation.send(presence("phone"))
        assert (await session.presence(BOB, timeout=5)).show is Show.ONLINE
    assert any("the server does not give us the roster" in line for line in lines(caplog))


def push(jid: str, subscription: str, *, sender: str = "") -> str:
    origin = f" from='{sender}'" if sender else ""
    return (
        f"<iq type='set' id='push1'{origin}><query xmlns='jabber:iq:roster'>"
        f"<item jid='{jid}' subscription='{subscription}'/></query></iq>"
    )


@pytest.mark.parametrize("sender", ["", "agi@fake.test"])
async def test_the_roster_changes_when_our_server_says_so(server: FakeServer, sender: str) -> None:
    async with online(server) as session:
        await server.carbons_enabled.wait()
        server.conversation.send(push("carol@fake.test", "both", sender=sender))
        assert (await server.hears("iq")).get("type") == "result"
        assert (await session.presence("carol@fake.test")).show is Show.OFFLINE
        server.conversation.send(push("carol@fake.test", "remove", sender=sender))
        await server.hears("iq")
        assert (await session.presence("carol@fake.test")).show is Show.NOT_IN_ROSTER


@pytest.mark.parametrize("sender", ["eve@fake.test/x", "agi@fake.test.evil", "fake.test"])
async def test_and_not_when_others_do(server: FakeServer, sender: str) -> None:
    async with online(server) as session:
        await server.carbons_enabled.wait()
        server.conversation.send(push("eve@fake.test", "both", sender=sender))
        assert (await server.hears("iq")).get("type") == "error"
        assert (await session.presence("eve@fake.test")).show is Show.NOT_IN_ROSTER


@pytest.mark.parametrize(
    ("policy", "who", "answer"),
    [
        ("accept", "eve@fake.test", "subscribed"),
        ("buddies", BOB, "subscribed"),
        ("buddies", "eve@fake.test", "unsubscribed"),
        ("deny", BOB, "unsubscribed"),
    ],
)
async def test_requests_to_see_our_presence(server: FakeServer, policy: str, who: str, answer: str) -> None:
    async with online(server, subscriptions=policy):
        await server.hears("presence")  # our own
        server.conversation.send(presence("", kind="subscribe", sender=who))
        reply = await server.hears("presence")
        assert (reply.get("type"), reply.get("to")) == (answer, who)


@pytest.mark.parametrize(("subscription", "asked"), [("none", True), ("from", True), ("to", False), ("both", False)])
async def test_buddies_are_asked_for_their_presence_at_login(
    server: FakeServer, subscription: str, asked: bool
) -> None:
    server.does.roster = f"<item jid='{BOB}' subscription='{subscription}'/>"
    async with online(server, subscribe=True) as session:
        await asyncio.gather(*session._background._tasks)
        session._link.post(stanzas.subscription("subscribed", parse(BOB)))  # marks the end
        await server.hears("presence")  # our own
        kinds = [(await server.hears("presence")).get("type")]
        if asked:
            kinds.append((await server.hears("presence")).get("type"))
        assert kinds == (["subscribe", "subscribed"] if asked else ["subscribed"])


@pytest.mark.parametrize("roster", ["<query xmlns='jabber:iq:roster'/>", "", "<ping xmlns='urn:xmpp:ping'/>"])
async def test_a_roster_that_is_none_does_no_harm(server: FakeServer, roster: str) -> None:
    async def answer(conversation: Conversation, iq: ET.Element) -> None:
        conversation.result(iq, roster)

    server.answers[ROSTER + "query"] = answer
    async with online(server) as session:
        await server.carbons_enabled.wait()
        await session.send_message(BOB, "x")


async def test_a_client_s_login_has_no_stanzas_of_a_whole_domain() -> None:
    session = ClientSession("main", settings(None))
    with pytest.raises(ConfigError, match="account main is no component"):
        session.serve_stanzas(None)
