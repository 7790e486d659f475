"""For how long rooms wait for their people after a break: ours, the XMPP server's, or Asterisk's."""

from __future__ import annotations

import asyncio
import enum

from agi_xmpp.features.conference.rooms.rooms import Rooms


class Side(enum.Enum):
    """Where people are in a room from."""

    CHAT = "chat"
    PHONES = "phones"


class Returning:
    """Ends the waiting of rooms when both sides have been in sight for some time, without a break.

    Clients come back at once where they are told of the break (status 332). Where they are not, they find out by
    asking (XEP-0410): profanity every 10 minutes, aioxmpp after 12. Phones are still in: Asterisk's list has them.

    Args:
        rooms: wait when they are opened, and whenever a side is lost; at first, both sides are.

    Attributes:
        seconds: for which both sides must be in sight; another value counts from the next break on.
    """

    def __init__(self, rooms: Rooms, seconds: float) -> None:
        self.seconds = seconds
        self._rooms = rooms
        self._missing = set(Side)
        self._end: asyncio.TimerHandle | None = None

    def lost(self, side: Side) -> None:
        """One side is out of sight: nobody can come back from there, and who has gone is not known."""
        self.stop()
        self._missing.add(side)
        self._rooms.await_return()

    def found(self, side: Side) -> None:
        """One side is in sight: there is a stream, or Asterisk has said who is in. It may be said again."""
        if side not in self._missing:
            return
        self._missing.remove(side)
        if not self._missing:
            self._end = asyncio.get_running_loop().call_later(self.seconds, self._rooms.end_waiting)

    def stop(self) -> None:
        """Count no more: what waits goes on waiting."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
