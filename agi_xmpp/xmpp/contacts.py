"""Phone contacts of a component: who is subscribed to them, and what each is shown (RFC 6121 sections 3 and 4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableMapping
from typing import Any

import aioxmpp

from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp import phone_stanzas, stanzas
from agi_xmpp.xmpp.decloak import Answers
from agi_xmpp.xmpp.jid import inward, outward, parse
from agi_xmpp.xmpp.model import Jid, Show
from agi_xmpp.xmpp.phone_model import ContactState, PhoneHost

log = logging.getLogger("agi_xmpp.xmpp")

#: Subscribers of one contact: each change is sent to all of them.
SUBSCRIBERS_EACH = 1000

#: Subscriptions at all: each takes some 300 bytes of memory and a row of the table.
SUBSCRIPTIONS = 100_000

#: An error with one of these says that there is no such user: nothing more is sent there (RFC 6121 section 8.5.1).
_GONE = {"gone", "item-not-found"}

_OFFLINE = ContactState(Show.OFFLINE)


class Contacts:
    """The phone contacts of one component.

    Args:
        domain: the component's.
        host: knows them.
        table: keeps the subscriptions over a restart: ``alice bob@example.org`` for who sees ``alice@`` the domain.
        post: sends a stanza, if there is a session.
        answers: to those who ask for presence without being subscribed (XEP-0276).
    """

    def __init__(
        self,
        domain: str,
        host: PhoneHost,
        table: MutableMapping[str, str],
        post: Callable[[Any], None],
        answers: Answers,
    ) -> None:
        self._domain = domain
        self._host = host
        self._table = table
        self._post = post
        self._answers = answers
        self._subscribers: dict[str, set[Jid]] = {}
        self._count = 0
        self._shown: dict[str, tuple[str, ContactState]] = {}  # resource and state that the subscribers have
        self._load()

    def take_over(self, before: Contacts) -> None:
        """Go on where those of earlier settings end: what they have shown and we do not show goes offline.

        To be called in a session, before anything else.
        """
        self._shown = dict(before._shown)
        for local, (resource, state) in before._shown.items():
            if state.show is Show.OFFLINE:
                continue
            for subscriber in before._subscribers.get(local, ()):
                if not self._may_watch(subscriber, local):
                    self._post(phone_stanzas.unavailable(self._address(local, resource), subscriber))
            if self._host.contact(local) is None:
                del self._shown[local]

    async def session_began(self) -> None:
        """Show everybody everything: nobody knows what was lost since the last session."""
        self._shown.clear()
        for local in list(self._subscribers):
            self.changed(local)
            await asyncio.sleep(0)  # thousands of presences must not keep an answer waiting

    def changed(self, local: str) -> None:
        """Send what a contact shows to its subscribers, if that is something else than before."""
        state = self._host.contact(local) or _OFFLINE
        resource = phone_stanzas.resource(state.device)
        shown, self._shown[local] = self._shown.get(local), (resource, state)
        if shown == (resource, state):
            return
        for subscriber in self._subscribers.get(local, ()):
            if shown is not None and shown[0] != resource and shown[1].show is not Show.OFFLINE:
                self._post(phone_stanzas.unavailable(self._address(local, shown[0]), subscriber))
            if self._host.may_watch(subscriber, local):
                self._show(local, subscriber)

    def leave(self) -> None:
        """Tell all subscribers that the contacts are gone: the service stops, and knows nothing of the phones then."""
        for local, (resource, state) in self._shown.items():
            if state.show is not Show.OFFLINE:
                for subscriber in self._subscribers.get(local, ()):
                    self._post(phone_stanzas.unavailable(self._address(local, resource), subscriber))
        self._shown.clear()

    def presence_came(self, presence: Any) -> None:
        """Take a presence that is addressed to a contact."""
        if presence.from_ is None:
            return
        who, local, kind = inward(presence.from_), presence.to.localpart, presence.type_
        if kind is aioxmpp.PresenceType.SUBSCRIBE:
            self._subscribe(who.bare, local)
        elif kind is aioxmpp.PresenceType.PROBE:
            self._probe(who, local)
        elif kind is aioxmpp.PresenceType.UNSUBSCRIBE:
            self._remove(who.bare, local)
            self._post(phone_stanzas.unavailable(self._address(local), who.bare))
        elif kind is aioxmpp.PresenceType.AVAILABLE:
            self._answer(who, local, stanzas.asked_for(presence))
        elif kind is aioxmpp.PresenceType.UNAVAILABLE:
            self._answers.theirs_ended(who, local)
        elif kind is aioxmpp.PresenceType.ERROR:
            self._answers.replaced(who, local)
            if _says_gone(presence.error):
                self._remove(who.bare, local)

    def _answer(self, who: Jid, local: str, reason: str | None) -> None:
        """Say to a user who asks that a contact is there, or that a number can be dialled (XEP-0276 section 4)."""
        if reason is None or who.bare in self._subscribers.get(local, ()):
            return  # a subscriber sees more than that already
        if not self._host.may_reach(who.bare, local):
            log.debug("%s may not know whether %s is there", who, self._address(local))
            return
        state = self._host.contact(local)
        if state is None or state.show is not Show.OFFLINE:
            address = self._address(local, phone_stanzas.resource(state.device if state else ""))
            self._answers.answer(who, reason, phone_stanzas.contact_caps(), address)

    def _subscribe(self, who: Jid, local: str) -> None:
        if not (self._may_watch(who, local) and self._add(who, local)):
            log.info("%s may not see the phone contact %s", who, self._address(local))
            self._refuse(who, local)
            return
        log.info("%s sees the phone contact %s", who, self._address(local))
        self._answers.replaced(who, local)
        approval = stanzas.subscription("subscribed", who)
        approval.from_ = outward(self._address(local))
        self._post(approval)
        self._show(local, who)

    def _probe(self, who: Jid, local: str) -> None:
        """Answer a server that asks because its user's roster has the contact (RFC 6121 section 4.3)."""
        if self._may_watch(who, local) and self._add(who.bare, local):
            self._show(local, who)
        else:
            self._remove(who.bare, local)
            self._refuse(who.bare, local)

    def _refuse(self, who: Jid, local: str) -> None:
        refusal = stanzas.subscription("unsubscribed", who)
        refusal.from_ = outward(self._address(local))
        self._post(refusal)

    def _may_watch(self, who: Jid, local: str) -> bool:
        return self._host.contact(local) is not None and self._host.may_watch(who.bare, local)

    def _show(self, local: str, to: Jid) -> None:
        state = self._host.contact(local) or _OFFLINE
        resource = phone_stanzas.resource(state.device)
        self._shown.setdefault(local, (resource, state))
        self._post(phone_stanzas.contact_presence(self._address(local, resource), to, state))

    def _address(self, local: str, resource: str = "") -> Jid:
        return Jid(local, self._domain, resource)

    # Who is subscribed

    def _load(self) -> None:
        for key in list(self._table):
            local, _, text = key.partition(" ")
            try:
                who = parse(text)
            except BadJid:
                log.warning("the subscription %r is not of this program; it is left alone", key)
                continue
            self._enter(who.bare, local)

    def _add(self, who: Jid, local: str) -> bool:
        if who in self._subscribers.get(local, ()):
            return True
        if not self._enter(who, local):
            log.warning("%s cannot subscribe to %s: there are too many subscriptions", who, self._address(local))
            return False
        self._table[f"{local} {who}"] = ""
        return True

    def _enter(self, who: Jid, local: str) -> bool:
        subscribers = self._subscribers.setdefault(local, set())
        if len(subscribers) >= SUBSCRIBERS_EACH or self._count >= SUBSCRIPTIONS:
            return False
        self._count += who not in subscribers
        subscribers.add(who)
        return True

    def _remove(self, who: Jid, local: str) -> None:
        subscribers = self._subscribers.get(local, set())
        if who in subscribers:
            subscribers.remove(who)
            self._count -= 1
            del self._table[f"{local} {who}"]


def _says_gone(error: Any) -> bool:
    return error is not None and error.condition.value[1] in _GONE
