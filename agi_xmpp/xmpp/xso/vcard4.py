"""vCard4 over XMPP (XEP-0292): of all that it can hold, the name that people write out."""

from __future__ import annotations

import aioxmpp.pubsub.xso
from aioxmpp import xso

NAMESPACE = "urn:ietf:params:xml:ns:vcard-4.0"
#: Where people publish theirs (section 4.1).
NODE = "urn:xmpp:vcard4"


class FullName(xso.XSO):  # type: ignore[misc]
    """The formatted name (RFC 6351, RFC 6350 section 6.2.1)."""

    TAG = (NAMESPACE, "fn")
    text = xso.ChildText((NAMESPACE, "text"), default=None)


@aioxmpp.pubsub.xso.as_payload_class
class VCard4(xso.XSO):  # type: ignore[misc]
    """A vCard."""

    TAG = (NAMESPACE, "vcard")
    names = xso.ChildList([FullName])


def question() -> aioxmpp.pubsub.xso.Request:
    """Return what asks for somebody's vCard: the newest item of their node (XEP-0060 section 6.5.7)."""
    return aioxmpp.pubsub.xso.Request(aioxmpp.pubsub.xso.Items(NODE, max_items=1))


def vcards(answer: aioxmpp.pubsub.xso.Request) -> list[VCard4]:
    """Return the vCards in the answer to `question`; items that hold something else are passed over."""
    items = answer.payload.items if isinstance(answer.payload, aioxmpp.pubsub.xso.Items) else []
    return [item.registered_payload for item in items if isinstance(item.registered_payload, VCard4)]
