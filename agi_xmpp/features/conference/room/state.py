"""What the parts of a room share: who and what it is, and how it answers. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Occupant, Outside, Role, RoomConfig
from agi_xmpp.features.conference.room.allowance import Allowance
from agi_xmpp.features.conference.room.history import History
from agi_xmpp.features.conference.room.occupants import Holder, Occupants
from agi_xmpp.xmpp.model import Jid


class Subject(NamedTuple):
    """What a room is about: the text, the nick of who set it, and when (UTC)."""

    text: str
    nick: str
    stamp: datetime


@dataclass(slots=True)
class RoomState:
    """A room's own data.

    Attributes:
        address: its bare JID.
        number: of the conference.
        config: what owners have set.
        affiliations: by bare JID; a domain stands for all its users.
        outside: the world.
        key: secret that occupant ids are made with (XEP-0421).
        phone_jid: returns a phone's own address, or None if it has none.
        on_change: called when something has changed that must outlive a restart.
        history: what was said lately.
        allowance: of everybody, in all rooms.
        occupants: who is in.
        subject: None until somebody sets one.
    """

    address: Jid
    number: str
    config: RoomConfig
    affiliations: dict[Jid, Affiliation]
    outside: Outside
    key: bytes
    phone_jid: Callable[[Participant], Jid | None]
    on_change: Callable[[], None]
    history: History
    allowance: Allowance
    occupants: Occupants = field(default_factory=Occupants)
    subject: Subject | None = None

    def at(self, nick: str) -> Jid:
        """Return the address of an occupant; that of the room itself for ""."""
        return Jid(self.address.local, self.address.domain, nick)

    def affiliation_of(self, jid: Jid) -> Affiliation:
        """Return somebody's standing: their own, else that of their domain."""
        own = self.affiliations.get(jid.bare)
        return own if own is not None else self.affiliations.get(Jid("", jid.domain), Affiliation.NONE)

    def role_of(self, affiliation: Affiliation) -> Role:
        """Return the role that somebody enters with (XEP-0045 section 5.1.2)."""
        if affiliation in (Affiliation.OWNER, Affiliation.ADMIN):
            return Role.MODERATOR
        return Role.VISITOR if self.config.moderated and affiliation is Affiliation.NONE else Role.PARTICIPANT

    def occupant_id(self, holder: Holder) -> str:
        """Return who somebody is, without saying it: the same whatever their nick (XEP-0421)."""
        if isinstance(holder, Occupant):
            return self.id_of(holder.jid)
        phone = holder.participant
        # Who withholds their number must not be known again by this, either.
        return self._digest(f"call {phone.uniqueid}" if phone.withheld else f"phone {phone.device}")

    def id_of(self, jid: Jid) -> str:
        """Return the occupant id of somebody in chat."""
        return self._digest(f"chat {jid.bare}")

    def affords(self, stanza: Element, sender: Jid, characters: int) -> bool:
        """Count what a stanza makes us send; if that is too much for its sender, refuse it and return False."""
        if self.allowance.take(sender.bare, characters):
            return True
        self.refuse(stanza, "resource-constraint", "That is too much at once: wait some seconds.")
        return False

    def refuse(self, stanza: Element, condition: str, text: str, type: str | None = None) -> None:  # noqa: A002
        """Answer a stanza with an error (see `stanzas.error`); not if it is one itself."""
        if not stanzas.is_error(stanza):
            self.outside.send(stanzas.error(stanza, condition, text, type=type, by=self.address))

    def _digest(self, who: str) -> str:
        return hmac.new(self.key, f"{self.address}\0{who}".encode(), hashlib.sha256).hexdigest()[:40]
