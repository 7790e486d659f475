"""Quick responses (XEP-0439): buttons below a message, each of which sends a text."""

from __future__ import annotations

import aioxmpp
from aioxmpp import xso

NAMESPACE = "urn:xmpp:tmp:quick-response"


class Response(xso.XSO):  # type: ignore[misc]
    """A button: ``value`` is sent as the body of a message, ``label`` is shown."""

    TAG = (NAMESPACE, "response")
    value = xso.Attr("value")
    label = xso.Attr("label", default=None)

    def __init__(self, value: str, label: str) -> None:
        super().__init__()
        self.value = value
        self.label = label


class ActionSelected(xso.XSO):  # type: ignore[misc]
    """Somebody pressed a button that stands for an id rather than for a text."""

    TAG = (NAMESPACE, "action-selected")
    id_ = xso.Attr("id", default=None)


aioxmpp.Message.xep0439_responses = xso.ChildList([Response])
aioxmpp.Message.xep0439_action_selected = xso.Child([ActionSelected])
