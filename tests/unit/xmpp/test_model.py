"""The plain data that the rest of the package sees of XMPP."""

from __future__ import annotations

import dataclasses

import pytest

from agi_xmpp.xmpp.client import ClientSession
from agi_xmpp.xmpp.model import IncomingMessage, Jid, Presence, SessionInfo, SessionState, Show

BOB = Jid("bob", "x.org", "pc")


@pytest.mark.parametrize(
    ("jid", "text"),
    [(BOB, "bob@x.org/pc"), (BOB.bare, "bob@x.org"), (Jid("", "x.org"), "x.org"), (Jid("", "x.org", "r"), "x.org/r")],
)
def test_a_jid_as_text(jid, text):
    assert str(jid) == text


def test_bare_and_full():
    assert (BOB.is_bare, BOB.bare.is_bare) == (False, True)
    assert BOB.bare.bare is BOB.bare or BOB.bare.bare == BOB.bare
    assert Jid("bob", "x.org") != Jid("bob", "x.org.evil")


def test_the_numbers_are_those_of_res_jabber():
    numbers = {"ONLINE": 1, "CHAT": 2, "AWAY": 3, "XA": 4, "DND": 5, "OFFLINE": 6, "NOT_IN_ROSTER": 7}
    assert {show.name: int(show) for show in Show} == numbers


@pytest.mark.parametrize(
    "value",
    [
        BOB,
        Presence(Show.ONLINE),
        IncomingMessage(BOB, "hi", "chat", "1", "", 0.0, 0.0),
        SessionInfo("pbx", "a@x.org", SessionState.ONLINE, 0.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nobody_changes_it(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)


def test_the_client_session_is_a_session():
    """mypy compares the signatures; here, that none is forgotten."""
    from agi_xmpp.xmpp.model import Session

    wanted = {name for name in vars(Session) if not name.startswith("_")}
    assert wanted <= set(dir(ClientSession))
