"""What people do with their telephones, as scenes on the exchange of the testbed.

The tests of the call model play them live; ``python -m tests.testbed.scenarios [NAME…]`` plays them and writes what
Asterisk said to tests/unit/ami/traces, one file a scene. The first line of a scene's docstring says what happens.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from tests.testbed import rootfs
from tests.testbed.ami import Message
from tests.testbed.telephony import CONTEXT, Exchange, Phones
from tests.testbed.trace import Recorder

TRACES = Path(__file__).parents[1] / "unit/ami/traces"


class Stage:
    """Where a scene is played.

    Args:
        exchange: nobody else calls there meanwhile.
        phones: switches on the phones that the scene needs.
        expect: is told of a click to dial before it happens: its channel's id, and the device.
    """

    def __init__(
        self, exchange: Exchange, phones: Phones, expect: Callable[[str, str], None] = lambda channel, device: None
    ) -> None:
        self.exchange = exchange
        self.phones = phones
        self._expect = expect

    async def __aenter__(self) -> Self:
        self._events = (await self.exchange.ami()).subscribe(lambda event: "Event" in event)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._events.close()

    async def event(self, name: str, device: str = "", timeout: float = 10.0) -> Message:
        """Wait for an event of Asterisk's, about a channel of this device if one is given; each is given once."""

        def wanted(event: Message) -> bool:
            return event["Event"] == name and event.get("Channel", "").startswith(f"PJSIP/{device}-" if device else "")

        try:
            return await self._events.get(wanted, timeout)
        except TimeoutError:
            raise AssertionError(f"no {name} of {device or 'anybody'}:\n{self.exchange.log_tail()}") from None

    async def action(self, name: str, **headers: str) -> Message:
        """Do a manager action."""
        return await (await self.exchange.ami()).action(name, None, timeout=20.0, **headers)

    async def channel(self, device: str) -> str:
        """Return the name of the one channel of a device."""
        rows = (await self.exchange.cli("core show channels concise")).splitlines()
        (name,) = [row.partition("!")[0] for row in rows if row.startswith(f"PJSIP/{device}-")]
        return name

    async def click(self, device: str, number: str, timeout: float = 30.0) -> str:
        """Click to dial: a device's phone rings, and who picks up is connected to a number. Return the channel's id.

        Args:
            device: such as ``101``.
            number: extension.
            timeout: seconds that the phone rings.
        """
        channel = f"click-{secrets.token_hex(8)}"
        self._expect(channel, f"PJSIP/{device}")
        await self.action(
            "Originate",
            Channel=f"PJSIP/{device}",
            Context=CONTEXT,
            Exten=number,
            Priority="1",
            CallerID=f'"Me" <{device}>',
            Timeout=str(int(timeout * 1000)),
            Async="true",
            ChannelId=channel,
        )
        return channel


Scenario = Callable[[Stage], Awaitable[None]]


async def answered(stage: Stage) -> None:
    """101 calls 102, who answers and hangs up."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await alice.hears_ringing()
    await bob.answer()
    await alice.talks()
    await bob.hangup()
    await alice.idle()


async def answered_caller_hangs_up(stage: Stage) -> None:
    """101 calls 102, who answers; 101 hangs up."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await alice.hangup()
    await bob.idle()


async def cancelled(stage: Stage) -> None:
    """101 calls 102, whose phone rings; 101 gives up."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await alice.hears_ringing()
    await alice.hangup()
    await bob.idle()


async def rejected(stage: Stage) -> None:
    """101 calls 102, who refuses (486)."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await alice.hears_ringing()
    await bob.reject()
    await alice.idle()


async def unregistered(stage: Stage) -> None:
    """101 calls 105, whose phone is off."""
    (alice,) = await stage.phones("101")
    await alice.call("105")
    await alice.ended()


async def no_such_number(stage: Stage) -> None:
    """101 calls 999, which does not exist."""
    (alice,) = await stage.phones("101")
    await alice.call("999")
    await alice.ended()


async def own_second_phone(stage: Stage) -> None:
    """101 calls 201, a phone of the same person, and it is answered there."""
    desk, mobile = await stage.phones("101", "201")
    await desk.call("201")
    await mobile.answer()
    await desk.talks()
    await desk.hangup()
    await mobile.idle()


async def group_two_people(stage: Stage) -> None:
    """104 calls ring group 610: 102 and 103 ring, 103 answers; 104 hangs up."""
    bob, carol, dave = await stage.phones("102", "103", "104")
    await dave.call("610")
    await bob.rings()
    await carol.rings()
    await carol.answer()
    await bob.idle()
    await dave.talks()
    await dave.hangup()
    await carol.idle()


async def group_nobody(stage: Stage) -> None:
    """104 calls ring group 610: 102 and 103 ring, 102 refuses, 104 gives up."""
    bob, carol, dave = await stage.phones("102", "103", "104")
    await dave.call("610")
    await carol.rings()
    await bob.reject()
    await dave.hangup()
    await carol.idle()


async def group_two_phones(stage: Stage) -> None:
    """104 calls ring group 611, two phones of one person: 101 and 201 ring, 201 answers and hangs up."""
    desk, mobile, dave = await stage.phones("101", "201", "104")
    await dave.call("611")
    await desk.rings()
    await mobile.rings()
    await mobile.answer()
    await desk.idle()
    await dave.talks()
    await mobile.hangup()
    await dave.idle()


async def group_one_phone_off(stage: Stage) -> None:
    """104 calls ring group 611, two phones of one person, of which 201 is off: 101 answers."""
    desk, dave = await stage.phones("101", "104")
    await dave.call("611")
    await desk.answer()
    await dave.talks()
    await desk.hangup()
    await dave.idle()


async def queue(stage: Stage) -> None:
    """104 calls queue 620: 102 and 103 ring, 102 answers and hangs up."""
    bob, carol, dave = await stage.phones("102", "103", "104")
    await dave.call("620")
    await bob.rings()
    await carol.rings()
    await bob.answer()
    await carol.idle()
    await dave.talks()
    await bob.hangup()
    await dave.idle()


async def queue_given_up(stage: Stage) -> None:
    """104 calls queue 620: 102 and 103 ring; 104 gives up."""
    bob, carol, dave = await stage.phones("102", "103", "104")
    await dave.call("620")
    await bob.rings()
    await carol.rings()
    await dave.hangup()
    await bob.idle()
    await carol.idle()


async def local_channel(stage: Stage) -> None:
    """101 calls 600, a Local channel that stays in the way to 102, who answers and hangs up."""
    await _through_local_channel(stage, "600")


async def local_channel_optimised(stage: Stage) -> None:
    """101 calls 601, a Local channel to 102 that is optimised away when 102 answers; 102 hangs up."""
    await _through_local_channel(stage, "601")


async def _through_local_channel(stage: Stage, number: str) -> None:
    alice, bob = await stage.phones("101", "102")
    await alice.call(number)
    await bob.answer()
    await alice.talks()
    await bob.talks()
    await bob.hangup()
    await alice.idle()


async def forward_on_no_answer(stage: Stage) -> None:
    """101 calls 661: 102 rings for a second, then 103, who answers and hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("661")
    await bob.rings()
    await carol.answer()
    await bob.idle()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def forward_on_busy(stage: Stage) -> None:
    """101 calls 662: 102 refuses, then 103 rings, answers and hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("662")
    await bob.reject()
    await carol.answer()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def voicemail(stage: Stage) -> None:
    """101 calls 663: 102 rings for a second, then voicemail answers; 101 hangs up."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("663")
    await bob.rings()
    await bob.idle()
    await alice.talks()
    await alice.hangup()


async def hold(stage: Stage) -> None:
    """101 calls 102; 101 holds and resumes, 102 holds and resumes; 101 hangs up."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await bob.answer()
    for phone in (alice, bob):
        await phone.talks()
        await phone.hold()
        await stage.event("Hold", phone.number)
        await phone.resume()
        await stage.event("Unhold", phone.number)
    await alice.hangup()
    await bob.idle()


async def call_waiting(stage: Stage) -> None:
    """101 and 102 talk; 103 calls 102, who holds 101, talks to 103, hangs that up, and goes on with 101."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    first = await bob.answer()
    await alice.talks()
    await carol.call("102")
    await bob.rings()
    await bob.hold()
    second = await bob.answer()
    await carol.talks()
    await bob.hangup(second)
    await carol.idle()
    await bob.resume()
    await bob.talks(first)
    await bob.hangup(first)
    await alice.idle()


async def call_waiting_rejected(stage: Stage) -> None:
    """101 and 102 talk; 103 calls 102, who refuses; 101 hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await carol.call("102")
    await bob.reject()
    await carol.idle()
    await alice.hangup()
    await bob.idle()


async def refer_blind(stage: Stage) -> None:
    """101 calls 102, who transfers them to 103 (REFER); 103 answers and hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.transfer("103")
    await carol.answer()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def refer_blind_by_caller(stage: Stage) -> None:
    """101 calls 102, and transfers them to 103 (REFER); 103 answers and hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await alice.transfer("103")
    await carol.answer()
    await bob.talks()
    await carol.hangup()
    await bob.idle()


async def refer_attended(stage: Stage) -> None:
    """101 calls 102, who holds, calls 103 and connects the two (REFER with Replaces); 103 hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.hold()
    await bob.call("103")
    await carol.answer()
    await bob.talks()
    await bob.attended_transfer()
    await alice.talks()
    await carol.talks()
    await carol.hangup()
    await alice.idle()


async def refer_attended_by_caller(stage: Stage) -> None:
    """101 calls 102, holds, calls 103 and connects the two (REFER with Replaces); 102 hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await alice.hold()
    await alice.call("103")
    await carol.answer()
    await alice.talks()
    await alice.attended_transfer()
    await bob.talks()
    await carol.talks()
    await bob.hangup()
    await carol.idle()


async def dtmf_blind(stage: Stage) -> None:
    """101 calls 102, who transfers them to 103 by ##; 103 answers and hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.dtmf("##")
    await stage.event("MusicOnHoldStart", "101")
    await bob.dtmf("103")
    await carol.answer()
    await bob.idle()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def dtmf_attended(stage: Stage) -> None:
    """101 calls 102, who calls 103 by *2, and connects the two by hanging up; 103 hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.dtmf("*2")
    await stage.event("MusicOnHoldStart", "101")
    await bob.dtmf("103")
    await carol.answer()
    await carol.talks()
    await bob.hangup()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def pickup_group(stage: Stage) -> None:
    """101 calls 102, whose phone rings; 103 takes the call by *8 and hangs up."""
    await _pickup(stage, "*8")


async def pickup_directed(stage: Stage) -> None:
    """101 calls 102, whose phone rings; 103 takes the call by **102 and hangs up."""
    await _pickup(stage, "**102")


async def _pickup(stage: Stage, number: str) -> None:
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.rings()
    await alice.hears_ringing()
    await carol.call(number)
    await carol.talks()
    await bob.idle()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def parking_by_key(stage: Stage) -> None:
    """101 calls 102, who parks them by *72; 103 fetches the call and hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.dtmf("*72")
    parked = await stage.event("ParkedCall")
    await bob.idle()
    await carol.call(parked["ParkingSpace"])
    await carol.talks()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def parking_by_transfer(stage: Stage) -> None:
    """101 calls 102, who parks them by a transfer to 700; 101 hangs up in the car park."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.transfer("700")
    await stage.event("ParkedCall")
    await bob.idle()
    await alice.hangup()


async def conference(stage: Stage) -> None:
    """101, 102 and 103 call the conference 640; 102 leaves, then 101, then 103."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    for phone in (alice, bob, carol):
        await phone.call("640")
        await phone.talks()
        await stage.event("ConfbridgeJoin", phone.number)
    for phone in (bob, alice, carol):
        await phone.hangup()


async def menu(stage: Stage) -> None:
    """101 calls the menu 630 and presses 2: 102 rings, answers and hangs up."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("630")
    await alice.talks()
    await alice.dtmf("2")
    await bob.rings()
    await bob.answer()
    await bob.talks()
    await bob.hangup()
    await alice.idle()


async def menu_left(stage: Stage) -> None:
    """101 calls the menu 630 and hangs up."""
    (alice,) = await stage.phones("101")
    await alice.call("630")
    await alice.talks()
    await alice.hangup()


async def click_to_dial(stage: Stage) -> None:
    """101 clicks to dial 102, picks up, 102 answers; 101 hangs up."""
    alice, bob = await stage.phones("101", "102")
    await stage.click("101", "102")
    await alice.answer()
    await bob.answer()
    await alice.talks()
    await bob.talks()
    await alice.hangup()
    await bob.idle()


async def click_not_picked_up(stage: Stage) -> None:
    """101 clicks to dial 102, and does not pick up within a second."""
    (alice,) = await stage.phones("101")
    await stage.click("101", "102", timeout=1)
    await alice.rings()
    await alice.idle()
    await stage.event("OriginateResponse")


async def click_refused(stage: Stage) -> None:
    """101 clicks to dial 102, and refuses the call of their own phone."""
    (alice,) = await stage.phones("101")
    await stage.click("101", "102")
    await alice.reject()
    await stage.event("OriginateResponse")


async def click_phone_off(stage: Stage) -> None:
    """105 clicks to dial 102, and their phone is off."""
    await stage.click("105", "102")
    await stage.event("OriginateResponse")


async def click_other_side_busy(stage: Stage) -> None:
    """101 clicks to dial 102, picks up, and 102 refuses; 101 hears the busy tone and hangs up."""
    alice, bob = await stage.phones("101", "102")
    await stage.click("101", "102")
    await alice.answer()
    await bob.reject()
    await stage.event("DialEnd", "101")
    await alice.hangup()


async def click_to_announcement(stage: Stage) -> None:
    """101 clicks to dial the announcement 635, picks up, and listens until Asterisk hangs up."""
    (alice,) = await stage.phones("101")
    await stage.click("101", "635")
    await alice.answer()
    await alice.talks()
    await stage.event("OriginateResponse")
    await alice.idle()


async def originate_by_others(stage: Stage) -> None:
    """Another program lets 102 ring and plays echo to who picks up; 102 hangs up."""
    (bob,) = await stage.phones("102")
    await stage.action(
        "Originate", Channel="PJSIP/102", Application="Echo", CallerID='"Alarm" <500>', Timeout="30000", Async="true"
    )
    await bob.answer()
    await bob.talks()
    await bob.hangup()
    await stage.event("OriginateResponse")


async def redirect_ringing(stage: Stage) -> None:
    """101 calls 102, whose phone rings; 101 is redirected to 103, who answers and hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await alice.hears_ringing()
    await stage.action("Redirect", Channel=await stage.channel("101"), Context=CONTEXT, Exten="103", Priority="1")
    await carol.answer()
    await bob.idle()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def action_blind_transfer(stage: Stage) -> None:
    """101 calls 102; the manager action BlindTransfer on 102's channel sends 101 to 103, who answers and hangs up."""
    alice, bob, carol = await stage.phones("101", "102", "103")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await stage.action("BlindTransfer", Channel=await stage.channel("102"), Context=CONTEXT, Exten="103")
    await carol.answer()
    await bob.idle()
    await alice.talks()
    await carol.hangup()
    await alice.idle()


async def phone_unplugged(stage: Stage) -> None:
    """101 and 102 talk; 102's phone loses its power; 101 hangs up."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.kill()
    await alice.hangup()


async def outside_caller(stage: Stage) -> None:
    """104 calls 680, which calls 102 as +49301234567 "Müller, Jörg & Söhne"; 102 answers and hangs up."""
    bob, dave = await stage.phones("102", "104")
    await dave.call("680")
    await bob.answer()
    await dave.talks()
    await bob.hangup()
    await dave.idle()


async def withheld_number(stage: Stage) -> None:
    """104 calls 681, which calls 102 and withholds the caller's number; 104 gives up."""
    bob, dave = await stage.phones("102", "104")
    await dave.call("681")
    await bob.rings()
    await dave.hears_ringing()
    await dave.hangup()
    await bob.idle()


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        *(answered, answered_caller_hangs_up, cancelled, rejected, unregistered, no_such_number, own_second_phone),
        *(group_two_people, group_nobody, group_two_phones, group_one_phone_off, queue, queue_given_up),
        *(local_channel, local_channel_optimised, forward_on_no_answer, forward_on_busy, voicemail),
        *(hold, call_waiting, call_waiting_rejected),
        *(refer_blind, refer_blind_by_caller, refer_attended, refer_attended_by_caller, dtmf_blind, dtmf_attended),
        *(pickup_group, pickup_directed, parking_by_key, parking_by_transfer, conference, menu, menu_left),
        *(
            click_to_dial,
            click_not_picked_up,
            click_refused,
            click_phone_off,
            click_other_side_busy,
            click_to_announcement,
        ),
        *(originate_by_others, redirect_ringing, action_blind_transfer),
        *(phone_unplugged, outside_caller, withheld_number),
    )
}


def title(scenario: Scenario) -> str:
    """Return what happens in a scene, in a sentence."""
    return (scenario.__doc__ or "").splitlines()[0]


async def record(exchange: Exchange, scenario: Scenario) -> str:
    """Play a scene and return its trace."""
    async with (
        Recorder(await exchange.ami()) as recorder,
        Phones(exchange) as phones,
        Stage(exchange, phones) as stage,
    ):
        await scenario(stage)
        await recorder.settled()
    return "\n".join([f"# Asterisk {await exchange.version()}: {title(scenario)}", *recorder.lines()]) + "\n"


async def _main(names: list[str]) -> None:
    TRACES.mkdir(exist_ok=True)
    async with Exchange(rootfs.build()) as exchange:
        for name in names or list(SCENARIOS):
            print(name, flush=True)
            (TRACES / f"{name}.txt").write_text(await record(exchange, SCENARIOS[name]), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
