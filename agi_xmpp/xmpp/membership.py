"""Our membership of one room (XEP-0045): entering, staying, coming back, leaving, and speaking.

`room` judges what the room says; this module sends, waits, and keeps one task while there is a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aioxmpp.errors import ErroneousStanza, XMPPError

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import AgiXmppError, BadText, Bounced, NotConfirmed, NotConnected, NotInRoom
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp import room_stanzas, stanzas
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.link import Delivery, Outcome
from agi_xmpp.xmpp.model import Jid, RoomInfo
from agi_xmpp.xmpp.room import (
    FINAL,
    Entered,
    Event,
    OccupantLeft,
    Refused,
    Removed,
    Room,
    RoomPresence,
    message_refusal,
    nicks,
    still_in,
)

log = logging.getLogger("agi_xmpp.xmpp")


class RoomLink(Protocol):
    """The part of `agi_xmpp.xmpp.link.Link` that rooms need."""

    @property
    def jid(self) -> Jid:
        """Our full address."""

    async def until_online(self, deadline: float) -> None:
        """See `Link.until_online`."""

    def send(self, stanza: Any) -> Delivery:
        """See `Link.send`."""

    def post(self, stanza: Any) -> None:
        """See `Link.post`."""

    def request(self, iq: Any) -> asyncio.Future[Any]:
        """See `Link.request`."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient we are, in seconds.

    Attributes:
        answer: for a room's answer when no caller waits for it. A room on another server may have to wait for that.
        silence: of a room after which we ask it whether we are in (XEP-0410). Quiet rooms are many, and each costs a
            stanza.
        retry: between two attempts to come back, at the most.
    """

    answer: float = 30.0
    silence: float = 300.0
    retry: float = 300.0


TIMING = Timing()


class State(enum.Enum):
    """Where a membership is."""

    JOINING = "joining"
    JOINED = "joined"
    WAITING = "waiting"  # we want in, and try again later or with the next session
    LEAVING = "leaving"


class _Fate(enum.Enum):
    """What became of a message that the room did not refuse."""

    REFLECTED = "reflected"
    DISCARDED = "discarded"  # it reached nobody
    SESSION_LOST = "session lost"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class _Rejection:
    condition: str
    reason: str


class Membership:
    """One room that the account is in or wants to be in.

    Args:
        account: its name, for the log.
        link: its connection.
        settings: of the account: the presence that we show.
        room: the room's bare address.
        nick: the one wanted, if no caller wants another.
        secret: returns the room's password, or "", if no caller gives one; called in a thread.
        timing: how patient we are.
        on_end: is told, with the reason, when the membership is over.
        occupant_left: is told when somebody else has given up a nick.

    Attributes:
        room: what we know of it.
        wanted: come back when we are lost. True once we were in, or if the configuration says so.
        state: see `State`.
        gone: gets the reason when the membership is over.
    """

    def __init__(
        self,
        account: str,
        link: RoomLink,
        settings: AccountSettings,
        room: Jid,
        nick: str,
        secret: Callable[[], str],
        timing: Timing,
        *,
        on_end: Callable[[Membership, str], None],
        occupant_left: Callable[[Jid], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.room = Room(room)
        self._nick = nick
        self._secret = secret
        self.wanted = False
        self.state = State.WAITING
        self.gone: asyncio.Future[str] = loop.create_future()
        self._account = account
        self._link = link
        self._settings = settings
        self._timing = timing
        self._on_end = on_end
        self._occupant_left = occupant_left
        self._error = ""
        self._heard_at = 0.0
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._attempt: asyncio.Future[Entered | AgiXmppError] = loop.create_future()
        self._callers = 0
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._spoken: dict[str, asyncio.Future[_Fate | _Rejection]] = {}

    def info(self) -> RoomInfo:
        """Return what `agi-xmpp status` shows."""
        joined = self.state is State.JOINED
        return RoomInfo(
            room=str(self.room.jid),
            nick=self.room.nick if joined else self._nick,
            state=self.state.value,
            occupants=1 + len(self.room.others) if joined else 0,
            error=self._error,
        )

    # The session's life

    def change_to(self, settings: AccountSettings) -> Any:
        """Take other settings; return the presence that shows them in the room, None if there is nothing to show."""
        before, self._settings = self._settings, settings
        if self.state is not State.JOINED or settings.show == before.show:
            return None
        return room_stanzas.shown(self.room.me, show=settings.show)

    def begin(self) -> None:
        """Enter the room: there is a session now, and we are in no room on it."""
        self._start(self._stay_in(Pace(self._timing.retry, time.monotonic)))

    def session_ended(self) -> None:
        """Note that we are out, and come back with the next session."""
        if self.state is State.LEAVING:
            self.end(f"we have left {self.room.jid}")
            return
        self._cancel()
        self.room.forget()
        self.state = State.WAITING
        self._tell_speakers(_Fate.SESSION_LOST)

    def end(self, reason: str, *, by_room: bool = False) -> None:
        """End the membership without a word to the room, and tell everybody who waits for something of it.

        Args:
            reason: one sentence.
            by_room: see `Removed`.
        """
        self._cancel()
        self.room.forget()
        self.state = State.WAITING
        self._on_end(self, reason)
        self.gone.set_result(reason)
        self._tell_speakers(_Fate.DISCARDED if by_room else _Fate.REMOVED)
        self._settle(NotInRoom(reason))

    # What the room tells

    def take(self, presence: RoomPresence) -> None:
        """Take a presence from the room."""
        self._heard_at = _now()
        event = self.room.take(presence)
        if isinstance(event, OccupantLeft):
            self._occupant_left(event.occupant)
        elif event is not None and self.state is not State.WAITING:  # while we wait nobody takes them out again
            self._events.put_nowait(event)

    def heard(self, sender: Jid, ids: set[str]) -> None:
        """Take what somebody said in the room: it may be the reflection of our own."""
        self._heard_at = _now()
        if sender == self.room.me:
            for message_id in ids & self._spoken.keys():
                _set(self._spoken[message_id], _Fate.REFLECTED)

    def rejected(self, sender: Jid | None, message_id: str, condition: str, reason: str) -> bool:
        """Take a message that came back. Returns True if it is one of ours to this room."""
        own, room = self._link.jid, self.room.jid
        # Of the room, or of a server on the way (RFC 6120 section 8.1.2.1); an occupant could forge it.
        entitled = (None, room, Jid("", room.domain), own.bare, Jid("", own.domain))
        if message_id not in self._spoken or sender not in entitled:
            return False
        _set(self._spoken[message_id], _Rejection(condition, reason))
        return True

    # Being in

    def wish(self, nick: str, password: str) -> None:
        """Say how to enter at the next attempt; who waits for it already goes first. "" leaves it as it is."""
        if self.state is State.WAITING and not self._callers:
            self._nick = nick or self._nick
            self._secret = (lambda: password) if password else self._secret

    async def entered(self, deadline: float) -> None:
        """Return when we are in. Once nobody waits for it any more, a room that we never were in is given up.

        Args:
            deadline: moment on the loop's clock.

        Raises:
            AgiXmppError: the attempt that runs, or the next one, failed, or did not end before ``deadline``.
        """
        if self.state is State.JOINED:
            return
        began, attempt = _now(), self._attempt
        self._hurry.set()
        self._callers += 1
        try:
            await self._link.until_online(deadline)
            await asyncio.wait({attempt}, timeout=max(deadline - _now(), 0.0))
        finally:
            self._callers -= 1
            outcome = attempt.result() if attempt.done() else None
            if outcome is None and not (self.wanted or self._callers or self.gone.done()):
                self._give_up()
        if outcome is None:
            raise NotConfirmed(_no_answer(self.room.jid, _now() - began))
        if isinstance(outcome, AgiXmppError):
            raise outcome

    def _give_up(self) -> None:
        if self.state is State.JOINING:
            self._link.post(room_stanzas.departure(self.room.me))
        self.end(f"{self.room.jid} did not let us in in time")

    async def _stay_in(self, pace: Pace) -> None:
        """Enter the room and come back whenever we are lost, until we are thrown out. Cancelled when we leave."""
        while True:
            await self._pause(pace.next_delay())
            try:
                entered = await self._enter()
            except AgiXmppError as error:
                final = isinstance(error, Bounced) and error.condition in FINAL
                if final and self.wanted:
                    log.error("account %s: %s; we don't try again by ourselves", self._account, error)
                self._lost(str(error), quiet=final or not self.wanted)
                self._settle(error)  # before the end: those who wait shall get this error
                if final or not self.wanted:
                    self.end(str(error))
                    return
                continue
            pace.online()
            self.wanted = True
            self.state, self._error = State.JOINED, ""
            log.info("account %s: in %s as %s", self._account, self.room.jid, self.room.nick)
            self._settle(entered)
            removed = await self._until_removed()
            if not removed.come_back:
                log.error("account %s: %s; we don't come back by ourselves", self._account, removed.text)
                self.end(removed.text, by_room=removed.by_room)
                return
            self._lost(removed.text)
            self._tell_speakers(_Fate.DISCARDED if removed.by_room else _Fate.REMOVED)

    async def _pause(self, seconds: float) -> None:
        """Wait before an attempt; a verb that needs the room ends the pause."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        self._hurry.clear()

    def _lost(self, reason: str, *, quiet: bool = False) -> None:
        self.room.forget()
        self.state = State.WAITING
        if reason != self._error and not quiet:
            log.warning("account %s: %s; trying to come back", self._account, reason)
        self._error = reason

    async def _enter(self) -> Entered:
        """Try to enter, with other nicks if ours is taken.

        Raises:
            Bounced: the room does not let us in.
            NotConfirmed: it does not answer.
            NotConnected: we cannot ask it.
            ConfigError: its password cannot be fetched.
        """
        password = await asyncio.to_thread(self._secret)
        wanted = self._nick
        for nick in nicks(wanted):
            answer = await self._ask_in(nick, password)
            if isinstance(answer, Entered):
                if answer.created:
                    await self._unlock()
                return answer
            if answer.condition != "conflict":
                raise Bounced(answer.text, answer.condition)
        raise Bounced(f"{self.room.jid}: the nicks {wanted} to {nick} are all in use (conflict)", "conflict")

    async def _ask_in(self, nick: str, password: str) -> Entered | Refused:
        occupant = occupant_address(self.room.jid, nick)
        deadline = _now() + self._timing.answer
        await self._link.until_online(deadline)
        self.room.ask(occupant.resource)
        self.state = State.JOINING
        self._events = asyncio.Queue()  # what came before is about an earlier attempt
        self._link.send(room_stanzas.entry(occupant, password, show=self._settings.show))
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    event = await self._events.get()
                    if isinstance(event, Entered | Refused):
                        return event
        except TimeoutError:
            raise NotConfirmed(_no_answer(self.room.jid, self._timing.answer)) from None

    async def _unlock(self) -> None:
        """Accept a new room's settings: until then nobody else can enter it."""
        log.info("account %s: %s did not exist and was made", self._account, self.room.jid)
        try:
            async with asyncio.timeout(self._timing.answer):
                await self._link.request(room_stanzas.default_settings(self.room.jid))
        except (XMPPError, ErroneousStanza, NotConnected, ConnectionError, TimeoutError) as error:
            reason = str(error) or "no answer"
            log.warning("account %s: %s stays locked for others: %s", self._account, self.room.jid, reason)

    async def _until_removed(self) -> Removed:
        """Return when we are not in the room any more, noticed by its word or by a ping (XEP-0410)."""
        self._heard_at = _now()
        while True:
            quiet_until = self._heard_at + self._timing.silence
            try:
                async with asyncio.timeout_at(quiet_until):
                    event = await self._events.get()
            except TimeoutError:
                if self._heard_at + self._timing.silence <= quiet_until and await self._is_out():
                    return self._without_a_word()
            else:
                if isinstance(event, Removed):
                    return event

    async def _is_out(self) -> bool:
        """Ask the room whether we are in; no answer, or one of somebody else, says nothing."""
        verdict: bool | None = None
        try:
            async with asyncio.timeout(self._timing.answer):
                await self._link.request(stanzas.ping(self.room.me))
        except XMPPError as error:
            verdict = still_in(str(error.condition.value[1]))
        except (NotConnected, ConnectionError, TimeoutError, ErroneousStanza):
            pass
        else:
            verdict = True
        self._heard_at = _now()
        return verdict is False

    def _without_a_word(self) -> Removed:
        return Removed(f"{self.room.jid} has lost us without a word", come_back=True)

    # Leaving

    def leave(self) -> None:
        """Begin to leave; `gone` is done when the room has confirmed it. Those who wait to be let in get an error."""
        if self.state is State.LEAVING:
            return
        if self.state is State.WAITING:
            self.end(f"we have left {self.room.jid}")
            return
        self._settle(NotInRoom(f"{self.room.jid} is being left by another call"))
        self.state = State.LEAVING
        self._start(self._depart())

    async def _depart(self) -> None:
        """Leave, and wait for the confirmation as long as it can come."""
        resumable = max(self._settings.resume_timeout, self._timing.answer)
        confirmed = False
        with contextlib.suppress(NotConnected, TimeoutError):
            await self._link.until_online(_now() + resumable)
            self._link.send(room_stanzas.departure(self.room.me))
            async with asyncio.timeout(self._timing.answer):
                while not isinstance(await self._events.get(), Removed | Refused):
                    pass
            confirmed = True
        log.info("account %s: left %s", self._account, self.room.jid)
        self.end(f"we have left {self.room.jid}", by_room=confirmed)

    # Speaking

    async def say(self, body: str, message_id: str, deadline: float) -> bool:
        """Send a message and wait until the room has told it to all, us included.

        Args:
            body: the text, checked already.
            message_id: of the stanza.
            deadline: moment on the loop's clock.

        Returns:
            False if the message certainly reached nobody and may be sent again.

        Raises:
            see `Session.send_to_room`.
        """
        await self._link.until_online(deadline)
        reflection: asyncio.Future[_Fate | _Rejection] = asyncio.get_running_loop().create_future()
        self._spoken[message_id] = reflection
        try:
            delivery = self._link.send(room_stanzas.groupchat(message_id, self.room.jid, body))
            try:
                fate = await self._fate(reflection, delivery, deadline)
            except asyncio.CancelledError:
                delivery.withdraw()
                raise
        finally:
            self._spoken.pop(message_id, None)
        if fate is _Fate.REFLECTED:
            return True
        if isinstance(fate, _Rejection):
            raise Bounced(message_refusal(self.room.jid, fate.condition, fate.reason), fate.condition)
        if delivery.outcome.done() and delivery.outcome.result() is Outcome.REFUSED:
            raise BadText("the message cannot be written as XML")
        if fate is _Fate.DISCARDED or delivery.withdraw():
            return False
        raise NotConfirmed(_unreflected(self.room.jid, fate))

    @staticmethod
    async def _fate(
        reflection: asyncio.Future[_Fate | _Rejection], delivery: Delivery, deadline: float
    ) -> _Fate | _Rejection | None:
        """Wait for a reflection. Returns None if there was none in time, or none will come."""
        either: set[asyncio.Future[Any]] = {reflection, delivery.outcome}
        await asyncio.wait(either, timeout=max(deadline - _now(), 0.0), return_when=asyncio.FIRST_COMPLETED)
        on_its_way = delivery.outcome.done() and delivery.outcome.result() in (
            Outcome.ACKNOWLEDGED,
            Outcome.UNCONFIRMED,
        )
        if on_its_way and not reflection.done():
            await asyncio.wait({reflection}, timeout=max(deadline - _now(), 0.0))
        return reflection.result() if reflection.done() else None

    def forgotten(self) -> None:
        """Come back: the room said to a message of ours that we are not in."""
        if self.state is State.JOINED:
            self.state = State.WAITING
            self._hurry.set()
            self._events.put_nowait(self._without_a_word())

    # Details

    def _start(self, work: Any) -> None:
        self._cancel()
        self._task = asyncio.create_task(work, name=f"room {self.room.jid}")
        self._task.add_done_callback(self._ended)

    def _cancel(self) -> None:
        """End the task that runs, unless it is the one that asks for it."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait for a membership whose task has failed."""
        if not task.cancelled() and (error := task.exception()):
            log.error("account %s: %s: unexpected error", self._account, self.room.jid, exc_info=error)
            if not self.gone.done():
                self.end(f"{self.room.jid}: unexpected error; the log has it")

    def _settle(self, outcome: Entered | AgiXmppError) -> None:
        """Tell those who wait how the attempt ended; the next one gets a future of its own."""
        ended, self._attempt = self._attempt, asyncio.get_running_loop().create_future()
        ended.set_result(outcome)

    def _tell_speakers(self, fate: _Fate) -> None:
        for reflection in self._spoken.values():
            _set(reflection, fate)


def occupant_address(room: Jid, nick: str) -> Jid:
    """Return the address of a nick in a room, prepared (resourceprep).

    Raises:
        BadJid: the nick is too long, or holds a character that none may hold.
    """
    return parse(f"{room}/{nick}")


def _set(future: asyncio.Future[_Fate | _Rejection], fate: _Fate | _Rejection) -> None:
    if not future.done():
        future.set_result(fate)


def _no_answer(room: Jid, seconds: float) -> str:
    return f"{room} did not let us in within {seconds:.3g} s; is it a room?"


def _unreflected(room: Jid, fate: _Fate | None) -> str:
    if fate is _Fate.SESSION_LOST:
        return f"the connection broke before {room} had told the message to all; it may have arrived"
    if fate is _Fate.REMOVED:
        return f"we were out of {room} before it had told the message to all; it may have arrived"
    return f"{room} did not tell the message to all in time; it may have arrived"


def _now() -> float:
    return asyncio.get_running_loop().time()
