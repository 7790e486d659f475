"""What a reload changes of an account that stays logged in, on real servers, with an independent client (slixmpp)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.xmpp.model import Show
from agi_xmpp.xmpp.session import BaseSession
from tests.e2e.sessions import component, online, settings
from tests.e2e.test_session_presence import until_seen
from tests.testbed.client import Buddy
from tests.testbed.conference import PHONE_CONTEXT, ConferenceExchange
from tests.testbed.hall import ACCOUNT, PHONES_ACCOUNT, Hall, open_hall
from tests.testbed.program import PROBE_INTERVAL
from tests.testbed.xmpp import Accounts, Login, XmppServer


@pytest.fixture(params=["client", "component"])
async def pbx(request: pytest.FixtureRequest, accounts: Accounts) -> Login:
    """Our own account: a client's, and the component."""
    return component(accounts.server) if request.param == "component" else await accounts("pbx")


def change(session: BaseSession, **changes: Any) -> None:
    apply = session.change_to(session._settings.model_copy(update=changes))
    assert apply is not None
    apply()


async def test_a_new_buddy_is_followed_and_an_old_one_no_longer(accounts: Accounts, pbx: Login) -> None:
    bob, eve = await accounts("bob"), await accounts("eve")
    server = accounts.server
    async with (
        Buddy.online(server, bob.jid, bob.password) as old,
        Buddy.online(server, eve.jid, eve.password) as new,
        online(settings(server, pbx, buddies=[bob.jid])) as session,
    ):
        is_component = session._settings.is_component
        await until_seen(session, bob.jid, Show.ONLINE)
        assert (await session.presence(eve.jid)).show is Show.NOT_IN_ROSTER
        before = session.info()
        change(session, buddies=[eve.jid])
        await until_seen(session, eve.jid, Show.ONLINE)
        await new.be("dnd", "do not", 1)
        await until_seen(session, eve.jid, Show.DND)
        await old.be("away", "lunch", 1)
        old.say(session.info().jid, "mark")
        await session.receive_message(bob.jid, 10)
        # The roster of a client is its server's, which is never cut down; that of a component is ours.
        assert (await session.presence(bob.jid)).show is (Show.NOT_IN_ROSTER if is_component else Show.AWAY)
        change(session, buddies=[eve.jid, bob.jid])
        await until_seen(session, bob.jid, Show.AWAY)  # without having to allow it again
        assert sum(seen.type == "subscribe" for seen in old.seen) == 1
        after = session.info()
        assert (after.connects, after.since, after.jid) == (1, before.since, before.jid)


async def test_who_sees_us_sees_what_changes(accounts: Accounts, pbx: Login) -> None:
    bob = await accounts("bob")
    server = accounts.server
    async with (
        Buddy.online(server, bob.jid, bob.password) as buddy,
        online(settings(server, pbx, buddies=[bob.jid])) as session,
    ):
        await until_seen(session, bob.jid, Show.ONLINE)
        buddy.subscribe(pbx.jid)
        await buddy.sees(lambda seen: seen.sender == f"{pbx.jid}/pbx" and seen.type == seen.show == "")
        change(session, show="dnd", status="In calls")
        await buddy.sees(lambda seen: (seen.sender, seen.show, seen.status) == (f"{pbx.jid}/pbx", "dnd", "In calls"))
        change(session, buddies=[])
        if session._settings.is_component:  # for a client, the server knows who may see it
            await buddy.sees(lambda seen: (seen.sender, seen.type) == (f"{pbx.jid}/pbx", "unavailable"))
        assert session.info().connects == 1


# The service as a whole


@pytest.fixture
def phone() -> dict[str, Any]:
    return {"context": PHONE_CONTEXT, "presence_state": True, "user": {"carol@example.org": {"devices": ["PJSIP/103"]}}}


async def reload(hall: Hall, **users: str) -> None:
    """Reload with these people in the user map, by the number of their phone."""
    section = hall.service.sections["phone"]
    people = {jid: {"devices": [f"PJSIP/{number[1:]}"]} for number, jid in users.items()}
    hall.service.sections["phone"] = {**section, "user": people}
    since = hall.service.log_size()
    await hall.service.reload()
    await hall.service.log_says(lambda line: "phones: go on with the new settings" in line, since=since)


async def test_a_new_user_is_followed_and_nobody_is_thrown_out_of_conferences(
    conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path, phone: dict[str, Any]
) -> None:
    """The commonest change that an office makes, where Asterisk is told who is away."""
    ami = await conference_exchange.ami()

    async def asterisk_knows(jid: str, *states: str) -> str:
        """Wait until Asterisk has one of these states of somebody, and return it."""
        variable = f"PRESENCE_STATE(CustomPresence:{jid.partition('@')[0]},value)"
        async with asyncio.timeout(15):
            while (found := (await ami.action("Getvar", Variable=variable))["Value"]) not in states:
                await asyncio.sleep(PROBE_INTERVAL)
        return found

    async with open_hall(conference_exchange, xmpp_server, tmp_path, phone=phone) as hall:
        romeo, juliet = (hall[name] for name in ("romeo", "juliet"))

        in_room = await hall.enter("romeo", "6777")
        connects = {
            name: (await hall.service.account(name, lambda _: True))["since"] for name in (ACCOUNT, PHONES_ACCOUNT)
        }
        await reload(hall, n101=romeo.jid)
        await asterisk_knows(romeo.jid, "available")
        await reload(hall, n101=romeo.jid, n102=juliet.jid)
        await asterisk_knows(juliet.jid, "available")
        await romeo.buddy.be("away", "", 0)
        await asterisk_knows(romeo.jid, "away")
        await reload(hall, n102=juliet.jid)
        await romeo.buddy.be("dnd", "", 0)
        await juliet.buddy.be("xa", "", 0)
        await asterisk_knows(juliet.jid, "xa")
        assert await asterisk_knows(romeo.jid, "not_set", "dnd") == "not_set"
        for name, since in connects.items():
            account = await hall.service.account(name, lambda _: True)
            assert (account["connects"], account["since"]) == (1, since)
        (carol,) = await hall.phones("103")
        await hall.dial(carol, "6777")
        await hall.agrees("6777", [in_room], ["103"])
        assert in_room.members["Romeo"].affiliation == "owner"
