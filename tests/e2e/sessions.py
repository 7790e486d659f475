"""Sessions for the end-to-end tests: what an administrator would write in the configuration, and a login that ends."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Protocol

from agi_xmpp.config import AccountSettings
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.model import SessionState
from agi_xmpp.xmpp.session import BaseSession
from tests.testbed.client import Buddy
from tests.testbed.xmpp import Accounts, XmppServer
from tests.testbed.xmpp import Login as Account


class Login(Protocol):
    """An account of the testbed."""

    @property
    def jid(self) -> str: ...
    @property
    def password(self) -> str: ...


def component(server: XmppServer, name: str = "pbx") -> Account:
    """Return our own address in the server's component (XEP-0114). Only one connection of it may stand at a time."""
    return Account(f"{name}-{secrets.token_hex(4)}@{server.component_domain}", server.component_secret)


async def own_account(accounts: Accounts, kind: str) -> Account:
    """Return an account of our own: a client's, or with ``component`` our address in the server's component."""
    return component(accounts.server) if kind == "component" else await accounts("pbx")


def settings(server: XmppServer, account: Login, *, port: int | None = None, **changes: Any) -> AccountSettings:
    """Return the settings of an account, or of the component; ``port`` is that of a proxy."""
    if account.jid.endswith(f"@{server.component_domain}"):
        values: dict[str, Any] = {
            "type": "component",
            "jid": f"{account.jid}/pbx",
            "password": account.password,
            "port": port or server.component_port,
        }
        return AccountSettings(**values | changes)
    direct = changes.get("tls") == "direct"
    values = {
        "jid": f"{account.jid}/pbx",
        "password": account.password,
        "server": "127.0.0.1",
        "port": port or (server.direct_tls_port if direct else server.port),
        "ca_file": server.ca_file,
    }
    return AccountSettings(**values | changes)


@contextlib.asynccontextmanager
async def running(account: AccountSettings, name: str = "main") -> AsyncIterator[BaseSession]:
    """A session that has begun to log in. It leaves no task behind."""
    before = asyncio.all_tasks()
    session = make_session(name, account)
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
async def online(account: AccountSettings, name: str = "main") -> AsyncIterator[BaseSession]:
    """A session that is logged in."""
    async with running(account, name) as session:
        await session.ready(20)
        yield session


@contextlib.asynccontextmanager
async def beside_bob(
    accounts: Accounts, account: Login, *, port: int | None = None, **changes: Any
) -> AsyncIterator[tuple[BaseSession, Buddy]]:
    """A session that is logged in, with bob as its buddy, and bob's client; the arguments are those of `settings`."""
    login, server = await accounts("bob"), accounts.server
    async with (
        online(settings(server, account, port=port, **{"buddies": [login.jid], **changes})) as session,
        Buddy.online(server, login.jid, login.password) as bob,
    ):
        yield session, bob


async def settled(session: BaseSession) -> None:
    """Wait until a session that has logged in has done what it does then besides: carbons, subscriptions."""
    await asyncio.gather(*session._background._tasks)


async def until_state(session: BaseSession, *states: SessionState) -> None:
    """Wait until the session is in one of some states."""
    async with asyncio.timeout(30):
        while session.info().state not in states:
            await session._link.next_change()


def _is_ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and ("agi_xmpp" in code.co_filename or "aioxmpp" in code.co_filename)
