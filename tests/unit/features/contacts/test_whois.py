"""Who a number belongs to, for the dialplan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import PhoneUser
from agi_xmpp.features.contacts.directory import Directory
from agi_xmpp.features.contacts.whois import Known, WhoIs
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.xmpp.model import Jid

ANN = Jid("ann", "x.org")
FAR = Jid("far", "eu.x.org")
USERS = {"ann@x.org": PhoneUser(devices=["PJSIP/101"], name="Ann", mails=["ann@x.org"])}


class Others:
    """Plays the finder."""

    def __init__(self, people: tuple[Jid, ...], problem: str = "") -> None:
        self.answer = people, problem
        self.asked: list[str] = []

    async def ask_others(self, address: Any, timeout: float) -> tuple[tuple[Jid, ...], str]:
        self.asked.append(address.uri)
        return self.answer


class Book:
    """Plays the phone book."""

    def __init__(self, entry: Entry | None) -> None:
        self.entry = entry
        self.asked: list[str] = []

    async def __call__(self, number: str) -> Entry | None:
        self.asked.append(number)
        return self.entry


async def find(who_is: WhoIs, text: str) -> Known:
    address = who_is.read(text)
    assert address is not None
    return await who_is.find(address, 1.0)


async def test_the_user_map() -> None:
    who_is = WhoIs(Directory(USERS, []), None, None)
    assert await find(who_is, "101") == Known(ANN, "Ann")
    assert await find(who_is, "mailto:Ann@x.org") == Known(ANN, "Ann")
    assert await find(who_is, "ann@x.org") == Known(ANN, "Ann")
    assert await find(who_is, "102") == Known()


async def test_the_phone_book_names_first() -> None:
    book = Book(Entry("Ann Smith", "Acme"))
    who_is = WhoIs(Directory(USERS, []), None, book)
    assert await find(who_is, "tel:101") == Known(ANN, "Ann Smith", "Acme")
    assert await find(who_is, "(030) 99") == Known(None, "Ann Smith", "Acme")
    assert await find(who_is, "ann@x.org") == Known(ANN, "Ann")
    assert book.asked == ["101", "03099"]


async def test_others_are_asked_for_who_is_not_ours() -> None:
    others: Any = Others((FAR,))
    who_is = WhoIs(Directory(USERS, []), others, None)
    assert await find(who_is, "101") == Known(ANN, "Ann")
    assert await find(who_is, "+49 30 9999999") == Known(FAR)
    assert others.asked == ["tel:+49309999999"]


async def test_what_failed_is_told() -> None:
    others: Any = Others((), "peer: forbidden")
    assert await find(WhoIs(Directory({}, []), others, None), "+49309999999") == Known(problem="peer: forbidden")


async def test_a_broken_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b"name\n")
    directory = Directory({}, [path])
    assert (await find(WhoIs(directory, None, None), "101")).problem == f'{path}: line 1: no heading "jid"'
    await directory.stop()


@pytest.mark.parametrize("text", ["", "anonymous", "Restricted", "sip:101@x.org", "tel:", "1" * 65])
def test_what_is_no_number(text: str) -> None:
    assert WhoIs(Directory(USERS, []), None, None).read(text) is None


def test_whether_there_is_anything_to_ask() -> None:
    others: Any = Others(())
    nobody = Directory({}, [])
    assert WhoIs(nobody, None, None).is_empty
    assert not WhoIs(Directory(USERS, []), None, None).is_empty
    assert not WhoIs(nobody, others, None).is_empty
    assert not WhoIs(nobody, None, Book(None)).is_empty
