"""On the phone, as the users' activity (XEP-0108): published in their name where the server lets us (XEP-0356)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aioxmpp
import aioxmpp.pubsub.xso

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp import phone_stanzas
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.xso import privilege

log = logging.getLogger("agi_xmpp.xmpp")

PUBSUB = "http://jabber.org/protocol/pubsub"


class Activities:
    """Publishes what users do. What cannot be published now is kept, the last of each user, for when it can.

    Args:
        account: its name, for the log.
        request: sends an IQ and returns the future of its reply; raises `NotConnected` without a session.
    """

    def __init__(self, account: str, request: Callable[[Any], asyncio.Future[Any]]) -> None:
        self._account = account
        self._request = request
        self._granted: set[str] = set()
        self._waiting: dict[Jid, str | None] = {}
        self._told: set[str] = set()  # domains whose refusal is in the log

    def grant_came(self, server: Jid, grant: Any) -> None:
        """Take what a server lets us do in the name of its users. It holds for its own domain, and this session."""
        if not privilege.may_set(grant, PUBSUB):
            self._granted.discard(server.domain)
            return
        log.info("account %s: %s lets us publish its users' activity", self._account, server.domain)
        self._granted.add(server.domain)
        for user in [user for user in self._waiting if user.domain == server.domain]:
            self._publish(user)

    def session_ended(self) -> None:
        """Forget what we may do: the server says so anew in each session."""
        self._granted.clear()

    def set(self, user: Jid, text: str | None) -> None:
        """Publish that a user (bare JID) is on the phone, or with None that the user is no longer."""
        self._waiting[user] = text
        if user.domain in self._granted:
            self._publish(user)
        else:
            self._tell_once(user.domain, "has not let us publish activities (XEP-0356)")

    def _publish(self, user: Jid) -> None:
        text = self._waiting.pop(user)
        try:
            reply = self._request(phone_stanzas.publish_activity(user, text))
        except NotConnected:
            self._waiting[user] = text
            return
        reply.add_done_callback(lambda done: self._published(user, text, done))

    def _published(self, user: Jid, text: str | None, reply: asyncio.Future[Any]) -> None:
        if reply.cancelled():
            return
        error = reply.exception()
        if isinstance(error, ConnectionError):
            self._waiting.setdefault(user, text)  # unless something newer waits
        elif error is not None:
            self._tell_once(user.domain, f"did not publish an activity: {error}")
        elif (reason := _inner_error(reply.result())) is not None:
            self._tell_once(user.domain, f"did not publish an activity: {reason}")

    def _tell_once(self, domain: str, what: str) -> None:
        if domain not in self._told:
            self._told.add(domain)
            log.info("account %s: %s %s", self._account, domain, what)


def _inner_error(reply: Any) -> str | None:
    """Return why the user's own server refused, although it let us ask in the user's name."""
    result = getattr(reply, "payload", None)
    forwarded = result.forwarded if isinstance(result, privilege.Privilege) else None
    inner = None if forwarded is None else forwarded.stanza
    if not isinstance(inner, aioxmpp.IQ) or inner.type_ is not aioxmpp.IQType.ERROR or inner.error is None:
        return None
    return str(inner.error.condition.value[1])
