from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.stanzas import Field, Item
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import stanza

ROOM = parse("balcony@conference.example.org")
ROMEO = parse("romeo@example.org/orchard")


def test_an_error_goes_back_where_the_stanza_came_from():
    came = stanza("<message id='m1' type='groupchat' from='romeo@example.org/orchard' to='balcony@x.example'/>")
    error = stanzas.error(came, "not-acceptable", "You are not in this room.", by=ROOM)
    assert error.tag == stanzas.MESSAGE
    assert dict(error.items()) == {
        "from": "balcony@x.example",
        "to": "romeo@example.org/orchard",
        "type": "error",
        "id": "m1",
    }
    assert stanzas.is_error(error)
    assert stanzas.condition_of(error) == "not-acceptable"
    element = error.find(f"{{{stanzas.CLIENT}}}error")
    assert element is not None
    assert dict(element.items()) == {"type": "cancel", "by": str(ROOM)}
    assert element.findtext(f"{{{stanzas.STANZA_ERRORS}}}text") == "You are not in this room."


@pytest.mark.parametrize(
    ("condition", "kind"),
    [("forbidden", "auth"), ("jid-malformed", "modify"), ("remote-server-timeout", "wait"), ("gone", "cancel")],
)
def test_a_condition_has_its_type(condition, kind):
    error = stanzas.error(stanza("<iq id='1'/>"), condition)
    assert error[0].get("type") == kind
    assert error.get("from") is None
    assert error.find(f".//{{{stanzas.STANZA_ERRORS}}}text") is None


def test_an_error_may_have_another_type_and_sender():
    error = stanzas.error(stanza("<iq id='1' to='a@b'/>"), "not-acceptable", type="modify", sender=ROOM)
    assert error[0].get("type") == "modify"
    assert error.get("from") == str(ROOM)


def test_the_error_of_a_presence_repeats_that_it_was_a_join():
    error = stanzas.error(stanza("<presence id='1'/>"), "conflict")
    assert stanzas.child(error, stanzas.MUC, "x") is not None


@pytest.mark.parametrize(
    ("children", "condition"),
    [
        ("", ""),
        ("<error/>", ""),
        ("<error><gone xmlns='urn:other'/></error>", ""),
        (
            "<error><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>x</text>"
            "<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
            "gone",
        ),
    ],
)
def test_the_condition_of_an_error_that_came(children, condition):
    assert stanzas.condition_of(stanza(f"<message type='error'>{children}</message>")) == condition


def test_a_result_answers_a_request():
    request = stanza("<iq type='get' id='q' from='romeo@example.org/orchard' to='balcony@conference.example.org'/>")
    result = stanzas.result(request, Element("{urn:x}query"))
    assert dict(result.items()) == {
        "from": "balcony@conference.example.org",
        "to": "romeo@example.org/orchard",
        "type": "result",
        "id": "q",
    }
    assert [child.tag for child in result] == ["{urn:x}query"]


def test_what_is_none_is_left_out_of_a_stanza():
    assert dict(stanzas.message(ROOM, None).items()) == {"from": str(ROOM)}
    assert dict(stanzas.presence(ROOM, ROMEO, "unavailable", "7").items()) == {
        "from": str(ROOM),
        "to": str(ROMEO),
        "type": "unavailable",
        "id": "7",
    }
    assert dict(stanzas.iq(ROOM, ROMEO, "get", "8").items()) == {
        "from": str(ROOM),
        "to": str(ROMEO),
        "type": "get",
        "id": "8",
    }


def test_the_text_in_no_other_language_is_taken():
    message = stanza("<message><body xml:lang='de'>hallo</body><body>hello</body></message>")
    assert stanzas.body_of(message) == "hello"
    message = stanza("<message><body xml:lang='de'>hallo</body><body xml:lang='fr'>bonjour</body></message>")
    assert stanzas.body_of(message) == "hallo"
    assert stanzas.text_of(message, stanzas.CLIENT, "subject") is None
    assert stanzas.text_of(stanza("<message><subject/></message>"), stanzas.CLIENT, "subject") == ""


def test_the_weight_of_a_stanza_is_about_its_length():
    message = stanza(f"<message><body a='{'y' * 100}'>{'x' * 1000}</body></message>")
    assert 1100 < stanzas.weight(message) < 1300


def test_many_short_elements_weigh_what_it_costs_to_write_them():
    message = stanza(f"<message>{'<a/>' * 1000}</message>")
    assert stanzas.weight(message) > 1000 * stanzas.ELEMENT


def test_the_weight_of_a_stanza_that_is_nested_beyond_all_measure():
    deepest = root = Element("a")
    for _ in range(100_000):
        child = Element("a")
        deepest.append(child)
        deepest = child
    assert stanzas.weight(root) > 100_000


def test_a_copy_for_somebody_leaves_the_original_as_it_is():
    original = stanzas.message(ROOM, None)
    stanzas.add(original, stanzas.CLIENT, "body", "hi")
    copy = stanzas.addressed(original, ROMEO)
    stanzas.add(copy, stanzas.DELAY, "delay")
    assert copy.get("to") == str(ROMEO)
    assert original.get("to") is None
    assert len(original) == 1


def test_an_item_says_who_somebody_is_and_why():
    presence = stanzas.presence(ROOM, ROMEO)
    stanzas.add_muc_user(presence, Item("none", "none", ROMEO, "new", "Juliet", "enough"), (307, 110))
    x = fromstring(tostring(presence))[0]
    assert dict(x[0].items()) == {"affiliation": "none", "role": "none", "jid": str(ROMEO), "nick": "new"}
    assert [actor.get("nick") for actor in x.iter(f"{{{stanzas.MUC_USER}}}actor")] == ["Juliet"]
    assert x[0].findtext(f"{{{stanzas.MUC_USER}}}reason") == "enough"
    assert [status.get("code") for status in x[1:]] == ["307", "110"]


def test_moments_are_written_and_read_as_xep_0082_says():
    moment = datetime(2026, 11, 21, 8, 35, 17, 123456, tzinfo=timezone(timedelta(hours=1)))
    assert stanzas.timestamp(moment) == "2026-11-21T07:35:17.123Z"
    assert stanzas.moment("2026-11-21T07:35:17Z") == datetime(2026, 11, 21, 7, 35, 17, tzinfo=UTC)
    assert stanzas.moment(" 2026-11-21T07:35:17.5+01:00 ") == datetime(2026, 11, 21, 6, 35, 17, 500000, tzinfo=UTC)
    assert stanzas.moment("2026-11-21T07:35:17") == datetime(2026, 11, 21, 7, 35, 17, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:00", "9" * 5000])
def test_what_is_no_moment(text):
    assert stanzas.moment(text) is None


def test_a_form_goes_there_and_back():
    form = stanzas.form(
        "form",
        "urn:what",
        [
            Field("a", ("1",), "list-single", "A", (("1", "one"), ("2", "two")), required=True),
            Field("b", ("x", "y"), "text-multi"),
            Field("c"),
        ],
        title="T",
        instructions="I",
    )
    form = fromstring(tostring(form))
    assert form.findtext(f"{{{stanzas.FORMS}}}title") == "T"
    assert form.findtext(f"{{{stanzas.FORMS}}}instructions") == "I"
    assert stanzas.submitted(form) == {"FORM_TYPE": ["urn:what"], "a": ["1"], "b": ["x", "y"], "c": []}
    options = form.findall(f".//{{{stanzas.FORMS}}}option")
    assert [(option.get("label"), option[0].text) for option in options] == [("one", "1"), ("two", "2")]


def test_passwords_are_compared_as_a_whole():
    assert stanzas.same_text("geheim ✓", "geheim ✓")
    assert not stanzas.same_text("geheim", "geheim ✓")


def test_a_tag_is_split():
    assert stanzas.split("{urn:x}y") == ("urn:x", "y")
    assert stanzas.split("y") == ("", "y")
