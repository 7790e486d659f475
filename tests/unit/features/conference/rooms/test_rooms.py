"""Which rooms there are: opened, kept over a restart, changed by other settings, closed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agi_xmpp.errors import ConfigError
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Role
from agi_xmpp.features.conference.rooms.rooms import MAX_OPENED
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import codes, condition, to
from tests.unit.features.conference.house import JULIET, NURSE, PARIS, ROMEO, House, refusal, settings

OPEN = ["_[a-z]!", "_6XXX"]
BALCONY = {"balcony": {"number": "6000", "title": "Balcony"}}


def opened(**those: Any) -> House:
    """Return a house where Romeo has opened ``verona``."""
    house = House(**({"rooms": OPEN} | those))
    house.join(ROMEO, "verona/Romeo")
    return house


def affiliation(house: House, room: str, jid: str) -> str:
    return house.room(room).affiliation_of(parse(jid).bare).value


# The settings' rooms


def test_the_rooms_of_the_settings_are_there_from_the_start():
    house = House(room=BALCONY | {"tomb": {}})
    assert house.names == ["balcony", "tomb"]
    assert house.service.room_of_number("6000") is house.room("balcony")
    assert house.service.room_of_number("tomb") is house.room("tomb")
    assert house.service.room_of_number("balcony") is None


def test_a_room_of_another_service_is_none_of_ours():
    house = House(room={"garden": {"number": "6002", "muc": "garden@rooms.example.org"}}, rooms=OPEN)
    assert house.names == []
    assert house.service.room_for_number("6002") is None
    [error] = house.join(ROMEO, "garden/Romeo")
    assert condition(error) == ("cancel", "item-not-found")
    assert refusal(error)[1] == "This conference is the room garden@rooms.example.org."


def test_a_room_of_the_settings_stays_when_nobody_is_in():
    house = House(room=BALCONY)
    house.join(ROMEO, "balcony/Romeo")
    house.leave(ROMEO, "balcony/Romeo")
    assert house.names == ["balcony"]


# Rooms that people open


def test_whoever_joins_a_room_that_may_be_opened_owns_it():
    house = House(rooms=OPEN)
    sent = house.join(ROMEO, "verona/Romeo")
    [own] = [one for one in sent if one.tag == stanzas.PRESENCE]
    assert codes(own) == [110, 201]
    assert affiliation(house, "verona", ROMEO) == "owner"
    assert house.room("verona").occupants["Romeo"].role is Role.MODERATOR
    assert house.service.room_of_number("verona") is house.room("verona")
    assert "room verona@conference.example.org: opened by romeo@example.org" in house.outside.notes
    assert house.room("verona").title == "verona"


def test_the_next_one_just_comes_in():
    house = opened()
    sent = house.join(JULIET, "verona/Juliet")
    assert [codes(one) for one in to(sent, JULIET) if one.tag == stanzas.PRESENCE] == [[], [110]]
    assert affiliation(house, "verona", JULIET) == "none"


def test_the_owners_of_all_rooms_own_this_one_too():
    house = opened(owners=["escalus@example.org"])
    assert affiliation(house, "verona", "escalus@example.org") == "owner"


def test_it_closes_with_the_last_one_and_is_forgotten():
    house = opened()
    house.join(JULIET, "verona/Juliet")
    house.leave(ROMEO, "verona/Romeo")
    assert house.names == ["verona"]
    house.leave(JULIET, "verona/Juliet")
    assert house.names == []
    assert house.service.room_of_number("verona") is None
    assert house.outside.forgotten == [parse("verona@conference.example.org")] * 2  # when it opens and when it ends
    assert house.table == {}


def test_it_stays_as_long_as_somebody_is_in_by_telephone():
    house = opened()
    house.room("verona").phone_joined(phone())
    house.leave(ROMEO, "verona/Romeo")
    assert house.names == ["verona"]
    house.room("verona").phone_left("PJSIP/101-00000001")
    house.service.close_if_empty("verona")
    assert house.names == []


def test_an_owner_who_comes_back_to_a_closed_room_opens_it_anew():
    house = opened()
    house.leave(ROMEO, "verona/Romeo")
    house.join(JULIET, "verona/Juliet")
    assert affiliation(house, "verona", JULIET) == "owner"
    assert affiliation(house, "verona", ROMEO) == "none"


def test_who_cannot_come_in_leaves_no_room_behind():
    house = House(rooms=OPEN)
    [error] = house.join(ROMEO, f"verona/{'x' * 65}")
    assert condition(error) == ("modify", "jid-malformed")
    assert house.names == []


@pytest.mark.parametrize(("there", "fits"), [(0, True), (1, True), (2, False)])
def test_how_many_rooms_people_can_open(there, fits):
    house = House(rooms=OPEN, max_rooms=2, room=BALCONY)
    for number in range(there):
        house.join(ROMEO, f"room{'ab'[number]}/Romeo")
    sent = house.join(JULIET, "verona/Juliet")
    if fits:
        assert 201 in codes(to(sent, JULIET)[0])
    else:
        assert condition(sent[0]) == ("wait", "resource-constraint")
        assert "verona" not in house.names
        assert any("max_rooms = 2" in note for note in house.outside.notes)
    house.leave(ROMEO, "rooma/Romeo")
    assert house.join(NURSE, "rooma/Nurse")


def test_nobody_gets_into_a_locked_conference_by_opening_its_room():
    house = House(rooms=OPEN, owners=["nurse@example.org"])
    house.outside.locked = {"6001"}
    [sent] = house.join(ROMEO, "6001/Romeo")
    assert (condition(sent), refusal(sent)[1]) == (("auth", "forbidden"), "This conference is locked.")
    assert house.outside.notes == [
        f"room 6001@conference.example.org: {parse(ROMEO).bare} was not let in: This conference is locked."
    ]
    assert not house.names
    house.join(NURSE, "6001/Nurse")
    assert house.names == ["6001"]


@pytest.mark.parametrize(("there", "fits"), [(MAX_OPENED - 1, True), (MAX_OPENED, False), (MAX_OPENED + 1, False)])
def test_nobody_takes_all_rooms_there_may_be(there, fits):
    house = House(rooms=OPEN, room=BALCONY, owners=["escalus@example.org"])
    for number in range(there):
        house.join(ROMEO, f"{6100 + number}/Romeo")
    sent = house.join(ROMEO, "verona/Romeo")
    assert ("verona" in house.names) is fits
    if not fits:
        assert condition(sent[0]) == ("wait", "resource-constraint")
        house.leave(ROMEO, "6100/Romeo")
        house.leave(ROMEO, "6101/Romeo")
        assert 201 in codes(to(house.join(ROMEO, "verona/Romeo"), ROMEO)[0])
    assert 201 in codes(to(house.join(JULIET, "mantua/Juliet"), JULIET)[0])


def test_owners_of_all_rooms_open_as_many_as_they_like():
    house = House(rooms=OPEN, owners=["romeo@example.org"])
    for number in range(MAX_OPENED + 1):
        house.join(ROMEO, f"{6100 + number}/Romeo")
    assert len(house.names) == MAX_OPENED + 1


@pytest.mark.parametrize(("limit", "fits"), [(1, False), (2, True)])
def test_how_many_people_a_room_takes(limit, fits):
    house = opened(max_occupants=limit)
    sent = house.join(JULIET, "verona/Juliet")
    if fits:
        assert sent[0].get("type") is None
    else:
        assert condition(sent[0])[1] == "service-unavailable"


# Rooms that a phone opens


def test_a_conference_that_somebody_dials_has_a_room_without_an_owner():
    house = House(rooms=OPEN, owners=["escalus@example.org"])
    room = house.service.room_for_number("6001")
    assert room is not None
    assert str(room.address) == "6001@conference.example.org"
    assert dict(room.affiliations) == {parse("escalus@example.org"): Affiliation.OWNER}
    assert house.service.room_for_number("6001") is room
    room.phone_joined(phone())
    house.outside.take()
    sent = house.join(ROMEO, "6001/Romeo")
    assert [codes(one) for one in sent if one.tag == stanzas.PRESENCE] == [[], [110]]
    assert affiliation(house, "6001", ROMEO) == "none"


def test_a_conference_that_is_no_room():
    house = House(rooms=["_6XXX"], room=BALCONY)
    assert house.service.room_for_number("7000") is None
    assert house.service.room_for_number("60-00") is None
    assert house.service.room_for_number("6000") is house.room("balcony")
    assert house.names == ["balcony"]


def test_two_conferences_whose_addresses_are_one():
    house = House(rooms=["_[A-Za-z]!"])
    first = house.service.room_for_number("Verona")
    assert first is not None
    assert first.number == "Verona"
    assert house.service.room_for_number("VERONA") is None
    assert any("conference VERONA" in note for note in house.outside.notes)


def test_phones_do_not_open_more_rooms_than_there_may_be():
    house = House(rooms=OPEN, max_rooms=1)
    assert house.service.room_for_number("6001") is not None
    assert house.service.room_for_number("6002") is None
    assert any("max_rooms = 1" in note for note in house.outside.notes)


# Over a restart


def test_a_room_that_its_owner_made_to_stay_is_there_after_a_restart():
    house = opened()
    house.configure(ROMEO, "verona", persistentroom="1", roomname="Fair Verona", roomsecret="rose", maxusers="5")
    house.administer(ROMEO, "verona", "<item affiliation='outcast' jid='tybalt@example.org'/>")
    house.message(ROMEO, "verona", "<subject>Two households</subject>")
    house.leave(ROMEO, "verona/Romeo")
    assert house.names == ["verona"]

    again = house.restarted(rooms=OPEN, owners=["escalus@example.org"])
    room = again.room("verona")
    assert (room.number, room.title, room.config.password, room.config.max_occupants) == (
        "verona",
        "Fair Verona",
        "rose",
        5,
    )
    assert room.config.persistent
    assert not room.config.fixed
    assert dict(room.affiliations) == {
        parse("romeo@example.org"): Affiliation.OWNER,
        parse("tybalt@example.org"): Affiliation.OUTCAST,
        parse("escalus@example.org"): Affiliation.OWNER,
    }
    assert room.subject == ("Two households", "Romeo", house.outside.time)
    assert not again.service.is_fresh(room)


def test_a_room_that_does_not_stay_any_more_ends_after_a_restart_if_nobody_comes_back():
    house = opened()
    house.configure(ROMEO, "verona", persistentroom="1")
    house.configure(ROMEO, "verona", persistentroom="0")
    again = house.restarted(rooms=OPEN)
    assert again.names == ["verona"]
    again.service.end_waiting()
    assert again.names == []


def test_a_room_that_was_opened_for_the_occasion_is_there_after_a_restart():
    house = opened()
    house.configure(ROMEO, "verona", roomname="Fair Verona", roomsecret="rose", maxusers="5")
    house.administer(
        ROMEO,
        "verona",
        "<item affiliation='outcast' jid='tybalt@example.org'/>",
        "<item affiliation='member' jid='nurse@example.org'/>",
    )
    house.message(ROMEO, "verona", "<subject>Two households</subject>")
    house.service.shut_down()

    again = house.restarted(rooms=OPEN)
    room = again.room("verona")
    assert room.config == house.room("verona").config
    assert (room.title, room.config.password, room.config.persistent) == ("Fair Verona", "rose", False)
    assert dict(room.affiliations) == {
        parse("romeo@example.org"): Affiliation.OWNER,
        parse("tybalt@example.org"): Affiliation.OUTCAST,
        parse("nurse@example.org"): Affiliation.MEMBER,
    }
    assert room.subject == ("Two households", "Romeo", house.outside.time)
    assert again.outside.forgotten == []
    assert not again.service.is_fresh(room)


def test_it_is_there_also_if_nobody_has_set_anything_and_we_were_killed():
    assert opened().restarted(rooms=OPEN).names == ["verona"]


def test_a_stranger_who_comes_back_first_is_no_owner_and_the_owner_is_one_again():
    again = opened().restarted(rooms=OPEN)
    for who, name, role in ((JULIET, "Juliet", Role.PARTICIPANT), (ROMEO, "Romeo", Role.MODERATOR)):
        own = to(again.join(who, f"verona/{name}"), who)
        assert [codes(one) for one in own if one.tag == stanzas.PRESENCE][-1] == [110], "it was there: no 201"
        assert again.room("verona").occupants[name].role is role
    assert affiliation(again, "verona", JULIET) == "none"
    assert affiliation(again, "verona", ROMEO) == "owner"


def test_the_room_of_a_conference_keeps_its_number():
    house = House(rooms=["_[A-Za-z]!"])
    house.service.room_for_number("Verona")
    again = house.restarted(rooms=["_[A-Za-z]!"])
    assert again.service.room_of_number("Verona") is again.room("verona")
    assert again.service.room_for_number("Verona") is again.room("verona")


def test_until_the_end_of_the_waiting_nothing_ends_a_room():
    again = opened().restarted(rooms=OPEN)
    room = again.room("verona")
    again.join(JULIET, f"verona/{'x' * 65}")
    again.iq(JULIET, "verona", f"<query xmlns='{stanzas.DISCO_INFO}'/>")
    again.join(JULIET, "verona/Juliet")
    again.leave(JULIET, "verona/Juliet")
    room.phone_joined(phone())
    room.phone_left("PJSIP/101-00000001")
    again.service.close_if_empty("verona")
    assert again.names == ["verona"]
    again.service.shut_down()
    assert again.restarted(rooms=OPEN).names == ["verona"], "also if we are restarted meanwhile"


def test_a_room_that_nobody_comes_back_to_ends_with_its_messages():
    again = opened().restarted(rooms=OPEN, room=BALCONY)
    again.service.end_waiting()
    assert again.names == ["balcony"]
    assert again.table == {}
    assert again.outside.forgotten == [parse("verona@conference.example.org")]
    assert "room verona@conference.example.org: closed, nobody has come back" in again.outside.notes
    assert again.restarted(rooms=OPEN).names == []


@pytest.mark.parametrize("back", ["chat", "phone"])
def test_a_room_that_somebody_has_come_back_to_ends_when_they_leave(back):
    again = opened().restarted(rooms=OPEN)
    if back == "chat":
        again.join(JULIET, "verona/Juliet")
    else:
        again.room("verona").phone_joined(phone())
    again.service.end_waiting()
    assert again.names == ["verona"]
    if back == "chat":
        again.leave(JULIET, "verona/Juliet")
    else:
        again.room("verona").phone_left("PJSIP/101-00000001")
        again.service.close_if_empty("verona")
    assert again.names == []
    assert "room verona@conference.example.org: closed, nobody is in any more" in again.outside.notes


def test_only_rooms_that_were_there_wait():
    again = opened().restarted(rooms=OPEN)
    again.join(JULIET, "mantua/Juliet")
    again.leave(JULIET, "mantua/Juliet")
    assert again.names == ["verona"]
    again.service.destroy(again.room("verona"))
    again.join(JULIET, "verona/Juliet")
    again.leave(JULIET, "verona/Juliet")
    assert again.names == [], "a new one of the same name does not"


def test_a_room_that_was_opened_meanwhile_for_a_phone_that_still_rings_is_not_ended():
    again = opened().restarted(rooms=OPEN)
    again.service.room_for_number("6001")
    again.service.end_waiting()
    assert again.names == ["6001"]


def test_rooms_wait_also_for_people_whom_others_have_lost():
    house = opened()
    house.service.await_return()
    house.leave(ROMEO, "verona/Romeo")
    assert house.names == ["verona"]
    house.service.end_waiting()
    assert house.names == []


@pytest.mark.parametrize(("limit", "fits"), [(1, False), (2, True)])
def test_rooms_that_wait_count_where_there_may_be_so_many(limit, fits):
    again = opened().restarted(rooms=OPEN, max_rooms=limit)
    again.join(JULIET, "mantua/Juliet")
    assert ("mantua" in again.names) is fits
    again.service.end_waiting()
    again.join(NURSE, "kitchen/Nurse")
    assert "kitchen" in again.names


@pytest.mark.parametrize(("there", "fits"), [(MAX_OPENED - 1, True), (MAX_OPENED, False)])
def test_rooms_that_wait_count_as_those_of_their_owner(there, fits):
    house = House(rooms=OPEN)
    for number in range(there):
        house.join(ROMEO, f"{6100 + number}/Romeo")
    again = house.restarted(rooms=OPEN)
    again.join(ROMEO, "verona/Romeo")
    assert ("verona" in again.names) is fits


def test_a_room_that_may_not_be_opened_any_more_ends_with_its_messages_unless_it_was_made_to_stay():
    house = opened()
    house.join(JULIET, "mantua/Juliet")
    house.configure(JULIET, "mantua", persistentroom="1")
    again = house.restarted(rooms=["_6XXX"])
    assert again.names == ["mantua"]
    assert list(again.table) == ["mantua"]
    assert again.outside.forgotten == [parse("verona@conference.example.org")]
    [note] = again.outside.notes
    assert "room verona@conference.example.org: not opened again: no pattern of conference.rooms has" in note


@pytest.mark.parametrize(
    "instead",
    [
        {"square": {"number": "verona"}},
        {"square": {"number": "verona", "muc": "square@rooms.example.org"}},
        {"verona": {"number": "6000", "muc": "verona@rooms.example.org"}},
    ],
)
def test_a_room_whose_conference_has_another_room_now_ends_with_its_messages(instead):
    again = opened().restarted(rooms=OPEN, room=instead)
    assert "verona" not in again.names
    assert again.table == {}
    assert again.outside.forgotten == [parse("verona@conference.example.org")]
    [note] = again.outside.notes
    assert "conference verona has another room now" in note


def test_what_was_kept_before_rooms_for_the_occasion_were_is_read():
    config = (
        '{"title":"Fair Verona","description":"","password":"","members_only":false,"moderated":false,"public":true,'
        '"subject_by_all":false,"persistent":true,"max_occupants":200,"fixed":false}'
    )
    affiliations = '{"romeo@example.org":"owner"}'
    table = {"verona": f'{{"number":"verona","config":{config},"affiliations":{affiliations},"subject":null}}'}
    house = House(table, rooms=OPEN)
    house.service.end_waiting()
    assert house.room("verona").title == "Fair Verona"
    assert affiliation(house, "verona", ROMEO) == "owner"


def test_a_room_that_does_not_stay_closes_when_its_owner_says_so_from_outside():
    house = opened()
    house.configure(ROMEO, "verona", persistentroom="1")
    house.leave(ROMEO, "verona/Romeo")
    house.configure(ROMEO, "verona", persistentroom="0")
    assert house.names == []


def test_of_a_room_of_the_settings_its_subject_and_people_come_back():
    house = House(room={"balcony": {"owners": ["romeo@example.org"], "subject": "participants"}})
    house.join(ROMEO, "balcony/Romeo")
    house.administer(ROMEO, "balcony", "<item affiliation='member' jid='nurse@example.org'/>")
    house.message(ROMEO, "balcony", "<subject>Roses</subject>")
    again = house.restarted(room={"balcony": {"title": "New", "owners": ["juliet@example.org"]}})
    room = again.room("balcony")
    assert room.title == "New", "the settings win"
    assert affiliation(again, "balcony", NURSE) == "member"
    assert affiliation(again, "balcony", ROMEO) == "none", "he was owner by the settings only"
    assert affiliation(again, "balcony", JULIET) == "owner"
    assert room.subject is not None
    assert room.subject.text == "Roses"


def test_what_the_settings_say_of_somebody_wins_over_what_is_kept():
    house = House(room={"balcony": {"owners": ["romeo@example.org"]}})
    house.administer(ROMEO, "balcony", "<item affiliation='outcast' jid='nurse@example.org'/>")
    again = house.restarted(room={"balcony": {"members": ["nurse@example.org"]}})
    assert affiliation(again, "balcony", NURSE) == "member"


def test_a_kept_room_gives_way_to_one_of_the_settings():
    house = opened()
    house.configure(ROMEO, "verona", persistentroom="1")
    again = house.restarted(room={"square": {"number": "verona"}})
    assert again.names == ["square"]
    assert any("conference verona has another room now" in note for note in again.outside.notes)


def test_a_kept_room_that_the_settings_have_now_is_as_they_say():
    house = opened()
    house.configure(ROMEO, "verona", persistentroom="1", roomname="Old")
    again = house.restarted(room={"verona": {"title": "New"}})
    assert again.room("verona").title == "New"
    assert again.room("verona").config.fixed
    assert affiliation(again, "verona", ROMEO) == "owner"


def test_a_kept_room_takes_no_more_people_than_the_settings_allow():
    house = opened()
    house.configure(ROMEO, "verona", persistentroom="1", maxusers="100")
    assert house.restarted(rooms=OPEN, max_occupants=10).room("verona").config.max_occupants == 10


def test_a_damaged_entry_does_not_stop_the_start():
    config = {"title": "x", "persistent": True}
    table = {
        "broken": "{",
        "bad name": json.dumps({"number": "1", "config": config}),
        "verona": json.dumps({"number": "2", "config": config}),
        "twin": json.dumps({"number": "2", "config": config}),
    }
    house = House(table, rooms=OPEN)
    assert house.names == ["verona"]
    assert len(house.outside.notes) == 3


def test_texts_from_chat_that_json_has_to_quote_are_kept():
    house = opened()
    house.configure(ROMEO, "verona", persistentroom="1", roomname="&quot;\\ 😀 \u2028")
    assert house.restarted(rooms=OPEN).room("verona").title == '"\\ 😀'


# Closed by their owner


def test_a_room_that_is_destroyed_is_gone_with_all_that_was_said():
    house = opened()
    house.configure(ROMEO, "verona", persistentroom="1")
    house.join(JULIET, "verona/Juliet")
    house.room("verona").phone_joined(phone())
    house.outside.take()
    room = house.room("verona")
    house.service.destroy(room, "Plague", parse("mantua@conference.example.org"))
    sent = house.outside.take()
    assert [one.get("type") for one in sent] == ["unavailable", "unavailable"]
    assert house.names == []
    assert house.table == {}
    assert house.outside.kicked == ["PJSIP/101-00000001"]
    assert room.address in house.outside.forgotten
    assert house.service.room_of_number("verona") is None


@pytest.mark.parametrize("end", ["destroyed", "withdrawn", "empty"])
def test_a_room_that_ends_is_not_found_any_more_while_it_says_so(end, monkeypatch):
    """Whoever is told to look at its conference again must not bring the phones back into it."""
    house = opened()
    room = house.room("verona")
    room.phone_joined(phone())
    found = []
    monkeypatch.setattr(
        house.outside, "occupancy_changed", lambda number: found.append(house.service.room_of_number(number))
    )
    if end == "destroyed":
        house.service.destroy(room)
    elif end == "withdrawn":
        house.service.apply(settings(room={"square": {"number": "verona", "muc": "square@rooms.example.org"}}))
    else:
        room.phone_left("PJSIP/101-00000001")
        house.leave(ROMEO, "verona/Romeo")
        found = found[-1:]  # at first, it is a room without people
    assert found
    assert set(found) == {None}
    assert not room.phones


# Other settings


def test_a_room_changes_in_place():
    house = House(room={"balcony": {"owners": ["romeo@example.org"], "members": ["nurse@example.org"]}})
    house.join(ROMEO, "balcony/Romeo")
    house.join(JULIET, "balcony/Juliet")
    house.join(NURSE, "balcony/Nurse")
    room = house.room("balcony")
    house.service.apply(
        settings(room={"balcony": {"title": "New", "members_only": True, "owners": ["juliet@example.org"]}})
    )
    sent = house.outside.take()
    assert house.room("balcony") is room
    assert room.title == "New"
    assert set(room.occupants) == {"Juliet"}
    assert room.occupants["Juliet"].affiliation is Affiliation.OWNER
    assert any(322 in codes(one) for one in to(sent, NURSE)), "it is for members only now"


def test_settings_that_say_the_same_tell_nobody_anything():
    house = House(room=BALCONY, rooms=OPEN, owners=["escalus@example.org"])
    house.join(ROMEO, "balcony/Romeo")
    house.join(ROMEO, "verona/Romeo")
    house.service.apply(settings(room=BALCONY, rooms=OPEN, owners=["escalus@example.org"]))
    assert house.outside.take() == []


def test_a_room_that_the_settings_have_no_more_is_closed_and_its_phones_stay_in_the_conference():
    house = House(room=BALCONY)
    house.join(ROMEO, "balcony/Romeo")
    house.room("balcony").phone_joined(phone())
    house.outside.take()
    house.service.apply(settings())
    [gone] = [one for one in to(house.outside.take(), ROMEO) if 110 in codes(one)]
    assert gone.find(f".//{{{stanzas.MUC_USER}}}destroy") is not None
    assert "The administrator has changed the rooms." in "".join(gone.itertext())
    assert house.names == []
    assert house.outside.kicked == []
    assert house.service.room_of_number("6000") is None


def test_a_room_that_moves_says_where_to_and_takes_its_phones_along():
    house = House(room=BALCONY)
    house.join(ROMEO, "balcony/Romeo")
    house.room("balcony").phone_joined(phone("Alice A", "101"))
    house.outside.take()
    house.service.apply(settings(room={"terrace": {"number": "6000"}}))
    [destroyed] = [found for one in house.outside.take() for found in one.iter(f"{{{stanzas.MUC_USER}}}destroy")]
    assert destroyed.get("jid") == "terrace@conference.example.org"
    assert house.names == ["terrace"]
    assert house.service.room_of_number("6000") is house.room("terrace")
    assert [one.nick for one in house.room("terrace").phones.values()] == ["Alice A"]


def test_a_room_that_goes_to_another_service_says_where():
    house = House(room=BALCONY)
    house.join(ROMEO, "balcony/Romeo")
    house.service.apply(settings(room={"balcony": {"number": "6000", "muc": "garden@rooms.example.org"}}))
    [destroyed] = [found for one in house.outside.take() for found in one.iter(f"{{{stanzas.MUC_USER}}}destroy")]
    assert destroyed.get("jid") == "garden@rooms.example.org"
    assert house.names == []


def test_a_room_of_the_settings_that_may_also_be_opened_lives_on_as_one_for_its_phones():
    house = House(room={"6001": {}}, rooms=OPEN)
    house.room("6001").phone_joined(phone("Alice A", "101"))
    house.service.apply(settings(rooms=OPEN))
    assert house.names == ["6001"]
    assert not house.room("6001").config.fixed
    assert len(house.room("6001").phones) == 1


def test_a_room_that_somebody_opened_becomes_one_of_the_settings():
    house = opened()
    house.service.apply(
        settings(rooms=OPEN, room={"verona": {"title": "Fair Verona", "owners": ["escalus@example.org"]}})
    )
    room = house.room("verona")
    assert room.config.fixed
    assert room.title == "Fair Verona"
    assert set(room.occupants) == {"Romeo"}
    assert affiliation(house, "verona", ROMEO) == "owner"
    assert affiliation(house, "verona", "escalus@example.org") == "owner"


def test_a_room_that_somebody_opened_gives_way_to_one_of_the_settings_with_its_number():
    house = opened()
    house.service.apply(settings(rooms=OPEN, room={"square": {"number": "verona"}}))
    assert house.names == ["square"]


def test_a_room_that_somebody_opened_stays_whatever_may_be_opened_now():
    house = opened()
    house.service.apply(settings(owners=["escalus@example.org"], max_occupants=3))
    assert set(house.room("verona").occupants) == {"Romeo"}
    assert house.room("verona").config.max_occupants == 3
    assert affiliation(house, "verona", "escalus@example.org") == "owner"


def test_who_may_come_in_changes():
    house = House(room=BALCONY)
    assert condition(house.join(PARIS, "balcony/Paris")[0]) == ("auth", "forbidden")
    house.service.apply(settings(room=BALCONY, allow=["example.net"]))
    assert house.join(PARIS, "balcony/Paris")[0].get("type") is None


def test_wrong_settings_change_nothing(tmp_path):
    house = House(room=BALCONY)
    house.join(ROMEO, "balcony/Romeo")
    with pytest.raises(ConfigError):
        house.service.apply(settings(room={"balcony": {"password_file": str(tmp_path / "none")}}))
    assert house.outside.take() == []
    assert house.room("balcony").title == "Balcony"
    assert house.service.room_of_number("6000") is not None


# At the end


def test_everybody_is_told_when_the_service_ends():
    house = opened(room=BALCONY)
    house.join(JULIET, "balcony/Juliet")
    house.service.shut_down()
    told = {one.get("to"): codes(one) for one in house.outside.take()}
    assert told == {ROMEO: [110, 332], JULIET: [110, 332]}


def test_rooms_wait_for_those_who_have_to_enter_anew():
    house = opened(room=BALCONY)
    house.join(ROMEO, "six/Romeo")
    house.room("six").phone_joined(phone())
    house.service.shut_down()
    assert house.names == ["balcony", "six", "verona"]
    house.service.end_waiting()
    assert house.names == ["balcony", "six"]


def test_nothing_of_an_earlier_room_can_be_read_in_a_new_one():
    """A crash may leave messages of a room that is not kept; whoever opens one by the same name is somebody else."""
    house = House(rooms=OPEN)
    house.join(JULIET, "verona/Juliet")
    house.service.room_for_number("6001")
    assert house.outside.forgotten == [parse("verona@conference.example.org"), parse("6001@conference.example.org")]


def test_a_room_that_stays_keeps_what_was_said():
    house = opened(room=BALCONY)
    house.configure(ROMEO, "verona", persistentroom="1")
    again = house.restarted(rooms=OPEN, room=BALCONY)
    again.join(ROMEO, "verona/Romeo")
    again.leave(ROMEO, "verona/Romeo")
    again.service.shut_down()
    assert again.outside.forgotten == []


def test_what_the_status_shows():
    house = opened(room=BALCONY)
    house.room("balcony").phone_joined(phone("Alice A", "101"))
    house.room("balcony").phone_joined(phone("Bob B", "102"))
    there = {"waits": False}
    balcony = {"room": "balcony@conference.example.org", "number": "6000", "title": "Balcony", "people": 0, "phones": 2}
    verona = {"room": "verona@conference.example.org", "number": "verona", "title": "verona", "people": 1, "phones": 0}
    assert house.service.status() == [balcony | there, verona | there]


def test_the_status_shows_which_rooms_wait():
    house = opened()
    house.join(JULIET, "mantua/Juliet")
    again = house.restarted(rooms=OPEN, room=BALCONY)
    again.join(JULIET, "mantua/Juliet")
    assert {room["title"]: room["waits"] for room in again.service.status()} == {
        "Balcony": False,
        "mantua": False,
        "verona": True,
    }


@pytest.mark.parametrize(
    ("number", "address"),
    [
        ("6000", "balcony@conference.example.org"),
        ("balcony", "balcony@conference.example.org"),
        ("verona", "verona@conference.example.org"),
        ("6100", "garden@rooms.example.net"),
        ("garden", "garden@rooms.example.net"),
        ("6001", "6001@conference.example.org"),
        ("5000", None),
        ("60 01", None),
        ("", None),
    ],
)
def test_which_room_a_conference_is(number, address):
    house = opened(room={**BALCONY, "garden": {"number": "6100", "muc": "garden@rooms.example.net"}})
    found = house.service.address_of(number)
    assert (str(found) if found is not None else None) == address
    assert house.names == ["balcony", "verona"], "asking opens none"


def test_a_room_is_entered_by_its_address():
    house = opened(room=BALCONY)
    for name in ("balcony", "verona"):
        address = parse(f"{name}@conference.example.org")
        assert house.service.room_at(address) is house.service.room_to_enter(address) is house.room(name)
    six = parse("6001@conference.example.org")
    assert house.service.room_at(six) is None
    assert house.service.room_to_enter(six) is house.room("6001")
    for elsewhere in ("balcony@rooms.example.net", "5000@conference.example.org"):
        assert house.service.room_at(parse(elsewhere)) is None
        assert house.service.room_to_enter(parse(elsewhere)) is None


def test_who_may_use_rooms_and_which_are_for_all():
    house = House(rooms=OPEN, room={"balcony": {"number": "6000", "members": ["paris@example.net"]}})
    balcony, six = parse("balcony@conference.example.org"), parse("6001@conference.example.org")
    assert house.service.allows(parse(ROMEO), six)
    assert not house.service.allows(parse("paris@example.net/x"), six)
    assert house.service.allows(parse("paris@example.net/x"), balcony)
    assert house.service.patterns == OPEN
