"""What the parts of a conference share: plain data, and the ports between them. Pure.

A stanza is an `Element` of the standard library as it came over the stream, with all its children and their
namespaces; the stanza's own namespace is ``jabber:client``, whatever the stream's is.

The parts::

    service   rooms by address; discovery, administration, lists          StanzaHost ──► service ──► room
    room      one room's occupants, presence, texts                       room ──► Outside (gateway) ──► XMPP, phones
    puppets   the same side of a room that another MUC service has
    gateway   joins them with Asterisk (ami.conferences, ami.confbridge) and the legs (sip)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.xmpp.model import Jid


class Affiliation(enum.Enum):
    """Somebody's standing with a room, whether they are in or not (XEP-0045 section 5.2)."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    NONE = "none"
    OUTCAST = "outcast"


class Role(enum.Enum):
    """What an occupant may do while in (XEP-0045 section 5.1)."""

    MODERATOR = "moderator"
    PARTICIPANT = "participant"
    VISITOR = "visitor"
    NONE = "none"


@dataclass(slots=True)
class Occupant:
    """Somebody in a room from chat, by one or several clients.

    Attributes:
        nick: their name in the room.
        jid: bare JID.
        affiliation, role: see there.
        sessions: the full JID of each client that is in, and the presence that it sent last.
    """

    nick: str
    jid: Jid
    affiliation: Affiliation
    role: Role
    sessions: dict[Jid, Element] = field(default_factory=dict)


@dataclass(slots=True)
class PhoneOccupant:
    """Somebody in a room by telephone.

    Attributes:
        nick: their name in the room: the caller's name, made unique.
        participant: what Asterisk says of them; replaced when it changes.
    """

    nick: str
    participant: Participant


@dataclass(slots=True)
class RoomConfig:
    """What owners can set of a room that somebody opened, or the settings say of the others (XEP-0045 section 10.2).

    Attributes:
        title, description: texts; ``title`` is never empty.
        password: that must be given at the door; "" for none.
        members_only, moderated, public: see `ConferenceRoomSettings`.
        subject_by_all: participants may set the subject, not only moderators.
        persistent: it stays when nobody is in.
        max_occupants: from chat.
        fixed: it stands in the settings, and nobody changes it from chat.
    """

    title: str
    description: str = ""
    password: str = ""
    members_only: bool = False
    moderated: bool = False
    public: bool = True
    subject_by_all: bool = False
    persistent: bool = False
    max_occupants: int = 200
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Utterance:
    """A text on its way to the phones.

    Attributes:
        speaker: the name that phones show; "" for the room itself.
        text: whole; who sends it splits it.
        stanza: the message that it came in, to be reflected once the phones' side has taken it; None where nobody
            waits for that.
        sender: full JID of who sent it; None for the room itself.
        nick: whose it is in the room, should the sender be gone when it is reflected.
        device: of the phone that wrote it outside of calls: it is not told. "" if somebody else did.
    """

    speaker: str
    text: str
    stanza: Element | None = None
    sender: Jid | None = None
    nick: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Archived:
    """A message of a room, as it can be read again.

    Attributes:
        id: given by us (XEP-0359): what the archive is paged by.
        stamp: when, with its time zone (UTC).
        nick: who said it; "" for the room itself.
        stanza: as it was reflected, without ``to``.
    """

    id: str
    stamp: datetime
    nick: str
    stanza: Element


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody shall come into a room.

    Attributes:
        inviter: address of who asks: a full JID of chat, or the address of a phone; None for the dialplan.
        invitee: bare JID: of chat, or of a phone (``103@phone.example.org``).
        reason: "" if there is none.
        shown: the inviter's name as people know it.
    """

    inviter: Jid | None
    invitee: Jid
    reason: str = ""
    shown: str = ""


class Outside(Protocol):
    """What a room needs of the world. Every call returns at once; ``number`` is the conference's."""

    def send(self, stanza: Element) -> None:
        """Send a stanza; ``from`` and ``to`` are in it."""

    def say(self, number: str, utterance: Utterance) -> None:
        """Tell all phones of a conference, one text after the other.

        What becomes of one that has a stanza is told by `ConferenceRoom.spoken` or `ConferenceRoom.not_spoken`, in
        the order of the calls; where there are no phones, `spoken` comes before this returns.
        """

    def whisper(self, number: str, channel: str, utterance: Utterance) -> None:
        """Tell one phone only. What becomes of it is told as by `say`."""

    def kick(self, number: str, channel: str) -> None:
        """Throw a phone out; that it has gone is told by `ConferenceRoom.phone_left`."""

    def mute(self, number: str, channel: str, muted: bool) -> None:
        """Take the word from a phone, or give it back; told by `ConferenceRoom.phone_muted`."""

    def invite(self, number: str, invitation: Invitation, stanza: Element | None) -> None:
        """Invite somebody; ``stanza`` is the message that asked for it, and is answered with an error if need be."""

    def archive(self, room: Jid, message: Archived) -> None:
        """Keep a message."""

    def query_archive(self, room: Jid, stanza: Element) -> None:
        """Answer a request to the archive (XEP-0313); that the sender may ask has been checked."""

    def forget_archive(self, room: Jid) -> None:
        """Forget all messages of a room: it was destroyed."""

    def occupancy_changed(self, number: str) -> None:
        """Somebody has come from chat or gone: the phones' leg may be needed, or no longer."""

    def is_locked(self, number: str) -> bool:
        """Tell whether a conference is locked, as far as that is known: nobody else may come in."""

    def now(self) -> datetime:
        """Return the time, with its zone (UTC)."""

    def new_id(self) -> str:
        """Return a random id."""

    def note(self, text: str) -> None:
        """Write a line for administrators to the log, at INFO."""


class ConferenceRoom(Protocol):
    """A room as the phones' side sees it: ours (`room.Room`), or one on another service (`puppets.BridgedRoom`)."""

    @property
    def number(self) -> str:
        """Of the conference in Asterisk."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def address(self) -> Jid:
        """Its bare JID."""

    @property
    def has_listeners(self) -> bool:
        """True while somebody is in from chat: then the phones' texts are wanted."""

    def phone_joined(self, participant: Participant) -> None:
        """A phone is in; also for those that were in when we came."""

    def phone_changed(self, participant: Participant) -> None:
        """Something of a phone that is in has changed: muted or not, its name."""

    def phone_readdressed(self, channel: str) -> None:
        """A phone that is in has another address of its own now, by other settings."""

    def phone_left(self, channel: str) -> None:
        """A phone is gone. Asterisk gives no reason; whether we threw it out is known to who asked for it."""

    def phone_said(self, display: str, text: str, sender: str | None = None) -> None:
        """A phone has sent a text.

        Args:
            display: the name that the phone gives itself. It proves nothing.
            text: as it came.
            sender: the channel that it was sent on: it is that phone's, whatever name it gives. "": Asterisk should
                have said and has not, so the text is nobody's. None: nobody can say (``conference.sip.hep`` is not
                set), so it is the phone's that alone has the name.
        """

    def announce(self, text: str) -> None:
        """Tell everybody in chat something, in the room's own name."""

    def spoken(self, utterance: Utterance) -> None:
        """The phones' side has taken a text."""

    def not_spoken(self, utterance: Utterance, reason: str) -> None:
        """The phones' side has not taken a text, or not all of it; the reason is one sentence for its sender."""
