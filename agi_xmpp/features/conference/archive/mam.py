"""Messages of a room, read again by clients (XEP-0313): what they ask, and how they are answered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from xml.etree.ElementTree import Element

from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.archive.archive import Archive
from agi_xmpp.features.conference.archive.messages import Mark, Page, Query
from agi_xmpp.features.conference.model import Archived
from agi_xmpp.features.conference.stanzas import MAM, RSM, Field, add
from agi_xmpp.features.quota import Quota
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

FORWARD = "urn:xmpp:forward:0"
VALIDATE = "http://jabber.org/protocol/xdata-validate"

#: Messages of a page, if the client does not say; and at the most, whatever it says.
PAGE = 50
PAGE_MAX = 100
#: Messages that can be asked for by their ids at once.
IDS_MAX = PAGE_MAX
#: Requests of one person within a minute: twenty rooms on three devices that come back, and some pages more.
REQUESTS = 300
PERIOD = 60.0
#: Requests under way: of one person, and at all. One thread answers them, one after the other.
UNDER_WAY_EACH = 100
UNDER_WAY = 1000

_FIELDS = (
    Field("with", type="jid-single"),
    Field("start", type="text-single"),
    Field("end", type="text-single"),
    Field("before-id", type="text-single"),
    Field("after-id", type="text-single"),
    Field("ids", type="list-multi"),
)


class Mam:
    """Answers requests to the archives of all rooms.

    Args:
        archive: of the rooms.
        send: takes a stanza.
        clock: seconds, monotonic.
    """

    def __init__(
        self, archive: Archive, send: Callable[[Element], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._archive = archive
        self._send = send
        self._quota = Quota(REQUESTS, PERIOD, clock)
        self._under_way: Counter[Jid] = Counter()

    async def answer(self, room: Jid, stanza: Element) -> None:
        """Answer an iq of type ``get`` or ``set``; leave others. That its sender may read is for others to check.

        Args:
            room: its bare JID.
            stanza: has a ``<query/>`` or ``<metadata/>`` of XEP-0313.
        """
        if stanza.get("type") not in ("get", "set"):
            return
        try:
            with self._admitted(stanza):
                answers = await self._answers(room, stanza)
        except Refused as error:
            answers = [stanzas.error(stanza, error.condition, str(error))]
        for answer in answers:
            self._send(answer)

    async def _answers(self, room: Jid, stanza: Element) -> list[Element]:
        query = stanzas.child(stanza, MAM, "query")
        asked = stanza.get("type")
        if not self._archive.enabled:
            raise Refused("no messages are kept here", "feature-not-implemented")
        if query is not None and asked == "set":
            wanted = read_query(room, query)
            page = await self._archive.page(room, wanted)
            fin = _fin(page, backward=wanted.before is not None)
            return [*_results(room, stanza, query, page), stanzas.result(stanza, fin)]
        if query is not None and asked == "get":
            return [stanzas.result(stanza, _form())]
        if stanzas.child(stanza, MAM, "metadata") is not None and asked == "get":
            return [stanzas.result(stanza, _metadata(await self._archive.ends(room)))]
        raise Refused("an archive is asked by a query, or for its metadata", "bad-request")

    @contextmanager
    def _admitted(self, stanza: Element) -> Iterator[None]:
        """Hold one of the places that the asker has.

        Raises:
            Refused: ``resource-constraint``: there is none.
        """
        try:
            person = parse(stanza.get("from", "")).bare
        except BadJid as error:
            raise Refused(str(error), "jid-malformed") from None
        if not self._quota.allows(person, 1):
            raise Refused("too many requests within a minute; try again later", "resource-constraint")
        if self._under_way[person] >= UNDER_WAY_EACH or self._under_way.total() >= UNDER_WAY:
            raise Refused("too many requests at once; wait for their answers", "resource-constraint")
        self._quota.spend(person, 1)
        self._under_way[person] += 1
        try:
            yield
        finally:
            self._under_way[person] -= 1
            if not self._under_way[person]:
                del self._under_way[person]


def read_query(room: Jid, query: Element) -> Query:
    """Return what a ``<query/>`` of type ``set`` asks for.

    Args:
        room: its bare JID.
        query: of XEP-0313 section 4.

    Raises:
        Refused: with the condition that XEP-0313 asks for, or ``bad-request``.
    """
    if query.get("node") is not None:
        raise Refused("a room has no nodes", "item-not-found")
    form = _read_form(query)
    ids = frozenset(id_ for id_ in form.pop("ids", []) if id_)
    if len(ids) > IDS_MAX:
        raise Refused(f"more than {IDS_MAX} ids in one request; ask in several", "policy-violation")
    values = {name: _single(name, given) for name, given in form.items()}
    page = stanzas.child(query, RSM, "set")
    paging = {} if page is None else _read_paging(page)
    return Query(
        start=_read_moment("start", values),
        end=_read_moment("end", values),
        nicks=_read_nicks(room, values.get("with", "")),
        after_id=values.get("after-id", ""),
        before_id=values.get("before-id", ""),
        ids=ids,
        max=_read_max(paging.get("max")),
        after=paging.get("after", ""),
        before=paging.get("before"),
    )


def _read_form(query: Element) -> dict[str, list[str]]:
    x = stanzas.child(query, stanzas.FORMS, "x")
    if x is None:
        return {}
    if x.get("type") != "submit":
        raise Refused("the form is not one that is handed in (type 'submit')", "bad-request")
    form = stanzas.submitted(x)
    if form.pop("FORM_TYPE", None) != [MAM]:
        raise Refused(f"the form's FORM_TYPE is not {MAM}", "bad-request")
    if not form.keys() <= {field.var for field in _FIELDS}:
        raise Refused("the form has a field that this archive does not know", "feature-not-implemented")
    return form


def _single(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise Refused(f"the form's field {name!r} has more than one value", "bad-request")
    return values[0] if values else ""


def _read_moment(name: str, values: dict[str, str]) -> datetime | None:
    text = values.get(name, "")
    moment = stanzas.moment(text) if text else None
    if text and moment is None:
        raise Refused(f"the form's field {name!r} is no date and time of XEP-0082", "bad-request")
    return moment


def _read_nicks(room: Jid, text: str) -> frozenset[str] | None:
    """Return whose messages are meant by an address; see `Query.nicks`.

    A real address is nobody's here: the archive does not know who was behind a nick, and would not tell.
    """
    if not text:
        return None
    try:
        jid = parse(text)
    except BadJid as error:
        raise Refused(f"the form's field 'with': {error}", "bad-request") from None
    if jid == room:
        return None
    return frozenset({jid.resource} if jid.bare == room else ())


def _read_paging(page: Element) -> dict[str, str]:
    """Return what ``<set/>`` holds (XEP-0059 section 2)."""
    paging = {stanzas.split(element.tag)[1]: element.text or "" for element in page}
    if "index" in paging:
        raise Refused("pages cannot be asked for by their number", "feature-not-implemented")
    return paging


def _read_max(text: str | None) -> int:
    if text is None:
        return PAGE
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        raise Refused("the page's <max/> is no number", "bad-request")
    return min(int(digits), PAGE_MAX)


def _results(room: Jid, stanza: Element, query: Element, page: Page) -> Iterator[Element]:
    """Return the messages that bring those of a page (XEP-0313 section 4.2)."""
    flipped = stanzas.child(query, MAM, "flip-page") is not None
    for archived in reversed(page.messages) if flipped else page.messages:
        message = Element(stanzas.MESSAGE, {"from": str(room), "to": stanza.get("from", "")})
        result = add(message, MAM, "result", queryid=query.get("queryid"), id=archived.id)
        forwarded = add(result, FORWARD, "forwarded")
        add(forwarded, stanzas.DELAY, "delay", stamp=stanzas.timestamp(archived.stamp))
        forwarded.append(_as_forwarded(archived))
        yield message


def _as_forwarded(archived: Archived) -> Element:
    """Return a message without what only its first receivers should see, or what its sender has forged."""
    attributes = {name: value for name, value in archived.stanza.items() if name != "to"}
    message = Element(stanzas.MESSAGE, attributes)
    message.extend(stanzas.without(archived.stanza, tags=(f"{{{stanzas.MUC_USER}}}x",)))
    return message


def _fin(page: Page, *, backward: bool) -> Element:
    """Return what tells that the page is over, and how to go on.

    The number of messages before it (optional in XEP-0059 and XEP-0313) is left out of the way backward: slixmpp takes
    the last page for the end then, and reads no further.
    """
    fin = Element(f"{{{MAM}}}fin")
    if page.complete:
        fin.set("complete", "true")
    if not page.stable:
        fin.set("stable", "false")
    rsm = add(fin, RSM, "set")
    if page.messages:
        index = None if backward else str(page.first_index)
        add(rsm, RSM, "first", page.messages[0].id, index=index)
        add(rsm, RSM, "last", page.messages[-1].id)
    add(rsm, RSM, "count", str(page.count))
    return fin


def _form() -> Element:
    query = Element(f"{{{MAM}}}query")
    form = stanzas.form("form", MAM, _FIELDS)
    query.append(form)
    for field in form:
        if field.get("var") == "ids":  # any can be named, and none is offered
            add(add(field, VALIDATE, "validate", datatype="xs:string"), VALIDATE, "open")
    return query


def _metadata(ends: tuple[Mark, Mark] | None) -> Element:
    metadata = Element(f"{{{MAM}}}metadata")
    if ends is not None:
        for name, mark in zip(("start", "end"), ends, strict=True):
            add(metadata, MAM, name, id=mark.id, timestamp=stanzas.timestamp(mark.stamp))
    return metadata
