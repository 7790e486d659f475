"""When to try to connect again. Pure: the clock and the dice are given."""

from __future__ import annotations

import random
from collections.abc import Callable

#: Seconds before the first new attempt. Short: a caller may be waiting, and most breaks are short.
FIRST = 0.25

#: Seconds that a connection must have lived for the waiting times to begin anew. Without this, a server that accepts
#: the login and then ends the connection at once would be dialled hundreds of times a second.
STABLE = 30.0


class Pace:
    """Waiting times that double with each failure.

    Args:
        longest: seconds between two attempts at the most.
        clock: seconds, monotonic.
        spread: returns a factor near 1, so that many clients of one server do not come back at the same moment.
    """

    def __init__(
        self,
        longest: float,
        clock: Callable[[], float],
        spread: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311 - no secret depends on it
    ) -> None:
        self._longest = longest
        self._clock = clock
        self._spread = spread
        self._next = 0.0
        self._online_since: float | None = None

    def online(self) -> None:
        """Note that an attempt succeeded."""
        self._online_since = self._clock()

    def next_delay(self) -> float:
        """Return how many seconds to wait before the attempt that comes now. The first one waits for nothing."""
        if self._online_since is not None and self._clock() - self._online_since >= STABLE:
            self._next = FIRST
        self._online_since = None
        delay = min(self._next, self._longest)
        self._next = max(FIRST, delay * 2)
        return min(delay * self._spread(), self._longest)
