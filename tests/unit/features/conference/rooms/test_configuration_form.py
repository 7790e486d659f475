"""The form by which owners configure a room."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element, fromstring

import pytest

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.model import RoomConfig
from agi_xmpp.features.conference.rooms import configuration_form as form
from agi_xmpp.features.conference.stanzas import FORMS

OLD = RoomConfig("Verona", "Our scene", password="old", public=True, persistent=False, max_occupants=50)
LIMIT = 200


def submit(*fields: tuple[str, str | None], form_type: str | None = form.FORM_TYPE) -> Element:
    """Return a form that somebody has filled in; a value None is a field without one."""
    x = Element(f"{{{FORMS}}}x", type="submit")
    everything = [("FORM_TYPE", form_type)] if form_type is not None else []
    for var, value in [*everything, *fields]:
        field = Element(f"{{{FORMS}}}field", var=var)
        if value is not None:
            element = Element(f"{{{FORMS}}}value")
            element.text = value
            field.append(element)
        x.append(field)
    return x


def read(*fields: tuple[str, str | None], old: RoomConfig = OLD) -> RoomConfig:
    named = [(name if "#" in name else f"muc#roomconfig_{name}", value) for name, value in fields]
    return form.read(submit(*named), old, LIMIT)


def refused(*fields: tuple[str, str | None], old: RoomConfig = OLD) -> str:
    with pytest.raises(Refused) as caught:
        read(*fields, old=old)
    assert caught.value.condition == "not-acceptable"
    return str(caught.value)


def filled_in(config: RoomConfig) -> Element:
    """Return the form as a client sends it back that leaves everything as it is."""
    x = form.form(config, LIMIT)
    x.set("type", "submit")
    return x


def test_the_form_shows_how_the_room_is():
    x = form.form(OLD, LIMIT)
    values = {field.get("var"): field.findtext(f"{{{FORMS}}}value") for field in x.iter(f"{{{FORMS}}}field")}
    assert x.get("type") == "form"
    assert {name.removeprefix("muc#roomconfig_"): value for name, value in values.items() if name} == {
        "FORM_TYPE": "http://jabber.org/protocol/muc#roomconfig",
        "roomname": "Verona",
        "roomdesc": "Our scene",
        "persistentroom": "0",
        "publicroom": "1",
        "membersonly": "0",
        "moderatedroom": "0",
        "changesubject": "0",
        "passwordprotectedroom": "1",
        "roomsecret": "old",
        "maxusers": "50",
    }


@pytest.mark.parametrize(
    ("limit", "now", "sizes"),
    [
        (200, 50, ["10", "20", "50", "100", "200"]),
        (30, 30, ["10", "20", "30"]),
        (1, 1, ["1"]),
        (10, 7, ["7", "10"]),
    ],
)
def test_the_sizes_to_choose_from_end_at_the_limit(limit, now, sizes):
    x = form.form(replace(OLD, max_occupants=now), limit)
    options = x.iterfind(f".//{{{FORMS}}}option/{{{FORMS}}}value")
    assert [option.text for option in options] == sizes


@pytest.mark.parametrize(
    "config", [OLD, RoomConfig("x"), replace(OLD, members_only=True, public=False, moderated=True)]
)
def test_a_form_that_comes_back_unchanged_changes_nothing(config):
    assert form.read(filled_in(config), config, LIMIT) == config


def test_an_empty_form_leaves_the_room_as_it_is():
    assert form.read(fromstring(f"<x xmlns='{FORMS}' type='submit'/>"), OLD, LIMIT) == OLD


@pytest.mark.parametrize("form_type", ["http://jabber.org/protocol/muc#register", ""])
def test_another_form_is_refused(form_type):
    with pytest.raises(Refused) as caught:
        form.read(submit(form_type=form_type), OLD, LIMIT)
    assert caught.value.condition == "bad-request"


def test_what_is_submitted_is_how_the_room_is():
    new = read(
        ("roomname", "Mantua"),
        ("roomdesc", ""),
        ("persistentroom", "1"),
        ("publicroom", "0"),
        ("membersonly", "true"),
        ("moderatedroom", "1"),
        ("changesubject", "1"),
        ("passwordprotectedroom", "1"),
        ("roomsecret", "new"),
        ("maxusers", "20"),
    )
    assert new == RoomConfig("Mantua", "", "new", True, True, False, True, True, 20)
    assert OLD.title == "Verona", "the old one is not touched"


def test_fields_of_other_services_are_ignored():
    # What Conversations sends when it makes a private group.
    new = read(("whois", "anyone"), ("allowinvites", "0"), ("mam", "1"), ("muc#roomconfig_enablearchiving", "1"))
    assert new == OLD


@pytest.mark.parametrize("value", ["yes", "", "2", "TRUE"])
@pytest.mark.parametrize("field", ["persistentroom", "publicroom", "membersonly", "moderatedroom", "changesubject"])
def test_a_question_of_yes_or_no_has_no_other_answer(field, value):
    assert field in refused((field, value))


@pytest.mark.parametrize(
    ("fields", "password"),
    [
        ([], "old"),
        ([("passwordprotectedroom", "0")], ""),
        ([("passwordprotectedroom", "0"), ("roomsecret", "new")], ""),
        ([("passwordprotectedroom", "1")], "old"),
        ([("passwordprotectedroom", "1"), ("roomsecret", "new")], "new"),
        ([("roomsecret", "new")], "new"),
        ([("roomsecret", "")], ""),
    ],
)
def test_the_password(fields, password):
    assert read(*fields).password == password


def test_a_room_with_a_password_needs_one():
    assert "needs one" in refused(("passwordprotectedroom", "1"), old=RoomConfig("x"))
    assert "needs one" in refused(("passwordprotectedroom", "1"), ("roomsecret", ""))


@pytest.mark.parametrize(
    ("value", "size"), [("1", 1), ("199", 199), ("200", 200), ("none", 200), ("", 200), (None, 200)]
)
def test_sizes_that_a_room_can_have(value, size):
    assert read(("maxusers", value)).max_occupants == size


@pytest.mark.parametrize("value", ["0", "201", "-1", "many", "1.5", "9" * 10_000, "²"])
def test_sizes_that_it_cannot_have(value):
    assert refused(("maxusers", value)) == "A room here is for 1 to 200 people from chat."


@pytest.mark.parametrize(
    ("field", "limit"),
    [("roomname", form.MAX_TITLE), ("roomdesc", form.MAX_DESCRIPTION), ("roomsecret", form.MAX_PASSWORD)],
)
def test_how_long_texts_can_be(field, limit):
    read((field, "x" * (limit - 1)))
    read((field, "x" * limit))
    text = refused((field, "x" * (limit + 1)))
    assert str(limit) in text
    assert "xx" not in text


@pytest.mark.parametrize(
    ("given", "title"), [("", "Verona"), ("  \n ", "Verona"), (" fair\n \x9b2JVerona ", "fair 2JVerona")]
)
def test_a_title_is_one_line_and_never_empty(given, title):
    assert read(("roomname", given)).title == title
