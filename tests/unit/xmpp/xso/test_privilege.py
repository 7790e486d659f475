"""XEP-0356: what a server grants."""

from __future__ import annotations

import pytest

from agi_xmpp.xmpp.xso.privilege import may_set
from tests.unit.xmpp.parsing import message

PUBSUB = "http://jabber.org/protocol/pubsub"


def grant(inner: str) -> bool:
    stanza = message(f"<privilege xmlns='urn:xmpp:privilege:2'>{inner}</privilege>", "")
    return may_set(stanza.xep0356_privilege, PUBSUB)


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (f"<perm access='iq'><namespace ns='{PUBSUB}' type='set'/></perm>", True),
        (f"<perm access='iq'><namespace ns='{PUBSUB}' type='both'/></perm>", True),
        (f"<perm access='roster' type='get'/><perm access='iq'><namespace ns='{PUBSUB}' type='both'/></perm>", True),
        (f"<perm access='iq'><namespace ns='x' type='get'/><namespace ns='{PUBSUB}' type='set'/></perm>", True),
        (f"<perm access='iq'><namespace ns='{PUBSUB}' type='get'/></perm>", False),
        (f"<perm access='roster'><namespace ns='{PUBSUB}' type='set'/></perm>", False),
        ("<perm access='iq'><namespace ns='jabber:iq:roster' type='set'/></perm>", False),
        ("<perm access='iq' type='set'/>", False),
        ("<perm/>", False),
        ("text<perm access='iq'>text<namespace/></perm><what/>", False),
        ("", False),
    ],
)
def test_what_is_granted(inner: str, expected: bool) -> None:
    assert grant(inner) is expected
