"""jabber_lookup."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agi_xmpp.config import PhoneUser
from agi_xmpp.errors import NotConnected
from agi_xmpp.features.contacts.directory import Directory
from agi_xmpp.features.contacts.whois import WhoIs
from agi_xmpp.features.lookup import for_dialplan
from agi_xmpp.features.phone.book.model import Entry, entry
from agi_xmpp.xmpp.model import Jid
from tests.unit.features.fakes import FOREVER, FakeChannel, FakeSession, dispatcher

USERS = {
    "ann@x.org": PhoneUser(devices=["PJSIP/101"], name="Ann"),
    "bob@x.org": PhoneUser(devices=["PJSIP/102"]),
}


class Others:
    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.times: list[float] = []

    async def ask_others(self, _address: Any, timeout: float) -> tuple[tuple[Jid, ...], str]:
        self.times.append(timeout)
        return (), self.problem


def knows(*, book: Entry | None = None, others: Any = None, users: Any = USERS) -> WhoIs:
    async def ask(_number: str) -> Entry | None:
        return book

    return WhoIs(Directory(users, []), others, ask if book else None)


async def lookup(
    *args: str, who_is: WhoIs | None = None, session: FakeSession | None = None, **query: str
) -> dict[str, str]:
    session = session or FakeSession()
    channel = FakeChannel("jabber_lookup", ("pbx", *args), query)
    serving = dispatcher(session)
    serving.who_is = who_is or knows()
    await serving(channel)  # type: ignore[arg-type]
    return channel.variables


def result(status: str, jid: str = "", name: str = "", company: str = "", error: str = "") -> dict[str, str]:
    return {
        "JABBER_LOOKUP_STATUS": status,
        "JABBER_LOOKUP": jid,
        "JABBER_LOOKUP_NAME": name,
        "JABBER_LOOKUP_COMPANY": company,
        "JABBER_ERROR": error,
    }


async def test_somebody_in_the_user_map():
    session = FakeSession()
    assert await lookup("101", session=session) == result("FOUND", "ann@x.org", "Ann")
    assert session.calls == []  # the name is known: nobody is asked for a vCard


async def test_the_name_of_a_vcard():
    session = FakeSession(vcard_name='Robert "Bob" Smith')
    assert await lookup("102", session=session) == result("FOUND", "bob@x.org", "Robert Bob Smith")
    ((name, arguments, _options),) = session.calls
    assert (name, arguments[0]) == ("vcard_name", "bob@x.org")
    assert 0 < arguments[1] <= 2.0


async def test_the_time_for_a_vcard_is_a_part_of_the_whole():
    session = FakeSession(vcard_name="Bob")
    await lookup("102", session=session, timeout="1")
    assert 0 < session.calls[0][1][1] <= 1.0
    session = FakeSession(vcard_name="Bob")
    assert await lookup("102", session=session, timeout="0") == result("FOUND", "bob@x.org")
    assert not session.calls


async def test_a_vcard_that_is_not_to_be_had():
    session = FakeSession(vcard_name=NotConnected("away"))
    assert await lookup("102", session=session) == result("FOUND", "bob@x.org")


async def test_the_phone_book():
    book = entry(name="Ann Smith", company="Acme, Inc.")
    assert await lookup("101", who_is=knows(book=book)) == result("FOUND", "ann@x.org", "Ann Smith", "Acme, Inc.")
    assert await lookup("0309999", who_is=knows(book=book)) == result("FOUND", "", "Ann Smith", "Acme, Inc.")


@pytest.mark.parametrize("number", ["99", "", " ", "anonymous", "sip:101@x.org"])
async def test_nobody(number):
    assert await lookup(number) == result("UNKNOWN")


async def test_who_could_not_be_asked():
    others = Others("peer: forbidden")
    assert await lookup("99", who_is=knows(others=others), timeout="3") == result("FAILED", error="peer: forbidden")
    assert others.times == [3.0]
    # What is known all the same counts.
    assert (await lookup("101", who_is=knows(others=others)))["JABBER_LOOKUP_STATUS"] == "FOUND"


async def test_nothing_is_configured():
    variables = await lookup("101", who_is=knows(users={}))
    assert variables == result(
        "ERROR", error="there is nobody to look up: the configuration has neither [contacts] nor [phone]"
    )


@pytest.mark.parametrize(("args", "complaint"), [((), "got 1 arguments"), (("1", "2"), "got 3 arguments")])
async def test_wrong_arguments(args, complaint):
    variables = await lookup(*args)
    assert variables["JABBER_LOOKUP_STATUS"] == "ERROR"
    assert complaint in variables["JABBER_ERROR"]


async def test_wrong_seconds():
    assert "timeout=x" in (await lookup("101", timeout="x"))["JABBER_ERROR"]


async def test_a_hangup_ends_it():
    session = FakeSession(vcard_name=FOREVER)
    channel = FakeChannel("jabber_lookup", ("pbx", "102"))
    serving = dispatcher(session)
    serving.who_is = knows()
    task = asyncio.create_task(serving(channel))  # type: ignore[arg-type]
    await session.waiting.wait()
    channel.hang_up()
    await task
    assert channel.variables == result("ERROR", error="the caller hung up")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann O'Hara, Dr.", "Ann O'Hara, Dr."),
        ('"; System(reboot)\r\nEXEC Dial SIP/1', "; System(reboot) EXEC Dial SIP/1"),
        ("a\x00b\x1b[31m\u202ec\u2028d", "a b [31m c d"),
        ('Ann" <911> ${SHELL(x)} \\', "Ann 911 SHELL(x)"),
        ("Jörg 🎉", "Jörg 🎉"),
        ('"""', ""),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_nothing_in_a_name_can_do_anything(name, shown):
    assert for_dialplan(name) == shown
