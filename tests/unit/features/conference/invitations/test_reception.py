"""The parts that invite, joined: each is shown by itself; here it is that they reach each other."""

from __future__ import annotations

import asyncio
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.ami.conferences import Conferences
from agi_xmpp.config import PhoneSettings
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.bridges import Bridges
from agi_xmpp.features.conference.elsewhere.puppets import Bridge, BridgedRoom
from agi_xmpp.features.conference.invitations.reception import Reception
from agi_xmpp.features.conference.model import Invitation
from agi_xmpp.features.phone.people import People
from agi_xmpp.pace import Pace
from tests.unit.clock import Clock
from tests.unit.features.conference.fakes import phone, stanza
from tests.unit.features.conference.garden import GARDEN, address_of
from tests.unit.features.conference.hall import condition, jid
from tests.unit.features.conference.house import DOMAIN, JULIET, ROMEO, House, settings
from tests.unit.features.conference.invitations.test_invitees import SETTINGS
from tests.unit.features.phone.fakes import FakeAmi

BUSY = {"Event": "Hangup", "Cause": "17", "Cause-txt": "User busy", "TechCause": "486"}


class Stage(House):
    """A house with a reception, and Romeo in the conference 6001."""

    def __init__(self, phone_settings: PhoneSettings | None = SETTINGS) -> None:
        super().__init__(rooms=["_6XXX"])
        self.ami = FakeAmi()
        self.from_phones: list[Element] = []
        self.bridges = Bridges(self._bridge, self.from_phones.append)
        self.bridges.apply([Bridge("6100", GARDEN, "Garden")])
        self.reception = Reception(
            settings(rooms=["_6XXX"]),
            phone_settings,
            People(phone_settings) if phone_settings is not None else None,
            self.ami,
            self.service,
            self.bridges,
            Conferences(),
            self.outside,
            domain=DOMAIN,
            phones_domain="phone.example.org",
            send_from_phones=self.from_phones.append,
            clock=Clock(),
        )
        self.join(ROMEO, "6001/Romeo")

    def _bridge(self, bridge: Bridge) -> BridgedRoom:
        return BridgedRoom(
            bridge, self.outside, self.from_phones.append, address_of, lambda: Pace(300, lambda: 0.0), lambda: 0.0
        )

    async def until_called(self) -> str:
        """Return the channel's id of the call that was asked for."""
        while not self.ami.actions:
            await asyncio.sleep(0)
        return str(self.ami.actions[-1][1]["ChannelId"])

    async def until_sent(self) -> Element:
        while not self.outside.sent and not self.from_phones:
            await asyncio.sleep(0)
        return (self.outside.sent or self.from_phones).pop()

    def end(self, channel_id: str) -> None:
        """Let the call be refused."""
        self.reception.ami_event({"Event": "Newchannel", "Uniqueid": channel_id})
        self.reception.ami_event({**BUSY, "Uniqueid": channel_id})
        self.reception.ami_event({"Event": "OriginateResponse", "Response": "Failure", "Uniqueid": channel_id})


async def test_an_invitation_by_the_room_and_how_the_phone_answers():
    stage = Stage()
    room, message = stage.room("6001"), stanza(f"<message from='{ROMEO}' to='6001@{DOMAIN}' id='m1'/>")
    stage.reception.invite(room, Invitation(jid(ROMEO), jid("103@phone.example.org")), message)
    stage.end(await stage.until_called())
    declined = await stage.until_sent()
    assert (declined.get("to"), declined.get("id")) == (ROMEO, "m1")
    assert "User busy (SIP 486)" in [element.text for element in declined.iter()]
    await stage.reception.stop()


async def test_a_direct_invitation_and_how_the_phone_answers():
    stage = Stage()
    x = f"<x xmlns='jabber:x:conference' jid='6001@{DOMAIN}'/>"
    assert stage.reception.direct.stanza_came(
        stanza(f"<message from='{ROMEO}' to='103@phone.example.org' id='m1'>{x}</message>")
    )
    stage.end(await stage.until_called())
    declined = await stage.until_sent()
    assert (declined.get("from"), declined.get("to")) == (f"6001@{DOMAIN}", ROMEO)
    await stage.reception.stop()


async def test_a_room_of_another_service_invites_a_phone_and_how_that_answers():
    stage = Stage()
    x = f"<x xmlns='http://jabber.org/protocol/muc#user'><invite from='{ROMEO}'/></x>"
    assert stage.reception.mediated.stanza_came(
        stanza(f"<message from='{GARDEN}' to='103@phone.example.org'>{x}</message>")
    )
    stage.end(await stage.until_called())
    declined = await stage.until_sent()
    assert (declined.get("from"), declined.get("to")) == ("103@phone.example.org", str(GARDEN))
    await stage.reception.stop()


async def test_words_of_phones_in_a_room_of_another_service():
    stage = Stage()
    [garden] = stage.bridges.rooms
    garden.phone_joined(phone())
    stage.reception.heard(garden, "Alice A", "/who")
    stage.reception.heard(garden, "Alice A", "/invite juliet@example.org")
    stage.reception.heard(garden, "Alice A", "/invite 103")
    assert [said.text for _, said in stage.outside.whispered] == [
        "Garden: nobody in chat.",  # there is no stream, so the phone has no name there
        "juliet@example.org was not invited: You are not in the chat.",
        "Invited Carol C.",
    ]
    assert await stage.until_called()
    await stage.reception.stop()


async def test_a_connection_that_breaks_ends_what_is_under_way():
    stage = Stage()
    room, message = stage.room("6001"), stanza(f"<message from='{ROMEO}' to='6001@{DOMAIN}' id='m1'/>")
    stage.reception.invite(room, Invitation(jid(ROMEO), jid("103@phone.example.org")), message)
    await stage.until_called()
    stage.reception.ami_disconnected()
    assert condition(await stage.until_sent()) == ("wait", "remote-server-timeout")
    await stage.reception.stop()


async def test_without_a_message_nobody_is_answered():
    stage = Stage()
    stage.reception.invite(stage.room("6001"), Invitation(jid(ROMEO), jid("zoe@phone.example.org")), None)
    assert stage.outside.take() == []
    assert stage.outside.notes[-1].endswith("refused: Nobody with a phone is called “zoe”.")


async def test_errors_to_invitations_are_not_the_rooms():
    stage = Stage()
    message = stanza(f"<message from='{ROMEO}' to='6001@{DOMAIN}' id='m1'/>")
    stage.outside.take()
    stage.reception.invite(stage.room("6001"), Invitation(jid(ROMEO), jid("juliet@example.org")), message)
    (sent,) = stage.outside.take()
    bounced = f"<message from='juliet@example.org' to='6001@{DOMAIN}' type='error' id='{sent.get('id')}'/>"
    assert not stage.reception.stanza_came(stanza(bounced.replace("message", "iq")))
    assert stage.reception.stanza_came(stanza(bounced))
    (error,) = stage.outside.take()
    assert (error.get("to"), error.get("id"), stanzas.is_error(error)) == (ROMEO, "m1", True)


async def test_who_comes_is_seen():
    stage = Stage()
    room = stage.room("6001")
    waiting = asyncio.create_task(stage.reception.convener.invite(room.address, jid("juliet@example.org"), wait=30))
    await asyncio.sleep(0)
    stage.join(JULIET, "6001/Juliet")
    stage.reception.occupancy_changed(room)
    assert (await waiting).how.name == "JOINED"
    await stage.reception.stop()


async def test_words_of_phones_and_what_they_say():
    stage = Stage()
    room = stage.room("6001")
    room.phone_joined(phone())
    stage.outside.take()
    stage.reception.heard(room, "Alice A", "hello")
    assert [stanzas.body_of(message) for message in stage.outside.take()] == ["hello"]
    stage.reception.heard(room, "Alice A", "/who")
    assert stage.outside.take() == []
    [(channel, said)] = stage.outside.whispered
    assert (channel, said.speaker, said.text) == (
        "PJSIP/101-00000001",
        "",
        "6001: in chat Romeo; on the phone Alice A.",
    )


@pytest.mark.parametrize("text", ["/invite 103", "/invite 103@phone.example.org"])
async def test_without_a_user_map_there_are_no_phones(text):
    stage = Stage(None)
    room = stage.room("6001")
    room.phone_joined(phone())
    stage.reception.heard(room, "Alice A", text)
    [(_, said)] = stage.outside.whispered
    assert "was not invited: No" in said.text
