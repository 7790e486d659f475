"""``[conference]``: conferences of Asterisk as rooms in chat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from agi_xmpp.config.base import Host, Port, Section, written
from agi_xmpp.config.dialplan import Context, DialPattern, Extension
from agi_xmpp.config.secrets import OptionalPassword


class SipSettings(OptionalPassword):
    """``[conference.sip]``: the leg by which texts go between a conference's phones and its room.

    Attributes:
        host: Asterisk's.
        port: UDP port of Asterisk's PJSIP transport.
        bind: our own address; "" lets the system choose. The leg carries no voice.
        endpoint: the endpoint of pjsip.conf that is ours; also the user name of its ``auth``.
        password, password_file, password_env, password_command: of its ``auth``, if it has one; at most one of them.
        timeout: seconds for Asterisk to take a text, or to answer our call.
    """

    host: Host = "127.0.0.1"
    port: Port = 5060
    bind: Annotated[str, StringConstraints(max_length=253)] = ""
    endpoint: Annotated[str, written(r"[0-9A-Za-z._-]{1,79}", "is no endpoint of pjsip.conf, such as 'agi-xmpp'")] = (
        "agi-xmpp"
    )
    timeout: Annotated[float, Field(ge=0.5, le=32)] = 5.0


class ConferenceRoomSettings(OptionalPassword):
    """``[conference.room.balcony]``: a room; the key is the part of its address before the ``@``.

    Attributes:
        number: of the conference, as it is dialled and as ConfBridge() has it; the key itself if empty.
        title: for lists; the key if empty.
        description: one line more.
        password, password_file, password_env, password_command: that chat clients must give; at most one of them. Who
            may dial in is the dialplan's affair.
        members_only: only ``members``, ``admins`` and owners come in from chat.
        moderated: who comes in from chat may read, and write after a moderator has given them the word.
        subject: who may set it: ``moderators`` or ``participants``.
        public: listed in service discovery.
        owners, admins, members: bare JIDs, besides ``conference.owners``.
        muc: the room is this one on another MUC service; the phones come into it as occupants.
    """

    number: Extension = ""
    title: Annotated[str, StringConstraints(max_length=200)] = ""
    description: Annotated[str, StringConstraints(max_length=1000)] = ""
    members_only: bool = False
    moderated: bool = False
    subject: Literal["moderators", "participants"] = "moderators"
    public: bool = True
    owners: list[str] = []
    admins: list[str] = []
    members: list[str] = []
    muc: Annotated[str, written(r"([^\s@/]+@[^\s@/]+)?", "is no room, such as 'garden@rooms.example.org'")] = ""


class ConferenceSettings(Section):
    """``[conference]``: conferences of Asterisk as rooms in chat (XEP-0045). Needs ``[ami]`` and a component.

    Attributes:
        account: the component whose domain has the rooms: ``6000@conference.example.org``.
        phones: the component whose addresses are the phones': inviting ``103@phone.example.org`` rings that phone.
            Without it, phones are invited by ``/invite 103`` in the room only.
        context: of the dialplan, where the conferences' numbers are: our own leg and invited phones go there.
        invite_context: of the dialplan, where a phone that takes our invitation goes; ``ROOM`` is the number.
        rooms: which conferences are rooms, besides those of ``room``: patterns as in extensions.conf. Whoever may
            enter opens one by joining.
        allow: domains and bare JIDs whose users may enter; empty: those of the domain above the component's.
        owners: bare JIDs that own each room.
        max_rooms: rooms at once, besides those of ``room``.
        max_occupants: of one room from chat; phones are not counted.
        history: messages that whoever joins is shown, unless they ask for fewer.
        archive_days: days for which messages can be read again (XEP-0313); 0 keeps none.
        invite_time: seconds that an invited phone rings.
        sip: how texts reach the phones.
        room: rooms by the part of their address before the ``@``.
    """

    account: str
    phones: str = ""
    context: Context
    invite_context: Context = "conference-invited"
    rooms: list[DialPattern] = []
    allow: list[str] = []
    owners: list[str] = []
    max_rooms: Annotated[int, Field(ge=1, le=10_000)] = 200
    max_occupants: Annotated[int, Field(ge=1, le=10_000)] = 200
    history: Annotated[int, Field(ge=0, le=500)] = 20
    archive_days: Annotated[int, Field(ge=0, le=3650)] = 7
    invite_time: Annotated[float, Field(ge=1, le=600)] = 30.0
    sip: SipSettings = SipSettings()
    room: dict[str, ConferenceRoomSettings] = {}
