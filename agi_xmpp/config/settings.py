"""The whole file, and what its sections have to say about each other."""

from __future__ import annotations

from collections.abc import Container
from typing import Annotated, Literal

from pydantic import StringConstraints, model_validator

from agi_xmpp.config.account import AccountSettings
from agi_xmpp.config.agi import AgiSettings
from agi_xmpp.config.ami import AmiSettings
from agi_xmpp.config.base import Section
from agi_xmpp.config.conference import ConferenceSettings
from agi_xmpp.config.contacts import ContactsSettings
from agi_xmpp.config.phone import PhoneSettings
from agi_xmpp.config.voicemail import VoicemailSettings


class StateSettings(Section):
    """``[state]``: what is kept over a restart.

    Attributes:
        directory: where; "" keeps nothing: after a restart somebody's chat client may show "on the phone" too long.
    """

    directory: str = "/var/lib/agi-xmpp"


class ControlSettings(Section):
    """``[control]``: how `agi-xmpp status` and `agi-xmpp send` reach the running service.

    Attributes:
        socket: path of a Unix socket, readable by the service's user and group only; "" turns it off.
    """

    socket: str = "/run/agi-xmpp/control.sock"


class LogSettings(Section):
    """``[log]``.

    Attributes:
        level: ``debug`` shows message texts; the others never do.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"


AccountName = Annotated[str, StringConstraints(pattern=r"^[^,/?\s][^,/?]*$", max_length=80)]


class Settings(Section):
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
                other = served.setdefault(account.jid_domain, name)
                if other != name:
                    raise ValueError(f"accounts {other!r} and {name!r} are both the component {account.jid_domain}")
        return self

    @model_validator(mode="after")
    def _voicemail_has_its_account(self) -> Settings:
        name = self.voicemail.account
        if name:
            self._find_account("voicemail.account", self.account_key(name) or name)
        return self

    @model_validator(mode="after")
    def _phones_can_be_served(self) -> Settings:
        if self.phone is None:
            return self
        self._find_account("phone.account", self.phone.account)
        if self.ami is None:
            raise ValueError("[phone] needs [ami], the manager connection to Asterisk")
        return self

    @model_validator(mode="after")
    def _contacts_can_be_looked_up(self) -> Settings:
        if self.contacts is None:
            return self
        account = self._find_account("contacts.account", self.contacts.account)
        users = self.phone is not None and self.phone.user
        if account.is_component and not (self.contacts.allow or account.domain or users):
            raise ValueError("contacts.allow: a component has no users of its own: say whose users may ask")
        return self

    @model_validator(mode="after")
    def _conferences_can_be_served(self) -> Settings:
        conference = self.conference
        if conference is None:
            return self
        if self.ami is None:
            raise ValueError("[conference] needs [ami], the manager connection to Asterisk")
        rooms = self._find_component("conference.account", conference.account)
        if self.phone is not None and self.phone.account == conference.account:
            raise ValueError(
                f"conference.account: {rooms.jid_domain} has the phones ([phone]): rooms need a component of their own"
            )
        domains = {rooms.jid_domain}
        if conference.phones == conference.account:
            raise ValueError("conference.phones: phones need another component than the rooms, or none")
        if conference.phones:
            domains.add(self._find_component("conference.phones", conference.phones).jid_domain)
        self._check_conference_rooms(conference, rooms, domains)
        return self

    def _check_conference_rooms(
        self, conference: ConferenceSettings, component: AccountSettings, domains: Container[str]
    ) -> None:
        """Refuse rooms whose address is taken.

        Args:
            conference: the settings.
            component: that has the rooms.
            domains: that are ours.
        """
        local, at, _ = component.jid.partition("/")[0].rpartition("@")
        if at and local.casefold() in conference.room:
            raise ValueError(f"conference.room.{local.casefold()}: {component.jid} is our own address (account.jid)")
        for key, room in conference.room.items():
            if room.muc and room.muc.rpartition("@")[2].casefold() in domains:
                raise ValueError(f"conference.room.{key}.muc: {room.muc} is at a domain of our own; leave muc away")
            if room.muc and not conference.phones:
                raise ValueError(
                    f"conference.room.{key}.muc: phones need addresses of their own to enter {room.muc}: set"
                    " conference.phones"
                )

    def _find_account(self, key: str, name: str) -> AccountSettings:
        """Return an account by its name; ``key`` is where the name stands."""
        if name not in self.account:
            known = ", ".join(self.account) or "there is none"
            raise ValueError(f"{key}: there is no account {name!r}; known: {known}")
        return self.account[name]

    def _find_component(self, key: str, name: str) -> AccountSettings:
        account = self._find_account(key, name)
        if not account.is_component:
            raise ValueError(f'{key}: account {name!r} is no component (type = "component", docs/component.md)')
        return account
