"""Texts and names on their way into a SIP message, and out of one. Pure."""

from __future__ import annotations

import codecs
import email.message
import html
import re
import unicodedata
from typing import Final

#: Longest body of one MESSAGE, in bytes of UTF-8. RFC 3261 section 18.1.1 wants TCP above 1300 bytes of UDP, for the
#: sake of networks that lose fragments; Asterisk 22 took 3900 bytes whole by UDP, and cuts what goes through its
#: variables at 4096.
MAX_BODY: Final = 3000
#: Longest name of a speaker, in characters: a phone's display shows some twenty.
MAX_NAME: Final = 64
#: How far back from the limit a text may be cut for the sake of a line's or a word's end, as a part of the limit.
_LOOK_BACK: Final = 0.5
#: Room for the number of a part: "(99/99) ".
_NUMBER_BYTES: Final = 16

#: Cannot stand in a quoted string (RFC 3261 section 25.1), would end it, or turn round what stands beside it on a
#: display (the marks of writing direction). A name with a quote in it makes Asterisk 22 send broken SIP.
_NO_NAME = re.compile(
    '[\x00-\x1f\x7f-\x9f"\\\\<>\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]'
)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BLANKS = re.compile(r"\s+")
#: Elements whose text is no text for people, and those that begin a line.
_UNSEEN = frozenset({"head", "script", "style", "title"})
#: What is no text in HTML: comments, tags, declarations. The parser of the standard library takes 45 s for 60 kB of
#: unfinished tags (Python 3.11); here nothing is looked at twice: `*+` and `++` never give back what they have taken.
_MARKUP = re.compile(
    r"""<!--.*?(?:-->|\Z)
    | <(?P<closes>/?)(?P<name>[a-z][a-z0-9]*+)(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>
    | <[!?][^<>]*+>""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_LINES = frozenset({"br", "div", "p", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre"})


def display_name(name: str) -> str:
    """Return ``name`` as it may stand in quotes in a From header, "" if nothing is left of it.

    It is the one way of a name into a SIP message.
    """
    clean = _BLANKS.sub(" ", _NO_NAME.sub(" ", name)).strip()
    return clean[:MAX_NAME].rstrip()


def heard_name(name: str) -> str:
    """Return the name that a phone gives itself on one line, and not much longer than ours may be."""
    return _BLANKS.sub(" ", _CONTROLS.sub(" ", name)).strip()[: 2 * MAX_NAME]


def split_text(text: str, limit: int = MAX_BODY) -> list[str]:
    """Split a text into parts of ``limit`` bytes of UTF-8 at the most; together they are the text.

    Args:
        text: of any length.
        limit: bytes, 16 at least.

    Returns:
        One part, or several; cut after a line, else after a word, else between two characters that are not joined
        (a letter and its accents, an emoji of several signs) if there are such within half the limit.
    """
    parts = []
    start = 0
    while start < len(text):
        end = _fitting(text, start, limit)
        if end < len(text):
            end = _good_end(text, start, end)
        parts.append(text[start:end])
        start = end
    return parts


def numbered(text: str, limit: int = MAX_BODY) -> list[str]:
    """Return the bodies that a text is sent as: itself, or its parts, each with its number: ``(1/3) ...``.

    Args:
        text: of any length.
        limit: bytes of one body at the most.
    """
    if len(text.encode("utf-8", "replace")) <= limit:
        return [text]
    parts = split_text(text, limit - _NUMBER_BYTES)
    return [f"({number}/{len(parts)}) {part}" for number, part in enumerate(parts, start=1)]


def plain_text(body: bytes, content_type: str) -> str:
    """Return what people read of the body of a MESSAGE.

    Args:
        body: its bytes.
        content_type: its Content-Type header, "" if it has none.

    Returns:
        The text; of HTML, its words; of a message in CPIM (RFC 3862), what is in it; a note of its kind for media, such
        as ``[image/png]``. "" for what programs tell each other (``application/*``: "is typing", conference events).
    """
    kind, charset = _content_type(content_type)
    if kind == "message/cpim":
        kind, charset, body = _cpim(body)
    main = kind.partition("/")[0]
    if main == "text":
        text = _decode(body, charset).replace("\r\n", "\n").replace("\r", "\n")
        return (_html_words(text) if kind == "text/html" else text).strip("\n\x00")
    return "" if main in ("application", "message") else f"[{kind}]"


def _fitting(text: str, start: int, limit: int) -> int:
    """Return where the longest part from ``start`` that fits ends."""
    piece = text[start : start + limit]
    if (size := len(piece.encode("utf-8", "replace"))) <= limit:
        return start + len(piece)
    end = start + len(piece)
    while size > limit:
        end -= 1
        size -= len(text[end].encode("utf-8", "replace"))
    return end


def _good_end(text: str, start: int, end: int) -> int:
    earliest = start + max(1, int((end - start) * (1 - _LOOK_BACK)))
    for mark in "\n ":
        if (found := text.rfind(mark, earliest, end)) != -1:
            return found + 1
    for place in range(end, earliest, -1):
        if not _joined(text, place):
            return place
    return end


def _joined(text: str, place: int) -> bool:
    """Tell whether the characters before and after ``place`` are one for the reader."""
    joiner = "\u200d"
    after = text[place]
    return (
        unicodedata.category(after) in ("Mn", "Mc", "Me")
        or joiner in (after, text[place - 1])
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # colours of skin
    )


def _content_type(header: str) -> tuple[str, str]:
    message = email.message.Message()
    message["Content-Type"] = _BLANKS.sub(" ", header)
    try:
        return message.get_content_type(), message.get_content_charset("utf-8")
    except (ValueError, LookupError, UnicodeError):  # parameters of RFC 2231 that make no sense
        return "text/plain", "utf-8"


def _cpim(body: bytes) -> tuple[str, str, bytes]:
    """Return type, character set and body of what a CPIM message holds: headers, blank line, headers, blank line."""
    parts = body.replace(b"\r\n", b"\n").split(b"\n\n", 2)
    if len(parts) < 3:
        return "message/cpim", "utf-8", b""
    found = re.search(rb"(?im)^content-type:(.*)$", parts[1])
    kind, charset = _content_type(found[1].decode("ascii", "replace").strip() if found else "text/plain")
    return kind, charset, parts[2]


def _decode(body: bytes, charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
        # Codecs that make bytes of bytes are none for text, and some of them unpack (zlib).
        return body.decode(name, "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _html_words(text: str) -> str:
    """Return the words of a page; an element that begins a line becomes a line break."""
    found: list[str] = []
    unseen, place = "", 0
    for markup in _MARKUP.finditer(text):
        if not unseen:
            found.append(text[place : markup.start()].replace("\n", " "))
        place = markup.end()
        name, closes = (markup["name"] or "").lower(), bool(markup["closes"])
        if name in _LINES:
            found.append("\n")
        if name in _UNSEEN and not closes and not unseen:
            unseen = name
        elif name == unseen and closes:
            unseen = ""
    if not unseen:
        found.append(text[place:].replace("\n", " "))
    lines = _unescaped("".join(found)).split("\n")
    return "\n".join(line for line in (_BLANKS.sub(" ", line).strip() for line in lines) if line)


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character's number of more than 4300 digits
        return text
