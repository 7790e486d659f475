"""The phone protocol on a session (`agi_xmpp.xmpp.phone_model.PhonePort`): events out, actions in, contacts, activity.

Here everything is only carried and guarded; what it means is up to the `PhoneHost`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any

import aioxmpp

from agi_xmpp.errors import Refused
from agi_xmpp.xmpp import phone_stanzas, stanzas
from agi_xmpp.xmpp.activity import Activities
from agi_xmpp.xmpp.contacts import Contacts
from agi_xmpp.xmpp.decloak import Answers
from agi_xmpp.xmpp.disco import Discovery
from agi_xmpp.xmpp.errands import Errands, refusal
from agi_xmpp.xmpp.jid import outward
from agi_xmpp.xmpp.link import Link
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.phone_model import PhoneAction, PhoneEvent, PhoneHost
from agi_xmpp.xmpp.xso import phone

log = logging.getLogger("agi_xmpp.xmpp")

#: Actions of one user within `PERIOD` seconds: a client gone wild must not ring all phones of the house.
ACTIONS_EACH = 20
PERIOD = 60.0


class Phones:
    """The phones of one account. Implements `PhonePort` from `serve` on; before that, nothing is offered to anybody.

    Args:
        account: its name, for the log.
        link: the account's.
        component: its address if it is a component; None for a client.
        errands: bounds what an action takes.
        clock: seconds, monotonic.
        answers: to those who ask phone contacts for their presence.
    """

    def __init__(
        self,
        account: str,
        link: Link,
        component: Jid | None,
        errands: Errands,
        clock: Callable[[], float],
        answers: Answers,
    ) -> None:
        self._account = account
        self._link = link
        self._component = component
        self._errands = errands
        self._clock = clock
        self._answers = answers
        self._host: PhoneHost | None = None
        self._contacts: Contacts | None = None
        self._activities = Activities(account, link.request)
        self._discovery = Discovery(component)
        self._acted: dict[Jid, deque[float]] = {}  # users and when their last actions came

    def serve(self, host: PhoneHost | None, table: MutableMapping[str, str]) -> Phones:
        """Answer for ``host`` from now on, and return the port.

        Args:
            host: knows the phones; None: there are none any more.
            table: keeps the subscriptions to phone contacts.
        """
        self._host = self._discovery.host = host
        before, self._contacts = self._contacts, None
        if self._component and host is not None:
            self._contacts = Contacts(self._component.domain, host, table, self._link.post, self._answers)
            if before and self._link.online:
                self._contacts.take_over(before)
        elif before:
            before.leave()
        return self

    # Of the session

    def capabilities(self) -> Any:
        """Return what we say of ourselves in a presence (XEP-0115)."""
        return self._discovery.capabilities()

    def install(self, client: Any) -> None:
        """Answer the requests that come in on a client of the library."""
        self._discovery.install(client)
        for kind in (aioxmpp.IQType.SET, aioxmpp.IQType.GET):
            client.stream.register_iq_request_handler(kind, phone.Action, self._act)

    async def session_began(self) -> None:
        """Show the phone contacts to their subscribers."""
        if self._contacts:
            await self._contacts.session_began()

    def session_ended(self) -> None:
        """Forget what the server let us do."""
        self._activities.session_ended()

    def leave(self) -> None:
        """The session stops in a moment: take the phone contacts away."""
        if self._contacts:
            self._contacts.leave()

    def message_came(self, message: Any) -> bool:
        """Take a message stanza. Returns True if it is none for anybody else."""
        if message.xep0356_privilege is None or message.type_ is aioxmpp.MessageType.ERROR:
            return False
        server = stanzas.sender(message, self._link.jid)
        # Users cannot grant anything, only servers, and each for its own users.
        if self._component and not server.local and server.is_bare:
            self._activities.grant_came(server, message.xep0356_privilege)
        return True

    def presence_came(self, presence: Any) -> bool:
        """Take a presence stanza. Returns True if it is for a phone contact."""
        if self._contacts is None or not self._discovery.contact(presence):
            return False
        self._contacts.presence_came(presence)
        return True

    async def _act(self, iq: Any) -> Any:
        """Carry out an action, and return the payload of its result."""
        who = stanzas.sender(iq, self._link.jid)
        try:
            host, action = self._admit(who, iq)
        except Refused as error:
            raise refusal(error) from None
        await self._errands.run(who, _words(action), lambda: host.act(who, action))
        return phone_stanzas.action_result(action.type)

    def _admit(self, who: Jid, iq: Any) -> tuple[PhoneHost, PhoneAction]:
        """Return who does an action, and the action.

        Raises:
            Refused: it is not to be done. Who is nobody of ours learns that, and nothing else.
        """
        if self._host is None:
            raise Refused("there are no phones here", "service-unavailable")
        if not self._host.may_ask(who):
            log.info("account %s: %s asked for a phone action, and is nobody with a phone", self._account, who)
            raise Refused("you have no phone here", "forbidden")
        if iq.type_ is not aioxmpp.IQType.SET:
            raise Refused("a phone action is a request of type set", "bad-request")
        action = phone_stanzas.action(iq.payload)
        self._count(who.bare)
        return self._host, action

    def _count(self, user: Jid) -> None:
        """Refuse what is too much. Only users come here, so there are not many to remember."""
        acted, now = self._acted.setdefault(user, deque()), self._clock()
        while acted and acted[0] <= now - PERIOD:
            acted.popleft()
        if len(acted) >= ACTIONS_EACH:
            raise Refused(f"more than {ACTIONS_EACH} actions within {PERIOD:g} s", "resource-constraint")
        acted.append(now)

    # PhonePort

    def send_event(self, to: Jid, event: PhoneEvent) -> None:
        """See `PhonePort.send_event`."""
        message = phone_stanzas.event(to, event)
        if self._component:
            # From the address that service discovery names. Without a resource: clients look for the service there.
            message.from_ = outward(Jid("", self._component.domain))
        self._link.post(message)

    def contact_changed(self, local: str) -> None:
        """See `PhonePort.contact_changed`."""
        if self._contacts and self._link.online:
            self._contacts.changed(local)

    def set_activity(self, user: Jid, text: str | None) -> None:
        """See `PhonePort.set_activity`."""
        self._activities.set(user.bare, text)


def _words(action: PhoneAction) -> str:
    """Return an action for the log."""
    return f"{action.type} {action.extension or action.jid}" + (f" ({action.call_id})" if action.call_id else "")
