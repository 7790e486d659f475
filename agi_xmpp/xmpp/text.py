"""What a message may hold: texts that would kill the stream are refused before they come near it."""

from __future__ import annotations

import hashlib
import re
from xml.sax.saxutils import escape

from agi_xmpp.errors import BadText

#: Bytes that one character of `AccountSettings.max_body` may take on the wire, on average. Servers count bytes
#: (typically 262,144 for a stanza) and end the connection over more; four are enough for any character of Unicode,
#: while a text of nothing but "&" takes five each ("&amp;").
BYTES_PER_CHARACTER = 4

#: Everything but the characters of XML 1.0 section 2.2. aioxmpp refuses the control characters and lets U+FFFE and
#: U+FFFF through; the server then ends the stream (RFC 6120 section 4.9.3.13, not-well-formed).
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# XML 1.0 section 2.3; the library takes nothing else for a thread.
_NMTOKEN = re.compile(r"[A-Za-z0-9._:-]{1,256}")


def clean_body(text: str, limit: int) -> str:
    """Return ``text`` as it will arrive: line ends are "\\n" (XML 1.0 section 2.11), all else is unchanged.

    Args:
        text: a message's body.
        limit: characters at the most (`AccountSettings.max_body`).

    Raises:
        BadText: it is empty, too long, or holds a character that XML cannot carry.
    """
    if not text:
        raise BadText("the text is empty")
    if match := FORBIDDEN.search(text):
        point = ord(match.group())
        raise BadText(f"character {match.start() + 1} of the text is U+{point:04X}, which XMPP cannot carry")
    body = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(body) > limit:
        raise BadText(f"the text has {len(body)} characters; max_body allows {limit}")
    size, most = len(escape(body).encode()), limit * BYTES_PER_CHARACTER
    if size > most:
        raise BadText(f"the text takes {size} bytes in XML; max_body = {limit} allows {most}")
    return body


def clean_status(text: str) -> str:
    """Return ``text`` without the characters that XML cannot carry; for words that nobody waits for."""
    return FORBIDDEN.sub("", text)


def thread_id(name: str) -> str:
    """Return what stands in ``<thread/>`` for ``name``: itself if XML and the library allow, else a digest of it."""
    if not name or _NMTOKEN.fullmatch(name):
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
