"""Carries invitations out: people in chat get a message from the room, phones are called into the conference.

Whether somebody may invite at all has been checked (`Room.invitation`); here it is whom they may reach, and how often.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from cachetools import TTLCache

from agi_xmpp.ami import invitations as calls
from agi_xmpp.ami.conferences import Participant
from agi_xmpp.ami.invitations import Inviter, Joined, Outcome, Place, Unreachable
from agi_xmpp.background import Background
from agi_xmpp.errors import AmiError, AmiNotConnected, AmiUnknown, BadJid, Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.puppets import BridgedRoom
from agi_xmpp.features.conference.invitations import invitation_stanzas
from agi_xmpp.features.conference.invitations.answers import Answer, How, Tell
from agi_xmpp.features.conference.invitations.invitees import Invitees, Phone
from agi_xmpp.features.conference.model import ConferenceRoom, Invitation, Outside
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.quota import Quota
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

log = logging.getLogger("agi_xmpp.conference")

#: Invitations of one person within `PERIOD` seconds; a whole department, and no flood.
MAX_INVITATIONS, PERIOD = 60, 60.0

#: Phones that ring at once for one person, and for all. Each is a call in Asterisk.
MAX_RINGING, MAX_RINGING_OF_ALL = 20, 200

#: Seconds for which it is remembered who was invited from chat, and how many are: for those who wait for an answer.
OPEN_TIME: Final = 3600.0
MAX_OPEN: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Open:
    """An invitation of somebody in chat that has no answer yet: the message's id, and who is told."""

    id: str
    invitation: Invitation
    tell: Tell


class Inviting:
    """The invitations of one installation.

    Args:
        outside: sends, writes the log, makes ids.
        inviter: calls phones; it is given the events of the manager connection by its owner.
        invitees: whose phone is meant.
        phones_domain: of the phones' addresses; "" if they have none.
        context: of the dialplan, where a phone goes that is picked up.
        ring_time: seconds that a phone may ring.
        participants: returns who is in a conference by telephone.
        allows: tells whether somebody in chat may use a room of ours.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        outside: Outside,
        inviter: Inviter,
        invitees: Invitees,
        *,
        phones_domain: str,
        context: str,
        ring_time: float,
        participants: Callable[[str], Sequence[Participant]],
        allows: Callable[[Jid, Jid], bool],
        clock: Callable[[], float],
    ) -> None:
        self._outside = outside
        self._inviter = inviter
        self._invitees = invitees
        self._phones_domain = phones_domain
        self._context = context
        self._ring_time = ring_time
        self._participants = participants
        self._allows = allows
        self._quota = Quota(MAX_INVITATIONS, PERIOD, clock)
        #: Who invited each phone that rings, by conference and number.
        self._ringing: dict[tuple[str, str], Jid | None] = {}
        #: By room and invitee.
        self._open: TTLCache[tuple[Jid, Jid], _Open] = TTLCache(MAX_OPEN, OPEN_TIME, timer=clock)
        self._background = Background(log, "invitations")

    def apply(self, *, context: str, ring_time: float) -> None:
        """Use other settings for the invitations that come; arguments as of the class."""
        self._context = context
        self._ring_time = ring_time

    async def stop(self) -> None:
        """Forget all. Phones that ring go on until they are picked up or their time is over."""
        await self._background.stop()

    def invite(self, room: Room | BridgedRoom, invitation: Invitation, tell: Tell) -> None:
        """Invite whom an address means: a phone, or somebody in chat. What comes of it is told in any case."""
        invitee = invitation.invitee
        try:
            if self._phones_domain and invitee.domain == self._phones_domain:
                patterns = self._invitees.patterns_of(invitation.inviter)
                self._call(room, invitation, self._invitees.by_address(invitee.local, patterns), tell)
            elif isinstance(room, BridgedRoom):
                self._have_room_write(room, invitation, tell)
            else:
                self._write(room, invitation, tell)
        except Refused as problem:
            self.refuse(room, invitation, str(invitee), problem, tell)

    def call(self, room: ConferenceRoom, invitation: Invitation, phone: Phone, tell: Tell) -> None:
        """Invite a phone that is known, whatever address the invitation has."""
        try:
            self._call(room, invitation, phone, tell)
        except Refused as problem:
            self.refuse(room, invitation, phone.name, problem, tell)

    def refuse(self, room: ConferenceRoom, invitation: Invitation, whom: str, problem: Refused, tell: Tell) -> None:
        """Carry an invitation not out, and say so; ``whom`` is the invitee's name for people."""
        self._note(room, invitation, whom, f"refused: {problem}")
        tell(Answer.failed(whom, problem))

    # What comes back from chat

    def message_came(self, message: Element) -> bool:
        """Look at a message to a room. Returns True if it is an error that belongs to an invitation, and dealt with."""
        if not self._open or message.get("type") == "groupchat":
            return False
        try:
            key = parse(message.get("to", "")).bare, parse(message.get("from", "")).bare
        except BadJid:
            return False
        found = self._open.get(key)
        if found is None:
            return False
        whom = str(found.invitation.invitee)
        if stanzas.is_error(message):
            if message.get("id") != found.id:
                return False
            condition = stanzas.condition_of(message) or "undefined-condition"
            self._settle(key, Answer.failed(whom, Refused(f"{whom} cannot be reached ({condition}).", condition)))
            return True
        reason = invitation_stanzas.read_decline(message)
        if reason is not None:
            # The room itself tells who is in it; the dialplan is not.
            self._settle(key, Answer(How.DECLINED, whom, reason), tell=found.invitation.inviter is None)
        return False

    def occupancy_changed(self, room: Room) -> None:
        """Somebody in chat has come or gone."""
        if not self._open:
            return
        for occupant in room.occupants.values():
            key = room.address, occupant.jid.bare
            if key in self._open:
                self._settle(key, Answer(How.JOINED, str(occupant.jid.bare)))

    def _settle(self, key: tuple[Jid, Jid], answer: Answer, *, tell: bool = True) -> None:
        found = self._open.pop(key)
        if tell:
            found.tell(answer)

    # Chat

    def _write(self, room: Room, invitation: Invitation, tell: Tell) -> None:
        invitee = invitation.invitee
        if not self._allows(invitee, room.address):
            raise Refused(f"{invitee} may not enter: this service is not for users of that domain.", "forbidden")
        if any(occupant.jid.bare == invitee for occupant in room.occupants.values()):
            self._note(room, invitation, str(invitee), "is in already")
            tell(Answer(How.JOINED, str(invitee)))
            return
        self._spend(invitation.inviter)
        message_id = self._outside.new_id()
        self._open[room.address, invitee] = _Open(message_id, invitation, tell)
        self._outside.send(
            invitation_stanzas.from_room(
                room.address, invitee, invitation.inviter, invitation.reason, room.config.password, message_id
            )
        )
        self._note(room, invitation, str(invitee), "is told in chat")
        tell(Answer(How.SENT, str(invitee)))

    def _have_room_write(self, room: BridgedRoom, invitation: Invitation, tell: Tell) -> None:
        self._spend(invitation.inviter)
        room.invite(invitation, tell)
        self._note(room, invitation, str(invitation.invitee), "the room is asked to")
        tell(Answer(How.SENT, str(invitation.invitee)))

    # Phones

    def _call(self, room: ConferenceRoom, invitation: Invitation, phone: Phone, tell: Tell) -> None:
        if phone.number == room.number:
            raise Refused("That is this conference itself.", "not-acceptable")
        if self._is_in(room.number, phone):
            self._note(room, invitation, phone.name, "is in already")
            tell(Answer(How.JOINED, phone.name))
            return
        key = room.number, phone.number
        if key in self._ringing:
            raise Refused(f"The phone of {phone.name} rings for this conference already.", "conflict")
        of_inviter = sum(inviter == _bare(invitation.inviter) for inviter in self._ringing.values())
        most = MAX_RINGING if invitation.inviter is not None else MAX_RINGING_OF_ALL
        if of_inviter >= most or len(self._ringing) >= MAX_RINGING_OF_ALL:
            raise Refused("Too many phones ring at once: wait until some have been picked up.", "resource-constraint")
        self._spend(invitation.inviter)
        self._ringing[key] = _bare(invitation.inviter)
        self._background.spawn(self._ring(room, invitation, phone, tell))
        tell(Answer(How.SENT, phone.name))

    async def _ring(self, room: ConferenceRoom, invitation: Invitation, phone: Phone, tell: Tell) -> None:
        try:
            answer = _answer(phone, await self._first_reached(room, invitation, phone))
        except AmiError as error:
            log.error("room %s: %s was not invited: %s", room.address, phone.name, error)
            answer = Answer.failed(phone.name, _why_not(error))
        finally:
            del self._ringing[room.number, phone.number]
        said = f"{answer.how.value}{f': {answer.reason}' if answer.reason else ''}"
        self._note(room, invitation, f"{phone.name} ({phone.number})", said)
        tell(answer)

    async def _first_reached(self, room: ConferenceRoom, invitation: Invitation, phone: Phone) -> Outcome:
        """Call somebody's phones, one after the other, until one can be reached."""
        place = Place(self._context, room.number, room.title)
        referred_by = f"xmpp:{invitation.inviter.bare}" if invitation.inviter is not None else ""
        outcome: Outcome = Unreachable("there is no such phone")
        for device in phone.devices:
            outcome = await self._inviter.invite(device, place, referred_by=referred_by, ring_time=self._ring_time)
            if not isinstance(outcome, Unreachable):
                break
        return outcome

    def _is_in(self, number: str, phone: Phone) -> bool:
        devices = {device.casefold() for device in phone.devices}
        known = (one for one in self._participants(number) if not one.withheld)  # nobody finds out by inviting
        return any(one.device.casefold() in devices or one.number == phone.number for one in known)

    # Details

    def _spend(self, inviter: Jid | None) -> None:
        """Count an invitation; the dialplan may make as many as it likes.

        Raises:
            Refused: those were too many.
        """
        who = _bare(inviter)
        if who is None:
            return
        if not self._quota.allows(who, 1):
            raise Refused("Those were too many invitations: wait a minute.", "policy-violation")
        self._quota.spend(who, 1)

    def _note(self, room: ConferenceRoom, invitation: Invitation, whom: str, what: str) -> None:
        who = invitation.inviter
        if who is not None and who.bare != room.address:  # a nick is all that is known of who is hidden by their room
            who = who.bare
        self._outside.note(f"room {room.address}: {who or 'the telephone system'} invites {whom}: {what}")


def _bare(jid: Jid | None) -> Jid | None:
    return jid.bare if jid is not None else None


def _answer(phone: Phone, outcome: Outcome) -> Answer:
    match outcome:
        case Joined():
            return Answer(How.JOINED, phone.name)
        case calls.NoAnswer():
            return Answer(How.DECLINED, phone.name, "No answer")
        case calls.Refused(reason):
            return Answer(How.DECLINED, phone.name, reason)
        case Unreachable(reason):
            return Answer(How.DECLINED, phone.name, f"Cannot be reached: {reason}")


def _why_not(error: AmiError) -> Refused:
    if isinstance(error, AmiNotConnected):
        return Refused("The telephone system is out of reach: try again later.", "remote-server-timeout")
    if isinstance(error, AmiUnknown):
        return Refused(
            "The telephone system does not say what became of it; the phone may ring still.", "remote-server-timeout"
        )
    return Refused("The telephone system does not take invitations; its log says more.", "internal-server-error")
