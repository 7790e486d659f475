"""The PUT of an upload, against a server on TLS that does what it should, and what it should not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from agi_xmpp import __version__
from agi_xmpp.errors import UploadFailed
from agi_xmpp.tls import client_context
from agi_xmpp.xmpp.put import CHUNK, READ, put
from tests.unit.xmpp.conftest import server_context
from tests.unit.xmpp.web import Exchange, Web

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

AUDIO = b"RIFF" + bytes(range(256)) * 16


@pytest.fixture
async def web(ca: trustme.CA) -> AsyncIterator[Web]:
    async with Web(server_context(ca, "localhost")) as web:
        yield web


@pytest.fixture
def trust(ca_file: Path) -> ssl.SSLContext:
    return client_context(ca_file)


async def send(url: str, trust: ssl.SSLContext, data: bytes = AUDIO, **headers: str) -> None:
    async with asyncio.timeout(10):
        await put(url, data, "audio/wav", headers.items(), trust)


async def test_the_request(web: Web, trust: ssl.SSLContext) -> None:
    await send(web.url("/up/a%20b/ü.wav?token=a/b%2B&x"), trust, Authorization="Basic Zm9v", Cookie="a=b; c")
    exchange = web.exchanges[0]
    assert exchange.head[0] == "PUT /up/a%20b/%C3%BC.wav?token=a/b%2B&x HTTP/1.1"
    assert exchange.headers == {
        "host": f"localhost:{web.port}",
        "user-agent": f"agi-xmpp/{__version__}",
        "content-type": "audio/wav",
        "content-length": str(len(AUDIO)),
        "connection": "close",
        "authorization": "Basic Zm9v",
        "cookie": "a=b; c",
    }
    assert exchange.body == AUDIO


@pytest.mark.parametrize("size", [0, CHUNK - 1, CHUNK, CHUNK + 1, 1_000_000])
async def test_files_of_any_size_arrive_whole(web: Web, trust: ssl.SSLContext, size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    await send(web.url(), trust, data)
    assert web.exchanges[0].body == data


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content", "299 Fine"])
async def test_success(web: Web, trust: ssl.SSLContext, status: str) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.read_body()
        exchange.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.answer(status)

    web.serve = serve
    await send(web.url(), trust)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("199 Hm", "broke the connection"),  # an interim answer, and no other one
        ("300 Many", "HTTP status 300"),
        ("403 Forbidden", r"HTTP status 403 \(forbidden\)"),
        ("413 Too Large", r"HTTP status 413 \(too large\)"),
        ("500 Oops", "HTTP status 500$"),
        ("507 Full", r"HTTP status 507 \(no space left\)"),
    ],
)
async def test_refusals(web: Web, trust: ssl.SSLContext, status: str, words: str) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.answer(status)
        if status.startswith("199"):
            exchange.writer.close()

    web.serve = serve
    with pytest.raises(UploadFailed, match=words):
        await send(web.url(), trust)


async def test_redirects_are_not_followed(web: Web, trust: ssl.SSLContext, ca: trustme.CA) -> None:
    async with Web(server_context(ca, "localhost")) as elsewhere:

        async def serve(exchange: Exchange) -> None:
            await exchange.read_body()
            await exchange.answer("307 Temporary Redirect", f"Location: {elsewhere.url()}\r\n")

        web.serve = serve
        with pytest.raises(UploadFailed, match="HTTP status 307"):
            await send(web.url(), trust, Authorization="Basic Zm9v")
        assert elsewhere.exchanges == []


async def test_a_refusal_before_the_file_is_sent_counts(web: Web, trust: ssl.SSLContext) -> None:
    """Servers say "too large" at once, and read no further."""

    async def serve(exchange: Exchange) -> None:
        await exchange.answer("413 Too Large")
        await web.gone.wait()

    web.serve = serve
    with pytest.raises(UploadFailed, match="413"):
        await send(web.url(), trust, bytes(20_000_000))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "broke the connection"),
        (b"HTTP/1.1 20", "broke the connection"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * READ, "is not HTTP"),
        (b"\0" * 100_000, "is not HTTP"),
    ],
    ids=["nothing", "half a line", "another protocol", "an endless head", "noise"],
)
async def test_answers_that_are_none(web: Web, trust: ssl.SSLContext, answer: bytes, words: str) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.read_body()
        exchange.writer.write(answer)
        exchange.writer.close()

    web.serve = serve
    with pytest.raises(UploadFailed, match=words):
        await send(web.url(), trust)


async def test_a_deadline_drops_the_connection(web: Web, trust: ssl.SSLContext) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.until_closed()

    web.serve = serve
    sending = asyncio.create_task(put(web.url(), AUDIO, "audio/wav", [], trust))
    async with asyncio.timeout(10):
        await web.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await web.gone.wait()


async def test_only_with_a_certificate_that_can_be_trusted(web: Web) -> None:
    with pytest.raises(UploadFailed, match=f"the certificate of localhost:{web.port} is signed by nobody whom"):
        await send(web.url(), client_context())
    assert web.exchanges == []


async def test_only_with_the_certificate_of_that_host(ca: trustme.CA, trust: ssl.SSLContext) -> None:
    async with Web(server_context(ca, "elsewhere.test")) as web:
        with pytest.raises(UploadFailed, match="is not valid for localhost"):
            await send(web.url(), trust)
        assert web.exchanges == []


async def test_nobody_there(trust: ssl.SSLContext) -> None:
    with pytest.raises(UploadFailed, match="localhost:1 cannot be reached"):
        await send("https://localhost:1/x", trust)


async def test_not_over_what_is_not_tls(trust: ssl.SSLContext) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UploadFailed, match=f"no TLS with localhost:{port}"):
            await send(f"https://localhost:{port}/x", trust)


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost/x", "ftp://localhost/x", "file:///etc/passwd", "localhost/x", "", "https://", "https:///x"),
        *("https://[::1/x", "https://localhost:99999/x", "https://localhost:x/"),
    ],
)
async def test_addresses_that_are_refused(url: str, trust: ssl.SSLContext) -> None:
    with pytest.raises(UploadFailed, match="an address that is not https://"):
        await send(url, trust)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "€", "a\rb"])
async def test_headers_that_would_be_more_than_one_are_not_sent(web: Web, trust: ssl.SSLContext, value: str) -> None:
    with pytest.raises(UploadFailed, match="a request that HTTP cannot carry"):
        await send(web.url(), trust, Cookie=value)
    assert web.exchanges == []


async def test_hosts_that_no_name_can_be(trust: ssl.SSLContext) -> None:
    with pytest.raises(UploadFailed):
        await send(f"https://{'a' * 64}.test/x", trust)


async def test_the_address_itself_is_a_secret(web: Web, trust: ssl.SSLContext) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.answer("403 Forbidden")

    web.serve = serve
    with pytest.raises(UploadFailed) as caught:
        await send(web.url("/s3cr3t"), trust)
    assert "s3cr3t" not in str(caught.value)
