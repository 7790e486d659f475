"""Short logins of the command line's own: `agi-xmpp check --online`, and `send` without a running service.

They use a resource of their own with negative priority, so that they neither throw the service out (two logins with
one resource) nor take its messages (RFC 6121 section 8.5.2.1.1).

A component has no resources: of two connections Prosody refuses the second one, and ejabberd shares the messages out
between both. So the running service is asked how its connection is, and only where none is running we connect.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from agi_xmpp.config import AccountSettings
from agi_xmpp.control import NoPermission, NoService, ask
from agi_xmpp.errors import AgiXmppError, XmppError
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Show


async def check_account(name: str, settings: AccountSettings, say: Callable[[str], None], control: str = "") -> bool:
    """Log in once and say how it went, or what is wrong. Returns True if all is well.

    Args:
        name: of the account.
        settings: its own.
        say: gets each line.
        control: the control socket of the service that may be running; "" if it has none.
    """
    if settings.is_component:
        try:
            served = await asyncio.to_thread(_served, settings, control)
        except AgiXmppError as error:
            say(f"{name}: FAILED: not tried, for it would disturb a service that is connected: {error}")
            return False
        if served is not None:
            if served["state"] != "online":
                say(f"{name}: FAILED: the running service is not connected: {served['error'] or served['state']}")
                return False
            say(
                f"{name}: in use: the running service is connected as {served['jid']};"
                f" {served['tls'] or 'not encrypted'}"
            )
            return True
    session = make_session(name, _guest(settings))
    await session.start()
    try:
        await session.ready(settings.connect_timeout, patient=False)
        info = session.info()
        say(f"{name}: logged in as {info.jid}; {info.tls or 'not encrypted'}")
        if not info.resumable and not settings.is_component:
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
    session = make_session(name, _guest(settings))
    await session.start()
    try:
        await session.ready(timeout, patient=False)
        message_id = await session.send_message(to, text, receipt=receipt, timeout=timeout)
        if receipt:
            await session.delivered(message_id, timeout)
    finally:
        await session.stop()
    return message_id


def _served(settings: AccountSettings, control: str) -> dict[str, Any] | None:
    """Return how the running service's connection of a component is; None if no service has one.

    Raises:
        AgiXmppError: nobody can tell.
    """
    if not control:
        raise NoPermission("control.socket is off, and without it no service can be asked")
    try:
        status = ask(control, {"do": "status"})
    except NoPermission:
        raise
    except NoService:
        return None
    domain = parse(settings.jid).domain
    accounts: list[dict[str, Any]] = status["accounts"]
    return next((account for account in accounts if parse(account["jid"]).domain == domain), None)


def _guest(settings: AccountSettings) -> AccountSettings:
    if settings.is_component:
        # It speaks for the whole domain: who asks to see its presence meanwhile gets the answer that the service gives.
        return settings.model_copy(update={"subscribe": False, "room": {}})
    bare = settings.jid.partition("/")[0]
    changes = {
        "jid": f"{bare}/agi-xmpp-{secrets.token_hex(4)}",
        "priority": -1,
        "buddies": [],
        "subscriptions": "deny",
        "room": {},
    }
    return settings.model_copy(update=changes)
