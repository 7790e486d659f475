"""What a text in a room costs, for each who hears it: our room, and how slixmpp and ElementTree write the same.

The room takes a message with a few foreign children, as Gajim sends it, checks it, gives it an id, keeps it, and writes
it for each of its occupants as bytes. The peers only copy and write it: no more is to be had of them without a server.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, tostring

from slixmpp.xmlstream import tostring as slixmpp_tostring

from agi_xmpp.features.conference.model import RoomConfig, Utterance
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.xmpp.element import serialise
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import FakeOutside, stanza

ROUNDS = 5
TEXTS = 50
PEOPLE = 200

_ROOM = parse("balcony@conference.example.org")
_TEXT = (
    "<message type='groupchat' id='{count}' from='{sender}' to='balcony@conference.example.org'>"
    "<origin-id xmlns='urn:xmpp:sid:0' id='{count}'/><body>Text number {count}, as long as texts are in a chat.</body>"
    "<active xmlns='http://jabber.org/protocol/chatstates'/><markable xmlns='urn:xmpp:chat-markers:0'/></message>"
)


class _World(FakeOutside):
    """Takes all that the room sends as bytes, and all that it says at once. Its clock goes: nobody writes too much."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def send(self, stanza: Element) -> None:
        self.bytes += len(serialise(stanza))

    def say(self, number: str, utterance: Utterance) -> None:
        assert self.room is not None
        self.room.spoken(utterance)

    def now(self) -> datetime:
        self.pass_time(10)
        return self.time.astimezone(UTC)


def _texts() -> list[Element]:
    return [stanza(_TEXT.format(count=count, sender=_client(0))) for count in range(TEXTS)]


def _client(count: int) -> str:
    return f"person{count}@example.org/phone"


def _room(texts: list[Element]) -> Callable[[], None]:
    world = _World()
    room = Room(_ROOM, "6000", RoomConfig("Balcony"), {}, world, key=b"a secret of the house", history=20)
    world.room = room
    for count in range(PEOPLE):
        join = stanza("<presence><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        room.presence_came(join, parse(_client(count)), f"Person {count}")
    assert len(room.occupants) == PEOPLE
    sender = parse(_client(0))

    def run() -> None:
        before = world.bytes
        for text in texts:
            room.message_came(text, sender, "")
        assert world.bytes - before > TEXTS * PEOPLE * 300

    return run


def _peer(texts: list[Element], write: Callable[[Element], object]) -> Callable[[], None]:
    def run() -> None:
        for text in texts:
            for count in range(PEOPLE):
                one = copy.copy(text)
                one.attrib = {**text.attrib, "from": f"{_ROOM}/Person 0", "to": _client(count)}
                write(one)

    return run


def main() -> None:
    """Measure, and print a table."""
    texts = _texts()
    parts: Mapping[str, Callable[[], None]] = {
        "agi-xmpp, the whole room": _room(texts),
        "agi-xmpp, only written": _peer(texts, serialise),
        "slixmpp, only written": _peer(texts, slixmpp_tostring),
        "ElementTree, only written": _peer(texts, tostring),
    }
    results: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS):
        for name, part in parts.items():
            before = time.process_time()
            part()
            results[name].append(time.process_time() - before)
    print(f"{TEXTS} texts to a room of {PEOPLE}, median of {ROUNDS} rounds")
    print(f"{'writer':<32} {'CPU µs/stanza':>13} {'ratio':>6}")
    base = 0.0
    for name, rounds in results.items():
        cpu = statistics.median(rounds) / TEXTS / PEOPLE * 1e6
        base = base or cpu
        print(f"{name:<32} {cpu:>13.1f} {cpu / base:>6.2f}")
