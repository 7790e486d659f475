"""Reading the file, and what is said about its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agi_xmpp.config import AccountSettings, ControlSettings, control_socket, load, parse
from agi_xmpp.errors import ConfigError


def complaint(data):
    with pytest.raises(ConfigError) as caught:
        parse(data, "f.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"agj": {}}, ["agj: unknown key", "did you mean agi?"]),
        ({"log": {"level": "loud"}}, ["log.level"]),
        ({"state": {"dirctory": "/x"}}, ["state.dirctory: unknown key", "did you mean directory?"]),
        ({"stat": {}}, ["stat: unknown key", "did you mean state?"]),
        ({"fone": {}}, ["fone: unknown key", "did you mean phone?"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_mistake_is_named(data, words):
    text = complaint(data)
    for word in words:
        assert word in text
    assert text.startswith("f.toml: ")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"conference": {"return_time": 0}}, "f.toml: conference.return_time: must be at least 1"),
        ({"conference": {"return_time": 86_401}}, "f.toml: conference.return_time: must be at most 86400"),
        ({"voicemail": {"upload_timeout": 0}}, "f.toml: voicemail.upload_timeout: must be more than 0"),
    ],
)
def test_a_number_out_of_range_is_told_the_bound(data, words):
    assert words in complaint(data).splitlines()


def test_all_mistakes_are_named_at_once():
    assert len(complaint({"agi": {"prot": 1}, "log": {"level": "x"}}).splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[agi\n", "not valid TOML"), (b"\xff\xfe", "not valid TOML"), (None, "No such file")],
)
def test_a_file_that_cannot_be_read(tmp_path, content, words):
    path = tmp_path / "agi-xmpp.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load(path)


def test_a_file_is_read(tmp_path: Path):
    path = tmp_path / "agi-xmpp.toml"
    path.write_text('[account."asterisk-xmpp"]\njid = "asterisk@example.org"\npassword = "abc-1"\n')
    account = load(path).account["asterisk-xmpp"]
    assert isinstance(account, AccountSettings)
    assert account.secret() == "abc-1"


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ('colour = 1\n[control]\nsocket = "/run/x"\n', "/run/x"),
        ("[control]\nsocket = 7\n", ControlSettings().socket),
        ("control = 7\n", ControlSettings().socket),
        ("[control\n", ControlSettings().socket),
        ("\xff", ControlSettings().socket),
        (None, ControlSettings().socket),
    ],
)
def test_where_the_service_is_reached_whose_file_has_become_wrong(tmp_path: Path, text: str | None, socket: str):
    path = tmp_path / "agi-xmpp.toml"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    told, wrong = control_socket(path)
    assert told == socket
    assert str(wrong).startswith(str(path))


def test_where_the_service_is_reached(tmp_path: Path):
    path = tmp_path / "agi-xmpp.toml"
    path.write_text('[account.pbx]\njid = "a@x.org"\npassword = "x"\n[control]\nsocket = "/run/x"\n')
    assert control_socket(path) == ("/run/x", None)
