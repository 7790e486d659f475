"""Logins to real servers: encryption, certificates, passwords."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.errors import LoginFailed, NotConnected, TlsFailed, XmppError
from agi_xmpp.xmpp.model import SessionState
from tests.e2e.sessions import Login, online, running, settings, until_state
from tests.testbed.client import Buddy
from tests.testbed.pki import Certificate
from tests.testbed.rootfs import Rootfs
from tests.testbed.xmpp import Accounts, Ejabberd, Options, Prosody, XmppServer

SERVERS = pytest.mark.parametrize("make", [Prosody, Ejabberd])


async def failure(server: XmppServer, account: Login, **changes: Any) -> XmppError:
    """Return what the first attempt fails of."""
    async with running(settings(server, account, **changes)) as session:
        with pytest.raises(XmppError) as caught:
            await session.ready(20, patient=False)
        assert session.info().error == str(caught.value)
        return caught.value


@pytest.mark.parametrize("tls", ["starttls", "direct"])
async def test_encrypted_with_the_private_ca(accounts: Accounts, tls: str) -> None:
    pbx = await accounts("pbx")
    async with online(settings(accounts.server, pbx, tls=tls)) as session:
        info = session.info()
        assert (info.jid, info.state, info.resumable) == (f"{pbx.jid}/pbx", SessionState.ONLINE, True)
        assert info.tls.startswith("TLSv1.3 TLS_")


@pytest.mark.parametrize("tls", ["starttls", "direct"])
async def test_a_ca_that_is_not_named_is_not_trusted(accounts: Accounts, tls: str) -> None:
    error = await failure(accounts.server, await accounts("pbx"), tls=tls, ca_file=None)
    assert isinstance(error, TlsFailed)
    assert "name its file in ca_file" in str(error)


@SERVERS
@pytest.mark.parametrize(
    ("certificate", "sentence"),
    [
        ("wrong-host", "is not valid for xmpp.test"),
        ("unknown-ca", "is signed by nobody whom this machine trusts"),
        ("expired", "has expired"),
    ],
)
async def test_a_certificate_that_proves_nothing_is_refused(
    rootfs: Rootfs, make: type[XmppServer], certificate: Certificate, sentence: str
) -> None:
    async with make(rootfs, Options(certificate=certificate)) as server:
        account = await Accounts(server)("pbx")
        for tls in ("starttls", "direct"):
            error = await failure(server, account, tls=tls)
            assert isinstance(error, TlsFailed)
            assert sentence in str(error)


@SERVERS
async def test_a_server_without_encryption_gets_no_password_unless_on_this_machine(
    rootfs: Rootfs, make: type[XmppServer]
) -> None:
    async with make(rootfs, Options(tls="off")) as server:
        account = await Accounts(server)("pbx")
        error = await failure(server, account)
        assert isinstance(error, TlsFailed)
        assert "does not offer STARTTLS" in str(error)
        async with online(settings(server, account, tls="none", ca_file=None)) as session:
            assert session.info().tls == ""


@SERVERS
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
async def test_login_methods(rootfs: Rootfs, make: type[XmppServer], mechanism: str) -> None:
    async with make(rootfs, Options(mechanisms=[mechanism], tls="optional")) as server:
        account = await Accounts(server)("pbx")
        async with online(settings(server, account)):
            pass
        if mechanism == "PLAIN":
            error = await failure(server, account, tls="none", ca_file=None)
            assert isinstance(error, LoginFailed)
            assert "offers no login method that we may use" in str(error)


async def test_a_wrong_password_is_told_once_and_mended_without_a_restart(
    accounts: Accounts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pbx = await accounts("pbx")
    secret = tmp_path / "secret"
    secret.write_text("not-the-password")
    changes: dict[str, Any] = {"password": None, "password_file": secret, "login_retry": 1}
    async with running(settings(accounts.server, pbx, **changes), name="office") as session:
        with pytest.raises(LoginFailed):
            await session.ready(20, patient=False)
        for _ in range(2):  # tried again twice, told once
            await until_state(session, SessionState.CONNECTING)
            await until_state(session, SessionState.WAITING)
        complaints = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "agi_xmpp" in r.name]
        assert complaints == [
            f"account office: the server refuses the password of {pbx.jid} (not-authorized); trying again every 1 s"
        ]
        secret.write_text(pbx.password)
        await session.ready(20)
    assert pbx.password not in caplog.text
    assert "not-the-password" not in caplog.text


async def test_a_domain_that_the_server_does_not_serve(accounts: Accounts) -> None:
    pbx = await accounts("pbx")
    error = await failure(accounts.server, pbx, jid="pbx@elsewhere.test", tls="none", ca_file=None)
    assert isinstance(error, NotConnected)
    assert f"127.0.0.1:{accounts.server.port}" in str(error)


async def test_another_login_with_our_resource_is_told_once_and_not_fought(
    accounts: Accounts, caplog: pytest.LogCaptureFixture
) -> None:
    pbx = await accounts("pbx")
    async with (
        online(settings(accounts.server, pbx, login_retry=3600)) as session,
        Buddy.online(accounts.server, pbx.jid, pbx.password, resource="pbx") as other,
    ):
        await until_state(session, SessionState.WAITING)
        assert f"another login with the resource of {pbx.jid}/pbx threw us out" in session.info().error
        assert other.connected
    told = [r for r in caplog.records if "another login" in r.getMessage() and "agi_xmpp" in r.name]
    assert len(told) == 1


async def test_a_session_on_uvloop_does_the_same(accounts: Accounts) -> None:
    """uvloop has its own transports and its own TLS."""
    uvloop = pytest.importorskip("uvloop")
    pbx = await accounts("pbx")

    async def login() -> list[str]:
        seen = []
        for tls in ("starttls", "direct"):
            async with online(settings(accounts.server, pbx, tls=tls)) as session:
                sent = session.send_message(f"{pbx.jid}/pbx", "to myself", thread="call-1")
                waiting = asyncio.create_task(session.receive_message(pbx.jid, 10, thread="call-1"))
                await sent
                seen += [(await waiting).body, session.info().tls.partition(" ")[0]]
        return seen

    def run() -> list[str]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(login())

    assert await asyncio.to_thread(run) == ["to myself", "TLSv1.3"] * 2
