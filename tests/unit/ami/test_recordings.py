"""The reader of the recordings, and every recording through the call model, for all ways to own the phones."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agi_xmpp.ami.calls import Calls, Change, Ended, device_of
from tests.unit.ami.recordings import Trace, everything, read
from tests.unit.ami.watch import Watch, is_empty

HERE = Path(__file__).parent
TRACES = everything()
#: ChannelIds of the recorded clicks to dial, all by alice.
CLICKS = {
    name: next(uid for uid in uids if uid.startswith(("ami-call-", "click-", "xp-")))
    for name, trace in TRACES.items()
    if (uids := [event[key] for _, event in trace.events for key in ("Uniqueid", "DestUniqueid") if key in event])
    and any(uid.startswith(("ami-call-", "click-", "xp-")) for uid in uids)
}
#: Who owns the phones in expected.txt. Alice has two everywhere, in a team bob has two as well.
EACH = {"PJSIP/101": "alice", "PJSIP/201": "alice", "PJSIP/102": "bob", "PJSIP/103": "carol", "PJSIP/104": "dave"}
TEAM = EACH | {"PJSIP/103": "bob"}


def run(trace: Trace, owners: Mapping[str, str]) -> Iterator[tuple[Calls, dict[str, str], list[Change]]]:
    """Feed a recording as it happened, time included; yield the model after each event, with the event and changes."""
    now = 0.0
    calls = Calls(lambda device: owners.get(device, ""), lambda: now)
    if trace.name in CLICKS and owners.get("PJSIP/101"):
        calls.expect(CLICKS[trace.name], owners["PJSIP/101"])
    for seconds, event in trace.events:
        while (due := calls.next_deadline()) is not None and due <= seconds:
            now = due
            yield calls, {}, calls.tick()
        now = seconds
        yield calls, event, calls.feed(event)


def in_words(change: Change) -> str:
    call = change.call
    words = [type(change).__name__, call.party.number or "?", call.party.name, "held" if call.held else ""]
    words.append(f"at {call.device or '?'}")
    if isinstance(change, Ended):
        words += [change.how.name, f"by {change.by.number} {change.by.name}" if change.by else "", change.owner]
    return " ".join(word for word in words if word)


def story(trace: Trace, owners: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what is told of each call: ``bob``'s first, ``bob 2``"""
    told: dict[tuple[str, str], list[str]] = {}
    for _, _, changes in run(trace, owners):
        for change in changes:
            told.setdefault((change.call.owner, change.call.id), []).append(in_words(change))
    count: Counter[str] = Counter()
    named: dict[str, list[str]] = {}
    for (owner, _), words in told.items():
        count[owner] += 1
        named[owner if count[owner] == 1 else f"{owner} {count[owner]}"] = words
    return named


def expected(name: str) -> dict[str, dict[str, list[str]]]:
    """Return expected.txt: by recording and kind of ownership, what is told of each call."""
    stories: dict[str, dict[str, list[str]]] = {}
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("##### "):
            title = line[6:]
            stories[title] = {}
        elif line and not line.startswith("#"):
            whose, _, changes = line.partition(": ")
            stories[title][whose] = changes.split(" | ")
    return stories


EXPECTED = expected("expected.txt")


@pytest.mark.parametrize("name", TRACES)
def test_each_recording_tells_exactly_this(name):
    assert story(TRACES[name], EACH) == EXPECTED[name]


@pytest.mark.parametrize("name", TRACES)
def test_two_phones_of_one_person_make_one_call(name):
    assert story(TRACES[name], TEAM) == EXPECTED[f"{name} (team)"]


def test_every_expectation_has_its_recording():
    assert EXPECTED.keys() == {title for name in TRACES for title in (name, f"{name} (team)")}


def ownerships() -> list[dict[str, str]]:
    """Return every way to give the phones to their people or to nobody, and some with shared owners."""
    subsets = [
        {device: owner for (device, owner), wanted in zip(EACH.items(), bits, strict=True) if wanted}
        for bits in itertools.product([True, False], repeat=5)
    ]
    shared = [dict.fromkeys(pair, "both") for size in (2, 3, 5) for pair in itertools.combinations(EACH, size)]
    return subsets + shared


@pytest.mark.parametrize("owners", ownerships(), ids=lambda owners: "-".join(owners.values()) or "nobody")
def test_what_is_told_makes_sense_whoever_owns_the_phones(owners):
    for trace in TRACES.values():
        watch = Watch()
        for calls, _, changes in run(trace, owners):
            watch.take(changes)
            if changes or owners == EACH:  # a look after each event is most of the work; with one map it is enough
                watch.agrees(calls)
        assert is_empty(calls), trace.name
        assert watch.live == {}, trace.name


@pytest.mark.parametrize(
    "left_out", [(), *itertools.combinations(["alice", "bob", "carol", "dave"], 1), ("bob", "dave")]
)
def test_what_one_is_told_does_not_depend_on_who_else_is_known(left_out):
    owners = {device: owner for device, owner in EACH.items() if owner not in left_out}
    for trace in TRACES.values():
        if trace.name in CLICKS and "alice" in left_out:
            continue  # without the person who clicked, it is no click
        everybody = {whose: told for whose, told in EXPECTED[trace.name].items() if whose.split()[0] not in left_out}
        alone = story(trace, owners)
        # Only whose phone has won is not known then.
        assert {whose: told[:-1] for whose, told in alone.items()} == {
            whose: told[:-1] for whose, told in everybody.items()
        }
        assert all(told[-1].startswith(alone[whose][-1]) for whose, told in everybody.items()), trace.name


@pytest.mark.parametrize("owners", [EACH, TEAM], ids=["each", "team"])
@pytest.mark.parametrize("name", TRACES)
def test_a_person_is_busy_while_a_phone_of_theirs_is_up(name, owners):
    up: dict[str, str] = {}
    for calls, event, _ in run(TRACES[name], owners):
        owner = owners.get(device_of(event.get("Channel", "")), "")
        if event.get("Event") in ("Newchannel", "Newstate") and event["ChannelStateDesc"] == "Up":
            up[event["Uniqueid"]] = owner
        elif event.get("Event") == "Hangup":
            up.pop(event["Uniqueid"], None)
        # A picked up click to dial is no conversation before the other side, or nobody, has answered.
        people = set(owners.values()) - ({"alice"} if name in CLICKS else set())
        assert {owner for owner in people if calls.is_busy(owner)} == people & set(up.values())


@pytest.mark.parametrize("name", TRACES)
def test_what_is_said_twice_changes_nothing(name):
    twice = Trace(name, [entry for entry in TRACES[name].events for _ in range(2)])
    assert story(twice, EACH) == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name in TRACES if name not in CLICKS])  # a ChannelId is used once
def test_a_recording_that_comes_again_as_a_whole_is_old_news(name):
    trace = TRACES[name]
    again = Trace(name, trace.events + [(60.0, event) for _, event in trace.events])
    assert story(again, EACH) == EXPECTED[name]


def test_the_reader_keeps_spaces_in_values(tmp_path):
    file = tmp_path / "traces.txt"
    file.write_text("# comment\n\n##### T title\n  1.50 Hangup Channel=PJSIP/101-1 CallerIDName=Ann Lee Cause=16\n")
    assert read(file)["T"].events == [
        (1.5, {"Event": "Hangup", "Channel": "PJSIP/101-1", "CallerIDName": "Ann Lee", "Cause": "16"})
    ]


@pytest.mark.parametrize("text", ["nonsense\n", "##### T\nsoon Hangup\n", "##### T\n##### T\n"])
def test_the_reader_refuses_what_it_does_not_understand(tmp_path, text):
    file = tmp_path / "traces.txt"
    file.write_text(text)
    with pytest.raises(AssertionError):
        read(file)
