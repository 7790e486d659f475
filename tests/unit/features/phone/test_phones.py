"""How the parts of the phone service play together; tests/e2e/test_office.py has them with real telephones."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from agi_xmpp.ami.model import AmiInfo, AmiState, Message
from agi_xmpp.errors import AmiNotConnected, AmiRefused, AmiUnknown, NotConnected, Refused
from agi_xmpp.features.phone import phones as module
from agi_xmpp.features.phone.commands import PhoneCommands
from agi_xmpp.features.phone.phones import Phones
from agi_xmpp.store import Store
from agi_xmpp.watch import Watch
from agi_xmpp.xmpp.model import Jid, Presence, SessionState, Show
from agi_xmpp.xmpp.phone_model import ActionType, Contact, ContactState, PhoneAction, PhoneEvent, PhoneHost
from tests.unit.features.fakes import FakeSession
from tests.unit.features.phone.fakes import FakeAmi
from tests.unit.features.phone.house import ANN, BOB, CAROL, USERS, FakeConvening, person, settings

#: The users, none of whom wants to be told in chat who calls.
WITHOUT_NOTES = {jid: {**user, "notes": False} for jid, user in USERS.items()}
FREE = {"Event": "DeviceStateChange", "Device": "PJSIP/102", "State": "NOT_INUSE"}


class Line(FakeAmi):
    """A manager connection that is there, or not."""

    def __init__(self) -> None:
        super().__init__(Getvar={"Value": "allowed"})
        self.state = AmiState.CONNECTING
        self.lists: dict[str, Sequence[Message] | Exception] = {"Status": [], "DeviceStateList": []}
        self.asked = 0

    def info(self) -> AmiInfo:
        return AmiInfo("127.0.0.1:5038", self.state, 0.0)

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def ready(self, timeout: float) -> None: ...

    async def items(
        self, name: str, headers: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Sequence[Message]:
        self.asked += 1
        await asyncio.sleep(0)
        found = self.lists[name]
        if isinstance(found, Exception):
            raise found
        return found


class Port:
    """The session's side: writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[Jid, PhoneEvent]] = []
        self.contacts: list[str] = []
        self.activities: list[tuple[Jid, str | None]] = []

    def send_event(self, to: Jid, event: PhoneEvent) -> None:
        self.events.append((to, event))

    def contact_changed(self, local: str) -> None:
        self.contacts.append(local)

    def set_activity(self, user: Jid, text: str | None) -> None:
        self.activities.append((user, text))


class Switch(FakeSession):
    """A session that serves phones."""

    def __init__(self) -> None:
        super().__init__()
        self.port = Port()
        self.host: PhoneHost | None = None

    def serve_phones(self, host: Any, table: Any = None) -> Any:
        self.host = host
        return self.port


class House:
    """The phone service of Ann, Bob and Carol, and what is round it."""

    def __init__(self, store: Store, **changes: Any) -> None:
        self.line, self.session, self.store = Line(), Switch(), store
        self.watch = Watch()
        self.phones = Phones(settings(lost_after=0.0, **changes), self.line, self.session, store, self.watch)
        self.port = self.session.port

    async def connect(self) -> None:
        self.line.state = AmiState.ONLINE
        self.phones.ami_connected()
        await self.until(lambda: self.phones.status()["in_sight"])

    async def calls(self, *events: Message) -> None:
        """Feed events, one after the other has arrived everywhere."""
        for event in events:
            self.phones.ami_event(event)
            await self.until(lambda: not self.phones._teller._lanes)

    async def until(self, wanted: Any) -> None:
        async with asyncio.timeout(5):
            while not wanted():
                await asyncio.sleep(0)

    def feed(self, *events: Message) -> None:
        for event in events:
            self.phones.ami_event(event)

    def told(self) -> list[str]:
        return [f"{to.local} {event.type}" for to, event in self.port.events]

    def state(self, who: str) -> ContactState:
        state = self.phones.contact(who)
        assert state is not None
        return state


def channel(event: str, uniqueid: str, device: str, state: str, **more: str) -> Message:
    names = {"Down": "0", "Ring": "4", "Ringing": "5", "Up": "6"}
    return {
        "Event": event,
        "Channel": f"{device}-{uniqueid}",
        "ChannelState": names[state],
        "ChannelStateDesc": state,
        "CallerIDNum": device[-3:],
        "ConnectedLineNum": "<unknown>",
        "Exten": "102",
        "Context": "internal",
        "Uniqueid": uniqueid,
        "Linkedid": "1",
        **more,
    }


RINGS: tuple[Message, ...] = (
    channel("Newchannel", "1", "PJSIP/900", "Ring"),
    channel("Newchannel", "2", "PJSIP/102", "Down"),
    channel(
        "DialBegin",
        "1",
        "PJSIP/900",
        "Ring",
        DestChannel="PJSIP/102-2",
        DestChannelState="0",
        DestUniqueid="2",
        DestLinkedid="1",
        DestConnectedLineNum="900",
        DestConnectedLineName="Zoe",
    ),
)
TALKS = channel("Newstate", "2", "PJSIP/102", "Up", ConnectedLineNum="900", ConnectedLineName="Zoe")
ENDS = channel("Hangup", "2", "PJSIP/102", "Up", Cause="16")
STATUS = {**TALKS, "Event": "Status", "Seconds": "60", "ChannelState": "6"}


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    store = Store("")
    yield store
    store.close()


@pytest.fixture
async def house(store: Store) -> AsyncIterator[House]:
    house = House(store)
    await house.phones.start()
    await house.connect()
    yield house
    await house.phones.stop()


async def test_a_call_from_the_first_ring_to_the_end(house):
    await house.calls(*RINGS, TALKS, ENDS)
    assert house.told() == ["bob RING", "bob ON_PHONE", "bob HANG_UP"]
    assert house.port.activities == [(BOB, "On the phone"), (BOB, None)]
    lines = await house.watch.after(0, 0.0)
    assert [line["text"].partition(" on ")[0] for line in lines if "told" not in line["text"]] == [
        "is called by Zoe 900",
        "talks to Zoe 900",
        "call with Zoe 900",
    ]


async def test_what_the_contact_shows(house):
    online, device = ContactState(Show.ONLINE, device="PJSIP/102"), "PJSIP/102"
    assert house.state("bob") == online
    house.feed(*RINGS)
    assert house.state("bob") == online, "a phone that rings is free"
    house.feed(TALKS)
    assert house.state("bob") == ContactState(Show.AWAY, "On the phone", on_phone=True, device=device)
    house.feed(ENDS, {**FREE, "State": "UNAVAILABLE"})
    assert house.state("bob") == ContactState(Show.XA, "The phone is out of reach", device=device)
    house.feed(FREE)
    assert house.state("bob") == online
    guest = house.session.guest(house.phones._make_commands)
    guest.presence_changed(BOB, Presence(Show.DND))
    assert house.state("bob") == ContactState(Show.DND, "Do not disturb", device=device)
    assert house.phones.contact("nobody") is None


async def test_one_phone_of_two_in_reach_is_enough(house):
    gone = {"Event": "DeviceStateChange", "Device": "PJSIP/101", "State": "UNAVAILABLE"}
    house.feed(gone)
    assert house.state("ann").show is Show.ONLINE
    house.feed({**gone, "Device": "PJSIP/201"})
    assert house.state("ann").show is Show.XA


async def test_without_contacts_there_are_none(store):
    house = House(store, contacts=False)
    assert house.phones.contacts() == []
    assert house.phones.contact("bob") is None


async def test_the_contacts_are_the_users(house):
    assert list(house.phones.contacts()) == [
        Contact("ann", "Ann Smith"),
        Contact("bob", "Bob"),
        Contact("carol", "Carol"),
    ]


async def test_only_users_may_ask_and_watch(house):
    namesake = Jid("bob", "x.org.evil", "phone")
    assert house.phones.may_ask(Jid("bob", "x.org", "phone"))
    assert not house.phones.may_ask(namesake)
    assert house.phones.may_watch(CAROL, "bob")
    assert not house.phones.may_watch(namesake, "bob")
    with pytest.raises(Refused) as caught:
        await house.phones.act(namesake, PhoneAction(ActionType.DIAL, extension="102"))
    assert caught.value.condition == "forbidden"
    assert "Originate" not in house.line.names


@pytest.mark.parametrize(
    ("local", "reached"),
    [("bob", True), ("102", True), ("600", True), ("6\\2000", True), ("700", False), ("nobody", False), ("", False)],
)
async def test_users_may_reach_contacts_and_the_numbers_that_they_may_dial(local, reached):
    house = House(Store(""), dial=["_6XX"])
    assert house.phones.may_reach(ANN, local) is reached
    assert not house.phones.may_reach(Jid("bob", "x.org.evil", "phone"), local)
    await house.phones.stop()


async def test_an_action_reaches_asterisk(house):
    task = asyncio.create_task(house.phones.act(ANN, PhoneAction(ActionType.DIAL, jid=str(BOB))))
    async with asyncio.timeout(5):
        while "Originate" not in house.line.names:
            house.line.came.clear()
            await house.line.came.wait()
    (headers,) = [headers for name, headers, _variables in house.line.actions if name == "Originate"]
    assert (headers["Channel"], headers["Exten"], headers["Context"]) == ("PJSIP/101", "102", "internal")
    house.feed(channel("Newchannel", headers["ChannelId"], "PJSIP/101", "Down", Linkedid=headers["ChannelId"]))
    house.feed(channel("Newstate", headers["ChannelId"], "PJSIP/101", "Ringing", Linkedid=headers["ChannelId"]))
    await task
    assert house.told() == []


async def test_a_call_that_was_there_before_us_counts_but_is_told_to_nobody(store):
    house = House(store)
    house.line.lists["Status"] = [STATUS]
    await house.phones.start()
    await house.connect()
    assert house.told() == []
    assert house.state("bob").on_phone
    house.feed(ENDS)
    assert not house.state("bob").on_phone
    await house.phones.stop()


async def test_a_call_that_ended_while_we_were_away_is_ended_for_those_who_were_told_of_it(store):
    first = House(store)
    await first.phones.start()
    await first.connect()
    await first.calls(*RINGS, TALKS)
    await first.phones.stop()
    second = House(store)
    await second.phones.start()
    await second.connect()
    assert second.told() == ["bob HANG_UP"]
    assert second.port.activities == [(BOB, None)]
    await second.phones.stop()


async def test_an_activity_of_somebody_who_has_left_the_user_map_is_taken_back(store):
    store.table("active")["gone@x.org"] = "on the phone"
    house = House(store)
    await house.phones.start()
    await house.connect()
    assert house.port.activities == [(Jid("gone", "x.org"), None)]
    assert dict(store.table("active")) == {}
    await house.phones.stop()


async def test_asterisk_out_of_sight_ends_its_calls(house, caplog):
    await house.calls(*RINGS, TALKS)
    with caplog.at_level(logging.WARNING, "agi_xmpp.phone"):
        house.phones.ami_disconnected()
        await house.until(lambda: not house.phones.status()["in_sight"])
    assert house.told()[-1] == "bob HANG_UP"
    assert house.state("bob") == ContactState(Show.OFFLINE, device="PJSIP/102")
    assert "its calls count as ended" in caplog.text


async def test_a_connection_that_comes_back_in_time_ends_nothing(store):
    house = House(store)
    house.phones._settings = settings(lost_after=3600.0)
    await house.phones.start()
    await house.connect()
    await house.calls(*RINGS, TALKS)
    house.phones.ami_disconnected()
    house.line.lists["Status"] = [STATUS]
    asked = house.line.asked
    await house.connect()
    await house.until(lambda: house.line.asked >= asked + 2)
    assert house.told() == ["bob RING", "bob ON_PHONE"]
    await house.phones.stop()


async def test_a_missing_right_is_told_once_and_shown(house, monkeypatch, caplog):
    monkeypatch.setattr(module, "RESYNC_RETRY", 0.0)
    house.line.lists["Status"] = AmiRefused("Permission denied")
    asked = house.line.asked
    with caplog.at_level(logging.ERROR, "agi_xmpp.phone"):
        house.phones.ami_connected()
        await house.until(lambda: house.line.asked > asked + 3)
    assert len(caplog.records) == 1
    assert "Permission denied" in house.phones.status()["problems"][0]
    house.line.lists["Status"] = []
    await house.until(lambda: not house.phones.status()["problems"])


async def test_a_connection_that_breaks_during_the_question_is_taken_up_by_the_next(house):
    house.line.lists["Status"] = AmiNotConnected("gone")
    house.phones.ami_connected()
    await house.until(lambda: house.phones._resync.done())
    house.line.lists["Status"] = []
    await house.connect()
    house.feed(*RINGS)
    await house.until(lambda: house.told() == ["bob RING"])


async def test_the_list_is_asked_for_again_every_now_and_then(house, monkeypatch):
    monkeypatch.setattr(module, "WATCHDOG", 0.0)
    await house.calls(*RINGS, TALKS)
    house.line.lists["Status"] = [STATUS]
    house.phones.ami_connected()
    asked = house.line.asked
    await house.until(lambda: house.line.asked > asked + 4)
    assert house.told() == ["bob RING", "bob ON_PHONE"]
    house.line.lists["Status"] = []
    await house.until(lambda: len(house.told()) == 3)
    assert house.told()[-1] == "bob HANG_UP"


async def test_status_names_the_calls(house):
    await house.calls(*RINGS)
    (call,) = house.phones.status()["calls"]
    assert (call["user"], call["phase"], call["number"], call["name"]) == (str(BOB), "ringing", "900", "Zoe")
    assert house.phones.status()["users"] == 3


async def test_a_connection_that_was_there_first_is_taken_up(store):
    house = House(store)
    house.line.state = AmiState.ONLINE
    await house.phones.start()
    await house.until(lambda: house.phones.status()["in_sight"])
    await house.phones.stop()


async def test_after_the_end_the_session_has_no_guest_of_ours(house):
    await house.phones.stop()
    assert house.phones._make_commands not in house.session.guests


async def test_what_could_not_be_sent_is_made_up_for_when_the_account_is_logged_in(house):
    await house.calls(*RINGS, TALKS)
    house.session.state = SessionState.WAITING
    house.feed(ENDS)
    assert house.told() == ["bob RING", "bob ON_PHONE"]
    house.session.state = SessionState.ONLINE
    house.session.guest(house.phones._make_settler).session_began()
    assert house.told() == ["bob RING", "bob ON_PHONE", "bob HANG_UP"]


async def test_who_logs_in_before_asterisk_is_known_ends_nothing(store):
    store.table("announced")[str(BOB)] = "c-1 PJSIP/102"
    house = House(store)
    await house.phones.start()
    house.session.guest(house.phones._make_settler).session_began()
    assert house.told() == []
    house.line.lists["Status"] = [STATUS]
    await house.connect()
    assert house.told() == [], "the call goes on"
    await house.phones.stop()


@pytest.mark.parametrize("error", [AmiUnknown("no answer"), AmiRefused("Permission denied")])
async def test_calls_are_told_of_though_asterisk_does_not_give_its_list(house, monkeypatch, error):
    monkeypatch.setattr(module, "RESYNC_RETRY", 0.0)
    house.line.lists["Status"] = error
    asked = house.line.asked
    house.phones.ami_connected()
    await house.until(lambda: house.line.asked > asked + 2)
    house.feed(*RINGS, TALKS)
    await house.until(lambda: house.told() == ["bob RING", "bob ON_PHONE"])
    house.line.lists["Status"] = [STATUS]
    await house.until(lambda: not house.phones.status()["problems"])
    house.feed(ENDS)
    await house.until(lambda: house.told()[-1] == "bob HANG_UP")


async def test_a_list_that_makes_no_sense_does_not_end_the_watch(house, monkeypatch, caplog):
    monkeypatch.setattr(module, "RESYNC_RETRY", 0.0)
    house.line.lists["Status"] = [{"Event": "Status"}]
    asked = house.line.asked
    with caplog.at_level(logging.ERROR, "agi_xmpp.phone"):
        house.phones.ami_connected()
        await house.until(lambda: house.line.asked > asked + 4)
    assert "KeyError" in caplog.text
    house.line.lists["Status"] = [STATUS]
    await house.until(lambda: house.state("bob").on_phone)


async def test_a_connection_that_comes_back_soon_hears_all_again(store):
    house = House(store, presence_state=True)
    house.phones._settings = settings(lost_after=3600.0, presence_state=True)
    await house.phones.start()
    await house.connect()
    house.phones.ami_disconnected()
    house.line.answers["Setvar"] = AmiNotConnected("gone")
    house.phones._availability.set_dnd(person(BOB), on=True)
    await house.until(lambda: "Setvar" in house.line.names)
    house.line.answers["Setvar"] = {"Response": "Success"}
    house.line.actions.clear()
    house.phones.ami_connected()
    await house.until(lambda: "Setvar" in house.line.names)
    await house.phones.stop()


async def test_an_asterisk_that_is_not_there_at_the_start_has_no_calls(store):
    store.table("announced")[str(BOB)] = "c-1 PJSIP/102"
    store.table("active")[str(BOB)] = "on the phone"
    house = House(store)
    await house.phones.start()
    await house.until(lambda: house.told() == ["bob HANG_UP"])
    assert house.port.activities == [(BOB, None)]
    await house.phones.stop()


async def test_who_is_told_of_nothing_while_asterisk_is_lost_is_told_at_the_next_login(house):
    await house.calls(*RINGS, TALKS)
    house.session.state = SessionState.WAITING
    house.phones.ami_disconnected()
    await house.until(lambda: not house.phones.status()["in_sight"])
    assert house.told() == ["bob RING", "bob ON_PHONE"]
    house.session.state = SessionState.ONLINE
    house.session.guest(house.phones._make_settler).session_began()
    assert house.told()[-1] == "bob HANG_UP"


async def test_activities_that_are_not_wanted_any_more_are_taken_back(store):
    store.table("active")[str(BOB)] = "on the phone"
    house = House(store, activity=False)
    house.line.lists["Status"] = [STATUS]
    await house.phones.start()
    await house.connect()
    assert house.port.activities == [(BOB, None)]
    await house.phones.stop()


async def test_who_has_left_the_user_map_is_on_the_phone_no_more(store):
    store.table("announced")["gone@x.org"] = "c-1 PJSIP/109"
    house = House(store)
    await house.phones.start()
    await house.connect()
    assert [(str(to), event.type) for to, event in house.port.events] == [("gone@x.org", "HANG_UP")]
    await house.phones.stop()


def said_to(house: House, who: Jid) -> list[str]:
    messages = [args for name, args, _more in house.session.calls if name == "queue_message"]
    return [body for to, body in messages if to == str(who)]


async def test_nobody_is_free_because_asterisk_is_lost(house):
    ann, bob = person(ANN), person(BOB)
    await house.calls(*RINGS, TALKS)
    house.phones._watches.add(ann, bob)
    house.phones.ami_disconnected()
    await house.until(lambda: not house.phones.status()["in_sight"])
    assert said_to(house, ANN) == []
    await house.connect()
    assert said_to(house, ANN) == ["Bob is free again: call 102"]


async def test_the_watch_says_that_somebody_else_took_a_call(house):
    await house.calls(*RINGS, {**ENDS, "Cause": "26"})
    lines = [line["text"] for line in await house.watch.after(0, 0.0)]
    assert lines[-1].partition(" (")[0].endswith("is over: answered elsewhere")


async def test_nobody_is_free_whose_phone_is_out_of_reach(house):
    ann, bob = person(ANN), person(BOB)
    await house.calls({**FREE, "State": "UNAVAILABLE"})
    assert house.phones._watches.add(ann, bob).startswith("You will be told when Bob is free")
    await house.calls(*RINGS, ENDS)
    assert said_to(house, ANN) == []
    await house.calls(FREE)
    assert said_to(house, ANN) == ["Bob is free again: call 102"]


async def test_a_withheld_number_is_not_in_the_log(house, caplog):
    house.line.answers["Getvar"] = {"Value": "prohib"}
    with caplog.at_level(logging.DEBUG, "agi_xmpp"):
        await house.calls(*RINGS, TALKS, ENDS)
    assert not re.search(r"(?<![\d./])900(?!\d)", caplog.text)
    assert "Rang" in caplog.text


async def test_a_fault_at_one_persons_call_is_none_of_the_others(house, monkeypatch, caplog):
    show = house.phones._show

    def fail(owner: str) -> None:
        if owner == str(BOB):
            raise ValueError
        show(owner)

    monkeypatch.setattr(house.phones, "_show", fail)
    with caplog.at_level(logging.ERROR, "agi_xmpp.phone"):
        house.line.lists["Status"] = [STATUS, {**STATUS, "Uniqueid": "3", "Channel": "PJSIP/103-3", "Linkedid": "3"}]
        house.phones.ami_connected()
        await house.until(lambda: house.state("carol").on_phone)
    assert house.port.activities == [(CAROL, "On the phone")]
    assert "ValueError" in caplog.text


# Records of calls that are over


async def _record_house(store: Store, **changes: Any) -> House:
    house = House(store, **changes)
    await house.phones.start()
    await house.connect()
    return house


def _records(house: House) -> list[tuple[str, str, Any]]:
    """Return to whom, what, and the extras of what was queued with a record."""
    return [(args[0], args[1], more["extras"]) for _, args, more in house.session.calls if more["extras"].record]


MISSED = channel("Hangup", "2", "PJSIP/102", "Ringing", Cause="127")
GONE = channel("Hangup", "1", "PJSIP/900", "Ring", Cause="127")


@pytest.mark.parametrize(("kind", "headline"), [("headline", True), ("chat", False)])
async def test_a_missed_call_is_told_of_when_the_caller_has_gone(store, kind, headline):
    house = await _record_house(store, records={"send": "missed", "type": kind}, user=WITHOUT_NOTES)
    await house.calls(*RINGS, MISSED)
    assert _records(house) == []
    await house.calls(GONE)
    ((to, text, extras),) = _records(house)
    assert (to, text, extras.headline) == (str(BOB), "Missed call from Zoe, 900", headline)
    assert (extras.record.sid, extras.record.responder, extras.expects_answer) == ("1", str(BOB), False)
    assert house.session.calls[-1][2]["max_age"] == 3600
    assert any("gets a record: cancel (c-1)" in line["text"] for line in await house.watch.after(0, 0.0))
    await house.phones.stop()


async def test_nobody_is_told_of_calls_if_that_is_not_wanted(house):
    await house.calls(*RINGS, TALKS, ENDS, GONE)
    assert _records(house) == []


async def test_a_note_becomes_the_record(store):
    house = await _record_house(store, records={"send": "all", "type": "chat"})
    await house.calls(*RINGS)
    await house.until(lambda: house.session.calls)
    await house.calls(TALKS, ENDS)
    await house.until(lambda: _records(house))
    ((_, text, extras),) = _records(house)
    assert (text[:14], extras.replaces) == ("You talked to ", "q1")
    await house.phones.stop()


async def test_with_headlines_the_note_stays_what_it_was(store):
    house = await _record_house(store, records={"send": "all"})
    await house.calls(*RINGS, TALKS, ENDS)
    await house.until(lambda: len(house.session.calls) == 2)
    texts = [args[1] for _, args, _ in house.session.calls]
    assert sorted(text[:11] for text in texts) == ["You talked ", "Zoe, 900, c"]
    await house.phones.stop()


async def test_a_withheld_number_stays_withheld(store):
    house = House(store, records={"send": "all"}, user=WITHOUT_NOTES)
    house.line.answers["Getvar"] = {"Value": "prohib_not_screened"}
    await house.phones.start()
    await house.connect()
    await house.calls(*RINGS, MISSED, GONE)
    ((_, text, extras),) = _records(house)
    assert (text, extras.record.initiator) == ("Missed call from somebody without a number", "")
    await house.phones.stop()


async def test_what_is_not_told_yet_is_told_at_the_end(store):
    house = await _record_house(store, records={"send": "all"}, user=WITHOUT_NOTES)
    await house.calls(*RINGS, MISSED)
    assert _records(house) == []
    await house.phones.stop()
    assert len(_records(house)) == 1


async def test_a_caller_whose_end_nobody_has_told_us(store):
    house = await _record_house(store, records={"send": "all"}, user=WITHOUT_NOTES)
    await house.calls(*RINGS, MISSED)
    house.phones.ami_disconnected()
    await house.connect()
    await house.until(lambda: _records(house))
    assert len(_records(house)) == 1
    await house.phones.stop()


async def test_asterisk_out_of_sight_is_told_of_too(store):
    house = await _record_house(store, records={"send": "all"}, user=WITHOUT_NOTES)
    await house.calls(*RINGS, TALKS)
    house.phones.ami_disconnected()
    await house.until(lambda: _records(house))
    ((_, text, extras),) = _records(house)
    assert (extras.record.reason, "was lost" in text) == ("general-error", True)
    await house.phones.stop()


async def test_a_queue_that_is_full_is_a_line_in_the_log(store, caplog):
    house = await _record_house(store, records={"send": "all"}, user=WITHOUT_NOTES)
    house.session.results["queue_message"] = NotConnected("1000 messages wait already")
    with caplog.at_level(logging.WARNING, "agi_xmpp.phone"):
        await house.calls(*RINGS, TALKS, ENDS)
    assert "bob@x.org is not told of a call that is over: 1000 messages wait already" in caplog.text
    assert "Zoe" not in caplog.text
    await house.phones.stop()


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, {"contacts"}),
        ({"contacts": False}, set()),
        ({"presence_state": True, "pause_queues": True}, {"contacts", "presence", "queues"}),
        ({"records": {"send": "missed"}}, {"contacts", "records"}),
        ({"book": {"command": ["/bin/true"]}}, {"contacts", "phone-book"}),
    ],
)
async def test_what_this_installation_can_do(store, changes, more):
    names = {feature.rpartition("#")[2] for feature in House(store, **changes).phones.features()}
    assert names == {"ring", "dial", "forward", "hangup", "do-not-disturb"} | more


async def test_who_opens_a_conference_is_told_of_it_in_chat(house):
    (commands,) = [guest for guest in house.session.guests.values() if isinstance(guest, PhoneCommands)]
    assert "conf" not in [command.node for command in commands.commands(BOB)]
    house.phones.convener = convening = FakeConvening()
    assert "conf" in [command.node for command in commands.commands(BOB)]
    result = await commands.execute(BOB, "conf", {"people": ["ann"]})
    assert result is not None
    assert result.note == "Conference 6001 is the room 6001@conference.x.org."
    convening.say("Ann does not come.")
    assert house.session.calls[-1][:2] == ("queue_message", ("bob@x.org", "Ann does not come."))


async def test_who_cannot_be_told_is_in_the_log(house, caplog):
    house.phones.convener = convening = FakeConvening()
    (commands,) = [guest for guest in house.session.guests.values() if isinstance(guest, PhoneCommands)]
    await commands.execute(BOB, "conf", {"people": ["ann"]})
    house.session.results["queue_message"] = NotConnected("the queue is full")
    convening.say("Ann does not come.")
    assert "bob@x.org is not told: the queue is full" in caplog.text
