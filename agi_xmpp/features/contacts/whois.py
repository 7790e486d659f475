"""Who a number belongs to, for the dialplan: all that we know of it, in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agi_xmpp.features.contacts.addresses import Address, from_mail, from_number, from_uri
from agi_xmpp.features.contacts.directory import Directory
from agi_xmpp.features.contacts.finder import Finder
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.xmpp.model import Jid

#: What asks the phone book; it returns in bounded time and does not raise.
Book = Callable[[str], Awaitable[Entry | None]]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a number.

    Attributes:
        jid: whose it is (bare), if they have one.
        name: of the phone book, or of the directory; "" if neither has one.
        company: of the phone book.
        problem: why somebody who may know more could not be asked, or "".
    """

    jid: Jid | None = None
    name: str = ""
    company: str = ""
    problem: str = ""


class WhoIs:
    """All that knows people by their numbers.

    Args:
        directory: our own people.
        finder: knows the other services; None without ``[contacts]``.
        book: asks the phone book; None without ``[phone]``.
    """

    def __init__(self, directory: Directory, finder: Finder | None, book: Book | None) -> None:
        self._directory = directory
        self._finder = finder
        self._book = book

    @property
    def is_empty(self) -> bool:
        """True if nothing is configured that could know anybody."""
        return self._directory.is_empty and self._finder is None and self._book is None

    def read(self, text: str) -> Address | None:
        """Return the number, mail address, or URI of one, that a text is; None if it is none."""
        country = self._directory.country
        return from_uri(text, country) or from_number(text, country) or from_mail(text)

    async def find(self, address: Address, timeout: float) -> Known:
        """Return what is known of an address. Raises nothing.

        Args:
            address: see `read`.
            timeout: seconds for asking other services.
        """
        holders, entry = await asyncio.gather(self._directory.find(address), self._ask_book(address))
        problem = self._directory.complaint
        jid, name = (holders[0].jid, holders[0].name) if holders else (None, "")
        if jid is None and self._finder is not None:
            people, failed = await self._finder.ask_others(address, timeout)
            jid, problem = next(iter(people), None), problem or failed
        if entry is not None:
            return Known(jid, entry.name, entry.company, problem)
        return Known(jid, name, problem=problem)

    async def _ask_book(self, address: Address) -> Entry | None:
        if self._book is None or address.number is None:
            return None
        return await self._book(address.number.dialled)
