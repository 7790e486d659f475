"""One account's session: what verbs and features use (`agi_xmpp.xmpp.model.Session`).

`BaseSession` is what a client's login (`client.ClientSession`) and a component (`component.ComponentSession`) have in
common.

The work is done elsewhere: `link` keeps the connection, `inbox` decides who gets a message, `sending` brings ours to
the server, `outbox` knows what became of them, `presence` who is there, and `rooms` which rooms we are in. This module
ties them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, cast

import aioxmpp
import aioxmpp.roster.xso
from aioxmpp.errors import XMPPError

from agi_xmpp.background import Background
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import Bounced, ConfigError, NotConnected, XmppError
from agi_xmpp.xmpp import room_stanzas, stanzas, vcards
from agi_xmpp.xmpp.caps import CapsReader
from agi_xmpp.xmpp.commands import Commands
from agi_xmpp.xmpp.contact_disco import ContactDisco
from agi_xmpp.xmpp.contact_model import ContactHost, ContactPort
from agi_xmpp.xmpp.decloak import AllowList, Answers, Asking, Share
from agi_xmpp.xmpp.errands import Errands
from agi_xmpp.xmpp.inbox import Bounce, Inbox
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.link import Link
from agi_xmpp.xmpp.model import (
    PLAIN,
    Extras,
    G,
    Guest,
    IncomingMessage,
    Jid,
    Presence,
    RoomEntry,
    Service,
    Session,
    SessionInfo,
    Show,
    StanzaHost,
    StanzaPort,
)
from agi_xmpp.xmpp.outbox import Outbox
from agi_xmpp.xmpp.phone import Phones
from agi_xmpp.xmpp.phone_model import PhoneHost, PhonePort
from agi_xmpp.xmpp.presence import Decision, PresenceTracker, Subscription, decide
from agi_xmpp.xmpp.rooms import Rooms
from agi_xmpp.xmpp.sending import Sending, bounced, message_id_of
from agi_xmpp.xmpp.text import clean_body, clean_status, thread_id
from agi_xmpp.xmpp.upload import Uploads

log = logging.getLogger("agi_xmpp.xmpp")

#: Seconds after a login in which presences still arrive: who is not there by then is offline.
SETTLE_TIME = 2.0

#: Clients of one contact that are asked whether they can take a call. Servers allow an account ten or so.
CLIENTS_ASKED = 20

#: Settings of which presence we show, and to whom we show it and ask for theirs.
_OUR_PRESENCE = ("show", "status", "priority")
_BUDDIES = ("buddies", "subscribe", "subscriptions")

#: Settings that change without a new login. ``stop_notice`` is the service's business.
IN_PLACE = frozenset({*_OUR_PRESENCE, *_BUDDIES, "stop_notice"})


class BaseSession:
    """An account's connection and the conversations on it. Implements `agi_xmpp.xmpp.model.Session`.

    Args:
        account: the name in the configuration.
        settings: of the account.

    Raises:
        BadJid: the account's ``jid`` or one of its ``buddies`` is none.
    """

    make_link: Callable[..., Link] = Link

    def __init__(self, account: str, settings: AccountSettings) -> None:
        self._account = account
        self._settings = settings
        self._buddies = _buddies(settings)
        self._clock = time.monotonic
        self._link = self.make_link(account, parse(settings.jid), settings, self)
        self._inbox = Inbox(
            self._clock,
            ttl=settings.message_ttl,
            message_limit=settings.message_limit,
            contact_limit=settings.contact_limit,
        )
        self._outbox = Outbox(self._clock)
        self._sending = Sending(account, self._link, settings, self._inbox, self._outbox, self._clock)
        self._presence = PresenceTracker(self._buddies)
        self._rooms = Rooms(account, self._link, settings, self._occupant_left)
        self._uploads = Uploads(account, self._link, settings)
        self._background = Background(log, f"account {account}")
        self._receiving: set[asyncio.Future[IncomingMessage | XmppError]] = set()
        self._guests: dict[Callable[[Session], Guest], Guest] = {}
        self._errands = Errands(account)
        self._commands = Commands(self._clock, self._guests.values, self._errands)
        component = parse(settings.jid) if settings.is_component else None
        self._answers = Answers(account, self._post_surely, self._clock, settings.decloak_reasons)
        self._phones = Phones(account, self._link, component, self._errands, self._clock, self._answers)
        self._asking = Asking(account, self._post_surely, self._request_presence, self._hiding)
        self._may_ask = AllowList(settings.decloak_answer)
        self._caps = CapsReader(account, self._link.request, self._clock)
        self._owed: list[Any] = []
        self._contact_disco = ContactDisco(account, self._link, component=settings.is_component)
        self._news = asyncio.Event()
        self._began_at = 0.0
        self._signed_in = False
        self._roster_known = False
        self._stopping = False
        self._received = 0

    @property
    def account(self) -> str:
        """See `Session.account`."""
        return self._account

    async def start(self) -> None:
        """See `Session.start`."""
        if self._settings.accept_any_certificate:
            log.warning("account %s: accept_any_certificate is on: nothing proves whom we talk to", self._account)
        self._link.start()

    def change_to(self, settings: AccountSettings) -> Callable[[], None] | None:
        """See `Session.change_to`."""
        if _differ(self._settings, settings, type(settings).model_fields.keys() - IN_PLACE):
            return None
        return functools.partial(self._change, settings, _buddies(settings))

    def _change(self, settings: AccountSettings, buddies: Mapping[Jid, None]) -> None:
        """Go on with other settings. What is to be told waits for the connection, or for the next login."""
        old, self._settings = self._settings, settings
        before, self._buddies = self._buddies, buddies
        self._presence.change_buddies(buddies)
        for presence in self._rooms.change_to(settings):
            self._post_surely(presence)
        if _differ(old, settings, _BUDDIES):  # first: who may see us no more does not see what we show from now on
            self._buddies_changed(before)
        if self._signed_in and _differ(old, settings, _OUR_PRESENCE):
            self._show_anew()
        self._tell_news()

    async def stop(self, timeout: float = 5.0) -> None:
        """See `Session.stop`."""
        end = _now() + timeout
        for guest in self._guests.values():
            guest.session_stops()
        self._stopping = True
        await self._sending.stop(timeout / 2)
        self._errands.stop()
        self._contact_disco.stop()
        await self._background.stop()
        for future in self._receiving:
            if not future.done():
                future.set_result(NotConnected(f"account {self._account} is being stopped"))
        self._caps.stop()
        self._asking.stop()
        self._answers.stop()
        self._phones.leave()
        self._sign_out()
        self._rooms.stop()
        await self._link.stop(max(end - _now(), 0.0))

    async def ready(self, timeout: float, *, patient: bool = True) -> None:
        """See `Session.ready`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self._link.online and (patient or self._link.failure is None):
                    await self._link.next_change()
        if self._link.online:
            return
        failure = self._link.failure
        if failure is None:
            raise NotConnected(f"account {self._account} has no session within {timeout:g} s")
        raise type(failure)(str(failure))

    def info(self) -> SessionInfo:
        """See `Session.info`."""
        link = self._link
        return SessionInfo(
            account=self._account,
            jid=str(link.jid),
            state=link.state,
            since=link.since,
            error=str(link.failure or ""),
            tls=link.tls,
            resumable=link.resumable,
            connects=link.connects,
            sent=self._sending.count,
            received=self._received,
            unclaimed=self._inbox.unclaimed,
            waiting=self._inbox.waiting,
            rooms=self._rooms.info(),
        )

    # Sending

    async def send_message(
        self,
        to: str,
        body: str,
        *,
        message_id: str = "",
        thread: str = "",
        receipt: bool = False,
        extras: Extras = PLAIN,
        timeout: float = 10.0,
    ) -> str:
        """See `Session.send_message`."""
        return await self._sending.send_message(
            to, body, message_id=message_id, thread=thread, receipt=receipt, extras=extras, timeout=timeout
        )

    async def delivered(self, message_id: str, timeout: float) -> None:
        """See `Session.delivered`."""
        await self._sending.delivered(message_id, timeout)

    async def seen(self, message_id: str, timeout: float) -> None:
        """See `Session.seen`."""
        await self._sending.seen(message_id, timeout)

    def queue_message(
        self,
        to: str,
        body: str,
        *,
        message_id: str = "",
        thread: str = "",
        extras: Extras = PLAIN,
        max_age: float = 300.0,
    ) -> str:
        """See `Session.queue_message`."""
        return self._sending.queue_message(
            to, body, message_id=message_id, thread=thread, extras=extras, max_age=max_age
        )

    # Receiving

    async def receive_message(
        self, sender: str, timeout: float, *, thread: str = "", max_age: float | None = None
    ) -> IncomingMessage:
        """See `Session.receive_message`."""
        if self._stopping:
            raise NotConnected(f"account {self._account} is being stopped")
        future: asyncio.Future[IncomingMessage | XmppError] = asyncio.get_running_loop().create_future()

        def fail(bounce: Bounce) -> None:
            future.set_result(Bounced(f"{sender}: {bounce.text}", bounce.condition))

        waiter = self._inbox.wait(parse(sender), thread_id(thread), max_age, future.set_result, fail)
        self._receiving.add(future)
        try:
            await asyncio.wait({future}, timeout=timeout)
        except asyncio.CancelledError:
            # The message may have come in the same moment as the hangup: then it is for somebody else.
            if future.done() and isinstance(message := future.result(), IncomingMessage):
                self._inbox.put(message)
            raise
        finally:
            self._receiving.discard(future)
            self._inbox.end(waiter)
        if not future.done():
            raise TimeoutError(f"{sender} sent nothing within {timeout:g} s")
        result = future.result()
        if isinstance(result, IncomingMessage):
            return result
        raise result

    async def presence(self, of: str, *, timeout: float = 0.0) -> Presence:
        """See `Session.presence`."""
        address = parse(of)
        deadline = _now() + timeout
        while True:
            await self._link.until_online(deadline)
            found = self._presence.look(address)
            settled = self._roster_known if found.show is Show.NOT_IN_ROSTER else found.show is not Show.OFFLINE
            left = min(deadline, self._began_at + SETTLE_TIME) - _now()
            if settled or left <= 0:
                return found
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()

    def share_presence(self, of: str, reason: str) -> Share | None:
        """See `Session.share_presence`."""
        address = parse(of)
        sees_them = self._presence.subscription(address) & Subscription.TO
        if sees_them or address.bare == self._link.jid.bare or self._rooms.holds(address):
            return None
        return self._asking.begin(address, reason)

    async def voice(self, of: str, timeout: float) -> bool | None:
        """See `Session.voice`."""
        address = parse(of)
        there = [*self._presence.resources(address), *self._asking.resources(address)][:CLIENTS_ASKED]
        bare = address.bare
        found = await asyncio.gather(
            *(self._caps.voice(Jid(bare.local, bare.domain, each.resource), each.caps, timeout) for each in there)
        )
        if True in found:
            return True
        return None if None in found or not found else False

    async def services(self, of: str, timeout: float = 10.0) -> Sequence[Service]:
        """See `Session.services`."""
        server = parse(of)
        try:
            async with asyncio.timeout(timeout):
                reply = await self._link.request(stanzas.services_request(server))
        except (TimeoutError, ConnectionError):
            raise NotConnected(f"{server} does not answer") from None
        except XMPPError as error:
            condition = str(error.condition.value[1])
            raise Bounced(f"{server}: {error.text or 'no reason given'} ({condition})", condition) from None
        except aioxmpp.errors.ErroneousStanza as error:
            raise Bounced(f"{server}: {error}", "undefined-condition") from None
        return stanzas.services(reply.payload)

    async def upload(self, name: str, data: bytes, content_type: str, timeout: float = 30.0) -> str:
        """See `Session.upload`."""
        return await self._uploads.upload(name, data, content_type, timeout)

    def guest(self, make: Callable[[Session], G]) -> G:
        """See `Session.guest`."""
        if make not in self._guests:
            guest = self._guests[make] = make(self)
            for contact in self._presence.seen():
                guest.presence_changed(contact, self._presence.look(contact))
        return cast(G, self._guests[make])

    def dismiss(self, make: Callable[[Session], Guest]) -> None:
        """See `Session.dismiss`."""
        self._guests.pop(make, None)

    def serve_phones(self, host: PhoneHost | None, table: MutableMapping[str, str] | None = None) -> PhonePort:
        """See `Session.serve_phones`."""
        return self._phones.serve(host, {} if table is None else table)

    def serve_contacts(self, host: ContactHost | None) -> ContactPort:
        """See `Session.serve_contacts`."""
        return self._contact_disco.serve(host)

    def serve_stanzas(self, host: StanzaHost | None) -> StanzaPort:  # noqa: ARG002 - for a component
        """See `Session.serve_stanzas`."""
        raise ConfigError(
            f"account {self._account} is no component (XEP-0114): only a component gets the stanzas of a whole domain"
        )

    async def vcard_name(self, of: str, timeout: float = 2.0) -> str:
        """See `Session.vcard_name`."""
        return await vcards.name(self._link.request, parse(of).bare, timeout)

    # Rooms

    async def join_room(self, room: str, nick: str = "", *, password: str = "", timeout: float = 10.0) -> RoomEntry:
        """See `Session.join_room`."""
        return await self._rooms.join(room, nick, password, timeout)

    async def leave_room(self, room: str, *, timeout: float = 10.0) -> bool:
        """See `Session.leave_room`."""
        return await self._rooms.leave(room, timeout)

    async def send_to_room(self, room: str, body: str, *, message_id: str = "", timeout: float = 10.0) -> str:
        """See `Session.send_to_room`."""
        text = clean_body(body, self._settings.max_body)
        message_id = message_id_of(message_id)
        deadline = _now() + timeout
        async with self._sending.slot(deadline):
            await self._rooms.send(room, text, message_id, deadline)
        return message_id

    # What the link tells (`link.Listener`)

    def client_made(self, client: Any) -> None:
        """Offer the guests' commands on a new client."""
        for feature in stanzas.READ_FEATURES:
            client.summon(aioxmpp.DiscoServer).register_feature(feature)
        self._commands.install(client)
        self._phones.install(client)
        self._contact_disco.install(client)

    def session_began(self) -> None:
        """Show that we are there, ask who else is, and enter our rooms."""
        self._began_at = _now()
        self._pay()
        self._uploads.session_began()
        self._sign_in()
        self._signed_in = True
        self._rooms.session_began()
        self._background.spawn(self._phones.session_began())
        for guest in self._guests.values():
            guest.session_began()

    def session_ended(self) -> None:
        """Forget who is there."""
        self._signed_in = self._roster_known = False
        self._presence.clear()
        hidings = [*self._owed, *self._asking.session_ended(), *self._answers.session_ended()]
        self._owed = hidings if self._settings.is_component else []  # a client's server has told that we are gone
        self._rooms.session_ended()
        self._phones.session_ended()
        self._tell_news()

    def message_came(self, message: Any) -> None:
        """Take a message stanza."""
        own = self._link.jid
        if self._rooms.message_came(message) or self._phones.message_came(message):
            return
        if self._contact_disco.message_came(message):
            return
        if message.type_ is aioxmpp.MessageType.ERROR:
            self._bounce_came(message, own)
            return
        inner, carbon = stanzas.carbon_of(message, own)
        if inner is None or inner.type_ is aioxmpp.MessageType.ERROR:
            return
        who = stanzas.sender(inner, own)
        occupant = self._rooms.holds(who) or room_stanzas.is_private(inner)
        if occupant and (who.is_bare or room_stanzas.is_invitation(inner)):
            return  # a room's own notice, such as an invitation: nobody's answer
        if inner.xep0184_received is not None:
            self._outbox.receipt(who, inner.xep0184_received.message_id, occupant=occupant)
        wrapped = (message, inner) if carbon else (message,)
        came = stanzas.incoming(
            inner,
            own,
            carbon=carbon,
            occupant=occupant,
            stamps=stanzas.stamps(*wrapped),
            now=self._clock(),
            wall=time.time(),
        )
        if came.displayed:
            self._outbox.displayed(who, came.displayed, occupant=occupant)
        came = self._in_thread_of_question(came)
        kept, awaited = self._inbox.is_kept_for_thread(came), self._inbox.is_awaited(came)
        if any(guest.message_came(came, kept=kept, awaited=awaited) for guest in self._guests.values()):
            self._received += bool(came.body)
            return
        if not self._inbox.put(came):
            return
        self._received += 1
        log.debug("account %s: %s from %s: %r", self._account, came.type, came.sender, came.body)
        if inner.xep0184_request_receipt and came.id and not carbon and self._presence.may_see_us(who):
            # Only to those who may see our presence: a receipt says that we are there (XEP-0184 section 8).
            self._link.post(stanzas.receipt(who, came.id))

    def presence_came(self, presence: Any) -> None:
        """Take a presence stanza."""
        if self._rooms.presence_came(presence):
            return
        kind = presence.type_
        who = stanzas.sender(presence, self._link.jid)
        if kind is aioxmpp.PresenceType.AVAILABLE:
            seen = stanzas.show(presence), stanzas.text(presence.status), presence.priority, stanzas.caps(presence)
            self._presence.available(who, *seen)
            self._asking.available(who, *seen)
            if (reason := stanzas.asked_for(presence)) is not None:
                self._answer_presence(who, reason, presence)
        elif kind is aioxmpp.PresenceType.UNAVAILABLE:
            self._presence.unavailable(who)
            self._asking.unavailable(who)
            self._answers.theirs_ended(who, self._local_of(presence))
        elif kind is aioxmpp.PresenceType.ERROR:
            self._presence.unavailable(who.bare)
            self._asking.unavailable(who.bare, refused=True)
            self._answers.replaced(who, self._local_of(presence))
        else:
            self._subscription_came(presence, who.bare)
        self._tell_news(who.bare)

    # What a client's login and a component do differently

    def _sign_in(self) -> None:
        """Begin to see and to be seen, on a new session. May be called in the session's task only, as those below."""
        raise NotImplementedError

    def _show_anew(self) -> None:
        """Show our presence as it is now to who sees it already."""
        raise NotImplementedError

    def _buddies_changed(self, before: Mapping[Jid, None]) -> None:
        """Ask the buddies for their presence who were none before; they, or what they may see, have changed."""
        raise NotImplementedError

    def _sign_out(self) -> None:
        """Tell before the end what the server will not tell for us."""

    def _subscription_came(self, presence: Any, who: Jid) -> None:
        """Take a presence stanza of ``who`` (bare JID) that is about who sees whose presence (RFC 6121 section 3)."""
        raise NotImplementedError

    def _sender(self, stanza: Any = None) -> Jid | None:  # noqa: ARG002 - for a component
        """Return what stands in ``from`` of a presence of ours, or of one that answers a stanza; None for nothing."""
        return None

    # Temporary presence (XEP-0276)

    def _request_presence(self, of: Jid, reason: str) -> Any:
        """Return the presence that asks somebody for theirs. Who sees ours in any case shall see nothing else in it."""
        request = stanzas.minimal_presence(self._sender(), of, self._phones.capabilities(), asking_for=reason)
        if self._presence.may_see_us(of):
            settings = self._settings
            stanzas.dress(request, settings.show, clean_status(settings.status), settings.priority)
        return request

    def _hiding(self, who: Jid) -> Any:
        """Return the presence that ends it, or None for somebody who sees our presence in any case."""
        return None if self._presence.may_see_us(who) else stanzas.hiding(self._sender(), who)

    def _answer_presence(self, who: Jid, reason: str, presence: Any) -> None:
        """Show ourselves to somebody who has asked, if the settings allow it."""
        if who not in self._may_ask:
            log.debug("account %s: %s asks for our presence: not allowed", self._account, who)
        elif who.bare != self._link.jid.bare and not self._presence.may_see_us(who):
            self._answers.answer(who, reason, self._phones.capabilities(), self._sender(presence))

    def _local_of(self, presence: Any) -> str:
        sender = self._sender(presence)
        return sender.local if sender else ""

    def _post_surely(self, stanza: Any) -> None:
        """Send a presence, or keep it until the connection is back."""
        if self._link.online:
            self._link.post(stanza)
        elif not self._stopping:
            self._owed.append(stanza)
            if len(self._owed) == 1:
                self._background.spawn(self._pay_when_resumed())

    async def _pay_when_resumed(self) -> None:
        with contextlib.suppress(NotConnected):
            await self._link.until_online(_now() + self._settings.resume_timeout)
            self._pay()

    def _pay(self) -> None:
        owed, self._owed = self._owed, []
        for stanza in owed:
            self._link.post(stanza)

    # Details

    def _occupant_left(self, occupant: Jid) -> None:
        self._inbox.end_for(occupant, Bounce("recipient-unavailable", f"{occupant} has left the room"))

    def _in_thread_of_question(self, message: IncomingMessage) -> IncomingMessage:
        """Return a message with the thread of the message that it replies to: that says more than its own."""
        sent = self._outbox.find(message.reply_to) if message.reply_to else None
        if sent is None or not sent.thread or not sent.is_to(message.sender, occupant=message.occupant):
            return message
        return dataclasses.replace(message, thread=sent.thread)

    def _bounce_came(self, message: Any, own: Jid) -> None:
        who = None if message.from_ is None else stanzas.sender(message, own)
        bounce = stanzas.bounce(message)
        sent = self._outbox.bounce(who, message.id_ or "", bounce, own)
        if sent is None:
            log.debug("account %s: an error from %s that belongs to none of our messages", self._account, who)
        elif not self._sending.awaits(sent):
            log.warning("account %s: message %s to %s: %s", self._account, sent.id, sent.to, bounce.text)
            self._inbox.bounce(sent.to, sent.thread, bounce)
            for guest in self._guests.values():
                guest.message_bounced(sent.id, bounced(sent))

    def _decide(self, who: Jid, local: str = "") -> Decision:
        """Return, and log, what we answer to somebody who asks to see our presence.

        Args:
            who: bare JID.
            local: of a component's address that is asked for; "" for a client's.
        """
        decision = decide(self._settings.subscriptions, who, self._buddies)
        log.info(
            "account %s: %s asks to see our presence: %s",
            self._account,
            who,
            "granted" if decision is Decision.APPROVE else "refused",
        )
        if decision is Decision.APPROVE:
            self._answers.replaced(who, local)
        return decision

    def _tell_news(self, *contacts: Jid) -> None:
        """Wake who waits for presence, and tell the guests of contacts (bare JIDs) whose presence may have changed."""
        self._news.set()
        self._news = asyncio.Event()
        for contact in contacts:
            presence = self._presence.look(contact)
            if presence.show is not Show.NOT_IN_ROSTER:
                for guest in self._guests.values():
                    guest.presence_changed(contact, presence)


def _buddies(settings: AccountSettings) -> Mapping[Jid, None]:
    """Return the bare JIDs of an account's buddies: in order, and quick to find.

    Raises:
        BadJid: one of them is none.
    """
    return dict.fromkeys(parse(buddy).bare for buddy in settings.buddies)


def _differ(one: AccountSettings, other: AccountSettings, keys: Iterable[str]) -> bool:
    return any(getattr(one, key) != getattr(other, key) for key in keys)


def _now() -> float:
    return asyncio.get_running_loop().time()
