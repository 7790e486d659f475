"""What services, rooms and people answer, as tests read it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.testbed.client import Heard, Seen
from tests.testbed.muc import Refused

MUC = "http://jabber.org/protocol/muc"
#: The namespace of what rooms say of their occupants, as in a tag.
USER = "{http://jabber.org/protocol/muc#user}"

#: Questions.
INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
PING = "<ping xmlns='urn:xmpp:ping'/>"

_INFO = "{http://jabber.org/protocol/disco#info}"
_ITEMS = "{http://jabber.org/protocol/disco#items}"
_FORM = "{jabber:x:data}"


def tree(stanza: Heard | Seen) -> ET.Element:
    """Return a stanza that came, with all that is in it."""
    return ET.fromstring(stanza.xml)


def problem(stanza: ET.Element) -> tuple[str, str]:
    """Return type and condition of the error that a stanza is."""
    refused = Refused(stanza)
    return refused.type, refused.condition


def codes(presence: ET.Element) -> set[int]:
    """Return the status codes of a presence in a room."""
    return {int(status.get("code", "0")) for status in presence.iter(f"{USER}status")}


def identity(answer: ET.Element) -> tuple[str, str, str]:
    """Return category, type and name of who has answered `INFO`."""
    (found,) = answer.iter(f"{_INFO}identity")
    return found.get("category", ""), found.get("type", ""), found.get("name", "")


def features(answer: ET.Element) -> set[str]:
    """Return what who has answered `INFO` can do."""
    assert answer.get("type") == "result", ET.tostring(answer)
    return {feature.get("var", "") for feature in answer.iter(f"{_INFO}feature")}


def listed(answer: ET.Element) -> dict[str, str]:
    """Return the names by address in an answer to `ITEMS`."""
    return {item.get("jid", ""): item.get("name", "") for item in answer.iter(f"{_ITEMS}item")}


def form(answer: ET.Element) -> dict[str, str]:
    """Return the values of a form by field; of several values of a field, the first."""
    return {field.get("var", ""): field.findtext(f"{_FORM}value", "") for field in answer.iter(f"{_FORM}field")}
