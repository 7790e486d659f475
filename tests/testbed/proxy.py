"""A TCP proxy on loopback: a network that can be cut, fall silent and come back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import struct
from typing import Literal, Self

_CHUNK = 65_536
#: SO_LINGER with a time of 0: closing sends RST and drops what is under way (socket(7)).
_LINGER_RESET = struct.pack("ii", 1, 0)


@dataclasses.dataclass(eq=False, slots=True)
class _Connection:
    """One client's connection and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter


class Proxy:
    """Stands between a client and a server on 127.0.0.1.

    Args:
        target: the server's port.

    Attributes:
        port: for the client; it stays the same for the proxy's life.
        accepted: connections taken so far.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.accepted = 0
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.refuse()
        self.cut("rst")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(self) -> None:
        """Take connections, as at the beginning."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._take, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Take no more connections (the client gets ECONNREFUSED); those that stand go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def cut(self, how: Literal["rst", "fin"] = "rst") -> None:
        """End every connection on both sides: by RST (a crash, a firewall) or by FIN (the TCP connection is closed)."""
        for connection in self._connections:
            for writer in (connection.client, connection.server):
                if how == "rst":
                    _reset(writer)
                else:
                    writer.close()

    def silence(self) -> None:
        """Pass nothing on any more, in either direction; connections stand, and new ones are taken and hear nothing."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on again, first of all what came during the silence."""
        self._flowing.set()

    @property
    def open(self) -> int:
        """Connections that stand now."""
        return len(self._connections)

    async def until_accepted(self, count: int, timeout: float = 10.0) -> None:
        """Wait until ``count`` connections in all have been taken.

        Raises:
            TimeoutError: there were fewer after ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.accepted >= count)

    async def until_open(self, count: int, timeout: float = 10.0) -> None:
        """Wait until exactly ``count`` connections reach through to the server.

        Raises:
            TimeoutError: it was another number for ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.open == count)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        await self._tell()
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)  # what a client sees of a server that is down
            return
        except asyncio.CancelledError:
            _reset(writer)
            raise
        connection = _Connection(writer, server_writer)
        self._connections.add(connection)
        await self._tell()
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, server_writer))
                pumps.create_task(self._pump(server_reader, writer))
        finally:
            self._connections.discard(connection)
            for side in (writer, server_writer):
                side.close()
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        await self._flowing.wait()
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the transport is closing already
            sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()
