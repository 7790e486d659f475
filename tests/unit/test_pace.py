from __future__ import annotations

import pytest

from agi_xmpp.pace import FIRST, STABLE, Pace
from tests.unit.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(10.0, clock, lambda: 1.0)


def test_the_first_attempt_waits_for_nothing(pace: Pace) -> None:
    assert pace.next_delay() == 0


def test_waiting_times_double_up_to_the_longest(pace: Pace) -> None:
    delays = [pace.next_delay() for _ in range(10)]
    assert delays == [0, FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, 16 * FIRST, 32 * FIRST, 10, 10, 10]


@pytest.mark.parametrize(("lived", "delay"), [(STABLE - 1, 4 * FIRST), (STABLE, FIRST), (STABLE + 1, FIRST)])
def test_only_a_session_that_lived_makes_them_short_again(pace: Pace, clock: Clock, lived: float, delay: float) -> None:
    for _ in range(3):
        pace.next_delay()
    pace.online()
    clock.now += lived
    assert pace.next_delay() == delay


def test_a_server_that_ends_every_session_at_once_is_not_dialled_in_a_hot_loop(pace: Pace, clock: Clock) -> None:
    dialled = 0
    while clock.now < 60:
        clock.now += pace.next_delay()
        dialled += 1
        pace.online()
        clock.now += 0.01  # then it ends the stream
    assert dialled <= 12


def test_a_long_outage_does_not_count_as_a_long_session(pace: Pace, clock: Clock) -> None:
    pace.next_delay()
    pace.online()
    clock.now += 1
    pace.next_delay()
    clock.now += 10 * STABLE
    assert pace.next_delay() == 2 * FIRST


def test_many_clients_do_not_come_back_at_one_moment(clock: Clock) -> None:
    factors = iter([0.8, 1.2, 1.2])
    pace = Pace(FIRST, clock, lambda: next(factors))
    assert pace.next_delay() == 0
    assert pace.next_delay() == pytest.approx(FIRST)  # never more than the longest
    spread = Pace(10.0, clock)
    spread.next_delay()
    assert 0.8 * FIRST <= spread.next_delay() <= 1.2 * FIRST
