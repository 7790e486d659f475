from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from agi_xmpp.ami.conferences import Change, Conferences, PhoneChanged, PhoneJoined, PhoneLeft
from agi_xmpp.ami.model import Message
from agi_xmpp.errors import AmiForbidden, AmiNotConnected, AmiRefused, AmiUnknown
from agi_xmpp.features.conference.phones.roster import Roster
from tests.unit.ami.asked import AskedAmi


def item(uid: str, name: str = "Alice", event: str = "ConfbridgeJoin") -> Message:
    headers = {"Event": event, "Conference": "staff", "Channel": f"PJSIP/{uid}-1", "Uniqueid": uid}
    return headers | {"CallerIDNum": uid, "CallerIDName": name, "Muted": "No", "Admin": "No"}


class Office:
    """An Asterisk with the conference ``staff``, and a roster of it.

    Attributes:
        ami: the connection.
        members: who is in, as the lists have it.
        told: what the roster told, in words.
        compared: how often the lists were taken over.
    """

    def __init__(self) -> None:
        self.members: list[Message] = []
        self.told: list[str] = []
        self.ami = AskedAmi(
            {
                ("ConfbridgeListRooms", ""): lambda: [{"Conference": "staff"}] if self.members else [],
                ("ConfbridgeList", "staff"): lambda: list(self.members),
                ("Status", ""): lambda: [{"Uniqueid": each["Uniqueid"], "BridgeID": "b"} for each in self.members],
            },
            Getvar={"Value": "allowed"},
        )
        self.conferences = Conferences()
        self.compared = 0
        self._changed = asyncio.Event()
        self.roster = Roster(self.ami, self.conferences, self._take, self.compare, pause=3600, retry=3600)

    def compare(self) -> None:
        self.compared += 1

    def _take(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, PhoneLeft):
                self.told.append(f"left {change.channel}")
            else:
                word = {PhoneJoined: "joined", PhoneChanged: "changed"}[type(change)]
                self.told.append(f"{word} {change.participant.name or '-'}")
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; it is looked at after each turn of the event loop."""
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    async def tells(self, *told: str) -> None:
        """Wait until exactly this was told since the last time."""
        async with asyncio.timeout(5):
            while len(self.told) < len(told):
                self._changed.clear()
                await self._changed.wait()
        assert self.told == list(told)
        self.told.clear()

    def asks(self, name: str) -> int:
        """Return how often an action was asked for."""
        return sum(action == name for action, _, _ in self.ami.actions)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    yield office
    await office.roster.stop()


async def test_who_is_in_at_the_beginning_and_who_comes_and_goes(office: Office) -> None:
    office.members = [item("101"), item("102", "Bob")]
    office.roster.ami_connected()
    await office.tells("joined Alice", "joined Bob")
    assert office.compared == 1
    office.roster.ami_event(item("103", "Carol"))
    await office.tells("joined Carol")
    office.roster.ami_event(item("101", event="ConfbridgeLeave"))
    await office.tells("left PJSIP/101-1")


async def test_a_withheld_name_is_not_told(office: Office) -> None:
    office.ami.answers["Getvar"] = {"Value": "prohib_not_screened"}
    office.roster.ami_event(item("101"))
    await office.tells("joined -")


async def test_what_asterisk_does_not_say_is_withheld(office: Office) -> None:
    office.ami.answers["Getvar"] = AmiRefused("Permission denied")
    office.roster.ami_event(item("101"))
    await office.tells("joined -")


async def test_who_has_hung_up_before_asterisk_was_asked_is_not_told_of(office: Office) -> None:
    office.ami.answers["Getvar"] = AmiRefused("No such channel")
    office.roster.ami_event(item("101"))
    await office.until(lambda: office.asks("Getvar") == 1)
    office.roster.ami_event(item("101", event="ConfbridgeLeave"))
    office.ami.answers["Getvar"] = {"Value": "allowed"}
    office.roster.ami_event(item("102"))
    await office.tells("joined Alice")


@pytest.mark.parametrize("error", [AmiUnknown("silent"), AmiNotConnected("gone")])
async def test_who_could_not_be_asked_about_is_asked_about_again(office: Office, error: Exception) -> None:
    office.ami.answers["Getvar"] = error
    office.roster.ami_event(item("101"))
    await office.until(lambda: office.asks("Getvar") == 1)
    office.roster.ami_disconnected()
    office.ami.answers["Getvar"] = {"Value": "allowed"}
    office.members = [item("101")]
    office.roster.ami_connected()
    await office.tells("joined Alice")


async def test_a_gap_tells_the_differences(office: Office) -> None:
    office.members = [item("101"), item("102", "Bob")]
    office.roster.ami_connected()
    await office.tells("joined Alice", "joined Bob")
    office.roster.ami_disconnected()
    office.members = [item("102", "Bob"), item("103", "Carol")]
    office.roster.ami_connected()
    await office.tells("left PJSIP/101-1", "joined Carol")


async def test_a_connection_that_breaks_during_the_lists(office: Office) -> None:
    office.members = [item("101")]
    office.roster.ami_connected()
    office.roster.ami_disconnected()
    office.roster.ami_connected()
    await office.tells("joined Alice")


@pytest.mark.parametrize("error", [AmiForbidden("no right to reporting"), AmiUnknown("silent"), KeyError("Channel")])
async def test_without_lists_the_events_count(
    office: Office, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    office.ami.lists["ConfbridgeListRooms", ""] = error
    office.roster.ami_connected()
    office.roster.ami_event(item("101"))
    await office.tells("joined Alice")
    assert office.compared == 0
    assert "agi-xmpp check --online says more" in caplog.text


async def test_lists_that_fail_are_asked_for_again_and_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    office = Office()
    office.roster = Roster(office.ami, office.conferences, office._take, office.compare, pause=3600, retry=0)
    rooms, office.ami.lists["ConfbridgeListRooms", ""] = (
        office.ami.lists["ConfbridgeListRooms", ""],
        AmiUnknown("silent"),
    )
    office.members = [item("101")]
    office.roster.ami_connected()
    await office.until(lambda: office.asks("ConfbridgeListRooms") == 3)
    office.ami.lists["ConfbridgeListRooms", ""] = rooms
    await office.tells("joined Alice")
    await office.until(lambda: "tells who is in its conferences again" in caplog.text)
    assert caplog.text.count("does not tell who is in") == 1
    await office.roster.stop()


async def test_the_watchdog_finds_what_no_event_told(office: Office) -> None:
    roster = Roster(office.ami, office.conferences, office._take, office.compare, pause=0, retry=3600)
    roster.ami_connected()
    office.members = [item("101")]
    await office.tells("joined Alice")
    office.members = []
    await office.tells("left PJSIP/101-1")
    await roster.stop()


async def test_a_manager_user_that_gets_no_events_is_complained_of_once(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    roster = Roster(office.ami, office.conferences, office._take, office.compare, pause=0, retry=0)
    office.members = [item("101")]
    roster.ami_connected()
    await office.tells("joined Alice")
    await office.until(lambda: office.compared == 3)
    assert roster.problem == ""  # who was in when we came is no reason
    noticed = [roster.is_deaf]
    office.members = [item("101"), item("102", "Bob")]
    await office.tells("joined Bob")
    await office.until(lambda: roster.problem)
    office.members = []
    seen = office.compared
    await office.until(lambda: office.compared == seen + 3)
    assert "add call to the manager user's line read =" in roster.problem
    assert caplog.text.count("line read =") == 1
    noticed.append(roster.is_deaf)
    roster.ami_event(item("103", "Carol"))
    await office.until(lambda: not roster.problem)
    assert [*noticed, roster.is_deaf] == [False, True, False]
    await roster.stop()


async def test_who_was_told_of_is_no_reason_to_complain(office: Office) -> None:
    roster = Roster(office.ami, office.conferences, office._take, office.compare, pause=0, retry=0)
    roster.ami_connected()
    await office.until(lambda: office.compared == 1)
    office.members = [item("101")]
    roster.ami_event(item("101"))
    seen = office.compared
    await office.until(lambda: office.compared == seen + 3)
    assert roster.problem == ""
    await roster.stop()


async def test_an_asterisk_that_does_not_come_back(office: Office) -> None:
    roster = Roster(office.ami, office.conferences, office._take, office.compare, pause=3600, retry=3600, lost_after=0)
    office.members = [item("101")]
    roster.ami_connected()
    await office.tells("joined Alice")
    roster.ami_disconnected()
    await office.tells("left PJSIP/101-1")
    roster.ami_connected()
    await office.tells("joined Alice")
    await roster.stop()


async def test_a_connection_that_tries_again_and_again_does_not_hold_anybody(office: Office) -> None:
    roster = Roster(office.ami, office.conferences, office._take, office.compare, pause=3600, retry=3600, lost_after=0)
    office.members = [item("101")]
    roster.ami_connected()
    await office.tells("joined Alice")
    roster.ami_disconnected()
    roster.ami_disconnected()
    await office.tells("left PJSIP/101-1")
    await roster.stop()


async def test_nothing_goes_on_after_the_end(office: Office) -> None:
    office.members = [item("101")]
    office.roster.ami_connected()
    await office.roster.stop()
    assert office.told == []
