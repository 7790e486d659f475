"""vCard4 over XMPP (XEP-0292): of all that it can hold, the name that people write out."""

from __future__ import annotations

import aioxmpp
from aioxmpp import xso

NAMESPACE = "urn:ietf:params:xml:ns:vcard-4.0"


class FullName(xso.XSO):  # type: ignore[misc]
    """The formatted name (RFC 6351, RFC 6350 section 6.2.1)."""

    TAG = (NAMESPACE, "fn")
    text = xso.ChildText((NAMESPACE, "text"), default=None)


@aioxmpp.IQ.as_payload_class
class VCard4(xso.XSO):  # type: ignore[misc]
    """A vCard; empty, it asks for one."""

    TAG = (NAMESPACE, "vcard")
    names = xso.ChildList([FullName])
