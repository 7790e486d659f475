"""From a recording to two messages, and what is left when a step fails."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from agi_xmpp import program
from agi_xmpp.config import VoicemailSettings
from agi_xmpp.errors import BadText, Bounced, ConfigError, NotConnected, UploadFailed
from agi_xmpp.features.voicemail.delivery import MAX_PROGRAMS, MAX_SHOWN, Delivered, Voicemail, describe, shown
from agi_xmpp.features.voicemail.recording import Details, Recording
from agi_xmpp.xmpp.model import Extras
from tests.unit.features.fakes import FOREVER, FakeSession

BOB = "bob@x.org"
WAV = Recording(b"RIFF....", "wav")
URL = "https://up.x.org/1/voicemail.wav"


async def deliver(session: FakeSession, recording: Recording | None = WAV, **settings: Any) -> Delivered:
    voicemail = Voicemail(VoicemailSettings(**settings))
    return await voicemail.deliver(session, BOB, recording, "Voicemail from Ann, 0:23", thread="t")


def messages(session: FakeSession) -> list[tuple[str, Extras]]:
    sent = [(args, kwargs) for name, args, kwargs in session.calls if name == "send_message"]
    assert all(args[0] == BOB and kwargs["thread"] == "t" for args, kwargs in sent)
    return [(args[1], kwargs["extras"]) for args, kwargs in sent]


async def test_the_address_alone_and_then_the_note_as_its_reply() -> None:
    session = FakeSession()
    assert await deliver(session) == Delivered(URL, [])
    assert messages(session) == [
        (URL, Extras(expects_answer=False, link=URL)),
        ("Voicemail from Ann, 0:23", Extras(expects_answer=False, replies_to="m1")),
    ]
    _, (name, data, content_type, timeout), _ = session.calls[0]
    assert re.fullmatch(r"voicemail-\d{8}-\d{6}\.wav", name)
    assert (data, content_type, timeout) == (WAV.data, "audio/wav", 30.0)


async def test_the_text_goes_when_the_upload_does_not() -> None:
    session = FakeSession(upload=UploadFailed("it is full"))
    result = await deliver(session)
    assert (result, result.status) == (Delivered("", ["it is full"]), "TEXT")
    assert messages(session) == [
        ("Voicemail from Ann, 0:23\nThe recording could not be sent.", Extras(expects_answer=False))
    ]


async def test_the_transcript_is_a_part_of_the_note() -> None:
    session = FakeSession()
    assert (await deliver(session, transcribe=["/bin/sh", "-c", "cat; echo ' ring\tback\a '"])).problems == []
    assert messages(session)[1][0] == "Voicemail from Ann, 0:23\n“RIFF.... ringback”"


async def test_the_transcript_goes_without_the_recording() -> None:
    session = FakeSession(upload=UploadFailed("no"))
    await deliver(session, transcribe=["/bin/echo", "hello"])
    assert messages(session)[0][0] == "Voicemail from Ann, 0:23\n“hello”\nThe recording could not be sent."


async def test_nothing_was_said() -> None:
    session = FakeSession()
    assert (await deliver(session, transcribe=["/bin/true"])).problems == []
    assert messages(session)[1][0] == "Voicemail from Ann, 0:23"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["/bin/false"], "voicemail.transcribe ended with exit code 1"),
        (["/bin/sleep", "1000"], "voicemail.transcribe took longer than 0.2 s"),
        (["/bin/sh", "-c", r"printf '\377'"], "voicemail.transcribe printed something that is not UTF-8 text"),
        (["/bin/sh", "-c", "yes"], "voicemail.transcribe printed more than 256 KiB"),
        (["/no/such"], "voicemail.transcribe could not be started: No such file or directory"),
    ],
)
async def test_without_a_transcript(words: list[str], problem: str) -> None:
    session = FakeSession()
    timeout = 0.2 if "sleep" in words[0] else 10.0
    result = await deliver(session, transcribe=words, transcribe_timeout=timeout)
    assert result == Delivered(URL, [problem])
    assert messages(session)[1][0] == "Voicemail from Ann, 0:23"


async def test_converted() -> None:
    session = FakeSession()
    assert (await deliver(session, convert=["/bin/sh", "-c", "printf Ogg; cat"], suffix="ogg")).problems == []
    _, (name, data, content_type, _), _ = session.calls[0]
    assert name.endswith(".ogg")
    assert (data, content_type) == (b"OggRIFF....", "audio/ogg")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["/bin/false"], "voicemail.convert ended with exit code 1; the recording went as it was"),
        (["/bin/true"], "voicemail.convert printed nothing; the recording went as it was"),
        (["/bin/sleep", "1000"], "voicemail.convert took longer than 0.2 s; the recording went as it was"),
        (["/bin/yes"], "voicemail.convert printed more than 100 bytes; the recording went as it was"),
    ],
)
async def test_not_converted(words: list[str], problem: str) -> None:
    session = FakeSession()
    timeout = 0.2 if "sleep" in words[0] else 10.0
    result = await deliver(session, convert=words, convert_timeout=timeout, max_size=10)
    assert result == Delivered(URL, [problem])
    assert session.calls[0][1][1:3] == (WAV.data, "audio/wav")


async def test_the_recording_does_not_wait_for_the_transcript() -> None:
    class Watching(FakeSession):
        async def send_message(self, *args: Any, **kwargs: Any) -> Any:
            self.waiting.set()
            return await super().send_message(*args, **kwargs)

    session = Watching()
    running = asyncio.create_task(deliver(session, transcribe=["/bin/sleep", "1000"]))
    async with asyncio.timeout(10):
        await session.waiting.wait()
    assert [text for text, _ in messages(session)] in ([], [URL])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_nothing_can_be_sent() -> None:
    for session in (
        FakeSession(upload=NotConnected("away")),
        FakeSession(send_message=Bounced("nobody", "item-not-found")),
        FakeSession(upload=UploadFailed("no"), send_message=NotConnected("away")),
    ):
        with pytest.raises((NotConnected, Bounced)):
            await deliver(session)


async def test_a_note_that_is_lost_takes_nothing_back() -> None:
    class Once(FakeSession):
        async def send_message(self, *args: Any, **kwargs: Any) -> Any:
            if messages(self):
                raise NotConnected("away")
            return await super().send_message(*args, **kwargs)

    result = await deliver(Once())
    assert result == Delivered(URL, ["the text beside the recording could not be sent: away"])


class Narrow(FakeSession):
    """Its account allows only so many characters."""

    max_body = 60

    async def send_message(self, *args: Any, **kwargs: Any) -> Any:
        if len(args[1]) > self.max_body:
            raise BadText(f"the text has {len(args[1])} characters; max_body allows {self.max_body}")
        return await super().send_message(*args, **kwargs)


@pytest.mark.parametrize("upload", [URL, UploadFailed("no")])
async def test_a_transcript_that_is_too_long_for_the_account_takes_nothing_with_it(upload: Any) -> None:
    session = Narrow(upload=upload)
    result = await deliver(session, transcribe=["/bin/sh", "-c", "printf %060d 0"])
    assert result.status == ("SENT" if upload is URL else "TEXT")
    assert re.fullmatch(r"the transcript could not be sent: .* max_body allows 60", result.problems[-1])
    assert messages(session)[-1][0].startswith("Voicemail from Ann, 0:23")


async def test_a_note_that_cannot_be_sent_takes_nothing_back() -> None:
    session = Narrow()
    result = await Voicemail(VoicemailSettings()).deliver(session, BOB, WAV, "x" * 61, thread="t")
    assert result.status == "SENT"
    assert "the text beside the recording could not be sent: the text has 61 characters" in result.problems[0]


async def test_no_recording_at_all() -> None:
    session = FakeSession()
    assert await deliver(session, None) == Delivered("", [])
    assert messages(session) == [("Voicemail from Ann, 0:23", Extras(expects_answer=False))]


async def test_cancelled_in_the_middle_nothing_goes_on() -> None:
    session = FakeSession(upload=FOREVER)
    running = asyncio.create_task(deliver(session, transcribe=["/bin/sleep", "1000"]))
    await session.waiting.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert messages(session) == []


async def test_programs_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0

    async def run(*_args: Any, **_kwargs: Any) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return b"x"

    monkeypatch.setattr(program, "run", run)
    voicemail = Voicemail(VoicemailSettings(transcribe=["x"]))
    await asyncio.gather(*(voicemail.deliver(FakeSession(), BOB, WAV, "x") for _ in range(10)))
    assert most == MAX_PROGRAMS


@pytest.mark.parametrize("key", ["convert", "transcribe"])
def test_programs_that_are_not_there_are_found_at_the_start(key: str) -> None:
    Voicemail.check(VoicemailSettings.model_validate({key: ["/bin/cat"]}))
    with pytest.raises(ConfigError, match=f"voicemail.{key}: no program '/no/such'"):
        Voicemail.check(VoicemailSettings.model_validate({key: ["/no/such"]}))


@pytest.mark.parametrize(
    ("details", "line"),
    [
        (Details("Ann", "201", seconds=23), "Voicemail from Ann (201), 0:23"),
        (Details("Ann", seconds=59.4), "Voicemail from Ann, 0:59"),
        (Details(number="201", seconds=59.6), "Voicemail from 201, 1:00"),
        (Details(seconds=3600), "Voicemail from an unknown caller, 60:00"),
        (Details("Ann", "201", withheld=True), "Voicemail from a withheld number"),
        (Details(), "Voicemail from an unknown caller"),
    ],
)
def test_descriptions(details: Details, line: str) -> None:
    assert describe(details) == line


def test_a_long_text_is_cut() -> None:
    assert shown("x" * MAX_SHOWN) == "x" * MAX_SHOWN
    assert shown("x" * (MAX_SHOWN + 1)) == "x" * (MAX_SHOWN - 1) + "…"
    assert shown("\n a\x00\x1bb\r\nc\u202e \n") == "ab\nc"
