"""Sessions for the end-to-end tests: what an administrator would write in the configuration, and a login that ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

from agi_xmpp.config import AccountSettings
from agi_xmpp.xmpp.model import SessionState
from agi_xmpp.xmpp.session import ClientSession
from tests.testbed.xmpp import XmppServer


class Login(Protocol):
    """An account of the testbed."""

    @property
    def jid(self) -> str: ...
    @property
    def password(self) -> str: ...


def settings(server: XmppServer, account: Login, *, port: int | None = None, **changes: Any) -> AccountSettings:
    """Return the settings of an account; ``port`` is that of a proxy."""
    direct = changes.get("tls") == "direct"
    values: dict[str, Any] = {
        "jid": f"{account.jid}/pbx",
        "password": account.password,
        "server": "127.0.0.1",
        "port": port or (server.direct_tls_port if direct else server.port),
        "ca_file": server.ca_file,
    }
    return AccountSettings(**values | changes)


@contextlib.asynccontextmanager
async def running(account: AccountSettings, name: str = "main") -> AsyncIterator[ClientSession]:
    """A session that has begun to log in. It leaves no task behind."""
    before = asyncio.all_tasks()
    session = ClientSession(name, account)
    await session.start()
    try:
        yield session
    finally:
        async with asyncio.timeout(10):
            await session.stop(2.0)
        assert session.info().state is SessionState.STOPPED
        ours = [task for task in asyncio.all_tasks() - before if _is_ours(task)]
        if ours:
            await asyncio.wait(ours, timeout=5)
        assert not [task for task in ours if not task.done()]


@contextlib.asynccontextmanager
async def online(account: AccountSettings, name: str = "main") -> AsyncIterator[ClientSession]:
    """A session that is logged in."""
    async with running(account, name) as session:
        await session.ready(20)
        yield session


async def until_state(session: ClientSession, *states: SessionState) -> None:
    """Wait until the session is in one of some states."""
    async with asyncio.timeout(30):
        while session.info().state not in states:
            await session._link.next_change()


def _is_ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and ("agi_xmpp" in code.co_filename or "aioxmpp" in code.co_filename)
