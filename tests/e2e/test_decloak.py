"""Temporary presence (XEP-0276) and capabilities (XEP-0115) with independent clients, on real servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from agi_xmpp.xmpp.model import Show
from agi_xmpp.xmpp.session import BaseSession
from tests.e2e.sessions import online, own_account, settings
from tests.e2e.test_session_presence import until_seen
from tests.testbed.client import Buddy, Seen
from tests.testbed.office import open_office
from tests.testbed.scene import VARIABLES, Scene
from tests.testbed.service import Account, Service
from tests.testbed.telephony import Exchange
from tests.testbed.xmpp import Accounts, Login, XmppServer

AUDIO = "urn:xmpp:jingle:apps:rtp:audio"
CAPS = "{http://jabber.org/protocol/caps}c"
ASK = "AGI({agi}/jabber_status?decloak=media%s,pbx,%s)"
SHOW = (*VARIABLES, "JABBER_VOICE")
NAMES = [
    "<temppres xmlns='urn:xmpp:temppres:0' reason='media'/>",
    "<decloak xmlns='urn:xmpp:decloak:0' reason='media'/>",
    "<decloak xmlns='http://telepathy.freedesktop.org/xmpp/protocol/decloak' reason='media'/>",
]


def asks(seen: Seen) -> bool:
    return "urn:xmpp:temppres:0" in seen.xml and "urn:xmpp:decloak:0" in seen.xml


def from_us(buddy: Buddy, us: str) -> list[str]:
    """Return what somebody has seen of us so far, in order."""
    return [seen.type for seen in buddy.seen if seen.sender.startswith(us)]


@contextlib.asynccontextmanager
async def person(accounts: Accounts, name: str) -> AsyncIterator[Buddy]:
    """Somebody with a client that is no contact of ours, and does not become one."""
    login = await accounts(name)
    async with Buddy.online(accounts.server, login.jid, login.password, resource="balcony", accepts=False) as buddy:
        yield buddy


class TestVerb:
    """jabber_status?decloak=media from a real dialplan."""

    async def test_a_stranger_answers(self, scene: Scene) -> None:
        async with person(scene.accounts, "juliet") as juliet:
            await juliet.offer(AUDIO)
            call = await scene.run(ASK % ("", juliet.jid), show=SHOW)
            request = await juliet.sees(asks)
            assert request.type == ""
            assert (request.show, request.status) == ("", "")
            assert ElementTree.fromstring(request.xml).find(CAPS) is not None
            juliet.send_raw(f"<presence to='{request.sender}'/>")
            result = await scene.result(call)
            assert (result["JABBER_STATUS"], result["JABBER_STATUS_SHOW"]) == ("1", "online")
            assert (result["JABBER_STATUS_RESOURCE"], result["JABBER_ERROR"]) == ("balcony", "")
            assert result["JABBER_VOICE"] == "1"
            await juliet.sees(lambda seen: seen.sender == request.sender and seen.type == "unavailable")
            call = await scene.run(f"AGI({{agi}}/jabber_status,pbx,{juliet.jid})", show=SHOW)
            assert (await scene.result(call))["JABBER_STATUS"] == "7"
            await juliet.ping(scene.pbx.jid.partition("@")[2])
            assert from_us(juliet, scene.pbx.jid) == ["", "unavailable"]

    async def test_nobody_is_asked_by_default(self, scene: Scene) -> None:
        async with person(scene.accounts, "juliet") as juliet:
            call = await scene.run(
                f"AGI({{agi}}/jabber_status,pbx,{juliet.jid})", f"AGI({{agi}}/jabber_send,pbx,{juliet.jid},mark)"
            )
            assert (await scene.result(call))["JABBER_STATUS"] == "7"
            assert (await juliet.hears()).body == "mark"
            assert from_us(juliet, scene.pbx.jid) == []

    async def test_a_stranger_is_silent_and_messages_go_on_as_ever(self, scene: Scene) -> None:
        async with person(scene.accounts, "juliet") as juliet:
            call = await scene.run(
                ASK % ("&timeout=1", juliet.jid), f"AGI({{agi}}/jabber_send,pbx,{juliet.jid},hello)", show=SHOW
            )
            result = await scene.result(call)
            assert (result["JABBER_STATUS"], result["JABBER_VOICE"], result["JABBER_ERROR"]) == ("7", "", "")
            assert result["JABBER_SEND_STATUS"] == "SENT"
            assert (await juliet.hears()).body == "hello"
            assert from_us(juliet, scene.pbx.jid) == ["", "unavailable"]

    async def test_nobody_of_that_name(self, scene: Scene) -> None:
        call = await scene.run(ASK % ("", f"nobody@{scene.server.domain}"))
        assert (await scene.result(call, 10.0))["JABBER_STATUS"] == "7"

    async def test_the_caller_hangs_up(self, scene: Scene) -> None:
        async with person(scene.accounts, "juliet") as juliet:
            call = await scene.run(ASK % ("&timeout=600", juliet.jid))
            await juliet.sees(asks)
            await call.hangup()
            await juliet.sees(lambda seen: seen.type == "unavailable")
            assert (await scene.result_after_hangup(call))["JABBER_ERROR"] == "the caller hung up"
            await juliet.ping(scene.server.domain)
            assert from_us(juliet, scene.pbx.jid) == ["", "unavailable"]

    async def test_two_calls_share_one_request(self, scene: Scene) -> None:
        async with person(scene.accounts, "juliet") as juliet:
            await scene.load(ASK % ("&timeout=600", juliet.jid))
            first = await scene.asterisk.call("s")
            request = await juliet.sees(asks)
            second = await scene.asterisk.call("s")
            await scene.service.log_says(f"{juliet.jid} is asked for their presence already")
            await first.hangup()
            await scene.result_after_hangup(first)
            juliet.send_raw(f"<presence to='{request.sender}'/>")
            assert (await scene.result(second))["JABBER_STATUS"] == "1"
            await juliet.sees(lambda seen: seen.type == "unavailable")
            await juliet.ping(scene.server.domain)
            assert from_us(juliet, scene.pbx.jid) == ["", "unavailable"]

    @pytest.mark.parametrize("end", ["kill", "stop"])
    async def test_the_service_ends(self, scene: Scene, end: str) -> None:
        """After a crash it is the server that tells it, as soon as the stream cannot be resumed any more."""
        us = await scene.accounts("second")
        account = Account(scene.server, us.jid, us.password, settings={"resume_timeout": 0})
        async with (
            person(scene.accounts, "juliet") as juliet,
            Service({"pbx": account}, agi={"drain_timeout": 0}) as service,
        ):
            await service.online("pbx")
            assert not await scene.asterisk.dialplan(
                "[testbed]\nexten => s,1,NoOp()\n same => n,"
                + (ASK % ("&timeout=600", juliet.jid)).replace("{agi}", service.agi_url)
                + "\n"
            )
            call = await scene.asterisk.call("s")
            await juliet.sees(asks)
            await (service.kill() if end == "kill" else service.stop())
            await juliet.sees(lambda seen: seen.type == "unavailable")
            await call.ended()
            await juliet.ping(scene.server.domain)
            assert from_us(juliet, us.jid) == ["", "unavailable"]

    async def test_with_a_manager_connection_it_lasts_as_long_as_the_call(self, scene: Scene) -> None:
        us = await scene.accounts("second")
        asterisk = scene.asterisk
        manager = {"port": asterisk.ami_port, "username": asterisk.ami_user, "password": asterisk.ami_secret}
        async with (
            person(scene.accounts, "juliet") as juliet,
            Service({"pbx": Account(scene.server, us.jid, us.password)}, sections={"ami": manager}) as service,
        ):
            await service.online("pbx")
            await service.log_says("logged in as " + asterisk.ami_user)
            ask = (ASK % ("", juliet.jid)).replace("{agi}", service.agi_url)
            send = f"AGI({service.agi_url}/jabber_send,pbx,{juliet.jid},still here)"
            await scene.load(ask, ask, send, "UserEvent(Checked,Status: ${JABBER_STATUS})", "Wait(3600)")
            call = await asterisk.call("s")
            request = await juliet.sees(asks)
            juliet.send_raw(f"<presence to='{request.sender}'/>")
            assert (await call.event("Checked"))["Status"] == "1"
            assert (await juliet.hears()).body == "still here"
            assert from_us(juliet, us.jid) == [""]  # asked once, and not hidden yet
            await call.hangup()
            await juliet.sees(lambda seen: seen.type == "unavailable")
            await juliet.ping(scene.server.domain)
            assert from_us(juliet, us.jid) == ["", "unavailable"]


@pytest.fixture(params=["client", "component"])
async def pbx(request: pytest.FixtureRequest, accounts: Accounts) -> Login:
    """Our own account: a client's, and the component."""
    return await own_account(accounts, request.param)


@contextlib.asynccontextmanager
async def answering(accounts: Accounts, pbx: Login, **changes: Any) -> AsyncIterator[BaseSession]:
    async with online(settings(accounts.server, pbx, show="dnd", status="In calls", **changes)) as session:
        await session.services(accounts.server.domain)  # whose answer says that our presence has come
        yield session


class TestAsking:
    """We ask, as a client and as a component."""

    async def test_somebody_answers_with_two_clients(self, accounts: Accounts, pbx: Login) -> None:
        login = await accounts("juliet")
        async with (
            answering(accounts, pbx) as session,
            person(accounts, "nurse") as nurse,
            Buddy.online(accounts.server, login.jid, login.password, resource="balcony", accepts=False) as balcony,
            Buddy.online(accounts.server, login.jid, login.password, resource="garden", accepts=False) as garden,
        ):
            share = session.share_presence(login.jid, "media")
            assert share is not None
            for client in (balcony, garden):
                request = await client.sees(asks)
                assert (request.sender, request.show, request.status) == (f"{pbx.jid}/pbx", "", "")
            nurse.send_raw(f"<presence to='{request.sender}'/>")  # who was not asked
            garden.send_raw(f"<presence to='{request.sender}'><show>xa</show></presence>")
            seen = await share.presence(10)
            assert (seen.show, seen.resource) == (Show.XA, "garden")
            assert (await session.presence(nurse.jid)).show is Show.NOT_IN_ROSTER
            share.end()
            for client in (balcony, garden):
                await client.sees(lambda seen: seen.type == "unavailable")
                assert from_us(client, pbx.jid) == ["", "unavailable"]
            assert from_us(nurse, pbx.jid) == []


class TestAsked:
    """Others ask us."""

    async def test_a_subscription_that_asks_as_well_is_a_subscription(self, accounts: Accounts, pbx: Login) -> None:
        async with (
            person(accounts, "juliet") as juliet,
            answering(accounts, pbx, decloak_answer=[accounts.server.domain]) as session,
        ):
            juliet.send_raw(f"<presence to='{pbx.jid}' type='subscribe'>{NAMES[0]}</presence>")
            await juliet.sees(lambda seen: seen.type == "unsubscribed")
            session.queue_message(juliet.jid, "mark")
            await juliet.hears_nothing_until("mark")
            assert "" not in from_us(juliet, pbx.jid)

    @pytest.mark.parametrize("name", NAMES, ids=["temppres", "decloak", "telepathy"])
    async def test_who_may_sees_one_minimal_presence_and_its_end(
        self, accounts: Accounts, pbx: Login, name: str
    ) -> None:
        async with person(accounts, "juliet") as juliet:
            async with answering(accounts, pbx, decloak_answer=[accounts.server.domain]) as session:
                juliet.send_raw(f"<presence to='{pbx.jid}'>{name}</presence>")
                answer = await juliet.sees(lambda seen: seen.sender == f"{pbx.jid}/pbx")
                xml = ElementTree.fromstring(answer.xml)
                assert (answer.type, xml.get("to")) == ("", juliet.full_jid)
                tags = {child.tag for child in xml}
                assert CAPS in tags
                assert not tags & {f"{{jabber:client}}{part}" for part in ("show", "status", "priority")}
                juliet.send_raw(f"<presence to='{pbx.jid}' type='unavailable'/>")
                await juliet.sees(lambda seen: seen.sender == f"{pbx.jid}/pbx" and seen.type == "unavailable")
                session.queue_message(juliet.jid, "mark")
                await juliet.hears_nothing_until("mark")
            await juliet.ping(accounts.server.domain)
            assert from_us(juliet, pbx.jid) == ["", "unavailable"]

    @pytest.mark.parametrize("changes", [{}, {"decloak_answer": ["other.test"]}], ids=["default", "somebody else"])
    async def test_who_may_not_sees_nothing(self, accounts: Accounts, pbx: Login, changes: dict[str, Any]) -> None:
        async with person(accounts, "juliet") as juliet, answering(accounts, pbx, **changes) as session:
            for name in NAMES:
                juliet.send_raw(f"<presence to='{pbx.jid}'>{name}</presence>")
            juliet.say(pbx.jid, "mark")
            await session.receive_message(juliet.jid, 10)
            session.queue_message(juliet.jid, "mark")
            await juliet.hears_nothing_until("mark")
            assert from_us(juliet, pbx.jid) == []

    async def test_our_end_is_theirs(self, accounts: Accounts, pbx: Login) -> None:
        async with person(accounts, "juliet") as juliet:
            async with answering(accounts, pbx, decloak_answer=[juliet.jid]):
                juliet.send_raw(f"<presence to='{pbx.jid}'>{NAMES[0]}</presence>")
                await juliet.sees(lambda seen: seen.sender == f"{pbx.jid}/pbx")
            await juliet.sees(lambda seen: seen.sender == f"{pbx.jid}/pbx" and seen.type == "unavailable")
            await juliet.ping(accounts.server.domain)
            assert from_us(juliet, pbx.jid) == ["", "unavailable"]


async def test_two_of_us_find_each_other(accounts: Accounts) -> None:
    """Both sides are ours here: what one writes the other reads."""
    one, other = await accounts("one"), await accounts("other")
    answers = Account(accounts.server, one.jid, one.password, settings={"decloak_answer": [other.jid]})
    async with Service({"pbx": answers}) as service, online(settings(accounts.server, other)) as session:
        await service.online("pbx")
        await service.command("send", "pbx", other.jid, "mark")  # behind our presence
        await session.receive_message(one.jid, 10)
        share = session.share_presence(one.jid, "media")
        assert share is not None
        assert (await share.presence(10)).show is Show.ONLINE
        assert await session.voice(one.jid, 10) is False  # our own hash is true, and we are no telephone
        share.end()


class TestVoice:
    """Whether a buddy's client can take a call."""

    @contextlib.asynccontextmanager
    async def bob(self, accounts: Accounts, pbx: Login) -> AsyncIterator[tuple[BaseSession, Buddy]]:
        login = await accounts("bob")
        async with (
            online(settings(accounts.server, pbx, buddies=[login.jid])) as session,
            Buddy.online(accounts.server, login.jid, login.password) as bob,
        ):
            await until_seen(session, bob.jid, Show.ONLINE)
            yield session, bob

    @pytest.mark.parametrize(("features", "voice"), [([AUDIO], True), ([], False)])
    async def test_a_client_with_a_hash(self, accounts: Accounts, pbx: Login, features: list[str], voice: bool) -> None:
        async with self.bob(accounts, pbx) as (session, bob):
            await bob.offer(*features)
            await until_hash(session, bob)
            assert await session.voice(bob.jid, 10) is voice
            assert await session.voice(bob.jid, 0) is voice  # known by now

    async def test_a_forged_hash(self, accounts: Accounts, pbx: Login, caplog: pytest.LogCaptureFixture) -> None:
        async with self.bob(accounts, pbx) as (session, bob):
            await bob.claim("urn:forged#bm90IHRoZSBoYXNo", AUDIO)
            bob.send_raw(
                "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:forged'"
                " ver='bm90IHRoZSBoYXNo'/></presence>"
            )
            await until_hash(session, bob)
            assert await session.voice(bob.jid, 10) is None
            assert f"the capabilities of {bob.full_jid} are not those that their hash says" in caplog.text

    async def test_the_old_form_and_none_at_all(self, accounts: Accounts, pbx: Login) -> None:
        async with self.bob(accounts, pbx) as (session, bob):
            assert await session.voice(bob.jid, 10) is False  # it was asked
            bob.send_raw(
                "<presence><c xmlns='http://jabber.org/protocol/caps' node='urn:old' ver='1.0' ext='voice-v1'/>"
                "</presence>"
            )
            await until_hash(session, bob)
            assert await session.voice(bob.jid, 0) is True


async def until_hash(session: BaseSession, bob: Buddy) -> None:
    """Wait until somebody's presence with capabilities has come."""
    async with asyncio.timeout(10):
        while (await session.presence(bob.jid)).caps is None:
            await session._news.wait()


class TestGateway:
    """The phone contacts of a component, and numbers at its domain."""

    @pytest.fixture(params=["prosody", "ejabberd"])
    def server(self, request: pytest.FixtureRequest) -> XmppServer:
        server: XmppServer = request.getfixturevalue(request.param)
        return server

    async def test_contacts_numbers_strangers_and_a_subscription(
        self, exchange: Exchange, server: XmppServer, tmp_path: Path
    ) -> None:
        async with open_office(exchange, server, "component", tmp_path) as office:
            await office.phones("102")
            alice, bob = office["alice"].buddy, office["bob"]
            contact = f"{bob.jid.partition('@')[0]}@{office.jid}"
            async with person(office.accounts, "eve") as eve:
                for who in (alice, eve):
                    for to in (contact, f"600@{office.jid}", f"999@{office.jid}"):
                        who.send_raw(f"<presence to='{to}'>{NAMES[0]}</presence>")
                    await who.ping(office.jid)
                assert from_us(eve, contact) == from_us(eve, f"600@{office.jid}") == []
                assert from_us(alice, f"999@{office.jid}") == []
                number = await alice.sees(lambda seen: seen.sender == f"600@{office.jid}/phone")
                shown = await alice.sees(lambda seen: seen.sender.startswith(contact))
                for seen in (number, shown):
                    xml = ElementTree.fromstring(seen.xml)
                    assert (seen.type, xml.get("to")) == ("", alice.full_jid)
                    assert CAPS in {child.tag for child in xml}
                    assert (seen.show, seen.status) == ("", "")
                info = await alice.info(number.sender, node_of(number))
                assert "http://jivesoftware.com/xmlns/phone" in info
                alice.send_raw(f"<presence to='600@{office.jid}' type='unavailable'/>")
                await alice.sees(lambda seen: seen.sender == number.sender and seen.type == "unavailable")
                alice.subscribe(contact)
                await alice.sees(lambda seen: seen.type == "subscribed" and seen.sender == contact)
                await alice.sees(lambda seen: seen.sender == shown.sender and seen.type == "")
                await alice.ping(office.jid)
                assert "unavailable" not in from_us(alice, contact)


def node_of(seen: Seen) -> str:
    caps = ElementTree.fromstring(seen.xml).find(CAPS)
    assert caps is not None
    return f"{caps.get('node')}#{caps.get('ver')}"
