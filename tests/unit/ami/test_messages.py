from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.ami import messages
from agi_xmpp.ami.messages import (
    EVENT,
    MAX_BODY,
    Handover,
    OutsideText,
    contacts,
    host_of,
    is_caller_of,
    read_text,
    send_message,
)
from agi_xmpp.errors import AmiArgumentError, AmiRefused
from tests.unit.features.phone.fakes import FakeAmi


def handed_on(text: str) -> str:
    """Return a value as the dialplan writes it."""
    return base64.b64encode(text.replace("%", "%25").replace(":", "%3A").encode(errors="surrogatepass")).decode()


def event(number: str = "6000", sender: str = "<sip:103@127.0.0.1>", caller: str = "Carol C", **more: str) -> dict:
    fields = {"Number": number, "From": sender, "Caller": caller, "Text": "hello", **more}
    return {"Event": "UserEvent", "UserEvent": EVENT} | {name: handed_on(value) for name, value in fields.items()}


def asking(value: str) -> FakeAmi:
    return FakeAmi(Getvar={"Response": "Success", "Value": value})


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_as_it_was_written(text):
    assert read_text(event(Text=text)) == OutsideText("6000", "103", "Carol C", text)


def test_a_text_that_asterisk_has_dropped():
    without = {name: value for name, value in event().items() if name != "Text"}
    assert read_text(without) == OutsideText("6000", "103", "Carol C", "")


@pytest.mark.parametrize(
    ("sender", "user"),
    [
        ('"Carol C" <sip:103@pbx.example.org:5061;transport=tls>', "103"),
        ('"<sip:101@pbx>" <sip:103@pbx>', "103"),
        ('"Bob): B" <sips:103@pbx>', "103"),
        ("sip:103@pbx", "103"),
        ("<sip:a%2Fb@pbx>", "a/b"),
        ("<sip:103@[::1]>", "103"),
    ],
)
def test_who_writes(sender, user):
    text = read_text(event(sender=sender))
    assert text is not None
    assert text.user == user


@pytest.mark.parametrize("sender", ["", "<sip:pbx>", "<tel:103>", '"<sip:101@pbx>"', "<sip:103@pbx> <", "carol"])
def test_nobody_writes(sender):
    assert read_text(event(sender=sender)) is None


@pytest.mark.parametrize(
    "other",
    [
        {"Event": "UserEvent", "UserEvent": EVENT},  # of agi-xmpp check --online
        {"Event": "UserEvent", "UserEvent": "ConfResult"},
        {"Event": "ConfbridgeJoin"},
        {**event(), "Text": "no Base64!"},
        {**event(), "From": "ä"},
    ],
)
def test_what_is_no_text(other):
    assert read_text(other) is None


@pytest.mark.parametrize(
    ("callerid", "caller", "is_theirs"),
    [
        ('"Carol C" <103>', "Carol C", True),
        ('"Carol C" <103>', "103", False),
        ('"Carol C" <103>', "Alice A", False),
        ('"A "B" C" <103>', 'A "B" C', True),
        ("<unknown>", "103", True),
        ('"" <555>', "103", True),
        ("Carol C", "Carol C", True),
        ("<unknown>", "Alice A", False),
        ("", "", False),
    ],
)
async def test_whose_a_text_can_be(callerid, caller, is_theirs):
    ami = asking(callerid)
    assert await is_caller_of(ami, "103", caller) is is_theirs
    assert ami.taken() == [("Getvar", {"Variable": "PJSIP_ENDPOINT(103,callerid)"})]


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("sip:6000@pbx.example.org", "pbx.example.org"),
        ("sip:6000@127.0.0.1:15060", "127.0.0.1:15060"),
        ("sips:6000@[::1]:5061;transport=tls", "[::1]:5061"),
        ("sip:pbx.example.org", "pbx.example.org"),
        ("", ""),
        ("sip:6000@evil> <x", ""),
        ("tel:6000", ""),
    ],
)
async def test_where_a_phone_knows_asterisk(uri, host):
    ami = asking(uri)
    assert await host_of(ami, "PJSIP/103-1") == host
    assert ami.taken() == [("Getvar", {"Channel": "PJSIP/103-1", "Variable": "CHANNEL(pjsip,local_uri)"})]


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ("", []),
        ("PJSIP/103/sip:103@10.0.0.1:5060", ["pjsip:103/sip:103@10.0.0.1:5060"]),
        (
            "PJSIP/103/sip:103@a;x=1&2&PJSIP/103/sip:103@b;ob",
            ["pjsip:103/sip:103@a;x=1&2", "pjsip:103/sip:103@b;ob"],
        ),
    ],
)
async def test_where_an_endpoint_has_phones(value, places):
    assert await contacts(asking(value), "103") == places


class TestHandover:
    async def test_the_event_comes(self):
        handover = Handover()

        def call(headers: dict[str, str]) -> dict[str, str]:
            assert headers["Channel"] == "Local/s@conferences-texts/n"
            handover.event({"Event": "UserEvent", "UserEvent": EVENT})
            return {"Response": "Success"}

        assert await handover.works(FakeAmi(Originate=call), "conferences-texts")

    async def test_another_one_comes_or_an_old_one(self, monkeypatch):
        monkeypatch.setattr(messages, "HANDOVER_TIME", 0.0)
        handover = Handover()
        handover.event({"Event": "UserEvent", "UserEvent": EVENT})

        def call(_headers: dict[str, str]) -> dict[str, str]:
            handover.event({"Event": "UserEvent", "UserEvent": "ConfResult"})
            return {"Response": "Success"}

        assert not await handover.works(FakeAmi(Originate=call), "conferences-texts")


async def test_a_text_to_a_phone():
    ami = FakeAmi()
    await send_message(ami, "pjsip:103/sip:103@a", "Romeo", "sip:6000@pbx", "two\nlines")
    await send_message(ami, "pjsip:103/sip:103@a", "", "sip:6000@pbx", "x")
    body = base64.b64encode(b"two\nlines").decode()
    assert ami.taken() == [
        ("MessageSend", {"To": "pjsip:103/sip:103@a", "From": '"Romeo" <sip:6000@pbx>', "Base64Body": body}),
        ("MessageSend", {"To": "pjsip:103/sip:103@a", "From": "<sip:6000@pbx>", "Base64Body": "eA=="}),
    ]


async def test_a_text_fits_into_a_line_of_ami():
    ami = FakeAmi()
    await send_message(ami, "pjsip:103", "Romeo", "sip:6000@pbx", "x" * MAX_BODY)
    with pytest.raises(AmiArgumentError):
        await send_message(ami, "pjsip:103", "Romeo", "sip:6000@pbx", "x" * (MAX_BODY + 1))
    assert len(ami.actions) == 1


async def test_a_name_is_no_header():
    ami = FakeAmi()
    await send_message(ami, "pjsip:103", 'Ro"me\r\no: <x>', "sip:6000@pbx", "x")
    assert ami.actions[0][1]["From"] == '"Romeo: x" <sip:6000@pbx>'


async def test_what_asterisk_refuses():
    with pytest.raises(AmiRefused, match="failed to send"):
        await send_message(FakeAmi(MessageSend=AmiRefused("failed to send")), "pjsip:1", "", "sip:1@pbx", "x")
