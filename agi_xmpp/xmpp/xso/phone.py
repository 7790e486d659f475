"""The phone protocol (Proto-JEP "Phone Integration") as clients really speak it, which is not as it was written down.

Attributes that changed their names are written under both; an action may be nested in another one, which is what Spark
2.8 sends.
"""

from __future__ import annotations

from typing import Any

import aioxmpp
from aioxmpp import xso

from agi_xmpp.xmpp import phone_model

NAMESPACE = phone_model.NAMESPACE


class Status(xso.XSO):  # type: ignore[misc]
    """In a presence: whether its sender is on the phone."""

    TAG = (NAMESPACE, "phone-status")
    status = xso.Attr("status", default=None)


class Event(xso.XSO):  # type: ignore[misc]
    """In a message: something happened on the phone of its addressee."""

    TAG = (NAMESPACE, "phone-event")
    type_ = xso.Attr("type", default=None)
    status = xso.Attr("status", default=None)
    call_id = xso.Attr("callID", default=None)
    id_ = xso.Attr("id", default=None)
    device = xso.Attr("device", default=None)
    caller_id = xso.ChildText((NAMESPACE, "callerID"), default=None)
    caller_name = xso.ChildText((NAMESPACE, "callerIDName"), default=None)


class _Target(xso.XSO):  # type: ignore[misc]
    """Whom to call: text, and nothing else."""

    UNKNOWN_CHILD_POLICY = xso.UnknownChildPolicy.FAIL
    text = xso.Text(default="")


class Extension(_Target):
    """Whom to call, as an extension."""

    TAG = (NAMESPACE, "extension")


class Address(_Target):
    """Whom to call, as a Jabber ID."""

    TAG = (NAMESPACE, "jid")


class NestedAction(xso.XSO, protect=False):  # type: ignore[call-arg, misc]
    """What a client asks for, taken as it comes: what is wrong with it is told only to who may ask.

    Attributes:
        is_broken: there was something in it that makes no sense.
    """

    TAG = (NAMESPACE, "phone-action")
    type_ = xso.Attr("type", default=None)
    id_ = xso.Attr("id", default=None)
    call_id = xso.Attr("callID", default=None)
    extensions = xso.ChildList([Extension])
    addresses = xso.ChildList([Address])
    is_broken = False

    def __init__(self, type_: str = "") -> None:
        super().__init__()
        self.type_ = type_ or None

    def xso_error_handler(self, _descriptor: Any, _event: Any, _exception: Any) -> bool:
        """Note that something could not be read, and go on."""
        self.is_broken = True
        return True


@aioxmpp.IQ.as_payload_class
class Action(NestedAction):
    """An action, perhaps with another one in it; one deeper than that is not read."""

    nested = xso.ChildList([NestedAction])


aioxmpp.Message.phone_event = xso.Child([Event])
aioxmpp.Presence.phone_status = xso.Child([Status])
