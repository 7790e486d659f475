"""Service discovery (XEP-0030) where there are phones: who has one, and what the phone contacts are.

The library answers for nodes that are known beforehand, and says the same at every address. Here each user is a node,
under several names, and at a component each phone contact is an address of its own.
"""

from __future__ import annotations

import functools
from typing import Any

import aioxmpp
import aioxmpp.disco.xso
import aioxmpp.entitycaps.caps115
import aioxmpp.entitycaps.xso
from aioxmpp import errors

from agi_xmpp.xmpp import phone_stanzas
from agi_xmpp.xmpp.jid import inward, outward
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.phone_model import PhoneHost
from agi_xmpp.xmpp.xso import phone
from agi_xmpp.xmpp.xso.command_list import COMMANDS

#: What tells a client that a user has a phone. It is not the namespace of the payloads.
PHONE_FEATURE = "http://jivesoftware.com/phone"

#: Characters of a node: a bare JID has no more (RFC 7622 section 3), and neither has any node of ours.
NODE_LENGTH = 2 * 1023 + 1

#: Says whose implementation our own capabilities are (XEP-0115 section 4).
CAPS_NODE = "agi-xmpp"

#: Phone contacts in a list: some 100 KB. Servers end the stream over a longer stanza.
ITEMS = 1000

INFO = "http://jabber.org/protocol/disco#info"


class Discovery:
    """Answers for the phones in front of the library's own answers.

    Args:
        component: the address of the component; None for a client.

    Attributes:
        host: knows the phones; None while none are served, and the library answers alone.
    """

    def __init__(self, component: Jid | None) -> None:
        self._component = component
        self._server: Any = None
        self.host: PhoneHost | None = None

    def install(self, client: Any) -> None:
        """Answer the requests that come in on a client of the library."""
        self._server = server = client.summon(aioxmpp.DiscoServer)
        for payload, answer in (
            (aioxmpp.disco.xso.InfoQuery, self.info),
            (aioxmpp.disco.xso.ItemsQuery, self.items),
        ):
            client.stream.unregister_iq_request_handler(aioxmpp.IQType.GET, payload)
            client.stream.register_iq_request_handler(aioxmpp.IQType.GET, payload, functools.partial(answer, server))

    def contact(self, stanza: Any) -> str:
        """Return the part before the ``@`` of the phone contact that a stanza is addressed to, or ""."""
        local = "" if stanza.to is None else stanza.to.localpart or ""
        if self._component is None or self.host is None or local == self._component.local:
            return ""
        return local

    async def info(self, server: Any, iq: Any) -> Any:
        """Return identities and features of what is asked for.

        Args:
            server: the library's service, which answers for what has nothing to do with phones.
            iq: the request.

        Raises:
            aioxmpp.errors.XMPPError: there is no such thing.
        """
        host, node = self.host, _node(iq)
        if node is not None and node.startswith(f"{CAPS_NODE}#") and not self.contact(iq):
            return self._caps_info(server, node)
        if host is None or node == COMMANDS:
            return await server.handle_info_request(iq)
        if contact := self.contact(iq):
            self._check_contact(host, iq, contact)
            if node not in (None, f"{phone_stanzas.CAPS_NODE}#{phone_stanzas.CAPS_VERSION}"):
                raise _not_found()
            return _with_node(phone_stanzas.contact_features(), node)
        return self._own_info(server) if node is None else self._user_info(host, iq, node)

    async def items(self, server: Any, iq: Any) -> Any:
        """Return what there is at an address: at a component the phone contacts, for its users.

        Args, Raises: as for `info`.
        """
        host, node = self.host, _node(iq)
        if host is None or node == COMMANDS:
            return await server.handle_items_request(iq)
        if contact := self.contact(iq):
            self._check_contact(host, iq, contact)
        if node is not None:
            raise _not_found()
        answer = await server.handle_items_request(iq)
        if self._component and not contact and host.may_ask(_sender(iq)):
            for person in list(host.contacts())[:ITEMS]:
                address = outward(Jid(person.local, self._component.domain))
                answer.items.append(aioxmpp.disco.xso.Item(address, name=person.name))
        return answer

    def capabilities(self) -> Any:
        """Return what we say of ourselves in a presence (XEP-0115); None before there is a client."""
        if self._server is None:
            return None
        version = aioxmpp.entitycaps.caps115.hash_query(self._own_info(self._server), "sha1")
        return aioxmpp.entitycaps.xso.Caps115(CAPS_NODE, version, "sha-1")

    def _caps_info(self, server: Any, node: str) -> Any:
        """Return what `capabilities` stand for, as long as they are the same."""
        answer = self._own_info(server)
        if node != f"{CAPS_NODE}#{aioxmpp.entitycaps.caps115.hash_query(answer, 'sha1')}":
            raise _not_found()
        return _with_node(answer, node)

    def _own_info(self, server: Any) -> Any:
        """Return who we are ourselves."""
        answer = server.as_info_xso()
        if self.host is not None:
            answer.identities.insert(0, _identity())  # Openfire names the component after the first one
            answer.features.update({phone.NAMESPACE, *self.host.features()})
        return answer

    @staticmethod
    def _user_info(host: PhoneHost, iq: Any, node: str) -> Any:
        """Return what a user has. Nobody has a phone without the feature; an error would disturb clients at login."""
        if len(node) > NODE_LENGTH:
            raise _not_found()
        answer = aioxmpp.disco.xso.InfoQuery(identities=[_identity()], features=[INFO])
        if host.may_ask(_sender(iq)) and host.has_phone(node):
            answer.features.update({PHONE_FEATURE, phone.NAMESPACE})
        return _with_node(answer, node)

    @staticmethod
    def _check_contact(host: PhoneHost, iq: Any, contact: str) -> None:
        """Raise an error for a contact that does not exist, or that the sender may not see."""
        if not host.may_reach(_sender(iq).bare, contact):
            raise _not_found()


def _identity() -> Any:
    return aioxmpp.disco.xso.Identity(category="directory", type_="phone", name="phone")


def _node(iq: Any) -> str | None:
    """Return the node that is asked for; an empty one is none."""
    iq.payload.node = iq.payload.node or None
    return iq.payload.node  # type: ignore[no-any-return]


def _with_node(answer: Any, node: str | None) -> Any:
    answer.node = node
    return answer


def _sender(iq: Any) -> Jid:
    """Return who asks; without ``from`` it is our own server (RFC 6120 section 8.1.2.1), which is no user."""
    return Jid("", "") if iq.from_ is None else inward(iq.from_)


def _not_found() -> errors.XMPPError:
    return errors.XMPPCancelError(aioxmpp.ErrorCondition.ITEM_NOT_FOUND)
