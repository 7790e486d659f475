"""Replies (XEP-0461): which message another one answers."""

from __future__ import annotations

import aioxmpp
from aioxmpp import xso

NAMESPACE = "urn:xmpp:reply:0"


class Reply(xso.XSO):  # type: ignore[misc]
    """Names the message that this one answers.

    The ``to`` attribute (whose message it is) is written only: whom a message was sent to is known from its id, and a
    text that is no JID does no harm.
    """

    TAG = (NAMESPACE, "reply")
    id_ = xso.Attr("id", default=None)
    to = xso.Attr("to", default=None)


aioxmpp.Message.xep0461_reply = xso.Child([Reply])
