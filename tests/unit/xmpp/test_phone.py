"""The phone protocol on a session: what comes in over the wire, and what goes out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator

import pytest
from aioxmpp import JID, Presence
from pydantic import SecretStr

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import Refused
from agi_xmpp.xmpp import errands, phone
from agi_xmpp.xmpp.client import ClientSession
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.model import Jid, Show
from agi_xmpp.xmpp.phone_model import ActionType, ContactState, EventType, PhoneAction, PhoneEvent, PhonePort
from agi_xmpp.xmpp.xso.phone import NAMESPACE
from tests.unit.xmpp.fake import CLIENT, PASSWORD, Conversation, FakeServer
from tests.unit.xmpp.house import lines
from tests.unit.xmpp.login import logged_in
from tests.unit.xmpp.phone_house import FakeHost

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

ALICE = "alice@fake.test/Spark"
NS = f"xmlns='{NAMESPACE}'"
PHONE = f"{{{NAMESPACE}}}"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
DIAL = f"<phone-action {NS} type='DIAL'><extension>601</extension></phone-action>"
INFO = "{http://jabber.org/protocol/disco#info}"


class Wire:
    """A session that serves phones, and what clients say to it."""

    def __init__(self, server: FakeServer, session: ClientSession) -> None:
        self.server = server
        self.session = session
        self.host = FakeHost()
        self._ids = itertools.count(1)

    def serve(self) -> PhonePort:
        return self.session.serve_phones(self.host)

    def ask(self, payload: str, kind: str = "set", sender: str = ALICE) -> str:
        """Send an IQ request and return its id."""
        name = f"q{next(self._ids)}"
        self.server.conversation.send(
            f"<iq type='{kind}' id='{name}' from='{sender}' to='agi@fake.test/pbx'>{payload}</iq>"
        )
        return name

    async def reply(self, name: str, to: str = ALICE) -> ET.Element:
        reply = await self.server.hears("iq")
        assert (reply.get("id"), reply.get("to")) == (name, to)
        return reply

    async def request(self, payload: str, kind: str = "set", sender: str = ALICE) -> ET.Element:
        return await self.reply(self.ask(payload, kind, sender), sender)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with FakeServer() as server, logged_in(server) as session:
        yield Wire(server, session)


def condition(reply: ET.Element) -> tuple[str, str]:
    """Return type and condition of an error that has a text for people."""
    assert reply.get("type") == "error", ET.tostring(reply)
    error = reply.find(f"{CLIENT}error")
    assert error is not None
    assert error.findtext(f"{STANZAS}text")
    (name,) = (child.tag.removeprefix(STANZAS) for child in error if child.tag != f"{STANZAS}text")
    return error.get("type", ""), name


class TestActions:
    async def test_one_that_is_done(self, wire: Wire) -> None:
        wire.serve()
        reply = await wire.request(DIAL)
        assert (reply.get("type"), len(reply)) == ("result", 1)
        assert (reply[0].tag, dict(reply[0].attrib), len(reply[0])) == (f"{PHONE}phone-action", {"type": "DIAL"}, 0)
        assert wire.host.acted == [
            (Jid("alice", "fake.test", "Spark"), PhoneAction(ActionType.DIAL, extension="601")),
        ]

    async def test_without_phones(self, wire: Wire) -> None:
        assert condition(await wire.request(DIAL)) == ("cancel", "service-unavailable")

    @pytest.mark.parametrize(
        "sender",
        ["eve@fake.test/x", "alice@evil.test/x", "alice@fake.test.evil/x", "fake.test", "d@fake.test/artagnan"],
    )
    @pytest.mark.parametrize(
        ("payload", "kind"), [(DIAL, "set"), (DIAL, "get"), (f"<phone-action {NS} type='x'>1</phone-action>", "set")]
    )
    async def test_strangers_learn_nothing(self, wire: Wire, sender: str, payload: str, kind: str) -> None:
        wire.serve()
        assert condition(await wire.request(payload, kind, sender)) == ("auth", "forbidden")
        assert not wire.host.acted

    @pytest.mark.parametrize(
        ("payload", "kind", "expected"),
        [
            (DIAL, "get", ("modify", "bad-request")),
            (f"<phone-action {NS} type='INVITE'/>", "set", ("cancel", "feature-not-implemented")),
            (f"<phone-action {NS} type='DIAL'/>", "set", ("modify", "bad-request")),
            (
                f"<phone-action {NS} type='DIAL'><extension>6<b/></extension></phone-action>",
                "set",
                ("modify", "bad-request"),
            ),
        ],
    )
    async def test_what_makes_no_sense(self, wire: Wire, payload: str, kind: str, expected: tuple[str, str]) -> None:
        wire.serve()
        assert condition(await wire.request(payload, kind)) == expected
        assert not wire.host.acted
        assert (await wire.request(DIAL)).get("type") == "result"  # the session goes on

    async def test_what_the_host_refuses(self, wire: Wire) -> None:
        wire.serve()
        wire.host.refuse = Refused("No such call: c-1", "item-not-found")
        reply = await wire.request(DIAL)
        assert condition(reply) == ("cancel", "item-not-found")
        assert reply.findtext(f".//{STANZAS}text") == "No such call: c-1"

    async def test_the_deadline(self, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
        wire.serve()
        assert errands.DEADLINE < 10  # Spark's
        wire.session._errands._deadline = 0.01
        wire.host.hold = asyncio.Event()
        assert condition(await wire.request(DIAL)) == ("wait", "remote-server-timeout")
        (task,) = wire.session._errands._tasks
        wire.host.hold.set()
        await asyncio.wait({task})
        await asyncio.sleep(0)
        assert "DIAL 601 for alice@fake.test/Spark was carried out" in lines(caplog)[-1]

    async def test_many_at_once(self, wire: Wire) -> None:
        wire.serve()
        wire.host.hold = asyncio.Event()
        first = [wire.ask(DIAL) for _ in range(errands.ERRANDS_EACH)]
        assert condition(await wire.request(DIAL)) == ("wait", "resource-constraint")
        wire.host.hold.set()
        for name in first:
            assert (await wire.reply(name)).get("type") == "result"

    @pytest.mark.parametrize(("age", "taken"), [(phone.PERIOD - 1, False), (phone.PERIOD, True)])
    async def test_many_in_a_minute(self, wire: Wire, age: float, taken: bool) -> None:
        wire.serve()
        now = 1000.0
        wire.session._phones._clock = lambda: now
        for _ in range(phone.ACTIONS_EACH):
            assert (await wire.request(DIAL)).get("type") == "result"
        assert condition(await wire.request(DIAL)) == ("wait", "resource-constraint")
        assert (await wire.request(DIAL, sender="bob@fake.test/x")).get("type") == "result"
        now += age
        assert ((await wire.request(DIAL)).get("type") == "result") is taken


class TestPort:
    async def test_an_event(self, wire: Wire) -> None:
        port = wire.serve()
        port.send_event(Jid("alice", "fake.test"), PhoneEvent(EventType.HANG_UP, "c-1", "PJSIP/101"))
        sent = await wire.server.hears("message")
        assert (sent.get("to"), sent.get("type")) == ("alice@fake.test", "headline")
        assert sent.find(f"{PHONE}phone-event[@type='HANG_UP']") is not None

    async def test_a_client_has_no_contacts(self, wire: Wire) -> None:
        port = wire.serve()
        port.contact_changed("alice")
        assert isinstance(port, phone.Phones)
        assert not port.presence_came(Presence(to=JID.fromstr("alice@fake.test")))

    async def test_a_client_may_publish_nothing(self, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "agi_xmpp")
        port = wire.serve()
        perm = "<perm access='iq'><namespace ns='http://jabber.org/protocol/pubsub' type='set'/></perm>"
        privilege = f"<privilege xmlns='urn:xmpp:privilege:2'>{perm}</privilege>"
        wire.server.conversation.send(f"<message from='fake.test' to='agi@fake.test/pbx'>{privilege}</message>")
        assert (await wire.request(DIAL)).get("type") == "result"  # so that has come, too
        port.set_activity(Jid("alice", "fake.test"), "On the phone")
        assert "account main: fake.test has not let us publish activities (XEP-0356)" in lines(caplog, logging.INFO)

    async def test_without_a_session_nothing_happens(self, wire: Wire) -> None:
        port = wire.serve()
        await wire.session.stop(0.4)
        port.send_event(Jid("alice", "fake.test"), PhoneEvent(EventType.HANG_UP, "c-1", "PJSIP/101"))
        port.contact_changed("alice")
        port.set_activity(Jid("alice", "fake.test"), None)


async def test_the_version_is_told(wire: Wire) -> None:
    wire.serve()
    reply = await wire.request("<query xmlns='jabber:iq:version'/>", "get")
    assert reply.findtext(".//{jabber:iq:version}name") == "agi-xmpp"


@pytest.fixture
async def component() -> AsyncIterator[tuple[FakeServer, PhonePort, FakeHost]]:
    """A component that serves phones."""
    async with FakeServer() as server:
        server.does.component = True
        settings = AccountSettings(
            type="component", jid="phone.fake.test", password=SecretStr(PASSWORD), server="127.0.0.1", port=server.port
        )
        session, host = make_session("main", settings), FakeHost()
        port = session.serve_phones(host, {"alice carol@fake.test": ""})
        host.watchers = {"*"}
        await session.start()
        try:
            await session.ready(10)
            yield server, port, host
        finally:
            await session.stop(0.4)


class TestComponent:
    async def test_contacts(self, component: tuple[FakeServer, PhonePort, FakeHost]) -> None:
        server, port, host = component
        first = await server.hears("presence")
        assert (first.get("from"), first.get("to")) == ("alice@phone.fake.test/PJSIP-101", "carol@fake.test")
        server.conversation.send("<presence from='bob@fake.test' to='alice@phone.fake.test' type='subscribe'/>")
        approval, shown = await server.hears("presence"), await server.hears("presence")
        assert (approval.get("type"), approval.get("from")) == ("subscribed", "alice@phone.fake.test")
        assert (shown.get("type"), shown.get("to")) == (None, "bob@fake.test")
        host.states["alice"] = ContactState(Show.DND, device="PJSIP/101")
        port.contact_changed("alice")
        changed = [await server.hears("presence") for _ in range(2)]
        assert {presence.get("to") for presence in changed} == {"bob@fake.test", "carol@fake.test"}

    async def test_contacts_that_other_settings_do_not_have_go_offline(
        self, component: tuple[FakeServer, PhonePort, FakeHost]
    ) -> None:
        server, port, host = component
        await server.hears("presence")
        host.states["alice"] = ContactState(Show.AWAY, "On the phone", on_phone=True, device="PJSIP/101")
        port.contact_changed("alice")
        assert (await server.hears("presence")).findtext("{*}status") == "On the phone"
        after = FakeHost()
        after.states = {"bob": ContactState(Show.ONLINE, device="PJSIP/102")}
        self.serve_again(port, after)
        gone = await server.hears("presence")
        assert (gone.get("type"), gone.get("from")) == ("unavailable", "alice@phone.fake.test/PJSIP-101")

    async def test_contacts_that_other_settings_have_stay_as_they_are(
        self, component: tuple[FakeServer, PhonePort, FakeHost]
    ) -> None:
        server, port, host = component
        await server.hears("presence")
        self.serve_again(port, host, "alice dave@fake.test")
        port.contact_changed("alice")
        host.states["alice"] = ContactState(Show.DND, device="PJSIP/101")
        port.contact_changed("alice")
        shown = await server.hears("presence")
        assert (shown.get("to"), shown.findtext("{*}show")) == ("dave@fake.test", "dnd")

    async def test_who_may_not_see_a_contact_any_more_sees_it_offline(
        self, component: tuple[FakeServer, PhonePort, FakeHost]
    ) -> None:
        server, port, host = component
        await server.hears("presence")
        host.watchers = set()
        self.serve_again(port, host, "alice carol@fake.test")
        gone = await server.hears("presence")
        assert (gone.get("type"), gone.get("to")) == ("unavailable", "carol@fake.test")

    async def test_without_a_host_there_are_no_phones_any_more(
        self, component: tuple[FakeServer, PhonePort, FakeHost]
    ) -> None:
        server, port, host = component
        await server.hears("presence")
        self.serve_again(port, None)
        gone = await server.hears("presence")
        assert (gone.get("type"), gone.get("from")) == ("unavailable", "alice@phone.fake.test/PJSIP-101")
        port.contact_changed("alice")
        server.conversation.send(f"<iq type='set' id='q' from='{ALICE}' to='phone.fake.test'>{DIAL}</iq>")
        reply = await server.hears("iq")
        assert reply.find(f"*/{STANZAS}service-unavailable") is not None
        assert host.acted == []

    @staticmethod
    def serve_again(port: PhonePort, host: FakeHost | None, *subscriptions: str) -> None:
        assert isinstance(port, phone.Phones)
        port.serve(host, dict.fromkeys(subscriptions, ""))

    async def test_a_server_that_lets_us_publish(self, component: tuple[FakeServer, PhonePort, FakeHost]) -> None:
        server, port, _ = component
        perm = "<perm access='iq'><namespace ns='http://jabber.org/protocol/pubsub' type='set'/></perm>"
        privilege = f"<privilege xmlns='urn:xmpp:privilege:2'>{perm}</privilege>"
        asked: asyncio.Queue[str] = asyncio.Queue()

        async def answer(conversation: Conversation, iq: ET.Element) -> None:
            asked.put_nowait(iq.get("to", ""))
            conversation.result(iq)

        server.answers["{urn:xmpp:privilege:2}privileged_iq"] = answer
        # A user of the server may not grant anything.
        for sender in ("eve@fake.test/x", "fake.test/x"):
            server.conversation.send(f"<message from='{sender}' to='phone.fake.test'>{privilege}</message>")
        port.set_activity(Jid("bob", "fake.test"), "On the phone")
        port.set_activity(Jid("alice", "fake.test"), "On the phone")
        port.set_activity(Jid("bob", "fake.test"), None)
        server.conversation.send(f"<message from='fake.test' to='phone.fake.test'>{privilege}</message>")
        async with asyncio.timeout(5):
            assert {await asked.get(), await asked.get()} == {"alice@fake.test", "bob@fake.test"}
        assert asked.empty()
