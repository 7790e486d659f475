"""How phones come into a room that is another service's and go, and what the room makes of them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference.elsewhere import puppet_stanzas
from agi_xmpp.features.conference.elsewhere.puppet import Puppet, State
from agi_xmpp.features.conference.elsewhere.puppet_crowd import PuppetCrowd
from agi_xmpp.features.conference.model import Outside, Role
from agi_xmpp.features.conference.room import nicks
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.room import (
    BANNED,
    FINAL,
    KICKED,
    MEMBERS_ONLY,
    NOT_MEMBER,
    SELF,
    Entered,
    Refused,
    Removed,
    RoomPresence,
)

#: Nicks that are tried when the room says of one after the other that it is taken.
NICKS = 20

#: Refusals of one phone only; the others are the same for all.
_PERSONAL = ("conflict", "forbidden", "not-acceptable", "registration-required")


class PuppetEntrance:
    """The door of one room.

    Args:
        number: of the conference.
        room: bare JID.
        outside: the world.
        send: sends a stanza from a phone's address.
        crowd: the puppets.
    """

    def __init__(
        self, number: str, room: Jid, outside: Outside, send: Callable[[Element], None], crowd: PuppetCrowd
    ) -> None:
        self._number = number
        self._room = room
        self._outside = outside
        self._send = send
        self._crowd = crowd
        self._noted: set[str] = set()  # why no phones are in: what the log has already

    # What we do

    def enter(self, puppet: Puppet) -> None:
        """Let a phone go in."""
        self._crowd.entering()
        puppet.enter(self._crowd.free_nick(puppet))

    def keep_in_step(self, puppet: Puppet) -> None:
        """Show of a phone that is in what it is now."""
        if puppet.state is not State.IN:
            return
        if puppet.has_renamed_phone:
            puppet.rename(self._crowd.free_nick(puppet))  # it may be the one that it has
        puppet.show()

    def retire(self, puppet: Puppet, problem: str, *, personal: bool = False) -> None:
        """Try again later, and say why: once for each phone, or once for all if it is the same for all."""
        problem = problem.removeprefix(f"{self._room}: ")
        if personal and puppet.problem != problem:
            self._outside.note(f"room {self._room}: {puppet.nick} is not in: {problem}; trying again")
        elif not personal and problem not in self._noted:
            self._noted.add(problem)
            self._outside.note(f"room {self._room}: {problem}; trying again")
        puppet.retire(problem)

    def left(self, puppet: Puppet) -> None:
        """A phone's occupant has left, as it wanted."""
        if puppet.returning:
            puppet.retire()
            self.enter(puppet)
        else:
            self._crowd.forget(puppet)

    def mute(self, puppet: Puppet) -> None:
        """Let nobody hear a phone that the room does not let write."""
        puppet.muted_by_us = True
        self._outside.mute(self._number, puppet.participant.channel, True)

    # What the room says

    def presence_came(self, puppet: Puppet, stanza: Element, sender: Jid) -> None:
        """Take a presence: of the puppet itself, or of somebody else who comes or goes."""
        presence = puppet_stanzas.room_presence(stanza, sender)
        nick = puppet.nick
        event = puppet.seen.take(presence)
        self._note_address(stanza, presence)
        if presence.kind == "error" or puppet.nick != nick:
            puppet.settled()
        if puppet.state is State.LEAVING:
            if isinstance(event, Removed | Refused):
                self.left(puppet)
        elif isinstance(event, Entered) and puppet.state is State.ENTERING:
            self._entered(puppet, event)
        elif isinstance(event, Refused) and puppet.state is State.ENTERING:
            self._refused(puppet, event)
        elif isinstance(event, Removed) and puppet.state is State.ENTERING and presence.codes <= {SELF}:
            pass  # that was our own departure, before it came back
        elif isinstance(event, Removed) and puppet.state in (State.ENTERING, State.IN):
            self._removed(puppet, event, presence)
        if puppet.state is State.IN and presence.kind == "available" and sender.resource == puppet.nick:
            self._set_voice(puppet, puppet_stanzas.role_of(stanza) != Role.VISITOR.value)

    def _note_address(self, stanza: Element, presence: RoomPresence) -> None:
        if presence.kind == "unavailable":
            self._crowd.went(presence.occupant.resource)
        elif presence.kind == "available" and (address := puppet_stanzas.address_of(stanza)) is not None:
            self._crowd.came(presence.occupant.resource, address)

    def _entered(self, puppet: Puppet, event: Entered) -> None:
        if event.created:
            # There was no such room, and a phone shall not own one.
            self._send(puppet_stanzas.departure(puppet.address, puppet.seen.me))
            self.retire(puppet, "it does not exist: somebody has to open it")
            return
        if self._noted:
            self._noted.clear()
            self._outside.note(f"room {self._room}: phones are in again")
        puppet.entered()
        self.keep_in_step(puppet)

    def _refused(self, puppet: Puppet, event: Refused) -> None:
        if event.condition == "conflict" and len(puppet.taken) < NICKS:
            puppet.taken.add(nicks.folded(puppet.nick))
            self.enter(puppet)
        else:
            self.retire(puppet, event.text, personal=event.condition in _PERSONAL)
            puppet.refused = event.condition in FINAL or event.condition == "conflict"

    def _removed(self, puppet: Puppet, event: Removed, presence: RoomPresence) -> None:
        thrown_out = presence.codes & {KICKED, BANNED} and not presence.codes & {NOT_MEMBER, MEMBERS_ONLY}
        if thrown_out and not event.come_back and not presence.destroyed:
            puppet.expel()
            self._outside.note(f"room {self._room}: {puppet.nick}: {event.text}: the call is ended, too")
            self._outside.kick(self._number, puppet.participant.channel)
        else:
            self.retire(puppet, event.text, personal=NOT_MEMBER in presence.codes)
            puppet.refused = bool(presence.codes & {NOT_MEMBER, MEMBERS_ONLY})

    def _set_voice(self, puppet: Puppet, voice: bool) -> None:
        """Let a phone be heard if the room lets it write. One that has muted itself stays so."""
        had_voice, puppet.voice = puppet.voice, voice
        if not voice and not puppet.participant.muted and not puppet.muted_by_us:
            self.mute(puppet)
        elif voice and not had_voice and puppet.muted_by_us:
            puppet.muted_by_us = False
            self._outside.mute(self._number, puppet.participant.channel, False)
