"""What people do by chat and by forms: with real clients on real servers, and what a real Asterisk knows of it then."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.ami.calls import Answered, Call, Ended, How, Party, Phase, Rang
from agi_xmpp.ami.client import AmiClient
from agi_xmpp.ami.model import Message
from agi_xmpp.config import AmiSettings, PhoneSettings
from agi_xmpp.features.asking import Asking
from agi_xmpp.features.phone.availability import Availability
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.features.phone.command_set import Switchboard
from agi_xmpp.features.phone.commands import PhoneCommands
from agi_xmpp.features.phone.notes import Notes
from agi_xmpp.features.phone.people import People, Person
from agi_xmpp.features.phone.watches import Watches
from agi_xmpp.xmpp import jid
from agi_xmpp.xmpp.model import Presence, Session, Show
from tests.e2e.sessions import Login, online, settings
from tests.testbed import office as floor_plan
from tests.testbed.client import Buddy, Heard
from tests.testbed.profanity import Profanity
from tests.testbed.proxy import Proxy
from tests.testbed.telephony import Exchange
from tests.testbed.xmpp import Accounts, XmppServer
from tests.unit.features.phone.fakes import FakeAmi
from tests.unit.features.phone.house import FakeActing

COMMAND = "{http://jabber.org/protocol/commands}"
FIELD = f"{COMMAND}command/{{jabber:x:data}}x/{{jabber:x:data}}field"
VALUE = "{jabber:x:data}value"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


def phone_settings(users: dict[str, Any], **changes: Any) -> PhoneSettings:
    return PhoneSettings(account="pbx", context="internal", dial=["_6XX"], user=users, **changes)


class House:
    """An account with the phones' commands; calls are as the test says, and what is to be done is written down."""

    def __init__(self, session: Session, bob: Login, carol: str) -> None:
        self.session = session
        phones = phone_settings(
            {bob.jid: {"devices": ["PJSIP/102", "PJSIP/202"], "notes": True}, carol: {"devices": ["PJSIP/103"]}}
        )
        self.people = People(phones)
        self.bob: Person = next(iter(self.people))
        self.calls: list[Call] = []
        self.entry: Entry | None = None
        self.acting = FakeActing()
        self.notes = Notes(session, self.people, self._lookup, {})
        self.availability = Availability(self.people, phones, FakeAmi(), lambda _owner: False, {}, {})
        self.watches = Watches(session, lambda who: not self.calls_of(str(who.jid)), time.monotonic)
        board = Switchboard(
            people=self.people,
            acting=self.acting,
            calls=self.calls_of,
            device_state=lambda _device: "NOT_INUSE",
            notes=self.notes,
            availability=self.availability,
            watches=self.watches,
            clock=time.monotonic,
        )
        asking = session.guest(Asking)
        session.guest(lambda own: PhoneCommands(own, board, asking, time.monotonic))

    def calls_of(self, owner: str) -> list[Call]:
        return [call for call in self.calls if call.owner == owner]

    def call(self, who: str = "", number: int = 1, **changes: Any) -> Call:
        """Let somebody, or Bob, have a call."""
        party = Party("+15550100", "Ann")
        values: dict[str, Any] = {
            "phase": Phase.RINGING,
            "incoming": True,
            "clicked": False,
            "device": "PJSIP/102",
        } | changes
        call = Call(
            f"c-{number}",
            who or str(self.bob.jid),
            party=party,
            channel=f"PJSIP/102-{number}",
            began=time.monotonic() - 10 + number,
            **values,
        )
        self.calls.append(call)
        return call

    async def _lookup(self, _number: str) -> Entry | None:
        return self.entry

    async def stop(self) -> None:
        await self.notes.stop()
        await self.availability.stop()


class Stage:
    """The house, and Bob's client."""

    def __init__(self, house: House, bob: Buddy, accounts: Accounts, login: Login) -> None:
        self.house = house
        self.bob = bob
        self.login = login
        self.accounts = accounts
        self.address = house.session.info().jid

    async def execute(self, node: str, **more: Any) -> ET.Element:
        return await self.bob.execute(self.address, node, **more)

    async def fill_in(self, node: str, **values: str) -> str:
        """Execute a command, fill in its form and return what it says in the end."""
        first = (await self.execute(node)).find(f"{COMMAND}command")
        assert first is not None
        assert first.get("status") == "executing"
        done = await self.execute(node, action="complete", session=first.get("sessionid", ""), form=values)
        return note(done)

    async def says(self, text: str, **more: Any) -> Heard:
        """Let Bob say something, and return the answer."""
        self.bob.say(self.address, text, **more)
        return await self.bob.hears()


def note(reply: ET.Element) -> str:
    """Return what a completed command says."""
    command = reply.find(f"{COMMAND}command")
    assert command is not None, ET.tostring(reply)
    assert command.get("status") == "completed"
    return command.findtext(f"{COMMAND}note") or ""


def refusal(reply: ET.Element) -> tuple[str, str]:
    """Return condition and text of an error."""
    error = reply.find(".//{jabber:client}error")
    assert error is not None, ET.tostring(reply)
    conditions = [child.tag.removeprefix(STANZAS) for child in error if child.tag != f"{STANZAS}text"]
    return conditions[0], error.findtext(f"{STANZAS}text") or ""


@pytest.fixture
async def stage(accounts: Accounts) -> AsyncIterator[Stage]:
    pbx, login = await accounts("pbx"), await accounts("bob")
    async with (
        online(settings(accounts.server, pbx)) as session,
        Buddy.online(accounts.server, login.jid, login.password) as bob,
    ):
        house = House(session, login, f"carol@{accounts.server.domain}")
        yield Stage(house, bob, accounts, login)
        await house.stop()


class TestForms:
    async def test_the_list(self, stage: Stage) -> None:
        listed = await stage.bob.commands(stage.address)
        assert set(listed) == {"dial", "calls", "forward", "hangup", "dnd", "devices", "notes", "notify"}
        assert listed["dial"] == "Call somebody"

    async def test_dial(self, stage: Stage) -> None:
        fields = (await stage.execute("dial")).findall(FIELD)
        assert [(field.get("var"), field.get("type")) for field in fields] == [
            ("target", "text-single"),
            ("device", "list-single"),
        ]
        assert fields[0].find("{jabber:x:data}required") is not None
        assert fields[1].findtext(VALUE) == "PJSIP/102"
        said = await stage.fill_in("dial", target="+1 (555) 0100", device="PJSIP/202")
        assert said == "Your phone PJSIP/202 rings. Pick it up, and +1 (555) 0100 is called."
        assert stage.house.acting.done == [("dial", stage.house.bob.jid, "+1 (555) 0100", "PJSIP/202")]

    async def test_forward_one_of_two_calls(self, stage: Stage) -> None:
        stage.house.call(number=1)
        stage.house.call(number=2, phase=Phase.TALKING)
        which, _target = (await stage.execute("forward")).findall(FIELD)
        options = which.findall("{jabber:x:data}option")
        assert [option.findtext(VALUE) for option in options] == ["c-1", "c-2"]
        assert which.findtext(VALUE) == "c-1"
        assert await stage.fill_in("forward", call="c-2", target="carol") == "Forwarded to carol: Ann, +15550100."
        assert stage.house.acting.done == [("forward", stage.house.bob.jid, "c-2", "103")]

    async def test_what_needs_no_form(self, stage: Stage) -> None:
        assert note(await stage.execute("calls")) == "You have no calls now."
        assert note(await stage.execute("devices")) == "PJSIP/102: free\nPJSIP/202: free"
        assert refusal(await stage.execute("hangup")) == ("item-not-found", "You have no call.")
        stage.house.call()
        assert note(await stage.execute("hangup")) == "Rejected: Ann, +15550100."
        assert note(await stage.execute("dial/103")).startswith("Your phone PJSIP/102 rings.")

    async def test_a_mistake_leaves_the_form_open(self, stage: Stage) -> None:
        first = (await stage.execute("notify")).find(f"{COMMAND}command")
        assert first is not None
        session = first.get("sessionid", "")
        wrong = await stage.execute("notify", action="complete", session=session, form={"person": "zoe"})
        assert refusal(wrong) == ("item-not-found", "Nobody with a phone is called “zoe”.")
        right = await stage.execute("notify", action="complete", session=session, form={"person": "carol"})
        assert note(right) == "carol is free now: call 103"

    async def test_strangers(self, stage: Stage) -> None:
        login = await stage.accounts("mallory")
        async with Buddy.online(stage.accounts.server, login.jid, login.password) as mallory:
            assert await mallory.commands(stage.address) == {}
            for node in ("dial", "calls", "dial/103"):
                assert refusal(await mallory.execute(stage.address, node))[0] == "forbidden"
            mallory.say(stage.address, "call 601")
            received = await stage.house.session.receive_message(login.jid, 10)
            assert received.body == "call 601"  # left to whoever waits for it
        assert stage.house.acting.done == []


class TestChat:
    async def test_a_call_by_typing(self, stage: Stage) -> None:
        answer = await stage.says("Call 601", thread="t-1")
        assert answer.body == "Your phone PJSIP/102 rings. Pick it up, and 601 is called."
        assert (answer.type, answer.thread) == ("chat", "t-1")
        assert stage.house.acting.done == [("dial", stage.house.bob.jid, "601", "")]
        assert (await stage.says("help")).body.startswith("You can say:\ncall 601")
        assert (await stage.says("cal 601")).body == "Did you mean “call 601”? Or say “help”."

    async def test_a_dialplan_that_waits_comes_first(self, stage: Stage) -> None:
        waiting = asyncio.create_task(stage.house.session.receive_message(stage.login.jid, 10))
        async with asyncio.timeout(5):
            while not stage.house.session.info().waiting:
                await asyncio.sleep(0)
        stage.bob.say(stage.address, "call 601")
        assert (await waiting).body == "call 601"
        assert stage.house.acting.done == []

    async def test_yesterdays_message_dials_nothing(self, stage: Stage) -> None:
        stage.bob.send_raw(
            f"<message xmlns='jabber:client' to='{stage.address}' type='chat'><body>call 601</body>"
            f"<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>"
        )
        assert (await stage.says("dnd")).body == "Do not disturb is off."
        assert stage.house.acting.done == []

    async def test_somebody_is_free_again(self, stage: Stage) -> None:
        carol = next(person for person in stage.house.people if person is not stage.house.bob)
        stage.house.call(str(carol.jid))
        assert "told when carol is free" in (await stage.says("tell me when carol is free")).body
        stage.house.calls.clear()
        stage.house.watches.look(carol)
        told = await stage.bob.hears()
        assert told.body == "carol is free again: call 103"
        button = ET.fromstring(told.xml).find(".//{http://jabber.org/protocol/disco#items}item")
        assert button is not None
        reply = await stage.bob.execute(button.get("jid", ""), button.get("node", ""))
        assert note(reply) == "Your phone PJSIP/102 rings. Pick it up, and 103 is called."
        assert stage.house.acting.done == [("dial", stage.house.bob.jid, "103", "")]

    async def test_a_ring_note_and_its_end(self, stage: Stage) -> None:
        stage.house.entry = Entry("Ann Smith", "ACME", link="https://crm.example/ann")
        call = stage.house.call()
        stage.house.notes.call_changed(Rang(call))
        ringing = await stage.bob.hears()
        assert ringing.body == "Ann Smith (ACME), +15550100, is calling you (PJSIP/102).\nhttps://crm.example/ann"
        assert ET.fromstring(ringing.xml).findtext(".//{jabber:x:oob}url") == "https://crm.example/ann"
        answer = await stage.says("transfer carol", thread=ringing.thread)
        assert answer.body == "Forwarded to carol: Ann, +15550100."
        stage.house.notes.call_changed(Answered(call))
        stage.house.notes.call_changed(Ended(call, How.FORWARDED))
        ended = await stage.bob.hears()
        replaced = ET.fromstring(ended.xml).find("{urn:xmpp:message-correct:0}replace")
        assert replaced is not None
        assert replaced.get("id") == ringing.id
        assert "called you at" in ended.body


@pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
async def test_profanity(stage: Stage, accounts: Accounts) -> None:
    """What a person does in a client that people use."""
    server = stage.accounts.server
    async with Profanity(server, stage.login.jid, stage.login.password, stage.address.partition("/")[0]) as client:
        await client.execute("dial", stage.address, "Number, name or address")
        client.type("/field1 601")
        await client.shows("Field updated")
        client.type("/form submit")
        await client.shows("and 601 is called.")
        await client.execute("devices", stage.address, "PJSIP/202: free")
    assert stage.house.acting.done == [("dial", stage.house.bob.jid, "601", "PJSIP/102")]


class Office:
    """The availability of Bob and Carol, told to a real Asterisk by the manager user with the least rights."""

    def __init__(self, exchange: Exchange, port: int = 0) -> None:
        users = {"bob@x.org": {"devices": ["PJSIP/102", "PJSIP/202"]}, "carol@x.org": {"devices": ["PJSIP/103"]}}
        phones = phone_settings(users, presence_state=True, pause_queues=True)
        self.bob, self.carol = People(phones)
        self.told: dict[str, str] = {}
        ami = AmiSettings.model_validate(
            {
                "username": exchange.phone_user,
                "password": exchange.phone_secret,
                "port": port or exchange.ami_port,
                "retry_max": 1,
            }
        )
        self.client = AmiClient(ami, self)
        self.availability = Availability(
            [self.bob, self.carol], phones, self.client, lambda _owner: False, {}, self.told
        )

    def ami_connected(self) -> None:
        self.availability.ami_connected()

    def ami_disconnected(self) -> None: ...

    def ami_event(self, event: Message) -> None: ...

    def shows(self, presence: Presence) -> None:
        self.availability.presence_changed(jid.parse("bob@x.org/pc"), presence)


@contextlib.asynccontextmanager
async def office(exchange: Exchange, port: int = 0) -> AsyncIterator[Office]:
    house = Office(exchange, port)
    await house.client.start()
    try:
        await house.client.ready(20)
        yield house
    finally:
        house.availability.set_dnd(house.bob, False)
        house.shows(Presence(Show.ONLINE))
        async with asyncio.timeout(10):
            while house.told != {"presence bob": "available,,"}:
                await asyncio.sleep(0.01)
        await house.availability.stop()
        await house.client.stop()


class TestAsterisk:
    async def test_presence_and_queues_follow(self, exchange: Exchange) -> None:
        ami = await exchange.ami()
        events = ami.subscribe(lambda event: event.get("Event") in ("PresenceStateChange", "QueueMemberPause"))

        async def presence() -> tuple[str, str]:
            event = await events.get(lambda event: event["Event"] == "PresenceStateChange", 10)
            assert event["Presentity"] == "CustomPresence:bob"
            # In the event, Asterisk writes a quotation mark with a backslash: the dialplan's view counts.
            message = await ami.action("Getvar", Variable="PRESENCE_STATE(CustomPresence:bob,message)")
            return event["Status"], message["Value"]

        async def pause() -> tuple[str, str, str]:
            event = await events.get(lambda event: event["Event"] == "QueueMemberPause", 10)
            return event["Interface"], event["Paused"], event["PausedReason"]

        try:
            async with office(exchange) as house:
                text = 'At lunch, back "soon" ${SHELL(id)} | üñ;'
                house.shows(Presence(Show.AWAY, text))
                assert await presence() == ("away", text)
                assert await pause() == ("PJSIP/102", "1", "im-away")  # and 202 is in no queue
                house.availability.set_dnd(house.bob, True)
                assert await presence() == ("dnd", "")
                assert await pause() == ("PJSIP/102", "1", "im-dnd")
                house.shows(Presence(Show.ONLINE))
                house.availability.set_dnd(house.bob, False)
                assert await presence() == ("available", "")
                assert (await pause())[:2] == ("PJSIP/102", "0")
        finally:
            events.close()

    async def test_what_changed_during_a_break_is_told_after_it(self, exchange: Exchange) -> None:
        ami = await exchange.ami()
        events = ami.subscribe(lambda event: event.get("Event") == "PresenceStateChange")
        try:
            async with Proxy(exchange.ami_port) as proxy, office(exchange, proxy.port) as house:
                await proxy.refuse()
                proxy.cut()
                house.shows(Presence(Show.XA))
                await proxy.accept()
                event = await events.get(lambda event: event["Status"] == "xa", 20)
                assert event["Presentity"] == "CustomPresence:bob"
        finally:
            events.close()


@pytest.fixture
async def floor(exchange: Exchange, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[floor_plan.Office]:
    """The whole: exchange, telephones, agi-xmpp and people. Bob wants to be told who calls."""
    name: str
    mode: floor_plan.Mode
    name, mode = getattr(request, "param", ("prosody", "component"))
    server: XmppServer = request.getfixturevalue(name)
    phone = {"presence_state": True, "pause_queues": True}
    users = {"bob": {"notes": True}}
    account = {"subscriptions": "accept"}
    async with floor_plan.open_office(
        exchange, server, mode, tmp_path, phone=phone, users=users, account=account
    ) as office:
        yield office


class TestTelephones:
    """Real telephones do what was typed."""

    @pytest.mark.parametrize(
        "floor",
        list(itertools.product(["prosody", "ejabberd"], ["component", "client"])),
        indirect=True,
        ids="-".join,
    )
    async def test_a_call_by_chat_is_forwarded_and_ended(self, floor: floor_plan.Office) -> None:
        alice, bob, carol = await floor.phones("101", "102", "103")
        await told(floor, "alice", "call bob", "Your phone PJSIP/101 rings. Pick it up, and Bob is called.")
        await alice.answer()
        await floor.after(alice="dialling", bob="ringing")
        ringing = await floor["bob"].buddy.hears(_is_note)
        assert ringing.body == "Alice, 101, is calling you (PJSIP/102)."
        await bob.answer()
        await floor.after(alice="talking", bob="talking")
        calls = await said(floor, "alice", "calls")
        assert calls.startswith("#1 Bob, 102: talking for 0:0")
        answered = await floor["bob"].buddy.hears(_is_note)
        assert " answered at " in answered.body
        await told(floor, "bob", "transfer carol", "Forwarded to Carol: Alice, 101.")
        ended = await floor["bob"].buddy.hears(_is_note)
        assert ended.body.endswith(" long.")
        await floor.after(alice="talking", carol="ringing")
        await carol.answer()
        await floor.after(alice="talking", carol="talking")
        await told(floor, "alice", "hangup", "Ended: Carol, 103.")
        await carol.idle()
        await floor.after()

    async def test_a_call_that_rings_is_rejected(self, floor: floor_plan.Office) -> None:
        alice, _bob = await floor.phones("101", "102")
        line = await alice.call("102")
        await floor.after(alice="dialling", bob="ringing")
        note = await floor["bob"].buddy.hears(_is_note)
        await told(floor, "bob", "reject", "Rejected: Alice, 101.", thread=note.thread)
        ended = await floor["bob"].buddy.hears(_is_note)
        assert ended.body.endswith(": rejected.")
        await alice.ended(line)
        await floor.after()

    async def test_what_may_not_be_done(self, floor: floor_plan.Office) -> None:
        await floor.phones("101", "102")
        await told(floor, "alice", "call 0900123", "You may not call 0900123.")
        await told(floor, "alice", "call 101", "That is your own number.")
        await told(floor, "alice", "call 602", "The telephone system knows no number 602.")
        await told(floor, "alice", "transfer 102", "You have no call for that.")
        await told(floor, "alice", "hangup #1", "You have no call for that.")
        await told(floor, "alice", "call 102 from PJSIP/103", "PJSIP/103 is no phone of yours; you have")
        await floor.after()

    async def test_tell_me_when_bob_is_free(self, floor: floor_plan.Office) -> None:
        alice, bob = await floor.phones("101", "102")
        await alice.call("102")
        await floor.after(alice="dialling", bob="ringing")
        await bob.answer()
        await floor.after(alice="talking", bob="talking")
        await told(floor, "carol", "tell me when bob is free", "You will be told when Bob is free")
        await told(floor, "bob", "dnd on", "Do not disturb is on now.")
        await alice.hangup()
        await floor.after()
        await told(floor, "carol", "dnd", "Do not disturb is off.")  # she has heard nothing else
        await told(floor, "bob", "dnd off", "Do not disturb is off now.")
        free = await floor["carol"].buddy.hears(lambda heard: bool(heard.body))
        assert free.body == "Bob is free again: call 102"

    @pytest.mark.parametrize("floor", [("prosody", "component"), ("prosody", "client")], indirect=True, ids="-".join)
    async def test_what_a_client_shows_reaches_asterisk(self, floor: floor_plan.Office) -> None:
        bob, ours = floor["bob"], floor.jid.partition("/")[0]
        bob.buddy.subscribe(ours)
        await bob.buddy.sees(lambda seen: seen.type == "subscribed" and seen.sender == ours)
        ami = await floor.exchange.ami()
        events = ami.subscribe(lambda event: event.get("Event") in ("PresenceStateChange", "QueueMemberPause"))

        async def shows(show: str, status: str, paused: str) -> None:
            bob.buddy.send_raw(f"<presence xmlns='jabber:client' to='{floor.jid}'>{show}</presence>")
            # What the clients of all showed when they logged in may come late.
            state = {"Presentity": f"CustomPresence:{bob.jid.partition('@')[0]}", "Status": status}
            await events.get(lambda event: state.items() <= dict(event).items(), 10)
            pause = {"Interface": "PJSIP/102", "Paused": paused}
            await events.get(lambda event: pause.items() <= dict(event).items(), 10)

        try:
            await shows("<show>dnd</show>", "dnd", "1")
            await shows("", "available", "0")
        finally:
            events.close()

    async def test_the_form_in_profanity(self, floor: floor_plan.Office) -> None:
        alice, bob = await floor.phones("101", "102")
        login = floor["alice"].login
        async with Profanity(floor.server, login.jid, login.password) as client:
            await client.execute("dial", floor.jid, "Number, name or address")
            client.type("/field1 102")
            await client.shows("Field updated")
            client.type("/form submit")
            await client.shows("and 102 is called.")
        await alice.answer()
        await floor.after(alice="dialling", bob="ringing")
        await bob.answer()
        await floor.after(alice="talking", bob="talking")
        await bob.hangup()
        await floor.after()


async def said(floor: floor_plan.Office, name: str, text: str, **more: Any) -> str:
    """Let somebody say something to the telephone system; return what it answers. Ring notes are no answer."""
    buddy = floor[name].buddy
    buddy.say(floor.jid, text, **more)
    return (await buddy.hears(lambda heard: bool(heard.body) and not _is_note(heard))).body


async def told(floor: floor_plan.Office, name: str, text: str, answer: str, **more: Any) -> None:
    """Let somebody say something, and check how what they are told begins."""
    found = await said(floor, name, text, **more)
    assert found.startswith(answer), f"{text}: {found}"


def _is_note(heard: Heard) -> bool:
    return " is calling you " in heard.body or " called you at " in heard.body
