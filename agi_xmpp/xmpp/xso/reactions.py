"""Reactions (XEP-0444): emoji that somebody put on a message."""

from __future__ import annotations

import aioxmpp
from aioxmpp import xso

NAMESPACE = "urn:xmpp:reactions:0"


class Reaction(xso.XSO):  # type: ignore[misc]
    """One emoji."""

    TAG = (NAMESPACE, "reaction")
    text = xso.Text(default="")


class Reactions(xso.XSO):  # type: ignore[misc]
    """All emoji of the sender on the message ``id``; none, when the last one was taken back."""

    TAG = (NAMESPACE, "reactions")
    id_ = xso.Attr("id", default=None)
    reactions = xso.ChildList([Reaction])


aioxmpp.Message.xep0444_reactions = xso.Child([Reactions])
