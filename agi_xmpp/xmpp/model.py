"""What the rest of the package sees of XMPP: plain data, and the interface of one account's session.

Nothing here imports an XMPP library. `agi_xmpp.xmpp.jid.parse` makes `Jid`s; `agi_xmpp.xmpp.session.BaseSession`
implements `Session`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar
from xml.etree.ElementTree import Element

from agi_xmpp.errors import Bounced

if TYPE_CHECKING:
    from agi_xmpp.config import AccountSettings
    from agi_xmpp.xmpp.call_record import CallRecord
    from agi_xmpp.xmpp.contact_model import ContactHost, ContactPort
    from agi_xmpp.xmpp.phone_model import PhoneHost, PhonePort


@dataclass(frozen=True, slots=True)
class Jid:
    """A prepared Jabber ID (RFC 7622): two that mean the same address are equal. Make them with `jid.parse`."""

    local: str
    domain: str
    resource: str = ""

    @property
    def bare(self) -> Jid:
        """The address without its resource."""
        return self if not self.resource else Jid(self.local, self.domain)

    @property
    def is_bare(self) -> bool:
        """True if the address names no resource."""
        return not self.resource

    def __str__(self) -> str:
        text = f"{self.local}@{self.domain}" if self.local else self.domain
        return f"{text}/{self.resource}" if self.resource else text


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A message of somebody, as the inbox keeps it.

    Attributes:
        sender: full JID of who wrote it (already unwrapped from a carbon of our own account, XEP-0280).
        body: the text.
        type: RFC 6121 section 5.2.2: ``chat``, ``normal``, ``groupchat``, ``headline`` or ``error``.
        id: the stanza's id, or "".
        thread: the ``<thread/>`` that the sender's client repeats, or "".
        received_at: seconds on the inbox's monotonic clock.
        sent_at: for delayed mail (XEP-0203) the moment on the same clock when the server took it; else ``received_at``.
        carbon: True if it came as a carbon copy of a message to another of our resources.
        occupant: True if ``sender`` is somebody in a room (XEP-0045): then the bare JID is the room and names nobody.
        reply_to: the id of the message that it answers (XEP-0461), or "".
        reacts_to: the id of the message that the ``reactions`` were put on (XEP-0444), or "".
        reactions: emoji.
        action: the id of a button that was pressed (XEP-0439), or "".
        displayed: the id of a message of ours that the sender has now seen (XEP-0333), or "".
        recipient: the address that it was sent to: a component (XEP-0114) has many.
    """

    sender: Jid
    body: str
    type: str
    id: str
    thread: str
    received_at: float
    sent_at: float
    carbon: bool = False
    occupant: bool = False
    reply_to: str = ""
    reacts_to: str = ""
    reactions: tuple[str, ...] = ()
    action: str = ""
    displayed: str = ""
    recipient: Jid | None = None


@dataclass(frozen=True, slots=True)
class Button:
    """One way to answer a message, for clients that can show it as more than text.

    Attributes:
        value: what a quick response (XEP-0439) sends as text.
        label: what stands on the button.
        node: the command (XEP-0050) that means the same; a guest of the session executes it.
    """

    value: str
    label: str
    node: str


@dataclass(frozen=True, slots=True)
class RoomInvitation:
    """What somebody is invited to (XEP-0249).

    Attributes:
        room: its bare JID.
        reason: in words, or "".
    """

    room: Jid
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Extras:
    """What a message carries besides its text.

    Attributes:
        buttons: ways to answer it. With any, we also ask to be told when it has been seen (XEP-0333).
        replaces: the id of the message to the same contact that it corrects (XEP-0308), or "".
        expects_answer: what comes back in its thread is for `Session.receive_message`.
        link: an address that belongs to it (XEP-0066), or "". Clients play a recording whose address is also the text.
        replies_to: the id of an earlier message of ours that it belongs to (XEP-0461), or "".
        markable: ask to be told when a client has shown it (XEP-0333); `Session.seen` waits for that.
        record: of a call that is over; the text says the same.
        headline: send it as a headline: every client that is there gets it, and for who is not it is kept nowhere (RFC
            6121 section 8.5.2), unless a record asks for that. Nobody is waked for it.
        subject: a line above the text, or "".
        invitation: into a room; the text says the same.
    """

    buttons: tuple[Button, ...] = ()
    replaces: str = ""
    expects_answer: bool = True
    link: str = ""
    replies_to: str = ""
    markable: bool = False
    record: CallRecord | None = None
    headline: bool = False
    subject: str = ""
    invitation: RoomInvitation | None = None


#: Nothing besides the text.
PLAIN = Extras()


@dataclass(frozen=True, slots=True)
class Command:
    """A command in somebody's list (XEP-0050).

    Attributes:
        node: its address.
        name: what the list shows.
    """

    node: str
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """A question of a form (XEP-0004): one of several options (``list-single``), or any text (``text-single``).

    Attributes:
        var: its name in the reply.
        label: what is shown.
        options: value and label of each; none for a text.
        value: what is filled in beforehand.
        required: it cannot be left empty.
    """

    var: str
    label: str
    options: tuple[tuple[str, str], ...] = ()
    value: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """What a command asks for (XEP-0004)."""

    title: str
    instructions: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What executing a command came to.

    Attributes:
        note: a sentence for whoever executed it.
        form: what has to be filled in first; without one the command is completed.
    """

    note: str = ""
    form: Form | None = None


class Guest:
    """A feature that lives on a session: it sees messages before the inbox does, and offers commands.

    Override what you use. All methods are called in the session's task: none but `execute` may take time.
    """

    def session_began(self) -> None:
        """The account is logged in anew: what was sent before may be lost, and stanzas can be sent again."""

    def message_came(self, message: IncomingMessage, *, kept: bool, awaited: bool) -> bool:  # noqa: ARG002 - for those who override it
        """Look at a message.

        Args:
            message: any; its type may be one that is no answer.
            kept: its thread names a question whose answer `Session.receive_message` returns.
            awaited: somebody waits in `Session.receive_message` for a message of this sender.

        Returns:
            True if it is dealt with: nobody else gets it.
        """
        return False

    def message_bounced(self, message_id: str, error: Bounced) -> None:
        """A message of this session came back, after the server had accepted it."""

    def session_stops(self) -> None:
        """The account logs out in a moment; what `Session.queue_message` gets now is still sent."""

    def commands(self, who: Jid) -> Sequence[Command]:  # noqa: ARG002 - for those who override it
        """Return the commands that ``who`` may execute and find in a list."""
        return ()

    def presence_changed(self, who: Jid, presence: Presence) -> None:
        """The best presence of a contact (bare JID) may have changed."""

    async def execute(self, who: Jid, node: str, values: Mapping[str, Sequence[str]] | None) -> CommandResult | None:  # noqa: ARG002 - for those who override it
        """Execute a command. It may take a moment; whoever waits for it is a client with a spinning wheel.

        Args:
            who: full JID.
            node: the command's.
            values: the form as it was filled in; None at the first step.

        Returns:
            None if the node is none of this guest's.

        Raises:
            Refused: it may not, or cannot, be executed. A form stays open for another try.
        """
        return None


G = TypeVar("G", bound=Guest)


class Show(enum.IntEnum):
    """Presence in the numbers of res_jabber's JABBER_STATUS."""

    ONLINE = 1
    CHAT = 2
    AWAY = 3
    XA = 4
    DND = 5
    OFFLINE = 6
    NOT_IN_ROSTER = 7


@dataclass(frozen=True, slots=True)
class Caps:
    """What a presence says of its client's capabilities (XEP-0115).

    Attributes:
        hash: the name of the hash function, such as ``sha-1``; "" in the old form, before version 1.4.
        node: whose software it is.
        version: the hash; in the old form, the software's version.
        extensions: words of the old form, such as ``voice-v1``.
    """

    hash: str
    node: str
    version: str
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Presence:
    """The presence of one resource, or of a contact without any.

    Attributes:
        show: the number for the dialplan.
        status: the contact's own words, or "".
        resource: the resource that the values belong to, or "".
        priority: RFC 6121 section 4.7.2.3, -128 to 127.
        caps: what its client says of its capabilities, if it does.
    """

    show: Show
    status: str = ""
    resource: str = ""
    priority: int = 0
    caps: Caps | None = field(default=None, compare=False)


class PresenceShare(Protocol):
    """Somebody to whom we show ourselves for a moment, so that they show themselves (XEP-0276)."""

    async def presence(self, timeout: float) -> Presence:
        """Return what they show as soon as they do; `Show.OFFLINE` if they have not within ``timeout`` seconds."""

    def end(self) -> None:
        """Hide again, unless another call still needs it, and forget what was learnt. More than once does no harm."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that a server lists.

    Attributes:
        jid: its address.
        name: "" if it has none.
    """

    jid: Jid
    name: str


class SessionState(enum.Enum):
    """Where an account's session is."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    ONLINE = "online"
    SUSPENDED = "suspended"  # the TCP connection broke; the stream may yet be resumed (XEP-0198)
    WAITING = "waiting"  # it failed; `SessionInfo.error` says why, and it is tried again later


@dataclass(frozen=True, slots=True)
class RoomInfo:
    """A room that the account is in or wants to be in, as `agi-xmpp status` prints it.

    Attributes:
        room: its bare JID.
        nick: ours there.
        state: ``joined``, ``joining``, ``waiting`` (to try again) or ``leaving``.
        occupants: how many, us included; 0 while we are not in.
        error: why we are not in, or "".
    """

    room: str
    nick: str
    state: str
    occupants: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class RoomEntry:
    """How we are in a room.

    Attributes:
        nick: the one that we really got.
        occupants: how many there are, us included.
        note: one sentence if it is not quite what was asked for, or "".
    """

    nick: str
    occupants: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What `agi-xmpp status` prints of one account.

    Attributes:
        account: the name in the configuration.
        jid: the full JID that the server bound, or the configured one before that.
        state: see `SessionState`.
        since: seconds since the epoch when the state began.
        error: one sentence about the last failure, "" after a success.
        tls: such as ``TLSv1.3 TLS_AES_256_GCM_SHA384``, "" without encryption.
        resumable: the stream survives a broken connection (XEP-0198).
        connects: how often a session was established since start.
        sent, received: messages with a body.
        unclaimed: messages in the inbox that no verb has asked for yet.
        waiting: verbs that wait for a message now.
        rooms: those that we are in or want to be in.
    """

    account: str
    jid: str
    state: SessionState
    since: float
    error: str = ""
    tls: str = ""
    resumable: bool = False
    connects: int = 0
    sent: int = 0
    received: int = 0
    unclaimed: int = 0
    waiting: int = 0
    rooms: tuple[RoomInfo, ...] = ()


class StanzaHost(Protocol):
    """Takes a component's stanzas as they came, with everything in them (`Session.serve_stanzas`).

    Called while the stream is read: never block. What it raises is logged, and the stanza is left to the session.
    """

    def stanza_came(self, stanza: Element) -> bool:
        """Take a stanza, and return True; or leave it to the session.

        Comes only between `stream_began` and `stream_ended`. It does not come for the answers to the session's own
        requests. Stanzas that are made to harm who reads them are dropped, with a line in the log: those of more than
        200 levels, and those with names that some parsers take for a fault.

        Args:
            stanza: a message, presence or iq; its namespace is ``jabber:client`` whatever the stream's is.
        """

    def stream_began(self) -> None:
        """The component is online, now or again."""

    def stream_ended(self) -> None:
        """The connection is gone; what was sent a moment ago may be lost."""


class StanzaPort(Protocol):
    """Sends a component's stanzas as they stand."""

    @property
    def online(self) -> bool:
        """True between `StanzaHost.stream_began` and `StanzaHost.stream_ended`."""

    @property
    def domain(self) -> str:
        """Of the component."""

    def send(self, stanza: Element) -> None:
        """Send a message, presence or iq at once; ``from`` and ``to`` are in it.

        It goes out in the order of the calls, before what verbs have handed to the session and is still queued there.

        Raises:
            NotConnected: there is no stream. Nothing was sent.
            ValueError: it is no stanza, or holds what XML cannot carry. Nothing was sent.
        """


class Session(Protocol):
    """One account's conversation with the XMPP network, be it a client login or a component (XEP-0114).

    All timeouts are seconds. JIDs are given as text and prepared here; `BadJid` says what is wrong with one.
    """

    @property
    def account(self) -> str:
        """The account's name in the configuration."""

    async def start(self) -> None:
        """Begin to log in, and return at once; the session keeps itself connected from then on."""

    def change_to(self, settings: AccountSettings) -> Callable[[], None] | None:
        """Prepare to go on with other settings of the account without a new login.

        New buddies are asked for their presence, and what the others show is forgotten. Our presence is shown anew.

        Returns:
            What puts them in force; None if they differ in something that needs a new login.

        Raises:
            BadJid: one of the ``buddies`` is none. Nothing has changed.
        """

    async def stop(self, timeout: float = 5.0) -> None:
        """Send what is queued, log out and free everything, within ``timeout`` seconds."""

    async def ready(self, timeout: float, *, patient: bool = True) -> None:
        """Return as soon as the session is online.

        Args:
            timeout: seconds.
            patient: go on waiting after a failed attempt; otherwise its reason is raised at once.

        Raises:
            NotConnected, LoginFailed, TlsFailed: it was not within ``timeout``; the text says why (the last failure).
        """

    def info(self) -> SessionInfo:
        """Return the state for `agi-xmpp status`."""

    async def send_message(
        self,
        to: str,
        body: str,
        *,
        message_id: str = "",
        thread: str = "",
        receipt: bool = False,
        extras: Extras = PLAIN,
        timeout: float = 10.0,
    ) -> str:
        """Send a chat message and return its id once the server has acknowledged it (XEP-0198).

        Args:
            to: bare or full JID.
            body: the text.
            message_id: the stanza's id; a fresh random one when empty. Clients drop a double with the same id.
            thread: identifies the call, so that answers to two calls can be told apart.
            receipt: ask for a delivery receipt (XEP-0184); `delivered` waits for it.
            extras: what else the message carries.
            timeout: how long to wait for a session and the acknowledgement.

        Raises:
            BadJid, BadText: nothing was sent.
            NotConnected: nothing was sent.
            NotConfirmed: it may have been sent.
            Bounced: the message came back already.
        """

    async def delivered(self, message_id: str, timeout: float) -> None:
        """Wait for the addressee's receipt (XEP-0184) of a message that was sent with ``receipt=True``.

        Raises:
            NotAcknowledged: no receipt within ``timeout``.
            Bounced: the message came back.
        """

    async def seen(self, message_id: str, timeout: float) -> None:
        """Wait until a client of the addressee has shown a message (XEP-0333), or a later one of its thread.

        Args:
            message_id: of a message that was sent with ``Extras(markable=True)``.
            timeout: seconds.

        Raises:
            NotAcknowledged: no client has said so within ``timeout``.
            Bounced: the message came back.
        """

    def queue_message(
        self,
        to: str,
        body: str,
        *,
        message_id: str = "",
        thread: str = "",
        extras: Extras = PLAIN,
        max_age: float = 300.0,
    ) -> str:
        """Take a message to be sent as soon as there is a session, and return its id at once.

        It is dropped, with a warning in the log, when it could not be sent within ``max_age`` seconds.

        Raises:
            BadJid, BadText: as for `send_message`.
            NotConnected: the queue is full.
        """

    async def receive_message(
        self, sender: str, timeout: float, *, thread: str = "", max_age: float | None = None
    ) -> IncomingMessage:
        """Wait for one message of ``sender`` (a bare JID: of any resource; a full JID: of that one only).

        Messages of type chat and normal only, oldest first. One that came before this call counts if it is not older
        than ``max_age`` seconds (default: the account's ``message_ttl``) and not older than the question in ``thread``.
        Messages after a question are kept for its wait, others for ``message_ttl``: a longer ``max_age`` finds no more.
        Cancelling the wait leaves later messages to others.

        Args:
            sender: bare or full JID.
            timeout: seconds.
            thread: the thread that this call's messages were sent with: answers that carry another waiting call's
                thread are not taken.
            max_age: seconds; 0 takes only what arrives from now on.

        Raises:
            BadJid: not a JID.
            TimeoutError: nothing came.
            Bounced: a message that was sent in this thread to this contact came back, so that no answer will come.
        """

    async def presence(self, of: str, *, timeout: float = 0.0) -> Presence:
        """Return the best presence of a bare JID (highest priority, then latest), or that of one resource.

        ``show`` is `Show.NOT_IN_ROSTER` for somebody who is neither in the roster nor configured as a buddy, and
        `Show.OFFLINE` for a buddy without that (or any) resource.

        Args:
            of: bare or full JID.
            timeout: how long to wait for a session first, when there is none.

        Raises:
            BadJid: not a JID.
            NotConnected: there is no session, so nothing is known.
        """

    def share_presence(self, of: str, reason: str) -> PresenceShare | None:
        """Show ourselves for a moment to somebody, and ask them for the same (XEP-0276). End it in every case.

        Args:
            of: bare or full JID.
            reason: what for: ``media``, ``text`` or ``file``.

        Returns:
            None where there is nothing to ask: they let us see their presence in any case, or it is a room.

        Raises:
            BadJid: not a JID.
        """

    async def voice(self, of: str, timeout: float) -> bool | None:
        """Return whether somebody's client can take a call: one of those that are there, or that of a full JID.

        Args:
            of: bare or full JID.
            timeout: seconds to ask clients that are not known yet.

        Returns:
            None if nobody is there, or nothing is known of their clients.

        Raises:
            BadJid: not a JID.
        """

    async def services(self, of: str, timeout: float = 10.0) -> Sequence[Service]:
        """Return what a server lists as its services (XEP-0030 section 4).

        Args:
            of: its domain.
            timeout: seconds.

        Raises:
            BadJid: not a JID.
            NotConnected: there is no session, or no answer came in time.
            Bounced: it answers with an error.
        """

    async def upload(self, name: str, data: bytes, content_type: str, timeout: float = 30.0) -> str:
        """Store a file with the server's upload service (XEP-0363) and return the address that it can be fetched from.

        Whoever has the address can fetch the file, as long as the service keeps it.

        Args:
            name: of the file, without a path; it becomes a part of the address.
            data: the whole file.
            content_type: such as ``audio/wav``.
            timeout: seconds for all of it.

        Raises:
            NotConnected: there is no session.
            UploadFailed: there is no such service, or it does not take the file; the text says why.
        """

    def guest(self, make: Callable[[Session], G]) -> G:
        """Return this session's guest of that kind; the first time, it is made, and told who is there.

        Args:
            make: its class: called with the session.
        """

    def dismiss(self, make: Callable[[Session], Guest]) -> None:
        """Let that guest go: it sees and offers nothing any more. Does nothing if there is none."""

    def serve_phones(self, host: PhoneHost | None, table: MutableMapping[str, str] | None = None) -> PhonePort:
        """Answer the phone protocol from now on, with ``host`` as the one who knows the phones.

        Offered in service discovery; phone actions, subscriptions to phone contacts and their probes go to ``host``.

        Args:
            host: is asked from now on, instead of an earlier one. None: there are no phones any more.
            table: keeps who is subscribed to phone contacts over a restart; without one they are forgotten, and come
                back with the next probe of each subscriber's server.
        """

    def serve_contacts(self, host: ContactHost | None) -> ContactPort:
        """Answer contact discovery (``urn:xmpp:contact-disco:0``) from now on with what ``host`` knows.

        Offered in service discovery. None ends it.
        """

    def serve_stanzas(self, host: StanzaHost | None) -> StanzaPort:
        """Let ``host`` see each stanza first, from now on; None ends it.

        While the session is online the host is told so (`StanzaHost.stream_began`) as soon as this has returned. An
        earlier host is told nothing more.

        Raises:
            ConfigError: the account is no component.
        """

    async def vcard_name(self, of: str, timeout: float = 2.0) -> str:
        """Return the name in somebody's vCard (XEP-0292, XEP-0054) as it stands there; "" if none comes in time.

        Args:
            of: their JID; the resource does not count.
            timeout: seconds.

        Raises:
            BadJid: not a JID.
            NotConnected: there is no session.
        """

    async def join_room(self, room: str, nick: str = "", *, password: str = "", timeout: float = 10.0) -> RoomEntry:
        """Enter a room (XEP-0045 section 7.2) and return when it has confirmed that we are in.

        The account stays in, and comes back after a break, until `leave_room` or until somebody throws it out. Who is
        in already keeps the nick.

        Args:
            room: its bare JID.
            nick: the one wanted; if it is taken, a number is added (2 to 9). Empty: of the room's settings, or the
                part of our JID before the ``@``.
            password: of the room; empty: of the room's settings.
            timeout: seconds.

        Raises:
            UsageError: no room or nick can be written like that, or the account is in too many rooms.
            NotConnected: there is no session.
            Bounced: the room does not let us in; the text says why.
            NotConfirmed: it did not answer in time.
        """

    async def leave_room(self, room: str, *, timeout: float = 10.0) -> bool:
        """Leave a room, and return when it has confirmed that. Returns False if we were not in it.

        Raises:
            BadJid: not a room.
            NotConfirmed: it did not answer in time; we leave all the same.
        """

    async def send_to_room(self, room: str, body: str, *, message_id: str = "", timeout: float = 10.0) -> str:
        """Send a message to a room that we are in; return its id when the room has told it to all (reflection).

        After a break it waits until we are back in the room.

        Raises:
            BadJid, BadText: nothing was sent.
            NotInRoom: we are not in the room.
            NotConnected: nothing was sent.
            NotConfirmed: it may have arrived.
            Bounced: the room did not take it; the text says why.
        """
