"""Between aioxmpp's stanzas and plain data, for rooms (XEP-0045, XEP-0410). No I/O.

The library's own `MUCClient` is not used: it is bound to one `Client`, while ours is replaced when it fails; it forgets
a room whose rejoin fails without telling anybody; and it does not say whether a message was reflected.
"""

from __future__ import annotations

from typing import Any

import aioxmpp
import aioxmpp.forms
import aioxmpp.misc
import aioxmpp.muc.xso as muc

from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.jid import inward, outward
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.room import RoomPresence

#: Characters of somebody's reason that are repeated in logs and in JABBER_ERROR.
REASON_LIMIT = 200


# What we send


def entry(occupant: Jid, password: str, *, show: str) -> Any:
    """Return the request to enter a room (XEP-0045 section 7.2), without its history.

    Args:
        occupant: the room with the nick that we want as its resource.
        password: of the room, or "".
        show: a word of `AccountSettings.show`, which the occupants see.
    """
    presence = shown(occupant, show=show)
    presence.xep0045_muc = muc.GenericExt()
    presence.xep0045_muc.password = password or None
    # Old talk would come before the confirmation, and is of no use to anybody here.
    presence.xep0045_muc.history = muc.History(maxchars=0, maxstanzas=0)
    return presence


def shown(occupant: Jid, *, show: str) -> Any:
    """Return our presence as the occupants of a room that we are in shall see it (XEP-0045 section 7.7).

    Args:
        occupant: we in the room.
        show: a word of `AccountSettings.show`.
    """
    presence = stanzas.available(show, "", 0)
    presence.to = outward(occupant)
    return presence


def departure(occupant: Jid) -> Any:
    """Return the request to leave a room (XEP-0045 section 7.14)."""
    return aioxmpp.Presence(type_=aioxmpp.PresenceType.UNAVAILABLE, to=outward(occupant))


def default_settings(room: Jid) -> Any:
    """Return the request that unlocks a new room with its service's default settings (XEP-0045 section 10.1.2)."""
    form = aioxmpp.forms.Data(type_=aioxmpp.forms.DataType.SUBMIT)
    return aioxmpp.IQ(aioxmpp.IQType.SET, to=outward(room), payload=muc.OwnerQuery(form=form))


def groupchat(message_id: str, room: Jid, body: str) -> Any:
    """Return a message to all occupants of a room, with an origin id (XEP-0359) for rooms that change ids."""
    message = aioxmpp.Message(aioxmpp.MessageType.GROUPCHAT, to=outward(room), id_=message_id)
    message.body[None] = body
    message.xep0359_origin_id = aioxmpp.misc.OriginID()
    message.xep0359_origin_id.id_ = message_id
    return message


# What we get


def room_presence(presence: Any) -> RoomPresence:
    """Return a presence from a room as plain data."""
    occupant = inward(presence.from_)
    if presence.type_ is aioxmpp.PresenceType.ERROR:
        condition, reason = error_of(presence)
        return RoomPresence(occupant, "error", condition=condition, reason=reason)
    kind = "available" if presence.type_ is aioxmpp.PresenceType.AVAILABLE else "unavailable"
    extension = presence.xep0045_muc_user
    if extension is None:
        return RoomPresence(occupant, kind, reason=_words(stanzas.text(presence.status)))
    item = extension.items[0] if extension.items else muc.UserItem()
    actor, destroy = item.actor, extension.destroy
    return RoomPresence(
        occupant,
        kind,
        codes=frozenset(int(code) for code in extension.status_codes),
        nick=item.nick or "",
        actor=(actor.nick or str(actor.jid or "")) if actor is not None else "",
        reason=_words(item.reason or (destroy.reason if destroy is not None else None) or ""),
        destroyed=destroy is not None,
        alternative=str(destroy.jid) if destroy is not None and destroy.jid is not None else "",
    )


def is_about_us(presence: Any) -> bool:
    """Return True if a room marks a presence as our own (status code 110)."""
    extension = presence.xep0045_muc_user
    return extension is not None and muc.StatusCode.SELF in extension.status_codes


def error_of(stanza: Any) -> tuple[str, str]:
    """Return condition and words of a stanza of type error."""
    if stanza.error is None:
        return "undefined-condition", ""
    return str(stanza.error.condition.value[1]), _words(stanza.error.text or "")


def ids(message: Any) -> set[str]:
    """Return the ids by which we may know a message that a room reflects."""
    origin = message.xep0359_origin_id
    return {id_ for id_ in (message.id_, origin.id_ if origin is not None else None) if id_}


def is_private(message: Any) -> bool:
    """Return True if a room marks a message as written by one occupant to us alone (XEP-0045 section 7.5)."""
    return message.xep0045_muc_user is not None


def is_invitation(message: Any) -> bool:
    """Return True for a room's invitation, or the refusal of one (XEP-0045 section 7.8); servers add a text to it."""
    extension = message.xep0045_muc_user
    return extension is not None and bool(extension.invites or extension.decline is not None)


def _words(text: str) -> str:
    return " ".join(text.split())[:REASON_LIMIT]
