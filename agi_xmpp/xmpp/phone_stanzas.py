"""Between the stanzas of the phone protocol and plain data. No I/O."""

from __future__ import annotations

import secrets
from typing import Any

import aioxmpp
import aioxmpp.disco.xso
import aioxmpp.entitycaps.caps115
import aioxmpp.entitycaps.xso
import aioxmpp.pubsub.xso

from agi_xmpp.errors import Refused
from agi_xmpp.xmpp import jid
from agi_xmpp.xmpp.jid import outward
from agi_xmpp.xmpp.model import Jid, Show
from agi_xmpp.xmpp.phone_model import ActionType, ContactState, EventType, PhoneAction, PhoneEvent
from agi_xmpp.xmpp.text import clean_status
from agi_xmpp.xmpp.xso import activity, command_list, hints, phone, privilege

#: Characters of an extension. A number of the world has 15 digits; whatever is longer is none.
EXTENSION_LENGTH = 200

#: Characters of a call's id, which is one of ours.
CALL_ID_LENGTH = 200

#: Characters of a name or number that we tell of: what a client can show, and no more than a stanza may hold.
TEXT_LENGTH = 1000

#: Says whose implementation the capabilities are (XEP-0115 section 4).
CAPS_NODE = "agi-xmpp:phone"

#: What the JID of a phone contact has as its resource if its device is not known.
RESOURCE = "phone"

_SHOWS = {Show.CHAT: "chat", Show.AWAY: "away", Show.XA: "xa", Show.DND: "dnd"}


# Events


def event(to: Jid, what: PhoneEvent) -> Any:
    """Return an event as a message to the clients of a user.

    A headline to the bare JID reaches every available client and is stored by nobody (RFC 6121 section 8.5.2.1.1).
    Spark drops what has a body, a second event in the same message, or an element in the caller's name or number.
    """
    element = phone.Event()
    element.type_ = element.status = what.type.value
    element.call_id = element.id_ = clean_status(what.call_id)
    element.device = clean_status(what.device)
    if what.type is not EventType.HANG_UP:
        element.caller_id = _line(what.caller_id)
    if what.type in (EventType.RING, EventType.DIALED):
        element.caller_name = _line(what.caller_name)
    message = aioxmpp.Message(aioxmpp.MessageType.HEADLINE, to=outward(to.bare), id_=f"phone-{secrets.token_hex(8)}")
    message.phone_event = element
    hints.do_not_store(message)
    return message


def _line(text: str) -> str:
    return " ".join(clean_status(text).split())[:TEXT_LENGTH]


# Actions


def action(payload: Any) -> PhoneAction:
    """Return what a client asks for; a nested action counts where the outer one has no type.

    Raises:
        Refused: it makes no sense, or is nothing that we do; the text says what is wrong with it.
    """
    element = payload
    if element.type_ is None and len(element.nested) == 1:
        element = element.nested[0]
    if payload.is_broken or element.is_broken:
        raise Refused("the action cannot be read", "bad-request")
    if element.type_ is None:
        raise Refused("the action has no type", "bad-request")
    if element.type_ not in set(ActionType):
        raise Refused(f"only {' and '.join(ActionType)} are possible", "feature-not-implemented")
    kind = ActionType(element.type_)
    extension, address = _target(element)
    call_id = _call_id(element) if kind is ActionType.FORWARD else ""
    return PhoneAction(kind, extension=extension, jid=address, call_id=call_id)


def _target(element: Any) -> tuple[str, str]:
    """Return the extension and the Jabber ID, one of them empty."""
    targets = [*element.extensions, *element.addresses]
    if len(targets) != 1:
        raise Refused("name one extension or one jid, and not both", "bad-request")
    text = targets[0].text.strip()
    limit = EXTENSION_LENGTH if element.extensions else jid.MAX_LENGTH
    if not text:
        raise Refused("there is no extension or jid in the action", "bad-request")
    if len(text) > limit:
        raise Refused(f"nobody has a number or address of more than {limit} characters", "bad-request")
    if not text.isprintable():
        raise Refused("there are line ends or invisible characters in the number or address", "bad-request")
    return (text, "") if element.extensions else ("", text)


def _call_id(element: Any) -> str:
    call_id = element.id_ or element.call_id or ""
    if not call_id:
        raise Refused("say in the attribute 'id' which call to forward", "bad-request")
    if len(call_id) > CALL_ID_LENGTH:
        raise Refused("there is no such call", "item-not-found")
    return str(call_id)


def action_result(kind: ActionType) -> Any:
    """Return the payload of the answer to an action that is under way: flat, and with the type."""
    return phone.Action(kind.value)


# Phone contacts


def contact_features() -> Any:
    """Return who a phone contact is and what it can do, the same for all of them (XEP-0030)."""
    query = aioxmpp.disco.xso.InfoQuery()
    query.identities.append(aioxmpp.disco.xso.Identity(category="client", type_="phone", name="phone"))
    query.features.update(
        {
            "http://jabber.org/protocol/disco#info",
            "http://jabber.org/protocol/disco#items",
            "jabber:iq:version",
            "urn:xmpp:ping",
            command_list.COMMANDS,
            phone.NAMESPACE,
        }
    )
    return query


#: The hash of `contact_features` (XEP-0115 section 5).
CAPS_VERSION = aioxmpp.entitycaps.caps115.hash_query(contact_features(), "sha1")


def resource(device: str) -> str:
    """Return the resource of a phone contact for the device that it shows: ``PJSIP-101`` for ``PJSIP/101``."""
    name = device.replace("/", "-")
    try:
        return aioxmpp.JID(None, "x", name or None, strict=False).resource or RESOURCE
    except (ValueError, UnicodeError):
        return RESOURCE


def contact_presence(sender: Jid, to: Jid, state: ContactState) -> Any:
    """Return what a phone contact (its full JID) shows to somebody."""
    if state.show is Show.OFFLINE:
        return unavailable(sender, to)
    presence = aioxmpp.Presence(
        from_=outward(sender), to=outward(to), show=aioxmpp.PresenceShow(_SHOWS.get(state.show))
    )
    if status := _line(state.status):
        presence.status[None] = status
    if state.on_phone:
        presence.phone_status = phone.Status()
        presence.phone_status.status = "ON_PHONE"
    presence.xep0115_caps = contact_caps()
    return presence


def contact_caps() -> Any:
    """Return what a presence of a phone contact says of its capabilities (XEP-0115)."""
    return aioxmpp.entitycaps.xso.Caps115(CAPS_NODE, CAPS_VERSION, "sha-1")


def unavailable(sender: Jid, to: Jid) -> Any:
    """Return the presence of a contact that is no longer there."""
    return aioxmpp.Presence(type_=aioxmpp.PresenceType.UNAVAILABLE, from_=outward(sender), to=outward(to))


# Activity


def publish_activity(user: Jid, text: str | None) -> Any:
    """Return the request to publish, in a user's name, that they are on the phone; None ends it.

    XEP-0356 section 6.3 round XEP-0163 section 3 round XEP-0108.
    """
    item = aioxmpp.pubsub.xso.Item(id_="current")
    item.registered_payload = activity.on_the_phone(None if text is None else _line(text))
    publish = aioxmpp.pubsub.xso.Publish()
    publish.node = activity.NAMESPACE
    publish.item = item
    address = outward(user.bare)
    inner = aioxmpp.IQ(aioxmpp.IQType.SET, from_=address, to=address, payload=aioxmpp.pubsub.xso.Request(publish))
    inner.autoset_id()
    return aioxmpp.IQ(aioxmpp.IQType.SET, to=address, payload=privilege.PrivilegedIq(inner))
