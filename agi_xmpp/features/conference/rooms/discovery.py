"""What the service and its rooms answer to who wants to know them (XEP-0030, XEP-0045 section 6). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import RoomConfig
from agi_xmpp.features.conference.stanzas import DISCO_INFO, DISCO_ITEMS, MAM, RSM, Field
from agi_xmpp.xmpp.model import Jid

STABLE_ID = "http://jabber.org/protocol/muc#stable_id"
ROOM_INFO = "http://jabber.org/protocol/muc#roominfo"

#: What clients ask a room for besides itself: their reserved nick (XEP-0045 section 7.12; nobody has one here).
RESERVED_NICK = "x-roomuser-item"

#: Items of one answer at the most: about 50 KB, well below what servers take as one stanza.
PAGE = 400

_SERVICE_FEATURES = (DISCO_INFO, DISCO_ITEMS, stanzas.MUC, STABLE_ID, stanzas.PING, RSM)
_ROOM_FEATURES = (
    DISCO_INFO,
    DISCO_ITEMS,
    stanzas.MUC,
    STABLE_ID,
    ROOM_INFO,
    stanzas.PING,
    stanzas.STANZA_ID,
    stanzas.OCCUPANT_ID,
    "muc_semianonymous",
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a list.

    Attributes:
        address: where it leads to.
        name: for people.
    """

    address: Jid
    name: str


def service_info() -> Element:
    """Return what the service itself is."""
    return _info("Conferences", _SERVICE_FEATURES)


def room_info(config: RoomConfig, subject: str, people: int, history: int, *, archived: bool) -> Element:
    """Return what a room is (XEP-0045 section 6.4), with the form ``muc#roominfo``.

    Args:
        config: of the room.
        subject: "" if there is none.
        people: who are in, by telephone or from chat.
        history: messages that whoever joins is shown at the most.
        archived: older ones can be read (XEP-0313).
    """
    features = [
        *_ROOM_FEATURES,
        "muc_membersonly" if config.members_only else "muc_open",
        "muc_moderated" if config.moderated else "muc_unmoderated",
        "muc_passwordprotected" if config.password else "muc_unsecured",
        "muc_persistent" if config.persistent else "muc_temporary",
        "muc_public" if config.public else "muc_hidden",
    ]
    if archived:
        features += (MAM, f"{MAM}#extended")  # XEP-0313 section 7
    query = _info(config.title, features)
    fields = [
        Field("muc#roomconfig_roomname", (config.title,), "text-single", "Title"),
        Field("muc#roominfo_description", (config.description,), "text-single", "Description"),
        Field("muc#roominfo_subject", (subject,), "text-single", "Subject"),
        Field(
            "muc#roominfo_subjectmod", ("1" if config.subject_by_all else "0",), "boolean", "All may set the subject"
        ),
        Field("muc#roominfo_occupants", (str(people),), "text-single", "People in the room"),
        Field("muc#maxhistoryfetch", (str(history),), "text-single", "Messages shown to who joins"),
    ]
    query.append(stanzas.form("result", ROOM_INFO, fields))
    return query


def no_nick() -> Element:
    """Return the answer to who asks for their reserved nick and has none."""
    return Element(f"{{{DISCO_INFO}}}query", node=RESERVED_NICK)


def items(listed: Sequence[Listed], request: Element | None) -> Element:
    """Return a list in the order of the addresses, page by page if it is long (XEP-0059).

    Args:
        listed: all there are.
        request: the payload of the request, with the page that is wanted; None for the first one.

    Raises:
        Refused: ``bad-request``: the page cannot be understood. ``feature-not-implemented``: it is asked for backwards.
    """
    wanted = None if request is None else stanzas.child(request, RSM, "set")
    size, after = _page(wanted)
    ordered = sorted(listed, key=lambda item: str(item.address))
    keys = [str(item.address) for item in ordered]
    begin = bisect_right(keys, after)
    page = ordered[begin : begin + size]
    query = Element(f"{{{DISCO_ITEMS}}}query")
    for item in page:
        stanzas.add(query, DISCO_ITEMS, "item", jid=item.address, name_=item.name or None)
    if wanted is not None or len(page) < len(ordered):
        _add_page(query, keys, begin, len(page))
    return query


def _page(wanted: Element | None) -> tuple[int, str]:
    """Return how many items are wanted, and the address that they come behind."""
    if wanted is None:
        return PAGE, ""
    if stanzas.child(wanted, RSM, "before") is not None:
        raise Refused("This list can be read forwards only.", "feature-not-implemented")
    size = stanzas.text_of(wanted, RSM, "max")
    if size is not None and not (size.isascii() and size.isdigit() and len(size) <= 9):
        raise Refused("The size of a page is a number.", "bad-request")
    return min(PAGE, PAGE if size is None else int(size)), stanzas.text_of(wanted, RSM, "after") or ""


def _add_page(query: Element, keys: Sequence[str], begin: int, size: int) -> None:
    """Say which page this is (XEP-0059 section 2.1)."""
    page = stanzas.add(query, RSM, "set")
    if size:
        stanzas.add(page, RSM, "first", keys[begin], index=str(begin))
        stanzas.add(page, RSM, "last", keys[begin + size - 1])
    stanzas.add(page, RSM, "count", str(len(keys)))


def _info(name: str, features: Sequence[str]) -> Element:
    query = Element(f"{{{DISCO_INFO}}}query")
    stanzas.add(query, DISCO_INFO, "identity", category="conference", type="text", name_=name)
    for feature in features:
        stanzas.add(query, DISCO_INFO, "feature", var=feature)
    return query
