"""What is asked of a room itself: what it is, its form, its archive."""

from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation
from agi_xmpp.features.conference.rooms.configuration_form import MAX_PASSWORD
from agi_xmpp.features.conference.rooms.room_queries import MAX_REASON
from agi_xmpp.features.conference.stanzas import DISCO_INFO, DISCO_ITEMS, FORMS, MUC_OWNER
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import codes, condition, to
from tests.unit.features.conference.house import JULIET, NURSE, ROMEO, House, refusal

INFO = f"<query xmlns='{DISCO_INFO}'/>"
ITEMS = f"<query xmlns='{DISCO_ITEMS}'/>"
FORM = f"<query xmlns='{MUC_OWNER}'/>"
MAM = "<query xmlns='urn:xmpp:mam:2'/>"
CANCEL = f"<query xmlns='{MUC_OWNER}'><x xmlns='{FORMS}' type='cancel'/></query>"
INSTANT = f"<query xmlns='{MUC_OWNER}'><x xmlns='{FORMS}' type='submit'/></query>"

BALCONY = {"balcony": {"number": "6000", "title": "Balcony", "owners": ["escalus@example.org"]}}
ESCALUS = "escalus@example.org/palace"


def opened(**those: Any) -> House:
    """Return a house where Romeo has opened ``verona``."""
    house = House(rooms=["_[a-z]!"], room=BALCONY, **those)
    house.join(ROMEO, "verona/Romeo")
    return house


# Discovery


def test_a_room_says_what_it_is():
    house = opened()
    house.join(JULIET, "verona/Juliet")
    house.room("verona").phone_joined(phone())
    house.message(ROMEO, "verona", "<subject>Two households</subject>")
    house.outside.take()
    answer = house.answer(JULIET, "verona", INFO)
    assert answer.get("from") == "verona@conference.example.org"
    [identity] = answer.iter(f"{{{DISCO_INFO}}}identity")
    assert dict(identity.attrib) == {"category": "conference", "type": "text", "name": "verona"}
    fields = {field.get("var"): field.findtext(f"{{{FORMS}}}value") for field in answer.iter(f"{{{FORMS}}}field")}
    assert fields["muc#roominfo_occupants"] == "3"
    assert fields["muc#roominfo_subject"] == "Two households"


@pytest.mark.parametrize("field", ["membersonly", "passwordprotectedroom"])
def test_the_subject_is_for_those_who_may_come_in(field):
    house = opened()
    house.message(ROMEO, "verona", "<subject>Two households</subject>")
    house.configure(ROMEO, "verona", **{field: "1", "roomsecret": "capulet"})

    def subject(asker: str) -> str:
        fields = house.answer(asker, "verona", INFO).iter(f"{{{FORMS}}}field")
        found = {field.get("var"): field.findtext(f"{{{FORMS}}}value") for field in fields}
        return found["muc#roominfo_subject"] or ""

    assert subject(JULIET) == ""
    assert subject(ROMEO) == "Two households"


def test_gajim_learns_what_it_wants_before_it_joins():
    """It joins only where this succeeds, and offers to make a room where there is none."""
    house = opened()
    house.answer(NURSE, "balcony", INFO)
    assert house.refused(NURSE, "7000", INFO) == "item-not-found"


@pytest.mark.parametrize(("days", "offered"), [(0, False), (7, True)])
def test_the_archive_is_offered_where_there_is_one(days, offered):
    answer = opened(archive_days=days).answer(ROMEO, "verona", INFO)
    features = {feature.get("var") for feature in answer.iter(f"{{{DISCO_INFO}}}feature")}
    assert ("urn:xmpp:mam:2" in features) is offered


def test_nobody_has_a_reserved_nick():
    answer = opened().answer(ROMEO, "verona", f"<query xmlns='{DISCO_INFO}' node='x-roomuser-item'/>")
    [query] = answer
    assert query.get("node") == "x-roomuser-item"
    assert len(query) == 0


def test_there_is_nothing_else_below_a_room():
    node = "http://jabber.org/protocol/muc#traffic"
    assert opened().refused(ROMEO, "verona", f"<query xmlns='{DISCO_INFO}' node='{node}'/>") == "item-not-found"


def nicks(house: House, who: str, room: str = "verona") -> list[str]:
    answer = house.answer(who, room, ITEMS)
    return [parse(item.get("jid", "")).resource for item in answer.iter(f"{{{DISCO_ITEMS}}}item")]


def test_who_is_in_a_public_room_is_no_secret():
    house = opened()
    house.room("verona").phone_joined(phone("Alice A", "101"))
    house.outside.take()
    assert nicks(house, NURSE) == ["Alice A", "Romeo"]


@pytest.mark.parametrize(
    "closed", [{"publicroom": "0"}, {"membersonly": "1"}, {"roomsecret": "rose"}], ids=["hidden", "members", "password"]
)
def test_who_is_in_another_one_is_for_those_inside(closed):
    house = opened()
    house.configure(ROMEO, "verona", **closed)
    assert nicks(house, NURSE) == []
    assert nicks(house, ROMEO) == ["Romeo"]


def test_whoever_is_banned_sees_nobody():
    house = opened()
    house.room("verona").set_affiliation(parse(NURSE), Affiliation.OUTCAST, None)
    house.outside.take()
    assert nicks(house, NURSE) == []


def test_a_room_answers_a_ping():
    opened().answer(NURSE, "verona", "<ping xmlns='urn:xmpp:ping'/>")


@pytest.mark.parametrize("kind", ["get", "set"])
def test_nicks_are_not_registered(kind):
    assert opened().refused(ROMEO, "verona", "<query xmlns='jabber:iq:register'/>", kind=kind) == "not-allowed"


@pytest.mark.parametrize(
    ("payload", "kind", "refused"),
    [
        ("<vCard xmlns='vcard-temp'/>", "get", "service-unavailable"),
        ("<query xmlns='jabber:iq:version'/>", "get", "service-unavailable"),
        (INFO, "set", "service-unavailable"),
        ("<ping xmlns='urn:xmpp:ping'/>", "set", "service-unavailable"),
        ("", "get", "bad-request"),
        (INFO + INFO, "get", "bad-request"),
    ],
)
def test_what_rooms_do_not_answer(payload, kind, refused):
    assert opened().refused(ROMEO, "verona", payload, kind=kind) == refused


@pytest.mark.parametrize("kind", ["result", "error", "strange"])
def test_what_is_no_request_gets_no_answer(kind):
    assert opened().iq(ROMEO, "verona", INFO, kind=kind) == []


# The form


def test_the_owner_of_a_new_room_gets_the_form_and_sends_it():
    """As Gajim does after 201; Conversations sends one without asking."""
    house = opened()
    answer = house.answer(ROMEO, "verona", FORM)
    values = {field.get("var"): field.findtext(f"{{{FORMS}}}value") for field in answer.iter(f"{{{FORMS}}}field")}
    assert values["muc#roomconfig_roomname"] == "verona"
    house.join(JULIET, "verona/Juliet")
    sent = house.configure(ROMEO, "verona", roomname="Fair Verona", whois="anyone", allowinvites="0")
    assert house.room("verona").title == "Fair Verona"
    assert [codes(one) for one in to(sent, JULIET)] == [[104]]
    assert "room verona@conference.example.org: configured by romeo@example.org" in house.outside.notes


def test_an_instant_room_is_as_it_is():
    house = opened()
    house.answer(ROMEO, "verona", INSTANT, kind="set")
    assert house.room("verona").title == "verona"
    assert not house.service.is_fresh(house.room("verona"))


def test_a_form_that_changes_nothing_tells_nobody_anything():
    house = opened()
    assert house.configure(ROMEO, "verona", roomname="verona") == []


def test_a_value_that_cannot_be_leaves_everything_as_it_was():
    house = opened()
    [error] = house.iq(ROMEO, "verona", house.submit(roomname="New", maxusers="-1"), kind="set")
    assert condition(error) == ("modify", "not-acceptable")
    assert house.room("verona").title == "verona"


def test_a_password_is_in_no_error_and_no_log():
    house = opened()
    secret = "hush" * MAX_PASSWORD
    [error] = house.iq(ROMEO, "verona", house.submit(roomsecret=secret), kind="set")
    house.configure(ROMEO, "verona", roomsecret="hush")
    assert "hush" not in "".join([*error.itertext(), *house.outside.notes])


@pytest.mark.parametrize("payload", [FORM, INSTANT, CANCEL, f"<query xmlns='{MUC_OWNER}'><destroy/></query>"])
def test_only_owners_configure(payload):
    house = opened()
    kind = "get" if payload == FORM else "set"
    assert house.refused(JULIET, "verona", payload, kind=kind) == "forbidden"
    house.administer(ROMEO, "verona", "<item affiliation='admin' jid='juliet@example.org'/>")
    assert house.refused(JULIET, "verona", payload, kind=kind) == "forbidden"
    assert house.names == ["balcony", "verona"]


@pytest.mark.parametrize("payload", [FORM, INSTANT, CANCEL, f"<query xmlns='{MUC_OWNER}'><destroy/></query>"])
def test_a_room_of_the_settings_is_configured_there(payload):
    house = opened()
    [error] = house.iq(ESCALUS, "balcony", payload, kind="get" if payload == FORM else "set")
    assert refusal(error) == ("forbidden", "This room is configured in agi-xmpp.toml.")
    assert house.names == ["balcony", "verona"]


@pytest.mark.parametrize(
    "inside", ["", f"<x xmlns='{FORMS}'/>", f"<x xmlns='{FORMS}' type='form'/>", f"<x xmlns='{FORMS}' type='result'/>"]
)
def test_what_is_no_form_is_refused(inside):
    assert (
        opened().refused(ROMEO, "verona", f"<query xmlns='{MUC_OWNER}'>{inside}</query>", kind="set") == "bad-request"
    )


def test_who_cancels_a_new_room_closes_it():
    house = opened()
    sent = house.iq(ROMEO, "verona", CANCEL, kind="set")
    assert [one.get("type") for one in sent] == ["unavailable", "result"]
    assert house.names == ["balcony"]


def test_who_cancels_later_leaves_it_as_it_is():
    house = opened()
    house.answer(ROMEO, "verona", INSTANT, kind="set")
    house.answer(ROMEO, "verona", CANCEL, kind="set")
    assert house.names == ["balcony", "verona"]


@pytest.mark.parametrize("guest", ["phone", "chat"])
def test_who_cancels_while_others_are_in_leaves_it_as_it_is(guest):
    house = opened()
    if guest == "chat":
        house.join(JULIET, "verona/Juliet")
    else:
        house.room("verona").phone_joined(phone())
        house.outside.take()
    house.answer(ROMEO, "verona", CANCEL, kind="set")
    assert house.names == ["balcony", "verona"]


# Destroying


def test_an_owner_destroys_the_room():
    house = opened()
    house.join(JULIET, "verona/Juliet")
    house.room("verona").phone_joined(phone())
    house.outside.take()
    sent = house.iq(
        ROMEO,
        "verona",
        f"<query xmlns='{MUC_OWNER}'><destroy jid='mantua@conference.example.org'><reason>Plague</reason>"
        "<password>poison</password></destroy></query>",
        kind="set",
    )
    [seen] = to(sent, JULIET)
    [destroy] = seen.iter(f"{{{stanzas.MUC_USER}}}destroy")
    assert seen.get("type") == "unavailable"
    assert destroy.get("jid") == "mantua@conference.example.org"
    assert destroy.findtext(f"{{{stanzas.MUC_USER}}}reason") == "Plague"
    assert destroy.findtext(f"{{{stanzas.MUC_USER}}}password") == "poison"
    assert sent[-1].get("type") == "result"
    assert house.outside.kicked == ["PJSIP/101-00000001"]
    assert house.names == ["balcony"]
    notes = " ".join(house.outside.notes)
    assert "destroyed by romeo@example.org" in notes
    assert "poison" not in notes


def test_a_room_is_not_destroyed_for_a_place_that_is_none():
    house = opened()
    payload = f"<query xmlns='{MUC_OWNER}'><destroy jid='@'/></query>"
    assert house.refused(ROMEO, "verona", payload, kind="set") == "jid-malformed"
    assert house.names == ["balcony", "verona"]


@pytest.mark.parametrize("length", [MAX_REASON - 1, MAX_REASON, MAX_REASON + 1])
def test_how_much_of_a_reason_is_passed_on(length):
    house = opened()
    sent = house.iq(
        ROMEO,
        "verona",
        f"<query xmlns='{MUC_OWNER}'><destroy><reason>{'x' * length}</reason></destroy></query>",
        kind="set",
    )
    [reason] = [found for one in sent for found in one.iter(f"{{{stanzas.MUC_USER}}}reason")]
    assert reason.text == "x" * min(length, MAX_REASON)


# The archive


@pytest.mark.parametrize(
    ("payload", "kind"),
    [(MAM, "get"), (MAM, "set"), ("<metadata xmlns='urn:xmpp:mam:2'/>", "get")],
    ids=["form", "query", "metadata"],
)
def test_who_may_come_in_may_read(payload, kind):
    house = opened()
    assert house.iq(NURSE, "verona", payload, kind=kind) == [], "the archive answers"
    [question] = house.outside.archive_queries
    assert question.get("from") == NURSE


def may_read(house: House, who: str) -> bool:
    before = len(house.outside.archive_queries)
    sent = house.iq(who, "verona", MAM, kind="set")
    asked = len(house.outside.archive_queries) > before
    assert asked or condition(sent[0]) == ("auth", "forbidden")
    return asked


@pytest.mark.parametrize("closed", [{"membersonly": "1"}, {"roomsecret": "rose"}])
def test_who_would_not_get_in_does_not_read(closed):
    house = opened()
    house.configure(ROMEO, "verona", **closed)
    assert not may_read(house, NURSE)
    assert may_read(house, ROMEO)
    house.administer(ROMEO, "verona", "<item affiliation='member' jid='nurse@example.org'/>")
    assert may_read(house, NURSE)


def test_who_came_in_with_the_password_reads():
    house = opened()
    house.configure(ROMEO, "verona", roomsecret="rose")
    house.join(JULIET, "verona/Juliet", "<password>rose</password>")
    assert may_read(house, JULIET)


def test_who_is_banned_does_not_read():
    house = opened()
    house.administer(ROMEO, "verona", "<item affiliation='outcast' jid='nurse@example.org'/>")
    assert not may_read(house, NURSE)


def test_where_nothing_is_kept_nothing_can_be_read():
    assert opened(archive_days=0).refused(ROMEO, "verona", MAM, kind="set") == "service-unavailable"
