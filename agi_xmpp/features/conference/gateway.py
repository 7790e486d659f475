"""Conferences in chat: joins the rooms, Asterisk's conferences and the legs that carry texts.

Nothing here decides what a room does: `room` and `service` do. This is what they need of the world (`Outside`), and
what the world tells them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

from agi_xmpp.ami import confbridge
from agi_xmpp.ami.conferences import Change, Conferences, Participant, PhoneChanged, PhoneJoined, PhoneLeft
from agi_xmpp.ami.model import Ami, AmiState, Message
from agi_xmpp.background import Background
from agi_xmpp.config import AccountSettings, ConferenceSettings, PhoneSettings, SipSettings
from agi_xmpp.errors import AmiError, AmiUnknown, BadJid, NotConnected
from agi_xmpp.features.conference.archive.archive import Archive
from agi_xmpp.features.conference.archive.mam import Mam
from agi_xmpp.features.conference.door import Door
from agi_xmpp.features.conference.elsewhere.bridges import Bridges
from agi_xmpp.features.conference.elsewhere.puppets import Bridge, BridgedRoom
from agi_xmpp.features.conference.invitations.convener import Convener
from agi_xmpp.features.conference.invitations.reception import Reception
from agi_xmpp.features.conference.model import Archived, ConferenceRoom, Invitation, Utterance
from agi_xmpp.features.conference.phones.legs import Legs
from agi_xmpp.features.conference.phones.outside_calls import OutsideCalls, name_of
from agi_xmpp.features.conference.phones.roster import Roster
from agi_xmpp.features.conference.phones.whispers import Whispers
from agi_xmpp.features.conference.phones_host import PhonesHost
from agi_xmpp.features.conference.room import nicks
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.rooms.configured import Configured
from agi_xmpp.features.conference.rooms.returning import Returning, Side
from agi_xmpp.features.conference.rooms.service import MucService
from agi_xmpp.features.conference.stream import Outgoing
from agi_xmpp.features.phone.people import People, escape
from agi_xmpp.pace import Pace
from agi_xmpp.sip.agent import SipAgent
from agi_xmpp.store import Store
from agi_xmpp.watch import Watch
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid, Session, StanzaPort

log = logging.getLogger("agi_xmpp.conference")

#: Seconds between attempts of a phone to enter a room of another service at the most, and between looks at what is due.
ENTRY_RETRY_MAX, LOOK = 300.0, 2.0

#: Keys of ``[conference]`` that can change while people are in. ``archive_days`` cannot from or to 0.
IN_PLACE = {
    *("room", "rooms", "allow", "owners", "max_rooms", "max_occupants"),
    *("history", "archive_days", "invite_time", "invite_context", "return_time", "texts_outside_calls", "sip"),
}


class Gateway:
    """The conferences of one installation. Implements `Outside`, `StanzaHost` and `AmiListener`.

    Args:
        settings: ``[conference]``.
        phone: ``[phone]``, whose people and extensions can be invited; None without.
        ami: the manager connection; it tells `ami_connected` and the others of what happens.
        session: of the component that has the rooms.
        phones: of the component whose addresses are the phones'; None without.
        store: keeps what must outlive a restart.
        directory: where messages are kept; "" keeps none.
        watch: is told what happens.
        make_agent: makes what calls conferences.

    Raises:
        ConfigError: the settings are wrong in a way that only shows now.
    """

    def __init__(
        self,
        settings: ConferenceSettings,
        phone: PhoneSettings | None,
        ami: Ami,
        session: Session,
        phones: Session | None,
        store: Store,
        directory: str,
        watch: Watch,
        make_agent: Callable[[SipSettings], SipAgent] = SipAgent,
    ) -> None:
        self._directory = directory
        settings = self._effective(settings)
        self.session, self.phones = session, phones
        self._settings = settings
        self._ami = ami
        self._watch = watch
        self._archive = Archive(directory, settings.archive_days)
        self._people = People(phone) if phone is not None else None
        self._conferences = Conferences()
        self._outside_calls = OutsideCalls(settings, ami, self._conferences, self._written)
        self._legs = Legs(
            settings.sip, ami, self._conferences, self._room, self._heard, self._outside_calls, make_agent
        )
        self._whispers = Whispers(ami)
        #: Channels of banned phones that are being thrown out.
        self._expelled: set[str] = set()
        self._outgoing = Outgoing(self._start_anew)
        self._mam = Mam(self._archive, self._outgoing.send)
        self._background = Background(log, "conferences")
        self._roster = Roster(ami, self._conferences, self._apply, self._compared)
        self._port: StanzaPort | None = None
        self._phones_port: StanzaPort | None = None
        table = store.table("conference")
        key = bytes.fromhex(table.setdefault("key", secrets.token_hex(32)))
        own = parse(session.info().jid)
        self._phones_domain = parse(phones.info().jid).domain if phones is not None else ""
        self.rooms = MucService(
            own.domain, settings, self, store.table("rooms"), key=key, phone_jid=self.phone_jid, own=own
        )
        self._returning = Returning(self.rooms, settings.return_time)
        self._door = Door(ami, self._conferences, self.rooms, self._take, self.send)
        self._bridges = Bridges(self._bridge, self._send_from_phones)
        self._reception = Reception(
            settings,
            phone,
            self._people,
            ami,
            self.rooms,
            self._bridges,
            self._conferences,
            self,
            domain=own.domain,
            phones_domain=self._phones_domain,
            send_from_phones=self._send_from_phones,
            clock=time.monotonic,
        )

    @property
    def convener(self) -> Convener:
        """Invites for the dialplan, and for who opens a conference from chat."""
        return self._reception.convener

    @staticmethod
    def check(settings: ConferenceSettings, account: AccountSettings) -> None:
        """Find what is wrong with the settings before anything is changed.

        Args:
            settings: ``[conference]``.
            account: that has the rooms.

        Raises:
            ConfigError: a room or a person is none.
        """
        Configured(parse(account.jid).domain, settings)

    async def start(self) -> None:
        """Open the rooms, and take up the manager connection if it is there already.

        Raises:
            ConfigError: the archive cannot be used.
        """
        await self._archive.start()
        await self._legs.start()
        self.rooms.restore()
        for room in self.rooms.own_rooms:
            room.load_history(await self._archive.recent(room.address, self._settings.history))
        self._port = self.session.serve_stanzas(self)
        self._outgoing.use(self._port)
        if self.phones is not None:
            self._bridges.apply(self.rooms.elsewhere)
            hosts = PhonesHost(self._reception.mediated, self._bridges, self._reception.direct)
            self._phones_port = self.phones.serve_stanzas(hosts)
            self._background.spawn(self._look_after_bridges())
        elsewhere = len(self._bridges.rooms)
        log.info("conferences: rooms at %s: %d; elsewhere: %d", self._port.domain, len(self.rooms.own_rooms), elsewhere)
        if self._ami.info().state is AmiState.ONLINE:
            self.ami_connected()
        else:
            self.ami_disconnected()

    async def stop(self) -> None:
        """Tell everybody that the rooms close for now, and free everything."""
        await self._door.stop()
        self._returning.stop()
        self.rooms.shut_down()
        self._bridges.close()
        self.session.serve_stanzas(None)
        if self.phones is not None:
            self.phones.serve_stanzas(None)
        await self._reception.stop()
        await self._roster.stop()
        await self._background.stop()
        await self._whispers.stop()
        await self._outside_calls.stop()
        await self._legs.stop()
        await self._archive.close()

    async def apply(self, settings: ConferenceSettings, phone: PhoneSettings | None) -> bool:
        """Use other settings from now on; whoever is in a room stays.

        Args:
            settings: ``[conference]``.
            phone: ``[phone]``; None without.

        Returns:
            False if that cannot be done without beginning anew: then nothing has changed.

        Raises:
            ConfigError: they are wrong; nothing has changed.
        """
        settings = self._effective(settings)
        if not self._can_change_to(settings):
            return False
        people = People(phone) if phone is not None else None
        if settings != self._settings:
            self.rooms.apply(settings)
            self._returning.seconds = settings.return_time
            self._settings = settings
            self._archive.keep_for(settings.archive_days)
        self._reception.apply(settings, phone, people)
        self._use_people(people)
        for number in self._bridges.apply(self.rooms.elsewhere):
            self.occupancy_changed(number)
        for number in self._conferences.numbers():
            self._tell_of_phones(number)
        await self._legs.apply(settings.sip)
        self._outside_calls.apply(settings)
        for number in self._conferences.numbers():
            self._legs.occupancy_changed(number)
        return True

    def _can_change_to(self, settings: ConferenceSettings) -> bool:
        """Tell whether settings differ only in what changes in place."""
        if bool(settings.archive_days) != bool(self._settings.archive_days):
            return False
        return settings.model_dump(exclude=IN_PLACE) == self._settings.model_dump(exclude=IN_PLACE)

    def _use_people(self, people: People | None) -> None:
        """Use another user map; rooms are told which phones that are in have another address by it."""
        before = [(number, one, self.phone_jid(one)) for number, one in self._participants()]
        self._people = people
        for number, participant, address in before:
            room = self._room(number)
            if room is not None and self.phone_jid(participant) != address:
                room.phone_readdressed(participant.channel)

    def _participants(self) -> Iterator[tuple[str, Participant]]:
        for number in self._conferences.numbers():
            for participant in self._conferences.of(number):
                yield number, participant

    def _effective(self, settings: ConferenceSettings) -> ConferenceSettings:
        """Return settings as they have effect: without a directory nothing is kept."""
        return settings if self._directory else settings.model_copy(update={"archive_days": 0})

    @property
    def is_deaf(self) -> bool:
        """True if Asterisk does not tell who comes, or perhaps what phones write, as far as that was noticed."""
        return self._roster.is_deaf or self._outside_calls.may_be_deaf

    def status(self) -> dict[str, Any]:
        """Return what `agi-xmpp status` shows."""
        status = [*self.rooms.status(), *(room.status() for room in self._bridges.rooms)]
        rooms = [{**room, **self._legs.status(str(room["number"]))} for room in status]
        bridges = (room.problem for room in self._bridges.rooms)
        return {
            "account": self.session.account,
            "in_sight": not self._roster.problem,
            "rooms": rooms,
            "senders": self._legs.senders_status(),
            "problems": [
                *filter(None, [self._roster.problem, self._legs.problem, self._outside_calls.problem]),
                *filter(None, [self._archive.problem, *bridges]),
            ],
        }

    def phone_jid(self, participant: Participant) -> Jid | None:
        """Return the address of a phone that is in a conference; None if it has none, or does not want it known."""
        return None if participant.withheld else self._address(participant)

    def _address(self, participant: Participant) -> Jid | None:
        """Return a phone's address for ourselves, also where nobody may know it."""
        if not self._phones_domain:
            return None
        person = self._people.by_device(participant.device) if self._people is not None else None
        local = person.local if person is not None else escape(participant.number or participant.device)
        try:
            return parse(f"{local}@{self._phones_domain}/{participant.uniqueid}")
        except BadJid:
            return None

    # StanzaHost

    def stanza_came(self, stanza: Element) -> bool:
        """See `StanzaHost.stanza_came`."""
        return self._outgoing.came_back(stanza) or self._door.holds(stanza) or self._take(stanza)

    def _take(self, stanza: Element) -> bool:
        return self._reception.stanza_came(stanza) or self.rooms.stanza_came(stanza)

    def stream_began(self) -> None:
        """See `StanzaHost.stream_began`."""
        self._legs.stream_began()
        self._outgoing.stream_began()
        self._returning.found(Side.CHAT)
        for room in self.rooms.own_rooms:
            room.verify()

    def stream_ended(self) -> None:
        """See `StanzaHost.stream_ended`."""
        self._outgoing.stream_ended()
        self._returning.lost(Side.CHAT)
        self._legs.stream_ended()

    def _start_anew(self) -> None:
        """Have everybody enter anew: what was said meanwhile could not be kept for them."""
        self.rooms.shut_down()

    # AmiListener

    def ami_connected(self) -> None:
        """Ask Asterisk who is in which conference."""
        self._roster.ami_connected()
        self._legs.ami_connected()
        self._outside_calls.ami_connected()

    def ami_event(self, event: Message) -> None:
        """Take an event."""
        self._legs.ami_event(event)
        self._outside_calls.ami_event(event)
        self._reception.ami_event(event)
        self._roster.ami_event(event)

    def ami_disconnected(self) -> None:
        """Wait a moment for Asterisk to come back; then its conferences count as over."""
        self._reception.ami_disconnected()
        self._roster.ami_disconnected()
        self._returning.lost(Side.PHONES)

    def _compared(self) -> None:
        """Asterisk's lists of who is in have been taken over."""
        self._legs.check()
        self._returning.found(Side.PHONES)

    def _apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            try:
                self._apply_one(change)
            except Exception:
                log.exception("conference %s: internal error; the others go on", change.number)

    def _apply_one(self, change: Change) -> None:
        match change:
            case PhoneJoined(number, participant):
                self._legs.phone_is_in(number, participant.channel)
                self._phone_joined(number, participant)
            case PhoneChanged(number, participant):
                self._legs.phone_is_in(number, participant.channel)
                room = self._room(number)
                if room is not None:
                    room.phone_changed(participant)
            case PhoneLeft(number, channel):
                self._legs.phone_left(number, channel)
                self._outside_calls.phone_left(channel)
                self._expelled.discard(channel)
                room = self._room(number)
                if room is not None:
                    self._watch.add(str(room.address), f"{channel} has gone")
                    room.phone_left(channel)
                    self.rooms.close_if_empty(number)
        self.occupancy_changed(change.number)

    def _phone_joined(self, number: str, participant: Participant) -> None:
        room = self._bridges.room_of_number(number) or self.rooms.room_for_number(number)
        if room is None:
            return
        if self.rooms.is_banned(number, _bare(self._address(participant))):
            self._expel(room, participant)
            return
        if participant.channel not in room.phones:
            self._watch.add(str(room.address), f"{_shown(participant)} is in by telephone ({participant.channel})")
        room.phone_joined(participant)

    def _expel(self, room: ConferenceRoom, participant: Participant) -> None:
        """Throw a banned phone out; we may be told of it several times until it has gone."""
        channel = participant.channel
        if channel not in self._expelled:
            self._expelled.add(channel)
            log.info("room %s: %s is banned", room.address, channel)
            self.kick(room.number, channel)

    def _tell_of_phones(self, number: str) -> None:
        """Tell a room that has just been opened who is in its conference already."""
        for participant in self._conferences.of(number):
            self._phone_joined(number, participant)

    # Outside

    def send(self, stanza: Element) -> None:
        """See `Outside.send`."""
        self._outgoing.send(stanza)

    def say(self, number: str, utterance: Utterance) -> None:
        """See `Outside.say`."""
        self._legs.say(number, utterance)

    def whisper(self, number: str, channel: str, utterance: Utterance) -> None:
        """See `Outside.whisper`."""
        speaker, text, done = utterance.speaker, utterance.text, partial(self._whispered, number, utterance)
        if not self._outside_calls.whisper(number, channel, speaker, text, done):
            self._whispers.send(channel, speaker, text, done)

    def _whispered(self, number: str, utterance: Utterance, reason: str) -> None:
        room = self._room(number)
        if room is not None and reason:
            room.not_spoken(utterance, reason)
        elif room is not None:
            room.spoken(utterance)

    def kick(self, number: str, channel: str) -> None:
        """See `Outside.kick`."""
        self._act(number, channel, partial(confbridge.kick, self._ami, number, channel), "could not be thrown out")

    def mute(self, number: str, channel: str, muted: bool) -> None:
        """See `Outside.mute`."""
        failed = f"could not be {'muted' if muted else 'given the word'}"
        self._act(number, channel, partial(confbridge.mute, self._ami, number, channel, muted), failed)

    def _act(self, number: str, channel: str, action: Callable[[], Awaitable[None]], failed: str) -> None:
        self._background.spawn(self._carry_out(number, channel, action, failed))

    async def _carry_out(self, number: str, channel: str, action: Callable[[], Awaitable[None]], failed: str) -> None:
        try:
            await action()
        except AmiError as error:
            self._expelled.discard(channel)
            log.error("conference %s: %s %s: %s", number, channel, failed, error)
            if (room := self._room(number)) is not None:
                unknown = isinstance(error, AmiUnknown)
                # Not the channel: that is the phone's name, which not everybody may know.
                phone = room.phones.get(channel)
                who = phone.nick if phone is not None else "A phone"
                room.announce("Asterisk did not say whether that was done." if unknown else f"{who} {failed}.")

    def invite(self, number: str, invitation: Invitation, stanza: Element | None) -> None:
        """See `Outside.invite`."""
        if (room := self.rooms.room_of_number(number)) is not None:
            self._reception.invite(room, invitation, stanza)

    def archive(self, room: Jid, message: Archived) -> None:
        """See `Outside.archive`."""
        self._archive.add(room, message)

    def query_archive(self, room: Jid, stanza: Element) -> None:
        """See `Outside.query_archive`."""
        self._background.spawn(self._mam.answer(room, stanza))

    def forget_archive(self, room: Jid) -> None:
        """See `Outside.forget_archive`."""
        self._archive.forget(room)

    def occupancy_changed(self, number: str) -> None:
        """See `Outside.occupancy_changed`."""
        room = self._room(number)
        if isinstance(room, Room):
            self._reception.occupancy_changed(room)
            if not room.phones:
                self._tell_of_phones(number)
        self._legs.occupancy_changed(number)

    def _heard(self, number: str, display: str, text: str, sender: str | None) -> None:
        """Take what a phone has written; arguments as of `ConferenceRoom.phone_said`."""
        known = nicks.speaker(self._conferences.of(number), display)
        if known is None and self._conferences.has_unknown(number):
            display = ""  # it may be theirs, and they may withhold it
        room = self._room(number)
        if room is not None and self._reception.heard(room, display, text, sender):
            self._outside_calls.overheard(number, room.title, display, text, sender)

    def _written(self, number: str, writer: Participant, text: str) -> None:
        """Take what a phone has written outside of its call: the others on phones have not got it yet."""
        room = self._room(number)
        if room is None or writer.channel not in room.phones:  # it is banned, for example
            return
        if self._reception.heard(room, "", text, writer.channel):
            self._legs.say(number, Utterance(name_of(writer), text, device=writer.device))

    def is_locked(self, number: str) -> bool:
        """See `Outside.is_locked`."""
        return self._door.is_locked(number)

    def now(self) -> datetime:
        """See `Outside.now`."""
        return datetime.now(UTC)

    def new_id(self) -> str:
        """See `Outside.new_id`."""
        return secrets.token_hex(12)

    def note(self, text: str) -> None:
        """See `Outside.note`."""
        log.info("%s", nicks.shown(text))  # one line: strangers' reasons are in it

    def _send_from_phones(self, stanza: Element) -> None:
        if self._phones_port is not None:
            with contextlib.suppress(NotConnected):  # who waits for an answer finds out by themselves
                self._phones_port.send(stanza)

    def _room(self, number: str) -> Room | BridgedRoom | None:
        return self._bridges.room_of_number(number) or self.rooms.room_of_number(number)

    # Rooms of other services

    def _bridge(self, bridge: Bridge) -> BridgedRoom:
        def make_pace() -> Pace:
            return Pace(ENTRY_RETRY_MAX, time.monotonic)

        return BridgedRoom(bridge, self, self._send_from_phones, self._puppet_address, make_pace, time.monotonic)

    def _puppet_address(self, participant: Participant) -> Jid:
        """Return the address that a phone enters another service's room with: its own, or one that names nobody."""
        address = self.phone_jid(participant)
        if address is None:
            call = participant.uniqueid
            address = parse(f"anonymous.{escape(call)}@{self._phones_domain}/{call}")
        return address

    async def _look_after_bridges(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                self._bridges.tick()
            except Exception:
                log.exception("rooms of other services: internal error; they go on")


def _shown(participant: Participant) -> str:
    return " ".join(filter(None, (participant.name, participant.number))) or "somebody without a name"


def _bare(jid: Jid | None) -> Jid | None:
    return jid.bare if jid is not None else None
