"""``[account.NAME]``: XMPP logins, and the rooms that they belong into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr, StringConstraints, ValidationInfo, field_validator, model_validator

from agi_xmpp.config.addresses import AnyJid, Jid, JidOrDomain, RoomJid
from agi_xmpp.config.base import Host, Port, demand_one_trust, is_loopback
from agi_xmpp.config.secrets import OptionalPassword, PasswordSource


class RoomSettings(OptionalPassword):
    """``[account.NAME.room."team@rooms.example.org"]``: a room (XEP-0045) that the account belongs into.

    Attributes:
        nick: our name in the room; the part of the account's ``jid`` before the ``@`` if empty.
        join: enter the room at login; otherwise the settings only serve ``jabber_join``.
        password, password_file, password_env, password_command: of the room, if it has one; at most one of them. In a
            dialplan the password would be visible on Asterisk's console and in its logs.
    """

    nick: Annotated[str, StringConstraints(max_length=1023)] = ""
    join: bool = True


#: Keys of an account that a component has no use for, and why.
_CLIENT_ONLY = {
    "priority": "whatever is sent to its domain is its own",
    "resume_timeout": "no server keeps its stream when the connection breaks",
}


class AccountSettings(PasswordSource):
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
    jid: AnyJid
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
    buddies: list[Jid] = []
    subscribe: bool = True
    subscriptions: Literal["accept", "buddies", "deny"] = "buddies"
    decloak_answer: list[JidOrDomain] = []
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
    room: dict[RoomJid, RoomSettings] = {}

    @property
    def is_component(self) -> bool:
        """True for a component (XEP-0114)."""
        return self.type == "component"

    @property
    def jid_domain(self) -> str:
        """The domain of ``jid``, in small letters."""
        return self.jid.partition("/")[0].rpartition("@")[2].casefold()

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
    def _of_a_client_with_a_name(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("type") != "component" and "@" not in value.partition("/")[0]:
            raise ValueError(f"{value!r} is not a Jabber ID such as asterisk@example.org")
        return value

    @field_validator("room")
    @classmethod
    def _rooms_differ(cls, value: dict[str, RoomSettings]) -> dict[str, RoomSettings]:
        if len({text.casefold() for text in value}) < len(value):
            raise ValueError("two rooms differ in case only, which addresses do not")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> AccountSettings:
        self._demand_one_source()
        self._demand_own_password("the account")
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
        demand_one_trust(self.ca_file, self.accept_any_certificate)
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
