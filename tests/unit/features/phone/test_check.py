from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import NotConnected
from agi_xmpp.features.phone.check import check_phones
from agi_xmpp.xmpp.model import Jid, Service
from tests.unit.features.phone.house import settings

COMPONENT = AccountSettings(type="component", jid="asterisk@phone.x.org", password=SecretStr("s"))
LOGIN = AccountSettings(jid="bot@x.org/asterisk", password=SecretStr("s"))
ROOMS = Service(Jid("", "rooms.x.org"), "Chat rooms")


async def report(account: AccountSettings, *listed: Service, error: Exception | None = None, **changes: Any):
    lines: list[str] = []
    asked: list[str] = []

    async def services(of: str) -> Sequence[Service]:
        asked.append(of)
        if error:
            raise error
        return [ROOMS, *listed]

    return await check_phones(settings(**changes), account, services, lines.append), lines, asked


@pytest.mark.parametrize(
    ("account", "address"),
    [(COMPONENT, Jid("", "phone.x.org")), (LOGIN, Jid("bot", "x.org", "asterisk"))],
    ids=["component", "login"],
)
async def test_a_server_that_lists_us(account, address):
    well, lines, asked = await report(account, Service(address, "phone"))
    assert (well, lines, asked) == (True, [f"phone: x.org lists {address} as phone: Spark finds it"], ["x.org"])


@pytest.mark.parametrize(
    ("account", "line"),
    [
        (COMPONENT, '      name = "phone"'),
        (LOGIN, '      disco_items = { { "bot@x.org/asterisk", "phone" } }'),
    ],
    ids=["component", "login"],
)
@pytest.mark.parametrize("name", ["", "Phone", "telephone"])
async def test_a_server_that_does_not_is_told_what_to_write(account, line, name):
    address = Jid("", "phone.x.org") if account is COMPONENT else Jid("bot", "x.org", "asterisk")
    well, lines, _asked = await report(account, Service(address, name))
    assert not well
    assert line in lines
    assert any("ejabberd" in text for text in lines)
    assert any("Openfire" in text for text in lines)


async def test_another_service_of_that_name():
    well, lines, _asked = await report(COMPONENT, Service(Jid("", "other.x.org"), "phone"))
    assert not well
    assert lines == ["phone: note: x.org lists other.x.org as phone, and not phone.x.org"]


async def test_a_login_without_a_resource():
    well, lines, _asked = await report(AccountSettings(jid="bot@x.org", password=SecretStr("s")))
    assert not well
    assert "needs a resource in its jid, such as bot@x.org/asterisk" in lines[0]


async def test_a_server_that_cannot_be_asked():
    well, lines, _asked = await report(COMPONENT, error=NotConnected("x.org does not answer"))
    assert (well, lines) == (False, ["phone: FAILED: x.org does not say which services it has: x.org does not answer"])


async def test_each_domain_is_asked_once():
    users = {f"u{n}@d{n % 7}.org": {"devices": [f"PJSIP/{n}"]} for n in range(14)}
    _well, _lines, asked = await report(COMPONENT, user=users)
    assert asked == ["d0.org", "d1.org", "d2.org", "d3.org", "d4.org"]
