"""For how long rooms wait for their people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agi_xmpp.features.conference.rooms.returning import Returning, Side
from tests.unit.features.conference.house import ROMEO, House

OPEN = ["_[a-z]!"]


class Loop:
    """The clock of `Returning`: time passes when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Handle]] = []
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Handle:
        handle = Handle(call)
        self._due.append((self.now + seconds, handle))
        return handle

    def passes(self, seconds: float) -> None:
        self.now += seconds
        due = [handle for at, handle in self._due if at <= self.now]
        self._due = [(at, handle) for at, handle in self._due if at > self.now]
        for handle in due:
            if not handle.cancelled:
                handle.call()


class Handle:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


@pytest.fixture
def house() -> House:
    """Rooms after a restart; there was one, with Romeo in it."""
    before = House(rooms=OPEN)
    before.join(ROMEO, "verona/Romeo")
    return before.restarted(rooms=OPEN)


@pytest.fixture
def returning(house: House) -> Returning:
    return Returning(house.service, 900.0)


def found(returning: Returning) -> None:
    """Let both sides be in sight."""
    for side in Side:
        returning.found(side)


@pytest.mark.parametrize("first", Side)
def test_nothing_counts_before_both_sides_are_in_sight(loop, house, returning, first):
    loop.passes(1e6)
    returning.found(first)
    loop.passes(1e6)
    assert house.names == ["verona"]
    found(returning)
    loop.passes(899.0)
    assert house.names == ["verona"]
    loop.passes(1.0)
    assert house.names == []


@pytest.mark.parametrize("side", Side)
def test_a_break_of_either_side_begins_the_time_anew(loop, house, returning, side):
    found(returning)
    loop.passes(899.0)
    returning.lost(side)
    loop.passes(1e6)
    assert house.names == ["verona"]
    returning.found(side)
    loop.passes(899.0)
    assert house.names == ["verona"]
    loop.passes(1.0)
    assert house.names == []


def test_what_is_said_again_changes_nothing(loop, house, returning):
    found(returning)
    loop.passes(899.0)
    found(returning)
    loop.passes(1.0)
    assert house.names == []
    found(returning)
    house.join(ROMEO, "verona/Romeo")
    loop.passes(1e6)
    house.leave(ROMEO, "verona/Romeo")
    assert house.names == []


def test_what_is_said_again_does_not_count_beside(loop, house, returning):
    """Asterisk is asked for its lists each minute."""
    found(returning)
    loop.passes(60.0)
    returning.found(Side.PHONES)
    returning.lost(Side.CHAT)
    returning.found(Side.CHAT)
    loop.passes(899.0)
    assert house.names == ["verona"]


@pytest.mark.parametrize("side", Side)
def test_a_room_outlives_a_break_that_takes_all_its_people(loop, house, returning, side):
    found(returning)
    loop.passes(900.0)
    house.join(ROMEO, "verona/Romeo")
    returning.lost(side)
    returning.lost(side)
    house.leave(ROMEO, "verona/Romeo")
    assert house.names == ["verona"]
    returning.found(side)
    loop.passes(900.0)
    assert house.names == []


def test_other_settings_count_from_the_next_break_on(loop, house, returning):
    found(returning)
    returning.seconds = 1.0
    loop.passes(899.0)
    assert house.names == ["verona"]
    returning.lost(Side.CHAT)
    returning.found(Side.CHAT)
    loop.passes(1.0)
    assert house.names == []


def test_the_end_of_the_service_is_not_that_of_the_rooms(loop, house, returning):
    found(returning)
    returning.stop()
    returning.stop()
    loop.passes(1e6)
    assert house.names == ["verona"]
