"""The examples of res_jabber's own document, migrated, do on a real Asterisk what the document says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.agi_recorder import Recorder, Request
from tests.migrate_corpus import documentation, migrated
from tests.testbed.asterisk import Asterisk, Call


@pytest.fixture
async def recorder(asterisk: Asterisk) -> AsyncIterator[Recorder]:
    async with Recorder() as recorder:
        outcome = migrated("ael", "".join(documentation().values()), recorder.server)
        assert not [remark for remark in outcome.remarks if "Gtalk" not in remark.text]
        assert await asterisk.ael(outcome.after) == []
        yield recorder
    await asterisk.ael("context testbed-own-ael { }")


async def ring(asterisk: Asterisk, exten: str, context: str) -> Call:
    return await asterisk.call(exten, context, caller_id='"Ann" <201>')


async def test_a_message_tells_who_is_calling(asterisk: Asterisk, recorder: Recorder) -> None:
    call = await ring(asterisk, "1234", "default")
    await call.manager_event("Newexten", Application="Dial", AppData="SIP/1234, 30")
    assert recorder.requests == [Request("jabber_send", ("asterisk-xmpp", "buddy@gmail.com"), "Ann is calling 1234")]


@pytest.mark.parametrize(("status", "phone"), [("1", "Gtalk/asterisk-xmpp/buddy@gmail.com"), ("6", "SIP/1234")])
async def test_the_status_decides_which_phone_rings(
    asterisk: Asterisk, recorder: Recorder, status: str, phone: str
) -> None:
    recorder.statuses = [status]
    call = await ring(asterisk, "1234", "status")
    await call.manager_event("Newexten", Application="Dial", AppData=phone)
    assert recorder.requests == [Request("jabber_status", ("asterisk-xmpp", "buddy@gmail.com"))]


@pytest.mark.parametrize(
    ("answer", "application", "data", "said"),
    [
        ("1", "Dial", "SIP/987654321", "Calling cellphone..."),
        ("2", "Dial", "SIP/1234", "Calling workphone..."),
        ("", "VoiceMail", "1234,u", ""),
    ],
)
async def test_bob_decides_where_the_call_goes(
    asterisk: Asterisk, recorder: Recorder, answer: str, application: str, data: str, said: str
) -> None:
    recorder.answers = [answer]
    call = await ring(asterisk, "1234", "from-ext")
    event = await call.manager_event("Newexten", Application=application)
    assert event["AppData"] == data
    bob = ("asterisk-xmpp", "bob@jabber.org")
    lines = [
        "Call from 201 - choose an option to process the call",
        "1 : forward to cellphone",
        "2 : forward to work phone",
        "Default action : forward to your voicemail",
    ]
    assert recorder.requests == [
        *(Request("jabber_send", bob, line) for line in lines),
        Request("jabber_receive", (*bob, "20")),
        *([Request("jabber_send", bob, said)] if said else []),
    ]


async def test_the_caller_says_by_chat_whom_to_call(asterisk: Asterisk, recorder: Recorder) -> None:
    recorder.answers = ["4242"]
    call = await ring(asterisk, "s", "gtalk-in")
    await call.manager_event("Newexten", Application="SendText", AppData="Calling 4242 ...")
    await call.manager_event("Newexten", Application="Dial", AppData="SIP/4242")
    assert recorder.requests == [Request("jabber_receive", ("asterisk-xmpp", "Ann"))]
