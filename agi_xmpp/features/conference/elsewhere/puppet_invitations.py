"""Invitations by phones in a room that is another service's: the room passes them on, or refuses to. Pure.

What the room does not let a phone do is not done in another way: no invitation goes past it (XEP-0249).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from cachetools import TTLCache

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.elsewhere import puppet_stanzas
from agi_xmpp.features.conference.elsewhere.puppet import Puppet, State
from agi_xmpp.features.conference.invitations import invitation_stanzas
from agi_xmpp.features.conference.invitations.answers import Answer, How, Tell
from agi_xmpp.features.conference.model import Invitation
from agi_xmpp.xmpp.model import Jid

#: Seconds for which it is remembered who was invited, and how many are: for refusals.
OPEN_TIME: Final = 3600.0
MAX_OPEN: Final = 1000


@dataclass(frozen=True, slots=True)
class _Open:
    """An invitation without an answer yet: the message's id, and who is told."""

    id: str
    tell: Tell


class PuppetInvitations:
    """The invitations into one room.

    Args:
        room: bare JID.
        send: sends a stanza from a phone's address.
        by_address: the puppets by full JID; not changed.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        room: Jid,
        send: Callable[[Element], None],
        by_address: Mapping[Jid, Puppet],
        clock: Callable[[], float],
    ) -> None:
        self._room = room
        self._send = send
        self._by_address = by_address
        #: By the bare JIDs of inviter and invitee.
        self._open: TTLCache[tuple[Jid, Jid], _Open] = TTLCache(MAX_OPEN, OPEN_TIME, timer=clock)
        self._keys: TTLCache[str, tuple[Jid, Jid]] = TTLCache(MAX_OPEN, OPEN_TIME, timer=clock)

    def invite(self, invitation: Invitation, id_: str, tell: Tell) -> None:
        """Have a phone's occupant ask the room to invite somebody (XEP-0045 section 7.8.2).

        Args:
            invitation: by whom, and whom.
            id_: for the message.
            tell: is told if the room does not do it, or the invitee refuses. Who comes is seen.

        Raises:
            Refused: the inviter is no phone that is in.
        """
        puppet = self._by_address.get(invitation.inviter) if invitation.inviter is not None else None
        if puppet is None:
            raise Refused(f"{self._room} is a room of another service: invite by your client there.", "not-acceptable")
        if puppet.state is not State.IN:
            raise Refused(f"You are not in the chat{puppet.problem and f': {puppet.problem}'}.", "not-acceptable")
        self._keys[id_] = key = puppet.address.bare, invitation.invitee
        self._open[key] = _Open(id_, tell)
        self._send(puppet_stanzas.invitation(puppet.address, self._room, id_, invitation.invitee, invitation.reason))

    def returned(self, stanza: Element, to: Jid) -> bool:
        """Take an error of the room; return False if it is to no invitation.

        Args:
            stanza: the error.
            to: address of the phone.
        """
        id_ = stanza.get("id", "")
        key = self._keys.get(id_)
        if key is None or key[0] != to.bare:
            return False
        del self._keys[id_]
        opened = self._open.get(key)
        if opened is not None and opened.id == id_:
            del self._open[key]
            condition, words = puppet_stanzas.error_of(stanza)
            why = f"The room does not let you invite ({condition}{f': {words}' if words else ''})."
            opened.tell(Answer.failed(str(key[1]), Refused(why, condition)))
        return True

    def declined(self, stanza: Element, to: Jid) -> bool:
        """Take a message of the room itself; return False if it is no refusal of an invitation.

        Args:
            stanza: the message.
            to: address of the phone, bare or full.
        """
        found = invitation_stanzas.read_mediated_decline(stanza)
        if found is None:
            return False
        who, reason = found
        opened = self._open.pop((to.bare, who), None)
        if opened is not None:
            opened.tell(Answer(How.DECLINED, str(who), reason))
        return True
