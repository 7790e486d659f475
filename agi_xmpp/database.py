"""Files of SQLite below ``state.directory``: made, checked, brought to the newest version, and kept to ourselves.

SQLite is there in Python, takes a crash or a power cut in its stride (write-ahead log), and locks its file against a
second service.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agi_xmpp.errors import ConfigError

#: Seconds to wait for the lock at the start: a service that is just ending has it that long.
LOCK_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Layout:
    """What is in a file.

    Attributes:
        application_id: marks the file as one of ours (PRAGMA application_id).
        migrations: the statement that makes the file of each version from the one before; the first one makes it from
            nothing. Never change one that was released: add one.
    """

    application_id: int
    migrations: Sequence[str]


def open_file(path: Path, layout: Layout) -> sqlite3.Connection:
    """Open a file, made or brought to the newest version if need be, for this process alone.

    Args:
        path: of the file. Its directory is made if the parent of that is there.
        layout: what is to be in it.

    Raises:
        ConfigError: the file cannot be used; the text says why, and what to do about it.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        # Of the service's user alone: it says who calls whom. SQLite gives its log beside it the same mode. A file that
        # is there is not opened by us: closing it would end SQLite's lock, if this process has one (fcntl(2)).
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"state.directory {path.parent}: {error.strerror}; it must be a directory that the service may write"
        ) from None
    database = None
    try:
        database = sqlite3.connect(path, timeout=LOCK_TIMEOUT, check_same_thread=False)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        # A power cut may lose the last moments, but never the file (https://sqlite.org/pragma.html#pragma_synchronous).
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("BEGIN IMMEDIATE")
        _migrate(database, path, layout)
        database.commit()
    except (sqlite3.Error, ConfigError) as error:
        if database is not None:
            database.close()
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(complaint(path, error)) from None
    return database


def _migrate(database: sqlite3.Connection, path: Path, layout: Layout) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != layout.application_id and (application or version or tables):
        raise ConfigError(f"state.directory: {path} was not made by agi-xmpp: set another directory")
    if version > len(layout.migrations):
        raise ConfigError(
            f"state.directory: {path} was written by a newer agi-xmpp (version {version}; this one knows"
            f" {len(layout.migrations)}): use that one, or move the file away"
        )
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    for statement in layout.migrations[version:]:
        database.execute(statement)
    database.execute(f"PRAGMA application_id = {layout.application_id}")
    database.execute(f"PRAGMA user_version = {len(layout.migrations)}")


def complaint(path: Path, error: sqlite3.Error) -> str:
    """Return what is wrong with a file, in one sentence for an administrator."""
    # The extended result codes have the primary one in their low byte (https://sqlite.org/rescode.html).
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"state.directory: {path} is in use: another agi-xmpp runs there already"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"state.directory: {path} is damaged ({error}): move it away, and what it held is forgotten"
    return f"state.directory: {path}: {error}"
