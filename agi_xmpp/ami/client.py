"""The manager connection to one Asterisk, kept alive: `agi_xmpp.ami.model.Ami`.

Nothing is ever sent twice: what was not answered when a connection broke is unknown, and the new connection begins with
nothing but its login.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from agi_xmpp.ami.connection import Connection, address, connect
from agi_xmpp.ami.model import AmiInfo, AmiListener, AmiState, Message
from agi_xmpp.config import AmiSettings
from agi_xmpp.errors import AmiError, AmiNotConnected, AmiRefused
from agi_xmpp.pace import Pace

log = logging.getLogger("agi_xmpp.ami")

#: Headers and values of an event: what tells it from others.
_Key: TypeAlias = tuple[tuple[str, str], ...]


class _Change:
    """The events of two connections while one takes the place of the other: Asterisk tells both the same.

    Attributes:
        old: the connection that is to end.
        waiting: what the new one has told.
        old_is_over: what the old one tells counts no more.
    """

    def __init__(self, old: Connection) -> None:
        self.old = old
        self.waiting: list[Message] = []
        self.old_is_over = False
        self._told: Counter[_Key] = Counter()

    def is_told_by_old(self, event: Message) -> bool:
        """Tell whether an event of the old connection counts."""
        if not self.old_is_over:
            self._told[_key(event)] += 1
        return not self.old_is_over

    def untold(self) -> Iterator[Message]:
        """Yield what the new connection has told, and the old one has not."""
        for event in self.waiting:
            key = _key(event)
            if self._told[key]:
                self._told[key] -= 1
            else:
                yield event


def _key(event: Message) -> _Key:
    return tuple(event.items())


class AmiClient:
    """Keeps a manager connection from `start` to `stop`; implements `agi_xmpp.ami.model.Ami`.

    Args:
        settings: ``[ami]``.
        listener: is told of connections and events. What it raises is logged.
    """

    def __init__(self, settings: AmiSettings, listener: AmiListener) -> None:
        self._settings = settings
        self._listener = listener
        self._info = AmiInfo(address(settings), AmiState.STOPPED, time.time())
        self._events = 0
        self._failure: AmiError | None = None
        self._pace = Pace(settings.retry_max, time.monotonic)
        self._connection: Connection | None = None
        self._change: _Change | None = None  # while another login takes the place of this one
        self._supervisor: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def info(self) -> AmiInfo:
        """Return the state for `agi-xmpp status`."""
        return replace(self._info, events=self._events)

    async def start(self) -> None:
        """Begin to connect, and return at once."""
        if self._supervisor is not None:
            raise RuntimeError("the manager connection was started already")
        self._enter(AmiState.CONNECTING)
        self._supervisor = asyncio.create_task(self._supervise(), name=f"ami {self._info.address}")

    async def stop(self) -> None:
        """Log off and free everything; at most a second. Without `start`, or again, it does nothing."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait({supervisor})
            self._enter(AmiState.STOPPED)

    async def ready(self, timeout: float) -> None:
        """Return as soon as we are logged in.

        Args:
            timeout: seconds.

        Raises:
            AmiNotConnected, AmiRefused: not within ``timeout``; the text says why (the last failure).
        """
        try:
            async with asyncio.timeout(timeout):
                while self._connection is None:
                    await self._changed.wait()
        except TimeoutError:
            kind = AmiRefused if isinstance(self._failure, AmiRefused) else AmiNotConnected
            raise kind(self._why()) from None

    async def action(
        self,
        name: str,
        headers: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Message:
        """Carry out an action and return its response; see `agi_xmpp.ami.model.Ami.action`."""
        return await self._online().action(name, headers, variables=variables, timeout=timeout)

    async def items(
        self, name: str, headers: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Sequence[Message]:
        """Carry out an action that answers with a list; see `agi_xmpp.ami.model.Ami.items`."""
        return await self._online().items(name, headers, timeout=timeout)

    async def log_in_anew(self) -> None:
        """Log in once more, and use that connection from now on: one has the rights that its user had at the login.

        The listener is told `ami_connected` again, without `ami_disconnected`: no moment is without a connection, and
        each event is told once. What was asked before is answered on the old one, which ends afterwards. Without a
        connection nothing is done: there will be a login anyway.

        Raises:
            AmiError: the login failed; the connection goes on as it was.
        """
        old = self._connection
        if old is None:
            return
        change = self._change = _Change(old)
        try:
            new = await self._connect()
            # Behind the answer on the old one comes nothing that the new one does not have, too; behind that on the new
            # one, nothing that the old one has told.
            with contextlib.suppress(AmiError):
                await old.action("Ping")
            change.old_is_over = True
            with contextlib.suppress(AmiError):
                await new.action("Ping")
        finally:
            self._change = None
        if self._connection is not old:  # it broke meanwhile, and another one is on its way or there
            await new.log_off()
            return
        self._begin(new)
        for event in change.untold():
            self._tell_event(event)
        await old.finish()

    def _online(self) -> Connection:
        if self._connection is None:
            raise AmiNotConnected(self._why())
        return self._connection

    def _why(self) -> str:
        reason = str(self._failure) if self._failure else f"the manager connection is {self._info.state.value}"
        return f"not connected to Asterisk: {reason}"

    # The life of connections

    async def _supervise(self) -> None:
        delay = self._pace.next_delay()
        while True:
            await asyncio.sleep(delay)
            self._enter(AmiState.CONNECTING)
            try:
                await self._live()
            except AmiError as error:
                # Asking again and again with a wrong password would fill Asterisk's log, and may have us locked out.
                refused = isinstance(error, AmiRefused)
                delay = self._settings.login_retry if refused else self._pace.next_delay()
                self._report(error, f"trying again every {delay:g} s" if refused else "trying again")
            except Exception:  # the service must outlive whatever this is
                log.exception("manager connection to %s: unexpected error, beginning anew", self._info.address)
                self._failure = AmiNotConnected("unexpected error; the log has it")
                delay = self._pace.next_delay()
            self._enter(AmiState.WAITING)

    async def _live(self) -> None:
        """Connect, and stay connected as long as it lasts.

        Raises:
            AmiError: why it did not come to a login, or why the connection ended.
        """
        connection = await self._connect()
        try:
            self._begin(connection)
            reason = await self._stay(connection)
            while connection is not self._connection:  # another login has taken its place
                connection = self._online()
                reason = await self._stay(connection)
        finally:
            current, self._connection = self._connection or connection, None
            self._tell(self._listener.ami_disconnected)
            await current.log_off()
        raise AmiNotConnected(f"the connection to {self._info.address} broke: {reason}")

    async def _connect(self) -> Connection:
        """Log in; from when `_begin` has taken the connection until another one takes its place, its events count.

        Before that, events can come, too. They are older than the lists that the listener asks for then, which have
        their outcome; only where the connection takes the place of another one, they wait.

        Raises:
            AmiError: see `connect`.
        """
        connection: Connection | None = None

        def on_event(event: Message) -> None:
            change = self._change
            if connection is not None and connection is self._connection:
                if change is None or connection is not change.old or change.is_told_by_old(event):
                    self._tell_event(event)
            elif change is not None:
                change.waiting.append(event)

        connection = await connect(self._settings, on_event)
        return connection

    def _tell_event(self, event: Message) -> None:
        self._events += 1
        self._listener.ami_event(event)

    async def _stay(self, connection: Connection) -> str:
        return await connection.stay(self._settings.keepalive, self._settings.keepalive_timeout)

    def _begin(self, connection: Connection) -> None:
        self._connection = connection
        self._pace.online()
        self._failure = None
        self._info = replace(self._info, version=connection.version, connects=self._info.connects + 1)
        self._enter(AmiState.ONLINE)
        log.info(
            "manager connection to %s: logged in as %s, %s",
            self._info.address,
            self._settings.username,
            connection.encryption or "not encrypted",
        )
        self._tell(self._listener.ami_connected)

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:
            log.exception("telling of the manager connection failed; it goes on")

    def _report(self, error: AmiError, again: str) -> None:
        """Remember a failure, and log it once until another one or a success comes."""
        if str(error) != str(self._failure):
            log.error("manager connection: %s; %s", error, again)
        self._failure = error

    def _enter(self, state: AmiState) -> None:
        since = self._info.since if state is self._info.state else time.time()
        error = str(self._failure) if self._failure else ""
        self._info = replace(self._info, state=state, since=since, error=error)
        self._changed.set()
        self._changed = asyncio.Event()
