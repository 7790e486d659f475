"""Who is told what of a call that is over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from agi_xmpp.ami.calls import Answered, Call, Calls, Dialled, Ended, How, Party, Phase, Rang, Restored, Updated
from agi_xmpp.config import RecordSettings
from agi_xmpp.features.phone.people import People
from agi_xmpp.features.phone.records import PAST, Records, Told, is_missed, reason
from agi_xmpp.xmpp.call_record import Reason
from tests.unit.ami.recordings import everything
from tests.unit.features.phone.house import ANN, BOB, CAROL, PEOPLE, call, settings

RECORDINGS = everything()
#: The people of the recordings, as the testbed's exchange has them.
OFFICE = People(
    settings(
        user={
            f"{name}@x.org": {"devices": [f"PJSIP/10{n}", f"PJSIP/20{n}"], "name": name.title()}
            for n, name in enumerate(("alice", "bob", "carol", "dave", "eve"), 1)
        }
    )
)


def records(people: People = PEOPLE, **changes: Any) -> Records:
    return Records(RecordSettings(**{"send": "all", **changes}), people)


def ended(how: How, cause: int = 0, *, dial_status: str = "", at: float = 118.0, **changes: Any) -> Ended:
    """An end of Ann's call to Bob, which rang from 100 on."""
    basic: dict[str, Any] = {"began": 100.0, "linkedid": "1.2", "rang": True, "phase": Phase.OVER}
    return Ended(call(**basic | changes), how, cause=cause, dial_status=dial_status, at=at)


def outgoing(how: How, cause: int = 0, **changes: Any) -> Ended:
    return ended(how, cause, owner=ANN, incoming=False, party=Party("102", "Bob"), **changes)


def the(told: list[Told]) -> Told:
    [one] = told
    return one


# Reasons


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        # Answered.
        (ended(How.TALKED, 16, answered=110.0), "success"),
        (ended(How.TALKED, 0, answered=110.0), "success"),
        (ended(How.TALKED, 127, answered=110.0), "success"),
        (ended(How.TALKED, 38, answered=110.0), "connectivity-error"),
        (ended(How.TALKED, 44, answered=110.0), "general-error"),
        (ended(How.LOST, 16, answered=110.0), "general-error"),
        # Came in.
        (ended(How.MISSED, 127, dial_status="CANCEL"), "cancel"),
        (ended(How.MISSED, 16), "cancel"),
        (ended(How.MISSED, 0, dial_status="NOANSWER"), "timeout"),
        (ended(How.MISSED, 18), "timeout"),
        (ended(How.MISSED, 19), "timeout"),
        (ended(How.ELSEWHERE, 26), "cancel"),
        (ended(How.ELSEWHERE, 0, dial_status="NOANSWER"), "cancel"),
        (ended(How.FORWARDED, 16), "cancel"),
        (ended(How.REJECTED, 17), "busy"),
        (ended(How.REJECTED, 21), "decline"),
        (ended(How.LOST), "general-error"),
        # Went out.
        (outgoing(How.BUSY, 17), "busy"),
        (outgoing(How.BUSY, 21), "decline"),
        (outgoing(How.NO_ANSWER, 16), "cancel"),
        (outgoing(How.NO_ANSWER, 127, dial_status="CANCEL"), "cancel"),
        (outgoing(How.NO_ANSWER, 16, dial_status="NOANSWER"), "timeout"),
        (outgoing(How.NO_ANSWER, 19), "timeout"),
        (outgoing(How.UNPICKED, 19), "timeout"),
        (outgoing(How.UNPICKED, 16), "cancel"),
        (outgoing(How.UNPICKED, 17), "busy"),
        (outgoing(How.UNPICKED, 21), "decline"),
        *((outgoing(How.FAILED, cause), "connectivity-error") for cause in (1, 20, 27, 38)),
        *((outgoing(How.FAILED, cause), "general-error") for cause in (0, 2, 16, 34, 37, 39)),
        (outgoing(How.FAILED, 21), "decline"),
    ],
)
def test_why_a_call_ended(end: Ended, expected: str) -> None:
    assert reason(end) == Reason(expected)


@pytest.mark.parametrize("how", How)
@pytest.mark.parametrize("rang", [True, False])
def test_what_is_missed(how: How, rang: bool) -> None:
    assert is_missed(ended(how), rang=rang) is (how is How.MISSED or (how is How.REJECTED and not rang))


# Texts


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (ended(How.MISSED), "Missed call from Ann Smith, 101 (rang 18 s)"),
        (ended(How.MISSED, at=100.2), "Missed call from Ann Smith, 101 (rang 1 s)"),
        (ended(How.MISSED, party=Party()), "Missed call from somebody without a number (rang 18 s)"),
        (ended(How.MISSED, party=Party("+1 555 0100")), "Missed call from +1 555 0100 (rang 18 s)"),
        (ended(How.MISSED, party=Party("1", "A\nB")), "Missed call from A B, 1 (rang 18 s)"),
        (ended(How.MISSED, rang=False), "Missed call from Ann Smith, 101"),
        (ended(How.REJECTED, 17, rang=False), "Missed call from Ann Smith, 101 (your phone was busy)"),
        (ended(How.REJECTED, 17), "You rejected a call from Ann Smith, 101 (rang 18 s)"),
        (ended(How.FORWARDED), "Call from Ann Smith, 101, was forwarded (rang 18 s)"),
        (ended(How.ELSEWHERE), "Call from Ann Smith, 101, was answered elsewhere"),
        (ended(How.ELSEWHERE, party=Party("101")), "Call from 101 was answered elsewhere"),
        (ended(How.TALKED, answered=106.0, at=198.0), "You talked to Ann Smith, 101, for 1:32"),
        (
            ended(How.LOST),
            "Call from Ann Smith, 101, was lost: Asterisk is out of reach, so how it ended is not known",
        ),
        (outgoing(How.TALKED, answered=106.0, at=3706.0), "You talked to Bob, 102, for 1:00:00"),
        (outgoing(How.NO_ANSWER), "Call to Bob, 102: no answer (rang 18 s)"),
        (outgoing(How.NO_ANSWER, rang=False), "Call to Bob, 102: no answer"),
        (outgoing(How.BUSY), "Call to Bob, 102: busy"),
        (outgoing(How.FAILED, rang=False), "Call to Bob, 102: failed"),
        (outgoing(How.UNPICKED, rang=False), "Call to Bob, 102: you did not pick up your own phone"),
        (outgoing(How.LOST), "Call to Bob, 102, was lost: Asterisk is out of reach, so how it ended is not known"),
    ],
)
def test_what_people_read(end: Ended, text: str) -> None:
    assert the(records().call_changed(end)).text == text


def test_who_answered_is_named() -> None:
    end = Ended(ended(How.ELSEWHERE).call, How.ELSEWHERE, Party("103", "C"), str(CAROL), 26, at=118.0)
    assert the(records().call_changed(end)).text == "Call from Ann Smith, 101, was answered by Carol"


# Records


def test_a_call_that_came_in() -> None:
    told = the(records().call_changed(ended(How.TALKED, 16, answered=106.0, at=111.6)))
    record = told.record
    assert (told.person.jid, told.call_id) == (BOB, "c-1")
    assert (record.sid, record.initiator, record.responder) == ("1.2", str(ANN), str(BOB))
    assert (record.answered, record.rang, record.reason, record.duration) == (True, True, Reason.SUCCESS, 6)


def test_a_call_that_went_out() -> None:
    told = the(records().call_changed(outgoing(How.FAILED, 38, rang=False)))
    record = told.record
    assert told.person.jid == ANN
    assert (record.initiator, record.responder) == (str(ANN), str(BOB))
    assert (record.answered, record.rang, record.duration) == (False, False, 0)


@pytest.mark.parametrize(
    ("number", "pattern", "address"),
    [
        ("101", "", str(ANN)),
        ("101", "{number}@pbx.x.org", str(ANN)),
        ("+15550100", "{number}@pbx.x.org", "+15550100@pbx.x.org"),
        (" 5550100 ", "tel-{number}@pbx.x.org", "tel-5550100@pbx.x.org"),
        ("+15550100", "", ""),
        ("", "{number}@pbx.x.org", ""),
        ("sip:a@b", "{number}@pbx.x.org", "sip\\3aa\\40b@pbx.x.org"),
        ("1" * 2000, "{number}@pbx.x.org", ""),
        ("1\u0000", "{number}@pbx.x.org", ""),
    ],
)
def test_the_address_of_the_other_side(number: str, pattern: str, address: str) -> None:
    end = ended(How.TALKED, answered=101.0, party=Party(number))
    assert the(records(external_jid=pattern).call_changed(end)).record.initiator == address


def test_who_is_nobody_of_ours_gets_nothing() -> None:
    end = ended(How.MISSED)
    stranger = dataclasses.replace(end, call=dataclasses.replace(end.call, owner="eve@x.org"))
    assert records().call_changed(stranger) == []


@pytest.mark.parametrize(
    ("send", "ends"),
    [
        ("none", set()),
        ("missed", {How.MISSED}),
        ("all", set(How)),
    ],
)
def test_of_which_calls(send: str, ends: set[How]) -> None:
    assert {how for how in How if records(send=send).call_changed(ended(how))} == ends


def test_what_goes_on_is_no_record() -> None:
    now = call(linkedid="1.2", source="PJSIP/101-1")
    for change in (Rang(now), Answered(now), Updated(now), Restored(now), Dialled(now)):
        assert records().call_changed(change) == []


# One record a call


class Stage:
    """Records, and what happens to a call of Ann's whose channel is PJSIP/101-1."""

    def __init__(self) -> None:
        self.records = records()
        self.now = 100.0
        self.count = 0

    def rings(self, how: How, cause: int = 0, *, seconds: float = 10.0, **changes: Any) -> list[Told]:
        """Bob's phone rings, and stops."""
        begin = self.begins()
        assert self.records.call_changed(Rang(begin)) == []
        return self.ends(begin, how, cause, seconds=seconds, **changes)

    def begins(self) -> Call:
        self.count += 1
        return call(
            id=f"c-1.2-{self.count}", linkedid="1.2", source="PJSIP/101-1", channel="x", began=self.now, rang=True
        )

    def ends(self, now: Call, how: How, cause: int = 0, *, seconds: float = 10.0) -> list[Told]:
        self.now += seconds
        return self.records.call_changed(Ended(now, how, cause=cause, at=self.now))

    def event(self, name: str, channel: str, **more: str) -> list[Told]:
        self.now += 1
        return self.records.ami_event({"Event": name, "Channel": channel, "Linkedid": "1.2", **more}, self.now)

    def takes(self, channel: str, number: str = "103", name: str = "Carol", linkedid: str = "1.2") -> list[Told]:
        return self.event(
            "DialEnd",
            "PJSIP/101-1",
            DestChannel=channel,
            DialStatus="ANSWER",
            Linkedid=linkedid,
            DestCallerIDNum=number,
            DestCallerIDName=name,
        )


def test_a_queue_that_calls_again_and_again_is_one_call() -> None:
    stage = Stage()
    assert stage.rings(How.MISSED) == []
    assert stage.rings(How.REJECTED, 17, seconds=2.0) == []
    assert stage.rings(How.MISSED, seconds=6.0) == []
    assert stage.event("Hangup", "PJSIP/103-9") == []
    told = the(stage.event("Hangup", "PJSIP/101-1"))
    assert (told.text, told.call_id) == ("Missed call from Ann Smith, 101 (rang 18 s)", "c-1.2-3")
    assert stage.event("Hangup", "PJSIP/101-1") == []


@pytest.mark.parametrize(
    ("source", "who"), [("PJSIP/101-1", "Ann Smith, 101"), ("PJSIP/104-1", "somebody without a number")]
)
def test_a_last_ring_whose_caller_could_not_be_asked_about_any_more_is_from_who_rang_before(source, who) -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    again = dataclasses.replace(stage.begins(), source=source, party=Party())
    stage.records.call_changed(Rang(again))
    assert stage.ends(again, How.MISSED) == []
    assert the(stage.event("Hangup", source)).text == f"Missed call from {who} (rang 20 s)"


def test_somebody_else_takes_it_later() -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    assert stage.takes("Local/103@internal-1;1") == []  # the phone behind it is to be told of
    assert stage.takes("PJSIP/999-1", linkedid="7.7") == []
    told = the(stage.takes("PJSIP/103-1", name="C"))
    assert (told.text, told.record.reason) == ("Call from Ann Smith, 101, was answered by Carol", Reason.CANCEL)
    assert stage.event("Hangup", "PJSIP/101-1") == []


@pytest.mark.parametrize(
    ("number", "name", "who"),
    [("77", "Workshop", "by Workshop"), ("77", "<unknown>", "by 77"), ("<unknown>", "<unknown>", "elsewhere")],
)
def test_somebody_else_who_is_nobody_of_ours(number: str, name: str, who: str) -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    assert the(stage.takes("PJSIP/trunk-1", number, name)).text.endswith(f"was answered {who}")


def test_who_rejected_it_has_rejected_it_whoever_takes_it_then() -> None:
    stage = Stage()
    stage.rings(How.REJECTED, 21)
    told = the(stage.takes("PJSIP/103-1"))
    assert (told.text, told.record.reason) == ("You rejected a call from Ann Smith, 101 (rang 10 s)", Reason.DECLINE)


def test_the_person_takes_it_at_last() -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    again = stage.begins()
    stage.records.call_changed(Rang(again))
    assert stage.takes("PJSIP/102-2", "102", "Bob") == []
    # The caller's channel may be gone before the person's own.
    assert stage.event("Hangup", "PJSIP/101-1") == []
    talked = Ended(dataclasses.replace(again, answered=stage.now - 5), How.TALKED, cause=16, at=stage.now)
    told = the(stage.records.call_changed(talked))
    assert (told.record.answered, told.record.sid, told.record.duration) == (True, "1.2", 5)


def test_it_rings_again_while_the_caller_goes() -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    again = stage.begins()
    stage.records.call_changed(Rang(again))
    assert stage.event("Hangup", "PJSIP/101-1") == []
    assert the(stage.ends(again, How.MISSED)).text == "Missed call from Ann Smith, 101 (rang 21 s)"


def test_a_last_ring_that_is_heard_of_after_its_caller_has_gone_makes_no_second_record() -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    assert the(stage.event("Hangup", "PJSIP/101-1")).text.startswith("Missed call")
    # Whether the number is withheld was still being asked.
    assert stage.rings(How.MISSED) == []
    assert stage.records.finish() == []


def test_a_caller_who_has_gone_before() -> None:
    stage = Stage()
    stage.event("Hangup", "PJSIP/101-1")
    assert the(stage.rings(How.MISSED)).text.startswith("Missed call")


def test_a_call_that_was_taken_before_it_was_known_to_be_over() -> None:
    stage = Stage()
    begin = stage.begins()
    stage.records.call_changed(Rang(begin))
    end = Ended(begin, How.MISSED, at=stage.now + 0.5)
    assert stage.takes("PJSIP/103-1") == []
    assert the(stage.records.call_changed(end)).text.endswith("was answered by Carol")


def test_who_took_it_before_it_rang_here_has_nothing_to_do_with_it() -> None:
    stage = Stage()
    stage.takes("PJSIP/103-1")  # and Carol sends it on
    assert stage.rings(How.MISSED) == []
    assert the(stage.event("Hangup", "PJSIP/101-1")).text.startswith("Missed call")


def test_an_event_that_was_lost() -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    assert stage.records.alive({"PJSIP/101-1"}) == []
    assert the(stage.records.alive({"PJSIP/103-1"})).text.startswith("Missed call")


def test_asterisk_has_begun_anew_and_with_it_the_names_of_channels() -> None:
    stage = Stage()
    stage.event("Hangup", "PJSIP/101-1")
    stage.records.alive({"PJSIP/101-1"})
    assert stage.rings(How.MISSED) == []


def test_the_end_of_everything() -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    assert the(stage.records.finish()).text.startswith("Missed call")
    assert stage.records.finish() == []


@pytest.mark.parametrize(("others", "waits"), [(PAST - 1, False), (PAST, True)])
def test_how_many_channels_are_remembered(others: int, waits: bool) -> None:
    stage = Stage()
    stage.event("Hangup", "PJSIP/101-1")
    for number in range(others):
        stage.event("Hangup", f"PJSIP/9-{number}")
    assert (stage.rings(How.MISSED) == []) is waits


def test_nothing_is_left_behind() -> None:
    stage = Stage()
    stage.rings(How.MISSED)
    stage.event("Hangup", "PJSIP/101-1")
    stage.rings(How.TALKED)
    assert not stage.records._open
    assert not stage.records._live


# What a real Asterisk says


def play(name: str) -> Iterator[Told]:
    now = 0.0
    calls = Calls(lambda device: str(person.jid) if (person := OFFICE.by_device(device)) else "", lambda: now)
    log = records(OFFICE)
    events = RECORDINGS[name].events
    clicks = {event["Uniqueid"] for _, event in events if event.get("Uniqueid", "").startswith("click-")}
    for click in clicks:
        calls.expect(click, "alice@x.org", Party("102"))
    for seconds, event in events:
        while (due := calls.next_deadline()) is not None and due <= seconds:
            now = due
            for change in calls.tick():
                yield from log.call_changed(change)
        now = seconds
        for change in calls.feed(event):
            yield from log.call_changed(change)
        yield from log.ami_event(event, now)
    assert not log._open, "somebody is never told"
    assert not log._live


#: What people read of some of them, and the record's answer, ring and reason.
STORIES = {
    "answered": [
        "bob: You talked to Alice, 101, for 0:00 | answered rang success",
        "alice: You talked to Bob, 102, for 0:00 | answered rang success",
    ],
    "cancelled": [
        "alice: Call to Bob, 102: no answer (rang 1 s) | unanswered rang cancel",
        "bob: Missed call from Alice, 101 (rang 1 s) | unanswered rang cancel",
    ],
    "rejected": [
        "alice: Call to Bob, 102: busy | unanswered rang busy",
        "bob: You rejected a call from Alice, 101 (rang 1 s) | unanswered rang busy",
    ],
    "unregistered": ["alice: Call to 105: failed | unanswered silent general-error"],
    "voicemail": [
        "bob: Missed call from Alice, 101 (rang 1 s) | unanswered rang timeout",
        "alice: You talked to Bob, 102, for 0:00 | answered rang success",
    ],
    "group_two_people": [
        "bob: Call from Dave, 104, was answered by Carol | unanswered rang cancel",
        "carol: You talked to Dave, 104, for 0:00 | answered rang success",
        "dave: You talked to Carol, 103, for 0:00 | answered rang success",
    ],
    "group_nobody": [
        "bob: You rejected a call from Dave, 104 (rang 1 s) | unanswered rang busy",
        "carol: Missed call from Dave, 104 (rang 1 s) | unanswered rang cancel",
        "dave: Call to 610: busy | unanswered rang busy",
    ],
    "group_two_phones": [
        "alice: You talked to Dave, 104, for 0:00 | answered rang success",
        "dave: You talked to Alice, 101, for 0:00 | answered rang success",
    ],
    "queue": [
        "bob: You talked to Dave, 104, for 0:00 | answered rang success",
        "carol: Call from Dave, 104, was answered by Bob | unanswered rang cancel",
        "dave: You talked to Bob, 102, for 0:00 | answered rang success",
    ],
    "queue_given_up": [
        "bob: Missed call from Dave, 104 (rang 1 s) | unanswered rang cancel",
        "carol: Missed call from Dave, 104 (rang 1 s) | unanswered rang cancel",
        "dave: Call to 620: no answer (rang 1 s) | unanswered rang cancel",
    ],
    "forward_on_no_answer": [
        "alice: You talked to Carol, 103, for 0:00 | answered rang success",
        "bob: Call from Alice, 101, was answered by Carol | unanswered rang cancel",
        "carol: You talked to Alice, 101, for 0:00 | answered rang success",
    ],
    "pickup_directed": [
        "alice: You talked to Carol, 103, for 0:00 | answered rang success",
        "bob: Call from Alice, 101, was answered by Carol | unanswered rang cancel",
        "carol: You talked to Alice, 101, for 0:00 | answered silent success",
    ],
    "redirect_ringing": [
        "alice: You talked to Carol, 103, for 0:00 | answered rang success",
        "bob: Call from Alice, 101, was forwarded (rang 1 s) | unanswered rang cancel",
        "carol: You talked to Alice, 101, for 0:00 | answered rang success",
    ],
    "refer_blind": [
        "alice: You talked to Carol, 103, for 0:00 | answered rang success",
        "bob: You talked to Alice, 101, for 0:00 | answered rang success",
        "carol: You talked to Alice, 101, for 0:00 | answered rang success",
    ],
    "refer_attended": [
        "alice: You talked to Carol, 103, for 0:00 | answered rang success",
        "bob: You talked to Alice, 101, for 0:00 | answered rang success",
        "bob: You talked to Carol, 103, for 0:00 | answered rang success",
        "carol: You talked to Alice, 101, for 0:00 | answered rang success",
    ],
    "click_not_picked_up": ["alice: Call to 102: you did not pick up your own phone | unanswered silent timeout"],
    "click_refused": ["alice: Call to 102: you did not pick up your own phone | unanswered silent busy"],
    "local_group_n": [
        "alice: You talked to Bob, 102, for 0:00 | answered rang success",
        "bob: You talked to Alice, 101, for 0:00 | answered rang success",
        "carol: Call from Alice, 101, was answered by Bob | unanswered rang cancel",
    ],
}


@pytest.mark.parametrize(("name", "story"), STORIES.items(), ids=STORIES)
def test_what_a_recorded_call_is_told_as(name: str, story: list[str]) -> None:
    assert sorted(in_words(told) for told in play(name)) == sorted(story)


def in_words(told: Told) -> str:
    record = told.record
    flags = f"{'answered' if record.answered else 'unanswered'} {'rang' if record.rang else 'silent'}"
    return f"{told.person.local}: {told.text} | {flags} {record.reason}"


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_call_is_told_of_once(name: str) -> None:
    told = list(play(name))
    calls = [(one.person.jid, one.call_id) for one in told]
    assert len(calls) == len(set(calls))
    for one in told:
        record = one.record
        assert str(one.person.jid) in (record.initiator, record.responder)
        assert record.answered is (record.duration > 0) or record.duration == 0
        assert record.answered or "talked" not in one.text
