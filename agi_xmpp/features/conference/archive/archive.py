"""Messages of rooms that outlive a restart. A thread has the file: nobody waits for a disk."""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import ParseError

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.archive.messages import Add, Change, Expire, Forget, Mark, MessageTable, Page, Query
from agi_xmpp.features.conference.model import Archived
from agi_xmpp.xmpp.element import serialise
from agi_xmpp.xmpp.model import Jid

log = logging.getLogger("agi_xmpp.conference")

T = TypeVar("T")

FILE = "archive.sqlite"
#: Changes, and characters of them, that wait for a disk; messages that come then are lost.
WAITING = 10_000
WAITING_SIZE = 32 * 1024 * 1024
#: Changes that are written in one go.
BATCH = 500
#: Seconds after which what could not be written is tried again.
RETRY = 10.0
#: Seconds from one search for messages that are too old to the next.
EXPIRY = 3600.0
#: Seconds that `Archive.close` waits for the last writing. systemd gives a service 90 s to stop.
CLOSE_TIMEOUT = 10.0


class Archive:
    """The messages of all rooms.

    Args:
        directory: where the file stands; it is made if its parent is there. Empty: nothing is kept.
        days: after which messages are forgotten. 0: nothing is kept, and what was kept is forgotten.
        now: returns the time.
    """

    def __init__(self, directory: str, days: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = Path(directory) / FILE if directory else None
        self._days = days
        self._now = now
        self._worker: _Worker | None = None

    @property
    def enabled(self) -> bool:
        """True if messages are kept: then they can be asked for (XEP-0313)."""
        return self._path is not None and self._days > 0

    @property
    def problem(self) -> str:
        """Why messages cannot be written at the moment; "" if all is well."""
        return self._worker.problem if self._worker is not None else ""

    async def start(self) -> None:
        """Open the file.

        Raises:
            ConfigError: nothing can be kept there; the text says why, and what to do about it.
        """
        if self._path is None:
            return
        if self._days > 0:
            table = await asyncio.to_thread(MessageTable, self._path)
            self._worker = _Worker(table, self._path, timedelta(days=self._days), self._now)
        elif self._path.exists():
            await asyncio.to_thread(_remove, self._path)

    def keep_for(self, days: int) -> None:
        """Forget messages after that many days from now on. From or to 0 needs another archive."""
        self._days = days
        if self._worker is not None:
            self._worker.keep_for(timedelta(days=days))

    async def close(self) -> None:
        """Write what is left, and let go of the file. What is added after that is not kept."""
        worker, self._worker = self._worker, None
        if worker is not None:
            try:
                await asyncio.wait_for(asyncio.wrap_future(worker.close()), CLOSE_TIMEOUT)
            except TimeoutError:
                log.error("%s: the disk does not answer; the last messages may be lost", self._path)

    def add(self, room: Jid, message: Archived) -> None:
        """Keep a message. If the disk fails, it is in memory until it can be written."""
        if self._worker is None:
            return
        try:
            xml = serialise(message.stanza).decode()
            for text in (message.id, message.nick):
                text.encode()
        except ValueError as error:
            log.error("%s: a message cannot be kept: %s", room, error)
            return
        self._worker.put(Add(str(room), message.id, message.stamp, message.nick, xml))

    def forget(self, room: Jid) -> None:
        """Forget all messages of a room that were added until now."""
        if self._worker is not None:
            self._worker.put(Forget(str(room)))

    async def recent(self, room: Jid, count: int) -> list[Archived]:
        """Return the newest messages of a room, oldest first; none if the file cannot be read."""
        if self._worker is None:
            return []
        try:
            return await self._worker.ask(lambda table: table.recent(str(room), count))
        except Refused:  # that was logged
            return []

    async def page(self, room: Jid, query: Query) -> Page:
        """Return a page of what matches a query. It has fewer messages than asked for if they are large.

        Raises:
            Refused: ``item-not-found``: a message that the query names is not there, or no longer;
                ``internal-server-error``: the file cannot be read.
        """
        if self._worker is None:
            return Page()
        return await self._worker.page(str(room), query)

    async def ends(self, room: Jid) -> tuple[Mark, Mark] | None:
        """Return the oldest and the newest message of a room; None if there are none.

        Raises:
            Refused: ``internal-server-error``: the file cannot be read.
        """
        if self._worker is None:
            return None
        return await self._worker.ask(lambda table: table.ends(str(room)))


class _Worker:
    """The thread that has the table. What was put before a question is written before it is answered."""

    def __init__(self, table: MessageTable, path: Path, keep: timedelta, now: Callable[[], datetime]) -> None:
        self._table = table
        self._path = path
        self._keep = keep
        self._now = now
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._closed: Future[None] = Future()
        self._closed.set_running_or_notify_cancel()  # whoever does not wait for it any more leaves it to the thread
        #: Why nothing can be written; "" if all is well.
        self.problem = ""
        self._unreadable = False
        #: Guards what stands below it.
        self._lock = threading.Lock()
        self._waiting: deque[Change] = deque()
        self._waiting_size = 0
        self._lost = 0
        threading.Thread(target=self._run, name="archive", daemon=True).start()

    def put(self, change: Change) -> None:
        """Take a change, to be written soon."""
        size = _size(change)
        # What is to be forgotten has room also when what is to be kept has none.
        limit = WAITING if isinstance(change, Add) else 2 * WAITING
        with self._lock:
            if len(self._waiting) >= limit or (size and self._waiting_size + size > WAITING_SIZE):
                self._lost += 1
                return
            self._waiting.append(change)
            self._waiting_size += size
            first = len(self._waiting) == 1
        if first:
            self._jobs.put(_nothing)

    def keep_for(self, keep: timedelta) -> None:
        """Forget messages after another time, at once where that is over."""
        self._keep = keep
        self.put(Expire(self._now() - keep))

    async def ask(self, question: Callable[[MessageTable], T]) -> T:
        """Return what a question is answered with.

        Raises:
            Refused: that is the answer; or ``internal-server-error``: the file cannot be read.
        """
        future: Future[T] = Future()
        self._jobs.put(partial(self._answer, question, future))
        return await asyncio.wrap_future(future)

    async def page(self, room: str, query: Query) -> Page:
        """See `Archive.page`."""

        def look(table: MessageTable) -> Page:
            with self._lock:
                waiting = [change for change in self._waiting if not isinstance(change, Expire) and change.room == room]
            if not self.problem:
                waiting = []  # they came after the question
            if any(isinstance(change, Forget) for change in waiting):
                return Page(stable=False)
            return replace(table.page(room, query), stable=not waiting)

        return await self.ask(look)

    def close(self) -> Future[None]:
        """Write what is left, and end. Nothing may be asked after this."""
        self._jobs.put(None)
        return self._closed

    def _run(self) -> None:
        expiry = retry = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= expiry:
                self.put(Expire(self._now() - self._keep))
                expiry = now + EXPIRY
            due = min(retry, expiry) if self.problem else expiry
            try:
                job = self._jobs.get(timeout=max(0.0, due - now))
            except queue.Empty:
                job = _nothing
            if job is None:
                break
            if not self.problem or time.monotonic() >= retry:
                self._write()
                retry = time.monotonic() + RETRY
            job()
        self._write()
        if self._waiting:
            log.error("%s: the last %d messages could not be written and are lost", self._path, len(self._waiting))
        self._table.close()
        self._closed.set_result(None)

    def _answer(self, question: Callable[[MessageTable], T], future: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            answer = question(self._table)
        except (sqlite3.Error, ParseError) as error:
            if not self._unreadable:
                log.error("%s: %s; messages cannot be read", self._path, error)
            self._unreadable = True
            future.set_exception(Refused("the archive cannot be read now; the log says more", "internal-server-error"))
        except Exception as error:  # whoever asks learns of it; the thread goes on
            future.set_exception(error)
        else:
            self._unreadable = False
            future.set_result(answer)

    def _write(self) -> None:
        """Write what waits, one batch after the other."""
        while True:
            with self._lock:
                batch = list(itertools.islice(self._waiting, BATCH))
            if not batch:
                return
            try:
                self._table.write(batch)
            except sqlite3.Error as error:
                problem = f"{self._path}: {error}; messages are kept in memory only, until it can be written"
                if not self.problem:
                    log.error("%s", problem)
                self.problem = problem
                return
            with self._lock:
                for change in batch:
                    self._waiting.popleft()
                    self._waiting_size -= _size(change)
                lost, self._lost = self._lost, 0
            if self.problem:
                if lost:
                    log.error("%s can be written again; %d messages are lost", self._path, lost)
                else:
                    log.info("%s can be written again; nothing is lost", self._path)
            self.problem = ""


def _nothing() -> None:
    pass


def _size(change: Change) -> int:
    return change.size if isinstance(change, Add) else 0


def _remove(path: Path) -> None:
    """Delete the file, if it is ours.

    Raises:
        ConfigError: it is not, or it cannot be deleted.
    """
    MessageTable(path).close()
    path.unlink()
