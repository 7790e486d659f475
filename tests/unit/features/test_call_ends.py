"""What is undone at the end of calls."""

from __future__ import annotations

import asyncio

import pytest

from agi_xmpp.ami.model import Message
from agi_xmpp.features import call_ends as module
from agi_xmpp.features.call_ends import CallEnds


class Undone:
    """Counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def hangup(uniqueid: str, event: str = "Hangup") -> Message:
    return {"Event": event, "Uniqueid": uniqueid}


@pytest.fixture
def ends() -> CallEnds:
    ends = CallEnds()
    ends.ami_connected()
    return ends


async def test_at_the_hangup_of_that_channel_and_of_no_other(ends: CallEnds) -> None:
    first, second, other = Undone(), Undone(), Undone()
    assert ends.add("1.1", first)
    assert ends.add("1.1", second)
    assert ends.add("1.2", other)
    ends.ami_event(hangup("1.1", "HangupRequest"))
    ends.ami_event(hangup("1.3"))
    assert (first.times, second.times, other.times) == (0, 0, 0)
    ends.ami_event(hangup("1.1"))
    ends.ami_event(hangup("1.1"))
    assert (first.times, second.times, other.times) == (1, 1, 0)
    ends.stop()


async def test_without_a_manager_connection_nobody_tells() -> None:
    ends, undo = CallEnds(), Undone()
    assert not ends.add("1.1", undo)
    ends.ami_connected()
    assert ends.add("1.1", undo)
    ends.ami_disconnected()
    assert undo.times == 1
    assert not ends.add("1.1", undo)


async def test_the_end_of_the_service(ends: CallEnds) -> None:
    undo = Undone()
    ends.add("1.1", undo)
    ends.stop()
    ends.stop()
    assert undo.times == 1


async def test_an_end_that_nobody_has_told_of(ends: CallEnds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.0)
    over = asyncio.Event()
    ends.add("1.1", over.set)
    async with asyncio.timeout(5):
        await over.wait()


async def test_the_limit(ends: CallEnds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 2)
    monkeypatch.setattr(module, "EACH", 2)
    assert ends.add("1", Undone())
    assert ends.add("1", Undone())
    assert not ends.add("1", Undone())
    assert ends.add("2", Undone())
    assert not ends.add("3", Undone())
    ends.ami_event(hangup("1"))
    assert ends.add("3", Undone())
    ends.stop()
