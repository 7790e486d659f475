"""Tells each client in a room who is in, and in what standing (XEP-0045 section 7). Pure.

Real addresses are for moderators, and for everybody their own: the room is semi-anonymous. A client that is in twice
under one nick gets its own presence as many times as it has sessions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Occupant, Role
from agi_xmpp.features.conference.room.occupants import Holder
from agi_xmpp.features.conference.room.state import RoomState
from agi_xmpp.features.conference.stanzas import Item
from agi_xmpp.xmpp.model import Jid

#: Status codes (XEP-0045 section 15.6.2).
CONFIG_CHANGED = 104
SELF = 110
CREATED = 201
NICK_ALTERED = 210
BANNED = 301
NICK_CHANGED = 303
KICKED = 307
AFFILIATION_LOST = 321
NOW_MEMBERS_ONLY = 322
SHUT_DOWN = 332
TECHNICAL = 333

#: What is ours to say, so that nobody says it in their own presence or message.
OURS = frozenset(
    {
        f"{{{stanzas.MUC}}}x",
        f"{{{stanzas.MUC_USER}}}x",
        f"{{{stanzas.OCCUPANT_ID}}}occupant-id",
    }
)


@dataclass(frozen=True, slots=True)
class Why:
    """What comes with a change of somebody's presence.

    Attributes:
        codes: status codes for everybody; one's own presence has 110 besides.
        own_codes: further ones for their own clients only.
        actor: nick of who did it, or "".
        reason: given by them, or "".
        nick: the new one, in a change of it.
        id: of the stanza that caused it, for the client that sent it: ``cause``.
        cause: that client's full JID.
        affiliation: the one to be shown, if it is not that of the table.
    """

    codes: tuple[int, ...] = ()
    own_codes: tuple[int, ...] = ()
    actor: str = ""
    reason: str = ""
    nick: str | None = None
    id: str | None = None
    cause: Jid | None = None
    affiliation: Affiliation | None = None


NO_REASON = Why()


class Presences:
    """Tells the clients in a room of each other and of the phones.

    Args:
        state: of the room.
    """

    def __init__(self, state: RoomState) -> None:
        self._state = state

    def show(self, holder: Holder, why: Why = NO_REASON) -> None:
        """Tell everybody that somebody is in, or has changed."""
        for full, occupant in self._state.occupants.sessions():
            self.tell(full, occupant, holder, why)

    def tell(self, full: Jid, occupant: Occupant, holder: Holder, why: Why = NO_REASON) -> None:
        """Tell one client, which is ``occupant``'s, that ``holder`` is in."""
        stanza = self._presence(full, occupant, holder, None, why)
        stanza.extend(_shown_children(holder))
        lang = _shown_presence(holder)
        if lang is not None and (value := lang.get(stanzas.LANG)):
            stanza.set(stanzas.LANG, value)
        item = self._item(full, occupant, holder, why)
        self._send(stanza, holder, item, self._codes(occupant, holder, why))

    def gone(self, holder: Holder, why: Why = NO_REASON, *, farewell: Element | None = None) -> None:
        """Tell everybody that somebody is no longer in, or no longer under this nick. They still are in the table.

        Args:
            holder: who.
            why: see there.
            farewell: their last presence, if they sent one.
        """
        for full, occupant in self._state.occupants.sessions():
            self.tell_gone(full, occupant, holder, why, farewell=farewell)

    def tell_gone(
        self,
        full: Jid,
        occupant: Occupant,
        holder: Holder,
        why: Why = NO_REASON,
        *,
        farewell: Element | None = None,
    ) -> None:
        """Tell one client only."""
        stanza = self._presence(full, occupant, holder, "unavailable", why)
        if farewell is not None:
            stanza.extend(stanzas.without(farewell, tags=OURS))
        item = self._item(full, occupant, holder, why)
        if why.nick is None:
            item = replace(item, role=Role.NONE.value)
        self._send(stanza, holder, item, self._codes(occupant, holder, why))

    def closed(self, codes: Sequence[int], destroyed: Element | None = None, words: str = "") -> None:
        """Tell each client that it is no longer in, because the room is not there any more.

        Args:
            codes: besides 110.
            destroyed: what is said of a room that is gone for good: ``<destroy/>``.
            words: the same for people, if there is something to say.
        """
        item = Item(Affiliation.NONE.value, Role.NONE.value)
        for full, occupant in self._state.occupants.sessions():
            stanza = stanzas.presence(self._state.at(occupant.nick), full, "unavailable")
            if words:
                stanzas.add(stanza, stanzas.CLIENT, "status", words)
            x = stanzas.add_muc_user(stanza, item, (SELF, *codes))
            if destroyed is not None:
                x.append(destroyed)
            self._state.outside.send(stanza)

    def _presence(self, full: Jid, occupant: Occupant, holder: Holder, type_: str | None, why: Why) -> Element:
        caused = occupant is holder and full == why.cause
        return stanzas.presence(self._state.at(holder.nick), full, type_, why.id if caused else None)

    def _item(self, full: Jid, occupant: Occupant, holder: Holder, why: Why) -> Item:
        affiliation, role = Affiliation.NONE, Role.PARTICIPANT
        if isinstance(holder, Occupant):
            affiliation, role = holder.affiliation, holder.role
        elif holder.participant.muted:
            role = Role.VISITOR
        return Item(
            (why.affiliation or affiliation).value,
            role.value,
            jid=self._address(full, occupant, holder),
            nick=why.nick,
            actor=why.actor,
            reason=why.reason,
        )

    def _address(self, full: Jid, occupant: Occupant, holder: Holder) -> Jid | None:
        """Return the real address that a client may see, or None."""
        if occupant is holder:
            return full
        if occupant.role is not Role.MODERATOR:
            return None
        if isinstance(holder, Occupant):
            return next(reversed(holder.sessions), holder.jid)
        return None if holder.participant.withheld else self._state.phone_jid(holder.participant)

    @staticmethod
    def _codes(occupant: Occupant, holder: Holder, why: Why) -> tuple[int, ...]:
        return (SELF, *why.own_codes, *why.codes) if occupant is holder else why.codes

    def _send(self, stanza: Element, holder: Holder, item: Item, codes: Iterable[int]) -> None:
        stanzas.add_muc_user(stanza, item, codes)
        stanzas.add(stanza, stanzas.OCCUPANT_ID, "occupant-id", id=self._state.occupant_id(holder))
        self._state.outside.send(stanza)


def _shown_presence(holder: Holder) -> Element | None:
    """Return the presence that others see of somebody in chat: the one that came last of their clients."""
    return next(reversed(holder.sessions.values()), None) if isinstance(holder, Occupant) else None


def _shown_children(holder: Holder) -> Iterable[Element]:
    if isinstance(holder, Occupant):
        presence = _shown_presence(holder)
        return () if presence is None else stanzas.without(presence, tags=OURS)
    return of_muted_phone() if holder.participant.muted else ()


def of_muted_phone() -> Sequence[Element]:
    """Return what the presence of a phone has in it that nobody hears."""
    parent = Element(stanzas.PRESENCE)
    stanzas.add(parent, stanzas.CLIENT, "show", "away")
    stanzas.add(parent, stanzas.CLIENT, "status", "muted")
    return list(parent)
