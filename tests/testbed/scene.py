"""What most end-to-end tests need at once: Asterisk, an XMPP server, agi-xmpp with the account ``pbx``, and bob."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence

from tests.testbed.asterisk import Asterisk, Call
from tests.testbed.client import Buddy
from tests.testbed.service import Service
from tests.testbed.xmpp import Accounts, Login, XmppServer

#: What `Scene.run` shows, if nothing else is asked for.
VARIABLES = (
    *("JABBER_SEND_STATUS", "JABBER_SEND_ID", "JABBER_STATUS", "JABBER_STATUS_SHOW", "JABBER_STATUS_TEXT"),
    *("JABBER_STATUS_RESOURCE", "JABBER_RECEIVE", "JABBER_RECEIVE_STATUS", "JABBER_RECEIVE_FROM"),
    *("JABBER_RECEIVE_ID", "JABBER_ERROR", "AGISTATUS"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """The parts, running.

    Attributes:
        asterisk: the session's own; its dialplan is this test's.
        server: the XMPP server.
        accounts: makes more people.
        service: agi-xmpp, with the account ``pbx`` online and bob its buddy.
        pbx: that account.
        bob: online, with the resource ``phone``; he lets everybody see his presence.
        bob_login: for more clients of his.
    """

    asterisk: Asterisk
    server: XmppServer
    accounts: Accounts
    service: Service
    pbx: Login
    bob: Buddy
    bob_login: Login

    async def load(self, *steps: str, exten: str = "s", show: Sequence[str] = VARIABLES) -> None:
        """Make a dialplan of these steps; at their end, and at a hangup (extension ``h``), it shows variables.

        Args:
            steps: one line each, such as ``AGI({agi}/jabber_send,pbx,{bob},hello)``. ``{agi}`` and ``{bob}`` are filled
                in; Asterisk's own ``${…}`` stays as it is.
            exten: for `Asterisk.call`, in the context ``testbed``.
            show: the variables for `result`.

        Raises:
            AssertionError: Asterisk does not like it.
        """
        names = {"{agi}": self.service.agi_url, "{bob}": self.bob.jid}
        lines = [f"exten => {exten},1,NoOp()"]
        for step in steps:
            for name, value in names.items():
                step = step.replace(name, value)
            lines.append(f" same => n,{step}")
        # Base64: a comma would end the value, and a line break would be an event of its own.
        shown = ",".join(f"{name}: ${{BASE64_ENCODE(${{{name}}})}}" for name in show)
        lines += [f" same => n,UserEvent(Done,{shown})", f"exten => h,1,UserEvent(Hungup,{shown})"]
        complaints = await self.asterisk.dialplan("[testbed]\n" + "\n".join(lines) + "\n")
        assert not complaints, complaints

    async def run(self, *steps: str, show: Sequence[str] = VARIABLES) -> Call:
        """Make a dialplan of these steps, as `load`, and let a caller run it."""
        await self.load(*steps, show=show)
        return await self.asterisk.call("s")

    @staticmethod
    async def result(call: Call, timeout: float = 15.0) -> dict[str, str]:
        """Wait until the steps are done and return the variables; "" for one that is not set."""
        return _variables(await call.event("Done", timeout))

    @staticmethod
    async def result_after_hangup(call: Call, timeout: float = 15.0) -> dict[str, str]:
        """Wait until the call is hung up and return the variables as the extension ``h`` sees them."""
        return _variables(await call.event("Hungup", timeout))


def _variables(event: dict[str, str]) -> dict[str, str]:
    values = {}
    for name, text in event.items():
        if name.isupper():  # the event's own headers are not
            values[name] = base64.b64decode(text).decode()
    return values
