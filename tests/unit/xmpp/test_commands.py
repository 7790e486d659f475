"""Commands on the wire, and how messages reach the guests of a session."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from agi_xmpp.errors import Bounced, NotConnected, Refused
from agi_xmpp.xmpp import commands
from agi_xmpp.xmpp.client import ClientSession
from agi_xmpp.xmpp.model import (
    Command,
    CommandResult,
    Extras,
    Field,
    Form,
    Guest,
    IncomingMessage,
    Jid,
    Presence,
    Session,
    Show,
)
from tests.unit.xmpp.fake import CLIENT, FakeServer
from tests.unit.xmpp.login import logged_in

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

BOB = "bob@fake.test/phone"
COMMAND = "{http://jabber.org/protocol/commands}"
ITEM = "{http://jabber.org/protocol/disco#items}item"
FEATURE = "{http://jabber.org/protocol/disco#info}feature"
DATA = "{jabber:x:data}"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
DIAL = Form(
    "Dial",
    "",
    (
        Field("number", "Number or JID", value="60<1", required=True),
        Field("device", "From", (("PJSIP/101", "Desk"), ("PJSIP/102", "Cell")), value="PJSIP/102"),
        Field("note", "Note"),
    ),
)
FORM = Form("Calls", "Choose.", (Field("k1", "Ann", (("1", "Cell"), ("2", "Desk"))),))


class FakeGuest(Guest):
    """Takes what it is told to take, and has a command of one step, one with a form, and one for bob only."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.takes = False
        self.heard: list[tuple[IncomingMessage, bool, bool]] = []
        self.bounces: list[tuple[str, Bounced]] = []
        self.executed: list[tuple[Jid, str, Mapping[str, Sequence[str]] | None]] = []
        self.on_stop: Callable[[], object] = lambda: None
        self.presences: list[tuple[str, Show]] = []
        self.news = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.refuse = False

    def presence_changed(self, who: Jid, presence: Presence) -> None:
        self.presences.append((str(who), presence.show))
        self.news.set()

    def message_came(self, message: IncomingMessage, *, kept: bool, awaited: bool) -> bool:
        self.heard.append((message, kept, awaited))
        self.news.set()
        return self.takes

    def message_bounced(self, message_id: str, error: Bounced) -> None:
        self.bounces.append((message_id, error))
        self.news.set()

    def session_stops(self) -> None:
        self.on_stop()

    def commands(self, who: Jid) -> Sequence[Command]:
        return [Command("calls", "Calls")] if who.local == "bob" else []

    async def execute(self, who: Jid, node: str, values: Mapping[str, Sequence[str]] | None) -> CommandResult | None:
        self.executed.append((who, node, values))
        if self.hold:
            await self.hold.wait()
        if self.refuse:
            raise Refused("not like that", "not-acceptable")
        if node == "calls" and who.local != "bob":
            raise Refused("not for you", "forbidden")
        if node == "late":
            raise Refused("it is closed", "item-not-found")
        if node == "dial":
            return CommandResult(form=DIAL) if values is None else CommandResult("dialling")
        if node == "calls":
            return CommandResult(form=FORM) if values is None else CommandResult("done")
        return CommandResult("answered") if node == "answer" else None


class Wire:
    """A session, its guest, and what a client says to them."""

    def __init__(self, server: FakeServer, session: ClientSession, guest: FakeGuest) -> None:
        self.server = server
        self.session = session
        self.guest = guest
        self._ids = itertools.count(1)

    async def request(self, payload: str, kind: str, sender: str = BOB) -> ET.Element:
        """Send an IQ request and return the reply."""
        name = f"q{next(self._ids)}"
        self.server.conversation.send(
            f"<iq type='{kind}' id='{name}' from='{sender}' to='agi@fake.test/pbx'>{payload}</iq>"
        )
        while (reply := await self.server.hears("iq")).get("id") != name:
            pass
        return reply

    async def execute(
        self, node: str, *, action: str = "", session: str = "", inner: str = "", sender: str = BOB
    ) -> ET.Element:
        attributes = f"node='{node}'" + (f" action='{action}'" if action else "")
        attributes += f" sessionid='{session}'" if session else ""
        xml = f"<command xmlns='http://jabber.org/protocol/commands' {attributes}>{inner}</command>"
        return await self.request(xml, "set", sender)

    async def open_form(self, sender: str = BOB) -> str:
        """Execute the command with a form and return its session."""
        command = (await self.execute("calls", sender=sender)).find(f"{COMMAND}command")
        assert command is not None
        assert command.get("status") == "executing"
        return command.get("sessionid", "")

    def say(self, inner: str, kind: str = "chat", sender: str = BOB, message_id: str = "b1") -> None:
        self.server.conversation.send(
            f"<message from='{sender}' to='agi@fake.test/pbx' type='{kind}' id='{message_id}'>{inner}</message>"
        )

    async def until_heard(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.guest.heard) + len(self.guest.bounces) < count:
                self.guest.news.clear()
                await self.guest.news.wait()


@pytest.fixture
async def wire(server: FakeServer) -> AsyncIterator[Wire]:
    async with logged_in(server, buddies=["bob@fake.test"]) as session:
        yield Wire(server, session, session.guest(FakeGuest))


def submit(**values: str) -> str:
    fields = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in values.items())
    return f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>"


def condition(reply: ET.Element) -> set[str]:
    """Return the names of the error's conditions."""
    assert reply.get("type") == "error"
    error = reply.find(f"{CLIENT}error")
    assert error is not None
    return {element.tag.partition("}")[2] for element in error if element.tag != f"{STANZAS}text"}


LIST = "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>"


class TestLists:
    async def test_each_sees_what_is_theirs(self, wire: Wire) -> None:
        items = (await wire.request(LIST, "get")).iter(ITEM)
        assert [(item.get("jid"), item.get("node"), item.get("name")) for item in items] == [
            ("agi@fake.test/pbx", "calls", "Calls")
        ]
        assert list((await wire.request(LIST, "get", "eve@fake.test/x")).iter(ITEM)) == []

    async def test_commands_are_announced(self, wire: Wire) -> None:
        reply = await wire.request("<query xmlns='http://jabber.org/protocol/disco#info'/>", "get")
        features = {feature.get("var") for feature in reply.iter(FEATURE)}
        assert {"http://jabber.org/protocol/commands", "urn:xmpp:reactions:0", "urn:xmpp:reply:0"} <= features


class TestExecution:
    async def test_of_one_step(self, wire: Wire) -> None:
        command = (await wire.execute("answer", action="execute")).find(f"{COMMAND}command")
        assert command is not None
        assert (command.get("node"), command.get("status")) == ("answer", "completed")
        assert command.findtext(f"{COMMAND}note") == "answered"
        assert wire.guest.executed == [(Jid("bob", "fake.test", "phone"), "answer", None)]

    @pytest.mark.parametrize("action", ["complete", "next", "execute", ""])
    async def test_of_a_form(self, wire: Wire, action: str) -> None:
        command = (await wire.execute("calls")).find(f"{COMMAND}command")
        assert command is not None
        actions = command.find(f"{COMMAND}actions")
        assert actions is not None
        assert (actions.get("execute"), [element.tag for element in actions]) == ("complete", [f"{COMMAND}complete"])
        form = command.find(f"{DATA}x")
        assert form is not None
        assert (form.get("type"), form.findtext(f"{DATA}title")) == ("form", "Calls")
        assert form.findtext(f"{DATA}instructions") == "Choose."
        field = form.find(f"{DATA}field")
        assert field is not None
        assert (field.get("var"), field.get("type"), field.get("label")) == ("k1", "list-single", "Ann")
        options = [(option.get("label"), option.findtext(f"{DATA}value")) for option in field.iter(f"{DATA}option")]
        assert options == [("Cell", "1"), ("Desk", "2")]
        session = command.get("sessionid", "")
        done = await wire.execute("calls", action=action, session=session, inner=submit(FORM_TYPE="x", k1="2"))
        completed = done.find(f"{COMMAND}command")
        assert completed is not None
        assert (completed.get("status"), completed.get("sessionid")) == ("completed", session)
        assert wire.guest.executed[-1][2] == {"FORM_TYPE": ("x",), "k1": ("2",)}
        again = await wire.execute("calls", action="complete", session=session, inner=submit(k1="2"))
        assert condition(again) == {"bad-request", "bad-sessionid"}

    async def test_cancelled(self, wire: Wire) -> None:
        session = await wire.open_form()
        command = (await wire.execute("calls", action="cancel", session=session)).find(f"{COMMAND}command")
        assert command is not None
        assert command.get("status") == "canceled"
        assert condition(await wire.execute("calls", session=session, inner=submit(k1="1"))) == {
            "bad-request",
            "bad-sessionid",
        }
        assert len(wire.guest.executed) == 1

    async def test_refused(self, wire: Wire) -> None:
        assert condition(await wire.execute("calls", sender="eve@fake.test/x")) == {"forbidden"}
        reply = await wire.execute("late")
        assert condition(reply) == {"item-not-found"}
        assert reply.findtext(f".//{STANZAS}text") == "it is closed"
        assert condition(await wire.execute("no such")) == {"item-not-found"}

    @pytest.mark.parametrize("sender", ["eve@fake.test/x", "bob@fake.test/other", "bob@fake.test.evil/phone"])
    async def test_a_form_is_only_for_who_opened_it(self, wire: Wire, sender: str) -> None:
        session = await wire.open_form()
        reply = await wire.execute("calls", session=session, inner=submit(k1="1"), sender=sender)
        assert condition(reply) == {"bad-request", "bad-sessionid"}
        reply = await wire.execute("answer", session=session, inner=submit(k1="1"))
        assert condition(reply) == {"bad-request", "bad-sessionid"}
        assert len(wire.guest.executed) == 1

    @pytest.mark.parametrize(
        ("action", "inner", "expected"),
        [
            ("prev", submit(k1="1"), "bad-action"),
            ("complete", "", "bad-payload"),
            ("complete", "<x xmlns='jabber:x:data' type='form'/>", "bad-payload"),
        ],
    )
    async def test_a_step_that_makes_no_sense(self, wire: Wire, action: str, inner: str, expected: str) -> None:
        session = await wire.open_form()
        reply = await wire.execute("calls", action=action, session=session, inner=inner)
        assert condition(reply) == {"bad-request", expected}
        assert len(wire.guest.executed) == 1
        done = await wire.execute("calls", action="complete", session=session, inner=submit(k1="1"))
        assert done.get("type") == "result"  # the form is still open

    @pytest.mark.parametrize("action", ["prev", "cancel"])
    async def test_there_is_nothing_to_go_back_to(self, wire: Wire, action: str) -> None:
        assert condition(await wire.execute("calls", action=action)) == {"bad-request", "bad-action"}

    async def test_a_form_with_texts(self, wire: Wire) -> None:
        form = (await wire.execute("dial")).find(f"{COMMAND}command/{DATA}x")
        assert form is not None
        assert form.find(f"{DATA}instructions") is None
        fields = [
            (
                field.get("type"),
                field.get("var"),
                field.get("label"),
                [value.text for value in field.findall(f"{DATA}value")],
                field.find(f"{DATA}required") is not None,
                len(field.findall(f"{DATA}option")),
            )
            for field in form.iter(f"{DATA}field")
        ]
        assert fields == [
            ("text-single", "number", "Number or JID", ["60<1"], True, 0),
            ("list-single", "device", "From", ["PJSIP/102"], False, 2),
            ("text-single", "note", "Note", [], False, 0),
        ]

    async def test_a_form_that_is_sent_twice_is_executed_once(self, wire: Wire) -> None:
        session = await wire.open_form()
        wire.guest.hold = asyncio.Event()
        for name in ("one", "two"):
            wire.server.conversation.send(
                f"<iq type='set' id='{name}' from='{BOB}' to='agi@fake.test/pbx'><command node='calls'"
                f" sessionid='{session}' xmlns='http://jabber.org/protocol/commands'>{submit(k1='2')}</command></iq>"
            )
        second = await wire.server.hears("iq")
        assert (second.get("id"), condition(second)) == ("two", {"bad-request", "bad-sessionid"})
        wire.guest.hold.set()
        first = await wire.server.hears("iq")
        assert (first.get("id"), first.get("type")) == ("one", "result")
        assert len(wire.guest.executed) == 2

    async def test_a_form_that_was_refused_can_be_sent_again(self, wire: Wire) -> None:
        session = await wire.open_form()
        wire.guest.refuse = True
        assert condition(await wire.execute("calls", session=session, inner=submit(k1="1"))) == {"not-acceptable"}
        wire.guest.refuse = False
        assert (await wire.execute("calls", session=session, inner=submit(k1="1"))).get("type") == "result"

    async def test_one_that_takes_too_long(self, wire: Wire) -> None:
        wire.session._errands._deadline = 0.01
        wire.guest.hold = asyncio.Event()
        assert condition(await wire.execute("answer")) == {"remote-server-timeout"}
        wire.guest.hold.set()

    async def test_a_request_that_is_no_command(self, wire: Wire) -> None:
        reply = await wire.request("<command xmlns='http://jabber.org/protocol/commands'/>", "set")
        assert reply.get("type") == "error"
        assert (await wire.execute("answer")).get("type") == "result"  # the session goes on


class TestLimits:
    @pytest.mark.parametrize(("age", "alive"), [(commands.DIALOGUE_TTL - 1, True), (commands.DIALOGUE_TTL, False)])
    async def test_a_form_that_was_open_for_too_long(self, wire: Wire, age: float, alive: bool) -> None:
        now = wire.session._clock()
        clock = wire.session._commands
        clock._clock = lambda: now
        session = await wire.open_form()
        clock._clock = lambda: now + age
        reply = await wire.execute("calls", action="complete", session=session, inner=submit(k1="1"))
        if alive:
            assert reply.get("type") == "result"
        else:
            assert condition(reply) == {"not-allowed", "session-expired"}

    @pytest.mark.parametrize(
        ("count", "alive"), [(commands.DIALOGUES_EACH, True), (commands.DIALOGUES_EACH + 1, False)]
    )
    async def test_forms_of_one_person(self, wire: Wire, count: int, alive: bool) -> None:
        first = await wire.open_form()
        for n in range(count - 1):
            await wire.open_form(f"bob@fake.test/{n}")
        reply = await wire.execute("calls", action="complete", session=first, inner=submit(k1="1"))
        assert (reply.get("type") == "result") is alive

    @pytest.mark.parametrize(("count", "alive"), [(2, True), (3, True), (4, False)])
    async def test_forms_at_all(self, wire: Wire, monkeypatch: pytest.MonkeyPatch, count: int, alive: bool) -> None:
        monkeypatch.setattr(commands, "DIALOGUES", 3)
        first = await wire.open_form()
        for n in range(count - 1):
            await wire.open_form(f"bob@other{n}.test/x")
        reply = await wire.execute("calls", action="complete", session=first, inner=submit(k1="1"))
        assert (reply.get("type") == "result") is alive


class TestMessages:
    """What a session hands its guests."""

    async def test_a_guest_is_made_once(self, wire: Wire) -> None:
        assert wire.session.guest(FakeGuest) is wire.guest
        assert wire.guest.session is wire.session

    async def test_what_a_guest_takes_nobody_else_gets(self, wire: Wire) -> None:
        wire.guest.takes = True
        wire.say("<body>taken</body>")
        await wire.until_heard(1)
        wire.guest.takes = False
        wire.say("<body>left</body>")
        assert (await wire.session.receive_message("bob@fake.test", 5)).body == "left"
        assert [message.body for message, _, _ in wire.guest.heard] == ["taken", "left"]

    async def test_a_guest_knows_who_waits(self, wire: Wire) -> None:
        wire.say("<body>1</body>")
        await wire.until_heard(1)
        await wire.session.receive_message("bob@fake.test", 5)
        wire.guest.takes = True
        waiting = asyncio.ensure_future(wire.session.receive_message("bob@fake.test", 5, thread="call-1"))
        await asyncio.sleep(0)
        wire.say("<body>2</body>")
        wire.say("<body>3</body><thread>call-1</thread>")
        wire.say("<body>4</body>", sender="carol@fake.test/x")
        await wire.until_heard(4)
        assert [(kept, awaited) for _, kept, awaited in wire.guest.heard] == [
            (False, False),
            (False, True),
            (True, True),
            (False, False),
        ]
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    async def test_a_reply_is_in_the_thread_of_what_it_replies_to(self, wire: Wire) -> None:
        sent = await wire.session.send_message("bob@fake.test", "question", thread="call-7")
        reply = f"<reply xmlns='urn:xmpp:reply:0' id='{sent}'/>"
        wire.say(f"<body>1</body><thread>own</thread>{reply}")
        wire.say(f"<body>1</body><thread>own</thread>{reply}", sender="eve@fake.test/x")
        await wire.until_heard(2)
        assert [(message.thread, kept) for message, kept, _ in wire.guest.heard] == [("call-7", True), ("own", False)]

    async def test_what_expects_no_answer_opens_no_question(self, wire: Wire) -> None:
        quiet = Extras(expects_answer=False)
        await wire.session.send_message("bob@fake.test", "card", thread="call-7", extras=quiet)
        wire.session.queue_message("bob@fake.test", "hint", thread="call-7", extras=quiet)
        wire.say("<body>1</body><thread>call-7</thread>")
        await wire.until_heard(1)
        assert [(kept, awaited) for _, kept, awaited in wire.guest.heard] == [(False, False)]

    async def test_neither_bounces_nor_our_own_copies_come_as_messages(self, wire: Wire) -> None:
        wire.say(
            "<body>echo</body><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", "error"
        )
        copy = "<message xmlns='jabber:client' from='agi@fake.test/other' to='bob@fake.test'><body>1</body></message>"
        forwarded = f"<forwarded xmlns='urn:xmpp:forward:0'>{copy}</forwarded>"
        wire.say(f"<sent xmlns='urn:xmpp:carbons:2'>{forwarded}</sent>", sender="agi@fake.test")
        wire.say("<body>last</body>")
        await wire.until_heard(1)
        assert [message.body for message, _, _ in wire.guest.heard] == ["last"]

    async def test_a_message_that_came_back_later(self, wire: Wire) -> None:
        sent = await wire.session.send_message("bob@fake.test", "card")
        error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        wire.say(error, "error", "bob@fake.test", sent)
        await wire.until_heard(1)
        ((message_id, bounced),) = wire.guest.bounces
        assert (message_id, bounced.condition) == (sent, "item-not-found")
        assert "bob@fake.test" in str(bounced)

    async def test_what_a_guest_queues_at_the_stop_is_sent(self, wire: Wire) -> None:
        wire.guest.on_stop = lambda: wire.session.queue_message("bob@fake.test", "closed")
        await wire.session.stop(2)
        assert await wire.server.hears_message() == "closed"
        wire.guest.on_stop = lambda: None
        with pytest.raises(NotConnected):
            wire.session.queue_message("bob@fake.test", "too late")

    async def test_a_guest_is_told_who_is_there(self, wire: Wire) -> None:
        wire.server.conversation.send(
            f"<presence from='{BOB}'><show>dnd</show></presence><presence from='eve@fake.test/x'/>"
            f"<presence from='{BOB}' type='unavailable'/>"
        )
        async with asyncio.timeout(5):
            while len(wire.guest.presences) < 2:
                wire.guest.news.clear()
                await wire.guest.news.wait()
        assert wire.guest.presences == [("bob@fake.test", Show.DND), ("bob@fake.test", Show.OFFLINE)]

    async def test_a_guest_that_comes_later_is_told_who_is_there_already(self, wire: Wire) -> None:
        wire.server.conversation.send(f"<presence from='{BOB}'><show>dnd</show></presence>")
        async with asyncio.timeout(5):
            while not wire.guest.presences:
                wire.guest.news.clear()
                await wire.guest.news.wait()
        wire.session.dismiss(FakeGuest)
        assert wire.session.guest(FakeGuest).presences == [("bob@fake.test", Show.DND)]

    async def test_a_link_goes_out(self, wire: Wire) -> None:
        wire.session.queue_message("bob@fake.test", "listen", extras=Extras(link="https://x.test/a?b&c"))
        sent = await wire.server.hears("message")
        assert sent.findtext("{jabber:x:oob}x/{jabber:x:oob}url") == "https://x.test/a?b&c"

    async def test_extras_go_out(self, wire: Wire) -> None:
        wire.session.queue_message("bob@fake.test", "corrected", extras=Extras(replaces="m1"))
        sent = await wire.server.hears("message")
        replace = sent.find("{urn:xmpp:message-correct:0}replace")
        assert replace is not None
        assert replace.get("id") == "m1"
