"""Message processing hints (XEP-0334): whether servers keep a message."""

from __future__ import annotations

from typing import Any

import aioxmpp
from aioxmpp import xso

NAMESPACE = "urn:xmpp:hints"

aioxmpp.Message.xep0334_no_store = xso.ChildFlag((NAMESPACE, "no-store"))
aioxmpp.Message.xep0334_store = xso.ChildFlag((NAMESPACE, "store"))


def do_not_store(message: Any) -> None:
    """Ask that a message is kept nowhere: neither in an archive nor for who is offline (section 4.2)."""
    message.xep0334_no_store = True


def do_store(message: Any) -> None:
    """Ask that a message is kept although messages of its type are not (section 4.4)."""
    message.xep0334_store = True
