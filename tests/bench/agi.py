"""How much a FastAGI session costs: our server on asyncio and on uvloop beside pyst2 with one thread a call.

Each session reads the environment, gets a variable and sets one. The server is a process of its own on one CPU; the
other CPU plays Asterisk, by the ASTERISK role of our wire. All servers run in turns, several rounds, so that whatever
else the machine does hits all of them. CPU time is the server process's own (clock_getcpuclockid(3)); sessions a second
are bounded by the generator, too, so that the CPU column is the one to compare.

pyst2 0.5.1 cannot serve FastAGI as it is; it needs what `_serve_pyst2` does to it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import multiprocessing
import os
import signal
import socketserver
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

from agi_xmpp.agi.channel import Channel
from agi_xmpp.agi.server import AgiServer
from agi_xmpp.agi.wire import NEED_DATA, AgiConnection, Closed, Command, Role
from agi_xmpp.config import AgiSettings

ROUNDS = 5
SESSIONS = 2000
CONCURRENT = 50
BACKLOG = 1024

#: Seconds for one server's round: one that hangs must not hold up the others for ever.
ROUND_TIMEOUT = 60.0

ENVIRONMENT = {
    "agi_network": "yes",
    "agi_network_script": "bench?x=1",
    "agi_request": "agi://127.0.0.1/bench?x=1",
    "agi_channel": "Local/x@bench-00000001;2",
    "agi_language": "en",
    "agi_type": "Local",
    "agi_uniqueid": "1795258243.5",
    "agi_version": "22.10.1",
    "agi_callerid": "201",
    "agi_calleridname": "Ann",
    "agi_callingpres": "0",
    "agi_callingani2": "0",
    "agi_callington": "0",
    "agi_callingtns": "0",
    "agi_dnid": "unknown",
    "agi_rdnis": "unknown",
    "agi_context": "bench",
    "agi_extension": "x",
    "agi_priority": "1",
    "agi_enhanced": "0.0",
    "agi_accountcode": "",
    "agi_threadid": "139910737245888",
    "agi_arg_1": "one",
}


@dataclass(frozen=True, slots=True)
class Round:
    """One server's result in one round: seconds of its CPU, and of the clock, for all sessions."""

    cpu: float
    elapsed: float


# The servers; each tells its port through the pipe and serves until it is ended.


async def _handler(channel: Channel) -> None:
    value = await channel.get_variable("X")
    await channel.set_variable("Y", str(value))


async def _serve_ours(pipe: Connection) -> None:
    server = AgiServer(AgiSettings(port=0), _handler)
    await server.start()
    pipe.send(server.ports[0])
    await asyncio.Event().wait()


def _serve_asyncio(pipe: Connection) -> None:
    asyncio.run(_serve_ours(pipe))


def _serve_uvloop(pipe: Connection) -> None:
    import uvloop

    uvloop.run(_serve_ours(pipe))


def _serve_pyst2(pipe: Connection) -> None:
    import asterisk.agi

    class NoSignal:
        SIGHUP = signal.SIGHUP

        @staticmethod
        def signal(*_: object) -> None:
            """AGI() sets a signal handler, which only the main thread may."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # It writes text to a stream of bytes, and echoes every line to stderr.
            out = io.TextIOWrapper(self.wfile, encoding="utf-8", write_through=True)  # type: ignore[type-var]
            agi = asterisk.agi.AGI(stdin=self.rfile, stdout=out, stderr=Nothing())
            agi.set_variable("Y", agi.get_variable("X"))
            out.detach()

    class Nothing(io.TextIOBase):
        def write(self, text: str) -> int:
            return len(text)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = BACKLOG  # 5 by default, which loses calls

    asterisk.agi.signal = NoSignal
    with Server(("127.0.0.1", 0), Handler) as server:
        pipe.send(server.server_address[1])
        server.serve_forever()


SERVERS: dict[str, Callable[[Connection], None]] = {
    "agi-xmpp, asyncio": _serve_asyncio,
    "agi-xmpp, uvloop": _serve_uvloop,
    "pyst2, threads (patched)": _serve_pyst2,
}
NEEDS = {"agi-xmpp, uvloop": "uvloop", "pyst2, threads (patched)": "asterisk"}


# Asterisk's part


class _Call(asyncio.Protocol):
    """One session as Asterisk has it; a wrong command makes it fail."""

    def __init__(self, done: asyncio.Future[None]) -> None:
        self._done = done
        self._wire = AgiConnection(Role.ASTERISK)
        self._expected = [("GET", "VARIABLE", "X"), ("SET", "VARIABLE", "Y", "some value")]
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._transport.write(self._wire.send_environment(ENVIRONMENT))

    def data_received(self, data: bytes) -> None:
        self._wire.receive_data(data)
        self._handle_events()

    def eof_received(self) -> bool:
        self._wire.receive_data(b"")
        self._handle_events()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection too early"))

    def _handle_events(self) -> None:
        assert self._transport is not None
        while (event := self._wire.next_event()) is not NEED_DATA:
            if isinstance(event, Command) and self._expected and event.words == self._expected[0]:
                self._expected.pop(0)
                reply = "200 result=1 (some value)" if event.words[0] == "GET" else "200 result=1"
                self._transport.write(self._wire.send_reply(reply))
            elif isinstance(event, Closed) and not self._expected:
                self._transport.write(self._wire.send_hangup())  # as Asterisk does after the script's end
                self._done.set_result(None)
                return
            else:
                raise ValueError(f"the server said {event}")


async def _generate(port: int, sessions: int) -> None:
    loop = asyncio.get_running_loop()
    left = iter(range(sessions))

    async def caller() -> None:
        for _ in left:
            done: asyncio.Future[None] = loop.create_future()
            await loop.create_connection(lambda done=done: _Call(done), "127.0.0.1", port)  # type: ignore[misc]
            await done

    async with asyncio.timeout(ROUND_TIMEOUT), asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT):
            group.create_task(caller())


def _run(coroutine: object) -> None:
    if importlib.util.find_spec("uvloop"):
        import uvloop

        uvloop.run(coroutine)
    else:
        asyncio.run(coroutine)  # type: ignore[arg-type]


# The measurement


class _Server:
    """A server in a process of its own."""

    def __init__(self, serve: Callable[[Connection], None], cpus: list[int]) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_pinned, args=(serve, theirs, cpus), daemon=True
        )
        self._process.start()
        if not ours.poll(30):
            raise RuntimeError("the server did not start within 30 s")
        self.port: int = ours.recv()

    def cpu(self) -> float:
        """Seconds of CPU, ended threads included."""
        assert self._process.pid is not None
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()


def _pinned(serve: Callable[[Connection], None], pipe: Connection, cpus: list[int]) -> None:
    _pin(cpus)
    serve(pipe)


def _pin(cpus: list[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def _measure(server: _Server) -> Round:
    cpu, clock = server.cpu(), time.perf_counter()
    _run(_generate(server.port, SESSIONS))
    return Round(server.cpu() - cpu, time.perf_counter() - clock)


def _table(results: dict[str, list[Round]]) -> str:
    lines = [f"{'server':<26} {'CPU us/session':>22} {'ratio':>7} {'sessions/s':>11}"]
    first = statistics.median(r.cpu for r in next(iter(results.values())))
    for name, rounds in results.items():
        costs = sorted(r.cpu / SESSIONS * 1e6 for r in rounds)
        median = statistics.median(costs)
        spread = f"{median:.0f} [{costs[0]:.0f}-{costs[-1]:.0f}]"
        rate = SESSIONS / statistics.median(r.elapsed for r in rounds)
        lines.append(f"{name:<26} {spread:>22} {median / (first / SESSIONS * 1e6):>7.2f} {rate:>11.0f}")
    return "\n".join(lines)


def main() -> None:
    """Measure all servers that are installed and print the table."""
    every = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
    names = [name for name in SERVERS if name not in NEEDS or importlib.util.find_spec(NEEDS[name])]
    left_out = [name for name in SERVERS if name not in names]
    print(f"AGI: {ROUNDS} rounds of {SESSIONS} sessions, {CONCURRENT} at once, Python {sys.version.split()[0]}")
    servers = {name: _Server(SERVERS[name], every[:1]) for name in names}
    results: dict[str, list[Round]] = {name: [] for name in names}
    try:
        _pin(every[1:] or every)
        for server in servers.values():
            _run(_generate(server.port, CONCURRENT))  # imports and caches
        for _ in range(ROUNDS):
            for name, server in servers.items():
                results[name].append(_measure(server))
    finally:
        _pin(every)
        for server in servers.values():
            server.stop()
    print(_table(results))
    for name in left_out:
        print(f"{name}: left out, {NEEDS[name]} is not installed")


if __name__ == "__main__":
    main()
