"""Who is told what: rule by rule, and whatever happens as Spark would see it."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agi_xmpp.ami.calls import Answered, Call, Change, Dialled, Ended, How, Party, Phase, Rang, Restored, Updated
from agi_xmpp.features.phone.events import Announcer, shown_name
from agi_xmpp.xmpp.phone_model import EventType, PhoneEvent
from tests.spark import NAMESPACE, ON_THE_PHONE, ONLINE, Shown, Spark, Toast, Watched, stanza_of
from tests.unit.ami.test_recordings import CLICKS, EACH, TEAM, TRACES, run

BOB = "bob@example.org"
ALICE = Party("101", "Alice")


def call(name, phase=Phase.RINGING, *, owner=BOB, incoming=True, clicked=False, party=ALICE, began=0.0):
    return Call(name, owner, phase, incoming, clicked, "PJSIP/102", party, "PJSIP/102-1", began=began)


def clicked(name, phase=Phase.OPENING, **more):
    return call(name, phase, incoming=False, clicked=True, **more)


def talking(name, **more):
    return call(name, Phase.TALKING, **more)


class Line:
    """An announcer, and what it says in short: ``RING a``."""

    def __init__(self, announced=None):
        self.announced = {} if announced is None else announced
        self.announcer = Announcer(self.announced)

    def __call__(self, *changes: Change):
        return self.short(told for change in changes for told in self.announcer.announce(change))

    def settle(self):
        return self.short(self.announcer.settle())

    @staticmethod
    def short(told):
        return [f"{event.type.value} {event.call_id}" for _owner, event in told]


def test_an_incoming_call_is_told_from_the_first_ring_to_the_end():
    announcer = Announcer({})
    changes: list[Change] = [Rang(call("a")), Answered(talking("a")), Ended(talking("a"), How.TALKED)]
    assert [told for change in changes for told in announcer.announce(change)] == [
        (BOB, PhoneEvent(EventType.RING, "a", "PJSIP/102", "101", "Alice (101)")),
        (BOB, PhoneEvent(EventType.ON_PHONE, "a", "PJSIP/102", "101")),
        (BOB, PhoneEvent(EventType.HANG_UP, "a", "PJSIP/102")),
    ]


def test_an_outgoing_call_is_told_with_the_name_of_who_is_called():
    announcer = Announcer({})
    own = call("a", Phase.DIALLING, incoming=False, party=Party("102", "Bob"))
    assert announcer.announce(Dialled(own)) == [(BOB, PhoneEvent(EventType.DIALED, "a", "PJSIP/102", "102", "Bob"))]


@pytest.mark.parametrize("how", [How.MISSED, How.ELSEWHERE, How.REJECTED, How.FORWARDED, How.LOST])
def test_a_call_that_nobody_took_has_no_hang_up(how):
    assert Line()(Rang(call("a")), Ended(call("a"), how)) == ["RING a"]


@pytest.mark.parametrize("how", [How.BUSY, How.NO_ANSWER, How.FAILED])
def test_a_dialled_call_that_nobody_took_has_no_hang_up(how):
    own = call("a", Phase.DIALLING, incoming=False)
    assert Line()(Dialled(own), Ended(own, how)) == ["DIALED a"]


def test_the_own_phone_does_not_ring_after_a_click():
    line = Line()
    assert line(Rang(clicked("a", Phase.RINGING))) == []
    assert line(Dialled(clicked("a", Phase.DIALLING)), Answered(clicked("a", Phase.TALKING))) == [
        "DIALED a",
        "ON_PHONE a",
    ]
    assert line(Ended(clicked("a", Phase.TALKING), How.TALKED)) == ["HANG_UP a"]


@pytest.mark.parametrize("how", [How.UNPICKED, How.BUSY, How.NO_ANSWER, How.FAILED])
def test_a_click_that_came_to_nothing_changes_no_presence(how):
    assert Line()(Ended(clicked("a"), how)) == ["ON_PHONE a", "HANG_UP a"]


def test_a_click_that_came_to_nothing_during_another_call_leaves_that_one_on():
    line = Line()
    line(Answered(talking("a")))
    assert line(Ended(clicked("b"), How.UNPICKED)) == ["HANG_UP b", "ON_PHONE a"]
    assert line(Ended(talking("a"), How.TALKED)) == ["HANG_UP a"]


def test_a_second_call_is_told_when_the_first_is_over():
    line = Line()
    assert line(Answered(talking("a")), Rang(call("b")), Answered(talking("b"))) == ["ON_PHONE a", "RING b"]
    assert line(Ended(talking("a"), How.TALKED)) == ["HANG_UP a", "ON_PHONE b"]
    assert line(Ended(talking("b"), How.TALKED)) == ["HANG_UP b"]


def test_a_second_call_that_is_over_first_is_not_told():
    line = Line()
    line(Answered(talking("a")), Answered(talking("b")))
    assert line(Ended(talking("b"), How.TALKED)) == []
    assert line(Ended(talking("a"), How.TALKED)) == ["HANG_UP a"]


def test_of_several_calls_the_oldest_is_told_next():
    line = Line()
    line(*(Answered(talking(name, began=began)) for name, began in [("a", 1.0), ("b", 3.0), ("c", 2.0)]))
    assert line(Ended(talking("a", began=1.0), How.TALKED)) == ["HANG_UP a", "ON_PHONE c"]


def test_the_next_call_is_told_as_it_is_by_then():
    announcer = Announcer({})
    changes: list[Change] = [Answered(talking("a")), Answered(talking("b")), Updated(talking("b", party=Party("103")))]
    for change in changes:
        announcer.announce(change)
    told = announcer.announce(Ended(talking("a"), How.TALKED))
    assert told[1] == (BOB, PhoneEvent(EventType.ON_PHONE, "b", "PJSIP/102", "103"))


def test_an_update_tells_nobody():
    line = Line()
    line(Answered(talking("a")))
    assert line(Updated(talking("a", party=Party("103"))), Updated(call("b"))) == []


def test_people_do_not_count_for_each_other():
    line = Line()
    assert line(Answered(talking("a")), Answered(talking("a", owner="x@example.org"))) == ["ON_PHONE a", "ON_PHONE a"]
    assert line(Ended(talking("a"), How.TALKED)) == ["HANG_UP a"]
    assert line.announced == {"x@example.org": "a PJSIP/102"}


def test_a_call_from_before_us_is_not_told_but_counts():
    line = Line()
    assert line(Restored(talking("old"))) == []
    assert line(Answered(talking("new"))) == ["ON_PHONE new"]
    assert line(Ended(talking("new"), How.TALKED)) == ["HANG_UP new", "ON_PHONE old"]
    assert line(Ended(talking("old"), How.TALKED)) == ["HANG_UP old"]


def test_a_call_from_before_us_ends_as_silently_as_it_came():
    line = Line()
    assert line(Restored(talking("old")), Ended(talking("old"), How.TALKED)) == []


def test_a_call_that_rang_before_us_is_told_from_its_answer():
    line = Line()
    assert line(Restored(call("a")), Answered(talking("a")), Ended(talking("a"), How.TALKED)) == [
        "ON_PHONE a",
        "HANG_UP a",
    ]


def test_a_lost_call_is_over():
    assert Line()(Answered(talking("a")), Ended(talking("a"), How.LOST)) == ["ON_PHONE a", "HANG_UP a"]


def test_what_ended_while_we_were_away_is_told_when_we_are_back():
    before = Line()
    before(Answered(talking("a")))
    after = Line(before.announced)
    assert after.settle() == ["HANG_UP a"]
    assert after.settle() == []
    assert after.announced == {}


def test_what_goes_on_while_we_were_away_ends_once():
    before = Line()
    before(Answered(talking("a")))
    after = Line(before.announced)
    assert after(Restored(talking("a"))) == []
    assert after.settle() == []
    assert after(Ended(talking("a"), How.TALKED)) == ["HANG_UP a"]


def test_of_two_calls_the_one_that_is_left_is_told_when_we_are_back():
    before = Line()
    before(Answered(talking("a")), Answered(talking("b")))
    after = Line(before.announced)
    after(Restored(talking("b")))
    assert after.settle() == ["HANG_UP a", "ON_PHONE b"]


def test_the_device_is_known_when_we_are_back():
    before = Line()
    before(Answered(talking("a")))
    assert Announcer(before.announced).settle() == [(BOB, PhoneEvent(EventType.HANG_UP, "a", "PJSIP/102"))]


@pytest.mark.parametrize(
    ("name", "number", "shown"),
    [
        ("Alice", "101", "Alice (101)"),
        ("Alice", "", "Alice"),
        ("", "101", "101"),
        ("", "", ""),
        ("Alice", "555010019", "Alice (555010019)"),
        ("Alice", "5550100199", "Alice"),  # Spark shows ten characters as a number
        ("Alice", "55501001990", "Alice (55501001990)"),
        ("Alice (101)", "101", "Alice (101)"),
    ],
)
def test_a_name_has_the_number_where_spark_would_not_show_it(name, number, shown):
    assert shown_name(name, number) == shown


# Spark itself


def test_spark_shows_name_and_number():
    spark = Spark()
    for party in (ALICE, Party("5550100199", "Ann"), Party("102"), Party()):
        for _owner, event in Announcer({}).announce(Rang(call("a", party=party))):
            spark.receive(stanza_of(event))
    assert spark.toasts == [Toast("Alice (101)", ""), Toast("Ann", "5550100199"), Toast("102", ""), Toast("", "")]


def test_spark_loses_its_presence_by_a_second_on_phone():
    spark = Spark()
    for kind in (EventType.ON_PHONE, EventType.ON_PHONE, EventType.HANG_UP):
        spark.receive(stanza_of(PhoneEvent(kind, "a", "PJSIP/102")))
    assert spark.bar == ON_THE_PHONE


def test_spark_forgets_do_not_disturb_by_a_hang_up_alone():
    spark = Spark()
    spark.choose(Shown("dnd", "Busy"))
    spark.receive(stanza_of(PhoneEvent(EventType.HANG_UP, "a", "PJSIP/102")))
    assert spark.bar == ONLINE


def test_spark_pops_up_headlines_with_a_text_and_all_of_its_own_domain():
    event = stanza_of(PhoneEvent(EventType.RING, "a", "PJSIP/102"))
    spark = Spark()
    spark.receive(event)
    assert spark.alerts == []
    event.set("from", "example.org")
    spark.receive(event)
    event.set("from", "phone.example.org")
    event.append(event.makeelement("body", {}))
    spark.receive(event)
    assert spark.alerts == ["", ""]


def test_an_old_spark_reads_one_event_a_message_and_only_with_type():
    message = stanza_of(PhoneEvent(EventType.RING, "a", "PJSIP/102"))
    message.append(stanza_of(PhoneEvent(EventType.ON_PHONE, "a", "PJSIP/102"))[0])
    old, new = Spark("2.8"), Spark("3.1")
    old.receive(message)
    new.receive(message)
    assert (old.bar, new.bar) == (ONLINE, ON_THE_PHONE)
    untyped = stanza_of(PhoneEvent(EventType.RING, "a", "PJSIP/102"))
    del untyped[0].attrib["type"]
    new.receive(untyped)
    with pytest.raises(ValueError, match="without type"):
        old.receive(untyped)
    assert untyped[0].tag == f"{{{NAMESPACE}}}phone-event"


@pytest.mark.parametrize("owners", [EACH, TEAM], ids=["each", "team"])
@pytest.mark.parametrize("name", TRACES)
def test_spark_shows_what_is_true_in_each_recording_of_real_calls(name, owners):
    """After each event of Asterisk, for everybody whose phones take part; they did not want to be disturbed before."""
    people = {owner: Watched() for owner in set(owners.values())}
    for watched in people.values():
        watched.choose(Shown("dnd", "Busy"))
    if name in CLICKS:
        people["alice"].spark.dial()
    announcer = Announcer({})
    for calls, _event, changes in run(TRACES[name], owners):
        for change in changes:
            person = people[change.call.owner]
            person.rung += isinstance(change, Rang) and not change.call.clicked
            for owner, event in announcer.announce(change):
                people[owner].spark.receive(stanza_of(event))
        for owner, person in people.items():
            person.talking = {call.id for call in calls.of(owner) if call.phase is Phase.TALKING}
            person.check()
    assert not people["alice"].spark.dial_window
    assert announcer.settle() == []


class Phones(RuleBasedStateMachine):
    """Bob's phones: calls come, are made, overlap, and end; Bob changes his presence, and our service starts anew."""

    @initialize(version=st.sampled_from(["2.8", "3.1"]))
    def log_in(self, version):
        self.watched = Watched(Spark(version))
        self.announced: dict[str, str] = {}
        self.announcer = Announcer(self.announced)
        self.calls: dict[str, Call] = {}
        self.count = 0

    def tell(self, *changes):
        for change in changes:
            self.show(self.announcer.announce(change))

    def show(self, told):
        for owner, event in told:
            assert owner == BOB
            self.watched.spark.receive(stanza_of(event))

    def begin(self, **what):
        self.count += 1
        new = dataclasses.replace(call(f"c{self.count}", began=float(self.count)), **what)
        self.calls[new.id] = new
        return new

    def some(self, data, *phases):
        return data.draw(st.sampled_from([call for call in self.calls.values() if call.phase in phases]))

    def has(self, *phases):
        return any(call.phase in phases for call in self.calls.values())

    def advance(self, old, phase):
        self.calls[old.id] = dataclasses.replace(old, phase=phase)
        return self.calls[old.id]

    @rule(number=st.sampled_from(["", "101", "5550100199"]), name=st.sampled_from(["", "Alice"]))
    def somebody_calls(self, number, name):
        self.watched.rung += 1
        self.tell(Rang(self.begin(party=Party(number, name))))
        toast = self.watched.spark.toasts[-1]
        assert bool(toast.name or toast.number) == bool(number or name)

    @rule()
    def bob_dials(self):
        self.tell(Dialled(self.begin(phase=Phase.DIALLING, incoming=False)))

    @rule()
    def bob_clicks(self):
        self.watched.spark.dial()
        self.begin(phase=Phase.OPENING, incoming=False, clicked=True)

    @precondition(lambda self: self.has(Phase.OPENING))
    @rule(data=st.data())
    def bob_picks_up_his_own_phone(self, data):
        self.tell(Dialled(self.advance(self.some(data, Phase.OPENING), Phase.DIALLING)))

    @precondition(lambda self: self.has(Phase.RINGING, Phase.DIALLING))
    @rule(data=st.data())
    def they_talk(self, data):
        taken = self.advance(self.some(data, Phase.RINGING, Phase.DIALLING), Phase.TALKING)
        self.watched.talking.add(taken.id)
        self.tell(Answered(taken))

    @precondition(lambda self: self.has(Phase.TALKING))
    @rule(data=st.data())
    def somebody_is_put_through(self, data):
        self.tell(Updated(dataclasses.replace(self.some(data, Phase.TALKING), party=Party("103", "Carol"))))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), how=st.sampled_from(How))
    def a_call_ends(self, data, how):
        ended = self.some(data, *Phase)
        del self.calls[ended.id]
        self.watched.talking.discard(ended.id)
        self.tell(Ended(ended, how))
        assert not (ended.clicked and self.watched.spark.dial_window)

    @precondition(lambda self: not self.watched.talking)
    @rule(presence=st.sampled_from([ONLINE, Shown("dnd", "Busy"), Shown("away", "At lunch"), Shown("chat", "", 5)]))
    def bob_sets_his_presence(self, presence):
        self.watched.choose(presence)

    @rule(seed=st.integers(0, 1000))
    def we_are_started_anew(self, seed):
        """Some calls end meanwhile; those that are left come in any order."""
        left = list(self.calls.values())
        random.Random(seed).shuffle(left)
        left = left[: random.Random(seed).randint(0, len(left))]
        self.calls = {call.id: call for call in left}
        self.watched.talking &= set(self.calls)
        self.announcer = Announcer(self.announced)
        self.tell(*(Restored(call) for call in left))
        self.show(self.announcer.settle())

    @invariant()
    def spark_shows_what_is_true(self):
        if hasattr(self, "watched"):
            self.watched.check()
            assert set(self.announced) == ({BOB} if self.watched.talking else set())


Phones.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestPhones = Phones.TestCase
