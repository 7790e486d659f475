from __future__ import annotations

from dataclasses import replace

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation
from tests.unit.features.conference.fakes import phone, stanza
from tests.unit.features.conference.hall import ADDRESS, Hall, codes, item, jid, nick_of, the, to

OWNER, ROMEO, JULIET = "owner@example.org/desk", "romeo@example.org/orchard", "juliet@example.org/balcony"


@pytest.fixture
def hall():
    hall = Hall({"owner@example.org": Affiliation.OWNER})
    hall.join(OWNER, "Owner")
    hall.join(ROMEO, "Romeo")
    return hall


def test_real_addresses_are_for_moderators_and_for_oneself(hall):
    sent = hall.join(JULIET, "Juliet")
    assert item(to(sent, OWNER)[0]) == {"affiliation": "none", "role": "participant", "jid": JULIET}
    assert item(to(sent, ROMEO)[0]) == {"affiliation": "none", "role": "participant"}
    told = {nick_of(presence): item(presence).get("jid") for presence in to(sent, JULIET)[:3]}
    assert told == {"Owner": None, "Romeo": None, "Juliet": JULIET}


def test_the_address_of_a_phone_is_for_moderators(hall):
    sent = hall.phone_joins(phone())
    assert item(to(sent, OWNER)[0])["jid"] == "101@phone.example.org"
    assert "jid" not in item(to(sent, ROMEO)[0])


def test_the_address_of_a_phone_that_withholds_its_number_is_for_nobody(hall):
    sent = hall.phone_joins(replace(phone(), withheld=True))
    assert [item(presence).get("jid") for presence in sent] == [None, None]


def test_an_occupant_id_is_in_each_presence_and_the_same_for_all(hall):
    sent = [*hall.join(JULIET, "Juliet"), *hall.phone_joins(phone())]
    tag = f"{{{stanzas.OCCUPANT_ID}}}occupant-id"
    ids: dict[str, set[str | None]] = {}
    for presence in sent:
        if presence.tag == stanzas.PRESENCE:
            ids.setdefault(nick_of(presence), set()).add(the(presence, tag).get("id"))
    assert {nick: len(found) for nick, found in ids.items()} == {"Owner": 1, "Romeo": 1, "Juliet": 1, "Alice A": 1}
    assert len(set.union(*ids.values())) == 4


def test_a_muted_phone_is_away_and_a_visitor(hall):
    sent = to(hall.phone_joins(phone(muted=True)), ROMEO)[0]
    assert item(sent)["role"] == "visitor"
    assert sent.findtext(f"{{{stanzas.CLIENT}}}show") == "away"
    assert sent.findtext(f"{{{stanzas.CLIENT}}}status") == "muted"
    assert len(to(hall.phone_joins(phone("Bob", "102")), ROMEO)[0]) == 2


def test_all_of_a_presence_is_relayed_but_what_the_room_says(hall):
    sent = hall.presence(
        ROMEO,
        "Romeo",
        "<show>dnd</show><status xml:lang='de'>tot</status><c xmlns='http://jabber.org/protocol/caps' ver='1'/>"
        "<x xmlns='vcard-temp:x:update'><photo/></x><x xmlns='http://jabber.org/protocol/muc#user'>"
        "<item affiliation='owner' role='moderator'/></x><occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>",
    )
    seen = to(sent, OWNER)[0]
    assert seen.findtext(f"{{{stanzas.CLIENT}}}show") == "dnd"
    assert seen.findtext(f"{{{stanzas.CLIENT}}}status") == "tot"
    assert the(seen, "{http://jabber.org/protocol/caps}c").get("ver") == "1"
    assert seen.find("{vcard-temp:x:update}x/{vcard-temp:x:update}photo") is not None
    assert len(seen.findall(f"{{{stanzas.MUC_USER}}}x")) == 1
    assert item(seen)["role"] == "participant"
    assert [found.get("id") == "forged" for found in seen.findall(f"{{{stanzas.OCCUPANT_ID}}}occupant-id")] == [False]


def test_the_language_of_a_presence_is_kept(hall):
    came = stanza("<presence xml:lang='de'><status>weg</status></presence>")
    hall.room.presence_came(came, jid(ROMEO), "Romeo")
    assert {presence.get(stanzas.LANG) for presence in hall.outside.take()} == {"de"}


def test_whoever_is_in_twice_sees_each_change_of_their_own_on_both(hall):
    hall.join("romeo@example.org/mobile", "Romeo")
    sent = hall.presence(ROMEO, "Romeo", "<show>xa</show>", id_="s7")
    own = [to(sent, ROMEO)[0], to(sent, "romeo@example.org/mobile")[0]]
    assert [codes(presence) for presence in own] == [[110], [110]]
    assert [item(presence)["jid"] for presence in own] == [ROMEO, "romeo@example.org/mobile"]
    # The id is for the client whose stanza had it.
    assert [presence.get("id") for presence in own] == ["s7", None]
    assert to(sent, OWNER)[0].get("id") is None


def test_presences_come_from_the_occupants_address(hall):
    sent = hall.presence(ROMEO, "Romeo")
    assert {presence.get("from") for presence in sent} == {f"{ADDRESS}/Romeo"}
