"""One room: staying, coming back, leaving, speaking."""

from __future__ import annotations

import asyncio
import logging

import aioxmpp
import aioxmpp.errors
import pytest

from agi_xmpp.errors import BadText, Bounced, NotConfirmed, NotConnected, NotInRoom
from agi_xmpp.xmpp.link import Outcome
from agi_xmpp.xmpp.membership import Timing
from agi_xmpp.xmpp.model import RoomInfo
from tests.unit.xmpp.house import TEAM, USER, House, MakeHouse, lines
from tests.unit.xmpp.parsed import message, presence

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


class TestStay:
    async def test_a_new_session_brings_us_back(self, house: House) -> None:
        await house.be_in("bob")
        house.lose_session()
        assert house.rooms.info() == (RoomInfo(TEAM, "agi", "waiting"),)
        house.log_in()
        await house.asked_in()
        house.let_in()
        assert (await house.join()).occupants == 1

    @pytest.mark.parametrize("code", [332, 333])
    async def test_we_come_back_after_a_break(self, house: House, code: int, caplog: pytest.LogCaptureFixture) -> None:
        await house.be_in()
        house.throws_out(307, code)
        await house.asked_in()
        house.let_in()
        assert (await house.join()).nick == "agi"
        assert len(lines(caplog)) == 1
        assert "trying to come back" in lines(caplog)[0]

    async def test_to_the_nick_that_we_wanted(self, house: House) -> None:
        joining = house.join("PBX")
        await house.asked_in("PBX")
        house.refuses("conflict", "PBX")
        await house.asked_in("PBX2")
        house.let_in("PBX2")
        await joining
        house.throws_out(332, nick="PBX2")
        await house.asked_in("PBX")

    async def test_failures_to_come_back_are_told_once(self, house: House, caplog: pytest.LogCaptureFixture) -> None:
        await house.be_in()
        house.throws_out(332)
        for _ in range(3):
            await house.asked_in()
            house.refuses("service-unavailable")
        await house.asked_in()
        assert len([line for line in lines(caplog) if "it is full" in line]) == 1
        assert "it is full" in house.rooms.info()[0].error
        house.let_in()
        await house.join()
        assert house.rooms.info()[0].error == ""

    async def test_a_final_refusal_to_come_back_ends_it(self, house: House, caplog: pytest.LogCaptureFixture) -> None:
        await house.be_in()
        house.throws_out(332)
        await house.asked_in()
        speaking = house.speak()
        await asyncio.sleep(0)
        house.refuses("forbidden")
        with pytest.raises(Bounced, match="we are banned"):
            await speaking
        assert "don't try again" in lines(caplog, logging.ERROR)[0]
        with pytest.raises(NotInRoom, match="we are banned"):
            await house.speak()

    @pytest.mark.parametrize(("code", "words"), [(301, "banned"), (307, "kicked out"), (322, "members only")])
    async def test_we_do_not_come_back_where_we_were_thrown_out(
        self, house: House, code: int, words: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await house.be_in()
        house.throws_out(code, reason="spam")
        with pytest.raises(NotInRoom, match=f"{words}.*spam"):
            await house.speak()
        house.lose_session()
        house.log_in()
        assert house.rooms.info() == ()
        assert house.link.out.empty()
        assert len(lines(caplog)) == 1

    async def test_silence_is_looked_into(self, make_house: MakeHouse) -> None:
        house = make_house(Timing(answer=5, silence=0.02, retry=0))
        await house.be_in()
        iq, reply = await house.link.requests.get()
        assert (str(iq.to), iq.type_) == (f"{TEAM}/agi", aioxmpp.IQType.GET)
        reply.set_result(None)
        iq, reply = await house.link.requests.get()
        reply.set_exception(aioxmpp.errors.XMPPCancelError(aioxmpp.ErrorCondition.SERVICE_UNAVAILABLE))
        iq, reply = await house.link.requests.get()
        assert house.link.out.empty()
        reply.set_exception(aioxmpp.errors.XMPPModifyError(aioxmpp.ErrorCondition.NOT_ACCEPTABLE))
        await house.asked_in()

    async def test_no_answer_to_the_question_says_nothing(self, make_house: MakeHouse) -> None:
        house = make_house(Timing(answer=0.02, silence=0.02, retry=0))
        await house.be_in()
        for _ in range(2):
            await house.link.requests.get()
        assert house.rooms.info()[0].state == "joined"
        assert house.link.out.empty()

    async def test_a_room_that_talks_is_not_asked(self, make_house: MakeHouse) -> None:
        house = make_house(Timing(answer=5, silence=0.06, retry=0))
        await house.be_in()
        loop = asyncio.get_running_loop()
        talk = [0.0]

        def shows_somebody() -> None:
            talk.append(loop.time())
            house.shows("ann")

        loop.call_later(0.04, shows_somebody)
        loop.call_later(0.08, shows_somebody)
        await house.link.requests.get()
        assert len(talk) == 3
        assert loop.time() - talk[-1] >= 0.06

    async def test_who_leaves_is_told_of(self, house: House) -> None:
        await house.be_in("bob")
        house.shows("bob", kind="unavailable")
        assert house.gone == [f"{TEAM}/bob"]


class TestLeave:
    async def test_it_waits_for_the_rooms_own_word(self, house: House) -> None:
        await house.be_in()
        leaving = asyncio.create_task(house.rooms.leave(TEAM, 5))
        await house.asked_out()
        assert house.rooms.info()[0].state == "leaving"
        house.shows("bob", kind="unavailable")
        assert not leaving.done()
        house.throws_out()
        assert await leaving
        assert house.rooms.info() == ()

    async def test_where_we_are_not(self, house: House) -> None:
        assert not await house.rooms.leave(TEAM, 1)
        assert house.link.out.empty()

    async def test_where_we_are_only_waiting_to_come_back(self, house: House) -> None:
        await house.be_in()
        house.lose_session()
        assert await house.rooms.leave(TEAM, 1)
        house.log_in()
        assert house.link.out.empty()

    async def test_a_room_that_does_not_answer(self, make_house: MakeHouse) -> None:
        house = make_house(Timing(answer=0.05, silence=100, retry=0))
        await house.be_in()
        with pytest.raises(NotConfirmed, match=r"did not confirm within 0\.01 s that we have left"):
            await house.rooms.leave(TEAM, 0.01)
        assert await house.rooms.leave(TEAM, 5)  # it gives up by itself
        assert house.rooms.info() == ()

    async def test_those_who_wait_to_get_in_are_told(self, house: House) -> None:
        joining = house.join()
        await house.asked_in()
        leaving = asyncio.create_task(house.rooms.leave(TEAM, 5))
        await house.asked_out()
        with pytest.raises(NotInRoom, match="left by another call"):
            await joining
        house.let_in()
        house.throws_out()
        assert await leaving

    async def test_two_leave_at_once(self, house: House) -> None:
        await house.be_in()
        both = [asyncio.create_task(house.rooms.leave(TEAM, 5)) for _ in range(2)]
        await house.asked_out()
        house.throws_out()
        assert await asyncio.gather(*both) == [True, True]
        assert house.link.out.empty()

    async def test_who_comes_in_the_meantime_waits_at_the_door(self, house: House) -> None:
        await house.be_in()
        leaving = asyncio.create_task(house.rooms.leave(TEAM, 5))
        await house.asked_out()
        joining = house.join("again")
        with pytest.raises(NotConfirmed, match="is being left"):
            await house.join(timeout=0.01)
        house.throws_out()
        assert await leaving
        await house.asked_in("again")
        house.let_in("again")
        assert (await joining).nick == "again"

    async def test_the_end_of_the_session_is_one_way_to_leave(self, house: House) -> None:
        await house.be_in()
        leaving = asyncio.create_task(house.rooms.leave(TEAM, 5))
        await house.asked_out()
        house.lose_session()
        assert await leaving

    async def test_a_broken_connection_delays_it(self, house: House) -> None:
        """The stream may be resumed (XEP-0198): until then the room believes that we are there."""
        await house.be_in()
        house.link.online.clear()
        with pytest.raises(NotConfirmed):
            await house.rooms.leave(TEAM, 0.01)
        house.link.online.set()
        await house.asked_out()


class TestSpeak:
    async def test_sent_means_reflected(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        message_id = await house.said()
        house.reflects("another")
        house.reflects(message_id, nick="bob")
        assert not speaking.done()
        house.reflects(message_id)
        await speaking

    async def test_a_room_that_gives_its_own_ids(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        message_id = await house.said()
        house.rooms.message_came(
            message(
                f"<message from='{TEAM}/agi' type='groupchat' id='other'><body>hi</body>"
                f"<origin-id xmlns='urn:xmpp:sid:0' id='{message_id}'/></message>"
            )
        )
        await speaking

    async def test_after_a_new_nick_the_reflection_bears_that(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        message_id = await house.said()
        house.rooms.presence_came(
            presence(
                f"<presence from='{TEAM}/agi' type='unavailable'><x {USER}><item nick='bot' role='participant'/>"
                "<status code='303'/><status code='110'/></x></presence>"
            )
        )
        house.let_in("bot")
        house.reflects(message_id, nick="bot")
        await speaking

    async def test_where_we_are_not(self, house: House) -> None:
        with pytest.raises(NotInRoom, match=r"not in team@rooms.x.org; jabber_join enters it"):
            await house.speak()

    @pytest.mark.parametrize("sender", [TEAM, "rooms.x.org", "x.org", "agi@x.org"])
    async def test_a_refusal(self, house: House, sender: str) -> None:
        await house.be_in()
        speaking = house.speak()
        message_id = await house.said()
        assert house.sends_back(message_id, "forbidden", sender)
        with pytest.raises(Bounced, match="a visitor who may not speak"):
            await speaking

    @pytest.mark.parametrize("sender", [f"{TEAM}/bob", "mallory@x.org", "other@rooms.x.org"])
    async def test_a_forged_refusal(self, house: House, sender: str) -> None:
        await house.be_in()
        speaking = house.speak()
        message_id = await house.said()
        assert not house.sends_back(message_id, "forbidden", sender)
        house.reflects(message_id)
        await speaking

    async def test_a_refusal_of_something_else_is_for_others(self, house: House) -> None:
        await house.be_in()
        assert not house.sends_back("unknown", "forbidden")

    async def test_a_room_that_has_forgotten_us_is_entered_again(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        house.sends_back(await house.said(), "not-acceptable")
        await house.asked_in()
        house.let_in()
        house.reflects(await house.said())
        await speaking

    async def test_but_once_only(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        house.sends_back(await house.said(), "not-acceptable")
        await house.asked_in()
        house.let_in()
        house.sends_back(await house.said(), "not-acceptable")
        with pytest.raises(Bounced, match="we are not in the room"):
            await speaking

    async def test_no_reflection(self, house: House) -> None:
        await house.be_in()
        with pytest.raises(NotConfirmed, match="did not tell the message to all in time"):
            await house.speak(timeout=0.02)

    async def test_what_never_left_is_not_sent(self, house: House) -> None:
        await house.be_in()
        house.link.outcome = None
        with pytest.raises(NotConnected, match="could not send"):
            await house.speak(timeout=0.02)

    async def test_what_cannot_be_written(self, house: House) -> None:
        await house.be_in()
        house.link.outcome = Outcome.REFUSED
        with pytest.raises(BadText):
            await house.speak()

    async def test_what_was_not_sent_is_sent_again_once_we_are_back(self, house: House) -> None:
        await house.be_in()
        house.link.outcome = None
        speaking = house.speak()
        await house.said()
        house.lose_session()
        house.link.outcome = Outcome.ACKNOWLEDGED
        house.log_in()
        await house.asked_in()
        house.let_in()
        house.reflects(await house.said())
        await speaking

    async def test_what_was_sent_on_a_lost_session_is_not_sent_again(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        await house.said()
        house.lose_session()
        with pytest.raises(NotConfirmed, match="the connection broke"):
            await speaking

    async def test_what_a_closing_room_had_not_told_is_told_again(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        await house.said()
        house.throws_out(332)
        await house.asked_in()
        house.let_in()
        house.reflects(await house.said())
        await speaking

    async def test_what_a_lost_room_had_not_told_may_have_arrived(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        await house.said()
        house.throws_out(333)
        with pytest.raises(NotConfirmed, match="we were out of"):
            await speaking

    async def test_thrown_out_in_mid_sentence(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        await house.said()
        house.throws_out(307, reason="enough")
        with pytest.raises(NotInRoom, match=r"kicked out of .*enough"):
            await speaking

    async def test_while_we_come_back_it_waits(self, house: House) -> None:
        await house.be_in()
        house.lose_session()
        speaking = house.speak()
        house.log_in()
        await house.asked_in()
        house.let_in()
        house.reflects(await house.said())
        await speaking

    async def test_without_a_session_it_says_why(self, house: House) -> None:
        await house.be_in()
        house.lose_session()
        with pytest.raises(NotConnected, match="the server is away"):
            await house.speak(timeout=0.02)
        assert house.rooms.info()[0].state == "waiting"  # and we still want to be there

    async def test_the_end_of_the_service(self, house: House) -> None:
        await house.be_in()
        speaking = house.speak()
        await house.said()
        house.rooms.stop()
        with pytest.raises(NotConfirmed):
            await speaking
