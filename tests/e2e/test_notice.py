"""``agi-xmpp notice``: headlines that arrive in every client that is there, and nowhere else."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator

import pytest

from tests.testbed.client import Buddy, Heard
from tests.testbed.proxy import Proxy
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Ejabberd, XmppServer

CLIENT = "{jabber:client}"


def content(heard: Heard) -> dict[str, str]:
    """Return the elements of ours in a message; servers add some of their own (XEP-0359)."""
    return {child.tag: child.text or "" for child in ET.fromstring(heard.xml) if child.tag.startswith(CLIENT)}


@pytest.fixture
async def service(xmpp_server: XmppServer, accounts: Accounts) -> AsyncIterator[Service]:
    """agi-xmpp with one account."""
    pbx = await accounts("pbx")
    async with Service({"pbx": Account(xmpp_server, pbx.jid, pbx.password)}) as service:
        await service.online()
        yield service


async def test_who_is_online_gets_it_and_nobody_else(service: Service, accounts: Accounts) -> None:
    server = accounts.server
    bob, ann = await accounts("bob"), await accounts("ann")
    async with (
        Buddy.online(server, bob.jid, bob.password, resource="phone") as phone,
        Buddy.online(server, bob.jid, bob.password, resource="desk") as desk,
    ):
        words = ("notice", "--to", bob.jid, "--to", ann.jid, "Maintenance", "-")
        code, output = await service.command(*words, stdin="No phones\nfrom 22 h <on> & off.\n")
        assert (code, output) == (0, "sent to 2 of 2; who is not online gets nothing\n")
        for client in (phone, desk):
            heard = await client.hears()
            assert (heard.type, heard.sender.partition("/")[0]) == ("headline", service.accounts["pbx"].jid)
            assert content(heard) == {
                f"{CLIENT}subject": "Maintenance",
                f"{CLIENT}body": "No phones\nfrom 22 h <on> & off.",
            }
    code, output = await service.command("send", "pbx", ann.jid, "a message of today")
    assert code == 0, output
    async with Buddy.online(server, ann.jid, ann.password) as late:
        # The message was kept for her, and came; the notice before it did not.
        await late.hears_nothing_until("a message of today")
        assert not [heard for heard in late.heard if heard.type == "headline"]


async def test_buddies_and_users_are_told_once_each(service: Service, accounts: Accounts) -> None:
    server = accounts.server
    bob = await accounts("bob")
    service.accounts["pbx"] = dataclasses.replace(service.accounts["pbx"], buddies=(bob.jid,))
    await service.reload()
    await service.online()
    async with Buddy.online(server, bob.jid, bob.password) as client:
        code, output = await service.command("notice", "--buddies", "--to", f"{bob.jid}/phone", "one")
        assert (code, output) == (0, "sent to 1 of 1; who is not online gets nothing\n")
        assert (await service.command("notice", "--buddies", "--account", "PBX", "two"))[0] == 0
        heard = await client.hears()
        assert (heard.subject, heard.body) == ("one", "one")
        await client.hears_nothing_until("two")


async def test_a_stop_is_told_where_it_is_wanted(service: Service, accounts: Accounts) -> None:
    bob = await accounts("bob")
    settings = {"stop_notice": "The telephones are away until 8 h."}
    pbx = service.accounts["pbx"]
    async with Buddy.online(accounts.server, bob.jid, bob.password) as client:
        for account in (dataclasses.replace(pbx, buddies=(bob.jid,), settings=settings), pbx):
            service.accounts["pbx"] = account
            await service.reload()
            await service.online()
        assert not [heard for heard in client.heard if heard.body]  # a reload is no stop
        service.accounts["pbx"] = dataclasses.replace(pbx, buddies=(bob.jid,), settings=settings)
        await service.reload()
        await service.online()
        await service.stop()
        heard = await client.hears()
        assert (heard.type, heard.subject, heard.body) == ("headline", *[settings["stop_notice"]] * 2)
        await service.start()


async def test_without_the_service_it_logs_in(service: Service, accounts: Accounts) -> None:
    bob = await accounts("bob")
    async with Buddy.online(accounts.server, bob.jid, bob.password) as client:
        await service.stop()
        code, output = await service.command("notice", "--to", bob.jid, "Maintenance")
        assert code == 0
        assert output.splitlines()[-1] == "sent to 1 of 1; who is not online gets nothing"
        assert "logging in to send it" in output
        assert (await client.hears()).type == "headline"
        await service.start()


async def test_without_a_connection_it_says_who_was_not_told(xmpp_server: XmppServer, accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    async with (
        Proxy(xmpp_server.port) as proxy,
        Service({"pbx": Account(xmpp_server, pbx.jid, pbx.password, port=proxy.port)}) as service,
    ):
        await service.online()
        await proxy.refuse()
        proxy.cut()
        await service.account("pbx", lambda account: account["state"] != "online")
        code, output = await service.command("notice", "--timeout", "0.2", "--to", bob.jid, "Maintenance")
        assert code == 1
        assert output.startswith("sent to 0 of 1; who is not online gets nothing\nagi-xmpp: not sent to the others: ")
        assert "is not connected" in output


async def test_nobody_of_that_name_keeps_nothing_from_the_others(service: Service, accounts: Accounts) -> None:
    """ejabberd sends the headline back; Prosody drops it without a word, as for somebody who is offline."""
    bob = await accounts("bob")
    nobody = f"nobody@{accounts.server.domain}"
    async with Buddy.online(accounts.server, bob.jid, bob.password) as client:
        code, output = await service.command("notice", "--to", nobody, "--to", bob.jid, "Maintenance")
        assert (await client.hears()).body == "Maintenance"
    first, *rest = output.splitlines()
    if isinstance(accounts.server, Ejabberd):
        assert (code, first) == (1, "sent to 1 of 2; who is not online gets nothing")
        assert [line.partition(" (")[0] for line in rest] == [
            f"agi-xmpp: {nobody}: the message came back: service-unavailable"
        ]
    else:
        assert (code, first, rest) == (0, "sent to 2 of 2; who is not online gets nothing", [])
