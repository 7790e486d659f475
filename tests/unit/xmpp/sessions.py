"""Sessions of clients and of components at the server of the tests, and what is said there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agi_xmpp.config import AccountSettings
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.model import SessionState
from agi_xmpp.xmpp.session import BaseSession
from tests.unit.xmpp.fake import PASSWORD, FakeServer

BOB = "bob@fake.test"

#: The test holds for a client's login and for a component alike.
BOTH = pytest.mark.parametrize("server", ["client", "component"], indirect=True)

DEAD_PORT = 1  # nobody listens there


def settings(server: FakeServer | None, **changes: Any) -> AccountSettings:
    values: dict[str, Any] = {
        "jid": "agi@fake.test/pbx",
        "password": PASSWORD,
        "server": "127.0.0.1",
        "port": server.port if server else DEAD_PORT,
        "tls": "none",
        "buddies": [BOB],
        "subscribe": False,
        "type": "component" if server and server.does.component else "client",
    }
    # Not even the configuration allows as little time as a test has.
    quick: dict[str, Any] = {
        name: changes.pop(name) for name in ("login_retry", "keepalive", "keepalive_timeout") if name in changes
    }
    return AccountSettings(**values | changes).model_copy(update=quick)


@contextlib.asynccontextmanager
async def running(server: FakeServer | None, **changes: Any) -> AsyncIterator[BaseSession]:
    session = make_session("main", settings(server, **changes))
    await session.start()
    try:
        yield session
    finally:
        await session.stop(0.4)


@contextlib.asynccontextmanager
async def online(server: FakeServer, **changes: Any) -> AsyncIterator[BaseSession]:
    async with running(server, **changes) as session:
        await session.ready(10)
        yield session


def say(body: str, *, sender: str = f"{BOB}/phone", kind: str = "chat", more: str = "") -> str:
    attributes = f"from='{sender}' to='agi@fake.test/pbx' type='{kind}' id='m-{body}'"
    return f"<message {attributes}><body>{body}</body>{more}</message>"


def bounce(message: ET.Element, sender: str = BOB) -> str:
    return (
        f"<message type='error' from='{sender}' to='agi@fake.test/pbx' id='{message.get('id')}'><body>echo</body>"
        "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no such\n user</text></error></message>"
    )


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= level and r.name.startswith("agi_xmpp")]


async def until_state(session: BaseSession, state: SessionState) -> None:
    async with asyncio.timeout(20):
        while session.info().state is not state:
            await session._link.next_change()


def presence(resource: str, *, kind: str = "", more: str = "", sender: str = BOB) -> str:
    kind = f" type='{kind}'" if kind else ""
    resource = f"/{resource}" if resource else ""
    return f"<presence from='{sender}{resource}'{kind}>{more}</presence>"
