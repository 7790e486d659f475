"""Who is told what of a call: the phone events RING, DIALED, ON_PHONE and HANG_UP. Pure.

Clients know less than we do, Spark least: it has one place for "the presence before the call", takes it at each
ON_PHONE and gives it back at each HANG_UP, whatever call that is of. tests/spark.py is its executable model. Hence:

* One RING a call, however many phones ring; none for the own phone that rings after a click to dial.
* Never ON_PHONE twice: somebody who talks in two calls is told of the second one when the first one is over, as
  HANG_UP and ON_PHONE back to back.
* No HANG_UP for a call without ON_PHONE: it would replace the presence of somebody who is away by an older one.
* A click to dial that nobody answered must end all the same, because Spark's dial window waits for that: with an
  ON_PHONE just before the HANG_UP, or, if the person is talking in another call, with that one's ON_PHONE just behind.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from agi_xmpp.ami.calls import Answered, Call, Change, Dialled, Ended, Phase, Rang, Restored, Updated
from agi_xmpp.xmpp.phone_model import EventType, PhoneEvent

#: Spark shows a caller's number only if it has this many characters (IncomingCall.setCallerNumber), else none.
SPARKS_NUMBER = 10

#: Whom to tell (the owner of the call), and what.
Told = tuple[str, PhoneEvent]


class Announcer:
    """Turns changes of calls into events for their owners.

    Args:
        announced: by owner the call and the device of an ON_PHONE without its HANG_UP, as one text. Kept over a restart
            it lets us end what we have begun.
    """

    def __init__(self, announced: MutableMapping[str, str]) -> None:
        self._announced = announced
        self._talking: dict[str, dict[str, Call]] = {}

    def announce(self, change: Change) -> list[Told]:
        """Take a change, and return the events that it means, in the order in which they must arrive."""
        call = change.call
        match change:
            case Rang():
                events = [_event(EventType.RING, call)] if call.incoming and not call.clicked else []
            case Dialled():
                events = [_event(EventType.DIALED, call)]
            case Answered():
                self._keep(call)
                events = [] if call.owner in self._announced else [self._on_phone(call)]
            case Ended():
                events = self._end(call)
            case Updated() | Restored():
                # Nobody is told of a call that was there before us, or before the connection broke, but it counts.
                if call.phase is Phase.TALKING:
                    self._keep(call)
                events = []
        return [(call.owner, event) for event in events]

    def note(self, change: Change) -> None:
        """Take a change of which nobody can be told now; `settle` makes up for it as far as it still matters."""
        call = change.call
        if isinstance(change, Ended):
            self._forget(call)
        elif call.phase is Phase.TALKING:
            self._keep(call)

    def settle(self) -> list[Told]:
        """End what was announced of calls that are no more.

        To be called when all calls are known again (after a resync), or are given up: calls may have ended while nobody
        looked, or before we were started.
        """
        told: list[Told] = []
        for owner in list(self._announced):
            call_id, device = self._told(owner)
            if call_id not in self._talking.get(owner, {}):
                del self._announced[owner]
                events = [PhoneEvent(EventType.HANG_UP, call_id, device), *self._next(owner)]
                told += [(owner, event) for event in events]
        return told

    def _end(self, call: Call) -> list[PhoneEvent]:
        self._forget(call)
        told, _device = self._told(call.owner)
        hang_up = PhoneEvent(EventType.HANG_UP, call.id, call.device)
        if told == call.id:
            del self._announced[call.owner]
            return [hang_up, *self._next(call.owner)]
        if not call.clicked:
            return []
        if told:
            return [hang_up, *self._next(call.owner, told)]
        return [_event(EventType.ON_PHONE, call), hang_up]

    def _next(self, owner: str, preferred: str = "") -> list[PhoneEvent]:
        """Announce the call in which the person goes on talking, if there is one; without preference the oldest."""
        calls = self._talking.get(owner, {})
        if not calls:
            return []
        oldest = min(calls.values(), key=lambda call: call.began)
        return [self._on_phone(calls.get(preferred, oldest))]

    def _on_phone(self, call: Call) -> PhoneEvent:
        self._announced[call.owner] = f"{call.id} {call.device}"
        return _event(EventType.ON_PHONE, call)

    def _told(self, owner: str) -> tuple[str, str]:
        """Return call and device of the owner's ON_PHONE without HANG_UP; two empty texts if there is none."""
        call_id, _, device = self._announced.get(owner, "").partition(" ")
        return call_id, device

    def _keep(self, call: Call) -> None:
        self._talking.setdefault(call.owner, {})[call.id] = call

    def _forget(self, call: Call) -> None:
        calls = self._talking.get(call.owner, {})
        calls.pop(call.id, None)
        if not calls:
            self._talking.pop(call.owner, None)


def shown_name(name: str, number: str) -> str:
    """Return a caller's name with the number in it where Spark would not show the number by itself.

    Args:
        name: "" if unknown.
        number: "" if unknown or withheld.
    """
    if not name or not number:
        return name or number
    return name if len(number.strip()) == SPARKS_NUMBER or number in name else f"{name} ({number})"


def _event(kind: EventType, call: Call) -> PhoneEvent:
    name = {
        EventType.RING: shown_name(call.party.name, call.party.number),
        EventType.DIALED: call.party.name,
    }.get(kind, "")
    return PhoneEvent(kind, call.id, call.device, call.party.number, name)
