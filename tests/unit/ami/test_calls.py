"""The call model: each rule by itself, then random calls. Recorded calls: test_recordings.py."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agi_xmpp.ami.calls import (
    EXPECT_TTL,
    PAST,
    SILENCE,
    Answered,
    Call,
    Calls,
    Change,
    Dialled,
    Ended,
    How,
    Party,
    Phase,
    Rang,
    Restored,
    Updated,
    device_of,
)
from agi_xmpp.ami.legs import LiveCall
from tests.unit.ami.pbx import Channel, Event, Pbx
from tests.unit.ami.recordings import read
from tests.unit.ami.watch import Watch, is_empty

OWNERS = {
    "PJSIP/101": "alice",
    "PJSIP/201": "alice",
    "PJSIP/102": "bob",
    "PJSIP/103": "carol",
    "PJSIP/104": "dave",
}
ALICE, BOB, CAROL, DAVE = Party("101", "Alice"), Party("102", "Bob"), Party("103", "Carol"), Party("104", "Dave")
STATUSES = {
    name: [event for _, event in trace.events] for name, trace in read(Path(__file__).with_name("statuses.txt")).items()
}


Kind = TypeVar("Kind", Rang, Dialled, Answered, Updated, Restored, Ended)


class Desk:
    """A model with its clock, watched."""

    def __init__(self, owners: dict[str, str] | None = None) -> None:
        self.now = 100.0
        owned = OWNERS if owners is None else owners
        self.calls = Calls(lambda device: owned.get(device, ""), lambda: self.now)
        self.watch = Watch()
        self.pbx = Pbx()

    def take(self, changes: list[Change]) -> list[Change]:
        self.watch.take(changes)
        self.watch.agrees(self.calls)
        return changes

    def feed(self, events: Iterable[Event]) -> list[Change]:
        return [change for event in events for change in self.take(self.calls.feed(event))]

    def tick(self) -> list[Change]:
        return self.take(self.calls.tick())

    def resync(self, meanwhile: Iterable[Event] = (), statuses: list[Event] | None = None) -> list[Change]:
        """Take a Status of the exchange as it is; ``meanwhile`` comes while it is on its way."""
        self.calls.begin_resync()
        events = list(meanwhile)
        assert [self.calls.feed(event) for event in events] == [[]] * len(events)
        return self.take(self.calls.resync(self.pbx.statuses() if statuses is None else statuses))

    def rings(self, source: str = "PJSIP/101", *dest: str) -> tuple[Channel, list[Channel], list[Change]]:
        """A phone calls one or more, which ring."""
        caller, events = self.pbx.calls(source, "610" if len(dest) > 1 else dest[0].partition("/")[2])
        rung = []
        for device in dest:
            channel, more = self.pbx.dials(caller, device)
            rung.append(channel)
            events += more
        return caller, rung, self.feed(events)

    def talk(self, source: str = "PJSIP/101", dest: str = "PJSIP/102") -> tuple[Channel, Channel]:
        """Two phones talk."""
        caller, [callee], _ = self.rings(source, dest)
        self.feed(self.pbx.answers(caller, callee))
        return caller, callee


@pytest.fixture
def desk() -> Desk:
    return Desk()


def kinds(changes: Iterable[Change], owner: str = "") -> list[type]:
    return [type(change) for change in changes if owner in ("", change.call.owner)]


def ends(changes: Iterable[Change]) -> dict[str, How]:
    return {change.call.owner: change.how for change in changes if isinstance(change, Ended)}


def the(changes: Iterable[Change], kind: type[Kind]) -> Kind:
    """Return the only change of a kind."""
    [found] = [change for change in changes if isinstance(change, kind)]
    return found


# Names


@pytest.mark.parametrize(
    ("channel", "device"),
    [
        ("PJSIP/101-0000002a", "PJSIP/101"),
        ("PJSIP/front-desk-0000002a", "PJSIP/front-desk"),
        ("PJSIP/101-0000002a<ZOMBIE>", "PJSIP/101"),
        ("PJSIP/101-0000002a<MASQ>", "PJSIP/101"),
        ("Local/102@internal-00000000;1", "Local/102@internal"),
        ("DAHDI/i1/5551234-1", "DAHDI/i1/5551234"),
        ("PJSIP/101", "PJSIP/101"),
        ("", ""),
    ],
)
def test_a_channel_names_its_device(channel, device):
    assert device_of(channel) == device


@pytest.mark.parametrize(("status", "rang"), [("RINGING", True), ("PROGRESS", False), ("PROCEEDING", False)])
def test_whether_the_phone_that_was_called_rang(desk, status, rang):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    state = {"Event": "DialState", **caller.headers(), **callee.headers("Dest"), "DialStatus": status}
    assert desk.feed([state]) == []
    assert [call.rang for call in desk.calls.all()] == [rang, rang]


@pytest.mark.parametrize(("status", "dial_status"), [("NOANSWER", "NOANSWER"), ("CANCEL", "CANCEL")])
def test_an_end_says_when_it_was_and_what_dial_said(desk, status, dial_status):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    desk.feed(desk.pbx.dial_end(caller, callee, status))
    desk.now = 118.0
    ended = the(desk.feed(desk.pbx.hangup(callee, 0)), Ended)
    assert (ended.at, ended.dial_status, ended.how) == (118.0, dial_status, How.MISSED)


def test_a_party_is_true_if_anything_is_known():
    assert not Party()
    assert Party("101")
    assert Party(name="Ann")


@pytest.mark.parametrize(
    ("number", "name", "party"),
    [
        ("<unknown>", "<unknown>", Party()),
        ("", "", Party()),
        ("101", "101", Party("101")),
        ("101", "<unknown>", Party("101")),
        ("<unknown>", "Ann", Party(name="Ann")),
        ("101", "Ann", Party("101", "Ann")),
    ],
)
def test_what_is_unknown_is_empty_and_a_number_is_no_name(desk, number, name, party):
    caller, events = desk.pbx.calls("Trunk/x", "102")
    caller.number, caller.person = number, name
    _, more = desk.pbx.dials(caller, "PJSIP/102")
    assert the(desk.feed([*events, *more]), Rang).call.party == party


def test_a_queue_does_not_know_the_connected_line_when_it_rings(desk):
    caller, events = desk.pbx.calls("PJSIP/101", "620")
    callee, more = desk.pbx.dials(caller, "PJSIP/102")
    begin = next(event for event in more if event["Event"] == "DialBegin")
    begin |= {"DestConnectedLineNum": "<unknown>", "DestConnectedLineName": "<unknown>"}
    assert (
        the(desk.feed([*events, begin | {"Event": "Newchannel", **callee.headers()}, begin]), Rang).call.party == ALICE
    )


# One call


def test_a_call_has_one_id_for_both_and_says_where_it_is(desk):
    caller, [callee], changes = desk.rings("PJSIP/101", "PJSIP/102")
    dialled, rang = the(changes, Dialled).call, the(changes, Rang).call
    assert dialled.id == rang.id == f"c-{caller.uid}"
    assert dialled == Call(
        id=dialled.id,
        owner="alice",
        phase=Phase.DIALLING,
        incoming=False,
        clicked=False,
        device="PJSIP/101",
        party=BOB,
        channel=caller.name,
        began=100.0,
        linkedid=caller.uid,
    )
    assert rang == Call(
        id=rang.id,
        owner="bob",
        phase=Phase.RINGING,
        incoming=True,
        clicked=False,
        device="PJSIP/102",
        party=ALICE,
        channel=callee.name,
        source=caller.name,
        began=100.0,
        linkedid=caller.uid,
    )
    desk.now = 104.0
    changes = desk.feed(desk.pbx.answers(caller, callee))
    assert kinds(changes) == [Answered, Answered]
    assert {change.call.answered for change in changes} == {104.0}
    assert desk.calls.of("bob")[0].source == ""
    assert desk.calls.is_busy("alice")
    assert not desk.calls.is_busy("carol")
    changes = desk.feed(desk.pbx.hangup(callee) + desk.pbx.hangup(caller))
    assert ends(changes) == {"bob": How.TALKED, "alice": How.TALKED}
    assert all(change.cause == 16 for change in changes)
    assert is_empty(desk.calls)


@pytest.mark.parametrize("ringing_first", [True, False])
def test_newstate_ringing_comes_before_or_after_dial_begin(desk, ringing_first):
    caller, events = desk.pbx.calls("PJSIP/101", "102")
    _, more = desk.pbx.dials(caller, "PJSIP/102", ringing_first=ringing_first)
    assert kinds(desk.feed([*events, *more]), "bob") == [Rang]


def test_a_phone_that_is_up_before_dial_begin_does_not_ring_any_more(desk):
    caller, events = desk.pbx.calls("PJSIP/101", "102")
    callee, (new, line, begin, _) = desk.pbx.dials(caller, "PJSIP/102")
    assert kinds(desk.feed([*events, new, line, *desk.pbx.up(callee), begin]), "bob") == [Answered]


def test_finding_is_for_the_owner_only(desk):
    desk.talk()
    [call] = desk.calls.of("bob")
    assert desk.calls.find(call.id, "bob") == call
    assert desk.calls.find(call.id, "alice") == desk.calls.of("alice")[0]
    assert desk.calls.find(call.id, "carol") is None
    assert desk.calls.find("c-unknown", "bob") is None


def test_channels_of_nobody_leave_nothing():
    desk = Desk({})
    caller, callee = desk.talk()
    assert is_empty(desk.calls)
    assert desk.feed(desk.pbx.hangup(caller) + desk.pbx.hangup(callee)) == []


def test_events_that_say_nothing_are_ignored(desk):
    for event in ({}, {"Event": "Cdr"}, {"Event": "DialState"}, {"Event": "UserEvent", "UserEvent": "x"}):
        assert desk.calls.feed(event) == []


def test_events_of_a_channel_whose_beginning_we_did_not_see_are_ignored(desk):
    caller = desk.pbx.channel("PJSIP/101", "Ring", "102")
    assert desk.feed([*desk.pbx.up(caller), *desk.pbx.joins("b", caller), *desk.pbx.hangup(caller)]) == []
    assert is_empty(desk.calls)


# How a call ends for who was called


@pytest.mark.parametrize(
    ("status", "cause", "how"),
    [
        ("BUSY", 17, How.REJECTED),
        ("BUSY", 0, How.REJECTED),
        ("CANCEL", 21, How.REJECTED),
        ("NOANSWER", 0, How.MISSED),
        ("CANCEL", 127, How.MISSED),
        ("CANCEL", 17, How.MISSED),
        ("NOANSWER", 17, How.MISSED),
        ("CONGESTION", 34, How.MISSED),
        ("CANCEL", 26, How.ELSEWHERE),
    ],
)
def test_how_a_call_ends_that_nobody_took(desk, status, cause, how):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    changes = desk.feed(desk.pbx.dial_end(caller, callee, status) + desk.pbx.hangup(callee, cause))
    assert ends(changes) == {"bob": how}
    ended = the(changes, Ended)
    assert (ended.by, ended.owner, ended.cause) == (Party(), "", cause)


def test_a_timeout_has_no_dial_end(desk):
    channel, events = desk.pbx.originate("PJSIP/101")
    assert ends(desk.feed([*events, *desk.pbx.hangup(channel, 19)])) == {"alice": How.MISSED}


def test_a_group_says_who_took_it(desk):
    caller, [bob, carol], _ = desk.rings("PJSIP/101", "PJSIP/102", "PJSIP/103")
    changes = desk.feed(
        desk.pbx.dial_end(caller, bob, "CANCEL") + desk.pbx.answers(caller, carol) + desk.pbx.hangup(bob, 26)
    )
    ended = the(changes, Ended)
    assert (ended.call.owner, ended.how, ended.by, ended.owner) == ("bob", How.ELSEWHERE, CAROL, "carol")


def test_a_group_says_who_took_it_also_if_that_phone_is_nobodys():
    desk = Desk({"PJSIP/102": "bob"})
    caller, [bob, carol], _ = desk.rings("PJSIP/101", "PJSIP/102", "PJSIP/103")
    ended = the(desk.feed(desk.pbx.answers(caller, carol) + desk.pbx.hangup(bob, 26)), Ended)
    assert (ended.how, ended.by, ended.owner) == (How.ELSEWHERE, CAROL, "")


def test_who_refused_before_somebody_else_took_it_has_rejected(desk):
    caller, [bob, carol], _ = desk.rings("PJSIP/101", "PJSIP/102", "PJSIP/103")
    refused = desk.pbx.dial_end(caller, bob, "BUSY") + desk.pbx.hangup(bob, 17)
    assert ends(desk.feed(refused + desk.pbx.answers(caller, carol))) == {"bob": How.REJECTED}


def test_a_winner_of_an_earlier_ring_does_not_count(desk):
    caller, callee = desk.talk()
    carol, events = desk.pbx.dials(caller, "PJSIP/103")
    changes = desk.feed([*desk.pbx.hangup(callee), *events, *desk.pbx.hangup(carol, 127)])
    assert ends(changes) == {"bob": How.TALKED, "carol": How.MISSED}


def test_a_winner_of_another_callers_ring_does_not_count(desk):
    # Two dials at the same time in one conversation: the callee's consultation, and the caller's own.
    caller, callee = desk.talk()
    carol, ringing = desk.pbx.dials(caller, "PJSIP/103")
    dave, more = desk.pbx.dials(callee, "PJSIP/104")
    changes = desk.feed([*ringing, *more, *desk.pbx.answers(callee, dave), *desk.pbx.hangup(carol, 127)])
    assert ends(changes) == {"carol": How.MISSED}


def test_two_phones_ring_once_and_both_must_refuse(desk):
    caller, [desk_phone, mobile], changes = desk.rings("PJSIP/102", "PJSIP/101", "PJSIP/201")
    assert kinds(changes, "alice") == [Rang]
    changes = desk.feed(desk.pbx.dial_end(caller, desk_phone, "BUSY") + desk.pbx.hangup(desk_phone, 17))
    assert kinds(changes) == [Updated]
    assert the(changes, Updated).call.device == "PJSIP/201"
    changes = desk.feed(desk.pbx.dial_end(caller, mobile, "BUSY") + desk.pbx.hangup(mobile, 17))
    assert ends(changes) == {"alice": How.REJECTED}


def test_one_phone_that_refuses_and_one_that_rings_out_is_a_missed_call(desk):
    _, [desk_phone, mobile], _ = desk.rings("PJSIP/102", "PJSIP/101", "PJSIP/201")
    changes = desk.feed(desk.pbx.hangup(desk_phone, 17) + desk.pbx.hangup(mobile, 0))
    assert ends(changes) == {"alice": How.MISSED}


def test_the_phone_that_talks_is_shown(desk):
    caller, [desk_phone, mobile], _ = desk.rings("PJSIP/102", "PJSIP/101", "PJSIP/201")
    changes = desk.feed(desk.pbx.answers(caller, mobile) + desk.pbx.hangup(desk_phone, 26))
    assert kinds(changes, "alice") == [Answered]
    call = next(change.call for change in changes if change.call.owner == "alice")
    assert (call.device, call.channel) == ("PJSIP/201", mobile.name)


def test_a_redirected_caller_is_sent_on(desk):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    caller.exten = "103"
    changes = desk.feed(desk.pbx.dial_end(caller, callee, "CANCEL") + desk.pbx.hangup(callee))
    assert ends(changes) == {"bob": How.FORWARDED}


def test_a_phone_that_forwards_by_itself_sends_on(desk):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    changes = desk.feed(desk.pbx.dial_end(caller, callee, "CANCEL", Forward="103@internal") + desk.pbx.hangup(callee))
    assert ends(changes) == {"bob": How.FORWARDED}


def through_local(desk: Desk, source: str, dest: str) -> tuple[Channel, Channel, Channel, Channel, list[Change]]:
    """A phone calls another through a pair of Local channels."""
    caller, events = desk.pbx.calls(source, "600")
    local = "Local/102@internal"
    one = desk.pbx.channel(local, "Down", "600", caller.uid)
    two = desk.pbx.channel(local, "Ring", "102", caller.uid)
    name = one.name
    one.name, two.name = f"{name};1", f"{name};2"
    two.number, two.person = caller.number, caller.person
    events += [desk.pbx.event("Newchannel", one), desk.pbx.event("Newchannel", two)]
    events += [{"Event": "DialBegin", **caller.headers(), **one.headers("Dest")}]
    callee, more = desk.pbx.dials(two, dest)
    return caller, one, two, callee, desk.feed([*events, *more])


def test_a_local_channel_is_never_the_source(desk):
    caller, one, two, callee, changes = through_local(desk, "PJSIP/101", "PJSIP/102")
    assert the(changes, Rang).call.source == caller.name
    assert the(changes, Rang).call.party == ALICE
    desk.feed(
        desk.pbx.hangup(one, 26) + desk.pbx.hangup(two, 26) + desk.pbx.hangup(callee, 26) + desk.pbx.hangup(caller)
    )
    assert is_empty(desk.calls)


def test_a_redirected_caller_is_sent_on_through_local_channels_too(desk):
    caller, one, two, callee, _ = through_local(desk, "PJSIP/101", "PJSIP/102")
    caller.exten = "103"
    changes = desk.feed(
        desk.pbx.dial_end(caller, one, "CANCEL")
        + desk.pbx.hangup(one)
        + desk.pbx.dial_end(two, callee, "CANCEL")
        + desk.pbx.hangup(two)
        + desk.pbx.hangup(callee)
    )
    assert ends(changes) == {"bob": How.FORWARDED}


def test_a_picked_up_call_says_by_whom(desk):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    picker, events = desk.pbx.calls("PJSIP/103", "*8")
    pickup = desk.pbx.event("Pickup", picker, TargetChannel=callee.name, TargetLinkedid=callee.linkedid)
    changes = desk.feed([*events, *desk.pbx.connects(picker, caller), *desk.pbx.up(picker), pickup])
    assert the(changes, Answered).call.party == ALICE
    ended = the(desk.feed(desk.pbx.hangup(callee)), Ended)
    assert (ended.how, ended.by, ended.owner) == (How.ELSEWHERE, CAROL, "carol")


# How a call ends for who called


@pytest.mark.parametrize(
    ("status", "cause", "how"),
    [
        ("BUSY", 17, How.BUSY),
        ("BUSY", 16, How.BUSY),
        ("NOANSWER", 17, How.NO_ANSWER),
        ("NOANSWER", 19, How.NO_ANSWER),
        ("CANCEL", 127, How.NO_ANSWER),
        ("CANCEL", 17, How.BUSY),
        ("CONGESTION", 34, How.FAILED),
        ("CHANUNAVAIL", 20, How.FAILED),
    ],
)
def test_how_ones_own_call_ends(desk, status, cause, how):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    events = desk.pbx.dial_end(caller, callee, status) + desk.pbx.hangup(callee) + desk.pbx.hangup(caller, cause)
    assert ends(desk.feed(events))["alice"] == how


@pytest.mark.parametrize(
    ("cause", "how"), [(34, How.FAILED), (1, How.FAILED), (17, How.BUSY), (0, How.NO_ANSWER), (127, How.NO_ANSWER)]
)
def test_how_ones_own_call_ends_that_dialled_nothing(desk, cause, how):
    caller, events = desk.pbx.calls("PJSIP/101", "999")
    assert ends(desk.feed(events + desk.pbx.hangup(caller, cause))) == {"alice": how}


def test_what_was_dialled_may_still_ring_when_the_caller_is_gone(desk):
    caller, [_], _ = desk.rings("PJSIP/101", "PJSIP/102")
    assert ends(desk.feed(desk.pbx.hangup(caller, 34))) == {"alice": How.NO_ANSWER}


# The other side


def test_an_announcement_is_a_conversation_with_its_number(desk):
    caller, events = desk.pbx.calls("PJSIP/101", "630")
    changes = desk.feed(events + desk.pbx.up(caller))
    assert kinds(changes) == [Answered]
    assert the(changes, Answered).call.party == Party("630")


def test_special_extensions_are_no_number(desk):
    caller, events = desk.pbx.calls("PJSIP/101", "s")
    assert the(desk.feed(events + desk.pbx.up(caller)), Answered).call.party == Party()


def test_a_dial_from_an_extension_without_number_shows_what_is_dialled(desk):
    caller, events = desk.pbx.calls("PJSIP/101", "102")
    desk.feed(events)
    caller.exten = "s"  # a subroutine: Gosub, or macro of old
    _, events = desk.pbx.dials(caller, "PJSIP/102")
    assert the(desk.feed(events), Dialled).call.party == BOB


def test_a_transfer_changes_the_other_side_and_nothing_else(desk):
    caller, callee = desk.talk()
    caller.exten = "103"
    carol, events = desk.pbx.dials(caller, "PJSIP/103")
    changes = desk.feed([*desk.pbx.hangup(callee), *events, *desk.pbx.answers(caller, carol)])
    assert kinds(changes, "alice") == [Updated]
    assert desk.calls.of("alice")[0].party == CAROL
    assert kinds(changes, "carol") == [Rang, Answered]
    assert {call.id for call in desk.calls.all()} == {f"c-{caller.uid}"}


def test_a_transfer_back_is_another_call(desk):
    caller, callee = desk.talk()
    desk.feed(desk.pbx.hangup(callee))
    for times in (2, 3):
        again, events = desk.pbx.dials(caller, "PJSIP/102")
        rang = the(desk.feed(events), Rang)
        assert rang.call.id == f"c-{caller.uid}-{times}"
        desk.feed(desk.pbx.hangup(again))


def test_who_talks_and_is_called_again_has_two_calls(desk):
    caller, callee = desk.talk("PJSIP/102", "PJSIP/101")
    mobile, events = desk.pbx.dials(caller, "PJSIP/201")
    changes = desk.feed(events)
    assert kinds(changes, "alice") == [Rang]
    assert [call.id for call in desk.calls.of("alice")] == [f"c-{caller.uid}", f"c-{caller.uid}-2"]
    assert ends(desk.feed(desk.pbx.hangup(callee))) == {"alice": How.TALKED}
    assert not desk.calls.is_busy("alice")
    assert kinds(desk.feed(desk.pbx.answers(caller, mobile)), "alice") == [Answered]


def test_a_changed_linkedid_is_the_same_call(desk):
    one, two = desk.talk("PJSIP/101", "PJSIP/102")
    three, four = desk.talk("PJSIP/102", "PJSIP/103")
    before = desk.calls.of("carol")[0].id
    four.linkedid = one.linkedid  # REFER with Replaces
    changes = desk.feed([*desk.pbx.joins("new", one, four), *desk.pbx.connects(four, one)])
    assert the(changes, Updated).call.id == before
    assert the(changes, Updated).call.party == ALICE
    changes = desk.feed([event for channel in (two, three, four, one) for event in desk.pbx.hangup(channel)])
    assert [change.call.id for change in changes if change.call.owner == "carol"] == [before]
    assert is_empty(desk.calls)


def test_an_empty_connected_line_is_no_news(desk):
    caller, _ = desk.talk()
    caller.connected = caller.connected_name = ""
    assert desk.feed([desk.pbx.event("NewConnectedLine", caller)]) == []
    assert desk.calls.of("alice")[0].party == BOB


# Hold


def test_hold_is_seen_from_both_sides(desk):
    _, callee = desk.talk()
    changes = desk.feed([desk.pbx.event("Hold", callee)])
    assert [(change.call.owner, change.call.held) for change in changes] == [("bob", True), ("alice", True)]
    assert desk.feed([desk.pbx.event("Hold", callee)]) == []
    changes = desk.feed([desk.pbx.event("Unhold", callee)])
    assert [(change.call.owner, change.call.held) for change in changes] == [("bob", False), ("alice", False)]


def test_hold_by_the_phone_of_nobody_is_seen():
    desk = Desk({"PJSIP/101": "alice"})
    _, callee = desk.talk()
    assert kinds(desk.feed([desk.pbx.event("Hold", callee)])) == [Updated]
    assert desk.calls.of("alice")[0].held


def test_in_a_conference_the_others_are_not_on_hold(desk):
    caller, callee = desk.talk()
    third = desk.pbx.channel("PJSIP/104", "Up")
    desk.feed(desk.pbx.joins(caller.bridge, third))
    changes = desk.feed([desk.pbx.event("Hold", callee)])
    assert [change.call.owner for change in changes] == ["bob"]


def test_who_leaves_the_bridge_holds_nobody(desk):
    caller, callee = desk.talk()
    desk.feed([desk.pbx.event("Hold", callee)])
    other = desk.pbx.channel("PJSIP/104", "Up")
    changes = desk.feed(desk.pbx.joins("consultation", other, callee))
    assert [(change.call.owner, change.call.held) for change in changes] == [("bob", False)]
    assert desk.calls.of("alice")[0].held
    changes = desk.feed(desk.pbx.joins(caller.bridge, other))
    assert [(change.call.owner, change.call.held) for change in changes] == [("alice", False)]


def test_who_takes_the_place_of_a_local_channel_ends_no_hold(desk):
    caller, callee = desk.talk()
    desk.feed([desk.pbx.event("Hold", callee)])
    other = desk.pbx.channel("PJSIP/104", "Up")
    [enter] = desk.pbx.joins(caller.bridge, other)
    assert desk.feed([enter | {"SwapUniqueid": "local"}]) == []
    assert desk.calls.of("alice")[0].held


def test_hold_is_seen_after_a_transfer_that_changed_the_linkedid(desk):
    one, two = desk.talk("PJSIP/101", "PJSIP/102")
    three, four = desk.talk("PJSIP/102", "PJSIP/103")
    four.linkedid = one.linkedid
    desk.feed(desk.pbx.joins("new", one, four) + desk.pbx.hangup(two) + desk.pbx.hangup(three))
    changes = desk.feed([desk.pbx.event("Hold", one)])
    assert [(change.call.owner, change.call.held) for change in changes] == [("alice", True), ("carol", True)]


def test_hold_is_about_one_of_two_calls(desk):
    desk.talk("PJSIP/101", "PJSIP/102")
    _, second = desk.talk("PJSIP/103", "PJSIP/102")
    changes = desk.feed([desk.pbx.event("Hold", second)])
    assert {change.call.owner for change in changes} == {"bob", "carol"}
    assert [call.held for call in desk.calls.of("bob")] == [False, True]


# Clicks to dial


def click(desk: Desk, target: Party | None = None) -> Channel:
    desk.calls.expect("xp-1", "alice", target)
    channel, events = desk.pbx.originate("PJSIP/101", "xp-1")
    assert desk.feed(events) == []
    return channel


def test_a_click_rings_without_a_word_and_is_answered_by_the_other_side(desk):
    leg = click(desk)
    assert desk.calls.of("alice")[0].phase is Phase.OPENING
    assert desk.feed(desk.pbx.up(leg)) == []
    assert not desk.calls.is_busy("alice")
    leg.exten = "102"
    callee, events = desk.pbx.dials(leg, "PJSIP/102")
    changes = desk.feed(events)
    assert kinds(changes) == [Dialled, Rang]
    dialled = the(changes, Dialled).call
    assert (dialled.id, dialled.clicked, dialled.incoming, dialled.party) == ("c-xp-1", True, False, BOB)
    assert desk.calls.next_deadline() is None
    assert kinds(desk.feed(desk.pbx.answers(leg, callee)), "alice") == [Answered]
    assert ends(desk.feed(desk.pbx.hangup(leg) + desk.pbx.hangup(callee))) == {"alice": How.TALKED, "bob": How.TALKED}
    assert is_empty(desk.calls)


@pytest.mark.parametrize("cause", [17, 19, 21])
def test_a_click_that_is_not_picked_up(desk, cause):
    leg = click(desk)
    ended = the(desk.feed(desk.pbx.hangup(leg, cause)), Ended)
    assert (ended.how, ended.cause) == (How.UNPICKED, cause)
    assert is_empty(desk.calls)


@pytest.mark.parametrize(("later", "told"), [(SILENCE - 0.001, []), (SILENCE, [Answered]), (SILENCE + 1, [Answered])])
def test_a_click_to_an_announcement_is_answered_after_a_silence(desk, later, told):
    leg = click(desk, Party("630", "News"))
    desk.feed(desk.pbx.up(leg))
    assert desk.calls.next_deadline() == desk.now + SILENCE
    desk.now += later
    changes = desk.tick()
    assert kinds(changes) == told
    assert [change.call.party for change in changes] == [Party("630", "News")] * len(told)
    assert desk.tick() == []


def test_the_silence_begins_anew_when_nobody_took_the_call(desk):
    leg = click(desk)
    desk.feed(desk.pbx.up(leg))
    leg.exten = "610"
    dialled = [desk.pbx.dials(leg, device) for device in ("PJSIP/102", "PJSIP/103")]
    desk.feed([event for _, events in dialled for event in events])
    desk.now += 20
    assert desk.tick() == []
    for channel, _ in dialled:
        assert desk.calls.next_deadline() is None
        desk.feed(desk.pbx.dial_end(leg, channel, "NOANSWER"))
    assert desk.calls.next_deadline() == desk.now + SILENCE
    desk.now += SILENCE
    assert kinds(desk.tick()) == [Answered]  # the mailbox of the person who was called


def test_a_click_keeps_the_name_that_we_know(desk):
    leg = click(desk, Party("555", "Ann of the phone book"))
    desk.feed(desk.pbx.up(leg))
    leg.exten = "555"
    _, events = desk.pbx.dials(leg, "Trunk/x")
    assert the(desk.feed(events), Dialled).call.party == Party("555", "Ann of the phone book")


@pytest.mark.parametrize(
    ("status", "how"), [("BUSY", How.BUSY), ("NOANSWER", How.NO_ANSWER), ("CONGESTION", How.FAILED)]
)
def test_a_click_whose_other_side_does_not_answer(desk, status, how):
    leg = click(desk)
    leg.exten = "555"
    dest, events = desk.pbx.dials(leg, "Trunk/x")
    desk.feed(desk.pbx.up(leg) + events)
    changes = desk.feed(desk.pbx.dial_end(leg, dest, status) + desk.pbx.hangup(leg))
    assert ends(changes) == {"alice": how}


def test_a_click_that_enters_a_conference_is_answered_by_its_bridge(desk):
    leg = click(desk)
    assert kinds(desk.feed(desk.pbx.up(leg) + desk.pbx.joins("room", leg))) == [Answered]


def test_a_click_is_answered_once_whatever_comes_first(desk):
    leg = click(desk)
    leg.exten = "102"
    callee, events = desk.pbx.dials(leg, "PJSIP/102")
    desk.feed(desk.pbx.up(leg) + events)
    changes = desk.feed(desk.pbx.joins("b", leg) + desk.pbx.answers(leg, callee))
    assert kinds(changes, "alice") == [Answered]


def response(uid: str, outcome: str, reason: str = "0") -> Event:
    return {"Event": "OriginateResponse", "Response": outcome, "Reason": reason, "Uniqueid": uid}


def test_a_click_without_a_channel_fails(desk):
    desk.calls.expect("xp-1", "alice", BOB)
    assert desk.calls.all() == []
    ended = the(desk.feed([response("xp-1", "Failure")]), Ended)
    assert (ended.how, ended.call.id, ended.call.party, ended.call.device) == (How.FAILED, "c-xp-1", BOB, "")
    assert desk.calls.forget("xp-1") == []
    assert is_empty(desk.calls)


def test_a_click_can_be_forgotten(desk):
    desk.calls.expect("xp-1", "alice")
    assert ends(desk.take(desk.calls.forget("xp-1"))) == {"alice": How.FAILED}
    assert desk.calls.forget("xp-1") == []
    assert desk.calls.forget("unknown") == []
    assert is_empty(desk.calls)


@pytest.mark.parametrize("outcome", ["Failure", "Success"])
def test_the_response_of_a_click_with_a_channel_is_left_to_the_channel(desk, outcome):
    leg = click(desk)
    assert desk.feed([response("xp-1", outcome)]) == []
    assert desk.calls.forget("xp-1") == []
    assert ends(desk.feed(desk.pbx.hangup(leg, 19))) == {"alice": How.UNPICKED}
    assert desk.feed([response("xp-1", outcome)]) == []


@pytest.mark.parametrize(("later", "gone"), [(EXPECT_TTL - 0.001, False), (EXPECT_TTL, True), (EXPECT_TTL + 1, True)])
def test_a_click_whose_channel_never_comes_is_dropped(desk, later, gone):
    desk.calls.expect("xp-1", "alice")
    desk.now += later
    assert bool(desk.tick()) is gone
    assert is_empty(desk.calls) is gone


def test_a_click_of_somebody_elses_phone_is_an_ordinary_call(desk):
    desk.calls.expect("xp-1", "bob")
    _, events = desk.pbx.originate("PJSIP/101", "xp-1")
    assert kinds(desk.feed(events)) == [Rang]


def test_an_originate_of_others_rings(desk):
    _, events = desk.pbx.originate("PJSIP/101")
    rang = the(desk.feed(events), Rang).call
    assert (rang.source, rang.clicked) == ("", False)


# Masquerades


def masquerade(desk: Desk, original: Channel, clone: Channel) -> list[Event]:
    """Asterisk puts ``clone`` in the place of ``original``: https://docs.asterisk.org, "Masquerade"."""
    names = [(original.uid, original.name, f"{original.name}<MASQ>")]
    names += [(clone.uid, clone.name, original.name), (original.uid, f"{original.name}<MASQ>", f"{clone.name}<ZOMBIE>")]
    clone.name, original.name = original.name, f"{clone.name}<ZOMBIE>"
    return [{"Event": "Rename", "Channel": old, "Newname": new, "Uniqueid": uid} for uid, old, new in names]


def test_a_masquerade_goes_on_in_the_other_channel(desk):
    caller, callee = desk.talk()
    surrogate = desk.pbx.channel("AsyncGoto/PJSIP/102", "Up", "630")
    events = [desk.pbx.event("Newchannel", surrogate), *masquerade(desk, callee, surrogate)]
    assert desk.feed([*events, *desk.pbx.hangup(callee)]) == []
    assert desk.calls.is_busy("bob")
    assert desk.calls.of("bob")[0].channel == surrogate.name
    assert ends(desk.feed(desk.pbx.hangup(surrogate) + desk.pbx.hangup(caller))) == {
        "bob": How.TALKED,
        "alice": How.TALKED,
    }
    assert is_empty(desk.calls)


def test_a_channel_can_be_renamed(desk):
    caller, _ = desk.talk()
    changes = desk.feed([{"Event": "Rename", "Channel": caller.name, "Newname": "PJSIP/201-9", "Uniqueid": caller.uid}])
    updated = the(changes, Updated).call
    assert (updated.channel, updated.device, updated.owner) == ("PJSIP/201-9", "PJSIP/201", "alice")


@pytest.mark.parametrize("name", ["Trunk/x-1", "PJSIP/102-77", "PJSIP/101-00000000<ZOMBIE>"])
def test_a_new_name_of_no_leg_means_nothing(desk, name):
    desk.talk()
    assert desk.feed([{"Event": "Rename", "Channel": "x", "Newname": name, "Uniqueid": "none"}]) == []


# Connections that break


def test_what_goes_on_is_restored_without_a_word(desk):
    desk.calls = Calls(lambda device: OWNERS.get(device, ""), lambda: desk.now)
    changes = desk.resync(statuses=STATUSES["group_talking"])
    assert kinds(changes) == [Restored, Restored]
    calls = {change.call.owner: change.call for change in changes}
    assert [calls[owner].party for owner in ("alice", "carol")] == [CAROL, ALICE]
    assert [calls[owner].incoming for owner in ("alice", "carol")] == [False, True]
    assert desk.calls.is_busy("alice")
    assert desk.calls.is_busy("carol")


#: What is restored of the recorded lists: phase, whether somebody called, the other side, and the channel to redirect.
RESTORED = {
    "queue_ringing": {
        "alice": (Phase.TALKING, False, Party("620"), ""),
        "bob": (Phase.RINGING, True, ALICE, "PJSIP/101-00000000"),
        "carol": (Phase.RINGING, True, ALICE, "PJSIP/101-00000000"),
    },
    "queue_talking": {
        "alice": (Phase.TALKING, False, CAROL, ""),
        "carol": (Phase.TALKING, True, ALICE, ""),
    },
    "group_ringing": {
        "alice": (Phase.DIALLING, False, Party("610"), ""),
        "bob": (Phase.RINGING, True, ALICE, "PJSIP/101-00000003"),
        "carol": (Phase.RINGING, True, ALICE, "PJSIP/101-00000003"),
    },
    "group_talking": {
        "alice": (Phase.TALKING, False, CAROL, ""),
        "carol": (Phase.TALKING, True, ALICE, ""),
    },
    "local_ringing": {
        "alice": (Phase.DIALLING, False, Party("651"), ""),
        "bob": (Phase.RINGING, True, ALICE, "PJSIP/101-00000006"),
        "carol": (Phase.RINGING, True, ALICE, "PJSIP/101-00000006"),
    },
    "local_talking": {
        "alice": (Phase.TALKING, False, CAROL, ""),
        "carol": (Phase.TALKING, True, ALICE, ""),
    },
    "originate_ringing": {"alice": (Phase.RINGING, True, ALICE, "")},
    "originate_dialling": {
        "alice": (Phase.TALKING, False, BOB, ""),
        "bob": (Phase.RINGING, True, ALICE, "PJSIP/101-00000009"),
    },
    "originate_talking": {
        "alice": (Phase.TALKING, False, BOB, ""),
        "bob": (Phase.TALKING, True, ALICE, ""),
    },
    "conference": {
        "alice": (Phase.TALKING, False, Party("631"), ""),
        "bob": (Phase.TALKING, False, Party("631"), ""),
    },
}


@pytest.mark.parametrize("name", STATUSES)
def test_recorded_lists_are_understood(desk, name):
    changes = desk.resync(statuses=STATUSES[name])
    assert set(kinds(changes)) == {Restored}
    calls = [change.call for change in changes]
    assert {call.owner: (call.phase, call.incoming, call.party, call.source) for call in calls} == RESTORED[name]
    assert desk.resync(statuses=STATUSES[name]) == []
    assert set(ends(desk.resync(statuses=[])).values()) <= {How.TALKED, How.LOST}
    assert is_empty(desk.calls)


def test_a_restored_call_began_when_its_channel_did(desk):
    caller, _ = desk.pbx.calls("PJSIP/101", "630")
    desk.pbx.up(caller)
    call = the(desk.resync(), Restored).call
    assert (call.began, call.answered) == (desk.now - 3, desk.now - 3)


def test_a_restored_call_that_rings_can_be_answered_and_missed(desk):
    for answered in (True, False):
        caller, _ = desk.pbx.calls("PJSIP/101", "102")
        callee, _ = desk.pbx.dials(caller, "PJSIP/102")
        assert kinds(desk.resync()) == [Restored, Restored]
        if answered:
            changes = desk.feed(desk.pbx.answers(caller, callee))
            assert kinds(changes, "bob") == [Answered]
            assert kinds(changes, "alice") == [Answered, Updated]  # the name of who answered
        changes = desk.feed(desk.pbx.hangup(callee) + desk.pbx.hangup(caller))
        assert ends(changes)["bob"] is (How.TALKED if answered else How.MISSED)


def test_what_has_not_changed_is_no_news(desk):
    desk.talk()
    desk.rings("PJSIP/103", "PJSIP/104")
    assert desk.resync() == []
    assert desk.resync() == []


def test_what_happened_out_of_sight_is_told(desk):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    desk.pbx.answers(caller, callee)
    assert kinds(desk.resync()) == [Answered, Answered]
    desk.pbx.connects(caller, desk.pbx.channel("PJSIP/104", "Up"))
    assert the([change for change in desk.resync() if change.call.owner == "alice"], Updated).call.party == DAVE


def test_calls_that_vanished_are_over(desk):
    caller, callee = desk.talk()
    desk.rings("PJSIP/103", "PJSIP/104")
    desk.pbx.channels.clear()
    assert ends(desk.resync()) == {"alice": How.TALKED, "bob": How.TALKED, "carol": How.LOST, "dave": How.LOST}
    assert desk.feed(desk.pbx.dial_end(caller, callee, "ANSWER")) == []
    assert is_empty(desk.calls)


def test_events_that_come_with_the_list_are_not_told_twice(desk):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    meanwhile = desk.pbx.answers(caller, callee)
    _, new = desk.pbx.calls("PJSIP/103", "630")
    changes = desk.resync([*meanwhile, *new, *desk.pbx.up(list(desk.pbx.channels.values())[-1])])
    assert kinds(changes) == [Answered, Answered, Answered]


def test_a_channel_that_ends_with_the_list_ends_by_its_hangup(desk):
    caller, [callee], _ = desk.rings("PJSIP/101", "PJSIP/102")
    changes = desk.resync(desk.pbx.hangup(callee, 17) + desk.pbx.hangup(caller, 17))
    assert ends(changes) == {"bob": How.REJECTED, "alice": How.BUSY}


def test_a_call_that_is_in_the_list_and_ends_before_we_read_it(desk):
    caller, _ = desk.pbx.calls("PJSIP/101", "630")
    desk.pbx.up(caller)
    statuses = desk.pbx.statuses()
    changes = desk.resync(desk.pbx.hangup(caller), statuses)
    assert kinds(changes) == [Restored, Ended]
    assert is_empty(desk.calls)


def test_a_restored_call_that_somebody_else_takes_says_by_whom(desk):
    caller, _ = desk.pbx.calls("PJSIP/101", "610")
    bob, _ = desk.pbx.dials(caller, "PJSIP/102")
    carol, _ = desk.pbx.dials(caller, "PJSIP/103")
    desk.resync()
    ended = the(desk.feed(desk.pbx.answers(caller, carol) + desk.pbx.hangup(bob, 26)), Ended)
    assert (ended.how, ended.by, ended.owner) == (How.ELSEWHERE, CAROL, "carol")


def test_the_list_says_who_is_in_a_bridge_no_more(desk):
    caller, callee = desk.talk()
    desk.feed([desk.pbx.event("Hold", callee)])
    for channel in (caller, callee):
        desk.pbx.leaves(channel)
    assert {change.call.owner for change in desk.resync()} == {"alice", "bob"}
    assert not any(call.held for call in desk.calls.all())


def test_local_channels_that_vanished_leave_nothing(desk):
    caller, _, _, callee, _ = through_local(desk, "PJSIP/101", "PJSIP/102")
    desk.pbx.channels = {channel.uid: channel for channel in (caller, callee)}
    desk.resync()
    desk.feed(desk.pbx.hangup(callee) + desk.pbx.hangup(caller))
    assert is_empty(desk.calls)


def test_a_list_that_cannot_be_had_leaves_everything_as_it_was(desk):
    _, callee = desk.talk()
    desk.calls.begin_resync()
    assert [desk.calls.feed(event) for event in desk.pbx.hangup(callee)] == [[], []]
    assert ends(desk.take(desk.calls.resync(None))) == {"bob": How.TALKED}
    assert desk.calls.is_busy("alice")


def test_a_second_beginning_drops_what_was_kept_back(desk):
    _, callee = desk.talk()
    desk.calls.begin_resync()
    assert [desk.calls.feed(event) for event in desk.pbx.hangup(callee)] == [[], []]
    assert ends(desk.resync()) == {"bob": How.TALKED}
    assert desk.calls.is_busy("alice")


def test_a_click_survives_a_broken_connection(desk):
    leg = click(desk)
    desk.pbx.up(leg)
    leg.exten = "102"
    callee, _ = desk.pbx.dials(leg, "PJSIP/102")
    desk.pbx.answers(leg, callee)
    changes = desk.resync()
    assert kinds(changes, "alice") == [Answered]
    assert kinds(changes, "bob") == [Restored]


def test_everything_is_lost_with_asterisk(desk):
    caller, _ = desk.talk()
    through_local(desk, "PJSIP/103", "PJSIP/104")
    desk.calls.expect("xp-1", "alice")
    changes = desk.take(desk.calls.lose())
    assert [change.how for change in changes] == [How.LOST] * 5
    assert is_empty(desk.calls)
    assert desk.calls.lose() == []
    # It was not lost after all: the call goes on under an id of its own.
    restored = [change.call.id for change in desk.resync() if change.call.owner == "alice"]
    assert restored == [f"c-{caller.uid}-2"]


# Limits


def test_the_memory_of_ended_calls_is_limited(desk):
    first, events = desk.pbx.calls("PJSIP/101", "630")
    desk.feed(events + desk.pbx.hangup(first))
    new = events[0]
    for _ in range(PAST - 1):
        channel, events = desk.pbx.calls("PJSIP/101", "630")
        desk.feed(events + desk.pbx.hangup(channel))
    assert desk.feed([new]) == []
    assert is_empty(desk.calls)
    channel, events = desk.pbx.calls("PJSIP/101", "630")
    desk.feed(events + desk.pbx.hangup(channel))
    desk.feed([new])
    assert [call.id for call in desk.calls.all()] == [f"c-{first.uid}"]


def test_a_call_that_outlives_the_memory_of_its_beginning_keeps_its_id(desk):
    caller, callee = desk.talk("PJSIP/102", "PJSIP/101")
    for _ in range(PAST):
        other, events = desk.pbx.calls("PJSIP/104", "630")
        for event in (*events, *desk.pbx.hangup(other)):
            desk.calls.feed(event)
    mobile, events = desk.pbx.dials(caller, "PJSIP/201")
    assert kinds(desk.feed(events), "alice") == [Rang]
    assert len({call.id for call in desk.calls.of("alice")}) == 2
    ended = desk.feed([*desk.pbx.hangup(callee), *desk.pbx.hangup(mobile), *desk.pbx.hangup(caller)])
    assert len(kinds(ended, "alice")) == 2
    assert is_empty(desk.calls)


def test_who_asks_for_one_persons_calls_does_not_look_at_all(monkeypatch):
    people = {f"PJSIP/{number}": f"user{number}" for number in range(100)}
    desk = Desk(people)
    for device in people:
        channel, events = desk.pbx.calls(device, "630")
        for event in (*events, *desk.pbx.up(channel)):
            desk.calls.feed(event)
    looks: list[LiveCall] = []
    shown = LiveCall.shown

    def look(call: LiveCall) -> Call:
        looks.append(call)
        return shown(call)

    monkeypatch.setattr(LiveCall, "shown", look)
    assert desk.calls.is_busy("user7")
    assert [call.owner for call in desk.calls.of("user7")] == ["user7"]
    assert desk.calls.find(desk.calls.of("user7")[0].id, "user7") is not None
    assert len(looks) <= 3


# Random calls

PHONES = [*OWNERS, "PJSIP/900", "Trunk/x"]
#: A seed, not hypothesis' own random numbers: a call needs hundreds, and writing each down takes most of the time.
seeds = st.builds(random.Random, st.integers(0, 2**32))


def random_call(pbx: Pbx, chance: random.Random) -> list[Event]:
    """Write one call from its beginning to its end: to one phone or several, with what may happen in it."""
    source, *dests = chance.sample(PHONES, chance.randint(2, 4))
    caller, events = pbx.calls(source, chance.choice(["610", "102", "s"]))
    if chance.random() < 0.2:  # a queue, an announcement
        events += pbx.up(caller)
    ringing = []
    for device in dests:
        channel, more = pbx.dials(caller, device, ringing_first=chance.random() < 0.5)
        ringing.append(channel)
        events += more
    for channel in [channel for channel in ringing if chance.random() < 0.2]:
        events += pbx.dial_end(caller, channel, "BUSY") + pbx.hangup(channel, 17)
        ringing.remove(channel)
    if ringing and chance.random() < 0.7:
        winner = chance.choice(ringing)
        losers = [channel for channel in ringing if channel is not winner]
        ended = [event for channel in losers for event in pbx.dial_end(caller, channel, "CANCEL")]
        events += ended + pbx.answers(caller, winner) if chance.random() < 0.5 else pbx.answers(caller, winner) + ended
        for channel in losers:
            events += pbx.hangup(channel, 26)
        ringing = [winner]
        for name in ("Hold", "Unhold"):
            if chance.random() < 0.3:
                events.append(pbx.event(name, chance.choice([caller, winner])))
        if chance.random() < 0.3:  # a blind transfer by the callee
            caller.exten = "103"
            transferred, more = pbx.dials(caller, chance.choice([phone for phone in PHONES if phone != source]))
            events += [*pbx.hangup(winner), *more]
            events += pbx.answers(caller, transferred) if chance.random() < 0.7 else []
            ringing = [transferred]
    else:
        for channel in ringing:
            events += pbx.dial_end(caller, channel, chance.choice(["CANCEL", "NOANSWER"]))
    rest = [*ringing, caller]
    chance.shuffle(rest)
    for channel in rest:
        events += pbx.hangup(channel, chance.choice([0, 16, 127]))
    return events


def interleaved(chance: random.Random, count: int) -> list[Event]:
    """Write several calls at the same time; each keeps its own order."""
    pbx = Pbx()
    scripts = [random_call(pbx, chance) for _ in range(count)]
    order = [script for script in scripts for _ in script]
    chance.shuffle(order)
    nexts = {id(script): iter(script) for script in scripts}
    return [next(nexts[id(script)]) for script in order]


class Truth:
    """What events say of the channels, by nothing but their own states."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.alive: dict[str, Event] = {}
        for event in events:
            self.take(event)

    def take(self, event: Event) -> None:
        uid = event.get("Uniqueid", "")
        match event["Event"]:
            case "Hangup":
                self.alive.pop(uid, None)
            case "Newchannel":
                called = event["ChannelStateDesc"] == "Down"
                self.alive[uid] = event | {"Application": "AppDial" if called else "Dial"}
            case "Newstate" | "NewConnectedLine" if uid in self.alive:
                self.alive[uid] |= event
            case "BridgeEnter" | "BridgeLeave" if uid in self.alive:
                inside = event["Event"] == "BridgeEnter"
                self.alive[uid] |= event | {"BridgeID": event["BridgeUniqueid"] if inside else ""}

    def statuses(self) -> list[Event]:
        return [event | {"Event": "Status", "Seconds": "1"} for event in self.alive.values()]

    def people(self, state: str = "") -> set[str]:
        """Return who has a channel, or one in that state."""
        wanted = (event for event in self.alive.values() if state in ("", event["ChannelStateDesc"]))
        devices = {device_of(event["Channel"]) for event in wanted}
        return {OWNERS[device] for device in devices if device in OWNERS}

    def agrees(self, calls: Calls) -> None:
        """Check that who has a phone that is up is busy, and who has no channel is not.

        In between are those whose talking phone is gone while their phones that lost the race are not, for a moment.
        """
        busy = {owner for owner in OWNERS.values() if calls.is_busy(owner)}
        assert self.people("Up") <= busy <= self.people()


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 5))
def test_random_calls_make_sense(chance, count):
    desk, truth = Desk(), Truth()
    for event in interleaved(chance, count):
        desk.feed([event] * chance.choice([1, 1, 1, 2]))
        truth.take(event)
        truth.agrees(desk.calls)
    assert is_empty(desk.calls)
    assert desk.watch.live == {}


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 5))
def test_a_broken_connection_is_made_good_by_the_list(chance, count):
    events = interleaved(chance, count)
    # Lost: from `broken` to `back`. The list is made at `listed`, and read at `read_at`.
    broken, back, listed, read_at = sorted(chance.randint(0, len(events)) for _ in range(4))
    desk = Desk()
    desk.feed(events[:broken])
    desk.calls.begin_resync()
    assert all(desk.calls.feed(event) == [] for event in events[back:read_at])
    desk.take(desk.calls.resync(Truth(events[:listed]).statuses()))
    Truth(events[:read_at]).agrees(desk.calls)
    desk.feed(events[read_at:])
    assert is_empty(desk.calls)
    assert desk.watch.live == {}


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_lost_events_harm_nothing_that_a_list_does_not_mend(chance):
    events = [event for event in interleaved(chance, 4) if chance.random() < 0.8]
    desk = Desk()
    desk.feed(events)
    desk.resync(statuses=[])
    assert is_empty(desk.calls)
    assert desk.watch.live == {}
