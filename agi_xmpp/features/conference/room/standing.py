"""Changes of what somebody may do in a room, and of whether they may be there at all (XEP-0045 sections 8 to 10). Pure.

Whether whoever asks for a change may do so has been checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agi_xmpp.features.conference.model import Affiliation, Occupant, PhoneOccupant, Role
from agi_xmpp.features.conference.room import presences
from agi_xmpp.features.conference.room.entrance import Entrance
from agi_xmpp.features.conference.room.presences import Presences, Why
from agi_xmpp.features.conference.room.state import RoomState
from agi_xmpp.xmpp.model import Jid

#: Time for which a phone that goes has been thrown out by us. A conference takes far less; should Asterisk refuse, a
#: later hangup is one.
KICK_TIME = timedelta(seconds=10)

_HIGH = (Affiliation.OWNER, Affiliation.ADMIN)


@dataclass(frozen=True, slots=True)
class _Kick:
    """A phone that we are throwing out: how its going will be shown, and until when it counts."""

    why: Why
    until: datetime


class Standing:
    """Roles and affiliations in a room.

    Args:
        state: of the room.
        presences: tells those who are in.
        entrance: takes out who may not stay.
    """

    def __init__(self, state: RoomState, presences: Presences, entrance: Entrance) -> None:
        self._state = state
        self._presences = presences
        self._entrance = entrance
        self._kicks: dict[str, _Kick] = {}

    def set_role(self, nick: str, role: Role, actor: Occupant | None, reason: str) -> None:
        """See `Room.set_role`."""
        holder = self._state.occupants.named(nick)
        if isinstance(holder, PhoneOccupant):
            self._set_role_of_phone(holder, role, actor, reason)
        elif isinstance(holder, Occupant):
            self._set_role(holder, role, actor, reason)

    def set_affiliation(self, jid: Jid, affiliation: Affiliation, actor: Occupant | None, reason: str = "") -> None:
        """See `Room.set_affiliation`."""
        state = self._state
        if affiliation is Affiliation.NONE:
            state.affiliations.pop(jid.bare, None)
        else:
            state.affiliations[jid.bare] = affiliation
        state.on_change()
        self._note(f"{jid.bare} is {affiliation.value} now", actor, reason)
        for occupant in list(state.occupants.chat.values()):
            if occupant.affiliation is not state.affiliation_of(occupant.jid):
                self._change(occupant, state.affiliation_of(occupant.jid), actor, reason)
        if affiliation is Affiliation.OUTCAST:
            for phone in list(state.occupants.phones.values()):
                own = state.phone_jid(phone.participant)
                if own is not None and own.bare == jid.bare:
                    self._kick_phone(phone, self._why(presences.BANNED, actor, reason, Affiliation.OUTCAST))

    def members_only(self) -> None:
        """Put everybody out who is no member: the room has become members-only."""
        for occupant in list(self._state.occupants.chat.values()):
            if occupant.affiliation is Affiliation.NONE:
                self._entrance.put_out(occupant, Why(codes=(presences.NOW_MEMBERS_ONLY,)))

    def farewell_of(self, channel: str) -> Why:
        """Return how the going of a phone is to be shown; known once only."""
        kick = self._kicks.pop(channel, None)
        if kick is None or self._state.outside.now() > kick.until:
            return presences.NO_REASON
        return kick.why

    def _set_role(self, occupant: Occupant, role: Role, actor: Occupant | None, reason: str) -> None:
        if role is Role.NONE:
            self._note(f"{occupant.nick} ({occupant.jid}) was thrown out", actor, reason)
            self._entrance.put_out(occupant, self._why(presences.KICKED, actor, reason))
            return
        occupant.role = role
        self._presences.show(occupant, Why(actor=actor.nick if actor else "", reason=reason))

    def _set_role_of_phone(self, phone: PhoneOccupant, role: Role, actor: Occupant | None, reason: str) -> None:
        """Ask Asterisk; what comes of it is told when Asterisk says so."""
        channel = phone.participant.channel
        if role is Role.NONE:
            self._note(f"{phone.nick} ({channel}) is thrown out", actor, reason)
            self._kick_phone(phone, self._why(presences.KICKED, actor, reason))
        else:
            self._state.outside.mute(self._state.number, channel, role is Role.VISITOR)

    def _kick_phone(self, phone: PhoneOccupant, why: Why) -> None:
        channel = phone.participant.channel
        self._kicks[channel] = _Kick(why, self._state.outside.now() + KICK_TIME)
        self._state.outside.kick(self._state.number, channel)

    def _change(self, occupant: Occupant, affiliation: Affiliation, actor: Occupant | None, reason: str) -> None:
        """Give an occupant another affiliation, and the role that goes with it; or take them out."""
        if affiliation is Affiliation.OUTCAST:
            self._leave_with(occupant, affiliation, self._why(presences.BANNED, actor, reason))
        elif affiliation is Affiliation.NONE and self._state.config.members_only:
            self._leave_with(occupant, affiliation, self._why(presences.AFFILIATION_LOST, actor, reason))
        else:
            was_high, is_high = occupant.affiliation in _HIGH, affiliation in _HIGH
            # A role that a moderator has given stays, unless the affiliation gives more or the old one gave it.
            if was_high or is_high or (occupant.role is Role.VISITOR and affiliation is Affiliation.MEMBER):
                occupant.role = self._state.role_of(affiliation)
            occupant.affiliation = affiliation
            self._presences.show(occupant, Why(actor=actor.nick if actor else "", reason=reason))

    def _leave_with(self, occupant: Occupant, affiliation: Affiliation, why: Why) -> None:
        occupant.affiliation = affiliation
        self._entrance.put_out(occupant, why)

    @staticmethod
    def _why(code: int, actor: Occupant | None, reason: str, affiliation: Affiliation | None = None) -> Why:
        return Why(codes=(code,), actor=actor.nick if actor else "", reason=reason, affiliation=affiliation)

    def _note(self, what: str, actor: Occupant | None, reason: str) -> None:
        by = f" by {actor.nick} ({actor.jid})" if actor else ""
        self._state.outside.note(f"room {self._state.address}: {what}{by}{f': {reason}' if reason else ''}")
