"""jabber_send: a message from the dialplan to one person."""

from __future__ import annotations

from collections.abc import Awaitable

from agi_xmpp.errors import AgiHangup, NotAcknowledged, NotConnected, UsageError
from agi_xmpp.features.verb import Call, Verb
from agi_xmpp.xmpp.model import PLAIN, Extras

#: Seconds that a caller may hear nothing while we wait for the server. A session that just reconnects needs 1 to 2.
TIMEOUT = 5.0

#: Seconds for which ``?wait=none`` keeps a text that cannot be sent at once.
QUEUE_TIME = 300.0


async def run(call: Call) -> None:
    """Send the text and tell how far it got.

    ``?wait=sent`` (default) waits for the server's acknowledgement (XEP-0198), ``delivered`` also for the addressee's
    receipt (XEP-0184), ``none`` for nothing. ``?queue=SECONDS`` keeps the text that long when there is no session.
    ``?seen=SECONDS`` also waits that long until a client of the addressee has shown the text (XEP-0333).
    """
    wait = call.choice("wait", ("sent", "delivered", "none"))
    timeout = call.seconds("timeout", TIMEOUT)
    queue = call.seconds("queue", QUEUE_TIME if wait == "none" else 0.0)
    seen = call.seconds("seen", 0.0)
    if seen and wait == "none":
        raise UsageError("seen= waits and wait=none does not: take one of them away")
    to = call.arguments[1]
    text = await call.text(2)
    session = call.session
    if wait == "none":
        await _done(call, "QUEUED", session.queue_message(to, text, thread=call.thread, max_age=queue))
        return
    try:
        message_id = await session.send_message(
            to,
            text,
            thread=call.thread,
            receipt=wait == "delivered",
            extras=Extras(markable=True) if seen else PLAIN,
            timeout=timeout,
        )
    except NotConnected as error:
        if not queue:
            raise
        await _done(call, "QUEUED", session.queue_message(to, text, thread=call.thread, max_age=queue))
        await call.set("JABBER_ERROR", str(error))
        return
    delivered = wait == "delivered" and await _came(call, session.delivered(message_id, timeout))
    if seen and await _shown(call, message_id, seen):
        delivered = True
        await call.set("JABBER_ERROR", "")
        await call.set("JABBER_SEEN", "1")
    await _done(call, "DELIVERED" if delivered else "SENT", message_id)


async def _shown(call: Call, message_id: str, seconds: float) -> bool:
    """Return True if a client shows the message in time. The caller's hangup ends the wait: the message has left."""
    try:
        async with call.channel.until_hangup():
            return await _came(call, call.session.seen(message_id, seconds))
    except AgiHangup as error:
        await call.set("JABBER_ERROR", str(error))
        return False


async def _came(call: Call, news: Awaitable[None]) -> bool:
    """Return True if what was waited for has come; otherwise JABBER_ERROR says that it has not."""
    try:
        await news
    except NotAcknowledged as error:
        # The server has the message. Clients need not send receipts or read marks, so this is no failure
        # (XEP-0184 section 5).
        await call.set("JABBER_ERROR", str(error))
        return False
    return True


async def _done(call: Call, status: str, message_id: str) -> None:
    await call.set("JABBER_SEND_ID", message_id)
    await call.set("JABBER_SEND_STATUS", status)


VERB = Verb(
    name="jabber_send",
    usage=(
        "jabber_send[?wait=sent|delivered|none&timeout=5&seen=SECONDS&queue=SECONDS&enc=uri&var=NAME]"
        ",account,jid[/resource],text"
    ),
    clears={"JABBER_SEND_STATUS": "ERROR", "JABBER_SEND_ID": "", "JABBER_SEEN": "0", "JABBER_ERROR": ""},
    status="JABBER_SEND_STATUS",
    failures=frozenset({"FAILED"}),
    options=frozenset({"wait", "timeout", "seen", "queue", "enc", "var"}),
    arguments=3,
    max_arguments=None,
    run=run,
    ends_with_call=False,  # a missed-call note is sent by callers who are gone
)
