"""What others' clients can do: entity capabilities (XEP-0115), hashed and in the old form.

The library's own reader of them is not used: it keeps an entry for everybody who sends us a presence, without a limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aioxmpp
import aioxmpp.disco.xso
from aioxmpp.entitycaps import caps115
from aioxmpp.errors import ErroneousStanza, XMPPError
from cachetools import LRUCache, TTLCache

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.model import Caps, Jid

log = logging.getLogger("agi_xmpp.xmpp")

#: Any of these says that a client takes calls: Jingle audio (XEP-0167), what announces a call (XEP-0353), Google Talk.
VOICE_FEATURES = frozenset(
    {
        "urn:xmpp:jingle:apps:rtp:audio",
        "urn:xmpp:jingle-message:0",
        "urn:xmpp:jingle-message:1",
        "http://www.google.com/xmpp/protocol/voice/v1",
    }
)

#: What says the same in the old form (XEP-0115 before version 1.4), as Google Talk and its kin wrote it.
VOICE_EXTENSION = "voice-v1"

#: Hash functions of XEP-0300 that we check: the attribute comes from the network, and MD5 proves nothing.
_HASHES = {"sha-1": "sha1", "sha-224": "sha224", "sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}

XML = "http://www.w3.org/XML/1998/namespace"

#: Hashes that are remembered: a few hundred versions of clients are about.
VERSIONS = 1000

#: Clients without a hash, or with a wrong one, that are remembered, and for how many seconds.
CLIENTS = 1000
CLIENT_TIME = 60.0

#: Seconds for a client to answer.
ANSWER_TIME = 10.0

#: Clients asked at once.
QUERIES = 100


class CapsReader:
    """Finds out who can take a call, on one account.

    Args:
        account: its name, for the log.
        request: sends an IQ and returns the future of its reply (`link.Link.request`).
        clock: seconds, monotonic.
    """

    def __init__(self, account: str, request: Callable[[Any], asyncio.Future[Any]], clock: Callable[[], float]) -> None:
        self._account = account
        self._request = request
        self._versions: LRUCache[tuple[str, str], bool] = LRUCache(VERSIONS)
        self._clients: TTLCache[tuple[Jid, Caps | None], bool | None] = TTLCache(CLIENTS, CLIENT_TIME, timer=clock)
        self._queries: dict[tuple[Jid, Caps | None], asyncio.Task[bool | None]] = {}

    async def voice(self, who: Jid, caps: Caps | None, timeout: float) -> bool | None:
        """Return whether a client can take a call; None if that is not known.

        Args:
            who: its full JID.
            caps: what its presence says.
            timeout: seconds to ask it, if need be. An answer that comes later serves the next call.
        """
        if caps is not None and not caps.hash and VOICE_EXTENSION in caps.extensions:
            return True
        if caps is not None and (known := self._versions.get((caps.hash, caps.version))) is not None:
            return known
        key = (who, caps)
        if key in self._clients:
            return self._clients[key]
        query = self._queries.get(key)
        if query is None:
            if len(self._queries) >= QUERIES:
                return None
            query = self._queries[key] = asyncio.get_running_loop().create_task(self._ask(who, caps))
            query.add_done_callback(lambda _task: self._queries.pop(key, None))
        await asyncio.wait({query}, timeout=timeout)
        return query.result() if query.done() and not query.cancelled() else None

    def stop(self) -> None:
        """Ask nobody any more."""
        for query in list(self._queries.values()):
            query.cancel()

    async def _ask(self, who: Jid, caps: Caps | None) -> bool | None:
        """Ask a client what it can, and remember it: for all of its kind if the hash proves it."""
        hashed = caps is not None and caps.hash in _HASHES
        info = await self._info(who, f"{caps.node}#{caps.version}" if caps is not None and hashed else None)
        voice = None if info is None else not VOICE_FEATURES.isdisjoint(info.features)
        if hashed and caps is not None and info is not None:
            if _is_proved(info, caps):
                self._versions[caps.hash, caps.version] = not VOICE_FEATURES.isdisjoint(info.features)
                return voice
            log.warning("account %s: the capabilities of %s are not those that their hash says", self._account, who)
            voice = None
        self._clients[who, caps] = voice
        return voice

    async def _info(self, who: Jid, node: str | None) -> Any:
        try:
            async with asyncio.timeout(ANSWER_TIME):
                answer = await self._request(stanzas.features_request(who, node))
        except (TimeoutError, NotConnected, ConnectionError, XMPPError, ErroneousStanza) as error:
            log.debug("account %s: %s does not say what it can: %s", self._account, who, error)
            return None
        return answer.payload if isinstance(answer.payload, aioxmpp.disco.xso.InfoQuery) else None


def _is_proved(info: Any, caps: Caps) -> bool:
    """Return True if the hash of an answer is the one of the presence (XEP-0115 section 5.4)."""
    _forget_inherited_languages(info)
    try:
        return bool(caps115.hash_query(info, _HASHES[caps.hash]) == caps.version)
    except (
        ValueError,
        TypeError,
        AttributeError,
    ):  # an ill-formed answer: two identities alike, a field without a name
        return False


def _forget_inherited_languages(info: Any) -> None:
    """Take away the languages that no identity states itself.

    Prosody writes the stream's language on each IQ, the library passes it on to what is inside, and hashes it, too.
    """
    starts = [event for event in info.captured_events or () if event[0] == "start" and event[2] == "identity"]
    for identity, (_, _, _, attributes) in zip(info.identities, starts, strict=False):
        if (XML, "lang") not in attributes:
            identity.lang = None
