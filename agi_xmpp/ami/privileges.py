"""Whether the manager user may do what we need: for `agi-xmpp check --online`, and for reloads.

Asterisk looks at privileges before it looks at arguments. So an action without its arguments changes nothing, and its
error tells whether it is allowed (measured on 16.28 and 22.10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from agi_xmpp.ami.connection import connect
from agi_xmpp.ami.model import Message
from agi_xmpp.config import AmiSettings, ConferenceSettings, PhoneSettings
from agi_xmpp.errors import AmiForbidden, AmiNotConnected, AmiRefused

#: Classes of the line ``write =``: an action that needs the class and does nothing without arguments, and what we need
#: the class for.
WRITE: Final[Mapping[str, tuple[str, str]]] = {
    "call": ("Setvar", "to see calls and conferences and to act on them, and to show who is away"),
    "originate": ("Originate", "for click to dial, and to invite phones to conferences"),
    "agent": ("QueuePause", "to pause queues"),
    "reporting": ("CoreSettings", "to list calls and conferences"),
    "message": ("MessageSend", "to write to phones outside of calls"),
}

#: Seconds for an event that comes at once if it comes.
_EVENT_TIME = 2.0

#: A channel of a kind that no Asterisk has: the call fails at once, and that is an event of the class ``call``.
_FAILING_CALL = {"Channel": "None/agi-xmpp-check", "Application": "NoOp", "Async": "true"}


def needed(phone: PhoneSettings | None, conference: ConferenceSettings | None) -> list[str]:
    """Return the classes of `WRITE` that the settings need.

    Args:
        phone: ``[phone]``; None without.
        conference: ``[conference]``; None without.
    """
    special = {
        "agent": phone is not None and phone.pause_queues,
        "message": conference is not None and bool(conference.texts_outside_calls),
    }
    return [name for name in WRITE if special.get(name, True)]


class _Actions(Protocol):
    async def action(self, name: str, headers: Mapping[str, str] | None = None) -> Message: ...


async def missing_privileges(ami: _Actions, classes: Collection[str] = tuple(WRITE)) -> list[str]:
    """Return one sentence for each class that the manager user's line ``write =`` lacks.

    Args:
        ami: a connection that is logged in.
        classes: those that are needed, of `WRITE`.

    Raises:
        AmiNotConnected, AmiUnknown: the connection broke.
    """
    missing = []
    for name in classes:
        action, purpose = WRITE[name]
        try:
            await ami.action(action)
        except AmiForbidden:
            missing.append(f"add {name} to the manager user's line write = in manager.conf; it is needed {purpose}")
        except AmiRefused:
            pass  # allowed: it misses its arguments only, or this Asterisk does without the module
    return missing


async def check(settings: AmiSettings, classes: Collection[str] = tuple(WRITE)) -> list[str]:
    """Log in once and return what the manager user lacks, one sentence each; nothing if all is well.

    To see whether events come, a call is started that fails at once; Asterisk logs a warning for it.

    Args:
        settings: ``[ami]``.
        classes: of the line ``write =``, those that are needed.

    Raises:
        AmiError: the login failed, or the connection broke; the text says why.
    """
    seen = asyncio.Event()

    def on_event(event: Message) -> None:
        if event.get("Event") == "OriginateResponse" and event.get("Channel") == _FAILING_CALL["Channel"]:
            seen.set()

    connection = await connect(settings, on_event)
    try:
        missing = await missing_privileges(connection, classes)
        try:
            await connection.action("Originate", _FAILING_CALL)
            async with asyncio.timeout(_EVENT_TIME):
                await seen.wait()
        except AmiForbidden:
            pass  # no way to see it, and to be told of once is enough
        except TimeoutError:
            if connection.lost.done():
                raise AmiNotConnected(f"the connection to Asterisk broke: {connection.lost.result()}") from None
            missing.append("add call to the manager user's line read = in manager.conf; without it no call is seen")
        return missing
    finally:
        await connection.log_off()
