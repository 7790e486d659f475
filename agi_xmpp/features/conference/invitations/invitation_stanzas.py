"""What goes over the stream for an invitation (XEP-0045 section 7.8, XEP-0249), and how one is read. Pure."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from agi_xmpp.errors import BadJid
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.room.invitations import MAX_REASON
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

_INVITE = f"{{{stanzas.MUC_USER}}}x/{{{stanzas.MUC_USER}}}invite"
_DECLINE = f"{{{stanzas.MUC_USER}}}x/{{{stanzas.MUC_USER}}}decline"


def from_room(
    room: Jid, invitee: Jid, inviter: Jid | None, reason: str = "", password: str = "", message_id: str = ""
) -> Element:
    """Return the room's message to somebody in chat: in both forms, of which every client knows one.

    Args:
        room: its bare JID.
        invitee: bare JID.
        inviter: who asks; the room itself if None.
        reason: in words.
        password: of the room.
        message_id: by which an error is known.
    """
    message = stanzas.message(room, invitee, None, message_id or None)
    x = stanzas.add_muc_user(message)
    # Bare: it is nobody's business with which client somebody invites, and a refusal reaches them with any.
    invite = stanzas.add(x, stanzas.MUC_USER, "invite", from_=(inviter or room).bare)
    if reason:
        stanzas.add(invite, stanzas.MUC_USER, "reason", reason)
    if password:
        stanzas.add(x, stanzas.MUC_USER, "password", password)
    attributes = {"jid": room, "reason": reason or None, "password": password or None}
    stanzas.add(message, stanzas.DIRECT_INVITATION, "x", **attributes)
    return message


def declined(room: Jid, inviter: Jid, invitee: Jid, reason: str, message_id: str | None) -> Element:
    """Return the room's message to an inviter in chat that somebody does not come."""
    message = stanzas.message(room, inviter, None, message_id)
    decline = stanzas.add(stanzas.add_muc_user(message), stanzas.MUC_USER, "decline", from_=invitee.bare)
    if reason:
        stanzas.add(decline, stanzas.MUC_USER, "reason", reason)
    return message


def refusal(invitee: Jid, room: Jid, inviter: Jid, reason: str) -> Element:
    """Return the message to a room of another service that an invitee does not come; it tells the inviter."""
    message = stanzas.message(invitee, room)
    decline = stanzas.add(stanzas.add_muc_user(message), stanzas.MUC_USER, "decline", to=inviter)
    if reason:
        stanzas.add(decline, stanzas.MUC_USER, "reason", reason)
    return message


def read_direct(message: Element) -> tuple[Jid, str] | None:
    """Return the room and the reason of a direct invitation (XEP-0249); None if the message is none.

    Raises:
        BadJid: it names no room.
    """
    x = stanzas.child(message, stanzas.DIRECT_INVITATION, "x")
    if message.tag != stanzas.MESSAGE or x is None:
        return None
    room = parse(x.get("jid", ""))
    if not room.local:
        raise BadJid(f"{room} is no room")
    return room.bare, x.get("reason", "")[:MAX_REASON]


def read_decline(message: Element) -> str | None:
    """Return the reason, or "", with which somebody refuses an invitation; None if the message is no refusal."""
    found = message.find(_DECLINE)
    if message.tag != stanzas.MESSAGE or found is None:
        return None
    return (stanzas.text_of(found, stanzas.MUC_USER, "reason") or "")[:MAX_REASON]


def is_mediated(message: Element) -> bool:
    """Tell whether a message is an invitation that somebody has sent by a room (XEP-0045 section 7.8.2)."""
    return message.tag == stanzas.MESSAGE and message.find(_INVITE) is not None


def read_mediated(message: Element) -> tuple[Jid, str]:
    """Return who invites by a room, as the room says, and the reason; see `is_mediated`.

    Raises:
        BadJid: the room says nobody.
    """
    found = message.find(_INVITE)
    if found is None:
        raise BadJid("there is no invitation")
    return parse(found.get("from", "")), (stanzas.text_of(found, stanzas.MUC_USER, "reason") or "")[:MAX_REASON]


def read_mediated_decline(message: Element) -> tuple[Jid, str] | None:
    """Return the bare JID of who refuses by a room, as the room says, and the reason; None if that is not in it."""
    found, reason = message.find(_DECLINE), read_decline(message)
    if found is None or reason is None:
        return None
    try:
        return parse(found.get("from", "")).bare, reason
    except BadJid:
        return None
