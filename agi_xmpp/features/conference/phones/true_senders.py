"""Who has really written a text: listens to Asterisk's copies of SIP packets, and asks it whose call is whose."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from agi_xmpp.ami.model import Ami
from agi_xmpp.ami.sip_calls import call_of, name_for_texts
from agi_xmpp.background import Background
from agi_xmpp.config import SipSettings
from agi_xmpp.errors import AmiError, AmiRefused
from agi_xmpp.features.conference.phones.senders import CallKey, Senders
from agi_xmpp.sip.copies import Copies, open_copies
from agi_xmpp.sip.text import heard_name

log = logging.getLogger("agi_xmpp.conference")

#: Seconds without any copy after which Asterisk counts as sending none. While a text is heard there are several.
SILENCE = 5.0

#: Seconds after which we try again to listen, where that was not possible.
RETRY = 30.0


class TrueSenders:
    """The senders of texts in all conferences. Without ``conference.sip.hep`` nobody is asked, and none is known.

    Args:
        settings: ``[conference.sip]``.
        ami: the manager connection.
        tell: gets each text: the conference's number, and the arguments of `ConferenceRoom.phone_said`.

    Attributes:
        problem: why senders are not known; "" if all is well, as far as we know.
    """

    def __init__(self, settings: SipSettings, ami: Ami, tell: Callable[[str, str, str, str | None], None]) -> None:
        self._settings = settings
        self._is_on = bool(settings.hep)
        self._ami = ami
        self._tell_on = tell
        self._senders = Senders(self._tell, time.monotonic)
        self._copies: Copies | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._background = Background(log, "senders of texts")
        self._unknown: set[tuple[str, str]] = set()
        self._asking: set[tuple[str, str]] = set()
        self._lost = 0
        self._retry = asyncio.Event()
        self.problem = ""

    async def start(self) -> None:
        """Listen. Where that is not possible, such as at a port that is taken, it is tried again until it is."""
        if self._is_on and not await self._listen():
            self._background.spawn(self._keep_trying())

    def retry(self) -> None:
        """Try again now to listen, if we do not."""
        self._retry.set()

    async def stop(self) -> None:
        """Free everything. Texts that wait for their copies are told as nobody's."""
        self._senders.give_up()
        if self._wake is not None:
            self._wake.cancel()
        await self._background.stop()
        if self._copies is not None:
            self._copies.close()

    def status(self) -> dict[str, Any] | None:
        """Return what `agi-xmpp status` shows; None without ``conference.sip.hep``, or while we cannot listen there.

        Where we listen, how many copies came, seconds since the last one, and what was dropped.
        """
        copies = self._copies
        if copies is None:
            return None
        return {
            "address": self._settings.hep,
            "copies": copies.count,
            "lost": copies.lost,
            "strangers": copies.strangers,
            "last": asyncio.get_running_loop().time() - copies.last if copies.last is not None else None,
        }

    def phone_is_in(self, number: str, channel: str) -> None:
        """Ask for the call and the name of a phone that has come into a conference, or has another name now."""
        if self._is_on:
            self._unknown.add((number, channel))
            self._ask()

    def phone_left(self, number: str, channel: str) -> None:
        """Forget a phone."""
        self._unknown.discard((number, channel))
        self._senders.left(number, channel)

    def ami_connected(self) -> None:
        """Ask for what could not be asked for."""
        self._ask()

    def heard(self, number: str, display: str, text: str) -> None:
        """Take a text that our leg has heard; it is told as soon as its sender is known, or has become unlikely."""
        if self._is_on:
            self._read_copies()
            self._senders.heard(number, display, text)
            self._schedule()
        else:
            self._tell_on(number, display, text, None)

    def forget(self, number: str) -> None:
        """Let go of a conference's texts that wait."""
        self._senders.forget(number)

    async def _listen(self) -> bool:
        try:
            self._copies = await open_copies(self._settings, self._senders.sent)
        except OSError as error:
            self._complain(
                f"conference.sip.hep: cannot listen at {self._settings.hep}: {error.strerror or error}; what phones"
                " write is shown without its sender until that is possible; trying again"
            )
            return False
        if self.problem:
            log.info("conference.sip.hep: we listen at %s now", self._settings.hep)
            self.problem = ""
        return True

    async def _keep_trying(self) -> None:
        while self._copies is None:
            self._retry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    await self._retry.wait()
            await self._listen()

    def _schedule(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if (at := self._senders.wake_at()) is not None:
            self._wake = asyncio.get_running_loop().call_later(max(0.0, at - time.monotonic()), self._run)

    def _run(self) -> None:
        self._wake = None
        self._read_copies()
        self._senders.run_timers()
        self._schedule()

    def _read_copies(self) -> None:
        """Take the copies that are there: after a moment without processor, or many texts at once, they wait."""
        if self._copies is not None:
            self._copies.read()

    def _tell(self, number: str, display: str, text: str, channel: str) -> None:
        if channel:
            self._complain("")
        else:
            self._ask()
            self._look_for_copies()
        try:
            self._tell_on(number, display, text, channel)
        except Exception:
            log.exception("handling a text of conference %s failed; the others go on", number)

    def _look_for_copies(self) -> None:
        """Say so if no copies come at all, or not all of them."""
        if self._copies is None:
            return  # that has been said
        last, lost = self._copies.last, self._copies.lost
        if lost > self._lost:
            self._lost = lost
            self._complain(
                f"{lost} copies of SIP packets were lost since the start (conference.sip.hep), so what some phones"
                " write is shown without its sender: give sockets more room, by sysctl net.core.rmem_max=4194304"
            )
        elif last is None or asyncio.get_running_loop().time() - last > SILENCE:
            self._complain(
                f"no copies of SIP packets come to {self._settings.hep} (conference.sip.hep): what phones write is"
                " shown without its sender; does Asterisk have res_hep_pjsip loaded, and this address in hep.conf?"
            )

    def _complain(self, problem: str) -> None:
        """Log what is wrong once, and that it is over."""
        if problem and not self.problem:
            log.error("%s", problem)
        elif self.problem and not problem:
            log.info("copies of SIP packets come again: the senders of texts are known")
        self.problem = problem

    def _ask(self) -> None:
        for number, channel in self._unknown - self._asking:
            self._asking.add((number, channel))
            self._background.spawn(self._ask_for(number, channel))

    async def _ask_for(self, number: str, channel: str) -> None:
        try:
            call = await call_of(self._ami, channel)
            name = await name_for_texts(self._ami, channel)
        except AmiRefused as error:
            # Another kind of channel, or gone: to ask again would bring nothing else.
            log.info("conference %s: who writes on %s cannot be known: %s", number, channel, error)
            self._unknown.discard((number, channel))
        except AmiError as error:
            log.warning("conference %s: which call %s has cannot be asked: %s", number, channel, error)
        else:
            if (number, channel) in self._unknown:  # it has not gone meanwhile
                self._unknown.discard((number, channel))
                dialog = CallKey(call.call_id, call.remote_tag, call.local_tag)
                self._senders.joined(number, channel, heard_name(name), dialog)
        finally:
            self._asking.discard((number, channel))
