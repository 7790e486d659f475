"""The phone protocol against real servers, spoken byte by byte by an independent client; the phones are the test's."""

from __future__ import annotations

import contextlib
import logging
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import Refused
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.model import Jid, Session, Show
from agi_xmpp.xmpp.phone_model import ActionType, ContactState, EventType, PhoneAction, PhoneEvent, PhonePort
from tests.e2e.phone_client import CLIENT, PHONE, PhoneClient, outcome
from tests.testbed.client import Buddy
from tests.testbed.rootfs import Rootfs
from tests.testbed.xmpp import Accounts, Ejabberd, Login, Options, Prosody, XmppServer
from tests.unit.xmpp.phone_house import FakeHost

NS = "xmlns='http://jivesoftware.com/xmlns/phone'"
FEATURE = "http://jivesoftware.com/phone"
PAYLOAD = "http://jivesoftware.com/xmlns/phone"
INFO = "http://jabber.org/protocol/disco#info"
IDENTITY = ("directory", "phone", "phone")
TALKING = ContactState(Show.AWAY, "On the phone", on_phone=True, device="PJSIP/101")
FREE = ContactState(Show.ONLINE, "", device="PJSIP/101")


@dataclass
class House:
    """A session that serves phones, and a person.

    Attributes:
        service: where clients find the phones.
    """

    server: XmppServer
    session: Session
    host: Host
    port: PhonePort
    service: str
    accounts: Accounts
    login: Login
    alice: PhoneClient

    @contextlib.asynccontextmanager
    async def person(self, name: str = "", *, mapped: bool = True, domain: str = "") -> AsyncIterator[PhoneClient]:
        """Another person, with a phone or without one."""
        login = await self.accounts(name or "bob")
        if domain:
            login = Login(
                await self.server.add_user(login.jid.partition("@")[0], login.password, domain), login.password
            )
        if mapped:
            self.host.add(login.jid)
        async with Buddy.online(self.server, login.jid, login.password) as buddy:
            yield PhoneClient(buddy, self.service)


class Host(FakeHost):
    """The phones of accounts that are made as they are needed."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.nodes, self.states, self.watchers = set(), set(), {}, set()

    def add(self, jid: str) -> None:
        self.users.add(jid)
        self.watchers.add(jid)
        local = jid.partition("@")[0]
        self.nodes |= {jid, local, local.replace("\\27", "'")}


def component_settings(server: XmppServer) -> AccountSettings:
    return AccountSettings(
        type="component",
        jid=server.component_domain,
        password=SecretStr(server.component_secret),
        server="127.0.0.1",
        port=server.component_port,
    )


@contextlib.asynccontextmanager
async def serving(
    account: AccountSettings, host: FakeHost, table: dict[str, str]
) -> AsyncIterator[tuple[Session, PhonePort]]:
    """A session that serves the phones of a host."""
    session = make_session("main", account)
    port = session.serve_phones(host, table)
    await session.start()
    try:
        await session.ready(20)
        yield session, port
    finally:
        await session.stop(3.0)


@pytest.fixture(scope="session")
def phone_prosody(rootfs: Rootfs) -> Iterator[Prosody]:
    """A Prosody that lists a client's login as the phones."""
    with Prosody(rootfs, Options(phone="pbx@xmpp.test/pbx")) as server:
        yield server


@pytest.fixture(params=["prosody client", "ejabberd client", "prosody component", "ejabberd component"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    name, _, kind = request.param.partition(" ")
    server: XmppServer = request.getfixturevalue("phone_prosody" if request.param == "prosody client" else name)
    accounts = Accounts(server)
    if kind == "component":
        account, service = component_settings(server), server.component_domain
    else:
        login = await _pbx(server)
        service = f"{login.jid}/pbx"
        account = AccountSettings(
            jid=service,
            password=SecretStr(login.password),
            server="127.0.0.1",
            port=server.port,
            ca_file=server.ca_file,
        )
    host = Host()
    person = await accounts("alice")
    host.add(person.jid)
    host.states["alice"] = FREE
    async with (
        serving(account, host, {}) as (session, port),
        Buddy.online(server, person.jid, person.password, resource="Spark") as alice,
    ):
        yield House(server, session, host, port, service, accounts, person, PhoneClient(alice, service))


_pbx_logins: dict[int, Login] = {}


async def _pbx(server: XmppServer) -> Login:
    """Return the one account that Prosody lists; there it outlives the test."""
    if id(server) not in _pbx_logins:
        _pbx_logins[id(server)] = Login(await server.add_user("pbx", "long-and-secret"), "long-and-secret")
    return _pbx_logins[id(server)]


class TestDiscovery:
    async def test_the_service_is_found(self, house: House) -> None:
        """R1. What ejabberd lists has no names, and a client's login is not listed there at all."""
        items = await house.alice.items(house.server.domain)
        if isinstance(house.server, Prosody):
            assert items[house.service] == "phone"
        else:
            assert "phone" not in items.values()

    async def test_the_service(self, house: House) -> None:
        """R2."""
        identities, features = await house.alice.info()
        assert identities[0] == IDENTITY
        assert {INFO, "jabber:iq:version", PAYLOAD, "urn:x-phone:test"} <= features
        reply = await house.alice.ask("<query xmlns='jabber:iq:version'/>", "get")
        assert reply.findtext(".//{jabber:iq:version}name") == "agi-xmpp"

    async def test_who_has_a_phone(self, house: House) -> None:
        """R3, R4, R5."""
        alice = house.alice.buddy.jid
        for node in (alice.partition("@")[0], alice, alice.upper()):
            assert await house.alice.info(node) == ([IDENTITY], {INFO, FEATURE, PAYLOAD})
        for node in ("zoe", f"zoe@{house.server.domain}", alice.replace("@", "@evil."), "no node <of> 'ours'"):
            assert await house.alice.info(node) == ([IDENTITY], {INFO})
        async with house.person("d\\27artagnan") as artagnan:
            local = artagnan.buddy.jid.partition("@")[0]
            for node in (local, local.replace("\\27", "'"), artagnan.buddy.jid):
                assert await artagnan.info(node) == ([IDENTITY], {INFO, FEATURE, PAYLOAD})

    async def test_an_endless_node(self, house: House) -> None:
        query = f"<query xmlns='{INFO}' node='{'x' * 3_000}'/>"
        assert (await house.alice.ask(query, "get")).get("type") == "error"
        assert (await house.alice.info())[0][0] == IDENTITY

    async def test_the_list_of_a_component(self, house: House) -> None:
        items = await house.alice.items()
        if "@" not in house.service:  # a component
            assert items == {f"alice@{house.service}": "Alice"}
        else:
            assert items == {}
        async with house.person(mapped=False) as eve:
            assert await eve.items() == {}
            assert await eve.info(house.alice.buddy.jid) == ([IDENTITY], {INFO})


#: What clients really send: Spark 3.1, Spark 2.8 with its action in an action, Coccinella.
CLIENTS = {
    "Spark 3.1 DIAL": (
        f"<iq to='{{to}}' id='XYZ12-31' type='set'><phone-action {NS} type='DIAL'><extension>601</extension>"
        "</phone-action></iq>",
        PhoneAction(ActionType.DIAL, extension="601"),
    ),
    "Spark 3.1 DIAL jid": (
        f"<iq to='{{to}}' id='XYZ12-32' type='set'><phone-action {NS} type='DIAL'><jid>bob@example.com</jid>"
        "</phone-action></iq>",
        PhoneAction(ActionType.DIAL, jid="bob@example.com"),
    ),
    "Spark 2.8 DIAL": (
        f"<iq to='{{to}}' id='5JBsD-1' type='set'><phone-action {NS}><phone-action "
        'xmlns="http://jivesoftware.com/xmlns/phone"  type="DIAL" ><extension>601</extension></phone-action>'
        "</phone-action></iq>",
        PhoneAction(ActionType.DIAL, extension="601"),
    ),
    "Spark 2.8 FORWARD": (
        f"<iq to='{{to}}' id='5JBsD-3' type='set'><phone-action {NS}><phone-action "
        'xmlns="http://jivesoftware.com/xmlns/phone"  type="FORWARD" id="1795245342.1"  ><extension>103</extension>'
        "</phone-action></phone-action></iq>",
        PhoneAction(ActionType.FORWARD, extension="103", call_id="1795245342.1"),
    ),
    "Coccinella FORWARD": (
        f"<iq to='{{to}}' id='1007' type='set'><phone-action {NS} id='1795245342.1' type='FORWARD'>"
        "<jid>carol@example.com</jid></phone-action></iq>",
        PhoneAction(ActionType.FORWARD, jid="carol@example.com", call_id="1795245342.1"),
    ),
    "FORWARD with callID": (
        f"<iq to='{{to}}' id='f1' type='set'><phone-action {NS} callID='1795245342.1' type='FORWARD'>"
        "<extension>103</extension></phone-action></iq>",
        PhoneAction(ActionType.FORWARD, extension="103", call_id="1795245342.1"),
    ),
}

#: Payload, type of the IQ, and what comes back.
WRONG = [
    (
        f"<phone-action {NS} type='dial'><extension>1</extension></phone-action>",
        "set",
        "cancel feature-not-implemented",
    ),
    (f"<phone-action {NS} type='INVITE'/>", "set", "cancel feature-not-implemented"),
    (f"<phone-action {NS}><extension>1</extension></phone-action>", "set", "modify bad-request"),
    (f"<phone-action {NS} type='DIAL'/>", "set", "modify bad-request"),
    (
        f"<phone-action {NS} type='DIAL'><extension>1</extension><jid>a@b</jid></phone-action>",
        "set",
        "modify bad-request",
    ),
    (f"<phone-action {NS} type='DIAL'><extension/></phone-action>", "set", "modify bad-request"),
    (
        f"<phone-action {NS} type='DIAL'><extension>{'1' * 10_000}</extension></phone-action>",
        "set",
        "modify bad-request",
    ),
    (
        f"<phone-action {NS} type='DIAL'><extension>1&#13;&#10;Action: x</extension></phone-action>",
        "set",
        "modify bad-request",
    ),
    (f"<phone-action {NS} type='DIAL'><extension>1<b/>2</extension></phone-action>", "set", "modify bad-request"),
    (f"<phone-action {NS} type='FORWARD'><extension>1</extension></phone-action>", "set", "modify bad-request"),
    (f"<phone-action {NS} type='DIAL'><extension>1</extension></phone-action>", "get", "modify bad-request"),
]

DIAL = f"<phone-action {NS} type='DIAL'><extension>601</extension></phone-action>"


class TestActions:
    async def test_what_clients_really_send(self, house: House) -> None:
        """R6, R7, R8, R9."""
        for request, action in CLIENTS.values():
            house.host.acted.clear()
            assert outcome(await house.alice.send(request)) == action.type
            ((who, acted),) = house.host.acted
            assert (str(who), acted) == (house.alice.buddy.full_jid, action)

    async def test_what_makes_no_sense(self, house: House) -> None:
        """R9, R10, R13."""
        for payload, kind, expected in WRONG:
            assert outcome(await house.alice.ask(payload, kind)) == expected, payload[:200]
        assert not house.host.acted
        assert outcome(await house.alice.ask(DIAL)) == "DIAL"

    async def test_strangers(self, house: House) -> None:
        """R11, R12."""
        local = house.alice.buddy.jid.partition("@")[0]
        async with house.person(mapped=False) as eve:
            for payload, kind, _ in [(DIAL, "set", ""), *WRONG]:
                assert outcome(await eve.ask(payload, kind)) == "auth forbidden"
        login = Login(
            await house.server.add_user(local, "secret-enough", house.server.impostor_domain), "secret-enough"
        )
        async with Buddy.online(house.server, login.jid, login.password) as buddy:
            impostor = PhoneClient(buddy, house.service)
            assert outcome(await impostor.ask(DIAL)) == "auth forbidden"
            assert (await impostor.info(local))[1] == {INFO}
        assert not house.host.acted

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [("item-not-found", "cancel item-not-found"), ("remote-server-timeout", "wait remote-server-timeout")],
    )
    async def test_what_is_refused(self, house: House, condition: str, expected: str) -> None:
        """R9 (a foreign call), R14."""
        house.host.refuse = Refused("No such call: c-1", condition)
        assert outcome(await house.alice.ask(DIAL)) == expected


async def test_events(house: House) -> None:
    """They reach each client of the user, are stored nowhere, and all have the same form."""
    who = house.alice.buddy.jid
    async with Buddy.online(house.server, who, house.login.password, resource="phone") as other:
        for kind in EventType:
            house.port.send_event(Jid(*who.split("@")), PhoneEvent(kind, "c-1.0", "PJSIP/102", "101", "Alice (101)"))
        for client in (house.alice.buddy, other):
            heard = [await client.hears(lambda message: "phone-event" in message.xml) for _ in EventType]
            assert {message.type for message in heard} == {"headline"}
            assert {message.sender.partition("/")[0] for message in heard} == {house.service.partition("/")[0]}
            assert len({message.id for message in heard}) == len(heard)
            assert not any(message.body for message in heard)
            events = [ET.fromstring(message.xml).findall(f"{PHONE}phone-event") for message in heard]
            assert [event.get("type") for (event,) in events] == list(EventType)
            assert [event.get("status") for (event,) in events] == list(EventType)
            assert {(event.get("callID"), event.get("id"), event.get("device")) for (event,) in events} == {
                ("c-1.0", "c-1.0", "PJSIP/102")
            }
            assert [event.findtext(f"{PHONE}callerID") for (event,) in events] == ["101", "101", "101", None]
            assert [event.findtext(f"{PHONE}callerIDName") for (event,) in events] == [
                "Alice (101)",
                "Alice (101)",
                None,
                None,
            ]


class Watcher:
    """Somebody who has the phone contact alice in the roster.

    Args:
        client: a user's.
        contact: its bare JID.
    """

    def __init__(self, client: PhoneClient, contact: str) -> None:
        self.buddy = client.buddy
        self.contact = contact

    async def sees(self, kind: str = "", show: str = "") -> ET.Element:
        """Wait for a presence of the contact."""
        seen = await self.buddy.sees(
            lambda seen: seen.sender.partition("/")[0] == self.contact and (seen.type, seen.show) == (kind, show)
        )
        return ET.fromstring(seen.xml)


@pytest.fixture(params=["prosody", "ejabberd"])
async def component(request: pytest.FixtureRequest) -> XmppServer:
    server: XmppServer = request.getfixturevalue(request.param)
    return server


async def test_phone_contacts(component: XmppServer) -> None:
    host, table, accounts = Host(), dict[str, str](), Accounts(component)
    bob, eve = await accounts("bob"), await accounts("eve")
    host.add(bob.jid)
    host.states["alice"] = FREE
    contact = f"alice@{component.component_domain}"
    async with (
        Buddy.online(component, bob.jid, bob.password) as bobs,
        Buddy.online(component, eve.jid, eve.password) as eves,
    ):
        client = PhoneClient(bobs, component.component_domain)
        watcher = Watcher(client, contact)
        async with serving(component_settings(component), host, table) as (_, port):
            eves.subscribe(contact)
            await eves.sees(lambda seen: seen.sender == contact and seen.type == "unsubscribed")
            bobs.subscribe(contact)
            await watcher.sees("subscribed")
            await watcher.sees()
            assert list(table) == [f"alice {bob.jid}"]

            host.states["alice"] = TALKING
            port.contact_changed("alice")
            presence = await watcher.sees(show="away")
            assert presence.get("from") == f"{contact}/PJSIP-101"
            assert presence.findtext(f"{CLIENT}status") == "On the phone"
            assert presence.find(f"{PHONE}phone-status[@status='ON_PHONE']") is not None
            caps = presence.find("{http://jabber.org/protocol/caps}c")
            assert caps is not None
            # The server of the watcher asks, and compares the hash, as clients do.
            identities, features = await client.info(f"{caps.get('node')}#{caps.get('ver')}", f"{contact}/PJSIP-101")
            assert identities == [("client", "phone", "phone")]
            assert "http://jabber.org/protocol/commands" in features

            # A new login of the watcher: their server probes.
            async with Buddy.online(component, bob.jid, bob.password, resource="other") as others:
                await Watcher(PhoneClient(others, ""), contact).sees(show="away")
        await watcher.sees("unavailable")  # the service has stopped
        host.states["alice"] = FREE
        async with serving(component_settings(component), host, table) as (_, port):
            await watcher.sees()
            bobs.send_raw(f"<presence to='{contact}' type='unsubscribe'/>")
            await watcher.sees("unavailable")
            assert not table
    assert eve.jid not in str(table)


@pytest.mark.parametrize("kind", [Prosody, Ejabberd])
async def test_activity(rootfs: Rootfs, kind: type[XmppServer], caplog: pytest.LogCaptureFixture) -> None:
    """A contact of alice sees that she is on the phone, where the server lets us say so (XEP-0356)."""
    caplog.set_level(logging.INFO, "agi_xmpp")
    with kind(rootfs, Options(privileges=True)) as server:
        await check_activity(server, caplog)


async def check_activity(component: XmppServer, caplog: pytest.LogCaptureFixture) -> None:
    host, accounts = Host(), Accounts(component)
    alice, bob = await accounts("alice"), await accounts("bob")
    async with (
        serving(component_settings(component), host, {}) as (_, port),
        Buddy.online(component, alice.jid, alice.password) as alices,
        Buddy.online(component, bob.jid, bob.password) as bobs,
    ):
        bobs.subscribe(alice.jid)
        await bobs.sees(lambda seen: seen.sender == alice.jid and seen.type == "subscribed")
        alices.subscribe(bob.jid)  # ejabberd learns from his presence what he wants to be told
        await alices.sees(lambda seen: seen.sender == bobs.full_jid and seen.type == "")
        await follow_activity(bobs)
        await until_told(bobs, alices)
        who = Jid(*alice.jid.split("@"))
        port.set_activity(who, "On the phone")
        if isinstance(component, Prosody):
            port.set_activity(who, None)
            told = [record.getMessage() for record in caplog.records if "XEP-0356" in record.getMessage()]
            assert told == [f"account main: {component.domain} has not let us publish activities (XEP-0356)"]
            return
        event = await bobs.hears(lambda message: "<on_the_phone" in message.xml or ":on_the_phone" in message.xml)
        assert event.sender == alice.jid
        assert "On the phone" in event.xml
        port.set_activity(who, None)
        await bobs.hears(lambda message: ACTIVITY in message.xml and not re.search("talking|working", message.xml))


ACTIVITY = "http://jabber.org/protocol/activity"

#: What alice publishes herself.
WORKING = (
    f"<iq type='set' id='working'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{ACTIVITY}'>"
    f"<item id='current'><activity xmlns='{ACTIVITY}'><working/></activity></item></publish></pubsub></iq>"
)


async def until_told(watcher: Buddy, publisher: Buddy) -> None:
    """Wait until a server knows that somebody wants to be told: it asks their client, and says nothing of it."""
    for _ in range(100):
        publisher.send_raw(WORKING)
        with contextlib.suppress(AssertionError):
            await watcher.hears(lambda message: "working" in message.xml, timeout=0.1)
            return
    raise AssertionError(f"{watcher.jid} is told of no activity")


async def follow_activity(buddy: Buddy) -> None:
    """Say in our capabilities that we want to be told of activities (XEP-0163 section 4)."""
    client = buddy._client
    client.register_plugin("xep_0030")
    client.register_plugin("xep_0115")
    client.plugin["xep_0030"].add_feature(f"{ACTIVITY}+notify")
    await client.plugin["xep_0115"].update_caps()
    await buddy.be()
