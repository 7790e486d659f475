"""Contact discovery on a session: what comes in over the wire, and what goes out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import xml.etree.ElementTree as ET
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest
from pydantic import SecretStr

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import Bounced, NotConnected, Refused
from agi_xmpp.xmpp import contact_disco
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.contact_model import Answers
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.session import BaseSession
from tests.unit.xmpp.fake import CLIENT, PASSWORD, Conversation, FakeServer
from tests.unit.xmpp.login import logged_in

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

NAMESPACE = "urn:xmpp:contact-disco:0"
DISCO = f"{{{NAMESPACE}}}"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
ROMEO = "romeo@fake.test/orchard"
JULIET = Jid("juliet", "capulet.lit")
PEER = "contacts.far.test"


class FakeHost:
    """Finds what the test says, in the parts that the test says.

    Attributes:
        parts: what `find` yields; an event in between is waited for.
        asked: what `find` was asked for.
        refuse: raised by `spend`.
    """

    def __init__(self) -> None:
        self.parts: list[Answers | asyncio.Event | Exception] = []
        self.asked: list[tuple[Jid, tuple[str, ...], bool]] = []
        self.spent: list[tuple[Jid, int]] = []
        self.refuse: Refused | None = None
        self.ended = asyncio.Event()

    def may_ask(self, who: Jid) -> bool:
        return who.domain == "fake.test"

    def spend(self, who: Jid, addresses: int) -> None:
        if self.refuse:
            raise self.refuse
        self.spent.append((who, addresses))

    async def find(self, who: Jid, uris: Sequence[str], *, relayed: bool) -> AsyncGenerator[Answers, None]:
        self.asked.append((who, tuple(uris), relayed))
        try:
            for part in self.parts:
                if isinstance(part, asyncio.Event):
                    await part.wait()
                elif isinstance(part, Exception):
                    raise part
                else:
                    yield part
        finally:
            self.ended.set()


class Wire:
    """A session that serves contacts, and what clients and other services say to it."""

    def __init__(self, server: FakeServer, session: BaseSession, own: str) -> None:
        self.server = server
        self.session = session
        self.own = own
        self.host = FakeHost()
        self.port = session.serve_contacts(self.host)
        self._ids = itertools.count(1)

    def ask(self, inner: str, *, sender: str = ROMEO, kind: str = "get", attributes: str = "bid='100000'") -> str:
        """Send a request and return its id."""
        name = f"q{next(self._ids)}"
        self.say(
            f"<iq type='{kind}' id='{name}' from='{sender}' to='{self.own}'>"
            f"<contacts xmlns='{NAMESPACE}' {attributes}>{inner}</contacts></iq>"
        )
        return name

    def say(self, xml: str) -> None:
        self.server.conversation.send(xml)

    def answer(self, batch: str, inner: str, *, sender: str = PEER, kind: str = "headline") -> None:
        """Send a headline of another service."""
        self.say(
            f"<message type='{kind}' from='{sender}' to='{self.own}'>"
            f"<contacts xmlns='{NAMESPACE}' bid='{batch}'>{inner}</contacts></message>"
        )

    async def result(self, name: str) -> None:
        reply = await self.server.hears("iq")
        assert (reply.get("id"), reply.get("type"), reply.get("to"), len(reply)) == (name, "result", ROMEO, 0)

    async def refusal(self, name: str) -> tuple[str, str]:
        """Return type and condition of the error for a request; it has a text for people."""
        reply = await self.server.hears("iq")
        assert (reply.get("id"), reply.get("type")) == (name, "error")
        error = reply.find(f"{CLIENT}error")
        assert error is not None
        assert error.findtext(f"{STANZAS}text")
        (condition,) = (child.tag.removeprefix(STANZAS) for child in error if child.tag != f"{STANZAS}text")
        return error.get("type", ""), condition

    async def headline(self) -> tuple[str, dict[str, dict[str, list[str]]]]:
        """Return batch and contacts of the next headline."""
        message = await self.server.hears("message")
        assert (message.get("type"), message.get("to")) == ("headline", ROMEO)
        (payload,) = message
        return payload.get("bid", ""), {
            contact.get("id", ""): {
                address.get("uri", ""): [found.get("uri", "") for found in address] for address in contact
            }
            for contact in payload
        }


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with FakeServer() as server, logged_in(server) as session:
        yield Wire(server, session, "agi@fake.test/pbx")


def contact(number: str, *uris: str) -> str:
    return f"<contact id='{number}'>{''.join(f'<address uri={uri!r}/>' for uri in uris)}</contact>"


class TestRequests:
    async def test_the_result_is_empty_and_comes_first(self, wire: Wire) -> None:
        wire.host.parts = [{"tel:1": (JULIET,), "tel:2": ()}]
        # To hear the result drops what came before it: the headline would be missing.
        await wire.result(wire.ask(contact("a", "tel:1", "tel:2") + contact("b", "tel:2")))
        await wire.headline()
        assert wire.host.asked == [(parse(ROMEO), ("tel:1", "tel:2"), False)]
        assert wire.host.spent == [(parse(ROMEO), 3)]

    async def test_batch_and_ids_are_echoed(self, wire: Wire) -> None:
        wire.host.parts = [{"tel:1": (JULIET,), "tel:2": ()}]
        await wire.result(wire.ask(contact("a", "tel:1", "tel:2") + contact("b", "tel:2"), attributes="bid='x y'"))
        assert await wire.headline() == (
            "x y",
            {"a": {"tel:1": ["xmpp:juliet@capulet.lit"], "tel:2": []}, "b": {"tel:2": []}},
        )

    async def test_each_contact_is_answered_once_as_soon_as_it_is_complete(self, wire: Wire) -> None:
        late = asyncio.Event()
        wire.host.parts = [{"tel:1": (JULIET,)}, late, {"tel:2": ()}]
        await wire.result(wire.ask(contact("both", "tel:1", "tel:2") + contact("one", "tel:1")))
        assert await wire.headline() == ("100000", {"one": {"tel:1": ["xmpp:juliet@capulet.lit"]}})
        late.set()
        assert await wire.headline() == (
            "100000",
            {"both": {"tel:1": ["xmpp:juliet@capulet.lit"], "tel:2": []}},
        )

    async def test_a_large_book_comes_in_several_headlines(self, wire: Wire) -> None:
        uris = [f"tel:+1555{n:07}" for n in range(300)]
        wire.host.parts = [dict.fromkeys(uris, (JULIET,))]
        await wire.result(wire.ask("".join(contact(str(n), uri) for n, uri in enumerate(uris))))
        got: dict[str, dict[str, list[str]]] = {}
        count = 0
        while len(got) < 300:
            batch, more = await wire.headline()
            assert batch == "100000"
            assert got.keys().isdisjoint(more)
            got |= more
            count += 1
        assert count > 1
        assert got["299"] == {uris[299]: ["xmpp:juliet@capulet.lit"]}

    async def test_an_empty_book(self, wire: Wire) -> None:
        await wire.result(wire.ask(""))

    async def test_a_contact_without_addresses(self, wire: Wire) -> None:
        wire.host.parts = [{}]
        await wire.result(wire.ask("<contact id='a'/>"))
        assert await wire.headline() == ("100000", {"a": {}})
        assert wire.host.spent == [(parse(ROMEO), 1)]

    async def test_a_request_that_was_handed_on(self, wire: Wire) -> None:
        wire.host.parts = [{"tel:1": ()}]
        await wire.result(wire.ask(contact("a", "tel:1") + "<relayed xmlns='agi-xmpp:contact-disco'/>"))
        await wire.headline()
        assert wire.host.asked[0][2] is True

    @pytest.mark.parametrize("sender", ["eve@evil.test/x", "fake.test.evil", "eve@fake.test.evil/x"])
    @pytest.mark.parametrize(("inner", "kind"), [(contact("a", "tel:1"), "get"), ("<contact/>", "set")])
    async def test_a_foreign_domain_learns_nothing(self, wire: Wire, sender: str, inner: str, kind: str) -> None:
        assert await wire.refusal(wire.ask(inner, sender=sender, kind=kind)) == ("auth", "forbidden")
        assert not wire.host.asked

    async def test_malformed(self, wire: Wire) -> None:
        for inner, attributes in (("<contact/>", "bid='1'"), ("x", "bid='1'"), (contact("a", "tel:1"), "")):
            name = wire.ask(inner, attributes=attributes)
            assert await wire.refusal(name) == ("modify", "bad-request")
        assert await wire.refusal(wire.ask(contact("a", "tel:1"), kind="set")) == ("modify", "bad-request")
        assert not wire.host.asked
        assert not wire.host.spent

    async def test_too_much(self, wire: Wire) -> None:
        wire.host.refuse = Refused("more than 5 addresses in one request", "resource-constraint")
        assert await wire.refusal(wire.ask(contact("a", "tel:1"))) == ("wait", "resource-constraint")
        assert not wire.host.asked

    async def test_only_so_many_at_once(self, wire: Wire) -> None:
        late = asyncio.Event()
        wire.host.parts = [late, {"tel:1": ()}]
        for _ in range(contact_disco.ANSWERS_EACH):
            await wire.result(wire.ask(contact("a", "tel:1")))
        assert await wire.refusal(wire.ask(contact("a", "tel:1"))) == ("wait", "resource-constraint")
        late.set()
        for _ in range(contact_disco.ANSWERS_EACH):
            await wire.headline()
        await wire.result(wire.ask(contact("a", "tel:1")))
        await wire.headline()

    async def test_a_service_that_asks_for_its_people_may_ask_for_more_at_once(self, wire: Wire) -> None:
        late = asyncio.Event()
        wire.host.parts = [late, {"tel:1": ()}]
        asked = "<relayed xmlns='agi-xmpp:contact-disco'/>" + contact("a", "tel:1")
        for _ in range(contact_disco.ANSWERS_EACH + 1):
            await wire.result(wire.ask(asked))
        late.set()

    async def test_when_it_is_not_served(self, wire: Wire) -> None:
        wire.session.serve_contacts(None)
        assert await wire.refusal(wire.ask(contact("a", "tel:1"))) == ("cancel", "service-unavailable")

    async def test_a_fault_of_ours_is_logged(self, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
        wire.host.parts = [RuntimeError("oops")]
        await wire.result(wire.ask(contact("a", "tel:1")))
        wire.host.parts = [{"tel:1": ()}]
        await wire.result(wire.ask(contact("b", "tel:1")))
        assert await wire.headline() == ("100000", {"b": {"tel:1": []}})
        assert "looking up contacts for romeo@fake.test failed" in caplog.text

    async def test_the_end_of_the_session_ends_it(self, wire: Wire) -> None:
        wire.host.parts = [asyncio.Event()]
        await wire.result(wire.ask(contact("a", "tel:1")))
        await wire.session.stop(0.4)
        await asyncio.wait_for(wire.host.ended.wait(), 5)


class TestDiscovery:
    async def offered(self, wire: Wire) -> bool:
        wire.say(
            f"<iq type='get' id='d' from='{ROMEO}' to='{wire.own}'>"
            "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
        reply = await wire.server.hears("iq")
        return NAMESPACE in {element.get("var") for element in reply.iter()}

    async def test_it_is_offered_while_it_is_served(self, wire: Wire) -> None:
        assert await self.offered(wire)
        wire.session.serve_contacts(None)
        assert not await self.offered(wire)
        wire.session.serve_contacts(wire.host)
        wire.session.serve_contacts(wire.host)
        assert await self.offered(wire)


class TestAsking:
    async def begin(self, wire: Wire, *uris: str, peer: str = PEER, timeout: float = 10) -> tuple[asyncio.Task, str]:
        """Ask another service; return the task and the name of the batch."""
        requests: asyncio.Queue[ET.Element] = asyncio.Queue()

        async def take(_conversation: Conversation, iq: ET.Element) -> None:
            requests.put_nowait(iq)

        wire.server.answers[f"{DISCO}contacts"] = take
        task = asyncio.create_task(wire.port.ask(parse(peer), uris, timeout))
        self.iq = await asyncio.wait_for(requests.get(), 5)
        assert (self.iq.get("type"), self.iq.get("to")) == ("get", peer)
        payload = self.iq.find(f"{DISCO}contacts")
        assert payload is not None
        assert payload.find("{agi-xmpp:contact-disco}relayed") is not None
        assert [[address.get("uri") for address in one] for one in payload.iter(f"{DISCO}contact")] == [
            [uri] for uri in uris
        ]
        return task, payload.get("bid", "")

    def accept(self, wire: Wire, sender: str = PEER) -> None:
        wire.say(f"<iq type='result' id='{self.iq.get('id')}' from='{sender}' to='{wire.own}'/>")

    @staticmethod
    def found(number: int, uri: str, *people: str) -> str:
        inner = "".join(f"<discovery uri='xmpp:{one}'/>" for one in people)
        return f"<contact id='{number}'><address uri='{uri}'>{inner}</address></contact>"

    async def test_answers_in_parts(self, wire: Wire) -> None:
        task, batch = await self.begin(wire, "tel:+1", "tel:+2")
        self.accept(wire)
        wire.answer(batch, self.found(0, "tel:+1", "juliet@capulet.lit"))
        wire.answer(batch, self.found(1, "tel:+2"))
        assert await task == {"tel:+1": (JULIET,), "tel:+2": ()}

    async def test_answers_that_overtake_the_result(self, wire: Wire) -> None:
        task, batch = await self.begin(wire, "tel:+1")
        wire.answer(batch, self.found(0, "tel:+1", "juliet@capulet.lit"))
        self.accept(wire)
        assert await task == {"tel:+1": (JULIET,)}

    async def test_what_came_in_time_counts(self, wire: Wire) -> None:
        task, batch = await self.begin(wire, "tel:+1", "tel:+2", timeout=0.2)
        self.accept(wire)
        wire.answer(batch, self.found(0, "tel:+1", "juliet@capulet.lit"))
        assert await task == {"tel:+1": (JULIET,)}

    @pytest.mark.parametrize("sender", ["evil.test", f"{PEER}.evil", f"x@{PEER}", f"{PEER}/x"])
    async def test_only_who_was_asked_can_answer(self, wire: Wire, sender: str) -> None:
        task, batch = await self.begin(wire, "tel:+1")
        self.accept(wire)
        wire.answer(batch, self.found(0, "tel:+1", "eve@evil.test"), sender=sender)
        wire.answer(f"{batch}0", self.found(0, "tel:+1", "eve@evil.test"))
        wire.answer(batch, self.found(0, "tel:+1", "eve@evil.test"), kind="error")
        wire.answer(batch, self.found(0, "tel:+99", "eve@evil.test"))
        wire.answer(batch, self.found(0, "tel:+1", "juliet@capulet.lit"))
        assert await task == {"tel:+1": (JULIET,)}

    async def test_a_refusal(self, wire: Wire) -> None:
        task, _batch = await self.begin(wire, "tel:+1")
        wire.say(
            f"<iq type='error' id='{self.iq.get('id')}' from='{PEER}' to='{wire.own}'><error type='auth'>"
            "<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )
        with pytest.raises(Bounced, match=r"contacts\.far\.test: forbidden") as caught:
            await task
        assert caught.value.condition == "forbidden"

    async def test_an_answer_that_cannot_be_read(self, wire: Wire) -> None:
        task, _batch = await self.begin(wire, "tel:+1")
        wire.say(
            f"<iq type='result' id='{self.iq.get('id')}' from='{PEER}' to='{wire.own}'>"
            "<query xmlns='jabber:iq:roster'><item jid='@@'/></query></iq>"
        )
        with pytest.raises(Bounced, match="makes no sense"):
            await task

    async def test_no_session(self, wire: Wire) -> None:
        task, _batch = await self.begin(wire, "tel:+1")
        await wire.session.stop(0.4)
        with pytest.raises(NotConnected):
            await task
        with pytest.raises(NotConnected):
            await wire.port.ask(parse(PEER), ["tel:+1"], 1)


class TestComponent:
    async def test_answers_come_from_the_address_that_was_asked(self) -> None:
        async with FakeServer() as server:
            server.does.component = True
            settings = AccountSettings(
                type="component", jid="contacts.fake.test", password=SecretStr(PASSWORD), port=server.port
            )
            session = make_session("main", settings)
            assert isinstance(session, BaseSession)
            await session.start()
            try:
                await session.ready(10)
                wire = Wire(server, session, "contacts.fake.test")
                wire.host.parts = [{"tel:1": (JULIET,)}]
                wire.ask(contact("a", "tel:1"))
                message = await wire.server.hears("message")
                assert (message.get("from"), message.get("to")) == ("contacts.fake.test", ROMEO)
                assert ET.tostring(message).count(b"juliet@capulet.lit") == 1
            finally:
                await session.stop(0.4)


async def test_a_headline_that_nobody_asked_for_is_nobodys_message(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    wire.answer("nobodys", contact("a", "tel:1"))
    wire.host.parts = [{"tel:1": ()}]
    await wire.result(wire.ask(contact("a", "tel:1")))
    await wire.headline()
    assert wire.session.info().unclaimed == 0
    assert not caplog.records
