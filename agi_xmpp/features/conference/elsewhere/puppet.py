"""A phone as occupant of a room that is another service's: where it stands, and what it sends. Pure.

What the room says of it is read by `agi_xmpp.xmpp.room`; what follows for the others is up to `puppets`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.features.conference.elsewhere import puppet_stanzas
from agi_xmpp.features.conference.room import nicks
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.room import Room

#: Seconds for a room to answer. One on another server may have to wait for that.
ANSWER = 30.0

#: Seconds of silence after which a room is asked whether we are in (XEP-0410).
SILENCE = 300.0


class State(enum.Enum):
    """Where a puppet is."""

    OUT = "out"  # it comes (again) when it is time
    ENTERING = "entering"
    IN = "in"
    LEAVING = "leaving"
    EXPELLED = "expelled"  # somebody in the room threw it out, and the phone is being thrown out, too


class Puppet:
    """One phone's occupant.

    Args:
        room: bare JID.
        address: full JID that it enters with.
        participant: the phone.
        password: of the room, or "".
        send: sends a stanza.
        pace: when to try again.
        clock: seconds, monotonic.

    Attributes:
        seen: what the room says of who is in; its nick is the one that we have, or ask for.
        state: see there.
        voice: it may write to all.
        live: the room has told everything from before: what comes now is new.
        returning: it is leaving, and comes back at once: its phone has come back in the same call.
        problem: why it is not in; "" if it is, or nothing is wrong.
        refused: the room will not let it in the next time either, as far as we know: its phone's texts do not wait.
        told: what the phone was told last of its texts that are not shown.
        taken: nicks that the room has refused.
        muted_by_us: the phone was muted because the room lets it not write.
    """

    def __init__(
        self,
        room: Jid,
        address: Jid,
        participant: Participant,
        password: str,
        send: Callable[[Element], None],
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self.seen = Room(room)
        self.address = address
        self.participant = participant
        self.state = State.OUT
        self.voice = False
        self.live = False
        self.returning = False
        self.problem = ""
        self.refused = False
        self.told = ""
        self.taken: set[str] = set()
        self.muted_by_us = False
        self._password = password
        self._send = send
        self._pace = pace
        self._clock = clock
        self._name = ""  # of the phone, when a nick was made of it
        self._shown_muted = False
        self._wanted = ""  # the nick that it has asked for last
        self._since = clock()  # when it began to enter or to leave
        self._due = -math.inf  # when it tries again
        self._heard = clock()
        self._ping = ("", 0.0)  # the id of the question whether we are in, and when it was sent

    @property
    def nick(self) -> str:
        """The one that it has, or asks for."""
        return self.seen.nick

    @property
    def name(self) -> str:
        """What its nick is to be, before it is made unique."""
        return nicks.of_caller(self.seen.jid, self.participant)

    @property
    def is_due(self) -> bool:
        """True if it is out, and it is time to enter."""
        return self.state is State.OUT and self._clock() >= self._due

    @property
    def is_overdue(self) -> bool:
        """True if the room does not answer."""
        if self.state in (State.ENTERING, State.LEAVING):
            return self._clock() - self._since >= ANSWER
        return self.state is State.IN and bool(self._ping[0]) and self._clock() - self._ping[1] >= ANSWER

    @property
    def has_renamed_phone(self) -> bool:
        """True if the phone has another name than when its nick was made."""
        return self.name != self._name

    def enter(self, nick: str) -> None:
        """Ask to be let in."""
        self.state, self.voice, self.live, self.returning = State.ENTERING, False, False, False
        self._since = self._heard = self._clock()
        self._ping = ("", 0.0)
        self._name, self._shown_muted = self.name, self.participant.muted
        self.seen.ask(nick)
        self._wanted = nick
        self._send(puppet_stanzas.entry(self.address, self.seen.me, self._password, muted=self._shown_muted))

    def entered(self) -> None:
        """The room has let it in."""
        self.state, self.problem, self.refused, self.told = State.IN, "", False, ""
        self.taken.clear()
        self._pace.online()

    def leave(self) -> None:
        """Ask to be let out; the room's answer ends it."""
        self.state, self._since = State.LEAVING, self._clock()
        self._send(puppet_stanzas.departure(self.address, self.seen.me))

    def retire(self, problem: str = "") -> None:
        """Be out for now: `is_due` says when it may try again."""
        self.state, self.voice, self.problem = State.OUT, False, problem
        self.taken.clear()
        self.seen.forget()
        self._due = self._clock() + self._pace.next_delay()

    def expel(self) -> None:
        """Be out, and stay there."""
        self.state, self.voice = State.EXPELLED, False

    def rename(self, nick: str) -> None:
        """Ask for another nick. If the room refuses, it keeps the one that it has: see `settled`."""
        self._name, self._wanted = self.name, nick
        self._shown_muted = self.participant.muted
        self._send(puppet_stanzas.presence(self.address, self._at(nick), muted=self._shown_muted))

    def settled(self) -> None:
        """The room has said which nick it has."""
        self._wanted = self.nick

    def show(self) -> None:
        """Show whether the phone is muted, if that is not shown yet."""
        if self._shown_muted != self.participant.muted:
            self._shown_muted = self.participant.muted
            # To the nick that is asked for: to the other one, it would ask for that again.
            self._send(puppet_stanzas.presence(self.address, self._at(self._wanted), muted=self._shown_muted))

    def say(self, id_: str, body: str) -> None:
        """Say something to all."""
        self._send(puppet_stanzas.groupchat(self.address, self.seen.jid, id_, body))

    # Whether it is in

    def heard(self) -> None:
        """The room has said something to it."""
        self._heard = self._clock()

    def ask_if_silent(self, id_: str) -> None:
        """Ask whether it is in if nothing was heard for long.

        Args:
            id_: for the question.
        """
        if self.state is State.IN and not self._ping[0] and self._clock() - self._heard >= SILENCE:
            self._ping = (id_, self._clock())
            self._send(puppet_stanzas.ping(self.address, self.seen.me, id_))

    def is_answer(self, id_: str) -> bool:
        """Tell whether something answers that question; then it is answered."""
        if not id_ or id_ != self._ping[0]:
            return False
        self._ping = ("", 0.0)
        return True

    def _at(self, nick: str) -> Jid:
        return Jid(self.seen.jid.local, self.seen.jid.domain, nick)
