"""A component's session: one account that is a whole domain of an XMPP server (XEP-0114).

Nobody keeps a roster for a component, and nobody tells its presence to others: that is done here, in memory. After a
restart of ours our buddies see us again at once; others who may see us, when they come online next, for their server
asks us then (RFC 6121 section 4.3).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import aioxmpp
import aioxmpp.stanza

from agi_xmpp.config import AccountSettings
from agi_xmpp.xmpp import room_stanzas, stanzas
from agi_xmpp.xmpp.client import ClientSession
from agi_xmpp.xmpp.component_link import ComponentLink
from agi_xmpp.xmpp.jid import inward, outward, parse
from agi_xmpp.xmpp.model import Jid, StanzaHost, StanzaPort
from agi_xmpp.xmpp.presence import Decision, Subscription, decide
from agi_xmpp.xmpp.session import BaseSession
from agi_xmpp.xmpp.text import clean_status

log = logging.getLogger("agi_xmpp.xmpp")

#: People who see our presence at the most: with ``subscriptions = "accept"`` anybody can be one. Each takes 1 KB.
WATCHER_LIMIT = 10_000

_Type = aioxmpp.PresenceType
_ASKING = frozenset({_Type.SUBSCRIBE, _Type.UNSUBSCRIBE, _Type.PROBE})


def make_session(account: str, settings: AccountSettings) -> BaseSession:
    """Return the session of an account, of the type that it has.

    Raises:
        BadJid: the account's ``jid`` or one of its ``buddies`` is none.
    """
    return ComponentSession(account, settings) if settings.is_component else ClientSession(account, settings)


class ComponentSession(BaseSession):
    """A domain of our own, and the conversations on it.

    Our own are two addresses: that of ``jid``, which our messages come from, and the domain itself. What else is there
    is the business of guests (messages) and of the phone contacts (presence).

    Args:
        account: the name in the configuration.
        settings: of the account.

    Raises:
        BadJid: the account's ``jid`` or one of its ``buddies`` is none.
    """

    make_link = ComponentLink
    _link: ComponentLink

    def __init__(self, account: str, settings: AccountSettings) -> None:
        super().__init__(account, settings)
        self._own = parse(settings.jid).bare
        #: An address of ours, and the bare JID of somebody who sees our presence there.
        self._watchers: set[tuple[Jid, Jid]] = set()

    def serve_stanzas(self, host: StanzaHost | None) -> StanzaPort:
        """See `Session.serve_stanzas`."""
        return self._link.stanzas.serve(host)

    # What the link tells

    def message_came(self, message: Any) -> None:
        """Take a message stanza, to whatever address of our domain."""
        if self._is_ours(message):
            super().message_came(message)
        elif message.type_ in (aioxmpp.MessageType.CHAT, aioxmpp.MessageType.NORMAL):
            came = stanzas.incoming(
                message,
                self._link.jid,
                carbon=False,
                occupant=False,
                stamps=stanzas.stamps(message),
                now=self._clock(),
                wall=time.time(),
            )
            if not any(guest.message_came(came, kept=False, awaited=False) for guest in self._guests.values()):
                self._link.post(_nobody_here(message))

    def presence_came(self, presence: Any) -> None:
        """Take a presence stanza, to whatever address of our domain."""
        if self._is_ours(presence):
            super().presence_came(presence)
        elif not self._phones.presence_came(presence) and presence.type_ in _ASKING:
            self._answer_watcher(_Type.UNSUBSCRIBED, inward(presence.to).bare, inward(presence.from_).bare)

    def _is_ours(self, stanza: Any) -> bool:
        return stanza.to is None or inward(stanza.to).local in ("", self._own.local)

    # Presence

    def _sign_in(self) -> None:
        self._roster_known = True  # there is none but ours
        self._admit_buddies()
        self._show_anew()
        self._ask_for_presence(self._buddies)

    def _show_anew(self) -> None:
        for address, watcher in self._watchers:
            self._show_presence(address, watcher)

    def _buddies_changed(self, before: Mapping[Jid, None]) -> None:
        refused = {(address, who) for address, who in self._watchers if not self._approves(who)}
        self._watchers -= refused
        for address, who in refused:
            self._hide_presence(address, who)
            self._withdraw(who, Subscription.FROM)
        for buddy in before:
            if buddy not in self._buddies:  # their permission stays with them: they may come back
                self._presence.unavailable(buddy)
                self._withdraw(buddy, Subscription.TO)
        if self._signed_in:
            for buddy in self._admit_buddies():
                self._show_presence(self._own, buddy)
            self._ask_for_presence([buddy for buddy in self._buddies if buddy not in before])

    def _admit_buddies(self) -> list[Jid]:
        """Let our buddies see us, as far as the settings allow it; return those who did not until now."""
        outside = [buddy for buddy in self._buddies if (self._own, buddy) not in self._watchers]
        admitted = [buddy for buddy in outside if self._approves(buddy) and self._add_watcher(self._own, buddy)]
        for buddy in admitted:
            self._answers.replaced(buddy, self._own.local)
        return admitted

    def _ask_for_presence(self, unknown: Iterable[Jid]) -> None:
        """Ask buddies for their presence.

        Args:
            unknown: those of whom we do not know it yet. Who has allowed it answers a probe; all who have not are asked
                to.
        """
        for buddy in unknown:
            self._answer_watcher(_Type.PROBE, self._own, buddy)
        if self._settings.subscribe:
            for buddy in self._presence.unsubscribed_buddies():
                self._answer_watcher(_Type.SUBSCRIBE, self._own, buddy)

    def _approves(self, who: Jid) -> bool:
        """Tell whether somebody may see our presence by the settings."""
        return decide(self._settings.subscriptions, who, self._buddies) is Decision.APPROVE

    def _sign_out(self) -> None:
        for address, watcher in self._watchers:
            self._hide_presence(address, watcher)
        for room in self._rooms.info():
            if room.state == "joined":
                self._link.post(room_stanzas.departure(parse(f"{room.room}/{room.nick}")))

    def _subscription_came(self, presence: Any, who: Jid) -> None:
        kind, address = presence.type_, self._own if presence.to is None else inward(presence.to).bare
        if kind is _Type.SUBSCRIBE:
            if self._decide(who, address.local) is Decision.APPROVE and self._add_watcher(address, who):
                self._answer_watcher(_Type.SUBSCRIBED, address, who)
                self._show_presence(address, who)
            else:
                self._answer_watcher(_Type.UNSUBSCRIBED, address, who)
        elif kind is _Type.PROBE:
            self._probed(address, who)
        elif kind is _Type.UNSUBSCRIBE:
            self._drop_watcher(address, who)
            self._answer_watcher(_Type.UNSUBSCRIBED, address, who)
            self._hide_presence(address, who)
        elif who in self._buddies:
            self._answered(kind, who)

    def _probed(self, address: Jid, who: Jid) -> None:
        """Tell somebody's server how we are; it asks for who has been allowed to know that, maybe long ago."""
        known = (address, who) in self._watchers
        if not known and self._approves(who):
            known = self._add_watcher(address, who)
        if known:
            self._show_presence(address, who)
        else:
            self._answer_watcher(_Type.UNSUBSCRIBED, address, who)

    def _answered(self, kind: Any, buddy: Jid) -> None:
        """Note that a buddy lets us see their presence, or no longer does so."""
        before = self._presence.subscription(buddy)
        after = before | Subscription.TO if kind is _Type.SUBSCRIBED else before & ~Subscription.TO
        if kind is _Type.UNSUBSCRIBED:
            self._presence.unavailable(buddy)
        if after != before:
            log.info("account %s: %s has %s us", self._account, buddy, kind.value)
            self._presence.update_roster(buddy, after)

    def _add_watcher(self, address: Jid, who: Jid) -> bool:
        """Let somebody see our presence from now on. Returns False if there are too many."""
        if (address, who) not in self._watchers and len(self._watchers) >= WATCHER_LIMIT:
            log.warning("account %s: %d people see our presence already; not %s", self._account, WATCHER_LIMIT, who)
            return False
        self._watchers.add((address, who))
        self._presence.update_roster(who, self._presence.subscription(who) | Subscription.FROM)
        return True

    def _drop_watcher(self, address: Jid, who: Jid) -> None:
        self._watchers.discard((address, who))
        if not any(watcher == who for _, watcher in self._watchers):
            self._withdraw(who, Subscription.FROM)

    def _withdraw(self, who: Jid, permission: Subscription) -> None:
        """Note in our roster that somebody has a permission no longer, or has taken back theirs."""
        left = self._presence.subscription(who) & ~permission
        self._presence.update_roster(who, left or None)

    def _answer_watcher(self, kind: Any, address: Jid, to: Jid) -> None:
        """Send what concerns who sees whose presence, from one of our addresses (bare JID) to somebody (bare JID)."""
        self._link.post(aioxmpp.Presence(type_=kind, from_=outward(address), to=outward(to)))

    def _show_presence(self, address: Jid, to: Jid) -> None:
        presence = stanzas.available(self._settings.show, clean_status(self._settings.status), 0)
        presence.from_, presence.to = outward(self._full(address)), outward(to)
        self._link.post(presence)

    def _hide_presence(self, address: Jid, to: Jid) -> None:
        self._post_surely(
            aioxmpp.Presence(type_=_Type.UNAVAILABLE, from_=outward(self._full(address)), to=outward(to)),
        )

    def _sender(self, stanza: Any = None) -> Jid | None:
        to = None if stanza is None else stanza.to
        return self._full(self._own if to is None else inward(to).bare)

    def _full(self, address: Jid) -> Jid:
        return Jid(address.local, address.domain, self._link.jid.resource)


def _nobody_here(message: Any) -> Any:
    """Return the answer to a message for nobody (RFC 6121 section 8.5.1)."""
    return message.make_error(
        aioxmpp.stanza.Error(
            condition=aioxmpp.ErrorCondition.SERVICE_UNAVAILABLE,
            type_=aioxmpp.ErrorType.CANCEL,
        )
    )
