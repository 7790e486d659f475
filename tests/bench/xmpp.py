"""What sending a message costs: our session beside slixmpp, on a real Prosody, in one run.

Ours waits for the server's acknowledgement of each message (XEP-0198) and asks behind it for a bounce that comes at
once; slixmpp hands it to the socket and knows nothing more. Each sender is a process of its own, in turns, several
rounds; the CPU time is the process's own. The addressee is online in this process, which shares the machine with them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any

from tests.testbed import rootfs as trees
from tests.testbed.client import Buddy
from tests.testbed.errors import TestbedError
from tests.testbed.service import Account
from tests.testbed.xmpp import Accounts, Options, Prosody

ROUNDS = 3
MESSAGES = 2000
CONCURRENT = 50
BODY = "Call from Ann (+15550123), please pick up"

Send = Callable[[], Coroutine[Any, Any, object]]


async def _timed(send: Send, finish: Send, pipe: Connection) -> None:
    await send()  # the first message warms everything up
    cpu, clock = time.process_time(), time.monotonic()
    left = iter(range(MESSAGES))

    async def sender() -> None:
        for _ in left:
            await send()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT):
            group.create_task(sender())
    await finish()
    pipe.send((time.process_time() - cpu, time.monotonic() - clock))


async def _ours(table: dict[str, Any], to: str, pipe: Connection) -> None:
    from agi_xmpp.config import AccountSettings
    from agi_xmpp.xmpp.client import ClientSession

    session = ClientSession("bench", AccountSettings.model_validate(table))
    await session.start()
    await session.ready(15.0)

    async def nothing() -> None:
        """Each message is acknowledged already."""

    await _timed(lambda: session.send_message(to, BODY, timeout=30.0), nothing, pipe)
    await session.stop()


async def _slixmpp(table: dict[str, Any], to: str, pipe: Connection) -> None:
    import ssl

    import slixmpp

    client = slixmpp.ClientXMPP(table["jid"], table["password"])
    client.ssl_context = ssl.create_default_context(cafile=table["ca_file"])
    client.register_plugin("xep_0199")
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(_event: object) -> None:
        if not started.done():
            started.set_result(None)

    client.add_event_handler("session_start", begin)
    client.connect(table["server"], table["port"])
    await asyncio.wait_for(started, 15)
    client.send_presence()

    async def send() -> None:
        client.send_message(mto=to, mbody=BODY, mtype="chat")
        await asyncio.sleep(0)  # let the loop write, as between the calls of a PBX

    async def finish() -> None:
        await client["xep_0199"].ping(table["jid"].partition("@")[2], timeout=60)

    await _timed(send, finish, pipe)
    await client.disconnect()


SENDERS = {"agi-xmpp, acknowledged": _ours, "slixmpp, not acknowledged": _slixmpp}


def _process(name: str, table: dict[str, Any], to: str, pipe: Connection) -> None:
    asyncio.run(SENDERS[name](table, to, pipe))


def _round(name: str, table: dict[str, Any], to: str) -> tuple[float, float]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_process, args=(name, table, to, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        result: tuple[float, float] = ours.recv()
    except EOFError:
        raise SystemExit(f"{name} ended without a result") from None
    finally:
        process.join(30)
        process.kill()
    return result


async def _measure() -> None:
    async with Prosody(trees.build(), Options()) as server:
        accounts = Accounts(server)
        login, bob = await accounts("bench"), await accounts("bob")
        table = Account(server, login.jid, login.password).table()
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in SENDERS}
        async with Buddy.online(server, bob.jid, bob.password, receipts=False):
            for _ in range(ROUNDS):
                for name, rounds in results.items():
                    rounds.append(await asyncio.to_thread(_round, name, table, bob.jid))
    print(f"{MESSAGES} messages, {CONCURRENT} at once, {server.title}, median of {ROUNDS} rounds")
    print(f"{'sender':<28} {'CPU µs/message':>15} {'ratio':>6} {'messages/s':>11}")
    base = 0.0
    for name, rounds in results.items():
        cpu = statistics.median(cpu for cpu, _ in rounds) / MESSAGES * 1e6
        rate = MESSAGES / statistics.median(elapsed for _, elapsed in rounds)
        base = base or cpu
        print(f"{name:<28} {cpu:>15.0f} {cpu / base:>6.2f} {rate:>11.0f}")


def main() -> None:
    """Measure, and print a table."""
    try:
        asyncio.run(_measure())
    except TestbedError as error:
        raise SystemExit(f"no testbed: {error}") from None
