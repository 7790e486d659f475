"""One HTTP request: the PUT of a file to where an upload service says (XEP-0363 section 5). h11 on asyncio's streams.

Not a whole HTTP client: redirects, cookies, proxies and retries are what must not happen here. h11 writes the request,
refusing headers that would be more than one, and reads the answer; a cancelled upload closes its connection at once,
which no client in a thread does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import urllib.parse
from collections.abc import Iterable

import h11

from agi_xmpp import __version__
from agi_xmpp.errors import UploadFailed
from agi_xmpp.tls import distrust, handshake_reason

#: Bytes given to the connection at once; the rest waits until they are on their way.
CHUNK = 64 * 1024
#: Bytes read at once, and the longest head of an answer (h11's own limit is 100 KiB).
READ = 16 * 1024


async def put(
    url: str, data: bytes, content_type: str, headers: Iterable[tuple[str, str]], context: ssl.SSLContext
) -> None:
    """Store ``data`` at ``url``. The caller sets the deadline; being cancelled drops the connection.

    Args:
        url: ``https`` only (XEP-0363 section 4).
        data: the whole file.
        content_type: of it.
        headers: what the service wants besides; the caller has chosen those that are allowed.
        context: what certificate we accept.

    Raises:
        UploadFailed: no connection, no trust, or an answer other than success; the text says which. It never holds the
            whole address, which may be a secret.
    """
    host, port, target = _parts(url)
    place = f"{host}:{port}"
    try:
        # Before anything is opened: what cannot be written is not sent at all.
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=READ)
        head = connection.send(_request(host, port, target, len(data), content_type, headers))
    except (h11.LocalProtocolError, UnicodeError):
        raise UploadFailed(f"the upload service wants a request that HTTP cannot carry, at {place}") from None
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise UploadFailed(distrust(error, place, host)) from None
    except ssl.SSLError as error:
        raise UploadFailed(f"no TLS with {place}: {handshake_reason(error)}") from None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such host"
        raise UploadFailed(f"{place} cannot be reached: {reason or error}") from None
    try:
        status = await _exchange(connection, reader, writer, head or b"", data)
    except h11.RemoteProtocolError:
        raise UploadFailed(f"what {place} answers is not HTTP") from None
    except (OSError, EOFError) as error:
        raise UploadFailed(f"{place} broke the connection: {error}") from None
    finally:
        writer.transport.abort()  # nothing more is expected of it, and a goodbye (TLS) could take for ever
    if not 200 <= status < 300:
        raise UploadFailed(f"{place} did not take the file: HTTP status {status}{_MEANINGS.get(status, '')}")


_MEANINGS = {
    401: " (not authorised)",
    403: " (forbidden)",
    404: " (not found)",
    411: " (length required)",
    413: " (too large)",
    507: " (no space left)",
}


def _parts(url: str) -> tuple[str, int, str]:
    """Return host, port and request target of an ``https`` address; UploadFailed if it is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host = None
    if not host or parts.scheme != "https":
        raise UploadFailed("the upload service names an address that is not https://")
    target = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return host, port, f"{target}?{query}" if query else target


def _request(
    host: str, port: int, target: str, size: int, content_type: str, headers: Iterable[tuple[str, str]]
) -> h11.Request:
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    fields = [
        ("Host", name if port == 443 else f"{name}:{port}"),
        ("User-Agent", f"agi-xmpp/{__version__}"),
        ("Content-Type", content_type),
        ("Content-Length", str(size)),
        ("Connection", "close"),
        *headers,
    ]
    encoded = [(key.encode("ascii"), value.encode("latin-1")) for key, value in fields]
    return h11.Request(method="PUT", target=target, headers=encoded)


async def _exchange(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, data: bytes
) -> int:
    """Send the request and return the answer's status. The answer may come, and count, before all is sent."""
    sending = asyncio.ensure_future(_send(connection, writer, head, data))
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                return event.status_code
            if event is h11.NEED_DATA:
                received = await reader.read(READ)
                if not received:
                    raise EOFError("there is no complete answer")
                connection.receive_data(received)
    finally:
        sending.cancel()
        # What stood against the sending shows in the answer, or in that there is none.
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await sending


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, head: bytes, data: bytes) -> None:
    writer.write(head)
    for start in range(0, len(data), CHUNK):
        writer.write(connection.send(h11.Data(data=data[start : start + CHUNK])) or b"")
        await writer.drain()
    writer.write(connection.send(h11.EndOfMessage()) or b"")
