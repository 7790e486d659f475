"""What phones read of a message of chat, and chat of a text of a phone. Pure."""

from __future__ import annotations

import unicodedata
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.room import nicks
from agi_xmpp.xmpp.text import clean_status

ENCRYPTED = "[encrypted message]"

_FALLBACK = "urn:xmpp:fallback:0"
_REPLY = "urn:xmpp:reply:0"
_CORRECTION = "{urn:xmpp:message-correct:0}replace"

#: What says that the body is not what was written: XEP-0380, and the encryptions that came before it or go without it.
_ENCRYPTION = (
    "{urn:xmpp:eme:0}encryption",
    "{eu.siacs.conversations.axolotl}encrypted/{eu.siacs.conversations.axolotl}payload",
    "{urn:xmpp:omemo:2}encrypted/{urn:xmpp:omemo:2}payload",
    "{urn:xmpp:openpgp:0}openpgp",
    "{jabber:x:encrypted}x",
)


def for_phones(message: Element) -> str:
    """Return the text that phones get, "" if there is none: the message is of clients among themselves.

    Corrections (XEP-0308) say so behind the new text, because a phone still shows the old one. A quotation that
    clients of XEP-0461 hide is left out.
    """
    if any(message.find(path) is not None for path in _ENCRYPTION):
        return ENCRYPTED
    text = _without_quotation(message, stanzas.body_of(message)).strip()
    if text and message.find(_CORRECTION) is not None:
        return f"{text} (corrected)"
    return text


def of_subject(speaker: str, subject: str) -> str:
    """Return what phones get when somebody sets the subject, or removes it."""
    return f"{speaker} set the subject: {subject}" if subject.strip() else f"{speaker} removed the subject"


def unproven(display: str, text: str) -> str:
    """Return a text of a phone that nobody else speaks for: the name that it gives itself stands in brackets."""
    name = for_chat(nicks.of_speaker(display))[: nicks.MAX_NICK]
    return marked(f"<{name or nicks.UNKNOWN}>", text)


def marked(mark: str, text: str) -> str:
    """Return a text with who says it in front: also of each line that would look like the beginning of another text."""
    first, *rest = text.splitlines() or [""]
    lines = (f"{mark} {line}" if _begins_like_a_mark(line) else line for line in rest)
    return "\n".join([f"{mark} {first}", *lines])


def _begins_like_a_mark(line: str) -> bool:
    return unicodedata.normalize("NFKC", nicks.shown(line)).startswith(("<", "[", "("))


def for_chat(text: str) -> str:
    """Return a text of a phone as XMPP can carry it: without control characters but line ends and tabs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")
    return clean_status(text).strip()


def _without_quotation(message: Element, body: str) -> str:
    """Leave the part of a body out that only repeats what a reply answers (XEP-0428 section 3)."""
    for fallback in message.iterfind(f"{{{_FALLBACK}}}fallback"):
        part = fallback.find(f"{{{_FALLBACK}}}body")
        if fallback.get("for") != _REPLY or part is None:
            continue
        start, end = (_position(part.get(name), len(body)) for name in ("start", "end"))
        if start is not None and end is not None and start < end:
            rest = body[:start] + body[end:]
            return rest if rest.strip() else body
    return body


def _position(text: str | None, length: int) -> int | None:
    """Return a place in a body, in code points; None if it lies outside, or is no number."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > len(str(length)):
        return None
    position = int(text)
    return position if position <= length else None
