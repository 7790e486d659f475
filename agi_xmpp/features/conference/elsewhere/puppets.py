"""A room of another service as the room of a conference: each phone is in it as an occupant, a puppet. Pure.

The room sends everything to each puppet. What goes to the phones is taken from one of them, the listener; it listens
until the room has confirmed that it is out. The room deals with one thing after the other and tells of all on one
stream, so whatever was said before that reached the listener, and the next one has whatever is said afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere import puppet_stanzas
from agi_xmpp.features.conference.elsewhere.puppet import Puppet, State
from agi_xmpp.features.conference.elsewhere.puppet_queue import HOLD_TIME
from agi_xmpp.features.conference.elsewhere.puppet_texts import PuppetTexts
from agi_xmpp.features.conference.model import Outside, Role, Utterance
from agi_xmpp.features.conference.phones import telephone
from agi_xmpp.features.conference.room import nicks, wording
from agi_xmpp.pace import Pace
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
    still_in,
)

#: Nicks that are tried when the room says of one after the other that it is taken.
NICKS = 20

#: Refusals of one phone only; the others are the same for all.
_PERSONAL = ("conflict", "forbidden", "not-acceptable", "registration-required")


@dataclass(frozen=True, slots=True)
class Bridge:
    """Which room is that of which conference.

    Attributes:
        number: of the conference.
        address: the room's bare JID.
        title: for people.
        password: that is given at its door, or "".
    """

    number: str
    address: Jid
    title: str
    password: str = ""


class BridgedRoom:
    """The room. Implements `ConferenceRoom`.

    Args:
        bridge: which it is.
        outside: the world.
        send: sends a stanza from a phone's address.
        address_of: returns the full JID that a phone enters with.
        make_pace: makes what says when to try again.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        bridge: Bridge,
        outside: Outside,
        send: Callable[[Element], None],
        address_of: Callable[[Participant], Jid],
        make_pace: Callable[[], Pace],
        clock: Callable[[], float],
    ) -> None:
        self.bridge = bridge
        self._outside = outside
        self._send = send
        self._address_of = address_of
        self._make_pace = make_pace
        self._clock = clock
        self._online = False
        self._phones: dict[str, Puppet] = {}  # by channel
        self._puppets: dict[Jid, Puppet] = {}  # by address; those that are leaving, too
        self._listener: Puppet | None = None
        self._listening = False
        self._heard = clock()  # when somebody was in last
        self._noted: set[str] = set()  # why no phones are in: what the log has already
        self._texts = PuppetTexts(bridge.number, bridge.address, outside, self._phones, clock)

    # What it is

    @property
    def number(self) -> str:
        """See `ConferenceRoom.number`."""
        return self.bridge.number

    @property
    def title(self) -> str:
        """See `ConferenceRoom.title`."""
        return self.bridge.title

    @property
    def address(self) -> Jid:
        """See `ConferenceRoom.address`."""
        return self.bridge.address

    @property
    def has_listeners(self) -> bool:
        """True while somebody is in who is no phone of ours. While we are out, for a moment, what was true before."""
        return self._listening

    @property
    def phones(self) -> Mapping[str, Puppet]:
        """Those on phones by channel."""
        return self._phones

    def status(self) -> dict[str, Any]:
        """Return what `agi-xmpp status` shows."""
        return {
            "room": str(self.address),
            "number": self.number,
            "title": self.title,
            "people": len(self._others()),
            "phones": len(self._phones),
        }

    @property
    def problem(self) -> str:
        """Why phones are not in; "" if they are."""
        problem = next((puppet.problem for puppet in self._phones.values() if puppet.problem), "")
        return problem and f"room {self.address}: {problem}"

    # What comes from the phones' side

    def phone_joined(self, participant: Participant) -> None:
        """See `ConferenceRoom.phone_joined`."""
        if participant.channel in self._phones:
            self.phone_changed(participant)
            return
        address = self._address_of(participant)
        puppet = self._puppets.get(address)
        if puppet is None:
            puppet = self._puppets[address] = Puppet(
                self.address, address, participant, self.bridge.password, self._send, self._make_pace(), self._clock
            )
        else:  # the same call was in a moment ago
            puppet.participant, puppet.returning = participant, True
        self._phones[participant.channel] = puppet
        self._enter_if_due(puppet)

    def phone_changed(self, participant: Participant) -> None:
        """See `ConferenceRoom.phone_changed`."""
        puppet = self._phones.get(participant.channel)
        if puppet is None or puppet.participant == participant:
            return
        if self._address_of(participant) != puppet.address:  # the caller is another one, or nobody now
            self.phone_left(participant.channel)
            self.phone_joined(participant)
            return
        unmuted = puppet.participant.muted and not participant.muted
        puppet.participant = participant
        if unmuted and puppet.state is State.IN and not puppet.voice:
            self._mute(puppet)
        self._keep_in_step(puppet)

    def phone_readdressed(self, channel: str) -> None:
        """See `ConferenceRoom.phone_readdressed`. A room knows its occupants by their address: so it enters anew."""
        if (puppet := self._phones.get(channel)) is not None:
            self.phone_left(channel)
            self.phone_joined(puppet.participant)

    def phone_left(self, channel: str) -> None:
        """See `ConferenceRoom.phone_left`."""
        puppet = self._phones.pop(channel, None)
        if puppet is None:
            return
        if self._online and puppet.state in (State.ENTERING, State.IN):
            puppet.leave()
        elif puppet.state is State.LEAVING:
            puppet.returning = False
        else:
            self._forget(puppet)
        self._after()

    def phone_said(self, display: str, text: str, sender: str | None = None) -> None:
        """See `ConferenceRoom.phone_said`."""
        self._texts.phone_said(display, text, sender)

    def announce(self, text: str) -> None:
        """Tell everybody in chat something. The room's name is not ours: the first phone that may write tells it."""
        self._texts.announce(f"[{self.title}] {text}")

    def spoken(self, utterance: Utterance) -> None:
        """See `ConferenceRoom.spoken`: the room has shown it already."""

    def not_spoken(self, utterance: Utterance, reason: str) -> None:
        """See `ConferenceRoom.not_spoken`. Who wrote to all is not told: the others in chat have got it."""
        if utterance.stanza is not None:
            # With conditions that say that nobody is there, the service would take the phone for gone.
            self._send(stanzas.error(utterance.stanza, "not-acceptable", wording.for_chat(reason)))

    # What comes from the room

    def stanza_came(self, stanza: Element, sender: Jid, to: Jid) -> bool:
        """Take a stanza from the room, or somebody in it, to a puppet; False if it is to none of ours.

        Args:
            stanza: as it came.
            sender: the room's address, with or without a nick.
            to: full JID.
        """
        puppet = self._puppets.get(to)
        if puppet is None:
            return False
        puppet.heard()
        if stanza.tag == stanzas.PRESENCE:
            self._presence_came(puppet, stanza, sender)
        elif stanza.tag == stanzas.MESSAGE:
            self._message_came(puppet, stanza, sender)
        else:
            self._iq_came(puppet, stanza)
        self._after()
        return True

    def _presence_came(self, puppet: Puppet, stanza: Element, sender: Jid) -> None:
        presence = puppet_stanzas.room_presence(stanza, sender)
        nick = puppet.nick
        event = puppet.seen.take(presence)
        if presence.kind == "error" or puppet.nick != nick:
            puppet.settled()
        if puppet.state is State.LEAVING:
            if isinstance(event, Removed | Refused):
                self._left(puppet)
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

    def _entered(self, puppet: Puppet, event: Entered) -> None:
        if event.created:
            # There was no such room, and a phone shall not own one.
            self._send(puppet_stanzas.departure(puppet.address, puppet.seen.me))
            self._retire(puppet, "it does not exist: somebody has to open it")
            return
        if self._noted:
            self._noted.clear()
            self._outside.note(f"room {self.address}: phones are in again")
        puppet.entered()
        self._keep_in_step(puppet)

    def _refused(self, puppet: Puppet, event: Refused) -> None:
        if event.condition == "conflict" and len(puppet.taken) < NICKS:
            puppet.taken.add(nicks.folded(puppet.nick))
            self._enter(puppet)
        else:
            self._retire(puppet, event.text, personal=event.condition in _PERSONAL)
            puppet.refused = event.condition in FINAL or event.condition == "conflict"

    def _removed(self, puppet: Puppet, event: Removed, presence: RoomPresence) -> None:
        thrown_out = presence.codes & {KICKED, BANNED} and not presence.codes & {NOT_MEMBER, MEMBERS_ONLY}
        if thrown_out and not event.come_back and not presence.destroyed:
            puppet.expel()
            self._outside.note(f"room {self.address}: {puppet.nick}: {event.text}: the call is ended, too")
            self._outside.kick(self.number, puppet.participant.channel)
        else:
            self._retire(puppet, event.text, personal=NOT_MEMBER in presence.codes)
            puppet.refused = bool(presence.codes & {NOT_MEMBER, MEMBERS_ONLY})

    def _set_voice(self, puppet: Puppet, voice: bool) -> None:
        """Let a phone be heard if the room lets it write. One that has muted itself stays so."""
        had_voice, puppet.voice = puppet.voice, voice
        if not voice and not puppet.participant.muted and not puppet.muted_by_us:
            self._mute(puppet)
        elif voice and not had_voice and puppet.muted_by_us:
            puppet.muted_by_us = False
            self._outside.mute(self.number, puppet.participant.channel, False)

    def _mute(self, puppet: Puppet) -> None:
        puppet.muted_by_us = True
        self._outside.mute(self.number, puppet.participant.channel, True)

    # Texts of chat

    def _message_came(self, puppet: Puppet, stanza: Element, sender: Jid) -> None:
        kind = stanza.get("type", "normal")
        if kind == "error":
            self._text_returned(puppet, stanza)
        elif kind == "groupchat":
            self._said_to_all(puppet, stanza, sender.resource)
        elif sender.resource and (utterance := puppet_stanzas.whispered(stanza, sender)) is not None:
            self._outside.whisper(self.number, puppet.participant.channel, utterance)

    def _said_to_all(self, puppet: Puppet, stanza: Element, nick: str) -> None:
        if nick == puppet.nick:
            for id_ in puppet_stanzas.ids_of(stanza):
                self._texts.reflected(id_)
        if puppet_stanzas.subject_of(stanza) is not None and not puppet.live:
            puppet.live = True  # the one that whoever enters is told (XEP-0045 section 7.2.15)
        elif puppet is self._listener and nick not in self._own_nicks(State.IN, State.LEAVING):
            utterance = puppet_stanzas.heard(stanza, self.address, nick, self.title)
            if utterance is not None:
                self._outside.say(self.number, utterance)

    def _text_returned(self, puppet: Puppet, stanza: Element) -> None:
        """The room has not taken a text."""
        lost = self._texts.returned(stanza)
        if lost and puppet.state is State.IN:
            self._retire(puppet, lost)
            self._enter_if_due(puppet)

    # Requests

    def _iq_came(self, puppet: Puppet, stanza: Element) -> None:
        answer = telephone.answer(stanza, puppet.nick)
        if answer is not None:
            self._send(answer)
        elif puppet.is_answer(stanza.get("id", "")) and stanzas.is_error(stanza) and puppet.state is State.IN:
            condition, _words = puppet_stanzas.error_of(stanza)
            if still_in(condition) is False:
                self._retire(puppet, f"it does not know us any more ({condition})")
                self._enter_if_due(puppet)

    # The stream, and time

    def stream_began(self) -> None:
        """Let all phones enter: whether the room still has them is not known."""
        self._online = True
        self._listener = None
        for puppet in list(self._puppets.values()):
            if puppet.state is State.LEAVING and not puppet.returning:
                puppet.leave()  # the room may not have heard of that
                self._forget(puppet)
            elif puppet.state is not State.EXPELLED:
                self._enter(puppet)
        self._after()

    def stream_ended(self) -> None:
        """Nobody is in, as far as we know."""
        self._online = False
        self._listener = None
        self._texts.stream_ended()
        for puppet in self._puppets.values():
            if puppet.state in (State.ENTERING, State.IN):
                puppet.retire()
            puppet.problem, puppet.refused = "", False
        self._after()

    def tick(self) -> None:
        """Do what it is time for; to be called every few seconds."""
        if self._online:
            for puppet in list(self._puppets.values()):
                self._look_after(puppet)
        self._texts.tick()
        self._after()

    def _look_after(self, puppet: Puppet) -> None:
        if puppet.is_overdue and puppet.state is State.LEAVING:
            self._left(puppet)
        elif puppet.is_overdue:
            self._retire(puppet, "it does not answer")
        puppet.ask_if_silent(self._outside.new_id())
        self._enter_if_due(puppet)

    def close(self) -> None:
        """Let all phones leave: the room is no more that of the conference, or we stop."""
        for channel, puppet in list(self._phones.items()):
            if puppet.muted_by_us:  # nobody there can give it the word any more
                self._outside.mute(self.number, channel, False)
            self.phone_left(channel)

    # Coming and going

    def _enter_if_due(self, puppet: Puppet) -> None:
        if self._online and puppet.is_due:
            self._enter(puppet)

    def _enter(self, puppet: Puppet) -> None:
        puppet.enter(self._free_nick(puppet))

    def _free_nick(self, puppet: Puppet) -> str:
        """Return a nick for a phone that looks like nobody else's."""
        taken = {nicks.folded(nick) for nick in self._others()} | puppet.taken
        for other in self._puppets.values():
            if other is not puppet and other.state in (State.ENTERING, State.IN):
                taken.add(nicks.folded(other.nick))
        return nicks.unique(puppet.name, lambda nick: nicks.folded(nick) in taken)

    def _keep_in_step(self, puppet: Puppet) -> None:
        """Show of a phone that is in what it is now."""
        if puppet.state is not State.IN:
            return
        if puppet.has_renamed_phone:
            puppet.rename(self._free_nick(puppet))  # it may be the one that it has
        puppet.show()

    def _retire(self, puppet: Puppet, problem: str, *, personal: bool = False) -> None:
        """Try again later, and say why: once for each phone, or once for all if it is the same for all."""
        problem = problem.removeprefix(f"{self.address}: ")
        if personal and puppet.problem != problem:
            self._outside.note(f"room {self.address}: {puppet.nick} is not in: {problem}; trying again")
        elif not personal and problem not in self._noted:
            self._noted.add(problem)
            self._outside.note(f"room {self.address}: {problem}; trying again")
        puppet.retire(problem)

    def _left(self, puppet: Puppet) -> None:
        """A phone's occupant has left, as it wanted."""
        if puppet.returning:
            puppet.retire()
            self._enter(puppet)
        else:
            self._forget(puppet)

    def _forget(self, puppet: Puppet) -> None:
        puppet.state = State.OUT
        del self._puppets[puppet.address]

    def _after(self) -> None:
        """Follow up whatever has happened: who listens, whether somebody does, and what can be sent."""
        listener = self._listener
        if listener is None or listener.state not in (State.IN, State.LEAVING):
            self._listener = next((one for one in self._puppets.values() if one.state is State.IN), None)
        if self._listener is not None:
            self._heard = self._clock()
            own = self._own_nicks(State.ENTERING, State.IN, State.LEAVING)
            self._hear(any(nick not in own for nick in self._listener.seen.others))
        elif not self._phones or self._clock() - self._heard >= HOLD_TIME:
            self._hear(False)
        self._texts.flush()

    def _hear(self, listening: bool) -> None:
        if listening != self._listening:
            self._listening = listening
            self._outside.occupancy_changed(self.number)

    def _others(self) -> set[str]:
        """Return the nicks of those who are in and are no phone of ours."""
        if self._listener is None:
            return set()
        return self._listener.seen.others - self._own_nicks(State.ENTERING, State.IN, State.LEAVING)

    def _own_nicks(self, *states: State) -> set[str]:
        return {puppet.nick for puppet in self._puppets.values() if puppet.state in states}
