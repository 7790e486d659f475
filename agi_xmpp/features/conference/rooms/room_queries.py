"""What is asked of a room itself by iq: what it is, who may what in it, and to be another one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Outside
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.rooms import administration, configuration_form, discovery
from agi_xmpp.features.conference.rooms.discovery import Listed
from agi_xmpp.features.conference.rooms.rooms import Rooms
from agi_xmpp.features.conference.stanzas import DISCO_INFO, DISCO_ITEMS, FORMS, MAM, MUC_ADMIN, MUC_OWNER, PING
from agi_xmpp.features.phone.numbers import plain
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

REGISTER = "jabber:iq:register"

#: Characters of the reason for closing a room that are passed on.
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class _Request:
    """A request to a room: the iq and its payload, and the full JID of who asks."""

    room: Room
    stanza: Element
    query: Element
    sender: Jid


#: Returns what the answer holds; None if the request is answered elsewhere.
_Handler = Callable[[_Request], list[Element] | None]


class RoomQueries:
    """Answers the requests that go to a room's own address.

    Args:
        rooms: all of them.
        outside: the world.
        phone_jid: returns a phone's own address, or None.
    """

    def __init__(self, rooms: Rooms, outside: Outside, phone_jid: Callable[[Participant], Jid | None]) -> None:
        self._rooms = rooms
        self._outside = outside
        self._phone_jid = phone_jid
        self._handlers: dict[tuple[str, str], _Handler] = {
            ("get", f"{{{PING}}}ping"): self._ping,
            ("get", f"{{{DISCO_INFO}}}query"): self._info,
            ("get", f"{{{DISCO_ITEMS}}}query"): self._items,
            ("get", f"{{{MUC_ADMIN}}}query"): self._list,
            ("set", f"{{{MUC_ADMIN}}}query"): self._administer,
            ("get", f"{{{MUC_OWNER}}}query"): self._form,
            ("set", f"{{{MUC_OWNER}}}query"): self._own,
            ("get", f"{{{REGISTER}}}query"): self._register,
            ("set", f"{{{REGISTER}}}query"): self._register,
            ("get", f"{{{MAM}}}query"): self._archive,
            ("set", f"{{{MAM}}}query"): self._archive,
            ("get", f"{{{MAM}}}metadata"): self._archive,
        }

    def answer(self, room: Room, stanza: Element, sender: Jid) -> None:
        """Answer a request; anything else is ignored.

        Args:
            room: that it went to.
            stanza: an iq.
            sender: full JID of who asks.
        """
        if stanza.get("type") not in ("get", "set"):
            return
        try:
            self._rooms.allowance.ask(sender.bare)
            payload = self._handled(room, stanza, sender)
        except Refused as problem:
            # What a form says is wrong can be put right (XEP-0045 section 10.1.3).
            kind = "modify" if problem.condition == "not-acceptable" else None
            self._outside.send(stanzas.error(stanza, problem.condition, str(problem), type=kind, by=room.address))
        else:
            if payload is not None:
                self._outside.send(stanzas.result(stanza, *payload))

    def _handled(self, room: Room, stanza: Element, sender: Jid) -> list[Element] | None:
        if len(stanza) != 1:  # RFC 6120 section 8.2.3
            raise Refused("A request holds one question.", "bad-request")
        handler = self._handlers.get((stanza.get("type", ""), stanza[0].tag))
        if handler is None:
            raise Refused("Rooms do not answer that.", "service-unavailable")
        return handler(_Request(room, stanza, stanza[0], sender))

    def _ping(self, _asked: _Request) -> list[Element]:
        return []

    # Discovery

    def _info(self, asked: _Request) -> list[Element]:
        node = asked.query.get("node", "")
        if node == discovery.RESERVED_NICK:
            return [discovery.no_nick()]
        if node:
            raise Refused(f"There is nothing called “{plain(node)}” here.", "item-not-found")
        room, rooms = asked.room, self._rooms
        # What is spoken of inside is for those who may come in.
        subject = room.subject.text if room.subject is not None and _may_read(room, asked.sender) else ""
        people = len(room.occupants) + len(room.phones)
        return [discovery.room_info(room.config, subject, people, rooms.history, archived=rooms.archived)]

    def _items(self, asked: _Request) -> list[Element]:
        """List the people in the room for those in it, and where everybody sees the room (XEP-0045 section 6.5)."""
        room, sender = asked.room, asked.sender
        listed: list[Listed] = []
        if room.occupant_of(sender) is not None or (room.config.public and _may_enter(room, sender)):
            nicks = [*room.occupants, *(phone.nick for phone in room.phones.values())]
            listed = [Listed(Jid(room.address.local, room.address.domain, nick), "") for nick in nicks]
        return [discovery.items(listed, asked.query)]

    # People

    def _list(self, asked: _Request) -> list[Element]:
        return [administration.listing(asked.room, asked.sender, asked.query, self._phone_jid)]

    def _administer(self, asked: _Request) -> list[Element]:
        room, sender = asked.room, asked.sender
        wanted = administration.changes(room, sender, asked.query, self._rooms.given(room), self._phone_jid)
        self._rooms.allowance.ask(sender.bare, len(wanted))  # muting a phone is an action of the manager connection
        if room.occupant_of(sender) is None:  # the room says who did it only of those who are in
            self._outside.note(f"room {room.address}: {sender.bare} changes who is what, and is not in")
        administration.apply(room, sender, wanted)
        return []

    def _register(self, _asked: _Request) -> list[Element]:
        raise Refused("Nicks are not reserved here, and members are named by the room's admins.", "not-allowed")

    # The room itself

    def _form(self, asked: _Request) -> list[Element]:
        self._demand_owner(asked)
        answer = Element(f"{{{MUC_OWNER}}}query")
        answer.append(configuration_form.form(asked.room.config, self._rooms.max_occupants))
        return [answer]

    def _own(self, asked: _Request) -> list[Element]:
        """Configure or destroy the room, as its owner wants (XEP-0045 section 10)."""
        self._demand_owner(asked)
        destroy = stanzas.child(asked.query, MUC_OWNER, "destroy")
        submitted = stanzas.child(asked.query, FORMS, "x")
        if destroy is not None:
            self._destroy(asked, destroy)
        elif submitted is not None and submitted.get("type") == "submit":
            config = configuration_form.read(submitted, asked.room.config, self._rooms.max_occupants)
            self._rooms.configure(asked.room, config, asked.sender)
        elif submitted is not None and submitted.get("type") == "cancel":
            self._cancel(asked)
        else:
            raise Refused("A room is configured by its form, or destroyed.", "bad-request")
        return []

    def _demand_owner(self, asked: _Request) -> None:
        if asked.room.affiliation_of(asked.sender.bare) is not Affiliation.OWNER:
            raise Refused("Only the room's owners may do that.", "forbidden")
        if asked.room.config.fixed:
            raise Refused("This room is configured in agi-xmpp.toml.", "forbidden")

    def _destroy(self, asked: _Request, destroy: Element) -> None:
        alternate = None
        if text := destroy.get("jid"):
            try:
                alternate = parse(text)
            except BadJid:
                raise Refused(f"“{plain(text)}” is not the address of a room.", "jid-malformed") from None
        reason = (stanzas.text_of(destroy, MUC_OWNER, "reason") or "")[:MAX_REASON]
        password = (stanzas.text_of(destroy, MUC_OWNER, "password") or "")[: configuration_form.MAX_PASSWORD]
        self._outside.note(f"room {asked.room.address}: destroyed by {asked.sender.bare}")
        self._rooms.destroy(asked.room, reason, alternate, password)

    def _cancel(self, asked: _Request) -> None:
        """Leave the room as it is; one that was just opened, and where nobody else is, closes (section 10.1.3)."""
        room, sender = asked.room, asked.sender
        alone = all(occupant.jid == sender.bare for occupant in room.occupants.values()) and not room.phones
        if self._rooms.is_fresh(room) and alone:
            self._outside.note(f"room {room.address}: not configured by {sender.bare}, and closed")
            self._rooms.destroy(room)

    # What was said

    def _archive(self, asked: _Request) -> None:
        """Let those read it who may hear it (XEP-0313 section 5.2)."""
        if not self._rooms.archived:
            raise Refused("Nothing of what is said here is kept.", "service-unavailable")
        if not _may_read(asked.room, asked.sender):
            raise Refused("Only those who may come in can read what was said.", "forbidden")
        self._outside.query_archive(asked.room.address, asked.stanza)


def _may_read(room: Room, jid: Jid) -> bool:
    """Tell whether somebody may know what is said in a room: they are in, or get in."""
    return room.occupant_of(jid) is not None or _may_enter(room, jid)


def _may_enter(room: Room, jid: Jid) -> bool:
    """Tell whether somebody gets in without proving anything more: by a password, for example."""
    affiliation = room.affiliation_of(jid.bare)
    if affiliation is Affiliation.OUTCAST:
        return False
    return affiliation is not Affiliation.NONE or not (room.config.members_only or room.config.password)
