"""A room of another service as the room of a conference: each phone is in it as an occupant, a puppet. Pure.

The room sends everything to each puppet. What goes to the phones is taken from one of them, the listener; it listens
until the room has confirmed that it is out. The room deals with one thing after the other and tells of all on one
stream, so whatever was said before that reached the listener, and the next one has whatever is said afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere import puppet_stanzas
from agi_xmpp.features.conference.elsewhere.puppet import Puppet, State
from agi_xmpp.features.conference.elsewhere.puppet_crowd import PuppetCrowd
from agi_xmpp.features.conference.elsewhere.puppet_entrance import PuppetEntrance
from agi_xmpp.features.conference.elsewhere.puppet_invitations import PuppetInvitations
from agi_xmpp.features.conference.elsewhere.puppet_queue import HOLD_TIME
from agi_xmpp.features.conference.elsewhere.puppet_texts import PuppetTexts
from agi_xmpp.features.conference.invitations.answers import Tell
from agi_xmpp.features.conference.model import Invitation, Outside, Utterance
from agi_xmpp.features.conference.phones import telephone
from agi_xmpp.features.conference.room import wording
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.room import still_in


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
        self._listening = False
        self._heard = clock()  # when somebody was in last
        self._crowd = crowd = PuppetCrowd()
        self._entrance = PuppetEntrance(bridge.number, bridge.address, outside, send, crowd)
        self._texts = PuppetTexts(bridge.number, bridge.address, outside, crowd, clock)
        self._invitations = PuppetInvitations(bridge.address, send, crowd.by_address, clock)

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
        return self._crowd.phones

    @property
    def people(self) -> Collection[str]:
        """The nicks of those from chat."""
        return self._crowd.people()

    def status(self) -> dict[str, Any]:
        """Return what `agi-xmpp status` shows."""
        return {
            "room": str(self.address),
            "number": self.number,
            "title": self.title,
            "people": len(self.people),
            "phones": len(self._crowd.phones),
        }

    @property
    def problem(self) -> str:
        """Why phones are not in; "" if they are."""
        problem = next((puppet.problem for puppet in self._crowd.phones.values() if puppet.problem), "")
        return problem and f"room {self.address}: {problem}"

    # What comes from the phones' side

    def phone_joined(self, participant: Participant) -> None:
        """See `ConferenceRoom.phone_joined`."""
        if participant.channel in self._crowd.phones:
            self.phone_changed(participant)
            return
        address = self._address_of(participant)
        puppet = self._crowd.by_address.get(address)
        if puppet is None:
            puppet = self._crowd.by_address[address] = Puppet(
                self.address, address, participant, self.bridge.password, self._send, self._make_pace(), self._clock
            )
        else:  # the same call was in a moment ago
            puppet.participant, puppet.returning = participant, True
        self._crowd.phones[participant.channel] = puppet
        self._enter_if_due(puppet)

    def phone_changed(self, participant: Participant) -> None:
        """See `ConferenceRoom.phone_changed`."""
        puppet = self._crowd.phones.get(participant.channel)
        if puppet is None or puppet.participant == participant:
            return
        if self._address_of(participant) != puppet.address:  # the caller is another one, or nobody now
            self.phone_left(participant.channel)
            self.phone_joined(participant)
            return
        unmuted = puppet.participant.muted and not participant.muted
        puppet.participant = participant
        if unmuted and puppet.state is State.IN and not puppet.voice:
            self._entrance.mute(puppet)
        self._entrance.keep_in_step(puppet)

    def phone_readdressed(self, channel: str) -> None:
        """See `ConferenceRoom.phone_readdressed`. A room knows its occupants by their address: so it enters anew."""
        if (puppet := self._crowd.phones.get(channel)) is not None:
            self.phone_left(channel)
            self.phone_joined(puppet.participant)

    def phone_left(self, channel: str) -> None:
        """See `ConferenceRoom.phone_left`."""
        puppet = self._crowd.phones.pop(channel, None)
        if puppet is None:
            return
        if self._online and puppet.state in (State.ENTERING, State.IN):
            puppet.leave()
        elif puppet.state is State.LEAVING:
            puppet.returning = False
        else:
            self._crowd.forget(puppet)
        self._after()

    def phone_said(self, display: str, text: str, sender: str | None = None) -> None:
        """See `ConferenceRoom.phone_said`."""
        self._texts.phone_said(display, text, sender)

    def speaker_of(self, display: str, sender: str | None = None) -> Puppet | None:
        """Return the phone that a text is from, None if that is not certain; arguments as of `phone_said`."""
        return self._crowd.speaker_of(display, sender)

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

    # Invitations

    def phone_jid(self, participant: Participant) -> Jid | None:
        """Return the address that a phone has in the room; None if it is not in the conference."""
        puppet = self._crowd.phones.get(participant.channel)
        return puppet.address if puppet is not None else None

    def invite(self, invitation: Invitation, tell: Tell) -> None:
        """Have the room invite somebody in chat for a phone; see `PuppetInvitations.invite`."""
        self._invitations.invite(invitation, self._outside.new_id(), tell)

    def sees(self, person: Jid) -> bool:
        """Tell whether somebody in chat is in; see `PuppetCrowd.sees`."""
        return self._crowd.sees(person)

    def declined(self, stanza: Element, to: Jid) -> bool:
        """Take a refusal that the room passes on to a phone's address; return False if it is something else."""
        return stanza.tag == stanzas.MESSAGE and self._invitations.declined(stanza, to)

    # What comes from the room

    def stanza_came(self, stanza: Element, sender: Jid, to: Jid) -> bool:
        """Take a stanza from the room, or somebody in it, to a puppet; False if it is to none of ours.

        Args:
            stanza: as it came.
            sender: the room's address, with or without a nick.
            to: full JID.
        """
        puppet = self._crowd.by_address.get(to)
        if puppet is None:
            return False
        puppet.heard()
        if stanza.tag == stanzas.PRESENCE:
            self._entrance.presence_came(puppet, stanza, sender)
        elif stanza.tag == stanzas.MESSAGE:
            self._message_came(puppet, stanza, sender)
        else:
            self._iq_came(puppet, stanza)
        self._after()
        return True

    # Texts of chat

    def _message_came(self, puppet: Puppet, stanza: Element, sender: Jid) -> None:
        kind = stanza.get("type", "normal")
        if kind == "error":
            if not self._invitations.returned(stanza, puppet.address):
                self._text_returned(puppet, stanza)
        elif kind == "groupchat":
            self._said_to_all(puppet, stanza, sender.resource)
        elif not sender.resource:
            self._invitations.declined(stanza, puppet.address)
        elif (utterance := puppet_stanzas.whispered(stanza, sender)) is not None:
            self._outside.whisper(self.number, puppet.participant.channel, utterance)

    def _said_to_all(self, puppet: Puppet, stanza: Element, nick: str) -> None:
        if nick == puppet.nick:
            for id_ in puppet_stanzas.ids_of(stanza):
                self._texts.reflected(id_)
        if puppet_stanzas.subject_of(stanza) is not None and not puppet.live:
            puppet.live = True  # the one that whoever enters is told (XEP-0045 section 7.2.15)
        elif puppet is self._crowd.listener and nick not in self._crowd.own_nicks(State.IN, State.LEAVING):
            utterance = puppet_stanzas.heard(stanza, self.address, nick, self.title)
            if utterance is not None:
                self._outside.say(self.number, utterance)

    def _text_returned(self, puppet: Puppet, stanza: Element) -> None:
        """The room has not taken a text."""
        lost = self._texts.returned(stanza)
        if lost and puppet.state is State.IN:
            self._entrance.retire(puppet, lost)
            self._enter_if_due(puppet)

    # Requests

    def _iq_came(self, puppet: Puppet, stanza: Element) -> None:
        answer = telephone.answer(stanza, puppet.nick)
        if answer is not None:
            self._send(answer)
        elif puppet.is_answer(stanza.get("id", "")) and stanzas.is_error(stanza) and puppet.state is State.IN:
            condition, _words = puppet_stanzas.error_of(stanza)
            if still_in(condition) is False:
                self._entrance.retire(puppet, f"it does not know us any more ({condition})")
                self._enter_if_due(puppet)

    # The stream, and time

    def stream_began(self) -> None:
        """Let all phones enter: whether the room still has them is not known."""
        self._online = True
        self._crowd.listener = None
        for puppet in list(self._crowd.by_address.values()):
            if puppet.state is State.LEAVING and not puppet.returning:
                puppet.leave()  # the room may not have heard of that
                self._crowd.forget(puppet)
            elif puppet.state is not State.EXPELLED:
                self._entrance.enter(puppet)
        self._after()

    def stream_ended(self) -> None:
        """Nobody is in, as far as we know."""
        self._online = False
        self._crowd.listener = None
        self._texts.stream_ended()
        for puppet in self._crowd.by_address.values():
            if puppet.state in (State.ENTERING, State.IN):
                puppet.retire()
            puppet.problem, puppet.refused = "", False
        self._after()

    def tick(self) -> None:
        """Do what it is time for; to be called every few seconds."""
        if self._online:
            for puppet in list(self._crowd.by_address.values()):
                self._look_after(puppet)
        self._texts.tick()
        self._after()

    def _look_after(self, puppet: Puppet) -> None:
        if puppet.is_overdue and puppet.state is State.LEAVING:
            self._entrance.left(puppet)
        elif puppet.is_overdue:
            self._entrance.retire(puppet, "it does not answer")
        puppet.ask_if_silent(self._outside.new_id())
        self._enter_if_due(puppet)

    def close(self) -> None:
        """Let all phones leave: the room is no more that of the conference, or we stop."""
        for channel, puppet in list(self._crowd.phones.items()):
            if puppet.muted_by_us:  # nobody there can give it the word any more
                self._outside.mute(self.number, channel, False)
            self.phone_left(channel)

    # Coming and going

    def _enter_if_due(self, puppet: Puppet) -> None:
        if self._online and puppet.is_due:
            self._entrance.enter(puppet)

    def _after(self) -> None:
        """Follow up whatever has happened: who listens, whether somebody does, and what can be sent."""
        self._crowd.listen()
        if self._crowd.listener is not None:
            self._heard = self._clock()
            self._hear(self._crowd.has_people())
        elif not self._crowd.phones or self._clock() - self._heard >= HOLD_TIME:
            self._hear(False)
        self._texts.flush()

    def _hear(self, listening: bool) -> None:
        if listening != self._listening:
            self._listening = listening
            self._outside.occupancy_changed(self.number)
