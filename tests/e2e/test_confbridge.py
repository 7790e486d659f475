"""Conferences of a real Asterisk with real phones, over a real manager connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Self

import pytest

from agi_xmpp.ami import confbridge
from agi_xmpp.ami.client import AmiClient
from agi_xmpp.ami.conferences import Change, Conferences, PhoneLeft
from agi_xmpp.ami.invitations import Inviter, Joined, NoAnswer, Place, Refused, Unreachable
from agi_xmpp.ami.listeners import Listeners
from agi_xmpp.ami.model import Message
from agi_xmpp.config import AmiSettings
from agi_xmpp.errors import AmiRefused, AmiUnknown
from agi_xmpp.features.conference.phones.roster import Roster
from tests.testbed.conference import ConferenceExchange, Softphones
from tests.testbed.conference_scenes import INVITED, SCENARIOS
from tests.testbed.conference_scenes import Conferences as ConferencesExchange
from tests.testbed.phone import Phone
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.scenarios import Stage
from tests.testbed.telephony import Exchange, Phones
from tests.unit.ami.test_conferences import EXPECTED

STAFF = Place(INVITED, "staff", "Staff")


class Bridge:
    """Our side: a manager connection, a roster that it feeds, and an inviter.

    Args:
        exchange: its user with the least rights is taken.
        port: instead of the exchange's own, such as that of a proxy.

    Attributes:
        ami: the connection.
        conferences: who is in.
        inviter: calls phones.
        told: what was told of, in words.
    """

    def __init__(self, exchange: Exchange | ConferenceExchange, port: int = 0) -> None:
        if isinstance(exchange, ConferenceExchange):
            username, password = exchange.manager_user, exchange.manager_secret
        else:
            username, password = exchange.phone_user, exchange.phone_secret
        settings = AmiSettings.model_validate(
            {"username": username, "password": password, "port": port or exchange.ami_port, "retry_max": 1}
        )
        listeners = Listeners()
        self.ami = AmiClient(settings, listeners)
        self.conferences = Conferences()
        self.inviter = Inviter(self.ami)
        self.told: list[str] = []
        self._changed = asyncio.Event()
        self._roster = Roster(self.ami, self.conferences, self._take, self._changed.set)
        listeners.add(self._roster)
        listeners.add(self)

    async def __aenter__(self) -> Self:
        await self.ami.start()
        await self.ami.ready(15.0)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.ami.stop()
        await self._roster.stop()

    def ami_connected(self) -> None:
        """See `AmiListener`."""

    def ami_event(self, event: Message) -> None:
        """See `AmiListener`."""
        self.inviter.event(event)

    def ami_disconnected(self) -> None:
        """See `AmiListener`."""
        self.inviter.lost()

    def who(self, number: str = "staff") -> list[str]:
        """Return the names of who is in; a ``!`` behind those who are muted."""
        return [phone.name + "!" * phone.muted for phone in self.conferences.of(number)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        try:
            async with asyncio.timeout(15):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it does not come to that: {self.told}") from None

    async def has(self, *names: str, number: str = "staff") -> None:
        """Wait until exactly these are in."""
        await self.until(lambda: sorted(self.who(number)) == sorted(names))

    def channel(self, name: str) -> str:
        """Return the channel of somebody who is in ``staff``."""
        (channel,) = [phone.channel for phone in self.conferences.of("staff") if phone.name == name]
        return channel

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            words = [type(change).__name__.removeprefix("Phone"), change.number]
            if isinstance(change, PhoneLeft):
                words.append(change.channel.rpartition("-")[0])
            else:
                phone = change.participant
                words += [phone.device, phone.number or "-", phone.name or "-"]
                words += [word for word in ("muted", "admin", "withheld") if getattr(phone, word)]
            self.told.append(" ".join(words))
        self._changed.set()


@pytest.fixture(scope="module")
def exchange_process(rootfs: Rootfs) -> Iterator[ConferencesExchange]:
    """Instead of the session's: an exchange with conferences."""
    with ConferencesExchange(rootfs) as exchange:
        yield exchange


@pytest.fixture
async def bridge(exchange: ConferencesExchange) -> AsyncIterator[Bridge]:
    async with Bridge(exchange) as bridge:
        yield bridge


#: Nothing is known of a number that is withheld, or of a phone behind one.
TOLD = EXPECTED | {"withheld": ["Joined staff PJSIP/101 - - withheld", "Left staff PJSIP/101"]}
#: Over in one moment, perhaps before Asterisk has said whether the caller wants to be known.
PERHAPS = ("left_at_the_door", "redirected_at_the_door")
#: Whose stay in a scene is as short.
BRIEF = {"transferred_out": "PJSIP/103"}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_each_scene(exchange: ConferencesExchange, bridge: Bridge, name: str) -> None:
    async with Phones(exchange) as phones, Stage(exchange, phones) as stage:
        await SCENARIOS[name](stage)
    brief = BRIEF.get(name)
    without = [line for line in TOLD[name] if brief is None or brief not in line]
    await bridge.until(lambda: len(bridge.told) >= len(without) or name in PERHAPS)
    await bridge.until(lambda: not bridge.conferences.numbers())
    told, expected = bridge.told, TOLD[name]
    if told == without:
        return
    if name in ("both_redirected", "two_conferences"):  # who hangs up first is not always heard of first
        told, expected = sorted(told), sorted(expected)
    assert told == expected or (name in PERHAPS and not told)


async def join(phones: Phones, bridge: Bridge, *devices: str, number: str = "640") -> list[Phone]:
    people = {"101": "Alice", "102": "Bob", "103": "Carol", "104": "Dave"}
    found = await phones(*devices)
    for phone in found:
        await phone.call(number)
        await bridge.until(lambda name=people[phone.number]: name in bridge.who())  # type: ignore[misc]
    return found


async def test_who_was_there_before_us(exchange: ConferencesExchange, phones: Phones) -> None:
    async with Bridge(exchange) as early:
        await join(phones, early, "101", "102")
        await confbridge.mute(early.ami, "staff", early.channel("Bob"), True)
        await early.has("Alice", "Bob!")
        async with Bridge(exchange) as late:
            await late.has("Alice", "Bob!")
            assert late.told == ["Joined staff PJSIP/101 101 Alice", "Joined staff PJSIP/102 102 Bob muted"]


async def test_a_withheld_caller_is_nobody(exchange: ConferencesExchange, phones: Phones, bridge: Bridge) -> None:
    (alice,) = await phones("101")
    await alice.call("6402")
    await bridge.has("")
    async with Bridge(exchange) as late:
        await late.has("")
    assert bridge.told + late.told == ["Joined staff PJSIP/101 - - withheld"] * 2


async def test_mute_kick_and_what_is_no_more(phones: Phones, bridge: Bridge) -> None:
    _, bob = await join(phones, bridge, "101", "102")
    channel = bridge.channel("Bob")
    await confbridge.mute(bridge.ami, "staff", channel, True)
    await bridge.has("Alice", "Bob!")
    await confbridge.mute(bridge.ami, "staff", channel, False)
    await bridge.has("Alice", "Bob")
    await confbridge.kick(bridge.ami, "staff", channel)
    await bridge.has("Alice")
    await bob.ended()
    for action in (confbridge.kick(bridge.ami, "staff", channel), confbridge.mute(bridge.ami, "staff", channel, True)):
        with pytest.raises(AmiRefused):
            await action
    with pytest.raises(AmiRefused):
        await confbridge.kick(bridge.ami, "nobody-is-here", channel)
    with pytest.raises(AmiRefused):
        await confbridge.send_text(bridge.ami, channel, "anybody there?")


async def test_a_second_conference_that_ends_while_they_are_listed(phones: Phones, bridge: Bridge) -> None:
    """Asterisk's word for a conference that is none while another goes on."""
    await join(phones, bridge, "101")
    with pytest.raises(AmiRefused, match=r"No Conference by that name found\."):
        await bridge.ami.items("ConfbridgeList", {"Conference": "ended"})


# Texts to one phone


async def test_a_text_to_one_phone_alone(conference_exchange: ConferenceExchange, softphones: Softphones) -> None:
    """With the rights that the documents ask for, and no others."""
    alice, bob = await softphones("101", "102")
    await conference_exchange.enters(alice, "6000")
    call, channel = await conference_exchange.enters(bob, "6000")
    async with Bridge(conference_exchange) as bridge:
        odd = '[private] <Romeo> ${EXTEN} $[1+1] "quoted" \\backslash, ü ✓ 😀; Action: Logoff'
        words = " ".join(f"word{number}" for number in range(400))
        await confbridge.send_text(
            bridge.ami, channel, f"{odd}\n\nsecond line\r\nAction: Logoff\n{words}\n{'x' * 2000}"
        )
        assert (await bob.hears()).body == odd
        assert (await bob.hears()).body == "second line"
        assert (await bob.hears()).body == "Action: Logoff"
        parts = confbridge.split(words)
        assert len(parts) > 2
        for part in (*parts, *confbridge.split("x" * 2000)):
            assert (await bob.hears()).body == part
        assert alice.texts == []
        await call.hang_up()


async def test_a_private_text_through_a_local_channel(
    conference_exchange: ConferenceExchange, softphones: Softphones
) -> None:
    alice, bob = await softphones("101", "102")
    await conference_exchange.enters(alice, "6000")
    async with Bridge(conference_exchange) as bridge:
        inviting = asyncio.create_task(bridge.inviter.invite("Local/102@internal/n", Place(INVITED, "6000", "Staff")))
        await (await bob.rings()).answer()
        outcome = await inviting
        assert isinstance(outcome, Joined)
        await bridge.until(lambda: outcome.channel in [phone.channel for phone in bridge.conferences.of("6000")])
        await confbridge.send_text(bridge.ami, outcome.channel, "for you alone")
        assert (await bob.hears()).body == "for you alone"
        assert alice.texts == []


# The connection


async def test_a_connection_that_was_cut(exchange: ConferencesExchange, phones: Phones) -> None:
    async with Proxy(exchange.ami_port) as proxy, Bridge(exchange, proxy.port) as bridge, Bridge(exchange) as witness:
        alice, bob = await join(phones, witness, "101", "102")
        await bridge.has("Alice", "Bob")
        await proxy.refuse()
        proxy.cut()
        await bob.hangup()
        (carol,) = await phones("103")
        await carol.call("640")
        await witness.has("Alice", "Carol")
        await confbridge.mute(witness.ami, "staff", witness.channel("Alice"), True)
        await witness.has("Alice!", "Carol")
        assert bridge.who() == ["Alice", "Bob"]
        bridge.told.clear()
        await proxy.accept()
        await bridge.has("Alice!", "Carol")
        assert sorted(bridge.told) == [
            "Changed staff PJSIP/101 101 Alice muted",
            "Joined staff PJSIP/103 103 Carol",
            "Left staff PJSIP/102",
        ]
        await alice.hangup()
        await carol.hangup()
        await bridge.has()


async def test_an_asterisk_that_starts_anew(rootfs: Rootfs) -> None:
    with ConferencesExchange(rootfs) as exchange:
        async with Bridge(exchange) as bridge:
            async with Phones(exchange) as phones:
                await join(phones, bridge, "101", "102")
                await exchange.kill()
                assert sorted(bridge.who()) == ["Alice", "Bob"]
            await exchange.start()
            await bridge.has()
            assert sorted(bridge.told[-2:]) == ["Left staff PJSIP/101", "Left staff PJSIP/102"]
            async with Phones(exchange) as phones:
                await join(phones, bridge, "103")


# Invitations


async def test_an_invitation_that_is_taken(phones: Phones, bridge: Bridge) -> None:
    (bob,) = await phones("102")
    inviting = asyncio.create_task(
        bridge.inviter.invite("PJSIP/102", STAFF, referred_by='xmpp:römeo"@example.org', ring_time=20.0)
    )
    caller = await bob.rings()
    assert (caller.name, caller.number) == ("Staff", "staff")
    assert "Referred-By: <xmpp:r%C3%B6meo%22@example.org>" in bob.log_tail(lines=1000)
    await bob.answer()
    outcome = await inviting
    assert isinstance(outcome, Joined)
    await bridge.has("Bob")
    assert outcome.channel == bridge.channel("Bob")


async def test_an_invitation_that_is_refused(phones: Phones, bridge: Bridge) -> None:
    (bob,) = await phones("102")
    inviting = asyncio.create_task(bridge.inviter.invite("PJSIP/102", STAFF))
    await bob.reject()
    assert await inviting == Refused("User busy (SIP 486)", 17)


async def test_an_invitation_that_nobody_takes(phones: Phones, bridge: Bridge) -> None:
    (bob,) = await phones("102")
    inviting = asyncio.create_task(bridge.inviter.invite("PJSIP/102", STAFF, ring_time=1.0))
    await bob.rings()
    assert await inviting == NoAnswer()
    await bob.idle()


@pytest.mark.parametrize("destination", ["PJSIP/105", "PJSIP/nobody"])
async def test_an_invitation_of_a_phone_that_is_not_there(bridge: Bridge, destination: str) -> None:
    assert isinstance(await bridge.inviter.invite(destination, STAFF), Unreachable)


async def test_an_invitation_to_a_context_that_does_not_exist(phones: Phones, bridge: Bridge) -> None:
    await phones("102")
    outcome = await bridge.inviter.invite("PJSIP/102", Place("nowhere", "staff", "Staff"))
    assert outcome == Unreachable("Extension does not exist.")


async def test_an_invitation_of_a_number_that_is_no_device(phones: Phones, bridge: Bridge) -> None:
    (bob,) = await phones("102")
    number = "Local/102@internal/n"
    inviting = asyncio.create_task(bridge.inviter.invite(number, STAFF, referred_by="xmpp:romeo@example.org"))
    await bob.answer()
    outcome = await inviting
    assert isinstance(outcome, Joined)
    await bridge.until(lambda: [phone.channel for phone in bridge.conferences.of("staff")] == [outcome.channel])
    await bob.hangup()
    await bridge.has()
    inviting = asyncio.create_task(bridge.inviter.invite(number, STAFF))
    await bob.reject()
    assert await inviting == Refused("User busy", 17)


async def test_an_invitation_whose_connection_breaks(exchange: ConferencesExchange, phones: Phones) -> None:
    (bob,) = await phones("102")
    async with Proxy(exchange.ami_port) as proxy, Bridge(exchange, proxy.port) as bridge:
        inviting = asyncio.create_task(bridge.inviter.invite("PJSIP/102", STAFF))
        await bob.rings()
        proxy.cut()
        with pytest.raises(AmiUnknown, match="the connection to Asterisk broke"):
            await inviting
        await bob.reject()
