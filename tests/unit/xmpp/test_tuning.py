"""What we change in aioxmpp. Each test fails if the library itself behaves otherwise than our change assumes."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioxmpp
import aioxmpp.stream
import aioxmpp.structs
import aioxmpp.xml
import pytest
from aioxmpp.custom_queue import AsyncDeque

from agi_xmpp.xmpp import tuning


@pytest.fixture(autouse=True)
def tuned() -> None:
    tuning.apply()
    tuning.apply()


def test_the_library_is_the_one_that_this_was_written_for() -> None:
    assert aioxmpp.__version__ == "0.13.3"


def test_the_pure_functions_are_cached_once() -> None:
    for name in ("nodeprep", "nameprep", "resourceprep"):
        function = getattr(aioxmpp.structs, name)
        assert function.cache_info().maxsize == 8192
        assert not hasattr(function.__wrapped__, "cache_info")
    assert aioxmpp.xml.xmlValidateNameValue_str.cache_info().maxsize == 2048
    aioxmpp.JID.fromstr("cached@example.org")
    before = aioxmpp.structs.nodeprep.cache_info().hits
    aioxmpp.JID.fromstr("cached@example.org")
    assert aioxmpp.structs.nodeprep.cache_info().hits == before + 1


@pytest.mark.parametrize("address", ["{}@example.org", "{}.example.org", "example.org/{}"])
def test_what_is_too_long_for_an_address_is_neither_prepared_nor_kept(address: str) -> None:
    caches = [getattr(aioxmpp.structs, name) for name in ("nodeprep", "nameprep", "resourceprep")]
    for cache in caches:
        cache.cache_clear()
    with pytest.raises(ValueError, match="a part of an address has 2000"):
        aioxmpp.JID.fromstr(address.format("a" * 200_000))
    assert all(cache.cache_info().currsize <= 1 for cache in caches)
    assert aioxmpp.JID.fromstr(address.format("a" * 1000))


def test_a_cache_does_not_make_a_bad_address_good() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid unicode codepoint"):
            aioxmpp.JID.fromstr("a b@example.org")


def read(xml: str) -> Any:
    source = io.BytesIO(f"<{xml}".replace("<message", "<message xmlns='jabber:client'", 1).encode())
    return aioxmpp.xml.read_single_xso(source, aioxmpp.Message)


def test_a_message_survives_a_child_that_cannot_be_read() -> None:
    message = read("message from='a@b' type='chat'><delay xmlns='urn:xmpp:delay' stamp='bad'/><body>x</body></message>")
    assert dict(message.body) == {None: "x"}
    assert list(message.xep0203_delay) == []


@pytest.mark.parametrize("attribute", ["from='@'", "to='a b@c'"])
def test_but_not_an_address_that_cannot(attribute: str) -> None:
    with pytest.raises(aioxmpp.stanza.StanzaError):
        read(f"message {attribute}><body>x</body></message>")


def test_a_presence_survives_a_priority_that_is_no_number() -> None:
    source = io.BytesIO(
        b"<presence xmlns='jabber:client' from='a@b/c'><priority>high</priority><show>dnd</show></presence>"
    )
    presence = aioxmpp.xml.read_single_xso(source, aioxmpp.Presence)
    assert (presence.priority, presence.show) == (0, aioxmpp.PresenceShow.DND)


class _Acks:
    """What `_resume_in_order` touches of a stream."""

    def __init__(self, tokens: list[str], waiting: list[str]) -> None:
        self._logger = SimpleNamespace(info=lambda *_args: None)
        self._sm_unacked_list = tokens
        self._active_queue = AsyncDeque()
        for token in waiting:
            self._active_queue.put_nowait(token)

    def sm_ack(self, count: int) -> None:
        del self._sm_unacked_list[:count]

    @property
    def order(self) -> list[str]:
        return list(self._active_queue._data)


async def test_after_a_resumption_the_oldest_goes_first() -> None:
    stream = _Acks(["acked", "1", "2"], ["3", "4"])
    aioxmpp.stream.StanzaStream._resume_sm(stream, 1)
    assert stream.order == ["1", "2", "3", "4"]
    assert stream._sm_unacked_list == []


def test_the_library_itself_would_turn_the_order_round() -> None:
    """Should this fail, the library was mended and our change can go."""
    source = Path(aioxmpp.stream.__file__).read_text(encoding="utf-8")
    assert "for token in self._sm_unacked_list:\n            self._active_queue.putleft_nowait(token)" in source


async def test_the_server_cannot_send_us_elsewhere() -> None:
    stream = aioxmpp.stream.StanzaStream(aioxmpp.JID.fromstr("a@b"))
    assert stream.sm_location is None


class BrokenConnection:
    """What `_process_outgoing` touches of a connection that has just broken."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.broken = True

    def _require_connection(self) -> None:
        if self.broken:
            raise ConnectionResetError("peer reset")

    def send_xso(self, stanza: Any) -> None:
        self._require_connection()
        self.sent.append(stanza)


async def outgoing() -> tuple[Any, list[Any]]:
    """Return a stream with three messages to send, and their tokens."""
    stream = aioxmpp.stream.StanzaStream(aioxmpp.JID.fromstr("a@b"))
    messages = [aioxmpp.Message(aioxmpp.MessageType.CHAT, to=aioxmpp.JID.fromstr("c@d")) for _ in range(3)]
    tokens = [aioxmpp.stream.StanzaToken(message) for message in messages]
    for token in tokens[1:]:
        stream._active_queue.put_nowait(token)
    return stream, tokens


async def test_a_connection_that_has_just_broken_costs_no_stanza() -> None:
    stream, tokens = await outgoing()
    connection = BrokenConnection()
    with pytest.raises(ConnectionResetError):
        stream._process_outgoing(connection, tokens[0])
    assert {token.state for token in tokens} == {aioxmpp.stream.StanzaState.ACTIVE}
    assert not stream._active_queue.empty()
    connection.broken = False
    stream._process_outgoing(connection, tokens[0])
    assert connection.sent == [token.stanza for token in tokens]


async def test_the_library_itself_would_call_them_failed_and_forget_them() -> None:
    stream, tokens = await outgoing()
    tuning._process_outgoing(stream, BrokenConnection(), tokens[0])
    assert {token.state for token in tokens} == {aioxmpp.stream.StanzaState.FAILED}
    assert stream._active_queue.empty()
