"""Texts between a room and the phones of its conference: one SIP leg of ours, as long as it is needed.

ConfBridge passes on what one participant writes to all others, with the name that the writer's phone gives. So a leg
without voice, in the conference like a phone, hears and says everything. While it is in, it keeps the conference open:
it comes when somebody in chat listens and a phone is there, and goes with the last of either.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from agi_xmpp.errors import SipError, SipNotReached, SipRefused
from agi_xmpp.features.conference.model import ConferenceRoom, Utterance
from agi_xmpp.pace import Pace
from agi_xmpp.sip.model import LegListener

log = logging.getLogger("agi_xmpp.conference")

#: Texts that wait for the phones of one conference at the most.
WAITING_LIMIT = 1000

#: Seconds that Asterisk may take from answering our call until it says that we are in the conference. What is said
#: earlier, nobody hears, and Asterisk takes it all the same: Answer() alone waits 500 ms for voice that never comes
#: (measured on 22.10), and a busy machine for much longer.
ENTRY_TIME = 10.0


class Leg(Protocol):
    """A call that was answered: `agi_xmpp.sip.agent.Leg`."""

    async def send_text(self, text: str, display: str) -> None:
        """See `agi_xmpp.sip.agent.Leg.send_text`."""

    async def hang_up(self) -> None:
        """See `agi_xmpp.sip.agent.Leg.hang_up`."""


class Agent(Protocol):
    """Calls conferences: `agi_xmpp.sip.agent.SipAgent`."""

    def call(self, number: str, listener: LegListener, *, display: str = "") -> Awaitable[Leg]:
        """See `SipAgent.call`."""


class PhoneTexts:
    """The texts of one conference. Implements `LegListener`.

    Args:
        room: that the conference is.
        agent: makes the leg.
        pace: when to call again after a failure.
        heard: gets what a phone has written: the name that it gives itself, and the text.
        spoken: gets each text that the phones have, or that does not wait for them; the room's own by default.
    """

    def __init__(
        self,
        room: ConferenceRoom,
        agent: Agent,
        pace: Pace,
        heard: Callable[[str, str], None],
        spoken: Callable[[Utterance], None] | None = None,
    ) -> None:
        self.room = room
        self._agent = agent
        self._pace = pace
        self._heard = heard
        self._spoken = spoken or room.spoken
        self._wanted = False
        self._leg: Leg | None = None
        self._over = True
        #: Our call is by settings that count no more: if it comes to nothing, the next one may come in.
        self._outdated = False
        self._entered = asyncio.Event()
        self._changed = asyncio.Event()
        self._waiting: deque[Utterance] = deque()
        #: What a leg that was over could not take: the next one tries once more.
        self._again: Utterance | None = None
        #: Why there is no leg; "" if there is one, or it is being made.
        self.problem = ""
        #: The room knows that the phones cannot read it; also while there are none for a moment.
        self._told = False
        self._task: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> bool:
        """True while texts go between the room and phones."""
        return self._wanted

    @property
    def state(self) -> str:
        """One word or sentence for `agi-xmpp status`."""
        if not self._wanted:
            return "not needed"
        if self._leg is not None and self._entered.is_set():
            return "connected"
        return self.problem or "connecting"

    @property
    def fails(self) -> bool:
        """True while texts are to go between the room and phones, and do not."""
        return self._wanted and bool(self.problem)

    def want(self, wanted: bool) -> None:
        """Say whether texts go between the room and phones now."""
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if wanted and self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"texts of conference {self.room.number}")
            self._task.add_done_callback(self._ended)
        if not wanted:
            self.problem = ""
            self._let_go()
        self._changed.set()

    def say(self, utterance: Utterance) -> None:
        """Tell the phones; see `Outside.say`."""
        if not self._wanted or (self.problem and self._leg is None):
            self._spoken(utterance)  # the room goes on without them, and has been told why
        elif len(self._waiting) >= WAITING_LIMIT:
            self.room.not_spoken(utterance, "too many texts are waiting for the phones of this conference")
        else:
            self._waiting.append(utterance)
            self._changed.set()

    def entered(self) -> None:
        """Our leg is in the conference: Asterisk says so."""
        self._entered.set()
        self._changed.set()

    def expect_other_settings(self) -> None:
        """Our leg, or the call that is to be one, ends soon for the sake of other settings: that is no failure."""
        self._outdated = not self._over

    @property
    def has_leg(self) -> bool:
        """True while our leg is in the conference, or may come in at any moment."""
        return not self._over

    def left(self) -> None:
        """Our leg is not in the conference: Asterisk says so."""
        if self._leg is not None and self._entered.is_set():
            self.ended("Asterisk does not list it any more")

    async def stop(self) -> None:
        """Leave the conference."""
        self._wanted = False
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._let_go()

    # LegListener

    def text_came(self, display: str, text: str) -> None:
        """See `LegListener.text_came`."""
        self._heard(display, text)

    def ended(self, reason: str) -> None:
        """See `LegListener.ended`."""
        self._over = True
        self._changed.set()
        if self._wanted:
            log.info("conference %s: our leg has ended: %s", self.room.number, reason)

    # The life of legs

    async def _run(self) -> None:
        while True:
            await self._until_wanted()
            await asyncio.sleep(self._pace.next_delay())
            if not self._wanted:
                continue
            self._over = self._outdated = False
            self._entered.clear()
            try:
                leg = await self._agent.call(self.room.number, self, display=self.room.title)
            except SipError as error:
                self._over = True
                if not self._outdated:
                    self._fail(str(error))
                continue
            try:
                self._leg = leg
                await self._live(leg)
            finally:
                self._leg = None
                self._entered.clear()
                await leg.hang_up()
                self._over = True

    async def _live(self, leg: Leg) -> None:
        """Stay in as long as it lasts, and say what is to be said."""
        try:
            async with asyncio.timeout(ENTRY_TIME):
                while self._wanted and not self._over and not self._entered.is_set():
                    await self._next_change()
        except TimeoutError:
            # Without a manager connection nobody tells us.
            self._entered.set()
        if self._outdated and not self._entered.is_set():
            return
        if self._wanted and not self._entered.is_set():
            # The conference is full, locked, or wants a PIN. To call again and again keeps texts waiting for ever.
            self._fail("Asterisk ended our call before it was in the conference")
            return
        self.problem = ""
        if self._told:
            self._told = False
            log.info("conference %s: texts reach the phones again", self.room.number)
            self.room.announce("The phones in this conference can read again what is written here.")
        self._pace.online()
        while self._wanted and not self._over:
            if not self._waiting:
                await self._next_change()
                continue
            utterance = self._waiting[0]
            try:
                await leg.send_text(utterance.text, utterance.speaker)
            except SipNotReached as error:
                if self._again is not utterance:
                    self._again = utterance
                    return
                self._come_back(utterance, error)
                self._fail(str(error))
                return
            except SipError as error:
                self._come_back(utterance, error)
                if not isinstance(error, SipRefused):
                    self._fail(str(error))
                    return
                log.warning("conference %s: Asterisk did not take a text: %s", self.room.number, error)
            else:
                if self._take(utterance):
                    self._spoken(utterance)

    def _come_back(self, utterance: Utterance, error: SipError) -> None:
        """Tell the sender of the first text that the phones have not got it."""
        if self._take(utterance):
            self.room.not_spoken(utterance, str(error))

    def _take(self, utterance: Utterance) -> bool:
        """Take the first text off the queue; return False if it was let go meanwhile."""
        if not self._waiting or self._waiting[0] is not utterance:
            return False
        self._waiting.popleft()
        return True

    def _fail(self, reason: str) -> None:
        """Go on without the phones until they can be reached again; say so once."""
        if self._wanted and not self._told:
            self._told = True
            log.error("conference %s: texts do not reach the phones: %s; trying again", self.room.number, reason)
            self.room.announce("The phones in this conference cannot read what is written here at the moment.")
        self.problem = reason
        self._let_go()

    def _let_go(self) -> None:
        """Let the room have what was to wait for the phones."""
        waiting, self._waiting = self._waiting, deque()
        for utterance in waiting:
            self._spoken(utterance)

    async def _until_wanted(self) -> None:
        while not self._wanted:
            await self._next_change()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("conference %s: internal error", self.room.number, exc_info=error)
            self._task = None
            self._wanted = False
            self.problem = "internal error; the log has it"
            self._let_go()
