"""Presence, roster and subscriptions between real servers and an independent client (slixmpp)."""

from __future__ import annotations

import asyncio

import pytest

from agi_xmpp.xmpp.model import Show
from agi_xmpp.xmpp.session import BaseSession
from tests.e2e.sessions import Login, online, settings, settled
from tests.testbed.client import Buddy
from tests.testbed.xmpp import Accounts


async def until_seen(session: BaseSession, jid: str, show: Show, resource: str | None = None) -> None:
    """Wait until the session sees somebody so."""
    async with asyncio.timeout(10):
        while True:
            news = session._news
            found = await session.presence(jid)
            if found.show is show and resource in (None, found.resource):
                return
            await news.wait()


async def become_buddies(session: BaseSession, bob: Login, accounts: Accounts) -> None:
    """Let the session see bob once: from then on the server remembers."""
    async with Buddy.online(accounts.server, bob.jid, bob.password):
        await until_seen(session, bob.jid, Show.ONLINE)
    await until_seen(session, bob.jid, Show.OFFLINE)


async def test_the_best_of_several_clients(accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    server = accounts.server
    async with online(settings(server, pbx, buddies=[bob.jid])) as session:
        await become_buddies(session, bob, accounts)
        async with Buddy.online(
            server, bob.jid, bob.password, resource="desk", priority=5, show="away", status="at lunch"
        ):
            await until_seen(session, bob.jid, Show.AWAY, "desk")
            async with Buddy.online(server, bob.jid, bob.password, resource="phone", priority=1, show="chat") as phone:
                await until_seen(session, f"{bob.jid}/phone", Show.CHAT)
                best = await session.presence(bob.jid)
                assert (best.show, best.resource, best.status, best.priority) == (Show.AWAY, "desk", "at lunch", 5)
                await phone.be("dnd", "", 5)  # the same priority, and later
                await until_seen(session, bob.jid, Show.DND, "phone")
                await phone.be("", "", -1)  # there, but not for messages
                await until_seen(session, bob.jid, Show.AWAY, "desk")
                assert (await session.presence(f"{bob.jid}/phone")).show is Show.ONLINE
                await phone.be("xa", "", 9)
                await until_seen(session, bob.jid, Show.XA, "phone")
            await until_seen(session, bob.jid, Show.AWAY, "desk")
            assert (await session.presence(f"{bob.jid}/phone")).show is Show.OFFLINE
        await until_seen(session, bob.jid, Show.OFFLINE)


async def test_a_client_that_loses_its_network_goes_offline(accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    server = accounts.server
    async with online(settings(server, pbx, buddies=[bob.jid])) as session:
        buddy = await Buddy.connect(server, bob.jid, bob.password)
        await until_seen(session, bob.jid, Show.ONLINE)
        await buddy.drop()
        await until_seen(session, bob.jid, Show.OFFLINE)


async def test_right_after_a_login_who_is_there_is_known(accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    account = settings(accounts.server, pbx, buddies=[bob.jid])
    async with online(account) as session:
        await become_buddies(session, bob, accounts)
    async with Buddy.online(accounts.server, bob.jid, bob.password), online(account) as session:
        assert (await session.presence(bob.jid, timeout=10)).show is Show.ONLINE


async def test_who_is_no_contact_is_not_in_the_roster(accounts: Accounts) -> None:
    pbx, eve = await accounts("pbx"), await accounts("eve")
    async with (
        online(settings(accounts.server, pbx)) as session,
        Buddy.online(accounts.server, eve.jid, eve.password) as stranger,
    ):
        stranger.send_raw(f"<presence to='{session.info().jid}'/>")  # shows itself all the same
        stranger.say(session.info().jid, "mark")
        await session.receive_message(eve.jid, 10)
        assert (await session.presence(eve.jid, timeout=10)).show is Show.NOT_IN_ROSTER


async def test_buddies_are_asked_at_each_login_until_they_agree(accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    server = accounts.server
    account = settings(server, pbx, buddies=[bob.jid])
    async with Buddy.online(server, bob.jid, bob.password, accepts=False) as buddy:
        async with online(account):
            await buddy.sees(lambda seen: seen.type == "subscribe" and seen.sender == pbx.jid)
        async with online(account) as session:
            buddy.approve(pbx.jid)
            await until_seen(session, bob.jid, Show.ONLINE)
        asked = sum(seen.type == "subscribe" for seen in buddy.seen)
        async with online(account) as session:
            await until_seen(session, bob.jid, Show.ONLINE)
            await settled(session)
            await session.send_message(bob.jid, "mark")
            await buddy.hears("mark")
        assert sum(seen.type == "subscribe" for seen in buddy.seen) == asked


async def test_buddies_are_not_asked_if_the_settings_say_so(accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    server = accounts.server
    async with (
        Buddy.online(server, bob.jid, bob.password) as buddy,
        online(settings(server, pbx, buddies=[bob.jid], subscribe=False)) as session,
    ):
        await settled(session)
        await session.send_message(bob.jid, "mark")
        await buddy.hears("mark")
        assert not any(seen.type == "subscribe" for seen in buddy.seen)


@pytest.mark.parametrize(
    ("policy", "buddy_may", "stranger_may"), [("accept", True, True), ("buddies", True, False), ("deny", False, False)]
)
async def test_who_may_see_our_presence(accounts: Accounts, policy: str, buddy_may: bool, stranger_may: bool) -> None:
    pbx, bob, eve = await accounts("pbx"), await accounts("bob"), await accounts("eve")
    server = accounts.server
    account = settings(
        server, pbx, buddies=[bob.jid], subscribe=False, subscriptions=policy, show="dnd", status="In calls"
    )
    async with online(account):
        for who, may in ((bob, buddy_may), (eve, stranger_may)):
            async with Buddy.online(server, who.jid, who.password) as buddy:
                buddy.subscribe(pbx.jid)
                answer = await buddy.sees(lambda seen: seen.type in ("subscribed", "unsubscribed"))
                assert answer.type == ("subscribed" if may else "unsubscribed")
                if may:
                    ours = await buddy.sees(lambda seen: seen.sender.startswith(f"{pbx.jid}/"))
                    assert (ours.show, ours.status, ours.priority) == ("dnd", "In calls", 1)


async def test_a_request_that_came_while_we_were_away_is_answered(accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    server = accounts.server
    async with Buddy.online(server, bob.jid, bob.password) as buddy:
        buddy.subscribe(pbx.jid)
        buddy.say(buddy.full_jid, "mark")  # the server has the request
        await buddy.hears("mark")
        async with online(settings(server, pbx, buddies=[bob.jid])):
            await buddy.sees(lambda seen: seen.sender == f"{pbx.jid}/pbx" and seen.type == "")


async def test_our_roster_is_never_cut_down(accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    server = accounts.server
    async with online(settings(server, pbx, buddies=[bob.jid])) as session:
        await become_buddies(session, bob, accounts)
    async with online(settings(server, pbx, buddies=[])) as session:  # taken out of the configuration
        assert (await session.presence(bob.jid, timeout=10)).show is Show.OFFLINE  # still in the server's roster
