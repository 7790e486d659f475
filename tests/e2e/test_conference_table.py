"""What people do in a room that is a conference, row by row: XEP-0045 as clients use it, with phones in between.

Each scenario says which rows of `ROWS` it shows, and a row that none shows is an error. All parts are real; people are
slixmpp clients. `test_conference_clients` has what other clients send and need, `test_conference` the texts in bursts
and what happens when something is restarted.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from tests.e2e.answers import INFO, ITEMS, MUC, PING, USER, codes, features, form, identity, listed, problem, tree
from tests.e2e.party import Party, hall, party, texts_flow
from tests.testbed.client import Buddy, Heard
from tests.testbed.conference import PHONE_CONTEXT, device
from tests.testbed.hall import Hall
from tests.testbed.muc import Attendee, Refused

__all__ = ["hall", "party"]

#: What a room does, as XEP-0045 cuts it.
ROWS = frozenset(
    {
        "the service tells what it is",
        "the service lists its rooms",
        "a room tells what it is",
        "a room lists who is in",
        "lists of affiliations and roles",
        "joining",
        "not being let in",
        "a locked conference",
        "status codes",
        "presence",
        "leaving",
        "phones come and go",
        "chat to phones",
        "phones to chat",
        "not being heard",
        "private messages",
        "subject",
        "nicks",
        "several clients",
        "voice",
        "kick",
        "ban",
        "members only",
        "password",
        "moderated",
        "rooms opened by people",
        "rooms opened by phones",
        "configuration",
        "destruction",
        "history",
        "archive",
        "self-ping",
        "requests between occupants",
        "typing",
        "inviting people by the room",
        "inviting phones by the room",
        "inviting phones at their address",
        "inviting from a phone",
    }
)
_SHOWN: set[str] = set()

T = TypeVar("T")

in_the_hall = pytest.mark.asyncio(loop_scope="module")


def shows(*rows: str) -> Callable[[T], T]:
    """Say which rows a scenario shows."""
    unknown = set(rows) - ROWS
    assert not unknown, f"no rows: {unknown}"
    _SHOWN.update(rows)
    return lambda scenario: scenario


def test_each_row_is_shown() -> None:
    assert _SHOWN == ROWS


def bare(person: Attendee | Buddy) -> str:
    return (person.buddy if isinstance(person, Attendee) else person).jid


def phone_address(hall: Hall, name: str) -> str:
    return f"{name}@{hall.phones_domain}"


@in_the_hall
class TestDiscovery:
    @shows("the service tells what it is")
    async def test_the_service_is_a_place_for_rooms(self, party: Party) -> None:
        juliet = party.hall["juliet"].buddy
        about = await juliet.ask(party.hall.domain, INFO)
        assert identity(about)[:2] == ("conference", "text")
        assert {MUC, f"{MUC}#stable_id", "urn:xmpp:ping"} <= features(about)
        assert (await juliet.ask(party.hall.domain, PING)).get("type") == "result"

    @shows("the service lists its rooms")
    async def test_rooms_are_listed_with_how_many_are_in(self, party: Party) -> None:
        juliet = await party.enter("juliet")
        alice = await party.dial("101")
        await juliet.sees(alice.name)
        rooms = listed(await juliet.buddy.ask(party.hall.domain, ITEMS))
        assert rooms[party.room] == f"{party.number} (2)"
        assert rooms[party.hall.room("balcony")] == "Balcony (0)"
        assert party.hall.room("cellar") not in rooms

    @shows("a room tells what it is")
    async def test_a_room_tells_what_it_is(self, party: Party) -> None:
        juliet = party.hall["juliet"].buddy
        about = await juliet.ask(party.hall.room("balcony"), INFO)
        assert identity(about) == ("conference", "text", "Balcony")
        assert {
            *(MUC, f"{MUC}#stable_id", "urn:xmpp:sid:0", "urn:xmpp:occupant-id:0", "urn:xmpp:mam:2"),
            *("muc_semianonymous", "muc_open", "muc_persistent", "muc_public", "muc_unmoderated", "muc_unsecured"),
        } <= features(about)
        assert form(about)["muc#roominfo_description"] == "Where they met"
        for node, feature in (
            *(("tomb", "muc_passwordprotected"), ("council", "muc_membersonly"), ("square", "muc_moderated")),
            ("cellar", "muc_hidden"),
        ):
            assert feature in features(await juliet.ask(party.hall.room(node), INFO))
        assert problem(await juliet.ask(party.hall.room("5000"), INFO)) == ("cancel", "item-not-found")

    @shows("a room tells what it is", "a room lists who is in")
    async def test_a_room_tells_who_is_in_and_what_it_is_about(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        alice = await party.dial("101")
        await romeo.sees(alice.name)
        romeo.set_subject("Love")
        await romeo.sees_subject("Love")
        about = form(await romeo.buddy.ask(party.room, INFO))
        assert (about["muc#roominfo_occupants"], about["muc#roominfo_subject"]) == ("2", "Love")
        within = {romeo.of("Romeo"), romeo.of("Alice A")}
        assert set(listed(await romeo.buddy.ask(party.room, ITEMS))) == within
        assert set(listed(await party.hall["juliet"].buddy.ask(party.room, ITEMS))) == within

    @shows("lists of affiliations and roles")
    async def test_owners_read_the_lists_and_guests_do_not(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await romeo.sees(alice.name)
        assert await romeo.affiliated("owner") == {bare(romeo)}
        for nobody in ("admin", "member", "outcast"):
            assert await romeo.affiliated(nobody) == set()
        for affiliation in ("owner", "admin", "member", "outcast"):
            with pytest.raises(Refused, match="auth forbidden"):
                await juliet.affiliated(affiliation)
        query = f"<query xmlns='{MUC}#admin'><item role='participant'/></query>"
        found = (await romeo.buddy.ask(party.room, query)).iter(f"{{{MUC}#admin}}item")
        assert {item.get("nick") for item in found} == {"Juliet", "Alice A"}


@in_the_hall
class TestComing:
    @shows("joining", "status codes", "phones come and go")
    async def test_who_joins_is_told_all_in_order(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        juliet = party.hall["juliet"].buddy
        party.expect(juliet)
        presences, messages = len(juliet.seen), len(juliet.heard)
        attendee = await party.enter(juliet)
        told = [seen for seen in juliet.seen[presences:] if seen.sender.startswith(f"{party.room}/")]
        *others, own = (seen.sender for seen in told)
        assert (sorted(others), own) == ([attendee.of("Alice A"), attendee.of("Romeo")], attendee.of("Juliet"))
        for seen in told:
            assert tree(seen).find(f"{USER}x/{USER}item") is not None
            assert tree(seen).find("{urn:xmpp:occupant-id:0}occupant-id") is not None
        assert attendee.codes == {110}, "100 is for rooms that show addresses, 201 for who opens one"
        after = [heard for heard in juliet.heard[messages:] if heard.sender.startswith(party.room)]
        assert [heard.body for heard in after] == ["mark", ""]
        assert after[-1].sender == party.room
        assert tree(after[-1]).findtext("{jabber:client}subject") == "", "empty, and there"

    @shows("not being let in")
    async def test_who_is_not_let_in_is_told_why(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        alice = await party.dial("101")
        await romeo.sees(alice.name)
        await romeo.set_affiliation(bare(party.hall["juliet"].buddy), "outcast")
        for room, nick, wanted in (
            (party.room, "Juliet", ("auth", "forbidden")),
            (party.hall.room("5000"), "Juliet", ("cancel", "item-not-found")),
            (party.hall.room("6950"), "Juliet", ("cancel", "item-not-found")),
            (party.hall.room("tomb"), "Juliet", ("auth", "not-authorized")),
            (party.hall.room("council"), "Juliet", ("auth", "registration-required")),
            (party.hall.room("balcony"), "", ("modify", "jid-malformed")),
            (party.hall.room("balcony"), "x" * 65, ("modify", "jid-malformed")),
        ):
            assert problem(await self.refused(party.hall["juliet"].buddy, room, nick)) == wanted, room
        await romeo.set_affiliation(bare(party.hall["juliet"].buddy), "none")
        for nick in ("Romeo", "Alice A", "alice a"):
            assert problem(await self.refused(party.hall["juliet"].buddy, party.room, nick)) == ("cancel", "conflict")
        await romeo.configure(maxusers="1")
        found = await self.refused(party.hall["juliet"].buddy, party.room, "Juliet")
        assert problem(found) == ("wait", "service-unavailable")

    @staticmethod
    async def refused(buddy: Buddy, room: str, nick: str) -> ET.Element:
        """Try to join, and return the refusal: from where we went, with our id and our <x/> as Dino needs it."""
        address = f"{room}/{nick}" if nick else room
        buddy.send_raw(f"<presence to='{address}' id='j1'><x xmlns='{MUC}'/></presence>")
        answer = tree(await buddy.sees(lambda seen: seen.sender == address and seen.type == "error"))
        assert answer.get("id") == "j1"
        assert answer.find(f"{{{MUC}}}x") is not None
        return answer

    @shows("a locked conference", "not being let in")
    async def test_nobody_comes_into_a_locked_conference_but_its_owners(self, party: Party) -> None:
        alice = await party.dial("101")
        await party.hall.agrees(party.number, [], ["101"])
        await party.hall.exchange.cli(f"confbridge lock {party.number}")
        juliet, since = party.hall["juliet"].buddy, party.hall.service.log_size()
        refusal = await self.refused(juliet, party.room, "Juliet")
        assert problem(refusal) == ("auth", "forbidden")
        assert Refused(refusal).text == "This conference is locked."
        assert f"room {party.room}: {juliet.full_jid} was not let in" in party.hall.service.log_tail(since)
        romeo = await party.enter("romeo")
        await texts_flow(romeo, alice)
        assert set(romeo.members) == {"Romeo", alice.name}
        tablet = await party.enter(await party.client("romeo", "tablet"), "Romeo")
        await romeo.rename("Montague")
        await tablet.sees("Montague")
        await party.hall.exchange.cli(f"confbridge unlock {party.number}")
        attendee = await party.enter("juliet")
        await attendee.sees("Montague")
        assert set(attendee.members) == {"Juliet", "Montague", alice.name}

    @shows("not being let in")
    async def test_who_is_of_another_domain_stays_outside(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        tybalt = await party.stranger()
        assert problem(await self.refused(tybalt, party.room, "Tybalt")) == ("auth", "forbidden")
        assert problem(await tybalt.ask(party.hall.domain, ITEMS)) == ("auth", "forbidden")
        assert problem(await tybalt.ask(party.room, INFO)) == ("auth", "forbidden")
        assert set(romeo.members) == {"Romeo"}

    @shows("nicks", "status codes")
    async def test_a_nick_with_needless_blanks_is_made_right(self, party: Party) -> None:
        juliet = party.hall["juliet"].buddy
        party.expect(juliet)
        juliet.send_raw(f"<presence to='{party.room}/Fair  Juliet'><x xmlns='{MUC}'/></presence>")
        seen = await juliet.sees(lambda seen: seen.sender == f"{party.room}/Fair Juliet")
        assert {110, 210} <= codes(tree(seen))

    @shows("leaving")
    async def test_a_client_may_leave_the_room_s_bare_address(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        juliet.buddy.send_raw(f"<presence to='{party.room}/Nobody' type='unavailable'/>")
        gone = await juliet.sees_gone("Juliet")
        assert gone.codes == {110}
        await romeo.sees_gone("Juliet")
        juliet = await party.enter("juliet")
        juliet.buddy.send_raw(f"<presence to='{party.room}' type='unavailable'/>")
        own = tree(await juliet.buddy.sees(lambda seen: seen.sender == juliet.of("Juliet") and bool(seen.type)))
        item = own.find(f"{USER}x/{USER}item")
        assert item is not None
        assert item.get("role") == "none"
        await romeo.sees_gone("Juliet")

    @shows("several clients", "leaving")
    async def test_two_clients_of_one_person_are_one_occupant(self, party: Party) -> None:
        romeo, phone = await party.enter("romeo"), await party.enter("juliet")
        tablet = await party.enter(await party.client("juliet", "tablet"), "Juliet")
        assert set(romeo.members) == {"Romeo", "Juliet"}
        romeo.say("hello both")
        for client in (phone, tablet):
            await client.hears("hello both", nick="Romeo")
        romeo.whisper("Juliet", "psst both")
        for client in (phone, tablet):
            await client.hears_whisper("Romeo")
        left = len(romeo.buddy.seen)
        assert (await tablet.leave()).codes == {110}
        phone.say("still here")
        await romeo.hears("still here", nick="Juliet")
        assert not [seen for seen in romeo.buddy.seen[left:] if seen.type == "unavailable"]
        await phone.leave()
        await romeo.sees_gone("Juliet")

    @shows("nicks", "status codes")
    async def test_names_are_changed_but_not_to_those_of_others(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await juliet.sees(alice.name)
        for taken in ("Alice A", "Romeo"):
            with pytest.raises(Refused, match="cancel conflict"):
                await juliet.rename(taken)
        assert await juliet.rename("Lady") == "Lady"
        gone = await romeo.sees_gone("Juliet")
        assert (gone.codes, gone.new_nick) == (frozenset({303}), "Lady")
        assert (await romeo.sees("Lady")).jid == juliet.buddy.full_jid
        assert juliet.nick == "Lady"

    @shows("presence")
    async def test_who_is_away_is_shown_as_away_with_all_that_the_client_says(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        juliet.buddy.send_raw(
            f"<presence to='{juliet.of('Juliet')}'><show>dnd</show><status>asleep</status>"
            "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://x.test' ver='QgayPKawpkPSDYmw'/>"
            "<x xmlns='vcard-temp:x:update'><photo>01</photo></x></presence>"
        )
        for attendee in (romeo, juliet):
            seen = tree(await attendee.buddy.sees(lambda seen: seen.sender == romeo.of("Juliet") and bool(seen.show)))
            assert (seen.findtext("{jabber:client}show"), seen.findtext("{jabber:client}status")) == ("dnd", "asleep")
            assert seen.findtext("{vcard-temp:x:update}x/{vcard-temp:x:update}photo") == "01"
            assert seen.find("{http://jabber.org/protocol/caps}c") is not None
        later = await party.enter(await party.client("romeo", "tablet"), "Late")
        assert later.members["Juliet"].show == "dnd"

    @shows("phones come and go")
    async def test_a_phone_cannot_send_itself_elsewhere_but_the_exchange_can(self, party: Party) -> None:
        """ConfBridge lets nobody transfer out of its bridge."""
        romeo, exchange = await party.enter("romeo"), party.hall.exchange
        alice, bob = await party.dial("101"), await party.switch_on("102")
        await texts_flow(romeo, alice)
        ami = await exchange.ami()
        transfers = ami.subscribe(lambda event: event.get("Event") == "BlindTransfer")
        try:
            assert await alice.call.transfer("102") == 202, "it is only then that Asterisk tries"
            assert (await transfers.get(lambda _event: True, timeout=10.0))["Result"] == "Invalid"
        finally:
            ami.unsubscribe(transfers)
        await alice.call.send("still here")
        await romeo.hears("still here", nick=alice.name)
        [channel] = [name for name in await exchange.participants(party.number) if device(name) == "101"]
        await ami.action("Redirect", Channel=channel, Context=PHONE_CONTEXT, Exten="102", Priority="1")
        await bob.rings()
        await romeo.sees_gone(alice.name)
        await party.hall.agrees(party.number, [romeo], [])

    @shows("presence")
    async def test_a_client_that_only_thinks_it_is_in_is_told_so(self, party: Party) -> None:
        await party.enter("romeo")
        juliet = party.hall["juliet"].buddy
        juliet.send_presence(f"{party.room}/Juliet", "away")
        seen = await juliet.sees(lambda seen: seen.sender == f"{party.room}/Juliet")
        assert problem(tree(seen)) == ("cancel", "not-acceptable")

    @shows("rooms opened by phones", "phones come and go")
    async def test_a_room_is_opened_by_a_phone(self, party: Party) -> None:
        alice = await party.dial("101")
        await party.hall.agrees(party.number, [], ["101"])
        juliet = await party.enter("juliet")
        assert await juliet.sees(alice.name)
        assert juliet.codes == {110}, "it is not hers"
        assert juliet.members["Juliet"].affiliation == "none"
        await alice.call.hang_up()
        assert (await juliet.sees_gone("Alice A")).codes == frozenset()
        assert party.room in listed(await juliet.buddy.ask(party.hall.domain, ITEMS))
        await juliet.leave()
        assert party.room not in listed(await juliet.buddy.ask(party.hall.domain, ITEMS))


@in_the_hall
class TestTexts:
    @shows("chat to phones")
    async def test_a_message_comes_back_as_it_was_and_once(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        juliet.buddy.send_raw(
            f"<message to='{party.room}' type='groupchat' id='m1' xml:lang='it'><body>ciao &lt;b&gt; ✓</body>"
            "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
            f"<stanza-id xmlns='urn:xmpp:sid:0' by='{party.room}' id='forged'/>"
            "<mine xmlns='urn:example:mine' word='a'><inner xmlns='urn:example:other'>deep</inner></mine></message>"
        )
        ids = set()
        for attendee in (romeo, juliet):
            heard = await attendee.hears("ciao <b> ✓", nick="Juliet")
            message = tree(heard)
            assert heard.id == "m1"
            origin = message.find("{urn:xmpp:sid:0}origin-id")
            assert origin is not None
            assert origin.get("id") == "o1"
            assert message.find("{urn:xmpp:chat-markers:0}markable") is not None
            assert message.findtext("{urn:example:mine}mine/{urn:example:other}inner") == "deep"
            (given,) = message.findall("{urn:xmpp:sid:0}stanza-id")
            assert given.get("by") == party.room
            ids.add(given.get("id"))
        assert len(ids) == 1
        assert "forged" not in ids
        await alice.hears("ciao <b> ✓", display="Juliet")
        romeo.say("end")
        await juliet.hears_nothing_until("mark")
        await juliet.hears_nothing_until("end")
        await alice.hears_nothing_until("end")

    @shows("chat to phones")
    async def test_phones_are_told_of_corrections_and_of_what_is_encrypted(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        romeo.buddy.send_raw(
            f"<message to='{party.room}' type='groupchat' id='m2'><body>I love you</body>"
            "<replace xmlns='urn:xmpp:message-correct:0' id='m1'/></message>"
            f"<message to='{party.room}' type='groupchat' id='m3'><body>Your client cannot read this</body>"
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>AAAA</payload></encrypted>"
            "<encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl'/></message>"
        )
        replaced = tree(await juliet.hears("I love you")).find("{urn:xmpp:message-correct:0}replace")
        assert replaced is not None
        assert replaced.get("id") == "m1"
        payload = "{eu.siacs.conversations.axolotl}encrypted/{eu.siacs.conversations.axolotl}payload"
        assert tree(await juliet.hears("Your client cannot read this")).findtext(payload) == "AAAA"
        await alice.hears_nothing_until("I love you (corrected)")
        await alice.hears_nothing_until("[encrypted message]")

    @shows("chat to phones")
    async def test_a_long_text_reaches_phones_in_parts_and_in_order(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        words = " ".join(f"wörd{number}" for number in range(900))
        romeo.say(words)
        romeo.say("end")
        await romeo.hears(words, nick="Romeo")
        await romeo.hears_nothing_until("end")
        parts = []
        while (text := await alice.phone.hears()).body != "end":
            assert text.display == "Romeo"
            parts.append(text.body)
        count = len(parts)
        assert count >= 2
        assert [part.partition(" ")[0] for part in parts] == [f"({number}/{count})" for number in range(1, count + 1)]
        assert " ".join(part.partition(" ")[2] for part in parts).split() == words.split()

    @shows("typing")
    async def test_that_somebody_types_is_for_clients_only(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        juliet.buddy.send_raw(
            f"<message to='{party.room}' type='groupchat'>"
            "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
            f"<message to='{party.room}' type='groupchat'>"
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/></message>"
        )
        await romeo.buddy.hears(lambda heard: heard.sender == juliet.of("Juliet") and "composing" in heard.xml)
        await romeo.buddy.hears(lambda heard: heard.sender == juliet.of("Juliet") and "displayed" in heard.xml)
        romeo.say("end")
        await alice.hears_nothing_until("end")
        later = await party.enter(await party.client("juliet", "tablet"), "Late")
        assert [heard.body for heard in later.history] == ["mark", "end"]

    @shows("phones to chat")
    async def test_phones_are_read_under_their_own_names(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice, bob = await party.dial("101"), await party.dial("102")
        await texts_flow(romeo, alice, bob)
        await juliet.hears("mark")
        await alice.call.send("hello ✓\nall")
        await bob.call.send("I am he", display="Romeo")
        for attendee in (romeo, juliet):
            await attendee.hears("hello ✓\nall", nick="Alice A")
            await attendee.hears("<Romeo> I am he", nick="")

    @shows("phones to chat", "nicks")
    async def test_phones_of_one_name_are_told_apart_where_that_is_certain(self, party: Party) -> None:
        impostor = await party.enter("juliet", "Alice A")
        romeo = await party.enter("romeo")
        alice = await party.dial("101")
        await romeo.sees("Alice A (2)", role="participant")
        romeo.say("mark")
        await impostor.hears("mark")
        await alice.hears("mark")
        await alice.call.send("one of me")
        await romeo.hears("one of me", nick="Alice A (2)")
        again, _ = await party.hall.exchange.enters(alice.phone, party.number)
        await romeo.sees("Alice A (3)", role="participant")
        await again.send("who of us?")
        await romeo.hears("<Alice A> who of us?", nick="")
        await again.hang_up()
        await romeo.sees_gone("Alice A (3)")
        assert {"Alice A", "Alice A (2)", "Romeo"} == set(romeo.members)

    @shows("not being heard")
    async def test_who_is_outside_or_has_no_voice_is_not_heard(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        juliet = party.hall["juliet"].buddy
        for kind, to in (("groupchat", party.room), ("chat", f"{party.room}/Romeo"), ("chat", f"{party.room}/Alice A")):
            sent = juliet.say(to, "from outside", kind=kind)
            assert problem(tree(await self.bounced(juliet, sent))) == ("cancel", "not-acceptable")
        visitor = await party.enter("juliet")
        await romeo.set_role("Juliet", "visitor")
        await visitor.sees("Juliet", role="visitor")
        assert problem(tree(await visitor.bounced(visitor.say("mute")))) == ("auth", "forbidden")
        await romeo.set_role("Juliet", "participant")
        await visitor.sees("Juliet", role="participant")
        visitor.say("end")
        await romeo.hears_nothing_until("end")
        await alice.hears_nothing_until("end")

    @staticmethod
    async def bounced(buddy: Buddy, message: str) -> Heard:
        return await buddy.hears(lambda heard: heard.type == "error" and heard.id == message)

    @shows("private messages")
    async def test_a_word_between_two(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice, bob = await party.dial("101"), await party.dial("102")
        await texts_flow(romeo, alice, bob)
        sent = romeo.whisper("Juliet", "psst")
        heard = await juliet.hears_whisper("Romeo")
        assert (heard.body, heard.id, heard.to) == ("psst", sent, juliet.buddy.full_jid)
        assert tree(heard).find(f"{USER}x") is not None
        juliet.whisper("Romeo", "yes?")
        assert (await romeo.hears_whisper("Juliet")).body == "yes?"
        juliet.whisper("Alice A", "ring me")
        await alice.hears("[private] <Juliet> ring me")
        romeo.say("end")
        await bob.hears_nothing_until("end")
        assert problem(tree(await juliet.bounced(juliet.whisper("Nobody", "?")))) == ("cancel", "item-not-found")
        await alice.call.hang_up()
        await juliet.sees_gone("Alice A")
        assert problem(tree(await juliet.bounced(juliet.whisper("Alice A", "?")))) == ("cancel", "item-not-found")

    @shows("subject")
    async def test_moderators_say_what_it_is_about(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        juliet.set_subject("Hate")
        refused = await juliet.buddy.hears(lambda heard: heard.type == "error" and heard.sender == party.room)
        assert problem(tree(refused)) == ("auth", "forbidden")
        romeo.set_subject("Love")
        for attendee in (romeo, juliet):
            assert await attendee.sees_subject("Love") == "Romeo"
        await alice.hears_nothing_until("Romeo set the subject: Love")
        late = await party.client("juliet", "tablet")
        assert (await party.enter(late, "Late")).subject == "Love"
        told = next(heard for heard in late.heard if heard.subject)
        assert (told.sender, bool(told.delayed)) == (romeo.of("Romeo"), True)

    @shows("subject")
    async def test_participants_say_so_where_they_may(self, party: Party) -> None:
        juliet = await party.enter("juliet", node="market")
        juliet.set_subject("Fish")
        assert await juliet.sees_subject("Fish") == "Juliet"

    @shows("history")
    async def test_who_joins_gets_as_much_of_the_past_as_they_ask_for(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        await alice.call.send("by phone")
        await romeo.hears("by phone", nick="Alice A")
        for text in ("one", "two", "three"):
            romeo.say(text)
            await romeo.hears(text)
        everything = ["mark", "by phone", "one", "two", "three"]
        tomorrow, yesterday = (datetime.now(UTC) + timedelta(days=days) for days in (1, -1))
        for asked, wanted in (
            ({}, everything),
            ({"maxstanzas": 2}, everything[-2:]),
            ({"maxstanzas": 0}, []),
            ({"maxchars": 0}, []),
            ({"seconds": 600}, everything),
            ({"since": yesterday}, everything),
            ({"since": tomorrow}, []),
        ):
            juliet = await party.enter("juliet", **asked)
            assert [heard.body for heard in juliet.history] == wanted, asked
            await juliet.leave()
        juliet = await party.enter("juliet")
        first = juliet.history[1]
        assert (first.sender, bool(first.delayed)) == (juliet.of("Alice A"), True)

    @shows("archive")
    async def test_what_was_said_is_read_again_page_by_page(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await texts_flow(romeo, alice)
        for text in ("one", "two"):
            romeo.say(text)
            await romeo.hears(text)
        await alice.call.send("by phone")
        heard = await romeo.hears("by phone")
        everything = ["mark", "one", "two", "by phone"]
        client: Any = juliet.buddy.muc().xmpp
        client.register_plugin("xep_0313")
        mam = client.plugin["xep_0313"]

        async def page(**rsm: Any) -> tuple[list[str], list[str], bool]:
            answer = await mam.retrieve(jid=party.room, rsm=rsm, timeout=10)
            found = answer["mam"]["results"]
            return (
                texts_of(found),
                [result["mam_result"]["id"] for result in found],
                answer["mam_fin"]["complete"] == "true",
            )

        def texts_of(results: Iterable[Any]) -> list[str]:
            return [result["mam_result"]["forwarded"]["stanza"]["body"] for result in results]

        texts, ids, complete = await page(max=50)
        assert (texts, complete) == (everything, True)
        backwards = [message async for message in mam.iterate(jid=party.room, reverse=True, rsm={"max": 2})]
        assert texts_of(backwards) == everything[::-1]
        assert (await page(max=2, before=ids[2]))[0] == everything[:2]
        assert (await page(max=50, after=ids[1]))[0] == everything[2:]
        assert (await page(max=2, after=ids[3]))[0] == []
        given = tree(heard).find("{urn:xmpp:sid:0}stanza-id")
        assert given is not None
        assert given.get("id") == ids[3], "what is read again is known by the id that it came with"


@in_the_hall
class TestModerating:
    @shows("voice")
    async def test_phones_and_people_lose_the_word_and_get_it_back(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await juliet.sees(alice.name, role="participant")
        await romeo.set_role("Alice A", "visitor")
        await juliet.sees("Alice A", role="visitor", show="away", status="muted")
        (channel,) = (await party.hall.exchange.participants(party.number)).values()
        assert channel["Muted"] == "Yes"
        await romeo.set_role("Alice A", "participant")
        await juliet.sees("Alice A", role="participant", show="", status="")
        await alice.call.press("*1")
        await juliet.sees("Alice A", role="visitor", status="muted")
        await romeo.set_role("Alice A", "participant")
        await juliet.sees("Alice A", role="participant", status="")
        with pytest.raises(Refused, match="auth forbidden"):
            await juliet.set_role("Alice A", "visitor")
        with pytest.raises(Refused, match="cancel not-allowed"):
            await romeo.set_role("Alice A", "moderator")

    @shows("kick", "status codes")
    async def test_phones_and_people_are_thrown_out_and_may_come_again(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await juliet.sees(alice.name)
        with pytest.raises(Refused, match="auth forbidden"):
            await juliet.kick("Alice A")
        await romeo.kick("Alice A", "bye alice")
        assert await alice.call.ended() == "BYE"
        gone = await juliet.sees_gone("Alice A")
        assert (gone.codes, gone.reason, gone.actor) == (frozenset({307}), "bye alice", "Romeo")
        await romeo.kick("Juliet", "bye juliet")
        gone = await juliet.sees_gone("Juliet")
        assert (gone.codes, gone.reason, gone.actor) == (frozenset({110, 307}), "bye juliet", "Romeo")
        assert (await romeo.sees_gone("Juliet")).codes == {307}
        alice, _ = await party.dial("101"), await party.enter("juliet")
        await romeo.sees(alice.name)
        await romeo.sees("Juliet")

    @shows("ban", "status codes")
    async def test_somebody_is_banned_and_pardoned(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        await romeo.set_affiliation(bare(juliet), "outcast", "Capulet!")
        gone = await juliet.sees_gone("Juliet")
        assert (gone.codes, gone.reason, gone.actor) == (frozenset({110, 301}), "Capulet!", "Romeo")
        assert (await romeo.sees_gone("Juliet")).codes == {301}
        assert await romeo.affiliated("outcast") == {bare(juliet)}
        with pytest.raises(Refused, match="auth forbidden"):
            await party.enter("juliet")
        await romeo.set_affiliation(bare(juliet), "none")
        assert await romeo.affiliated("outcast") == set()
        await party.enter("juliet")

    @shows("ban", "phones come and go")
    async def test_a_phone_is_banned_and_pardoned(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        alice = await party.dial("101")
        await romeo.sees(alice.name)
        address = phone_address(party.hall, "alice")
        await romeo.set_affiliation(address, "outcast", "noise")
        assert await alice.call.ended() == "BYE"
        gone = await romeo.sees_gone("Alice A")
        assert (gone.codes, gone.reason) == (frozenset({301}), "noise")
        assert await romeo.affiliated("outcast") == {address}
        again = await party.dial("101")
        assert await again.call.ended() == "BYE", "it comes again and is thrown out"
        await romeo.set_affiliation(address, "none")
        await party.dial("101")
        await romeo.sees("Alice A")

    @shows("members only", "status codes", "configuration")
    async def test_a_room_becomes_one_for_members(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        alice = await party.dial("101")
        await romeo.sees(alice.name)
        await romeo.configure(membersonly=True)
        assert {110, 322} <= (await juliet.sees_gone("Juliet")).codes
        with pytest.raises(Refused, match="auth registration-required"):
            await party.enter("juliet")
        await romeo.set_affiliation(bare(juliet), "member")
        juliet = await party.enter("juliet")
        assert juliet.members["Juliet"].affiliation == "member"
        assert "Alice A" in juliet.members, "who may dial in is the dialplan's affair"
        await romeo.set_affiliation(bare(juliet), "none", "no more")
        gone = await juliet.sees_gone("Juliet")
        assert ({110, 321} <= gone.codes, gone.reason) == (True, "no more")

    @shows("password", "configuration")
    async def test_a_room_gets_a_password(self, party: Party) -> None:
        romeo = await party.enter("romeo")
        await romeo.configure(passwordprotectedroom=True, roomsecret="starcrossed")
        for options in ({}, {"password": "starcross"}):
            with pytest.raises(Refused, match="auth not-authorized"):
                await party.enter("juliet", **options)
        await party.enter("juliet", password="starcrossed")
        await party.enter("romeo", node="tomb", password="poison")

    @shows("moderated", "voice")
    async def test_in_a_moderated_room_newcomers_listen_first(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo", node="square"), await party.enter("juliet", node="square")
        alice = await party.dial("101", "6953")
        assert juliet.members["Juliet"].role == "visitor"
        await texts_flow(romeo, alice)
        assert problem(tree(await juliet.bounced(juliet.say("may I?")))) == ("auth", "forbidden")
        await romeo.set_role("Juliet", "participant")
        await juliet.sees("Juliet", role="participant")
        juliet.say("thanks")
        await romeo.hears_nothing_until("thanks")
        await alice.hears_nothing_until("thanks")


@in_the_hall
class TestOwning:
    @shows("rooms opened by people", "configuration", "status codes")
    async def test_who_comes_first_owns_the_room_and_says_what_it_is(self, party: Party) -> None:
        juliet = await party.enter("juliet")
        assert juliet.codes == {110, 201}
        own = juliet.members["Juliet"]
        assert (own.affiliation, own.role) == ("owner", "moderator")
        romeo = await party.enter("romeo")  # open at once, configured or not
        assert (await juliet.configuration())["muc#roomconfig_roomname"] == party.number
        await juliet.configure(roomname="Fair Verona", roomdesc="Where we lay our scene", publicroom=False)
        changed = await romeo.buddy.hears(lambda heard: heard.sender == party.room and bool(codes(tree(heard))))
        assert codes(tree(changed)) == {104}
        about = await romeo.buddy.ask(party.room, INFO)
        assert form(about)["muc#roominfo_description"] == "Where we lay our scene"
        assert form(about)["muc#roomconfig_roomname"] == "Fair Verona"
        assert "muc_hidden" in features(about)
        assert party.room not in listed(await romeo.buddy.ask(party.hall.domain, ITEMS))

    @shows("configuration")
    async def test_a_room_of_the_settings_is_not_changed_from_chat(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo", node="balcony"), await party.enter("juliet", node="balcony")
        for attendee, why in ((romeo, "This room is configured in agi-xmpp.toml."), (juliet, "Only the room's owners")):
            with pytest.raises(Refused, match=f"auth forbidden {why}"):
                await attendee.configuration()
            with pytest.raises(Refused, match=f"auth forbidden {why}"):
                await attendee.destroy()

    @shows("destruction")
    async def test_a_room_is_destroyed_with_phones_in(self, party: Party) -> None:
        juliet, romeo = await party.enter("juliet"), await party.enter("romeo")
        alice, bob = await party.dial("101"), await party.dial("102")
        await texts_flow(romeo, alice, bob)
        await juliet.destroy("a plague")
        for attendee, nick in ((juliet, "Juliet"), (romeo, "Romeo")):
            seen = await attendee.buddy.sees(lambda seen: "destroy" in seen.xml)
            assert (seen.sender, seen.type) == (attendee.of(nick), "unavailable")
            assert tree(seen).findtext(f"{USER}x/{USER}destroy/{USER}reason") == "a plague"
        for guest in (alice, bob):
            assert await guest.call.ended() == "BYE"
        again = await party.enter("juliet")
        assert again.codes == {110, 201}
        assert not again.history


@in_the_hall
class TestRequests:
    @shows("self-ping")
    async def test_clients_ask_whether_they_are_still_in(self, party: Party) -> None:
        await party.enter("romeo")
        juliet = party.hall["juliet"].buddy
        assert problem(await juliet.ask(f"{party.room}/Juliet", PING)) == ("cancel", "not-acceptable")
        attendee = await party.enter("juliet")
        assert (await juliet.ask(f"{party.room}/Juliet", PING)).get("type") == "result"
        assert (await juliet.ask(f"{party.room}", PING)).get("type") == "result"
        await attendee.leave()
        assert problem(await juliet.ask(f"{party.room}/Juliet", PING)) == ("cancel", "not-acceptable")

    @shows("requests between occupants")
    async def test_people_ask_each_other_and_are_not_known_by_that(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), await party.enter("juliet")
        client: Any = romeo.buddy.muc().xmpp
        client.register_plugin("xep_0092")
        client.plugin["xep_0092"].software_name = "Montague"
        answer = await juliet.buddy.ask(juliet.of("Romeo"), "<query xmlns='jabber:iq:version'/>")
        assert (answer.get("from"), answer.get("to")) == (juliet.of("Romeo"), juliet.buddy.full_jid)
        assert answer.findtext("{jabber:iq:version}query/{jabber:iq:version}name") == "Montague"
        card = "<vCard xmlns='vcard-temp'><FN>Romeo Montague</FN></vCard>"
        assert (await romeo.buddy.ask(bare(romeo), card, "set")).get("type") == "result"
        answer = await juliet.buddy.ask(juliet.of("Romeo"), "<vCard xmlns='vcard-temp'/>")
        assert answer.get("from") == juliet.of("Romeo")
        assert answer.findtext("{vcard-temp}vCard/{vcard-temp}FN") == "Romeo Montague"
        assert bare(romeo) not in ET.tostring(answer, encoding="unicode")
        answer = await juliet.buddy.ask(juliet.of("Romeo"), "<nonsense xmlns='urn:example:nonsense'/>", "set")
        assert answer.get("from") == juliet.of("Romeo")
        assert problem(answer)[1] in ("service-unavailable", "feature-not-implemented")
        answer = await juliet.buddy.ask(juliet.of("Nobody"), "<query xmlns='jabber:iq:version'/>")
        assert problem(answer) == ("cancel", "item-not-found")

    @shows("requests between occupants")
    async def test_a_phone_says_that_it_is_one(self, party: Party) -> None:
        juliet = await party.enter("juliet")
        alice = await party.dial("101")
        await juliet.sees(alice.name)
        about = await juliet.buddy.ask(juliet.of("Alice A"), INFO)
        assert identity(about) == ("client", "phone", "Alice A")
        for question in (PING, "<query xmlns='jabber:iq:version'/>", "<vCard xmlns='vcard-temp'/>"):
            answer = await juliet.buddy.ask(juliet.of("Alice A"), question)
            assert problem(answer) == ("cancel", "service-unavailable")


@in_the_hall
class TestInviting:
    @shows("inviting people by the room")
    async def test_somebody_in_chat_is_invited_and_declines(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), party.hall["juliet"].buddy
        romeo.invite(juliet.jid, "come over")
        invitation = tree(await juliet.hears(lambda heard: heard.sender == party.room and "invite" in heard.xml))
        invite = invitation.find(f"{USER}x/{USER}invite")
        assert invite is not None
        assert (invite.get("from"), invite.findtext(f"{USER}reason")) == (bare(romeo), "come over")
        direct = invitation.find("{jabber:x:conference}x")
        assert direct is not None
        assert direct.get("jid") == party.room
        juliet.send_raw(
            f"<message to='{party.room}'><x xmlns='{MUC}#user'><decline to='{bare(romeo)}'>"
            "<reason>too early</reason></decline></x></message>"
        )
        assert await self.declined(romeo, juliet.jid) == "too early"

    @staticmethod
    async def declined(attendee: Attendee, by: str) -> str:
        """Wait until somebody does not come, and return why."""
        heard = await attendee.buddy.hears(lambda heard: heard.sender == attendee.room and "decline" in heard.xml)
        decline = tree(heard).find(f"{USER}x/{USER}decline")
        assert decline is not None
        assert decline.get("from", "").partition("/")[0] == by
        return decline.findtext(f"{USER}reason", "")

    @shows("inviting phones by the room")
    async def test_a_phone_is_invited_and_comes_or_is_busy(self, party: Party) -> None:
        romeo, carol = await party.enter("romeo"), await party.switch_on("103")
        romeo.invite(phone_address(party.hall, "carol"), "come over")
        call = await carol.rings()
        assert bare(romeo) in call.header("Referred-By")
        await call.refuse(486)
        reason = await self.declined(romeo, phone_address(party.hall, "carol"))
        assert "busy" in reason.lower()
        assert "486" in reason
        romeo.invite(phone_address(party.hall, "carol"))
        await (await carol.rings()).answer()
        await romeo.sees("Carol C")

    @shows("inviting phones at their address")
    async def test_a_phone_is_invited_at_its_address(self, party: Party) -> None:
        juliet, bob = await party.enter("juliet"), await party.switch_on("102")
        invitation = (
            f"<message to='{phone_address(party.hall, 'bob')}' id='i1'>"
            f"<x xmlns='jabber:x:conference' jid='{party.room}' reason='come over'/></message>"
        )
        juliet.buddy.send_raw(invitation)
        call = await bob.rings()
        assert bare(juliet) in call.header("Referred-By")
        await call.refuse(486)
        # No error, as XEP-0249 has no answers: Gajim, which invites so, shows refusals only.
        assert "486" in await self.declined(juliet, phone_address(party.hall, "bob"))
        juliet.buddy.send_raw(invitation)
        await (await bob.rings()).answer()
        await juliet.sees("Bob B")

    @shows("inviting from a phone")
    async def test_a_phone_invites_people_and_phones(self, party: Party) -> None:
        romeo, juliet = await party.enter("romeo"), party.hall["juliet"].buddy
        alice, bob = await party.dial("101"), await party.switch_on("102")
        await texts_flow(romeo, alice)
        await alice.call.send(f"/invite {juliet.jid} come over")
        invitation = tree(await juliet.hears(lambda heard: heard.sender == party.room and "invite" in heard.xml))
        invite = invitation.find(f"{USER}x/{USER}invite")
        assert invite is not None
        assert invite.get("from", "").partition("/")[0] == phone_address(party.hall, "alice")
        assert invite.findtext(f"{USER}reason") == "come over"
        await alice.phone.hears(lambda text: juliet.jid in text.body)
        await alice.call.send("/invite 102")
        await (await bob.rings()).answer()
        await romeo.sees("Bob B")
        romeo.say("end")
        await romeo.hears_nothing_until("end")
