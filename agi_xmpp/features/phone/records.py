"""Call records: which record each person gets of a call that is over. Pure.

One record a call and person, not one a ring: a queue calls the same phone again and again, and a call that Bob does not
take rings at Carol's next. So a call that nobody took is told of when its caller has gone, or somebody else has it.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agi_xmpp.ami.calls import Call, Change, Ended, How, Party, device_of
from agi_xmpp.ami.model import Message
from agi_xmpp.config import RecordSettings
from agi_xmpp.errors import BadJid
from agi_xmpp.features.phone.notes import caller, duration, taken_by
from agi_xmpp.features.phone.people import People, Person, escape
from agi_xmpp.xmpp.call_record import CallRecord, Reason
from agi_xmpp.xmpp.jid import parse

#: So many channels that are gone, and calls that were taken, are remembered: what a phone's owner may know of its call
#: is asked of Asterisk first, and what happens meanwhile comes here before it.
PAST = 1000

#: Owner and Linkedid of a call.
_Key = tuple[str, str]

#: Q.850 (``Cause`` of Hangup) of a call that never came to be.
_CAUSES: Mapping[int, Reason] = {
    17: Reason.BUSY,
    18: Reason.TIMEOUT,
    19: Reason.TIMEOUT,
    21: Reason.DECLINE,
    26: Reason.CANCEL,
    **dict.fromkeys((1, 20, 27, 38), Reason.CONNECTIVITY_ERROR),
}
#: Q.850 of the end of a conversation that is nobody's fault; 0 and 127 are Asterisk's for "unknown".
_NORMAL = frozenset({0, 16, 17, 18, 19, 21, 26, 31, 127})


@dataclass(frozen=True, slots=True)
class Told:
    """What one person is told of one call.

    Attributes:
        person: who.
        call_id: of the call; of the last one, if their phone has rung several times.
        record: for programs.
        text: for people.
    """

    person: Person
    call_id: str
    record: CallRecord
    text: str


@dataclass(frozen=True, slots=True)
class _Past:
    """All that one person has had of a call.

    Attributes:
        first: the call as it was when it ended for the first time.
        ended: how it ended last.
        rang: it has rung.
        seconds: for how long, altogether.
    """

    first: Call
    ended: Ended
    rang: bool
    seconds: float

    @classmethod
    def of(cls, ended: Ended, before: _Past | None) -> _Past:
        call = ended.call
        seconds = (ended.at if call.answered is None else call.answered) - call.began
        if before is None:
            return cls(call, ended, call.rang, seconds)
        if not call.party and call.source == before.ended.call.source:
            # The caller had gone before Asterisk could be asked about them. When it rang before, they were told of.
            ended = dataclasses.replace(ended, call=dataclasses.replace(call, party=before.ended.call.party))
        return cls(before.first, ended, before.rang or call.rang, before.seconds + seconds)


class Records:
    """The records of everybody.

    Args:
        settings: ``[phone.records]``.
        people: the user map.
    """

    def __init__(self, settings: RecordSettings, people: People) -> None:
        self._settings = settings
        self._people = people
        self._by_owner = {str(person.jid): person for person in people}
        self._live: dict[_Key, set[str]] = {}  # ids of calls that are not over
        self._open: dict[_Key, _Past] = {}  # over, and taken by nobody yet
        self._gone: OrderedDict[str, None] = OrderedDict()  # channels
        #: Calls that were told of because their caller had gone; what is heard of them later is old news.
        self._closed: OrderedDict[_Key, None] = OrderedDict()
        self._taken: OrderedDict[str, tuple[float, Party, str]] = OrderedDict()  # by Linkedid: when, who, whose phone

    def call_changed(self, change: Change) -> list[Told]:
        """Take what happened to a call, as its owner may see it, and return what is to be told now."""
        if self._settings.send == "none":
            return []
        call = change.call
        key = (call.owner, call.linkedid)
        if not isinstance(change, Ended):
            self._live.setdefault(key, set()).add(call.id)
            return []
        self._end(key, call.id)
        if key in self._closed and change.how in (How.MISSED, How.REJECTED):
            return []
        self._open[key] = _Past.of(change, self._open.get(key))
        waits = change.how in (How.MISSED, How.REJECTED) and call.source and call.source not in self._gone
        return [] if waits and not self._note_taker(key) else self._tell([key])

    def ami_event(self, event: Message, now: float) -> list[Told]:
        """Take an event of Asterisk's, after the calls have taken it.

        Args:
            event: any.
            now: on the clock of the calls.
        """
        if event.get("Event") == "Hangup":
            _remember(self._gone, event["Channel"], None)
            over = [key for key in self._idle() if self._source(key) == event["Channel"]]
            for key in over:
                _remember(self._closed, key, None)
            return self._tell(over)
        if event.get("Event") == "DialEnd" and event["DialStatus"] == "ANSWER":
            device = device_of(event["DestChannel"])
            # The phone behind a Local channel has its own event.
            if not device.startswith("Local/"):
                linkedid, owner = event.get("Linkedid") or event["DestLinkedid"], self._people.by_device(device)
                _remember(self._taken, linkedid, (now, _callee(event), str(owner.jid) if owner else ""))
                return self._tell([key for key in self._idle() if key[1] == linkedid and self._note_taker(key)])
        return []

    def alive(self, channels: Collection[str]) -> list[Told]:
        """Take Asterisk's own list of channels: an event may have been lost."""
        for channel in channels:
            self._gone.pop(channel, None)  # Asterisk has begun anew, and with it the numbers of channels
        return self._tell([key for key in self._idle() if self._source(key) not in channels])

    def finish(self) -> list[Told]:
        """Nothing more will be known: tell what is."""
        self._gone.clear()
        self._taken.clear()
        return self._tell(list(self._open))

    def _end(self, key: _Key, call_id: str) -> None:
        calls = self._live.get(key, set())
        calls.discard(call_id)
        if not calls:
            self._live.pop(key, None)

    def _idle(self) -> list[_Key]:
        """Return the calls that wait, without those that ring again, or are talked in now: their end is to come."""
        return [key for key in self._open if key not in self._live]

    def _source(self, key: _Key) -> str:
        return self._open[key].ended.call.source

    def _note_taker(self, key: _Key) -> bool:
        """Return True if somebody else took the call after the person's phone had stopped ringing; its end says so."""
        owner, linkedid = key
        past = self._open[key]
        at, by, taker = self._taken.get(linkedid, (-1.0, Party(), ""))
        if at < past.ended.at or taker == owner:
            return False
        if past.ended.how is How.MISSED:
            ended = dataclasses.replace(past.ended, how=How.ELSEWHERE, by=by, owner=taker)
            self._open[key] = dataclasses.replace(past, ended=ended)
        return True

    def _tell(self, keys: Iterable[_Key]) -> list[Told]:
        """Close calls."""
        return [told for key in keys if (told := self._told(self._open.pop(key)))]

    def _told(self, past: _Past) -> Told | None:
        ended, call = past.ended, past.ended.call
        person = self._by_owner.get(call.owner)
        if person is None or (self._settings.send == "missed" and not is_missed(ended, rang=past.rang)):
            return None
        own, other = str(person.jid), self._address(call.party)
        record = CallRecord(
            sid=past.first.linkedid,
            initiator=other if call.incoming else own,
            responder=own if call.incoming else other,
            answered=call.answered is not None,
            rang=past.rang,
            reason=reason(ended),
            duration=0 if call.answered is None else round(ended.at - call.answered),
        )
        return Told(person, call.id, record, self._text(past))

    def _address(self, party: Party) -> str:
        """Return the JID of the other side: a person's, or one made of the number; "" if there is none."""
        number = party.number.strip()
        if person := self._people.by_extension(number):
            return str(person.jid)
        if not number or not self._settings.external_jid:
            return ""
        try:
            return str(parse(self._settings.external_jid.replace("{number}", escape(number))))
        except BadJid:
            return ""

    def _text(self, past: _Past) -> str:
        ended, call = past.ended, past.ended.call
        who = caller(call.party) if call.party else "somebody without a number"
        clause = f"{who}," if ", " in who else who
        rang = f" (rang {max(1, round(past.seconds))} s)" if past.rang else ""
        if ended.how is How.LOST:
            way = "from" if call.incoming else "to"
            return f"Call {way} {clause} was lost: Asterisk is out of reach, so how it ended is not known"
        if call.answered is not None:
            return f"You talked to {clause} for {duration(ended.at - call.answered)}"
        if not call.incoming:
            return f"Call to {who}: {_OUTCOMES.get(ended.how, 'failed')}{rang if ended.how is How.NO_ANSWER else ''}"
        if ended.how is How.ELSEWHERE:
            return f"Call from {clause} was {taken_by(ended, self._by_owner)}"
        if ended.how is How.FORWARDED:
            return f"Call from {clause} was forwarded{rang}"
        if is_missed(ended, rang=past.rang):
            busy = " (your phone was busy)" if ended.how is How.REJECTED else ""
            return f"Missed call from {who}{rang or busy}"
        return f"You rejected a call from {who}{rang}"


_OUTCOMES = {
    How.BUSY: "busy",
    How.NO_ANSWER: "no answer",
    How.UNPICKED: "you did not pick up your own phone",
}


def is_missed(ended: Ended, *, rang: bool) -> bool:
    """Return True if the person would have taken the call, had they been there.

    Who rejects a call has seen it; a phone that rejects it without having rung was busy.
    """
    return ended.how is How.MISSED or (ended.how is How.REJECTED and not rang)


def reason(ended: Ended) -> Reason:
    """Return why a call ended, for its owner."""
    if ended.how is How.LOST:
        return Reason.GENERAL_ERROR
    if ended.call.answered is not None:
        return Reason.SUCCESS if ended.cause in _NORMAL else _CAUSES.get(ended.cause, Reason.GENERAL_ERROR)
    if ended.how in (How.ELSEWHERE, How.FORWARDED):
        return Reason.CANCEL
    if ended.how in (How.MISSED, How.NO_ANSWER):
        # Dial's word comes first: Asterisk gives no cause for a phone that it has stopped calling (22.10: 0).
        late = ended.dial_status == "NOANSWER" or _CAUSES.get(ended.cause) is Reason.TIMEOUT
        return Reason.TIMEOUT if late else Reason.CANCEL
    if ended.how in (How.BUSY, How.REJECTED):
        return Reason.DECLINE if ended.cause == 21 else Reason.BUSY
    return _CAUSES.get(ended.cause, Reason.CANCEL if ended.how is How.UNPICKED else Reason.GENERAL_ERROR)


def _callee(event: Message) -> Party:
    """Return who was dialled."""
    number, name = (event.get(f"DestCallerID{part}", "") for part in ("Num", "Name"))
    return Party("" if number == "<unknown>" else number, "" if name == "<unknown>" else name)


def _remember(past: OrderedDict[Any, Any], key: object, value: Any) -> None:
    past[key] = value
    past.move_to_end(key)
    if len(past) > PAST:
        past.popitem(last=False)
