"""A client that speaks the phone protocol byte by byte, as the real ones do, whatever our service thinks of it."""

from __future__ import annotations

import asyncio
import itertools
import xml.etree.ElementTree as ET
from typing import Any

from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from tests.testbed.client import Buddy

PHONE = "{http://jivesoftware.com/xmlns/phone}"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
CLIENT = "{jabber:client}"
INFO = "{http://jabber.org/protocol/disco#info}"
ITEMS = "{http://jabber.org/protocol/disco#items}"

#: Seconds for a reply. Spark asks on its UI thread.
SOON = 1.0


class PhoneClient:
    """What a client of the phone protocol does, on the stream of a `Buddy`.

    Args:
        buddy: is logged in.
        service: where the phones are: a component, or the full JID of a client's login.
    """

    def __init__(self, buddy: Buddy, service: str) -> None:
        self.buddy = buddy
        self.service = service
        self._replies: dict[str, list[ET.Element]] = {}
        self._news = asyncio.Event()
        self._ids = itertools.count(1)
        for kind in ("result", "error"):
            buddy._client.register_handler(
                Callback(f"phone {kind} {id(self)}", StanzaPath(f"iq@type={kind}"), self._take)
            )

    async def send(self, xml: str) -> ET.Element:
        """Send an IQ request as it is written, ``{to}`` being the service, and return its one reply, error or not."""
        xml = xml.replace("{to}", self.service)
        request = ET.fromstring(xml)
        name, to = request.get("id", ""), request.get("to", "")
        self.buddy.send_raw(xml)
        (reply,) = await self._until(name, to)
        assert (reply.get("from"), reply.get("to")) == (to, self.buddy.full_jid)
        return reply

    async def ask(self, payload: str, kind: str = "set", to: str = "{to}") -> ET.Element:
        """As `send`, with a payload."""
        return await self.send(f"<iq to='{to}' id='e-{next(self._ids)}' type='{kind}'>{payload}</iq>")

    async def info(self, node: str | None = None, to: str = "{to}") -> tuple[list[tuple[str, str, str]], set[str]]:
        """Return identities and features (XEP-0030)."""
        query = ET.Element(f"{INFO}query", {} if node is None else {"node": node})
        reply = await self.ask(ET.tostring(query, encoding="unicode"), "get", to)
        assert reply.get("type") == "result", ET.tostring(reply)
        assert reply[0].get("node") == node
        return (
            [
                (identity.get("category", ""), identity.get("type", ""), identity.get("name", ""))
                for identity in reply.iter(f"{INFO}identity")
            ],
            {feature.get("var", "") for feature in reply.iter(f"{INFO}feature")},
        )

    async def items(self, to: str = "{to}") -> dict[str, str]:
        """Return the names of what there is at an address, by JID (XEP-0030)."""
        reply = await self.ask("<query xmlns='http://jabber.org/protocol/disco#items'/>", "get", to)
        return {item.get("jid", ""): item.get("name", "") for item in reply.iter(f"{ITEMS}item")}

    async def _until(self, name: str, to: str) -> list[ET.Element]:
        """Return all replies to a request: a ping goes behind the first, so that a second one would be here."""
        async with asyncio.timeout(SOON):
            while name not in self._replies:
                self._news.clear()
                await self._news.wait()
        async with asyncio.timeout(SOON * 10):
            ping = f"ping-{next(self._ids)}"
            self.buddy.send_raw(f"<iq to='{to}' id='{ping}' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
            while ping not in self._replies:
                self._news.clear()
                await self._news.wait()
        return self._replies.pop(name)

    def _take(self, stanza: Any) -> None:
        self._replies.setdefault(stanza.xml.get("id", ""), []).append(stanza.xml)
        self._news.set()


def outcome(reply: ET.Element) -> str:
    """Return the type of a flat result, or type and condition of an error with a text for people."""
    if reply.get("type") == "result":
        (action,) = reply
        assert (action.tag, list(action)) == (f"{PHONE}phone-action", [])
        return action.get("type", "")
    error = reply.find(f"{CLIENT}error")
    assert error is not None
    assert error.findtext(f"{STANZAS}text")
    (condition,) = (child.tag for child in error if child.tag != f"{STANZAS}text")
    return f"{error.get('type')} {condition.removeprefix(STANZAS)}"
