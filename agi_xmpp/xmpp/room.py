"""What a room (XEP-0045) tells us about ourselves, and what follows from it. Pure: no I/O, no asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp.model import Jid

#: Occupants remembered for one room, for their number. Rooms have a limit of their own (ejabberd: 200); a hostile
#: service could invent any number.
OCCUPANT_LIMIT = 10_000

#: Nicks tried when the first one is taken: nick, nick2, … nick9. A PBX has fewer logins than that.
NICKS = 9

# Status codes of XEP-0045 section 15.6.2
SELF = 110
CREATED = 201
BANNED = 301
RENAMED = 303
KICKED = 307
NOT_MEMBER = 321
MEMBERS_ONLY = 322
SHUTDOWN = 332
LOST = 333

#: Refusals that will be the same the next time (XEP-0045 section 7.2): the others are tried again.
FINAL = frozenset(
    {
        "forbidden",
        "gone",
        "jid-malformed",
        "not-acceptable",
        "not-allowed",
        "not-authorized",
        "registration-required",
    }
)

_JOIN_REFUSALS = {
    "conflict": "the nick is in use",
    "forbidden": "we are banned from it",
    "gone": "it does not exist any more",
    "item-not-found": "it does not exist, or its owner has not unlocked it yet",
    "jid-malformed": "its service does not accept the nick",
    "not-acceptable": "its service insists on the nick that is registered for us",
    "not-allowed": "it does not exist, and we may not make rooms there, or not speak to that service at all",
    "not-authorized": "it needs a password, and ours is missing or wrong",
    "registration-required": "it is for members only, and we are none",
    "remote-server-not-found": "there is no service of that name",
    "remote-server-timeout": "its server does not answer",
    "resource-constraint": "its service has reached a limit",
    "service-unavailable": "it is full, or there is no room service at that address",
}

_MESSAGE_REFUSALS = {
    "forbidden": "the room is moderated, and we are a visitor who may not speak",
    "not-acceptable": "we are not in the room",
    "policy-violation": "the room's rules forbid it",
    "resource-constraint": "we speak faster than the room allows",
}


@dataclass(frozen=True, slots=True)
class RoomPresence:
    """A presence stanza from a room, as plain data.

    Attributes:
        occupant: the room's address, with the nick that the presence is about as its resource.
        kind: ``available``, ``unavailable`` or ``error``.
        codes: status codes.
        nick: the new one, where the occupant changes it (code 303).
        actor: nick of who did it (kick, ban), or "".
        reason: somebody's words, or "".
        destroyed: the room was destroyed (XEP-0045 section 10.9).
        alternative: the room to go to instead, or "".
        condition: of an error (RFC 6120 section 8.3.3).
    """

    occupant: Jid
    kind: str
    codes: frozenset[int] = frozenset()
    nick: str = ""
    actor: str = ""
    reason: str = ""
    destroyed: bool = False
    alternative: str = ""
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Entered:
    """We are in.

    Attributes:
        nick: the one that we really got.
        created: the room did not exist before; it is locked until we accept its settings (XEP-0045 section 10.1).
    """

    nick: str
    created: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The room did not let us in.

    Attributes:
        condition: RFC 6120 section 8.3.3.
        text: one sentence.
    """

    condition: str
    text: str


@dataclass(frozen=True, slots=True)
class Removed:
    """We are not in the room any more.

    Attributes:
        text: one sentence that says why.
        come_back: nobody threw us out, so that we may enter again.
        by_room: the room itself did it. It tells everything in order, so what it had taken from us before has come
            back to us before.
    """

    text: str
    come_back: bool
    by_room: bool = False


@dataclass(frozen=True, slots=True)
class OccupantLeft:
    """Somebody else has given up a nick; whoever takes it next may be another person."""

    occupant: Jid


Event = Entered | Refused | Removed | OccupantLeft


@dataclass(slots=True)
class Room:
    """One room, as seen by one of its occupants.

    Attributes:
        jid: its bare address.
        nick: ours, or the one that we asked for.
        joined: the room has confirmed that we are in.
        others: nicks of the other occupants.
    """

    jid: Jid
    nick: str = ""
    joined: bool = False
    others: set[str] = field(default_factory=set)

    @property
    def me(self) -> Jid:
        """Our address in the room."""
        return Jid(self.jid.local, self.jid.domain, self.nick)

    def ask(self, nick: str) -> None:
        """Note that we ask to be let in under ``nick``."""
        self.forget()
        self.nick = nick

    def forget(self) -> None:
        """Note that we are out, and know nothing of the room any more."""
        self.joined = False
        self.others.clear()

    def take(self, presence: RoomPresence) -> Event | None:
        """Take a presence from the room and return what it means, if anything."""
        nick = presence.occupant.resource
        if presence.kind == "error":
            return self._error(presence) if nick in ("", self.nick) else None
        if not nick:
            return None  # of the room itself, such as its picture
        # Without 110 only our own nick, once confirmed, is certainly us: until then it may be somebody else's.
        mine = SELF in presence.codes or (self.joined and nick == self.nick)
        if presence.kind == "available":
            return self._here(nick, presence, mine)
        return self._gone(nick, presence, mine)

    def _error(self, presence: RoomPresence) -> Event:
        refused = Refused(presence.condition, refusal(self.jid, presence))
        if not self.joined:
            return refused
        self.forget()
        return Removed(
            f"{self.jid} cannot be reached any more: {_with(presence.condition, presence.reason)}", come_back=True
        )

    def _here(self, nick: str, presence: RoomPresence, mine: bool) -> Event | None:
        if not mine:
            if len(self.others) < OCCUPANT_LIMIT:
                self.others.add(nick)
            return None
        self.others.discard(nick)
        self.nick = nick
        if self.joined:
            return None
        self.joined = True
        return Entered(nick, CREATED in presence.codes)

    def _gone(self, nick: str, presence: RoomPresence, mine: bool) -> Event | None:
        if not mine:
            self.others.discard(nick)
            return OccupantLeft(presence.occupant)
        if RENAMED in presence.codes and presence.nick:
            self.nick = presence.nick
            return None
        self.forget()
        return removal(self.jid, presence)


def refusal(room: Jid, presence: RoomPresence) -> str:
    """Return why the room did not let us in."""
    words = _JOIN_REFUSALS.get(presence.condition, "it refuses us")
    return f"{room}: {words} ({_with(presence.condition, presence.reason)})"


def message_refusal(room: Jid, condition: str, reason: str) -> str:
    """Return why a room did not take a message."""
    words = _MESSAGE_REFUSALS.get(condition, "the message came back")
    return f"{room}: {words} ({_with(condition, reason)})"


def removal(room: Jid, presence: RoomPresence) -> Removed:
    """Return why we are not in the room any more.

    307 (kick) often stands beside 332 and 333 for the sake of old clients, so those decide first.
    """
    codes = presence.codes
    by = f" by {presence.actor}" if presence.actor else ""
    why = f": {presence.reason}" if presence.reason else ""
    if SHUTDOWN in codes:
        return Removed(f"the room service of {room} was shut down{why}", come_back=True, by_room=True)
    if LOST in codes:
        return Removed(f"the connection to {room} was lost{why}", come_back=True)
    if presence.destroyed:
        other = f"; use {presence.alternative}" if presence.alternative else ""
        return Removed(f"{room} was destroyed{why}{other}", come_back=False, by_room=True)
    if BANNED in codes:
        return Removed(f"we were banned from {room}{by}{why}", come_back=False, by_room=True)
    if KICKED in codes:
        return Removed(f"we were kicked out of {room}{by}{why}", come_back=False, by_room=True)
    if codes & {NOT_MEMBER, MEMBERS_ONLY}:
        return Removed(f"{room} is for members only now, and we are none{why}", come_back=False, by_room=True)
    return Removed(f"{room} says that we have left{why}", come_back=True)


def still_in(condition: str) -> bool | None:
    """Return what an error to a ping of our own nick says (XEP-0410 section 3.2): in, out, or nothing.

    ``item-not-found`` is "in, with another nick" there. It also is what a service says of a room that it has forgotten
    (Prosody), and entering once more harms nobody who is in.
    """
    if condition in ("service-unavailable", "feature-not-implemented"):
        return True
    if condition in ("remote-server-not-found", "remote-server-timeout"):
        return None
    return False


def nicks(wanted: str) -> Iterator[str]:
    """Yield the nicks to try, the wanted one first."""
    yield wanted
    for number in range(2, NICKS + 1):
        yield f"{wanted}{number}"


def check_room(jid: Jid) -> None:
    """Refuse an address that cannot be a room's.

    Raises:
        BadJid: it has no part before the ``@``, or names an occupant.
    """
    if not jid.local:
        raise BadJid(f"{str(jid)!r} is no room: a room is written name@service")
    if not jid.is_bare:
        raise BadJid(
            f"{str(jid)!r} is an occupant of a room; write the room without /, and the nick as its own argument"
        )


def _with(condition: str, reason: str) -> str:
    return f"{condition}: {reason}" if reason else condition
