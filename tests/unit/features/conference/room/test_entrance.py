from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation
from agi_xmpp.features.conference.room.entrance import LOCKED, MAX_PRESENCE, MAX_SESSIONS
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import ADDRESS, JOIN, Hall, body, codes, condition, item, nick_of, the, to

ROMEO, JULIET, NURSE = "romeo@example.org/orchard", "juliet@example.org/balcony", "nurse@example.org/profanity.Ntaa"
MOBILE = "romeo@example.org/mobile"
MEMBER = Affiliation.MEMBER


def x(children: str) -> str:
    return f"<x xmlns='http://jabber.org/protocol/muc'>{children}</x>"


@pytest.fixture
def hall():
    hall = Hall()
    hall.phone_joins(phone())
    hall.join(ROMEO, "Romeo", "<show>chat</show>")
    return hall


# Coming in


def test_whoever_joins_is_told_of_the_others_then_of_themselves_then_what_was_said_then_the_subject(hall):
    hall.say(ROMEO, "hello")
    mine = to(hall.join(NURSE, "Nurse", id_="j1"), NURSE)
    assert [(nick_of(one), codes(one), one.get("id")) for one in mine[:3]] == [
        ("Alice A", [], None),
        ("Romeo", [], None),
        ("Nurse", [110], "j1"),
    ]
    assert mine[1].findtext(f"{{{stanzas.CLIENT}}}show") == "chat"
    assert body(mine[3]) == "hello"
    assert mine[3].find(f"{{{stanzas.DELAY}}}delay") is not None
    subject = mine[4]
    assert (subject.get("from"), subject.get("type"), len(mine)) == (str(ADDRESS), "groupchat", 5)
    assert the(subject, f"{{{stanzas.CLIENT}}}subject").text is None
    assert subject.find(f"{{{stanzas.CLIENT}}}body") is None
    assert subject.get("id")


def test_the_others_are_told_of_who_joins(hall):
    told = to(hall.join(NURSE, "Nurse"), ROMEO)
    assert [(nick_of(one), one.get("type"), item(one)) for one in told] == [
        ("Nurse", None, {"affiliation": "none", "role": "participant"})
    ]


def test_the_status_100_is_not_sent_because_the_room_is_semi_anonymous(hall):
    assert 100 not in codes(to(hall.join(NURSE, "Nurse"), NURSE)[2])


def test_who_opens_a_room_is_told_so():
    hall = Hall({"romeo@example.org": Affiliation.OWNER})
    mine = hall.join(ROMEO, "Romeo", created=True)
    assert codes(mine[0]) == [110, 201]
    assert item(mine[0]) == {"affiliation": "owner", "role": "moderator", "jid": ROMEO}


def test_the_subject_is_shown_with_who_set_it_and_when(hall):
    hall.room.restore_subject("love", "Romeo M", datetime(2026, 11, 20, 8, tzinfo=UTC))
    subject = to(hall.join(NURSE, "Nurse"), NURSE)[-1]
    assert nick_of(subject) == "Romeo M"
    assert subject.findtext(f"{{{stanzas.CLIENT}}}subject") == "love"
    delay = the(subject, f"{{{stanzas.DELAY}}}delay")
    assert dict(delay.items()) == {"from": str(ADDRESS), "stamp": "2026-11-20T08:00:00.000Z"}


def test_what_was_said_keeps_its_time_and_its_ids(hall):
    hall.say(ROMEO, "hello", id_="m7")
    archived = hall.outside.archived[-1][1]
    hall.outside.pass_time(60)
    replayed = to(hall.join(NURSE, "Nurse"), NURSE)[3]
    assert replayed.get("id") == "m7"
    assert the(replayed, f"{{{stanzas.STANZA_ID}}}stanza-id").get("id") == archived.id
    assert the(replayed, f"{{{stanzas.DELAY}}}delay").get("stamp") == "2026-11-21T12:00:00.000Z"
    # and the next one gets it with one time, not with two
    replayed = to(hall.join(JULIET, "Juliet"), JULIET)[4]
    assert len(replayed.findall(f"{{{stanzas.DELAY}}}delay")) == 1


def test_whoever_wants_no_history_gets_none_but_the_subject(hall):
    hall.say(ROMEO, "hello")
    mine = to(hall.join(NURSE, "Nurse", x=x("<history maxchars='0'/>")), NURSE)
    assert [one.tag for one in mine] == [stanzas.PRESENCE] * 3 + [stanzas.MESSAGE]


def test_a_nick_that_was_tidied_up_is_told(hall):
    mine = to(hall.join(NURSE, "Nurse   N "), NURSE)
    assert nick_of(mine[2]) == "Nurse N"
    assert codes(mine[2]) == [110, 210]


def test_a_client_that_joins_again_gets_all_again(hall):
    hall.say(ROMEO, "hello")
    again = to(hall.join(ROMEO, "Romeo"), ROMEO)
    assert [nick_of(one) for one in again] == ["Alice A", "Romeo", "Romeo", ""]
    assert codes(again[1]) == [110]
    assert body(again[2]) == "hello"
    assert len(hall.room.occupants) == 1


def test_a_second_client_comes_in_under_the_same_nick(hall):
    sent = hall.join(MOBILE, "Romeo")
    assert [nick_of(one) for one in to(sent, MOBILE)] == ["Alice A", "Romeo", ""]
    assert codes(to(sent, ROMEO)[0]) == [110]
    assert list(hall.room.occupants) == ["Romeo"]
    assert hall.outside.occupancy_changes == ["6000"]


def test_the_world_is_told_when_somebody_comes_and_goes(hall):
    hall.join(NURSE, "Nurse")
    hall.presence(NURSE, "Nurse", kind="unavailable")
    assert hall.outside.occupancy_changes == ["6000"] * 3


# Being refused


def refused(hall, sent, nick):
    assert len(sent) == 1
    error = sent[0]
    assert error.get("from") == (f"{ADDRESS}/{nick}" if nick else str(ADDRESS))
    assert error.get("id") == "p1"
    assert error.tag == stanzas.PRESENCE
    assert error.find(f"{{{stanzas.MUC}}}x") is not None
    assert the(error, f"{{{stanzas.CLIENT}}}error").get("by") == str(ADDRESS)
    return condition(error)


@pytest.mark.parametrize("nick", ["Romeo", "romeo", "Alice A", "ALICE  A"])
def test_a_nick_that_somebody_has_or_that_looks_like_it(hall, nick):
    assert refused(hall, hall.join(NURSE, nick), nick) == ("cancel", "conflict")
    assert len(hall.room.occupants) == 1


@pytest.mark.parametrize("nick", ["", "x" * 65])
def test_no_nick_or_one_that_is_too_long(hall, nick):
    assert refused(hall, hall.join(NURSE, nick), nick) == ("modify", "jid-malformed")
    assert len(to(hall.join(NURSE, "x" * 64), NURSE)) == 4


def test_who_is_banned_does_not_come_in():
    hall = Hall({"nurse@example.org": Affiliation.OUTCAST})
    assert refused(hall, hall.join(NURSE, "Nurse"), "Nurse") == ("auth", "forbidden")
    assert hall.outside.notes == [f"room {ADDRESS}: {NURSE} was not let in: You are banned from this room."]


@pytest.mark.parametrize("given", ["", "<password/>", "<password>montague</password>"])
def test_the_wrong_password(given):
    hall = Hall(password="capulet")
    assert refused(hall, hall.join(NURSE, "Nurse", x=x(given)), "Nurse") == ("auth", "not-authorized")
    assert not any("capulet" in note or "montague" in note for note in hall.outside.notes)


def test_the_right_password():
    hall = Hall(password="capulet")
    assert codes(hall.join(NURSE, "Nurse", x=x("<password>capulet</password>"))[0]) == [110]


def test_only_members_enter_a_members_only_room():
    hall = Hall({"romeo@example.org": Affiliation.MEMBER}, members_only=True)
    assert refused(hall, hall.join(NURSE, "Nurse"), "Nurse") == ("auth", "registration-required")
    assert codes(hall.join(ROMEO, "Romeo")[0]) == [110]


def test_a_room_is_full_but_for_its_owners_and_for_second_clients():
    hall = Hall({"owner@example.org": Affiliation.OWNER}, max_occupants=2)
    hall.join(ROMEO, "Romeo")
    hall.join(NURSE, "Nurse")
    error = hall.join(JULIET, "Juliet")
    assert refused(hall, error, "Juliet") == ("wait", "service-unavailable")
    hall.join(MOBILE, "Romeo")
    hall.join("owner@example.org/a", "Owner")
    assert list(hall.room.occupants) == ["Romeo", "Nurse", "Owner"]


def test_a_locked_conference_is_closed_but_for_those_who_rule_it_and_for_second_clients():
    hall = Hall(
        {"owner@example.org": Affiliation.OWNER, "admin@example.org": Affiliation.ADMIN, "nurse@example.org": MEMBER}
    )
    hall.join(ROMEO, "Romeo")
    hall.outside.locked = {"6000"}
    for who, nick in ((JULIET, "Juliet"), (NURSE, "Nurse"), (MOBILE, "Romeo on the road")):
        assert refused(hall, hall.join(who, nick), nick) == ("auth", "forbidden")
        assert hall.outside.notes[-1] == f"room {ADDRESS}: {who} was not let in: {LOCKED.text}"
    hall.join(MOBILE, "Romeo")
    hall.join("owner@example.org/a", "Owner")
    hall.join("admin@example.org/a", "Admin")
    assert list(hall.room.occupants) == ["Romeo", "Owner", "Admin"]
    assert len(hall.room.occupants["Romeo"].sessions) == 2
    hall.presence(ROMEO, "Montague")
    assert "Montague" in hall.room.occupants, "who is in already does what they like"
    hall.outside.locked.clear()
    hall.join(JULIET, "Juliet")
    assert "Juliet" in hall.room.occupants


def test_one_person_does_not_fill_the_room():
    hall = Hall()
    for number in range(MAX_SESSIONS):
        hall.join(f"romeo@example.org/{number}", f"Romeo {number % 7}")
    assert refused(hall, hall.join("romeo@example.org/more", "More"), "More") == ("wait", "resource-constraint")
    assert len(hall.room._state.occupants.sessions()) == MAX_SESSIONS


def test_a_presence_is_not_too_large():
    hall = Hall()
    weight = stanzas.weight
    fill = "y" * (MAX_PRESENCE - 1000)
    hall.join(ROMEO, "Romeo", f"<status>{fill}</status>")
    assert list(hall.room.occupants) == ["Romeo"]
    large = weight(hall.room.occupants["Romeo"].sessions[next(iter(hall.room.occupants["Romeo"].sessions))])
    exactly = fill + "y" * (MAX_PRESENCE - large)
    assert hall.presence(ROMEO, "Romeo", f"{JOIN}<status>{exactly}</status>")[0].get("type") is None
    error = hall.presence(ROMEO, "Romeo", f"{JOIN}<status>{exactly}y</status>")
    assert refused(hall, error, "Romeo") == ("modify", "policy-violation")


def test_who_is_not_in_and_does_not_join_learns_it(hall):
    assert refused(hall, hall.presence(NURSE, "Nurse"), "Nurse") == ("cancel", "not-acceptable")


@pytest.mark.parametrize("kind", ["probe", "subscribe", "unsubscribed", "nonsense"])
def test_other_presences_are_nobodys_business(hall, kind):
    assert hall.presence(NURSE, "Romeo", kind=kind) == []
    assert hall.presence(ROMEO, "Romeo", kind=kind) == []


# Another nick


def test_a_new_nick_is_told_to_all(hall):
    hall.join(NURSE, "Nurse")
    sent = hall.presence(ROMEO, "Romeo M", id_="r1")
    mine = to(sent, ROMEO)
    assert [(nick_of(one), one.get("type"), codes(one)) for one in mine] == [
        ("Romeo", "unavailable", [110, 303]),
        ("Romeo M", None, [110]),
    ]
    assert item(mine[0]) == {"affiliation": "none", "role": "participant", "jid": ROMEO, "nick": "Romeo M"}
    theirs = to(sent, NURSE)
    assert [(nick_of(one), codes(one)) for one in theirs] == [("Romeo", [303]), ("Romeo M", [])]
    assert "jid" not in item(theirs[0])
    assert set(hall.room.occupants) == {"Romeo M", "Nurse"}
    assert hall.room.occupants["Romeo M"].nick == "Romeo M"


def test_a_nick_may_change_in_its_letters_only(hall):
    sent = hall.presence(ROMEO, "ROMEO")
    assert [nick_of(one) for one in sent] == ["Romeo", "ROMEO"]


@pytest.mark.parametrize("nick", ["Nurse", "nurse", "Alice A"])
def test_a_new_nick_that_is_taken_is_refused_and_nothing_changes(hall, nick):
    hall.join(NURSE, "Nurse")
    assert refused(hall, hall.presence(ROMEO, nick), nick) == ("cancel", "conflict")
    assert set(hall.room.occupants) == {"Romeo", "Nurse"}


def test_all_clients_of_an_occupant_change_with_it(hall):
    hall.join(MOBILE, "Romeo")
    sent = hall.presence(ROMEO, "Montague")
    for full in (ROMEO, MOBILE):
        assert [(nick_of(one), codes(one)) for one in to(sent, full)] == [("Romeo", [110, 303]), ("Montague", [110])]


def test_two_nicks_of_one_person_become_one(hall):
    hall.join(MOBILE, "Romeo on the road")
    hall.join(NURSE, "Nurse")
    sent = hall.presence(MOBILE, "Romeo")
    assert [(nick_of(one), codes(one)) for one in to(sent, NURSE)] == [("Romeo on the road", [303]), ("Romeo", [])]
    assert set(hall.room.occupants) == {"Romeo", "Nurse"}
    assert len(hall.room.occupants["Romeo"].sessions) == 2


def test_a_join_under_another_nick_renames_and_shows_all_again(hall):
    mine = to(hall.join(ROMEO, "Montague"), ROMEO)
    assert [(nick_of(one), codes(one)) for one in mine] == [
        ("Romeo", [110, 303]),
        ("Alice A", []),
        ("Montague", [110]),
        ("", []),
    ]


# Going


def test_a_client_leaves_by_its_own_address_whatever_it_is_sent_to(hall):
    for nick in ("Romeo", "", "Alice A", "Somebody else"):
        sent = hall.presence(ROMEO, nick, "<status>bye</status>", kind="unavailable", id_="l1")
        assert [(nick_of(one), one.get("type"), codes(one), one.get("id")) for one in sent] == [
            ("Romeo", "unavailable", [110], "l1")
        ]
        assert item(sent[0]) == {"affiliation": "none", "role": "none", "jid": ROMEO}
        assert sent[0].findtext(f"{{{stanzas.CLIENT}}}status") == "bye"
        assert not hall.room.has_listeners
        hall.join(ROMEO, "Romeo")


def test_the_others_see_who_leaves_with_their_last_words(hall):
    hall.join(NURSE, "Nurse")
    gone = to(hall.presence(ROMEO, "Romeo", "<status>bye</status>", kind="unavailable"), NURSE)
    assert [(nick_of(one), one.get("type"), codes(one)) for one in gone] == [("Romeo", "unavailable", [])]
    assert gone[0].findtext(f"{{{stanzas.CLIENT}}}status") == "bye"


def test_who_is_not_in_cannot_leave(hall):
    assert hall.presence(NURSE, "Romeo", kind="unavailable") == []
    assert list(hall.room.occupants) == ["Romeo"]


def test_one_client_of_two_leaves_and_the_other_is_seen(hall):
    hall.join(MOBILE, "Romeo", "<show>away</show>")
    hall.join(NURSE, "Nurse")
    sent = hall.presence(MOBILE, "Romeo", kind="unavailable")
    assert [(one.get("type"), codes(one)) for one in to(sent, MOBILE)] == [("unavailable", [110])]
    seen = to(sent, NURSE)
    assert [(nick_of(one), one.get("type")) for one in seen] == [("Romeo", None)]
    assert seen[0].findtext(f"{{{stanzas.CLIENT}}}show") == "chat"
    assert list(hall.room.occupants) == ["Romeo", "Nurse"]


def test_of_two_clients_the_one_leaves_that_was_not_seen_and_nobody_is_told(hall):
    hall.join(MOBILE, "Romeo")
    hall.join(NURSE, "Nurse")
    assert to(hall.presence(ROMEO, "Romeo", kind="unavailable"), NURSE) == []


# Ghosts


def error(name: str) -> str:
    return f"<error type='cancel'><{name} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


GHOSTLY = [
    "recipient-unavailable",
    "service-unavailable",
    "item-not-found",
    "gone",
    "remote-server-not-found",
    "remote-server-timeout",
]


@pytest.mark.parametrize("name", GHOSTLY)
@pytest.mark.parametrize("kind", ["presence", "message"])
def test_a_client_that_is_not_there_any_more_is_put_out(hall, kind, name):
    hall.join(NURSE, "Nurse")
    if kind == "presence":
        sent = hall.presence(ROMEO, "Nurse", error(name), kind="error")
    else:
        sent = hall.message(ROMEO, error(name), "Nurse", kind="error")
    assert [(one.get("type"), codes(one)) for one in to(sent, ROMEO)] == [("unavailable", [110, 333])]
    assert [(nick_of(one), one.get("type"), codes(one)) for one in to(sent, NURSE)] == [("Romeo", "unavailable", [])]
    assert list(hall.room.occupants) == ["Nurse"]
    assert "cannot be reached" in hall.outside.notes[-1]


@pytest.mark.parametrize("name", ["not-acceptable", "policy-violation", "feature-not-implemented"])
def test_other_errors_put_nobody_out(hall, name):
    assert hall.presence(ROMEO, "Nurse", error(name), kind="error") == []
    assert hall.message(ROMEO, error(name), kind="error") == []
    assert list(hall.room.occupants) == ["Romeo"]


def test_errors_of_who_is_not_in_are_nothing(hall):
    assert hall.presence(NURSE, "Romeo", error("gone"), kind="error") == []
    assert hall.message(NURSE, error("gone"), kind="error") == []


def test_the_other_client_of_a_ghost_stays(hall):
    hall.join(MOBILE, "Romeo")
    hall.presence(MOBILE, "Romeo", error("gone"), kind="error")
    assert next(iter(hall.room.occupants["Romeo"].sessions)).resource == "orchard"
