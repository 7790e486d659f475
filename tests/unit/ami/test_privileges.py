from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agi_xmpp.ami import privileges
from agi_xmpp.ami.privileges import WRITE, check, needed
from agi_xmpp.config import ConferenceSettings, PhoneSettings
from agi_xmpp.errors import AmiNotConnected, AmiRefused
from tests.unit.ami.manager import Manager

DENIED = ["Response: Error|Message: Permission denied"]
FAILED_CALL = [
    "Response: Success|Message: Originate successfully queued",
    "Event: OriginateResponse|Response: Failure|Channel: None/agi-xmpp-check|Reason: 0",
]


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    """Allows everything, and answers as Asterisk 22.10 does to actions without their arguments."""
    async with Manager() as listening:
        listening.answers = {
            "Setvar": ["Response: Error|Message: No variable specified"],
            "Originate": FAILED_CALL,
            "QueuePause": ["Response: Error|Message: Need 'Interface' and 'Paused' parameters."],
            "CoreSettings": ["Response: Success|AMIversion: 11.0.0"],
            "MessageSend": ["Response: Error|Message: A 'To' URI must be specified."],
        }
        yield listening


def test_what_is_needed() -> None:
    keys: dict[str, Any] = {"account": "pbx", "context": "internal"}
    conference = ConferenceSettings(account="rooms", context="conferences")
    for phone in (None, PhoneSettings(**keys, pause_queues=False)):
        for rooms in (None, conference):
            assert needed(phone, rooms) == [name for name in WRITE if name not in ("agent", "message")]
    assert "agent" in needed(PhoneSettings(**keys, pause_queues=True), None)
    assert "message" in needed(None, conference.model_copy(update={"texts_outside_calls": ["carol"]}))


async def test_all_is_well(manager: Manager) -> None:
    assert await check(manager.settings()) == []
    assert manager.names() == [
        "Setvar",
        "Originate",
        "QueuePause",
        "CoreSettings",
        "MessageSend",
        "Originate",
        "Logoff",
    ]


@pytest.mark.parametrize("name", WRITE)
async def test_a_class_that_is_missing(manager: Manager, name: str) -> None:
    manager.answers[WRITE[name][0]] = DENIED
    (sentence,) = await check(manager.settings())
    assert sentence.startswith(f"add {name} to the manager user's line write = in manager.conf")
    assert await check(manager.settings(), [other for other in WRITE if other not in (name, "originate")]) == []


async def test_a_module_that_is_not_loaded_is_no_privilege(manager: Manager) -> None:
    manager.answers["QueuePause"] = ["Response: Error|Message: Invalid/unknown command: QueuePause. Use Action: …"]
    assert await check(manager.settings()) == []


async def test_no_events(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "_EVENT_TIME", 0.05)
    manager.answers["Originate"] = FAILED_CALL[:1]
    (sentence,) = await check(manager.settings())
    assert sentence.startswith("add call to the manager user's line read = in manager.conf")


async def test_a_login_that_is_refused(manager: Manager) -> None:
    manager.secret = "another"
    with pytest.raises(AmiRefused):
        await check(manager.settings())


async def test_a_connection_that_breaks_is_no_missing_event(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "_EVENT_TIME", 0.05)
    manager.answers["Originate"] = FAILED_CALL[:1]
    checking = asyncio.create_task(check(manager.settings()))
    await manager.action("Originate", 2)
    manager.cut()
    with pytest.raises(AmiNotConnected, match=r"the connection to Asterisk broke"):
        await checking
