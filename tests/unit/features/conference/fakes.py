"""What stands in for the world round a room in tests."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element, fromstring

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.features.conference.model import Archived, ConferenceRoom, Invitation, Utterance
from agi_xmpp.xmpp.model import Jid


def stanza(text: str) -> Element:
    """Return the stanza that is written without its namespace: ``<message to='…'><body>hi</body></message>``."""
    return fromstring(re.sub(r"^<(\w+)", r"<\1 xmlns='jabber:client'", text.strip()))


def phone(name: str = "Alice A", number: str = "101", *, channel: str = "", muted: bool = False) -> Participant:
    """Return somebody on a phone."""
    channel = channel or f"PJSIP/{number}-00000001"
    return Participant(channel, f"1795245046.{number}", name, number, channel.rpartition("-")[0], muted)


class FakeOutside:
    """Keeps what a room or the service asks of the world.

    What is said is taken by the phones at once, unless ``patient`` is set: then it waits in ``said`` for the test to
    call ``room.spoken`` or ``room.not_spoken``.
    """

    def __init__(self) -> None:
        self.sent: list[Element] = []
        self.said: list[Utterance] = []
        self.whispered: list[tuple[str, Utterance]] = []
        self.kicked: list[str] = []
        self.muted: list[tuple[str, bool]] = []
        self.invited: list[tuple[Invitation, Element | None]] = []
        self.archived: list[tuple[Jid, Archived]] = []
        self.archive_queries: list[Element] = []
        self.forgotten: list[Jid] = []
        self.occupancy_changes: list[str] = []
        self.notes: list[str] = []
        self.locked: set[str] = set()
        self.time = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
        self.patient = False
        self.room: ConferenceRoom | None = None
        self._ids = 0

    def take(self) -> list[Element]:
        """Return what was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent

    def pass_time(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def send(self, stanza: Element) -> None:
        self.sent.append(stanza)

    def say(self, number: str, utterance: Utterance) -> None:
        self.said.append(utterance)
        if not self.patient and self.room is not None:
            self.room.spoken(utterance)

    def whisper(self, number: str, channel: str, utterance: Utterance) -> None:
        self.whispered.append((channel, utterance))

    def kick(self, number: str, channel: str) -> None:
        self.kicked.append(channel)

    def mute(self, number: str, channel: str, muted: bool) -> None:
        self.muted.append((channel, muted))

    def invite(self, number: str, invitation: Invitation, stanza: Element | None) -> None:
        self.invited.append((invitation, stanza))

    def archive(self, room: Jid, message: Archived) -> None:
        self.archived.append((room, message))

    def query_archive(self, room: Jid, stanza: Element) -> None:
        self.archive_queries.append(stanza)

    def forget_archive(self, room: Jid) -> None:
        self.forgotten.append(room)

    def occupancy_changed(self, number: str) -> None:
        self.occupancy_changes.append(number)

    def is_locked(self, number: str) -> bool:
        return number in self.locked

    def now(self) -> datetime:
        return self.time

    def new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    def note(self, text: str) -> None:
        self.notes.append(text)
