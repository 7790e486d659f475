"""The testbed's own proof: somebody in a room by chat, on the rooms that each server has itself."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from tests.testbed.client import Buddy
from tests.testbed.muc import Attendee, Refused
from tests.testbed.profanity import Profanity
from tests.testbed.xmpp import Accounts, XmppServer


@pytest.fixture
async def bob(xmpp_server: XmppServer, accounts: Accounts) -> AsyncIterator[Buddy]:
    login = await accounts("bob")
    async with Buddy.online(xmpp_server, login.jid, login.password) as buddy:
        yield buddy


@pytest.fixture
async def eve(xmpp_server: XmppServer, accounts: Accounts) -> AsyncIterator[Buddy]:
    login = await accounts("eve")
    async with Buddy.online(xmpp_server, login.jid, login.password) as buddy:
        yield buddy


@pytest.fixture
async def owner(xmpp_server: XmppServer, bob: Buddy) -> Attendee:
    """Bob in a room of his own."""
    owner = await Attendee.enter(bob, f"garden-{secrets.token_hex(4)}@{xmpp_server.muc_domain}", "Bob B")
    assert {110, 201} <= owner.codes
    await owner.configure(roomname="Garden", changesubject=False)
    return owner


async def test_who_is_in_is_seen(owner: Attendee, eve: Buddy) -> None:
    guest = await Attendee.enter(eve, owner.room, "Eve")
    assert 110 in guest.codes
    assert set(guest.entered) == {"Bob B", "Eve"}
    assert set(guest.members) == {"Bob B", "Eve"}
    assert guest.members["Bob B"].affiliation == "owner"
    assert (await owner.sees("Eve", role="participant")).jid == eve.full_jid
    guest.be("away", "in the kitchen")
    assert (await owner.sees("Eve", show="away")).status == "in the kitchen"
    assert await guest.rename("Eva") == "Eva"
    assert (303 in (await owner.sees_gone("Eve")).codes, guest.nick) == (True, "Eva")
    await owner.sees("Eva")
    assert 110 in (await guest.leave()).codes
    assert (await owner.sees_gone("Eva")).codes == frozenset()
    assert set(owner.members) == {"Bob B"}


async def test_what_is_said_is_heard(owner: Attendee, eve: Buddy) -> None:
    owner.say("before")
    await owner.hears("before", nick="Bob B")
    owner.set_subject("flowers")
    assert await owner.sees_subject("flowers") == "Bob B"
    guest = await Attendee.enter(eve, owner.room, "Eve")
    assert ([heard.body for heard in guest.history], guest.subject) == (["before"], "flowers")
    guest.say("hello")
    assert (await guest.hears_nothing_until("hello")).sender == guest.of("Eve")
    await owner.hears("hello", nick="Eve")
    guest.whisper("Bob B", "psst")
    assert (await owner.hears_whisper("Eve")).body == "psst"
    refused = guest.whisper("nobody", "psst")
    assert (await guest.bounced(refused)).error in ("item-not-found", "recipient-unavailable")


async def test_what_is_refused_is_told(owner: Attendee, eve: Buddy) -> None:
    with pytest.raises(Refused) as taken:
        await Attendee.enter(eve, owner.room, "Bob B")
    assert (taken.value.condition, taken.value.type, taken.value.sender) == ("conflict", "cancel", owner.of("Bob B"))
    guest = await Attendee.enter(eve, owner.room, "Eve")
    with pytest.raises(Refused, match="cancel conflict"):
        await guest.rename("Bob B")
    assert guest.nick == "Eve"
    with pytest.raises(Refused, match=r"forbidden|not-allowed"):
        await guest.kick("Bob B")
    with pytest.raises(Refused, match=r"forbidden|not-allowed"):
        await guest.configuration()


async def test_what_an_owner_does(owner: Attendee, bob: Buddy, eve: Buddy) -> None:
    guest = await Attendee.enter(eve, owner.room, "Eve")
    assert (await owner.configuration())["muc#roomconfig_roomname"] == "Garden"
    await owner.set_affiliation(eve.jid, "member")
    await guest.sees("Eve", affiliation="member")
    assert await owner.affiliated("member") == {eve.jid}
    assert await owner.affiliated("owner") == {bob.jid}
    await owner.kick("Eve", "too loud")
    gone = await guest.sees_gone("Eve")
    assert (307 in gone.codes, gone.reason) == (True, "too loud")
    await owner.set_affiliation(eve.jid, "outcast")
    with pytest.raises(Refused, match="forbidden"):
        await Attendee.enter(eve, owner.room, "Eve")
    await owner.destroy("winter")
    await owner.sees_gone("Bob B")


@pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
async def test_profanity_in_a_room(owner: Attendee, xmpp_server: XmppServer, accounts: Accounts) -> None:
    login = await accounts("nurse")
    async with Profanity(xmpp_server, login.jid, login.password) as client:
        screen = await client.join(owner.room, "Old Nurse")
        assert "joined the room as Old Nurse, role: participant" in screen
        await owner.sees("Old Nurse")
        client.type("good evening")
        await owner.hears("good evening", nick="Old Nurse")
        owner.say("good evening, nurse")
        await client.shows("Bob B: good evening, nurse")
        assert client.screen().count("good evening, nurse") == 1
