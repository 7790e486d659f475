from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from agi_xmpp import pace
from agi_xmpp.xmpp.membership import Timing
from tests.unit.xmpp.fake import FakeServer
from tests.unit.xmpp.house import PATIENT, House, MakeHouse


@pytest.fixture
async def nothing_left_behind() -> AsyncIterator[None]:
    """No task outlives its test, and no future keeps an exception that nobody fetched."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    gc.disable()  # so that what the test makes stays in the youngest generation, which is quick to collect
    try:
        yield
        async with asyncio.timeout(5):
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)
        gc.collect(0)  # asyncio complains about a future when it is collected
    finally:
        gc.enable()
    assert complaints == []


@pytest.fixture
def quick_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt after a failure comes soon."""
    monkeypatch.setattr(pace, "FIRST", 0.02)


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[FakeServer]:
    """A server without encryption: for clients, or for components if the test asks for that (indirect parameter)."""
    async with FakeServer() as fake:
        fake.does.component = getattr(request, "param", "client") == "component"
        yield fake


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


def server_context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return a server's TLS with a certificate for ``names``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
async def make_house() -> AsyncIterator[MakeHouse]:
    """Makes the rooms of an account."""
    houses: list[House] = []

    def make(timing: Timing = PATIENT, *, online: bool = True, **settings: Any) -> House:
        house = House(timing, settings)
        houses.append(house)
        if online:
            house.log_in()
        return house

    yield make
    for house in houses:
        house.rooms.stop()
        await asyncio.gather(*house.tasks, return_exceptions=True)


@pytest.fixture
def house(make_house: MakeHouse) -> House:
    """The rooms of an account that is online."""
    return make_house()
