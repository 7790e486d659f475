"""Temporary presence (XEP-0276): a presence that asks its addressee to show theirs for a moment.

The protocol has changed its name twice. We write the two names that have a place in the XEP, and read all three.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import aioxmpp
from aioxmpp import xso

#: Version 0.1.
NAMESPACE = "urn:xmpp:temppres:0"
#: Since version 0.2.
DECLOAK = "urn:xmpp:decloak:0"
#: Before there was a XEP (its version 0.1, section 1).
TELEPATHY = "http://telepathy.freedesktop.org/xmpp/protocol/decloak"

#: Characters of a reason: the longest one that the XEP defines has five.
REASON_LENGTH = 40


class _Request(xso.XSO):  # type: ignore[misc]
    """What the presence is wanted for (section 5): ``media``, ``text``, ``file``, or any other text."""

    reason = xso.Attr("reason", default=None)

    def __init__(self, reason: str | None = None) -> None:
        super().__init__()
        self.reason = reason


class Temppres(_Request):
    """The request under its first name."""

    TAG = (NAMESPACE, "temppres")


class Decloak(_Request):
    """The request under its present name."""

    TAG = (DECLOAK, "decloak")


class TelepathyDecloak(_Request):
    """The request as Telepathy had it."""

    TAG = (TELEPATHY, "decloak")


class TelepathyTemppres(_Request):
    """The same; the XEP names the namespace and not the element."""

    TAG = (TELEPATHY, "temppres")


aioxmpp.Presence.xep0276_requests = xso.ChildList([Temppres, Decloak, TelepathyDecloak, TelepathyTemppres])


def add_request(presence: Any, reason: str) -> None:
    """Ask by that presence for that of its addressee."""
    presence.xep0276_requests.extend((Temppres(reason), Decloak(reason)))


def reason(requests: Iterable[Any]) -> str | None:
    """Return what a presence is wanted for, as it was written; "" if it is not said, None if nothing is asked for."""
    found = None
    for request in requests:
        found = found or (request.reason or "")[:REASON_LENGTH]
    return found
