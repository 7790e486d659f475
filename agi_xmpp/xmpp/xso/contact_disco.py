"""Contact discovery (``urn:xmpp:contact-disco:0``): which numbers and mail addresses belong to people with a Jabber ID.

The same elements are a request (in an IQ) and an answer (in a headline message).
"""

from __future__ import annotations

from typing import Any

import aioxmpp
from aioxmpp import xso

NAMESPACE = "urn:xmpp:contact-disco:0"

#: Of our own mark, which the protocol does not have.
HOP_NAMESPACE = "agi-xmpp:contact-disco"


class _Tolerant(xso.XSO, protect=False):  # type: ignore[call-arg, misc]
    """Taken as it comes: what is wrong with it is told only to who may ask.

    Attributes:
        is_broken: there was something in it that makes no sense.
    """

    is_broken = False

    def xso_error_handler(self, _descriptor: Any, _event: Any, _exception: Any) -> bool:
        """Note that something could not be read, and go on."""
        self.is_broken = True
        return True


class Discovery(_Tolerant):
    """Somebody behind an address, as a URI: ``xmpp:juliet@capulet.lit``."""

    TAG = (NAMESPACE, "discovery")
    uri = xso.Attr("uri", default=None)

    def __init__(self, uri: str | None = None) -> None:
        super().__init__()
        self.uri = uri


class Address(_Tolerant):
    """An address; in an answer with those who were found behind it."""

    TAG = (NAMESPACE, "address")
    uri = xso.Attr("uri", default=None)
    discoveries = xso.ChildList([Discovery])

    def __init__(self, uri: str | None = None) -> None:
        super().__init__()
        self.uri = uri


class Contact(_Tolerant):
    """An entry of an address book."""

    TAG = (NAMESPACE, "contact")
    id_ = xso.Attr("id", default=None)
    addresses = xso.ChildList([Address])

    def __init__(self, id_: str | None = None) -> None:
        super().__init__()
        self.id_ = id_


class Hop(xso.XSO):  # type: ignore[misc]
    """Marks a request that one service hands on to another. Who gets it asks nobody else."""

    TAG = (HOP_NAMESPACE, "relayed")


@aioxmpp.IQ.as_payload_class
class Contacts(_Tolerant):
    """A request, or a part of its answer; both bear the same ``bid``."""

    TAG = (NAMESPACE, "contacts")
    batch = xso.Attr("bid", default=None)
    contacts = xso.ChildList([Contact])
    hop = xso.Child([Hop])

    def __init__(self, batch: str | None = None) -> None:
        super().__init__()
        self.batch = batch


aioxmpp.Message.contact_disco = xso.Child([Contacts])
