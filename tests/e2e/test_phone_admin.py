"""What an administrator of phones in chat types, on the real parts: check --online, status, watch, lookup."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.office import ACCOUNT, Office, open_office
from tests.testbed.telephony import Exchange
from tests.testbed.xmpp import Prosody

CONTACTS = "name;number;company\nAnn Lee;030 1234567;Example Ltd\n"


@pytest.fixture
async def office(exchange: Exchange, prosody: Prosody, tmp_path: Path) -> AsyncIterator[Office]:
    """Alice and Bob with a component on Prosody, and a phone book."""
    contacts = tmp_path / "contacts.csv"
    contacts.write_text(CONTACTS, encoding="utf-8")
    phone = {"book": {"country": "DE", "files": [str(contacts)]}}
    people, state = ["alice", "bob"], tmp_path / "state"
    async with open_office(exchange, prosody, "component", state, people=people, phone=phone) as office:
        yield office


def change(office: Office, section: str, **keys: Any) -> None:
    """Change what the configuration file says. The service that runs is not told of it."""
    office.service.sections[section] = {**office.service.sections[section], **keys}
    office.service.write()


async def checked(office: Office) -> tuple[int, list[str]]:
    """Return the exit code and the lines of ``check --online``, without the first one."""
    code, output = await office.service.command("check", "--online")
    first, *lines = output.splitlines()
    assert ": well-formed; accounts: phone; " in first
    return code, lines


class TestCheck:
    async def test_all_is_well(self, office: Office) -> None:
        exchange = office.exchange
        expected = [
            f"phone: in use: the running service is connected as {office.jid}/agi-xmpp; not encrypted",
            f"ami: logged in to 127.0.0.1:{exchange.ami_port} as {exchange.phone_user}; it has the rights that we need",
            "phones: Asterisk knows all devices, and all extensions in the context internal",
            f"phones: {office.server.domain} lists {office.jid} as phone: Spark finds it",
            "phone book: file contacts.csv has 1 number",
        ]
        assert await checked(office) == (0, expected)

    async def test_nobody_serves(self, office: Office) -> None:
        account = office.service.accounts[ACCOUNT]
        await office.service.stop()
        try:
            for command in ("status", "watch"):
                code, output = await office.service.command(command)
                assert code == 2
                assert output.startswith("agi-xmpp: no service is running at ")
            code, lines = await checked(office)
            assert code == 0
            assert lines[0].startswith(f"phone: logged in as {office.jid}/agi-xmpp")
            office.service.accounts[ACCOUNT] = dataclasses.replace(account, password="not the secret")
            office.service.write()
            code, lines = await checked(office)
            assert code == 1
            assert lines[0].startswith("phone: FAILED: 127.0.0.1:")
            assert "refuses the secret of the component" in lines[0]
            assert "phones: not asked whether clients find them: see account phone above" in lines
            assert "not the secret" not in "".join(lines)
        finally:
            office.service.accounts[ACCOUNT] = account
            await office.service.start()

    async def test_what_asterisk_lacks(self, office: Office, tmp_path: Path) -> None:
        change(office, "ami", username=office.exchange.lesser_user)
        code, lines = await checked(office)
        assert code == 1
        assert lines[1:3] == [
            "ami: FAILED: [xmpplesser] lacks a right: add call to the manager user's line write = in manager.conf;"
            " it is needed to see calls and conferences and to act on them, and to show who is away",
            'ami: when that is done: asterisk -rx "manager reload", and systemctl reload agi-xmpp if it runs',
        ]
        change(office, "ami", username=office.exchange.phone_user)
        alice, bob = office["alice"].jid, office["bob"].jid
        people = {jid: dict(keys) for jid, keys in office.service.sections["phone"]["user"].items()}
        people[alice]["devices"] = ["PJSIP/101", "PJSIP/299"]
        people[bob]["extension"] = "109"
        change(office, "phone", user=people)
        (tmp_path / "contacts.csv").write_text("name,company\nAnn,Example Ltd\n")
        code, lines = await checked(office)
        assert code == 1
        assert lines[2:4] == [
            f"phones: FAILED: {alice}: Asterisk knows no device PJSIP/299",
            f"phones: FAILED: {bob}: context internal has no extension 109",
        ]
        assert lines[-1].startswith(f"phone book: FAILED: {tmp_path / 'contacts.csv'}: line 1: no heading for numbers")
        change(office, "phone", context="intern")
        _code, lines = await checked(office)
        assert any("Asterisk has no context intern (phone.context)" in line for line in lines)

    async def test_servers_that_do_not_list_the_phones(self, office: Office) -> None:
        other = office.server.impostor_domain
        people = {f"zoe@{other}": {"devices": ["PJSIP/105"]}, "yves@far.test": {"devices": ["PJSIP/104"]}}
        change(office, "phone", user={**office.service.sections["phone"]["user"], **people})
        code, lines = await checked(office)
        assert code == 1  # because one domain could not be asked
        (silent,) = [line for line in lines if "far.test" in line]
        assert silent.startswith("phones: FAILED: far.test does not say which services it has: far.test: ")
        assert silent.endswith("(not-allowed)")
        start = lines.index(f"phones: note: {other} lists no service named phone: Spark will show no phone.")
        assert lines[start + 1 : start + 4] == [
            "  What to write into the configuration of the XMPP server:",
            f'  Prosody, below VirtualHost "{other}":',
            f'      disco_items = {{ {{ "{office.jid}", "phone" }} }}',
        ]

    async def test_an_account_that_is_not_listed(self, exchange: Exchange, prosody: Prosody, tmp_path: Path) -> None:
        async with open_office(exchange, prosody, "client", tmp_path, people=["alice"]) as office:
            code, lines = await checked(office)
        assert code == 0
        start = lines.index(
            f"phones: note: {prosody.domain} lists {prosody.component_domain} as phone, which Spark will take,"
            f" and not {office.jid}."
        )
        assert lines[start + 1 : start + 4] == [
            "  What to write into the configuration of the XMPP server:",
            f'  Prosody, below VirtualHost "{prosody.domain}":',
            f'      disco_items = {{ {{ "{office.jid}", "phone" }} }}',
        ]


class TestRunning:
    async def test_status_and_watch_of_a_call(self, office: Office) -> None:
        alice, bob = office["alice"], office["bob"]
        desk, other = await office.phones("101", "102")
        await desk.call("102")
        await office.after(alice="dialling", bob="ringing")
        await other.answer()
        await office.after(alice="talking", bob="talking")
        call = bob.events[-1].call_id
        code, output = await office.service.command("status")
        assert code == 0
        assert f"\nAsterisk at 127.0.0.1:{office.exchange.ami_port}: online for " in output
        assert "\nphones: served by account phone for 2 users; calls: 2\n" in output
        assert f"\n  {bob.jid}: talking from Alice 101 on PJSIP/102 for " in output
        assert f" ({call})\n" in output
        await desk.hangup()
        await office.after()
        async with office.service.watching("--json", "--last", "1000") as printed, asyncio.timeout(20):
            lines = [json.loads(await printed.readline()) for _ in range(12)]
            await office.service.stop()
            assert (await printed.read()).decode().endswith(" has ended, or hangs\n")
        await office.service.start()
        assert {line["who"] for line in lines} == {alice.jid, bob.jid}
        assert [line["text"] for line in lines if line["who"] == bob.jid] == [
            f"is called by Alice 101 on PJSIP/102 ({call})",
            "is told RING",
            f"talks to Alice 101 on PJSIP/102 ({call})",
            "is told ON_PHONE",
            f"call with Alice 101 on PJSIP/102 is over: talked ({call})",
            "is told HANG_UP",
        ]

    async def test_the_phone_book_and_asterisk_are_away(self, office: Office, tmp_path: Path) -> None:
        code, output = await office.service.command("lookup", "0301234567")
        lines = output.splitlines()
        assert (code, lines[0]) == (0, "0301234567: +49301234567")
        assert lines[1].startswith("file contacts.csv: Ann Lee; Example Ltd (")
        (tmp_path / "contacts.csv").unlink()
        code, output = await office.service.command("lookup", "101")
        assert code == 1
        problem = f"{tmp_path / 'contacts.csv'}: No such file or directory"
        assert f"\nfile contacts.csv: FAILED: {problem} (" in output
        change(office, "ami", port=1)  # the phones are served anew
        await office.service.reload()
        code, output = await office.service.command("status")
        assert code == 1
        assert "\n  nobody listens at 127.0.0.1:1: is Asterisk running, with enabled = yes, bindaddr" in output
        assert "; calls: not known, Asterisk is out of sight\n" in output
        assert output.endswith(f"\n  phone book: {problem}\n")
