"""Passwords and tokens, from wherever they come."""

from __future__ import annotations

import pytest

from agi_xmpp.config import parse
from agi_xmpp.errors import ConfigError

GOOD = {"jid": "asterisk@example.org", "password": "s3cr3t-word"}


def settings(**account):
    return parse({"account": {"pbx": {**GOOD, **account}}}, "f.toml").account["pbx"]


def complaint(data):
    with pytest.raises(ConfigError) as caught:
        parse(data, "f.toml")
    return str(caught.value)


def test_a_wrong_value_is_not_repeated_when_it_may_be_a_secret():
    assert "hunter2" not in complaint({"account": {"pbx": {"jid": "a@b", "password": ["hunter2"]}}})
    assert "hunter2" not in complaint({"account": {"pbx": {**GOOD, "pasword": "hunter2"}}})


def test_the_password_shows_in_no_text():
    assert "s3cr3t" not in repr(settings()) + str(settings()) + settings().model_dump_json()
    by_token = settings(password=None, token="s3cr3t-token")
    assert "s3cr3t" not in repr(by_token) + str(by_token) + by_token.model_dump_json()


def test_password_from_a_file(tmp_path):
    path = tmp_path / "pw"
    path.write_text("grüße\nsecond line\n")
    assert settings(password=None, password_file=str(path)).secret() == "grüße"
    path.write_text("other")
    assert settings(password=None, password_file=str(path)).secret() == "other"


def test_password_from_the_environment(monkeypatch):
    monkeypatch.setenv("PBX_PASSWORD", "from-env")
    assert settings(password=None, password_env="PBX_PASSWORD").secret() == "from-env"


def test_password_from_a_command_without_a_shell():
    account = settings(password=None, password_command=["printf", "%s\\n", "$HOME; echo x"])
    assert account.secret() == "$HOME; echo x"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"password_file": "/nowhere/pw"}, "No such file"),
        ({"password_env": "NOT_SET_AT_ALL"}, "environment variable NOT_SET_AT_ALL gives no password"),
        ({"password_command": []}, "empty"),
        ({"password_command": ["no-such-program-here"]}, "no program"),
        ({"password_command": ["sh", "-c", "echo hunter2; exit 3"]}, "exit code 3"),
        ({"password_command": ["true"]}, "gives no password"),
        ({"password_command": ["printf", "\\377"]}, "not UTF-8"),
    ],
)
def test_a_password_that_cannot_be_had(source, words):
    with pytest.raises(ConfigError, match=words) as caught:
        settings(password=None, **source).secret()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("secret", ["!", "~", "eyJhbGciOi.J9-_~+/==", "secret-token:Mjt4"])
def test_a_token_from_each_source(tmp_path, monkeypatch, secret):
    path = tmp_path / "token"
    path.write_text(f"{secret}\r\nmore\n")
    monkeypatch.setenv("PBX_TOKEN", secret)
    sources = {"token": secret, "token_file": path, "token_env": "PBX_TOKEN", "token_command": ["echo", secret]}
    for key, value in sources.items():
        account = parse({"account": {"pbx": {"jid": "a@b", key: value}}}, "f").account["pbx"]
        assert (account.sources, account.by_token, account.secret()) == ([key], True, secret)
    assert not settings().by_token


@pytest.mark.parametrize(
    "text", ["Bearer hunter2", "hunter2\x7f", "hunter2\x01host=x", "hunter2ü", ' "hunter2"', "\nhunter2"]
)
def test_what_is_no_token_is_not_repeated(tmp_path, text):
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    for source in ({"token_file": path}, {"token_command": ["cat", str(path)]}):
        account = parse({"account": {"pbx": {"jid": "a@b", **source}}}, "f").account["pbx"]
        with pytest.raises(ConfigError, match="gives no token") as caught:
            account.secret()
        assert "hunter2" not in str(caught.value)


def test_an_inline_token_must_be_one():
    with pytest.raises(ConfigError, match="token gives no token"):
        parse({"account": {"pbx": {"jid": "a@b", "token": "Bearer x"}}}, "f").account["pbx"].secret()


def test_a_secret_command_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr("agi_xmpp.config.secrets.SECRET_COMMAND_TIMEOUT", 0.05)
    with pytest.raises(ConfigError, match="within"):
        settings(password=None, password_command=["sleep", "60"]).secret()
