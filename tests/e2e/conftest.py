"""Fixtures of the real parts.

Where the testbed cannot be had, its tests are skipped with the reason; in CI (environment variable ``CI``) they fail.
Servers of the whole session are shared: use accounts, extensions and names of your own. A test that restarts or breaks
a server starts one for itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.testbed import rootfs as trees
from tests.testbed.asterisk import Asterisk
from tests.testbed.client import Buddy
from tests.testbed.conference import ConferenceExchange, Softphones
from tests.testbed.errors import TestbedError
from tests.testbed.program import journal
from tests.testbed.rootfs import Rootfs
from tests.testbed.scene import Scene
from tests.testbed.service import Account, Service
from tests.testbed.telephony import Exchange, Phones
from tests.testbed.xmpp import Accounts, Ejabberd, Prosody, XmppServer

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", text) for name, text in journal().tails().items()]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    journal().begin()


@pytest.fixture(scope="session")
def rootfs(pytestconfig: pytest.Config) -> Rootfs:
    """Debian testing, built if need be."""
    return _tree("testing", pytestconfig)


@pytest.fixture(scope="session")
def asterisk_process(rootfs: Rootfs) -> Iterator[Asterisk]:
    with Asterisk(rootfs) as asterisk:
        yield asterisk


@pytest.fixture
async def asterisk(asterisk_process: Asterisk) -> AsyncIterator[Asterisk]:
    """The session's Asterisk, lent to one test."""
    async with asterisk_process.lent() as asterisk:
        yield asterisk


@pytest.fixture(scope="session")
def exchange_process(rootfs: Rootfs) -> Iterator[Exchange]:
    with Exchange(rootfs) as exchange:
        yield exchange


@pytest.fixture
async def exchange(exchange_process: Exchange) -> AsyncIterator[Exchange]:
    """The session's telephone exchange, lent to one test."""
    async with exchange_process.lent() as exchange:
        yield exchange


@pytest.fixture
async def phones(exchange: Exchange) -> AsyncIterator[Phones]:
    """Switches on telephones of the exchange: ``alice, bob = await phones("101", "102")``."""
    async with Phones(exchange) as phones:
        yield phones


@pytest.fixture(scope="session")
def conference_exchange_process(rootfs: Rootfs) -> Iterator[ConferenceExchange]:
    with ConferenceExchange(rootfs) as exchange:
        yield exchange


@pytest.fixture
async def conference_exchange(
    conference_exchange_process: ConferenceExchange,
) -> AsyncIterator[ConferenceExchange]:
    """The session's exchange with conferences, lent to one test."""
    async with conference_exchange_process.lent() as conference_exchange:
        yield conference_exchange


@pytest.fixture
async def softphones(conference_exchange: ConferenceExchange) -> AsyncIterator[Softphones]:
    """Switches on telephones that can write: ``alice, bob = await softphones("101", "102")``."""
    async with Softphones(conference_exchange) as phones:
        yield phones


@pytest.fixture(scope="session")
def prosody(rootfs: Rootfs) -> Iterator[Prosody]:
    with Prosody(rootfs) as server:
        yield server


@pytest.fixture(scope="session")
def ejabberd(rootfs: Rootfs) -> Iterator[Ejabberd]:
    with Ejabberd(rootfs) as server:
        yield server


@pytest.fixture(params=["prosody", "ejabberd"])
def xmpp_server(request: pytest.FixtureRequest) -> XmppServer:
    """Each of the session's servers in turn."""
    server: XmppServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
async def accounts(xmpp_server: XmppServer) -> Accounts:
    """Makes accounts on the server of the test."""
    return Accounts(xmpp_server)


@pytest.fixture
async def scene(asterisk: Asterisk, xmpp_server: XmppServer, accounts: Accounts) -> AsyncIterator[Scene]:
    """Asterisk, agi-xmpp with the account ``pbx`` online, and bob, on each server in turn."""
    pbx, bob_login = await asyncio.gather(accounts("pbx"), accounts("bob"))
    async with (
        Buddy.online(xmpp_server, bob_login.jid, bob_login.password) as bob,
        Service({"pbx": Account(xmpp_server, pbx.jid, pbx.password, buddies=(bob.jid,))}) as service,
    ):
        await service.online("pbx")
        # slixmpp answers with its first presence: what a test says of bob before that would be taken back by it.
        await bob.sees(lambda seen: seen.type == "subscribe")
        yield Scene(asterisk, xmpp_server, accounts, service, pbx, bob, bob_login)
        service.assert_alive()


@pytest.fixture(scope="session")
def bullseye(pytestconfig: pytest.Config) -> Rootfs:
    """Debian bullseye with Asterisk 16: in CI, and where somebody has built it."""
    if trees.find("bullseye") is None and not _in_ci():
        pytest.skip("Asterisk 16 is not built: scripts/testbed build bullseye")
    return _tree("bullseye", pytestconfig)


def _tree(suite: str, config: pytest.Config) -> Rootfs:
    capture = config.pluginmanager.getplugin("capturemanager")

    def progress(line: str) -> None:
        with capture.global_and_fixture_disabled():
            trees.say(line)

    try:
        return trees.build(suite, progress)
    except TestbedError as error:
        if _in_ci():
            pytest.fail(f"no testbed: {error}", pytrace=False)
        pytest.skip(f"no testbed: {error}")


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("true", "1")
