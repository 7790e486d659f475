"""The manager connection to real Asterisks: 22 and, where it is built, 16."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.ami.client import AmiClient
from agi_xmpp.ami.failures import WRITE_CLASSES
from agi_xmpp.ami.model import AmiState, Message
from agi_xmpp.ami.privileges import WRITE, check
from agi_xmpp.ami.wire import HEADERS
from agi_xmpp.config import AmiSettings
from agi_xmpp.errors import AmiArgumentError, AmiForbidden, AmiNotConnected, AmiRefused, AmiUnknown
from tests.testbed.asterisk import Asterisk
from tests.testbed.pki import Certificate, Pki
from tests.testbed.ports import free_port
from tests.testbed.proxy import Proxy

SECRET = secrets.token_hex(16)

MANAGER = """[general]
enabled = yes
bindaddr = 127.0.0.1
port = {port}
{general}
[testbed]
secret = {testbed}
read = all
write = all
[phone]
secret = {secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = call,agent,user
write = call,originate,agent,reporting
[clerk]
secret = {secret}
write = originate
[far]
secret = {secret}
deny = 0.0.0.0/0.0.0.0
permit = 192.0.2.1/255.255.255.255
read = call
write = call
"""

DIALPLAN = """
[e2e]
exten => talk,1,Answer()
 same => n,Wait(60)
exten => ring,1,Ringing()
 same => n,Wait(60)
"""


class Events:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self.events: list[Message] = []
        self._changed = asyncio.Event()

    def ami_connected(self) -> None:
        self._note(self.connections, "connected")

    def ami_disconnected(self) -> None:
        self._note(self.connections, "disconnected")

    def ami_event(self, event: Message) -> None:
        self._note(self.events, event)

    async def until(self, condition: Callable[[], bool], timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def event(self, name: str, **headers: str) -> Message:
        """Wait for an event with these headers, and return it."""

        def found() -> Iterator[Message]:
            wanted = {"Event": name, **headers}.items()
            return (event for event in self.events if all(event.get(key) == value for key, value in wanted))

        await self.until(lambda: any(True for _event in found()))
        return next(found())

    def _note(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self._changed.set()


@pytest.fixture(scope="module", params=["rootfs", "bullseye"])
def process(request: pytest.FixtureRequest) -> Iterator[Asterisk]:
    asterisk = Asterisk(request.getfixturevalue(request.param), files={"queues.conf": ""}, modules=["app_queue"])
    testbed = {"port": asterisk.ami_port, "testbed": asterisk.ami_secret, "secret": SECRET, "general": ""}
    with asterisk:
        asterisk.write("manager.conf", MANAGER.format(**testbed))
        yield asterisk


@pytest.fixture
async def exchange(process: Asterisk) -> AsyncIterator[Asterisk]:
    """An Asterisk with manager.conf as the documents show it."""
    async with process.lent() as asterisk:
        await asterisk.cli("manager reload")
        assert await asterisk.dialplan(DIALPLAN) == []
        yield asterisk


def settings(port: int, user: str = "phone", **keys: Any) -> AmiSettings:
    return AmiSettings(**{"port": port, "username": user, "password": SECRET, **keys})


@contextlib.asynccontextmanager
async def online(port: int, **keys: Any) -> AsyncIterator[tuple[AmiClient, Events]]:
    events = Events()
    ami = AmiClient(settings(port, **keys), events)
    await ami.start()
    try:
        await ami.ready(10)
        yield ami, events
    finally:
        await ami.stop()


def call(exten: str = "talk", **headers: str) -> dict[str, str]:
    """Return the headers of an Originate that lets a Local channel wait."""
    where = {"Channel": f"Local/{exten}@e2e/n", "Context": "e2e", "Exten": "talk", "Priority": "1", "Timeout": "30000"}
    return {**where, "Async": "true", "ChannelId": f"xp-{secrets.token_hex(8)}", **headers}


async def test_the_least_privileges_are_enough(exchange: Asterisk) -> None:
    assert await check(settings(exchange.ami_port), WRITE.keys() - {"message"}) == []
    async with online(exchange.ami_port) as (ami, events):
        info = ami.info()
        assert (info.state, info.error, info.connects) == (AmiState.ONLINE, "", 1)
        versions = {"22": "11.0.0", "16": "5.0.4"}
        assert info.version == versions[(await exchange.version()).partition(".")[0]]
        asked = call(CallerID='"Müller, Jörg 😀" <4930123>')
        assert (await ami.action("Originate", asked))["Message"] == "Originate successfully queued"
        assert (await events.event("OriginateResponse", Uniqueid=asked["ChannelId"]))["Response"] == "Success"
        up = await events.event("Newstate", Uniqueid=asked["ChannelId"], ChannelStateDesc="Up")
        assert (up["CallerIDName"], up["CallerIDNum"]) == ("Müller, Jörg 😀", "4930123")
        await ami.action("Hangup", {"Channel": up["Channel"]})
        assert (await events.event("Hangup", Uniqueid=asked["ChannelId"]))["Linkedid"] == asked["ChannelId"]
        classes = {event["Privilege"].partition(",")[0] for event in events.events}
        assert classes <= {"call", "agent", "user"}
        assert ami.info().events == len(events.events)
    await exchange.log_says("Manager 'phone' logged off")


async def test_of_a_user_who_may_read_all_only_what_is_needed_comes(exchange: Asterisk) -> None:
    async with online(exchange.ami_port, user="testbed", password=exchange.ami_secret) as (ami, events):
        asked = call()
        await ami.action("Originate", asked)
        await events.event("OriginateResponse", Uniqueid=asked["ChannelId"])
        await ami.action("Hangup", {"Channel": "/^Local.*$/"})
        await events.event("Hangup", Uniqueid=asked["ChannelId"])
        assert {event["Privilege"] for event in events.events} == {"call,all"}  # no Newexten, no FullyBooted


async def test_what_a_manager_user_lacks_is_named(exchange: Asterisk) -> None:
    missing = await check(settings(exchange.ami_port, "clerk"))
    wanted = [f"add {name} to" for name in ("call", "agent", "reporting", "message")]
    wanted.append("add call to the manager user's line read =")
    assert [sentence.startswith(words) for sentence, words in zip(missing, wanted, strict=True)] == [True] * 5
    async with online(exchange.ami_port, user="clerk") as (ami, _events):
        with pytest.raises(AmiForbidden, match=r"clerk may not do Redirect: in \[clerk\] of manager.conf, add call to"):
            await ami.action("Redirect", {"Channel": "x", "Context": "e2e", "Exten": "talk", "Priority": "1"})
        with pytest.raises(AmiForbidden, match=r"may not do Command"):
            await ami.action("Command", {"Command": "core stop now"})


async def test_the_privileges_that_we_name_are_asterisks(exchange: Asterisk) -> None:
    async with online(exchange.ami_port, user="testbed", password=exchange.ami_secret) as (ami, _events):
        commands = await ami.action("ListCommands")
        grants = {name: commands[name].rpartition("(Priv: ")[2] for name in WRITE_CLASSES if name in commands}
        assert {"Originate", "Setvar", "Redirect", "BlindTransfer", "QueuePause", "ConfbridgeList"} <= grants.keys()
        assert [name for name, found in grants.items() if WRITE_CLASSES[name] not in found] == []


@pytest.mark.parametrize(
    ("keys", "log"),
    [
        ({"password": "wrong"}, "failed to authenticate as 'phone'"),
        ({"user": "nobody"}, "tried to authenticate with nonexistent user 'nobody'"),
        ({"user": "far"}, "failed to pass IP ACL as 'far'"),
    ],
)
async def test_a_refused_login_is_said_once_and_tried_seldom(
    exchange: Asterisk, keys: dict[str, str], log: str, caplog: pytest.LogCaptureFixture
) -> None:
    since = exchange.log_size()
    ami = AmiClient(settings(exchange.ami_port, **keys), Events())
    await ami.start()
    with pytest.raises(AmiRefused, match=r"the password must be the secret in .* and permit there must allow"):
        await ami.ready(3)  # Asterisk answers after a second
    assert ami.info().state is AmiState.WAITING
    await ami.stop()
    await exchange.log_says(log, since=since)  # "Asterisk's log says which it is"
    assert exchange.log_tail(since, lines=1000).count(log) == 1
    assert len([record for record in caplog.records if record.name == "agi_xmpp.ami"]) == 1
    assert SECRET not in caplog.text


async def test_status_of_calls_with_names_in_any_script(exchange: Asterisk) -> None:
    names = ["Ann", "Jörg Müller", "日本 😀"]
    async with online(exchange.ami_port) as (ami, events):
        assert list(await ami.items("Status")) == []
        assert list(await ami.items("ConfbridgeList", {"Conference": "nobody"})) == []
        for name in names:
            asked = call(CallerID=f'"{name}" <101>')
            await ami.action("Originate", asked)
            await events.event("OriginateResponse", Uniqueid=asked["ChannelId"])
        listed = await ami.items("Status")
        assert {item["Event"] for item in listed} == {"Status"}
        assert len(listed) == 2 * len(names)  # both halves of the Local channels
        assert set(names) <= {item["CallerIDName"] for item in listed} | {item["ConnectedLineName"] for item in listed}
        assert len(await ami.items("CoreShowChannels")) == 2 * len(names)
        assert all(event["Event"] != "Status" for event in events.events)


async def test_nothing_can_be_injected(exchange: Asterisk) -> None:
    async with online(exchange.ami_port) as (ami, _events):
        for code in ("\r\n", "\n", "\r", "\0"):
            with pytest.raises(AmiArgumentError):
                await ami.action("Originate", call(CallerID=f"x{code}Variable: EVIL=1"))
            with pytest.raises(AmiArgumentError):
                await ami.action("Setvar", {"Variable": "A", "Value": f"1{code}{code}Action: Originate"})
        assert list(await ami.items("Status")) == []


async def test_limits_are_those_of_asterisk(exchange: Asterisk) -> None:
    async with online(exchange.ami_port) as (ami, events):
        most = "ü" * ((1022 - len("Value: ")) // 2) + "x"
        await ami.action("Setvar", {"Variable": "E2E_LONG", "Value": most})
        assert (await ami.action("Getvar", {"Variable": "E2E_LONG"}))["Value"] == most
        with pytest.raises(AmiArgumentError, match="1023 bytes"):
            await ami.action("Setvar", {"Variable": "E2E_LONG", "Value": f"{most}x"})
        asked = call()
        room = HEADERS - len(asked) - 2
        await ami.action("Originate", asked, variables={f"V{number}": str(number) for number in range(room)})
        channel = (await events.event("OriginateResponse", Uniqueid=asked["ChannelId"]))["Channel"]
        last = {"Channel": channel, "Variable": f"V{room - 1}"}
        assert (await ami.action("Getvar", last))["Value"] == str(room - 1)
        with pytest.raises(AmiArgumentError, match="121 headers"):
            await ami.action("Originate", asked, variables={f"V{number}": "x" for number in range(room + 1)})
        assert (await ami.action("Ping"))["Ping"] == "Pong"


@pytest.mark.parametrize(
    "text", ["a,B=2", 'say "hi"', "(x [y", "tr)ail]", "back\\slash\\", "<http://x>;info=auto", "Grüße 😀", ""]
)
async def test_variables_arrive_as_they_are(exchange: Asterisk, text: str) -> None:
    async with online(exchange.ami_port) as (ami, events):
        asked = call()
        await ami.action("Originate", asked, variables={"E2E_TEXT": text, "CHANNEL(accountcode)": "ac-1"})
        channel = (await events.event("OriginateResponse", Uniqueid=asked["ChannelId"]))["Channel"]
        for name, value in {"E2E_TEXT": text, "CHANNEL(accountcode)": "ac-1", "B": ""}.items():
            assert (await ami.action("Getvar", {"Channel": channel, "Variable": name}))["Value"] == value


async def test_asterisk_restarts(exchange: Asterisk) -> None:
    async with online(exchange.ami_port) as (ami, events):
        await exchange.disconnect()
        await exchange.stop()
        await events.until(lambda: events.connections == ["connected", "disconnected"])
        with pytest.raises(AmiNotConnected):
            await ami.action("Ping")
        await exchange.start()
        await ami.ready(20)
        assert events.connections == ["connected", "disconnected", "connected"]
        assert (await ami.action("Ping"))["Ping"] == "Pong"
        assert ami.info().error == ""
        await exchange.kill()
        await events.until(lambda: events.connections[2:] == ["connected", "disconnected"])
        await exchange.start()
        await ami.ready(20)


async def test_a_silent_network_is_noticed_and_left(exchange: Asterisk) -> None:
    timing = {"keepalive": 1, "keepalive_timeout": 1, "connect_timeout": 2}
    async with Proxy(exchange.ami_port) as proxy, online(proxy.port, **timing) as (ami, events):
        proxy.silence()
        waiting = asyncio.create_task(ami.action("Ping", timeout=30))
        with pytest.raises(AmiUnknown, match="Asterisk was silent for 2 s"):
            await waiting
        assert events.connections == ["connected", "disconnected"]
        proxy.cut()
        proxy.resume()
        await ami.ready(20)
        assert (await ami.action("Ping"))["Ping"] == "Pong"


async def test_stopping_into_silence_ends_in_time(exchange: Asterisk) -> None:
    async with Proxy(exchange.ami_port) as proxy, online(proxy.port) as (ami, _events):
        proxy.silence()
        async with asyncio.timeout(10):
            await ami.stop()


async def test_a_broken_connection_makes_no_second_call(exchange: Asterisk) -> None:
    watching = await exchange.ami()
    asked = call("ring", Async="false")  # the answer comes when somebody picks up: nobody does
    with contextlib.closing(watching.subscribe(lambda event: event.get("Event") == "Newchannel")) as channels:
        async with Proxy(exchange.ami_port) as proxy, online(proxy.port) as (ami, events):
            waiting = asyncio.create_task(ami.action("Originate", asked, timeout=30))
            await channels.get(lambda event: event["Uniqueid"] == asked["ChannelId"], 10)
            proxy.cut()
            with pytest.raises(AmiUnknown, match="broke before the answer came"):
                await waiting
            await events.until(lambda: events.connections == ["connected", "disconnected", "connected"])
            assert (await ami.action("Ping"))["Ping"] == "Pong"
            assert len({item["Linkedid"] for item in await ami.items("Status")}) <= 1
        (other_half,) = channels.seen()
        assert other_half["Linkedid"] == asked["ChannelId"]


# TLS


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


async def use_certificate(exchange: Asterisk, pki: Pki, certificate: Certificate) -> int:
    """Let Asterisk's manager offer TLS with a certificate; return the port."""
    port = free_port()
    pair = pki.issue(certificate, "127.0.0.1", "localhost")
    exchange.write("manager.key", pair.key)
    exchange.write("manager.pem", pair.chain)
    run_directory = Path("/") / exchange.log_file.parents[1].relative_to(exchange.rootfs.path)  # as Asterisk sees it
    general = f"""tlsenable = yes
tlsbindaddr = 127.0.0.1:{port}
tlscertfile = {run_directory}/etc/manager.pem
tlsprivatekey = {run_directory}/etc/manager.key
"""
    keys = {"port": exchange.ami_port, "testbed": exchange.ami_secret, "secret": SECRET, "general": general}
    exchange.write("manager.conf", MANAGER.format(**keys))
    await exchange.cli("manager reload")
    return port


async def test_an_encrypted_connection(exchange: Asterisk, pki: Pki, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(pki.ca)
    port = await use_certificate(exchange, pki, "good")
    async with online(port, tls="direct", ca_file=ca_file) as (ami, events):
        asked = call()
        await ami.action("Originate", asked)
        await events.event("OriginateResponse", Uniqueid=asked["ChannelId"])
        assert len(await ami.items("Status")) == 2
    for keys, words in (
        ({"port": port, "tls": "direct"}, "signed by nobody whom this machine trusts"),
        ({"port": exchange.ami_port, "tls": "direct", "ca_file": ca_file}, "it is no port for TLS"),
        ({"port": port, "connect_timeout": 1}, 'if its port is for TLS .* set tls = "direct"'),
        ({"port": free_port()}, "nobody listens at"),
    ):
        with pytest.raises(AmiNotConnected, match=words):
            await check(settings(**keys))


@pytest.mark.parametrize(
    ("certificate", "words"), [("wrong-host", "is not valid for 127.0.0.1"), ("expired", "has expired")]
)
async def test_a_certificate_that_cannot_be_trusted(
    exchange: Asterisk, pki: Pki, tmp_path: Path, certificate: Certificate, words: str
) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(pki.ca)
    port = await use_certificate(exchange, pki, certificate)
    with pytest.raises(AmiNotConnected, match=words):
        await check(settings(port, tls="direct", ca_file=ca_file))
    async with online(port, tls="direct", accept_any_certificate=True) as (ami, _events):
        assert (await ami.action("Ping"))["Ping"] == "Pong"
