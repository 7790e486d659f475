"""What people do from a keyboard, on a real Asterisk with real telephones: they ring, talk, are forwarded, and end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from agi_xmpp.ami.calls import Call, Calls, Change, Phase, Rang
from agi_xmpp.ami.client import AmiClient
from agi_xmpp.ami.model import Message
from agi_xmpp.config import AmiSettings, PhoneSettings, PhoneUser
from agi_xmpp.errors import Refused
from agi_xmpp.features.phone.actions import EARLY, Actions
from agi_xmpp.features.phone.events import Announcer
from agi_xmpp.features.phone.people import People
from tests.spark import Watched, stanza_of
from tests.testbed.phone import Caller
from tests.testbed.telephony import CONTEXT, PEOPLE, Exchange, Phones


class Desk:
    """What people ask for, with the rights that the documents give us and no others, and their Sparks."""

    def __init__(self, exchange: Exchange) -> None:
        users = {
            f"{name}@example.org": PhoneUser(devices=[f"PJSIP/{device}" for device in devices], name=name.title())
            for name, devices in PEOPLE.items()
        }
        # 999 is allowed, and is not there.
        settings = PhoneSettings(account="pbx", context=CONTEXT, user=users, dial=["_6XX", "999"])
        self.people = People(settings)
        self.alice, self.bob, self.carol, *_ = self.people
        self.calls = Calls(self._owner_of, time.monotonic)
        self.client = AmiClient(
            AmiSettings.model_validate(
                {"username": exchange.phone_user, "password": exchange.phone_secret, "port": exchange.ami_port}
            ),
            self,
        )
        self.actions = Actions(self.people, settings, self.client, self.calls, self._take)
        self.announcer = Announcer({})
        self.sparks = {str(person.jid): Watched() for person in self.people}
        self._changed = asyncio.Event()

    def ami_connected(self) -> None: ...

    def ami_disconnected(self) -> None: ...

    def ami_event(self, event: Message) -> None:
        self.actions.ami_event(event)
        self._take(self.calls.feed(event))

    async def has(self, owner: str, phase: Phase) -> Call:
        """Wait until somebody has a call in a phase."""
        await self.until(lambda: any(call.phase is phase for call in self.calls.of(owner)))
        return next(call for call in self.calls.of(owner) if call.phase is phase)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def all_over(self) -> None:
        await self.until(lambda: not self.calls.all())

    def _owner_of(self, device: str) -> str:
        person = self.people.by_device(device)
        return str(person.jid) if person else ""

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.sparks[change.call.owner].rung += isinstance(change, Rang)
            for owner, event in self.announcer.announce(change):
                self.sparks[owner].spark.receive(stanza_of(event))
        for owner, watched in self.sparks.items():
            watched.talking = {call.id for call in self.calls.of(owner) if call.phase is Phase.TALKING}
            watched.check()
        self._changed.set()


@pytest.fixture
async def desk(exchange: Exchange) -> AsyncIterator[Desk]:
    desk = Desk(exchange)
    await desk.client.start()
    await desk.client.ready(10)
    yield desk
    await desk.client.stop()


ALICE, BOB, CAROL = (f"{name}@example.org" for name in ("alice", "bob", "carol"))


async def refused(attempt: object) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        await attempt  # type: ignore[misc]
    return caught.value.condition, str(caught.value)


async def test_click_to_dial(desk: Desk, phones: Phones) -> None:
    alice, bob = await phones("101", "102")
    begun = time.monotonic()
    await desk.actions.dial(desk.alice, "bob@example.org")
    assert time.monotonic() - begun < EARLY  # the phone rings, and that is enough
    assert await alice.rings() == Caller("101", "Alice")
    assert desk.sparks[ALICE].spark.toasts == []
    await alice.answer()
    assert await bob.rings() == Caller("101", "Alice")
    await bob.answer()
    await alice.talks()
    await bob.talks()
    await desk.has(ALICE, Phase.TALKING)
    call = await desk.has(BOB, Phase.TALKING)
    await desk.actions.hangup(desk.bob, call.id)
    await alice.ended()
    await desk.all_over()


async def test_the_other_own_phone(desk: Desk, phones: Phones) -> None:
    (second,) = await phones("201")
    await desk.actions.dial(desk.alice, "650", device="PJSIP/201")
    await second.answer()
    await second.talks()
    await second.hangup()
    await desk.all_over()


async def test_a_number_that_is_not_there(desk: Desk, phones: Phones) -> None:
    (alice,) = await phones("101")
    assert await refused(desk.actions.dial(desk.alice, "999")) == (
        "item-not-found",
        "The telephone system knows no number 999.",
    )
    with pytest.raises(AssertionError, match="does not ring"):
        await alice.rings(timeout=0.1)
    assert desk.calls.all() == []


async def test_an_own_phone_that_is_switched_off(desk: Desk) -> None:
    desk.sparks[ALICE].spark.dial()
    assert await refused(desk.actions.dial(desk.alice, "650")) == (
        "recipient-unavailable",
        "Your phone PJSIP/101 cannot be reached.",
    )
    assert desk.calls.all() == []
    assert not desk.sparks[ALICE].spark.dial_window


async def test_an_own_phone_that_is_not_picked_up_is_given_back(desk: Desk, phones: Phones) -> None:
    (alice,) = await phones("101")
    desk.sparks[ALICE].spark.dial()
    await desk.actions.dial(desk.alice, "650")
    await alice.reject()
    await desk.all_over()
    assert not desk.sparks[ALICE].spark.dial_window
    await desk.actions.dial(desk.alice, "650")
    call = await desk.has(ALICE, Phase.OPENING)
    assert (await refused(desk.actions.dial(desk.alice, "650")))[0] == "resource-constraint"
    await desk.actions.hangup(desk.alice, call.id)
    await desk.all_over()


async def test_forward_while_it_rings(desk: Desk, phones: Phones) -> None:
    alice, bob, carol = await phones("101", "102", "103")
    await alice.call("102")
    await bob.rings()
    call = await desk.has(BOB, Phase.RINGING)
    assert await refused(desk.actions.forward(desk.carol, call.id, "103")) == (
        "item-not-found",
        f"No such call: {call.id}",
    )
    assert await refused(desk.actions.forward(desk.bob, call.id, "999")) == (
        "item-not-found",
        "The telephone system knows no number 999.",
    )
    assert (await refused(desk.actions.forward(desk.alice, call.id, "103")))[0] == "not-acceptable"
    await desk.actions.forward(desk.bob, call.id, "carol@example.org")
    await bob.ended()
    await carol.answer()
    await alice.talks()
    await carol.talks()
    await alice.hangup()
    await desk.all_over()


@pytest.mark.parametrize("who", ["callee", "caller"])
async def test_forward_while_they_talk(desk: Desk, phones: Phones, who: str) -> None:
    alice, bob, carol = await phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    call = await desk.has(BOB if who == "callee" else ALICE, Phase.TALKING)
    await desk.has(ALICE, Phase.TALKING)
    stays, goes = (alice, bob) if who == "callee" else (bob, alice)
    await desk.actions.forward(desk.bob if who == "callee" else desk.alice, call.id, "103")
    await goes.ended()
    await carol.answer()
    await stays.talks()
    await carol.talks()
    await stays.hangup()
    await desk.all_over()


async def test_who_listens_to_a_machine_is_told_that_it_cannot_be_forwarded(desk: Desk, phones: Phones) -> None:
    (alice,) = await phones("101")
    await alice.call("650")
    await alice.talks()
    call = await desk.has(ALICE, Phase.TALKING)
    assert await refused(desk.actions.forward(desk.alice, call.id, "102")) == (
        "not-acceptable",
        "The call cannot be forwarded now: nobody is connected on the other side.",
    )
    await alice.talks()
    await desk.actions.hangup(desk.alice, call.id)
    await desk.all_over()


async def test_a_ringing_call_is_rejected(desk: Desk, phones: Phones) -> None:
    alice, bob = await phones("101", "102")
    line = await alice.call("102")
    await bob.rings()
    call = await desk.has(BOB, Phase.RINGING)
    await desk.actions.hangup(desk.bob, call.id)
    assert (await alice.ended(line)).startswith("486")
    await desk.all_over()
    assert await refused(desk.actions.hangup(desk.bob, call.id)) == ("item-not-found", f"No such call: {call.id}")


async def test_a_call_is_rejected_on_all_phones_that_ring(desk: Desk, phones: Phones) -> None:
    first, second, carol = await phones("101", "201", "103")
    line = await carol.call("611")
    await first.rings()
    await second.rings()
    call = await desk.has(ALICE, Phase.RINGING)
    await desk.actions.hangup(desk.alice, call.id)
    await first.ended()
    await second.ended()
    await carol.ended(line)
    await desk.all_over()
