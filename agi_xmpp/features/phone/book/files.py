"""Contact lists as files, read again when they change."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book.contacts import ContactsError, Index, read_csv, read_toml
from agi_xmpp.features.phone.book.model import Entry, SourceError
from agi_xmpp.features.phone.book.number import Number

#: Bytes of one file; some 100 000 contacts. A larger one is somebody's mistake, and would fill the memory.
MAX_SIZE = 32 * 1024 * 1024

_READERS = {".csv": read_csv, ".toml": read_toml}

#: What tells that a file is another one than before: time of change in ns, size, inode.
_Version = tuple[int, int, int]


class FileSource:
    """One file. Implements `Source`.

    A new version that cannot be read is reported at every look-up, while the entries of the last good one still count.
    A file that is gone has no entries: whoever deletes it means it.

    Args:
        path: ends in ``.csv`` or ``.toml``.
        country: of numbers without country code (`number.read`).

    Raises:
        ConfigError: it ends in something else.
    """

    def __init__(self, path: Path, country: str = "") -> None:
        if path.suffix.lower() not in _READERS:
            raise ConfigError(f"phone.book.files: {path}: the name must end in .csv or .toml")
        self._path = path
        self._country = country
        self._version: _Version | None = None
        self._index = Index(country)
        self._complaint = ""
        # A thread of its own, for the disk may be slow or a network's; a single one, so that nobody reads it twice.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="phone-book-file")

    @property
    def name(self) -> str:
        """For logs and reports."""
        return f"file {self._path.name}"

    async def find(self, number: Number) -> Entry | None:
        """Look the number up, after a look at whether the file has changed; SourceError if it is broken."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._refresh)
        found = self._index.find(number)
        if self._complaint:
            raise SourceError(self._complaint, found)
        return found

    async def stop(self) -> None:
        """End the thread as soon as it has nothing to do."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def complaint(self) -> str:
        """What is wrong with the newest version of the file; empty if nothing."""
        return self._complaint

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return self._index.numbers

    @property
    def skipped(self) -> int:
        """How many texts in its columns of numbers are no numbers."""
        return self._index.skipped

    def _refresh(self) -> None:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                version = (status.st_mtime_ns, status.st_size, status.st_ino)
                if version == self._version:
                    return
                data = file.read(MAX_SIZE + 1)
        except OSError as error:
            self._version = None
            if isinstance(error, FileNotFoundError):
                self._index = Index(self._country)
            self._complaint = f"{self._path}: {error.strerror}"
            return
        self._version = version
        if len(data) > MAX_SIZE:
            self._complaint = f"{self._path}: larger than {MAX_SIZE // 1024 // 1024} MiB"
            return
        try:
            self._index = _READERS[self._path.suffix.lower()](data, self._country, self.name)
            self._complaint = ""
        except ContactsError as error:
            self._complaint = f"{self._path}: {error}"
