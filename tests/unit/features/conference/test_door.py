from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.ami.conferences import Conferences
from agi_xmpp.ami.model import Message
from agi_xmpp.errors import AmiError, AmiForbidden, AmiNotConnected
from agi_xmpp.features.conference import door, stanzas
from agi_xmpp.features.conference.door import CLIENT_LIMIT, QUESTION_TIME, Door
from tests.unit.ami.asked import AskedAmi
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.hall import JOIN, condition
from tests.unit.features.conference.house import JULIET, NURSE, PARIS, ROMEO, House, settings

ROOM = "balcony@conference.example.org"
PHONE = {"Channel": "PJSIP/101-1", "Uniqueid": "1.1", "CallerIDName": "Alice", "CallerIDNum": "101"}


class Asterisk(AskedAmi):
    """Says which conferences are locked, as soon as it is allowed to answer.

    Attributes:
        locked: those that are.
        failure: what it answers instead.
        asked: questions that have come.
    """

    def __init__(self) -> None:
        super().__init__()
        self.locked: set[str] = set()
        self.failure: AmiError | None = None
        self.asked: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self.questions = 0

    async def items(
        self, name: str, headers: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Sequence[Message]:
        assert (name, headers, timeout) == ("ConfbridgeListRooms", None, QUESTION_TIME)
        self.questions += 1
        known = [{"Conference": number, "Locked": "Yes"} for number in self.locked]
        allowed = asyncio.Event()
        self.asked.put_nowait(allowed)
        await allowed.wait()
        if self.failure is not None:
            raise self.failure
        return known


class Entry:
    """The door of the rooms ``balcony``, which is conference 6000, and of those that match ``_6XXX``.

    Attributes:
        passed: what has gone through.
        sent: errors for those who did not.
    """

    def __init__(self) -> None:
        self.asterisk = Asterisk()
        self.conferences = Conferences()
        self.house = House(room={"balcony": {"number": "6000"}}, rooms=["_6XXX"])
        self.passed: list[Element] = []
        self.sent: list[Element] = []
        self.door = Door(self.asterisk, self.conferences, self.house.service, self._pass_on, self.sent.append)
        self.fails_for = ""

    def _pass_on(self, stanza: Element) -> None:
        self.passed.append(stanza)
        assert stanza.get("from") != self.fails_for, "it must not keep the others waiting"

    def phone_comes(self, number: str = "6000") -> None:
        self.conferences.event({"Event": "ConfbridgeJoin", "Conference": number, **PHONE})
        for participant in self.conferences.take_questions():
            self.conferences.answer(participant, withheld=False)

    def phone_goes(self, number: str = "6000") -> None:
        self.conferences.event({"Event": "ConfbridgeLeave", "Conference": number, **PHONE})

    def comes(self, who: str = JULIET, room: str = ROOM, nick: str = "Juliet") -> bool:
        """Let a client try to come in; tell whether it waits."""
        return self.door.holds(stanza(f"<presence from='{who}' to='{room}/{nick}' id='j1'>{JOIN}</presence>"))

    def says(self, text: str, who: str = JULIET, room: str = ROOM, kind: str = "groupchat") -> bool:
        return self.door.holds(
            stanza(f"<message from='{who}' to='{room}' type='{kind}' id='m1'><body>{text}</body></message>")
        )

    async def answer(self) -> None:
        """Let Asterisk answer one question."""
        (await self.asterisk.asked.get()).set()
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def through(self) -> list[str]:
        """Who and what has gone through since the last time: the client, and the text of messages."""
        passed, self.passed = self.passed, []
        return [f"{one.get('from', '').partition('@')[0]} {stanzas.body_of(one)}".strip() for one in passed]


@pytest.fixture
async def entry() -> AsyncIterator[Entry]:
    entry = Entry()
    entry.phone_comes()
    yield entry
    await entry.door.stop()


async def test_who_comes_waits_until_asterisk_has_answered(entry: Entry) -> None:
    assert entry.comes()
    assert not entry.through
    await entry.answer()
    assert entry.through == ["juliet"]
    assert not entry.door.is_locked("6000")


async def test_what_a_client_sends_meanwhile_waits_behind_its_coming(entry: Entry) -> None:
    entry.comes()
    assert entry.says("one")
    assert entry.door.holds(stanza(f"<iq from='{JULIET}' to='{ROOM}' type='get' id='q1'/>"))
    assert entry.door.holds(stanza(f"<presence from='{JULIET}' to='{ROOM}/x' type='unavailable'/>"))
    assert not entry.says("of somebody else", who=ROMEO)
    assert not entry.says("elsewhere", room="6001@conference.example.org")
    await entry.answer()
    assert [one.tag for one in entry.passed] == [stanzas.PRESENCE, stanzas.MESSAGE, stanzas.IQ, stanzas.PRESENCE]
    assert not entry.says("two"), "nobody waits any more"


async def test_who_is_in_is_not_asked_about(entry: Entry) -> None:
    entry.house.join(ROMEO, "balcony/Romeo")
    assert not entry.comes(ROMEO)
    assert not entry.door.holds(stanza(f"<presence from='{ROMEO}' to='{ROOM}/Other'/>"))
    assert not entry.says("hello", ROMEO)
    assert entry.asterisk.questions == 0


@pytest.mark.parametrize("kind", ["unavailable", "error"])
async def test_who_goes_does_not_wait(entry: Entry, kind: str) -> None:
    leaving = stanza(f"<presence from='{JULIET}' to='{ROOM}/Juliet' type='{kind}'>{JOIN}</presence>")
    assert not entry.door.holds(leaving)


async def test_who_may_not_use_the_service_has_asterisk_not_asked(entry: Entry) -> None:
    assert not entry.comes(PARIS)
    assert not entry.comes(PARIS, room="6001@conference.example.org")
    assert not entry.asterisk.questions
    entry.house.service.apply(settings(allow=["example.net"], room={"balcony": {"number": "6000"}}))
    assert entry.comes(PARIS)


async def test_without_phones_there_is_nothing_to_ask(entry: Entry) -> None:
    entry.phone_goes()
    assert not entry.comes()
    assert not entry.comes(room="6001@conference.example.org")


async def test_a_room_that_is_not_open_yet_has_the_number_in_its_address(entry: Entry) -> None:
    entry.phone_comes("6001")
    entry.asterisk.locked = {"6001"}
    assert entry.comes(room="6001@conference.example.org")
    await entry.answer()
    assert entry.door.is_locked("6001")


@pytest.mark.parametrize(("who", "room"), [("@", ROOM), (JULIET, "@")])
async def test_addresses_that_are_none_are_for_others_to_refuse(entry: Entry, who: str, room: str) -> None:
    assert not entry.comes(who, room)


async def test_a_lock_counts_as_long_as_somebody_is_in(entry: Entry) -> None:
    entry.asterisk.locked = {"6000", "6001"}
    entry.comes()
    await entry.answer()
    assert entry.door.is_locked("6000")
    assert not entry.door.is_locked("6001"), "nobody whom we know of"
    entry.phone_goes()
    assert not entry.door.is_locked("6000")
    entry.phone_comes()
    entry.asterisk.locked.clear()
    entry.comes()
    await entry.answer()
    assert not entry.door.is_locked("6000")


async def test_many_at_once_are_one_question_after_the_other(entry: Entry) -> None:
    entry.comes()
    allowed = await entry.asterisk.asked.get()
    for number in range(200):
        assert entry.comes(f"guest-{number}@example.org/x")
    assert entry.asterisk.questions == 1
    allowed.set()
    await entry.answer()
    assert len(entry.through) == 201
    assert entry.asterisk.questions == 2


async def test_who_comes_while_a_question_is_under_way_is_not_let_in_by_its_answer(entry: Entry) -> None:
    entry.comes(ROMEO)
    allowed = await entry.asterisk.asked.get()  # Asterisk has looked: it is not locked
    entry.asterisk.locked = {"6000"}
    entry.comes(JULIET)
    allowed.set()
    allowed = await entry.asterisk.asked.get()
    assert (entry.through, entry.door.is_locked("6000")) == (["romeo"], False)
    allowed.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (entry.through, entry.door.is_locked("6000")) == (["juliet"], True)


async def test_what_was_known_last_counts_and_is_logged_once(entry: Entry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    entry.asterisk.locked = {"6000"}
    entry.comes()
    await entry.answer()
    forbidden = AmiForbidden("reporting is missing")
    for failure in (forbidden, forbidden, AmiNotConnected("gone")):
        entry.asterisk.failure = failure
        entry.comes()
        await entry.answer()
        assert entry.door.is_locked("6000")
    entry.asterisk.failure = None
    entry.comes()
    await entry.answer()
    assert entry.through == ["juliet"] * 5
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "Asterisk does not say whether conferences are locked: reporting is missing; what it said last counts",
        "Asterisk does not say whether conferences are locked: gone; what it said last counts",
        "Asterisk says again whether conferences are locked",
    ]


async def test_nobody_waits_for_a_second_failure(entry: Entry) -> None:
    entry.asterisk.failure = AmiNotConnected("gone")
    entry.comes(ROMEO)
    allowed = await entry.asterisk.asked.get()
    entry.comes(JULIET)
    allowed.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert entry.through == ["romeo", "juliet"]
    assert entry.asterisk.questions == 1


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
async def test_one_client_may_send_so_much_meanwhile(entry: Entry, more: int, fits: bool) -> None:
    entry.comes()
    came = stanzas.weight(stanza(f"<presence from='{JULIET}' to='{ROOM}/Juliet' id='j1'>{JOIN}</presence>"))
    frame = stanzas.weight(stanza(f"<message from='{JULIET}' to='{ROOM}' type='groupchat' id='m1'><body/></message>"))
    text = "x" * (CLIENT_LIMIT - came - frame + more)
    assert entry.says(text)
    await entry.answer()
    assert entry.through == (["juliet", f"juliet {text}"] if fits else ["juliet"])
    assert [condition(error) for error in entry.sent] == ([] if fits else [("wait", "resource-constraint")])


async def test_all_together_may_send_so_much_meanwhile(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    came = stanzas.weight(stanza(f"<presence from='{JULIET}' to='{ROOM}/Juliet' id='j1'>{JOIN}</presence>"))
    monkeypatch.setattr(door, "LIMIT", 2 * came)
    for number in range(3):
        assert entry.comes(JULIET[:-1] + str(number))
    assert [(error.get("to"), condition(error)) for error in entry.sent] == [
        (f"{JULIET[:-1]}2", ("wait", "resource-constraint"))
    ]
    await entry.answer()
    assert entry.through == ["juliet", "juliet"]
    assert entry.comes(NURSE), "there is room again"


async def test_what_wants_no_answer_gets_none(entry: Entry) -> None:
    entry.comes()
    assert entry.says("x" * CLIENT_LIMIT, kind="error")
    assert not entry.sent


async def test_what_fails_inside_keeps_nobody_waiting(entry: Entry, caplog: pytest.LogCaptureFixture) -> None:
    entry.fails_for = ROMEO
    entry.comes(ROMEO)
    entry.says("hi", ROMEO)
    entry.comes(JULIET)
    await entry.answer()
    assert entry.through == ["romeo", "romeo hi", "juliet"]
    assert "internal error" in caplog.text
    assert entry.comes(NURSE)


async def test_who_waits_at_the_end_goes_on_and_nobody_waits_after_it(entry: Entry) -> None:
    entry.comes()
    await entry.asterisk.asked.get()
    await entry.door.stop()
    assert entry.through == ["juliet"]
    assert not entry.comes(ROMEO)
