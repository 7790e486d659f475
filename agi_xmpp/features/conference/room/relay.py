"""Requests (iq) to somebody in a room: passed on without telling who is who, and their answers back. Pure.

An id of ours stands for each request on its way, so that the answer finds back, and nobody else's answer does.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Occupant, PhoneOccupant
from agi_xmpp.features.conference.phones import telephone
from agi_xmpp.features.conference.room.conversation import MAX_MESSAGE
from agi_xmpp.features.conference.room.state import RoomState
from agi_xmpp.xmpp.model import Jid

#: Requests on their way in a room at the most; the oldest goes first. Nobody says when a client will not answer.
MAX_WAITING = 500

#: Requests of one client on their way at the most, so that none pushes out those of the others.
MAX_EACH = 50

#: Requests that a person's server answers, whichever client is there: the card, and what is published with it.
_FOR_THE_ACCOUNT = ("{vcard-temp}vCard", "{http://jabber.org/protocol/pubsub}pubsub")


#: What says in an error who found it: the address of who was asked, or of their server.
_BY = "by"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request on its way: whose it is, and who is to answer."""

    request: Element
    asker: Jid
    answerer: Jid


class Relay:
    """The requests between those in a room.

    Args:
        state: of the room.
    """

    def __init__(self, state: RoomState) -> None:
        self._state = state
        self._waiting: dict[str, _Waiting] = {}

    def iq_came(self, stanza: Element, sender: Jid, nick: str) -> None:
        """Take a request or an answer; see `Room.iq_came`."""
        if stanza.get("type") in ("result", "error"):
            self._answer(stanza, sender)
            return
        occupant = self._state.occupants.of_session(sender)
        if occupant is None:
            self._state.refuse(stanza, "not-acceptable", "You are not in this room.")
            return
        holder = self._state.occupants.named(nick)
        if holder is None:
            self._state.refuse(stanza, "item-not-found", "There is nobody here by this name.")
        elif isinstance(holder, PhoneOccupant):
            self._ask_phone(stanza, holder)
        elif holder is occupant and stanzas.child(stanza, stanzas.PING, "ping") is not None:
            self._state.outside.send(stanzas.result(stanza))  # XEP-0410: it is in
        else:
            self._pass_on(stanza, sender, occupant, holder)

    def client_left(self, full: Jid) -> None:
        """End what a client that has left was asked; nobody will answer."""
        for id_, waiting in list(self._waiting.items()):
            if full in (waiting.asker, waiting.answerer):
                del self._waiting[id_]
                if full == waiting.answerer:
                    self._state.refuse(waiting.request, "recipient-unavailable", "They have left the room.")

    def clear(self) -> None:
        """Forget all requests: nobody is in any more."""
        self._waiting.clear()

    def _ask_phone(self, stanza: Element, phone: PhoneOccupant) -> None:
        info = telephone.info(stanza, phone.nick)
        if info is None:
            self._state.refuse(stanza, "service-unavailable", telephone.REFUSAL)
        else:
            self._state.outside.send(info)

    def _pass_on(self, stanza: Element, sender: Jid, occupant: Occupant, to: Occupant) -> None:
        if stanzas.weight(stanza) > MAX_MESSAGE:
            self._state.refuse(stanza, "policy-violation", f"A request has {MAX_MESSAGE} characters at the most.")
            return
        self._make_place(sender)
        whole_person = any(stanza.find(path) is not None for path in _FOR_THE_ACCOUNT)
        answerer = to.jid if whole_person else next(reversed(to.sessions))
        id_ = self._state.outside.new_id()
        self._waiting[id_] = _Waiting(stanza, sender, answerer)
        request = stanzas.iq(self._state.at(occupant.nick), answerer, stanza.get("type", "get"), id_)
        request.extend(stanza)
        self._state.outside.send(request)

    def _make_place(self, asker: Jid) -> None:
        """End the oldest request of a client that has too many, or of all: it may be waiting for an answer for ever."""
        own = [id_ for id_, waiting in self._waiting.items() if waiting.asker == asker]
        oldest = own[0] if len(own) >= MAX_EACH else next(iter(self._waiting), "")
        if len(own) >= MAX_EACH or len(self._waiting) >= MAX_WAITING:
            self._state.refuse(self._waiting.pop(oldest).request, "remote-server-timeout", "There was no answer.")

    def _answer(self, stanza: Element, sender: Jid) -> None:
        waiting = self._waiting.get(stanza.get("id", ""))
        if waiting is None or sender != waiting.answerer:
            return
        del self._waiting[stanza.get("id", "")]
        answer = stanzas.result(waiting.request, *map(_without_address, stanza))
        answer.set("type", stanza.get("type", "result"))
        self._state.outside.send(answer)


def _without_address(child: Element) -> Element:
    """Return a child of an answer, an error without the address of who says so."""
    if child.tag != f"{{{stanzas.CLIENT}}}error" or _BY not in child.attrib:
        return child
    copy = Element(child.tag, {name: value for name, value in child.items() if name != _BY})
    copy.extend(child)
    return copy
