"""Calls and legs out of AMI's events, seen from the people whose phones take part. Pure: no I/O, the clock is given.

A *leg* is a channel of a device that belongs to somebody. A *call* is all legs of one person in one conversation: two
phones of theirs that ring for the same caller are one call. What the rules below say was measured on Asterisk 22.10;
reference: the pages of the AMI events on docs.asterisk.org.

1. Legs of one person belong together if their Linkedid was the same when each was seen first, and nobody had answered
   by then. It is not looked at again: a transfer by REFER with Replaces changes it in the middle of a call.
2. It rings at the DialBegin that has the leg as destination, and is dialled at the first one that has it as source.
   Newstate Ringing comes before or after, and not at all for a phone that answers with 183.
3. A leg is answered when it is Up, an outgoing one too: an announcement or a queue has no Dial. Only the phone of a
   click to dial is Up before anybody talks: that call is answered when the other side is, or when nothing has been
   dialled for `SILENCE` seconds.
4. Who won a race is what DialEnd ANSWER (or Pickup) says between a leg's DialBegin and its Hangup. The losers' DialEnd
   CANCEL comes before or after it, their Hangup after it.
5. A caller whose extension changed between DialBegin and DialEnd was sent on (action Redirect).
6. An AMI event about the other side's number is NewConnectedLine on one's own channel, in transfers of every kind.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from agi_xmpp.ami.changes import (
    Answered,
    Call,
    Change,
    Dialled,
    Ended,
    How,
    Party,
    Phase,
    Rang,
    Restored,
    Updated,
)
from agi_xmpp.ami.legs import BUSY, EXPECT_TTL, REJECTED, SILENCE, Bridge, Leg, LiveCall, LocalPair, Talk, Winner
from agi_xmpp.ami.model import Message

__all__ = [
    "EXPECT_TTL",
    "PAST",
    "SILENCE",
    "Answered",
    "Call",
    "Calls",
    "Change",
    "Dialled",
    "Ended",
    "How",
    "Party",
    "Phase",
    "Rang",
    "Restored",
    "Updated",
    "device_of",
]

#: So many conversations are remembered, so that a transfer back to the same person gets an id of its own, and a
#: late event does not start a call anew. Live channels are not limited: Asterisk's own limit is theirs (`maxcalls`),
#: each is freed at its Hangup, and dropping one would show a person wrongly as free.
PAST = 1000

#: ChannelStateDesc of a channel's first event if its phone calls us; the others are called by us.
_CALLS_US = frozenset({"Ring", "Dialing", "OffHook", "Up"})

#: What Asterisk runs on channels that it called itself (Dial, Originate, Queue), in the items of action Status.
_CALLED_BY_US = frozenset({"AppDial", "AppDial2", "AppQueue"})

#: Extensions that are no number: Asterisk's own (https://docs.asterisk.org, "Special Dialplan Extensions").
_SPECIAL = frozenset({"a", "e", "failed", "h", "i", "o", "s", "t", "T"})
_NUMBER = re.compile(r"[0-9+*#][0-9A-Za-z*#+.-]*")


def device_of(channel: str) -> str:
    """Return the device of a channel by its name: ``PJSIP/101`` of ``PJSIP/101-0000002a``."""
    name = channel.partition("<")[0]  # PJSIP/101-0000002a<ZOMBIE>: what a masquerade leaves behind
    device, dash, _ = name.rpartition("-")
    return device if dash else name


class Calls:
    """The calls of everybody in the user map.

    It takes events in the order in which Asterisk sends them. What is said twice changes nothing, and events of
    channels that are nobody's cost a look into a dict or two.

    Args:
        owner_of: returns whose phone a device (``PJSIP/101``) is; "" for nobody's.
        clock: seconds, monotonic.
    """

    def __init__(self, owner_of: Callable[[str], str], clock: Callable[[], float]) -> None:
        self._owner_of = owner_of
        self._clock = clock
        self._now = 0  # counts events: what came after what
        self._legs: dict[str, Leg] = {}  # by Uniqueid
        self._calls: dict[str, dict[str, LiveCall]] = {}  # by owner and id
        self._latest: dict[tuple[str, str], LiveCall] = {}  # by owner and first Linkedid
        self._clicks: dict[str, LiveCall] = {}  # by ChannelId: clicks to dial, from before their channel to their end
        self._talks: dict[str, Talk] = {}  # by current Linkedid
        self._bridges: dict[str, Bridge] = {}  # those that have a leg
        self._locals: dict[str, LocalPair] = {}  # by name without ";1" and ";2"
        self._begun: OrderedDict[tuple[str, str], int] = OrderedDict()  # calls of that owner and Linkedid, so far
        self._past_legs: OrderedDict[str, None] = OrderedDict()
        self._buffer: list[Message] | None = None
        self._changes: list[Change] = []
        self._touched: list[LiveCall] = []

    # What is going on

    def all(self) -> list[Call]:
        """Return all calls, oldest first. A click to dial counts from the moment on when its phone is called."""
        calls = [call.shown() for call in self._live() if call.legs]
        return sorted(calls, key=lambda call: call.began)

    def of(self, owner: str) -> list[Call]:
        """Return the calls of one person, oldest first. What others do costs nothing here."""
        calls = [call.shown() for call in self._calls.get(owner, {}).values() if call.legs]
        return sorted(calls, key=lambda call: call.began)

    def find(self, call_id: str, owner: str) -> Call | None:
        """Return that call of that person; None if there is none now."""
        call = self._calls.get(owner, {}).get(call_id)
        return call.shown() if call is not None and call.legs else None

    def is_busy(self, owner: str) -> bool:
        """Return True if the person talks: one of their calls has been answered and is not over."""
        return any(call.phase is Phase.TALKING and call.legs for call in self._calls.get(owner, {}).values())

    def _live(self) -> list[LiveCall]:
        return [call for calls in self._calls.values() for call in calls.values()]

    # Clicks to dial

    def expect(self, channel_id: str, owner: str, target: Party | None = None) -> None:
        """Announce a click to dial, before its Originate is sent.

        The first leg gives no `Rang`, and the call's id is ``c-<channel_id>``.

        Args:
            channel_id: the ``ChannelId`` of the Originate; never used before.
            owner: who dials, with a phone of their own.
            target: whom; shown until Asterisk knows better.
        """
        call = LiveCall(f"c-{channel_id}", owner, channel_id, incoming=False, clicked=True, began=self._clock())
        call.party = target or Party()
        call.target = call.party.number
        self._clicks[channel_id] = call
        self._begin(call)

    def forget(self, channel_id: str) -> list[Change]:
        """Drop a click to dial that failed before a channel appeared; `Ended` with `How.FAILED` says so.

        Nothing happens if its channel is there already, or has been: Hangup ends it.
        """
        call = self._clicks.get(channel_id)
        if call is not None and not call.legs:
            self._end(call, How.FAILED)
        return self._take_changes()

    # Time

    def next_deadline(self) -> float | None:
        """Return when `tick` has something to do, on the clock; None if it has not."""
        return min((due for call in self._clicks.values() if (due := call.due()) is not None), default=None)

    def tick(self) -> list[Change]:
        """Do what time brings: call it at `next_deadline`; earlier or more often does no harm."""
        now = self._clock()
        for call in list(self._clicks.values()):
            due = call.due()
            if due is None or due > now:
                continue
            if call.legs:
                self._answer(call)
            else:
                self._end(call, How.FAILED)
        return self._take_changes()

    # The connection

    def begin_resync(self) -> None:
        """Keep events back until `resync`; call it before action Status is sent.

        Events kept back by an earlier call are dropped: the list to come knows what they said.
        """
        self._buffer = []

    def resync(self, statuses: Sequence[Message] | None) -> list[Change]:
        """Take over how Asterisk's channels are, then the events that came since `begin_resync`.

        Args:
            statuses: the items of action Status; None if they could not be had: then only the events count.
        """
        events, self._buffer = self._buffer or [], None
        changes: list[Change] = []
        if statuses is not None:
            begun = {event["Uniqueid"] for event in events if event["Event"] == "Newchannel"}
            over = {event["Uniqueid"] for event in events if event["Event"] == "Hangup"}
            changes += self._compare(statuses, begun=begun, over=over)
        for event in events:
            changes += self.feed(event)
        return changes

    def lose(self) -> list[Change]:
        """Give up everything: Asterisk has been out of sight for too long. Each call is `How.LOST`."""
        self._buffer = None
        for call in self._live():
            self._end(call, How.LOST)
        self._locals.clear()
        return self._take_changes()

    def _compare(self, statuses: Sequence[Message], *, begun: set[str], over: set[str]) -> list[Change]:
        """Take over the items of action Status.

        Args:
            statuses: what the action returned.
            begun, over: Uniqueids of the channels whose beginning and end are among the events that were kept back.
        """
        self._now += 1
        alive = {item["Uniqueid"] for item in statuses}
        sizes = Counter(item.get("BridgeID", "") for item in statuses)
        for leg in list(self._legs.values()):
            if leg.uid not in alive and leg.uid not in over:
                self._drop(leg, 0, How.TALKED if leg.call.answered is not None else How.LOST)
        names = {_local(item["Channel"]) for item in statuses}
        self._locals = {name: local for name, local in self._locals.items() if name in names}
        known = set(self._live())
        for item in statuses:
            if item["Uniqueid"] not in begun:
                self._take_over(item, known, sizes)
        items = {item["Uniqueid"]: item for item in statuses}
        for call in self._live():
            if call not in known:
                self._restore(call, items)
        return self._take_changes()

    def _take_over(self, item: Message, known: set[LiveCall], sizes: Mapping[str, int]) -> None:
        """Take over one item of action Status; legs of calls that are not ``known`` make no changes yet."""
        device = device_of(item["Channel"])
        leg = self._leg(item)
        if leg is None:
            if not (owner := self._owner_of(device)):
                return
            up = item["ChannelStateDesc"] == "Up"
            outgoing = item.get("Application") not in _CALLED_BY_US if up else item["ChannelStateDesc"] in _CALLS_US
            leg = self._add_leg(item, owner, outgoing=outgoing)
            leg.since = self._now
        call = leg.call
        leg.channel, leg.device = item["Channel"], device
        if bridge := item.get("BridgeID", ""):
            self._enter(leg, bridge).size = sizes[bridge]
        elif leg.bridge:
            self._leave(leg)
        if call not in known:
            call.began = min(call.began, self._clock() - float(item.get("Seconds") or 0))
            leg.up = item["ChannelStateDesc"] == "Up"
            return
        self._newstate(item)
        if call.clicked and bridge and leg.uid == call.linkedid:
            self._answer(call)
        self._new_connected_line(item)

    def _restore(self, call: LiveCall, items: Mapping[str, Message]) -> None:
        """A call that we did not see begin: when it was answered is not known, so the beginning must do.

        Args:
            call: the call.
            items: of action Status, by Uniqueid.
        """
        leg = call.main()
        if leg is None:
            return
        call.party = _party(items[leg.uid], "ConnectedLine") or call.party
        if leg.up:
            call.phase, call.answered = Phase.TALKING, call.began
        elif call.incoming:
            call.phase, call.rang = Phase.RINGING, True
            first = items.get(call.linkedid, {}).get("Channel", "")
            call.source = "" if call.linkedid in call.legs or _local(first) else first
        else:
            call.phase, call.dialled = Phase.DIALLING, True
        self._tell(call, Restored)

    # Events

    def feed(self, event: Message) -> list[Change]:
        """Take any AMI event, and return what it means to people; those that say nothing to us are ignored."""
        handler = _HANDLERS.get(event.get("Event", ""))
        if handler is None:
            return []
        if self._buffer is not None:
            self._buffer.append(event)
            return []
        self._now += 1
        handler(self, event)
        return self._take_changes()

    def _newchannel(self, event: Message) -> None:
        uid = event["Uniqueid"]
        owner = self._owner_of(device_of(event["Channel"]))
        if not owner or uid in self._legs or uid in self._past_legs:
            return
        leg = self._add_leg(event, owner, outgoing=event["ChannelStateDesc"] in _CALLS_US)
        self._newstate(event)
        self._note(leg.call)

    def _newstate(self, event: Message) -> None:
        leg = self._leg(event)
        if leg is None or event["ChannelStateDesc"] != "Up" or leg.up:
            return
        leg.up = True
        call = leg.call
        if call.clicked:
            call.picked = True
            if not call.dialling and call.phase is not Phase.TALKING:
                call.silent_since = self._clock()
        else:
            if call.incoming and leg.caller:
                # Now already: the others of its group may be hung up before Dial says who has answered.
                self._taken(event, event["Channel"], _party(event, "CallerID"), leg.caller)
            self._answer(call)
        self._note(call)

    def _new_connected_line(self, event: Message) -> None:
        leg = self._leg(event)
        if leg is None:
            return
        call = leg.call
        party = _party(event, "ConnectedLine")
        # Empty: between two partners, in the middle of a transfer. Of a click to dial, before anything was dialled: the
        # caller id of the Originate, the person's own. Of a phone that rings while another one talks: old news.
        if party == Party() or (call.clicked and not call.dialled) or leg is not call.main():
            return
        call.party = party
        self._note(call)

    def _dial_begin(self, event: Message) -> None:
        caller, place = self._caller(event), _place(event)
        if local := _local(event["DestChannel"]):
            self._locals.setdefault(local, LocalPair(caller, place))
        self._dials(event)
        leg = self._legs.get(event["DestUniqueid"])
        if leg is None:
            return
        call = leg.call
        leg.caller, leg.place, leg.since = caller, place, leg.since or self._now
        begins = call.phase is Phase.OPENING and not call.clicked
        if begins:
            call.incoming, call.phase = True, Phase.RINGING
        if call.phase is not Phase.RINGING:
            return
        call.source = caller or call.source
        # A queue knows the connected line a moment later only.
        call.party = _party(event, "DestConnectedLine") or _party(event, "CallerID") or call.party
        if begins:
            self._tell(call, Rang)
        self._note(call)

    def _dials(self, event: Message) -> None:
        """If the channel that dials is somebody's, tell whom they call."""
        call = self._dialler(event)
        if call is None:
            return
        call.dialling.add(event["DestUniqueid"])
        call.silent_since = None
        dest = _party(event, "DestCallerID")
        exten = event.get("Exten", "")
        number = exten if _NUMBER.fullmatch(exten) else dest.number
        # The next one of the same hunt group is no news: NewConnectedLine has said, or will say, who it is.
        if number and (number != call.target or call.party.number in ("", number)):
            known = next((party.name for party in (dest, call.party) if party.number == number and party.name), "")
            call.target, call.party = number, Party(number, known)
        if not call.incoming and call.phase is Phase.OPENING:
            call.phase = Phase.DIALLING
            self._tell(call, Dialled)
        call.dialled = True
        self._note(call)

    def _dial_state(self, event: Message) -> None:
        if event.get("DialStatus") != "RINGING":
            return
        called, dialler = self._legs.get(event["DestUniqueid"]), self._dialler(event)
        if called is not None and called.call.incoming:
            called.call.rang = True
        if dialler is not None:
            dialler.rang = True

    def _dial_end(self, event: Message) -> None:
        if event["DialStatus"] == "ANSWER":
            self._taken(event, event["DestChannel"], _party(event, "DestCallerID"), self._caller(event))
        self._dialled(event)
        # Forward: the phone itself sent the caller on (SIP 302).
        moved, place = bool(event.get("Forward")), _place(event)
        ahead = self._locals.get(_local(event["DestChannel"]))
        if ahead is not None:
            ahead.moved |= moved or ahead.place != place
        leg = self._legs.get(event["DestUniqueid"])
        if leg is not None and not leg.up:
            behind = self._locals.get(_local(event.get("Channel", "")))
            leg.refused |= event["DialStatus"] == "BUSY"
            leg.stopped |= event["DialStatus"] in ("CANCEL", "NOANSWER")
            if leg.call.incoming:
                leg.call.dial_status = event["DialStatus"]
            leg.moved |= moved or leg.place != place or (behind is not None and behind.moved)

    def _dialled(self, event: Message) -> None:
        """If the channel that dialled is somebody's, tell what became of it."""
        call = self._dialler(event)
        if call is None:
            return
        call.dialling.discard(event["DestUniqueid"])
        if event["DialStatus"] == "ANSWER":
            if call.clicked:
                self._answer(call)
        else:
            call.dial_status = event["DialStatus"]
            if call.picked and not call.dialling and call.phase is not Phase.TALKING:
                call.silent_since = self._clock()

    def _pickup(self, event: Message) -> None:
        # Channel picks up the call of Target: https://docs.asterisk.org, "Call Pickup".
        self._taken(event, event["Channel"], _party(event, "CallerID"), "")

    def _taken(self, event: Message, channel: str, party: Party, caller: str) -> None:
        """Somebody took a call: remember who, for those who lose the race."""
        linkedid = event.get("TargetLinkedid") or event.get("Linkedid") or event["DestLinkedid"]
        talk = self._talks.get(linkedid)
        if talk is not None and not _local(channel):  # the phone behind a Local channel has its own event
            talk.winner = Winner(party, self._owner_of(device_of(channel)), caller, self._now)

    def _bridge_enter(self, event: Message) -> None:
        leg = self._leg(event)
        uid = event["BridgeUniqueid"]
        bridge = self._bridges.get(uid)
        if bridge is not None and (leg is None or leg.bridge != uid) and not event.get("SwapUniqueid"):
            for other in bridge.legs:  # who was left alone with music has company
                other.on_hold = False
                self._note(other.call)
        if leg is not None:
            bridge = self._enter(leg, uid)
            if leg.call.clicked and leg.uid == leg.call.linkedid:
                self._answer(leg.call)
            self._note(leg.call)
        if bridge is not None:
            bridge.size = int(event.get("BridgeNumChannels") or 2)

    def _bridge_leave(self, event: Message) -> None:
        bridge = self._bridges.get(event["BridgeUniqueid"])
        if bridge is not None:
            bridge.size = int(event.get("BridgeNumChannels") or 0)
        leg = self._leg(event)
        if leg is not None and leg.bridge == event["BridgeUniqueid"]:
            self._leave(leg)
            self._note(leg.call)

    def _hold(self, event: Message) -> None:
        """Hold is raised on the channel whose phone pressed the button."""
        held = event["Event"] == "Hold"
        leg = self._leg(event)
        if leg is not None:
            leg.holds = held
            self._note(leg.call)
        talk = self._talks.get(event["Linkedid"])
        for other in talk.legs if talk is not None else ():
            bridge = self._bridges.get(other.bridge)
            # In a conference the others go on talking.
            if other is not leg and other.up and (bridge is None or bridge.size <= 2):
                other.on_hold = held
                self._note(other.call)

    def _rename(self, event: Message) -> None:
        """A masquerade: the channel of the new name takes the place of the one that had it.

        The one that had it becomes ``<MASQ>``, then ``<ZOMBIE>``, and is hung up.
        """
        name, uid = event["Newname"], event["Uniqueid"]
        owner = self._owner_of(device_of(name))
        if "<" in name or not owner:
            return
        leg = self._legs.get(uid)
        if leg is None:
            leg = next((leg for leg in self._legs.values() if leg.channel == name and leg.call.owner == owner), None)
            if leg is None:
                return
            self._forget_leg(leg)
            del leg.call.legs[leg.uid]
            leg.uid = uid
            leg.call.legs[uid] = self._legs[uid] = leg
        leg.channel, leg.device = name, device_of(name)
        self._note(leg.call)

    def _hangup(self, event: Message) -> None:
        channel = event["Channel"]
        if channel.endswith(";2"):  # the half that dials, so nothing asks for it any more
            self._locals.pop(_local(channel), None)
        leg = self._leg(event)
        if leg is not None:
            cause = event.get("Cause", "")
            self._drop(leg, int(cause) if cause.isdecimal() else 0)

    def _originate_response(self, event: Message) -> None:
        call = self._clicks.get(event.get("Uniqueid", ""))
        if event.get("Response") == "Failure" and call is not None and not call.legs:
            self._end(call, How.FAILED)

    # Legs

    def _leg(self, event: Message) -> Leg | None:
        """Return the leg that an event is about, and take note of its Linkedid."""
        leg = self._legs.get(event.get("Uniqueid", ""))
        linkedid = event.get("Linkedid", "")
        if leg is not None and linkedid and linkedid != leg.linkedid:
            self._part(leg)
            self._join(leg, linkedid)
        return leg

    def _add_leg(self, event: Message, owner: str, *, outgoing: bool) -> Leg:
        uid, linkedid, channel = event["Uniqueid"], event["Linkedid"], event["Channel"]
        call = self._latest.get((owner, linkedid))
        # Who talks already is called anew: by a transfer back, or by a transfer from one phone of theirs to another.
        if call is None or call.phase is Phase.TALKING:
            call_id = self._new_id(owner, linkedid)
            call = LiveCall(call_id, owner, linkedid, incoming=not outgoing, clicked=False, began=self._clock())
            self._begin(call)
            if outgoing:
                exten = event.get("Exten", "")
                call.target = "" if exten in _SPECIAL else exten
                call.party = Party(call.target)
            else:
                call.party = _party(event, "ConnectedLine")
        leg = Leg(uid, channel, device_of(channel), call)
        call.legs[uid] = self._legs[uid] = leg
        self._join(leg, linkedid)
        return leg

    def _join(self, leg: Leg, linkedid: str) -> None:
        leg.linkedid = linkedid
        self._talks.setdefault(linkedid, Talk()).legs.append(leg)

    def _part(self, leg: Leg) -> None:
        talk = self._talks[leg.linkedid]
        talk.legs.remove(leg)
        if not talk.legs:
            del self._talks[leg.linkedid]

    def _enter(self, leg: Leg, uid: str) -> Bridge:
        bridge = self._bridges.setdefault(uid, Bridge())
        if leg.bridge != uid:
            self._leave(leg)
            bridge.legs.append(leg)
            leg.bridge = uid
        return bridge

    def _leave(self, leg: Leg) -> None:
        """A leg leaves its bridge: nobody holds it there any more."""
        leg.holds = leg.on_hold = False
        bridge = self._bridges.get(leg.bridge)
        if bridge is not None:
            bridge.legs.remove(leg)
            if not bridge.legs:
                del self._bridges[leg.bridge]
        leg.bridge = ""

    def _drop(self, leg: Leg, cause: int, how: How | None = None) -> None:
        """A leg is gone; ``how`` says how its call ended, if the leg's own history does not."""
        call = leg.call
        # Busy, of a phone that Dial has stopped calling: that was another one of the group.
        busy = cause == BUSY and not leg.stopped
        call.all_refused &= leg.refused or busy or cause == REJECTED
        call.moved |= leg.moved
        if len(call.legs) > 1:
            self._remove(leg)
            self._note(call)
            return
        winner = self._talks[leg.linkedid].winner
        if winner is not None and not winner.beat(leg):
            winner = None
        if how is None:
            how = call.verdict(cause, taken=winner is not None)
        self._end(call, how, cause, winner if how is How.ELSEWHERE else None)

    def _remove(self, leg: Leg) -> None:
        self._part(leg)
        self._leave(leg)
        self._forget_leg(leg)
        del leg.call.legs[leg.uid]

    def _forget_leg(self, leg: Leg) -> None:
        del self._legs[leg.uid]
        self._past_legs[leg.uid] = None
        if len(self._past_legs) > PAST:
            self._past_legs.popitem(last=False)

    # Calls

    def _dialler(self, event: Message) -> LiveCall | None:
        """Return the call whose channel dials: the person's own, or the Local channel of a click to dial."""
        leg = self._leg(event)
        return leg.call if leg is not None else self._clicks.get(event.get("Uniqueid", ""))

    def _caller(self, event: Message) -> str:
        """Return the channel that dials, through all Local channels in between; "" if there is none (Originate)."""
        channel = event.get("Channel", "")
        if not (name := _local(channel)):
            return channel
        local = self._locals.get(name)
        return local.caller if local is not None else ""

    def _new_id(self, owner: str, linkedid: str) -> str:
        times = self._begun.get((owner, linkedid), 0)
        # A call that has lasted for so long that its beginning is forgotten has its id all the same.
        while (call_id := f"c-{linkedid}-{times + 1}" if times else f"c-{linkedid}") in self._calls.get(owner, {}):
            times += 1
        return call_id

    def _begin(self, call: LiveCall) -> None:
        key = (call.owner, call.linkedid)
        self._calls.setdefault(call.owner, {})[call.id] = self._latest[key] = call
        self._begun[key] = self._begun.pop(key, 0) + 1
        if len(self._begun) > PAST:
            self._begun.popitem(last=False)

    def _answer(self, call: LiveCall) -> None:
        if call.phase is Phase.TALKING:
            return
        call.phase, call.answered, call.silent_since = Phase.TALKING, self._clock(), None
        self._tell(call, Answered)

    def _end(self, call: LiveCall, how: How, cause: int = 0, winner: Winner | None = None) -> None:
        last = call.shown()
        for leg in list(call.legs.values()):
            self._remove(leg)
        del self._calls[call.owner][call.id]
        if not self._calls[call.owner]:
            del self._calls[call.owner]
        key = (call.owner, call.linkedid)
        if self._latest.get(key) is call:
            del self._latest[key]
        if call.clicked:
            del self._clicks[call.linkedid]
        call.phase = Phase.OVER
        by, owner = (winner.party, winner.owner) if winner is not None else (Party(), "")
        over = replace(last, phase=Phase.OVER)
        self._changes.append(Ended(over, how, by, owner, cause, call.dial_status, self._clock()))

    # Changes

    def _tell(self, call: LiveCall, kind: type[Rang | Dialled | Answered | Restored]) -> None:
        call.told = call.shown()
        self._changes.append(kind(call.told))

    def _note(self, call: LiveCall) -> None:
        """Something about a call may have changed; `_take_changes` tells it where that is so."""
        self._touched.append(call)

    def _take_changes(self) -> list[Change]:
        for call in self._touched:
            # Who has not heard of a call, or has heard of its end, is told nothing.
            if call.told is None or call.phase is Phase.OVER:
                continue
            now = call.shown()
            if _seen(now) != _seen(call.told):
                call.told = now
                self._changes.append(Updated(now))
        self._touched.clear()
        changes, self._changes = self._changes, []
        return changes


_HANDLERS: dict[str, Callable[[Calls, Message], None]] = {
    "Newchannel": Calls._newchannel,
    "Newstate": Calls._newstate,
    "NewConnectedLine": Calls._new_connected_line,
    "DialBegin": Calls._dial_begin,
    "DialState": Calls._dial_state,
    "DialEnd": Calls._dial_end,
    "Pickup": Calls._pickup,
    "BridgeEnter": Calls._bridge_enter,
    "BridgeLeave": Calls._bridge_leave,
    "Hold": Calls._hold,
    "Unhold": Calls._hold,
    "Rename": Calls._rename,
    "Hangup": Calls._hangup,
    "OriginateResponse": Calls._originate_response,
}


def _party(event: Message, prefix: str) -> Party:
    """Return who stands in ``<prefix>Num`` and ``<prefix>Name``."""
    number, name = (event.get(f"{prefix}{part}", "") for part in ("Num", "Name"))
    number = "" if number == "<unknown>" else number
    return Party(number, "" if name in ("<unknown>", number) else name)


def _place(event: Message) -> tuple[str, str]:
    """Return where in the dialplan the event's channel is."""
    return event.get("Context", ""), event.get("Exten", "")


def _local(channel: str) -> str:
    """Return what both halves of a pair of Local channels are called; "" if it is no Local channel."""
    return channel.rpartition(";")[0] if channel.startswith("Local/") else ""


def _seen(call: Call) -> tuple[Party, str, str, bool]:
    """Return what `Updated` tells of."""
    return call.party, call.device, call.channel, call.held
