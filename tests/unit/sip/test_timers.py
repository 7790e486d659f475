"""What is to happen later."""

from __future__ import annotations

from functools import partial

from agi_xmpp.sip.timers import Timers
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
    clock.now = 2
    timers.run()
    assert done == ["a", "b", "c"]
    assert timers.next_at() == 3


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
