"""What of rooms outlives a restart."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from agi_xmpp.features.conference.model import Affiliation, RoomConfig
from agi_xmpp.features.conference.rooms.rooms_kept import KeptRoom, KeptSubject, RoomsKept
from agi_xmpp.xmpp.jid import parse

VERONA = parse("verona@conference.example.org")
WHEN = datetime(2026, 11, 21, 12, 0, 0, 250_000, UTC)


def test_what_is_kept_comes_back_as_it_was():
    table: dict[str, str] = {}
    config = RoomConfig("Verona — “fair”", "where we lay\nour scene", password="péx", persistent=True, max_occupants=5)
    people = {parse("romeo@example.org"): Affiliation.OWNER, parse("example.net"): Affiliation.OUTCAST}
    RoomsKept(table, print).keep(VERONA, "verona", config, people, ("Feud 😀", "Romeo", WHEN))
    [(local, kept)] = RoomsKept(table, print).load()
    assert local == "verona"
    assert kept.number == "verona"
    assert kept.config == config
    assert kept.people == people
    assert kept.subject == KeptSubject("Feud 😀", "Romeo", WHEN)


def test_of_a_room_of_the_settings_only_what_people_have_set_is_kept():
    table: dict[str, str] = {}
    RoomsKept(table, print).keep(VERONA, "1", None, {}, None)
    [(_, kept)] = RoomsKept(table, print).load()
    assert kept == KeptRoom("1")


def test_what_is_forgotten_does_not_come_back():
    table: dict[str, str] = {}
    kept = RoomsKept(table, print)
    kept.keep(VERONA, "1", None, {}, None)
    kept.forget(VERONA)
    kept.forget(VERONA)
    assert table == {}


WHOLE = {"number": "1", "config": {"title": "x", "password": "hush"}, "affiliations": {"a@b.org": "owner"}}


def damaged(**change: object) -> str:
    return json.dumps(WHOLE | change)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "hush",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        damaged(number=None),
        damaged(config={"password": "hush"}),
        damaged(config={"title": "x", "max_occupants": "hush"}),
        damaged(affiliations={"a@b.org": "hush"}),
        damaged(affiliations={"hush@": "owner"}),
        damaged(subject={"text": "hush", "nick": "x", "stamp": "hush"}),
        damaged(subject={"text": "hush", "nick": "x", "stamp": "2026-11-21T12:00:00"}),
    ],
)
def test_a_damaged_entry_is_dropped_and_the_others_are_not(entry):
    notes: list[str] = []
    table = {"broken": entry, "whole": json.dumps(WHOLE)}
    loaded = dict(RoomsKept(table, notes.append).load())
    assert list(loaded) == ["whole"]
    assert list(table) == ["whole"]
    [note] = notes
    assert "broken" in note
    assert "hush" not in note
