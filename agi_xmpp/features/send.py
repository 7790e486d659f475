"""jabber_send: a message from the dialplan to one person."""

from __future__ import annotations

from agi_xmpp.errors import NotAcknowledged, NotConnected
from agi_xmpp.features.verb import Call, Verb

#: Seconds that a caller may hear nothing while we wait for the server. A session that just reconnects needs 1 to 2.
TIMEOUT = 5.0

#: Seconds for which ``?wait=none`` keeps a text that cannot be sent at once.
QUEUE_TIME = 300.0


async def run(call: Call) -> None:
    """Send the text and tell how far it got.

    ``?wait=sent`` (default) waits for the server's acknowledgement (XEP-0198), ``delivered`` also for the addressee's
    receipt (XEP-0184), ``none`` for nothing. ``?queue=SECONDS`` keeps the text that long when there is no session.
    """
    wait = call.choice("wait", ("sent", "delivered", "none"))
    timeout = call.seconds("timeout", TIMEOUT)
    queue = call.seconds("queue", QUEUE_TIME if wait == "none" else 0.0)
    to = call.arguments[1]
    text = await call.text(2)
    session = call.session
    if wait == "none":
        await _done(call, "QUEUED", session.queue_message(to, text, thread=call.thread, max_age=queue))
        return
    try:
        message_id = await session.send_message(
            to, text, thread=call.thread, receipt=wait == "delivered", timeout=timeout
        )
    except NotConnected as error:
        if not queue:
            raise
        await _done(call, "QUEUED", session.queue_message(to, text, thread=call.thread, max_age=queue))
        await call.set("JABBER_ERROR", str(error))
        return
    if wait == "delivered":
        try:
            await session.delivered(message_id, timeout)
        except NotAcknowledged as error:
            # The server has the message. Clients need not send receipts, so this is no failure (XEP-0184 section 5).
            await call.set("JABBER_ERROR", str(error))
        else:
            await _done(call, "DELIVERED", message_id)
            return
    await _done(call, "SENT", message_id)


async def _done(call: Call, status: str, message_id: str) -> None:
    await call.set("JABBER_SEND_ID", message_id)
    await call.set("JABBER_SEND_STATUS", status)


VERB = Verb(
    name="jabber_send",
    usage="jabber_send[?wait=sent|delivered|none&timeout=5&queue=SECONDS&enc=uri&var=NAME],account,jid[/resource],text",
    clears={"JABBER_SEND_STATUS": "ERROR", "JABBER_SEND_ID": "", "JABBER_ERROR": ""},
    status="JABBER_SEND_STATUS",
    failures=frozenset({"FAILED"}),
    options=frozenset({"wait", "timeout", "queue", "enc", "var"}),
    arguments=3,
    max_arguments=None,
    run=run,
    ends_with_call=False,  # a missed-call note is sent by callers who are gone
)
