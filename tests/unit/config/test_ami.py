"""``[ami]``: what is right, and what is said about everything else."""

from __future__ import annotations

import pytest

from agi_xmpp.config import parse
from agi_xmpp.errors import ConfigError

AMI = {"username": "agi-xmpp", "password": "s3cr3t-word"}


def ami(**keys):
    found = parse({"ami": {**AMI, **keys}}, "f.toml").ami
    assert found is not None
    return found


def complaint(data):
    with pytest.raises(ConfigError) as caught:
        parse(data, "f.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"ami": {**AMI, "usrname": "x"}}, ["ami.usrname: unknown key", "did you mean username?"]),
        ({"ami": {**AMI, "tls": "starttls"}}, ["ami.tls", "'none' or 'direct'"]),
        ({"ami": {"password": "x"}}, ["ami.username: is missing"]),
        ({"ami": {"username": "x"}}, ["ami: needs exactly one of password"]),
        ({"ami": {**AMI, "password_env": "X"}}, ["exactly one of", "not password and password_env"]),
        ({"ami": {"username": "x", "password": "change-me"}}, ["still the one of the example"]),
        ({"ami": {**AMI, "username": ""}}, ["ami.username"]),
        ({"ami": {**AMI, "username": "a\r\nb"}}, ["ami.username"]),
        ({"ami": {**AMI, "username": "a\0b"}}, ["ami.username"]),
        ({"ami": {**AMI, "host": "10.0.0.1"}}, ["read who calls whom", "accept_unencrypted"]),
        ({"ami": {**AMI, "host": "pbx.example.org"}}, ["accept_unencrypted = true"]),
        ({"ami": {**AMI, "accept_any_certificate": True, "ca_file": "/x"}}, ["ca_file has no effect"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_mistake_is_named(data, words):
    text = complaint(data)
    for word in words:
        assert word in text
    assert text.startswith("f.toml: ")


def test_the_manager_connection_without_options():
    found = ami()
    assert (found.host, found.port, found.tls, found.secret()) == ("127.0.0.1", 5038, "none", "s3cr3t-word")
    assert "s3cr3t" not in repr(found) + str(found) + found.model_dump_json()
    assert parse({}, "f.toml").ami is None


@pytest.mark.parametrize(
    "keys",
    [
        {"host": "::1"},
        {"host": "localhost"},
        {"host": "10.0.0.1", "tls": "direct"},
        {"host": "10.0.0.1", "accept_unencrypted": True},
    ],
)
def test_the_manager_connection_is_encrypted_unless_it_stays_here_or_somebody_says_so(keys):
    assert ami(**keys).host == keys["host"]


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("port", 1, 65535),
        ("connect_timeout", 1, 600),
        ("action_timeout", 1, 600),
        ("keepalive", 1, 3600),
        ("keepalive_timeout", 1, 600),
        ("retry_max", 1, 3600),
        ("login_retry", 1, 86400),
    ],
)
def test_limits_of_the_manager_connection_hold_at_both_ends(key, low, high):
    for value in (low, high):
        assert getattr(ami(**{key: value}), key) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=key):
            ami(**{key: value})


@pytest.mark.parametrize("length", [79, 80])
def test_a_manager_users_name_up_to_the_limit(length):
    assert ami(username="n" * length).username == "n" * length


def test_a_manager_users_name_over_the_limit():
    with pytest.raises(ConfigError, match=r"ami\.username"):
        ami(username="n" * 81)


def test_the_manager_users_secret_is_read_anew(tmp_path):
    path = tmp_path / "secret"
    path.write_text("one\n")
    settings = ami(password=None, password_file=str(path))
    assert settings.secret() == "one"
    path.write_text("two\n")
    assert settings.secret() == "two"
