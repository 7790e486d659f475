"""Rooms as the settings have them: which there are, what they are like, and who may come in at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agi_xmpp.config import ConferenceRoomSettings, ConferenceSettings
from agi_xmpp.errors import BadJid, ConfigError, Refused
from agi_xmpp.features.conference.model import Affiliation, RoomConfig
from agi_xmpp.features.phone import numbers
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid


@dataclass(frozen=True, slots=True)
class ConfiguredRoom:
    """A room of ``[conference.room]``.

    Attributes:
        address: on our domain.
        number: of the conference.
        config: what it is like.
        affiliations: of people whom the settings name; nobody changes these from chat.
        muc: the room on another service that it is instead, or None.
    """

    address: Jid
    number: str
    config: RoomConfig
    affiliations: Mapping[Jid, Affiliation]
    muc: Jid | None = None


class Configured:
    """What the settings say of rooms.

    Args:
        domain: of the rooms.
        settings: passwords are fetched from where they stand.

    Raises:
        ConfigError: an address cannot be one, or a password cannot be had.

    Attributes:
        rooms: by the part of the address before the ``@``.
        owners: of each room, also of those that somebody opened.
    """

    def __init__(self, domain: str, settings: ConferenceSettings) -> None:
        self.domain = parse(domain).domain
        self._patterns = tuple(settings.rooms)
        self._max_occupants = settings.max_occupants
        above = self.domain.partition(".")[2]
        self._allowed = frozenset(_addresses("conference.allow", settings.allow or [above or self.domain]))
        self.owners = dict.fromkeys(_addresses("conference.owners", settings.owners), Affiliation.OWNER)
        self.rooms: dict[str, ConfiguredRoom] = {}
        self._by_number: dict[str, ConfiguredRoom] = {}
        for key, room in settings.room.items():
            configured = self._room(key, room)
            self.rooms[configured.address.local] = configured
            self._by_number[_plain(configured.number)] = configured

    def by_number(self, number: str) -> ConfiguredRoom | None:
        """Return the room of a conference."""
        return self._by_number.get(_plain(number))

    def other_room(self, local: str) -> Jid | None:
        """Return the address of the room that is meant by an address of ours where it is not; None if there is none.

        A conference has one room: ``6000@…`` is none if it is that of ``balcony@…``, and a room of another service has
        its address there.
        """
        room = self.rooms.get(local) or self.by_number(local)
        if room is None or (room.muc is None and room.address.local == local):
            return None
        return room.muc or room.address

    def allows(self, jid: Jid, room: Jid | None = None) -> bool:
        """Tell whether somebody may use the service: by their domain or their own address, or as an owner.

        Args:
            jid: theirs.
            room: people whom the settings name for this room may use it in any case.
        """
        here = self.rooms.get(room.local) if room is not None and room.domain == self.domain else None
        named = self.owners if here is None else here.affiliations
        return not self._allowed.isdisjoint((jid.bare, Jid("", jid.domain))) or jid.bare in named

    def may_be_opened(self, number: str) -> bool:
        """Tell whether a conference is a room as soon as somebody joins it, though no room of its own is configured.

        The number goes into requests to Asterisk: what nobody could dial is none.
        """
        try:
            clean = numbers.clean(number)
        except Refused:
            return False
        return clean == number and any(numbers.matches(pattern, number) for pattern in self._patterns)

    def new_room(self, number: str) -> RoomConfig:
        """Return what a room is like that somebody opens."""
        return RoomConfig(title=number, max_occupants=self._max_occupants)

    def _room(self, key: str, room: ConferenceRoomSettings) -> ConfiguredRoom:
        where = f"conference.room.{key}"
        affiliations = dict.fromkeys(_addresses(f"{where}.members", room.members), Affiliation.MEMBER)
        affiliations |= dict.fromkeys(_addresses(f"{where}.admins", room.admins), Affiliation.ADMIN)
        affiliations |= dict.fromkeys(_addresses(f"{where}.owners", room.owners), Affiliation.OWNER)
        config = RoomConfig(
            title=room.title or key,
            description=room.description,
            password=room.secret() if room.sources else "",
            members_only=room.members_only,
            moderated=room.moderated,
            public=room.public,
            subject_by_all=room.subject == "participants",
            persistent=True,
            max_occupants=self._max_occupants,
            fixed=True,
        )
        return ConfiguredRoom(
            address=_address(where, f"{key}@{self.domain}"),
            number=room.number or key,
            config=config,
            affiliations=affiliations | self.owners,
            muc=_address(f"{where}.muc", room.muc) if room.muc else None,
        )


def _plain(number: str) -> str:
    """Return what all ways to write a number have in common: Asterisk skips hyphens; addresses have no capitals."""
    return number.replace("-", "").casefold()


def _addresses(where: str, texts: Iterable[str]) -> list[Jid]:
    return [_address(where, text) for text in texts]


def _address(where: str, text: str) -> Jid:
    try:
        return parse(text).bare
    except BadJid as error:
        raise ConfigError(f"{where}: {error}") from None
