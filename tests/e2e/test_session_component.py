"""A component (XEP-0114) on real servers: what only it does, and what becomes of it when the network fails.

What it has in common with a client's login is tested with both in test_session_messages.py, test_session_faults.py and
test_rooms.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from agi_xmpp.config import load
from agi_xmpp.diagnose import check_account
from agi_xmpp.errors import LoginFailed, NotConfirmed, NotConnected, TlsFailed, XmppError
from agi_xmpp.xmpp.model import SessionState, Show
from tests.e2e.sessions import beside_bob, component, online, running, settings, until_state
from tests.e2e.test_session_presence import until_seen
from tests.testbed.client import Buddy
from tests.testbed.proxy import Proxy
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Ejabberd, Login, Prosody, XmppServer


@pytest.fixture
def pbx(xmpp_server: XmppServer) -> Login:
    return component(xmpp_server)


@pytest.fixture
async def proxy(xmpp_server: XmppServer) -> AsyncIterator[Proxy]:
    """Stands before the server's port for components."""
    async with Proxy(xmpp_server.component_port) as between:
        yield between


async def failure(server: XmppServer, account: Login, **changes: Any) -> XmppError:
    async with running(settings(server, account, **changes)) as session:
        with pytest.raises(XmppError) as caught:
            await session.ready(20, patient=False)
        return caught.value


async def test_a_wrong_secret_is_told_once_and_mended_without_a_restart(
    accounts: Accounts, pbx: Login, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = tmp_path / "secret"
    secret.write_text("not-the-secret")
    changes: dict[str, Any] = {"password": None, "password_file": secret, "login_retry": 1}
    async with running(settings(accounts.server, pbx, **changes), name="phone") as session:
        with pytest.raises(LoginFailed, match=r"refuses the secret of the component pbx\.xmpp\.test"):
            await session.ready(20, patient=False)
        await until_state(session, SessionState.CONNECTING)
        await until_state(session, SessionState.WAITING)
        complaints = [r for r in caplog.records if r.levelno >= logging.WARNING and "agi_xmpp" in r.name]
        assert len(complaints) == 1
        secret.write_text(pbx.password)
        await session.ready(20)
    assert pbx.password not in caplog.text
    assert "not-the-secret" not in caplog.text


async def test_a_domain_that_the_server_does_not_have(accounts: Accounts, pbx: Login) -> None:
    error = await failure(accounts.server, pbx, jid="other.xmpp.test")
    assert "the component other.xmpp.test" in str(error) or "no component other.xmpp.test" in str(error)


async def test_the_port_for_clients(accounts: Accounts, pbx: Login) -> None:
    error = await failure(accounts.server, pbx, port=accounts.server.port)
    assert isinstance(error, NotConnected)
    assert "must be the port for components" in str(error)


async def test_a_port_without_tls(accounts: Accounts, pbx: Login) -> None:
    error = await failure(accounts.server, pbx, tls="direct")
    assert isinstance(error, TlsFailed)
    assert 'tls = "none"' in str(error)


async def test_tls_where_the_server_has_it(ejabberd: Ejabberd) -> None:
    pbx, port = component(ejabberd), ejabberd.component_tls_port
    async with online(settings(ejabberd, pbx, tls="direct", port=port, ca_file=ejabberd.ca_file)) as session:
        assert session.info().tls.startswith("TLSv1.3 TLS_")
    error = await failure(ejabberd, pbx, tls="direct", port=port)
    assert isinstance(error, TlsFailed)
    assert "name its file in ca_file" in str(error)
    error = await failure(
        ejabberd, pbx, tls="direct", port=port, ca_file=ejabberd.ca_file, jid="other.test", password="another-one"
    )
    assert isinstance(error, TlsFailed)
    assert "is not valid for other.test" in str(error)


# Presence


async def test_a_buddy_and_we_see_each_other_over_restarts_of_ours(accounts: Accounts, pbx: Login) -> None:
    bob = await accounts("bob")
    server = accounts.server
    account = settings(server, pbx, buddies=[bob.jid], show="dnd", status="In calls")
    us = f"{pbx.jid}/pbx"
    async with Buddy.online(server, bob.jid, bob.password) as buddy:
        async with online(account) as session:
            await buddy.sees(lambda seen: seen.type == "subscribe" and seen.sender == pbx.jid)
            await until_seen(session, bob.jid, Show.ONLINE, "phone")
            buddy.subscribe(pbx.jid)
            await buddy.sees(lambda seen: seen.type == "subscribed" and seen.sender == pbx.jid)
            ours = await buddy.sees(lambda seen: seen.sender == us and seen.show == "dnd")
            assert ours.status == "In calls"
            await buddy.be("away", "lunch", 1)
            await until_seen(session, bob.jid, Show.AWAY)
        await buddy.sees(lambda seen: seen.sender == us and seen.type == "unavailable")
        async with online(account) as session:
            assert (await session.presence(bob.jid, timeout=10)).show is Show.AWAY
            await buddy.sees(lambda seen: seen.sender == us and seen.type == "")
    async with online(account) as session:
        assert (await session.presence(bob.jid, timeout=10)).show is Show.OFFLINE
        async with Buddy.online(server, bob.jid, bob.password) as buddy:  # whose server asks us at login
            await buddy.sees(lambda seen: seen.sender == us and seen.show == "dnd")
            await until_seen(session, bob.jid, Show.ONLINE)
        await until_seen(session, bob.jid, Show.OFFLINE)


@pytest.mark.parametrize(("policy", "granted"), [("accept", True), ("buddies", False), ("deny", False)])
async def test_a_stranger_who_wants_to_see_us(accounts: Accounts, pbx: Login, policy: str, granted: bool) -> None:
    eve = await accounts("eve")
    async with (
        online(settings(accounts.server, pbx, subscriptions=policy)),
        Buddy.online(accounts.server, eve.jid, eve.password) as stranger,
    ):
        stranger.subscribe(pbx.jid)
        answer = await stranger.sees(lambda seen: seen.type in ("subscribed", "unsubscribed"))
        assert answer.type == ("subscribed" if granted else "unsubscribed")
        if granted:
            await stranger.sees(lambda seen: seen.sender == f"{pbx.jid}/pbx" and seen.type == "")


async def test_who_is_no_contact_is_not_in_the_roster(accounts: Accounts, pbx: Login) -> None:
    eve = await accounts("eve")
    async with (
        online(settings(accounts.server, pbx)) as session,
        Buddy.online(accounts.server, eve.jid, eve.password) as stranger,
    ):
        stranger.send_raw(f"<presence to='{session.info().jid}'/>")  # shows itself all the same
        stranger.say(session.info().jid, "mark")
        await session.receive_message(eve.jid, 10)
        assert (await session.presence(eve.jid, timeout=10)).show is Show.NOT_IN_ROSTER


# The other addresses of the domain


async def test_what_is_sent_to_whom(accounts: Accounts, pbx: Login) -> None:
    domain = accounts.server.component_domain
    async with beside_bob(accounts, pbx, buddies=[]) as (session, bob):
        for to in (pbx.jid, f"{pbx.jid}/anything", domain):
            bob.say(to, "hello")
            assert str((await session.receive_message(bob.jid, 10)).recipient) == to
        bob.say(f"nobody@{domain}", "hello")
        back = await bob.hears(lambda message: message.type == "error")
        assert (back.sender, back.error) == (f"nobody@{domain}", "service-unavailable")
        bob.subscribe(f"nobody@{domain}")
        await bob.sees(lambda seen: seen.sender == f"nobody@{domain}" and seen.type == "unsubscribed")
        for to in (domain, f"1001@{domain}/desk"):
            await bob._client.plugin["xep_0199"].ping(to, timeout=10)


# Faults


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_a_cut_connection_is_made_anew_and_nothing_that_waits_is_lost(
    accounts: Accounts, pbx: Login, proxy: Proxy, how: Literal["rst", "fin"]
) -> None:
    async with beside_bob(accounts, pbx, port=proxy.port) as (session, bob):
        await until_seen(session, bob.jid, Show.ONLINE)
        await proxy.refuse()
        proxy.cut(how)
        await until_state(session, SessionState.WAITING)
        with pytest.raises(NotConnected):
            await session.presence(bob.jid)
        sending = asyncio.create_task(session.send_message(bob.jid, "sent while down", timeout=20))
        waiting = asyncio.create_task(session.receive_message(bob.jid, 20))
        await proxy.accept()
        await sending
        await bob.hears("sent while down")
        bob.say(session.info().jid, "heard")
        assert (await waiting).body == "heard"
        assert session.info().connects == 2
        assert (await session.presence(bob.jid, timeout=10)).show is Show.ONLINE


async def test_a_silent_network_is_noticed_in_time(accounts: Accounts, pbx: Login, proxy: Proxy) -> None:
    timing = {"keepalive": 1, "keepalive_timeout": 1, "connect_timeout": 2}
    async with online(settings(accounts.server, pbx, port=proxy.port, **timing)) as session:
        proxy.silence()
        with pytest.raises(NotConfirmed):
            await session.send_message("bob@xmpp.test", "x", timeout=0.3)
        await until_state(session, SessionState.WAITING)
        proxy.cut()
        proxy.resume()
        await session.ready(20)


async def test_a_server_that_is_there_is_not_taken_for_dead(accounts: Accounts, pbx: Login) -> None:
    async with online(settings(accounts.server, pbx, keepalive=1, keepalive_timeout=2)) as session:
        came = asyncio.Event()
        receive = session._link._client.stream._process_incoming_iq
        answers = 0

        def count(iq: Any) -> None:
            nonlocal answers
            answers += iq.type_.is_response
            receive(iq)
            if answers == 4:  # without them it would have been left after 3 s
                came.set()

        session._link._client.stream._process_incoming_iq = count
        await asyncio.wait_for(came.wait(), 20)
        assert session.info().connects == 1


async def test_stop_into_silence_ends_in_time(accounts: Accounts, pbx: Login, proxy: Proxy) -> None:
    async with online(settings(accounts.server, pbx, port=proxy.port)) as session:
        proxy.silence()
        async with asyncio.timeout(10):
            await session.stop(1.0)
        proxy.cut()
        proxy.resume()


# A second connection


async def test_prosody_refuses_a_second_connection_and_the_first_goes_on(prosody: Prosody) -> None:
    pbx = component(prosody)
    async with online(settings(prosody, pbx)) as session:
        error = await failure(prosody, pbx)
        assert "has a connection of the component pbx.xmpp.test already (conflict)" in str(error)
        assert (session.info().state, session.info().connects) == (SessionState.ONLINE, 1)


async def test_check_leaves_a_component_in_use_alone(accounts: Accounts, pbx: Login) -> None:
    server = accounts.server
    account = Account(
        server,
        pbx.jid,
        pbx.password,
        tls="none",
        port=server.component_port,
        settings={"type": "component", "ca_file": None},
    )
    said: list[str] = []
    async with Service({"phone": account}) as service:
        await service.online("phone")
        control = load(service.config_file).control.socket
        assert await check_account("phone", settings(server, pbx), said.append, control)
        assert said == [f"phone: in use: the running service is connected as {pbx.jid}/agi-xmpp; not encrypted"]
    assert await check_account("phone", settings(server, pbx), said.append, control)
    assert said[1] == f"phone: logged in as {pbx.jid}/pbx by password; not encrypted"
