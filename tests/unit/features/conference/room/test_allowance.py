"""How much rooms send out because of one person."""

from __future__ import annotations

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.room.allowance import CHARACTERS, ENTRY, PERIOD, QUESTION, TEXT, Allowance
from agi_xmpp.features.conference.room.conversation import MAX_MESSAGE
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import Hall, condition
from tests.unit.features.conference.house import DOMAIN, JULIET, ROMEO, House

NURSE = parse("nurse@example.org")
TOO_MUCH = ("wait", "resource-constraint")


def conditions(sent):
    return [condition(one) for one in sent if one.get("type") == "error"]


@pytest.mark.parametrize(("characters", "taken"), [(CHARACTERS - 1, True), (CHARACTERS, True), (CHARACTERS + 1, False)])
def test_so_much_in_one_go(characters, taken):
    assert Allowance(lambda: 0.0).take(NURSE, characters) is taken


def test_so_much_within_the_time_for_each_person():
    now = 0.0
    allowance = Allowance(lambda: now)
    assert [allowance.take(NURSE, TEXT) for _ in range(501)] == [True] * 500 + [False]
    assert allowance.take(parse("romeo@example.org"), TEXT)
    now = PERIOD - 0.1
    assert not allowance.take(NURSE, TEXT)
    now = PERIOD + 0.1
    assert allowance.take(NURSE, TEXT)


def test_what_was_refused_costs_nothing():
    allowance = Allowance(lambda: 0.0)
    assert not allowance.take(NURSE, CHARACTERS + 1)
    assert allowance.take(NURSE, CHARACTERS)


@pytest.fixture
def hall():
    hall = Hall()
    hall.join(ROMEO, "Romeo")
    hall.join(JULIET, "Juliet")
    return hall


@pytest.mark.parametrize("nick", ["", "Alice A"], ids=["to all", "to a phone"])
def test_texts_of_one_person_are_limited_and_those_of_others_go_on(hall, nick):
    hall.phone_joins(phone())
    kind = "chat" if nick else "groupchat"
    refused = [conditions(hall.say(ROMEO, "x", nick=nick, kind=kind)) for _ in range(CHARACTERS // TEXT + 1)]
    assert refused[-1] == [TOO_MUCH]
    assert not any(refused[:490])
    assert conditions(hall.say(JULIET, "x", nick=nick, kind=kind)) == []
    hall.outside.pass_time(PERIOD + 1)
    assert conditions(hall.say(ROMEO, "x", nick=nick, kind=kind)) == []


def test_a_message_counts_once_for_each_who_gets_it(hall):
    for number in range(198):
        hall.join(f"guest{number}@example.org/x", f"Guest {number}")
    hall.outside.pass_time(PERIOD + 1)
    long = "y" * (MAX_MESSAGE - 1000)
    refused = [bool(conditions(hall.say(ROMEO, long))) for _ in range(5)]
    assert refused == [False, False, False, True, True]


def test_who_enters_again_and_again_does_not_get_the_history_each_time(hall):
    for _ in range(20):
        hall.say(ROMEO, "y" * 45_000)
    hall.outside.pass_time(PERIOD + 1)
    refused = [conditions(hall.join(ROMEO, "Romeo")) for _ in range(100)]
    assert refused[0] == []
    assert refused[-1] == [TOO_MUCH]
    assert sum(not each for each in refused) < 50
    assert "Romeo" in hall.room.occupants


def test_coming_and_going_is_limited():
    hall = Hall()

    def comes() -> bool:
        sent = hall.join(ROMEO, "Romeo")
        hall.presence(ROMEO, "Romeo", kind="unavailable")
        return not conditions(sent)

    came = [comes() for _ in range(CHARACTERS // ENTRY + 1)]
    assert came[0]
    assert not came[-1]
    assert hall.room.occupants == {}


def test_other_names_and_moods_are_limited_by_how_many_see_them(hall):
    refused = [
        bool(conditions(hall.presence(ROMEO, f"Romeo {number % 2}", f"<status>{'y' * 7000}</status>")))
        for number in range(1000)
    ]
    assert not refused[0]
    assert refused[-1]


def test_who_goes_may_always_go(hall):
    while not conditions(hall.say(ROMEO, "x")):
        pass
    hall.presence(ROMEO, "Romeo", kind="unavailable")
    assert "Romeo" not in hall.room.occupants


def test_texts_of_phones_are_limited_and_the_log_says_so_once(hall):
    hall.phone_joins(phone())
    for number in range(50):
        hall.join(f"guest{number}@example.org/x", f"Guest {number}")
    shown = []
    for _ in range(20):
        hall.outside.take()
        hall.room.phone_said("Alice A", "y" * 60_000)
        shown.append(bool(hall.outside.take()))
    assert shown[0]
    assert not shown[-1]
    assert [note for note in hall.outside.notes if "phones write too much" in note] == [
        "room balcony@conference.example.org: its phones write too much; some of it is not shown in chat"
    ]
    hall.outside.pass_time(PERIOD + 1)
    hall.room.phone_said("Alice A", "hello")
    assert hall.outside.take()


def test_questions_are_limited_in_all_rooms_together():
    house = House(room={"balcony": {"number": "6000"}, "garden": {"number": "6001"}})
    info = f"<query xmlns='{stanzas.DISCO_INFO}'/>"
    items = f"<query xmlns='{stanzas.DISCO_ITEMS}'/>"
    asked = [("balcony", info), ("garden", info), ("", items)]
    answers = [house.iq(ROMEO, *asked[number % 3])[0].get("type") for number in range(CHARACTERS // QUESTION + 3)]
    assert answers == ["result"] * (len(answers) - 3) + ["error"] * 3
    assert house.iq(JULIET, "balcony", info)[0].get("type") == "result"
    house.outside.pass_time(PERIOD + 1)
    assert house.iq(ROMEO, "", items)[0].get("from") == DOMAIN


def test_strangers_do_not_fill_the_log():
    house = House(room={"balcony": {"number": "6000"}})
    for number in range(CHARACTERS // ENTRY + 50):
        (error,) = house.join(f"s{number}@stranger.example/x", "balcony/S")
        assert condition(error) == ("auth", "forbidden")
    assert len(house.outside.notes) == CHARACTERS // ENTRY
    assert "s0@stranger.example may not come in" in house.outside.notes[0]


def test_changes_are_limited_however_they_are_put_together():
    house = House(room={"balcony": {"number": "6000", "owners": ["romeo@example.org"]}})
    house.join(ROMEO, "balcony/Romeo")
    house.room("balcony").phone_joined(phone())
    mute = "<item nick='Alice A' role='visitor'/>" * 100
    request = f"<query xmlns='{stanzas.MUC_ADMIN}'>{mute}</query>"
    answers = [house.iq(ROMEO, "balcony", request, kind="set")[-1].get("type") for _ in range(20)]
    assert answers[0] == "result"
    assert answers[-1] == "error"
    assert len(house.outside.muted) < CHARACTERS // QUESTION
