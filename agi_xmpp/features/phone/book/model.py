"""What the phone book knows of somebody, and what a source of it is. Pure.

Names and links end up in chat windows, and come from wherever the administrator's contacts come from: they are cleaned
here, for all sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from agi_xmpp.errors import AgiXmppError
from agi_xmpp.features.phone.book.number import Number

#: Characters of a name or company: what a line of a chat window shows.
MAX_TEXT = 200
#: Characters of a link. Longer ones are dropped: half a link leads somewhere else.
MAX_LINK = 2000

#: Controls (they break lines and terminals), marks of direction (they show text other than it is written), half
#: characters and non-characters (XML cannot carry them).
_UNWANTED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\uffff]"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody in the phone book. Make it with `entry`.

    Attributes:
        name: of the person, or of the company if no person is named; never empty.
        company: may be empty, as all that follows.
        link: http or https: the customer's page, for instance.
        avatar: http or https address of a picture.
        source: which source said so, for people: ``file contacts.csv``.
    """

    name: str
    company: str = ""
    link: str = ""
    avatar: str = ""
    source: str = ""


class SourceError(AgiXmppError):
    """A source could not be asked, or its answer makes no sense; the text names the source and the reason.

    Attributes:
        found: what it knows all the same, such as from before.
    """

    def __init__(self, message: str, found: Entry | None = None) -> None:
        super().__init__(message)
        self.found = found


class Source(Protocol):
    """Where entries come from."""

    @property
    def name(self) -> str:
        """For logs and reports."""

    async def find(self, number: Number) -> Entry | None:
        """Look a number up; None if the source does not know it.

        Cancelling it ends what it has started. It knows no deadline of its own.

        Raises:
            SourceError: it cannot say.
        """

    async def stop(self) -> None:
        """Let go of what it holds."""


def entry(*, name: str, company: str = "", link: str = "", avatar: str = "", source: str = "") -> Entry | None:
    """Make an entry of what a source says; None if it names neither a person nor a company."""
    name, company = clean_text(name), clean_text(company)
    if not name:
        name, company = company, ""
    if not name:
        return None
    return Entry(name, company, clean_link(link), clean_link(avatar), source)


def clean_text(text: str) -> str:
    """Return a text as one line without controls, of `MAX_TEXT` characters at the most."""
    text = " ".join(_UNWANTED.sub(" ", text).split())
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def clean_link(text: str) -> str:
    """Return a link as it is; or nothing, if it is not one of http or https that can be shown whole and safely."""
    text = text.strip()
    if not text or len(text) > MAX_LINK or re.search(r'[\s<>"\\^`{|}]', text) or _UNWANTED.search(text):
        return ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:  # such as "http://[::1"
        return ""
    return text if usable else ""
