"""The configuration file: what is right, and what is said about everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from agi_xmpp.config import AccountSettings, load, parse
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


def test_an_empty_file_is_a_working_server_without_accounts():
    empty = parse({}, "f.toml")
    assert empty.account == {}
    assert empty.agi.port == 4573
    assert empty.agi.listen == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"agj": {}}, ["agj: unknown key", "did you mean agi?"]),
        ({"agi": {"prot": 1}}, ["agi.prot: unknown key", "did you mean port?"]),
        ({"agi": {"zzz": 1}}, ["agi.zzz: unknown key", "known here:", "max_sessions"]),
        ({"agi": {"script": [{"path": "a", "callabel": "m:f"}]}}, ["agi.script.0.callabel", "did you mean callable?"]),
        (
            {"account": {"pbx": {**GOOD, "passwrd": "x"}}},
            ["account.pbx.passwrd: unknown key", "did you mean password?"],
        ),
        ({"account": {"pbx": {"password": "x"}}}, ["account.pbx.jid: is missing"]),
        ({"agi": {"port": 65536}}, ["agi.port", "65535"]),
        ({"agi": {"port": -1}}, ["agi.port"]),
        ({"agi": {"allow": ["10.0.0.0/33"]}}, ["agi.allow.0"]),
        ({"agi": {"max_sessions": 0}}, ["agi.max_sessions"]),
        ({"log": {"level": "loud"}}, ["log.level"]),
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
        ({"account": {"pbx": GOOD, "PBX": GOOD}}, ["differ in case only"]),
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
        (
            {"account": {"a": COMPONENT, "b": {**COMPONENT, "jid": "agi@Phone.example.org/x"}}},
            ["accounts 'a' and 'b' are both the component phone.example.org"],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_mistake_is_named(data, words):
    text = complaint(data)
    for word in words:
        assert word in text
    assert text.startswith("f.toml: ")


def test_all_mistakes_are_named_at_once():
    assert len(complaint({"agi": {"prot": 1}, "log": {"level": "x"}}).splitlines()) == 2


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


def test_a_wrong_value_is_not_repeated_when_it_may_be_a_secret():
    assert "hunter2" not in complaint({"account": {"pbx": {"jid": "a@b", "password": ["hunter2"]}}})
    assert "hunter2" not in complaint({"account": {"pbx": {**GOOD, "pasword": "hunter2"}}})


def test_the_password_shows_in_no_text():
    assert "s3cr3t" not in repr(settings()) + str(settings()) + settings().model_dump_json()
    by_token = settings(password=None, token="s3cr3t-token")
    assert "s3cr3t" not in repr(by_token) + str(by_token) + by_token.model_dump_json()


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


AMI = {"username": "agi-xmpp", "password": "s3cr3t-word"}
PHONE = {"account": "pbx", "context": "internal"}
ALICE = "alice@example.org"


def ami(**keys):
    found = parse({"ami": {**AMI, **keys}}, "f.toml").ami
    assert found is not None
    return found


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
        ({"phone": {**PHONE, "ring_tme": 1}}, ["phone.ring_tme: unknown key", "did you mean ring_time?"]),
        ({"phone": {**PHONE, "book": {"contry": "DE"}}}, ["phone.book.contry", "did you mean country?"]),
        (
            {"phone": {**PHONE, "user": {ALICE: {"device": ["PJSIP/101"]}}}},
            [f"phone.user.{ALICE}.device: unknown key", "did you mean devices?"],
        ),
        ({"state": {"dirctory": "/x"}}, ["state.dirctory: unknown key", "did you mean directory?"]),
        ({"stat": {}}, ["stat: unknown key", "did you mean state?"]),
        ({"fone": {}}, ["fone: unknown key", "did you mean phone?"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_mistake_of_the_phone_protocols_sections_is_named(data, words):
    text = complaint(data)
    for word in words:
        assert word in text


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
