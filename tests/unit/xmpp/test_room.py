"""What a room says, and what follows from it."""

from __future__ import annotations

import dataclasses

import pytest

from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp import room as rules
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.room import (
    FINAL,
    OCCUPANT_LIMIT,
    Entered,
    OccupantLeft,
    Refused,
    Removed,
    Room,
    RoomPresence,
    check_room,
    message_refusal,
    nicks,
    removal,
    still_in,
)

TEAM = parse("team@rooms.x.org")
SELF = frozenset({110})


def of(who: str, kind: str = "available", *codes: int, **more) -> RoomPresence:
    return RoomPresence(
        dataclasses.replace(TEAM, resource=who), kind, codes=frozenset(codes), **{"condition": "", **more}
    )


@pytest.fixture
def room() -> Room:
    """Asked to be let in as pbx."""
    room = Room(TEAM)
    room.ask("pbx")
    return room


@pytest.fixture
def joined(room: Room) -> Room:
    """In it as pbx, with bob."""
    room.take(of("bob"))
    room.take(of("pbx", "available", 110))
    return room


class TestEntering:
    def test_only_the_self_presence_means_that_we_are_in(self, room: Room) -> None:
        assert room.take(of("bob")) is None
        assert room.take(of("ann")) is None
        assert room.take(of("pbx", "available", 110)) == Entered("pbx")
        assert room.joined
        assert room.others == {"bob", "ann"}

    def test_our_nick_without_the_status_code_may_be_somebody_else(self, room: Room) -> None:
        """A service that gives us another nick (210) shows us first who has the one that we wanted."""
        assert room.take(of("pbx")) is None
        assert room.take(of("pbx-1", "available", 110, 210)) == Entered("pbx-1")
        assert (room.nick, room.others, str(room.me)) == ("pbx-1", {"pbx"}, "team@rooms.x.org/pbx-1")

    def test_a_new_room(self, room: Room) -> None:
        assert room.take(of("pbx", "available", 110, 201)) == Entered("pbx", created=True)

    def test_once_only(self, joined: Room) -> None:
        assert joined.take(of("pbx", "available", 110)) is None

    @pytest.mark.parametrize(
        ("condition", "words"),
        [
            ("conflict", "in use"),
            ("forbidden", "banned"),
            ("item-not-found", "does not exist, or its owner has not unlocked it"),
            ("not-acceptable", "insists on the nick that is registered"),
            ("not-allowed", "may not make rooms"),
            ("not-authorized", "password"),
            ("registration-required", "members only"),
            ("remote-server-not-found", "no service of that name"),
            ("service-unavailable", "it is full, or there is no room service"),
            ("something-new", "it refuses us"),
        ],
    )
    def test_every_refusal_in_words(self, room: Room, condition: str, words: str) -> None:
        event = room.take(of("pbx", "error", condition=condition, reason="because"))
        assert isinstance(event, Refused)
        assert event.condition == condition
        assert words in event.text
        assert event.text.startswith("team@rooms.x.org: ")
        assert event.text.endswith(f"({condition}: because)")

    def test_a_refusal_may_come_from_the_room_itself(self, room: Room) -> None:
        assert isinstance(room.take(of("", "error", condition="forbidden")), Refused)

    def test_a_refusal_of_an_earlier_nick_is_none_of_this_one(self, room: Room) -> None:
        room.ask("pbx2")
        assert room.take(of("pbx", "error", condition="conflict")) is None

    def test_what_will_not_change_is_final(self) -> None:
        assert {"forbidden", "not-authorized", "registration-required"} <= FINAL
        assert FINAL.isdisjoint({"conflict", "service-unavailable", "remote-server-timeout", "item-not-found"})


class TestStaying:
    def test_occupants_come_and_go(self, joined: Room) -> None:
        joined.take(of("ann"))
        assert joined.others == {"bob", "ann"}
        left = joined.take(of("bob", "unavailable"))
        assert left == OccupantLeft(parse("team@rooms.x.org/bob"))
        assert joined.others == {"ann"}

    def test_who_changes_the_nick_gives_up_the_old_one(self, joined: Room) -> None:
        assert isinstance(joined.take(of("bob", "unavailable", 303, nick="rob")), OccupantLeft)
        joined.take(of("rob"))
        assert joined.others == {"rob"}

    def test_our_own_nick_changes(self, joined: Room) -> None:
        assert joined.take(of("pbx", "unavailable", 110, 303, nick="bot")) is None
        assert joined.take(of("bot", "available", 110)) is None
        assert (joined.joined, joined.nick, joined.others) == (True, "bot", {"bob"})

    def test_a_presence_of_the_room_itself_says_nothing(self, joined: Room) -> None:
        assert joined.take(of("")) is None
        assert joined.take(of("", "unavailable")) is None
        assert joined.joined

    @pytest.mark.parametrize(
        ("count", "known"),
        [
            (OCCUPANT_LIMIT - 1, OCCUPANT_LIMIT - 1),
            (OCCUPANT_LIMIT, OCCUPANT_LIMIT),
            (OCCUPANT_LIMIT + 1, OCCUPANT_LIMIT),
        ],
    )
    def test_occupants_are_limited(self, room: Room, count: int, known: int) -> None:
        for number in range(count):
            room.take(of(f"n{number}"))
        assert len(room.others) == known

    def test_an_error_means_that_the_room_is_out_of_reach(self, joined: Room) -> None:
        event = joined.take(of("pbx", "error", condition="remote-server-timeout"))
        assert event == Removed("team@rooms.x.org cannot be reached any more: remote-server-timeout", come_back=True)
        assert not joined.joined


class TestRemoval:
    @pytest.mark.parametrize(
        ("codes", "come_back", "words"),
        [
            ({110, 301}, False, "we were banned from team@rooms.x.org by ann: spam"),
            ({110, 307}, False, "we were kicked out of team@rooms.x.org by ann: spam"),
            ({110, 321}, False, "for members only now, and we are none: spam"),
            ({110, 322}, False, "for members only now, and we are none: spam"),
            ({110, 332}, True, "the room service of team@rooms.x.org was shut down: spam"),
            ({110, 333}, True, "the connection to team@rooms.x.org was lost: spam"),
            ({110, 307, 332}, True, "was shut down"),
            ({110, 307, 333}, True, "was lost"),
            ({110}, True, "says that we have left"),
        ],
    )
    def test_whether_to_come_back(self, joined: Room, codes: set[int], come_back: bool, words: str) -> None:
        event = joined.take(of("pbx", "unavailable", *codes, actor="ann", reason="spam"))
        assert isinstance(event, Removed)
        assert event.come_back is come_back
        assert words in event.text
        assert (joined.joined, joined.others) == (False, set())

    @pytest.mark.parametrize(
        ("codes", "by_room"),
        [({110, 307}, True), ({110, 301}, True), ({110, 332}, True), ({110, 307, 333}, False), ({110}, False)],
    )
    def test_whether_the_room_did_it(self, joined: Room, codes: set[int], by_room: bool) -> None:
        event = joined.take(of("pbx", "unavailable", *codes))
        assert isinstance(event, Removed)
        assert event.by_room is by_room

    def test_our_nick_alone_is_enough_once_we_are_in(self, joined: Room) -> None:
        assert isinstance(joined.take(of("pbx", "unavailable")), Removed)

    def test_before_we_are_in_it_is_somebody_elses_leaving(self, room: Room) -> None:
        assert isinstance(room.take(of("pbx", "unavailable")), OccupantLeft)

    def test_a_destroyed_room_is_not_made_anew(self) -> None:
        event = removal(
            TEAM, of("pbx", "unavailable", 110, destroyed=True, reason="old", alternative="new@rooms.x.org")
        )
        assert event == Removed(
            "team@rooms.x.org was destroyed: old; use new@rooms.x.org", come_back=False, by_room=True
        )

    def test_a_room_that_ends_with_its_service_is_entered_again(self) -> None:
        assert removal(TEAM, of("pbx", "unavailable", 110, 332, destroyed=True)).come_back


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [
        ("service-unavailable", True),
        ("feature-not-implemented", True),
        ("remote-server-not-found", None),
        ("remote-server-timeout", None),
        ("not-acceptable", False),
        ("item-not-found", False),
        ("forbidden", False),
    ],
)
def test_what_a_self_ping_says(condition: str, verdict: bool | None) -> None:
    assert still_in(condition) is verdict


def test_nicks_to_try() -> None:
    assert list(nicks("pbx")) == ["pbx", *(f"pbx{n}" for n in range(2, rules.NICKS + 1))]


@pytest.mark.parametrize("text", ["rooms.x.org", "team@rooms.x.org/pbx", "rooms.x.org/team"])
def test_what_is_no_room(text: str) -> None:
    with pytest.raises(BadJid):
        check_room(parse(text))


def test_what_is_a_room() -> None:
    check_room(TEAM)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("forbidden", "we are a visitor who may not speak (forbidden: muted)"),
        ("not-acceptable", "we are not in the room"),
        ("resource-constraint", "we speak faster"),
        ("something-new", "the message came back"),
    ],
)
def test_why_a_message_was_not_taken(condition: str, words: str) -> None:
    assert words in message_refusal(TEAM, condition, "muted")
