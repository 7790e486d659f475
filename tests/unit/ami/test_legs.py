"""What needs no events; the rest of the rules: test_calls.py."""

from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.ami.changes import How, Party, Phase
from agi_xmpp.ami.legs import EXPECT_TTL, SILENCE, Leg, LiveCall, Winner


def live(**changes: Any) -> LiveCall:
    basic: dict[str, Any] = {"incoming": False, "clicked": False, "began": 10.0, "all_refused": False}
    return LiveCall("c-1", "bob", "1", **basic | changes)


def leg(call: LiveCall, uid: str, **changes: Any) -> Leg:
    call.legs[uid] = Leg(uid, f"PJSIP/{uid}-1", f"PJSIP/{uid}", call, **changes)
    return call.legs[uid]


@pytest.mark.parametrize(
    ("changes", "cause", "taken", "how"),
    [
        ({"answered": 11.0, "incoming": True}, 26, True, How.TALKED),
        ({"clicked": True}, 17, False, How.UNPICKED),
        ({"clicked": True, "picked": True}, 17, False, How.BUSY),
        ({"incoming": True}, 16, False, How.MISSED),
        ({"incoming": True}, 16, True, How.ELSEWHERE),
        ({"incoming": True}, 26, False, How.ELSEWHERE),
        ({"incoming": True, "all_refused": True}, 26, False, How.REJECTED),
        ({"incoming": True, "moved": True}, 16, False, How.FORWARDED),
        ({"incoming": True, "moved": True}, 16, True, How.ELSEWHERE),
        ({"dial_status": "BUSY"}, 16, False, How.BUSY),
        ({"dial_status": "CHANUNAVAIL"}, 17, False, How.FAILED),
        ({"dial_status": "NOANSWER"}, 17, False, How.NO_ANSWER),
        ({"dial_status": "CANCEL"}, 3, False, How.NO_ANSWER),
        ({}, 16, False, How.NO_ANSWER),
        ({}, 3, False, How.FAILED),
        ({"dialling": {"2"}}, 3, False, How.NO_ANSWER),
    ],
)
def test_how_a_call_ended(changes, cause, taken, how):
    assert live(**changes).verdict(cause, taken=taken) is how


def test_the_leg_that_talks_is_shown_and_the_oldest_without_one():
    call = live(incoming=True)
    leg(call, "101")
    second = leg(call, "201")
    assert call.shown().device == "PJSIP/101"
    second.up = True
    assert call.shown().device == "PJSIP/201"


def test_who_dials_is_shown_with_the_phone_that_dials():
    call = live()
    leg(call, "101")
    leg(call, "201", up=True)
    assert call.shown().device == "PJSIP/101"


def test_the_caller_is_named_while_it_rings_only():
    call = live(incoming=True, phase=Phase.RINGING, source="PJSIP/900-1")
    leg(call, "101")
    assert call.shown().source == "PJSIP/900-1"
    call.phase = Phase.TALKING
    assert call.shown().source == ""


def test_when_time_changes_something():
    call = live(clicked=True)
    assert call.due() == 10.0 + EXPECT_TTL
    leg(call, "101")
    assert call.due() is None
    call.silent_since = 20.0
    assert call.due() == 20.0 + SILENCE


@pytest.mark.parametrize(
    ("since", "caller", "beaten"),
    [(1, "PJSIP/900-1", True), (5, "PJSIP/900-1", False), (0, "PJSIP/900-1", False), (1, "x", False), (1, "", True)],
)
def test_who_lost_a_race(since, caller, beaten):
    winner = Winner(Party("103"), "carol", "PJSIP/900-1", since=4)
    assert winner.beat(leg(live(), "101", since=since, caller=caller)) is beaten
