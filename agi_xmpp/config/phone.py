"""``[phone]``: the phone protocol, its people, its phone book and its records."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from agi_xmpp.config.addresses import BareJid
from agi_xmpp.config.base import Country, Section, written
from agi_xmpp.config.dialplan import Context, Device, DialPattern, Extension, why_not_dialled


class PhoneUser(Section):
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
    numbers: list[Annotated[str, written(r"(?=.{1,64}$)\+?[0-9() ./-]*[0-9]", "is no telephone number")]] = []
    mails: list[Annotated[str, written(r"(?=.{1,254}$)[^\s@:<>,;]+@[^\s@:<>,;]+", "is no mail address")]] = []
    dial: list[DialPattern] | None = None
    notes: bool = False

    @property
    def number(self) -> str:
        """What others dial to reach them."""
        return self.extension or self.devices[0].partition("/")[2]

    @model_validator(mode="after")
    def _can_be_dialled(self) -> PhoneUser:
        if reason := why_not_dialled(self.number):
            advice = "" if self.extension else "; it comes from the first device: set extension"
            raise ValueError(f"the extension {self.number!r} cannot be dialled: {reason}{advice}")
        return self


class BookSettings(Section):
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
        str, written(r"(ldaps?://[^\s/]+)?", "is no address of a directory, such as 'ldaps://ldap.example.org'")
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


class RecordSettings(Section):
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
        written(
            r"(?=.{0,300}$)([^\s@/{}]*\{number\}[^\s@/{}]*@[^\s@/{}]+)?",
            "is no address of a number, such as '{number}@pbx.example.org'",
        ),
    ] = ""


class PhoneSettings(Section):
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
    context: Context
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
    user: dict[BareJid, PhoneUser] = {}

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
