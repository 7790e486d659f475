"""XEP-0334."""

from __future__ import annotations

import aioxmpp

from agi_xmpp.xmpp.xso import hints
from tests.unit.xmpp.parsing import message, written


def test_a_message_that_is_kept_nowhere() -> None:
    stanza = aioxmpp.Message(aioxmpp.MessageType.HEADLINE)
    assert "no-store" not in written(stanza)
    hints.do_not_store(stanza)
    assert '<no-store xmlns="urn:xmpp:hints"/>' in written(stanza)
    assert message("<no-store xmlns='urn:xmpp:hints'/>").xep0334_no_store


def test_a_message_that_is_kept() -> None:
    stanza = aioxmpp.Message(aioxmpp.MessageType.HEADLINE)
    hints.do_store(stanza)
    assert '<store xmlns="urn:xmpp:hints"/>' in written(stanza)
    assert message("<store xmlns='urn:xmpp:hints'/>").xep0334_store
