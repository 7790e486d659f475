"""Who wants to be left alone, and what Asterisk is told of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agi_xmpp.ami.calls import Answered, Ended, How
from agi_xmpp.errors import AmiNotConnected, AmiRefused, AmiUnknown
from agi_xmpp.features.phone import availability
from agi_xmpp.features.phone.availability import MAX_TEXT, Availability, presentities
from agi_xmpp.features.phone.people import People
from agi_xmpp.xmpp.model import Jid, Presence, Show
from tests.unit.features.phone.fakes import SUCCESS, FakeAmi
from tests.unit.features.phone.house import ANN, BOB, CAROL, PEOPLE, call, person, settings

AWAY, BACK, DND, GONE = Presence(Show.AWAY), Presence(Show.ONLINE), Presence(Show.DND), Presence(Show.OFFLINE)
ON_PHONE = Presence(Show.AWAY, "On the phone")


def state(value: str, who: str = "bob") -> tuple[str, dict[str, str]]:
    return "Setvar", {"Variable": f"PRESENCE_STATE(CustomPresence:{who})", "Value": value}


def pause(reason: str, device: str = "PJSIP/102") -> tuple[str, dict[str, str]]:
    if not reason:
        return "QueuePause", {"Interface": device, "Paused": "false"}
    return "QueuePause", {"Interface": device, "Paused": "true", "Reason": reason}


class Stage:
    """Somebody's availability, an Asterisk that takes it down, and calls as the test says."""

    def __init__(self, told: dict[str, str] | None = None, dnd: dict[str, str] | None = None, **changes: Any) -> None:
        self.ami = FakeAmi()
        self.talking: set[str] = set()
        self.told: dict[str, str] = {} if told is None else told
        self.dnd: dict[str, str] = {} if dnd is None else dnd
        self.changed: list[Any] = []
        self.availability = Availability(
            PEOPLE,
            settings(**changes),
            self.ami,
            self.talking.__contains__,
            self.dnd,
            self.told,
            self.changed.append,
        )

    async def shows(self, presence: Presence, who: Jid = BOB) -> list[tuple[str, dict[str, str]]]:
        """Let somebody's client show a presence; return what Asterisk is told."""
        self.availability.presence_changed(who, presence)
        return await self.asterisk_is_told()

    async def asterisk_is_told(self) -> list[tuple[str, dict[str, str]]]:
        async with asyncio.timeout(5):
            while (teller := self.availability._teller) is not None and not teller.done():
                await asyncio.wait([teller])
        return self.ami.taken()


class TestPresenceState:
    @pytest.mark.parametrize(
        ("presence", "value"),
        [
            (AWAY, "away,,"),
            (Presence(Show.XA), "xa,,"),
            (DND, "dnd,,"),
            (BACK, "available,,"),
            (Presence(Show.CHAT), "chat,,"),
            (GONE, "unavailable,,"),
            # What Asterisk reads as syntax cannot get there: "Lunch, 1 h" in base64.
            (Presence(Show.AWAY, "Lunch, 1 h"), "away,,THVuY2gsIDEgaA==,e"),
            (Presence(Show.AWAY, "a\r\nb\x00"), "away,,YWI=,e"),
            (Presence(Show.AWAY, "\n"), "away,,"),
        ],
    )
    async def test_what_the_client_shows(self, presence, value):
        assert await Stage(presence_state=True).shows(presence) == [state(value)]

    async def test_only_changes_are_told(self):
        stage = Stage(presence_state=True)
        await stage.shows(AWAY)
        assert await stage.shows(Presence(Show.AWAY, resource="other", priority=3)) == []
        assert await stage.shows(BACK) == [state("available,,")]

    async def test_not_unless_it_is_configured(self):
        assert await Stage().shows(AWAY) == []

    async def test_strangers_and_those_who_are_not_seen(self):
        stage = Stage(presence_state=True)
        assert await stage.shows(AWAY, Jid("bob", "evil.example")) == []
        assert await stage.shows(Presence(Show.NOT_IN_ROSTER)) == []
        assert stage.changed == []

    @pytest.mark.parametrize("length", [MAX_TEXT - 1, MAX_TEXT, MAX_TEXT + 1, 10_000])
    async def test_the_text_fits_into_a_line(self, length):
        stage = Stage(presence_state=True)
        ((_, headers),) = await stage.shows(Presence(Show.AWAY, "\U0001d49c" * length))
        assert len(f"Value: {headers['Value']}\r\n") < 1024

    async def test_a_change_while_asterisk_is_being_told(self):
        stage = Stage(presence_state=True)
        stage.availability.presence_changed(BOB, AWAY)
        await asyncio.sleep(0)
        stage.availability.presence_changed(BOB, BACK)
        assert (await stage.asterisk_is_told())[-1] == state("available,,")

    def test_names(self):
        addresses = ["ann@x.org", "ann@y.org", "d\\27artagnan@x.org", "a_b@x.org", "a+b@x.org"]
        house = People(settings(user={who: {"devices": [f"PJSIP/{n}"]} for n, who in enumerate(addresses)}))
        assert presentities(house) == {
            "ann@x.org": "ann",
            "ann@y.org": "ann_y.org",
            "d\\27artagnan@x.org": "d_27artagnan",
            "a_b@x.org": "a_b",
            "a+b@x.org": "a_b_x.org",
        }


class TestPause:
    @pytest.mark.parametrize(
        ("presence", "reason"), [(AWAY, "im-away"), (Presence(Show.XA), "im-away"), (DND, "im-dnd")]
    )
    async def test_all_devices(self, presence, reason):
        stage = Stage(pause_queues=True)
        assert await stage.shows(presence, ANN) == [pause(reason, "PJSIP/101"), pause(reason, "PJSIP/201")]
        assert await stage.shows(BACK, ANN) == [pause("", "PJSIP/101"), pause("", "PJSIP/201")]
        assert stage.told == {}

    async def test_who_has_paused_by_themselves_stays_paused(self):
        assert await Stage(pause_queues=True).shows(BACK) == []

    @pytest.mark.parametrize("before", [AWAY, BACK])
    async def test_offline_changes_nothing(self, before):
        stage = Stage(pause_queues=True)
        await stage.shows(before)
        assert await stage.shows(GONE) == []

    async def test_a_phone_in_no_queue_is_no_trouble(self, caplog):
        stage = Stage(pause_queues=True)
        stage.ami.answers["QueuePause"] = AmiRefused("QueuePause: Interface not found")
        assert await stage.shows(AWAY) == [pause("im-away")]
        assert caplog.text == ""
        assert await stage.shows(BACK) == []

    async def test_our_pause_is_ended_after_a_restart(self):
        told: dict[str, str] = {}
        await Stage(told, pause_queues=True).shows(AWAY)
        again = Stage(told, pause_queues=True)
        again.availability.ami_connected()
        assert await again.asterisk_is_told() == [pause("im-away")]  # until we know better
        assert await again.shows(BACK) == [pause("")]

    async def test_the_setting_was_taken_away(self):
        again = Stage({"pause PJSIP/102": "im-away", "presence bob": "away,,"})
        again.availability.ami_connected()
        assert sorted(await again.asterisk_is_told(), key=str) == [pause(""), state("not_set,,")]
        assert again.told == {}


class TestDnd:
    async def test_it_is_told_also_where_chat_is_not(self):
        stage = Stage()
        stage.availability.set_dnd(person(BOB), True)
        assert await stage.asterisk_is_told() == [state("dnd,,")]
        assert stage.availability.is_dnd(person(BOB))
        assert stage.dnd == {"bob@x.org": "on"}
        stage.availability.set_dnd(person(BOB), False)
        assert await stage.asterisk_is_told() == [state("not_set,,")]
        assert not stage.availability.is_dnd(person(BOB))
        assert stage.changed == [person(BOB), person(BOB)]
        assert (stage.dnd, stage.told) == ({}, {})

    async def test_it_goes_before_what_the_client_shows(self):
        stage = Stage(presence_state=True, pause_queues=True)
        await stage.shows(AWAY)
        stage.availability.set_dnd(person(BOB), True)
        assert await stage.asterisk_is_told() == [state("dnd,,"), pause("im-dnd")]
        assert await stage.shows(BACK) == []
        stage.availability.set_dnd(person(BOB), False)
        assert await stage.asterisk_is_told() == [state("available,,"), pause("")]

    @pytest.mark.parametrize("shown", [None, GONE])
    async def test_its_end_frees_who_is_not_seen(self, shown):
        stage = Stage(presence_state=True, pause_queues=True)
        if shown:
            await stage.shows(shown)
        stage.availability.set_dnd(person(BOB), True)
        await stage.asterisk_is_told()
        stage.availability.set_dnd(person(BOB), False)
        assert await stage.asterisk_is_told() == [state("available,,"), pause("")]

    async def test_it_outlives_a_restart(self):
        again = Stage(dnd={"bob@x.org": "on"})
        assert again.availability.has_dnd(person(BOB))
        again.availability.ami_connected()
        assert await again.asterisk_is_told() == [state("dnd,,")]

    async def test_the_clients_dnd_counts_as_well(self):
        stage = Stage()
        await stage.shows(DND)
        assert stage.availability.is_dnd(person(BOB))
        assert not stage.availability.has_dnd(person(BOB))
        assert not stage.availability.is_dnd(person(CAROL))
        assert stage.availability.presence(person(CAROL)) is None


class TestOnThePhone:
    """Clients that show by themselves that somebody talks are not away."""

    async def test_sparks_own_words_never_count(self):
        stage = Stage(presence_state=True, pause_queues=True)
        await stage.shows(BACK)
        assert await stage.shows(ON_PHONE) == []
        assert stage.availability.presence(person(BOB)) == BACK

    async def test_what_is_shown_during_a_call_counts_afterwards(self, monkeypatch):
        monkeypatch.setattr(availability, "SETTLE", 0.0)
        stage = Stage(presence_state=True)
        await stage.shows(BACK)
        stage.talking.add("bob@x.org")
        assert await stage.shows(AWAY) == []
        stage.availability.call_changed(Answered(call()))
        stage.talking.clear()
        stage.availability.call_changed(Ended(call(), How.TALKED))
        await self._settle(stage)
        assert await stage.asterisk_is_told() == [state("away,,")]

    async def test_what_is_put_back_in_time_changes_nothing(self):
        stage = Stage(presence_state=True)
        await stage.shows(BACK)
        stage.talking.add("bob@x.org")
        await stage.shows(Presence(Show.AWAY, "Am Telefon"))
        stage.talking.clear()
        stage.availability.call_changed(Ended(call(), How.TALKED))
        assert len(stage.availability._timers) == 1
        assert await stage.shows(BACK) == []
        assert not stage.availability._timers
        assert not stage.availability._meanwhile

    async def test_the_next_call_begins_before_that(self, monkeypatch):
        monkeypatch.setattr(availability, "SETTLE", 0.0)
        stage = Stage(presence_state=True)
        stage.talking.add("bob@x.org")
        await stage.shows(AWAY)
        stage.talking.clear()
        stage.availability.call_changed(Ended(call(), How.TALKED))
        stage.talking.add("bob@x.org")
        await self._settle(stage)
        assert await stage.asterisk_is_told() == []
        stage.talking.clear()
        stage.availability.call_changed(Ended(call(id="c-2"), How.TALKED))
        await self._settle(stage)
        assert await stage.asterisk_is_told() == [state("away,,")]

    @staticmethod
    async def _settle(stage: Stage) -> None:
        async with asyncio.timeout(5):
            while stage.availability._timers:
                await asyncio.sleep(0)


class TestConnection:
    async def test_all_is_told_again_after_a_break(self):
        stage = Stage(presence_state=True)
        await stage.shows(AWAY)
        await stage.shows(BACK, ANN)
        stage.availability.ami_connected()
        assert sorted(await stage.asterisk_is_told(), key=str) == [state("available,,", "ann"), state("away,,")]

    async def test_without_a_connection_it_waits(self, caplog):
        stage = Stage(presence_state=True)
        stage.ami.answers["Setvar"] = AmiNotConnected("no connection")
        assert await stage.shows(AWAY) == [state("away,,")]
        assert stage.told == {}
        stage.ami.answers.clear()
        stage.availability.ami_connected()
        assert await stage.asterisk_is_told() == [state("away,,")]
        assert caplog.text == ""

    @pytest.mark.parametrize("error", [AmiRefused("Variable not set"), AmiUnknown("no answer")])
    async def test_a_failure_is_one_line_until_something_changes(self, error, caplog):
        caplog.set_level(logging.WARNING)
        stage = Stage(presence_state=True, pause_queues=True)
        key = "PRESENCE_STATE(CustomPresence:bob)"
        stage.ami.answers["Setvar"] = lambda headers: error if headers["Variable"] == key else SUCCESS
        assert await stage.shows(AWAY) == [state("away,,"), pause("im-away")]
        assert await stage.shows(AWAY, ANN) == [
            state("away,,", "ann"),
            pause("im-away", "PJSIP/101"),
            pause("im-away", "PJSIP/201"),
        ]
        assert [record.getMessage() for record in caplog.records] == [f"Asterisk was not told presence bob: {error}"]
        stage.ami.answers.clear()
        stage.availability.ami_connected()
        assert state("away,,") in await stage.asterisk_is_told()

    async def test_no_task_and_no_timer_is_left(self):
        stage = Stage(presence_state=True)
        stage.talking.add("bob@x.org")
        stage.availability.presence_changed(BOB, AWAY)
        stage.availability.presence_changed(ANN, AWAY)
        stage.talking.clear()
        stage.availability.call_changed(Ended(call(), How.TALKED))
        await stage.availability.stop()
        assert not stage.availability._timers
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_thousand_people_are_told_of_one_after_the_other_without_looking_at_all_each_time(monkeypatch):
    users = {f"u{number}@x.org": {"devices": [f"PJSIP/{1000 + number}"]} for number in range(50)}
    people = People(settings(user=users))
    ami = FakeAmi()
    looks: list[int] = []
    availability = Availability(people, settings(user=users, presence_state=True), ami, lambda _owner: False, {}, {})
    wanted = availability._wanted

    def look() -> dict[str, str]:
        looks.append(1)
        return wanted()

    monkeypatch.setattr(availability, "_wanted", look)
    for one in people:
        availability.presence_changed(one.jid, Presence(Show.AWAY))
    assert availability._teller is not None
    await availability._teller
    assert len(ami.taken()) == 50
    assert len(looks) == 2
