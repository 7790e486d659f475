"""Ring notes: one chat message per incoming call for those who want it, corrected (XEP-0308) to how the call went."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime

from agi_xmpp.ami.calls import Answered, Call, Change, Ended, How, Party, Rang, Updated
from agi_xmpp.errors import AgiXmppError
from agi_xmpp.features.phone.book.model import Entry, clean_text
from agi_xmpp.features.phone.people import Person
from agi_xmpp.xmpp.call_record import CallRecord
from agi_xmpp.xmpp.model import Extras, Session

log = logging.getLogger("agi_xmpp.phone")

#: Seconds for which "is calling you" may wait for a session: later it is not true any more.
RING_AGE = 20.0

#: Seconds for which the word how a call went may wait for a session: a missed call is of interest an hour later, too.
ENDING_AGE = 3600.0

#: Notes of calls that are over which a record can still follow: it comes when the caller has gone, too.
PAST = 1000

_ENDINGS = {
    How.MISSED: "missed",
    How.REJECTED: "rejected",
    How.FORWARDED: "forwarded",
    How.LOST: "Asterisk was out of reach, so how it ended is not known",
}


@dataclass(eq=False, slots=True)
class _Note:
    """What one person is told about one call.

    Attributes:
        person: who.
        call: as it is now.
        rang: when it began to ring.
        answered: when it was answered.
        ended: how it ended, as soon as it has.
        over: when that was.
        entries: what the phone book says about a number.
        record: of the call, in words and for programs, as soon as there is one.
        first: id of the message; "" before it was sent.
        said: what the person has last been told.
        teller: the task that looks numbers up and sends.
    """

    person: Person
    call: Call
    rang: datetime
    answered: datetime | None = None
    ended: Ended | None = None
    over: datetime | None = None
    entries: dict[str, Entry | None] = field(default_factory=dict)
    record: tuple[str, CallRecord] | None = None
    first: str = ""
    said: str = ""
    teller: asyncio.Task[None] | None = None


class Notes:
    """The ring notes of everybody.

    Args:
        session: which they are sent over.
        people: the user map.
        lookup: asks the phone book about a number; it may take a moment and does not raise.
        table: who has changed what the configuration says; kept over a restart.
        wall: returns the time of day, in the zone that people are told.
    """

    def __init__(
        self,
        session: Session,
        people: Iterable[Person],
        lookup: Callable[[str], Awaitable[Entry | None]],
        table: MutableMapping[str, str],
        wall: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._session = session
        self._people = {str(person.jid): person for person in people}
        self._lookup = lookup
        self._table = table
        self._wall = wall
        self._open: dict[tuple[str, str], _Note] = {}
        self._past: OrderedDict[tuple[str, str], _Note] = OrderedDict()
        self._tellers: set[asyncio.Task[None]] = set()

    def wanted(self, person: Person) -> bool:
        """Return True if the person gets ring notes."""
        said = self._table.get(str(person.jid))
        return person.notes if said is None else said == "on"

    def want(self, person: Person, on: bool) -> None:
        """Send the person ring notes from the next call on, or none any more."""
        self._table[str(person.jid)] = "on" if on else "off"

    def call_changed(self, change: Change) -> None:
        """Take what happened to a call. Nothing here waits."""
        key = (change.call.owner, change.call.id)
        if isinstance(change, Rang):
            person = self._people.get(change.call.owner)
            if person is None or not change.call.incoming or not self.wanted(person):
                return
            self._open[key] = _Note(person, change.call, self._wall())
        note = self._open.get(key)
        if note is None:
            return
        note.call = change.call
        if isinstance(change, Answered):
            note.answered = self._wall()
        elif isinstance(change, Ended):
            note.ended, note.over = change, self._wall()
            self._past[key] = self._open.pop(key)
            if len(self._past) > PAST:
                self._past.popitem(last=False)
        elif not isinstance(change, Rang | Updated):
            return
        self._tell_soon(note)

    def conclude(self, person: Person, call_id: str, text: str, record: CallRecord) -> bool:
        """Let the record of a call that is over take the place of its note. Returns False if there is no such note."""
        note = self._past.pop((str(person.jid), call_id), None)
        if note is None:
            return False
        note.record = text, record
        self._tell_soon(note)
        return True

    async def stop(self) -> None:
        """Leave no task behind, and nothing to conclude."""
        self._past.clear()
        for task in self._tellers:
            task.cancel()
        await asyncio.gather(*self._tellers, return_exceptions=True)

    def _tell_soon(self, note: _Note) -> None:
        # One task a note at most: what it sends is what is true by then, and nothing overtakes anything.
        if note.teller is None or note.teller.done():
            note.teller = asyncio.create_task(self._tell(note))
            self._tellers.add(note.teller)
            note.teller.add_done_callback(self._tellers.discard)

    async def _tell(self, note: _Note) -> None:
        while (number := note.call.party.number) not in note.entries:
            note.entries[number] = await self._lookup(number) if number else None
        entry = note.entries[number]
        text, record = note.record or (self._text(note, entry), None)
        if text == note.said:
            return
        try:
            message_id = self._session.queue_message(
                str(note.person.jid),
                text,
                thread=note.call.id,
                extras=Extras(replaces=note.first, expects_answer=False, link=_page(entry), record=record),
                max_age=ENDING_AGE if note.first or note.ended else RING_AGE,
            )
        except AgiXmppError as error:
            log.warning("%s is not told of a call: %s", note.person.jid, error)
            return
        note.first = note.first or message_id
        note.said = text

    def _text(self, note: _Note, entry: Entry | None) -> str:
        who = caller(note.call.party, entry)
        who += "," if ", " in who else ""
        if note.answered is None and note.ended is None:
            text = f"{who} is calling you ({note.call.device})."
        else:
            text = f"{who} called you at {note.rang:%H:%M}: {self._went(note)}."
        # In the text, too: few clients show what stands beside it (XEP-0066).
        return f"{text}\n{_page(entry)}" if _page(entry) else text

    def _went(self, note: _Note) -> str:
        if note.answered is None:
            return self._ending(note.ended) if note.ended else ""
        text = f"answered at {note.answered:%H:%M} on {note.call.device}"
        if note.over is None:
            return text
        if note.ended and note.ended.how is How.LOST:
            return f"{text}; {_ENDINGS[How.LOST]}"
        return f"{text}, {duration((note.over - note.answered).total_seconds())} long"

    def _ending(self, ended: Ended) -> str:
        if ended.how is not How.ELSEWHERE:
            return _ENDINGS.get(ended.how, "over")
        return taken_by(ended, self._people)


def _page(entry: Entry | None) -> str:
    """Return what there is to see of a caller: their page, or their picture where they have none; "" for neither."""
    return (entry.link or entry.avatar) if entry else ""


def taken_by(ended: Ended, people: Mapping[str, Person]) -> str:
    """Return who took a call that rang at several phones: ``answered by Carol``.

    Args:
        ended: its end for somebody who did not.
        people: by their bare JID.
    """
    taker = people.get(ended.owner)
    name = taker.name if taker else ended.by.name or ended.by.number
    return f"answered by {clean_text(name)}" if name else "answered elsewhere"


def caller(party: Party, entry: Entry | None = None) -> str:
    """Return who the other side is: ``Ann Smith (ACME), +1 555 0100``."""
    number, name = clean_text(party.number), entry.name if entry else clean_text(party.name)
    if entry and entry.company:
        name = f"{name} ({entry.company})"
    known = [part for part in dict.fromkeys((name, number)) if part]
    return ", ".join(known) or "Somebody without a number"


def duration(seconds: float) -> str:
    """Return a number of seconds as people read a clock: ``0:07``, ``12:34``, ``1:02:03``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
