"""The command line: what it prints, and with which exit code."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agi_xmpp import __version__, cli
from agi_xmpp.control import NoAnswer
from agi_xmpp.errors import AgiXmppError
from agi_xmpp.features.notice import Report

GOOD = '[control]\nsocket = "{0}/control.sock"\n[account.pbx]\njid = "a@example.org"\npassword = "s3cr3t-word"\n'

STATUS: dict[str, Any] = {
    "version": "1.2.3",
    "pid": 7,
    "started": 0.0,
    "config": "/etc/agi-xmpp.toml",
    "agi": {"listen": "127.0.0.1:4573", "open": 2, "total": 9},
    "accounts": [
        {
            "account": "pbx",
            "jid": "a@example.org/pbx",
            "state": "online",
            "since": 0.0,
            "error": "",
            "tls": "TLSv1.3",
            "resumable": True,
            "connects": 1,
            "sent": 2,
            "received": 3,
            "unclaimed": 0,
            "waiting": 1,
            "rooms": [
                {"room": "team@rooms.x.org", "nick": "pbx", "state": "joined", "occupants": 3, "error": ""},
                {"room": "alone@rooms.x.org", "nick": "pbx2", "state": "joined", "occupants": 1, "error": ""},
                {"room": "shut@rooms.x.org", "nick": "pbx", "state": "waiting", "occupants": 0, "error": "it is full"},
            ],
        }
    ],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agi-xmpp.toml"
    path.write_text(GOOD.format(tmp_path))
    return path


def run(*words, **kwargs):
    return CliRunner().invoke(cli.main, [str(word) for word in words], **kwargs)


def test_version():
    assert run("--version").output == f"agi-xmpp, version {__version__}\n"


def test_every_command_has_help():
    for name, command in cli.main.commands.items():
        assert command.help, name
        assert run(name, "--help").exit_code == 0


def test_check_of_a_good_file(config):
    result = run("check", "-c", config)
    assert result.exit_code == 0
    assert "well-formed; accounts: pbx" in result.output


def test_the_file_can_be_named_by_the_environment(config):
    assert run("check", env={"AGI_XMPP_CONFIG": str(config)}).exit_code == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("colour = 1\n", "unknown key"),
        ("[log\n", "not valid TOML"),
        ('[[agi.script]]\npath = "x"\ncallable = "no_such_module:main"\n', "no_such_module"),
    ],
)
def test_check_of_a_bad_file_is_a_sentence_and_exit_code_2(config, more, words):
    config.write_text(config.read_text() + more)
    for command in ("check", "serve", "status"):
        if command == "status" and "agi.script" in more:
            continue  # it asks the running service and loads no script
        result = run(command, "-c", config)
        assert result.exit_code == 2, command
        assert words in result.output
        assert "Traceback" not in result.output
        assert "s3cr3t" not in result.output


def test_check_finds_a_password_that_cannot_be_had(config):
    config.write_text('[account.pbx]\njid = "a@example.org"\npassword_file = "/nowhere"\n')
    result = run("check", "-c", config)
    assert result.exit_code == 2
    assert "account.pbx: password_file /nowhere" in result.output


def test_check_finds_a_room_s_password_that_cannot_be_had(config):
    room = '[account.pbx.room."team@rooms.example.org"]\npassword_file = "/nowhere"\n'
    config.write_text(config.read_text() + room)
    result = run("check", "-c", config)
    assert result.exit_code == 2
    assert 'account.pbx.room."team@rooms.example.org": password_file /nowhere' in result.output


def test_check_warns_of_no_verification(config):
    config.write_text(config.read_text() + "accept_any_certificate = true\n")
    assert "anybody between here and the server" in run("check", "-c", config).output


def test_import_to_a_file_that_only_its_owner_reads(tmp_path):
    source = tmp_path / "xmpp.conf"
    source.write_text("[p]\nusername=a@b.c\nsecret=s3cr3t-word\nautoprune=yes\n")
    target = tmp_path / "agi-xmpp.toml"
    result = run("import", source, "-o", target)
    assert result.exit_code == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "note: p: autoprune" in result.output
    assert "s3cr3t" not in result.output
    again = run("import", source, "-o", target)
    assert again.exit_code == 2
    assert "--force" in again.output
    target.chmod(0o644)
    assert run("import", source, "-o", target, "--force").exit_code == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert run("check", "-c", target).exit_code == 0


def test_import_to_the_screen(tmp_path):
    source = tmp_path / "jabber.conf"
    source.write_text("[p]\nusername=a@b.c\nsecret=s3cr3t-word\n")
    assert 'jid = "a@b.c/asterisk-xmpp"' in run("import", source).output


def answering(monkeypatch, answer):
    asked = []

    def ask(path, request, timeout=5.0):
        asked.append(dict(request))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("agi_xmpp.control.ask", ask)
    return asked


def test_status(config, monkeypatch):
    answering(monkeypatch, STATUS)
    result = run("status", "-c", config)
    assert result.exit_code == 0
    assert "pbx: online for" in result.output
    assert "TLSv1.3, resumable" in result.output
    assert "team@rooms.x.org: joined as pbx, 3 occupants" in result.output
    assert "alone@rooms.x.org: joined as pbx2, nobody else there" in result.output
    assert "shut@rooms.x.org: waiting as pbx, it is full" in result.output
    assert json.loads(run("status", "-c", config, "--json").output) == STATUS


CONFERENCE = {"account": "rooms", "in_sight": True, "rooms": [], "senders": None, "problems": []}
ROOM = {"room": "6000@x.org", "title": "6000", "people": 1, "phones": 1, "texts": "connecting", "texts_fail": False}


@pytest.mark.parametrize(
    ("conference", "code"),
    [
        ({}, 0),
        ({"in_sight": False, "problems": ["Asterisk does not tell who is in"]}, 1),
        ({"rooms": [ROOM]}, 0),
        ({"rooms": [ROOM, {**ROOM, "texts": "nobody answers", "texts_fail": True}]}, 1),
        ({"problems": ["6000@rooms.x.org does not let a phone in: banned"]}, 0),
    ],
)
def test_status_fails_where_conferences_are_not_seen_or_phones_not_reached(config, monkeypatch, conference, code):
    answering(monkeypatch, {**STATUS, "conference": {**CONFERENCE, **conference}})
    assert run("status", "-c", config).exit_code == code
    assert run("status", "-c", config, "--json").exit_code == code


def test_status_says_what_cannot_be_kept(config, monkeypatch):
    full = "/var/lib/agi-xmpp/state.sqlite: database or disk is full; what changes is kept in memory only"
    answering(monkeypatch, {**STATUS, "state": full})
    assert run("status", "-c", config).output.splitlines()[-1] == full


@pytest.mark.parametrize(
    ("waits", "line"),
    [
        ({}, "6000@x.org (6000): 1 in chat, 1 on phones; texts: connecting\n"),
        ({"waits": False}, "texts: connecting\n"),
        ({"waits": True}, "texts: connecting; waits for its people\n"),
    ],
)
def test_status_says_which_rooms_wait(config, monkeypatch, waits, line):
    answering(monkeypatch, {**STATUS, "conference": {**CONFERENCE, "rooms": [ROOM | waits]}})
    assert line in run("status", "-c", config).output


@pytest.mark.parametrize(
    ("senders", "line"),
    [
        (None, ""),
        ({"copies": 0, "strangers": 0, "last": None, "lost": 0}, "copies of SIP packets at 127.0.0.1:9060: 0"),
        (
            {"copies": 9, "strangers": 0, "last": 62.0, "lost": 0},
            "copies of SIP packets at 127.0.0.1:9060: 9, the last one 1",
        ),
        ({"copies": 9, "strangers": 3, "last": 0.0, "lost": 2}, "ago; 2 were lost; 3 datagrams from elsewhere were"),
    ],
)
def test_status_of_conferences(config, monkeypatch, senders, line):
    told = senders and {"address": "127.0.0.1:9060", **senders}
    answering(monkeypatch, {**STATUS, "conference": {**CONFERENCE, "senders": told, "problems": ["a problem"]}})
    result = run("status", "-c", config)
    assert result.exit_code == 0
    output = result.output
    assert "conferences: served by account rooms; rooms: 0" in output
    assert line in output
    assert ("copies" in output) == bool(line)
    assert "  a problem" in output


def test_status_of_an_account_that_is_not_online(config, monkeypatch):
    account = {**STATUS["accounts"][0], "state": "waiting", "error": "the server refuses the password"}
    answering(monkeypatch, {**STATUS, "accounts": [account]})
    result = run("status", "-c", config)
    assert result.exit_code == 1
    assert "the server refuses the password" in result.output


def test_status_without_a_service(config):
    result = run("status", "-c", config)
    assert result.exit_code == 2
    assert "no service is running" in result.output


@pytest.mark.parametrize("more", ["colour = 1\n", "[log\n"])
def test_status_shows_the_service_though_its_file_has_become_wrong(config, monkeypatch, more):
    answering(monkeypatch, STATUS)
    config.write_text(config.read_text() + more)
    result = run("status", "-c", config)
    assert result.exit_code == 1
    assert "pbx: online for" in result.output
    assert f"goes on by the file that it has read; it is wrong by now:\n{config}: " in result.output


def test_send_through_the_service(config, monkeypatch):
    asked = answering(monkeypatch, {"id": "m1"})
    assert run("send", "-c", config, "PBX", "bob@x.org", "-", input="two\nlines\n").output == "m1\n"
    assert asked[0]["text"] == "two\nlines"


def test_send_that_the_service_refuses(config, monkeypatch):
    answering(monkeypatch, AgiXmppError("it came back"))
    result = run("send", "-c", config, "pbx", "bob@x.org", "hi")
    assert result.exit_code == 2
    assert "it came back" in result.output


def test_send_does_not_send_again_what_the_service_may_have_sent(config, monkeypatch):
    async def never(*args, **kwargs):
        raise AssertionError("sent twice")

    monkeypatch.setattr("agi_xmpp.diagnose.send_once", never)
    answering(monkeypatch, NoAnswer("the service did not answer"))
    result = run("send", "-c", config, "pbx", "bob@x.org", "hi")
    assert result.exit_code == 2
    assert result.output == "agi-xmpp: the service did not answer\n"


def test_send_from_an_account_that_is_not_there(config):
    result = run("send", "-c", config, "pxb", "bob@x.org", "hi")
    assert result.exit_code == 2
    assert "known: pbx" in result.output


def reporting(monkeypatch, report):
    """Let a notice come to this, and return what was asked for."""
    asked = []

    async def send_notice(settings, account, people, subject, body, *, timeout, say):
        asked.append((account, people, subject, body, timeout))
        if isinstance(report, Exception):
            raise report
        return report

    monkeypatch.setattr("agi_xmpp.diagnose.send_notice", send_notice)
    return asked


@pytest.mark.parametrize(
    ("words", "text"), [((), "Tonight"), (("No phones.",), "No phones."), (("-",), "two\nlines"), (("",), "Tonight")]
)
def test_a_notice(config, monkeypatch, words, text):
    asked = reporting(monkeypatch, Report(2))
    people = ("--to", "bob@x.org", "--to", "ann@x.org/pc")
    result = run("notice", "-c", config, *people, "Tonight", *words, "--timeout", 3, input="two\nlines\n")
    assert (result.exit_code, result.output) == (0, "sent to 2 of 2; who is not online gets nothing\n")
    assert asked == [("pbx", ["bob@x.org", "ann@x.org"], "Tonight", text, 3.0)]


def test_a_notice_that_did_not_reach_all(config, monkeypatch):
    reporting(monkeypatch, Report(1, ("ann@x.org: it came back",), "not connected"))
    people = [word for name in ("bob", "ann", "eve") for word in ("--to", f"{name}@x.org")]
    result = run("notice", "-c", config, *people, "Tonight")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "sent to 1 of 3; who is not online gets nothing",
        "agi-xmpp: ann@x.org: it came back",
        "agi-xmpp: not sent to the others: not connected",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("Tonight",), "nobody to tell"),
        (("--buddies", "Tonight"), "nobody to tell"),
        (("--all-users", "Tonight"), "no [phone]"),
        (("--to", "b@@c", "Tonight"), "b@@c"),
        (("--to", "bob@x.org", "two\nlines"), "one line"),
        (("--to", "bob@x.org", ""), "one line"),
        (("--account", "pxb", "--to", "bob@x.org", "Tonight"), "no account 'pxb' (known: pbx)"),
    ],
)
def test_a_notice_that_makes_no_sense_is_sent_to_nobody(config, monkeypatch, words, sentence):
    asked = reporting(monkeypatch, Report())
    result = run("notice", "-c", config, *words)
    assert (result.exit_code, asked) == (2, [])
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1


def test_a_notice_that_the_service_refuses(config, monkeypatch):
    reporting(monkeypatch, AgiXmppError("the text has 70000 characters"))
    result = run("notice", "-c", config, "--to", "bob@x.org", "Tonight")
    assert (result.exit_code, result.output) == (2, "agi-xmpp: the text has 70000 characters\n")


MAIL = b"To: bob@example.org\nSubject: Voicemail from Ann\n\n\n"


def test_a_mail_goes_to_the_service(config, monkeypatch):
    asked = answering(monkeypatch, {"answers": [{"to": "bob@example.org", "problem": ""}]})
    result = run("mailcmd", "-c", config, input=MAIL)
    assert (result.exit_code, result.output) == (0, "")
    assert asked == [{"do": "voicemail", "to": ["bob@example.org"], "text": "Voicemail from Ann", "audio": None}]


def test_a_mail_that_nobody_takes_is_said_there_and_in_the_system_s_log(config, monkeypatch, tmp_path):
    logged: list[str] = []
    monkeypatch.setattr("syslog.syslog", lambda _priority, text: logged.append(text))
    result = run("mailcmd", "-c", config, input=MAIL)
    assert result.exit_code == 75
    assert "agi-xmpp mailcmd: no service is running" in result.output
    assert [f"agi-xmpp mailcmd: {text}" for text in logged] == result.output.splitlines()
    assert run("mailcmd", "-c", tmp_path / "none.toml", input=MAIL).exit_code == 75
    assert "none.toml" in logged[-1]


def test_a_mail_that_is_too_large_is_handed_on_whole(config, monkeypatch, tmp_path):
    monkeypatch.setattr("syslog.syslog", lambda _priority, _text: None)
    config.write_text(
        config.read_text() + f'\n[voicemail]\nmax_size = 1\nundelivered = "{tmp_path}/mails"\n',
    )
    mail = MAIL + b"x\n" * 1_000_000
    result = run("mailcmd", "-c", config, input=mail)
    assert (result.exit_code, "voicemail.max_size allows no such recording" in result.output) == (0, True)
    (kept,) = (tmp_path / "mails/new").iterdir()
    assert kept.read_bytes() == mail


def test_check_finds_programs_of_voicemail_that_are_not_there(config):
    config.write_text(config.read_text() + '[voicemail]\ntranscribe = ["/no/such"]\n')
    result = run("check", "-c", config)
    assert (result.exit_code, "voicemail.transcribe: no program '/no/such'" in result.output) == (2, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    assert "_AGI_XMPP_COMPLETE" in run("completion", shell).output


def test_it_starts_as_a_module():
    done = subprocess.run([sys.executable, "-m", "agi_xmpp", "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout
