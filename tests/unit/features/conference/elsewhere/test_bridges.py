"""Rooms of other services: which there are, and the way to them."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.bridges import Bridges
from agi_xmpp.features.conference.elsewhere.puppets import Bridge, BridgedRoom
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import FakeOutside, phone, stanza
from tests.unit.features.conference.garden import GARDEN, address_of

BRIDGE = Bridge("6001", GARDEN, "Garden")
OTHER = Bridge("6002", parse("hall@rooms.example.org"), "Hall")


class House:
    def __init__(self) -> None:
        self.sent: list[Element] = []
        self.bridges = Bridges(self.make, self.sent.append)

    def make(self, bridge: Bridge) -> BridgedRoom:
        return BridgedRoom(
            bridge, FakeOutside(), self.sent.append, address_of, lambda: Pace(300, lambda: 0.0), lambda: 0.0
        )

    def take(self) -> list[Element]:
        sent, self.sent[:] = list(self.sent), []
        return sent


@pytest.fixture
def house() -> House:
    return House()


def test_rooms_are_found_by_their_number(house):
    assert house.bridges.apply([BRIDGE, OTHER]) == ["6001", "6002"]
    assert house.bridges.room_of_number("6001").address == GARDEN
    assert house.bridges.room_of_number("6003") is None
    assert house.bridges.room_at(GARDEN) is house.bridges.room_of_number("6001")
    assert house.bridges.room_at(parse("hall@rooms.example.net")) is None
    assert [room.number for room in house.bridges.rooms] == ["6001", "6002"]


def test_what_stays_is_not_touched(house):
    house.bridges.apply([BRIDGE])
    house.bridges.stream_began()
    house.bridges.room_of_number("6001").phone_joined(phone())
    house.take()
    assert house.bridges.apply([BRIDGE, OTHER]) == ["6002"]
    assert house.take() == []


@pytest.mark.parametrize("now", [[], [Bridge("6001", GARDEN, "Garden", "another password")]])
def test_phones_leave_what_goes_or_changes(house, now):
    house.bridges.apply([BRIDGE])
    house.bridges.stream_began()
    house.bridges.room_of_number("6001").phone_joined(phone())
    house.take()
    assert house.bridges.apply(now) == ["6001"]
    assert [one.get("type") for one in house.take()] == ["unavailable"]


def test_a_room_that_comes_while_there_is_a_stream_is_entered(house):
    house.bridges.stream_began()
    house.bridges.apply([BRIDGE])
    house.bridges.room_of_number("6001").phone_joined(phone())
    assert [one.get("to") for one in house.take()] == [f"{GARDEN}/Alice A"]
    house.bridges.stream_ended()
    house.bridges.apply([BRIDGE, OTHER])
    house.bridges.room_of_number("6002").phone_joined(phone())
    assert house.take() == []


def test_all_leave_at_the_end(house):
    house.bridges.apply([BRIDGE])
    house.bridges.stream_began()
    house.bridges.room_of_number("6001").phone_joined(phone())
    house.take()
    house.bridges.close()
    assert [one.get("type") for one in house.take()] == ["unavailable"]
    assert house.bridges.rooms == []


def test_time_is_told_to_all(house):
    house.bridges.apply([BRIDGE])
    house.bridges.stream_began()
    house.bridges.tick()
    assert house.take() == []


@pytest.mark.parametrize(
    ("sender", "to"),
    [
        ("romeo@example.org/x", "101@phone.example.org/17"),
        (f"{GARDEN}/Romeo", "101@phone.example.org"),
        (str(GARDEN), "phone.example.org"),
        ("", "101@phone.example.org/17"),
        (str(GARDEN), ""),
        ("hall@rooms.example.org/Romeo", "101@phone.example.org/17"),
    ],
)
def test_what_is_of_no_such_room_or_to_no_call_is_left_to_others(house, sender, to):
    house.bridges.apply([BRIDGE])
    element = stanza("<message type='groupchat'/>")
    element.set("from", sender)
    element.set("to", to)
    assert not house.bridges.stanza_came(element)


def to_a_call_that_is_over(tag: str, kind: str, children: str = "") -> Element:
    element = stanza(f"<{tag} id='q' from='{GARDEN}/Romeo' to='101@phone.example.org/17.9'>{children}</{tag}>")
    if kind:
        element.set("type", kind)
    return element


@pytest.mark.parametrize(("tag", "kind"), [("presence", ""), ("message", "groupchat"), ("message", "chat")])
def test_a_room_that_has_not_heard_of_the_end_of_a_call_is_told(house, tag, kind):
    house.bridges.apply([BRIDGE])
    assert house.bridges.stanza_came(to_a_call_that_is_over(tag, kind))
    (departure,) = house.take()
    assert (departure.tag, departure.get("type"), departure.get("from")) == (
        stanzas.PRESENCE,
        "unavailable",
        "101@phone.example.org/17.9",
    )
    assert parse(departure.get("to")).bare == GARDEN


@pytest.mark.parametrize(
    ("tag", "kind"), [("presence", "unavailable"), ("presence", "error"), ("message", "error"), ("iq", "result")]
)
def test_what_needs_no_answer_gets_none(house, tag, kind):
    house.bridges.apply([BRIDGE])
    assert house.bridges.stanza_came(to_a_call_that_is_over(tag, kind))
    assert house.take() == []


def test_a_request_to_it_is_answered(house):
    house.bridges.apply([BRIDGE])
    assert house.bridges.stanza_came(to_a_call_that_is_over("iq", "get", "<query xmlns='jabber:iq:version'/>"))
    assert stanzas.condition_of(house.take()[0]) == "service-unavailable"


def test_a_refusal_to_the_address_of_a_phone_is_the_rooms(house):
    house.bridges.apply([BRIDGE])
    decline = stanza(
        f"<message from='{GARDEN}' to='101@phone.example.org'><x xmlns='http://jabber.org/protocol/muc#user'>"
        "<decline from='juliet@example.org'/></x></message>"
    )
    assert house.bridges.stanza_came(decline)
    decline.set("from", f"{GARDEN}/Romeo")
    assert not house.bridges.stanza_came(decline)
