"""What of rooms outlives a restart: rooms that somebody opened, and what people have set of all others. Pure.

Kept as JSON, one entry a room; nobody who is in is kept. An entry that cannot be read is dropped: the others, and the
start of the service, do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from agi_xmpp.errors import BadJid
from agi_xmpp.features.conference.model import Affiliation, RoomConfig
from agi_xmpp.features.phone.numbers import plain
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid


@dataclass(slots=True)
class KeptSubject:
    """A subject: its text, the nick of who set it, and when (UTC)."""

    text: str
    nick: str
    stamp: AwareDatetime


@dataclass(slots=True)
class KeptRoom:
    """A room as it is kept.

    Attributes:
        number: of the conference.
        config: of a room that somebody opened, to stay (``persistent``) or not; None where the settings have it.
        affiliations: by bare JID, as text.
        subject: None if there was none.
    """

    number: str
    config: RoomConfig | None = None
    affiliations: dict[str, Affiliation] = field(default_factory=dict)
    subject: KeptSubject | None = None

    @property
    def people(self) -> dict[Jid, Affiliation]:
        """The affiliations by prepared address.

        Raises:
            BadJid: what was kept is none.
        """
        return {parse(text).bare: affiliation for text, affiliation in self.affiliations.items()}


_ENTRY = TypeAdapter(KeptRoom)


class RoomsKept:
    """The table of rooms.

    Args:
        table: by the part of the room's address before the ``@``.
        note: is told of entries that had to be dropped.
    """

    def __init__(self, table: MutableMapping[str, str], note: Callable[[str], None]) -> None:
        self._table = table
        self._note = note

    def load(self) -> Iterator[tuple[str, KeptRoom]]:
        """Return what is kept: the part of the address before the ``@``, and the room."""
        for local in list(self._table):
            try:
                kept = _ENTRY.validate_json(self._table[local])
                _ = kept.people
            except (ValidationError, BadJid, RecursionError):
                # The text of the error would show what is kept, passwords among it.
                self._note(f"room {plain(local)}: what was kept of it cannot be read, and is forgotten")
                del self._table[local]
            else:
                yield local, kept

    def keep(
        self,
        address: Jid,
        number: str,
        config: RoomConfig | None,
        affiliations: Mapping[Jid, Affiliation],
        subject: tuple[str, str, datetime] | None,
    ) -> None:
        """Keep a room as it is now.

        Args:
            address: of the room.
            number: of its conference.
            config: None if the settings have it.
            affiliations: those that people have set.
            subject: text, nick of who set it, and when.
        """
        people = {str(jid): affiliation for jid, affiliation in affiliations.items()}
        room = KeptRoom(number, config, people, KeptSubject(*subject) if subject else None)
        self._table[address.local] = _ENTRY.dump_json(room).decode()

    def forget(self, address: Jid) -> None:
        """Keep nothing of a room any more."""
        self._table.pop(address.local, None)
