"""A real Redis as the cache of contact discovery: services share it, it dies and comes back, it wants a password."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agi_xmpp.features.contacts.cache import PAUSE, RedisCache
from agi_xmpp.xmpp.model import Jid
from tests.e2e.test_contacts import FAR_PEOPLE, PEOPLE, Answers, account, address, one, person, region
from tests.testbed.redis import Redis
from tests.testbed.rootfs import Rootfs
from tests.testbed.service import Service
from tests.testbed.xmpp import Accounts, Login, Prosody, XmppServer
from tests.unit.clock import Clock

ISOLDE = Jid("isolde", "far.lit")
ANSWERS = {"tel:+442079460000": (ISOLDE,), "tel:+442079460001": ()}
URIS = [*ANSWERS, "tel:+442079460002"]
#: What clients ask for, and get; nobody is behind the second number.
ASKED = one("a", "tel:+442079460000") + one("b", "tel:+442079460001")
TOLD = {"a": {"tel:+442079460000": ["xmpp:isolde@far.lit"]}, "b": {"tel:+442079460001": []}}


@pytest.fixture
async def redis(rootfs: Rootfs) -> AsyncIterator[Redis]:
    async with Redis(rootfs) as redis:
        yield redis


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(prosody: Prosody) -> Accounts:
    return Accounts(prosody)


class Regions:
    """A region with a client, and another region which it asks: what that one has said is kept in Redis.

    Args:
        accounts: of the XMPP server.
        tmp_path: for the files with their people.
        redis: the Redis's address.
    """

    def __init__(self, accounts: Accounts, tmp_path: Path, redis: str) -> None:
        self.accounts = accounts
        self.server: XmppServer = accounts.server
        self._redis = redis
        self._near, self._far = tmp_path / "near.csv", tmp_path / "far.csv"
        self._near.write_text(PEOPLE)
        self._far.write_text(FAR_PEOPLE)

    async def login(self, domain: str = "") -> Login:
        """Make an account for a service."""
        return await account(self.server, self.accounts, "pbx", domain)

    def near(self, login: Login, far: Login) -> Service:
        """Return a service of the near region."""
        return region(self.server, login, self._near, country="US", peers=[address(far)], redis=self._redis)

    def far(self, login: Login, *near: Login) -> Service:
        """Return the service of the far region, which has no Redis."""
        return region(self.server, login, self._far, country="GB", peers=[address(each) for each in near])

    async def look_up(self, login: Login) -> Answers:
        """Let a client ask the service with that account, and return what it is told."""
        async with person(self.server, self.accounts, address(login)) as romeo:
            return await romeo.look_up(ASKED)


async def test_services_of_a_region_share_what_another_region_said(
    accounts: Accounts, tmp_path: Path, redis: Redis
) -> None:
    regions = Regions(accounts, tmp_path, redis.url)
    one_login, other_login = await regions.login(), await regions.login()
    far_login = await regions.login(accounts.server.impostor_domain)
    async with (
        regions.near(one_login, far_login) as first,
        regions.near(other_login, far_login) as second,
        regions.far(far_login, one_login, other_login) as far,
    ):
        for service in (first, second, far):
            await service.online("pbx")
        assert await regions.look_up(one_login) == TOLD
        await far.stop()
        # The second one has asked nobody; and what was said outlives a restart of the first one.
        assert await regions.look_up(other_login) == TOLD
        await first.restart()
        await first.online("pbx")
        assert await regions.look_up(one_login) == TOLD
        for service in (first, second):
            assert redis.password not in service.log
    assert await redis.ask("GET", "agi-xmpp:contact:tel:+442079460000") == '["isolde@far.lit"]'
    assert 0 < int(await redis.ask("PTTL", "agi-xmpp:contact:tel:+442079460001")) <= 3_600_000


async def test_a_service_whose_redis_dies_goes_on(accounts: Accounts, tmp_path: Path, redis: Redis) -> None:
    regions = Regions(accounts, tmp_path, redis.url)
    login, far_login = await regions.login(), await regions.login(accounts.server.impostor_domain)
    async with regions.near(login, far_login) as near, regions.far(far_login, login) as far:
        await near.online("pbx")
        await far.online("pbx")
        assert await regions.look_up(login) == TOLD
        await redis.kill()
        assert await regions.look_up(login) == TOLD  # asked anew
        await far.stop()
        assert await regions.look_up(login) == TOLD  # kept in memory
        lines = [line for line in near.log.splitlines() if "Redis" in line]
        assert len(lines) == 1
        assert "contacts: Redis cannot be used: " in lines[0]
        assert lines[0].endswith("; answers are kept in memory meanwhile")


async def test_a_redis_that_comes_back_is_used_again(
    redis: Redis, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agi_xmpp")
    cache = RedisCache(redis.url, 60, clock)
    await cache.put(ANSWERS)
    assert await cache.get(URIS) == ANSWERS
    await redis.kill()
    for _ in range(2):  # told once
        assert await cache.get(URIS) == {}
        clock.now += PAUSE
    await cache.put({URIS[2]: ()})
    await redis.start()
    clock.now += PAUSE - 1
    assert await cache.get(URIS) == {URIS[2]: ()}  # from memory: it is left alone for a while
    clock.now += 1
    assert await cache.get(URIS) == {}  # it has forgotten everything
    complaint, relief = caplog.messages
    assert complaint.startswith("contacts: Redis cannot be used: ")
    assert relief == "contacts: Redis works again"
    await cache.put(ANSWERS)
    assert await cache.get(URIS) == ANSWERS
    await cache.stop()


@pytest.mark.parametrize("kind", ["url", "tls_url", "socket_url"])
async def test_each_kind_of_address(redis: Redis, clock: Clock, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    cache, other = RedisCache(getattr(redis, kind), 60, clock), RedisCache(redis.url, 60, clock)
    await cache.put(ANSWERS)
    assert await other.get(URIS) == ANSWERS
    assert await cache.get(URIS) == ANSWERS
    assert not caplog.records
    for each in (cache, other):
        await each.stop()


async def test_answers_expire(redis: Redis, clock: Clock) -> None:
    cache = RedisCache(redis.url, 0.001, clock)
    await cache.put(ANSWERS)
    async with asyncio.timeout(10):
        while await cache.get(URIS):
            pass
    await cache.stop()


@pytest.mark.parametrize(
    ("wrong", "reason"), [("", "Authentication required"), (":geheim@", "invalid username-password pair")]
)
async def test_a_wrong_password_is_told_without_it(
    redis: Redis, clock: Clock, caplog: pytest.LogCaptureFixture, wrong: str, reason: str
) -> None:
    cache = RedisCache(redis.url.replace(f":{redis.password}@", wrong), 60, clock)
    await cache.put(ANSWERS)
    assert await cache.get(URIS) == ANSWERS  # from memory
    assert await redis.ask("DBSIZE") == "0"
    (line,) = caplog.messages
    assert line.startswith("contacts: Redis cannot be used: ")
    assert reason in line
    assert "geheim" not in caplog.text
    await cache.stop()


async def test_a_certificate_that_nobody_trusts(redis: Redis, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    cache = RedisCache(redis.tls_url.partition("?")[0], 60, clock)
    await cache.put(ANSWERS)
    assert await redis.ask("DBSIZE") == "0"
    (line,) = caplog.messages
    assert "certificate verify failed" in line
    await cache.stop()
