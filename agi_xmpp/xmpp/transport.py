"""Between asyncio's transports and aioxmpp's `XMLStream`: TLS from the standard library, and no silent ends.

aioxmpp brings a TLS transport of its own (aioopenssl) whose certificate check fails with every current pyOpenSSL and
from Python 3.12 on. `XMLStream` only needs a transport with `starttls`, so asyncio's can take its place.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from aioxmpp import protocol

from agi_xmpp.xmpp.namespaces import read_with


class Stream(protocol.XMLStream):  # type: ignore[misc]  # the library has no types
    """aioxmpp's XML stream, whose futures don't complain, and which reads what `namespaces` is for.

    Whoever stops waiting leaves futures behind that get an exception when the stream ends, which nobody fetches:
    asyncio would log each as an error.
    """

    def _reset_state(self) -> None:
        super()._reset_state()
        read_with(self._parser, self._content_handler())

    def _content_handler(self) -> Any:
        """Return who is told what the parser reads, for a new stream."""
        return self._processor

    def error_future(self) -> asyncio.Future[Any]:
        """Return a future that gets the stream's end as an exception, or (`features_future`) its features."""
        future: asyncio.Future[Any] = super().error_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future


class Transport(asyncio.Transport):
    """asyncio's transport with the `starttls` that `XMLStream` expects.

    Args:
        inner: asyncio's transport.
        bridge: the protocol that it feeds.
        server_name: what the server's certificate must be valid for: the domain of our JID, whatever host serves it
            (RFC 6120 section 13.7.2).
        header: changes the first bytes that are sent, which hold the stream header.
    """

    def __init__(
        self,
        inner: asyncio.Transport,
        bridge: Bridge,
        server_name: str,
        header: Callable[[bytes], bytes] | None = None,
    ) -> None:
        super().__init__()
        self._inner = inner
        self._bridge = bridge
        self._server_name = server_name
        self._header = header
        self._pieces: list[bytes] = []
        self._collected = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return asyncio's information, such as ``ssl_object``."""
        return self._inner.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Collect what is written in one turn of the loop, and send it at once.

        `XMLStream` writes a stanza in a dozen pieces, and reuses the buffer that it hands over. One piece would be one
        TLS record; and ejabberd does not answer a stream header that arrives in pieces.
        """
        if not self._pieces:
            asyncio.get_running_loop().call_soon(self._flush)
        self._pieces.append(bytes(data))
        self._collected += len(data)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the system has not taken yet."""
        return self._collected + self._inner.get_write_buffer_size()

    def close(self) -> None:
        """Send what is collected and close."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        """Close without sending anything more."""
        self._forget()
        self._inner.abort()

    def is_closing(self) -> bool:
        """Return True if the transport is closing or closed."""
        return self._inner.is_closing()

    def can_write_eof(self) -> bool:
        """Return False: TLS has no half-closed connections."""
        return False

    def can_starttls(self) -> bool:
        """Return True if the connection is not encrypted yet."""
        return self._inner.get_extra_info("sslcontext") is None

    async def starttls(self, context: ssl.SSLContext, _after_handshake: object = None) -> None:
        """Encrypt the connection and check the server's certificate.

        Raises:
            ssl.SSLError: the handshake failed, or the certificate is not to be trusted.
        """
        self._flush()
        upgraded = await asyncio.get_running_loop().start_tls(
            self._inner, self._bridge, context, server_hostname=self._server_name
        )
        if upgraded is None:  # asyncio says so if the connection broke in the meantime
            raise ConnectionResetError("the connection broke during the TLS handshake")
        self._inner = upgraded

    def _flush(self) -> None:
        if self._pieces and not self._inner.is_closing():
            data = b"".join(self._pieces)
            if self._header is not None:
                data, self._header = self._header(data), None
            self._inner.write(data)
        self._forget()

    def _forget(self) -> None:
        self._pieces.clear()
        self._collected = 0


class Bridge(asyncio.Protocol):
    """Feeds an `XMLStream`, and sees to it that it never ends without a reason.

    When a server goes away without ``</stream:stream>`` (a plain FIN), aioxmpp notices no error, waits for ever and
    believes itself online. Every end that was not asked for becomes a `ConnectionResetError` here.

    Args:
        stream: the library's.
        server_name, header: as of `Transport`.
    """

    def __init__(self, stream: Any, server_name: str, header: Callable[[bytes], bytes] | None = None) -> None:
        self._stream = stream
        self._server_name = server_name
        self._header = header
        self.transport: Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the stream."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self.transport = Transport(transport, self, self._server_name, self._header)
        self._stream.connection_made(self.transport)

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the parser."""
        if self._stream.state < protocol.State.CLOSED:
            self._stream.data_received(data)

    def eof_received(self) -> None:
        """Treat the end of the server's bytes as a broken connection, unless the stream is closing already."""
        if self._stream.state < protocol.State.CLOSING:
            self.lose(ConnectionResetError("the server closed the connection without a word"))
        else:
            self._stream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the stream why the connection ended."""
        if exc is None and self._stream.state < protocol.State.CLOSING:
            exc = ConnectionResetError("the connection was closed")
        self._stream.connection_lost(exc)

    def lose(self, error: Exception) -> None:
        """End the stream and drop the connection now. Does nothing to a stream that has ended."""
        if self._stream.state is protocol.State.READY:
            self._stream.abort()
        else:
            self._stream.connection_lost(error)
        if self.transport is not None:
            self.transport.abort()
