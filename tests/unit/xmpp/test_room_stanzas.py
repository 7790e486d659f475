"""Room stanzas, to and from plain data."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import aioxmpp.xml
import pytest

from agi_xmpp.xmpp import room_stanzas
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.room import RoomPresence
from tests.unit.xmpp.parsed import message, presence

ME = parse("team@rooms.x.org/pbx")
MUC = "{http://jabber.org/protocol/muc}"
USER = "xmlns='http://jabber.org/protocol/muc#user'"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


def written(stanza: Any) -> ET.Element:
    stanza.autoset_id()
    return ET.fromstring(aioxmpp.xml.serialize_single_xso(stanza))


def from_room(inner: str, attributes: str = "") -> Any:
    return presence(f"<presence from='team@rooms.x.org/pbx' {attributes}>{inner}</presence>")


def test_an_entry_asks_for_no_history_and_shows_our_presence() -> None:
    xml = written(room_stanzas.entry(ME, "p & w", show="away"))
    assert xml.get("to") == "team@rooms.x.org/pbx"
    assert xml.find(f"{MUC}x/{MUC}history").attrib == {"maxchars": "0", "maxstanzas": "0"}  # type: ignore[union-attr]
    assert xml.findtext(f"{MUC}x/{MUC}password") == "p & w"
    assert xml.findtext("{jabber:client}show") == "away"


def test_an_entry_without_a_password_has_no_such_element() -> None:
    xml = written(room_stanzas.entry(ME, "", show="online"))
    assert xml.find(f"{MUC}x/{MUC}password") is None
    assert xml.find("{jabber:client}show") is None


def test_a_departure() -> None:
    xml = written(room_stanzas.departure(ME))
    assert (xml.get("type"), xml.get("to"), len(xml)) == ("unavailable", str(ME), 0)


def test_the_default_settings_are_an_empty_form() -> None:
    xml = written(room_stanzas.default_settings(ME.bare))
    form = xml.find("{http://jabber.org/protocol/muc#owner}query/{jabber:x:data}x")
    assert form is not None
    assert (form.get("type"), len(form)) == ("submit", 0)


def test_a_message_to_all_names_its_id_twice() -> None:
    xml = written(room_stanzas.groupchat("m1", ME.bare, "hi <all>"))
    assert (xml.get("type"), xml.get("id"), xml.get("to")) == ("groupchat", "m1", "team@rooms.x.org")
    assert xml.findtext("{jabber:client}body") == "hi <all>"
    assert xml.find("{urn:xmpp:sid:0}origin-id").get("id") == "m1"  # type: ignore[union-attr]


class TestPresence:
    def test_ours(self) -> None:
        stanza = from_room(
            f"<x {USER}><item affiliation='owner' role='moderator'/><status code='110'/><status code='201'/></x>"
        )
        assert room_stanzas.room_presence(stanza) == RoomPresence(ME, "available", codes=frozenset({110, 201}))
        assert room_stanzas.is_about_us(stanza)

    def test_of_another(self) -> None:
        stanza = from_room(f"<x {USER}><item affiliation='none' role='participant' jid='bob@x.org/pc'/></x>")
        assert room_stanzas.room_presence(stanza) == RoomPresence(ME, "available")
        assert not room_stanzas.is_about_us(stanza)

    def test_a_kick(self) -> None:
        stanza = from_room(
            f"<x {USER}><item affiliation='none' role='none'><actor nick='ann'/><reason>too\n loud</reason></item>"
            "<status code='110'/><status code='307'/></x>",
            "type='unavailable'",
        )
        assert room_stanzas.room_presence(stanza) == RoomPresence(
            ME, "unavailable", codes=frozenset({110, 307}), actor="ann", reason="too loud"
        )

    def test_an_actor_known_by_address_only(self) -> None:
        stanza = from_room(f"<x {USER}><item role='none'><actor jid='ann@x.org'/></item></x>", "type='unavailable'")
        assert room_stanzas.room_presence(stanza).actor == "ann@x.org"

    def test_a_new_nick(self) -> None:
        stanza = from_room(f"<x {USER}><item nick='bot' role='visitor'/><status code='303'/></x>", "type='unavailable'")
        assert room_stanzas.room_presence(stanza).nick == "bot"

    def test_the_end_of_the_room(self) -> None:
        stanza = from_room(
            f"<x {USER}><item role='none'/><destroy jid='new@rooms.x.org'><reason>moved</reason></destroy></x>",
            "type='unavailable'",
        )
        read = room_stanzas.room_presence(stanza)
        assert (read.destroyed, read.alternative, read.reason) == (True, "new@rooms.x.org", "moved")

    def test_an_error(self) -> None:
        stanza = from_room(
            f"<x xmlns='http://jabber.org/protocol/muc'/><error type='auth'><forbidden xmlns='{STANZAS}'/>"
            f"<text xmlns='{STANZAS}'>You have been banned from this room</text></error>",
            "type='error'",
        )
        assert room_stanzas.room_presence(stanza) == RoomPresence(
            ME, "error", condition="forbidden", reason="You have been banned from this room"
        )

    def test_an_error_without_a_reason(self) -> None:
        assert room_stanzas.room_presence(from_room("", "type='error'")).condition == "undefined-condition"

    def test_without_the_extension(self) -> None:
        read = room_stanzas.room_presence(from_room("<status>gone\nfishing</status>", "type='unavailable'"))
        assert read == RoomPresence(ME, "unavailable", reason="gone fishing")

    @pytest.mark.parametrize("item", ["<item role='lurker'/>", "<item affiliation=''/>", "<item jid='@@'/>", ""])
    def test_an_item_that_cannot_be_read_costs_nothing_else(self, item: str) -> None:
        read = room_stanzas.room_presence(from_room(f"<x {USER}>{item}<status code='110'/></x>"))
        assert read.codes == {110}

    @pytest.mark.parametrize("status", ["<status code='999'/>", "<status code='x'/>", "<status/>"])
    def test_a_status_code_that_nobody_knows_costs_nothing_else(self, status: str) -> None:
        read = room_stanzas.room_presence(from_room(f"<x {USER}>{status}<status code='110'/></x>"))
        assert 110 in read.codes

    @pytest.mark.parametrize(("length", "kept"), [(199, 199), (200, 200), (201, 200)])
    def test_long_reasons_are_cut(self, length: int, kept: int) -> None:
        stanza = from_room(f"<x {USER}><item role='none'><reason>{'r' * length}</reason></item></x>")
        assert len(room_stanzas.room_presence(stanza).reason) == kept


class TestMessage:
    def test_ids(self) -> None:
        assert room_stanzas.ids(message("<message id='a'><body>x</body></message>")) == {"a"}
        assert room_stanzas.ids(message("<message type='groupchat'><body>x</body></message>")) == set()
        both = message("<message id='a'><origin-id xmlns='urn:xmpp:sid:0' id='b'/></message>")
        assert room_stanzas.ids(both) == {"a", "b"}

    def test_private(self) -> None:
        assert room_stanzas.is_private(message(f"<message type='chat'><body>x</body><x {USER}/></message>"))
        assert not room_stanzas.is_private(message("<message type='chat'><body>x</body></message>"))

    @pytest.mark.parametrize("inner", ["<invite from='bob@x.org'/>", "<decline from='bob@x.org'/>"])
    def test_invitation(self, inner: str) -> None:
        assert room_stanzas.is_invitation(message(f"<message type='normal'><x {USER}>{inner}</x></message>"))

    def test_no_invitation(self) -> None:
        assert not room_stanzas.is_invitation(message(f"<message type='chat'><x {USER}/></message>"))
        assert not room_stanzas.is_invitation(message("<message type='chat'/>"))
