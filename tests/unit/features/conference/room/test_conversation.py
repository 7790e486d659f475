from __future__ import annotations

from dataclasses import replace

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Role, Utterance
from agi_xmpp.features.conference.room.conversation import MAX_MESSAGE, MAX_SUBJECT
from agi_xmpp.features.conference.room.wording import ENCRYPTED
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import ADDRESS, Hall, body, codes, condition, jid, nick_of, the, to

OWNER, ROMEO, JULIET = "owner@example.org/desk", "romeo@example.org/orchard", "juliet@example.org/balcony"
NURSE = "nurse@example.org/kitchen"
COMPOSING = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"


@pytest.fixture
def hall():
    hall = Hall({"owner@example.org": Affiliation.OWNER})
    hall.phone_joins(phone())
    for full, nick in ((OWNER, "Owner"), (ROMEO, "Romeo"), (JULIET, "Juliet")):
        hall.join(full, nick)
    return hall


def stanza_id(message):
    found = message.findall(f"{{{stanzas.STANZA_ID}}}stanza-id")
    assert len(found) == 1
    return found[0].get("by"), found[0].get("id")


# To all


def test_a_text_is_reflected_to_all_and_to_its_sender_with_all_that_was_in_it(hall):
    sent = hall.message(
        ROMEO,
        "<origin-id xmlns='urn:xmpp:sid:0' id='m7'/><body>good evening</body><thread>t</thread>"
        "<markable xmlns='urn:xmpp:chat-markers:0'/>",
        id_="m7",
        lang="en",
    )
    assert [one.get("to") for one in sent] == [OWNER, ROMEO, JULIET]
    for one in sent:
        assert (one.get("from"), one.get("type"), one.get("id")) == (f"{ADDRESS}/Romeo", "groupchat", "m7")
        assert one.get(stanzas.LANG) == "en"
        assert [child.tag for child in one][:4] == [
            f"{{{stanzas.STANZA_ID}}}origin-id",
            f"{{{stanzas.CLIENT}}}body",
            f"{{{stanzas.CLIENT}}}thread",
            "{urn:xmpp:chat-markers:0}markable",
        ]
        assert stanza_id(one) == (str(ADDRESS), hall.outside.archived[0][1].id)
        assert the(one, f"{{{stanzas.OCCUPANT_ID}}}occupant-id").get("id")


def test_phones_get_a_text_with_the_name_of_who_said_it(hall):
    hall.presence(ROMEO, 'R"o<m>eo')
    hall.say(ROMEO, "hello phones")
    said = hall.outside.said[-1]
    assert (said.speaker, said.text, said.sender, said.nick) == ("R o m eo", "hello phones", jid(ROMEO), 'R"o<m>eo')


def test_a_text_is_reflected_only_when_the_phones_have_it_and_in_their_order(hall):
    hall.outside.patient = True
    assert hall.say(ROMEO, "one", id_="1") == []
    assert hall.say(JULIET, "two", id_="2") == []
    for utterance in hall.outside.said:
        hall.room.spoken(utterance)
    assert [one.get("id") for one in to(hall.outside.take(), ROMEO)] == ["1", "2"]


def test_the_sender_is_told_what_the_phones_have_not_got(hall):
    hall.outside.patient = True
    hall.say(ROMEO, "lost", id_="m9")
    hall.room.not_spoken(hall.outside.said[0], "Asterisk did not take it: 503\x00.")
    sent = hall.outside.take()
    assert [(one.get("to"), one.get("from"), one.get("id")) for one in sent] == [(ROMEO, str(ADDRESS), "m9")]
    assert condition(sent[0]) == ("wait", "remote-server-timeout")
    assert sent[0].findtext(f".//{{{stanzas.STANZA_ERRORS}}}text") == "Asterisk did not take it: 503."
    assert hall.outside.archived == []


def test_what_the_phones_take_late_is_shown_under_the_nick_of_then_if_its_sender_is_gone(hall):
    hall.outside.patient = True
    hall.say(ROMEO, "one")
    hall.presence(ROMEO, "Montague")
    hall.room.spoken(hall.outside.said[0])
    assert {nick_of(one) for one in hall.outside.take()} == {"Montague"}
    hall.say(JULIET, "two")
    hall.presence(JULIET, "Juliet", kind="unavailable")
    hall.room.spoken(hall.outside.said[1])
    assert {nick_of(one) for one in hall.outside.take()} == {"Juliet"}


def test_what_nobody_waits_for_is_nothing(hall):
    hall.room.spoken(Utterance("", "the room itself"))
    hall.room.not_spoken(Utterance("", "the room itself"), "why not")
    assert hall.outside.take() == []


def test_who_is_not_in_says_nothing(hall):
    sent = hall.say("nurse@example.org/x", "hello")
    assert [(one.get("to"), condition(one)) for one in sent] == [("nurse@example.org/x", ("cancel", "not-acceptable"))]
    assert hall.outside.said == []


def test_a_visitor_has_no_voice(hall):
    hall.room.set_role("Romeo", Role.VISITOR, None)
    hall.outside.take()
    (refusal,) = hall.say(ROMEO, "hello")
    assert condition(refusal) == ("auth", "forbidden")
    assert "when a moderator has given you the word" in "".join(refusal.itertext())
    reaction = "<reactions xmlns='urn:xmpp:reactions:0' id='x'/>"
    assert [condition(one) for one in hall.message(ROMEO, reaction)] == [("auth", "forbidden")]
    assert hall.message(ROMEO, COMPOSING) == []
    assert hall.outside.said == []


def test_typing_is_for_chat_only_and_not_kept(hall):
    sent = hall.message(ROMEO, COMPOSING)
    assert len(sent) == 3
    assert sent[0].find(f"{{{stanzas.CHAT_STATES}}}composing") is not None
    assert sent[0].find(f"{{{stanzas.STANZA_ID}}}stanza-id") is None
    assert hall.outside.said == hall.outside.archived == []


def test_reactions_are_for_chat_only_and_kept_if_they_ask_for_it(hall):
    reaction = "<reactions xmlns='urn:xmpp:reactions:0' id='x'/><store xmlns='urn:xmpp:hints'/>"
    sent = hall.message(ROMEO, reaction)
    assert hall.outside.said == []
    assert stanza_id(sent[0])[1] == hall.outside.archived[0][1].id
    # but are not shown to those who come in: only texts are
    assert list(hall.room._state.history) == []


def test_what_is_not_to_be_kept_is_not_kept(hall):
    hall.message(ROMEO, "<body>psst</body><no-store xmlns='urn:xmpp:hints'/>")
    assert hall.outside.archived == []
    assert list(hall.room._state.history) == []
    assert [said.text for said in hall.outside.said] == ["psst"]


def test_phones_get_no_encrypted_texts_but_are_told(hall):
    sent = hall.message(ROMEO, "<body>fallback</body><encryption xmlns='urn:xmpp:eme:0' namespace='x'/>")
    assert [said.text for said in hall.outside.said] == [ENCRYPTED]
    assert body(sent[0]) == "fallback"


def test_nobody_speaks_in_the_rooms_name(hall):
    sent = hall.message(
        ROMEO,
        f"<body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='{ADDRESS}' id='forged'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' by='BALCONY@conference.example.org' id='forged'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' by='example.org' id='of their own server'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' by='no@such@address' id='of nobody'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' id='forged'/>"
        f"<delay xmlns='urn:xmpp:delay' from='{ADDRESS}' stamp='1970-01-01T00:00:00Z'/>"
        "<delay xmlns='urn:xmpp:delay' stamp='1970-01-01T00:00:00Z'/>"
        f"<x xmlns='jabber:x:delay' from='{ADDRESS}' stamp='19700101T00:00:00'/>"
        "<x xmlns='jabber:x:delay' stamp='19700101T00:00:00'/>"
        "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>"
        "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>",
    )[0]
    assert codes(sent) == []
    assert sent.find(f"{{{stanzas.DELAY}}}delay") is None
    assert sent.find("{jabber:x:delay}x") is None
    ids = {one.get("by"): one.get("id") for one in sent.findall(f"{{{stanzas.STANZA_ID}}}stanza-id")}
    assert ids == {
        "example.org": "of their own server",
        "no@such@address": "of nobody",
        str(ADDRESS): hall.outside.archived[0][1].id,
    }
    assert [one.get("id") == "forged" for one in sent.findall(f"{{{stanzas.OCCUPANT_ID}}}occupant-id")] == [False]


def test_a_message_is_not_too_large(hall):
    frame = len("x") + MAX_MESSAGE
    hall.say(ROMEO, "y")
    spare = frame - 1 - stanzas.weight(hall.outside.said[0].stanza)
    assert len(hall.say(ROMEO, "y" * (spare + 1))) == 3
    assert [condition(one) for one in hall.say(ROMEO, "y" * (spare + 2))] == [("modify", "policy-violation")]


def test_what_is_archived_is_what_was_reflected_but_for_whom(hall):
    hall.say(ROMEO, "hello")
    room, kept = hall.outside.archived[0]
    assert (room, kept.nick, kept.stamp, kept.stanza.get("to")) == (ADDRESS, "Romeo", hall.outside.time, None)
    assert body(kept.stanza) == "hello"


@pytest.mark.parametrize("kind", ["normal", "chat"])
def test_a_message_to_the_room_that_is_for_nobody(hall, kind):
    assert [condition(one) for one in hall.say(ROMEO, "x", kind=kind)] == [("modify", "bad-request")]
    assert hall.say(ROMEO, "x", kind="headline") == []


# Subject


def test_a_moderator_sets_the_subject(hall):
    sent = hall.message(OWNER, "<subject>love</subject>", id_="s1")
    assert [(one.get("to"), nick_of(one), one.get("id")) for one in sent] == [
        (full, "Owner", "s1") for full in (OWNER, ROMEO, JULIET)
    ]
    assert sent[0].findtext(f"{{{stanzas.CLIENT}}}subject") == "love"
    assert hall.room.subject == ("love", "Owner", hall.outside.time)
    assert hall.changes == 1
    assert [(said.speaker, said.text) for said in hall.outside.said] == [("", "Owner set the subject: love")]


def test_a_subject_can_be_taken_away(hall):
    hall.message(OWNER, "<subject/>")
    assert hall.room.subject.text == ""
    assert hall.outside.said[-1].text == "Owner removed the subject"


def test_participants_set_the_subject_where_they_may():
    hall = Hall(subject_by_all=True)
    hall.join(ROMEO, "Romeo")
    hall.message(ROMEO, "<subject>love</subject>")
    assert hall.room.subject is not None
    assert hall.room.subject.text == "love"
    hall.room.set_role("Romeo", Role.VISITOR, None)
    hall.outside.take()
    assert [condition(one) for one in hall.message(ROMEO, "<subject>war</subject>")] == [("auth", "forbidden")]


def test_others_do_not(hall):
    assert [condition(one) for one in hall.message(ROMEO, "<subject>war</subject>")] == [("auth", "forbidden")]
    assert hall.room.subject is None
    assert hall.changes == 0


def test_a_subject_is_not_too_long(hall):
    hall.message(OWNER, f"<subject>{'x' * MAX_SUBJECT}</subject>")
    sent = hall.message(OWNER, f"<subject>{'y' * (MAX_SUBJECT + 1)}</subject>")
    assert [condition(one) for one in sent] == [("modify", "policy-violation")]
    assert hall.room.subject.text == "x" * MAX_SUBJECT


def test_a_subject_with_a_text_is_a_text(hall):
    sent = hall.message(ROMEO, "<subject>hi</subject><body>hello</body>")
    assert body(sent[0]) == "hello"
    assert hall.room.subject is None


# To one


def test_a_private_message_goes_to_all_clients_of_one_occupant(hall):
    mobile = "juliet@example.org/mobile"
    hall.join(mobile, "Juliet")
    sent = hall.message(
        ROMEO,
        "<body>psst</body><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner'/></x>",
        "Juliet",
        kind="chat",
    )
    assert [one.get("to") for one in sent] == [JULIET, mobile]
    for one in sent:
        assert (one.get("from"), one.get("type"), one.get("id")) == (f"{ADDRESS}/Romeo", "chat", "m1")
        found = one.findall(f"{{{stanzas.MUC_USER}}}x")
        assert [len(x) for x in found] == [0]
        assert one.find(f"{{{stanzas.OCCUPANT_ID}}}occupant-id") is not None
    assert hall.outside.archived == hall.outside.said == []


def test_a_private_message_to_a_phone(hall):
    assert hall.say(ROMEO, "psst", nick="Alice A", kind="chat") == []
    channel, said = hall.outside.whispered[0]
    assert (channel, said.speaker, said.text) == ("PJSIP/101-00000001", "Romeo", "psst")
    # that it got there is told by nothing; that it did not, by an error from the phone
    hall.room.spoken(said)
    assert hall.outside.take() == []
    hall.room.not_spoken(said, "The phone is gone.")
    sent = hall.outside.take()
    assert [(one.get("to"), nick_of(one), condition(one)) for one in sent] == [
        (ROMEO, "Alice A", ("wait", "remote-server-timeout"))
    ]


def test_phones_are_not_told_who_types_to_them(hall):
    assert hall.message(ROMEO, COMPOSING, "Alice A", kind="chat") == []
    assert hall.outside.whispered == []


def test_private_messages_to_nobody_by_strangers_and_to_all(hall):
    assert [condition(one) for one in hall.say(ROMEO, "x", nick="Nobody", kind="chat")] == [
        ("cancel", "item-not-found")
    ]
    assert [condition(one) for one in hall.say("nurse@example.org/x", "x", nick="Romeo", kind="chat")] == [
        ("cancel", "not-acceptable")
    ]
    assert [condition(one) for one in hall.say(ROMEO, "x", nick="Juliet")] == [("modify", "bad-request")]


def test_visitors_may_write_to_one(hall):
    hall.room.set_role("Romeo", Role.VISITOR, None)
    hall.outside.take()
    assert [one.get("to") for one in hall.say(ROMEO, "may I?", nick="Owner", kind="chat")] == [OWNER]


# Phones


def test_a_phones_text_comes_from_the_phone(hall):
    hall.room.phone_said("Alice A", "hi romeo, alice here")
    sent = hall.outside.take()
    assert {(nick_of(one), one.get("type"), body(one)) for one in sent} == {
        ("Alice A", "groupchat", "hi romeo, alice here")
    }
    assert [one.get("to") for one in sent] == [OWNER, ROMEO, JULIET]
    assert len({one.get("id") for one in sent}) == 1
    assert stanza_id(sent[0])[1] == hall.outside.archived[0][1].id
    assert hall.outside.archived[0][1].nick == "Alice A"
    assert [kept.nick for kept in hall.room._state.history] == ["Alice A"]
    assert hall.outside.said == []


@pytest.mark.parametrize("display", ["alice  a", '"Alice A"', "Alice A\x00"])
def test_a_phone_may_write_its_name_a_little_otherwise(hall, display):
    hall.room.phone_said(display, "hi")
    assert nick_of(hall.outside.take()[0]) == "Alice A"


@pytest.mark.parametrize(
    ("display", "shown"),
    [
        ("Romeo", "<Romeo> pretending"),
        ("Mallory <sip:6000@x>", "<Mallory sip:6000 x> pretending"),
        ("", "<phone> pretending"),
        ("\uffff", "<phone> pretending"),
        ("y" * 100, f"<{'y' * 64}> pretending"),
    ],
)
def test_a_name_that_no_phone_has_is_only_quoted(hall, display, shown):
    hall.room.phone_said(display, "pretending")
    sent = hall.outside.take()
    assert {(one.get("from"), body(one)) for one in sent} == {(str(ADDRESS), shown)}
    assert sent[0].find(f"{{{stanzas.OCCUPANT_ID}}}occupant-id") is None
    assert hall.outside.archived[0][1].nick == ""


@pytest.mark.parametrize("display", ["Alice A", "Romeo", "Mallory", ""])
def test_a_text_whose_sender_is_known_is_that_phone_s_whatever_name_it_gives(hall, display):
    bob = phone("Bob B", "102")
    hall.phone_joins(bob)
    hall.room.phone_said(display, "it is me", bob.channel)
    assert {(nick_of(one), body(one)) for one in hall.outside.take()} == {("Bob B", "it is me")}
    assert hall.room.speaker_of(display, bob.channel).participant == bob


@pytest.mark.parametrize("sender", ["", "PJSIP/109-00000001"])
def test_a_text_whose_sender_should_be_known_and_is_not_is_nobody_s(hall, sender):
    hall.room.phone_said("Alice A", "it is me", sender)
    assert {(one.get("from"), body(one)) for one in hall.outside.take()} == {(str(ADDRESS), "<Alice A> it is me")}
    assert hall.room.speaker_of("Alice A", sender) is None


def test_while_somebody_who_withholds_their_name_is_in_no_other_name_is_quoted_it_may_be_theirs(hall):
    hall.phone_joins(replace(phone("", "103"), number="", withheld=True))
    hall.room.phone_said("Carol", "hello")
    assert {body(one) for one in hall.outside.take()} == {"<phone> hello"}
    hall.room.phone_said("Alice A", "hello")
    assert nick_of(hall.outside.take()[0]) == "Alice A"


@pytest.mark.parametrize("nick", ["@@", "<>", '"'])
def test_a_nick_that_phones_cannot_show_is_not_the_rooms_own_voice(hall, nick):
    hall.join(NURSE, nick)
    hall.say(NURSE, "leave the building")
    hall.say(NURSE, "you too", nick="Alice A", kind="chat")
    hall.message(OWNER, "<subject>news</subject>")
    assert [(one.speaker, one.text) for one in hall.outside.said] == [
        ("somebody", "leave the building"),
        ("", "Owner set the subject: news"),
    ]
    assert [one.speaker for _channel, one in hall.outside.whispered] == ["somebody"]


def test_a_name_that_two_phones_have_is_only_quoted(hall):
    hall.phone_joins(phone("Alice A", "102"))
    assert hall.room.speaker_of("Alice A") is None
    hall.room.phone_said("Alice A", "which?")
    assert body(hall.outside.take()[0]) == "<Alice A> which?"
    hall.room.phone_left("PJSIP/102-00000001")
    hall.outside.take()
    hall.room.phone_said("Alice A", "this one")
    assert nick_of(hall.outside.take()[0]) == "Alice A"


def test_the_number_that_was_put_to_a_name_is_not_a_callers_name(hall):
    hall.phone_joins(phone("Romeo", "103"))
    assert {one.nick for one in hall.room.phones.values()} == {"Alice A", "Romeo (2)"}
    hall.room.phone_said("Romeo (2)", "x")
    assert nick_of(hall.outside.take()[0]) == ""
    hall.room.phone_said("Romeo", "x")
    assert nick_of(hall.outside.take()[0]) == "Romeo (2)"


def test_a_phone_without_a_name_speaks_by_its_number(hall):
    hall.phone_joins(phone("", "103"))
    hall.room.phone_said("103", "x")
    assert nick_of(hall.outside.take()[0]) == "103"


@pytest.mark.parametrize("text", ["", "  \r\n", "\x00\x07"])
def test_empty_texts_of_phones_are_dropped(hall, text):
    hall.room.phone_said("Alice A", text)
    assert hall.outside.take() == []


# The room itself


def test_an_announcement_is_for_chat_and_for_the_moment(hall):
    hall.room.announce("The phones cannot read this.")
    sent = hall.outside.take()
    assert [(one.get("to"), one.get("from"), body(one)) for one in sent] == [
        (full, str(ADDRESS), "The phones cannot read this.") for full in (OWNER, ROMEO, JULIET)
    ]
    assert hall.outside.archived == hall.outside.said == []
    assert list(hall.room._state.history) == []


def test_clients_that_went_unseen_are_found_by_a_message_that_nobody_sees(hall):
    hall.room.verify()
    sent = hall.outside.take()
    assert [one.get("to") for one in sent] == [OWNER, ROMEO, JULIET]
    assert {(one.get("type"), body(one)) for one in sent} == {("groupchat", "")}
    assert len({one.get("id") for one in sent}) == 3
    hall.message(
        ROMEO, "<error><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", kind="error"
    )
    assert set(hall.room.occupants) == {"Owner", "Juliet"}
