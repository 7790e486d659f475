"""Work beside: it is kept, ended and complained of."""

from __future__ import annotations

import asyncio
import logging

import pytest

from agi_xmpp.background import Background

log = logging.getLogger("agi_xmpp.test")


@pytest.fixture
def background() -> Background:
    return Background(log, "tests")


async def test_what_is_done_is_forgotten(background, caplog):
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    await background.spawn(work())
    assert done.is_set()
    assert len(background) == 0
    assert not caplog.records


async def test_a_failure_is_logged_with_its_traceback(background, caplog):
    async def work() -> None:
        raise ValueError("broken")

    task = background.spawn(work())
    await asyncio.wait({task})
    (record,) = caplog.records
    assert record.getMessage() == "tests: internal error"
    assert record.exc_info
    assert "broken" in str(record.exc_info[1])


async def test_stop_ends_what_is_under_way_and_waits_for_it(background, caplog):
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    background.spawn(work())
    await asyncio.sleep(0)
    await background.stop()
    assert ended.is_set()
    assert len(background) == 0
    assert not caplog.records


async def test_stop_without_work_returns(background):
    await background.stop()
