"""What is to happen later, kept without a clock of its own. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Final

#: Seconds by which `Timers.run` may be late, and the time still counts. If it is later than that, we had no processor,
#: and what was to be sent again was not.
LATE: Final = 0.125


class Timer:
    """Something that happens later, unless `cancel` comes first."""

    __slots__ = ("_action", "at")

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self._action: Callable[[], None] | None = action

    @property
    def cancelled(self) -> bool:
        """True once it will not happen (again)."""
        return self._action is None

    def cancel(self) -> None:
        """Let it not happen. Again, or afterwards, this does nothing."""
        self._action = None

    def run(self) -> None:
        """Do it now."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Timers:
    """All timers of an agent. Time in which `run` should have been called and was not does not count for any of them.

    Args:
        clock: returns seconds, never fewer than before.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lost = 0.0
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Let ``action`` be called in ``seconds``, by `run`."""
        timer = Timer(self._clock() - self._lost + seconds, action)
        heapq.heappush(self._heap, (timer.at, next(self._order), timer))
        return timer

    def next_at(self) -> float | None:
        """Return when `run` is to be called next; None if there is nothing to wait for."""
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
        return self._heap[0][0] + self._lost if self._heap else None

    def run(self) -> None:
        """Do all that is due."""
        now = self._clock()
        at = self.next_at()
        if at is not None and now - at > LATE:
            self._lost += now - at
        while (at := self.next_at()) is not None and at <= now:
            heapq.heappop(self._heap)[2].run()
