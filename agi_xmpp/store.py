"""What must survive a restart: small tables of text by text, in one SQLite file.

Tables live in memory and are read from there; what changes is written by a thread of its own, so that no call ever
waits for a disk. If the disk fails, memory stays in force and the thread tries again.

How the file is made and kept whole: `database`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from agi_xmpp.database import Layout, complaint, open_file
from agi_xmpp.errors import ConfigError

log = logging.getLogger("agi_xmpp.store")

FILE = "state.sqlite"
#: "AGIX" in ASCII; see `database.Layout`.
APPLICATION_ID = 0x41474958
#: See `database.Layout`.
MIGRATIONS = ("CREATE TABLE entry (tab TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (tab, key))",)
#: Seconds after which what could not be written is tried again.
RETRY = 10.0
#: Seconds that `Store.close` waits for the last writing. systemd gives a service 90 s to stop.
CLOSE_TIMEOUT = 10.0

#: Table and key.
_Place = tuple[str, str]


class Store:
    """The tables. Use it from one thread.

    Args:
        directory: where the file stands; it is made if its parent is there. Empty: nothing is kept.

    Raises:
        ConfigError: nothing can be kept there; the text says why, and what to do about it.
    """

    def __init__(self, directory: str) -> None:
        self._tables: dict[str, dict[str, str]] = {}
        self._writer: _Writer | None = None
        if directory:
            path = Path(directory) / FILE
            database = open_file(path, Layout(APPLICATION_ID, MIGRATIONS))
            try:
                for tab, key, value in database.execute("SELECT tab, key, value FROM entry"):
                    self._tables.setdefault(tab, {})[key] = value
            except sqlite3.Error as error:
                database.close()
                raise ConfigError(complaint(path, error)) from None
            self._writer = _Writer(database, path)

    def table(self, name: str) -> MutableMapping[str, str]:
        """Return a table; it is empty if it is new. How large it may grow is for its user to limit.

        Keys and values must be text that UTF-8 can carry: others raise ValueError, and nothing is changed.
        """
        return _Table(name, self._tables.setdefault(name, {}), self._writer)

    @property
    def problem(self) -> str:
        """Why nothing can be written at the moment; "" if all is well."""
        return self._writer.problem if self._writer is not None else ""

    def flush(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Wait until all is written; return False if it is not after ``timeout`` seconds or the first failure."""
        return self._writer.flush(timeout) if self._writer is not None else True

    def close(self) -> None:
        """Write what is left, and let go of the file. The tables can still be read."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _Table(MutableMapping[str, str]):
    def __init__(self, name: str, data: dict[str, str], writer: _Writer | None) -> None:
        self._name = name
        self._data = data
        self._writer = writer

    def __getitem__(self, key: str) -> str:
        return self._data[key]

    def __setitem__(self, key: str, value: str) -> None:
        key.encode()
        value.encode()
        if self._data.get(key) != value:
            self._data[key] = value
            self._write(key, value)

    def __delitem__(self, key: str) -> None:
        del self._data[key]
        self._write(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def _write(self, key: str, value: str | None) -> None:
        if self._writer is not None:
            self._writer.put((self._name, key), value)


class _Writer:
    """The thread that writes. What is not written yet is kept by place: the last value counts."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path
        self._pending: dict[_Place, str | None] = {}
        self._changed = threading.Condition()
        self._attempts = 0
        #: Why nothing can be written; "" if all is well.
        self.problem = ""
        self._hurry = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def put(self, place: _Place, value: str | None) -> None:
        """Take a value to write, or None to delete."""
        with self._changed:
            self._pending[place] = value
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is pending, or it is clear that it cannot be written now."""
        with self._changed:
            enough = self._attempts + 2  # the attempt that runs now may have begun before the last `put`
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._pending or (self.problem and self._attempts >= enough), timeout)
            self._hurry = False
            return not self._pending

    def close(self) -> None:
        """Write what is left, and end; if it cannot be written, say so and end all the same."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_TIMEOUT)
        with self._changed:
            if self._pending:
                log.error("%s: the last %d changes could not be written and are lost", self._path, len(self._pending))

    def _run(self) -> None:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._pending or self._closing)
                self._attempt()
                if self._closing and (self.problem or not self._pending):
                    break
                if self.problem:
                    self._changed.wait_for(lambda: self._closing or self._hurry, RETRY)
        with contextlib.suppress(sqlite3.Error):  # the last commit has succeeded or was complained of
            self._database.close()

    def _attempt(self) -> None:
        """Write what is pending; called with the lock, which others can have meanwhile."""
        batch = dict(self._pending)
        self._changed.release()
        try:
            problem = self._write(batch)
        finally:
            self._changed.acquire()
        if not problem:
            for place, value in batch.items():
                if self._pending[place] == value:
                    del self._pending[place]
        self._attempts += 1
        self.problem = problem
        self._changed.notify_all()

    def _write(self, batch: dict[_Place, str | None]) -> str:
        """Write a batch, all or nothing; return why it failed."""
        gone = [place for place, value in batch.items() if value is None]
        there = [(*place, value) for place, value in batch.items() if value is not None]
        try:
            with self._database:
                self._database.executemany("DELETE FROM entry WHERE tab = ? AND key = ?", gone)
                self._database.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", there)
        except sqlite3.Error as error:
            problem = f"{self._path}: {error}; what changes is kept in memory only, until the file can be written"
            if not self.problem:
                log.error("%s", problem)
            return problem
        if self.problem:
            log.info("%s can be written again; nothing is lost", self._path)
        return ""
