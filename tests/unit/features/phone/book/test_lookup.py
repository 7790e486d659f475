from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agi_xmpp.config import BookSettings
from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book import lookup
from agi_xmpp.features.phone.book.lookup import Book, check_files, report
from agi_xmpp.features.phone.book.model import Entry, SourceError
from agi_xmpp.features.phone.book.number import Number
from tests.unit.clock import Clock

ANN, BOB = Entry("Ann"), Entry("Bob")
NUMBER = "+49301234567"


class Scripted:
    """A source that says what the test wants, at once or when the test says so."""

    def __init__(self, *answers: Entry | Exception | None, name: str = "script") -> None:
        self.name = name
        self.answers = list(answers)
        self.asked: list[str] = []
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.stopped = False
        self.cancelled = False

    async def find(self, number: Number) -> Entry | None:
        self.asked.append(number.best)
        self.arrived.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stop(self) -> None:
        self.stopped = True


Make = Callable[..., Book]


@pytest.fixture
async def make(clock: Clock) -> AsyncIterator[Make]:
    books: list[Book] = []

    def book(*sources: Scripted, **settings: object) -> Book:
        made = Book(BookSettings.model_validate({"country": "DE", **settings}), sources, clock)
        books.append(made)
        return made

    yield book
    for made in books:
        await made.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "agi_xmpp.phone.book"]


async def test_a_book_without_sources_knows_nobody(make):
    book = make()
    await book.start()
    assert await book.lookup(NUMBER) is None


@pytest.mark.parametrize("number", ["", "anonymous", "1" * 65])
async def test_no_number_is_nobodys(make, number):
    source = Scripted(ANN)
    assert await make(source).lookup(number) is None
    assert source.asked == []


async def test_the_first_source_that_knows_is_believed(make):
    first, second, third = Scripted(None), Scripted(ANN), Scripted(BOB)
    assert await make(first, second, third).lookup("030 1234567") == ANN
    assert (first.asked, second.asked, third.asked) == ([NUMBER], [NUMBER], [])


async def test_files_come_before_all_else_and_are_not_cached(make, tmp_path):
    contacts = tmp_path / "contacts.csv"
    contacts.write_text("name,number\nCarol,030 1234567\n")
    source = Scripted(ANN)
    book = make(source, files=[contacts])
    await book.start()
    for name in ("Carol", "Dora"):
        contacts.write_text(f"name,number\n{name},030 1234567\n")
        assert await book.lookup(NUMBER) == Entry(name, source="file contacts.csv")
    assert source.asked == []


async def test_the_command_of_the_settings_is_asked(make, tmp_path):
    path = tmp_path / "lookup"
    path.write_text('#!/bin/sh\necho "{\\"name\\": \\"Ann $1\\"}"\n')
    path.chmod(0o755)
    found = await make(command=[str(path)]).lookup("030 1234567")
    assert found is not None
    assert found.name == f"Ann {NUMBER}"


@pytest.mark.parametrize("answer", [ANN, None])
async def test_an_answer_holds_for_the_time_of_the_cache(make, clock, answer):
    source = Scripted(answer, BOB)
    book = make(source, cache=100)
    assert await book.lookup(NUMBER) == answer
    clock.now += 99.9
    assert await book.lookup("030 1234567") == answer
    clock.now += 0.1
    assert await book.lookup(NUMBER) == BOB
    assert len(source.asked) == 2


async def test_the_cache_can_be_turned_off(make):
    source = Scripted(ANN)
    book = make(source, cache=0)
    await book.lookup(NUMBER)
    await book.lookup(NUMBER)
    assert len(source.asked) == 2


async def test_the_cache_is_limited(make):
    source = Scripted(ANN)
    book = make(source, cache_limit=2)
    for number in ("101", "102", "101", "102"):
        await book.lookup(number)
    assert source.asked == ["101", "102"]
    await book.lookup("103")
    for number in ("101", "102", "103"):
        await book.lookup(number)
    assert len(source.asked) > 3, "one of the three is forgotten"


async def test_all_who_ask_at_once_share_one_look_up(make):
    source = Scripted(ANN)
    source.go.clear()
    book = make(source)
    waiting = [asyncio.create_task(book.lookup(number)) for number in (NUMBER, "030 1234567", "0049301234567")]
    other = asyncio.create_task(book.lookup("101"))
    await source.arrived.wait()
    await asyncio.sleep(0)
    waiting[0].cancel()
    source.go.set()
    assert await asyncio.gather(*waiting[1:]) == [ANN, ANN]
    assert await other == ANN
    assert source.asked == [NUMBER, "101"]
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]


async def test_a_late_source_costs_the_timeout_and_is_not_cached(make, caplog):
    caplog.set_level(logging.INFO)
    source = Scripted(ANN)
    source.go.clear()
    book = make(source, timeout=0.01)
    assert await book.lookup(NUMBER) is None
    assert source.cancelled
    assert await book.lookup(NUMBER) is None
    source.go.set()
    assert await book.lookup(NUMBER) == ANN
    assert messages(caplog) == ["phone book: script: no answer in time", "phone book: script works again"]


async def test_a_failing_source_is_said_once_and_the_next_is_asked(make, caplog):
    caplog.set_level(logging.INFO)
    first = Scripted(SourceError("broken"), SourceError("broken"), SourceError("worse"), None, name="first")
    second = Scripted(None, None, BOB, name="second")
    book = make(first, second)
    assert [await book.lookup(NUMBER) for _ in range(3)] == [None, None, BOB]
    assert messages(caplog) == ["phone book: broken", "phone book: worse"]
    assert await book.lookup("101") == BOB
    assert messages(caplog)[2:] == ["phone book: first works again"]


async def test_an_error_may_come_with_an_answer(make, caplog):
    assert await make(Scripted(SourceError("the new version is broken", ANN))).lookup(NUMBER) == ANN
    assert messages(caplog) == ["phone book: the new version is broken"]


async def test_a_mistake_in_a_source_harms_no_call(make, caplog):
    assert await make(Scripted(KeyError("x")), Scripted(ANN, name="other")).lookup(NUMBER) == ANN
    assert messages(caplog) == ["phone book: script failed", "phone book: script: KeyError"]


async def test_stop_ends_what_runs(make):
    source = Scripted(ANN)
    source.go.clear()
    book = make(source, timeout=10)
    waiting = asyncio.create_task(book.lookup(NUMBER))
    await source.arrived.wait()
    await book.stop()
    assert source.cancelled
    assert source.stopped
    assert await waiting is None
    assert await book.lookup(NUMBER) is None
    assert len(source.asked) == 1


async def test_start_says_what_the_files_hold(make, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    good, broken = tmp_path / "good.csv", tmp_path / "broken.csv"
    good.write_text("name,number\nAnn,101\nBob,see below\n")
    broken.write_text("name,number\nAnn,101,x\n")
    await make(files=[good, broken, tmp_path / "none.csv"]).start()
    assert messages(caplog) == [
        "phone book: file good.csv has 1 number; 1 more texts there are no numbers",
        f"phone book: {broken}: line 2: more cells than headings",
        f"phone book: {tmp_path / 'none.csv'}: No such file or directory",
    ]


async def test_a_disk_that_hangs_does_not_keep_the_service_from_starting(make, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(lookup, "START_TIME", 0.0)
    fifo = tmp_path / "contacts.csv"
    os.mkfifo(fifo)  # opening it to read hangs until somebody writes
    book = make(files=[fifo], timeout=10)
    await book.start()
    assert messages(caplog) == ["phone book: file contacts.csv: no answer in time"]
    with fifo.open("wb") as file:
        file.write(b"name,number\nAnn,101\n")
    fifo.unlink()
    fifo.write_bytes(b"name,number\nAnn,101\n")
    found = await book.lookup("101")
    assert found is not None
    assert found.name == "Ann"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"files": ["/x/contacts.vcf"]}, "must end in .csv or .toml"),
        ({"command": ["/no/such"]}, "no program '/no/such'"),
        ({"ldap": "ldaps://ldap.example.org"}, "needs ldap_base"),
        ({"country": "UK"}, "'UK' is no country"),
    ],
)
def test_a_source_that_cannot_work_is_refused(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        Book(BookSettings.model_validate(settings))


async def test_what_is_wrong_is_kept_for_the_status(make, tmp_path):
    contacts = tmp_path / "contacts.csv"
    book = make(files=[contacts])
    await book.start()
    assert book.problems == [f"phone book: {contacts}: No such file or directory"]
    contacts.write_text("name,number\nAnn,101\n")
    assert await book.lookup("101") is not None
    assert book.problems == []


async def test_files_are_checked(tmp_path):
    contacts, lines = tmp_path / "contacts.csv", list[str]()
    contacts.write_text("name,number\nAnn,101\nBob,102\n")
    settings = BookSettings.model_validate({"files": [contacts]})
    assert await check_files(settings, lines.append)
    contacts.write_text("name,company\nAnn,Ltd\n")
    assert not await check_files(settings, lines.append)
    assert lines == [
        "phone book: file contacts.csv has 2 numbers",
        f'phone book: FAILED: {contacts}: line 1: no heading for numbers, such as "number" or "phone"',
    ]


async def test_the_report_names_a_source_once():
    _good, lines = await said("101", ldap="ldap://127.0.0.1:1", ldap_base="dc=x")
    assert lines[1:] == ["directory 127.0.0.1: FAILED: no connection: Connection refused"]


async def said(number: str, **settings: object) -> tuple[bool, list[str]]:
    lines: list[str] = []
    good = await report(BookSettings.model_validate({"country": "DE", **settings}), number, lines.append)
    return good, [line.rpartition(" (")[0] if line.endswith(" ms)") else line for line in lines]


async def test_the_report_says_what_each_source_knows(tmp_path: Path):
    contacts, other = tmp_path / "contacts.csv", tmp_path / "other.csv"
    contacts.write_text("name,number,company,link\nAnn,030 1234567,Ltd,https://example.org/1\n")
    other.write_text("name,number\nBob,101\n")
    false = shutil.which("false")
    settings = {"files": [contacts, other], "command": [false]}
    assert await said("030 1234567", **settings) == (
        False,
        [
            "0301234567: +49301234567",
            "file contacts.csv: Ann; Ltd; https://example.org/1",
            "file other.csv: does not know it",
            f"command {false}: FAILED: command {false} ended with exit code 1",
        ],
    )
    assert await said("101", files=[other]) == (
        True,
        ["101: no international number; it is looked up as it stands", "file other.csv: Bob"],
    )


async def test_the_report_says_what_was_not_asked():
    assert await said("anonymous") == (True, ["'anonymous' is no number: nobody is looked up"])
    good, lines = await said("101")
    assert good
    assert lines[1:] == ["there is no source: set phone.book.files, command or ldap"]
