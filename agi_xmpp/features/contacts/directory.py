"""People and their numbers and mail addresses: the user map, and files that the administrator keeps."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from agi_xmpp.config import PhoneUser
from agi_xmpp.errors import AgiXmppError, BadJid
from agi_xmpp.features.contacts.addresses import Address, from_mail
from agi_xmpp.features.phone.book.model import clean_text
from agi_xmpp.features.phone.book.number import clean, read, tail
from agi_xmpp.features.text_file import decode
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

log = logging.getLogger("agi_xmpp.contacts")

#: Bytes of one file; some 100 000 people. A larger one is somebody's mistake, and would fill the memory.
MAX_SIZE = 32 * 1024 * 1024

#: Seconds for a look at the files. The disk may be a network's: what was read before counts then.
LOOK_TIME = 1.0

#: Seconds for the first look: 100 000 people take some of them. A disk that hangs must not keep us from serving calls.
START_TIME = 10.0

_JID = ("jid", "xmpp", "jabber id")
_NAME = ("name", "full name", "display name")
_NUMBER = re.compile(r"(number|phone|telephone|tel|mobile|cell)( ?\d+)?")
_MAIL = re.compile(r"(mail|e-?mail)( address)?( ?\d+)?")


class DirectoryError(AgiXmppError):
    """A file cannot be read; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody who has an address.

    Attributes:
        jid: bare.
        name: "" if the source names none.
    """

    jid: Jid
    name: str = ""


class Index:
    """People by address.

    Numbers are kept by their last digits, and only those few that may be the wanted one are read with the tables of all
    countries: that takes 0.1 ms each.

    Args:
        country: of numbers without country code.
    """

    def __init__(self, country: str = "") -> None:
        self._country = country
        self._numbers: dict[str, list[tuple[str, Holder]]] = {}
        self._mails: dict[str, list[Holder]] = {}
        self.addresses = 0

    def add(self, holder: Holder, numbers: Iterable[str], mails: Iterable[str]) -> None:
        """Add somebody. What is no number, or no mail address, is passed over."""
        for text in numbers:
            if dialled := clean(text):
                self._numbers.setdefault(tail(dialled), []).append((dialled, holder))
                self.addresses += 1
        for text in mails:
            if address := from_mail(text):
                self._mails.setdefault(address.mail, []).append(holder)
                self.addresses += 1

    def find(self, address: Address) -> list[Holder]:
        """Return who has an address, the first who was added first."""
        wanted = address.number
        if wanted is None:
            return self._mails.get(address.mail, [])
        found = []
        same: dict[str, bool] = {}  # each way to write it is read once: a house's own number may stand at everybody
        for end in sorted(wanted.tails):
            for dialled, holder in self._numbers.get(end, ()):
                if dialled not in same:
                    candidate = read(dialled, self._country)
                    same[dialled] = candidate is not None and not set(wanted.keys).isdisjoint(candidate.keys)
                if same[dialled]:
                    found.append(holder)
        return found


class Directory:
    """All sources of people.

    A new version of a file that cannot be read is reported once, and the last good one counts on. A file that is gone
    has nobody: whoever deletes it means it.

    Args:
        users: of the user map, by their JID.
        files: ``.csv`` or ``.toml``.
        country: of numbers without country code.
    """

    def __init__(self, users: Mapping[str, PhoneUser], files: Sequence[Path], country: str = "") -> None:
        self.country = country
        self.is_empty = not users and not files
        self._users = Index(country)
        for text, user in users.items():
            self._users.add(Holder(parse(text).bare, user.name), [user.number, *user.numbers], user.mails)
        self._files = [_File(path, country) for path in files]
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="contacts-file") if files else None
        self._look: asyncio.Future[None] | None = None
        self._reported: dict[Path, str] = {}

    async def start(self) -> None:
        """Read the files, so that the first who asks finds them read; within `START_TIME` seconds."""
        await self._refresh(START_TIME)
        if self._look is not None and not self._look.done():
            log.warning("contacts: the files are still being read after %g s; until then nobody is in them", START_TIME)

    async def find(self, address: Address) -> tuple[Holder, ...]:
        """Return who has an address: the user map's people first, each once. Raises nothing."""
        return (await self.find_all([address]))[0]

    async def find_all(self, addresses: Sequence[Address]) -> list[tuple[Holder, ...]]:
        """Return the same for several addresses, after one look at whether the files have changed."""
        await self._refresh(LOOK_TIME)
        indexes = [self._users, *(file.index for file in self._files)]
        found = []
        for address in addresses:
            people: dict[Jid, Holder] = {}
            for holder in (holder for index in indexes for holder in index.find(address)):
                people.setdefault(holder.jid, holder)
            found.append(tuple(people.values()))
        return found

    @property
    def complaint(self) -> str:
        """What is wrong with the newest version of a file, or ""."""
        return next((file.complaint for file in self._files if file.complaint), "")

    async def stop(self) -> None:
        """End the thread as soon as it has nothing to do. For who asks all the same, what was read counts."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)

    async def _refresh(self, timeout: float) -> None:
        """Look whether the files have changed; one look at a time, which may go on after the time."""
        if self._thread is None:
            return
        if self._look is None or self._look.done():
            self._look = asyncio.get_running_loop().run_in_executor(self._thread, self._read_files)
        await asyncio.wait([self._look], timeout=timeout)
        for file in self._files:
            known = self._reported.get(file.path, "")
            if file.complaint and file.complaint != known:
                log.error("contacts: %s", file.complaint)
            elif known and not file.complaint:
                log.info("contacts: %s can be read again", file.path)
            self._reported[file.path] = file.complaint

    def _read_files(self) -> None:
        for file in self._files:
            file.refresh()


class _File:
    """One file, read again when it has changed.

    Attributes:
        index: of the last good version.
        complaint: what is wrong with the newest one.
    """

    def __init__(self, path: Path, country: str) -> None:
        self.path = path
        self.index = Index(country)
        self.complaint = ""
        self._country = country
        self._version: tuple[int, int, int] | None = None

    def refresh(self) -> None:
        try:
            status = self.path.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version == self._version:
                return
            with self.path.open("rb") as file:
                data = file.read(MAX_SIZE + 1)
        except OSError as error:
            self._version = None
            if isinstance(error, FileNotFoundError):
                self.index = Index(self._country)
            self.complaint = f"{self.path}: {error.strerror}"
            return
        self._version = version
        if len(data) > MAX_SIZE:
            self.complaint = f"{self.path}: larger than {MAX_SIZE // 1024 // 1024} MiB"
            return
        try:
            read_file = read_toml if self.path.suffix.lower() == ".toml" else read_csv
            self.index, self.complaint = read_file(data, self._country), ""
        except DirectoryError as error:
            self.complaint = f"{self.path}: {error}"


def read_csv(data: bytes, country: str = "") -> Index:
    """Read CSV (RFC 4180) with a line of headings, separated by comma, semicolon or tab, in UTF-8 with or without BOM.

    Headings: ``jid``, and any of ``name``, ``number``, ``phone``, ``mobile``, ``mail`` (also ``number 2`` and so on).

    Raises:
        DirectoryError: the text names the line.
    """
    text = decode(data, DirectoryError)
    heading = re.split(r"[\r\n]", text, maxsplit=1)[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=heading.count), strict=True)
    index = Index(country)
    try:
        headings = [" ".join(cell.casefold().replace("_", " ").split()) for cell in next(rows, [])]
        if not any(heading in _JID for heading in headings):
            raise DirectoryError('line 1: no heading "jid"')
        for row in rows:
            _add_row(index, headings, row, rows.line_num)
    except csv.Error as error:
        raise DirectoryError(f"line {rows.line_num}: {error}") from None
    return index


def read_toml(data: bytes, country: str = "") -> Index:
    """Read TOML: tables ``[[contact]]`` with ``jid``, and any of ``name``, ``numbers`` and ``mails``.

    Raises:
        DirectoryError: the text says what is wrong, and in which contact.
    """
    try:
        contacts = _Contacts.model_validate(tomllib.loads(decode(data, DirectoryError).replace("\r\n", "\n"))).contact
    except tomllib.TOMLDecodeError as error:
        raise DirectoryError(f"not valid TOML: {error}") from None
    except RecursionError:
        raise DirectoryError("not valid TOML: brackets in brackets in brackets, too deep") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = [str(part + 1) if isinstance(part, int) else part for part in first["loc"]]
        raise DirectoryError(f"{' '.join(place)}: {first['msg'].lower()}") from None
    index = Index(country)
    for count, contact in enumerate(contacts, 1):
        index.add(_holder(contact.jid, contact.name, f"contact {count}"), contact.numbers, contact.mails)
    return index


class _Contact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
    jid: Annotated[str, StringConstraints(min_length=1)]
    name: str = ""
    numbers: list[str] = []
    mails: list[str] = []


class _Contacts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    contact: list[_Contact] = []


def _add_row(index: Index, headings: Sequence[str], row: Sequence[str], line: int) -> None:
    if any(cell.strip() for cell in row[len(headings) :]):
        raise DirectoryError(f"line {line}: more cells than headings")
    cells = [(heading, cell.strip()) for heading, cell in zip(headings, row, strict=False) if cell.strip()]
    if not cells:
        return
    jid = next((cell for heading, cell in cells if heading in _JID), "")
    name = next((cell for heading, cell in cells if heading in _NAME), "")
    index.add(
        _holder(jid, name, f"line {line}"),
        [cell for heading, cell in cells if _NUMBER.fullmatch(heading)],
        [cell for heading, cell in cells if _MAIL.fullmatch(heading)],
    )


def _holder(jid: str, name: str, where: str) -> Holder:
    try:
        person = parse(jid).bare
    except BadJid as error:
        raise DirectoryError(f"{where}: {error}") from None
    if not person.local:
        raise DirectoryError(f"{where}: {jid!r} is a server, and no person")
    return Holder(person, clean_text(name))
