"""Texts to one phone alone: whose they are, and how many there may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.ami.confbridge import TEXT_BYTES
from agi_xmpp.errors import AmiRefused
from agi_xmpp.features.conference.phones.whispers import MAX_PARTS, WAITING, WAITING_EACH, Whispers
from tests.unit.features.phone.fakes import FakeAmi

ALICE, BOB = "PJSIP/101-00000001", "PJSIP/102-00000001"


class House:
    def __init__(self) -> None:
        self.ami = FakeAmi()
        self.whispers = Whispers(self.ami)
        self.results: list[str] = []

    def whisper(self, text: str, speaker: str = "Romeo", channel: str = ALICE) -> None:
        self.whispers.send(channel, speaker, text, self.results.append)

    async def told(self, count: int) -> list[str]:
        async with asyncio.timeout(5):
            while len(self.results) < count:
                await asyncio.sleep(0)
        return self.results

    def sent(self) -> list[str]:
        return [headers["Message"] for _name, headers in self.ami.taken()]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.whispers.stop()


async def test_each_part_says_whose_it_is(house):
    house.whisper("one\ntwo")
    assert await house.told(1) == [""]
    assert house.sent() == ["[private] <Romeo> one", "[private] <Romeo> two"]


async def test_the_room_itself_has_no_name(house):
    house.whisper("Juliet does not come.", speaker="")
    await house.told(1)
    assert house.sent() == ["[private] Juliet does not come."]


async def test_a_long_line_is_parted_so_that_each_part_fits(house):
    house.whisper("ä" * TEXT_BYTES)
    await house.told(1)
    sent = house.sent()
    assert len(sent) == 3
    assert all(part.startswith("[private] <Romeo> ä") and len(part.encode()) <= TEXT_BYTES for part in sent)
    assert sum(part.count("ä") for part in sent) == TEXT_BYTES


async def test_one_after_the_other(house):
    for text in "abc":
        house.whisper(text)
    await house.told(3)
    assert house.sent() == [f"[private] <Romeo> {text}" for text in "abc"]


async def test_what_asterisk_does_not_take_is_told(house):
    house.ami.answers["SendText"] = AmiRefused("No such channel")
    house.whisper("hello")
    (reason,) = await house.told(1)
    assert "No such channel" in reason


@pytest.mark.parametrize(("lines", "taken"), [(MAX_PARTS - 1, True), (MAX_PARTS, True), (MAX_PARTS + 1, False)])
async def test_one_text_is_not_hundreds_of_messages(house, lines, taken):
    house.whisper("a\n" * lines)
    (reason,) = await house.told(1)
    assert (reason == "") is taken
    assert len(house.sent()) == (lines if taken else 0)


@pytest.mark.parametrize(
    ("count", "refused"), [(WAITING_EACH - 1, 0), (WAITING_EACH, 0), (WAITING_EACH + 1, 1), (WAITING_EACH + 2, 2)]
)
async def test_only_so_many_wait_for_one_phone(house, count, refused):
    for _ in range(count):
        house.whisper("hello")
    results = list(await house.told(count))
    assert sum(bool(reason) for reason in results) == refused
    assert len(house.sent()) == count - refused
    house.results.clear()
    house.whisper("there is room again")
    assert await house.told(1) == [""]


@pytest.mark.parametrize(("count", "refused"), [(WAITING - 1, 0), (WAITING, 0), (WAITING + 1, 1)])
async def test_only_so_many_wait_at_all(house, count, refused):
    for number in range(count):
        house.whisper("hello", channel=f"PJSIP/{number}-00000001")
    assert sum(bool(reason) for reason in await house.told(count)) == refused


async def test_phones_do_not_wait_for_each_other(house):
    gate = asyncio.Event()

    async def action(name, headers=None, **_others):
        if headers["Channel"] == ALICE:
            await gate.wait()
        return {}

    house.ami.action = action
    house.whisper("hello", channel=ALICE)
    house.whisper("hello", channel=BOB)
    assert await house.told(1) == [""]
    gate.set()
    assert await house.told(2) == ["", ""]


async def test_nothing_is_remembered_of_phones_that_have_all(house):
    house.whisper("hello")
    await house.told(1)
    assert house.whispers.waiting == 0
