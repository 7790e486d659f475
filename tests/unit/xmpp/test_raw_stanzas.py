"""Who gets a component's stanzas, and when. On the wire: test_component_link.py."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.raw_stanzas import RawStanzas, Recorder

OWN = "agi@phone.fake.test/agi-xmpp"


class Wire:
    """Notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.error: Exception | None = None

    def send_bytes(self, data: bytes) -> None:
        if self.error:
            raise self.error
        self.done.append(data)

    def offer_waiting(self) -> None:
        self.done.append("offer")


class Host:
    """Notes what it is told."""

    def __init__(self, takes: bool = True) -> None:
        self.told: list[Any] = []
        self.takes = takes
        self.error: Exception | None = None

    def _note(self, what: Any) -> None:
        self.told.append(what)
        if self.error:
            raise self.error

    def stanza_came(self, stanza: Element) -> bool:
        self._note(stanza)
        return self.takes

    def stream_began(self) -> None:
        self._note("began")

    def stream_ended(self) -> None:
        self._note("ended")


@pytest.fixture
def raw() -> RawStanzas:
    return RawStanzas("main", parse(OWN))


def stanza(kind: str = "message", **attributes: str) -> Element:
    return Element(f"{{jabber:client}}{kind}", {key.rstrip("_"): value for key, value in attributes.items()})


def test_a_host_from_the_start_is_told_of_each_stream(raw: RawStanzas) -> None:
    host, wire = Host(), Wire()
    port = raw.serve(host)
    assert (port.domain, port.online, host.told) == ("phone.fake.test", False, [])
    for _ in range(2):
        raw.began(wire)
        assert port.online
        assert wire.done == ["offer"]
        wire.done.clear()
        raw.ended()
        raw.ended()
        assert not port.online
    assert host.told == ["began", "ended"] * 2


async def test_a_host_that_comes_later_has_its_port_when_it_is_told(raw: RawStanzas) -> None:
    host, wire = Host(), Wire()
    raw.began(wire)
    port = raw.serve(host)
    assert (host.told, port.online, raw.deciding) == ([], False, False)
    await asyncio.sleep(0)
    assert (host.told, port.online, raw.deciding) == (["began"], True, True)
    assert wire.done == ["offer"] * 2


async def test_a_host_that_comes_later_is_told_once_and_only_of_a_stream_that_stands(raw: RawStanzas) -> None:
    early, host = Host(), Host()
    raw.began(Wire())
    raw.serve(early)
    raw.serve(host)
    await asyncio.sleep(0)
    assert (early.told, host.told) == ([], ["began"])
    other = Host()
    raw.serve(other)
    raw.ended()
    await asyncio.sleep(0)
    assert (other.told, host.told) == ([], ["began"])


async def test_without_a_host_all_is_left(raw: RawStanzas) -> None:
    def state() -> tuple[bool, bool]:
        return raw.recording, raw.deciding

    assert state() == (False, True)
    host = Host()
    raw.serve(host)
    assert state() == (True, False)
    raw.began(Wire())
    assert state() == (True, True)
    raw.serve(None)
    assert state() == (False, True)
    assert not raw.offer(stanza())
    await asyncio.sleep(0)
    raw.ended()
    assert host.told == ["began"]


@pytest.mark.parametrize("takes", [True, False])
def test_the_host_says_what_it_takes(raw: RawStanzas, takes: bool) -> None:
    host = Host(takes)
    raw.serve(host)
    raw.began(Wire())
    one = stanza()
    assert raw.offer(one) is takes
    assert host.told == ["began", one]


@pytest.mark.parametrize(
    ("one", "offered"),
    [
        (stanza("iq", type="get", from_=OWN, to="phone.fake.test"), False),  # our ping, on its way back to us
        (stanza("iq", type="result", from_="phone.fake.test", to=OWN), False),
        (stanza("iq", type="error", from_="phone.fake.test", to=OWN), False),
        (stanza("iq", type="get", from_="bob@fake.test/x", to=OWN), True),
        (stanza("iq", type="result", from_="bob@fake.test/x", to="6000@phone.fake.test"), True),
        (stanza("message", type="error", from_="phone.fake.test", to=OWN), True),
    ],
)
def test_what_answers_the_session_s_own_requests_stays_with_it(raw: RawStanzas, one: Element, offered: bool) -> None:
    raw.serve(Host())
    raw.began(Wire())
    assert raw.offer(one) is offered


def test_what_a_host_raises_is_logged_and_ends_nothing(raw: RawStanzas, caplog: pytest.LogCaptureFixture) -> None:
    host, wire = Host(), Wire()
    host.error = RuntimeError("a fault of the host")
    raw.serve(host)
    raw.began(wire)
    assert wire.done == ["offer"]
    assert not raw.offer(stanza(from_="bob@fake.test"))
    raw.ended()
    assert len(host.told) == 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert all(record.exc_info for record in caplog.records)
    assert "bob@fake.test" in caplog.text


def test_sending(raw: RawStanzas) -> None:
    wire = Wire()
    with pytest.raises(NotConnected, match="account main is not connected"):
        raw.send(stanza())
    raw.began(wire)
    raw.send(stanza(to="bob@fake.test"))
    assert wire.done == ["offer", b'<message to="bob@fake.test"/>']
    wire.error = ConnectionResetError("the stream has ended")
    with pytest.raises(NotConnected, match="account main is not connected: the stream has ended"):
        raw.send(stanza())
    raw.ended()
    with pytest.raises(NotConnected):
        raw.send(stanza())


@pytest.mark.parametrize("tag", ["message", "{urn:x}message", "{jabber:client}stream", "{jabber:client}body"])
def test_only_stanzas_are_sent(raw: RawStanzas, tag: str) -> None:
    wire = Wire()
    raw.began(wire)
    with pytest.raises(ValueError, match="is no stanza"):
        raw.send(Element(tag))
    assert wire.done == ["offer"]


def test_what_cannot_be_written_is_not_sent(raw: RawStanzas) -> None:
    wire = Wire()
    raw.began(wire)
    with pytest.raises(ValueError, match="cannot carry"):
        raw.send(stanza(id="\0"))
    assert wire.done == ["offer"]


class Processor:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.told.append((name, *arguments))


def test_what_is_left_is_told_as_it_came() -> None:
    recorder, processor = Recorder("bob@fake.test"), Processor()
    name, attributes = ("jabber:client", "message"), {("urn:x", "a"): "1", (None, "to"): "x"}
    recorder.start(name, "q", attributes)
    recorder.text("a")
    recorder.text("b")
    assert recorder.end(name, "q")
    assert recorder.built.stanza is not None
    recorder.built.stanza.clear()  # a host may
    recorder.replay(processor)
    assert processor.told == [
        ("startElementNS", name, "q", attributes),
        ("characters", "a"),
        ("characters", "b"),
        ("endElementNS", name, "q"),
    ]


def test_nothing_is_kept_of_what_is_too_deep(raw: RawStanzas, caplog: pytest.LogCaptureFixture) -> None:
    recorder, processor = Recorder("eve@fake.test"), Processor()
    for _ in range(1000):
        recorder.start((None, "a"), "", {})
    for level in range(1000):
        assert recorder.end((None, "a"), "") is (level == 999)
    recorder.replay(processor)
    assert processor.told == []
    raw.dropped(recorder)
    assert caplog.messages == ["account main: a stanza of 'eve@fake.test' was dropped: it has more than 200 levels"]
