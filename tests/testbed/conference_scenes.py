"""What people do with conferences, as scenes on an exchange that has several.

| number | what is there |
|---|---|
| 640, 6410 | the conferences ``staff`` and ``board`` |
| 6401 | ``staff``; the key 1 mutes and unmutes oneself |
| 6402, 6403 | ``staff``, for callers who withhold their number; for the conference's administrator |
| 6404 | ``staff``, for callers without number and name |

``python -m tests.testbed.conference_scenes [NAME…]`` plays the scenes and writes what Asterisk said to
tests/unit/ami/traces/conferences, one file a scene, with the lists that a scene asked for in the middle.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.testbed import rootfs
from tests.testbed.phone import Phone
from tests.testbed.scenarios import Scenario, Stage, record
from tests.testbed.telephony import CONTEXT, Exchange

TRACES = Path(__file__).parents[1] / "unit/ami/traces/conferences"
#: The context where an invited phone goes; ``ROOM`` is the conference's number.
INVITED = "conference-invited"

_DIALPLAN = """
[internal](+)
exten => 6410,1,ConfBridge(board)
exten => 6401,1,ConfBridge(staff,,,keys)
exten => 6402,1,Set(CALLERID(pres)=prohib)
 same => n,ConfBridge(staff)
exten => 6403,1,ConfBridge(staff,,chair)
exten => 6404,1,Set(CALLERID(all)=)
 same => n,ConfBridge(staff)
[conference-invited]
exten => s,1,Set(CALLERID(all)=${PJSIP_ENDPOINT(${CHANNEL(endpoint)},callerid)})
 same => n,ConfBridge(${ROOM})
"""
_CONFBRIDGE = """
[default_user]
type = user
[default_bridge]
type = bridge
[chair]
type = user
admin = yes
[keys]
type = menu
1 = toggle_mute
"""


class Conferences(Exchange):
    """The exchange of the testbed with the conferences of this module."""

    def _configuration(self) -> dict[str, str]:
        files = super()._configuration()
        files["extensions.conf"] += _DIALPLAN
        files["confbridge.conf"] = _CONFBRIDGE
        return files


async def _join(stage: Stage, *devices: str, number: str = "640") -> list[Phone]:
    """Let phones call a conference one after the other; they are in when this returns."""
    phones = await stage.phones(*devices)
    for phone in phones:
        await phone.call(number)
        await stage.event("ConfbridgeJoin", phone.number)
    return phones


async def _lists(stage: Stage, *conferences: str) -> None:
    """Ask who is in, as the service does; the answers become part of the recording."""
    await stage.action("ConfbridgeListRooms")
    await stage.event("ConfbridgeListRoomsComplete")
    for conference in conferences:
        await stage.action("ConfbridgeList", Conference=conference)
        await stage.event("ConfbridgeListComplete")
    await stage.action("Status")
    await stage.event("StatusComplete")


async def two_join(stage: Stage) -> None:
    """101 and 102 call staff; lists; 102 hangs up, then 101."""
    alice, bob = await _join(stage, "101", "102")
    await _lists(stage, "staff")
    await bob.hangup()
    await stage.event("ConfbridgeLeave", "102")
    await alice.hangup()


async def muted_by_manager(stage: Stage) -> None:
    """101 and 102 are in staff; the manager mutes 102; lists; the manager gives them their voice back."""
    alice, bob = await _join(stage, "101", "102")
    channel = await stage.channel("102")
    await stage.action("ConfbridgeMute", Conference="staff", Channel=channel)
    await stage.event("ConfbridgeMute", "102")
    await _lists(stage, "staff")
    await stage.action("ConfbridgeUnmute", Conference="staff", Channel=channel)
    await stage.event("ConfbridgeUnmute", "102")
    await bob.hangup()
    await alice.hangup()


async def muted_by_key(stage: Stage) -> None:
    """101 calls staff and presses 1 to be muted, and again to be heard."""
    (alice,) = await _join(stage, "101", number="6401")
    await alice.talks()
    await alice.dtmf("1")
    await stage.event("ConfbridgeMute", "101")
    await alice.dtmf("1")
    await stage.event("ConfbridgeUnmute", "101")
    await alice.hangup()


async def kicked(stage: Stage) -> None:
    """101 and 102 are in staff; the manager throws 102 out, who is told so and is still in the lists; 101 hangs up."""
    alice, bob = await _join(stage, "101", "102")
    await stage.action("ConfbridgeKick", Conference="staff", Channel=await stage.channel("102"))
    await stage.event("ConfbridgeLeave", "102")
    await _lists(stage, "staff")
    await bob.idle()
    await alice.hangup()


async def hung_up_by_manager(stage: Stage) -> None:
    """101 is in staff; the manager hangs the channel up."""
    (alice,) = await _join(stage, "101")
    await stage.action("Hangup", Channel=await stage.channel("101"))
    await alice.idle()


async def left_at_the_door(stage: Stage) -> None:
    """101 calls staff, hears that nobody else is there, and is in the lists already; 101 hangs up meanwhile."""
    (alice,) = await stage.phones("101")
    await alice.call("640")
    await stage.event("ConfbridgeStart")
    await alice.talks()
    await _lists(stage, "staff")
    await alice.hangup()


async def redirected_at_the_door(stage: Stage) -> None:
    """101 calls staff, hears that nobody else is there, and is redirected to echo; lists; 101 hangs up."""
    (alice,) = await stage.phones("101")
    await alice.call("640")
    await stage.event("ConfbridgeStart")
    await alice.talks()
    await stage.action("Redirect", Channel=await stage.channel("101"), Context=CONTEXT, Exten="650", Priority="1")
    await stage.event("ConfbridgeEnd")
    await stage.action("Status")
    await stage.event("StatusComplete")
    await alice.hangup()


async def administrator(stage: Stage) -> None:
    """101 calls staff as its administrator; lists."""
    (alice,) = await _join(stage, "101", number="6403")
    await _lists(stage, "staff")
    await alice.hangup()


async def withheld(stage: Stage) -> None:
    """101 calls staff and withholds the number; lists."""
    (alice,) = await _join(stage, "101", number="6402")
    await _lists(stage, "staff")
    await alice.hangup()


async def nameless(stage: Stage) -> None:
    """101 calls staff without number and name; lists."""
    (alice,) = await _join(stage, "101", number="6404")
    await _lists(stage, "staff")
    await alice.hangup()


async def two_conferences(stage: Stage) -> None:
    """101 is in staff, 102 and 103 are in board; lists; 103 is redirected to staff; all hang up."""
    (alice,) = await _join(stage, "101")
    bob, carol = await _join(stage, "102", "103", number="6410")
    await _lists(stage, "staff", "board")
    await stage.action("Redirect", Channel=await stage.channel("103"), Context=CONTEXT, Exten="640", Priority="1")
    await stage.event("ConfbridgeJoin", "103")
    await _lists(stage, "staff", "board")
    for phone in (alice, bob, carol):
        await phone.hangup()


async def blind_transfer(stage: Stage) -> None:
    """101 calls 102, who sends them on to staff; 101 hangs up."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.transfer("640")
    await stage.event("ConfbridgeJoin", "101")
    await _lists(stage, "staff")
    await alice.hangup()


async def attended_transfer(stage: Stage) -> None:
    """103 is in staff; 101 calls 102, who calls staff and connects the two: 101 is in place of 102; 101 hangs up."""
    (carol,) = await _join(stage, "103")
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await bob.hold()
    await bob.call("640")
    await stage.event("ConfbridgeJoin", "102")
    await bob.attended_transfer()
    await alice.talks()
    await _lists(stage, "staff")
    await alice.hangup()
    await carol.hangup()


async def transferred_out(stage: Stage) -> None:
    """101 and 102 are in staff; 102 holds that and calls 103, then connects 103 to staff in place of themselves."""
    alice, bob = await _join(stage, "101", "102")
    (carol,) = await stage.phones("103")
    await bob.hold()
    await bob.call("103")
    await carol.answer()
    await bob.talks()
    await bob.attended_transfer()
    await carol.talks()
    await _lists(stage, "staff")
    await carol.hangup()
    await alice.hangup()


async def both_redirected(stage: Stage) -> None:
    """101 and 102 talk; the manager sends both to staff."""
    alice, bob = await stage.phones("101", "102")
    await alice.call("102")
    await bob.answer()
    await alice.talks()
    await stage.action(
        "Redirect",
        Channel=await stage.channel("101"),
        Context=CONTEXT,
        Exten="640",
        Priority="1",
        ExtraChannel=await stage.channel("102"),
        ExtraContext=CONTEXT,
        ExtraExten="640",
        ExtraPriority="1",
    )
    await stage.event("ConfbridgeJoin", "101")
    await stage.event("ConfbridgeJoin", "102")
    await _lists(stage, "staff")
    await alice.hangup()
    await bob.hangup()


async def renamed(stage: Stage) -> None:
    """101 is in staff; somebody gives the channel another caller's name and number; 101 hangs up."""
    (alice,) = await _join(stage, "101")
    channel = await stage.channel("101")
    await stage.action("Setvar", Channel=channel, Variable="CALLERID(name)", Value="Alice Adams")
    await stage.action("Setvar", Channel=channel, Variable="CALLERID(num)", Value="4711")
    await _lists(stage, "staff")
    await alice.hangup()


async def local_channel(stage: Stage) -> None:
    """102 is called through a Local channel that stays, and is in staff; lists; 102 hangs up."""
    (bob,) = await stage.phones("102")
    await _originate(stage, "Local/102@internal/n")
    await bob.answer()
    await stage.event("ConfbridgeJoin")
    await _lists(stage, "staff")
    await bob.hangup()


async def local_channel_optimised(stage: Stage) -> None:
    """102 is called through a Local channel that is optimised away, and is in staff; lists; 102 hangs up."""
    (bob,) = await stage.phones("102")
    await _originate(stage, "Local/102@internal")
    await bob.answer()
    await stage.event("ConfbridgeJoin")
    await bob.talks()
    await _lists(stage, "staff")
    await bob.hangup()


async def _originate(stage: Stage, channel: str, timeout: float = 30.0) -> None:
    await stage.action(
        "Originate",
        Channel=channel,
        Context=CONTEXT,
        Exten="640",
        Priority="1",
        Async="true",
        CallerID='"Staff" <640>',
        Timeout=str(int(timeout * 1000)),
        ChannelId="invitation-1",
    )


async def _invite(stage: Stage, device: str, timeout: float = 30.0) -> None:
    """Invite a phone, as the service does."""
    await stage.action(
        "Originate",
        Channel=f"PJSIP/{device}",
        Context=INVITED,
        Exten="s",
        Priority="1",
        Async="true",
        CallerID='"Staff" <640>',
        Timeout=str(int(timeout * 1000)),
        ChannelId=f"invitation-{device}",
        Variable="ROOM=staff",
    )


async def invited(stage: Stage) -> None:
    """102 is invited to staff, answers, is in, and hangs up."""
    (bob,) = await stage.phones("102")
    await _invite(stage, "102")
    await bob.answer()
    await stage.event("ConfbridgeJoin", "102")
    await bob.hangup()


async def invited_busy(stage: Stage) -> None:
    """102 is invited to staff and refuses (486)."""
    (bob,) = await stage.phones("102")
    await _invite(stage, "102")
    await bob.reject()
    await stage.event("OriginateResponse")


async def invited_no_answer(stage: Stage) -> None:
    """102 is invited to staff for a second, and does not answer."""
    (bob,) = await stage.phones("102")
    await _invite(stage, "102", timeout=1)
    await bob.rings()
    await bob.idle()
    await stage.event("OriginateResponse")


async def invited_phone_off(stage: Stage) -> None:
    """105, whose phone is off, is invited to staff."""
    await _invite(stage, "105")
    await stage.event("OriginateResponse")


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        *(two_join, muted_by_manager, muted_by_key, kicked, hung_up_by_manager, administrator, withheld, nameless),
        *(left_at_the_door, redirected_at_the_door),
        *(two_conferences, blind_transfer, attended_transfer, transferred_out, both_redirected, renamed),
        *(local_channel, local_channel_optimised, invited, invited_busy, invited_no_answer, invited_phone_off),
    )
}


async def _main(names: list[str]) -> None:
    TRACES.mkdir(exist_ok=True)
    async with Conferences(rootfs.build()) as exchange:
        for name in names or list(SCENARIOS):
            print(name, flush=True)
            (TRACES / f"{name}.txt").write_text(await record(exchange, SCENARIOS[name]), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
