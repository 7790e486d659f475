"""The gateway leads what has to do with invitations to the reception, from every side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.hall import condition
from tests.unit.features.conference.test_gateway import JULIET, ROMEO, House

ROOM = "balcony@conference.example.org"


class Stage(House):
    async def started(self) -> None:
        await self.start()
        if self.phones is not None:
            self.phones.begin()
        self.enter()

    async def until_called(self) -> str:
        """Return the id of the channel of the call that was asked for."""
        while not (calls := [headers for name, headers, _ in self.ami.actions if name == "Originate"]):
            await asyncio.sleep(0)
        return calls[-1]["ChannelId"]

    def invite(self, whom: str) -> None:
        self.session.host.stanza_came(
            stanza(
                f"<message from='{ROMEO}' to='{ROOM}' id='m1'><x xmlns='{stanzas.MUC_USER}'><invite to='{whom}'/></x>"
                "</message>"
            )
        )

    def refuse(self, channel_id: str) -> None:
        for event in (
            {"Event": "Newchannel"},
            {"Event": "Hangup", "Cause": "17", "Cause-txt": "User busy", "TechCause": "486"},
            {"Event": "OriginateResponse", "Response": "Failure"},
        ):
            self.gateway.ami_event({**event, "Uniqueid": channel_id})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Stage]:
    house = Stage(tmp_path)
    await house.started()
    yield house
    await house.gateway.stop()


async def test_by_the_room(house):
    house.invite("101@phone.example.org")
    channel = await house.until_called()
    house.session.port.take()
    house.refuse(channel)
    await house.settle()
    (declined,) = house.session.port.take()
    assert "User busy (SIP 486)" in [element.text for element in declined.iter()]
    (_, headers, variables) = house.ami.actions[-1]
    assert headers["Channel"] == "PJSIP/101"
    assert variables["ROOM"] == "6000"


async def test_directly(house):
    x = f"<x xmlns='jabber:x:conference' jid='{ROOM}'/>"
    message = stanza(f"<message from='{ROMEO}' to='alice@phone.example.org' id='m1'>{x}</message>")
    assert house.phones.host.stanza_came(message)
    await house.until_called()
    house.session.port.take()
    house.gateway.ami_disconnected()
    await house.settle()
    (declined,) = house.session.port.take()
    assert (declined.get("from"), declined.get("to")) == (ROOM, ROMEO)
    assert "does not say what became of it" in "".join(declined.itertext())
    assert house.phones.port.take() == []


async def test_by_a_room_of_another_service(house):
    x = f"<x xmlns='{stanzas.MUC_USER}'><invite from='{ROMEO}'/></x>"
    message = stanza(f"<message from='team@rooms.example.org' to='alice@phone.example.org' id='m1'>{x}</message>")
    assert house.phones.host.stanza_came(message)
    (error,) = house.phones.port.take()
    assert condition(error) == ("cancel", "not-acceptable"), "it is no conference's"


async def test_other_messages_to_phones_are_the_sessions(house):
    message = stanza(f"<message from='{ROMEO}' to='alice@phone.example.org'><body>calls</body></message>")
    assert not house.phones.host.stanza_came(message)


async def test_from_a_phone(house):
    await house.join()
    leg = await house.agent.legs.get()
    house.session.port.take()
    leg.listener.text_came("Alice A", "/invite juliet@example.org come over")
    (message,) = house.session.port.take()
    assert (message.get("from"), message.get("to")) == (ROOM, "juliet@example.org")
    await house.settle()
    texts = [headers for name, headers, _ in house.ami.actions if name == "SendText"]
    assert texts == [{"Channel": "PJSIP/101-00000001", "Message": "[private] Invited juliet@example.org."}]


async def test_for_the_dialplan(house):
    invited = asyncio.create_task(house.gateway.convener.invite(parse(ROOM), parse("juliet@example.org"), wait=30))
    await house.settle()
    assert not invited.done()
    house.enter(JULIET, nick="Juliet")
    assert (await invited).how.name == "JOINED"


async def test_an_error_that_comes_back(house):
    house.session.port.take()
    house.invite("juliet@example.org")
    (sent,) = house.session.port.take()
    assert house.session.host.stanza_came(
        stanza(f"<message from='juliet@example.org' to='{ROOM}' type='error' id='{sent.get('id')}'/>")
    )
    (error,) = house.session.port.take()
    assert (error.get("to"), error.get("type")) == (ROMEO, "error")


async def test_without_addresses_of_phones(tmp_path):
    house = Stage(tmp_path, phones=False)
    await house.started()
    house.session.port.take()
    house.invite("101@phone.example.org")
    (error,) = house.session.port.take()
    assert condition(error) == ("auth", "forbidden")
    await house.gateway.stop()
