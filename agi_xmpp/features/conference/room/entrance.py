"""Who comes into a room from chat, under which nick, and who goes (XEP-0045 sections 7.2, 7.6, 7.7, 7.14). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Occupant
from agi_xmpp.features.conference.room import allowance, nicks, presences
from agi_xmpp.features.conference.room.history import HistoryRequest, requested
from agi_xmpp.features.conference.room.presences import Presences, Why
from agi_xmpp.features.conference.room.state import RoomState
from agi_xmpp.xmpp.model import Jid

#: Clients of one person in a room at once, under whatever nicks: more would take the places of others.
MAX_SESSIONS = 20

#: Characters of a presence at the most. Everybody gets it, and whoever comes in later gets it again.
MAX_PRESENCE = 8192

#: What the answer to a request says if the client that was asked is not there any more.
NOT_THERE = frozenset({"gone", "recipient-unavailable", "remote-server-not-found", "remote-server-timeout"})

#: The same for a presence or a message. To requests, clients that are there say so of what they do not offer.
GONE = NOT_THERE | {"item-not-found", "service-unavailable"}


class Refusal(NamedTuple):
    """Why somebody is not let in: a condition (RFC 6120 section 8.3.3), one sentence, and a type if it is unusual."""

    condition: str
    text: str
    type: str | None = None


#: For conferences that are locked (ConfbridgeLock): like those who administer one in Asterisk, admins and owners may
#: come in nevertheless.
LOCKED = Refusal("forbidden", "This conference is locked.")


class Entrance:
    """The door of a room.

    Args:
        state: of the room.
        presences: tells those who are in.
        client_left: is told of each client that has gone.
    """

    def __init__(self, state: RoomState, presences: Presences, client_left: Callable[[Jid], None]) -> None:
        self._state = state
        self._presences = presences
        self._client_left = client_left

    def presence_came(self, stanza: Element, sender: Jid, nick: str, *, created: bool) -> None:
        """Take a presence; see `Room.presence_came`."""
        occupant = self._state.occupants.of_session(sender)
        match stanza.get("type"):
            case "error":
                self.error_came(stanza, sender)
            case "unavailable" if occupant is not None:
                # By who sent it, not by nick: servers send it to each address that ever got a presence, and some
                # clients to the room itself.
                self.leave(occupant, sender, Why(id=stanza.get("id"), cause=sender), farewell=stanza)
            case None:
                self._available(stanza, sender, nick, occupant, created=created)

    def error_came(self, stanza: Element, sender: Jid, conditions: frozenset[str] = GONE) -> None:
        """Put a client out that an error says is not there any more; it cannot have left by itself."""
        occupant = self._state.occupants.of_session(sender)
        if occupant is not None and stanzas.condition_of(stanza) in conditions:
            self._state.outside.note(f"room {self._state.address}: {sender} cannot be reached any more, and is out")
            self.leave(occupant, sender, Why(own_codes=(presences.TECHNICAL,)))

    def leave(self, occupant: Occupant, full: Jid, why: Why, *, farewell: Element | None = None) -> None:
        """Take one client out; with its last one goes the occupant."""
        if len(occupant.sessions) == 1:
            self.put_out(occupant, why, farewell=farewell)
            return
        self._presences.tell_gone(full, occupant, occupant, why, farewell=farewell)
        was_shown = next(reversed(occupant.sessions)) == full
        self._state.occupants.hide(occupant, full)
        self._client_left(full)
        if was_shown:
            self._presences.show(occupant)

    def put_out(self, occupant: Occupant, why: Why, *, farewell: Element | None = None) -> None:
        """Take an occupant out with all clients, and tell everybody why."""
        self._presences.gone(occupant, why, farewell=farewell)
        self._state.occupants.leave(occupant)
        for full in occupant.sessions:
            self._client_left(full)
        self._state.outside.occupancy_changed(self._state.number)

    def _available(self, stanza: Element, sender: Jid, nick: str, occupant: Occupant | None, *, created: bool) -> None:
        joins = stanzas.child(stanza, stanzas.MUC, "x") is not None
        wanted = nicks.of_chat(self._state.address, nick)
        weight = stanzas.weight(stanza)
        if weight > MAX_PRESENCE:
            self._state.refuse(
                stanza, "policy-violation", f"A presence here has {MAX_PRESENCE} characters at the most."
            )
        elif occupant is None and not joins:
            # Clients that think that they are in enter anew.
            self._state.refuse(stanza, "not-acceptable", "You are not in this room.")
        elif wanted is None:
            self._state.refuse(
                stanza, "jid-malformed", f"A nick is needed, of {nicks.MAX_NICK} visible characters at the most."
            )
        elif not self._state.affords(stanza, sender, self._cost(weight, joins=joins)):
            return
        elif occupant is None:
            self._join(stanza, sender, wanted, altered=wanted != nick, created=created)
        else:
            if wanted != occupant.nick and not self._rename(stanza, sender, occupant, wanted):
                return
            self._show(stanza, sender, joins=joins)

    def _cost(self, weight: int, *, joins: bool) -> int:
        """Return how many characters a presence makes us send; also that of the name before, and the one at the end."""
        occupants = self._state.occupants
        characters = 2 * (weight + allowance.FRAME) * (occupants.clients + 1)
        if not joins:
            return characters
        others = len(occupants.chat) + len(occupants.phones)
        return max(characters + others * allowance.PRESENCE + self._state.history.weight, allowance.ENTRY)

    def _show(self, stanza: Element, sender: Jid, *, joins: bool) -> None:
        """Take a new presence of somebody who is in; a client that joins again gets all that a new one gets."""
        occupant = self._state.occupants.of_session(sender)
        if occupant is None:  # pragma: no cover - the caller has just looked
            return
        self._state.occupants.show(occupant, sender, stanza)
        why = Why(id=stanza.get("id"), cause=sender)
        if not joins:
            self._presences.show(occupant, why)
            return
        self._tell_of_others(occupant, sender)
        self._presences.show(occupant, why)
        self._tell_what_was_said(sender, requested(stanza))

    # Coming in

    def _join(self, stanza: Element, sender: Jid, nick: str, *, altered: bool, created: bool) -> None:
        refusal = self._refusal(stanza, sender, nick)
        if refusal is not None:
            self._state.outside.note(f"room {self._state.address}: {sender} was not let in: {refusal.text}")
            self._state.refuse(stanza, *refusal)
            return
        occupant = self._state.occupants.chat.get(nick)
        is_new = occupant is None
        if occupant is None:
            affiliation = self._state.affiliation_of(sender)
            occupant = Occupant(nick, sender.bare, affiliation, self._state.role_of(affiliation))
            self._state.occupants.enter(occupant)
        self._state.occupants.show(occupant, sender, stanza)
        self._tell_of_others(occupant, sender)
        codes = (presences.CREATED,) * created + (presences.NICK_ALTERED,) * altered
        # All of one's own clients get the same presence; only for the one that joins these codes mean something.
        for full, other in self._state.occupants.sessions():  # who has just come is the last
            why = Why(own_codes=codes, id=stanza.get("id"), cause=sender) if full == sender else presences.NO_REASON
            self._presences.tell(full, other, occupant, why)
        self._tell_what_was_said(sender, requested(stanza))
        if is_new:
            self._state.outside.occupancy_changed(self._state.number)

    def _refusal(self, stanza: Element, sender: Jid, nick: str) -> Refusal | None:
        """Return why somebody may not come in, or None (XEP-0045 sections 7.2.5 to 7.2.9)."""
        config, occupants = self._state.config, self._state.occupants
        affiliation = self._state.affiliation_of(sender)
        if affiliation is Affiliation.OUTCAST:
            return Refusal("forbidden", "You are banned from this room.")
        if config.members_only and affiliation is Affiliation.NONE:
            return Refusal("registration-required", "Only members may enter this room.")
        password = stanza.findtext(f"{{{stanzas.MUC}}}x/{{{stanzas.MUC}}}password") or ""
        if config.password and not stanzas.same_text(password, config.password):
            return Refusal("not-authorized", "This room needs the right password.")
        holder = occupants.alike(nick)
        own = isinstance(holder, Occupant) and holder.jid == sender.bare and holder.nick == nick
        if holder is not None and not own:
            return Refusal("conflict", "Somebody here has this nick, or one that looks like it.")
        if sum(len(occupant.sessions) for occupant in occupants.of_person(sender.bare)) >= MAX_SESSIONS:
            return Refusal("resource-constraint", f"You are in this room with {MAX_SESSIONS} clients already.")
        steward = affiliation in (Affiliation.OWNER, Affiliation.ADMIN)
        if holder is None and len(occupants.chat) >= config.max_occupants and not steward:
            return Refusal("service-unavailable", "This room is full.", "wait")
        if holder is None and not steward and self._state.outside.is_locked(self._state.number):
            return LOCKED
        return None

    def _tell_of_others(self, occupant: Occupant, full: Jid) -> None:
        for holder in self._state.occupants:
            if holder is not occupant:
                self._presences.tell(full, occupant, holder)

    def _tell_what_was_said(self, full: Jid, request: HistoryRequest) -> None:
        """Send what was said before, and the subject: clients count as in when that has come, be it empty."""
        state = self._state
        for message in state.history.select(request, state.outside.now()):
            stanza = stanzas.addressed(message.stanza, full)
            stanzas.add_delay(stanza, state.address, message.stamp)
            state.outside.send(stanza)
        subject = state.subject
        origin = state.at(subject.nick) if subject is not None else state.address
        stanza = stanzas.message(origin, full, "groupchat", state.outside.new_id())
        stanzas.add(stanza, stanzas.CLIENT, "subject", subject.text if subject is not None else "")
        if subject is not None:
            stanzas.add_delay(stanza, state.address, subject.stamp)
        state.outside.send(stanza)

    # Another nick

    def _rename(self, stanza: Element, sender: Jid, occupant: Occupant, nick: str) -> bool:
        """Give an occupant another nick, with all clients; return False if it is taken."""
        holder = self._state.occupants.alike(nick)
        other = holder if isinstance(holder, Occupant) and holder.jid == occupant.jid and holder.nick == nick else None
        if holder is not None and holder is not occupant and other is None:
            self._state.refuse(stanza, "conflict", "Somebody here has this nick, or one that looks like it.")
            return False
        why = Why(codes=(presences.NICK_CHANGED,), nick=nick, id=stanza.get("id"), cause=sender)
        self._presences.gone(occupant, why)
        if other is None:
            self._state.occupants.rename(occupant, nick)
            return True
        # The same person's other nick: from now on they are one occupant.
        self._state.occupants.leave(occupant)
        for full, presence in occupant.sessions.items():
            self._state.occupants.show(other, full, presence)
        self._state.outside.occupancy_changed(self._state.number)
        return True
