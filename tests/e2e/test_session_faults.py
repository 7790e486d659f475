"""What becomes of a session when the network or the server fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from agi_xmpp.errors import NotConfirmed, NotConnected
from agi_xmpp.xmpp.model import SessionState, Show
from tests.e2e.sessions import beside_bob, online, own_account, running, settings, until_state
from tests.testbed.client import Buddy
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.xmpp import Accounts, Ejabberd, Options, Prosody, XmppServer

SERVERS = pytest.mark.parametrize("make", [Prosody, Ejabberd])


@pytest.fixture
async def proxy(xmpp_server: XmppServer) -> AsyncIterator[Proxy]:
    """Stands before the server of the test."""
    async with Proxy(xmpp_server.port) as between:
        yield between


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_a_cut_connection_is_resumed_and_nothing_is_lost(
    accounts: Accounts, proxy: Proxy, how: Literal["rst", "fin"]
) -> None:
    async with beside_bob(accounts, await accounts("pbx"), port=proxy.port) as (session, bob):
        us = session.info().jid
        waiting = asyncio.create_task(session.receive_message(bob.jid, 20))
        await proxy.refuse()
        proxy.cut(how)
        await until_state(session, SessionState.WAITING)
        sending = asyncio.create_task(session.send_message(bob.jid, "sent while down", timeout=20))
        bob.say(us, "said while down")
        await proxy.accept()
        assert (await waiting).body == "said while down"
        await sending
        await bob.hears_nothing_until("sent while down")
        assert session.info().connects == 1  # the same session: nobody saw us leave
        assert not any(seen.type == "unavailable" for seen in bob.seen)


async def test_a_silent_network_is_noticed_in_time(accounts: Accounts, proxy: Proxy) -> None:
    # ejabberd takes a second to resume a stream
    timing = {"keepalive": 1, "keepalive_timeout": 1, "connect_timeout": 2}
    async with beside_bob(accounts, await accounts("pbx"), port=proxy.port, **timing) as (session, bob):
        proxy.silence()
        sending = asyncio.create_task(session.send_message(bob.jid, "x", timeout=30))
        await until_state(session, SessionState.SUSPENDED)
        await until_state(session, SessionState.WAITING)
        assert session.info().error == f"127.0.0.1:{proxy.port} did not answer within 2 s"
        proxy.cut()
        proxy.resume()
        await sending
        await bob.hears("x")


async def test_a_send_into_silence_claims_nothing(accounts: Accounts, proxy: Proxy) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    async with online(settings(accounts.server, pbx, port=proxy.port)) as session:
        proxy.silence()
        with pytest.raises(NotConfirmed):
            await session.send_message(bob.jid, "x", timeout=0.5)
        proxy.cut()
        proxy.resume()


async def test_stop_into_silence_ends_in_time(accounts: Accounts, proxy: Proxy) -> None:
    pbx = await accounts("pbx")
    async with online(settings(accounts.server, pbx, port=proxy.port)) as session:
        proxy.silence()
        async with asyncio.timeout(10):
            await session.stop(1.0)
        assert session.info().state is SessionState.STOPPED
        proxy.cut()
        proxy.resume()


@SERVERS
@pytest.mark.parametrize("how", ["restart", "kill"])
@pytest.mark.parametrize("kind", ["client", "component"])
async def test_a_wait_survives_a_server_that_goes_and_comes_back(
    rootfs: Rootfs, make: type[XmppServer], how: str, kind: str
) -> None:
    async with make(rootfs) as server:
        accounts = Accounts(server)
        pbx, bob = await own_account(accounts, kind), await accounts("bob")
        async with online(settings(server, pbx, buddies=[bob.jid], retry_max=1)) as session:
            await session.send_message(bob.jid, "1 or 2?", thread="call-1")
            waiting = asyncio.create_task(session.receive_message(bob.jid, 60, thread="call-1"))
            await (server.stop() if how == "restart" else server.kill())
            await until_state(session, SessionState.WAITING)
            queued = [session.queue_message(bob.jid, f"note {number}") for number in range(5)]
            with pytest.raises(NotConnected):
                await session.send_message(bob.jid, "x", timeout=0.1)
            await server.start()
            await session.ready(20)
            assert session.info().connects == 2
            # All of them before bob comes: ejabberd delivers what it stored after what comes meanwhile.
            await asyncio.gather(*session._sending._drains.values())
            async with Buddy.online(server, bob.jid, bob.password) as buddy:
                notes = [await buddy.hears(lambda message: message.body.startswith("note")) for _ in queued]
                assert [note.body for note in notes] == [f"note {number}" for number in range(5)]
                assert [note.id for note in notes] == queued
                buddy.say(session.info().jid, "1", thread="call-1")
                assert (await waiting).body == "1"


@SERVERS
async def test_without_stream_management_sent_still_means_that_the_server_has_it(
    rootfs: Rootfs, make: type[XmppServer]
) -> None:
    async with make(rootfs, Options(resume=0)) as server:
        accounts = Accounts(server)
        pbx, bob = await accounts("pbx"), await accounts("bob")
        async with (
            Proxy(server.port) as proxy,
            online(settings(server, pbx, port=proxy.port)) as session,
            Buddy.online(server, bob.jid, bob.password) as buddy,
        ):
            assert session.info().resumable is False
            await session.send_message(bob.jid, "x")
            await buddy.hears("x")
            proxy.silence()
            with pytest.raises(NotConfirmed):
                await session.send_message(bob.jid, "y", timeout=0.5)
            proxy.cut()
            proxy.resume()
            await until_state(session, SessionState.CONNECTING, SessionState.WAITING)
            await session.ready(20)
            assert session.info().connects == 2


async def test_a_stanza_that_is_too_long_for_the_server_is_not_repeated_for_ever(rootfs: Rootfs) -> None:
    """Servers end the stream over it; our `max_body` is there so that it does not come to that."""
    async with Prosody(rootfs, Options(max_stanza=10_000)) as server:
        accounts = Accounts(server)
        pbx, bob = await accounts("pbx"), await accounts("bob")
        async with online(settings(server, pbx)) as session:
            with pytest.raises(NotConfirmed):
                await session.send_message(bob.jid, "x" * 20_000, timeout=10)
            await session.ready(20)
            await session.send_message(bob.jid, "short")


async def test_presence_is_forgotten_with_the_session(rootfs: Rootfs) -> None:
    async with Prosody(rootfs) as server:
        accounts = Accounts(server)
        pbx, bob = await accounts("pbx"), await accounts("bob")
        async with running(settings(server, pbx, buddies=[bob.jid], retry_max=1)) as session:
            async with Buddy.online(server, bob.jid, bob.password):
                assert (await session.presence(bob.jid, timeout=10)).show is Show.ONLINE
                await server.kill()
                await until_state(session, SessionState.WAITING)
            with pytest.raises(NotConnected):
                await session.presence(bob.jid)
            await server.start()
            assert (await session.presence(bob.jid, timeout=20)).show is Show.OFFLINE
