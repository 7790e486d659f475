"""Who may change what of whom in a room: roles and affiliations, and who sees the lists of them. Pure.

The rights are those of XEP-0045: the tables in section 5, and the texts of sections 8 to 10.

A request is looked at as a whole before anything is done: of several changes, all are made or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Occupant, PhoneOccupant, Role
from agi_xmpp.features.conference.room.invitations import MAX_AFFILIATIONS
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.conference.stanzas import MUC_ADMIN
from agi_xmpp.features.phone.numbers import plain
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

#: Changes of one request at the most.
MAX_ITEMS = 100
#: Characters of a reason that are passed on.
MAX_REASON = 500

_RANKS = {
    Affiliation.OUTCAST: 0,
    Affiliation.NONE: 1,
    Affiliation.MEMBER: 2,
    Affiliation.ADMIN: 3,
    Affiliation.OWNER: 4,
}
_MANAGERS = (Affiliation.ADMIN, Affiliation.OWNER)


@dataclass(frozen=True, slots=True)
class AffiliationChange:
    """Somebody's standing shall be another one."""

    jid: Jid
    affiliation: Affiliation
    reason: str


@dataclass(frozen=True, slots=True)
class RoleChange:
    """An occupant's role shall be another one; none throws them out."""

    nick: str
    role: Role
    reason: str


Change = AffiliationChange | RoleChange


@dataclass(frozen=True, slots=True)
class Target:
    """An occupant as rights look at them.

    Attributes:
        nick: theirs.
        jid: bare; None for a phone that has no address.
        affiliation, role: theirs.
        by_phone: they are on a phone.
    """

    nick: str
    jid: Jid | None
    affiliation: Affiliation
    role: Role
    by_phone: bool = False


PhoneJid = Callable[[Participant], Jid | None]


def changes(
    room: Room, actor: Jid, query: Element, given: Mapping[Jid, Affiliation], phone_jid: PhoneJid
) -> list[Change]:
    """Return what a request wants changed, if who asks may do all of it.

    Args:
        room: where.
        actor: full JID of who asks.
        query: the payload of the request.
        given: affiliations that the settings say; they are not changed from chat.
        phone_jid: returns a phone's own address, or None.

    Raises:
        Refused: nothing is to be changed; the text says why.
    """
    entries = query.findall(f"{{{MUC_ADMIN}}}item")
    if not entries:
        raise Refused("The request names nobody.", "bad-request")
    if len(entries) > MAX_ITEMS:
        raise Refused(f"A request can change {MAX_ITEMS} people at once.", "policy-violation")
    wanted = [_change(room, entry, phone_jid) for entry in entries]
    affiliations = dict(room.affiliations)
    moderator = room.occupant_of(actor)
    for change in wanted:
        if isinstance(change, RoleChange):
            _check_role(moderator, _target(room, change.nick, phone_jid), change.role)
        else:
            _check_affiliation(actor.bare, change, affiliations, given)
            affiliations[change.jid] = change.affiliation
    if sum(value is not Affiliation.NONE for value in affiliations.values()) > MAX_AFFILIATIONS + len(given):
        raise Refused(f"This room keeps no more than {MAX_AFFILIATIONS} people.", "resource-constraint")
    return wanted


def apply(room: Room, actor: Jid, wanted: Sequence[Change]) -> None:
    """Make changes that `changes` has returned.

    Args:
        room: where.
        actor: full JID of who asked for them.
        wanted: the changes.
    """
    by = room.occupant_of(actor)
    for change in wanted:
        if isinstance(change, RoleChange):
            room.set_role(change.nick, change.role, by, change.reason)
        elif room.affiliations.get(change.jid, Affiliation.NONE) is not change.affiliation:
            room.set_affiliation(change.jid, change.affiliation, by, change.reason)


def listing(room: Room, actor: Jid, query: Element, phone_jid: PhoneJid) -> Element:
    """Return the list that a request asks for: of people with an affiliation, or of occupants with a role.

    Args:
        room: whose.
        actor: full JID of who asks.
        query: the payload of the request.
        phone_jid: returns a phone's own address, or None.

    Raises:
        Refused: ``forbidden``, or the request is none.
    """
    entries = query.findall(f"{{{MUC_ADMIN}}}item")
    if len(entries) != 1:
        raise Refused("A request is for one list.", "bad-request")
    affiliation, role = entries[0].get("affiliation"), entries[0].get("role")
    if (affiliation is None) == (role is None):
        raise Refused("A list is either of an affiliation or of a role.", "bad-request")
    answer = Element(f"{{{MUC_ADMIN}}}query")
    if affiliation is not None:
        _list_affiliation(answer, room, actor, _affiliation(affiliation))
    elif role is not None:
        _list_role(answer, room, actor, _role(role), phone_jid)
    return answer


# What is asked for


def _change(room: Room, item: Element, phone_jid: PhoneJid) -> Change:
    affiliation, role = item.get("affiliation"), item.get("role")
    nick = item.get("nick")
    reason = (stanzas.text_of(item, MUC_ADMIN, "reason") or "")[:MAX_REASON]
    if affiliation is not None and role is None:
        return AffiliationChange(_address(room, item.get("jid"), nick, phone_jid), _affiliation(affiliation), reason)
    if role is not None and affiliation is None and nick is not None:
        return RoleChange(_prepared(room, nick), _role(role), reason)
    raise Refused("A change needs either a role and a nick, or an affiliation and an address.", "bad-request")


def _affiliation(text: str) -> Affiliation:
    try:
        return Affiliation(text)
    except ValueError:
        raise Refused(f"“{plain(text)}” is no affiliation.", "bad-request") from None


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise Refused(f"“{plain(text)}” is no role.", "bad-request") from None


def _prepared(room: Room, nick: str) -> str:
    try:
        return parse(f"{room.address}/{nick}").resource
    except BadJid:
        raise Refused(f"“{plain(nick)}” is no nick.", "jid-malformed") from None


def _address(room: Room, text: str | None, nick: str | None, phone_jid: PhoneJid) -> Jid:
    """Return whose affiliation shall change: a bare address, or that of somebody who is in by this nick.

    A domain stands for all its users.
    """
    if text is None:
        if nick is None:
            raise Refused("A change of affiliation needs an address.", "bad-request")
        target = _target(room, _prepared(room, nick), phone_jid)
        if target.jid is None:
            raise Refused(f"“{plain(target.nick)}” is on a phone that has no address here.", "not-acceptable")
        return target.jid
    try:
        return parse(text).bare
    except BadJid:
        raise Refused(f"“{plain(text)}” is not an address such as someone@example.org.", "jid-malformed") from None


def _target(room: Room, nick: str, phone_jid: PhoneJid) -> Target:
    holder = room.holder_of(nick)
    if holder is None:
        raise Refused(f"There is no “{plain(nick)}” in the room.", "item-not-found")
    return _seen(room, holder, phone_jid)


def _seen(room: Room, holder: Occupant | PhoneOccupant, phone_jid: PhoneJid) -> Target:
    if isinstance(holder, Occupant):
        return Target(holder.nick, holder.jid, holder.affiliation, holder.role)
    jid = phone_jid(holder.participant)
    affiliation = Affiliation.NONE if jid is None else room.affiliation_of(jid)
    role = Role.VISITOR if holder.participant.muted else Role.PARTICIPANT
    return Target(holder.nick, jid and jid.bare, affiliation, role, by_phone=True)


# Who may


def _check_affiliation(
    actor: Jid, change: AffiliationChange, affiliations: Mapping[Jid, Affiliation], given: Mapping[Jid, Affiliation]
) -> None:
    """Refuse a change of affiliation that is not for ``actor`` to make (sections 5.2.1, 9 and 10)."""
    own = affiliations.get(actor, affiliations.get(Jid("", actor.domain), Affiliation.NONE))
    now = affiliations.get(change.jid, Affiliation.NONE)
    if own not in _MANAGERS:
        raise Refused("Only the room's admins and owners may do that.", "forbidden")
    if change.affiliation is now:
        return
    if change.affiliation is Affiliation.OUTCAST:
        if change.jid == actor:
            raise Refused("You cannot ban yourself.", "conflict")
        if now is Affiliation.OWNER or (now is Affiliation.ADMIN and own is Affiliation.ADMIN):
            raise Refused(f"{change.jid} is {_a(now)} of the room and cannot be banned.", "not-allowed")
    if own is Affiliation.ADMIN and (now in _MANAGERS or change.affiliation in _MANAGERS):
        raise Refused("Only the room's owners may do that.", "forbidden")
    if not change.jid.local and change.affiliation in _MANAGERS:
        raise Refused(f"{change.jid} is a domain: only people can be {change.affiliation.value}s.", "not-acceptable")
    if change.jid in given:
        where = f"{change.jid} is {_a(given[change.jid])} by the settings of the service"
        raise Refused(f"{where}: its administrator changes that in agi-xmpp.toml.", "not-allowed")
    if now is Affiliation.OWNER and sum(value is Affiliation.OWNER for value in affiliations.values()) == 1:
        raise Refused("The room would have no owner any more.", "conflict")


def _check_role(actor: Occupant | None, target: Target, role: Role) -> None:
    """Refuse a change of role that is not for ``actor`` to make (sections 5.1.2, 8.2 to 8.4, 9.6 and 9.7)."""
    if actor is None or actor.role is not Role.MODERATOR:
        raise Refused("Only a moderator who is in the room may do that.", "forbidden")
    if role is target.role:
        return
    shown = f"“{plain(target.nick)}”"
    if role is Role.NONE:
        if _RANKS[target.affiliation] > _RANKS[actor.affiliation]:
            raise Refused(f"{shown} is {_a(target.affiliation)} of the room, and you are not.", "not-allowed")
        return
    if role is Role.MODERATOR and target.by_phone:
        raise Refused(f"{shown} is on a phone, and has no means to moderate.", "not-allowed")
    if Role.MODERATOR in (role, target.role) and actor.affiliation not in _MANAGERS:
        raise Refused("Only the room's admins and owners say who is a moderator.", "forbidden")
    if role is not Role.MODERATOR and target.affiliation in _MANAGERS and not target.by_phone:
        raise Refused(f"{shown} is {_a(target.affiliation)} of the room: their role stays.", "not-allowed")
    if role is Role.VISITOR and _RANKS[target.affiliation] >= _RANKS[actor.affiliation]:
        raise Refused(f"You cannot take the word from {shown}: their affiliation is not below yours.", "not-allowed")


def _a(affiliation: Affiliation) -> str:
    """Return an affiliation with its article."""
    match affiliation:
        case Affiliation.MEMBER:
            return "a member"
        case Affiliation.OUTCAST:
            return "banned"
        case Affiliation.NONE:
            return "nobody"
    return f"an {affiliation.value}"


# Lists


def _list_affiliation(answer: Element, room: Room, actor: Jid, affiliation: Affiliation) -> None:
    """Add people with an affiliation: their addresses are hidden here, but for managers (9.2, 9.5, 10.5, 10.8)."""
    if affiliation is Affiliation.NONE:
        raise Refused("There is no list of people without an affiliation.", "bad-request")
    allowed = (Affiliation.OWNER,) if affiliation in _MANAGERS else _MANAGERS
    if room.affiliation_of(actor.bare) not in allowed:
        raise Refused(
            f"Only the room's {'owners' if len(allowed) == 1 else 'admins and owners'} see that.", "forbidden"
        )
    for jid, value in room.affiliations.items():
        if value is affiliation:
            stanzas.add(answer, MUC_ADMIN, "item", affiliation=value.value, jid=jid)


def _list_role(answer: Element, room: Room, actor: Jid, role: Role, phone_jid: PhoneJid) -> None:
    """Add occupants with a role: moderators see who may write (8.5), managers who is a moderator (9.8)."""
    if role is Role.NONE:
        raise Refused("Who has no role is not in the room.", "bad-request")
    occupant = room.occupant_of(actor)
    moderates = occupant is not None and occupant.role is Role.MODERATOR
    manages = room.affiliation_of(actor.bare) in _MANAGERS
    if not manages and (role is Role.MODERATOR or not moderates):
        raise Refused("Only the room's moderators see that.", "forbidden")
    holders: list[Occupant | PhoneOccupant] = [*room.occupants.values(), *room.phones.values()]
    for holder in holders:
        target = _seen(room, holder, phone_jid)
        if target.role is role:
            item = {"affiliation": target.affiliation.value, "role": target.role.value, "nick": target.nick}
            stanzas.add(answer, MUC_ADMIN, "item", **item, jid=target.jid)
