"""The service of rooms (XEP-0045): leads what comes from chat to its room, or answers it. Pure."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.config import ConferenceSettings
from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Outside
from agi_xmpp.features.conference.room import allowance
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.rooms import discovery
from agi_xmpp.features.conference.rooms.discovery import Listed
from agi_xmpp.features.conference.rooms.room_queries import RoomQueries
from agi_xmpp.features.conference.rooms.rooms import Rooms
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid


class MucService(Rooms):
    """The rooms of one domain, and the way to them.

    Args:
        domain, settings, outside, table, key, phone_jid: see `Rooms`.
        own: the address of the account, where that is not the domain: what goes there is the session's.

    Raises:
        ConfigError: the settings are wrong in a way that only shows now.
    """

    def __init__(
        self,
        domain: str,
        settings: ConferenceSettings,
        outside: Outside,
        table: MutableMapping[str, str],
        *,
        key: bytes,
        phone_jid: Callable[[Participant], Jid | None],
        own: Jid | None = None,
    ) -> None:
        super().__init__(domain, settings, outside, table, key=key, phone_jid=phone_jid)
        self._own = own.bare if own is not None else self._domain
        self._queries = RoomQueries(self, outside, phone_jid)

    def stanza_came(self, stanza: Element) -> bool:
        """Take a stanza to our domain, and return True; or leave it to the session.

        Of the session are its own address, and what goes to the domain itself but is no question to a service of
        rooms: the account may also be used for something else.
        """
        try:
            to, sender = parse(stanza.get("to", "")), parse(stanza.get("from", ""))
        except BadJid as problem:
            return self._malformed(stanza, problem)
        if to.domain != self._domain.domain or sender.domain == to.domain or (to.local and to.bare == self._own):
            return False
        if not to.local:
            return self._service_came(stanza, sender, to)
        try:
            self._room_came(stanza, sender, to)
        except Refused as problem:
            self._refuse(stanza, problem, by=to.bare)
        return True

    def _malformed(self, stanza: Element, problem: BadJid) -> bool:
        if stanzas.wants_answer(stanza) and stanza.get("from"):
            self._outside.send(stanzas.error(stanza, "jid-malformed", str(problem)))
        return True

    def _refuse(self, stanza: Element, problem: Refused, by: Jid) -> None:
        if stanzas.wants_answer(stanza):
            self._outside.send(stanzas.error(stanza, problem.condition, str(problem), by=by))

    def _service_came(self, stanza: Element, sender: Jid, to: Jid) -> bool:
        """Answer what a service of rooms is asked."""
        if stanza.tag != stanzas.IQ or stanza.get("type") != "get" or to.resource or len(stanza) != 1:
            return False
        query = stanza[0]
        if query.get("node"):
            return False
        try:
            match stanzas.split(query.tag):
                case (stanzas.DISCO_INFO, "query"):
                    self._outside.send(stanzas.result(stanza, discovery.service_info()))
                case (stanzas.DISCO_ITEMS, "query"):
                    self._demand_guest(sender)
                    self.allowance.ask(sender.bare)
                    self._outside.send(stanzas.result(stanza, discovery.items(self._public(), query)))
                case (stanzas.PING, "ping"):
                    self._outside.send(stanzas.result(stanza))
                case _:
                    return False
        except Refused as problem:
            self._refuse(stanza, problem, by=to)
        return True

    def _public(self) -> list[Listed]:
        """Return the rooms for the list, with how many are in (as people see it in other services' lists)."""
        listed = [
            Listed(room.address, f"{room.title} ({len(room.occupants) + len(room.phones)})")
            for room in self._rooms.values()
            if room.config.public
        ]
        elsewhere = (room for room in self._configured.rooms.values() if room.muc is not None and room.config.public)
        return [*listed, *(Listed(room.muc, room.config.title) for room in elsewhere if room.muc is not None)]

    def _room_came(self, stanza: Element, sender: Jid, to: Jid) -> None:
        """Lead a stanza to its room.

        Raises:
            Refused: it does not get there.
        """
        room = self._rooms.get(to.local)
        is_in = room is not None and room.occupant_of(sender) is not None
        if stanzas.wants_answer(stanza) and not is_in:
            self._demand_guest(sender, to.bare, log=stanza.tag == stanzas.PRESENCE)
        if room is None:
            room = self._no_room(stanza, sender, to)
            if room is None:
                return
            room.presence_came(stanza, sender, to.resource, created=True)
        elif stanza.tag == stanzas.PRESENCE:
            room.presence_came(stanza, sender, to.resource)
        elif stanza.tag == stanzas.MESSAGE:
            room.message_came(stanza, sender, to.resource)
        elif stanza.get("type") in ("result", "error") or (to.resource and stanzas.wants_answer(stanza)):
            room.iq_came(stanza, sender, to.resource)
        else:
            self._queries.answer(room, stanza, sender)
        self.close_if_empty(room.number)

    def _no_room(self, stanza: Element, sender: Jid, to: Jid) -> Room | None:
        """Deal with a stanza to a room that there is not: return the one that it opens, or None if it needs no more.

        Raises:
            Refused: there is no such room, or who asks is not in.
        """
        if not stanzas.wants_answer(stanza):
            return None
        number = to.local
        if other := self._configured.other_room(number):
            raise Refused(f"This conference is the room {other}.", "item-not-found")
        known = self._configured.may_be_opened(number)
        if stanza.tag == stanzas.PRESENCE and stanza.get("type") is not None:
            return None  # nobody subscribes to rooms, and a probe of who is not in needs no answer
        if stanza.tag == stanzas.IQ and to.resource:
            raise Refused("You are not in this room.", "not-acceptable")  # as XEP-0410 wants it
        if known and _asks_what_it_is(stanza):
            self._describe(stanza, sender, number)
            return None
        if not known or stanza.tag == stanzas.IQ:
            raise Refused("There is no such room.", "item-not-found")
        if stanza.tag == stanzas.MESSAGE or stanzas.child(stanza, stanzas.MUC, "x") is None:
            raise Refused("You are not in this room.", "not-acceptable")
        if not to.resource:
            raise Refused("Say with which name you want to come in.", "jid-malformed")
        return self.open(to.bare, sender.bare)

    def _describe(self, stanza: Element, sender: Jid, number: str) -> None:
        """Say what a room will be that opens as soon as somebody enters it.

        Some clients (Gajim) enter only a room that says what it is.
        """
        self.allowance.ask(sender.bare)
        config = self._configured.new_room(number)
        about = discovery.room_info(config, subject="", people=0, history=self.history, archived=self.archived)
        self._outside.send(stanzas.result(stanza, about))

    def _demand_guest(self, sender: Jid, room: Jid | None = None, *, log: bool = False) -> None:
        """Refuse who may not use the service, or at least not this room."""
        if self._configured.allows(sender, room):
            return
        # Strangers of one domain do not fill the log.
        if log and self.allowance.take(Jid("", sender.domain), allowance.ENTRY):
            self._outside.note(f"room {room}: {sender.bare} may not come in: not in conference.allow")
        raise Refused("This service is not for users of your domain.", "forbidden")


def _asks_what_it_is(stanza: Element) -> bool:
    """Tell whether a stanza to a room asks for what it is, and for nothing below it (XEP-0030 section 3.1)."""
    query = stanzas.child(stanza, stanzas.DISCO_INFO, "query")
    return stanza.tag == stanzas.IQ and stanza.get("type") == "get" and query is not None and not query.get("node")
