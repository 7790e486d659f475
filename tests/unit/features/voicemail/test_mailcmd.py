"""`agi-xmpp mailcmd`: who gets a mail that chat does not take, and what the service makes of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import VoicemailSettings
from agi_xmpp.control import NoService
from agi_xmpp.errors import AgiXmppError, Bounced, ConfigError, UploadFailed, UsageError
from agi_xmpp.features.verb import Accounts
from agi_xmpp.features.voicemail.delivery import Voicemail
from agi_xmpp.features.voicemail.mailcmd import deliver, jid_of, max_mail, serve
from tests.unit.features.fakes import FakeSession
from tests.unit.features.voicemail.test_mail import AUDIO, MAIL

TEXT = "Voicemail from Ann, 0:15\nDear Bob:\nBox 1235, Grüße"


class Service:
    """The running service as mailcmd sees it."""

    def __init__(self, problem: str = "", error: AgiXmppError | None = None) -> None:
        self.problem, self.error = problem, error
        self.requests: list[Mapping[str, Any]] = []
        self.said: list[str] = []

    def ask(self, request: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        assert timeout > 60
        self.requests.append(request)
        if self.error:
            raise self.error
        return {"answers": [{"to": "bob@example.org", "problem": self.problem}]}

    def run(self, raw: bytes = MAIL, **settings: Any) -> int:
        return deliver(raw, VoicemailSettings(**settings), self.ask, self.said.append)


def test_a_mail_is_handed_to_the_service() -> None:
    service = Service()
    assert service.run() == 0
    audio = {"data": base64.b64encode(AUDIO).decode(), "suffix": "wav"}
    assert service.requests == [{"do": "voicemail", "to": ["bob@example.org"], "text": TEXT, "audio": audio}]
    assert service.said == []


@pytest.mark.parametrize("service", [Service("nobody"), Service(error=NoService("no service is running"))])
def test_without_anybody_else_it_is_a_failure_for_now(service: Service) -> None:
    assert service.run() == 75
    assert "nobody" in service.said[0] or "no service" in service.said[0]
    assert "delivered to nobody else" in service.said[-1]


def test_the_fallback_gets_the_mail_as_it_came(tmp_path: Path) -> None:
    service = Service("nobody")
    assert service.run(fallback=["/bin/sh", "-c", f"cat > '{tmp_path}/mail'"]) == 0
    assert (tmp_path / "mail").read_bytes() == MAIL
    assert service.said == ["bob@example.org: nobody", "the mail went to /bin/sh"]


def test_a_fault_of_ours_loses_no_mail(tmp_path: Path) -> None:
    said: list[str] = []
    settings = VoicemailSettings(undelivered=tmp_path / "mails")
    assert deliver(MAIL, settings, lambda _request, _timeout: {}, said.append) == 0
    assert said[0] == "the service's answer is not understood: KeyError"
    assert [path.read_bytes() for path in (tmp_path / "mails/new").iterdir()] == [MAIL]


@pytest.mark.parametrize("words", [["/bin/false"], ["/no/such"], []])
def test_what_the_fallback_does_not_take_is_kept(tmp_path: Path, words: list[str]) -> None:
    service = Service("nobody")
    assert service.run(fallback=words, undelivered=tmp_path / "mails") == 0
    assert [path.read_bytes() for path in (tmp_path / "mails/new").iterdir()] == [MAIL]


def test_nor_can_it_be_kept(tmp_path: Path) -> None:
    service = Service("nobody")
    (tmp_path / "file").touch()
    assert service.run(undelivered=tmp_path / "file/mails") == 75
    assert "voicemail.undelivered" in service.said[1]


@pytest.mark.parametrize("raw", [b"", b"no mail", MAIL.replace(b"To:", b"Tx:")])
def test_what_is_no_mail_goes_on_too(tmp_path: Path, raw: bytes) -> None:
    service = Service()
    assert service.run(raw, undelivered=tmp_path / "mails") == 0
    assert service.requests == []
    assert len(list((tmp_path / "mails/new").iterdir())) == 1


@pytest.mark.parametrize(("limit", "asked"), [(len(AUDIO) - 1, False), (len(AUDIO), True), (len(AUDIO) + 1, True)])
def test_the_size_of_a_recording(limit: int, asked: bool) -> None:
    service = Service()
    assert service.run(max_size=limit) == (0 if asked else 75)
    assert bool(service.requests) is asked


def test_the_size_of_a_mail() -> None:
    settings = VoicemailSettings(max_size=10_000)
    for size, asked in ((max_mail(settings), True), (max_mail(settings) + 1, False)):
        service = Service()
        service.run(MAIL.ljust(size), max_size=10_000)
        assert bool(service.requests) is asked


# In the service


async def served(session: FakeSession, *to: str, **settings: Any) -> dict[str, str]:
    request = {"to": list(to), "text": TEXT, "audio": {"data": base64.b64encode(AUDIO).decode(), "suffix": "wav"}}
    voicemail = Voicemail(VoicemailSettings(**{"account": "PBX", **settings}))
    answers = (await serve(request, Accounts({"pbx": session}), voicemail))["answers"]
    return {answer["to"]: answer["problem"] for answer in answers}


def bodies(session: FakeSession) -> list[tuple[str, str]]:
    return [(args[0], args[1]) for name, args, _ in session.calls if name == "send_message"]


async def test_recording_and_text() -> None:
    session = FakeSession()
    assert await served(session, "bob@x.org") == {"bob@x.org": ""}
    assert session.calls[0][1][1] == AUDIO
    assert bodies(session) == [("bob@x.org", "https://up.x.org/1/voicemail.wav"), ("bob@x.org", TEXT)]


async def test_one_who_is_unknown_harms_no_other() -> None:
    session = FakeSession()
    problems = await served(session, "who@elsewhere.org", "bob@x.org")
    assert problems["who@elsewhere.org"].startswith("no Jabber ID is known for this address")
    assert problems["bob@x.org"] == ""
    assert {to for to, _ in bodies(session)} == {"bob@x.org"}


async def test_a_recording_that_did_not_go_is_a_problem() -> None:
    assert await served(FakeSession(upload=UploadFailed("full")), "bob@x.org") == {"bob@x.org": "full"}
    assert await served(FakeSession(send_message=Bounced("gone", "gone")), "bob@x.org") == {"bob@x.org": "gone"}


async def test_a_transcript_that_failed_is_none() -> None:
    assert await served(FakeSession(), "bob@x.org", transcribe=["/bin/false"]) == {"bob@x.org": ""}


async def test_without_an_account() -> None:
    with pytest.raises(ConfigError, match=r"voicemail.account is not set"):
        await served(FakeSession(), "bob@x.org", account="")


async def test_a_kind_that_there_is_not() -> None:
    request = {"to": ["bob@x.org"], "text": "x", "audio": {"data": "", "suffix": "exe"}}
    with pytest.raises(UsageError, match="'exe' is no kind of recording"):
        await serve(request, Accounts({"pbx": FakeSession()}), Voicemail(VoicemailSettings(account="pbx")))


@pytest.mark.parametrize(
    ("address", "jid"),
    [
        ("Bob@Mail.test", "robert@x.org"),
        ("102@voicemail", "carol@y.org"),
        ("ann@x.org", "ann@x.org"),
        ("ann@X.ORG", "ann@X.ORG"),
    ],
)
def test_addresses(address: str, jid: str) -> None:
    assert jid_of(address, {"bob@mail.test": "robert@x.org", "102@voicemail": "carol@y.org"}, "x.org") == jid


@pytest.mark.parametrize("address", ["ann@y.org", "ann@x.org.evil", "ann@sub.x.org", "x.org", "", "ann@"])
def test_addresses_of_nobody(address: str) -> None:
    with pytest.raises(UsageError, match=r"name it in \[voicemail.people\]"):
        jid_of(address, {}, "x.org" if address != "ann@" else "")
