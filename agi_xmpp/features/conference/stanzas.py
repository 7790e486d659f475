"""Stanzas of a room: small builders, and what is read of those that come in. Pure.

Children of a stanza that came in are put into those that go out as they are, not copied: nobody may change an element
once it is part of a stanza.
"""

from __future__ import annotations

import hmac
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement

from agi_xmpp.xmpp.model import Jid

CLIENT = "jabber:client"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
MUC = "http://jabber.org/protocol/muc"
MUC_USER = "http://jabber.org/protocol/muc#user"
MUC_ADMIN = "http://jabber.org/protocol/muc#admin"
MUC_OWNER = "http://jabber.org/protocol/muc#owner"
DISCO_INFO = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
FORMS = "jabber:x:data"
DIRECT_INVITATION = "jabber:x:conference"
PING = "urn:xmpp:ping"
DELAY = "urn:xmpp:delay"
STANZA_ID = "urn:xmpp:sid:0"
OCCUPANT_ID = "urn:xmpp:occupant-id:0"
CHAT_STATES = "http://jabber.org/protocol/chatstates"
HINTS = "urn:xmpp:hints"
MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"

#: Characters that take as long to write as an element does by itself; an attribute takes a tenth.
ELEMENT = 50

MESSAGE = f"{{{CLIENT}}}message"
PRESENCE = f"{{{CLIENT}}}presence"
IQ = f"{{{CLIENT}}}iq"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"

#: The type that belongs to a condition (RFC 6120 section 8.3.3) where XEP-0045 does not ask for another one.
_ERROR_TYPES = {
    "bad-request": "modify",
    "conflict": "cancel",
    "feature-not-implemented": "cancel",
    "forbidden": "auth",
    "internal-server-error": "cancel",
    "item-not-found": "cancel",
    "jid-malformed": "modify",
    "not-acceptable": "cancel",
    "not-allowed": "cancel",
    "not-authorized": "auth",
    "policy-violation": "modify",
    "recipient-unavailable": "wait",
    "registration-required": "auth",
    "remote-server-timeout": "wait",
    "resource-constraint": "wait",
    "service-unavailable": "cancel",
}


def add(parent: Element, namespace: str, name: str, text: str = "", /, **attributes: str | Jid | None) -> Element:
    """Add a child, and return it. Attributes that are None are left out; a trailing ``_`` is not part of the name."""
    child = SubElement(parent, f"{{{namespace}}}{name}")
    child.text = text or None
    _set(child, attributes)
    return child


def message(sender: Jid, to: Jid | None, type: str | None = None, id: str | None = None) -> Element:  # noqa: A002
    """Return a message without children; ``type`` None is ``normal`` (RFC 6121 section 5.2.2)."""
    return _set(Element(MESSAGE), {"from": sender, "to": to, "type": type, "id": id})


def presence(sender: Jid, to: Jid | None, type: str | None = None, id: str | None = None) -> Element:  # noqa: A002
    """Return a presence without children; ``type`` None is available."""
    return _set(Element(PRESENCE), {"from": sender, "to": to, "type": type, "id": id})


def iq(sender: Jid, to: Jid, type: str, id: str) -> Element:  # noqa: A002
    """Return an iq without its payload."""
    return _set(Element(IQ), {"from": sender, "to": to, "type": type, "id": id})


def result(request: Element, *payload: Element) -> Element:
    """Return the answer to an iq, from where it went to."""
    answer = Element(IQ)
    _set(answer, {"from": request.get("to"), "to": request.get("from"), "type": "result", "id": request.get("id")})
    answer.extend(payload)
    return answer


def error(
    stanza: Element,
    condition: str,
    text: str = "",
    *,
    type: str | None = None,  # noqa: A002
    by: Jid | None = None,
    sender: Jid | None = None,
) -> Element:
    """Return the error (RFC 6120 section 8.3) that answers a stanza. To an error there is none: ask `is_error` first.

    Args:
        stanza: what came in.
        condition: such as ``not-acceptable``.
        text: for people; one sentence.
        type: ``auth``, ``cancel``, ``modify`` or ``wait``; that of the condition if None.
        by: who says so: the room, for errors that come from an occupant's address.
        sender: what the error comes from, if it is not what the stanza went to.
    """
    answer = Element(stanza.tag)
    origin = stanza.get("to") if sender is None else sender
    _set(answer, {"from": origin, "to": stanza.get("from"), "type": "error", "id": stanza.get("id")})
    if stanza.tag == PRESENCE:  # clients find their attempt to join by it
        add(answer, MUC, "x")
    element = add(answer, CLIENT, "error", type=type or _ERROR_TYPES.get(condition, "cancel"), by=by)
    add(element, STANZA_ERRORS, condition)
    if text:
        add(element, STANZA_ERRORS, "text", text)
    return answer


def is_error(stanza: Element) -> bool:
    """Return True for a stanza of type ``error``."""
    return stanza.get("type") == "error"


def wants_answer(stanza: Element) -> bool:
    """Tell whether an error may answer a stanza (RFC 6120 section 8.3.1)."""
    kind = stanza.get("type")
    if stanza.tag == IQ:
        return kind in ("get", "set")
    return kind not in ("error", "unavailable")


def condition_of(stanza: Element) -> str:
    """Return the condition of an error (RFC 6120 section 8.3.3), or "" if it names none."""
    for element in stanza.iterfind(f"{{{CLIENT}}}error/*"):
        namespace, name = split(element.tag)
        if namespace == STANZA_ERRORS and name != "text":
            return name
    return ""


def split(tag: str) -> tuple[str, str]:
    """Return the namespace and the name of a tag; "" for no namespace."""
    if not tag.startswith("{"):
        return "", tag
    namespace, _, name = tag[1:].partition("}")
    return namespace, name


def child(stanza: Element, namespace: str, name: str) -> Element | None:
    """Return the first child of that name, or None."""
    return stanza.find(f"{{{namespace}}}{name}")


def text_of(stanza: Element, namespace: str, name: str) -> str | None:
    """Return the text of the first child of that name, preferably one of no other language; None if there is none."""
    found = stanza.findall(f"{{{namespace}}}{name}")
    if not found:
        return None
    return next((element for element in found if element.get(LANG) is None), found[0]).text or ""


def body_of(stanza: Element) -> str:
    """Return the body of a message, or ""."""
    return text_of(stanza, CLIENT, "body") or ""


def same_text(given: str, wanted: str) -> bool:
    """Compare a password in a time that does not tell how much of it was right."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def weight(stanza: Element) -> int:
    """Return about how many characters a stanza takes. Without recursion: senders nest as deeply as they like.

    An element counts as `ELEMENT` more: 9000 short ones would take a second to write to a room of 200.
    """
    total = 0
    for element in stanza.iter():
        total += 2 * len(element.tag) + len(element.text or "") + len(element.tail or "") + ELEMENT
        total += sum(len(name) + len(value) + 4 for name, value in element.items())
    return total


def without(stanza: Element, *, tags: Container[str]) -> Iterator[Element]:
    """Return the children of a stanza, but those with one of the tags."""
    return (element for element in stanza if element.tag not in tags)


def addressed(stanza: Element, to: Jid) -> Element:
    """Return a stanza that can be changed without changing the given one, for somebody."""
    copy = Element(stanza.tag, {**stanza.attrib, "to": str(to)})
    copy.extend(stanza)
    return copy


@dataclass(frozen=True, slots=True)
class Item:
    """What ``<item/>`` of a presence says of an occupant (XEP-0045 section 7.1); None is left out.

    Attributes:
        affiliation, role: their values, such as ``none`` and ``participant``.
        jid: the real address, for those who may see it.
        nick: the new one, in a change.
        actor: nick of who did it.
        reason: given by them.
    """

    affiliation: str
    role: str
    jid: Jid | None = None
    nick: str | None = None
    actor: str = ""
    reason: str = ""


def add_muc_user(stanza: Element, item: Item | None = None, codes: Iterable[int] = ()) -> Element:
    """Add ``<x xmlns='…muc#user'/>`` with an item and status codes (XEP-0045 section 15.6), and return it."""
    x = add(stanza, MUC_USER, "x")
    if item is not None:
        element = add(x, MUC_USER, "item", affiliation=item.affiliation, role=item.role, jid=item.jid, nick=item.nick)
        if item.actor:
            add(element, MUC_USER, "actor", nick=item.actor)
        if item.reason:
            add(element, MUC_USER, "reason", item.reason)
    for code in codes:
        add(x, MUC_USER, "status", code=str(code))
    return x


def add_delay(stanza: Element, sender: Jid, stamp: datetime) -> None:
    """Say when a message was sent first (XEP-0203)."""
    add(stanza, DELAY, "delay", from_=sender, stamp=timestamp(stamp))


def timestamp(moment: datetime) -> str:
    """Return a moment as XEP-0082 writes it, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime | None:
    """Return the moment that a text of XEP-0082 means, None if it means none; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(text.strip())
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: the year 1 in another zone
        return None


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form (XEP-0004 section 3.2).

    Attributes:
        var: its name.
        values: none, one, or several.
        type: such as ``text-single``, ``boolean``, ``hidden``; None where the form says only results.
        label: for people.
        options: value and label of what can be chosen.
        required: it must be filled in.
    """

    var: str
    values: Sequence[str] = ()
    type: str | None = None
    label: str | None = None
    options: Sequence[tuple[str, str]] = ()
    required: bool = False


def form(
    type: str,  # noqa: A002
    form_type: str,
    fields: Iterable[Field],
    *,
    title: str = "",
    instructions: str = "",
) -> Element:
    """Return a form (XEP-0004).

    Args:
        type: ``form``, ``result``, ``submit`` or ``cancel``.
        form_type: what the fields mean (XEP-0068), such as ``http://jabber.org/protocol/muc#roominfo``.
        fields: in the order in which they are shown.
        title, instructions: for people.
    """
    x = Element(f"{{{FORMS}}}x", {"type": type})
    if title:
        add(x, FORMS, "title", title)
    if instructions:
        add(x, FORMS, "instructions", instructions)
    for field in (Field("FORM_TYPE", (form_type,), "hidden"), *fields):
        element = add(x, FORMS, "field", var=field.var, type=field.type, label=field.label)
        if field.required:
            add(element, FORMS, "required")
        for value in field.values:
            add(element, FORMS, "value", value)
        for value, label in field.options:
            add(add(element, FORMS, "option", label=label), FORMS, "value", value)
    return x


def submitted(x: Element) -> dict[str, list[str]]:
    """Return the values of each field of a form that came in; of two fields with one name the last one counts."""
    return {
        field.get("var", ""): [value.text or "" for value in field.findall(f"{{{FORMS}}}value")]
        for field in x.findall(f"{{{FORMS}}}field")
    }


def _set(element: Element, attributes: dict[str, str | Jid | None]) -> Element:
    for name, value in attributes.items():
        if value is not None:
            element.set(name.removesuffix("_"), str(value))
    return element
