from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agi_xmpp.ami import invitations
from agi_xmpp.ami.invitations import ADDRESS_BYTES, Inviter, Joined, NoAnswer, Outcome, Place, Refused, Unreachable
from agi_xmpp.ami.model import Message
from agi_xmpp.errors import AmiForbidden, AmiNotConnected, AmiRefused, AmiUnknown
from tests.unit.ami.asked import AskedAmi
from tests.unit.ami.recordings import read

TRACES = Path(__file__).parent / "traces/conferences"
PLACE = Place("conference-invited", "6000", "Balcony")


async def invited(
    happens: Callable[[str], Sequence[Message]], destination: str = "PJSIP/102", referred_by: str = ""
) -> tuple[Outcome, AskedAmi]:
    """Invite a phone; return the outcome of what Asterisk says about the channel of that id."""
    ami = AskedAmi()
    inviter = Inviter(ami)
    inviting = asyncio.create_task(inviter.invite(destination, PLACE, referred_by=referred_by))
    await ami.came.wait()
    channel_id = ami.actions[0][1]["ChannelId"]
    for event in happens(channel_id):
        inviter.event(event)
    return await inviting, ami


def recorded(name: str) -> Callable[[str], Sequence[Message]]:
    """Return the events of a recording, with another ChannelId."""

    def happens(channel_id: str) -> Sequence[Message]:
        events = [event for _, event in read(TRACES / f"{name}.txt")[name].events]
        return [
            {key: channel_id if value.startswith("invitation-") else value for key, value in event.items()}
            for event in events
        ]

    return happens


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("invited", Joined),
        ("invited_busy", Refused("User busy (SIP 486)", 17)),
        ("invited_no_answer", NoAnswer()),
        ("invited_phone_off", Unreachable("not registered, or unknown")),
    ],
)
async def test_what_becomes_of_a_recorded_one(name, outcome, backwards):
    def happens(channel_id: str) -> Sequence[Message]:
        events = list(recorded(name)(channel_id))
        ends = [event for event in events if event["Event"] in ("Hangup", "OriginateResponse")]
        if backwards and name != "invited":  # Hangup and OriginateResponse come in either order
            events = [event for event in events if event not in ends] + ends[::-1]
        return events

    found, _ = await invited(happens)
    assert isinstance(found, Joined) if outcome is Joined else found == outcome


async def test_what_asterisk_is_asked():
    _, ami = await invited(recorded("invited"), referred_by="xmpp:romeo@example.org")
    ((name, headers, variables),) = ami.actions
    assert name == "Originate"
    assert headers.pop("ChannelId").startswith("conference-")
    assert headers == {
        "Channel": "PJSIP/102",
        "Context": "conference-invited",
        "Exten": "s",
        "Priority": "1",
        "Timeout": "30000",
        "CallerID": '"Balcony" <6000>',
        "Async": "true",
    }
    assert variables == {"ROOM": "6000", "PJSIP_HEADER(add,Referred-By)": "<xmpp:romeo@example.org>"}


@pytest.mark.parametrize(
    ("address", "header"),
    [
        ("sip:alice@pbx.example.org", "<sip:alice@pbx.example.org>"),
        ("sips:alice@pbx.example.org:5061", "<sips:alice@pbx.example.org:5061>"),
        ('xmpp:a>\r\nX: "${b},c@example.org', "<xmpp:a%3E%0D%0AX:%20%22%24%7Bb%7D%2Cc@example.org>"),
        ("xmpp:jörg@example.org", "<xmpp:j%C3%B6rg@example.org>"),
        ("xmpp:" + "a" * (ADDRESS_BYTES - 8), "<xmpp:" + "a" * (ADDRESS_BYTES - 8) + ">"),
        *((text, None) for text in ("", "romeo", "xmpp:", "javascript:alert(1)", "xmpp:" + "a" * (ADDRESS_BYTES - 6))),
    ],
)
async def test_who_invites(address, header):
    _, ami = await invited(recorded("invited"), referred_by=address)
    assert ami.actions[0][2].get("PJSIP_HEADER(add,Referred-By)") == header


async def test_a_header_of_sip_is_not_for_other_channels():
    _, ami = await invited(recorded("invited"), "Local/102@internal/n", referred_by="xmpp:romeo@example.org")
    assert ami.actions[0][2] == {"ROOM": "6000"}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("headers", "reason", "outcome"),
    [
        (
            {"Cause": "21", "Cause-txt": "Call Rejected", "TechCause": "603"},
            "0",
            Refused("Call Rejected (SIP 603)", 21),
        ),
        ({"Cause": "18", "Cause-txt": "No user responding"}, "0", NoAnswer()),
        ({"Cause": "1", "Cause-txt": "Unallocated", "TechCause": "404"}, "0", Unreachable("Unallocated (SIP 404)")),
        ({"Cause": "17", "Cause-txt": "User busy", "TechCause": "ab\ncd"}, "0", Refused("User busy", 17)),
        # Local channels.
        ({"Cause": "0", "Cause-txt": "Unknown"}, "5", Refused("User busy", 17)),
        ({"Cause": "19", "Cause-txt": "User alerting, no answer"}, "3", NoAnswer()),
        ({"Cause": "0", "Cause-txt": "Unknown"}, "8", Unreachable("Circuit/channel congestion")),
        ({"Cause": "0", "Cause-txt": "Unknown"}, "0", Unreachable("Unknown")),
        ({"Cause": "?"}, "?", Unreachable("Unknown")),
        ({}, "", Unreachable("Unknown")),
    ],
)
async def test_causes(headers, reason, outcome, backwards):
    def happens(uid: str) -> Sequence[Message]:
        ends: list[Message] = [
            {"Event": "Hangup", "Uniqueid": uid, **headers},
            {"Event": "OriginateResponse", "Uniqueid": uid, "Response": "Failure", "Reason": reason},
        ]
        return [
            {"Event": "Newchannel", "Uniqueid": uid, "Channel": "PJSIP/102-1"},
            *(ends[::-1] if backwards else ends),
        ]

    found, _ = await invited(happens)
    assert found == outcome


async def test_an_invitation_that_asterisk_refuses():
    inviter = Inviter(AskedAmi(Originate=AmiRefused("Extension does not exist.")))
    assert await inviter.invite("PJSIP/102", PLACE) == Unreachable("Extension does not exist.")


@pytest.mark.parametrize("error", [AmiForbidden, AmiNotConnected, AmiUnknown])
async def test_an_invitation_that_cannot_be_sent(error):
    with pytest.raises(error, match="that is why"):
        await Inviter(AskedAmi(Originate=error("that is why"))).invite("PJSIP/102", PLACE)


async def test_a_connection_that_breaks():
    ami = AskedAmi()
    inviter = Inviter(ami)
    inviting = asyncio.create_task(inviter.invite("PJSIP/102", PLACE))
    await ami.came.wait()
    inviter.lost()
    with pytest.raises(AmiUnknown, match="the connection to Asterisk broke"):
        await inviting


async def test_a_connection_that_breaks_before_the_answer(caplog: pytest.LogCaptureFixture):
    inviter: Inviter

    def breaks(_headers: object) -> Exception:
        inviter.lost()
        return AmiUnknown("the connection to Asterisk broke before the answer came")

    inviter = Inviter(AskedAmi(Originate=breaks))
    with caplog.at_level(logging.WARNING), pytest.raises(AmiUnknown, match="before the answer came"):
        await inviter.invite("PJSIP/102", PLACE)
    assert caplog.text == ""


async def test_an_asterisk_that_never_says_what_became_of_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(invitations, "GRACE", 0.0)
    with pytest.raises(AmiUnknown, match="does not say"):
        await Inviter(AskedAmi()).invite("PJSIP/102", PLACE, ring_time=0.01)


async def test_two_at_once_and_events_of_others():
    ami = AskedAmi()
    inviter = Inviter(ami)
    first, second = (asyncio.create_task(inviter.invite(f"PJSIP/10{n}", PLACE)) for n in (1, 2))
    while len(ami.actions) < 2:
        await asyncio.sleep(0)
    ids = [headers["ChannelId"] for _, headers, _ in ami.actions]
    assert len(set(ids)) == 2
    response = {"Event": "OriginateResponse", "Response": "Success", "Channel": "PJSIP/102-1"}
    inviter.event({"Event": "Hangup", "Uniqueid": "1795.1", "Cause": "17"})
    inviter.event({"Event": "FullyBooted"})
    inviter.event(response | {"Uniqueid": ids[1]})
    inviter.event({"Event": "Hangup", "Uniqueid": ids[0], "Cause": "17", "Cause-txt": "User busy"})
    inviter.event({"Event": "Newchannel", "Uniqueid": ids[0], "Channel": "PJSIP/101-1"})
    inviter.event({"Event": "OriginateResponse", "Response": "Failure", "Uniqueid": ids[0]})
    inviter.event(response | {"Uniqueid": ids[0]})  # too late
    assert await second == Joined("PJSIP/102-1")
    assert await first == Refused("User busy", 17)
    inviter.event(response | {"Uniqueid": ids[0]})
