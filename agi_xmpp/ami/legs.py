"""What `calls` keeps while it works: legs, calls and what connects them, each with the rules that need nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from agi_xmpp.ami.changes import Call, How, Party, Phase

#: Seconds after which a picked up click to dial counts as a conversation if nothing is being dialled: it leads to an
#: announcement, a conference or a voice mailbox.
SILENCE = 2.0

#: Seconds for which a click to dial is expected to show its channel. Asterisk makes it within the same second, or says
#: that it cannot; this only frees what an answer that never came would leave behind.
EXPECT_TTL = 60.0

#: Q.850: user busy, call rejected, and Asterisk's "answered elsewhere".
BUSY, REJECTED, _ELSEWHERE = 17, 21, 26
#: Q.850: unknown, normal clearing, interworking: what a caller's own hanging up looks like.
_GAVE_UP = frozenset({0, 16, 127})

#: DialStatus of what was dialled last, where that alone says how a call ended for the person who dialled.
_OUTCOMES = {
    "BUSY": How.BUSY,
    "NOANSWER": How.NO_ANSWER,
    "CONGESTION": How.FAILED,
    "CHANUNAVAIL": How.FAILED,
}


@dataclass(eq=False, slots=True)
class Leg:
    """A channel of somebody's device.

    Attributes:
        caller: the channel that dials it, with Local channels skipped; "" if none does.
        place: where in the dialplan that channel was when it began to dial.
        since: event number when it began to ring.
        refused: its phone was busy, or sent the call away.
        stopped: what dials it has stopped that.
        moved: its caller was sent on while it rang.
        holds: its phone has put the other side on hold.
        on_hold: the other side has put it on hold.
    """

    uid: str
    channel: str
    device: str
    call: LiveCall
    linkedid: str = ""
    up: bool = False
    bridge: str = ""
    caller: str = ""
    place: tuple[str, str] = ("", "")
    since: int = 0
    refused: bool = False
    stopped: bool = False
    moved: bool = False
    holds: bool = False
    on_hold: bool = False


@dataclass(eq=False, slots=True)
class LiveCall:
    """A call as we work on it.

    Attributes:
        linkedid: of its first leg when that was seen first; the ChannelId of a click to dial.
        told: as people were told last; None if they don't know of it.
        target: the number that was dialled last.
        dialling: Uniqueids of the channels that ring because of it.
        dialled: something has been dialled.
        rang: as `Call.rang`.
        dial_status: of what was dialled last and did not answer; of a call that came in: of the person's own phone.
        picked: the phone of a click to dial was picked up.
        silent_since: since when a picked up click to dial has not been dialling; None while it does, or talks.
        all_refused, moved: of the legs that are gone.
    """

    id: str
    owner: str
    linkedid: str
    incoming: bool
    clicked: bool
    began: float
    phase: Phase = Phase.OPENING
    answered: float | None = None
    party: Party = field(default_factory=Party)
    device: str = ""
    channel: str = ""
    source: str = ""
    legs: dict[str, Leg] = field(default_factory=dict)
    told: Call | None = None
    target: str = ""
    dialling: set[str] = field(default_factory=set)
    dialled: bool = False
    rang: bool = False
    dial_status: str = ""
    picked: bool = False
    silent_since: float | None = None
    all_refused: bool = True
    moved: bool = False

    def main(self) -> Leg | None:
        """Return the leg that talks, or the oldest, which is always the one that dials."""
        oldest = next(iter(self.legs.values()), None)
        return next((leg for leg in self.legs.values() if leg.up), oldest) if self.incoming else oldest

    def shown(self) -> Call:
        """Return it as it is now."""
        leg = self.main()
        if leg is not None:
            self.device, self.channel = leg.device, leg.channel
        return Call(
            id=self.id,
            owner=self.owner,
            phase=self.phase,
            incoming=self.incoming,
            clicked=self.clicked,
            device=self.device,
            party=self.party,
            channel=self.channel,
            source=self.source if self.phase is Phase.RINGING else "",
            held=any(leg.up and (leg.holds or leg.on_hold) for leg in self.legs.values()),
            began=self.began,
            answered=self.answered,
            linkedid=self.linkedid,
            rang=self.rang,
        )

    def due(self) -> float | None:
        """Return when time changes something about a click to dial; None if it does not."""
        if not self.legs:
            return self.began + EXPECT_TTL
        return None if self.silent_since is None else self.silent_since + SILENCE

    def verdict(self, cause: int, *, taken: bool) -> How:
        """Return how it ended, now that its last leg is gone.

        Args:
            cause: Q.850, of that leg.
            taken: somebody else took the call while it rang.
        """
        if self.answered is not None:
            return How.TALKED
        if self.clicked and not self.picked:
            return How.UNPICKED
        if self.incoming:
            if taken or (cause == _ELSEWHERE and not self.all_refused):
                return How.ELSEWHERE
            if self.moved:
                return How.FORWARDED
            return How.REJECTED if self.all_refused else How.MISSED
        return self._outcome(cause)

    def _outcome(self, cause: int) -> How:
        """What the person's own dialling came to; what Dial says is worth more than the cause (a busy tone's is 17)."""
        if self.dial_status in _OUTCOMES:
            return _OUTCOMES[self.dial_status]
        if cause == BUSY:
            return How.BUSY
        # CANCEL: what rang was told to stop, because the person gave up or because the last phone of a group refused.
        if self.dial_status == "CANCEL" or cause in _GAVE_UP:
            return How.NO_ANSWER
        return How.NO_ANSWER if self.dialling else How.FAILED


@dataclass(eq=False, slots=True)
class Talk:
    """Legs of several people with the same Linkedid now."""

    legs: list[Leg] = field(default_factory=list)
    winner: Winner | None = None


@dataclass(frozen=True, slots=True)
class Winner:
    """Who took a call.

    Attributes:
        owner: whose the phone is; "" for nobody's.
        caller: as `Leg.caller`; "" if it was picked up.
        since: event number.
    """

    party: Party
    owner: str
    caller: str
    since: int

    def beat(self, leg: Leg) -> bool:
        """Return True if that leg rang for the same call."""
        return self.since > leg.since > 0 and (self.caller == leg.caller or not self.caller or not leg.caller)


@dataclass(eq=False, slots=True)
class Bridge:
    """A bridge with legs in it; ``size`` counts all its channels."""

    legs: list[Leg] = field(default_factory=list)
    size: int = 0


@dataclass(eq=False, slots=True)
class LocalPair:
    """A pair of Local channels that is being dialled: who dials, where in the dialplan, and whether it was sent on."""

    caller: str
    place: tuple[str, str]
    moved: bool = False
