"""``[account.NAME]``: what is right, and what is said about everything else."""

from __future__ import annotations

import pytest

from agi_xmpp.config import parse
from agi_xmpp.errors import ConfigError

ROOM = "team@rooms.x.org"
GOOD = {"jid": "asterisk@example.org", "password": "s3cr3t-word"}
TOKEN = {"jid": "asterisk@example.org", "token": "s3cr3t-token"}
COMPONENT = {"type": "component", "jid": "phone.example.org", "password": "s3cr3t-word"}


def settings(**account):
    return parse({"account": {"pbx": {**GOOD, **account}}}, "f.toml").account["pbx"]


def complaint(data):
    with pytest.raises(ConfigError) as caught:
        parse(data, "f.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"account": {"pbx": {**GOOD, "passwrd": "x"}}},
            ["account.pbx.passwrd: unknown key", "did you mean password?"],
        ),
        ({"account": {"pbx": {"password": "x"}}}, ["account.pbx.jid: is missing"]),
        ({"account": {"pbx": {"jid": "asterisk"}}}, ["is not a Jabber ID"]),
        (
            {"account": {"pbx": {"jid": "a@b", "password": "x", "password_env": "Y"}}},
            ["exactly one of", "password_env"],
        ),
        (
            {"account": {"pbx": {"jid": "a@b"}}},
            ["exactly one of", "password_command, token, token_file, token_env and"],
        ),
        ({"account": {"pbx": {**GOOD, "token_file": "/x"}}}, ["exactly one of", "not password and token_file"]),
        ({"account": {"pbx": {**TOKEN, "token_env": "X"}}}, ["exactly one of", "not token and token_env"]),
        (
            {"account": {"pbx": {**TOKEN, "tls": "none", "server": "127.0.0.1"}}},
            ["a token is sent on an encrypted connection only"],
        ),
        ({"account": {"pbx": {**TOKEN, "tokn_file": "/x"}}}, ["unknown key; did you mean token_file?"]),
        ({"account": {"pbx": {**GOOD, "room": {ROOM: {"token": "a"}}}}}, ["token: unknown key"]),
        ({"account": {"pbx": {"jid": "a@b", "password": "change-me"}}}, ["still the one of the example"]),
        ({"account": {"pbx": {**GOOD, "port": 5222}}}, ["port needs server"]),
        ({"account": {"pbx": {**GOOD, "tls": "none"}}}, ['tls = "none"', "this machine"]),
        ({"account": {"pbx": {**GOOD, "tls": "none", "server": "10.0.0.1"}}}, ['tls = "none"']),
        ({"account": {"pbx": {**GOOD, "tls": "none", "server": "localhost.evil.example"}}}, ['tls = "none"']),
        ({"account": {"pbx": {**GOOD, "priority": 128}}}, ["priority"]),
        ({"account": {"pbx": {**GOOD, "buddies": ["bob"]}}}, ["'bob' is not a Jabber ID"]),
        (
            {"account": {"pbx": {**GOOD, "decloak_answer": ["a@b/c"]}}},
            ["'a@b/c' is neither a bare Jabber ID", "domain"],
        ),
        (
            {"account": {"pbx": {**GOOD, "decloak_answer": ["*"], "decloak_reason": []}}},
            ["did you mean decloak_reasons?"],
        ),
        ({"account": {"pbx": {**GOOD, "decloak_answer": ["x.org", "*"]}}}, ["'*' is neither"]),
        ({"account": {"pbx": {**GOOD, "decloak_reasons": [""]}}}, ["account.pbx.decloak_reasons"]),
        ({"account": {"pbx": {**GOOD, "accept_any_certificate": True, "ca_file": "/x"}}}, ["ca_file has no effect"]),
        ({"account": {"pbx": {**GOOD, "room": {ROOM: {"nik": "x"}}}}}, ["account.pbx.room", "did you mean nick?"]),
        ({"account": {"pbx": {**GOOD, "room": {ROOM: {"password": "a", "password_env": "B"}}}}}, ["one password"]),
        ({"account": {"pbx": {**GOOD, "room": {"rooms.x.org": {}}}}}, ["'rooms.x.org' is not a room"]),
        ({"account": {"pbx": {**GOOD, "room": {f"{ROOM}/nick": {}}}}}, ["is not a room such as"]),
        ({"account": {"pbx": {**GOOD, "room": {ROOM: {}, ROOM.upper(): {}}}}}, ["differ in case only"]),
        ({"account": {"room": {**GOOD, "roam": 1}}}, ["did you mean room?"]),
        ({"account": {"a,b": GOOD}}, ["account.a,b"]),
        ({"account": {"pbx": {**GOOD, "type": "bot"}}}, ["account.pbx.type", "'client' or 'component'"]),
        ({"account": {"pbx": {**GOOD, "accept_unencrypted": True}}}, ['for type = "component" only']),
        ({"account": {"pbx": {**GOOD, "domain": "x.org"}}}, ["domain is for type"]),
        ({"account": {"pbx": {**COMPONENT, "jid": "a b.org"}}}, ["account.pbx.jid: ", "is neither a Jabber ID"]),
        ({"account": {"pbx": {**COMPONENT, "jid": "a@"}}}, ["account.pbx.jid: ", "is neither a Jabber ID"]),
        ({"account": {"pbx": {**COMPONENT, "tls": "starttls"}}}, ["no STARTTLS"]),
        ({"account": {"pbx": {**COMPONENT, "server": "10.0.0.1"}}}, ['tls = "none"', "accept_unencrypted = true"]),
        ({"account": {"pbx": {**COMPONENT, "priority": 1}}}, ["priority has no effect on a component"]),
        ({"account": {"pbx": {**COMPONENT, "resume_timeout": 0}}}, ["resume_timeout has no effect on a component"]),
        ({"account": {"pbx": {**COMPONENT, "password_env": "Y"}}}, ["exactly one of"]),
        (
            {"account": {"pbx": {"type": "component", "jid": "x.org", "token_command": ["x"]}}},
            ["token_command is for clients"],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_mistake_is_named(data, words):
    text = complaint(data)
    for word in words:
        assert word in text
    assert text.startswith("f.toml: ")


def test_a_component_connects_to_this_machine_without_tls():
    component = settings(**COMPONENT)
    assert (component.is_component, component.server, component.port, component.tls) == (
        True,
        "127.0.0.1",
        None,
        "none",
    )
    assert settings().is_component is False


@pytest.mark.parametrize("jid", ["phone.example.org", "pbx@phone.example.org", "pbx@phone.example.org/desk", "x/y"])
def test_a_component_s_address_needs_no_local_part(jid):
    assert settings(**COMPONENT | {"jid": jid}).jid == jid


@pytest.mark.parametrize("how", [{"tls": "direct"}, {"accept_unencrypted": True}])
def test_a_component_of_another_machine_s_server(how):
    assert settings(**COMPONENT, server="10.0.0.1", **how).server == "10.0.0.1"


@pytest.mark.parametrize("server", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_no_tls_is_allowed_on_this_machine(server):
    assert settings(tls="none", server=server).tls == "none"


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [("priority", -128, 127), ("message_limit", 1, 10_000), ("keepalive", 1, 3600), ("room_limit", 1, 10_000)],
)
def test_limits_hold_at_both_ends(key, low, high):
    for value in (low, high):
        assert getattr(settings(**{key: value}), key) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=key):
            settings(**{key: value})


def test_rooms():
    rooms = settings(room={ROOM: {"nick": "Front desk", "password": "s3cr3t"}, "second@x.org": {"join": False}}).room
    assert (rooms[ROOM].nick, rooms[ROOM].join, rooms[ROOM].secret()) == ("Front desk", True, "s3cr3t")
    assert (rooms["second@x.org"].nick, rooms["second@x.org"].join, rooms["second@x.org"].sources) == ("", False, [])
    assert "s3cr3t" not in repr(rooms)


@pytest.mark.parametrize("length", [1022, 1023])
def test_nicks_up_to_the_limit(length):
    assert settings(room={ROOM: {"nick": "n" * length}}).room[ROOM].nick == "n" * length


def test_a_nick_over_the_limit():
    with pytest.raises(ConfigError, match="nick"):
        settings(room={ROOM: {"nick": "n" * 1024}})
