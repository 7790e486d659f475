"""The service of rooms over real servers, without Asterisk: what owners and admins do, and what others may not."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.config import ConferenceRoomSettings, ConferenceSettings
from agi_xmpp.features.conference.rooms.service import MucService
from agi_xmpp.xmpp.jid import parse
from tests.e2e.sessions import component, online, settings
from tests.testbed.client import Buddy
from tests.testbed.muc import Attendee, Refused
from tests.testbed.xmpp import Accounts
from tests.unit.features.conference.fakes import FakeOutside, phone
from tests.unit.features.conference.hall import phone_jid


class Outside(FakeOutside):
    """Sends to the server; everything else is noted."""

    service: MucService

    def serve(self, session) -> None:
        self.port = session.serve_stanzas(self)

    def send(self, stanza: Element) -> None:
        self.port.send(stanza)

    def stanza_came(self, stanza: Element) -> bool:
        return self.service.stanza_came(stanza)

    def stream_began(self) -> None: ...

    def stream_ended(self) -> None: ...


class Scene:
    """Rooms on a server's component, Romeo and Juliet."""

    def __init__(self, outside: Outside, service: MucService, romeo: Buddy, juliet: Buddy, domain: str) -> None:
        self.outside = outside
        self.service = service
        self.romeo = romeo
        self.juliet = juliet
        self.domain = domain
        self.room = f"{''.join(secrets.choice('abcdefgh') for _ in range(12))}@{domain}"

    @property
    def rooms(self) -> set[str]:
        return {str(room.address) for room in self.service.own_rooms}


@pytest.fixture
async def scene(accounts: Accounts) -> AsyncIterator[Scene]:
    server = accounts.server
    romeo, juliet = await accounts("romeo"), await accounts("juliet")
    account = component(server)
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(online(settings(server, account)))
        outside = Outside()
        conference = ConferenceSettings(
            account="main",
            context="conferences",
            rooms=["_[a-z]!"],
            allow=[romeo.jid.partition("@")[2]],
            room={"balcony": ConferenceRoomSettings(number="6000", title="Balcony")},
        )
        outside.service = MucService(
            server.component_domain,
            conference,
            outside,
            {},
            key=secrets.token_bytes(32),
            phone_jid=phone_jid,
            own=parse(account.jid),
        )
        outside.service.restore()
        outside.serve(session)
        clients = [
            await stack.enter_async_context(Buddy.online(server, one.jid, one.password)) for one in (romeo, juliet)
        ]
        yield Scene(outside, outside.service, clients[0], clients[1], server.component_domain)


async def test_a_room_is_opened_configured_and_destroyed(scene: Scene) -> None:
    romeo = await Attendee.enter(scene.romeo, scene.room, "Romeo")
    assert {110, 201} <= romeo.codes
    juliet = await Attendee.enter(scene.juliet, scene.room, "Juliet")
    assert romeo.members["Romeo"].affiliation == "owner"

    before = await romeo.configuration()
    assert before["muc#roomconfig_roomname"] == scene.room.partition("@")[0]
    await romeo.configure(roomname="Fair Verona", persistentroom=True, maxusers="20")
    after = await romeo.configuration()
    assert (after["muc#roomconfig_roomname"], after["muc#roomconfig_maxusers"]) == ("Fair Verona", "20")
    assert "Fair Verona" in await scene.juliet.info(scene.room)
    assert "Fair Verona (2)" in await scene.juliet.items(scene.domain)
    with pytest.raises(Refused) as refused:
        await juliet.configuration()
    assert (refused.value.type, refused.value.condition) == ("auth", "forbidden")

    await romeo.destroy("Plague")
    await juliet.sees_gone("Juliet")
    assert scene.rooms == {f"balcony@{scene.domain}"}


async def test_owners_and_admins_rule(scene: Scene) -> None:
    romeo = await Attendee.enter(scene.romeo, scene.room, "Romeo")
    juliet = await Attendee.enter(scene.juliet, scene.room, "Juliet")
    bare = scene.juliet.full_jid.partition("/")[0]
    with pytest.raises(Refused) as refused:
        await juliet.kick("Romeo")
    assert refused.value.condition == "forbidden"
    assert await romeo.affiliated("owner") == {scene.romeo.full_jid.partition("/")[0]}
    assert await romeo.affiliated("outcast") == set()

    await romeo.set_affiliation(bare, "admin")
    await juliet.sees("Juliet", role="moderator", affiliation="admin")
    with pytest.raises(Refused) as refused:
        await juliet.kick("Romeo")
    assert refused.value.condition == "not-allowed"

    await romeo.set_affiliation(bare, "outcast", "Montague!")
    gone = await juliet.sees_gone("Juliet")
    assert {110, 301} <= gone.codes
    assert (gone.reason, gone.actor) == ("Montague!", "Romeo")
    assert await romeo.affiliated("outcast") == {bare}
    with pytest.raises(Refused) as refused:
        await Attendee.enter(scene.juliet, scene.room, "Juliet")
    assert (refused.value.type, refused.value.condition) == ("auth", "forbidden")


async def test_the_last_owner_stays_and_a_phone_goes(scene: Scene) -> None:
    romeo = await Attendee.enter(scene.romeo, scene.room, "Romeo")
    room = scene.service.room_for_number(scene.room.partition("@")[0])
    assert room is not None
    room.phone_joined(phone("Bob B", "102"))
    await romeo.sees("Bob B")
    with pytest.raises(Refused) as refused:
        await romeo.set_affiliation(scene.romeo.full_jid.partition("/")[0], "member")
    assert refused.value.condition == "conflict"
    await romeo.kick("Bob B", "bye bob")
    assert scene.outside.kicked == ["PJSIP/102-00000001"]
    room.phone_left("PJSIP/102-00000001")
    gone = await romeo.sees_gone("Bob B")
    assert (gone.codes, gone.reason) == (frozenset({307}), "bye bob")
    assert 110 in (await romeo.leave()).codes
    assert scene.rooms == {f"balcony@{scene.domain}"}, "nobody is in any more"


async def test_rooms_that_there_are_not(scene: Scene) -> None:
    for room, condition, text in (
        (f"6000@{scene.domain}", "item-not-found", f"This conference is the room balcony@{scene.domain}."),
        (f"7000@{scene.domain}", "item-not-found", "There is no such room."),
    ):
        with pytest.raises(Refused) as refused:
            await Attendee.enter(scene.romeo, room, "Romeo")
        assert (refused.value.condition, refused.value.text) == (condition, text)
