"""From a request to its verb, and from an error to what the dialplan sees."""

from __future__ import annotations

import asyncio

import pytest

from agi_xmpp.errors import (
    AgiArgumentError,
    AgiCommandError,
    AgiError,
    AgiProtocolError,
    Bounced,
    NotConnected,
    UsageError,
)
from agi_xmpp.features import VERBS
from agi_xmpp.xmpp.model import Jid
from tests.unit.features.fakes import FOREVER, FakeChannel, FakeSession, dispatcher, run


@pytest.mark.parametrize("name", ["jabber_send", "JabberSend", "JABBER_SEND", "/jabber_send", "jAbBeRsEnD/"])
async def test_a_verb_is_matched_without_case_and_underscores(name):
    channel = await run(name, "pbx", "bob@x.org", "hi")
    assert channel.variables["JABBER_SEND_STATUS"] == "SENT"


async def test_an_unknown_verb_is_named_with_those_there_are():
    channel = FakeChannel("jabber_sent")
    with pytest.raises(UsageError, match=r"no verb 'jabber_sent'; there are: .*jabber_send.*jabber_receive"):
        await dispatcher(FakeSession())(channel)  # type: ignore[arg-type]
    assert "no verb 'jabber_sent'" in channel.said[0]
    assert channel.variables == {}


async def test_a_route_wins_and_gets_the_channel():
    seen = []

    async def script(channel):
        seen.append(channel)

    channel = await run("ivr/old", routes={"ivr/old": script})
    assert seen == [channel]


class Undecided:
    """Never says whom a number belongs to."""

    is_empty = False

    def __init__(self, session):
        self.session = session

    def read(self, text):
        return text

    async def find(self, address, timeout):
        self.session.waiting.set()
        await asyncio.Event().wait()


class Busy:
    """A voicemail with as many recordings under way as there may be."""

    def __init__(self, session):
        self.session = session

    @property
    def slot(self):
        return self

    async def __aenter__(self):
        self.session.waiting.set()
        await asyncio.Event().wait()

    async def __aexit__(self, *_error): ...


class Elsewhere:
    """Conferences, and the caller is in one whose room is another service's."""

    def place(self, _named, _uniqueid):
        return Jid("team", "rooms.x.org")

    def invites(self, _room, _invitee):
        return False

    def is_phone(self, _invitee):
        return False


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
async def test_the_first_thing_is_a_pessimistic_status(verb):
    session = FakeSession(**dict.fromkeys(FakeSession().results, FOREVER))
    arguments = ("pbx", "bob@x.org", "1", "question", "1=label")
    channel = FakeChannel(verb.name, arguments[: verb.max_arguments or verb.arguments])
    channel.variables["JABBER_ERROR"] = "of an earlier call"
    serving = dispatcher(session)
    serving.who_is = Undecided(session)  # type: ignore[assignment]
    serving.voicemail = Busy(session)  # type: ignore[assignment]
    serving.convener = Elsewhere()  # type: ignore[assignment]
    task = asyncio.ensure_future(serving(channel))  # type: ignore[arg-type]
    await session.waiting.wait()
    assert channel.variables[verb.status] in ("ERROR", "")
    assert channel.variables["JABBER_ERROR"] == ""
    assert channel.history[0][0] == verb.status
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stop_of_the_service_is_told(caplog):
    session = FakeSession(receive_message=FOREVER)
    channel = FakeChannel("jabber_receive", ("pbx", "bob@x.org"))
    task = asyncio.ensure_future(dispatcher(session)(channel))  # type: ignore[arg-type]
    await session.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert channel.variables["JABBER_RECEIVE_STATUS"] == "ERROR"
    assert channel.variables["JABBER_ERROR"] == "agi-xmpp is being stopped"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotConnected("account pbx is not connected"), "FAILED", "not connected"),
        (Bounced("came back:\nitem-not-found", "item-not-found"), "FAILED", "came back: item-not-found"),
        (UsageError("wrong"), "ERROR", "wrong"),
    ],
)
async def test_what_went_wrong_becomes_status_and_sentence(error, status, words):
    channel = await run("jabber_send", "pbx", "bob@x.org", "hi", session=FakeSession(send_message=error))
    assert channel.variables["JABBER_SEND_STATUS"] == status
    assert words in channel.variables["JABBER_ERROR"]
    assert words in " ".join(channel.said[0].split())


async def test_a_bug_is_an_error_for_the_dialplan_and_reaches_the_server():
    channel = FakeChannel("jabber_send", ("pbx", "bob@x.org", "hi"))
    with pytest.raises(ZeroDivisionError):
        await dispatcher(FakeSession(send_message=ZeroDivisionError("secret detail")))(channel)  # type: ignore[arg-type]
    assert channel.variables["JABBER_SEND_STATUS"] == "ERROR"
    assert "agi-1" in channel.variables["JABBER_ERROR"]
    assert "secret detail" not in channel.variables["JABBER_ERROR"]


async def test_a_broken_agi_conversation_is_left_alone():
    channel = FakeChannel("jabber_send", ("pbx", "bob@x.org", "hi"))
    with pytest.raises(AgiProtocolError):
        await dispatcher(FakeSession(send_message=AgiProtocolError("desync")))(channel)  # type: ignore[arg-type]
    assert channel.said == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AgiArgumentError("not the name of a channel variable: 'A-B'"), "not the name of"),
        (AgiCommandError("Asterisk refused GET: 520 usage", 520), "refused GET"),
        (AgiError("is func_base64 loaded?"), "func_base64"),
    ],
)
async def test_what_asterisk_refuses_is_explained(error, words):
    channel = await run("jabber_send", "pbx", "bob@x.org", "hi", session=FakeSession(send_message=error))
    assert channel.variables["JABBER_SEND_STATUS"] == "ERROR"
    assert words in channel.variables["JABBER_ERROR"]


async def test_a_reason_holds_nothing_that_a_variable_cannot_hold():
    channel = await run("jabber_send", "pbx", "bob@x.org", "hi", wait="a\0b\udcffc")
    assert channel.variables["JABBER_ERROR"].startswith("wait=a?b?c: must be one of")


@pytest.mark.parametrize(
    ("args", "query", "words"),
    [
        ((), {}, "got 0 arguments"),
        (("pbx", "bob@x.org"), {}, "got 2 arguments; it is written jabber_send"),
        (("pbx", "bob@x.org", ""), {}, "text is empty"),
        (("nope", "bob@x.org", "hi"), {}, "no account 'nope' (known: pbx)"),
        (("pbx", "bob@x.org", "hi"), {"tiemout": "1"}, "did you mean timeout?"),
        (("pbx", "bob@x.org", "hi"), {"zzz": "1"}, "options: enc,"),
        (("pbx", "bob@x.org", "hi"), {"timeout": "-1"}, "must be a number of seconds"),
        (("pbx", "bob@x.org", "hi"), {"timeout": "86401"}, "at most 86400"),
        (("pbx", "bob@x.org", "hi"), {"timeout": "1e3"}, "must be a number"),
        (("pbx", "bob@x.org", "hi"), {"wait": "read"}, "must be one of sent, delivered, none"),
    ],
)
async def test_wrong_arguments_are_explained_and_nothing_is_sent(args, query, words):
    session = FakeSession()
    channel = await run("jabber_send", *args, session=session, **query)
    assert channel.variables["JABBER_SEND_STATUS"] == "ERROR"
    assert words in channel.variables["JABBER_ERROR"]
    assert session.calls == []


async def test_account_names_are_compared_without_case():
    assert (await run("jabber_send", "PBX", "bob@x.org", "hi")).variables["JABBER_SEND_STATUS"] == "SENT"
