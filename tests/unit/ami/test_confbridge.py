from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.ami.confbridge import TEXT_BYTES, kick, locked, mute, participants, send_text, split
from agi_xmpp.ami.wire import LINE_BYTES
from agi_xmpp.errors import AmiArgumentError, AmiError, AmiForbidden, AmiNotConnected, AmiRefused, AmiUnknown
from tests.unit.ami.asked import AskedAmi

ROOMS = [{"Conference": "staff"}, {"Conference": "board"}]
ALICE = {"Conference": "staff", "Channel": "PJSIP/101-1", "Uniqueid": "1.1"}
BOB = {"Conference": "staff", "Channel": "PJSIP/102-2", "Uniqueid": "1.2"}
CAROL = {"Conference": "board", "Channel": "PJSIP/103-3", "Uniqueid": "1.3"}


def asked(**lists: object) -> AskedAmi:
    """Return an Asterisk with two conferences; BOB is listed, but in no bridge."""
    bridged = [{"Uniqueid": "1.1", "BridgeID": "b"}, {"Uniqueid": "1.2", "BridgeID": ""}, {"Uniqueid": "1.3"}]
    bridged[2]["BridgeID"] = "c"
    answers: dict[tuple[str, str], object] = {
        ("ConfbridgeListRooms", ""): ROOMS,
        ("ConfbridgeList", "staff"): [ALICE, BOB],
        ("ConfbridgeList", "board"): [CAROL],
        ("Status", ""): bridged,
    }
    return AskedAmi(answers | {("ConfbridgeList", name): answer for name, answer in lists.items()})


async def test_who_is_in_which_conference():
    ami = asked()
    assert await participants(ami) == [ALICE, CAROL]
    # Who comes in after Status was asked for has an event; who came in before it is in a bridge.
    assert [name for name, _, _ in ami.actions] == ["ConfbridgeListRooms", "ConfbridgeList", "ConfbridgeList", "Status"]


@pytest.mark.parametrize("text", ["No Conference by that name found.", "No active conferences."])
async def test_a_conference_that_ends_meanwhile(text):
    assert await participants(asked(staff=AmiRefused(text))) == [CAROL]


@pytest.mark.parametrize("error", [AmiForbidden("not allowed"), AmiRefused("Asterisk is ill"), AmiUnknown("silent")])
async def test_a_list_that_cannot_be_had(error):
    with pytest.raises(type(error), match=str(error)):
        await participants(asked(staff=error))


async def test_which_conferences_are_locked():
    ami = AskedAmi({("ConfbridgeListRooms", ""): [row("staff", "Yes"), row("board", "No"), row("night", "Yes")]})
    assert await locked(ami, timeout=1.0) == {"staff", "night"}
    assert ami.taken() == [("ConfbridgeListRooms", {})]
    assert ami.timeouts == [1.0]
    assert await locked(AskedAmi()) == frozenset()


def row(name: str, is_locked: str) -> dict[str, str]:
    return {"Conference": name, "Parties": "1", "Marked": "0", "Locked": is_locked, "Muted": "No"}


async def test_nobody_says_whether_conferences_are_locked():
    with pytest.raises(AmiForbidden):
        await locked(AskedAmi({("ConfbridgeListRooms", ""): AmiForbidden("reporting is missing")}))


async def test_kick_and_mute():
    ami = AskedAmi()
    await kick(ami, "staff", "PJSIP/101-1")
    await mute(ami, "staff", "PJSIP/101-1", True)
    await mute(ami, "staff", "PJSIP/101-1", False)
    headers = {"Conference": "staff", "Channel": "PJSIP/101-1"}
    assert ami.taken() == [
        *(("ConfbridgeKick", headers), ("ConfbridgeMute", headers), ("ConfbridgeUnmute", headers)),
    ]


@pytest.mark.parametrize("channel", ["all", "participants", "ALL", ""])
async def test_nobody_is_everybody(channel):
    ami = AskedAmi()
    with pytest.raises(AmiArgumentError):
        await kick(ami, "staff", channel)
    with pytest.raises(AmiArgumentError):
        await mute(ami, "staff", channel, True)
    assert ami.actions == []


async def test_a_text_in_parts_in_order():
    ami = AskedAmi()
    await send_text(ami, "PJSIP/101-1", "one\ntwo\r\n\r\nthree")
    assert [headers["Message"] for _, headers in ami.taken()] == ["one", "two", "three"]


@pytest.mark.parametrize("error", [AmiNotConnected("gone"), AmiRefused("No such channel"), AmiUnknown("silent")])
async def test_the_first_part_that_fails_is_the_last_one(error):
    answers = [{"Response": "Success"}, error]
    ami = AskedAmi(SendText=lambda _headers: answers.pop(0))
    with pytest.raises(AmiError, match=str(error)):
        await send_text(ami, "PJSIP/101-1", "one\ntwo\nthree")
    assert answers == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        (" \n\u2028 ", []),
        ("hi", ["hi"]),
        ("  hi  \n there ", ["hi", "there"]),
        ("a\rb\x00c\x0bd\x0ce\x85f\u2028g\u2029h", ["a", "b", "c", "d", "e", "f", "g", "h"]),
        ("one two", ["one", "two"]),  # five bytes
        ("12345", ["12345"]),
        ("123456", ["12345", "6"]),
        ("1 23456", ["1 234", "56"]),  # a blank in the first half
        ("äöü", ["äö", "ü"]),  # a character of two bytes is not taken apart
        ("😀😀", ["😀", "😀"]),
    ],
)
def test_parts(text, parts):
    assert list(split(text, 5)) == parts


@pytest.mark.parametrize(("size", "parts"), [(TEXT_BYTES - 1, 1), (TEXT_BYTES, 1), (TEXT_BYTES + 1, 2)])
async def test_parts_are_as_long_as_a_line_can_carry(size, parts):
    ami = AskedAmi()
    await send_text(ami, "PJSIP/101-1", "x" * size)
    assert len(ami.actions) == parts
    longest = max(len(line) for wire in ami.wire for line in wire.split(b"\r\n"))
    assert longest == min(size, TEXT_BYTES) + len("Message: ") <= LINE_BYTES


@given(st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n😀")), max_size=200))
def test_nothing_but_blanks_is_lost(text):
    parts = split(text, 10)
    assert all(0 < len(part.encode()) <= 10 for part in parts)
    kept = [char for char in text if not char.isspace() and char not in "\x00"]
    assert [char for part in parts for char in part if not char.isspace()] == kept


def test_a_long_text_costs_what_it_is_long():
    assert len(split("x" * 5_000_000)) == -(-5_000_000 // TEXT_BYTES)
