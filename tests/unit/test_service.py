"""The composition root, with sessions that are none."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import signal
import socket
from typing import Any

import pytest

from agi_xmpp.config import load, parse
from agi_xmpp.control import ask
from agi_xmpp.errors import BadJid, BadText, Bounced, ConfigError
from agi_xmpp.features.contacts.directory import Directory
from agi_xmpp.features.phone.phones import Phones
from agi_xmpp.service import Service, notify
from agi_xmpp.xmpp.model import Extras
from tests.unit.ami.manager import SECRET, Events, Manager, message
from tests.unit.features.fakes import FakeSession


@pytest.fixture(autouse=True)
def _log_level():
    """A reload sets the level for the whole process."""
    logger = logging.getLogger("agi_xmpp")
    before = logger.level
    yield
    logger.setLevel(before)


class Session(FakeSession):
    """Notes its life."""

    def __init__(self, account, settings, log):
        super().__init__()
        self.account, self.settings, self.log = account, settings, log

    def info(self):
        return dataclasses.replace(super().info(), account=self.account)

    def change_to(self, settings):
        in_place = {"buddies": self.settings.buddies, "stop_notice": self.settings.stop_notice}
        if settings.model_copy(update=in_place) != self.settings:
            return None
        if "bad@example.org" in settings.buddies:
            raise BadJid("bad@example.org is none")
        return lambda: self.change(settings)

    def change(self, settings):
        self.settings = settings
        self.log.append(("change", self.account, settings.stop_notice))

    async def start(self):
        self.log.append(("start", self.account, self.settings.status))

    async def stop(self, timeout=5.0):
        self.log.append(("stop", self.account, self.settings.status))


@pytest.fixture
def made(tmp_path):
    """Returns a function that makes a service, the log of its sessions, and one that rewrites its file."""
    log: list[tuple[str, ...]] = []
    path = tmp_path / "agi-xmpp.toml"

    def write(text):
        path.write_text(f'[control]\nsocket = "{tmp_path}/control.sock"\n{text}')

    def session(name, settings):
        if settings.jid.startswith("bad"):
            raise BadJid(f"{settings.jid} is none")
        return Session(name, settings, log)

    def service():
        settings = parse(
            {"agi": {"port": 0}, "control": {"socket": f"{tmp_path}/control.sock"}, "account": {"pbx": ACCOUNT}}, "test"
        )
        return Service(settings, path, session)

    return service, log, write


ACCOUNT = {"jid": "a@example.org", "password": "s3cr3t-word", "status": "old"}
TEXT = '[agi]\nport = 0\n[account.{0}]\njid = "{1}"\npassword = "s3cr3t-word"\nstatus = "{2}"\n'
NOTICE = 'stop_notice = "Back at 8."\n'
BAD = '[account.x]\njid = "bad@example.org"\npassword = "s3cr3t-word"\n'


async def test_start_and_stop_in_order(made):
    make, log, _ = made
    service = make()
    await service.start()
    assert service.ports[0] > 0
    assert log == [("start", "pbx", "old")]
    await service.stop()
    assert log[-1] == ("stop", "pbx", "old")


async def test_a_port_that_is_taken(made):
    make, log, _ = made
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service = make()
        service._agi.settings = service._agi.settings.model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(ConfigError, match=r"cannot listen on .*ss -ltnp shows which"):
            await service.start()
    assert log == []
    assert service._control is not None
    assert not service._control.path.exists()


async def test_a_jid_that_is_none_stops_the_start(tmp_path, made):
    make, _, _ = made
    bad = {**ACCOUNT, "jid": "bad@example.org"}
    with pytest.raises(BadJid):
        Service(parse({"account": {"pbx": bad}}, "t"), tmp_path, make()._make_session)


async def test_reload_changes_what_differs(made, caplog):
    caplog.set_level("INFO", logger="agi_xmpp")
    make, log, write = made
    service = make()
    await service.start()
    for text, events in (
        (TEXT.format("pbx", "a@example.org", "old"), []),
        (TEXT.format("pbx", "a@example.org", "new"), [("stop", "pbx", "old"), ("start", "pbx", "new")]),
        (TEXT.format("pbx", "a@example.org", "new") + NOTICE, [("change", "pbx", "Back at 8.")]),
        (TEXT.format("pbx", "bad@example.org", "x"), []),
        (TEXT.format("pbx", "a@example.org", "new") + "colour = 1\n", []),
        (TEXT.format("pbx", "a@example.org", "new") + 'buddies = ["bad@example.org"]\n', []),
        (TEXT.format("pbx", "a@example.org", "new") + BAD, []),
        (TEXT.format("pbx", "a@example.org", "new"), [("change", "pbx", "")]),
        (TEXT.format("PBX", "a@example.org", "new"), [("stop", "pbx", "new"), ("start", "PBX", "new")]),
        (TEXT.format("other", "a@example.org", "new"), [("stop", "PBX", "new"), ("start", "other", "new")]),
    ):
        log.clear()
        write(text)
        await service.reload()
        assert log == events, text
    assert [session.account for session in service.accounts] == ["other"]
    assert caplog.text.count("the old configuration stays in force") == 4
    assert caplog.text.count("account pbx goes on with other settings") == 2
    await service.stop()


async def test_reload_says_what_needs_a_restart(made, caplog):
    make, _, write = made
    service = make()
    await service.start()
    write(TEXT.format("pbx", "a@example.org", "old").replace("port = 0", "port = 4999\nmax_sessions = 7"))
    await service.reload()
    assert "need a restart" in caplog.text
    assert service._agi.settings.max_sessions == 7
    caplog.clear()
    write(TEXT.format("pbx", "a@example.org", "old"))  # as it runs
    await service.reload()
    assert "restart" not in caplog.text
    await service.stop()


async def test_a_session_that_fails_at_its_end_keeps_nothing_from_ending(made, monkeypatch, caplog):
    make, _, _ = made
    service = make()
    await service.start()

    async def fail(self, timeout=5.0):
        raise ZeroDivisionError

    monkeypatch.setattr(Session, "stop", fail)
    await service.stop()
    assert "account pbx: its end failed" in caplog.text
    assert service._control is not None
    assert not service._control.path.exists()


async def test_signals(made):
    make, log, write = made
    service = make()
    write(TEXT.format("pbx", "a@example.org", "new"))
    run = asyncio.ensure_future(service.run())
    while not log:
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGHUP)
    while ("start", "pbx", "new") not in log:
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    await run
    assert log[-1] == ("stop", "pbx", "new")


async def test_the_control_socket_tells_the_state_and_sends(made):
    make, _, _ = made
    service = make()
    await service.start()
    path = str(service._control.path)
    status = await asyncio.to_thread(ask, path, {"do": "status"})
    assert status["accounts"][0]["state"] == "online"
    assert status["agi"]["listen"] == f"127.0.0.1:{service.ports[0]}"
    json.dumps(status)
    request = {"do": "send", "account": "PBX", "to": "bob@x.org", "text": "hi", "receipt": True, "timeout": 3}
    assert await asyncio.to_thread(ask, path, request) == {"id": "m1"}
    assert [name for name, _, _ in service.accounts["pbx"].calls] == ["send_message", "delivered"]
    await service.stop()


@pytest.mark.parametrize(("text", "told"), [("Back at 8.", 1), ("", 0)])
async def test_a_stop_may_be_told(made, text, told):
    make, _, _ = made
    service = make()
    account = {**ACCOUNT, "buddies": ["bob@x.org"], "stop_notice": text}
    service.settings = parse({"account": {"pbx": account}}, "test")
    await service.start()
    session = service.accounts["pbx"]
    await service.stop()
    assert [(*args, more["extras"].subject) for _, args, more in session.calls] == [("bob@x.org", text, text)] * told


async def test_a_notice_that_cannot_be_sent_does_not_keep_the_service_from_its_end(made, caplog):
    make, log, _ = made
    service = make()
    account = {**ACCOUNT, "buddies": ["bob@x.org"], "stop_notice": "Back at 8."}
    service.settings = parse({"account": {"pbx": account}}, "test")
    await service.start()
    service.accounts["pbx"].results["send_message"] = BadText("the text has 10 characters; max_body allows 9")
    await service.stop()
    assert log[-1][:2] == ("stop", "pbx")
    assert "account pbx: stop_notice: nobody was told: the text has 10 characters; max_body allows 9" in caplog.text


async def test_the_status_has_the_accounts_in_the_order_of_the_file(made):
    make, _, write = made
    service = make()
    await service.start()
    more = '[account.more]\njid = "b@example.org"\npassword = "s3cr3t-word"\n'
    for status in ("new", "newer"):  # the second time, only the first account is another one
        write(TEXT.format("pbx", "a@example.org", status) + more)
        await service.reload()
        assert [account["account"] for account in (await service._status({}))["accounts"]] == ["pbx", "more"]
    await service.stop()


async def test_the_control_socket_sends_a_notice(made):
    make, _, _ = made
    service = make()
    await service.start()
    session = service.accounts["pbx"]
    session.results["send_message"] = Bounced("bob@x.org: it came back", "gone")
    request = {"account": "PBX", "people": ["bob@x.org"], "subject": "Tonight", "text": "No phones.", "timeout": 3}
    answer = await asyncio.to_thread(ask, str(service._control.path), {"do": "notice", **request})
    assert answer == {"sent": 0, "refused": ["bob@x.org: it came back"], "stopped": ""}
    extras = Extras(expects_answer=False, headline=True, subject="Tonight")
    assert session.calls == [("send_message", ("bob@x.org", "No phones."), {"extras": extras, "timeout": 3.0})]
    await service.stop()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path, monkeypatch, abstract):
    name = f"@agi-xmpp-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1) if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    notify("READY=1")


PHONES = """
[account.pbx]
jid = "a@example.org/pbx"
password = "s3cr3t-word"
[account.other]
jid = "b@example.org/pbx"
password = "s3cr3t-word"
[agi]
port = 0
[ami]
username = "agi-xmpp"
password = "s3cr3t-word"
port = 1
[state]
directory = ""
"""
USERS = """
[phone]
account = "{0}"
context = "internal"
[phone.user."ann@example.org"]
devices = ["PJSIP/101"]
"""


@pytest.mark.parametrize("after", ["", USERS.format("other")], ids=["removed", "of another account"])
async def test_a_session_that_serves_no_phones_any_more_has_no_host(made, tmp_path, after):
    _, log, write = made
    write(PHONES + USERS.format("pbx"))
    path = tmp_path / "agi-xmpp.toml"
    served: dict[str, Any] = {}

    class Switch(Session):
        def serve_phones(self, host, table=None):
            served[self.account] = host

        def guest(self, make): ...

        def dismiss(self, make): ...

    service = Service(load(path), path, lambda name, settings: Switch(name, settings, log))
    await service.start()
    assert served["pbx"] is service._phones
    write(PHONES + after)
    await service.reload()
    assert served == {"pbx": None} | ({"other": service._phones} if after else {})
    write(PHONES + USERS.format("pbx"))
    await service.reload()
    assert isinstance(served["pbx"], Phones)
    assert served["pbx"] is service._phones
    await service.stop()


CONFERENCES = """
[account.rooms]
type = "component"
jid = "conference.example.org"
password = "{0}"
[conference]
account = "rooms"
context = "conferences"
"""


async def test_conferences_begin_before_they_are_told_of_phones_and_end_before_their_session(
    made, tmp_path, monkeypatch
):
    make, log, write = made
    heard: list[str] = []

    class Conferences:
        convener = None

        def __init__(self, _conference, _phone, _ami, session, *_others):
            self.session, self.phones = session, None

        @staticmethod
        def check(*_settings):
            pass

        async def start(self):
            await asyncio.sleep(0)
            service._ami_listeners.ami_event({"Event": "ConfbridgeJoin"})
            log.append(("conferences begin", *heard))

        async def stop(self):
            log.append(("conferences end",))

        def ami_event(self, event):
            heard.append(event["Event"])

    monkeypatch.setattr("agi_xmpp.service.Gateway", Conferences)
    service = make()
    await service.start()
    write(PHONES + CONFERENCES.format("one-secret-word"))
    await service.reload()
    assert ("conferences begin",) in log
    service._ami_listeners.ami_event({"Event": "ConfbridgeLeave"})
    assert heard == ["ConfbridgeLeave"]
    log.clear()
    heard.clear()
    write(PHONES + CONFERENCES.format("another-word"))
    await service.reload()
    assert [entry[:2] for entry in log] == [
        ("conferences end",),
        ("stop", "rooms"),
        ("start", "rooms"),
        ("conferences begin",),
    ]
    await service.stop()


async def test_conferences_go_on_where_the_user_map_changes(made, monkeypatch):
    make, log, write = made
    told: list[list[str]] = []

    class Conferences:
        convener = "the convener"
        in_place = True

        def __init__(self, _conference, phone, _ami, session, *_others):
            self.session, self.phones = session, None

        @staticmethod
        def check(*_settings):
            pass

        async def start(self):
            log.append(("conferences begin",))

        async def stop(self):
            log.append(("conferences end",))

        async def apply(self, _conference, phone):
            told.append(list(phone.user) if phone is not None else [])
            return self.in_place

        def ami_event(self, event): ...

    class Switch(Session):
        def serve_phones(self, host, table=None): ...

        def guest(self, make): ...

        def dismiss(self, make): ...

    monkeypatch.setattr("agi_xmpp.service.Gateway", Conferences)
    service = make()
    service._make_session = lambda name, settings: Switch(name, settings, log)
    await service.start()
    write(PHONES + USERS.format("pbx") + CONFERENCES.format("one-secret-word"))
    await service.reload()
    log.clear()
    conferences, phones = service._conferences, service._phones
    more = USERS.format("pbx") + '[phone.user."zoe@example.org"]\ndevices = ["SIP/109"]\n'
    for users, who in ((more, ["ann@example.org", "zoe@example.org"]), ("", [])):
        write(PHONES + users + CONFERENCES.format("one-secret-word"))
        await service.reload()
        assert (log, told[-1]) == ([], who)
        assert service._conferences is conferences
        assert service._phones is not phones
        assert service._phones is None or service._phones.convener == "the convener"
    Conferences.in_place = False
    write(PHONES + more + CONFERENCES.format("one-secret-word"))
    await service.reload()
    assert log == [("conferences end",), ("conferences begin",)]
    assert service._conferences is not conferences
    await service.stop()


RIGHTS = """
[ami]
username = "agi-xmpp"
password = "{0}"
port = {1}
"""
DENIED = ["Response: Error|Message: Permission denied"]
LOGS_IN_ANEW = "reload: logged in to Asterisk anew, in case the manager user has got more rights"


@pytest.mark.parametrize(
    ("denied", "events", "logins"),
    [({}, 1, 1), ({"CoreSettings": DENIED}, 1, 2), ({"QueuePause": DENIED}, 1, 1), ({}, 0, 2)],
    ids=["all is well", "a right is missing", "one that is not needed is missing", "no event has come"],
)
async def test_a_reload_logs_in_to_asterisk_anew_where_rights_may_be_missing(
    made, tmp_path, caplog, denied, events, logins
):
    _, log, write = made
    caplog.set_level(logging.INFO)
    async with Manager() as manager:
        manager.answers = denied
        write("[agi]\nport = 0\n" + RIGHTS.format(SECRET, manager.port))
        path = tmp_path / "agi-xmpp.toml"
        service = Service(load(path), path, lambda name, settings: Session(name, settings, log))
        told = Events()
        service._ami_listeners.add(told)
        await service.start()
        await told.until("connected")
        manager.say(message("Event: Hangup|Uniqueid: 1.1") * events)
        await told.until("connected", *["Hangup"] * events)
        await service.reload()
        assert manager.connections == logins
        assert (LOGS_IN_ANEW in caplog.text) is (logins == 2)
        assert told.told == ["connected", *["Hangup"] * events, *["connected"] * (logins - 1)]
        await service.stop()


async def test_a_reload_goes_on_where_asterisk_lets_nobody_in_anew(made, tmp_path, caplog):
    _, log, write = made
    caplog.set_level(logging.INFO)
    async with Manager() as manager:
        write("[agi]\nport = 0\n" + RIGHTS.format(SECRET, manager.port))
        path = tmp_path / "agi-xmpp.toml"
        service = Service(load(path), path, lambda name, settings: Session(name, settings, log))
        told = Events()
        service._ami_listeners.add(told)
        await service.start()
        await told.until("connected")
        manager.secret = "another"
        await service.reload()
        assert "reload: done" in caplog.text
        assert "reload: what the manager user may do stays as it is: Asterisk at" in caplog.text
        assert told.told == ["connected"]
        await service.stop()


async def test_while_new_contacts_are_read_the_old_ones_count(made, tmp_path, monkeypatch):
    make, _, write = made
    people = tmp_path / "people.csv"
    people.write_text("jid,number\nann@example.org,101\n")
    contacts = f'{TEXT.format("pbx", "a@example.org", "old")}[contacts]\naccount = "pbx"\ndirectory = ["{people}"]\n'
    service = make()
    await service.start()
    write(contacts)
    await service.reload()
    session, found = service.accounts["pbx"], []
    start = Directory.start

    async def slowly(self):
        who_is = service._dispatcher.who_is
        found.append((session.contact_host, await who_is.find(who_is.read("101"), 1.0)))
        await start(self)

    monkeypatch.setattr(Directory, "start", slowly)
    before = session.contact_host
    write(f'{contacts}hidden = ["eve@example.org"]\n')
    await service.reload()
    assert [(host, str(known.jid)) for host, known in found] == [(before, "ann@example.org")]
    assert session.contact_host not in (None, before)
    await service.stop()


async def test_a_stop_in_the_middle_of_a_reload_leaves_nobody_logged_in(made, monkeypatch):
    make, log, write = made
    service = make()
    await service.start()
    begun, go_on = asyncio.Event(), asyncio.Event()
    start = Directory.start

    async def slowly(self):
        begun.set()
        await go_on.wait()
        await start(self)

    monkeypatch.setattr(Directory, "start", slowly)
    write(TEXT.format("pbx", "a@example.org", "new"))
    reloading = asyncio.create_task(service.reload())
    await begun.wait()
    stopping = asyncio.create_task(service.stop())
    late = asyncio.create_task(service.reload())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(reloading, stopping, late)
    assert [entry for entry in log if entry[0] in ("start", "stop")] == [
        ("start", "pbx", "old"),
        ("stop", "pbx", "old"),
        ("start", "pbx", "new"),
        ("stop", "pbx", "new"),
    ]


async def test_contacts_are_looked_up_from_the_reload_on_that_says_so(made, tmp_path, caplog):
    make, _, write = made
    service = make()
    await service.start()
    session = service.accounts["pbx"]
    assert service._dispatcher.who_is.is_empty
    account = TEXT.format("pbx", "a@example.org", "old")
    write(f'{account}\n[contacts]\naccount = "pbx"\n')
    await service.reload()
    assert session.contact_host is not None
    assert not service._dispatcher.who_is.is_empty
    before = session.contact_host
    await service.reload()
    assert session.contact_host is before  # nothing has changed: what it has counted and kept stays
    write(f'{account}\n[contacts]\naccount = "pbx"\nhidden = ["x..org"]\n')
    await service.reload()
    assert "contacts.hidden: 'x..org' is not a Jabber ID" in caplog.text
    assert session.contact_host is before
    write(account)
    await service.reload()
    assert session.contact_host is None
    assert service._dispatcher.who_is.is_empty
    await service.stop()
