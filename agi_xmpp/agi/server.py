"""The FastAGI server: takes Asterisk's connections and runs a handler for each call.

The protocol itself is `wire`, the handler's view of a call is `channel`; here is what has to do with sockets, tasks
and time. Runs on asyncio's loop and on uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from agi_xmpp.agi import wire
from agi_xmpp.agi.channel import Channel
from agi_xmpp.agi.environment import Environment
from agi_xmpp.config import AgiSettings
from agi_xmpp.errors import AgiHangup, AgiProtocolError, AgiXmppError

log = logging.getLogger("agi_xmpp.agi")

Handler = Callable[[Channel], Awaitable[None]]

#: Seconds for Asterisk to close its side after we closed ours. It answers at once, with HANGUP and the end.
CLOSE_TIMEOUT: Final = 2.0

#: Seconds between two warnings of one kind: a scanner or a flood must not fill the log.
WARNING_INTERVAL: Final = 60.0

#: File descriptors besides those of the sessions: listening sockets, XMPP, log, sessions that are being closed.
_SPARE_FILES: Final = 256

_SOMAXCONN: Final = Path("/proc/sys/net/core/somaxconn")

#: Linux only. Asterisk writes some replies in parts; without this, Nagle's algorithm on its side waits for our delayed
#: acknowledgement: 44 ms for each such reply. The kernel forgets the option, so it is set again at each segment.
_QUICKACK: Final = getattr(socket, "TCP_QUICKACK", None)


@dataclass(slots=True)
class AgiStats:
    """Counts since the start.

    Attributes:
        open: sessions that are served now.
        served: sessions whose handler was run.
        refused: connections turned away (not allowed, too many, not AGI).
        failed: sessions that ended with AGISTATUS=FAILURE although they had begun.
        hangups: sessions in which the caller hung up first.
    """

    open: int = 0
    served: int = 0
    refused: int = 0
    failed: int = 0
    hangups: int = 0


class AgiServer:
    """Serves FastAGI on the addresses of the settings.

    Args:
        settings: may be replaced while the server runs; connections that come later go by the new ones. ``listen``,
            ``port`` and ``backlog`` count at `start` only.
        handler: runs once for each session. What it raises tells the dialplan that the session failed
            (AGISTATUS=FAILURE), except `AgiHangup`, which is a normal end.
    """

    def __init__(self, settings: AgiSettings, handler: Handler) -> None:
        self.settings = settings
        self.handler = handler
        self.stats = AgiStats()
        self._listeners: list[asyncio.Server] = []
        self._sessions: set[_Session] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._warned: dict[str, tuple[float, int]] = {}

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports that are listened on; one for each socket."""
        return tuple(dict.fromkeys(s.getsockname()[1] for listener in self._listeners for s in listener.sockets))

    async def start(self) -> None:
        """Open the ports.

        Raises:
            OSError: one of them cannot be had; none is open then.
        """
        _make_room_for(self.settings.max_sessions + _SPARE_FILES)
        _warn_of_short_backlog(self.settings.backlog)
        loop = asyncio.get_running_loop()
        port = self.settings.port
        try:
            for host in self.settings.listen:
                listener = await loop.create_server(
                    lambda: _Session(self), host.strip("[]"), port, backlog=self.settings.backlog
                )
                self._listeners.append(listener)
                port = port or self.ports[0]  # a free port is to be the same one on all addresses
        except BaseException:
            self._stop_listening()
            raise

    async def stop(self) -> None:
        """Take no more connections, let calls end for ``drain_timeout`` seconds, then cancel what is left."""
        self._stop_listening()
        if not await self._wait_until_idle(self.settings.drain_timeout):
            if self.stats.open:
                log.warning("agi: %d calls did not end in time and are cancelled", self.stats.open)
            for session in tuple(self._sessions):
                session.cancel()
        if not await self._wait_until_idle(CLOSE_TIMEOUT + 1):
            for session in tuple(self._sessions):
                session.abort()
            await self._wait_until_idle(1)

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def _wait_until_idle(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()

    def joined(self, session: _Session) -> None:
        """Count a connection in."""
        self._sessions.add(session)
        self._idle.clear()

    def left(self, session: _Session) -> None:
        """Count a connection out."""
        self._sessions.discard(session)
        if not self._sessions:
            self._idle.set()

    def objection(self, peer: str) -> str | None:
        """Return why a new connection from ``peer`` is not served; None if it is."""
        if not is_allowed(peer, self.settings):
            return f"{peer} is not in agi.allow"
        if self.stats.open >= self.settings.max_sessions:
            return f"{self.settings.max_sessions} sessions are open already (agi.max_sessions)"
        return None

    def warn(self, kind: str, message: str) -> None:
        """Log a warning, unless there was one of that kind within `WARNING_INTERVAL`."""
        now = time.monotonic()
        last, silent = self._warned.get(kind, (float("-inf"), 0))
        if now - last < WARNING_INTERVAL:
            self._warned[kind] = (last, silent + 1)
            return
        self._warned[kind] = (now, 0)
        log.warning("agi: %s%s", message, f" ({silent} more like this since the last warning)" if silent else "")


class _Session(asyncio.Protocol):
    """One connection: bytes to events, events to the channel, the handler's end to the connection's end."""

    def __init__(self, server: AgiServer) -> None:
        self._server = server
        self._settings = server.settings
        self._loop = asyncio.get_running_loop()
        self._connection = wire.AgiConnection()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._peer = "?"
        self._channel: Channel | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None  # for the environment, the handler after a hangup, or the end
        self._counted = False
        self._closing = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._transport = transport
        self._peer = str((transport.get_extra_info("peername") or ("?",))[0])
        self._socket = transport.get_extra_info("socket")
        self._server.joined(self)
        # AGI has no sign of life of its own: without this, a peer that lost its power stays a session for ever.
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if not (self._settings.quickack and _QUICKACK is not None):
            self._socket = None
        self._acknowledge_at_once()
        objection = self._server.objection(self._peer)
        if objection is not None:
            self._refuse("refused", f"connection refused: {objection}")
            return
        self._server.stats.open += 1
        self._counted = True
        self._timer = self._loop.call_later(self._settings.environment_timeout, self._environment_overdue)

    def data_received(self, data: bytes) -> None:
        self._acknowledge_at_once()
        if not self._closing:
            self._connection.receive_data(data)
            self._handle_events()

    def eof_received(self) -> bool:
        if not self._closing:
            self._connection.receive_data(b"")
            self._handle_events()
        # Asterisk has closed its side for good, so nothing that we could still write would be read.
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        self._closing = True
        self._end(AgiHangup("Asterisk closed the connection"))
        if self._handler_has_ended():
            self._stop_timer()
            self._leave()

    # Events

    def _handle_events(self) -> None:
        try:
            while (event := self._connection.next_event()) is not wire.NEED_DATA:
                self._handle(event)
                if isinstance(event, wire.Closed):
                    break
        except AgiProtocolError as error:
            self._protocol_broken(error)

    def _handle(self, event: wire.Event) -> None:
        match event:
            case Environment():
                self._begin(event)
            case wire.Reply():
                if self._channel is not None:
                    self._channel.deliver(event)
            case wire.Hangup():
                self._hung_up()
            case wire.Closed(silent=silent):
                if self._channel is None:
                    log.log(
                        logging.DEBUG if silent else logging.INFO, "agi: %s connected and closed", self._peer
                    )  # a port probe, such as a monitoring system's
                self._end(AgiHangup("Asterisk closed the connection"))

    def _begin(self, environment: Environment) -> None:
        self._stop_timer()
        assert self._transport is not None  # noqa: S101 - the environment came over it
        self._channel = Channel(
            self._connection, environment, self._transport, command_timeout=self._settings.command_timeout
        )
        self._server.stats.served += 1
        log.debug("%s begins: %s for %s", self._channel.id, environment.script, environment.channel)
        self._task = self._loop.create_task(self._run(self._channel), name=f"agi {self._channel.id}")
        self._task.add_done_callback(self._handler_done)

    async def _run(self, channel: Channel) -> None:
        await self._server.handler(channel)

    def _hung_up(self) -> None:
        if self._channel is None or self._channel.hung_up:
            return
        self._server.stats.hangups += 1
        self._channel.hangup_received()
        self._give_grace()

    def _end(self, error: AgiHangup | AgiProtocolError) -> None:
        """The conversation is over, but the handler may still be at work."""
        if self._channel is not None and not self._handler_has_ended():
            self._channel.end(error)
            self._give_grace()

    def _protocol_broken(self, error: AgiProtocolError) -> None:
        if self._channel is None:
            self._refuse("not AGI", f"{self._peer}: {error}")
        else:
            self._end(error)

    def _environment_overdue(self) -> None:
        seconds = self._settings.environment_timeout
        self._refuse("slow", f"{self._peer} did not send the environment within {seconds:g} s")

    def _give_grace(self) -> None:
        if self._timer is None and not self._handler_has_ended():
            self._timer = self._loop.call_later(self._settings.hangup_grace, self._grace_is_over)

    def _grace_is_over(self) -> None:
        if self._channel is not None and not self._handler_has_ended():
            grace = self._settings.hangup_grace
            log.warning("%s: the handler went on %g s after the call's end and is cancelled", self._channel.id, grace)
            self.cancel()

    # Ends

    def _handler_has_ended(self) -> bool:
        return self._task is None or self._task.done()

    def _handler_done(self, task: asyncio.Task[None]) -> None:
        assert self._channel is not None  # noqa: S101 - it was made before the task
        self._stop_timer()
        self._channel.end(AgiHangup("the session is over"))  # for tasks and threads that the handler left behind
        failed = self._failed(task, self._channel.id)
        self._server.stats.failed += failed
        if self._closing:
            self._leave()
        else:
            self._close(failure=failed)

    def _failed(self, task: asyncio.Task[None], name: str) -> bool:
        """Tell, and log, whether the handler failed."""
        if task.cancelled():
            log.info("%s: cancelled", name)
            return True
        error = task.exception()
        if error is None or isinstance(error, AgiHangup):
            log.debug("%s ends%s", name, f": {error}" if error else "")
            return False
        if isinstance(error, AgiXmppError):
            log.warning("%s: %s", name, error)
        else:
            log.error("%s: %r", name, error, exc_info=error)
        return True

    def _refuse(self, kind: str, message: str) -> None:
        self._server.stats.refused += 1
        self._server.warn(kind, message)
        self._close(failure=True)

    def _close(self, *, failure: bool) -> None:
        """Close our side, and give Asterisk a moment to close its own: a reset could overtake the failure line."""
        self._closing = True
        self._stop_timer()
        self._uncount()
        if self._transport is None or self._transport.is_closing():
            self._leave()
            return
        if failure:
            self._transport.write(wire.FAILURE)
        with contextlib.suppress(OSError):  # the peer may be gone
            self._transport.write_eof()
        self._timer = self._loop.call_later(CLOSE_TIMEOUT, self.abort)

    def cancel(self) -> None:
        """End the handler."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
        elif self._task is None:
            self.abort()

    def abort(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        self._uncount()
        self._server.left(self)

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self._server.stats.open -= 1

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _acknowledge_at_once(self) -> None:
        if self._socket is not None and _QUICKACK is not None:
            self._set_option(socket.IPPROTO_TCP, _QUICKACK)

    def _set_option(self, level: int, option: int) -> None:
        with contextlib.suppress(OSError):  # the peer may be gone already
            if self._socket is not None:
                self._socket.setsockopt(level, option, 1)


def is_allowed(peer: str, settings: AgiSettings) -> bool:
    """Tell whether a peer's address is in one of the networks of ``agi.allow``.

    An IPv4 peer on an IPv6 socket (``::ffff:192.0.2.1``) counts as IPv4.
    """
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in settings.allow)


def _make_room_for(files: int) -> None:
    """Raise the soft limit of open files; many systems start services with 1024."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= files:
        return
    possible = files if hard == resource.RLIM_INFINITY else min(files, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < files:
        log.warning("agi: %d open files are allowed; agi.max_sessions needs %d (systemd: LimitNOFILE)", possible, files)


def _warn_of_short_backlog(backlog: int) -> None:
    # In a full queue Asterisk believes itself connected, and it waits without any time limit.
    try:
        most = int(_SOMAXCONN.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    if most < backlog:
        log.warning("agi: the kernel queues %d connections, not agi.backlog = %d (net.core.somaxconn)", most, backlog)
