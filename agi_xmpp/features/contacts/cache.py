"""What other services have said of addresses, kept for a while: in our memory, or in Redis.

Redis is for several services of one region that shall not all ask the others the same, and for answers that outlive a
restart. The library is redis-py (extra ``redis``): Redis's own, with asyncio and types. Its retries, up to ten with
growing pauses, are turned off: nobody waits for a cache.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from cachetools import TTLCache

from agi_xmpp.errors import BadJid, ConfigError
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

if TYPE_CHECKING:
    import redis.asyncio

log = logging.getLogger("agi_xmpp.contacts")

#: Addresses kept in memory: some 50 MB.
LIMIT = 100_000

#: In front of our keys: others may use the same Redis.
PREFIX = "agi-xmpp:contact:"

#: Seconds for Redis to connect or answer. In the same network it takes a millisecond.
REDIS_TIMEOUT = 0.5

#: Seconds for which a Redis that failed is left alone: each try costs those who wait its time.
PAUSE = 10.0

#: People behind each address, by its URI.
_Known = dict[str, tuple[Jid, ...]]


class Cache(Protocol):
    """Answers by address. It raises nothing."""

    async def get(self, uris: Iterable[str]) -> _Known:
        """Return those that are known; an empty one says that nobody is behind the address."""

    async def put(self, answers: Mapping[str, tuple[Jid, ...]]) -> None:
        """Keep answers."""

    async def stop(self) -> None:
        """Let go of what is held."""


class MemoryCache:
    """Keeps answers in memory. Implements `Cache`.

    Args:
        seconds: for which an answer holds.
        clock: seconds, monotonic.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._answers: TTLCache[str, tuple[Jid, ...]] = TTLCache(LIMIT, seconds, timer=clock)

    async def get(self, uris: Iterable[str]) -> _Known:
        """See `Cache.get`."""
        found = ((uri, self._answers.get(uri)) for uri in uris)
        return {uri: people for uri, people in found if people is not None}

    async def put(self, answers: Mapping[str, tuple[Jid, ...]]) -> None:
        """See `Cache.put`."""
        self._answers.update(answers)

    async def stop(self) -> None:
        """See `Cache.stop`."""


class RedisCache:
    """Keeps answers in Redis, which forgets them by itself; in memory while Redis is away. Implements `Cache`.

    Args:
        url: of Redis. It may hold a password, and is never shown.
        seconds: for which an answer holds.
        clock: seconds, monotonic.

    Raises:
        ConfigError: the library is not installed, or the address is none.
    """

    def __init__(self, url: str, seconds: float, clock: Callable[[], float]) -> None:
        self._redis = _connect(url)
        self._milliseconds = max(round(seconds * 1000), 1)
        self._clock = clock
        self._memory = MemoryCache(seconds, clock)
        self._failed_at: float | None = None

    async def get(self, uris: Iterable[str]) -> _Known:
        """See `Cache.get`."""
        uris = list(uris)
        if not uris:
            return {}
        if not self._rests():
            try:
                values = await self._redis.mget([PREFIX + uri for uri in uris])
            except _errors() as error:
                self._fail(error)
            else:
                self._work()
                return {
                    uri: people for uri, value in zip(uris, values, strict=True) if (people := _read(value)) is not None
                }
        return await self._memory.get(uris)

    async def put(self, answers: Mapping[str, tuple[Jid, ...]]) -> None:
        """See `Cache.put`."""
        if not answers:
            return
        if not self._rests():
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for uri, people in answers.items():
                        pipeline.set(PREFIX + uri, json.dumps([str(one) for one in people]), px=self._milliseconds)
                    await pipeline.execute()
            except _errors() as error:
                self._fail(error)
            else:
                self._work()
                return
        await self._memory.put(answers)

    async def stop(self) -> None:
        """See `Cache.stop`."""
        await self._redis.aclose()

    def _rests(self) -> bool:
        return self._failed_at is not None and self._clock() < self._failed_at + PAUSE

    def _fail(self, error: Exception) -> None:
        """Leave Redis alone for a while; one line in the log until it works again."""
        if self._failed_at is None:
            reason = str(error) or type(error).__name__
            log.error("contacts: Redis cannot be used: %s; answers are kept in memory meanwhile", reason)
        self._failed_at = self._clock()

    def _work(self) -> None:
        if self._failed_at is not None:
            self._failed_at = None
            log.info("contacts: Redis works again")


def _connect(url: str) -> redis.asyncio.Redis:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise ConfigError("contacts.redis needs the extra: pip install 'agi-xmpp[redis]'") from None
    try:
        return Redis.from_url(
            url,
            protocol=2,  # a Redis before 6 knows no other, and the newer one gives nothing that is needed here
            decode_responses=True,
            encoding_errors="replace",  # a value that somebody else has written is no reason to fail
            socket_timeout=REDIS_TIMEOUT,
            socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 1),  # once, for a connection that broke while nobody needed it
        )
    except ValueError:  # its text has the address, and with it the password
        raise ConfigError("contacts.redis: this is no address such as redis://127.0.0.1:6379/0") from None


def _errors() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return RedisError, OSError, TimeoutError


def _read(value: str | bytes | None) -> tuple[Jid, ...] | None:
    """Return the people of an answer; None if there is none, or it is none of ours."""
    try:
        people = json.loads(value) if value is not None else None
        return None if not isinstance(people, list) else tuple(parse(str(one)) for one in people)
    except (ValueError, RecursionError, BadJid):
        return None
