"""What others ask of us: deadline, limits, and what they are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from aioxmpp.errors import XMPPAuthError, XMPPCancelError, XMPPError, XMPPModifyError, XMPPWaitError

from agi_xmpp.errors import Refused
from agi_xmpp.xmpp import errands as module
from agi_xmpp.xmpp.errands import Errands, refusal
from agi_xmpp.xmpp.model import Jid
from tests.unit.xmpp.house import lines

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

BOB = Jid("bob", "x.org", "phone")


@pytest.fixture
async def errands() -> AsyncIterator[Errands]:
    made = Errands("main", deadline=30)
    yield made
    made.stop()


def after(step: asyncio.Event, error: Exception | None = None) -> Callable[[], Coroutine[Any, Any, str]]:
    async def work() -> str:
        await step.wait()
        if error:
            raise error
        return "done"

    return work


async def begin(errands: Errands, step: asyncio.Event, who: Jid = BOB) -> asyncio.Task[str]:
    """Start an errand and return when it is under way, or refused."""
    task = asyncio.create_task(errands.run(who, "work", after(step)))
    await asyncio.sleep(0)
    return task


def now() -> asyncio.Event:
    step = asyncio.Event()
    step.set()
    return step


async def test_the_result(errands: Errands) -> None:
    assert await errands.run(BOB, "work", after(now())) == "done"


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("forbidden", XMPPAuthError),
        ("bad-request", XMPPModifyError),
        ("not-acceptable", XMPPModifyError),
        ("item-not-found", XMPPCancelError),
        ("remote-server-timeout", XMPPWaitError),
        ("resource-constraint", XMPPWaitError),
    ],
)
async def test_a_refusal_is_told(errands: Errands, condition: str, kind: type[XMPPError]) -> None:
    with pytest.raises(kind) as told:
        await errands.run(BOB, "work", after(now(), Refused("not so", condition)))
    assert (told.value.condition.value[1], told.value.text) == (condition, "not so")
    assert type(refusal(Refused("x", condition))) is kind


async def test_an_unexpected_error_is_for_the_log(errands: Errands, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(XMPPCancelError) as told:
        await errands.run(BOB, "work", after(now(), ValueError("secret")))
    assert told.value.condition.value[1] == "internal-server-error"
    assert "secret" not in str(told.value)
    assert lines(caplog, logging.ERROR) == ["account main: work for bob@x.org/phone failed"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "was carried out"),
        (Refused("it is gone", "item-not-found"), "failed: it is gone"),
        (ValueError("secret"), "failed: ValueError"),
    ],
)
async def test_the_deadline(caplog: pytest.LogCaptureFixture, error: Exception | None, expected: str) -> None:
    errands, step = Errands("main", deadline=0), asyncio.Event()
    with pytest.raises(XMPPWaitError) as told:
        await errands.run(BOB, "work", after(step, error))
    assert told.value.condition.value[1] == "remote-server-timeout"
    (task,) = errands._tasks
    step.set()
    await asyncio.wait({task})
    await asyncio.sleep(0)  # its callbacks
    assert lines(caplog) == [f"account main: work for bob@x.org/phone {expected}, after its sender had stopped waiting"]
    assert not errands._tasks


async def test_it_goes_on_when_the_session_ends(errands: Errands, caplog: pytest.LogCaptureFixture) -> None:
    step = asyncio.Event()
    asking = await begin(errands, step)
    asking.cancel()
    await asyncio.wait({asking})
    (task,) = errands._tasks
    step.set()
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert task.result() == "done"
    assert "was carried out" in lines(caplog)[0]


async def test_the_stop(errands: Errands) -> None:
    asking = await begin(errands, asyncio.Event())
    errands.stop()
    with pytest.raises(XMPPCancelError) as told:
        await asking
    assert told.value.condition.value[1] == "service-unavailable"


@pytest.mark.parametrize(("under_way", "taken"), [(3, True), (4, True), (5, False)])
async def test_errands_of_one_person(errands: Errands, under_way: int, taken: bool) -> None:
    assert module.ERRANDS_EACH == 5
    step = asyncio.Event()
    tasks = [await begin(errands, step, Jid("bob", "x.org", str(n))) for n in range(under_way)]
    carol = await begin(errands, step, Jid("carol", "x.org", "x"))
    last = await begin(errands, step)
    assert last.done() is not taken
    step.set()
    assert await asyncio.gather(*tasks, carol) == ["done"] * (under_way + 1)
    if taken:
        assert await last == "done"
    else:
        assert isinstance(last.exception(), XMPPWaitError)


@pytest.mark.parametrize(("under_way", "taken"), [(2, True), (3, False)])
async def test_errands_at_all(errands: Errands, monkeypatch: pytest.MonkeyPatch, under_way: int, taken: bool) -> None:
    monkeypatch.setattr(module, "ERRANDS", 3)
    step = asyncio.Event()
    tasks = [await begin(errands, step, Jid(f"u{n}", "x.org", "x")) for n in range(under_way)]
    last = await begin(errands, step)
    assert last.done() is not taken
    step.set()
    assert [
        result if isinstance(result, str) else "no"
        for result in await asyncio.gather(*tasks, last, return_exceptions=True)
    ] == ["done"] * under_way + ["done" if taken else "no"]
