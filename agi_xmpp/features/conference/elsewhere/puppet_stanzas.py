"""Stanzas of an occupant of a room that is another service's: what we send, and what is read of what comes. Pure."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from agi_xmpp.errors import BadJid
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Utterance
from agi_xmpp.features.conference.room import nicks, presences, wording
from agi_xmpp.features.conference.room.conversation import MAX_MESSAGE, MAX_SUBJECT
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.room import RoomPresence

#: Characters of somebody's reason that are repeated.
MAX_REASON = 200

_X = f"{{{stanzas.MUC_USER}}}x"
_ITEM = f"{_X}/{{{stanzas.MUC_USER}}}item"
_DESTROY = f"{_X}/{{{stanzas.MUC_USER}}}destroy"
_STATUS = f"{_X}/{{{stanzas.MUC_USER}}}status"
_CODE = re.compile(r"[0-9]{3}")
_ORIGIN_ID = f"{{{stanzas.STANZA_ID}}}origin-id"


# What we send


def entry(sender: Jid, occupant: Jid, password: str, *, muted: bool) -> Element:
    """Return the request to enter a room (XEP-0045 section 7.2), without its history.

    Args:
        sender: full JID of the puppet.
        occupant: the room with the nick that is wanted.
        password: of the room, or "".
        muted: see `presence`.
    """
    stanza = stanzas.presence(sender, occupant)
    x = stanzas.add(stanza, stanzas.MUC, "x")
    stanzas.add(x, stanzas.MUC, "history", maxstanzas="0")
    if password:
        stanzas.add(x, stanzas.MUC, "password", password)
    stanza.extend(presences.of_muted_phone() if muted else ())
    return stanza


def presence(sender: Jid, occupant: Jid, *, muted: bool) -> Element:
    """Return the presence of who is in: it shows whether the phone is muted, and asks for the nick of ``occupant``."""
    stanza = stanzas.presence(sender, occupant)
    stanza.extend(presences.of_muted_phone() if muted else ())
    return stanza


def departure(sender: Jid, occupant: Jid) -> Element:
    """Return the request to leave a room (XEP-0045 section 7.14)."""
    return stanzas.presence(sender, occupant, "unavailable")


def groupchat(sender: Jid, room: Jid, id_: str, body: str) -> Element:
    """Return a message to all, with an origin id (XEP-0359) for rooms that change ids."""
    message = stanzas.message(sender, room, "groupchat", id_)
    stanzas.add(message, stanzas.CLIENT, "body", body)
    stanzas.add(message, stanzas.STANZA_ID, "origin-id", id=id_)
    return message


def invitation(sender: Jid, room: Jid, id_: str, invitee: Jid, reason: str) -> Element:
    """Return the request that a room invite somebody (XEP-0045 section 7.8.2)."""
    message = stanzas.message(sender, room, None, id_)
    invite = stanzas.add(stanzas.add_muc_user(message), stanzas.MUC_USER, "invite", to=invitee)
    if reason:
        stanzas.add(invite, stanzas.MUC_USER, "reason", reason)
    return message


def ping(sender: Jid, occupant: Jid, id_: str) -> Element:
    """Return the question to one's own nick whether one is in (XEP-0410)."""
    request = stanzas.iq(sender, occupant, "get", id_)
    stanzas.add(request, stanzas.PING, "ping")
    return request


# What we get


def room_presence(stanza: Element, occupant: Jid) -> RoomPresence:
    """Return a presence from a room as plain data.

    Args:
        stanza: the presence.
        occupant: whom it is from, which is whom it is about.
    """
    if stanzas.is_error(stanza):
        condition, words = error_of(stanza)
        return RoomPresence(occupant, "error", condition=condition, reason=words)
    item, destroyed = stanza.find(_ITEM), stanza.find(_DESTROY)
    told = destroyed if destroyed is not None else item
    actor = item.find(f"{{{stanzas.MUC_USER}}}actor") if item is not None else None
    return RoomPresence(
        occupant,
        "available" if stanza.get("type") is None else "unavailable",
        codes=frozenset(int(code) for one in stanza.iterfind(_STATUS) if _CODE.fullmatch(code := one.get("code", ""))),
        nick=_nick(occupant, item),
        actor=actor.get("nick", "") if actor is not None else "",
        reason=_words(stanzas.text_of(told, stanzas.MUC_USER, "reason") if told is not None else ""),
        destroyed=destroyed is not None,
        alternative=destroyed.get("jid", "") if destroyed is not None else "",
    )


def role_of(stanza: Element) -> str:
    """Return the role that a presence tells of, or ""."""
    item = stanza.find(_ITEM)
    return item.get("role", "") if item is not None else ""


def address_of(stanza: Element) -> Jid | None:
    """Return the real address that a presence tells of an occupant; None if it tells none."""
    item = stanza.find(_ITEM)
    try:
        return parse(item.get("jid", "")) if item is not None else None
    except BadJid:
        return None


def error_of(stanza: Element) -> tuple[str, str]:
    """Return condition and words of a stanza of type error."""
    words = next((text.text for text in stanza.iterfind(f"{{{stanzas.CLIENT}}}error/*") if _is_text(text)), "")
    return stanzas.condition_of(stanza) or "undefined-condition", _words(words)


def ids_of(message: Element) -> set[str]:
    """Return the ids by which a message that a room reflects may be known."""
    origin = message.find(_ORIGIN_ID)
    return {id_ for id_ in (message.get("id"), origin.get("id") if origin is not None else None) if id_}


def subject_of(message: Element) -> str | None:
    """Return the subject that a message sets, "" if it removes it; None if it is something else."""
    if stanzas.child(message, stanzas.CLIENT, "body") is not None:
        return None
    return stanzas.text_of(message, stanzas.CLIENT, "subject")


def heard(message: Element, room: Jid, nick: str, title: str) -> Utterance | None:
    """Return what phones get of a message to all; None if that is nothing, or the message is from before.

    Args:
        message: as it came.
        room: bare JID.
        nick: of who sent it, "" for the room itself.
        title: of the room.
    """
    if _is_old(message, room):
        return None
    subject = subject_of(message)
    if subject is not None:
        return Utterance("", wording.of_subject(_speaker(nick) or title, subject[:MAX_SUBJECT]))
    text = wording.for_phones(message)[:MAX_MESSAGE]
    return Utterance(_speaker(nick), text, nick=nick) if text else None


def whispered(message: Element, sender: Jid) -> Utterance | None:
    """Return what a phone gets of a message to it alone, or None if that is nothing.

    Args:
        message: as it came.
        sender: an occupant's address.
    """
    text = wording.for_phones(message)[:MAX_MESSAGE]
    return Utterance(_speaker(sender.resource), text, message, sender, sender.resource) if text else None


def _speaker(nick: str) -> str:
    """Return the name that phones show of who has a nick; "" for the room itself."""
    return nicks.for_phones(nick)[: nicks.MAX_NICK] if nick else ""


def _is_old(message: Element, room: Jid) -> bool:
    """Tell whether the room says that a message is from before (XEP-0203). What its sender says does not count."""
    delays = message.iterfind(f"{{{stanzas.DELAY}}}delay")
    return any(_is_room(delay.get("from"), room) for delay in delays)


def _is_room(address: str | None, room: Jid) -> bool:
    if address is None:
        return True
    try:
        return parse(address) in (room, Jid("", room.domain))
    except BadJid:
        return False


def _nick(occupant: Jid, item: Element | None) -> str:
    """Return the new nick that a presence tells of, as addresses have it."""
    nick = item.get("nick", "") if item is not None else ""
    try:
        return parse(f"{occupant.bare}/{nick}").resource if nick else ""
    except BadJid:
        return ""


def _is_text(element: Element) -> bool:
    return element.tag == f"{{{stanzas.STANZA_ERRORS}}}text"


def _words(text: str | None) -> str:
    return " ".join((text or "").split())[:MAX_REASON]
