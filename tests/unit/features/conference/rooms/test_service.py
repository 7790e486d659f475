"""The way of a stanza to its room, and what is answered before it gets there."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.room import allowance
from agi_xmpp.features.conference.stanzas import DISCO_INFO, DISCO_ITEMS, FORMS, MUC, MUC_ADMIN, MUC_OWNER
from tests.unit.features.conference.fakes import phone, stanza
from tests.unit.features.conference.hall import body, codes, condition, item, nick_of, to
from tests.unit.features.conference.house import DOMAIN, JULIET, PARIS, ROMEO, House, refusal, settings

INFO = f"<query xmlns='{DISCO_INFO}'/>"
ITEMS = f"<query xmlns='{DISCO_ITEMS}'/>"
PING = "<ping xmlns='urn:xmpp:ping'/>"
BALCONY = {"balcony": {"number": "6000", "title": "Balcony", "owners": ["escalus@example.org"]}}
ROOMS = ["_[a-z]!", "_6XXX"]


def house(**those: Any) -> House:
    return House(**({"room": BALCONY, "rooms": ROOMS} | those))


# The service itself


def test_the_service_says_what_it_is_to_everybody():
    for who in (ROMEO, PARIS):
        answer = house().answer(who, "", INFO)
        assert answer.get("from") == DOMAIN
        [identity] = answer.iter(f"{{{DISCO_INFO}}}identity")
        assert (identity.get("category"), identity.get("type")) == ("conference", "text")


def test_the_list_of_rooms_says_how_many_are_in():
    """As Gajim and Psi show it."""
    the = house(room=BALCONY | {"tomb": {"public": False}, "garden": {"muc": "garden@rooms.example.org"}})
    the.join(ROMEO, "balcony/Romeo")
    for number in ("101", "102"):
        the.room("balcony").phone_joined(phone(f"Phone {number}", number))
    the.outside.take()
    items = {one.get("jid"): one.get("name") for one in the.answer(JULIET, "", ITEMS).iter(f"{{{DISCO_ITEMS}}}item")}
    assert items == {"balcony@conference.example.org": "Balcony (3)", "garden@rooms.example.org": "garden"}


def test_rooms_that_wait_for_their_people_are_in_the_list_too():
    before = house()
    before.join(ROMEO, "verona/Romeo")
    the = before.restarted(rooms=ROOMS)
    names = [one.get("name") for one in the.answer(JULIET, "", ITEMS).iter(f"{{{DISCO_ITEMS}}}item")]
    assert names == ["verona (0)"]
    var = {one.get("var") for one in the.answer(JULIET, "verona", INFO).iter(f"{{{DISCO_INFO}}}feature")}
    assert "muc_temporary" in var
    assert the.refused(JULIET, "verona/Romeo", PING) == "not-acceptable", "they are not in: enter anew (XEP-0410)"


def test_the_list_of_rooms_comes_in_pages():
    wanted = f"<query xmlns='{DISCO_ITEMS}'><set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set></query>"
    answer = house(room=BALCONY | {"tomb": {}}).answer(JULIET, "", wanted)
    assert [one.get("name") for one in answer.iter(f"{{{DISCO_ITEMS}}}item")] == ["Balcony (0)"]
    backwards = wanted.replace("<max>1</max>", "<before/>")
    assert house().refused(JULIET, "", backwards) == "feature-not-implemented"


def test_strangers_do_not_see_the_list_of_rooms():
    assert house().refused(PARIS, "", ITEMS) == "forbidden"


def test_the_service_answers_a_ping():
    house().answer(PARIS, "", PING)


@pytest.mark.parametrize(
    ("sender", "to", "inside"),
    [
        (DOMAIN, "", PING),  # the link's own ping
        (f"{DOMAIN}/x", "balcony", INFO),
        (ROMEO, "", "<query xmlns='jabber:iq:version'/>"),
        (ROMEO, "", "<vCard xmlns='vcard-temp'/>"),
        (ROMEO, "", f"<query xmlns='{DISCO_INFO}' node='commands'/>"),
        (ROMEO, "/resource", INFO),
    ],
)
def test_what_is_the_sessions_is_left_to_it(sender, to, inside):
    the = house()
    assert the.iq(sender, to, inside) == []
    assert the.taken is False


def test_messages_and_presence_to_the_service_are_the_sessions():
    the = house()
    the.message(ROMEO, "", "<body>hi</body>", kind="chat")
    assert the.taken is False
    the.presence(ROMEO, "", kind="subscribe")
    assert the.taken is False


def test_answers_to_the_session_are_left_to_it():
    the = house()
    the.iq("example.org", "", INFO, kind="result")
    assert the.taken is False


def test_an_account_with_a_name_has_its_own_address():
    the = house(own="pbx@conference.example.org", rooms=ROOMS)
    assert the.iq(ROMEO, "pbx", INFO) == []
    assert the.taken is False
    assert the.join(ROMEO, "pbx/Romeo") == []
    assert the.taken is False
    the.join(ROMEO, "verona/Romeo")
    assert the.taken is True


def test_what_goes_elsewhere_is_not_ours():
    the = house()
    for to_ in ("balcony@other.example.org", "example.org"):
        element = stanza(f"<message type='chat' from='{ROMEO}' to='{to_}'><body>hi</body></message>")
        assert the.service.stanza_came(element) is False


@pytest.mark.parametrize("to_", ["a b@conference.example.org", "@conference.example.org", "x@@y", ""])
def test_an_address_that_is_none(to_):
    the = house()
    for element, answered in (
        (stanza(f"<iq type='get' id='1'>{INFO}</iq>"), True),
        (stanza("<message type='chat'><body>hi</body></message>"), True),
        (stanza("<message type='error'/>"), False),
        (stanza(f"<iq type='result' id='1'>{INFO}</iq>"), False),
    ):
        element.set("from", ROMEO)
        element.set("to", to_)
        assert the.service.stanza_came(element) is True
        assert [condition(one) for one in the.outside.take()] == [("modify", "jid-malformed")] * answered


# Strangers


def test_strangers_are_turned_away_at_the_door():
    the = house()
    [error] = the.join(PARIS, "balcony/Paris")
    assert condition(error) == ("auth", "forbidden")
    assert error.get("from") == "balcony@conference.example.org/Paris"
    assert error.get("id") == "p1"
    assert stanzas.child(error, MUC, "x") is not None
    assert refusal(error)[1] == "This service is not for users of your domain."
    assert [note for note in the.outside.notes if "paris@example.net" in note]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("get", INFO),
        ("get", ITEMS),
        ("get", PING),
        ("set", "<query xmlns='urn:xmpp:mam:2'/>"),
        ("get", f"<query xmlns='{MUC_ADMIN}'><item affiliation='owner'/></query>"),
        ("get", f"<query xmlns='{MUC_OWNER}'/>"),
    ],
)
def test_strangers_learn_nothing_of_rooms(kind, payload):
    assert house().refused(PARIS, "balcony", payload, kind=kind) == "forbidden"
    assert house().refused(PARIS, "nowhere", payload, kind=kind) == "forbidden"


def test_strangers_open_no_room_and_say_nothing():
    the = house()
    assert condition(the.join(PARIS, "verona/Paris")[0]) == ("auth", "forbidden")
    assert condition(the.message(PARIS, "balcony", "<body>hi</body>")[0]) == ("auth", "forbidden")
    assert the.names == ["balcony"]


def test_errors_and_farewells_of_strangers_are_answered_by_nothing():
    the = house()
    assert the.presence(PARIS, "balcony/Paris", kind="unavailable") == []
    assert the.presence(PARIS, "balcony/Paris", kind="error") == []
    assert the.message(PARIS, "balcony", "", kind="error") == []


def test_whom_a_room_names_comes_into_that_room():
    the = house(room={"balcony": {"members": ["paris@example.net"]}, "tomb": {}})
    assert the.join(PARIS, "balcony/Paris")[0].get("type") is None
    assert condition(the.join(PARIS, "tomb/Paris")[0]) == ("auth", "forbidden")


def test_who_is_in_stays_when_the_settings_let_others_in_only():
    the = house()
    the.outside.room = the.room("balcony")
    the.join(ROMEO, "balcony/Romeo")
    the.join(JULIET, "balcony/Juliet")
    the.service.apply(settings(room=BALCONY, rooms=ROOMS, allow=["example.net"]))
    assert body(to(the.message(ROMEO, "balcony", "<body>Adieu</body>"), JULIET)[0]) == "Adieu"
    the.answer(ROMEO, "balcony", INFO)
    the.leave(ROMEO, "balcony/Romeo")
    assert condition(the.join(ROMEO, "balcony/Romeo")[0]) == ("auth", "forbidden")


def test_an_owner_lets_no_strangers_in():
    """Who may use the service is the administrator's to say."""
    the = house()
    the.join(ROMEO, "verona/Romeo")
    the.administer(ROMEO, "verona", "<item affiliation='member' jid='paris@example.net'/>")
    assert condition(the.join(PARIS, "verona/Paris")[0]) == ("auth", "forbidden")


# Rooms that there are not


@pytest.mark.parametrize("room", ["7000", "60-00", "h"])
def test_no_such_room(room):
    the = house()
    [error] = the.join(ROMEO, f"{room}/Romeo")
    assert condition(error) == ("cancel", "item-not-found")
    assert error.get("from") == f"{room}@conference.example.org/Romeo"
    assert the.names == ["balcony"]


def test_the_number_of_a_room_with_a_name_is_not_a_second_room():
    the = house()
    [error] = the.join(ROMEO, "6000/Romeo")
    assert condition(error) == ("cancel", "item-not-found")
    assert refusal(error)[1] == "This conference is the room balcony@conference.example.org."
    assert the.refused(ROMEO, "6000", INFO) == "item-not-found"


def test_a_room_that_opens_as_soon_as_somebody_enters_says_what_it_will_be():
    """Gajim enters only a room that does."""
    the = house(archive_days=7)
    answer = the.answer(ROMEO, "6001", INFO)
    assert answer.get("from") == "6001@conference.example.org"
    assert the.names == ["balcony"], "nobody has entered it"
    told = list(answer.iter(f"{{{DISCO_INFO}}}identity")), list(answer.iter(f"{{{DISCO_INFO}}}feature"))
    the.join(JULIET, "6001/Juliet")
    opened = the.answer(ROMEO, "6001", INFO)
    assert [[dict(one.items()) for one in kind] for kind in told] == [
        [dict(one.items()) for one in opened.iter(f"{{{DISCO_INFO}}}{kind}")] for kind in ("identity", "feature")
    ]
    fields = {field.get("var"): field.findtext(f"{{{FORMS}}}value") for field in answer.iter(f"{{{FORMS}}}field")}
    assert fields["muc#roominfo_occupants"] == "0"


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("get", f"<query xmlns='{DISCO_INFO}' node='x-roomuser-item'/>"),
        ("set", INFO),
        ("get", f"<query xmlns='{DISCO_ITEMS}'/>"),
        ("get", "<query xmlns='http://jabber.org/protocol/muc#owner'/>"),
        ("get", PING),
    ],
)
def test_a_room_that_is_not_open_answers_nothing_else(kind, payload):
    assert house().refused(ROMEO, "6001", payload, kind=kind) == "item-not-found"


def test_who_may_not_enter_learns_nothing_of_rooms_that_could_be_opened():
    assert house().refused(PARIS, "6001", INFO) == house().refused(PARIS, "7000", INFO) == "forbidden"


def test_nobody_asks_without_end_what_rooms_could_be():
    the, most = house(), allowance.CHARACTERS // allowance.QUESTION
    answers = [the.iq(ROMEO, "6001", INFO)[0] for _ in range(most + 1)]
    assert {answer.get("type") for answer in answers[:-1]} == {"result"}
    assert condition(answers[-1]) == ("wait", "resource-constraint")


def test_who_wants_to_come_in_says_under_which_name():
    the = house()
    [error] = the.join(ROMEO, "verona")
    assert condition(error) == ("modify", "jid-malformed")
    assert the.names == ["balcony"]


def test_a_client_that_thinks_it_is_in_learns_that_it_is_not():
    """After a restart of ours, rooms that people had opened are gone: clients must enter anew."""
    the = house()
    assert condition(the.presence(ROMEO, "verona/Romeo", "<show>away</show>")[0]) == ("cancel", "not-acceptable")
    assert condition(the.message(ROMEO, "verona", "<body>hi</body>")[0]) == ("cancel", "not-acceptable")
    assert condition(the.iq(ROMEO, "verona/Romeo", PING)[0]) == ("cancel", "not-acceptable")
    assert condition(the.iq(ROMEO, "7000/Romeo", PING)[0]) == ("cancel", "not-acceptable")
    assert condition(the.iq(ROMEO, "balcony/Romeo", PING)[0]) == ("cancel", "not-acceptable")
    assert the.names == ["balcony"]


@pytest.mark.parametrize("kind", ["unavailable", "error", "probe", "subscribe", "unsubscribed"])
def test_presence_that_opens_nothing_and_needs_no_answer(kind):
    the = house()
    inside = f"<x xmlns='{MUC}'/>"
    assert the.presence(ROMEO, "verona/Romeo", inside, kind=kind) == []
    assert the.presence(ROMEO, "7000/Romeo", inside, kind=kind) == []
    assert the.names == ["balcony"]


def test_a_message_to_no_room():
    assert condition(house().message(ROMEO, "7000", "<body>hi</body>")[0]) == ("cancel", "item-not-found")
    assert house().message(ROMEO, "7000", "", kind="error") == []


# To rooms


def test_what_is_said_in_a_room_gets_there():
    the = house()
    the.outside.room = the.room("balcony")
    the.join(ROMEO, "balcony/Romeo")
    the.join(JULIET, "balcony/Juliet")
    sent = the.message(ROMEO, "balcony", "<body>But soft!</body>")
    assert [(nick_of(one), body(one)) for one in to(sent, JULIET)] == [("Romeo", "But soft!")]


def test_rooms_do_not_hear_each_other():
    the = house()
    the.join(ROMEO, "balcony/Romeo")
    the.join(JULIET, "verona/Juliet")
    the.outside.room = the.room("balcony")
    assert to(the.message(ROMEO, "balcony", "<body>But soft!</body>"), JULIET) == []


def test_a_client_that_is_gone_is_out():
    the = house()
    the.join(ROMEO, "verona/Romeo")
    the.message(
        ROMEO,
        "verona/Juliet",
        "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
        kind="error",
    )
    assert the.names == ["balcony"], "the room that he had opened is closed with him"


def test_a_self_ping_of_who_is_in():
    the = house()
    the.join(ROMEO, "balcony/Romeo")
    the.answer(ROMEO, "balcony/Romeo", PING)


def test_requests_between_people_in_a_room_go_there_and_back():
    the = house()
    the.join(ROMEO, "balcony/Romeo")
    the.join(JULIET, "balcony/Juliet")
    [question] = the.iq(ROMEO, "balcony/Juliet", INFO)
    assert (question.get("to"), question.get("from")) == (JULIET, "balcony@conference.example.org/Romeo")
    answer = stanza(f"<iq type='result'>{INFO}</iq>")
    answer.set("id", question.get("id", ""))
    [back] = the.came(answer, JULIET, "balcony/Romeo")
    assert (back.get("to"), back.get("id"), back.get("from")) == (ROMEO, "q1", "balcony@conference.example.org/Juliet")


# The samples: a phone in the room, and a client that joins it, talks to it and throws it out


def test_a_client_joins_and_throws_a_phone_out():
    the = house()
    the.room("balcony").phone_joined(phone("Bob B", "102"))
    the.outside.take()
    romeo = "escalus@example.org/test"
    sent = the.join(romeo, "balcony/Romeo M")
    assert [(one.tag, nick_of(one)) for one in sent] == [
        (stanzas.PRESENCE, "Bob B"),
        (stanzas.PRESENCE, "Romeo M"),
        (stanzas.MESSAGE, ""),
    ]
    assert codes(sent[1]) == [110]
    assert item(sent[1]) == {"affiliation": "owner", "role": "moderator", "jid": romeo}
    assert sent[2].findtext(f"{{{stanzas.CLIENT}}}subject") == ""
    for affiliation in ("member", "admin", "owner"):  # as clients ask after each join
        the.answer(romeo, "balcony", f"<query xmlns='{MUC_ADMIN}'><item affiliation='{affiliation}'/></query>")
    the.administer(romeo, "balcony", "<item role='none' nick='Bob B'><reason>bye bob</reason></item>")
    assert the.outside.kicked == ["PJSIP/102-00000001"]
    the.room("balcony").phone_left("PJSIP/102-00000001")
    [gone] = the.outside.take()
    assert (nick_of(gone), codes(gone)) == ("Bob B", [307])
    assert item(gone) == {"affiliation": "none", "role": "none", "jid": "102@phone.example.org"}
    assert "".join(gone.itertext()) == "bye bob"


def test_a_nick_that_a_phone_has_is_taken():
    the = house()
    the.room("balcony").phone_joined(phone("Bob B", "102"))
    the.outside.take()
    [error] = the.join(JULIET, "balcony/Bob B")
    assert condition(error) == ("cancel", "conflict")
    assert error.get("from") == "balcony@conference.example.org/Bob B"


# Whatever comes

_NAMES = st.sampled_from(
    [
        "query",
        "x",
        "item",
        "field",
        "value",
        "ping",
        "metadata",
        "destroy",
        "reason",
        "set",
        "max",
        "after",
        "status",
        "body",
    ]
)
_NAMESPACES = st.sampled_from(
    [
        DISCO_INFO,
        DISCO_ITEMS,
        MUC,
        MUC_ADMIN,
        MUC_OWNER,
        stanzas.MUC_USER,
        stanzas.FORMS,
        "urn:xmpp:ping",
        "urn:xmpp:mam:2",
        "http://jabber.org/protocol/rsm",
        "jabber:iq:register",
        "vcard-temp",
        stanzas.CLIENT,
    ]
)
_TEXT = st.one_of(
    st.sampled_from(["1", "0", "none", "submit", "cancel", "owner", "outcast", "moderator", "visitor", "Romeo", "-1"]),
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), max_size=8
    ),
)
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["type", "var", "node", "jid", "nick", "role", "affiliation", "to"]), _TEXT, max_size=4
)


@st.composite
def trees(draw: st.DrawFn, depth: int = 0) -> Element:
    element = Element(f"{{{draw(_NAMESPACES)}}}{draw(_NAMES)}", draw(_ATTRIBUTES))
    element.text = draw(_TEXT)
    if depth < 3:
        element.extend(draw(st.lists(trees(depth + 1), max_size=3)))
    return element


@st.composite
def requests(draw: st.DrawFn) -> Element:
    """Return what is nearly a request that rooms answer."""
    namespace = draw(st.sampled_from([DISCO_INFO, DISCO_ITEMS, MUC_ADMIN, MUC_OWNER, "urn:xmpp:mam:2"]))
    query = Element(f"{{{namespace}}}query", draw(_ATTRIBUTES))
    inside = st.sampled_from([f"{{{namespace}}}item", f"{{{namespace}}}destroy", f"{{{stanzas.FORMS}}}x"])
    for tag in draw(st.lists(inside, max_size=3)):
        child = SubElement(query, tag, draw(_ATTRIBUTES))
        for var in draw(st.lists(st.sampled_from(["FORM_TYPE", "persistentroom", "roomname", "maxusers"]), max_size=3)):
            field = SubElement(
                child, f"{{{stanzas.FORMS}}}field", var=var if var.isupper() else f"muc#roomconfig_{var}"
            )
            SubElement(field, f"{{{stanzas.FORMS}}}value").text = draw(_TEXT)
    return query


@given(
    tag=st.sampled_from(["iq", "iq", "message", "presence"]),
    kind=st.sampled_from([None, "get", "set", "result", "error", "groupchat", "unavailable", "chat", "odd"]),
    sender=st.sampled_from([ROMEO, JULIET, PARIS, "escalus@example.org/x", "example.org"]),
    to_=st.sampled_from(
        [DOMAIN, f"{DOMAIN}/x"]
        + [f"{room}@{DOMAIN}" for room in ("balcony", "balcony", "verona", "mantua", "6000", "7000", "nine nine")]
        + [f"balcony@{DOMAIN}/Romeo", f"verona@{DOMAIN}/Juliet", f"mantua@{DOMAIN}/Romeo"]
    ),
    id_=st.sampled_from(["1", "", None]),
    children=st.one_of(st.lists(trees(), max_size=2), requests().map(lambda query: [query])),
)
def test_nothing_that_comes_breaks_the_service_and_each_request_is_answered(tag, kind, sender, to_, id_, children):
    the = house()
    the.join(ROMEO, "balcony/Romeo")
    the.join("escalus@example.org/x", "verona/Escalus")
    element = Element(f"{{{stanzas.CLIENT}}}{tag}")
    for name, value in {"type": kind, "id": id_, "from": sender, "to": to_}.items():
        if value is not None:
            element.set(name, value)
    element.extend(children)
    element = fromstring(tostring(element))  # as it comes off a stream
    taken = the.service.stanza_came(element)
    sent = the.outside.take()
    for one in sent:
        fromstring(tostring(one))
        assert one.get("to")
        assert (one.get("from") or "").rpartition("@")[2].partition("/")[0] == DOMAIN
    if tag == "iq" and kind in ("get", "set") and taken:
        answers = [one for one in sent if one.tag == stanzas.IQ and one.get("to") == sender and one.get("id") == id_]
        passed_on = [one for one in sent if one.tag == stanzas.IQ and one.get("type") in ("get", "set")]
        assert len(answers) == 1 or passed_on or the.outside.archive_queries
    if tag == "iq" and kind not in ("get", "set"):
        assert sent == []
