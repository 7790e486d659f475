"""Privileged entities (XEP-0356): a component may do some things in the name of a server's users."""

from __future__ import annotations

from typing import Any

import aioxmpp
import aioxmpp.misc
from aioxmpp import xso

NAMESPACE = "urn:xmpp:privilege:2"


class Namespace(xso.XSO):  # type: ignore[misc]
    """Requests of one namespace that are allowed: of type ``get``, ``set`` or ``both``."""

    TAG = (NAMESPACE, "namespace")
    ns = xso.Attr("ns", default=None)
    type_ = xso.Attr("type", default=None)


class Permission(xso.XSO):  # type: ignore[misc]
    """Something that is allowed."""

    TAG = (NAMESPACE, "perm")
    access = xso.Attr("access", default=None)
    namespaces = xso.ChildList([Namespace])


@aioxmpp.IQ.as_payload_class
class Privilege(xso.XSO):  # type: ignore[misc]
    """What a server grants (in a message), or what came of a request in a user's name (in the reply to it)."""

    TAG = (NAMESPACE, "privilege")
    permissions = xso.ChildList([Permission])
    forwarded = xso.Child([aioxmpp.misc.Forwarded])

    def xso_error_handler(self, _descriptor: Any, _event: Any, _exception: Any) -> bool:
        """Drop what cannot be read, such as an error of a kind that the library does not know, and nothing else."""
        return True


@aioxmpp.IQ.as_payload_class
class PrivilegedIq(xso.XSO):  # type: ignore[misc]
    """A request in a user's name (section 6.3)."""

    TAG = (NAMESPACE, "privileged_iq")
    iq = xso.Child([aioxmpp.IQ])

    def __init__(self, iq: Any) -> None:
        super().__init__()
        self.iq = iq


aioxmpp.Message.xep0356_privilege = xso.Child([Privilege])


def may_set(privilege: Any, namespace: str) -> bool:
    """Return True if a server's grant allows requests of type ``set`` with a payload of that namespace."""
    return any(
        allowed.ns == namespace and allowed.type_ in ("set", "both")
        for permission in privilege.permissions
        if permission.access == "iq"
        for allowed in permission.namespaces
    )
