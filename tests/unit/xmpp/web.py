"""A web server for one kind of request each, with a certificate of the tests' CA."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

#: What the server does with a connection once the head of the request is read.
Serve = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One connection.

    Attributes:
        head: request line and headers as they came.
        body: of the request, as far as it was read.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head: list[str] = []
        self.body = b""

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in self.head[1:])}

    async def read_head(self) -> None:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.head = text.split("\r\n")[:-2]

    async def read_body(self) -> None:
        self.body = await self.reader.readexactly(int(self.headers["content-length"]))

    async def answer(self, status: str = "201 Created", more: str = "") -> None:
        self.writer.write(f"HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n".encode())
        await self.writer.drain()

    async def until_closed(self) -> None:
        """Wait until the client has gone."""
        while await self.reader.read(65_536):
            pass


async def store(exchange: Exchange) -> None:
    """Take the file, as an upload service does."""
    await exchange.read_body()
    await exchange.answer()


class Web:
    """Listens on localhost.

    Args:
        context: its TLS.
        serve: what it does.

    Attributes:
        exchanges: all connections whose request came.
        gone: set when a connection has ended.
    """

    def __init__(self, context: ssl.SSLContext, serve: Serve = store) -> None:
        self._context = context
        self.serve = serve
        self.exchanges: list[Exchange] = []
        self.arrived, self.gone = asyncio.Event(), asyncio.Event()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, path: str = "/up/1/voicemail.wav") -> str:
        return f"https://localhost:{self.port}{path}"

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._run(Exchange(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, exchange: Exchange) -> None:
        try:
            await exchange.read_head()
            self.exchanges.append(exchange)
            self.arrived.set()
            await self.serve(exchange)
            await exchange.until_closed()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            exchange.writer.transport.abort()
            self.gone.set()
