"""One hall for the scenarios of a module, on each server in turn; each scenario is a party in a conference of its own.

Opening the hall takes longer than most scenarios do, so that they share it: all run in the event loop of their module
(``pytest.mark.asyncio(loop_scope="module")``). Nobody is in any room when a scenario begins.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.testbed.client import Buddy
from tests.testbed.conference import NAMES, PHONE_CONTEXT, ConferenceExchange, Softphones
from tests.testbed.hall import Hall, open_hall
from tests.testbed.muc import Attendee
from tests.testbed.softphone import SoftCall, Softphone, Text

__all__ = ["Party", "hall", "party"]

#: The rooms of the settings.
ROOMS: dict[str, dict[str, Any]] = {
    "balcony": {"number": "6950", "title": "Balcony", "description": "Where they met"},
    "tomb": {"number": "6951", "password": "poison"},
    "council": {"number": "6952", "members_only": True},
    "square": {"number": "6953", "moderated": True},
    "cellar": {"number": "6954", "public": False},
    "market": {"number": "6955", "subject": "participants"},
}
#: Conferences that nobody was in before: people remember what they heard in a room.
_NUMBERS = map(str, itertools.cycle(range(6000, 6950)))

#: The user map: whose phones can be invited. They need no account in chat for that.
PHONE: dict[str, Any] = {
    "context": PHONE_CONTEXT,
    "contacts": False,
    "activity": False,
    "user": {
        f"{NAMES[number].split()[0].lower()}@people.example": {"devices": [f"PJSIP/{number}"]} for number in NAMES
    },
}


class Guest:
    """Somebody on a phone who is in a conference.

    Attributes:
        phone: theirs.
        call: to the conference.
        name: in the room.
    """

    def __init__(self, phone: Softphone, call: SoftCall, name: str) -> None:
        self.phone = phone
        self.call = call
        self.name = name

    async def hears(self, text: str, *, display: str | None = None) -> Text:
        """Wait for a text and return it."""
        return await self.phone.hears(text, display=display)

    async def hears_nothing_until(self, text: str) -> None:
        """Fail if another text comes before this one."""
        await self.phone.hears_nothing_until(text)


class Party:
    """A conference that nobody else uses, and those who come to it.

    Attributes:
        hall: where it is.
        number: of the conference; it is a room as soon as somebody comes.
        guests: who has dialled in, by the phone's number.
    """

    def __init__(self, hall: Hall, phones: Softphones, stack: contextlib.AsyncExitStack) -> None:
        self.hall = hall
        self.number = next(_NUMBERS)
        self.guests: dict[str, Guest] = {}
        self._phones = phones
        self._stack = stack
        self._entered: set[tuple[Buddy, str]] = set()

    @property
    def room(self) -> str:
        """The address of the room."""
        return self.hall.room(self.number)

    async def enter(self, who: str | Buddy, nick: str = "", node: str = "", **options: Any) -> Attendee:
        """Let somebody enter; see `Attendee.enter`.

        Args:
            who: a name of the hall's people, or a client.
            nick: wanted; the name if empty.
            node: of another room than the party's.
            options: see `Attendee.enter`.
        """
        buddy = self.hall[who].buddy if isinstance(who, str) else who
        room = self.hall.room(node or self.number)
        self.expect(buddy, room)
        return await Attendee.enter(buddy, room, nick or buddy.jid.partition("-")[0].title(), **options)

    def expect(self, buddy: Buddy, room: str = "") -> None:
        """Know that a client may enter a room by itself; it leaves at the end."""
        self._entered.add((buddy, room or self.room))

    async def client(self, name: str, resource: str) -> Buddy:
        """Return a further client of somebody's."""
        login = self.hall[name].login
        return await self._stack.enter_async_context(
            Buddy.online(self.hall.server, login.jid, login.password, resource=resource)
        )

    async def stranger(self) -> Buddy:
        """Return somebody of another domain."""
        server, password = self.hall.server, secrets.token_hex(8)
        jid = await server.add_user(f"tybalt-{secrets.token_hex(4)}", password, server.impostor_domain)
        return await self._stack.enter_async_context(Buddy.online(server, jid, password))

    async def switch_on(self, phone: str) -> Softphone:
        """Switch on a phone that does not call by itself."""
        return (await self._phones(phone))[0]

    async def dial(self, phone: str, number: str = "") -> Guest:
        """Let a phone dial in; return when Asterisk says that it is in."""
        softphone = await self.switch_on(phone)
        call, _ = await self.hall.exchange.enters(softphone, number or self.number)
        self.guests[phone] = Guest(softphone, call, NAMES[phone])
        return self.guests[phone]

    def end(self) -> None:
        """Let everybody in chat leave."""
        for buddy, room in self._entered:
            if buddy.connected:
                buddy.send_raw(f"<presence to='{room}' type='unavailable'/>")


async def texts_flow(attendee: Attendee, *guests: Guest) -> None:
    """Wait until phones are in, and read what is said in chat."""
    for guest in guests:
        await attendee.sees(guest.name)
    attendee.say("mark")
    await attendee.hears("mark")
    for guest in guests:
        await guest.hears("mark")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["prosody", "ejabberd"])
async def hall(
    request: pytest.FixtureRequest,
    conference_exchange_process: ConferenceExchange,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Hall]:
    """A hall with Romeo, who owns each room, and Juliet."""
    server, state = request.getfixturevalue(request.param), tmp_path_factory.mktemp("state")
    async with (
        conference_exchange_process.lent() as exchange,
        open_hall(exchange, server, state, rooms=ROOMS, phone=PHONE) as hall,
    ):
        yield hall


@pytest_asyncio.fixture(loop_scope="module")
async def party(hall: Hall) -> AsyncIterator[Party]:
    """A conference of the scenario's own. Afterwards agi-xmpp has not failed anywhere."""
    since = hall.service.log_size()
    async with Softphones(hall.exchange) as phones, contextlib.AsyncExitStack() as stack:
        party = Party(hall, phones, stack)
        try:
            yield party
        finally:
            party.end()
    hall.service.assert_alive()
    log = hall.service.log_tail(since, lines=10_000)
    assert "internal error" not in log, log
