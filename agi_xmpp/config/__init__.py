"""Typed settings: one TOML file, checked whole before anything starts.

`load` reads a file; every complaint names the key, what is wrong with it and, for an unknown key, the nearest
known one.
Secrets are `pydantic.SecretStr`: their text appears in no repr, log or error.
"""

from agi_xmpp.config.account import AccountSettings, RoomSettings
from agi_xmpp.config.agi import AgiSettings, ScriptRoute
from agi_xmpp.config.ami import AmiSettings
from agi_xmpp.config.base import is_loopback
from agi_xmpp.config.conference import ConferenceRoomSettings, ConferenceSettings, SipSettings
from agi_xmpp.config.contacts import ContactsSettings
from agi_xmpp.config.load import control_socket, load, parse
from agi_xmpp.config.phone import BookSettings, PhoneSettings, PhoneUser, RecordSettings
from agi_xmpp.config.settings import ControlSettings, LogSettings, Settings, StateSettings
from agi_xmpp.config.voicemail import MAX_RECORDING, VoicemailSettings

__all__ = [
    "MAX_RECORDING",
    "AccountSettings",
    "AgiSettings",
    "AmiSettings",
    "BookSettings",
    "ConferenceRoomSettings",
    "ConferenceSettings",
    "ContactsSettings",
    "ControlSettings",
    "LogSettings",
    "PhoneSettings",
    "PhoneUser",
    "RecordSettings",
    "RoomSettings",
    "ScriptRoute",
    "Settings",
    "SipSettings",
    "StateSettings",
    "VoicemailSettings",
    "control_socket",
    "is_loopback",
    "load",
    "parse",
]
