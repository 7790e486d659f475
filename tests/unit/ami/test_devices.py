from __future__ import annotations

import pytest

from agi_xmpp.ami.devices import Devices


def change(device: str, state: str) -> dict[str, str]:
    return {"Event": "DeviceStateChange", "Device": device, "State": state}


@pytest.fixture
def devices() -> Devices:
    return Devices(lambda device: device in ("PJSIP/101", "PJSIP/102"))


@pytest.mark.parametrize(
    ("state", "reachable"),
    [("UNAVAILABLE", False), ("INVALID", False), ("NOT_INUSE", True), ("INUSE", True), ("UNKNOWN", True), ("", True)],
)
def test_what_can_be_reached(devices, state, reachable):
    devices.feed(change("PJSIP/101", state))
    assert devices.state("PJSIP/101") == state
    assert devices.is_reachable("PJSIP/101") is reachable


def test_a_change_is_told_once(devices):
    assert devices.feed(change("PJSIP/101", "UNAVAILABLE")) == ["PJSIP/101"]
    assert devices.feed(change("PJSIP/101", "UNAVAILABLE")) == []
    assert devices.feed(change("PJSIP/101", "NOT_INUSE")) == ["PJSIP/101"]


def test_other_devices_and_other_events_leave_nothing_behind(devices):
    assert devices.feed(change("PJSIP/900", "INUSE")) == []
    assert devices.feed({"Event": "Newchannel", "Channel": "PJSIP/101-0"}) == []
    assert devices.feed({"Event": "DeviceStateChange"}) == []
    assert devices.state("PJSIP/900") == ""


def test_a_list_replaces_what_was_known(devices):
    devices.feed(change("PJSIP/101", "INUSE"))
    items = [{"Device": "PJSIP/102", "State": "UNAVAILABLE"}, {"Device": "Queue:sales", "State": "INUSE"}]
    assert devices.load(items) == ["PJSIP/101", "PJSIP/102"]
    assert (devices.state("PJSIP/101"), devices.state("PJSIP/102")) == ("", "UNAVAILABLE")
    assert devices.load(items) == []


def test_nothing_is_known_without_asterisk(devices):
    devices.feed(change("PJSIP/101", "UNAVAILABLE"))
    devices.clear()
    assert devices.is_reachable("PJSIP/101")
