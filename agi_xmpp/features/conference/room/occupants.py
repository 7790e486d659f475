"""Who is in a room, from chat and by telephone: a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference.model import Occupant, PhoneOccupant
from agi_xmpp.features.conference.room.nicks import folded
from agi_xmpp.xmpp.model import Jid

Holder = Occupant | PhoneOccupant


class Occupants:
    """Everybody in a room. No two of them have names that look alike (`nicks.folded`)."""

    def __init__(self) -> None:
        self._chat: dict[str, Occupant] = {}
        self._phones: dict[str, PhoneOccupant] = {}
        self._by_session: dict[Jid, Occupant] = {}
        self._by_name: dict[str, Holder] = {}

    @property
    def chat(self) -> Mapping[str, Occupant]:
        """Those from chat by nick."""
        return MappingProxyType(self._chat)

    @property
    def phones(self) -> Mapping[str, PhoneOccupant]:
        """Those on phones by channel."""
        return MappingProxyType(self._phones)

    def __iter__(self) -> Iterator[Holder]:
        yield from list(self._phones.values())
        yield from list(self._chat.values())

    def sessions(self) -> list[tuple[Jid, Occupant]]:
        """Return each client that is in, by its full JID, and whose it is."""
        return list(self._by_session.items())

    @property
    def clients(self) -> int:
        """How many clients are in."""
        return len(self._by_session)

    def of_session(self, full: Jid) -> Occupant | None:
        """Return the occupant that a client belongs to, or None if it is not in."""
        return self._by_session.get(full)

    def of_person(self, jid: Jid) -> list[Occupant]:
        """Return the occupants that are somebody, by their bare JID: several if they use several nicks."""
        return [occupant for occupant in self._chat.values() if occupant.jid == jid]

    def named(self, nick: str) -> Holder | None:
        """Return who has exactly this nick, or None."""
        holder = self.alike(nick)
        return holder if holder is not None and holder.nick == nick else None

    def alike(self, nick: str) -> Holder | None:
        """Return whose name looks like this one, or None."""
        return self._by_name.get(folded(nick))

    def is_taken(self, nick: str) -> bool:
        """Return True if somebody's name looks like this one."""
        return folded(nick) in self._by_name

    def enter(self, occupant: Occupant) -> None:
        """Take somebody from chat in, with their sessions."""
        self._chat[occupant.nick] = self._by_name[folded(occupant.nick)] = occupant
        for full in occupant.sessions:
            self._by_session[full] = occupant

    def leave(self, occupant: Occupant) -> None:
        """Take somebody from chat out, with their sessions."""
        del self._chat[occupant.nick], self._by_name[folded(occupant.nick)]
        for full in occupant.sessions:
            del self._by_session[full]

    def show(self, occupant: Occupant, full: Jid, presence: Element) -> None:
        """Take a client's presence; the one that came last is what others see of its occupant."""
        occupant.sessions.pop(full, None)
        occupant.sessions[full] = presence
        self._by_session[full] = occupant

    def hide(self, occupant: Occupant, full: Jid) -> None:
        """Take one client of several out."""
        del occupant.sessions[full], self._by_session[full]

    def phone_entered(self, phone: PhoneOccupant) -> None:
        """Take a phone in."""
        self._phones[phone.participant.channel] = self._by_name[folded(phone.nick)] = phone

    def phone_left(self, phone: PhoneOccupant) -> None:
        """Take a phone out."""
        del self._phones[phone.participant.channel], self._by_name[folded(phone.nick)]

    def rename(self, holder: Holder, nick: str) -> None:
        """Give somebody another name, which is free or looks like the one they have."""
        del self._by_name[folded(holder.nick)]
        if isinstance(holder, Occupant):
            del self._chat[holder.nick]
            self._chat[nick] = holder
        holder.nick = nick
        self._by_name[folded(nick)] = holder

    def clear_chat(self) -> None:
        """Take everybody from chat out."""
        for occupant in list(self._chat.values()):
            self.leave(occupant)

    def clear_phones(self) -> None:
        """Take all phones out."""
        for phone in list(self._phones.values()):
            self.phone_left(phone)
