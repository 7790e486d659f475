"""jabber_receive: wait for what somebody answers."""

from __future__ import annotations

from agi_xmpp.features.verb import Call, Verb, parse_seconds
from agi_xmpp.xmpp.model import SessionState

#: Seconds, as JABBER_RECEIVE of res_jabber.
DEFAULT_SECONDS = "20"


async def run(call: Call) -> None:
    """Wait for one message and set JABBER_RECEIVE to its text.

    ``?max_age=SECONDS`` says how old a message may be that came before the wait began (0: none of those).
    """
    seconds = parse_seconds(call.arguments[2] if len(call.arguments) > 2 else DEFAULT_SECONDS, "seconds")
    max_age = call.seconds("max_age", 0.0) if "max_age" in call.options else None
    try:
        message = await call.session.receive_message(call.arguments[1], seconds, thread=call.thread, max_age=max_age)
    except TimeoutError:
        info = call.session.info()
        if info.state is not SessionState.ONLINE:  # nothing could come, and the silence is not the person's
            await call.set("JABBER_ERROR", f"account {info.account} is not connected: {info.error or info.state.value}")
        await call.set("JABBER_RECEIVE_STATUS", "TIMEOUT")
        return
    await call.set("JABBER_RECEIVE_FROM", str(message.sender))
    await call.set("JABBER_RECEIVE_ID", message.id)
    await call.set("JABBER_RECEIVE", message.body)
    await call.set("JABBER_RECEIVE_STATUS", "OK")


VERB = Verb(
    name="jabber_receive",
    usage="jabber_receive[?max_age=SECONDS],account,jid[/resource][,seconds]",
    clears={
        "JABBER_RECEIVE_STATUS": "ERROR",
        "JABBER_RECEIVE": "",
        "JABBER_RECEIVE_FROM": "",
        "JABBER_RECEIVE_ID": "",
        "JABBER_ERROR": "",
    },
    status="JABBER_RECEIVE_STATUS",
    failures=frozenset({"HANGUP"}),
    options=frozenset({"max_age"}),
    arguments=2,
    max_arguments=3,
    run=run,
    ends_with_call=True,
)
