"""Where a domain's XMPP servers are: DNS SRV records (RFC 6120 section 3.2, XEP-0368)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.resolver

#: Seconds for one DNS question, all name servers together.
LOOKUP_TIMEOUT = 5.0

STARTTLS_PORT = 5222
DIRECT_TLS_PORT = 5223


@dataclass(frozen=True, slots=True)
class Target:
    """One place to try.

    Attributes:
        host, port: where to connect to.
        direct_tls: TLS from the first byte (XEP-0368); otherwise STARTTLS, or none at all if the settings say so.
    """

    host: str
    port: int
    direct_tls: bool

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Record:
    """One SRV record (RFC 2782)."""

    priority: int
    weight: int
    host: str
    port: int


class NoService(Exception):
    """The domain says that it has no XMPP service: the record's target is "." (RFC 2782)."""


#: Returns the records of a name; an empty list if there are none.
Lookup = Callable[[str], Awaitable[list[Record]]]


async def lookup(name: str) -> list[Record]:
    """Ask the system's name servers for SRV records. Asynchronous to the bone, so that it can be cancelled at once.

    Raises:
        OSError: the name servers cannot be reached or do not know.
    """
    try:
        answer = await dns.asyncresolver.resolve(name, "SRV", lifetime=LOOKUP_TIMEOUT, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise OSError(f"the DNS gives no answer about {name} ({type(error).__name__})") from None
    return [
        Record(record.priority, record.weight, record.target.to_text(omit_final_dot=True), record.port)
        for record in answer
    ]


async def find(
    domain: str,
    *,
    direct_only: bool,
    ask: Lookup = lookup,
    dice: Callable[[], float] = random.random,
) -> list[Target]:
    """Return the places to try for a domain, best first.

    Without records it is the domain itself, with STARTTLS at port 5222 (RFC 6120 section 3.2.2). A domain that
    answers for one of the two services only is used with that one. If the DNS does not work at all, the domain itself
    is tried too: /etc/hosts may know it.

    Args:
        domain: in its ASCII form.
        direct_only: take direct TLS only; port 5223 of the domain if there are no records.
        ask: asks the DNS.
        dice: returns random numbers from 0 to below 1.

    Raises:
        NoService: the domain offers none of what we may use.
    """
    kinds = [True] if direct_only else [False, True]
    services = {False: f"_xmpp-client._tcp.{domain}.", True: f"_xmpps-client._tcp.{domain}."}
    answers = await asyncio.gather(*(ask(services[kind]) for kind in kinds), return_exceptions=True)
    found: list[tuple[Record, bool]] = []
    refused = 0
    for kind, answer in zip(kinds, answers, strict=True):
        if isinstance(answer, OSError):
            continue
        if isinstance(answer, BaseException):
            raise answer
        usable = [record for record in answer if record.host != "."]
        refused += bool(answer) and not usable
        found += [(record, kind) for record in usable]
    if found:
        return [Target(record.host, record.port, kind) for record, kind in order(found, dice)]
    if refused:
        raise NoService(f"{domain} says in its SRV records that it has no XMPP service")
    return [Target(domain, DIRECT_TLS_PORT if direct_only else STARTTLS_PORT, direct_only)]


def order(
    records: Iterable[tuple[Record, bool]], dice: Callable[[], float] = random.random
) -> list[tuple[Record, bool]]:
    """Sort by priority, and draw lots by weight among equals (RFC 2782)."""
    result: list[tuple[Record, bool]] = []
    rest = sorted(records, key=lambda item: (item[0].priority, item[0].weight))
    while rest:
        equals = [item for item in rest if item[0].priority == rest[0][0].priority]
        mark = dice() * sum(item[0].weight for item in equals)
        chosen = equals[-1]
        for item in equals:
            mark -= item[0].weight
            if mark < 0:
                chosen = item
                break
        result.append(chosen)
        rest.remove(chosen)
    return result
