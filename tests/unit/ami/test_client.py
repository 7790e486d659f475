from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agi_xmpp import pace
from agi_xmpp.ami import connection as connection_module
from agi_xmpp.ami import failures
from agi_xmpp.ami.client import AmiClient
from agi_xmpp.ami.model import AmiState, Message
from agi_xmpp.config import AmiSettings
from agi_xmpp.errors import AmiNotConnected, AmiRefused, AmiUnknown
from tests.unit.ami.manager import Events, Manager, message


@pytest.fixture(autouse=True)
def quick_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST", 0.01)


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with Manager() as listening:
        yield listening


@pytest.fixture
def events() -> Events:
    return Events()


@contextlib.asynccontextmanager
async def running(settings: AmiSettings, events: Events) -> AsyncIterator[AmiClient]:
    client = AmiClient(settings, events)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


@contextlib.asynccontextmanager
async def online(manager: Manager, events: Events, **keys: Any) -> AsyncIterator[AmiClient]:
    async with running(manager.settings(**keys), events) as client:
        await client.ready(5)
        yield client


async def test_from_start_to_stop(manager: Manager, events: Events) -> None:
    client = AmiClient(manager.settings(), events)
    assert client.info().state is AmiState.STOPPED
    await client.start()
    assert client.info().state is AmiState.CONNECTING
    await client.ready(5)
    assert (await client.action("Ping"))["Ping"] == "Pong"
    info = client.info()
    assert (info.address, info.state) == (f"127.0.0.1:{manager.port}", AmiState.ONLINE)
    assert (info.error, info.version, info.connects, info.events) == ("", "11.0.0", 1, 0)
    await client.stop()
    assert client.info().state is AmiState.STOPPED
    assert manager.names() == ["Ping", "Logoff"]
    assert events.told == ["connected", "disconnected"]
    await client.stop()  # again: nothing happens


async def test_starting_twice_is_a_mistake(manager: Manager, events: Events) -> None:
    async with online(manager, events) as client:
        with pytest.raises(RuntimeError):
            await client.start()


async def test_it_can_be_started_again(manager: Manager, events: Events) -> None:
    async with online(manager, events) as client:
        await client.stop()
        await client.start()
        await client.ready(5)
        assert client.info().connects == 2


async def test_events_come_in_order_between_connected_and_disconnected(manager: Manager, events: Events) -> None:
    manager.after_login = message("Event: Newchannel")  # in one piece with the answer: before we ask for a Status
    async with online(manager, events) as client:
        manager.say(message("Event: A") + message("Event: B"))
        await events.until("connected", "A", "B")
        assert client.info().events == 2
        manager.cut()
        await events.until("connected", "A", "B", "disconnected", "connected")
        manager.say(message("Event: C"))
        await events.until("connected", "A", "B", "disconnected", "connected", "C")
        assert client.info().connects == 2


async def test_lists_come_through(manager: Manager, events: Events) -> None:
    manager.answers["Status"] = [
        "Response: Success|EventList: start",
        "Event: Status|Channel: a",
        "Event: StatusComplete|EventList: Complete",
    ]
    async with online(manager, events) as client:
        assert [item["Channel"] for item in await client.items("Status")] == ["a"]
    assert events.told == ["connected", "disconnected"]


async def test_nothing_is_sent_without_a_connection(manager: Manager, events: Events) -> None:
    client = AmiClient(manager.settings(), events)
    for ask in (client.action, client.items):
        with pytest.raises(AmiNotConnected, match=r"not connected to Asterisk: the manager connection is stopped"):
            await ask("Originate")
    assert manager.connections == 0


async def test_an_unanswered_action_is_not_sent_again_on_the_new_connection(manager: Manager, events: Events) -> None:
    manager.answers["Originate"] = None
    async with online(manager, events) as client:
        waiting = asyncio.create_task(client.action("Originate"))
        await manager.action("Originate")
        manager.cut()
        with pytest.raises(AmiUnknown):
            await waiting
        await events.until("connected", "disconnected", "connected")
        await client.action("Ping")
    assert manager.names() == ["Originate", "Ping", "Logoff"]


async def test_case_094_a_wrong_password_is_said_once_and_tried_seldom(
    manager: Manager, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    manager.secret = "another"
    settings = manager.settings(login_retry=60)
    async with running(settings, events) as client:
        with pytest.raises(
            AmiRefused, match=r"not connected to Asterisk: .*refuses the login of the manager user phone"
        ):
            await client.ready(0.2)
        assert client.info().state is AmiState.WAITING
        assert "manager user phone" in client.info().error
    assert manager.connections == 1
    assert events.told == []
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "trying again every 60 s" in record.getMessage()
    assert "s3cr3t" not in caplog.text


async def test_the_password_is_read_anew_for_each_login(
    manager: Manager, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGER_SECRET", "wrong")
    settings = manager.settings(password=None, password_env="MANAGER_SECRET").model_copy(update={"login_retry": 0.01})
    async with running(settings, events) as client:
        await manager.action("Login", 2)
        monkeypatch.setenv("MANAGER_SECRET", manager.secret)
        await client.ready(5)
        assert client.info().error == ""


async def test_a_failure_is_logged_once_until_it_changes(
    manager: Manager, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    manager.banner = b"SSH-2.0-OpenSSH_9.9\r\n"
    async with running(manager.settings(), events) as client:
        await manager.until(lambda: manager.connections >= 3)
        manager.banner = b"HTTP/1.1 400 Bad Request\r\n"
        await manager.until(lambda: manager.connections >= 6)
        with pytest.raises(AmiNotConnected, match=r"it is a web server"):
            await client.ready(0.01)
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert ["SSH server" in texts[0], "web server" in texts[1], len(texts)] == [True, True, 2]


async def test_asterisk_comes_back(manager: Manager, events: Events) -> None:
    async with online(manager, events) as client:
        await manager.refuse()
        manager.cut()
        await events.until("connected", "disconnected")
        with pytest.raises(AmiNotConnected):
            await client.action("Ping")
        await manager.listen()
        await client.ready(5)
        assert client.info().error == ""
        assert events.told == ["connected", "disconnected", "connected"]


async def test_a_silent_asterisk_is_left(manager: Manager, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "LOGOFF_TIME", 0.01)
    manager.answers["Ping"] = None
    settings = manager.settings().model_copy(update={"keepalive": 0.02, "keepalive_timeout": 0.02})
    async with running(settings, events):
        await events.until("connected", "disconnected")
        manager.answers.clear()
        await events.until("connected", "disconnected", "connected")


async def test_another_login_takes_the_place_of_the_first_one_without_a_gap(manager: Manager, events: Events) -> None:
    manager.answers["Originate"] = None
    async with online(manager, events) as client:
        waiting = asyncio.create_task(client.action("Originate"))
        originate = await manager.action("Originate")
        changing = asyncio.create_task(client.log_in_anew())
        await events.until("connected", "connected")
        assert (await client.action("Ping"))["Ping"] == "Pong"
        manager.say_on(0, message("Event: OfTheOldOne"))
        manager.say_on(1, message("Event: OfTheNewOne"))
        await events.until("connected", "connected", "OfTheNewOne")
        assert not changing.done(), "what was asked has not been answered"
        manager.say_on(0, message("Response: Success|Message: it rings", originate["ActionID"]))
        assert (await waiting)["Message"] == "it rings"
        await changing
        assert manager.names() == ["Originate", "Ping", "Ping", "Ping", "Logoff"]
        assert (client.info().state, client.info().connects, client.info().events) == (AmiState.ONLINE, 2, 1)
        manager.say_on(1, message("Event: Later"))
        await events.until("connected", "connected", "OfTheNewOne", "Later")
    assert events.told[-2:] == ["Later", "disconnected"]
    assert manager.names()[-1] == "Logoff"


async def test_each_event_is_told_once_while_another_login_takes_the_place(manager: Manager, events: Events) -> None:
    async with online(manager, events) as client:
        manager.answers["Ping"] = None
        changing = asyncio.create_task(client.log_in_anew())
        of_old = await manager.action("Ping", 1)
        for name in ("A", "B"):
            manager.say_on(0, message(f"Event: {name}"))
        for name in ("B", "C", "C"):
            manager.say_on(1, message(f"Event: {name}"))
        await events.until("connected", "A", "B")
        manager.say_on(0, message("Response: Success", of_old["ActionID"]))
        of_new = await manager.action("Ping", 2)
        for name in ("C", "C", "D"):
            manager.say_on(0, message(f"Event: {name}"))
        manager.say_on(1, message("Event: D"))
        manager.say_on(1, message("Response: Success", of_new["ActionID"]))
        await changing
        manager.say_on(1, message("Event: E"))
        told = ["connected", "A", "B", "connected", "C", "C", "D", "E"]
        await events.until(*told)
        assert client.info().events == 6


async def test_events_of_a_connection_that_came_instead_are_told(manager: Manager, events: Events) -> None:
    async with online(manager, events) as client:
        manager.answers["Ping"] = None
        changing = asyncio.create_task(client.log_in_anew())
        await manager.action("Ping", 1)
        manager.cut_one(0)
        late = await manager.action("Ping", 2)
        await events.until("connected", "disconnected", "connected")
        manager.say_on(2, message("Event: A"))
        await events.until("connected", "disconnected", "connected", "A")
        manager.say_on(1, message("Response: Success", late["ActionID"]))
        await changing


async def test_what_is_not_answered_ends_with_the_old_login(
    manager: Manager, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "LOGOFF_TIME", 0.01)
    manager.answers["Originate"] = None
    settings = manager.settings().model_copy(update={"action_timeout": 0.05})
    async with running(settings, events) as client:
        await client.ready(5)
        waiting = asyncio.create_task(client.action("Originate", timeout=60))
        await manager.action("Originate")
        await client.log_in_anew()
        with pytest.raises(AmiUnknown):
            await waiting
        assert (await client.action("Ping"))["Ping"] == "Pong"
    assert events.told == ["connected", "connected", "disconnected"]


async def test_the_new_login_is_looked_after_as_the_old_one_was(manager: Manager, events: Events) -> None:
    async with online(manager, events) as client:
        await client.log_in_anew()
        manager.cut()
        await events.until("connected", "connected", "disconnected", "connected")
        assert client.info().connects == 3


async def test_a_login_that_fails_changes_nothing(manager: Manager, events: Events) -> None:
    async with online(manager, events) as client:
        manager.secret = "another"
        with pytest.raises(AmiRefused, match="refuses the login"):
            await client.log_in_anew()
        assert (await client.action("Ping"))["Ping"] == "Pong"
        assert client.info().state is AmiState.ONLINE
        manager.say_on(0, message("Event: A"))
        await events.until("connected", "A")


async def test_there_is_no_second_login_without_a_first_one(manager: Manager, events: Events) -> None:
    client = AmiClient(manager.settings(), events)
    await client.log_in_anew()
    assert manager.connections == 0


async def test_a_login_that_comes_too_late_ends_at_once(manager: Manager, events: Events) -> None:
    async with online(manager, events) as client:
        manager.answers["Login"] = None
        changing = asyncio.create_task(client.log_in_anew())
        late = await manager.action("Login", 2)
        del manager.answers["Login"]
        manager.cut_one(0)
        await events.until("connected", "disconnected", "connected")
        manager.say_on(1, message("Response: Success", late["ActionID"]))
        await changing
        manager.say_on(1, message("Event: TooLate"))
        assert (await client.action("Ping"))["Ping"] == "Pong"
    assert events.told == ["connected", "disconnected", "connected", "disconnected"]


async def test_stopping_while_the_old_login_is_still_needed(
    manager: Manager, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "LOGOFF_TIME", 0.01)
    manager.answers["Originate"] = None
    async with online(manager, events) as client:
        waiting = asyncio.create_task(client.action("Originate", timeout=60))
        originate = await manager.action("Originate")
        changing = asyncio.create_task(client.log_in_anew())
        await events.until("connected", "connected")
        await client.stop()
        assert events.told == ["connected", "connected", "disconnected"]
        manager.say_on(0, message("Response: Success", originate["ActionID"]))
        await waiting
        await changing
    assert manager.names() == ["Originate", "Ping", "Ping", "Logoff", "Logoff"]


async def test_stopping_while_connecting(manager: Manager, events: Events) -> None:
    manager.banner = b""
    async with running(manager.settings(), events) as client:
        await manager.until(lambda: manager.connections)
        async with asyncio.timeout(1):
            await client.stop()
    assert events.told == []


async def test_stopping_at_a_silent_asterisk_ends_within_a_second(manager: Manager, events: Events) -> None:
    manager.answers["Logoff"] = None
    async with online(manager, events) as client:
        async with asyncio.timeout(1):
            await client.stop()
    assert events.told == ["connected", "disconnected"]


async def test_stopping_leaves_no_action_waiting(manager: Manager, events: Events) -> None:
    manager.answers["Originate"] = None
    async with online(manager, events) as client:
        waiting = asyncio.create_task(client.action("Originate"))
        await manager.action("Originate")
        await client.stop()
        with pytest.raises(AmiUnknown):
            await waiting


async def test_a_listener_that_raises_ends_nothing(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Events):
        def ami_connected(self) -> None:
            raise LookupError("connected")

        def ami_event(self, event: Message) -> None:
            super().ami_event(event)
            raise LookupError("event")

        def ami_disconnected(self) -> None:
            raise LookupError("disconnected")

    events = Faulty()
    async with online(manager, events) as client:
        manager.say(message("Event: A") + message("Event: B"))
        await events.until("A", "B")
        await client.action("Ping")
    for word in ("LookupError: connected", "LookupError: event", "LookupError: disconnected"):
        assert word in caplog.text


async def test_the_unexpected_ends_nothing(
    manager: Manager, events: Events, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [LookupError("a fault of ours")]

    def secret(_settings: object) -> str:
        if faults:
            raise faults.pop()
        return manager.secret

    def explain(error: Exception, **_others: object) -> Exception:
        return error

    monkeypatch.setattr(AmiSettings, "secret", secret)
    monkeypatch.setattr(failures, "connecting", explain)
    async with online(manager, events):
        assert "a fault of ours" in caplog.text


async def test_no_secret_in_the_log(manager: Manager, events: Events, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with online(manager, events) as client:
            await client.action("Ping")
    assert "s3cr3t" not in caplog.text
    assert f"127.0.0.1:{manager.port}: logged in as phone, not encrypted" in caplog.text
