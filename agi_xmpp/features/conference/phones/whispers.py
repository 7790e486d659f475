"""Texts to one phone alone, by the manager connection: whose they are, and how many there may be."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from agi_xmpp.ami import confbridge
from agi_xmpp.ami.model import Ami
from agi_xmpp.background import Background
from agi_xmpp.errors import AmiError

log = logging.getLogger("agi_xmpp.conference")

#: Texts that wait for one phone, and for all. Each is an action of the manager connection, which calls need, too.
WAITING_EACH: Final = 20
WAITING: Final = 200

#: Messages that one text may become: each of its lines is one, and a phone may ring or beep at each.
MAX_PARTS: Final = 20


class Whispers:
    """The texts to single phones.

    Args:
        ami: the manager connection.
    """

    def __init__(self, ami: Ami) -> None:
        self._ami = ami
        self._background = Background(log, "private texts")
        self._waiting: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Lock] = {}

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return self._waiting.total()

    async def stop(self) -> None:
        """Forget what waits."""
        await self._background.stop()

    def send(self, channel: str, speaker: str, text: str, done: Callable[[str], None]) -> None:
        """Tell a phone something, after what it was told before.

        Args:
            channel: of the phone.
            speaker: who says it; "" for the room itself.
            text: each line of it, and each part of a long one, is a message of its own, and says whose it is: otherwise
                the second line of a text could pretend to be somebody else's.
            done: is called once, with "" when Asterisk has all of it, else with the reason.
        """
        prefix = f"[private] <{speaker}> " if speaker else "[private] "
        parts = confbridge.split(text, confbridge.TEXT_BYTES - len(prefix.encode(errors="replace")))
        if len(parts) > MAX_PARTS:
            done(f"one phone can be told {MAX_PARTS} lines at once")
        elif self._waiting[channel] >= WAITING_EACH or self.waiting >= WAITING:
            done("too many private texts are waiting for phones")
        else:
            self._waiting[channel] += 1
            self._background.spawn(self._send(channel, [prefix + part for part in parts], done))

    async def _send(self, channel: str, parts: list[str], done: Callable[[str], None]) -> None:
        reason = ""
        try:
            async with self._turns.setdefault(channel, asyncio.Lock()):  # asyncio's locks are fair
                for part in parts:
                    await confbridge.send_text(self._ami, channel, part)
        except AmiError as error:
            reason = str(error)
        finally:
            self._waiting[channel] -= 1
            if not self._waiting[channel]:
                del self._waiting[channel], self._turns[channel]
        done(reason)
