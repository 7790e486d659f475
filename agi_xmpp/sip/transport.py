"""A UDP socket to Asterisk and nobody else: it is connected, so that the kernel drops what others send."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Final

from agi_xmpp.errors import SipNotReached
from agi_xmpp.sip.wire import Place

log = logging.getLogger("agi_xmpp.sip")

#: Bytes that the kernel keeps for us until we read: some hundred of the longest texts. It gives no more than its
#: net.core.rmem_max.
_RECEIVE_BUFFER: Final = 1 << 20
#: Datagrams that are read at once: more than the kernel keeps by default.
_BATCH: Final = 500
_MAX_DATAGRAM: Final = 65_536


class Udp:
    """An open socket. Make it by `open_udp`.

    Args:
        connection: connected, and not blocking.
        on_datagram: is called with each datagram.
        on_refused: is called when nobody listens there; never from within `send`.
    """

    def __init__(
        self, connection: socket.socket, on_datagram: Callable[[bytes], None], on_refused: Callable[[], None]
    ) -> None:
        self._socket = connection
        self._on_datagram = on_datagram
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self.read)

    @property
    def places(self) -> tuple[Place, Place]:
        """Our address and the other side's."""
        local, remote = self._socket.getsockname(), self._socket.getpeername()
        return Place(local[0], local[1]), Place(remote[0], remote[1])

    def send(self, datagram: bytes) -> None:
        """Send a datagram. Where the network does not take it, it is dropped; what matters is sent again."""
        if self._is_closed:
            return
        try:
            self._socket.send(datagram)
        except OSError as error:
            self._failed(error)

    def read(self) -> None:
        """Hand on what has come, without waiting; to be called before anything is taken for lost.

        All that is there: asyncio's own transport would take one for each turn of the loop, and a burst of texts fills
        the kernel's buffer faster. What is in that is taken first and handled afterwards, for the same reason.
        """
        for datagram in self._received():
            self._on_datagram(datagram)

    def _received(self) -> list[bytes]:
        datagrams: list[bytes] = []
        while not self._is_closed and len(datagrams) < _BATCH:
            try:
                datagrams.append(self._socket.recv(_MAX_DATAGRAM))
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._failed(error)
                break
        return datagrams

    def close(self) -> None:
        """Close the socket; nothing is called any more. Again, it does nothing."""
        if not self._is_closed:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        self._on_datagram = _nothing
        self._on_refused = _nothing

    @property
    def _is_closed(self) -> bool:
        return self._socket.fileno() == -1

    def _failed(self, error: OSError) -> None:
        if isinstance(error, ConnectionRefusedError):
            self._loop.call_soon(self._refused)
        else:
            log.debug("the network did not take a datagram for Asterisk: %s", error)

    def _refused(self) -> None:
        self._on_refused()


async def open_udp(
    host: str, port: int, bind: str, on_datagram: Callable[[bytes], None], on_refused: Callable[[], None]
) -> Udp:
    """Open a socket.

    Args:
        host, port: Asterisk's; a name is looked up.
        bind: address of ours; "" lets the system choose.
        on_datagram, on_refused: see `Udp`.

    Raises:
        SipNotReached: the name is not known, or there is no way there.
    """
    try:
        try:
            # A connected UDP socket never fails, so the first address of a name is the only one that is tried: of
            # "localhost", which may begin with ::1, the one that Asterisk's transports have.
            connection = await _connect(host, port, bind, socket.AF_INET)
        except socket.gaierror:
            connection = await _connect(host, port, bind, socket.AF_UNSPEC)
    except socket.gaierror as error:
        raise SipNotReached(f"the host {host} of [conference.sip] is not known ({error.strerror})") from None
    except OSError as error:
        raise SipNotReached(f"no way to {host}:{port} (UDP): {error.strerror or error}") from None
    return Udp(connection, on_datagram, on_refused)


async def _connect(host: str, port: int, bind: str, family: socket.AddressFamily) -> socket.socket:
    loop = asyncio.get_running_loop()
    places = await loop.getaddrinfo(host.strip("[]"), port, family=family, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, remote = places[0]
    local = await loop.getaddrinfo(bind.strip("[]"), 0, family=family, type=kind) if bind else []
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # the system may allow less
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if local:
            connection.bind(local[0][4])
        connection.connect(remote)
    except BaseException:
        connection.close()
        raise
    return connection


def _nothing(*_arguments: object) -> None:
    pass
