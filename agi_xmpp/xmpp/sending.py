"""Our messages on their way: sent until the server has them, or queued until there is a session.

What became of them afterwards is known to `outbox`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import aioxmpp
from aioxmpp.errors import XMPPError

from agi_xmpp.background import Background
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import BadText, Bounced, NotAcknowledged, NotConfirmed, NotConnected
from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.inbox import Inbox
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.link import Delivery, Link, Outcome
from agi_xmpp.xmpp.model import PLAIN, Extras, Jid
from agi_xmpp.xmpp.outbox import Outbox, Queue, Queued, Sent
from agi_xmpp.xmpp.text import clean_body, thread_id

log = logging.getLogger("agi_xmpp.xmpp")

#: Messages on their way to the server at once. aioxmpp has no limit and no back-pressure: 1,000 of `max_body` = 60,000
#: characters are 60 to 240 MB if the server stops reading.
WINDOW = 1000

#: Seconds to wait for the ping behind a message that the server has acknowledged already. The ping only collects a
#: bounce that comes at once; a server that does not answer it costs no more than this.
FENCE_TIME = 1.0


class Sending:
    """The messages of one account on their way to its server.

    Args:
        account: its name, for the log.
        link: its connection.
        settings: of the account.
        inbox: is told which answers are expected.
        outbox: remembers what was sent.
        clock: seconds, monotonic; the same as the inbox's.

    Attributes:
        count: how many the server has got.
    """

    def __init__(
        self,
        account: str,
        link: Link,
        settings: AccountSettings,
        inbox: Inbox,
        outbox: Outbox,
        clock: Callable[[], float],
    ) -> None:
        self.count = 0
        self._account = account
        self._link = link
        self._settings = settings
        self._inbox = inbox
        self._outbox = outbox
        self._clock = clock
        self._queue = Queue(clock, settings.queue_limit)
        self._window = asyncio.Semaphore(WINDOW)
        self._background = Background(log, f"account {account}")
        self._drains: dict[Jid, asyncio.Task[None]] = {}
        self._under_way: set[Sent] = set()
        self._stopping = False

    async def stop(self, timeout: float) -> None:
        """Send what is queued within ``timeout`` seconds; what is left then is dropped, with a line in the log each."""
        self._stopping = True
        if self._drains:
            await asyncio.wait(self._drains.values(), timeout=timeout)
        for message in self._queue:
            self._dropped(message, "the service stops")
        await self._background.stop()

    def awaits(self, sent: Sent) -> bool:
        """Tell whether somebody still waits for the server to take this message, and learns if it comes back."""
        return sent in self._under_way

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
        address = parse(to)
        text = self._clean(body, extras)
        thread = thread_id(thread)
        sent = self._outbox.add(
            message_id_of(message_id), address, thread, wants_receipt=receipt, markable=extras.markable
        )
        opened = extras.expects_answer and self._inbox.ask(address, thread)
        try:
            await self._send(sent, text, extras, _now() + timeout)
        except (BadText, NotConnected):
            if opened:
                self._inbox.retract(address, thread)
            raise
        except Bounced:
            if sent.bounce:  # whoever waits for the answer all the same shall not wait in vain
                self._inbox.bounce(address, thread, sent.bounce)
            raise
        return sent.id

    async def delivered(self, message_id: str, timeout: float) -> None:
        """See `Session.delivered`."""
        sent = self._outbox.find(message_id)
        if sent is None or not sent.wants_receipt:
            raise NotAcknowledged(f"no receipt was asked for with the message {message_id}")
        if not await _comes_true(sent, lambda: sent.delivered, timeout):
            raise NotAcknowledged(f"{sent.to} sent no receipt within {timeout:g} s")

    async def seen(self, message_id: str, timeout: float) -> None:
        """See `Session.seen`."""
        sent = self._outbox.find(message_id)
        if sent is None or not sent.markable:
            raise NotAcknowledged(f"no read mark was asked for with the message {message_id}")
        if not await _comes_true(sent, lambda: sent.seen, timeout):
            raise NotAcknowledged(f"no client of {sent.to} has said within {timeout:g} s that it has shown the message")

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
        address = parse(to)
        text = self._clean(body, extras)
        for late in self._queue.expired():
            self._dropped(late, "there was no session in time")
        if self._stopping:
            raise NotConnected(f"account {self._account} is being stopped")
        if self._queue.is_full:
            raise NotConnected(f"{len(self._queue)} messages wait for a session already (queue_limit)")
        message = Queued(message_id_of(message_id), address, text, thread_id(thread), self._clock() + max_age, extras)
        self._queue.put(message)
        if extras.expects_answer:
            self._inbox.ask(address, message.thread)
        contact = address.bare
        if contact not in self._drains:
            # One task for each contact: in order for everybody, and nobody waits behind another's message.
            self._drains[contact] = self._background.spawn(self._drain(contact))
        return message.id

    async def _drain(self, contact: Jid) -> None:
        """Send what waits for one contact, one by one."""
        try:
            while message := self._queue.first(contact):
                await self._send_queued(message)
        finally:
            # Here and not when the task is seen to be done: what is queued in between would find nobody to send it.
            del self._drains[contact]

    async def _send_queued(self, message: Queued) -> None:
        """Send one message that waited, and take it out of the queue whatever becomes of it."""
        sent = self._outbox.add(message.id, message.to, message.thread, markable=message.extras.markable)
        deadline = _now() + message.expires_at - self._clock()
        try:
            await self._send(sent, message.body, message.extras, deadline)
        except NotConnected:
            self._dropped(message, "there was no session in time")
        except NotConfirmed as error:
            # Sent again, it would come twice if it had come.
            log.warning("account %s: message %s to %s: %s", self._account, message.id, message.to, error)
        except (BadText, Bounced) as error:
            self._dropped(message, str(error))
        finally:
            self._queue.remove(message)

    def _dropped(self, message: Queued, reason: str) -> None:
        log.warning("account %s: message %s to %s was dropped: %s", self._account, message.id, message.to, reason)

    def _clean(self, body: str, extras: Extras) -> str:
        """Return a text as it will arrive; BadText if it, or the line above it, cannot be sent."""
        if extras.subject:
            clean_body(extras.subject, self._settings.max_body)
        return clean_body(body, self._settings.max_body)

    async def _send(self, sent: Sent, body: str, extras: Extras, deadline: float) -> None:
        """Send until the server has the message.

        Args:
            sent: its record.
            body: its text.
            extras: what else it carries.
            deadline: moment on the loop's clock.
        """
        self._under_way.add(sent)
        try:
            async with self.slot(deadline):
                while not await self._try_once(sent, body, extras, deadline):
                    pass
        finally:
            self._under_way.discard(sent)

    @contextlib.asynccontextmanager
    async def slot(self, deadline: float) -> AsyncIterator[None]:
        """Send one message inside; not more than `WINDOW` are on their way at once.

        Raises:
            NotConnected: there is no place by ``deadline`` (moment on the loop's clock).
        """
        try:
            async with asyncio.timeout_at(deadline):
                await self._window.acquire()
        except TimeoutError:
            raise NotConnected(f"{WINDOW} messages are on their way already; nothing was sent") from None
        try:
            yield
            self.count += 1
        finally:
            self._window.release()

    async def _try_once(self, sent: Sent, body: str, extras: Extras, deadline: float) -> bool:
        """Send once. Returns False if the message certainly did not reach the server and may be sent again.

        A ping goes behind the message. Stanzas are processed in order, so its reply says that the server has the
        message if there are no acknowledgements (XEP-0198), and that a bounce of the server's own would be here.
        """
        await self._link.until_online(deadline)
        # Made anew for each attempt: our own address may be another one now.
        stanza = stanzas.chat(
            sent.id, sent.to, body, sent.thread, wants_receipt=sent.wants_receipt, extras=extras, own=self._link.jid
        )
        delivery = self._link.send(stanza)
        fence = self._link.request(stanzas.ping(self._link.server))
        try:
            outcome = await self._outcome(delivery, deadline)
            if outcome is Outcome.NOT_SENT:
                return False
            acknowledged = outcome is Outcome.ACKNOWLEDGED
            passed = sent.bounce is not None or await _passed(
                fence, min(deadline, _now() + FENCE_TIME) if acknowledged else deadline
            )
        finally:
            fence.cancel()
        if sent.bounce:
            raise bounced(sent)
        if not acknowledged and not passed:
            raise NotConfirmed(f"the connection broke before the server confirmed the message to {sent.to}")
        return True

    async def _outcome(self, delivery: Delivery, deadline: float) -> Outcome:
        try:
            await asyncio.wait({delivery.outcome}, timeout=max(deadline - _now(), 0.0))
        except asyncio.CancelledError:
            delivery.withdraw()
            raise
        if not delivery.outcome.done() and not delivery.withdraw():
            raise NotConfirmed("the server did not confirm the message in time; it may have arrived")
        outcome = delivery.outcome.result()
        if outcome is Outcome.REFUSED:
            raise BadText("the message cannot be written as XML")
        if outcome is Outcome.NOT_SENT and _now() >= deadline:
            raise NotConnected(f"account {self._account} could not send the message in time")
        return outcome


async def _passed(fence: asyncio.Future[Any], deadline: float) -> bool:
    """Return True if the server answered the ping by ``deadline``, be it with an error."""
    await asyncio.wait({fence}, timeout=max(deadline - _now(), 0.0))
    if not fence.done():
        return False
    error = fence.exception()
    return error is None or isinstance(error, (XMPPError, aioxmpp.errors.ErroneousStanza))


async def _comes_true(sent: Sent, condition: Callable[[], bool], timeout: float) -> bool:
    """Wait until something has become of a sent message; False if it has not within ``timeout`` seconds.

    Raises:
        Bounced: the message came back.
    """
    changed = asyncio.Event()
    sent.watchers.append(changed.set)
    try:
        async with asyncio.timeout(timeout):
            while not (condition() or sent.bounce):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        return False
    finally:
        sent.watchers.remove(changed.set)
    if not condition():
        raise bounced(sent)
    return True


def bounced(sent: Sent) -> Bounced:
    """Return the error that tells of a message that came back."""
    assert sent.bounce is not None  # noqa: S101 - the callers have looked
    return Bounced(f"{sent.to}: {sent.bounce.text}", sent.bounce.condition)


def message_id_of(given: str) -> str:
    """Return the stanza id to use: the given one, or a random one."""
    if not given:
        return secrets.token_hex(12)
    return clean_body(given, 256)


def _now() -> float:
    return asyncio.get_running_loop().time()
