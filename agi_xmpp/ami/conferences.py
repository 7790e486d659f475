"""Who is in which conference (ConfBridge): AMI events in, changes out. No I/O, no clock.

What the rules below say was measured on Asterisk 22.10, and stands in its app_confbridge.c:

1. Somebody is in from ConfbridgeJoin to ConfbridgeLeave. The lists (action ConfbridgeList) have them for longer: before
   it while they hear that nobody else is there, and behind it while they hear that they were thrown out. In a bridge,
   as action Status has it, they are in between only.
2. A transfer of any kind into a conference, or of a place in it, is a Join, and a Leave of who had the place before.
   No channel in a conference was ever seen to change its name; should that happen, one goes and one comes.
3. Neither event nor list tells that the caller has withheld name and number. Only a change of them does (NewCallerid,
   ``CID-CallingPres``). So a participant is told of after Asterisk has been asked: see `Conferences.take_questions`.
4. Muting everybody at once by a key of the conference's menu makes no events; the next list has it.
5. Events of different kinds may overtake each other. Those of one conference do not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from agi_xmpp.ami.calls import device_of
from agi_xmpp.ami.model import Message

#: So many channels that have hung up are remembered: their events may overtake each other. Those in conferences are
#: not limited: Asterisk's own limit is theirs (``maxcalls``).
PAST = 1000

#: Channels of nobody: what announces, what records, and the one that runs the dialplan of texts outside of calls, which
#: comes into conferences where endpoints have no ``message_context``.
_HIDDEN = ("CBAnn/", "CBRec/", "Message/")

#: What a caller may have done with name and number (callerid.h): the bits that say so, and "restricted" among them.
_RESTRICTION, _RESTRICTED = 0x60, 0x20


@dataclass(frozen=True, slots=True)
class Participant:
    """A channel in a conference.

    Attributes:
        channel: such as ``PJSIP/101-0000002a``.
        uniqueid: of the channel.
        name, number: the caller's, "" where Asterisk knows none, or the caller has withheld them.
        device: the phone: the channel's name without what is unique, such as ``PJSIP/101``.
        muted: nobody hears it.
        admin: a user whose profile says ``admin = yes``.
        withheld: the caller does not want to be known: ``device`` is not to be shown either.
    """

    channel: str
    uniqueid: str
    name: str
    number: str
    device: str
    muted: bool = False
    admin: bool = False
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class PhoneJoined:
    """Somebody is in conference ``number``; also who was in when we came."""

    number: str
    participant: Participant


@dataclass(frozen=True, slots=True)
class PhoneChanged:
    """Name, number or voice of somebody who is in has changed; the channel is the same."""

    number: str
    participant: Participant


@dataclass(frozen=True, slots=True)
class PhoneLeft:
    """Somebody is in no more. Asterisk gives no reason."""

    number: str
    channel: str


Change: TypeAlias = PhoneJoined | PhoneChanged | PhoneLeft

#: Conference and Uniqueid. For a moment, a channel may be in two conferences: events can overtake each other.
_Place: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class _Member:
    """Somebody who is in.

    Attributes:
        participant: as Asterisk has it, whether withheld or not.
        withheld: whether that may not be shown; None as long as that is not known.
    """

    participant: Participant
    withheld: bool | None = None

    def shown(self) -> Participant:
        """Return what may be told of them."""
        if not self.withheld:
            return self.participant
        return replace(self.participant, name="", number="", withheld=True)


class Conferences:
    """The participants of all conferences.

    It takes events in the order in which Asterisk sends them; what is said twice changes nothing, and events of
    channels that are in no conference cost a look into a dict or two.

    After each call of `event` and `resync`, ask Asterisk about those that `take_questions` returns, and say by `answer`
    what it said: they are told of from then on.
    """

    def __init__(self) -> None:
        self._own_devices: set[str] = set()
        self._members: dict[_Place, _Member] = {}
        self._told: dict[str, dict[str, Participant]] = {}  # by conference and Uniqueid
        self._over: OrderedDict[str, None] = OrderedDict()  # Uniqueids of channels that have hung up
        self._places: dict[str, set[_Place]] = {}  # by Uniqueid
        self._own: dict[_Place, str] = {}  # channels of our own legs
        self._buffer: list[Message] | None = None
        #: In the order in which something happened there.
        self._touched: dict[_Place, None] = {}
        self._questions: dict[_Place, None] = {}

    # Our own legs

    def hide(self, device: str) -> None:
        """Take a phone for our own leg from now on, such as ``PJSIP/agi-xmpp``: nobody is told of it."""
        self._own_devices.add(device)

    def show(self, device: str) -> None:
        """Take no channel of this phone for our own leg from now on. Those that are in go on to be taken for it."""
        self._own_devices.discard(device)

    # Who is in

    def of(self, number: str) -> Sequence[Participant]:
        """Return who is in a conference, in the order in which they were told of."""
        return list(self._told.get(number, {}).values())

    def numbers(self) -> Sequence[str]:
        """Return the conferences that somebody is in."""
        return list(self._told)

    def own_legs(self) -> Sequence[tuple[str, str]]:
        """Return our own legs, in the order in which they came: the conference and the channel of each."""
        return [(number, channel) for (number, _uid), channel in self._own.items()]

    def has_unknown(self, number: str) -> bool:
        """Tell whether somebody is in a conference of whom Asterisk has not said yet whether they may be named."""
        return any(place[0] == number and member.withheld is None for place, member in self._members.items())

    def take_questions(self) -> Sequence[Participant]:
        """Return whom Asterisk has to be asked about: whether they withhold name and number. Each is returned once.

        Those that no `answer` came for are returned again after the next `resync`.
        """
        questions, self._questions = self._questions, {}
        members = (self._members.get(place) for place in questions)
        return [member.participant for member in members if member is not None and member.withheld is None]

    def answer(self, participant: Participant, withheld: bool) -> Sequence[Change]:
        """Take what Asterisk said of one of `take_questions`. Who has left or changed meanwhile is not meant.

        Args:
            participant: as `take_questions` gave it.
            withheld: name and number may not be shown.
        """
        for place in self._places.get(participant.uniqueid, ()):
            member = self._members[place]
            if member.withheld is None and _caller(member.participant) == _caller(participant):
                member.withheld = withheld
                self._touched[place] = None
        return self._take_changes()

    # Events

    def event(self, message: Message) -> Sequence[Change]:
        """Take any AMI event."""
        handler = _HANDLERS.get(message.get("Event", ""))
        if handler is None:
            return []
        if self._buffer is not None:
            self._buffer.append(message)
            return []
        handler(self, message)
        return self._take_changes()

    # The connection

    def lost(self) -> None:
        """The connection is gone: everybody stays where they are until `resync` knows better."""
        self._buffer = None
        self._over.clear()  # no event from before the gap is still to come

    def begin_resync(self) -> None:
        """Keep events back until `resync`; call it before the lists are asked for.

        Events kept back by an earlier call are dropped: the lists to come know what they said.
        """
        self._buffer = []

    def resync(self, items: Sequence[Message] | None) -> Sequence[Change]:
        """Take over who is in by the lists, then the events that came since `begin_resync`; return what is different.

        Args:
            items: of action ConfbridgeList for all conferences, without those whose channel was in no bridge at any
                moment of the resync (`agi_xmpp.ami.confbridge.participants`); None if they could not be had: then
                only the events count.
        """
        events, self._buffer = self._buffer or [], None
        if items is not None:
            self._compare(items)
        for message in events:
            _HANDLERS[message["Event"]](self, message)
        self._questions = {place: None for place, member in self._members.items() if member.withheld is None}
        return self._take_changes()

    def _compare(self, items: Sequence[Message]) -> None:
        """Take over what the lists say. Where an event came meanwhile it is taken afterwards, and has the last word."""
        listed = {_place(item) for item in items}
        for place in [place for place in (*self._members, *self._own) if place not in listed]:
            self._remove(place)
        for item in items:
            self._enter(item)

    # What events do

    def _enter(self, message: Message) -> None:
        """Somebody is in: ConfbridgeJoin, or an item of a list."""
        channel, uid, place = message["Channel"], message["Uniqueid"], _place(message)
        if channel.startswith(_HIDDEN) or uid in self._over:
            return
        if place in self._own or device_of(channel) in self._own_devices:
            self._own[place] = channel
            return
        participant = Participant(
            channel=channel,
            uniqueid=uid,
            name=_known(message, "CallerIDName"),
            number=_known(message, "CallerIDNum"),
            device=device_of(channel),
            muted=message.get("Muted") == "Yes",
            admin=message.get("Admin") == "Yes",
        )
        member = self._members.get(place)
        if member is None:
            member = self._members[place] = _Member(participant)
            self._places.setdefault(uid, set()).add(place)
        elif _caller(member.participant) != _caller(participant):
            member.withheld = None
        member.participant = participant
        self._touched[place] = None

    def _leave(self, message: Message) -> None:
        self._remove(_place(message))

    def _mute(self, message: Message) -> None:
        place = _place(message)
        if (member := self._members.get(place)) is not None:
            muted = message["Event"] == "ConfbridgeMute"
            member.participant = replace(member.participant, muted=muted)
            self._touched[place] = None

    def _new_callerid(self, message: Message) -> None:
        """Somebody has another name or number now, and this event says whether they may be shown."""
        for place, member in self._members_of(message):
            name, number = _known(message, "CallerIDName"), _known(message, "CallerIDNum")
            member.participant = replace(member.participant, name=name, number=number)
            member.withheld = _is_restricted(message.get("CID-CallingPres", ""))
            self._touched[place] = None

    def _rename(self, message: Message) -> None:
        """A masquerade, see rule 2; names in the middle of one end in ``<MASQ>`` and ``<ZOMBIE>``."""
        channel = message["Newname"]
        if "<" in channel:
            return
        for place, member in self._members_of(message):
            member.participant = replace(member.participant, channel=channel, device=device_of(channel))
            member.withheld = None
            self._touched[place] = None

    def _hangup(self, message: Message) -> None:
        uid = message["Uniqueid"]
        self._over[uid] = None
        if len(self._over) > PAST:
            self._over.popitem(last=False)
        for place in [*self._places.get(uid, ()), *(place for place in self._own if place[1] == uid)]:
            self._remove(place)

    def _members_of(self, message: Message) -> Iterator[tuple[_Place, _Member]]:
        for place in self._places.get(message["Uniqueid"], ()):
            yield place, self._members[place]

    def _remove(self, place: _Place) -> None:
        self._own.pop(place, None)
        if self._members.pop(place, None) is None:
            return
        _number, uid = place
        self._places[uid].discard(place)
        if not self._places[uid]:
            del self._places[uid]
        self._touched[place] = None

    # Changes

    def _take_changes(self) -> Sequence[Change]:
        changes: list[Change] = []
        touched, self._touched = self._touched, {}
        for place in touched:
            changes += self._differences(place)
        return changes

    def _differences(self, place: _Place) -> Iterator[Change]:
        """Yield what is different in one place from what was told of it."""
        number, uid = place
        member, told = self._members.get(place), self._told.get(number, {}).get(uid)
        if told is not None and (member is None or member.participant.channel != told.channel):
            yield self._tell_gone(number, uid)
            told = None
        if member is None:
            return
        if member.withheld is None:
            self._questions[place] = None  # until that is known, they stay as they were told of, if they were
            return
        now = member.shown()
        if now != told:
            self._told.setdefault(number, {})[uid] = now
            yield PhoneJoined(number, now) if told is None else PhoneChanged(number, now)

    def _tell_gone(self, number: str, uid: str) -> PhoneLeft:
        told = self._told[number]
        gone = told.pop(uid)
        if not told:
            del self._told[number]
        return PhoneLeft(number, gone.channel)


_HANDLERS: Mapping[str, Callable[[Conferences, Message], None]] = {
    "ConfbridgeJoin": Conferences._enter,
    "ConfbridgeLeave": Conferences._leave,
    "ConfbridgeMute": Conferences._mute,
    "ConfbridgeUnmute": Conferences._mute,
    "NewCallerid": Conferences._new_callerid,
    "Rename": Conferences._rename,
    "Hangup": Conferences._hangup,
}


def _place(message: Message) -> _Place:
    return message["Conference"], message["Uniqueid"]


def _known(message: Message, header: str) -> str:
    value = message.get(header, "")
    return "" if value == "<unknown>" else value


def _caller(participant: Participant) -> tuple[str, str, str]:
    """Return who it is: whether that may be shown has to be asked for each of them."""
    return participant.channel, participant.name, participant.number


def _is_restricted(presentation: str) -> bool:
    """Read ``CID-CallingPres``, such as ``32 (Presentation Prohibited, Not Screened)``; what is not known is secret."""
    code = presentation.partition(" ")[0]
    return not code.isdecimal() or int(code) & _RESTRICTION == _RESTRICTED
