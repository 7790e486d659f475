"""What is to happen later."""

from __future__ import annotations

from functools import partial

import pytest

from agi_xmpp.sip.timers import LATE, Timers
from tests.unit.clock import Clock


def test_all_that_is_due_happens_in_its_order():
    clock = Clock(0)
    done: list[str] = []
    timers = Timers(clock)
    for seconds, name in ((2, "b"), (1, "a"), (2, "c"), (3, "d")):
        timers.after(seconds, partial(done.append, name))
    assert timers.next_at() == 1
    timers.run()
    assert done == []
    clock.now = 1
    timers.run()
    assert done == ["a"]
    clock.now = 2
    timers.run()
    assert done == ["a", "b", "c"]
    assert timers.next_at() == 3


@pytest.mark.parametrize(("late", "counts"), [(LATE / 2, True), (LATE, True), (1.5 * LATE, False), (1000.0, False)])
def test_what_nobody_could_do_in_time_has_time_left(late, counts):
    clock = Clock(0.0)
    done: list[float] = []
    timers = Timers(clock)
    for seconds in (1.0, 3.0):
        timers.after(seconds, partial(done.append, seconds))
    clock.now = 1 + late
    timers.run()
    assert done == [1.0]
    assert timers.next_at() == (3 if counts else pytest.approx(3 + late))
    timers.after(1.0, lambda: None)
    assert timers.next_at() == pytest.approx(2 + late)
    clock.now = 4 + late
    timers.run()


def test_what_was_cancelled_does_not_happen():
    clock, done = Clock(0), []
    timers = Timers(clock)
    timer = timers.after(1, lambda: done.append(1))
    timer.cancel()
    timer.cancel()
    assert timer.cancelled
    assert timers.next_at() is None
    clock.now = 2
    timers.run()
    timer.run()
    assert done == []


def test_what_is_set_meanwhile_happens_when_it_is_due():
    clock, done = Clock(0), []
    timers = Timers(clock)

    def both():
        timers.after(0, lambda: done.append("now"))
        timers.after(1, lambda: done.append("later"))

    timers.after(1, both)
    clock.now = 1
    timers.run()
    assert done == ["now"]
    assert timers.next_at() == 2


def test_one_may_cancel_another_that_is_due():
    clock, done = Clock(0), []
    timers = Timers(clock)
    timers.after(1, lambda: second.cancel())
    second = timers.after(1, lambda: done.append(2))
    clock.now = 1
    timers.run()
    assert done == []
