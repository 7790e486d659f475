"""The form by which owners configure a room (XEP-0045 sections 10.1 and 10.2, data forms of XEP-0004). Pure."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import Element

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import RoomConfig
from agi_xmpp.features.conference.room import wording
from agi_xmpp.features.conference.stanzas import Field

FORM_TYPE = "http://jabber.org/protocol/muc#roomconfig"

#: Most characters of a title, a description and a password; the first two are those of the settings.
MAX_TITLE = 200
MAX_DESCRIPTION = 1000
MAX_PASSWORD = 256

#: Choices for the size of a room.
_SIZES = (10, 20, 50, 100, 200, 500, 1000)

_PREFIX = "muc#roomconfig_"
_TITLE = f"{_PREFIX}roomname"
_DESCRIPTION = f"{_PREFIX}roomdesc"
_PROTECTED = f"{_PREFIX}passwordprotectedroom"
_PASSWORD = f"{_PREFIX}roomsecret"
_SIZE = f"{_PREFIX}maxusers"
#: Questions with yes or no: the field, what is shown, and the attribute of `RoomConfig`.
_SWITCHES = (
    (f"{_PREFIX}persistentroom", "Keep the room when nobody is in", "persistent"),
    (f"{_PREFIX}publicroom", "Show the room in the list of rooms", "public"),
    (f"{_PREFIX}membersonly", "Members only", "members_only"),
    (f"{_PREFIX}moderatedroom", "Who comes in may write only after a moderator allows it", "moderated"),
    (f"{_PREFIX}changesubject", "All participants may set the subject", "subject_by_all"),
)


def form(config: RoomConfig, limit: int) -> Element:
    """Return the form, filled in with how the room is now.

    Args:
        config: of the room.
        limit: of people from chat; no room can be set to have more.
    """
    sizes = sorted({size for size in _SIZES if size <= limit} | {limit, config.max_occupants})
    fields = [
        Field(_TITLE, (config.title,), "text-single", "Title"),
        Field(_DESCRIPTION, (config.description,), "text-single", "Description"),
        *(Field(var, (_yes_no(getattr(config, attribute)),), "boolean", label) for var, label, attribute in _SWITCHES),
        Field(_PROTECTED, (_yes_no(bool(config.password)),), "boolean", "A password is needed to come in from chat"),
        Field(_PASSWORD, (config.password,), "text-private", "Password"),
        Field(
            _SIZE,
            (str(config.max_occupants),),
            "list-single",
            "People from chat at the most",
            [(str(size), str(size)) for size in sizes],
        ),
    ]
    return stanzas.form("form", FORM_TYPE, fields, title=f"Configuration of {config.title}")


def read(x: Element, config: RoomConfig, limit: int) -> RoomConfig:
    """Return what a room shall be like from now on.

    What the form leaves out stays as it is, and fields that we do not know are ignored (XEP-0004 section 3.3): clients
    send those of other services, too.

    Args:
        x: the form that an owner has submitted.
        config: of the room until now.
        limit: of people from chat.

    Raises:
        Refused: ``bad-request``: this is another form. ``not-acceptable``: a value is none for its field.
    """
    values = {var: "\n".join(lines).strip() for var, lines in stanzas.submitted(x).items()}
    if values.pop("FORM_TYPE", FORM_TYPE) != FORM_TYPE:
        raise Refused("This is not the form of a room's configuration.", "bad-request")
    new = replace(config)
    for var, _, attribute in _SWITCHES:
        if var in values:
            setattr(new, attribute, _boolean(var, values[var]))
    if title := _line(values.get(_TITLE, "")):
        new.title = _not_longer("title", title, MAX_TITLE)
    if _DESCRIPTION in values:
        new.description = _not_longer("description", _line(values[_DESCRIPTION]), MAX_DESCRIPTION)
    new.password = _password(values, config.password)
    if _SIZE in values:
        new.max_occupants = _size(values[_SIZE], limit)
    return new


def _password(values: dict[str, str], old: str) -> str:
    """Return the password of the room: "" for none."""
    given = _not_longer("password", values.get(_PASSWORD, old), MAX_PASSWORD)
    if _PROTECTED not in values:
        return given
    if not _boolean(_PROTECTED, values[_PROTECTED]):
        return ""
    if not given:
        raise Refused("A room with a password needs one: the field for it is empty.", "not-acceptable")
    return given


def _size(text: str, limit: int) -> int:
    if text in ("", "none"):  # XEP-0045's word for "no limit of the room's own"
        return limit
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= limit):
        raise Refused(f"A room here is for 1 to {limit} people from chat.", "not-acceptable")
    return int(text)


def _boolean(var: str, text: str) -> bool:
    if text not in ("1", "true", "0", "false"):  # XEP-0004 section 3.3
        raise Refused(f"{var} is either 1 or 0.", "not-acceptable")
    return text in ("1", "true")


def _not_longer(what: str, text: str, limit: int) -> str:
    if len(text) > limit:
        raise Refused(f"The {what} may have {limit} characters at the most.", "not-acceptable")
    return text


def _line(text: str) -> str:
    """Return a text on one line, without control characters: terminals and phones show it."""
    return " ".join(wording.for_chat(text).split())


def _yes_no(value: bool) -> str:
    return "1" if value else "0"
