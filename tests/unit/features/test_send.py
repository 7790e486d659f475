"""jabber_send."""

from __future__ import annotations

import asyncio

import pytest

from agi_xmpp.errors import Bounced, NotAcknowledged, NotConnected
from agi_xmpp.xmpp.model import PLAIN, Extras
from tests.unit.features.fakes import FOREVER, FakeChannel, FakeSession, dispatcher, run


async def send(*args, session=None, **query):
    return (await run("jabber_send", "pbx", "bob@x.org", *args, session=session, **query)).variables


async def test_sent():
    session = FakeSession()
    variables = await send("hi", session=session)
    assert variables == {
        "JABBER_SEND_STATUS": "SENT",
        "JABBER_SEND_ID": "m1",
        "JABBER_SEEN": "0",
        "JABBER_ERROR": "",
    }
    options = {"thread": "call-1700000000.42", "receipt": False, "extras": PLAIN, "timeout": 5.0}
    assert session.calls == [("send_message", ("bob@x.org", "hi"), options)]


async def test_commas_belong_to_the_text():
    session = FakeSession()
    await send("Hello", " world", "", "end", session=session)
    assert session.calls[0][1][1] == "Hello, world,,end"


@pytest.mark.parametrize(
    ("text", "decoded"), [("a%20b%2C%0Ac", "a b,\nc"), ("1+1", "1+1"), ("%F0%9F%98%80", "😀"), ("plain", "plain")]
)
async def test_uri_encoded(text, decoded):
    session = FakeSession()
    await send(text, session=session, enc="uri")
    assert session.calls[0][1][1] == decoded


@pytest.mark.parametrize("text", ["100%", "%zz", "%ff%fe"])
async def test_what_is_not_uri_encoded_is_refused(text):
    variables = await send(text, enc="uri")
    assert variables["JABBER_SEND_STATUS"] == "ERROR"
    assert "enc=uri" in variables["JABBER_ERROR"]


async def test_without_enc_a_percent_is_a_percent():
    session = FakeSession()
    await send("100%20", session=session)
    assert session.calls[0][1][1] == "100%20"


async def test_the_text_of_a_variable():
    session = FakeSession()
    channel = FakeChannel("jabber_send", ("pbx", "bob@x.org"), {"var": "NOTE"})
    channel.variables["NOTE"] = "a\nb"
    await dispatcher(session)(channel)  # type: ignore[arg-type]
    assert session.calls[0][1][1] == "a\nb"


async def test_a_variable_that_is_not_there():
    assert "no variable of that name" in (await send(var="NOTE"))["JABBER_ERROR"]


async def test_a_variable_and_a_text_are_too_much():
    assert "not both" in (await send("hi", var="NOTE"))["JABBER_ERROR"]


async def test_delivered():
    session = FakeSession()
    variables = await send("hi", session=session, wait="delivered", timeout="7")
    assert variables["JABBER_SEND_STATUS"] == "DELIVERED"
    assert session.calls[0][2]["receipt"] is True
    assert session.calls[1] == ("delivered", ("m1", 7.0), {})


async def test_no_receipt_is_sent_with_a_reason():
    variables = await send(
        "hi", session=FakeSession(delivered=NotAcknowledged("no receipt within 5 s")), wait="delivered"
    )
    assert variables["JABBER_SEND_STATUS"] == "SENT"
    assert "no receipt" in variables["JABBER_ERROR"]
    assert variables["JABBER_SEND_ID"] == "m1"


async def test_a_bounce_is_reported():
    session = FakeSession(delivered=Bounced("bob@x.org: item-not-found", "item-not-found"))
    variables = await send("hi", session=session, wait="delivered")
    assert variables["JABBER_SEND_STATUS"] == "FAILED"
    assert "item-not-found" in variables["JABBER_ERROR"]


async def test_seen():
    session = FakeSession()
    variables = await send("hi", session=session, seen="30")
    assert (variables["JABBER_SEND_STATUS"], variables["JABBER_SEEN"]) == ("DELIVERED", "1")
    assert session.calls[0][2]["extras"] == Extras(markable=True)
    assert session.calls[1] == ("seen", ("m1", 30.0), {})


async def test_not_seen_is_sent_with_a_reason():
    variables = await send("hi", session=FakeSession(seen=NotAcknowledged("not shown")), seen="30")
    assert (variables["JABBER_SEND_STATUS"], variables["JABBER_SEEN"]) == ("SENT", "0")
    assert (variables["JABBER_ERROR"], variables["JABBER_SEND_ID"]) == ("not shown", "m1")


@pytest.mark.parametrize(
    ("delivered", "seen", "status", "mark", "error"),
    [
        (None, None, "DELIVERED", "1", ""),
        (None, NotAcknowledged("not shown"), "DELIVERED", "0", "not shown"),
        (NotAcknowledged("no receipt"), None, "DELIVERED", "1", ""),
        (NotAcknowledged("no receipt"), NotAcknowledged("not shown"), "SENT", "0", "not shown"),
        (None, Bounced("gone", "gone"), "FAILED", "0", "gone"),
    ],
)
async def test_a_receipt_and_a_read_mark(delivered, seen, status, mark, error):
    session = FakeSession(delivered=delivered, seen=seen)
    variables = await send("hi", session=session, wait="delivered", seen="30")
    shown = tuple(variables[f"JABBER_{name}"] for name in ("SEND_STATUS", "SEEN", "ERROR"))
    assert shown == (status, mark, error)


async def test_a_hangup_ends_the_wait_for_a_read_mark_and_it_was_sent_all_the_same():
    session = FakeSession(seen=FOREVER)
    channel = FakeChannel("jabber_send", ("pbx", "bob@x.org", "hi"), {"seen": "3600"})
    task = asyncio.ensure_future(dispatcher(session)(channel))  # type: ignore[arg-type]
    await session.waiting.wait()
    channel.hang_up()
    await asyncio.wait_for(task, 5)
    assert (channel.variables["JABBER_SEND_STATUS"], channel.variables["JABBER_SEEN"]) == ("SENT", "0")
    assert channel.variables["JABBER_ERROR"] == "the caller hung up"


async def test_seen_waits_and_wait_none_does_not():
    session = FakeSession()
    variables = await send("hi", session=session, wait="none", seen="1")
    assert (variables["JABBER_SEND_STATUS"], session.calls) == ("ERROR", [])
    assert "take one of them away" in variables["JABBER_ERROR"]


async def test_what_waits_for_a_session_is_not_waited_for():
    session = FakeSession(send_message=NotConnected("away"))
    variables = await send("hi", session=session, queue="60", seen="30")
    assert (variables["JABBER_SEND_STATUS"], variables["JABBER_SEEN"]) == ("QUEUED", "0")
    assert [name for name, _, _ in session.calls] == ["send_message", "queue_message"]


async def test_without_a_session_it_fails_or_is_queued():
    session = FakeSession(send_message=NotConnected("the server is away"))
    assert (await send("hi", session=session))["JABBER_SEND_STATUS"] == "FAILED"
    variables = await send("hi", session=session, queue="600")
    assert variables["JABBER_SEND_STATUS"] == "QUEUED"
    assert variables["JABBER_SEND_ID"] == "q1"
    assert "away" in variables["JABBER_ERROR"]
    assert session.calls[-1] == (
        "queue_message",
        ("bob@x.org", "hi"),
        {"thread": "call-1700000000.42", "max_age": 600.0},
    )


async def test_wait_none_queues_at_once():
    session = FakeSession()
    assert (await send("hi", session=session, wait="none"))["JABBER_SEND_STATUS"] == "QUEUED"
    assert [name for name, _, _ in session.calls] == ["queue_message"]


async def test_a_full_queue_is_a_failure():
    session = FakeSession(queue_message=NotConnected("1000 messages wait already"))
    assert (await send("hi", session=session, wait="none"))["JABBER_SEND_STATUS"] == "FAILED"
