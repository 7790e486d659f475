"""The service in its daily life: servers that go away, reload, stop, and what an administrator is told."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.testbed.asterisk import Asterisk
from tests.testbed.client import Buddy
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.scene import Scene
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Ejabberd, Options, Prosody, XmppServer

RECEIVE = "AGI({agi}/jabber_receive,pbx,{bob},60)"
Break = Callable[[XmppServer, Proxy], Awaitable[None]]


@pytest.fixture(params=[Prosody, Ejabberd], ids=["prosody", "ejabberd"])
async def own_server(request: pytest.FixtureRequest, rootfs: Rootfs) -> AsyncIterator[XmppServer]:
    """A server that a test may break."""
    async with request.param(rootfs) as server:
        yield server


@pytest.fixture
async def fragile(asterisk: Asterisk, own_server: XmppServer) -> AsyncIterator[tuple[Scene, Proxy]]:
    """As `scene`, on a server of its own, with a network between it and the service that can be cut."""
    accounts = Accounts(own_server)
    pbx, bob_login = await accounts("pbx"), await accounts("bob")
    async with (
        Proxy(own_server.port) as proxy,
        Service({"pbx": Account(own_server, pbx.jid, pbx.password, (bob_login.jid,), port=proxy.port)}) as service,
        Buddy.online(own_server, bob_login.jid, bob_login.password) as bob,
    ):
        await service.online("pbx")
        yield Scene(asterisk, own_server, accounts, service, pbx, bob, bob_login), proxy
        service.assert_alive()


class TestTheNetworkBreaks:
    async def test_a_cut_connection_is_resumed_and_the_wait_goes_on(self, fragile: tuple[Scene, Proxy]) -> None:
        scene, proxy = fragile
        call = await scene.run(RECEIVE)
        await scene.service.account("pbx", lambda account: account["waiting"] == 1)
        await proxy.refuse()
        proxy.cut()
        await scene.service.account("pbx", lambda account: account["state"] != "online")
        scene.bob.say(scene.pbx.jid, "said while it was cut")
        await proxy.accept()
        result = await scene.result(call)
        assert (result["JABBER_RECEIVE_STATUS"], result["JABBER_RECEIVE"]) == ("OK", "said while it was cut")

    async def test_the_server_restarts_and_the_wait_goes_on(self, fragile: tuple[Scene, Proxy]) -> None:
        scene, _ = fragile
        call = await scene.run(RECEIVE)
        await scene.service.account("pbx", lambda account: account["waiting"] == 1)
        await scene.server.restart()
        await scene.service.account("pbx", lambda account: account["state"] == "online" and account["connects"] == 2)
        login = scene.bob_login
        async with Buddy.online(scene.server, login.jid, login.password) as bob:
            bob.say(scene.pbx.jid, "after the restart")
            assert (await scene.result(call))["JABBER_RECEIVE"] == "after the restart"

    async def test_while_the_server_is_away(self, fragile: tuple[Scene, Proxy]) -> None:
        """The caller hears nothing for a moment, is told why, and what may wait is delivered later."""
        scene, proxy = fragile
        await proxy.refuse()
        proxy.cut()
        await scene.service.account("pbx", lambda account: account["state"] != "online")
        result = await scene.result(await scene.run("AGI({agi}/jabber_send?timeout=0.2,pbx,{bob},lost)"))
        assert result["JABBER_SEND_STATUS"] == "FAILED"
        assert "pbx" in result["JABBER_ERROR"]
        result = await scene.result(await scene.run("AGI({agi}/jabber_send?timeout=0.2&queue=600,pbx,{bob},kept)"))
        assert result["JABBER_SEND_STATUS"] == "QUEUED"
        result = await scene.result(await scene.run("AGI({agi}/jabber_status?timeout=0.2,pbx,{bob})"))
        assert (result["JABBER_STATUS"], result["JABBER_ERROR"] != "") == ("", True)
        await proxy.accept()
        heard = await scene.bob.hears()
        assert (heard.body, heard.id) == ("kept", heard.id)
        await scene.service.online("pbx")
        result = await scene.result(await scene.run("AGI({agi}/jabber_send,pbx,{bob},again)"))
        assert result["JABBER_SEND_STATUS"] == "SENT"
        assert [message.body for message in scene.bob.heard] == ["kept", "again"]

    async def test_the_service_starts_without_the_server(self, rootfs: Rootfs, asterisk: Asterisk) -> None:
        async with Prosody(rootfs) as server:
            accounts = Accounts(server)
            pbx = await accounts("pbx")
            await server.stop()
            async with Service({"pbx": Account(server, pbx.jid, pbx.password, settings={"ca_file": None})}) as service:
                account = await service.account("pbx", lambda account: account["error"] != "")
                assert "refused" in account["error"]
                code, output = await service.command("status")
                assert (code, account["error"] in output) == (1, True)


class TestWhoIsTrusted:
    @pytest.mark.parametrize(
        ("certificate", "words"),
        [("wrong-host", "xmpp.test"), ("unknown-ca", "certificate"), ("expired", "expired")],
    )
    @pytest.mark.parametrize("tls", ["starttls", "direct"])
    async def test_a_certificate_that_is_not_right(
        self, rootfs: Rootfs, certificate: str, words: str, tls: str
    ) -> None:
        async with Prosody(rootfs, Options(certificate=certificate)) as server:  # type: ignore[arg-type]
            login = await Accounts(server)("pbx")
            async with Service({"pbx": Account(server, login.jid, login.password, tls=tls)}) as service:  # type: ignore[arg-type]
                account = await service.account("pbx", lambda account: account["error"] != "")
                assert words in account["error"]
                assert account["state"] != "online"
                code, output = await service.command("check", "--online")
                assert (code, words in output, "Traceback" in output) == (1, True, False)
                service.accounts["pbx"] = Account(
                    server,
                    login.jid,
                    login.password,
                    tls=tls,  # type: ignore[arg-type]
                    settings={"ca_file": None, "accept_any_certificate": True},
                )
                await service.reload()
                await service.online("pbx")

    async def test_a_wrong_password_is_one_sentence_and_no_secret(
        self, xmpp_server: XmppServer, accounts: Accounts
    ) -> None:
        login = await accounts("pbx")
        async with Service({"pbx": Account(xmpp_server, login.jid, "not-the-password")}) as service:
            account = await service.account("pbx", lambda account: account["error"] != "")
            assert "password" in account["error"]
            assert login.jid in account["error"]
            code, output = await service.command("check", "--online")
            assert (code, "password" in output) == (1, True)
            lines = [line for line in service.log.splitlines() if "WARNING" in line or "ERROR" in line]
            assert len(lines) == 1, lines
            assert "not-the-password" not in service.log + output
            service.accounts["pbx"] = Account(xmpp_server, login.jid, login.password)
            await service.reload()
            await service.online("pbx")


class TestReload:
    async def test_an_unchanged_account_keeps_its_session_and_its_wait(self, scene: Scene) -> None:
        call = await scene.run(RECEIVE)
        await scene.service.account("pbx", lambda account: account["waiting"] == 1)
        other = await scene.accounts("other")
        scene.service.accounts["second"] = Account(scene.server, other.jid, other.password)
        await scene.service.reload()
        await scene.service.online("pbx", "second")
        scene.bob.say(scene.pbx.jid, "still there?")
        assert (await scene.result(call))["JABBER_RECEIVE"] == "still there?"
        assert (await scene.service.account("pbx", lambda _: True))["connects"] == 1
        del scene.service.accounts["second"]
        await scene.service.reload()
        result = await scene.result(await scene.run("AGI({agi}/jabber_send,second,{bob},hi)"))
        assert "no account 'second' (known: pbx)" in result["JABBER_ERROR"]

    @pytest.mark.parametrize(
        ("changed", "line"),
        [
            ({"resume_timeout": 77}, "reload: account pbx logs in anew"),
            ({"status": "new words"}, "reload: account pbx goes on with other settings"),
        ],
    )
    async def test_a_changed_account(self, scene: Scene, changed: dict[str, Any], line: str) -> None:
        account = scene.service.accounts["pbx"]
        scene.service.accounts["pbx"] = Account(account.server, account.jid, account.password, settings=changed)
        before = (await scene.service.account("pbx", lambda _: True))["since"]
        await scene.service.reload()
        assert line in scene.service.log
        after = await scene.service.account("pbx", lambda account: account["state"] == "online")
        assert (after["since"] == before) == ("status" in changed)
        result = await scene.result(await scene.run("AGI({agi}/jabber_send,pbx,{bob},hi)"))
        assert result["JABBER_SEND_STATUS"] == "SENT"

    async def test_a_wrong_file_changes_nothing(self, scene: Scene) -> None:
        good = scene.service.agi
        scene.service.agi = {"max_sesions": 1}
        await scene.service.reload()
        assert "agi.max_sesions: unknown key; did you mean max_sessions?" in scene.service.log
        assert "the old configuration stays in force" in scene.service.log
        result = await scene.result(await scene.run("AGI({agi}/jabber_send,pbx,{bob},hi)"))
        assert result["JABBER_SEND_STATUS"] == "SENT"
        scene.service.agi = good

    async def test_limits_change_for_calls_that_come_later(self, scene: Scene) -> None:
        scene.service.agi = {"max_sessions": 1}
        await scene.service.reload()
        await scene.load(RECEIVE)
        first = await scene.asterisk.call("s")
        await scene.service.account("pbx", lambda account: account["waiting"] == 1)
        second = await scene.asterisk.call("s")
        assert (await scene.result(second))["AGISTATUS"] == "FAILURE"
        await first.hangup()


class TestStop:
    async def test_a_call_that_waits_gets_its_time(self, scene: Scene) -> None:
        call = await scene.run(RECEIVE)
        await scene.service.account("pbx", lambda account: account["waiting"] == 1)
        scene.service.signal(signal.SIGTERM)
        await scene.service.log_says("stopping; 1 calls are served")
        scene.bob.say(scene.pbx.jid, "just in time")
        assert (await scene.result(call))["JABBER_RECEIVE"] == "just in time"
        await scene.service.stop()
        await scene.service.start()  # for the fixture, which wants it alive

    async def test_without_the_service_calls_go_on(self, scene: Scene) -> None:
        await scene.service.kill()
        result = await scene.result(await scene.run("AGI({agi}/jabber_send,pbx,{bob},hi)"))
        assert (result["AGISTATUS"], result["JABBER_SEND_STATUS"]) == ("FAILURE", "")
        await scene.service.start()

    async def test_a_killed_service_ends_the_wait(self, scene: Scene) -> None:
        call = await scene.run(RECEIVE)
        await scene.service.account("pbx", lambda account: account["waiting"] == 1)
        await scene.service.kill()
        assert (await scene.result(call))["JABBER_RECEIVE_STATUS"] == "ERROR"
        await scene.service.start()


class TestCommandLine:
    async def test_status(self, scene: Scene) -> None:
        code, output = await scene.service.command("status", "--json")
        status = json.loads(output)
        account = status["accounts"][0]
        assert code == 0
        assert (account["account"], account["state"], account["resumable"]) == ("pbx", "online", True)
        assert account["tls"].startswith("TLSv1.")
        code, output = await scene.service.command("status")
        assert "pbx: online for" in output

    async def test_check_beside_the_running_service(self, scene: Scene) -> None:
        code, output = await scene.service.command("check", "--online")
        assert (code, "pbx: logged in as" in output) == (0, True), output
        assert (await scene.service.account("pbx", lambda _: True))["connects"] == 1

    async def test_send_through_the_service_and_without_it(self, scene: Scene) -> None:
        code, output = await scene.service.command("send", "--receipt", "pbx", scene.bob.jid, "-", stdin="a\nb\n")
        heard = await scene.bob.hears()
        assert (code, output.strip(), heard.body) == (0, heard.id, "a\nb")
        code, output = await scene.service.command("send", "pbx", "not a jid", "hi")
        assert (code, "not a jid" in output) == (2, True)
        await scene.service.stop()
        code, output = await scene.service.command("send", "pbx", scene.bob.jid, "by itself")
        assert (code, (await scene.bob.hears()).body) == (0, "by itself"), output
        await scene.service.start()


async def test_a_script_written_for_pyst2_is_a_route(asterisk: Asterisk) -> None:
    script = {"path": "ivr/hello", "callable": "tests.e2e.pyst2_script:main"}
    async with Service(agi={"script": [script]}) as service:
        complaints = await asterisk.dialplan(
            f"[testbed]\nexten => s,1,AGI({service.agi_url}/ivr/hello)\n"
            " same => n,UserEvent(Done,Greeting: ${GREETING},Last: ${DB(pyst2/last)},Status: ${AGISTATUS})\n"
        )
        assert not complaints
        call = await asterisk.call("s", variables={"NAME": "Ann"}, caller_id="201")
        done = await call.event("Done")
        assert (done["Greeting"], done["Last"]) == ("hello Ann from 201", "Ann")
        assert done["Status"] == "SUCCESS"


async def test_one_account_down_does_not_harm_another(scene: Scene) -> None:
    other = await scene.accounts("other")
    scene.service.accounts["down"] = Account(scene.server, other.jid, "wrong")
    await scene.service.reload()
    await scene.service.account("down", lambda account: account["error"] != "")
    for account, seconds, status in (("pbx", 10, "SENT"), ("down", 1, "FAILED")):
        step = f"AGI({{agi}}/jabber_send?timeout={seconds},{account},{{bob}},hi)"
        result = await scene.result(await scene.run(step))
        assert result["JABBER_SEND_STATUS"] == status
