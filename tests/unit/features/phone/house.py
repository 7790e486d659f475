"""People with phones, calls and a manager connection for the tests of what people ask for."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from agi_xmpp.ami.calls import Call, Party, Phase
from agi_xmpp.config import PhoneSettings
from agi_xmpp.features.phone.availability import Availability
from agi_xmpp.features.phone.command_set import Switchboard
from agi_xmpp.features.phone.notes import Notes
from agi_xmpp.features.phone.people import People, Person
from agi_xmpp.features.phone.watches import Watches
from agi_xmpp.xmpp.model import Jid
from tests.unit.clock import Clock
from tests.unit.features.fakes import FakeSession
from tests.unit.features.phone.fakes import FakeAmi

USERS: dict[str, Any] = {
    "ann@x.org": {"devices": ["PJSIP/101", "PJSIP/201"], "name": "Ann Smith"},
    "bob@x.org": {"devices": ["PJSIP/102"], "name": "Bob", "notes": True},
    "carol@x.org": {"devices": ["PJSIP/103"], "name": "Carol"},
}
ANN, BOB, CAROL = Jid("ann", "x.org"), Jid("bob", "x.org"), Jid("carol", "x.org")


def settings(**changes: Any) -> PhoneSettings:
    return PhoneSettings(**{"account": "main", "context": "internal", "dial": ["_6XX"], "user": USERS} | changes)


PEOPLE = People(settings())


def person(who: Jid) -> Any:
    return PEOPLE.by_jid(who)


def call(owner: Jid = BOB, **changes: Any) -> Call:
    """A call of Ann's that rings at Bob's."""
    basic = Call("c-1", str(owner), Phase.RINGING, True, False, "PJSIP/102", Party("101", "Ann Smith"), "PJSIP/102-1")
    return dataclasses.replace(basic, **changes)


class FakeActing:
    """Takes down what is to be done, and refuses what it was told to."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.refusal: Exception | None = None
        self.asked_by: Jid | None = None

    async def _take(self, by: Jid | None, *done: Any) -> None:
        await asyncio.sleep(0)
        self.asked_by = by
        if self.refusal:
            raise self.refusal
        self.done.append(done)

    async def dial(self, person: Person, target: str, *, device: str = "", by: Jid | None = None) -> None:
        await self._take(by, "dial", person.jid, target, device)

    async def forward(self, person: Person, call_id: str, target: str, *, by: Jid | None = None) -> None:
        await self._take(by, "forward", person.jid, call_id, target)

    async def hangup(self, person: Person, call_id: str, *, by: Jid | None = None) -> None:
        await self._take(by, "hangup", person.jid, call_id)


class FakeConvening:
    """Takes down who is to be invited, and refuses what it was told to."""

    def __init__(self) -> None:
        self.convened: list[tuple[Jid, str]] = []
        self.refusal: Exception | None = None
        self.say: Callable[[str], None] = print

    def convene(self, asker: Jid, wanted: str, say: Callable[[str], None]) -> str:
        if self.refusal:
            raise self.refusal
        self.convened.append((asker, wanted))
        self.say = say
        return "Conference 6001 is the room 6001@conference.x.org."


async def _knows_nobody(_number: str) -> None:
    return None


class Board:
    """A switchboard of real parts, with calls as the test says."""

    def __init__(self, people: People = PEOPLE) -> None:
        self.session = FakeSession()
        self.acting = FakeActing()
        self.calls: dict[str, list[Call]] = {}
        self.states: dict[str, str] = {}
        self.clock = Clock()
        self.convening: FakeConvening | None = FakeConvening()
        self.told: list[tuple[Person, str]] = []
        self.switchboard = Switchboard(
            people=people,
            acting=self.acting,
            calls=lambda owner: self.calls.get(owner, []),
            device_state=lambda device: self.states.get(device, ""),
            notes=Notes(self.session, people, _knows_nobody, {}),
            availability=Availability(people, settings(), FakeAmi(), lambda _owner: False, {}, {}),
            watches=Watches(self.session, lambda who: not self.calls.get(str(who.jid)), self.clock),
            clock=self.clock,
            convener=lambda: self.convening,
            tell=lambda who, text: self.told.append((who, text)),
        )
