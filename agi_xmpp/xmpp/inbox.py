"""Who gets which message. Pure: no I/O, no asyncio, the clock is given.

The rules, in the order in which they decide (DESIGN rule 5):

1. Only messages of type chat and normal with a text count.
2. A message of the contact that carries a waiter's thread goes to that waiter.
3. One that carries the thread of another *exchange* is kept for it. An exchange is a question that was asked in a
   thread and whose wait has not ended yet.
4. Any other goes to the oldest waiter for that contact: many clients send no thread, or an old one.
5. What nobody waits for is kept for a while: as long as `ttl`, and as long as a question is open that it may answer.

A waiter takes nothing that is older than its question, or, without a question, older than it asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agi_xmpp.xmpp.model import IncomingMessage, Jid

#: Seconds for which a question whose wait has not begun is open: a prompt, a menu or music on hold may lie between
#: the two. Without an end, messages for a call that is long over would be kept from others.
QUESTION_TTL = 600.0

#: Characters of all kept texts together. The limits by count alone would let a flood take gigabytes.
CHARACTER_LIMIT = 16 * 1024 * 1024

#: Types that can be an answer. The others are bounces, rooms and broadcasts (RFC 6121 section 5.2.2).
ANSWER_TYPES = frozenset({"chat", "normal"})


@dataclass(frozen=True, slots=True)
class Bounce:
    """Why a message came back.

    Attributes:
        condition: RFC 6120 section 8.3.3, such as ``item-not-found``.
        text: one sentence for an administrator.
    """

    condition: str
    text: str


@dataclass(eq=False, slots=True)
class Waiter:
    """Somebody who waits for one message.

    Attributes:
        sender: of whom: a bare JID for any resource, a full one for that resource.
        thread: of the question, or "".
        not_before: moment before which a message cannot be the answer.
        deliver: called once with the message.
        fail: called once instead, if the question came back.
    """

    sender: Jid
    thread: str
    not_before: float
    deliver: Callable[[IncomingMessage], None]
    fail: Callable[[Bounce], None]

    def takes(self, message: IncomingMessage) -> bool:
        """Return True if the message is of the right sender and not too old."""
        if message.sent_at < self.not_before:
            return False
        # Each occupant of a room is somebody else: its bare JID stands for none of them.
        return self.sender == message.sender or (not message.occupant and self.sender == message.sender.bare)


@dataclass(slots=True)
class _Exchange:
    """A question in a thread: asked, and its wait not ended."""

    asked_at: float
    bounce: Bounce | None = None


@dataclass(slots=True)
class _Contact:
    messages: deque[IncomingMessage] = field(default_factory=deque)
    waiters: list[Waiter] = field(default_factory=list)
    exchanges: dict[str, _Exchange] = field(default_factory=dict)

    @property
    def expected(self) -> bool:
        """True if somebody counts on an answer of this contact."""
        return bool(self.waiters or self.exchanges)

    def is_waited_for(self, thread: str) -> bool:
        """Return True if somebody waits in that thread."""
        return any(waiter.thread == thread for waiter in self.waiters)

    def is_kept_for_other(self, message: IncomingMessage, thread: str) -> bool:
        """Return True if the message answers an open question of another thread."""
        return message.thread != thread and message.thread in self.exchanges


class Inbox:
    """The messages that came, and those who wait for one.

    Args:
        clock: seconds, monotonic; the same that stamps the messages.
        ttl: seconds that a message is kept for whoever asks, when no question was open.
        message_limit: messages kept for one contact; the oldest goes first.
        contact_limit: contacts that messages are kept for. The first of those that nobody expects an answer of goes
            first, so that a flood of strangers cannot push an expected answer out.
        character_limit: of all kept texts.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        ttl: float,
        message_limit: int,
        contact_limit: int,
        character_limit: int = CHARACTER_LIMIT,
    ) -> None:
        self._clock = clock
        self._ttl = ttl
        self._message_limit = message_limit
        self._contact_limit = contact_limit
        self._character_limit = character_limit
        self._contacts: dict[Jid, _Contact] = {}
        # Contacts with messages, in the order of their first one: a dict keeps order and removes fast.
        self._holding: dict[Jid, None] = {}
        self._characters = 0
        self._next_sweep = clock()

    @property
    def unclaimed(self) -> int:
        """How many messages are kept."""
        self._sweep()
        return sum(len(self._contacts[jid].messages) for jid in self._holding)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(contact.waiters) for contact in self._contacts.values())

    def ask(self, contact: Jid, thread: str) -> bool:
        """Note that a question goes to ``contact`` now. Without a thread there is nothing to note.

        Returns:
            True if this opened the exchange: `retract` may close it again if the question could not be sent.
        """
        self._sweep()
        if not thread:
            return False
        exchanges = self._of(contact.bare).exchanges
        if known := exchanges.get(thread):
            known.bounce = None  # whoever asks again after a bounce waits for the new question's answer
            return False
        exchanges[thread] = _Exchange(self._clock())
        return True

    def retract(self, contact: Jid, thread: str) -> None:
        """Take back what `ask` noted: the question never left."""
        self._close(contact.bare, thread)

    def bounce(self, contact: Jid, thread: str, bounce: Bounce) -> None:
        """Note that a message in ``thread`` to ``contact`` came back: its waiters fail, be it now or when they come."""
        bare = contact.bare
        known = self._contacts.get(bare)
        if known is None:
            return
        waiters = [waiter for waiter in known.waiters if waiter.thread == thread]
        for waiter in waiters:
            self.end(waiter)
            waiter.fail(bounce)
        if not waiters and (exchange := known.exchanges.get(thread)):
            exchange.bounce = bounce

    def is_kept_for_thread(self, message: IncomingMessage) -> bool:
        """Return True if the message carries the thread of an open question to its sender, or of somebody who waits."""
        contact = self._contacts.get(message.sender.bare)
        if contact is None or not message.thread:
            return False
        return message.thread in contact.exchanges or any(
            waiter.thread == message.thread and waiter.takes(message) for waiter in contact.waiters
        )

    def is_awaited(self, message: IncomingMessage) -> bool:
        """Return True if somebody waits for a message of its sender, be it this one or another."""
        contact = self._contacts.get(message.sender.bare)
        return contact is not None and any(waiter.takes(message) for waiter in contact.waiters)

    def end_for(self, occupant: Jid, bounce: Bounce) -> None:
        """Fail those who wait for an occupant of a room who is gone: the nick may be another person's next."""
        known = self._contacts.get(occupant.bare)
        for waiter in [waiter for waiter in known.waiters if waiter.sender == occupant] if known else []:
            self.end(waiter)
            waiter.fail(bounce)

    def put(self, message: IncomingMessage) -> bool:
        """Give a message to the waiter that it is for, or keep it.

        Returns:
            True if it can be an answer at all.
        """
        self._sweep()
        if message.type not in ANSWER_TYPES or not message.body:
            return False
        bare = message.sender.bare
        known = self._contacts.get(bare)
        waiter = self._waiter_for(known, message) if known else None
        if waiter:
            self.end(waiter)
            waiter.deliver(message)
        elif self._is_alive(known, message):
            self._keep(bare, message)
        return True

    def wait(
        self,
        sender: Jid,
        thread: str,
        max_age: float | None,
        deliver: Callable[[IncomingMessage], None],
        fail: Callable[[Bounce], None],
    ) -> Waiter:
        """Begin to wait. ``deliver`` or ``fail`` may be called at once.

        Args:
            sender: bare or full JID.
            thread: of the question, or "".
            max_age: seconds that an answer may be old when the wait begins; 0 takes only what comes from now on; None
                means any that came after the question, and `ttl` if there was no question.
            deliver, fail: see `Waiter`.
        """
        self._sweep()
        now = self._clock()
        bare = sender.bare
        contact = self._of(bare)
        exchange = contact.exchanges.get(thread)
        if exchange is None:
            not_before = now - (self._ttl if max_age is None else max_age)
        else:
            not_before = exchange.asked_at if max_age is None else max(exchange.asked_at, now - max_age)
        waiter = Waiter(sender, thread, not_before, deliver, fail)
        contact.waiters.append(waiter)
        if exchange and exchange.bounce:
            self.end(waiter)
            waiter.fail(exchange.bounce)
        elif max_age != 0:
            for message in contact.messages:
                if waiter.takes(message) and not contact.is_kept_for_other(message, thread):
                    self._drop(bare, message)
                    self.end(waiter)
                    waiter.deliver(message)
                    break
        return waiter

    def end(self, waiter: Waiter) -> None:
        """End a wait: answered, timed out or cancelled. Ending it twice does nothing."""
        bare = waiter.sender.bare
        contact = self._contacts.get(bare)
        if contact is None or waiter not in contact.waiters:
            return
        contact.waiters.remove(waiter)
        if not contact.is_waited_for(waiter.thread):
            self._close(bare, waiter.thread)
        self._forget_if_idle(bare)

    def _waiter_for(self, contact: _Contact, message: IncomingMessage) -> Waiter | None:
        takers = [waiter for waiter in contact.waiters if waiter.takes(message)]
        if message.thread:
            for waiter in takers:
                if waiter.thread == message.thread:
                    return waiter
        if message.thread in contact.exchanges or not takers:
            return None
        return takers[0]

    def _close(self, bare: Jid, thread: str) -> None:
        """End an exchange; what was kept for it is for everybody now."""
        contact = self._contacts.get(bare)
        if contact is None or contact.exchanges.pop(thread, None) is None:
            return
        self._rematch(bare, contact)
        self._forget_if_idle(bare)

    def _rematch(self, bare: Jid, contact: _Contact) -> None:
        """Offer the kept messages to the waiters again, and drop those that no question keeps alive any more."""
        for message in list(contact.messages):
            if message not in contact.messages:
                continue  # a delivery below closed an exchange, which came here again
            waiter = self._waiter_for(contact, message)
            if waiter:
                self._drop(bare, message)
                self.end(waiter)
                waiter.deliver(message)
            elif not self._is_alive(contact, message):
                self._drop(bare, message)

    def _is_alive(self, contact: _Contact | None, message: IncomingMessage) -> bool:
        if message.sent_at >= self._clock() - self._ttl:
            return True
        return contact is not None and any(
            message.sent_at >= exchange.asked_at for exchange in contact.exchanges.values()
        )

    def _keep(self, bare: Jid, message: IncomingMessage) -> None:
        messages = self._of(bare).messages
        messages.append(message)
        self._holding.setdefault(bare)
        self._characters += len(message.body)
        if len(messages) > self._message_limit:
            self._drop(bare, messages[0])
        if len(self._holding) > self._contact_limit:
            victim = self._least_expected()
            for old in list(self._contacts[victim].messages):
                self._drop(victim, old)
        while self._characters > self._character_limit:
            victim = self._least_expected()
            self._drop(victim, self._contacts[victim].messages[0])

    def _least_expected(self) -> Jid:
        unexpected = (jid for jid in self._holding if not self._contacts[jid].expected)
        return next(unexpected, next(iter(self._holding)))

    def _drop(self, bare: Jid, message: IncomingMessage) -> None:
        contact = self._contacts[bare]
        contact.messages.remove(message)
        self._characters -= len(message.body)
        if not contact.messages:
            del self._holding[bare]
            self._forget_if_idle(bare)

    def _of(self, bare: Jid) -> _Contact:
        return self._contacts.setdefault(bare, _Contact())

    def _forget_if_idle(self, bare: Jid) -> None:
        contact = self._contacts.get(bare)
        if contact and not contact.messages and not contact.expected:
            del self._contacts[bare]

    def _sweep(self) -> None:
        """Drop what is too old. At most once a second, for it looks at everything."""
        now = self._clock()
        if now < self._next_sweep:
            return
        self._next_sweep = now + 1.0
        for bare, contact in list(self._contacts.items()):
            for thread in list(self._too_old(contact, now)):
                self._close(bare, thread)
            for message in list(contact.messages):
                if not self._is_alive(contact, message):
                    self._drop(bare, message)

    @staticmethod
    def _too_old(contact: _Contact, now: float) -> Iterator[str]:
        for thread, exchange in contact.exchanges.items():
            if exchange.asked_at < now - QUESTION_TTL and not contact.is_waited_for(thread):
                yield thread
