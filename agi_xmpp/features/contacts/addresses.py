"""Numbers and mail addresses made comparable, from the URIs of address books. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from agi_xmpp.features.phone.book.number import Number, read

#: Longest mail address (RFC 5321 section 4.5.3.1.3, less the angle brackets).
MAX_MAIL = 254

_MAIL = re.compile(r"[^\s@<>,;:\"\x00-\x1f\x7f]+@[^\s@<>,;:\"\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A number or a mail address; exactly one of the two is set.

    Attributes:
        number: as it was read.
        mail: in small letters: nobody has two mailboxes that differ in case only.
    """

    number: Number | None = None
    mail: str = ""

    @property
    def uri(self) -> str:
        """The same for all ways to write the address; international where it can be."""
        return f"mailto:{self.mail}" if self.number is None else f"tel:{self.number.best}"

    @property
    def is_global(self) -> bool:
        """True if it means the same everywhere. An extension does not: in another house it is somebody else's."""
        return self.number is None or bool(self.number.e164)


def from_uri(uri: str, country: str = "") -> Address | None:
    """Read a ``tel:`` (RFC 3966) or ``mailto:`` URI (RFC 6068).

    Args:
        uri: as it stood in somebody's address book. Numbers without ``+`` are taken, though RFC 3966 wants a context.
        country: ISO 3166 letters of where a number without country code belongs to.

    Returns:
        None for other schemes, what is no number or address, and for what is not comparable: a number within another
        house (``phone-context=example.com``) or behind a switchboard (``ext=``).
    """
    scheme, _, rest = uri.partition(":")
    try:
        rest = unquote(rest, errors="strict")
    except UnicodeDecodeError:
        return None
    match scheme.lower():
        case "tel":
            return _from_tel(rest, country)
        case "mailto":
            return from_mail(rest.partition("?")[0])
        case _:
            return None


def from_number(text: str, country: str = "") -> Address | None:
    """Read a number as people write it; None if it is none."""
    number = read(text, country)
    return None if number is None else Address(number)


def from_mail(text: str) -> Address | None:
    """Read a mail address; None if it is none."""
    mail = text.strip().casefold()
    return Address(mail=mail) if len(mail) <= MAX_MAIL and _MAIL.fullmatch(mail) else None


def _from_tel(text: str, country: str) -> Address | None:
    number, *parameters = text.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.lower() in ("ext", "isub"):
            return None
        if name.lower() == "phone-context":
            if not value.startswith("+"):
                return None
            if not number.strip().startswith("+"):
                number = value + number
    return from_number(number, country)
