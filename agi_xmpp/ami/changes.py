"""A call as its owner sees it, and what can happen to it: plain data. `calls` makes them of Asterisk's events."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Party:
    """The other side of a call.

    Attributes:
        number: "" if unknown or withheld.
        name: likewise.
    """

    number: str = ""
    name: str = ""

    def __bool__(self) -> bool:
        """True if anything is known."""
        return bool(self.number or self.name)


class Phase(enum.Enum):
    """How far a call has come."""

    OPENING = "opening"  # the person's own phone is in it, and nothing can be told yet
    RINGING = "ringing"  # somebody calls the person
    DIALLING = "dialling"  # the person calls somebody
    TALKING = "talking"  # the person's phone is answered: they speak, hear music, or leave a message
    OVER = "over"


class How(enum.Enum):
    """How a call ended for the person."""

    TALKED = "talked"
    MISSED = "missed"  # it rang, and nobody took it
    ELSEWHERE = "elsewhere"  # it rang, and somebody else took it; `Ended.by` says who if it is known
    REJECTED = "rejected"  # the person's phones all refused it
    FORWARDED = "forwarded"  # it rang, and was sent on to another phone before anybody took it
    BUSY = "busy"  # the person called, and the other side was busy
    NO_ANSWER = "no answer"  # the person called, and nobody took it
    FAILED = "failed"  # the person called, and the call could not be set up
    UNPICKED = "unpicked"  # a call by click to dial: the person did not pick up their own phone
    LOST = "lost"  # we lost sight of it (Asterisk restarted, or the connection to it broke)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one person, as it is at one moment.

    Attributes:
        id: opaque; the same from the first to the last moment, whatever Asterisk does to the channels. Two people in
            the same conversation have the same one unless a transfer brought them together.
        owner: whose it is: what the ``owner_of`` of the tracker returned.
        phase: how far it has come.
        incoming: True if somebody called the person.
        clicked: True if it is a call of our own (click to dial): see `Calls.expect`.
        device: the phone: the one that talks, or the first that rang.
        party: the other side as it is known now.
        channel: the person's own channel: the one that talks, or the first one.
        source: while it rings: the channel of the caller, which can be redirected (never a ``Local/`` one); or "".
        held: the other side has put the person on hold, or they the other side.
        began: on the given clock.
        answered: on the given clock; None while nobody talks.
        linkedid: Asterisk's, when the call was seen first; of a click to dial its ChannelId.
        rang: the phone that was called has rung: the person's own if somebody called them, else the other side's.
    """

    id: str
    owner: str
    phase: Phase
    incoming: bool
    clicked: bool
    device: str
    party: Party
    channel: str
    source: str = ""
    held: bool = False
    began: float = 0.0
    answered: float | None = None
    linkedid: str = ""
    rang: bool = False


@dataclass(frozen=True, slots=True)
class Rang:
    """The person's phone begins to ring; once per call, however many phones ring."""

    call: Call


@dataclass(frozen=True, slots=True)
class Dialled:
    """The person calls somebody, and the other side has been found; once per call."""

    call: Call


@dataclass(frozen=True, slots=True)
class Answered:
    """The person talks from now on; once per call."""

    call: Call


@dataclass(frozen=True, slots=True)
class Updated:
    """Party, device, channel or hold have changed."""

    call: Call


@dataclass(frozen=True, slots=True)
class Restored:
    """A call that was going on before we looked: nobody is told, but it counts."""

    call: Call


@dataclass(frozen=True, slots=True)
class Ended:
    """The last leg of a call is gone.

    Attributes:
        call: as it was.
        how: see `How`.
        by: for `How.ELSEWHERE`: who took it.
        owner: for `How.ELSEWHERE`: the owner of the phone that took it, if it is somebody's.
        cause: Q.850 (``Cause`` of Hangup), 0 if unknown.
        dial_status: what Dial said last of a phone that did not answer: the person's own if somebody called them, else
            the other side's; "" if it said nothing.
        at: when, on the given clock.
    """

    call: Call
    how: How
    by: Party = Party()
    owner: str = ""
    cause: int = 0
    dial_status: str = ""
    at: float = 0.0


Change: TypeAlias = Rang | Dialled | Answered | Updated | Restored | Ended
