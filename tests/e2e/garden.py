"""A conference whose room is one of the XMPP server's own MUC service."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.testbed.conference import NAMES, ConferenceExchange
from tests.testbed.hall import Hall, open_hall
from tests.testbed.muc import Attendee
from tests.testbed.softphone import SoftCall, Softphone
from tests.testbed.xmpp import XmppServer


class Garden:
    """A hall, and a conference that is a room of the server's. Make it with `open_garden`.

    Attributes:
        hall: with Romeo, who owns the room, and Juliet.
        number: of the conference.
        room: bare JID.
    """

    def __init__(self, hall: Hall, number: str, room: str) -> None:
        self.hall = hall
        self.number = number
        self.room = room

    async def enter(self, name: str, **options: Any) -> Attendee:
        """Let somebody enter the room by chat."""
        return await Attendee.enter(self.hall[name].buddy, self.room, name.title(), **options)

    async def opened(self, **settings: Any) -> Attendee:
        """Let Romeo open the room: it stays."""
        romeo = await self.enter("romeo")
        await romeo.configure(persistentroom=True, **settings)
        return romeo

    async def dial(self, number: str) -> tuple[Softphone, SoftCall]:
        """Let a phone dial the conference."""
        (phone,) = await self.hall.phones(number)
        return phone, await self.hall.dial(phone, self.number)

    async def talks(self, number: str, attendee: Attendee) -> tuple[Softphone, SoftCall]:
        """Let a phone dial the conference, and return when texts go between it and chat."""
        phone, call = await self.dial(number)
        await texts_flow(attendee, phone)
        return phone, call


@contextlib.asynccontextmanager
async def open_garden(
    exchange: ConferenceExchange, server: XmppServer, state_directory: Path, **options: Any
) -> AsyncIterator[Garden]:
    """Open a hall with a garden; nothing of an earlier test is in it.

    Args:
        exchange, server, state_directory, options: see `open_hall`.
    """
    number, room = f"6{secrets.randbelow(100) + 900}", f"garden{secrets.token_hex(4)}@{server.muc_domain}"
    rooms = {"garden": {"number": number, "muc": room, "title": "Garden"}}
    async with open_hall(exchange, server, state_directory, rooms=rooms, **options) as hall:
        yield Garden(hall, number, room)


async def texts_flow(attendee: Attendee, *phones: Softphone, timeout: float = 10.0) -> None:
    """Wait until phones are in, and what is said in chat is told to them."""
    for phone in phones:
        await attendee.sees(NAMES[phone.number], timeout=timeout)
    attendee.say("mark")
    await attendee.hears("mark")
    for phone in phones:
        await phone.hears("mark")
