"""What was said in a room lately, for whoever comes in (XEP-0045 section 7.2.13). Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Archived

#: Characters of all messages at the most, so that long ones do not fill the memory of a house with many rooms.
MAX_WEIGHT = 1_000_000

#: Longest number that is read in a request: nobody means more.
_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """What somebody who joins wants to see; None where they do not say.

    Attributes:
        stanzas: messages at the most.
        characters: of XML at the most, over all messages.
        seconds: age at the most.
        since: moment before which nothing is wanted.
    """

    stanzas: int | None = None
    characters: int | None = None
    seconds: int | None = None
    since: datetime | None = None


def requested(join: Element) -> HistoryRequest:
    """Return what a presence that joins asks for. What is no number or no moment (XEP-0082) counts as not said."""
    element = join.find(f"{{{stanzas.MUC}}}x/{{{stanzas.MUC}}}history")
    if element is None:
        return HistoryRequest()
    return HistoryRequest(
        stanzas=_number(element.get("maxstanzas")),
        characters=_number(element.get("maxchars")),
        seconds=_number(element.get("seconds")),
        since=stanzas.moment(element.get("since", "")),
    )


class History:
    """The last messages of a room.

    Args:
        length: messages at the most.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._kept: deque[tuple[Archived, int]] = deque()
        self._weight = 0

    def __iter__(self) -> Iterator[Archived]:
        return (message for message, _ in self._kept)

    @property
    def weight(self) -> int:
        """About how many characters all messages have."""
        return self._weight

    def add(self, message: Archived) -> None:
        """Keep a message; the oldest ones go if there are too many."""
        weight = stanzas.weight(message.stanza)
        self._kept.append((message, weight))
        self._weight += weight
        self._cut()

    def resize(self, length: int) -> None:
        """Keep that many messages at the most from now on."""
        self._length = length
        self._cut()

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._weight = 0

    def select(self, request: HistoryRequest, now: datetime) -> Sequence[Archived]:
        """Return the messages that somebody gets, the oldest first."""
        since = request.since
        if request.seconds is not None:
            earliest = now - timedelta(seconds=request.seconds)
            since = earliest if since is None else max(since, earliest)
        chosen: deque[Archived] = deque()
        characters = 0
        for message, weight in reversed(self._kept):
            characters += weight
            too_many = request.stanzas is not None and len(chosen) >= request.stanzas
            too_long = request.characters is not None and characters > request.characters
            if too_many or too_long or (since is not None and message.stamp < since):
                break
            chosen.appendleft(message)
        return chosen

    def _cut(self) -> None:
        while self._kept and (len(self._kept) > self._length or self._weight > MAX_WEIGHT):
            self._weight -= self._kept.popleft()[1]


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        return None
    return int(text)
