"""jabber_join, jabber_leave, jabber_send_group: the dialplan in rooms (XEP-0045)."""

from __future__ import annotations

from agi_xmpp.features.verb import Call, Verb

#: Seconds that a caller may hear nothing while a room is entered or left: it may be on a server far away.
DOOR_TIMEOUT = 10.0

#: Seconds for a message, as for one to a person.
SEND_TIMEOUT = 5.0


async def join(call: Call) -> None:
    """Enter a room and wait until it has confirmed that we are in.

    ``?password=`` is the room's; the one in the configuration is not seen on Asterisk's console.
    """
    timeout = call.seconds("timeout", DOOR_TIMEOUT)
    nick = call.arguments[2] if len(call.arguments) > 2 else ""
    entry = await call.session.join_room(
        call.arguments[1], nick, password=call.options.get("password", ""), timeout=timeout
    )
    await call.set("JABBER_ROOM_NICK", entry.nick)
    await call.set("JABBER_ROOM_OCCUPANTS", str(entry.occupants))
    await call.set("JABBER_ERROR", entry.note)
    await call.set("JABBER_ROOM_STATUS", "JOINED")


async def leave(call: Call) -> None:
    """Leave a room and wait until it has confirmed that. A nick may be given, as for res_xmpp, and says nothing."""
    room = call.arguments[1]
    if not await call.session.leave_room(room, timeout=call.seconds("timeout", DOOR_TIMEOUT)):
        await call.set("JABBER_ERROR", f"the account was not in {room}")
    await call.set("JABBER_ROOM_STATUS", "LEFT")


async def send_group(call: Call) -> None:
    """Say something in a room, and wait until the room has told it to everybody.

    ``?join=yes`` enters the room first if the account is not in it.
    """
    timeout = call.seconds("timeout", SEND_TIMEOUT)
    enter = call.choice("join", ("no", "yes")) == "yes"
    room = call.arguments[1]
    text = await call.text(2)
    session = call.session
    if enter:
        await session.join_room(room, timeout=timeout)
    await call.set("JABBER_SEND_ID", await session.send_to_room(room, text, timeout=timeout))
    await call.set("JABBER_SEND_STATUS", "SENT")


JOIN = Verb(
    name="jabber_join",
    usage="jabber_join[?password=PASSWORD&timeout=10],account,room[,nick]",
    clears={"JABBER_ROOM_STATUS": "ERROR", "JABBER_ROOM_NICK": "", "JABBER_ROOM_OCCUPANTS": "", "JABBER_ERROR": ""},
    status="JABBER_ROOM_STATUS",
    failures=frozenset({"FAILED"}),
    options=frozenset({"password", "timeout"}),
    arguments=2,
    max_arguments=3,
    run=join,
    ends_with_call=False,  # the account enters, not the call; the h extension may send it there
)

LEAVE = Verb(
    name="jabber_leave",
    usage="jabber_leave[?timeout=10],account,room[,nick]",
    clears={"JABBER_ROOM_STATUS": "ERROR", "JABBER_ERROR": ""},
    status="JABBER_ROOM_STATUS",
    failures=frozenset({"FAILED"}),
    options=frozenset({"timeout"}),
    arguments=2,
    max_arguments=3,
    run=leave,
    ends_with_call=False,
)

SEND_GROUP = Verb(
    name="jabber_send_group",
    usage="jabber_send_group[?join=yes&timeout=5&enc=uri&var=NAME],account,room,text",
    clears={"JABBER_SEND_STATUS": "ERROR", "JABBER_SEND_ID": "", "JABBER_ERROR": ""},
    status="JABBER_SEND_STATUS",
    failures=frozenset({"FAILED"}),
    options=frozenset({"join", "timeout", "enc", "var"}),
    arguments=3,
    max_arguments=None,
    run=send_group,
    ends_with_call=False,
)
