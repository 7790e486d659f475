"""Invitations into conferences, with all parts real: from chat to phones, from phones to chat, by the dialplan."""

from __future__ import annotations

import asyncio
import base64
import secrets
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.answers import USER
from tests.e2e.invitations import (
    DIRECT,
    decline,
    declined,
    invite_directly,
    inviter_of,
    is_invitation,
    reason_of,
    told_alone,
)
from tests.testbed.client import Buddy
from tests.testbed.conference import NAMES, PHONE_CONTEXT, ConferenceExchange
from tests.testbed.hall import ACCOUNT, PHONES_ACCOUNT, Hall, open_hall
from tests.testbed.muc import Attendee
from tests.testbed.softphone import Softphone
from tests.testbed.xmpp import XmppServer

ROOMS = {"tomb": {"number": "6900", "title": "Tomb", "password": "poison"}}


@pytest.fixture
async def hall(conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path) -> AsyncIterator[Hall]:
    """A hall whose phones are somebody's: 101 is Romeo's, 102 Bob's, 103 Carol's. 104 may be dialled by Romeo alone."""
    async with open_hall(
        conference_exchange, xmpp_server, tmp_path, rooms=ROOMS, conference={"invite_time": 20.0}
    ) as hall:
        hall.service.sections["phone"] = {
            "account": PHONES_ACCOUNT,
            "context": PHONE_CONTEXT,
            "user": {
                hall["romeo"].jid: {"devices": ["PJSIP/101"], "name": "Alice A", "dial": ["_104"]},
                "bob@example.org": {"devices": ["PJSIP/102"], "name": "Bob B"},
                "carol@example.org": {"devices": ["PJSIP/103"], "name": "Carol C"},
            },
        }
        await hall.service.reload()
        await hall.service.online()
        yield hall


def some_number() -> str:
    """Return a conference's number; nothing of an earlier test is in it."""
    return f"6{secrets.randbelow(800) + 100}"


async def texts_flow(attendee: Attendee, phone: Softphone) -> None:
    """Return when texts go between chat and a phone: it is seen, and our leg is in."""
    await attendee.sees(NAMES[phone.number])
    attendee.say("mark")
    await phone.hears("mark", timeout=15)
    await attendee.hears("mark")


class TestFromChatToPhones:
    @pytest.mark.parametrize("how", ["by the room", "directly"])
    async def test_a_phone_rings_and_comes_in_under_its_own_name(self, hall: Hall, how: str) -> None:
        number = some_number()
        (carol,) = await hall.phones("103")
        romeo = await hall.enter("romeo", number)
        address = f"103@{hall.phones_domain}"
        if how == "directly":
            invite_directly(romeo, address, "come over")
        else:
            romeo.invite(address, "come over")
        call = await carol.rings()
        assert call.header("Referred-By") == f"<xmpp:{romeo.buddy.jid}>"
        assert call.caller == number
        await call.answer()
        member = await romeo.sees("Carol C", role="participant")
        assert member.jid.startswith(f"carol@{hall.phones_domain}/")

    async def test_who_is_busy_or_rejects_declines(self, hall: Hall) -> None:
        number = some_number()
        (carol,) = await hall.phones("103")
        romeo = await hall.enter("romeo", number)
        romeo.invite(f"carol@{hall.phones_domain}")
        await (await carol.rings()).refuse(486)
        heard = await romeo.buddy.hears(declined(f"carol@{hall.phones_domain}"))
        assert (heard.sender, reason_of(heard)) == (romeo.room, "User busy (SIP 486)")
        invite_directly(romeo, f"carol@{hall.phones_domain}")
        await (await carol.rings()).refuse(603)
        heard = await romeo.buddy.hears(declined(f"carol@{hall.phones_domain}"))
        assert heard.sender == romeo.room
        assert "(SIP 603)" in reason_of(heard)

    async def test_a_phone_that_is_not_there_and_one_that_nobody_has(self, hall: Hall) -> None:
        romeo = await hall.enter("romeo", some_number())
        romeo.invite(f"102@{hall.phones_domain}")
        heard = await romeo.buddy.hears(declined(f"102@{hall.phones_domain}"))
        assert reason_of(heard) == "Cannot be reached: not registered, or unknown"
        invite_directly(romeo, f"zoe@{hall.phones_domain}")
        heard = await romeo.buddy.hears(declined(f"zoe@{hall.phones_domain}"))
        assert reason_of(heard) == "Nobody with a phone is called “zoe”."

    async def test_a_number_is_called_for_who_may_dial_it(self, hall: Hall) -> None:
        number = some_number()
        (dave,) = await hall.phones("104")
        romeo, juliet = await hall.enter("romeo", number), await hall.enter("juliet", number)
        invite_directly(juliet, f"104@{hall.phones_domain}")
        heard = await juliet.buddy.hears(declined(f"104@{hall.phones_domain}"))
        assert reason_of(heard) == "You may not call 104."
        romeo.invite(f"104@{hall.phones_domain}")
        await (await dave.rings()).answer()
        await juliet.buddy.until(lambda: len(juliet.members) == 3 or None)

    async def test_twice_at_once_rings_once(self, hall: Hall) -> None:
        romeo = await hall.enter("romeo", some_number())
        (carol,) = await hall.phones("103")
        romeo.invite(f"103@{hall.phones_domain}")
        call = await carol.rings()
        invite_directly(romeo, f"carol@{hall.phones_domain}")
        heard = await romeo.buddy.hears(declined(f"carol@{hall.phones_domain}"))
        assert reason_of(heard) == "The phone of Carol C rings for this conference already."
        await call.answer()
        await romeo.sees("Carol C")
        assert carol.ringing == []

    async def test_who_is_not_in_the_room_invites_nobody(self, hall: Hall) -> None:
        number = some_number()
        (carol,) = await hall.phones("103")
        romeo = await hall.enter("romeo", number)
        stranger = Attendee(hall["juliet"].buddy, romeo.room)
        message = invite_directly(stranger, f"103@{hall.phones_domain}")
        assert (await stranger.bounced(message)).error == "not-acceptable"
        stranger.invite(f"103@{hall.phones_domain}")
        await stranger.buddy.hears(lambda heard: heard.error == "not-acceptable" and heard.sender == romeo.room)
        assert carol.ringing == []


class TestFromChatToChat:
    async def test_somebody_is_invited_and_comes_or_declines(self, hall: Hall) -> None:
        romeo = await hall.enter("romeo", "tomb", password="poison")
        romeo.invite(hall["juliet"].jid, "come over")
        heard = await hall["juliet"].buddy.hears(is_invitation)
        stanza = ET.fromstring(heard.xml)
        invite, direct = stanza.find(f"{USER}x/{USER}invite"), stanza.find(DIRECT)
        assert heard.sender == romeo.room
        assert invite is not None
        assert direct is not None
        assert (invite.get("from"), invite.findtext(f"{USER}reason")) == (romeo.buddy.jid, "come over")
        assert dict(direct.items()) == {"jid": romeo.room, "reason": "come over", "password": "poison"}
        assert stanza.findtext(f"{USER}x/{USER}password") == "poison"
        decline(hall["juliet"].buddy, romeo.room, inviter_of(heard), "no time")
        assert reason_of(await romeo.buddy.hears(declined(hall["juliet"].jid))) == "no time"

    async def test_nobody_of_that_name_and_nobody_of_another_house(self, hall: Hall) -> None:
        romeo = await hall.enter("romeo", some_number())
        domain = hall["romeo"].jid.partition("@")[2]
        romeo.invite("somebody@elsewhere.example")
        await romeo.buddy.hears(lambda heard: heard.error == "forbidden" and heard.sender == romeo.room)
        romeo.invite(f"nobody-{secrets.token_hex(4)}@{domain}")
        bounced = await romeo.buddy.hears(lambda heard: heard.type == "error" and heard.sender == romeo.room)
        assert bounced.error in ("service-unavailable", "item-not-found")


class TestFromPhones:
    async def test_a_phone_invites_somebody_in_chat_and_a_phone(self, hall: Hall) -> None:
        number = some_number()
        bob, carol = await hall.phones("102", "103")
        call = await hall.dial(bob, number)
        romeo = await hall.enter("romeo", number)
        await texts_flow(romeo, bob)
        juliet = hall["juliet"]
        assert await call.send(f"/invite {juliet.jid} come over") == 202
        heard = await juliet.buddy.hears(is_invitation)
        assert (heard.sender, inviter_of(heard)) == (romeo.room, f"bob@{hall.phones_domain}")
        assert (await bob.hears(lambda text: "Invited" in text.body)).body == f"[private] Invited {juliet.jid}."
        decline(juliet.buddy, romeo.room, inviter_of(heard), "no time")
        told = await bob.hears(lambda text: "does not come" in text.body)
        assert told.body == f"[private] {juliet.jid} does not come: no time"
        await call.send("/invite carol")
        await (await carol.rings()).answer()
        await romeo.sees("Carol C")
        await call.send("/who")
        told = await bob.hears(lambda text: "on the phone" in text.body)
        assert told.body == f"[private] {number}: in chat Romeo; on the phone Bob B, Carol C."
        await call.send("end")
        # What phones ask of us is no text of the conference in chat.
        await romeo.hears_nothing_until("end")

    async def test_a_phone_is_told_whom_it_may_not_invite(self, hall: Hall) -> None:
        number = some_number()
        (bob,) = await hall.phones("102")
        call = await hall.dial(bob, number)
        romeo = await hall.enter("romeo", number)
        await texts_flow(romeo, bob)
        for asked, why in (
            ("zoe", "Nobody with a phone is called “zoe”"),
            ("104", "Nobody with a phone is called “104”"),
            (f"104@{hall.phones_domain}", "You may not call 104."),
            ("somebody@elsewhere.example", "this service is not for users of that domain"),
            ("carol", "Cannot be reached: not registered"),
        ):
            await call.send(f"/invite {asked}")
            await bob.hears(told_alone(why))


@pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
class TestByTheDialplan:
    async def run(self, hall: Hall, arguments: str, options: str = "") -> dict[str, str]:
        """Let a dialplan invite, and return what it is told."""
        exchange = hall.exchange
        url = f"{hall.service.agi_url}/jabber_invite{options}"
        # Base64: a comma would end the value.
        names = ("JABBER_INVITE_STATUS", "JABBER_INVITE_REASON", "JABBER_ERROR")
        shown = ",".join(f"{name}: ${{BASE64_ENCODE(${{{name}}})}}" for name in names)
        steps = f"AGI({url},{ACCOUNT},{arguments}); UserEvent(Done,{shown});"
        complaints = await exchange.ael(f"context inviting {{ s => {{ {steps} }} }}\n")
        assert not complaints, complaints
        event = await (await exchange.call("s", "inviting")).event("Done", timeout=30)
        return {name: base64.b64decode(event[name]).decode() for name in names}

    async def test_somebody_in_chat_comes(self, hall: Hall) -> None:
        number = some_number()
        juliet = hall["juliet"]
        result = await self.run(hall, f"{juliet.jid},come over", f"?room={number}")
        assert result["JABBER_INVITE_STATUS"] == "SENT"
        heard = await juliet.buddy.hears(is_invitation)
        assert (heard.sender, "come over" in heard.xml) == (hall.room(number), True)
        await hall.enter("juliet", number)
        result = await self.run(hall, juliet.jid, f"?room={number}&wait=5")
        assert result["JABBER_INVITE_STATUS"] == "JOINED"

    async def test_somebody_in_chat_declines_or_does_not_answer(self, hall: Hall) -> None:
        number = some_number()
        juliet = hall["juliet"].buddy

        def refuse(message: ET.Element) -> None:
            if message.find(f"{USER}x/{USER}invite") is not None:
                juliet.send_raw(
                    f"<message xmlns='jabber:client' to='{message.get('from')}'>"
                    f"<x xmlns='http://jabber.org/protocol/muc#user'><decline to='{message.get('from')}'>"
                    "<reason>no time</reason></decline></x></message>"
                )

        assert (await self.run(hall, juliet.jid, f"?room={number}&wait=1"))["JABBER_INVITE_STATUS"] == "TIMEOUT"
        juliet.on_message(refuse)
        result = await self.run(hall, juliet.jid, f"?room={number}&wait=20")
        assert (result["JABBER_INVITE_STATUS"], result["JABBER_INVITE_REASON"]) == ("DECLINED", "no time")

    async def test_a_phone_is_invited_where_its_address_is_given(self, hall: Hall) -> None:
        result = await self.run(hall, f"103@{hall.phones_domain}", f"?room={some_number()}&wait=20")
        assert result["JABBER_INVITE_STATUS"] == "DECLINED"
        assert result["JABBER_INVITE_REASON"] == "Cannot be reached: not registered, or unknown"
        (carol,) = await hall.phones("103")
        for take, status in ((True, "JOINED"), (False, "DECLINED")):
            running = asyncio.create_task(
                self.run(hall, f"carol@{hall.phones_domain}", f"?room={some_number()}&wait=20")
            )
            call = await carol.rings()
            await (call.answer() if take else call.refuse(486))
            result = await running
            assert result["JABBER_INVITE_STATUS"] == status
        assert result["JABBER_INVITE_REASON"] == "User busy (SIP 486)"
        result = await self.run(hall, f"104@{hall.phones_domain}", f"?room={some_number()}")
        assert (result["JABBER_INVITE_STATUS"], result["JABBER_ERROR"]) == ("FAILED", "You may not call 104.")

    async def test_a_room_of_another_service(self, hall: Hall) -> None:
        room, juliet = f"garden@{hall.server.muc_domain}", hall["juliet"].buddy
        result = await self.run(hall, f"{juliet.jid},come over", f"?room={room}")
        assert result["JABBER_INVITE_STATUS"] == "SENT"
        heard = await juliet.hears(lambda heard: ET.fromstring(heard.xml).find(DIRECT) is not None)
        assert heard.body == f"You are invited to {room}: come over"


class TestOpenedFromChat:
    async def test_a_conference_is_opened_and_phones_ring(self, hall: Hall) -> None:
        romeo: Buddy = hall["romeo"].buddy
        alice, carol = await hall.phones("101", "103")
        romeo.say(hall.phones_domain, "conf carol, bob")
        answer = await romeo.hears(lambda heard: heard.body.startswith("Conference "))
        address = answer.body.split(" ")[5].rstrip(".\n").partition("\n")[0].rstrip(".")
        assert "Invited: Alice A, Carol C, Bob B." in answer.body
        invitation = await romeo.hears(is_invitation)
        assert invitation.sender == address
        missing = await romeo.hears(lambda heard: "does not come" in heard.body)
        assert missing.body == "Bob B does not come: Cannot be reached: not registered, or unknown."
        for phone in (alice, carol):
            await (await phone.rings()).answer()
        attendee = await hall.enter("romeo", address.partition("@")[0])
        assert attendee.members["Romeo"].affiliation == "owner"
        await attendee.sees("Alice A")
        await attendee.sees("Carol C")

    async def test_a_certain_conference_and_a_form(self, hall: Hall) -> None:
        number = some_number()
        romeo: Buddy = hall["romeo"].buddy
        (carol,) = await hall.phones("103")
        romeo.say(hall.phones_domain, f"conf {number} carol")
        answer = await romeo.hears(lambda heard: heard.body.startswith("Conference "))
        assert answer.body.startswith(f"Conference {number} is the room {hall.room(number)}.")
        await (await carol.rings()).answer()
        assert await (await hall.enter("romeo", number)).sees("Carol C")

    async def test_by_a_form(self, hall: Hall) -> None:
        number = some_number()
        romeo: Buddy = hall["romeo"].buddy
        (carol,) = await hall.phones("103")
        service = f"{hall.phones_domain}/agi-xmpp"
        assert (await romeo.commands(service))["conf"] == "Open a conference"
        asked = await romeo.execute(service, "conf")
        session = next(element for element in asked if element.tag.endswith("}command")).get("sessionid", "")
        done = await romeo.execute(
            service, "conf", action="complete", session=session, form={"people": f"{number} carol"}
        )
        assert f"Conference {number} is the room {hall.room(number)}." in "".join(done.itertext())
        assert (await carol.rings()).caller == number
