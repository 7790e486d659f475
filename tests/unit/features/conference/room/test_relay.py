from __future__ import annotations

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.room.conversation import MAX_MESSAGE
from agi_xmpp.features.conference.room.relay import MAX_EACH, MAX_WAITING
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import ADDRESS, Hall, condition, the, to

ROMEO, JULIET, MOBILE = "romeo@example.org/orchard", "juliet@example.org/balcony", "juliet@example.org/mobile"
PING = "<ping xmlns='urn:xmpp:ping'/>"
VERSION = "<query xmlns='jabber:iq:version'/>"
CARD = "<vCard xmlns='vcard-temp'/>"


@pytest.fixture
def hall():
    hall = Hall()
    hall.phone_joins(phone())
    hall.join(ROMEO, "Romeo")
    hall.join(JULIET, "Juliet")
    return hall


def error(name: str) -> str:
    return f"<error type='cancel'><{name} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


# Am I in? (XEP-0410)


def test_who_is_in_gets_an_answer_from_themselves(hall):
    (answer,) = hall.iq(ROMEO, "Romeo", PING)
    assert dict(answer.items()) == {"from": f"{ADDRESS}/Romeo", "to": ROMEO, "type": "result", "id": "q1"}


def test_who_is_not_in_gets_an_error(hall):
    for full in ("nurse@example.org/x", "romeo@example.org/elsewhere"):
        (answer,) = hall.iq(full, "Romeo", PING)
        assert condition(answer) == ("cancel", "not-acceptable")


# Requests to others


def test_a_request_and_its_answer_are_passed_on_without_telling_who_is_who(hall):
    (request,) = hall.iq(ROMEO, "Juliet", VERSION, id_="same")
    assert (request.get("from"), request.get("to"), request.get("type")) == (f"{ADDRESS}/Romeo", JULIET, "get")
    assert request.get("id") != "same"
    assert [child.tag for child in request] == ["{jabber:iq:version}query"]
    (answer,) = hall.iq(JULIET, "Romeo", VERSION, kind="result", id_=request.get("id"))
    assert dict(answer.items()) == {"from": f"{ADDRESS}/Juliet", "to": ROMEO, "type": "result", "id": "same"}
    assert [child.tag for child in answer] == ["{jabber:iq:version}query"]
    # only once
    assert hall.iq(JULIET, "Romeo", VERSION, kind="result", id_=request.get("id")) == []


def test_an_error_is_an_answer_too_and_puts_nobody_out(hall):
    for name in ("service-unavailable", "item-not-found", "feature-not-implemented"):
        (request,) = hall.iq(ROMEO, "Juliet", VERSION)
        (answer,) = hall.iq(JULIET, "Romeo", VERSION + error(name), kind="error", id_=request.get("id"))
        assert answer.get("type") == "error"
        assert stanzas.condition_of(answer) == name
    assert set(hall.room.occupants) == {"Romeo", "Juliet"}


def test_an_error_that_says_that_the_client_is_gone_puts_it_out(hall):
    (request,) = hall.iq(ROMEO, "Juliet", VERSION)
    sent = hall.iq(JULIET, "Romeo", error("remote-server-not-found"), kind="error", id_=request.get("id"))
    assert to(sent, ROMEO)[0].get("type") == "error"
    assert set(hall.room.occupants) == {"Romeo"}


@pytest.mark.parametrize("who", ["nurse@example.org/x", ROMEO, MOBILE, "juliet@example.org"])
def test_nobody_else_can_answer(hall, who):
    (request,) = hall.iq(ROMEO, "Juliet", VERSION)
    assert hall.iq(who, "Romeo", VERSION, kind="result", id_=request.get("id")) == []
    assert len(hall.iq(JULIET, "Romeo", VERSION, kind="result", id_=request.get("id"))) == 1


def test_the_client_is_asked_that_was_seen_last(hall):
    hall.join(MOBILE, "Juliet")
    assert hall.iq(ROMEO, "Juliet", VERSION)[0].get("to") == MOBILE


def test_a_card_is_asked_of_the_account(hall):
    (request,) = hall.iq(ROMEO, "Juliet", CARD)
    assert request.get("to") == "juliet@example.org"
    (answer,) = hall.iq("juliet@example.org", "Romeo", CARD, kind="result", id_=request.get("id"))
    assert answer.get("from") == f"{ADDRESS}/Juliet"


def test_ones_own_other_things_are_asked_of_oneself(hall):
    assert hall.iq(ROMEO, "Romeo", VERSION)[0].get("to") == ROMEO


def test_nobody_by_that_name(hall):
    assert [condition(one) for one in hall.iq(ROMEO, "Nobody", VERSION)] == [("cancel", "item-not-found")]


def test_who_leaves_will_not_answer(hall):
    hall.iq(ROMEO, "Juliet", VERSION, id_="v1")
    sent = hall.presence(JULIET, "Juliet", kind="unavailable")
    errors = [one for one in sent if one.tag == stanzas.IQ]
    assert [(one.get("to"), one.get("id"), condition(one)) for one in errors] == [
        (ROMEO, "v1", ("wait", "recipient-unavailable"))
    ]


def test_who_has_left_gets_no_answer(hall):
    (request,) = hall.iq(ROMEO, "Juliet", VERSION)
    hall.presence(ROMEO, "Romeo", kind="unavailable")
    assert hall.iq(JULIET, "Romeo", VERSION, kind="result", id_=request.get("id")) == []


def test_one_of_two_clients_leaves_with_its_requests(hall):
    hall.join(MOBILE, "Juliet")
    hall.iq(ROMEO, "Juliet", VERSION)
    sent = hall.presence(MOBILE, "Juliet", kind="unavailable")
    assert [condition(one) for one in sent if one.tag == stanzas.IQ] == [("wait", "recipient-unavailable")]


def test_one_client_has_so_many_requests_on_their_way(hall):
    for number in range(MAX_EACH):
        assert hall.iq(ROMEO, "Juliet", VERSION, id_=f"q{number}")[0].get("to") == JULIET
    given_up, passed_on = hall.iq(ROMEO, "Juliet", VERSION, id_="more")
    assert (given_up.get("to"), given_up.get("id")) == (ROMEO, "q0")
    assert condition(given_up) == ("wait", "remote-server-timeout")
    assert passed_on.get("to") == JULIET  # a client that never answers does not silence who asks
    assert len(hall.iq(JULIET, "Romeo", VERSION)) == 1


def test_an_error_does_not_tell_who_says_so(hall):
    (request,) = hall.iq(ROMEO, "Juliet", VERSION, id_="v1")
    found = "<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text>no</text>"
    error = f"<error type='cancel' by='juliet@example.org'>{found}</error>"
    (answer,) = hall.iq(JULIET, "Romeo", error, kind="error", id_=request.get("id"))
    assert condition(answer) == ("cancel", "forbidden")
    assert the(answer, f"{{{stanzas.CLIENT}}}error").get("by") is None
    assert the(answer, f"{{{stanzas.CLIENT}}}error/{{{stanzas.CLIENT}}}text").text == "no"


def test_the_oldest_request_of_too_many_is_given_up(hall):
    clients = MAX_WAITING // MAX_EACH
    for number in range(clients):
        hall.join(f"r{number}@example.org/x", f"R{number}")
        for request in range(MAX_EACH):
            assert len(hall.iq(f"r{number}@example.org/x", "Juliet", VERSION, id_=f"{number}.{request}")) == 1
    given_up, passed_on = hall.iq(ROMEO, "Juliet", VERSION)
    assert (given_up.get("to"), given_up.get("id")) == ("r0@example.org/x", "0.0")
    assert condition(given_up) == ("wait", "remote-server-timeout")
    assert passed_on.get("to") == JULIET


def test_a_request_is_not_too_large(hall):
    def size(fill: int) -> str:
        return f"<x xmlns='urn:x'>{'y' * fill}</x>"

    sent = hall.iq(ROMEO, "Juliet", size(MAX_MESSAGE - 500))
    assert sent[0].get("to") == JULIET
    assert [condition(one) for one in hall.iq(ROMEO, "Juliet", size(MAX_MESSAGE))] == [("modify", "policy-violation")]


# Phones


def test_a_phone_is_a_phone(hall):
    (answer,) = hall.iq(ROMEO, "Alice A", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
    identity = the(answer, f"{{{stanzas.DISCO_INFO}}}query/{{{stanzas.DISCO_INFO}}}identity")
    assert dict(identity.items()) == {"category": "client", "type": "phone", "name": "Alice A"}
    assert answer.get("from") == f"{ADDRESS}/Alice A"


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (VERSION, "get"),
        (PING, "get"),
        ("<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>", "get"),
        ("<query xmlns='http://jabber.org/protocol/disco#info'/>", "set"),
    ],
)
def test_a_phone_answers_nothing_else(hall, payload, kind):
    assert [condition(one) for one in hall.iq(ROMEO, "Alice A", payload, kind=kind)] == [
        ("cancel", "service-unavailable")
    ]
