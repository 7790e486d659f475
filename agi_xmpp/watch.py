"""What happens, as it happens, for `agi-xmpp watch`: the last lines, and a wait for the next ones."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import unicodedata
from collections import deque
from collections.abc import Callable
from typing import Any

#: Lines kept for somebody who looks every now and then: a busy minute of a large office.
LIMIT = 1000


class Watch:
    """The last lines.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lines: deque[dict[str, Any]] = deque(maxlen=LIMIT)
        self._numbers = itertools.count(1)
        self._last = 0
        self._changed = asyncio.Event()

    @property
    def last(self) -> int:
        """The number of the latest line, 0 before the first."""
        return self._last

    def add(self, who: str, text: str) -> None:
        """Add a line.

        Args:
            who: whom it is about, such as a JID.
            text: what happened; never a message's text, never a secret.
        """
        self._last = next(self._numbers)
        self._lines.append({"number": self._last, "at": self._clock(), "who": _shown(who), "text": _shown(text)})
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, number: int, timeout: float) -> list[dict[str, Any]]:
        """Return the lines behind the one with that number, oldest first; wait for one if there is none.

        Args:
            number: 0 for all that are kept.
            timeout: seconds; then the list is empty.
        """
        if number > self._last:  # of an earlier run of the service
            number = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._last <= number:
                    await self._changed.wait()
        return [line for line in self._lines if line["number"] > number]


def _shown(text: str) -> str:
    """Return a text as a terminal may have it: callers' names can hold what would change or hide other lines."""
    return "".join("?" if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
