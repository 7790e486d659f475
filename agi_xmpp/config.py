"""Typed settings: one TOML file, checked whole before anything starts.

`load` reads a file; every complaint names the key, what is wrong with it and, for an unknown key, the nearest
known one.
Secrets are `pydantic.SecretStr`: their text appears in no repr, log or error.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from agi_xmpp.errors import ConfigError
from agi_xmpp.quoting import SPECIAL_EXTENSIONS

#: How long a command for a password or token may take, in seconds. One that asks a human would hang the start for ever.
SECRET_COMMAND_TIMEOUT = 10.0

#: Bytes that `VoicemailSettings.max_size` allows at the most: more would not fit through the control socket.
MAX_RECORDING = 12_000_000

#: What a token may hold: it travels as in a header of HTTP (RFC 7628 section 3.1), behind the word Bearer and a blank.
_TOKEN = re.compile(r"[\x21-\x7e]+")

Host = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[^\s/@]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, hide_input_in_errors=True)


class ScriptRoute(_Section):
    """``[[agi.script]]``: a script written for pyst2's ``AGI`` class, run as a FastAGI route."""

    path: Annotated[str, StringConstraints(min_length=1, pattern=r"^[^?\s]+$")]
    callable: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]


class AgiSettings(_Section):
    """``[agi]``: the FastAGI server.

    Attributes:
        listen: addresses to listen on. AGI has no password and no encryption: keep it on loopback or a closed network.
        port: TCP port; Asterisk's default is 4573. 0 takes a free one (tests).
        allow: networks whose Asterisks may connect.
        max_sessions: calls in an AGI session at once. Asterisk has 2 threads for each; we need 7 KiB.
        backlog: connections that the kernel holds for us; Asterisk believes itself connected in that queue (asyncio's
            100 loses calls in a burst).
        environment_timeout: seconds for Asterisk to send the environment: it sends it at once.
        command_timeout: seconds for a command that should be answered at once.
        hangup_grace: seconds that a handler may go on after the caller hung up.
        drain_timeout: seconds that open calls get when the service stops.
        quickack: acknowledge Asterisk's segments at once (44 ms per multi-line reply otherwise). Linux only.
        script: pyst2 scripts by path.
    """

    listen: list[Host] = ["127.0.0.1"]
    port: Annotated[int, Field(ge=0, le=65535)] = 4573
    allow: list[IPvAnyNetwork] = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    max_sessions: PositiveInt = 2000
    backlog: PositiveInt = 4096
    environment_timeout: PositiveFloat = 5.0
    command_timeout: PositiveFloat = 10.0
    hangup_grace: PositiveFloat = 2.0
    drain_timeout: Annotated[float, Field(ge=0)] = 10.0
    quickack: bool = True
    script: list[ScriptRoute] = []


class _SecretSource(_Section):
    """Where a secret comes from: inline, a file, an environment variable or a command, each by a key of its own."""

    #: What the secret may be; the keys begin with it.
    _kinds: ClassVar[Sequence[str]] = ()

    @classmethod
    def _source_keys(cls) -> list[str]:
        return [f"{kind}{form}" for kind in cls._kinds for form in ("", "_file", "_env", "_command")]

    @property
    def sources(self) -> list[str]:
        """The keys that say where the secret comes from; one is right."""
        return [key for key in self._source_keys() if getattr(self, key) is not None]

    def _demand_one_source(self) -> None:
        if len(self.sources) != 1:
            *keys, last = self._source_keys()
            raise ValueError(
                f"needs exactly one of {', '.join(keys)} and {last}"
                + (f", not {' and '.join(self.sources)}" if self.sources else "")
            )

    def secret(self) -> str:
        """Fetch the secret from where the settings say. It is read anew at every call, so that it can be changed.

        Raises:
            ConfigError: the file, variable or command does not give one; the text never holds the secret.
        """
        key = self.sources[0]
        kind, _, form = key.partition("_")
        value = getattr(self, key)
        match form:
            case "file":
                text, origin = _read_secret_file(key, value), f"{key} {value}"
            case "env":
                text, origin = os.environ.get(value, ""), f"environment variable {value}"
            case "command":
                text, origin = _run_secret_command(key, value), key
            case _:
                text, origin = value.get_secret_value(), key
        secret = text.splitlines()[0] if form and text else text
        if not secret:
            raise ConfigError(f"{origin} gives no {kind} (its first line is empty)")
        if kind == "token" and not _TOKEN.fullmatch(secret):
            raise ConfigError(f"{origin} gives no token: its first line must be the token alone, without blanks")
        return secret


class _PasswordSource(_SecretSource):
    """Where a password comes from."""

    _kinds: ClassVar[Sequence[str]] = ("password",)

    password: SecretStr | None = None
    password_file: Path | None = None
    password_env: str | None = None
    password_command: list[str] | None = None


class RoomSettings(_PasswordSource):
    """``[account.NAME.room."team@rooms.example.org"]``: a room (XEP-0045) that the account belongs into.

    Attributes:
        nick: our name in the room; the part of the account's ``jid`` before the ``@`` if empty.
        join: enter the room at login; otherwise the settings only serve ``jabber_join``.
        password, password_file, password_env, password_command: of the room, if it has one; at most one of them. In a
            dialplan the password would be visible on Asterisk's console and in its logs.
    """

    nick: Annotated[str, StringConstraints(max_length=1023)] = ""
    join: bool = True

    @model_validator(mode="after")
    def _one_password(self) -> RoomSettings:
        if len(self.sources) > 1:
            raise ValueError(f"needs one password at the most, not {' and '.join(self.sources)}")
        return self


_JID = re.compile(r"[^\s@/]+@[^\s@/]+(/.+)?")

#: Keys of an account that a component has no use for, and why.
_CLIENT_ONLY = {
    "priority": "whatever is sent to its domain is its own",
    "resume_timeout": "no server keeps its stream when the connection breaks",
}


class AccountSettings(_PasswordSource):
    """``[account.NAME]``: one XMPP login, or a whole domain of our own as a component of the server (XEP-0114).

    It proves itself by a password, or a client by a token (OAUTHBEARER, RFC 7628).

    Attributes:
        type: ``client``, or ``component``.
        jid: our address; with a resource, that resource is asked for (res_xmpp's default is ``asterisk-xmpp``). Of a
            component its domain, with the part before the ``@`` that our own messages come from, if there shall be one.
        password, password_file, password_env, password_command: exactly one of them or of the next. The file's and the
            command's first line counts; the command is a list of words, no shell.
        token, token_file, token_env, token_command: an access token instead of a password, in the same ways.
        server: host to connect to; without it the domain's SRV records decide (RFC 6120 section 3.2, XEP-0368), and a
            component connects to this machine.
        port: only with ``server``; default 5222, or 5223 with ``tls = "direct"``; of a component 5347.
        tls: ``starttls``, ``direct`` (XEP-0368) or ``none``. ``none`` is allowed towards loopback only. Of a component
            ``none`` (the default) or ``direct``.
        accept_unencrypted: of a component: allow ``tls = "none"`` towards another machine.
        domain: of a component: the domain of the server's users, to be pinged instead of the component's own: ejabberd
            with mod_privilege brings nothing back that a component sends to itself.
        ca_file: certificates to trust besides the system's; for a private CA.
        accept_any_certificate: no check at all. Whoever controls the network between then reads and writes everything.
        buddies: contacts to subscribe to at login, whose presence JABBER_STATUS knows.
        subscribe: ask the buddies who have not allowed it yet to show us their presence.
        subscriptions: what to do when somebody asks to see our presence: accept all, buddies only, or deny.
        decloak_answer: who may ask for our presence for a moment (XEP-0276): JIDs and domains. Nobody if empty: for a
            client, that has to be the default (section 7).
        decloak_reasons: what it may be for: ``media``, ``text``, ``file``.
        priority: of our presence.
        show, status: of our presence.
        message_ttl: seconds that a message nobody has asked for yet can still be the answer of a verb.
        message_limit: messages kept for one contact; the oldest goes first.
        contact_limit: contacts that messages are kept for; a flood from strangers goes no further.
        keepalive: seconds of silence before we ask the server whether it is there.
        keepalive_timeout: seconds for its answer; then the connection counts as dead.
        connect_timeout: seconds for connecting and negotiating.
        resume_timeout: seconds for which a broken stream may be resumed (XEP-0198); 0 turns resumption off.
        retry_max: seconds between attempts at the most.
        login_retry: seconds between attempts after the server refused our password or token.
        max_body: characters of one message; servers drop the connection for stanzas over their limit (often 256 KiB).
        queue_limit: messages that wait for a session at the most.
        upload: address of the upload service (XEP-0363); without it the server is asked for one.
        room_limit: rooms that the account is in at once; servers have a limit, too (ejabberd: 100).
        stop_notice: one line that the buddies, and the people of a phone service on this account, are told as a
            headline when the service stops; "" tells nobody anything.
        room: rooms by their address.
    """

    _kinds: ClassVar[Sequence[str]] = ("password", "token")

    type: Literal["client", "component"] = "client"
    jid: str
    token: SecretStr | None = None
    token_file: Path | None = None
    token_env: str | None = None
    token_command: list[str] | None = None
    server: Host | None = None
    port: Port | None = None
    tls: Literal["starttls", "direct", "none"] = "starttls"
    accept_unencrypted: bool = False
    domain: Host | None = None
    ca_file: Path | None = None
    accept_any_certificate: bool = False
    buddies: list[str] = []
    subscribe: bool = True
    subscriptions: Literal["accept", "buddies", "deny"] = "buddies"
    decloak_answer: list[str] = []
    decloak_reasons: list[Annotated[str, StringConstraints(min_length=1, max_length=40)]] = ["media"]
    priority: Annotated[int, Field(ge=-128, le=127)] = 1
    show: Literal["online", "chat", "away", "xa", "dnd"] = "online"
    status: str = "Online and Available"
    message_ttl: Annotated[float, Field(ge=0, le=3600)] = 5.0
    message_limit: Annotated[int, Field(ge=1, le=10_000)] = 50
    contact_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    keepalive: Annotated[float, Field(ge=1, le=3600)] = 15.0
    keepalive_timeout: Annotated[float, Field(ge=1, le=600)] = 10.0
    connect_timeout: Annotated[float, Field(ge=1, le=600)] = 20.0
    resume_timeout: Annotated[int, Field(ge=0, le=3600)] = 300
    retry_max: Annotated[float, Field(ge=1, le=3600)] = 60.0
    login_retry: Annotated[float, Field(ge=1, le=86400)] = 60.0
    max_body: Annotated[int, Field(ge=1, le=1_000_000)] = 60_000
    queue_limit: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    upload: Host | None = None
    room_limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    stop_notice: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    room: dict[str, RoomSettings] = {}

    @property
    def is_component(self) -> bool:
        """True for a component (XEP-0114)."""
        return self.type == "component"

    @property
    def by_token(self) -> bool:
        """True if it logs in by a token and not by a password."""
        return self.sources[0].startswith("token")

    @model_validator(mode="before")
    @classmethod
    def _component_defaults(cls, data: Any) -> Any:
        """Fill in what is usual for a component: most servers take them on this machine only, and without TLS."""
        if isinstance(data, dict) and data.get("type") == "component":
            return {"server": "127.0.0.1", "tls": "none"} | data
        return data

    @field_validator("jid")
    @classmethod
    def _plausible_jid(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("type") == "component":
            if not re.fullmatch(r"([^\s@/]+@)?[^\s@/]+(/.+)?", value):
                raise ValueError(f"{value!r} is not the address of a component such as phone.example.org")
        elif not _JID.fullmatch(value):
            raise ValueError(f"{value!r} is not a Jabber ID such as asterisk@example.org")
        return value

    @field_validator("buddies")
    @classmethod
    def _plausible_buddies(cls, value: list[str]) -> list[str]:
        for text in value:
            if not _JID.fullmatch(text):
                raise ValueError(f"{text!r} is not a Jabber ID such as asterisk@example.org")
        return value

    @field_validator("decloak_answer")
    @classmethod
    def _plausible_askers(cls, value: list[str]) -> list[str]:
        for text in value:
            if not re.fullmatch(r"([^\s@/]+@)?[^\s@/*]+", text):
                raise ValueError(f"{text!r} is neither a bare Jabber ID such as alice@example.org nor a domain")
        return value

    @field_validator("room")
    @classmethod
    def _plausible_rooms(cls, value: dict[str, RoomSettings]) -> dict[str, RoomSettings]:
        for text in value:
            if not re.fullmatch(r"[^\s@/]+@[^\s@/]+", text):
                raise ValueError(f"{text!r} is not a room such as team@rooms.example.org")
        if len({text.casefold() for text in value}) < len(value):
            raise ValueError("two rooms differ in case only, which addresses do not")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> AccountSettings:
        self._demand_one_source()
        if self.password is not None and self.password.get_secret_value() in EXAMPLE_PASSWORDS:
            raise ValueError("password is still the one of the example; set the account's own")
        if self.port is not None and self.server is None:
            raise ValueError("port needs server: without server, the domain's SRV records say host and port")
        if self.is_component:
            self._check_component()
        elif self.domain is not None:
            raise ValueError('domain is for type = "component" only: a client\'s is in its jid')
        elif self.accept_unencrypted:
            raise ValueError('accept_unencrypted is for type = "component" only: a client always encrypts')
        elif self.tls == "none" and self.by_token:
            raise ValueError('a token is sent on an encrypted connection only: tls = "none" needs a password')
        elif self.tls == "none" and not is_loopback(self.server):
            raise ValueError('tls = "none" is allowed only with a server on this machine (server = "127.0.0.1")')
        if self.accept_any_certificate and self.ca_file is not None:
            raise ValueError("ca_file has no effect beside accept_any_certificate = true: take one of them away")
        return self

    def _check_component(self) -> None:
        if self.by_token:
            raise ValueError(f"{self.sources[0]} is for clients: a component logs in by its password (XEP-0114)")
        for key, reason in _CLIENT_ONLY.items():
            if key in self.model_fields_set:
                raise ValueError(f"{key} has no effect on a component: {reason}")
        if self.tls == "starttls":
            raise ValueError('a component has no STARTTLS (XEP-0114): tls is "none" or "direct"')
        if self.tls == "none" and not self.accept_unencrypted and not is_loopback(self.server):
            raise ValueError(
                'tls = "none" towards another machine lets the network read and change all messages:'
                ' use tls = "direct" or a tunnel, or say accept_unencrypted = true'
            )


class AmiSettings(_PasswordSource):
    """``[ami]``: the manager connection to Asterisk (AMI), which the phone protocol needs.

    Attributes:
        host: Asterisk's.
        port: TCP port (``port`` or ``tlsbindaddr`` in manager.conf).
        username: the section of manager.conf; docs/admin.md shows one with the least privileges.
        password, password_file, password_env, password_command: the user's ``secret``; exactly one of them.
        tls: ``direct`` (``tlsenable = yes`` in manager.conf) or ``none``. The password is never sent in clear
            (challenge and response, MD5), but who calls whom would be.
        ca_file: certificates to trust besides the system's.
        accept_any_certificate: no check at all. Whoever controls the network between then controls the calls.
        accept_unencrypted: allow ``tls = "none"`` towards another machine.
        connect_timeout: seconds for connecting and logging in.
        action_timeout: seconds for Asterisk to answer an action.
        keepalive: seconds of silence before we ask Asterisk whether it is there.
        keepalive_timeout: seconds for its answer; then the connection counts as dead.
        retry_max: seconds between attempts at the most.
        login_retry: seconds between attempts after Asterisk refused our login.
    """

    host: Host = "127.0.0.1"
    port: Port = 5038
    username: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\r\n\x00]+$")]
    tls: Literal["none", "direct"] = "none"
    ca_file: Path | None = None
    accept_any_certificate: bool = False
    accept_unencrypted: bool = False
    connect_timeout: Annotated[float, Field(ge=1, le=600)] = 10.0
    action_timeout: Annotated[float, Field(ge=1, le=600)] = 5.0
    keepalive: Annotated[float, Field(ge=1, le=3600)] = 30.0
    keepalive_timeout: Annotated[float, Field(ge=1, le=600)] = 10.0
    retry_max: Annotated[float, Field(ge=1, le=3600)] = 30.0
    login_retry: Annotated[float, Field(ge=1, le=86400)] = 60.0

    @model_validator(mode="after")
    def _consistent(self) -> AmiSettings:
        self._demand_one_source()
        if self.password is not None and self.password.get_secret_value() in EXAMPLE_PASSWORDS:
            raise ValueError("password is still the one of the example; set the manager user's own")
        if self.tls == "none" and not self.accept_unencrypted and not is_loopback(self.host):
            raise ValueError(
                'tls = "none" towards another machine lets the network read who calls whom:'
                ' use tls = "direct", or say accept_unencrypted = true'
            )
        if self.accept_any_certificate and self.ca_file is not None:
            raise ValueError("ca_file has no effect beside accept_any_certificate = true: take one of them away")
        return self


def _written(pattern: str, complaint: str) -> AfterValidator:
    """Return a check that says in words what is wrong with a text: a pattern alone tells an administrator nothing."""
    right = re.compile(pattern)

    def check(text: str) -> str:
        if not right.fullmatch(text):
            raise ValueError(f"{text if len(text) <= 80 else text[:79] + '…'!r} {complaint}")
        return text

    return AfterValidator(check)


def _no_bare_pattern(text: str) -> str:
    """``6XX`` without the underscore would be a number with letters in it, which nobody dials."""
    if re.fullmatch(r"[0-9*#+XNZ-]*[XNZ][0-9*#+XNZ-]*\.?|[0-9*#+-]+\.", text):
        raise ValueError(f"{text!r} is no pattern without an underscore in front: write '_{text}'")
    return text


#: Technologies as Asterisk writes them in the names of channels; in a dialplan any case will do.
_TECHNOLOGIES = ("PJSIP", "SIP", "IAX2", "DAHDI", "SCCP", "Local", "Mobile", "Motif", "Skinny")


def _as_asterisk_writes_it(device: str) -> str:
    """Return ``pjsip/101`` as ``PJSIP/101``: events and states of devices bear that name."""
    technology, slash, rest = device.partition("/")
    written = next((name for name in _TECHNOLOGIES if name.casefold() == technology.casefold()), technology)
    return f"{written}{slash}{rest}"


#: A device as Asterisk writes it in dialplans and in front of a channel's number: ``PJSIP/101``.
Device = Annotated[
    str,
    _written(
        r"(?=.{1,80}$)[A-Za-z][A-Za-z0-9]*/[^\s,;&|/()\x00-\x1f]+",
        "is no device: write it as Dial() has it, such as 'PJSIP/101'",
    ),
    AfterValidator(_as_asterisk_writes_it),
]

#: What can be dialled as it stands, or nothing: these characters and no others reach Asterisk.
Extension = Annotated[
    str,
    _written(
        r"[0-9A-Za-z*#+._-]{0,64}",
        "is no extension: it may hold digits, letters and * # + . _ -, 64 of them at the most",
    ),
]

#: A pattern of numbers as in extensions.conf: ``_NXX``, ``_+49X.``, ``_[1-5]XX``, or a number without the underscore.
#: Asterisk does not look at what stands behind ``.`` or ``!``: whoever writes it expects less than would be allowed.
DialPattern = Annotated[
    str,
    _written(
        r"(?=.{1,80}$)(_(([0-9A-Za-z*#+-]|\[[0-9A-Za-z*#+-]+\])+[.!]?|[.!])|[0-9A-Za-z*#+.-][0-9A-Za-z*#+._-]*)",
        "is no pattern as in extensions.conf, such as '_NXXXXXX' or '_0[1-9]X.', and no number",
    ),
    AfterValidator(_no_bare_pattern),
]


Country = Annotated[str, _written(r"([A-Z]{2})?", "is no country: two capital letters (ISO 3166), such as 'DE'")]


class PhoneUser(_Section):
    """``[phone.user."alice@example.org"]``: somebody with a phone. The key is the whole bare JID.

    Attributes:
        devices: their phones; the first one rings when they dial from chat.
        extension: what others dial to reach them; the part of the first device behind the ``/`` if empty.
        name: for lists and commands; the part of the JID before the ``@`` if empty.
        numbers: further telephone numbers that are theirs, such as the one of the world outside; for look-ups.
        mails: their mail addresses; for look-ups.
        dial: what they may dial besides the extensions of other users, instead of ``phone.dial``.
        notes: tell them in chat who calls, one message a call. They can change it by the command ``notes``.
    """

    devices: Annotated[list[Device], Field(min_length=1, max_length=20)]
    extension: Extension = ""
    name: Annotated[str, StringConstraints(max_length=200)] = ""
    numbers: list[Annotated[str, _written(r"(?=.{1,64}$)\+?[0-9() ./-]*[0-9]", "is no telephone number")]] = []
    mails: list[Annotated[str, _written(r"(?=.{1,254}$)[^\s@:<>,;]+@[^\s@:<>,;]+", "is no mail address")]] = []
    dial: list[DialPattern] | None = None
    notes: bool = False

    @property
    def number(self) -> str:
        """What others dial to reach them."""
        return self.extension or self.devices[0].partition("/")[2]

    @model_validator(mode="after")
    def _can_be_dialled(self) -> PhoneUser:
        number = self.number
        if not re.fullmatch(r"[0-9A-Za-z*#+.-][0-9A-Za-z*#+._-]{0,63}", number):
            raise ValueError(f"{number!r}, from the first device, is no extension: set extension")
        if re.search(r"[.-]", number) and not re.search(r"[A-Za-z]", number):
            # People put dots and hyphens between digits for the eye, and they are taken away before dialling.
            raise ValueError(f"the extension {number!r} cannot be dialled: no dot or hyphen among digits")
        if number in SPECIAL_EXTENSIONS:
            raise ValueError(f"the extension {number!r} cannot be dialled: Asterisk enters it by itself")
        return self


class BookSettings(_Section):
    """``[phone.book]``: where the names behind numbers come from.

    Attributes:
        country: two letters (ISO 3166); numbers without a country code are read as of there.
        files: ``.csv`` (with a line of headings) or ``.toml``; read again when they change.
        command: a list of words, no shell; it gets the number as its last argument, and prints ``name``, ``company``,
            ``link`` and ``avatar`` as JSON.
        ldap: address of a directory, ``ldaps://…`` or ``ldap://…`` (then with STARTTLS, except towards this machine).
        ldap_base: where to search.
        ldap_filter: ``{number}`` stands for the number as it came, ``{e164}`` for its international form
            (``+49301234567``) and ``{national}`` for the one within the country (``0301234567``).
        ldap_user, ldap_password_file: whom to bind as; nobody if empty.
        ldap_ca_file: certificates to trust besides the system's.
        timeout: seconds that a look-up may take; the phone rings meanwhile, and is told of without a name after them.
        cache: seconds for which an answer of the command or the directory holds; unknown numbers, too.
        cache_limit: answers kept.
    """

    country: Country = ""
    files: list[Path] = []
    command: list[str] = []
    ldap: Annotated[
        str, _written(r"(ldaps?://[^\s/]+)?", "is no address of a directory, such as 'ldaps://ldap.example.org'")
    ] = ""
    ldap_base: str = ""
    ldap_filter: str = (
        "(|(telephoneNumber={number})(telephoneNumber={e164})(telephoneNumber={national})"
        "(mobile={number})(mobile={e164})(mobile={national}))"
    )
    ldap_user: str = ""
    ldap_password_file: Path | None = None
    ldap_ca_file: Path | None = None
    timeout: Annotated[float, Field(gt=0, le=10)] = 1.0
    cache: Annotated[float, Field(ge=0, le=604_800)] = 3600.0
    cache_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000


class RecordSettings(_Section):
    """``[phone.records]``: what people are told of a call that is over (``urn:xmpp:cdr:0``).

    Attributes:
        send: of which calls: ``none``, the ``missed`` ones, or ``all``.
        type: ``headline``, which reaches the clients that are there; or ``chat``, which is pushed and stored, too.
        external_jid: the address of numbers that belong to nobody in the user map, such as
            ``{number}@pbx.example.org``; they have none if it is empty.
    """

    send: Literal["none", "missed", "all"] = "none"
    type: Literal["headline", "chat"] = "headline"
    external_jid: Annotated[
        str,
        _written(
            r"(?=.{0,300}$)([^\s@/{}]*\{number\}[^\s@/{}]*@[^\s@/{}]+)?",
            "is no address of a number, such as '{number}@pbx.example.org'",
        ),
    ] = ""


class PhoneSettings(_Section):
    """``[phone]``: the phone protocol: screen pop, click to dial, on-the-phone presence. Needs ``[ami]``.

    Attributes:
        account: the account that serves it.
        context: of the dialplan, where what is dialled or forwarded to is looked up. Nothing else is ever dialled.
        dial: what everybody may dial besides the extensions of other users: patterns as in extensions.conf. Numbers
            that cost money belong here only if everybody in the user map may spend it.
        ring_time: seconds that the own phone rings after a click to dial.
        variables: channel variables of a call by click to dial, such as a header that makes the phone pick up by itself
            (``"PJSIP_HEADER(add,Alert-Info)" = "<http://localhost>;info=alert-autoanswer"``).
        lost_after: seconds without Asterisk after which all its calls count as ended.
        on_phone: the status text of somebody on the phone. Spark shows its icon only for its own language's text.
        contacts: show each user's phone as a contact (``alice@phone.example.org``); for a component only.
        activity: publish "on the phone" as the users' activity (XEP-0108), where the server lets a component do so.
        presence_state: tell Asterisk when somebody is away or not to be disturbed (``CustomPresence:alice``).
        pause_queues: pause the user's devices in all queues while they are away or not to be disturbed.
        book: the phone book.
        records: what people are told of calls that are over.
        user: the people by their bare JID.
    """

    account: str
    context: Annotated[str, _written(r"[0-9A-Za-z._-]{1,79}", "is no context of the dialplan, such as 'internal'")]
    dial: list[DialPattern] = []
    ring_time: Annotated[float, Field(ge=1, le=600)] = 30.0
    variables: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w(),.-]*$")], str] = {}
    lost_after: Annotated[float, Field(ge=0, le=3600)] = 20.0
    on_phone: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "On the phone"
    contacts: bool = True
    activity: bool = True
    presence_state: bool = False
    pause_queues: bool = False
    book: BookSettings = BookSettings()
    records: RecordSettings = RecordSettings()
    user: dict[str, PhoneUser] = {}

    @field_validator("user")
    @classmethod
    def _plausible_users(cls, value: dict[str, PhoneUser]) -> dict[str, PhoneUser]:
        for text in value:
            if not re.fullmatch(r"[^\s@/]+@[^\s@/]+", text):
                raise ValueError(f"{text!r} is not a bare Jabber ID such as alice@example.org")
        return value

    @field_validator("variables")
    @classmethod
    def _one_line_each(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if re.search(r"[\x00-\x1f\x7f]", text):
                raise ValueError(f"the value of {name!r} holds a line break or another control character")
        return value

    @model_validator(mode="after")
    def _nothing_is_shared(self) -> PhoneSettings:
        """One owner for each phone, extension and address: events and orders would go to one of the two."""
        owners: dict[tuple[str, str], str] = {}
        for text, user in self.user.items():
            keys = [("address", text.casefold()), ("extension", user.number)]
            # Asterisk finds the technology in any case (pjsip/101), and what follows as it stands.
            keys += [("device", re.sub("^[^/]*", lambda match: match[0].upper(), device)) for device in user.devices]
            for kind, key in keys:
                owner = owners.setdefault((kind, key), text)
                if owner != text:
                    raise ValueError(f"{owner!r} and {text!r} have the same {kind} {key}")
            if len(set(keys)) < len(keys):
                raise ValueError(f"{text!r} has the same device twice")
        return self


class ContactsSettings(_Section):
    """``[contacts]``: contact discovery: clients send numbers and mail addresses, and learn who has a Jabber ID.

    Attributes:
        account: the account that answers.
        country: two letters (ISO 3166) for numbers without a country code; empty: that of ``phone.book``.
        allow: domains and bare JIDs that may ask; empty: those of the account's server and of the user map.
        hidden: domains and bare JIDs that nobody finds.
        directory: ``.csv`` or ``.toml`` files with numbers and mail addresses of people, besides the user map; read
            again when they change.
        cache: seconds for which answers of the peers hold; unknown addresses, too. 0 keeps none.
        redis: address of a Redis that keeps them instead of our memory: ``redis://…``, ``rediss://…``, ``unix://…``.
        peers: services like us in other regions, asked for what we don't know; they may ask us.
        timeout: seconds after which the peers' answers are not waited for.
        max_addresses: addresses in one request.
        hourly, daily: addresses that one person may ask for within an hour, and within a day. Whoever could ask for
            every number would have a list of who owns which.
        requests: requests of one person within a minute.
    """

    account: str
    country: Country = ""
    allow: list[str] = []
    hidden: list[str] = []
    directory: list[Path] = []
    cache: Annotated[float, Field(ge=0, le=604_800)] = 3600.0
    redis: SecretStr | None = None
    peers: list[str] = []
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    max_addresses: Annotated[int, Field(ge=1, le=10_000)] = 500
    hourly: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    daily: Annotated[int, Field(ge=1, le=1_000_000)] = 5000
    requests: Annotated[int, Field(ge=1, le=1000)] = 20

    @field_validator("allow", "hidden", "peers")
    @classmethod
    def _addresses(cls, value: list[str], info: ValidationInfo) -> list[str]:
        for text in value:
            if not re.fullmatch(r"([^\s@/]+@)?[^\s@/]+" + (r"(/.+)?" if info.field_name == "peers" else ""), text):
                raise ValueError(f"{text!r} is neither a domain nor a Jabber ID")
        return value

    @field_validator("redis")
    @classmethod
    def _redis_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"(redis|rediss|unix)://.", value.get_secret_value()):
            raise ValueError("must begin with redis://, rediss:// or unix://")  # its text may hold a password
        return value

    @field_validator("directory")
    @classmethod
    def _readable_kinds(cls, value: list[Path]) -> list[Path]:
        for path in value:
            if path.suffix.lower() not in (".csv", ".toml"):
                raise ValueError(f"{path}: the name must end in .csv or .toml")
        return value


class SipSettings(_PasswordSource):
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
    endpoint: Annotated[str, _written(r"[0-9A-Za-z._-]{1,79}", "is no endpoint of pjsip.conf, such as 'agi-xmpp'")] = (
        "agi-xmpp"
    )
    timeout: Annotated[float, Field(ge=0.5, le=32)] = 5.0

    @model_validator(mode="after")
    def _one_password(self) -> SipSettings:
        if len(self.sources) > 1:
            raise ValueError(f"needs one password at the most, not {' and '.join(self.sources)}")
        return self


class ConferenceRoomSettings(_PasswordSource):
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
    muc: Annotated[str, _written(r"([^\s@/]+@[^\s@/]+)?", "is no room, such as 'garden@rooms.example.org'")] = ""

    @model_validator(mode="after")
    def _one_password(self) -> ConferenceRoomSettings:
        if len(self.sources) > 1:
            raise ValueError(f"needs one password at the most, not {' and '.join(self.sources)}")
        return self


class ConferenceSettings(_Section):
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
    context: Annotated[str, _written(r"[0-9A-Za-z._-]{1,79}", "is no context of the dialplan, such as 'conferences'")]
    invite_context: Annotated[
        str, _written(r"[0-9A-Za-z._-]{1,79}", "is no context of the dialplan, such as 'conference-invited'")
    ] = "conference-invited"
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


class VoicemailSettings(_Section):
    """``[voicemail]``: recordings of Asterisk's voicemail into chat, by ``jabber_voicemail`` and `agi-xmpp mailcmd`.

    Attributes:
        spool: directories that recordings may lie in; a file elsewhere is refused.
        max_size: bytes of a recording at the most. It is in memory as a whole; a minute of WAV is a megabyte.
        upload_timeout: seconds for the upload, with all that is asked before it.
        convert: a program (a list of words, no shell) that makes what is sent of a recording, from its standard input
            to its standard output. Without one, the recording goes as Asterisk has written it.
        suffix: what the program makes: ``ogg``, ``opus``, ``mp3``, ``wav``, ``flac``.
        convert_timeout: seconds for it.
        transcribe: a program that writes what is said in a recording, from its standard input to its standard output,
            as UTF-8.
        transcribe_timeout: seconds for it.
        account: the one that sends what comes by mailcmd.
        people: whom a mail is for: the address that it goes to, and the Jabber ID. An address of the account's own
            domain needs no entry.
        fallback: a program that gets each mail of mailcmd that could not be delivered in chat, on its standard input.
        undelivered: a maildir for such mails, if there is no ``fallback`` or it fails, too.
    """

    spool: list[Path] = [Path("/var/spool/asterisk/voicemail")]
    max_size: Annotated[int, Field(ge=1, le=MAX_RECORDING)] = 10_000_000
    upload_timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    convert: list[str] = []
    suffix: Literal["ogg", "opus", "mp3", "wav", "flac"] = "ogg"
    convert_timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    transcribe: list[str] = []
    transcribe_timeout: Annotated[float, Field(gt=0, le=3600)] = 120.0
    account: str = ""
    people: dict[str, str] = {}
    fallback: list[str] = []
    undelivered: Path | None = None

    @field_validator("spool")
    @classmethod
    def _absolute(cls, value: list[Path]) -> list[Path]:
        for path in value:
            if not path.is_absolute() or path == Path("/"):
                raise ValueError(f"{str(path)!r} is no directory of recordings such as /var/spool/asterisk/voicemail")
        return value

    @field_validator("people")
    @classmethod
    def _plausible_people(cls, value: dict[str, str]) -> dict[str, str]:
        for address, jid in value.items():
            if not _JID.fullmatch(jid):
                raise ValueError(f"{address!r}: {jid!r} is not a Jabber ID such as bob@example.org")
        if len({address.casefold() for address in value}) < len(value):
            raise ValueError("two addresses differ in case only, and mail does not tell them apart")
        return value


class StateSettings(_Section):
    """``[state]``: what is kept over a restart.

    Attributes:
        directory: where; "" keeps nothing: after a restart somebody's chat client may show "on the phone" too long.
    """

    directory: str = "/var/lib/agi-xmpp"


#: Passwords of our own documents: whoever leaves one in place has not finished the set-up.
EXAMPLE_PASSWORDS = frozenset({"change-me", "changeme", "secret"})


class ControlSettings(_Section):
    """``[control]``: how `agi-xmpp status` and `agi-xmpp send` reach the running service.

    Attributes:
        socket: path of a Unix socket, readable by the service's user and group only; "" turns it off.
    """

    socket: str = "/run/agi-xmpp/control.sock"


class LogSettings(_Section):
    """``[log]``.

    Attributes:
        level: ``debug`` shows message texts; the others never do.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"


AccountName = Annotated[str, StringConstraints(pattern=r"^[^,/?\s][^,/?]*$", max_length=80)]


class Settings(_Section):
    """The whole file."""

    agi: AgiSettings = AgiSettings()
    account: dict[AccountName, AccountSettings] = {}
    ami: AmiSettings | None = None
    phone: PhoneSettings | None = None
    contacts: ContactsSettings | None = None
    conference: ConferenceSettings | None = None
    voicemail: VoicemailSettings = VoicemailSettings()
    state: StateSettings = StateSettings()
    control: ControlSettings = ControlSettings()
    log: LogSettings = LogSettings()

    def account_key(self, name: str) -> str | None:
        """Return the key in ``account`` of the account that a name means, in whatever case; None if there is none."""
        return next((key for key in self.account if key.casefold() == name.casefold()), None)

    @model_validator(mode="after")
    def _names_differ(self) -> Settings:
        folded: dict[str, str] = {}
        for name in self.account:
            other = folded.setdefault(name.casefold(), name)
            if other != name:
                raise ValueError(
                    f"accounts {other!r} and {name!r} differ in case only, and the dialplan does not tell them apart"
                )
        return self

    @model_validator(mode="after")
    def _components_differ(self) -> Settings:
        """One connection for each component: servers refuse a second one, or share the messages out between both."""
        served: dict[str, str] = {}
        for name, account in self.account.items():
            if account.is_component:
                domain = account.jid.partition("/")[0].rpartition("@")[2].casefold()
                other = served.setdefault(domain, name)
                if other != name:
                    raise ValueError(f"accounts {other!r} and {name!r} are both the component {domain}")
        return self

    @model_validator(mode="after")
    def _voicemail_has_its_account(self) -> Settings:
        name = self.voicemail.account
        if name and self.account_key(name) is None:
            known = ", ".join(self.account) or "there is none"
            raise ValueError(f"voicemail.account: there is no account {name!r}; known: {known}")
        return self

    @model_validator(mode="after")
    def _phones_can_be_served(self) -> Settings:
        if self.phone is None:
            return self
        if self.phone.account not in self.account:
            known = ", ".join(self.account) or "there is none"
            raise ValueError(f"phone.account: there is no account {self.phone.account!r}; known: {known}")
        if self.ami is None:
            raise ValueError("[phone] needs [ami], the manager connection to Asterisk")
        return self

    @model_validator(mode="after")
    def _contacts_can_be_looked_up(self) -> Settings:
        if self.contacts is None:
            return self
        name = self.contacts.account
        if name not in self.account:
            known = ", ".join(self.account) or "there is none"
            raise ValueError(f"contacts.account: there is no account {name!r}; known: {known}")
        users = self.phone is not None and self.phone.user
        if self.account[name].is_component and not (self.contacts.allow or self.account[name].domain or users):
            raise ValueError("contacts.allow: a component has no users of its own: say whose users may ask")
        return self


def is_loopback(host: str | None) -> bool:
    """Tell whether ``host`` is this machine, by address or by the name ``localhost`` (no name is looked up)."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def load(path: Path) -> Settings:
    """Read and check a configuration file.

    Raises:
        ConfigError: it cannot be read, is no TOML, or says something wrong; one line for each complaint.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}{_toml_advice(text, str(error))}") from None
    return parse(data, str(path))


def _toml_advice(text: str, error: str) -> str:
    """Return what to do about the mistake that people make most; "" if it is another one."""
    place = re.search(r"at line (\d+)", error)
    line = text.splitlines()[int(place[1]) - 1].strip() if place else ""
    if line.startswith("[") and "@" in line and '"' not in line:
        return '; an address in a heading needs quotation marks, as in [phone.user."alice@example.org"]'
    return ""


def parse(data: dict[str, Any], origin: str) -> Settings:
    """Check settings that were read already. ``origin`` stands before each complaint."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        complaints = [
            _complaint(item["loc"], item["type"], item["msg"])
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigError("\n".join(f"{origin}: {complaint}" for complaint in complaints)) from None


#: What administrators of Asterisk and of XMPP servers call some of our keys.
_ASTERISKS_OWN = {"secret": "password", "component_secret": "password", "hostname": "host", "bindport": "port"}

#: Complaints of pydantic's about types, by their kind, as an administrator would say it.
_IN_WORDS = {
    "list_type": 'must be a list in brackets, such as ["…"]',
    "too_short": "must not be empty",
    "string_type": "must be a text in quotation marks",
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("model_type", "dict_type"), "must be a section, with a heading in brackets"),
}


def _complaint(location: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = [key for key in [_ASTERISKS_OWN.get(str(location[-1]))] if key in known]
        near = near or difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"{where}: unknown key; {advice}"
    if kind == "missing":
        return f"{where}: is missing"
    text = _IN_WORDS.get(kind) or message.removeprefix("Value error, ")
    return f"{where}: {text}" if where else text


def _known_keys(section: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a section knows; ``("account", "pbx", "room", "team@rooms.example.org")`` is a section."""
    kind: Any = Settings
    for part in section:
        kind = kind.model_fields[part].annotation if _is_section(kind) else get_args(kind)[-1]
        if get_origin(kind) is UnionType:  # Section | None
            kind = get_args(kind)[0]
    return list(kind.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _read_secret_file(key: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{key} {path}: {reason}") from None


def _run_secret_command(key: str, words: list[str]) -> str:
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise ConfigError(f"{key}: no program {words[0]!r}" if words else f"{key} is empty")
    try:
        # The administrator's own command, as a list of words: no shell, nothing from the network in it.
        result = subprocess.run(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECRET_COMMAND_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{key} {words[0]!r} gave nothing within {SECRET_COMMAND_TIMEOUT:g} s") from None
    except OSError as error:
        raise ConfigError(f"{key} {words[0]!r}: {error.strerror}") from None
    if result.returncode != 0:
        # Its output is not repeated here: it may hold the secret.
        raise ConfigError(f"{key} {words[0]!r} ended with exit code {result.returncode}")
    try:
        return result.stdout.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{key} {words[0]!r} printed something that is not UTF-8 text") from None
