"""Texts of phones on their way into a room elsewhere."""

from __future__ import annotations

import pytest

from agi_xmpp.features.conference.elsewhere.puppet_queue import (
    ATTEMPTS,
    HOLD_TIME,
    SENT_LIMIT,
    WAITING_LIMIT,
    PuppetQueue,
)


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> PuppetQueue:
    return PuppetQueue(clock)


def texts(queue: PuppetQueue) -> list[str]:
    """Return what waits, and let it go."""
    found = []
    while queue.first is not None:
        found.append(queue.first.text)
        queue.drop()
    return found


def test_they_keep_their_order(queue):
    for text in "abc":
        assert queue.add("c", "Alice", text)
    assert texts(queue) == ["a", "b", "c"]


def test_what_comes_back_takes_its_old_place(queue):
    for text in "abc":
        queue.add("c", "Alice", text)
    queue.sent("1")
    queue.sent("2")
    for id_ in "21":
        text = queue.returned(id_)
        assert text is not None
        assert queue.send_again(text)
    assert texts(queue) == ["a", "b", "c"]
    assert queue.returned("1") is None


def test_it_is_not_sent_for_ever(queue):
    queue.add("c", "Alice", "a")
    for attempt in range(1, ATTEMPTS + 1):
        queue.sent("1")
        text = queue.returned("1")
        assert text is not None
        assert queue.send_again(text) is (attempt < ATTEMPTS)


def test_what_was_reflected_does_not_come_back(queue):
    queue.add("c", "Alice", "a")
    queue.sent("1")
    queue.reflected("1")
    queue.reflected("of somebody else")
    assert queue.returned("1") is None
    assert queue.uncertain() == []


def test_what_was_not_is_uncertain_once(queue):
    queue.add("c", "Alice", "a")
    queue.sent("1")
    assert [text.text for text in queue.uncertain()] == ["a"]
    assert queue.uncertain() == []


def test_so_many_wait(queue):
    assert all(queue.add("c", "Alice", "a") for _ in range(WAITING_LIMIT))
    assert not queue.add("c", "Alice", "a")
    queue.drop()
    assert queue.add("c", "Alice", "a")


@pytest.mark.parametrize(("count", "known"), [(SENT_LIMIT - 1, True), (SENT_LIMIT, True), (SENT_LIMIT + 1, False)])
def test_so_many_are_remembered(queue, count, known):
    for id_ in range(count):
        queue.add("c", "Alice", "a")
        queue.sent(str(id_))
    assert (queue.returned("0") is not None) is known


@pytest.mark.parametrize(("passed", "late"), [(HOLD_TIME - 1, []), (HOLD_TIME, []), (HOLD_TIME + 1, ["a"])])
def test_so_long_they_wait(queue, clock, passed, late):
    queue.add("c", "Alice", "a")
    clock.time = passed
    queue.add("c", "Alice", "b")
    assert [text.text for text in queue.late()] == late
    assert texts(queue) == ["a", "b"][len(late) :]
