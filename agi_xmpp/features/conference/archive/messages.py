"""The table that messages of rooms are kept in, and what can be asked of it. Plain SQL; `archive` has the thread."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLParser

from agi_xmpp.database import Layout, open_file
from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.model import Archived
from agi_xmpp.features.conference.stanzas import CLIENT

#: "AGIM" in ASCII, and the versions of the file; see `database.Layout`. ``row`` is the order of the messages: several
#: may have one ``stamp`` (milliseconds since 1970).
LAYOUT = Layout(
    0x4147494D,
    (
        "CREATE TABLE message (row INTEGER PRIMARY KEY, room TEXT NOT NULL, id TEXT NOT NULL, stamp INTEGER NOT NULL,"
        " nick TEXT NOT NULL, size INTEGER NOT NULL, xml TEXT NOT NULL)",
        "CREATE UNIQUE INDEX message_id ON message (room, id)",
        "CREATE INDEX message_page ON message (room, row, stamp, nick, size)",  # all that a page is found by
        "CREATE INDEX message_stamp ON message (stamp)",
    ),
)
#: Messages of one room, and characters of their stanzas, at the most; of more, the oldest go. A room that is written to
#: all day long does not fill the disk.
ROOM_MESSAGES = 100_000
ROOM_SIZE = 64 * 1024 * 1024
#: Messages, and characters of them, that are written until the rooms are next held to that.
TRIM_MESSAGES = 1000
TRIM_SIZE = 8 * 1024 * 1024
#: Characters of one page after which it ends: 100 messages may have 25 MiB.
PAGE_SIZE = 1024 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
#: The ends of what a column of numbers can hold.
_LEAST, _MOST = -(2**63), 2**63 - 1

# A message that is there already is not worth an error: ids are random.
_ADD = (
    "INSERT INTO message (room, id, stamp, nick, size, xml) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (room, id) DO NOTHING"
)
_TRIM = (
    "DELETE FROM message WHERE room = :room AND row <= (SELECT max(row) FROM (SELECT row, row_number() OVER newest"
    " AS number, sum(size) OVER newest AS total FROM message WHERE room = :room WINDOW newest AS (ORDER BY row DESC))"
    " WHERE number > :messages OR total > :size)"
)
_MATCH = (
    " FROM message WHERE room = :room AND row > :after AND row < :before AND stamp BETWEEN :start AND :end"
    " AND (:nicks IS NULL OR nick IN (SELECT value FROM json_each(:nicks)))"
    " AND (:rows IS NULL OR row IN (SELECT value FROM json_each(:rows)))"
)
_COUNT = "SELECT count(*), count(*) FILTER (WHERE row < :first)" + _MATCH
_FORWARD = "SELECT row, size" + _MATCH + " ORDER BY row LIMIT :limit"
_BACKWARD = "SELECT row, size" + _MATCH + " ORDER BY row DESC LIMIT :limit"


@dataclass(frozen=True, slots=True)
class Query:
    """Which messages of a room, and which page of them (XEP-0313 section 4, XEP-0059).

    Attributes:
        start, end: not sent before, not sent after.
        nicks: whose; None for all, empty for nobody's.
        after_id, before_id: only those after, and before, that message; "" for no limit.
        ids: only these; empty for all.
        max: messages of the page at the most.
        after: the page begins after that message; "" for the first page.
        before: the page ends before that message; "" for the last page. None: pages go forward.
    """

    start: datetime | None = None
    end: datetime | None = None
    nicks: frozenset[str] | None = None
    after_id: str = ""
    before_id: str = ""
    ids: frozenset[str] = frozenset()
    max: int = 50
    after: str = ""
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Messages that match a query.

    Attributes:
        messages: of this page, oldest first.
        count: of all pages.
        first_index: how many messages are on the pages before this one.
        complete: there are no more, in the direction in which the pages go.
        stable: nothing is still to be written that belongs here.
    """

    messages: tuple[Archived, ...] = ()
    count: int = 0
    first_index: int = 0
    complete: bool = True
    stable: bool = True


@dataclass(frozen=True, slots=True)
class Mark:
    """The oldest or the newest message of a room: its id, and when it was sent."""

    id: str
    stamp: datetime


@dataclass(frozen=True, slots=True)
class Add:
    """Keep a message; ``xml`` is its stanza as `element.serialise` writes it."""

    room: str
    id: str
    stamp: datetime
    nick: str
    xml: str

    @property
    def size(self) -> int:
        """Characters that it holds in memory, but for a few."""
        return len(self.xml)


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget all messages of a room."""

    room: str


@dataclass(frozen=True, slots=True)
class Expire:
    """Forget all messages that were sent before."""

    before: datetime


Change = Add | Forget | Expire


class MessageTable:
    """The messages of all rooms.

    Args:
        path: of the file; it is made if need be.

    Raises:
        ConfigError: the file cannot be used; the text says why, and what to do about it.
    """

    def __init__(self, path: Path) -> None:
        self._database = open_file(path, LAYOUT)
        # What is forgotten is overwritten in the file, too (https://sqlite.org/pragma.html#pragma_secure_delete).
        self._database.execute("PRAGMA secure_delete = ON")
        #: Rooms that were written to since they were last held to their limits, and how much.
        self._grown: set[str] = set()
        self._grown_messages = 0
        self._grown_size = 0

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(sqlite3.Error):  # the last commit has succeeded, or its error was raised
            self._database.close()

    def write(self, changes: Iterable[Change]) -> None:
        """Carry out changes in their order, all or none.

        Raises:
            sqlite3.Error: none was.
        """
        with self._database:
            for change in changes:
                self._carry_out(change)
            if self._grown_messages >= TRIM_MESSAGES or self._grown_size >= TRIM_SIZE:
                for room in self._grown:
                    self._database.execute(_TRIM, {"room": room, "messages": ROOM_MESSAGES, "size": ROOM_SIZE})
                self._grown.clear()
                self._grown_messages = self._grown_size = 0

    def _carry_out(self, change: Change) -> None:
        match change:
            case Add(room=room, id=id_, stamp=stamp, nick=nick, xml=xml):
                self._database.execute(_ADD, (room, id_, _floor(stamp), nick, change.size, xml))
                self._grown.add(room)
                self._grown_messages += 1
                self._grown_size += change.size
            case Forget(room=room):
                self._database.execute("DELETE FROM message WHERE room = ?", (room,))
            case Expire(before=before):
                self._database.execute("DELETE FROM message WHERE stamp < ?", (_floor(before),))

    def recent(self, room: str, count: int) -> list[Archived]:
        """Return the newest messages of a room, oldest first."""
        found = self._database.execute(
            "SELECT row FROM message WHERE room = ? ORDER BY row DESC LIMIT ?", (room, count)
        )
        return [self._message(row) for (row,) in reversed(found.fetchall())]

    def ends(self, room: str) -> tuple[Mark, Mark] | None:
        """Return the oldest and the newest message of a room; None if there are none."""
        ends = self._database.execute("SELECT min(row), max(row) FROM message WHERE room = ?", (room,)).fetchone()
        if ends[0] is None:
            return None
        oldest, newest = (self._message(row) for row in ends)
        return Mark(oldest.id, oldest.stamp), Mark(newest.id, newest.stamp)

    def page(self, room: str, query: Query) -> Page:
        """Return a page of what matches. It has fewer messages than asked for if they are large.

        Raises:
            Refused: ``item-not-found``: a message that the query names is not there, or no longer.
        """
        matching: dict[str, Any] = {
            "room": room,
            "after": self._row(room, query.after_id) if query.after_id else _LEAST,
            "before": self._row(room, query.before_id) if query.before_id else _MOST,
            "start": _LEAST if query.start is None else _ceiling(query.start),
            "end": _MOST if query.end is None else _floor(query.end),
            "nicks": None if query.nicks is None else json.dumps(sorted(query.nicks)),
            "rows": json.dumps([self._row(room, id_) for id_ in query.ids]) if query.ids else None,
        }
        on_page = matching | {"limit": query.max + 1}
        if query.after:
            on_page["after"] = max(matching["after"], self._row(room, query.after))
        if query.before:
            on_page["before"] = min(matching["before"], self._row(room, query.before))
        backward = query.before is not None
        found = self._database.execute(_BACKWARD if backward else _FORWARD, on_page).fetchall()
        rows = sorted(_fitting(found, query.max))
        first = rows[0] if rows else _LEAST
        count, first_index = self._database.execute(_COUNT, matching | {"first": first}).fetchone()
        return Page(tuple(self._message(row) for row in rows), count, first_index, len(rows) == len(found))

    def _row(self, room: str, id_: str) -> int:
        found = self._database.execute("SELECT row FROM message WHERE room = ? AND id = ?", (room, id_)).fetchone()
        if found is None:
            raise Refused("a message that you name is not in the archive, or no longer", "item-not-found")
        return int(found[0])

    def _message(self, row: int) -> Archived:
        found = self._database.execute("SELECT id, stamp, nick, xml FROM message WHERE row = ?", (row,)).fetchone()
        id_, stamp, nick, xml = found
        return Archived(id_, _EPOCH + stamp * _MILLISECOND, nick, parse(xml))


def parse(xml: str) -> Element:
    """Return the stanza that `element.serialise` wrote.

    Raises:
        ParseError: it did not write that.
    """
    parser = XMLParser()  # noqa: S314 - our own text, which has no entities: they are declared outside elements only
    parser.feed(f'<stored xmlns="{CLIENT}">{xml}</stored>')
    stored: Element = parser.close()
    if len(stored) != 1:
        raise ParseError("not one stanza")
    return stored[0]


def _floor(moment: datetime) -> int:
    """Return the milliseconds since 1970, rounded down."""
    return (moment - _EPOCH) // _MILLISECOND


def _ceiling(moment: datetime) -> int:
    return -((_EPOCH - moment) // _MILLISECOND)


def _fitting(found: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Return the rows that go on one page, at least one; found are pairs of a row and its size."""
    rows: list[int] = []
    total = 0
    for row, size in found[:count]:
        total += size
        if rows and total > PAGE_SIZE:
            break
        rows.append(row)
    return rows
