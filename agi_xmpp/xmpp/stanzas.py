"""Between aioxmpp's stanzas and plain data. No I/O."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

import aioxmpp
import aioxmpp.carbons.xso
import aioxmpp.disco.xso
import aioxmpp.entitycaps.xso
import aioxmpp.mdr.xso
import aioxmpp.misc
import aioxmpp.muc.xso
import aioxmpp.ping.xso
import aioxmpp.roster.xso
import aioxmpp.stanza

from agi_xmpp.xmpp.inbox import Bounce
from agi_xmpp.xmpp.jid import inward, outward
from agi_xmpp.xmpp.model import PLAIN, Button, Caps, Extras, IncomingMessage, Jid, Service, Show
from agi_xmpp.xmpp.presence import SUBSCRIPTIONS, Subscription
from agi_xmpp.xmpp.xso import cdr, command_list, fallback, quick_response, reactions, reply, temppres

CARBONS = "urn:xmpp:carbons:2"

#: Seconds by which a delayed message may seem older than it is: stamps are often whole seconds (XEP-0082), and two
#: machines' clocks differ a little.
STAMP_TOLERANCE = 2.0

#: Protocols that we read: what stands in a body for clients without them, such as the text that a reply quotes, is no
#: part of the answer.
_WITH_FALLBACK = frozenset({reply.NAMESPACE, reactions.NAMESPACE})

#: What clients may use towards us, for the answer to who asks (XEP-0030).
READ_FEATURES = (
    fallback.NAMESPACE,
    quick_response.NAMESPACE,
    reactions.NAMESPACE,
    reply.NAMESPACE,
    "urn:xmpp:chat-markers:0",
)

_SHOWS = {None: Show.ONLINE, "chat": Show.CHAT, "away": Show.AWAY, "xa": Show.XA, "dnd": Show.DND}


# What we send


def chat(
    message_id: str, to: Jid, body: str, thread: str, *, wants_receipt: bool, extras: Extras = PLAIN, own: Jid
) -> Any:
    """Return a chat message, or a headline with the same in it.

    Args:
        message_id, to, body, thread: as in `Session.send_message`.
        wants_receipt: ask for one (XEP-0184).
        extras: what else it carries.
        own: our full JID, where commands are executed: clients cannot execute them at a bare one.
    """
    kind = aioxmpp.MessageType.HEADLINE if extras.headline else aioxmpp.MessageType.CHAT
    message = aioxmpp.Message(kind, to=outward(to), id_=message_id)
    message.body[None] = body
    if extras.subject:
        message.subject[None] = extras.subject
    if thread:
        message.thread = aioxmpp.stanza.Thread()
        message.thread.identifier = thread
    message.xep0184_request_receipt = wants_receipt
    if extras.replaces:
        message.xep0308_replace = aioxmpp.misc.Replace()
        message.xep0308_replace.id_ = extras.replaces
    if extras.replies_to:
        message.xep0461_reply = reply.Reply()
        message.xep0461_reply.id_, message.xep0461_reply.to = extras.replies_to, str(outward(own))
    if extras.link:
        message.xep0066_oob = aioxmpp.misc.OOBExtension()
        message.xep0066_oob.url = extras.link
    if extras.record:
        cdr.add(message, extras.record)
    if extras.invitation:
        room, reason = outward(extras.invitation.room), extras.invitation.reason or None
        message.xep0249_direct_invite = aioxmpp.muc.xso.DirectInvite(room, reason=reason)
    message.xep0333_markable = extras.markable or bool(extras.buttons)
    if extras.buttons:
        _add_buttons(message, extras.buttons, own)
    return message


def _add_buttons(message: Any, buttons: Iterable[Button], own: Jid) -> None:
    """Write each button in every way that some client shows."""
    query = aioxmpp.disco.xso.ItemsQuery(node=command_list.COMMANDS)
    for button in buttons:
        message.xep0439_responses.append(quick_response.Response(button.value, button.label))
        query.items.append(aioxmpp.disco.xso.Item(outward(own), name=button.label, node=button.node))
    message.command_list = query


def receipt(to: Jid, message_id: str) -> Any:
    """Return the receipt of a message (XEP-0184 section 5)."""
    message = aioxmpp.Message(aioxmpp.MessageType.CHAT, to=outward(to))
    message.xep0184_received = aioxmpp.mdr.xso.Received(message_id)
    return message


def available(show: str, status: str, priority: int) -> Any:
    """Return our presence; ``show`` is a word of `AccountSettings.show`."""
    presence = aioxmpp.Presence()
    dress(presence, show, status, priority)
    return presence


def dress(presence: Any, show: str, status: str, priority: int) -> None:
    """Put into a presence of ours what others may see, as in `available`."""
    presence.show = aioxmpp.PresenceShow(None if show == "online" else show)
    if status:
        presence.status[None] = status
    presence.priority = priority


def subscription(kind: str, to: Jid) -> Any:
    """Return a presence of type subscribe, subscribed or unsubscribed (RFC 6121 section 3)."""
    return aioxmpp.Presence(type_=aioxmpp.PresenceType(kind), to=outward(to.bare))


def minimal_presence(sender: Jid | None, to: Jid, caps: Any, *, asking_for: str | None = None) -> Any:
    """Return the presence for somebody who is to learn nothing but that we are there, and what we can (XEP-0276).

    Args:
        sender: which of our addresses; None where the server fills it in.
        to: bare or full JID.
        caps: our capabilities.
        asking_for: ask for the addressee's presence as well, for that reason.
    """
    presence = aioxmpp.Presence(to=outward(to), from_=sender and outward(sender))
    presence.xep0115_caps = caps
    if asking_for is not None:
        temppres.add_request(presence, asking_for)
    return presence


def hiding(sender: Jid | None, to: Jid) -> Any:
    """Return the presence that takes back `minimal_presence`."""
    return aioxmpp.Presence(type_=aioxmpp.PresenceType.UNAVAILABLE, to=outward(to), from_=sender and outward(sender))


def ping(to: Jid) -> Any:
    """Return an IQ ping (XEP-0199)."""
    return aioxmpp.IQ(aioxmpp.IQType.GET, payload=aioxmpp.ping.xso.Ping(), to=outward(to))


def roster_request() -> Any:
    """Return the request for our roster (RFC 6121 section 2.1.3)."""
    return aioxmpp.IQ(aioxmpp.IQType.GET, payload=aioxmpp.roster.xso.Query())


def features_request(of: Jid, node: str | None = None) -> Any:
    """Return a request for somebody's features (XEP-0030)."""
    return aioxmpp.IQ(aioxmpp.IQType.GET, payload=aioxmpp.disco.xso.InfoQuery(node=node), to=outward(of))


def services_request(of: Jid) -> Any:
    """Return a request for what a server offers (XEP-0030 section 4)."""
    return aioxmpp.IQ(aioxmpp.IQType.GET, payload=aioxmpp.disco.xso.ItemsQuery(), to=outward(of))


def carbons_request() -> Any:
    """Return the request for carbon copies (XEP-0280 section 4)."""
    return aioxmpp.IQ(aioxmpp.IQType.SET, payload=aioxmpp.carbons.xso.Enable())


# What we get


def sender(stanza: Any, own: Jid) -> Jid:
    """Return who sent a stanza; without ``from`` it is our own account's (RFC 6120 section 8.1.2.1)."""
    return own.bare if stanza.from_ is None else inward(stanza.from_)


def text(texts: Any) -> str:
    """Return the text of a map by language: the one without a language first."""
    if None in texts:
        return str(texts[None] or "")
    return next((str(value) for value in texts.values() if value), "")


def show(presence: Any) -> Show:
    """Return an available presence's number."""
    return _SHOWS.get(presence.show.value, Show.ONLINE)


def caps(presence: Any) -> Caps | None:
    """Return what a presence says of its client's capabilities, or None."""
    said = presence.xep0115_caps
    if said is None:
        return None
    return Caps(said.hash_ or "", said.node, said.ver, tuple((said.ext or "").split()))


def asked_for(presence: Any) -> str | None:
    """Return what our presence is wanted for, "" if that is not said, or None if it is not asked for (XEP-0276)."""
    return temppres.reason(presence.xep0276_requests)


#: What a condition means for the sender where its name does not say it (RFC 6121 section 8.5, XEP-0191).
_MEANINGS = {"service-unavailable": "no such user, or offline with nothing kept for them, or they block us"}


def bounce(message: Any) -> Bounce:
    """Return why a message of type error came back."""
    error = message.error
    if error is None:
        return Bounce("undefined-condition", "the message came back without a reason")
    condition = str(error.condition.value[1])
    words = " ".join((error.text or "").split()) or _MEANINGS.get(condition, "")
    return Bounce(condition, f"the message came back: {condition}" + (f" ({words})" if words else ""))


def carbon_of(message: Any, own: Jid) -> tuple[Any, bool]:
    """Return the message that counts, and whether it came as a carbon copy of another's (XEP-0280).

    Only our own account may send copies: in a copy from anybody else, the sender inside is forged (section 11). A copy
    of what another of our resources sent counts as nothing: (None, True).
    """
    if message.from_ is None or inward(message.from_) != own.bare:
        return message, False
    if message.xep0280_sent is not None:
        return None, True
    if message.xep0280_received is None:
        return message, False
    inner = message.xep0280_received.stanza
    return (inner, True) if isinstance(inner, aioxmpp.Message) and inner.from_ is not None else (None, True)


def incoming(
    message: Any, own: Jid, *, carbon: bool, occupant: bool, stamps: Iterable[Any], now: float, wall: float
) -> IncomingMessage:
    """Return a message stanza as plain data.

    Args:
        message: the stanza, unwrapped if it was a carbon.
        own: our address.
        carbon: it was one.
        occupant: somebody in a room sent it.
        stamps: moments of delayed delivery (XEP-0203) that were found on it.
        now: the monotonic clock.
        wall: the time of day, in seconds since the epoch.
    """
    ages = [wall - _epoch(stamp) for stamp in stamps]
    age = max(max(ages, default=0.0) - STAMP_TOLERANCE, 0.0)
    reaction = message.xep0444_reactions
    marker = message.xep0333_marker
    return IncomingMessage(
        sender=sender(message, own),
        body=fallback.without_fallback(text(message.body), message.xep0428_fallbacks, _WITH_FALLBACK),
        type=message.type_.value,
        id=message.id_ or "",
        thread=getattr(message.thread, "identifier", None) or "",  # <thread/> without a text has no such attribute
        received_at=now,
        sent_at=now - age,
        carbon=carbon,
        occupant=occupant,
        reply_to=_id(message.xep0461_reply),
        reacts_to=_id(reaction),
        reactions=tuple(item.text for item in reaction.reactions) if reaction is not None else (),
        action=_id(message.xep0439_action_selected),
        displayed=_id(marker) if isinstance(marker, aioxmpp.misc.DisplayedMarker) else "",
        recipient=None if message.to is None else inward(message.to),
    )


def stamps(*messages: Any) -> list[Any]:
    """Return the moments of delayed delivery that stand on messages and on what they wrap."""
    found = []
    for message in messages:
        found += [delay.stamp for delay in message.xep0203_delay if delay.stamp is not None]
        wrapper = message.xep0280_received
        delay = getattr(getattr(wrapper, "forwarded", None), "delay", None)
        if delay is not None and delay.stamp is not None:
            found.append(delay.stamp)
    return found


def roster_items(query: Any) -> dict[Jid, Subscription | None] | None:
    """Return a roster's entries, None for one that was removed; or None if ``query`` is no roster."""
    if not isinstance(query, aioxmpp.roster.xso.Query):
        return None
    return {inward(item.jid).bare: SUBSCRIPTIONS.get(item.subscription) for item in query.items}


def services(items: Any) -> list[Service]:
    """Return the services in the reply to `services_request`; none if it is no such reply."""
    if not isinstance(items, aioxmpp.disco.xso.ItemsQuery):
        return []
    return [Service(inward(item.jid), item.name or "") for item in items.items]


def offers_carbons(features: Any) -> bool:
    """Return True if the reply to `features_request` names carbon copies."""
    return isinstance(features, aioxmpp.disco.xso.InfoQuery) and CARBONS in features.features


def _id(element: Any) -> str:
    """Return the message id that an element names, or "" if there is no such element."""
    return "" if element is None else element.id_ or ""


def _epoch(stamp: datetime.datetime) -> float:
    aware = stamp if stamp.tzinfo else stamp.replace(tzinfo=datetime.UTC)
    return aware.timestamp()
