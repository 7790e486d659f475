"""The rooms (XEP-0045) that one account is in.

A membership belongs to the account, not to the call that asked for it: several calls share it, and it outlives them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import aioxmpp

from agi_xmpp.config import AccountSettings, RoomSettings
from agi_xmpp.errors import BadText, Bounced, NotConfirmed, NotConnected, NotInRoom, UsageError
from agi_xmpp.xmpp import room_stanzas
from agi_xmpp.xmpp.jid import inward, parse
from agi_xmpp.xmpp.membership import TIMING, Membership, RoomLink, State, Timing, occupant_address
from agi_xmpp.xmpp.model import Jid, RoomEntry, RoomInfo
from agi_xmpp.xmpp.room import check_room, nicks
from agi_xmpp.xmpp.text import clean_status

log = logging.getLogger("agi_xmpp.xmpp")

#: Rooms that we are out of and whose reason is remembered, for the verb that speaks there next.
REMEMBERED_REASONS = 100

#: Our nick if our address has no part before the ``@``; res_xmpp's.
DEFAULT_NICK = "asterisk"

_PRESENCES = frozenset({aioxmpp.PresenceType.AVAILABLE, aioxmpp.PresenceType.UNAVAILABLE, aioxmpp.PresenceType.ERROR})


class Rooms:
    """The rooms of one account.

    Args:
        account: its name, for the log.
        link: its connection.
        settings: of the account.
        occupant_left: is told when somebody has given up a nick in one of the rooms.
        timing: how patient we are.

    Raises:
        BadJid: a room or nick of the settings cannot be written like that.
    """

    def __init__(
        self,
        account: str,
        link: RoomLink,
        settings: AccountSettings,
        occupant_left: Callable[[Jid], None] = lambda _occupant: None,
        timing: Timing = TIMING,
    ) -> None:
        self._account = account
        self._link = link
        self._settings = settings
        self._occupant_left = occupant_left
        self._timing = timing
        self._default_nick = parse(settings.jid).local or DEFAULT_NICK
        self._configured = {_room_address(text): given for text, given in settings.room.items()}
        for room, given in self._configured.items():
            occupant_address(room, given.nick or self._default_nick)
        self._members: dict[Jid, Membership] = {}
        self._reasons: OrderedDict[Jid, str] = OrderedDict()
        self._left: set[Jid] = set()  # configured rooms that a verb has left: no login brings us back there
        self._has_session = False

    # For verbs

    async def join(self, room: str, nick: str, password: str, timeout: float) -> RoomEntry:
        """See `Session.join_room`."""
        address = _room_address(room)
        wished = occupant_address(address, nick).resource if nick else ""
        if clean_status(password) != password:
            raise BadText("the room's password holds a character that XMPP cannot carry")
        deadline = _now() + timeout
        await self._link.until_online(deadline)
        member = await self._member(address, deadline) or self._add(address)
        self._left.discard(address)
        member.wish(wished, password)
        await member.entered(deadline)
        got = member.room.nick
        another = wished and got not in nicks(wished)
        return RoomEntry(got, 1 + len(member.room.others), f"in {address} as {got} already" if another else "")

    async def leave(self, room: str, timeout: float) -> bool:
        """See `Session.leave_room`."""
        address = _room_address(room)
        if address in self._configured:
            self._left.add(address)
        member = self._members.get(address)
        if member is None:
            return False
        member.leave()
        await asyncio.wait({member.gone}, timeout=timeout)
        if not member.gone.done():
            raise NotConfirmed(f"{address} did not confirm within {timeout:g} s that we have left")
        return True

    async def send(self, room: str, body: str, message_id: str, deadline: float) -> None:
        """Say something in a room that we are in, and return when the room has told it to all, us included.

        Args:
            room: bare JID.
            body: the text, checked already.
            message_id: of the stanza.
            deadline: moment on the loop's clock.

        Raises:
            see `Session.send_to_room`.
        """
        address = _room_address(room)
        forgotten = False
        while True:
            member = await self._member(address, deadline)
            if member is None:
                raise NotInRoom(self._reasons.get(address) or f"not in {address}; jabber_join enters it")
            await member.entered(deadline)
            try:
                if await member.say(body, message_id, deadline):
                    return
            except Bounced as error:
                # Once: a room that lets us in and then does not know us would keep us busy for ever.
                if error.condition != "not-acceptable" or forgotten:
                    raise
                forgotten = True
                member.forgotten()
            if _now() >= deadline:
                raise NotConnected(f"account {self._account} could not send the message in time")

    # For the session

    def session_began(self) -> None:
        """Enter the configured rooms, and those that we were in, anew."""
        for address, given in self._configured.items():
            if given.join and address not in self._left:
                with contextlib.suppress(UsageError):  # too many rooms; it stands in the log
                    (self._members.get(address) or self._add(address)).wanted = True
        self._has_session = True
        for member in self._members.values():
            member.begin()

    def session_ended(self) -> None:
        """Note that we are in no room any more."""
        self._has_session = False
        for member in list(self._members.values()):
            member.session_ended()

    def change_to(self, settings: AccountSettings) -> list[Any]:
        """Take settings with the same rooms; return the presences that show them there."""
        self._settings = settings
        presences = [member.change_to(settings) for member in self._members.values()]
        return [presence for presence in presences if presence is not None]

    def stop(self) -> None:
        """Tell all who wait that there is no more."""
        for member in list(self._members.values()):
            member.end(f"account {self._account} is being stopped")

    def presence_came(self, presence: Any) -> bool:
        """Take a presence stanza if it is from a room. Returns False if it is not."""
        if presence.from_ is None:
            return False
        sender = inward(presence.from_)
        member = self._members.get(sender.bare)
        if member is not None:
            if presence.type_ in _PRESENCES:
                member.take(room_stanzas.room_presence(presence))
            return True
        if not room_stanzas.is_about_us(presence):
            return False
        if presence.type_ is aioxmpp.PresenceType.AVAILABLE:
            # The confirmation comes after the caller gave up: nobody wants us to be there.
            self._link.post(room_stanzas.departure(sender))
        return True

    def message_came(self, message: Any) -> bool:
        """Take a message stanza if it is a room's talk, or the refusal of ours. Returns False if it is neither."""
        sender = None if message.from_ is None else inward(message.from_)
        if message.type_ is aioxmpp.MessageType.ERROR:
            condition, reason = room_stanzas.error_of(message)
            return any(
                member.rejected(sender, message.id_ or "", condition, reason) for member in self._members.values()
            )
        if message.type_ is not aioxmpp.MessageType.GROUPCHAT:
            return False
        if sender is not None and (member := self._members.get(sender.bare)):
            member.heard(sender, room_stanzas.ids(message))
        return True

    def holds(self, address: Jid) -> bool:
        """Return True if an address is one of our rooms, or an occupant of one."""
        return address.bare in self._members

    def info(self) -> tuple[RoomInfo, ...]:
        """Return what `agi-xmpp status` shows."""
        return tuple(member.info() for member in self._members.values())

    # Details

    async def _member(self, address: Jid, deadline: float) -> Membership | None:
        """Return the membership of a room, if there is one; one that is being ended is waited out."""
        while (member := self._members.get(address)) and member.state is State.LEAVING:
            await asyncio.wait({member.gone}, timeout=max(deadline - _now(), 0.0))
            if not member.gone.done():
                raise NotConfirmed(f"{address} is being left by another call")
        return member

    def _add(self, address: Jid) -> Membership:
        """Begin a membership.

        Raises:
            UsageError: there are too many.
        """
        limit = self._settings.room_limit
        if len(self._members) >= limit:
            message = f"account {self._account} is in {limit} rooms already (room_limit)"
            log.warning("%s; %s is not entered", message, address)
            raise UsageError(message)
        given = self._configured.get(address, RoomSettings())
        member = Membership(
            self._account,
            self._link,
            self._settings,
            address,
            given.nick or self._default_nick,
            given.secret if given.sources else lambda: "",
            self._timing,
            on_end=self._ended,
            occupant_left=self._occupant_left,
        )
        self._members[address] = member
        if self._has_session:
            member.begin()
        return member

    def _ended(self, member: Membership, reason: str) -> None:
        """Forget a membership that is over."""
        address = member.room.jid
        del self._members[address]
        self._reasons[address] = reason
        self._reasons.move_to_end(address)
        if len(self._reasons) > REMEMBERED_REASONS:
            self._reasons.popitem(last=False)


def _room_address(text: str) -> Jid:
    """Return a room's address.

    Raises:
        BadJid: it is none.
    """
    address = parse(text)
    check_room(address)
    return address


def _now() -> float:
    return asyncio.get_running_loop().time()
