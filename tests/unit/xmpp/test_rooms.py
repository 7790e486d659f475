"""The rooms of an account: who gets in, how many, and what is whose."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aioxmpp
import aioxmpp.errors
import pytest

from agi_xmpp.errors import BadJid, BadText, Bounced, ConfigError, NotConfirmed, NotConnected, NotInRoom, UsageError
from agi_xmpp.xmpp.model import Jid, RoomEntry, RoomInfo
from agi_xmpp.xmpp.rooms import REMEMBERED_REASONS
from tests.unit.xmpp.house import PATIENT, TEAM, House, MakeHouse, lines
from tests.unit.xmpp.parsed import message, presence

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


class TestJoin:
    async def test_it_waits_for_the_rooms_own_word(self, house: House) -> None:
        joining = house.join("PBX", "s3cret")
        asked = await house.asked_in("PBX")
        assert asked.xep0045_muc.password == "s3cret"
        house.shows("bob")
        house.shows("PBX")  # without 110 it may be anybody
        assert house.rooms.info() == (RoomInfo(TEAM, "PBX", "joining"),)
        house.let_in("PBX")
        assert await joining == RoomEntry("PBX", 2)
        assert house.rooms.info() == (RoomInfo(TEAM, "PBX", "joined", 2),)

    async def test_addresses_and_nicks_are_prepared(self, house: House) -> None:
        joining = house.join("PBX", room="Team@Rooms.X.org")
        await house.asked_in("PBX")
        house.let_in("PBX")
        await joining
        assert (await house.join(room=TEAM)).nick == "PBX"

    @pytest.mark.parametrize("room", ["", "rooms.x.org", "team@rooms.x.org/bob", "a b@rooms.x.org"])
    async def test_what_is_no_room(self, house: House, room: str) -> None:
        with pytest.raises(BadJid):
            await house.join(room=room)
        with pytest.raises(BadJid):
            await house.rooms.leave(room, 1)
        with pytest.raises(BadJid):
            await house.rooms.send(room, "hi", "m", 0)

    @pytest.mark.parametrize("nick", ["n" * 1022, "n" * 1023])
    async def test_long_nicks(self, house: House, nick: str) -> None:
        joining = house.join(nick)
        await house.asked_in(nick)
        house.let_in(nick)
        assert (await joining).nick == nick

    @pytest.mark.parametrize("nick", ["n" * 1024, "a\nb", "\ufffe"])
    async def test_nicks_that_none_may_have(self, house: House, nick: str) -> None:
        with pytest.raises(BadJid):
            await house.join(nick)
        assert house.rooms.info() == ()

    async def test_a_nick_that_no_number_fits_behind(self, house: House) -> None:
        nick = "n" * 1023
        joining = house.join(nick)
        await house.asked_in(nick)
        house.refuses("conflict", nick)
        with pytest.raises(BadJid):
            await joining

    async def test_a_password_that_xml_cannot_carry(self, house: House) -> None:
        with pytest.raises(BadText, match="password holds a character") as error:
            await house.join(password="hunter\x00two")
        assert "hunter" not in str(error.value)

    async def test_other_nicks_are_tried(self, house: House) -> None:
        joining = house.join("PBX")
        for nick in ("PBX", "PBX2"):
            await house.asked_in(nick)
            house.refuses("conflict", nick)
        await house.asked_in("PBX3")
        house.let_in("PBX3", "PBX", "PBX2")
        assert await joining == RoomEntry("PBX3", 3)

    async def test_but_not_for_ever(self, house: House) -> None:
        joining = house.join("PBX")
        for nick in ["PBX", *(f"PBX{number}" for number in range(2, 10))]:
            await house.asked_in(nick)
            house.refuses("conflict", nick)
        with pytest.raises(Bounced, match="the nicks PBX to PBX9 are all in use"):
            await joining
        assert house.link.out.empty()

    async def test_the_room_may_give_another_nick(self, house: House) -> None:
        joining = house.join("PBX")
        await house.asked_in("PBX")
        house.let_in("pbx-7", codes=(110, 210))
        entry = await joining
        assert (entry.nick, entry.note) == ("pbx-7", "in team@rooms.x.org as pbx-7 already")

    async def test_a_refusal_ends_the_membership(self, house: House) -> None:
        joining = house.join()
        await house.asked_in()
        house.refuses("registration-required")
        with pytest.raises(Bounced, match="for members only") as error:
            await joining
        assert error.value.condition == "registration-required"
        assert house.rooms.info() == ()

    async def test_a_new_room_is_unlocked_before_anybody_is_told(self, house: House) -> None:
        joining = house.join()
        await house.asked_in()
        house.let_in(codes=(110, 201))
        iq, reply = await house.link.requests.get()
        assert (str(iq.to), iq.type_) == (TEAM, aioxmpp.IQType.SET)
        assert not joining.done()
        reply.set_result(None)
        await joining

    async def test_a_room_that_cannot_be_unlocked_is_joined_with_a_warning(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        joining = house.join()
        await house.asked_in()
        house.let_in(codes=(110, 201))
        _, reply = await house.link.requests.get()
        reply.set_exception(aioxmpp.errors.XMPPAuthError(aioxmpp.ErrorCondition.FORBIDDEN))
        await joining
        assert any("stays locked" in line for line in lines(caplog))

    async def test_a_room_that_does_not_answer_is_left_alone(self, house: House) -> None:
        joining = house.join(timeout=0.05)
        await house.asked_in()
        with pytest.raises(NotConfirmed, match=r"did not let us in within 0\.05\d* s; is it a room\?"):
            await joining
        await house.asked_out()
        assert house.rooms.info() == ()

    async def test_an_answer_that_comes_later_still_is_answered_by_leaving(self, house: House) -> None:
        joining = house.join(timeout=0.01)
        await house.asked_in()
        with pytest.raises(NotConfirmed):
            await joining
        await house.asked_out()
        house.let_in()
        await house.asked_out()
        house.throws_out()
        assert house.link.out.empty()

    async def test_a_caller_who_is_cancelled_leaves_nothing_behind(self, house: House) -> None:
        joining = house.join()
        await house.asked_in()
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        await house.asked_out()
        assert house.rooms.info() == ()

    async def test_the_patience_of_another_caller_counts(self, house: House) -> None:
        hasty, patient = house.join(timeout=0.01), house.join()
        await house.asked_in()
        with pytest.raises(NotConfirmed):
            await hasty
        house.let_in()
        assert (await patient).nick == "agi"

    async def test_two_callers_share_one_entry(self, house: House) -> None:
        first, second = house.join("PBX"), house.join("Other")
        await house.asked_in("PBX")
        house.let_in("PBX")
        assert await first == RoomEntry("PBX", 1)
        assert await second == RoomEntry("PBX", 1, "in team@rooms.x.org as PBX already")
        assert house.link.out.empty()

    async def test_without_a_session(self, make_house: MakeHouse) -> None:
        house = make_house(online=False)
        with pytest.raises(NotConnected, match="the server is away"):
            await house.join(timeout=0.01)
        assert house.rooms.info() == ()

    async def test_a_session_that_comes_in_time(self, make_house: MakeHouse) -> None:
        house = make_house(online=False)
        joining = house.join()
        house.log_in()
        await house.asked_in()
        house.let_in()
        await joining

    async def test_a_session_that_breaks_in_between(self, house: House) -> None:
        joining = house.join()
        await house.asked_in()
        house.lose_session()
        house.log_in()
        await house.asked_in()
        house.let_in()
        await joining

    @pytest.mark.parametrize(("already", "fits"), [(1, True), (2, True), (3, False)])
    async def test_rooms_are_limited(self, make_house: MakeHouse, already: int, fits: bool) -> None:
        house = make_house(room_limit=3)
        for number in range(already):
            joining = house.join(room=f"r{number}@rooms.x.org")
            await house.asked_in(room=f"r{number}@rooms.x.org")
            house.let_in(room=f"r{number}@rooms.x.org")
            await joining
        joining = house.join()
        if not fits:
            with pytest.raises(UsageError, match="in 3 rooms already"):
                await joining
            return
        await house.asked_in()
        house.let_in()
        await joining


class TestConfigured:
    async def test_rooms_are_entered_at_login(self, make_house: MakeHouse) -> None:
        house = make_house(room={TEAM: {"nick": "PBX", "password": "s3cret"}})
        asked = await house.asked_in("PBX")
        assert asked.xep0045_muc.password == "s3cret"

    async def test_but_not_those_that_serve_jabber_join_only(self, make_house: MakeHouse) -> None:
        house = make_house(room={TEAM: {"nick": "PBX", "password": "s3cret", "join": False}})
        assert house.rooms.info() == ()
        joining = house.join()
        asked = await house.asked_in("PBX")
        assert asked.xep0045_muc.password == "s3cret"
        house.let_in("PBX")
        await joining

    async def test_the_call_may_say_otherwise(self, make_house: MakeHouse) -> None:
        house = make_house(room={TEAM: {"nick": "PBX", "password": "s3cret", "join": False}})
        house.join("Other", "0ther")
        asked = await house.asked_in("Other")
        assert asked.xep0045_muc.password == "0ther"

    async def test_one_that_does_not_let_us_in_is_tried_again(self, make_house: MakeHouse) -> None:
        house = make_house(room={TEAM: {}})
        await house.asked_in()
        house.refuses("service-unavailable")
        await house.asked_in()
        house.let_in()
        assert (await house.join()).nick == "agi"

    async def test_one_that_was_left_stays_left(self, make_house: MakeHouse) -> None:
        house = make_house(room={TEAM: {}})
        await house.asked_in()
        house.let_in()
        leaving = asyncio.create_task(house.rooms.leave(TEAM, 5))
        await house.asked_out()
        house.throws_out()
        assert await leaving
        house.lose_session()
        house.log_in()
        assert house.rooms.info() == ()
        house.join()
        await house.asked_in()

    async def test_a_password_that_cannot_be_read(self, make_house: MakeHouse) -> None:
        house = make_house(room={TEAM: {"password_file": "/nowhere/at/all", "join": False}})
        with pytest.raises(ConfigError, match="/nowhere/at/all"):
            await house.join()

    @pytest.mark.parametrize("room", [{"a b@x.org ": {}}, {TEAM: {"nick": "a\nb"}}])
    async def test_mistakes_are_named_at_once(self, room: dict[str, Any]) -> None:
        with pytest.raises((BadJid, ValueError)):
            House(PATIENT, {"room": room})

    async def test_too_many_are_logged(self, make_house: MakeHouse, caplog: pytest.LogCaptureFixture) -> None:
        house = make_house(room_limit=1, room={TEAM: {}, "second@rooms.x.org": {}})
        await house.asked_in()
        assert "second@rooms.x.org is not entered" in lines(caplog)[0]


class TestOthers:
    async def test_talk_of_rooms_is_for_nobody_else(self, house: House) -> None:
        assert house.rooms.message_came(
            message(f"<message from='{TEAM}/bob' type='groupchat'><body>x</body></message>")
        )
        assert house.rooms.message_came(message("<message type='groupchat'><body>x</body></message>"))

    async def test_other_messages_are(self, house: House) -> None:
        await house.be_in()
        assert not house.rooms.message_came(
            message("<message from='bob@x.org/pc' type='chat'><body>x</body></message>")
        )
        assert not house.rooms.message_came(message(f"<message from='{TEAM}/bob' type='chat'><body>x</body></message>"))

    async def test_presences_of_people_are_not_ours(self, house: House) -> None:
        assert not house.rooms.presence_came(presence("<presence from='bob@x.org/pc'/>"))
        assert not house.rooms.presence_came(presence("<presence type='unavailable'/>"))

    async def test_a_subscription_request_of_a_room_is_nothing(self, house: House) -> None:
        await house.be_in()
        assert house.rooms.presence_came(presence(f"<presence from='{TEAM}' type='subscribe'/>"))
        assert house.rooms.info()[0].state == "joined"

    async def test_whom_the_rooms_hold(self, house: House) -> None:
        await house.be_in()
        assert house.rooms.holds(Jid("team", "rooms.x.org", "bob"))
        assert not house.rooms.holds(Jid("bob", "x.org", "pc"))

    @pytest.mark.parametrize(("later", "known"), [(REMEMBERED_REASONS - 1, True), (REMEMBERED_REASONS, False)])
    async def test_reasons_are_remembered_for_a_while(self, house: House, later: int, known: bool) -> None:
        await house.be_in()
        house.throws_out(307)
        for number in range(later):
            room = f"r{number}@rooms.x.org"
            joining = house.join(room=room)
            await house.asked_in(room=room)
            house.refuses("forbidden", room=room)
            with pytest.raises(Bounced):
                await joining
        with pytest.raises(NotInRoom, match="kicked" if known else "jabber_join enters it"):
            await house.speak()

    async def test_a_fault_of_ours_leaves_nobody_waiting(
        self, house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("agi_xmpp.xmpp.room_stanzas.entry", lambda *_args, **_kwargs: 1 / 0)
        with pytest.raises(NotInRoom, match="unexpected error"):
            await house.join()
        assert "unexpected error" in lines(caplog, logging.ERROR)[0]
