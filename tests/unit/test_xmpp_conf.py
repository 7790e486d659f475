"""xmpp.conf and jabber.conf become our configuration."""

from __future__ import annotations

import pytest

from agi_xmpp.config import load
from agi_xmpp.errors import ConfigError
from agi_xmpp.xmpp_conf import _ACCOUNT, _GENERAL, _SECRETS, convert, read

#: As in Asterisk's own sample, with everything in it that the format allows.
SAMPLE = r"""
[general]
autoregister=yes ; comment
autoprune=yes
collection_nodes=no
;-- a comment
over lines [not a section] --;
[defaults](!)
type=client
serverhost => xmpp.example.org
[asterisk-xmpp](defaults)
username = asterisk@example.org/pbx
secret = pass\;word "quoted" ;--- the end
port=5222
usetls=yes
usesasl=yes
buddy=bob@example.org
buddy=ann@example.org
buddy=bob@example.org
buddy=nonsense
status=xaway
statusmessage="I am available"
timeout=7
priority=3
sendtodialplan=yes
context=inbound
distribute_events=no
"""


def imported(tmp_path, text):
    path = tmp_path / "xmpp.conf"
    path.write_text(text)
    result = convert(read(path))
    (tmp_path / "ours.toml").write_text(result.toml)
    return load(tmp_path / "ours.toml"), result


def account(tmp_path, *lines, general=""):
    text = (
        f"[general]\n{general}\n[pbx]\nusername=a@example.org\nsecret=abc-1\nserverhost=xmpp.example.org\n"
        + "\n".join(lines)
    )
    settings, result = imported(tmp_path, text)
    return settings.account["pbx"], result


def test_the_sample(tmp_path):
    settings, result = imported(tmp_path, SAMPLE)
    pbx = settings.account["asterisk-xmpp"]
    assert pbx.jid == "asterisk@example.org/pbx"
    assert pbx.secret() == 'pass;word "quoted"'
    assert pbx.server == "xmpp.example.org"
    assert pbx.tls == "starttls"
    assert pbx.buddies == ["bob@example.org", "ann@example.org"]
    assert (pbx.show, pbx.status, pbx.priority, pbx.message_ttl) == ("xa", '"I am available"', 3, 7)
    assert pbx.subscriptions == "accept"
    told = "\n".join(result.notes)
    for option in ("autoprune", "sendtodialplan", "context", "distribute_events", "buddy = nonsense", "certificate"):
        assert option in told, option
        assert option in result.toml, option
    assert "pass;word" not in told


def test_every_option_that_the_original_reads_is_carried_over_or_explained(tmp_path):
    # The option tables of load_module() in res_xmpp.c 22.10.1 and of res_jabber.c 1.8.
    assert set(_GENERAL) == {
        "debug",
        "autoprune",
        "autoregister",
        "auth_policy",
        "collection_nodes",
        "pubsub_autocreate",
    }
    options = """
        username secret refresh_token oauth_clientid oauth_secret serverhost port statusmessage pubsub_node context
        priority timeout debug type distribute_events usetls usesasl forceoldssl keepalive autoprune autoregister
        auth_policy sendtodialplan status buddy
    """
    assert set(_ACCOUNT) == set(options.split())


@pytest.mark.parametrize("option", sorted(name for name, reason in _ACCOUNT.items() if reason))
def test_what_is_left_out_is_said(tmp_path, option):
    _, result = account(tmp_path, f"{option}=yes")
    value = "…" if option in _SECRETS else "yes"
    assert any(f"pbx: {option} = {value} left out:" in note for note in result.notes)


@pytest.mark.parametrize("option", ["oauth_secret", "refresh_token", "secrets", "sercet", "password", "passwd"])
def test_no_secret_is_told(tmp_path, option):
    _, result = account(tmp_path, f"{option}=hunter2")
    assert any(option in note for note in result.notes)
    assert "hunter2" not in "\n".join(result.notes) + result.toml


@pytest.mark.parametrize("lines", ["", "serverhost=127.0.0.1\nusetls=no\n"])
def test_an_account_with_a_refresh_token_is_led_to_a_token_command(tmp_path, lines):
    text = "[pbx]\nusername=a@example.org\nrefresh_token=hunter2\noauth_clientid=hunter3\noauth_secret=hunter4\n"
    settings, result = imported(tmp_path, text + lines)
    pbx = settings.account["pbx"]
    assert (pbx.token_command, pbx.tls) == (["/etc/agi-xmpp/pbx.token-command"], "starttls")
    told = "\n".join(result.notes)
    assert "pbx: has a refresh_token and no secret; write a program /etc/agi-xmpp/pbx.token-command" in told
    assert ("usetls = no is not carried over: a token" in told) is bool(lines)
    assert "hunter" not in told + result.toml


def test_a_component_has_no_token(tmp_path):
    settings, _ = imported(tmp_path, COMPONENT.replace("secret=abc-1", "refresh_token=x"))
    assert settings.account["c"].sources == ["password_file"]


def test_no_secret_stands_in_the_complaint_about_its_line(tmp_path):
    with pytest.raises(ConfigError, match="begins with 'secret' is no setting") as caught:
        account(tmp_path, "secret hunter2")
    assert "hunter2" not in str(caught.value)


def test_an_option_that_never_was_is_said(tmp_path):
    _, result = account(tmp_path, "colour=blue")
    assert any("colour" in note and "no option" in note for note in result.notes)


@pytest.mark.parametrize(
    ("lines", "key", "value"),
    [
        ([], "jid", "a@example.org/asterisk-xmpp"),
        (["port=5299"], "port", 5299),
        (["port=5222"], "port", None),
        (["port=5223"], "tls", "direct"),
        (["usetls=no"], "tls", "starttls"),
        (["usetls=no", "serverhost=127.0.0.1"], "tls", "none"),
        (["autoregister=no"], "subscriptions", "deny"),
        (["autoregister=no"], "subscribe", False),
        (["autoregister=1"], "subscriptions", "accept"),
        (["auth_policy=deny"], "subscriptions", "deny"),
        ([], "subscriptions", "buddies"),
        (["status=invisible"], "show", "dnd"),
        (["status=bogus"], "show", "online"),
        (["timeout=0"], "message_ttl", 0),
    ],
)
def test_one_option(tmp_path, lines, key, value):
    settings, _ = account(tmp_path, *lines)
    assert getattr(settings, key) == value


def test_general_options_hold_for_accounts_that_say_nothing(tmp_path):
    assert account(tmp_path, general="autoregister=no")[0].subscriptions == "deny"
    assert account(tmp_path, "autoregister=yes", general="autoregister=no")[0].subscriptions == "accept"


def test_debug_is_for_the_whole_service(tmp_path):
    settings, _ = imported(tmp_path, "[general]\ndebug=yes\n[p]\nusername=a@b.c\nsecret=abc-1\nserverhost=h\n")
    assert settings.log.level == "debug"


COMPONENT = "[c]\ntype=component\nusername=pbx.example.org\nsecret=abc-1\n"


def test_a_component_stays_one(tmp_path):
    settings, result = imported(tmp_path, COMPONENT + "serverhost=127.0.0.1\nport=5347\nusetls=no\nbuddy=bob@x.org\n")
    component = settings.account["c"]
    assert (component.type, component.jid, component.secret()) == ("component", "pbx.example.org", "abc-1")
    assert (component.server, component.port, component.tls) == ("127.0.0.1", 5347, "none")
    assert component.buddies == ["bob@x.org"]
    assert not any("certificate" in note or "port" in note for note in result.notes)


def test_a_component_s_server_on_another_machine_is_named(tmp_path):
    settings, result = imported(tmp_path, COMPONENT + "serverhost=xmpp.example.org\nport=5275\n")
    assert settings.account["c"].accept_unencrypted
    assert any(note.startswith("c: the connection to another machine is not encrypted") for note in result.notes)


def test_what_a_component_does_not_say(tmp_path):
    settings, result = imported(tmp_path, COMPONENT + "priority=5\n")
    component = settings.account["c"]
    assert (component.server, component.port, "priority" in component.model_fields_set) == ("127.0.0.1", None, False)
    for word in ("has no serverhost", "5347 is used", "priority is left out"):
        assert any(word in note for note in result.notes), word
    settings, _ = imported(tmp_path, COMPONENT + "port=5275\n")
    assert (settings.account["c"].server, settings.account["c"].port) == ("127.0.0.1", 5275)


def test_include(tmp_path):
    (tmp_path / "more.conf").write_text("secret=from-include\n")
    settings, _ = imported(tmp_path, '[p]\nusername=a@b.c\n#include "more.conf"\n')
    assert settings.account["p"].secret() == "from-include"


def test_a_section_goes_on_later(tmp_path):
    settings, _ = imported(tmp_path, "[p]\nusername=a@b.c\n[q]\nusername=d@b.c\nsecret=abc-1\n[p](+)\nsecret=abc-2\n")
    assert settings.account["p"].secret() == "abc-2"


def test_text_in_latin_1(tmp_path):
    path = tmp_path / "xmpp.conf"
    path.write_bytes("[p]\nusername=a@b.c\nsecret=gr\xfc\xdfe\n".encode("latin-1"))
    assert 'password = "grüße"' in convert(read(path)).toml


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("username=a@b\n", "line 1.*before the first"),
        ("[p]\nnonsense\n", "line 2.*no setting"),
        ("[p\n", "line 1.*no .section."),
        ("[p](base)\n", "no section 'base'"),
        ("[p]\n#exec rm -rf /\n", "#exec is not run"),
        ("[p]\n#include nowhere.conf\n", "nowhere.conf does not exist"),
        ("[p]\n#include xmpp.conf\n", "nested more than 10"),
        ("[general]\n", "no account"),
        ("[p]\nusername=x@b.c\nsecret=change-me\n", "still the one of the example"),
        ("[p]\nusername=x@b.c\nsecret=abc-1\npriority=high\n", "priority = 'high' is no number"),
    ],
)
def test_what_cannot_be_imported(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        imported(tmp_path, text)
