"""The puppets of one room: who they are, which of them listens, and who else is in. Pure."""

from __future__ import annotations

from agi_xmpp.features.conference.elsewhere.puppet import Puppet, State
from agi_xmpp.features.conference.room import nicks
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.room import OCCUPANT_LIMIT

#: Where a puppet is whose nick nobody else has, as far as the room has told.
_HAS_NICK = (State.ENTERING, State.IN, State.LEAVING)


class PuppetCrowd:
    """The puppets.

    Attributes:
        phones: those of phones that are in the conference, by channel.
        by_address: all by full JID, also those that are leaving.
        listener: the one whose copy of what is said counts; None if nobody is in.
    """

    def __init__(self) -> None:
        self.phones: dict[str, Puppet] = {}
        self.by_address: dict[Jid, Puppet] = {}
        self.listener: Puppet | None = None
        self._addresses: dict[str, Jid] = {}  # bare, by nick, where the room shows them

    def listen(self) -> None:
        """Have one listen that is in. It goes on until the room has confirmed that it is out."""
        if self.listener is None or self.listener.state not in (State.IN, State.LEAVING):
            self.listener = next((one for one in self.by_address.values() if one.state is State.IN), None)

    def forget(self, puppet: Puppet) -> None:
        """A puppet is gone for good."""
        puppet.state = State.OUT
        del self.by_address[puppet.address]

    def own_nicks(self, *states: State) -> set[str]:
        """Return the nicks of puppets that are in one of the states."""
        return {puppet.nick for puppet in self.by_address.values() if puppet.state in states}

    def people(self) -> set[str]:
        """Return the nicks of those who are in and are no phone of ours."""
        if self.listener is None:
            return set()
        return self.listener.seen.others - self.own_nicks(*_HAS_NICK)

    def has_people(self) -> bool:
        """Tell whether somebody is in who is no phone of ours."""
        if self.listener is None:
            return False
        own = self.own_nicks(*_HAS_NICK)
        return any(nick not in own for nick in self.listener.seen.others)

    def free_nick(self, puppet: Puppet) -> str:
        """Return a nick for a phone that looks like nobody else's."""
        taken = {nicks.folded(nick) for nick in self.people()} | puppet.taken
        for other in self.by_address.values():
            if other is not puppet and other.state in (State.ENTERING, State.IN):
                taken.add(nicks.folded(other.nick))
        return nicks.unique(puppet.name, lambda nick: nicks.folded(nick) in taken)

    def speaker_of(self, display: str, sender: str | None = None) -> Puppet | None:
        """Return whose text it is, None if that is not certain; arguments as of `ConferenceRoom.phone_said`."""
        if sender is not None:
            return self.phones.get(sender)
        participant = nicks.speaker((puppet.participant for puppet in self.phones.values()), display)
        return self.phones[participant.channel] if participant is not None else None

    # Who the others are: rooms tell everybody, or moderators only

    def entering(self) -> None:
        """A puppet is going in, and will be told who is there: if nobody else is in, that is all we know."""
        if self.listener is None:
            self._addresses.clear()

    def came(self, nick: str, address: Jid) -> None:
        """The room has shown the address of somebody who is in."""
        if len(self._addresses) < OCCUPANT_LIMIT or nick in self._addresses:
            self._addresses[nick] = address.bare

    def went(self, nick: str) -> None:
        """Somebody has left, or has another nick now."""
        self._addresses.pop(nick, None)

    def sees(self, person: Jid) -> bool:
        """Tell whether somebody is in, by their bare JID. Where the room shows no addresses, nobody is seen."""
        return self.listener is not None and person.bare in self._addresses.values()
