"""A UDP socket to Asterisk and nobody else: it is connected, so that the kernel drops what others send."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Final, cast

from agi_xmpp.errors import SipNotReached
from agi_xmpp.sip.wire import Place

log = logging.getLogger("agi_xmpp.sip")

#: Bytes that the kernel keeps for us until we read: some hundred of the longest texts.
_RECEIVE_BUFFER: Final = 1 << 20


class Udp(asyncio.DatagramProtocol):
    """An open socket. Make it by `open_udp`.

    Args:
        on_datagram: is called with each datagram.
        on_refused: is called when nobody listens there; never from within `send`.
    """

    def __init__(self, on_datagram: Callable[[bytes], None], on_refused: Callable[[], None]) -> None:
        self._on_datagram = on_datagram
        self._on_refused = on_refused
        self._transport: asyncio.DatagramTransport | None = None
        self._full = False

    @property
    def places(self) -> tuple[Place, Place]:
        """Our address and the other side's."""
        if self._transport is None:
            raise RuntimeError("the socket is not open")
        local, remote = (self._transport.get_extra_info(name) for name in ("sockname", "peername"))
        return Place(local[0], local[1]), Place(remote[0], remote[1])

    def send(self, datagram: bytes) -> None:
        """Send a datagram. Where too many wait for the network it is dropped; what matters is sent again."""
        if self._transport is not None and not self._transport.is_closing() and not self._full:
            self._transport.sendto(datagram)

    def close(self) -> None:
        """Close the socket; nothing is called any more."""
        if self._transport is not None:
            self._transport.abort()
        self._on_datagram = _nothing
        self._on_refused = _nothing

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        connection = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the system may allow less
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - there is one sender only
        """Hand on a datagram."""
        self._on_datagram(data)

    def error_received(self, exc: Exception) -> None:
        """Take an error of the network; asyncio calls this from within `send`, too."""
        if isinstance(exc, ConnectionRefusedError):
            asyncio.get_running_loop().call_soon(self._refused)
        else:
            log.debug("the network did not take a datagram for Asterisk: %s", exc)

    def pause_writing(self) -> None:
        """Send nothing for now: asyncio's buffer is full."""
        self._full = True

    def resume_writing(self) -> None:
        """Send again."""
        self._full = False

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
            return await _open(host, port, bind, on_datagram, on_refused, socket.AF_INET)
        except socket.gaierror:
            return await _open(host, port, bind, on_datagram, on_refused, socket.AF_UNSPEC)
    except socket.gaierror as error:
        raise SipNotReached(f"the host {host} of [conference.sip] is not known ({error.strerror})") from None
    except OSError as error:
        raise SipNotReached(f"no way to {host}:{port} (UDP): {error.strerror or error}") from None


async def _open(
    host: str,
    port: int,
    bind: str,
    on_datagram: Callable[[bytes], None],
    on_refused: Callable[[], None],
    family: socket.AddressFamily,
) -> Udp:
    _transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Udp(on_datagram, on_refused),
        local_addr=(bind.strip("[]"), 0) if bind else None,
        remote_addr=(host.strip("[]"), port),
        family=family,
    )
    return protocol


def _nothing(*_arguments: object) -> None:
    pass
