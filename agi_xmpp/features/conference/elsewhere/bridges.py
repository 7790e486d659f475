"""Rooms of other services that are the rooms of conferences: which there are, and the way to them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from xml.etree.ElementTree import Element

from agi_xmpp.errors import BadJid
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere import puppet_stanzas
from agi_xmpp.features.conference.elsewhere.puppets import Bridge, BridgedRoom
from agi_xmpp.features.conference.phones import telephone
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid


class Bridges:
    """The rooms. Implements `StanzaHost` for the component that has the phones' addresses.

    Args:
        make: makes a room.
        send: sends a stanza of that component.
    """

    def __init__(self, make: Callable[[Bridge], BridgedRoom], send: Callable[[Element], None]) -> None:
        self._make = make
        self._send = send
        self._by_number: dict[str, BridgedRoom] = {}
        self._by_address: dict[Jid, BridgedRoom] = {}
        self._online = False

    @property
    def rooms(self) -> Sequence[BridgedRoom]:
        """All of them."""
        return list(self._by_number.values())

    def room_of_number(self, number: str) -> BridgedRoom | None:
        """Return the room of a conference, if it has one of these."""
        return self._by_number.get(number)

    def room_at(self, address: Jid) -> BridgedRoom | None:
        """Return the room at an address, if it is a conference's."""
        return self._by_address.get(address)

    def apply(self, bridges: Iterable[Bridge]) -> Sequence[str]:
        """Have these rooms from now on. Phones leave those that are not among them, or have changed.

        Returns:
            The conferences that have another room now, or none.
        """
        wanted = {bridge.number: bridge for bridge in bridges}
        changed = []
        for number, room in list(self._by_number.items()):
            if wanted.get(number) != room.bridge:
                room.close()
                del self._by_number[number], self._by_address[room.address]
                changed.append(number)
        for number, bridge in wanted.items():
            if number not in self._by_number:
                room = self._by_number[number] = self._by_address[bridge.address] = self._make(bridge)
                if self._online:
                    room.stream_began()
                changed.append(number)
        return list(dict.fromkeys(changed))

    def close(self) -> None:
        """Let all phones leave."""
        self.apply(())

    def tick(self) -> None:
        """See `BridgedRoom.tick`."""
        for room in self.rooms:
            room.tick()

    # StanzaHost

    def stanza_came(self, stanza: Element) -> bool:
        """Take what one of the rooms sends to a phone that is in it, or was; see `StanzaHost.stanza_came`."""
        try:
            sender, to = parse(stanza.get("from", "")), parse(stanza.get("to", ""))
        except BadJid:
            return False
        room = self._by_address.get(sender.bare)
        if room is None:
            return False
        if to.is_bare:
            return sender.is_bare and room.declined(stanza, to)
        if not room.stanza_came(stanza, sender, to):
            self._strange(stanza, sender, to)
        return True

    def _strange(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Answer for a phone that is not in: its call has ended while we were away, and the room has not heard that."""
        if stanza.tag == stanzas.IQ:
            if (answer := telephone.answer(stanza, to.resource)) is not None:
                self._send(answer)
        elif stanza.get("type") not in ("error", "unavailable"):
            # Whatever the nick: services find who leaves by the address.
            nick = sender.resource or to.resource
            self._send(puppet_stanzas.departure(to, Jid(sender.local, sender.domain, nick)))

    def stream_began(self) -> None:
        """See `StanzaHost.stream_began`."""
        self._online = True
        for room in self.rooms:
            room.stream_began()

    def stream_ended(self) -> None:
        """See `StanzaHost.stream_ended`."""
        self._online = False
        for room in self.rooms:
            room.stream_ended()
