from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from agi_xmpp.ami.model import Message
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import AmiRefused, NotConnected
from agi_xmpp.features.phone.check import NAMED, check_exchange, check_phones
from agi_xmpp.xmpp.model import Jid, Service
from tests.unit.features.phone.house import PEOPLE, USERS, settings

COMPONENT = AccountSettings(type="component", jid="asterisk@phone.x.org", password=SecretStr("s"))
LOGIN = AccountSettings(jid="bot@x.org/asterisk", password=SecretStr("s"))
ROOMS = Service(Jid("", "rooms.x.org"), "Chat rooms")


class Exchange:
    """Answers as Asterisk 22.10 does.

    Attributes:
        devices, extensions: those it knows; `context` is the only one.
        refused: what actions are refused with, by name.
    """

    context = "internal"

    def __init__(self) -> None:
        self.devices = {device for user in USERS.values() for device in user["devices"]}
        self.extensions = {person.extension for person in PEOPLE}
        self.refused: dict[str, str] = {}

    async def items(self, name: str, headers: Mapping[str, str] | None = None) -> Sequence[Message]:
        assert (name, headers) == ("DeviceStateList", None)
        self._refuse(name)
        return []

    async def action(self, name: str, headers: Mapping[str, str] | None = None) -> Message:
        assert name == "Getvar"
        self._refuse(name)
        function, _, rest = (headers or {})["Variable"].partition("(")
        words = rest.removesuffix(")").split(",")
        if function == "DEVICE_STATE":
            return {"Value": "UNAVAILABLE" if words[0] in self.devices else "INVALID"}
        there = words[0] == self.context and (len(words) == 1 or words[1] in self.extensions)
        return {"Value": str(int(there))}

    def _refuse(self, name: str) -> None:
        if name in self.refused:
            raise AmiRefused(self.refused[name])


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


async def examined(exchange: Exchange, **changes: Any) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return await check_exchange(settings(**changes), exchange, lines.append), lines


async def test_asterisk_knows_all(exchange):
    assert await examined(exchange) == (
        True,
        ["phones: Asterisk knows all devices, and all extensions in the context internal"],
    )


async def test_a_device_that_asterisk_does_not_know(exchange):
    exchange.devices.remove("PJSIP/201")
    assert await examined(exchange) == (False, ["phones: FAILED: ann@x.org: Asterisk knows no device PJSIP/201"])


async def test_an_extension_that_the_context_lacks(exchange):
    exchange.extensions.remove("102")
    assert await examined(exchange) == (
        False,
        ["phones: FAILED: bob@x.org: context internal has no extension 102"],
    )


async def test_a_context_that_is_none_is_named_once(exchange):
    assert await examined(exchange, context="intern") == (
        False,
        ['phones: FAILED: Asterisk has no context intern (phone.context): asterisk -rx "dialplan show" lists them'],
    )


async def test_the_module_for_states_is_not_loaded(exchange):
    exchange.refused["DeviceStateList"] = "Asterisk knows no action DeviceStateList; it needs res_manager_devicestate"
    well, lines = await examined(exchange)
    assert not well
    assert lines == [f"phones: FAILED: which phones can be reached is not known: {exchange.refused['DeviceStateList']}"]


async def test_functions_that_this_asterisk_lacks_are_no_complaint(exchange):
    exchange.refused["Getvar"] = "No such function"
    well, _lines = await examined(exchange)
    assert well


@pytest.mark.parametrize(("count", "lines"), [(NAMED, NAMED), (NAMED + 1, NAMED + 1), (NAMED + 50, NAMED + 1)])
async def test_many_mistakes_are_not_all_named(exchange, count, lines):
    exchange.extensions = {str(1000 + n) for n in range(count)}
    users = {f"u{n}@x.org": {"devices": [f"PJSIP/{1000 + n}"]} for n in range(count)}
    well, said = await examined(exchange, user=users)
    assert not well
    assert len(said) == lines
    assert (f"and {count - NAMED} more" in said[-1]) is (count > NAMED)


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
    assert (well, lines, asked) == (True, [f"phones: x.org lists {address} as phone: Spark finds it"], ["x.org"])


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
    assert well
    assert "phones: note: x.org lists no service named phone: Spark will show no phone." in lines
    assert line in lines
    assert any("ejabberd" in text for text in lines)
    assert any("Openfire" in text for text in lines)


async def test_another_service_of_that_name():
    well, lines, _asked = await report(COMPONENT, Service(Jid("", "other.x.org"), "phone"))
    assert well
    assert lines[0] == "phones: note: x.org lists other.x.org as phone, which Spark will take, and not phone.x.org."
    assert '      name = "phone"' in lines


async def test_users_of_another_domain_of_the_server():
    users = {"a@y.org": {"devices": ["PJSIP/1"]}}
    _well, lines, _asked = await report(COMPONENT, user=users)
    assert lines[2:4] == [
        '  Prosody, below VirtualHost "y.org":',
        '      disco_items = { { "phone.x.org", "phone" } }',
    ]


async def test_a_login_without_a_resource():
    well, lines, _asked = await report(AccountSettings(jid="bot@x.org", password=SecretStr("s")))
    assert well
    assert "needs a resource in its jid, such as bot@x.org/asterisk" in lines[0]
    assert '      disco_items = { { "bot@x.org/asterisk", "phone" } }' in lines


async def test_a_server_that_cannot_be_asked():
    well, lines, _asked = await report(COMPONENT, error=NotConnected("x.org does not answer"))
    assert (well, lines) == (False, ["phones: FAILED: x.org does not say which services it has: x.org does not answer"])


async def test_each_domain_is_asked_once():
    users = {f"u{n}@d{n % 7}.org": {"devices": [f"PJSIP/{n}"]} for n in range(14)}
    _well, _lines, asked = await report(COMPONENT, user=users)
    assert asked == ["d0.org", "d1.org", "d2.org", "d3.org", "d4.org"]
