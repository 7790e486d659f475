"""Invitations of who is not in the room: of the dialplan (`jabber_invite`), and of who opens a conference from chat."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from typing import Final

from agi_xmpp.ami.conferences import Conferences
from agi_xmpp.errors import BadJid, Refused, UsageError
from agi_xmpp.features.conference.elsewhere.bridges import Bridges
from agi_xmpp.features.conference.elsewhere.puppets import BridgedRoom
from agi_xmpp.features.conference.invitations import answers, free_numbers
from agi_xmpp.features.conference.invitations.answers import Answer, How
from agi_xmpp.features.conference.invitations.invitees import Invitees, Phone
from agi_xmpp.features.conference.invitations.inviting import Inviting
from agi_xmpp.features.conference.model import Affiliation, Invitation
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.rooms.rooms import Rooms
from agi_xmpp.features.phone.numbers import plain
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

#: Seconds for which a room stays open that nobody who was invited has entered yet. A phone rings for 600 at the most.
OPEN_TIME: Final = 900.0

#: People that one command invites at the most.
MAX_INVITED: Final = 20

_MODERATORS = (Affiliation.OWNER, Affiliation.ADMIN)


class Convener:
    """Opens rooms and invites into them.

    Args:
        rooms: which there are.
        bridges: those of other services.
        conferences: who is in which conference by telephone.
        inviting: carries invitations out.
        invitees: whose phones can be invited.
        domain: of the rooms.
        phones_domain: of the phones' addresses; "" if they have none.
        choose: takes one of several numbers.
    """

    def __init__(
        self,
        rooms: Rooms,
        bridges: Bridges,
        conferences: Conferences,
        inviting: Inviting,
        invitees: Invitees,
        *,
        domain: str,
        phones_domain: str,
        choose: Callable[[Sequence[str]], str] = random.choice,
    ) -> None:
        self._rooms = rooms
        self._bridges = bridges
        self._conferences = conferences
        self._inviting = inviting
        self._invitees = invitees
        self._domain = domain
        self._phones_domain = phones_domain
        self._choose = choose
        self._closing: dict[str, asyncio.TimerHandle] = {}

    def stop(self) -> None:
        """Forget which rooms were to be closed."""
        for timer in self._closing.values():
            timer.cancel()
        self._closing.clear()

    # For the dialplan

    def place(self, named: str, uniqueid: str) -> Jid:
        """Return the address of the room that the dialplan means; it may be one of another service.

        Args:
            named: an address, or the number of a conference; "": the one that the caller is in.
            uniqueid: of the caller's channel.

        Raises:
            UsageError: there is none.
        """
        number = named or self._number_of_caller(uniqueid)
        if "@" in number:
            return parse(number).bare
        address = self._rooms.address_of(number)
        if address is None:
            raise UsageError(f"room={number}: conference {number} is no room (conference.rooms, conference.room)")
        return address

    def invites(self, room: Jid, invitee: Jid) -> bool:
        """Tell whether `invite` is for somebody: into our rooms it invites everybody, into others' phones only."""
        return self._is_ours(room) or (self.is_phone(invitee) and self._bridges.room_at(room) is not None)

    def is_phone(self, invitee: Jid) -> bool:
        """Tell whether an address is a phone's."""
        return bool(self._phones_domain) and invitee.domain == self._phones_domain

    async def invite(self, address: Jid, invitee: Jid, reason: str = "", wait: float = 0.0) -> Answer:
        """Invite somebody into a room; return what has come of it until then.

        Args:
            address: of the room; it is opened if need be. On another service only phones can be invited: see `invites`.
            invitee: bare JID, of chat or of a phone.
            reason: in words.
            wait: seconds to wait for an answer. Nobody waits any more: a phone goes on ringing all the same.

        Raises:
            UsageError: there is no such room.
            Refused: they may not be invited.
        """
        room = self._bridges.room_at(address) or self._rooms.room_to_enter(address)
        if room is None:
            raise UsageError(f"room={address}: there is no such room")
        last = Answer(How.SENT, str(invitee))
        done = asyncio.Event()

        def tell(answer: Answer) -> None:
            nonlocal last
            last = answer
            if answer.how is not How.SENT:
                done.set()

        if isinstance(room, Room):
            self._inviting.invite(room, room.invitation(None, invitee, reason), tell)
            self._close_later(room)
        else:
            self._inviting.invite(room, Invitation(None, invitee, reason), tell)
        if wait:
            try:
                async with asyncio.timeout(wait):
                    await done.wait()
            except TimeoutError:
                pass
        return last

    def _number_of_caller(self, uniqueid: str) -> str:
        for number in self._conferences.numbers():
            if any(one.uniqueid == uniqueid for one in self._conferences.of(number)):
                return number
        raise UsageError("no room: the caller is in no conference; say which, such as room=6000")

    # For chat

    def convene(self, asker: Jid, wanted: str, say: Callable[[str], None]) -> str:
        """Open a room, or take one that is open; invite who asks in chat, and let phones ring.

        Args:
            asker: full JID.
            wanted: the room's number or name, if it is to be a certain one, and people, separated by blanks or commas.
            say: tells the asker later why somebody does not come.

        Returns:
            What was done, in words.

        Raises:
            Refused: nobody was invited.
        """
        address, named = self._room_meant(wanted.strip())
        people = self._people(_words(named))
        own = self._invitees.by_name(str(asker.bare))
        room = self._opened(address, asker)
        if isinstance(room, Room):  # a room of another service invites for those who are in only
            self._inviting.invite(room, Invitation(None, asker.bare), answers.nobody)
            self._close_later(room)
        report = _Report(say)
        # By their numbers: who names themselves, or somebody twice, means one call.
        phones = {phone.number: phone for phone in (own, *people) if isinstance(phone, Phone)}
        for phone in phones.values():
            self._inviting.call(room, Invitation(asker, Jid(phone.local, self._phones_domain)), phone, report.tell)
        for jid in dict.fromkeys(one for one in people if isinstance(one, Jid)):
            self._invite_from_chat(room, asker, jid, report)
        return report.close(f"Conference {room.number} is the room {room.address}.")

    def _invite_from_chat(self, room: Room | BridgedRoom, asker: Jid, invitee: Jid, report: _Report) -> None:
        try:
            if isinstance(room, Room):
                room.invitation(None, invitee)
        except Refused as problem:
            report.tell(Answer.failed(str(invitee), problem))
        else:
            self._inviting.invite(room, Invitation(asker, invitee), report.tell)

    def _room_meant(self, wanted: str) -> tuple[Jid, str]:
        """Return the room, and the text that remains: who is to be invited."""
        first, _, rest = wanted.partition(" ")
        if (known := self._room_named(first)) is not None:
            return known, rest
        number = free_numbers.find(self._rooms.patterns, self._is_free, self._choose)
        address = self._rooms.address_of(number) if number is not None else None
        if address is None:
            raise Refused("There is no free number: say which conference, such as “conf 6000 ann”.", "not-acceptable")
        return address, wanted

    def _room_named(self, name: str) -> Jid | None:
        """Return the room that a word means; None if it means somebody.

        People come before rooms that could be opened; and a mistyped name of theirs opens none: only a number does.
        """
        if "@" in name:
            return self._room_written(name)
        address = self._rooms.address_of(name) if name else None
        if address is None:
            return None
        is_open = self._rooms.room_at(address) is not None or self._bridges.room_at(address) is not None
        return address if is_open or (name.isdecimal() and self._invitees.by_name(name) is None) else None

    def _room_written(self, name: str) -> Jid | None:
        """Return the room of an address that somebody has written; None if it is somebody's."""
        try:
            address = _address(name)
        except Refused:
            return None  # whoever it is to be, it is said of them what is wrong
        return address if self._is_ours(address) or self._bridges.room_at(address) is not None else None

    def _is_ours(self, room: Jid) -> bool:
        return room.domain == self._domain

    def _is_free(self, number: str) -> bool:
        address = self._rooms.address_of(number)
        is_ours = address is not None and self._is_ours(address)
        return is_ours and self._rooms.room_of_number(number) is None and not self._conferences.of(number)

    def _people(self, words: list[str]) -> list[Phone | Jid]:
        """Return who is to be invited: by telephone, or by chat who is no user with a phone."""
        if len(words) > MAX_INVITED:
            raise Refused(f"At most {MAX_INVITED} can be invited at once.", "policy-violation")
        return [self._one(word) for word in words]

    def _one(self, word: str) -> Phone | Jid:
        local, at, domain = word.rpartition("@")
        if at and domain.casefold() == self._phones_domain:
            return self._invitees.by_address(local)
        phone = self._invitees.by_name(word)
        if phone is not None:
            return phone
        if not at:
            raise Refused(f"Nobody with a phone is called “{plain(word)}”.", "item-not-found")
        return _address(word)

    def _opened(self, address: Jid, asker: Jid) -> Room | BridgedRoom:
        if not self._rooms.allows(asker, address):
            raise Refused("Conferences are not for users of your domain.", "forbidden")
        if (bridge := self._bridges.room_at(address)) is not None:
            if bridge.bridge.password and not bridge.sees(asker):
                raise Refused(f"You may not invite to {address}.", "forbidden")
            return bridge
        room = self._rooms.room_at(address)
        if room is None:
            return self._rooms.open(address, asker.bare)
        standing = room.affiliation_of(asker)
        closed = room.config.members_only or room.config.password
        if standing is Affiliation.OUTCAST or (closed and standing not in _MODERATORS):
            raise Refused(f"You may not invite to {address}.", "forbidden")
        return room

    def _close_later(self, room: Room) -> None:
        """Do not keep a room open for ever that nobody enters."""
        if (timer := self._closing.pop(room.number, None)) is not None:
            timer.cancel()
        self._closing[room.number] = asyncio.get_running_loop().call_later(OPEN_TIME, self._close, room.number)

    def _close(self, number: str) -> None:
        del self._closing[number]
        self._rooms.close_if_empty(number)


class _Report:
    """What is told to who opens a conference from chat: at once what was begun, and later why somebody does not come.

    Args:
        say: tells them a sentence later.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._invited: list[str] = []
        self._lines: list[str] = []
        self._is_closed = False

    def tell(self, answer: Answer) -> None:
        """Take an answer."""
        if not self._is_closed:
            if answer.how is How.SENT:
                self._invited.append(answer.whom)
            else:
                self._lines.append(answers.sentence(answer))
        elif answer.how is not How.JOINED:
            self._say(answers.sentence(answer))

    def close(self, heading: str) -> str:
        """Return what is told at once."""
        self._is_closed = True
        invited = [f"Invited: {', '.join(self._invited)}."] if self._invited else []
        return "\n".join([heading, *invited, *self._lines])


def _words(text: str) -> list[str]:
    """Return what was named: names with blanks are separated by commas."""
    parts = text.split(",") if "," in text else re.split(r"\s+", text)
    return [part.strip() for part in parts if part.strip()]


def _address(text: str) -> Jid:
    try:
        return parse(text).bare
    except BadJid as problem:
        raise Refused(f"{problem}.", "jid-malformed") from None
