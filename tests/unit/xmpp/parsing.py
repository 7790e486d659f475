"""From XML to the library's message and back, as on a stream."""

from __future__ import annotations

import io
from typing import Any

import aioxmpp
import aioxmpp.xml

from agi_xmpp.xmpp import stanzas, tuning
from agi_xmpp.xmpp.model import IncomingMessage, Jid

OWN = Jid("pbx", "x.org", "agi")


def message(inner: str, attributes: str = "type='chat'") -> Any:
    """Return the message stanza with ``inner`` in it, from bob's phone."""
    tuning.apply()
    text = f"<message xmlns='jabber:client' from='bob@x.org/phone' id='b1' {attributes}>{inner}</message>"
    return aioxmpp.xml.read_single_xso(io.BytesIO(text.encode()), aioxmpp.Message)


def incoming(inner: str) -> IncomingMessage:
    """Return the same as the session hands it on."""
    return stanzas.incoming(message(inner), OWN, carbon=False, occupant=False, stamps=(), now=10.0, wall=0.0)


def written(stanza: Any) -> str:
    """Return what goes out for a stanza."""
    return str(aioxmpp.xml.serialize_single_xso(stanza))
