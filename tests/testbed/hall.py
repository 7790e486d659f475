"""A hall: conferences that people are in by telephone and by chat, and agi-xmpp between the two.

People in chat are real clients on a real server, phones are real SIP user agents at a real Asterisk.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.testbed.client import Buddy
from tests.testbed.conference import (
    CONFERENCE_CONTEXT,
    INVITED_CONTEXT,
    NAMES,
    OWN_LEG,
    ConferenceExchange,
    Softphones,
    device,
)
from tests.testbed.muc import Attendee
from tests.testbed.program import PROBE_INTERVAL
from tests.testbed.service import Account, Service
from tests.testbed.softphone import SoftCall, Softphone
from tests.testbed.xmpp import Accounts, Login, XmppServer

#: The names of agi-xmpp's accounts: of the rooms, and of the phones' addresses.
ACCOUNT, PHONES_ACCOUNT = "conference", "phones"


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, and a client that is online.

    Attributes:
        login: of the account.
        buddy: the client.
    """

    login: Login
    buddy: Buddy

    @property
    def jid(self) -> str:
        """The bare JID."""
        return self.login.jid


class Hall:
    """The hall. Make it with `open_hall`.

    Attributes:
        exchange: has the conferences and the phones.
        server: has the people's accounts.
        accounts: makes more.
        service: agi-xmpp.
        domain: where the rooms are.
        phones_domain: where the phones' addresses are.
        people: by name.
    """

    def __init__(
        self,
        exchange: ConferenceExchange,
        server: XmppServer,
        accounts: Accounts,
        service: Service,
        people: dict[str, Person],
        phones: Softphones,
    ) -> None:
        self.exchange = exchange
        self.server = server
        self.accounts = accounts
        self.service = service
        self.domain = server.component_domain
        self.phones_domain = server.phones_domain
        self.people = people
        self._phones = phones

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    def room(self, node: str) -> str:
        """Return the address of a room: ``6000@…``."""
        return f"{node}@{self.domain}"

    async def enter(self, name: str, node: str, nick: str = "", **options: Any) -> Attendee:
        """Let somebody enter a room; their nick is their name, if no other is given.

        Raises:
            Refused: the room does not let them in.
        """
        return await Attendee.enter(self[name].buddy, self.room(node), nick or name.title(), **options)

    async def comes_back(self, name: str) -> Person:
        """Let somebody's client, whose connection is gone, connect anew under its old address."""
        before = self[name]
        await before.buddy.until_gone()
        login = before.login
        self.people[name] = Person(login, await Buddy.connect(self.server, login.jid, login.password))
        return self.people[name]

    async def agrees(self, number: str, attendees: Sequence[Attendee], phones: Sequence[str]) -> None:
        """Wait until everybody means the same people in a room: each client, agi-xmpp, and Asterisk's list.

        Args:
            number: of the conference.
            attendees: all who are in from chat; our own leg is in the conference if there are any, and phones.
            phones: the numbers of all who are in by telephone.

        Raises:
            AssertionError: they do not within 15 seconds; the message has what each of them means.
        """
        names = {attendee.nick for attendee in attendees} | {NAMES[phone] for phone in phones}
        legs = [OWN_LEG] if attendees and phones else []
        wanted = {
            **{f"client of {attendee.nick}": names for attendee in attendees},
            "agi-xmpp": {
                "people": len(attendees),
                "phones": len(phones),
                "texts": "connected" if legs else "not needed",
            },
            "Asterisk": Counter([*phones, *legs]),
        }
        deadline = time.monotonic() + 15.0
        while (found := await self._meant(number, attendees)) != wanted:
            assert time.monotonic() < deadline, f"{found}\nis not\n{wanted}\n{self.service.log_tail()}"
            await asyncio.sleep(PROBE_INTERVAL)

    async def texts_reach_phones(self, number: str) -> None:
        """Wait until agi-xmpp's leg is in a conference: what was said before may have gone by the phones.

        Raises:
            AssertionError: it is not within 15 seconds; the message has the end of the log.
        """
        deadline = time.monotonic() + 15.0
        while not any(
            (room["number"], room["texts"]) == (number, "connected")
            for room in (await self.service.status())["conference"]["rooms"]
        ):
            assert time.monotonic() < deadline, self.service.log_tail()
            await asyncio.sleep(PROBE_INTERVAL)

    async def _meant(self, number: str, attendees: Sequence[Attendee]) -> dict[str, Any]:
        rooms = (await self.service.status())["conference"]["rooms"]
        room = next((room for room in rooms if room["number"] == number), {"people": 0, "phones": 0, "texts": ""})
        return {
            **{f"client of {attendee.nick}": set(attendee.members) for attendee in attendees},
            "agi-xmpp": {key: room[key] for key in ("people", "phones", "texts")},
            "Asterisk": Counter(device(channel) for channel in await self.exchange.participants(number)),
        }

    async def phones(self, *numbers: str) -> list[Softphone]:
        """Switch on phones."""
        return await self._phones(*numbers)

    async def dial(self, phone: Softphone, number: str) -> SoftCall:
        """Let a phone dial into a conference; return its call when it is in."""
        return (await self.exchange.enters(phone, number))[0]


@contextlib.asynccontextmanager
async def open_hall(
    exchange: ConferenceExchange,
    server: XmppServer,
    state_directory: Path,
    *,
    people: Sequence[str] = ("romeo", "juliet"),
    rooms: Mapping[str, Mapping[str, Any]] | None = None,
    conference: Mapping[str, Any] | None = None,
    sip: Mapping[str, Any] | None = None,
    phone: Mapping[str, Any] | None = None,
    log_level: Literal["debug", "info"] = "info",
    component_port: int = 0,
    manager_port: int = 0,
) -> AsyncIterator[Hall]:
    """Open the hall: the conferences 6000 to 6999, and names such as ``verona``, are rooms.

    Args:
        exchange: has the conferences and the phones.
        server: has the people's accounts, and the rooms' domain as a component.
        state_directory: for what outlives agi-xmpp.
        people: who is online in chat; the first one owns each room.
        rooms: ``[conference.room.NAME]`` by name.
        conference: further keys of ``[conference]``.
        sip: further keys of ``[conference.sip]``.
        phone: ``[phone]`` but for its account; without it, nobody's phone can be invited.
        log_level: ``debug`` has the texts of messages in the log.
        component_port, manager_port: where agi-xmpp finds the server and Asterisk's manager interface, such as a
            proxy's; 0 for their own.
    """
    accounts = Accounts(server)
    async with contextlib.AsyncExitStack() as stack:
        crowd: dict[str, Person] = {}
        stack.push_async_callback(_send_home, crowd)
        for name in people:
            login = await accounts(name)
            crowd[name] = Person(login, await Buddy.connect(server, login.jid, login.password))
        sections = {
            "ami": {
                "port": manager_port or exchange.ami_port,
                "username": exchange.manager_user,
                "password": exchange.manager_secret,
                "retry_max": 1.0,
            },
            "conference": {
                "account": ACCOUNT,
                "phones": PHONES_ACCOUNT,
                "context": CONFERENCE_CONTEXT,
                "invite_context": INVITED_CONTEXT,
                "rooms": ["_6XXX", "_[a-z][a-z]."],
                "owners": [crowd[people[0]].jid],
                "sip": {
                    "port": exchange.sip_port,
                    "endpoint": OWN_LEG,
                    "password": exchange.passwords[OWN_LEG],
                    **(sip or {}),
                },
                "room": dict(rooms or {}),
                **(conference or {}),
            },
            **({"phone": {"account": PHONES_ACCOUNT, **phone}} if phone is not None else {}),
        }
        components = {
            ACCOUNT: _component(server, server.component_domain, component_port),
            PHONES_ACCOUNT: _component(server, server.phones_domain, component_port),
        }
        service = await stack.enter_async_context(
            Service(components, sections=sections, state_directory=state_directory, log_level=log_level)
        )
        phones = await stack.enter_async_context(Softphones(exchange))
        await service.online()
        yield Hall(exchange, server, accounts, service, crowd, phones)
        service.assert_alive()


def _component(server: XmppServer, domain: str, port: int) -> Account:
    settings = {"type": "component", "ca_file": None, "buddies": None, "retry_max": 1.0}
    secret = server.component_secret
    return Account(server, domain, secret, tls="none", port=port or server.component_port, settings=settings)


async def _send_home(crowd: Mapping[str, Person]) -> None:
    for person in crowd.values():
        await person.buddy.disconnect()
