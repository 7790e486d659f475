"""jabber_status."""

from __future__ import annotations

import pytest

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp.model import Presence, Show
from tests.unit.features.fakes import FakeSession, run


async def status(session, jid="bob@x.org", **query):
    return (await run("jabber_status", "pbx", jid, session=session, **query)).variables


async def test_all_that_is_known():
    assert await status(FakeSession()) == {
        "JABBER_STATUS": "3",
        "JABBER_STATUS_SHOW": "away",
        "JABBER_STATUS_TEXT": "at lunch",
        "JABBER_STATUS_RESOURCE": "pc",
        "JABBER_ERROR": "",
    }


@pytest.mark.parametrize("show", list(Show), ids=lambda show: show.name)
async def test_the_numbers_are_those_of_res_jabber(show):
    numbers = {"ONLINE": "1", "CHAT": "2", "AWAY": "3", "XA": "4", "DND": "5", "OFFLINE": "6", "NOT_IN_ROSTER": "7"}
    assert (await status(FakeSession(presence=Presence(show))))["JABBER_STATUS"] == numbers[show.name]


async def test_without_a_session_nothing_is_known():
    variables = await status(FakeSession(presence=NotConnected("the server is away")))
    assert variables["JABBER_STATUS"] == ""
    assert variables["JABBER_ERROR"] == "the server is away"


async def test_the_wait_can_be_set():
    session = FakeSession()
    await status(session, timeout="0")
    assert session.calls == [("presence", ("bob@x.org",), {"timeout": 0.0})]


async def test_too_many_arguments():
    assert "got 3 arguments" in (await run("jabber_status", "pbx", "bob@x.org", "VAR")).variables["JABBER_ERROR"]
