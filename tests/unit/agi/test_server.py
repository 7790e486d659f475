from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import resource
import socket
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from agi_xmpp.agi import server as server_module
from agi_xmpp.agi.channel import Channel
from agi_xmpp.agi.server import AgiServer, is_allowed
from agi_xmpp.config import AgiSettings
from agi_xmpp.errors import AgiCommandError, AgiHangup, AgiProtocolError, AgiTimeout, UsageError
from tests.unit.agi.cases import case
from tests.unit.agi.fake_asterisk import DEAD, HEADERS, FakeAsterisk, environment_bytes


async def nothing(channel: Channel) -> None:
    """A handler that is done at once."""


@contextlib.asynccontextmanager
async def serving(handler=nothing, **settings) -> AsyncIterator[AgiServer]:
    server = AgiServer(AgiSettings.model_validate({"port": 0, "drain_timeout": 0, **settings}), handler)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    assert server.stats.open == 0


async def call(server: AgiServer, headers=HEADERS) -> FakeAsterisk:
    return await FakeAsterisk.connect(server.ports[0], headers)


class Holder:
    """A handler that goes on until it is told to end."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[Channel] = asyncio.Queue()
        self.end = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, channel: Channel) -> None:
        self.begun.put_nowait(channel)
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_normal_session():
    async def handler(channel: Channel) -> None:
        assert channel.environment.script == "verb"
        await channel.set_variable("X", str(await channel.get_variable("Y")))

    async with serving(handler) as server:
        asterisk = await call(server)
        assert await asterisk.answer("200 result=1 (y)") == ("GET", "VARIABLE", "Y")
        assert await asterisk.answer() == ("SET", "VARIABLE", "X", "y")
        assert await asterisk.status() == "SUCCESS"
        assert (server.stats.served, server.stats.failed, server.stats.refused) == (1, 0, 0)


async def test_case_061_hangup_after_our_end_is_normal(caplog):
    async with serving() as server:
        asterisk = await call(server)
        assert type(await asterisk.event()).__name__ == "Closed"
        asterisk.send(b"HANGUP\n")
        await asterisk.close()
        assert server.stats.hangups == 0
    assert warnings(caplog) == []


# The environment


async def test_case_010_port_probe_is_quiet(caplog):
    with caplog.at_level(logging.INFO):
        async with serving() as server:
            asterisk = await call(server, None)
            await asterisk.close()
            while server._sessions:
                await asyncio.sleep(0)
    assert caplog.records == []


async def test_case_011_end_inside_of_the_environment():
    holder = Holder()
    async with serving(holder) as server:
        asterisk = await call(server, None)
        asterisk.send(environment_bytes()[:-1])
        await asterisk.close()
        while server._sessions:
            await asyncio.sleep(0)
        assert server.stats.served == 0


async def test_case_014_slow_environment_is_cut_off(caplog):
    async with serving(environment_timeout=0.05) as server:
        asterisk = await call(server, None)
        asterisk.send(environment_bytes()[:20])
        assert await asterisk.status() == "FAILURE"
        assert (server.stats.refused, server.stats.served) == (1, 0)
    assert "did not send the environment within 0.05 s" in caplog.text


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        case(15, "http", b"GET / HTTP/1.1\r\n\r\n", "HTTP request"),
        case(16, "tls", b"\x16\x03\x01\x02\x00\x01\x00", "TLS handshake"),
        case(8, "forged", environment_bytes()[:-1] + b"agi_context: x\n\n", "agi_context twice"),
        case(12, "endless", b"agi_request: " + b"x" * 65_536, "longer than 65536 bytes"),
    ],
)
async def test_who_does_not_speak_agi_gets_one_warning(data, complaint, caplog):
    async with serving() as server:
        for _ in range(3):
            asterisk = await call(server, None)
            asterisk.send(data)
            assert await asterisk.status() == "FAILURE"
        assert (server.stats.refused, server.stats.served) == (3, 0)
    (warning,) = warnings(caplog)
    assert complaint in warning
    assert "127.0.0.1" in warning


def test_warnings_come_again_after_a_while(caplog, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    server = AgiServer(AgiSettings(), nothing)
    for seconds in (0, 59, 59.9, 60, 61, 119, 120):
        now = 1000.0 + seconds
        server.warn("kind", f"at {seconds}")
    assert warnings(caplog) == [
        "agi: at 0",
        "agi: at 60 (2 more like this since the last warning)",
        "agi: at 120 (2 more like this since the last warning)",
    ]


# Hangup


async def test_hangup_reaches_the_handler():
    async def handler(channel: Channel) -> None:
        try:
            async with channel.until_hangup():
                await asyncio.Event().wait()
        except AgiHangup:
            await channel.set_variable("STATUS", "HANGUP")

    async with serving(handler) as server:
        asterisk = await call(server)
        asterisk.hangup()
        assert await asterisk.answer() == ("SET", "VARIABLE", "STATUS", "HANGUP")
        assert await asterisk.status() == "SUCCESS"
        assert server.stats.hangups == 1


async def test_hangup_that_leaves_the_handler_is_a_normal_end(caplog):
    async def handler(channel: Channel) -> None:
        async with channel.until_hangup():
            await asyncio.Event().wait()

    async with serving(handler) as server:
        asterisk = await call(server)
        asterisk.hangup()
        assert await asterisk.status() == "SUCCESS"
        assert server.stats.failed == 0
    assert warnings(caplog) == []


async def test_case_064_handler_that_ignores_a_hangup_is_cancelled(caplog):
    holder = Holder()
    async with serving(holder, hangup_grace=0.05) as server:
        asterisk = await call(server)
        asterisk.hangup()
        assert await asterisk.status() == "FAILURE"
        assert holder.cancelled.is_set()
    assert f"{HEADERS['agi_uniqueid']}: the handler went on 0.05 s after the call's end" in caplog.text


async def test_case_059_connection_closed_by_asterisk_cancels_after_the_grace():
    holder = Holder()
    async with serving(holder, hangup_grace=0.05) as server:
        asterisk = await call(server)
        channel = await holder.begun.get()
        asterisk.send(b"HANGUP\nHANGUP\n")
        await asterisk.close()
        await holder.cancelled.wait()
        assert channel.hung_up
        while server._sessions:
            await asyncio.sleep(0)


async def test_case_065_reset_in_mid_command(caplog):
    seen: list[BaseException] = []

    async def handler(channel: Channel) -> None:
        try:
            await channel.noop()
        except AgiHangup as error:
            seen.append(error)
            raise

    async with serving(handler) as server:
        asterisk = await call(server)
        await asterisk.command()
        asterisk.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
        )
        asterisk.transport.abort()
        while server._sessions:
            await asyncio.sleep(0)
        assert len(seen) == 1
        assert server.stats.failed == 0
    assert warnings(caplog) == []


async def test_case_066_keepalive_notices_a_dead_peer():
    holder = Holder()
    async with serving(holder) as server:
        asterisk = await call(server)
        await holder.begun.get()
        (session,) = server._sessions
        assert session._transport is not None
        peer = session._transport.get_extra_info("socket")
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        holder.end.set()
        await asterisk.status()


async def test_protocol_broken_while_the_handler_waits_elsewhere(caplog):
    holder = Holder()
    async with serving(holder, hangup_grace=0.05) as server:
        asterisk = await call(server)
        channel = await holder.begun.get()
        asterisk.send(b"200 result=1\n")
        assert await asterisk.status() == "FAILURE"
        assert holder.cancelled.is_set()
        with pytest.raises(AgiProtocolError):
            await channel.noop()


@pytest.mark.parametrize(
    "error", [AgiProtocolError("x"), AgiTimeout("no reply"), UsageError("no verb"), AgiCommandError("511 x", 511)]
)
async def test_expected_errors_are_one_line_without_traceback(error, caplog):
    async def handler(channel: Channel) -> None:
        raise error

    async with serving(handler) as server:
        assert await (await call(server)).status() == "FAILURE"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == f"{HEADERS['agi_uniqueid']}: {error}"
    assert record.exc_info is None


async def test_case_043_refused_command_that_nobody_catches():
    async def handler(channel: Channel) -> None:
        await channel.answer()

    async with serving(handler) as server:
        asterisk = await call(server)
        await asterisk.answer(DEAD)
        assert await asterisk.status() == "FAILURE"


# The server


async def test_case_077_exception_is_a_failure_with_a_traceback(caplog):
    async def handler(channel: Channel) -> None:
        raise ZeroDivisionError("oops")

    async with serving(handler) as server:
        assert await (await call(server)).status() == "FAILURE"
        assert server.stats.failed == 1
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert HEADERS["agi_uniqueid"] in record.getMessage()
    assert record.exc_info is not None


async def test_exception_with_a_reply_owed_is_a_failure():
    async def handler(channel: Channel) -> None:
        task = asyncio.ensure_future(channel.noop())
        await asyncio.sleep(0)
        task.cancel()
        raise UsageError("no")

    async with serving(handler) as server:
        asterisk = await call(server)
        await asterisk.answer()
        assert await asterisk.status() == "FAILURE"


async def test_case_078_unknown_route():
    """Which routes there are is the dispatcher's business; its error is ours."""

    async def dispatcher(channel: Channel) -> None:
        raise UsageError(f"no verb {channel.environment.script!r}")

    async with serving(dispatcher) as server:
        assert await (await call(server, {**HEADERS, "agi_network_script": "nonsense"})).status() == "FAILURE"


async def test_case_079_one_session_too_many(caplog):
    holder = Holder()
    async with serving(holder, max_sessions=2) as server:
        calls = [await call(server) for _ in range(2)]
        for _ in range(2):
            await holder.begun.get()
        assert server.stats.open == 2
        assert await (await call(server)).status() == "FAILURE"
        assert (server.stats.open, server.stats.refused) == (2, 1)
        assert "agi.max_sessions" in caplog.text
        holder.end.set()
        assert [await asterisk.status() for asterisk in calls] == ["SUCCESS"] * 2
        assert await (await call(server)).status() == "SUCCESS"


async def test_case_080_burst_waits_in_the_backlog():
    """All connect before the server's loop gets to accept a single one; each must be served."""
    count = 1000
    if int(server_module._SOMAXCONN.read_text()) < count:
        pytest.skip("the kernel's queue is shorter (net.core.somaxconn)")
    async with serving(max_sessions=count) as server:
        connections = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", server.ports[0]), timeout=5)
            connection.sendall(environment_bytes())
            connections.append(connection)
        loop = asyncio.get_running_loop()
        for connection in connections:
            connection.setblocking(False)
            assert await loop.sock_recv(connection, 100) == b""
            connection.close()
        assert server.stats.served == count
        assert server.stats.failed == 0


async def test_case_081_open_session_costs_little_memory():
    count = 300
    holder = Holder()
    async with serving(holder, max_sessions=count) as server:
        connections = []
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(count):
                connection = socket.create_connection(("127.0.0.1", server.ports[0]))
                connection.sendall(environment_bytes())
                connections.append(connection)
            for _ in range(count):
                await holder.begun.get()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for connection in connections:
            connection.close()
        holder.end.set()
    assert (after - before) / count < 10 * 1024


async def test_case_082_stop_lets_calls_end():
    holder = Holder()
    server = AgiServer(AgiSettings(port=0, drain_timeout=60), holder)
    await server.start()
    (port,) = server.ports
    asterisk = await call(server)
    await holder.begun.get()
    stopping = asyncio.ensure_future(server.stop())
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await FakeAsterisk.connect(port)
    assert not stopping.done()
    holder.end.set()
    assert await asterisk.status() == "SUCCESS"
    await stopping
    assert not holder.cancelled.is_set()
    assert server.stats.open == 0


async def test_case_082_stop_cancels_what_does_not_end(caplog):
    holder = Holder()
    server = AgiServer(AgiSettings(port=0, drain_timeout=0.05), holder)
    await server.start()
    asterisk = await call(server)
    silent = await call(server, None)
    await holder.begun.get()
    stopping = asyncio.ensure_future(server.stop())
    assert await asterisk.status() == "FAILURE"
    await stopping
    await silent.close()
    assert holder.cancelled.is_set()
    assert server.stats.open == 0
    assert "did not end in time" in caplog.text


async def test_stop_without_start_and_twice():
    server = AgiServer(AgiSettings(port=0), nothing)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    assert server.ports == ()


async def test_case_083_slow_handler_does_not_hold_up_others():
    release = asyncio.Event()

    async def handler(channel: Channel) -> None:
        if channel.environment.script == "slow":
            await release.wait()

    async with serving(handler) as server:
        slow = await call(server, {**HEADERS, "agi_network_script": "slow"})
        for _ in range(10):
            assert await (await call(server)).status() == "SUCCESS"
        release.set()
        assert await slow.status() == "SUCCESS"


async def test_case_084_no_file_descriptor_left_is_survived(monkeypatch, caplog):
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.01)
    monkeypatch.setattr(server_module, "_make_room_for", lambda files: None)
    exhausted = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: exhausted.set())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving() as server:
        connection = socket.socket()
        connection.setblocking(False)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (connection.fileno() + 1, hard))
            await loop.sock_connect(connection, ("127.0.0.1", server.ports[0]))
            await exhausted.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await loop.sock_sendall(connection, environment_bytes())
        assert await loop.sock_recv(connection, 100) == b""
        connection.close()
        assert server.stats.served == 1


async def test_case_085_peer_that_is_not_allowed(caplog):
    async with serving(allow=["192.0.2.0/24"]) as server:
        for _ in range(2):
            assert await (await call(server)).status() == "FAILURE"
        assert (server.stats.refused, server.stats.served) == (2, 0)
        assert warnings(caplog) == ["agi: connection refused: 127.0.0.1 is not in agi.allow"]
        server.settings = AgiSettings(port=0)
        assert await (await call(server)).status() == "SUCCESS"


@pytest.mark.parametrize(
    ("peer", "networks", "allowed"),
    [
        ("127.0.0.1", ["127.0.0.0/8"], True),
        ("127.255.255.255", ["127.0.0.0/8"], True),
        ("128.0.0.0", ["127.0.0.0/8"], False),
        ("::1", ["::1/128"], True),
        ("::2", ["::1/128"], False),
        ("::ffff:192.0.2.1", ["192.0.2.0/24"], True),
        ("::ffff:192.0.3.1", ["192.0.2.0/24"], False),
        ("192.0.2.1", ["::/0"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("127.0.0.1", [], False),
        ("?", ["0.0.0.0/0"], False),
        ("", ["0.0.0.0/0"], False),
    ],
)
def test_is_allowed(peer, networks, allowed):
    settings = AgiSettings(allow=[ipaddress.ip_network(network) for network in networks])
    assert is_allowed(peer, settings) is allowed


async def test_case_086_client_that_answers_no_command():
    async def handler(channel: Channel) -> None:
        await channel.noop()

    async with serving(handler, command_timeout=0.05) as server:
        asterisk = await call(server)
        await asterisk.command()
        assert await asterisk.status() == "FAILURE"


async def test_case_086_client_that_does_not_close_its_side(monkeypatch):
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT", 0.05)
    async with serving() as server:
        asterisk = await call(server)
        await asterisk.event()
        while server._sessions:
            asterisk.send(b"x")
            await asyncio.sleep(0.001)
        assert server.stats.open == 0
        await asterisk.close()


# Ports and options


async def test_addresses_share_a_free_port():
    async with serving(listen=["127.0.0.1", "127.0.0.2"]) as server:
        (port,) = server.ports
        for host in ("127.0.0.1", "127.0.0.2"):
            assert await (await FakeAsterisk.connect(port, host=host)).status() == "SUCCESS"


async def test_port_that_is_taken():
    async with serving() as server:
        other = AgiServer(AgiSettings(port=server.ports[0], listen=["127.0.0.2", "127.0.0.1"]), nothing)
        with pytest.raises(OSError, match="in use"):
            await other.start()
        assert other.ports == ()


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux only")
@pytest.mark.parametrize("wanted", [True, False])
async def test_every_segment_is_acknowledged_at_once(wanted, monkeypatch):
    options: list[int] = []
    monkeypatch.setattr(
        server_module._Session, "_set_option", lambda self, level, option: options.append(level * 1000 + option)
    )

    async def handler(channel: Channel) -> None:
        await channel.noop()
        await channel.noop()

    async with serving(handler, quickack=wanted) as server:
        asterisk = await call(server)
        await asterisk.answer()
        await asterisk.answer()
        await asterisk.status()
    # once at the connection, once for the environment and for each reply
    assert options.count(socket.IPPROTO_TCP * 1000 + socket.TCP_QUICKACK) == (4 if wanted else 0)


def test_short_backlog_of_the_kernel_is_named(caplog, tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "_SOMAXCONN", tmp_path / "somaxconn")
    server_module._warn_of_short_backlog(4096)
    (tmp_path / "somaxconn").write_text("4096\n")
    server_module._warn_of_short_backlog(4096)
    assert warnings(caplog) == []
    (tmp_path / "somaxconn").write_text("128\n")
    server_module._warn_of_short_backlog(4096)
    assert "net.core.somaxconn" in caplog.text


@pytest.mark.parametrize(
    ("soft", "hard", "files", "asked", "warned"),
    [
        (1024, 4096, 1024, None, False),
        (1024, 4096, 1025, 1025, False),
        (1024, 4096, 4096, 4096, False),
        (1024, 4096, 4097, 4096, True),
        (1024, resource.RLIM_INFINITY, 9999, 9999, False),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 9999, None, False),
    ],
)
def test_room_for_file_descriptors(soft, hard, files, asked, warned, monkeypatch, caplog):
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: calls.append(limits))
    server_module._make_room_for(files)
    assert calls == ([] if asked is None else [(asked, hard)])
    assert bool(warnings(caplog)) is warned


def test_on_uvloop():
    uvloop = pytest.importorskip("uvloop")

    async def handler(channel: Channel) -> None:
        match channel.environment.script:
            case "bad":
                raise UsageError("bad")
            case "wait":
                async with channel.until_hangup():
                    await asyncio.Event().wait()
            case _:
                await channel.noop()

    async def scenario() -> None:
        async with serving(handler) as server:
            asterisk = await call(server)
            await asterisk.answer()
            assert await asterisk.status() == "SUCCESS"
            assert await (await call(server, {**HEADERS, "agi_network_script": "bad"})).status() == "FAILURE"
            asterisk = await call(server, {**HEADERS, "agi_network_script": "wait"})
            asterisk.hangup()
            assert await asterisk.status() == "SUCCESS"
            await (await call(server, None)).close()

    uvloop.run(scenario())
