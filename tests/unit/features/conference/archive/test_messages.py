"""The table of messages: what is found, in which order, and how much is kept."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from xml.etree.ElementTree import ParseError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agi_xmpp.errors import ConfigError, Refused
from agi_xmpp.features.conference.archive import messages as module
from agi_xmpp.features.conference.archive.messages import Expire, Forget, Mark, MessageTable, Page, Query, parse
from agi_xmpp.xmpp.element import serialise
from tests.unit.disks import damage
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.messages_said import BALCONY, GARDEN, NOON, ids, kept, said, same

ROOM = str(BALCONY)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[MessageTable]:
    with closing(MessageTable(tmp_path / "archive.sqlite")) as opened:
        yield opened


def fill(table: MessageTable, count: int) -> None:
    table.write(kept(said(number)) for number in range(count))


def found(table: MessageTable, **query: object) -> list[str]:
    return ids(table.page(ROOM, Query(**query)).messages)  # type: ignore[arg-type]


def test_a_message_comes_back_as_it_was(table):
    message = said(1, "  so <&> \r\n 'much' \U0001f339 ")
    table.write([kept(message)])
    (back,) = table.page(ROOM, Query()).messages
    assert (back.id, back.stamp, back.nick) == (message.id, message.stamp, message.nick)
    assert same(back.stanza, message.stanza)
    assert back.stanza.findtext("{jabber:client}body") == "  so <&> \r\n 'much' \U0001f339 "


@pytest.mark.parametrize(
    "text",
    [
        # As an XMPP client sends it, and as the room tells it
        "<message to='balcony@conference.localhost' id='aI1u9Y..' type='groupchat'>"
        "<origin-id xmlns='urn:xmpp:sid:0' id='aI1u9Y..'/><body>good evening from profanity</body></message>",
        "<message from='balcony@conference.localhost/Nurse' type='groupchat' id='aI1u9Y..'>"
        "<origin-id xmlns='urn:xmpp:sid:0' id='aI1u9Y..'/><body>good evening from profanity</body>"
        "<stanza-id xmlns='urn:xmpp:sid:0' by='balcony@conference.localhost' id='8a0e..'/></message>",
        # Names with prefixes, a language, nesting, mixed content, a stanza in a stanza
        "<message from='a@b/c' xml:lang='de' xmlns:p='urn:p' p:q='&quot;&#10;'><body xml:lang='de'>ja\u00a0</body>"
        "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>"
        "<p>one <b>two</b> three&#13;</p></body></html><x xmlns=''><y/></x>"
        "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>in</body></message></forwarded>"
        "</message>",
    ],
)
def test_stanzas_come_back_with_all_that_is_in_them(text):
    message = stanza(text)
    assert same(parse(serialise(message).decode()), message)


@pytest.mark.parametrize(
    "text", ["", "<message/><message/>", "<message>", "no stanza & none", "<!DOCTYPE m [<!ENTITY a 'b'>]><m>&a;</m>"]
)
def test_what_is_no_stanza_is_an_error(text):
    with pytest.raises(ParseError):
        parse(text)


def test_messages_are_in_the_order_in_which_they_were_said(table):
    """Also where the clock was put back, or stands still."""
    table.write(kept(said(number, seconds=seconds)) for number, seconds in enumerate([5, 5, 3, 9, 9]))
    assert found(table) == ["id0", "id1", "id2", "id3", "id4"]
    assert found(table, before="") == ["id0", "id1", "id2", "id3", "id4"]


def test_each_room_has_its_own(table):
    table.write([kept(said(1)), kept(said(1, "other", room=GARDEN), GARDEN), kept(said(2))])
    assert found(table) == ["id1", "id2"]
    page = table.page(str(GARDEN), Query())
    assert [message.stanza.findtext("{jabber:client}body") for message in page.messages] == ["other"]
    with pytest.raises(Refused, match="not in the archive"):
        table.page(str(GARDEN), Query(after="id2"))


def test_the_same_message_twice_is_kept_once(table):
    table.write([kept(said(1)), kept(said(1, "again")), kept(said(2))])
    assert found(table) == ["id1", "id2"]


def test_pages_forward(table):
    fill(table, 5)
    first = table.page(ROOM, Query(max=2))
    assert (ids(first.messages), first.first_index, first.count, first.complete) == (["id0", "id1"], 0, 5, False)
    second = table.page(ROOM, Query(max=2, after="id1"))
    assert (ids(second.messages), second.first_index, second.count, second.complete) == (["id2", "id3"], 2, 5, False)
    last = table.page(ROOM, Query(max=2, after="id3"))
    assert (ids(last.messages), last.first_index, last.count, last.complete) == (["id4"], 4, 5, True)
    beyond = table.page(ROOM, Query(max=2, after="id4"))
    assert beyond == Page(count=5)


def test_pages_backward(table):
    fill(table, 5)
    last = table.page(ROOM, Query(max=2, before=""))
    assert (ids(last.messages), last.first_index, last.count, last.complete) == (["id3", "id4"], 3, 5, False)
    first = table.page(ROOM, Query(max=3, before="id3"))
    assert (ids(first.messages), first.first_index, first.count, first.complete) == (["id0", "id1", "id2"], 0, 5, True)
    assert table.page(ROOM, Query(max=2, before="id0")) == Page(count=5)


@pytest.mark.parametrize(("max_", "complete"), [(4, False), (5, True), (6, True)])
@pytest.mark.parametrize("before", [None, ""])
def test_a_page_that_just_holds_all_is_complete(table, max_, complete, before):
    fill(table, 5)
    assert table.page(ROOM, Query(max=max_, before=before)).complete is complete


def test_the_number_alone(table):
    fill(table, 3)
    assert table.page(ROOM, Query(max=0)) == Page(count=3, complete=False)
    assert table.page(str(GARDEN), Query(max=0)) == Page()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"start": 2}, [2, 3, 4]),
        ({"start": 2.0005}, [3, 4]),
        ({"start": 1.9995}, [2, 3, 4]),
        ({"end": 2}, [0, 1, 2]),
        ({"end": 1.9995}, [0, 1]),
        ({"end": 2.0005}, [0, 1, 2]),
        ({"start": 1, "end": 3}, [1, 2, 3]),
        ({"start": 3, "end": 1}, []),
    ],
)
def test_filtered_by_time(table, query, expected):
    fill(table, 5)
    moments = {name: NOON + timedelta(seconds=seconds) for name, seconds in query.items()}
    page = table.page(ROOM, Query(start=moments.get("start"), end=moments.get("end")))
    assert ids(page.messages) == [f"id{number}" for number in expected]
    assert page.count == len(expected)


def test_a_time_that_was_shown_finds_its_message(table):
    """A client sees milliseconds, and asks with them."""
    table.write([kept(said(1, seconds=0.123456))])
    (message,) = table.page(ROOM, Query()).messages
    assert message.stamp == NOON + timedelta(milliseconds=123)
    assert found(table, start=message.stamp) == found(table, end=message.stamp) == ["id1"]


def test_times_before_1970_and_after_9000_are_times(table):
    fill(table, 2)
    assert found(table, start=NOON.replace(year=1), end=NOON.replace(year=9999)) == ["id0", "id1"]
    assert found(table, end=NOON.replace(year=1969)) == []


def test_filtered_by_who_said_it(table):
    table.write(kept(said(number, nick=nick)) for number, nick in enumerate(["Romeo", "", "Juliet \u2713", "Romeo"]))
    assert found(table, nicks=frozenset({"Romeo"})) == ["id0", "id3"]
    assert found(table, nicks=frozenset({"Juliet \u2713"})) == ["id2"]
    assert found(table, nicks=frozenset({"Romeo", "Juliet \u2713"})) == ["id0", "id2", "id3"]
    assert found(table, nicks=frozenset({"romeo"})) == []
    assert found(table, nicks=frozenset()) == []
    page = table.page(ROOM, Query(nicks=frozenset({"Romeo"}), max=1, after="id0"))
    assert (page.count, page.first_index, ids(page.messages)) == (2, 1, ["id3"])


def test_filtered_by_ids(table):
    fill(table, 6)
    assert found(table, after_id="id2") == ["id3", "id4", "id5"]
    assert found(table, before_id="id2") == ["id0", "id1"]
    assert found(table, after_id="id1", before_id="id4") == ["id2", "id3"]
    assert found(table, after_id="id4", before_id="id1") == []
    assert found(table, ids=frozenset({"id5", "id0", "id2"})) == ["id0", "id2", "id5"]
    assert found(table, ids=frozenset({"id5", "id0", "id2"}), after_id="id0", max=1) == ["id2"]


def test_ids_of_the_filter_bound_the_count_and_those_of_the_page_do_not(table):
    fill(table, 10)
    page = table.page(ROOM, Query(after_id="id1", before_id="id8", after="id3", max=2))
    assert (ids(page.messages), page.count, page.first_index) == (["id4", "id5"], 6, 2)
    outside = table.page(ROOM, Query(after_id="id4", after="id2", max=2))
    assert (ids(outside.messages), outside.first_index) == (["id5", "id6"], 0)
    beyond = table.page(ROOM, Query(before_id="id4", before="id7", max=2))
    assert (ids(beyond.messages), beyond.first_index) == (["id2", "id3"], 2)


@pytest.mark.parametrize("name", ["after", "before", "after_id", "before_id"])
def test_an_unknown_id_is_refused(table, name):
    fill(table, 2)
    with pytest.raises(Refused) as caught:
        found(table, **{name: "id7"})
    assert caught.value.condition == "item-not-found"


def test_one_unknown_id_among_others_is_refused(table):
    fill(table, 2)
    with pytest.raises(Refused, match="not in the archive"):
        found(table, ids=frozenset({"id0", "id7"}))


@pytest.mark.parametrize("name", ["' OR 1=1 --", "id_", "%", "ID0"])
def test_an_id_means_itself_only(table, name):
    fill(table, 1)
    with pytest.raises(Refused, match="not in the archive"):
        found(table, after=name)


def test_large_messages_make_smaller_pages(table, monkeypatch):
    size = kept(said(0)).size
    fill(table, 5)
    for limit, expected in ((3 * size, 3), (3 * size - 1, 2), (1, 1)):
        monkeypatch.setattr(module, "PAGE_SIZE", limit)
        forward = table.page(ROOM, Query())
        assert (len(forward.messages), forward.complete, forward.count) == (expected, False, 5)
        backward = table.page(ROOM, Query(before=""))
        assert ids(backward.messages) == [f"id{number}" for number in range(5 - expected, 5)]
    monkeypatch.setattr(module, "PAGE_SIZE", 5 * size)
    assert table.page(ROOM, Query()).complete


def test_the_newest(table):
    fill(table, 5)
    assert ids(table.recent(ROOM, 3)) == ["id2", "id3", "id4"]
    assert ids(table.recent(ROOM, 99)) == ["id0", "id1", "id2", "id3", "id4"]
    assert table.recent(ROOM, 0) == table.recent(str(GARDEN), 3) == []


def test_the_ends(table):
    assert table.ends(ROOM) is None
    fill(table, 3)
    assert table.ends(ROOM) == (Mark("id0", NOON), Mark("id2", NOON + timedelta(seconds=2)))


def test_a_room_is_forgotten_and_no_other(table):
    table.write([kept(said(1)), kept(said(1, room=GARDEN), GARDEN), Forget(ROOM), kept(said(2))])
    assert found(table) == ["id2"]
    assert table.page(str(GARDEN), Query()).count == 1


def test_what_is_too_old_goes(table):
    fill(table, 5)
    table.write([Expire(NOON + timedelta(seconds=2))])
    assert found(table) == ["id2", "id3", "id4"]


def test_what_is_forgotten_is_not_left_in_the_file(tmp_path):
    path = tmp_path / "archive.sqlite"
    with closing(MessageTable(path)) as table:
        table.write(kept(said(number, f"Wherefore art thou {number}" * 20)) for number in range(300))
    assert b"Wherefore" in path.read_bytes()
    with closing(MessageTable(path)) as table:
        table.write([Forget(ROOM)])
    assert b"Wherefore" not in path.read_bytes()


@pytest.mark.parametrize(("written", "left"), [(9, 9), (10, 10), (11, 10), (25, 10)])
def test_a_room_keeps_so_many_messages(table, monkeypatch, written, left):
    monkeypatch.setattr(module, "ROOM_MESSAGES", 10)
    monkeypatch.setattr(module, "TRIM_MESSAGES", 1)
    table.write([kept(said(1, room=GARDEN), GARDEN)])
    fill(table, written)
    assert found(table) == [f"id{number}" for number in range(written - left, written)]
    assert table.page(str(GARDEN), Query()).count == 1


@pytest.mark.parametrize(("characters", "left"), [(-1, 3), (0, 4), (1, 4)])
def test_a_room_keeps_so_much(table, monkeypatch, characters, left):
    size = kept(said(0)).size
    monkeypatch.setattr(module, "ROOM_SIZE", 4 * size + characters)
    monkeypatch.setattr(module, "TRIM_SIZE", size)
    fill(table, 9)
    assert found(table) == [f"id{number}" for number in range(9 - left, 9)]


def test_rooms_are_held_to_that_every_now_and_then(table, monkeypatch):
    monkeypatch.setattr(module, "ROOM_MESSAGES", 3)
    monkeypatch.setattr(module, "TRIM_MESSAGES", 5)
    for number, left in zip(range(6), [1, 2, 3, 4, 3, 4], strict=True):
        table.write([kept(said(number))])
        assert table.page(ROOM, Query()).count == left


def test_nothing_of_a_group_is_written_if_one_fails(table):
    with pytest.raises(sqlite3.Error):
        table.write([kept(said(1)), replace(kept(said(2)), nick=None)])  # type: ignore[arg-type]
    assert found(table) == []


def test_a_page_is_found_by_an_index_alone(table):
    """Whoever asks again and again for a rare nick in a full room reads no messages for that."""
    fill(table, 3)
    parameters = {"room": "", "after": 0, "before": 9, "start": 0, "end": 9, "nicks": "[]", "rows": "[]", "limit": 1}
    for statement in (module._FORWARD, module._BACKWARD, module._COUNT):
        plan = table._database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters | {"first": 0}).fetchall()
        steps = [step[-1] for step in plan]
        assert any("COVERING INDEX message_page (room=? AND row>? AND row<?)" in step for step in steps), steps
        assert not any("TEMP B-TREE" in step for step in steps), steps


def test_a_damaged_file_is_an_error(tmp_path):
    path = tmp_path / "archive.sqlite"
    with closing(MessageTable(path)) as table:
        fill(table, 200)
    damage(path)
    with pytest.raises(ConfigError, match=r"(?s)archive.sqlite is damaged .*: move it away"):
        MessageTable(path)


NICKS = ("Romeo", "Juliet", "")


@settings(max_examples=60, deadline=None)
@given(
    said_by=st.lists(st.tuples(st.sampled_from(NICKS), st.integers(0, 5)), max_size=25),
    size=st.integers(1, 12),
    nick=st.sampled_from([None, *NICKS]),
    start=st.none() | st.integers(0, 5),
    end=st.none() | st.integers(0, 5),
    page_size=st.sampled_from([1, 700, module.PAGE_SIZE]),
)
def test_page_after_page_gives_each_message_once_in_order(said_by, size, nick, start, end, page_size):
    everything = [said(number, nick=who, seconds=second) for number, (who, second) in enumerate(said_by)]
    query = Query(
        start=None if start is None else NOON + timedelta(seconds=start),
        end=None if end is None else NOON + timedelta(seconds=end),
        nicks=None if nick is None else frozenset({nick}),
        max=size,
    )
    expected = [
        message.id
        for message, (who, second) in zip(everything, said_by, strict=True)
        if (nick is None or who == nick) and (start or 0) <= second <= (5 if end is None else end)
    ]
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(MessageTable(Path(directory) / "archive.sqlite")) as table,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(module, "PAGE_SIZE", page_size)
        between = itertools.chain.from_iterable((kept(one), kept(one, GARDEN)) for one in everything)
        table.write(between)
        assert list(itertools.chain.from_iterable(forward(table, query, expected))) == expected
        pages = list(backward(table, query, expected))
        assert list(itertools.chain.from_iterable(reversed(pages))) == expected


def forward(table: MessageTable, query: Query, expected: list[str]) -> Iterator[list[str]]:
    while True:
        page = table.page(ROOM, query)
        check(page, query, expected)
        yield ids(page.messages)
        if page.complete:
            return
        query = replace(query, after=page.messages[-1].id)


def backward(table: MessageTable, query: Query, expected: list[str]) -> Iterator[list[str]]:
    query = replace(query, before="")
    while True:
        page = table.page(ROOM, query)
        check(page, query, expected)
        yield ids(page.messages)
        if page.complete:
            return
        query = replace(query, before=page.messages[0].id)


def check(page: Page, query: Query, expected: list[str]) -> None:
    assert page.count == len(expected)
    assert len(page.messages) <= query.max
    assert page.messages or page.complete, "a page that is not the last one has something on it"
    if page.messages:
        assert expected[page.first_index] == page.messages[0].id
