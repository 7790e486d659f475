"""A room: people in chat and phones in one conference (XEP-0045). Pure.

This is what the others see of it; the parts are `entrance` (who comes and goes), `presences` (what each is told of the
others), `conversation` (texts), `standing` (what somebody may do), `relay` (requests) and `invitations`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import (
    Affiliation,
    Archived,
    Invitation,
    Occupant,
    Outside,
    PhoneOccupant,
    Role,
    RoomConfig,
    Utterance,
)
from agi_xmpp.features.conference.room import entrance, nicks, presences
from agi_xmpp.features.conference.room.allowance import Allowance
from agi_xmpp.features.conference.room.conversation import Conversation
from agi_xmpp.features.conference.room.entrance import Entrance
from agi_xmpp.features.conference.room.history import History
from agi_xmpp.features.conference.room.invitations import Invitations
from agi_xmpp.features.conference.room.presences import Presences, Why
from agi_xmpp.features.conference.room.relay import Relay
from agi_xmpp.features.conference.room.standing import Standing
from agi_xmpp.features.conference.room.state import RoomState, Subject
from agi_xmpp.xmpp.model import Jid

_STOPS = "This room's service stops for now. Enter again when it is back."


def _nothing() -> None:
    pass


def _no_address(_participant: Participant) -> Jid | None:
    return None


class Room:
    """A room that is one with a conference. Implements `ConferenceRoom`.

    Args:
        address: its bare JID.
        number: of the conference.
        config: what it is like.
        affiliations: who is what, by bare JID; changed in place.
        outside: the world.
        key: secret of at least 16 bytes; occupant ids (XEP-0421) are made with it and stay the same as long as it does.
        history: messages that whoever joins is shown.
        phone_jid: returns a phone's own address, for moderators; None if it has none.
        on_change: called when the subject, the configuration or an affiliation has changed.
        allowance: of everybody in all rooms of the service; None if there is no other room.
    """

    def __init__(
        self,
        address: Jid,
        number: str,
        config: RoomConfig,
        affiliations: dict[Jid, Affiliation],
        outside: Outside,
        *,
        key: bytes,
        history: int,
        phone_jid: Callable[[Participant], Jid | None] = _no_address,
        on_change: Callable[[], None] = _nothing,
        allowance: Allowance | None = None,
    ) -> None:
        allowance = allowance or Allowance(lambda: outside.now().timestamp())
        self._state = RoomState(
            address, number, config, affiliations, outside, key, phone_jid, on_change, History(history), allowance
        )
        self._presences = Presences(self._state)
        self._relay = Relay(self._state)
        self._entrance = Entrance(self._state, self._presences, self._relay.client_left)
        self._standing = Standing(self._state, self._presences, self._entrance)
        self._invitations = Invitations(self._state, self._standing)
        self._conversation = Conversation(self._state, self._entrance, self._invitations)

    # What it is

    @property
    def address(self) -> Jid:
        """Its bare JID."""
        return self._state.address

    @property
    def number(self) -> str:
        """Of the conference in Asterisk."""
        return self._state.number

    @property
    def title(self) -> str:
        """For people."""
        return self._state.config.title

    @property
    def config(self) -> RoomConfig:
        """What it is like; changed by `set_config`."""
        return self._state.config

    @property
    def affiliations(self) -> Mapping[Jid, Affiliation]:
        """Who is what, by bare JID; changed by `set_affiliation`."""
        return self._state.affiliations

    @property
    def occupants(self) -> Mapping[str, Occupant]:
        """Those from chat by nick."""
        return self._state.occupants.chat

    @property
    def people(self) -> Collection[str]:
        """The nicks of those from chat."""
        return self.occupants.keys()

    @property
    def phones(self) -> Mapping[str, PhoneOccupant]:
        """Those on phones by channel."""
        return self._state.occupants.phones

    @property
    def subject(self) -> Subject | None:
        """What it is about; None if nobody ever said."""
        return self._state.subject

    @property
    def has_listeners(self) -> bool:
        """True while somebody is in from chat."""
        return bool(self._state.occupants.chat)

    def affiliation_of(self, jid: Jid) -> Affiliation:
        """Return somebody's standing: their own, else that of their domain."""
        return self._state.affiliation_of(jid)

    def is_banned(self, invitee: Jid) -> bool:
        """Tell whether somebody must not come in."""
        return self.affiliation_of(invitee) is Affiliation.OUTCAST

    def occupant_of(self, full: Jid) -> Occupant | None:
        """Return the occupant that a client belongs to, or None if it is not in."""
        return self._state.occupants.of_session(full)

    def holder_of(self, nick: str) -> Occupant | PhoneOccupant | None:
        """Return who has a nick, from chat or by telephone."""
        return self._state.occupants.named(nick)

    def phone_jid(self, participant: Participant) -> Jid | None:
        """Return a phone's own address, or None if it has none."""
        return self._state.phone_jid(participant)

    def restore_subject(self, text: str, nick: str, stamp: datetime) -> None:
        """Take the subject up that was set before a restart: its text, the nick of who set it, and when (UTC)."""
        self._state.subject = Subject(text, nick, stamp)

    def load_history(self, messages: Iterable[Archived]) -> None:
        """Take up what was said before a restart, the oldest first."""
        for message in messages:
            self._state.history.add(message)

    def resize_history(self, length: int) -> None:
        """Show whoever joins that many messages at the most from now on."""
        self._state.history.resize(length)

    # What comes from chat

    def presence_came(self, stanza: Element, sender: Jid, nick: str, *, created: bool = False) -> None:
        """Take a presence: somebody comes, changes nick or show, or goes; or an error comes back.

        Args:
            stanza: as it came.
            sender: full JID.
            nick: that it went to, prepared; "" for the room itself.
            created: the room was made for it: say so to its owner (status 201).
        """
        self._entrance.presence_came(stanza, sender, nick, created=created)

    def message_came(self, stanza: Element, sender: Jid, nick: str) -> None:
        """Take a message to all (``nick`` is ""), or to one; an invitation, a subject, or an error.

        Args:
            stanza: as it came.
            sender: full JID.
            nick: that it went to, prepared; "" for the room itself.
        """
        self._conversation.message_came(stanza, sender, nick)

    def iq_came(self, stanza: Element, sender: Jid, nick: str) -> None:
        """Take a request to somebody in the room, or an answer to one.

        Args:
            stanza: as it came.
            sender: full JID of a client; bare JID where an account's server answers.
            nick: that it went to, prepared.
        """
        self._relay.iq_came(stanza, sender, nick)
        if stanzas.is_error(stanza):
            self._entrance.error_came(stanza, sender, entrance.NOT_THERE)

    def invitation(self, sender: Jid | None, invitee: Jid, reason: str = "") -> Invitation:
        """Return an invitation that may be made. A room for members has the invitee as a member from then on.

        Args:
            sender: full JID of who invites; None for the dialplan, which may.
            invitee: bare JID.
            reason: given by them.

        Raises:
            Refused: it may not be made.
        """
        return self._invitations.invitation(sender, invitee, reason)

    def check_invitee(self, invitee: Jid) -> None:
        """Ask whether a phone may invite somebody in chat; see `Invitations.check_invitee`."""
        self._invitations.check_invitee(invitee)

    # What moderators and owners do; whether they may has been checked

    def set_role(self, nick: str, role: Role, actor: Occupant | None, reason: str = "") -> None:
        """Give somebody the word, or take it; ``NONE`` throws them out. Phones are muted and thrown out by Asterisk.

        Args:
            nick: of somebody in chat or on a phone; nobody by that name: nothing happens.
            role: the new one.
            actor: who does it, if they are in.
            reason: given by them; "" if none.
        """
        self._standing.set_role(nick, role, actor, reason)

    def set_affiliation(self, jid: Jid, affiliation: Affiliation, actor: Occupant | None, reason: str = "") -> None:
        """Change somebody's standing; who may not stay with it goes at once.

        Args:
            jid: bare; a domain stands for all its users.
            affiliation: the new one.
            actor: who does it, if they are in.
            reason: given by them; "" if none.
        """
        self._standing.set_affiliation(jid, affiliation, actor, reason)

    def set_config(self, config: RoomConfig) -> None:
        """Take another configuration. A room that becomes members-only loses those who are no members."""
        closes = config.members_only and not self._state.config.members_only
        self._state.config = config
        self._state.on_change()
        self._conversation.config_changed()
        if closes:
            self._standing.members_only()

    def destroy(self, reason: str = "", alternate: Jid | None = None, password: str = "") -> None:
        """Throw everybody out, phones too, and forget what was said (XEP-0045 section 10.9).

        Args:
            reason: for people.
            alternate: a room to go to instead, and its ``password``.
        """
        x = Element("x")
        destroyed = stanzas.add(x, stanzas.MUC_USER, "destroy", jid=alternate)
        if password and alternate is not None:
            stanzas.add(destroyed, stanzas.MUC_USER, "password", password)
        if reason:
            stanzas.add(destroyed, stanzas.MUC_USER, "reason", reason)
        self._state.outside.note(f"room {self.address}: destroyed{f': {reason}' if reason else ''}")
        self._presences.closed((), destroyed)
        for channel in self.phones:
            self._state.outside.kick(self.number, channel)
        self._state.occupants.clear_phones()
        self._state.history.clear()
        self._empty()
        self._state.outside.forget_archive(self.address)

    def shut_down(self) -> None:
        """Send everybody in chat out because the service stops; most clients come back by themselves (status 332).

        The words are for people whose client does not know that code (Psi).
        """
        self._presences.closed((presences.SHUT_DOWN,), words=_STOPS)
        self._empty()

    def _empty(self) -> None:
        self._state.occupants.clear_chat()
        self._relay.clear()
        self._state.outside.occupancy_changed(self.number)

    def verify(self) -> None:
        """Find out which clients are not there any more: they may have gone while nobody could tell us."""
        self._conversation.verify()

    def announce(self, text: str) -> None:
        """Tell everybody in chat something about this moment, in the room's own name; it is not kept."""
        self._conversation.announce(text)

    # What comes from the phones' side

    def phone_joined(self, participant: Participant) -> None:
        """See `ConferenceRoom.phone_joined`."""
        if participant.channel in self.phones:
            self.phone_changed(participant)
            return
        occupants = self._state.occupants
        nick = nicks.unique(nicks.of_caller(self.address, participant), occupants.is_taken)
        phone = PhoneOccupant(nick, participant)
        occupants.phone_entered(phone)
        self._presences.show(phone)

    def phone_changed(self, participant: Participant) -> None:
        """See `ConferenceRoom.phone_changed`."""
        phone = self.phones.get(participant.channel)
        if phone is None or phone.participant == participant:
            return
        before, phone.participant = phone.participant, participant
        name = nicks.of_caller(self.address, participant)
        if name != nicks.of_caller(self.address, before):
            occupants = self._state.occupants
            nick = nicks.unique(name, lambda nick: occupants.alike(nick) not in (None, phone))
            if nick != phone.nick:
                self._presences.gone(phone, Why(codes=(presences.NICK_CHANGED,), nick=nick))
                occupants.rename(phone, nick)
        self._presences.show(phone)

    def phone_readdressed(self, channel: str) -> None:
        """See `ConferenceRoom.phone_readdressed`."""
        if (phone := self.phones.get(channel)) is not None:
            self._presences.show(phone)

    def phone_left(self, channel: str) -> None:
        """See `ConferenceRoom.phone_left`."""
        phone = self.phones.get(channel)
        if phone is None:
            return
        self._presences.gone(phone, self._standing.farewell_of(channel))
        self._state.occupants.phone_left(phone)

    def phone_said(self, display: str, text: str, sender: str | None = None) -> None:
        """See `ConferenceRoom.phone_said`."""
        self._conversation.phone_said(display, text, sender)

    def speaker_of(self, display: str, sender: str | None = None) -> PhoneOccupant | None:
        """Return the phone that a text is from, None if that is not certain; arguments as of `phone_said`."""
        return self._conversation.speaker_of(display, sender)

    def spoken(self, utterance: Utterance) -> None:
        """See `ConferenceRoom.spoken`."""
        self._conversation.spoken(utterance)

    def not_spoken(self, utterance: Utterance, reason: str) -> None:
        """See `ConferenceRoom.not_spoken`."""
        self._conversation.not_spoken(utterance, reason)
