"""XEP-0313 on a room: what clients ask, and what they get. The examples are those of the XEP, asked of a room."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.archive import mam as module
from agi_xmpp.features.conference.archive.archive import Archive
from agi_xmpp.features.conference.archive.mam import Mam, read_query
from agi_xmpp.features.conference.archive.messages import MessageTable, Page, Query
from tests.unit.clock import Clock
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.messages_said import BALCONY, NOON, ids, said, same

JULIET = "juliet@capulet.lit/chamber"
CLIENT = "{jabber:client}"
M = "{urn:xmpp:mam:2}"
RSM = "{http://jabber.org/protocol/rsm}"


class House:
    """An archive, who answers for it, and what was sent."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.clock = Clock()
        self.sent: list[Element] = []
        self.mam = Mam(archive, self.sent.append, self.clock)

    async def ask(self, payload: str, type_: str = "set", sender: str = JULIET) -> list[Element]:
        """Return what is sent for an iq."""
        self.sent.clear()
        await self.mam.answer(BALCONY, iq(payload, type_, sender))
        return list(self.sent)

    async def refused(self, payload: str, type_: str = "set", sender: str = JULIET) -> tuple[str, str]:
        """Return condition and type of the error that is all that is sent."""
        (answer,) = await self.ask(payload, type_, sender)
        assert (answer.get("type"), answer.get("id"), answer.get("to")) == ("error", "q1", sender)
        assert answer.get("from") == str(BALCONY)
        error = answer.find(f"{CLIENT}error")
        assert error is not None
        return stanzas.condition_of(answer), error.get("type", "")

    async def found(self, payload: str) -> list[str]:
        """Return the ids of the messages that are sent, in their order."""
        *results, last = await self.ask(payload)
        assert last.get("type") == "result"
        return [result.get("id", "") for message in results for result in message.iterfind(f"{M}result")]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    archive = Archive(str(tmp_path), 7, lambda: NOON)
    await archive.start()
    yield House(archive)
    await archive.close()


@pytest.fixture
def full(house: House) -> House:
    """With five messages, a second apart, of Romeo and Juliet in turn."""
    for number in range(5):
        house.archive.add(BALCONY, said(number, nick=("Romeo", "Juliet")[number % 2]))
    return house


def iq(payload: str, type_: str = "set", sender: str = JULIET) -> Element:
    return stanza(f"<iq type='{type_}' id='q1' from='{sender}' to='{BALCONY}'>{payload}</iq>")


def query(fields: dict[str, str] | None = None, rest: str = "", attributes: str = "") -> str:
    values = {"FORM_TYPE": "urn:xmpp:mam:2"} | (fields or {})
    form = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in values.items())
    return f"<query xmlns='urn:xmpp:mam:2' {attributes}><x xmlns='jabber:x:data' type='submit'>{form}</x>{rest}</query>"


def page(inner: str) -> str:
    return f"<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>"


def read(payload: str) -> Query:
    found = iq(payload).find(f"{M}query")
    assert found is not None
    return read_query(BALCONY, found)


# What comes back


async def test_all_messages(house):
    """Examples 2 to 4, and "Server returns MUC messages"."""
    message = stanza(
        "<message from='balcony@conference.example.org/firstwitch' id='162BEBB1' type='groupchat'>"
        "<body>Thrice the brinded cat hath mew'd.</body><origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>"
    )
    house.archive.add(BALCONY, replace(said(0), id="34482-21985-73620", stamp=NOON, stanza=message))
    result, fin = await house.ask("<query xmlns='urn:xmpp:mam:2' queryid='g27'/>")
    assert same(
        result,
        stanza(
            f"""<message from='balcony@conference.example.org' to='{JULIET}'><result xmlns='urn:xmpp:mam:2'
            queryid='g27' id='34482-21985-73620'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay'
            stamp='2026-11-21T12:00:00.000Z'/><message xmlns='jabber:client' type='groupchat' id='162BEBB1'
            from='balcony@conference.example.org/firstwitch'><body>Thrice the brinded cat hath mew'd.</body><origin-id
            xmlns='urn:xmpp:sid:0' id='o1'/></message></forwarded></result></message>"""
        ),
    )
    assert same(
        fin,
        stanza(
            f"<iq from='balcony@conference.example.org' to='{JULIET}' type='result' id='q1'>"
            "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'>"
            "<first index='0'>34482-21985-73620</first><last>34482-21985-73620</last><count>1</count></set></fin></iq>"
        ),
    )


async def test_without_a_queryid_there_is_none_in_the_results(full):
    *results, _fin = await full.ask("<query xmlns='urn:xmpp:mam:2'/>")
    assert [sorted(result.attrib) for message in results for result in message.iterfind(f"{M}result")] == [["id"]] * 5


async def test_an_empty_archive(house):
    (fin,) = await house.ask("<query xmlns='urn:xmpp:mam:2'/>")
    expected = "<fin xmlns='urn:xmpp:mam:2' complete='true'>" + page("<count>0</count>") + "</fin>"
    assert same(fin[0], fromstring(expected))


async def test_limited_results_say_so(full):
    """ "Server responds to client with limited results using RSM"."""
    *results, fin = await full.ask(query(rest=page("<max>2</max>")))
    assert len(results) == 2
    expected = page("<first index='0'>id0</first><last>id1</last><count>5</count>")
    assert same(fin[0], fromstring(f"<fin xmlns='urn:xmpp:mam:2'>{expected}</fin>"))


async def test_on_the_way_back_pages_have_no_number(full):
    """slixmpp would stop after the first one."""
    *_results, fin = await full.ask(query(rest=page("<max>2</max><before/>")))
    expected = page("<first>id3</first><last>id4</last><count>5</count>")
    assert same(fin[0], fromstring(f"<fin xmlns='urn:xmpp:mam:2'>{expected}</fin>"))


async def test_no_real_address_and_no_forged_one_is_told(house):
    message = said(0)
    message.stanza.set("to", "somebody@example.org/x")
    forged = stanzas.add(message.stanza, stanzas.MUC_USER, "x")
    stanzas.add(forged, stanzas.MUC_USER, "item", jid="romeo@montague.lit", affiliation="owner", role="moderator")
    house.archive.add(BALCONY, message)
    result, _fin = await house.ask("<query xmlns='urn:xmpp:mam:2'/>")
    (inner,) = result.iterfind(f"{M}result/{{urn:xmpp:forward:0}}forwarded/{CLIENT}message")
    assert inner.get("to") is None
    assert [child.tag for child in inner] == [f"{CLIENT}body", "{urn:xmpp:sid:0}stanza-id"]


async def test_a_flipped_page_is_the_same_page_backward(full):
    """Only the order changes (section 4.3.4): clients go on by ``first`` and ``last`` as ever."""
    paging = page("<max>3</max><before/>")
    assert await full.found(query(rest=paging)) == ["id2", "id3", "id4"]
    plain = full.sent[-1]
    assert await full.found(query(rest=f"{paging}<flip-page/>")) == ["id4", "id3", "id2"]
    assert same(full.sent[-1], plain)


async def test_what_cannot_be_relied_on_is_marked(full, monkeypatch):
    async def unsure(*_args: object) -> Page:
        return Page(stable=False)

    monkeypatch.setattr(full.archive, "page", unsure)
    (fin,) = await full.ask(query())
    assert fin[0].get("stable") == "false"


# What is asked


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("<query xmlns='urn:xmpp:mam:2' queryid='f27'/>", Query()),
        (query(), Query()),
        (query({"with": str(BALCONY)}), Query()),
        (query({"with": "BALCONY@Conference.example.org"}), Query()),
        (query({"with": f"{BALCONY}/Juliet C"}), Query(nicks=frozenset({"Juliet C"}))),
        (query({"with": "juliet@capulet.lit"}), Query(nicks=frozenset())),
        (query({"with": "garden@conference.example.org/Juliet"}), Query(nicks=frozenset())),
        (
            query({"start": "2010-06-07T00:00:00Z", "end": "2010-07-07T13:23:54Z"}),
            Query(start=datetime(2010, 6, 7, tzinfo=UTC), end=datetime(2010, 7, 7, 13, 23, 54, tzinfo=UTC)),
        ),
        (
            query({"start": "2010-08-07T02:30:00.123+02:30"}),
            Query(start=datetime(2010, 8, 7, 0, 0, 0, 123_000, tzinfo=UTC)),
        ),
        (query({"start": "", "end": "", "with": "", "after-id": "", "before-id": "", "ids": ""}), Query()),
        (query({"after-id": "09af3-cc343-b409f"}), Query(after_id="09af3-cc343-b409f")),
        (
            query({"after-id": "28482-98726-73623", "before-id": "09af3-cc343-b409f"}),
            Query(after_id="28482-98726-73623", before_id="09af3-cc343-b409f"),
        ),
        (query({"ids": "28482</value><value>98726"}), Query(ids=frozenset({"28482", "98726"}))),
        (query(rest=page("")), Query()),
        (query(rest=page("<max>10</max>")), Query(max=10)),
        (query(rest=page("<max> 10 </max>")), Query(max=10)),
        (query(rest=page("<max>0</max>")), Query(max=0)),
        (query(rest=page("<max>99</max>")), Query(max=99)),
        (query(rest=page("<max>100</max>")), Query(max=100)),
        (query(rest=page("<max>101</max>")), Query(max=100)),
        (query(rest=page("<max>9999999999</max>")), Query(max=100)),
        (query(rest=page("<max>10</max><after>09af3</after>")), Query(max=10, after="09af3")),
        (query(rest=page("<after/>")), Query()),
        (query(rest=page("<max>10</max><before/>")), Query(max=10, before="")),
        (query(rest=page("<before>09af3</before>")), Query(before="09af3")),
    ],
)
def test_queries(payload, expected):
    assert read(payload) == expected


@pytest.mark.parametrize(
    ("payload", "condition"),
    [
        (query({"start": "yesterday"}), "bad-request"),
        (query({"end": "2010-13-07T00:00:00Z"}), "bad-request"),
        (query({"start": "0001-01-01T00:00:00+14:00"}), "bad-request"),
        (query({"start": "2010-06-07T00:00:00Z</value><value>2010-06-08T00:00:00Z"}), "bad-request"),
        (query({"with": "@"}), "bad-request"),
        (query({"with": f"{BALCONY}/Juliet</value><value>{BALCONY}/Romeo"}), "bad-request"),
        (query({"FORM_TYPE": "urn:xmpp:mam:1"}), "bad-request"),
        (query().replace("submit", "form"), "bad-request"),
        ("<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'/></query>", "bad-request"),
        (query(rest=page("<max>ten</max>")), "bad-request"),
        (query(rest=page("<max>-1</max>")), "bad-request"),
        (query(rest=page("<max>\u0663</max>")), "bad-request"),
        (query(rest=page("<max/>")), "bad-request"),
        (query(rest=page("<max>10000000000</max>")), "bad-request"),
        (query({"{http://example.com/}free-text-search": "Where arth thou"}), "feature-not-implemented"),
        (query({"include-groupchat": "true"}), "feature-not-implemented"),
        (query(rest=page("<max>10</max><index>5</index>")), "feature-not-implemented"),
        (query(attributes="node='fdp/submitted/capulet.lit/sonnets'"), "item-not-found"),
    ],
)
def test_what_makes_no_sense_is_refused(payload, condition):
    with pytest.raises(Refused) as caught:
        read(payload)
    assert caught.value.condition == condition


@pytest.mark.parametrize(("count", "fits"), [(99, True), (100, True), (101, False)])
def test_so_many_ids_at_once(count, fits):
    payload = query({"ids": "</value><value>".join(f"id{number}" for number in range(count))})
    if fits:
        assert len(read(payload).ids) == count
    else:
        with pytest.raises(Refused, match="more than 100 ids"):
            read(payload)


@given(
    st.dictionaries(st.sampled_from(["start", "end", "with", "before-id", "after-id", "ids"]), st.text(max_size=30)),
    st.dictionaries(st.sampled_from(["max", "before", "after", "index"]), st.text(max_size=30)),
)
def test_whatever_is_asked_is_understood_or_refused(fields, paging):
    asked = Element(f"{M}query")
    form = [stanzas.Field(name, (value,)) for name, value in fields.items()]
    asked.append(stanzas.form("submit", "urn:xmpp:mam:2", form))
    rsm = stanzas.add(asked, stanzas.RSM, "set")
    for name, value in paging.items():
        stanzas.add(rsm, stanzas.RSM, name, value)
    with contextlib.suppress(Refused):
        assert 0 <= read_query(BALCONY, asked).max <= 100


async def test_filters_find_what_they_say(full):
    second = "2026-11-21T12:00:0{}Z".format
    assert await full.found(query({"with": f"{BALCONY}/Juliet"})) == ["id1", "id3"]
    assert await full.found(query({"with": "romeo@montague.lit"})) == []
    assert await full.found(query({"start": second(1), "end": second(3)})) == ["id1", "id2", "id3"]
    assert await full.found(query({"after-id": "id1", "before-id": "id4"})) == ["id2", "id3"]
    assert await full.found(query({"ids": "id4</value><value>id0"})) == ["id0", "id4"]


@pytest.mark.parametrize(
    "payload",
    [
        query(rest=page("<after>gone</after>")),
        query(rest=page("<before>gone</before>")),
        query({"after-id": "gone"}),
        query({"before-id": "gone"}),
        query({"ids": "id0</value><value>gone"}),
    ],
)
async def test_a_message_that_is_not_there(full, payload):
    """ "Message id not found in archive": clients begin anew then."""
    assert await full.refused(payload) == ("item-not-found", "cancel")


async def test_bad_dates_are_answered(full):
    assert await full.refused(query({"start": "tomorrow"})) == ("bad-request", "modify")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
async def test_a_client_that_pages_gets_all(full, size):
    """Forward as Conversations catches up, backward as it scrolls."""
    pages = [await full.found(query(rest=page(f"<max>{size}</max>")))]
    while full.sent[-1][0].get("complete") is None:
        last = full.sent[-1].findtext(f"{M}fin/{RSM}set/{RSM}last")
        pages.append(await full.found(query(rest=page(f"<max>{size}</max><after>{last}</after>"))))
    assert list(itertools.chain(*pages)) == ["id0", "id1", "id2", "id3", "id4"]
    assert [len(found) for found in pages[:-1]] == [size] * (len(pages) - 1)
    pages = [await full.found(query(rest=page(f"<max>{size}</max><before/>")))]
    while full.sent[-1][0].get("complete") is None:
        first = full.sent[-1].findtext(f"{M}fin/{RSM}set/{RSM}first")
        pages.insert(0, await full.found(query(rest=page(f"<max>{size}</max><before>{first}</before>"))))
    assert list(itertools.chain(*pages)) == ["id0", "id1", "id2", "id3", "id4"]


# The form, metadata, and what is no question


async def test_the_form(house):
    """ "Client requests supported query fields"."""
    (answer,) = await house.ask("<query xmlns='urn:xmpp:mam:2'/>", "get")
    assert answer.get("type") == "result"
    assert same(
        answer[0],
        fromstring(
            "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'><field type='hidden' var='FORM_TYPE'>"
            "<value>urn:xmpp:mam:2</value></field><field type='jid-single' var='with'/><field type='text-single'"
            " var='start'/><field type='text-single' var='end'/><field type='text-single' var='before-id'/><field"
            " type='text-single' var='after-id'/><field type='list-multi' var='ids'><validate"
            " xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate></field></x>"
            "</query>"
        ),
    )


async def test_metadata(full):
    """ "Server returns archive metadata"."""
    (answer,) = await full.ask("<metadata xmlns='urn:xmpp:mam:2'/>", "get")
    assert same(
        answer[0],
        fromstring(
            "<metadata xmlns='urn:xmpp:mam:2'><start id='id0' timestamp='2026-11-21T12:00:00.000Z'/>"
            "<end id='id4' timestamp='2026-11-21T12:00:04.000Z'/></metadata>"
        ),
    )


async def test_metadata_of_an_empty_archive(house):
    (answer,) = await house.ask("<metadata xmlns='urn:xmpp:mam:2'/>", "get")
    assert same(answer[0], fromstring("<metadata xmlns='urn:xmpp:mam:2'/>"))


@pytest.mark.parametrize(
    ("payload", "type_"),
    [
        ("<metadata xmlns='urn:xmpp:mam:2'/>", "set"),
        ("<prefs xmlns='urn:xmpp:mam:2'/>", "get"),
        ("", "get"),
        ("<query xmlns='urn:xmpp:mam:1'/>", "set"),
    ],
)
async def test_what_is_no_question_is_refused(house, payload, type_):
    assert await house.refused(payload, type_) == ("bad-request", "modify")


@pytest.mark.parametrize("type_", ["result", "error"])
async def test_an_answer_is_not_answered(house, type_):
    assert await house.ask("<query xmlns='urn:xmpp:mam:2'/>", type_) == []


async def test_without_an_archive_there_is_nothing_to_ask():
    house = House(Archive("", 7))
    assert await house.refused(query()) == ("feature-not-implemented", "cancel")


async def test_a_file_that_cannot_be_read_is_answered(full, monkeypatch):
    monkeypatch.setattr(MessageTable, "_message", broken)
    assert await full.refused(query()) == ("internal-server-error", "cancel")


def broken(*_args: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


# Limits


@pytest.mark.parametrize(("before", "fits"), [(298, True), (299, True), (300, False)])
async def test_so_many_requests_within_a_minute(house, before, fits):
    for number in range(before):
        await house.ask("<query xmlns='urn:xmpp:mam:2'/>", sender=f"juliet@capulet.lit/{number}")
    answered = (await house.ask(query()))[-1].get("type")
    assert answered == ("result" if fits else "error")
    assert (await house.ask(query(), sender="nurse@capulet.lit/x"))[-1].get("type") == "result"
    if not fits:
        assert await house.refused(query()) == ("resource-constraint", "wait")
        house.clock.now += 60
        assert (await house.ask(query()))[-1].get("type") == "result"


@pytest.mark.parametrize(
    ("limit", "senders"),
    [("UNDER_WAY_EACH", ["juliet@capulet.lit/{}"]), ("UNDER_WAY", ["user{}@capulet.lit/x"])],
)
@pytest.mark.parametrize(("count", "refused"), [(2, 0), (3, 0), (4, 1), (6, 3)])
async def test_so_many_requests_at_once(full, monkeypatch, limit, senders, count, refused):
    monkeypatch.setattr(module, limit, 3)
    asked = [full.mam.answer(BALCONY, iq(query(), sender=senders[0].format(number))) for number in range(count)]
    await asyncio.gather(*asked)
    answers = [sent.get("type") for sent in full.sent if sent.tag == stanzas.IQ]
    assert sorted(answers) == ["error"] * refused + ["result"] * (count - refused)
    assert (await full.ask(query()))[-1].get("type") == "result", "and all places are free again"


async def test_a_request_that_is_cancelled_leaves_its_place(full, monkeypatch):
    monkeypatch.setattr(module, "UNDER_WAY", 1)
    task = asyncio.create_task(full.mam.answer(BALCONY, iq(query())))
    await asyncio.sleep(0)
    assert await full.refused(query(), sender="nurse@capulet.lit/x") == ("resource-constraint", "wait")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await full.ask(query()))[-1].get("type") == "result"


async def test_a_request_without_a_sender_is_refused(house):
    assert await house.refused(query(), sender="") == ("jid-malformed", "modify")


async def test_messages_come_before_the_result_also_if_several_ask(full):
    await asyncio.gather(*(full.mam.answer(BALCONY, iq(query(), sender=f"user{n}@capulet.lit/x")) for n in range(5)))
    for number in range(5):
        mine = [sent for sent in full.sent if sent.get("to") == f"user{number}@capulet.lit/x"]
        assert [sent.tag for sent in mine] == [stanzas.MESSAGE] * 5 + [stanzas.IQ]


async def test_a_page_of_the_largest_messages(house):
    """256 KiB each, as much as the stream lets through: a page ends after a mebibyte."""
    for number in range(10):
        house.archive.add(BALCONY, said(number, "x" * 250_000))
    assert await house.found(query()) == ["id0", "id1", "id2", "id3"]
    assert house.sent[-1][0].get("complete") is None
    assert ids((await house.archive.page(BALCONY, Query(after="id3"))).messages) == ["id4", "id5", "id6", "id7"]


async def test_a_time_that_was_shown_can_be_asked_with(house):
    house.archive.add(BALCONY, replace(said(0), stamp=NOON + timedelta(microseconds=123_456)))
    result, _fin = await house.ask(query())
    (delay,) = result.iter("{urn:xmpp:delay}delay")
    assert delay.get("stamp") == "2026-11-21T12:00:00.123Z"
    shown = delay.get("stamp", "")
    assert await house.found(query({"start": shown})) == ["id0"]
    assert await house.found(query({"end": shown})) == ["id0"]
