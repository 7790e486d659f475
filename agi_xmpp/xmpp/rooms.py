"""The rooms (XEP-0045) that one account is in: entering, staying, coming back, leaving, and speaking.

A membership belongs to the account, not to the call that asked for it: several calls share it, and it outlives them.
`room` judges what a room says; this module sends, waits, and keeps one task for each room while there is a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import aioxmpp
from aioxmpp.errors import XMPPError

from agi_xmpp.config import AccountSettings, RoomSettings
from agi_xmpp.errors import AgiXmppError, BadText, Bounced, NotConfirmed, NotConnected, NotInRoom, UsageError
from agi_xmpp.xmpp import room_stanzas, stanzas
from agi_xmpp.xmpp.jid import inward, parse
from agi_xmpp.xmpp.link import Delivery, Outcome
from agi_xmpp.xmpp.model import Jid, RoomEntry, RoomInfo
from agi_xmpp.xmpp.pace import Pace
from agi_xmpp.xmpp.room import (
    FINAL,
    Entered,
    Event,
    OccupantLeft,
    Refused,
    Removed,
    Room,
    RoomPresence,
    check_room,
    message_refusal,
    nicks,
    still_in,
)
from agi_xmpp.xmpp.text import clean_status

log = logging.getLogger("agi_xmpp.xmpp")

#: Rooms that threw us out and whose reason is remembered, for the verb that speaks there next.
REMEMBERED_REASONS = 100


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


class State(enum.Enum):
    """Where a membership is."""

    JOINING = "joining"
    JOINED = "joined"
    WAITING = "waiting"  # we want in, and try again later or with the next session
    LEAVING = "leaving"


class Fate(enum.Enum):
    """What became of a message to a room, if it was not refused."""

    REFLECTED = "reflected"
    SESSION_LOST = "session lost"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class _Rejection:
    condition: str
    reason: str


class _Member:
    """Our membership of one room.

    Attributes:
        room: what we know of it.
        wanted: True once we were in, or if the configuration says so: then we come back.
        waiting: verbs that wait for us to be in.
        attempt: becomes the outcome of the attempt that runs now or comes next.
        gone: becomes done when the membership is over.
        spoken: messages of ours that the room has not reflected yet, by id.
    """

    def __init__(self, jid: Jid, nick: str, secret: Callable[[], str], pace: Pace) -> None:
        loop = asyncio.get_running_loop()
        self.room = Room(jid)
        self.nick = nick
        self.secret = secret
        self.pace = pace
        self.wanted = False
        self.waiting = 0
        self.state = State.WAITING
        self.error = ""
        self.heard_at = 0.0
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.attempt: asyncio.Future[Entered | AgiXmppError] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.spoken: dict[str, asyncio.Future[Fate | _Rejection]] = {}

    def settle(self, outcome: Entered | AgiXmppError) -> None:
        """Tell those who wait how the attempt ended; the next one gets a future of its own."""
        ended, self.attempt = self.attempt, asyncio.get_running_loop().create_future()
        ended.set_result(outcome)

    def tell_speakers(self, fate: Fate) -> None:
        """Tell those whose messages were not reflected that they will not be."""
        for future in self.spoken.values():
            if not future.done():
                future.set_result(fate)

    def cancel(self) -> None:
        """End the task that keeps us in, unless it is the one that asks for it."""
        task, self.task = self.task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()


class Rooms:
    """The rooms of one account.

    Args:
        account: its name, for the log.
        link: its connection.
        settings: of the account.
        occupant_left: is told when somebody has given up a nick in one of the rooms.
        timing: how patient we are.
    """

    def __init__(
        self,
        account: str,
        link: RoomLink,
        settings: AccountSettings,
        occupant_left: Callable[[Jid], None] = lambda _occupant: None,
        timing: Timing = Timing(),
    ) -> None:
        self._account = account
        self._link = link
        self._settings = settings
        self._configured = {_room_address(text): room for text, room in settings.room.items()}
        self._default_nick = parse(settings.jid).local
        self._occupant_left = occupant_left
        self._timing = timing
        self._members: dict[Jid, _Member] = {}
        self._reasons: OrderedDict[Jid, str] = OrderedDict()
        self._left: set[Jid] = set()  # configured rooms that a verb has left: no login brings us back there
        self._has_session = False
        for room, given in self._configured.items():
            if given.nick:
                _occupant(room, given.nick)  # raises what is wrong with it now rather than at login

    # For verbs

    async def join(self, room: str, nick: str, password: str, timeout: float) -> RoomEntry:
        """See `Session.join_room`."""
        address = _room_address(room)
        wished = _occupant(address, nick).resource if nick else ""
        if clean_status(password) != password:
            raise BadText("the room's password holds a character that XMPP cannot carry")
        deadline = _now() + timeout
        await self._link.until_online(deadline)
        member = await self._after_departure(address, deadline) or self._add(address)
        self._left.discard(address)
        if member.state is not State.JOINED:
            member.nick = wished or member.nick
            member.secret = (lambda: password) if password else member.secret
        await self._entered(member, deadline)
        note = f"already in {address} as {member.room.nick}" if wished not in ("", member.room.nick) else ""
        return RoomEntry(member.room.nick, 1 + len(member.room.others), note)

    async def leave(self, room: str, timeout: float) -> bool:
        """See `Session.leave_room`."""
        address = _room_address(room)
        member = self._members.get(address)
        if address in self._configured:
            self._left.add(address)
        if member is None:
            return False
        if member.state is State.WAITING:
            self._remove(member, f"we have left {address}")
            return True
        if member.state is not State.LEAVING:
            member.cancel()
            member.state = State.LEAVING
            member.settle(NotInRoom(f"{address} is being left by another call"))
            member.task = asyncio.create_task(self._depart(member))
        await asyncio.wait({member.gone}, timeout=timeout)
        if not member.gone.done():
            raise NotConfirmed(f"{address} did not confirm within {timeout:g} s that we have left")
        return True

    async def send(self, room: str, body: str, message_id: str, deadline: float) -> None:
        """Say something in a room that we are in, and return when the room has told it to all, us included.

        Args:
            room: bare JID.
            body: the text, checked already.
            message_id: of the stanza.
            deadline: moment on the loop's clock.

        Raises:
            see `Session.send_to_room`.
        """
        address = _room_address(room)
        forgotten = False
        while True:
            member = await self._after_departure(address, deadline)
            if member is None:
                raise NotInRoom(self._reasons.get(address) or f"not in {address}; jabber_join enters it")
            await self._entered(member, deadline)
            try:
                if await self._say(member, body, message_id, deadline):
                    return
            except Bounced as error:
                # Once: a room that lets us in and then does not know us would keep us busy for ever.
                if error.condition != "not-acceptable" or forgotten:
                    raise
                forgotten = True
                self._forgotten(member)
            if _now() >= deadline:
                raise NotConnected(f"account {self._account} could not send the message in time")

    # For the session

    def session_began(self) -> None:
        """Enter the configured rooms, and those that we were in, anew."""
        self._has_session = True
        for address, settings in self._configured.items():
            if settings.join and address not in self._left:
                with contextlib.suppress(UsageError):  # more than room_limit: logged
                    (self._members.get(address) or self._add(address)).wanted = True
        for member in self._members.values():
            self._keep(member)

    def session_ended(self) -> None:
        """Note that we are in no room any more."""
        self._has_session = False
        for member in list(self._members.values()):
            member.cancel()
            member.room.forget()
            member.tell_speakers(Fate.SESSION_LOST)
            if member.state is State.LEAVING:
                self._remove(member, f"we have left {member.room.jid}")
            else:
                member.state = State.WAITING

    def stop(self) -> None:
        """Tell all who wait that there is no more."""
        for member in list(self._members.values()):
            self._remove(member, f"account {self._account} is being stopped")

    def presence_came(self, presence: Any) -> bool:
        """Take a presence stanza if it is from a room. Returns False if it is not."""
        if presence.from_ is None:
            return False
        sender = inward(presence.from_)
        member = self._members.get(sender.bare)
        if member is None:
            if not room_stanzas.is_about_us(presence):
                return False
            if presence.type_ is aioxmpp.PresenceType.AVAILABLE:
                # The confirmation comes after the caller gave up: nobody wants us to be there.
                self._link.post(room_stanzas.departure(sender))
            return True
        if presence.type_ in _PRESENCES:
            self._take(member, room_stanzas.room_presence(presence))
        return True

    def message_came(self, message: Any) -> bool:
        """Take a message stanza if it is a room's talk, or the refusal of ours. Returns False if it is neither."""
        sender = None if message.from_ is None else inward(message.from_)
        if message.type_ is aioxmpp.MessageType.ERROR:
            return self._refusal_came(sender, message)
        if message.type_ is not aioxmpp.MessageType.GROUPCHAT:
            return False
        member = self._members.get(sender.bare) if sender else None
        if member is not None:
            member.heard_at = _now()
            if sender == member.room.me:
                for id_ in room_stanzas.ids(message) & member.spoken.keys():
                    _settle(member.spoken[id_], Fate.REFLECTED)
        return True

    def holds(self, address: Jid) -> bool:
        """Return True if an address is one of our rooms, or an occupant of one."""
        return address.bare in self._members

    def info(self) -> tuple[RoomInfo, ...]:
        """Return what `agi-xmpp status` shows."""
        return tuple(
            RoomInfo(
                room=str(member.room.jid),
                nick=member.room.nick if member.state is State.JOINED else member.nick,
                state=member.state.value,
                occupants=1 + len(member.room.others) if member.room.joined else 0,
                error=member.error,
            )
            for member in self._members.values()
        )

    # Being in

    def _add(self, address: Jid) -> _Member:
        """Begin a membership.

        Raises:
            UsageError: there are too many.
        """
        limit = self._settings.room_limit
        if len(self._members) >= limit:
            message = f"account {self._account} is in {limit} rooms already (room_limit)"
            log.warning("account %s: %s is not entered: %s", self._account, address, message)
            raise UsageError(message)
        given = self._configured.get(address, RoomSettings())
        nick = _occupant(address, given.nick or self._default_nick).resource
        secret = given.secret if given.sources else lambda: ""
        member = _Member(address, nick, secret, self._new_pace())
        self._members[address] = member
        if self._has_session:
            self._keep(member)
        return member

    def _remove(self, member: _Member, reason: str) -> None:
        """End a membership, and tell everybody who waits for something of it."""
        member.cancel()
        member.room.forget()
        del self._members[member.room.jid]
        self._reasons[member.room.jid] = reason
        self._reasons.move_to_end(member.room.jid)
        if len(self._reasons) > REMEMBERED_REASONS:
            self._reasons.popitem(last=False)
        member.tell_speakers(Fate.REMOVED)
        member.settle(NotInRoom(reason))
        member.gone.set_result(None)

    def _keep(self, member: _Member) -> None:
        member.cancel()
        member.pace = self._new_pace()
        member.task = asyncio.create_task(self._stay_in(member), name=f"room {member.room.jid}")
        member.task.add_done_callback(lambda task: self._kept(member, task))

    def _kept(self, member: _Member, task: asyncio.Task[None]) -> None:
        """Let nobody wait for a membership whose task failed."""
        if not task.cancelled() and (error := task.exception()):
            log.error("account %s: %s: unexpected error", self._account, member.room.jid, exc_info=error)
            if not member.gone.done():
                self._remove(member, f"{member.room.jid}: unexpected error; the log has it")

    def _new_pace(self) -> Pace:
        return Pace(self._timing.retry, time.monotonic)

    async def _stay_in(self, member: _Member) -> None:
        """Enter a room and come back whenever we were lost, until we are thrown out. Cancelled when we leave."""
        while True:
            await self._pause(member)
            try:
                entered = await self._enter(member)
            except AgiXmppError as error:
                final = isinstance(error, Bounced) and error.condition in FINAL
                if final or not member.wanted:
                    if member.wanted:
                        log.error("account %s: out of %s for good: %s", self._account, member.room.jid, error)
                    # Before it is removed: those who wait shall learn the cause.
                    member.settle(error)
                    self._remove(member, str(error))
                    return
                self._lost(member, str(error))
                member.settle(error)
                continue
            member.pace.online()
            member.wanted = True
            member.state, member.error = State.JOINED, ""
            log.info("account %s: in %s as %s", self._account, member.room.jid, member.room.nick)
            member.settle(entered)
            removed = await self._until_removed(member)
            if not removed.come_back:
                log.error("account %s: %s; we don't come back by ourselves", self._account, removed.text)
                self._remove(member, removed.text)
                return
            self._lost(member, removed.text)
            member.tell_speakers(Fate.REMOVED)

    def _forgotten(self, member: _Member) -> None:
        """Note that a room does not know us any more, and has told nobody."""
        if member.state is State.JOINED:
            member.state = State.WAITING
            member.events.put_nowait(Removed(f"{member.room.jid} has lost us without a word", come_back=True))

    def _lost(self, member: _Member, reason: str) -> None:
        member.room.forget()
        member.state = State.WAITING
        if reason != member.error:
            log.warning("account %s: %s; trying to come back", self._account, reason)
        member.error = reason

    async def _pause(self, member: _Member) -> None:
        """Wait before an attempt; a verb that needs the room ends the pause."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(member.pace.next_delay()):
                await member.wake.wait()
        member.wake.clear()

    async def _enter(self, member: _Member) -> Entered:
        """Try to enter, with other nicks if ours is taken.

        Raises:
            Bounced: the room does not let us in.
            NotConfirmed: it does not answer.
            NotConnected: we cannot ask it.
            ConfigError: its password cannot be fetched.
        """
        password = await asyncio.to_thread(member.secret)
        for nick in nicks(member.nick):
            answer = await self._ask_in(member, nick, password)
            if isinstance(answer, Entered):
                if answer.created:
                    await self._unlock(member)
                return answer
            if answer.condition != "conflict":
                raise Bounced(answer.text, answer.condition)
        raise Bounced(f"{member.room.jid}: the nicks {member.nick} to {nick} are all in use (conflict)", "conflict")

    async def _ask_in(self, member: _Member, nick: str, password: str) -> Entered | Refused:
        settings, room = self._settings, member.room
        occupant = _occupant(room.jid, nick)
        deadline = _now() + self._timing.answer
        await self._link.until_online(deadline)
        room.ask(occupant.resource)
        member.state = State.JOINING
        member.events = asyncio.Queue()
        self._link.send(
            room_stanzas.entry(
                occupant,
                password,
                show=settings.show,
                status=clean_status(settings.status),
                priority=settings.priority,
            )
        )
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    event = await member.events.get()
                    if isinstance(event, Entered | Refused):
                        return event
        except TimeoutError:
            raise NotConfirmed(_no_answer(room.jid, self._timing.answer)) from None

    async def _unlock(self, member: _Member) -> None:
        """Accept a new room's settings: until then nobody else can enter it."""
        log.info("account %s: %s did not exist and was made", self._account, member.room.jid)
        try:
            async with asyncio.timeout(self._timing.answer):
                await self._link.request(room_stanzas.default_settings(member.room.jid))
        except (XMPPError, aioxmpp.errors.ErroneousStanza, NotConnected, ConnectionError, TimeoutError) as error:
            reason = str(error) or "no answer"
            log.warning("account %s: %s stays locked for others: %s", self._account, member.room.jid, reason)

    async def _until_removed(self, member: _Member) -> Removed:
        """Return when we are not in the room any more, noticed by its word or by a ping (XEP-0410)."""
        member.heard_at = _now()
        while True:
            try:
                async with asyncio.timeout_at(member.heard_at + self._timing.silence):
                    event = await member.events.get()
            except TimeoutError:
                if _now() >= member.heard_at + self._timing.silence and await self._is_out(member):
                    return Removed(f"{member.room.jid} has lost us without a word", come_back=True)
                continue
            if isinstance(event, Removed):
                return event

    async def _is_out(self, member: _Member) -> bool:
        """Ask the room whether we are in; no answer, or one of somebody else, says nothing."""
        verdict: bool | None = None
        try:
            async with asyncio.timeout(self._timing.answer):
                await self._link.request(stanzas.ping(member.room.me))
        except XMPPError as error:
            verdict = still_in(str(error.condition.value[1]))
        except (NotConnected, ConnectionError, TimeoutError, aioxmpp.errors.ErroneousStanza):
            pass
        else:
            verdict = True
        member.heard_at = _now()
        return verdict is False

    async def _depart(self, member: _Member) -> None:
        """Leave a room, and wait for its confirmation as long as it can come."""
        limit = max(self._settings.resume_timeout, self._timing.answer)
        with contextlib.suppress(NotConnected, TimeoutError):
            await self._link.until_online(_now() + limit)
            self._link.send(room_stanzas.departure(member.room.me))
            async with asyncio.timeout(self._timing.answer):
                while not isinstance(await member.events.get(), Removed | Refused):
                    pass
        log.info("account %s: left %s", self._account, member.room.jid)
        self._remove(member, f"we have left {member.room.jid}")

    # Waiting for it

    async def _after_departure(self, address: Jid, deadline: float) -> _Member | None:
        """Return the membership of a room, if there is one; one that is being ended is waited out."""
        while (member := self._members.get(address)) and member.state is State.LEAVING:
            await asyncio.wait({member.gone}, timeout=max(deadline - _now(), 0.0))
            if not member.gone.done():
                raise NotConfirmed(f"{address} is being left by another call")
        return member

    async def _entered(self, member: _Member, deadline: float) -> None:
        """Return when we are in.

        Raises:
            AgiXmppError: the next attempt failed, or there was none before ``deadline``.
        """
        if member.state is State.JOINED:
            return
        began = _now()
        member.wake.set()
        member.waiting += 1
        attempt = member.attempt
        try:
            await self._link.until_online(deadline)
            await asyncio.wait({attempt}, timeout=max(deadline - _now(), 0.0))
        finally:
            member.waiting -= 1
            if not (attempt.done() or member.wanted or member.waiting or member.gone.done()):
                self._abandon(member)
        if not attempt.done():
            raise NotConfirmed(_no_answer(member.room.jid, _now() - began))
        outcome = attempt.result()
        if isinstance(outcome, AgiXmppError):
            raise outcome

    def _abandon(self, member: _Member) -> None:
        """Take back an entry that nobody waits for any more."""
        if member.state is State.JOINING and self._has_session:
            self._link.post(room_stanzas.departure(member.room.me))
        self._remove(member, f"{member.room.jid} did not let us in in time")

    # Speaking

    async def _say(self, member: _Member, body: str, message_id: str, deadline: float) -> bool:
        """Send once. Returns False if the message certainly reached nobody and may be sent again."""
        await self._link.until_online(deadline)
        reflection: asyncio.Future[Fate | _Rejection] = asyncio.get_running_loop().create_future()
        member.spoken[message_id] = reflection
        try:
            delivery = self._link.send(room_stanzas.groupchat(message_id, member.room.jid, body))
            try:
                fate = await self._fate(reflection, delivery, deadline)
            except asyncio.CancelledError:
                delivery.withdraw()
                raise
        finally:
            member.spoken.pop(message_id, None)
        room = member.room.jid
        if fate is Fate.REFLECTED:
            return True
        if isinstance(fate, _Rejection):
            raise Bounced(message_refusal(room, fate.condition, fate.reason), fate.condition)
        outcome = delivery.outcome.result() if delivery.outcome.done() else None
        if outcome is Outcome.REFUSED:
            raise BadText("the message cannot be written as XML")
        if outcome is Outcome.NOT_SENT or delivery.withdraw():
            return False
        if fate is Fate.REMOVED and member.gone.done():
            # A room tells everything in order: what it had taken before it removed us would have come back before.
            raise NotInRoom(self._reasons.get(room, ""))
        raise NotConfirmed(_unreflected(room, fate))

    async def _fate(
        self, reflection: asyncio.Future[Fate | _Rejection], delivery: Delivery, deadline: float
    ) -> Fate | _Rejection | None:
        """Wait for a reflection. Returns None if none came, or will come, because the message never left."""
        waited: set[asyncio.Future[Any]] = {reflection, delivery.outcome}
        await asyncio.wait(
            waited,
            timeout=max(deadline - _now(), 0.0),
            return_when=asyncio.FIRST_COMPLETED,
        )
        left = not delivery.outcome.done() or delivery.outcome.result() in (Outcome.ACKNOWLEDGED, Outcome.UNCONFIRMED)
        if left and not reflection.done():
            await asyncio.wait({reflection}, timeout=max(deadline - _now(), 0.0))
        return reflection.result() if reflection.done() else None

    # What rooms tell

    def _take(self, member: _Member, presence: RoomPresence) -> None:
        member.heard_at = _now()
        event = member.room.take(presence)
        if isinstance(event, OccupantLeft):
            self._occupant_left(event.occupant)
        elif event is not None and member.state is not State.WAITING:
            member.events.put_nowait(event)

    def _refusal_came(self, sender: Jid | None, message: Any) -> bool:
        own = self._link.jid
        for member in self._members.values():
            reflection = member.spoken.get(message.id_ or "")
            # Of the room, or of a server on the way (RFC 6120 section 8.1.2.1); an occupant could forge it.
            entitled = (None, member.room.jid, Jid("", member.room.jid.domain), own.bare, Jid("", own.domain))
            if reflection is not None and sender in entitled:
                _settle(reflection, _Rejection(*room_stanzas.error_of(message)))
                return True
        return False


_PRESENCES = frozenset({aioxmpp.PresenceType.AVAILABLE, aioxmpp.PresenceType.UNAVAILABLE, aioxmpp.PresenceType.ERROR})


def _settle(future: asyncio.Future[Fate | _Rejection], fate: Fate | _Rejection) -> None:
    if not future.done():
        future.set_result(fate)


def _room_address(text: str) -> Jid:
    """Return a room's address.

    Raises:
        BadJid: it is none.
    """
    address = parse(text)
    check_room(address)
    return address


def _occupant(room: Jid, nick: str) -> Jid:
    """Return the address of a nick in a room, prepared (resourceprep).

    Raises:
        BadJid: the nick is too long, or holds a character that none may hold.
    """
    return parse(f"{room}/{nick}")


def _no_answer(room: Jid, seconds: float) -> str:
    return f"{room} did not let us in within {seconds:.3g} s; is it a room?"


def _unreflected(room: Jid, fate: Fate | _Rejection | None) -> str:
    if fate is Fate.SESSION_LOST:
        return f"the connection broke before {room} had told the message to all; it may have arrived"
    if fate is Fate.REMOVED:
        return f"we were out of {room} before it had told the message to all; it may have arrived"
    return f"{room} did not tell the message to all in time; it may have arrived"


def _now() -> float:
    return asyncio.get_running_loop().time()
