"""Between the stanzas of contact discovery and plain data. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import quoteattr

import aioxmpp

from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.xmpp.contact_model import Answers, AskedContact, Enquiry
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.xso import contact_disco as xso

#: Characters of the name of a batch or of a contact's id. Clients count them, or make UUIDs.
NAME_LENGTH = 200

#: Characters of an address. A mail address has 254 at the most (RFC 5321 section 4.5.3.1.3), three each if escaped.
URI_LENGTH = 1000

#: Bytes of contacts in one answer: every server takes a stanza of 10,000 bytes (RFC 6120 section 13.12).
BATCH_SIZE = 8000

#: Bytes of contacts in one stanza where fewer will not do: a server ends the stream over one that is too long for it.
STANZA_SIZE = 50_000

#: Bytes of one contact that is asked for: its answer, which repeats them, cannot be cut.
CONTACT_SIZE = 20_000

#: What stands unescaped in the local part and domain of an ``xmpp:`` URI (RFC 5122 section 2.2).
_PLAIN = "@!$()*+,;=[]"


def enquiry(payload: Any) -> Enquiry:
    """Return what is asked.

    Raises:
        Refused: ``bad-request``: it makes no sense; the text says what is wrong.
    """
    contacts = payload.contacts
    addresses = [address for contact in contacts for address in contact.addresses]
    if any(element.is_broken for element in (payload, *contacts, *addresses)):
        raise _malformed("the request cannot be read")
    batch = _name(payload.batch, "the attribute 'bid' of <contacts/>")
    asked = [
        AskedContact(
            _name(contact.id_, "the attribute 'id' of a <contact/>"),
            tuple(_uri(address.uri) for address in contact.addresses),
        )
        for contact in contacts
    ]
    if len({contact.id for contact in asked}) < len(asked):
        raise _malformed("two contacts have the same 'id'")
    if any(_own_size(contact) > CONTACT_SIZE for contact in asked):
        raise _malformed("there are too many addresses in one contact")
    return Enquiry(batch, tuple(asked), payload.hop is not None)


def requests(to: Any, batch: str, uris: Sequence[str]) -> Iterator[Any]:
    """Return what asks another service for addresses, each as a contact of its own: one request, several if need be."""
    contacts: list[AskedContact] = []
    size = 0
    for number, uri in enumerate(uris):
        contact = AskedContact(str(number), (uri,))
        more = _own_size(contact)
        if contacts and size + more > STANZA_SIZE:
            yield _request(to, batch, contacts)
            contacts, size = [], 0
        contacts.append(contact)
        size += more
    yield _request(to, batch, contacts)


def _request(to: Any, batch: str, contacts: Iterable[AskedContact]) -> Any:
    payload = xso.Contacts(batch)
    payload.hop = xso.Hop()
    for contact in contacts:
        payload.contacts.append(_contact(contact, dict.fromkeys(contact.uris, ()))[0])
    return aioxmpp.IQ(aioxmpp.IQType.GET, to=to, payload=payload)


def answers(asked: Enquiry, contacts: Iterable[AskedContact], found: Answers) -> Iterator[Any]:
    """Return headlines with what was found for some of the contacts. The addresses of the messages are left open.

    Args:
        asked: the request.
        contacts: those that are answered now.
        found: has an entry for each of their addresses.
    """
    payload, size = xso.Contacts(asked.batch), 0
    for contact in contacts:
        element, more = _contact(contact, found)
        if payload.contacts and size + more > BATCH_SIZE:
            yield _headline(payload)
            payload, size = xso.Contacts(asked.batch), 0
        payload.contacts.append(element)
        size += more
    if payload.contacts:
        yield _headline(payload)


def found(payload: Any) -> dict[str, tuple[Jid, ...]]:
    """Return what somebody else has found, by address. What is no Jabber ID there is left out."""
    result: dict[str, tuple[Jid, ...]] = {}
    for contact in payload.contacts:
        for address in contact.addresses:
            if address.uri is not None:
                people = (read_uri(discovery.uri or "") for discovery in address.discoveries)
                result[address.uri] = tuple(dict.fromkeys(person for person in people if person is not None))
    return result


def uri(person: Jid) -> str:
    """Return the ``xmpp:`` URI of a bare JID (RFC 5122)."""
    return f"xmpp:{quote(str(person.bare), safe=_PLAIN)}"


def read_uri(text: str) -> Jid | None:
    """Return the bare JID of an ``xmpp:`` URI; None if it is none, or names no person."""
    scheme, _, rest = text.partition(":")
    if scheme.lower() != "xmpp":
        return None
    path = rest.partition("#")[0].partition("?")[0]
    try:
        person = parse(unquote(path, errors="strict")).bare
    except (BadJid, UnicodeDecodeError):
        return None
    return person if person.local else None


def _contact(contact: AskedContact, found: Answers) -> tuple[Any, int]:
    """Return a contact with its answers, and its size in bytes as XML. People beyond `STANZA_SIZE` are left out."""
    element = xso.Contact(contact.id)
    size = _own_size(contact)
    for asked in contact.uris:
        address = xso.Address(asked)
        for person in found[asked]:
            more = _size("<discovery uri=/>", uri(person))
            if size + more > STANZA_SIZE:
                break
            address.discoveries.append(xso.Discovery(uri(person)))
            size += more
        element.addresses.append(address)
    return element, size


def _own_size(contact: AskedContact) -> int:
    """Return the size in bytes of a contact without answers."""
    addresses = sum(_size("<address uri=></address>", asked) for asked in contact.uris)
    return _size("<contact id=></contact>", contact.id) + addresses


def _size(tags: str, value: str) -> int:
    return len(tags) + len(quoteattr(value).encode())


def _headline(payload: Any) -> Any:
    message = aioxmpp.Message(aioxmpp.MessageType.HEADLINE)
    message.contact_disco = payload
    return message


def _name(text: str | None, what: str) -> str:
    if not text:
        raise _malformed(f"{what} is missing")
    if len(text) > NAME_LENGTH:
        raise _malformed(f"{what} has more than {NAME_LENGTH} characters")
    return text


def _uri(text: str | None) -> str:
    if not text:
        raise _malformed("the attribute 'uri' of an <address/> is missing")
    if len(text) > URI_LENGTH:
        raise _malformed(f"an address has more than {URI_LENGTH} characters")
    return text


def _malformed(text: str) -> Refused:
    return Refused(text, "bad-request")
