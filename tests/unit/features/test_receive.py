"""jabber_receive."""

from __future__ import annotations

import asyncio

import pytest

from agi_xmpp.errors import Bounced
from agi_xmpp.xmpp.model import SessionInfo, SessionState
from tests.unit.features.fakes import FOREVER, FakeChannel, FakeSession, dispatcher, run


async def receive(*args, session=None, **query):
    return (await run("jabber_receive", "pbx", "bob@x.org", *args, session=session, **query)).variables


async def test_an_answer():
    session = FakeSession()
    assert await receive(session=session) == {
        "JABBER_RECEIVE_STATUS": "OK",
        "JABBER_RECEIVE": "1",
        "JABBER_RECEIVE_FROM": "bob@x.org/pc",
        "JABBER_RECEIVE_ID": "b1",
        "JABBER_ERROR": "",
    }
    assert session.calls == [
        ("receive_message", ("bob@x.org", 20.0), {"thread": "call-1700000000.42", "max_age": None})
    ]


async def test_the_time_and_the_age_are_seconds():
    session = FakeSession()
    await receive("2.5", session=session, max_age="0")
    assert session.calls[0][1] == ("bob@x.org", 2.5)
    assert session.calls[0][2]["max_age"] == 0.0


@pytest.mark.parametrize("seconds", ["0", "-1", "", "abc", "1e9", "86401"])
async def test_a_time_that_makes_no_sense(seconds):
    session = FakeSession()
    variables = await receive(seconds, session=session)
    assert variables["JABBER_RECEIVE_STATUS"] == "ERROR"
    assert "seconds" in variables["JABBER_ERROR"]
    assert session.calls == []


@pytest.mark.parametrize("seconds", ["0.001", "1", "86400", " 20 "])
async def test_a_time_that_is_allowed(seconds):
    assert (await receive(seconds))["JABBER_RECEIVE_STATUS"] == "OK"


@pytest.mark.parametrize(
    ("state", "error", "reason"),
    [(SessionState.WAITING, "connection refused", "connection refused"), (SessionState.SUSPENDED, "", "suspended")],
)
async def test_silence_because_there_is_no_connection_is_explained(state, error, reason):
    class Session(FakeSession):
        def info(self):
            return SessionInfo("pbx", "asterisk@x.org/pbx", state, 0.0, error=error)

    variables = await receive(session=Session(receive_message=TimeoutError()))
    assert variables["JABBER_RECEIVE_STATUS"] == "TIMEOUT"
    assert variables["JABBER_ERROR"] == f"account pbx is not connected: {reason}"


async def test_silence():
    variables = await receive(session=FakeSession(receive_message=TimeoutError()))
    assert (variables["JABBER_RECEIVE_STATUS"], variables["JABBER_RECEIVE"], variables["JABBER_ERROR"]) == (
        "TIMEOUT",
        "",
        "",
    )


async def test_a_bounce_is_no_answer():
    variables = await receive(session=FakeSession(receive_message=Bounced("came back", "gone")))
    assert (variables["JABBER_RECEIVE_STATUS"], variables["JABBER_RECEIVE"]) == ("ERROR", "")


async def test_a_hangup_ends_the_wait():
    session = FakeSession(receive_message=FOREVER)
    channel = FakeChannel("jabber_receive", ("pbx", "bob@x.org"))
    task = asyncio.ensure_future(dispatcher(session)(channel))  # type: ignore[arg-type]
    await session.waiting.wait()
    channel.hang_up()
    await task
    assert channel.variables["JABBER_RECEIVE_STATUS"] == "HANGUP"
