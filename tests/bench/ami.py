"""What an event of Asterisk's manager interface costs: our parser and call model beside pyst2's parser, in one run.

The events are those of the recorded scenes (tests/unit/ami), as bytes with the headers that Asterisk always sends, over
and over. What the call model costs is shown for an office of a thousand people, most of whose phones are quiet: that
is what a service listens to all day. Of pyst2 only the parsing is measured, not the threads that it comes with.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from agi_xmpp.ami.calls import Calls
from agi_xmpp.ami.wire import AmiParser
from tests.unit.ami.recordings import everything

ROUNDS = 5
EVENTS = 20_000
PEOPLE = 1000
#: Bytes of a read from the socket.
CHUNK = 4096
#: Headers of a channel that the recordings leave out, because they say nothing there.
_ALWAYS = {
    "Privilege": "call,all",
    "Language": "en",
    "AccountCode": "",
    "Priority": "1",
    "ChannelState": "6",
    "EffectiveConnectedLineNum": "<unknown>",
}


def _events() -> list[Mapping[str, str]]:
    """Return enough events; in each turn of the recordings the channels are others."""
    scenes = list(everything().values())
    events: list[Mapping[str, str]] = []
    for turn in itertools.count():
        for scene in scenes:
            for _at, event in scene.events:
                ids = {key: f"{value}.{turn}" for key, value in event.items() if key.endswith(("niqueid", "inkedid"))}
                events.append({"Event": event["Event"], **_ALWAYS, **event, **ids})
                if len(events) == EVENTS:
                    return events
    raise AssertionError


def _bytes(events: Sequence[Mapping[str, str]]) -> list[bytes]:
    text = "".join("".join(f"{key}: {value}\r\n" for key, value in event.items()) + "\r\n" for event in events)
    data = b"Asterisk Call Manager/11.0.0\r\n" + text.encode()
    return [data[place : place + CHUNK] for place in range(0, len(data), CHUNK)]


def _ours(chunks: Sequence[bytes], take: Callable[[Mapping[str, str]], object]) -> None:
    parser, count = AmiParser(), 0
    for chunk in chunks:
        parser.receive_data(chunk)
        while (message := parser.next_message()) is not None:
            take(message)
            count += 1
    assert count == EVENTS


def _names(chunks: Sequence[bytes]) -> None:
    _ours(chunks, lambda message: message["Event"])


def _all_headers(chunks: Sequence[bytes]) -> None:
    _ours(chunks, dict)


def _calls(chunks: Sequence[bytes]) -> None:
    # 101 … 105 are the phones of the recordings.
    owners = {f"PJSIP/{number}": f"user{number}@example.org" for number in range(101, 101 + PEOPLE)}
    calls = Calls(lambda device: owners.get(device, ""), time.monotonic)
    _ours(chunks, calls.feed)


def _pyst2(chunks: Sequence[bytes]) -> None:
    """As its thread does it: line by line, and a message object for each blank line."""
    from asterisk.manager import ManagerMsg

    lines: list[str] = []
    count = 0
    rest = ""
    for chunk in chunks:
        *whole, rest = (rest + chunk.decode(errors="replace")).split("\r\n")
        for line in whole:
            if line:
                lines.append(line + "\r\n")
            elif lines:
                ManagerMsg(lines)
                lines = []
                count += 1
    assert count == EVENTS


PARTS: Mapping[str, Callable[[Sequence[bytes]], None]] = {
    "agi-xmpp, the event's name": _names,
    "agi-xmpp, all headers": _all_headers,
    f"agi-xmpp, calls of {PEOPLE} people": _calls,
    "pyst2's parser, all headers": _pyst2,
}


def main() -> None:
    """Measure, and print a table."""
    chunks = _bytes(_events())
    results: dict[str, list[float]] = {name: [] for name in PARTS}
    for _ in range(ROUNDS):
        for name, part in PARTS.items():
            before = time.process_time()
            part(chunks)
            results[name].append(time.process_time() - before)
    size = sum(map(len, chunks)) / EVENTS
    print(f"{EVENTS} manager events of {size:.0f} bytes, median of {ROUNDS} rounds")
    print(f"{'reader':<32} {'CPU µs/event':>13} {'ratio':>6}")
    base = 0.0
    for name, rounds in results.items():
        cpu = statistics.median(rounds) / EVENTS * 1e6
        base = base or cpu
        print(f"{name:<32} {cpu:>13.1f} {cpu / base:>6.2f}")
