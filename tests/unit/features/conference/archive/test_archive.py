"""The archive: nobody waits for the disk, and what was said outlives a restart, a crash and a full disk."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

import pytest

from agi_xmpp.errors import ConfigError, Refused
from agi_xmpp.features.conference.archive import archive as module
from agi_xmpp.features.conference.archive.archive import FILE, Archive
from agi_xmpp.features.conference.archive.messages import MessageTable, Page, Query
from tests.unit.disks import damage, fill
from tests.unit.features.conference.messages_said import BALCONY, GARDEN, NOON, ids, kept, said, same


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@asynccontextmanager
async def opened(
    directory: str | Path, days: int = 7, now: Callable[[], datetime] = lambda: NOON
) -> AsyncIterator[Archive]:
    archive = Archive(str(directory), days, now)
    await archive.start()
    try:
        yield archive
    finally:
        await archive.close()


async def all_of(archive: Archive) -> list[str]:
    return ids((await archive.page(BALCONY, Query(max=100_000))).messages)


def numbered(count: int) -> list[str]:
    return [f"id{number}" for number in range(count)]


@contextmanager
def files_cannot_grow() -> Iterator[None]:
    """Writing fails with EFBIG meanwhile: Python ignores SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Heard(logging.Handler):
    """Lets a test wait for a line of the log."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self._text in record.getMessage():
            self._event.set()

    async def wait(self) -> None:
        assert await asyncio.to_thread(self._event.wait, 20), self._text


@contextmanager
def listening(text: str) -> Iterator[Heard]:
    heard = Heard(text)
    level = module.log.level
    module.log.setLevel(logging.INFO)
    module.log.addHandler(heard)
    try:
        yield heard
    finally:
        module.log.removeHandler(heard)
        module.log.setLevel(level)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_was_said_is_there_after_a_restart(directory):
    async with opened(directory) as archive:
        assert archive.enabled
        for number in range(5):
            archive.add(BALCONY, said(number))
        archive.add(GARDEN, said(1, "elsewhere", room=GARDEN))
    async with opened(directory) as archive:
        recent = await archive.recent(BALCONY, 3)
        assert ids(recent) == ["id2", "id3", "id4"]
        assert same(recent[0].stanza, said(2).stanza)
        assert (recent[0].nick, recent[0].stamp) == ("Romeo", NOON + timedelta(seconds=2))
        assert ids(await archive.recent(GARDEN, 20)) == ["id1"]


async def test_who_asks_sees_what_was_said_before(directory):
    async with opened(directory) as archive:
        for number in range(2000):
            archive.add(BALCONY, said(number))
            if number % 400 == 0:
                assert (await archive.page(BALCONY, Query(max=0))).count == number + 1
        page = await archive.page(BALCONY, Query(before="", max=1))
        assert (page.count, page.stable, ids(page.messages)) == (2000, True, ["id1999"])


async def test_the_ends(directory):
    async with opened(directory) as archive:
        assert await archive.ends(BALCONY) is None
        archive.add(BALCONY, said(1))
        archive.add(BALCONY, said(2))
        ends = await archive.ends(BALCONY)
        assert ends is not None
        assert [end.id for end in ends] == ["id1", "id2"]


async def test_a_room_is_forgotten_up_to_now(directory):
    async with opened(directory) as archive:
        archive.add(BALCONY, said(1))
        archive.add(GARDEN, said(1, room=GARDEN))
        archive.forget(BALCONY)
        archive.add(BALCONY, said(2))
        assert await all_of(archive) == ["id2"]
        assert ids(await archive.recent(GARDEN, 9)) == ["id1"]


@pytest.mark.parametrize("days", [0, 7])
async def test_without_a_directory_nothing_is_kept(tmp_path, monkeypatch, days):
    monkeypatch.chdir(tmp_path)
    async with opened("", days) as archive:
        archive.add(BALCONY, said(1))
        archive.forget(BALCONY)
        assert not archive.enabled
        assert await archive.recent(BALCONY, 20) == []
        assert await archive.page(BALCONY, Query()) == Page()
        assert await archive.ends(BALCONY) is None
    assert list(tmp_path.iterdir()) == []


async def test_without_days_nothing_is_kept_and_what_was_kept_is_forgotten(directory):
    async with opened(directory, 0) as archive:
        archive.add(BALCONY, said(1))
        assert not archive.enabled
    assert not Path(directory).exists()
    async with opened(directory) as archive:
        archive.add(BALCONY, said(1))
    async with opened(directory, 0) as archive:
        assert await archive.recent(BALCONY, 20) == []
    assert list(Path(directory).iterdir()) == []


async def test_without_days_the_file_of_another_program_is_left_alone(tmp_path):
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(ConfigError, match="was not made by agi-xmpp"):
        await Archive(str(tmp_path), 0).start()
    assert (tmp_path / FILE).exists()


async def test_days_are_counted_from_now_at_the_start(directory):
    async with opened(directory, 2) as archive:
        for days in (-2.001, -1.999, 0):
            archive.add(BALCONY, replace(said(0), id=f"{days}", stamp=NOON + timedelta(days=days)))
    async with opened(directory, 2) as archive:
        assert await all_of(archive) == ["-1.999", "0"]
    async with opened(directory, 2, lambda: NOON + timedelta(days=2)) as archive:
        assert await all_of(archive) == ["0"]


async def test_other_days_count_from_now_on(directory):
    async with opened(directory, 7) as archive:
        for days in (-2.001, -1.999):
            archive.add(BALCONY, replace(said(0), id=f"{days}", stamp=NOON + timedelta(days=days)))
        archive.keep_for(9)
        assert await all_of(archive) == ["-2.001", "-1.999"]
        archive.keep_for(2)
        assert await all_of(archive) == ["-1.999"]


async def test_days_are_counted_again_as_time_goes_on(directory, monkeypatch):
    monkeypatch.setattr(module, "EXPIRY", 0.01)
    now = NOON
    async with opened(directory, 1, lambda: now) as archive:
        archive.add(BALCONY, said(1))
        assert await all_of(archive) == ["id1"]
        now += timedelta(days=2)
        while await all_of(archive):
            pass  # each round takes the thread once round


async def test_a_thread_of_its_own_does_the_writing(directory, monkeypatch):
    """The loop goes on while the disk hangs, and nothing is lost when it comes back."""
    hanging, released = threading.Event(), threading.Event()
    write = MessageTable.write

    def hang(self: MessageTable, changes: object) -> None:
        hanging.set()
        assert released.wait(20)
        write(self, changes)  # type: ignore[arg-type]

    monkeypatch.setattr(MessageTable, "write", hang)
    async with opened(directory) as archive:
        for number in range(1000):
            archive.add(BALCONY, said(number))
        assert await asyncio.to_thread(hanging.wait, 20)
        asked = asyncio.create_task(all_of(archive))
        given_up = asyncio.create_task(all_of(archive))
        await asyncio.sleep(0)
        assert not asked.done()
        given_up.cancel()
        released.set()
        assert await asked == numbered(1000)


async def test_a_disk_that_hangs_does_not_hold_up_the_end(directory, monkeypatch, caplog):
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)
    released, done = threading.Event(), threading.Event()
    close = MessageTable.close

    def hang(self: MessageTable) -> None:
        assert released.wait(20)
        close(self)
        done.set()

    monkeypatch.setattr(MessageTable, "close", hang)
    async with opened(directory) as archive:
        archive.add(BALCONY, said(1))
    assert "the disk does not answer" in caplog.text
    released.set()
    assert await asyncio.to_thread(done.wait, 20)


async def test_after_the_end_nothing_is_kept(directory):
    async with opened(directory) as archive:
        archive.add(BALCONY, said(1))
    archive.add(BALCONY, said(2))
    archive.forget(BALCONY)
    assert await archive.page(BALCONY, Query()) == Page()
    await archive.close()
    async with opened(directory) as archive:
        assert await all_of(archive) == ["id1"]


async def test_a_message_that_cannot_be_written_harms_no_other(directory, caplog):
    forbidden, half, deep = (Element("{jabber:client}message") for _ in range(3))
    forbidden.text = "\0"
    half.set("from", "\ud800")
    inner = deep
    for _ in range(5000):
        inner = SubElement(inner, "{urn:x}x")
    async with opened(directory) as archive:
        archive.add(BALCONY, replace(said(0), stanza=forbidden))
        archive.add(BALCONY, replace(said(1), stanza=half))
        archive.add(BALCONY, replace(said(2), nick="\ud800"))
        archive.add(BALCONY, said(3))
        archive.add(BALCONY, replace(said(4), stanza=deep))
        assert await all_of(archive) == ["id3", "id4"]
    assert len(errors(caplog)) == 3, errors(caplog)


async def test_a_kill_loses_nothing_that_was_written(directory):
    code = (
        "import asyncio, os, signal, sys\n"
        "from agi_xmpp.features.conference.archive.archive import Archive\n"
        "from agi_xmpp.features.conference.archive.messages import Query\n"
        "from tests.unit.features.conference.messages_said import BALCONY, NOON, said\n"
        "async def main():\n"
        "    archive = Archive(sys.argv[1], 7, lambda: NOON)\n"
        "    await archive.start()\n"
        "    for number in range(100_000):\n"
        "        archive.add(BALCONY, said(number))\n"
        "        if number % 100 == 99:\n"
        "            print((await archive.page(BALCONY, Query(max=0))).count, flush=True)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, directory], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    confirmed = 0
    for line in process.stdout:
        confirmed = int(line)
        if confirmed == 500:
            os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    async with opened(directory) as archive:
        left = await all_of(archive)
    assert len(left) >= confirmed >= 500
    assert left == numbered(len(left)), "and there is no hole"


async def test_a_full_disk_loses_nothing(small_disk, caplog, monkeypatch):
    caplog.set_level(logging.INFO, module.log.name)
    monkeypatch.setattr(module, "RETRY", 0.01)
    async with opened(small_disk) as archive:
        archive.add(BALCONY, said(0))
        assert await all_of(archive) == ["id0"]
        ballast = fill(small_disk)
        with listening("kept in memory only") as heard:
            for number in range(1, 100):
                archive.add(BALCONY, said(number, "x" * 500))
            await heard.wait()
        page = await archive.page(BALCONY, Query(max=0))
        assert not page.stable
        assert page.count < 100
        complaints = errors(caplog)
        assert complaints == [archive.problem]
        assert "full" in complaints[0]
        with listening("can be written again; nothing is lost") as heard:
            ballast.unlink()
            await heard.wait()
        page = await archive.page(BALCONY, Query(max=1000))
        assert page.stable
        assert archive.problem == ""
        assert ids(page.messages) == numbered(100)


async def test_a_room_that_cannot_be_forgotten_yet_is_not_shown(directory):
    async with opened(directory) as archive:
        archive.add(BALCONY, said(1))
        archive.add(GARDEN, said(1, room=GARDEN))
        assert await all_of(archive) == ["id1"]
        with listening("kept in memory only") as heard, files_cannot_grow():
            archive.forget(BALCONY)
            await heard.wait()
            assert await archive.page(BALCONY, Query()) == Page(stable=False)
            other = await archive.page(GARDEN, Query())
            assert (ids(other.messages), other.stable) == (["id1"], True)
    async with opened(directory) as archive:
        assert await all_of(archive) == []
        assert ids(await archive.recent(GARDEN, 9)) == ["id1"]


async def test_what_a_dead_disk_takes_along_is_said(directory, caplog):
    async with opened(directory) as archive:
        archive.add(BALCONY, said(0))
        await all_of(archive)
        with listening("kept in memory only") as heard, files_cannot_grow():
            archive.add(BALCONY, said(1, "x" * 100_000))
            await heard.wait()
            archive.add(BALCONY, said(2))
            await archive.close()
    assert "the last 2 messages could not be written and are lost" in caplog.text
    async with opened(directory) as archive:
        assert await all_of(archive) == ["id0"]


@pytest.mark.parametrize(("count", "lost"), [(9, 0), (10, 0), (11, 1), (15, 5)])
async def test_so_many_messages_wait_for_the_disk(directory, monkeypatch, caplog, count, lost):
    await overflow(directory, monkeypatch, caplog, "WAITING", 10, [said(number) for number in range(count)], lost)


@pytest.mark.parametrize(("characters", "lost"), [(-1, 1), (0, 0), (1, 0)])
async def test_so_much_waits_for_the_disk(directory, monkeypatch, caplog, characters, lost):
    messages = [said(number) for number in range(3)]
    size = sum(kept(message).size for message in messages)
    await overflow(directory, monkeypatch, caplog, "WAITING_SIZE", size + characters, messages, lost)


async def test_what_is_written_waits_no_more(directory, monkeypatch):
    monkeypatch.setattr(module, "WAITING_SIZE", 2 * kept(said(0)).size)
    async with opened(directory) as archive:
        for number in range(10):
            archive.add(BALCONY, said(number))
            await archive.recent(BALCONY, 1)
        assert await all_of(archive) == numbered(10)


async def test_a_disk_that_fails_again_and_again_is_complained_of_once(directory, monkeypatch, caplog):
    monkeypatch.setattr(module, "RETRY", 0.001)
    write, failures = MessageTable.write, iter(range(3))

    def fail(self: MessageTable, changes: object) -> None:
        if next(failures, None) is not None:
            raise sqlite3.OperationalError("disk I/O error")
        write(self, changes)  # type: ignore[arg-type]

    monkeypatch.setattr(MessageTable, "write", fail)
    with listening("can be written again; nothing is lost") as heard:
        async with opened(directory) as archive:
            archive.add(BALCONY, said(0))
            await heard.wait()
            assert await all_of(archive) == ["id0"]
    assert len(errors(caplog)) == 1, errors(caplog)


async def overflow(directory, monkeypatch, caplog, name, limit, messages, lost):
    caplog.set_level(logging.INFO, module.log.name)
    monkeypatch.setattr(module, "RETRY", 0.01)
    async with opened(directory) as archive:
        await all_of(archive)
        monkeypatch.setattr(module, name, limit)
        with files_cannot_grow():
            with listening("kept in memory only") as heard:
                archive.add(BALCONY, messages[0])
                await heard.wait()
            for message in messages[1:]:
                archive.add(BALCONY, message)
        with listening("can be written again") as heard:
            await heard.wait()
        assert await all_of(archive) == numbered(len(messages) - lost)
    assert (f"{lost} messages are lost" if lost else "nothing is lost") in caplog.text


@pytest.mark.parametrize(("waiting", "forgotten"), [(9, True), (10, True), (19, True), (20, False)])
async def test_forgetting_has_room_of_its_own(directory, monkeypatch, waiting, forgotten):
    monkeypatch.setattr(module, "RETRY", 0.01)
    async with opened(directory) as archive:
        archive.add(BALCONY, said(0))
        await all_of(archive)
        monkeypatch.setattr(module, "WAITING", 10)
        with listening("can be written again") as again:
            with listening("kept in memory only") as failed, files_cannot_grow():
                archive.add(GARDEN, said(1, room=GARDEN))
                await failed.wait()
                for _ in range(waiting - 1):
                    archive.forget(GARDEN)
                archive.forget(BALCONY)
            await again.wait()
        assert (await all_of(archive) == []) is forgotten


async def test_a_damaged_file_is_an_error_at_the_start(directory):
    async with opened(directory) as archive:
        for number in range(300):
            archive.add(BALCONY, said(number))
    damage(Path(directory) / FILE)
    with pytest.raises(
        ConfigError, match=r"(?s)archive.sqlite is damaged .*: move it away, and what it held is forgotten"
    ):
        await Archive(directory, 7).start()


async def test_a_second_service_is_refused(directory, monkeypatch):
    monkeypatch.setattr("agi_xmpp.database.LOCK_TIMEOUT", 0.05)
    async with opened(directory):
        with pytest.raises(ConfigError, match="another agi-xmpp runs there already"):
            await Archive(directory, 7).start()


async def test_what_cannot_be_read_is_said_once(directory, caplog, monkeypatch):
    async with opened(directory) as archive:
        archive.add(BALCONY, said(1))
        with monkeypatch.context() as patch:
            patch.setattr(MessageTable, "page", broken)
            patch.setattr(MessageTable, "recent", broken)
            for _ in range(2):
                with pytest.raises(Refused) as caught:
                    await archive.page(BALCONY, Query())
                assert caught.value.condition == "internal-server-error"
            assert await archive.recent(BALCONY, 5) == []
        assert errors(caplog) == [f"{directory}/{FILE}: disk I/O error; messages cannot be read"]
        assert await all_of(archive) == ["id1"]


def broken(*_args: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


async def test_a_refusal_is_no_failure(directory, caplog):
    async with opened(directory) as archive:
        with pytest.raises(Refused, match="not in the archive"):
            await archive.page(BALCONY, Query(after="nothing"))
        archive.add(BALCONY, said(1))
        assert await all_of(archive) == ["id1"]
    assert not caplog.records
