"""Keeps `agi_xmpp.ami.conferences.Conferences` in step with Asterisk, and tells who comes and goes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from agi_xmpp.ami import confbridge
from agi_xmpp.ami.conferences import Change, Conferences, Participant
from agi_xmpp.ami.model import Ami, Message
from agi_xmpp.ami.presentation import GONE, is_withheld
from agi_xmpp.background import Background
from agi_xmpp.errors import AmiError, AmiNotConnected, AmiRefused, AmiUnknown

log = logging.getLogger("agi_xmpp.conference")

#: Seconds between two looks at the lists, in case an event was lost; and after one that failed.
WATCHDOG = 60.0
RESYNC_RETRY = 5.0

#: Seconds without a connection after which nobody counts as in any more.
LOST_AFTER = 20.0


#: Asterisk answers, but its events do not come.
DEAF = (
    "Asterisk does not tell who comes into its conferences, and phones are seen late: add call to the manager user's"
    ' line read = in manager.conf; after that, asterisk -rx "manager reload", and systemctl reload agi-xmpp'
)


class Roster:
    """Listens to the manager connection (`AmiListener`). Who withholds name and number is told of without them.

    While the connection is gone everybody stays where they were, for a while; the next tells of the differences.

    Args:
        ami: the manager connection.
        conferences: what is kept in step; read from it who is in.
        changed: is told what is different, in order; it must neither block nor raise.
        compared: is called when Asterisk's lists have been taken over.
        pause: seconds, see `WATCHDOG`.
        retry: seconds, see `RESYNC_RETRY`.
        lost_after: seconds, see `LOST_AFTER`.

    Attributes:
        problem: why Asterisk's lists cannot be had, or that it tells of nobody who comes, for `agi-xmpp status`; "" if
            all is well.
    """

    def __init__(
        self,
        ami: Ami,
        conferences: Conferences,
        changed: Callable[[Sequence[Change]], None],
        compared: Callable[[], None],
        *,
        pause: float = WATCHDOG,
        retry: float = RESYNC_RETRY,
        lost_after: float = LOST_AFTER,
    ) -> None:
        self._ami = ami
        self._conferences = conferences
        self._changed = changed
        self._compared = compared
        self._pause = pause
        self._retry = retry
        self._lost_after = lost_after
        self._background = Background(log, "conference: who is in")
        self._resync: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._losing: asyncio.Task[None] | None = None
        self._questions: deque[Participant] = deque()
        self._first: frozenset[str] | None = None  # Uniqueids that the first lists of this connection had
        self._hears = False  # an event has told of somebody who came
        self.problem = ""

    @property
    def is_deaf(self) -> bool:
        """True if Asterisk does not tell who comes, as far as that was noticed."""
        return self.problem == DEAF

    async def stop(self) -> None:
        """End what goes on beside."""
        await self._background.stop()

    def ami_connected(self) -> None:
        """Ask Asterisk who is in; until it has said so, events wait."""
        self._stop_tasks()
        self._first, self._hears = None, False
        self._conferences.begin_resync()
        self._resync = self._background.spawn(self._keep_in_step())

    def ami_event(self, event: Message) -> None:
        """Take an event."""
        if event.get("Event") == "ConfbridgeJoin":
            self._hears = True
        self._take(self._conferences.event(event))

    def ami_disconnected(self) -> None:
        """Everybody stays where they are until the next connection tells, or does not come."""
        self._stop_tasks()
        self._conferences.lost()
        self._losing = self._background.spawn(self._lose_sight())

    def _stop_tasks(self) -> None:
        for task in (self._resync, self._asking, self._losing):
            if task is not None:
                task.cancel()
        self._resync = self._asking = self._losing = None
        self._questions.clear()

    def _take(self, changes: Sequence[Change]) -> None:
        if changes:
            self._changed(changes)
        self._questions += self._conferences.take_questions()
        if self._questions and self._asking is None:
            self._asking = self._background.spawn(self._ask())

    # Beside

    async def _keep_in_step(self) -> None:
        while True:
            try:
                items = await confbridge.participants(self._ami)
                self._resynchronise(items)
                self._compared()
            except AmiNotConnected:
                return  # the next connection begins anew
            except AmiError as error:
                self._go_by_events(f"Asterisk does not tell who is in its conferences: {error}")
            except Exception as error:
                log.exception("Asterisk's list of a conference is not understood")
                self._go_by_events(f"Asterisk's list of a conference is not understood: {type(error).__name__}")
            else:
                self._complain(self._deafness(items))
            await asyncio.sleep(self._retry if self.problem else self._pause)
            self._conferences.begin_resync()

    def _go_by_events(self, reason: str) -> None:
        """Go on without lists: events must neither wait for them nor pile up."""
        self._complain(reason)
        self._resynchronise(None)

    def _deafness(self, items: Sequence[Message]) -> str:
        """Return what is wrong if the lists have people who came after the first ones, and no event told of anybody."""
        listed = frozenset(item["Uniqueid"] for item in items)
        if self._first is None:
            self._first = listed
        if self._hears or (listed <= self._first and self.problem != DEAF):
            return ""
        return DEAF

    def _resynchronise(self, items: Sequence[Message] | None) -> None:
        self._questions.clear()  # they are asked again
        self._take(self._conferences.resync(items))

    async def _ask(self) -> None:
        """Ask about one after the other: so they are told of in the order in which they came."""
        try:
            while self._questions:
                participant = self._questions.popleft()
                try:
                    withheld = await is_withheld(self._ami, participant.channel)
                except AmiRefused as error:
                    if str(error) == GONE:
                        continue  # its leaving is on its way, or the next look at the lists asks again
                    withheld = True  # not to be known
                except (AmiNotConnected, AmiUnknown):
                    self._questions.clear()  # the next resync asks again
                    return
                self._take(self._conferences.answer(participant, withheld))
        finally:
            if self._asking is asyncio.current_task():
                self._asking = None

    async def _lose_sight(self) -> None:
        await asyncio.sleep(self._lost_after)
        log.warning("no connection to Asterisk for %g s: nobody counts as in its conferences", self._lost_after)
        self._conferences.begin_resync()
        self._take(self._conferences.resync([]))

    def _complain(self, reason: str) -> None:
        """Log what is wrong once, and that it is over."""
        if reason and reason != self.problem:
            log.error("%s; agi-xmpp check --online says more", reason)
        elif self.problem and not reason:
            log.info("Asterisk tells who is in its conferences again")
        self.problem = reason
