"""A room for tests, and clients that believe what they are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, RoomConfig
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from tests.unit.features.conference.fakes import FakeOutside, stanza

ADDRESS = parse("balcony@conference.example.org")
JOIN = "<x xmlns='http://jabber.org/protocol/muc'/>"


def phone_jid(participant):
    return parse(f"{participant.number}@phone.example.org") if participant.number else None


def codes(element: Element) -> list[int]:
    """Return the status codes of a presence or message, in order."""
    return [int(status.get("code", "")) for status in element.iter(f"{{{stanzas.MUC_USER}}}status")]


def item(presence: Element) -> dict[str, str]:
    """Return the attributes of a presence's item."""
    return dict(the(presence, f"{{{stanzas.MUC_USER}}}x/{{{stanzas.MUC_USER}}}item").items())


def the(stanza: Element, path: str) -> Element:
    """Return the element that is there."""
    found = stanza.find(path)
    assert found is not None
    return found


def body(message: Element) -> str:
    return stanzas.body_of(message)


def nick_of(element: Element) -> str:
    """Return the nick that a stanza comes from."""
    return parse(element.get("from", "")).resource


def condition(element: Element) -> tuple[str | None, str]:
    """Return the type and the condition of an error."""
    assert element.get("type") == "error"
    return the(element, f"{{{stanzas.CLIENT}}}error").get("type"), stanzas.condition_of(element)


class Hall:
    """The room ``balcony``, conference 6000, with a world round it that does what it is asked at once."""

    def __init__(self, affiliations: dict[str, Affiliation] | None = None, *, history: int = 20, **config: object):
        self.outside = FakeOutside()
        self.changes = 0
        self.room = Room(
            ADDRESS,
            "6000",
            RoomConfig(**({"title": "Balcony"} | config)),  # type: ignore[arg-type]
            {parse(jid): value for jid, value in (affiliations or {}).items()},
            self.outside,
            key=b"a secret of the house",
            history=history,
            phone_jid=phone_jid,
            on_change=self._changed,
        )
        self.outside.room = self.room

    def _changed(self) -> None:
        self.changes += 1

    # What clients do. Each returns what the room sent because of it.

    def presence(self, full: str, nick: str, children: str = "", *, kind: str = "", id_: str = "p1", created=False):
        to = f"{ADDRESS}/{nick}" if nick else str(ADDRESS)
        element = stanza(f"<presence id='{id_}'>{children}</presence>")
        if kind:
            element.set("type", kind)
        element.set("from", full)
        element.set("to", to)
        self.room.presence_came(element, parse(full), nick, created=created)
        return self.outside.take()

    def join(self, full: str, nick: str, children: str = "", *, x: str = JOIN, **others):
        return self.presence(full, nick, x + children, **others)

    def message(self, full: str, children: str, nick: str = "", *, kind: str = "groupchat", id_: str = "m1", lang=""):
        element = stanza(f"<message type='{kind}' id='{id_}'>{children}</message>")
        element.set("from", full)
        element.set("to", f"{ADDRESS}/{nick}" if nick else str(ADDRESS))
        if lang:
            element.set(stanzas.LANG, lang)
        self.room.message_came(element, parse(full), nick)
        return self.outside.take()

    def say(self, full: str, text: str, **others):
        return self.message(full, f"<body>{text}</body>", **others)

    def iq(self, full: str, nick: str, payload: str, *, kind: str = "get", id_: str = "q1"):
        element = stanza(f"<iq type='{kind}' id='{id_}'>{payload}</iq>")
        element.set("from", full)
        element.set("to", f"{ADDRESS}/{nick}" if nick else str(ADDRESS))
        self.room.iq_came(element, parse(full), nick)
        return self.outside.take()

    def phone_joins(self, participant):
        self.room.phone_joined(participant)
        return self.outside.take()

    def members(self) -> dict[str, tuple[str, str]]:
        """Return who is in: role and affiliation by nick."""
        people = {nick: (one.role.value, one.affiliation.value) for nick, one in self.room.occupants.items()}
        phones = {
            one.nick: ("visitor" if one.participant.muted else "participant", "none")
            for one in self.room.phones.values()
        }
        return people | phones


def to(sent: Iterable[Element], full: str) -> list[Element]:
    """Return what was sent to one client."""
    return [element for element in sent if element.get("to") == full]


@dataclass
class Client:
    """A client that applies presences as XEP-0045 says, and remembers what it was told."""

    full: str
    nick: str = ""
    members: dict[str, tuple[str, str]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def is_in(self) -> bool:
        return bool(self.nick)

    def take(self, sent: Iterable[Element]) -> None:
        for element in to(sent, self.full):
            if element.tag == stanzas.PRESENCE and element.get("type") != "error":
                self._presence(element)

    def _presence(self, presence: Element) -> None:
        nick, status, said = nick_of(presence), codes(presence), item(presence)
        if presence.get("type") is None:
            self.members[nick] = (said["role"], said["affiliation"])
            if 110 in status:
                self.nick = nick
            return
        assert presence.get("type") == "unavailable"
        self.members.pop(nick, None)
        if 110 not in status:
            return
        if 303 in status:
            self.nick = said["nick"]
        else:
            self.nick = ""
            self.members.clear()


def jid(text: str) -> Jid:
    return parse(text)
