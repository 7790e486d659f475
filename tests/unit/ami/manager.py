"""A manager interface that answers as a test wants, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Self

from agi_xmpp.ami.model import Message
from agi_xmpp.config import AmiSettings

BANNER = b"Asterisk Call Manager/11.0.0\r\n"
SECRET = "s3cr3t-word"

#: The headers of an action: the first of each name, and all variables in order.
Action = dict[str, str]


class Events:
    """A listener that keeps what it is told, in order; ``connected`` and ``disconnected`` stand for the connection."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._changed = asyncio.Event()

    def ami_connected(self) -> None:
        self._tell("connected")

    def ami_event(self, event: Message) -> None:
        self._tell(event["Event"])

    def ami_disconnected(self) -> None:
        self._tell("disconnected")

    async def until(self, *told: str) -> None:
        """Wait until exactly this was told so far."""
        async with asyncio.timeout(5):
            while self.told != list(told):
                self._changed.clear()
                await self._changed.wait()

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self._changed.set()


class Manager:
    """Asterisk's side of the manager protocol.

    Attributes:
        port: where it listens.
        banner: said to who connects; b"" says nothing.
        answers: by action: what to say, as pairs of headers without ``ActionID``; None says nothing.
        asked: the actions in order, of all connections.
        after_login: said in one piece with the answer to the login, behind it.
        before_login: the same before it.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.banner = BANNER
        self.secret = SECRET
        self.answers: dict[str, list[str] | None] = {}
        self.asked: list[Action] = []
        self.connections = 0
        self.before_login = b""
        self.after_login = b""
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Take no more connections; those that stand go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def settings(self, **keys: Any) -> AmiSettings:
        """Return settings that lead here."""
        return AmiSettings(**{"port": self.port, "username": "phone", "password": SECRET, **keys})

    def say(self, raw: bytes) -> None:
        """Say something on the newest connection."""
        self._writers[-1].write(raw)

    def say_on(self, number: int, raw: bytes) -> None:
        """Say something on one connection; the first one is 0."""
        self._writers[number].write(raw)

    def cut_one(self, number: int) -> None:
        """Drop one connection."""
        self._writers[number].transport.abort()

    def cut(self) -> None:
        """Drop every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition about this manager holds."""
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def action(self, name: str, count: int = 1) -> Action:
        """Wait for the ``count``-th action of a name, and return it."""

        def found() -> list[Action]:
            return [action for action in self.asked if action["Action"] == name]

        await self.until(lambda: len(found()) >= count)
        return found()[count - 1]

    def names(self) -> list[str]:
        """Return the names of the actions so far, without those of the login."""
        return [action["Action"] for action in self.asked if action["Action"] not in ("Challenge", "Login")]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        self.connections += 1
        self._changed.set()
        writer.write(self.banner)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                action = _action(await reader.readuntil(b"\r\n\r\n"))
                self.asked.append(action)
                self._changed.set()
                self._answer(writer, action)
        writer.close()

    def _answer(self, writer: asyncio.StreamWriter, action: Action) -> None:
        name, action_id = action["Action"], action["ActionID"]
        if name in self.answers:
            answer = self.answers[name]
            if answer is not None:
                writer.write(b"".join(message(text, action_id) for text in answer))
        elif name == "Challenge":
            writer.write(message("Response: Success|Challenge: 840415273", action_id))
        elif name == "Login":
            if action["Key"] == hashlib.md5(f"840415273{self.secret}".encode()).hexdigest():
                answered = message("Response: Success|Message: Authentication accepted", action_id)
                writer.write(self.before_login + answered + self.after_login)
            else:
                writer.write(message("Response: Error|Message: Authentication failed", action_id))
                writer.close()
        elif name == "Ping":
            writer.write(message("Response: Success|Ping: Pong|Timestamp: 1795267709.4", action_id))
        elif name == "Logoff":
            writer.write(message("Response: Goodbye|Message: Thanks for all the fish.", action_id))
            writer.close()
        else:
            writer.write(message("Response: Success|Message: done", action_id))


def message(text: str, action_id: str = "") -> bytes:
    """Return a message as Asterisk writes it; ``|`` stands between headers, the ActionID behind the first one."""
    first, *others = text.split("|")
    return "".join(f"{line}\r\n" for line in [first, *_id(action_id), *others, ""]).encode()


def _id(action_id: str) -> Iterable[str]:
    return [f"ActionID: {action_id}"] if action_id else []


def _action(raw: bytes) -> Action:
    action: Action = {}
    for line in raw.decode().removesuffix("\r\n\r\n").split("\r\n"):
        name, _colon, value = line.partition(": ")
        action.setdefault(name, value)
    return action
