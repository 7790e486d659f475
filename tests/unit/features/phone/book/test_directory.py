"""What needs no directory; the rest is in tests/e2e/test_book.py."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import BookSettings
from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book import directory as module
from agi_xmpp.features.phone.book.directory import DirectorySource
from agi_xmpp.features.phone.book.model import SourceError
from agi_xmpp.features.phone.book.number import Number


def source(**changes: Any) -> DirectorySource:
    return DirectorySource(BookSettings(**{"ldap": "ldaps://ldap.example.org", "ldap_base": "dc=x", **changes}))


@pytest.mark.parametrize(
    ("address", "port", "direct", "start_tls"),
    [
        ("ldaps://ldap.example.org", 636, True, False),
        ("ldaps://ldap.example.org:3269", 3269, True, False),
        ("ldap://ldap.example.org", 389, False, True),
        ("ldap://192.0.2.1:1389", 1389, False, True),
        ("ldap://[2001:db8::1]", 389, False, True),
        ("ldap://127.0.0.1", 389, False, False),
        ("ldap://localhost:1389", 1389, False, False),
        ("ldap://[::1]", 389, False, False),
        ("ldaps://127.0.0.1", 636, True, False),
    ],
)
def test_the_address_decides_about_encryption(address, port, direct, start_tls):
    made = source(ldap=address)
    assert (made._port, made._direct_tls, made._start_tls) == (port, direct, start_tls)
    assert (made._tls is not None) is (direct or start_tls)


def test_the_filter_has_every_form_of_the_number():
    made = source(ldap_filter="(|(a={number})(b={e164})(c={national}))")
    assert made.filter(Number("0301234567", "+49301234567", "0301234567")) == (
        "(|(a=0301234567)(b=+49301234567)(c=0301234567))"
    )
    assert made.filter(Number("101")) == "(|(a=101)(b=101)(c=101))"


def test_what_means_something_in_a_filter_is_escaped():
    made = source(ldap_filter="(a={number})")
    assert made.filter(Number("*")) == r"(a=\2a)"
    # No number has these (`number.read`); if one ever did, it would still be harmless (RFC 4515 section 3).
    assert made.filter(Number("1)(cn=*\\\0")) == r"(a=1\29\28cn=\2a\5c\00)"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"ldap": "ldap://host:0x"}, "'ldap://host:0x' has no valid port"),
        ({"ldap": "ldap://host:99999"}, "has no valid port"),
        ({"ldap": "ldap://:389"}, "names no host"),
        ({"ldap_base": ""}, "needs ldap_base"),
        ({"ldap_user": "cn=x"}, "ldap_user and ldap_password_file need each other"),
        ({"ldap_password_file": Path("/x")}, "ldap_user and ldap_password_file need each other"),
        ({"ldap_user": "cn=x", "ldap_password_file": Path("/no/such")}, "/no/such: No such file or directory"),
        ({"ldap_user": "cn=x", "ldap_password_file": Path("/dev/null")}, "/dev/null: its first line is empty"),
        ({"ldap_ca_file": Path("/no/such")}, "ldap_ca_file /no/such: No such file or directory"),
        ({"ldap_ca_file": Path(__file__)}, "it holds no certificate in PEM"),
        ({"ldap_filter": "(a=1)"}, "needs {number}, {e164} or {national}"),
        ({"ldap_filter": "(a={numbre})"}, "needs {number}, {e164} or {national}"),
        ({"ldap_filter": "(a={number.__class__})"}, "needs {number}, {e164} or {national}"),
        ({"ldap_filter": "(a={number}"}, r"not a filter as of RFC 4515: \(a={number}"),
        ({"ldap_filter": "a={number}"}, "not a filter as of RFC 4515"),
        ({"ldap_filter": "(&(a={number})b)"}, "not a filter as of RFC 4515"),
        ({"ldap_filter": "(a={number)"}, "not a filter as of RFC 4515"),
        ({"ldap_filter": "({number})"}, "not a filter as of RFC 4515"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        source(**changes)


def test_a_missing_library_is_said(monkeypatch):
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "ldap3"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "ldap3", None)
    with pytest.raises(ConfigError, match=r"pip install 'agi-xmpp\[ldap\]'"):
        source()


@pytest.fixture
async def endless() -> AsyncIterator[Endless]:
    endless = Endless()
    async with await asyncio.start_server(endless.flood, "127.0.0.1", 0) as server:
        endless.port = server.sockets[0].getsockname()[1]
        yield endless


class Endless:
    """A server that never ends its answer, so that no timeout of the socket helps."""

    def __init__(self) -> None:
        self.port = 0
        self.arrived = asyncio.Event()
        self.left = asyncio.Event()

    async def flood(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.arrived.set()
        with contextlib.suppress(OSError):
            writer.write(b"\x30\x84\x7f\xff\xff\xff")  # a message of 2 GiB (X.690 section 8.1.3)
            while True:
                writer.write(bytes(10_000))
                await writer.drain()
                await asyncio.sleep(0)  # drain alone lets nobody else run while the reader keeps up
        self.left.set()
        writer.close()


async def test_an_endless_answer_is_left_when_the_look_up_is_over(endless, monkeypatch):
    monkeypatch.setattr(module, "MAX_ANSWER", 2**40)
    made = source(ldap=f"ldap://127.0.0.1:{endless.port}", timeout=10)
    looking = asyncio.create_task(made.find(Number("101")))
    await endless.arrived.wait()
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    await asyncio.wait_for(endless.left.wait(), 20)
    await made.stop()


async def test_an_endless_answer_is_left_when_it_is_too_long(endless):
    made = source(ldap=f"ldap://127.0.0.1:{endless.port}", timeout=10)
    with pytest.raises(SourceError, match="its answer is longer than 1024 KiB"):
        await made.find(Number("101"))
    await asyncio.wait_for(endless.left.wait(), 20)
    await made.stop()
