"""One message per call, and it says in the end how the call went."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agi_xmpp.ami.calls import Answered, Dialled, Ended, How, Party, Phase, Rang, Restored, Updated
from agi_xmpp.errors import NotConnected
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.features.phone.notes import ENDING_AGE, PAST, RING_AGE, Notes, caller, duration, taken_by
from agi_xmpp.xmpp.call_record import CallRecord, Reason
from tests.unit.features.fakes import FakeSession
from tests.unit.features.phone.house import ANN, BOB, CAROL, PEOPLE, call, person

RINGS = "Ann Smith, 101, is calling you (PJSIP/102)."


class Stage:
    """Notes on a session that takes messages down, and a phone book that answers when the test says so."""

    def __init__(self, *, patient_book: bool = False, **results: Any) -> None:
        self.session = FakeSession(**results)
        self.entry: Entry | None = None
        self.asked: list[str] = []
        self.book_answers = asyncio.Event()
        if not patient_book:
            self.book_answers.set()
        self.now = datetime(2030, 1, 2, 10, 3, tzinfo=UTC)
        self.table: dict[str, str] = {}
        self.notes = Notes(self.session, PEOPLE, self._lookup, self.table, lambda: self.now)

    async def _lookup(self, number: str) -> Entry | None:
        self.asked.append(number)
        await self.book_answers.wait()
        return self.entry

    async def happens(self, *changes: Any) -> None:
        for change in changes:
            self.notes.call_changed(change)
        await self.settled()

    async def settled(self) -> None:
        """Let everything be done that needs no answer of the phone book."""
        for _ in range(10):
            await asyncio.sleep(0)

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    @property
    def sent(self) -> list[tuple[str, str, Any, float]]:
        """Address, text, extras and age of each message."""
        return [(a[0], a[1], k["extras"], k["max_age"]) for _, a, k in self.session.calls]

    @property
    def said(self) -> list[str]:
        return [text for _, text, _, _ in self.sent]


async def test_a_call_that_is_answered():
    stage = Stage()
    await stage.happens(Rang(call()))
    ((to, text, extras, age),) = stage.sent
    assert (to, text, age) == ("bob@x.org", RINGS, RING_AGE)
    assert (extras.replaces, extras.expects_answer) == ("", False)
    assert stage.session.calls[0][2]["thread"] == "c-1"

    stage.later(minutes=1)
    await stage.happens(Answered(call(phase=Phase.TALKING)))
    assert stage.said[1:] == ["Ann Smith, 101, called you at 10:03: answered at 10:04 on PJSIP/102."]
    assert (stage.sent[1][2].replaces, stage.sent[1][3]) == ("q1", ENDING_AGE)

    stage.later(seconds=192)
    await stage.happens(Ended(call(phase=Phase.OVER), How.TALKED))
    assert stage.said[2:] == ["Ann Smith, 101, called you at 10:03: answered at 10:04 on PJSIP/102, 3:12 long."]
    assert stage.sent[2][2].replaces == "q1"


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended(call(), How.MISSED), "missed"),
        (Ended(call(), How.REJECTED), "rejected"),
        (Ended(call(), How.FORWARDED), "forwarded"),
        (Ended(call(), How.ELSEWHERE, Party("103", "C"), str(CAROL)), "answered by Carol"),
        (Ended(call(), How.ELSEWHERE, Party("77", "The workshop")), "answered by The workshop"),
        (Ended(call(), How.ELSEWHERE, Party("77")), "answered by 77"),
        (Ended(call(), How.ELSEWHERE), "answered elsewhere"),
        (Ended(call(), How.LOST), "Asterisk was out of reach, so how it ended is not known"),
        (Ended(call(), How.TALKED), "over"),
    ],
)
async def test_how_it_can_end(ended, words):
    stage = Stage()
    await stage.happens(Rang(call()), ended)
    assert stage.said[-1] == f"Ann Smith, 101, called you at 10:03: {words}."
    await stage.happens(Answered(call()), Ended(call(), How.MISSED))
    assert len(stage.said) == 1  # it is over


async def test_asterisk_is_lost_while_they_talk():
    stage = Stage()
    await stage.happens(Rang(call()))
    await stage.happens(Answered(call()), Ended(call(), How.LOST))
    assert stage.said[-1].endswith("10:03 on PJSIP/102; Asterisk was out of reach, so how it ended is not known.")


@pytest.mark.parametrize(
    ("link", "avatar", "shown"),
    [
        ("https://crm.example/1", "https://crm.example/1.png", "https://crm.example/1"),
        ("", "https://crm.example/1.png", "https://crm.example/1.png"),
    ],
)
async def test_the_phone_book_is_late(link, avatar, shown):
    stage = Stage(patient_book=True)
    await stage.happens(Rang(call()))
    assert stage.said == []
    stage.entry = Entry("Ann Archer", "ACME", link=link, avatar=avatar)
    stage.book_answers.set()
    await stage.settled()
    assert stage.said == [f"Ann Archer (ACME), 101, is calling you (PJSIP/102).\n{shown}"]
    assert stage.sent[0][2].link == shown
    assert stage.asked == ["101"]


async def test_the_phone_book_is_later_than_the_end():
    stage = Stage(patient_book=True)
    await stage.happens(Rang(call()), Answered(call()))
    stage.later(seconds=5)
    await stage.happens(Ended(call(), How.TALKED))
    stage.book_answers.set()
    await stage.settled()
    # One message, which is no correction of another and does not say that somebody is calling.
    assert stage.said == ["Ann Smith, 101, called you at 10:03: answered at 10:03 on PJSIP/102, 0:05 long."]
    assert (stage.sent[0][2].replaces, stage.sent[0][3]) == ("", ENDING_AGE)


async def test_the_other_side_changes_while_it_rings():
    stage = Stage()
    await stage.happens(Rang(call()))
    await stage.happens(Updated(call(party=Party("555", "Zoe"))))
    assert stage.said[1:] == ["Zoe, 555, is calling you (PJSIP/102)."]
    assert stage.asked == ["101", "555"]
    await stage.happens(Updated(call(party=Party("555", "Zoe"), held=True)))
    assert len(stage.said) == 2  # nothing to read in that


async def test_the_number_changes_while_it_is_looked_up():
    stage = Stage(patient_book=True)
    await stage.happens(Rang(call()))
    await stage.happens(Updated(call(party=Party("555", "Zoe"))))
    stage.book_answers.set()
    await stage.settled()
    assert stage.said == ["Zoe, 555, is calling you (PJSIP/102)."]
    assert stage.asked == ["101", "555"]


async def test_a_withheld_number_is_not_looked_up():
    stage = Stage()
    await stage.happens(Rang(call(party=Party())))
    assert stage.said == ["Somebody without a number is calling you (PJSIP/102)."]
    assert stage.asked == []


async def test_who_gets_notes():
    stage = Stage()
    assert (stage.notes.wanted(person(BOB)), stage.notes.wanted(person(ANN))) == (True, False)
    await stage.happens(Rang(call(ANN)))
    assert stage.said == []
    stage.notes.want(person(ANN), True)
    stage.notes.want(person(BOB), False)
    assert stage.table == {"ann@x.org": "on", "bob@x.org": "off"}
    await stage.happens(Rang(call(ANN, id="c-2")), Rang(call(BOB, id="c-3")))
    assert [to for to, *_ in stage.sent] == ["ann@x.org"]
    again = Notes(stage.session, PEOPLE, stage._lookup, stage.table)
    assert (again.wanted(person(BOB)), again.wanted(person(ANN))) == (False, True)


async def test_a_note_that_was_begun_is_ended_after_notes_off():
    stage = Stage()
    await stage.happens(Rang(call()))
    stage.notes.want(person(BOB), False)
    await stage.happens(Ended(call(), How.MISSED))
    assert stage.said[-1].endswith("missed.")


async def test_calls_without_a_note():
    stage = Stage()
    out = call(incoming=False, phase=Phase.DIALLING)
    await stage.happens(
        Dialled(out), Answered(out), Ended(out, How.TALKED), Restored(call(id="c-5")), Ended(call(id="c-5"), How.TALKED)
    )
    await stage.happens(Rang(call(owner=ANN.__class__("nobody", "x.org"))), Rang(call(id="c-6", incoming=False)))
    assert stage.said == []


async def test_two_calls_at_once_are_two_messages():
    stage = Stage()
    await stage.happens(Rang(call()), Rang(call(id="c-2", party=Party("103", "Carol"))))
    await stage.happens(Ended(call(), How.MISSED))
    assert stage.said[1:] == [
        "Carol, 103, is calling you (PJSIP/102).",
        "Ann Smith, 101, called you at 10:03: missed.",
    ]


async def test_a_note_that_cannot_be_sent(caplog):
    stage = Stage(queue_message=NotConnected("the queue is full"))
    await stage.happens(Rang(call()))
    assert "bob@x.org is not told of a call: the queue is full" in caplog.text
    stage.session.results["queue_message"] = "q9"
    await stage.happens(Ended(call(), How.MISSED))
    assert stage.sent[-1][2].replaces == ""  # there is nothing to correct


async def test_no_task_is_left():
    stage = Stage(patient_book=True)
    await stage.happens(Rang(call()))
    await stage.notes.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("party", "entry", "text"),
    [
        (Party("101", "Ann"), None, "Ann, 101"),
        (Party("101", "101"), None, "101"),
        (Party("101"), None, "101"),
        (Party("", "Ann"), None, "Ann"),
        (Party("101", "A"), Entry("Ann", "ACME"), "Ann (ACME), 101"),
        (Party("101", "A"), Entry("Ann"), "Ann, 101"),
        (Party("1\n2", "A\r\nb\x00\u202e"), None, "A b, 1 2"),
    ],
)
def test_who_is_calling(party, entry, text):
    assert caller(party, entry) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0:00"), (7.9, "0:07"), (754, "12:34"), (3723, "1:02:03")])
def test_durations(seconds, text):
    assert duration(seconds) == text


# Records

RECORD = CallRecord("1", "ann@x.org", "bob@x.org", False, True, Reason.CANCEL, 0)
MISSED = "Missed call from Ann Smith, 101 (rang 18 s)"


async def test_a_record_takes_the_place_of_the_note():
    stage = Stage()
    await stage.happens(Rang(call()))
    stage.notes.call_changed(Ended(call(), How.MISSED))
    assert stage.notes.conclude(person(BOB), "c-1", MISSED, RECORD)
    await stage.settled()
    # One correction: what the note would have said of the end is not said besides.
    assert stage.said == [RINGS, MISSED]
    extras = stage.sent[1][2]
    assert (extras.replaces, extras.record, extras.headline, stage.sent[1][3]) == ("q1", RECORD, False, ENDING_AGE)
    assert not stage.notes.conclude(person(BOB), "c-1", MISSED, RECORD)


async def test_a_record_comes_later_than_the_end():
    stage = Stage()
    await stage.happens(Rang(call()), Ended(call(), How.MISSED))
    assert len(stage.said) == 1
    assert stage.notes.conclude(person(BOB), "c-1", "Call from Ann, answered by Carol", RECORD)
    await stage.settled()
    assert stage.said[-1] == "Call from Ann, answered by Carol"


async def test_a_record_while_the_number_is_looked_up():
    stage = Stage(patient_book=True)
    await stage.happens(Rang(call()), Ended(call(), How.MISSED))
    assert stage.notes.conclude(person(BOB), "c-1", MISSED, RECORD)
    stage.book_answers.set()
    await stage.settled()
    assert stage.said == [MISSED]
    assert (stage.sent[0][2].replaces, stage.sent[0][2].record) == ("", RECORD)


async def test_without_a_note_there_is_nothing_to_replace():
    stage = Stage()
    assert not stage.notes.conclude(person(BOB), "c-1", MISSED, RECORD)
    await stage.happens(Rang(call(owner=ANN)), Ended(call(owner=ANN), How.MISSED))
    assert not stage.notes.conclude(person(ANN), "c-1", MISSED, RECORD)
    await stage.happens(Rang(call()))
    assert not stage.notes.conclude(person(BOB), "c-1", MISSED, RECORD)  # not over yet
    await stage.happens(Ended(call(), How.MISSED))
    await stage.notes.stop()
    assert not stage.notes.conclude(person(BOB), "c-1", MISSED, RECORD)


@pytest.mark.parametrize(("others", "found"), [(PAST - 1, True), (PAST, False)])
async def test_how_many_notes_are_remembered(others, found):
    stage = Stage()
    for number in range(others + 1):
        now = call(id=f"c-{number}")
        stage.notes.call_changed(Rang(now))
        stage.notes.call_changed(Ended(now, How.MISSED))
    assert stage.notes.conclude(person(BOB), "c-0", MISSED, RECORD) is found
    await stage.notes.stop()


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended(call(), How.ELSEWHERE, Party("103", "C"), str(CAROL)), "answered by Carol"),
        (Ended(call(), How.ELSEWHERE, Party("77", "The\nworkshop")), "answered by The workshop"),
        (Ended(call(), How.ELSEWHERE, Party("77")), "answered by 77"),
        (Ended(call(), How.ELSEWHERE), "answered elsewhere"),
    ],
)
def test_who_took_a_call(ended, words):
    assert taken_by(ended, {str(one.jid): one for one in PEOPLE}) == words
