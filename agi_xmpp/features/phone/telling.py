"""Tells people of their calls: in order for everybody, and not before it is known who the other side is."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from agi_xmpp.ami.calls import Change, Ended, Rang
from agi_xmpp.features.phone.callers import Callers
from agi_xmpp.features.phone.events import Announcer
from agi_xmpp.xmpp.phone_model import PhoneEvent

log = logging.getLogger("agi_xmpp.phone")


class Teller:
    """Turns changes of calls into events and sends them.

    To find out who calls may take a moment. What happens to the same person meanwhile waits behind; others do not.

    Args:
        announcer: decides what is sent.
        callers: know who the other side is, and what of that may be shown.
        send: sends an event to an owner.
        can_send: tells whether events reach anybody now. While they don't, what happens is only taken note of.
        also: is told of each change, too, as its owner may see it.
    """

    def __init__(
        self,
        announcer: Announcer,
        callers: Callers,
        send: Callable[[str, PhoneEvent], None],
        can_send: Callable[[], bool],
        also: Callable[[Change], None] = lambda _change: None,
    ) -> None:
        self._announcer = announcer
        self._callers = callers
        self._send = send
        self._can_send = can_send
        self._also = also
        self._lanes: dict[str, deque[Change]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled = False

    def call_changed(self, change: Change) -> None:
        """Take what happened to a call. Nothing here waits."""
        owner = change.call.owner
        if owner in self._lanes:
            self._lanes[owner].append(change)
        elif self._callers.must_ask(change):
            self._lanes[owner] = deque([change])
            task = asyncio.create_task(self._run(owner))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._tell(change)

    def settle(self) -> None:
        """End what was announced of calls that are no more, once all that waits has been told.

        To be called when all calls are known, and whenever events can be sent again.
        """
        if not self._can_send():
            return
        if self._lanes:
            self._unsettled = True
            return
        self._unsettled = False
        for owner, event in self._announcer.settle():
            self._send(owner, event)

    async def stop(self) -> None:
        """Leave no task behind. What waits is not told; a successor finds out what still matters of it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, owner: str) -> None:
        lane = self._lanes[owner]
        try:
            while lane:
                try:
                    if self._callers.must_ask(lane[0]):
                        await self._callers.ask(lane[0])
                    self._tell(lane[0], later=lane)
                except Exception:  # a fault of ours at one change: the end of the call must be told all the same
                    log.exception("phones: a change of a call of %s could not be told", owner)
                finally:
                    lane.popleft()
        finally:
            del self._lanes[owner]
        if self._unsettled:
            self.settle()

    def _tell(self, change: Change, later: deque[Change] | None = None) -> None:
        """Let everybody know.

        Args:
            change: what happened.
            later: what has happened since.
        """
        change = self._callers.seen_change(change)
        self._also(change)
        if not self._can_send():
            self._announcer.note(change)
            return
        if isinstance(change, Rang) and _is_over(change, later or ()):
            return  # nobody wants to see a call pop up that is over already
        for owner, event in self._announcer.announce(change):
            self._send(owner, event)


def _is_over(rang: Rang, later: deque[Change] | tuple[()]) -> bool:
    return any(isinstance(change, Ended) and change.call.id == rang.call.id for change in later)
