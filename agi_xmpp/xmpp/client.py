"""A client's session: one account that logs in to its server as people's clients do (RFC 6120)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import aioxmpp
import aioxmpp.roster.xso
from aioxmpp.errors import XMPPError

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.presence import Subscription
from agi_xmpp.xmpp.session import BaseSession
from agi_xmpp.xmpp.text import clean_status

log = logging.getLogger("agi_xmpp.xmpp")

#: Seconds for the server to answer what we ask at login.
REQUEST_TIMEOUT = 10.0


class ClientSession(BaseSession):
    """A client's login: our server keeps the roster, tells our presence to who may see it, and copies messages."""

    def client_made(self, client: Any) -> None:
        """Also take the roster's changes."""
        super().client_made(client)
        client.stream.register_iq_request_handler(aioxmpp.IQType.SET, aioxmpp.roster.xso.Query, self.roster_pushed)

    async def roster_pushed(self, iq: Any) -> None:
        """Take a change of our roster, from our own account only (RFC 6121 section 2.1.6)."""
        if stanzas.sender(iq, self._link.jid) != self._link.jid.bare:
            raise aioxmpp.errors.XMPPAuthError(aioxmpp.ErrorCondition.FORBIDDEN)
        for contact, subscription in (stanzas.roster_items(iq.payload) or {}).items():
            self._presence.update_roster(contact, subscription)
            if self._presence.may_see_us(contact):
                self._answers.replaced(contact)
        self._tell_news()

    def _sign_in(self) -> None:
        self._roster_known = False
        roster = self._link.request(stanzas.roster_request())
        # Right behind the request: the server knows that we want the roster's changes, and answers can reach us.
        self._show_anew()
        self._background.spawn(self._settle_in(roster))

    def _show_anew(self) -> None:
        settings = self._settings
        self._post_surely(stanzas.available(settings.show, clean_status(settings.status), settings.priority))

    def _buddies_changed(self, before: Mapping[Jid, None]) -> None:  # noqa: ARG002 - the server knows whom we have asked
        if self._roster_known:
            self._ask_buddies()

    def _ask_buddies(self) -> None:
        """Ask the buddies to show us their presence who have not allowed it yet."""
        if self._settings.subscribe:
            for buddy in self._presence.unsubscribed_buddies():
                self._post_surely(stanzas.subscription("subscribe", buddy))

    def _subscription_came(self, presence: Any, who: Jid) -> None:
        kind = presence.type_
        if kind is aioxmpp.PresenceType.SUBSCRIBE:
            self._link.post(stanzas.subscription(self._decide(who).value, who))
        elif kind in (aioxmpp.PresenceType.SUBSCRIBED, aioxmpp.PresenceType.UNSUBSCRIBED):
            log.info("account %s: %s has %s us", self._account, who, kind.value)

    async def _settle_in(self, roster: asyncio.Future[Any]) -> None:
        """Do at login what may take a moment: roster, subscriptions, carbon copies."""
        query = await self._answer(roster, "the roster")
        if query is not None and (items := stanzas.roster_items(query.payload)) is not None:
            self._presence.load_roster({jid: kind or Subscription.NONE for jid, kind in items.items()})
            self._roster_known = True
            self._tell_news(*self._presence.seen())
            self._ask_buddies()
        features = await self._ask(stanzas.features_request(self._link.server), "its features")
        if features is not None and stanzas.offers_carbons(features.payload):
            await self._ask(stanzas.carbons_request(), "carbon copies")

    async def _ask(self, iq: Any, what: str) -> Any:
        try:
            reply = self._link.request(iq)
        except NotConnected:
            return None
        return await self._answer(reply, what)

    async def _answer(self, reply: asyncio.Future[Any], what: str) -> Any:
        """Return the reply to one of our requests, or None, with a line in the log, if there is none."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return await reply
        except (TimeoutError, XMPPError, aioxmpp.errors.ErroneousStanza) as error:
            reason = str(error) or f"no answer within {REQUEST_TIMEOUT:g} s"
            log.warning("account %s: the server does not give us %s: %s", self._account, what, reason)
        except ConnectionError:
            pass  # the link has told why; the next session asks again
        return None
