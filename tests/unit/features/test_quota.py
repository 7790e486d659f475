"""So much for each person within a time."""

from __future__ import annotations

import pytest

from agi_xmpp.features import quota as module
from agi_xmpp.features.quota import Quota
from agi_xmpp.xmpp.model import Jid
from tests.unit.clock import Clock

ANN = Jid("ann", "x.org")
BOB = Jid("bob", "x.org")


@pytest.mark.parametrize(("count", "fits"), [(0, True), (6, True), (7, True), (8, False)])
def test_what_is_left_can_be_had(count: int, fits: bool) -> None:
    quota = Quota(10, 60.0, Clock())
    quota.spend(ANN, 3)
    assert quota.allows(ANN, count) is fits


def test_each_has_their_own() -> None:
    quota = Quota(1, 60.0, Clock())
    quota.spend(ANN, 1)
    assert not quota.allows(ANN, 1)
    assert quota.allows(BOB, 1)


def test_the_period_begins_with_the_first() -> None:
    clock = Clock()
    quota = Quota(2, 60.0, clock)
    quota.spend(ANN, 1)
    clock.now += 59
    quota.spend(ANN, 1)
    assert not quota.allows(ANN, 1)
    clock.now += 1
    assert quota.allows(ANN, 2)


def test_there_is_an_end_to_who_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEOPLE", 10)
    quota = Quota(1, 60.0, Clock())
    for number in range(11):
        quota.spend(Jid(f"user{number}", "x.org"), 1)
    assert quota.allows(Jid("user0", "x.org"), 1), "the first was forgotten"
    assert not quota.allows(Jid("user10", "x.org"), 1)
