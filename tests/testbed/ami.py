"""A small client of the Asterisk Manager Interface, for the testbed alone.

Enough to start calls, see what they do and ask for the CLI: https://docs.asterisk.org/Configuration/Interfaces/AMI/
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping

from tests.testbed.errors import TestbedError

#: An event or a response: header to value. A header that comes several times has its values joined by newlines.
Message = dict[str, str]
Predicate = Callable[[Message], bool]


class Subscription:
    """The events that satisfy a condition, in order, from the moment of subscribing on."""

    def __init__(self, ami: Ami, condition: Predicate) -> None:
        self._ami = ami
        self._condition = condition
        self._events: list[Message] = []
        self._changed = asyncio.Event()

    async def get(self, wanted: Predicate, timeout: float) -> Message:
        """Take the first event that satisfies ``wanted``; wait for it up to ``timeout`` seconds.

        Raises:
            TimeoutError: it did not come.
            TestbedError: the connection to Asterisk broke.
        """
        async with asyncio.timeout(timeout):
            while True:
                for event in self._events:
                    if wanted(event):
                        self._events.remove(event)
                        return event
                if self._ami.closed:
                    raise TestbedError("the manager connection broke: Asterisk ended")
                self._changed.clear()
                await self._changed.wait()

    def seen(self) -> list[Message]:
        """Return the events that came and were not taken."""
        return list(self._events)

    def feed(self, event: Message) -> None:
        """Take an event from the connection."""
        if self._condition(event):
            self._events.append(event)
            self._changed.set()

    def wake(self) -> None:
        """Make waiters look again."""
        self._changed.set()

    def close(self) -> None:
        """End the subscription."""
        self._ami.unsubscribe(self)


class Ami:
    """One connection. Make it with `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._subscriptions: list[Subscription] = []
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int, user: str, secret: str) -> Ami:
        """Connect to 127.0.0.1 and log in; Asterisk has booted when this returns.

        Raises:
            OSError: nobody listens.
            TestbedError: the login was refused.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        await reader.readline()  # the banner
        ami = cls(reader, writer)
        booted = ami.subscribe(lambda event: event.get("Event") == "FullyBooted")
        try:
            await ami.action("Login", Username=user, Secret=secret, Events="on")
            await booted.get(lambda _event: True, 60.0)
        except BaseException:
            await ami.close()
            raise
        finally:
            booted.close()
        return ami

    async def close(self) -> None:
        """Leave."""
        self._writer.close()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def subscribe(self, condition: Predicate) -> Subscription:
        """Collect the events that satisfy ``condition`` from now on."""
        subscription = Subscription(self, condition)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        with contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    async def action(
        self, name: str, variables: Mapping[str, str] | None = None, *, timeout: float = 20.0, **headers: str
    ) -> Message:
        """Do an action and return its response.

        Args:
            name: such as ``Originate``.
            variables: channel variables, one ``Variable`` header each.
            timeout: seconds.
            headers: the others.

        Raises:
            TestbedError: Asterisk refused it (``Response: Error``), or the connection broke.
        """
        action_id = str(next(self._ids))
        pairs = [("Action", name), ("ActionID", action_id), *headers.items()]
        pairs += [("Variable", f"{key}={value}") for key, value in (variables or {}).items()]
        if self.closed:
            raise TestbedError("the manager connection broke: Asterisk ended")
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[action_id] = reply
        self._writer.write(_encode(pairs))
        try:
            async with asyncio.timeout(timeout):
                message = await reply
        finally:
            del self._replies[action_id]
        if message["Response"] == "Error":
            raise TestbedError(f"{name}: {message.get('Output') or message.get('Message', 'refused')}")
        return message

    async def _read(self) -> None:
        try:
            while True:
                self._dispatch(_parse(await self._reader.readuntil(b"\r\n\r\n")))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.closed = True
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(TestbedError("the manager connection broke: Asterisk ended"))
            for subscription in self._subscriptions:
                subscription.wake()

    def _dispatch(self, message: Message) -> None:
        if "Response" in message and "Event" not in message:  # the event OriginateResponse has both
            reply = self._replies.get(message.get("ActionID", ""))
            if reply is not None and not reply.done():
                reply.set_result(message)
        else:
            for subscription in list(self._subscriptions):
                subscription.feed(message)


def _encode(pairs: Iterable[tuple[str, str]]) -> bytes:
    lines = []
    for key, value in pairs:
        if any(character in value for character in "\r\n\0"):
            raise ValueError(f"a manager header cannot hold a line break: {key}")
        lines.append(f"{key}: {value}\r\n")
    return "".join(lines).encode() + b"\r\n"


def _parse(data: bytes) -> Message:
    message: Message = {}
    for line in data.decode(errors="replace").split("\r\n"):
        key, separator, value = line.partition(":")
        if separator:
            value = value.removeprefix(" ")
            message[key] = f"{message[key]}\n{value}" if key in message else value
    return message
