"""Messages of rooms, for tests of what keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element, canonicalize, tostring

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.archive.messages import Add
from agi_xmpp.features.conference.model import Archived
from agi_xmpp.xmpp.element import serialise
from agi_xmpp.xmpp.model import Jid

BALCONY = Jid("balcony", "conference.example.org")
GARDEN = Jid("garden", "conference.example.org")
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def said(
    number: int, text: str = "", *, nick: str = "Romeo", room: Jid = BALCONY, seconds: float | None = None
) -> Archived:
    """Return the message ``id<number>`` of a room, sent that many seconds after noon."""
    stamp = NOON + timedelta(seconds=number if seconds is None else seconds)
    sender = Jid(room.local, room.domain, nick)
    message = stanzas.message(sender, None, "groupchat", f"m{number}")
    stanzas.add(message, stanzas.CLIENT, "body", text or f"text {number}")
    stanzas.add(message, stanzas.STANZA_ID, "stanza-id", by=room, id=f"id{number}")
    return Archived(f"id{number}", stamp, nick, message)


def kept(message: Archived, room: Jid = BALCONY) -> Add:
    """Return the change that keeps a message."""
    return Add(str(room), message.id, message.stamp, message.nick, serialise(message.stanza).decode())


def same(one: Element, other: Element) -> bool:
    """Return True if two trees are equal: names, attributes, texts."""
    return canonicalize(tostring(one, "unicode")) == canonicalize(tostring(other, "unicode"))


def ids(messages: list[Archived] | tuple[Archived, ...]) -> list[str]:
    return [message.id for message in messages]
