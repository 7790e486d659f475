"""Which phone has written a text: what the leg hears, matched with copies of what phones have sent. Pure.

A text that ConfBridge passes on has no mark of its sender but the name that the sender gave. The copy of the sender's
own packet has the call: its Call-ID and both tags, which Asterisk tells for each channel. Only Asterisk and that phone
know them.

The copy may come before the text that is heard, or a moment later; then the text waits, and all that are heard after it
in this conference.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Final

from agi_xmpp.sip.hep import SentText

#: Seconds that a text waits for its copy. Asterisk sends the copy before it hands the text on.
WAIT: Final = 0.3
#: Seconds for which a copy waits for its text: more than the leg may hold a text back for the sake of the order
#: (`agi_xmpp.sip.call.GAP_WAIT`), and than Asterisk's first tries to send it.
KEEP: Final = 6.0
#: Copies of one phone, and of calls that are not known (yet), that wait for their text.
MAX_COPIES: Final = 500
MAX_STRAYS: Final = 1000
#: Texts of one conference that wait for their copies.
MAX_HEARD: Final = 1000


@dataclass(frozen=True, slots=True)
class CallKey:
    """What tells one call from all others (RFC 3261 section 12).

    Attributes:
        call_id: Call-ID.
        phone_tag, asterisk_tag: of the two ends. They also tell who of the two has sent something.
    """

    call_id: str
    phone_tag: str
    asterisk_tag: str


@dataclass(frozen=True, slots=True)
class _Words:
    """A name and a text, in little room: copies of hostile length must not add up."""

    display: str
    text: bytes


@dataclass(slots=True)
class _Phone:
    """A phone in a conference whose call is known.

    Attributes:
        number: the conference's.
        channel: of the phone.
        name: the caller's.
        copies: what it has sent and was not heard yet, and when that came.
        last: the highest CSeq: pjsip takes nothing below it, so a copy with the same is one of a repetition.
    """

    number: str
    channel: str
    name: str
    copies: deque[tuple[_Words, float]] = field(default_factory=deque)
    last: int = -1


@dataclass(frozen=True, slots=True)
class _Stray:
    """What was sent in a call that is not known (yet)."""

    call: CallKey
    sequence: int
    words: _Words
    came: float


@dataclass(frozen=True, slots=True)
class _Heard:
    display: str
    text: str
    words: _Words
    until: float


class Senders:
    """The senders of the texts of all conferences.

    Args:
        tell: gets each text: the conference's number, display, text, and the sender's channel; "" if that is not known.
        clock: seconds, never fewer than before.
    """

    def __init__(self, tell: Callable[[str, str, str, str], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._phones: dict[CallKey, _Phone] = {}
        self._strays: deque[_Stray] = deque(maxlen=MAX_STRAYS)
        self._heard: dict[str, deque[_Heard]] = {}

    def joined(self, number: str, channel: str, name: str, call: CallKey) -> None:
        """Take which call a phone in a conference has, and the caller's name; also when that has changed."""
        phone = self._phones.get(call)
        if phone is not None and (phone.number, phone.channel) == (number, channel):
            phone.name = name
            return
        phone = self._phones[call] = _Phone(number, channel, name)
        strays, self._strays = self._strays, deque(maxlen=MAX_STRAYS)
        for stray in strays:
            if stray.call == call:
                _add(phone, stray.sequence, stray.words, stray.came)
            else:
                self._strays.append(stray)
        self._settle(number)

    def left(self, number: str, channel: str) -> None:
        """Forget a phone. What it has written and was not heard yet is nobody's."""
        for call, phone in list(self._phones.items()):
            if (phone.number, phone.channel) == (number, channel):
                del self._phones[call]

    def sent(self, text: SentText) -> None:
        """Take the copy of a text that somebody has sent: a phone, or Asterisk itself."""
        call, words = CallKey(text.call_id, text.sender_tag, text.receiver_tag), _words(text.display, text.text)
        phone = self._phones.get(call)
        if phone is not None:
            _add(phone, text.sequence, words, self._clock())
            self._settle(phone.number)
        elif CallKey(text.call_id, text.receiver_tag, text.sender_tag) not in self._phones:
            self._strays.append(_Stray(call, text.sequence, words, self._clock()))

    def heard(self, number: str, display: str, text: str) -> None:
        """Take a text that the leg has heard."""
        texts = self._heard.setdefault(number, deque())
        if len(texts) >= MAX_HEARD:
            self._release(number, texts.popleft(), "")
        texts.append(_Heard(display, text, _words(display, text), self._clock() + WAIT))
        self._settle(number)

    def forget(self, number: str) -> None:
        """Let go of a conference's texts that wait: nobody in chat listens any more."""
        self._heard.pop(number, None)

    def give_up(self) -> None:
        """Tell the texts that wait for their copies: there will be none."""
        for number, texts in list(self._heard.items()):
            while texts:
                self._release(number, texts.popleft(), "")
        self._heard.clear()

    def wake_at(self) -> float | None:
        """Return when `run_timers` is to be called next, by the clock; None if nothing is to come."""
        return min((texts[0].until for texts in self._heard.values()), default=None)

    def run_timers(self) -> None:
        """Let go of the texts that have waited long enough."""
        for number in list(self._heard):
            self._settle(number)

    def _settle(self, number: str) -> None:
        """Tell the texts whose sender is known, and those that have waited long enough; in the order they came."""
        texts = self._heard.get(number)
        while texts:
            channel = self._sender(number, texts)
            if not channel and texts[0].until > self._clock():
                return
            self._release(number, texts.popleft(), channel)
        self._heard.pop(number, None)

    def _release(self, number: str, heard: _Heard, channel: str) -> None:
        self._tell(number, heard.display, heard.text, channel)

    def _sender(self, number: str, texts: deque[_Heard]) -> str:
        """Return whose the first of the texts is, and take its copy; "" if that is not certain (yet)."""
        words = texts[0].words
        found = [(copy[1], phone, copy) for phone in self._of(number) for copy in phone.copies if copy[0] == words]
        several = len({phone.channel for _, phone, _ in found}) > 1
        # Where several have written the same under one name, all of them were heard, or nobody knows which.
        if not found or (several and sum(heard.words == words for heard in texts) < len(found)):
            return ""
        _, phone, copy = min(found, key=itemgetter(0))
        phone.copies.remove(copy)
        return phone.channel

    def _of(self, number: str) -> Iterator[_Phone]:
        """Return the phones of a conference, without the copies that are too old."""
        oldest = self._clock() - KEEP
        for phone in self._phones.values():
            if phone.number == number:
                while phone.copies and phone.copies[0][1] < oldest:
                    phone.copies.popleft()
                yield phone


def _add(phone: _Phone, sequence: int, words: _Words, came: float) -> None:
    if sequence <= phone.last:
        return
    phone.last = sequence
    if len(phone.copies) >= MAX_COPIES:
        phone.copies.popleft()
    # To a text without a name Asterisk adds the caller's.
    phone.copies.append((words if words.display else replace(words, display=phone.name), came))


def _words(display: str, text: str) -> _Words:
    return _Words(display, hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
