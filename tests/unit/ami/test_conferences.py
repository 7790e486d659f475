"""Who is in which conference: recordings of Asterisk 22.10, and random histories with gaps."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.ami import confbridge, conferences
from agi_xmpp.ami.conferences import Change, Conferences, Participant, PhoneChanged, PhoneJoined, PhoneLeft
from agi_xmpp.ami.model import Ami, Message
from tests.unit.ami.recordings import Trace, read

_T = TypeVar("_T")

TRACES = {path.stem: read(path)[path.stem] for path in sorted((Path(__file__).parent / "traces/conferences").glob("*"))}
#: Events of a recording that are items of lists, or their ends.
LISTS = (
    *("ConfbridgeList", "ConfbridgeListComplete", "ConfbridgeListRooms", "ConfbridgeListRoomsComplete"),
    *("Status", "StatusComplete"),
)


def done(work: Coroutine[Any, Any, _T]) -> _T:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return cast(_T, end.value)
    raise AssertionError("it waits")


class Watch:
    """Follows the changes as their user does, and checks that each makes sense."""

    def __init__(self, own_device: str = "PJSIP/nobody", withheld: Collection[str] = ()) -> None:
        self.model = Conferences()
        self.model.hide(own_device)
        self.seen: dict[str, dict[str, Participant]] = {}
        self.words: list[str] = []
        self._withheld = withheld

    def event(self, message: Message) -> None:
        self.take(self.model.event(message))

    def take(self, changes: Iterable[Change]) -> None:
        """Take changes, answer the questions that they bring, and compare with what the model says."""
        for change in changes:
            self._take(change)
        for question in self.model.take_questions():
            for change in self.model.answer(question, question.channel in self._withheld):
                self._take(change)
        assert {number: list(phones.values()) for number, phones in self.seen.items() if phones} == {
            number: self.model.of(number) for number in self.model.numbers()
        }

    def _take(self, change: Change) -> None:
        phones = self.seen.setdefault(change.number, {})
        if isinstance(change, PhoneLeft):
            phone = phones.pop(change.channel)
        else:
            phone = change.participant
            assert (phone.channel in phones) == isinstance(change, PhoneChanged)
            assert phones.get(phone.channel) != phone
            phones[phone.channel] = phone
        words = [type(change).__name__.removeprefix("Phone"), change.number, phone.device]
        if not isinstance(change, PhoneLeft):
            words += [phone.number or "-", phone.name or "-"]
            words += [word for word in ("muted", "admin", "withheld") if getattr(phone, word)]
        self.words.append(" ".join(words))


def story(trace: Trace, **options: Any) -> list[str]:
    """Return what is told of a recording."""
    watch = Watch(**options)
    for _, event in trace.events:
        if event["Event"] not in LISTS:
            watch.event(event)
    assert watch.model.numbers() == []
    return watch.words


#: What is told of each recording.
EXPECTED = {
    "two_join": [
        *("Joined staff PJSIP/101 101 Alice", "Joined staff PJSIP/102 102 Bob"),
        *("Left staff PJSIP/102", "Left staff PJSIP/101"),
    ],
    "muted_by_manager": [
        *("Joined staff PJSIP/101 101 Alice", "Joined staff PJSIP/102 102 Bob"),
        *("Changed staff PJSIP/102 102 Bob muted", "Changed staff PJSIP/102 102 Bob"),
        *("Left staff PJSIP/102", "Left staff PJSIP/101"),
    ],
    "muted_by_key": [
        *("Joined staff PJSIP/101 101 Alice", "Changed staff PJSIP/101 101 Alice muted"),
        *("Changed staff PJSIP/101 101 Alice", "Left staff PJSIP/101"),
    ],
    "kicked": [
        *("Joined staff PJSIP/101 101 Alice", "Joined staff PJSIP/102 102 Bob"),
        *("Left staff PJSIP/102", "Left staff PJSIP/101"),
    ],
    "hung_up_by_manager": ["Joined staff PJSIP/101 101 Alice", "Left staff PJSIP/101"],
    "administrator": ["Joined staff PJSIP/101 101 Alice admin", "Left staff PJSIP/101"],
    "withheld": ["Joined staff PJSIP/101 101 Alice", "Left staff PJSIP/101"],
    "nameless": ["Joined staff PJSIP/101 - -", "Left staff PJSIP/101"],
    # Asterisk says that they came, and that they went, in one moment.
    "left_at_the_door": ["Joined staff PJSIP/101 101 Alice", "Left staff PJSIP/101"],
    "redirected_at_the_door": ["Joined staff PJSIP/101 101 Alice", "Left staff PJSIP/101"],
    "two_conferences": [
        "Joined staff PJSIP/101 101 Alice",
        *("Joined board PJSIP/102 102 Bob", "Joined board PJSIP/103 103 Carol"),
        *("Left board PJSIP/103", "Joined staff PJSIP/103 103 Carol"),
        *("Left staff PJSIP/101", "Left board PJSIP/102", "Left staff PJSIP/103"),
    ],
    "blind_transfer": ["Joined staff PJSIP/101 101 Alice", "Left staff PJSIP/101"],
    "attended_transfer": [
        *("Joined staff PJSIP/103 103 Carol", "Joined staff PJSIP/102 102 Bob"),
        *("Left staff PJSIP/102", "Joined staff PJSIP/101 101 Alice"),
        *("Left staff PJSIP/101", "Left staff PJSIP/103"),
    ],
    "transferred_out": [
        *("Joined staff PJSIP/101 101 Alice", "Joined staff PJSIP/102 102 Bob"),
        *("Left staff PJSIP/102", "Joined staff PJSIP/103 103 Carol"),
        *("Left staff PJSIP/103", "Left staff PJSIP/101"),
    ],
    "both_redirected": [
        *("Joined staff PJSIP/101 101 Alice", "Joined staff PJSIP/102 102 Bob"),
        *("Left staff PJSIP/101", "Left staff PJSIP/102"),
    ],
    "renamed": [
        *("Joined staff PJSIP/101 101 Alice", "Changed staff PJSIP/101 101 Alice Adams"),
        *("Changed staff PJSIP/101 4711 Alice Adams", "Left staff PJSIP/101"),
    ],
    "local_channel": ["Joined staff Local/102@internal 102 Bob", "Left staff Local/102@internal"],
    "local_channel_optimised": ["Joined staff Local/102@internal 102 Bob", "Left staff Local/102@internal"],
    "invited": ["Joined staff PJSIP/102 102 Bob", "Left staff PJSIP/102"],
    "invited_busy": [],
    "invited_no_answer": [],
    "invited_phone_off": [],
}


def test_each_recording_has_its_story():
    assert TRACES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", TRACES)
def test_each_recording_tells_exactly_this(name):
    assert story(TRACES[name]) == EXPECTED[name]


@pytest.mark.parametrize("name", TRACES)
def test_what_is_said_twice_changes_nothing(name):
    twice = [entry for entry in TRACES[name].events for _ in range(2)]
    assert story(Trace(name, twice)) == EXPECTED[name]


@pytest.mark.parametrize("name", TRACES)
def test_a_hangup_is_enough(name):
    """Nobody stays in whose channel is gone, whatever else is not heard of."""
    watch = Watch()
    for _, event in TRACES[name].events:
        if event["Event"] not in (*LISTS, "ConfbridgeLeave"):
            watch.event(event)
    assert watch.model.numbers() == []


class Lists:
    """Asterisk's answers about conferences, from a recording."""

    def __init__(self, events: Sequence[Message]) -> None:
        self._events = events

    async def items(self, name: str, headers: Mapping[str, str] | None = None) -> Sequence[Message]:
        conference = (headers or {}).get("Conference")
        named = [event for event in self._events if event["Event"] == name]
        return [event for event in named if conference in (None, event.get("Conference"))]


def lists(trace: Trace) -> list[tuple[int, Lists]]:
    """Return the lists that a recording has, and the index of the event behind each."""
    found: list[tuple[int, Lists]] = []
    begin = 0
    for index, (_, event) in enumerate(trace.events):
        if event["Event"] == "ConfbridgeListRooms" and trace.events[index - 1][1]["Event"] != "ConfbridgeListRooms":
            begin = index
        elif event["Event"] == "StatusComplete":
            found.append((index + 1, Lists([event for _, event in trace.events[begin:index]])))
    return found


@pytest.mark.parametrize("name", [name for name, trace in TRACES.items() if lists(trace)])
def test_who_comes_in_the_middle_sees_what_the_others_see(name):
    events = [event for _, event in TRACES[name].events]
    for index, answers in lists(TRACES[name]):
        witness, late = Watch(), Watch()
        for event in events[:index]:
            if event["Event"] not in LISTS:
                witness.event(event)
        late.model.begin_resync()
        late.take(late.model.resync(done(confbridge.participants(cast(Ami, answers)))))
        assert late.seen == {number: phones for number, phones in witness.seen.items() if phones}
        for event in events[index:]:
            late.event(event)
        assert late.model.numbers() == []


def test_who_is_being_thrown_out_or_about_to_come_in_is_listed_but_not_in():
    for name, device in (("kicked", "PJSIP/102-"), ("left_at_the_door", "PJSIP/101-")):
        ((_, answers),) = lists(TRACES[name])
        listed = done(answers.items("ConfbridgeList"))
        assert any(item["Channel"].startswith(device) for item in listed)
        found = done(confbridge.participants(cast(Ami, answers)))
        assert not any(item["Channel"].startswith(device) for item in found)


# Names and numbers


def join(channel: str, uid: str = "1.1", conference: str = "staff", **headers: str) -> Message:
    event = {"Event": "ConfbridgeJoin", "Conference": conference, "Channel": channel, "Uniqueid": uid}
    return event | {"CallerIDNum": "101", "CallerIDName": "Alice", "Admin": "No", "Muted": "No"} | headers


def leave(channel: str, uid: str = "1.1", conference: str = "staff") -> Message:
    return {"Event": "ConfbridgeLeave", "Conference": conference, "Channel": channel, "Uniqueid": uid}


def callerid(uid: str, number: str, name: str, presentation: str) -> Message:
    event = {"Event": "NewCallerid", "Uniqueid": uid, "CallerIDNum": number, "CallerIDName": name}
    return event | {"CID-CallingPres": presentation}


ALICE = "PJSIP/101-00000001"
ALLOWED, PROHIBITED = "0 (Presentation Allowed, Not Screened)", "32 (Presentation Prohibited, Not Screened)"


def test_nobody_is_told_of_before_it_is_known_whether_they_withhold_their_name():
    model = Conferences()
    assert list(model.event(join(ALICE))) == []
    assert model.of("staff") == []
    assert model.numbers() == []
    (question,) = model.take_questions()
    assert question.channel == ALICE
    assert list(model.take_questions()) == []
    assert model.has_unknown("staff")
    assert not model.has_unknown("other")
    (change,) = model.answer(question, True)
    assert not model.has_unknown("staff")
    assert change == PhoneJoined("staff", Participant(ALICE, "1.1", "", "", "PJSIP/101", withheld=True))
    assert list(model.answer(question, False)) == []  # the first answer counts


def test_who_has_left_before_the_answer_is_not_told_of():
    model = Conferences()
    model.event(join(ALICE))
    (question,) = model.take_questions()
    assert list(model.event(leave(ALICE))) == []
    assert list(model.answer(question, False)) == []
    assert model.of("staff") == []


def test_who_has_left_is_not_asked_about():
    model = Conferences()
    model.event(join(ALICE))
    model.event(leave(ALICE))
    assert list(model.take_questions()) == []


def test_an_answer_about_somebody_else_does_not_count():
    model = Conferences()
    model.event(join(ALICE))
    (question,) = model.take_questions()
    model.event(callerid("1.1", "102", "Bob", PROHIBITED))
    assert list(model.answer(question, False)) == []
    (phone,) = model.of("staff")
    assert (phone.name, phone.number, phone.withheld) == ("", "", True)


@pytest.mark.parametrize(
    ("presentation", "shown"),
    [(ALLOWED, True), (PROHIBITED, False), ("67 (Number Unavailable)", True), ("35", False), ("", False), ("?", False)],
)
def test_a_new_caller_s_name_is_shown_if_the_event_allows_it(presentation, shown):
    watch = Watch()
    watch.event(join(ALICE))
    watch.event(callerid("1.1", "102", "Bob", presentation))
    (phone,) = watch.model.of("staff")
    assert (phone.name, phone.number, phone.withheld) == (("Bob", "102", False) if shown else ("", "", True))


def test_unknown_names_are_empty():
    watch = Watch()
    watch.event(join(ALICE, CallerIDNum="<unknown>", CallerIDName="<unknown>"))
    (phone,) = watch.model.of("staff")
    assert (phone.name, phone.number) == ("", "")


def test_voice_and_name_of_who_withholds_it():
    watch = Watch(withheld=[ALICE])
    watch.event(join(ALICE))
    watch.event({**leave(ALICE), "Event": "ConfbridgeMute"})
    assert watch.words == ["Joined staff PJSIP/101 - - withheld", "Changed staff PJSIP/101 - - muted withheld"]


# Channels


@pytest.mark.parametrize(
    "channel",
    [
        *("PJSIP/agi-xmpp-00000001", "CBAnn/6000-00000001;2", "CBRec/conf-6000-uid-1", "CBAnn/6000-00000001;1"),
        "Message/ast_msg_queue",
    ],
)
def test_our_own_leg_and_confbridge_s_channels_are_hidden(channel):
    watch = Watch("PJSIP/agi-xmpp")
    watch.event(join(channel))
    watch.event(leave(channel))
    assert watch.words == []


LEG = "PJSIP/agi-xmpp-00000001"


def test_our_own_legs_are_known_from_join_to_leave():
    model = Conferences()
    model.hide("PJSIP/agi-xmpp")
    model.event(join(LEG))
    model.event(join("PJSIP/agi-xmpp-00000002", "1.2", "board"))
    assert model.own_legs() == [("staff", LEG), ("board", "PJSIP/agi-xmpp-00000002")]
    model.event(leave(LEG))
    assert model.own_legs() == [("board", "PJSIP/agi-xmpp-00000002")]
    model.event({"Event": "Hangup", "Uniqueid": "1.2", "Channel": "PJSIP/agi-xmpp-00000002"})
    assert model.own_legs() == []


def test_our_own_legs_are_known_by_the_lists():
    model = Conferences()
    model.hide("PJSIP/agi-xmpp")
    model.event(join(LEG))
    model.begin_resync()
    model.resync([join("PJSIP/agi-xmpp-00000002", "1.2")])
    assert model.own_legs() == [("staff", "PJSIP/agi-xmpp-00000002")]
    model.begin_resync()
    model.event(join(LEG, "1.3"))
    model.resync([])
    assert model.own_legs() == [("staff", LEG)]


def test_a_leg_of_ours_stays_that_when_its_phone_is_no_more_ours():
    model = Conferences()
    model.hide("PJSIP/agi-xmpp")
    model.event(join(LEG))
    model.show("PJSIP/agi-xmpp")
    model.begin_resync()
    model.resync([join(LEG), join("PJSIP/agi-xmpp-00000002", "1.2")])
    assert model.own_legs() == [("staff", LEG)]
    assert [participant.uniqueid for participant in model.take_questions()] == ["1.2"]


def test_a_phone_with_a_name_like_ours_is_none_of_ours():
    watch = Watch("PJSIP/agi-xmpp")
    watch.event(join("PJSIP/agi-xmpp-2-00000001"))
    assert watch.words == ["Joined staff PJSIP/agi-xmpp-2 101 Alice"]


def test_a_channel_of_another_name_is_another_phone():
    watch = Watch()
    watch.event(join(ALICE))
    rename = {"Event": "Rename", "Uniqueid": "1.1", "Channel": ALICE}
    watch.event(rename | {"Newname": f"{ALICE}<MASQ>"})
    watch.event(rename | {"Newname": "PJSIP/102-00000002"})
    assert watch.words == [
        "Joined staff PJSIP/101 101 Alice",
        "Left staff PJSIP/101",
        "Joined staff PJSIP/102 101 Alice",
    ]


def test_a_join_behind_the_hangup_is_old_news():
    watch = Watch()
    watch.event({"Event": "Hangup", "Uniqueid": "1.1", "Channel": ALICE})
    watch.event(join(ALICE))
    assert watch.words == []


def test_so_many_channels_that_are_gone_are_remembered():
    model = Conferences()
    for number in range(conferences.PAST + 1):
        model.event({"Event": "Hangup", "Uniqueid": f"1.{number}", "Channel": ALICE})
    model.event(join(ALICE, "1.1"))
    assert list(model.take_questions()) == []
    model.event(join(ALICE, "1.0"))  # one too many: forgotten
    assert [question.uniqueid for question in model.take_questions()] == ["1.0"]


def test_a_channel_in_two_conferences_leaves_each_for_itself():
    """Events of two conferences may overtake each other: the Join of the second comes first here."""
    watch = Watch()
    watch.event(join(ALICE))
    watch.event(join(ALICE, conference="board"))
    watch.event(leave(ALICE))
    assert [phone.channel for phone in watch.model.of("board")] == [ALICE]
    assert watch.model.numbers() == ["board"]


def test_many_participants_are_asked_about_once_each():
    model = Conferences()
    asked = 0
    for number in range(1000):
        model.event(join(f"PJSIP/{number}-1", f"1.{number}"))
        for question in model.take_questions():
            asked += 1
            model.answer(question, False)
    assert asked == 1000
    assert len(model.of("staff")) == 1000


# The connection


def test_a_lost_connection_changes_nothing_until_the_lists_are_there():
    watch = Watch()
    watch.event(join(ALICE))
    watch.model.lost()
    assert [phone.channel for phone in watch.model.of("staff")] == [ALICE]
    watch.model.begin_resync()
    watch.event(join("PJSIP/102-00000002", "1.2", CallerIDNum="102", CallerIDName="Bob"))
    assert len(watch.model.of("staff")) == 1
    watch.take(watch.model.resync([]))
    assert watch.words[1:] == ["Left staff PJSIP/101", "Joined staff PJSIP/102 102 Bob"]


def test_without_lists_the_events_count_alone():
    watch = Watch()
    watch.event(join(ALICE))
    watch.model.lost()
    watch.model.begin_resync()
    watch.event(join("PJSIP/102-00000002", "1.2"))
    watch.take(watch.model.resync(None))
    assert len(watch.model.of("staff")) == 2


def test_who_was_not_asked_about_is_asked_about_after_the_next_lists():
    model = Conferences()
    model.event(join(ALICE))
    model.take_questions()
    model.begin_resync()
    model.resync([join(ALICE)])
    assert [question.channel for question in model.take_questions()] == [ALICE]


def test_lists_that_say_what_is_known_bring_nothing():
    watch = Watch(withheld=[ALICE])
    watch.event(join(ALICE))
    watch.model.begin_resync()
    assert list(watch.model.resync([join(ALICE)])) == []
    assert list(watch.model.take_questions()) == []


# Random histories


@dataclass
class Channel:
    """A channel of the exchange.

    Attributes:
        state: outside, or in the list of a conference, then in (between its Join and Leave), then behind its Leave, and
            gone at last.
    """

    uid: str
    state: str = "outside"
    conference: str = ""
    muted: bool = False
    name: str = "Alice"

    def message(self, event: str) -> Message:
        headers = {"Muted": "Yes" if self.muted else "No", "CallerIDName": self.name}
        return {**join(f"PJSIP/{self.uid}-1", self.uid, self.conference), **headers, "Event": event}


@dataclass
class History:
    """An Asterisk with a random history: each number of ``steps`` is one thing that happens.

    Attributes:
        steps: what happens, in order; the lists are asked for in between.
        events: what was said, and not taken.
        reads: how many steps pass between two lists.
    """

    steps: list[int]
    reads: list[int]
    events: list[Message] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=lambda: [Channel(f"1.{number}") for number in range(5)])

    def step(self) -> None:
        """Let something happen, if anything is left to happen."""
        if not self.steps:
            return
        choice = self.steps.pop(0)
        channel = self.channels[choice % 5]
        what = choice // 5 % 8
        match channel.state:
            case "gone":
                pass
            case "outside":
                if what == 0:
                    self._hangup(channel)
                else:
                    channel.state, channel.conference = "door", ("staff", "board")[what % 2]
                    channel.muted = False
            case "door":
                channel.state = "in"
                self.events.append(channel.message("ConfbridgeJoin"))
            case "in":
                if what in (0, 1):
                    channel.muted = not channel.muted
                    self.events.append(channel.message("ConfbridgeMute" if channel.muted else "ConfbridgeUnmute"))
                elif what == 2:
                    channel.name = "Bob" if channel.name == "Alice" else "Alice"
                    self.events.append(callerid(channel.uid, "101", channel.name, ALLOWED))
                elif what > 4:
                    channel.state = "leaving"
                    self.events.append(channel.message("ConfbridgeLeave"))
            case "leaving":
                channel.state = "outside"
                if what < 4:
                    self._hangup(channel)

    def _hangup(self, channel: Channel) -> None:
        channel.state = "gone"
        self.events.append(channel.message("Hangup"))

    def heard(self) -> list[Message]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events

    def truth(self) -> dict[str, set[tuple[str, str, bool]]]:
        """Return who is in."""
        found: dict[str, set[tuple[str, str, bool]]] = {}
        for each in self.channels:
            if each.state == "in":
                found.setdefault(each.conference, set()).add((each.uid, each.name, each.muted))
        return found

    # Ami

    async def items(self, name: str, headers: Mapping[str, str] | None = None) -> Sequence[Message]:
        """Answer, some steps later, with what is so then."""
        for _ in range(self.reads.pop(0) if self.reads else 0):
            self.step()
        listed = [each for each in self.channels if each.state in ("door", "in", "leaving")]
        if name == "ConfbridgeListRooms":
            return [{"Conference": number} for number in {each.conference for each in listed}]
        if name == "ConfbridgeList":
            return [each.message(name) for each in listed if each.conference == (headers or {})["Conference"]]
        return [{"Uniqueid": each.uid, "BridgeID": "b" if each.state == "in" else ""} for each in self.channels]


NUMBERS = st.integers(0, 39)


@given(
    before=st.lists(NUMBERS, max_size=40),
    missed=st.lists(NUMBERS, max_size=20),
    after=st.lists(NUMBERS, max_size=40),
    reads=st.lists(st.integers(0, 4), max_size=6),
    delay=st.integers(0, 4),
)
def test_after_any_gap_the_model_is_right(before, missed, after, reads, delay):
    history, watch = History([*before, *missed, *after], reads), Watch()
    for _ in before:
        history.step()
        for event in history.heard():
            watch.event(event)
    assert seen(watch.model) == history.truth()
    watch.model.lost()
    for _ in missed:
        history.step()
    history.heard()
    watch.model.begin_resync()
    items = done(confbridge.participants(cast(Ami, history)))
    for _ in range(delay):
        history.step()
    for event in history.heard():
        watch.event(event)
    told = len(watch.words)
    was = seen(watch.model)
    watch.take(watch.model.resync(items))
    assert seen(watch.model) == history.truth()
    assert len(watch.words) - told <= len(flat(was) ^ flat(history.truth()))
    while history.steps:
        history.step()
        for event in history.heard():
            watch.event(event)
    assert seen(watch.model) == history.truth()


def seen(model: Conferences) -> dict[str, set[tuple[str, str, bool]]]:
    return {
        number: {(phone.uniqueid, phone.name, phone.muted) for phone in model.of(number)} for number in model.numbers()
    }


def flat(rooms: Mapping[str, set[tuple[str, str, bool]]]) -> set[tuple[str, tuple[str, str, bool]]]:
    return {(number, phone) for number, phones in rooms.items() for phone in phones}
