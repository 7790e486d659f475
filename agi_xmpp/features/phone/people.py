"""The user map: who has which phones, and how others name them. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import BadJid, ConfigError, Refused
from agi_xmpp.features.phone.numbers import plain
from agi_xmpp.xmpp import jid
from agi_xmpp.xmpp.model import Jid

#: What a local part cannot hold, and how it is written there (XEP-0106 section 4).
_ESCAPES = {char: f"\\{ord(char):02x}" for char in " \"&'/:<>@\\"}
_ESCAPED = {sequence: char for char, sequence in _ESCAPES.items()}
_SEQUENCE = re.compile("|".join(re.escape(sequence) for sequence in _ESCAPED))

#: What a German types for an umlaut. A sharp s is "ss" in any case.
_UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue"}

#: People that a sentence lists at the most.
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a phone.

    Attributes:
        jid: bare.
        local: of their phone contact (``alice`` in ``alice@phone.example.org``), escaped (XEP-0106).
        devices: their phones, such as ``PJSIP/101``; the first one rings when they dial from chat.
        extension: what others dial to reach them.
        name: for lists and sentences; never empty.
        dial: patterns of what they may dial besides the extensions of others.
        notes: they want to be told in chat who calls, unless they have said otherwise since.
    """

    jid: Jid
    local: str
    devices: tuple[str, ...]
    extension: str
    name: str
    dial: tuple[str, ...] = ()
    notes: bool = False


class People:
    """Everybody in the user map.

    Args:
        settings: ``[phone]``.

    Raises:
        ConfigError: a key of the user map is not a Jabber ID, or two of them are the same address.
    """

    def __init__(self, settings: PhoneSettings) -> None:
        addresses = _addresses(settings)
        locals_ = Counter(address.local for address in addresses.values())
        self._people: dict[Jid, Person] = {}
        for text, user in settings.user.items():
            address = addresses[text]
            self._people[address] = Person(
                jid=address,
                # Two people of different domains who are called alike: the contact bears the whole address.
                local=address.local if locals_[address.local] == 1 else escape(str(address)),
                devices=tuple(user.devices),
                extension=user.number,
                name=user.name or unescape(address.local),
                dial=tuple(settings.dial if user.dial is None else user.dial),
                notes=user.notes,
            )
        self._by_device = {_device_key(device): person for person in self for device in person.devices}
        self._by_extension = {person.extension: person for person in self}
        self._by_contact = {person.local: person for person in self}
        self._by_local = {
            spelling: person
            for person in self
            if locals_[person.jid.local] == 1
            for spelling in (person.jid.local, unescape(person.jid.local).lower())
        }

    def __iter__(self) -> Iterator[Person]:
        return iter(self._people.values())

    def __len__(self) -> int:
        return len(self._people)

    def by_jid(self, who: Jid) -> Person | None:
        """Return whose address it is, whatever the resource; ``alice`` of another domain is somebody else."""
        return self._people.get(who.bare)

    def by_device(self, device: str) -> Person | None:
        """Return whose phone ``PJSIP/101`` is."""
        return self._by_device.get(_device_key(device))

    def by_extension(self, extension: str) -> Person | None:
        """Return whom an extension reaches."""
        return self._by_extension.get(extension)

    def by_contact(self, local: str) -> Person | None:
        """Return whose phone contact has that local part."""
        return self._by_contact.get(local)

    def by_node(self, node: str) -> Person | None:
        """Return whom the node of a service discovery request means (Proto-JEP "Phone Integration" section 4).

        Args:
            node: the bare JID in any case, or its local part, as it is (``d\\27artagnan``) or unescaped. A local part
                that two people have names nobody.
        """
        if person := self._by_contact.get(node) or self._by_local.get(node.lower()):
            return person
        try:
            return self.by_jid(jid.parse(node))
        except BadJid:
            return None

    def find(self, text: str) -> Person | None:
        """Return whom somebody means who writes to us: an extension, a JID, a name, or the beginning of a name.

        Each word of a name counts, and the local part of the JID: ``ann``, ``Smith`` and ``ann sm`` are Ann Smith.
        Who types without accents is understood if nobody is meant otherwise: ``muller`` and ``mueller`` are Müller.
        Digits are never the beginning of a name: they are a number.

        Raises:
            Refused: ``not-acceptable``: several people are meant alike; the text lists them.
        """
        said = " ".join(text.split())
        if person := self._by_extension.get(said) or (self.by_node(said) if "@" in said else None):
            return person
        if not any(char.isalpha() for char in said):
            return None
        found = self._called(said, lambda name: {_folded(name)}) or self._called(said, _spellings)
        if len(found) > 1:
            names = [f"{person.name} ({person.extension})" for person in found[:_LISTED]]
            more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            raise Refused(f"“{plain(said)}” could be {', '.join(names)}{more}. Which one?", "not-acceptable")
        return found[0] if found else None

    def _called(self, said: str, spellings: Callable[[str], set[str]]) -> list[Person]:
        """Return whose name a text is, or else the beginning of whose name.

        Args:
            said: the text.
            spellings: of a name; two are the same if they have one in common.
        """
        meant = spellings(said)
        exact = [person for person in self if any(meant & spellings(name) for name in _names(person))]
        return exact or [
            person
            for person in self
            if any(
                spelling.startswith(tuple(meant))
                for name in _names(person)
                for beginning in _beginnings(name)
                for spelling in spellings(beginning)
            )
        ]


def escape(text: str) -> str:
    """Return a text as the local part of a JID (XEP-0106 section 4.2); it must not begin or end with a blank."""
    # A backslash is escaped only where it would be read as the beginning of an escape sequence.
    text = _SEQUENCE.sub(lambda match: f"\\5c{match[0][1:]}", text)
    return "".join(char if char == "\\" else _ESCAPES.get(char, char) for char in text)


def unescape(local: str) -> str:
    """Return what an escaped local part stands for (XEP-0106 section 4.3)."""
    return _SEQUENCE.sub(lambda match: _ESCAPED[match[0]], local)


def _addresses(settings: PhoneSettings) -> Mapping[str, Jid]:
    """Return the prepared address for each key of the user map."""
    found: dict[str, Jid] = {}
    for text in settings.user:
        try:
            address = jid.parse(text)
        except BadJid as error:
            raise ConfigError(f"phone.user: {error}") from None
        if other := next((key for key, known in found.items() if known == address), ""):
            raise ConfigError(f"phone.user: {other!r} and {text!r} are the same address")
        found[text] = address
    return found


def _device_key(device: str) -> str:
    """Return a device for comparison: Asterisk finds the technology in any case, and what follows as it stands."""
    technology, slash, rest = device.partition("/")
    return f"{technology.upper()}{slash}{rest}"


def _names(person: Person) -> tuple[str, str]:
    return " ".join(person.name.split()), unescape(person.jid.local)


def _beginnings(name: str) -> Iterator[str]:
    """Return a name from each of its words on."""
    words = name.split(" ")
    for index in range(len(words)):
        yield " ".join(words[index:])


def _folded(name: str) -> str:
    """Return a name for comparison: in any case, and however its accents are coded."""
    return unicodedata.normalize("NFC", name).casefold()


def _spellings(name: str) -> set[str]:
    """Return how a name may be written by who does not find the keys: without accents, and as Germans write theirs."""
    folded = _folded(name)
    bare = "".join(char for char in unicodedata.normalize("NFD", folded) if not unicodedata.combining(char))
    return {folded, bare, "".join(_UMLAUTS.get(char, char) for char in folded)}
