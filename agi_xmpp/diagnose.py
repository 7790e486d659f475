"""Short logins of the command line's own: `agi-xmpp check --online`, and `send` without a running service.

They use a resource of their own with negative priority, so that they neither throw the service out (two logins with
one resource) nor take its messages (RFC 6121 section 8.5.2.1.1).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import XmppError
from agi_xmpp.xmpp.model import Show
from agi_xmpp.xmpp.session import ClientSession


async def check_account(name: str, settings: AccountSettings, say: Callable[[str], None]) -> bool:
    """Log in once and say how it went, or what is wrong. Returns True if all is well."""
    session = ClientSession(name, _guest(settings))
    await session.start()
    try:
        await session.ready(settings.connect_timeout, patient=False)
        info = session.info()
        say(f"{name}: logged in as {info.jid}; {info.tls or 'not encrypted'}")
        if not info.resumable:
            say(f"{name}: note: the server does not resume streams (XEP-0198); texts may get lost with a connection")
        for buddy in settings.buddies:
            presence = await session.presence(buddy, timeout=2.0)
            if presence.show is Show.NOT_IN_ROSTER:
                say(
                    f"{name}: note: {buddy} has not allowed us to see their presence yet; JABBER_STATUS will say 6 or 7"
                )
            else:
                say(f"{name}: buddy {buddy} is {presence.show.name.lower()}")
    except XmppError as error:
        say(f"{name}: FAILED: {error}")
        return False
    finally:
        await session.stop()
    return True


async def send_once(name: str, settings: AccountSettings, to: str, text: str, *, receipt: bool, timeout: float) -> str:
    """Log in, send one message, log out; return the message's id. Times are seconds.

    Raises:
        AgiXmppError: as `Session.send_message` and `Session.delivered`.
    """
    session = ClientSession(name, _guest(settings))
    await session.start()
    try:
        await session.ready(timeout, patient=False)
        message_id = await session.send_message(to, text, receipt=receipt, timeout=timeout)
        if receipt:
            await session.delivered(message_id, timeout)
    finally:
        await session.stop()
    return message_id


def _guest(settings: AccountSettings) -> AccountSettings:
    bare = settings.jid.partition("/")[0]
    changes = {
        "jid": f"{bare}/agi-xmpp-{secrets.token_hex(4)}",
        "priority": -1,
        "buddies": [],
        "subscriptions": "deny",
        "room": {},
    }
    return settings.model_copy(update=changes)
