"""A component's stanzas as they stand, over real servers: nothing of them is lost on the way in or out."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp.model import StanzaPort
from agi_xmpp.xmpp.session import BaseSession
from tests.e2e.sessions import component, online, settings
from tests.testbed.client import Buddy
from tests.testbed.rootfs import Rootfs
from tests.testbed.xmpp import Accounts, Ejabberd, Prosody, XmppServer

CLIENT = "{jabber:client}"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"

#: What clients put into a message to a room, and some things that none does.
CHILDREN = (
    "<body>1 &lt; 2 &amp; \u00e4 \U0001f600</body>",
    "<body xml:lang='de'>eins</body>",
    "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>",
    "<encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl' name='OMEMO'/>",
    "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml' xml:lang='en'>"
    "one <b>two</b> three <a href='https://example.org/?a=1&amp;b=2'>four</a></body></html>",
    "<replace xmlns='urn:xmpp:message-correct:0' id='&quot;&apos;&lt;&gt;'/>",
    "<p:x xmlns:p='urn:p' xmlns:q='urn:q' p:k='1' q:k='2' k='3'><p:y/><z xmlns=''><z/></z></p:x>",
    "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2026-11-21T07:35:17Z'/>"
    "<message xmlns='jabber:client' from='a@x.test' type='chat'><body>inner</body><x xmlns='urn:o'/></message>"
    "</forwarded>",
)


class Host:
    """Takes what is for one address, and notes all that it is told."""

    def __init__(self, takes: str) -> None:
        self.takes = takes
        self.answer: Callable[[ET.Element], None] = lambda _stanza: None
        self.port: StanzaPort
        self.came: asyncio.Queue[ET.Element] = asyncio.Queue()
        self.streams: asyncio.Queue[str] = asyncio.Queue()

    def serve(self, session: BaseSession) -> None:
        self.port = session.serve_stanzas(self)

    def stanza_came(self, stanza: ET.Element) -> bool:
        if stanza.get("to") != self.takes:
            return False
        self.came.put_nowait(stanza)
        self.answer(stanza)
        return True

    def stream_began(self) -> None:
        self.streams.put_nowait("began")

    def stream_ended(self) -> None:
        self.streams.put_nowait("ended")

    async def is_told(self, what: str) -> None:
        assert await asyncio.wait_for(self.streams.get(), 30) == what

    async def hears(self) -> ET.Element:
        return await asyncio.wait_for(self.came.get(), 20)

    def reflect(self, stanza: ET.Element) -> None:
        """Send a stanza back to who sent it, as a room does."""
        sender = stanza.attrib["from"]
        stanza.attrib.update({"from": self.takes, "to": sender})
        self.port.send(stanza)


def canonical(elements: list[ET.Element] | ET.Element) -> list[str]:
    """Return elements, or the children of one, each in the one form that XML has for it (Canonical XML).

    Their order does not count: ejabberd moves those that it knows behind the others.
    """
    return sorted(ET.canonicalize(ET.tostring(element), rewrite_prefixes=True) for element in elements)


async def test_a_message_comes_and_goes_with_all_that_is_in_it(accounts: Accounts) -> None:
    server, bob = accounts.server, await accounts("bob")
    host = Host(f"6000@{server.component_domain}")
    expected = canonical([ET.fromstring(f"<m xmlns='jabber:client'>{child}</m>")[0] for child in CHILDREN])
    async with (
        online(settings(server, component(server))) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
    ):
        host.serve(session)
        await host.is_told("began")
        assert (host.port.online, host.port.domain) == (True, server.component_domain)
        buddy.send_raw(f"<message to='{host.takes}' type='chat' id='m1' xml:lang='fr'>{''.join(CHILDREN)}</message>")
        came = await host.hears()
        assert came.tag == f"{CLIENT}message"
        assert (came.get("from"), came.get("id"), came.get(LANGUAGE)) == (buddy.full_jid, "m1", "fr")
        assert canonical(came) == expected
        host.reflect(came)
        back = ET.fromstring((await buddy.hears(lambda message: message.id == "m1")).xml)
        assert (back.get("from"), back.get("to"), back.get(LANGUAGE)) == (host.takes, buddy.full_jid, "fr")
        assert canonical(back) == expected


async def test_presences_and_requests_come_too(accounts: Accounts) -> None:
    server, bob = accounts.server, await accounts("bob")
    host = Host(f"6000@{server.component_domain}/Bob")
    async with (
        online(settings(server, component(server))) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
    ):
        host.serve(session)
        await host.is_told("began")
        buddy.send_raw(f"<presence to='{host.takes}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        join = await host.hears()
        assert join.tag == f"{CLIENT}presence"
        assert join.find("{http://jabber.org/protocol/muc}x") is not None
        host.reflect(join)
        await buddy.sees(lambda seen: seen.sender == host.takes and "http://jabber.org/protocol/muc" in seen.xml)

        def answer(iq: ET.Element) -> None:
            result = ET.Element(f"{CLIENT}iq", {"type": "result", "id": iq.attrib["id"], "to": iq.attrib["from"]})
            result.set("from", iq.attrib["to"])
            ET.SubElement(result, "{urn:example}answer", {"{urn:other}k": "1"})
            host.port.send(result)

        host.answer = answer
        reply = ET.fromstring(await buddy.request(host.takes, "<question xmlns='urn:example'/>"))
        host.answer = lambda _stanza: None  # for bob's departure
        assert reply.find("{urn:example}answer") is not None


async def test_what_the_host_leaves_goes_to_the_session(accounts: Accounts) -> None:
    server, bob = accounts.server, await accounts("bob")
    pbx = component(server)
    host = Host(f"6000@{server.component_domain}")
    async with (
        online(settings(server, pbx)) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
    ):
        host.serve(session)
        await host.is_told("began")
        buddy.say(pbx.jid, "for the inbox")
        assert (await session.receive_message(bob.jid, 10)).body == "for the inbox"
        buddy.say(f"nobody@{server.component_domain}", "anybody?")
        assert (await buddy.hears(lambda message: message.type == "error")).error == "service-unavailable"
        await session.send_message(bob.jid, "as before")
        await buddy.hears("as before")
        await buddy.ping(server.component_domain)
        assert host.came.empty()


@pytest.mark.parametrize("child", ["<x xmlns='a b'/>", "<xml:x/>", "<x xml:y='1'/>"])
async def test_a_name_that_would_harm_others_is_dropped_and_ends_nothing(accounts: Accounts, child: str) -> None:
    server, bob = accounts.server, await accounts("bob")
    host = Host(f"6000@{server.component_domain}")
    async with (
        online(settings(server, component(server))) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
    ):
        host.serve(session)
        await host.is_told("began")
        buddy.send_raw(f"<message to='{host.takes}' type='groupchat'><body>bad</body>{child}</message>")
        buddy.say(host.takes, "good")
        assert (await host.hears()).findtext(f"{CLIENT}body") == "good"
        assert session.info().connects == 1


@pytest.mark.parametrize("kind", ["client", "component"])
@pytest.mark.parametrize("child", ["<x xmlns='a b'/>", "<xml:x/>", "<x xml:y='1'/>"])
async def test_a_stranger_cannot_cut_a_session_off(accounts: Accounts, kind: str, child: str) -> None:
    server, bob = accounts.server, await accounts("bob")
    pbx = component(server) if kind == "component" else await accounts("pbx")
    async with (
        online(settings(server, pbx)) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
    ):
        buddy.send_raw(f"<message to='{session.info().jid}' type='chat'><body>odd</body>{child}</message>")
        assert (await session.receive_message(bob.jid, 10)).body == "odd"
        assert session.info().connects == 1


async def test_a_burst_both_ways_keeps_its_order(accounts: Accounts) -> None:
    server, bob = accounts.server, await accounts("bob")
    host = Host(f"6000@{server.component_domain}")
    ids = [f"b{number}" for number in range(300)]
    async with (
        online(settings(server, component(server))) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
    ):
        host.serve(session)
        await host.is_told("began")
        host.answer = host.reflect
        for number in ids:
            buddy.say(host.takes, f"text {number}", message_id=number)
        assert [(await host.hears()).get("id") for _ in ids] == ids
        assert [(await buddy.hears(lambda message: message.id.startswith("b"))).id for _ in ids] == ids
        assert session.info().connects == 1


async def test_a_long_stanza_passes(accounts: Accounts) -> None:
    server, bob = accounts.server, await accounts("bob")
    host = Host(f"6000@{server.component_domain}")
    body = "\u00e4" * 130_000  # 260,000 bytes: servers take 262,144 from a client
    async with (
        online(settings(server, component(server))) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
    ):
        host.serve(session)
        await host.is_told("began")
        host.answer = host.reflect
        buddy.say(host.takes, body)
        await buddy.hears(body, timeout=30)
        assert session.info().connects == 1


@pytest.mark.parametrize("make", [Prosody, Ejabberd])
async def test_a_server_that_is_restarted(rootfs: Rootfs, make: type[XmppServer]) -> None:
    async with make(rootfs) as server:
        bob = await Accounts(server)("bob")
        host = Host(f"6000@{server.component_domain}")
        async with online(settings(server, component(server), retry_max=1)) as session:
            host.serve(session)
            await host.is_told("began")
            await server.stop()
            await host.is_told("ended")
            assert not host.port.online
            with pytest.raises(NotConnected):
                host.port.send(ET.Element(f"{CLIENT}message", {"from": host.takes, "to": bob.jid}))
            await server.start()
            await host.is_told("began")
            host.answer = host.reflect
            async with Buddy.online(server, bob.jid, bob.password) as buddy:
                buddy.say(host.takes, "again")
                await buddy.hears("again")
        await host.is_told("ended")
        assert host.streams.empty()
