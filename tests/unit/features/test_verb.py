"""What all verbs have in common: names, accounts, times."""

from __future__ import annotations

import pytest

from agi_xmpp.errors import UnknownAccount, UsageError
from agi_xmpp.features import VERBS
from agi_xmpp.features.verb import Accounts, fold, parse_seconds
from agi_xmpp.quoting import MAX_SECONDS
from tests.unit.features.fakes import FakeSession


def test_names_fold():
    assert {fold(name) for name in ("jabber_send", "JabberSend", "JABBER_SEND")} == {"jabbersend"}


def test_no_two_verbs_have_one_name():
    assert len({verb.key for verb in VERBS}) == len(VERBS)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_clears_its_status_and_tells_its_usage(verb):
    assert verb.clears[verb.status] in ("ERROR", "")
    assert verb.clears["JABBER_ERROR"] == ""
    assert verb.usage.startswith(verb.name)
    for option in verb.options:
        assert f"{option}=" in verb.usage, option


def test_accounts_by_name():
    session = FakeSession()
    accounts = Accounts({"PBX": session})
    assert accounts["pbx"] is session
    assert accounts[" Pbx "] is session
    assert list(accounts) == [session]
    assert accounts.remove("pbx") is session
    with pytest.raises(UnknownAccount, match="the configuration has none"):
        accounts["pbx"]


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1.0), ("0.5", 0.5), (" 20 ", 20.0), (f"{MAX_SECONDS:.0f}", MAX_SECONDS)]
)
def test_seconds(text, value):
    assert parse_seconds(text, "timeout") == value


@pytest.mark.parametrize("text", ["", "x", "-1", "1e3", "inf", "nan", "0", "0.0", "86400.1", "1,5", "1" * 20])
def test_no_seconds(text):
    with pytest.raises(UsageError, match="timeout"):
        parse_seconds(text, "timeout")


def test_zero_where_it_makes_sense():
    assert parse_seconds("0", "timeout", zero=True) == 0.0
