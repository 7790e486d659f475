"""The inline list of commands."""

from __future__ import annotations

from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.model import Button, Extras, Jid
from agi_xmpp.xmpp.xso.command_list import COMMANDS
from tests.unit.xmpp.parsing import OWN, incoming, message, written


def test_each_button_is_a_command_at_our_full_address():
    extras = Extras((Button("1", "Cell", "n/1"), Button("2", "Desk", "n/2")))
    stanza = stanzas.chat("m", Jid("bob", "x.org"), "q", "", wants_receipt=False, extras=extras, own=OWN)
    query = message(written(stanza).partition(">")[2].removesuffix("</message>")).command_list
    assert query.node == COMMANDS
    assert [(str(item.jid), item.node, item.name) for item in query.items] == [
        ("pbx@x.org/agi", "n/1", "Cell"),
        ("pbx@x.org/agi", "n/2", "Desk"),
    ]


def test_somebody_elses_list_does_not_harm():
    assert incoming("<body>1</body><query xmlns='http://jabber.org/protocol/disco#items'><item/></query>").body == "1"
