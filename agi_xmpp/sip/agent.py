"""Legs into conferences: what the rest of the program uses of this room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Final

from agi_xmpp.config import SipSettings
from agi_xmpp.errors import ConfigError, SipError, SipNotReached
from agi_xmpp.sip.call import Call
from agi_xmpp.sip.core import Core
from agi_xmpp.sip.model import LegListener
from agi_xmpp.sip.transport import Udp, open_udp

log = logging.getLogger("agi_xmpp.sip")

#: Seconds that Asterisk gets to confirm that all calls are over when we stop.
STOP_TIME: Final = 1.0


class SipAgent:
    """Calls numbers of one Asterisk as one of its endpoints.

    Args:
        settings: ``[conference.sip]``.
    """

    def __init__(self, settings: SipSettings) -> None:
        self._settings = settings
        self._line: _Line | None = None
        self._opening = asyncio.Lock()
        self._legs: set[Leg] = set()
        self._started = False

    async def start(self) -> None:
        """Be ready. Nothing is opened before the first call: Asterisk may come later than we."""
        self._started = True

    async def stop(self) -> None:
        """Hang up all legs and free everything; at most `STOP_TIME` seconds. Again, it does nothing."""
        self._started = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIME):
                await asyncio.gather(*(leg.hang_up() for leg in list(self._legs)))
        if self._line is not None:
            self._line.close()
            self._line = None
        self._legs.clear()

    async def apply(self, settings: SipSettings) -> None:
        """Use other settings for calls from now on.

        Legs that are there end: their listeners are told so, and have to hang up. They have ``timeout`` seconds for
        what they are about to send.
        """
        async with self._opening:
            line, self._line = self._line, None
            timeout, self._settings = self._settings.timeout, settings
            legs = list(self._legs)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout + STOP_TIME):
                await asyncio.gather(*(leg.make_way("[conference.sip] has been changed") for leg in legs))
        if line is not None:
            line.close()

    async def call(self, number: str, listener: LegListener, *, display: str = "") -> Leg:
        """Call a number and return when it has been answered.

        The host's name and the password are looked up anew while there is no other leg.

        Args:
            number: an extension of the endpoint's context.
            listener: is told what happens on the leg from then on. What it raises is logged.
            display: our name for Asterisk; "" for none.

        Raises:
            SipNotReached: nobody answered.
            SipRefused: Asterisk refuses the call, or the extension did not answer within ``settings.timeout`` seconds.
        """
        async with self._opening:
            if not self._started:
                raise SipNotReached("the SIP agent is not running")
            line = self._line
            if line is None or not line.core.calls:
                if line is not None:
                    line.close()
                line = self._line = await _open(self._settings)
            leg = Leg(self, line, number, display, listener)
            self._legs.add(leg)
        try:
            await leg.wait_answered()
        except BaseException:
            self.forget(leg)
            raise
        return leg

    async def options(self, number: str = "") -> None:
        """Return if Asterisk answers, knows our endpoint and its password, and has the number.

        Args:
            number: an extension that we could call; "" to leave that out.

        Raises:
            SipError: what is wrong, in one sentence.
        """
        line = await _open(self._settings)
        answer: asyncio.Future[SipError | None] = asyncio.get_running_loop().create_future()
        try:
            line.core.options(number, lambda error: _settle(answer, error))
            line.schedule()
            if (error := await answer) is not None:
                raise error
        finally:
            line.close()

    def forget(self, leg: Leg) -> None:
        """Take that a leg is over."""
        self._legs.discard(leg)


class Leg:
    """A call of ours that was answered. Made by `SipAgent.call`.

    Attributes:
        number: that was called.
        call_id: Call-ID.
    """

    def __init__(self, agent: SipAgent, line: _Line, number: str, display: str, listener: LegListener) -> None:
        self.number = number
        self._agent = agent
        self._line = line
        self._listener = listener
        self._answer: asyncio.Future[SipError | None] = asyncio.get_running_loop().create_future()
        self._hung_up = asyncio.Event()
        self._call: Call = line.core.call(number, display, self)
        self.call_id = self._call.dialog.call_id
        line.schedule()

    async def wait_answered(self) -> None:
        """Return when the call was answered; given up, it is hung up.

        Raises:
            SipError: it was not.
        """
        try:
            error = await self._answer
        except asyncio.CancelledError:
            self._call.hang_up(_nothing)
            self._line.schedule()
            raise
        if error is not None:
            raise error

    async def send_text(self, text: str, display: str) -> None:
        """Send a text to all phones of the conference, after the texts before it; return when Asterisk has it.

        A long one goes in several parts, each with its number. Cancelling this does not take the text back.

        Args:
            text: of any length.
            display: who says it; what cannot stand in a SIP message is left out.

        Raises:
            SipNotReached: the leg is over, or too many texts wait; this one was not sent.
            SipRefused: Asterisk does not take it.
            SipUnknown: it was sent, at least in part, and nobody knows what became of it.
        """
        done: asyncio.Future[SipError | None] = asyncio.get_running_loop().create_future()
        self._call.say(text, display, lambda error: _settle(done, error))
        self._line.schedule()
        if (error := await done) is not None:
            raise error

    async def hang_up(self) -> None:
        """End the leg; return when Asterisk knows, or does not answer. See `agi_xmpp.sip.call.Call.hang_up`."""
        self._agent.forget(self)
        self._call.hang_up(self._hung_up.set)  # also if nobody waits for it any more
        self._line.schedule()
        await self._hung_up.wait()

    async def make_way(self, reason: str) -> None:
        """Have the listener end the leg as soon as it has been answered; return when it is over, or never was."""
        await asyncio.wait([self._answer])
        if self._answer.cancelled() or self._answer.result() is not None:
            return
        self.ended(reason)
        await self._hung_up.wait()

    # What the call tells (`agi_xmpp.sip.call.Watcher`)

    def answered(self) -> None:
        """The call was taken."""
        _settle(self._answer, None)

    def failed(self, error: SipError) -> None:
        """The call was not taken."""
        _settle(self._answer, error)

    def text_came(self, display: str, text: str) -> None:
        """A phone has sent a text."""
        try:
            self._listener.text_came(display, text)
        except Exception:
            log.exception("handling a text of conference %s failed; the leg goes on", self.number)

    def ended(self, reason: str) -> None:
        """The call is over."""
        self._agent.forget(self)
        try:
            self._listener.ended(reason)
        except Exception:
            log.exception("handling the end of the leg to %s failed", self.number)


class _Line:
    """A socket, and the core behind it. Make it by `_open`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake: asyncio.TimerHandle | None = None
        self._udp: Udp | None = None
        self.core: Core

    async def open(self, settings: SipSettings, password: str) -> None:
        self._udp = await open_udp(settings.host, settings.port, settings.bind, self._receive, self._refused)
        local, remote = self._udp.places
        self.core = Core(
            endpoint=settings.endpoint,
            password=password,
            local=local,
            remote=remote,
            timeout=settings.timeout,
            send=self._udp.send,
            clock=self._loop.time,
            new_token=lambda: secrets.token_hex(8),
            new_number=lambda: secrets.randbelow(2**31),
        )

    def schedule(self) -> None:
        """See to it that the core is woken in time; to be called after each call of it."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if self._udp is not None and (at := self.core.wake_at()) is not None:
            self._wake = self._loop.call_at(at, self._run)

    def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
            self._udp = None
            self.core.close()
        self.schedule()

    def _receive(self, datagram: bytes) -> None:
        try:
            self.core.receive(datagram)
        finally:
            self.schedule()

    def _refused(self) -> None:
        self.core.refused()
        self.schedule()

    def _run(self) -> None:
        try:
            # After a moment without processor, what is overdue may have come long ago.
            if self._udp is not None:
                self._udp.read()
            self.core.run_timers()
        finally:
            self.schedule()


async def _open(settings: SipSettings) -> _Line:
    password = ""
    if settings.sources:
        try:
            password = await asyncio.to_thread(settings.secret)  # a command may take seconds
        except ConfigError as error:
            raise SipNotReached(f"[conference.sip]: {error}") from None
    line = _Line()
    await line.open(settings, password)
    return line


def _settle(future: asyncio.Future[SipError | None], error: SipError | None) -> None:
    """Tell whoever waits, if they still do."""
    if not future.done():
        future.set_result(error)


def _nothing() -> None:
    pass
