"""What the phone protocol (Proto-JEP "Phone Integration", as Spark and others really speak it) means to features.

Plain data and two interfaces: `PhoneHost` is the feature that knows the phones, `PhonePort` is the session's side,
which speaks to clients. docs/developer.md says where the protocol is written down.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agi_xmpp.xmpp.model import Jid, Show

#: Of all elements; also before the ``#`` of what an installation can do, which the protocol's text only asks for.
NAMESPACE = "http://jivesoftware.com/xmlns/phone"


class EventType(enum.StrEnum):
    """What a phone event tells. There are no others: clients drop, or break on, what they don't know."""

    RING = "RING"
    DIALED = "DIALED"
    ON_PHONE = "ON_PHONE"
    HANG_UP = "HANG_UP"


class ActionType(enum.StrEnum):
    """What a client can ask for."""

    DIAL = "DIAL"
    FORWARD = "FORWARD"


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """Something that happened on somebody's phone.

    Attributes:
        type: what.
        call_id: the same in all events of one call of one user.
        device: the phone, such as ``PJSIP/101``.
        caller_id: the other side's number; written as an empty element if unknown, and not at all on HANG_UP.
        caller_name: the other side's name; on RING and DIALED only.
    """

    type: EventType
    call_id: str
    device: str
    caller_id: str = ""
    caller_name: str = ""


@dataclass(frozen=True, slots=True)
class PhoneAction:
    """What a client asks for. Exactly one of ``extension`` and ``jid`` is set.

    Attributes:
        type: what.
        extension: whom to call, as it was typed: spaces, ``+`` and parentheses included, up to 200 characters.
        jid: whom to call, as it was given.
        call_id: which call to forward; never empty for FORWARD.
    """

    type: ActionType
    extension: str = ""
    jid: str = ""
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ContactState:
    """What a phone contact (``alice@phone.example.org``) shows.

    Attributes:
        show: `Show.ONLINE`, `Show.AWAY`, `Show.XA`, `Show.DND` or `Show.OFFLINE`.
        status: in words.
        on_phone: adds ``<phone-status status='ON_PHONE'/>``.
        device: becomes the resource (``PJSIP/101`` is shown as ``PJSIP-101``).
    """

    show: Show
    status: str = ""
    on_phone: bool = False
    device: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """A phone contact as a service discovery item.

    Attributes:
        local: the part of its JID before the ``@``, escaped (XEP-0106) where it must be.
        name: of the person.
    """

    local: str
    name: str


class PhoneHost(Protocol):
    """The phones' side. All methods are called in the session's task: none but `act` may take time."""

    def has_phone(self, node: str) -> bool:
        """Return True if the node of a service discovery request means a user with a phone.

        Args:
            node: as clients write it: the bare JID in any case, or its local part, unescaped or escaped (XEP-0106).
        """

    def may_ask(self, who: Jid) -> bool:
        """Return True if ``who`` is a user of ours (compared as the whole bare JID)."""

    def features(self) -> Sequence[str]:
        """Return what this installation can do, as features for service discovery."""

    async def act(self, who: Jid, action: PhoneAction) -> None:
        """Carry out what a client asks for; return as soon as it is under way.

        Raises:
            Refused: with the condition and the text for the client.
        """

    def contacts(self) -> Sequence[Contact]:
        """Return the phone contacts there are."""

    def contact(self, local: str) -> ContactState | None:
        """Return what the phone contact of that local part shows now; None if there is no such contact."""

    def may_watch(self, who: Jid, local: str) -> bool:
        """Return True if ``who`` may subscribe to that phone contact."""

    def may_reach(self, who: Jid, local: str) -> bool:
        """Return True if ``who`` may know of that address: a phone contact that they may see, or a number to dial."""


class PhonePort(Protocol):
    """The session's side of the phone protocol. Nothing here waits or raises: without a session it does nothing."""

    def send_event(self, to: Jid, event: PhoneEvent) -> None:
        """Tell the clients of a user (bare JID): a headline without a body, which nothing stores."""

    def contact_changed(self, local: str) -> None:
        """Send what `PhoneHost.contact` now says to those who are subscribed."""

    def set_activity(self, user: Jid, text: str | None) -> None:
        """Publish that a user is on the phone (XEP-0108), or with None that the user is no longer.

        Only where the server lets us do so in the user's name (XEP-0356); nothing happens elsewhere.
        """
