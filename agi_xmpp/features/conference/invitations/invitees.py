"""Whose phone is meant by an invitation, and whether who invites may have it called. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import Refused
from agi_xmpp.features.phone import numbers
from agi_xmpp.features.phone.people import People, Person, escape, unescape
from agi_xmpp.xmpp.model import Jid


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone that can be called into a conference.

    Attributes:
        name: whose it is, or the number.
        number: what is dialled to reach it.
        devices: what Asterisk calls, such as ``PJSIP/103`` or ``Local/0301234567@internal/n``: the first one that can
            be reached.
        local: of the address at the phones' domain, escaped (XEP-0106).
    """

    name: str
    number: str
    devices: tuple[str, ...]
    local: str


class Invitees:
    """The phones of an installation.

    Args:
        settings: ``[phone]``; None: there is no user map, and no phone can be invited.
        people: its user map.
    """

    def __init__(self, settings: PhoneSettings | None, people: People | None) -> None:
        self.apply(settings, people)

    def apply(self, settings: PhoneSettings | None, people: People | None) -> None:
        """Use other settings from now on; arguments as of the class."""
        self._people = people
        self._context = settings.context if settings is not None else ""
        self._dial = tuple(settings.dial) if settings is not None else ()

    def by_address(self, local: str, patterns: Sequence[str] = ()) -> Phone:
        """Return the phone that an address at the phones' domain means.

        Args:
            local: the part before the ``@``: a phone contact, an extension, or a number.
            patterns: of the numbers that may be dialled besides the extensions of the user map.

        Raises:
            Refused: there is no such phone, or it must not be called.
        """
        if self._people is None:
            raise Refused("No phones are known here that could be invited.", "item-not-found")
        text = unescape(local)
        person = self._people.by_contact(local) or self._people.by_extension(text)
        if person is not None:
            return _of_person(person)
        number = numbers.clean(text)
        if (person := self._people.by_extension(number)) is not None:
            return _of_person(person)
        if not any(char.isdecimal() for char in number):
            raise Refused(f"Nobody with a phone is called “{numbers.plain(text)}”.", "item-not-found")
        if not numbers.allowed(number, (), patterns):
            raise Refused(f"You may not call {number}.", "forbidden")
        return Phone(number, number, (f"Local/{number}@{self._context}/n",), escape(number))

    def by_name(self, text: str) -> Phone | None:
        """Return the phone of whom somebody names: by extension, address or name; None if it is nobody's.

        Raises:
            Refused: several people are called so; the text lists them.
        """
        person = self._people.find(text) if self._people is not None else None
        return _of_person(person) if person is not None else None

    def patterns_of(self, who: Jid | None) -> Sequence[str]:
        """Return what somebody in chat may dial besides extensions: nothing if they are not in the user map.

        Args:
            who: None for the dialplan, which may what everybody may.
        """
        if who is None:
            return self._dial
        person = self._people.by_jid(who) if self._people is not None else None
        return person.dial if person is not None else ()


def _of_person(person: Person) -> Phone:
    return Phone(person.name, person.extension, person.devices, person.local)
