"""What contact discovery (``urn:xmpp:contact-disco:0``) means to features: plain data and two interfaces.

Somebody sends the addresses of a telephone's address book, numbers and mail addresses, and is told which of them are
people with a Jabber ID. The request is answered empty at once; what is found follows in headlines.
`ContactHost` is the feature that knows people, `ContactPort` the session's side.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agi_xmpp.xmpp.model import Jid

#: What is found: the Jabber IDs (bare) behind each address, by its URI as it was asked for. None: nobody is known.
Answers = Mapping[str, tuple[Jid, ...]]


@dataclass(frozen=True, slots=True)
class AskedContact:
    """One entry of somebody's address book.

    Attributes:
        id: theirs, echoed.
        uris: its addresses as they stood there, such as ``tel:5550909090``.
    """

    id: str
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enquiry:
    """A request.

    Attributes:
        batch: its name (``bid``), echoed in every answer.
        contacts: what is asked.
        relayed: another service like us asks on somebody's behalf: it must not be handed on again.
    """

    batch: str
    contacts: tuple[AskedContact, ...]
    relayed: bool = False

    @property
    def addresses(self) -> int:
        """How many addresses there are, doubles included. A contact without any counts as one: it is answered, too."""
        return sum(max(len(contact.uris), 1) for contact in self.contacts)

    @property
    def uris(self) -> tuple[str, ...]:
        """Each address once."""
        return tuple(dict.fromkeys(uri for contact in self.contacts for uri in contact.uris))


class ContactHost(Protocol):
    """The side that knows people."""

    def may_ask(self, who: Jid) -> bool:
        """Return True if ``who`` (full JID) may look contacts up at all."""

    def spend(self, who: Jid, addresses: int) -> None:
        """Count a request.

        Raises:
            Refused: it is too much; the text says which limit.
        """

    def find(self, who: Jid, uris: Sequence[str], *, relayed: bool) -> AsyncGenerator[Answers, None]:
        """Look addresses up. Yields what is known as soon as it is; each URI is in one of the mappings.

        It ends within a time of its own choosing, with what is known by then, and raises nothing.

        Args:
            who: full JID.
            uris: each once.
            relayed: nobody else may be asked.
        """


class ContactPort(Protocol):
    """The session's side."""

    async def ask(self, peer: Jid, uris: Sequence[str], timeout: float) -> Answers:
        """Ask a service like us, marked so that it asks nobody else; return what it has answered in time.

        Args:
            peer: the address of the service; of a client its full JID.
            uris: each once.
            timeout: seconds.

        Returns:
            Only those URIs that it has answered. Whatever is no Jabber ID in an answer is left out.

        Raises:
            NotConnected: we have no session, or lost it meanwhile.
            Bounced: it refuses, or is not there.
        """
