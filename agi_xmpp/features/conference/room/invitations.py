"""Invitations that somebody sends by the room, and their refusals (XEP-0045 section 7.8.2). Pure."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import (
    Affiliation,
    Invitation,
    Occupant,
    PhoneOccupant,
    Role,
    Utterance,
)
from agi_xmpp.features.conference.room import allowance, nicks
from agi_xmpp.features.conference.room.standing import Standing
from agi_xmpp.features.conference.room.state import RoomState
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

#: People that one message invites at the most.
MAX_INVITED = 20

#: Characters of a reason at the most; the rest is left out.
MAX_REASON = 500

#: People whose standing a room remembers at the most: who is banned in a large room is a few, and members-only rooms
#: remember whom they invited. All are written with each change.
MAX_AFFILIATIONS = 1000

_INVITE = f"{{{stanzas.MUC_USER}}}invite"
_DECLINE = f"{{{stanzas.MUC_USER}}}decline"


class Invitations:
    """Passes invitations on, if they may be made, and refusals to who invited.

    Args:
        state: of the room.
        standing: makes members of who is invited to a members-only room.
    """

    def __init__(self, state: RoomState, standing: Standing) -> None:
        self._state = state
        self._standing = standing

    def message_came(self, stanza: Element, sender: Jid) -> bool:
        """Take a message to the room if it invites or declines; otherwise return False."""
        x = stanzas.child(stanza, stanzas.MUC_USER, "x")
        if x is None:
            return False
        invited, declined = x.findall(_INVITE), x.find(_DECLINE)
        if invited:
            self._invite(stanza, sender, invited)
        elif declined is not None:
            self._decline(stanza, sender, declined)
        return bool(invited) or declined is not None

    def invitation(self, sender: Jid | None, invitee: Jid, reason: str = "") -> Invitation:
        """Return an invitation that may be made. A room for members has the invitee as a member from then on.

        Args:
            sender: full JID of who invites; None for the dialplan, which may.
            invitee: bare JID.
            reason: given by them.

        Raises:
            Refused: it may not be made.
        """
        occupant = self._inviter(sender) if sender is not None else None
        standing = self._state.affiliation_of(invitee)
        if standing is Affiliation.OUTCAST:
            raise Refused(f"{invitee} is banned from this room.", "forbidden")
        if self._state.config.members_only and standing is Affiliation.NONE:
            if len(self._state.affiliations) >= MAX_AFFILIATIONS:
                raise Refused("This room has too many members.", "resource-constraint")
            self._standing.set_affiliation(invitee, Affiliation.MEMBER, occupant)
        return Invitation(sender, invitee, reason[:MAX_REASON], occupant.nick if occupant is not None else "")

    def check_invitee(self, invitee: Jid) -> None:
        """Ask whether a phone may invite somebody in chat: it makes nobody a member.

        Args:
            invitee: their bare JID.

        Raises:
            Refused: it may not.
        """
        standing = self._state.affiliation_of(invitee)
        if standing is Affiliation.OUTCAST:
            raise Refused(f"{invitee} is banned from this room.", "forbidden")
        if self._state.config.members_only and standing is Affiliation.NONE:
            raise Refused("Only moderators may invite to this room.", "forbidden")

    def _inviter(self, sender: Jid) -> Occupant:
        occupant = self._state.occupants.of_session(sender)
        if occupant is None:
            raise Refused("You are not in this room.", "not-acceptable")
        if self._state.config.members_only and not _may_make_members(occupant):
            raise Refused("Only moderators may invite to this room.", "forbidden")
        return occupant

    def _invite(self, stanza: Element, sender: Jid, invited: list[Element]) -> None:
        try:
            self._inviter(sender)
        except Refused as problem:
            self._state.refuse(stanza, problem.condition, str(problem))
            return
        if len(invited) > MAX_INVITED:
            self._state.refuse(stanza, "policy-violation", f"At most {MAX_INVITED} can be invited at once.")
            return
        for element in invited:
            self._invite_one(stanza, sender, element)

    def _invite_one(self, stanza: Element, sender: Jid, element: Element) -> None:
        try:
            invitation = self.invitation(sender, parse(element.get("to", "")).bare, _reason(element))
        except BadJid as error:
            self._state.refuse(stanza, "jid-malformed", f"Nobody was invited: {error}.")
        except Refused as problem:
            self._state.refuse(stanza, problem.condition, str(problem))
        else:
            self._state.outside.invite(self._state.number, invitation, stanza)

    def _decline(self, stanza: Element, sender: Jid, element: Element) -> None:
        """Tell who invited. Only those who are in: the room does not carry texts of strangers to anybody else."""
        if self._state.affiliation_of(sender) is Affiliation.OUTCAST:
            self._state.refuse(stanza, "forbidden", "You are banned from this room.")
            return
        if not self._state.affords(stanza, sender, allowance.TEXT):
            return
        try:
            inviter = parse(element.get("to", ""))
        except BadJid as error:
            self._state.refuse(stanza, "jid-malformed", f"Nobody was told: {error}.")
            return
        reason = _reason(element)
        in_chat = inviter in self._sessions_of(inviter.bare) or (inviter.is_bare and self._sessions_of(inviter))
        if in_chat:
            message = stanzas.message(self._state.address, inviter, None, stanza.get("id"))
            x = stanzas.add_muc_user(message)
            declined = stanzas.add(x, stanzas.MUC_USER, "decline", from_=sender.bare)
            if reason:
                stanzas.add(declined, stanzas.MUC_USER, "reason", reason)
            self._state.outside.send(message)
        elif (phone := self._phone(inviter)) is not None:
            told = f"{nicks.shown(str(sender.bare))} does not come{f': {reason}' if reason else '.'}"
            self._state.outside.whisper(self._state.number, phone.participant.channel, Utterance("", told))

    def _sessions_of(self, person: Jid) -> list[Jid]:
        return [full for occupant in self._state.occupants.of_person(person) for full in occupant.sessions]

    def _phone(self, jid: Jid) -> PhoneOccupant | None:
        for phone in self._state.occupants.phones.values():
            own = self._state.phone_jid(phone.participant)
            if own is not None and own.bare == jid.bare:
                return phone
        return None


def _may_make_members(occupant: Occupant) -> bool:
    return occupant.role is Role.MODERATOR or occupant.affiliation in (Affiliation.OWNER, Affiliation.ADMIN)


def _reason(element: Element) -> str:
    return (stanzas.text_of(element, stanzas.MUC_USER, "reason") or "")[:MAX_REASON]
