"""A MUC service as phones' occupants meet it: a room that keeps the rules of XEP-0045, in tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.puppet import State
from agi_xmpp.features.conference.elsewhere.puppets import Bridge, BridgedRoom
from agi_xmpp.features.conference.stanzas import Item
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from tests.unit.features.conference.fakes import FakeOutside, phone, stanza

GARDEN = parse("garden@rooms.example.org")


def address_of(participant: Participant) -> Jid:
    local = "anonymous" if participant.withheld else participant.number
    return parse(f"{local}@phone.example.org/{participant.uniqueid}")


@dataclass
class Muc:
    """The room on its service: takes stanzas of occupants at once, and has what it sends in ``out`` in order.

    Attributes:
        out: on its way to us.
        occupants: nick by full JID.
        visitors: nicks without a voice.
        refuses: condition by nick, for who wants to enter with it; "" refuses everybody.
        heard: what everybody in the room has read: nick and body.
        refuses_invitations: condition of the error that answers one; "" passes them on.
        invited: what was passed on: who invites, whom, and why.
        shows_addresses: everybody sees who the others are.
    """

    out: list[Element] = field(default_factory=list)
    occupants: dict[Jid, str] = field(default_factory=dict)
    visitors: set[str] = field(default_factory=set)
    refuses: dict[str, str] = field(default_factory=dict)
    heard: list[tuple[str, str]] = field(default_factory=list)
    came: list[Element] = field(default_factory=list)
    exists: bool = True
    refuses_invitations: str = ""
    invited: list[tuple[str, str, str]] = field(default_factory=list)
    shows_addresses: bool = False

    def take(self, element: Element) -> None:
        """Take a stanza of a client."""
        self.came.append(element)
        sender, to = parse(element.get("from", "")), parse(element.get("to", ""))
        if element.tag == stanzas.PRESENCE and element.get("type") == "unavailable":
            self.leave(sender)
        elif element.tag == stanzas.PRESENCE:
            self._presence(element, sender, to.resource)
        elif element.tag == stanzas.MESSAGE and element.get("type") == "groupchat":
            self._message(element, sender)
        elif (invite := element.find(f"{{{stanzas.MUC_USER}}}x/{{{stanzas.MUC_USER}}}invite")) is not None:
            self._invite(element, sender, invite)
        elif element.tag == stanzas.IQ and element.get("type") == "get":
            known = self.occupants.get(sender) == to.resource
            self.out.append(stanzas.result(element) if known else stanzas.error(element, "not-acceptable"))

    def _presence(self, element: Element, sender: Jid, nick: str) -> None:
        wants_in = stanzas.child(element, stanzas.MUC, "x") is not None
        old = self.occupants.get(sender)
        condition = self.refuses.get(nick) or self.refuses.get("")
        if any(other == nick and full != sender for full, other in self.occupants.items()):
            condition = "conflict"
        if (wants_in or old != nick) and condition:
            self.out.append(stanzas.error(element, condition))
        elif not wants_in and old is None:
            self.out.append(stanzas.error(element, "not-acceptable"))
        elif old is not None and old != nick:
            self.rename(sender, nick)
        else:
            self.enter(sender, nick, entry=wants_in)

    def enter(self, full: Jid, nick: str, *, entry: bool = True) -> None:
        """Let somebody in, or show what is new of them."""
        self.occupants[full] = nick
        if entry:
            for other, name in self.occupants.items():
                if other != full:
                    self._tell(full, name)
        for other in self.occupants:
            if other != full:
                self._tell(other, nick)
        created, self.exists = not self.exists, True
        self._tell(full, nick, codes=(110, 201) if created else (110,))
        if entry:
            self._say(full, "", "<subject>roses</subject>")

    def leave(self, full: Jid, *codes: int, extra: str = "") -> None:
        """Let somebody out, by their own will or not."""
        nick = self.occupants.pop(full, None)
        if nick is None:
            return
        self._tell(full, nick, "unavailable", (110, *codes), extra=extra)
        for other in self.occupants:
            self._tell(other, nick, "unavailable", codes)

    def rename(self, full: Jid, nick: str) -> None:
        """Give somebody another nick."""
        old, self.occupants[full] = self.occupants[full], nick
        for other in self.occupants:
            own = (110,) if other == full else ()
            self._tell(other, old, "unavailable", (303, *own), new=nick)
            self._tell(other, nick, codes=own)

    def say(self, nick: str, children: str) -> None:
        """Send something to all, as if an occupant had."""
        element = stanza(f"<message>{children}</message>")
        self.heard.append((nick, stanzas.body_of(element)))
        for full in self.occupants:
            self._say(full, nick, children)

    def give_voice(self, nick: str, voice: bool) -> None:
        (self.visitors.discard if voice else self.visitors.add)(nick)
        for full, name in self.occupants.items():
            self._tell(full, nick, codes=(110,) if name == nick else ())

    def of(self, nick: str) -> Jid:
        """Return the full JID of somebody who is in."""
        return next(full for full, name in self.occupants.items() if name == nick)

    def _message(self, element: Element, sender: Jid) -> None:
        nick = self.occupants.get(sender)
        if nick is None:
            self.out.append(stanzas.error(element, "not-acceptable"))
        elif nick in self.visitors:
            self.out.append(stanzas.error(element, "forbidden"))
        else:
            self.heard.append((nick, stanzas.body_of(element)))
            for full in self.occupants:
                copy = stanzas.addressed(element, full)
                copy.set("from", f"{GARDEN}/{nick}")
                self.out.append(copy)

    def _invite(self, element: Element, sender: Jid, invite: Element) -> None:
        if sender not in self.occupants or self.refuses_invitations:
            self.out.append(stanzas.error(element, self.refuses_invitations or "not-acceptable", "Ask the owner."))
        else:
            reason = stanzas.text_of(invite, stanzas.MUC_USER, "reason") or ""
            self.invited.append((str(sender), invite.get("to", ""), reason))

    def _say(self, full: Jid, nick: str, children: str) -> None:
        element = stanza(f"<message type='groupchat' to='{full}'>{children}</message>")
        element.set("from", f"{GARDEN}/{nick}" if nick else str(GARDEN))
        self.out.append(element)

    def _tell(
        self,
        full: Jid,
        nick: str,
        kind: str | None = None,
        codes: tuple[int, ...] = (),
        *,
        new: str = "",
        extra: str = "",
    ) -> None:
        element = stanzas.presence(Jid(GARDEN.local, GARDEN.domain, nick), full, kind)
        role = "none" if kind else "visitor" if nick in self.visitors else "participant"
        known = next((jid for jid, name in self.occupants.items() if name == nick and self.shows_addresses), None)
        x = stanzas.add_muc_user(element, Item("none", role, jid=known, nick=new or None), codes)
        if extra:
            stanzas.add(x, stanzas.MUC_USER, extra)
        self.out.append(element)


class Scene:
    """Conference 6001, whose room is the garden; what either side sends waits until the test delivers it."""

    def __init__(self, password: str = "") -> None:
        self.outside = FakeOutside()
        self.muc = Muc()
        self.time = 0.0
        self.online = False
        self.room = BridgedRoom(
            Bridge("6001", GARDEN, "Garden", password),
            self.outside,
            self.send,
            address_of,
            lambda: Pace(300.0, self.clock, lambda: 1.0),
            self.clock,
        )
        self.outside.room = self.room
        self._channels = itertools.count(1)

    def clock(self) -> float:
        return self.time

    def send(self, element: Element) -> None:
        if self.online:
            self.muc.take(element)

    def began(self) -> None:
        self.online = True
        self.room.stream_began()
        self.deliver()

    def ended(self) -> None:
        self.online = False
        self.muc.out.clear()
        self.room.stream_ended()

    def deliver(self, limit: int = 10_000) -> None:
        """Let us have what the room has sent to our addresses: all of it, or so many stanzas."""
        for _ in range(limit):
            if not self.muc.out:
                return
            element = self.muc.out.pop(0)
            to = parse(element.get("to", ""))
            if to.domain == "phone.example.org":
                self.room.stanza_came(element, parse(element.get("from", "")), to)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a look at what is due at its end."""
        self.time += seconds
        self.room.tick()
        self.deliver()

    def join(self, name: str = "Alice A", number: str = "101", *, muted: bool = False) -> Participant:
        """Let a phone come into the conference."""
        participant = phone(name, number, muted=muted)
        self.room.phone_joined(participant)
        self.deliver()
        return participant

    def enter(self, nick: str) -> None:
        """Let somebody enter the room by chat."""
        self.muc.enter(parse(f"{nick.lower().replace(' ', '')}@example.org/client"), nick)
        self.deliver()

    def says(self, nick: str, body: str) -> None:
        self.muc.say(nick, f"<body>{body}</body>")
        self.deliver()

    @property
    def nicks(self) -> list[str]:
        """Who the room says is in."""
        return list(self.muc.occupants.values())

    def told(self) -> Iterator[tuple[str, str]]:
        """Return what phones were told: speaker and text."""
        said, self.outside.said = self.outside.said, []
        return ((one.speaker, one.text) for one in said)


def state(scene: Scene, channel: str = "PJSIP/101-00000001") -> State:
    """Return how far a phone has come into the room."""
    return scene.room.phones[channel].state
