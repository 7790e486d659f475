"""Invitations into a conference whose room is one of the XMPP server's own MUC service, with all parts real."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.garden import Garden, open_garden
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
from tests.testbed.conference import PHONE_CONTEXT, ConferenceExchange
from tests.testbed.hall import ACCOUNT
from tests.testbed.muc import Attendee
from tests.testbed.xmpp import Ejabberd, XmppServer

#: The user map: whose phones can be invited. 104 is nobody's.
PHONE: dict[str, Any] = {
    "context": PHONE_CONTEXT,
    "user": {
        "alice@example.org": {"devices": ["PJSIP/101"], "name": "Alice A"},
        "bob@example.org": {"devices": ["PJSIP/102"], "name": "Bob B"},
        "carol@example.org": {"devices": ["PJSIP/103"], "name": "Carol C"},
    },
}


@pytest.fixture
async def garden(
    conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path
) -> AsyncIterator[Garden]:
    """The garden, on each server in turn."""
    async with open_garden(conference_exchange, xmpp_server, tmp_path, phone=PHONE) as garden:
        yield garden


def phone_address(garden: Garden, name: str) -> str:
    return f"{name}@{garden.hall.phones_domain}"


def shown(garden: Garden, nick: str, address: str) -> str:
    """Return whom a room that hides addresses names as inviter: Prosody the nick, ejabberd the address all the same."""
    return address if isinstance(garden.hall.server, Ejabberd) else f"{garden.room}/{nick}"


def letting_everybody_invite(garden: Garden) -> dict[str, bool]:
    """Return the setting of a room that lets occupants invite: ejabberd's do not, by default."""
    return {"allowinvites": True} if isinstance(garden.hall.server, Ejabberd) else {}


class TestFromChatToPhones:
    async def test_the_room_invites_a_phone_and_it_comes(self, garden: Garden) -> None:
        romeo = await garden.opened()
        (carol,) = await garden.hall.phones("103")
        romeo.invite(phone_address(garden, "103"), "come over")
        call = await carol.rings()
        inviter = shown(garden, "Romeo", romeo.buddy.jid).partition("/")[0]
        assert call.header("Referred-By") == f"<xmpp:{inviter}>"
        assert call.caller == "Garden"
        await call.answer()
        member = await romeo.sees("Carol C", role="participant")
        assert member.jid.startswith(f"{phone_address(garden, 'carol')}/")

    async def test_a_room_for_members_lets_in_whom_it_has_invited(self, garden: Garden) -> None:
        romeo = await garden.opened(membersonly=True)
        (carol,) = await garden.hall.phones("103")
        romeo.invite(phone_address(garden, "carol"))
        await (await carol.rings()).answer()
        assert (await romeo.sees("Carol C")).affiliation == "member"

    async def test_a_direct_invitation_of_who_is_seen_in_the_room(self, garden: Garden) -> None:
        romeo = await garden.opened(whois="anyone")
        await garden.talks("101", romeo)
        (carol,) = await garden.hall.phones("103")
        invite_directly(romeo, phone_address(garden, "carol"), "come over")
        call = await carol.rings()
        assert call.caller == "Garden"
        await call.answer()
        await romeo.sees("Carol C")

    async def test_who_is_busy_refuses_by_the_room(self, garden: Garden) -> None:
        romeo = await garden.opened(whois="anyone")
        await garden.talks("101", romeo)
        (carol,) = await garden.hall.phones("103")
        romeo.invite(phone_address(garden, "103"))
        await (await carol.rings()).refuse(486)
        heard = await romeo.buddy.hears(declined(phone_address(garden, "103")))
        assert (heard.sender, reason_of(heard)) == (garden.room, "User busy (SIP 486)")
        invite_directly(romeo, phone_address(garden, "103"))
        await (await carol.rings()).refuse(603)
        heard = await romeo.buddy.hears(declined(phone_address(garden, "103")))
        assert heard.sender == garden.room
        assert "(SIP 603)" in reason_of(heard)

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("102", "Cannot be reached: not registered, or unknown"),
            ("zoe", "Nobody with a phone is called “zoe”."),
            ("104", "You may not call 104."),
        ],
    )
    async def test_why_a_phone_does_not_come_is_told_by_the_room(self, garden: Garden, name: str, why: str) -> None:
        romeo = await garden.opened()
        romeo.invite(phone_address(garden, name))
        heard = await romeo.buddy.hears(declined(phone_address(garden, name)))
        assert (heard.sender, reason_of(heard)) == (garden.room, why)

    async def test_who_is_not_seen_in_the_room_invites_nobody(self, garden: Garden) -> None:
        romeo = await garden.opened(whois="anyone")
        await garden.talks("101", romeo)
        (carol,) = await garden.hall.phones("103")
        stranger = Attendee(garden.hall["juliet"].buddy, garden.room)
        message = invite_directly(stranger, phone_address(garden, "103"))
        assert (await stranger.bounced(message)).error == "not-acceptable"
        juliet = await garden.enter("juliet")
        await juliet.leave()
        message = invite_directly(stranger, phone_address(garden, "103"))
        assert (await stranger.bounced(message)).error == "not-acceptable"
        assert carol.ringing == []

    async def test_where_the_room_hides_addresses_only_the_room_can_say_who_is_in(self, garden: Garden) -> None:
        romeo = await garden.opened(whois="moderators")
        await garden.talks("101", romeo)
        (carol,) = await garden.hall.phones("103")
        message = invite_directly(romeo, phone_address(garden, "103"))
        assert (await romeo.bounced(message)).error == "not-acceptable"
        assert carol.ringing == []
        romeo.invite(phone_address(garden, "103"))
        assert (await carol.rings()).caller == "Garden"

    async def test_a_room_that_is_no_conferences_lets_no_phone_ring(self, garden: Garden) -> None:
        romeo = await garden.opened()
        (carol,) = await garden.hall.phones("103")
        other = f"team{secrets.token_hex(4)}@{garden.hall.server.muc_domain}"
        team = await Attendee.enter(garden.hall["juliet"].buddy, other, "Juliet")
        await team.configure()
        team.invite(phone_address(garden, "103"))
        romeo.invite(phone_address(garden, "103"))  # its answer comes after what there is to the other one
        await (await carol.rings()).refuse(486)
        await romeo.buddy.hears(declined(phone_address(garden, "103")))
        assert carol.ringing == []

    async def test_who_must_not_use_the_service_lets_no_phone_ring(self, garden: Garden) -> None:
        romeo = await garden.opened(whois="anyone", **letting_everybody_invite(garden))
        (carol,) = await garden.hall.phones("103")
        server, password = garden.hall.server, secrets.token_hex(8)
        jid = await server.add_user(f"tybalt-{secrets.token_hex(4)}", password, server.impostor_domain)
        async with Buddy.online(server, jid, password) as buddy:
            tybalt = await Attendee.enter(buddy, garden.room, "Tybalt")
            tybalt.invite(phone_address(garden, "103"))
            heard = await buddy.hears(declined(phone_address(garden, "103")))
            assert reason_of(heard) == "Phones are not for users of your domain."
        assert carol.ringing == []
        romeo.invite(phone_address(garden, "103"))
        await carol.rings()


class TestFromPhones:
    async def test_a_phone_invites_somebody_in_chat_who_declines_and_comes(self, garden: Garden) -> None:
        romeo = await garden.opened(**letting_everybody_invite(garden))
        bob, call = await garden.talks("102", romeo)
        juliet = garden.hall["juliet"]
        await call.send(f"/invite {juliet.jid} come over")
        heard = await juliet.buddy.hears(is_invitation)
        inviter = inviter_of(heard)
        assert heard.sender == garden.room
        assert inviter.startswith(shown(garden, "Bob B", phone_address(garden, "bob")))
        assert "come over" in heard.xml
        await bob.hears(f"[private] Invited {juliet.jid}.")
        decline(juliet.buddy, garden.room, inviter, "no time")
        await bob.hears(f"[private] {juliet.jid} does not come: no time.")
        await garden.enter("juliet")
        await call.send("/who")
        await bob.hears("[private] Garden: in chat Juliet, Romeo; on the phone Bob B.")
        await call.send("end")
        # What phones ask of us is no text of the conference in chat.
        await romeo.hears_nothing_until("end")

    async def test_a_phone_calls_another_one_in(self, garden: Garden) -> None:
        romeo = await garden.opened()
        bob, call = await garden.talks("102", romeo)
        (carol,) = await garden.hall.phones("103")
        await call.send("/invite 103")
        ringing = await carol.rings()
        assert ringing.header("Referred-By") == f"<xmpp:{phone_address(garden, 'bob')}>"
        await ringing.refuse(486)
        await bob.hears(told_alone("Carol C does not come: User busy (SIP 486)."))
        await call.send("/invite carol")
        await (await carol.rings()).answer()
        await romeo.sees("Carol C")
        await call.send("/help")
        await bob.hears(told_alone("/invite 103"))
        await call.send("end")
        await romeo.hears_nothing_until("end")

    async def test_what_the_room_does_not_let_a_phone_do_is_told_to_it(self, garden: Garden) -> None:
        romeo = await garden.opened(membersonly=True)
        await romeo.set_affiliation(phone_address(garden, "bob"), "member")
        bob, call = await garden.talks("102", romeo)
        juliet = garden.hall["juliet"]
        await call.send(f"/invite {juliet.jid}")
        await bob.hears(told_alone(f"{juliet.jid} was not invited: The room does not let you invite"))
        await romeo.set_affiliation(juliet.jid, "member")
        romeo.invite(juliet.jid)
        inviter = inviter_of(await juliet.buddy.hears(is_invitation))
        assert inviter.startswith(shown(garden, "Romeo", romeo.buddy.jid)), "no other came before"

    @pytest.mark.parametrize("xmpp_server", ["ejabberd"], indirect=True)
    async def test_ejabberd_lets_nobody_but_admins_and_owners_invite_unless_that_is_set(self, garden: Garden) -> None:
        romeo = await garden.opened()
        bob, call = await garden.talks("102", romeo)
        juliet = garden.hall["juliet"]
        await call.send(f"/invite {juliet.jid}")
        await bob.hears(told_alone("The room does not let you invite (not-allowed"))
        await romeo.set_affiliation(phone_address(garden, "bob"), "admin")
        await call.send(f"/invite {juliet.jid}")
        assert (await juliet.buddy.hears(is_invitation)).sender == garden.room

    async def test_whose_word_it_is_must_be_certain(self, garden: Garden) -> None:
        romeo = await garden.opened()
        _, call = await garden.talks("102", romeo)
        await call.send("/who", display="Mallory")
        await romeo.hears("<Mallory> /who", nick="Bob B")


class TestByOthers:
    async def test_who_has_a_phone_opens_the_conference_from_chat(self, garden: Garden) -> None:
        romeo = await garden.opened()
        dave_is_romeo = {romeo.buddy.jid: {"devices": ["PJSIP/104"], "name": "Dave D"}}
        section = garden.hall.service.sections["phone"]
        garden.hall.service.sections["phone"] = {**section, "user": {**section["user"], **dave_is_romeo}}
        await garden.hall.service.reload()
        carol, dave = await garden.hall.phones("103", "104")
        romeo.buddy.say(garden.hall.phones_domain, f"conf {garden.number} carol")
        answer = await romeo.buddy.hears(lambda heard: heard.body.startswith("Conference "))
        assert answer.body.startswith(f"Conference {garden.number} is the room {garden.room}.")
        for phone in (carol, dave):
            await (await phone.rings()).answer()
        await romeo.sees("Carol C")
        await romeo.sees("Dave D")

    async def test_the_dialplan_invites_a_phone_and_somebody_in_chat(self, garden: Garden) -> None:
        romeo = await garden.opened()
        (carol,) = await garden.hall.phones("103")
        running = asyncio.create_task(
            self.jabber_invite(garden, phone_address(garden, "103"), f"?room={garden.number}&wait=20")
        )
        await (await carol.rings()).answer()
        assert await running == "JOINED"
        await romeo.sees("Carol C")
        juliet = garden.hall["juliet"]
        assert await self.jabber_invite(garden, juliet.jid, f"?room={garden.number}") == "SENT"
        heard = await juliet.buddy.hears(lambda heard: DIRECT[1:].partition("}")[0] in heard.xml)
        assert garden.room in heard.xml

    async def jabber_invite(self, garden: Garden, whom: str, options: str) -> str:
        """Let a dialplan invite somebody, and return what comes of it."""
        url = f"{garden.hall.service.agi_url}/jabber_invite{options}"
        status = "${BASE64_ENCODE(${JABBER_INVITE_STATUS})}"
        steps = f"AGI({url},{ACCOUNT},{whom}); UserEvent(Done,Status: {status});"
        complaints = await garden.hall.exchange.ael(f"context inviting {{ s => {{ {steps} }} }}\n")
        assert not complaints, complaints
        event = await (await garden.hall.exchange.call("s", "inviting")).event("Done", timeout=30)
        return base64.b64decode(event["Status"]).decode()
