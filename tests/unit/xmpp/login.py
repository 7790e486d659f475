"""A session at the server of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from agi_xmpp.config import AccountSettings
from agi_xmpp.xmpp.client import ClientSession
from tests.unit.xmpp.fake import PASSWORD, FakeServer


@contextlib.asynccontextmanager
async def logged_in(server: FakeServer, **changes: Any) -> AsyncIterator[ClientSession]:
    """A client's session that is online, without encryption; ``changes`` are further keys of its account."""
    account = {"jid": "agi@fake.test/pbx", "password": PASSWORD, "server": "127.0.0.1", "port": server.port}
    settings = AccountSettings.model_validate({**account, "tls": "none", "subscribe": False, **changes})
    session = ClientSession("main", settings)
    await session.start()
    try:
        await session.ready(10)
        yield session
    finally:
        await session.stop(0.4)
