"""Contact discovery: who may ask, who is found, and what other services know. Implements `ContactHost`.

What we know ourselves is in memory and goes out at once; peers are asked for the rest, and a cache keeps it.
Somebody who is hidden takes the way of somebody unknown, so that neither the answer nor its time tells them apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

from agi_xmpp.config import AccountSettings, ContactsSettings, Settings
from agi_xmpp.errors import BadJid, ConfigError, XmppError
from agi_xmpp.features.contacts.addresses import Address, from_uri
from agi_xmpp.features.contacts.cache import Cache, MemoryCache, RedisCache
from agi_xmpp.features.contacts.directory import Directory
from agi_xmpp.features.contacts.limits import Limits
from agi_xmpp.xmpp.contact_model import Answers
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid, Session

log = logging.getLogger("agi_xmpp.contacts")


class Finder:
    """Contact discovery of one installation.

    Args:
        settings: of everything; ``[contacts]`` is there.
        session: of the account that serves it.
        directory: knows our own people.
        clock: seconds, monotonic.

    Raises:
        ConfigError: the settings are wrong in a way that only shows now.
    """

    def __init__(
        self, settings: Settings, session: Session, directory: Directory, clock: Callable[[], float] = time.monotonic
    ) -> None:
        contacts = settings.contacts
        assert contacts is not None  # noqa: S101 - the caller has looked
        self._session = session
        self._directory = directory
        self._allow = _Group(contacts.allow or _own_domains(contacts, settings), "contacts.allow")
        self._hidden = _Group(contacts.hidden, "contacts.hidden")
        self._peers = [_parse(text, "contacts.peers") for text in contacts.peers]
        self._timeout = contacts.timeout
        self._limits = Limits(contacts, clock)
        self._cache = _make_cache(contacts, clock)
        self._complaints: dict[Jid, str] = {}
        self._port = session.serve_contacts(self)

    @staticmethod
    def check(settings: Settings) -> None:
        """Find what is wrong with the settings before anything is changed.

        Raises:
            ConfigError: an address is none, or Redis cannot be used like that.
        """
        contacts = settings.contacts
        if contacts is not None:
            for key in ("allow", "hidden", "peers"):
                for text in getattr(contacts, key):
                    _parse(text, f"contacts.{key}")
            _make_cache(contacts, time.monotonic)

    async def stop(self) -> None:
        """Offer it no more."""
        self._session.serve_contacts(None)
        await self._cache.stop()

    # ContactHost

    def may_ask(self, who: Jid) -> bool:
        """See `ContactHost.may_ask`."""
        return self._allow.has(who) or self._is_peer(who)

    def spend(self, who: Jid, addresses: int) -> None:
        """See `ContactHost.spend`. A peer asks for many people, whose requests it counts itself."""
        if self._is_peer(who):
            self._limits.check_size(addresses)
        else:
            self._limits.spend(who, addresses)

    async def find(self, who: Jid, uris: Sequence[str], *, relayed: bool) -> AsyncGenerator[Answers, None]:
        """See `ContactHost.find`."""
        wanted = {uri: address for uri in uris if (address := from_uri(uri, self._directory.country))}
        addresses = list(dict.fromkeys(wanted.values()))
        people = await self._directory.find_all(addresses)
        known = {
            address: visible
            for address, holders in zip(addresses, people, strict=True)
            if (visible := self._visible(holder.jid for holder in holders))
        }
        missing = [address for address in addresses if address not in known and address.is_global]
        # One hop, whatever the mark says: two peers that both forgot it would ask each other for ever.
        if relayed or self._is_peer(who) or not self._peers:
            missing = []
        cached = await self._cache.get(address.uri for address in missing)
        known |= {address: self._visible(cached[address.uri]) for address in missing if address.uri in cached}
        later = {address for address in missing if address.uri not in cached}
        yield {uri: known.get(wanted[uri], ()) if uri in wanted else () for uri in uris if wanted.get(uri) not in later}
        if later:
            # Two ways to write a number are one question.
            asked, _failed = await self._ask_peers(list(dict.fromkeys(one.uri for one in missing if one in later)))
            yield {
                uri: self._visible(asked.get(address.uri, ())) for uri, address in wanted.items() if address in later
            }

    # For the dialplan

    async def ask_others(self, address: Address, timeout: float) -> tuple[tuple[Jid, ...], str]:
        """Return whom the peers know behind an address, and why one of them could not say, or "".

        Args:
            address: one that we don't know ourselves.
            timeout: seconds.
        """
        if not self._peers or not address.is_global:
            return (), ""
        cached = await self._cache.get([address.uri])
        if address.uri in cached:
            return cached[address.uri], ""
        asked, failed = await self._ask_peers([address.uri], timeout)
        return asked.get(address.uri, ()), failed

    # Details

    def _visible(self, people: Iterable[Jid]) -> tuple[Jid, ...]:
        return tuple(person for person in people if not self._hidden.has(person))

    async def _ask_peers(self, uris: Sequence[str], timeout: float | None = None) -> tuple[Answers, str]:
        """Ask all peers at once, within the time. Returns what they know, and what is wrong with one of them, or ""."""
        limit = self._timeout if timeout is None else min(timeout, self._timeout)
        replies = await asyncio.gather(*(self._ask_peer(peer, uris, limit) for peer in self._peers))
        known: dict[str, tuple[Jid, ...]] = {}
        for uri in uris:
            # An answer is kept if somebody is known, or if all have said that nobody is.
            said = [answers[uri] for answers, _problem in replies if uri in answers]
            people = tuple(dict.fromkeys(person for each in said for person in each))
            if people or len(said) == len(self._peers):
                known[uri] = people
        await self._cache.put(known)
        return known, next((problem for _answers, problem in replies if problem), "")

    async def _ask_peer(self, peer: Jid, uris: Sequence[str], timeout: float) -> tuple[Answers, str]:
        problem = ""
        answers: Answers = {}
        try:
            answers = await self._port.ask(peer, uris, timeout)
            if len(answers) < len(uris):
                problem = f"{peer} did not answer in time"
        except XmppError as error:
            problem = str(error)
        except Exception as error:
            log.exception("contacts: asking %s failed", peer)  # a mistake of ours; the others' answers count
            problem = f"{peer}: {type(error).__name__}"
        known = self._complaints.pop(peer, "")
        if problem:
            self._complaints[peer] = problem
            if problem != known:
                log.error("contacts: %s", problem)
        elif known:
            log.info("contacts: %s answers again", peer)
        return answers, problem

    def _is_peer(self, who: Jid) -> bool:
        return any(who == peer or (peer.is_bare and who.bare == peer) for peer in self._peers)


class _Group:
    """Domains and people.

    Args:
        texts: as the configuration has them.
        key: of the configuration, for complaints.
    """

    def __init__(self, texts: Iterable[str], key: str) -> None:
        self._members = frozenset(_parse(text, key) for text in texts)

    def has(self, who: Jid) -> bool:
        """Return True if somebody is among them. Servers and components of an allowed domain are nobody."""
        return bool(who.local) and (who.bare in self._members or Jid("", who.domain) in self._members)


def _own_domains(contacts: ContactsSettings, settings: Settings) -> list[str]:
    """Return the domains of our own users: of the account's server, and of the user map."""
    account: AccountSettings = settings.account[contacts.account]
    users = settings.phone.user if settings.phone is not None else {}
    own = account.domain if account.is_component else account.jid.partition("/")[0].rpartition("@")[2]
    return [*([own] if own else []), *(text.rpartition("@")[2] for text in users)]


def _parse(text: str, key: str) -> Jid:
    try:
        return parse(text)
    except BadJid as error:
        raise ConfigError(f"{key}: {error}") from None


def _make_cache(settings: ContactsSettings, clock: Callable[[], float]) -> Cache:
    if settings.redis is not None and settings.cache:
        return RedisCache(settings.redis.get_secret_value(), settings.cache, clock)
    return MemoryCache(settings.cache, clock)
