"""The service of rooms for tests, with a world round it that does what it is asked at once."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from xml.etree.ElementTree import Element

from agi_xmpp.config import ConferenceSettings
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.rooms.service import MucService
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import FakeOutside, stanza
from tests.unit.features.conference.hall import JOIN, condition, phone_jid

DOMAIN = "conference.example.org"
ROMEO = "romeo@example.org/orchard"
JULIET = "juliet@example.org/balcony"
NURSE = "nurse@example.org/kitchen"
PARIS = "paris@example.net/villa"

ADMIN = stanzas.MUC_ADMIN
OWNER = stanzas.MUC_OWNER


def settings(**those: Any) -> ConferenceSettings:
    return ConferenceSettings(account="rooms", context="conferences", **those)


class House:
    """The rooms of ``conference.example.org``; what the settings say is given by name."""

    def __init__(self, table: MutableMapping[str, str] | None = None, *, own: str = "", **those: Any) -> None:
        self.table: MutableMapping[str, str] = {} if table is None else table
        self.outside = FakeOutside()
        self.service = MucService(
            DOMAIN,
            settings(**those),
            self.outside,
            self.table,
            key=b"a secret of the house",
            phone_jid=phone_jid,
            own=parse(own) if own else None,
        )
        self.service.restore()

    def restarted(self, **those: Any) -> House:
        """Return what is there after a restart."""
        return House(self.table, **those)

    @property
    def names(self) -> list[str]:
        return sorted(room.address.local for room in self.service.own_rooms)

    def room(self, name: str) -> Room:
        [found] = [room for room in self.service.own_rooms if room.address.local == name]
        return found

    # What comes in. Each returns what was sent because of it.

    def came(self, element: Element, sender: str, to: str) -> list[Element]:
        """Take a stanza; ``to`` is a room's name, ``room/nick``, or "" for the service."""
        name, slash, nick = to.partition("/")
        element.set("from", sender)
        element.set("to", f"{name}@{DOMAIN}{slash}{nick}" if name else f"{DOMAIN}{slash}{nick}")
        self.taken = self.service.stanza_came(element)
        return self.outside.take()

    def presence(self, sender: str, to: str, inside: str = "", *, kind: str = "") -> list[Element]:
        attribute = f"type='{kind}'" if kind else ""
        return self.came(stanza(f"<presence {attribute} id='p1'>{inside}</presence>"), sender, to)

    def join(self, sender: str, to: str, inside: str = "") -> list[Element]:
        return self.presence(sender, to, JOIN.replace("/>", f">{inside}</x>"))

    def leave(self, sender: str, to: str) -> list[Element]:
        return self.presence(sender, to, kind="unavailable")

    def message(self, sender: str, to: str, inside: str, *, kind: str = "groupchat") -> list[Element]:
        return self.came(stanza(f"<message type='{kind}' id='m1'>{inside}</message>"), sender, to)

    def iq(self, sender: str, to: str, payload: str, *, kind: str = "get") -> list[Element]:
        return self.came(stanza(f"<iq type='{kind}' id='q1'>{payload}</iq>"), sender, to)

    def answer(self, sender: str, to: str, payload: str, *, kind: str = "get") -> Element:
        """Return the result of a request; what was sent besides is left aside."""
        [found] = [one for one in self.iq(sender, to, payload, kind=kind) if one.get("id") == "q1"]
        assert (found.tag, found.get("type"), found.get("to")) == (stanzas.IQ, "result", sender), refusal(found)
        return found

    def refused(self, sender: str, to: str, payload: str, *, kind: str = "get") -> str:
        """Return the condition that a request is refused with; nothing else is sent."""
        [found] = self.iq(sender, to, payload, kind=kind)
        assert (found.get("id"), found.get("to")) == ("q1", sender)
        return condition(found)[1]

    def administer(self, sender: str, to: str, *items: str) -> list[Element]:
        """Change people's roles or affiliations; return what was sent besides the result."""
        sent = self.iq(sender, to, f"<query xmlns='{ADMIN}'>{''.join(items)}</query>", kind="set")
        results = [one for one in sent if one.tag == stanzas.IQ]
        assert [one.get("type") for one in results] == ["result"], [refusal(one) for one in results]
        return [one for one in sent if one.tag != stanzas.IQ]

    def may_not(self, sender: str, to: str, *items: str) -> str:
        """Try to change people, and return the condition that it is refused with; nothing else is sent."""
        return self.refused(sender, to, f"<query xmlns='{ADMIN}'>{''.join(items)}</query>", kind="set")

    def submit(self, **fields: str) -> str:
        """Return the payload of a form that an owner has filled in."""
        filled = "".join(
            f"<field var='muc#roomconfig_{name}'><value>{value}</value></field>" for name, value in fields.items()
        )
        return (
            f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'>"
            f"<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{filled}</x></query>"
        )

    def configure(self, sender: str, to: str, **fields: str) -> list[Element]:
        """Configure a room; return what was sent besides the result."""
        sent = self.iq(sender, to, self.submit(**fields), kind="set")
        results = [one for one in sent if one.tag == stanzas.IQ]
        assert [one.get("type") for one in results] == ["result"], [refusal(one) for one in results]
        return [one for one in sent if one.tag != stanzas.IQ]


def refusal(element: Element) -> tuple[str, str]:
    """Return the condition and the text of an error."""
    found = element.find(f"{{{stanzas.CLIENT}}}error")
    if found is None:
        return "", ""
    return stanzas.condition_of(element), found.findtext(f"{{{stanzas.STANZA_ERRORS}}}text") or ""
