"""Who is there: the roster and the presence of every resource. Pure: no I/O, no asyncio."""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Literal

from agi_xmpp.xmpp.model import Caps, Jid, Presence, Show

#: Resources remembered for one contact. Servers allow an account ten or so; a component could invent any number.
RESOURCE_LIMIT = 100

#: Contacts remembered before the roster has come, which says who of them is one.
CONTACT_LIMIT = 10_000


class Subscription(enum.Flag):
    """Who sees whose presence (RFC 6121 section 2.1.2.5)."""

    NONE = 0
    TO = enum.auto()  # we see theirs
    FROM = enum.auto()  # they see ours
    BOTH = TO | FROM


SUBSCRIPTIONS: Mapping[str, Subscription] = {
    "none": Subscription.NONE,
    "to": Subscription.TO,
    "from": Subscription.FROM,
    "both": Subscription.BOTH,
}


@dataclass(frozen=True, slots=True)
class _Seen:
    presence: Presence
    order: int  # grows with each presence: "latest" without a clock


class PresenceTracker:
    """The presence of our contacts on one session.

    Args:
        buddies: bare JIDs that count as contacts even if the server's roster does not hold them.
    """

    def __init__(self, buddies: Iterable[Jid] = ()) -> None:
        self._buddies = frozenset(buddy.bare for buddy in buddies)
        self._roster: dict[Jid, Subscription] | None = None
        self._seen: dict[Jid, dict[str, _Seen]] = {}
        self._order = count()

    def change_buddies(self, buddies: Iterable[Jid]) -> None:
        """Take other buddies; who is neither one of them nor in the roster is forgotten."""
        self._buddies = frozenset(buddy.bare for buddy in buddies)
        if self._roster is not None:
            self._forget_strangers()

    def load_roster(self, items: Mapping[Jid, Subscription]) -> None:
        """Take the whole roster as the server sent it."""
        self._roster = {jid.bare: subscription for jid, subscription in items.items()}
        self._forget_strangers()

    def update_roster(self, contact: Jid, subscription: Subscription | None) -> None:
        """Take one change of the roster; None means that the contact was removed."""
        if self._roster is None:
            self._roster = {}
        bare = contact.bare
        if subscription is not None:
            self._roster[bare] = subscription
            return
        self._roster.pop(bare, None)
        if not self.knows(bare):
            self._seen.pop(bare, None)

    def knows(self, contact: Jid) -> bool:
        """Return True for a contact of the roster or a buddy of the configuration."""
        return contact.bare in self._buddies or contact.bare in (self._roster or ())

    def subscription(self, contact: Jid) -> Subscription:
        """Return who sees whose presence, as the server says."""
        return (self._roster or {}).get(contact.bare, Subscription.NONE)

    def may_see_us(self, contact: Jid) -> bool:
        """Return True if the contact is allowed to see our presence."""
        return bool(self.subscription(contact) & Subscription.FROM)

    def unsubscribed_buddies(self) -> list[Jid]:
        """Return the buddies whose presence the server does not send us yet."""
        return sorted(
            (buddy for buddy in self._buddies if not self.subscription(buddy) & Subscription.TO),
            key=str,
        )

    def available(self, sender: Jid, show: Show, status: str = "", priority: int = 0, caps: Caps | None = None) -> None:
        """Take an available presence. Those of strangers are not kept: there is no limit to them."""
        bare = sender.bare
        if self._roster is None:
            if bare not in self._seen and len(self._seen) >= CONTACT_LIMIT:
                return
        elif not self.knows(bare):
            return
        resources = self._seen.setdefault(bare, {})
        if sender.resource not in resources and len(resources) >= RESOURCE_LIMIT:
            oldest = min(resources, key=lambda resource: resources[resource].order)
            del resources[oldest]
        presence = Presence(show, status, sender.resource, priority, caps)
        resources[sender.resource] = _Seen(presence, next(self._order))

    def unavailable(self, sender: Jid) -> None:
        """Take an unavailable presence; from a bare JID it means every resource (RFC 6121 section 4.5.2)."""
        resources = self._seen.get(sender.bare)
        if resources is None:
            return
        if sender.is_bare:
            resources.clear()
        else:
            resources.pop(sender.resource, None)
        if not resources:
            del self._seen[sender.bare]

    def seen(self) -> list[Jid]:
        """Return the contacts (bare JIDs) of which at least one resource is there."""
        return list(self._seen)

    def resources(self, of: Jid) -> list[Presence]:
        """Return what the resources of a bare JID show, or the one of a full JID, as far as they are there."""
        seen = self._seen.get(of.bare, {})
        return [each.presence for name, each in seen.items() if of.is_bare or name == of.resource]

    def clear(self) -> None:
        """Forget all presences: without a session nothing is known. The roster stays until the next one comes."""
        self._seen.clear()

    def look(self, of: Jid) -> Presence:
        """Return the presence of one resource, or the best of a bare JID: highest priority, then latest.

        A resource with a negative priority is there, but is the best only if there is no other.
        """
        if not self.knows(of):
            return Presence(Show.NOT_IN_ROSTER)
        resources = self._seen.get(of.bare, {})
        if not of.is_bare:
            seen = resources.get(of.resource)
            return seen.presence if seen else Presence(Show.OFFLINE, resource=of.resource)
        best = max(resources.values(), key=lambda seen: (seen.presence.priority, seen.order), default=None)
        return best.presence if best else Presence(Show.OFFLINE)

    def _forget_strangers(self) -> None:
        for jid in [jid for jid in self._seen if not self.knows(jid)]:
            del self._seen[jid]


class Decision(enum.Enum):
    """What we do when somebody asks to see our presence."""

    APPROVE = "subscribed"
    REFUSE = "unsubscribed"


def decide(policy: Literal["accept", "buddies", "deny"], contact: Jid, buddies: Container[Jid]) -> Decision:
    """Return the answer to a subscription request (`AccountSettings.subscriptions`); ``buddies`` are bare JIDs."""
    if policy == "accept":
        return Decision.APPROVE
    if policy == "buddies" and contact.bare in buddies:
        return Decision.APPROVE
    return Decision.REFUSE
