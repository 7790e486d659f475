"""Telephone numbers made comparable. Pure.

The same phone is ``030/123 45-67`` in a book, ``+49301234567`` from one trunk and ``49301234567`` from another. Which
digits belong to a country code, and which numbers a country has, is the business of `phonenumbers` (Google's tables of
the world's numbering plans).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import phonenumbers

#: Longest text that can be a number, separators included. A longer one is no number, and costs no time.
MAX_TEXT = 64
#: Digits of an E.164 number at the most (ITU-T E.164 section 6.1).
MAX_E164 = 15
#: Shorter numbers without ``+`` are extensions and short codes (``110``, ``116117``): they mean themselves.
MIN_NATIONAL = 7
#: Digits at the end that all ways to write a number have in common: only what stands in front is written or left out
#: (country code, national prefix), and it leaves `MIN_NATIONAL` digits less the national prefix at least.
TAIL = 6

#: What people and programs write between the digits. Google and Apple wrap numbers in invisible marks of direction.
_SEPARATORS = re.compile(r"[\s()\[\]/.\-\u00ad\u061c\u200b\u200e\u200f\u2010-\u2015\u202a-\u202e\u2066-\u2069\ufeff]")
#: ``+49 (0)30``: the national prefix that is not dialled from abroad.
_OPTIONAL_PREFIX = re.compile(r"^(\s*(?:\+|00).*?)\(0\)")


@dataclass(frozen=True, slots=True)
class Number:
    """A number that was read.

    Attributes:
        dialled: as it came, without separators: digits, ``*``, ``#``, and perhaps a ``+`` in front.
        e164: with ``+`` and country code; empty if it is none (an extension, a short code, an unknown country).
        national: digits as dialled within the country; ``dialled`` if there is no ``e164``.
    """

    dialled: str
    e164: str = ""
    national: str = ""

    @property
    def best(self) -> str:
        """The international form if there is one. It never begins with ``-``, nor has anything but digits, + * #."""
        return self.e164 or self.dialled

    @property
    def keys(self) -> tuple[str, ...]:
        """What two numbers have in common if they are the same: the digits of the E.164 form, and those dialled."""
        international, dialled = self.e164.lstrip("+"), self.dialled.lstrip("+")
        return (dialled,) if international in ("", dialled) else (international, dialled)

    @property
    def tails(self) -> set[str]:
        """The ends of its forms: what `tail` says of every way to write it."""
        return {tail(form) for form in (self.dialled, self.best)}


def is_country(letters: str) -> bool:
    """Tell whether a country is known; ``UK`` is not, ``GB`` is."""
    return letters in phonenumbers.SUPPORTED_REGIONS


def clean(text: str) -> str:
    """Return a number without separators: digits, ``*``, ``#``, and perhaps a ``+`` in front; empty if it is none."""
    if len(text) > MAX_TEXT:
        return ""
    dialled = _SEPARATORS.sub("", _OPTIONAL_PREFIX.sub(r"\1", text))
    return dialled if re.fullmatch(r"(?=.*[0-9])\+?[0-9*#]+", dialled) else ""


def tail(dialled: str) -> str:
    """Return the last `TAIL` characters of a cleaned number. Two that differ there are not the same number."""
    return dialled[-TAIL:]


def read(text: str, country: str = "") -> Number | None:
    """Read a number.

    Args:
        text: from the network or a book, with any usual separators.
        country: ISO 3166 letters of where a number without country code belongs to; without it there is no guess.

    Returns:
        None if it is no number: empty, ``anonymous``, with letters in it, too long.
    """
    dialled = clean(text)
    if not dialled:
        return None
    if re.search("[*#]", dialled) or (len(dialled) < MIN_NATIONAL and not dialled.startswith("+")):
        return Number(dialled, national=dialled)
    try:
        parsed = phonenumbers.parse(dialled, country or None)
    except phonenumbers.NumberParseException:  # no country code and no country, or far too many digits
        return Number(dialled, national=dialled)
    # A number with "+" is meant internationally, even if the tables (older than the newest area code) do not know it.
    if phonenumbers.is_valid_number(parsed) or dialled.startswith("+"):
        e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        if len(e164) <= 1 + MAX_E164:
            national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
            return Number(dialled, e164, re.sub(r"\D", "", national))
    return Number(dialled, national=dialled)
