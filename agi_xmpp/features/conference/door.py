"""The door of rooms whose conference has phones: Asterisk is asked whether the conference is locked.

Asterisk tells nobody when a conference is locked (measured on 22.10: there is no event), so it is asked whenever
somebody wants to come in from chat. Until it has answered, all that this client sends to the room waits, in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from agi_xmpp.ami import confbridge
from agi_xmpp.ami.conferences import Conferences
from agi_xmpp.ami.model import Ami
from agi_xmpp.background import Background
from agi_xmpp.errors import AmiError, BadJid
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.rooms.rooms import Rooms
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

log = logging.getLogger("agi_xmpp.conference")

#: Seconds for Asterisk to answer. Nobody waits for more than two questions: one that was under way, and their own.
QUESTION_TIME = 1.0

#: Characters that wait at the most (see `stanzas.weight`): of one client for one room, and of all.
CLIENT_LIMIT: Final = 150_000
LIMIT: Final = 10_000_000


class _Comer(NamedTuple):
    """Somebody at the door: the client's full JID, and the room's bare one."""

    client: Jid
    room: Jid


class _Queue(NamedTuple):
    """What a client has sent since it came to the door, the first stanza first, and how many characters that is."""

    stanzas: list[Element]
    weight: int


class Door:
    """Knows which conferences are locked, and lets nobody pass before that is known.

    There is one question at a time, for all conferences; who comes while it is under way waits for the next one. If
    Asterisk does not answer, what it said last counts.

    Args:
        ami: the manager connection.
        conferences: who is in which.
        rooms: the rooms.
        pass_on: takes a stanza that has waited.
        send: sends a stanza.
    """

    def __init__(
        self,
        ami: Ami,
        conferences: Conferences,
        rooms: Rooms,
        pass_on: Callable[[Element], object],
        send: Callable[[Element], None],
    ) -> None:
        self._ami = ami
        self._conferences = conferences
        self._rooms = rooms
        self._pass_on = pass_on
        self._send = send
        self._background = Background(log, "conferences: the door")
        self._queues: dict[_Comer, _Queue] = {}
        self._weight = 0
        self._locked: frozenset[str] = frozenset()
        self._problem = ""
        self._is_asking = False
        self._is_closed = False

    def is_locked(self, number: str) -> bool:
        """Tell whether a conference was locked when Asterisk said so last. One that has ended is not."""
        return number in self._locked and bool(self._conferences.of(number))

    def holds(self, stanza: Element) -> bool:
        """Keep a stanza for a moment and return True if its client waits at the door of a room, or comes there now.

        Who is in already does not wait.
        """
        comes = _wants_in(stanza)
        if self._is_closed or not (comes or self._queues):
            return False
        try:
            comer = _Comer(parse(stanza.get("from", "")), parse(stanza.get("to", "")).bare)
        except BadJid:
            return False
        if comer not in self._queues and not (comes and self._has_to_wait(comer)):
            return False
        self._keep(comer, stanza)
        return True

    async def stop(self) -> None:
        """Ask no more. Who waits goes on by what is known."""
        self._is_closed = True
        await self._background.stop()
        for comer in list(self._queues):
            self._let_go(comer)

    def _has_to_wait(self, comer: _Comer) -> bool:
        """Tell whether somebody is not in, and the room's conference has phones.

        Strangers are refused without a question: they neither keep Asterisk busy, nor take room from those who wait.
        """
        if not self._rooms.allows(comer.client, comer.room):
            return False
        room = self._rooms.room_at(comer.room)
        if room is None:
            return bool(self._conferences.of(comer.room.local))
        return room.occupant_of(comer.client) is None and bool(self._conferences.of(room.number))

    def _keep(self, comer: _Comer, stanza: Element) -> None:
        queue = self._queues.get(comer, _Queue([], 0))
        weight = stanzas.weight(stanza)
        if queue.weight + weight > CLIENT_LIMIT or self._weight + weight > LIMIT:
            if stanzas.wants_answer(stanza):
                text = "Too much waits at the door of this room: try again in a moment."
                self._send(stanzas.error(stanza, "resource-constraint", text, by=comer.room))
            return
        queue.stanzas.append(stanza)
        self._queues[comer] = _Queue(queue.stanzas, queue.weight + weight)
        self._weight += weight
        if not self._is_asking:
            self._is_asking = True
            self._background.spawn(self._ask())

    async def _ask(self) -> None:
        """Ask until nobody waits."""
        try:
            while self._queues:
                # Who comes later may know of a lock that this answer does not know of yet.
                comers = list(self._queues)
                is_known = await self._find_out()
                for comer in comers if is_known else list(self._queues):
                    self._let_go(comer)
        finally:
            self._is_asking = False

    async def _find_out(self) -> bool:
        """Ask which conferences are locked; return False if Asterisk does not say."""
        try:
            self._locked = await confbridge.locked(self._ami, timeout=QUESTION_TIME)
        except AmiError as error:
            if str(error) != self._problem:
                log.error("Asterisk does not say whether conferences are locked: %s; what it said last counts", error)
            self._problem = str(error)
            return False
        if self._problem:
            log.info("Asterisk says again whether conferences are locked")
        self._problem = ""
        return True

    def _let_go(self, comer: _Comer) -> None:
        queue = self._queues.pop(comer)
        self._weight -= queue.weight
        for stanza in queue.stanzas:
            try:
                self._pass_on(stanza)
            except Exception:
                log.exception("room %s: internal error; the others go on", comer.room)


def _wants_in(stanza: Element) -> bool:
    """Tell whether a stanza is what clients enter a room by (XEP-0045 section 7.2.1)."""
    is_available = stanza.tag == stanzas.PRESENCE and stanza.get("type") is None
    return is_available and stanzas.child(stanza, stanzas.MUC, "x") is not None
