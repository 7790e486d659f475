"""The original beside ours: Asterisk's own ``res_xmpp``, on the same servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from tests.testbed.asterisk import Asterisk
from tests.testbed.program import PROBE_INTERVAL
from tests.testbed.xmpp import XmppServer


def configuration(account: str, server: XmppServer, jid: str, password: str, buddies: Sequence[str] = ()) -> str:
    """Return an xmpp.conf with which ``res_xmpp`` logs in, for `Asterisk(xmpp=…)`.

    It needs STARTTLS and SASL PLAIN, and checks no certificate.
    """
    lines = "".join(f"buddy = {buddy}\n" for buddy in buddies)
    return f"""[general]
autoregister = yes
[{account}]
type = client
serverhost = 127.0.0.1
port = {server.port}
username = {jid}/asterisk-xmpp
secret = {password}
usetls = yes
usesasl = yes
timeout = 5
{lines}"""


async def connected(asterisk: Asterisk, account: str, timeout: float = 15.0) -> None:
    """Wait until ``res_xmpp`` is logged in; it says so nowhere but in its CLI.

    Raises:
        AssertionError: it was not within ``timeout`` seconds; the message has the end of Asterisk's log.
    """
    deadline = time.monotonic() + timeout
    while True:
        states = await asterisk.cli("xmpp show connections")
        if any(f"[{account}]" in line and line.rstrip().endswith("- Connected") for line in states.splitlines()):
            return
        assert time.monotonic() < deadline, f"res_xmpp does not log in: {states}\n{asterisk.log_tail()}"
        await asyncio.sleep(PROBE_INTERVAL)
