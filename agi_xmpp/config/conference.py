"""``[conference]``: conferences of Asterisk as rooms in chat."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from agi_xmpp.config.addresses import BareJid, JidOrDomain, LocalPart, RoomJid
from agi_xmpp.config.base import Host, OneLine, Port, Section, is_loopback, written
from agi_xmpp.config.dialplan import Context, DialPattern, Extension, why_not_dialled
from agi_xmpp.config.secrets import OptionalPassword

#: Keys of a room that another service decides about, if the room is there.
_OF_OUR_ROOMS = ("description", "members_only", "moderated", "subject", "owners", "admins", "members")


#: A name of pjsip.conf, as it is part of a channel's name.
Endpoint = Annotated[str, written(r"[0-9A-Za-z._-]{1,79}", "is no endpoint of pjsip.conf, such as 'agi-xmpp'")]


def _place(text: str) -> str:
    host, _, port = text.rpartition(":")
    right = re.fullmatch(r"\[[0-9A-Fa-f:.]+\]|[^\s/@:\[\]]+", host) and re.fullmatch(r"[0-9]{1,5}", port)
    if text and not (right and 0 < int(port) < 65_536):
        raise ValueError(f"{text[:80]!r} is no address and UDP port to listen on, such as '127.0.0.1:9060'")
    return text


class SipSettings(OptionalPassword):
    """``[conference.sip]``: our own call into a conference, by which texts go between its phones and its room.

    Attributes:
        host: Asterisk's.
        port: UDP port of Asterisk's PJSIP transport.
        bind: our own address; "" lets the system choose. The call carries no voice.
        endpoint: the endpoint of pjsip.conf that is ours; also the user name of its ``auth``.
        password, password_file, password_env, password_command: of its ``auth``, if it has one; at most one of them.
        accept_unencrypted: allow another ``host`` than this machine: SIP over UDP is not encrypted.
        timeout: seconds for Asterisk to take a text, or to answer our call.
        hep: address and UDP port where Asterisk sends a copy of each of its SIP packets (res_hep_pjsip, HEPv3), by
            which the phone that wrote a text is known; "": texts are believed the name that they give.
    """

    host: Host = "127.0.0.1"
    port: Port = 5060
    bind: Annotated[str, written(r"[^\s/@]{0,253}", "is no address of this machine, such as '127.0.0.1'")] = ""
    endpoint: Endpoint = "agi-xmpp"
    accept_unencrypted: bool = False
    timeout: Annotated[float, Field(ge=0.5, le=32)] = 5.0
    hep: Annotated[str, AfterValidator(_place)] = ""

    @property
    def hep_place(self) -> tuple[str, int]:
        """Host and port of ``hep``, which is not empty."""
        host, _, port = self.hep.rpartition(":")
        return host.strip("[]"), int(port)

    @model_validator(mode="after")
    def _consistent(self) -> SipSettings:
        self._demand_own_password("the endpoint")
        if self.hep and not self.accept_unencrypted and not is_loopback(self.hep_place[0]):
            raise ValueError(
                f"hep {self.hep!r} takes copies of all SIP packets from the network, where others could read and forge"
                " them: use this machine's 127.0.0.1, or say accept_unencrypted = true"
            )
        if not self.accept_unencrypted and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} is another machine, and the network between could read and change what is written"
                " in conferences: use a tunnel, or say accept_unencrypted = true"
            )
        return self


class ConferenceRoomSettings(OptionalPassword):
    """``[conference.room.balcony]``: a room that is always there; the key is the part of its address before the ``@``.

    Attributes:
        number: of the conference, as it is dialled and as ConfBridge() has it; the key itself if empty.
        title: for lists; the key if empty.
        description: one line more.
        password, password_file, password_env, password_command: that chat clients must give; at most one of them. Who
            may dial in is the dialplan's affair. With ``muc``, the one that we give there.
        members_only: only ``members``, ``admins`` and owners come in from chat.
        moderated: who comes in from chat may read, and write after a moderator has given them the word.
        subject: who may set it: ``moderators`` or ``participants``.
        public: listed in service discovery.
        owners, admins, members: bare JIDs, besides ``conference.owners``.
        muc: the room is not ours but this one, on another MUC service; the phones come into it as occupants. All that
            people may do there is up to that service.
    """

    number: Extension = ""
    title: Annotated[OneLine, StringConstraints(max_length=200)] = ""
    description: Annotated[OneLine, StringConstraints(max_length=1000)] = ""
    members_only: bool = False
    moderated: bool = False
    subject: Literal["moderators", "participants"] = "moderators"
    public: bool = True
    owners: list[BareJid] = []
    admins: list[BareJid] = []
    members: list[BareJid] = []
    muc: RoomJid = ""

    @model_validator(mode="after")
    def _consistent(self) -> ConferenceRoomSettings:
        self._demand_own_password("the room")
        for key in _OF_OUR_ROOMS:
            if self.muc and key in self.model_fields_set:
                raise ValueError(f"{key} has no effect beside muc: the other service decides about that room")
        return self


class ConferenceSettings(Section):
    """``[conference]``: conferences of Asterisk as rooms in chat (XEP-0045). Needs ``[ami]`` and a component.

    Attributes:
        account: the component whose domain has the rooms: ``6000@conference.example.org``.
        phones: the component whose addresses are the phones': inviting ``103@phone.example.org`` rings that phone.
            Without it, phones are invited by ``/invite 103`` in the room only.
        context: of the dialplan, where the conferences' numbers are.
        invite_context: of the dialplan, where a phone goes that takes our invitation: to its extension ``s``, with the
            conference's number in ``ROOM``.
        rooms: which conferences are rooms as soon as somebody joins, besides those of ``room``: patterns as in
            extensions.conf. Whoever may enter opens one by joining.
        allow: domains and bare JIDs whose users may enter; empty: those of the domain above the component's.
        owners: bare JIDs that own each room.
        max_rooms: rooms at once, besides those of ``room``.
        max_occupants: of one room from chat; phones are not counted.
        history: messages that whoever joins is shown, unless they ask for fewer.
        archive_days: days for which messages can be read again (XEP-0313); 0 keeps none.
        invite_time: seconds that an invited phone rings.
        return_time: seconds that rooms of ``rooms`` wait for their people after a restart, ours or others'.
        texts_outside_calls: endpoints of pjsip.conf whose phones read texts outside of calls only; their profile in
            ConfBridge says ``text_messaging = no``.
        sip: how texts reach the phones.
        room: rooms by the part of their address before the ``@``.
    """

    account: str
    phones: str = ""
    context: Context
    invite_context: Context = "conference-invited"
    rooms: list[DialPattern] = []
    allow: list[JidOrDomain] = []
    owners: list[BareJid] = []
    max_rooms: Annotated[int, Field(ge=1, le=10_000)] = 200
    max_occupants: Annotated[int, Field(ge=1, le=10_000)] = 200
    history: Annotated[int, Field(ge=0, le=500)] = 20
    archive_days: Annotated[int, Field(ge=0, le=3650)] = 7
    invite_time: Annotated[float, Field(ge=1, le=600)] = 30.0
    return_time: Annotated[float, Field(ge=1, le=86_400)] = 900.0
    texts_outside_calls: list[Endpoint] = []
    sip: SipSettings = SipSettings()
    room: dict[LocalPart, ConferenceRoomSettings] = {}

    @model_validator(mode="after")
    def _each_room_is_one(self) -> ConferenceSettings:
        """One room for each number and address: texts and phones would go to one of the two."""
        taken: dict[str, str] = {}
        for key, room in self.room.items():
            number = room.number or key
            if reason := why_not_dialled(number):
                advice = "" if room.number else ": set number"
                raise ValueError(f"room {key!r}: the number {number!r} cannot be dialled: {reason}{advice}")
            for name in dict.fromkeys((_plain(key), _plain(number), room.muc.casefold() or _plain(key))):
                other = taken.setdefault(name, key)
                if other != key:
                    raise ValueError(
                        f"rooms {other!r} and {key!r} are both {name!r}: each needs an address and a number of its own"
                    )
        return self


def _plain(number: str) -> str:
    """Return what is the same for all ways to write a number: Asterisk skips hyphens, and looks at no capitals."""
    return number.replace("-", "").casefold()
