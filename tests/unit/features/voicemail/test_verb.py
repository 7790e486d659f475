"""jabber_voicemail."""

from __future__ import annotations

from pathlib import Path

import pytest

from agi_xmpp.config import VoicemailSettings
from agi_xmpp.errors import BadJid, NotConnected, UploadFailed
from agi_xmpp.features.voicemail.delivery import Voicemail
from tests.unit.features.fakes import FakeChannel, FakeSession, dispatcher

STATUS, URL, ERROR = "JABBER_VOICEMAIL_STATUS", "JABBER_VOICEMAIL_URL", "JABBER_ERROR"
SENT = "https://up.x.org/1/voicemail.wav"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "msg0000.wav"
    path.write_bytes(b"RIFF")
    return path


async def send(
    file: Path, *text: str, session: FakeSession | None = None, shows: dict[str, object] | None = None, **query: str
) -> tuple[dict[str, str], list[str]]:
    """Run the verb; return the variables, and the texts of the messages."""
    session = session or FakeSession()
    channel = FakeChannel("jabber_voicemail", ("pbx", "bob@x.org", str(file), *text), query)
    for name, value in (shows or {}).items():
        setattr(channel.environment, name, value)
    serve = dispatcher(session)
    spool = file.parent if str(file) not in ("", ".") else Path("/nowhere")
    serve.voicemail = Voicemail(VoicemailSettings(spool=[spool], max_size=1000))
    await serve(channel)  # type: ignore[arg-type]
    return channel.variables, [args[1] for name, args, _ in session.calls if name == "send_message"]


async def test_what_asterisk_wrote_beside_it_is_told(file: Path) -> None:
    file.with_suffix(".txt").write_text('[message]\ncallerid="Ann" <201>\nduration=23\n')
    variables, texts = await send(file.with_suffix(""), shows={"callerid": "999", "callerid_name": "Wrong"})
    assert variables == {STATUS: "SENT", URL: SENT, ERROR: ""}
    assert texts == [SENT, "Voicemail from Ann (201), 0:23"]


async def test_the_dialplan_knows_better(file: Path) -> None:
    file.with_suffix(".txt").write_text('[message]\ncallerid="Ann" <201>\nduration=23\n')
    _, texts = await send(file, caller="+4930", name="Bo\nb", seconds="61")
    assert texts[1] == "Voicemail from Bo b (+4930), 1:01"
    _, texts = await send(file, seconds="61")
    assert texts[1] == "Voicemail from Ann (201), 1:01"


async def test_else_the_call_tells(file: Path) -> None:
    _, texts = await send(file, shows={"callerid": "201", "callerid_name": "unknown"})
    assert texts[1] == "Voicemail from 201"


async def test_a_withheld_number_is_told_to_nobody(file: Path) -> None:
    file.with_suffix(".txt").write_text('[message]\ncallerid="Ann" <201>\nduration=23\n')
    _, texts = await send(file, shows={"withheld": True, "callerid": "201"})
    assert texts[1] == "Voicemail from a withheld number, 0:23"


async def test_words_of_the_dialplan(file: Path) -> None:
    _, texts = await send(file, "For you", " from Ann")
    assert texts[1] == "For you, from Ann"
    _, texts = await send(Path(str(file).replace("msg", "%6Dsg")), "a%2Cb", enc="uri")
    assert texts[1] == "a,b"


async def test_the_upload_fails(file: Path) -> None:
    variables, texts = await send(file, "x", session=FakeSession(upload=UploadFailed("full")))
    assert variables == {STATUS: "TEXT", URL: "", ERROR: "full"}
    assert texts == ["x\nThe recording could not be sent."]


async def test_the_recording_cannot_be_read(file: Path) -> None:
    file.write_bytes(b"")
    variables, texts = await send(file, "x")
    assert variables == {STATUS: "TEXT", URL: "", ERROR: "the recording is empty"}
    assert texts == ["x\nThe recording could not be sent."]


@pytest.mark.parametrize(
    ("session", "status", "error"),
    [
        (FakeSession(upload=NotConnected("away")), "FAILED", "away"),
        (FakeSession(upload=UploadFailed("full"), send_message=NotConnected("away")), "FAILED", "away"),
        (FakeSession(send_message=BadJid("no JID")), "ERROR", "no JID"),
    ],
)
async def test_nothing_goes(file: Path, session: FakeSession, status: str, error: str) -> None:
    variables, _ = await send(file, session=session)
    assert variables == {STATUS: status, URL: "", ERROR: error}


async def test_no_message_was_left() -> None:
    channel = FakeChannel("jabber_voicemail", ("pbx", "bob@x.org", ""))
    serve = dispatcher(FakeSession())
    serve.voicemail = Voicemail(VoicemailSettings())
    await serve(channel)  # type: ignore[arg-type]
    assert channel.variables[STATUS] == "ERROR"
    assert "VoiceMail() sets VM_MESSAGEFILE only if a message was left" in channel.variables[ERROR]


async def test_outside_of_the_spool_nothing_is_sent(file: Path) -> None:
    session = FakeSession()
    variables, texts = await send(file.with_name("msg0001.wav"), session=session)
    assert variables[STATUS] == "ERROR"
    assert "there is no such recording" in variables[ERROR]
    variables, texts = await send(Path(f"{file.parent}/../x.wav"), session=session)
    assert variables[STATUS] == "ERROR"
    assert (session.calls, texts) == ([], [])


@pytest.mark.parametrize(
    ("query", "words"), [({"second": "1"}, "did you mean seconds?"), ({"seconds": "x"}, "seconds=x")]
)
async def test_mistakes(file: Path, query: dict[str, str], words: str) -> None:
    variables, texts = await send(file, session=None, shows=None, **query)
    assert (variables[STATUS], texts) == ("ERROR", [])
    assert words in variables[ERROR]
