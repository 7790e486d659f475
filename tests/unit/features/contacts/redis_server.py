"""So much of a Redis as the cache needs: its protocol (RESP2), strings that expire, and faults on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self


class RedisServer:
    """Serves on a free port of this machine.

    Args:
        clock: seconds, by which keys expire.

    Attributes:
        port: of TCP.
        values: by key, with the moment when each expires.
        commands: names of those that came, of the connection's set-up not.
        refuse: answer everything with this error, if any.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.port = 0
        self.values: dict[str, tuple[str, float]] = {}
        self.commands: list[str] = []
        self.refuse = ""
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.end()

    async def begin(self) -> None:
        """Listen; on the same port as before, if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def end(self) -> None:
        """Close the port and all connections."""
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        while self._open:
            self._gone.clear()
            await self._gone.wait()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    writer.write(self._answer(await self._command(reader)))
                    await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self._open.discard(writer)
            self._gone.set()

    @staticmethod
    async def _command(reader: asyncio.StreamReader) -> list[str]:
        count = int((await reader.readuntil(b"\r\n"))[1:])
        words = []
        for _ in range(count):
            size = int((await reader.readuntil(b"\r\n"))[1:])
            words.append((await reader.readexactly(size + 2))[:-2].decode())
        return words

    def _answer(self, words: list[str]) -> bytes:
        match words:
            case ["CLIENT" | "HELLO" | "SELECT" | "PING", *_]:
                return b"-ERR unknown command\r\n" if words[0] == "HELLO" else b"+OK\r\n"
        self.commands.append(words[0])
        if self.refuse:
            return f"-{self.refuse}\r\n".encode()
        match words:
            case ["MGET", *keys]:
                return f"*{len(keys)}\r\n".encode() + b"".join(self._get(key) for key in keys)
            case ["SET", key, value, "PX", milliseconds]:
                self.values[key] = (value, self._clock() + int(milliseconds) / 1000)
                return b"+OK\r\n"
        return b"-ERR unknown command\r\n"

    def _get(self, key: str) -> bytes:
        value, expires = self.values.get(key, ("", 0.0))
        if expires <= self._clock():
            return b"$-1\r\n"
        return f"${len(value.encode())}\r\n{value}\r\n".encode()
