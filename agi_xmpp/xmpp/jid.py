"""Jabber IDs: from text to `Jid`, and to and from the library's own class.

The preparation is that of RFC 6122 (stringprep), which is what aioxmpp and most servers do. Unassigned code points are
let through, because clients put emoji into their resources and the library lets them through on the way in: both ways
must prepare alike, or an address would not equal itself.
"""

from __future__ import annotations

import re

import aioxmpp

from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp.model import Jid

#: Longest address worth preparing, in characters: three parts of 1023 bytes (RFC 7622 section 3) and two separators.
MAX_LENGTH = 3 * 1023 + 2

# RFC 7622 section 3.2 asks for a host name, an IPv4 address or an IPv6 address in brackets. The library lets blanks,
# line ends and a second "@" through.
_LABEL = r"""[^\s\x00-\x20\x7f"&'/:<>@\[\].]+"""
_DOMAIN = re.compile(rf"\[[0-9A-Fa-f:.]+\]|{_LABEL}(\.{_LABEL})*")


def parse(text: str) -> Jid:
    """Return the prepared Jabber ID that ``text`` is: ``[local@]domain[/resource]``.

    Raises:
        BadJid: it is none; one sentence says why.
    """
    if not text:
        raise BadJid("the Jabber ID is empty")
    if len(text) > MAX_LENGTH:
        raise BadJid(f"a Jabber ID of {len(text)} characters is too long (at most 1023 bytes for each part)")
    bare, slash, resource = text.partition("/")
    local, at, domain = bare.rpartition("@")
    domain = domain.removesuffix(".")  # RFC 7622 section 3.2: the dot of a fully qualified name is not part of it
    if not domain:
        raise BadJid(f"{text!r} is not a Jabber ID: there is no domain behind the @")
    if not _DOMAIN.fullmatch(domain):
        raise BadJid(f"{text!r} is not a Jabber ID: {domain!r} is not a domain")
    if at and not local:
        raise BadJid(f"{text!r} is not a Jabber ID: there is nothing before the @")
    if slash and not resource:
        raise BadJid(f"{text!r} is not a Jabber ID: there is no resource behind the /")
    try:
        jid = inward(aioxmpp.JID(local or None, _unicode_domain(domain), resource or None, strict=False))
    except (ValueError, UnicodeError) as error:
        raise BadJid(f"{text!r} is not a Jabber ID: {_reason(error)}") from None
    # Preparing turns some characters into blanks, dots and the letters of "xn--".
    if not _DOMAIN.fullmatch(jid.domain) or "xn--" in jid.domain:
        raise BadJid(f"{text!r} is not a Jabber ID: {jid.domain!r} is not a domain")
    return jid


def inward(jid: aioxmpp.JID) -> Jid:
    """Return the library's address as ours."""
    return Jid(jid.localpart or "", jid.domain, jid.resource or "")


def outward(jid: Jid) -> aioxmpp.JID:
    """Return our address as the library's."""
    return aioxmpp.JID(jid.local or None, jid.domain, jid.resource or None, strict=False)


def _unicode_domain(domain: str) -> str:
    """Turn ``xn--`` labels into what they stand for, which is how XMPP compares domains (RFC 7622 section 3.2)."""
    if "xn--" not in domain.lower():
        return domain
    return domain.encode("ascii").decode("idna")


def _reason(error: ValueError) -> str:
    """Return the library's complaint in the words of an administrator."""
    text = str(error)
    if match := re.search(r"U\+([0-9a-fA-F]+)", text):
        point = int(match.group(1), 16)
        shown = f"{chr(point)!r} " if chr(point).isprintable() else ""
        return f"the character {shown}(U+{point:04X}) is not allowed there"
    if isinstance(error, UnicodeError):
        return "its domain is not a valid internationalised name"
    return text.replace("localpart", "the part before the @")
