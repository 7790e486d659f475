"""The phones: what Asterisk tells becomes what people are told, and what people ask for becomes actions.

Everything that decides is elsewhere: `agi_xmpp.ami.calls` (what is going on), `events` (who is told what), `people` and
`numbers` (who may do what), `actions`, `commands`, `notes`, `availability`, `book`. This module ties them together:
the manager connection on one side, the session's phone port on the other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agi_xmpp.ami.calls import Answered, Calls, Change, Dialled, Ended, How, Rang, Restored, Updated
from agi_xmpp.ami.devices import Devices
from agi_xmpp.ami.model import Ami, AmiState, Message
from agi_xmpp.background import Background
from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import AgiXmppError, AmiError, AmiNotConnected, Refused
from agi_xmpp.features.asking import Asking
from agi_xmpp.features.phone.actions import Actions
from agi_xmpp.features.phone.availability import Availability
from agi_xmpp.features.phone.book.lookup import Book
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.features.phone.callers import Callers
from agi_xmpp.features.phone.command_set import Convening, Switchboard
from agi_xmpp.features.phone.commands import PhoneCommands
from agi_xmpp.features.phone.events import Announcer
from agi_xmpp.features.phone.notes import ENDING_AGE, Notes
from agi_xmpp.features.phone.people import People, Person, unescape
from agi_xmpp.features.phone.records import Records, Told
from agi_xmpp.features.phone.telling import Teller
from agi_xmpp.features.phone.watches import Watches
from agi_xmpp.store import Store
from agi_xmpp.watch import Watch
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Extras, Guest, Jid, Session, SessionState, Show
from agi_xmpp.xmpp.phone_model import NAMESPACE, ActionType, Contact, ContactState, PhoneAction, PhoneEvent

log = logging.getLogger("agi_xmpp.phone")

#: Seconds between looks at Asterisk's own list of channels: an event that was lost is made up for by then.
WATCHDOG = 60.0

#: Seconds until the list is asked for again when Asterisk did not give it.
RESYNC_RETRY = 5.0


class Phones:
    """The phone service of one installation. Implements `PhoneHost` for the session and `AmiListener` for Asterisk.

    Args:
        settings: ``[phone]``.
        ami: the manager connection; it tells `ami_connected` and the others of what happens.
        session: of the account that serves the phones.
        store: keeps what must outlive a restart.
        watch: is told what happens.

    Raises:
        ConfigError: the user map or the phone book is wrong.
    """

    def __init__(self, settings: PhoneSettings, ami: Ami, session: Session, store: Store, watch: Watch) -> None:
        self.people = People(settings)
        self._by_owner = {str(person.jid): person for person in self.people}
        self._settings = settings
        self._ami = ami
        self._session = session
        self._watch = watch
        self._calls = Calls(self._owner_of, time.monotonic)
        self._devices = Devices(lambda device: bool(self._owner_of(device)))
        self._book = Book(settings.book)
        self._actions = Actions(self.people, settings, ami, self._calls, self._apply)
        self._notes = Notes(session, self.people, self._book.lookup, store.table("notes"))
        self._records = Records(settings.records, self.people)
        self._callers = Callers(ami, None if self._book.is_empty else self._book.lookup)
        self._teller = Teller(
            Announcer(store.table("announced")), self._callers, self._send, self._can_send, self._tell_others
        )
        self._availability = Availability(
            self.people,
            settings,
            ami,
            self._calls.is_busy,
            store.table("dnd"),
            store.table("told"),
            self._availability_changed,
        )
        self._watches = Watches(session, self._is_free, time.monotonic)
        self._board = Switchboard(
            self.people,
            self._actions,
            lambda owner: [self._callers.seen(call) for call in self._calls.of(owner)],
            self._devices.state,
            self._notes,
            self._availability,
            self._watches,
            time.monotonic,
            convener=lambda: self.convener,
            tell=self._tell,
        )
        #: Opens conferences, where there are any.
        self.convener: Convening | None = None
        #: Whose activity says that they are on the phone; the XMPP server keeps it, whatever becomes of us.
        self._active = store.table("active")
        self._in_sight = False
        #: The calls are known, or given up: what was announced of others can be ended.
        self._is_settled = False
        #: Asterisk has not been told anything on the present connection.
        self._is_new = False
        self._problem = ""
        self._background = Background(log, "phones")
        self._resync: asyncio.Task[None] | None = None
        self._lost: asyncio.TimerHandle | None = None
        self._tick: asyncio.TimerHandle | None = None
        # At the end: whoever is served asks at once.
        self._port = session.serve_phones(self, store.table("subscribers"))
        session.guest(self._make_commands)
        session.guest(self._make_settler)

    @property
    def session(self) -> Session:
        """The session of the account that serves the phones."""
        return self._session

    @staticmethod
    def check(settings: PhoneSettings) -> None:
        """Find what is wrong with the settings before anything is changed.

        Raises:
            ConfigError: the user map or the phone book is wrong.
        """
        People(settings)
        Book(settings.book)

    async def start(self) -> None:
        """Read the phone book; take up the manager connection if it is there already, or wait for it a moment."""
        await self._book.start()
        log.info("phones: %d users with %d devices", len(self.people), sum(len(one.devices) for one in self.people))
        if self._ami.info().state is AmiState.ONLINE:
            self.ami_connected()
        else:
            self.ami_disconnected()

    async def stop(self) -> None:
        """Free everything. What people were told stands: a successor goes on from there."""
        self._session.dismiss(self._make_commands)
        self._session.dismiss(self._make_settler)
        for timer in (self._lost, self._tick):
            if timer is not None:
                timer.cancel()
        await self._background.stop()
        await self._teller.stop()
        await self._notes.stop()
        self._send_records(self._records.finish())
        await self._availability.stop()
        await self._book.stop()

    async def lookup(self, number: str) -> Entry | None:
        """Return what the phone book knows of a number, in bounded time. Raises nothing."""
        return await self._book.lookup(number)

    def status(self) -> dict[str, Any]:
        """Return what `agi-xmpp status` shows."""
        now, wall = time.monotonic(), time.time()
        return {
            "account": self._session.account,
            "users": len(self.people),
            "in_sight": self._in_sight,
            "calls": [
                {
                    "user": call.owner,
                    "id": call.id,
                    "phase": call.phase.value,
                    "incoming": call.incoming,
                    "number": call.party.number,
                    "name": call.party.name,
                    "device": call.device,
                    "held": call.held,
                    "since": wall - (now - (call.began if call.answered is None else call.answered)),
                }
                for call in map(self._callers.seen, self._calls.all())
            ],
            "problems": [*filter(None, [self._problem]), *self._book.problems],
        }

    # AmiListener

    def ami_connected(self) -> None:
        """Ask Asterisk what is going on; until it has said so, events wait."""
        if self._lost is not None:
            self._lost.cancel()
            self._lost = None
        self._is_new = True
        self._calls.begin_resync()
        self._begin_resync()

    def ami_event(self, event: Message) -> None:
        """Take an event."""
        self._actions.ami_event(event)
        for device in self._devices.feed(event):
            self._device_changed(device)
        self._apply(self._calls.feed(event))
        self._send_records(self._records.ami_event(event, time.monotonic()))

    def ami_disconnected(self) -> None:
        """Wait a moment for Asterisk to come back; then its calls count as ended."""
        if self._resync is not None:
            self._resync.cancel()
        if self._lost is None:
            self._lost = asyncio.get_running_loop().call_later(self._settings.lost_after, self._lose_sight)

    # PhoneHost

    def has_phone(self, node: str) -> bool:
        """See `PhoneHost.has_phone`."""
        return self.people.by_node(node) is not None

    def may_ask(self, who: Jid) -> bool:
        """See `PhoneHost.may_ask`."""
        return self.people.by_jid(who) is not None

    def features(self) -> Sequence[str]:
        """See `PhoneHost.features`. docs/phone.md has the list."""
        settings = self._settings
        offered = {
            "ring": True,
            "dial": True,
            "forward": True,
            "hangup": True,
            "do-not-disturb": True,
            "contacts": settings.contacts,
            "presence": settings.presence_state,
            "queues": settings.pause_queues,
            "phone-book": not self._book.is_empty,
            "records": settings.records.send != "none",
        }
        return [f"{NAMESPACE}#{name}" for name, there in offered.items() if there]

    async def act(self, who: Jid, action: PhoneAction) -> None:
        """See `PhoneHost.act`."""
        person = self.people.by_jid(who)
        if person is None:
            raise Refused("you have no phone here", "forbidden")
        target = action.extension or action.jid
        if action.type is ActionType.DIAL:
            await self._actions.dial(person, target, by=who)
        else:
            await self._actions.forward(person, action.call_id, target, by=who)

    def contacts(self) -> Sequence[Contact]:
        """See `PhoneHost.contacts`."""
        return [Contact(person.local, person.name) for person in self.people] if self._settings.contacts else []

    def contact(self, local: str) -> ContactState | None:
        """See `PhoneHost.contact`."""
        person = self.people.by_contact(local) if self._settings.contacts else None
        if person is None:
            return None
        # Always the same: a contact whose resource changes would leave its old one behind in some clients.
        device = person.devices[0]
        if not self._in_sight:
            return ContactState(Show.OFFLINE, device=device)
        if self._calls.is_busy(str(person.jid)):
            return ContactState(Show.AWAY, self._settings.on_phone, on_phone=True, device=device)
        if self._availability.is_dnd(person):
            return ContactState(Show.DND, "Do not disturb", device=device)
        if not any(self._devices.is_reachable(each) for each in person.devices):
            return ContactState(Show.XA, "The phone is out of reach", device=device)
        return ContactState(Show.ONLINE, device=device)

    def may_watch(self, who: Jid, local: str) -> bool:  # noqa: ARG002 - everybody in the house sees everybody's phone
        """See `PhoneHost.may_watch`."""
        return self.people.by_jid(who) is not None

    def may_reach(self, who: Jid, local: str) -> bool:
        """See `PhoneHost.may_reach`."""
        person = self.people.by_jid(who)
        if person is None:
            return False
        return self.contact(local) is not None or self._actions.may_dial(person, unescape(local))

    # Calls

    def _apply(self, changes: Sequence[Change]) -> None:
        """Let everybody know what has happened. None of them waits."""
        for change in changes:
            try:
                self._apply_one(change)
            except Exception:  # a fault of ours at one call must not hide the others
                log.exception("phones: a change of a call of %s failed", change.call.owner)
        self._set_tick()

    def _apply_one(self, change: Change) -> None:
        owner = change.call.owner
        self._teller.call_changed(change)
        self._availability.call_changed(change)
        self._show(owner)
        if isinstance(change, Ended) and (person := self._person(owner)):
            self._watches.look(person)

    def _tell_others(self, change: Change) -> None:
        """Take a change as the owner of the call may see it."""
        log.debug("%s: %s", change.call.owner, change)
        self._watch.add(change.call.owner, _words(change))
        self._notes.call_changed(change)
        self._send_records(self._records.call_changed(change))

    def _send_records(self, all_told: Sequence[Told]) -> None:
        """Tell people of calls that are over. Nothing here waits."""
        as_chat = self._settings.records.type == "chat"
        for told in all_told:
            self._watch.add(str(told.person.jid), f"gets a record: {told.record.reason} ({told.call_id})")
            # One message for a call: what has a note gets the record in its place.
            if as_chat and self._notes.conclude(told.person, told.call_id, told.text, told.record):
                continue
            try:
                self._session.queue_message(
                    str(told.person.jid),
                    told.text,
                    thread=told.call_id,
                    extras=Extras(expects_answer=False, record=told.record, headline=not as_chat),
                    max_age=ENDING_AGE,
                )
            except AgiXmppError as error:
                log.warning("%s is not told of a call that is over: %s", told.person.jid, error)

    def _show(self, owner: str) -> None:
        """Show to others whether somebody is on the phone."""
        person = self._person(owner)
        if person is None:
            return
        self._port.contact_changed(person.local)
        talking = self._settings.activity and self._calls.is_busy(owner)
        if talking is not (owner in self._active):
            self._set_active(owner, talking)

    def _set_active(self, owner: str, talking: bool) -> None:
        if talking:
            self._active[owner] = "on the phone"
        else:
            del self._active[owner]
        self._port.set_activity(parse(owner), self._settings.on_phone if talking else None)

    def _set_tick(self) -> None:
        """Come back when the model wants to be looked at although nothing happens."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        moment = self._calls.next_deadline()
        if moment is not None:
            delay = max(moment - time.monotonic(), 0.0)
            self._tick = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        self._tick = None
        self._apply(self._calls.tick())

    def _begin_resync(self) -> None:
        if self._resync is not None:
            self._resync.cancel()
        self._resync = self._background.spawn(self._keep_in_step())

    async def _keep_in_step(self) -> None:
        """Take Asterisk's own list of channels: now, and then every now and then, in case an event was lost."""
        while True:
            try:
                channels = await self._ami.items("Status")
                states = await self._ami.items("DeviceStateList")
                self._synchronise(channels, states)
            except AmiNotConnected:
                return  # the next connection begins anew
            except AmiError as error:
                self._complain(f"Asterisk does not tell us its calls: {error}; agi-xmpp check --online says more")
                pause = RESYNC_RETRY
            except Exception as error:
                log.exception("phones: Asterisk's list of calls is not understood")
                self._complain(f"Asterisk's list of calls is not understood: {type(error).__name__}")
                pause = RESYNC_RETRY
            else:
                self._complain("")
                pause = WATCHDOG
            # Without a list the events count alone; they must neither wait for it nor pile up.
            self._apply(self._calls.resync(None))
            await asyncio.sleep(pause)
            self._calls.begin_resync()

    def _synchronise(self, channels: Sequence[Message], states: Sequence[Message]) -> None:
        first, self._in_sight = not self._in_sight, True
        new, self._is_new = self._is_new, False
        self._is_settled = True
        changed = self._devices.load(states)
        # Before the events that were kept back: they know of channels that came later.
        self._send_records(self._records.alive({channel["Channel"] for channel in channels}))
        self._apply(self._calls.resync(channels))
        self._teller.settle()
        for person in self.people if first else ():
            self._show(str(person.jid))
            self._watches.look(person)
        for device in changed:
            self._device_changed(device)
        if new:
            self._availability.ami_connected()
        if first:
            for owner in [owner for owner in self._active if owner not in self._by_owner]:
                self._set_active(owner, talking=False)  # of somebody who has left the user map
            log.info("phones: %d calls go on", len(self._calls.all()))

    def _lose_sight(self) -> None:
        """Asterisk is away for too long: nobody knows what goes on there."""
        self._lost = None
        self._in_sight = False
        self._is_settled = True
        self._devices.clear()
        log.warning("phones: no connection to Asterisk for %g s; its calls count as ended", self._settings.lost_after)
        self._apply(self._calls.lose())
        self._send_records(self._records.finish())
        self._teller.settle()
        for person in self.people:
            self._show(str(person.jid))

    # Details

    def _tell(self, person: Person, text: str) -> None:
        """Write to somebody in chat, if that is possible now."""
        try:
            self._session.queue_message(str(person.jid), text, extras=Extras(expects_answer=False))
        except AgiXmppError as error:
            log.warning("%s is not told: %s", person.jid, error)

    def _make_commands(self, session: Session) -> PhoneCommands:
        return PhoneCommands(session, self._board, session.guest(Asking), time.monotonic)

    def _make_settler(self, _session: Session) -> Guest:
        return _Settler(self._settle)

    def _settle(self) -> None:
        """End for people what is over in truth, where nobody could be told."""
        if self._is_settled:
            self._teller.settle()

    def _owner_of(self, device: str) -> str:
        person = self.people.by_device(device)
        return str(person.jid) if person else ""

    def _person(self, owner: str) -> Person | None:
        return self._by_owner.get(owner)

    def _is_free(self, person: Person) -> bool:
        return self._can_be_called(person) and not self._calls.of(str(person.jid))

    def _can_be_called(self, person: Person) -> bool:
        reachable = any(self._devices.is_reachable(device) for device in person.devices)
        return self._in_sight and reachable and not self._availability.is_dnd(person)

    def _availability_changed(self, person: Person) -> None:
        self._port.contact_changed(person.local)
        self._watches.look(person)

    def _device_changed(self, device: str) -> None:
        if person := self.people.by_device(device):
            self._port.contact_changed(person.local)
            self._watches.look(person)

    def _can_send(self) -> bool:
        return self._session.info().state is SessionState.ONLINE

    def _send(self, owner: str, event: PhoneEvent) -> None:
        # Also who has left the user map meanwhile: what they were told is ended.
        self._watch.add(owner, f"is told {event.type}")
        self._port.send_event(parse(owner), event)

    def _complain(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.error("phones: %s", problem)
        self._problem = problem


class _Settler(Guest):
    """Makes up for what could not be sent, as soon as it can be."""

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle

    def session_began(self) -> None:
        """See `Guest.session_began`."""
        self._settle()


_WORDS: Mapping[type[Change], str] = {
    Rang: "is called by",
    Dialled: "calls",
    Answered: "talks to",
    Restored: "was talking already to",
    Updated: "has another party or phone:",
}


def _words(change: Change) -> str:
    """Return what happened, for `agi-xmpp watch`."""
    call = change.call
    party = " ".join(filter(None, (call.party.name, call.party.number))) or "somebody without a number"
    if isinstance(change, Ended):
        how = "answered elsewhere" if change.how is How.ELSEWHERE else change.how.value
        return f"call with {party} on {call.device} is over: {how} ({call.id})"
    return f"{_WORDS[type(change)]} {party} on {call.device} ({call.id})"
