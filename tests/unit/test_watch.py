from __future__ import annotations

import asyncio

from agi_xmpp.watch import LIMIT, Watch


async def texts(watch: Watch, number: int, timeout: float = 0.0) -> list[str]:
    return [line["text"] for line in await watch.after(number, timeout)]


async def test_each_line_has_a_number_a_time_and_a_name():
    watch = Watch(lambda: 7.0)
    watch.add("alice@example.org", "RING")
    assert await watch.after(0, 0.0) == [{"number": 1, "at": 7.0, "who": "alice@example.org", "text": "RING"}]
    assert watch.last == 1


async def test_whoever_is_up_to_date_waits_for_the_next_line():
    watch = Watch()
    watch.add("a", "one")
    waiting = asyncio.create_task(texts(watch, 1, 60.0))
    while not waiting.done() and watch.last == 1:
        await asyncio.sleep(0)
        watch.add("a", "two")
    assert await waiting == ["two"]


async def test_nothing_new_is_an_empty_list():
    watch = Watch()
    watch.add("a", "one")
    assert await texts(watch, 1) == []


async def test_a_number_of_an_earlier_run_begins_anew():
    watch = Watch()
    watch.add("a", "one")
    assert await texts(watch, 99) == ["one"]


async def test_only_the_last_lines_are_kept():
    watch = Watch()
    for number in range(LIMIT + 1):
        watch.add("a", str(number))
    kept = await texts(watch, 0)
    assert (len(kept), kept[0], kept[-1]) == (LIMIT, "1", str(LIMIT))


async def test_callers_names_do_not_write_to_the_terminal():
    watch = Watch()
    watch.add("a\x1b[2J", "Bob\x1b]0;x\x07 \x9b31m\nAnn\u2028 Zoë 👩‍🔧 is in")
    (line,) = await watch.after(0, 0.0)
    assert (line["who"], line["text"]) == ("a?[2J", "Bob?]0;x? ?31m?Ann? Zoë 👩‍🔧 is in")
