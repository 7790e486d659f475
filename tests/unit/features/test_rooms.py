"""jabber_join, jabber_leave and jabber_send_group."""

from __future__ import annotations

import pytest

from agi_xmpp.errors import BadJid, BadText, Bounced, NotConfirmed, NotConnected, NotInRoom, UsageError
from agi_xmpp.xmpp.model import RoomEntry
from tests.unit.features.fakes import FakeChannel, FakeSession, dispatcher, run

ROOM = "team@rooms.x.org"


async def join(*args, session=None, **query):
    return (await run("jabber_join", "pbx", ROOM, *args, session=session, **query)).variables


async def leave(*args, session=None, **query):
    return (await run("jabber_leave", "pbx", ROOM, *args, session=session, **query)).variables


async def speak(*args, session=None, **query):
    return (await run("jabber_send_group", "pbx", ROOM, *args, session=session, **query)).variables


async def test_joined_with_the_nick_that_we_got():
    session = FakeSession(join_room=RoomEntry("asterisk2", 4))
    assert await join(session=session) == {
        "JABBER_ROOM_STATUS": "JOINED",
        "JABBER_ROOM_NICK": "asterisk2",
        "JABBER_ROOM_OCCUPANTS": "4",
        "JABBER_ERROR": "",
    }
    assert session.calls == [("join_room", (ROOM, ""), {"password": "", "timeout": 10.0})]


async def test_nick_password_and_timeout_are_passed_on():
    session = FakeSession()
    await join("PBX", session=session, password="a b&c", timeout="3")
    assert session.calls == [("join_room", (ROOM, "PBX"), {"password": "a b&c", "timeout": 3.0})]


async def test_a_note_does_not_make_it_a_failure():
    variables = await join("PBX", session=FakeSession(join_room=RoomEntry("asterisk", 1, "already in it as asterisk")))
    assert variables["JABBER_ROOM_STATUS"] == "JOINED"
    assert variables["JABBER_ERROR"] == "already in it as asterisk"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Bounced("team: we are banned from it (forbidden)", "forbidden"), "FAILED"),
        (NotConfirmed("team did not answer"), "FAILED"),
        (NotConnected("the server is away"), "FAILED"),
        (UsageError("the account is in 100 rooms already"), "ERROR"),
        (BadJid("no room"), "ERROR"),
    ],
)
async def test_why_it_was_not_joined(error, status):
    variables = await join(session=FakeSession(join_room=error))
    assert (variables["JABBER_ROOM_STATUS"], variables["JABBER_ERROR"]) == (status, str(error))
    assert variables["JABBER_ROOM_NICK"] == ""


async def test_too_many_arguments_are_refused():
    variables = await join("PBX", "more")
    assert variables["JABBER_ROOM_STATUS"] == "ERROR"
    assert "jabber_join[" in variables["JABBER_ERROR"]


async def test_the_password_is_in_no_error():
    variables = await join(pasword="hunter2", session=FakeSession())
    assert "did you mean password" in variables["JABBER_ERROR"]
    assert "hunter2" not in variables["JABBER_ERROR"]


async def test_left():
    session = FakeSession()
    assert await leave("nick", session=session, timeout="4") == {"JABBER_ROOM_STATUS": "LEFT", "JABBER_ERROR": ""}
    assert session.calls == [("leave_room", (ROOM,), {"timeout": 4.0})]


async def test_leaving_where_we_are_not_is_left_with_a_note():
    variables = await leave(session=FakeSession(leave_room=False))
    assert variables == {"JABBER_ROOM_STATUS": "LEFT", "JABBER_ERROR": f"the account was not in {ROOM}"}


async def test_a_departure_that_is_not_confirmed_is_a_failure():
    variables = await leave(session=FakeSession(leave_room=NotConfirmed("no word from it")))
    assert variables == {"JABBER_ROOM_STATUS": "FAILED", "JABBER_ERROR": "no word from it"}


async def test_said():
    session = FakeSession()
    variables = await speak("Hello", " all", "", "x", session=session)
    assert variables == {"JABBER_SEND_STATUS": "SENT", "JABBER_SEND_ID": "g1", "JABBER_ERROR": ""}
    assert session.calls == [("send_to_room", (ROOM, "Hello, all,,x"), {"timeout": 5.0})]


async def test_said_uri_encoded():
    session = FakeSession()
    await speak("a%20%28b%0A", session=session, enc="uri", timeout="7")
    assert session.calls == [("send_to_room", (ROOM, "a (b\n"), {"timeout": 7.0})]


async def test_said_from_a_variable():
    session = FakeSession()
    channel = FakeChannel("jabber_send_group", ("pbx", ROOM), {"var": "NOTE"})
    channel.variables["NOTE"] = "one\ntwo"
    await dispatcher(session)(channel)  # type: ignore[arg-type]
    assert session.calls[0][1] == (ROOM, "one\ntwo")


async def test_join_yes_enters_first():
    session = FakeSession()
    await speak("hi", session=session, join="yes")
    assert session.calls == [
        ("join_room", (ROOM,), {"timeout": 5.0}),
        ("send_to_room", (ROOM, "hi"), {"timeout": 5.0}),
    ]


async def test_join_no_does_not():
    session = FakeSession()
    await speak("hi", session=session, join="no")
    assert [name for name, _, _ in session.calls] == ["send_to_room"]


async def test_a_room_that_does_not_let_us_in_gets_nothing():
    session = FakeSession(join_room=Bounced("members only", "registration-required"))
    variables = await speak("hi", session=session, join="yes")
    assert variables["JABBER_SEND_STATUS"] == "FAILED"
    assert [name for name, _, _ in session.calls] == ["join_room"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotInRoom("not in team; jabber_join enters it"), "FAILED"),
        (Bounced("we may not speak", "forbidden"), "FAILED"),
        (BadText("character 1 of the text is U+FFFE"), "ERROR"),
    ],
)
async def test_why_it_was_not_said(error, status):
    variables = await speak("hi", session=FakeSession(send_to_room=error))
    assert variables == {"JABBER_SEND_STATUS": status, "JABBER_SEND_ID": "", "JABBER_ERROR": str(error)}


async def test_an_empty_text_is_refused():
    session = FakeSession()
    assert (await speak("", session=session))["JABBER_SEND_STATUS"] == "ERROR"
    assert session.calls == []
