from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Archived
from agi_xmpp.features.conference.room.history import MAX_WEIGHT, History, HistoryRequest, requested
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.hall import ADDRESS

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def said(text: str, minutes_ago: int) -> Archived:
    message = stanzas.message(ADDRESS, None, "groupchat")
    stanzas.add(message, stanzas.CLIENT, "body", text)
    return Archived(text, NOON - timedelta(minutes=minutes_ago), "Romeo", message)


@pytest.fixture
def history():
    history = History(3)
    for number, text in enumerate(("one", "two", "three", "four")):
        history.add(said(text, 10 * (4 - number)))
    return history


def shown(history: History, request: HistoryRequest) -> list[str]:
    return [message.id for message in history.select(request, NOON)]


def join(history: str) -> HistoryRequest:
    return requested(stanza(f"<presence><x xmlns='http://jabber.org/protocol/muc'>{history}</x></presence>"))


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("", ["two", "three", "four"]),
        ("<history/>", ["two", "three", "four"]),
        ("<history maxstanzas='2'/>", ["three", "four"]),
        ("<history maxstanzas='0'/>", []),
        ("<history maxstanzas='99'/>", ["two", "three", "four"]),
        ("<history maxchars='0'/>", []),
        ("<history maxchars='100000'/>", ["two", "three", "four"]),
        ("<history seconds='1199'/>", ["four"]),
        ("<history seconds='1200'/>", ["three", "four"]),
        ("<history seconds='0'/>", []),
        ("<history since='2026-11-21T11:40:00Z'/>", ["three", "four"]),
        ("<history since='2026-11-21T11:40:00.001Z'/>", ["four"]),
        ("<history since='2026-11-21T13:40:00+02:00'/>", ["three", "four"]),
        ("<history since='2026-11-21T11:45:00Z' seconds='86400'/>", ["four"]),
        ("<history seconds='700' maxstanzas='5' since='1970-01-01T00:00:00Z'/>", ["four"]),
        # What makes no sense counts as not said.
        ("<history maxstanzas='-1' maxchars='many' seconds='²' since='noon'/>", ["two", "three", "four"]),
        ("<history seconds='99999999999999999999'/>", ["two", "three", "four"]),
        ("<history seconds='999999999'/>", ["two", "three", "four"]),
    ],
)
def test_who_joins_gets_what_they_ask_for(history, asked, got):
    assert shown(history, join(asked)) == got


def test_characters_are_those_of_whole_stanzas_not_of_bodies(history):
    weight = stanzas.weight(next(iter(history)).stanza)
    assert shown(history, HistoryRequest(characters=weight)) == []  # "four" is one longer than "two"
    assert shown(history, HistoryRequest(characters=weight + 1)) == ["four"]


def test_a_history_of_none_keeps_none():
    history = History(0)
    history.add(said("one", 1))
    assert list(history) == []


def test_long_messages_push_more_out_than_short_ones():
    history = History(100)
    history.add(said("short", 3))
    history.add(said("y" * (MAX_WEIGHT // 2), 2))
    assert len(list(history)) == 2
    history.add(said("z" * (MAX_WEIGHT // 2), 1))
    assert [message.id[0] for message in history] == ["z"]


def test_a_history_can_become_shorter_and_longer():
    history = History(2)
    for name in ("one", "two"):
        history.add(said(name, 1))
    history.resize(1)
    assert [stanzas.body_of(message.stanza) for message in history] == ["two"]
    history.resize(3)
    for name in ("three", "four", "five"):
        history.add(said(name, 1))
    assert [stanzas.body_of(message.stanza) for message in history] == ["three", "four", "five"]


def test_a_history_can_be_forgotten(history):
    history.clear()
    assert list(history) == []
    history.add(said("new", 0))
    assert len(list(history)) == 1
