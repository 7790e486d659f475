"""How much one person may ask for."""

from __future__ import annotations

import pytest

from agi_xmpp.config import ContactsSettings
from agi_xmpp.errors import Refused
from agi_xmpp.features.contacts.limits import Limits
from agi_xmpp.xmpp.model import Jid
from tests.unit.clock import Clock

ANN = Jid("ann", "x.org", "phone")
ANN_AT_HOME = Jid("ann", "x.org", "home")
BOB = Jid("bob", "x.org", "phone")


def limits(clock: Clock, **settings: int) -> Limits:
    return Limits(ContactsSettings(account="pbx", **settings), clock)  # type: ignore[arg-type]


def refused(limits: Limits, who: Jid, addresses: int) -> str:
    with pytest.raises(Refused) as caught:
        limits.spend(who, addresses)
    assert caught.value.condition == "resource-constraint"
    return str(caught.value)


@pytest.mark.parametrize(("addresses", "fits"), [(0, True), (9, True), (10, True), (11, False)])
def test_one_request(addresses: int, fits: bool) -> None:
    the = limits(Clock(), max_addresses=10)
    if fits:
        the.spend(ANN, addresses)
    else:
        assert refused(the, ANN, addresses) == "more than 10 addresses in one request; ask for them in several"


def test_an_hour() -> None:
    clock = Clock()
    the = limits(clock, hourly=10)
    the.spend(ANN, 4)
    clock.now += 3599
    the.spend(ANN_AT_HOME, 6)
    assert refused(the, ANN, 1) == "more than 10 addresses within an hour; try again later"
    the.spend(BOB, 10)
    clock.now += 1
    the.spend(ANN, 10)


def test_a_day() -> None:
    clock = Clock()
    the = limits(clock, hourly=10, daily=15)
    the.spend(ANN, 10)
    clock.now += 3600
    the.spend(ANN, 5)
    assert "more than 15 addresses within a day" in refused(the, ANN, 1)
    clock.now += 82_799
    assert "a day" in refused(the, ANN, 1)
    clock.now += 1
    the.spend(ANN, 10)


def test_a_minute() -> None:
    clock = Clock()
    the = limits(clock, requests=2)
    the.spend(ANN, 1)
    the.spend(ANN, 0)
    assert "too many requests within a minute" in refused(the, ANN_AT_HOME, 1)
    the.spend(BOB, 1)
    clock.now += 60
    the.spend(ANN, 1)


def test_what_is_refused_does_not_count() -> None:
    the = limits(Clock(), hourly=10, requests=2)
    refused(the, ANN, 11)
    refused(the, ANN, 11)
    the.spend(ANN, 10)
    refused(the, ANN, 1)
    the.spend(ANN, 0)
