"""All that has to do with invitations, as the gateway sees it: who asks for one, in whatever way, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Conferences
from agi_xmpp.ami.invitations import Inviter
from agi_xmpp.ami.model import Ami, Message
from agi_xmpp.config import ConferenceSettings, PhoneSettings
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.bridges import Bridges
from agi_xmpp.features.conference.elsewhere.puppets import BridgedRoom
from agi_xmpp.features.conference.invitations import answers
from agi_xmpp.features.conference.invitations.answers import Tell
from agi_xmpp.features.conference.invitations.convener import Convener
from agi_xmpp.features.conference.invitations.direct_invitations import DirectInvitations
from agi_xmpp.features.conference.invitations.invitees import Invitees
from agi_xmpp.features.conference.invitations.inviting import Inviting
from agi_xmpp.features.conference.invitations.mediated_invitations import MediatedInvitations
from agi_xmpp.features.conference.invitations.phone_words import PhoneWords
from agi_xmpp.features.conference.model import Invitation, Outside, Utterance
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.rooms.rooms import Rooms
from agi_xmpp.features.phone.people import People


class Reception:
    """Joins the parts that invite.

    Args:
        settings: ``[conference]``.
        phone: ``[phone]``, whose people and extensions can be invited; None without.
        people: its user map.
        ami: the manager connection.
        rooms: which there are.
        bridges: those of other services.
        conferences: who is in which conference by telephone.
        outside: sends from rooms, tells phones, writes the log.
        domain: of the rooms.
        phones_domain: of the phones' addresses; "" if they have none.
        send_from_phones: sends a stanza from a phone's address.
        clock: seconds, monotonic.

    Attributes:
        convener: invites for the dialplan, and for who opens a conference from chat.
        direct, mediated: take what is written to the phones' addresses.
    """

    def __init__(
        self,
        settings: ConferenceSettings,
        phone: PhoneSettings | None,
        people: People | None,
        ami: Ami,
        rooms: Rooms,
        bridges: Bridges,
        conferences: Conferences,
        outside: Outside,
        *,
        domain: str,
        phones_domain: str,
        send_from_phones: Callable[[Element], None],
        clock: Callable[[], float],
    ) -> None:
        self._invitees = invitees = Invitees(phone, people)
        self._outside = outside
        self._inviter = Inviter(ami)
        self._inviting = Inviting(
            outside,
            self._inviter,
            invitees,
            phones_domain=phones_domain,
            context=settings.invite_context,
            ring_time=settings.invite_time,
            participants=conferences.of,
            allows=rooms.allows,
            clock=clock,
        )
        self._words = PhoneWords(self._inviting, invitees, phones_domain, self._tell_phone, clock)
        self.convener = Convener(
            rooms, bridges, conferences, self._inviting, invitees, domain=domain, phones_domain=phones_domain
        )
        self.direct = DirectInvitations(
            send_from_phones, outside.send, rooms.room_at, bridges.room_at, rooms.allows, self._inviting.invite
        )
        self.mediated = MediatedInvitations(
            send_from_phones, bridges.room_at, rooms.allows, invitees, self._inviting.call, self._inviting.refuse
        )

    def apply(self, settings: ConferenceSettings, phone: PhoneSettings | None, people: People | None) -> None:
        """Use other settings from now on, arguments as of the class. Phones that ring do so as they began."""
        self._invitees.apply(phone, people)
        self._inviting.apply(context=settings.invite_context, ring_time=settings.invite_time)

    async def stop(self) -> None:
        """Forget who was invited. Phones that ring go on until they are picked up, or their time is over."""
        self.convener.stop()
        await self._inviting.stop()

    def ami_event(self, event: Message) -> None:
        """Take an event of Asterisk."""
        self._inviter.event(event)

    def ami_disconnected(self) -> None:
        """The connection is gone."""
        self._inviter.lost()

    def stanza_came(self, stanza: Element) -> bool:
        """Look at a stanza to a room; return True if it is dealt with."""
        return stanza.tag == stanzas.MESSAGE and self._inviting.message_came(stanza)

    def occupancy_changed(self, room: Room) -> None:
        """Somebody in chat has come or gone."""
        self._inviting.occupancy_changed(room)

    def invite(self, room: Room, invitation: Invitation, stanza: Element | None) -> None:
        """Carry an invitation out that the room has allowed; see `Outside.invite`."""
        tell: Tell = answers.nobody
        if stanza is not None and invitation.inviter is not None:
            tell = answers.by_room(self._outside.send, room.address, invitation.inviter, invitation.invitee, stanza)
        self._inviting.invite(room, invitation, tell)

    def heard(self, room: Room | BridgedRoom, display: str, text: str, sender: str | None = None) -> bool:
        """Take what a phone has written in a conference, and return whether it was for the room, and not a word for us.

        Arguments as of `ConferenceRoom.phone_said`.
        """
        if self._words.said(room, display, text, sender):
            return False
        room.phone_said(display, text, sender)
        return True

    def _tell_phone(self, number: str, channel: str, text: str) -> None:
        self._outside.whisper(number, channel, Utterance("", text))
