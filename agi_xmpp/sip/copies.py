"""A UDP socket for the copies of SIP packets that Asterisk sends (`agi_xmpp.sip.hep`)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable
from typing import Final

from agi_xmpp.config import SipSettings
from agi_xmpp.sip import hep
from agi_xmpp.sip.hep import SentText

log = logging.getLogger("agi_xmpp.sip")

#: Bytes that the kernel keeps for us until we read: 3600 packets of a kilobyte. It gives no more than its
#: net.core.rmem_max, by default enough for 180 (both measured on Linux 6).
_RECEIVE_BUFFER: Final = 1 << 22
#: Linux's socket option SO_MEMINFO (asm-generic/socket.h, since 4.12): nine numbers, of which the last is what was
#: dropped because the buffer was full.
_SO_MEMINFO: Final = 55
_MEMINFO = struct.Struct("9I")
#: Datagrams that are read at once, before anything else is done.
_BATCH: Final = 500
_MAX_DATAGRAM: Final = 65_536


class Copies:
    """An open socket. Make it by `open_copies`.

    Args:
        sock: bound, and not blocking.
        sources: the addresses that Asterisk has; what comes from others is dropped.
        on_text: is called with each text within a call.

    Attributes:
        count: copies that came from Asterisk.
        strangers: datagrams that came from elsewhere.
        last: when the last copy came, by the loop's clock; None: none has come.
    """

    def __init__(self, sock: socket.socket, sources: frozenset[str], on_text: Callable[[SentText], None]) -> None:
        self._socket = sock
        self._sources = sources
        self._on_text = on_text
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self.count = 0
        self.strangers = 0
        self.last: float | None = None
        self._loop.add_reader(sock, self.read)

    @property
    def lost(self) -> int:
        """Copies that came faster than we read, and were dropped; 0 where the system does not count them."""
        try:
            return int(_MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[-1])
        except (OSError, struct.error):
            return 0

    async def wait(self) -> None:
        """Return as soon as a copy has come."""
        await self._came.wait()

    def close(self) -> None:
        """Close the socket; nothing is called any more. Again, it does nothing."""
        if self._socket.fileno() != -1:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def read(self) -> None:
        """Take what has come, without waiting; to be called before a copy counts as missing.

        All that is there: asyncio's own transport would take one for each turn of the loop, and a busy exchange fills
        the kernel's buffer faster.
        """
        for _ in range(_BATCH):
            try:
                datagram, source = self._socket.recvfrom(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.debug("reading copies of SIP packets: %s", error)
                return
            if source[0] in self._sources:
                self._take(datagram)
            else:
                self.strangers += 1

    def _take(self, datagram: bytes) -> None:
        if not hep.is_copy(datagram):
            return
        self.count += 1
        self.last = self._loop.time()
        self._came.set()
        try:
            for text in hep.texts_in(datagram):
                self._on_text(text)
        except Exception:
            log.exception("handling the copy of a SIP packet failed; the others go on")


async def open_copies(settings: SipSettings, on_text: Callable[[SentText], None]) -> Copies:
    """Listen at ``settings.hep`` for what Asterisk at ``settings.host`` sends.

    Args:
        settings: ``[conference.sip]``.
        on_text: is called with each text within a call.

    Raises:
        OSError: the address is not ours, or in use; or Asterisk's name is not known.
    """
    loop = asyncio.get_running_loop()
    host, port = settings.hep_place
    sources = {str(info[4][0]) for info in await loop.getaddrinfo(settings.host.strip("[]"), None)}
    places = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = places[0]
    if any(ipaddress.ip_address(source.partition("%")[0]).is_loopback for source in sources):
        # Asterisk is on this machine: what it sends has our own address.
        sources |= {"127.0.0.1", "::1", str(address[0])}
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with contextlib.suppress(OSError):  # the system may allow less
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.bind(address)
        return Copies(sock, frozenset(sources), on_text)
    except BaseException:
        sock.close()
        raise
