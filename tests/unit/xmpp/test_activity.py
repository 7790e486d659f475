"""Publishing on the phone in the users' names: when, and what is said where it is not possible."""

from __future__ import annotations

import asyncio
import io
import logging
from typing import Any

import aioxmpp
import aioxmpp.xml
import pytest
from aioxmpp.errors import XMPPAuthError

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp.activity import PUBSUB, Activities
from agi_xmpp.xmpp.model import Jid
from tests.unit.xmpp.house import lines
from tests.unit.xmpp.parsing import message, written

ALICE, BOB, EVE = Jid("alice", "x.org"), Jid("bob", "x.org"), Jid("eve", "evil.org")
SERVER = Jid("", "x.org")


class World:
    """The server's side."""

    def __init__(self) -> None:
        self.online = True
        self.sent: list[tuple[str, str]] = []
        self.replies: list[asyncio.Future[Any]] = []
        self.activities = Activities("main", self._request)

    def _request(self, iq: Any) -> asyncio.Future[Any]:
        if not self.online:
            raise NotConnected("away")
        iq.autoset_id()
        xml = written(iq)
        self.sent.append((str(iq.to), "on" if "on_the_phone" in xml else "off"))
        self.replies.append(asyncio.get_running_loop().create_future())
        return self.replies[-1]

    def grants(self, kind: str = "set", server: Jid = SERVER) -> None:
        perm = f"<perm access='iq'><namespace ns='{PUBSUB}' type='{kind}'/></perm>"
        stanza = message(f"<privilege xmlns='urn:xmpp:privilege:2'>{perm}</privilege>", "")
        self.activities.grant_came(server, stanza.xep0356_privilege)

    async def answers(self, result: object) -> None:
        if isinstance(result, BaseException):
            self.replies[-1].set_exception(result)
        else:
            self.replies[-1].set_result(result)
        await asyncio.sleep(0)


@pytest.fixture
async def world(caplog: pytest.LogCaptureFixture) -> World:
    caplog.set_level(logging.INFO, "agi_xmpp")
    return World()


async def test_with_a_grant(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.grants()
    world.activities.set(ALICE, "On the phone")
    await world.answers(None)
    world.activities.set(ALICE, None)
    await world.answers(None)
    assert world.sent == [("alice@x.org", "on"), ("alice@x.org", "off")]
    assert lines(caplog, logging.INFO) == ["account main: x.org lets us publish its users' activity"]


@pytest.mark.parametrize("kind", ["", "get"])
async def test_without_one_it_is_said_once(world: World, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    if kind:
        world.grants(kind)
    for user in (ALICE, BOB, ALICE):
        world.activities.set(user, "On the phone")
    assert not world.sent
    assert lines(caplog, logging.INFO) == ["account main: x.org has not let us publish activities (XEP-0356)"]


async def test_a_grant_is_for_its_own_domain(world: World) -> None:
    world.grants(server=Jid("", "evil.org"))
    world.activities.set(ALICE, "On the phone")
    world.activities.set(EVE, "On the phone")
    assert world.sent == [("eve@evil.org", "on")]


async def test_the_last_state_is_published_when_it_can_be(world: World) -> None:
    world.activities.set(ALICE, "On the phone")
    world.activities.set(BOB, "On the phone")
    world.activities.set(BOB, None)
    world.grants()
    assert world.sent == [("alice@x.org", "on"), ("bob@x.org", "off")]
    world.grants()
    assert len(world.sent) == 2


async def test_a_new_session_has_to_grant_anew(world: World) -> None:
    world.grants()
    world.activities.session_ended()
    world.activities.set(ALICE, "On the phone")
    assert not world.sent
    world.grants()
    assert world.sent == [("alice@x.org", "on")]


async def test_a_grant_that_is_taken_back(world: World) -> None:
    world.grants()
    world.grants("get")
    world.activities.set(ALICE, "On the phone")
    assert not world.sent


async def test_without_a_session_it_waits(world: World) -> None:
    world.grants()
    world.online = False
    world.activities.set(ALICE, "On the phone")
    world.online = True
    world.grants()
    assert world.sent == [("alice@x.org", "on")]


@pytest.mark.parametrize(("later", "expected"), [(False, "on"), (True, "off")])
async def test_a_session_that_ends_in_between(world: World, later: bool, expected: str) -> None:
    world.grants()
    world.activities.set(ALICE, "On the phone")
    world.activities.session_ended()
    if later:
        world.activities.set(ALICE, None)
    await world.answers(ConnectionError("gone"))
    world.grants()
    assert world.sent == [("alice@x.org", "on"), ("alice@x.org", expected)]


def _reply(inner: str) -> Any:
    xml = (
        "<iq xmlns='jabber:client' type='result' id='1'><privilege xmlns='urn:xmpp:privilege:2'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></privilege></iq>"
    )
    return aioxmpp.xml.read_single_xso(io.BytesIO(xml.encode()), aioxmpp.IQ)


STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
INNER_ERROR = (
    f"<iq xmlns='jabber:client' type='error' id='2'><error type='auth'><forbidden xmlns='{STANZAS}'/></error></iq>"
)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (XMPPAuthError(aioxmpp.ErrorCondition.FORBIDDEN, text="no"), "no"),
        (INNER_ERROR, "forbidden"),
        ("<iq xmlns='jabber:client' type='result' id='2'/>", ""),
        ("<iq xmlns='jabber:client' type='result' id='2'><odd xmlns='urn:x'/></iq>", ""),
        ("", ""),
    ],
)
async def test_a_refusal_is_said_once(
    world: World, caplog: pytest.LogCaptureFixture, reply: object, reason: str
) -> None:
    world.grants()
    caplog.clear()
    for _ in range(2):
        world.activities.set(ALICE, "On the phone")
        await world.answers(_reply(reply) if isinstance(reply, str) else reply)
    told = lines(caplog, logging.INFO)
    assert len(told) == bool(reason)
    assert all("did not publish an activity" in line and reason in line for line in told)
