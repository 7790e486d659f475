"""The phone book against a real directory (OpenLDAP)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import BookSettings
from agi_xmpp.features.phone.book.directory import MAX_CONNECTIONS
from agi_xmpp.features.phone.book.lookup import Book, report
from agi_xmpp.features.phone.book.model import Entry
from tests.testbed.directory import BASE, Directory
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs

#: Not a name of this machine, so that encryption is demanded; `resolved` leads it here.
HOST = "directory.test"

ENTRIES = f"""
dn: cn=Ann Lee,ou=people,{BASE}
objectClass: inetOrgPerson
cn: Ann Lee
displayName: Ann Lee (Sales)
sn: Lee
o: Example Ltd
telephoneNumber: +49 30 1234-567
labeledURI: https://crm.example.org/ann Customer page

dn: cn=Bob Mohr,ou=people,{BASE}
objectClass: inetOrgPerson
cn:: {"Qm9iIE3DtmhyCg=="}
cn: Bob Mohr
sn: Mohr
mobile: 0170 1234567

dn: cn=Carol,ou=people,{BASE}
objectClass: inetOrgPerson
cn: Carol
sn: C
telephoneNumber: 101
labeledURI: javascript:alert(1)

dn: cn=Dora,ou=staff,{BASE}
objectClass: inetOrgPerson
cn: Dora
sn: D
telephoneNumber: +49 30 7654321
"""


@pytest.fixture(scope="module")
def directory(rootfs: Rootfs) -> Iterator[Directory]:
    with Directory(rootfs, ENTRIES, HOST) as directory:
        yield directory


@pytest.fixture(autouse=True)
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names below .test mean this machine."""
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        return ask("127.0.0.1" if str(host).endswith(".test") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def settings(directory: Directory, how: str = "starttls", **changes: Any) -> BookSettings:
    addresses = {
        "plain": f"ldap://127.0.0.1:{directory.port}",
        "starttls": f"ldap://{HOST}:{directory.port}",
        "tls": f"ldaps://{HOST}:{directory.tls_port}",
    }
    values = {
        "country": "DE",
        "ldap": addresses[how],
        "ldap_base": BASE,
        "ldap_ca_file": None if how == "plain" else directory.ca_file,
        "timeout": 5.0,
        "cache": 0,
    }
    return BookSettings(**{**values, **changes})


async def ask(book: BookSettings, number: str) -> Entry | None:
    phone_book = Book(book)
    await phone_book.start()
    try:
        return await phone_book.lookup(number)
    finally:
        await phone_book.stop()


ANN = Entry("Ann Lee (Sales)", "Example Ltd", link="https://crm.example.org/ann", source=f"directory {HOST}")


@pytest.mark.parametrize("how", ["plain", "starttls", "tls"])
async def test_somebody_is_found_over_each_kind_of_connection(directory, how):
    found = await ask(settings(directory, how), "+49301234567")
    assert found is not None
    assert (found.name, found.company, found.link) == (ANN.name, ANN.company, ANN.link)
    encrypted = "TLS established" in directory.log.rpartition("ACCEPT")[2]
    assert encrypted is (how != "plain")


@pytest.mark.parametrize(
    "number", ["+49301234567", "0301234567", "0049 30 1234567", "+49 (0)30 1234567", "49301234567"]
)
async def test_a_number_in_the_international_form_is_found_by_any(directory, number):
    assert await ask(settings(directory), number) == ANN


@pytest.mark.parametrize("number", ["+491701234567", "01701234567", "0170/123 45 67"])
async def test_a_number_in_the_national_form_is_found_by_any(directory, number):
    found = await ask(settings(directory), number)
    assert found is not None
    assert found.name == "Bob Möhr"


async def test_an_extension_is_found_and_its_bad_link_is_not_shown(directory):
    assert await ask(settings(directory), "101") == Entry("Carol", source=f"directory {HOST}")


@pytest.mark.parametrize("number", ["+49309999999", "anonymous", "", "102"])
async def test_nobody_else_is_found(directory, number, caplog):
    assert await ask(settings(directory), number) is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("number", "sent"),
    [("*", False), ("+4930*", True), ("1*1", True), ("101)(cn=*", False), ("101\\2a", False), ("101)(|(sn=*)", False)],
)
async def test_a_number_is_never_a_part_of_the_filter(directory, number, sent):
    since = directory.log_size()
    # "*" alone is a substring match of everybody, if it is not escaped.
    assert await ask(settings(directory, ldap_filter="(telephoneNumber={number})"), number) is None
    searched = "filter=" in directory.log_tail(since, lines=1000)
    assert searched is sent


async def test_an_escaped_number_reaches_the_directory_as_it_is(directory):
    since = directory.log_size()
    assert await ask(settings(directory, ldap_filter="(cn={number})"), "*21#101") is None
    line = await directory.log_says("filter=", since=since)
    assert r'filter="(cn=\2A21#101)"' in line


async def test_who_logs_in_may_read_more(directory, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(f"{directory.password}\nsecond line")
    number = "+49307654321"
    assert await ask(settings(directory), number) is None
    found = await ask(settings(directory, ldap_user=directory.reader, ldap_password_file=secret), number)
    assert found is not None
    assert found.name == "Dora"


async def test_a_wrong_password_is_said_and_not_shown(directory, tmp_path, caplog):
    secret = tmp_path / "secret"
    secret.write_text("wrong-password")
    changed = settings(directory, ldap_user=directory.reader, ldap_password_file=secret)
    assert await ask(changed, "+49301234567") is None
    assert "directory directory.test refuses ldap_user: invalidCredentials" in caplog.text
    assert "wrong-password" not in caplog.text


async def test_a_base_that_is_not_there_is_said(directory, caplog):
    assert await ask(settings(directory, ldap_base="dc=elsewhere"), "+49301234567") is None
    assert "refuses the search: noSuchObject" in caplog.text


@pytest.mark.parametrize("how", ["starttls", "tls"])
async def test_a_certificate_of_an_unknown_ca_is_refused(directory, how, caplog, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(directory.password)
    since = directory.log_size()
    changed = settings(directory, how, ldap_ca_file=None, ldap_user=directory.reader, ldap_password_file=secret)
    assert await ask(changed, "+49301234567") is None
    assert "its certificate cannot be trusted: " in caplog.text
    assert "BIND" not in directory.log_tail(since), "the password must not be sent"


@pytest.mark.parametrize("certificate", ["wrong-host", "expired"])
@pytest.mark.parametrize("how", ["starttls", "tls"])
async def test_a_bad_certificate_is_refused(rootfs, certificate, how, caplog):
    async with Directory(rootfs, ENTRIES, HOST, certificate) as bad:
        assert await ask(settings(bad, how), "+49301234567") is None
    wanted = {"wrong-host": "Hostname mismatch", "expired": "certificate has expired"}[certificate]
    assert f"its certificate cannot be trusted: {wanted}" in caplog.text


@pytest.mark.parametrize("how", ["plain", "starttls", "tls"])
async def test_a_directory_that_is_silent_costs_the_timeout_and_no_more(directory, how, caplog):
    port = directory.tls_port if how == "tls" else directory.port
    async with Proxy(port) as proxy:
        proxy.silence()
        address = {"plain": "ldap://127.0.0.1", "starttls": f"ldap://{HOST}", "tls": f"ldaps://{HOST}"}[how]
        book = Book(settings(directory, how, ldap=f"{address}:{proxy.port}", timeout=0.3))
        # More than there are threads: none of them may stay behind. On a busy machine, some do not come to connect.
        async with asyncio.timeout(30):
            while proxy.accepted < 2 * MAX_CONNECTIONS:
                assert await book.lookup("+49301234567") is None
        assert "no answer in time" in caplog.text
        assert len(caplog.records) == 1
        proxy.resume()
        await proxy.until_open(0)
        with caplog.at_level(logging.INFO):
            async with asyncio.timeout(10):  # a busy machine may need several times what one answer may take
                while await book.lookup("+49301234567") is None:
                    pass
        assert "works again" in caplog.text
        await book.stop()


async def test_a_directory_that_goes_and_comes_back(rootfs, caplog):
    caplog.set_level(logging.INFO)
    async with Directory(rootfs, ENTRIES, HOST) as directory:
        book = Book(settings(directory))
        assert await book.lookup("+49301234567") == ANN
        await directory.kill()
        assert await book.lookup("+49301234567") is None
        assert await book.lookup("+49301234567") is None
        await directory.start()
        assert await book.lookup("+49301234567") == ANN
        await book.stop()
    messages = [record.getMessage() for record in caplog.records if record.name == "agi_xmpp.phone.book"]
    assert len(messages) == 2, messages
    assert "Connection refused" in messages[0]
    assert messages[1] == "phone book: directory directory.test works again"


async def test_a_connection_that_breaks_during_the_search(directory, caplog):
    async with Proxy(directory.tls_port) as proxy:
        proxy.silence()
        book = Book(settings(directory, "tls", ldap=f"ldaps://{HOST}:{proxy.port}"))
        running = asyncio.create_task(book.lookup("+49301234567"))
        await proxy.until_open(1)
        proxy.cut("rst")
        assert await running is None
        assert "directory directory.test: " in caplog.text
        await book.stop()


async def test_the_report_names_the_directory(directory, tmp_path: Path):
    contacts = tmp_path / "contacts.csv"
    contacts.write_text("name,number\nAnn Lee,030 1234567\n")
    lines: list[str] = []
    assert await report(settings(directory, files=[contacts]), "0301234567", lines.append)
    assert lines[0] == "0301234567: +49301234567"
    assert lines[1].startswith("file contacts.csv: Ann Lee (")
    assert lines[2].startswith("directory directory.test: Ann Lee (Sales); Example Ltd; https://crm.example.org/ann (")
