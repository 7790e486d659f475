"""Two regions: an account on Prosody and one on ejabberd. What happens to one must not be felt at the other."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import AsyncIterator

import pytest

from tests.testbed.asterisk import Asterisk, Call
from tests.testbed.client import Buddy
from tests.testbed.program import PROBE_INTERVAL
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Ejabberd, Login, Prosody, XmppServer

#: Calls that wait for the lost region while the other one is looked at.
CALLS = 50

#: What a call may do, in either region.
STEPS = {
    "send": "jabber_send?timeout=3600,{account},{bob},hello",
    "quick": "jabber_send?timeout=0.2,{account},{bob},quick",
    "queue": "jabber_send?wait=none,{account},{bob},queued",
    "ask": "jabber_ask?timeout=0.2,{account},{bob},20,Where to?,1=Cell",
    "status": "jabber_status?timeout=0.2,{account},{bob}",
    "receive": "jabber_receive?max_age=0,{account},{bob},3600",
    "silence": "jabber_receive?max_age=0,{account},{bob},0.2",
}
SHOW = (
    *("JABBER_SEND_STATUS", "JABBER_STATUS", "JABBER_ASK", "JABBER_ASK_STATUS", "JABBER_RECEIVE"),
    *("JABBER_RECEIVE_STATUS", "JABBER_ERROR", "AGISTATUS"),
)
#: Little enough that a test sees a silent server go, and try again.
QUICK = {"keepalive": 1, "keepalive_timeout": 1, "connect_timeout": 2, "retry_max": 1}

Breaking = pytest.mark.parametrize("how", ["cut", "silence", "stop"])


@dataclasses.dataclass(frozen=True, slots=True)
class Regions:
    """The region ``far``, which a test may break, and ``near``, with its bob online.

    Attributes:
        asterisk: with an extension for each account and step, such as ``far-send``.
        service: agi-xmpp with both accounts.
        server, proxy: of the region ``far``; the proxy is the network before it.
        far, near: who agi-xmpp is.
        far_bob: who is not online there until a test says so.
        near_bob: online.
    """

    asterisk: Asterisk
    service: Service
    server: XmppServer
    proxy: Proxy
    far: Login
    near: Login
    far_bob: Login
    near_bob: Buddy

    async def call(self, account: str, step: str) -> Call:
        """Let a caller do one of `STEPS`."""
        return await self.asterisk.call(f"{account}-{step}")

    async def result(self, call: Call) -> dict[str, str]:
        """Wait until a call has done its step, and return the variables."""
        event = await call.event("Done")
        return {name: base64.b64decode(event[name]).decode() for name in SHOW}

    async def run(self, account: str, step: str) -> dict[str, str]:
        return await self.result(await self.call(account, step))

    async def lose(self, how: str) -> None:
        """Lose the region ``far``; the service knows it when this returns."""
        if how == "cut":
            await self.proxy.refuse()
            self.proxy.cut()
        elif how == "silence":
            self.proxy.silence()
        else:
            await self.server.stop()
        await self.service.account("far", lambda account: account["state"] not in ("online", "connecting"))

    async def bring_back(self, how: str) -> None:
        if how == "cut":
            await self.proxy.accept()
        elif how == "silence":
            self.proxy.resume()
        else:
            await self.server.start()
        await self.service.online("far", timeout=30)

    async def open_calls(self, count: int) -> None:
        """Wait until so many calls are in a verb."""
        async with asyncio.timeout(15):
            while (await self.service.status())["agi"]["open"] != count:
                await asyncio.sleep(PROBE_INTERVAL)

    async def near_goes_on(self) -> None:
        """Use every verb in the region ``near``."""
        bob = self.near_bob
        assert (await self.run("near", "quick"))["JABBER_SEND_STATUS"] == "SENT"
        await bob.hears("quick")
        asking = await self.call("near", "ask")
        bob.say((await bob.hears()).sender, "1")
        assert (await self.result(asking))["JABBER_ASK"] == "1"
        assert (await self.run("near", "status"))["JABBER_STATUS"] == "1"
        waiting = await self.call("near", "receive")
        await self.service.account("near", lambda account: account["waiting"] == 1)
        bob.say(self.near.jid, "here")
        assert (await self.result(waiting))["JABBER_RECEIVE"] == "here"


@pytest.fixture(params=["prosody", "ejabberd"])
def servers(request: pytest.FixtureRequest) -> tuple[type[XmppServer], XmppServer]:
    """The kind of server that is lost, and a server of the other kind."""
    if request.param == "prosody":
        return Prosody, request.getfixturevalue("ejabberd")
    return Ejabberd, request.getfixturevalue("prosody")


@pytest.fixture
async def regions(
    asterisk: Asterisk, rootfs: Rootfs, servers: tuple[type[XmppServer], XmppServer]
) -> AsyncIterator[Regions]:
    kind, near_server = servers
    async with kind(rootfs) as far_server, Proxy(far_server.port) as proxy:
        at_far, at_near = Accounts(far_server), Accounts(near_server)
        far, far_bob = await at_far("pbx"), await at_far("bob")
        near, near_bob = await at_near("pbx"), await at_near("bob")
        configured = {
            "far": Account(far_server, far.jid, far.password, (far_bob.jid,), port=proxy.port, settings=QUICK),
            "near": Account(near_server, near.jid, near.password, (near_bob.jid,), settings=QUICK),
        }
        await _load(asterisk, service := Service(configured), {"far": far_bob, "near": near_bob})
        async with service, Buddy.online(near_server, near_bob.jid, near_bob.password) as bob:
            await service.online()
            await bob.sees(lambda seen: seen.type == "subscribe")
            await bob.be()
            yield Regions(asterisk, service, far_server, proxy, far, near, far_bob, bob)
            service.assert_alive()


async def _load(asterisk: Asterisk, service: Service, bobs: dict[str, Login]) -> None:
    shown = ",".join(f"{name}: ${{BASE64_ENCODE(${{{name}}})}}" for name in SHOW)
    lines = ["[testbed]"]
    for account, bob in bobs.items():
        for name, step in STEPS.items():
            request = step.format(account=account, bob=bob.jid)
            lines.append(f"exten => {account}-{name},1,AGI({service.agi_url}/{request})")
            lines.append(f" same => n,UserEvent(Done,{shown})")
    complaints = await asterisk.dialplan("\n".join(lines) + "\n")
    assert not complaints, complaints


@Breaking
async def test_one_is_lost_and_the_other_goes_on(regions: Regions, how: str) -> None:
    waiting = await regions.call("far", "receive")
    await regions.service.account("far", lambda account: account["waiting"] == 1)
    await regions.lose(how)
    # These wait for the lost region as long as they may, and all of what follows happens meanwhile.
    sending = [await regions.call("far", "send") for _ in range(CALLS)]
    await regions.open_calls(CALLS + 1)
    await regions.near_goes_on()
    assert (await regions.service.status())["agi"]["open"] == CALLS + 1
    near = await regions.service.account("near", lambda account: account["state"] == "online")
    assert near["connects"] == 1
    await regions.bring_back(how)
    results = [await regions.result(call) for call in sending]
    assert [result["JABBER_SEND_STATUS"] for result in results] == ["SENT"] * CALLS
    bob = regions.far_bob
    async with Buddy.online(regions.server, bob.jid, bob.password) as client:
        ids = {(await client.hears("hello")).id for _ in range(CALLS)}
        assert len(ids) == CALLS
        client.say(regions.far.jid, "back again")
        assert (await regions.result(waiting))["JABBER_RECEIVE"] == "back again"


@Breaking
async def test_each_verb_says_that_its_region_is_lost(regions: Regions, how: str) -> None:
    await regions.lose(how)
    wanted = {"quick": ("JABBER_SEND_STATUS", "FAILED"), "status": ("JABBER_STATUS", "")}
    wanted |= {"ask": ("JABBER_ASK_STATUS", "ERROR"), "silence": ("JABBER_RECEIVE_STATUS", "TIMEOUT")}
    for step, (variable, value) in wanted.items():
        result = await regions.run("far", step)
        assert (result["AGISTATUS"], result[variable]) == ("SUCCESS", value), step
        assert result["JABBER_ERROR"].startswith("account far is not connected: "), step
    await regions.near_goes_on()


@Breaking
async def test_a_queue_waits_and_empties_when_its_region_is_back(regions: Regions, how: str) -> None:
    await regions.lose(how)
    for account in ("far", "near"):
        assert (await regions.run(account, "queue"))["JABBER_SEND_STATUS"] == "QUEUED"
    await regions.near_bob.hears("queued")
    await regions.bring_back(how)
    bob = regions.far_bob
    async with Buddy.online(regions.server, bob.jid, bob.password) as client:
        await client.hears("queued")


async def test_an_administrator_sees_both(regions: Regions) -> None:
    await regions.lose("cut")
    code, output = await regions.service.command("status")
    assert code == 1
    assert "\nfar: " in output
    assert "\nnear: online for " in output
    code, output = await regions.service.command("check", "--online")
    lines = output.splitlines()
    assert code == 1
    assert [line for line in lines if line.startswith("far: FAILED: ")], output
    assert [line for line in lines if line.startswith(f"near: logged in as {regions.near.jid}/")], output
    assert not [line for line in lines if line.startswith("near: FAILED")], output
    await regions.bring_back("cut")
    assert (await regions.service.command("status"))[0] == 0


async def test_a_reload_that_breaks_one(regions: Regions) -> None:
    service = regions.service
    waiting = await regions.call("near", "receive")
    await service.account("near", lambda account: account["waiting"] == 1)
    right = service.accounts["far"]
    service.accounts["far"] = dataclasses.replace(right, password="wrong")
    await service.reload()
    broken = await service.account("far", lambda account: account["error"] != "")
    assert "password" in broken["error"]
    assert (await regions.run("far", "quick"))["JABBER_SEND_STATUS"] == "FAILED"
    code, output = await service.command("status", "--json")
    assert (code, [account["state"] == "online" for account in json.loads(output)["accounts"]]) == (1, [False, True])
    regions.near_bob.say(regions.near.jid, "still here")
    assert (await regions.result(waiting))["JABBER_RECEIVE"] == "still here"
    service.accounts["far"] = right
    await service.reload()
    await service.online("far")
    assert (await regions.run("far", "quick"))["JABBER_SEND_STATUS"] == "SENT"
    near = await service.account("near", lambda account: account["state"] == "online")
    assert near["connects"] == 1


@Breaking
async def test_a_stop_while_one_is_lost(regions: Regions, how: str) -> None:
    """What the other has to send is sent, and what cannot be sent is named."""
    service = regions.service
    await regions.lose(how)
    assert (await regions.run("far", "queue"))["JABBER_SEND_STATUS"] == "QUEUED"
    assert (await regions.run("near", "queue"))["JABBER_SEND_STATUS"] == "QUEUED"
    await regions.near_bob.hears("queued")
    await service.stop()
    assert f"to {regions.far_bob.jid} was dropped: the service stops" in service.log
    assert service.log.rstrip().endswith("stopped")
    await service.start()
    await service.online("near")
