"""Mediated invitations (XEP-0045 section 7.8.2): a room of another service asks a phone, at its address, to come.

Who is in that room is its service's to know: so the room's word counts, but only that of a room which the settings
name, and only for phones of the user map. Numbers besides them may cost money; for these a room's word is not enough.
A room that hides its people's addresses names their nick (Prosody does): then there is nobody to ask `allow` about, and
all of them together have the limits of one person. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.elsewhere.puppets import BridgedRoom
from agi_xmpp.features.conference.invitations import answers, invitation_stanzas
from agi_xmpp.features.conference.invitations.answers import Tell
from agi_xmpp.features.conference.invitations.invitees import Invitees, Phone
from agi_xmpp.features.conference.model import Invitation
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid


class MediatedInvitations:
    """Those to the phones' addresses. Implements `StanzaHost` for the component that has them.

    Args:
        send: sends a stanza from a phone's address.
        room_at: returns the room of another service at an address, None if it is no conference's.
        allows: tells whether somebody in chat may use a room.
        invitees: whose phone is meant.
        call: calls a phone into a conference.
        refuse: tells and notes that a phone, named for people, is not called.
    """

    def __init__(
        self,
        send: Callable[[Element], None],
        room_at: Callable[[Jid], BridgedRoom | None],
        allows: Callable[[Jid, Jid], bool],
        invitees: Invitees,
        call: Callable[[BridgedRoom, Invitation, Phone, Tell], None],
        refuse: Callable[[BridgedRoom, Invitation, str, Refused, Tell], None],
    ) -> None:
        self._send = send
        self._room_at = room_at
        self._allows = allows
        self._invitees = invitees
        self._call = call
        self._refuse = refuse

    def stanza_came(self, stanza: Element) -> bool:
        """See `StanzaHost.stanza_came`. What is no such invitation is left to others."""
        if stanza.get("type") in ("error", "groupchat") or not invitation_stanzas.is_mediated(stanza):
            return False
        with answers.by_error(self._send, stanza):
            sender = parse(stanza.get("from", ""))
            if not sender.is_bare:  # somebody, in their own name: only the room itself vouches
                return False
            self._take(stanza, sender)
        return True

    def stream_began(self) -> None:
        """See `StanzaHost.stream_began`."""

    def stream_ended(self) -> None:
        """See `StanzaHost.stream_ended`."""

    def _take(self, stanza: Element, address: Jid) -> None:
        """Invite whom the message is written to.

        Raises:
            BadJid: an address of the stanza is none.
            Refused: it is from no room of a conference, or to no phone.
        """
        room, invitee = self._room_at(address), parse(stanza.get("to", "")).bare
        if room is None:
            raise Refused(f"{address} is not the room of a conference here.", "not-acceptable")
        if not invitee.local:
            raise Refused("Nobody has this address.", "item-not-found")
        inviter, reason = invitation_stanzas.read_mediated(stanza)
        invitation = Invitation(inviter, invitee, reason)
        tell = answers.by_other_room(self._send, address, inviter, invitee)
        try:
            phone = self._phone(invitation, address)
        except Refused as problem:
            self._refuse(room, invitation, str(invitee), problem, tell)
        else:
            self._call(room, invitation, phone, tell)

    def _phone(self, invitation: Invitation, room: Jid) -> Phone:
        """Return the phone that is to be called.

        Raises:
            Refused: it is not to be called, or not for the inviter.
        """
        inviter = invitation.inviter
        if inviter is not None and inviter.bare != room and not self._allows(inviter, room):
            raise Refused("Phones are not for users of your domain.", "forbidden")
        return self._invitees.by_address(invitation.invitee.local)
