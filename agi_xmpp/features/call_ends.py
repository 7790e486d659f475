"""What has to be undone when a call is over, long after the verb that began it.

A FastAGI session ends with its verb, so only the manager connection tells of the end of the call. Without one, a call
counts as over when its verb is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from agi_xmpp.ami.model import Message

log = logging.getLogger("agi_xmpp.calls")

#: Seconds until a call counts as over whatever happens: its end may have got lost with a manager connection.
LONGEST = 4 * 3600.0

#: Calls with something to be undone, and things to be undone at the end of one. Who gets no place undoes it at the end
#: of the verb.
LIMIT = 10_000
EACH = 100

Undo = Callable[[], None]


class CallEnds:
    """Undoes things at the end of calls. Implements `AmiListener`."""

    def __init__(self) -> None:
        self._undos: dict[str, list[Undo]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._connected = False

    def add(self, uniqueid: str, undo: Undo) -> bool:
        """Call ``undo`` when the channel is hung up. Register before you begin: the end may come at any moment.

        Args:
            uniqueid: of the channel.
            undo: is called at the end, maybe more than once in all; must neither wait nor raise.

        Returns:
            False if nobody will tell of the end.
        """
        undos = self._undos.get(uniqueid)
        is_full = len(self._undos) >= LIMIT if undos is None else len(undos) >= EACH
        if not self._connected or is_full:
            return False
        if undos is None:
            undos = self._undos[uniqueid] = []
            self._timers[uniqueid] = asyncio.get_running_loop().call_later(LONGEST, self._over, uniqueid)
        undos.append(undo)
        return True

    def stop(self) -> None:
        """All calls are over as far as we are concerned."""
        for uniqueid in list(self._undos):
            self._over(uniqueid)

    def ami_connected(self) -> None:
        """See `AmiListener.ami_connected`."""
        self._connected = True

    def ami_event(self, event: Message) -> None:
        """See `AmiListener.ami_event`."""
        if event.get("Event") == "Hangup":
            self._over(event.get("Uniqueid", ""))

    def ami_disconnected(self) -> None:
        """See `AmiListener.ami_disconnected`. The end of these calls would be missed."""
        self._connected = False
        self.stop()

    def _over(self, uniqueid: str) -> None:
        undos = self._undos.pop(uniqueid, None)
        if undos is None:
            return
        self._timers.pop(uniqueid).cancel()
        for undo in undos:
            undo()
