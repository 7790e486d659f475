"""The words of the phone protocol: clients know these and no others."""

from __future__ import annotations

from agi_xmpp.xmpp.phone_model import ActionType, EventType, PhoneHost
from tests.unit.xmpp.phone_house import FakeHost


def test_the_vocabulary() -> None:
    assert list(EventType) == ["RING", "DIALED", "ON_PHONE", "HANG_UP"]
    assert list(ActionType) == ["DIAL", "FORWARD"]
    assert f"{EventType.RING}" == "RING"


def test_what_plays_the_host_in_tests_can_be_one() -> None:
    host: PhoneHost = FakeHost()
    assert host.has_phone("alice")
