"""Replies (XEP-0461): which message another one answers."""

from __future__ import annotations

import aioxmpp
from aioxmpp import xso

NAMESPACE = "urn:xmpp:reply:0"


class Reply(xso.XSO):  # type: ignore[misc]
    """Names the message that this one answers.

    The ``to`` attribute is not read: whom the message was sent to is known from its id.
    """

    TAG = (NAMESPACE, "reply")
    id_ = xso.Attr("id", default=None)


aioxmpp.Message.xep0461_reply = xso.Child([Reply])
