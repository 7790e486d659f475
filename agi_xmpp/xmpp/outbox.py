"""What became of the messages that we sent: receipts, bounces, and those that wait for a session.

Pure: no I/O, no asyncio, the clock is given.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agi_xmpp.xmpp.inbox import Bounce
from agi_xmpp.xmpp.model import PLAIN, Extras, Jid

#: Seconds for which a receipt or a bounce of a sent message still finds it. A server that stores messages for somebody
#: who is offline bounces within minutes, if at all.
SENT_TTL = 3600.0

#: Sent messages remembered at once: 10,000 take about 5 MB.
SENT_LIMIT = 10_000


@dataclass(eq=False, slots=True)
class Sent:
    """A message that we sent.

    Attributes:
        id: of the stanza.
        to: exactly as addressed.
        thread: of the stanza, or "".
        wants_receipt: True if we asked for a receipt (XEP-0184).
        sent_at: on the outbox's clock.
        markable: True if we asked to be told when it is shown (XEP-0333).
        delivered: the receipt came.
        seen: a client of the addressee has shown it.
        bounce: why it came back, if it did.
        watchers: called when ``delivered``, ``seen`` or ``bounce`` changes.
    """

    id: str
    to: Jid
    thread: str
    wants_receipt: bool
    sent_at: float
    markable: bool = False
    delivered: bool = False
    seen: bool = False
    bounce: Bounce | None = None
    watchers: list[Callable[[], None]] = field(default_factory=list)

    def is_to(self, sender: Jid, *, occupant: bool) -> bool:
        """Return True if ``sender`` is whom it was sent to; an occupant of a room shares the bare JID with others."""
        return sender == self.to if occupant else sender.bare == self.to.bare

    def _changed(self) -> None:
        for watcher in list(self.watchers):
            watcher()


class Outbox:
    """Finds the sent message that a receipt or a bounce speaks of, and refuses those that others forge.

    Args:
        clock: seconds, monotonic.
        limit: messages remembered; the oldest goes first.
        ttl: seconds that each is remembered.
    """

    def __init__(self, clock: Callable[[], float], *, limit: int = SENT_LIMIT, ttl: float = SENT_TTL) -> None:
        self._clock = clock
        self._limit = limit
        self._ttl = ttl
        self._sent: OrderedDict[str, Sent] = OrderedDict()

    def __len__(self) -> int:
        self._expire()
        return len(self._sent)

    def add(
        self, message_id: str, to: Jid, thread: str, *, wants_receipt: bool = False, markable: bool = False
    ) -> Sent:
        """Remember a message that is about to be sent."""
        self._expire()
        sent = Sent(message_id, to, thread, wants_receipt, self._clock(), markable)
        self._sent.pop(message_id, None)  # so that a used id moves to the end
        self._sent[message_id] = sent
        if len(self._sent) > self._limit:
            self._sent.popitem(last=False)
        return sent

    def find(self, message_id: str) -> Sent | None:
        """Return the message of that id, if it is still remembered."""
        self._expire()
        return self._sent.get(message_id)

    def receipt(self, sender: Jid, message_id: str, *, occupant: bool = False) -> bool:
        """Take a receipt. Only the addressee's counts: ids are no secrets (XEP-0184 section 8).

        Args:
            sender: who sent it.
            message_id: what for.
            occupant: the sender is somebody in a room, whose bare JID others share.

        Returns:
            True if it belongs to a message that asked for one.
        """
        sent = self.find(message_id)
        if sent is None or not sent.wants_receipt:
            return False
        if not sent.is_to(sender, occupant=occupant):
            return False
        sent.delivered = True
        sent._changed()
        return True

    def displayed(self, sender: Jid, message_id: str, *, occupant: bool = False) -> bool:
        """Take a displayed marker (XEP-0333). As with receipts, only the addressee's counts.

        Whoever has seen a message has seen those before it, and clients mark the last one only: what we sent to the
        same address in the same thread earlier counts as seen, too.

        Args:
            sender, occupant: as for `receipt`.
            message_id: of the message that was shown.

        Returns:
            True if it belongs to a message that asked for one.
        """
        marked = self.find(message_id)
        if marked is None or not marked.markable or not marked.is_to(sender, occupant=occupant):
            return False
        if marked.seen:
            return True  # and so are those before it: no client can make us look at them again and again
        for sent in list(self._sent.values()):
            if sent.markable and not sent.seen and (sent.to, sent.thread) == (marked.to, marked.thread):
                sent.seen = True
                sent._changed()
            if sent is marked:
                break
        return True

    def bounce(self, sender: Jid | None, message_id: str, bounce: Bounce, own: Jid) -> Sent | None:
        """Take a message of type error.

        Args:
            sender: who sent it; None means our own server (RFC 6120 section 8.1.2.1).
            message_id: of the message that it answers.
            bounce: why.
            own: our own address.

        Returns:
            The message that came back, or None if there is none, or if ``sender`` has no say in it: an error counts
            from the addressee exactly, from the addressee's server and from our own.
        """
        sent = self.find(message_id)
        if sent is None:
            return None
        entitled = (sent.to, Jid("", sent.to.domain), own.bare, Jid("", own.domain))
        if sender is not None and sender not in entitled:
            return None
        sent.bounce = bounce
        sent._changed()
        return sent

    def _expire(self) -> None:
        oldest = self._clock() - self._ttl
        while self._sent and next(iter(self._sent.values())).sent_at < oldest:
            self._sent.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits for a session.

    Attributes:
        id, to, body, thread, extras: as in `Session.send_message`.
        expires_at: moment at which it is dropped.
    """

    id: str
    to: Jid
    body: str
    thread: str
    expires_at: float
    extras: Extras = PLAIN


class Queue:
    """Messages that wait for a session: in order for each contact, limited by count and age.

    Args:
        clock: seconds, monotonic.
        limit: messages at the most.
    """

    def __init__(self, clock: Callable[[], float], limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._lines: dict[Jid, deque[Queued]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Queued]:
        for line in self._lines.values():
            yield from line

    @property
    def is_full(self) -> bool:
        """True if nothing more can be taken."""
        return self._count >= self._limit

    def put(self, message: Queued) -> None:
        """Take a message; the caller has looked at `is_full`."""
        self._lines.setdefault(message.to.bare, deque()).append(message)
        self._count += 1

    def first(self, contact: Jid) -> Queued | None:
        """Return the oldest message for a contact, without taking it out."""
        line = self._lines.get(contact.bare)
        return line[0] if line else None

    def remove(self, message: Queued) -> None:
        """Take a message out: sent, or given up."""
        bare = message.to.bare
        line = self._lines.get(bare)
        if line is None or message not in line:
            return
        line.remove(message)
        self._count -= 1
        if not line:
            del self._lines[bare]

    def expired(self) -> list[Queued]:
        """Take out and return what waited too long."""
        now = self._clock()
        late = [message for message in self if message.expires_at <= now]
        for message in late:
            self.remove(message)
        return late
