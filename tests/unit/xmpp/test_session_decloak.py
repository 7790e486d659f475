"""Temporary presence and capabilities on a session's wire, as a client and as a component."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from agi_xmpp import pace
from agi_xmpp.xmpp import decloak as module
from agi_xmpp.xmpp import session as session_module
from agi_xmpp.xmpp.model import SessionState, Show
from agi_xmpp.xmpp.session import BaseSession
from tests.unit.xmpp.fake import CLIENT, DISCO, Conversation, FakeServer
from tests.unit.xmpp.sessions import BOB, BOTH, online, until_state

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

JULIET = "juliet@capulet.lit"
BALCONY = f"{JULIET}/balcony"
US = "agi@fake.test/pbx"
CAPS = "{http://jabber.org/protocol/caps}c"
TEMPPRES, DECLOAK = "{urn:xmpp:temppres:0}temppres", "{urn:xmpp:decloak:0}decloak"
ASKS = "<temppres xmlns='urn:xmpp:temppres:0' reason='media'/>"


@pytest.fixture(autouse=True)
def quick_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST", 0.02)
    monkeypatch.setattr(session_module, "SETTLE_TIME", 0.0)


def presence(sender: str = BALCONY, kind: str = "", more: str = "", to: str = US) -> str:
    return f"<presence from='{sender}' to='{to}' {kind and f'type={kind!r}'}>{more}</presence>"


async def heard_by(server: FakeServer, who: str) -> ET.Element:
    """Return the next presence that somebody gets from us."""
    while (heard := await server.hears("presence")).get("to") != who:
        pass
    return heard


async def only_heard_by(server: FakeServer, who: str, mark: str) -> list[str]:
    """Return the types of all presences that somebody gets before a mark of ours goes to somebody else."""
    kinds = []
    while (heard := await server.hears("presence")).get("to") != mark:
        if heard.get("to") == who:
            kinds.append(heard.get("type", ""))
    return kinds


async def mark(session: BaseSession) -> str:
    """Send a presence to nobody in particular, behind all others."""
    share = session.share_presence("mark@x.org", "text")
    assert share is not None
    share.end()
    return "mark@x.org"


class TestAsking:
    @BOTH
    async def test_the_request_the_answer_and_the_end(self, server: FakeServer) -> None:
        async with online(server, buddies=[]) as session:
            assert (await session.presence(JULIET, timeout=5)).show is Show.NOT_IN_ROSTER
            share = session.share_presence(BALCONY, "media")
            assert share is not None
            request = await heard_by(server, JULIET)
            assert (request.get("type"), request.get("from")) == ((None, US) if server.does.component else (None, None))
            assert [child.tag for child in request if child.tag != CAPS] == [TEMPPRES, DECLOAK]
            assert {request[at].get("reason") for at in range(len(request)) if request[at].tag != CAPS} == {"media"}
            server.conversation.send(presence())
            assert (await share.presence(5)).show is Show.ONLINE
            assert (await session.presence(JULIET)).show is Show.NOT_IN_ROSTER  # other verbs see what they saw
            share.end()
            assert (await heard_by(server, JULIET)).get("type") == "unavailable"

    async def test_our_capabilities_can_be_looked_up(self, server: FakeServer) -> None:
        async with online(server) as session:
            share = session.share_presence(JULIET, "media")
            request = await heard_by(server, JULIET)
            caps = request.find(CAPS)
            assert caps is not None
            node = f"{caps.get('node')}#{caps.get('ver')}"
            for asked, kind in ((node, "result"), (f"{caps.get('node')}#other", "error")):
                server.conversation.send(
                    f"<iq type='get' from='{BALCONY}' to='{US}' id='i'>"
                    f"<query xmlns='http://jabber.org/protocol/disco#info' node='{asked}'/></iq>"
                )
                reply = await server.hears("iq")
                assert reply.get("type") == kind
                if kind == "result":
                    (query,) = reply
                    assert query.get("node") == node
                    assert "urn:xmpp:reply:0" in {feature.get("var") for feature in query}
            assert share is not None
            share.end()

    async def test_where_there_is_nothing_to_ask(self, server: FakeServer) -> None:
        server.does.roster = f"<item jid='{BOB}' subscription='to'/><item jid='{JULIET}' subscription='from'/>"
        async with online(server) as session:
            await roster_known(session)
            assert session.share_presence(BOB, "media") is None
            assert session.share_presence("agi@fake.test/other", "media") is None

    async def test_who_sees_us_already_goes_on_to_see_the_same(self, server: FakeServer) -> None:
        server.does.roster = f"<item jid='{JULIET}' subscription='from'/>"
        async with online(server, show="dnd", status="In calls") as session:
            await roster_known(session)
            share = session.share_presence(JULIET, "media")
            assert share is not None
            request = await heard_by(server, JULIET)
            assert request.findtext(f"{CLIENT}show") == "dnd"
            assert request.findtext(f"{CLIENT}status") == "In calls"
            share.end()
            assert await only_heard_by(server, JULIET, await mark(session)) == []

    async def test_an_error_for_the_request(self, server: FakeServer) -> None:
        async with online(server) as session:
            share = session.share_presence(JULIET, "media")
            assert share is not None
            await heard_by(server, JULIET)
            error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
            server.conversation.send(presence(JULIET, "error", error))
            async with asyncio.timeout(10):
                assert (await share.presence(3600)).show is Show.OFFLINE
            share.end()

    @BOTH
    async def test_the_end_of_the_service(self, server: FakeServer) -> None:
        async with online(server) as session:
            share = session.share_presence(JULIET, "media")
            assert share is not None
            await heard_by(server, JULIET)
        share.end()
        assert (await heard_by(server, JULIET)).get("type") == "unavailable"

    async def test_the_end_while_the_stream_is_broken_is_told_when_it_is_back(self, server: FakeServer) -> None:
        async with online(server) as session:
            share = session.share_presence(JULIET, "media")
            assert share is not None
            await heard_by(server, JULIET)
            await server.refuse()
            server.conversation.reset()
            await until_state(session, SessionState.SUSPENDED)
            share.end()
            await server.listen()
            await until_state(session, SessionState.ONLINE)
            assert (await heard_by(server, JULIET)).get("type") == "unavailable"

    @pytest.mark.parametrize("server", ["component"], indirect=True)
    async def test_a_component_tells_the_end_of_a_lost_session_with_the_next(self, server: FakeServer) -> None:
        async with online(server) as session:
            share = session.share_presence(JULIET, "media")
            assert share is not None
            await heard_by(server, JULIET)
            server.conversation.fin()
            assert (await heard_by(server, JULIET)).get("type") == "unavailable"
            share.end()
            assert await only_heard_by(server, JULIET, await mark(session)) == []

    async def test_a_client_leaves_that_to_its_server(self, server: FakeServer) -> None:
        server.does.resume = False
        async with online(server) as session:
            share = session.share_presence(JULIET, "media")
            assert share is not None
            await heard_by(server, JULIET)
            server.conversation.fin()
            while session.info().connects < 2:
                await session._link.next_change()
            share.end()
            assert await only_heard_by(server, JULIET, await mark(session)) == []


class TestAnswering:
    @BOTH
    @pytest.mark.parametrize(
        "changes",
        [{}, {"decloak_answer": ["montague.lit"]}, {"decloak_answer": ["capulet.lit"], "decloak_reasons": ["file"]}],
        ids=["default", "others", "reason"],
    )
    async def test_nothing_is_sent(self, server: FakeServer, changes: dict[str, Any]) -> None:
        async with online(server, buddies=[], **changes) as session:
            server.conversation.send(presence(more=ASKS) + presence(BALCONY, "unavailable"))
            await until_taken(session, server)
            assert await only_heard_by(server, BALCONY, await mark(session)) == []

    @BOTH
    async def test_one_minimal_presence_and_the_end(self, server: FakeServer) -> None:
        async with online(server, buddies=[], decloak_answer=["capulet.lit"], show="dnd", status="x") as session:
            server.conversation.send(presence(more=ASKS))
            answer = await heard_by(server, BALCONY)
            assert [child.tag for child in answer] == [CAPS]
            assert answer.get("type") is None
            assert answer.get("from") == (US if server.does.component else None)
            server.conversation.send(presence(kind="unavailable"))
            assert (await heard_by(server, BALCONY)).get("type") == "unavailable"
            await until_taken(session, server)
            assert await only_heard_by(server, BALCONY, await mark(session)) == []

    @BOTH
    async def test_the_end_of_the_service(self, server: FakeServer) -> None:
        async with online(server, buddies=[], decloak_answer=["capulet.lit"]):
            server.conversation.send(presence(more=ASKS))
            await heard_by(server, BALCONY)
        assert (await heard_by(server, BALCONY)).get("type") == "unavailable"

    async def test_after_a_while(self, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SHARE_TIME", 0.0)
        async with online(server, buddies=[], decloak_answer=[JULIET]):
            server.conversation.send(presence(more=ASKS))
            assert (await heard_by(server, BALCONY)).get("type") is None
            assert (await heard_by(server, BALCONY)).get("type") == "unavailable"

    @BOTH
    async def test_a_subscription_that_asks_as_well_is_a_subscription(self, server: FakeServer) -> None:
        async with online(server, buddies=[], decloak_answer=["capulet.lit"]) as session:
            server.conversation.send(presence(JULIET, "subscribe", ASKS))
            assert (await heard_by(server, JULIET)).get("type") == "unsubscribed"
            assert await only_heard_by(server, JULIET, await mark(session)) == []

    async def test_who_sees_us_already_gets_nothing(self, server: FakeServer) -> None:
        server.does.roster = f"<item jid='{JULIET}' subscription='from'/>"
        async with online(server, decloak_answer=["capulet.lit"]) as session:
            await roster_known(session)
            server.conversation.send(presence(more=ASKS))
            await until_taken(session, server)
            assert await only_heard_by(server, BALCONY, await mark(session)) == []

    async def test_who_becomes_a_contact_does_not_see_us_go(self, server: FakeServer) -> None:
        async with online(server, buddies=[], decloak_answer=["capulet.lit"], subscriptions="accept") as session:
            server.conversation.send(presence(more=ASKS))
            assert (await heard_by(server, BALCONY)).get("type") is None
            server.conversation.send(presence(JULIET, "subscribe") + presence(kind="unavailable"))
            assert (await heard_by(server, JULIET)).get("type") == "subscribed"
            await until_taken(session, server)
            assert await only_heard_by(server, BALCONY, await mark(session)) == []


async def roster_known(session: BaseSession) -> None:
    async with asyncio.timeout(10):
        while not session._roster_known:
            await session._news.wait()


async def until_taken(session: BaseSession, server: FakeServer) -> None:
    """Return when the session has taken all that the server has sent."""
    server.conversation.send("<message from='sync@x.org/a' to='agi@fake.test/pbx' type='chat'><body>s</body></message>")
    await session.receive_message("sync@x.org", 10)


class TestVoice:
    @staticmethod
    def _there(*features: str) -> Any:
        async def answer(conversation: Conversation, iq: ET.Element) -> None:
            if iq.get("to") == "fake.test":
                conversation.result(iq, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
                return
            shown = "".join(f"<feature var='{feature}'/>" for feature in features)
            identity = "<identity category='client' type='pc'/>"
            conversation.result(iq, f"<query xmlns='http://jabber.org/protocol/disco#info'>{identity}{shown}</query>")

        return answer

    @pytest.mark.parametrize(("features", "voice"), [(("urn:xmpp:jingle:apps:rtp:audio",), True), ((), False)])
    async def test_any_client_of_a_buddy(self, server: FakeServer, features: tuple[str, ...], voice: bool) -> None:
        server.answers[f"{DISCO}query"] = self._there(*features)
        async with online(server) as session:
            assert await session.voice(BOB, 5) is None
            server.conversation.send(presence(f"{BOB}/pc") + presence(f"{BOB}/pad"))
            await until_taken(session, server)
            assert await session.voice(BOB, 5) is voice
            assert await session.voice(f"{BOB}/pad", 5) is voice
            assert await session.voice(f"{BOB}/other", 5) is None

    async def test_the_old_form(self, server: FakeServer) -> None:
        old = "<c xmlns='http://jabber.org/protocol/caps' node='urn:old' ver='1.0' ext='voice-v1 share-v1'/>"
        async with online(server) as session:
            server.conversation.send(presence(f"{BOB}/talk", more=old))
            await until_taken(session, server)
            assert await session.voice(BOB, 0) is True

    async def test_who_has_been_asked(self, server: FakeServer) -> None:
        server.answers[f"{DISCO}query"] = self._there("urn:xmpp:jingle-message:0")
        async with online(server) as session:
            share = session.share_presence(JULIET, "media")
            assert share is not None
            server.conversation.send(presence())
            assert (await share.presence(5)).show is Show.ONLINE
            assert await session.voice(JULIET, 5) is True
            share.end()
            assert await session.voice(JULIET, 5) is None
