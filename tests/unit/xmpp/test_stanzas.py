from __future__ import annotations

import datetime
import io
from typing import Any

import aioxmpp
import aioxmpp.xml
import pytest

from agi_xmpp.xmpp import stanzas, tuning
from agi_xmpp.xmpp.call_record import CallRecord, Reason
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Extras, Jid, RoomInvitation, Show
from agi_xmpp.xmpp.stanzas import STAMP_TOLERANCE

OWN = parse("agi@fake.test/pbx")
WALL = datetime.datetime(2026, 11, 21, 12, 0, 0, tzinfo=datetime.UTC)


def test_a_message_that_invites_into_a_room() -> None:
    extras = Extras(invitation=RoomInvitation(Jid("team", "rooms.x.org"), "come over"))
    message = stanzas.chat("m1", Jid("b", "x.org"), "Come", "", wants_receipt=False, extras=extras, own=OWN)
    invite = message.xep0249_direct_invite
    assert (str(invite.jid), invite.reason, message.body.any()) == ("team@rooms.x.org", "come over", "Come")
    extras = Extras(invitation=RoomInvitation(Jid("team", "rooms.x.org")))
    message = stanzas.chat("m1", Jid("b", "x.org"), "Come", "", wants_receipt=False, extras=extras, own=OWN)
    assert message.xep0249_direct_invite.reason is None


@pytest.fixture(autouse=True)
def tuned() -> None:
    tuning.apply()


def read(xml: str, kind: Any = aioxmpp.Message) -> Any:
    source = io.BytesIO(xml.replace(" ", " xmlns='jabber:client' ", 1).encode())
    return aioxmpp.xml.read_single_xso(source, kind)


def age(stamp: str) -> float:
    message = read(f"<message from='a@b'><body>x</body><delay xmlns='urn:xmpp:delay' stamp='{stamp}'/></message>")
    came = stanzas.incoming(
        message,
        OWN,
        carbon=False,
        occupant=False,
        stamps=stanzas.stamps(message),
        now=1000.0,
        wall=WALL.timestamp(),
    )
    assert came.received_at == 1000.0
    return came.received_at - came.sent_at


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-21T11:59:00Z", 60 - STAMP_TOLERANCE),
        ("2026-11-21T11:59:00.500Z", 59.5 - STAMP_TOLERANCE),
        ("2026-11-21T12:59:00+01:00", 60 - STAMP_TOLERANCE),
        ("2026-11-21T11:59:58Z", 0),  # within what whole seconds and two clocks make of it
        ("2026-11-21T11:59:57Z", 1),
        ("2026-11-21T12:00:00Z", 0),
        ("2030-01-01T00:00:00Z", 0),  # nobody writes in the future
        ("no time at all", 0),
    ],
)
def test_a_stamp_becomes_a_moment_of_our_clock(stamp: str, expected: float) -> None:
    assert age(stamp) == pytest.approx(expected)


def test_the_oldest_of_several_stamps_counts_also_those_round_a_carbon() -> None:
    message = read(
        "<message from='agi@fake.test'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
        "<delay xmlns='urn:xmpp:delay' stamp='2026-11-21T11:00:00Z'/><message xmlns='jabber:client' from='a@b/c'>"
        "<body>x</body><delay xmlns='urn:xmpp:delay' stamp='2026-11-21T11:30:00Z'/></message></forwarded></received>"
        "</message>"
    )
    inner, carbon = stanzas.carbon_of(message, OWN)
    assert carbon
    hours = sorted((stamp.hour, stamp.minute) for stamp in stanzas.stamps(message, inner))
    assert hours == [(11, 0), (11, 30)]


def test_a_copy_of_nothing_is_nothing() -> None:
    for content in ("", "<forwarded xmlns='urn:xmpp:forward:0'/>"):
        message = read(
            f"<message from='agi@fake.test'><received xmlns='urn:xmpp:carbons:2'>{content}</received></message>"
        )
        assert stanzas.carbon_of(message, OWN) == (None, True)


def test_who_sends_without_an_address_is_our_own_server() -> None:
    assert stanzas.sender(read("<message type='chat'/>"), OWN) == Jid("agi", "fake.test")


@pytest.mark.parametrize(
    ("inside", "condition", "text"),
    [
        (
            "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
            "item-not-found",
            "the message came back: item-not-found",
        ),
        (
            "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
            "service-unavailable",
            "the message came back: service-unavailable "
            "(no such user, or offline with nothing kept for them, or they block us)",
        ),
        ("", "undefined-condition", "the message came back without a reason"),
        ("<error/>", "undefined-condition", "the message came back without a reason"),
    ],
)
def test_why_a_message_came_back(inside: str, condition: str, text: str) -> None:
    found = stanzas.bounce(read(f"<message type='error' from='a@b'>{inside}</message>"))
    assert (found.condition, found.text) == (condition, text)


@pytest.mark.parametrize(
    ("show", "number"),
    [
        ("", Show.ONLINE),
        ("<show>chat</show>", Show.CHAT),
        ("<show>away</show>", Show.AWAY),
        ("<show>xa</show>", Show.XA),
        ("<show>dnd</show>", Show.DND),
        ("<show>partying</show>", Show.ONLINE),  # as res_jabber
    ],
)
def test_the_numbers_of_res_jabber(show: str, number: Show) -> None:
    assert stanzas.show(read(f"<presence from='a@b/c'>{show}</presence>", aioxmpp.Presence)) is number


@pytest.mark.parametrize(("headline", "kind"), [(False, "chat"), (True, "headline")])
def test_a_message_with_the_record_of_a_call(headline: bool, kind: str) -> None:
    record = CallRecord("1.2", "a@x.org", "b@x.org", True, True, Reason.SUCCESS, 7)
    extras = Extras(record=record, headline=headline)
    message = stanzas.chat("m1", Jid("b", "x.org"), "You talked", "c-1.2", wants_receipt=False, extras=extras, own=OWN)
    assert (message.type_.value, message.body.any(), message.call_record.sid) == (kind, "You talked", "1.2")
