"""Texts of phones on their way into a room that is another service's. Pure.

They go out in the order in which they came. Once sent, they are remembered until the room reflects them, because it may
return them instead.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Texts of one conference that wait at the most.
WAITING_LIMIT = 1000

#: Texts that were sent and neither reflected nor returned: the oldest are forgotten.
SENT_LIMIT = 1000

#: Seconds that a text may wait: later, nobody expects it any more.
HOLD_TIME = 120.0

#: How often a text that comes back, because we were not in any more, is sent.
ATTEMPTS = 3


@dataclass(slots=True)
class Text:
    """A text.

    Attributes:
        number: counts the texts of a room.
        channel: of the phone that it is from; "" if that is not certain.
        display: the name that the phone gave itself.
        text: ready for chat.
        since: when it came, by the clock.
        attempts: how often it was sent.
    """

    number: int
    channel: str
    display: str
    text: str
    since: float
    attempts: int = 0


class PuppetQueue:
    """The texts of one room.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._count = 0
        self._waiting: list[Text] = []
        self._sent: OrderedDict[str, Text] = OrderedDict()

    def add(self, channel: str, display: str, text: str) -> bool:
        """Take a text; return False if too many wait."""
        if len(self._waiting) >= WAITING_LIMIT:
            return False
        self._count += 1
        self._waiting.append(Text(self._count, channel, display, text, self._clock()))
        return True

    @property
    def first(self) -> Text | None:
        """The one that is to be sent next; None if there is none."""
        return self._waiting[0] if self._waiting else None

    def drop(self) -> None:
        """Send the first one not at all."""
        del self._waiting[0]

    def sent(self, id_: str) -> None:
        """The first one was sent."""
        text = self._waiting.pop(0)
        text.attempts += 1
        self._sent[id_] = text
        if len(self._sent) > SENT_LIMIT:
            self._sent.popitem(last=False)

    def reflected(self, id_: str) -> None:
        """A text has reached the room."""
        self._sent.pop(id_, None)

    def returned(self, id_: str) -> Text | None:
        """A text has come back: return it, or None if we do not know it."""
        return self._sent.pop(id_, None)

    def send_again(self, text: Text) -> bool:
        """Let one that has come back wait in its old place; return False if that was tried often enough."""
        if text.attempts >= ATTEMPTS:
            return False
        bisect.insort(self._waiting, text, key=lambda one: one.number)
        return True

    def uncertain(self) -> Sequence[Text]:
        """Forget, and return, those of which nobody will say whether they have arrived: the stream has ended."""
        sent, self._sent = self._sent, OrderedDict()
        return list(sent.values())

    def late(self) -> Sequence[Text]:
        """Forget, and return, those that have waited too long."""
        limit = self._clock() - HOLD_TIME
        late = [text for text in self._waiting if text.since < limit]
        self._waiting = [text for text in self._waiting if text.since >= limit]
        return late
