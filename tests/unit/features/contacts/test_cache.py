"""What is kept of others' answers: in memory, and in Redis (a server of the test that speaks its protocol)."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agi_xmpp.errors import ConfigError
from agi_xmpp.features.contacts import cache
from agi_xmpp.features.contacts.cache import PAUSE, PREFIX, MemoryCache, RedisCache
from agi_xmpp.xmpp.model import Jid
from tests.unit.clock import Clock
from tests.unit.features.contacts.redis_server import RedisServer

ANN = Jid("ann", "x.org")
BOB = Jid("bob", "x.org")
ANSWERS = {"tel:+1": (ANN, BOB), "tel:+2": ()}
URIS = ["tel:+1", "tel:+2", "tel:+3"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(clock: Clock) -> AsyncIterator[RedisServer]:
    async with RedisServer(clock) as server:
        yield server


@pytest.fixture
async def redis(server: RedisServer, clock: Clock) -> AsyncIterator[RedisCache]:
    made = RedisCache(f"redis://127.0.0.1:{server.port}/0", 60, clock)
    yield made
    await made.stop()


class TestMemory:
    async def test_answers_hold_for_a_while(self, clock: Clock) -> None:
        memory = MemoryCache(60, clock)
        await memory.put(ANSWERS)
        clock.now += 59
        assert await memory.get(URIS) == ANSWERS
        clock.now += 1
        assert await memory.get(URIS) == {}
        await memory.stop()

    async def test_none_are_kept_for_no_time(self, clock: Clock) -> None:
        memory = MemoryCache(0, clock)
        await memory.put(ANSWERS)
        assert await memory.get(URIS) == {}

    async def test_the_oldest_go(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cache, "LIMIT", 2)
        memory = MemoryCache(60, clock)
        for uri in URIS:
            await memory.put({uri: (ANN,)})
        assert list(await memory.get(URIS)) == ["tel:+2", "tel:+3"]


class TestRedis:
    async def test_answers_are_kept_there_and_expire_by_themselves(
        self, redis: RedisCache, server: RedisServer, clock: Clock
    ) -> None:
        await redis.put(ANSWERS)
        assert {key: json.loads(value) for key, (value, _end) in server.values.items()} == {
            "agi-xmpp:contact:tel:+1": ["ann@x.org", "bob@x.org"],
            "agi-xmpp:contact:tel:+2": [],
        }
        assert {end - clock.now for _value, end in server.values.values()} == {60.0}
        assert await redis.get(URIS) == ANSWERS
        clock.now += 60
        assert await redis.get(URIS) == {}

    async def test_another_service_finds_them(self, redis: RedisCache, server: RedisServer, clock: Clock) -> None:
        await redis.put(ANSWERS)
        other = RedisCache(f"redis://127.0.0.1:{server.port}/0", 60, clock)
        assert await other.get(URIS) == ANSWERS
        await other.stop()

    async def test_nothing_is_asked_for_nothing(self, redis: RedisCache, server: RedisServer) -> None:
        assert await redis.get([]) == {}
        await redis.put({})
        assert not server.commands

    @pytest.mark.parametrize("value", ["", "x", "1", '{"a": 1}', '["@"]', '"ann@x.org"', "[" * 100_000])
    async def test_what_is_none_of_ours_is_passed_over(
        self, redis: RedisCache, server: RedisServer, clock: Clock, value: str
    ) -> None:
        server.values[PREFIX + "tel:+1"] = (value, clock.now + 60)
        assert await redis.get(URIS) == {}

    async def test_while_redis_is_away_memory_serves(
        self, redis: RedisCache, server: RedisServer, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "agi_xmpp")
        await server.end()
        for _ in range(3):
            await redis.put(ANSWERS)
            assert await redis.get(URIS) == ANSWERS
            clock.now += PAUSE
        (line,) = caplog.messages
        assert line.startswith("contacts: Redis cannot be used: ")
        assert line.endswith("; answers are kept in memory meanwhile")
        await server.begin()
        assert await redis.get(URIS) == {}
        assert caplog.messages[1:] == ["contacts: Redis works again"]

    async def test_a_redis_that_failed_is_left_alone_for_a_while(
        self, redis: RedisCache, server: RedisServer, clock: Clock
    ) -> None:
        server.refuse = "LOADING Redis is loading the dataset in memory"
        await redis.put(ANSWERS)
        count = len(server.commands)
        server.refuse = ""
        clock.now += PAUSE - 1
        assert await redis.get(URIS) == ANSWERS
        assert len(server.commands) == count
        clock.now += 1
        assert await redis.get(URIS) == {}
        assert len(server.commands) == count + 1

    async def test_a_connection_that_broke_unnoticed(
        self, redis: RedisCache, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        await redis.put(ANSWERS)
        await server.end()
        await server.begin()
        assert await redis.get(URIS) == ANSWERS
        assert not caplog.records

    async def test_no_password_is_shown(
        self, server: RedisServer, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.refuse = "WRONGPASS invalid username-password pair or user is disabled."
        made = RedisCache(f"redis://agi:geheim@127.0.0.1:{server.port}/0", 60, clock)
        assert await made.get(URIS) == {}
        await made.stop()
        assert "geheim" not in caplog.text
        assert "Redis cannot be used" in caplog.text

    @pytest.mark.parametrize("url", ["redis://x:geheim@127.0.0.1:x/0", "http://geheim@127.0.0.1"])
    def test_an_address_that_is_none(self, url: str, clock: Clock) -> None:
        with pytest.raises(ConfigError, match=r"contacts\.redis: this is no address") as caught:
            RedisCache(url, 60, clock)
        assert "geheim" not in str(caught.value)

    def test_without_the_library(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        missing: Any = None
        monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", missing)
        with pytest.raises(ConfigError, match=r"agi-xmpp\[redis\]"):
            RedisCache("redis://127.0.0.1", 60, clock)
