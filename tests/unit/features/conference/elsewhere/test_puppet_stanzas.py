"""What an occupant of a room elsewhere sends and reads, by the sample stanzas of XEP-0045 and of real services."""

from __future__ import annotations

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere import puppet_stanzas
from agi_xmpp.features.conference.room.conversation import MAX_MESSAGE
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.garden import GARDEN

ALICE = parse("alice@sip.localhost/17.1")
AT = parse(f"{GARDEN}/Alice A")
USER = "http://jabber.org/protocol/muc#user"


def test_the_entry_is_the_one_that_was_proven():
    wanted = stanza(
        f"<presence from='{ALICE}' to='{AT}'><x xmlns='http://jabber.org/protocol/muc'>"
        "<history maxstanzas='0'/></x></presence>"
    )
    assert stanzas_equal(puppet_stanzas.entry(ALICE, AT, "", muted=False), wanted)


def test_a_muted_phone_says_so_at_the_door():
    entry = puppet_stanzas.entry(ALICE, AT, "roses", muted=True)
    assert entry.findtext(f"{{{stanzas.CLIENT}}}show") == "away"
    assert entry.findtext(f"{{{stanzas.MUC}}}x/{{{stanzas.MUC}}}password") == "roses"


def test_a_kick_is_read():
    found = puppet_stanzas.room_presence(
        stanza(
            f"<presence type='unavailable'><x xmlns='{USER}'><item affiliation='none' role='none'>"
            "<actor nick='Romeo'/><reason>bye\n bob</reason></item>"
            "<status code='110'/><status code='307'/></x></presence>"
        ),
        AT,
    )
    assert (found.kind, found.codes, found.actor, found.reason) == (
        "unavailable",
        frozenset({110, 307}),
        "Romeo",
        "bye bob",
    )


def test_a_new_nick_is_read_as_addresses_have_it():
    found = puppet_stanzas.room_presence(
        stanza(
            f"<presence type='unavailable'><x xmlns='{USER}'>"
            "<item nick='Al\u00a0A'/><status code='303'/></x></presence>"
        ),
        AT,
    )
    assert (found.nick, found.codes) == ("Al A", frozenset({303}))


def test_the_end_of_a_room_is_read():
    found = puppet_stanzas.room_presence(
        stanza(
            f"<presence type='unavailable'><x xmlns='{USER}'><item/><destroy jid='new@x.org'><reason>over</reason>"
            "</destroy></x></presence>"
        ),
        AT,
    )
    assert (found.destroyed, found.alternative, found.reason) == (True, "new@x.org", "over")


def test_an_error_is_read():
    found = puppet_stanzas.room_presence(
        stanza(
            "<presence type='error'><error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>You  are banned</text></error></presence>"
        ),
        AT,
    )
    assert (found.kind, found.condition, found.reason) == ("error", "forbidden", "You are banned")
    assert puppet_stanzas.error_of(stanza("<presence type='error'/>")) == ("undefined-condition", "")


@pytest.mark.parametrize("code", ["", "x", "9" * 5000, "١١٠", "11", "1100"])
def test_codes_that_are_none_are_none(code):
    found = puppet_stanzas.room_presence(
        stanza(f"<presence><x xmlns='{USER}'><status code='{code}'/><status code='110'/></x></presence>"), AT
    )
    assert found.codes == {110}


def test_a_nick_that_is_none_is_none():
    found = puppet_stanzas.room_presence(
        stanza(f"<presence type='unavailable'><x xmlns='{USER}'><item nick='{'x' * 2000}'/></x></presence>"), AT
    )
    assert found.nick == ""


def test_roles():
    assert puppet_stanzas.role_of(stanza(f"<presence><x xmlns='{USER}'><item role='visitor'/></x></presence>")) == (
        "visitor"
    )
    assert puppet_stanzas.role_of(stanza("<presence/>")) == ""


def test_a_text_has_the_ids_by_which_it_is_known():
    message = puppet_stanzas.groupchat(ALICE, GARDEN, "a", "hi")
    assert puppet_stanzas.ids_of(message) == {"a"}
    message.set("id", "given by the room")
    assert puppet_stanzas.ids_of(message) == {"a", "given by the room"}


@pytest.mark.parametrize("length", [MAX_MESSAGE - 1, MAX_MESSAGE, MAX_MESSAGE + 1])
def test_what_is_told_has_an_end(length):
    message = stanza(f"<message><body>{'x' * length}</body></message>")
    told = [
        puppet_stanzas.heard(message, GARDEN, "Romeo", "Garden"),
        puppet_stanzas.whispered(message, parse(f"{GARDEN}/Romeo")),
    ]
    assert [len(one.text) for one in told if one is not None] == [min(length, MAX_MESSAGE)] * 2


@pytest.mark.parametrize("children", ["", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", "<body/>"])
def test_what_has_no_text_is_not_told(children):
    message = stanza(f"<message>{children}</message>")
    assert puppet_stanzas.heard(message, GARDEN, "Romeo", "Garden") is None
    assert puppet_stanzas.whispered(message, parse(f"{GARDEN}/Romeo")) is None


def test_a_subject_that_the_room_sets_is_told_in_its_name():
    told = puppet_stanzas.heard(stanza("<message><subject>roses</subject></message>"), GARDEN, "", "Garden")
    assert told is not None
    assert (told.speaker, told.text) == ("", "Garden set the subject: roses")


@pytest.mark.parametrize("sender", [None, str(GARDEN), "rooms.example.org"])
def test_what_the_room_calls_old_is_old(sender):
    who = f" from='{sender}'" if sender else ""
    message = stanza(f"<message><body>hi</body><delay xmlns='urn:xmpp:delay'{who}/></message>")
    assert puppet_stanzas.heard(message, GARDEN, "Romeo", "Garden") is None


@pytest.mark.parametrize("sender", ["romeo@example.org", "@"])
def test_what_somebody_else_calls_old_is_not(sender):
    message = stanza(f"<message><body>hi</body><delay xmlns='urn:xmpp:delay' from='{sender}'/></message>")
    assert puppet_stanzas.heard(message, GARDEN, "Romeo", "Garden") is not None


def stanzas_equal(one, other) -> bool:
    return (one.tag, one.attrib, one.text or "", len(one)) == (
        other.tag,
        other.attrib,
        other.text or "",
        len(other),
    ) and (all(map(stanzas_equal, one, other)))
