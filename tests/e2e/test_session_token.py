"""Logins by token: OAUTHBEARER against Prosody's own implementation, and against servers that have none."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import LoginFailed, TlsFailed, XmppError
from agi_xmpp.xmpp.model import SessionState
from tests.e2e.sessions import Login, online, running, settings, until_state
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Options, Prosody


@pytest.fixture(scope="module")
def prosody_process(rootfs: Rootfs) -> Iterator[Prosody]:
    """A Prosody that offers no other way to log in than OAUTHBEARER."""
    with Prosody(rootfs, Options(tokens=True, mechanisms=["OAUTHBEARER"], tls="optional")) as server:
        yield server


@dataclasses.dataclass
class Holder:
    """Somebody who has an account, and a file for its token."""

    server: Prosody
    login: Login
    file: Path

    async def gets_token(self, seconds: int = 3600) -> str:
        """Let the account's next token be in the file, and return it."""
        token = await self.server.issue_token(self.login.jid, seconds)
        self.file.write_text(f"{token}\n")
        return token

    def settings(self, **changes: Any) -> AccountSettings:
        return settings(self.server, self.login, **{"password": None, "token_file": self.file} | changes)


@pytest.fixture
async def pbx(prosody_process: Prosody, tmp_path: Path) -> Holder:
    return Holder(prosody_process, await Accounts(prosody_process)("pbx"), tmp_path / "token")


async def failure(account: AccountSettings) -> XmppError:
    """Return what the first attempt fails of."""
    async with running(account) as session:
        with pytest.raises(XmppError) as caught:
            await session.ready(20, patient=False)
        return caught.value


@pytest.mark.parametrize("tls", ["starttls", "direct"])
async def test_a_token_logs_in_and_stands_in_no_log(pbx: Holder, tls: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = await pbx.gets_token()
    async with online(pbx.settings(tls=tls)) as session:
        info = session.info()
        assert (info.jid, info.resumable) == (f"{pbx.login.jid}/pbx", True)
        waiting = asyncio.create_task(session.receive_message(pbx.login.jid, 10, thread="call-1"))
        await session.send_message(f"{pbx.login.jid}/pbx", "to myself", thread="call-1")
        assert (await waiting).body == "to myself"
    assert "SENT" in caplog.text
    for secret in (token, base64.b64encode(f"auth=Bearer {token}".encode()).decode()[:40]):
        assert secret not in caplog.text


async def test_an_expired_token_is_told_once_and_mended_without_a_restart(
    pbx: Holder, caplog: pytest.LogCaptureFixture
) -> None:
    expired = await pbx.gets_token(-1)
    async with running(pbx.settings(login_retry=1), name="office") as session:
        with pytest.raises(LoginFailed):
            await session.ready(20, patient=False)
        for _ in range(2):  # tried again twice, told once
            await until_state(session, SessionState.CONNECTING)
            await until_state(session, SessionState.WAITING)
        complaints = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and "agi_xmpp" in r.name]
        assert complaints == [
            f"account office: the server refuses the token of {pbx.login.jid} (invalid_token); trying again every 1 s"
        ]
        await pbx.gets_token()
        await session.ready(20)
    assert expired not in caplog.text


async def test_the_next_token_is_used_when_a_cut_connection_comes_back(pbx: Holder) -> None:
    first = await pbx.gets_token()
    async with Proxy(pbx.server.port) as proxy, online(pbx.settings(port=proxy.port)) as session:
        await pbx.server.revoke_token(first)
        await pbx.gets_token()
        proxy.cut()
        await until_state(session, SessionState.SUSPENDED)
        await session.ready(20)
        info = session.info()
        assert (info.connects, info.error) == (1, "")  # resumed: the same session as before


async def test_a_token_that_was_revoked_meanwhile_is_refused(pbx: Holder) -> None:
    await pbx.server.revoke_token(await pbx.gets_token())
    error = await failure(pbx.settings())
    assert isinstance(error, LoginFailed)
    assert str(error) == f"the server refuses the token of {pbx.login.jid} (invalid_token)"


async def test_a_token_of_another_account_is_not_used(pbx: Holder) -> None:
    await pbx.gets_token()
    other = await Accounts(pbx.server)("ann")
    error = await failure(pbx.settings(jid=f"{other.jid}/pbx"))
    assert isinstance(error, LoginFailed)
    assert str(error) == f"the token is of {pbx.login.jid}, not of {other.jid}"


async def test_no_token_is_sent_without_encryption(pbx: Holder) -> None:
    await pbx.gets_token()
    begun = len(pbx.server.log)
    # The configuration refuses it, so the settings are changed afterwards.
    error = await failure(pbx.settings().model_copy(update={"tls": "none"}))
    assert isinstance(error, TlsFailed)
    assert str(error) == "a token is sent on an encrypted connection only"
    assert "<auth" not in pbx.server.log[begun:]


async def test_a_server_without_login_by_token_is_told_by_what_it_offers(accounts: Accounts, tmp_path: Path) -> None:
    pbx = await accounts("pbx")
    file = tmp_path / "token"
    file.write_text("a-token")
    error = await failure(settings(accounts.server, pbx, password=None, token_file=file))
    assert isinstance(error, LoginFailed)
    assert f"127.0.0.1:{accounts.server.port} offers no login by token (OAUTHBEARER), but " in str(error)
    assert "SCRAM-SHA-1" in str(error)


async def test_the_service_and_its_commands(pbx: Holder) -> None:
    token = await pbx.gets_token()
    account = Account(
        pbx.server,
        f"{pbx.login.jid}/pbx",
        pbx.login.password,
        settings={"password": None, "token_command": ["cat", str(pbx.file)]},
    )
    async with Service({"pbx": account}) as service:
        await service.online("pbx")
        code, output = await service.command("check", "--online")
        assert (code, f"{pbx.login.jid}/agi-xmpp-" in output, " by token; TLSv1.3 " in output) == (0, True, True)
        pbx.file.write_text("no-token-of-this-server")
        code, refused = await service.command("check", "--online")
        assert code == 1
        assert f"pbx: FAILED: the server refuses the token of {pbx.login.jid} (invalid_token)" in refused
        pbx.file.write_text("Bearer and a token")
        code, wrong = await service.command("check")
        assert code == 2
        assert "account.pbx: token_command gives no token: its first line must be the token alone" in wrong
        _, status = await service.command("status", "--json")
        shown = output + refused + wrong + status + service.log
        assert token not in shown
        assert "no-token-of-this-server" not in shown
