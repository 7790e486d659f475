"""Conferences in chat, with all parts real: an Asterisk, phones that write, an XMPP server, clients, agi-xmpp."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.answers import codes, tree
from tests.testbed.conference import NAMES, PHONE_CONTEXT, ConferenceExchange
from tests.testbed.hall import PHONES_ACCOUNT, Hall, open_hall
from tests.testbed.muc import Attendee, Refused
from tests.testbed.profanity import Profanity
from tests.testbed.xmpp import XmppServer

#: How many texts come at once in a burst.
BURST = 300
ROOMS = {
    "balcony": {"number": "6000", "title": "Balcony", "description": "Where they met"},
    "tomb": {"number": "6900", "password": "poison"},
}


@pytest.fixture
async def hall(conference_exchange: ConferenceExchange, xmpp_server: XmppServer, tmp_path: Path) -> AsyncIterator[Hall]:
    """A hall with Romeo, who owns each room, and Juliet, on each server in turn."""
    async with open_hall(conference_exchange, xmpp_server, tmp_path, rooms=ROOMS) as hall:
        yield hall


def some_number() -> str:
    """Return a conference's number; nothing of an earlier test is in it."""
    return f"6{secrets.randbelow(800) + 100}"


class TestComingAndGoing:
    async def test_a_phone_that_is_in_is_listed(self, hall: Hall) -> None:
        number = some_number()
        (alice,) = await hall.phones("101")
        call = await hall.dial(alice, number)
        await hall.agrees(number, [], ["101"])  # agi-xmpp has asked Asterisk who that is
        romeo = await hall.enter("romeo", number)
        assert 110 in romeo.codes
        assert romeo.entered[-1] == "Romeo", "our own presence comes last"
        phone = await romeo.sees("Alice A", role="participant", affiliation="none")
        assert phone.jid.startswith(f"101@{hall.phones_domain}/")
        juliet = await hall.enter("juliet", number)
        assert juliet.members["Alice A"].jid == "", "only moderators see addresses"
        await call.hang_up()
        assert (await romeo.sees_gone("Alice A")).codes == frozenset()

    async def test_a_phone_comes_while_people_are_in(self, hall: Hall) -> None:
        number = some_number()
        romeo, juliet = await hall.enter("romeo", number), await hall.enter("juliet", number)
        assert await romeo.sees("Juliet")
        alice, carol = await hall.phones("101", "103")
        await hall.dial(alice, number)
        await hall.dial(carol, number)
        for attendee in (romeo, juliet):
            await attendee.sees("Alice A")
            await attendee.sees("Carol C")
        # Our own leg is in the conference by now, and is nobody.
        assert set(juliet.members) == {"Romeo", "Juliet", "Alice A", "Carol C"}
        assert 110 in (await juliet.leave()).codes
        await romeo.sees_gone("Juliet")

    async def test_a_room_is_found_by_its_name_and_is_the_conference_of_its_number(self, hall: Hall) -> None:
        juliet = await hall.enter("juliet", "balcony")
        (alice,) = await hall.phones("101")
        await hall.dial(alice, "6000")
        await juliet.sees("Alice A")
        about = await juliet.buddy.info(juliet.room)
        for feature in ("muc_semianonymous", "muc_open", "Balcony"):
            assert feature in about
        assert "balcony@" in await juliet.buddy.items(hall.domain)

    async def test_a_room_is_opened_by_its_first_guest(self, hall: Hall) -> None:
        name = f"verona{secrets.token_hex(4)}".translate(str.maketrans("0123456789", "ghijklmnop"))
        juliet = await hall.enter("juliet", name)
        assert {110, 201} <= juliet.codes
        assert juliet.members["Juliet"].affiliation == "owner"
        await juliet.configure(roomname="Fair Verona")
        (bob,) = await hall.phones("102")
        await hall.dial(bob, name)
        await juliet.sees("Bob B")

    async def test_who_is_not_let_in_is_told_why(self, hall: Hall) -> None:
        number = some_number()
        (bob,) = await hall.phones("102")
        await hall.dial(bob, number)
        romeo = await hall.enter("romeo", number)
        await romeo.sees("Bob B")
        with pytest.raises(Refused, match="cancel conflict"):
            await hall.enter("juliet", number, "Romeo")
        with pytest.raises(Refused, match="cancel conflict"):
            await hall.enter("juliet", number, "Bob B")
        with pytest.raises(Refused, match="cancel item-not-found"):
            await hall.enter("juliet", "5000")
        with pytest.raises(Refused, match="auth not-authorized"):
            await hall.enter("juliet", "tomb")
        await hall.enter("juliet", "tomb", password="poison")


class TestTexts:
    async def test_what_is_written_in_chat_is_read_on_phones(self, hall: Hall) -> None:
        number = some_number()
        alice, bob = await hall.phones("101", "102")
        await hall.dial(alice, number)
        await hall.dial(bob, number)
        romeo, juliet = await hall.enter("romeo", number), await hall.enter("juliet", number)
        message = romeo.say("hello\nphones ✓")
        assert (await romeo.hears("hello\nphones ✓", nick="Romeo")).id == message
        await juliet.hears("hello\nphones ✓", nick="Romeo")
        for phone in (alice, bob):
            assert (await phone.hears("hello\nphones ✓")).display == "Romeo"

    async def test_what_a_phone_writes_is_read_in_chat_and_by_the_other_phones_once(self, hall: Hall) -> None:
        number = some_number()
        alice, bob = await hall.phones("101", "102")
        call, _ = await hall.dial(alice, number), await hall.dial(bob, number)
        romeo = await hall.enter("romeo", number)
        await texts_flow(romeo, "Alice A")
        await alice.hears("mark")
        await bob.hears("mark")
        assert await call.send("hi romeo") == 202
        await romeo.hears("hi romeo", nick="Alice A")
        await bob.hears("hi romeo", display="Alice A")
        romeo.say("end")
        await romeo.hears_nothing_until("end")
        await alice.hears_nothing_until("end")
        await bob.hears_nothing_until("end")

    async def test_a_phone_does_not_speak_in_the_name_of_chat(self, hall: Hall) -> None:
        number = some_number()
        (alice,) = await hall.phones("101")
        call = await hall.dial(alice, number)
        romeo = await hall.enter("romeo", number)
        await texts_flow(romeo, "Alice A")
        await call.send("I am him", display="Romeo")
        heard = await romeo.hears("<Romeo> I am him")
        assert heard.sender == romeo.room

    @pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
    async def test_none_of_a_burst_is_lost_or_doubled(self, hall: Hall) -> None:
        number = some_number()
        (alice,) = await hall.phones("101")
        call = await hall.dial(alice, number)
        romeo = await hall.enter("romeo", number)
        await texts_flow(romeo, "Alice A")
        await alice.hears("mark")
        down = [f"to phones {count}" for count in range(BURST)]
        for text in down:
            romeo.say(text)
        assert [(await alice.hears(timeout=60)).body for _ in down] == down
        assert [(await romeo.hears(nick="Romeo", timeout=60)).body for _ in down] == down
        up = [f"to chat {count}" for count in range(BURST)]
        assert set(await asyncio.gather(*(call.send(text) for text in up))) == {202}
        assert [(await romeo.hears(nick="Alice A", timeout=60)).body for _ in up] == up

    async def test_a_word_to_one_phone(self, hall: Hall) -> None:
        number = some_number()
        alice, bob = await hall.phones("101", "102")
        await hall.dial(alice, number)
        await hall.dial(bob, number)
        romeo = await hall.enter("romeo", number)
        await texts_flow(romeo, "Alice A")
        await bob.hears("mark")
        romeo.whisper("Alice A", "psst")
        assert (await alice.hears(lambda text: "psst" in text.body)).body == "[private] <Romeo> psst"
        romeo.say("end")
        await bob.hears_nothing_until("end")


class TestModerating:
    async def test_a_phone_is_thrown_out(self, hall: Hall) -> None:
        number = some_number()
        (bob,) = await hall.phones("102")
        call = await hall.dial(bob, number)
        romeo, juliet = await hall.enter("romeo", number), await hall.enter("juliet", number)
        await romeo.sees("Bob B")
        await romeo.kick("Bob B", "bye bob")
        assert await call.ended() == "BYE"
        gone = await juliet.sees_gone("Bob B")
        assert (307 in gone.codes, gone.reason, gone.actor) == (True, "bye bob", "Romeo")

    async def test_the_word_is_taken_and_given_and_keys_do_the_same(self, hall: Hall) -> None:
        number = some_number()
        (bob,) = await hall.phones("102")
        call = await hall.dial(bob, number)
        romeo = await hall.enter("romeo", number)
        await romeo.sees("Bob B", role="participant")
        await romeo.set_role("Bob B", "visitor")
        await romeo.sees("Bob B", role="visitor")
        await romeo.set_role("Bob B", "participant")
        await romeo.sees("Bob B", role="participant")
        await call.press("*1")
        await romeo.sees("Bob B", status="muted")

    async def test_the_subject_is_told_to_all(self, hall: Hall) -> None:
        number = some_number()
        (bob,) = await hall.phones("102")
        await hall.dial(bob, number)
        romeo = await hall.enter("romeo", number)
        await texts_flow(romeo, "Bob B")
        romeo.set_subject("love")
        assert await romeo.sees_subject("love") == "Romeo"
        await bob.hears("Romeo set the subject: love")
        assert (await hall.enter("juliet", number)).subject == "love"


class TestRestarts:
    async def test_agi_xmpp_is_restarted(self, hall: Hall) -> None:
        (alice,) = await hall.phones("101")
        call = await hall.dial(alice, "6000")
        romeo = await hall.enter("romeo", "balcony")
        await texts_flow(romeo, "Alice A")
        await alice.hears("mark")
        await hall.service.stop()
        left = await romeo.buddy.sees(lambda seen: seen.sender == romeo.of("Romeo") and seen.type == "unavailable")
        assert {110, 332} <= codes(tree(left))
        assert "Enter again" in left.status, "what clients that do not come back by themselves show"
        await hall.service.start()
        await hall.service.online()
        romeo = await hall.enter("romeo", "balcony")
        assert "mark" in [heard.body for heard in romeo.history]
        await texts_flow(romeo, "Alice A")
        await alice.hears("mark")
        assert await call.send("still here") == 202
        await romeo.hears("still here", nick="Alice A")
        assert set(romeo.members) == {"Romeo", "Alice A"}


class TestReload:
    async def test_a_new_user_throws_nobody_out(self, hall: Hall) -> None:
        """In a room that is not kept: thrown out, its people would lose its owner and what was said."""
        number = some_number()
        juliet = await hall.enter("juliet", number)
        (carol,) = await hall.phones("103")
        call = await hall.dial(carol, number)
        await texts_flow(juliet, "Carol C")
        people = {}
        for local, device in (("carol", "103"), ("dave", "104")):
            people[f"{local}@example.org"] = {"devices": [f"PJSIP/{device}"], "name": NAMES[device]}
            hall.service.sections["phone"] = {"account": PHONES_ACCOUNT, "context": PHONE_CONTEXT, "user": people}
            since = hall.service.log_size()
            await hall.service.reload()
            await hall.service.log_says(lambda line: "phones: go on with the new settings" in line, since=since)
        await hall.agrees(number, [juliet], ["103"])
        assert juliet.members["Juliet"].affiliation == "owner"
        assert juliet.members["Carol C"].jid.startswith(f"carol@{hall.phones_domain}/")
        assert await call.send("still here") == 202
        await juliet.hears("still here", nick="Carol C")
        juliet.say("end")
        await carol.hears("end")

    async def test_status_fails_while_texts_do_not_reach_the_phones(self, hall: Hall) -> None:
        """And other settings of our own call throw nobody out."""
        number = some_number()
        romeo = await hall.enter("romeo", number)
        (carol,) = await hall.phones("103")
        call = await hall.dial(carol, number)
        await texts_flow(romeo, "Carol C")
        right = hall.service.sections["conference"]
        wrong = {**right, "sip": {**right["sip"], "password": "wrong-password"}}
        for conference, code, said in (
            (wrong, 1, "The phones in this conference cannot read what is written here at the moment."),
            (right, 0, "The phones in this conference can read again what is written here."),
        ):
            hall.service.sections["conference"] = conference
            await hall.service.reload()
            await romeo.hears(said, nick="")
            found, shown = await hall.service.command("status")
            assert (found, "401 Unauthorized" in shown) == (code, bool(code)), shown
        romeo.say("read again")
        await carol.hears("read again")
        assert await call.send("heard again") == 202
        await romeo.hears("heard again", nick="Carol C")
        await hall.agrees(number, [romeo], ["103"])

    async def test_settings_that_change_while_our_call_comes_in_are_no_failure(self, hall: Hall) -> None:
        """Asterisk lets a call in half a second after its answer: the second and third reload come meanwhile."""

        async def is_answered() -> bool:
            rows = (await hall.exchange.cli("core show channels concise")).splitlines()
            return any(f"!{number}!" in row and "!Answer!" in row for row in rows)

        number = some_number()
        romeo = await hall.enter("romeo", number)
        (carol,) = await hall.phones("103")
        await hall.dial(carol, number)
        await texts_flow(romeo, "Carol C")
        before = hall.service.sections["conference"]
        since = hall.service.log_size()
        for timeout in (6.0, 7.0, 8.0):
            hall.service.sections["conference"] = {**before, "sip": {**before["sip"], "timeout": timeout}}
            await hall.service.reload()
            romeo.say(f"said after {timeout:g}")
            async with asyncio.timeout(10):
                while not await is_answered():
                    pass
        for timeout in (6.0, 7.0, 8.0):
            await carol.hears(f"said after {timeout:g}")
        assert b"texts do not reach the phones" not in hall.service.log_file.read_bytes()[since:]


class TestProfanity:
    @pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
    async def test_a_client_that_people_use(self, hall: Hall) -> None:
        (alice,) = await hall.phones("101")
        call = await hall.dial(alice, "6000")
        login = await hall.accounts("nurse")
        async with Profanity(hall.server, login.jid, login.password) as client:
            await client.join(hall.room("balcony"), "Nurse")
            await client.shows("Alice A")
            romeo = await hall.enter("romeo", "balcony")
            await texts_flow(romeo, "Alice A")
            await alice.hears("mark")
            client.type("good evening")
            assert (await alice.hears("good evening")).display == "Nurse"
            await romeo.hears("good evening", nick="Nurse")
            await call.send("good evening, nurse")
            await client.shows("Alice A: good evening, nurse")


async def texts_flow(attendee: Attendee, phone: str) -> None:
    """Wait until a phone is in, and what is said in chat is told to it, which takes Asterisk half a second at first."""
    await attendee.sees(phone)
    attendee.say("mark")
    await attendee.hears("mark")
