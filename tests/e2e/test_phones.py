"""The telephones of the testbed: they do what the tests of calls rely on."""

from __future__ import annotations

import pytest

from tests.testbed.errors import TestbedError
from tests.testbed.phone import Caller, Phone
from tests.testbed.rootfs import Rootfs
from tests.testbed.telephony import Exchange, Phones

ALICE = Caller("101", "Alice")


async def channels(exchange: Exchange) -> int:
    """Return how many channels there are."""
    return len((await exchange.cli("core show channels concise")).splitlines())


class TestExchange:
    async def test_its_configuration_is_right(self, rootfs: Rootfs) -> None:
        async with Exchange(rootfs) as exchange:
            # Debian's module is linked without a library that it needs; nothing here uses it.
            assert [line for line in await exchange.problems(0) if "res_pjsip_exten_state" not in line] == []

    async def test_a_phone_without_an_endpoint_is_refused(self, exchange: Exchange) -> None:
        with pytest.raises(TestbedError, match="phone 999 was refused"):
            await Phone(exchange, "999").__aenter__()


class TestCalls:
    async def test_ring_answer_talk_and_hang_up(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        await alice.call("102")
        assert await bob.rings() == ALICE
        await alice.hears_ringing()
        await bob.answer()
        await alice.talks()
        await bob.talks()
        await alice.hangup()
        await bob.ended()
        await bob.idle()

    async def test_nobody_answers(self, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        await alice.call("102")
        await bob.rings()
        await alice.hangup()
        await bob.ended()
        with pytest.raises(AssertionError, match="phone 102 does not ring"):
            await bob.rings(timeout=0.1)

    async def test_why_a_call_fails(self, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        await alice.call("102")
        await bob.reject()
        assert await alice.ended() == "486 Busy Here"
        for number, reason in {"670": "486", "671": "503", "105": "503", "999": "404"}.items():
            line = await alice.call(number)
            assert (await alice.ended(line)).startswith(reason)

    async def test_what_a_person_cannot_do(self, phones: Phones) -> None:
        (alice,) = await phones("101")
        with pytest.raises(AssertionError, match="phone 101 has no call"):
            await alice.hangup()
        with pytest.raises(AssertionError, match="phone 101 has no call that it talks"):
            await alice.transfer("102")

    async def test_keys_are_heard(self, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        await alice.call("102")
        await bob.answer()
        await alice.talks()
        await alice.dtmf("12#")
        await bob.hears_digits("12#")

    async def test_call_waiting(self, phones: Phones) -> None:
        alice, bob, carol = await phones("101", "102", "103")
        await alice.call("102")
        first = await bob.answer()
        await carol.call("102")
        assert await bob.rings() == Caller("103", "Carol")
        await bob.hold()
        second = await bob.answer()
        await bob.talks(second)
        await bob.hangup()
        await carol.ended()
        await bob.resume()
        await bob.talks(first)

    async def test_blind_transfer(self, phones: Phones) -> None:
        alice, bob, carol = await phones("101", "102", "103")
        await alice.call("102")
        await bob.answer()
        await bob.transfer("103")
        assert await carol.rings() == ALICE
        await carol.answer()
        await alice.talks()
        await carol.talks()
        await bob.idle()

    async def test_attended_transfer(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob, carol = await phones("101", "102", "103")
        await alice.call("102")
        await bob.answer()
        await bob.hold()
        await bob.call("103")
        await carol.answer()
        await bob.talks()
        await bob.attended_transfer()
        await alice.talks()
        await carol.talks()
        assert await channels(exchange) == 2
        await carol.hangup()
        await alice.ended()

    async def test_switched_off_and_on_again(self, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        await bob.stop()
        line = await alice.call("102")
        assert (await alice.ended(line)).startswith("503")
        await bob.start()
        await alice.call("102")
        assert await bob.rings() == ALICE

    async def test_an_unplugged_phone_stays_registered(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        await alice.call("102")
        await bob.answer()
        await alice.talks()
        await bob.kill()
        assert await channels(exchange) == 2
        await bob.start()
        await alice.hangup()
