"""jabber_status."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp.model import Presence, Show
from tests.unit.features.fakes import FOREVER, FakeChannel, FakeSession, dispatcher, run

UNKNOWN = Presence(Show.NOT_IN_ROSTER)


THERE = Presence(Show.ONLINE, resource="pc")


class FakeShare:
    """Somebody who is asked for their presence."""

    def __init__(self, shown: Any = THERE) -> None:
        self.shown = shown
        self.asked = asyncio.Event()
        self.timeout = -1.0
        self.ends = 0

    async def presence(self, timeout: float) -> Presence:
        self.timeout = timeout
        self.asked.set()
        if self.shown is FOREVER:
            await asyncio.Event().wait()
        assert isinstance(self.shown, Presence)
        return self.shown

    def end(self) -> None:
        self.ends += 1


async def status(session: FakeSession, jid: str = "bob@x.org", **query: str) -> dict[str, str]:
    return (await run("jabber_status", "pbx", jid, session=session, **query)).variables


async def test_all_that_is_known() -> None:
    assert await status(FakeSession()) == {
        "JABBER_STATUS": "3",
        "JABBER_STATUS_SHOW": "away",
        "JABBER_STATUS_TEXT": "at lunch",
        "JABBER_STATUS_RESOURCE": "pc",
        "JABBER_VOICE": "1",
        "JABBER_ERROR": "",
    }


@pytest.mark.parametrize("show", list(Show), ids=lambda show: show.name)
async def test_the_numbers_are_those_of_res_jabber(show: Show) -> None:
    numbers = {"ONLINE": "1", "CHAT": "2", "AWAY": "3", "XA": "4", "DND": "5", "OFFLINE": "6", "NOT_IN_ROSTER": "7"}
    assert (await status(FakeSession(presence=Presence(show))))["JABBER_STATUS"] == numbers[show.name]


async def test_without_a_session_nothing_is_known() -> None:
    variables = await status(FakeSession(presence=NotConnected("the server is away")))
    assert variables["JABBER_STATUS"] == ""
    assert variables["JABBER_ERROR"] == "the server is away"


async def test_the_wait_can_be_set() -> None:
    session = FakeSession()
    await status(session, timeout="0")
    assert session.calls == [("presence", ("bob@x.org",), {"timeout": 0.0}), ("voice", ("bob@x.org", 0.0), {})]


async def test_too_many_arguments() -> None:
    assert "got 3 arguments" in (await run("jabber_status", "pbx", "bob@x.org", "VAR")).variables["JABBER_ERROR"]


@pytest.mark.parametrize(("voice", "value"), [(True, "1"), (False, "0"), (None, "")])
async def test_voice(voice: bool | None, value: str) -> None:
    assert (await status(FakeSession(voice=voice)))["JABBER_VOICE"] == value


@pytest.mark.parametrize("show", [Show.OFFLINE, Show.NOT_IN_ROSTER])
async def test_who_is_not_there_is_not_asked_what_they_can(show: Show) -> None:
    session = FakeSession(presence=Presence(show))
    assert (await status(session))["JABBER_VOICE"] == ""
    assert [name for name, _, _ in session.calls] == ["presence"]


class TestDecloak:
    @pytest.mark.parametrize("query", [{}, {"decloak": "no"}])
    async def test_nobody_is_asked_unless_the_dialplan_wants_it(self, query: dict[str, str]) -> None:
        session = FakeSession(presence=UNKNOWN, share_presence=FakeShare())
        assert (await status(session, **query))["JABBER_STATUS"] == "7"
        assert "share_presence" not in [name for name, _, _ in session.calls]

    async def test_nobody_is_asked_of_whom_it_is_known(self) -> None:
        session = FakeSession(share_presence=FakeShare())
        assert (await status(session, decloak="media"))["JABBER_STATUS"] == "3"
        assert "share_presence" not in [name for name, _, _ in session.calls]

    @pytest.mark.parametrize("known", [UNKNOWN, Presence(Show.OFFLINE)])
    async def test_somebody_answers(self, known: Presence) -> None:
        share = FakeShare()
        session = FakeSession(presence=known, share_presence=share)
        variables = await status(session, decloak="text")
        assert ("share_presence", ("bob@x.org", "text"), {}) in session.calls
        assert (variables["JABBER_STATUS"], variables["JABBER_STATUS_RESOURCE"]) == ("1", "pc")
        assert (variables["JABBER_VOICE"], share.ends) == ("1", 1)
        assert 4.0 < share.timeout <= 5.0

    @pytest.mark.parametrize(("known", "value"), [(UNKNOWN, "7"), (Presence(Show.OFFLINE), "6")])
    async def test_somebody_is_silent(self, known: Presence, value: str) -> None:
        share = FakeShare(Presence(Show.OFFLINE))
        variables = await status(FakeSession(presence=known, share_presence=share), decloak="media", timeout="0.5")
        assert (variables["JABBER_STATUS"], variables["JABBER_VOICE"], variables["JABBER_ERROR"]) == (value, "", "")
        assert (share.ends, share.timeout <= 0.5) == (1, True)

    async def test_there_is_nothing_to_ask(self) -> None:
        assert (await status(FakeSession(presence=UNKNOWN), decloak="media"))["JABBER_STATUS"] == "7"

    async def test_a_reason_that_is_none(self) -> None:
        variables = await status(FakeSession(presence=UNKNOWN), decloak="yes")
        assert variables["JABBER_STATUS"] == ""
        assert variables["JABBER_ERROR"] == "decloak=yes: must be one of no, media, text, file"

    async def test_the_caller_hangs_up(self) -> None:
        share = FakeShare(FOREVER)
        channel = FakeChannel("jabber_status", ("pbx", "bob@x.org"), {"decloak": "media"})
        serve = dispatcher(FakeSession(presence=UNKNOWN, share_presence=share))
        task = asyncio.ensure_future(serve(channel))  # type: ignore[arg-type]
        await share.asked.wait()
        channel.hang_up()
        await task
        assert share.ends == 1
        assert channel.variables["JABBER_ERROR"] == "the caller hung up"

    async def test_a_fault(self) -> None:
        share = FakeShare()
        session = FakeSession(presence=UNKNOWN, share_presence=share, voice=RuntimeError("a fault"))
        with pytest.raises(RuntimeError):
            await status(session, decloak="media")
        assert share.ends == 1

    async def test_it_lasts_till_the_end_of_the_call_where_that_is_told(self) -> None:
        share = FakeShare()
        serve = dispatcher(FakeSession(presence=UNKNOWN, share_presence=share))
        serve.ends.ami_connected()
        channel = FakeChannel("jabber_status", ("pbx", "bob@x.org"), {"decloak": "media"})
        await serve(channel)  # type: ignore[arg-type]
        assert (channel.variables["JABBER_STATUS"], share.ends) == ("1", 0)
        serve.ends.ami_event({"Event": "Hangup", "Uniqueid": channel.environment.uniqueid})
        assert share.ends == 1

    async def test_an_answer_that_does_not_come_is_not_waited_for_till_the_end(self) -> None:
        share = FakeShare(Presence(Show.OFFLINE))
        serve = dispatcher(FakeSession(presence=UNKNOWN, share_presence=share))
        serve.ends.ami_connected()
        await serve(FakeChannel("jabber_status", ("pbx", "bob@x.org"), {"decloak": "media"}))  # type: ignore[arg-type]
        assert share.ends == 1
        serve.ends.stop()
