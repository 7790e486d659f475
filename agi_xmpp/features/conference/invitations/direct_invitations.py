"""Direct invitations (XEP-0249): somebody in a conference's room writes to a phone's address that it may come.

That is how Gajim invites into rooms for everybody; other clients ask the room (XEP-0045 section 7.8.2). Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.puppets import BridgedRoom
from agi_xmpp.features.conference.invitations import answers, invitation_stanzas
from agi_xmpp.features.conference.invitations.answers import Answer, Tell
from agi_xmpp.features.conference.model import Invitation
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid


class DirectInvitations:
    """Those to the phones' addresses. Implements `StanzaHost` for the component that has them.

    Args:
        send: sends a stanza from a phone's address.
        send_from_room: sends a stanza from a room of ours.
        room_at: returns the room at an address, None if there is none of ours.
        bridge_at: returns the room of another service at an address, None if it is no conference's.
        allows: tells whether somebody in chat may use a room.
        invite: carries an invitation out.
    """

    def __init__(
        self,
        send: Callable[[Element], None],
        send_from_room: Callable[[Element], None],
        room_at: Callable[[Jid], Room | None],
        bridge_at: Callable[[Jid], BridgedRoom | None],
        allows: Callable[[Jid, Jid], bool],
        invite: Callable[[Room | BridgedRoom, Invitation, Tell], None],
    ) -> None:
        self._send = send
        self._send_from_room = send_from_room
        self._room_at = room_at
        self._bridge_at = bridge_at
        self._allows = allows
        self._invite = invite

    def stanza_came(self, stanza: Element) -> bool:
        """See `StanzaHost.stanza_came`. What is no invitation is left to others."""
        if stanza.tag != stanzas.MESSAGE or stanza.get("type") in ("error", "groupchat"):
            return False
        with answers.by_error(self._send, stanza):
            found = invitation_stanzas.read_direct(stanza)
            if found is None:
                return False
            self._take(stanza, *found)
        return True

    def stream_began(self) -> None:
        """See `StanzaHost.stream_began`."""

    def stream_ended(self) -> None:
        """See `StanzaHost.stream_ended`."""

    def _take(self, stanza: Element, address: Jid, reason: str) -> None:
        """Invite whom the message is written to.

        Raises:
            BadJid: an address of the stanza is none.
            Refused: its sender is not in the room.
        """
        sender, invitee = parse(stanza.get("from", "")), parse(stanza.get("to", "")).bare
        if not invitee.local:
            raise Refused("Nobody has this address.", "item-not-found")
        if (bridge := self._bridge_at(address)) is not None and self._may_invite(sender, bridge):
            tell = answers.by_other_room(self._send, address, sender, invitee)
            self._invite(bridge, Invitation(sender, invitee, reason), tell)
            return
        room = self._room_at(address)
        if room is None or room.occupant_of(sender) is None:
            # The same in all cases: nobody finds out by asking which rooms there are.
            raise Refused(f"As far as can be seen here, you are not in {address}.", "not-acceptable")
        tell = answers.by_refusal(self._send_from_room, address, sender, invitee, stanza)
        try:
            invitation = room.invitation(sender, invitee, reason)
        except Refused as problem:
            tell(Answer.failed(str(invitee), problem))
        else:
            self._invite(room, invitation, tell)

    def _may_invite(self, sender: Jid, bridge: BridgedRoom) -> bool:
        """Tell whether somebody is in a room of another service: it must show their address, and a phone must be in."""
        return self._allows(sender, bridge.address) and bridge.sees(sender)
