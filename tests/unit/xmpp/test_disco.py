"""Service discovery: what a client's login and a component say of phones."""

from __future__ import annotations

from typing import Any

import aioxmpp
import aioxmpp.disco.xso
import pytest
from aioxmpp.entitycaps.caps115 import hash_query
from aioxmpp.errors import XMPPCancelError

from agi_xmpp.xmpp import disco, phone_stanzas
from agi_xmpp.xmpp.disco import NODE_LENGTH, Discovery
from agi_xmpp.xmpp.model import Jid, Show
from agi_xmpp.xmpp.phone_model import ContactState
from agi_xmpp.xmpp.xso.command_list import COMMANDS
from tests.unit.xmpp.phone_house import FakeHost

ALICE = "alice@fake.test/a"
INFO = "http://jabber.org/protocol/disco#info"
PAYLOAD = "http://jivesoftware.com/xmlns/phone"
PHONE = ("directory", "phone", "phone")
CAPS = f"{phone_stanzas.CAPS_NODE}#{phone_stanzas.CAPS_VERSION}"


class Library(aioxmpp.disco.Node):  # type: ignore[misc]
    """The library's service, without a client: what it is asked, it answers with its name."""

    def __init__(self) -> None:
        super().__init__()
        self.register_identity("client", "bot")

    async def handle_info_request(self, iq: Any) -> Any:
        answer = self.as_info_xso(iq)
        answer.node = iq.payload.node
        return answer

    async def handle_items_request(self, _iq: Any) -> Any:
        return aioxmpp.disco.xso.ItemsQuery()


class Asked:
    """Somebody who asks."""

    def __init__(self, component: str = "", host: FakeHost | None = None) -> None:
        self.host = host or FakeHost()
        address = Jid(*component.rpartition("@")[::2]) if component else None
        self.discovery = Discovery(address)
        self.discovery.host = self.host
        self.library = Library()

    async def info(
        self, node: str | None = None, to: str = "phone.test", sender: str | None = "alice@fake.test/a"
    ) -> Any:
        return await self.discovery.info(self.library, self._iq(aioxmpp.disco.xso.InfoQuery, node, to, sender))

    async def items(
        self, node: str | None = None, to: str = "phone.test", sender: str = "alice@fake.test/a"
    ) -> list[Any]:
        answer = await self.discovery.items(self.library, self._iq(aioxmpp.disco.xso.ItemsQuery, node, to, sender))
        return [(str(item.jid), item.name) for item in answer.items]

    @staticmethod
    def _iq(kind: Any, node: str | None, to: str, sender: str | None) -> Any:
        return aioxmpp.IQ(
            aioxmpp.IQType.GET,
            payload=kind(node=node),
            to=aioxmpp.JID.fromstr(to),
            from_=aioxmpp.JID.fromstr(sender) if sender else None,
        )


def identities(answer: Any) -> list[tuple[str, str, str | None]]:
    return [(identity.category, identity.type_, identity.name) for identity in answer.identities]


@pytest.fixture(params=["", "phone.test", "pbx@phone.test"])
def asked(request: pytest.FixtureRequest) -> Asked:
    """A client's login, and components without and with an address for messages."""
    return Asked(request.param)


class TestUsers:
    @pytest.mark.parametrize("node", [None, ""])
    async def test_the_service(self, asked: Asked, node: str | None) -> None:
        answer = await asked.info(node)
        assert identities(answer) == [PHONE, ("client", "bot", None)]
        assert answer.features == {INFO, PAYLOAD, "urn:x-phone:test"}
        assert answer.node is None

    @pytest.mark.parametrize("node", ["alice", "d'artagnan", "d\\27artagnan", "bob@fake.test", "BOB@fake.Test"])
    async def test_somebody_with_a_phone(self, asked: Asked, node: str) -> None:
        answer = await asked.info(node)
        assert (answer.node, identities(answer)) == (node, [PHONE])
        assert answer.features == {INFO, "http://jivesoftware.com/phone", PAYLOAD}

    @pytest.mark.parametrize("node", ["zoe", "alice@evil.test", " ", "<&>", "http://x#y", "x" * NODE_LENGTH])
    async def test_nobody_is_no_error(self, asked: Asked, node: str) -> None:
        answer = await asked.info(node)
        assert (answer.node, identities(answer), answer.features) == (node, [PHONE], {INFO})

    async def test_a_node_that_is_too_long(self, asked: Asked) -> None:
        with pytest.raises(XMPPCancelError):
            await asked.info("x" * (NODE_LENGTH + 1))

    @pytest.mark.parametrize("sender", ["eve@fake.test/a", "alice@evil.test/a", "fake.test", None])
    async def test_strangers_do_not_learn_who_has_a_phone(self, asked: Asked, sender: str | None) -> None:
        assert (await asked.info("alice", sender=sender)).features == {INFO}

    async def test_commands_are_the_librarys(self, asked: Asked) -> None:
        answer = await asked.info(COMMANDS)
        assert (answer.node, identities(answer)) == (COMMANDS, [("client", "bot", None)])

    async def test_without_phones_all_is_the_librarys(self, asked: Asked) -> None:
        asked.discovery.host = None
        assert identities(await asked.info("alice")) == [("client", "bot", None)]
        assert await asked.items() == []


class TestContacts:
    @pytest.fixture
    def asked(self) -> Asked:
        asked = Asked("pbx@phone.test")
        asked.host.states["d\\27artagnan"] = ContactState(Show.AWAY)
        asked.host.watchers.add("alice@fake.test")
        return asked

    async def test_the_list_is_for_users(self, asked: Asked) -> None:
        expected = [("alice@phone.test", "Alice"), ("d\\27artagnan@phone.test", "D\\27Artagnan")]
        assert await asked.items() == expected
        assert await asked.items(to="pbx@phone.test") == expected
        assert await asked.items(sender="eve@fake.test/a") == []
        assert await asked.items(COMMANDS) == []

    async def test_a_client_has_none(self) -> None:
        assert await Asked().items(to="agi@fake.test/pbx") == []

    @pytest.mark.parametrize("node", [None, CAPS])
    @pytest.mark.parametrize("to", ["alice@phone.test", "alice@phone.test/PJSIP-101"])
    async def test_what_a_contact_is(self, asked: Asked, node: str | None, to: str) -> None:
        answer = await asked.info(node, to)
        assert identities(answer) == [("client", "phone", "phone")]
        assert answer.node == node
        assert answer.features == phone_stanzas.contact_features().features
        assert COMMANDS in answer.features
        assert await asked.items(to=to) == []
        assert await asked.items(COMMANDS, to) == []

    @pytest.mark.parametrize(
        ("node", "to", "sender"),
        [
            ("other", "alice@phone.test", "alice@fake.test/a"),
            (None, "zoe@phone.test", "alice@fake.test/a"),
            (None, "alice@phone.test", "eve@fake.test/a"),
            (CAPS, "alice@phone.test", "eve@fake.test/a"),
        ],
    )
    async def test_what_is_not_there(self, asked: Asked, node: str | None, to: str, sender: str) -> None:
        with pytest.raises(XMPPCancelError):
            await asked.info(node, to, sender)
        with pytest.raises(XMPPCancelError):
            await asked.items(node, to, sender)

    @pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (3, 2)])
    async def test_the_limit(self, asked: Asked, monkeypatch: pytest.MonkeyPatch, limit: int, count: int) -> None:
        monkeypatch.setattr(disco, "ITEMS", limit)
        assert len(await asked.items()) == count


class TestOurCapabilities:
    """XEP-0115: what we say of ourselves in a presence can be looked up, and the hash fits."""

    async def test_the_hash_fits(self, asked: Asked) -> None:
        asked.discovery._server = asked.library
        caps = asked.discovery.capabilities()
        node = f"{caps.node}#{caps.ver}"
        answer = await asked.info(node)
        assert (answer.node, caps.hash_) == (node, "sha-1")
        assert hash_query(answer, "sha1") == caps.ver
        assert answer.features == (await asked.info()).features
        assert identities(answer) == identities(await asked.info())

    async def test_without_phones_too(self, asked: Asked) -> None:
        asked.discovery._server, asked.discovery.host = asked.library, None
        caps = asked.discovery.capabilities()
        assert hash_query(await asked.info(f"{caps.node}#{caps.ver}"), "sha1") == caps.ver

    @pytest.mark.parametrize("node", ["agi-xmpp#", "agi-xmpp#other"])
    async def test_another_hash(self, asked: Asked, node: str) -> None:
        with pytest.raises(XMPPCancelError):
            await asked.info(node)

    async def test_before_there_is_a_client(self) -> None:
        assert Discovery(None).capabilities() is None

    async def test_a_number_is_what_a_phone_contact_is(self) -> None:
        asked = Asked("pbx@phone.test")
        answer = await asked.info(CAPS, "+4930123@phone.test")
        assert identities(answer) == [("client", "phone", "phone")]
        for to, sender in (("+4930123@phone.test", "eve@fake.test/a"), ("+900@phone.test", ALICE)):
            with pytest.raises(XMPPCancelError):
                await asked.info(CAPS, to, sender)
