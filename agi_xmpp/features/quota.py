"""So much of something for each person within a time. Pure."""

from __future__ import annotations

from collections.abc import Callable

from cachetools import TTLCache

from agi_xmpp.xmpp.model import Jid

#: People whose requests are remembered; the one who has not asked for the longest is forgotten first.
PEOPLE = 100_000


class _Spent:
    """What one person has had in the present period."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Quota:
    """So many within a period, which begins with the first.

    Args:
        limit: how many.
        period: seconds.
        clock: seconds, monotonic.
    """

    def __init__(self, limit: int, period: float, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._spent: TTLCache[Jid, _Spent] = TTLCache(PEOPLE, period, timer=clock)

    def allows(self, person: Jid, count: int) -> bool:
        """Return True if that many more are within the limit."""
        spent = self._spent.get(person)
        return count + (0 if spent is None else spent.count) <= self._limit

    def spend(self, person: Jid, count: int) -> None:
        """Count that many."""
        spent = self._spent.get(person)
        if spent is None:
            spent = self._spent[person] = _Spent()
        spent.count += count
