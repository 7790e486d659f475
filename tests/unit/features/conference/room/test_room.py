from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Archived, ConferenceRoom, PhoneOccupant, Role
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.xmpp.model import Jid
from tests.unit.features.conference.fakes import FakeOutside, phone, stanza
from tests.unit.features.conference.hall import ADDRESS, Hall, body, codes, item, jid, nick_of, the, to

OWNER, ROMEO, NURSE = "owner@example.org/desk", "romeo@example.org/test", "nurse@example.org/profanity.Ntaa"
ALICE = "PJSIP/101-00000001"


@pytest.fixture
def hall():
    hall = Hall({"owner@example.org": Affiliation.OWNER})
    hall.phone_joins(phone())
    hall.join(OWNER, "Owner")
    hall.join(ROMEO, "Romeo")
    return hall


def test_a_room_is_a_conference_room():
    def takes(room: ConferenceRoom) -> str:
        return room.number

    assert takes(Hall().room) == "6000"


def test_what_can_be_read_of_a_room(hall):
    room = hall.room
    assert (room.address, room.number, room.title, room.config.title) == (ADDRESS, "6000", "Balcony", "Balcony")
    assert set(room.occupants) == {"Owner", "Romeo"} == set(room.people)
    assert not room.is_banned(jid(ROMEO))
    assert set(room.phones) == {ALICE}
    assert room.has_listeners
    assert room.occupant_of(jid(ROMEO)) is room.occupants["Romeo"]
    assert room.occupant_of(jid(NURSE)) is None
    assert room.holder_of("Alice A") is room.phones[ALICE]
    assert room.holder_of("Romeo") is room.occupants["Romeo"]
    assert room.holder_of("romeo") is None
    assert room.affiliation_of(jid(OWNER)) is Affiliation.OWNER
    assert room.affiliations == {jid("owner@example.org"): Affiliation.OWNER}
    assert room.subject is None
    assert str(room.phone_jid(phone())) == "101@phone.example.org"


def test_a_room_needs_no_callbacks():
    outside = FakeOutside()
    room = Room(ADDRESS, "6000", Hall().room.config, {}, outside, key=b"k" * 16, history=0)
    room.restore_subject("love", "Romeo", outside.now())
    room.set_affiliation(jid(ROMEO), Affiliation.MEMBER, None)
    assert room.phone_jid(phone()) is None
    assert room.subject == ("love", "Romeo", outside.now())


def test_what_was_said_before_a_restart_is_shown(hall):
    message = stanzas.message(Jid(ADDRESS.local, ADDRESS.domain, "Juliet"), None, "groupchat", "m1")
    stanzas.add(message, stanzas.CLIENT, "body", "before")
    hall.room.load_history([Archived("a1", hall.outside.time - timedelta(hours=1), "Juliet", message)])
    replayed = to(hall.join(NURSE, "Nurse"), NURSE)[4]
    assert (nick_of(replayed), body(replayed)) == ("Juliet", "before")


# Phones


def test_a_phone_comes_and_goes(hall):
    sent = hall.phone_joins(phone("Bob B", "102"))
    assert [(one.get("to"), nick_of(one), one.get("type"), codes(one)) for one in sent] == [
        (OWNER, "Bob B", None, []),
        (ROMEO, "Bob B", None, []),
    ]
    assert item(to(sent, ROMEO)[0]) == {"affiliation": "none", "role": "participant"}
    hall.room.phone_left("PJSIP/102-00000001")
    sent = hall.outside.take()
    assert [(one.get("to"), nick_of(one), one.get("type")) for one in sent] == [
        (OWNER, "Bob B", "unavailable"),
        (ROMEO, "Bob B", "unavailable"),
    ]
    assert item(to(sent, ROMEO)[0]) == {"affiliation": "none", "role": "none"}


def test_a_phone_that_is_told_of_twice_is_in_once(hall):
    assert hall.phone_joins(phone()) == []
    assert len(hall.phone_joins(phone(muted=True))) == 2
    assert len(hall.room.phones) == 1


def test_phones_that_nobody_knows_neither_change_nor_leave(hall):
    hall.room.phone_changed(phone("Bob", "102"))
    hall.room.phone_left("PJSIP/102-00000001")
    assert hall.outside.take() == []


def test_phones_of_one_name_are_numbered(hall):
    hall.phone_joins(phone("alice a", "102"))
    hall.phone_joins(phone("Alice A", "103"))
    assert [one.nick for one in hall.room.phones.values()] == ["Alice A", "alice a (2)", "Alice A (3)"]


def test_a_phone_never_takes_the_nick_of_somebody_in_chat(hall):
    assert nick_of(hall.phone_joins(phone("Romeo", "102"))[0]) == "Romeo (2)"


def test_a_phone_whose_name_changes_is_renamed(hall):
    hall.room.phone_changed(phone("Alice Adams"))
    sent = to(hall.outside.take(), ROMEO)
    assert [(nick_of(one), one.get("type"), codes(one)) for one in sent] == [
        ("Alice A", "unavailable", [303]),
        ("Alice Adams", None, []),
    ]
    assert item(sent[0])["nick"] == "Alice Adams"
    assert item(sent[0])["role"] == "participant"
    assert hall.room.holder_of("Alice Adams") is hall.room.phones[ALICE]
    hall.room.phone_changed(phone("ALICE ADAMS"))
    assert hall.room.phones[ALICE].nick == "ALICE ADAMS"
    hall.room.phone_changed(phone("Romeo"))
    assert hall.room.phones[ALICE].nick == "Romeo (2)"


def test_a_change_that_nobody_sees_is_told_to_nobody(hall):
    hall.room.phone_changed(phone())
    assert hall.outside.take() == []


def test_a_phone_that_is_muted_keeps_the_number_behind_its_name(hall):
    hall.phone_joins(phone("Alice A", "102"))
    hall.room.phone_left(ALICE)
    hall.outside.take()
    hall.room.phone_changed(phone("Alice A", "102", muted=True))
    assert {(nick_of(one), item(one)["role"]) for one in hall.outside.take()} == {("Alice A (2)", "visitor")}


def test_a_room_without_anybody_from_chat_is_quiet():
    hall = Hall()
    assert hall.phone_joins(phone()) == []
    assert not hall.room.has_listeners
    hall.room.phone_said("Alice A", "anybody?")
    assert hall.outside.take() == []
    assert [body(one) for one in hall.join(NURSE, "Nurse") if one.tag == stanzas.MESSAGE] == ["anybody?", ""]


# Configuration, and the end


def test_another_configuration_is_told(hall):
    hall.room.set_config(replace(hall.room.config, title="Verona"))
    sent = hall.outside.take()
    assert [(one.get("to"), one.get("from"), one.get("type"), codes(one)) for one in sent] == [
        (OWNER, str(ADDRESS), "groupchat", [104]),
        (ROMEO, str(ADDRESS), "groupchat", [104]),
    ]
    assert all(one.find(f"{{{stanzas.CLIENT}}}body") is None for one in sent)
    assert hall.room.title == "Verona"
    assert hall.changes == 1


def test_a_room_that_becomes_members_only_keeps_its_members(hall):
    hall.room.set_config(replace(hall.room.config, members_only=True))
    sent = [one for one in hall.outside.take() if one.tag == stanzas.PRESENCE]
    assert [codes(one) for one in to(sent, ROMEO)] == [[110, 322]]
    assert [(nick_of(one), codes(one)) for one in to(sent, OWNER)] == [("Romeo", [322])]
    assert list(hall.room.occupants) == ["Owner"]
    hall.room.set_config(replace(hall.room.config, title="again"))
    assert list(hall.room.occupants) == ["Owner"]


def test_a_room_is_destroyed(hall):
    hall.say(ROMEO, "hello")
    hall.room.destroy("over", jid("garden@conference.example.org"), "secret")
    sent = hall.outside.take()
    assert [(one.get("to"), nick_of(one), one.get("type"), codes(one)) for one in sent] == [
        (OWNER, "Owner", "unavailable", [110]),
        (ROMEO, "Romeo", "unavailable", [110]),
    ]
    assert item(sent[1]) == {"affiliation": "none", "role": "none"}
    destroyed = the(sent[1], f"{{{stanzas.MUC_USER}}}x/{{{stanzas.MUC_USER}}}destroy")
    assert destroyed.get("jid") == "garden@conference.example.org"
    assert destroyed.findtext(f"{{{stanzas.MUC_USER}}}reason") == "over"
    assert destroyed.findtext(f"{{{stanzas.MUC_USER}}}password") == "secret"
    assert hall.outside.kicked == [ALICE]
    assert hall.outside.forgotten == [ADDRESS]
    assert not hall.room.has_listeners
    assert not hall.room.phones
    assert list(hall.room._state.history) == []
    assert hall.outside.notes == [f"room {ADDRESS}: destroyed: over"]
    hall.room.phone_left(ALICE)
    assert hall.outside.take() == []


def test_a_room_is_destroyed_without_a_word(hall):
    hall.room.destroy(password="of nothing")
    destroyed = hall.outside.take()[0].find(f".//{{{stanzas.MUC_USER}}}destroy")
    assert dict(destroyed.items()) == {}
    assert len(destroyed) == 0


def test_a_service_that_stops_says_so_and_clients_come_back(hall):
    changes = len(hall.outside.occupancy_changes)
    hall.iq(ROMEO, "Owner", "<query xmlns='jabber:iq:version'/>")
    hall.room.shut_down()
    told = hall.outside.take()
    assert [(one.get("to"), nick_of(one), codes(one)) for one in told] == [
        (OWNER, "Owner", [110, 332]),
        (ROMEO, "Romeo", [110, 332]),
    ]
    # for people whose client does not come back by itself
    words = {one.findtext(f"{{{stanzas.CLIENT}}}status") for one in told}
    assert words == {"This room's service stops for now. Enter again when it is back."}
    assert not hall.room.has_listeners
    assert len(hall.outside.occupancy_changes) == changes + 1
    # the phones are still in
    assert [nick_of(one) for one in hall.join(ROMEO, "Romeo")] == ["Alice A", "Romeo", ""]


def test_errors_of_clients_that_are_gone_put_them_out_whatever_was_asked(hall):
    gone = "<error><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    hall.iq(ROMEO, "", gone, kind="error", id_="unknown")
    assert list(hall.room.occupants) == ["Owner"]


# The samples that this was made from: what they say is in what is sent


def says(sent: Element, sample: str) -> bool:
    """Tell whether all that is in a sample is in a stanza: attributes, texts and children."""

    def within(part: Element, whole: Element) -> bool:
        return (
            part.tag == whole.tag
            and part.items() <= whole.items()
            and (part.text or "").strip() == (whole.text or "").strip()
            and all(any(within(child, other) for other in whole) for child in part)
        )

    return within(stanza(sample), sent)


MUC_USER = "xmlns='http://jabber.org/protocol/muc#user'"


@pytest.fixture
def sample():
    """The room of the samples: Romeo owns it, and Alice and Bob are on the phone."""
    hall = Hall({"romeo@example.org": Affiliation.OWNER})
    hall.phone_joins(phone("Alice A", "101"))
    hall.phone_joins(phone("Bob B", "102"))
    hall.join(ROMEO, "Romeo")
    return hall


def test_the_sample_of_a_join(sample):
    sent = to(sample.join(NURSE, "Nurse"), NURSE)
    assert says(
        sent[0],
        f"<presence from='{ADDRESS}/Alice A' to='{NURSE}'><x {MUC_USER}>"
        "<item affiliation='none' role='participant'/></x></presence>",
    )
    assert says(
        sent[-2],
        f"<presence from='{ADDRESS}/Nurse' to='{NURSE}'><x {MUC_USER}>"
        f"<item affiliation='none' role='participant' jid='{NURSE}'/><status code='110'/></x></presence>",
    )
    assert says(sent[-1], f"<message from='{ADDRESS}' to='{NURSE}' type='groupchat'><subject/></message>")


def test_the_sample_of_a_new_nick(sample):
    gone, came = sample.presence(ROMEO, "Romeo M")
    assert says(
        gone,
        f"<presence from='{ADDRESS}/Romeo' to='{ROMEO}' type='unavailable'><x {MUC_USER}>"
        f"<item affiliation='owner' role='moderator' jid='{ROMEO}' nick='Romeo M'/>"
        "<status code='303'/><status code='110'/></x></presence>",
    )
    assert says(
        came,
        f"<presence from='{ADDRESS}/Romeo M' to='{ROMEO}'><x {MUC_USER}>"
        f"<item affiliation='owner' role='moderator' jid='{ROMEO}'/><status code='110'/></x></presence>",
    )


def test_the_sample_of_a_phone_that_is_thrown_out(sample):
    sample.room.set_role("Bob B", Role.NONE, sample.room.occupants["Romeo"], "bye bob")
    sample.room.phone_left("PJSIP/102-00000001")
    (gone,) = sample.outside.take()
    assert says(
        gone,
        f"<presence from='{ADDRESS}/Bob B' to='{ROMEO}' type='unavailable'><x {MUC_USER}>"
        "<item affiliation='none' role='none' jid='102@phone.example.org'><actor nick='Romeo'/>"
        "<reason>bye bob</reason></item><status code='307'/></x></presence>",
    )


def test_the_sample_of_a_conflict(sample):
    (error,) = sample.join("juliet@example.org/test", "Bob B", id_=":eeD1r")
    assert says(
        error,
        f"<presence from='{ADDRESS}/Bob B' to='juliet@example.org/test' id=':eeD1r' type='error'>"
        f"<x xmlns='http://jabber.org/protocol/muc'/><error type='cancel' by='{ADDRESS}'>"
        "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
    )


def test_the_sample_of_a_leave_to_the_room_itself(sample):
    sample.join("juliet@example.org/test", "Juliet")
    sent = to(sample.presence("juliet@example.org/test", "", kind="unavailable"), "juliet@example.org/test")
    assert says(
        sent[0],
        f"<presence from='{ADDRESS}/Juliet' to='juliet@example.org/test' type='unavailable'><x {MUC_USER}>"
        "<item affiliation='none' role='none' jid='juliet@example.org/test'/><status code='110'/></x></presence>",
    )


def test_the_sample_of_a_refused_invitation(sample):
    came = f"<x {MUC_USER}><decline to='{ROMEO}'><reason>User busy (SIP 486)</reason></decline></x>"
    (told,) = sample.message("carol@example.org", came, kind="normal", id_="7a7d")
    assert says(
        told,
        f"<message from='{ADDRESS}' to='{ROMEO}' id='7a7d'><x {MUC_USER}><decline from='carol@example.org'>"
        "<reason>User busy (SIP 486)</reason></decline></x></message>",
    )


def test_the_samples_of_texts_and_of_history(sample):
    sample.join(NURSE, "Nurse")
    text = "<origin-id xmlns='urn:xmpp:sid:0' id='aI1u9Y'/><body>good evening from profanity</body>"
    sent = to(sample.message(NURSE, text, id_="aI1u9Y"), NURSE)
    assert says(sent[0], f"<message from='{ADDRESS}/Nurse' to='{NURSE}' type='groupchat' id='aI1u9Y'>{text}</message>")
    assert [(said.speaker, said.text) for said in sample.outside.said] == [("Nurse", "good evening from profanity")]
    sample.room.phone_said("Alice A", "hi romeo, alice here")
    replayed = to(sample.join("juliet@example.org/test", "Juliet"), "juliet@example.org/test")[-2]
    assert says(
        replayed,
        f"<message from='{ADDRESS}/Alice A' to='juliet@example.org/test' type='groupchat'>"
        f"<body>hi romeo, alice here</body><delay xmlns='urn:xmpp:delay' from='{ADDRESS}' "
        "stamp='2026-11-21T12:00:00.000Z'/></message>",
    )
    assert isinstance(sample.room.speaker_of("Alice A"), PhoneOccupant)
