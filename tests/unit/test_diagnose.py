"""Short logins of the command line's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agi_xmpp import diagnose
from agi_xmpp.config import AccountSettings, ControlSettings, Settings
from agi_xmpp.control import NoAnswer, NoPermission, NoService
from agi_xmpp.errors import AgiXmppError, LoginFailed
from agi_xmpp.features import notice
from agi_xmpp.features.notice import BATCH, Report
from agi_xmpp.xmpp.model import Presence, Show
from tests.unit.features.fakes import FakeSession

SETTINGS = AccountSettings.model_validate(
    {"jid": "a@example.org/pbx", "password": "s3cr3t-word", "buddies": ["bob@x.org", "ann@x.org"], "priority": 5}
)


class Session(FakeSession):
    """Notes how it was made, and how often it was stopped."""

    stopped = 0
    settings = SETTINGS

    async def stop(self, timeout: float = 5.0) -> None:
        self.stopped += 1


@pytest.fixture
def session(monkeypatch):
    """The session that is used."""
    used = Session()

    def make(name, settings):
        used.settings = settings
        return used

    monkeypatch.setattr(diagnose, "make_session", make)
    return used


async def test_a_good_account(session):
    session.results["presence"] = Presence(Show.NOT_IN_ROSTER)
    said: list[str] = []
    assert await diagnose.check_account("pbx", SETTINGS, said.append)
    assert said[0] == "pbx: logged in as asterisk@x.org/pbx by password; not encrypted"
    assert any("bob@x.org" in line and "not allowed" in line for line in said)
    assert session.stopped == 1


async def test_a_login_by_token_is_called_so(session):
    settings = AccountSettings.model_validate({"jid": "a@example.org/pbx", "token_file": "/run/token"})
    said: list[str] = []
    assert await diagnose.check_account("pbx", settings, said.append)
    assert said[0] == "pbx: logged in as asterisk@x.org/pbx by token; not encrypted"
    assert session.settings.sources == ["token_file"]


async def test_it_neither_throws_the_service_out_nor_takes_its_messages(session):
    await diagnose.check_account("pbx", SETTINGS, lambda line: None)
    guest = session.settings
    assert guest.jid.startswith("a@example.org/agi-xmpp-")
    assert (guest.priority, guest.buddies, guest.subscriptions, guest.room) == (-1, [], "deny", {})


async def test_an_account_that_cannot_log_in(session, monkeypatch):
    async def ready(timeout, *, patient=True):
        assert not patient
        raise LoginFailed("the server refuses the password")

    monkeypatch.setattr(session, "ready", ready)
    said: list[str] = []
    assert not await diagnose.check_account("pbx", SETTINGS, said.append)
    assert said == ["pbx: FAILED: the server refuses the password"]
    assert session.stopped == 1


async def test_one_message(session):
    assert await diagnose.send_once("pbx", SETTINGS, "bob@x.org", "hi", receipt=True, timeout=3.0) == "m1"
    assert [name for name, _, _ in session.calls] == ["send_message", "delivered"]
    assert session.stopped == 1


# Notices

PEOPLE = [f"p{n}@x.org" for n in range(BATCH + 1)]


class Control:
    """The service's socket: gives the answers in turn, and notes whom each request was about."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    def __call__(self, path: str, request: Mapping[str, Any], timeout: float) -> Any:
        assert (path, request["do"], request["account"]) == ("/run/x.sock", "notice", "pbx")
        assert (request["subject"], request["text"], request["timeout"]) == ("Tonight", "No phones.", 3.0)
        self.asked.append(request["people"])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def send_notice(monkeypatch, control, said, *, account=SETTINGS, socket="/run/x.sock"):
    monkeypatch.setattr(diagnose, "ask", control)
    settings = Settings(account={"pbx": account}, control=ControlSettings(socket=socket))
    return await diagnose.send_notice(settings, "pbx", PEOPLE, "Tonight", "No phones.", timeout=3.0, say=said.append)


def told(sent: int, *refused: str, stopped: str = "") -> dict[str, Any]:
    return {"sent": sent, "refused": list(refused), "stopped": stopped}


async def test_the_service_sends_a_notice_in_parts(session, monkeypatch):
    control = Control(told(BATCH - 1, "p3 is gone"), told(1))
    assert await send_notice(monkeypatch, control, []) == Report(BATCH, ("p3 is gone",))
    assert control.asked == [PEOPLE[:BATCH], PEOPLE[BATCH:]]
    assert session.calls == []


@pytest.mark.parametrize(
    ("answers", "report"),
    [
        ([told(3, stopped="not connected")], Report(3, (), "not connected")),
        ([told(BATCH), NoService("it has ended")], Report(BATCH, (), "it has ended")),
        ([told(BATCH), NoAnswer("it is silent")], Report(BATCH, (), "it is silent")),
    ],
)
async def test_a_notice_that_stops_says_how_far_it_came(session, monkeypatch, answers, report):
    control = Control(*answers)
    assert await send_notice(monkeypatch, control, []) == report
    assert len(control.asked) == len(answers)
    assert session.calls == []  # nobody is told twice by another login


async def test_without_a_service_a_login_sends_it(session, monkeypatch):
    monkeypatch.setattr(notice, "RATE", 10_000)
    said: list[str] = []
    report = await send_notice(monkeypatch, Control(NoService("no service is running")), said)
    assert report == Report(len(PEOPLE))
    assert said == ["no service is running; logging in to send it"]
    assert [args[0] for _, args, _ in session.calls] == PEOPLE
    assert session.stopped == 1


@pytest.mark.parametrize("error", [NoAnswer("it is silent"), AgiXmppError("no account 'pbx'")])
async def test_what_the_service_may_have_sent_is_not_sent_again(session, monkeypatch, error):
    with pytest.raises(type(error), match=str(error)):
        await send_notice(monkeypatch, Control(error), [])
    assert session.calls == []


@pytest.mark.parametrize("socket", ["/run/x.sock", ""])
async def test_a_component_that_may_be_in_use_sends_no_notice(session, monkeypatch, socket):
    control = Control(NoPermission("no permission"))
    with pytest.raises(NoPermission):
        await send_notice(monkeypatch, control, [], account=COMPONENT, socket=socket)
    assert len(control.asked) == bool(socket)
    assert session.calls == []


# Components: one connection only

COMPONENT = AccountSettings.model_validate(
    {"type": "component", "jid": "agi@Phone.example.org", "password": "s3cr3t-word", "buddies": ["bob@x.org"]}
)


def answer(monkeypatch, outcome):
    """Let the control socket give an answer, or an error."""

    def ask(path, request):
        assert (path, request) == ("/run/x.sock", {"do": "status"})
        if isinstance(outcome, Exception):
            raise outcome
        return {"accounts": [{"jid": "asterisk@x.org/pbx", "state": "online", "tls": "", "error": ""}, *outcome]}

    monkeypatch.setattr(diagnose, "ask", ask)


@pytest.mark.parametrize(
    ("state", "well", "words"),
    [
        (
            "online",
            True,
            "phone: in use: the running service is connected as phone.example.org/agi-xmpp; not encrypted",
        ),
        ("waiting", False, "phone: FAILED: the running service is not connected: the secret is wrong"),
    ],
)
async def test_a_component_in_use_is_left_alone(session, monkeypatch, state, well, words):
    error = "" if state == "online" else "the secret is wrong"
    answer(monkeypatch, [{"jid": "phone.example.org/agi-xmpp", "state": state, "tls": "", "error": error}])
    said: list[str] = []
    assert await diagnose.check_account("phone", COMPONENT, said.append, "/run/x.sock") is well
    assert said == [words]
    assert session.settings is SETTINGS  # no session was made


@pytest.mark.parametrize("outcome", [NoService("no service is running"), []])
async def test_a_component_that_nobody_serves_logs_in(session, monkeypatch, outcome):
    answer(monkeypatch, outcome)
    said: list[str] = []
    assert await diagnose.check_account("phone", COMPONENT, said.append, "/run/x.sock")
    assert said[0].startswith("phone: logged in as")
    assert not any("resume" in line for line in said)
    # Its policy is the service's: a refusal would end what others have been allowed to see.
    used = session.settings
    assert (used.jid, used.subscriptions, used.buddies, used.subscribe) == (
        COMPONENT.jid,
        "buddies",
        ["bob@x.org"],
        False,
    )


@pytest.mark.parametrize("outcome", [NoPermission("no permission"), NoAnswer("no answer")])
async def test_a_component_of_which_nobody_can_tell_is_left_alone(session, monkeypatch, outcome):
    answer(monkeypatch, outcome)
    said: list[str] = []
    assert not await diagnose.check_account("phone", COMPONENT, said.append, "/run/x.sock")
    assert not await diagnose.check_account("phone", COMPONENT, said.append)
    assert said[0].endswith(str(outcome))
    assert said[1].endswith("control.socket is off, and without it no service can be asked")
    assert session.settings is SETTINGS
