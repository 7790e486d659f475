"""An office: people at Sparks with real telephones, and agi-xmpp between the XMPP server and the exchange.

`Office.after` is the heart of it: after each thing that somebody does it waits until all of it has arrived, and checks
that every Spark shows what is true of its user's phones (`tests.spark.Watched`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.spark import NAMESPACE, Shown, Watched
from tests.testbed.client import Buddy
from tests.testbed.phone import Phone
from tests.testbed.program import PROBE_INTERVAL
from tests.testbed.service import Account, Service
from tests.testbed.telephony import CONTEXT, PEOPLE, Exchange, Phones
from tests.testbed.xmpp import Accounts, Login, XmppServer

#: How agi-xmpp is on the XMPP server.
Mode = Literal["component", "client"]

#: The name of its account.
ACCOUNT = "phone"


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A phone event as it came.

    Attributes:
        type, call_id, device, caller_id, caller_name: as in `PhoneEvent`.
    """

    type: str
    call_id: str
    device: str
    caller_id: str
    caller_name: str


class Colleague:
    """Somebody with an account, phones, and a Spark that is logged in.

    Attributes:
        name: such as ``alice``; the key in `Office.people`.
        login: of the account.
        buddy: the XMPP client below Spark.
        watched: Spark, and what is true.
        events: the phone events that came, in order.
        stanzas: the messages that brought them.
    """

    def __init__(self, name: str, login: Login, buddy: Buddy) -> None:
        self.name = name
        self.login = login
        self.buddy = buddy
        self.watched = Watched()
        self.events: list[Event] = []
        self.stanzas: list[ET.Element] = []
        self._sent = 0
        buddy.on_message(self._take)

    @property
    def jid(self) -> str:
        """The bare JID."""
        return self.login.jid

    def told(self) -> list[str]:
        """Return the types of the events since the last time."""
        new, self._sent = self.events[self._sent :], len(self.events)
        return [event.type for event in new]

    def forget(self) -> None:
        """Begin anew: what came so far was another story."""
        self._sent = len(self.events)

    def _take(self, xml: ET.Element) -> None:
        before = len(self.watched.spark.presences)
        self.watched.spark.receive(xml)
        for child in xml.findall(f"{{{NAMESPACE}}}phone-event"):
            self.stanzas.append(xml)
            self.events.append(
                Event(
                    child.get("type", ""),
                    child.get("callID", ""),
                    child.get("device", ""),
                    child.findtext(f"{{{NAMESPACE}}}callerID") or "",
                    child.findtext(f"{{{NAMESPACE}}}callerIDName") or "",
                )
            )
        for presence in self.watched.spark.presences[before:]:
            self.buddy.show(_show(presence), presence.status, presence.priority)


class Office:
    """The office. Make it with `open_office`.

    Attributes:
        exchange: the telephone exchange.
        server: the XMPP server.
        accounts: makes more people.
        service: agi-xmpp.
        mode: how it is on the server.
        jid: where it answers.
        people: by name.
    """

    def __init__(
        self,
        exchange: Exchange,
        server: XmppServer,
        accounts: Accounts,
        service: Service,
        mode: Mode,
        jid: str,
        people: Mapping[str, Colleague],
        phones: Phones,
    ) -> None:
        self.exchange = exchange
        self.server = server
        self.accounts = accounts
        self.service = service
        self.mode = mode
        self.jid = jid
        self.people = people
        self._phones = phones
        self._ringing: Counter[str] = Counter()

    def __getitem__(self, name: str) -> Colleague:
        return self.people[name]

    async def phones(self, *devices: str) -> list[Phone]:
        """Switch on phones; agi-xmpp knows that they can be reached when this returns."""
        return await self._phones(*devices)

    async def calls(self) -> list[dict[str, Any]]:
        """Return the calls that agi-xmpp knows."""
        calls: list[dict[str, Any]] = (await self.service.status())["phone"]["calls"]
        return calls

    async def in_sight(self, timeout: float = 20.0) -> None:
        """Wait until agi-xmpp has asked Asterisk what is going on."""
        deadline = time.monotonic() + timeout
        while not (await self.service.status())["phone"]["in_sight"]:
            assert time.monotonic() < deadline, f"agi-xmpp does not see the exchange\n{self.service.log_tail()}"
            await asyncio.sleep(PROBE_INTERVAL)

    async def until(self, timeout: float = 20.0, **phases: str) -> None:
        """Wait until everybody has exactly these calls, by their phases (``bob="talking ringing"``).

        Raises:
            AssertionError: it did not come to that.
        """
        wanted = {name: Counter(text.split()) for name, text in phases.items() if text}
        owners = {colleague.jid: name for name, colleague in self.people.items()}
        deadline = time.monotonic() + timeout
        while True:
            found: dict[str, Counter[str]] = {}
            for call in await self.calls():
                found.setdefault(owners[call["user"]], Counter())[call["phase"]] += 1
            if found == wanted:
                break
            assert time.monotonic() < deadline, f"calls are {found}, not {wanted}\n{self.service.log_tail()}"
            await asyncio.sleep(PROBE_INTERVAL)
        for name in self.people:
            now = wanted.get(name, Counter())["ringing"]
            self.people[name].watched.rung += max(now - self._ringing[name], 0)
            self._ringing[name] = now

    async def arrived(self) -> None:
        """Wait until everything that agi-xmpp has sent so far has arrived: stanzas stay in order."""
        for colleague in self.people.values():
            await colleague.buddy.ping(self.jid)

    async def after(self, timeout: float = 20.0, **phases: str) -> None:
        """Wait as `until`, and for all that was sent of it; then check that every Spark shows what is true."""
        await self.until(timeout, **phases)
        await self.arrived()
        for name, colleague in self.people.items():
            colleague.watched.talking = {str(n) for n in range(phases.get(name, "").split().count("talking"))}
            try:
                colleague.watched.check()
            except AssertionError as error:
                raise AssertionError(
                    f"{name}: {error}; events: {colleague.events}\n{self.service.log_tail()}"
                ) from error


@contextlib.asynccontextmanager
async def open_office(
    exchange: Exchange,
    server: XmppServer,
    mode: Mode,
    state_directory: Path,
    *,
    people: Sequence[str] = ("alice", "bob", "carol"),
    phone: Mapping[str, Any] | None = None,
    users: Mapping[str, Mapping[str, Any]] | None = None,
    account: Mapping[str, Any] | None = None,
    ami: Mapping[str, Any] | None = None,
) -> AsyncIterator[Office]:
    """Let people come to work.

    Args:
        exchange: has their phones.
        server: has their accounts.
        mode: how agi-xmpp is on the server.
        state_directory: for what outlives agi-xmpp.
        people: who.
        phone: further keys of ``[phone]``.
        users: further keys of ``[phone.user.JID]``, by name.
        account: further keys of ``[account.phone]``.
        ami: further keys of ``[ami]``.
    """
    accounts = Accounts(server)
    async with contextlib.AsyncExitStack() as stack:
        colleagues: dict[str, Colleague] = {}
        for name in people:
            login = await accounts(name)
            buddy = await stack.enter_async_context(
                Buddy.online(server, login.jid, login.password, resource="Spark", priority=1, status="Online")
            )
            colleagues[name] = Colleague(name, login, buddy)
        ours, jid = await _account(server, accounts, mode, account or {})
        sections = {
            "ami": {
                "port": exchange.ami_port,
                "username": exchange.phone_user,
                "password": exchange.phone_secret,
                **(ami or {}),
            },
            "phone": {
                "account": ACCOUNT,
                "context": CONTEXT,
                "dial": ["_6XX"],
                "lost_after": 2.0,
                "user": {
                    colleague.jid: {
                        "devices": [f"PJSIP/{device}" for device in PEOPLE[name]],
                        "name": name.title(),
                        **(users or {}).get(name, {}),
                    }
                    for name, colleague in colleagues.items()
                },
                **(phone or {}),
            },
        }
        service = await stack.enter_async_context(
            Service({ACCOUNT: ours}, sections=sections, state_directory=state_directory, log_level="info")
        )
        phones = await stack.enter_async_context(Phones(exchange))
        office = Office(exchange, server, accounts, service, mode, jid, colleagues, phones)
        await service.online(ACCOUNT)
        await office.in_sight()
        yield office
        service.assert_alive()


async def _account(
    server: XmppServer, accounts: Accounts, mode: Mode, settings: Mapping[str, Any]
) -> tuple[Account, str]:
    """Return ``[account.phone]``, and where agi-xmpp answers."""
    if mode == "component":
        keys = {"type": "component", "ca_file": None, "buddies": None, **settings}
        ours = Account(
            server,
            server.component_domain,
            server.component_secret,
            tls="none",
            port=server.component_port,
            settings=keys,
        )
        return ours, server.component_domain
    login = await accounts("phone")
    jid = f"{login.jid}/asterisk"
    return Account(server, jid, login.password, settings=settings), jid


def _show(presence: Shown) -> str:
    return "" if presence.show == "available" else presence.show
