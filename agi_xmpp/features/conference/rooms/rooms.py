"""Which rooms there are: opens, keeps and closes them. Pure.

A room is one of the settings; or one that somebody opened by joining it, or by dialling its conference, where the
settings allow that. The latter end when nobody is in any more, unless their owner has made them stay. After a restart
they are there again, and wait for their people for a while (`Rooms.await_return`; `returning` says how long).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.config import ConferenceSettings
from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference.elsewhere.puppets import Bridge
from agi_xmpp.features.conference.model import Affiliation, Outside, RoomConfig
from agi_xmpp.features.conference.room.allowance import Allowance
from agi_xmpp.features.conference.room.entrance import LOCKED
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.rooms.configured import Configured, ConfiguredRoom
from agi_xmpp.features.conference.rooms.rooms_kept import KeptRoom, KeptSubject, RoomsKept
from agi_xmpp.features.phone.numbers import plain
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

#: Rooms that one person opens and owns at the most, so that nobody takes all there may be (``max_rooms``).
MAX_OPENED = 20


class Rooms:
    """The rooms of one domain. They all send by ``outside``.

    Args:
        domain: the component's.
        settings: ``[conference]``.
        outside: the world.
        table: keeps what must outlive a restart.
        key: secret that occupant ids are made with (XEP-0421); the same after each restart.
        phone_jid: returns a phone's own address, or None if it has none.

    Raises:
        ConfigError: the settings are wrong in a way that only shows now.

    Attributes:
        allowance: how much each person may make the rooms send.
    """

    def __init__(
        self,
        domain: str,
        settings: ConferenceSettings,
        outside: Outside,
        table: MutableMapping[str, str],
        *,
        key: bytes,
        phone_jid: Callable[[Participant], Jid | None],
    ) -> None:
        self._domain = Jid("", parse(domain).domain)
        self._settings = settings
        self._configured = Configured(domain, settings)
        self._outside = outside
        self._kept = RoomsKept(table, outside.note)
        self._key = key
        self._phone_jid = phone_jid
        self.allowance = Allowance(lambda: outside.now().timestamp())
        self._rooms: dict[str, Room] = {}
        self._by_number: dict[str, Room] = {}
        #: Rooms that somebody has opened and not configured yet: cancelling that closes the room.
        self._fresh: set[Jid] = set()
        #: Rooms that do not end though nobody is in: their people may come back.
        self._waiting: set[Jid] = set()

    # Rooms

    @property
    def own_rooms(self) -> Sequence[Room]:
        """All rooms that there are now."""
        return list(self._rooms.values())

    @property
    def elsewhere(self) -> Sequence[Bridge]:
        """Rooms of other services that are those of conferences."""
        return [
            Bridge(room.number, room.muc, room.config.title, room.config.password)
            for room in self._configured.rooms.values()
            if room.muc is not None
        ]

    @property
    def history(self) -> int:
        """Messages that whoever joins a room is shown at the most."""
        return self._settings.history

    @property
    def max_occupants(self) -> int:
        """People of one room from chat at the most."""
        return self._settings.max_occupants

    @property
    def archived(self) -> bool:
        """True if what is said in rooms can be read again (XEP-0313)."""
        return self._settings.archive_days > 0

    @property
    def patterns(self) -> Sequence[str]:
        """Which conferences are rooms as soon as somebody joins, as in extensions.conf."""
        return self._settings.rooms

    def allows(self, jid: Jid, room: Jid) -> bool:
        """Tell whether somebody may use a room at all, as far as the settings say; the room may still refuse them."""
        return self._configured.allows(jid, room)

    def address_of(self, number: str) -> Jid | None:
        """Return the address of the room that a conference is, open or not; None if it is none.

        It is on another service where the settings say so.

        Args:
            number: of the conference, or the part of the room's address before the ``@``.
        """
        if (room := self._by_number.get(number)) is not None:
            return room.address
        if other := self._configured.other_room(number):
            return other
        is_room = number in self._configured.rooms or self._configured.may_be_opened(number)
        return parse(f"{number}@{self._domain}") if is_room else None

    def room_at(self, address: Jid) -> Room | None:
        """Return the room at an address of ours, if there is one now."""
        return self._rooms.get(address.local) if address.domain == self._domain.domain else None

    def room_to_enter(self, address: Jid) -> Room | None:
        """Return the room at an address of ours, opened now if the settings allow that; see `room_for_number`."""
        room = self.room_at(address)
        if room is not None or address.domain != self._domain.domain:
            return room
        return self.room_for_number(address.local)

    def room_of_number(self, number: str) -> Room | None:
        """Return the room of a conference, if there is one now."""
        return self._by_number.get(number)

    def room_for_number(self, number: str) -> Room | None:
        """Return the room of a conference that somebody has dialled into, opened now if the settings allow that.

        It has no owner but those of the settings. None if this conference is no room of ours, or there are too many.
        """
        room = self._by_number.get(number)
        if room is not None or self._configured.other_room(number) or not self._configured.may_be_opened(number):
            return room
        try:
            address = parse(f"{number}@{self._domain}")
        except BadJid:
            return None
        if address.local in self._rooms or self._is_full:
            self._outside.note(f"conference {number}: there is no room for it in chat: {self._why_none(address)}")
            return None
        return self._add_new(address, number)

    def open(self, address: Jid, owner: Jid) -> Room:
        """Open a room for somebody who joins it, and who owns it from then on.

        Args:
            address: bare; no room is there, but there may be one (`Configured.may_be_opened`).
            owner: bare.

        Raises:
            Refused: ``resource-constraint``: there are too many. ``forbidden``: its conference is locked.
        """
        if self._outside.is_locked(address.local) and owner not in self._configured.owners:
            self._outside.note(f"room {address}: {owner} was not let in: {LOCKED.text}")
            raise Refused(LOCKED.text, LOCKED.condition)
        if self._is_full:
            self._outside.note(f"room {address}: not opened for {owner}: {self._why_none(address)}")
            raise Refused("There are as many rooms as there may be: try again later.", "resource-constraint")
        if self._opened_by(owner) >= MAX_OPENED and owner not in self._configured.owners:
            self._outside.note(f"room {address}: not opened for {owner}, who has {MAX_OPENED} rooms")
            raise Refused(f"You have {MAX_OPENED} rooms already: close one of them first.", "resource-constraint")
        self._outside.note(f"room {address}: opened by {owner}")
        room = self._add_new(address, address.local, {owner: Affiliation.OWNER})
        self._fresh.add(address)
        return room

    def is_banned(self, number: str, jid: Jid | None) -> bool:
        """Tell whether somebody, such as a phone by its address, must not come into a conference."""
        room = self._by_number.get(number)
        return room is not None and jid is not None and room.affiliation_of(jid) is Affiliation.OUTCAST

    def given(self, room: Room) -> Mapping[Jid, Affiliation]:
        """Return whose affiliations with a room are by the settings: those are not changed from chat."""
        configured = self._configured.rooms.get(room.address.local)
        return configured.affiliations if configured is not None else self._configured.owners

    def is_fresh(self, room: Room) -> bool:
        """Tell whether somebody has just opened a room, and nobody has configured it."""
        return room.address in self._fresh

    def configure(self, room: Room, config: RoomConfig, actor: Jid) -> None:
        """Let a room be as its owner wants it."""
        self._fresh.discard(room.address)
        if config != room.config:
            self._outside.note(f"room {room.address}: configured by {actor.bare}")
            room.set_config(config)
        self.close_if_empty(room.number)

    def destroy(self, room: Room, reason: str = "", alternate: Jid | None = None, password: str = "") -> None:
        """Close a room for good: everybody has to go, also from the phone, and what was said is forgotten."""
        self._remove(room)
        room.destroy(reason, alternate, password)

    def close_if_empty(self, number: str) -> None:
        """Close the room of a conference if nobody is in, unless it stays or waits. Call it when a phone has gone."""
        room = self._by_number.get(number)
        if room is not None and room.address not in self._waiting:
            self._close_if_empty(room, "nobody is in any more")

    def await_return(self) -> None:
        """Let no room that is there now end for want of people: it is not their doing that they are gone, or seem so.

        That is so until `end_waiting`, also for a room that somebody enters and leaves meanwhile.
        """
        self._waiting.update(room.address for room in self._rooms.values() if not room.config.persistent)

    def end_waiting(self) -> None:
        """Close the rooms that nobody has come back to. The others end with the last one who leaves."""
        waiting, self._waiting = self._waiting, set()
        for room in self.own_rooms:
            if room.address in waiting:
                self._close_if_empty(room, "nobody has come back")

    def restore(self) -> None:
        """Open the rooms of the settings and those that are kept. Called once, at the start."""
        kept = dict(self._kept.load())
        for configured in self._configured.rooms.values():
            if configured.muc is None:
                self._open_configured(configured, kept.get(configured.address.local))
        for local, entry in kept.items():
            if entry.config is not None and local not in self._rooms:
                self._reopen(local, entry, entry.config)
        self.await_return()

    def apply(self, settings: ConferenceSettings) -> None:
        """Use other settings from now on. Whoever is in a room stays there, unless it is not to be any more.

        Raises:
            ConfigError: as when the service was made; then nothing has changed.
        """
        configured = Configured(self._domain.domain, settings)
        before, self._configured, self._settings = self._configured, configured, settings
        phones: list[tuple[str, Participant]] = []
        for room in self.own_rooms:
            wanted = configured.rooms.get(room.address.local)
            if self._stays(room, wanted):
                old = before.rooms.get(room.address.local)
                self._change(room, old.affiliations if old is not None else before.owners, wanted)
            else:
                phones += [(room.number, phone.participant) for phone in room.phones.values()]
                self._withdraw(room, wanted or configured.by_number(room.number))
        for wanted in configured.rooms.values():
            if wanted.muc is None and wanted.address.local not in self._rooms:
                self._open_configured(wanted, None)
        for number, participant in phones:
            if other := self.room_for_number(number):
                other.phone_joined(participant)

    def shut_down(self) -> None:
        """Tell everybody in chat that the service ends for now (status code 332); the rooms wait for them."""
        self.await_return()
        for room in self.own_rooms:
            room.shut_down()

    def status(self) -> list[dict[str, Any]]:
        """Return what `agi-xmpp status` shows of each room: its address and number, how many are in or if it waits."""
        return [
            {
                "room": str(room.address),
                "number": room.number,
                "title": room.title,
                "people": len(room.occupants),
                "phones": len(room.phones),
                "waits": room.address in self._waiting and not (room.occupants or room.phones),
            }
            for room in sorted(self.own_rooms, key=lambda room: room.address.local)
        ]

    @property
    def _is_full(self) -> bool:
        opened = sum(not room.config.fixed for room in self._rooms.values())
        return opened >= self._settings.max_rooms

    def _opened_by(self, owner: Jid) -> int:
        return sum(
            room.affiliations.get(owner) is Affiliation.OWNER and not room.config.fixed for room in self._rooms.values()
        )

    def _why_none(self, address: Jid) -> str:
        if address.local in self._rooms:
            return f"{address} is that of conference {self._rooms[address.local].number}"
        return f"conference.max_rooms = {self._settings.max_rooms} are open"

    def _add(
        self, address: Jid, number: str, config: RoomConfig, affiliations: Mapping[Jid, Affiliation] | None = None
    ) -> Room:
        """Open a room. What the settings say of people is added to ``affiliations``."""
        configured = self._configured.rooms.get(address.local)
        given = configured.affiliations if configured is not None else self._configured.owners
        room: Room = Room(
            address,
            number,
            config,
            {**(affiliations or {}), **given},
            self._outside,
            key=self._key,
            history=self._settings.history,
            phone_jid=self._phone_jid,
            on_change=lambda: self._keep(room),
            allowance=self.allowance,
        )
        self._rooms[address.local] = self._by_number[number] = room
        return room

    def _add_new(self, address: Jid, number: str, affiliations: Mapping[Jid, Affiliation] | None = None) -> Room:
        """Open a room that was not there, without what was said in an earlier one: a crash may have left that."""
        self._outside.forget_archive(address)
        room = self._add(address, number, self._configured.new_room(number), affiliations)
        self._keep(room)
        return room

    def _close_if_empty(self, room: Room, why: str) -> None:
        if room.occupants or room.phones or room.config.persistent:
            return
        self._outside.note(f"room {room.address}: closed, {why}")
        self._remove(room)
        self._outside.forget_archive(room.address)

    def _remove(self, room: Room) -> None:
        """Know a room no more: nobody finds it from now on, while it sends out who is still in."""
        self._fresh.discard(room.address)
        self._waiting.discard(room.address)
        self._kept.forget(room.address)
        if self._rooms.get(room.address.local) is room:
            del self._rooms[room.address.local]
        if self._by_number.get(room.number) is room:
            del self._by_number[room.number]
        self._outside.occupancy_changed(room.number)

    def _keep(self, room: Room) -> None:
        """Keep what must outlive a restart."""
        if self._rooms.get(room.address.local) is not room:
            return
        given = self.given(room)
        affiliations = {jid: value for jid, value in room.affiliations.items() if jid not in given}
        config = None if room.config.fixed else room.config
        self._kept.keep(room.address, room.number, config, affiliations, room.subject)

    def _open_configured(self, configured: ConfiguredRoom, kept: KeptRoom | None) -> None:
        room = self._add(
            configured.address, configured.number, configured.config, kept.people if kept is not None else {}
        )
        if kept is not None:
            self._restore_subject(room, kept.subject)

    def _reopen(self, local: str, kept: KeptRoom, config: RoomConfig) -> None:
        """Open a room that somebody opened before a restart; one that cannot be, and was not made to stay, ends."""
        try:
            address = parse(f"{local}@{self._domain}")
        except BadJid:
            self._outside.note(f"room {plain(local)}: not opened again: that is no address")
            return
        if problem := self._why_not_again(address, kept.number, config):
            self._outside.note(f"room {address}: not opened again: {problem}")
            if not config.persistent:
                self._kept.forget(address)
                self._outside.forget_archive(address)
            return
        limit = min(config.max_occupants, self._settings.max_occupants)
        room = self._add(address, kept.number, replace(config, max_occupants=limit, fixed=False), kept.people)
        self._restore_subject(room, kept.subject)

    def _why_not_again(self, address: Jid, number: str, config: RoomConfig) -> str:
        """Return why the settings do not have a room of before the restart any more; "" if they have."""
        taken = number in self._by_number or self._configured.by_number(number) is not None
        if taken or self._configured.other_room(address.local):
            return f"conference {plain(number)} has another room now"
        if not config.persistent and not self._configured.may_be_opened(number):
            return f"no pattern of conference.rooms has conference {plain(number)} any more"
        return ""

    def _restore_subject(self, room: Room, subject: KeptSubject | None) -> None:
        if subject is not None:
            room.restore_subject(subject.text, subject.nick, subject.stamp)

    def _stays(self, room: Room, wanted: ConfiguredRoom | None) -> bool:
        """Tell whether a room is to be there under new settings: as theirs, or still as one that somebody opened."""
        if wanted is not None:
            return wanted.muc is None and wanted.number == room.number
        return not room.config.fixed and self._configured.by_number(room.number) is None

    def _change(self, room: Room, before: Mapping[Jid, Affiliation], wanted: ConfiguredRoom | None) -> None:
        """Let a room be as new settings want it.

        Args:
            room: it stays.
            before: whose affiliations were by the settings.
            wanted: what they say of it now; None for a room that somebody opened.
        """
        now = self.given(room)
        for jid in before.keys() - now.keys():
            room.set_affiliation(jid, Affiliation.NONE, None)
        for jid, affiliation in now.items():
            if room.affiliations.get(jid, Affiliation.NONE) is not affiliation:
                room.set_affiliation(jid, affiliation, None)
        limit = min(room.config.max_occupants, self._settings.max_occupants)
        config = replace(room.config, max_occupants=limit) if wanted is None else wanted.config
        if config != room.config:
            room.set_config(config)
        room.resize_history(self._settings.history)

    def _withdraw(self, room: Room, instead: ConfiguredRoom | None) -> None:
        """Close a room that new settings do not have. Its conference goes on: the phones stay in that."""
        self._remove(room)
        for channel in list(room.phones):
            room.phone_left(channel)
        alternate = None if instead is None else instead.muc or instead.address
        room.destroy("The administrator has changed the rooms.", alternate)
