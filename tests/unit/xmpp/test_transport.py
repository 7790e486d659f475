"""Between asyncio's transports and aioxmpp: one write a turn, and no end without a reason."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest
from aioxmpp import protocol

from agi_xmpp.xmpp.transport import Bridge, Stream, Transport


class Inner(asyncio.Transport):
    """Notes what is done with it."""

    def __init__(self):
        super().__init__()
        self.done = []
        self.closing = False
        self.extra = {}

    def get_extra_info(self, name, default=None):
        return self.extra.get(name, default)

    def write(self, data):
        self.done.append(bytes(data))

    def get_write_buffer_size(self):
        return 1000

    def close(self):
        self.closing = True
        self.done.append("close")

    def abort(self):
        self.closing = True
        self.done.append("abort")

    def is_closing(self):
        return self.closing


@pytest.fixture
def inner():
    return Inner()


def bridge(state=protocol.State.OPEN):
    stream = Mock()
    stream.state = state
    return Bridge(stream, "x.org"), stream


async def test_what_the_system_has_not_taken_is_counted(inner):
    transport = Transport(inner, bridge()[0], "x.org")
    transport.write(b"12345")
    transport.write(b"6")
    assert transport.get_write_buffer_size() == 1006
    await asyncio.sleep(0)
    assert transport.get_write_buffer_size() == 1000
    transport.write(b"7")
    transport.abort()
    assert transport.get_write_buffer_size() == 1000


async def test_the_pieces_of_one_turn_are_one_write(inner):
    transport = Transport(inner, bridge()[0], "x.org")
    piece = bytearray(b"<?xml version='1.0'?>")
    transport.write(piece)
    piece[:] = b"reused, as XMLStream does"
    transport.write(memoryview(b"<stream>"))
    assert inner.done == []
    await asyncio.sleep(0)
    assert inner.done == [b"<?xml version='1.0'?><stream>"]
    transport.write(b"more")
    await asyncio.sleep(0)
    assert inner.done[1:] == [b"more"]


async def test_closing_sends_the_rest_and_aborting_does_not(inner):
    transport = Transport(inner, bridge()[0], "x.org")
    transport.write(b"</stream>")
    transport.close()
    assert inner.done == [b"</stream>", "close"]
    other = Inner()
    transport = Transport(other, bridge()[0], "x.org")
    transport.write(b"secret")
    transport.abort()
    await asyncio.sleep(0)
    assert other.done == ["abort"]


async def test_nothing_is_written_to_a_closing_connection(inner):
    transport = Transport(inner, bridge()[0], "x.org")
    transport.write(b"late")
    inner.closing = True
    await asyncio.sleep(0)
    assert inner.done == []


async def test_starttls_is_possible_once(inner):
    transport = Transport(inner, bridge()[0], "x.org")
    assert transport.can_starttls()
    inner.extra["sslcontext"] = object()
    assert not transport.can_starttls()
    assert not transport.can_write_eof()


async def test_an_end_of_file_of_an_open_stream_is_a_broken_connection(inner):
    bridge_, stream = bridge()
    bridge_.connection_made(inner)
    bridge_.eof_received()
    (error,) = stream.connection_lost.call_args.args
    assert isinstance(error, ConnectionResetError)


async def test_an_end_of_file_of_a_closing_stream_is_its_end(inner):
    bridge_, stream = bridge(protocol.State.CLOSING)
    bridge_.connection_made(inner)
    bridge_.eof_received()
    stream.eof_received.assert_called_once_with()
    stream.connection_lost.assert_not_called()


async def test_a_lost_connection_has_a_reason(inner):
    bridge_, stream = bridge()
    bridge_.connection_made(inner)
    bridge_.connection_lost(None)
    (error,) = stream.connection_lost.call_args.args
    assert isinstance(error, ConnectionError)


async def test_futures_that_nobody_fetches_do_not_complain(caplog):
    future = Stream(to=Mock()).error_future()
    future.set_exception(ConnectionError())
    del future
    await asyncio.sleep(0)
    assert caplog.text == ""
