"""In order for everybody, and nobody waits for what has to be found out about somebody else's call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.ami.calls import Answered, Change, Dialled, Ended, How, Party, Phase, Rang, Restored
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.features.phone.callers import Callers
from agi_xmpp.features.phone.events import Announcer
from agi_xmpp.features.phone.telling import Teller
from agi_xmpp.xmpp.phone_model import PhoneEvent
from tests.unit.features.phone.fakes import FakeAmi
from tests.unit.features.phone.house import BOB, CAROL, call


class Desk:
    """A teller with a phone book that answers when it is told to."""

    def __init__(self) -> None:
        self.announced: dict[str, str] = {}
        self.sent: list[tuple[str, PhoneEvent]] = []
        self.asked: list[str] = []
        self._answers: dict[str, asyncio.Future[Entry | None]] = {}
        self._changed = asyncio.Event()
        self.online = True
        self.others: list[Change] = []
        self.ami = FakeAmi(Getvar={"Value": "allowed_not_screened"})
        callers = Callers(self.ami, self._lookup)
        self.teller = Teller(Announcer(self.announced), callers, self._send, lambda: self.online, self.others.append)

    def _send(self, owner: str, event: PhoneEvent) -> None:
        self.sent.append((owner, event))
        self._changed.set()

    def _answer(self, number: str) -> asyncio.Future[Entry | None]:
        return self._answers.setdefault(number, asyncio.get_running_loop().create_future())

    async def _lookup(self, number: str) -> Entry | None:
        self.asked.append(number)
        return await asyncio.shield(self._answer(number))

    def says(self, number: str, entry: Entry | None) -> None:
        self._answer(number).set_result(entry)

    async def sends(self, count: int) -> list[str]:
        async with asyncio.timeout(5):
            while len(self.sent) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.short()

    def short(self, owner: object = "") -> list[str]:
        return [event.type.value for to, event in self.sent if str(owner) in to]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.teller.stop()


RINGING = call()
TALKING = call(phase=Phase.TALKING)


async def test_the_name_of_the_phone_book_goes_before_that_of_the_network(desk):
    desk.says("101", Entry("Ann Smith", company="ACME"))
    desk.teller.call_changed(Rang(RINGING))
    await desk.sends(1)
    assert desk.sent[0][1].caller_name == "Ann Smith, ACME (101)"
    assert desk.sent[0][1].caller_id == "101"


@pytest.mark.parametrize("entry", [None, Entry("")])
async def test_without_a_name_in_the_book_that_of_the_network_stands(desk, entry):
    desk.says("101", entry)
    desk.teller.call_changed(Dialled(call(phase=Phase.DIALLING, incoming=False)))
    await desk.sends(1)
    assert desk.sent[0][1].caller_name == "Ann Smith"


async def test_a_call_without_a_number_is_not_looked_up(desk):
    desk.teller.call_changed(Rang(call(party=Party())))
    assert (desk.short(), desk.asked) == (["RING"], [])


async def test_what_happens_during_a_look_up_comes_behind_it(desk):
    desk.teller.call_changed(Rang(RINGING))
    desk.teller.call_changed(Answered(TALKING))
    assert desk.short() == []
    desk.says("101", None)
    assert await desk.sends(2) == ["RING", "ON_PHONE"]


async def test_others_do_not_wait(desk):
    desk.teller.call_changed(Rang(RINGING))
    desk.teller.call_changed(Answered(call(CAROL, party=Party(), phase=Phase.TALKING)))
    assert desk.short(CAROL) == ["ON_PHONE"]
    assert desk.short(BOB) == []


async def test_a_call_that_is_over_meanwhile_does_not_pop_up(desk):
    desk.teller.call_changed(Rang(RINGING))
    desk.teller.call_changed(Ended(RINGING, How.MISSED))
    desk.teller.call_changed(Rang(call(id="c-2")))
    desk.says("101", None)
    await desk.sends(1)
    assert [(event.type.value, event.call_id) for _to, event in desk.sent] == [("RING", "c-2")]


async def test_settling_waits_for_what_is_still_to_be_told(desk):
    desk.announced[str(BOB)] = "c-0 PJSIP/102"
    desk.teller.call_changed(Rang(RINGING))
    desk.teller.call_changed(Restored(call(id="c-0", phase=Phase.TALKING)))
    desk.teller.settle()
    assert desk.short() == []
    desk.says("101", None)
    async with asyncio.timeout(5):
        while len(desk.others) < 2:
            await asyncio.sleep(0)
    assert desk.short() == ["RING"], "c-0 goes on, so its ON_PHONE stands"


async def test_settling_ends_what_is_no_more(desk):
    desk.announced[str(BOB)] = "c-0 PJSIP/102"
    desk.teller.settle()
    assert [(event.type.value, event.call_id) for _to, event in desk.sent] == [("HANG_UP", "c-0")]


async def test_others_are_told_in_the_same_order(desk):
    desk.says("101", Entry("Ann"))
    desk.teller.call_changed(Rang(RINGING))
    desk.teller.call_changed(Answered(TALKING))
    await desk.sends(2)
    assert [(type(change), change.call.party.name) for change in desk.others] == [(Rang, "Ann"), (Answered, "Ann")]


async def test_whoever_withholds_their_number_is_nobody(desk):
    desk.ami.answers["Getvar"] = {"Value": "prohib_passed_screen"}
    desk.teller.call_changed(Rang(RINGING))
    desk.teller.call_changed(Answered(TALKING))
    assert await desk.sends(2) == ["RING", "ON_PHONE"]
    assert [(event.caller_id, event.caller_name) for _to, event in desk.sent] == [("", ""), ("", "")]
    assert [change.call.party for change in desk.others] == [Party(), Party()]
    assert desk.asked == []


async def test_what_happens_without_a_session_is_made_up_for_afterwards(desk):
    nameless = call(party=Party())
    talking = call(party=Party(), phase=Phase.TALKING)
    desk.teller.call_changed(Rang(nameless))
    desk.teller.call_changed(Answered(talking))
    desk.online = False
    desk.teller.call_changed(Answered(call(id="c-2", party=Party(), phase=Phase.TALKING)))
    desk.teller.call_changed(Ended(talking, How.TALKED))
    desk.teller.settle()
    assert desk.short() == ["RING", "ON_PHONE"]
    desk.online = True
    desk.teller.settle()
    assert [(event.type.value, event.call_id) for _to, event in desk.sent[2:]] == [
        ("HANG_UP", "c-1"),
        ("ON_PHONE", "c-2"),
    ]
    desk.teller.settle()
    assert len(desk.sent) == 4


async def test_a_call_of_which_nothing_could_be_told_is_not_told_later(desk):
    desk.online = False
    desk.teller.call_changed(Rang(call(party=Party())))
    desk.teller.call_changed(Answered(TALKING))
    desk.online = True
    desk.teller.settle()
    assert desk.short() == []
    desk.teller.call_changed(Ended(TALKING, How.TALKED))
    assert desk.short() == []


async def test_a_fault_at_one_change_hides_no_other(desk, monkeypatch, caplog):
    desk.says("101", None)
    seen, faults = desk.others.append, [ValueError("of ours")]
    monkeypatch.setattr(desk.teller, "_also", lambda change: seen(change) if not faults else raise_(faults.pop()))
    desk.teller.call_changed(Rang(RINGING))
    desk.teller.call_changed(Answered(TALKING))
    desk.teller.call_changed(Ended(TALKING, How.TALKED))
    async with asyncio.timeout(5):
        while desk.teller._lanes:
            await asyncio.sleep(0)
    assert desk.short() == ["ON_PHONE", "HANG_UP"]
    assert "of ours" in caplog.text


def raise_(error: Exception) -> None:
    raise error
