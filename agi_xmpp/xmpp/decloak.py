"""Temporary presence (XEP-0276, "decloaking"): two who are no contacts of each other show themselves for a moment.

`Asking` is the side that wants to know whether somebody is there; `Answers` the side that is asked. Both end what they
began by exactly one unavailable presence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache

from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Caps, Jid, Presence, Show
from agi_xmpp.xmpp.presence import PresenceTracker

log = logging.getLogger("agi_xmpp.xmpp")

#: People that we show ourselves to at once, because we ask or because they ask: each takes some 2 KB.
SHARES = 1000

#: Seconds for which we show ourselves to somebody who has asked and never says that it is over.
SHARE_TIME = 600.0

#: Answers for one person within `PERIOD` seconds: somebody who looks at one phone contact after another has enough.
ANSWERS_EACH = 20
PERIOD = 60.0

#: People whose answers are counted. Only those who may have one come here; a listed domain may have many.
COUNTED = 10_000

Post = Callable[[Any], None]


@dataclass(slots=True, eq=False)
class _Asked:
    """Somebody we have asked, and what they have shown since."""

    who: Jid
    asked_at: float
    seen: PresenceTracker
    users: int = 0
    refused: bool = False
    over: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class Share:
    """One call's part in it. Implements `agi_xmpp.xmpp.model.PresenceShare`."""

    def __init__(self, asked: _Asked, of: Jid, end: Callable[[_Asked], None]) -> None:
        self._asked = asked
        self._of = of
        self._end = end
        self._ended = False

    async def presence(self, timeout: float) -> Presence:
        """See `PresenceShare.presence`.

        The time counts from the request: who asks somebody that has been silent to another call need not wait again.
        """
        asked = self._asked
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(asked.asked_at + timeout):
                while self._look().show is Show.OFFLINE and not (asked.refused or asked.over):
                    await asked.news.wait()
        return self._look()

    def _look(self) -> Presence:
        return Presence(Show.OFFLINE) if self._asked.over or self._ended else self._asked.seen.look(self._of)

    def end(self) -> None:
        """See `PresenceShare.end`."""
        if not self._ended:
            self._ended = True
            self._end(self._asked)


class Asking:
    """Whom we have asked on one account. Several calls that ask the same person share one request.

    Args:
        account: its name, for the log.
        post: sends a stanza, as soon as there is a connection.
        request: returns the presence that asks somebody (bare JID) for theirs, for a reason.
        hiding: returns the presence that ends it, or None for whom we are visible all the same.
    """

    def __init__(
        self, account: str, post: Post, request: Callable[[Jid, str], Any], hiding: Callable[[Jid], Any]
    ) -> None:
        self._account = account
        self._post = post
        self._request = request
        self._hiding = hiding
        self._asked: dict[Jid, _Asked] = {}

    def begin(self, of: Jid, reason: str) -> Share | None:
        """Ask somebody, unless another call has done so; None if too many are asked already.

        Args:
            of: bare or full JID; the request goes to the bare one.
            reason: ``media``, ``text`` or ``file``.
        """
        asked = self._asked.get(of.bare)
        if asked is None:
            if len(self._asked) >= SHARES:
                log.warning("account %s: %d people are asked for their presence already", self._account, SHARES)
                return None
            now = asyncio.get_running_loop().time()
            asked = self._asked[of.bare] = _Asked(of.bare, now, PresenceTracker([of.bare]))
            log.info("account %s: asks %s for their presence (%s)", self._account, of.bare, reason)
            self._post(self._request(of.bare, reason))
        else:
            log.debug("account %s: %s is asked for their presence already", self._account, of.bare)
        asked.users += 1
        return Share(asked, of, self._one_less)

    def available(self, who: Jid, show: Show, status: str, priority: int, caps: Caps | None) -> None:
        """Take an available presence of anybody (full JID)."""
        if asked := self._asked.get(who.bare):
            asked.seen.available(who, show, status, priority, caps)
            asked.tell()

    def unavailable(self, who: Jid, *, refused: bool = False) -> None:
        """Take an unavailable presence, or with ``refused`` the error that our request came back with."""
        if asked := self._asked.get(who.bare):
            asked.seen.unavailable(who)
            asked.refused = asked.refused or refused
            asked.tell()

    def resources(self, of: Jid) -> list[Presence]:
        """Return what those who were asked show, as `PresenceTracker.resources`."""
        asked = self._asked.get(of.bare)
        return asked.seen.resources(of) if asked else []

    def _one_less(self, asked: _Asked) -> None:
        asked.users -= 1
        if asked.users == 0 and not asked.over:
            self._finish(asked)

    def _finish(self, asked: _Asked) -> None:
        del self._asked[asked.who]
        asked.over = True
        asked.tell()
        if hiding := self._hiding(asked.who):
            self._post(hiding)

    def stop(self) -> None:
        """The account logs out: hide from everybody."""
        for asked in list(self._asked.values()):
            self._finish(asked)

    def session_ended(self) -> list[Any]:
        """Forget everything: the session is gone. Return what would have to be sent if nobody tells that for us."""
        owed = [self._hiding(who) for who in self._asked]
        for asked in self._asked.values():
            asked.over = True
            asked.tell()
        self._asked.clear()
        return [stanza for stanza in owed if stanza is not None]


@dataclass(slots=True, eq=False)
class _Answered:
    sender: Jid | None
    timer: asyncio.TimerHandle


class Answers:
    """Whom we show ourselves to because they have asked.

    Args:
        account: its name, for the log.
        post: sends a stanza, as soon as there is a connection.
        clock: seconds, monotonic.
        reasons: what it may be for. Who gives no reason is not refused for it.
    """

    def __init__(self, account: str, post: Post, clock: Callable[[], float], reasons: Iterable[str]) -> None:
        self._account = account
        self._post = post
        self._clock = clock
        self._reasons = frozenset(reasons)
        self._open: dict[tuple[Jid, str], _Answered] = {}  # their full JID; our local part
        self._counts: LRUCache[Jid, deque[float]] = LRUCache(COUNTED)

    def answer(self, who: Jid, reason: str, caps: Any, sender: Jid | None = None) -> bool:
        """Show ourselves to somebody who may ask; nothing but that we are there and what we can (section 6).

        Args:
            who: full JID. The answer goes there: their other clients have not asked.
            reason: theirs, or "".
            caps: our capabilities.
            sender: which of our addresses; None where the server fills it in.

        Returns:
            False if they get no answer, which the log explains.
        """
        key = (who, sender.local if sender else "")
        if reason and reason not in self._reasons:
            log.info("account %s: %s asks for our presence for %r: not allowed", self._account, who, reason)
            return False
        if key not in self._open and len(self._open) >= SHARES:
            log.warning("account %s: %s gets no presence: %d people have it already", self._account, who, SHARES)
            return False
        if not self._count(who.bare):
            log.debug("account %s: %s asks for our presence too often", self._account, who)  # INFO would be a flood
            return False
        self._drop(key)
        timer = asyncio.get_running_loop().call_later(SHARE_TIME, self._hide, key)
        self._open[key] = _Answered(sender, timer)
        log.info("account %s: %s asks for our presence (%s): shown", self._account, who, reason or "no reason")
        self._post(stanzas.minimal_presence(sender, who, caps))
        return True

    def theirs_ended(self, who: Jid, local: str = "") -> None:
        """Somebody is gone: a full JID, or a bare one with all its resources. They need us no more."""
        for key in [key for key in self._open if key[1] == local and who in (key[0], key[0].bare)]:
            self._hide(key)

    def replaced(self, who: Jid, local: str = "") -> None:
        """Somebody (bare JID) sees our presence in another way now, such as a subscription: nothing ends for them."""
        for key in [key for key in self._open if key[1] == local and key[0].bare == who.bare]:
            self._drop(key)

    def stop(self) -> None:
        """The account logs out: hide from everybody."""
        for key in list(self._open):
            self._hide(key)

    def session_ended(self) -> list[Any]:
        """See `Asking.session_ended`."""
        owed = [stanzas.hiding(answered.sender, who) for (who, _), answered in self._open.items()]
        for key in list(self._open):
            self._drop(key)
        return owed

    def _hide(self, key: tuple[Jid, str]) -> None:
        if answered := self._drop(key):
            self._post(stanzas.hiding(answered.sender, key[0]))

    def _drop(self, key: tuple[Jid, str]) -> _Answered | None:
        answered = self._open.pop(key, None)
        if answered:
            answered.timer.cancel()
        return answered

    def _count(self, who: Jid) -> bool:
        """Return False for who has had enough answers lately."""
        counted, now = self._counts.setdefault(who, deque()), self._clock()
        while counted and counted[0] <= now - PERIOD:
            counted.popleft()
        if len(counted) >= ANSWERS_EACH:
            return False
        counted.append(now)
        return True


class AllowList:
    """Who may ask: addresses, and domains for everybody there.

    Args:
        entries: ``alice@example.org`` or ``example.org``.

    Raises:
        BadJid: one is neither.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = frozenset(parse(entry).bare for entry in entries)

    def __contains__(self, who: Jid) -> bool:
        return who.bare in self._entries or Jid("", who.domain) in self._entries
