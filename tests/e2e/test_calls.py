"""The call model and the manager client, on a real Asterisk with real phones: what each person's calls come to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Self

import pytest

from agi_xmpp.ami.calls import Answered, Call, Calls, Change, Dialled, Ended, How, Party, Phase, Rang, Restored, Updated
from agi_xmpp.ami.client import AmiClient
from agi_xmpp.ami.model import Message
from agi_xmpp.config import AmiSettings
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.scenarios import SCENARIOS, TRACES, Stage
from tests.testbed.telephony import PEOPLE, Exchange, Phones

OWNERS = {f"PJSIP/{device}": person for person, devices in PEOPLE.items() for device in devices}
NAMES = {Rang: "rang", Dialled: "dialled", Answered: "answered", Restored: "restored"}


class Watcher:
    """Feeds the call model from a manager connection, and writes down what it says.

    Args:
        exchange: its user with the least rights is taken.
        port: instead of the exchange's own, such as that of a proxy.

    Attributes:
        calls: the model.
        log: by owner, what happened to their calls, in words (see `say`).
        begun, ended: owner and id of the calls that were told of, and of those that ended.
    """

    def __init__(self, exchange: Exchange, port: int = 0) -> None:
        self.exchange = exchange
        self.calls = Calls(lambda device: OWNERS.get(device, ""), time.monotonic)
        self.log: dict[str, list[str]] = {}
        self.begun: set[tuple[str, str]] = set()
        self.ended: list[tuple[str, str]] = []
        self._said: dict[tuple[str, str], tuple[str, bool]] = {}
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._resync: asyncio.Task[None] | None = None
        self._synced = 0
        self._marks: set[str] = set()
        settings = AmiSettings.model_validate(
            {
                "username": exchange.phone_user,
                "password": exchange.phone_secret,
                "port": port or exchange.ami_port,
                "retry_max": 1,
            }
        )
        self._client = AmiClient(settings, self)

    async def __aenter__(self) -> Self:
        await self._client.start()
        await self.synced(1)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._resync is not None:
            self._resync.cancel()
            await asyncio.wait({self._resync})

    def ami_connected(self) -> None:
        self.calls.begin_resync()
        self._resync = asyncio.create_task(self._load())

    def ami_event(self, event: Message) -> None:
        if event["Event"] == "UserEvent":
            self._marks.add(event["UserEvent"])
        self._take(self.calls.feed(event))

    def ami_disconnected(self) -> None:
        self._changed.set()

    def expect(self, channel: str, device: str) -> None:
        """A click to dial is about to happen: see `Stage`."""
        self.calls.expect(channel, OWNERS[device])

    async def synced(self, times: int, timeout: float = 15.0) -> None:
        """Wait until the model has been brought up to date after that many connections."""
        await self._until(lambda: self._synced >= times, timeout)

    async def up_to_date(self) -> None:
        """Wait until everything that Asterisk has said up to now has been heard."""
        mark = f"watcher-{id(self)}-{time.monotonic_ns()}"
        await (await self.exchange.ami()).action("UserEvent", UserEvent=mark)
        await self._until(lambda: mark in self._marks)

    async def over(self) -> None:
        """Wait until nobody has a call."""
        await self._until(lambda: not self.calls.all())

    async def one(self, owner: str, phase: Phase) -> Call:
        """Wait until somebody has one call, and that in this phase."""
        await self._until(lambda: [call.phase for call in self.calls.of(owner)] == [phase])
        return self.calls.of(owner)[0]

    async def _load(self) -> None:
        self._take(self.calls.resync(await self._client.items("Status")))
        self._synced += 1

    async def _until(self, reached: Callable[[], bool], timeout: float = 15.0) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not reached():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it does not come to that: {self.log}\n{self.calls.all()}") from None

    def _take(self, changes: list[Change]) -> None:
        for change in changes:
            self.say(change)
        self._changed.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.calls.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, lambda: self._take(self.calls.tick()))

    def say(self, change: Change) -> None:
        """Write down a change; of an update, what is new of the party's number and of hold."""
        call = change.call
        lines = self.log.setdefault(call.owner, [])
        self.begun.add((call.owner, call.id))
        party, held = self._said.get((call.owner, call.id), ("", False))
        if isinstance(change, Updated):
            if call.party.number != party:
                lines.append(f"party {call.party.number}")
            if call.held != held:
                lines.append("held" if call.held else "resumed")
        elif isinstance(change, Ended):
            by = f" by {change.by.number}" if change.by.number else ""
            lines.append(change.how.value + by)
            self.ended.append((call.owner, call.id))
        else:
            lines.append(f"{NAMES[type(change)]} {call.party.number}".rstrip())
        self._said[call.owner, call.id] = (call.party.number, call.held)


#: What comes of each scene, for everybody who takes part.
EXPECTED: dict[str, dict[str, list[str]]] = {
    "answered": {
        "alice": ["dialled 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
    },
    "answered_caller_hangs_up": {
        "alice": ["dialled 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
    },
    "cancelled": {
        "alice": ["dialled 102", "no answer"],
        "bob": ["rang 101", "missed"],
    },
    "rejected": {
        "alice": ["dialled 102", "busy"],
        "bob": ["rang 101", "rejected"],
    },
    # Dial() has nobody to call: no second channel, and no DialBegin.
    "unregistered": {
        "alice": ["failed"],
    },
    # Asterisk refuses the INVITE before there is a channel.
    "no_such_number": {},
    # Both phones belong to one person: one call.
    "own_second_phone": {
        "alice": ["dialled 201", "party 101", "answered 101", "talked"],
    },
    "group_two_people": {
        "bob": ["rang 104", "elsewhere by 103"],
        "carol": ["rang 104", "answered 104", "talked"],
        "dave": ["dialled 610", "party 103", "answered 103", "talked"],
    },
    # Carol refuses nothing, although her leg ends with the cause of Bob's refusal (17), which it has from the caller's.
    # For Dave, who gives up, that refusal is what Asterisk says of the whole group.
    "group_nobody": {
        "bob": ["rang 104", "rejected"],
        "carol": ["rang 104", "missed"],
        "dave": ["dialled 610", "busy"],
    },
    "group_two_phones": {
        "alice": ["rang 104", "answered 104", "talked"],
        "dave": ["dialled 611", "party 101", "answered 101", "talked"],
    },
    "group_one_phone_off": {
        "alice": ["rang 104", "answered 104", "talked"],
        "dave": ["dialled 611", "party 101", "answered 101", "talked"],
    },
    "queue": {
        "bob": ["rang 104", "answered 104", "talked"],
        "carol": ["rang 104", "elsewhere by 102"],
        "dave": ["dialled 620", "party 102", "answered 102", "talked"],
    },
    "queue_given_up": {
        "bob": ["rang 104", "missed"],
        "carol": ["rang 104", "missed"],
        "dave": ["dialled 620", "no answer"],
    },
    "local_channel": {
        "alice": ["dialled 600", "party 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
    },
    "local_channel_optimised": {
        "alice": ["dialled 601", "party 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
    },
    "forward_on_no_answer": {
        "alice": ["dialled 661", "party 102", "party 103", "answered 103", "talked"],
        "bob": ["rang 101", "missed"],
        "carol": ["rang 101", "answered 101", "talked"],
    },
    "forward_on_busy": {
        "alice": ["dialled 662", "party 102", "party 103", "answered 103", "talked"],
        "bob": ["rang 101", "rejected"],
        "carol": ["rang 101", "answered 101", "talked"],
    },
    # The voicemail answers for Bob.
    "voicemail": {
        "alice": ["dialled 663", "party 102", "answered 102", "talked"],
        "bob": ["rang 101", "missed"],
    },
    "hold": {
        "alice": ["dialled 102", "answered 102", "held", "resumed", "held", "resumed", "talked"],
        "bob": ["rang 101", "answered 101", "held", "resumed", "held", "resumed", "talked"],
    },
    "call_waiting": {
        "alice": ["dialled 102", "answered 102", "held", "resumed", "talked"],
        "bob": ["rang 101", "answered 101", "rang 103", "held", "answered 103", "talked", "resumed", "talked"],
        "carol": ["dialled 102", "answered 102", "talked"],
    },
    "call_waiting_rejected": {
        "alice": ["dialled 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "rang 103", "rejected", "talked"],
        "carol": ["dialled 102", "busy"],
    },
    "refer_blind": {
        "alice": ["dialled 102", "answered 102", "party 103", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
        "carol": ["rang 101", "answered 101", "talked"],
    },
    "refer_blind_by_caller": {
        "alice": ["dialled 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "party 103", "talked"],
        "carol": ["rang 102", "answered 102", "talked"],
    },
    "refer_attended": {
        "alice": ["dialled 102", "answered 102", "held", "resumed", "party 103", "talked"],
        "bob": ["rang 101", "answered 101", "held", "dialled 103", "answered 103", "resumed", "talked", "talked"],
        "carol": ["rang 102", "answered 102", "party 101", "talked"],
    },
    "refer_attended_by_caller": {
        "alice": ["dialled 102", "answered 102", "held", "dialled 103", "answered 103", "resumed", "talked", "talked"],
        "bob": ["rang 101", "answered 101", "held", "resumed", "party 103", "talked"],
        "carol": ["rang 101", "answered 101", "party 102", "talked"],
    },
    "dtmf_blind": {
        "alice": ["dialled 102", "answered 102", "held", "resumed", "party 103", "talked"],
        "bob": ["rang 101", "answered 101", "held", "resumed", "talked"],
        "carol": ["rang 101", "answered 101", "talked"],
    },
    # One channel of Bob's all the time.
    "dtmf_attended": {
        "alice": ["dialled 102", "answered 102", "held", "resumed", "party 103", "talked"],
        "bob": ["rang 101", "answered 101", "held", "resumed", "party 103", "talked"],
        "carol": ["rang 102", "answered 102", "party 101", "talked"],
    },
    "pickup_group": {
        "alice": ["dialled 102", "party 103", "answered 103", "talked"],
        "bob": ["rang 101", "elsewhere by 103"],
        "carol": ["answered 101", "talked"],
    },
    "pickup_directed": {
        "alice": ["dialled 102", "party 103", "answered 103", "talked"],
        "bob": ["rang 101", "elsewhere by 103"],
        "carol": ["answered 101", "talked"],
    },
    "parking_by_key": {
        "alice": ["dialled 102", "answered 102", "party 103", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
        "carol": ["answered 701", "party 101", "talked"],
    },
    "parking_by_transfer": {
        "alice": ["dialled 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
    },
    "conference": {
        "alice": ["answered 640", "talked"],
        "bob": ["answered 640", "talked"],
        "carol": ["answered 640", "talked"],
    },
    "menu": {
        "alice": ["answered 630", "party 102", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
    },
    "menu_left": {
        "alice": ["answered 630", "talked"],
    },
    "click_to_dial": {
        "alice": ["dialled 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
    },
    "click_not_picked_up": {
        "alice": ["unpicked"],
    },
    "click_refused": {
        "alice": ["unpicked"],
    },
    "click_phone_off": {
        "eve": ["failed"],
    },
    "click_other_side_busy": {
        "alice": ["dialled 102", "busy"],
        "bob": ["rang 101", "rejected"],
    },
    # Two seconds after the phone is up, since nobody else is dialled.
    "click_to_announcement": {
        "alice": ["answered", "talked"],
    },
    "originate_by_others": {
        "bob": ["rang 500", "answered 500", "talked"],
    },
    "redirect_ringing": {
        "alice": ["dialled 102", "party 103", "answered 103", "talked"],
        "bob": ["rang 101", "forwarded"],
        "carol": ["rang 101", "answered 101", "talked"],
    },
    "action_blind_transfer": {
        "alice": ["dialled 102", "answered 102", "party 103", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
        "carol": ["rang 101", "answered 101", "talked"],
    },
    "phone_unplugged": {
        "alice": ["dialled 102", "answered 102", "talked"],
        "bob": ["rang 101", "answered 101", "talked"],
    },
    "outside_caller": {
        "bob": ["rang +49301234567", "answered +49301234567", "talked"],
        "dave": ["dialled 680", "party 102", "answered 102", "talked"],
    },
    # The phone shows "anonymous"; manager events have the number all the same, and not that it is withheld.
    "withheld_number": {
        "bob": ["rang 104", "missed"],
        "dave": ["dialled 681", "party 102", "no answer"],
    },
}


class TestScenes:
    def test_each_scene_has_its_expectation_and_its_trace(self) -> None:
        assert EXPECTED.keys() == SCENARIOS.keys()
        assert {path.stem for path in TRACES.glob("*.txt")} == SCENARIOS.keys()

    @pytest.mark.parametrize("name", SCENARIOS)
    async def test_scene(self, exchange: Exchange, name: str) -> None:
        async with (
            Watcher(exchange) as watcher,
            Phones(exchange) as phones,
            Stage(exchange, phones, watcher.expect) as stage,
        ):
            await SCENARIOS[name](stage)
            await watcher.up_to_date()
            await watcher.over()
        assert watcher.log == EXPECTED[name]
        # Ids stay what they were, whatever Asterisk does to the channels: each call that was begun has ended once.
        assert sorted(watcher.ended) == sorted(watcher.begun)


class TestWhatIsKnownOfACall:
    async def test_while_it_rings_and_while_they_talk(self, exchange: Exchange, phones: Phones) -> None:
        bob, dave = await phones("102", "104")
        async with Watcher(exchange) as watcher, Stage(exchange, phones) as stage:
            await dave.call("680")
            ringing = await watcher.one("bob", Phase.RINGING)
            assert ringing.party == Party("+49301234567", "Müller, Jörg & Söhne")
            assert (ringing.incoming, ringing.clicked, ringing.device) == (True, False, "PJSIP/102")
            assert (ringing.channel, ringing.source) == (await stage.channel("102"), await stage.channel("104"))
            dialling = await watcher.one("dave", Phase.DIALLING)
            assert (dialling.incoming, dialling.channel) == (False, ringing.source)
            await bob.answer()
            talking = await watcher.one("bob", Phase.TALKING)
            assert (talking.id, talking.channel) == (ringing.id, ringing.channel)
            assert (await watcher.one("dave", Phase.TALKING)).id == dialling.id

    async def test_the_phone_that_was_answered(self, exchange: Exchange, phones: Phones) -> None:
        desk, mobile, dave = await phones("101", "201", "104")
        async with Watcher(exchange) as watcher, Stage(exchange, phones) as stage:
            await dave.call("611")
            await desk.rings()
            await mobile.answer()
            call = await watcher.one("alice", Phase.TALKING)
            assert (call.device, call.channel) == ("PJSIP/201", await stage.channel("201"))

    async def test_a_ringing_call_behind_a_local_channel_can_be_sent_on(
        self, exchange: Exchange, phones: Phones
    ) -> None:
        alice, bob, carol = await phones("101", "102", "103")
        async with Watcher(exchange) as watcher, Stage(exchange, phones) as stage:
            await alice.call("600")
            call = await watcher.one("bob", Phase.RINGING)
            assert call.source == await stage.channel("101")
            await stage.action("Redirect", Channel=call.source, Context="internal", Exten="103", Priority="1")
            await carol.answer()
            await alice.talks()
            await bob.idle()
            await watcher.up_to_date()
            assert watcher.log["bob"] == ["rang 101", "forwarded"]

    async def test_a_call_by_click(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        async with Watcher(exchange) as watcher, Stage(exchange, phones, watcher.expect) as stage:
            channel = await stage.click("101", "102")
            await alice.answer()
            await bob.answer()
            call = await watcher.one("alice", Phase.TALKING)
            assert (call.clicked, call.incoming, call.channel) == (True, False, await stage.channel("101"))
            assert channel in call.id
            assert not (await watcher.one("bob", Phase.TALKING)).clicked


class TestOutOfSight:
    """The manager connection breaks, or begins, while people talk."""

    async def test_a_call_that_outlives_the_cut(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        async with Proxy(exchange.ami_port) as proxy, Watcher(exchange, proxy.port) as watcher:
            await alice.call("102")
            await bob.answer()
            before = await watcher.one("alice", Phase.TALKING)
            proxy.cut("rst")
            await watcher.synced(2)
            assert watcher.calls.of("alice") == [before]
            await bob.hangup()
            await watcher.over()
        assert watcher.log == EXPECTED["answered"]

    async def test_a_call_that_ends_meanwhile(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        async with Proxy(exchange.ami_port) as proxy, Watcher(exchange, proxy.port) as watcher:
            await alice.call("102")
            await bob.answer()
            await watcher.one("alice", Phase.TALKING)
            await watcher.one("bob", Phase.TALKING)
            await proxy.refuse()
            proxy.cut("rst")
            await bob.hangup()
            await alice.idle()
            await proxy.accept()
            await watcher.synced(2)
            assert watcher.calls.all() == []
        assert watcher.log == EXPECTED["answered"]

    async def test_a_call_that_begins_meanwhile(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        async with Proxy(exchange.ami_port) as proxy, Watcher(exchange, proxy.port) as watcher:
            await proxy.refuse()
            proxy.cut("rst")
            await alice.call("102")
            await bob.answer()
            await alice.talks()
            await proxy.accept()
            await watcher.synced(2)
            assert watcher.calls.is_busy("alice")
            assert watcher.calls.is_busy("bob")
            await bob.hangup()
            await watcher.over()
        assert watcher.log == {"alice": ["restored 102", "talked"], "bob": ["restored 101", "talked"]}

    async def test_a_phone_that_rings_already(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        await alice.call("102")
        await alice.hears_ringing()
        async with Watcher(exchange) as watcher:
            ringing = await watcher.one("bob", Phase.RINGING)
            assert (ringing.party.number, ringing.device) == ("101", "PJSIP/102")
            assert not watcher.calls.is_busy("bob")
            await bob.answer()
            await watcher.one("bob", Phase.TALKING)
            await alice.hangup()
            await watcher.over()
        assert watcher.log["bob"] == ["restored 101", "answered 101", "talked"]

    async def test_asterisk_crashes_and_comes_back(self, rootfs: Rootfs) -> None:
        async with Exchange(rootfs) as exchange, Phones(exchange) as phones, Watcher(exchange) as watcher:
            alice, bob = await phones("101", "102")
            await alice.call("102")
            await bob.answer()
            await watcher.one("alice", Phase.TALKING)
            await watcher.one("bob", Phase.TALKING)
            await exchange.kill()
            await exchange.start()
            await watcher.synced(2, timeout=30)
            assert watcher.calls.all() == []
        for person in ("alice", "bob"):
            assert watcher.log[person][-1] in (How.LOST.value, How.TALKED.value)
            assert len(watcher.log[person]) == 3

    async def test_the_connection_is_given_up(self, exchange: Exchange, phones: Phones) -> None:
        alice, bob = await phones("101", "102")
        async with Watcher(exchange) as watcher:
            await alice.call("102")
            await bob.answer()
            await watcher.one("bob", Phase.TALKING)
            for change in watcher.calls.lose():
                watcher.say(change)
            assert watcher.calls.all() == []
        assert watcher.log["bob"] == ["rang 101", "answered 101", "lost"]
