"""Contact lists that people keep or programs export: CSV and TOML, bytes in, an index by number out. Pure."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from agi_xmpp.errors import AgiXmppError
from agi_xmpp.features.phone.book.model import Entry, entry
from agi_xmpp.features.phone.book.number import Number, clean, read, tail
from agi_xmpp.features.text_file import decode

#: Headings in small letters. Google's and Outlook's exports name their columns as below; people write ``name;number``.
_NAME = ("name", "full name", "display name", "displayname", "file as")
_NAME_PARTS = (
    ("first name", "given name"),
    ("middle name", "additional name"),
    ("last name", "family name", "surname"),
)
_COMPANY = ("company", "organization", "organisation", "organization name", "organization 1 - name")
_LINK = ("link", "url", "web page", "website", "website 1 - value")
_AVATAR = ("avatar", "photo", "picture")
_NUMBER = re.compile(r"(number|phone|telephone|tel|mobile|cell)( ?\d+)?( - value)?|.+ phone( \d+)?")
#: Outlook's columns of other people's numbers.
_NOT_THEIRS = re.compile(r"(assistant|manager)'?s phone.*")
_DELIMITERS = ",;\t"
#: How Google writes several values in one cell.
_VALUES = ":::"


class ContactsError(AgiXmppError):
    """A contact list cannot be read; the text names the line where it can."""


class Index:
    """Entries by number.

    Reading a number with the tables of all countries takes 0.1 ms: too long to do it for 100 000 contacts while calls
    wait. So numbers are kept by their last digits, and only those few that may be the wanted one are read.

    Args:
        country: of numbers without country code (`number.read`).

    Attributes:
        numbers: how many numbers there are.
        skipped: texts in the number columns that are no numbers.
    """

    def __init__(self, country: str = "") -> None:
        self._country = country
        self._candidates: dict[str, list[tuple[str, Entry]]] = {}
        self.numbers = 0
        self.skipped = 0

    def add(self, numbers: Iterable[str], found: Entry) -> None:
        """Add somebody with the numbers."""
        for text in numbers:
            dialled = clean(text)
            if not dialled:
                self.skipped += 1
                continue
            self.numbers += 1
            self._candidates.setdefault(tail(dialled), []).append((dialled, found))

    def find(self, number: Number) -> Entry | None:
        """Return who has the number: the same in E.164, or the same digits. The first who was added with it has it."""
        for end in number.tails:
            for dialled, found in self._candidates.get(end, ()):
                candidate = read(dialled, self._country)
                if candidate is not None and not set(number.keys).isdisjoint(candidate.keys):
                    return found
        return None


def read_csv(data: bytes, country: str = "", source: str = "") -> Index:
    """Read CSV (RFC 4180) with a line of headings, separated by comma, semicolon or tab, in UTF-8 with or without BOM.

    Raises:
        ContactsError: the text names the line.
    """
    text = decode(data, ContactsError)
    delimiter = _delimiter(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    index = Index(country)
    try:
        columns = _Columns(next(rows, []))
        for row in rows:
            _add_row(index, columns, row, rows.line_num, source)
    except csv.Error as error:
        raise ContactsError(f"line {rows.line_num}: {error}") from None
    return index


def read_toml(data: bytes, country: str = "", source: str = "") -> Index:
    """Read TOML: tables ``[[contact]]`` with ``name``, ``numbers``, and perhaps ``company``, ``link`` and ``avatar``.

    Raises:
        ContactsError: the text names the line, or which contact is wrong.
    """
    try:
        contacts = _Contacts.model_validate(tomllib.loads(decode(data, ContactsError).replace("\r\n", "\n")))
    except tomllib.TOMLDecodeError as error:
        raise ContactsError(f"not valid TOML: {error}") from None
    except RecursionError:
        raise ContactsError("not valid TOML: brackets in brackets in brackets, too deep") from None
    except ValidationError as error:
        raise ContactsError(_complaint(error)) from None
    index = Index(country)
    for contact in contacts.contact:
        found = entry(
            name=contact.name, company=contact.company, link=contact.link, avatar=contact.avatar, source=source
        )
        if found is not None:
            index.add(contact.numbers, found)
    return index


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class _Contact(_Section):
    name: Annotated[str, StringConstraints(min_length=1)]
    numbers: list[str]
    company: str = ""
    link: str = ""
    avatar: str = ""


class _Contacts(_Section):
    contact: list[_Contact] = []


class _Columns:
    """Which column holds what.

    Raises:
        ContactsError: there is none of names or none of numbers.
    """

    def __init__(self, headings: list[str]) -> None:
        self.count = len(headings)
        self._places: dict[str, int] = {}
        self.numbers: list[int] = []
        for place, heading in enumerate(headings):
            key = " ".join(heading.casefold().replace("_", " ").split())
            self._places.setdefault(key, place)
            if _NUMBER.fullmatch(key) and not _NOT_THEIRS.fullmatch(key):
                self.numbers.append(place)
        if not self.numbers:
            raise ContactsError('line 1: no heading for numbers, such as "number" or "phone"')
        if not any(key in self._places for key in (*_NAME, *_COMPANY, *(key for part in _NAME_PARTS for key in part))):
            raise ContactsError('line 1: no heading for names, such as "name"')

    def text(self, row: list[str], headings: Iterable[str]) -> str:
        """Return the first text in the row under one of the headings."""
        cells = (self.cell(row, self._places[heading]) for heading in headings if heading in self._places)
        return next(filter(None, cells), "")

    def cell(self, row: list[str], place: int) -> str:
        """Return a cell; empty where the row is shorter."""
        return row[place].strip() if place < len(row) else ""


def _add_row(index: Index, columns: _Columns, row: list[str], line: int, source: str) -> None:
    if any(cell.strip() for cell in row[columns.count :]):
        raise ContactsError(f"line {line}: more cells than headings")
    name = columns.text(row, _NAME) or " ".join(columns.text(row, part) for part in _NAME_PARTS)
    company, link, avatar = (columns.text(row, headings) for headings in (_COMPANY, _LINK, _AVATAR))
    found = entry(name=name, company=company, link=link, avatar=avatar, source=source)
    if found is not None:
        cells = (columns.cell(row, place).split(_VALUES) for place in columns.numbers)
        index.add((text for values in cells for text in values if text.strip()), found)


def _delimiter(text: str) -> str:
    """Return the character that cuts the line of headings into the most cells."""
    heading = re.split(r"[\r\n]", text, maxsplit=1)[0]

    def cells(delimiter: str) -> int:
        try:
            return len(next(csv.reader([heading], delimiter=delimiter), []))
        except csv.Error:  # whoever reads the line next says what is wrong with it
            return 0

    return max(_DELIMITERS, key=cells)


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    match first["loc"]:
        case ("contact", int(place), *key):
            where = f"contact {place + 1}: {'.'.join(str(part) for part in key)}"
            known = ", ".join(_Contact.model_fields)
        case location:
            where = ".".join(str(part) for part in location)
            known = "[[contact]] alone"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key; known here: {known}"
    return f"{where}: {first['msg'].lower()}"
