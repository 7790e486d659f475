"""Short logins of the command line's own: `agi-xmpp check --online`, and `send` without a running service.

They use a resource of their own with negative priority, so that they neither throw the service out (two logins with
one resource) nor take its messages (RFC 6121 section 8.5.2.1.1).

A component has no resources: of two connections Prosody refuses the second one, and ejabberd shares the messages out
between both. So the running service is asked how its connection is, and only where none is running we connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agi_xmpp.ami import privileges
from agi_xmpp.ami.connection import connect
from agi_xmpp.ami.messages import Handover
from agi_xmpp.config import AccountSettings, AmiSettings, ConferenceSettings, PhoneSettings, Settings
from agi_xmpp.control import NoPermission, NoService, ask
from agi_xmpp.errors import AgiXmppError, AmiError, XmppError
from agi_xmpp.features import notice
from agi_xmpp.features.conference.check import check_conferences
from agi_xmpp.features.phone.check import check_exchange, check_phones
from agi_xmpp.sip.agent import SipAgent
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Service, Show

CONTROL_IS_OFF = "control.socket is off, and without it no service can be asked"


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
        secret = "token" if settings.by_token else "password"
        say(f"{name}: logged in as {info.jid} by {secret}; {info.tls or 'not encrypted'}")
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


async def check_asterisk(
    settings: AmiSettings,
    phone: PhoneSettings | None,
    conference: ConferenceSettings | None,
    say: Callable[[str], None],
) -> bool:
    """Log in to Asterisk and say which rights are missing, and what is unknown there. True if all is well.

    Args:
        settings: ``[ami]``.
        phone, conference: ``[phone]`` and ``[conference]``, which say what is needed.
        say: gets each line.
    """
    try:
        missing = await privileges.check(settings, privileges.needed(phone, conference))
    except AmiError as error:
        say(f"ami: FAILED: {error}")
        return False
    for sentence in missing:
        say(f"ami: FAILED: [{settings.username}] lacks a right: {sentence}")
    if missing:
        say('ami: when that is done: asterisk -rx "manager reload", and systemctl reload agi-xmpp if it runs')
        return False
    say(f"ami: logged in to {settings.host}:{settings.port} as {settings.username}; it has the rights that we need")
    try:
        handover = Handover()
        connection = await connect(settings, handover.event)
        try:
            well = phone is None or await check_exchange(phone, connection, say)
            if conference is not None:
                agent = SipAgent(conference.sip)
                well = await check_conferences(conference, connection, handover, agent.options, say) and well
            return well
        finally:
            await connection.log_off()
    except AmiError as error:
        say(f"ami: FAILED: {error}")
        return False


async def check_phone_service(settings: Settings, say: Callable[[str], None]) -> bool:
    """Say whether clients will find the phones. Returns True if all is well.

    Args:
        settings: all; with ``[phone]``.
        say: gets each line.
    """
    assert settings.phone is not None  # noqa: S101 - the caller has looked
    name = settings.phone.account
    account = settings.account[name]
    control = settings.control.socket
    async with contextlib.AsyncExitStack() as stack:
        try:
            served = account.is_component and await asyncio.to_thread(_served, account, control) is not None
            if served:
                ask_for = _asking_service(control, name)
            else:
                session = make_session(name, _guest(account))
                stack.push_async_callback(session.stop)
                await session.start()
                await session.ready(account.connect_timeout, patient=False)
                ask_for = session.services
        except AgiXmppError as error:
            say(f"phones: FAILED: the servers of the users could not be asked: {error}")
            return False
        return await check_phones(settings.phone, account, ask_for, say)


def _asking_service(control: str, account: str) -> Callable[[str], Awaitable[Sequence[Service]]]:
    """Return what asks a server through the running service."""

    async def services(of: str) -> Sequence[Service]:
        answer = await asyncio.to_thread(ask, control, {"do": "services", "account": account, "of": of}, 15.0)
        return [Service(parse(service["jid"]), service["name"]) for service in answer["services"]]

    return services


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


async def send_notice(
    settings: Settings,
    account: str,
    people: Sequence[str],
    subject: str,
    body: str,
    *,
    timeout: float,
    say: Callable[[str], None],
) -> notice.Report:
    """Send a notice to people through the running service; where none is running, log in to do so.

    Args:
        settings: all.
        account: as it stands there.
        people: bare JIDs.
        subject, body: what is shown.
        timeout: seconds for each of the people, and for the login.
        say: gets a line if we log in.

    Raises:
        AgiXmppError: nobody was told.
    """
    own = settings.account[account]
    if own.is_component and not settings.control.socket:
        raise NoPermission(CONTROL_IS_OFF)
    report = notice.Report()
    for batch in (people[place : place + notice.BATCH] for place in range(0, len(people), notice.BATCH)):
        request = {"account": account, "people": batch, "subject": subject, "text": body, "timeout": timeout}
        try:
            # One that takes all its time ends the batch; with the others, a busy server may take its own.
            patience = timeout * 2 + len(batch)
            answer = await asyncio.to_thread(ask, settings.control.socket, {"do": "notice", **request}, patience)
        except AgiXmppError as error:
            if report.sent or report.refused:
                return report + notice.Report(stopped=str(error))
            if not isinstance(error, NoService) or (isinstance(error, NoPermission) and own.is_component):
                raise  # a second connection of a component would take the service's messages
            say(f"{error}; logging in to send it")
            return await _notice_by_login(account, own, people, subject, body, timeout)
        report += notice.Report(answer["sent"], tuple(answer["refused"]), answer["stopped"])
        if report.stopped:
            break
    return report


async def _notice_by_login(
    name: str, settings: AccountSettings, people: Sequence[str], subject: str, body: str, timeout: float
) -> notice.Report:
    session = make_session(name, _guest(settings))
    await session.start()
    try:
        await session.ready(timeout, patient=False)
        return await notice.tell(session, people, subject, body, timeout=timeout)
    finally:
        await session.stop()


def _served(settings: AccountSettings, control: str) -> dict[str, Any] | None:
    """Return how the running service's connection of a component is; None if no service has one.

    Raises:
        AgiXmppError: nobody can tell.
    """
    if not control:
        raise NoPermission(CONTROL_IS_OFF)
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
